"""One local server process: start it under a guard, wait until it answers, stop it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from schemas.errors import UnavailableError
from worker.local import guard

HOST = "127.0.0.1"  # never reachable from another machine
GRACE_S = 5.0  # between SIGTERM and SIGKILL, unless the server has its own
_PORT_TRIES = 5
_PROBE_EVERY_S = 0.01
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class ServerError(UnavailableError):
    """A local server could not be found, started or reached; the message is one line."""


@dataclass(frozen=True)
class RunningServer:
    """A server that lives until `stop`, the end of its `with` block, or this process's end.

    `pid` is the server's own process id, not its guard's; `log_path` holds all it printed.
    """

    name: str
    scheme: str
    port: int
    pid: int
    log_path: Path
    host: str = HOST
    _guard: subprocess.Popen[bytes] = field(repr=False, kw_only=True)

    @property
    def url(self) -> str:
        """Return the address as a URL, such as `redis://127.0.0.1:6379`."""
        return f"{self.scheme}://{self.bootstrap_servers}"

    @property
    def bootstrap_servers(self) -> str:
        """Return the address as Kafka clients want it, `host:port`."""
        return f"{self.host}:{self.port}"

    @property
    def guard_pid(self) -> int:
        """Return the process id of the guard that ends the server with this process."""
        return self._guard.pid

    def is_alive(self) -> bool:
        """Tell whether the server still runs; its own exit is noticed within 0.2 s."""
        return self._guard.poll() is None

    def stop(self, timeout_s: float = 2 * GRACE_S) -> None:
        """Stop the server and wait until it is gone; stopping twice is fine.

        Raises: ServerError when it is still there after `timeout_s` and had to be killed.
        """
        _release(self._guard)
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            # The guard has not reaped the server, so its pid cannot belong to another process.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, 9)
            self._guard.kill()
            self._guard.wait()
            raise ServerError(f"{self.name} did not stop within {timeout_s:g} s: killed") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def launch(
    name: str,
    scheme: str,
    data_dir: Path,
    *,
    command: Callable[[int], list[str]],
    answers: Callable[[int, int], bool],
    port: int | None = None,
    timeout_s: float = 15.0,
    grace_s: float = GRACE_S,
    env: Mapping[str, str] | None = None,
) -> RunningServer:
    """Start `command(port)` under a guard and return once `answers(port, pid)` is true.

    `answers` must tell our server from another one on that port. It is asked only when
    something listens there. Without `port` a free one is chosen, and another one when the
    server ends at once, as it does when some other process took the port in between. `stop`
    gives the server `grace_s` between SIGTERM and SIGKILL.

    Raises: ServerError, naming the log file and its last line.
    """
    data_dir.mkdir(parents=True, exist_ok=True)
    log_path = data_dir / f"{name}.log"
    for tries_left in reversed(range(1 if port is not None else _PORT_TRIES)):
        chosen = port if port is not None else free_port()
        log_start = log_path.stat().st_size if log_path.exists() else 0
        server = spawn(name, scheme, command(chosen), chosen, log_path, env, grace_s)
        try:
            failure = _wait_until(server, answers, timeout_s)
        except BaseException:
            server.stop()
            raise
        if failure is None:
            return server
        ended_by_itself = not server.is_alive()
        server.stop()
        if not ended_by_itself or tries_left == 0:
            break
    raise ServerError(f"{failure}; {_last_line(log_path, log_start)}")


def free_port() -> int:
    """Return a loopback TCP port that was free a moment ago."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        port: int = listener.getsockname()[1]
        return port


def packaged_binary(package: str, name: str, copy_to: Path | None = None) -> Path | None:
    """Return the program `name` in the `bin` folder of an installed package, if it has one.

    The package is located, not imported. Where the installer dropped the executable bit, the
    program is copied to the folder `copy_to`: site-packages may be read-only, and nothing is
    ever written to the home directory.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "bin" / name
    if not binary.is_file():
        return None
    if os.access(binary, os.X_OK):
        return binary
    if copy_to is None:
        return None
    copy = copy_to / name
    copy_to.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(binary, copy)
    copy.chmod(0o755)
    return copy


def spawn(
    name: str,
    scheme: str,
    command: list[str],
    port: int,
    log_path: Path,
    env: Mapping[str, str] | None = None,
    grace_s: float = GRACE_S,
) -> RunningServer:
    """Start a program under a guard, without waiting until it answers.

    Raises: ServerError when the program cannot be run.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        log_start = log.tell()
        # -I and -S skip site-packages: the guard needs none of it and starts twice as fast.
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", guard.__file__, f"--grace-s={grace_s}", "--", *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=env,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as reports:
        pid = reports.readline()
    if not pid:
        _release(process)
        process.wait()
        raise ServerError(f"{name} could not be started; {_last_line(log_path, log_start)}")
    return RunningServer(name, scheme, port, int(pid), log_path, _guard=process)


def _wait_until(
    server: RunningServer, answers: Callable[[int, int], bool], timeout_s: float
) -> str | None:
    """Return None once the server answers, else what went wrong."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if not server.is_alive():
            return f"{server.name} ended while starting on {server.bootstrap_servers}"
        if _listening(server.port) and answers(server.port, server.pid):
            return None
        time.sleep(_PROBE_EVERY_S)
    return f"{server.name} did not answer on {server.bootstrap_servers} within {timeout_s:g} s"


def _listening(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1.0).close()
    except OSError:
        return False
    return True


def _release(process: subprocess.Popen[bytes]) -> None:
    """Close our end of the guard's pipe: the one signal it waits for."""
    if process.stdin is not None:
        process.stdin.close()


def _last_line(log_path: Path, start: int) -> str:
    """Name the log and the last line written since byte `start`, or the last on an error."""
    text = _COLOUR.sub("", log_path.read_bytes()[start:].decode(errors="replace"))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return f"its log {log_path} says nothing"
    # A panicking Rust program prints a note on backtraces after what went wrong.
    telling = [line for line in lines[-10:] if "err" in line.lower()]
    return f"its log {log_path} ends: {(telling or lines)[-1]}"
