"""What the readers of a batch have read, as arrays: pure functions of histories and catalogue."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import ENTRY_BYTES, HEADER_BYTES, REF_BYTES, read_entries
from worker.catalogue import NO_LANGUAGE, NO_TAG, Catalogue
from worker.compiled import compiled

MS_PER_HOUR = 3_600_000.0
HOURS_PER_DAY = 24.0
STRAY_SHARE = 10
"""A language of fewer than one in so many clicks is not one the reader reads."""


class Reading(NamedTuple):
    """The clicks of R readers, C in all, each reader's together and newest first.

    Attributes:
        starts: (R + 1,) int64; reader r has the clicks `starts[r]:starts[r + 1]`.
        times_ms: (C,) int64.
        rows: (C,) int64 catalogue rows, -1 where the article is not known.
        window: (R, N) int64 indices into the above of the newest N clicks, C where there is none.
        present: (R, N) bool, whether the window has a click there.
        known: (R, N) bool, whether its article is known, too.
    """

    starts: NDArray[np.int64]
    times_ms: NDArray[np.int64]
    rows: NDArray[np.int64]
    window: NDArray[np.int64]
    present: NDArray[np.bool_]
    known: NDArray[np.bool_]

    @property
    def num_clicks(self) -> NDArray[np.int64]:
        """Clicks held, (R,)."""
        return np.diff(self.starts)

    @property
    def newest_ms(self) -> NDArray[np.int64]:
        """The newest click of each reader, (R,); 0 without any."""
        return np.where(self.num_clicks, np.append(self.times_ms, 0)[self.starts[:-1]], 0)

    @property
    def oldest_ms(self) -> NDArray[np.int64]:
        """The oldest click held of each reader, (R,); 0 without any."""
        return np.where(self.num_clicks, np.append(self.times_ms, 0)[self.starts[1:] - 1], 0)

    def window_rows(self) -> NDArray[np.int64]:
        """Catalogue rows of the window, (R, N), -1 where absent or unknown."""
        return np.where(self.known, np.append(self.rows, -1)[self.window], -1)

    def window_ages_hours(self) -> NDArray[np.float32]:
        """Hours from each click of the window to the reader's newest, (R, N) float32, ≥ 0."""
        ages = (self.newest_ms[:, None] - np.append(self.times_ms, 0)[self.window]) / MS_PER_HOUR
        return np.where(self.present, ages, 0.0).astype(np.float32)


def read(histories: Sequence[bytes], catalogue: Catalogue, window_size: int) -> Reading:
    """Unpack histories, each with its header at least, against the catalogue."""
    body = b"".join([packed[HEADER_BYTES:] for packed in histories])
    sizes = [(len(packed) - HEADER_BYTES) // ENTRY_BYTES for packed in histories]
    starts = np.zeros(len(histories) + 1, dtype=np.int64)
    np.cumsum(sizes, out=starts[1:])
    times_ms, refs = read_entries(body)
    rows = catalogue.find(refs)
    shape = (len(histories), window_size)
    window = np.full(shape, len(rows), dtype=np.int64)
    present, known = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.bool_)
    _fill_windows(starts, rows, window, present, known)
    return Reading(starts, times_ms, rows, window, present, known)


@compiled
def _fill_windows(
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    window: NDArray[np.int64],
    present: NDArray[np.bool_],
    known: NDArray[np.bool_],
) -> None:
    for reader in range(len(window)):
        start = starts[reader]
        for place in range(min(starts[reader + 1] - start, window.shape[1])):
            window[reader, place] = start + place
            present[reader, place] = True
            known[reader, place] = rows[start + place] >= 0


def unknown_refs(reading: Reading, histories: Sequence[bytes]) -> list[list[bytes]]:
    """Return, for each reader, the references of the window's unknown articles, newest first."""
    missing: list[list[bytes]] = [[] for _ in histories]
    if not (reading.rows < 0).any():
        return missing
    for reader, click in np.argwhere(reading.present & ~reading.known):
        end = HEADER_BYTES + (int(click) + 1) * ENTRY_BYTES
        missing[reader].append(histories[reader][end - REF_BYTES : end])
    return missing


def languages_read(reading: Reading, catalogue: Catalogue) -> NDArray[np.bool_]:
    """Return which languages each reader reads, (R, L + 1) bool; the last: not known.

    Those of at least a tenth of the window's clicks, so that one stray click does not bring a
    language for good; every language for a reader of whom no click tells one.
    """
    num_readers, window_size = reading.known.shape
    reads = np.ones((num_readers, catalogue.num_languages + 1), dtype=np.bool_)
    _find_languages(reading.starts, reading.rows, window_size, catalogue.languages, reads)
    return reads


@compiled
def _find_languages(
    starts: NDArray[np.int64],
    rows: NDArray[np.int64],
    window_size: int,
    languages: NDArray[np.int16],
    reads: NDArray[np.bool_],
) -> None:
    """Take from all languages, (R, L + 1), those that readers do not read, but for the last."""
    num_languages = reads.shape[1] - 1
    clicks = np.zeros(num_languages, dtype=np.int64)
    for reader in range(len(reads)):
        clicks[:] = 0
        total = 0
        for click in range(starts[reader], min(starts[reader] + window_size, starts[reader + 1])):
            if rows[click] >= 0 and languages[rows[click]] != NO_LANGUAGE:
                clicks[languages[rows[click]]] += 1
                total += 1
        if not total:
            continue
        for language in range(num_languages):
            read = clicks[language] > 0 and clicks[language] * STRAY_SHARE >= total
            reads[reader, language] = read


def tag_interests(
    reading: Reading, catalogue: Catalogue, half_life_days: float
) -> NDArray[np.float32]:
    """Return each reader's own interest in each tag, (R, G), rows summing to 1 or being 0.

    A click counts half after `half_life_days`, seen from the reader's newest click, and is
    shared among the tags of its article.
    """
    interests = np.zeros((len(reading.present), len(catalogue.tag_names)), dtype=np.float32)
    _add_interests(
        reading.starts,
        reading.times_ms,
        reading.rows,
        reading.present.shape[1],
        catalogue.tags,
        half_life_days * HOURS_PER_DAY * MS_PER_HOUR,
        interests,
    )
    return interests


@compiled
def _add_interests(
    starts: NDArray[np.int64],
    times_ms: NDArray[np.int64],
    rows: NDArray[np.int64],
    window_size: int,
    tags: NDArray[np.int32],
    half_life_ms: float,
    interests: NDArray[np.float32],
) -> None:
    own = np.zeros(interests.shape[1])
    for reader in range(len(starts) - 1):
        start = starts[reader]
        end = min(start + window_size, starts[reader + 1])
        total = 0.0
        for click in range(start, end):
            row = rows[click]
            if row < 0 or tags[row, 0] == NO_TAG:
                continue
            num_tags = 1
            while num_tags < tags.shape[1] and tags[row, num_tags] != NO_TAG:
                num_tags += 1
            weight = 2.0 ** ((times_ms[click] - times_ms[start]) / half_life_ms)
            total += weight
            for at in range(num_tags):
                own[tags[row, at]] += weight / num_tags
        if total == 0.0:
            continue
        # Only the tags that were clicked: there may be thousands of others.
        for click in range(start, end):
            row = rows[click]
            if row < 0:
                continue
            for tag in tags[row]:
                if tag == NO_TAG:
                    break
                if own[tag] > 0.0:
                    interests[reader, tag] = own[tag] / total
                    own[tag] = 0.0
