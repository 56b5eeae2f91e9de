"""What the simulation has found, each as small as it can be told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

import pytest

from loops import in_loop
from unbroken.admission import Admission
from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.flight import Finished
from unbroken.core.limits import Limits, Pool
from unbroken.core.spend import Spending
from unbroken.core.splice import Shown, Splicer
from unbroken.engine import Engine
from unbroken.facts import AttemptAnswered, AttemptFailed, AttemptStarted, TargetForced
from unbroken.policy import Policy, Queueing, Route, SpendLimit
from unbroken.replicas.backplane import Grant, Hold, Switch
from unbroken.replicas.claims import AT_ONCE_S, claims_of
from unbroken.replicas.leases import Claim, Leases
from unbroken.replicas.replica import Replica
from unbroken.replicas.words import Gathering, decode, encode, set_at
from unbroken.sim.ordeal.crowd import FAILURE, leased, spread
from unbroken.transport import Connections
from unbroken.types import Allowance, Continuation, Delta, Mode, Price, Request, Target, Why

TARGET = Target(name="a", provider="a", model="m", key_name="1", price=Price(request_usd=1.0))


# ----------------------------------------------------------------------------- limits


def _nobody(request: Request, route: Route, **_: Any) -> Any:
    """Begins nothing."""


def test_another_configuration_does_not_take_back_what_was_lent() -> None:
    """A reload leaves a replica its part of a limit of requests at once, and not all of it until it is told again."""
    pool = Pool(Allowance(concurrent_max=8))
    pool.lend(3.0)
    pool.follow(Allowance(concurrent_max=6))
    assert pool.at_once == 3
    pool.follow(Allowance(concurrent_max=2))
    assert pool.at_once == 2


def test_long_streams_hold_their_places() -> None:
    """Requests that are under way for longer than the dead are remembered are told of again before that."""
    limited = replace(TARGET, key_limits=Allowance(concurrent_max=4))
    board = Board(Random(1))
    admission = Admission(_nobody, board=board, clock=lambda: 0.0, bus=Bus(), limits=Limits([limited]))
    claims = [claim for claim in claims_of(admission, 0.0) if claim.name.endswith("at once")]
    assert claims and all(claim.again_s < claim.keep_s == AT_ONCE_S for claim in claims)


def test_what_is_given_back_is_not_spent_while_the_answer_is_on_its_way() -> None:
    """A replica that asks for less than it holds goes by that from then on: others may have it before it is told."""
    pool, leases = Pool(Allowance(concurrent_max=8)), Leases(None)

    def claim() -> Claim:
        return Claim(
            name="x", limit=8.0, spent=float(pool.in_flight), keep_s=5.0, tell=lambda part, _: pool.lend(part),
            least=1.0, whole=True,
        )  # fmt: skip

    pool.in_flight = 4
    leases.granted(leases.holds([claim()], now=1.0), [Grant(7.0, 1.0, 1.0)], replicas=4)
    assert pool.at_once == 7
    pool.in_flight = 0
    [(_, hold)] = leases.holds([claim()], now=1.1)
    assert hold.wanted == pool.at_once < 7


def test_nobody_looks_whether_a_target_is_back_that_has_no_room() -> None:
    """A strategy that looks at a target which failed does so within the target's limits."""
    limited, board = replace(TARGET, limits=Allowance(concurrent_max=1)), Board(Random(1))
    board.limits = Limits([limited])
    board.watch(board.limits.reactions)
    for number in range(3):
        board.fold(AttemptStarted(1.0, f"f{number}", 1, limited, Why.FIRST))
        board.fold(AttemptFailed(1.0, f"f{number}", 1, limited, FAILURE, 0.1))
    assert board.is_open(limited) and board.may_look(limited, 30.0)
    board.fold(AttemptStarted(30.0, "under way", 1, limited, Why.LAST_RESORT))
    board.fold(AttemptFailed(30.0, "f4", 1, limited, FAILURE, 0.0))
    assert board.is_open(limited) and not board.may_look(limited, 50.0)


