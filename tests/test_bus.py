"""Facts on their way to sinks."""

from __future__ import annotations

import asyncio
import logging

import pytest

from unbroken import bus
from unbroken.bus import Bus
from unbroken.facts import Fact, TargetForced


class Listening:
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Fact] = []

    def write(self, facts: list[Fact]) -> None:
        self.heard += facts


class Defective:
    """Raises, whatever it hears."""

    def write(self, facts: list[Fact]) -> None:
        raise RuntimeError(f"no room for {len(facts)}")


def fact(at: float) -> Fact:
    return TargetForced(at, "p", open=True)


def test_every_sink_hears_everything_in_order() -> None:
    """What is published reaches every sink, in order, without anybody asking for it."""

    async def story() -> None:
        one, other = Listening(), Listening()
        line = Bus([one])
        line.publish(fact(1.0))
        line.add(other)
        line.publish(fact(2.0))
        line.publish(fact(3.0))
        async with asyncio.timeout(10):
            while len(one.heard) < 3:
                await asyncio.sleep(0)
        assert [told.at for told in one.heard] == [1.0, 2.0, 3.0]
        assert [told.at for told in other.heard] == [2.0, 3.0]

    asyncio.run(story())


def test_a_sink_with_a_defect_harms_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """What a sink raises is logged once and its losses are counted; the others hear all."""

    async def story() -> None:
        sound = Listening()
        line = Bus([Defective(), sound])
        with caplog.at_level(logging.ERROR, "unbroken"):
            for at in (1.0, 2.0):
                line.publish(fact(at))
                line.flush()
        assert len(sound.heard) == 2
        assert line.drops() == {"Defective": 2, "Listening": 0}
        assert [record.getMessage() for record in caplog.records] == [
            "the sink Defective failed and lost 1 facts; further losses are only counted"
        ]

    asyncio.run(story())


def test_what_nobody_takes_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two batches only so many facts are kept, and each other is counted as dropped."""

    async def story() -> None:
        monkeypatch.setattr(bus, "BATCH_MAX", 3)
        sink = Listening()
        line = Bus([sink])
        for at in range(5):
            line.publish(fact(float(at)))
        line.flush()
        assert (len(sink.heard), line.dropped, line.drops()) == (3, 2, {"Listening": 2})

    asyncio.run(story())


def test_who_was_removed_hears_no_more() -> None:
    """A sink that was removed is told nothing more, and is found no more."""

    async def story() -> None:
        sink = Listening()
        line = Bus([sink])
        assert line.find(Listening) is sink
        line.remove(sink)
        line.publish(fact(1.0))
        line.flush()
        assert not sink.heard
        assert line.find(Listening) is None

    asyncio.run(story())
