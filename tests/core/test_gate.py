"""Who may begin, who waits and who is turned away: nobody is lost, nobody starves, no limit is broken."""

from __future__ import annotations

from collections import Counter
from math import inf

import pytest

from core.gate_world import START, World, target
from unbroken.core import gate as module
from unbroken.core.gate import Waiter
from unbroken.core.limits import Cost
from unbroken.facts import AttemptFailed, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.types import Target


def failure_of(verdict: str | Failure) -> Failure:
    assert isinstance(verdict, Failure)
    return verdict


def test_who_has_room_goes_at_once() -> None:
    """Without limits, and within them, nobody waits."""
    one = target(requests_per_min=2)
    world = World(one)
    assert world.gate.open_to([one], Cost(), now=START)
    assert [world.arrive()[1] for _ in range(2)] == ["go", "go"]
    assert not world.gate.open_to([one], Cost(), now=START)
    assert world.gate.waiting == 0
    assert world.gate.wake_at(START) == inf
    assert world.gate.next(START) is None
    assert world.gate.turned_away(START) == []


def test_another_target_with_room_takes_it() -> None:
    """Nobody waits while any target that is well has room."""
    world = World(target("a", requests_per_min=1), target("b"))
    assert [world.arrive()[1] for _ in range(5)] == ["go"] * 5


def test_who_waits_begins_when_there_is_room() -> None:
    """The gate says when it wants to be asked, and then lets in one after the other, as room comes back."""
    one = target(requests_per_min=2)
    world = World(one)
    waiters = [world.arrive(wait_s=200.0)[0] for _ in range(5)]
    assert world.gate.waiting == 3
    assert world.begun(START + 1.0) == []
    assert world.gate.wake_at(START + 60.0) == START + 60.5
    assert world.begun(START + 60.5) == waiters[2:3]
    assert world.gate.wake_at(START + 84.0) == START + 84.5
    assert world.begun(START + 84.4) == []
    assert world.begun(START + 84.5) == waiters[3:4]
    assert world.gate.waiting == 1
    assert world.gate.open_to([one], Cost(), now=START + 130.0) is False
    assert world.begun(START + 130.0) == waiters[4:]


@pytest.mark.parametrize(
    ("other", "begun"), [({}, 11), ({"b": {"requests_per_min": 48}}, 21), ({"b": {"concurrent_max": 1}}, 48)]
)
def test_who_waited_does_not_begin_in_a_rush(other: dict[str, dict[str, int]], begun: int) -> None:
    """What goes out evenly comes back so: a quarter faster than on average, unless a target has no such limit."""
    world = World(target(requests_per_min=48), *(target(name, **limits) for name, limits in other.items()))
    for _ in range(200):
        world.arrive(wait_s=200.0, waiting_max=200)
    moments = [START + 60.5 + quarter / 4.0 for quarter in range(41)]
    assert sum(len(world.begun(now)) for now in moments) == begun


def test_it_is_looked_every_second_and_not_in_between() -> None:
    """Somebody may get well meanwhile; but nobody is woken for the past."""
    world = World(target(concurrent_max=1))
    world.arrive()
    world.arrive()
    assert world.gate.wake_at(START) == START + 1.0
    near = World(target(requests_per_min=1))
    near.arrive()
    near.arrive(wait_s=70.0)
    near.gate.arrive(near.waiter(wait_s=70.0), START)
    assert near.gate.wake_at(START + 60.4999) == pytest.approx(START + 60.5009, rel=1e-9)
    assert near.gate.wake_at(START + 69.9999) == pytest.approx(START + 70.0009, rel=1e-9)


def test_the_deadline_wakes_too() -> None:
    """Who has waited long enough is told then, and not a second later."""
    world = World(target(concurrent_max=1))
    world.arrive()
    world.arrive(wait_s=0.4)
    world.arrive(wait_s=0.9)
    assert world.gate.wake_at(START) == START + 0.4


