"""How callers of the gateway steer their requests, by headers.

    x-unbroken-total-s: 20                           limits of their own
    x-unbroken-requirements: cost=0.2,speed=0.8      what counts, for strategies that weigh
    anthropic-beta: ...                              goes along to targets of the same format

`steered` gives the route as these headers want it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from unbroken.failures import Failure, FailureKind
from unbroken.policy import QUALITIES, Route
from unbroken.types import Target

__all__ = ["CARRIED", "OVERRIDES", "REQUIREMENTS", "STEERING", "steered"]

OVERRIDES = {
    f"x-unbroken-{name.replace('_', '-')}": name
    for name in ("connect_s", "first_byte_s", "first_content_s", "total_s", "gap_s")
}
"""Request headers with which a caller sets limits of its own."""
CARRIED = {"anthropic": "anthropic-beta"}
"""By format, the header that is part of its requests: it goes along to targets of the same format, and nowhere else."""
REQUIREMENTS = "x-unbroken-requirements"
"""With which a caller says what counts: shares of cost, speed and reliability."""
STEERING = frozenset((*OVERRIDES, *CARRIED.values(), REQUIREMENTS))
"""All of them, in lower case."""


def steered(route: Route, headers: Mapping[str, str], *, spoken: str) -> Route | Failure:
    """The route as the caller's own headers want it."""
    try:
        own = {name: _seconds(headers[header]) for header, name in OVERRIDES.items() if header in headers}
    except ValueError as error:
        return Failure(kind=FailureKind.REQUEST, message=f"a limit in the headers is wrong: {error}", status=400)
    if (carried := CARRIED.get(spoken)) is not None and carried in headers:
        route = _carrying(route, spoken, name=carried, value=headers[carried])
    wishes = _wishes(headers.get(REQUIREMENTS, ""))
    if isinstance(wishes, Failure):
        return wishes
    route = replace(route, requirements=wishes) if wishes else route
    return _hurried(route, own) if own else route


def _wishes(text: str) -> dict[str, float] | Failure:
    """What counts how much; a Failure where a part is not `QUALITY=SHARE`."""
    found: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, share = part.partition("=")
        try:
            found[name.strip()] = float(share)
        except ValueError:
            found[name.strip()] = -1.0
    if set(found) <= set(QUALITIES) and all(0 <= share <= 1 for share in found.values()):
        return found if any(found.values()) else {}
    said = f"{REQUIREMENTS} is made of {', '.join(f'{name}=0.5' for name in QUALITIES)}, each between 0 and 1"
    return Failure(kind=FailureKind.REQUEST, message=f"{said}; not {text[:60]!r}", status=400)


def _hurried(route: Route, own: Mapping[str, float]) -> Route:
    """The route with a caller's own limits, which win over those of its targets."""
    deadlines = route.policy.deadlines.merged(own)
    targets = tuple(replace(target, deadlines={**target.deadlines, **own}) for target in route.targets)
    return replace(route, targets=targets, policy=replace(route.policy, deadlines=deadlines))


def _carrying(route: Route, spoken: str, *, name: str, value: str) -> Route:
    """The route with a caller's header for those of its targets that speak the caller's format."""
    targets = [
        _with_header(target, name, value=value) if target.format == spoken else target for target in route.targets
    ]
    return replace(route, targets=tuple(targets))


def _with_header(target: Target, name: str, *, value: str) -> Target:
    """The target with these values beside its own, each once."""
    own = {key.lower(): said for key, said in target.headers.items()}
    said = f"{target.options.get('beta', '')},{own.get(name, '')},{value}"
    values = dict.fromkeys(part.strip() for part in said.split(",") if part.strip())
    return replace(target, headers={**own, name: ",".join(values)})


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise ValueError(f"{text[:20]!r} is no number of seconds")
    return seconds
