"""W3C Trace Context (level 1) in headers of messages: from a click to the page that follows.

No SDK: 55 bytes are read and written. What comes out of several messages of a reader in one batch
has one parent, the newest of them; a header has room for no more. The others are links of the
span, which is a line of the log at DEBUG and nothing else.

Source: https://www.w3.org/TR/trace-context-1/
"""

import json
import logging
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from schemas.trace_headers import MAX_STATE_CHARACTERS, TRACE_HEADERS

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Of a message, as the Kafka client gives them."""

OwnHeaders: TypeAlias = list[tuple[str, str | bytes | None]]
"""Of a message, as the Kafka client takes them."""

TRACEPARENT, TRACESTATE = TRACE_HEADERS

MAX_STATE_MEMBERS = 32
MAX_LINKS = 128
"""As many as an OpenTelemetry SDK keeps of a span by default."""

_PARENT = re.compile(
    rb"(?!ff)([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.S
)
_MEMBER = re.compile(
    r"([a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
    r"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)

logger = logging.getLogger(__name__)


class Context(NamedTuple):
    """What a `traceparent` says, and the `tracestate` beside it, empty where there is none."""

    trace_id: str
    span_id: str
    is_sampled: bool
    state: str = ""


Causes: TypeAlias = dict[str, list[tuple[int, Context]]]
"""By reader: what they did that has a context, and when, epoch milliseconds."""


class Span(NamedTuple):
    """What a batch does for one reader. began_ns: epoch nanoseconds."""

    parent: Context
    span_id: str
    links: tuple[Context, ...]
    began_ns: int

    def headers(self) -> OwnHeaders:
        """Return the headers of what comes of it: the parent's trace, this span.

        >>> Span(Context("ab" * 16, "cd" * 8, True), "ef" * 8, (), 0).headers()
        [('traceparent', b'00-abababababababababababababababab-efefefefefefefef-01')]
        """
        return headers_of(self.parent._replace(span_id=self.span_id))

    def log(self) -> None:
        """Write it to the log at DEBUG; it ends now."""
        if logger.isEnabledFor(logging.DEBUG):
            told = {
                "name": "recommend",
                "trace_id": self.parent.trace_id,
                "span_id": self.span_id,
                "parent_span_id": self.parent.span_id,
                "start_ns": self.began_ns,
                "end_ns": time.time_ns(),
                "links": [
                    {"trace_id": each.trace_id, "span_id": each.span_id} for each in self.links
                ],
            }
            logger.debug("span %s", json.dumps(told))


def context_of(headers: Headers) -> Context | None:
    """Read a context; None where there is none, or a malformed one.

    >>> parent = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    >>> context_of([("traceparent", parent), ("tracestate", b"a=1")])  # doctest: +ELLIPSIS
    Context(trace_id='4bf92f35...', span_id='00f067aa0ba902b7', is_sampled=True, state='a=1')
    """
    parents = [value for name, value in headers if name == TRACEPARENT]
    if len(parents) != 1:
        return None
    found = _PARENT.fullmatch(parents[0] or b"")
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
    if (version == b"00" and rest is not None) or not (
        trace_id.strip(b"0") and span_id.strip(b"0")
    ):
        return None
    states = [value or b"" for name, value in headers if name == TRACESTATE]
    # The only flag there is at this level.
    is_sampled = bool(int(flags, 16) & 1)
    return Context(trace_id.decode(), span_id.decode(), is_sampled, _state(b",".join(states)))


def headers_of(context: Context) -> OwnHeaders:
    """Return a context as headers."""
    parent = f"00-{context.trace_id}-{context.span_id}-{int(context.is_sampled):02x}"
    found: OwnHeaders = [(TRACEPARENT, parent.encode())]
    if context.state:
        found.append((TRACESTATE, context.state.encode()))
    return found


def note_cause(causes: Causes, user_id: str, time_ms: int, headers: Headers) -> None:
    """Note the context of what a reader did, if it has one."""
    context = context_of(headers)
    if context is not None:
        causes.setdefault(user_id, []).append((time_ms, context))


def begin_spans(causes: Causes) -> dict[str, Span]:
    """Begin a span for each reader: child of the newest of what they did, linked to the rest."""
    return {user_id: _span(own) for user_id, own in causes.items()}


def end_spans(spans: Mapping[str, Span], user_ids: Iterable[str]) -> None:
    """End the spans of these readers; of others nothing came."""
    for user_id in user_ids:
        if (span := spans.get(user_id)) is not None:
            span.log()


def _span(own: Sequence[tuple[int, Context]]) -> Span:
    # Of the same time the later message is the newer one: sorting keeps the order.
    in_order = [context for _, context in sorted(own, key=lambda cause: cause[0])]
    parent = in_order[-1]
    links = dict.fromkeys(each for each in reversed(in_order) if each != parent)
    span_id = os.urandom(8).hex()
    while not span_id.strip("0"):
        span_id = os.urandom(8).hex()
    return Span(parent, span_id, tuple(links)[:MAX_LINKS], time.time_ns())


def _state(raw: bytes) -> str:
    """Return a `tracestate` without what is empty in it; nothing of a malformed or too long one."""
    if not raw.isascii():
        return ""
    members = [each.strip(" \t") for each in raw.decode("ascii").split(",")]
    members = [each for each in members if each]
    names = {each.partition("=")[0] for each in members}
    state = ",".join(members)
    is_sound = len(names) == len(members) <= MAX_STATE_MEMBERS and all(
        map(_MEMBER.fullmatch, members)
    )
    return state if is_sound and len(state) <= MAX_STATE_CHARACTERS else ""
