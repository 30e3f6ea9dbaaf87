"""What has been freed does not stay: with glibc, beside the same without being told."""

import platform
import subprocess
import sys

import pytest

KEPT = """
import ctypes
import resource
from pathlib import Path
from worker.allocator import give_back_what_is_large

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def take(size):
    at = libc.malloc(size)
    ctypes.memset(at, 1, size)
    return at

TOLD
before = resident()
libc.free(take(30 << 20))
large, small = take(20 << 20), take(1000)
libc.free(large)
print(resident() - before)
"""


def kept_bytes(told: str) -> int:
    command = [sys.executable, "-c", KEPT.replace("TOLD", told)]
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    return int(run.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_what_is_large_goes_back_when_it_is_freed() -> None:
    assert kept_bytes("") > 15 << 20
    assert kept_bytes("assert give_back_what_is_large()") < 5 << 20
