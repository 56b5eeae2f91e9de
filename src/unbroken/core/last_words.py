"""What a caller is told when nobody answered: one failure for all that went wrong."""

from __future__ import annotations

from collections.abc import Sequence

from unbroken.core.lineup import Lineup
from unbroken.failures import Failure, FailureKind, Fault
from unbroken.types import Target

__all__ = ["Loss", "everybody_failed", "hint_s", "nobody", "told"]

Loss = tuple[Target, Failure]
"""A target that was asked, and what came of it."""
NAMES_MAX = 8
"""Of targets that were not asked are named with the reason; the others are counted."""


def nobody(route: str, lineup: Lineup) -> Failure:
    """No target could even be tried: say why of each."""
    why = _not_asked(lineup, ()) or "it has no targets"
    unfit = bool(lineup.unfit) and not lineup.resting
    kind = FailureKind.REQUEST if unfit else FailureKind.NO_TARGET
    return Failure(kind=kind, message=f"no target of {route!r} can be asked: {why}", sent=False)


def everybody_failed(losses: Sequence[Loss], lineup: Lineup) -> Failure:
    """One failure for all: the caller's fault if there was one, a rate limit if all were, else the last.

    Those of the line-up who were not asked are told with the reason.
    """
    asked = [(target, failure) for target, failure in losses if _was_asked(failure)] or losses
    for _, failure in asked:
        if failure.verdict.fault is Fault.CALLER:
            return failure
    others = _not_asked(lineup, losses)
    why = told(losses) + (f"; not asked: {others}" if others else "")
    latest = {target.name: failure for target, failure in asked}.values()
    if all(failure.kind is FailureKind.RATE_LIMIT for failure in latest):
        message = f"every target is rate limited{why}"
        soonest_s = min(_comes_back_s(failure) for failure in latest)
        return Failure(kind=FailureKind.RATE_LIMIT, message=message, status=429, retry_after_s=soonest_s)
    last = next(failure for _, failure in reversed(asked) if failure.kind is not FailureKind.RATE_LIMIT)
    return Failure(kind=last.kind, message=f"every target failed{why}", code=last.code)


def told(losses: Sequence[Loss]) -> str:
    """What each attempt died of, in short."""
    return "".join(f"; {target.name}: {failure.message[:200]}" for target, failure in losses)


def _not_asked(lineup: Lineup, losses: Sequence[Loss]) -> str:
    """Who was ruled out or resting and was not asked after all, and why."""
    asked = {target.name for target, _ in losses}
    left = [
        f"{target.name}: {reason}" for target, reason in (*lineup.unfit, *lineup.resting) if target.name not in asked
    ]
    more = [f"and {len(left) - NAMES_MAX} more"] if len(left) > NAMES_MAX else []
    return "; ".join([*left[:NAMES_MAX], *more])


def hint_s(failure: Failure) -> float | None:
    """When a target is to be asked again, if anything is known of that."""
    return failure.retry_after_s if failure.retry_after_s is not None else failure.cool_s


def _was_asked(failure: Failure) -> bool:
    """Whether a target spoke or could not be reached; one that cannot express the request says nothing."""
    return failure.sent or failure.verdict.fault is not Fault.CALLER


def _comes_back_s(failure: Failure) -> float:
    """When a rate limit is over: as was said, or as long as we take it for."""
    seconds = hint_s(failure)
    return failure.verdict.cool_s if seconds is None else seconds
