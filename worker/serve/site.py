"""The composition root of `frontpage serve`: settings in, a web application out."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, NamedTuple, TypeAlias

import msgspec
from aiohttp import web

from schemas.bundle import MANIFEST_FILE
from schemas.errors import UnavailableError, WorkerFaultError
from worker.emitter import Emitter
from worker.faults import without_text
from worker.kafka_security import librdkafka_config
from worker.redis_client import Client, connect
from worker.serve.access import access, add_headers
from worker.serve.demo import Demo
from worker.serve.events import EventStreams
from worker.serve.handlers import Handler, Handlers
from worker.serve.live import Poller
from worker.serve.openapi import document
from worker.serve.pages import StoredPages
from worker.serve.probes import LIVE_PATH, READY_PATH, Probes
from worker.serve.problems import problems
from worker.serve.publishing import DELIVERY_S, Publisher
from worker.serve.rates import rates
from worker.serve.responses import json_response
from worker.serve.routes import DEMO_ROUTES, ROUTES, Route
from worker.serve.static import page_file
from worker.settings import Settings

MAX_BODY_BYTES = 1_000_000
REDIS_TIMEOUT_S = 1.0
"""Of one command, where the settings allow more: a page is not waited for as a batch is."""

SHUTDOWN_S = 3.0
"""How long requests in progress may take when the server stops."""

Duty: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

DOCUMENT_PATH = "/openapi.json"

logger = logging.getLogger(__name__)


class Site(NamedTuple):
    """A server that is put together.

    Attributes:
        app: what answers requests.
        duties: what runs beside, for as long as the server does.
        client: of Redis, to be closed at the end.
    """

    app: web.Application
    duties: list[Duty]
    client: Client


def build_site(settings: Settings, *, demo: bool = False, demo_readers: Sequence[str] = ()) -> Site:
    """Put the server together; nothing is connected before it starts.

    demo: whether readers may be listed. demo_readers: those who come first then.

    Raises:
        BundleError: when there is a bundle that cannot be served.
        SettingsError: when a URL or certificate cannot be used.
    """
    timeout_s = min(settings.redis_timeout_s, REDIS_TIMEOUT_S)
    client = connect(msgspec.structs.replace(settings, redis_timeout_s=timeout_s))
    pages = StoredPages(client)
    poller = Poller(pages)
    emitter = Emitter(librdkafka_config(settings), timeout_s=DELIVERY_S)
    publisher = Publisher(emitter)
    duties: list[Duty] = [publisher.run, poller.run]
    sessions = None
    if (settings.bundle / MANIFEST_FILE).exists():
        from worker.model import load_model
        from worker.serve.sessions import Sessions

        sessions = Sessions(settings, client, load_model(settings.bundle))
        duties += [sessions.run, sessions.follow]
    else:
        logger.warning("no bundle: no pages for sessions without a name")
    streams = EventStreams(pages, poller)
    handlers = Handlers(pages, streams, publisher, sessions, settings.topics, settings.trace)
    by_operation = dict(handlers.by_operation())
    routes = list(ROUTES)
    if demo:
        routes += DEMO_ROUTES
        by_operation["getDemoReaders"] = Demo(client, demo_readers).readers

    # After who may ask: what others send is refused, and must not use up what a client may.
    limit = rates(settings.http_write_rate, settings.http_read_rate, settings.http_proxies)
    app = web.Application(
        middlewares=[problems, access(settings.http_token), limit], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(add_headers)
    for route in routes:
        _add(app, route, by_operation[route.operation])
    probes = Probes(lambda: sessions is None or sessions.is_ready)
    app.router.add_get(LIVE_PATH, probes.live)
    app.router.add_get(READY_PATH, probes.ready)
    app.router.add_get(DOCUMENT_PATH, _document(routes))
    app.router.add_get("/", page_file)
    app.router.add_get("/{name}", page_file)

    async def end_streams(_: web.Application) -> None:
        poller.stop()

    app.on_shutdown.append(end_streams)
    return Site(app, duties, client)


class Running(NamedTuple):
    """A server that answers.

    Attributes:
        address: its URL.
        duties: what runs beside it.
    """

    address: str
    duties: list[asyncio.Task[None]]

    async def until(self, stop: asyncio.Event) -> None:
        """Wait until it is to stop.

        Raises:
            WorkerFaultError: after a fault of ours; half a server must not look whole.
        """
        stopped = asyncio.ensure_future(stop.wait())
        await asyncio.wait([stopped, *self.duties], return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        for duty in self.duties:
            if duty.done() and (error := duty.exception()) is not None:
                raise WorkerFaultError(without_text(error)) from None


@asynccontextmanager
async def serving(site: Site, host: str, port: int) -> AsyncIterator[Running]:
    """Serve meanwhile. port: 0 for any that is free.

    Raises:
        UnavailableError: when nothing can listen there.
    """
    # No access log: paths hold readers' ids.
    runner = web.AppRunner(site.app, access_log=None, shutdown_timeout=SHUTDOWN_S)
    duties: list[asyncio.Task[None]] = []
    try:
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UnavailableError(f"cannot listen on {host}:{port}: {error.strerror}") from error
        duties = [asyncio.create_task(duty()) for duty in site.duties]
        name, number = runner.addresses[0][:2]
        yield Running(f"http://{f'[{name}]' if ':' in name else name}:{number}", duties)
    finally:
        await runner.cleanup()
        for duty in duties:
            duty.cancel()
        await asyncio.gather(*duties, return_exceptions=True)
        await site.client.aclose()


def _add(app: web.Application, route: Route, handler: Handler) -> None:
    # aiohttp's own pattern lets no braces through, and an id may have them.
    path = re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", route.path)
    if route.method == "GET":
        app.router.add_get(path, handler, allow_head=route.answer is not None)
    else:
        app.router.add_route(route.method, path, handler)


def _document(routes: Sequence[Route]) -> Handler:
    body = msgspec.json.encode(document(routes, version("frontpage")))

    async def answer(request: web.Request) -> web.StreamResponse:
        return json_response(request, body)

    return answer
