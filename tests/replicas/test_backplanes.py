"""Both backplanes keep the same promises: the hub of one machine's workers, and Valkey or Redis."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import pytest

from loops import in_loop
from replicas.store import PASSWORD, Store
from replicas.town import PATIENCE_S, until
from unbroken.replicas import frames
from unbroken.replicas.backplane import Backplane, Found, Gone, Hold, Switch
from unbroken.replicas.commons import Commons
from unbroken.replicas.hub import Hub
from unbroken.replicas.line import Line
from unbroken.replicas.redis import InRedis


class Ear:
    """What was heard, and when."""

    def __init__(self) -> None:
        self.words: list[bytes] = []
        self.ats: list[float] = []
        self.switches: list[Mapping[str, Switch]] = []
        self.losses = 0

    def heard(self, words: bytes, at: float) -> None:
        self.words.append(words)
        self.ats.append(at)

    def joined(self, switches: Mapping[str, Switch]) -> None:
        self.switches.append(switches)

    def lost(self, why: str) -> None:
        self.losses += 1

    def asked(self, what: str) -> bytes:
        return f"{what}: {len(self.words)}".encode()


@asynccontextmanager
async def workers(number: int, commons: Commons | None = None) -> AsyncIterator[list[Line]]:
    """Lines to one hub."""
    hub = Hub(lambda what, answers: b"gone: " + b", ".join(answers), commons=commons)
    lines, serving = [], []
    for name in range(number):
        ours, theirs = socket.socketpair()
        serving.append(asyncio.create_task(hub.serve(f"worker {name}", ours)))
        lines.append(Line(theirs, ended=lambda: None))
    try:
        yield lines
    finally:
        for line in lines:
            await line.close()
        await asyncio.gather(*serving)


@asynccontextmanager
async def planes(kind: str, store: Store, number: int = 2) -> AsyncIterator[list[Backplane]]:
    """Several ends of one backplane."""
    if kind == "hub":
        async with workers(number) as lines:
            yield list(lines)
        return
    ends = [InRedis(store.url, replica=f"replica {name}") for name in range(number)]
    try:
        yield list(ends)
    finally:
        for end in ends:
            await end.close()


async def joined(*ends: Backplane) -> list[Ear]:
    """An ear at each end, all of them there."""
    ears = [Ear() for _ in ends]
    for end, ear in zip(ends, ears, strict=True):
        end.start(ear)
    await until(lambda: all(ear.switches for ear in ears))
    return ears


async def settled(end: Backplane) -> None:
    """All that this end has said, set and put has arrived."""
    await until(lambda: not isinstance(end, InRedis) or not end._under_way)
    await end.hold([])


KINDS = pytest.mark.parametrize("kind", ["hub", "redis"])


@KINDS
@in_loop
async def test_what_is_said_is_heard_by_all_in_its_order(kind: str, store: Store) -> None:
    """And at the time at which it was said, by the clock of whoever hears it."""
    async with planes(kind, store, 3) as ends:
        ears = await joined(*ends)
        before = time.monotonic()
        for number in range(20):
            ends[0].say(b"%d" % number)
        await until(lambda: all(len(ear.words) == 20 for ear in ears))
        for ear in ears:
            assert ear.words == [b"%d" % number for number in range(20)]
            assert all(before - 0.1 <= at <= time.monotonic() + 0.1 for at in ear.ats)


@KINDS
@in_loop
async def test_who_joins_later_is_told_of_it(kind: str, store: Store) -> None:
    """What was said a moment ago with its time, and how everything is set."""
    async with planes(kind, store, 3) as (one, other, late):
        ears = await joined(one, other)
        one.say(b"something")
        one.keep("breaker x", Switch(100.0, b"open"))
        await until(lambda: bool(ears[1].words))
        await settled(one)
        ear = Ear()
        late.start(ear)
        await until(lambda: bool(ear.words))
        assert ear.words == [b"something"] and ear.switches == [{"breaker x": Switch(100.0, b"open")}]
        assert abs(ear.ats[0] - ears[1].ats[0]) < 0.1


@KINDS
@in_loop
async def test_of_two_settings_the_later_one_counts(kind: str, store: Store) -> None:
    """Whichever of them arrives first."""
    async with planes(kind, store, 3) as (one, other, late):
        await joined(one, other)
        one.keep("x", Switch(200.0, b"later"))
        await settled(one)
        other.keep("x", Switch(100.0, b"earlier"))
        await settled(other)
        ear = Ear()
        late.start(ear)
        await until(lambda: bool(ear.switches))
        assert ear.switches == [{"x": Switch(200.0, b"later")}]


@KINDS
@in_loop
async def test_nobody_holds_what_another_holds(kind: str, store: Store) -> None:
    """Parts never add up to more than the limit; what one has spent is granted whatever others hold."""
    async with planes(kind, store) as (one, other):
        await joined(one, other)
        (grant,), _ = await one.hold([Hold("x", 3.0, 8.0, 10.0, 60.0)])
        assert (grant.amount, grant.others, grant.spent) == (8.0, 0.0, 0.0)
        (grant, free), replicas = await other.hold([Hold("x", 0.0, 5.0, 10.0, 60.0), Hold("y", 0.0, 2.5, 3.0, 60.0)])
        assert (grant.amount, grant.others, grant.spent) == (2.0, 8.0, 3.0) and free.amount == 2.5 and replicas == 2
        (grant,), _ = await one.hold([Hold("x", 4.0, 4.0, 10.0, 60.0)])
        assert grant.amount == 4.0
        (grant,), _ = await other.hold([Hold("x", 7.0, 7.0, 10.0, 60.0)])
        assert grant.amount == 7.0


@KINDS
@in_loop
async def test_what_was_spent_counts_as_long_as_it_was_said_to(kind: str, store: Store) -> None:
    """Also when nothing more is heard of who spent it; then it is free again."""
    async with planes(kind, store) as (one, other):
        await joined(one, other)
        await one.hold([Hold("long", 6.0, 6.0, 10.0, 60.0), Hold("short", 6.0, 6.0, 10.0, 0.05)])
        both = [Hold("long", 0.0, 10.0, 10.0, 60.0), Hold("short", 0.0, 10.0, 10.0, 60.0)]
        async with asyncio.timeout(PATIENCE_S):
            while (grants := (await other.hold(both))[0])[1].amount < 10.0:
                assert grants[1].amount == 4.0
                await asyncio.sleep(0.01)
        assert grants[0].amount == 4.0


@KINDS
@in_loop
async def test_values_are_kept_for_all_for_a_while(kind: str, store: Store) -> None:
    """Bytes as they were put, with their age, and not longer than they were to be kept."""
    async with planes(kind, store) as (one, other):
        await joined(one, other)
        value = bytes(range(256)) * 100
        one.put("key", value, keep_s=60.0)
        one.put("short", b"x", keep_s=0.05)
        await settled(one)
        async with asyncio.timeout(PATIENCE_S):
            while await asked(other, "short") is not None:
                await asyncio.sleep(0.01)
        found = await asked(other, "key")
        assert found is not None and found[0] == value and 0.04 < found[1] < PATIENCE_S
        assert await asked(other, "never") is None


async def asked(end: Backplane, key: str) -> Found:
    """What is kept under this key."""
    answer: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
    end.get(key, ready=answer.set_result)
    return await answer


# ------------------------------------------------------------------------------ the hub alone


@in_loop
async def test_all_workers_are_asked_and_those_that_are_gone_have_said_it() -> None:
    """The answers of the others, and one that stands for whoever was there before."""
    async with workers(3) as lines:
        ears = await joined(*lines)
        ears[1].words.append(b"")
        assert sorted(await lines[0].ask("how") or []) == [b"how: 0", b"how: 1"]
        await lines[1].close()
        await until_async_gone(lines[0])
        assert sorted(await lines[0].ask("how") or []) == [b"gone: how: 1", b"how: 0"]


async def until_async_gone(line: Line) -> None:
    """Until the hub has noticed that a worker is gone."""
    async with asyncio.timeout(20):
        while not any(b"gone" in said for said in await line.ask("how") or []):
            await asyncio.sleep(0.01)


@in_loop
async def test_a_worker_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it missed it could never be told again; when it wakes it finds its line closed, and can begin anew."""
    monkeypatch.setattr("unbroken.replicas.hub.UNSENT_BYTES_MAX", 100_000)
    hub = Hub(lambda *_: b"")
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(hub.serve("asleep", ours))
    theirs.setblocking(False)
    said = frames.packed(frames.Join()) + frames.packed(frames.Say(b"x" * 50_000)) * 20
    async with asyncio.timeout(20):
        with contextlib.suppress(ConnectionError):
            await asyncio.get_running_loop().sock_sendall(theirs, said)
        await serving
    theirs.close()


