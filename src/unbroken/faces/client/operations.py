"""What an operator asks of a client and does to it, in plain values: status, switches, the strategy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypedDict

from unbroken.config_shape import CHOICES
from unbroken.faces.client.choice import known_account, wrong
from unbroken.faces.client.core import Cabin
from unbroken.faces.client.results import Answer, Health
from unbroken.facts import TargetForced
from unbroken.failures import Tried, UnbrokenError
from unbroken.types import Json, Target, Task

__all__ = ["Generated", "ProviderStatus", "failed", "force", "generated", "status", "strategize"]


class Generated(TypedDict, total=False):
    """A text that was generated; or `error`, `kind` and `attempts` alone, where nobody could."""

    content: str
    provider: str
    failover_occurred: bool
    model: str
    tool_calls: list[dict[str, Json]]
    finish_reason: str
    usage: dict[str, int]
    cost_usd: float | None
    attempts: list[dict[str, Json]]
    error: str
    kind: str


class ProviderStatus(TypedDict):
    """How a provider stands.

    priority      its place on the route `auto`, from 1, among those that do the same work; None where it is not on it
    healthy       whether a request would be sent to it now
    obstacle      what stands in the way of that, in words
    timeout_s     for its first word, and `retries` at it, where they differ from the route's
    breakers      `closed`, `open`, `half_open`, `ramping`, `forced_open` or `forced_closed`, by what was broken
    last_failure  of the last request that failed there
    last_check    of the last health check
    """

    enabled: bool
    healthy: bool
    obstacle: str | None
    priority: int | None
    weight: float
    timeout_s: float | None
    retries: int | None
    targets: list[str]
    breakers: dict[str, str]
    last_failure: str | None
    last_check: dict[str, Json] | None


# ------------------------------------------------------------------------------- switches


def force(cabin: Cabin, provider: str, *, off: bool) -> None:
    """Take a provider out of every route, or bring it back; RequestError where there is none of that name."""
    known_account(cabin.config, provider)
    cabin.tell(TargetForced(cabin.engine.clock(), provider, True if off else None))


def strategize(cabin: Cabin, strategy: str, *, route: str | None) -> None:
    """How targets are chosen from now on, on one route or all; RequestError where one of them is not known."""
    strategy = str(strategy).replace("_", "-")
    if strategy not in CHOICES["strategy"]:
        raise wrong("strategy", f"is {strategy!r}; known: {', '.join(CHOICES['strategy'])}")
    routes = dict(cabin.config.routes)
    if route is not None and route not in routes:
        raise wrong("route", f"is {route!r}, and there is no such route; routes: {', '.join(routes)}")
    for name in routes if route is None else (route,):
        routes[name] = replace(routes[name], strategy=strategy)
    cabin.config = replace(cabin.config, routes=routes)


# --------------------------------------------------------------------------------- status


def status(cabin: Cabin, checks: Mapping[str, Health]) -> dict[str, ProviderStatus]:
    """Every provider's, by name; `checks` are the last ones."""
    cabin.engine.bus.flush()
    return {name: _status(cabin, name, check=checks.get(name)) for name in cabin.config.accounts}


def _place(cabin: Cabin, provider: str) -> int | None:
    """How many providers of `auto` are asked before it for work of its kind, and one."""
    auto = cabin.config.routes.get("auto")
    tasks: dict[str, frozenset[Task]] = {}
    for target in auto.targets if auto else ():
        tasks[target.provider] = tasks.get(target.provider, frozenset()) | target.tasks
    if provider not in tasks:
        return None
    alike = [name for name, work in tasks.items() if work & tasks[provider]]
    return alike.index(provider) + 1


def _status(cabin: Cabin, name: str, *, check: Health | None) -> ProviderStatus:
    targets = cabin.targets_of(name)
    obstacles = [_obstacle(cabin, target) for target in targets]
    account, first = cabin.tally.accounts.get(name), targets[0] if targets else None
    states = {scope: health.breaker.state.value for scope, health in _scopes(cabin, targets).items()}
    return {
        "enabled": states.get(name) != "forced_open",
        "healthy": None in obstacles,
        "obstacle": next(filter(None, obstacles), None) if None not in obstacles else None,
        "priority": _place(cabin, name),
        "weight": sum(target.weight for target in targets if first and target.model == first.model),
        "timeout_s": first.deadlines.get("first_content_s") if first else None,
        "retries": first.same_target_max if first else None,
        "targets": [target.name for target in targets],
        "breakers": states,
        "last_failure": str(account.last_failure) if account and account.last_failure else None,
        "last_check": _told(check) if check else None,
    }


def _scopes(cabin: Cabin, targets: tuple[Target, ...]) -> Mapping[str, Any]:
    """What can be ill on its own of these, by name."""
    scopes: dict[str, Any] = {}
    for target in targets:
        names = (target.endpoint, target.model_scope, target.key_scope, target.quota_scope)
        scopes.update(zip(names, cabin.engine.board.standing(target).scopes, strict=True))
    return scopes


def _obstacle(cabin: Cabin, target: Target) -> str | None:
    """What stands in the way of a target at the moment, whatever chance would say to it."""
    now = cabin.engine.clock()
    found = (health.obstacle(now, 0.0) for health in cabin.engine.board.standing(target).scopes)
    return next(filter(None, found), None)


def _told(check: Health) -> dict[str, Json]:
    failure = str(check.failure) if check.failure else None
    return {"ok": check.ok, "free": check.free, "seconds": check.seconds, "failure": failure}


# --------------------------------------------------------------------------------- answers


def generated(answer: Answer) -> Generated:
    """An answer as plain values."""
    usage = answer.usage
    tokens = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens} if usage else {}
    return {
        "content": answer.text,
        "provider": answer.provider,
        "failover_occurred": answer.failover_occurred,
        "model": answer.model,
        "tool_calls": answer.message.get("tool_calls", []),
        "finish_reason": answer.finish.value if answer.finish else "",
        "usage": tokens,
        "cost_usd": answer.cost_usd,
        "attempts": [_attempt(tried) for tried in answer.attempts],
    }


def failed(error: UnbrokenError) -> Generated:
    """A failure as plain values."""
    attempts = [_attempt(tried) for tried in error.attempts]
    return {"error": error.failure.message, "kind": error.failure.kind.value, "attempts": attempts}


def _attempt(tried: Tried) -> dict[str, Json]:
    return {
        "provider": tried.provider,
        "model": tried.model,
        "why": tried.why.value,
        "at_s": tried.at_s,
        "seconds": tried.seconds,
        "error": str(tried.failure) if tried.failure else None,
    }
