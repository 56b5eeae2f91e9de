"""`unbroken serve --workers`: several processes on one port that act as one."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from faces.admin_world import ADMIN_KEY
from loops import in_loop
from replicas.processes import Caller, Process, children, serving
from replicas.town import PATIENCE_S, QUICK, config_of
from unbroken.faces.cli.workers import Crew
from unbroken.testing import FakeProvider, Speed, Status

pytestmark = pytest.mark.skipif(not Path(f"/proc/{os.getpid()}/task").exists(), reason="needs Linux to see processes")


@asynccontextmanager
async def crew(
    folder: Path, *options: str, names: str = "ab", **sections: Any
) -> AsyncIterator[tuple[Process, list[FakeProvider]]]:
    """Two workers over fake providers."""
    async with AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(FakeProvider(name, speed=QUICK)) for name in names]
        config_of(folder, *providers, **sections)
        process = await stack.enter_async_context(serving(folder / "unbroken.yaml", "--workers", "2", *options))
        yield process, providers


async def each(process: Process, stack: AsyncExitStack) -> list[Caller]:
    """A connection to each of two workers: they tell themselves apart by the beginning of a request's id."""
    found: dict[str, Caller] = {}
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < 2:
            caller = await stack.enter_async_context(Caller(process))
            await caller.ask("GET", "/health")
            found.setdefault(caller.headers["x-request-id"][:14], caller)
    return list(found.values())


async def is_told(caller: Caller, target: str, state: str) -> bool:
    """Whether this worker tells that a target is so."""
    status = json.loads((await caller.ask("GET", "/admin/status", key=ADMIN_KEY))[1])
    return any(one["name"] == target and one["state"] == state for one in status["targets"])


async def until(met: Callable[[], Awaitable[bool]]) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(PATIENCE_S):
        while not await met():
            await asyncio.sleep(0.01)


@in_loop
async def test_workers_know_what_each_of_them_learned(tmp_path: Path) -> None:
    """A provider that failed for one worker is left alone by the other within a second."""
    async with crew(tmp_path) as (process, providers), AsyncExitStack() as stack:
        one, other = await each(process, stack)
        providers[0].fail_with(Status(500))
        for _ in range(3):
            assert await one.chat() == "b/word-model"
        asked = len(providers[0].seen)
        await until(lambda: is_told(other, "a/word-model", "open"))
        assert await other.chat() == "b/word-model"
        assert len(providers[0].seen) == asked > 0


@in_loop
async def test_what_an_operator_sets_at_one_worker_holds_at_all(tmp_path: Path) -> None:
    """A target that was taken out gets no request from any of them; the strategy is another one everywhere."""
    async with crew(tmp_path) as (process, providers), AsyncExitStack() as stack:
        callers = await each(process, stack)
        await process.post("/admin/targets/a/word-model/disable")
        for caller in callers:
            await until(lambda caller=caller: is_told(caller, "a/word-model", "forced_open"))  # type: ignore[misc]
            assert await caller.chat() == "b/word-model"
        assert not providers[0].seen
        await process.post("/admin/routes/m/strategy", {"strategy": "random"})
        for caller in callers:
            await until(lambda caller=caller: chooses(caller, "random"))  # type: ignore[misc]


async def chooses(caller: Caller, strategy: str) -> bool:
    """Whether this worker's route goes by that strategy."""
    status = json.loads((await caller.ask("GET", "/admin/status", key=ADMIN_KEY))[1])
    return bool(status["routes"][0]["strategy"] == strategy)


@in_loop
async def test_whichever_worker_is_asked_tells_of_all(tmp_path: Path) -> None:
    """Status, statistics and metrics are those of the machine, also after a worker has died."""
    async with crew(tmp_path) as (process, _), AsyncExitStack() as stack:
        callers = await each(process, stack)
        for number, caller in enumerate(callers):
            for _ in range(number + 2):
                await caller.chat()
        for caller in callers:
            assert (await told(caller, "/admin/statistics"))["requests"] == 5
            assert await counted(caller, "unbroken_requests_total") == 5
            assert (await told(caller, "/admin/status"))["replica"]["workers"] == 2
        os.kill(children(process.process.pid)[0], signal.SIGKILL)
        await until(lambda: workers_are(process, 2))
        async with Caller(process) as caller:
            assert await counted(caller, "unbroken_requests_total") == 5
            assert (await told(caller, "/admin/statistics"))["requests"] == 5
            await caller.ask("POST", "/admin/statistics/reset", key=ADMIN_KEY)
        for caller in await each(process, stack):
            assert (await told(caller, "/admin/statistics"))["requests"] == 0


