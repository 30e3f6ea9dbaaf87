"""Compile a function on arrays to machine code.

Ranking a reader touches some hundred candidates with some tens of numbers each. As calls of
numpy, one per step, that costs more than the arithmetic; compiled, it is a loop.
"""

from collections.abc import Callable
from typing import ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on the first call, and keep the result beside the module for later processes.

    Compiled code must not depend on the mode of rounding: no fast-math, so that two machines
    rank alike.
    """
    kernel: Callable[P, R] = numba.njit(cache=True, nogil=True)(function)
    return kernel
