"""Keep one server process alive exactly as long as the process that asked for it.

    python -m worker.local.guard [--grace-s 5] -- COMMAND ARGUMENT...

Standard input is the read end of a pipe that only the parent writes to. However the parent
ends (return, exception, Ctrl-C, kill -9), the kernel closes its end, the guard reads end of
file and stops the server: SIGTERM, then SIGKILL after the grace period. The parent starts
the guard in a session of its own, so a terminal's Ctrl-C reaches the parent alone and the
parent decides the order in which its servers stop. On Linux the server also asks the kernel
to be killed when the guard dies, so a kill -9 of the guard leaves nothing behind either; on
other systems that last case leaves the server running.

The first line on standard output is the server's process id; everything the server prints
goes to the guard's standard error, which the parent points at the log file.

Standard library only, and nothing of `worker`: a guard is running 20 ms after it is asked for.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

POLL_S = 0.2  # how late a server's own exit, or a parent's that left its pipe open, is noticed
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command until it ends or the parent does; return the exit status."""
    parser = argparse.ArgumentParser(prog="worker.local.guard", description=__doc__)
    parser.add_argument("--grace-s", type=float, default=5.0)
    parser.add_argument("command", nargs="+")
    arguments = parser.parse_args(argv)
    parent_pid = os.getppid()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _exit)
    try:
        server = subprocess.Popen(
            arguments.command,
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=_die_with_guard(),
        )
    except OSError as error:
        sys.stderr.write(f"cannot run {arguments.command[0]}: {error.strerror}\n")
        return 127
    try:
        os.write(1, f"{server.pid}\n".encode())
        while server.poll() is None and not _parent_is_gone(parent_pid):
            pass
    finally:
        _stop(server, arguments.grace_s)
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _parent_is_gone(parent_pid: int) -> bool:
    """Wait up to `POLL_S` for end of file on standard input, or for a new parent process.

    The second sign is for a parent that forked: its child still holds the pipe open.
    """
    readable, _, _ = select.select([0], [], [], POLL_S)
    return bool(readable and not os.read(0, 4096)) or os.getppid() != parent_pid


def _stop(server: subprocess.Popen[bytes], grace_s: float) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(grace_s)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _die_with_guard() -> Callable[[], None] | None:
    """Return what the server's process runs before the server: ask to be killed with us."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl  # looked up before the fork, not after
    guard_pid = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard_pid:  # the guard died between the fork and the request
            os._exit(1)

    return ask


def _exit(number: int, _frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
