"""The providers of a comparison: what each would answer to each request, at each moment.

    Luck      tables of chance, the same for everybody who plays the same day
    Answer    what would come of an attempt: when its first word, when its end, or which failure
    Market    every provider in one run; asked, it answers, and knows how busy each of them is

What a provider does with a request follows from the request's number, how often it was asked
that already, the time, and how many answers it is busy with.  Nothing is drawn when somebody
asks, so whoever plays the same day meets the same luck, and an oracle can look without
disturbing anything.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, exp, inf
from random import Random

from unbroken.failures import Failure, FailureKind
from unbroken.records import Record
from unbroken.sim.suppliers import Supplier, Weights
from unbroken.sim.world import (
    BROKEN,
    Empty,
    ErrorEvent,
    Half,
    Outage,
    Priced,
    RateLimit,
    Refused,
    Slow,
    Stall,
    Status,
    Trouble,
)

__all__ = ["Answer", "Ask", "Luck", "Market", "Past", "Survey"]

CONNECT_S = 0.03
REFUSED_S = 0.01
STATUS_S = 0.05
"""An error that a provider gives without thinking."""
BURST_S = 10.0
"""Limits a minute allow what so many seconds bring at once."""
AGAIN = 7919
"""How far another try of a request lies from the first in the tables of chance; ..."""
OTHER = 104_729
"""... and how far one outage's coins from the next one's."""

EMPTY = Failure(kind=FailureKind.EMPTY, message="an empty answer")
_REFUSED = Failure(kind=FailureKind.CONNECT, message="connection refused", sent=False)
_SERVER = Failure(kind=FailureKind.SERVER, message="status 500", status=500)
_IN_BAND = Failure(kind=FailureKind.SERVER, message="an error inside the answer")
_FULL = Failure(kind=FailureKind.OVERLOADED, message="status 503", status=503)


class Answer(Record):
    """What comes of an attempt, in seconds after its launch; infinity for what never comes.

    `tokens` is how many are said before the end; `factor` what the price is multiplied by.
    """

    first_s: float
    end_s: float
    tokens: int
    failure: Failure | None = None
    factor: float = 1.0


class Ask(Record):
    """A request as providers see it: which one, and how long it is."""

    number: int
    input_tokens: int
    output_tokens: int


class Survey(Record):
    """What all providers would do with a request at this moment; targets by their place, -1 for none.

    `best` is who would really answer best, and `informed` who would by all that can be known
    of providers (their laws, their load, their failures) without the luck of this one answer.
    The burdens are those of the real answers, see `Weights`; infinity where nobody would answer.
    """

    best: int
    best_burden: float
    informed: int
    informed_burden: float


Past = Mapping[tuple[int, str], Answer]
"""Answers that are known because they were really given, by the request's number and the target."""


@dataclass(frozen=True, slots=True)
class Luck:
    """Chance for one target: factors of its times, and coins for its failures, to be looked up by number."""

    firsts: Sequence[float]
    paces: Sequence[float]
    coins: Sequence[float]

    SIZES = (1021, 4093, 16381, 65521)
    """Primes, so that strides through a table visit every place."""

    @classmethod
    def of(cls, supplier: Supplier, *, seed: str, requests: int) -> Luck:
        """Drawn by a supplier's spreads."""
        draw = Random(seed)
        size = next((size for size in cls.SIZES if size >= requests), cls.SIZES[-1])
        return cls(
            [exp(draw.gauss(0.0, supplier.spread)) for _ in range(size)],
            [exp(draw.gauss(0.0, supplier.pace_spread)) for _ in range(size)],
            [draw.random() for _ in range(size)],
        )


