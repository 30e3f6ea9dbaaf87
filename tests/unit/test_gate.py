"""Work passes side by side, a change alone."""

import asyncio

from worker.gate import Gate


async def test_a_change_waits_for_work_in_progress_and_new_work_for_the_change() -> None:
    gate, seen = Gate(), list[str]()
    finish = asyncio.Event()

    async def work(name: str, until: asyncio.Event | None = None) -> None:
        async with gate.work():
            seen.append(f"{name} begins")
            if until is not None:
                await until.wait()
            seen.append(f"{name} ends")

    async def change() -> None:
        async with gate.change():
            seen.append("change begins")
            await asyncio.sleep(0)
            seen.append("change ends")

    async with asyncio.TaskGroup() as group:
        group.create_task(work("one", finish))
        group.create_task(work("two", finish))
        await asyncio.sleep(0.01)
        group.create_task(change())
        await asyncio.sleep(0.01)
        group.create_task(work("three"))
        await asyncio.sleep(0.01)
        assert seen == ["one begins", "two begins"]
        finish.set()
    assert set(seen[2:4]) == {"one ends", "two ends"}
    assert seen[4:] == ["change begins", "change ends", "three begins", "three ends"]


async def test_work_that_fails_or_is_cancelled_holds_nobody_up() -> None:
    gate = Gate()

    async def fails() -> None:
        async with gate.work():
            raise ValueError

    async def hangs() -> None:
        async with gate.work():
            await asyncio.Event().wait()

    hanging = asyncio.create_task(hangs())
    await asyncio.gather(fails(), return_exceptions=True)
    waiting = asyncio.create_task(gate.change().__aenter__())
    await asyncio.sleep(0.01)
    assert not waiting.done()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    hanging.cancel()
    await asyncio.gather(hanging, return_exceptions=True)
    async with asyncio.timeout(1), gate.work():
        pass
    async with asyncio.timeout(1), gate.change():
        pass