# ----------------------------------------------------------------------------- budgets and the queue


class Listener:
    """A caller."""

    def __init__(self) -> None:
        self.end: Finished | None = None

    def show(self, deltas: Sequence[Delta]) -> None:
        """Nothing is looked at."""

    def finish(self, end: Finished) -> None:
        self.end = end


@in_loop
async def test_who_has_waited_is_not_let_in_when_the_budget_is_used_up_meanwhile() -> None:
    """A queue does not get past a budget: whoever waits for room is asked again whether there is money."""
    limited = replace(TARGET, limits=Allowance(concurrent_max=1))
    route = Route(name="r", targets=(limited,), policy=Policy(queue=Queueing(wait_s=60.0)))
    board, begun, callers = Board(Random(1)), list[str](), [Listener(), Listener()]

    def begin(request: Request, route: Route, *, caller: Any, flight_id: str, **_: Any) -> Any:
        begun.append(flight_id)
        board.fold(AttemptStarted(1.0, flight_id, 1, limited, Why.FIRST))

    spending = Spending([SpendLimit(name="all", usd_per_day=1.5)], wall=lambda: 1e9)
    admission = Admission(begin, board=board, clock=lambda: 1.0, bus=Bus(), limits=Limits([limited]), spending=spending)
    board.fold(AttemptStarted(1.0, "before", 1, limited, Why.FIRST))  # is in the way, and on no budget
    for number, caller in enumerate(callers):
        admission.fly(Request(model="r"), route, caller=caller, flight_id=f"f{number}")
    assert admission.gate.waiting == 2
    for flight in ("before", "f0"):
        board.fold(AttemptAnswered(1.0, flight, 1, limited, 0.1, 0.1, stream=False))
        admission.freed()
        await asyncio.sleep(0)
        assert begun == ["f0"]
    end = callers[1].end
    assert end is not None and end.failure is not None and end.failure.code == "budget_exceeded"


# ----------------------------------------------------------------------------- switches


