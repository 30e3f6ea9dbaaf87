"""Checkpoints: everything that is counted and learned, as one compressed file of arrays."""

import io
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.compiled import compiled
from worker.recommend.features import FEATURES, ROW_NAMES
from worker.recommend.state import (
    NO_SLOT,
    BlendState,
    CoClicks,
    Items,
    Terms,
    empty_co_clicks,
    empty_items,
    empty_terms,
)

NAMES = (*FEATURES, *ROW_NAMES)
FEWEST_ITEMS = 1024
_TABLES = ("together", "next")
"""Of co-clicks: mostly zeros, so only what is counted is copied and written."""


class CheckpointError(ValueError):
    """A checkpoint is not one that this version wrote."""


class Counted(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        refs: (N,) int64 article references in the order of their numbers.
        items, co, terms, blend: see `state`; of `co` not the item model, which is fitted again.
        tag_counts: by tag, (segments + 1,) clicks by each segment of readers, and of all.
        num_counted, next_fit: clicks counted, and when the item model is due.
    """

    refs: NDArray[np.int64]
    items: Items
    co: CoClicks
    terms: Terms
    blend: BlendState
    tag_counts: Mapping[str, NDArray[np.float64]]
    num_counted: int
    next_fit: int


def snapshot(counted: Counted) -> dict[str, NDArray[Any]]:
    """Return copies of all arrays."""
    size, tags = len(counted.refs), sorted(counted.tag_counts)
    return {
        "names": np.array(NAMES),
        "refs": counted.refs.copy(),
        **{name: getattr(counted.items, name)[:size].copy() for name in Items._fields},
        **{f"term_{name}": getattr(counted.terms, name).copy() for name in Terms._fields},
        "slot_items": counted.co.item.copy(),
        "slot_clicks": counted.co.clicks.copy(),
        **_sparse(counted.co),
        **{name: getattr(counted.blend, name).copy() for name in BlendState._fields},
        "tags": np.array(tags, dtype=np.str_),
        "tag_counts": np.array([counted.tag_counts[tag] for tag in tags]),
        "progress": np.array([counted.num_counted, counted.next_fit]),
    }


def _sparse(co: CoClicks) -> dict[str, NDArray[Any]]:
    """Return which pairs of slots have counts in each table, (2, P) int32, and these, (P,)."""
    # Where nothing came together, nothing came next.
    pairs, together, following = _counted_pairs(co)
    held = following != 0.0
    return {
        "together_pairs": pairs,
        "together_counts": together,
        "next_pairs": pairs[:, held],
        "next_counts": following[held],
    }


@compiled
def _counted_pairs(
    co: CoClicks,
) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    num_slots = len(co.item)
    num = 0
    for row in range(num_slots):
        for column in range(num_slots):
            num += co.together[row, column] != 0.0
    pairs = np.empty((2, num), dtype=np.int32)
    together = np.empty(num, dtype=np.float32)
    following = np.empty(num, dtype=np.float32)
    at = 0
    for row in range(num_slots):
        for column in range(num_slots):
            if co.together[row, column] != 0.0:
                pairs[0, at], pairs[1, at] = row, column
                together[at] = co.together[row, column]
                following[at] = co.next[row, column]
                at += 1
    return pairs, together, following


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Compress a snapshot; takes seconds where all articles are read together."""
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    return file.getvalue()


def unpack(dumped: bytes, num_slots: int) -> Counted:
    """Return what was packed; without co-clicks where another number of slots was configured.

    Raises:
        CheckpointError: when it is of another version, or broken.
    """
    try:
        with np.load(io.BytesIO(dumped), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if tuple(arrays["names"]) != NAMES:
            raise CheckpointError("a checkpoint of other features")
        return _counted(arrays, num_slots)
    except CheckpointError:
        raise
    except Exception as error:  # numpy and zipfile raise many types
        raise CheckpointError(f"not a checkpoint: {type(error).__name__}") from error


def _counted(arrays: Mapping[str, NDArray[Any]], num_slots: int) -> Counted:
    refs = arrays["refs"]
    items = empty_items(max(FEWEST_ITEMS, len(refs)))
    for name in Items._fields:
        getattr(items, name)[: len(refs)] = arrays[name]
    terms = empty_terms()
    for name in Terms._fields:
        getattr(terms, name)[:] = arrays[f"term_{name}"]
    co = empty_co_clicks(num_slots)
    if len(arrays["slot_items"]) == num_slots:
        co.item[:] = arrays["slot_items"]
        co.clicks[:] = arrays["slot_clicks"]
        held = np.flatnonzero(co.item >= 0)
        co.last_ms[held] = items.last_ms[co.item[held]]
        for name in _TABLES:
            getattr(co, name)[tuple(arrays[f"{name}_pairs"])] = arrays[f"{name}_counts"]
    else:
        items.slot[:] = NO_SLOT
    num_counted, next_fit = (int(value) for value in arrays["progress"])
    return Counted(
        refs,
        items,
        co,
        terms,
        BlendState(*(arrays[name] for name in BlendState._fields)),
        dict(zip(arrays["tags"].tolist(), arrays["tag_counts"], strict=True)),
        num_counted,
        next_fit,
    )
