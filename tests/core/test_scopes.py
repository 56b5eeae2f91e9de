"""One thing that can be ill: when what was said of it counts, and how long it is set aside."""

from __future__ import annotations

import pytest

from core.world import START
from unbroken.core.breaker import Event, State
from unbroken.core.scopes import Cause, Health
from unbroken.failures import FailureKind
from unbroken.policy import Breaking


def resting(hint_s: float | None = None) -> Health:
    """A scope that was set aside at `START` for a minute, as its provider said or as we think."""
    health = Health(Breaking())
    health.cool(START, hint_s, cool_s=60.0, why="rate_limit")
    return health


def opened() -> Health:
    """A scope whose breaker opened at `START`, for five seconds."""
    health = Health(Breaking(jitter=0.0))
    for _ in range(3):
        health.bad(START, START, chance=0.0)
    assert health.breaker.state is State.OPEN
    return health


@pytest.mark.parametrize(
    ("hint_s", "began", "ends"), [(None, START, True), (None, START - 1.0, False), (60.0, START + 5.0, False)]
)
def test_an_answer_ends_a_rest_that_we_invented(hint_s: float | None, began: float, ends: bool) -> None:
    """If it began when the rest did, or later; what a provider asked for is kept."""
    health = resting(hint_s)
    health.good(START + 10.0, began, chance=0.0)
    assert (health.obstacle(START + 10.0, 0.0) is None) is ends
    assert (health.cool_until, health.cooled) == ((START + 10.0, 0) if ends else (START + 60.0, 1))


def test_an_answer_after_a_rest_leaves_it_where_it_was() -> None:
    """At its very end already: the next one is short again."""
    health = resting(60.0)
    health.good(START + 60.0, START, chance=0.0)
    assert (health.cool_until, health.cooled) == (START + 60.0, 0)


def test_a_rest_that_we_invent_is_five_minutes_at_most() -> None:
    """It doubles until then; one that is longer from the beginning stays as it is."""
    for cool_s, rests in ((60.0, [60.0, 120.0, 240.0, 300.0, 300.0]), (600.0, [600.0, 600.0])):
        health, now = Health(Breaking()), START
        for rest_s in rests:
            health.cool(now, None, cool_s=cool_s, why="quota")
            assert health.cool_until == now + rest_s
            now = health.cool_until


def test_of_equal_ends_the_first_is_told() -> None:
    """The reason why it rests is the one that made it rest so long."""
    health = resting(30.0)
    health.cool(START, 30.0, cool_s=1.0, why="quota")
    assert health.cooled_for == "rate_limit"
    health.cool(START, 31.0, cool_s=1.0, why="quota")
    assert (health.cooled_for, health.cooled) == ("quota", 1)


def test_what_began_before_an_outage_leads_nowhere() -> None:
    """An attempt from before that is dropped says nothing of the probe that is out."""
    for began, state in ((START, State.HALF_OPEN), (START + 5.0, State.OPEN)):
        for turn in (Health.dropped, Health.relapse):
            health = opened()
            health.started(START + 5.0, 0.0)
            turn(health, START + 6.0, began, chance=0.0)
            assert health.breaker.state is state


def test_beginnings_are_known_to_a_millionth_of_a_second() -> None:
    """They are worked out by subtraction: an attempt counts for what begins at the same moment, and not for later."""
    for later_s, counts in ((1e-6, True), (2e-6, False)):
        released, rested = Health(Breaking()), Health(Breaking())
        for event in (Event.FORCE_OPEN, Event.RELEASE):
            released.force(later_s, event)
        rested.cool(later_s, None, cool_s=60.0, why="rate_limit")
        for health in (released, rested):
            health.good(1.0, 0.0, chance=0.0)
        assert (released.window.calls, rested.cooled) == ((1, 0) if counts else (0, 1))


def test_a_failed_question_a_second_before_the_end_begins_the_rest_anew() -> None:
    """Where nobody was even there, no caller is sent to find that out; sooner it says nothing new."""
    for early_s, until in ((1.0, START + 14.0), (1.1, START + 5.0)):
        health = opened()
        health.suspect(START + 5.0 - early_s, chance=0.0, gone=True)
        assert (health.breaker.state, health.breaker.until) == (State.OPEN, until)


def test_who_may_be_looked_at() -> None:
    """What rests because we think so, after ten seconds; what nobody keeps away, at any time; no probe's target."""
    health = resting()
    moments = [START + 9.9, START + 10.0, START + 59.9, START + 60.0]
    assert [health.may_look(now) for now in moments] == [False, True, True, True]
    told = resting(60.0)
    assert [told.may_look(now) for now in moments] == [False, False, False, True]
    assert opened().may_look(START)
    probed = opened()
    probed.claim(START, chance=0.0)
    assert not probed.may_look(START + 1e6)
    forced = Health(Breaking())
    forced.force(START, Event.FORCE_OPEN)
    assert not forced.may_look(START)


def test_answers_and_failures_are_quick_unless_they_are_said_to_be_slow() -> None:
    """And found by calls, unless by a probe."""
    health = Health(Breaking())
    health.good(START, START, chance=0.0)
    health.bad(START, START, chance=0.0)
    assert health.window.counts(START) == (2, 1, 0)
    assert not Cause(FailureKind.SERVER, "m", START).probed
