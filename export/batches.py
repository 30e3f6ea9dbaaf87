"""Readers to network inputs: the newest clicks for an estimate, random parts for training."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.data import Floats, Ints, ReaderData, reader_tokens

if TYPE_CHECKING:  # evaluation reads this file, and does without scikit-learn
    from export.linear_fit import LinearFit

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Inputs = tuple[NDArray[np.float32] | NDArray[np.int32] | Ints, ...]

NO_CLICKS_SHARE = 0.03
"""Of training samples; teaches the prior."""
PREFIX_SHARE = 0.35
"""Of training samples: a history as it was when it was shorter, by chance anywhere between one
click and all, short ones more often; of it the newest clicks."""
FEW_CLICKS_SHARE = 0.1
"""Of training samples: few clicks from anywhere in the history. The rest are as many as the limit
allows, from anywhere."""

EVERYONE = slice(None)


class Clicks(NamedTuple):
    """The clicks of B readers, newest first, padded to N."""

    articles: Ints  # (B, N) article index, 0 where padded
    ages_hours: Float32s  # (B, N) hours before the reader's newest click
    mask: Float32s  # (B, N) 1 for a click, 0 for padding


class Batcher(Protocol):
    """Turn readers into the inputs of one architecture's network."""

    def sample(self, readers: Ints, rng: np.random.Generator, share: slice = EVERYONE) -> Inputs:
        """Return inputs from a random part of each reader's clicks, for training.

        share: which of the readers; chance falls on all of them, so that it is the same for
        processes that take a share each.
        """
        ...

    def newest(self, readers: Ints, num_clicks: int | None = None) -> Inputs:
        """Return inputs from each reader's newest clicks, of the first `num_clicks` where given."""
        ...


def newest_clicks(
    data: ReaderData, readers: Ints, limit: int, num_clicks: int | None = None
) -> Clicks:
    """Return each reader's newest clicks, at most `limit`, of the first `num_clicks` where given.

    Newest first, padded to the longest; ages count back from the newest of them.
    """
    lengths = lengths_of(data, readers, num_clicks)
    ends = data.offsets[readers] + lengths
    counts = np.minimum(lengths, limit)
    owner, step = _ragged(counts)
    return _stack(data, counts, owner, (ends - counts)[owner] + step)


