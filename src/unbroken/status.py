"""How everything stands, as plain values: what `GET /admin/status` tells and `unbroken status` prints.

Views of the board, the limits and the statistics; nothing here changes anything.  Times are
seconds since 1970, durations seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import urlsplit

import msgspec

from unbroken.config import Config
from unbroken.core.health import Condition, Pace, ScopeHealth, TargetHealth, health_of
from unbroken.core.scopes import Cause
from unbroken.engine import Engine
from unbroken.policy import Route
from unbroken.tally import Account, Tally
from unbroken.types import Json, Target

__all__ = ["View", "digest", "encoded", "key_source", "obstacle", "pruned", "scopes_of", "secrets_of", "standings"]

Object = dict[str, Json]

KEY_CHARS_MIN = 8
"""Anything shorter may be a common word, and guards nothing."""
HEADER_CHARS_MIN = 16
"""The value of a header that is longer than this may be a key, whatever the header is called."""
DIGEST_CHARS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Where to look from; `epoch_s` is what has to be added to the engine's clock to have seconds since 1970."""

    config: Config
    engine: Engine
    tally: Tally
    epoch_s: float

    @property
    def now(self) -> float:
        """On the engine's clock."""
        return self.engine.clock()

    def targets(self) -> list[Object]:
        """Every target: its state and why, its pace, what is under way, its limits."""
        now, routes = self.now, self._routes_of()
        healths = health_of(self.engine.board, self.config.targets, now=now)
        return [
            self._target(target, health, now=now) | {"routes": routes.get(target.name, [])}
            for target, health in zip(self.config.targets, healths, strict=True)
        ]

    def target(self, target: Target) -> Object:
        """One of them."""
        (health,) = health_of(self.engine.board, [target], now=self.now)
        return self._target(target, health, now=self.now) | {"routes": self._routes_of().get(target.name, [])}

    def routes(self) -> list[Object]:
        """Every route: how it chooses, among whom, and how many of them a request could go to now."""
        now = self.now
        usable = {t.name for t in self.config.targets if obstacle(self.engine, t, now=now) is None}
        return [self._route(route, usable=usable) for route in self.config.routes.values()]

    def budgets(self) -> list[Object]:
        """Every budget, and what of it is gone today."""
        admission = self.engine.admission
        spending = admission.spending if admission is not None else None
        if spending is None:
            return []
        spending.snapshot()  # at midnight everybody begins anew, also where nobody has asked for anything since
        return [
            {
                "name": account.limit.name, "route": account.limit.route or None,
                "key": account.limit.asker[:12] or None, "usd_per_day": account.limit.usd_per_day,
                "spent_usd": round(account.spent_usd + account.elsewhere_usd, 6),
                "held_usd": round(account.held_usd, 6),
                "then": account.limit.to or account.limit.then, "resets_s": round(spending.resets_s),
            }
            for account in spending.accounts
        ]  # fmt: skip

    def requests(self) -> Object:
        """How many attempts are under way, and how many requests wait for room."""
        busy, admission = self.engine.board.experience.busy, self.engine.admission
        waiting = admission.gate.waiting if admission is not None else 0
        return {"attempts": sum(busy(target) for target in self.config.targets), "waiting": waiting}

    def sinks(self) -> Object:
        """How many facts each sink has missed because it was too slow, and how the ledger is."""
        ledger = self.engine.ledger
        return {"dropped": self.engine.bus.drops(), "ledger": ledger.state() if ledger is not None else None}

    def statistics(self) -> Object:
        """What was counted: of all requests, of each provider and of each target."""
        targets = {name: dict(account.told()) for name, account in self.tally.targets.items()}
        return {**self.tally.statistics(), "targets": targets}

    # -- inside

    def _routes_of(self) -> Mapping[str, list[str]]:
        """The names of the routes that lead to each target."""
        names: dict[str, list[str]] = {}
        for route in self.config.routes.values():
            for target in route.targets:
                names.setdefault(target.name, []).append(route.name)
        return names

    def _target(self, target: Target, health: TargetHealth, *, now: float) -> Object:
        account, probe = self.tally.targets.get(target.name), health.probe
        found = obstacle(self.engine, target, now=now)
        return {
            "name": target.name, "provider": target.provider, "model": target.model, "format": target.format,
            "state": health.condition.value, "enabled": _is_enabled(health),
            "usable": found is None, "obstacle": found, "scope": health.worst.scope.value,
            "since": self._wall(health.since), "until": self._wall(health.until), "share": round(health.worst.share, 3),
            "cause": self._cause(health.cause), "in_flight": self.engine.board.experience.busy(target),
            "latency": {"first": _pace(health.first), "plain": _pace(health.plain)},
            "answered_at": self._wall(health.worked_at), "last_failure": self._last_failure(account),
            "probe": probe and {
                "at": self._wall(probe.at), "seconds": round(probe.seconds, 4), "failure": probe.failure or None,
            },
            "scopes": [pruned(self._scope(scope)) for scope in health.scopes],
            "limits": self._limits(target, now), "key": key_source(self.config, target),
            "weight": target.weight, "regions": list(target.regions), "context_tokens": target.context_tokens,
        }  # fmt: skip

    def _scope(self, scope: ScopeHealth) -> Object:
        return {
            "scope": scope.scope.value, "name": scope.name, "state": scope.condition.value,
            "since": self._wall(scope.since), "until": self._wall(scope.until), "calls": scope.calls,
            "failures": scope.failures, "slow": scope.slow, "in_a_row": scope.in_a_row, "opens": scope.opens,
            "cause": self._cause(scope.cause),
        }  # fmt: skip

    def _cause(self, cause: Cause | None) -> Object | None:
        if cause is None:
            return None
        return {
            "kind": cause.kind.value, "message": cause.message, "at": self._wall(cause.at), "probed": cause.probed
        }  # fmt: skip

    def _last_failure(self, account: Account | None) -> Object | None:
        failure = account.last_failure if account is not None else None
        if account is None or failure is None:
            return None
        return {
            "kind": failure.kind.value, "status": failure.status, "message": failure.message,
            "at": self._wall(account.failed_at),
        }  # fmt: skip

    def _limits(self, target: Target, now: float) -> list[Object]:
        """The limits of its key and its model, and how much room there is."""
        limits = self.engine.board.limits
        if limits is None:
            return []
        place = limits.place(target)
        rooms: list[Object] = [
            {
                "unit": meter.unit, "window_s": meter.window_s, "limit": _number(meter.limit),
                "room": _number(max(0.0, meter.room(now))),
            }
            for pool in place.pools
            for meter in pool.meters.values()
        ]  # fmt: skip
        at_once = [(pool.in_flight, float(pool.concurrent_max)) for pool in place.pools if pool.concurrent_max]
        at_once += [(place.model.in_flight, place.model.limit)] if math.isfinite(place.model.limit) else []
        return rooms + [
            {"unit": "at once", "window_s": 0.0, "limit": _number(most), "room": _number(max(0.0, most - busy))}
            for busy, most in at_once
        ]

    def _route(self, route: Route, *, usable: set[str]) -> Object:
        names = [target.name for target in route.targets]
        ready = [name for name in names if name in usable]
        return {
            "name": route.name, "strategy": route.strategy, "profile": route.profile or None, "width": route.width,
            "aliases": [alias for alias, name in self.config.aliases.items() if name == route.name],
            "targets": names, "usable": len(ready),
            "state": "ok" if len(ready) == len(names) else "degraded" if ready else "down",
        }  # fmt: skip

    def _wall(self, at: float | None) -> float | None:
        return None if at is None else round(at + self.epoch_s, 3)


