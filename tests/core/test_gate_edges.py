"""The queue at its edges: the first moment, the last of those who left, and targets of which only some will do."""

from __future__ import annotations

from core.gate_world import START, World, target
from unbroken.core.limits import Cost
from unbroken.facts import AttemptFailed
from unbroken.failures import Failure, FailureKind
from unbroken.types import Target


def falls_ill(world: World, one: Target, times: int = 3) -> None:
    """Its breaker opens, as it fails everybody."""
    for _ in range(times):
        failure = Failure(kind=FailureKind.SERVER, message="no", status=500)
        world.board.fold(AttemptFailed(START, "other", 1, one, failure, 0.0))


def test_one_target_with_room_is_enough_to_begin() -> None:
    """Whoever asks whether it may begin is not kept by those that are full."""
    full, free = target("a", concurrent_max=1), target("b")
    world = World(full, free)
    world.arrive(targets=(full,))
    assert not world.gate.open_to([full], Cost(), now=START)
    assert world.gate.open_to([full, free], Cost(), now=START)


def test_a_free_last_resort_is_tried_and_a_full_one_waited_for() -> None:
    """Where all are ill, whether anybody of them has room decides."""
    full, free = target("a", requests_per_min=1), target("b")
    world = World(full, free)
    world.arrive(targets=(full,))
    for one in (full, free):
        falls_ill(world, one)
    assert world.arrive(targets=(full,), route="s")[1] == "wait"
    assert world.arrive(targets=(full, free), route="t")[1] == "go" or world.gate.waiting
    other = World(full, free)
    other.arrive(targets=(full,))
    for one in (full, free):
        falls_ill(other, one)
    assert other.arrive(targets=(full, free))[1] == "go"


def test_whoever_waits_for_the_same_target_is_before_one() -> None:
    """On whatever route, and though others wait for something else."""
    one, two = target("a", concurrent_max=1), target("b", concurrent_max=1)
    world = World(one, two)
    first, _ = world.arrive(targets=(one,), route="r")
    world.arrive(targets=(two,), route="s")
    world.arrive(targets=(one,), route="r")
    world.arrive(targets=(two,), route="s")
    world.end(first, one, START)
    assert world.arrive(targets=(one,), route="t")[1] == "wait"


def test_time_may_begin_at_nought() -> None:
    """Whoever waits begins as soon as there is room, on a clock that has just been started too."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive(now=0.0)
    second, _ = world.arrive(now=0.0)
    world.end(first, one, 0.5)
    assert world.begun(0.5) == [second]


def test_who_comes_first_is_charged_from_now_on() -> None:
    """A caller of whom nothing is known begins where everybody is, and not behind small requests of another."""
    one = target(concurrent_max=1, tokens_per_min=1_000_000)
    world = World(one)
    first, _ = world.arrive("z")
    mine = [world.arrive("x")[0] for _ in range(3)]
    new, _ = world.arrive("y")
    order = []
    world.end(first, one, START)
    now = START
    while (begun := world.gate.next(now)) is not None or world.gate.waiting:
        now += 1.0
        if begun is not None:
            order.append(begun)
            world.begin(begun, now)
            world.end(begun, one, now)
    assert order == [mine[0], new, *mine[1:]]


def test_nobody_is_turned_away_for_somebody_else_who_left() -> None:
    """One whose caller is gone is dropped in silence, and those before and behind it wait on."""
    world = World(target(concurrent_max=1))
    world.arrive()
    early, _ = world.arrive(wait_s=50.0)
    late, _ = world.arrive(wait_s=100.0)
    world.gate.leave(late)
    assert world.gate.turned_away(START) == []
    assert [waiter for waiter, _ in world.gate.turned_away(START + 50.0)] == [early]


def test_who_is_too_late_though_there_is_room_is_told_so() -> None:
    """When nothing stood in the way at the end, others did; it may come back in some seconds."""
    one = target(concurrent_max=1)
    world = World(one)
    first, _ = world.arrive()
    world.arrive(wait_s=10.0)
    world.end(first, one, START + 9.0)
    ((_, failure),) = world.gate.turned_away(START + 10.0)
    assert failure.message == "no room at any target of 'r' (others wait), and there was none for 10.0 s"
    assert (failure.retry_after_s, failure.sent) == (5.0, False)


def test_it_is_a_limit_only_where_all_are_at_theirs() -> None:
    """Where one of the targets is merely busy, the caller is told of an overload and not of a rate."""
    limited, busy = target("a", requests_per_min=1), target("b", concurrent_max=1)
    for targets, kind in (((limited,), FailureKind.RATE_LIMIT), ((limited, busy), FailureKind.OVERLOADED)):
        world = World(*targets)
        for _ in targets:
            world.arrive()
        refused = world.arrive(waiting_max=0)[1]
        assert isinstance(refused, Failure)
        assert refused.kind is kind