@in_loop
async def test_a_worker_that_cannot_take_what_it_is_told_begins_anew() -> None:
    """A defect in one of them ends its line, of which it is told, rather than leave it deaf for ever."""

    class Deaf(Ear):
        def heard(self, words: bytes, at: float) -> None:
            raise ZeroDivisionError

    hub, ended, ear = Hub(lambda *_: b""), asyncio.Event(), Deaf()
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(hub.serve("worker", ours))
    line = Line(theirs, ended=ended.set)
    line.start(ear)
    line.say(b"something")
    async with asyncio.timeout(20):
        await ended.wait()
        await serving
    assert ear.losses == 1
    await line.close()


@in_loop
async def test_a_worker_learns_that_its_parent_is_gone() -> None:
    """It is told once, and whoever waits for an answer hears that there is none."""
    ours, theirs = socket.socketpair()
    ended, ear = asyncio.Event(), Ear()
    line = Line(theirs, ended=ended.set)
    line.start(ear)
    waiting = asyncio.create_task(line.hold([]))
    ours.setblocking(False)
    assert await asyncio.get_running_loop().sock_recv(ours, 1)
    ours.close()
    async with asyncio.timeout(20):
        await ended.wait()
        with contextlib.suppress(Gone):
            await waiting
    assert ear.losses == 1
    await line.close()


