"""`frontpage up`: the whole system on one machine, from nothing to two readers' front pages."""

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import click
from tqdm import tqdm

from schemas import keys
from schemas.bundle import MANIFEST_FILE
from schemas.errors import FrontpageError, UnavailableError
from schemas.reading_set import Reader, ReadingSet
from worker import show
from worker.kafka_security import librdkafka_config
from worker.local.broker import start_broker
from worker.local.redis_server import redis_cli_path, start_redis
from worker.local.server import RunningServer, free_port, launch, spawn
from worker.local.topics import create_topics
from worker.reader_store import ReaderStore
from worker.redis_client import connect
from worker.replay import Progress, Replay
from worker.settings import PREFIX, Settings, read_settings

PARTITIONS = 4
TRAINING_S = 100
"""Time budget of the training: patience for a demo, enough for the generated newsroom."""
CAUGHT_UP_S = 120.0
"""Longest time without progress that is waited for the worker."""
FETCH_WAIT_S = 0.05
"""The embedded broker lets this time pass before it looks again: who clicks sees what follows."""
PAGE_S = 30.0
"""Longest time until the page is served."""


@click.command()
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".frontpage"),
    show_default=True,
    help="Where generated data, the model and the logs go.",
)
@click.option(
    "--dataset",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A reading set to train on and replay; a generated newsroom otherwise.",
)
@click.option(
    "--bundle",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A trained model; one is trained otherwise, and kept for the next time.",
)
@click.option("--stay/--once", default=True, help="Keep running until Ctrl-C (the default).")
def up(data_dir: Path, dataset: Path | None, bundle: Path | None, stay: bool) -> None:
    """Start broker, Redis and worker on this machine, and replay a reading set through them."""
    data_dir = data_dir.resolve()
    started = time.monotonic()
    # `kill` stops the servers in order, as Ctrl-C does, and Ctrl-C does so even where a shell has
    # started this in the background, which ignores it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    dataset = dataset or _newsroom(data_dir)
    reading_set = ReadingSet(dataset)
    bundle = bundle or _trained(data_dir, dataset)
    with ExitStack() as stack:
        settings = _start_servers(stack, data_dir, bundle)
        worker = stack.enter_context(_worker(settings, data_dir / "logs"))
        left, right = contrasting_readers(reading_set)
        _replay(settings, reading_set, worker, [left.user_id, right.user_id])
        click.echo(asyncio.run(_two_front_pages(settings, left, right)))
        click.echo(f"\nready after {time.monotonic() - started:.0f} s")
        page = (
            stack.enter_context(_page(settings, data_dir / "logs", left, right)) if stay else None
        )
        click.echo(_look_further(settings, left, page, data_dir))
        if page:
            _stay(worker, page)


def _newsroom(data_dir: Path) -> Path:
    path = data_dir / "newsroom"
    if not (path / "dataset.json").exists():
        _step("generating a newsroom: articles, readers and what they click")
        shutil.rmtree(path, ignore_errors=True)
        _run("generate", str(path))
    return path


def _trained(data_dir: Path, dataset: Path) -> Path:
    path = data_dir / f"bundle-{dataset.name}"
    if not (path / MANIFEST_FILE).exists():
        _step("training the multi-head model and exporting it to ONNX")
        # Who wants the figures asks `frontpage evaluate`; a demo must not wait for them.
        budget = ("--max-seconds", str(TRAINING_S))
        _run("train", str(dataset), "--out", str(path), "--no-measure", *budget)
    return path


def _run(*arguments: str) -> None:
    """Run another subcommand in a process of its own: training needs torch, serving must not."""
    result = subprocess.run([sys.executable, "-m", "worker.cli", *arguments], check=False)
    if result.returncode:
        raise FrontpageError(f"`frontpage {arguments[0]}` failed with {result.returncode}")


