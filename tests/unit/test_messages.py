"""What the worker writes of readers is, byte for byte, what msgspec makes of plain records."""

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from schemas.records import Profile, Recommendation
from schemas.timestamps import MAX_RFC3339_MS, from_ms
from tests.plain_messages import plain_profiles, plain_recommendations
from tests.random_pages import MANIFEST, NOW_MS, Batch, article, batch, catalogue
from worker.catalogue import MAX_TAGS, Catalogue
from worker.json_bytes import Output, Texts, lines, number, utc_time, whole
from worker.page_json import PageWriter, _part
from worker.profile_json import ProfileWriter

VERSION = MANIFEST.model_version

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
    "</script><!--",
    "\ud7ff\ue000\U0010ffff",
]


def encoded(news: Catalogue, of: Batch) -> list[bytes]:
    plain = plain_recommendations(
        of.user_ids, of.recommendation_ids, of.ranked, of.interests, news, MANIFEST, NOW
    )
    return [msgspec.json.encode(page) for page in plain]


def written(writer: PageWriter, of: Batch) -> list[bytes]:
    return writer.write(of.user_ids, of.recommendation_ids, of.ranked, of.interests, NOW)


def plain(news: Catalogue, of: Batch) -> list[bytes]:
    given = (of.user_ids, of.reading, of.estimates, of.interests, news, MANIFEST, NOW)
    return [msgspec.json.encode(profile) for profile in plain_profiles(*given)]


def profiles(writer: ProfileWriter, of: Batch) -> list[bytes]:
    return writer.write(of.user_ids, of.reading, of.estimates, of.interests, NOW)


@pytest.mark.parametrize("scale", [0.0, 1e-4, 0.5, 8.0, 1e9, 1e12, 1e17, 1e30])
@pytest.mark.parametrize("most_tags", [0, 2, 12])
def test_pages_are_what_plain_records_encode_to(scale: float, most_tags: int) -> None:
    names = ODD + [f"a{number}" for number in range(50)]
    news = catalogue(names, ODD + [f"t{number}" for number in range(8)], 1, most_tags)
    writer = PageWriter(news, VERSION)
    for seed, num in enumerate((1, 40, len(ODD))):
        of = batch(news, [f"{ODD[at % len(ODD)]}{at}" for at in range(num)], seed, scale=scale)
        pages = written(writer, of)
        assert pages == encoded(news, of)
        for page in pages:
            record = msgspec.json.decode(page, type=Recommendation)
            assert msgspec.json.encode(record) == page


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, max_size=12),
    st.lists(st.text(st.characters(codec="utf-8"), min_size=1), max_size=20, unique=True),
    st.integers(0, 2**32 - 1),
    st.integers(1, 12),
    st.sampled_from([0.0, 1e-4, 0.01, 0.3, 3.0, 300.0, 1e12]),
    st.sampled_from([1, 2, 4]),
)
def test_any_batch_is_what_plain_records_encode_to(
    user_ids: list[str], names: list[str], seed: int, k: int, scale: float, digits: int
) -> None:
    news = catalogue(names or ["a"], names, seed)
    pages, profile_writer = PageWriter(news, VERSION), ProfileWriter(news, VERSION)
    for _ in range(2):
        of = batch(news, user_ids, seed, k, scale)
        # Of few digits: many weights are equal, zero or half a decimal.
        features = np.round(of.ranked.features, digits).astype(np.float32)
        interests = np.round(of.interests, digits)
        of = of._replace(interests=interests, ranked=of.ranked._replace(features=features))
        assert written(pages, of) == encoded(news, of)
        assert profiles(profile_writer, of) == plain(news, of)
        news.put(article(news.articles[0].article_id, [*names[:3], "another", f"{seed}"]))
        seed += 1


@numba.njit
def _all_numbers(
    out: NDArray[np.uint8], ends: NDArray[np.int64], values: NDArray[np.float64]
) -> int:
    for at in range(len(values)):
        ends[at + 1] = number(out, ends[at], values[at])
    return len(values)


@numba.njit
def _all_times(out: NDArray[np.uint8], ends: NDArray[np.int64], values: NDArray[np.int64]) -> int:
    for at in range(len(values)):
        ends[at + 1] = utc_time(out, ends[at], values[at])
    return len(values)


@numba.njit
def _all_whole(out: NDArray[np.uint8], ends: NDArray[np.int64], values: NDArray[np.int64]) -> int:
    for at in range(len(values)):
        ends[at + 1] = whole(out, ends[at], values[at])
    return len(values)


def roomy() -> Output:
    output = Output()
    output._buffer = np.empty(1 << 23, dtype=np.uint8)
    return output


def test_every_number_is_written_as_msgspec_writes_it() -> None:
    random = np.random.default_rng(0)
    large = random.uniform(-1, 1, 20_000) * 10.0 ** random.integers(0, 22, 20_000)
    odd = [-0.0, 1e11, 99999999999.9999, 1e17, -1e22, np.inf, -np.inf, np.nan]
    values = np.concatenate([np.arange(-40_002, 40_003) / 1e4, large.round(4), odd])
    plain = [msgspec.json.encode(each) for each in values.tolist()]
    assert roomy().written(len(values), lambda *to: _all_numbers(*to[:2], values)) == plain


