"""How often a client may ask: a token bucket each, so that one of them leaves room for the others.

There is one token of access for all, which tells nobody apart; a client is an address. Each server
counts for itself: of several behind a balancer, each lets a client's rate through.
"""

import ipaddress
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from functools import lru_cache

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware

from worker.serve.access import PROTECTED, SAFE_METHODS
from worker.serve.problems import Kind, ProblemError

BURST_S = 2.0
"""A bucket holds what comes in so many seconds: a client that was quiet may ask for it at once."""

MAX_CLIENTS = 10_000
"""Most that are remembered, some 150 bytes each. One that is forgotten begins with a full bucket:
nobody is refused for there being many."""

LOG_S = 60.0
TINY_S = 1e-9
"""Of rounding: less is no wait."""

logger = logging.getLogger(__name__)


class Buckets:
    """A token bucket for each client, kept as the one moment at which it will be full again.

    rate: tokens a second that come, above 0. burst: tokens that a full bucket has, 1 at least.
    """

    def __init__(
        self,
        rate: float,
        burst: float,
        clock: Callable[[], float] = time.monotonic,
        max_clients: int = MAX_CLIENTS,
    ) -> None:
        self._token_s = 1.0 / rate
        self._empty_s = burst / rate
        self._clock = clock
        self._max_clients = max_clients
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many clients are remembered."""
        return len(self._full_at)

    def take(self, client: str) -> float:
        """Take a token: return 0.0; or, where there is none, the seconds until there is.

        >>> buckets = Buckets(rate=2.0, burst=1.0, clock=lambda: 7.0)
        >>> buckets.take("a"), buckets.take("a"), buckets.take("b")
        (0.0, 0.5, 0.0)
        """
        now = self._clock()
        full_at = max(self._full_at.get(client, now), now) + self._token_s
        wait_s = full_at - now - self._empty_s
        if wait_s > TINY_S:
            self._full_at.move_to_end(client)
            return wait_s
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._max_clients:
            self._full_at.popitem(last=False)
        return 0.0


def rates(write_rate: float, read_rate: float, num_proxies: int) -> Middleware:
    """Return what refuses requests about readers that come too fast from one client.

    write_rate: a second, of requests that publish or rank, as all do whose method is not a safe
    one. read_rate: a second, of the others. Of either 0 lets everything through. num_proxies: in
    front; see `client_of`.
    """
    writes, reads = _buckets(write_rate), _buckets(read_rate)
    told_at = -LOG_S

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal told_at
        buckets = reads if request.method in SAFE_METHODS else writes
        if buckets is None or not request.path.startswith(PROTECTED):
            return await handler(request)
        wait_s = buckets.take(client_of(request, num_proxies))
        if not wait_s:
            return await handler(request)
        now = time.monotonic()
        if now - told_at >= LOG_S:  # not for each: what is too much is not to be logged as often
            told_at = now
            logger.warning("a client asks too often: its requests are refused, with 429")
        headers = {"Retry-After": str(math.ceil(wait_s))}
        raise ProblemError(Kind.TOO_MANY_REQUESTS, headers=headers)

    return check


def client_of(request: web.Request, num_proxies: int) -> str:
    """Return what stands for the client of a request.

    num_proxies: how many are in front, each of which adds to `X-Forwarded-For` whom it was asked
    by. So many from the right is what the outermost of them saw; what is left of it anybody can
    make up, and with 0 all of it.
    """
    peer = request.remote or ""
    if num_proxies:
        said = ",".join(request.headers.getall(hdrs.X_FORWARDED_FOR, ())).split(",")
        if len(said) >= num_proxies and (named := network_of(said[-num_proxies].strip())):
            return named
    return network_of(peer) or peer


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return an IPv4 address, or the network of an IPv6 one; empty of what is no address.

    A client of IPv6 usually has 2**64 addresses: what counts is its network.

    >>> network_of("192.0.2.7"), network_of("::ffff:192.0.2.7"), network_of("unknown")
    ('192.0.2.7', '192.0.2.7', '')
    >>> network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")
    True
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Address(int(found) >> 64 << 64))


def _buckets(rate: float) -> Buckets | None:
    return Buckets(rate, max(1.0, rate * BURST_S)) if rate else None
