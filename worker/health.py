"""Ask what runs on this machine whether it lives and is ready: a container's health check.

    python -m worker.health           # a worker
    python -m worker.health serve     # `frontpage serve`

A worker is asked at its operations endpoint, so `FRONTPAGE_METRICS_PORT` must be set; see
`worker.operations`.
"""

import os
import sys
import urllib.error
import urllib.request

import click

from schemas.errors import FrontpageError, SettingsError, UnavailableError
from worker.settings import PREFIX, Settings, read_settings

TIMEOUT_S = 5.0
SERVE = "serve"
ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 not bound to: asked


def check(settings: Settings) -> None:
    """Fail unless the worker answers that it is ready and that it lives.

    Raises:
        SettingsError: when there is no port to ask at.
        UnavailableError: gives its answer, or says that there is none.
    """
    if not settings.metrics_port:
        raise SettingsError(f"{PREFIX}METRICS_PORT: needed, the worker is asked there")
    _ask(settings.metrics_host, settings.metrics_port)


def check_server(settings: Settings) -> None:
    """Fail unless `frontpage serve` answers that it is ready and that it lives.

    Raises:
        SettingsError: when there is no port to ask at.
        UnavailableError: gives its answer, or says that there is none.
    """
    if not settings.http_port:
        raise SettingsError(f"{PREFIX}HTTP_PORT: needed, the server is asked there")
    _ask(settings.http_host, settings.http_port)


def _ask(listening: str, port: int) -> None:
    host = ANYWHERE.get(listening, listening)
    own = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # no proxy in between
    for path in ("ready", "live"):
        try:
            url = f"http://{host}:{port}/{path}"
            with own.open(url, timeout=TIMEOUT_S):
                pass
        except urllib.error.HTTPError as error:
            with error:
                raise UnavailableError(f"/{path}: {error.read(1000).decode().strip()}") from error
        except OSError as error:
            raise UnavailableError(f"/{path}: no answer") from error


def main() -> int:
    """Exit with 0 when healthy, else print the reason and exit with 1."""
    try:
        settings = read_settings(os.environ)
        if sys.argv[1:] == [SERVE]:
            check_server(settings)
        else:
            check(settings)
    except FrontpageError as error:
        click.echo(f"unhealthy: {error}", err=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
