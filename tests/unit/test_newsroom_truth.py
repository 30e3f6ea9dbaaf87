"""The truth of the newsroom: its clicks were drawn from it, and estimates by it are calibrated."""

import itertools
import math
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
    posterior,
    two_contrasting_readers,
)
from export.newsroom.histories import History
from export.newsroom.tastes import TOPICS
from export.newsroom.truth import Tables
from schemas.reading_set import ReadingSet


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


def test_the_optimum_beats_the_prior_and_grows_with_clicks(generated: NewsroomReport) -> None:
    data = load_reader_data(ReadingSet(generated.path))
    best, prior = Optimum(generated.path), Constant(data)
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


def test_contrasting_readers_differ_in_everything(generated: NewsroomReport) -> None:
    readers = {reader.user_id: reader for reader in ReadingSet(generated.path).readers()}
    younger, older = (readers[user_id] for user_id in two_contrasting_readers(generated.path))
    assert younger.split == older.split == "test"
    assert younger.gender != older.gender
    assert younger.age is not None and older.age is not None
    assert older.age - younger.age >= 25
    assert younger.income_group is not None and older.income_group is not None
    assert older.income_group - younger.income_group >= 5


def test_contrasting_readers_are_known_with_confidence(
    generated: NewsroomReport, truth: NewsroomTruth
) -> None:
    histories = {h.user.user_id: h for h in load_histories(generated.path, truth, "test")}
    younger, older = (histories[user_id] for user_id in two_contrasting_readers(generated.path))
    assert older.posterior(truth).age_years - younger.posterior(truth).age_years > 20
    for history in (younger, older):
        female = history.posterior(truth).female
        assert (female > 0.9) if history.user.gender == "female" else (female < 0.1)


def test_too_small_a_newsroom_has_no_contrast(tmp_path: Path) -> None:
    report = generate_newsroom(tmp_path / "set", num_articles=5, num_readers=3)
    with pytest.raises(ValueError, match="generate more readers"):
        two_contrasting_readers(report.path)
