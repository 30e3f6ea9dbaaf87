"""Every operation of the API in one table: what the router serves and the document describes."""

from typing import Any, NamedTuple

from schemas.records import Article, Click, Preferences, Profile
from worker.serve.problems import Kind
from worker.serve.records import (
    ClicksAccepted,
    DemoReaders,
    ErasureAccepted,
    Page,
    PreferencesAccepted,
    PreferencesRequest,
    Session,
    SessionPage,
    VisitAccepted,
    VisitRequest,
)

USER_ID = "user_id"
ARTICLE_ID = "article_id"
EVENT_STREAM = "text/event-stream"


class Route(NamedTuple):
    """An operation.

    Attributes:
        operation: its name; `Handlers.by_operation` has what answers it.
        path: with its parameters in braces.
        answer: the record of a success; None where `media_type` is not JSON.
        problems: what may go wrong, beside what may on any path.
        body: the type of the request's body.
        articles: whether `articles=true` adds to each item what is shown of its article.
        conditional: whether `If-None-Match` is heeded.
        is_traced: whether a request's trace context goes on with what is published.
    """

    operation: str
    method: str
    path: str
    summary: str
    description: str
    status: int
    answer: Any
    problems: tuple[Kind, ...] = ()
    body: Any = None
    articles: bool = False
    conditional: bool = False
    media_type: str = "application/json"
    is_traced: bool = False


ALWAYS = (
    Kind.INVALID_REQUEST,
    Kind.UNAUTHORIZED,
    Kind.FORBIDDEN,
    Kind.TOO_MANY_REQUESTS,
    Kind.INTERNAL,
    Kind.UNAVAILABLE,
)
_OF_BODIES = (Kind.REQUEST_TIMEOUT, Kind.TOO_LARGE, Kind.UNSUPPORTED_MEDIA_TYPE)

ROUTES = (
    Route(
        "getProfile",
        "GET",
        "/v1/readers/{user_id}/profile",
        "Who the model thinks a reader is",
        "404 for a reader without clicks, and for one who objects to profiling.",
        200,
        Profile,
        (Kind.NOT_FOUND,),
        conditional=True,
    ),
    Route(
        "getRecommendations",
        "GET",
        "/v1/readers/{user_id}/recommendations",
        "A reader's front page",
        "The latest that a worker has made, without articles that have been withdrawn since.",
        200,
        Page,
        (Kind.NOT_FOUND,),
        articles=True,
        conditional=True,
    ),
    Route(
        "watchReader",
        "GET",
        "/v1/readers/{user_id}/events",
        "Server-sent events: a reader's profile and page, whenever either changes",
        "An event `profile` has the JSON of a Profile for data, `recommendations` that of a Page; "
        "`null` where there is none, or none any more. Both come at once after the start. A "
        "client that comes back with `Last-Event-ID` is sent only what has changed since.",
        200,
        None,
        (Kind.BUSY,),
        articles=True,
        media_type=EVENT_STREAM,
    ),
    Route(
        "publishVisit",
        "POST",
        "/v1/readers/{user_id}/visits",
        "A reader opens the front page",
        "Published to Kafka; a worker answers with a new page, also for who never clicked.",
        202,
        VisitAccepted,
        (*_OF_BODIES, Kind.BUSY),
        body=VisitRequest,
        is_traced=True,
    ),
    Route(
        "getPreferences",
        "GET",
        "/v1/readers/{user_id}/preferences",
        "What a reader does not want",
        "As the workers heed it. 404 for a reader who has never wished for anything; one who has "
        "lifted everything has empty lists.",
        200,
        Preferences,
        (Kind.NOT_FOUND,),
        conditional=True,
    ),
    Route(
        "putPreferences",
        "PUT",
        "/v1/readers/{user_id}/preferences",
        "A reader does not want some things",
        "Published to Kafka; a worker keeps it, and answers with a new page. It replaces what was "
        "wished before, whole: `{}` lifts everything. What has an older `timestamp` than what is "
        "kept changes nothing.",
        202,
        PreferencesAccepted,
        (*_OF_BODIES, Kind.BUSY),
        body=PreferencesRequest,
        is_traced=True,
    ),
    Route(
        "eraseReader",
        "DELETE",
        "/v1/readers/{user_id}",
        "Forget a reader",
        "Published to Kafka; a worker erases all that is held of the reader within seconds, and "
        "what they did up to now is not used any more, whatever is replayed.",
        202,
        ErasureAccepted,
        (Kind.BUSY,),
    ),
    Route(
        "getArticle",
        "GET",
        "/v1/articles/{article_id}",
        "An article",
        "Its body is cut to what the encoder reads. 410 for one that is withdrawn.",
        200,
        Article,
        (Kind.NOT_FOUND, Kind.WITHDRAWN),
        conditional=True,
    ),
    Route(
        "publishClicks",
        "POST",
        "/v1/clicks",
        "Readers opened articles",
        "One click or an array. 202 when the brokers have acknowledged all that can be used; "
        "the others are listed with the reason. 422 when none can be used. To send clicks again "
        "does no harm.",
        202,
        ClicksAccepted,
        (*_OF_BODIES, Kind.INVALID_MESSAGES, Kind.BUSY),
        body=Click | list[Click],
        is_traced=True,
    ),
    Route(
        "recommendToSession",
        "POST",
        "/v1/recommendations",
        "A front page for somebody without a name",
        "Made here and now from the clicks in the request; nothing is stored or published.",
        200,
        SessionPage,
        (*_OF_BODIES, Kind.NO_MODEL, Kind.BUSY),
        body=Session,
        articles=True,
    ),
)

DEMO_ROUTES = (
    Route(
        "getDemoReaders",
        "GET",
        "/v1/demo/readers",
        "Some readers, for a demo",
        "Only of a server that was started with `--demo`: to list readers is to give them away.",
        200,
        DemoReaders,
    ),
)
