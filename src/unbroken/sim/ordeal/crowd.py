"""Ten, a hundred and a thousand replicas: how soon all know of an outage, and what the store has to do for it.

Boards, words, leases and the store's rules are the real ones; requests are as simple as can be, as only
what replicas tell each other is looked at.  The table is in docs/scale.md, and `make dst ARGS=--crowd` prints it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from math import inf
from random import Random

from unbroken.core.board import Board
from unbroken.core.meters import Meter
from unbroken.facts import AttemptAnswered, AttemptFailed, AttemptStarted, Fact
from unbroken.failures import Failure, FailureKind
from unbroken.replicas.commons import Commons
from unbroken.replicas.leases import Claim, Leases
from unbroken.replicas.words import Gathering, decode, encode
from unbroken.sim.ordeal.loop import Agenda
from unbroken.types import Target, Why

__all__ = ["Leased", "Spread", "leased", "spread", "table"]

FLUSH_S = 0.05
"""As the bus hands over facts."""
ROUND_S = 0.1
"""As a busy replica asks for parts of limits."""
WAY_S = (0.0005, 0.003)
FAILS_S, ANSWERS_S = 0.05, 0.5
DOWN_S, UP_S, OVER_S = 10.0, 40.0, 60.0
"""The outage begins, ends; and the run does."""
FAILURE = Failure(kind=FailureKind.SERVER, message="status 500", status=500)
MINUTE_S = 60.0
HEARERS_MAX = 100
"""So many hear what all say; the others are like one of them."""


@dataclass(slots=True)
class Spread:
    """What came of an outage; times in seconds since its beginning."""

    replicas: int
    requests: int = 0
    failed: int = 0
    failed_first: int = 0
    first_s: float = inf
    half_s: float = inf
    all_s: float = inf
    back_s: float = inf
    said: list[float] = field(default_factory=list)
    bytes: int = 0

    @property
    def said_per_s(self) -> float:
        """Messages at the store in its busiest second."""
        at = [int(time) for time in self.said]
        return float(max((at.count(second) for second in set(at)), default=0))

    @property
    def later_per_s(self) -> float:
        """Messages a second from when all know until the end of the outage."""
        since = DOWN_S + self.all_s
        return sum(since < at < UP_S for at in self.said) / (UP_S - since) if self.said else 0.0


class _Replica:
    """One of a crowd: its board, and what it has to tell.

    Beyond so many, one is `like` another: it tells what it sees, and goes by what the other one has heard.
    """

    def __init__(self, crowd: _Crowd, number: int, *, like: _Replica | None) -> None:
        self._crowd, self.name, self.like = crowd, f"r{number}", like
        self._draw = Random(f"crowd {number}")
        self.board = Board(self._draw)
        self._gathering = Gathering(self.board)
        self._is_due = False
        crowd.agenda.after(self._draw.expovariate(crowd.per_s), self._ask)

    def _ask(self) -> None:
        crowd, now = self._crowd, self._crowd.agenda.now
        crowd.agenda.after(self._draw.expovariate(crowd.per_s), self._ask)
        crowd.result.requests += 1
        boards = (self.board,) if self.like is None else (self.board, self.like.board)
        in_the_way = any(board.obstacle(crowd.first, now) for board in boards)
        self._try(crowd.second if in_the_way else crowd.first)

    def _try(self, target: Target) -> None:
        crowd, now = self._crowd, self._crowd.agenda.now
        flight = str(next(crowd.numbers))
        self._note(AttemptStarted(now, flight, 1, target, Why.FIRST))
        fails = target is crowd.first and DOWN_S <= now < UP_S
        crowd.agenda.after(FAILS_S if fails else ANSWERS_S, lambda: self._over(flight, target, began=now, fails=fails))

    def _over(self, flight: str, target: Target, *, began: float, fails: bool) -> None:
        crowd, now = self._crowd, self._crowd.agenda.now
        if fails:
            crowd.count_failed(began)
            self._note(AttemptFailed(now, flight, 1, target, FAILURE, now - began))
            self._try(crowd.second)
        else:
            self._note(AttemptAnswered(now, flight, 1, target, now - began, now - began, stream=False))

    def _note(self, fact: Fact) -> None:
        self.board.fold(fact)
        self._gathering.add(fact)
        if not self._is_due:
            self._is_due = True
            self._crowd.agenda.after(FLUSH_S, self._flush)
        if self.like is None:
            self._crowd.look(self)

    def _flush(self) -> None:
        self._is_due = False
        if tellings := self._gathering.take():
            self._crowd.say(self, encode(self.name, tellings, now=self._crowd.agenda.now))

    def hear(self, facts: list[Fact]) -> None:
        """Others say so."""
        for fact in facts:
            self.board.fold(fact)
        self._crowd.look(self)


class _Crowd:
    """All of them, and the store between them."""

    def __init__(self, replicas: int, *, per_s: float) -> None:
        self.agenda, self.per_s, self.numbers = Agenda(), per_s, count()
        self.first, self.second = (Target(name=name, provider=name, model="m") for name in ("ill", "well"))
        self.result = Spread(replicas)
        self._draw = Random("the store")
        self._know: set[str] = set()
        self._back: set[str] = set()
        self.hearers: list[_Replica] = []
        for number in range(replicas):
            like = self.hearers[number % HEARERS_MAX] if number >= HEARERS_MAX else None
            replica = _Replica(self, number, like=like)
            if like is None:
                self.hearers.append(replica)

    def say(self, replica: _Replica, words: bytes) -> None:
        """To everybody else."""
        self.result.said.append(self.agenda.now)
        self.result.bytes += len(words)
        at = self.agenda.now + self._draw.uniform(*WAY_S)
        facts = decode(words, at)[1]
        for other in self.hearers:
            if other is not replica:
                hear = _hearing(other, facts)
                self.agenda.at(at + self._draw.uniform(*WAY_S), hear)

    def count_failed(self, began: float) -> None:
        """An attempt at the one that is ill."""
        self.result.failed += 1
        self.result.failed_first += began < DOWN_S + 1.0

    def look(self, replica: _Replica) -> None:
        """Who knows by now?"""
        since, result, most = self.agenda.now - DOWN_S, self.result, len(self.hearers)
        if since < 0.0:
            return
        if replica.name not in self._know and replica.board.is_open(self.first):
            self._know.add(replica.name)
            result.first_s = min(result.first_s, since)
            result.half_s = min(result.half_s, since if 2 * len(self._know) >= most else inf)
            result.all_s = min(result.all_s, since if len(self._know) == most else inf)
        if self.agenda.now >= UP_S and replica.name not in self._back and not replica.board.is_open(self.first):
            self._back.add(replica.name)
            result.back_s = min(result.back_s, self.agenda.now - UP_S if len(self._back) == most else inf)


def _hearing(replica: _Replica, facts: list[Fact]) -> Callable[[], None]:
    return lambda: replica.hear(facts)


def spread(replicas: int, *, per_s: float = 5.0) -> Spread:
    """An outage of the target that all use, who have so many requests a second each."""
    crowd = _Crowd(replicas, per_s=per_s)
    crowd.agenda.run(OVER_S)
    return crowd.result


# ----------------------------------------------------------------------------- parts of limits


@dataclass(frozen=True, slots=True)
class Leased:
    """What came of a limit that all use, while twice as much was wanted: what share of it was used in a minute.

    And what the store has to do: rounds a second, and entries that it reads a second.
    """

    replicas: int
    asked_per_s: float
    read_per_s: float
    used: float


def leased(replicas: int, *, each: int = 30, seconds: float = 20.0) -> Leased:
    """A limit of so many requests a minute for each of them, wanted twice over by each."""
    commons, draw, asked, read, used = Commons(), Random("leases"), 0, 0, 0
    limit = float(each * replicas)
    crew = [(f"r{n}", Meter("requests", limit, window_s=MINUTE_S), Leases(None)) for n in range(replicas)]
    for _, meter, _ in crew:
        meter.lend(0.0)
    for step in range(int(seconds / ROUND_S)):
        now = 1.0 + step * ROUND_S
        for name, meter, leases in crew:
            wants = draw.random() < 2.0 * each * ROUND_S / seconds
            if wants and meter.has_room(1.0, now):
                meter.spend(1.0, now)
                used += 1
            claim = Claim(name="limit", limit=limit, spent=meter.spent(now), keep_s=MINUTE_S,
                          tell=lambda part, _, meter=meter: meter.lend(part), whole=True, least=1.0)  # type: ignore[misc]  # fmt: skip
            news = leases.holds([claim], now=now, short=wants and not meter.has_room(1.0, now))
            grants, number = commons.hold(name, [hold for _, hold in news], now=now)
            leases.granted(news, grants, replicas=number)
            asked, read = asked + 1, read + replicas * len(news)
    return Leased(replicas, asked / seconds, read / seconds, used / limit)


# ----------------------------------------------------------------------------- the table


def table() -> str:
    """Both, in Markdown."""
    heads = (
        "replicas", "first knows", "half", "all", "all back", "failing, first second", "later, each s",
        "messages, busiest second", "later, each s", "bytes each",
    )  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for replicas in (1, 10, 100, 1_000):
        one = spread(replicas)
        later = (one.failed - one.failed_first) / (UP_S - DOWN_S - 1.0)
        size = one.bytes / len(one.said) if one.said else 0.0
        lines.append(
            f"| {replicas:,} | {one.first_s:.2f} s | {one.half_s:.2f} s | {one.all_s:.2f} s | {one.back_s:.1f} s | "
            f"{one.failed_first:,} of {replicas * 5:,} | {later:.2f} | {one.said_per_s:,.0f} | {one.later_per_s:.2f} | "
            f"{size:.0f} |"
        )
    lines += [
        "",
        "| replicas | rounds a second | entries read a second, each limit | of the limit used |",
        "|---" * 4 + "|",
    ]
    for replicas in (1, 10, 100, 1_000):
        two = leased(replicas)
        lines.append(f"| {replicas:,} | {two.asked_per_s:,.0f} | {two.read_per_s:,.0f} | {two.used:.0%} |")
    return "\n".join(lines)
