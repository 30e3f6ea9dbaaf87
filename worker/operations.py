"""The worker's operations endpoint: `/metrics` for Prometheus, `/live` and `/ready` for probes.

It runs in the worker's own event loop: a loop that hangs does not answer, which says the same as
a refusal. `/live` and `/ready` need no token, because a kubelet or a container's health check
cannot keep one; they say in a word or two how the worker is, and nothing of readers, messages
or numbers.
"""

import asyncio
import logging
import socket

from aiohttp import web

from schemas.errors import SettingsError
from worker.health_state import HealthState, Verdict
from worker.http_access import access_middleware, check_access
from worker.lag import Lag
from worker.metrics import Metrics
from worker.probe_answer import probe_answer
from worker.settings import PREFIX, Settings

LOOK_S = 1.0
ASK_EVERY = 2
"""Looks until the brokers are asked again."""

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

logger = logging.getLogger(__name__)


def listen(settings: Settings) -> socket.socket | None:
    """Return a socket that listens where the settings say; None where they name no port.

    Raises:
        SettingsError: when others would reach it and no token is set, or it cannot be had.
    """
    if settings.metrics_port is None:
        return None
    host, port = settings.metrics_host, settings.metrics_port
    check_access("METRICS_HOST", host, settings.http_token)
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family)
    except OSError as error:
        raise SettingsError(
            f"{PREFIX}METRICS_HOST, {PREFIX}METRICS_PORT: {host} port {port}: {error.strerror}"
        ) from error


class Operations:
    """Serve metrics and answer probes.

    listening: a socket that listens; None to serve nothing.
    """

    def __init__(
        self,
        listening: socket.socket | None,
        token: str | None,
        metrics: Metrics,
        health: HealthState,
        lag: Lag,
    ) -> None:
        self._listening = listening
        self._token = token
        self._metrics = metrics
        self._health = health
        self._lag = lag
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Serve from now on."""
        if self._listening is None:
            return
        app = web.Application(middlewares=[access_middleware(self._token, ("/live", "/ready"))])
        app.router.add_get("/metrics", self._answer_metrics)
        app.router.add_get("/live", self._answer_live)
        app.router.add_get("/ready", self._answer_ready)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listening).start()
        host, port = self._listening.getsockname()[:2]
        logger.info("operations endpoint: %s port %d", host, port)

    async def stop(self) -> None:
        """Serve no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def look(self) -> None:
        """Look now and then: when messages began to wait is known from when none did."""
        if self._listening is None:
            return
        looks = 0
        while True:
            self._is_live()
            if looks % ASK_EVERY == 0:
                await self._lag.ask()
            looks += 1
            await asyncio.sleep(LOOK_S)

    def _is_live(self) -> Verdict:
        num_waiting = sum(self._lag.by_partition().values())
        return self._health.is_live(num_waiting, self._lag.brokers_answer)

    async def _answer_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=self._metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    async def _answer_live(self, _: web.Request) -> web.Response:
        return probe_answer(self._is_live())

    async def _answer_ready(self, _: web.Request) -> web.Response:
        return probe_answer(self._health.is_ready())
