"""From a reading set to a bundle: tokenizer, training, export, checks, manifest, in this order."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from export.batches import ReferenceBatches, TwoStageBatches
from export.bundle_model import BundleModel
from export.data import ReaderData, load_reader_data
from export.encoders import build_encoder
from export.evaluation import evaluate_data
from export.heads import REFERENCE_WEIGHTS, TWO_STAGE_WEIGHTS, LossWeights, parse_loss_weights
from export.onnx_export import (
    ServedHead,
    ServedReader,
    check_graph,
    click_cases,
    export_article_encoder,
    export_profile_head,
    export_reader_model,
    token_cases,
)
from export.prior import Prior, prior_of
from export.reference import READER_TOKENS, ReferenceModel
from export.tag_affinity import learn_tag_affinity
from export.tokenizer_training import train_tokenizer
from export.training import History, Schedule, Task, to_tensors, train
from export.two_stage import ArticleEncoder, ProfileHead, TwoStageModel
from schemas.bundle import (
    ARTICLE_ENCODER,
    MANIFEST_FILE,
    PROFILE_HEAD,
    READER_MODEL,
    TAG_AFFINITY_FILE,
    TOKENIZER_FILE,
    GraphSpec,
    Manifest,
    describe_files,
    version_of,
    write_bundle,
)
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet
from schemas.tokenizer import Tokenizer

VECTOR_WIDTH = 128

TWO_STAGE_SCHEDULE = Schedule(
    epochs=15,
    batch_readers=64,
    learning_rate=2e-3,
    optimizer="adamw",
    weight_decay=0.01,
    averaging=0.9,
)
REFERENCE_SCHEDULE = Schedule(
    epochs=10, batch_readers=64, learning_rate=1e-3, optimizer="rmsprop", patience=3
)

_EXPORT_SECONDS_SHARE = 0.85  # of a time budget for training; the rest is export and evaluation


@dataclass(frozen=True)
class TrainingOptions:
    """What the user may choose."""

    architecture: Literal["two-stage", "reference"] = "two-stage"
    encoder: str = "conv1d"
    epochs: int | None = None
    seed: int = 0
    loss_weights: str = ""
    max_clicks: int = 64
    article_tokens: int = 128
    max_seconds: float | None = None


@dataclass(frozen=True, eq=False)
class _Run:
    """What every step of a run needs."""

    options: TrainingOptions
    data: ReaderData
    tokens: NDArray[np.int32]  # (A, T)
    vocabulary_size: int
    prior: Prior
    weights: LossWeights
    schedule: Schedule


@dataclass(frozen=True, eq=False)
class _Exported:
    """What training and export of one architecture gave."""

    graphs: dict[str, GraphSpec]
    differences: dict[str, float]
    row_width: int
    reader_tokens: int | None
    history: History


def train_bundle(dataset: Path, out: Path, options: TrainingOptions) -> Manifest:
    """Train on a reading set, write the bundle to `out` and return its manifest.

    Raises:
        ReadingSetError: when the reading set is not valid.
        TrainingError: when the set or the options cannot give a model.
        BundleError: when `out` is something else, or a graph differs from the trained network.
    """
    started = time.monotonic()
    for name in ("max_clicks", "article_tokens", "epochs", "max_seconds"):
        value = getattr(options, name)
        if value is not None and value <= 0:
            raise TrainingError(f"{name} must be above 0, not {value}")
    data = load_reader_data(ReadingSet(dataset))
    written: list[Manifest] = []

    def fill(directory: Path) -> None:
        run = _prepare(data, options, directory / TOKENIZER_FILE, started)
        exported = _STEPS[options.architecture](run, directory)
        affinity = learn_tag_affinity(data, options.max_clicks)
        (directory / TAG_AFFINITY_FILE).write_bytes(msgspec.json.encode(affinity))
        manifest = _manifest(run, exported, directory)
        _write_manifest(manifest, directory)
        if len(data.readers_of("test")):
            # Measured on the files themselves, as the worker will run them.
            result = evaluate_data(BundleModel(directory), data, "test")
            manifest = msgspec.structs.replace(manifest, metrics=result)
        facts = {**manifest.training, "seconds": round(time.monotonic() - started, 1)}
        manifest = msgspec.structs.replace(manifest, training=facts)
        _write_manifest(manifest, directory)
        written.append(manifest)

    write_bundle(out, fill)
    return written[0]


def _prepare(data: ReaderData, options: TrainingOptions, path: Path, started: float) -> _Run:
    train_tokenizer(data.texts, path, options.seed)
    tokenizer = Tokenizer(path)
    tokens = tokenizer.encode(data.texts, options.article_tokens)
    two_stage = options.architecture == "two-stage"
    schedule = TWO_STAGE_SCHEDULE if two_stage else REFERENCE_SCHEDULE
    budget = options.max_seconds
    if budget is not None:
        budget = max(1.0, budget * _EXPORT_SECONDS_SHARE - (time.monotonic() - started))
    torch.manual_seed(options.seed)
    return _Run(
        options=options,
        data=data,
        tokens=tokens,
        vocabulary_size=tokenizer.vocabulary_size,
        prior=prior_of(data, data.readers_of("train")),
        weights=parse_loss_weights(
            options.loss_weights, TWO_STAGE_WEIGHTS if two_stage else REFERENCE_WEIGHTS
        ),
        schedule=replace(
            schedule,
            epochs=options.epochs or schedule.epochs,
            seed=options.seed,
            max_seconds=budget,
        ),
    )


def _two_stage(run: _Run, directory: Path) -> _Exported:
    encoder = build_encoder(run.options.encoder, run.vocabulary_size, VECTOR_WIDTH)
    model = TwoStageModel(
        ArticleEncoder(encoder, VECTOR_WIDTH), ProfileHead(VECTOR_WIDTH, run.prior)
    )
    batches = TwoStageBatches(run.data, run.tokens, run.options.max_clicks)
    history = train(
        model, Task(run.data, batches, run.prior, run.weights, "likelihood"), run.schedule
    )
    served = ServedHead(model.head, run.prior).eval()
    encoder_path = directory / f"{ARTICLE_ENCODER}.onnx"
    head_path = directory / f"{PROFILE_HEAD}.onnx"
    graphs = {
        ARTICLE_ENCODER: export_article_encoder(
            model.articles, run.options.article_tokens, encoder_path
        ),
        PROFILE_HEAD: export_profile_head(served, VECTOR_WIDTH, head_path),
    }
    with torch.inference_mode():
        vectors = model.articles(torch.from_numpy(run.tokens[:256])).numpy()
    seed = run.options.seed
    return _Exported(
        graphs=graphs,
        differences={
            ARTICLE_ENCODER: check_graph(
                encoder_path, model.articles, token_cases(run.tokens, run.vocabulary_size, seed)
            ),
            PROFILE_HEAD: check_graph(
                head_path, served, click_cases(vectors, run.options.max_clicks, seed)
            ),
        },
        row_width=VECTOR_WIDTH,
        reader_tokens=None,
        history=history,
    )


def _reference(run: _Run, directory: Path) -> _Exported:
    model = ReferenceModel(run.vocabulary_size, run.prior)
    batches = ReferenceBatches(run.data, run.tokens, run.options.max_clicks, READER_TOKENS)
    task = Task(run.data, batches, run.prior, run.weights, "squared")
    history = train(model, task, run.schedule)
    served = ServedReader(model, _age_error(model, task)).eval()
    path = directory / f"{READER_MODEL}.onnx"
    graphs = {READER_MODEL: export_reader_model(served, READER_TOKENS, path)}
    (rows,) = batches.newest(np.arange(min(256, len(run.data.user_ids))))
    cases = token_cases(rows.astype(np.int32), run.vocabulary_size, run.options.seed)
    return _Exported(
        graphs=graphs,
        differences={READER_MODEL: check_graph(path, served, cases)},
        row_width=run.options.article_tokens,
        reader_tokens=READER_TOKENS,
        history=history,
    )


_STEPS: dict[str, Callable[[_Run, Path], _Exported]] = {
    "two-stage": _two_stage,
    "reference": _reference,
}


def _age_error(model: nn.Module, task: Task) -> float:
    """Return the root mean squared error of age on valid, in years; without one, the prior's sd."""
    readers = task.data.readers_of("valid")
    readers = readers[~np.isnan(task.data.age[readers])]
    if len(readers) == 0:
        return task.prior.age_sd
    squares = []
    with torch.inference_mode():
        for part in np.array_split(readers, -(-len(readers) // 64)):
            years = model(*to_tensors(task.batches.newest(part), torch.device("cpu"))).age.numpy()
            squares.append((years - task.data.age[part]) ** 2)
    return max(float(np.sqrt(np.concatenate(squares).mean())), 1.0)


def _manifest(run: _Run, exported: _Exported, directory: Path) -> Manifest:
    files = describe_files(directory)
    options, history = run.options, exported.history
    return Manifest(
        architecture=options.architecture,
        model_version=version_of(files),
        graphs=exported.graphs,
        files=files,
        vocabulary_size=run.vocabulary_size,
        article_tokens=options.article_tokens,
        row_width=exported.row_width,
        max_clicks=options.max_clicks,
        reader_tokens=exported.reader_tokens,
        income_groups=run.data.income_groups,
        age_mean_years=run.prior.age_mean,
        age_sd_years=run.prior.age_sd,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training=_facts(run, exported, history),
    )


def _facts(run: _Run, exported: _Exported, history: History) -> dict[str, Any]:
    return {
        "dataset": run.data.name,
        "licence": run.data.licence,
        **run.data.counts(),
        "encoder": run.options.encoder if run.options.architecture == "two-stage" else None,
        "prior": run.prior.as_dict(),
        "seed": run.options.seed,
        "loss_weights": asdict(run.weights),
        "schedule": asdict(run.schedule),
        "history": history.epochs,
        "best_epoch": history.best_epoch,
        "stopped": history.stopped,
        "training_seconds": history.seconds,
        "onnx_differences": exported.differences,
        "torch": str(torch.__version__),
    }


def _write_manifest(manifest: Manifest, directory: Path) -> None:
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=2)
    (directory / MANIFEST_FILE).write_bytes(text)
