from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from core.story import A, Story
from core.world import HANGS, START, World, begins, fail, opens, says, target_named
from unbroken.core import board as board_module
from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.facts import (
    AttemptAnswered,
    AttemptFailed,
    FlightEnded,
    TargetForced,
)
from unbroken.failures import VERDICTS, Failure, FailureKind, Scope
from unbroken.policy import Breaking, Hedging, Policy, Route
from unbroken.types import Usage

SCOPES = {Scope.ENDPOINT: "p", Scope.MODEL: "p/m", Scope.KEY: "p#1", Scope.QUOTA: "p/m#1"}

# ------------------------------------------------------------------- whom a failure concerns


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_counts_where_its_verdict_says(kind: FailureKind) -> None:
    """Three of a kind open the breaker of exactly that scope, and of no other."""
    story = Story()
    for _ in range(3):
        story.fails(kind)
    counts = VERDICTS[kind].counts
    opened = {scope for scope, name in SCOPES.items() if story.state(name) is State.OPEN}
    assert opened == ({counts} - {Scope.NONE})


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_cools_what_its_verdict_says(kind: FailureKind) -> None:
    """One of a kind sets exactly that scope aside, for exactly as long as the table says."""
    story = Story()
    story.fails(kind)
    verdict = VERDICTS[kind]
    resting = {scope: h.cool_until for scope, name in SCOPES.items() if (h := story.board.healths()[name]).cool_until}
    expected = {verdict.cools: pytest.approx(START + verdict.cool_s)} if verdict.cools is not Scope.NONE else {}
    assert resting == expected


def test_other_keys_models_and_providers_are_untouched() -> None:
    """A bad key leaves the next key alone; a sick model the next model."""
    story = Story()
    story.fails(FailureKind.AUTH)
    assert story.obstacle() == "cooling down for 600 s (auth)"
    assert story.obstacle(target_named("p/m#2")) is None
    assert story.obstacle(target_named("p/n#1")) is not None, "the same key at another model"
    story.opens_breaker(target_named("q/m#1"))
    assert story.obstacle(target_named("q/n#1")) is None
    assert story.obstacle(target_named("q/m#2")) == "breaker open"


def test_a_failure_may_overrule_the_table() -> None:
    """A daily quota cools the scope it names for as long as it says, whatever else it says."""
    story = Story()
    story.fails(FailureKind.RATE_LIMIT, scope=Scope.ENDPOINT, cool_s=7_200.0, retry_after_s=5.0)
    assert story.board.healths()["p"].cool_until == START + 7_200.0
    assert story.obstacle(target_named("p/n#2")) == "cooling down for 7200 s (rate_limit)"
    story.fails(FailureKind.RATE_LIMIT, target_named("q/m#1"), scope=Scope.NONE, cool_s=10.0)
    assert story.obstacle(target_named("q/m#1")) is None


@pytest.mark.parametrize("kind", [FailureKind.OVERLOADED, FailureKind.SERVER])
def test_a_hint_is_heeded_for_whatever_failed(kind: FailureKind) -> None:
    """A 503 that says when to come back is left alone until then; a hint of nought is no rest."""
    story = Story()
    story.fails(kind, retry_after_s=4.0)
    assert story.obstacle(target_named("p/m#2")) == f"cooling down for 4 s ({kind})"
    story.now += 4.0
    assert story.obstacle() is None
    story.fails(kind, retry_after_s=0.0)
    assert story.obstacle() is None


# ------------------------------------------------------------------- how long


def rests_s(story: Story) -> float:
    return story.board.healths()["p/m#1"].cool_until - story.now


def test_without_a_hint_the_time_doubles_up_to_its_limit() -> None:
    """Each rate limit after the last rest was over doubles the rest; no number of them breaks the arithmetic."""
    story = Story()
    seen = []
    for _ in range(1_100):
        story.fails(FailureKind.RATE_LIMIT)
        seen.append(rests_s(story))
        story.now += seen[-1]
    assert seen[:6] == pytest.approx([15.0, 30.0, 60.0, 120.0, 240.0, 300.0])
    assert seen[-1] == pytest.approx(300.0)


def test_those_that_fail_together_count_once() -> None:
    """Ten requests under way that hit the same limit are one limit."""
    story = Story()
    for _ in range(10):
        story.fails(FailureKind.RATE_LIMIT)
    assert rests_s(story) == 15.0


def test_an_answer_after_the_rest_makes_the_next_one_short_again() -> None:
    """A limit that is hit once a day is no growing trouble."""
    story = Story()
    for _ in range(3):
        story.fails(FailureKind.RATE_LIMIT)
        assert rests_s(story) == pytest.approx(15.0)
        story.now += 16.0
        story.answers()
        assert not story.board.standing(A).troubled


