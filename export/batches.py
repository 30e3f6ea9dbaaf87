"""Readers to network inputs: the newest clicks for an estimate, random parts for training."""

from collections.abc import Iterator
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from export.data import Ints, ReaderData, reader_tokens

Float32s = NDArray[np.float32]
Int32s = NDArray[np.int32]
Inputs = tuple[NDArray[np.float32] | NDArray[np.int32] | Ints, ...]

_NO_CLICKS_SHARE = 0.03  # of training samples: teaches the prior
_FEW_CLICKS_SHARE = 0.3  # of training samples: a history as short as a new reader's


class Clicks(NamedTuple):
    """The clicks of B readers, newest first, padded to N."""

    articles: Ints  # (B, N) article index, 0 where padded
    ages_hours: Float32s  # (B, N) hours before the reader's newest click
    mask: Float32s  # (B, N) 1 for a click, 0 for padding


class Batcher(Protocol):
    """Turn readers into the inputs of one architecture's network."""

    def sample(self, readers: Ints, rng: np.random.Generator) -> Inputs:
        """Return inputs from a random part of each reader's clicks, for training."""
        ...

    def newest(self, readers: Ints) -> Inputs:
        """Return inputs from each reader's newest clicks, as in serving."""
        ...


def newest_clicks(data: ReaderData, readers: Ints, limit: int) -> Clicks:
    """Return each reader's newest clicks, at most `limit`, padded to the longest."""
    everything = np.arange(len(data.clicks))
    return _stack(data, [everything[data.newest(reader, limit)] for reader in readers])


def sampled_clicks(data: ReaderData, readers: Ints, limit: int, rng: np.random.Generator) -> Clicks:
    """Return a random subset of each reader's clicks, at most `limit`, sometimes few or none."""
    picked = []
    for reader in readers:
        everything = np.arange(data.offsets[reader], data.offsets[reader + 1])
        most = min(limit, len(everything))
        chance = rng.random()
        if chance < _NO_CLICKS_SHARE:
            count = 0
        elif chance < _NO_CLICKS_SHARE + _FEW_CLICKS_SHARE:
            count = int(np.exp(rng.uniform(0.0, np.log(most + 1.0))))
        else:
            count = most
        picked.append(np.sort(rng.choice(everything, size=count, replace=False)))
    return _stack(data, picked)


def _stack(data: ReaderData, picked: list[Ints]) -> Clicks:
    longest = max(1, max(map(len, picked), default=1))
    articles = np.zeros((len(picked), longest), dtype=np.int64)
    ages = np.zeros((len(picked), longest), dtype=np.float32)
    mask = np.zeros((len(picked), longest), dtype=np.float32)
    for row, clicks in enumerate(picked):
        if len(clicks):
            newest_first = clicks[::-1]
            articles[row, : len(clicks)] = data.clicks[newest_first]
            ages[row, : len(clicks)] = data.hours[newest_first[0]] - data.hours[newest_first]
            mask[row, : len(clicks)] = 1.0
    return Clicks(articles, ages, mask)


class TwoStageBatches:
    """Inputs of the two-stage network: distinct articles (U, T), then rows, ages, mask (B, N)."""

    def __init__(self, data: ReaderData, tokens: Int32s, max_clicks: int) -> None:
        self._data = data
        self._tokens = tokens
        self._limit = max_clicks

    def sample(self, readers: Ints, rng: np.random.Generator) -> Inputs:
        """Return inputs from a random part of each reader's clicks."""
        return self._inputs(sampled_clicks(self._data, readers, self._limit, rng))

    def newest(self, readers: Ints) -> Inputs:
        """Return inputs from each reader's newest clicks."""
        return self._inputs(newest_clicks(self._data, readers, self._limit))

    def _inputs(self, clicks: Clicks) -> Inputs:
        distinct, rows = np.unique(clicks.articles, return_inverse=True)
        tokens = self._tokens[distinct]
        # Padding does not matter to an encoder, so no column needs to be padding only.
        longest = max(1, int((tokens != 0).sum(1).max()))
        return tokens[:, :longest], rows.reshape(clicks.articles.shape), *clicks[1:]


class ReferenceBatches:
    """Inputs of the reference network: a reader's concatenated posts (B, T), newest first."""

    def __init__(self, data: ReaderData, tokens: Int32s, max_clicks: int, num_tokens: int) -> None:
        self._data = data
        self._tokens = tokens
        self._limit = max_clicks
        self._num_tokens = num_tokens

    def sample(self, readers: Ints, rng: np.random.Generator) -> Inputs:
        """Return the newest posts too: the source article trains on them as they are."""
        del rng
        return self.newest(readers)

    def newest(self, readers: Ints) -> Inputs:
        """Return the tokens of each reader's newest articles: (B, T) int32."""
        clicks = newest_clicks(self._data, readers, self._limit)
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
