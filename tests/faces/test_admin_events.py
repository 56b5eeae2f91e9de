"""`GET /admin/events`: facts as they come, resumed where a reader left off, within bounds for slow readers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from faces.admin_world import ADMIN_KEY, PATIENCE_S, Site, site
from loops import in_loop
from unbroken.chronicle import Chronicle
from unbroken.core.health import Condition
from unbroken.faces.admin.events import READERS_MAX, Events, Reader
from unbroken.faces.asgi import App
from unbroken.faces.cli.remote import Unanswered
from unbroken.facts import Fact, Said, TargetForced
from unbroken.failures import Failure
from unbroken.testing import Refused

Event = tuple[str, Any, str]
"""What kind it is, what it says, and its number."""


def events_in(text: str) -> list[Event]:
    """Server-sent events, as a browser reads them."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "data" in lines:
            found.append((lines.get("event", "message"), json.loads(lines["data"]), lines.get("id", "")))
    return found


class Ear:
    """One that reads along over a socket."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self.kept: list[Event] = []

    async def until(self, kind: str) -> Event:
        """The next event of this kind; a fact of this kind counts too."""
        while True:
            while self.kept:
                event = self.kept.pop(0)
                if event[0] == kind or any(fact["kind"] == kind for fact in event[1] if event[0] == "facts"):
                    return event
            self.kept += await self._more()

    async def _more(self) -> list[Event]:
        size = int(await asyncio.wait_for(self._reader.readline(), PATIENCE_S), 16)
        chunk = await self._reader.readexactly(size + 2)
        return events_in(chunk[:-2].decode()) if size else [("end", {}, "")]


@asynccontextmanager
async def listening(here: Site, query: str = "", **headers: str) -> AsyncIterator[Ear]:
    """A reader of the events."""
    reader, writer = await asyncio.open_connection(*here.at.address)
    lines = [f"GET /admin/events{query} HTTP/1.1", "Host: x", f"Authorization: Bearer {ADMIN_KEY}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)
    assert b" 200 " in head and b"text/event-stream" in head
    try:
        yield Ear(reader)
    finally:
        writer.close()


def facts_of(event: Event) -> dict[str, Any]:
    """The facts of an event, by their kind."""
    return {fact["kind"]: fact for fact in event[1]}


@in_loop
async def test_facts_come_as_they_happen(tmp_path: Path) -> None:
    """A reader is told who speaks, then of each request what happens to it, in short, with times since 1970."""
    async with site(tmp_path) as here, listening(here) as ear:
        hello = (await ear.until("hello"))[1]
        assert hello["targets"] == {"a/word-model": "unknown", "b/word-model": "unknown"}
        assert hello["now"] > 1.6e9
        await here.chat()
        decided = facts_of(await ear.until("decided"))
        assert decided["decided"]["order"] == ["a/word-model", "b/word-model"]
        assert decided["decided"]["route"] == "m" and abs(decided["decided"]["at"] - hello["now"]) < 60
        assert decided["attempt_started"]["target"] == "a/word-model"


@in_loop
async def test_a_breaker_that_opens_is_told_of(tmp_path: Path) -> None:
    """Whoever watches learns of a target's new state without asking, and why; and that an operator changed it."""
    async with site(tmp_path) as here, listening(here) as ear:
        here.providers[0].fail_with(Refused())
        for _ in range(3):
            await here.chat()
        opened: list[dict[str, Any]] = []
        while not opened:
            told = (await ear.until("turned"))[1]
            opened = [fact for fact in told if (fact.get("target"), fact.get("state")) == ("a/word-model", "open")]
        (turned,) = opened
        assert turned["cause"] and turned["until"] > turned["at"]
        await here.post("targets", "b/word-model", "disable")
        act = facts_of(await ear.until("operated"))
        assert act["operated"]["what"] == "disable" and act["operated"]["about"] == "b/word-model"
        assert (act["target_forced"]["scope"], act["target_forced"]["open"]) == ("b/word-model#1", True)


