"""The subcommands around a running system: worker, replay, profile, recommend."""

import asyncio
import gc
import json
import os
import random
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from schemas.errors import FrontpageError, UnavailableError
from schemas.reading_set import ReadingSet
from worker.allocator import give_back_what_is_large
from worker.reader_id import ReaderId
from worker.redis_client import ERRORS, Client, check, connect
from worker.settings import Settings, read_settings

Result = TypeVar("Result")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.command()
def worker() -> None:
    """Consume clicks and articles; keep profiles and front pages current.

    Configured by environment variables, FRONTPAGE_…; runs until SIGTERM or Ctrl-C.
    """
    # Told to stop while it still starts, a worker has nothing to drain.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    give_back_what_is_large()
    # OpenBLAS reads this when it is loaded. Its threads wait for the next product busily, and the
    # products here are small: they took two fifths of the CPU time of a click and gave nothing.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What is imported and loaded stays: to look through it again and again meanwhile would be a
    # tenth of the start. `App` lets the collector begin.
    gc.disable()
    # Imported here: no other command needs Faust and onnxruntime, which take long to import.
    from worker.app import build_app, check_kafka, run_app
    from worker.model import load_model

    settings = read_settings(os.environ)
    model = load_model(settings.bundle)
    check_kafka(settings)
    with_redis(settings, check)
    run_app(build_app(settings, model), settings)


@click.command()
@click.argument("dataset", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Clicks a second.")
@click.option("--shuffle", type=int, metavar="SEED", help="Publish in random order.")
@click.option("--articles/--no-articles", "with_articles", default=True)
@click.option("--clicks/--no-clicks", "with_clicks", default=True)
@json_option
def replay(
    dataset: Path,
    rate: float | None,
    shuffle: int | None,
    with_articles: bool,
    with_clicks: bool,
    as_json: bool,
) -> None:
    """Publish a reading set: its articles, then its clicks."""
    from worker.kafka_security import librdkafka_config
    from worker.replay import Replay

    settings = read_settings(os.environ)
    run = Replay(librdkafka_config(settings), settings.topics)
    reading_set = ReadingSet(dataset)
    order = None if shuffle is None else random.Random(shuffle)
    num_articles = run.articles(reading_set, shuffle=order) if with_articles else 0
    num_clicks = run.clicks(reading_set, rate=rate, shuffle=order) if with_clicks else 0
    if as_json:
        click.echo(json.dumps({"articles": num_articles, "clicks": num_clicks}))
    else:
        click.echo(f"published {num_articles:,} articles and {num_clicks:,} clicks")


@click.command()
@click.argument("user", type=ReaderId())
@json_option
def profile(user: str, as_json: bool) -> None:
    """Show who the model thinks a reader is."""
    from worker import show
    from worker.reader_store import ReaderStore

    settings = read_settings(os.environ)
    found = with_redis(
        settings, lambda client: ReaderStore(client, settings.ttl_ms, "").profile(user)
    )
    if found is None:
        raise FrontpageError("no profile of this reader")
    click.echo(msgspec.json.encode(found).decode() if as_json else show.profile(found))


@click.command()
@click.argument("user", type=ReaderId())
@json_option
def recommend(user: str, as_json: bool) -> None:
    """Show a reader's front page."""
    from worker import show

    settings = read_settings(os.environ)
    found = with_redis(settings, lambda client: show.load_front_page(client, user))
    if found is None:
        raise FrontpageError("no recommendations for this reader")
    if as_json:
        click.echo(msgspec.json.encode(found.recommendation).decode())
    else:
        click.echo(show.front_page(found))


def with_redis(settings: Settings, ask: Callable[[Client], Awaitable[Result]]) -> Result:
    """Connect to Redis, ask it something, disconnect.

    Raises:
        UnavailableError: when Redis does not answer.
    """

    async def run() -> Result:
        client = connect(settings)
        try:
            return await ask(client)
        except (*ERRORS, OSError) as error:
            # A pipeline's error quotes the command first, and with it a reader's id.
            reason = str(error).rpartition("caused error: ")[2]
            raise UnavailableError(f"Redis (FRONTPAGE_REDIS_URL): {reason}") from error
        finally:
            await client.aclose()

    return asyncio.run(run())
