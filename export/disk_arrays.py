"""Arrays in files that are mapped into memory: read when touched, and dropped under pressure."""

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Number = TypeVar("Number", bound=np.generic)
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


def new_array(path: Path, shape: tuple[int, ...], kind: type[Number]) -> NDArray[Number]:
    """Make a mapped array of zeros in a new `.npy` file."""
    if 0 in shape:
        save_array(path, np.zeros(shape, dtype=kind))  # nothing cannot be mapped
        return np.zeros(shape, dtype=kind)
    mapped: Any = np.lib.format.open_memmap(path, "w+", kind, shape)
    return np.asarray(mapped)


def save_array(path: Path, values: NDArray[Any]) -> None:
    """Write an array to a `.npy` file."""
    np.save(path, values, allow_pickle=False)


def load_array(path: Path, kind: type[Number]) -> NDArray[Number]:
    """Map a `.npy` file into memory; changes to the array do not reach the file."""
    try:
        mapped = np.load(path, mmap_mode="c", allow_pickle=False)
    except ValueError:
        mapped = np.load(path, allow_pickle=False)  # nothing cannot be mapped
    # A plain array: what is computed from it must not pass for mapped.
    values: NDArray[Number] = np.asarray(mapped)
    assert values.dtype == kind, f"{path.name} holds {values.dtype}"
    return values
