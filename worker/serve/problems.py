"""Errors as `application/problem+json` (RFC 9457), whatever was raised."""

import logging
from collections.abc import Mapping, Sequence
from enum import Enum

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from schemas.errors import UnavailableError
from worker.faults import without_text
from worker.redis_client import ERRORS
from worker.serve.records import BadItem, Problem

PREFIX = "urn:frontpage:problem:"
CONTENT_TYPE = "application/problem+json"

logger = logging.getLogger(__name__)


class Kind(Enum):
    """The problems there are: status and title by name; the name never changes."""

    INVALID_REQUEST = (400, "The request cannot be understood")
    UNAUTHORIZED = (401, "A bearer token is needed")
    FORBIDDEN = (403, "The request comes from somewhere else")
    NOT_FOUND = (404, "There is no such thing")
    METHOD_NOT_ALLOWED = (405, "The method is not for this path")
    REQUEST_TIMEOUT = (408, "The request did not come in time")
    WITHDRAWN = (410, "The article is withdrawn")
    TOO_LARGE = (413, "The request is too large")
    UNSUPPORTED_MEDIA_TYPE = (415, "The content type must be application/json")
    INVALID_MESSAGES = (422, "None of it can be used")
    TOO_MANY_REQUESTS = (429, "One client asks too often")
    INTERNAL = (500, "A fault of the server")
    UNAVAILABLE = (503, "Redis or Kafka do not answer")
    BUSY = (503, "Too much at once")
    NO_MODEL = (503, "No model is loaded here")

    @property
    def type(self) -> str:
        """The URI of the problem.

        >>> Kind.NOT_FOUND.type
        'urn:frontpage:problem:not-found'
        """
        return PREFIX + self.name.lower().replace("_", "-")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.value[0]


class ProblemError(Exception):
    """End a request with a problem. detail: never holds anything of a reader."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        errors: Sequence[BadItem] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(kind.name)
        self.headers = headers
        self.kind = kind
        self.detail = detail
        self.errors = list(errors)


def problem_response(
    kind: Kind,
    detail: str = "",
    errors: Sequence[BadItem] = (),
    headers: Mapping[str, str] | None = None,
) -> web.Response:
    """Return the response that says so."""
    problem = Problem(
        type=kind.type,
        title=kind.value[1],
        status=kind.status,
        detail=detail,
        errors=list(errors),
    )
    sent = dict(headers or {})
    sent["Cache-Control"] = "no-store"
    if kind.status == 503:
        sent["Retry-After"] = "1"
    if kind is Kind.UNAUTHORIZED:
        sent["WWW-Authenticate"] = "Bearer"
    body = msgspec.json.encode(problem)
    return web.Response(body=body, status=kind.status, content_type=CONTENT_TYPE, headers=sent)


_OF_STATUS = {
    404: Kind.NOT_FOUND,
    405: Kind.METHOD_NOT_ALLOWED,
    413: Kind.TOO_LARGE,
}


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error with a problem."""
    try:
        return await handler(request)
    except ProblemError as error:
        return problem_response(error.kind, error.detail, error.errors, error.headers)
    except web.HTTPException as error:
        kind = _OF_STATUS.get(error.status, Kind.INVALID_REQUEST)
        allow = error.headers.get("Allow")
        return problem_response(kind, headers={"Allow": allow} if allow else None)
    except (*ERRORS, UnavailableError, OSError) as error:
        if isinstance(error, ConnectionResetError) and request.transport is None:
            raise  # the client has gone: there is nobody to answer
        logger.warning("a request could not be answered: %s", type(error).__name__)
        return problem_response(Kind.UNAVAILABLE)
    except Exception as error:
        logger.error("a request failed: %s", without_text(error))
        return problem_response(Kind.INTERNAL)
