from __future__ import annotations

from itertools import product

import pytest

from unbroken.core.breaker import BUCKETS, TABLE, Breaker, Event, State, Window, step
from unbroken.policy import Breaking

POLICY = Breaking(open_s=5.0, open_s_max=60.0, jitter=0.1, ramp_s=10.0, ramp_share=0.2, probe_s=60.0)


def after(*events: Event, breaker: Breaker | None = None, now: float = 100.0, chance: float = 0.0) -> Breaker:
    """Where a breaker stands after these events, all at the same time."""
    breaker = breaker or Breaker()
    for event in events:
        breaker = step(breaker, event, now=now, policy=POLICY, chance=chance)
    return breaker


ROAD = {
    State.CLOSED: (),
    State.OPEN: (Event.TRIP,),
    State.HALF_OPEN: (Event.TRIP, Event.PROBE),
    State.RAMPING: (Event.TRIP, Event.PROBE, Event.GOOD),
    State.FORCED_OPEN: (Event.FORCE_OPEN,),
    State.FORCED_CLOSED: (Event.FORCE_CLOSE,),
}


@pytest.mark.parametrize(("state", "event"), list(product(State, Event)))
def test_the_table_says_everything(state: State, event: Event) -> None:
    """What is in the table happens; what is not changes nothing at all."""
    before = after(*ROAD[state])
    assert before.state is state
    result = after(event, breaker=before, now=200.0)
    if (state, event) in TABLE:
        assert result.state is TABLE[state, event]
    else:
        assert result is before


def test_a_hand_is_stronger_than_any_event() -> None:
    """What was forced stays so until it is released."""
    for force, state in ((Event.FORCE_OPEN, State.FORCED_OPEN), (Event.FORCE_CLOSE, State.FORCED_CLOSED)):
        forced = after(force)
        for event in set(Event) - {Event.FORCE_OPEN, Event.FORCE_CLOSE, Event.RELEASE}:
            assert after(event, breaker=forced).state is state
        assert after(Event.RELEASE, breaker=forced) == Breaker(State.CLOSED, 100.0)


@pytest.mark.parametrize(("opens", "open_s"), [(0, 5.0), (1, 10.0), (2, 20.0), (3, 40.0), (4, 60.0), (5_000, 60.0)])
def test_open_time_doubles_up_to_its_limit(opens: int, open_s: float) -> None:
    """However long an outage lasts, the time to the next probe has a limit (and is a number)."""
    opened = after(Event.TRIP, breaker=Breaker(opens=opens))
    assert opened.until == pytest.approx(100.0 + open_s)
    assert opened.opens == opens + 1


def test_open_time_doubles_thirty_times() -> None:
    """A limit that is never reached does not make a number that is none."""
    for opens in (30, 31, 5_000):
        patient = Breaking(open_s=1.0, open_s_max=1e12, jitter=0.0)
        opened = step(Breaker(opens=opens), Event.TRIP, now=0.0, policy=patient, chance=0.0)
        assert opened.until == 2.0**30
    assert Breaker() == Breaker(State.CLOSED, 0.0, 0.0, 0), "a new one is closed since ever"


def test_open_time_is_spread() -> None:
    """Replicas do not all probe at once: up to a tenth is added."""
    assert after(Event.TRIP, chance=1.0).until == pytest.approx(105.5)


def test_an_open_breaker_admits_a_probe_when_its_time_has_come() -> None:
    """Not before `until`; and then one, until it is heard of or taken for lost."""
    opened = after(Event.TRIP)
    assert not opened.admits(104.9, POLICY, chance=0.0)
    assert opened.admits(105.0, POLICY, chance=0.99)
    probing = after(Event.PROBE, breaker=opened, now=105.0)
    assert not probing.admits(164.9, POLICY, chance=0.0)
    assert probing.admits(165.0, POLICY, chance=0.99)
    again = after(Event.PROBE, breaker=probing, now=165.0)
    assert (again.state, again.since) == (State.HALF_OPEN, 165.0)


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    """A probe whose caller left leads neither up nor down."""
    dropped = after(Event.DROPPED, breaker=after(Event.TRIP, Event.PROBE), now=107.0)
    assert (dropped.state, dropped.until, dropped.opens) == (State.OPEN, 107.0, 1)
    assert dropped.admits(107.0, POLICY, chance=0.5)


def test_traffic_returns_along_a_straight_line() -> None:
    """A fifth at first, all of it after ten seconds."""
    ramping = after(Event.TRIP, Event.PROBE, Event.GOOD)
    assert ramping.share(100.0, POLICY) == pytest.approx(0.2)
    assert ramping.share(105.0, POLICY) == pytest.approx(0.6)
    assert ramping.share(999.0, POLICY) == 1.0
    assert ramping.admits(105.0, POLICY, chance=0.59)
    assert not ramping.admits(105.0, POLICY, chance=0.61)
    assert not ramping.settles(109.9, POLICY)
    assert ramping.settles(110.0, POLICY)
    assert Breaker(State.RAMPING, 100.0).share(100.0, Breaking(ramp_s=0.0)) == 1.0
    half = Breaking(ramp_s=0.5, ramp_share=0.5)
    assert Breaker(State.RAMPING, 100.0).share(100.0, half) == 0.5
    assert not Breaker(State.RAMPING, 100.0).admits(100.0, half, chance=0.5)