def _start_servers(stack: ExitStack, data_dir: Path, bundle: Path) -> Settings:
    _step("starting a Kafka-protocol broker and Redis on this machine")
    logs = data_dir / "logs"
    redis = stack.enter_context(start_redis(logs))
    broker = stack.enter_context(start_broker(logs))
    settings = read_settings(
        {
            f"{PREFIX}FETCH_WAIT_S": str(FETCH_WAIT_S),
            f"{PREFIX}METRICS_PORT": str(free_port()),
            **{key: value for key, value in os.environ.items() if key.startswith(PREFIX)},
            f"{PREFIX}KAFKA_BOOTSTRAP": broker.bootstrap_servers,
            f"{PREFIX}REDIS_URL": f"{redis.url}/0",
            f"{PREFIX}BUNDLE": str(bundle),
            f"{PREFIX}DATA_DIR": str(data_dir / "worker"),
        }
    )
    topics = settings.topics
    create_topics(
        broker.bootstrap_servers,
        dict.fromkeys(topics.all(), PARTITIONS),
        config={name: topics.config(name) for name in topics.all()},
    )
    return settings


@contextmanager
def _worker(settings: Settings, logs: Path) -> Iterator[RunningServer]:
    _step("starting the worker")
    worker = spawn(
        "worker",
        "worker",
        [sys.executable, "-m", "worker.cli", "worker"],
        0,
        logs / "worker.log",
        env={**os.environ, **environment(settings)},
    )
    with worker:
        yield worker


@contextmanager
def _page(settings: Settings, logs: Path, *readers: Reader) -> Iterator[RunningServer]:
    """Serve the page and the API."""
    options = [f"--demo-reader={reader.user_id}" for reader in readers]
    with launch(
        "page",
        "http",
        logs,
        command=lambda port: [
            *(sys.executable, "-m", "worker.cli", "serve", f"--port={port}", "--demo"),
            *options,
        ],
        answers=lambda port, _: _has_page(port),
        port=_port_of_page(settings),
        timeout_s=PAGE_S,
        env={**os.environ, **environment(settings)},
    ) as server:
        yield server


