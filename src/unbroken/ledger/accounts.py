"""What an attempt took and cost: as its provider counted it, or as well as we can guess.

A provider whose line broke, or on whom we hung up, has counted and not told.  What was read
is taken from a sibling attempt at the same prompt, else from the prompt's length; what was
written from what came: servers that stream a few characters at a time stream tokens, and of
others four characters are one.  Where a provider broke off before its first word, or
answered with an error, nothing was taken.
"""

from __future__ import annotations

from collections.abc import Sequence

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed
from unbroken.failures import FailureKind
from unbroken.ledger.record import Record, Try
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.price import UNPRICED
from unbroken.types import Target, Task, Usage

__all__ = ["End", "count", "settle"]

End = AttemptAnswered | AttemptFailed | AttemptAbandoned

TOKEN_CHARS_MAX = 8.0
"""Pieces of so many characters on average are tokens; longer ones hold several."""
_WE_HUNG_UP = frozenset((FailureKind.SILENT, FailureKind.STALLED, FailureKind.SLOW, FailureKind.DEADLINE))
"""Failures that were the end of our patience: the target had taken the request, and was at it."""
_IN_TOKENS = frozenset((Task.CHAT, Task.EMBEDDING))


def count(row: Try, usage: Usage, *, target: Target) -> None:
    """Put down what was counted, and what it costs."""
    row.input_tokens, row.output_tokens = usage.input_tokens, usage.output_tokens
    row.cached_tokens, row.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens
    row.cache_write_tokens, row.images = usage.cache_write_tokens, usage.images
    row.characters, row.seconds = usage.characters, usage.seconds
    if usage.cost_usd is None and target.price is UNPRICED:
        return
    cost_usd = target.price.cost_usd(usage)
    if cost_usd or usage.cost_usd is not None or target.price.known:  # the last takes a while to say
        row.cost_usd = cost_usd


def settle(record: Record, uncounted: Sequence[End]) -> None:
    """Put down what nobody counted (`uncounted` are the ends of those attempts), and the sums."""
    for end in uncounted:
        row = record.attempts[end.number - 1]
        if _took_something(end):
            row.counted = "estimate"
            count(row, _guess(record, row, end=end), target=end.target)
    if len(record.attempts) == 1:  # as a rule
        (row,) = record.attempts
        record.input_tokens, record.output_tokens = row.input_tokens, row.output_tokens
        record.cost_usd, record.estimated = row.cost_usd, row.counted == "estimate"
        return
    record.input_tokens = sum(row.input_tokens for row in record.attempts)
    record.output_tokens = sum(row.output_tokens for row in record.attempts)
    costs = [row.cost_usd for row in record.attempts if row.cost_usd is not None]
    record.cost_usd = sum(costs) if costs or not record.attempts else None
    record.estimated = any(row.counted == "estimate" for row in record.attempts)


def _took_something(end: End) -> bool:
    if isinstance(end, AttemptFailed):
        return bool(end.pieces) or end.failure.kind in _WE_HUNG_UP
    return True


def _guess(record: Record, row: Try, *, end: End) -> Usage:
    if record.task not in _IN_TOKENS:
        return Usage()
    written = _written(end.chars, end.pieces) if record.task == Task.CHAT else 0
    return Usage(input_tokens=_read(record, row), output_tokens=written)


def _written(chars: int, pieces: int) -> int:
    """How many tokens so many characters are, that came in so many pieces."""
    by_length = round(chars / CHARS_PER_TOKEN)
    return pieces if pieces > 1 and chars / pieces <= TOKEN_CHARS_MAX else by_length


def _read(record: Record, row: Try) -> int:
    """How many tokens the prompt was, by what others counted of it, those of the same model first."""
    told = [other for other in record.attempts if other.counted == "provider" and other.mode == row.mode == ""]
    told.sort(key=lambda other: other.model != row.model)
    if told and told[0].input_tokens:
        return told[0].input_tokens
    return max(1, int((record.prompt_chars + row.after_chars) / CHARS_PER_TOKEN))
