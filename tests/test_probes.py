"""Probes over real sockets: what a gateway finds out about its providers beside callers' requests."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from faces.running import config_for, running
from loops import in_loop
from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.core.breaker import State
from unbroken.core.health import Condition, health_of
from unbroken.engine import Engine, Finished
from unbroken.faces.asgi import App
from unbroken.faces.gateway import Gateway
from unbroken.facts import Fact, Probed
from unbroken.failures import FailureKind
from unbroken.inquiry import free, word
from unbroken.policy import Probing
from unbroken.probes import Prober, posts_of
from unbroken.testing import FakeProvider, Hang, Html, Page, Refused, Status
from unbroken.types import Chat, Message, Request, Target, Task, Text

PROBE = {"every_s": 30, "jitter": 0, "timeout_s": 5}


class Caller:
    """Somebody who asks, and hears how it ended."""

    def __init__(self) -> None:
        self.end: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()

    def show(self, deltas: Any) -> None:
        """What is said does not matter here."""

    def finish(self, end: Finished) -> None:
        self.end.set_result(end)


class Facts:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.seen: list[Fact] = []

    def write(self, facts: list[Fact]) -> None:
        self.seen += facts


class Clock:
    """The real one, which can be put forward."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return monotonic() + self.ahead_s


class Station:
    """An engine with its prober, and a clock that is put forward to when something is due."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.engine = engine(config, seed=1)
        self.clock = Clock()
        self.engine.clock = self.clock
        self.facts = Facts()
        self.engine.bus.add(self.facts)
        assert isinstance(self.engine.prober, Prober)
        self.prober = self.engine.prober
        self.prober.start()

    async def probe(self, after_s: float = 30.0) -> None:
        """Let time pass, and every question that is due by then be asked and answered."""
        self.engine.bus.flush()
        self.clock.ahead_s += after_s
        self.prober._wake()
        while self.prober._tasks:
            await asyncio.gather(*self.prober._tasks)

    async def ask(self) -> str:
        """A caller's request; who answered."""
        said = Chat(messages=(Message(role="user", parts=(Text("Hello"),)),), max_tokens=5)
        request = Request(model="m", prompt_chars=5, max_tokens=5, read=lambda: said)
        caller = Caller()
        self.engine.fly(request, self.config.routes["m"], caller=caller, flight_id="f")
        end = await caller.end
        self.engine.bus.flush()
        return end.target.name if end.target else str(end.failure)

    def condition(self, at: int = 0) -> Condition:
        target = self.config.routes["m"].targets[at]
        return health_of(self.engine.board, [target], now=self.clock())[0].condition

    @property
    def probed(self) -> list[Probed]:
        self.engine.bus.flush()
        return [fact for fact in self.facts.seen if isinstance(fact, Probed)]


@asynccontextmanager
async def station(
    tmp: Path, providers: list[FakeProvider], *, probe: dict[str, Any] | None = None, **provider: Any
) -> AsyncIterator[Station]:  # fmt: skip
    """These providers, in this order, on one route."""
    for fake in providers:
        await fake.start()
    config = config_for(providers, tmp, provider={"probe": PROBE if probe is None else probe, **provider})
    there = Station(config)
    try:
        yield there
    finally:
        await there.engine.close()
        for fake in providers:
            await fake.close()


NORTH, SOUTH = "north/word-model", "south/word-model"


# ------------------------------------------------------------------------- free questions


