"""The synthetic newsroom: reproducible, well formed, and drawn from the truth it claims."""

import gzip
import hashlib
import itertools
import math
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from export.data import load_reader_data
from export.evaluation.constant import Constant
from export.evaluation.figures import samples_of, with_clicks
from export.evaluation.optimum import Optimum
from export.newsroom import (
    NewsroomReport,
    NewsroomTruth,
    generate_newsroom,
    load_histories,
    load_truth,
    posterior,
    two_contrasting_readers,
)
from export.newsroom.histories import History
from export.newsroom.tastes import TOPICS
from export.newsroom.text import LANGUAGES, vocabulary
from export.newsroom.truth import Tables
from schemas.reading_set import ReadingSet, Split
from schemas.timestamps import to_ms

FILES = ("articles.jsonl.gz", "clicks.jsonl.gz", "dataset.json", "truth.json", "users.jsonl.gz")
# sha256 of the lines of a newsroom of 40 articles and 20 readers: the same on every machine. It
# changes when a word, a taste or the order of the draws changes, and should then be renewed.
GOLDEN = "1a3a07dee682470bced3e6d426c76672f628f0593f08015e6b89732f54d3d58e"


@pytest.fixture(scope="module")
def newsroom(tmp_path_factory: pytest.TempPathFactory) -> NewsroomReport:
    return generate_newsroom(
        tmp_path_factory.mktemp("newsroom") / "set", num_articles=800, num_readers=1200
    )


@pytest.fixture(scope="module")
def truth(newsroom: NewsroomReport) -> NewsroomTruth:
    return load_truth(newsroom.path)


@pytest.fixture(scope="module")
def histories(newsroom: NewsroomReport, truth: NewsroomTruth) -> list[History]:
    splits: tuple[Split, ...] = ("train", "valid", "test")
    return [h for split in splits for h in load_histories(newsroom.path, truth, split)]


def small(out: Path, seed: int = 0) -> NewsroomReport:
    return generate_newsroom(
        out, num_articles=40, num_readers=20, clicks_per_reader_mean=6, days=3, seed=seed
    )