@in_loop
async def test_a_reader_goes_on_where_it_left_off(tmp_path: Path) -> None:
    """By the number of the last event, in the header or the address, it gets what came since, and nothing twice."""
    async with site(tmp_path) as here:
        async with listening(here) as ear:
            await here.chat()
            last = (await ear.until("flight_ended"))[2]
        await here.chat("auto")
        here.gateway.engine.bus.flush()
        for query, headers in (("", {"Last_Event_ID": last}), (f"?after={last}", {})):
            async with listening(here, query, **headers) as ear:
                told = facts_of(await ear.until("decided"))
                assert told["decided"]["route"] == "auto"
        async with listening(here, "?after=another-1") as ear:
            assert (await ear.until("gap"))[1] == {"missed": None}
            assert facts_of(await ear.until("decided"))["decided"]["route"] == "auto"


@in_loop
async def test_only_what_is_wanted(tmp_path: Path) -> None:
    """A reader may name the kinds of facts that it wants."""
    async with site(tmp_path) as here, listening(here, "?kinds=flight_ended,shed") as ear:
        await here.chat()
        told = (await ear.until("facts"))[1]
        assert {fact["kind"] for fact in told} == {"flight_ended"}


@in_loop
async def test_readers_are_let_go_when_the_gateway_stops(tmp_path: Path) -> None:
    """A dashboard that is open holds up no stop: it is told, and its connection ends."""
    async with site(tmp_path) as here, listening(here) as ear:
        await ear.until("hello")
        stopping = asyncio.create_task(here.at.server.stop(PATIENCE_S))
        assert await ear.until("bye") and await ear.until("end")
        await stopping


@in_loop
async def test_readers_have_to_come_in_again_when_the_keys_are_others(tmp_path: Path) -> None:
    """Whoever had a key that is taken away hears nothing more."""
    async with site(tmp_path) as here, listening(here) as ear:
        await ear.until("hello")
        here.rewrite(lambda values: values["server"].update(admin_keys=["another-planted-key"]))
        await here.post("reload")
        assert await ear.until("bye") and await ear.until("end")
        with pytest.raises(Unanswered, match="operator's key"):
            await here.get("status")


# ------------------------------------------------------------------------------ slow readers


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


class World:
    """The events of a gateway of one target, without the gateway."""

    def __init__(self, *, facts_max: int = 20) -> None:
        self.clock = Clock()
        self.state = "healthy"
        self.chronicle = Chronicle(lambda: 1_000.0, facts_max=facts_max)
        self.events = Events(self.chronicle, self.states, veil=lambda data: data, clock=self.clock, beat_s=15.0)

    def states(self) -> dict[str, tuple[str, str, float | None]]:
        return {"t": (self.state, "", None)}

    def happen(self, count: int) -> None:
        """So many facts."""
        facts: list[Fact] = [TargetForced(self.clock.now, f"s{number}", None) for number in range(count)]
        self.chronicle.write(facts)

    def reader(self, last: str = "") -> Reader:
        reader = self.events.open(last)
        assert isinstance(reader, Reader)
        return reader


def heard(reader: Reader) -> list[Event]:
    return events_in(reader.take().decode())


@in_loop
async def test_a_slow_reader_is_dropped_with_a_note() -> None:
    """Who cannot keep up holds nothing back and costs no memory: the ring moves on, and it is told how much it lost."""
    world = World()
    slow, quick = world.reader(), world.reader()
    calls: list[int] = []
    slow.notify = lambda: calls.append(1)
    assert [heard(one)[0][0] for one in (slow, quick)] == ["hello", "hello"]
    slow.pause()
    for _ in range(5):
        world.happen(8)
        assert len(heard(quick)[0][1]) == 8
    assert not calls and not slow.over
    slow.resume()
    assert calls
    assert heard(slow) == [("dropped", {"missed": 20}, "")]
    assert slow.over and slow.take() == b"" and not quick.over
    world.events.close()


@in_loop
async def test_a_reader_that_never_comes_back_is_dropped_too() -> None:
    """Its place is free again as soon as the ring has left it behind."""
    world = World()
    stuck = world.reader()
    stuck.pause()
    world.happen(21)
    stuck.look(world.clock.now, beat_s=15.0)
    assert stuck.over and [event[0] for event in heard(stuck)] == ["hello", "dropped"]
    for _ in range(READERS_MAX):
        world.reader()
    refused = world.events.open("")
    assert isinstance(refused, Failure) and "follow the events already" in refused.message
    world.events.close()