@in_loop
async def test_a_dead_primary_is_found_and_its_return_noticed_for_nothing(tmp_path: Path) -> None:
    """It dies and comes back while nobody asks it anything: no caller waits for it, and the next one goes there."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with station(tmp_path, [north, south]) as there:
        assert await there.ask() == NORTH
        north.fail_with(Refused())
        await there.probe()
        assert there.condition() is Condition.HEALTHY, "it has worked since it was last asked"
        await there.probe()
        assert there.condition() is Condition.DEGRADED
        for _ in range(2):
            await there.probe(10.0)
        assert there.condition() is Condition.OPEN
        assert await there.ask() == SOUTH and len(north.seen) == 1
        for _ in range(5):
            await there.probe(30.0)
            assert await there.ask() == SOUTH
        assert len(north.seen) == 1, "no caller was sent to find out"
        north.heal()
        await there.probe(60.0)
        assert await there.ask() == NORTH
        assert there.condition() is Condition.RECOVERING


@in_loop
async def test_a_wrong_key_is_found_before_any_traffic(tmp_path: Path) -> None:
    """The first caller is not sent with a key that the list of models has refused; a key that is mended is used."""
    north, south = FakeProvider("north", keys=["another"]), FakeProvider("south")
    async with station(tmp_path, [north, south]) as there:
        await there.probe()
        (found, _) = health_of(there.engine.board, there.config.targets, now=there.clock())
        assert found.condition is Condition.COOLING_DOWN and found.worst.name == "north#1"
        assert found.cause is not None and found.cause.kind is FailureKind.AUTH and found.cause.probed
        assert "sk-north" not in found.cause.message
        assert await there.ask() == SOUTH and north.seen == []
        north.keys = ["sk-north"]
        await there.probe()
        assert await there.ask() == NORTH


@in_loop
async def test_a_good_list_does_not_hide_a_model_that_fails(tmp_path: Path) -> None:
    """The list of models answers all the time while the model does not: the breaker is open for its whole time."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with station(tmp_path, [north, south], probe={**PROBE, "every_s": 5}) as there:
        north.fail_with(Status(500))
        while there.condition() is not Condition.OPEN:
            await there.ask()
        asked, until = len(north.seen), there.engine.board.standing(there.config.targets[0]).model.breaker.until
        while there.clock() + 1.0 < until:
            await there.probe(1.0)
            assert await there.ask() == SOUTH
            assert there.condition() is Condition.OPEN
        assert north.listed > 0 and len(north.seen) == asked


@in_loop
async def test_a_silent_list_is_not_waited_for(tmp_path: Path) -> None:
    """A question that is not answered in time is over, and a suspicion; only one is under way meanwhile."""
    north, south = FakeProvider("north"), FakeProvider("south")
    probe = {**PROBE, "timeout_s": 0.05, "path": "/health"}
    async with station(tmp_path, [north, south], probe=probe) as there:
        north.fail_with(Hang())
        south.desk.put("GET /health", Page(body=b""))
        there.clock.ahead_s += 30.0
        there.prober._wake()
        there.clock.ahead_s += 600.0
        there.prober._wake()
        await there.probe(0.0)
        assert len(north.seen) == len(south.seen) == 1
        first, second = sorted(there.probed, key=lambda fact: fact.target.name)
        assert first.failure is not None and first.failure.kind is FailureKind.SILENT
        assert first.failure.message == "no answer within 0.05 s"
        assert second.failure is None and second.free
        assert there.condition() is Condition.DEGRADED


