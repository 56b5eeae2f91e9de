"""Many callers of one answer, each at its own pace."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

from unbroken import records
from unbroken.cache.keys import Asked
from unbroken.cache.sharing import STEPS, Order, Seat, Shared, Source
from unbroken.core.flight import Finished
from unbroken.engine import Drive
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Route
from unbroken.types import Delta, Request, Target, Usage

TARGET = Target(name="a/m", provider="a", model="m")
ORDER = Order(Request(model="m", stream=True, include_usage=True), Route(name="m", targets=(TARGET,)), Asked("k"), "f")
END = Finished(TARGET, 1, failover=False, rescued=False)
BROKEN = records.replace(END, failure=Failure(kind=FailureKind.SERVER, message="no"))
OLD = Source((Delta(text="old"),), records.replace(END, cache="stale", age_s=9.0), origin="f0")


@dataclass
class Ear:
    """A caller that writes down what it was told."""

    text: str = ""
    calls: int = 0
    end: Finished | None = None
    raws: list[bytes] = field(default_factory=list)
    on_show: Callable[[], None] = lambda: None

    def show(self, deltas: Sequence[Delta]) -> None:
        self.calls += 1
        self.text += "".join(delta.text for delta in deltas)
        self.raws += [delta.raw for delta in deltas]
        self.on_show()

    def finish(self, end: Finished) -> None:
        assert self.end is None
        self.end = end


@dataclass
class Road:
    """A drive that writes down what is done with it."""

    did: list[str] = field(default_factory=list)
    id: str = "f"

    @property
    def flight(self) -> Road:
        return self

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        return {}

    def so_far(self) -> Finished:
        return END

    def cancel(self) -> None:
        self.did.append("cancel")

    def pause(self) -> None:
        self.did.append("pause")

    def resume(self) -> None:
        self.did.append("resume")


@dataclass
class Scene:
    """A shared answer, the drive of its flight, and how it went."""

    log_bytes_max: int = 1_000_000
    road: Road = field(default_factory=Road)
    ended: list[Finished] = field(default_factory=list)
    left: list[Finished | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shared = Shared(
            ORDER,
            over=lambda shared, end: self.ended.append(end),
            empty=lambda shared: self.road.cancel(),
            log_bytes_max=self.log_bytes_max,
        )

    def sit(self, *, order: Order = ORDER) -> tuple[Seat, Ear]:
        ear = Ear()
        seat = Seat(ear, order, began=0.0, left=lambda seat, end: self.left.append(end))
        self.shared.join(seat)
        return seat, ear

    def take_off(self) -> None:
        drive: Drive = self.road
        self.shared.drive, self.shared.has_flown = drive, True

    def say(self, text: str) -> None:
        self.shared.show([Delta(text=text)])


def play(scene: Callable[[Scene], Awaitable[None]], stage: Scene | None = None) -> None:
    async def go() -> None:
        await scene(stage or Scene())

    asyncio.run(go())


async def settle() -> None:
    """Let everything happen that was put off to the next turn of the loop."""
    await asyncio.sleep(0)


def test_whoever_comes_later_hears_it_from_the_beginning() -> None:
    """All callers get the same words and the same end, the first marked a miss, the others merged."""

    async def scene(on: Scene) -> None:
        _, first = on.sit()
        await settle()
        on.take_off()
        on.say("one ")
        _, second = on.sit()
        assert (first.text, second.text) == ("one ", "")
        await settle()
        assert second.text == "one "
        on.say("two")
        on.shared.finish(END)
        assert first.text == second.text == "one two"
        assert first.end == records.replace(END, cache="miss")
        assert second.end == records.replace(END, cache="merged")
        assert on.ended == [END]
        assert not on.shared.is_open

    play(scene)


def test_nothing_is_said_before_the_face_holds_its_drive() -> None:
    """Even an answer that is there at once comes from the event loop."""

    async def scene(on: Scene) -> None:
        seat, ear = on.sit()
        on.shared.serve(OLD)
        assert (ear.text, ear.end) == ("", None)
        await settle()
        assert (ear.text, ear.end) == ("old", OLD.end)
        assert seat.over
        assert on.left == [OLD.end]

    play(scene)


def test_the_flight_goes_on_when_the_first_caller_leaves() -> None:
    """It ends with the last one who wants it, whoever that is."""

    async def scene(on: Scene) -> None:
        first, ear = on.sit()
        second, other = on.sit()
        on.take_off()
        await settle()
        first.cancel()
        first.cancel()
        on.say("more")
        assert (ear.text, other.text) == ("", "more")
        assert on.road.did == []
        assert on.left == [None]
        second.cancel()
        assert on.road.did == ["cancel"]

    play(scene)


def test_a_failure_is_handed_to_all() -> None:
    """Nobody waits for what will not come."""

    async def scene(on: Scene) -> None:
        ears = [on.sit()[1] for _ in range(3)]
        on.take_off()
        await settle()
        on.shared.finish(BROKEN)
        assert [ear.end.failure for ear in ears if ear.end] == [BROKEN.failure] * 3

    play(scene)


def test_the_flight_is_slowed_down_only_when_everybody_is_slow() -> None:
    """A slow caller holds up nobody else, and reads on from where it stopped."""

    async def scene(on: Scene) -> None:
        (slow, ear), (quick, other) = on.sit(), on.sit()
        on.take_off()
        await settle()
        slow.pause()
        on.say("one ")
        assert (ear.text, other.text) == ("", "one ")
        assert on.road.did == []
        quick.pause()
        quick.pause()
        assert on.road.did == ["pause"]
        slow.resume()
        assert ear.text == "one "
        assert on.road.did == ["pause", "resume"]
        slow.pause()
        slow.cancel()
        assert on.road.did == ["pause", "resume", "pause"]
        quick.resume()
        assert on.road.did[-1] == "resume"

    play(scene)


def test_a_slow_caller_gets_the_end_when_it_has_read_the_rest() -> None:
    """The end waits for the words before it."""

    async def scene(on: Scene) -> None:
        seat, ear = on.sit()
        on.take_off()
        await settle()
        seat.pause()
        on.say("one")
        on.shared.finish(END)
        assert (ear.text, ear.end) == ("", None)
        seat.resume()
        assert ear.text == "one"
        assert ear.end is not None

    play(scene)


def test_an_answer_from_memory_is_handed_over_in_portions() -> None:
    """A caller who says in between that it is full gets no more for now."""

    async def scene(on: Scene) -> None:
        seat, ear = on.sit()
        ear.on_show = seat.pause
        on.shared.serve(Source(tuple(Delta(text="x") for _ in range(STEPS + 1)), records.replace(END, cache="hit")))
        await settle()
        assert (len(ear.text), ear.calls, ear.end) == (STEPS, 1, None)
        seat.resume()
        assert (len(ear.text), ear.calls, ear.end) == (STEPS + 1, 2, None)
        seat.resume()
        assert ear.end is not None

    play(scene)


def test_an_older_answer_takes_the_place_of_a_failure() -> None:
    """Whoever has seen nothing gets it; whoever has seen some words is told the truth."""

    async def scene(on: Scene) -> None:
        on.shared.spare = OLD
        _, first = on.sit()
        on.take_off()
        await settle()
        on.say("begun")
        late, second = on.sit()
        late.pause()
        on.shared.finish(BROKEN)
        late.resume()
        await settle()
        assert first.end == records.replace(BROKEN, cache="miss")
        assert (second.text, second.end) == ("old", OLD.end)

    play(scene)


def test_a_callers_own_fault_is_no_reason_for_an_older_answer() -> None:
    """A request that is wrong now is answered as wrong."""

    async def scene(on: Scene) -> None:
        on.shared.spare = OLD
        _, ear = on.sit()
        on.take_off()
        await settle()
        wrong = records.replace(END, failure=Failure(kind=FailureKind.REQUEST, message="wrong"))
        on.shared.finish(wrong)
        assert ear.end == records.replace(wrong, cache="miss")

    play(scene)


def test_a_flight_that_is_late_goes_on_without_its_callers() -> None:
    """They are given the older answer, and so is whoever comes next; the flight renews it."""

    async def scene(on: Scene) -> None:
        on.shared.spare = OLD
        _, ear = on.sit()
        on.take_off()
        await settle()
        on.shared.hurry()
        assert (ear.text, ear.end) == ("old", OLD.end)
        _, next_ear = on.sit()
        await settle()
        assert next_ear.end == OLD.end
        assert on.road.did == []
        on.say("new")
        on.shared.finish(END)
        on.shared.hurry()
        assert on.ended == [END]
        assert ear.text == "old"

    play(scene)


def test_a_flight_that_has_nothing_to_fall_back_on_is_waited_for() -> None:
    """Without an older answer there is nothing to hurry to."""

    async def scene(on: Scene) -> None:
        _, ear = on.sit()
        on.take_off()
        await settle()
        on.shared.hurry()
        on.say("new")
        assert ear.text == "new"
        assert ear.end is None

    play(scene)


def test_an_endless_answer_is_not_kept() -> None:
    """What everybody has seen of it is let go, and nobody joins who would miss its beginning."""

    async def scene(on: Scene) -> None:
        (_, quick), (slow, ear) = on.sit(), on.sit()
        on.take_off()
        await settle()
        slow.pause()
        for _ in range(9):
            on.say("word ")
        assert on.shared.is_open
        assert not on.shared.is_kept
        slow.resume()
        on.say("last")
        assert not on.shared.is_open
        assert len(on.shared.live.log) == 0
        assert quick.text == ear.text == "word " * 9 + "last"
        on.shared.finish(END)
        assert ear.end is not None

    play(scene, Scene(log_bytes_max=1_000))


def test_a_face_can_ask_how_far_it_is() -> None:
    """Before, during and after: who answers, and how the answer came about."""

    async def scene(on: Scene) -> None:
        seat, _ = on.sit()
        assert seat.flight.id == "f"
        assert seat.flight.so_far() == Finished(None, 0, failover=False, rescued=False, cache="miss")
        on.take_off()
        on.shared.left_out = {"a/m": ("seed",)}
        assert seat.flight.so_far() == records.replace(END, cache="miss")
        assert seat.left_out == {"a/m": ("seed",)}
        seat.source = OLD
        assert seat.flight.so_far() == OLD.end
        assert seat.left_out == {}

    play(scene)


def test_usage_that_was_not_asked_for_is_not_passed_on_as_it_came() -> None:
    """A chunk of usage alone, which one caller wanted, is kept from another whose client would stumble over it."""

    async def scene(on: Scene) -> None:
        _, asking = on.sit()
        mute = replace(ORDER, request=Request(model="m", stream=True))
        _, silent = on.sit(order=mute)
        on.take_off()
        await settle()
        steps = [Delta(text="x", raw=b"1"), Delta(usage=Usage(), raw=b"2"), Delta(text="y", usage=Usage(), raw=b"3")]
        on.shared.show(steps)
        assert asking.raws == [b"1", b"2", b"3"]
        assert silent.raws == [b"1", b"", b"3"]

    play(scene)
