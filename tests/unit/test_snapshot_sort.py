"""Clicks in time order without repeats, whatever does not fit into memory."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.records import Click
from worker.snapshot_sort import ClickSorter, EntrySorter

clicks = st.builds(
    Click,
    user_id=st.sampled_from(["u", "ü", "u\0", "v"]),
    article_id=st.sampled_from(["a", "b"]),
    timestamp=st.integers(0, 5) | st.integers(2**40, 2**40 + 1),
    event_id=st.sampled_from([None, "e", "f"]),
)


@given(st.lists(clicks), st.integers(1, 6), st.integers(2, 3))
def test_any_chunks_give_the_distinct_clicks_in_time_order(
    given_clicks: list[Click], chunk_size: int, most_runs: int
) -> None:
    with TemporaryDirectory() as directory:
        sorter = ClickSorter(Path(directory), chunk_size, most_runs)
        for click in given_clicks:
            sorter.add(click)
        found = list(sorter.sorted())
    assert [click.timestamp for click in found] == sorted(click.timestamp for click in found)
    assert len(found) == len(set(found))
    assert set(found) == set(given_clicks)
    assert sorter.num_repeated == len(given_clicks) - len(found)


def test_no_more_than_a_chunk_stays_in_memory(tmp_path: Path) -> None:
    sorter = ClickSorter(tmp_path, chunk_size=10, most_runs=4)
    for number in range(95):
        sorter.add(Click(user_id="u", article_id="a", timestamp=95 - number))
    assert sorter.num_written == 9
    assert [click.timestamp for click in sorter.sorted()] == list(range(1, 96))
    assert len(list(tmp_path.iterdir())) <= 4


def test_long_entries_fill_a_chunk_sooner(tmp_path: Path) -> None:
    sorter = EntrySorter(tmp_path, chunk_size=10, chunk_bytes=100)
    entries = [bytes([200 - number]) * 40 for number in range(7)]
    for entry in entries:
        sorter.add(entry)
    assert sorter.num_written == 2  # of three entries each
    for number in range(9):
        sorter.add(bytes([number]))
    assert sorter.num_written == 3  # the one left over and nine short ones
    assert list(sorter.sorted()) == sorted([*entries, *(bytes([number]) for number in range(9))])


def test_the_order_does_not_depend_on_what_came_first(tmp_path: Path) -> None:
    pair = [Click(user_id=user, article_id="a", timestamp=1) for user in ("u", "v")]
    orders = []
    for number, turn in enumerate((pair, pair[::-1])):
        directory = tmp_path / str(number)
        directory.mkdir()
        sorter = ClickSorter(directory, chunk_size=1)
        for click in turn:
            sorter.add(click)
        orders.append(list(sorter.sorted()))
    assert orders[0] == orders[1]


@pytest.mark.parametrize("chunk_size", [1, 100])
def test_of_no_clicks_there_are_none(tmp_path: Path, chunk_size: int) -> None:
    assert list(ClickSorter(tmp_path, chunk_size).sorted()) == []
