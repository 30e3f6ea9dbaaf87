"""Readers that a demo may show. Never part of a server in production: a list gives readers away."""

from collections.abc import Sequence

import msgspec
from aiohttp import web

from schemas import keys
from schemas.records import Profile
from schemas.timestamps import to_ms
from worker.redis_client import Client, get_many
from worker.serve.reads import in_time
from worker.serve.records import DemoReader, DemoReaders
from worker.serve.responses import once

SCANNED = 2000
SHOWN = 12
PROFILES = "profile:*"

_profile_decoder = msgspec.json.Decoder(Profile)


class Demo:
    """Choose readers. first: ids of those who come first, if they have a profile."""

    def __init__(self, client: Client, first: Sequence[str]) -> None:
        self._client = client
        self._first = list(first)

    async def readers(self, request: web.Request) -> web.StreamResponse:
        """Answer with some readers, from the youngest to the oldest of a sample."""
        profiles = await in_time(self._profiles())
        by_id = {each.user_id: each for each in profiles}
        chosen = [by_id.pop(each) for each in self._first if each in by_id]
        chosen += spread(sorted(by_id.values(), key=_age), SHOWN - len(chosen))
        newest_ms = max((to_ms(each.last_click) for each in profiles), default=0)
        found = DemoReaders(
            readers=[
                DemoReader(
                    user_id=each.user_id,
                    age_years=each.age.years,
                    female=each.gender.female,
                    num_clicks=each.num_clicks,
                )
                for each in chosen
            ],
            now_ms=newest_ms,
        )
        return once(request, msgspec.json.encode(found))

    async def _profiles(self) -> list[Profile]:
        names = [keys.profile(each) for each in self._first]
        async for name in self._client.scan_iter(match=PROFILES, count=SCANNED):
            names.append(name.decode())
            if len(names) >= SCANNED:
                break
        values = await get_many(self._client, list(dict.fromkeys(names)))
        return [_profile_decoder.decode(raw) for raw in values if raw is not None]


def spread(profiles: Sequence[Profile], size: int) -> list[Profile]:
    """Return some at equal distances.

    >>> spread("abcdefg", 3), spread("ab", 3)
    (['a', 'd', 'g'], ['a', 'b'])
    """
    if len(profiles) <= size:
        return list(profiles)
    return [profiles[round(at * (len(profiles) - 1) / max(1, size - 1))] for at in range(size)]


def _age(profile: Profile) -> float:
    return profile.age.years
