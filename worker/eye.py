"""See readers as arrays, and as a model sees them."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.history import HEADER_BYTES
from worker.affinity import AffinityTable, membership
from worker.catalogue import Catalogue
from worker.model import Estimates, Model, no_estimates
from worker.reading import Reading, read, tag_interests
from worker.recommend.pages import Tastes
from worker.recommend.segments import AGE_BOUNDS
from worker.windows import windows_of

NO_MODEL_WINDOW = 64
"""The newest clicks that interests and languages are taken from where no model says."""

NO_HISTORY = bytes(HEADER_BYTES)


class Seen(NamedTuple):
    """A batch of readers as the model sees them."""

    reading: Reading
    estimates: Estimates | None
    tastes: Tastes


class Eye:
    """See readers as arrays, and as a model sees them.

    model: None sees no more than what they have read. tag_half_life_days: of their interests.
    """

    def __init__(
        self, catalogue: Catalogue, model: Model | None, tag_half_life_days: float
    ) -> None:
        self._catalogue = catalogue
        self._model = model
        self._tag_half_life_days = tag_half_life_days
        self._affinity = AffinityTable(model.affinity) if model and model.affinity else None

    def see(
        self,
        histories: Sequence[bytes],
        told: Estimates | None = None,
        objecting: NDArray[np.bool_] | None = None,
    ) -> Seen:
        """See a batch; a reader without a click has a history of `b""`.

        told: what is known of the readers, in place of what would be inferred. objecting: (B,), of
        whom nothing is inferred: they are no more like one segment of readers than another.
        """
        window = NO_MODEL_WINDOW if self._model is None else self._model.manifest.max_clicks
        reading = read([each or NO_HISTORY for each in histories], self._catalogue, window)
        interests = tag_interests(reading, self._catalogue, self._tag_half_life_days)
        nothing = np.zeros_like(interests)
        if told is not None:
            estimates = told
        elif self._model is not None:
            estimates = self._infer(self._model, reading, objecting)
        else:
            return Seen(reading, None, Tastes(interests, nothing, None))
        affinity = self._affinity.of(estimates, self._catalogue) if self._affinity else nothing
        member = membership(estimates, AGE_BOUNDS)
        if objecting is not None:
            affinity[objecting] = 0.0
            member[objecting] = 0.0
        return Seen(reading, estimates, Tastes(interests, affinity, member))

    def _infer(
        self, model: Model, reading: Reading, objecting: NDArray[np.bool_] | None
    ) -> Estimates:
        found = no_estimates(len(reading.present), len(model.manifest.income_groups))
        for windows in windows_of(reading, self._catalogue.rows, model.windows):
            if objecting is not None:  # the model sees no click of theirs, and answers the prior
                unseen = objecting[windows.readers]
                windows.mask[unseen] = 0.0
                windows.rows[unseen] = 0
            for whole, part in zip(found, model.estimate(*windows[1:]), strict=True):
                whole[windows.readers] = part
        return found
