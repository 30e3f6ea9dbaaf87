"""`frontpage top`: see at a glance what the workers do."""

import asyncio
import os
import sys
import time
from collections import deque
from typing import Any

import click
import msgspec
from aiohttp import ClientSession
from redis.asyncio import RedisCluster

from worker.commands import json_option
from worker.redis_client import ERRORS, Client, connect
from worker.settings import Settings, read_settings
from worker.top.figures import MINUTE_S, History
from worker.top.scrape import Workers
from worker.top.screen import look_of, render
from worker.top.state import Frame, RedisFigures, with_attention
from worker.top.terminal import terminal
from worker.top.trends import TagTrends

USUAL_PORT = 9464
"""Of workers in containers."""

ONCE_S = 2.0
"""Workers ask the brokers what waits every two seconds."""

REDIS_S = 1.5
"""For all that is asked of Redis."""


@click.command()
@click.option(
    "--worker",
    "workers",
    multiple=True,
    metavar="URL",
    help="Where a worker serves /metrics; may be given several times. By default where the "
    f"settings say that one does, else port {USUAL_PORT} of this machine.",
)
@click.option(
    "--interval",
    type=click.FloatRange(min=0.2, max=60.0),
    default=2.0,
    show_default=True,
    help="Seconds between two looks.",
)
@click.option("--once", is_flag=True, help="Print one frame without colours, and end.")
@json_option
def top(workers: tuple[str, ...], interval: float, once: bool, as_json: bool) -> None:
    """Watch the workers: rates, lag, stages, trouble, and which tags are hot; `q` ends it.

    Reads /metrics of each worker (with FRONTPAGE_HTTP_TOKEN, if that is set) and Redis, twice for
    a frame. Nothing is shown of any reader.
    """
    settings = read_settings(os.environ)
    urls = [address_of(each) for each in workers] or [_own(settings)]
    is_live = not (once or as_json) and sys.stdout.isatty()
    frame = asyncio.run(_watch(settings, list(dict.fromkeys(urls)), interval, is_live=is_live))
    if as_json:
        click.echo(msgspec.json.encode(frame).decode())
    elif not is_live:
        look = look_of(None, colours=False, encoding=sys.stdout.encoding)
        click.echo("\n".join(render(frame, look._replace(height=1000))))


def address_of(given: str) -> str:
    """Return a URL without a slash behind it.

    >>> address_of("127.0.0.1:9464"), address_of("https://worker.example/a/")
    ('http://127.0.0.1:9464', 'https://worker.example/a')
    """
    url = given if given.startswith(("http://", "https://")) else f"http://{given}"
    return url.rstrip("/").removesuffix("/metrics")


def _own(settings: Settings) -> str:
    host = settings.metrics_host
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 where it listens
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.metrics_port or USUAL_PORT}"


async def _watch(settings: Settings, urls: list[str], interval_s: float, *, is_live: bool) -> Frame:
    """Show frames until told to end, or look twice; return the last frame."""
    client = connect(settings)
    try:
        async with ClientSession() as session:
            watcher = Watcher(Workers(session, urls, settings.http_token), client)
            frame = await watcher.look()
            if not is_live:
                await asyncio.sleep(ONCE_S)
                return await watcher.look()
            colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            async with terminal() as screen:
                while not screen.stop.is_set():
                    look = look_of(None, colours=colours, encoding=sys.stdout.encoding)
                    screen.show(render(frame, look))
                    await screen.wait(interval_s)
                    if not screen.stop.is_set():
                        frame = await watcher.look()
            return frame
    finally:
        await client.aclose()


class Watcher:
    """Ask workers and Redis, and make of it what is shown."""

    def __init__(self, workers: Workers, client: Client) -> None:
        self._workers = workers
        self._client = client
        self._history = History()
        self._trends = TagTrends(client)
        self._past: deque[tuple[float, float, int]] = deque()

    async def look(self) -> Frame:
        """Look once; of the first frame the rates are not known."""
        answers = await self._workers.ask()
        workers, total = self._history.take(answers)
        now_s = time.monotonic()
        if total.clicks_per_s is not None:
            self._past.append((now_s, total.clicks_per_s, total.num_waiting))
        while self._past and now_s - self._past[0][0] > MINUTE_S:
            self._past.popleft()
        try:
            # Its own retries would hold up what the workers say.
            async with asyncio.timeout(REDIS_S):
                redis = await redis_figures(self._client)
                await self._trends.look(total.models[0] if total.models else None)
        except (*ERRORS, OSError) as error:
            redis = RedisFigures(problem=f"does not answer ({type(error).__name__})")
        return with_attention(
            Frame(
                time_ms=time.time_ns() // 1_000_000,
                workers=workers,
                total=total,
                redis=redis,
                trends=self._trends.latest,
                clicks_per_s=[rate for _, rate, _ in self._past],
                waiting=[num for _, _, num in self._past],
            )
        )


async def redis_figures(client: Client) -> RedisFigures:
    """Ask Redis how it is."""
    if isinstance(client, RedisCluster):
        answers: Any = await client.info(target_nodes=RedisCluster.PRIMARIES)
        nodes = list(answers.values()) if "used_memory" not in answers else [answers]
    else:
        nodes = [await client.info()]
    return RedisFigures(
        memory_bytes=sum(int(each["used_memory"]) for each in nodes),
        commands_per_s=sum(int(each["instantaneous_ops_per_sec"]) for each in nodes),
    )