def test_an_ended_attempt_lets_the_next_in() -> None:
    """With so many at once, each end is a beginning."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive()
    second, verdict = world.arrive()
    assert verdict == "wait"
    assert world.begun(START) == []
    world.end(first, one, START + 1.0)
    assert world.begun(START + 1.0) == [second]
    assert second.arrived == START


def test_nobody_overtakes_who_waits() -> None:
    """Who comes when there is room, but others wait for it, goes behind them: on the same route or another."""
    one, other = target(concurrent_max=1), target("b")
    world = World(one)
    first, _ = world.arrive()
    second, _ = world.arrive()
    world.end(first, one, START)
    third, verdict = world.arrive(route="s")
    assert verdict == "wait"
    assert world.arrive(targets=(other,), route="t")[1] == "go"
    assert world.begun(START) == [second]
    world.end(second, one, START)
    assert world.begun(START) == [third]


def test_a_wait_that_would_be_too_long_is_told_at_once() -> None:
    """Whoever would wait longer than it may is turned away now, and told when there will be room."""
    world = World(target(requests_per_min=2))
    for _ in range(2):
        world.arrive()
    assert world.arrive(wait_s=60.6)[1] == "wait"
    assert world.arrive(wait_s=60.6)[1] == "wait"
    refused = failure_of(world.arrive(wait_s=60.6)[1])
    assert refused.kind is FailureKind.RATE_LIMIT
    assert refused.retry_after_s == 121.0
    assert not refused.sent
    assert refused.message == (
        "no room at any target of 'r' (a: its limit of 2 requests in 60 s is reached), and the wait would be too long"
    )
    assert world.arrive(wait_s=60.4, caller="y")[1] != "wait"
    assert world.gate.waiting == 2


def test_a_full_queue_turns_away() -> None:
    """The bound holds: 429 where a limit is reached, 503 where everybody is busy."""
    limited, busy = World(target(requests_per_min=1)), World(target(concurrent_max=1))
    for world, kind in ((limited, FailureKind.RATE_LIMIT), (busy, FailureKind.OVERLOADED)):
        world.arrive()
        assert world.arrive(waiting_max=1)[1] == "wait"
        refused = failure_of(world.arrive(waiting_max=1, wait_s=1_000.0)[1])
        assert refused.kind is kind
        assert refused.message.endswith("1 requests wait already")
        assert world.arrive(waiting_max=0, caller="y", route="s")[1] != "wait"
    assert failure_of(busy.arrive(waiting_max=1)[1]).retry_after_s == 5.0


def test_whoever_has_waited_long_enough_is_turned_away() -> None:
    """At its deadline a waiter leaves with a failure, and nobody else does."""
    world = World(target(concurrent_max=1))
    world.arrive()
    early, _ = world.arrive(wait_s=1.0)
    late, _ = world.arrive(wait_s=2.0)
    assert world.gate.turned_away(START + 0.999) == []
    ((gone, failure),) = world.gate.turned_away(START + 1.0)
    assert gone is early
    assert failure.message.endswith("there was none for 1.0 s")
    assert failure.kind is FailureKind.OVERLOADED
    assert [waiter for waiter, _ in world.gate.turned_away(START + 2.0)] == [late]
    assert world.gate.waiting == 0


def test_nobody_begins_after_the_deadline() -> None:
    """Room that comes too late is for somebody else."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive()
    world.arrive(wait_s=1.0)
    world.end(first, one, START + 1.0)
    assert world.gate.next(START + 1.0) is None


