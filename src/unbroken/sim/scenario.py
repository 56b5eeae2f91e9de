"""What is played, put together: whose targets, by which laws, with which traffic, on which bad days.

Scenario    what somebody says about a run, each part of it optional
staged      the route and the providers of it
scene_of    all of it, ready to be played
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from random import Random

from unbroken.policy import Route
from unbroken.sim.contest import example_route, target_like
from unbroken.sim.course import Scene
from unbroken.sim.incidents import Reported, reported_plan
from unbroken.sim.outages import Plan, planned
from unbroken.sim.suppliers import CLASSES, Example, Supplier, Weights, class_of, examples
from unbroken.sim.traces import Lengths, Trace, made_up
from unbroken.sim.world import Outage
from unbroken.types import Target

__all__ = ["LAWS", "Scenario", "Workload", "scene_of", "staged", "supplier_for"]

LAWS = tuple(of.name for of in fields(Supplier))
"""What may be said of a provider, besides its `kind`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The traffic where no trace says it; `streams` is the share of requests that want a stream."""

    requests_per_s: float = 20.0
    lengths: Lengths = field(default_factory=Lengths)
    streams: float = 0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What somebody says about a run.

    `providers` has by the name of a target, or of a provider, the laws that differ from its
    class's, and perhaps its class as `kind`.  `days` are names of outages as on the command
    line, `outages` those that were written out.
    """

    providers: Mapping[str, Mapping[str, str | float]] = field(default_factory=dict)
    outages: tuple[Outage, ...] = ()
    days: tuple[str, ...] = ()
    workload: Workload = field(default_factory=Workload)
    weights: Weights | None = None


def supplier_for(target: Target, said: Mapping[str, Mapping[str, str | float]]) -> Supplier:
    """A target's laws: its class's, its own price and region, and what is said of its provider and of itself."""
    mine = {**said.get(target.provider, {}), **said.get(target.name, {})}
    kind = str(mine.pop("kind", class_of(target.provider, is_local="local" in target.capabilities)))
    supplier = CLASSES[kind]
    if target.price.known:
        rates = target.price
        supplier = replace(supplier, input_usd=rates.input_usd or 0.0, output_usd=rates.output_usd or 0.0)
    if target.regions:
        supplier = replace(supplier, region=target.regions[0])
    return _changed(supplier, mine)


def _changed(supplier: Supplier, laws: Mapping[str, str | float]) -> Supplier:
    return replace(supplier, **laws)  # type: ignore[arg-type] # the reader knows which laws are words


def staged(scenario: Scenario, route: Route | None) -> tuple[Route, dict[str, Supplier]]:
    """The route and the laws of its targets; without a route the scenario's providers, or else the examples."""
    if route is not None:
        suppliers = {target.name: supplier_for(target, scenario.providers) for target in route.targets}
        targets = tuple(target_like(target, suppliers[target.name]) for target in route.targets)
        return replace(route, targets=targets), suppliers
    known = {row.name: row for row in examples()}
    names = list(known) if set(scenario.providers) <= set(known) else list(scenario.providers)
    rows = []
    for name in names:
        laws = dict(scenario.providers.get(name, {}))
        base = known[name].supplier if name in known and "kind" not in laws else CLASSES[str(laws.pop("kind", "host"))]
        rows.append(Example(name, _changed(base, laws), known[name].prefix if name in known else "assistant"))
    return example_route(rows)


def scene_of(
    scenario: Scenario, route: Route | None, *, trace: Trace | None, requests: int, seed: int,
    incidents: Sequence[Reported] = (),
) -> Scene:  # fmt: skip
    """Everything that is played; `requests` is 0 for as many as the trace has.

    ValueError says what is wrong with the name of a day or of an outage's target.
    """
    own, suppliers = staged(scenario, route)
    workload = scenario.workload
    if trace is None:
        chance = Random(f"{seed}/arrivals")
        trace = made_up(requests, per_s=workload.requests_per_s, chance=chance, lengths=workload.lengths)
    elif requests:
        trace = trace.resized(requests)
    span_s = trace.arrivals_s[-1] if len(trace) else 0.0
    regions = {name: supplier.region for name, supplier in suppliers.items()}
    plan = Plan.of(scenario.outages, span_s=span_s)
    plan += planned(scenario.days, regions, span_s=span_s, per_s=len(trace) / max(span_s, 1.0))
    plan += reported_plan(incidents, {target.name: target.provider for target in own.targets}, span_s=span_s)
    unknown = {outage.target for outage in plan.outages} - set(suppliers)
    if unknown:
        raise ValueError(f"outages of unknown targets: {', '.join(sorted(unknown))}; there are {', '.join(suppliers)}")
    streams = round(100 * workload.streams)
    return Scene(route=own, suppliers=suppliers, trace=trace, plan=plan, streams=streams, seed=seed)
