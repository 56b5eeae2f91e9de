"""How targets are, in the field's words, read from the board: nothing here changes anything.

    forced_open, forced_closed    an operator has spoken
    open                          it failed too often; left alone until then
    cooling_down                  a limit, a purse, a key: set aside until then
    half_open                     one request, or a probe, finds out whether it is back
    recovering                    it is; its traffic returns bit by bit (`share`)
    degraded                      it answers, but slowly, or fails now and then
    healthy                       it answers
    unknown                       nothing was asked of it yet

A target is as ill as the worst of its four scopes; `cause` is what was last held against that one.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from unbroken.core.board import Board, Latency, Standing
from unbroken.core.breaker import State
from unbroken.core.scopes import Cause, Health
from unbroken.failures import FailureKind, Scope
from unbroken.records import Record
from unbroken.types import Target

__all__ = ["Condition", "LastProbe", "Pace", "ScopeHealth", "TargetHealth", "health_of"]

TROUBLE_MIN = 2
"""One slow answer or one failure happens to everybody."""
TROUBLE_SHARE = 0.2
"""Of the calls in the window, slow or failed, from which on a target counts as degraded."""


class Condition(StrEnum):
    """How a scope or a target is; the worst comes first."""

    FORCED_OPEN = "forced_open"
    OPEN = "open"
    COOLING_DOWN = "cooling_down"
    HALF_OPEN = "half_open"
    RECOVERING = "recovering"
    DEGRADED = "degraded"
    FORCED_CLOSED = "forced_closed"
    UNKNOWN = "unknown"
    HEALTHY = "healthy"


_SEVERITY = {condition: rank for rank, condition in enumerate(Condition)}
_OF_BREAKER = {
    State.FORCED_OPEN: Condition.FORCED_OPEN,
    State.FORCED_CLOSED: Condition.FORCED_CLOSED,
    State.OPEN: Condition.OPEN,
    State.HALF_OPEN: Condition.HALF_OPEN,
    State.RAMPING: Condition.RECOVERING,
}

_STRONGER = frozenset((State.FORCED_OPEN, State.FORCED_CLOSED))
"""Whoever forced it meant it."""
STUCK = Condition.DEGRADED


class ScopeHealth(Record, kw_only=True):
    """One thing that can be ill on its own.

    `name` is what an operator forces it by.  Times are on the board's clock: `since` when the
    condition began where that is known, `until` when it is left alone no longer.  `calls`,
    `failures` and `slow` are those of the window that its breaker looks at; of scopes other
    than the model the good calls are counted only while there is something to be made up for.
    `share` is how much of its traffic it gets.
    """

    scope: Scope
    name: str
    condition: Condition
    since: float | None
    until: float | None
    share: float
    cause: Cause | None
    calls: int
    failures: int
    slow: int
    in_a_row: int
    opens: int


class Pace(Record, kw_only=True):
    """How long answers take, in seconds, at the median and at the 95th and 99th percentile; how many that rests on."""

    answers: int
    p50_s: float
    p95_s: float
    p99_s: float


class LastProbe(Record, kw_only=True):
    """The last free question: when it was answered, after how long, and what was wrong."""

    at: float
    seconds: float
    failure: str


class TargetHealth(Record, kw_only=True):
    """How a target is, and why.

    `worst` is the scope that its condition comes from; of one that is well, `cause` is what was
    last held against it.  `first` is the pace of streams to
    their first content, `plain` that of plain answers.  `worked_at` is when it last answered.
    """

    target: str
    provider: str
    model: str
    condition: Condition
    worst: ScopeHealth
    scopes: tuple[ScopeHealth, ...]
    first: Pace
    plain: Pace
    worked_at: float | None
    probe: LastProbe | None

    @property
    def since(self) -> float | None:
        return self.worst.since

    @property
    def until(self) -> float | None:
        return self.worst.until

    @property
    def cause(self) -> Cause | None:
        if self.condition not in (Condition.HEALTHY, Condition.UNKNOWN):
            return self.worst.cause
        causes = [one.cause for one in self.scopes if one.cause is not None]
        return max(causes, key=lambda cause: cause.at, default=None)


def health_of(board: Board, targets: Iterable[Target], *, now: float) -> tuple[TargetHealth, ...]:
    """How these targets are, in their order."""
    return tuple(_health_of(board.standing(target), target, now=now) for target in targets)


def _health_of(standing: Standing, target: Target, *, now: float) -> TargetHealth:
    names = (
        (Scope.ENDPOINT, target.endpoint), (Scope.MODEL, target.model_scope),
        (Scope.KEY, target.key_scope), (Scope.QUOTA, target.quota_scope),
    )  # fmt: skip
    scopes = tuple(
        _scope_health(health, scope, name=name, standing=standing, now=now)
        for health, (scope, name) in zip(standing.scopes, names, strict=True)
    )
    worst = min(scopes, key=lambda one: (_SEVERITY[one.condition], -(one.until or 0.0)))
    return TargetHealth(
        target=target.name, provider=target.provider, model=target.model, condition=worst.condition, worst=worst,
        scopes=scopes, first=_pace(standing.first), plain=_pace(standing.plain),
        worked_at=standing.worked_at or None, probe=_last_probe(standing.key),
    )  # fmt: skip


def _scope_health(health: Health, scope: Scope, *, name: str, standing: Standing, now: float) -> ScopeHealth:
    condition, cause, breaker = _condition(health, now), health.cause, health.breaker
    if condition is Condition.HEALTHY and not _has_shown_it(standing, scope):
        condition = Condition.UNKNOWN
    if scope is Scope.MODEL and (stuck := _stuck(standing, now)) and _SEVERITY[condition] >= _SEVERITY[STUCK]:
        condition, cause = STUCK, stuck
    calls, failures, slow = health.window.counts(now)
    return ScopeHealth(
        scope=scope, name=name, condition=condition, since=_since(health, condition), until=_until(health, condition),
        share=breaker.share(now, health.policy) if condition is Condition.RECOVERING else 1.0,
        cause=cause, calls=calls, failures=failures, slow=slow, in_a_row=health.window.in_a_row, opens=breaker.opens,
    )  # fmt: skip


def _condition(health: Health, now: float) -> Condition:
    """What its breaker says, unless it is set aside besides."""
    state = health.breaker.state
    if now < health.cool_until and state not in _STRONGER and now >= health.breaker.until:
        return Condition.COOLING_DOWN
    if state is State.OPEN and now >= health.breaker.until:
        return Condition.HALF_OPEN
    if state is State.CLOSED or health.breaker.settles(now, health.policy):
        return Condition.DEGRADED if _falters(health, now) else Condition.HEALTHY
    return _OF_BREAKER[state]


def _falters(health: Health, now: float) -> bool:
    """Whether it fails or dawdles now and then, or was set aside and has not answered since."""
    calls, failures, slow = health.window.counts(now)
    if max(failures, slow) >= max(TROUBLE_MIN, TROUBLE_SHARE * calls):
        return True
    suspected = health.cause is not None and health.cause.probed
    return health.window.in_a_row >= (1 if suspected else TROUBLE_MIN) or health.cooled > 0


def _has_shown_it(standing: Standing, scope: Scope) -> bool:
    """Whether anything is known to its credit: an answer, or of the address that a free question was answered."""
    probe = standing.key.probe
    return bool(standing.worked_at) or (scope is Scope.ENDPOINT and probe is not None and probe.failure is None)


def _stuck(standing: Standing, now: float) -> Cause | None:
    """That requests wait in vain, if they do."""
    stuck_s = standing.first.stuck_s(now) or standing.plain.stuck_s(now)
    words = f"requests have waited {stuck_s:.1f} s in vain"
    return Cause(FailureKind.SILENT, words, now) if stuck_s else None


def _since(health: Health, condition: Condition) -> float | None:
    if condition is Condition.COOLING_DOWN:
        return health.cool_since
    if condition is Condition.HALF_OPEN and health.breaker.state is State.OPEN:
        return max(health.breaker.until, health.cool_until)
    return None if condition in (Condition.DEGRADED, Condition.UNKNOWN) else health.breaker.since or None


def _until(health: Health, condition: Condition) -> float | None:
    if condition is Condition.COOLING_DOWN:
        return health.cool_until
    if condition is Condition.OPEN:
        return max(health.breaker.until, health.cool_until)
    return health.breaker.since + health.policy.ramp_s if condition is Condition.RECOVERING else None


def _pace(latency: Latency) -> Pace:
    p50_s, p95_s, p99_s = (latency.percentile_s(share) for share in (0.5, 0.95, 0.99))
    return Pace(answers=latency.count, p50_s=p50_s, p95_s=p95_s, p99_s=p99_s)


def _last_probe(key: Health) -> LastProbe | None:
    probe = key.probe
    if probe is None:
        return None
    return LastProbe(at=probe.at, seconds=probe.seconds, failure=str(probe.failure) if probe.failure else "")
