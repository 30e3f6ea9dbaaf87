"""Generates a newsroom: a reading set of invented articles, readers and clicks."""

import gzip
import io
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from export.newsroom.articles import Articles, write_articles
from export.newsroom.clicks import click_rows, click_through
from export.newsroom.clock import parse_ms, to_rfc3339
from export.newsroom.readers import invent_readers
from export.newsroom.text import LANGUAGES, vocabulary
from export.newsroom.truth import FILE_NAME, NewsroomTruth, build_tables

_COMPRESSION = 6


@dataclass(frozen=True)
class NewsroomReport:
    """What was generated, and where."""

    path: Path
    num_articles: int
    num_readers: int
    num_clicks: int


def generate_newsroom(
    out: Path,
    *,
    num_articles: int = 2000,
    num_readers: int = 1500,
    clicks_per_reader_mean: float = 24,
    num_income_groups: int = 10,
    languages: tuple[str, ...] = LANGUAGES,
    start: str = "2026-01-05T00:00:00Z",
    days: int = 28,
    seed: int = 0,
    progress: Callable[[str, int, int], None] | None = None,
) -> NewsroomReport:
    """Write a reading set with a known truth to the directory `out`, all of it or nothing.

    The same arguments give the same lines on any machine, and the same bytes where zlib is the
    same. `languages`: the first is that of most articles and
    readers; `start`: RFC 3339; `progress` is called with the stage ("articles", "clicks",
    "writing"), how much is done, and how much there is.

    Raises:
        ValueError: where `out` exists and is not an empty directory, or an argument is out of
            its range.
    """
    _check(num_articles, num_readers, clicks_per_reader_mean, num_income_groups, days, seed)
    if not languages or len(set(languages)) != len(languages):
        raise ValueError(f"languages must be different and at least one, not {languages}")
    for language in languages:
        vocabulary(language)
    start_ms = parse_ms(start)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out} exists and is not an empty directory")
    report = progress if progress is not None else _silent

    articles = write_articles(num_articles, languages, start_ms, days, seed, report)
    truth = _truth_of(articles, languages, num_income_groups)
    readers = invent_readers(num_readers, clicks_per_reader_mean, len(languages), truth, seed)
    clicks = click_rows(
        click_through(truth, articles, readers, start_ms, days, seed, report), articles
    )
    description = {
        "name": "newsroom",
        "language": languages[0] if len(languages) == 1 else "mul",
        "languages": languages,
        "num_income_groups": num_income_groups,
        "timestamps": "synthetic",
        "licence": "MIT",
        "source": "frontpage generate: invented texts, readers and clicks with a known truth",
        "start": to_rfc3339(start_ms),
        "days": days,
        "seed": seed,
        "num_articles": num_articles,
        "num_users": num_readers,
        "num_clicks": len(clicks),
        "num_impressions": 0,
    }
    files = {
        "articles.jsonl.gz": _gzipped(_lines(articles.rows(languages))),
        "users.jsonl.gz": _gzipped(_lines(readers.rows(truth))),
        "clicks.jsonl.gz": _gzipped(_lines(clicks)),
        FILE_NAME: msgspec.json.encode(truth.tables) + b"\n",
        "dataset.json": msgspec.json.format(msgspec.json.encode(description), indent=2) + b"\n",
    }
    _write(out, files, report)
    return NewsroomReport(out, num_articles, num_readers, len(clicks))


def _truth_of(
    articles: Articles, languages: tuple[str, ...], num_income_groups: int
) -> NewsroomTruth:
    return NewsroomTruth(
        tables=build_tables(num_income_groups),
        article_ids=articles.ids,
        article_topics=articles.topics,
        article_languages=tuple(languages[index] for index in articles.languages.tolist()),
        published_ms=articles.published_ms,
    )


def _check(
    num_articles: int,
    num_readers: int,
    clicks_per_reader_mean: float,
    num_income_groups: int,
    days: int,
    seed: int,
) -> None:
    for name, value, least, most in (
        ("num_articles", num_articles, 1, 10_000_000),
        ("num_readers", num_readers, 1, 10_000_000),
        ("clicks_per_reader_mean", clicks_per_reader_mean, 1, 10_000),
        ("num_income_groups", num_income_groups, 2, 100),
        ("days", days, 1, 3_650),
        ("seed", seed, 0, 2**63 - 1),
    ):
        if not least <= value <= most:
            raise ValueError(f"{name} must be from {least} to {most}, not {value}")


def _lines(rows: Iterable[dict[str, object]]) -> bytes:
    return msgspec.json.Encoder().encode_lines(rows)


def _gzipped(data: bytes) -> bytes:
    # Not gzip.compress: the header it writes differs between versions of Python.
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", _COMPRESSION, buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()


def _write(out: Path, files: dict[str, bytes], progress: Callable[[str, int, int], None]) -> None:
    """Write `files` beside `out`, then rename: a reader of `out` never sees half a set."""
    out.parent.mkdir(parents=True, exist_ok=True)
    draft = out.with_name(f".{out.name}.{os.getpid()}.draft")
    draft.mkdir()
    try:
        for done, (name, content) in enumerate(files.items(), start=1):
            (draft / name).write_bytes(content)
            progress("writing", done, len(files))
        draft.replace(out)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
