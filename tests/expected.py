"""What must come out, computed another way: histories without the worker, ages by sampling."""

from collections import defaultdict
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from export.prior import AgeBands
from schemas.history import article_ref, pack_entry, seal
from schemas.records import Click
from schemas.timestamps import to_ms


def histories(clicks: Iterable[Click], size: int) -> dict[str, bytes]:
    """Return each reader's history, by sorting: the definition, not the worker's merge."""
    entries: dict[str, set[bytes]] = defaultdict(set)
    for click in clicks:
        entry = pack_entry(to_ms(click.timestamp), click.event_id, article_ref(click.article_id))
        entries[click.user_id].add(entry)
    return {
        user_id: seal(b"".join(sorted(found, reverse=True)[:size]))
        for user_id, found in entries.items()
    }


def median_and_sd(shares: NDArray[np.float64], bands: AgeBands) -> tuple[float, float]:
    """Return the median in years and the root mean square distance to it, of one reader's shares.

    By a sample of ages spread evenly over each band about its middle, not by the formulas.
    """
    bounds = np.array(bands.bounds)
    median = float(np.interp(0.5, np.concatenate([[0.0], np.cumsum(shares)]), bounds))
    places = (np.arange(1_000) + 0.5) / 1_000 - 0.5
    ages = np.array(bands.middles)[:, None] + np.diff(bounds)[:, None] * places  # (K, 1000)
    return median, float(np.sqrt((shares * ((ages - median) ** 2).mean(1)).sum()))
