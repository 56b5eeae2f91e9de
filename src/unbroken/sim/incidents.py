"""Outages as providers reported them, on the targets of a run: status pages' incidents and minutes of outage a day.

Two kinds of file, told apart by their header line:

    incidents   provider, incident_impact_level (0 to 4), start_timestamp, close_timestamp
    minutes     Date, provider, partial_outage_minutes, major_outage_minutes

What was reported took months: quiet stretches are cut down to `QUIET_S`, and everything else
happens `COMPRESSED` times as fast, so that an hour of outage is a minute of a run.  A
provider of the file is the target of the same provider where there is one, else they are
dealt out in the order in which the file names them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from unbroken.failures import FailureKind
from unbroken.sim.outages import Plan
from unbroken.sim.traces import Row, TraceError, rows_of
from unbroken.sim.world import Outage, Refused, Slow, Status, Trouble

__all__ = ["Reported", "read_incidents", "reported_plan"]

COMPRESSED = 60.0
QUIET_S = 120.0
"""Of a run: longer without any outage is cut."""
LASTS_S_MIN = 2.0
"""Of a run: many incidents are reported as over when they are reported at all."""
DAY_S = 86_400.0

_SERVER = Status(FailureKind.SERVER, 500)
_OVERLOADED = Status(FailureKind.OVERLOADED, 503)

LEVELS: Mapping[int, tuple[Trouble, float]] = {
    0: (Slow(1.5), 1.0),
    1: (_SERVER, 0.1),
    2: (_SERVER, 0.4),
    3: (_OVERLOADED, 0.9),
    4: (Refused(), 1.0),
}
"""What an impact level comes to: a trouble, and the share of requests that meets it.

Nobody publishes these shares.  0 is maintenance or information, 1 minor, 2 major, 3 critical,
4 (given once) everything; the source weighs a minute of partial outage as 0.3 of a major one.
"""
PARTIAL, MAJOR = (_SERVER, 0.3), (_OVERLOADED, 1.0)


@dataclass(frozen=True, slots=True)
class Reported:
    """Somebody's trouble, in seconds on the clock of the file."""

    provider: str
    start_s: float
    end_s: float
    trouble: Trouble
    share: float


def read_incidents(lines: Iterable[str], *, name: str) -> list[Reported]:
    """What the lines of a file report, by time; TraceError where it is neither kind, or a line is wrong."""
    lines = list(lines)
    header = lines[0] if lines else ""
    if "incident_impact_level" in header:
        needed = ("provider", "incident_impact_level", "start_timestamp", "close_timestamp")
        found = [incident for row in rows_of(lines, name=name, needed=needed) for incident in _incident(row)]
    elif "major_outage_minutes" in header:
        needed = ("Date", "provider", "partial_outage_minutes", "major_outage_minutes")
        found = [incident for row in rows_of(lines, name=name, needed=needed) for incident in _minutes(row)]
    else:
        raise TraceError("neither incidents nor minutes of outage: no such column in the header", name=name, line=1)
    return sorted(found, key=lambda reported: (reported.start_s, reported.provider))


def _incident(row: Row) -> Iterator[Reported]:
    trouble, share = LEVELS[int(row.number("incident_impact_level", most=4.0))]
    start_s, end_s = _instant_s(row, "start_timestamp"), _instant_s(row, "close_timestamp")
    if end_s < start_s:
        raise row.wrong("close_timestamp", "it was over before it began")
    yield Reported(row.text("provider"), start_s, end_s, trouble, share)


def _minutes(row: Row) -> Iterator[Reported]:
    """Of a day it is only known how long: the outages stand at its noon, the worse one first."""
    try:
        noon_s = (date.fromisoformat(row.text("Date")).toordinal() + 0.5) * DAY_S
    except ValueError:
        raise row.wrong("Date", f"expected a day such as 2024-02-29, found {row.text('Date')[:40]!r}") from None
    for heading, (trouble, share) in (("major_outage_minutes", MAJOR), ("partial_outage_minutes", PARTIAL)):
        lasts_s = 60.0 * row.number(heading, most=1440.0)
        if lasts_s:
            yield Reported(row.text("provider"), noon_s, noon_s + lasts_s, trouble, share)
            noon_s += lasts_s


def _instant_s(row: Row, heading: str) -> float:
    try:
        return datetime.fromisoformat(row.text(heading)).timestamp()
    except ValueError:
        message = f"expected an instant such as 2024-02-29 12:00:00+00:00, found {row.text(heading)[:40]!r}"
        raise row.wrong(heading, message) from None


def reported_plan(reported: Sequence[Reported], targets: Mapping[str, str], *, span_s: float) -> Plan:
    """The outages of a run of so many seconds; `targets` has the provider of each target, in their order."""
    homes = _homes(reported, targets)
    outages: list[Outage] = []
    shift_s, busy_until_s = 0.0, 0.0
    for incident in reported:
        start_s = incident.start_s / COMPRESSED - shift_s
        if start_s > busy_until_s + QUIET_S or not outages:
            shift_s += start_s - (busy_until_s + QUIET_S)
            start_s = busy_until_s + QUIET_S
        if start_s >= span_s:
            break
        lasts_s = max(LASTS_S_MIN, (incident.end_s - incident.start_s) / COMPRESSED)
        busy_until_s = max(busy_until_s, start_s + lasts_s)
        outages += [
            Outage(target, start_s, start_s + lasts_s, incident.trouble, incident.share)
            for target in homes[incident.provider]
        ]
    return Plan.of(outages, span_s=span_s)


def _homes(reported: Sequence[Reported], targets: Mapping[str, str]) -> dict[str, list[str]]:
    """Whose outages befall which targets."""
    homes: dict[str, list[str]] = {}
    names, dealt = list(targets), 0
    for provider in dict.fromkeys(incident.provider for incident in reported):
        homes[provider] = [name for name, theirs in targets.items() if theirs == provider]
        if not homes[provider]:
            homes[provider] = [names[dealt % len(names)]]
            dealt += 1
    return homes
