"""The files of a reading set, written: the same bytes for the same records."""

import gzip
import io
from collections.abc import Iterable
from pathlib import Path

import msgspec

from schemas.errors import ReadingSetError
from schemas.reading_set import DatasetInfo

BUFFER_BYTES = 1 << 17


def write_lines(directory: Path, name: str, lines: Iterable[bytes]) -> int:
    """Write `name`.jsonl.gz; return the number of lines.

    Raises:
        OSError: when it cannot be written.
    """
    count = 0
    with (
        gzip.GzipFile(directory / f"{name}.jsonl.gz", "wb", 6, mtime=0) as packed,
        io.BufferedWriter(packed, BUFFER_BYTES) as file,
    ):
        for line in lines:
            file.write(line + b"\n")
            count += 1
    return count


def write_info(directory: Path, info: DatasetInfo) -> None:
    """Write `dataset.json`.

    Raises:
        OSError: when it cannot be written.
    """
    text = msgspec.json.format(msgspec.json.encode(info), indent=2)
    (directory / "dataset.json").write_bytes(text + b"\n")


def check_replaceable(out: Path) -> None:
    """Refuse to write a reading set in place of anything that is not one.

    Raises:
        ReadingSetError: when there is something else.
    """
    occupied = out.is_file() or (out.is_dir() and any(out.iterdir()))
    if occupied and not ((out / "dataset.json").is_file() and (out / "clicks.jsonl.gz").is_file()):
        raise ReadingSetError(f"{out}: exists and is not a reading set")
