"""How a target has done of late, measured from facts: how fast, how well, how wordy.

    Typical    one quantity that is measured again and again, and may change
    Measure    everything that was seen of one target, or of one model at a provider
    Expected   what may be expected of it for one request

Estimates rise faster than they fall, as Finagle's peak EWMA does: whoever has become slow is
left at once, whoever was slow once is not forgiven for a single good answer.  Unlike there,
how often somebody is asked does not move his estimate, so that a busy target can be compared
with one that is only looked at now and then.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from math import exp, log

from unbroken.facts import AttemptAnswered
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.price import Price
from unbroken.types import Request, Usage, record

__all__ = ["SIZES_CHARS", "Expected", "Measure", "News", "Typical", "burdens", "estimate_usd", "size_of"]

SIZES_CHARS = (int(1_000 * CHARS_PER_TOKEN), int(8_000 * CHARS_PER_TOKEN))
"""Prompts under 1,000 tokens, under 8,000, and longer ones are measured apart: reading takes time."""
FALL = 0.03
"""What a new measurement weighs at least: an estimate rests on the last thirty or so."""
RISE = 2.0
"""How many times more it weighs where it is worse."""
AGEING_S = 10.0
"""With little traffic each one weighs more: two thirds after so long a silence, were there no limit."""
HEAVIEST = 0.5
"""... and never more than this."""
USUAL = 0.005
"""What a measurement weighs for what is usual over the hours."""
REVERT_S = 120.0
"""What is not measured drifts back to what is usual; after so long two thirds of the way."""
SURPRISE = log(2.0)
"""Twice or half of what was expected is surprising, ..."""
SURPRISE_SPREADS = 3.0
"""... or so many times the usual deviation, where that is more."""
SURPRISES = 2
"""So many in a row are no accident: ..."""
ANEW = 0.75
"""... then this much is the new measurement."""
OVERDUE = 2.0
"""Whoever waits twice as long as usual says something although nothing came yet."""
MEMORY = 50.0
"""Successes and failures count for so many requests, ..."""
MEMORY_S = 60.0
"""... and fade with time: two thirds of them in a minute."""
TRUST = 2.0
"""Everybody is believed to have answered so many requests well before the first."""
UNSEEN_TOKENS = 300
"""What an answer is taken to have while none was seen: some two hundred words."""
SEEN_TOKENS = 50.0
"""So many answers of its own weigh as much as those of all others, or as that guess."""
FAILS = 0.5
"""When half of them fail, an answer is the surprise."""
UNSOUND = 0.9
"""When one request in ten fails, that is a change."""
FAILING = 2.0
"""The power of success: who fails every second time has to be four times faster to be as good."""
LEAST_SHARE = 0.01
"""What is free counts as a hundredth of the dearest; in logarithms nothing would be infinitely better."""


def size_of(prompt_chars: int) -> int:
    """The class of a prompt: 0, 1 or 2."""
    short, middle = SIZES_CHARS
    return 0 if prompt_chars < short else 1 if prompt_chars < middle else 2


class News(IntEnum):
    """What a measurement suggests: nothing, that it may have become better, or that it has changed."""

    NONE = 0
    BETTER = 1
    CHANGED = 2


class Typical:
    """One quantity, always positive: what it is now, and what it usually is."""

    __slots__ = ("at", "count", "spread", "streak", "usual", "value")

    def __init__(self) -> None:
        self.value = self.usual = 0.0
        self.spread = 0.0
        self.at = 0.0
        self.count = 0
        self.streak = 0

    def add(self, seen: float, now: float) -> News:
        """Take in a measurement, and say what it suggests."""
        seen = max(seen, 1e-6)
        self.count += 1
        if self.count == 1:
            self.value = self.usual = seen
            self.at = now
            return News.NONE
        off = log(seen / self.value)
        aged = min(HEAVIEST, 1.0 - exp((self.at - now) / AGEING_S))
        self.at = now
        surprises = self._surprises(off)
        weight = max(1.0 / self.count, FALL, aged)
        if surprises >= SURPRISES:
            weight, self.streak = ANEW, 0
        elif off > 0.0:
            weight = min(HEAVIEST, RISE * weight)
        self.value += weight * (seen - self.value)
        self.usual += max(USUAL, 1.0 / self.count) * (min(seen, 2.0 * self.usual) - self.usual)
        if surprises < SURPRISES:
            return News.BETTER if surprises and off < 0.0 else News.NONE
        if off < 0.0:
            self.usual = min(self.usual, self.value)
        return News.CHANGED

    def _surprises(self, off: float) -> int:
        """How many measurements in a row, this one included, were far off to the same side."""
        size, side = abs(off), 1 if off > 0.0 else -1
        if size > max(SURPRISE, SURPRISE_SPREADS * self.spread):
            self.streak = self.streak + side if self.streak * side > 0 else side
        else:
            self.streak = 0
            self.spread += 0.05 * (size - self.spread)
        return abs(self.streak)

    def at_least(self, seen: float, now: float) -> News:
        """It is more than this, how much more is not known."""
        return self.add(seen, now) if not self.count or seen > self.value else News.NONE

    def believed(self, now: float, trust: float = 1.0) -> float:
        """What it is believed to be; `trust` (0 to 1) is how far the last measurements still hold."""
        kept = trust * exp((self.at - now) / REVERT_S)
        return self.usual + kept * (self.value - self.usual)


class Measure:
    """What was seen of a target: times to the first content and to the end by size of prompt, pace, success."""

    __slots__ = (
        "_first",
        "_good_in_a_row",
        "_judged_at",
        "_plain",
        "bad",
        "good",
        "paces",
        "seen",
        "seen_at",
        "tokens",
        "usd",
    )

    def __init__(self) -> None:
        self._first: list[Typical | None] = [None, None, None]
        self._plain: list[Typical | None] = [None, None, None]
        self.paces, self.tokens, self.usd = Typical(), Typical(), Typical()
        """Seconds for each token of an answer, tokens of an answer, dollars for each token where it is told."""
        self.good = self.bad = 0.0
        self._judged_at = self.seen_at = 0.0
        self._good_in_a_row = 0
        self.seen = 0
        """How many answers and failures this rests on."""

    # -- what happens

    def heard(self, seconds: float, size: int, *, now: float) -> News:
        """A stream's first content came."""
        return _of(self._first, size).add(seconds, now)

    def answered(self, fact: AttemptAnswered, size: int) -> News:
        """A whole answer came."""
        now, usage = fact.at, fact.usage
        news = self._went_well(now)
        if not fact.stream:
            news = max(news, _of(self._plain, size).add(fact.total_s, now))
        if usage is None:
            return news
        rest_s, tokens = fact.total_s - fact.first_content_s, usage.output_tokens
        if tokens:
            self.tokens.add(float(tokens), now)
            if fact.stream and rest_s > 0.0:
                news = max(news, self.paces.add(rest_s / tokens, now))
        if usage.cost_usd is not None:
            news = max(news, self.usd.add(usage.cost_usd / max(1, usage.input_tokens + tokens), now))
        return news

    def failed(self, now: float) -> News:
        """An attempt failed for a reason that is the target's."""
        was = self.success(now)
        self._good_in_a_row = 0
        self._judge(now, bad=1.0)
        return News.CHANGED if was > UNSOUND >= self.success(now) else News.NONE

    def outrun(self, seconds: float, size: int, *, stream: bool, now: float) -> News:
        """It had said nothing after so long, when somebody else had answered."""
        self.seen += 1
        self.seen_at = now
        return _of(self._first if stream else self._plain, size).at_least(seconds, now)

    def _went_well(self, now: float) -> News:
        """What answers well again after it failed as a rule is not held to its failures for long."""
        failing = self.bad > 0.0 and self.success(now) < FAILS
        self._judge(now, good=1.0)
        self._good_in_a_row += 1
        if not failing:
            return News.NONE
        if self._good_in_a_row < SURPRISES:
            return News.BETTER
        self.bad *= 1.0 - ANEW
        return News.CHANGED

    def _judge(self, now: float, *, good: float = 0.0, bad: float = 0.0) -> None:
        kept = min(exp((self._judged_at - now) / MEMORY_S), 1.0 - 1.0 / MEMORY)
        self.good, self.bad = kept * self.good + good, kept * self.bad + bad
        self._judged_at = self.seen_at = now
        self.seen += 1

    # -- what is known

    def success(self, now: float, trust: float = 1.0) -> float:
        """The share of requests that go well, 0 to 1; old failures are forgotten."""
        if not self.bad:
            return 1.0
        kept = trust * exp((self._judged_at - now) / MEMORY_S)
        good = kept * self.good + TRUST
        return good / (good + kept * self.bad)

    def first_s(self, size: int, *, now: float, trust: float = 1.0) -> float:
        """Seconds to a stream's first content; 0 where nothing is known."""
        found = _nearest(self._first, size) or _nearest(self._plain, size)
        return found.believed(now, trust) if found is not None else 0.0

    def rest_s(self, tokens: float, *, now: float, trust: float = 1.0) -> float:
        """Seconds from there to the end of a stream of so many tokens."""
        return tokens * self.paces.believed(now, trust) if self.paces.count else 0.0

    def plain_s(self, size: int, *, tokens: float, now: float, trust: float = 1.0) -> float:
        """Seconds to a plain answer; 0 where nothing is known."""
        found = _nearest(self._plain, size)
        if found is not None:
            return found.believed(now, trust)
        first_s = self.first_s(size, now=now, trust=trust)
        return first_s + self.rest_s(tokens, now=now, trust=trust) if first_s else 0.0

    def output_tokens(self, request: Request, *, usual: float = 0.0) -> float:
        """How long an answer is likely to be: as they were here and (`usual`) anywhere, within what was asked for."""
        likely = usual or UNSEEN_TOKENS
        likely += self.tokens.count / (self.tokens.count + SEEN_TOKENS) * (self.tokens.usual - likely)
        return likely if request.max_tokens is None else min(likely, request.max_tokens)


