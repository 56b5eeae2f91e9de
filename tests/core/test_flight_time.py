from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from core.world import (
    HANGS,
    UNREACHABLE,
    Flown,
    Step,
    begins,
    fail,
    gives,
    opens,
    says,
    world_of,
)
from unbroken.core.flight import Abandon, Launch
from unbroken.facts import AttemptAbandoned, AttemptFailed
from unbroken.failures import FailureKind
from unbroken.policy import Budget, Deadlines, Hedging, Policy
from unbroken.types import Delta, Request, Task, Usage

# ------------------------------------------------------------------- silence


@pytest.mark.parametrize("silence", [HANGS, opens(), [*opens(), *gives(Delta(id="1"))]])
def test_silence_goes_to_the_next_target_never_to_the_same(silence: list[Step]) -> None:
    """Ten seconds without content, whatever else came, and the next one is asked."""
    flown = world_of(a=silence).fly()
    assert (flown.names, flown.times[1]) == ("a b", 10.0)
    assert flown.fates() == ["silent"]
    assert [command.number for command in flown.all_of(Abandon)] == [1]


def test_no_connection_is_known_sooner() -> None:
    """A connection that does not come is given up after five seconds."""
    flown = world_of(a=UNREACHABLE).fly()
    assert (flown.names, flown.times[1]) == ("a b", 5.0)
    assert flown.fates() == ["connect"]


@pytest.mark.parametrize(("silence", "seconds"), [(HANGS, 2.0), (opens(), 10.0), (UNREACHABLE, 5.0)])
def test_each_phase_has_its_own_limit(silence: list[Step], seconds: float) -> None:
    """A status within two seconds, where an operator says so, and then as long as ever for the first word."""
    policy = Policy(deadlines=Deadlines(first_byte_s=2.0))
    assert world_of(policy=policy, a=silence).fly().times[1] == seconds


def test_comments_that_keep_a_connection_alive_are_no_content() -> None:
    """Empty deltas, or none at all, never put the limit off."""
    drip = [Step(1.0, "arrived", [] if number % 2 else [Delta(id="1")]) for number in range(60)]
    flown = world_of(a=[*opens(), *drip]).fly()
    assert (flown.names, flown.times[1]) == ("a b", 10.0)
    stalled = world_of(a=[*begins("some "), *drip], b=says("some ", "text")).fly()
    assert stalled.fates() == ["stalled"]
    assert stalled.times[1] == 20.5


def test_the_deadline_is_for_the_whole_request() -> None:
    """Three silent targets, one deadline; the caller hears of it in time."""
    flown = world_of("a b c", a=HANGS, b=HANGS, c=HANGS).fly()
    assert (flown.kind, flown.seconds) == (FailureKind.DEADLINE, 15.0)
    assert flown.names == "a b c"
    assert flown.end.failure is not None
    assert "within 15 s after 3 attempts" in flown.end.failure.message


@pytest.mark.parametrize(("total_s", "names", "seconds"), [(2.25, "a", 0.25), (2.5, "a a", 2.5)])
def test_nobody_waits_for_a_retry_that_would_come_too_late(total_s: float, names: str, seconds: float) -> None:
    """At the deadline itself nothing is left to be sent, and the caller is told so at once."""

    class Least(Random):
        def random(self) -> float:
            return 0.0

    busy = fail(FailureKind.RATE_LIMIT, after_s=0.25, retry_after_s=2.0)
    world = world_of("a", Policy(deadlines=Deadlines(total_s=total_s)), a=(busy, HANGS))
    world.draw = Least()
    flown = world.fly()
    assert (flown.names, flown.seconds) == (names, seconds)


def test_a_reserve_is_kept_for_the_last_candidate() -> None:
    """A tight deadline is not spent on the first target alone."""
    policy = Policy(deadlines=Deadlines(total_s=5.0))
    flown = world_of(policy=policy, a=HANGS).fly()
    assert (flown.names, flown.times[1], flown.text) == ("a b", 3.5, "fine so far")


def test_the_reserve_is_shared_by_those_who_are_left() -> None:
    """Whoever starts within the reserve gets an even share of what remains, not a second."""
    flown = world_of("a b c", a=HANGS, b=HANGS).fly()
    assert flown.times == [0.0, 10.0, 12.5]
    assert flown.text == "fine so far"