def tiny_truth() -> NewsroomTruth:
    """Two ages, two genders, three incomes, three topics; topic 1 has a single article."""
    return NewsroomTruth(
        tables=Tables(
            topics=("a", "b", "c"),
            ages=(20, 70),
            genders=("female", "male"),
            age_prior=[0.7, 0.3],
            gender_prior=[0.4, 0.6],
            income_prior=[[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]],
            base_logits=[0.0, 0.5, -0.3],
            age_logits=[[1.0, 0.0, 0.2], [-0.5, 0.8, 0.1]],
            gender_logits=[[0.3, -0.3, 0.9], [-0.3, 0.3, -0.9]],
            income_logits=[[0.0, 1.5, 0.0], [0.4, 0.0, 0.1], [0.0, 0.0, 2.0]],
        ),
        article_ids=("0", "1", "2", "3", "4"),
        article_topics=np.array([0, 1, 0, 2, 2]),
        article_languages=("en",) * 5,
        published_ms=np.array([0, 10, 20, 30, 40]),
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


def test_counts_agree_with_the_files(newsroom: NewsroomReport) -> None:
    reading_set = ReadingSet(newsroom.path)
    counts = [
        sum(1 for _ in records)
        for records in (reading_set.articles(), reading_set.readers(), reading_set.clicks())
    ]
    info = reading_set.info
    assert counts == [newsroom.num_articles, newsroom.num_readers, newsroom.num_clicks]
    assert counts == [info.num_articles, info.num_users, info.num_clicks]


def test_clicks_are_in_time_order_with_unique_ids(newsroom: NewsroomReport) -> None:
    clicks = list(ReadingSet(newsroom.path).clicks())
    times = [to_ms(click.timestamp) for click in clicks]
    assert times == sorted(times)
    assert len({click.event_id for click in clicks}) == len(clicks)


def test_timestamps_are_rfc_3339_with_milliseconds(newsroom: NewsroomReport) -> None:
    with gzip.open(newsroom.path / "clicks.jsonl.gz", "rt") as lines:
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


def test_sessions_are_apart_by_half_an_hour(newsroom: NewsroomReport) -> None:
    last: dict[str, tuple[int, str | None]] = {}
    for click in ReadingSet(newsroom.path).clicks():
        now = to_ms(click.timestamp)
        if click.user_id in last:
            before, session = last[click.user_id]
            assert (now - before > 30 * 60_000) == (click.session_id != session)
        last[click.user_id] = (now, click.session_id)


def test_readers_are_split_80_10_10(newsroom: NewsroomReport) -> None:
    splits = Counter(reader.split for reader in ReadingSet(newsroom.path).readers())
    share = {split: count / newsroom.num_readers for split, count in splits.items()}
    assert share == pytest.approx({"train": 0.8, "valid": 0.1, "test": 0.1}, abs=0.04)


@pytest.mark.parametrize("label", ["age", "gender", "income_group"])
def test_some_labels_are_missing(newsroom: NewsroomReport, label: str) -> None:
    labels = [getattr(reader, label) for reader in ReadingSet(newsroom.path).readers()]
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


def test_no_slot_is_left_open(newsroom: NewsroomReport) -> None:
    for article in ReadingSet(newsroom.path).articles():
        assert not re.search(r"[{}]", f"{article.title}{article.body}")


def test_tags_are_topics_with_the_main_one_first(newsroom: NewsroomReport) -> None:
    tags = [article.tags for article in ReadingSet(newsroom.path).articles()]
    assert {len(each) for each in tags if each} == {1, 2, 3}
    assert all(each and set(each) <= set(TOPICS) and len(set(each)) == len(each) for each in tags)


def test_chinese_texts_use_chinese_punctuation() -> None:
    words = vocabulary("zh")
    phrases = [p for topic in words.topics.values() for p in topic.facts + topic.does + topic.what]
    assert not any(re.search(r"[,.:;!?]", phrase) for phrase in phrases)


# The truth


def test_posterior_matches_brute_force() -> None:
    """Every kind of reader is enumerated by hand, with the topics that were left at each click.

    At 15 ms articles 0 and 1 are out; once both are clicked only topic 0 is left at 25 ms, and at
    45 ms only topic 2: the clicks on them must tell nothing.
    """
    truth, tables = tiny_truth(), tiny_truth().tables
    clicks = [(1, 15), (0, 25), (2, 28), (4, 45), (3, 46)]
    menus = [{0, 1}, {0}, {0}, {2}, {2}]
    weights = {}
    for a, g, i in itertools.product(range(2), range(2), range(3)):
        weight = tables.age_prior[a] * tables.gender_prior[g] * tables.income_prior[a][i]
        for (article, _), menu in zip(clicks, menus, strict=True):
            attraction = [
                math.exp(
                    tables.base_logits[k]
                    + tables.age_logits[a][k]
                    + tables.gender_logits[g][k]
                    + tables.income_logits[i][k]
                )
                for k in range(3)
            ]
            topic = int(truth.article_topics[article])
            weight *= attraction[topic] / sum(attraction[k] for k in menu)
        weights[a, g, i] = weight
    total = sum(weights.values())
    joint = posterior(truth, *zip(*clicks, strict=True)).joint
    for kind, weight in weights.items():
        assert joint[kind] == pytest.approx(weight / total, rel=1e-12)


def test_a_click_without_a_choice_tells_nothing() -> None:
    truth = tiny_truth()
    np.testing.assert_allclose(posterior(truth, [0], [5]).joint, truth.prior, rtol=1e-12)


def test_posterior_without_clicks_is_the_prior(truth: NewsroomTruth) -> None:
    np.testing.assert_allclose(posterior(truth, [], []).joint, truth.prior, rtol=1e-12)


def test_posteriors_sum_to_one(histories: list[History], truth: NewsroomTruth) -> None:
    for history in histories[:50]:
        known = history.posterior(truth)
        for part in (known.joint, known.age, known.income):
            assert part.sum() == pytest.approx(1.0)
            assert (part >= 0).all()


@pytest.mark.parametrize(
    ("articles", "at_ms", "why"),
    [
        ([0, 0], [50, 60], "once at most"),
        ([0, 1], [60, 50], "time order"),
        ([3], [30], "before it was published"),
        ([0], [50, 60], "1 articles but 2 times"),
    ],
)
def test_impossible_clicks_are_refused(articles: list[int], at_ms: list[int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        posterior(tiny_truth(), articles, at_ms)


def test_every_topic_tells_something_about_its_readers(truth: NewsroomTruth) -> None:
    attraction = np.exp(truth.topic_logits)
    share = attraction / attraction.sum(axis=-1, keepdims=True)
    assert share.shape == (63, 2, 10, len(TOPICS))
    assert (share.max(axis=(0, 1, 2)) > 1.5 * share.min(axis=(0, 1, 2))).all()


def test_clicked_topics_follow_the_tables(histories: list[History], truth: NewsroomTruth) -> None:
    """For readers with all labels, each topic is clicked as often as expected (4 sigma)."""
    clicked, expected, variance = np.zeros((3, len(TOPICS)))
    for history in histories:
        user = history.user
        if user.age is None or user.gender is None or user.income_group is None:
            continue
        logits = truth.topic_logits[
            int(user.age) - 18, truth.tables.genders.index(user.gender), user.income_group
        ]
        attraction = np.exp(logits) / np.exp(logits).sum()
        clicked += np.bincount(truth.article_topics[history.articles], minlength=len(TOPICS))
        expected += len(history.articles) * attraction
        variance += len(history.articles) * attraction * (1 - attraction)
    assert (np.abs(clicked - expected) < 4 * np.sqrt(variance)).all()


@pytest.mark.parametrize("num_clicks", [1, 5, 20])
def test_gender_posterior_is_calibrated(
    histories: list[History], truth: NewsroomTruth, num_clicks: int
) -> None:
    """In each fifth of the predictions, as many are women as predicted (4 sigma)."""
    known = [h for h in histories if h.user.gender and len(h.articles) >= num_clicks]
    predicted = np.array([h.posterior(truth, num_clicks).female for h in known])
    female = np.array([h.user.gender == "female" for h in known], dtype=float)
    for part in np.array_split(np.argsort(predicted), 5):
        sigma = math.sqrt((predicted[part] * (1 - predicted[part])).sum())
        assert abs(female[part].sum() - predicted[part].sum()) < 4 * sigma


def test_income_posterior_is_calibrated(histories: list[History], truth: NewsroomTruth) -> None:
    """The probability of the most probable group is how often it is right (4 sigma)."""
    known = [h for h in histories if h.user.income_group is not None]
    incomes = np.stack([h.posterior(truth).income for h in known])
    right = incomes.argmax(axis=1) == np.array([h.user.income_group for h in known])
    confidence = incomes.max(axis=1)
    for part in np.array_split(np.argsort(confidence), 5):
        sigma = math.sqrt((confidence[part] * (1 - confidence[part])).sum())
        assert abs(right[part].sum() - confidence[part].sum()) < 4 * sigma


def test_age_posterior_is_calibrated(histories: list[History], truth: NewsroomTruth) -> None:
    """The squared error of the mean age is what the posterior variance says."""
    known = [h for h in histories if h.user.age is not None]
    ratios = []
    for history in known:
        after = history.posterior(truth)
        mean = float(after.age @ after.ages)
        assert history.user.age is not None
        ratios.append(((history.user.age - mean) / after.age_sd_years) ** 2)
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.15)


def test_the_optimum_beats_the_prior_and_grows_with_clicks(newsroom: NewsroomReport) -> None:
    data = load_reader_data(ReadingSet(newsroom.path))
    best, prior = Optimum(newsroom.path), Constant(data)
    gender_auc, income_loss = [], []
    for num_clicks in (1, 5, 20):
        readers = with_clicks(data, data.readers_of("train"), num_clicks)
        found = samples_of(best.estimate(data, readers, num_clicks), data, readers, 1)
        known = samples_of(prior.estimate(data, readers), data, readers, 1)
        gender_auc.append(found["gender"]["auc"].value)
        income_loss.append(found["income"]["log_loss"].value)
    assert 0.5 < gender_auc[0] < gender_auc[1] < gender_auc[2]
    assert 0.85 < gender_auc[2] < 0.95
    assert 0.4 < found["age"]["mae"].value / known["age"]["mae"].value < 0.65
    assert 0.35 < found["income"]["accuracy"].value < 0.65
    assert found["income"]["accuracy"].value > 2 * known["income"]["accuracy"].value
    assert income_loss[2] < income_loss[1] < known["income"]["log_loss"].value


def test_contrasting_readers_differ_in_everything(newsroom: NewsroomReport) -> None:
    readers = {reader.user_id: reader for reader in ReadingSet(newsroom.path).readers()}
    younger, older = (readers[user_id] for user_id in two_contrasting_readers(newsroom.path))
    assert younger.split == older.split == "test"
    assert younger.gender != older.gender
    assert younger.age is not None and older.age is not None
    assert older.age - younger.age >= 25
    assert younger.income_group is not None and older.income_group is not None
    assert older.income_group - younger.income_group >= 5


def test_contrasting_readers_are_known_with_confidence(
    newsroom: NewsroomReport, truth: NewsroomTruth
) -> None:
    histories = {h.user.user_id: h for h in load_histories(newsroom.path, truth, "test")}
    younger, older = (histories[user_id] for user_id in two_contrasting_readers(newsroom.path))
    assert older.posterior(truth).age_years - younger.posterior(truth).age_years > 20
    for history in (younger, older):
        female = history.posterior(truth).female
        assert (female > 0.9) if history.user.gender == "female" else (female < 0.1)


def test_too_small_a_newsroom_has_no_contrast(tmp_path: Path) -> None:
    report = generate_newsroom(tmp_path / "set", num_articles=5, num_readers=3)
    with pytest.raises(ValueError, match="generate more readers"):
        two_contrasting_readers(report.path)
