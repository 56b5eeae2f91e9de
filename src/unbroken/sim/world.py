"""Scripted providers under virtual time: how they answer, and what befalls them when.

    Law        how a provider answers when nothing is wrong
    Trouble    one way of failing
    Outage     a trouble of one target, from a time to a time, for a share of its requests
    Truth      what the whole answer to a request is, whoever gives it
    World      all of it: asked for an answer, it tells the steps of one

Time is in virtual seconds from the beginning of the run.  Chance comes from one seeded
source for each target, so that what one of them does never disturbs another.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import ceil, log
from random import Random

from unbroken.failures import Failure, FailureKind
from unbroken.types import Attempt, Continuation, Delta, Finish, Mode, Request, Usage, anchor_of

__all__ = [
    "Cut",
    "Empty",
    "ErrorEvent",
    "Half",
    "Hang",
    "Law",
    "Outage",
    "Priced",
    "RateLimit",
    "Refused",
    "Signal",
    "Slow",
    "Stall",
    "Status",
    "Step",
    "Trouble",
    "Truth",
    "World",
    "flapping",
    "repeated",
    "rising",
]


# ------------------------------------------------------------- how they answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Law:
    """How a provider answers when nothing is wrong.

    The first token comes after a lognormal time with median `first_token_s` (`spread` is
    the deviation of its logarithm), the others at `tokens_per_s`, `chunk_tokens` at a time.
    `continues` says what it does with an answer that another one began: `on` (as it was
    asked to), `repeat` (the same, after saying some of it again), `again` (from the
    beginning) or `astray` (it says something else).
    """

    connect_s: float = 0.03
    first_token_s: float = 0.35
    spread: float = 0.35
    tokens_per_s: float = 80.0
    chunk_tokens: int = 24
    continues: str = "on"


class Truth:
    """The whole answer to each request, by its number.

    Answers are stretches of one long text, cut into tokens as models cut it (most words are
    several, line breaks are their own): requests that run at the same time never share one,
    so words that are lost, doubled or somebody else's show as a difference.  Lengths are
    lognormal with median `tokens`.
    """

    RING = 8191
    """Tokens in the long text; a prime, so that steps through it visit every place."""
    STRIDE = 1237
    LENGTHS = 1021
    TOKENS_MAX = 1000
    """Of one answer; the law has a long tail."""

    def __init__(self, *, tokens: float = 48.0, spread: float = 0.5) -> None:
        draw = Random("the truth")
        tokens_all = [_token(draw) for _ in range(self.RING)]
        tokens_all += tokens_all[: self.TOKENS_MAX]
        self.text = "".join(tokens_all)
        self.offsets = [0]
        for token in tokens_all:
            self.offsets.append(self.offsets[-1] + len(token))
        lengths = (int(draw.lognormvariate(log(tokens), spread)) for _ in range(self.LENGTHS))
        self._lengths = [min(max(2, length), self.TOKENS_MAX) for length in lengths]

    def span(self, number: int) -> tuple[int, int]:
        """The first token of an answer, and the one after its last."""
        start = number * self.STRIDE % self.RING
        return start, start + self._lengths[number % self.LENGTHS]

    def whole(self, number: int) -> str:
        """The whole answer to this request."""
        start, end = self.span(number)
        return self.text[self.offsets[start] : self.offsets[end]]


_SYLLABLES = [first + vowel + last for first in "bdfgklmnprstvz" for vowel in "aeiou" for last in ("", "n", "r", "l")]


def _token(draw: Random) -> str:
    kind = draw.random()
    if kind < 0.02:
        return "\n\n"
    if kind < 0.10:
        return draw.choice((".", ",", ";", " -"))
    return (" " if kind < 0.60 else "") + draw.choice(_SYLLABLES)


# ------------------------------------------------------------- what befalls them


@dataclass(frozen=True, slots=True)
class Refused:
    """Nobody listens: answers under way break off, new connections are refused."""


@dataclass(frozen=True, slots=True)
class Status:
    """An error of this kind with this HTTP status, after `after_s`; it may say when to come back."""

    kind: FailureKind
    status: int
    retry_after_s: float | None = None
    after_s: float = 0.05


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most `per_s` requests a second and `burst` at once; the rest hear 429 and whole seconds to wait."""

    per_s: float
    burst: float = 1.0


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is taken and never answered; not even the connection comes unless `connected`."""

    connected: bool = True


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection breaks after so many tokens."""

    after_tokens: int = 12


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing comes after so many tokens, and the connection stays open."""

    after_tokens: int = 12


@dataclass(frozen=True, slots=True)
class ErrorEvent:
    """An error inside the answer after so many tokens."""

    after_tokens: int = 12


@dataclass(frozen=True, slots=True)
class Empty:
    """A proper answer without any content."""


@dataclass(frozen=True, slots=True)
class Slow:
    """A brown-out: the first token and all others take so many times as long."""

    times: float


@dataclass(frozen=True, slots=True)
class Priced:
    """No trouble but news: answers cost so many times as much."""

    times: float


Half = Cut | Stall | ErrorEvent
"""Half an answer; the tokens are those that the target itself says, so a continuation breaks as well."""

Trouble = Refused | Status | RateLimit | Hang | Half | Empty | Slow | Priced
"""One way of failing.  An attempt meets at most one of them, and any number of `Slow` and `Priced`."""


@dataclass(frozen=True, slots=True)
class Outage:
    """From `start_s` until before `end_s`, this share of the attempts at the target meets the trouble."""

    target: str
    start_s: float
    end_s: float
    trouble: Trouble
    share: float = 1.0


def flapping(
    target: str, trouble: Trouble, *, start_s: float, end_s: float, down_s: float, up_s: float
) -> list[Outage]:
    """A target that is down and up in turn."""
    outages, at = [], start_s
    while at < end_s:
        outages.append(Outage(target, at, min(at + down_s, end_s), trouble))
        at += down_s + up_s
    return outages


def rising(target: str, trouble: Trouble, *, start_s: float, end_s: float, share: float = 1.0) -> list[Outage]:
    """A slow death: in ten equal steps up to this share of the attempts."""
    step_s = (end_s - start_s) / 10
    edges_s = [start_s + step_s * n for n in range(11)]
    return [Outage(target, edges_s[n], edges_s[n + 1], trouble, share * (n + 1) / 10) for n in range(10)]


def repeated(outages: Sequence[Outage], *, every_s: float, times: int) -> list[Outage]:
    """The same outages in each of so many rounds."""
    return [
        Outage(o.target, o.start_s + n * every_s, o.end_s + n * every_s, o.trouble, o.share)
        for n in range(times)
        for o in outages
    ]


# ------------------------------------------------------------- answers, step by step


class Signal(IntEnum):
    """What a driver is told of an attempt."""

    CONNECTED = 0
    OPENED = 1
    ARRIVED = 2
    ENDED = 3
    FAILED = 4


Step = tuple[float, Signal, list[Delta] | Failure | None]
"""Seconds after the launch, what happens, and the deltas or the failure that it brings."""

_REFUSED = Failure(kind=FailureKind.CONNECT, message="connection refused", sent=False)
BROKEN = Failure(kind=FailureKind.BROKEN, message="the connection broke")
_IN_BAND = Failure(kind=FailureKind.SERVER, message="an error inside the answer")


class World:
    """Every provider of a run."""

    def __init__(self, laws: Mapping[str, Law], outages: Sequence[Outage], *, truth: Truth, seed: int) -> None:
        """`laws` by target name; ValueError where an outage names a target that has none."""
        unknown = {outage.target for outage in outages} - set(laws)
        if unknown:
            raise ValueError(f"outages of unknown targets: {', '.join(sorted(unknown))}")
        self.truth = truth
        self.outages = tuple(outages)
        self._providers = {
            name: _Provider(
                law,
                [outage for outage in outages if outage.target == name],
                truth=truth,
                draw=Random(f"{seed}/{name}"),  # a text seed is hashed in full, the same in every process
            )
            for name, law in laws.items()
        }

    def answer(self, number: int, attempt: Attempt, *, request: Request, now: float) -> Iterator[Step]:
        """The steps of an answer to the request with this number, in order of time."""
        return self._providers[attempt.target.name].answer(number, attempt, request=request, now=now)

    def chance(self, target: str) -> float:
        """A number in [0, 1) from the target's own source."""
        return self._providers[target].draw.random()


