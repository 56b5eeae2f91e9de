"""Facts as other replicas are told them: which are worth it, in how few bytes, and what is made of them there.

    gathering = Gathering(board)
    gathering.add(fact)                     nothing is kept of what only says that all is well
    encode(name, gathering.take(now))       a batch, with ages in place of times
    decode(batch, at)                       name and facts, on the clock of whoever reads them

A target that is well is not spoken of: while nothing fails, replicas have nothing to tell each
other.  When something does, they tell what went well just before, and from then on its
answers and failures as runs (three failed, then twelve answered), in the order in which each saw
them, until the trouble is forgotten.

Nothing here tells the time: a fact carries its age, so clocks need not agree.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from unbroken.core.board import Board, Standing
from unbroken.core.breaker import Breaker, State
from unbroken.facts import (
    AttemptAbandoned,
    AttemptAnswered,
    AttemptFailed,
    AttemptStarted,
    Fact,
    Hearsay,
    LimitsTold,
    Operated,
    Probed,
    ProbeStarted,
    Reading,
    TargetForced,
)
from unbroken.failures import Failure, FailureKind, Scope
from unbroken.types import Target

__all__ = ["Gathering", "decode", "encode", "set_at"]

RUNS_MAX = 500
"""In one batch; beyond so many the rest is not told."""
MESSAGE_CHARS = 200
"""Of a provider's words."""
QUIET_S, QUIET_MAX = 5.0, 50
"""When something fails, the answers of so many seconds before, and so many at most, are told with it."""
SCARCE = 0.5
"""Of a limit that a provider tells of: where more is left, others need not know."""
OUTRUN = Failure(kind=FailureKind.SLOW, message="others were faster")


@dataclass(slots=True)
class Run:
    """Attempts at one target that ended alike, one after the other."""

    target: Target
    at: float
    began: float
    number: int = 1
    failure: Failure | None = None
    slow: bool = False
    usual_s: float = 0.0
    stream: bool = False

    def goes_on(self, other: Run) -> bool:
        """Whether this is more of the same."""
        mine, more = self.failure, other.failure
        if mine is None or more is None or not (self.number and other.number):
            alike = (self.slow, self.stream, bool(self.number)) == (other.slow, other.stream, bool(other.number))
            return mine is more and alike
        return (mine.kind, mine.scope, mine.cool_s, mine.retry_after_s, mine.status) == (
            more.kind, more.scope, more.cool_s, more.retry_after_s, more.status
        )  # fmt: skip


Telling = Run | LimitsTold | Probed | TargetForced | Operated


