"""The worker's operations endpoint over a real socket, without a worker behind it."""

import asyncio
from collections.abc import AsyncIterator, Mapping

import aiohttp
import msgspec
import pytest

from schemas.errors import SettingsError, UnavailableError
from schemas.topics import Topics
from worker.chunks import Place, Record
from worker.health import check
from worker.health_state import HealthState
from worker.intake import decoder_of, sort_records
from worker.lag import Lag
from worker.metrics import Metrics
from worker.operations import Operations, listen
from worker.settings import Settings

TOKEN = "a-token-of-the-tests"


class KnownLag(Lag):
    """Messages that wait, as a test says."""

    def __init__(self) -> None:
        super().__init__({}, "group")
        self.waiting: dict[Place, int] = {}

    def by_partition(self) -> dict[Place, int]:
        return self.waiting


class Endpoint:
    def __init__(self, settings: Settings) -> None:
        self.lag, self.health = KnownLag(), HealthState(settings.stall_s)
        self.metrics = Metrics()
        self.metrics.watch(self.lag.by_partition, lambda: 7, lambda: 0)
        listening = listen(settings)
        assert listening is not None
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        token = settings.http_token
        self.operations = Operations(listening, token, self.metrics, self.health, self.lag)

    async def ask(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[int, str]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(self.url + path, headers=headers) as answer,
        ):
            return answer.status, await answer.text()


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    found = Endpoint(Settings(metrics_port=0, http_token=TOKEN, stall_s=0.1))
    await found.operations.start()
    yield found
    await found.operations.stop()


async def test_a_stall_is_told_to_whoever_asks(endpoint: Endpoint) -> None:
    assert await endpoint.ask("/live") == (200, '{"status": "live"}\n')
    endpoint.lag.waiting = {("clicks", 0): 3}
    while (found := await endpoint.ask("/live"))[0] == 200:
        pass
    assert found == (503, '{"status": "stalled"}\n')
    endpoint.health.stored("clicks")
    assert (await endpoint.ask("/live"))[0] == 200


async def test_readiness_names_what_is_missing(endpoint: Endpoint) -> None:
    status, body = await endpoint.ask("/ready")
    assert status == 503
    assert msgspec.json.decode(body)["why"] == ["catalogue", "partitions"]
    endpoint.health.has_catalogue = endpoint.health.has_partitions = True
    assert await endpoint.ask("/ready") == (200, '{"status": "ready"}\n')


async def test_metrics_are_for_who_has_the_token(endpoint: Endpoint) -> None:
    endpoint.lag.waiting = {("clicks", 0): 3}
    assert (await endpoint.ask("/metrics"))[0] == 401
    status, body = await endpoint.ask("/metrics", {"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert 'frontpage_consumer_lag{partition="0",topic="clicks"} 3.0' in body
    assert "frontpage_catalogue_articles 7.0" in body


def test_nobody_listens_unless_told_so() -> None:
    assert listen(Settings()) is None


def test_what_others_reach_needs_a_token_and_a_port_that_is_free() -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_HTTP_TOKEN"):
        listen(Settings(metrics_host="0.0.0.0", metrics_port=0))
    listening = listen(Settings(metrics_host="0.0.0.0", metrics_port=0, http_token=TOKEN))
    assert listening is not None
    with listening, pytest.raises(SettingsError, match="FRONTPAGE_METRICS_PORT"):
        listen(Settings(metrics_port=listening.getsockname()[1]))


async def test_labels_are_words_of_ours_whatever_a_message_says() -> None:
    topics, metrics = Topics(), Metrics()
    values = [b"", b"{", b'{"user_id":"secret-reader"}', b"x" * 2_000_000, b"\xff", b"[]"]
    records = [Record("clicks", 0, 1, 1, b"k", value) for value in values]
    intake = sort_records(records, decoder_of("clicks", topics), 10**12)
    metrics.sorted_out(records, intake)
    metrics.sent(0, 0, intake.bad)
    text = metrics.text().decode()
    assert 'frontpage_dead_letters_total{reason="oversized"} 1.0' in text
    assert "secret" not in text
    letters = [
        float(line.rpartition(" ")[2])
        for line in text.splitlines()
        if line.startswith("frontpage_dead_letters_total")
    ]
    assert sum(letters) == len(intake.bad) == len(values)


async def test_the_health_check_gives_the_answer_of_the_worker() -> None:
    with pytest.raises(SettingsError, match="FRONTPAGE_METRICS_PORT"):
        check(Settings())
    listening = listen(Settings(metrics_port=0))
    assert listening is not None
    port = listening.getsockname()[1]
    listening.close()
    settings = Settings(metrics_port=port, stall_s=0.1)
    with pytest.raises(UnavailableError, match="/ready: no answer"):
        check(settings)
    found = Endpoint(settings)
    await found.operations.start()
    try:
        with pytest.raises(UnavailableError, match=r'/ready: .*"catalogue", "partitions"'):
            await asyncio.to_thread(check, settings)
        found.health.has_catalogue = found.health.has_partitions = True
        await asyncio.to_thread(check, settings)
        found.lag.waiting = {("clicks", 0): 3}
        await asyncio.sleep(0.2)
        with pytest.raises(UnavailableError, match=r'/live: .*"stalled"'):
            await asyncio.to_thread(check, settings)
    finally:
        await found.operations.stop()
