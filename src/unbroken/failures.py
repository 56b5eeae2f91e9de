"""What can go wrong, and what to do about it: a closed set of kinds and one table.

    Failure                      a value inside; never an exception
      kind: FailureKind          what it is
      VERDICTS[kind]: Verdict    what follows from it

    UnbrokenError                only faces raise these
      RequestError               the caller's request cannot be served as it is
      TargetsExhausted           every target that could answer was tried
      DeadlineExceeded           the time for the whole request ran out

The table is the answer to four questions, asked in this order: was any of the answer
shown? whose fault is it: the caller's, our credential's, the provider's? does it pass with
time, and when? could another target answer differently?
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from unbroken.types import Fix, Json, Why

__all__ = [
    "VERDICTS",
    "DeadlineExceeded",
    "Failure",
    "FailureKind",
    "Fault",
    "RequestError",
    "Same",
    "Scope",
    "TargetsExhausted",
    "Tried",
    "UnbrokenError",
    "Verdict",
    "WrongMethod",
]


class FailureKind(StrEnum):
    """Every way in which an attempt, or a request as a whole, can fail."""

    # the caller's
    REQUEST = "request"
    UNSUPPORTED = "unsupported"
    CONTEXT_LENGTH = "context_length"
    CONTENT_POLICY = "content_policy"
    CANCELLED = "cancelled"
    # the credential's
    RATE_LIMIT = "rate_limit"
    QUOTA = "quota"
    AUTH = "auth"
    # the target's
    DENIED = "denied"
    MODEL_MISSING = "model_missing"
    OVERLOADED = "overloaded"
    SERVER = "server"
    LOADING = "loading"
    MODEL_FAULT = "model_fault"
    MALFORMED = "malformed"
    EMPTY = "empty"
    TRUNCATED = "truncated"
    DIVERGED = "diverged"
    # silence, and the way there
    CONNECT = "connect"
    BROKEN = "broken"
    SILENT = "silent"
    STALLED = "stalled"
    SLOW = "slow"
    # ours
    DEADLINE = "deadline"
    NO_TARGET = "no_target"
    INTERNAL = "internal"


class Fault(StrEnum):
    """Whose fault a failure is."""

    CALLER = "caller"
    KEY = "key"
    TARGET = "target"
    US = "us"


class Scope(StrEnum):
    """How far a failure reaches: what its breaker counts and what its cool-down covers."""

    QUOTA = "quota"
    """a key's share of one model"""
    KEY = "key"
    """a key, for all models"""
    MODEL = "model"
    """a model at its provider, for all keys"""
    ENDPOINT = "endpoint"
    """a provider's address, for everything"""
    NONE = "none"
    """nobody: it says nothing about health"""


