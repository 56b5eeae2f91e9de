"""Statistics: what was taken and paid is what the ledger says, and an end is what the caller saw."""

from __future__ import annotations

import pytest

from unbroken.facts import (
    Asked,
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    CacheAnswered,
    Continued,
    Fact,
    FlightEnded,
)
from unbroken.failures import Failure, FailureKind
from unbroken.ledger.recorder import Recorder
from unbroken.price import Price
from unbroken.tally import Tally
from unbroken.types import Mode, Target, Task, Usage, Why

PRICE = Price(input_usd=1.0, output_usd=2.0, request_usd=0.5)
A, B, C = (Target(name=f"{name}/m", provider=name, model="m", price=PRICE) for name in "abc")
BROKEN = Failure(kind=FailureKind.BROKEN, message="the connection was reset")
REFUSED = Failure(kind=FailureKind.SERVER, message="no", status=500)
TOLD = Usage(input_tokens=70, output_tokens=30)


def ended(failure: Failure | None = None, *, target: Target | None = A) -> FlightEnded:
    """The end of the request `f`."""
    return FlightEnded(9.0, "f", "m", target, 1, 9.0, failover=False, rescued=False, failure=failure)


def started(number: int, target: Target, why: Why = Why.FAILOVER, *, task: Task = Task.CHAT) -> AttemptStarted:
    """An attempt of it begins."""
    return AttemptStarted(float(number), "f", number, target, why, stream=True, prompt_chars=400, route="m", task=task)


CUT: list[Fact] = [
    started(1, A, Why.FIRST),
    AttemptFailed(2.0, "f", 1, A, BROKEN, 1.0, shown=True, chars=200, pieces=50),
    started(2, B, Why.CONTINUATION),
    Continued(2.0, "f", 2, A, B, Mode.PREFIX, 200),
    AttemptFailed(2.5, "f", 2, B, REFUSED, 0.5),
    started(3, C, Why.CONTINUATION),
    AttemptAnswered(4.0, "f", 3, C, 0.1, 1.0, stream=True, usage=TOLD, chars=100, pieces=25),
]
HEDGED: list[Fact] = [
    started(1, A, Why.FIRST),
    started(2, B, Why.HEDGE),
    AttemptAnswered(4.0, "f", 2, B, 0.1, 1.0, stream=True, usage=TOLD, chars=100, pieces=25),
    AttemptAbandoned(4.0, "f", 1, A, 3.0, outrun=True),
]
UNTOLD: list[Fact] = [
    started(1, A, Why.FIRST),
    AttemptAnswered(4.0, "f", 1, A, 0.1, 1.0, stream=True, chars=100, pieces=1),
]
VECTOR: list[Fact] = [
    started(1, A, Why.FIRST, task=Task.EMBEDDING),
    AttemptAnswered(4.0, "f", 1, A, 0.1, 1.0, stream=False),
]


@pytest.mark.parametrize("facts", [CUT, HEDGED, UNTOLD, VECTOR], ids=["cut", "hedged", "untold", "vector"])
def test_what_nobody_counted_is_estimated_as_in_the_ledger(facts: list[Fact]) -> None:
    """Attempts that were cut, outrun or never counted cost in the statistics what they cost in their record."""
    tally, recorder = Tally(), Recorder()
    tally.write([*facts, ended()])
    first = facts[0]
    assert isinstance(first, AttemptStarted)
    asked = Asked(0.0, "f", "m", first.task, first.stream, "", first.prompt_chars)
    (record,) = recorder.fold([asked, *facts, ended()], 0.0)
    assert any(row.counted == "estimate" for row in record.attempts)
    told = tally.statistics()
    assert told["cost_usd"] == pytest.approx(record.cost_usd)
    for row in record.attempts:
        account = told["providers"][row.provider]
        assert (account["input_tokens"], account["output_tokens"]) == (row.input_tokens, row.output_tokens)


@pytest.mark.parametrize("late", [False, True])
def test_an_older_answer_in_place_of_a_failure_is_an_answer(*, late: bool) -> None:
    """Where everybody failed and the caller was given a stale answer, he was answered, whatever came first."""
    served = CacheAnswered(8.0, "f", "m", "stale", "req_older", 60.0, A)
    tally, end = Tally(), ended(REFUSED, target=None)
    tally.write([started(1, A), AttemptFailed(2.0, "f", 1, A, REFUSED, 1.0)])
    tally.write([end, served] if late else [served, end])
    told = tally.statistics()
    assert (told["requests"], told["answered"], told["failed"]) == (1, 1, 0)
    assert told["providers"]["a"]["failed"] == 1
    tally.write([ended(REFUSED, target=None)])
    assert tally.statistics()["failed"] == 1  # it is spared once


def test_what_is_kept_of_requests_is_forgotten_with_them() -> None:
    """Requests that are over leave counts behind and nothing else."""
    tally = Tally()
    tally.write([*CUT, ended(), *HEDGED, ended(), ended(REFUSED)])
    tally.reset()
    tally.write([CacheAnswered(8.0, "f", "m", "stale", "req_older", 60.0, A)])
    assert (tally.statistics()["answered"], tally.statistics()["failed"]) == (0, 0)
    assert tally._under_way == {} and tally.targets == {}
