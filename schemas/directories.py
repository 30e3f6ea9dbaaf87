"""Directories that appear, or are replaced, as a whole: nobody ever sees half of one.

A replaced one is never missing either, where the system can exchange two names at once (Linux).
"""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_RENAME_EXCHANGE = 2  # linux/fs.h
_AT_FDCWD = -100  # fcntl.h: names are relative to the working directory


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """Give an empty directory beside `out` that takes its place when the block ends well.

    What was at `out` is deleted then; when the block raises, it is left as it was. Only this
    user may read what is written.

    Raises:
        OSError: when a directory cannot be written or renamed.
    """
    # A link stays a link: what it leads to is replaced.
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield staging
        place(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def place(new: Path, out: Path) -> bool:
    """Give `new` the name `out`; a directory that was there gets the name `new`.

    Returns whether there was one. Both must be on one file system.

    Raises:
        OSError: when they cannot be renamed.
    """
    if not out.exists():
        new.rename(out)
        return False
    if not _exchange(new, out):
        aside = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent)) / out.name
        out.rename(aside)
        try:
            new.rename(out)
        except OSError:
            aside.rename(out)
            raise
        aside.rename(new)
        aside.parent.rmdir()
    return True


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names at once; False where the system or the file system cannot."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError):
        return False
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    return bool(renameat2(*names, _RENAME_EXCHANGE) == 0)
