"""The operations of the API: requests in, responses out."""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from schemas.decode import check_id, check_timestamp, decode_preferences
from schemas.errors import InvalidMessageError
from schemas.records import Erasure, Preferences, Visit
from schemas.timestamps import to_ms
from schemas.topics import Topics
from worker.serve.clicks import sort_clicks
from worker.serve.events import EventStreams
from worker.serve.pages import StoredPages
from worker.serve.problems import Kind, ProblemError
from worker.serve.publishing import Outgoing, Publisher
from worker.serve.records import (
    ClicksAccepted,
    ErasureAccepted,
    PreferencesAccepted,
    PreferencesRequest,
    Session,
    VisitAccepted,
    VisitRequest,
)
from worker.serve.responses import accepted, json_response, once, read_body, read_record
from worker.tracing import TRACEPARENT, TRACESTATE, OwnHeaders, context_of, headers_of

if TYPE_CHECKING:  # brings onnxruntime and the ranking, which a server without a bundle needs not
    from worker.serve.sessions import Sessions

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

MAX_ERRORS = 100
"""Most rejected clicks that a response names."""

_encode = msgspec.json.Encoder().encode
_preferences_decoder = msgspec.json.Decoder(PreferencesRequest)
_session_decoder = msgspec.json.Decoder(Session)
_visit_decoder = msgspec.json.Decoder(VisitRequest)


