"""Train variants, measure each on the same readers, and log every run so that none is repeated."""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from export.bundle_model import BundleModel
from export.bundle_writer import train_bundle
from export.data import ReaderData, load_reader_data
from export.evaluation.figures import figures_of
from export.options import TrainingOptions
from export.variants import Variant
from schemas.bundle import ARTICLE_ENCODER, TOKENIZER_FILE, Manifest
from schemas.errors import FrontpageError, TrainingError
from schemas.reading_set import ReadingSet, Split
from schemas.tokenizer import Tokenizer

_ARTICLES_PER_RUN = 32
_TIMED_ARTICLES = 512
_TIMED_PASSES = 5
_NUM_RESAMPLES = 1  # seeds show the spread here, not resamples

Figures = dict[str, dict[str, float | None]]


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One training and what it gave: a line of the log."""

    dataset: str
    """Name, and the beginning of the checksum of all that a training reads."""
    split: str
    variant: str
    options: dict[str, Any]
    figures: Figures = {}
    """By head and name; heads without labels on the split are left out."""
    parameters: int = 0
    bundle_mb: float = 0.0
    article_us: float | None = None
    """Microseconds per article in onnxruntime, one thread, 32 articles at a time."""
    training_seconds: float = 0.0
    seconds: float = 0.0
    error: str | None = None

    @property
    def key(self) -> bytes:
        """Return what makes two runs the same."""
        return msgspec.json.encode([self.dataset, self.split, self.options], order="sorted")


class Comparison:
    """Runs on one reading set and split, kept in a log of JSON lines if there is one.

    A run that is in the log is not repeated, one that failed is. A log belongs to one version of
    the training code: the options do not tell versions apart.

    Raises:
        ReadingSetError: when the reading set is not valid.
        TrainingError: when the log cannot be read.
    """

    def __init__(self, dataset: Path, split: Split, log: Path | None = None) -> None:
        self._dataset = dataset
        self._split: Split = split
        self._log = log
        self._data: dict[bool, ReaderData] = {}
        data = self._data_for(True)
        self._name = f"{data.name} {data.fingerprint[:8]}"
        self._done = {run.key: run for run in _logged(log) if run.error is None}

    def heads(self) -> list[str]:
        """Return the heads with labels on the split."""
        data = self._data_for(True)
        readers = data.readers_of(self._split)
        if len(readers) == 0:
            raise TrainingError(f"{data.name}: no reader in the {self._split} split")
        known = {
            "age": ~np.isnan(data.age[readers]),
            "income": data.income[readers] >= 0,
            "gender": data.gender[readers] >= 0,
        }
        return [head for head, has in known.items() if has.any()]

    def run_all(
        self, variants: Sequence[Variant], num_seeds: int, say: Callable[[str], None]
    ) -> list[Run]:
        """Run every variant with every seed, seed by seed, so that an early stop shows them all."""
        learn = {variant.options.learns_valid for variant in variants}
        if self._split == "valid" and len(learn) > 1:
            raise TrainingError("learns_valid can be varied on the test split only")
        runs = []
        for number in range(num_seeds):
            for variant in variants:
                runs.append(self._run(variant, variant.seeded(number), say))
        return runs

    def _run(self, variant: Variant, options: TrainingOptions, say: Callable[[str], None]) -> Run:
        if self._split == "valid":  # what is measured on must not be learned from
            options = replace(options, learns_valid=False)
        blank = Run(
            dataset=self._name,
            split=self._split,
            variant=variant.name,
            options=asdict(options),
        )
        label = f"{variant.name}, seed {options.seed}"
        if (known := self._done.get(blank.key)) is not None:
            say(f"{label}: in the log")
            return msgspec.structs.replace(known, variant=variant.name)
        started = time.monotonic()
        say(f"{label}: training")
        try:
            with tempfile.TemporaryDirectory() as directory:
                bundle = Path(directory) / "bundle"
                manifest = train_bundle(self._dataset, bundle, options, measure=False)
                run = msgspec.structs.replace(blank, **self._measured(bundle, manifest))
        except FrontpageError as error:
            run = msgspec.structs.replace(blank, error=str(error))
        except Exception as error:
            # Whatever goes wrong with one variant must not lose the others.
            run = msgspec.structs.replace(blank, error=f"{type(error).__name__}: {error}")
        run = msgspec.structs.replace(run, seconds=round(time.monotonic() - started, 1))
        self._keep(run)
        return run

    def _measured(self, bundle: Path, manifest: Manifest) -> dict[str, Any]:
        data = self._data_for(manifest.reads_tags)
        readers = data.readers_of(self._split)
        found = figures_of(
            BundleModel(bundle).estimate(data, readers), data, readers, _NUM_RESAMPLES
        )
        heads = self.heads()
        return {
            "figures": {
                head: {name: figure["value"] for name, figure in figures.items()}
                for head, figures in found.items()
                if head in heads
            },
            "parameters": manifest.training["parameters"],
            "bundle_mb": round(sum(file.size for file in manifest.files.values()) / 1e6, 2),
            "article_us": article_us(bundle, manifest, data),
            "training_seconds": manifest.training["training_seconds"],
        }

    def _data_for(self, reads_tags: bool) -> ReaderData:
        if reads_tags not in self._data:
            self._data[reads_tags] = load_reader_data(ReadingSet(self._dataset), reads_tags)
        return self._data[reads_tags]

    def _keep(self, run: Run) -> None:
        if run.error is None:
            self._done[run.key] = run
        if self._log is not None:
            with self._log.open("ab") as file:
                file.write(msgspec.json.encode(run) + b"\n")


def article_us(bundle: Path, manifest: Manifest, data: ReaderData) -> float | None:
    """Return the article encoder's least time per article over some passes, in microseconds.

    None for an architecture that has no article encoder.
    """
    graph = manifest.graphs.get(ARTICLE_ENCODER)
    if graph is None:
        return None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(bundle / graph.file), options, providers=["CPUExecutionProvider"]
    )
    texts = [data.texts[n % len(data.texts)] for n in range(_TIMED_ARTICLES)]
    tokens = Tokenizer(bundle / TOKENIZER_FILE).encode(texts, manifest.article_tokens)
    passes = []
    for _ in range(_TIMED_PASSES):
        started = time.perf_counter()
        for at in range(0, len(tokens), _ARTICLES_PER_RUN):
            session.run(["vector"], {"tokens": tokens[at : at + _ARTICLES_PER_RUN]})
        passes.append(time.perf_counter() - started)
    return round(min(passes) / len(tokens) * 1e6, 1)


def _logged(log: Path | None) -> Iterator[Run]:
    if log is None or not log.exists():
        return
    text = log.read_bytes()
    *whole, torn = text.split(b"\n")
    if torn:
        # Interrupted while it was written: the run it stands for is repeated.
        with log.open("r+b") as file:
            file.truncate(len(text) - len(torn))
    for number, line in enumerate(whole, 1):
        try:
            yield msgspec.json.decode(line, type=Run)
        except msgspec.DecodeError as error:
            raise TrainingError(f"{log}:{number}: {error}") from error
