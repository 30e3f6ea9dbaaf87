"""Trace contexts in headers: what is read, what is ignored, what is written."""

import json
import logging
from typing import Any

import pytest

from schemas.decode import decode_click, decode_preferences, decode_visit
from schemas.topics import Topics
from worker.chunks import Record
from worker.delivery import Delivery
from worker.intake import Decoder, sort_records
from worker.metrics import Metrics
from worker.reader_store import PageUpdate, ReaderUpdate
from worker.tracing import Context, begin_spans, context_of, headers_of

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GOOD = f"00-{TRACE}-{PARENT}-01"
NOW_MS = 1_790_000_000_000


def of(*parents: str, state: tuple[str, ...] = ()) -> Context | None:
    return context_of(
        [("other", None)]
        + [("traceparent", each.encode()) for each in parents]
        + [("tracestate", each.encode()) for each in state]
    )


def test_a_context_is_read_and_written_as_it_came() -> None:
    context = of(GOOD, state=("rojo=00f067aa0ba902b7", "tenant@congo=t61rcWkgMzE"))
    assert context == Context(TRACE, PARENT, True, "rojo=00f067aa0ba902b7,tenant@congo=t61rcWkgMzE")
    assert headers_of(context) == [
        ("traceparent", GOOD.encode()),
        ("tracestate", b"rojo=00f067aa0ba902b7,tenant@congo=t61rcWkgMzE"),
    ]
    unsampled = of(f"00-{TRACE}-{PARENT}-00")
    assert unsampled == Context(TRACE, PARENT, False)
    assert headers_of(unsampled) == [("traceparent", f"00-{TRACE}-{PARENT}-00".encode())]


@pytest.mark.parametrize(
    "bad",
    [
        "",
        GOOD.upper(),
        GOOD[:-1],
        f"{GOOD}-",
        f"{GOOD}-more",
        f"{GOOD}\n",
        f" {GOOD}",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        f"00-{TRACE}{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01more",
        f"00-{TRACE}-{PARENT}-٠١",
    ],
)
def test_an_invalid_header_is_ignored(bad: str) -> None:
    assert of(bad) is None


def test_two_parents_are_none_and_so_is_a_header_without_a_value() -> None:
    assert of(GOOD, GOOD) is None
    assert context_of([("traceparent", None)]) is None
    assert context_of([]) is None


def test_of_a_later_version_what_is_known_is_read_and_written_as_of_this() -> None:
    for later in (f"01-{TRACE}-{PARENT}-03", f"cc-{TRACE}-{PARENT}-03-what-the-future-holds"):
        context = of(later)
        assert context is not None
        assert headers_of(context) == [("traceparent", GOOD.encode())]


@pytest.mark.parametrize(
    ("state", "kept"),
    [
        (("",), ""),
        ((" a=1 ,, b=2\t",), "a=1,b=2"),
        (("a=1", "", "0@b=x y"), "a=1,0@b=x y"),
        (("a=1,a=2",), ""),
        (("A=1",), ""),
        (("a=",), ""),
        (("a=1=2",), ""),
        (("a=ü",), ""),
        (("a=\x1b[2J",), ""),
        ((",".join(f"k{number}=1" for number in range(33)),), ""),
        ((",".join(f"k{number}=1" for number in range(32)),), None),
        (("a=" + "x" * 250 + ",b=" + "x" * 250,), None),
        (("a=" + "x" * 256 + ",b=" + "x" * 256,), ""),
    ],
)
def test_a_malformed_state_is_dropped_and_the_trace_goes_on(
    state: tuple[str, ...], kept: str | None
) -> None:
    context = of(GOOD, state=state)
    assert context == Context(TRACE, PARENT, True, state[0] if kept is None else kept)


def record(message: dict[str, Any], parent: str | None = None) -> Record:
    headers = None if parent is None else [("traceparent", parent.encode())]
    return Record("clicks", 0, 0, NOW_MS, b"", json.dumps(message).encode(), headers)


def click(user: str, time_ms: int, parent: str | None = None) -> Record:
    return record({"user_id": user, "article_id": "a", "timestamp": time_ms}, parent)


def parent(number: int) -> str:
    return f"00-{TRACE}-{number:016x}-01"


def test_the_newest_click_of_a_reader_is_the_parent_and_the_others_are_links() -> None:
    records = [
        click("u", NOW_MS - 5, parent(1)),
        click("u", NOW_MS - 1, parent(2)),
        click("u", NOW_MS - 9, parent(3)),
        click("u", NOW_MS - 1, parent(4)),
        click("u", NOW_MS - 1, parent(4)),
        click("u", NOW_MS),
        click("v", NOW_MS, "no context"),
        record(
            {"user_id": "w", "article_id": "a", "timestamp": NOW_MS, "consent": False}, parent(5)
        ),
    ]
    causes = sort_records(records, decode_click, NOW_MS, is_traced=True).causes
    spans = begin_spans(causes)
    assert list(spans) == ["u"]
    assert spans["u"].parent.span_id == f"{4:016x}"
    assert [each.span_id for each in spans["u"].links] == [f"{n:016x}" for n in (2, 1, 3)]
    assert begin_spans(causes)["u"].span_id != spans["u"].span_id
    assert sort_records(records, decode_click, NOW_MS).causes == {}


@pytest.mark.parametrize("decode", [decode_visit, decode_preferences])
def test_visits_and_preferences_have_contexts_too(decode: Decoder) -> None:
    message = record({"user_id": "u", "timestamp": NOW_MS}, GOOD)
    causes = sort_records([message], decode, NOW_MS, is_traced=True).causes
    assert causes == {"u": [(NOW_MS, Context(TRACE, PARENT, True))]}


class Sent:
    """What an emitter was given."""

    num_failures = 0

    def __init__(self) -> None:
        self.headers: dict[tuple[str, str], Any] = {}

    def send(self, topic: str, key: str, _: bytes, headers: Any = None) -> None:
        self.headers[topic, key] = headers

    async def delivered(self, _: int) -> None:
        return


async def test_what_follows_carries_the_trace_with_a_span_of_its_own(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "worker.tracing")
    spans = begin_spans(
        {
            user: [(1, Context(TRACE, f"{1:016x}", True)), (2, Context(TRACE, PARENT, True, "a=1"))]
            for user in ("u", "gone")
        }
    )
    emitter: Any = Sent()
    updates = [
        ReaderUpdate("u", None, b"", b"{}", b"{}", ()),
        PageUpdate("untraced", None, b"{}"),
    ]
    await Delivery(emitter, Topics(), Metrics()).deliver(updates, (), spans)
    own = spans["u"].span_id
    expected = [("traceparent", f"00-{TRACE}-{own}-01".encode()), ("tracestate", b"a=1")]
    assert emitter.headers == {
        ("profiles", "u"): expected,
        ("recommendations", "u"): expected,
        ("recommendations", "untraced"): None,
    }
    (line,) = caplog.messages  # of whom nothing was sent has no span
    told = json.loads(line.removeprefix("span "))
    assert told["end_ns"] >= told["start_ns"]
    assert (told["trace_id"], told["span_id"], told["parent_span_id"]) == (TRACE, own, PARENT)
    assert told["links"] == [{"trace_id": TRACE, "span_id": f"{1:016x}"}]