@in_loop
async def test_a_page_of_ones_own_says_how_it_is(tmp_path: Path) -> None:
    """`probe.path` is asked at the root of the host with the provider's key; an error there is a suspicion."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with station(tmp_path, [north, south], probe={**PROBE, "path": "/health?full=1"}) as there:
        north.desk.put("GET /health?full=1", Page(status=503, body=b'{"error": {"message": "engine dead"}}'))
        south.desk.put("GET /health?full=1", Page(body=b"fine"))
        await there.probe()
        assert [seen.path for seen in north.seen] == ["/health?full=1"] and north.seen[0].key == "sk-north"
        assert there.condition() is Condition.DEGRADED
        health = health_of(there.engine.board, there.config.targets, now=there.clock())
        assert [one.scopes[0].condition for one in health] == [Condition.DEGRADED, Condition.HEALTHY]
        assert health[0].cause is not None and health[0].cause.message == "engine dead"


@in_loop
async def test_what_tells_nothing_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # fmt: skip
    """A page that is not there is no failure: it is said once, and nothing is noted."""
    north = FakeProvider("north")
    async with station(tmp_path, [north], probe={**PROBE, "path": "/nowhere", "idle_s": 1e6}) as there:
        with caplog.at_level(logging.WARNING, logger="unbroken"):
            await there.probe()
            await there.probe(30.0)
            assert len(north.seen) == 1, "and it is hardly asked again"
            await there.probe(600.0)
        assert len(north.seen) == 2 and there.probed == []
        assert [r.getMessage() for r in caplog.records] == [
            "provider north: its free question tells nothing; give `probe.path`"
        ]
        assert there.condition() is Condition.UNKNOWN


@in_loop
async def test_nobody_is_asked_whom_nobody_wants(tmp_path: Path) -> None:
    """Without callers the questions end, and with them the timer; the next caller starts them again."""
    north = FakeProvider("north")
    async with station(tmp_path, [north], probe={**PROBE, "idle_s": 100}) as there:
        await there.probe(30.0)
        await there.probe(30.0)
        assert north.listed == 2
        await there.probe(100.0)
        assert north.listed == 2 and there.prober._timer is None
        await there.ask()
        assert there.prober._timer is not None
        await there.probe(0.0)
        assert north.listed == 3


# ---------------------------------------------------------------------------------- words


@in_loop
async def test_a_word_is_asked_for_in_place_of_a_caller(tmp_path: Path) -> None:
    """At the half-open moment one token is asked for: while that fails no caller is spent, and then all come back."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with station(tmp_path, [north, south], probe={"billed": True}) as there:
        await there.probe(60.0)
        assert north.seen == [] and north.listed == 0, "nothing is asked of whoever is well"
        north.fail_with(Status(500))
        while there.condition() is not Condition.OPEN:
            await there.ask()
        asked = len(north.seen)
        model = there.engine.board.standing(there.config.targets[0]).model
        for number in (1, 2):
            await there.probe(model.breaker.until - there.clock() - 0.5)
            assert len(north.seen) == asked + number and model.breaker.opens == number + 1
            assert await there.ask() == SOUTH
        assert b'"max_completion_tokens":1' in north.seen[-1].body or b'"max_tokens":1' in north.seen[-1].body
        north.heal()
        await there.probe(model.breaker.until - there.clock() - 0.5)
        assert model.breaker.state is State.RAMPING
        last = there.probed[-1]
        assert not last.free and last.usage is not None and last.usage.output_tokens == 1


