"""Reading sets larger than memory: in pieces or at once, cached or anew, the same arrays."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from export.article_files import ArticleIndex, Texts
from export.click_shards import CLICK_DTYPE, ClickShards
from export.data import ReaderData, article_tokens, load_reader_data
from export.tokenizer_training import train_tokenizer
from schemas.errors import ReadingSetError, TrainingError
from schemas.history import article_ref, pack_entry
from schemas.reading_set import ReadingSet
from schemas.tokenizer import Tokenizer
from tests.tiny_sets import write_easy_set, write_reading_set


@pytest.fixture(scope="module")
def messy_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set with repeated articles, readers and clicks, ties in time, and clicks out of order."""
    rng = np.random.default_rng(3)
    articles = [
        {
            "article_id": f"a{n % 40}",
            "title": f"Überschrift {n}",
            "body": "字" * (n % 7),
            "tags": [f"t{n % 3}", "t0"],
        }
        for n in range(50)
    ]
    users = [{"user_id": f"u{n % 55}", "age": 20 + n % 60} for n in range(60)]
    clicks: list[dict[str, Any]] = []
    for _ in range(900):
        event = int(rng.integers(400))
        clicks.append(
            {
                "user_id": f"u{rng.integers(70)}",
                "article_id": f"a{rng.integers(45)}",
                "timestamp": int(rng.integers(5)) * 3_600_000,
                "event_id": f"e{event}" if event % 2 else None,
            }
        )
    return write_reading_set(
        tmp_path_factory.mktemp("messy") / "set",
        articles=articles,
        users=users,
        clicks=clicks + clicks[:100],
    )