def test_an_answer_during_the_rest_changes_nothing() -> None:
    """It was under way before, or got through by luck."""
    story = Story()
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=30.0)
    story.answers()
    assert story.obstacle() == "cooling down for 30 s (rate_limit)"


def test_the_later_end_wins() -> None:
    """A short hint does not shorten a long rest."""
    story = Story()
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=30.0)
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=2.0)
    assert rests_s(story) == 30.0
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=45.0)
    assert rests_s(story) == 45.0


# ------------------------------------------------------------------- opening


def test_a_failure_is_not_slow_as_well() -> None:
    """It counts as one failure; whoever is outrun counts as both."""
    story = Story()
    story.fails(FailureKind.SERVER)
    window = story.board.healths()["p/m"].window
    assert (window.failures, window.slow) == (1, 0)
    story.is_dropped(began=story.now, outrun=True)
    assert (window.failures, window.slow) == (2, 1)


def test_three_failures_in_a_row_open() -> None:
    """And an answer between them does not let it come to that."""
    story = Story()
    for kind in (FailureKind.SERVER, FailureKind.BROKEN):
        story.fails(kind)
    story.answers()
    for kind in (FailureKind.TRUNCATED, FailureKind.SILENT):
        story.fails(kind)
    assert story.obstacle() is None
    story.fails(FailureKind.MALFORMED)
    assert story.obstacle() == "breaker open"


def test_half_of_the_calls_failing_open() -> None:
    """Every second call of eight within half a minute."""
    story = Story()
    for _ in range(4):
        assert story.obstacle() is None
        story.answers()
        story.fails(FailureKind.SERVER)
    assert story.obstacle() == "breaker open"


def test_slow_answers_open() -> None:
    """A target that suddenly needs six times as long is ill, though it answers."""
    story = Story()
    for _ in range(50):
        story.answers(after_s=0.2)
        story.now += 1.0
    for _ in range(3):
        story.now += 30.0
    for number in range(5):
        assert story.obstacle() is None, number
        story.answers(after_s=3.0)
    assert story.obstacle() == "breaker open"


def test_slow_by_nature_is_not_ill() -> None:
    """What always takes long, or is quick enough for anybody, is usual."""
    for usual_s, later_s in ((8.0, 12.0), (0.02, 0.4)):
        story = Story()
        for _ in range(20):
            story.answers(after_s=usual_s)
        for _ in range(20):
            story.answers(after_s=later_s)
        assert story.obstacle() is None


def test_long_plain_answers_are_not_slow() -> None:
    """A plain answer is compared by its time for so many tokens."""
    story = Story()
    for _ in range(20):
        story.answers(after_s=1.0, usage=Usage(output_tokens=50), stream=False)
    for _ in range(20):
        story.answers(after_s=40.0, usage=Usage(output_tokens=2_000), stream=False)
    assert story.obstacle() is None
    assert story.board.percentile_s(A, 0.95, stream=False) == pytest.approx(1.0, rel=0.16)


def test_those_who_are_outrun_too_often_are_left_alone() -> None:
    """A target that hangs so long that its hedge wins is as good as one that fails."""
    world = World("a b", Policy(hedging=Hedging(after_s=2.0)))
    world.play("a", HANGS)
    world.play("b", says("hedged"))
    assert [one.names for one in world.fly_often(4, every_s=3.0)] == ["a b", "a b", "a b", "b"]


# ------------------------------------------------------------------- the way back


def test_after_its_time_one_probe_is_let_through() -> None:
    """The first request after the rest is the probe; nobody follows until it is heard of."""
    story = Story()
    story.opens_breaker()
    story.now += 4.9
    assert story.obstacle() == "breaker open"
    story.now += 0.7
    assert story.obstacle() is None
    story.goes()
    assert story.obstacle() == "breaker half_open"
    story.now += 59.9
    assert story.obstacle() == "breaker half_open"
    story.now += 0.2
    assert story.obstacle() is None, "a probe that is not heard of is taken for lost"


def test_a_good_probe_lets_traffic_return_by_and_by() -> None:
    """A fifth at first, everybody after ten seconds, and then it is as if nothing had been."""
    story = Story()
    story.opens_breaker()
    story.now += 6.0
    story.answers()
    assert story.state("p/m") is State.RAMPING
    admitted = sum(story.obstacle() is None for _ in range(2_000))
    assert 320 < admitted < 480
    story.now += 5.0
    admitted = sum(story.obstacle() is None for _ in range(2_000))
    assert 1_100 < admitted < 1_300
    story.now += 5.0
    assert not any(story.obstacle() for _ in range(100))
    story.goes()
    assert story.state("p/m") is State.CLOSED
    assert not story.board.standing(A).troubled