@in_loop
async def test_who_follows_one_worker_sees_what_happens_at_all(tmp_path: Path) -> None:
    """The events of a machine, whichever worker the page is connected to; an act of an operator once."""
    async with crew(tmp_path) as (process, _), AsyncExitStack() as stack:
        one, other = await each(process, stack)
        reader, writer = await asyncio.open_connection(*process.address)
        writer.write(f"GET /admin/events HTTP/1.1\r\nauthorization: Bearer {ADMIN_KEY}\r\n\r\n".encode())
        seen = b""
        async with asyncio.timeout(PATIENCE_S):
            while b"event: hello" not in seen:
                seen += await reader.read(65536)
            asked = 0
            while asked < 3 or seen.count(b'"flight_ended"') < asked:
                await (one, other)[asked % 2].chat()
                asked += 1
                seen += await reader.read(65536)
            await process.post("/admin/routes/m/strategy", {"strategy": "random"})
            while b'"strategy"' not in seen:
                seen += await reader.read(65536)
        writer.close()
        flights = {event.split(b'"')[0][:14] for event in seen.split(b'"flight":"')[1:]}
        assert len(flights) == 2, "of both workers"


async def told(caller: Caller, path: str) -> Any:
    """What this worker tells an operator."""
    return json.loads((await caller.ask("GET", path, key=ADMIN_KEY))[1])


async def counted(caller: Caller, name: str) -> float:
    """The sum of a metric, as this worker tells it."""
    lines = (await caller.ask("GET", "/metrics"))[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))


async def workers_are(process: Process, number: int) -> bool:
    """Whether so many answer."""
    try:
        return bool((await process.get("/admin/status"))["replica"]["workers"] == number)
    except (OSError, EOFError):  # it was the one that died
        return False


@in_loop
async def test_workers_are_replaced_without_a_failed_request(tmp_path: Path) -> None:
    """Rolling restart under load: every request is answered, in the end by new processes."""
    async with crew(tmp_path) as (process, providers):
        before = set(children(process.process.pid))
        done, answered = asyncio.Event(), 0

        async def ask() -> None:
            nonlocal answered
            async with Caller(process) as caller:
                while not done.is_set():
                    await caller.chat()
                    answered += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(ask())
            process.process.send_signal(signal.SIGUSR2)
            await until(lambda: all_new(process, before))
            done.set()
        assert answered > 8 and len(providers[0].seen) >= answered
        process.process.send_signal(signal.SIGTERM)
        assert await process.end() == 0


async def all_new(process: Process, before: set[int]) -> bool:
    """Whether two workers serve, and none of those from before."""
    now = set(children(process.process.pid))
    return len(now) == 2 and not now & before


@in_loop
async def test_a_stream_under_way_is_finished_before_the_end(tmp_path: Path) -> None:
    """SIGTERM: `/readyz` says no first, then nothing new is taken, and what was begun comes to its end."""
    async with AsyncExitStack() as stack:
        slow = await stack.enter_async_context(FakeProvider("a", speed=Speed(first_token_s=0.0, tokens_per_s=60)))
        config_of(tmp_path, slow, server={"drain_s": 1.0, "grace_s": 20.0})
        process = await stack.enter_async_context(serving(tmp_path / "unbroken.yaml"))
        caller, other = [await stack.enter_async_context(Caller(process)) for _ in range(2)]
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Why?"}], "max_tokens": 150}
        answer = asyncio.create_task(caller.ask("POST", "/v1/chat/completions", body=body))
        await until(lambda: seen(slow))
        assert (await other.ask("GET", "/readyz"))[0] == 200
        process.process.send_signal(signal.SIGTERM)
        await until(lambda: is_stopping(process))
        status, text = await answer
        assert status == 200 and text.rstrip().endswith(b"data: [DONE]")
        assert await process.end() == 0


async def seen(provider: FakeProvider) -> bool:
    """Whether anything was asked."""
    return bool(provider.seen)


async def is_stopping(process: Process) -> bool:
    """Whether it says that nothing should be sent to it any more, while it still answers."""
    async with Caller(process) as caller:
        status, said = await caller.ask("GET", "/readyz")
        return status == 503 and b"stopping" in said


@in_loop
async def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    """SIGKILL: another one takes its place, and requests are answered all the time."""
    async with crew(tmp_path) as (process, _):
        before = children(process.process.pid)
        os.kill(before[0], signal.SIGKILL)
        for _ in range(5):
            async with Caller(process) as caller:
                assert await caller.chat() == "a/word-model"
        await until(lambda: all_new(process, {before[0]}))
        assert "another one takes its place" in process.said


@in_loop
async def test_whoever_is_being_started_is_told_to_stop_too() -> None:
    """A signal that comes while the first workers begin ends those that were not there yet, and so all of it."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        crew = Crew(2, listening, command=[sys.executable, "-c", "import time; time.sleep(600)"])
        running = asyncio.create_task(crew.run(lambda: None))
        await asyncio.sleep(0)  # it is about to start the first
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await running == 0


@in_loop
async def test_workers_stop_when_their_parent_is_gone(tmp_path: Path) -> None:
    """Nobody is left to be told to stop by: what was begun is finished, and the port is free."""
    async with crew(tmp_path) as (process, _):
        workers = children(process.process.pid)
        process.process.kill()
        await process.process.wait()
        await until(lambda: are_gone(workers))


async def are_gone(processes: list[int]) -> bool:
    """Whether none of them runs."""
    return not any(is_running(number) for number in processes)


def is_running(process: int) -> bool:
    """Whether there is such a process, and not only what is left of one."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
