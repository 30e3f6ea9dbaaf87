"""Connect to Redis or Redis Cluster, and tell what is transient from what is not."""

import re
from collections.abc import Sequence
from typing import Any, TypeAlias, cast

import redis.exceptions
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from schemas.errors import SettingsError, UnavailableError
from worker.settings import PREFIX, Settings

Client: TypeAlias = "Redis | RedisCluster"

ERRORS = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException)
"""Every error of redis-py: the second is not one of the first."""

_TRANSIENT = (
    UnavailableError,
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.ClusterError,
    redis.exceptions.OutOfMemoryError,
    redis.exceptions.ReadOnlyError,
    redis.exceptions.TryAgainError,
    redis.exceptions.RedisClusterException,
    OSError,
    TimeoutError,
)

# Inside a script these reach the client as a plain ResponseError with the word in its text.
_TRANSIENT_REPLIES = re.compile(
    r"\b(OOM|LOADING|READONLY|MISCONF|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|NOREPLICAS|BUSY)\b"
)


def is_transient(error: Exception) -> bool:
    """Tell what goes away by waiting: the caller does the same batch again.

    >>> is_transient(redis.exceptions.ResponseError("Error running script: -OOM command not ..."))
    True
    >>> is_transient(redis.exceptions.ResponseError("GET {BUSY} caused error: WRONGTYPE ..."))
    False
    """
    if isinstance(error, _TRANSIENT):
        return True
    if not isinstance(error, redis.exceptions.ResponseError):
        return False
    # A pipeline's error quotes the command first, and with it a reader's id, whatever it says.
    reply = str(error).rpartition("caused error:")[2]
    return _TRANSIENT_REPLIES.search(reply) is not None


def dependency_of(error: Exception) -> str:
    """Name what a transient error is the fault of: `redis`, `kafka`, or `other`.

    >>> dependency_of(redis.exceptions.ConnectionError()), dependency_of(UnavailableError())
    ('redis', 'kafka')
    """
    if isinstance(error, ERRORS):
        return "redis"
    return "kafka" if isinstance(error, UnavailableError) else "other"


def connect(settings: Settings) -> Client:
    """Return a client; nothing is sent before its first use.

    Raises:
        SettingsError: when the URL cannot be understood.
    """
    options: dict[str, Any] = {
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        # Every command here may be repeated without harm.
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), retries=3),
    }
    if settings.redis_ca_file is not None and settings.redis_url.startswith("rediss://"):
        options["ssl_ca_certs"] = str(settings.redis_ca_file)
    try:
        if settings.redis_cluster:
            return RedisCluster.from_url(settings.redis_url, **options)
        client = Redis.from_url(settings.redis_url, **options)
        # Refuses options of the URL that do not exist, here and not in mid-stream.
        cast("Any", client.connection_pool).make_connection()
        return client
    except (ValueError, TypeError, *ERRORS) as error:
        # Its text may quote a part of the password.
        kind = type(error).__name__
        raise SettingsError(f"{PREFIX}REDIS_URL: not a valid Redis URL ({kind})") from None


async def check(client: Client) -> None:
    """Fail unless Redis answers.

    Raises:
        UnavailableError: names the reason, never the URL, which may hold a password.
    """
    try:
        if isinstance(client, RedisCluster):
            await client.initialize()
        await client.ping()
    except (*ERRORS, OSError) as error:
        raise UnavailableError(f"Redis ({PREFIX}REDIS_URL): {error}") from error


async def get_many(client: Client, names: Sequence[str]) -> list[bytes | None]:
    """Return the values of the keys, in one round trip (on a cluster: one to each node)."""
    if not names:
        return []
    if not isinstance(client, RedisCluster):
        replies: list[bytes | None] = await cast("Any", client.mget(names))
        return replies
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.get(name)
    return list(await pipeline.execute())
