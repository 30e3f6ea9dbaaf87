"""Notice a new bundle in the place of the one that is served, and take it up or refuse it.

A bundle is looked at when its files have not changed from one look to the next, so that one that is
being copied is let alone. It is loaded, verified and tried in a thread. One that is refused is not
looked at again until its files change.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import numpy as np

from schemas.bundle import MANIFEST_FILE, Manifest
from schemas.errors import BundleError
from worker.metrics import Metrics
from worker.model import Estimates, Model, load_model
from worker.redis_client import dependency_of, is_transient

LOOK_S = 0.5

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, inode, size and time of each file."""

logger = logging.getLogger(__name__)


class BundleWatch:
    """Follow a bundle's directory.

    served: the model that was loaded from it. take_up: serve another one; it may raise what is
    transient, and is tried again then.
    """

    def __init__(
        self,
        bundle: Path,
        served: Model,
        take_up: Callable[[Model], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._bundle = bundle
        self._served = served
        self._take_up = take_up
        self._metrics = metrics
        stamp = stamp_of(bundle)
        # It may have been replaced since it was loaded.
        self._done = stamp if _manifest(bundle) == served.manifest else None
        self._seen = stamp

    async def follow(self) -> None:
        """Look for as long as the worker runs."""
        while True:
            await asyncio.sleep(LOOK_S)
            await self.look()

    async def look(self) -> None:
        """Take up, or refuse, what is there, if it is new and complete."""
        seen, self._seen = self._seen, await asyncio.to_thread(stamp_of, self._bundle)
        if self._seen in (self._done, None) or self._seen != seen:
            return
        try:
            model = await asyncio.to_thread(load_and_try, self._bundle)
            if await asyncio.to_thread(stamp_of, self._bundle) != seen:
                return  # replaced meanwhile: it may be half of each
            if not _are_same(model, self._served):
                await self._take_up(model)
                self._served = model
        except Exception as error:
            if is_transient(error):
                self._metrics.failed(dependency_of(error))
                logger.warning("a new bundle waits: %s", type(error).__name__)
                return
            # A graph that fails is as good as one that is missing; what is served goes on.
            why = str(error) if isinstance(error, BundleError) else type(error).__name__
            version = self._served.manifest.model_version
            logger.error("bundle refused, model %s stays: %s", version, " ".join(why.split()))
            self._metrics.refused()
        self._done = seen


def load_and_try(bundle: Path) -> Model:
    """Load a bundle and run each of its graphs once.

    Raises:
        BundleError: when it is not whole, or what it says is not an estimate.
    """
    model = load_model(bundle)
    rows = np.zeros((1, model.windows[-1], model.manifest.row_width), dtype=model.row_dtype)
    rows[0, 0] = model.encode(["a"])[0]
    ages_hours = np.zeros(rows.shape[:2], dtype=np.float32)
    mask = ages_hours.copy()
    mask[0, 0] = 1.0
    if not _are_estimates(model.estimate(rows, ages_hours, mask)):
        raise BundleError(f"{bundle}: what the model says are no estimates")
    return model


def _are_estimates(found: Estimates) -> bool:
    numbers = np.concatenate([each.ravel() for each in found])
    shares = np.concatenate([found.income.ravel(), found.female])
    return bool(
        np.isfinite(numbers).all()
        and (shares >= 0.0).all()
        and (shares <= 1.0 + 1e-3).all()
        and (found.age_sd > 0.0).all()
    )


def _are_same(one: Model, other: Model) -> bool:
    """Tell whether nothing that is served differs: of a card, for one, nothing is."""
    same = one.manifest.model_version == other.manifest.model_version
    return same and one.blend == other.blend


def stamp_of(bundle: Path) -> Stamp | None:
    """Return what changes when any file of a bundle does; None where there is no manifest."""
    try:
        found = [
            (path.name, stat.st_ino, stat.st_size, stat.st_mtime_ns)
            for path in sorted(bundle.iterdir())
            if (stat := path.stat())
        ]
    except OSError:
        return None
    return tuple(found) if any(each[0] == MANIFEST_FILE for each in found) else None


def _manifest(bundle: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((bundle / MANIFEST_FILE).read_bytes(), type=Manifest)
    except (OSError, msgspec.DecodeError):
        return None