def obstacle(engine: Engine, target: Target, *, now: float) -> str | None:
    """What keeps requests from a target now, in words, whatever chance would say; None where nothing does."""
    standing = engine.board.standing(target)
    found = (health.obstacle(now, 0.0) for health in standing.scopes)
    limits = engine.board.limits
    return next(filter(None, found), None) or (limits.obstacle(target, now) if limits is not None else None)


def standings(engine: Engine, config: Config) -> dict[str, tuple[str, str, float | None]]:
    """Of every target its state, the message of its cause, and until when it rests, on the engine's clock."""
    healths = health_of(engine.board, config.targets, now=engine.clock())
    return {one.target: (one.condition.value, one.cause.message if one.cause else "", one.until) for one in healths}


def scopes_of(config: Config) -> dict[str, list[Target]]:
    """Everything that can be ill on its own, by the name that a breaker goes by, with the targets that need it."""
    scopes: dict[str, list[Target]] = {}
    for target in config.targets:
        for name in dict.fromkeys((target.endpoint, target.model_scope, target.key_scope, target.quota_scope)):
            scopes.setdefault(name, []).append(target)
    return scopes


def key_source(config: Config, target: Target) -> str:
    """Where a target's key comes from, never the key: a variable, a reference, `key 2`; `missing` or `none needed`."""
    account = config.accounts.get(target.provider)
    if account is not None and account.key_missing:
        return "missing"
    if target.credential:
        return target.credential
    if not target.key:
        return "none needed"
    return f"key {target.key_name}" if target.key_name.isdecimal() else target.key_name


