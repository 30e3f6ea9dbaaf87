"""What the API answers in a second: `python -m tests.benchmarks.serving`.

A Redis, `frontpage serve` in a process of its own, and connections that each ask again as soon as
they are answered (HTTP/1.1, kept alive, no compression). Figures by kind of request and number of
connections: requests a second, median and 99th percentile in milliseconds, CPU time of the server a
request in microseconds. And the memory of the server, in MB, with a catalogue of `--articles`.

--bundle: also sessions without a name, with that model and encodings that are drawn at random.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np
import redis

from schemas import keys
from schemas.bundle import load_manifest
from schemas.encoded import EncodedArticle
from schemas.history import article_ref
from schemas.records import Article
from tests.integration.serving_site import put_page, put_profile
from worker.local.redis_server import start_redis
from worker.local.server import RunningServer, free_port, spawn
from worker.terms import article_terms

BODY_CHARACTERS = 4000
PAGE_LENGTH = 10
TICKS = os.sysconf("SC_CLK_TCK")
STARTED_S = 120.0


class Figures(NamedTuple):
    """What was measured of one kind of request."""

    request: str
    connections: int
    per_s: float
    p50_ms: float
    p99_ms: float
    cpu_us: float


def fill(store: "redis.Redis", num_articles: int, bundle: Path | None) -> None:
    """Store articles, and a reader with a profile and a page."""
    random = np.random.default_rng(0)
    manifest = None if bundle is None else load_manifest(bundle)
    words = [f"word{number}" for number in range(5000)]
    now = datetime.now(UTC)
    for number in range(num_articles):
        article_id = f"a{number}"
        body = " ".join(random.choice(words, BODY_CHARACTERS // 8))[:BODY_CHARACTERS]
        article = Article(
            article_id=article_id,
            title=" ".join(random.choice(words, 8)),
            body=body,
            tags=[f"t{number % 60}", f"t{number % 7}"],
            published_at=now - timedelta(minutes=number),
            language="en",
        )
        store.set(keys.article(article_id), msgspec.json.encode(article))
        if manifest is not None:
            encoded = EncodedArticle(
                article_id,
                manifest.model_version,
                random.normal(size=manifest.row_width).astype("<f4").tobytes(),
                article.tags or [],
                int(now.timestamp() * 1000) - 60_000 * number,
                "en",
                article_terms(article.title, article.body, article.tags),
            )
            name = keys.encoded(article_ref(article_id), manifest.model_version)
            store.set(name, msgspec.msgpack.encode(encoded))
            store.zadd(keys.CATALOGUE_INDEX, {article_id: number + 1})
    store.set(keys.CATALOGUE_SEQUENCE, num_articles)
    put_profile(store, "42")
    put_page(store, "42", [f"a{number}" for number in range(PAGE_LENGTH)])


@contextmanager
def server(directory: Path, redis_url: str, bundle: Path | None) -> Iterator[RunningServer]:
    """Serve meanwhile; with a bundle, when sessions are answered."""
    port = free_port()
    environ = {
        **os.environ,
        "FRONTPAGE_REDIS_URL": redis_url,
        "FRONTPAGE_KAFKA_BOOTSTRAP": f"127.0.0.1:{free_port()}",  # nothing is published
        "FRONTPAGE_BUNDLE": str(bundle or directory / "none"),
        "FRONTPAGE_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-m", "worker.cli", "serve", f"--port={port}"]
    with spawn("serve", "http", command, port, directory / "serve.log", environ) as running:
        method, path = ("GET", "/") if bundle is None else ("POST", "/v1/recommendations")
        deadline = time.monotonic() + STARTED_S
        while not _answers(port, method, path):
            assert running.is_alive() and time.monotonic() < deadline, running.log_path.read_text()
            time.sleep(0.1)
        yield running


def _answers(port: int, method: str, path: str) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        headers = {"Content-Type": "application/json"}
        connection.request(method, path, b"{}" if method == "POST" else None, headers)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


async def load(
    url: str, request: bytes, status: int, connections: int, seconds: float
) -> list[float]:
    """Ask again and again on some connections; return how long each answer took, in seconds."""
    took: list[float] = []
    host, port = urlsplit(url).hostname, urlsplit(url).port
    end = time.perf_counter() + seconds

    async def one() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        while (began := time.perf_counter()) < end:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status), head
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            if length is not None:
                await reader.readexactly(int(length[1]))
            took.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(one() for _ in range(connections)))
    return took


def requests(url: str, with_sessions: bool) -> dict[str, tuple[bytes, int]]:
    """Return the bytes of each kind of request, and the status of its answer."""
    host = urlsplit(url).netloc
    connection = HTTPConnection(host)
    connection.request("GET", "/v1/readers/42/recommendations")
    tag = connection.getresponse().getheader("ETag")
    connection.close()

    def get(path: str, *headers: str) -> bytes:
        lines = [f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]
        return "\r\n".join(lines).encode()

    page = "/v1/readers/42/recommendations"
    found = {
        "profile": (get("/v1/readers/42/profile"), 200),
        "page": (get(page), 200),
        "page, not changed": (get(page, f"If-None-Match: {tag}"), 304),
        "page with articles": (get(f"{page}?articles=true"), 200),
        "article": (get("/v1/articles/a1"), 200),
    }
    if with_sessions:
        body = json.dumps({"clicks": [{"article_id": f"a{each}"} for each in range(10)]})
        head = f"POST /v1/recommendations HTTP/1.1\r\nHost: {host}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        found["session of 10 clicks"] = ((head + body).encode(), 200)
    return found


def measure(
    running: RunningServer, name: str, request: tuple[bytes, int], connections: int, seconds: float
) -> Figures:
    """Ask for some seconds, after a tenth of them that does not count."""
    asyncio.run(load(running.url, *request, connections, seconds / 10))
    before, began = _cpu_s(running.pid), time.perf_counter()
    took = asyncio.run(load(running.url, *request, connections, seconds))
    elapsed, cpu_s = time.perf_counter() - began, _cpu_s(running.pid) - before
    median, late = np.percentile(took, [50, 99]) * 1000
    per_s, cpu_us = len(took) / elapsed, 1e6 * cpu_s / len(took)
    return Figures(name, connections, per_s, float(median), float(late), cpu_us)


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) / 1024


def main() -> None:
    """Print a line for each kind of request and number of connections, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--articles", type=int, default=10_000)
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as name, start_redis(Path(name)) as store:
        url = f"{store.url}/0"
        with redis.Redis.from_url(url) as client:
            fill(client, options.articles, options.bundle)
        with server(Path(name), url, options.bundle) as running:
            rows = [
                measure(running, kind, request, connections, options.seconds)
                for kind, request in requests(running.url, options.bundle is not None).items()
                for connections in options.connections
            ]
            memory_mb = _memory_mb(running.pid)
    if options.json:
        figures = [row._asdict() for row in rows]
        print(json.dumps({"requests": figures, "memory_mb": memory_mb}))  # noqa: T201
        return
    print(f"{'':<22}{'conn.':>6}{'/s':>8}{'p50 ms':>8}{'p99 ms':>8}{'CPU us':>8}")  # noqa: T201
    for row in rows:
        print(  # noqa: T201
            f"{row.request:<22}{row.connections:>6}{row.per_s:>8.0f}{row.p50_ms:>8.2f}"
            f"{row.p99_ms:>8.2f}{row.cpu_us:>8.0f}"
        )
    print(f"memory {memory_mb:.0f} MB")  # noqa: T201


if __name__ == "__main__":
    main()
