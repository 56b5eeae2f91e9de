"""Providers as a ledger knows them: laws fitted to what they answered, outages where they failed.

    Rebuilt    one target: its laws, its luck, what befell it, and how much all of it rests on
    rebuilt    every target of a ledger

Of each target the median answer is fitted (the first word by the length of the prompt, the
rest by the length of the answer), and how answers scatter around it is taken as it was seen.
Each minute's failures become an outage of that minute, a minute in which answers took far
longer than usual a brown-out.  Of a minute in which nobody asked a target nothing is known:
between two minutes in which it failed it is taken to have failed as well, else to be well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import median

from unbroken.failures import VERDICTS, FailureKind
from unbroken.sim.ledger import ABANDONED, LedgerRow
from unbroken.sim.market import CONNECT_S, Luck
from unbroken.sim.suppliers import Supplier
from unbroken.sim.world import Cut, Empty, Hang, Outage, Refused, Slow, Stall, Status, Trouble

__all__ = ["ENOUGH", "MINUTE_S", "Rebuilt", "rebuilt"]

MINUTE_S = 60.0
ENOUGH = 20
"""Answers on which a fit may rest; a target with fewer is not known."""
SLOW_TIMES = 1.7
"""A minute whose answers took so many times as long as usual was a brown-out, ..."""
SLOW_ANSWERS = 5
"""... if there were so many of them."""
BRIDGED_MIN = 10
"""The longest silence between two minutes of failure that counts as failure, in minutes."""
BROKEN_SHARE = 0.5
"""A minute in which at least so many failed was one of failure."""
FASTEST_S = 1e-3

_TROUBLES: Mapping[str, Trouble] = {
    FailureKind.CONNECT: Refused(),
    FailureKind.SILENT: Hang(),
    FailureKind.STALLED: Stall(),
    FailureKind.BROKEN: Cut(),
    FailureKind.TRUNCATED: Cut(),
    FailureKind.SLOW: Stall(),
    FailureKind.EMPTY: Empty(),
}
"""What a kind of failure is played as; the others are statuses."""
_NOT_THEIRS = frozenset(
    {FailureKind.CANCELLED, FailureKind.REQUEST, FailureKind.DEADLINE, FailureKind.NO_TARGET, FailureKind.INTERNAL}
)
"""Failures that say nothing about a target."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One target, on the clock of the run.  `answers` is how many it rests on, `usual_s` their median time."""

    supplier: Supplier
    luck: Luck
    outages: tuple[Outage, ...]
    answers: int
    usual_s: float


def rebuilt(rows: Iterable[LedgerRow], *, began: float, seed: int) -> dict[str, Rebuilt]:
    """Every target with enough answers to be known; `began` is where the run's clock starts."""
    by_target: dict[str, list[LedgerRow]] = {}
    for row in rows:
        if row.outcome != ABANDONED and row.outcome not in _NOT_THEIRS:
            by_target.setdefault(row.target, []).append(row)
    return {
        target: _rebuilt(target, mine, began=began, seed=seed)
        for target, mine in by_target.items()
        if sum(row.answered for row in mine) >= ENOUGH
    }


def _rebuilt(target: str, rows: list[LedgerRow], *, began: float, seed: int) -> Rebuilt:
    good = [row for row in rows if row.answered]
    supplier = _fitted(good)
    times = {row: _scatter(row, supplier) for row in good}
    slow = _slow_minutes(target, times, began=began)
    usual = [scatter for row, scatter in times.items() if not any(o.start_s <= row.at - began < o.end_s for o in slow)]
    draw = Random(f"{seed}/{target}/ledger")
    size = Luck.SIZES[-2]
    drawn = draw.choices(usual or list(times.values()), k=size)
    luck = Luck([first for first, _ in drawn], [rest for _, rest in drawn], [draw.random() for _ in range(size)])
    outages = (*_failing_minutes(target, rows, began=began), *slow)
    return Rebuilt(supplier, luck, outages, len(good), median(row.total_s for row in good))


# ------------------------------------------------------------- laws


