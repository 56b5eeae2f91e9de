"""How a target has done of late, measured from facts: how fast, how well, how wordy.

    Measure    everything that was seen of one target, or of one model at a provider
    Lengths    how long answers are, whoever gives them
    Expected   what may be expected of a target for one request

An answer is taken to consist of its beginning, which grows with the prompt, and of its tokens,
each of which takes the same time.  So a long prompt, or a long answer, says as much of a target
as a short one, and a plain answer as much as a stream.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, inf, log, log2, sqrt

from unbroken.core.typical import HINT, Mean, News, Slope, Typical
from unbroken.facts import AttemptAnswered
from unbroken.policy import CHARS_PER_TOKEN
from unbroken.price import Price
from unbroken.records import Record
from unbroken.types import Request, Usage

__all__ = ["Expected", "Lengths", "Measure", "burdens", "estimate_usd", "reading"]

READ_TOKENS = 4_000.0
"""Reading a prompt of so many tokens takes as long again as answering an empty one: what is usual at hosted models,
and what a target is taken to do until it has shown how fast it reads."""
BEGIN_TOKENS = 40.0
"""An answer's beginning takes as long as so many of its tokens: a guess, until both were seen."""
GUESSED = 0.5
"""... which may be off by a factor of two: a variance of its logarithm."""
OVERDUE = 2.0
"""Whoever waits twice as long as usual says something although nothing came yet."""
OVERDUE_TOKENS = 3.0
"""... of a plain answer three times as long as usual, as it may just be long."""
MEMORY = 50.0
"""Successes and failures count for so many requests, ..."""
MEMORY_S = 60.0
"""... and fade with time: two thirds of them in a minute."""
TRUST = 2.0
"""Everybody is believed to have answered so many requests well before the first."""
UNSEEN_TOKENS = 300.0
"""What an answer is taken to have while none was seen: some two hundred words."""
LENGTHS = 24
"""Classes of prompts by their length, two for each doubling, ..."""
SHORT_TOKENS = 64.0
"""... from this on."""
LENGTH_SEEN = 10.0
"""So many answers to prompts of a class say as much of it as all others."""
WORDY = 4.0
"""Whatever is within four deviations is chance: models do differ in how much they say, but requests do so more."""
WORDY_SEEN = 200
COMPARED = 100
"""Before so many answers it is not known how long they usually are: the short ones come first."""
UNSOUND = 0.9
"""When one request in ten fails, that is a change."""
PROOF = 2.0
"""Failures are forgotten after a row of answers that would be a wonder (one in e to this power) were they to go on."""
USD_NOISE = 0.01
"""Prices do not scatter as times do: twice the price is news."""
AS_LISTED = 0.001
"""Up to so small a share of it, a charge is what the list says."""
NOTHING = (0.0, 0.0, 0.0, 0.0)
FAILING = 2.0
"""The power of success: who fails every second time has to be four times faster to be as good."""
LEAST_SHARE = 0.01
"""What is free counts as a hundredth of the dearest; in logarithms nothing would be infinitely better."""


def reading(prompt_tokens: float, slope: float = 1.0) -> float:
    """How many times as long an answer's beginning takes as after an empty prompt; a slope of 1 is usual."""
    return 1.0 + slope * prompt_tokens / READ_TOKENS


class Lengths:
    """How many tokens answers have, by the length of the prompt: the mean of logarithms, as lengths scatter by factors.

    Where burdens are compared as logarithms, half of an answer's length matters as much as twice of it.
    """

    def __init__(self) -> None:
        self.all = Mean()
        self._classes = [Mean() for _ in range(LENGTHS)]
        self._asked, self._mine = 0.0, self._classes[0]

    def add(self, tokens: float, prompt_tokens: float) -> None:
        """An answer of so many tokens came."""
        mark = log(tokens)
        self.all.add(mark)
        self._of(prompt_tokens).add(mark)

    def usual(self, prompt_tokens: float) -> float:
        """What to expect of the next."""
        if not self.all.count:
            return UNSEEN_TOKENS
        mine = self._of(prompt_tokens)
        return exp(self.all.value + mine.count / (mine.count + LENGTH_SEEN) * (mine.value - self.all.value))

    def _of(self, prompt_tokens: float) -> Mean:
        """Those of its class; one answer asks for them several times."""
        if prompt_tokens != self._asked:
            at = min(LENGTHS - 1, int(2.0 * log2(1.0 + prompt_tokens / SHORT_TOKENS)))
            self._asked, self._mine = prompt_tokens, self._classes[at]
        return self._mine