def _of(sizes: list[Typical | None], size: int) -> Typical:
    found = sizes[size]
    if found is None:
        found = sizes[size] = Typical()
    return found


def _nearest(sizes: list[Typical | None], size: int) -> Typical | None:
    """What is known of prompts of this size, or of the sizes next to it."""
    return sizes[size] or sizes[1] or sizes[0] or sizes[2]


# ------------------------------------------------------------------ for one request


@record()
class Expected:
    """What may be expected of a target for a request; seconds are 0 where `seen` is.

    `cost_usd` is None where no price is known; `success` is a share; `busy` how many
    requests are with it now.
    """

    first_s: float
    total_s: float
    success: float
    cost_usd: float | None
    seen: int
    busy: int
    stream: bool = False

    @property
    def seconds(self) -> float:
        """What the caller waits for: the end, and of a stream its beginning just as much."""
        return 0.5 * (self.first_s + self.total_s) if self.stream else self.total_s


def estimate_usd(price: Price, request: Request, *, tokens: float) -> float | None:
    """What an answer of so many tokens would cost in dollars; None where no price is known."""
    input_tokens = int(request.prompt_chars / CHARS_PER_TOKEN)
    whole_in, whole_out = price.input_usd, price.output_usd
    if whole_in is not None and whole_out is not None and not (price.variants or price.included):
        # What nearly every price is, without the ceremony: this is asked for every target of every request.
        by_the_million = input_tokens * whole_in + int(tokens) * whole_out
        return by_the_million / 1e6 + (price.request_usd or 0.0) + request.choices * (price.image_usd or 0.0)
    if not price.known:
        return None
    return price.cost_usd(Usage(input_tokens=input_tokens, output_tokens=int(tokens)), images=request.choices)


