"""A MIND-format folder: `news.tsv` and `behaviors.tsv`, two files of tab-separated lines.

Source: Wu et al., "MIND: A Large-scale Dataset for News Recommendation", ACL 2020, and the format's
page, msnews.github.io.

What the format does not say, and what is made of it:

- A click is what an impression marks with 1, at the time of the impression.
- A news item has no time of publication: it is the first time that an impression shows it.
- Clicks of a reader's history have no time. They are left out, or (`with_history`) those of the
  reader's first impression are put before it, in order, a minute apart, the last one a minute
  before the impression. Their event_id is `history-` and their place, to tell them from others.
- Times have no time zone: UTC, unless one is given.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from pathlib import Path

from schemas.decode import check_id, checked_article, checked_click
from schemas.errors import InvalidMessageError, ReadingSetError
from schemas.records import Article, Click, Impression
from schemas.timestamps import from_ms, to_ms
from worker.importing.building import Building
from worker.importing.cells import tags_of, zone_of
from worker.importing.options import Options
from worker.importing.problems import Problems, UnreadableError
from worker.importing.records import REFUSED

NEWS_FILE = "news.tsv"
BEHAVIORS_FILE = "behaviors.tsv"

MINUTE_MS = 60_000

_MIN_NEWS_CELLS = 5  # id, category, subcategory, title, abstract; then url and entities
_BEHAVIOR_CELLS = 5  # impression id, user, time, history, impressions
_TIME = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}):(\d{2}):(\d{2}) (AM|PM)")


def is_mind(source: Path) -> bool:
    """Return whether a folder is of this format."""
    return (source / NEWS_FILE).is_file() and (source / BEHAVIORS_FILE).is_file()


class Mind:
    """Read such a folder into a reading set under construction.

    Held in memory: a time for each news item, and with `with_history` for each reader.

    Raises:
        SettingsError: when the time zone is unknown.
    """

    def __init__(self, source: Path, options: Options, problems: Problems, now_ms: int) -> None:
        self._source, self._options = source, options
        self._problems, self._now_ms = problems, now_ms
        zone = options.format.time_zone
        self._zone: tzinfo = UTC if zone is None else zone_of(zone)
        self._first_shown: dict[str, int] = {}
        self._first_seen: dict[str, tuple[int, int]] = {}  # reader: time and line

    def read(self, building: Building) -> None:
        """Read everything.

        Raises:
            ReadingSetError: when a file cannot be read.
        """
        self._read_impressions(building)
        if self._options.with_history:
            self._read_histories(building)
        building.add_articles(self._articles(), NEWS_FILE)

    def _read_impressions(self, building: Building) -> None:
        for line, cells in self._lines(BEHAVIORS_FILE, _BEHAVIOR_CELLS):
            try:
                impression = self._impression(cells)
            except (UnreadableError, InvalidMessageError) as error:
                self._refuse(BEHAVIORS_FILE, error, line)
                continue
            time_ms, user_id = to_ms(impression.timestamp), impression.user_id
            for article_id in impression.candidates:
                shown = self._first_shown.get(article_id, time_ms)
                self._first_shown[article_id] = min(shown, time_ms)
            if self._options.with_history:
                seen = self._first_seen.get(user_id, (time_ms, line))
                self._first_seen[user_id] = min(seen, (time_ms, line))
            for article_id in impression.clicked:
                building.add_click(Click(user_id=user_id, article_id=article_id, timestamp=time_ms))
            building.add_impression(impression)

    def _impression(self, cells: list[str]) -> Impression:
        impression_id, user_id, time, _, shown = cells
        candidates, clicked = [], []
        for item in shown.split():
            article_id, dash, mark = item.rpartition("-")
            if not dash or mark not in ("0", "1"):
                # As in the test set, which does not say what was clicked.
                raise UnreadableError("impression that does not mark what was clicked")
            check_id(article_id)
            candidates.append(article_id)
            if mark == "1":
                clicked.append(article_id)
        if not candidates or not user_id:
            raise UnreadableError("no user" if candidates else "impression of nothing")
        timestamp_ms = _time_ms(time, self._zone)
        # What is asked of a click is asked of an impression.
        checked_click(
            Click(
                user_id=user_id,
                article_id=candidates[0],
                timestamp=timestamp_ms,
                event_id=impression_id or None,
            ),
            self._now_ms,
        )
        return Impression(
            user_id=user_id,
            timestamp=timestamp_ms,
            candidates=candidates,
            clicked=clicked,
            impression_id=impression_id or None,
        )

    def _read_histories(self, building: Building) -> None:
        firsts = {line: time_ms for time_ms, line in self._first_seen.values()}
        # Problems of these lines were counted in the first reading.
        for line, cells in self._lines(BEHAVIORS_FILE, _BEHAVIOR_CELLS, quiet=True):
            if line not in firsts:
                continue
            history = cells[3].split()
            for place, article_id in enumerate(history):
                try:
                    click = Click(
                        user_id=cells[1],
                        article_id=article_id,
                        timestamp=firsts[line] - (len(history) - place) * MINUTE_MS,
                        event_id=f"history-{place}",
                    )
                    building.add_click(checked_click(click, self._now_ms))
                except InvalidMessageError as error:
                    self._refuse(BEHAVIORS_FILE, error, line)

    def _articles(self) -> Iterator[Article]:
        for line, cells in self._lines(NEWS_FILE, _MIN_NEWS_CELLS, more=True):
            article_id, category, subcategory, title, abstract = cells[:_MIN_NEWS_CELLS]
            shown_ms = self._first_shown.get(article_id)
            try:
                if not article_id:
                    raise UnreadableError("no news id")
                yield checked_article(
                    Article(
                        article_id=article_id,
                        title=title or None,
                        body=abstract or None,
                        tags=tags_of([category, subcategory], ""),
                        published_at=None if shown_ms is None else from_ms(shown_ms),
                        language=self._options.language,
                    )
                )
            except (UnreadableError, InvalidMessageError) as error:
                self._refuse(NEWS_FILE, error, line)

    def _lines(
        self, name: str, num_cells: int, *, more: bool = False, quiet: bool = False
    ) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each line; quotation marks are part of them."""
        path = self._source / name
        try:
            with path.open("rb") as file:
                for line, raw in enumerate(file, start=1):
                    try:
                        cells = raw.decode().rstrip("\r\n").split("\t")
                    except UnicodeDecodeError:
                        reason = "text is not UTF-8"
                    else:
                        if len(cells) == num_cells or (more and len(cells) > num_cells):
                            yield line, cells
                            continue
                        reason = "more or fewer cells than the format has"
                    if not quiet:
                        self._problems.add(name, reason, line)
        except OSError as error:
            raise ReadingSetError(f"{path}: {error.strerror}") from error

    def _refuse(self, name: str, error: UnreadableError | InvalidMessageError, line: int) -> None:
        self._problems.add(name, REFUSED.get(error.reason, error.reason), line)


def _time_ms(text: str, zone: tzinfo) -> int:
    """Return epoch milliseconds of a time such as 11/15/2019 8:55:22 AM.

    >>> _time_ms("11/15/2019 12:55:22 AM", UTC) == to_ms(datetime(2019, 11, 15, 0, 55, 22, 0, UTC))
    True

    Raises:
        UnreadableError: when it is none.
    """
    found = _TIME.fullmatch(text.strip())
    try:
        if found is None:
            raise ValueError
        month, day, year, hour, minute, second = (int(part) for part in found.groups()[:6])
        if not 1 <= hour <= 12:
            raise ValueError
        hour = hour % 12 + (12 if found[7] == "PM" else 0)
        return to_ms(datetime(year, month, day, hour, minute, second, tzinfo=zone))
    except ValueError as error:
        raise UnreadableError("time not understood") from error