# ------------------------------------------------------------------------------ the store alone


@in_loop
async def test_a_store_that_is_gone_is_found_again(store: Store) -> None:
    """Whoever asks is told at once, nothing is raised elsewhere, and what was set is there to be compared again."""
    end = InRedis(store.url, replica="one")
    (ear,) = await joined(end)
    store.kill()
    with pytest.raises(Gone):
        await end.hold([])
    end.say(b"lost")
    assert await asked(end, "key") is None and ear.losses == 1
    store.start()
    await until(lambda: len(ear.switches) == 2)
    end.say(b"heard")
    await until(lambda: ear.words == [b"heard"])
    await end.close()


@in_loop
async def test_a_password_is_read_when_a_connection_is_made(store: Store) -> None:
    """One that is wrong at first keeps nobody from trying again with the next one."""
    passwords = iter(["wrong", "wrong"])
    end = InRedis(store.bare_url, replica="one", password=lambda: next(passwords, PASSWORD))
    await joined(end)
    await end.hold([])
    await end.close()


@in_loop
async def test_gateways_of_other_names_have_nothing_in_common(store: Store) -> None:
    """One store serves several of them."""
    one, other = InRedis(store.url, replica="r", name="one"), InRedis(store.url, replica="r", name="other")
    ears = await joined(one, other)
    one.say(b"for us")
    await until(lambda: bool(ears[0].words))
    await one.hold([Hold("x", 5.0, 5.0, 10.0, 60.0)])
    (grant,), replicas = await other.hold([Hold("x", 0.0, 10.0, 10.0, 60.0)])
    assert grant.amount == 10.0 and replicas == 1 and not ears[1].words
    await one.close()
    await other.close()