class Measure:
    """What was seen of a target: the time to begin and for each token, success, words, what it charges."""

    __slots__ = ("_judged_at", "_known", "_known_until", "_proof", "bad", "begins", "good", "paces", "seen", "slope",
                 "usd", "wordiness", "words")  # fmt: skip

    def __init__(self) -> None:
        self.begins, self.paces = Typical(), Typical()
        """Seconds to the first content after an empty prompt, and for each token from there."""
        self.slope = Slope()
        """How long reading takes, in times of what is usual."""
        self.usd = Typical(USD_NOISE)
        """Dollars in times of the list price, or for each token; nothing while the list is right."""
        self.words, self.wordiness = Mean(), 1.0
        """Tokens in times of what is usual, as logarithms, and what may be made of that."""
        self.good = self.bad = 0.0
        self._judged_at = self._proof = 0.0
        self._known, self._known_until = NOTHING, -inf
        self.seen = 0
        """How many answers and failures this rests on."""

    # -- what happens

    def heard(self, seconds: float, prompt_tokens: float, *, now: float) -> News:
        """A stream's first content came."""
        self._known_until = -inf
        news = self.begins.add(seconds / reading(prompt_tokens, self.slope.value), now)
        if news is not News.CHANGED:
            self.slope.add(prompt_tokens / READ_TOKENS, self.begins)
        return news

    def answered(self, fact: AttemptAnswered, prompt_tokens: float, *, tokens: float, lengths: Lengths) -> News:
        """A whole answer came, of so many tokens where it has any; `lengths` knows how many are usual."""
        now, usage = fact.at, fact.usage
        news = self._went_well(now)
        if not fact.stream:
            news = max(news, self._whole(fact.total_s, prompt_tokens, tokens=tokens, now=now))
        elif tokens and fact.total_s > fact.first_content_s:
            self._known_until = -inf
            news = max(news, self.paces.add((fact.total_s - fact.first_content_s) / tokens, now))
        if tokens:
            self._count(tokens, prompt_tokens, lengths=lengths)
        if usage is not None and usage.cost_usd is not None:
            news = max(news, self._charged(usage.cost_usd, usage, price=fact.target.price, now=now))
        return news

    def failed(self, now: float) -> News:
        """An attempt failed for a reason that is the target's."""
        was = self.success(now)
        self._proof = 0.0
        self._judge(now, bad=1.0)
        return News.CHANGED if was > UNSOUND >= self.success(now) else News.NONE

    def outrun(self, seconds: float, prompt_tokens: float, *, tokens: float, stream: bool, now: float) -> News:
        """It had said nothing after so long, when somebody else had answered."""
        self.seen += 1
        self._known_until = -inf
        if stream:
            return self.begins.at_least(seconds / reading(prompt_tokens, self.slope.value), now)
        begin_s, pace_s, _, _ = self._times(now)
        if begin_s:
            tokens *= OVERDUE_TOKENS
        if seconds < begin_s * reading(prompt_tokens, self.slope.value) + tokens * pace_s:
            return News.NONE
        return self._whole(seconds, prompt_tokens, tokens=tokens, now=now)

    def _whole(self, seconds: float, prompt_tokens: float, *, tokens: float, now: float) -> News:
        """A plain answer's beginning and tokens were both so many times slower than expected, as far as it shows."""
        begin_s, pace_s, _, _ = self._times(now)
        if not begin_s:
            begin_s, pace_s = 1.0, 1.0 / BEGIN_TOKENS
        first_s, rest_s = begin_s * reading(prompt_tokens, self.slope.value), tokens * pace_s
        times, share = seconds / (first_s + rest_s), first_s / (first_s + rest_s)
        self._known_until = -inf
        news = self.begins.add(begin_s * times, now, share=share)
        if news is not News.CHANGED and share >= HINT:
            self.slope.add(prompt_tokens / READ_TOKENS, self.begins, share=share)
        return max(news, self.paces.add(pace_s * times, now, share=1.0 - share))

    def _count(self, tokens: float, prompt_tokens: float, *, lengths: Lengths) -> None:
        """An answer had so many tokens: a target is wordier than others once that is no chance."""
        own = self.words
        if lengths.all.count < COMPARED:
            return
        own.add(log(tokens / lengths.usual(prompt_tokens)))
        by_chance = WORDY * sqrt(max(own.variance, lengths.all.variance) / min(own.count, WORDY_SEEN))
        self.wordiness = exp(own.value - min(max(own.value, -by_chance), by_chance))

    def _charged(self, cost_usd: float, usage: Usage, *, price: Price, now: float) -> News:
        """What is charged as listed needs no measuring."""
        listed_usd = _listed_usd(price, usage)
        times = cost_usd / (listed_usd or max(1.0, usage.input_tokens + usage.output_tokens))
        if listed_usd and not self.usd.count:
            if abs(times - 1.0) < AS_LISTED:
                return News.NONE
            if self.seen > 1:
                self.usd.add(1.0, now)
        return self.usd.add(times, now)

    def _went_well(self, now: float) -> News:
        """What answers well again after it failed as a rule is not held to its failures for long."""
        was = self.success(now)
        self._judge(now, good=1.0)
        if not self.bad:
            return News.NONE
        self._proof -= log(was)
        if self._proof > PROOF:
            self.bad = self._proof = 0.0
            return News.CHANGED
        return News.BETTER if was < UNSOUND else News.NONE

    def _judge(self, now: float, *, good: float = 0.0, bad: float = 0.0) -> None:
        kept = min(exp((self._judged_at - now) / MEMORY_S), 1.0 - 1.0 / MEMORY)
        self.good, self.bad = kept * self.good + good, kept * self.bad + bad
        self._judged_at = now
        self.seen += 1

    # -- what is known

    def success(self, now: float) -> float:
        """The share of requests that go well, 0 to 1; old failures are forgotten."""
        if not self.bad:
            return 1.0
        kept = exp((self._judged_at - now) / MEMORY_S)
        good = kept * self.good + TRUST
        return good / (good + kept * self.bad)

    def time_s(self, prompt_tokens: float, *, tokens: float, now: float) -> tuple[float, float]:
        """Seconds to the first content, and from there to the end of so many tokens; nothing where nothing is known."""
        begin_s, pace_s, _, _ = self._times(now)
        return begin_s * reading(prompt_tokens, self.slope.value), tokens * pace_s

    def sure_s(
        self, prompt_tokens: float, *, tokens: float, now: float, stream: bool
    ) -> tuple[float, float, float]:  # fmt: skip
        """The same, and how unsure what a caller waits for is: the deviation of its logarithm."""
        begin_s, pace_s, begin_doubt, pace_doubt = self._times(now)
        first_s, rest_s = begin_s * reading(prompt_tokens, self.slope.value), tokens * pace_s
        if not first_s:
            return first_s, rest_s, 0.0
        waited_s = 0.5 * rest_s if stream else rest_s
        doubt = sqrt(first_s * first_s * begin_doubt + waited_s * waited_s * pace_doubt) / (first_s + waited_s)
        return first_s, rest_s, doubt

    def output_tokens(self, request: Request, *, usual: float = UNSEEN_TOKENS) -> float:
        """How long an answer is likely to be: as usual, or as here where that differs, within what was asked for."""
        likely = usual * self.wordiness
        return likely if request.max_tokens is None else min(likely, request.max_tokens)

    def _times(self, now: float) -> tuple[float, float, float, float]:
        """Seconds to begin and for each token, and how unsure they are; time is looked at once a second."""
        if now >= self._known_until:
            self._known, self._known_until = self._guessed(now), now + 1.0
        return self._known

    def _guessed(self, now: float) -> tuple[float, float, float, float]:
        """The same, as of now; of one is guessed from the other."""
        begin_s, begin_doubt = self.begins.guess(now)
        pace_s, pace_doubt = self.paces.guess(now)
        if not begin_s:
            return pace_s * BEGIN_TOKENS, pace_s, GUESSED, pace_doubt
        if not pace_s:
            return begin_s, begin_s / BEGIN_TOKENS, begin_doubt, GUESSED
        return begin_s, pace_s, begin_doubt, pace_doubt


