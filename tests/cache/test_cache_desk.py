"""The desk with a store that answers when it is told to: what happens while nobody knows yet."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from unbroken.bus import Bus
from unbroken.cache import Desk
from unbroken.cache.entries import Entry
from unbroken.cache.store import Found
from unbroken.core.board import Board
from unbroken.core.flight import Finished
from unbroken.engine import Drive, Engine
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Caching, Policy, Route
from unbroken.testing import ManualClock
from unbroken.types import Delta, Finish, Message, Request, Target, Text, Usage
from unbroken.work import Chat

TARGET = Target(name="a/m", provider="a", model="m", base_url="http://127.0.0.1:1/v1")
ROUTE = Route(name="m", targets=(TARGET,), policy=Policy(cache=Caching(ttl_s=10.0, stale_s=10.0)))
ENTRY = Entry(deltas=(Delta(text="kept"),), target="a/m", provider="a", model="m", flight="f0", usage=Usage())
ANSWER = (Delta(text="new"), Delta(finish=Finish.STOP, usage=Usage()))
END = Finished(TARGET, 1, failover=False, rescued=False)


@dataclass
class LateStore:
    """Answers when it is told to."""

    waiting: list[Callable[[Found], None]] = field(default_factory=list)
    put_there: dict[str, Entry] = field(default_factory=dict)

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        self.waiting.append(ready)

    def put(self, key: str, entry: Entry, *, keep_s: float) -> bool:
        assert keep_s == 20.0
        self.put_there[key] = entry
        return True


@dataclass
class Ear:
    text: str = ""
    end: Finished | None = None

    def show(self, deltas: Sequence[Delta]) -> None:
        self.text += "".join(delta.text for delta in deltas)

    def finish(self, end: Finished) -> None:
        self.end = end


class Sky(Engine):
    """An engine whose flights are flown by hand."""

    def __init__(self, clock: ManualClock) -> None:
        transport: Any = None
        super().__init__(board=Board(Random(1)), transport=transport, clock=clock, bus=Bus(), draw=Random(1))
        self.flown: list[Any] = []
        self.routes: list[Route] = []
        self.cancelled = 0

    def take_off(self, request: Request, route: Route, *, caller: Any, flight_id: str) -> Drive:
        self.flown.append(caller)
        self.routes.append(route)
        return self

    left_out: Any = {}  # noqa: RUF012 - it stands for a drive too

    @property
    def flight(self) -> Any:
        return self

    def so_far(self) -> Finished:
        return END

    def cancel(self) -> None:
        self.cancelled += 1

    def pause(self) -> None:
        return None

    def resume(self) -> None:
        return None


@dataclass
class World:
    clock: ManualClock = field(default_factory=ManualClock)
    store: LateStore = field(default_factory=LateStore)

    def __post_init__(self) -> None:
        self.sky = Sky(self.clock)
        self.desk = Desk(self.sky, self.store)

    def ask(self, words: str = "Hello", *, route: Route = ROUTE) -> tuple[Drive, Ear]:
        chat, ear = Chat(messages=(Message(role="user", parts=(Text(words),)),)), Ear()
        drive = self.desk.fly(Request(model="m", read=lambda: chat), route, caller=ear, flight_id=f"f-{words}")
        assert drive is not None
        return drive, ear


def play(scene: Callable[[World], Awaitable[None]]) -> None:
    async def go() -> None:
        await scene(World())

    asyncio.run(go())


def test_whoever_asks_while_the_store_is_looked_into_waits_for_the_same() -> None:
    """The store is asked once, and what it finds is given to all."""

    async def scene(on: World) -> None:
        ears = [on.ask()[1] for _ in range(3)]
        assert len(on.store.waiting) == 1
        on.store.waiting[0]((ENTRY, 5.0))
        await asyncio.sleep(0)
        assert [ear.text for ear in ears] == ["kept"] * 3
        assert on.sky.flown == []
        on.ask()
        assert len(on.store.waiting) == 2

    play(scene)


def test_a_flight_takes_off_once_the_store_knows_nothing() -> None:
    """Its answer goes to all who waited, and into the store."""

    async def scene(on: World) -> None:
        ears = [on.ask()[1] for _ in range(2)]
        on.store.waiting[0](None)
        on.store.waiting[0]((ENTRY, 5.0))  # a second word of the store's is not listened to
        await asyncio.sleep(0)
        (caller,) = on.sky.flown
        caller.show(ANSWER)
        caller.finish(END)
        assert [ear.text for ear in ears] == ["new", "new"]
        assert [ear.end.cache for ear in ears if ear.end] == ["miss", "merged"]
        assert [entry.deltas for entry in on.store.put_there.values()] == [ANSWER]

    play(scene)


def test_nothing_takes_off_when_everybody_has_left() -> None:
    """While the store was looked into the last caller hung up."""

    async def scene(on: World) -> None:
        drive, _ = on.ask()
        drive.cancel()
        on.store.waiting[0](None)
        assert on.sky.flown == []
        on.ask()
        assert len(on.store.waiting) == 2

    play(scene)


def test_the_last_who_leaves_ends_the_flight() -> None:
    """And whoever asks afterwards does not wait for it."""

    async def scene(on: World) -> None:
        drive, _ = on.ask()
        on.store.waiting[0](None)
        drive.cancel()
        assert on.sky.cancelled == 1
        on.ask()
        assert len(on.store.waiting) == 2

    play(scene)


def test_with_an_old_answer_in_hand_retries_are_left_out() -> None:
    """The flight is told to ask nobody twice; its failure gives way to the old answer."""

    async def scene(on: World) -> None:
        _, ear = on.ask()
        on.store.waiting[0]((ENTRY, 15.0))
        await asyncio.sleep(0)
        assert on.sky.routes[0].policy.retries.same_target_max == 0
        failure = Failure(kind=FailureKind.SERVER, message="no")
        on.sky.flown[0].finish(Finished(None, 1, failover=False, rescued=False, failure=failure))
        assert ear.text == "kept"
        assert ear.end is not None
        assert (ear.end.cache, ear.end.age_s, ear.end.failure) == ("stale", 15.0, None)
        assert on.store.put_there == {}

    play(scene)


def test_what_is_gone_is_not_given() -> None:
    """A store may still have what is older than stale."""

    async def scene(on: World) -> None:
        _, ear = on.ask()
        on.store.waiting[0]((ENTRY, 20.0))
        failure = Failure(kind=FailureKind.SERVER, message="no")
        await asyncio.sleep(0)
        on.sky.flown[0].finish(Finished(None, 1, failover=False, rescued=False, failure=failure))
        assert ear.end is not None
        assert ear.end.failure is failure
        assert on.sky.routes[0].policy.retries.same_target_max == 1

    play(scene)


def test_different_limits_do_not_share_a_flight() -> None:
    """Whoever is in a hurry gives up for himself alone."""

    async def scene(on: World) -> None:
        hurried = Route(
            name="m", targets=ROUTE.targets,
            policy=Policy(cache=ROUTE.policy.cache, deadlines=ROUTE.policy.deadlines.merged({"total_s": 1.0})),
        )  # fmt: skip
        on.ask()
        on.ask(route=hurried)
        on.ask(route=hurried)
        assert len(on.store.waiting) == 2

    play(scene)
