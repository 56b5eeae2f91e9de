"""Scenario files: what somebody says about a simulated run, read from YAML with the place of every mistake.

    providers:                      # by target, or by provider
      north: {kind: fast, first_token_s: 0.2, input_usd: 0.6}
    outages:
      - {target: north, trouble: slow, times: 10, start_s: 60, end_s: 120, share: 0.5}
    days: [flapping:south]
    workload: {requests_per_s: 50, input_tokens: 800, output_tokens: 200, streams: 0.9}
    weights: {speed: 1, cost: 0.5}

Every key is optional; docs/simulation.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unbroken.config_file import ConfigError, Document, Problem
from unbroken.failures import VERDICTS, FailureKind
from unbroken.sim.scenario import Scenario, Workload
from unbroken.sim.suppliers import CLASSES, Supplier, Weights
from unbroken.sim.traces import Lengths
from unbroken.sim.world import Cut, Empty, ErrorEvent, Hang, Outage, Priced, RateLimit, Refused, Slow, Stall, Status
from unbroken.sim.world import Trouble as AnyTrouble

__all__ = ["read_scenario"]

Given = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderLaws(Supplier):
    """The laws of a provider, and its class."""

    kind: str = "host"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutageSection:
    """What befalls a target."""

    target: str
    trouble: str
    end_s: float
    start_s: float = 0.0
    share: float = 1.0
    times: float = 10.0
    per_s: float = 5.0
    after_tokens: int = 12
    failure: str = "server"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkloadSection(Lengths):
    """The traffic."""

    requests_per_s: float = 20.0
    streams: float = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFile:
    """A scenario."""

    providers: Mapping[str, ProviderLaws] = field(default_factory=dict)
    outages: tuple[OutageSection, ...] = ()
    days: tuple[str, ...] = ()
    workload: WorkloadSection = field(default_factory=WorkloadSection)
    weights: Weights = field(default_factory=Weights)


def _status(said: OutageSection) -> Status:
    kind = FailureKind(said.failure)
    return Status(kind, VERDICTS[kind].status)


TROUBLES: Mapping[str, Callable[[OutageSection], AnyTrouble]] = {
    "slow": lambda said: Slow(said.times),
    "price": lambda said: Priced(said.times),
    "refused": lambda _: Refused(),
    "status": _status,
    "rate-limit": lambda said: RateLimit(said.per_s, max(1.0, said.per_s)),
    "hang": lambda _: Hang(),
    "cut": lambda said: Cut(said.after_tokens),
    "stall": lambda said: Stall(said.after_tokens),
    "error-event": lambda said: ErrorEvent(said.after_tokens),
    "empty": lambda _: Empty(),
}
"""By the word that a file uses."""


def read_scenario(path: Path) -> Scenario:
    """The scenario in a file; ConfigError names line and key of everything that is wrong with it."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigError([Problem(file=str(path), line=0, key="", message=f"cannot be read: {why}")]) from None
    document = Document(text, file=str(path), environ={})
    read: Any = document.read(ScenarioFile)
    given: Given = read if isinstance(read, dict) else {}
    providers, outages = given.get("providers", {}), given.get("outages", ())
    _check_kinds(document, providers)
    _check_troubles(document, outages)
    document.finish()
    workload = dict(given.get("workload", {}))
    said = {name: workload.pop(name) for name in ("requests_per_s", "streams") if name in workload}
    return Scenario(
        providers=providers,
        outages=tuple(_outage(OutageSection(**section)) for section in outages),
        days=given.get("days", ()),
        workload=Workload(lengths=Lengths(**workload), **said),
        weights=Weights(**{"speed": 0.0, "cost": 0.0, **given["weights"]}) if given.get("weights") else None,
    )


def _outage(said: OutageSection) -> Outage:
    return Outage(said.target, said.start_s, said.end_s, TROUBLES[said.trouble](said), said.share)


def _check_kinds(document: Document, providers: Mapping[str, Given]) -> None:
    for name, laws in providers.items():
        if laws.get("kind", "host") not in CLASSES:
            document.problem(("providers", name, "kind"), f"expected one of {', '.join(CLASSES)}")


def _check_troubles(document: Document, outages: tuple[Given, ...]) -> None:
    kinds = [kind.value for kind in FailureKind]
    for at, said in enumerate(outages):
        path = ("outages", str(at))
        if said.get("trouble", "slow") not in TROUBLES:
            document.problem((*path, "trouble"), f"expected one of {', '.join(TROUBLES)}")
        if said.get("failure", "server") not in kinds:
            document.problem((*path, "failure"), f"expected one of {', '.join(kinds)}")
        if said.get("end_s", 1.0) <= said.get("start_s", 0.0):
            document.problem((*path, "end_s"), "must be later than `start_s`")