def _listed_usd(price: Price, usage: Usage) -> float:
    """What the list says an answer costs; nothing where it says nothing."""
    if price.included is not None or (price.input_usd is None and not price.known):
        return 0.0
    rates = price.rates(input_tokens=usage.input_tokens) if price.variants else price
    return rates.total_usd(usage, images=usage.images)


# ------------------------------------------------------------------ for one request


class Expected(Record):
    """What may be expected of a target for a request; seconds are 0 where `seen` is.

    `cost_usd` is None where no price is known; `success` is a share; `busy` how many
    requests are with it now; `doubt` is the deviation of the logarithm of `seconds`.
    """

    first_s: float
    total_s: float
    success: float
    cost_usd: float | None
    seen: int
    busy: int
    stream: bool
    doubt: float

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
        _weigh([one.seconds if one.seen else 0.0 for one in expected], found, weight=speed)
    if cost:
        amounts = [one.cost_usd for one in expected]
        least = LEAST_SHARE * max([amount or 0.0 for amount in amounts], default=0.0) or LEAST_SHARE
        _weigh([amount if amount is None or amount > least else least for amount in amounts], found, weight=cost)
    if reliability:
        for at, one in enumerate(expected):
            if one.success < 1.0:
                found[at] -= FAILING * reliability * log(one.success)
    return found


def _weigh(amounts: Sequence[float | None], burdens: list[float], *, weight: float) -> None:
    """Add the logarithm of each; for those that nobody knows the mean of the others."""
    logs = [log(amount) for amount in amounts if amount]
    if len(logs) < len(amounts):
        usual = sum(logs) / len(logs) if logs else 0.0
        logs = [log(amount) if amount else usual for amount in amounts]
    for at, part in enumerate(logs):
        burdens[at] += weight * part
