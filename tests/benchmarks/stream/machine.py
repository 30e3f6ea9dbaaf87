"""What the figures were measured on: the processor and the versions."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

LIBRARIES = (
    "confluent-kafka",
    "faust-streaming",
    "msgspec",
    "numba",
    "numpy",
    "onnxruntime",
    "quixstreams",
    "redis",
)


def machine() -> dict[str, object]:
    """Return processor, cores, Python and library versions."""
    return {
        "processor": processor(Path("/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": sys.version.split()[0],
        "libraries": {name: _version(name) for name in LIBRARIES},
    }


def processor(cpuinfo: Path) -> str:
    """Return the processor's name."""
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