def lengths_of(data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Ints:
    """Return how many clicks readers have, at most the first `num_clicks` where given: (B,)."""
    lengths = data.offsets[readers + 1] - data.offsets[readers]
    return lengths if num_clicks is None else np.minimum(lengths, num_clicks)


def sampled_clicks(
    data: ReaderData,
    readers: Ints,
    limit: int,
    rng: np.random.Generator,
    share: slice = EVERYONE,
) -> Clicks:
    """Return a random part of each reader's clicks, at most `limit`, sometimes few or none.

    The shares of each kind of part are the constants above.
    """
    lengths = lengths_of(data, readers)
    most = np.minimum(lengths, limit)
    kind, size = rng.random((2, len(readers)))
    is_prefix = (kind >= NO_CLICKS_SHARE) & (kind < NO_CLICKS_SHARE + PREFIX_SHARE)
    is_few = kind >= 1.0 - FEW_CLICKS_SHARE
    ends = np.where(is_prefix, _log_uniform(lengths, size), lengths)
    counts = np.where(is_few, _log_uniform(most, size), np.minimum(ends, limit))
    counts[kind < NO_CLICKS_SHARE] = 0
    owner, step = _ragged(lengths)
    # Each reader's clicks in random order, those of a prefix's window before the others.
    is_outside = is_prefix[owner] & ((step >= ends[owner]) | (step < (ends - counts)[owner]))
    order = np.argsort(owner + 0.5 * (rng.random(len(owner)) + is_outside))
    kept = np.sort(order[step < counts[owner]])
    first, last, _ = share.indices(len(readers))
    kept = kept[(owner[kept] >= first) & (owner[kept] < last)]
    clicks = data.offsets[readers][owner[kept]] + step[kept]
    return _stack(data, counts[first:last], owner[kept] - first, clicks)


def _stack(data: ReaderData, counts: Ints, owner: Ints, clicks: Ints) -> Clicks:
    """Lay out clicks, oldest first and reader by reader, in rows that start with the newest.

    counts: (B,) clicks of each row; owner, clicks: (C,) row and index of each click.
    """
    shape = (len(counts), max(1, int(counts.max(initial=0))))
    articles = np.zeros(shape, dtype=np.int64)
    ages = np.zeros(shape, dtype=np.float32)
    mask = np.zeros(shape, dtype=np.float32)
    ends = np.cumsum(counts)
    column = ends[owner] - 1 - np.arange(len(owner))
    articles[owner, column] = data.clicks[clicks]
    hours = data.hours[clicks]
    ages[owner, column] = hours[ends[owner] - 1] - hours
    mask[owner, column] = 1.0
    return Clicks(articles, ages, mask)


def _ragged(lengths: Ints) -> tuple[Ints, Ints]:
    """Return the row and the position in it of each element of rows of these lengths.

    >>> _ragged(np.array([2, 0, 3]))
    (array([0, 0, 2, 2, 2]), array([0, 1, 0, 1, 2]))
    """
    owner = np.repeat(np.arange(len(lengths)), lengths)
    return owner, np.arange(len(owner)) - (np.cumsum(lengths) - lengths)[owner]


def _log_uniform(most: Ints, chance: Floats) -> Ints:
    """Return integers from 1 to `most`, small ones more often; 0 where `most` is 0."""
    drawn: Ints = np.exp(chance * np.log(most + 1.0)).astype(np.int64)
    return np.minimum(drawn, most)


class TwoStageBatches:
    """Inputs of the two-stage network.

    Distinct articles (U, T); rows, ages and mask (B, N); linear scores (B, N, H).
    """

    def __init__(
        self, data: ReaderData, tokens: Int32s, max_clicks: int, linear: "LinearFit"
    ) -> None:
        self._data = data
        self._tokens = tokens
        self._limit = max_clicks
        self._linear = linear

    def sample(self, readers: Ints, rng: np.random.Generator, share: slice = EVERYONE) -> Inputs:
        """Return inputs from a random part of each reader's clicks.

        The scores are by the fit that knows nothing of the reader's own labels.
        """
        clicks = sampled_clicks(self._data, readers, self._limit, rng, share)
        return self._inputs(clicks, self._linear.fold[readers[share]])

    def newest(self, readers: Ints, num_clicks: int | None = None) -> Inputs:
        """Return inputs from each reader's newest clicks, of the first `num_clicks` where given.

        The scores are as in serving for readers whom no fit has seen, who are not for the others.
        """
        clicks = newest_clicks(self._data, readers, self._limit, num_clicks)
        return self._inputs(clicks, self._linear.fold[readers])

    def _inputs(self, clicks: Clicks, fold: Ints) -> Inputs:
        distinct, rows = np.unique(clicks.articles, return_inverse=True)
        if len(distinct) == 0:
            distinct = np.zeros(1, dtype=np.int64)  # a share without readers has something to read
        tokens = self._tokens[distinct]
        # Padding does not matter to an encoder, so no column needs to be padding only.
        longest = max(1, int((tokens != 0).sum(1).max()))
        scores = self._linear.scores[fold[:, None], clicks.articles] * clicks.mask[..., None]
        return tokens[:, :longest], rows.reshape(clicks.articles.shape), *clicks[1:], scores


class ReferenceBatches:
    """Inputs of the reference network: a reader's concatenated posts (B, T), newest first."""

    def __init__(self, data: ReaderData, tokens: Int32s, max_clicks: int, num_tokens: int) -> None:
        self._data = data
        self._tokens = tokens
        self._limit = max_clicks
        self._num_tokens = num_tokens

    def sample(
        self,
        readers: Ints,
        rng: np.random.Generator,  # noqa: ARG002
        share: slice = EVERYONE,
    ) -> Inputs:
        """Return the newest posts too: the source article trains on them as they are."""
        return self.newest(readers[share])

    def newest(self, readers: Ints, num_clicks: int | None = None) -> Inputs:
        """Return the tokens of each reader's newest articles: (B, T) int32."""
        clicks = newest_clicks(self._data, readers, self._limit, num_clicks)
        rows = [
            reader_tokens(self._tokens, articles[mask > 0.0], self._num_tokens)
            for articles, mask in zip(clicks.articles, clicks.mask, strict=True)
        ]
        return (np.stack(rows),)


def shuffled(readers: Ints, size: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield the readers in random order, `size` at a time, never one alone if there are more."""
    order = rng.permutation(readers)
    # Batch statistics need two readers: a last batch of one joins the one before.
    edges = list(range(0, len(order), size)) or [0]
    if len(edges) > 1 and len(order) - edges[-1] == 1:
        edges.pop()
    for start, end in zip(edges, [*edges[1:], len(order)], strict=True):
        yield order[start:end]
