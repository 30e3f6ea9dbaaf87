"""The model a worker serves: a bundle's ONNX graphs behind two calls.

`encode` turns an article's text into the row the catalogue keeps; `estimate` turns the rows of a
reader's newest clicks into who they may be. A two-stage bundle keeps article vectors and runs
the profile head; a reference bundle keeps token ids and runs the whole network per reader.

Results do not depend on what else is in the batch: graphs run on fixed shapes (see
`ROWS_PER_RUN` and `FEW_ROWS`), so that a replay gives equal profiles. How many of a reader's
clicks a run has room for may follow from the reader's own history only.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from schemas.bundle import (
    ARTICLE_ENCODER,
    BLEND_FILE,
    ESTIMATE_OUTPUTS,
    PROFILE_HEAD,
    READER_MODEL,
    TOKENIZER_FILE,
    LearnedBlend,
    Manifest,
    TagAffinity,
    load_manifest,
)
from schemas.errors import BundleError
from schemas.tokenizer import PAD_ID, Tokenizer
from worker.bundle_files import load_affinity, open_graph
from worker.recommend.starting import load_blend

ROWS_PER_RUN = 32
"""Rows of one run of a graph; the last run of a batch is padded to it.

A matrix product may sum in another order for another number of rows, and one bit of difference
in a vector would become another profile.
"""

FEW_ROWS = 8
"""Rows of a run for what is left of a batch, if it is so few, where a graph gives for each row the
very bits that it gives among `ROWS_PER_RUN`: that is tried when it is loaded. Blocks of so many are
what matrix products are made of; an odd row out is summed otherwise."""

SHORTEST_WINDOW = 8
"""Clicks. One more window size is one more run of `ROWS_PER_RUN` for a batch of a few readers;
from a window of 8 to one of 1, the profile head saves a tenth."""

LEAST_SD_YEARS = 0.01
"""Of an age: a profile says no less, and who has less counts as if it were this."""


class Estimates(NamedTuple):
    """What the heads say of B readers.

    Attributes:
        age_years: (B,) float32 mean.
        age_sd: (B,) float32 standard deviation in years.
        income: (B, G) float32 probabilities of the income groups.
        female: (B,) float32 probability.
    """

    age_years: NDArray[np.float32]
    age_sd: NDArray[np.float32]
    income: NDArray[np.float32]
    female: NDArray[np.float32]


class Model(Protocol):
    """What the rest of the worker needs of a model."""

    manifest: Manifest
    affinity: TagAffinity | None
    blend: LearnedBlend | None
    row_dtype: np.dtype[np.generic]
    windows: Sequence[int]
    """How many clicks an estimate may be made of, ascending; the last is `max_clicks`. A reader's
    is made of the first that holds the reader's newest."""

    def encode(self, texts: list[str]) -> NDArray[np.generic]:
        """Return the row of each text, (len(texts), W) of `row_dtype`."""

    def estimate(
        self,
        rows: NDArray[np.generic],
        ages_hours: NDArray[np.float32],
        mask: NDArray[np.float32],
    ) -> Estimates:
        """Return the estimates of B readers from their newest clicks.

        rows: (B, N, W), newest first; ages_hours: (B, N) since the click, seen from the newest;
        mask: (B, N), 1 where there is a click. N is one of `windows`.
        """


def load_model(bundle: Path) -> Model:
    """Load a bundle and check that its graphs are what the manifest says.

    Raises:
        BundleError: when anything is missing, broken or does not fit.
    """
    manifest = load_manifest(bundle)
    if manifest.architecture == "two-stage":
        return TwoStageModel(bundle, manifest)
    return ReferenceModel(bundle, manifest)


class TwoStageModel:
    """Article encoder, then profile head (decision 1 of the design)."""

    row_dtype: np.dtype[np.generic] = np.dtype("<f4")

    def __init__(self, bundle: Path, manifest: Manifest) -> None:
        self.manifest = manifest
        self.affinity = load_affinity(bundle, manifest)
        self.blend = load_blend(bundle) if BLEND_FILE in manifest.files else None
        self._tokenizer = Tokenizer(bundle / TOKENIZER_FILE)
        self._encoder = open_graph(bundle, manifest, ARTICLE_ENCODER, ["tokens"], ["vector"])
        inputs = ["vectors", "ages_hours", "mask"]
        self._head = open_graph(bundle, manifest, PROFILE_HEAD, inputs, ESTIMATE_OUTPUTS)
        self.windows: Sequence[int] = _window_sizes(manifest.max_clicks)
        self._few = all(self._alike_in_few(size) for size in self.windows)

    def encode(self, texts: list[str]) -> NDArray[np.generic]:
        """Return the vectors (len(texts), D) float32."""
        tokens = self._tokenizer.encode(texts, self.manifest.article_tokens)
        vectors = np.empty((len(texts), self.manifest.row_width), dtype=np.float32)
        for start, part in _runs(len(texts)):
            padded = _pad(tokens[part])
            (vector,) = self._encoder.run(["vector"], {"tokens": padded})
            vectors[part] = vector[: part.stop - start]
        return vectors

    def estimate(
        self,
        rows: NDArray[np.generic],
        ages_hours: NDArray[np.float32],
        mask: NDArray[np.float32],
    ) -> Estimates:
        """Run the profile head."""
        feeds = {"vectors": rows, "ages_hours": ages_hours, "mask": mask}
        return _estimate(self._head, feeds, self.manifest, few=self._few)

    def _alike_in_few(self, window: int) -> bool:
        """Try whether the profile head says the same in runs of a few rows."""
        random = np.random.default_rng(0)
        shape = (ROWS_PER_RUN, window)
        feeds: dict[str, NDArray[np.generic]] = {
            "vectors": random.normal(size=(*shape, self.manifest.row_width)).astype(np.float32),
            "ages_hours": np.sort(random.exponential(100.0, shape)).astype(np.float32),
            "mask": (random.random(shape) < random.random((ROWS_PER_RUN, 1))).astype(np.float32),
        }
        feeds["mask"][:, 0] = 1.0
        whole = self._head.run(list(ESTIMATE_OUTPUTS), feeds)
        for start in range(0, ROWS_PER_RUN, FEW_ROWS):
            part = slice(start, start + FEW_ROWS)
            few = self._head.run(
                list(ESTIMATE_OUTPUTS), {name: feed[part] for name, feed in feeds.items()}
            )
            if not all(
                np.array_equal(one[part], other) for one, other in zip(whole, few, strict=True)
            ):
                return False
        return True


