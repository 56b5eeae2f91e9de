"""Scripts worth playing: each a bad day that providers really have, under its name.

All of them use the same three providers in order of preference: `north` carries an answer
on that another one began, `south` has to be asked to, `west` does it on a flag.  The
outages come at fixed times, so that tests can say what must be true when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from unbroken import records
from unbroken.failures import FailureKind
from unbroken.policy import Hedging, Policy, Route
from unbroken.sim.simulator import Script, poisson
from unbroken.sim.world import (
    Cut,
    Empty,
    ErrorEvent,
    Hang,
    Law,
    Outage,
    RateLimit,
    Refused,
    Slow,
    Stall,
    Status,
    flapping,
    repeated,
    rising,
)
from unbroken.types import Request, Target

__all__ = ["LAWS", "SCRIPTS", "TARGETS", "script"]

TARGETS = (
    Target(name="north", provider="north", model="large", key_name="a", prefix="assistant"),
    Target(name="south", provider="south", model="medium", key_name="a"),
    Target(name="west", provider="west", model="large", key_name="a", prefix="flag"),
)
LAWS: Mapping[str, Law] = {
    "north": Law(first_token_s=0.30, tokens_per_s=90.0),
    "south": Law(first_token_s=0.45, tokens_per_s=60.0),
    "west": Law(first_token_s=0.40, tokens_per_s=75.0, continues="repeat"),
}

_SERVER = Status(FailureKind.SERVER, 500)
_OVERLOADED = Status(FailureKind.OVERLOADED, 503)
_REVOKED = Status(FailureKind.AUTH, 401)
_EVERY_TARGET = tuple(target.name for target in TARGETS)
_ROUND_S = 200.0
"""How long a storm lasts before it begins again."""
_PER_S = 50.0
_ROUNDS = 50
_FOREVER_S = 1e9


def script(
    name: str, about: str, *, outages: Sequence[Outage], policy: Policy | None = None, laws: Mapping[str, Law] = LAWS
) -> Script:
    """A script with the usual three providers: streams for the most part, 50 requests a second."""
    route = Route(name="auto", targets=TARGETS, policy=policy or Policy())
    stream = Request(model="auto", stream=True, prompt_chars=400, max_tokens=400)
    requests = (stream, stream, stream, records.replace(stream, stream=False))
    return Script(
        name=name,
        about=about,
        route=route,
        laws=laws,
        outages=tuple(outages),
        arrivals=poisson(_PER_S),
        requests=requests,
    )


def _calm() -> Script:
    return script("calm", "nothing is wrong", outages=[])


def _brown_out() -> Script:
    return script(
        "brown-out", "north becomes 20 times slower for a minute", outages=[Outage("north", 30, 90, Slow(20.0))]
    )


def _rate_limit() -> Script:
    """North and south take only a part of the traffic; the rest must find its way without waste."""
    outages = [Outage("north", 20, 80, RateLimit(20.0, 5.0)), Outage("south", 40, 80, RateLimit(10.0, 5.0))]
    return script("rate-limit", "first north, then south too limits the rate", outages=outages)


def _slow_death() -> Script:
    outages = [*rising("north", _SERVER, start_s=20, end_s=70), Outage("north", 70, 100, _SERVER)]
    return script("slow-death", "north fails more and more often, until nothing works", outages=outages)


def _flapping() -> Script:
    outages = flapping("north", Refused(), start_s=20, end_s=120, down_s=4.0, up_s=3.0)
    return script("flapping", "north is down for 4 s and up for 3 s in turn", outages=outages)


def _key_revoked() -> Script:
    return script("key-revoked", "north's key is refused for good", outages=[Outage("north", 20, _FOREVER_S, _REVOKED)])


def _all_down() -> Script:
    outages = [Outage(name, 30, 60, Refused()) for name in _EVERY_TARGET]
    return script("all-down", "every provider refuses connections for 30 s", outages=outages)


def _all_failing() -> Script:
    outages = [Outage(name, 30, 60, _OVERLOADED) for name in _EVERY_TARGET]
    return script("all-failing", "every provider answers 503 for 30 s", outages=outages)


def _hang() -> Script:
    outages = [Outage("north", 20, 80, Hang()), Outage("south", 40, 60, Hang(connected=False), 0.5)]
    return script("hang", "north takes requests and never answers; for a while south is half as bad", outages=outages)


def _hang_hedged() -> Script:
    about = "north takes requests and never answers; whoever is silent for too long gets company"
    policy = Policy(hedging=Hedging(p95=True))
    return script("hang-hedged", about, outages=[Outage("north", 20, 80, Hang())], policy=policy)


def _cut() -> Script:
    outages = [
        Outage("north", 20, 40, Cut(12), 0.5),
        Outage("north", 50, 60, Stall(20), 0.3),
        Outage("north", 70, 90, ErrorEvent(16), 0.5),
        Outage("south", 70, 90, Cut(8), 0.3),
        Outage("west", 70, 90, Cut(24), 0.3),
    ]
    return script("cut", "streams are cut, stall and err in the middle; at last everywhere", outages=outages)


def _empty() -> Script:
    return script("empty", "a third of north's answers is empty", outages=[Outage("north", 20, 80, Empty(), 0.33)])


def _astray() -> Script:
    """Models that do not do what they are asked.

    After a prefix whatever a target says counts as its continuation, so only one that was
    asked to go on can be caught when it goes astray.
    """
    laws = {
        **LAWS,
        "south": replace(LAWS["south"], continues="astray"),
        "west": replace(LAWS["west"], continues="again"),
    }
    outages = [Outage("north", 10, 60, Cut(20), 0.3), Outage("south", 30, 60, Cut(10), 0.3)]
    about = "streams are cut, and those who should go on say something else or begin again"
    return script("astray", about, outages=outages, laws=laws)


def _storm() -> Script:
    """Everything in turn, again and again; some of it at once."""
    outages = [
        Outage("north", 10, 25, Slow(20.0)),
        Outage("north", 35, 50, RateLimit(15.0, 5.0)),
        *rising("north", _SERVER, start_s=55, end_s=75, share=0.8),
        *flapping("north", Refused(), start_s=80, end_s=95, down_s=3.0, up_s=2.0),
        Outage("south", 40, 60, Cut(10), 0.4),
        Outage("west", 45, 70, _OVERLOADED, 0.3),
        Outage("south", 100, 112, Hang(), 0.3),
        Outage("north", 115, 130, Cut(12), 0.5),
        Outage("south", 115, 130, Stall(20), 0.2),
        Outage("west", 120, 140, Slow(5.0)),
        *[Outage(name, 145, 165, Refused()) for name in _EVERY_TARGET],
        Outage("south", 170, 180, Empty(), 0.3),
        Outage("north", 170, 185, ErrorEvent(16), 0.3),
    ]
    rounds = repeated(outages, every_s=_ROUND_S, times=_ROUNDS)
    return script("storm", "everything in turn, 200 s a round, with 20 s of nothing working", outages=rounds)


_MAKERS: tuple[Callable[[], Script], ...] = (
    _storm, _calm, _brown_out, _rate_limit, _slow_death, _flapping, _key_revoked, _all_down, _all_failing,
    _hang, _hang_hedged, _cut, _empty, _astray,
)  # fmt: skip

SCRIPTS: Mapping[str, Script] = {made.name: made for made in (make() for make in _MAKERS)}
"""By name; the first is the one that is played where none is named."""