def _fitted(good: list[LedgerRow]) -> Supplier:
    """The median answer: a line for the first word, a line for the rest, a plane for the price."""
    streams = [row for row in good if row.first_content_s < row.total_s]
    first_s, read_s = _line([(row.input_tokens, row.first_content_s) for row in streams or good])
    rest = [(row.output_tokens, row.total_s - row.first_content_s) for row in streams]
    plain = [(row.output_tokens, max(0.0, row.total_s - first_s - read_s * row.input_tokens)) for row in good]
    per_token = [seconds / tokens for tokens, seconds in rest or plain if tokens]
    input_usd, output_usd = _prices(good)
    return Supplier(
        first_token_s=max(FASTEST_S, first_s - CONNECT_S),
        read_tokens_per_s=1.0 / max(read_s, 1e-9),
        tokens_per_s=1.0 / max(median(per_token) if per_token else 0.0, 1e-6),
        failure_rate=0.0,
        cut_rate=0.0,
        input_usd=1e6 * input_usd,
        output_usd=1e6 * output_usd,
    )


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Where a line begins and how it rises, through the medians of the lower and the upper half; never falling."""
    ordered = sorted(points)
    half = (len(ordered) + 1) // 2
    low, high = ordered[:half], ordered[-half:]
    x1, y1 = median(x for x, _ in low), median(y for _, y in low)
    x2, y2 = median(x for x, _ in high), median(y for _, y in high)
    rise = max(0.0, (y2 - y1) / (x2 - x1)) if x2 > x1 else 0.0
    return max(0.0, min(y1 - rise * x1, y1)), rise


def _prices(good: list[LedgerRow]) -> tuple[float, float]:
    """Dollars for a token in and for one out, by least squares; one price for both where these two make no sense."""
    ii = float(sum(row.input_tokens**2 for row in good))
    oo = float(sum(row.output_tokens**2 for row in good))
    io = float(sum(row.input_tokens * row.output_tokens for row in good))
    ic = sum(row.input_tokens * row.cost_usd for row in good)
    oc = sum(row.output_tokens * row.cost_usd for row in good)
    spread = ii * oo - io * io
    if spread > 1e-6 * max(ii * oo, 1.0):
        found = (ic * oo - oc * io) / spread, (oc * ii - ic * io) / spread
        if min(found) >= 0:
            return found
    each = sum(row.cost_usd for row in good) / max(1, sum(row.input_tokens + row.output_tokens for row in good))
    return each, each


def _scatter(row: LedgerRow, supplier: Supplier) -> tuple[float, float]:
    """How many times as long as usual an answer took: to its first word, and for the rest."""
    first_s = supplier.first_token_s + row.input_tokens / supplier.read_tokens_per_s
    rest_s = row.output_tokens / supplier.tokens_per_s
    if row.first_content_s >= row.total_s:  # a plain answer: both together
        both = max(row.total_s - CONNECT_S, FASTEST_S) / max(first_s + rest_s, FASTEST_S)
        return both, both
    first = max(row.first_content_s - CONNECT_S, FASTEST_S) / first_s
    return first, (row.total_s - row.first_content_s) / rest_s if rest_s else 1.0


# ------------------------------------------------------------- minutes


def _minute(row: LedgerRow, began: float) -> int:
    return int((row.at - began) // MINUTE_S)


def _slow_minutes(target: str, times: Mapping[LedgerRow, tuple[float, float]], *, began: float) -> list[Outage]:
    minutes: dict[int, list[float]] = {}
    for row, (first, rest) in times.items():
        minutes.setdefault(_minute(row, began), []).append(max(first, rest))
    found = {minute: median(seen) for minute, seen in minutes.items() if len(seen) >= SLOW_ANSWERS}
    return [
        Outage(target, minute * MINUTE_S, (minute + 1) * MINUTE_S, Slow(slow))
        for minute, slow in sorted(found.items())
        if slow >= SLOW_TIMES
    ]


def _failing_minutes(target: str, rows: list[LedgerRow], *, began: float) -> list[Outage]:
    asked: Counter[int] = Counter(_minute(row, began) for row in rows)
    failed: dict[int, Counter[str]] = {}
    for row in rows:
        if not row.answered:
            failed.setdefault(_minute(row, began), Counter())[row.outcome] += 1
    found = [
        Outage(target, minute * MINUTE_S, (minute + 1) * MINUTE_S, _trouble(kinds), kinds.total() / asked[minute])
        for minute, kinds in sorted(failed.items())
    ]
    return found + _bridges(found, asked)


def _bridges(found: list[Outage], asked: Mapping[int, int]) -> list[Outage]:
    """Between two minutes of failure a silence is one too."""
    broken = [outage for outage in found if outage.share >= BROKEN_SHARE]
    bridges = []
    for before, after in pairwise(broken):
        minutes = range(round(before.end_s / MINUTE_S), round(after.start_s / MINUTE_S))
        if 0 < len(minutes) <= BRIDGED_MIN and not any(minute in asked for minute in minutes):
            bridges.append(Outage(before.target, before.end_s, after.start_s, before.trouble, before.share))
    return bridges


def _trouble(kinds: Counter[str]) -> Trouble:
    """What the commonest kind of failure of a minute is played as."""
    kind = FailureKind(kinds.most_common(1)[0][0])
    return _TROUBLES.get(kind) or Status(kind, VERDICTS[kind].status)