def test_a_caller_that_leaves_is_out_of_the_queue() -> None:
    """The next in line takes the place; leaving twice, or after the beginning, harms nobody."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive()
    second, _ = world.arrive()
    third, _ = world.arrive()
    world.gate.leave(second)
    world.gate.leave(second)
    assert world.gate.waiting == 1
    world.end(first, one, START)
    assert world.begun(START) == [third]
    world.gate.leave(third)
    assert world.gate.waiting == 0
    assert world.gate.wake_at(START) == inf


def test_who_left_wakes_nobody() -> None:
    """The deadline of a caller that is gone is none."""
    world = World(target(concurrent_max=1))
    world.arrive()
    early, _ = world.arrive(wait_s=0.1)
    world.arrive(wait_s=0.5)
    world.gate.leave(early)
    assert world.gate.wake_at(START) == START + 0.5
    assert world.gate.turned_away(START + 0.2) == []


def test_who_leaves_has_paid_nothing() -> None:
    """A caller whose requests left the queue is not behind others for it."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    for waiter in [world.arrive("x")[0] for _ in range(5)]:
        world.gate.leave(waiter)
    other, _ = world.arrive("y")
    mine, _ = world.arrive("x")
    last, _ = world.arrive("y")
    world.end(first, one, START)
    order = []
    while (begun := world.gate.next(START)) is not None:
        order.append(begun)
        world.begin(begun, START)
        world.end(begun, one, START)
    assert order == [other, mine, last]


def test_callers_take_turns_however_many_requests_each_has() -> None:
    """Fifty of one caller do not keep another's five waiting."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    for _ in range(50):
        world.arrive("greedy")
    for _ in range(5):
        world.arrive("modest")
    world.end(first, one, START)
    order = []
    while (waiter := world.gate.next(START)) is not None:
        order.append(waiter.caller)
        world.begin(waiter, START)
        world.end(waiter, one, START)
    assert Counter(order[:10]) == {"greedy": 5, "modest": 5}
    assert order[10:] == ["greedy"] * 45


def test_large_requests_are_charged_for_what_they_take() -> None:
    """One caller's requests of four times the tokens get a quarter of the turns."""
    one = target(tokens_per_min=4_000)
    world = World(one)
    world.arrive("z", cost=Cost(0, 4_000))
    for _ in range(40):
        world.arrive("large", cost=Cost(0, 400), wait_s=1e6)
        world.arrive("small", cost=Cost(0, 100), wait_s=1e6)
    turns = Counter(waiter.caller for second in range(60) for waiter in world.begun(START + 60.5 + second))
    assert 3.0 <= turns["small"] / turns["large"] <= 5.0


def test_a_greedy_callers_latest_makes_room_in_a_full_queue() -> None:
    """A full queue is no reason to turn away somebody who has less in it than another."""
    one = target(concurrent_max=1)
    world = World(one)
    world.arrive("z")
    greedy = [world.arrive("greedy", waiting_max=3)[0] for _ in range(3)]
    modest, verdict = world.arrive("modest", waiting_max=3)
    assert verdict == "wait"
    ((gone, failure),) = world.gate.turned_away(START)
    assert gone is greedy[-1]
    assert failure.message.endswith("another caller has waited with fewer requests")
    assert world.arrive("modest", waiting_max=3)[1] != "wait"
    assert world.gate.waiting == 3
    assert world.gate.turned_away(START) == []
    assert modest.gone is False


def test_where_nobody_is_well_the_flight_knows_what_to_do() -> None:
    """A request does not wait for a target that is ill: it goes, and meets the last resort."""
    one = target(requests_per_min=1)
    world = World(one)
    world.board.fold(TargetForced(START, one.endpoint, open=True))
    assert [world.arrive()[1] for _ in range(3)] == ["go"] * 3


def test_where_everybody_is_ill_and_full_it_waits_too() -> None:
    """A flight could only fail at once: a 429 whose time is known is waited for as the limit is."""
    one = target(requests_per_min=1)
    world = World(one)
    first, _ = world.arrive()
    refused = Failure(kind=FailureKind.RATE_LIMIT, message="no", status=429, retry_after_s=70.0)
    world.board.fold(AttemptFailed(START, first.id, 1, one, refused, 0.1))
    assert world.arrive(wait_s=69.9)[1] != "wait"
    second, verdict = world.arrive(wait_s=90.0)
    assert verdict == "wait"
    assert world.gate.wake_at(START + 59.9) == START + 60.9
    assert world.begun(START + 60.4) == []
    assert world.begun(START + 60.5) == [second]
    gone = target("b", requests_per_min=1)
    world.board.fold(TargetForced(START, gone.endpoint, open=True))
    assert world.arrive(now=START + 60.5, targets=(gone, one), route="s")[1] == "wait"


