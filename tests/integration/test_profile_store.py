"""The client for services, on a real Redis, alone and as a cluster."""

import subprocess
import sys
import time
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import redis

from schemas import keys
from schemas.errors import InvalidMessageError
from schemas.profile_store import AsyncProfileStore, FrontPage, ProfileStore
from schemas.records import Article, Profile, Recommendation
from tests.integration.serving_site import put_article, put_page, put_profile
from worker.local.server import free_port
from worker.redis_client import Client
from worker.settings import Settings

IDS = ("42", "a}b", "{x}", "50%", "%7D", "读者")


class Both:
    """Ask the two stores the same, and see that they agree."""

    def __init__(self, store: ProfileStore, asynchronous: AsyncProfileStore) -> None:
        self._store = store
        self._asynchronous = asynchronous

    async def ask(self, method: str, argument: object) -> Any:
        found = getattr(self._store, method)(argument)
        assert await getattr(self._asynchronous, method)(argument) == found
        return found


@pytest.fixture
def server_client(server: Settings, client: Client) -> Any:  # noqa: ARG001 it empties the server
    kind = redis.RedisCluster if server.redis_cluster else redis.Redis
    with kind.from_url(server.redis_url) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["bytes", "text"])
async def both(request: pytest.FixtureRequest, server: Settings) -> AsyncIterator[Both]:
    options = {"cluster": server.redis_cluster, "decode_responses": request.param}
    with ProfileStore.from_url(server.redis_url, **options) as store:
        async with AsyncProfileStore.from_url(server.redis_url, **options) as asynchronous:
            yield Both(store, asynchronous)


async def test_many_readers_whatever_their_ids(both: Both, server_client: Any) -> None:
    profiles = {each: put_profile(server_client, each) for each in IDS}
    pages = {each: put_page(server_client, each, ["a1"]) for each in IDS}
    asked = [*IDS, "unknown", "42"]
    assert await both.ask("profiles", asked) == {**profiles, "unknown": None}
    assert await both.ask("recommendations", asked) == {**pages, "unknown": None}
    assert await both.ask("profiles", []) == {}
    for each in IDS:
        assert await both.ask("profile", each) == profiles[each]
        assert await both.ask("recommendation", each) == pages[each]
    assert await both.ask("profile", "unknown") is None
    assert await both.ask("front_page", "unknown") is None


async def test_a_front_page_has_titles_and_nothing_withdrawn(
    both: Both, server_client: Any
) -> None:
    page = put_page(server_client, "42", ["a1", "a2", "a{3}"])
    first, third = put_article(server_client, "a1"), put_article(server_client, "a{3}")
    server_client.set(keys.withdrawn("a2"), b"1")
    found = await both.ask("front_page", "42")
    assert isinstance(found, FrontPage)
    assert found.recommendation.items == [page.items[0], page.items[2]]
    assert found.articles == {"a1": first, "a{3}": third}
    assert await both.ask("articles", ["a1", "a2"]) == {"a1": first, "a2": None}


async def test_what_is_no_record_is_an_error_that_quotes_nothing(
    both: Both, server_client: Any
) -> None:
    server_client.set(keys.profile("42"), b'{"user_id":"secret"}')
    with pytest.raises(InvalidMessageError) as caught:
        await both.ask("profile", "42")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [Profile, Recommendation, Article])
def test_records_have_room_for_fields_to_come(kind: type[msgspec.Struct]) -> None:
    assert not kind.__struct_config__.forbid_unknown_fields


async def test_a_server_that_is_away_is_not_waited_for() -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    started = time.monotonic()
    with ProfileStore.from_url(url, timeout_s=0.2) as store, pytest.raises(redis.RedisError):
        store.profile("42")
    async with AsyncProfileStore.from_url(url, timeout_s=0.2) as store:
        with pytest.raises(redis.RedisError):
            await store.profile("42")
    assert time.monotonic() - started < 2.0


def test_it_needs_redis_and_msgspec_alone() -> None:
    code = (
        "import sys; import schemas.profile_store; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'worker', 'numpy', 'faust', 'numba', 'confluent_kafka', 'click', 'onnxruntime'}))"
    )
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.strip() == ""