class Handlers:
    """Answer requests, from Redis and through Kafka."""

    def __init__(
        self,
        pages: StoredPages,
        streams: EventStreams,
        publisher: Publisher,
        sessions: "Sessions | None",
        topics: Topics,
        is_traced: bool = False,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._pages = pages
        self._streams = streams
        self._publisher = publisher
        self._sessions = sessions
        self._topics = topics
        self._is_traced = is_traced
        self._clock_ms = clock_ms

    def by_operation(self) -> Mapping[str, Handler]:
        """Return the handler of each operation of `routes.ROUTES`."""
        return {
            "getProfile": self.profile,
            "getRecommendations": self.recommendations,
            "getArticle": self.article,
            "watchReader": self.events,
            "recommendToSession": self.session,
            "publishClicks": self.clicks,
            "publishVisit": self.visit,
            "getPreferences": self.preferences,
            "putPreferences": self.put_preferences,
            "eraseReader": self.erase,
        }

    async def profile(self, request: web.Request) -> web.StreamResponse:
        """Answer with a reader's profile."""
        return json_response(request, _found(await self._pages.profile(_user_id(request))))

    async def recommendations(self, request: web.Request) -> web.StreamResponse:
        """Answer with a reader's page."""
        page = await self._pages.page(_user_id(request), with_articles=_with_articles(request))
        return json_response(request, _found(page))

    async def article(self, request: web.Request) -> web.StreamResponse:
        """Answer with an article."""
        text, is_withdrawn = await self._pages.article(_id(request, "article_id"))
        if is_withdrawn:
            raise ProblemError(Kind.WITHDRAWN)
        return json_response(request, _found(text))

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Answer with a stream of changes."""
        user_id, with_articles = _user_id(request), _with_articles(request)
        return await self._streams.stream(request, user_id, with_articles=with_articles)

    async def session(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page for somebody without a name; nothing is stored."""
        if self._sessions is None:
            raise ProblemError(Kind.NO_MODEL)
        session = await read_record(request, _session_decoder)
        with_articles = _with_articles(request)
        try:
            page = await self._sessions.page(session, self._clock_ms())
        except InvalidMessageError as error:
            raise ProblemError(Kind.INVALID_REQUEST, str(error)) from error
        items = await self._pages.showable(page.items, with_articles=with_articles)
        return once(request, _encode(msgspec.structs.replace(page, items=items)))

    async def clicks(self, request: web.Request) -> web.StreamResponse:
        """Publish clicks."""
        sorted_clicks = sort_clicks(await read_body(request), self._clock_ms())
        errors = sorted_clicks.errors
        if errors and not sorted_clicks.good and not sorted_clicks.num_skipped:
            raise ProblemError(Kind.INVALID_MESSAGES, errors=errors[:MAX_ERRORS])
        topic, trace = self._topics.clicks, self._trace(request)
        await self._publisher.publish(
            [Outgoing(topic, *each, trace) for each in sorted_clicks.good]
        )
        return accepted(
            ClicksAccepted(
                accepted=len(sorted_clicks.good),
                skipped=sorted_clicks.num_skipped,
                rejected=len(errors),
                errors=errors[:MAX_ERRORS],
            )
        )

    async def visit(self, request: web.Request) -> web.StreamResponse:
        """Publish a visit."""
        user_id = _user_id(request)
        asked = await read_record(request, _visit_decoder)
        now_ms = self._clock_ms()
        time_ms = now_ms if asked.timestamp is None else to_ms(asked.timestamp)
        try:
            check_timestamp(time_ms, now_ms)
        except InvalidMessageError as error:
            raise ProblemError(Kind.INVALID_REQUEST, str(error)) from error
        visit = _encode(Visit(user_id=user_id, timestamp=time_ms))
        trace = self._trace(request)
        await self._publisher.publish([Outgoing(self._topics.visits, user_id, visit, trace)])
        return accepted(VisitAccepted(timestamp=time_ms))

    async def preferences(self, request: web.Request) -> web.StreamResponse:
        """Answer with what a reader does not want."""
        return json_response(request, _found(await self._pages.preferences(_user_id(request))))

    async def put_preferences(self, request: web.Request) -> web.StreamResponse:
        """Publish what a reader does not want."""
        user_id = _user_id(request)
        asked = await read_record(request, _preferences_decoder)
        now_ms = self._clock_ms()
        time_ms = now_ms if asked.timestamp is None else to_ms(asked.timestamp)
        message = _encode(
            Preferences(
                user_id=user_id,
                timestamp=time_ms,
                blocked_tags=asked.blocked_tags,
                blocked_articles=asked.blocked_articles,
                profiling=asked.profiling,
            )
        )
        try:
            decode_preferences(message, now_ms)  # as a worker will
        except InvalidMessageError as error:
            raise ProblemError(Kind.INVALID_REQUEST, str(error)) from error
        trace = self._trace(request)
        await self._publisher.publish([Outgoing(self._topics.preferences, user_id, message, trace)])
        return accepted(PreferencesAccepted(timestamp=time_ms))

    async def erase(self, request: web.Request) -> web.StreamResponse:
        """Publish that a reader is to be erased."""
        user_id, now_ms = _user_id(request), self._clock_ms()
        erasure = _encode(Erasure(user_id=user_id, requested_at=now_ms))
        await self._publisher.publish([Outgoing(self._topics.erasures, user_id, erasure)])
        return accepted(ErasureAccepted(requested_at=now_ms))

    def _trace(self, request: web.Request) -> OwnHeaders | None:
        """Return a request's trace context for the message it leads to."""
        if not self._is_traced:
            return None
        context = context_of(
            [
                (name, value.encode(errors="replace"))
                for name in (TRACEPARENT, TRACESTATE)
                for value in request.headers.getall(name, ())
            ]
        )
        return None if context is None else headers_of(context)


def _user_id(request: web.Request) -> str:
    return _id(request, "user_id")


def _id(request: web.Request, name: str) -> str:
    """Return an id of the path.

    Raises:
        ProblemError: when it can be none.
    """
    found = request.match_info[name]
    try:
        check_id(found)
    except InvalidMessageError as error:
        raise ProblemError(Kind.INVALID_REQUEST, str(error)) from error
    return found


def _with_articles(request: web.Request) -> bool:
    asked = request.query.get("articles", "false")
    if asked not in ("true", "false"):
        raise ProblemError(Kind.INVALID_REQUEST, "articles: true or false")
    return asked == "true"


def _found(value: bytes | None) -> bytes:
    if value is None:
        raise ProblemError(Kind.NOT_FOUND)
    return value