@in_loop
async def test_without_leave_no_word_is_asked_for(tmp_path: Path) -> None:
    """Unless `billed` is set the first caller finds out, and nothing is ever sent that costs anything."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with station(tmp_path, [north, south]) as there:
        north.fail_with(Status(500))
        while there.condition() is not Condition.OPEN:
            await there.ask()
        asked = len(north.seen)
        for _ in range(10):
            await there.probe(10.0)
        assert len(north.seen) == asked and all(fact.free for fact in there.probed)


# ------------------------------------------------------------------------------------ keys


class Keys:
    """A keyring with one key, and whether there may be a newer one."""

    def __init__(self) -> None:
        self.key, self.may_be_newer = "old", False

    def authorize(self, target: Target, write: Any, *, ready: Any) -> None:
        ready(write(replace(target, key=self.key)))

    def forget(self, credential: str) -> bool:
        return self.may_be_newer


@in_loop
async def test_a_key_that_is_kept_elsewhere_may_have_a_successor(tmp_path: Path) -> None:
    """A refused key rests for half a minute only, and not at all while a newer one may be there already."""
    keys = Keys()
    async with FakeProvider("north", keys=["new"]) as north:
        section = {"base_url": north.base_url, "key": "file:/nowhere", "model": "m", "probe": PROBE}
        values = {"providers": {"north": section}, "routes": {"m": {"targets": ["north/m"]}}}
        there = Station(Config.from_values(values, {}))
        there.engine.keyring = keys
        await there.probe()
        (first,) = there.probed
        assert first.failure is not None and first.failure.kind is FailureKind.AUTH and first.failure.cool_s == 30.0
        keys.may_be_newer = True
        await there.probe(31.0)
        assert len(there.probed) == 1 and north.listed == 2
        assert there.condition() is Condition.DEGRADED, "its rest is over, and it has yet to work"
        keys.key = "new"
        await there.probe(31.0)
        assert there.probed[-1].failure is None and north.listed == 3
        await there.engine.close()


@in_loop
async def test_a_refused_word_is_believed(tmp_path: Path) -> None:
    """What took a caller's place comes to an end in any case; a key of the file's own rests for as long as usual."""
    keys = Keys()
    async with FakeProvider("north") as north:
        section = {"base_url": north.base_url, "key": "file:/nowhere", "model": "m", "probe": {"billed": True}}
        values = {"providers": {"north": section}, "routes": {"m": {"targets": ["north/m"]}}}
        there = Station(Config.from_values(values, {}))
        there.engine.keyring, keys.may_be_newer = keys, True
        north.fail_with(Status(500))
        while there.condition() is not Condition.OPEN:
            await there.ask()
        north.fail_with(Status(401))
        model = there.engine.board.standing(there.config.targets[0]).model
        await there.probe(model.breaker.until - there.clock())
        (last,) = there.probed
        assert last.failure is not None and last.failure.cool_s == 30.0 and model.breaker.state is State.OPEN
        await there.engine.close()


# ---------------------------------------------------------------------------- the program


@in_loop
async def test_a_gateway_probes_by_itself(tmp_path: Path) -> None:
    """With probes configured a server asks without a single request having come, and stops when it is stopped."""
    north = FakeProvider("north")
    await north.start()
    config = config_for([north], tmp_path, provider={"probe": PROBE})
    async with running(config) as gateway:
        prober = gateway.gateway.engine.prober
        assert isinstance(prober, Prober) and prober._timer is not None
        prober._rounds.begin(gateway.gateway.engine.clock() - 60.0)
        prober._wake()
        while not north.listed or prober._tasks:
            await asyncio.sleep(0)
    assert prober._timer is None
    prober.write([])
    assert prober._timer is None, "what comes after the end starts nothing"
    await north.close()


@in_loop
async def test_an_asgi_server_starts_the_probes(tmp_path: Path) -> None:
    """The life of the server is the life of its probes."""
    async with FakeProvider("north") as north:
        config = config_for([north], tmp_path, provider={"probe": PROBE})
    flying = engine(config)
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    timers = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        assert isinstance(flying.prober, Prober)
        timers.append((message["type"], flying.prober._timer is not None))

    await App(Gateway(config, flying))({"type": "lifespan"}, receive, send)
    assert timers == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]


@in_loop
async def test_stopping_hangs_up(tmp_path: Path) -> None:
    """A question under way when the engine is closed is given up, and says nothing."""
    north = FakeProvider("north")
    async with station(tmp_path, [north], probe={**PROBE, "path": "/health"}) as there:
        north.fail_with(Hang())
        there.clock.ahead_s += 30.0
        there.prober._wake()
        (task,) = there.prober._tasks
        while not north.seen:
            await asyncio.sleep(0)
        there.prober.stop()
        await asyncio.wait([task])
        assert task.cancelled() and there.probed == []


@in_loop
async def test_nothing_is_watched_unless_that_is_wanted(tmp_path: Path) -> None:
    """Without `probe` there is no prober, and starting the engine starts nothing."""
    async with FakeProvider("north") as north:
        flying = engine(config_for([north], tmp_path))
    assert flying.prober is None
    flying.start()
    await flying.close()


class Broken(Exception):
    pass


@in_loop
async def test_a_defect_ends_one_probe_and_not_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A codec that raises is reported, says nothing of the provider, and is no reason for further bills."""
    reported: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["exception"]))
    north = FakeProvider("north")

    async def raises(*_: Any, **__: Any) -> None:
        raise Broken

    monkeypatch.setattr("unbroken.probes.free", raises)
    monkeypatch.setattr("unbroken.probes.word", raises)
    async with station(tmp_path, [north], probe={**PROBE, "billed": True}) as there:
        await there.probe()
        assert [type(error) for error in reported] == [Broken] and there.probed == []
        north.fail_with(Status(500))
        while there.condition() is not Condition.OPEN:
            await there.ask()
        model = there.engine.board.standing(there.config.targets[0]).model
        await there.probe(model.breaker.until - there.clock())
        await there.probe(0.0)
        assert model.breaker.opens == 2 and len(reported) >= 2


