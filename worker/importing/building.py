"""A reading set under construction: records in any order in, files in time order out.

Held in memory: the ids of articles and of labelled readers, and a chunk each of clicks, impressions
and rows of impressions.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from schemas.reading_set import Reader
from schemas.records import MAX_IMPRESSION_ARTICLES, MAX_MESSAGE_BYTES, Article, Click, Impression
from schemas.timestamps import from_ms, to_ms
from worker.importing.impressions import TOO_MANY, ImpressionRows, ShownRow
from worker.set_files import BUFFER_BYTES, write_lines
from worker.snapshot_sort import CHUNK_SIZE, ClickSorter, EntrySorter

_json = msgspec.json.Encoder()
_pack = msgspec.msgpack.Encoder()
_Shown = tuple[str, str | None, list[str], list[str]]
_unpack = msgspec.msgpack.Decoder(_Shown)
_TIME_BYTES = 8


class Written(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    articles: int
    clicks: int
    impressions: int
    readers: dict[str, int]
    """Labelled readers by split."""
    first_click: str | None
    last_click: str | None


class Building:
    """Collect records and write them to `staging`; a context, which removes what it needed.

    `left_out` counts what is not in the set and need not be; `noticed` what is in it and may be a
    sign of a mistake.

    Raises:
        OSError: from every method, when the disk refuses.
    """

    def __init__(
        self, staging: Path, chunk_size: int = CHUNK_SIZE, click_window_ms: int = 0
    ) -> None:
        self._staging = staging
        self._stack = ExitStack()
        work = Path(self._stack.enter_context(TemporaryDirectory(dir=staging)))
        for name in ("clicks", "impressions", "shown"):
            (work / name).mkdir()
        self._clicks = ClickSorter(work / "clicks", chunk_size)
        self._impressions = EntrySorter(work / "impressions", chunk_size)
        self._articles_path = work / "articles.jsonl"
        self._articles = self._stack.enter_context(
            self._articles_path.open("wb", buffering=BUFFER_BYTES)
        )
        self._lines: dict[str, int] = {}
        self._num_lines = 0
        self._readers: dict[str, Reader] = {}
        self.left_out: Counter[str] = Counter()
        self.noticed: Counter[str] = Counter()
        self._shown = ImpressionRows(
            work / "shown", chunk_size, click_window_ms, self.left_out, self.noticed
        )

    def __enter__(self) -> "Building":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add_articles(self, articles: Iterable[Article], file: str) -> None:
        """Take articles; of two with the same id the later one counts."""
        for article in articles:
            line = _json.encode(article)
            if len(line) > MAX_MESSAGE_BYTES:
                self.left_out[f"articles longer than {MAX_MESSAGE_BYTES:,} bytes ({file})"] += 1
                continue
            self._articles.write(line + b"\n")
            self.left_out["articles that came again later"] += article.article_id in self._lines
            self._lines[article.article_id] = self._num_lines
            self._num_lines += 1

    def add_click(self, click: Click) -> None:
        """Take a click, unless there is no consent to it."""
        if click.consent:
            self._clicks.add(click)
        else:
            self.left_out["clicks without consent"] += 1

    def add_impression(self, impression: Impression) -> None:
        """Take an impression, unless a record cannot hold it."""
        if len(impression.candidates) > MAX_IMPRESSION_ARTICLES:
            self.left_out[TOO_MANY] += 1
            return
        time = to_ms(impression.timestamp).to_bytes(_TIME_BYTES, "big")
        shown: _Shown = (
            impression.user_id,
            impression.impression_id,
            impression.candidates,
            impression.clicked,
        )
        self._impressions.add(time + _pack.encode(shown))

    def add_shown(self, row: ShownRow) -> None:
        """Take an article that was shown, a part of an impression."""
        self._shown.add(row)

    def add_readers(self, readers: Iterable[Reader]) -> None:
        """Take readers; of two with the same id the later one counts."""
        for reader in readers:
            self.left_out["readers that came again later"] += reader.user_id in self._readers
            self._readers.pop(reader.user_id, None)
            if reader.age is None and reader.gender is None and reader.income_group is None:
                self.left_out["readers without a label"] += 1
            else:
                self._readers[reader.user_id] = reader

    def write(self) -> Written:
        """Write the files of the set, but for its description; once."""
        self._articles.flush()
        last = set(self._lines.values())
        with self._articles_path.open("rb") as lines:
            kept = (line[:-1] for number, line in enumerate(lines) if number in last)
            num_articles = write_lines(self._staging, "articles", kept)
        readers = [self._readers[user_id] for user_id in sorted(self._readers)]
        write_lines(self._staging, "users", map(_json.encode, readers))
        span = _Span()
        silent = set(self._readers)
        num_clicks = write_lines(
            self._staging, "clicks", map(_json.encode, self._watched(span, silent))
        )
        self.left_out["repeated clicks"] = self._clicks.num_repeated
        self.noticed["labelled readers without a click"] = len(silent)
        num_impressions = self._write_impressions()
        splits = Counter(str(reader.split) for reader in readers)
        return Written(
            articles=num_articles,
            clicks=num_clicks,
            impressions=num_impressions,
            readers={split: splits[split] for split in ("train", "valid", "test")},
            first_click=_moment(span.first),
            last_click=_moment(span.last),
        )

    def _watched(self, span: "_Span", silent: set[str]) -> Iterator[Click]:
        """Yield the clicks in time order, looking for what does not fit together."""
        for click in self._clicks.sorted():
            span.add(to_ms(click.timestamp))
            silent.discard(click.user_id)
            if click.article_id not in self._lines:
                self.noticed["clicks on articles that the set does not hold"] += 1
            self._shown.add_click(click)
            yield click

    def _write_impressions(self) -> int:
        for impression in self._shown.impressions():
            self.add_impression(impression)
        count = write_lines(self._staging, "impressions", self._impression_lines())
        self.left_out["repeated impressions"] = self._impressions.num_repeated
        if not count:
            (self._staging / "impressions.jsonl.gz").unlink()
        return count

    def _impression_lines(self) -> Iterator[bytes]:
        """Yield the impressions in time order, looking for what does not fit together."""
        num_clicked = num_impressions = 0
        for impression in map(_unpacked, self._impressions.sorted()):
            line = _json.encode(impression)
            if len(line) > MAX_MESSAGE_BYTES:
                self.left_out[f"impressions longer than {MAX_MESSAGE_BYTES:,} bytes"] += 1
                continue
            self.noticed["articles shown that the set does not hold"] += sum(
                article_id not in self._lines for article_id in impression.candidates
            )
            num_impressions += 1
            num_clicked += len(impression.clicked)
            yield line
        if not num_clicked:
            self.noticed["impressions, and nothing was clicked in any"] = num_impressions


def _unpacked(entry: bytes) -> Impression:
    user_id, impression_id, candidates, clicked = _unpack.decode(entry[_TIME_BYTES:])
    return Impression(
        user_id=user_id,
        timestamp=int.from_bytes(entry[:_TIME_BYTES], "big"),
        candidates=candidates,
        clicked=clicked,
        impression_id=impression_id,
    )


class _Span:
    """The first and the last time of an ascending row."""

    def __init__(self) -> None:
        self.first: int | None = None
        self.last: int | None = None

    def add(self, time_ms: int) -> None:
        self.first = time_ms if self.first is None else self.first
        self.last = time_ms


def _moment(time_ms: int | None) -> str | None:
    return None if time_ms is None else from_ms(time_ms).isoformat().replace("+00:00", "Z")