class Same(StrEnum):
    """Whether the same target may be tried again for the same request."""

    NEVER = "never"
    ONCE = "once"
    """after a back-off, within `Retries.same_target_max`"""
    HINTED = "hinted"
    """only if it said when, and that is soon enough to wait for"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a failure of one kind.

    same:         may the same target be tried again?
    elsewhere:    may another key or target be tried?
    other_model:  is only a target whose model differs worth trying? (then `elsewhere` is not asked)
    fault:        whose fault it is
    counts:       the breaker that it counts against
    cools:        what is set aside at once, for `cool_s` or for as long as was asked
    status:       the HTTP status that a caller sees when this is the last word
    """

    same: Same
    elsewhere: bool
    fault: Fault
    counts: Scope
    cools: Scope
    cool_s: float
    status: int
    other_model: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """What went wrong, as a value.

    `message` is fit to be shown (no key, no HTML).  `status` is the provider's HTTP status
    where there was one; `code`, `type` and `param` are its own words, and `body` its
    decoded error body, kept for a caller whose fault it was.  `retry_after_s` is when it
    said to come back.  `scope` and `cool_s` overrule the table for this one failure (a
    daily quota cools until midnight).  `sent` is False where the request certainly never
    reached the provider.  `again` is False where trying the same target again cannot help,
    whatever the table says of the kind; `fix` is what would help.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    code: str | None = None
    type: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    scope: Scope | None = None
    cool_s: float | None = None
    sent: bool = True
    again: bool = True
    fix: Fix | None = None
    body: Json = None

    @property
    def verdict(self) -> Verdict:
        verdict = VERDICTS[self.kind]
        return verdict if self.again else replace(verdict, same=Same.NEVER)

    def __str__(self) -> str:
        status = f" {self.status}" if self.status else ""
        return f"{self.kind}{status}: {self.message}"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrongMethod(Failure):
    """The failure of asking by an HTTP method that is not answered there, where `allowed` would be."""

    allowed: tuple[str, ...]


def _caller(status: int, *, other_model: bool = False, elsewhere: bool = False) -> Verdict:
    return Verdict(
        same=Same.NEVER, elsewhere=elsewhere, fault=Fault.CALLER, counts=Scope.NONE,
        cools=Scope.NONE, cool_s=0.0, status=status, other_model=other_model,
    )  # fmt: skip


def _key(cools: Scope, cool_s: float, *, status: int, same: Same = Same.NEVER) -> Verdict:
    return Verdict(
        same=same, elsewhere=True, fault=Fault.KEY, counts=Scope.NONE,
        cools=cools, cool_s=cool_s, status=status,
    )  # fmt: skip


def _target(
    counts: Scope, status: int, *, same: Same = Same.NEVER, cools: Scope = Scope.NONE, cool_s: float = 0.0
) -> Verdict:
    return Verdict(
        same=same, elsewhere=True, fault=Fault.TARGET, counts=counts,
        cools=cools, cool_s=cool_s, status=status,
    )  # fmt: skip


def _ours(status: int) -> Verdict:
    return Verdict(
        same=Same.NEVER, elsewhere=False, fault=Fault.US, counts=Scope.NONE,
        cools=Scope.NONE, cool_s=0.0, status=status,
    )  # fmt: skip


_HOUR_S = 3600.0

# A dead endpoint and a broken server only count: one refusal may be one bad address of many, one
# 500 a single bad machine, and a breaker needs but three of them.  What is set aside at once is
# what cannot be otherwise for a while: limits, purses, keys, missing models.
#
# Silence and a failed continuation are never tried again at the same target: it would cost as
# long again.  An empty answer is not counted, for it may be all that the model had to say;
# an answer without choices or without a body is MALFORMED.  A caller does not see 401 or
# 403 for keys that are not his.

VERDICTS: dict[FailureKind, Verdict] = {
    FailureKind.REQUEST: _caller(400),
    FailureKind.UNSUPPORTED: _caller(400, elsewhere=True),
    FailureKind.CONTEXT_LENGTH: _caller(400, other_model=True),
    FailureKind.CONTENT_POLICY: _caller(400),
    FailureKind.CANCELLED: _caller(499),
    FailureKind.RATE_LIMIT: _key(Scope.QUOTA, 15.0, status=429, same=Same.HINTED),
    FailureKind.QUOTA: _key(Scope.KEY, _HOUR_S, status=429),
    FailureKind.AUTH: _key(Scope.KEY, 600.0, status=502),
    FailureKind.DENIED: _target(Scope.NONE, 502, cools=Scope.QUOTA, cool_s=300.0),
    FailureKind.MODEL_MISSING: _target(Scope.NONE, 404, cools=Scope.MODEL, cool_s=_HOUR_S),
    FailureKind.OVERLOADED: _target(Scope.MODEL, 503, same=Same.ONCE),
    FailureKind.SERVER: _target(Scope.MODEL, 502, same=Same.ONCE),
    FailureKind.LOADING: _target(Scope.NONE, 503, same=Same.HINTED, cools=Scope.MODEL, cool_s=5.0),
    FailureKind.MODEL_FAULT: _target(Scope.NONE, 502, same=Same.ONCE),
    FailureKind.MALFORMED: _target(Scope.MODEL, 502),
    FailureKind.EMPTY: _target(Scope.NONE, 502),
    FailureKind.TRUNCATED: _target(Scope.MODEL, 502),
    FailureKind.DIVERGED: _target(Scope.NONE, 502),
    FailureKind.CONNECT: _target(Scope.ENDPOINT, 502),
    FailureKind.BROKEN: _target(Scope.MODEL, 502, same=Same.ONCE),
    FailureKind.SILENT: _target(Scope.MODEL, 504),
    FailureKind.STALLED: _target(Scope.MODEL, 504),
    FailureKind.SLOW: _target(Scope.MODEL, 504),
    FailureKind.DEADLINE: _ours(504),
    FailureKind.NO_TARGET: _ours(503),
    FailureKind.INTERNAL: _ours(500),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt of a request, as its caller is told of it.

    `at_s` is when it began, in seconds after the request did, `seconds` how long it took.
    `failure` is why it failed; `abandoned` that another one was faster, or the caller left.
    """

    number: int
    target: str
    provider: str
    model: str
    why: Why
    at_s: float
    seconds: float
    failure: Failure | None = None
    abandoned: bool = False

    @property
    def answered(self) -> bool:
        """Whether it came to a good end."""
        return self.failure is None and not self.abandoned


class UnbrokenError(Exception):
    """The base of what faces raise; `failure` says what happened, `attempts` after what, where that is known."""

    def __init__(self, failure: Failure, *, attempts: Sequence[Tried] = ()) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.attempts = tuple(attempts)


class RequestError(UnbrokenError):
    """The request itself cannot be served: the caller has to change it."""


class TargetsExhausted(UnbrokenError):
    """Every target that could have answered was tried, or none was there."""


class DeadlineExceeded(UnbrokenError):
    """The time for the whole request ran out."""
