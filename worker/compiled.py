"""Compile functions on arrays to machine code.

Ranking a reader touches some hundred candidates with some tens of numbers each, by paths that
differ from reader to reader: a loop, which Python itself would be slow at.
"""

import os
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on the first call, and keep the result for later processes.

    No fast-math: two machines must rank alike.
    """
    try:
        kernel: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # nowhere to keep it: a read-only file system
        kernel = numba.njit(nogil=True)(function)
    return kernel


def inlined(function: Callable[P, R]) -> Callable[P, R]:
    """Copy into the compiled functions that call it: a call alone takes as long as a few stores."""
    kernel: Callable[P, R] = numba.njit(inline="always")(function)
    return kernel


def _keep_apart() -> None:
    # numba looks at the date of the caller's file alone: a change in a function that it calls
    # from another file would go unnoticed. So each state of the sources has its own cache.
    if "NUMBA_CACHE_DIR" in os.environ:
        return
    here = Path(__file__).parent
    digest = blake2b(digest_size=8)
    for path in sorted(here.rglob("*.py")):
        source = path.read_bytes()
        if b"@compiled" in source or b"@inlined" in source:
            digest.update(source)
    caches = here / "__pycache__"
    try:
        caches.mkdir(exist_ok=True)
        writable = os.access(caches, os.W_OK)
    except OSError:
        writable = False
    if writable:
        vars(numba.config)["CACHE_DIR"] = str(caches / f"compiled-{digest.hexdigest()}")


_keep_apart()
