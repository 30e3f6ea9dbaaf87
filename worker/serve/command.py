"""`frontpage serve`: the HTTP API and the page."""

import asyncio
import os
import signal
from collections.abc import Sequence

import click
import msgspec

from worker.http_access import check_access
from worker.reader_id import ReaderId
from worker.settings import PREFIX, Settings, read_settings


@click.command()
@click.option("--host", help=f"Where to listen; {PREFIX}HTTP_HOST.")
@click.option("--port", type=click.IntRange(0, 65535), help=f"{PREFIX}HTTP_PORT; 0: any.")
@click.option("--demo", is_flag=True, help="Let anybody who may ask list some readers.")
@click.option(
    "--demo-reader", "demo_readers", type=ReaderId(), multiple=True, help="One to list first."
)
def serve(host: str | None, port: int | None, demo: bool, demo_readers: tuple[str, ...]) -> None:
    """Serve the page and the HTTP API; until SIGTERM.

    Reads Redis, and publishes clicks, visits, preferences and erasures to Kafka. Prints its
    address when it is there.
    """
    # One thread is as fast for products this small, and leaves the others to requests.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    settings = read_settings(os.environ)
    if host is not None:
        settings = msgspec.structs.replace(settings, http_host=host)
    if port is not None:
        settings = msgspec.structs.replace(settings, http_port=port)
    check_access("HTTP_HOST", settings.http_host, settings.http_token)
    # Imported here, as below: no other command needs it.
    from worker.logs import set_up_logging

    set_up_logging(settings.log_level, settings.log_format)
    asyncio.run(_serve(settings, demo, demo_readers))


async def _serve(settings: Settings, demo: bool, demo_readers: Sequence[str]) -> None:
    from worker.serve.site import build_site, serving

    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    site = build_site(settings, demo=demo, demo_readers=demo_readers)
    async with serving(site, settings.http_host, settings.http_port) as server:
        click.echo(f"{server.address}/")
        await server.until(stop)
