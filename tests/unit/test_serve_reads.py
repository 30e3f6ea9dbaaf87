"""Reads of many requests in one command, and to each what it asked for."""

import asyncio
from collections.abc import Sequence

import pytest

from worker.serve import reads
from worker.serve.reads import SharedReads


class Values:
    """Answer with the names of the keys."""

    def __init__(self) -> None:
        self.commands: list[list[str]] = []
        self.error: Exception | None = None
        self.answers = asyncio.Event()
        self.answers.set()

    async def mget(self, names: Sequence[str]) -> list[bytes | None]:
        self.commands.append(list(names))
        await self.answers.wait()
        if self.error is not None:
            raise self.error
        return [None if name == "none" else name.encode() for name in names]


async def test_what_is_asked_for_at_once_is_one_command() -> None:
    values = Values()
    shared = SharedReads(values)  # type: ignore[arg-type]
    wanted = (["a"], ["b", "none", "c"], [], ["a"])
    found = await asyncio.gather(*map(shared.get, wanted))
    assert found == [[b"a"], [b"b", None, b"c"], [], [b"a"]]
    assert values.commands == [["a", "b", "none", "c", "a"]]
    assert await shared.get(["d"]) == [b"d"]
    assert values.commands[1:] == [["d"]]


async def test_nobody_waits_for_a_command_that_is_under_way() -> None:
    values = Values()
    values.answers.clear()
    shared = SharedReads(values)  # type: ignore[arg-type]
    slow = asyncio.create_task(shared.get(["a"]))
    await asyncio.sleep(0.01)
    quick = asyncio.create_task(shared.get(["b"]))
    await asyncio.sleep(0.01)
    assert values.commands == [["a"], ["b"]]
    values.answers.set()
    assert [await slow, await quick] == [[b"a"], [b"b"]]


async def test_an_error_is_told_to_all_who_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    values = Values()
    values.error = OSError()
    shared = SharedReads(values)  # type: ignore[arg-type]
    found = await asyncio.gather(*map(shared.get, ("a", "b")), return_exceptions=True)
    assert [type(each) for each in found] == [OSError, OSError]
    values.error = None
    values.answers.clear()
    monkeypatch.setattr(reads, "REDIS_S", 0.01)
    with pytest.raises(TimeoutError):
        await shared.get(["a"])
    monkeypatch.undo()
    values.answers.set()
    assert await shared.get(["b"]) == [b"b"]