class _Provider:
    """One scripted provider."""

    __slots__ = ("_active", "_buckets", "_changes_at", "_law", "_outages", "_truth", "draw")

    def __init__(self, law: Law, outages: list[Outage], *, truth: Truth, draw: Random) -> None:
        self._law, self._outages, self._truth, self.draw = law, outages, truth, draw
        self._active: list[Outage] = []
        self._changes_at = 0.0
        self._buckets: dict[Outage, _Bucket] = {}

    def answer(self, number: int, attempt: Attempt, *, request: Request, now: float) -> Iterator[Step]:
        trouble, times = self._befalls(now)
        if trouble is not None and not isinstance(trouble, Half):
            return self._no_answer(trouble)
        words = self._words(number, attempt.continuation)
        return (self._stream if request.stream else self._plain)(words, times=times, trouble=trouble)

    # -- trouble

    def _befalls(self, now: float) -> tuple[Trouble | None, float]:
        """What an attempt meets that begins now, and how many times slower it is."""
        if now >= self._changes_at:
            self._turn(now)
        found: Trouble | None = None
        times = 1.0
        for outage in self._active:
            trouble = outage.trouble
            if outage.share < 1.0 and self.draw.random() >= outage.share:
                continue
            if isinstance(trouble, Slow):
                times *= trouble.times
            elif isinstance(trouble, Priced):
                continue  # words are the same at any price
            elif isinstance(trouble, RateLimit):
                found = found or self._limited(outage, trouble, now=now)
            else:
                found = found or trouble
        return found, times

    def _turn(self, now: float) -> None:
        """The outages that hold now, and when that changes."""
        self._active = [outage for outage in self._outages if outage.start_s <= now < outage.end_s]
        edges = [edge for outage in self._outages for edge in (outage.start_s, outage.end_s) if edge > now]
        self._changes_at = min(edges, default=float("inf"))

    def _limited(self, outage: Outage, limit: RateLimit, *, now: float) -> Status | None:
        bucket = self._buckets.setdefault(outage, _Bucket(limit.burst, now))
        wait_s = bucket.take(limit, now)
        return Status(FailureKind.RATE_LIMIT, 429, float(ceil(wait_s))) if wait_s else None

    def _no_answer(self, trouble: Trouble) -> Iterator[Step]:
        connect_s = self._law.connect_s
        if isinstance(trouble, Refused):
            yield connect_s, Signal.FAILED, _REFUSED
            return
        if isinstance(trouble, Hang) and not trouble.connected:
            return
        yield connect_s, Signal.CONNECTED, None
        if isinstance(trouble, Status):
            yield connect_s + trouble.after_s, Signal.FAILED, _failure(trouble)
        elif isinstance(trouble, Empty):
            after_s = connect_s + self._law.first_token_s
            yield after_s, Signal.OPENED, None
            yield after_s, Signal.ARRIVED, [Delta(finish=Finish.STOP)]
            yield after_s, Signal.ENDED, None

    # -- answers

    def _words(self, number: int, continuation: Continuation | None) -> tuple[str, int, int]:
        """What is said first, then the tokens that follow: from one to before another."""
        truth, (start, end) = self._truth, self._truth.span(number)
        if continuation is None or not continuation.text or continuation.mode is Mode.RESTART:
            return "", start, end
        if self._law.continues == "again":
            return "", start, end
        if self._law.continues == "astray":
            return "", *truth.span(number + 1)
        base, shown = truth.offsets[start], continuation.text
        anchor = anchor_of(shown)
        if self._law.continues == "repeat":
            back = max(0, len(shown) - 2 * len(anchor))
        elif continuation.mode is Mode.ASK:
            back = len(shown.rstrip()) - len(anchor)
        else:
            back = len(shown)
        index = min(end, bisect_left(truth.offsets, base + back))
        return truth.text[base + back : truth.offsets[index]], index, end

    def _stream(self, words: tuple[str, int, int], *, times: float, trouble: Half | None) -> Iterator[Step]:
        law, truth = self._law, self._truth
        text, offsets, chunk = truth.text, truth.offsets, law.chunk_tokens
        lead, start, end = words
        yield law.connect_s, Signal.CONNECTED, None
        after_s = law.connect_s + self._first_s() * times
        yield after_s, Signal.OPENED, None
        stop = end if trouble is None else min(end, start + trouble.after_tokens)
        pace_s = chunk / law.tokens_per_s * times
        for place in range(start, stop, chunk):
            said = lead + text[offsets[place] : offsets[min(place + chunk, stop)]]
            lead = ""
            yield after_s, Signal.ARRIVED, [Delta(text=said)]
            after_s += pace_s
        if trouble is None:
            yield after_s, Signal.ARRIVED, [_end(lead, end - start)]
            yield after_s, Signal.ENDED, None
        elif not isinstance(trouble, Stall):
            yield after_s, Signal.FAILED, _IN_BAND if isinstance(trouble, ErrorEvent) else BROKEN

    def _plain(self, words: tuple[str, int, int], *, times: float, trouble: Half | None) -> Iterator[Step]:
        law, truth = self._law, self._truth
        lead, start, end = words
        yield law.connect_s, Signal.CONNECTED, None
        after_s = law.connect_s + (self._first_s() + (end - start) / law.tokens_per_s) * times
        if trouble is None:
            said = lead + truth.text[truth.offsets[start] : truth.offsets[end]]
            yield after_s, Signal.OPENED, None
            yield after_s, Signal.ARRIVED, [_end(said, end - start)]
            yield after_s, Signal.ENDED, None
        elif not isinstance(trouble, Stall):
            yield after_s, Signal.FAILED, _IN_BAND if isinstance(trouble, ErrorEvent) else BROKEN

    def _first_s(self) -> float:
        return self.draw.lognormvariate(log(self._law.first_token_s), self._law.spread)


class _Bucket:
    """A token bucket, as providers keep one for each key."""

    __slots__ = ("at", "level")

    def __init__(self, level: float, at: float) -> None:
        self.level, self.at = level, at

    def take(self, limit: RateLimit, now: float) -> float:
        """Seconds to wait for the next place; 0 where one was free and is taken."""
        self.level = min(limit.burst, self.level + (now - self.at) * limit.per_s)
        self.at = now
        if self.level >= 1.0:
            self.level -= 1.0
            return 0.0
        return (1.0 - self.level) / limit.per_s


def _end(text: str, tokens: int) -> Delta:
    return Delta(text=text, finish=Finish.STOP, usage=Usage(input_tokens=100, output_tokens=tokens))


def _failure(trouble: Status) -> Failure:
    message, hint_s = f"status {trouble.status}", trouble.retry_after_s
    return Failure(kind=trouble.kind, message=message, status=trouble.status, retry_after_s=hint_s)
