"""Who may use an HTTP endpoint: programs of this machine; from elsewhere, whoever has the token.

An endpoint listens on loopback unless told otherwise, and refuses to start anywhere else without a
token. With one, requests carry `Authorization: Bearer TOKEN`, from this machine too. The token
crosses the network as it is: put a proxy that speaks TLS in front of it.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Collection

from aiohttp import web
from aiohttp.typedefs import Middleware

from schemas.errors import SettingsError
from worker.settings import PREFIX

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def is_loopback(host: str) -> bool:
    """Tell whether only this machine reaches an address or name; other names are not looked up.

    >>> [is_loopback(each) for each in ("127.0.0.1", "::1", "localhost", "0.0.0.0", "a.example")]
    [True, True, True, False, False]
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_access(setting: str, host: str, token: str | None) -> None:
    """Refuse an address that others reach when no token is set.

    setting: the name of the host's setting, in upper case without its prefix.

    Raises:
        SettingsError: names both settings.
    """
    if token is None and not is_loopback(host):
        raise SettingsError(f"{PREFIX}{setting}: other than loopback needs {PREFIX}HTTP_TOKEN")


def bears_token(authorization: str | None, token: str) -> bool:
    """Tell whether an `Authorization` header carries the token, in time that tells nothing of it.

    >>> bears_token("Bearer 0123456789abcdef", "0123456789abcdef"), bears_token(None, "x")
    (True, False)
    """
    scheme, _, given = (authorization or "").partition(" ")
    same = hmac.compare_digest(given.strip().encode(errors="replace"), token.encode())
    return same and scheme.lower() == "bearer"


def access_middleware(token: str | None, open_paths: Collection[str] = ()) -> Middleware:
    """Return what lets through only who may.

    token: None where only loopback is listened on. Then requests must name this machine as their
    host: a page in a browser here may have a name of its own lead to 127.0.0.1 (DNS rebinding).
    open_paths: for everybody who reaches them; what they answer must tell nothing worth keeping.
    """

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in open_paths:
            return await handler(request)
        if token is None:
            if not is_loopback(_name_of(request.host)):
                raise web.HTTPForbidden(text="this endpoint is for this machine\n")
        elif not bears_token(request.headers.get("Authorization"), token):
            raise web.HTTPUnauthorized(
                text="needs a token\n", headers={"WWW-Authenticate": "Bearer"}
            )
        return await handler(request)

    return check


def _name_of(host: str) -> str:
    """Return a Host header without its port.

    >>> [_name_of(each) for each in ("localhost:80", "[::1]:80", "::1", "127.0.0.1")]
    ['localhost', '::1', '::1', '127.0.0.1']
    """
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0] if host.count(":") == 1 else host