def digest(config: Config) -> str:
    """A short hash of all that was configured: gateways with the same one do the same."""
    parts = (config.server, config.targets, config.routes, config.aliases, config.defaults, config.budgets)
    return sha256(encoded(parts)).hexdigest()[:DIGEST_CHARS]


def encoded(value: object) -> bytes:
    """Anything of a configuration as JSON: sets sorted, infinity as null."""
    return msgspec.json.encode(value, order="deterministic", enc_hook=lambda other: dict(other.items()))


def secrets_of(config: Config) -> set[str]:
    """Every key of a configuration, so that none is told to anybody."""
    server = config.server
    found = {*server.keys, *(key.value for key in server.admin_keys)}
    for target in config.targets:
        found.add(target.key)
        found.update(part for part in target.key.split(":") if len(part) >= HEADER_CHARS_MIN)
    for account in config.accounts.values():
        found.update(key.value for key in account.keys if not _is_reference(config, account.name, key=key.value))
        found.update(value for value in account.headers.values() if len(value) >= HEADER_CHARS_MIN)
    if (store := config.store) is not None:
        found.add(urlsplit(store.url).password or "")
        found.add(store.password.value if store.password is not None else "")
    return {key for key in found if len(key) >= KEY_CHARS_MIN}


def pruned(value: Json) -> Json:
    """Without what says nothing: null, 0, false and what is empty, at any depth."""
    if not isinstance(value, dict):
        return value
    said = {name: pruned(item) for name, item in value.items()}
    return {name: item for name, item in said.items() if item not in (None, "", [], {}, False)}


def _is_reference(config: Config, provider: str, *, key: str) -> bool:
    """Whether this only says where a key is kept."""
    return any(target.credential == key for target in config.targets if target.provider == provider)


def _is_enabled(health: TargetHealth) -> bool:
    """Whether no operator has taken it out, or anything that it needs."""
    return all(scope.condition is not Condition.FORCED_OPEN for scope in health.scopes)


def _pace(pace: Pace) -> Object:
    told = {"p50_s": pace.p50_s, "p95_s": pace.p95_s, "p99_s": pace.p99_s}
    return {"answers": pace.answers, **{name: round(value, 4) for name, value in told.items()}}


def _number(value: float) -> float | None:
    """As JSON has it, which knows no infinity."""
    return round(value, 2) if math.isfinite(value) else None
