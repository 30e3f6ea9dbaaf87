"""Train a model beside the running one, compare the two, and ship it or refuse to."""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from export.bundle_model import BundleModel
from export.bundle_writer import train_bundle
from export.data import ReaderData, load_reader_data
from export.evaluation.constant import Constant
from export.options import TrainingOptions
from export.retrain_rule import Comparison, Losses, compare, losses_of
from schemas.bundle import MANIFEST_FILE, Manifest, load_manifest
from schemas.directories import place
from schemas.errors import BundleError, TrainingError
from schemas.reading_set import ReadingSet

FEWEST_READERS = 30
"""Test readers below which nothing is decided, unless forced."""


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a candidate may take the running model's place, and why."""

    verdict: Literal["ship", "refuse"]
    reasons: list[str]
    """Why it is refused; empty when it is not."""
    dataset: str
    test_readers: int
    tolerance: float
    running: str | None
    """Model version; None where no model is running yet."""
    candidate: str | None = None
    """Model version; None where none was trained."""
    comparisons: list[Comparison] = []


class Paths:
    """Where a bundle's companions are: beside it. A link stays a link, to what it leads to."""

    def __init__(self, bundle: Path) -> None:
        self.running = bundle.resolve()
        self.candidate = self.running.with_name(f"{self.running.name}.candidate")
        """The one being trained; stays when it is refused."""
        self.previous = self.running.with_name(f"{self.running.name}.previous")
        """The one that ran before the last that was shipped."""
        self.lock = self.running.with_name(f".{self.running.name}.lock")


def retrain(
    dataset: Path,
    bundle: Path,
    options: TrainingOptions,
    *,
    tolerance: float = 0.02,
    force: bool = False,
    dry_run: bool = False,
) -> Decision:
    """Train, compare by the rule of `export.retrain_rule`, and ship unless refused.

    force: decide also on fewer than `FEWEST_READERS` test readers. dry_run: leave the running
    bundle as it is.

    Raises:
        ReadingSetError: when the reading set is not valid.
        TrainingError: when it cannot give a model, or its income groups are not the bundle's.
        BundleError: when the running bundle is broken, or is being retrained already.
    """
    paths = Paths(bundle)
    with locked(paths):
        running = BundleModel(paths.running) if _is_occupied(paths.running) else None
        if _is_occupied(paths.previous) and not (paths.previous / MANIFEST_FILE).is_file():
            raise BundleError(f"{paths.previous}: exists and is not a bundle")
        decision = _before_training(dataset, running, options, tolerance)
        if decision.test_readers < FEWEST_READERS and not force:
            reason = f"{decision.test_readers} labelled test readers are fewer than "
            return msgspec.structs.replace(
                decision, verdict="refuse", reasons=[f"{reason}{FEWEST_READERS}"]
            )
        train_bundle(dataset, paths.candidate, options)
        decision = _judge(decision, dataset, BundleModel(paths.candidate), running)
        _write_down(decision, paths.candidate)
        if decision.verdict == "ship" and not dry_run:
            ship(paths)
        return decision


@contextmanager
def locked(paths: Paths) -> Iterator[None]:
    """Keep everyone else from retraining this bundle.

    The system gives the lock back when its holder dies, however that happens.

    Raises:
        BundleError: when somebody else is at it.
    """
    try:
        paths.lock.parent.mkdir(parents=True, exist_ok=True)
        file = paths.lock.open("a")
    except OSError as error:
        raise BundleError(f"{paths.lock}: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BundleError(f"{paths.running}: is being retrained by another process") from error
        yield


def ship(paths: Paths) -> None:
    """Put the candidate in the running bundle's place, and that in the previous one's.

    Raises:
        BundleError: when a directory cannot be renamed.
    """
    try:
        if place(paths.candidate, paths.running) and _is_occupied(paths.candidate):
            place(paths.candidate, paths.previous)
        if paths.candidate.exists():
            shutil.rmtree(paths.candidate)
    except OSError as error:
        raise BundleError(f"{paths.running}: {error.strerror or error}") from error


def _is_occupied(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _before_training(
    dataset: Path, running: BundleModel | None, options: TrainingOptions, tolerance: float
) -> Decision:
    data = load_reader_data(ReadingSet(dataset), options.reads_tags)
    if running is not None and data.income_groups != running.manifest.income_groups:
        raise TrainingError(
            f"{data.name}: its income groups {data.income_groups} are not the running bundle's "
            f"{running.manifest.income_groups}"
        )
    num_readers = len(data.readers_of("test"))
    if num_readers == 0:
        raise TrainingError(f"{data.name}: no reader in the test split has labels and clicks")
    return Decision(
        verdict="ship",
        reasons=[],
        dataset=data.name,
        test_readers=num_readers,
        tolerance=tolerance,
        running=None if running is None else running.manifest.model_version,
    )


def _judge(
    decision: Decision, dataset: Path, candidate: BundleModel, running: BundleModel | None
) -> Decision:
    data = load_reader_data(ReadingSet(dataset), candidate.manifest.reads_tags)
    losses = _losses(candidate, data)
    readers = data.readers_of("test")
    constant = losses_of(Constant(data).estimate(data, readers), data, readers)
    comparisons = compare(losses, constant, constant, "constant", decision.tolerance)
    if running is not None:
        if running.manifest.reads_tags != candidate.manifest.reads_tags:
            data = load_reader_data(ReadingSet(dataset), running.manifest.reads_tags)
        others = _losses(running, data)
        comparisons = [
            *compare(losses, others, constant, "running", decision.tolerance),
            *comparisons,
        ]
    reasons = [each.reason() for each in comparisons if each.is_worse]
    return msgspec.structs.replace(
        decision,
        verdict="refuse" if reasons else "ship",
        reasons=reasons,
        candidate=candidate.manifest.model_version,
        comparisons=comparisons,
    )


def _losses(model: BundleModel, data: ReaderData) -> Losses:
    readers = data.readers_of("test")
    return losses_of(model.estimate(data, readers), data, readers)


def _write_down(decision: Decision, candidate: Path) -> None:
    """Put the decision among the candidate's training facts; its version stays the same."""
    manifest: Manifest = load_manifest(candidate)
    facts = {**manifest.training, "retrain": msgspec.to_builtins(decision)}
    manifest = msgspec.structs.replace(manifest, training=facts)
    staging = candidate / f".{MANIFEST_FILE}"
    staging.write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2))
    staging.replace(candidate / MANIFEST_FILE)
