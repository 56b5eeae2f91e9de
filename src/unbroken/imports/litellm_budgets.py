"""LiteLLM's budgets as ours: dollars a day, for everything or for a route.

    budgets(source, draft, deployments=...)     what `budgets` says

There a budget is of the proxy, of a provider or of a deployment, and of any length of time;
here it is of all requests or of a route, and of a day.  One of a provider is taken over
where that is the same: nobody else answers on the routes that it is on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from unbroken.imports.draft import Draft
from unbroken.imports.litellm_deployment import Deployment
from unbroken.imports.litellm_source import Source
from unbroken.imports.report import Report
from unbroken.imports.source import Item

__all__ = ["budgets"]

_SPAN = re.compile(r"(\d+)\s*(mo|[smhdw])")
_DAYS = {"s": 1 / 86_400, "m": 1 / 1440, "h": 1 / 24, "d": 1.0, "w": 7.0, "mo": 30.0}
_FOREVER = "a budget here is of a day, and this one has no end: write `budgets` with `usd_per_day`"
_SHARED = "a budget here is of all requests or of a route, and this one has no route to itself"

Budget = dict[str, Any]


def budgets(source: Source, draft: Draft, *, deployments: Iterable[Deployment]) -> list[Budget]:
    """All of them, in the order of the file."""
    known, report = list(deployments), source.report
    routes = _routes(draft, known)
    found: list[Budget] = []
    of = ("litellm_settings", "general_settings")
    if (whole := source.setting("max_budget", of=of)) is not None:
        found += _budget(whole, source.setting("budget_duration", of=of), route="", report=report)
    config = source.setting("provider_budget_config")
    for prefix, item in config.fields.items() if config else ():
        owned = {_target(deployment) for deployment in known if deployment.prefix == prefix}
        limit = item.get("budget_limit", "max_budget")
        if limit is not None and limit.number is not None:
            span = item.get("time_period", "budget_duration")
            found += _budget(limit, span, route=_of(owned, routes, real=draft.routes), report=report)
    for deployment in known:
        if (limit := deployment.params.get("max_budget")) is not None:
            span = deployment.params.get("budget_duration")
            found += _budget(limit, span, route=_of({_target(deployment)}, routes, real=draft.routes), report=report)
    return found


def _budget(limit: Item, span: Item | None, *, route: str | None, report: Report) -> Iterator[Budget]:
    """One of them, unless there is none like it here; `route` is None where it is nobody's."""
    days = _days(span.text) if span else None
    if not limit.number or limit.number < 0 or route is None or days is None:
        why = _FOREVER if route is not None else _SHARED
        for item in (limit, span):
            if item is not None:
                report.lost(item, why)
        return
    whose = f"of the route `{route}`" if route else "of all requests together"
    for item in (limit, span):
        if item is not None and days == 1:
            report.kept(item, f"a budget {whose}, from midnight to midnight UTC")
        elif item is not None:
            report.differs(item, f"a budget {whose}; that of a day is in proportion")
    yield {"usd_per_day": round(limit.number / days, 12), **({"route": route} if route else {})}


def _days(text: str) -> float | None:
    """`30d` as days; None where it is no length of time."""
    found = _SPAN.fullmatch(text.strip())
    return int(found[1]) * _DAYS[found[2]] or None if found else None


def _routes(draft: Draft, known: Iterable[Deployment]) -> Mapping[str, set[str]]:
    """Every name that a caller may ask for, and the targets behind it; those that need no route too."""
    found = {
        name: {entry if isinstance(entry, str) else entry["target"] for entry in section["targets"]}
        for name, section in draft.routes.items()
    }
    covered = set().union(*found.values())
    return found | {target: {target} for target in map(_target, known) if target not in covered}


def _target(deployment: Deployment) -> str:
    return f"{deployment.prefix}/*" if deployment.wild else deployment.entry.target


def _of(owned: set[str], routes: Mapping[str, set[str]], *, real: Collection[str]) -> str | None:
    """The route that these targets have to themselves, empty if that is all there is; None where others are on it."""
    using = [name for name, targets in routes.items() if targets & owned]
    if not using or any(routes[name] - owned for name in using):
        return None
    if len(using) == len(routes):
        return ""
    return using[0] if len(using) == 1 and using[0] in real else None
