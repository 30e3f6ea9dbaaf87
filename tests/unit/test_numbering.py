"""Numbers of references, and clicks by tag: arrays that do what dicts would."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.recommend.numbering import Numbering
from worker.recommend.tag_counts import TagCounts

REFS = st.lists(st.lists(st.integers(0, 2**48 - 1) | st.integers(0, 9), max_size=40), max_size=8)


@settings(deadline=None)  # the first compiles
@given(REFS)
def test_references_are_numbered_in_the_order_in_which_they_come(parts: list[list[int]]) -> None:
    numbering, numbers = Numbering(), dict[int, int]()
    for refs in parts:
        found = numbering.number(np.array(refs, dtype=np.int64))
        assert found.tolist() == [numbers.setdefault(ref, len(numbers)) for ref in refs]
    assert len(numbering) == len(numbers)
    assert numbering.refs.tolist() == list(numbers)
    assert Numbering(numbering.refs).refs.tolist() == list(numbers)


def test_thousands_of_references_find_room() -> None:
    refs = np.random.default_rng(0).integers(0, 2**48, 10_000) * 4096  # alike in their last bits
    numbering = Numbering()
    for start in range(0, len(refs), 999):
        numbering.number(refs[start : start + 999])
    assert numbering.number(refs[::-1]).tolist() == list(range(len(refs)))[::-1]


@pytest.mark.parametrize("num", [0, 1, 2, 63, 64, 65, 1000])
def test_every_reference_is_found_and_no_other(num: int) -> None:
    random = np.random.default_rng(num)
    refs = np.unique(np.concatenate([[0, 2**48 - 1], random.integers(0, 2**48, 1100)]))
    random.shuffle(refs)
    numbering = Numbering(refs[:num])
    assert numbering.find(refs[:num]).tolist() == list(range(num))
    assert (numbering.find(refs[num:]) == -1).all()
    assert numbering.find(refs[:4].reshape(2, 2)).shape == (2, 2)


CLICKS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("abcdefg"), max_size=3, unique=True),
        st.lists(st.floats(0, 1, width=32), min_size=2, max_size=2),
    ),
    max_size=30,
)


def of_readers(
    members: list[list[float]],
) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
    """Return clicks of as many readers, one each: readers, memberships, numbers of segments."""
    sizes = np.array([len(member) for member in members], dtype=np.int64)
    memberships = np.zeros((len(members), max(sizes, default=0)), dtype=np.float32)
    for reader, member in enumerate(members):
        memberships[reader, : len(member)] = member
    return np.arange(len(members)), memberships, sizes


@settings(deadline=None)
@given(st.lists(CLICKS, max_size=4))
def test_clicks_on_tags_are_counted_by_segment_and_of_all(
    batches: list[list[tuple[list[str], list[float]]]],
) -> None:
    counts, plain = TagCounts(), dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]()
    for batch in batches:
        counts.add([tags for tags, _ in batch], *of_readers([member for _, member in batch]))
        for tags, member in batch:
            for tag in tags:
                plain.setdefault(tag, np.zeros(3))
                plain[tag] += [*member, 1.0]
    for found in (counts.by_tag(), TagCounts(counts.by_tag()).by_tag()):
        assert found.keys() == plain.keys()
        for tag, row in plain.items():
            assert np.allclose(found[tag], row)


def test_there_is_room_for_many_tags() -> None:
    counts = TagCounts()
    counts.add([[f"t{number}" for number in range(200)]] * 2, *of_readers([[1.0], [1.0]]))
    assert len(counts.by_tag()) == 200
    assert all(row.tolist() == [2.0, 2.0] for row in counts.by_tag().values())


def test_other_segments_begin_anew() -> None:
    counts = TagCounts()
    members = [[1.0], [1.0], [1.0, 1.0, 1.0]]
    counts.add([["a"], ["b"], ["b"]], *of_readers(members))
    assert {tag: row.tolist() for tag, row in counts.by_tag().items()} == {"b": [1.0] * 4}
