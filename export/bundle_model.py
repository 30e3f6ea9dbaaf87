"""A bundle's estimates for a reading set, through onnxruntime as in serving; needs no torch."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from export.batches import newest_clicks
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

    def estimate(self, data: ReaderData, readers: Ints) -> Estimates:
        """Estimate from each reader's newest clicks."""
        tokens = self._tokenizer.encode(data.texts, self.manifest.article_tokens)
        if self.manifest.architecture == "reference":
            parts = self._from_tokens(data, readers, tokens)
        else:
            parts = self._from_vectors(data, readers, self._encode(tokens))
        age, sd, income, female = (np.concatenate(column) for column in zip(*parts, strict=True))
        return Estimates(age_years=age, age_sd=sd, income=income, female=female)

    def _encode(self, tokens: NDArray[np.int32]) -> Float32s:
        session = self._sessions[ARTICLE_ENCODER]
        vectors = np.zeros((len(tokens), self.manifest.row_width), dtype=np.float32)
        for at in range(0, len(tokens), _ARTICLES_PER_RUN):
            part = slice(at, at + _ARTICLES_PER_RUN)
            (vectors[part],) = session.run(["vector"], {"tokens": tokens[part]})
        return vectors

    def _from_vectors(
        self, data: ReaderData, readers: Ints, vectors: Float32s
    ) -> list[list[Float32s]]:
        parts = []
        for at in range(0, len(readers), _READERS_PER_RUN):
            clicks = newest_clicks(
                data, readers[at : at + _READERS_PER_RUN], self.manifest.max_clicks
            )
            inputs = {
                "vectors": vectors[clicks.articles] * clicks.mask[..., None],
                "ages_hours": clicks.ages_hours,
                "mask": clicks.mask,
            }
            parts.append(self._sessions[PROFILE_HEAD].run(ESTIMATE_OUTPUTS, inputs))
        return parts

    def _from_tokens(
        self, data: ReaderData, readers: Ints, tokens: NDArray[np.int32]
    ) -> list[list[Float32s]]:
        length = self.manifest.reader_tokens or self.manifest.article_tokens
        parts = []
        for at in range(0, len(readers), _READERS_PER_RUN):
            clicks = newest_clicks(
                data, readers[at : at + _READERS_PER_RUN], self.manifest.max_clicks
            )
            rows = [
                reader_tokens(tokens, articles[mask > 0.0], length)
                for articles, mask in zip(clicks.articles, clicks.mask, strict=True)
            ]
            parts.append(
                self._sessions[READER_MODEL].run(ESTIMATE_OUTPUTS, {"tokens": np.stack(rows)})
            )
        return parts