def test_a_free_last_resort_is_left_to_the_flight() -> None:
    """Where all are ill and one of them has room, the request goes and tries that one."""
    one, other = target("a", requests_per_min=1), target("b")
    world = World(one, other)
    world.arrive()
    for ill in (one, other):
        world.board.fold(TargetForced(START, ill.endpoint, open=True))
    assert world.arrive()[1] == "go"


def test_it_waits_for_who_is_well_not_for_who_is_free_but_ill() -> None:
    """A healthy target without room is waited for, although a broken one has room."""
    healthy, broken = target("a", concurrent_max=1), target("b")
    world = World(healthy, broken)
    world.board.fold(TargetForced(START, broken.endpoint, open=True))
    assert world.arrive()[1] == "go"
    assert world.arrive()[1] == "wait"
    world.board.fold(TargetForced(START, broken.endpoint, open=None))
    assert len(world.begun(START)) == 1


def test_accounts_of_callers_are_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers choose their names: only those with something outstanding are remembered."""
    monkeypatch.setattr(module, "CALLERS_MAX", 3)
    one = target(concurrent_max=1)
    world = World(one)
    waiter, _ = world.arrive("z")
    world.arrive("waits for ever", route="s")
    for number in range(10):
        world.arrive(f"caller {number}")
        world.end(waiter, one, START)
        (waiter,) = world.begun(START)
        assert len(world.gate._paid) <= 3


def test_accounts_of_those_who_wait_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many callers there are, nobody begins anew while he waits."""
    monkeypatch.setattr(module, "CALLERS_MAX", 3)
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    x1, x2, y1, w1, x3, y2 = (world.arrive(caller)[0] for caller in "xxywxy")
    assert served(world, one, first) == [x1, y1, w1, x2, y2, x3]


def test_how_fast_others_begin_tells_how_long_it_takes() -> None:
    """Where no meter knows, the pace of those before is the measure, and the wait of those behind a product."""
    one = target(concurrent_max=1)
    world = World(one)
    last, _ = world.arrive()
    for _ in range(30):
        world.arrive()
    for turn in range(1, 21):
        world.end(last, one, START + turn)
        (last,) = world.begun(START + turn)
    refused = failure_of(world.arrive(now=START + 20.0, waiting_max=1)[1])
    assert refused.retry_after_s is not None
    assert 8.0 <= refused.retry_after_s <= 11.0


def served(world: World, one: Target, first: Waiter, now: float = START) -> list[Waiter]:
    """Everybody who waits for a target that takes one at a time, in the order in which they begin."""
    order = []
    world.end(first, one, now)
    while (begun := world.gate.next(now)) is not None:
        order.append(begun)
        world.begin(begun, now)
        world.end(begun, one, now)
    return order


def test_how_long_it_takes_follows_from_who_is_before() -> None:
    """Others come first only in turns: a caller without anything waiting has one of another before it, not three."""
    world = World(target(requests_per_min=1))
    world.arrive("x")
    for _ in range(3):
        assert world.arrive("x", wait_s=1e6)[1] == "wait"
    assert world.arrive("y", wait_s=120.4)[1] != "wait"
    assert world.arrive("y", wait_s=120.5)[1] == "wait"
    assert world.arrive("x", wait_s=300.4)[1] != "wait"
    assert world.arrive("x", wait_s=300.5)[1] == "wait"


