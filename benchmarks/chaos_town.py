"""The town in which chaos is made: four providers, gateways as processes of their own, and callers.

    async with town(Plan(gateways=2, store=store.url())) as place:
        await place.requests(300)
        place.kill(place.doors[0])
        ...
    place.evidence      what all of them have seen, when everybody has gone

Of the providers one is `limited` to so many requests a minute, one is `flaky`: it breaks a sixth of its answers in
any way that there is; `steady` is always well, so no caller has to see an error; and `purse` costs a cent a request,
of which paupers have a budget.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from benchmarks.chaos_callers import CALLER, PAUPER, Callers, Door
from benchmarks.chaos_checks import Account, Evidence, most_in
from benchmarks.soak_checks import Check
from benchmarks.soak_traffic import short_answer
from benchmarks.stage import Program, Scene, free_port, stage

from unbroken.testing import (
    Cut,
    Empty,
    ErrorEvent,
    FakeProvider,
    Html,
    Malformed,
    Refused,
    Reset,
    Speed,
    Status,
    Trouble,
)

__all__ = ["BUDGET", "FLUSH_S", "LIMIT", "NeverError", "Plan", "Town", "hours_in", "town"]

OPERATOR = "chaos-operator-key"
CALLERS, PAUPERS = 10, 2
LIMIT = 200
"""Requests a minute that the first provider's key may make."""
BUDGET = 60
"""Cents a day that paupers have."""
FLUSH_S = 0.5
PATIENCE_S = 90.0
"""Who waits so long waits in vain."""
SPEED = Speed(first_token_s=0.01, tokens_per_s=400.0)
TROUBLES: Sequence[Trouble] = (
    Refused(), Status(500), Status(503), Status(429), Reset(), Cut(after_tokens=3), Cut(after_tokens=12, clean=True),
    ErrorEvent(after_tokens=8), Malformed(after_tokens=6), Html(), Empty(),
)  # fmt: skip
TROUBLE_S = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a scene wants: so many gateways (with so many workers), a store for each, a ledger, what it adds to it.

    `share` is what each may spend of a limit without the store; else the gateways find out.
    """

    gateways: int = 1
    workers: int = 1
    stores: Sequence[str] = ()
    share: float | None = None
    ledger: str = ""
    queue_max: int = 10_000
    environs: Sequence[Mapping[str, str]] = ()
    log: Path | None = None
    spare: Mapping[str, int] = field(default_factory=dict)
    """By how much the limit and the budget may be exceeded."""


@dataclass
class Town:
    """One scene under way."""

    plan: Plan
    scene: Scene
    providers: Mapping[str, FakeProvider]
    callers: Callers
    evidence: Evidence
    say: Callable[[str], None]
    gateways: dict[str, Program] = field(default_factory=dict)
    spare: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.spare.update(self.plan.spare)

    @property
    def doors(self) -> list[Door]:
        """The gateways as callers know them."""
        return self.callers.doors

    @property
    def ledger(self) -> str:
        """Where it is kept."""
        return self.plan.ledger or str(self.scene.folder / "ledger.db")

    # -- what happens

    async def requests(self, number: int, what: str) -> None:
        """Wait until so many more are over."""
        self.say(what)
        goal = self.callers.done + number
        await self.until(lambda: self.callers.done >= goal, f"{what}: {number} requests")

    async def until(self, met: Callable[[], bool | Awaitable[bool]], what: str) -> None:
        """Wait for something; that it never comes is a promise broken."""
        ends = time.monotonic() + PATIENCE_S
        while True:
            found = met()
            if found if isinstance(found, bool) else await found:
                return
            if time.monotonic() > ends:
                raise NeverError(what)
            await asyncio.sleep(0.05)

    async def start(self, door: Door) -> None:
        """Its gateway, for the first time or again."""
        number, plan = self.doors.index(door), self.plan
        command = [sys.executable, "-m", "unbroken", "serve", "--config", str(self.scene.folder / "unbroken.yaml")]
        more = ["--no-watch", "--log-level", "warning", "--port", door.url.rpartition(":")[2]]
        more += ["--workers", str(plan.workers)] if plan.workers > 1 else []
        environ = dict(plan.environs[number]) if plan.environs else {}
        if plan.stores:
            environ["UNBROKEN_STORE"] = plan.stores[number]
        log = (plan.log or self.scene.folder) / f"{door.name}-{door.ends}.log"
        port = int(door.url.rpartition(":")[2])
        program = await asyncio.to_thread(Program, [*command, *more], port=port, log=log, environ=environ)
        self.scene.programs.append(program)
        self.gateways[door.name], door.open = program, True

    def kill(self, door: Door) -> None:
        """SIGKILL to a gateway, or to the parent of its workers."""
        self.callers.ended(door)
        os.kill(self.gateways[door.name].pid, signal.SIGKILL)

    async def ask(self, door: Door, path: str, *, method: str = "GET") -> Any:
        """What an operator is told at this door; None where nobody answers."""
        headers = {"authorization": f"Bearer {OPERATOR}"}
        try:
            async with aiohttp.ClientSession() as session, session.request(
                method, door.url + path, headers=headers, timeout=aiohttp.ClientTimeout(total=10)
            ) as answer:  # fmt: skip
                return await answer.json() if answer.status == 200 else None
        except (aiohttp.ClientError, OSError, TimeoutError):
            return None

    async def connected(self, *, replicas: int, doors: Sequence[Door] = ()) -> None:
        """Wait until these gateways know of so many; 0 for those who are alone."""
        self.say(f"until {replicas or 'no'} replicas know each other")

        async def know() -> bool:
            found = [(await self.ask(door, "/admin/status") or {}).get("replica") for door in doors or self.doors]
            if not replicas:
                return all(one is not None and not one["connected"] for one in found)
            return all(one is not None and one["connected"] and one["replicas"] == replicas for one in found)

        await self.until(know, f"{replicas} replicas know each other")

    async def agree(self) -> None:
        """A target that is switched off at the first gateway is off at all of them, and on again."""
        first, name = self.doors[0], "flaky/words"
        for act, enabled in (("disable", False), ("enable", True)):
            self.say(f"until all know of an operator's switch: {act}")
            await self.ask(first, f"/admin/targets/{name}/{act}", method="POST")

            await self.until(partial(self._know, name, enabled=enabled), f"a switch is known: {act}")

    async def _know(self, target: str, *, enabled: bool) -> bool:
        for door in self.doors:
            told = await self.ask(door, "/admin/status") or {"targets": []}
            if [one["enabled"] for one in told["targets"] if one["name"] == target] != [enabled]:
                return False
        return True

    async def ledger_state(self, door: Door | None = None) -> dict[str, Any]:
        """What a gateway says of its ledger; the first one unless another is named."""
        told = await self.ask(door or self.doors[0], "/admin/status")
        return told["sinks"]["ledger"] if told else {}

    def expect(self, what: str, found: object, *, wanted: object) -> None:
        """One more promise of this scene."""
        self.evidence.expected.append(Check(what=what, found=str(found), limit=str(wanted), good=found == wanted))

    # -- its end

    async def close(self) -> None:
        """Let everybody go, and gather what they have seen."""
        for program in self.gateways.values():
            os.kill(program.pid, signal.SIGTERM)
        await self.until(lambda: not any(each.alive for each in self.gateways.values()), "all gateways end")
        callers, seen = self.callers, self.evidence
        seen.answers, seen.wrong, seen.refused = callers.answers, callers.wrong, callers.refused
        seen.again, seen.cut_at_most = callers.again, callers.cut_at_most
        seen.killed_at_s = {door.name: door.ended_at_s for door in self.doors if door.ends}
        limited = [each.started for each in self.providers["limited"].seen]
        spent = sum(each.usage is not None for each in self.providers["purse"].seen)
        seen.accounts = [
            Account(name="of a limit a minute", seen=most_in(limited), limit=LIMIT, spare=self.spare["limit"]),
            Account(name="cents of a budget", seen=spent, limit=BUDGET, spare=self.spare["budget"]),
        ]
        seen.recorded, seen.unrecorded, seen.damage = read_ledger(self.ledger)


class NeverError(Exception):
    """Something that was promised has not come."""


def configuration(providers: Mapping[str, FakeProvider], plan: Plan, *, ledger: str) -> str:
    """The file of all gateways; JSON is YAML."""
    more: Mapping[str, Any] = {
        "limited": {"limits": {"requests_per_min": LIMIT}}, "purse": {"price": {"request_usd": 0.01}},
    }  # fmt: skip
    told: dict[str, Any] = {
        "server": {"keys": [CALLER, PAUPER], "admin_keys": [OPERATOR], "grace_s": 20},
        "ledger": {"url": ledger, "queue_max": plan.queue_max, "flush_s": FLUSH_S},
        "providers": {
            name: {"base_url": each.base_url, "keys": [f"sk-{name}"], "model": "words", **more.get(name, {})}
            for name, each in providers.items()
        },
        "routes": {
            "words": {"targets": ["limited/words", "flaky/words", "steady/words"]},
            "purse": {"targets": ["purse/words"]},
        },
        "budgets": [{"key": PAUPER, "usd_per_day": BUDGET / 100}],
        "defaults": {
            "deadlines": {"connect_s": 10, "first_byte_s": 20, "first_content_s": 20, "gap_s": 20},
            "breaking": {"open_s": 0.5, "open_s_max": 1},
        },
    }  # fmt: skip
    if plan.share is not None:
        told["store"] = {"url": plan.stores[0], "share": plan.share}
    return json.dumps(told)


def read_ledger(place: str) -> tuple[set[str], int, str]:
    """The ids in a ledger, how many it says that it lacks, and what is broken in it."""
    if place.startswith("postgresql"):
        import psycopg  # noqa: PLC0415 - only where there is such a database

        with psycopg.connect(place, connect_timeout=10) as database:
            found = {row[0] for row in database.execute("SELECT id FROM requests")}
            return found, _gaps(database.execute("SELECT sum(dropped) FROM gaps").fetchone()), ""
    with closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as file:
        said = file.execute("PRAGMA integrity_check").fetchone()[0]
        found = {row[0] for row in file.execute("SELECT id FROM requests")}
        return found, _gaps(file.execute("SELECT sum(dropped) FROM gaps").fetchone()), "" if said == "ok" else said


def hours_in(file: str) -> list[int]:
    """The hours in which the requests of a ledger came, counted from the midnight before the first of them."""
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as ledger:
        hours = sorted({int(row[0]) // 3_600_000 for row in ledger.execute("SELECT at_ms FROM requests")})
    return [hour - hours[0] // 24 * 24 for hour in hours]


def _gaps(row: Sequence[Any] | None) -> int:
    return int(row[0] or 0) if row else 0


async def _trouble(flaky: FakeProvider, draw: Random) -> None:
    """For ever: something is wrong with one of its answers, or with all of them for a moment."""
    while True:
        await asyncio.sleep(TROUBLE_S * draw.random())
        trouble = draw.choice(TROUBLES)
        if isinstance(trouble, Refused):
            flaky.fail_with(trouble)
            await asyncio.sleep(TROUBLE_S)
            flaky.heal()
        else:
            flaky.fail_with(trouble, times=2)


@asynccontextmanager
async def town(plan: Plan, *, say: Callable[[str], None], seed: int, evidence: Evidence) -> AsyncIterator[Town]:
    """Everything is started, and callers come; in the end everything is gone but the evidence."""
    async with AsyncExitStack() as stack:
        scene = stack.enter_context(stage())
        providers = {
            name: await stack.enter_async_context(FakeProvider(name, speed=SPEED, answer=short_answer))
            for name in ("limited", "flaky", "steady", "purse")
        }
        doors = [Door(f"gateway {name}", f"http://127.0.0.1:{free_port()}") for name in "ABCD"[: plan.gateways]]
        callers = Callers(doors=doors, number=CALLERS, paupers=PAUPERS, seed=seed)
        place = Town(plan, scene, providers, callers, evidence, say=say)
        (scene.folder / "unbroken.yaml").write_text(
            configuration(providers, plan, ledger=place.ledger), encoding="utf-8"
        )
        await asyncio.gather(*(place.start(door) for door in doors))
        if plan.stores:
            await place.connected(replicas=plan.gateways * plan.workers)
        coming = asyncio.create_task(callers.run())
        troubling = asyncio.create_task(_trouble(providers["flaky"], Random(seed)))
        try:
            yield place
            callers.stop()
            async with asyncio.timeout(PATIENCE_S):
                await coming
            say("the end")
            await place.close()
        finally:
            for task in (coming, troubling):
                task.cancel()
            await asyncio.gather(coming, troubling, return_exceptions=True)