class _Bucket:
    """So much a second, with a burst; what is too large for the burst waits for a full one."""

    __slots__ = ("at", "burst", "level", "per_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self.per_s, self.burst, self.level, self.at = per_s, burst, burst, 0.0

    def wait_s(self, amount: float, now: float) -> float:
        """How long until there is room; 0 where there is now."""
        level = min(self.burst, self.level + (now - self.at) * self.per_s)
        return max(0.0, min(amount, self.burst) - level) / self.per_s

    def take(self, amount: float, now: float) -> None:
        """Use some of it."""
        self.level = min(self.burst, self.level + (now - self.at) * self.per_s) - amount
        self.at = now


@dataclass(slots=True)
class _Now:
    """What holds at a target until `until`: certain things worked out, the others with their places."""

    until: float
    times: float = 1.0
    factor: float = 1.0
    crash_at: float = inf
    troubles: list[tuple[int, Outage]] = field(default_factory=list)


class _Stall:
    """One target's stand on the market."""

    __slots__ = ("_buckets", "_edges", "_input_usd", "_is_limited", "_limits", "_luck", "_now", "_outages",
                 "_output_usd", "_per_token_s", "_read_s", "busy", "name", "supplier")  # fmt: skip

    def __init__(self, name: str, supplier: Supplier, *, outages: Sequence[Outage], luck: Luck) -> None:
        self.name, self.supplier, self._luck = name, supplier, luck
        self._outages = outages
        self._edges = sorted({edge for outage in outages for edge in (outage.start_s, outage.end_s)})
        self._now = _Now(-inf)
        self._per_token_s, self._read_s = 1.0 / supplier.tokens_per_s, 1.0 / supplier.read_tokens_per_s
        self._input_usd, self._output_usd = supplier.input_usd / 1e6, supplier.output_usd / 1e6
        self.busy = 0
        minutes = (supplier.requests_per_min, supplier.tokens_per_min)
        self._limits = [_Bucket(much / 60.0, much / 60.0 * BURST_S) if much else None for much in minutes]
        self._is_limited = any(minutes) or supplier.concurrency_max > 0
        self._buckets: dict[int, _Bucket] = {}

    # -- what holds now

    def _turn(self, now: float) -> _Now:
        place = bisect_right(self._edges, now)
        turned = self._now = _Now(self._edges[place] if place < len(self._edges) else inf)
        for index, outage in enumerate(self._outages):
            trouble = outage.trouble
            if isinstance(trouble, Refused) and outage.start_s > now and outage.share >= 1.0:
                turned.crash_at = min(turned.crash_at, outage.start_s)
            if not outage.start_s <= now < outage.end_s:
                continue
            if isinstance(trouble, Slow) and outage.share >= 1.0:
                turned.times *= trouble.times
            elif isinstance(trouble, Priced):
                turned.factor *= trouble.times
            else:
                turned.troubles.append((index, outage))
        return turned

    # -- answers

    def expected(self, ask: Ask, now: float) -> tuple[float, float]:
        """First and last moment of a good answer with no luck either way."""
        holds = self._now if now < self._now.until else self._turn(now)
        supplier, times = self.supplier, holds.times
        if self.busy > supplier.capacity:
            times *= (self.busy / supplier.capacity) ** supplier.crowding
        first_s = (supplier.first_token_s + ask.input_tokens * self._read_s) * times
        return CONNECT_S + first_s, CONNECT_S + first_s + ask.output_tokens * self._per_token_s * times

    def answer(self, ask: Ask, again: int, *, now: float, take: bool = False) -> Answer:
        """What comes of asking now for the nth time; `take` where it is really asked, and limits are used up."""
        holds = self._now if now < self._now.until else self._turn(now)
        place = (ask.number + AGAIN * again) % len(self._luck.coins)
        if self._is_limited and (away := self._turned_away(ask, now, take=take)) is not None:
            return away
        if not holds.troubles:
            return self._good(ask, place, now=now, times=holds.times)
        trouble, times = self._befalls(holds, place, now=now, take=take)
        if trouble is not None and not isinstance(trouble, Half):
            return self._no_answer(trouble, times)
        return self._good(ask, place, now=now, times=times, half=trouble)

    def _good(self, ask: Ask, place: int, *, now: float, times: float, half: Half | None = None) -> Answer:
        """An answer by the target's laws, unless it breaks."""
        holds, supplier, luck = self._now, self.supplier, self._luck
        coin = luck.coins[place]
        if coin < supplier.failure_rate:
            return Answer(inf, CONNECT_S + STATUS_S, 0, _SERVER)
        if self.busy > supplier.capacity:
            times *= (self.busy / supplier.capacity) ** supplier.crowding
        first_s = CONNECT_S + (supplier.first_token_s + ask.input_tokens * self._read_s) * times * luck.firsts[place]
        end_s = first_s + ask.output_tokens * self._per_token_s * times * luck.paces[place]
        if now + end_s > holds.crash_at:
            return _cut_at(ask, first_s, end_s=end_s, left_s=holds.crash_at - now, factor=holds.factor)
        if half is not None:
            return _half(half, ask, first_s=first_s, end_s=end_s, factor=holds.factor)
        if coin > 1.0 - supplier.cut_rate:
            return _cut_at(ask, first_s, end_s=end_s, left_s=(first_s + end_s) / 2.0, factor=holds.factor)
        return Answer(first_s, end_s, ask.output_tokens, None, holds.factor)

    def cost_usd(self, ask: Ask, answer: Answer, *, tokens: int) -> float:
        """What is charged for an attempt that said so many tokens; nothing where it was turned away."""
        if not tokens and answer.failure is not None:
            return 0.0
        return (ask.input_tokens * self._input_usd + tokens * self._output_usd) * answer.factor

    # -- trouble

    def _befalls(self, holds: _Now, place: int, *, now: float, take: bool) -> tuple[Trouble | None, float]:
        """What an attempt meets at most one of, and how many times slower it is."""
        coins, times = self._luck.coins, holds.times
        found: Trouble | None = None
        for index, outage in holds.troubles:
            trouble = outage.trouble
            if outage.share < 1.0 and coins[(place + OTHER * (index + 1)) % len(coins)] >= outage.share:
                continue
            if isinstance(trouble, Slow):
                times *= trouble.times
            elif isinstance(trouble, RateLimit):
                bucket = self._buckets.setdefault(index, _Bucket(trouble.per_s, trouble.burst))
                found = found or _limited(bucket, 1.0, now=now, take=take)
            else:
                found = found or trouble
        return found, times

    def _turned_away(self, ask: Ask, now: float, *, take: bool) -> Answer | None:
        """By a limit of the provider's own."""
        if 0 < self.supplier.concurrency_max <= self.busy:
            return Answer(inf, CONNECT_S + STATUS_S, 0, _FULL)
        for bucket, amount in zip(self._limits, (1.0, float(ask.input_tokens + ask.output_tokens)), strict=True):
            status = _limited(bucket, amount, now=now, take=take) if bucket is not None else None
            if status is not None:
                return self._no_answer(status, 1.0)
        return None

    def _no_answer(self, trouble: Trouble, times: float) -> Answer:
        if isinstance(trouble, Refused):
            return Answer(inf, REFUSED_S, 0, _REFUSED)
        if isinstance(trouble, Status):
            return Answer(inf, CONNECT_S + trouble.after_s, 0, _failure(trouble))
        if isinstance(trouble, Empty):
            return Answer(inf, CONNECT_S + self.supplier.first_token_s * times, 0, EMPTY)
        return Answer(inf, inf, 0)


def _limited(bucket: _Bucket, amount: float, *, now: float, take: bool) -> Status | None:
    """A 429 with whole seconds to wait, unless there is room."""
    wait_s = bucket.wait_s(amount, now)
    if wait_s > 0:
        return Status(FailureKind.RATE_LIMIT, 429, float(ceil(wait_s)))
    if take:
        bucket.take(amount, now)
    return None


def _failure(trouble: Status) -> Failure:
    message, hint_s = f"status {trouble.status}", trouble.retry_after_s
    return Failure(kind=trouble.kind, message=message, status=trouble.status, retry_after_s=hint_s)


def _cut_at(ask: Ask, first_s: float, *, end_s: float, left_s: float, factor: float) -> Answer:
    """The connection breaks after so many seconds."""
    if left_s <= first_s:
        return Answer(inf, left_s, 0, BROKEN)
    tokens = max(1, int(ask.output_tokens * (left_s - first_s) / max(end_s - first_s, 1e-9)))
    return Answer(first_s, left_s, tokens, BROKEN, factor)


def _half(trouble: Half, ask: Ask, *, first_s: float, end_s: float, factor: float) -> Answer:
    """It ends, or stops, after so many tokens."""
    tokens = min(trouble.after_tokens, ask.output_tokens)
    at_s = first_s + (end_s - first_s) * tokens / max(1, ask.output_tokens)
    if isinstance(trouble, Stall):
        return Answer(first_s, inf, tokens, None, factor)
    return Answer(first_s, at_s, tokens, _IN_BAND if isinstance(trouble, ErrorEvent) else BROKEN, factor)


class Market:
    """Every provider of one run, by its place."""

    __slots__ = ("_past", "_stalls", "_weights", "names")

    def __init__(
        self, suppliers: Mapping[str, Supplier], outages: Sequence[Outage], *, luck: Mapping[str, Luck],
        weights: Weights, past: Past | None = None,
    ) -> None:  # fmt: skip
        """`past` overrules what the laws would say; ValueError where an outage names a target that is not there."""
        unknown = {outage.target for outage in outages} - set(suppliers)
        if unknown:
            raise ValueError(f"outages of unknown targets: {', '.join(sorted(unknown))}")
        self.names = tuple(suppliers)
        self._stalls = [
            _Stall(name, supplier, outages=[o for o in outages if o.target == name], luck=luck[name])
            for name, supplier in suppliers.items()
        ]
        self._weights, self._past = weights, past or {}

    def ask(self, place: int, ask: Ask, *, again: int, now: float) -> Answer:
        """A target is really asked, for the first time (`again` = 0) or once more; it is busy until `leave`."""
        stall = self._stalls[place]
        known = None if again else self._past.get((ask.number, stall.name))
        answer = known or stall.answer(ask, again, now=now, take=True)
        stall.busy += 1
        return answer

    def leave(self, place: int, ask: Ask, *, answer: Answer, tokens: int) -> float:
        """An attempt is over after so many tokens; what it cost, in dollars."""
        stall = self._stalls[place]
        stall.busy -= 1
        return stall.cost_usd(ask, answer, tokens=tokens)

    def cost_usd(self, place: int, ask: Ask, *, answer: Answer) -> float:
        """What a whole answer costs, in dollars, as its provider says at its end."""
        return self._stalls[place].cost_usd(ask, answer, tokens=answer.tokens)

    def survey(self, ask: Ask, *, now: float, stream: bool) -> Survey:
        """What everybody would do with it now; nobody is really asked."""
        best, least, informed, informed_burden, expected_least = -1, inf, -1, inf, inf
        of_time, of_money, past = self._weights.of_time, self._weights.of_money, self._past
        counts_money, paid = self._weights.cost > 0.0, 0.0
        for place, stall in enumerate(self._stalls):
            answer = (past.get((ask.number, stall.name)) if past else None) or stall.answer(ask, 0, now=now)
            end_s = answer.end_s
            if answer.failure is not None or end_s == inf:
                continue
            if counts_money:
                paid = of_money(stall.cost_usd(ask, answer, tokens=answer.tokens))
            burden = of_time(answer.first_s if stream else end_s, end_s) + paid
            if burden < least:
                best, least = place, burden
            first_s, end_s = stall.expected(ask, now)
            expected = of_time(first_s if stream else end_s, end_s) + paid
            if expected < expected_least:
                informed, informed_burden, expected_least = place, burden, expected
        return Survey(best, least, informed, informed_burden)
