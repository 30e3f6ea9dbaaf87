"""Where the arrays of a reading set are while a training runs, and between trainings."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path

import msgspec

from export.distributed import barrier, is_main, path_from_main
from schemas.errors import TrainingError
from schemas.reading_set import ReadingSet

FORMAT = 1
_STAMP_FILE = "stamp.json"
_PREFIX = "frontpage-"
_SOURCES = ("dataset.json", "articles.jsonl.gz", "users.jsonl.gz", "clicks.jsonl.gz")


@contextmanager
def array_directory(
    reading_set: ReadingSet, reads_tags: bool, cache: Path | None, write: Callable[[Path], None]
) -> Iterator[Path]:
    """Give the directory of a set's arrays, which `write` has filled.

    Without a cache the directory is gone afterwards: what was opened in it stays readable. With
    one it is kept, and used again as long as the set's files keep their sizes and times. It holds
    what the set holds, labels and ids included, and only its owner may read it.

    Several processes share what the first of them writes, on a file system common to them.

    Raises:
        TrainingError: when the cache cannot be written.
    """
    directory = None
    if is_main():
        try:
            directory = _filled(reading_set, reads_tags, cache, write)
        except OSError as error:
            raise TrainingError(f"{error.filename or cache}: {error.strerror}") from error
    with _shared(directory, is_kept=cache is not None) as shared:
        yield shared


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Give an empty directory to all processes; what was opened in it outlasts it."""
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX)) if is_main() else None
    with _shared(directory, is_kept=False) as shared:
        yield shared


@contextmanager
def _shared(directory: Path | None, is_kept: bool) -> Iterator[Path]:
    shared = path_from_main(directory)
    try:
        yield shared
        barrier()
    finally:
        if is_main() and not is_kept:
            shutil.rmtree(shared, ignore_errors=True)


def _filled(
    reading_set: ReadingSet, reads_tags: bool, cache: Path | None, write: Callable[[Path], None]
) -> Path:
    stamp = _stamp(reading_set.directory, reads_tags)
    if cache is None:
        return _write_beside(Path(tempfile.gettempdir()), _PREFIX, write, stamp)
    name = blake2b(f"{reading_set.directory.resolve()}\0{reads_tags}".encode(), digest_size=8)
    kept = cache / name.hexdigest()
    if not _is_of(kept, stamp):
        cache.mkdir(parents=True, exist_ok=True)
        fresh = _write_beside(cache, f".{kept.name}-", write, stamp)
        # Whoever has the old one open keeps what it opened.
        shutil.rmtree(kept, ignore_errors=True)
        try:
            fresh.rename(kept)
        except OSError:  # another training was a moment faster
            shutil.rmtree(fresh)
    return kept


def _write_beside(parent: Path, prefix: str, write: Callable[[Path], None], stamp: bytes) -> Path:
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        write(directory)
        (directory / _STAMP_FILE).write_bytes(stamp)
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
    return directory


def _stamp(directory: Path, reads_tags: bool) -> bytes:
    """Say what the arrays were made of."""
    files = {}
    for name in _SOURCES:
        path = directory / name
        found = path.stat() if path.exists() else None
        files[name] = [found.st_size, found.st_mtime_ns] if found else None
    return msgspec.json.encode({"format": FORMAT, "reads_tags": reads_tags, "files": files})


def _is_of(directory: Path, stamp: bytes) -> bool:
    try:
        return (directory / _STAMP_FILE).read_bytes() == stamp
    except OSError:
        return False