def assert_same(one: ReaderData, other: ReaderData) -> None:
    assert list(one.texts) == list(other.texts)
    assert list(one.tags) == list(other.tags)
    for name in ("age", "income", "gender", "split", "offsets", "clicks", "hours"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert (one.user_ids, one.dropped) == (other.user_ids, other.dropped)
    assert one.fingerprint == other.fingerprint


def test_clicks_are_in_the_order_of_the_worker_s_history(messy_set: Path) -> None:
    reading_set = ReadingSet(messy_set)
    data = load_reader_data(reading_set)
    rows = {article.article_id: 0 for article in reading_set.articles()}
    rows = {article_id: row for row, article_id in enumerate(rows)}
    entries: dict[str, dict[bytes, int]] = {}
    for click in reading_set.clicks():
        if click.article_id in rows and click.user_id in data.user_ids:
            assert isinstance(click.timestamp, int)
            packed = pack_entry(click.timestamp, click.event_id, article_ref(click.article_id))
            entries.setdefault(click.user_id, {})[packed] = rows[click.article_id]
    for reader, user_id in enumerate(data.user_ids):
        clicked = data.clicks[data.offsets[reader] : data.offsets[reader + 1]]
        history = entries[user_id]
        assert clicked.tolist() == [history[packed] for packed in sorted(history)]


@pytest.mark.parametrize("readers_per_shard", [1, 7, 100])
def test_the_number_of_shards_does_not_matter(messy_set: Path, readers_per_shard: int) -> None:
    reading_set = ReadingSet(messy_set)
    assert_same(
        load_reader_data(reading_set, readers_per_shard=readers_per_shard),
        load_reader_data(reading_set),
    )


def test_the_size_of_a_chunk_does_not_matter(
    messy_set: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load_reader_data(ReadingSet(messy_set))
    monkeypatch.setattr("export.ingest._CLICKS_PER_CHUNK", 13)
    monkeypatch.setattr("export.ingest._VALUES_PER_CHUNK", 10)
    assert_same(load_reader_data(ReadingSet(messy_set)), whole)


def test_a_shard_holds_its_own_readers_only(tmp_path: Path) -> None:
    shards = ClickShards(tmp_path, num_readers=10, readers_per_shard=4)
    clicks = np.zeros(50, dtype=CLICK_DTYPE)
    clicks["reader"], clicks["when"] = np.arange(50) % 10, np.arange(50)
    shards.add(clicks)
    held = [np.fromfile(path, dtype=CLICK_DTYPE) for path in sorted(tmp_path.iterdir())]
    assert sum(map(len, held)) == 50
    assert [len(set(shard["reader"].tolist())) for shard in held] == [4, 3, 3]
    assert shards.sort() == 0
    assert shards.counts().tolist() == [5] * 10


def test_of_a_repeated_article_the_last_counts_in_the_first_place(tmp_path: Path) -> None:
    path = write_reading_set(
        tmp_path / "set",
        articles=[
            {"article_id": "a", "title": "old", "tags": ["x"]},
            {"article_id": "b", "title": "other"},
            {"article_id": "a", "title": "new", "tags": ["y", "z", "y"]},
        ],
        users=[{"user_id": "u", "age": 30}],
        clicks=[{"user_id": "u", "article_id": "a", "timestamp": 1}],
    )
    data = load_reader_data(ReadingSet(path), reads_tags=False)
    assert list(data.texts) == ["new", "other"]
    assert data.texts[-1:] == ["other"]
    assert list(data.tags) == [["y", "z"], []]


def test_an_unknown_article_has_no_row() -> None:
    index = ArticleIndex(np.array([9, 4, 7], dtype=np.uint64))
    assert index.rows(np.array([7, 5, 9, 99], dtype=np.uint64)).tolist() == [2, -1, 0, -1]
    assert ArticleIndex(np.zeros(0, dtype=np.uint64)).rows(np.array([1], dtype=np.uint64)) == [-1]


class Watched(Sequence[str]):
    """Texts that count how many were asked for at once."""

    def __init__(self, texts: Texts) -> None:
        self.texts, self.largest = texts, 0

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, at: Any) -> Any:
        got = self.texts[at]
        self.largest = max(self.largest, len(got) if isinstance(at, slice) else 1)
        return got


def test_tokens_are_made_a_few_texts_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = load_reader_data(ReadingSet(write_easy_set(tmp_path / "set")))
    train_tokenizer(list(data.texts), tmp_path / "one")
    train_tokenizer(data.texts, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    tokenizer = Tokenizer(tmp_path / "one")
    assert isinstance(data.texts, Texts)
    watched = Watched(data.texts)
    monkeypatch.setattr("export.article_files._ARTICLES_PER_CHUNK", 7)
    object.__setattr__(data, "texts", watched)
    tokens = article_tokens(data, tokenizer, 9)
    assert watched.largest == 7
    np.testing.assert_array_equal(tokens, tokenizer.encode(list(watched.texts), 9))


def test_a_cache_is_used_again_until_a_file_changes(tmp_path: Path) -> None:
    dataset, cache = write_easy_set(tmp_path / "set"), tmp_path / "cache"
    first = load_reader_data(ReadingSet(dataset), cache=cache)
    (kept,) = cache.iterdir()
    made = kept.stat().st_ino
    assert_same(load_reader_data(ReadingSet(dataset), cache=cache), first)
    assert kept.stat().st_ino == made
    os.utime(dataset / "clicks.jsonl.gz", (1, 1))
    assert_same(load_reader_data(ReadingSet(dataset), cache=cache), first)
    assert [path.name for path in cache.iterdir()] == [kept.name]
    assert kept.stat().st_ino != made


def test_texts_with_and_without_tags_do_not_share_a_cache(tmp_path: Path) -> None:
    dataset, cache = write_easy_set(tmp_path / "set"), tmp_path / "cache"
    tagged = load_reader_data(ReadingSet(dataset), True, cache)
    plain = load_reader_data(ReadingSet(dataset), False, cache)
    assert tagged.texts[0] != plain.texts[0]
    assert tagged.fingerprint != plain.fingerprint


def test_nothing_stays_on_disk_without_a_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, scratch = write_easy_set(tmp_path / "set"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    data = load_reader_data(ReadingSet(dataset))
    assert list(scratch.iterdir()) == []
    assert "\n" in data.texts[5]
    (dataset / "clicks.jsonl.gz").write_bytes(b"not gzip")
    with pytest.raises(ReadingSetError):
        load_reader_data(ReadingSet(dataset))
    assert list(scratch.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    dataset = write_easy_set(tmp_path / "set")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(TrainingError, match="file"):
        load_reader_data(ReadingSet(dataset), cache=tmp_path / "file" / "cache")


def test_reading_a_set_loads_no_torch() -> None:
    code = "import export.data, export.batches, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_memory_does_not_grow_with_the_texts(tmp_path: Path) -> None:
    """Ten times the text costs the reading process about as much memory."""
    code = """
import resource, sys
from pathlib import Path
from export.data import load_reader_data
from schemas.reading_set import ReadingSet
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
load_reader_data(ReadingSet(Path(sys.argv[1])))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    grown = []
    for length in (5_000, 50_000):
        path = write_reading_set(
            tmp_path / f"set{length}",
            articles=({"article_id": f"a{n}", "body": "word " * (length // 5)} for n in range(800)),
            users=[{"user_id": "u", "age": 30}],
            clicks=[{"user_id": "u", "article_id": "a1", "timestamp": 1}],
        )
        done = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        grown.append(int(msgspec.json.decode(done.stdout)))
    assert grown[1] - grown[0] < 8_000, grown  # kB; the texts are 36,000 longer