def test_a_bad_probe_doubles_the_time() -> None:
    """Five seconds, ten, twenty, ... never more than a minute, with a tenth of spread."""
    story = Story()
    story.opens_breaker()
    for open_s in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        rest_s = story.board.healths()["p/m"].breaker.until - story.now
        assert open_s <= rest_s <= open_s * 1.1
        story.now += rest_s
        story.fails(FailureKind.SERVER)
        assert story.state("p/m") is State.OPEN


def test_one_failure_while_traffic_returns_closes_the_door() -> None:
    """A provider that is hardly well again gets no second chance at once."""
    story = Story()
    story.opens_breaker()
    story.now += 6.0
    story.answers()
    story.now += 1.0
    story.fails(FailureKind.SERVER)
    assert story.state("p/m") is State.OPEN


@pytest.mark.parametrize("settled", [False, True])
def test_old_failures_do_not_close_the_door_again(settled: bool) -> None:
    """Attempts that began in the outage and fail after it say nothing about the present."""
    story = Story()
    began = story.now
    story.opens_breaker()
    story.now += 6.0
    story.answers()
    if settled:
        story.now += 11.0
        story.answers()
    for _ in range(20):
        story.fails(FailureKind.SILENT, began=began)
        story.is_dropped(began=began, outrun=True)
    assert story.state("p/m") is (State.CLOSED if settled else State.RAMPING)
    story.opens_breaker()
    assert story.state("p/m") is State.OPEN


def test_old_answers_do_not_open_the_door() -> None:
    """Nor do they prove that it is well again."""
    story = Story()
    began = story.now
    story.now += 1.0
    story.opens_breaker()
    story.now += 1.0
    story.board.fold(AttemptAnswered(story.now, "f", 1, A, 0.1, story.now - began, True))
    story.fails(FailureKind.REQUEST, began=began)
    story.is_dropped(began=began)
    assert story.state("p/m") is State.OPEN


def test_a_probe_that_is_dropped_makes_room_for_another() -> None:
    """A caller who leaves during the probe neither heals nor harms."""
    story = Story()
    story.opens_breaker()
    story.now += 6.0
    story.goes()
    began = story.now
    story.now += 1.0
    story.is_dropped(began=began)
    assert story.obstacle() is None


@pytest.mark.parametrize(
    ("kind", "more", "state"),
    [
        (FailureKind.REQUEST, {}, State.RAMPING),
        (FailureKind.REQUEST, {"sent": False}, State.OPEN),
        (FailureKind.RATE_LIMIT, {}, State.OPEN),
        (FailureKind.SERVER, {}, State.OPEN),
    ],
)
def test_a_probe_that_is_told_off_is_a_good_probe(kind: FailureKind, more: dict[str, Any], state: State) -> None:
    """Whoever finds fault with a request is up; what was never sent, or never got to the model, proves nothing."""
    story = Story()
    story.opens_breaker()
    story.now += 6.0
    story.fails(kind, **more)
    assert story.state("p/m") is state


def test_an_error_status_proves_that_the_address_is_reached() -> None:
    """A provider that could not be connected to and now says 500 has an address that is well."""
    story = Story()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    story.now += 6.0
    story.fails(FailureKind.SERVER, status=500)
    assert story.state("p") is State.RAMPING


def test_a_last_resort_that_answers_is_a_recovery() -> None:
    """Whoever answers before its time is well."""
    story = Story()
    story.opens_breaker()
    story.answers()
    assert story.state("p/m") is State.RAMPING


# ------------------------------------------------------------------- by hand


def test_an_operator_may_take_a_scope_out_and_let_it_go() -> None:
    """What was forced open admits nobody until it is released, however it answers."""
    story = Story()
    story.board.fold(TargetForced(story.now, "p", True))
    assert story.obstacle() == "breaker forced_open"
    assert story.board.forced_open(A)
    story.answers()
    story.now += 1_000.0
    assert story.obstacle() == "breaker forced_open"
    story.board.fold(TargetForced(story.now, "p", None))
    assert story.obstacle() is None
    assert not story.board.forced_open(A)


def test_an_operator_may_insist() -> None:
    """What was forced closed admits everybody, however ill it is; other scopes are their own."""
    story = Story()
    story.board.fold(TargetForced(story.now, "p/m", False))
    for _ in range(20):
        story.fails(FailureKind.SERVER, retry_after_s=60.0)
    assert story.obstacle() is None
    story.fails(FailureKind.AUTH)
    assert story.obstacle() == "cooling down for 600 s (auth)"


