"""What replicas tell each other, and that their boards come to the same whatever is late or out of order."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.core.limits import Limits
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Fact,
    Hearsay,
    LimitsTold,
    Operated,
    Probed,
    ProbeStarted,
    Reading,
    TargetForced,
)
from unbroken.failures import Failure, FailureKind, Scope
from unbroken.replicas.words import Gathering, decode, encode
from unbroken.types import Usage, Why

A = target_named("p/m#1")
ILL = Failure(kind=FailureKind.SERVER, message="it broke", status=500)
SKEW_S = 50_000.0
"""How far apart the clocks of replicas are here."""


@dataclass
class Replica:
    """A board, what is gathered from it, and a clock of its own."""

    name: str
    skew_s: float = 0.0

    def __post_init__(self) -> None:
        self.board = Board(Random(1))
        self.gathering = Gathering(self.board)

    def sees(self, *facts: Fact) -> None:
        """Facts of its own."""
        for fact in facts:
            self.board.fold(fact)
            self.gathering.add(fact)

    def says(self, now: float) -> bytes:
        """What it tells at this moment of the common time."""
        return encode(self.name, self.gathering.take(), now=now + self.skew_s)

    def hears(self, words: bytes, at: float) -> list[Fact]:
        """What others said at that moment."""
        _, facts = decode(words, at + self.skew_s)
        for fact in facts:
            self.board.fold(fact)
        return facts

    @property
    def state(self) -> State:
        return self.board.standing(A).model.breaker.state

    def counts(self, now: float) -> tuple[int, int, int]:
        """Calls, failures and slow calls of the model, in the window of now."""
        return self.board.standing(A).model.window.counts(now + self.skew_s)


def answered(at: float, seconds: float = 0.2, number: int = 1) -> AttemptAnswered:
    return AttemptAnswered(at, "f", number, A, seconds, seconds, stream=False)


def failed(at: float, failure: Failure = ILL) -> AttemptFailed:
    return AttemptFailed(at, "f", 1, A, failure, 0.1)


# ------------------------------------------------------------------------------- what is told


def test_of_what_is_well_only_what_is_usual_is_told_and_once() -> None:
    """While nothing fails, replicas have nothing more to say to each other than how long a target takes."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    one.sees(answered(START))
    other.hears(one.says(START), START)
    assert other.board.standing(A).latency(stream=False).usual_s == pytest.approx(0.2)
    for at in range(20):
        one.sees(AttemptStarted(START + at, "f", 1, A, Why.FIRST), answered(START + at))
    one.sees(AttemptFailed(START + 30, "f", 1, A, Failure(kind=FailureKind.REQUEST, message="yours"), 0.1))
    assert one.gathering.take() == []


def test_runs_are_told_in_their_order() -> None:
    """Three failed, two were answered, one failed: three runs, however many requests they were."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    one.sees(*(failed(START + n) for n in range(2)), *(answered(START + 2 + n) for n in range(3)), failed(START + 6))
    told = other.hears(one.says(START + 6.5), START + 7.0)
    assert [(fact.number, fact.failure is not None) for fact in told if isinstance(fact, Hearsay)] == [
        (2, True), (3, False), (1, True),
    ]  # fmt: skip
    assert [fact.at for fact in told] == pytest.approx([START + SKEW_S + at + 0.5 for at in (1, 4, 6)])
    assert other.counts(START + 7) == (6, 3, 0) == one.counts(START + 7)
    assert one.gathering.take() == [], "and nothing is told twice"


def test_what_a_failure_asks_for_is_told_with_it() -> None:
    """A limit's time to come back, its scope, and its words, but for the length of them."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    limited = Failure(kind=FailureKind.RATE_LIMIT, message="x" * 999, status=429, retry_after_s=30.0, scope=Scope.KEY)
    one.sees(failed(START, limited))
    other.hears(one.says(START), START)
    assert other.board.standing(A).key.cool_until == pytest.approx(START + SKEW_S + 30.0)
    assert len(other.board.standing(A).key.cause.message) == 200  # type: ignore[union-attr]


def test_failures_of_different_kinds_are_different_runs() -> None:
    """Each asks for something else."""
    one, other = Replica("one"), Replica("other")
    one.sees(failed(START), failed(START, Failure(kind=FailureKind.AUTH, message="no")))
    assert len(other.hears(one.says(START), START)) == 2


