"""Bad days by name, for any targets: what may befall providers, placed in time where a run has room for it.

    DAYS       each kind of bad day: what it does to whom, and for how long
    planned    days one after the other, spread over a run
    Plan       the outages, and the moments at which something changed

A day is asked for as `NAME[:TARGET][@START_S]`: `brown-out`, `flapping:west`, `all-down@120`.
Without a target it befalls the first; a regional outage befalls everybody in its region.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from unbroken.failures import FailureKind
from unbroken.sim.world import Outage, Priced, RateLimit, Refused, Slow, Status, flapping, rising

__all__ = ["DAYS", "Change", "Day", "Place", "Plan", "planned"]

_SERVER = Status(FailureKind.SERVER, 500)
_REVOKED = Status(FailureKind.AUTH, 401)


@dataclass(frozen=True, slots=True)
class Change:
    """Something is different from this moment on: what, in words."""

    at_s: float
    what: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What befalls the targets of a run.  `shades` are the spans of trouble, for pictures."""

    outages: tuple[Outage, ...] = ()
    changes: tuple[Change, ...] = ()
    shades: tuple[tuple[float, float, str], ...] = ()

    @classmethod
    def of(cls, outages: Sequence[Outage], *, span_s: float) -> Plan:
        """Outages that have no name but their target's; what comes after a run is shaded no more."""
        edges = sorted((at_s, outage.target) for outage in outages for at_s in (outage.start_s, outage.end_s))
        shades = tuple((o.start_s, min(o.end_s, span_s), o.target) for o in outages if o.start_s < span_s)
        return cls(tuple(outages), tuple(Change(at_s, what) for at_s, what in edges), shades)

    def __add__(self, other: Plan) -> Plan:
        changes = sorted((*self.changes, *other.changes), key=lambda change: change.at_s)
        return Plan(self.outages + other.outages, tuple(changes), self.shades + other.shades)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a day happens: to this target of those, from one second to another, at so many requests a second."""

    target: str
    start_s: float
    end_s: float
    per_s: float = 20.0
    regions: Mapping[str, str] = field(default_factory=dict)
    """Of every target there is, by its name."""

    @property
    def span_s(self) -> float:
        return self.end_s - self.start_s

    @property
    def middle_s(self) -> float:
        return self.start_s + 0.7 * self.span_s

    def all(self) -> list[str]:
        """Every target."""
        return list(self.regions)

    def region(self) -> list[str]:
        """Those in the same region as the target; the target alone where regions are not known."""
        mine = self.regions.get(self.target, "")
        return [name for name, region in self.regions.items() if region == mine] if mine else [self.target]


Maker = Callable[[Place], list[Outage]]


@dataclass(frozen=True, slots=True)
class Day:
    """A kind of bad day, and how long it lasts where there is room."""

    about: str
    lasts_s: float
    make: Maker


def _one(trouble: Slow | Priced | Refused | Status, share: float = 1.0) -> Maker:
    return lambda at: [Outage(at.target, at.start_s, at.end_s, trouble, share)]


def _rate_limit(at: Place) -> list[Outage]:
    """A third of the traffic is let through."""
    per_s = max(0.2, at.per_s / 3.0)
    return [Outage(at.target, at.start_s, at.end_s, RateLimit(per_s, max(1.0, per_s)))]


def _slow_death(at: Place) -> list[Outage]:
    rise = rising(at.target, _SERVER, start_s=at.start_s, end_s=at.middle_s)
    return [*rise, Outage(at.target, at.middle_s, at.end_s, _SERVER)]


def _flapping(at: Place) -> list[Outage]:
    return flapping(at.target, Refused(), start_s=at.start_s, end_s=at.end_s, down_s=4.0, up_s=3.0)


def _regional(at: Place) -> list[Outage]:
    return [Outage(name, at.start_s, at.end_s, Refused()) for name in at.region()]


def _all_down(at: Place) -> list[Outage]:
    return [Outage(name, at.start_s, at.end_s, Refused()) for name in at.all()]


DAYS: Mapping[str, Day] = {
    "brown-out": Day("20 times slower", 60.0, _one(Slow(20.0))),
    "rate-limit": Day("lets a third of the traffic through, the rest hears 429", 60.0, _rate_limit),
    "slow-death": Day("fails more and more often, until nothing works", 90.0, _slow_death),
    "flapping": Day("is down for 4 s and up for 3 s in turn", 90.0, _flapping),
    "regional": Day("everybody in its region refuses connections", 60.0, _regional),
    "key-revoked": Day("its key is refused", 300.0, _one(_REVOKED)),
    "price-change": Day("costs three times as much", 300.0, _one(Priced(3.0))),
    "faster": Day("becomes three times as fast", 300.0, _one(Slow(1.0 / 3.0))),
    "errors": Day("a fifth of its requests fails with a 500", 90.0, _one(_SERVER, 0.2)),
    "all-down": Day("every provider refuses connections for 30 s", 30.0, _all_down),
}
"""By the name that is asked for."""

_ASKED = re.compile(r"(?P<day>[a-z-]+)(?::(?P<target>[^@]+))?(?:@(?P<start>\d+(?:\.\d+)?))?")
MOST_OF_A_SLOT = 0.5
"""A day that lasts longer than half of its part of the run is shortened, so that one sees what comes after it."""


def planned(asked: Sequence[str], regions: Mapping[str, str], *, span_s: float, per_s: float) -> Plan:
    """Days in a run of so many seconds, each in a part of its own; ValueError says what is wrong with a name.

    `regions` has every target in order of preference, `per_s` is the traffic.
    """
    plan, names = Plan(), list(DAYS) if "all" in asked else list(asked)
    for place, name in enumerate(names):
        found = _understood(name, regions)
        day = DAYS[found["day"]]
        slot_s = span_s / len(names)
        lasts_s = min(day.lasts_s, MOST_OF_A_SLOT * slot_s)
        start_s = float(found["start"]) if found["start"] else place * slot_s + 0.25 * slot_s
        target = found["target"] or _victim(found["day"], regions)
        at = Place(target, start_s, start_s + lasts_s, per_s, regions)
        what = f"{found['day']} of {target}" if found["day"] != "all-down" else "all down"
        changes = (Change(start_s, what), Change(at.end_s, f"end of {what}"))
        plan += Plan(tuple(day.make(at)), changes, ((start_s, at.end_s, what),))
    return plan


def _understood(name: str, regions: Mapping[str, str]) -> Mapping[str, str]:
    found = _ASKED.fullmatch(name)
    if found is None or found["day"] not in DAYS:
        known = ", ".join([*DAYS, "all"])
        raise ValueError(f"there is no outage called {name!r}; known are {known}, as NAME[:TARGET][@START_S]")
    if found["target"] and found["target"] not in regions:
        raise ValueError(f"{name!r}: there is no target {found['target']!r}; there are {', '.join(regions)}")
    return found.groupdict("")


def _victim(day: str, regions: Mapping[str, str]) -> str:
    """The first target; somebody else becomes faster, as that of the first one would not be noticed."""
    names = list(regions)
    return names[-1] if day == "faster" else names[0]