def test_several_targets_share_those_who_are_before() -> None:
    """With two targets half of them are in the way at each, and the first to be free counts."""
    first, second = target("a", requests_per_min=1), target("b", requests_per_min=1)
    world = World(first, second)
    world.arrive()
    world.arrive(now=START + 10.0)
    assert world.arrive(now=START + 10.0, wait_s=50.4)[1] != "wait"
    for _ in range(3):
        assert world.arrive(now=START + 10.0, wait_s=1e6)[1] == "wait"
    assert world.arrive(now=START + 10.0, wait_s=170.4)[1] != "wait"
    assert world.arrive(now=START + 10.0, wait_s=170.5)[1] == "wait"


def test_what_left_the_queue_costs_no_turn_while_others_wait() -> None:
    """A caller that took one back is where it was before; so is one whose latest had to make room."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    y1, x1, x2 = (world.arrive(caller)[0] for caller in "yxx")
    world.gate.leave(x2)
    y2, y3, x3 = (world.arrive(caller)[0] for caller in "yyx")
    assert served(world, one, first) == [y1, x1, y2, x3, y3]

    world = World(one)
    first, _ = world.arrive("z")
    g1, g2, g3, _ = (world.arrive("g", waiting_max=4)[0] for _ in range(4))
    m1, _ = world.arrive("m", waiting_max=4)
    m2, m3, m4, m5 = (world.arrive("m")[0] for _ in range(4))
    g5, _ = world.arrive("g")
    assert served(world, one, first) == [g1, m1, g2, m2, g3, m3, m4, g5, m5]


def test_the_pace_is_an_average_in_which_the_new_weighs_a_tenth() -> None:
    """Two beginnings a second apart make a pace of a tenth of a second, times those before and oneself."""
    one = target(concurrent_max=1)
    world = World(one)
    last, _ = world.arrive()
    for _ in range(3):
        world.arrive()
    for turn in (1, 2):
        world.end(last, one, START + turn)
        (last,) = world.begun(START + turn)
    assert world.arrive(now=START + 2.0, wait_s=0.19)[1] != "wait"
    assert world.arrive(now=START + 2.0, wait_s=0.21)[1] == "wait"
    assert world.arrive(now=START + 2.0, wait_s=0.29)[1] != "wait"


def test_the_largest_part_that_a_request_takes_of_any_target_is_its_price() -> None:
    """Where targets differ, it pays for the one of which it takes most."""
    small, large = target("a", requests_per_min=2), target("b", requests_per_min=10)
    world = World(small, large)
    assert world.gate._charge(world.waiter()) == 0.5
    assert world.gate._charge(world.waiter(targets=(large,))) == 0.1


def test_who_comes_late_does_not_catch_up() -> None:
    """Shares are of what there is from now on: nobody is repaid for time in which nothing was asked."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    early = [world.arrive("x")[0] for _ in range(8)]
    for waiter in early[:5]:
        world.end(first, one, START)
        assert world.begun(START) == [waiter]
        first = waiter
    late = [world.arrive("y")[0] for _ in range(3)]
    assert served(world, one, first) == [late[0], early[5], late[1], early[6], late[2], early[7]]


def test_an_empty_queue_forgets() -> None:
    """After everybody was served all begin anew, in the order in which they come."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive("z")
    for _ in range(3):
        world.arrive("x")
    served(world, one, first)
    first, _ = world.arrive("z")
    x, y = world.arrive("x")[0], world.arrive("y")[0]
    assert served(world, one, first) == [x, y]
    assert world.gate.wake_at(START + 1e6) == inf
    assert not world.gate._deadlines


def test_only_who_has_more_makes_room() -> None:
    """Of several callers the one with the most, and nobody for whom that would only be a swap."""
    one = target(concurrent_max=1)
    world = World(one)
    world.arrive("z")
    world.arrive("a", waiting_max=4)
    latest = [world.arrive("b", waiting_max=4)[0] for _ in range(3)][-1]
    assert world.arrive("c", waiting_max=4)[1] == "wait"
    assert [waiter for waiter, _ in world.gate.turned_away(START)] == [latest]
    assert world.arrive("d", waiting_max=4)[1] == "wait"
    assert world.arrive("e", waiting_max=4)[1] != "wait"
    assert len(world.gate.turned_away(START)) == 1