def test_the_deadline_ends_at_the_first_content_of_a_stream() -> None:
    """A stream may last as long as it keeps coming; a plain answer may not."""
    slowly = says(*["word "] * 20, gap_s=2.0)
    assert world_of(a=slowly).fly().text == "word " * 20
    flown = world_of("a", a=says("x", first_s=40.0)).fly(stream=False)
    assert flown.kind is FailureKind.SILENT
    assert flown.seconds == 10.0 + 100 / 40


def test_a_plain_answer_must_be_whole_by_the_deadline() -> None:
    """Half a plain answer is no answer: the deadline counts to its end."""
    policy = Policy(deadlines=Deadlines(total_s=4.0))
    flown = world_of("a", policy, a=[*begins("half"), Step(60.0, "ended")]).fly(stream=False)
    assert (flown.kind, flown.seconds) == (FailureKind.DEADLINE, 4.0)


def test_an_empty_answer_is_better_than_a_deadline() -> None:
    """If somebody answered nothing and the others hang, the caller gets the nothing."""
    flown = world_of(a=says(), b=HANGS).fly()
    assert (flown.kind, flown.text, flown.names) == (None, "", "a b")
    assert flown.deltas[-1].usage is not None


def test_slow_work_that_is_legitimate_has_time() -> None:
    """A model that thinks, or must be loaded first, is waited for."""
    world = world_of("a", a=says("done", first_s=100.0))
    world.change("a", capabilities=frozenset({"reasoning"}))
    assert world.fly().text == "done"


# ------------------------------------------------------------------- hedge and race


def hedged(**scripts: Any) -> Flown:
    """A request on a route that starts a second target after 6.5 s."""
    return world_of("a b c", Policy(hedging=Hedging(after_s=6.5)), **scripts).fly()


def test_a_silent_target_gets_company_and_the_first_answer_wins() -> None:
    """After 6.5 s of silence a second target starts; it wins, and the first is hung up on and held to it."""
    flown = hedged(a=HANGS)
    assert (flown.names, flown.whys, flown.text) == ("a b", "first hedge", "fine so far")
    assert flown.times[1] == 6.5
    [abandoned] = flown.facts(AttemptAbandoned)
    assert (abandoned.number, abandoned.outrun, abandoned.elapsed_s) == (1, True, pytest.approx(7.0))
    assert flown.end.failover


def test_a_hedge_that_comes_too_late_is_forgiven() -> None:
    """If the first answers after all, the second is hung up on without blame."""
    flown = hedged(a=says("mine", first_s=6.8))
    assert (flown.names, flown.text, flown.end.failover) == ("a b", "mine", False)
    [abandoned] = flown.facts(AttemptAbandoned)
    assert (abandoned.number, abandoned.outrun) == (2, False)


def test_words_are_the_winners_alone() -> None:
    """Nothing of the loser is shown, even if it speaks at the same moment."""
    flown = hedged(a=says("one ", "two", first_s=7.0), b=says("three ", "four", first_s=0.5))
    assert flown.text in {"one two", "three four"}


def test_there_is_one_hedge() -> None:
    """Two silent targets are enough; the third has to wait until both have failed."""
    flown = hedged(a=HANGS, b=HANGS)
    assert flown.whys == "first hedge failover"
    assert flown.times == [0.0, 6.5, 10.75]


def test_a_failure_beside_a_hedge_is_waited_out() -> None:
    """While one of the two still runs, nobody else is asked."""
    flown = hedged(a=fail(FailureKind.SERVER, after_s=7.0), b=says("mine", first_s=3.0))
    assert (flown.names, flown.text) == ("a b", "mine")


def test_hedges_are_paid_for() -> None:
    """With an empty budget there is no hedge."""
    policy = Policy(hedging=Hedging(after_s=1.0), budget=Budget(ratio=0.0, reserve=0.0))
    flown = world_of(policy=policy, a=says("mine", first_s=3.0)).fly()
    assert flown.names == "a"


def test_a_target_is_hedged_after_its_own_usual_time() -> None:
    """With `p95`, the delay is learned from at least twenty answers."""
    world = world_of("a b", Policy(hedging=Hedging(p95=True)))
    assert {one.names for one in world.fly_often(20)} == {"a"}
    world.play("a", HANGS)
    flown = world.fly()
    assert flown.whys == "first hedge"
    assert 0.4 <= flown.times[1] <= 0.7