def test_every_time_and_count_is_written_as_msgspec_writes_it() -> None:
    random = np.random.default_rng(0)
    days = np.arange(0, 50 * 366) * 86_400_000
    midnights = np.append(days, np.arange(1, 97) * 3_155_760_000_000 // 86_400_000 * 86_400_000)
    times = np.concatenate(
        [midnights, midnights[1:] - 1, random.integers(0, MAX_RFC3339_MS, 20_000), [MAX_RFC3339_MS]]
    )
    times = times[times <= MAX_RFC3339_MS]
    plain = [msgspec.json.encode(from_ms(each))[1:-1] for each in times.tolist()]
    assert roomy().written(len(times), lambda *to: _all_times(*to[:2], times)) == plain
    counts = np.concatenate([np.arange(1001), 10 ** np.arange(18), 10 ** np.arange(18) - 1])
    plain = [b"%d" % each for each in counts.tolist()]
    assert roomy().written(len(counts), lambda *to: _all_whole(*to[:2], counts)) == plain


def test_a_part_of_a_share_is_rounded_as_python_does() -> None:
    halves = np.arange(-20_001, 20_002, 2) / 20_000
    beside = [np.nextafter(halves, np.inf), np.nextafter(halves, -np.inf)]
    random = np.random.default_rng(0)
    others = random.normal(size=2000) * 10.0 ** random.integers(-6, 12, 2000)
    exact_halves = (2 * random.integers(0, 2**20, 500) + 1) / 32.0
    for part in np.concatenate([halves, *beside, others, exact_halves, [0.0, -0.0]]).tolist():
        rounded, wanted = round(_part(part), 4), round(part, 4)
        assert (rounded, np.signbit(rounded)) == (wanted, np.signbit(wanted)), part


def test_kept_text_has_few_holes_and_is_found_again() -> None:
    random = np.random.default_rng(0)
    texts, kept = Texts(2, 1), {}
    for step in range(3000):
        table, row = int(random.integers(2)), int(random.integers(100))
        pieces = tuple(b"%d" % step * int(random.integers(0, 30)) for _ in range(2 - table))
        texts.put(table, row, pieces)
        kept[table, row] = pieces
        assert texts.size <= 2 * sum(map(len, sum(kept.values(), ()))) + len(b"".join(pieces)) + 1
    for (table, row), pieces in kept.items():
        bounds = texts.bounds[table][row]
        found = [texts.text[a:b].tobytes() for a, b in pairwise(bounds)]
        assert found == list(pieces)


def test_lines_are_found_whatever_the_strings() -> None:
    text, starts = lines(ODD)
    found = [text[a : b - 1].tobytes() for a, b in pairwise(starts)]
    assert found == [msgspec.json.encode(each) for each in ODD]


def test_equal_weights_keep_their_order_and_halves_are_rounded_as_python_does() -> None:
    news = catalogue([], [], 0)
    for nth in range(30):
        news.put(article(f"a{nth}", [f"t{at}" for at in range(nth % (MAX_TAGS + 2))]))
    of = batch(news, [f"u{at}" for at in range(200)], 3)
    alike = np.where(of.interests > 0, np.float32(0.25), np.float32(0.0))
    # Few values, so that weights are equal and tags share odd numbers of decimals.
    features = np.round(of.ranked.features, 1) + np.float32(0.0001) * (of.ranked.features > 0)
    tied = of._replace(
        interests=alike, ranked=of.ranked._replace(features=features.astype(np.float32))
    )
    assert written(PageWriter(news, VERSION), tied) == encoded(news, tied)


def test_a_replaced_article_is_written_anew() -> None:
    news = catalogue(["a", "b", "c"], ["x", "y"], 0)
    writer = PageWriter(news, VERSION)
    of = batch(news, ["u1", "u2", "u3"], 4)
    assert written(writer, of) == encoded(news, of)
    news.put(article("b", ["new", "x"]))
    news.put(article("d", ["newer"]))
    written(writer, of)  # interests know nothing of the new tags yet
    wider = np.zeros((3, len(news.tag_names)), dtype=np.float32)
    wider[:, : of.interests.shape[1]] = of.interests
    of = of._replace(interests=wider)
    assert b'"new"' in b"".join(written(writer, of))
    assert written(writer, of) == encoded(news, of)


def test_no_readers_no_pages() -> None:
    news = catalogue(["a"], ["x"], 0)
    of = batch(news, ["u"], 0)
    nobody = of.ranked._replace(**{name: each[:0] for name, each in of.ranked._asdict().items()})
    assert PageWriter(news, VERSION).write([], [], nobody, of.interests[:0], NOW) == []


@pytest.mark.parametrize("tags", [[], ODD, [f"t{at}" for at in range(40)]])
def test_profiles_are_the_plain_ones(tags: list[str]) -> None:
    news = catalogue([f"a{number}" for number in range(40)], tags, 2, min(len(tags), 5))
    writer = ProfileWriter(news, VERSION)
    of = batch(news, [f"{ODD[at % len(ODD)]}{at}" for at in range(60)], 5)
    for interests in (of.interests, np.round(of.interests, 1)):
        found = profiles(writer, of._replace(interests=interests))
        assert found == plain(news, of._replace(interests=interests))
        assert msgspec.json.encode(msgspec.json.decode(found[0], type=Profile)) == found[0]


def test_profiles_of_new_tags_and_strange_estimates_are_the_plain_ones() -> None:
    news = catalogue(["a", "b"], ["m", "k"], 3)
    writer = ProfileWriter(news, VERSION)
    assert profiles(writer, batch(news, ["u"], 1)) == plain(news, batch(news, ["u"], 1))
    news.put(article("c", ["a", "z", "l", *(f"{at}" for at in range(9))]))
    of = batch(news, [f"u{at}" for at in range(30)], 2)
    of = of._replace(interests=np.where(of.interests > 0, np.float32(0.1), of.interests))
    of.estimates.age_years[:6] = [np.nan, np.inf, 1e13, -0.0, 0.005, 1e11]
    of.estimates.age_sd[:4] = [np.nan, 0.0, -1.0, 3e38]
    of.estimates.income[0] = np.nan
    assert profiles(writer, of) == plain(news, of)