def test_one_that_looks_whether_it_is_back_is_enough() -> None:
    """A first request after a rest is told of, and others wait for what comes of it."""
    one, other = Replica("one"), Replica("other")
    for replica in (one, other):
        replica.sees(*(failed(START + n) for n in range(3)))
        replica.gathering.take()
        assert replica.state is State.OPEN
    back = START + 100.0
    one.sees(AttemptStarted(back, "f", 2, A, Why.FIRST))
    assert one.state is State.HALF_OPEN
    other.hears(one.says(back), back)
    assert other.state is State.HALF_OPEN
    one.sees(answered(back + 0.5))
    other.hears(one.says(back + 0.5), back + 0.6)
    assert {one.state, other.state} == {State.RAMPING}
    assert other.board.standing(A).worked_at == back + 0.6


def test_the_answer_that_ends_a_rest_is_told() -> None:
    """Else the next rest would be twice as long elsewhere."""
    one, other = Replica("one"), Replica("other")
    one.sees(failed(START, Failure(kind=FailureKind.LOADING, message="wait")))
    other.hears(one.says(START), START)
    assert other.board.standing(A).model.cooled == 1
    one.sees(answered(START + 60.0))
    other.hears(one.says(START + 60.0), START + 60.0)
    assert other.board.standing(A).model.cooled == 0


def test_slow_answers_and_lost_races_are_told() -> None:
    """What a board holds against a target, it holds against it elsewhere too."""
    one, other = Replica("one"), Replica("other")
    for n in range(20):
        one.sees(answered(START + n))
    one.gathering.take()
    one.sees(answered(START + 30, seconds=20.0))
    one.sees(AttemptAbandoned(START + 31, "f", 1, A, 1.0, outrun=True), AttemptAbandoned(START + 31, "f", 2, A, 1.0))
    told = other.hears(one.says(START + 31), START + 31)
    assert [(fact.slow, fact.failure and fact.failure.kind) for fact in told if isinstance(fact, Hearsay)] == [
        (True, None), (False, FailureKind.SLOW),
    ]  # fmt: skip
    assert other.counts(START + 31) == (2, 1, 1)


def test_who_gets_every_request_of_a_brownout_knows_what_was_usual_elsewhere() -> None:
    """The other one saw it well and is not asked any more: what it said then is enough to leave."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    one.sees(answered(START, seconds=0.1))
    other.hears(one.says(START + 0.1), START + 0.1)
    other.sees(*(answered(START + SKEW_S + 1 + n, seconds=1.1) for n in range(6)))
    assert other.state is State.OPEN


def test_who_first_asked_in_a_brownout_learns_what_is_usual() -> None:
    """A replica that never saw a target well takes others' word for it, and both leave a target that became slow."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    one.sees(answered(START, seconds=0.1), answered(START + 1, seconds=0.1))
    for turn in range(6):
        at = START + 2 + 2 * turn
        other.sees(answered(at + SKEW_S, seconds=1.1))
        one.hears(other.says(at + 0.1), at + 0.1)
        one.sees(answered(at + 1, seconds=1.1))
        other.hears(one.says(at + 1.1), at + 1.1)
    assert other.board.standing(A).latency(stream=False).usual_s < 0.3
    assert one.state is other.state is State.OPEN


def test_what_probes_heard_is_told() -> None:
    """One replica asks for all: a word that was answered ends a rest, a key that was refused is so for all."""
    one, other = Replica("one"), Replica("other", skew_s=SKEW_S)
    one.sees(*(failed(START + n) for n in range(3)))
    other.hears(one.says(START + 3), START + 3)
    back = START + 100.0
    one.sees(ProbeStarted(back, A, free=False), Probed(back + 1, A, free=False, seconds=1.0, usage=Usage()))
    told = other.hears(one.says(back + 1), back + 1)
    assert len(told) == 2 and other.state is State.RAMPING
    refused = Failure(kind=FailureKind.AUTH, message="no such key")
    one.sees(ProbeStarted(back, A, free=True), Probed(back + 2, A, free=True, seconds=1.0, failure=refused))
    other.hears(one.says(back + 2), back + 2)
    assert other.board.standing(A).key.refused


def test_scarce_limits_are_told_once() -> None:
    """Only the latest word on a limit of which less than half is left."""
    one, other = Replica("one"), Replica("other")
    other.board.limits = limits = Limits([A])
    other.board.watch(limits.reactions)
    ample, scarce = (Reading("requests", "requests", 100.0, 60.0, left) for left in (90.0, 3.0))
    for reading in (ample, scarce, scarce):
        one.sees(LimitsTold(START, "f", 1, A, (reading,)))
    told = other.hears(one.says(START), START)
    assert len(told) == 1
    (meter,) = limits.place(A).pools[0].meters.values()
    assert meter.room(START) == 3.0


