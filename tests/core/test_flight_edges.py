"""Turns that a flight seldom takes: what is told, paid for and left alone at the edges of its rules."""

from __future__ import annotations

import pytest

from core.world import HANGS, UNREACHABLE, Step, World, begins, calls, ends, fail, gives, opens, says, world_of
from unbroken.core.flight import Abandon, Finished, Launch
from unbroken.core.lineup import Lineup
from unbroken.facts import AttemptAnswered, AttemptFailed, AttemptStarted
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Budget, Deadlines, Hedging, Policy, Retries, Streaming
from unbroken.types import Delta, Request, Task, Why

REFUSES = [*opens(), *gives(Delta(refusal="I will not."))]
LAX = Policy(on_refusal="failover")
STREAM = Request(model="auto", stream=True, max_tokens=5)


def asked(commands: object) -> list[str]:
    """Whom these commands launch."""
    assert isinstance(commands, list)
    return [command.attempt.target.name for command in commands if isinstance(command, Launch)]


def sets_aside(world: World, name: str, kind: FailureKind = FailureKind.AUTH) -> None:
    """Another request's failure makes this target rest."""
    failure = Failure(kind=kind, message="m")
    world.board.fold(AttemptFailed(world.now, "other", 1, world.target(name), failure, 0.1))


# ------------------------------------------------------------------- beginnings


def test_what_is_sent_is_a_fact_before_it_is_sent() -> None:
    """Which attempt, where, why, for which route and of which work."""
    world = world_of(a=fail(FailureKind.CONNECT))
    began = world.now
    flown = world.fly(stream=False, prompt_chars=70, task=Task.CHAT)
    first, second = flown.facts(AttemptStarted)
    assert first == AttemptStarted(began, "f", 1, world.target("a"), Why.FIRST, False, 70, "auto", Task.CHAT)
    assert (second.number, second.target.name, second.why, second.at) == (2, "b", Why.FAILOVER, began + 0.2)


def test_an_end_says_no_more_than_is_known() -> None:
    """Well, with nothing shown and nothing from a cache, unless it says so."""
    world = world_of()
    assert world.fly().end == Finished(world.target("a"), 1, False, False, None, True, "", 0.0)
    assert Finished(None, 1, False, False) == Finished(None, 1, False, False, None, False, "", 0.0)


def test_somebody_is_asked_however_narrow_the_lineup() -> None:
    """A width of nought is one."""
    world = world_of()
    flight = world.flight_with(STREAM, Lineup(world.route.targets, width=0))
    assert asked(flight.begin(world.now)) == ["a"]


def test_each_request_earns_its_share_of_retries() -> None:
    """With nothing saved and a whole retry for each request, each may be tried again."""
    for ratio, names in ((1.0, "a a b"), (0.9, "a b")):
        policy = Policy(budget=Budget(ratio=ratio, reserve=0.0))
        assert world_of(policy=policy, a=fail(FailureKind.SERVER)).fly().names == names


def test_patience_may_be_short() -> None:
    """An operator's limit is taken as it is."""
    policy = Policy(deadlines=Deadlines(total_s=0.5, first_content_s=0.5))
    flown = world_of("a", policy, a=HANGS).fly()
    assert (flown.kind, flown.seconds) == (FailureKind.DEADLINE, 0.5)


def test_a_flight_that_is_over_has_nothing_to_do() -> None:
    """Whatever comes, it has no commands, and wants nothing any more."""
    world = world_of("a")
    flight = world.flight(STREAM)
    flight.begin(world.now)
    flight.cancelled(world.now)
    assert flight.woke(world.now + 1e6) == []
    assert flight.cancelled(world.now) == []
    assert flight.wake_at == float("inf")
    waiting = world_of("a", a=fail(FailureKind.SERVER)).flight(STREAM)
    waiting.begin(world.now)
    waiting.failed(1, fail(FailureKind.SERVER)[0].what, now=world.now)
    waiting.cancelled(world.now)
    assert waiting.wake_at == float("inf"), "not even a retry that was arranged"
    assert asked(waiting.woke(world.now + 1e6)) == []


# ------------------------------------------------------------------- waiting and hedging


def test_to_be_woken_too_early_changes_nothing() -> None:
    """A retry is sent when its time has come, not when somebody looks."""
    world = world_of("a b", Policy(retries=Retries(base_s=2.0)))
    flight = world.flight(STREAM)
    flight.begin(world.now)
    flight.failed(1, fail(FailureKind.OVERLOADED, retry_after_s=2.0)[0].what, now=world.now)
    assert flight.woke(world.now + 1.9) == []
    at = flight.wake_at
    assert world.now + 2.0 <= at <= world.now + 2.04, "a fiftieth later at most"
    assert asked(flight.woke(at)) == ["a"]


@pytest.mark.parametrize(("hint_s", "names"), [(3.0, "a a"), (3.001, "a b")])
def test_the_longest_hint_is_waited_for(hint_s: float, names: str) -> None:
    """What is exactly as long as we would wait is short enough."""
    world = world_of(a=(fail(FailureKind.RATE_LIMIT, retry_after_s=hint_s), says("back")))
    world.change_all(same_target_max=1)
    assert world.fly().names == names


def test_a_hedge_that_cannot_be_paid_leaves_its_target_in_line() -> None:
    """Who could not be started beside the first is still the next, in the same order."""
    policy = Policy(hedging=Hedging(after_s=1.0), budget=Budget(ratio=0.0, reserve=0.0))
    fails = fail(FailureKind.CONNECT, after_s=2.0)
    flown = world_of("a b c d", policy, a=fails, b=fails, c=fails).fly()
    assert (flown.names, flown.whys) == ("a b c d", "first failover failover failover")


