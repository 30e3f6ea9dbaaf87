"""How the C library keeps memory that has been freed: a worker's stays as it is for weeks.

glibc lets each thread have a pool of its own, and takes ever larger arrays from pools once one of
that size has been freed: what a fit or a checkpoint took for a moment lies among small things
then, and stays. A worker grew by steps of 10 to 20 MB in half an hour.
"""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
"""Of `mallopt(3)`."""

MOST_POOLS = 2
LARGE_BYTES = 4 << 20
"""What is as large goes back to the system as soon as it is freed."""


def give_back_what_is_large() -> bool:
    """Bound what is kept; before threads begin. Return whether the C library can be told."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # not glibc: others keep less
        return False
    wanted = {
        M_ARENA_MAX: MOST_POOLS,
        M_MMAP_THRESHOLD: LARGE_BYTES,
        M_TRIM_THRESHOLD: LARGE_BYTES,
    }
    return all(mallopt(name, value) == 1 for name, value in wanted.items())
