"""Ask workers for their metrics and how they are."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from prometheus_client.parser import text_string_to_metric_families

TIMEOUT_S = 2.0
MAX_BYTES = 4_000_000
OK, UNAUTHORIZED = 200, 401

Labels: TypeAlias = tuple[tuple[str, str], ...]
Samples: TypeAlias = dict[str, dict[Labels, float]]
"""Values by the name of a series and its labels, in order."""


class Scrape(NamedTuple):
    """What a worker said. at_s: when, by a clock that only goes forward."""

    at_s: float
    samples: Samples
    status: str


class _Probe(msgspec.Struct):
    status: str
    why: list[str] = []


class Silence(NamedTuple):
    """Why a worker said nothing."""

    why: str


def parse(text: str) -> Samples:
    """Read Prometheus' text format.

    >>> parse('a_total{topic="clicks"} 3')
    {'a_total': {(('topic', 'clicks'),): 3.0}}

    Raises:
        ValueError: when it is something else.
    """
    samples: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            samples.setdefault(sample.name, {})[labels] = float(sample.value)
    return samples


class Workers:
    """Workers at known addresses. token: what requests bear, None without one."""

    def __init__(self, session: ClientSession, urls: Sequence[str], token: str | None) -> None:
        self._session = session
        self._urls = urls
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    async def ask(self) -> dict[str, Scrape | Silence]:
        """Ask all of them at once; return what each said, by URL."""
        return dict(zip(self._urls, await asyncio.gather(*map(self._ask, self._urls)), strict=True))

    async def _ask(self, url: str) -> Scrape | Silence:
        try:
            status, text = await self._get(f"{url}/metrics", self._headers)
            if status != OK:
                needs = "wants FRONTPAGE_HTTP_TOKEN" if status == UNAUTHORIZED else ""
                return Silence(needs or f"answers {status}")
            at_s, samples = time.monotonic(), parse(text)
            if not any(name.startswith("frontpage_") for name in samples):
                return Silence("is not a worker")
            return Scrape(at_s, samples, await self._status(url))
        except TimeoutError:
            return Silence("does not answer in time")
        except (ClientError, OSError):
            return Silence("does not answer")
        except ValueError:
            return Silence("is not a worker")

    async def _status(self, url: str) -> str:
        """Return how the worker is, in its words."""
        for path in ("live", "ready"):
            status, text = await self._get(f"{url}/{path}", {})
            said = _said(text)
            if status != OK or said not in ("live", "ready"):
                return said
        return "ready"

    async def _get(self, url: str, headers: Mapping[str, str]) -> tuple[int, str]:
        timeout = ClientTimeout(TIMEOUT_S)
        # Whoever is redirected elsewhere would take the token there.
        async with self._session.get(
            url, headers=headers, timeout=timeout, allow_redirects=False
        ) as response:
            body = await response.content.read(MAX_BYTES)
            while len(body) < MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                body += more
            return response.status, body.decode(errors="replace")


def _said(text: str) -> str:
    """Return the answer to a probe as words.

    >>> _said('{"status": "waiting", "why": ["redis"]}'), _said("<html>")
    ('waiting: redis', 'unknown')
    """
    try:
        answer = msgspec.json.decode(text, type=_Probe)
    except msgspec.DecodeError:
        return "unknown"
    return f"{answer.status}: {', '.join(answer.why)}" if answer.why else answer.status