def _has_page(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == HTTPStatus.OK
    except OSError:
        return False
    finally:
        connection.close()


def _port_of_page(settings: Settings) -> int | None:
    """Return the usual port, if nobody has it: a link that stays the same; None for another."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", settings.http_port))
        except OSError:
            return None
    return settings.http_port or None


def environment(settings: Settings) -> dict[str, str]:
    """Return the variables that make another process read the same settings."""
    defaults = Settings()
    return {
        PREFIX + name.upper(): str(value)
        for name in settings.__struct_fields__
        if (value := getattr(settings, name)) != getattr(defaults, name) and value is not None
    }


def _replay(
    settings: Settings, reading_set: ReadingSet, worker: RunningServer, visitors: Sequence[str]
) -> None:
    _step("publishing articles and clicks; the worker follows")
    run = Replay(librdkafka_config(settings), settings.topics)
    run.articles(reading_set)
    run.clicks(reading_set)
    _follow(settings, run, worker)
    # The pages that came with their last clicks are from the midst of the replay.
    _step("two readers come back")
    run.visits(visitors)
    _follow(settings, run, worker)


def _follow(settings: Settings, run: Replay, worker: RunningServer) -> None:
    """Wait until the worker has stored everything that was published."""
    progress = Progress(librdkafka_config(settings), settings.app_id, run.ends)
    total = progress.num_left()
    last_change = time.monotonic()
    with tqdm(None, "processed", total, unit="") as bar:
        while left := progress.num_left():
            if bar.n != total - left:
                bar.update(total - left - bar.n)
                last_change = time.monotonic()
            if not worker.is_alive():
                raise UnavailableError(f"the worker ended; see {worker.log_path}")
            if time.monotonic() - last_change > CAUGHT_UP_S:
                raise UnavailableError(f"the worker makes no progress; see {worker.log_path}")
            time.sleep(0.1)
        bar.update(total - bar.n)
    progress.close()


def contrasting_readers(reading_set: ReadingSet) -> tuple[Reader, Reader]:
    """Pick two readers whom the model has never seen and whose forms differ most.

    Raises:
        ReadingSetError: when the set cannot be read.
        FrontpageError: when it has fewer than two readers with clicks.
    """
    language = {article.article_id: article.language for article in reading_set.articles()}
    common = Counter(language.values()).most_common(1)[0][0] if language else None
    # Two pages that a visitor can compare are in one language, the commonest.
    clicks = Counter(
        each.user_id for each in reading_set.clicks() if language.get(each.article_id) == common
    )
    readers = [reader for reader in reading_set.readers() if reader.user_id in clicks]
    test = [reader for reader in readers if reader.split == "test"] or readers
    active = sorted(test, key=lambda reader: -clicks[reader.user_id])[: max(2, len(test) // 6)]
    pairs = [(a, b) for a in active[:100] for b in active[:100] if a is not b]
    if not pairs:
        raise FrontpageError(f"{reading_set.directory}: fewer than two readers with clicks")
    return max(pairs, key=lambda pair: _contrast(*pair))


def _contrast(left: Reader, right: Reader) -> float:
    years = (right.age or 0) - (left.age or 0) if left.age and right.age else 0.0
    genders = {left.gender, right.gender} == {"female", "male"}
    groups = abs((left.income_group or 0) - (right.income_group or 0))
    return years / 10 + 2 * genders + groups / 5


async def _two_front_pages(settings: Settings, *readers: Reader) -> str:
    client = connect(settings)
    columns = []
    try:
        store = ReaderStore(client, settings.ttl_ms, "")
        for reader in readers:
            profile = await store.profile(reader.user_id)
            page = await show.load_front_page(client, reader.user_id)
            if profile is None or page is None:
                raise FrontpageError("a reader has no front page")
            columns.append(_column(reader, show.profile_lines(profile), page))
    finally:
        await client.aclose()
    width = (shutil.get_terminal_size((120, 40)).columns - 2) // 2
    return "\n" + show.side_by_side(columns[0], columns[1], max(36, min(60, width)))


def _column(reader: Reader, profile_lines: list[str], page: show.FrontPageText) -> list[str]:
    form = [
        "-" if reader.age is None else f"{reader.age:.0f} years",
        reader.gender or "-",
        "-" if reader.income_group is None else f"income group {reader.income_group + 1}",
    ]
    lines = [f"READER {reader.user_id}", "", *profile_lines]
    lines += [f"(in truth: {', '.join(form)})", ""]
    for item, article in zip(page.recommendation.items, page.articles, strict=True):
        lines.append(f"• {show.title(item, article)}")
        reasons = ", ".join(f"{reason.name} {reason.weight:.2f}" for reason in item.reasons[:2])
        lines.append(f"  [{', '.join(item.tags)}] {reasons}")
    return lines


def _look_further(
    settings: Settings, reader: Reader, page: RunningServer | None, data_dir: Path
) -> str:
    cli = redis_cli_path() or "redis-cli"  # the latter: `apt-get install redis-tools`
    exports = " ".join(
        f"{PREFIX}{name.upper()}={getattr(settings, name)}"
        for name in ("kafka_bootstrap", "redis_url")
    )
    lines = [
        "look further" if page else "look further (run `make up` first: it stays, this does not)",
        f"  {page.url}/" if page else "  the page, live: `make up` prints its link",
        f"  {cli} -u {settings.redis_url} GET '{keys.profile(reader.user_id)}'",
        f"  {cli} -u {settings.redis_url} --scan --pattern 'profile:*'",
        f"  export {exports}",
        f"  {_script()} profile {reader.user_id}",
        f"  {_script()} recommend {reader.user_id} --json",
        f"  less {data_dir / 'logs' / 'worker.log'}",
    ]
    if page and settings.metrics_port:
        lines.append(f"  {_script()} top --worker http://127.0.0.1:{settings.metrics_port}")
    return "\n".join(lines)


def _script() -> str:
    beside = Path(sys.executable).parent / "frontpage"
    return str(beside) if beside.exists() else "frontpage"


def _stay(*servers: RunningServer) -> None:
    click.echo("\nrunning; Ctrl-C stops everything")
    try:
        while all(server.is_alive() for server in servers):
            time.sleep(0.5)
    except KeyboardInterrupt:
        click.echo("stopping")
        return
    ended = next(server for server in servers if not server.is_alive())
    raise UnavailableError(f"the {ended.name} ended; see {ended.log_path}")


def _step(text: str) -> None:
    click.echo(f"▸ {text}", err=True)