class ReferenceModel:
    """The one-graph network of the source article over a reader's concatenated posts."""

    row_dtype: np.dtype[np.generic] = np.dtype("<i4")

    def __init__(self, bundle: Path, manifest: Manifest) -> None:
        if manifest.reader_tokens is None:
            raise BundleError(f"{bundle}: a reference bundle needs reader_tokens")
        self.manifest = manifest
        self.affinity = load_affinity(bundle, manifest)
        self.blend = load_blend(bundle) if BLEND_FILE in manifest.files else None
        self._reader_tokens = manifest.reader_tokens
        self._tokenizer = Tokenizer(bundle / TOKENIZER_FILE)
        self._network = open_graph(bundle, manifest, READER_MODEL, ["tokens"], ESTIMATE_OUTPUTS)
        self.windows: Sequence[int] = (manifest.max_clicks,)

    def encode(self, texts: list[str]) -> NDArray[np.generic]:
        """Return the token ids (len(texts), T) int32."""
        return self._tokenizer.encode(texts, self.manifest.row_width)

    def estimate(
        self,
        rows: NDArray[np.generic],
        ages_hours: NDArray[np.float32],  # noqa: ARG002 the source article knows no time
        mask: NDArray[np.float32],
    ) -> Estimates:
        """Concatenate the posts, newest first, and run the network."""
        tokens = np.full((len(rows), self._reader_tokens), PAD_ID, dtype=np.int32)
        for row, posts, present in zip(tokens, rows, mask, strict=True):
            posted = posts[present > 0]
            words = posted[posted != PAD_ID][: self._reader_tokens]
            row[: len(words)] = words
        return _estimate(self._network, {"tokens": tokens}, self.manifest)


def no_estimates(num_readers: int, num_groups: int) -> Estimates:
    """Return room for the estimates of some readers."""
    return Estimates(
        np.empty(num_readers, np.float32),
        np.empty(num_readers, np.float32),
        np.empty((num_readers, num_groups), np.float32),
        np.empty(num_readers, np.float32),
    )


def _estimate(
    session: onnxruntime.InferenceSession,
    feeds: dict[str, NDArray[np.generic]],
    manifest: Manifest,
    *,
    few: bool = False,
) -> Estimates:
    """Run a graph. few: whether runs of `FEW_ROWS` give the same."""
    size = len(next(iter(feeds.values())))
    result = no_estimates(size, len(manifest.income_groups))
    for start, part in _runs(size):
        rows = FEW_ROWS if few and part.stop - start <= FEW_ROWS else ROWS_PER_RUN
        run = session.run(
            list(ESTIMATE_OUTPUTS),
            {name: _pad(feed[part], rows) for name, feed in feeds.items()},
        )
        for whole, values in zip(result, run, strict=True):
            whole[part] = values[: part.stop - start]
    return result


def _runs(size: int) -> list[tuple[int, slice]]:
    return [
        (start, slice(start, min(start + ROWS_PER_RUN, size)))
        for start in range(0, size, ROWS_PER_RUN)
    ]


def _pad(rows: NDArray[np.generic], size: int = ROWS_PER_RUN) -> NDArray[np.generic]:
    missing = size - len(rows)
    if not missing:
        return rows
    return np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), dtype=rows.dtype)])


def _window_sizes(max_clicks: int) -> tuple[int, ...]:
    """Return a quarter, a quarter of that, and so on, ascending.

    >>> _window_sizes(256), _window_sizes(32), _window_sizes(16)
    ((16, 64, 256), (8, 32), (16,))
    """
    sizes = [max_clicks]
    while sizes[0] // 4 >= SHORTEST_WINDOW:
        sizes.insert(0, sizes[0] // 4)
    return tuple(sizes)
