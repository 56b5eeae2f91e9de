"""What is kept of an answer, whether it may be, and for how long it is good.

    entry_of(deltas, end, ...) -> Entry | None    None for what must not be given again
    freshness(age_s, caching)  -> Freshness

An entry holds an answer step by step, as it was shown, so that it can be given as a stream or
whole, in any format.  It knows its target by names alone: no key is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from unbroken.core.flight import Finished
from unbroken.policy import Caching
from unbroken.records import Record, replace
from unbroken.types import Delta, Finish, Request, Target, Task, Usage

__all__ = ["Entry", "Freshness", "entry_of", "freshness", "serves", "size_of", "wants_usage"]

STEP_BYTES = 360
"""What a step takes beside its words and bytes."""
FLOAT_BYTES = 32
"""What a number of a vector takes, as an object in a tuple."""
_WHOLE = frozenset((Finish.STOP, Finish.LENGTH, Finish.TOOL_CALLS))
"""Ends of an answer that its caller would accept."""


class Freshness(StrEnum):
    """What an entry is good for at its age."""

    FRESH = "fresh"
    STALE = "stale"
    """only where nobody can give another answer"""
    GONE = "gone"


class Entry(Record, kw_only=True):
    """An answer that may be given again.  `flight` is the one that brought it; `size_bytes` is a fair estimate."""

    deltas: tuple[Delta, ...]
    target: str
    provider: str
    model: str
    flight: str
    usage: Usage | None = None
    size_bytes: int = 0

    def origin(self) -> Target:
        """Who gave the answer, by names alone."""
        return Target(name=self.target, provider=self.provider, model=self.model)


def freshness(age_s: float, caching: Caching) -> Freshness:
    """What an entry of this age is good for."""
    ttl_s = caching.ttl_s or 0.0
    if age_s < ttl_s:
        return Freshness.FRESH
    return Freshness.STALE if age_s < ttl_s + caching.stale_s else Freshness.GONE


def serves(entry: Entry, request: Request) -> bool:
    """Whether an entry has all that this caller expects: usage may be missing where its first caller wanted none."""
    return entry.usage is not None or request.task is not Task.CHAT or not wants_usage(request)


def wants_usage(request: Request) -> bool:
    """Whether the caller is used to finding usage in an answer."""
    return not request.stream or request.include_usage


def entry_of(deltas: Sequence[Delta], end: Finished, *, request: Request, flight: str) -> Entry | None:
    """What is kept of an answer: nothing of a failed one, or one that was refused, patched up or not whole."""
    if end.failure is not None or end.target is None or end.rescued or not _is_sound(deltas, request):
        return None
    kept = tuple(_unpaid(delta) for delta in deltas)
    return Entry(
        deltas=kept,
        target=end.target.name,
        provider=end.target.provider,
        model=end.target.model,
        flight=flight,
        usage=next((delta.usage for delta in reversed(kept) if delta.usage), None),
        size_bytes=sum(map(size_of, kept)),
    )


def _is_sound(deltas: Sequence[Delta], request: Request) -> bool:
    if any(output.url and not output.data for delta in deltas for output in delta.outputs):
        return False  # an address that may not live long
    if request.task is not Task.CHAT:
        return any(delta.has_content or delta.outputs for delta in deltas)
    finishes = {delta.finish for delta in deltas if delta.finish is not None}
    unread = any(delta.media and not delta.outputs for delta in deltas)  # known as bytes of one format only
    refused = any(delta.refusal for delta in deltas)
    said = any(delta.text or delta.tool_calls or delta.outputs for delta in deltas)
    return bool(finishes) and finishes <= _WHOLE and said and not refused and not unread


def _unpaid(delta: Delta) -> Delta:
    """A step that names no price: nobody pays again.  Its bytes named it too, so they are written anew."""
    if delta.usage is None or delta.usage.cost_usd is None:
        return delta
    return replace(delta, usage=replace(delta.usage, cost_usd=0.0), raw=b"", format="", body=False)


def size_of(delta: Delta) -> int:
    """How many bytes a step takes in memory, more or less."""
    words = len(delta.text) + len(delta.reasoning) + len(delta.signature)
    calls = sum(STEP_BYTES + len(call.arguments) for call in delta.tool_calls)
    made = sum(STEP_BYTES + len(each.data) + FLOAT_BYTES * len(each.vector) for each in delta.outputs)
    return STEP_BYTES + words + len(delta.raw) + calls + made