class Plane:
    """A backplane that notes what goes over it."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.kept: dict[str, Switch] = {}

    def start(self, hearer: Any) -> None:
        """Nobody is there."""

    async def close(self) -> None:
        """Nothing is open."""

    def say(self, words: bytes) -> None:
        self.said.append(words)

    def keep(self, name: str, switch: Switch) -> None:
        self.kept[name] = switch

    async def hold(self, holds: Sequence[Hold]) -> tuple[list[Grant], int]:
        return [Grant(hold.wanted, 0.0, 0.0) for hold in holds], 1


def replica(plane: Plane, *, wall_s: float, now_s: float = 100.0) -> Replica:
    """One that has a plane, and clocks that stand still."""
    engine = Engine(board=Board(Random(1)), transport=Connections(), clock=lambda: now_s, bus=Bus(), draw=Random(1))
    return Replica(engine, plane, name="one", wall=lambda: wall_s)  # type: ignore[arg-type]


def forced(open_: bool | None, *, at: float = 100.0) -> TargetForced:
    return TargetForced(at, "a", open_)


def words(open_: bool | None, *, at: float) -> bytes:
    """As another replica says it."""
    return encode("other", [forced(open_)], now=100.0, set_at=at)


@in_loop
async def test_what_was_set_while_the_store_was_gone_is_told_to_those_who_are_there() -> None:
    """A switch that was turned while a replica was cut off reaches those, too, who never were."""
    plane = Plane()
    one = replica(plane, wall_s=50.0)
    one.write([forced(open_=True)])
    plane.said.clear()
    one.joined({})
    assert [decode(said, 100.0)[1] for said in plane.said] == [[forced(open_=True)]]
    assert set_at(plane.said[0]) == plane.kept["breaker a"].at == 50.0
    one.stop()


@in_loop
async def test_what_is_heard_late_does_not_undo_what_was_set_later() -> None:
    """Of two who turn a switch the later one counts, in whichever order that is heard."""
    one = replica(Plane(), wall_s=50.0)
    one.heard(words(open_=True, at=40.0), 100.0)
    one.heard(words(open_=None, at=30.0), 100.0)
    assert one._engine.board.taken_out(TARGET)
    one.heard(words(open_=None, at=41.0), 100.0)
    assert not one._engine.board.taken_out(TARGET)
    one.stop()


@in_loop
async def test_a_clock_that_is_behind_turns_switches_all_the_same() -> None:
    """Who turns a switch after somebody whose clock is ahead is later than that one."""
    plane = Plane()
    one = replica(plane, wall_s=50.0)
    one.heard(words(open_=True, at=4_000.0), 100.0)
    one.write([forced(open_=None, at=101.0)])
    assert plane.kept["breaker a"].at > 4_000.0
    one.stop()


@in_loop
async def test_what_is_heard_between_an_act_and_its_telling_does_not_undo_it() -> None:
    """A switch that is turned here stands here as it is told to others."""
    one = replica(Plane(), wall_s=50.0)
    one._engine.board.fold(forced(open_=None, at=99.0))
    one.heard(words(open_=True, at=40.0), 100.0)
    assert one._engine.board.taken_out(TARGET)
    one.write([forced(open_=None, at=99.0)])
    assert not one._engine.board.taken_out(TARGET)
    one.stop()


# ----------------------------------------------------------------------------- health of all


def test_a_row_that_opens_a_breaker_is_told_as_one() -> None:
    """A breaker that has opened in one replica opens in the others with the next message, whatever else they hear."""
    boards = [Board(Random(1)), Board(Random(2))]
    gathering = Gathering(boards[0])
    for number in range(3):
        fact = AttemptFailed(10.0 + number, f"f{number}", 1, TARGET, FAILURE, 0.1)
        boards[0].fold(fact)
        gathering.add(fact)
        for heard in decode(encode("one", gathering.take(), now=fact.at), fact.at)[1]:
            boards[1].fold(heard)
        assert boards[0].is_open(TARGET) is boards[1].is_open(TARGET) is (number == 2)
        boards[1].fold(AttemptAnswered(fact.at, f"g{number}", 1, TARGET, 0.1, 0.1, stream=False))


# ----------------------------------------------------------------------------- going on


@pytest.mark.parametrize(
    ("shown", "said", "joined"),
    [
        ("one.\n\n", ["\n\n two"], "one.\n\n two"),
        ("one.\n\n", ["\n", "\n", "two"], "one.\n\ntwo"),
        ("one.\n\n", ["two"], "one.\n\ntwo"),
        ("one ", [" two"], "one two"),
        ("one\n", ["\ntwo"], "one\n\ntwo"),
    ],
)
def test_white_space_at_a_break_is_not_doubled(shown: str, said: list[str], joined: str) -> None:
    """A format that takes no prefix with white space at its end has the model write it again; callers see it once."""
    seen = Shown()
    seen.add(Delta(text=shown))
    splicer = Splicer(Continuation(Mode.PREFIX, shown), seen)
    more: list[Delta] = []
    for text in said:
        found = splicer.feed([Delta(text=text)])
        assert isinstance(found, list)
        more += found
    last = splicer.close()
    assert isinstance(last, list)
    assert shown + "".join(delta.text for delta in [*more, *last]) == joined


# ----------------------------------------------------------------------------- many


def test_all_who_are_short_get_something_at_once() -> None:
    """A hundred replicas whose requests wait at the same time share a limit within a round, not one after the other."""
    assert leased(100, seconds=4.0).used > 0.95


def test_all_know_of_an_outage_within_a_second() -> None:
    """Ten replicas leave a provider alone a moment after the first of them does, and come back when it is well."""
    told = spread(10)
    assert told.first_s <= told.half_s <= told.all_s < min(1.0, told.first_s + 0.2)
    assert told.failed_first < 25
    assert told.back_s < 15.0
