"""What a model is given of readers: no more room than they need, and the same in any batch."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.catalogues import WIDTH, article, catalogue, history
from worker.reading import Reading, read
from worker.windows import Windows, windows_of

NEWS = catalogue(*(article(name, [], value=at) for at, name in enumerate("abcd", start=1)))
SIZES = (2, 8)


def reading_of(lengths: list[int]) -> Reading:
    names = "abcde"  # the last is not known
    return read(
        [
            history(*((names[(at + i) % 5], 7.5 * i) for i in range(n)))
            for at, n in enumerate(lengths)
        ],
        NEWS,
        SIZES[-1],
    )


@settings(deadline=None)  # compiled on the first call
@given(st.lists(st.integers(0, 20), max_size=70))
def test_windows_hold_what_the_reading_says(lengths: list[int]) -> None:
    reading = reading_of(lengths)
    seen: list[int] = []
    for windows in windows_of(reading, NEWS.rows, SIZES):
        size = windows.mask.shape[1]
        readers = windows.readers
        assert all(min(lengths[reader], 8) <= size for reader in readers)
        assert size == 2 or all(lengths[reader] > 2 for reader in readers)
        rows = reading.window_rows()[readers, :size]
        vectors = np.where(rows[:, :, None] < 0, 0, NEWS.rows[rows])
        assert windows.rows.tolist() == vectors.tolist()
        assert windows.mask.tolist() == reading.known[readers, :size].tolist()
        assert windows.ages_hours.tolist() == reading.window_ages_hours()[readers, :size].tolist()
        seen += readers.tolist()
    assert sorted(seen) == list(range(len(lengths)))


def test_a_readers_window_is_their_own() -> None:
    lengths = [3, 0, 20, 1, 8, 2, 5]
    found: dict[int, Windows] = {}
    for windows in windows_of(reading_of(lengths), NEWS.rows, SIZES):
        for at, reader in enumerate(windows.readers.tolist()):
            found[reader] = Windows(*(each[at : at + 1] for each in windows))
    for reader, own in found.items():
        (alone,) = windows_of(
            reading_of([0] * reader + lengths[reader : reader + 1]), NEWS.rows, [8]
        )
        width = own.mask.shape[1]
        assert alone.rows[-1, :width].tobytes() == own.rows.tobytes()
        assert not alone.rows[-1, width:].any()


def test_rows_are_of_the_tables_kind() -> None:
    table = np.arange(4 * WIDTH, dtype="<i4").reshape(4, WIDTH)
    (windows,) = windows_of(reading_of([1]), table, [1])
    assert windows.rows.dtype == table.dtype
    assert windows.rows[0, 0].tolist() == table[0].tolist()
