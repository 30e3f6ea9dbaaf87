"""`/live` and `/ready` of the server, answered as a worker's are: no token, and nothing of readers.

Neither asks Redis or Kafka. Without them requests are answered, with 503 and when to come again;
a server that were taken away meanwhile would answer nothing.
"""

from collections.abc import Callable

from aiohttp import web

from worker.health_state import Verdict
from worker.probe_answer import probe_answer

LIVE_PATH, READY_PATH = "/live", "/ready"


class Probes:
    """Answer probes. has_catalogue: whether what sessions are ranked from has been read once."""

    def __init__(self, has_catalogue: Callable[[], bool]) -> None:
        self._has_catalogue = has_catalogue

    async def live(self, _: web.Request) -> web.StreamResponse:
        """Answer that the server lives: its event loop runs, or nobody would answer."""
        return probe_answer(Verdict(True, "live"))

    async def ready(self, _: web.Request) -> web.StreamResponse:
        """Answer whether the server has all that it answers from."""
        if self._has_catalogue():
            return probe_answer(Verdict(True, "ready"))
        return probe_answer(Verdict(False, "not ready", ("catalogue",)))
