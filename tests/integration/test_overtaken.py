"""A worker that is overtaken between storing and sending does not leave the older profile."""

from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from schemas import keys
from schemas.history import article_ref, merge, pack_entry
from schemas.topics import Topics
from worker.delivery import Delivery
from worker.erasure_store import ErasureStore
from worker.erasures import Erasures
from worker.health_state import HealthState
from worker.metrics import Metrics
from worker.overtaken import Overtaken
from worker.pipeline import Pipeline
from worker.reader_store import PageUpdate, ReaderStore, ReaderUpdate
from worker.redis_client import Client
from worker.settings import Settings

TTL_MS = 60_000
LATE_S = 3.0
TOPICS: Topics = Settings().topics


def update(user_id: str, held: bytes | None, version: int) -> ReaderUpdate:
    history = merge(held, [pack_entry(version, f"e{version}", article_ref("a"))], 8)
    profile, page = f'{{"p":{version}}}'.encode(), f'{{"r":{version}}}'.encode()
    return ReaderUpdate(user_id, held, history, profile, page, [])


@dataclass
class World:
    """A clock, a consumer group, and what was sent; something may happen while it is sent."""

    readers: ReaderStore
    now_s: float = 0.0
    generation: int = 1
    happens: list[Any] = field(default_factory=list)
    sent: list[tuple[str, str, bytes]] = field(default_factory=list)
    num_failures: int = 0

    def send(self, topic: str, key: str, value: bytes, headers: None = None) -> None:  # noqa: ARG002
        self.sent.append((topic, key, value))

    async def delivered(self, _: int) -> None:
        if self.happens:
            await self.happens.pop(0)()

    def last(self, topic: str, user_id: str) -> bytes:
        return [value for at, key, value in self.sent if (at, key) == (topic, user_id)][-1]


@pytest.fixture
def world(client: Client) -> World:
    return World(ReaderStore(client, TTL_MS, "v1"))


def overtaken(client: Client, world: World) -> Overtaken:
    return Overtaken(client, lambda: world.generation, LATE_S, lambda: world.now_s)


def pipeline(client: Client, world: World) -> Pipeline:
    unused: Any = None
    metrics = Metrics()
    return Pipeline(
        topics=TOPICS,
        serving=unused,
        click_log=unused,
        delivery=Delivery(cast("Any", world), TOPICS, metrics),
        erasures=Erasures(ErasureStore(client, TTL_MS, None), unused, TOPICS),
        metrics=metrics,
        health=HealthState(60.0),
        overtaken=overtaken(client, world),
    )


@pytest.mark.parametrize(
    ("changes", "newest"), [({"now_s": LATE_S}, 2), ({"generation": 2}, 2), ({}, 1)]
)
async def test_who_may_have_been_overtaken_sends_what_holds(
    client: Client, world: World, changes: dict[str, Any], newest: int
) -> None:
    first = update("u", None, 1)
    assert not (await world.readers.write([first])).lost

    async def successor_stores() -> None:
        assert not (await world.readers.write([update("u", first.history, 2)])).lost
        for name, value in changes.items():
            setattr(world, name, value)

    world.happens.append(successor_stores)
    began = overtaken(client, world).now()
    await pipeline(client, world)._deliver([first], (), began)
    assert world.last(TOPICS.profiles, "u") == f'{{"p":{newest}}}'.encode()
    assert world.last(TOPICS.recommendations, "u") == f'{{"r":{newest}}}'.encode()


async def test_it_looks_again_until_nobody_can_have_come_between(
    client: Client, world: World
) -> None:
    versions = [update("u", None, 1)]
    await world.readers.write(versions)

    async def another_stores() -> None:
        versions.append(update("u", versions[-1].history, len(versions) + 1))
        await world.readers.write(versions[-1:])
        world.now_s += LATE_S

    world.happens += [another_stores, another_stores]
    began = overtaken(client, world).now()
    await pipeline(client, world)._deliver(versions[:1], (), began)
    assert world.last(TOPICS.profiles, "u") == b'{"p":3}'


async def test_only_what_is_newer_is_sent_again(client: Client, world: World) -> None:
    same, gone, objects = (update(name, None, 1) for name in ("same", "gone", "objects"))
    await world.readers.write([same, gone, objects])
    await client.delete(keys.profile("gone"), keys.recs("gone"))
    await client.delete(keys.profile("objects"))
    await client.set(keys.recs("objects"), b'{"r":2}')
    found = await overtaken(client, world).newer([same, gone, objects])
    assert found == [PageUpdate("objects", None, b'{"r":2}')]