def test_without_samples_there_is_no_learned_hedge() -> None:
    """What is not known is not used."""
    flown = world_of("a b", Policy(hedging=Hedging(p95=True)), a=HANGS).fly()
    assert flown.whys == "first failover"


def test_the_fixed_delay_holds_until_the_learned_one_is_shorter() -> None:
    """With both, whichever is earlier counts."""
    flown = world_of("a b", Policy(hedging=Hedging(p95=True, after_s=2.0)), a=HANGS).fly()
    assert flown.times[1] == 2.0


def test_a_hedge_passes_over_those_who_rest() -> None:
    """A target that cools down is not started as a hedge."""
    world = world_of("a b c", Policy(hedging=Hedging(after_s=1.0)), a=says("mine", first_s=3.0))
    flight = world.flight(Request(model="auto", stream=True, max_tokens=5))
    world.force("b", open=True)
    flight.begin(world.now)
    commands = flight.woke(world.now + 1.0)
    assert [command.attempt.target.name for command in commands if isinstance(command, Launch)] == ["c"]


def race(width: int = 2, names: str = "a b c", **scripts: Any) -> Flown:
    """A request on a route that starts so many at once."""
    world = world_of(names, **scripts)
    world.route = replace(world.route, width=width)
    return world.fly()


def test_a_race_starts_many_and_the_first_wins() -> None:
    """Two start together; the faster is shown, the slower hung up on without blame."""
    flown = race(a=says("slow", first_s=2.0), b=says("quick"))
    assert (flown.names, flown.whys, flown.times) == ("a b", "first race", [0.0, 0.0])
    assert flown.text == "quick"
    [abandoned] = flown.facts(AttemptAbandoned)
    assert (abandoned.number, abandoned.outrun) == (1, False)
    assert not flown.end.failover, "who wins a race was asked from the start"


def test_a_race_goes_on_without_those_who_fail() -> None:
    """One runner's failure is no news while another runs; when all have failed, the rest are asked."""
    assert race(a=fail(FailureKind.SERVER), b=says("mine", first_s=3.0)).text == "mine"
    flown = race(a=fail(FailureKind.CONNECT), b=fail(FailureKind.CONNECT, after_s=0.3))
    assert (flown.names, flown.whys, flown.text) == ("a b c", "first race failover", "fine so far")


def test_a_race_is_no_wider_than_there_are_targets() -> None:
    """Width counts those who are there."""
    assert race(width=9, names="a b").names == "a b"


def test_losing_races_harms_nobody() -> None:
    """A target that always comes second in a race keeps its good name."""
    world = world_of(a=says("slow", first_s=2.0), b=says("quick"))
    world.route = replace(world.route, width=2)
    assert {one.names for one in world.fly_often(50)} == {"a b"}


# ------------------------------------------------------------------- the caller leaves


@pytest.mark.parametrize("leave_s", [0.0, 0.2, 0.55])
def test_when_the_caller_leaves_everybody_is_hung_up_on(leave_s: float) -> None:
    """Before, during and after the first words; nobody is blamed."""
    world = world_of()
    flown = world.fly(leave_s=leave_s)
    assert flown.kind is FailureKind.CANCELLED
    assert len(flown.all_of(Abandon)) == 1
    assert not any(fact.outrun for fact in flown.facts(AttemptAbandoned))


def test_a_caller_who_leaves_while_we_wait_ends_the_waiting() -> None:
    """There may be nobody to hang up on."""
    world = world_of("a", a=fail(FailureKind.RATE_LIMIT, retry_after_s=2.0))
    flown = world.fly(leave_s=1.0)
    assert (flown.kind, flown.names) == (FailureKind.CANCELLED, "a")


def test_other_work_is_judged_by_its_own_limits() -> None:
    """An embedding that takes longer than ten seconds is asked for elsewhere."""
    flown = world_of(policy=Policy(embedding_models="any"), a=HANGS).fly(task=Task.EMBEDDING, stream=False)
    assert (flown.names, flown.times[1]) == ("a b", 10.0)


def test_usage_of_a_failed_attempt_is_told() -> None:
    """What was paid for is in the fact, even if the answer was lost."""
    flown = world_of(a=[*opens(), *gives(Delta(usage=Usage(input_tokens=7))), *fail(FailureKind.MALFORMED)]).fly()
    assert [fact.usage.input_tokens for fact in flown.facts(AttemptFailed)] == [7]
