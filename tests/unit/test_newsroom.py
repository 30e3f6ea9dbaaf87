"""The synthetic newsroom: reproducible and well formed."""

import gzip
import hashlib
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from export.newsroom import (
    NewsroomReport,
    NewsroomTruth,
    generate_newsroom,
)
from export.newsroom.histories import History
from export.newsroom.tastes import TOPICS
from export.newsroom.text import LANGUAGES, vocabulary
from schemas.reading_set import ReadingSet
from schemas.timestamps import to_ms

FILES = ("articles.jsonl.gz", "clicks.jsonl.gz", "dataset.json", "truth.json", "users.jsonl.gz")


# sha256 of the lines of a newsroom of 40 articles and 20 readers: the same on every machine. It
# changes when a word, a taste or the order of the draws changes, and should then be renewed.
GOLDEN = "1a3a07dee682470bced3e6d426c76672f628f0593f08015e6b89732f54d3d58e"


def small(out: Path, seed: int = 0) -> NewsroomReport:
    return generate_newsroom(
        out, num_articles=40, num_readers=20, clicks_per_reader_mean=6, days=3, seed=seed
    )


# Reproducible, and all or nothing


def test_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "one")
    small(tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_lines_are_the_same_on_every_machine(tmp_path: Path) -> None:
    small(tmp_path / "set")
    digest = hashlib.sha256()
    for name in FILES:
        data = (tmp_path / "set" / name).read_bytes()
        digest.update(gzip.decompress(data) if name.endswith(".gz") else data)
    assert digest.hexdigest() == GOLDEN


def test_another_seed_gives_other_readers_and_texts(tmp_path: Path) -> None:
    small(tmp_path / "one")
    small(tmp_path / "two", seed=1)
    for name in ("articles.jsonl.gz", "users.jsonl.gz", "clicks.jsonl.gz"):
        assert (tmp_path / "one" / name).read_bytes() != (tmp_path / "two" / name).read_bytes()


def test_an_occupied_directory_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(ValueError, match="not an empty directory"):
        small(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_an_empty_directory_is_filled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    small(tmp_path / "set")
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == list(FILES)


def test_an_interrupted_run_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        del total
        if (stage, done) == ("writing", 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate_newsroom(tmp_path / "set", num_articles=5, num_readers=2, progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_progress_reaches_the_total_of_every_stage(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    generate_newsroom(
        tmp_path / "set",
        num_articles=130,
        num_readers=110,
        clicks_per_reader_mean=2,
        progress=lambda stage, done, total: last.update({stage: (done, total)}),
    )
    assert last == {"articles": (130, 130), "clicks": (110, 110), "writing": (5, 5)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_articles": 0},
        {"num_income_groups": 1},
        {"days": 0},
        {"seed": -1},
        {"languages": ()},
        {"languages": ("en", "en")},
        {"languages": ("xx",)},
        {"start": "2026-01-05T00:00:00"},
    ],
)
def test_a_wrong_argument_is_a_value_error(tmp_path: Path, wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        generate_newsroom(tmp_path / "set", **wrong)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_it_works_without_torch() -> None:
    code = "import sys, export.newsroom; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# A well-formed reading set


def test_counts_agree_with_the_files(generated: NewsroomReport) -> None:
    reading_set = ReadingSet(generated.path)
    counts = [
        sum(1 for _ in records)
        for records in (reading_set.articles(), reading_set.readers(), reading_set.clicks())
    ]
    info = reading_set.info
    assert counts == [generated.num_articles, generated.num_readers, generated.num_clicks]
    assert counts == [info.num_articles, info.num_users, info.num_clicks]


def test_clicks_are_in_time_order_with_unique_ids(generated: NewsroomReport) -> None:
    clicks = list(ReadingSet(generated.path).clicks())
    times = [to_ms(click.timestamp) for click in clicks]
    assert times == sorted(times)
    assert len({click.event_id for click in clicks}) == len(clicks)


def test_timestamps_are_rfc_3339_with_milliseconds(generated: NewsroomReport) -> None:
    with gzip.open(generated.path / "clicks.jsonl.gz", "rt") as lines:
        assert all(
            re.search(r'"timestamp":"2026-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"', line)
            for line in lines
        )


def test_nobody_clicks_an_article_twice_or_before_it_is_published(
    histories: list[History], truth: NewsroomTruth
) -> None:
    for history in histories:
        assert len(set(history.articles.tolist())) == len(history.articles)
        assert (truth.published_ms[history.articles] < history.clicked_at_ms).all()


def test_sessions_are_apart_by_half_an_hour(generated: NewsroomReport) -> None:
    last: dict[str, tuple[int, str | None]] = {}
    for click in ReadingSet(generated.path).clicks():
        now = to_ms(click.timestamp)
        if click.user_id in last:
            before, session = last[click.user_id]
            assert (now - before > 30 * 60_000) == (click.session_id != session)
        last[click.user_id] = (now, click.session_id)


def test_readers_are_split_80_10_10(generated: NewsroomReport) -> None:
    splits = Counter(reader.split for reader in ReadingSet(generated.path).readers())
    share = {split: count / generated.num_readers for split, count in splits.items()}
    assert share == pytest.approx({"train": 0.8, "valid": 0.1, "test": 0.1}, abs=0.04)


@pytest.mark.parametrize("label", ["age", "gender", "income_group"])
def test_some_labels_are_missing(generated: NewsroomReport, label: str) -> None:
    labels = [getattr(reader, label) for reader in ReadingSet(generated.path).readers()]
    assert 0.02 < labels.count(None) / len(labels) < 0.08


def test_every_income_group_has_readers(tmp_path: Path) -> None:
    report = generate_newsroom(
        tmp_path / "set", num_articles=30, num_readers=200, num_income_groups=4
    )
    groups = {reader.income_group for reader in ReadingSet(report.path).readers()}
    assert groups == {0, 1, 2, 3, None}


def test_activity_is_skewed_around_the_mean(histories: list[History]) -> None:
    num_clicks = np.array([len(history.articles) for history in histories])
    assert num_clicks.mean() == pytest.approx(24, rel=0.1)
    assert np.percentile(num_clicks, 99) > 4 * np.median(num_clicks)


def test_readers_keep_to_their_language(histories: list[History], truth: NewsroomTruth) -> None:
    languages = [
        Counter(truth.article_languages[int(index)] for index in history.articles)
        for history in histories
        if len(history.articles) >= 10
    ]
    most = [count.most_common(1)[0][1] / count.total() for count in languages]
    assert np.mean(most) > 0.8
    assert {count.most_common(1)[0][0] for count in languages} == {"en", "de", "zh"}


# Texts


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_text_tells_the_topic(tmp_path: Path, language: str) -> None:
    """Naive Bayes on character trigrams, trained on one half, finds the topic in the other."""
    report = generate_newsroom(
        tmp_path / "set", num_articles=400, num_readers=1, languages=(language,)
    )
    articles = list(ReadingSet(report.path).articles())
    grams: dict[str, Counter[str]] = {topic: Counter() for topic in TOPICS}
    for article in articles[::2]:
        assert article.tags
        grams[article.tags[0]].update(trigrams(f"{article.title} {article.body}"))
    totals = {topic: grams[topic].total() + 500 for topic in TOPICS}
    right = 0
    for article in articles[1::2]:
        assert article.tags
        text = trigrams(f"{article.title} {article.body}")
        scores = {
            topic: sum(math.log((grams[topic][gram] + 0.1) / totals[topic]) for gram in text)
            for topic in TOPICS
        }
        right += max(scores, key=scores.__getitem__) == article.tags[0]
    assert right / len(articles[1::2]) > 0.9


def trigrams(text: str) -> list[str]:
    return [text[start : start + 3] for start in range(len(text) - 2)]


def test_no_slot_is_left_open(generated: NewsroomReport) -> None:
    for article in ReadingSet(generated.path).articles():
        assert not re.search(r"[{}]", f"{article.title}{article.body}")


def test_tags_are_topics_with_the_main_one_first(generated: NewsroomReport) -> None:
    tags = [article.tags for article in ReadingSet(generated.path).articles()]
    assert {len(each) for each in tags if each} == {1, 2, 3}
    assert all(each and set(each) <= set(TOPICS) and len(set(each)) == len(each) for each in tags)


def test_chinese_texts_use_chinese_punctuation() -> None:
    words = vocabulary("zh")
    phrases = [p for topic in words.topics.values() for p in topic.facts + topic.does + topic.what]
    assert not any(re.search(r"[,.:;!?]", phrase) for phrase in phrases)