class Gathering:
    """What was noted since the last batch, as far as others should know it."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._tellings: list[Telling] = []
        self._last: dict[str, Run] = {}
        self._ill: set[str] = set()
        self._limits: dict[str, LimitsTold] = {}
        self._quiet: dict[str, deque[AttemptAnswered]] = {}
        self._introduced: set[tuple[str, bool]] = set()
        self._reactions: Mapping[type, Callable[[Any], None]] = {
            AttemptStarted: self._started,
            AttemptAnswered: self._answered,
            AttemptFailed: self._failed,
            AttemptAbandoned: self._abandoned,
            ProbeStarted: self._started,
            Probed: self._noted,
            LimitsTold: self._limits_told,
            TargetForced: self._noted,
            Operated: self._noted,
        }

    def add(self, fact: Fact) -> None:
        """Take in a fact that the board has folded before."""
        reaction = self._reactions.get(type(fact))
        if reaction is not None:
            reaction(fact)

    def take(self) -> list[Telling]:
        """What was gathered; nothing is told twice."""
        taken = [*self._tellings, *self._limits.values()]
        self._tellings, self._last, self._limits = [], {}, {}
        return taken

    # -- attempts

    def _answered(self, fact: AttemptAnswered) -> None:
        name, standing = fact.target.name, self._board.standing(fact.target)
        if name not in self._ill and _is_well(standing):
            quiet = self._quiet.get(name)
            if quiet is None:
                quiet = self._quiet[name] = deque(maxlen=QUIET_MAX)
            if (name, fact.stream) in self._introduced:
                quiet.append(fact)
            else:  # once it is said what is usual: whoever is asked first in a brown-out would not know
                self._introduced.add((name, fact.stream))
                self._append(self._with_usual(fact))
        else:
            slow = _was_slow(standing, fact)
            self._run(self._with_usual(fact, slow=slow) if slow else _run_of(fact))

    def _with_usual(self, fact: AttemptAnswered, *, slow: bool = False) -> Run:
        run = _run_of(fact)
        run.slow, run.stream = slow, fact.stream
        run.usual_s = self._board.standing(fact.target).latency(stream=fact.stream).usual_s
        return run

    def _failed(self, fact: AttemptFailed) -> None:
        self._run(Run(fact.target, fact.at, fact.at - fact.elapsed_s, failure=fact.failure))
        self._tell_the_row(fact)

    def _tell_the_row(self, fact: AttemptFailed) -> None:
        """A row of failures that has opened a breaker is told as one, though parts of it were told before.

        What others tell in between would tear it apart, and nobody else would know for a while.
        """
        last = self._last.get(fact.target.name)
        for health in self._board.standing(fact.target).scopes if last is not None else ():
            opened = health.breaker.state is State.OPEN and health.breaker.since == fact.at
            if opened and last is not None and health.window.in_a_row >= health.policy.consecutive:
                last.number = max(last.number, health.policy.consecutive)

    def _abandoned(self, fact: AttemptAbandoned) -> None:
        if fact.outrun:
            self._run(Run(fact.target, fact.at, fact.at - fact.elapsed_s, failure=OUTRUN))

    def _started(self, fact: AttemptStarted | ProbeStarted) -> None:
        """One that goes out to see whether the target is back."""
        standing = self._board.standing(fact.target)
        if standing.troubled and any(_looks(health.breaker, fact.at) for health in standing.scopes):
            self._run(Run(fact.target, fact.at, fact.at, number=0))

    def _limits_told(self, fact: LimitsTold) -> None:
        if any(_is_scarce(reading) for reading in fact.readings):
            self._limits[fact.target.name] = fact

    def _noted(self, fact: Probed | TargetForced | Operated) -> None:
        if len(self._tellings) < RUNS_MAX:
            self._tellings.append(fact)

    # -- runs

    def _run(self, run: Run) -> None:
        name, is_well = run.target.name, _is_well(self._board.standing(run.target))
        if name in self._ill:
            if is_well:
                self._ill.discard(name)  # the answer that made it well is news
        elif is_well:
            return
        else:
            self._ill.add(name)
            self._remember(name, run.at)
        self._append(run)

    def _remember(self, name: str, now: float) -> None:
        """The first failure after a good time is no row of them: a moment ago others were answered."""
        for fact in self._quiet.pop(name, ()):
            if now - fact.at <= QUIET_S:
                self._append(_run_of(fact))

    def _append(self, run: Run) -> None:
        name = run.target.name
        last = self._last.get(name)
        if last is not None and last.goes_on(run):
            last.at, last.began, last.failure = run.at, max(last.began, run.began), run.failure
            last.number += run.number
        elif len(self._tellings) < RUNS_MAX:
            self._last[name] = run
            self._tellings.append(run)


def _run_of(fact: AttemptAnswered) -> Run:
    return Run(fact.target, fact.at, fact.at - fact.total_s)


def _was_slow(standing: Standing, fact: AttemptAnswered) -> bool:
    """Whether the board held the time that it took against it, of which it leaves a note."""
    cause = standing.model.cause
    return cause is not None and cause.kind is FailureKind.SLOW and cause.at == fact.at


def _is_well(standing: Standing) -> bool:
    return not standing.troubled and not any(
        window.failures or window.in_a_row or window.slow
        for window in (standing.model.window, standing.endpoint.window, standing.key.window, standing.quota.window)
    )


def _looks(breaker: Breaker, at: float) -> bool:
    return breaker.state is State.HALF_OPEN and breaker.since == at


def _is_scarce(reading: Reading) -> bool:
    return reading.remaining is not None and reading.remaining < SCARCE * reading.limit


# --------------------------------------------------------------------------- on the wire


class _Place(msgspec.Struct, array_like=True, gc=False):
    """A target by what makes up its scopes; its address and its key are nobody's business."""

    name: str
    provider: str
    model: str
    key_name: str
    quota_group: str


class _Failed(msgspec.Struct, array_like=True, gc=False):
    kind: str
    message: str
    status: int | None
    retry_after_s: float | None
    scope: str | None
    cool_s: float | None
    sent: bool


class _Run(msgspec.Struct, array_like=True, tag="run"):
    place: _Place
    age_s: float
    began_s: float
    number: int
    slow: bool
    failed: _Failed | None
    usual_s: float = 0.0
    stream: bool = False


class _Limit(msgspec.Struct, array_like=True, tag="limit"):
    place: _Place
    age_s: float
    readings: list[tuple[str, str, float, float, float | None, float | None, bool, bool]]


