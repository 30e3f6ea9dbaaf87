"""Histories as arrays: windows, interests, what is not known."""

import numpy as np
import pytest

from schemas.history import article_ref
from tests.unit.catalogues import HOUR_MS, NOW_MS, article, catalogue, history
from worker.reading import languages_read, read, tag_interests, unknown_refs

NEWS = catalogue(
    article("a", ["x"], language="en"),
    article("b", ["x", "y"], language="de"),
    article("c", [], language=None),
)


def test_the_window_holds_the_newest_clicks_newest_first() -> None:
    reading = read([history(("a", 3), ("b", 2), ("c", 1))], NEWS, 2)
    assert reading.window_rows().tolist() == [[2, 1]]
    assert reading.num_clicks.tolist() == [3]
    assert reading.newest_ms.tolist() == [NOW_MS - HOUR_MS]
    assert reading.oldest_ms.tolist() == [NOW_MS - 3 * HOUR_MS]


def test_ages_count_from_the_readers_newest_click() -> None:
    reading = read([history(("a", 30), ("b", 6)), history(("c", 99))], NEWS, 3)
    assert reading.window_ages_hours().tolist() == [[0, 24, 0], [0, 0, 0]]
    assert reading.present.tolist() == [[True, True, False], [True, False, False]]


def test_unknown_articles_are_masked_and_named() -> None:
    histories = [history(("new", 1), ("a", 2)), history(("a", 1))]
    reading = read(histories, NEWS, 4)
    assert reading.known[0].tolist() == [False, True, False, False]
    assert unknown_refs(reading, histories) == [[article_ref("new")], []]


def test_interests_are_shares_of_recent_reading() -> None:
    reading = read([history(("a", 0), ("b", 24))], NEWS, 4)
    # a day's half-life: b counts half, and half of that for each of its tags
    shares = tag_interests(reading, NEWS, half_life_days=1.0)
    assert shares[0].tolist() == pytest.approx([1.25 / 1.5, 0.25 / 1.5])


def test_no_tags_is_no_interest() -> None:
    reading = read([history(("c", 0)), history(("new", 0))], NEWS, 4)
    assert tag_interests(reading, NEWS, 1.0).tolist() == [[0, 0], [0, 0]]


def test_a_reader_reads_the_languages_they_clicked() -> None:
    reading = read([history(("a", 0)), history(("c", 0))], NEWS, 4)
    assert languages_read(reading, NEWS).tolist() == [[True, False, True], [True, True, True]]


def test_each_readers_result_is_their_own() -> None:
    rng = np.random.default_rng(0)
    many = [
        history(*((str(rng.choice(list("abcd"))), float(h)) for h in range(rng.integers(1, 9))))
        for _ in range(20)
    ]
    together = tag_interests(read(many, NEWS, 4), NEWS, 1.0)
    for i, one in enumerate(many):
        alone = tag_interests(read([one], NEWS, 4), NEWS, 1.0)
        assert alone[0].tobytes() == together[i].tobytes()


def test_interests_are_what_their_definition_says() -> None:
    rng = np.random.default_rng(1)
    news = catalogue(*(article(str(n), [f"t{t}" for t in range(n % 4)]) for n in range(12)))
    drawn = [[str(each) for each in rng.integers(0, 15, rng.integers(1, 30))] for _ in range(20)]
    histories = [history(*((name, 9.0 * at) for at, name in enumerate(own))) for own in drawn]
    found = tag_interests(read(histories, news, 16), news, 3.0)
    for interests, own in zip(found, drawn, strict=True):
        expected = np.zeros(len(news.tag_names))
        for at, name in enumerate(own[:16]):
            for tag in range(int(name) % 4 if int(name) < 12 else 0):
                expected[tag] += 0.5 ** (9.0 * at / 24.0 / 3.0) / (int(name) % 4)
        expected /= max(expected.sum(), 1e-9)
        assert interests.tolist() == pytest.approx(expected.tolist(), abs=1e-6)
