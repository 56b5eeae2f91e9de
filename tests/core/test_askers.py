"""How much a key of the gateway may ask for: in a minute, in a day, at once."""

from __future__ import annotations

from unbroken.core.askers import Askers
from unbroken.core.limits import Cost
from unbroken.facts import AttemptAnswered, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.types import Allowance, Target, Usage

TARGET = Target(name="a/m", provider="a", model="m")
COST = Cost(400, 100)
"""A hundred tokens in, a hundred out."""


class World:
    """Keys with allowances, and a teller of what becomes of their requests."""

    def __init__(self, **allowance: int) -> None:
        self.askers = Askers({"alice": Allowance(**allowance)})
        self.flights = 0

    def ask(self, now: float = 0.0, *, asker: str = "alice") -> Failure | None:
        refused = self.askers.refusal(asker, COST, now=now)
        if refused is None:
            self.flights += 1
            self.askers.begin(f"f{self.flights}", asker, cost=COST, now=now)
        return refused

    def answer(self, tokens: int | None, now: float = 0.0) -> None:
        usage = None if tokens is None else Usage(input_tokens=tokens // 2, output_tokens=tokens - tokens // 2)
        flight = f"f{self.flights}"
        answered = AttemptAnswered(now, flight, 1, TARGET, 1.0, 1.0, stream=False, usage=usage)
        self.askers.reactions[AttemptAnswered](answered)
        self.end(now=now)

    def end(self, failure: Failure | None = None, *, now: float = 0.0) -> None:
        ended = FlightEnded(now, f"f{self.flights}", "r", None, 1, 1.0, failover=False, rescued=False, failure=failure)
        self.askers.reactions[FlightEnded](ended)


BROKEN = Failure(kind=FailureKind.SERVER, message="no")


def test_requests_come_back_when_their_minute_is_over() -> None:
    """The third request of a minute that allows two is refused, and told when the first will have passed."""
    world = World(requests_per_min=2)
    assert [world.ask(0.0), world.ask(10.0)] == [None, None]
    refused = world.ask(20.0)
    assert refused is not None
    assert (refused.status, refused.code, refused.sent) == (429, "rate_limit_exceeded", False)
    assert refused.retry_after_s is not None
    assert 40.0 <= refused.retry_after_s <= 41.0
    assert world.ask(20.0 + refused.retry_after_s) is None


def test_others_are_not_concerned() -> None:
    """A key without limits has none, whatever befalls one that has."""
    world = World(requests_per_min=1)
    world.ask()
    assert world.ask() is not None
    assert [world.ask(asker="bob") for _ in range(5)] == [None] * 5


def test_tokens_are_put_right_when_they_are_known() -> None:
    """What a request is thought to take holds its place, what it did take counts."""
    world = World(tokens_per_min=210)
    assert world.ask() is None
    assert world.ask() is not None, "200 of 210 are thought to be gone"
    world.answer(20)
    ((_, pool),) = world.askers.used(0.0)
    assert pool.meters["tokens in 60 s"].room(0.0) == 190.0
    assert world.ask() is None, "only 20 were"


def test_what_nobody_counted_stays_as_it_was_thought() -> None:
    """An answer without usage took what it was thought to take."""
    world = World(tokens_per_min=210)
    world.ask()
    world.answer(None)
    assert world.ask() is not None


def test_what_nobody_answered_took_no_tokens() -> None:
    """A failed request gives its tokens back; that it was asked stays so."""
    world = World(tokens_per_min=210, requests_per_min=2)
    world.ask()
    world.end(BROKEN)
    assert world.ask() is None
    world.end(BROKEN)
    assert world.ask() is not None


def test_at_once_is_at_once() -> None:
    """A place is free when a request is over, however it went; the refused is told to come back soon."""
    world = World(concurrent_max=1)
    assert world.ask() is None
    refused = world.ask()
    assert refused is not None
    assert refused.retry_after_s == 1.0
    world.end(BROKEN)
    assert world.ask() is None


def test_each_end_frees_one_place() -> None:
    """Of two under way one ends: there is room for one more, and not for two."""
    world = World(concurrent_max=2)
    assert [world.ask() is None for _ in range(3)] == [True, True, False]
    world.end(BROKEN)
    assert [world.ask() is None for _ in range(2)] == [True, False]


def test_what_a_key_has_left_can_be_looked_at() -> None:
    """Each limited key that was used, with what is counted for it, by its hash."""
    world = World(requests_per_min=2, concurrent_max=5)
    assert list(world.askers.used(0.0)) == []
    world.ask()
    ((asker, pool),) = world.askers.used(0.0)
    assert (asker, pool.in_flight) == ("alice", 1)
    assert [meter.room(0.0) for meter in pool.meters.values()] == [1.0]


def test_a_key_that_is_not_used_any_more_has_its_whole_limit() -> None:
    """Once all that it spent has come back, what others left of it is forgotten; it is met anew when it is used."""
    world, met = World(requests_per_min=2, concurrent_max=5), list[str]()
    world.askers.met = lambda asker, _: met.append(asker)
    world.ask()
    ((_, pool),) = world.askers.used(60.0)
    pool.lend(0.0)
    next(iter(pool.meters.values())).lend(0.0)
    assert len(list(world.askers.used(1_000.0))) == 1, "it is still under way"
    world.end()
    assert list(world.askers.used(1_000.0)) == []
    assert world.ask(now=1_001.0) is None and met == ["alice", "alice"]
    world.askers.follow({})
    assert list(world.askers.used(1_001.0)) == []


def test_who_is_used_is_known_for_ten_seconds_longer_than_its_longest_window() -> None:
    """Then what others had left of it is its own again, and its next request is heard of as its first was."""
    world = World(requests_per_min=2, requests_per_day=100)
    met: list[str] = []
    world.askers.met = lambda asker, _: met.append(asker)
    assert list(world.askers.used(1_000.0)) == []
    world.ask(1_000.0)
    world.end(now=1_001.0)
    ((asker, pool),) = world.askers.used(1_000.0 + 86_410.0)
    assert (asker, met) == ("alice", ["alice"])
    for meter in pool.meters.values():
        meter.lend(1.0)
    assert list(world.askers.used(1_000.0 + 86_410.1)) == []
    assert not any(meter.is_shared for meter in pool.meters.values())
    world.ask(90_000.0)
    assert met == ["alice", "alice"]
    assert [asker for asker, _ in world.askers.used(1e9)] == ["alice"], "as long as a request is under way"
    world.askers.follow({})
    assert list(world.askers.used(90_000.0)) == []
    busy = World(concurrent_max=1)
    busy.ask(1_000.0)
    busy.end(now=1_000.0)
    assert [len(list(busy.askers.used(1_000.0 + later_s))) for later_s in (10.0, 10.1)] == [1, 0]


def test_whoever_is_refused_is_told_the_latest_of_its_limits() -> None:
    """The minute is over sooner than the day."""
    world = World(requests_per_min=1, requests_per_day=1)
    world.ask()
    refused = world.ask()
    assert refused is not None
    assert refused.retry_after_s is not None
    assert refused.retry_after_s > 80_000.0


def test_other_allowances_forgive_nothing() -> None:
    """What was spent stays spent when a key's limits change; without limits it is free, a new one has its own."""
    world = World(requests_per_min=2)
    world.ask()
    world.ask()
    world.askers.follow({"alice": Allowance(requests_per_min=3), "bob": Allowance(requests_per_min=1)})
    assert [world.ask() is None, world.ask() is None] == [True, False]
    assert [world.ask(asker="bob") is None, world.ask(asker="bob") is None] == [True, False]
    world.askers.follow({})
    assert world.ask() is None


def test_a_key_that_was_gone_is_met_anew() -> None:
    """Whoever loses a limit and gets one again begins with the whole of it, and others are asked what is left."""
    world, met = World(requests_per_min=2), list[str]()
    world.askers.met = lambda asker, _: met.append(asker)
    world.ask()
    world.askers.follow({})
    world.askers.follow({"alice": Allowance(requests_per_min=2)})
    assert list(world.askers.used(0.0)) == []
    world.ask()
    assert met == ["alice", "alice"]


def test_facts_of_others_are_no_matter() -> None:
    """Requests without a limited key are not kept account of."""
    world = World(requests_per_min=1)
    world.ask(asker="bob")
    world.answer(10)
    assert world.ask() is None