def test_who_is_asked_what() -> None:
    """Each key is asked the free question once, each target that chats for a word, and only where that is set."""

    def target(name: str, model: str, key: str, *tasks: Task) -> Target:
        return Target(name=name, provider="p", model=model, key_name=key, tasks=frozenset(tasks or (Task.CHAT,)))

    one, two, three = target("1", "m", "a"), target("2", "n", "a"), target("3", "m", "b")
    image, other = target("4", "i", "c", Task.IMAGE), Target(name="q/m", provider="q", model="m")
    everybody = [one, two, three, image, other]

    def posts(**probing: Any) -> list[tuple[str, tuple[Target, ...], tuple[Target, ...]]]:
        return [(post.provider, post.free, post.worded) for post in posts_of({"p": Probing(**probing)}, everybody)]

    assert posts(every_s=30.0) == [("p", (three, one), ())]
    assert posts(billed=True) == [("p", (), (one, two, three))]
    assert posts(every_s=30.0, billed=True, path="none") == [("p", (), (one, two, three))]


# ------------------------------------------------------------------------- single questions


async def lone(tmp: Path, north: FakeProvider, **provider: Any) -> tuple[Engine, Target]:
    config = config_for([north], tmp, provider=provider)
    return engine(config), config.targets[0]


@in_loop
async def test_a_key_without_rights_to_the_list_is_no_wrong_key(tmp_path: Path) -> None:
    """A restricted key is refused the list with a 401 and may do work all the same."""
    async with FakeProvider("north") as north:
        flying, target = await lone(tmp_path, north)
        words = b'{"error": {"message": "You have insufficient permissions. Missing scopes: api.model.read"}}'
        north.desk.put("GET /page", Page(status=401, body=words))
        assert await free(flying, target, path="/page", timeout_s=5.0) is None
        north.desk.put("GET /page", Page(status=401, body=b'{"error": {"message": "Incorrect API key"}}'))
        told = await free(flying, target, path="/page", timeout_s=5.0)
        assert told is not None and told.failure is not None and told.failure.kind is FailureKind.AUTH
        await flying.close()


@in_loop
async def test_only_answers_count_as_answers(tmp_path: Path) -> None:
    """A page in place of a list, or a redirect, tells nothing; any good status of a page of one's own does."""
    async with FakeProvider("north") as north:
        flying, target = await lone(tmp_path, north, base_url=f"http://127.0.0.1:{north.port}/elsewhere?v=2")
        for status, body, well in ((200, b"<html>", False), (302, b"{}", False), (200, b" [1]", True)):
            north.desk.put("GET /elsewhere/models?v=2", Page(status=status, body=body))
            assert (await free(flying, target, timeout_s=5.0) is not None) == well
        north.desk.put("GET /up?v=2", Page(status=204, body=b""))
        told = await free(flying, target, path="/up", timeout_s=5.0)
        assert told is not None and told.failure is None
        assert await free(flying, target, path="none", timeout_s=5.0) is None
        await flying.close()


@in_loop
async def test_a_word_is_judged_as_work_is(tmp_path: Path) -> None:
    """Words, errors, pages, and fault that is found with the request itself."""
    async with FakeProvider("north") as north:
        flying, target = await lone(tmp_path, north)
        assert (await word(flying, target)).failure is None
        for trouble, kind in (
            (Status(503), FailureKind.OVERLOADED), (Status(400), None), (Html(), FailureKind.MALFORMED),
        ):  # fmt: skip
            north.fail_with(trouble)
            failure = (await word(flying, target)).failure
            assert (failure.kind if failure else None) == kind
        await flying.close()