def test_settling_forgets_how_often_it_opened_but_not_since_when_it_is_well() -> None:
    """The next outage begins with the short time again; what began before the recovery stays old news."""
    settled = after(Event.SETTLED, breaker=after(Event.TRIP, Event.PROBE, Event.GOOD), now=110.0)
    assert settled == Breaker(State.CLOSED, since=100.0, until=0.0, opens=0)
    assert settled.admits(110.0, POLICY, chance=0.99)


def test_what_is_forced_open_admits_nobody() -> None:
    """Not even a probe."""
    assert not after(Event.FORCE_OPEN).admits(1e9, POLICY, chance=0.0)
    assert after(Event.FORCE_CLOSE).admits(0.0, POLICY, chance=0.99)


# ------------------------------------------------------------------- what amounts to a trip


def window_of(marks: str, *, every_s: float = 0.1, policy: Breaking = POLICY) -> Window:
    """A window of calls: `.` is good, `x` failed, `s` slow, `X` slow and failed."""
    window = Window(policy.window_s)
    for number, mark in enumerate(marks):
        window.add(1_000.0 + number * every_s, failed=mark in "xX", slow=mark in "sX")
    return window


@pytest.mark.parametrize(
    ("marks", "trips"),
    [
        ("", False),
        ("xx", False),
        ("xxx", True),  # three in a row
        ("xx.xx.", False),
        ("x.x.x.x", False),  # half of them, but only seven
        ("x.x.x.x.", True),  # half of eight
        ("x..x.x..x.", True),  # four of ten
        ("x..x.x....", False),
        ("x.x.x..." * 3, False),
        ("...." * 20 + "xx", False),
        ("ssss", False),
        ("sssss", True),  # five slow ones
        ("s.s.s.s.s.", True),  # half of ten
        ("s.s.s.s.s..", False),
    ],
)
def test_what_amounts_to_a_trip(marks: str, trips: bool) -> None:
    """Failures in a row, a rate of failures, or a rate of slow calls; the rates only over enough calls."""
    assert window_of(marks).trips(POLICY) is trips


def test_a_window_slides() -> None:
    """What is older than the window no longer counts; the others do."""
    window = window_of("x.x.", every_s=6.0)  # at 1000, 1006, 1012, 1018
    assert (window.calls, window.failures) == (4, 2)
    window.add(1_031.0, failed=False)
    assert (window.calls, window.failures) == (4, 1)
    window.add(1_200.0, failed=True, slow=True)
    assert (window.calls, window.failures, window.slow, window.in_a_row) == (1, 1, 1, 1)


def test_a_window_holds_ten_buckets() -> None:
    """Of steady traffic, whatever is looked at, the last thirty seconds count: no more, no less, again and again."""
    window = Window(POLICY.window_s)
    for number in range(100):
        now = 999.0 + 3.0 * number
        window.add(now, failed=number % 2 == 0)
        kept = min(number + 1, 10)
        assert (window.calls, window.failures) == (kept, (kept + (number + 1) % 2) // 2)
        assert window.counts(now) == (window.calls, window.failures, 0)
    window.add(now + 500.0, failed=True)
    assert (window.calls, window.failures) == (1, 1)
    assert window.counts(now + 500.0) == (1, 1, 0)


def test_a_window_that_is_cleared_is_new() -> None:
    """Nothing of what was counted is left."""
    window = window_of("xXs")
    window.clear()
    assert (window.calls, window.failures, window.slow, window.in_a_row) == (0, 0, 0, 0)
    window.add(1_001.0, failed=True)
    assert (window.calls, window.failures) == (1, 1)


def test_counts_are_those_of_the_buckets() -> None:
    """Over a long time of uneven traffic the totals never drift."""
    window = Window(POLICY.window_s)
    now = 0.0
    for number in range(2_000):
        now += (number * 7919 % 97) / 20.0
        window.add(now, failed=number % 3 == 0, slow=number % 5 == 0)
        assert window.calls == sum(bucket[0] for bucket in window._buckets)
        assert window.failures == sum(bucket[1] for bucket in window._buckets)
        assert window.slow == sum(bucket[2] for bucket in window._buckets)
        assert 1 <= window.calls <= number + 1
    assert len(window._buckets) == BUCKETS


def test_looking_at_a_window_moves_nothing() -> None:
    """What it holds is told for the moment that is asked for, though nothing was counted since."""
    window = window_of("xXs.", every_s=6.0)  # at 1000, 1006, 1012, 1018
    assert window.counts(1_018.0) == (4, 2, 2)
    assert window.counts(1_028.9) == (4, 2, 2), "a bucket is three seconds, and nine of them before this one count"
    assert window.counts(1_029.0) == (3, 1, 2)
    assert window.counts(1_035.0) == (2, 0, 1)
    assert window.counts(1_041.0) == (1, 0, 0)
    assert window.counts(1_046.9) == (1, 0, 0)
    assert window.counts(1_047.0) == (0, 0, 0)
    assert window.counts(9_999.0) == (0, 0, 0)
    assert (window.calls, window.failures, window.slow) == (4, 2, 2)


def test_what_is_told_late_is_counted_where_it_belongs() -> None:
    """A call of a while ago counts while the window reaches back to it, and leaves it when its own time has come."""
    window = window_of("..", every_s=20.0)  # at 1000 and 1020: buckets of three seconds from 999 and 1020
    assert [window.reaches(at) for at in (992.9, 993.0, 1_020.0, 2_000.0)] == [False, True, True, True]
    window.add(1_001.0, failed=True)
    assert window.counts(1_020.0) == (3, 1, 0)
    window.add(1_030.0, failed=False)
    assert window.counts(1_030.0) == (2, 0, 0)
