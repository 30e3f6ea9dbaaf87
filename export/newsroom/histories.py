"""The readers of a newsroom with their clicks, and what the exact posterior makes of them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from export.newsroom.chance import Ints
from export.newsroom.posterior import Posterior, posterior
from export.newsroom.truth import NewsroomTruth
from schemas.reading_set import Reader, ReadingSet, Split
from schemas.timestamps import to_ms


@dataclass(frozen=True, eq=False)
class History:
    """A reader with all clicks in time order."""

    user: Reader
    articles: Ints  # (T,) indices into the truth's articles
    clicked_at_ms: Ints  # (T,)

    def posterior(self, truth: NewsroomTruth, num_clicks: int | None = None) -> Posterior:
        """Weigh what the first `num_clicks` (all where None) tell about the reader."""
        return posterior(truth, self.articles[:num_clicks], self.clicked_at_ms[:num_clicks])


def load_histories(directory: Path, truth: NewsroomTruth, split: Split) -> list[History]:
    """Read the readers of a split who clicked, with their clicks, ordered by reader id.

    Raises:
        ReadingSetError: where the reading set is damaged.
    """
    reading_set = ReadingSet(directory)
    users = {user.user_id: user for user in reading_set.readers() if user.split == split}
    clicks: dict[str, list[tuple[int, int]]] = {}
    for click in reading_set.clicks():
        if click.user_id in users:
            clicks.setdefault(click.user_id, []).append(
                (truth.article_index[click.article_id], to_ms(click.timestamp))
            )
    histories = []
    for user_id in sorted(clicks):
        articles, at_ms = np.array(clicks[user_id], dtype=np.int64).T
        histories.append(History(users[user_id], articles, at_ms))
    return histories
