"""A bundle's estimates for a reading set, through onnxruntime as in serving; needs no torch."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.batches import Clicks, lengths_of, newest_clicks
from export.data import Ints, ReaderData, reader_tokens
from schemas.bundle import (
    ARTICLE_ENCODER,
    ESTIMATE_OUTPUTS,
    PROFILE_HEAD,
    READER_MODEL,
    TOKENIZER_FILE,
    Manifest,
    load_manifest,
)
from schemas.tokenizer import Tokenizer

_ARTICLES_PER_RUN = 64
_READERS_PER_RUN = 256
_CLICKS_PER_RUN = 32_768  # with padding; vectors of 128 numbers make 16 MB of it

Float32s = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Estimates:
    """What a model says of B readers."""

    age_years: Float32s  # (B,)
    age_sd: Float32s  # (B,)
    income: Float32s  # (B, G) probabilities
    female: Float32s  # (B,) probability


class BundleModel:
    """Estimate readers with a bundle.

    The articles of the last reading set stay encoded: asking again costs the profile head only.

    Raises:
        BundleError: when the bundle is not valid.
    """

    def __init__(self, bundle: Path) -> None:
        self.manifest: Manifest = load_manifest(bundle)
        self._tokenizer = Tokenizer(bundle / TOKENIZER_FILE)
        self._sessions = {
            name: onnxruntime.InferenceSession(
                str(bundle / graph.file), providers=["CPUExecutionProvider"]
            )
            for name, graph in self.manifest.graphs.items()
        }
        self._data: ReaderData | None = None
        self._rows: NDArray[Any] = np.empty((0, 0), dtype=np.float32)  # vectors or tokens
        self._is_encoded = np.empty(0, dtype=np.bool_)

    def estimate(self, data: ReaderData, readers: Ints, num_clicks: int | None = None) -> Estimates:
        """Estimate from each reader's newest clicks, of the first `num_clicks` where given.

        The result is in the order of `readers`. The worker pads every window to `max_clicks`,
        this pads less: results are equal to float tolerance.
        """
        size = len(readers)
        result = Estimates(
            age_years=np.empty(size, dtype=np.float32),
            age_sd=np.empty(size, dtype=np.float32),
            income=np.empty((size, len(self.manifest.income_groups)), dtype=np.float32),
            female=np.empty(size, dtype=np.float32),
        )
        limit = self.manifest.max_clicks
        for rows in _alike(data, readers, limit, num_clicks):
            clicks = newest_clicks(data, readers[rows], limit, num_clicks)
            self._encode(data, np.unique(clicks.articles[clicks.mask > 0.0]))
            age, sd, income, female = self._run(clicks)
            result.age_years[rows], result.age_sd[rows] = age, sd
            result.income[rows], result.female[rows] = income, female
        return result

    def _encode(self, data: ReaderData, articles: Ints) -> None:
        """Encode the articles that are not yet."""
        if self._data is not data:
            two_stage = self.manifest.architecture == "two-stage"
            shape = (len(data.texts), self.manifest.row_width)
            self._rows = np.zeros(shape, dtype=np.float32 if two_stage else np.int32)
            self._is_encoded = np.zeros(len(data.texts), dtype=np.bool_)
            self._data = data
        missing = articles[~self._is_encoded[articles]]
        for start in range(0, len(missing), _ARTICLES_PER_RUN):
            part = missing[start : start + _ARTICLES_PER_RUN]
            texts = [data.texts[article] for article in part]
            tokens = self._tokenizer.encode(texts, self.manifest.article_tokens)
            if ARTICLE_ENCODER in self._sessions:
                session = self._sessions[ARTICLE_ENCODER]
                (self._rows[part],) = session.run(["vector"], {"tokens": tokens})
            else:
                self._rows[part] = tokens
        self._is_encoded[missing] = True

    def _run(self, clicks: Clicks) -> list[Float32s]:
        if PROFILE_HEAD in self._sessions:
            inputs = {
                "vectors": self._rows[clicks.articles] * clicks.mask[..., None],
                "ages_hours": clicks.ages_hours,
                "mask": clicks.mask,
            }
            return list(self._sessions[PROFILE_HEAD].run(ESTIMATE_OUTPUTS, inputs))
        length = self.manifest.reader_tokens or self.manifest.article_tokens
        tokens = [
            reader_tokens(self._rows, articles[mask > 0.0], length)
            for articles, mask in zip(clicks.articles, clicks.mask, strict=True)
        ]
        return list(
            self._sessions[READER_MODEL].run(ESTIMATE_OUTPUTS, {"tokens": np.stack(tokens)})
        )


def _alike(data: ReaderData, readers: Ints, limit: int, num_clicks: int | None) -> Iterator[Ints]:
    """Yield positions in `readers`, with histories of about one length together."""
    lengths = np.minimum(lengths_of(data, readers, num_clicks), limit)
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        longest = max(1, int(lengths[order[start]]))
        end = start + min(_READERS_PER_RUN, max(1, _CLICKS_PER_RUN // longest))
        yield order[start:end]
        start = end
