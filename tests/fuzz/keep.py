"""Add to a corpus, of what a fuzzer found, what takes a way through the code that nothing did."""

import hashlib
import sys
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.targets import check

Step = tuple[str, int, int]
"""A file, and two of its lines, one executed after the other."""

WATCHED = (f"{Path('schemas')}/", f"{Path('worker')}/intake")


def keep(found: Path, corpus: Path) -> int:
    """Copy what is new, the smallest first; return how many."""
    known: set[Step] = set()
    for path in corpus.iterdir():
        known |= steps(path.read_bytes())
    num_kept = 0
    for path in sorted(found.iterdir(), key=lambda each: (each.stat().st_size, each.name)):
        data = path.read_bytes()
        new = steps(data) - known
        if new:
            known |= new
            num_kept += 1
            name = hashlib.sha1(data, usedforsecurity=False).hexdigest()
            (corpus / name).write_bytes(data)
    return num_kept


def steps(data: bytes) -> set[Step]:
    """Return which lines follow which when an input is checked."""
    taken: set[Step] = set()
    last: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        name = frame.f_code.co_filename
        if not any(part in name for part in WATCHED):
            return None
        if event == "line":
            taken.add((name, last.get(frame, 0), frame.f_lineno))
            last[frame] = frame.f_lineno
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        check(data)
    finally:
        sys.settrace(before)
    return taken