def test_who_falls_ill_while_waiting_is_a_last_resort() -> None:
    """Passed over while others are left, and asked when nobody is."""
    world = world_of("a b c", c=fail(FailureKind.CONNECT), b=says("b after all"))
    flight = world.flight(STREAM)
    flight.begin(world.now)
    sets_aside(world, "b")
    failure = Failure(kind=FailureKind.CONNECT, message="m", sent=False)
    assert asked(flight.failed(1, failure, now=world.now)) == ["c"]
    assert asked(flight.failed(2, failure, now=world.now)) == ["b"]


def test_a_hedge_waits_for_what_95_percent_take() -> None:
    """Not for what the quickest take."""
    world = world_of("a b", Policy(hedging=Hedging(p95=True)))
    world.play("a", *[says("x", first_s=0.2)] * 17, *[says("x", first_s=2.0)] * 3, HANGS)
    world.play("b", says("b"))
    world.fly_often(20)
    flown = world.fly()
    assert flown.whys == "first hedge"
    assert 2.0 <= flown.times[1] <= 2.4


def test_a_race_with_content_is_not_too_late() -> None:
    """While one of the runners has begun, if only with a call that nobody sees yet, the other's silence is no end."""
    call = [*opens(), *[step for _ in range(12) for step in calls('{"x"', ":1}")], *ends()]
    policy = Policy(deadlines=Deadlines(total_s=1.5, gap_s=60.0))
    world = world_of("a b", policy, a=HANGS, b=call)
    flight = world.flight_with(STREAM, Lineup(world.route.targets, width=2))
    flight.begin(world.now)
    flight.arrived(2, [call[2].what[0]], now=world.now + 1.0)
    assert flight.wake_at > world.now + 1.0
    assert [c for c in flight.woke(world.now + 1.5) if not hasattr(c, "fact")] in ([], [Abandon(1)])
    ended = flight.ended(2, world.now + 3.0)
    assert any(getattr(command, "failure", 0) is None for command in ended)


# ------------------------------------------------------------------- refusals, judges, prompts that are too long


def test_whoever_refuses_is_hung_up_on() -> None:
    """Nothing more is heard of it, though its line stays open."""
    world = world_of(policy=LAX, a=REFUSES)
    flown = world.fly()
    assert (flown.names, flown.text) == ("a b", "fine so far")
    assert [command.number for command in flown.all_of(Abandon)] == [1]


def test_the_last_one_that_refuses_has_answered() -> None:
    """With nobody left to ask, a refusal is an answer and no failure; beside another runner it is none."""
    flown = world_of("a", LAX, a=[*REFUSES, *ends()]).fly()
    assert (len(flown.facts(AttemptAnswered)), flown.fates()) == (1, [])
    plain = world_of("a", LAX, a=[*REFUSES, *ends()]).fly(stream=False)
    assert (len(plain.facts(AttemptAnswered)), plain.fates()) == (1, [])
    world = world_of("a b", LAX, b=says("fine", first_s=1.0), a=[*REFUSES, *ends()])
    flight = world.flight_with(STREAM, Lineup(world.route.targets, width=2))
    flight.begin(world.now)
    commands = flight.arrived(1, [Delta(refusal="I will not.")], now=world.now)
    assert Abandon(1) in commands
    assert asked(commands) == []


def test_nobody_judges_what_was_shown() -> None:
    """An answer that was passed on as it came is not looked at again at its end."""
    world = world_of("a")
    world.judge = lambda answer: f"{answer.text!r} is wrong"
    assert (world.fly().kind, world.fly(stream=False).kind) == (None, FailureKind.MODEL_FAULT)


def test_what_is_too_long_for_one_is_not_sent_to_the_same_model_at_rest() -> None:
    """A last resort has to be roomier too."""
    world = world_of("p/m#1 p/m#2 q/n#1")
    world.play("p/m#1", fail(FailureKind.CONTEXT_LENGTH))
    for name in ("p/m#2", "q/n#1"):
        sets_aside(world, name)
    assert world.fly().names == "p/m#1 q/n#1"
    alone = world_of("p/m#1 p/m#2")
    alone.play("p/m#1", fail(FailureKind.CONTEXT_LENGTH))
    sets_aside(alone, "p/m#2")
    assert alone.fly().names == "p/m#1"


# ------------------------------------------------------------------- rescues


def broken(*words: str) -> list[Step]:
    return [*begins(*words), *fail(FailureKind.BROKEN)]


def test_whoever_broke_off_is_nobodys_answer() -> None:
    """When a stream could not be rescued, no target is said to have answered."""
    policy = Policy(stream=Streaming(rescue="error"))
    flown = world_of(policy=policy, a=broken("some words")).fly()
    assert (flown.names, flown.end.target, flown.end.failover, flown.end.shown) == ("a", None, False, True)


def test_rescuers_who_are_well_come_before_those_who_rest() -> None:
    """Even if they have failed; and those that an operator has taken out are none."""
    world = world_of("a b c d", a=broken("some words and "), b=UNREACHABLE, d=says("more"))
    world.change_all(prefix="assistant")
    world.force("b", open=True)
    flight = world.flight(STREAM)
    flight.begin(world.now)
    flight.arrived(1, [Delta(text="some words and ")], now=world.now)
    sets_aside(world, "c")
    assert asked(flight.failed(1, fail(FailureKind.BROKEN)[0].what, now=world.now)) == ["d"]
    assert asked(flight.failed(2, fail(FailureKind.CONNECT)[0].what, now=world.now)) == ["a"]