def test_what_operators_do_is_told_as_it_is() -> None:
    """Breakers that are held, and acts with who did them."""
    one, other = Replica("one"), Replica("other")
    one.sees(TargetForced(START, A.quota_scope, open=True), Operated(START, "key 12ab", "strategy", "m", "best"))
    forced, acted = other.hears(one.says(START), START)
    assert other.board.forced_open(A)
    assert forced == TargetForced(START, A.quota_scope, open=True)
    assert acted == Operated(START, "key 12ab", "strategy", "m", "best")


def test_there_is_an_end_to_what_is_told_at_once() -> None:
    """A thousand changes of mind in a twentieth of a second are not worth knowing."""
    one = Replica("one")
    for n in range(600):
        one.sees(failed(START), answered(START + n / 1000))
    assert len(one.gathering.take()) == 500


@pytest.mark.parametrize("words", [b"", b"\xc1", b"\x92\xa1x\x91\x93\xa3new\x01\x02"])
def test_what_makes_no_sense_is_an_error_of_one_kind(words: bytes) -> None:
    """As another version of this program may say it."""
    with pytest.raises(ValueError, match="cannot be read"):
        decode(words, START)


def test_what_is_long_past_says_nothing() -> None:
    """A batch that was held up for longer than a window is not counted in a newer one."""
    one, other = Replica("one"), Replica("other")
    one.sees(*(failed(START + n) for n in range(3)))
    other.sees(answered(START + 500.0))
    other.hears(one.says(START + 3), START + 3)
    assert other.state is State.CLOSED and other.counts(START + 500.0) == (1, 0, 0)


# ---------------------------------------------------------------------- the same, in any order


def story(seed: int, share: float, replicas: int = 4) -> list[Replica]:
    """Twenty seconds of requests at several replicas, of which a share fails.

    What each says the others hear up to a second late, each at another time, so that batches overtake each other.
    """
    draw, on_its_way = Random(seed), []
    crew = [Replica(f"r{n}", skew_s=draw.uniform(0.0, SKEW_S)) for n in range(replicas)]
    for replica in crew:
        replica.sees(*[answered(START + replica.skew_s)] * 20, failed(START + replica.skew_s))
    for tick in range(1, 400):
        at = START + tick * 0.05
        for replica in crew:
            if draw.random() < 0.5:
                local = at + replica.skew_s
                replica.sees(failed(local) if draw.random() < share else answered(local))
            words = replica.says(at)
            on_its_way += [(at + draw.random(), at, other, words) for other in crew if other is not replica]
        for batch in [batch for batch in on_its_way if batch[0] <= at]:
            batch[2].hears(batch[3], batch[1])
            on_its_way.remove(batch)
    return crew


@pytest.mark.parametrize(("share", "opens"), [(0.01, False), (0.95, True)])
def test_what_comes_late_and_out_of_order_comes_to_the_same_health(share: float, opens: bool) -> None:
    """All replicas agree in 49 of 50 stories; where chance makes three failures one row somewhere, they may not."""
    agreed = sum(
        all((replica.state is not State.CLOSED) is opens for replica in story(seed, share)) for seed in range(50)
    )
    assert agreed >= 49


@pytest.mark.parametrize("seed", range(5))
def test_what_comes_late_and_out_of_order_comes_to_the_same_counts(seed: int) -> None:
    """The windows of a target that fails now and then differ by what is still on its way, a tenth of it at most."""
    counts = [replica.counts(START + 20.0) for replica in story(seed, share=0.01)]
    calls, failures = ([count[at] for count in counts] for at in (0, 1))
    assert min(calls) >= 0.9 * max(calls) > 500 and max(failures) - min(failures) <= 3


def test_a_failure_at_each_of_many_is_no_row_of_failures() -> None:
    """Ten replicas with a failure each, a moment after many answers: nobody leaves the target alone."""
    crew = [Replica(f"r{n}") for n in range(10)]
    for replica in crew:
        replica.sees(*(answered(START + n / 100) for n in range(20)), failed(START + 1.0))
    said = [(replica, replica.says(START + 1.0)) for replica in crew]
    for replica in crew:
        for other, words in said:
            if other is not replica:
                replica.hears(words, START + 1.0)
    assert {replica.state for replica in crew} == {State.CLOSED}
    assert crew[0].counts(START + 1.0) == (210, 10, 0)
