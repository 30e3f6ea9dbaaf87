"""Who may ask what: the token, other web sites, and the headers that keep browsers from mischief.

Without a token only this machine may ask. A web site that a browser on this machine has open must
not ask in its place: names of other hosts are refused (DNS rebinding), and so are requests that
change something and come from another origin, or could come from a form.
"""

from urllib.parse import urlsplit

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from worker.http_access import bears_token, is_loopback
from worker.serve.problems import Kind, ProblemError

PROTECTED = "/v1/"
"""What is about readers; the page and the document of the API hold nothing."""

WITH_BODIES = frozenset({hdrs.METH_POST, hdrs.METH_PUT})
SAFE_METHODS = frozenset({hdrs.METH_GET, hdrs.METH_HEAD, hdrs.METH_OPTIONS})

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    hdrs.SERVER: "frontpage",
}


def access(token: str | None) -> Middleware:
    """Return what lets only those requests through that may come."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if token is None and not is_loopback(_name_of(request.host)):
            raise ProblemError(Kind.FORBIDDEN, "another host name needs FRONTPAGE_HTTP_TOKEN")
        authorization = request.headers.get(hdrs.AUTHORIZATION)
        is_open = token is None or not request.path.startswith(PROTECTED)
        if not is_open and not bears_token(authorization, token or ""):
            raise ProblemError(Kind.UNAUTHORIZED)
        if request.method not in SAFE_METHODS:
            _check_origin(request)
        return await handler(request)

    return check


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Add the security headers to every response, streams and errors included."""
    response.headers.update(HEADERS)


def _check_origin(request: web.Request) -> None:
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != request.host.lower():
        raise ProblemError(Kind.FORBIDDEN, "another origin")
    # A form cannot send this type, and a script of another origin has to ask before, in vain.
    is_served = request.match_info.http_exception is None  # or 404 and 405 say what is wrong
    has_body = is_served and request.method in WITH_BODIES
    if has_body and request.content_type != "application/json":
        raise ProblemError(Kind.UNSUPPORTED_MEDIA_TYPE)


def _name_of(host: str) -> str:
    """Return a `Host` without its port.

    >>> _name_of("127.0.0.1:8080"), _name_of("[::1]:8080"), _name_of("localhost")
    ('127.0.0.1', '::1', 'localhost')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