class _Probe(msgspec.Struct, array_like=True, tag="probe"):
    place: _Place
    age_s: float
    free: bool
    seconds: float
    failed: _Failed | None


class _Force(msgspec.Struct, array_like=True, tag="force"):
    scope: str
    open: bool | None


class _Act(msgspec.Struct, array_like=True, tag="act"):
    who: str
    what: str
    about: str
    to: str


_Told = _Run | _Limit | _Probe | _Force | _Act


class _Batch(msgspec.Struct, array_like=True):
    replica: str
    told: list[_Told]
    set_at: float = 0.0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(_Batch)


def encode(replica: str, tellings: list[Telling], *, now: float, set_at: float = 0.0) -> bytes:
    """A batch as it goes out at this moment; `set_at` as in `Switch`, where it is one."""
    return _ENCODER.encode(_Batch(replica, [_written(telling, now) for telling in tellings], set_at))


def decode(words: bytes, at: float) -> tuple[str, list[Fact]]:
    """Who says so, and what, if the batch went out at this time; ValueError where it makes no sense."""
    try:
        batch = _DECODER.decode(words)
        return batch.replica, [_read(told, batch.replica, at=at) for told in batch.told]
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"what a replica said cannot be read: {error}") from None


def set_at(words: bytes) -> float:
    """When the switch that a batch tells of was set; 0 where it tells of none."""
    return _DECODER.decode(words).set_at


def _written(telling: Telling, now: float) -> _Told:
    match telling:
        case Run():
            place, failed = _place(telling.target), _failed(telling.failure)
            return _Run(
                place, now - telling.at, now - telling.began, telling.number, telling.slow, failed,
                telling.usual_s, telling.stream,
            )  # fmt: skip
        case LimitsTold():
            return _Limit(_place(telling.target), now - telling.at, [_plain(reading) for reading in telling.readings])
        case Probed():
            failed = _failed(telling.failure)
            return _Probe(_place(telling.target), now - telling.at, telling.free, telling.seconds, failed)
        case TargetForced():
            return _Force(telling.scope, telling.open)
        case Operated():
            return _Act(telling.who, telling.what, telling.about, telling.to)


def _plain(reading: Reading) -> tuple[str, str, float, float, float | None, float | None, bool, bool]:
    return (
        reading.name, reading.unit, reading.limit, reading.window_s, reading.remaining, reading.reset_s,
        reading.steady, reading.reserves,
    )  # fmt: skip


def _place(target: Target) -> _Place:
    return _Place(target.name, target.provider, target.model, target.key_name, target.quota_group)


def _failed(failure: Failure | None) -> _Failed | None:
    if failure is None:
        return None
    return _Failed(
        failure.kind.value, failure.message[:MESSAGE_CHARS], failure.status, failure.retry_after_s,
        failure.scope.value if failure.scope is not None else None, failure.cool_s, failure.sent,
    )  # fmt: skip


def _read(told: _Told, replica: str, *, at: float) -> Fact:
    match told:
        case _Run():
            failure = _failure(told.failed)
            target, began = _target(told.place), at - max(told.began_s, 0.0)
            return Hearsay(
                at - max(told.age_s, 0.0), replica, target, began, told.number, failure, told.slow,
                max(told.usual_s, 0.0), told.stream,
            )  # fmt: skip
        case _Limit():
            readings = tuple(Reading(*reading) for reading in told.readings)
            return LimitsTold(at - max(told.age_s, 0.0), f"at {replica}", 0, _target(told.place), readings)
        case _Probe():
            age_s, failure = max(told.age_s, 0.0), _failure(told.failed)
            return Probed(at - age_s, _target(told.place), told.free, told.seconds, failure)
        case _Force():
            return TargetForced(at, told.scope, told.open)
        case _Act():
            return Operated(at, told.who, told.what, told.about, told.to)


def _target(place: _Place) -> Target:
    return Target(
        name=place.name, provider=place.provider, model=place.model, key_name=place.key_name,
        quota_group=place.quota_group,
    )  # fmt: skip


def _failure(failed: _Failed | None) -> Failure | None:
    if failed is None:
        return None
    return Failure(
        kind=FailureKind(failed.kind), message=failed.message, status=failed.status,
        retry_after_s=failed.retry_after_s, scope=Scope(failed.scope) if failed.scope is not None else None,
        cool_s=failed.cool_s, sent=failed.sent,
    )  # fmt: skip
