"""The clicks of a newsroom: a reader chooses a topic by taste, then an article by its appeal."""

from dataclasses import dataclass

import numpy as np

from export.newsroom.articles import REPORT_EVERY, Articles, Progress
from export.newsroom.chance import Chance, Floats, Ints, pick
from export.newsroom.clock import DAY_MS, READING_HOURS, moments, to_rfc3339
from export.newsroom.readers import Readers
from export.newsroom.truth import NewsroomTruth

_SESSION_GAP_MS = 30 * 60_000
_SESSION_LENGTH_MS = 20 * 60_000
_CLICKS_PER_SESSION = 3.0
_HALF_LIFE_MS = 1.5 * DAY_MS
_OLD_NEWS = 0.01  # appeal that never fades: what is published stays available
_OTHER_LANGUAGE = 0.02  # appeal of an article in a language the reader does not prefer


@dataclass(frozen=True)
class ReaderClicks:
    """One reader's clicks in time order."""

    user_id: str
    articles: list[int]  # indices
    clicked_at_ms: list[int]
    sessions: list[int]  # number of the session, from 1


def click_through(
    truth: NewsroomTruth,
    articles: Articles,
    readers: Readers,
    start_ms: int,
    num_days: int,
    seed: int,
    progress: Progress,
) -> list[ReaderClicks]:
    """Let every reader click; a reader who has read everything stops early."""
    menu = _Menu(truth, articles)
    total = len(readers.ids)
    # Each reader has streams of their own: one reader's clicks do not depend on the others'.
    clicks = []
    for index, user_id in enumerate(readers.ids):
        chance = Chance(seed, f"clicks of {user_id}")
        at_ms = start_ms + _times(chance, int(readers.num_clicks[index]), num_days)
        logits = truth.topic_logits[
            readers.ages[index], readers.genders[index], readers.incomes[index]
        ]
        chosen = menu.choose(np.exp(logits), int(readers.languages[index]), at_ms, chance)
        times = at_ms[: len(chosen)]
        sessions = 1 + np.concatenate([[0], (np.diff(times) > _SESSION_GAP_MS).cumsum()])
        clicks.append(ReaderClicks(user_id, chosen, times.tolist(), sessions.tolist()))
        if (index + 1) % REPORT_EVERY == 0 or index + 1 == total:
            progress("clicks", index + 1, total)
    return clicks


def click_rows(clicks: list[ReaderClicks], articles: Articles) -> list[dict[str, object]]:
    """Give all the clicks as a reading set stores them, in time order."""
    in_order = sorted(
        (at_ms, reader.user_id, article, session)
        for reader in clicks
        for article, at_ms, session in zip(
            reader.articles, reader.clicked_at_ms, reader.sessions, strict=True
        )
    )
    return [
        {
            "event_id": f"e{number:07d}",
            "user_id": user_id,
            "article_id": articles.ids[article],
            "timestamp": to_rfc3339(at_ms),
            "session_id": f"{user_id}-{session}",
        }
        for number, (at_ms, user_id, article, session) in enumerate(in_order, start=1)
    ]


class _Menu:
    """What there is to choose from at any moment."""

    def __init__(self, truth: NewsroomTruth, articles: Articles) -> None:
        self._truth = truth
        self._articles = articles
        num_topics = len(truth.tables.topics)
        self._of_topic = [np.flatnonzero(articles.topics == topic) for topic in range(num_topics)]
        self._published = [articles.published_ms[members] for members in self._of_topic]
        self._appeal: dict[int, list[Floats]] = {}  # by language, then topic

    def choose(self, tastes: Floats, language: int, at_ms: Ints, chance: Chance) -> list[int]:
        """Choose an article at each of `at_ms` (T,) by `tastes` (K,): at most T indices."""
        appeal = self._appeal_to(language)
        taken: list[list[int]] = [[] for _ in self._of_topic]  # positions within the topic
        num_taken = np.zeros(len(self._of_topic), dtype=np.int64)
        points = chance.uniform(2 * len(at_ms)).reshape(-1, 2).tolist()
        chosen = []
        for now, num_live, (by_taste, by_appeal) in zip(
            at_ms.tolist(), self._truth.num_live(at_ms), points, strict=True
        ):
            available = num_live > num_taken
            if not available.any():
                break  # the reader has read it all, leaves, and does not come back
            topic = pick(tastes * available, by_taste)
            live = int(num_live[topic])
            freshness = np.exp2((self._published[topic][:live] - now) / _HALF_LIFE_MS)
            weights = appeal[topic][:live] * (freshness + _OLD_NEWS)
            weights[taken[topic]] = 0.0
            position = pick(weights, by_appeal)
            taken[topic].append(position)
            num_taken[topic] += 1
            chosen.append(int(self._of_topic[topic][position]))
        return chosen

    def _appeal_to(self, language: int) -> list[Floats]:
        if language not in self._appeal:
            match = np.where(self._articles.languages == language, 1.0, _OTHER_LANGUAGE)
            appeal = self._articles.popularity * match
            self._appeal[language] = [appeal[members] for members in self._of_topic]
        return self._appeal[language]


def _times(chance: Chance, num_clicks: int, num_days: int) -> Ints:
    """Draw a reader's click times in ms since the start, ascending and distinct: (T,) int64.

    The first day has little to read yet: a set of several days gets its first clicks after it.
    """
    quiet_days = 1 if num_days > 1 else 0
    num_sessions = max(1, round(num_clicks / _CLICKS_PER_SESSION))
    starts = moments(chance, READING_HOURS, num_days - quiet_days, num_sessions)
    session = chance.integers(num_sessions, num_clicks)
    times = starts[session] + 1 + chance.integers(_SESSION_LENGTH_MS, num_clicks)
    # Two clicks in the same millisecond are set one millisecond apart.
    steps = np.arange(num_clicks)
    times = np.maximum.accumulate(np.sort(times) - steps) + steps
    return np.asarray(times + quiet_days * DAY_MS, dtype=np.int64)
