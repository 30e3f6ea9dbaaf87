"""What the worker writes of readers is, byte for byte, what msgspec makes of plain records."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from schemas.records import Profile, Recommendation
from tests.plain_messages import plain_profiles, plain_recommendations
from tests.random_pages import MANIFEST, NOW_MS, Batch, article, batch, catalogue
from worker import messages
from worker.catalogue import MAX_TAGS, Catalogue
from worker.json_numbers import USUAL, Numbers
from worker.page_json import PageWriter

NOW = datetime.fromtimestamp(NOW_MS / 1000, UTC)
ODD = [
    'say "hi"',
    "back\\slash",
    "tab\tand\nline",
    "\x00\x1f\x7f",
    "日本語",
    "naïve 🗞️",
    '"items":[]',
    '"score":0.0',
    '","weight":0.0}',
    "0.0}]}",
    "\u2028",
    "a,b",
]


def encoded(news: Catalogue, of: Batch) -> list[bytes]:
    plain = plain_recommendations(
        of.user_ids, of.recommendation_ids, of.ranked, of.interests, news, MANIFEST, NOW
    )
    return [msgspec.json.encode(page) for page in plain]


def written(writer: PageWriter, of: Batch) -> list[bytes]:
    return writer.write(of.user_ids, of.recommendation_ids, of.ranked, of.interests, NOW)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.5, 2.0 * USUAL, 1e9])
@pytest.mark.parametrize("most_tags", [0, 2, 12])
def test_pages_are_what_plain_records_encode_to(scale: float, most_tags: int) -> None:
    names = ODD + [f"a{number}" for number in range(50)]
    news = catalogue(names, ODD + [f"t{number}" for number in range(8)], 1, most_tags)
    writer = PageWriter(news, MANIFEST)
    for seed, num in enumerate((1, 40, len(ODD))):
        of = batch(news, [f"{ODD[at % len(ODD)]}{at}" for at in range(num)], seed, scale=scale)
        pages = written(writer, of)
        assert pages == encoded(news, of)
        for page in pages:
            record = msgspec.json.decode(page, type=Recommendation)
            assert msgspec.json.encode(record) == page


def test_every_written_number_is_as_msgspec_writes_it() -> None:
    most = USUAL * 10_000
    values = np.append(np.arange(-most - 2, most + 3) / 1e4, [-0.0, 1e17, -1e22, np.inf, np.nan])
    plain = [msgspec.json.encode(each) for each in values.tolist()]
    assert Numbers().written(values).tolist() == plain


def test_equal_weights_keep_their_order_and_halves_are_rounded_as_python_does() -> None:
    news = catalogue([], [], 0)
    for number in range(30):
        news.put(article(f"a{number}", [f"t{at}" for at in range(number % (MAX_TAGS + 2))]))
    of = batch(news, [f"u{at}" for at in range(200)], 3)
    alike = np.where(of.interests > 0, np.float32(0.25), np.float32(0.0))
    # Few values, so that weights are equal and tags share odd numbers of decimals.
    features = np.round(of.ranked.features, 1) + np.float32(0.0001) * (of.ranked.features > 0)
    tied = of._replace(
        interests=alike, ranked=of.ranked._replace(features=features.astype(np.float32))
    )
    assert written(PageWriter(news, MANIFEST), tied) == encoded(news, tied)


def test_a_replaced_article_is_written_anew() -> None:
    news = catalogue(["a", "b", "c"], ["x", "y"], 0)
    writer = PageWriter(news, MANIFEST)
    of = batch(news, ["u1", "u2", "u3"], 4)
    assert written(writer, of) == encoded(news, of)
    news.put(article("b", ["new", "x"]))
    news.put(article("d", ["newer"]))
    wider = np.zeros((3, len(news.tag_names)), dtype=np.float32)
    wider[:, : of.interests.shape[1]] = of.interests
    of = of._replace(interests=wider)
    assert b'"new"' in b"".join(written(writer, of))
    assert written(writer, of) == encoded(news, of)


def test_no_readers_no_pages() -> None:
    news = catalogue(["a"], ["x"], 0)
    of = batch(news, ["u"], 0)
    nobody = of.ranked._replace(**{name: each[:0] for name, each in of.ranked._asdict().items()})
    assert PageWriter(news, MANIFEST).write([], [], nobody, of.interests[:0], NOW) == []


@pytest.mark.parametrize("tags", [[], ODD, [f"t{at}" for at in range(40)]])
def test_profiles_are_the_plain_ones(tags: list[str]) -> None:
    news = catalogue([f"a{number}" for number in range(40)], tags, 2, min(len(tags), 5))
    of = batch(news, [f"{ODD[at % len(ODD)]}{at}" for at in range(60)], 5)
    for interests in (of.interests, np.round(of.interests, 1)):
        given = (of.user_ids, of.reading, of.estimates, interests, news, MANIFEST, NOW)
        plain = [msgspec.json.encode(each) for each in plain_profiles(*given)]
        assert [msgspec.json.encode(each) for each in messages.profiles(*given)] == plain
        assert msgspec.json.encode(msgspec.json.decode(plain[0], type=Profile)) == plain[0]
