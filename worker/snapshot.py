"""From topics to a reading set: what the worker saw, for the next model to be trained on."""

import gzip
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from tqdm import tqdm

from schemas.decode import Withdrawal, check_id
from schemas.directories import staged
from schemas.errors import InvalidMessageError, ReadingSetError
from schemas.reading_set import DatasetInfo, Reader, split_of
from schemas.records import Click, ReaderLabel
from schemas.timestamps import MAX_RFC3339_MS, to_ms
from worker.set_files import BUFFER_BYTES, check_replaceable, write_info, write_lines
from worker.settings import Settings
from worker.snapshot_reader import TopicReader
from worker.snapshot_sort import CHUNK_SIZE, ClickSorter
from worker.snapshot_sources import Latest, Sources

_json = msgspec.json.Encoder()


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot is to hold."""

    labels_file: Path | None = None
    """JSON Lines of `ReaderLabel`, gzipped or not, instead of the topic."""
    from_ms: int = 0
    until_ms: int = MAX_RFC3339_MS + 1
    """Clicks from `from_ms` on and before `until_ms` are taken."""
    income_groups: tuple[str, ...] = tuple(map(str, range(10)))
    """Their names, lowest first; a model is only retrained on groups of the same names."""
    chunk_size: int = CHUNK_SIZE
    """Clicks sorted in memory at once."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot holds, and what was left out of it."""

    path: str
    articles: int
    clicks: int
    readers: dict[str, int]
    """Labelled readers by split."""
    left_out: dict[str, int]
    bad: dict[str, dict[str, int]]
    """Bad messages by topic and reason."""


def take_snapshot(settings: Settings, out: Path, wanted: Wanted) -> Report:
    """Write what the topics hold now as the reading set `out`, all or nothing.

    A reader's split follows from the user_id alone and is the same in every snapshot, so that no
    model is ever tested on a reader that it, or the model before it, was trained on.

    Raises:
        ReadingSetError: when `out` is something else, cannot be written, or the file of labels
            is bad.
        UnavailableError: when Kafka does not answer or a topic is missing.
        SettingsError: when librdkafka refuses a setting.
    """
    check_replaceable(out)
    reader = TopicReader(settings)
    try:
        now_ms = int(time.time() * 1000)
        sources = Sources(settings, reader, now_ms, labels=wanted.labels_file is None)
        with staged(out) as staging:
            return _Snapshot(sources, wanted, staging).write(out)
    except OSError as error:
        raise ReadingSetError(f"{out}: {error.strerror or error}") from error
    finally:
        reader.close()


class _Snapshot:
    """One snapshot under way, in the directory `staging`."""

    def __init__(self, sources: Sources, wanted: Wanted, staging: Path) -> None:
        self._sources, self._wanted, self._staging = sources, wanted, staging
        self._left_out: Counter[str] = Counter()

    def write(self, out: Path) -> Report:
        erased = self._sources.erased()
        splits = self._write_readers(erased)
        num_articles, num_clicks = self._write_stream(erased)
        info = DatasetInfo(
            name=out.name,
            num_income_groups=len(self._wanted.income_groups),
            income_labels=list(self._wanted.income_groups),
            timestamps="real",
            source=f"Kafka topics {', '.join(self._sources.names)}",
            num_articles=num_articles,
            num_users=splits.total(),
            num_clicks=num_clicks,
        )
        write_info(self._staging, info)
        return Report(
            path=str(out),
            articles=num_articles,
            clicks=num_clicks,
            readers={split: splits[split] for split in ("train", "valid", "test")},
            left_out={reason: count for reason, count in self._left_out.items() if count},
            bad={topic: dict(reasons) for topic, reasons in self._sources.bad.items()},
        )

    def _write_readers(self, erased: set[str]) -> Counter[str]:
        path = self._wanted.labels_file
        labels = self._sources.labels() if path is None else _labels_from(path)
        readers = []
        for label in labels:
            if label.user_id in erased:
                self._left_out["labels of erased readers"] += 1
                continue
            income = label.income_group
            if income is not None and income >= len(self._wanted.income_groups):
                self._left_out["income groups out of range"] += 1
                income = None
            if label.age is None and label.gender is None and income is None:
                self._left_out["readers without a label, or with a withdrawn one"] += 1
                continue
            split = split_of(label.user_id)
            readers.append(
                Reader(
                    user_id=label.user_id,
                    age=label.age,
                    gender=label.gender,
                    income_group=income,
                    split=split,
                )
            )
        readers.sort(key=lambda reader: reader.user_id)
        write_lines(self._staging, "users", map(_json.encode, readers))
        return Counter(str(reader.split) for reader in readers)

    def _write_stream(self, erased: set[str]) -> tuple[int, int]:
        """Return how many articles and clicks were written."""
        latest: Latest[int | None] = Latest()
        num_lines = 0
        with TemporaryDirectory(dir=self._staging) as work:
            sorter = ClickSorter(Path(work), self._wanted.chunk_size)
            every = Path(work) / "articles.jsonl"
            # Only numbers of lines are kept in memory: an article may have a megabyte.
            with every.open("wb", buffering=BUFFER_BYTES) as lines:
                for message, record in tqdm(
                    self._sources.stream(), "messages", unit="", disable=None
                ):
                    if isinstance(record, Click):
                        if self._is_wanted(record, erased):
                            sorter.add(record)
                    elif record is None:
                        self._left_out["other events"] += 1
                    elif isinstance(record, Withdrawal):
                        latest.put(record.article_id, message, None)
                    else:
                        lines.write(_json.encode(record) + b"\n")
                        latest.put(record.article_id, message, num_lines)
                        num_lines += 1
            last = set(latest.values())
            self._left_out["withdrawn articles"] = sum(line is None for line in latest.values())
            with every.open("rb") as lines:
                kept = (line[:-1] for number, line in enumerate(lines) if number in last)
                num_articles = write_lines(self._staging, "articles", kept)
            num_clicks = write_lines(self._staging, "clicks", map(_json.encode, sorter.sorted()))
        self._left_out["repeated clicks"] = sorter.num_repeated
        return num_articles, num_clicks

    def _is_wanted(self, click: Click, erased: set[str]) -> bool:
        if not click.consent:
            reason = "clicks without consent"
        elif click.user_id in erased:
            reason = "clicks of erased readers"
        elif not self._wanted.from_ms <= to_ms(click.timestamp) < self._wanted.until_ms:
            reason = "clicks outside the time window"
        else:
            return True
        self._left_out[reason] += 1
        return False


def _labels_from(path: Path) -> Iterable[ReaderLabel]:
    """Return each reader's last label of a file.

    Raises:
        ReadingSetError: names the file and the line that is bad.
    """
    decoder = msgspec.json.Decoder(ReaderLabel)
    latest: dict[str, ReaderLabel] = {}
    number = 0
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):  # noqa: B007 used in the error
                label = decoder.decode(line)
                check_id(label.user_id)
                latest[label.user_id] = label
    except (msgspec.DecodeError, UnicodeDecodeError, InvalidMessageError) as error:
        raise ReadingSetError(f"{path}:{number}: {error}") from error
    except (OSError, EOFError) as error:
        raise ReadingSetError(f"{path}: {error}") from error
    return latest.values()
