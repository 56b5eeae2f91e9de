"""The scenes of chaos: what is taken away from gateways, when, and what has to come back.

Each is a function of its props; its docstring is what it is about.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

from benchmarks.chaos_callers import Door
from benchmarks.chaos_checks import Evidence
from benchmarks.chaos_parts import Clock, Database, Network, Store, slow_disk, small_disk, tree
from benchmarks.chaos_town import BUDGET, FLUSH_S, LIMIT, Plan, Town, hours_in, town

__all__ = ["SCENES", "Props", "Scene"]

Undo = Callable[[], Awaitable[None]]

FEW, MANY = 120, 300
"""Requests before and after a fault, and under it."""
ROUNDS = 4
SHARE = 0.25
LOST = {"limit": int(SHARE * LIMIT), "budget": int(SHARE * BUDGET)}
"""Who is killed while there is no store takes along what it has spent, and whoever follows has a share once more."""
WAITING = MANY // 4
"""Of these, each of two gateways keeps as many at least while they cannot be written."""
KILLED_S = 4 * FLUSH_S
"""A record is written `flush_s` after its request at the latest, and a busy machine takes its time."""


@dataclass
class Props:
    """What a scene has: a folder, what is to be undone at its end, and how it stands."""

    folder: Path
    undo: ExitStack
    say: Callable[[str], None]
    seed: int
    seen: Evidence = field(default_factory=Evidence)

    def town(self, plan: Plan) -> contextlib.AbstractAsyncContextManager[Town]:
        """The town of this plan."""
        return town(plan, say=self.say, seed=self.seed, evidence=self.seen)

    async def store(self, network: Network | None = None, *, options: Sequence[str] = ()) -> Store:
        """A store that runs, here or in that network."""
        store = Store(self.folder, network, options=options)
        self.undo.callback(store.kill)
        await asyncio.to_thread(store.start)
        return store

    async def database(self, network: Network | None = None) -> Database:
        """A database that runs, here or in that network."""
        self.say("a database is made")
        database = await asyncio.to_thread(Database, network)
        self.undo.callback(database.remove)
        await asyncio.to_thread(database.start)
        return database

    def network(self, cables: int) -> Network:
        """A host of its own, behind so many cables."""
        network = Network(cables)
        self.undo.callback(network.remove)
        return network


# ------------------------------------------------------------------------- processes


async def replica_killed(props: Props) -> None:
    """One of two replicas is killed, and comes back."""
    store = await props.store()
    async with props.town(Plan(gateways=2, stores=[store.url()] * 2, spare={"budget": 8})) as place:
        first, other = place.doors
        props.seen.window_s = KILLED_S
        await place.requests(FEW, "all is well")
        place.kill(first)
        await place.requests(MANY, "one replica is dead")
        await place.connected(replicas=1, doors=[other])
        await place.start(first)
        await place.connected(replicas=2)
        await place.requests(FEW, "it is back")
        await place.agree()


async def worker_killed(props: Props) -> None:
    """Of two workers each is killed, one after the other, and replaced."""
    async with props.town(Plan(workers=2, spare={"budget": 8})) as place:
        door, parent = place.doors[0], place.gateways["gateway A"].pid
        props.seen.window_s = KILLED_S
        for number in range(2):
            await place.requests(FEW, "all is well")
            before = tree(parent)[1:]
            place.callers.ended(door, serves=True)
            os.kill(before[0], signal.SIGKILL)
            await place.requests(FEW, f"worker {number + 1} is dead")
            await place.until(partial(are_new, parent, gone=before[0]), "another worker takes its place")
        await place.connected(replicas=2)
        await place.requests(FEW, "both are new")


async def parent_killed(props: Props) -> None:
    """The parent of two workers is killed: they finish and stop, and another machine goes on."""
    store = await props.store()
    plan = Plan(gateways=2, workers=2, stores=[store.url()] * 2, spare={"budget": 12})
    async with props.town(plan) as place:
        first = place.doors[0]
        props.seen.window_s = KILLED_S
        await place.requests(FEW, "all is well")
        workers = tree(place.gateways[first.name].pid)[1:]
        place.kill(first)
        await place.requests(MANY, "a parent is dead")
        await place.until(lambda: not any(alive(pid) for pid in workers), "its workers end")
        await place.start(first)
        await place.connected(replicas=4)
        await place.requests(FEW, "it is back")
        await place.agree()


# ------------------------------------------------------------------------- the store


async def store_killed(props: Props) -> None:
    """The store is killed, and comes back with nothing in it."""
    await _without_store(props, Store.kill, back=Store.start)


async def store_hangs(props: Props) -> None:
    """The store takes connections and says nothing, and then goes on."""
    await _without_store(props, Store.stall, back=Store.go_on)


async def _without_store(props: Props, away: Callable[[Store], None], *, back: Callable[[Store], None]) -> None:
    store = await props.store()
    plan = Plan(gateways=2, stores=[store.url()] * 2, spare={"limit": LIMIT // 2, "budget": 8})
    async with props.town(plan) as place:
        await place.requests(FEW, "all is well")
        away(store)
        await place.requests(MANY, "there is no store")
        await place.connected(replicas=0)
        await asyncio.to_thread(back, store)
        await place.connected(replicas=2)
        await place.requests(FEW, "it is back")
        await place.agree()


async def store_disk_full(props: Props) -> None:
    """The store's disk is full: it takes nothing, and goes on telling; then there is room."""
    disk = props.undo.enter_context(small_disk(props.folder / "small"))
    written = ["--appendonly", "yes", "--dir", str(disk.folder)]
    store = await props.store(options=written)
    plan = Plan(gateways=2, stores=[store.url()] * 2, spare={"limit": LIMIT // 2, "budget": 8})
    async with props.town(plan) as place:
        await place.requests(FEW, "all is well")
        disk.fill()
        await place.requests(MANY, "the store cannot write")
        disk.free()
        await place.connected(replicas=2)
        await place.requests(FEW, "it can write again")
        await place.agree()


async def network_cut(props: Props) -> None:
    """The cable between one of two replicas and the store is pulled out, then the other one's, then both are back."""
    network = props.network(2)
    store = await props.store(network)
    stores = [store.url(network.host(cable)) for cable in range(2)]
    plan = Plan(gateways=2, stores=stores, spare={"limit": LIMIT // 2, "budget": BUDGET // 2})
    async with props.town(plan) as place:
        first, other = place.doors
        await place.requests(FEW, "all is well")
        network.cut(0)
        await place.requests(FEW, "one replica is cut off")
        await place.connected(replicas=0, doors=[first])
        await place.connected(replicas=1, doors=[other])
        network.cut(1)
        await place.requests(FEW, "both are cut off")
        await place.connected(replicas=0)
        network.mend(0)
        network.mend(1)
        await place.connected(replicas=2)
        await place.requests(FEW, "both are back")
        await place.agree()


# ---------------------------------------------------------------------- the database


async def database_killed(props: Props) -> None:
    """The ledger's PostgreSQL is killed, and comes back."""
    await _without_database(props, Database.kill, back=Database.start)


async def database_hangs(props: Props) -> None:
    """The ledger's PostgreSQL hangs, as on a disk that does, and goes on."""
    await _without_database(props, Database.stall, back=Database.go_on)


async def _without_database(
    props: Props, away: Callable[[Database], None], *, back: Callable[[Database], None]
) -> None:
    database = await props.database()
    async with props.town(Plan(gateways=2, ledger=database.url, spare=APART)) as place:
        await place.requests(FEW, "all is well")
        away(database)
        await place.requests(MANY, "there is no database")
        await waits(place)
        await asyncio.to_thread(back, database)
        await place.requests(FEW, "it is back")
        await written(place)


async def database_cut(props: Props) -> None:
    """The cable to PostgreSQL is pulled out; so little may wait for it that records are lost, and it says how many."""
    network = props.network(1)
    database = await props.database(network)
    async with props.town(Plan(gateways=2, ledger=database.url, queue_max=50, spare=APART)) as place:
        await place.requests(FEW, "all is well")
        network.cut(0)
        await place.requests(MANY, "the database is cut off")
        await place.until(lambda: drops(place), "records are dropped and counted")
        network.mend(0)
        await place.requests(FEW, "it is back")
        await written(place)


# ------------------------------------------------------------------- disks and clocks


async def disk_full(props: Props) -> None:
    """The disk with the ledger and the log is full; then there is room."""
    disk = props.undo.enter_context(small_disk(props.folder / "small"))
    plan = Plan(ledger=str(disk.folder / "ledger.db"), log=disk.folder)
    async with props.town(plan) as place:
        await place.requests(FEW, "all is well")
        disk.fill()
        await place.requests(MANY, "the disk is full")
        await place.until(lambda: says_why(place), "the ledger says why it is not written")
        disk.free()
        await place.requests(FEW, "there is room")
        await written(place)


async def disk_slow(props: Props) -> None:
    """The ledger's disk takes ten writes a second, and then as many as it can."""
    disk = props.undo.enter_context(slow_disk(props.folder / "slow"))
    async with props.town(Plan(ledger=str(disk.folder / "ledger.db"))) as place:
        gateway = place.gateways["gateway A"].pid
        await place.requests(FEW, "all is well")
        disk.slow_for(gateway, writes_a_second=10)
        await place.requests(MANY, "the disk is slow")
        await waits(place)
        disk.slow_for(gateway, writes_a_second=0)
        await place.requests(FEW, "it is fast")
        await written(place)


async def clock_jumps(props: Props) -> None:
    """The time of day of one replica jumps an hour ahead, two back, a day ahead, and back to what it was."""
    clock, store = Clock(props.folder / "clock"), await props.store()
    steady = Clock(props.folder / "steady")
    plan = Plan(
        gateways=2, stores=[store.url()] * 2, environs=[clock.environ, steady.environ], spare={"budget": BUDGET + 8}
    )
    async with props.town(plan) as place:
        await place.requests(FEW, "all is well")
        for what, hours in (("an hour ahead", 1), ("an hour back", -1), ("a day ahead", 24), ("as it was", 0)):
            clock.ahead(3600.0 * hours)
            await place.requests(FEW, f"the clock is {what}")
            await place.connected(replicas=2)
        await place.agree()
        await written(place)
        place.expect("hours by its clock", hours_in(place.ledger), wanted=[11, 12, 13, 36])


async def everything(props: Props) -> None:
    """Gateways, their workers, store and database in any order, two of them at a time."""
    store, database, draw = await props.store(), await props.database(), Random(props.seed)
    plan = Plan(gateways=2, workers=2, stores=[store.url()] * 2, share=SHARE, ledger=database.url, spare=LOST)
    async with props.town(plan) as place:
        props.seen.window_s = KILLED_S
        for number in range(ROUNDS):
            await place.requests(FEW // 2, f"round {number + 1}: all is well")
            undo = [_take_away(store, draw), _take_away(database, draw) if number % 2 else await _kill(place, draw)]
            await place.requests(FEW, f"round {number + 1}: half of it is gone")
            for bring_back in undo:
                await bring_back()
            await place.connected(replicas=4)
            for door in place.doors:
                await place.until(partial(_records, place, door), "the ledger is written again")
        await place.agree()
        await written(place)


def _take_away(served: Store | Database, draw: Random) -> Undo:
    """Kill it, or let it hang; how it comes back."""
    if draw.random() < 0.5:
        served.kill()
        return lambda: asyncio.to_thread(served.start)
    served.stall()
    return lambda: asyncio.to_thread(served.go_on)


async def _kill(place: Town, draw: Random) -> Undo:
    """Kill a gateway, or one of its workers; how it comes back."""
    door = draw.choice(place.doors)
    place.spare.update(LOST)
    if draw.random() < 0.5:
        place.spare.update(LOST)
        place.kill(door)
        return lambda: place.start(door)
    place.callers.ended(door, serves=True)
    os.kill(draw.choice(tree(place.gateways[door.name].pid)[1:]), signal.SIGKILL)
    return partial(asyncio.sleep, 0.0)  # its parent sees to it


async def _records(place: Town, door: Door) -> bool:
    """Whether a gateway writes its ledger."""
    state = await place.ledger_state(door)
    return bool(state and not state["error"])


APART = {"limit": LIMIT, "budget": 60}
"""Two gateways without a store: each has the limit and the budget for itself."""


def alive(pid: int) -> bool:
    """Whether a process runs, and is more than what is left of one."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    return False


async def says_why(place: Town) -> bool:
    """Whether it is known that the ledger cannot be written."""
    return bool((await place.ledger_state()).get("error"))


async def waits(place: Town) -> None:
    """It has to be seen that records wait to be written, or nothing was tried."""
    queued = (await place.ledger_state()).get("queued", 0)
    place.expect("records that waited", queued >= WAITING, wanted=True)


async def drops(place: Town) -> bool:
    """Whether records were dropped that could not wait."""
    return bool((await place.ledger_state()).get("dropped"))


async def written(place: Town) -> None:
    """Wait until nothing waits for the ledger any more."""
    place.say("until the ledger is written")
    place.callers.stop()
    for door in place.doors:
        await place.until(partial(is_written, place, door), "the ledger is written")


async def is_written(place: Town, door: Door) -> bool:
    """Whether nothing waits for the ledger at this gateway."""
    state = await place.ledger_state(door)
    return bool(state.get("queued") == 0 and not state["error"])


def are_new(parent: int, *, gone: int) -> bool:
    """Whether a parent has two workers again, without this one."""
    workers = tree(parent)[1:]
    return len(workers) == 2 and gone not in workers


Scene = Callable[[Props], Awaitable[None]]
SCENES: Sequence[Scene] = (
    replica_killed, worker_killed, parent_killed, store_killed, store_hangs, store_disk_full, network_cut,
    database_killed, database_hangs, database_cut, disk_full, disk_slow, clock_jumps, everything,
)  # fmt: skip
