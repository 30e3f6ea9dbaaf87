"""From a reading set to a bundle: tokenizer, training, export, checks, manifest, in this order."""

import tempfile
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import torch

from export.architectures import (
    ARCHITECTURES,
    REFERENCE_SCHEDULE,
    TWO_STAGE_SCHEDULE,
    Exported,
    Run,
)
from export.bundle_model import BundleModel
from export.card import write_card
from export.checkpoints import Checkpoints
from export.data import ReaderData, article_tokens, load_reader_data
from export.distributed import bytes_from_main, is_main
from export.evaluation import evaluate_data
from export.extent import usual_clicks, usual_tokens
from export.heads import REFERENCE_WEIGHTS, TWO_STAGE_WEIGHTS, parse_loss_weights
from export.options import TrainingOptions
from export.prior import prior_of
from export.tag_affinity import learn_tag_affinity
from export.tokenizer_training import train_tokenizer
from export.training import History
from schemas.bundle import (
    MANIFEST_FILE,
    TAG_AFFINITY_FILE,
    TOKENIZER_FILE,
    Manifest,
    describe_files,
    version_of,
    write_bundle,
)
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet
from schemas.tokenizer import Tokenizer

_EXPORT_SECONDS_SHARE = 0.85  # of a time budget for training; the rest is export and evaluation


def train_bundle(
    dataset: Path, out: Path, options: TrainingOptions, measure: bool = True
) -> Manifest:
    """Train on a reading set, write the bundle to `out` and return its manifest.

    measure: whether to evaluate on the test split and to write the model card.

    Of several processes the main one writes; all return its manifest.

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
    if options.resume and not options.checkpoint:
        raise TrainingError("resume needs a checkpoint directory")
    cache = Path(options.cache) if options.cache else None
    data = load_reader_data(ReadingSet(dataset), options.reads_tags, cache)
    written: list[Manifest] = []

    def fill(directory: Path) -> None:
        run = _prepare(data, options, directory / TOKENIZER_FILE, started)
        exported = ARCHITECTURES[options.architecture](run, directory)
        affinity = learn_tag_affinity(data, run.max_clicks)
        (directory / TAG_AFFINITY_FILE).write_bytes(msgspec.json.encode(affinity))
        manifest = _manifest(run, exported, directory)
        _write_manifest(manifest, directory)
        facts = {**manifest.training, "seconds": round(time.monotonic() - started, 1)}
        manifest = msgspec.structs.replace(manifest, training=facts)
        if measure and len(data.readers_of("test")):
            # Measured on the files themselves, as the worker will run them.
            result = evaluate_data(BundleModel(directory), data, "test", directory=dataset)
            manifest = msgspec.structs.replace(manifest, metrics=result)
            write_card(directory, result, manifest)
            manifest = msgspec.structs.replace(manifest, files=describe_files(directory))
        _write_manifest(manifest, directory)
        written.append(manifest)

    if is_main():
        write_bundle(out, fill)
    else:
        with tempfile.TemporaryDirectory() as unused:
            run = _prepare(data, options, Path(unused) / TOKENIZER_FILE, started)
            ARCHITECTURES[options.architecture](run, Path(unused))
    manifest = bytes_from_main(msgspec.json.encode(written[0]) if is_main() else b"")
    return msgspec.json.decode(manifest, type=Manifest)


def _prepare(data: ReaderData, options: TrainingOptions, path: Path, started: float) -> Run:
    if is_main():
        train_tokenizer(data.texts, path, options.seed)
    path.write_bytes(bytes_from_main(path.read_bytes() if is_main() else b""))
    tokenizer = Tokenizer(path)
    num_tokens = options.article_tokens or usual_tokens(data, tokenizer, options.seed)
    tokens = article_tokens(data, tokenizer, num_tokens)
    two_stage = options.architecture == "two-stage"
    schedule = TWO_STAGE_SCHEDULE if two_stage else REFERENCE_SCHEDULE
    budget = options.max_seconds
    if budget is not None:
        budget = max(1.0, budget * _EXPORT_SECONDS_SHARE - (time.monotonic() - started))
    torch.manual_seed(options.seed)
    return Run(
        options=options,
        data=data,
        tokens=tokens,
        max_clicks=options.max_clicks or usual_clicks(data),
        pieces=tokenizer.pieces(),
        prior=prior_of(data, data.readers_of("train")),
        weights=parse_loss_weights(
            options.loss_weights, TWO_STAGE_WEIGHTS if two_stage else REFERENCE_WEIGHTS
        ),
        schedule=replace(
            schedule,
            epochs=options.epochs or schedule.epochs,
            seed=options.seed,
            max_seconds=budget,
            precision=options.precision,
        ),
        checkpoints=(
            Checkpoints(Path(options.checkpoint), options.resume) if options.checkpoint else None
        ),
    )


def _manifest(run: Run, exported: Exported, directory: Path) -> Manifest:
    files = describe_files(directory)
    options, history = run.options, exported.history
    return Manifest(
        architecture=options.architecture,
        model_version=version_of(files),
        graphs=exported.graphs,
        files=files,
        vocabulary_size=len(run.pieces),
        article_tokens=run.tokens.shape[1],
        row_width=exported.row_width,
        max_clicks=run.max_clicks,
        reads_tags=options.reads_tags,
        reader_tokens=exported.reader_tokens,
        income_groups=run.data.income_groups,
        age_mean_years=run.prior.age_mean,
        age_sd_years=run.prior.age_sd,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        training=_facts(run, exported, history),
    )


def _facts(run: Run, exported: Exported, history: History) -> dict[str, Any]:
    return {
        "dataset": run.data.name,
        "licence": run.data.licence,
        **run.data.counts(),
        "encoder": run.options.encoder if run.options.architecture == "two-stage" else None,
        "options": asdict(run.options),
        "parameters": exported.parameters,
        "calibration": exported.calibration,
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
