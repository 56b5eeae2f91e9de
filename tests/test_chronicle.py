"""The ring of facts: bounded, numbered, and folded into records only of requests that it knows from their beginning."""

from __future__ import annotations

from unbroken.chronicle import RECORDS_MAX, Chronicle
from unbroken.facts import AttemptAnswered, AttemptStarted, Decided, Fact, FlightEnded
from unbroken.types import Target, Why

TARGET = Target(name="p/m", provider="p", model="m")


def request(name: str, at: float = 1.0) -> list[Fact]:
    """The facts of a request that went well."""
    return [
        Decided(at, name, "r", "priority", (TARGET,)),
        AttemptStarted(at, name, 1, TARGET, Why.FIRST),
        AttemptAnswered(at + 1, name, 1, TARGET, 0.5, 1.0, False),
        FlightEnded(at + 1, name, "r", TARGET, 1, 1.0, False, False),
    ]


def test_entries_have_numbers_and_the_oldest_go() -> None:
    """Whoever asks for what follows on a number gets that, as far as it is still there."""
    ring = Chronicle(lambda: 0.0, facts_max=6)
    assert (ring.start, ring.end, ring.after(0, 9)) == (1, 0, [])
    ring.write(request("one"))
    ring.write(request("two"))
    assert (ring.start, ring.end) == (3, 8)
    assert ring.after(0, 9) == [*request("one")[2:], *request("two")]
    assert ring.after(7, 9) == request("two")[3:] and ring.after(8, 9) == []
    assert ring.after(4, 2) == request("two")[:2]


def test_records_are_made_when_they_are_asked_for() -> None:
    """Of requests that are over the newest first, and of one that is under way too when it is asked for by its name."""
    ring = Chronicle(lambda: 1_000.0)
    ring.write(request("one"))
    ring.write(request("two", 5.0)[:2])
    assert [(one.id, one.at, one.outcome) for one in ring.records()] == [("one", 1_001.0, "answered")]
    known = ring.find("two")
    assert known is not None and known.outcome == "under way"
    ring.write(request("two", 5.0)[2:])
    assert [one.id for one in ring.records()] == ["two", "one"] and ring.find("never") is None


def test_after_a_gap_only_whole_requests_are_told() -> None:
    """A request whose beginning was lost has no record, rather than a wrong one; what was known before stays."""
    ring = Chronicle(lambda: 0.0, facts_max=8)
    ring.write(request("known"))
    assert len(ring.records()) == 1
    for name in ("lost", "half", "whole"):
        ring.write(request(name))
    ring.write(request("late")[:1])
    assert [one.id for one in ring.records()] == ["whole", "known"]
    ring.write(request("late")[1:])
    ring.write(request("half")[2:3])
    assert [one.id for one in ring.records()] == ["late", "whole", "known"]


def test_the_number_of_records_is_bounded() -> None:
    """The oldest go first."""
    ring = Chronicle(lambda: 0.0)
    for number in range(RECORDS_MAX + 10):
        ring.write(request(f"f{number}"))
        ring.records()
    records = ring.records()
    assert len(records) == RECORDS_MAX and records[-1].id == "f10"
