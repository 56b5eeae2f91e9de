"""Facts folded into decision records."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from unbroken.facts import (
    Asked,
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    BudgetExceeded,
    CacheAnswered,
    Continued,
    Decided,
    Fact,
    FirstContent,
    FlightEnded,
    LeftOut,
    Queued,
    Shed,
)
from unbroken.failures import Failure, FailureKind
from unbroken.ledger.record import Record, decoded, told
from unbroken.ledger.recorder import DONE_MAX, Recorder
from unbroken.price import Price
from unbroken.types import Mode, Target, Task, Usage, Why

EPOCH_S = 1_700_000_000.0
PRICE = Price(input_usd=1.0, output_usd=10.0)
A, B, C = (Target(name=f"{name}/m", provider=name, model="m", price=PRICE) for name in "abc")
CUT = Failure(kind=FailureKind.TRUNCATED, message="the stream\nended  early")
NOBODY = Failure(kind=FailureKind.SERVER, message="no", status=500)


def only(facts: list[Fact]) -> Record:
    """The record that these facts make."""
    (record,) = Recorder().fold(facts, EPOCH_S)
    return record


def rescue() -> list[Fact]:
    return [
        Asked(10.0, "f", "r", Task.CHAT, True, "abc", 400),
        Decided(10.0, "f", "r", "priority", (A, B), ((C, "breaker open"),)),
        AttemptStarted(10.0, "f", 1, A, Why.FIRST, True, 400, "r"),
        FirstContent(10.4, "f", 1, A, 0.4),
        AttemptFailed(11.0, "f", 1, A, CUT, 1.0, True, None, 100, 20),
        AttemptStarted(11.0, "f", 2, B, Why.CONTINUATION, True, 400, "r"),
        Continued(11.0, "f", 2, A, B, Mode.PREFIX, 100),
        LeftOut(11.0, "f", 2, B, ("seed",)),
        FirstContent(11.3, "f", 2, B, 0.3),
        AttemptAnswered(12.0, "f", 2, B, 0.3, 1.0, True, Usage(input_tokens=130, output_tokens=50), 250, 50),
        FlightEnded(12.0, "f", "r", B, 2, 2.0, True, True),
    ]


def test_a_rescue_is_told_whole() -> None:
    """Who could have answered, who was skipped and why, each attempt with its times and what it took, and the end."""
    record = only(rescue())
    assert (record.at, record.route, record.strategy, record.caller) == (EPOCH_S + 10.0, "r", "priority", "abc")
    assert (record.candidates, record.skipped) == (("a/m", "b/m"), (("c/m", "breaker open"),))
    assert (record.outcome, record.status, record.target, record.failover, record.rescued) == (
        "answered", 200, "b/m", True, True,
    )  # fmt: skip
    first, second = record.attempts
    assert (first.outcome, first.shown, first.message) == ("truncated", True, "the stream ended early")
    assert [first.start_s, first.first_content_s, first.total_s] == pytest.approx([0.0, 0.4, 1.0])
    assert (second.start_s, second.why, second.mode, second.after_chars, second.left_out) == (
        1.0, "continuation", "prefix", 100, ("seed",),
    )  # fmt: skip
    assert [record.first_content_s, record.total_s] == pytest.approx([0.4, 2.0])


def test_what_was_not_counted_is_guessed() -> None:
    """Short pieces are tokens, the prompt has a token for four characters, and both are marked as a guess."""
    record = only(rescue())
    first, second = record.attempts
    assert (first.counted, first.input_tokens, first.output_tokens) == ("estimate", 100, 20)
    assert (second.counted, second.input_tokens, second.output_tokens) == ("provider", 130, 50)
    assert (record.input_tokens, record.output_tokens, record.estimated) == (230, 70, True)
    assert record.cost_usd == pytest.approx((230 * 1.0 + 70 * 10.0) / 1e6)


@dataclass
class Lost:
    """An attempt that did not end well, and what it is taken to have cost."""

    failure: Failure | None
    chars: int
    pieces: int
    counted: str
    input_tokens: int
    output_tokens: int


@pytest.mark.parametrize(
    "lost",
    [
        Lost(NOBODY, 0, 0, "none", 0, 0),
        Lost(Failure(kind=FailureKind.CONNECT, message="", sent=False), 0, 0, "none", 0, 0),
        Lost(Failure(kind=FailureKind.BROKEN, message=""), 0, 0, "none", 0, 0),
        Lost(Failure(kind=FailureKind.SILENT, message=""), 0, 0, "estimate", 90, 0),
        Lost(CUT, 800, 4, "estimate", 90, 200),
        Lost(CUT, 40, 10, "estimate", 90, 10),
        Lost(None, 0, 0, "estimate", 90, 0),
        Lost(None, 400, 1, "estimate", 90, 100),
    ],
)
def test_the_lost_cost_what_they_may_have_taken(lost: Lost) -> None:
    """Errors cost nothing, silence costs the prompt as others counted it, and words what they are."""
    end: Fact = AttemptAbandoned(11.0, "f", 1, A, 1.0, False, None, lost.chars, lost.pieces)
    if lost.failure is not None:
        end = AttemptFailed(11.0, "f", 1, A, lost.failure, 1.0, False, None, lost.chars, lost.pieces)
    record = only(
        [
            AttemptStarted(10.0, "f", 1, A, Why.FIRST, True, 400, "r"),
            AttemptStarted(10.5, "f", 2, B, Why.HEDGE, True, 400, "r"),
            end,
            AttemptAnswered(12.0, "f", 2, B, 0.3, 1.0, True, Usage(input_tokens=90, output_tokens=50)),
            FlightEnded(12.0, "f", "r", B, 2, 2.0, True, False),
        ]
    )
    row = record.attempts[0]
    assert (row.counted, row.input_tokens, row.output_tokens) == (lost.counted, lost.input_tokens, lost.output_tokens)


def test_a_price_that_is_not_known_is_none() -> None:
    """Nothing is made up: without a price there is no cost, and what the provider says it cost wins over the list."""
    free = Target(name="d/m", provider="d", model="m")
    for target, usage, cost in (
        (free, Usage(input_tokens=9), None),
        (free, Usage(input_tokens=9, cost_usd=0.5), 0.5),
        (A, Usage(input_tokens=1_000_000, cost_usd=0.25), 0.25),
        (A, Usage(), 0.0),
    ):
        record = only(
            [
                AttemptStarted(1.0, "f", 1, target, Why.FIRST),
                AttemptAnswered(2.0, "f", 1, target, 1.0, 1.0, False, usage),
                FlightEnded(2.0, "f", "r", target, 1, 1.0, False, False),
            ]
        )
        assert record.cost_usd == cost


def test_an_older_answer_in_place_of_a_failure() -> None:
    """What comes after the end of a flight amends its record: the caller saw an answer, not the failure."""
    recorder = Recorder()
    facts: list[Fact] = [
        AttemptStarted(1.0, "f", 1, A, Why.FIRST),
        AttemptFailed(2.0, "f", 1, A, NOBODY, 1.0),
        FlightEnded(2.0, "f", "r", None, 1, 1.0, False, False, NOBODY),
    ]
    (record,) = recorder.fold(facts, EPOCH_S)
    assert (record.outcome, record.status) == ("server", 502)
    (again,) = recorder.fold([CacheAnswered(2.0, "f", "r", "stale", "req_0", 99.0, B)], EPOCH_S)
    assert again is record and (record.outcome, record.status, record.cache) == ("answered", 200, "stale")
    assert (record.target, record.origin, record.age_s) == ("b/m", "req_0", 99.0)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (NOBODY, 502),
        (Failure(kind=FailureKind.REQUEST, message="", status=413), 413),
        (Failure(kind=FailureKind.CANCELLED, message="the caller left"), 499),
        (Failure(kind=FailureKind.RATE_LIMIT, message="", status=429), 429),
    ],
)
def test_what_the_caller_saw(failure: Failure, status: int) -> None:
    """The status in the record is the one that the caller was told."""
    assert only([FlightEnded(2.0, "f", "r", None, 0, 1.0, False, False, failure)]).status == status


def test_a_stream_that_ended_in_an_error_was_a_200() -> None:
    """Whoever saw words before the failure saw a 200, and an error within the stream."""
    facts = [fact for fact in rescue() if getattr(fact, "number", 1) == 1 and not isinstance(fact, FlightEnded)]
    record = only([*facts, FlightEnded(12.0, "f", "r", None, 1, 2.0, False, False, CUT)])
    assert (record.status, record.broken, record.outcome) == (200, True, "truncated")


def test_what_befell_it_besides_is_noted() -> None:
    """Waiting for room, being turned away and budgets are in the record, in words."""
    full = Failure(kind=FailureKind.RATE_LIMIT, message="too many")
    waited = only([Queued(1.0, "f", "r", "c", 0.25), FlightEnded(2.0, "f", "r", A, 1, 1.0, False, False)])
    shed = only([BudgetExceeded(1.0, "f", "r", "day", 5.0, 5.0, "stop"), Shed(2.0, "f", "r", "c", 1.0, full)])
    assert "0.25 s" in waited.notes[0] and "day" in shed.notes[0] and "turned away" in shed.notes[1]
    assert (shed.outcome, shed.caller, shed.total_s) == ("rate_limit", "c", 1.0)


def test_facts_of_strangers_are_passed_over() -> None:
    """A fact of an unknown kind, or about an attempt whose beginning was lost, does no harm."""
    recorder = Recorder()
    strange: list[Fact] = [object(), AttemptAnswered(2.0, "f", 3, A, 1.0, 1.0, False)]  # type: ignore[list-item]
    assert recorder.fold(strange, EPOCH_S) == [] and recorder.unread == 0


def test_memory_is_bounded() -> None:
    """Only so many records of the past stay at hand."""
    recorder = Recorder()
    for number in range(DONE_MAX + 10):
        recorder.fold([FlightEnded(2.0, f"f{number}", "r", A, 1, 1.0, False, False)], EPOCH_S)
    assert recorder.find("f9") is None and recorder.find("f10") is not None


def test_a_record_survives_json() -> None:
    """What is told of a request as JSON is the whole record."""
    record = only(rescue())
    assert decoded(msgspec.json.decode(msgspec.json.encode(told(record)))) == record