# ------------------------------------------------------------------- what is remembered


def test_a_board_knows_nothing_of_strangers() -> None:
    """Nothing in the way, nothing seen, free at once."""
    board = Board(Random(1))
    assert board.obstacle(A, START) is None
    assert board.percentile_s(A, 0.95, stream=True) == 0.0
    assert board.samples(A, stream=False) == 0
    assert board.free_at(A, START) == START


def test_a_target_is_free_when_all_of_its_scopes_are() -> None:
    """The latest of its rests counts."""
    story = Story()
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=9.0)
    story.fails(FailureKind.AUTH)
    story.opens_breaker()
    assert story.board.free_at(A, story.now) == START + 600.0


def test_targets_may_have_their_own_breakers() -> None:
    """A policy by target name is used for its scopes."""
    board = Board(Random(1), {A.name: Breaking(consecutive=1)})
    failure = Failure(kind=FailureKind.SERVER, message="m")
    board.fold(AttemptFailed(START, "f", 1, A, failure, 0.1))
    assert board.obstacle(A, START) == "breaker open"


def test_budgets_belong_to_routes() -> None:
    """One for each name, kept."""
    board = Board(Random(1))
    routes = [Route(name=name, targets=()) for name in ("x", "y")]
    assert board.purse(routes[0]) is board.purse(routes[0])
    assert board.purse(routes[0]) is not board.purse(routes[1])


def test_what_callers_name_does_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of models, healthy or not, and of routes: the board stays small and keeps what is forced."""
    monkeypatch.setattr(board_module, "STANDINGS_MAX", 50)
    story = Story()
    story.board.fold(TargetForced(story.now, "p", True))
    story.fails(FailureKind.MODEL_MISSING, target_named("p/first#1"))
    for number in range(2_000):
        target = target_named(f"p/m{number}#1")
        story.fails(FailureKind.MODEL_MISSING, target)
        story.answers(target_named(f"p/well{number}#1"))
        story.board.purse(Route(name=str(number), targets=()))
    assert len(story.board.healths()) <= 50 + 50 * 4 + 1
    assert len(story.board._purses) <= 50
    assert story.board.forced_open(A)
    assert story.obstacle(target_named("p/m1999#1")) is not None


def test_facts_that_say_nothing_of_health_change_nothing() -> None:
    """The end of a flight is for others."""
    story = Story()
    story.board.fold(FlightEnded(START, "f", "auto", A, 1, 1.0, False, False))
    assert not story.board.healths()


def test_equal_stories_give_equal_boards() -> None:
    """The same facts and the same seed: the same health, to the last digit."""

    def told() -> list[tuple[str, State, float, float]]:
        world = World("a b c", Policy(hedging=Hedging(after_s=1.0)), seed=7)
        world.play("a", *[fail(FailureKind.SERVER), says("x"), HANGS, fail(FailureKind.RATE_LIMIT)] * 5)
        world.play("b", *[says("x"), fail(FailureKind.BROKEN), [*opens()]] * 5)
        world.play("c", says("x", first_s=2.0))
        world.fly_often(40)
        return [(n, h.breaker.state, h.breaker.until, h.cool_until) for n, h in world.board.healths().items()]

    assert told() == told()


# ------------------------------------------------------------------- the whole of it


def test_an_outage_is_left_alone_and_a_recovery_is_noticed() -> None:
    """During an outage only probes reach a target; within a minute of its end it has its traffic back."""
    world = World("a b")
    world.play("b", says("b"))
    world.play("a", fail(FailureKind.SERVER, after_s=0.05))
    during = world.fly_often(600, every_s=0.1)
    assert all(one.text == "b" for one in during)
    asked = Counter(name for one in during for name in one.names.split())
    minutes = (world.now - START) / 60.0
    assert asked["a"] <= 3 + 4 + minutes, "three to open, four probes in the first minute, then one a minute"
    world.play("a", says("a"))
    after = world.fly_often(900, every_s=0.1)
    assert all(one.text == "a" for one in after[-100:])


def test_a_stream_that_breaks_counts() -> None:
    """A provider that begins well and never ends is not well."""
    world = World("a b")
    world.play("a", [*begins("some words"), *fail(FailureKind.TRUNCATED)])
    world.play("b", says("some words and more"))
    flown = world.fly_often(5)
    assert [one.names for one in flown] == ["a b"] * 3 + ["b"] * 2
    assert all(one.text == "some words and more" for one in flown)