def burdens(expected: list[Expected], weights: Mapping[str, float]) -> list[float]:
    """What each would burden the caller with, in logarithms: the lower the better.

        seconds^speed * dollars^cost / success^(2 * reliability)

    Ten per cent more time is as bad as ten per cent more money, whatever the amounts, where
    both weigh the same.  What is not known counts as the others' average.
    """
    speed, cost, reliability = weights.get("speed", 0.0), weights.get("cost", 0.0), weights.get("reliability", 0.0)
    found = [0.0] * len(expected)
    if speed:
        found = [speed * part for part in _logs([one.seconds if one.seen else None for one in expected])]
    if cost:
        dearest = max((one.cost_usd or 0.0 for one in expected), default=0.0) or 1.0
        shares = [None if one.cost_usd is None else max(one.cost_usd / dearest, LEAST_SHARE) for one in expected]
        found = [have + cost * part for have, part in zip(found, _logs(shares), strict=True)]
    if reliability:
        power = FAILING * reliability
        found = [
            have if one.success >= 1.0 else have - power * log(one.success)
            for have, one in zip(found, expected, strict=True)
        ]
    return found


def _logs(amounts: list[float | None]) -> list[float]:
    known = [None if amount is None else log(amount) if amount > 0.0 else None for amount in amounts]
    there = [one for one in known if one is not None]
    usual = sum(there) / len(there) if there else 0.0
    return [usual if one is None else one for one in known]
