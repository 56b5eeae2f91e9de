"""Two gateways as processes of their own, one store, and the worst that can happen to it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from loops import in_loop
from replicas.processes import Caller, Process, serving
from replicas.store import Store
from replicas.town import PATIENCE_S, QUICK, config_of
from unbroken.testing import FakeProvider, Status


async def replica_of(process: Process) -> Any:
    """What a gateway tells of its replicas."""
    return (await process.get("/admin/status"))["replica"]


async def until_they_are(processes: list[Process], **state: object) -> None:
    """Wait until all of them tell so of themselves."""
    async with asyncio.timeout(PATIENCE_S):
        for one in processes:
            while not state.items() <= (await replica_of(one)).items():
                await asyncio.sleep(0.02)


@in_loop
async def test_a_store_that_is_killed_under_load_costs_no_request(tmp_path: Path, store: Store) -> None:
    """Requests are answered before, while and after it is gone; then replicas know of each other again."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeProvider(name, speed=QUICK)) for name in "ab"]
        config_of(tmp_path, *fakes, store=store.url, provider={"limits": {"requests_per_min": 100_000}})
        both = [await stack.enter_async_context(serving(tmp_path / "unbroken.yaml")) for _ in range(2)]
        await until_they_are(both, connected=True, replicas=2)
        done, answered = asyncio.Event(), 0

        async def ask(process: Process) -> None:
            nonlocal answered
            async with Caller(process) as caller:
                while not done.is_set():
                    await caller.chat()
                    answered += 1

        async with asyncio.TaskGroup() as group:
            for process in both * 2:
                group.create_task(ask(process))
            store.kill()
            await until_they_are(both, connected=False)
            before = answered
            while answered < before + 20:
                await asyncio.sleep(0.01)
            store.start()
            await until_they_are(both, connected=True, replicas=2)
            done.set()
        fakes[0].fail_with(Status(500))
        async with Caller(both[0]) as caller:
            while await caller.chat() != "b/word-model" or not await is_left_alone(both[0], "a/word-model"):
                pass
        async with asyncio.timeout(PATIENCE_S):
            while not await is_left_alone(both[1], "a/word-model"):
                await asyncio.sleep(0.02)


async def is_left_alone(process: Process, target: str) -> bool:
    """Whether this gateway's breaker of a target is open."""
    told = (await process.get("/admin/status"))["targets"]
    return any(one["name"] == target and one["state"] in {"open", "half_open"} for one in told)
