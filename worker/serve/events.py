"""Server-sent events: a reader's profile and page, whenever either changes."""

import asyncio
import re

from aiohttp import hdrs, web

from worker.serve.live import Poller, State
from worker.serve.pages import StoredPages
from worker.serve.responses import digest

HEARTBEAT_S = 15.0
"""Proxies close what is silent for longer, often after 30 or 60 s."""

WRITE_S = 30.0
"""When a client that reads nothing is given up."""

RETRY_MS = 1000
"""When a browser comes back after a stream has ended."""

NOTHING = "-"
"""Stands in an event's id for what is not there."""

UNSEEN = "?"
_ID = re.compile(r"([0-9a-f]{16}|-)\.([0-9a-f]{16}|-)")
_HEADERS = {
    hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8",
    hdrs.CACHE_CONTROL: "private, no-store",
    "X-Accel-Buffering": "no",  # nginx would hold events back
}


class EventStreams:
    """Answer with streams of events."""

    def __init__(self, pages: StoredPages, poller: Poller) -> None:
        self._pages = pages
        self._poller = poller

    async def stream(
        self, request: web.Request, user_id: str, *, with_articles: bool
    ) -> web.StreamResponse:
        """Send what there is, and then what changes, until the client goes.

        A client that comes back names the last event it had (`Last-Event-ID`), and is sent only
        what has changed since.
        """
        seen = seen_by(request.headers.get("Last-Event-ID", ""))
        with self._poller.watching(user_id) as (watch, changed):
            if watch.state is None:
                watch.set(State(*(await self._pages.both([user_id]))[0]))
            response = web.StreamResponse(headers=_HEADERS)
            await response.prepare(request)
            await _write(response, f"retry: {RETRY_MS}\n\n".encode())
            while not self._poller.stopping:
                changed.clear()
                assert watch.state is not None
                state = watch.state
                now = (_digest(state.profile), _digest(state.page))
                if now[0] != seen[0]:
                    seen = (now[0], seen[1])
                    await _write(response, _event("profile", state.profile, ".".join(seen)))
                if now[1] != seen[1]:
                    seen = now
                    page = state.page
                    if page is not None:
                        page = await self._pages.shown(page, with_articles=with_articles)
                    await _write(response, _event("recommendations", page, ".".join(seen)))
                try:
                    await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
                except TimeoutError:
                    await _write(response, b": still here\n\n")
        return response


def seen_by(last_event_id: str) -> tuple[str, str]:
    """Return the digests of the profile and page that a client has.

    >>> seen_by("0123456789abcdef.-"), seen_by("anything else")
    (('0123456789abcdef', '-'), ('?', '?'))
    """
    found = _ID.fullmatch(last_event_id)
    return (found[1], found[2]) if found else (UNSEEN, UNSEEN)


def _digest(value: bytes | None) -> str:
    return NOTHING if value is None else digest(value)


def _event(name: str, value: bytes | None, event_id: str) -> bytes:
    # JSON as it is stored is one line.
    head = f"event: {name}\nid: {event_id}\ndata: ".encode()
    return head + (b"null" if value is None else value) + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(data)
