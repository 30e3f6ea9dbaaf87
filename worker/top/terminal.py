"""A terminal that shows one frame after another, and gives back what was there before."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

SCREEN, NO_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


class Terminal:
    """Show frames. wake: set when the window has changed. stop: set when it is to end."""

    def __init__(self) -> None:
        self.wake = asyncio.Event()
        self.stop = asyncio.Event()

    def show(self, lines: Sequence[str]) -> None:
        """Put lines in place of what was shown."""
        # Written at once, over what is there: a screen that is cleared first flickers.
        body = "\r\n".join(f"{line}{CLEAR_LINE}" for line in lines)
        sys.stdout.write(f"{HOME}{body}{CLEAR_BELOW}")
        sys.stdout.flush()

    async def wait(self, seconds: float) -> None:
        """Return after that time, or when something has happened."""
        happened = [asyncio.create_task(each.wait()) for each in (self.wake, self.stop)]
        await asyncio.wait(happened, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for each in happened:
            each.cancel()
        self.wake.clear()

    def _read_keys(self) -> None:
        if set(os.read(sys.stdin.fileno(), 64)) & set(b"qQ\x03\x04"):
            self.stop.set()


@asynccontextmanager
async def terminal() -> AsyncIterator[Terminal]:
    """Take the whole window meanwhile; `q`, Ctrl-C and SIGTERM end it."""
    found, loop = Terminal(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, found.stop.set)
    loop.add_signal_handler(signal.SIGWINCH, found.wake.set)
    with _keys(found, loop):
        sys.stdout.write(SCREEN)
        try:
            yield found
        finally:
            with contextlib.suppress(OSError):  # the window is gone
                sys.stdout.write(NO_SCREEN)
                sys.stdout.flush()


@contextlib.contextmanager
def _keys(found: Terminal, loop: asyncio.AbstractEventLoop):  # type: ignore[no-untyped-def]
    """Have single keys read, and not shown."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    stdin = sys.stdin.fileno()
    before = termios.tcgetattr(stdin)
    tty.setcbreak(stdin)
    loop.add_reader(stdin, found._read_keys)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
        termios.tcsetattr(stdin, termios.TCSADRAIN, before)