@in_loop
async def test_many_facts_come_in_several_events() -> None:
    """One event holds a bounded number of facts, and none is lost between two."""
    world = World(facts_max=2_000)
    reader = world.reader()
    heard(reader)
    world.happen(1_200)
    sizes, numbers = [], []
    while told := heard(reader):
        sizes.append(len(told[0][1]))
        numbers.append(told[0][2].rpartition("-")[2])
    assert sizes == [500, 500, 200] and numbers == ["500", "1000", "1200"]
    world.events.close()


@in_loop
async def test_silence_is_broken_by_a_heartbeat() -> None:
    """After fifteen seconds without a fact a comment is sent, so that nobody takes the connection for dead."""
    world = World()
    reader = world.reader()
    heard(reader)
    for passed, expected in ((14.0, b""), (1.0, b": beat\n\n"), (1.0, b"")):
        world.clock.now += passed
        reader.look(world.clock.now, beat_s=15.0)
        assert reader.take() == expected
    world.events.close()


@in_loop
async def test_a_state_that_changes_with_time_is_told() -> None:
    """What no fact tells of, as that a rest is over, is looked for while somebody reads."""
    world = World()
    reader = world.reader()
    heard(reader)
    world.events.look()
    assert heard(reader) == []
    world.state = Condition.OPEN.value
    world.events.look()
    ((_, told, _),) = heard(reader)
    assert told == [{"kind": "turned", "at": 1_100.0, "target": "t", "state": "open", "before": "healthy"}]
    world.events.close()


@in_loop
async def test_words_of_prompts_are_in_no_event() -> None:
    """They are for the ledger, where an operator wants them kept."""
    world = World()
    reader = world.reader()
    heard(reader)
    world.chronicle.write([Said(1.0, "f", "a prompt", "an answer")])
    assert reader.take() == b"" and world.chronicle.end == 0
    world.events.close()


@in_loop
async def test_a_slow_socket_is_bounded(tmp_path: Path) -> None:
    """A connection that nobody reads makes the reader wait, holds little, and the gateway goes on."""
    async with site(tmp_path) as here:
        here.gateway.admin.events.chronicle = Chronicle(lambda: 0.0, facts_max=4_000)
        async with listening(here) as ear:
            await ear.until("hello")
            chronicle = here.gateway.admin.events.chronicle
            (reader,) = here.gateway.admin.events._readers
            for _ in range(400):
                chronicle.write([TargetForced(1.0, "s" * 500, None) for _ in range(100)])
                await asyncio.sleep(0)
            assert await here.chat() == "a/word-model"
            assert reader.over or reader._at < chronicle.end
            kinds = set()
            while "dropped" not in kinds and "end" not in kinds:
                kinds |= {event[0] for event in await ear._more()}
            assert "dropped" in kinds


@in_loop
async def test_the_asgi_application_streams_them_too(tmp_path: Path) -> None:
    """Mounted in somebody's own server, events come all the same, and a reader that leaves is forgotten."""
    async with site(tmp_path) as here:
        app, sent, gone = App(here.gateway), asyncio.Queue[dict[str, Any]](), asyncio.Event()
        scope = {
            "type": "http", "method": "GET", "path": "/admin/events", "query_string": b"",
            "headers": [(b"authorization", f"Bearer {ADMIN_KEY}".encode())],
        }  # fmt: skip
        first = iter([{"type": "http.request", "body": b""}])

        async def receive() -> dict[str, Any]:
            message = next(first, None)
            if message is None:
                await gone.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            await sent.put(message)

        serving = asyncio.create_task(app(scope, receive, send))
        assert (await sent.get())["status"] == 200
        assert b"event: hello" in (await sent.get())["body"]
        await here.chat()
        assert b"decided" in (await asyncio.wait_for(sent.get(), PATIENCE_S))["body"]
        serving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await serving
        assert not here.gateway.admin.chronicle.listeners
