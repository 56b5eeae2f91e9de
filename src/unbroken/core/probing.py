"""When which provider is asked how it is, beside callers' requests.

    rounds = Rounds(posts, board=board, draw=draw)
    rounds.begin(now)                  the clock starts
    rounds.wanted(decided)             a caller wants these targets
    rounds.wake_at(now)                when to call `due` next; infinity while nothing is to be asked
    rounds.due(now)                    what is asked now
    rounds.over(errand, now, ...)      it was answered, or not

Rules.  One question at a time at a provider, and `APART_S` between two of a sort.  Free ones come at
their interval, longer or shorter by chance; sooner while one has just failed, and right before
an open breaker would let a caller's request through.  Words are asked for at that moment only.
Nothing is asked where no caller has wanted anything for `idle_s`.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.core.scopes import EARLY_S
from unbroken.facts import Decided
from unbroken.policy import Probing
from unbroken.records import Record
from unbroken.types import Target

__all__ = ["APART_S", "Errand", "Post", "Rounds"]

NEVER = float("inf")
APART_S = 5.0
"""Between two questions of a sort to one provider; a breaker's first rest is as long."""
USELESS_TIMES = 20.0
"""A question that tells nothing (there is no list of models) is asked again after so many intervals."""
_SENT = frozenset((State.HALF_OPEN, State.FORCED_OPEN, State.FORCED_CLOSED))
"""A probe is under way, or an operator has spoken: no word is asked for."""


class Post(Record):
    """A provider that is watched: whom a free question is asked of (one for each key), and whom a word."""

    provider: str
    probing: Probing
    free: tuple[Target, ...] = ()
    worded: tuple[Target, ...] = ()


class Errand(Record):
    """One question: to whom, and whether it costs nothing."""

    target: Target
    free: bool


class Rounds:
    """All providers that are watched."""

    def __init__(self, posts: Iterable[Post], *, board: Board, draw: Random) -> None:
        self._watches = {post.provider: _Watch(post, board, draw=draw) for post in posts}

    def begin(self, now: float) -> None:
        """From now on; whoever has just started is taken for wanted."""
        for watch in self._watches.values():
            watch.begin(now)

    def wanted(self, fact: Decided) -> None:
        """A caller's request would go to these targets, or would if they were well."""
        for target in (*fact.order, *(target for target, _ in fact.skipped)):
            if (watch := self._watches.get(target.provider)) is not None:
                watch.want(target.name, fact.at)

    def wake_at(self, now: float) -> float:
        """When something is due; in the past where it is overdue."""
        return min((watch.next(now)[0] for watch in self._watches.values()), default=NEVER)

    def due(self, now: float) -> list[Errand]:
        """What is to be asked now; each has to be reported `over`."""
        found = [(watch, *watch.next(now)) for watch in self._watches.values()]
        return [watch.send(errand, now) for watch, at, errand in found if at <= now and errand is not None]

    def over(self, errand: Errand, now: float, *, told: bool, well: bool) -> None:
        """A question is over: whether it told anything, and whether that was good."""
        self._watches[errand.target.provider].over(errand, now, told=told, well=well)


class _Watch:
    """One provider."""

    __slots__ = (
        "_board",
        "_busy",
        "_draw",
        "_every_s",
        "_free_at",
        "_post",
        "_sent_at",
        "_wanted_at",
        "_words_wanted_at",
    )

    def __init__(self, post: Post, board: Board, *, draw: Random) -> None:
        self._post, self._board, self._draw = post, board, draw
        self._every_s = post.probing.every_s or NEVER
        self._free_at: dict[str, float] = {}
        self._busy = False
        self._sent_at = {True: -NEVER, False: -NEVER}
        self._wanted_at = -NEVER
        self._words_wanted_at = dict.fromkeys((target.name for target in post.worded), -NEVER)

    def begin(self, now: float) -> None:
        """The first free question comes at any moment of the first interval."""
        self._wanted_at = now
        self._free_at = {target.name: now + self._every_s * self._draw.random() for target in self._post.free}

    def want(self, name: str, now: float) -> None:
        """A caller would like this target to answer."""
        self._wanted_at = now
        if name in self._words_wanted_at:
            self._words_wanted_at[name] = now

    def next(self, now: float) -> tuple[float, Errand | None]:
        """What comes next, and when; nothing while a question is under way, or once nobody wants anything."""
        if self._busy:
            return NEVER, None
        free = [(self._free_due(target), Errand(target, free=True)) for target in self._post.free]
        words = [(self._word_due(target, now), Errand(target, free=False)) for target in self._post.worded]
        at, errand = min([*free, *words], key=_time, default=(NEVER, None))
        return (at, errand) if max(at, now) <= self._wanted_at + self._post.probing.idle_s else (NEVER, None)

    def send(self, errand: Errand, now: float) -> Errand:
        """This one goes out."""
        self._busy, self._sent_at[errand.free] = True, now
        return errand

    def over(self, errand: Errand, now: float, *, told: bool, well: bool) -> None:
        """It was answered, or not; when the next is asked."""
        self._busy = False
        if not errand.free:
            return
        jitter = self._post.probing.jitter
        wait_s = self._every_s * self._draw.uniform(1.0 - jitter, 1.0 + jitter)
        if not told:
            wait_s *= USELESS_TIMES
        elif not well and self._is_suspected(errand.target):
            wait_s = min(wait_s, APART_S * self._draw.uniform(1.0, 1.0 + jitter))
        self._free_at[errand.target.name] = now + wait_s

    def _is_suspected(self, target: Target) -> bool:
        """Whether something is held against the address, though it still gets its traffic."""
        endpoint = self._board.standing(target).endpoint
        return endpoint.breaker.state is State.CLOSED and endpoint.window.in_a_row > 0

    def _free_due(self, target: Target) -> float:
        """At its time, or right before the address would get a request again."""
        at = self._free_at.get(target.name, NEVER)
        breaker = self._board.standing(target).endpoint.breaker
        early, sent_at = breaker.until - EARLY_S, self._sent_at[True]
        if breaker.state is State.OPEN and sent_at < early:
            at = min(at, early)
        return max(at, sent_at + APART_S)

    def _word_due(self, target: Target, now: float) -> float:
        """Right before this target would get a request again; never while it needs none, or nobody wants it."""
        scopes = self._board.standing(target).scopes
        states = {health.breaker.state for health in scopes}
        is_wanted = now <= self._words_wanted_at[target.name] + self._post.probing.idle_s
        if not is_wanted or State.OPEN not in states or states & _SENT:
            return NEVER
        back_at = max(max(health.breaker.until, health.cool_until) for health in scopes)
        return max(back_at - EARLY_S, self._sent_at[False] + APART_S)


def _time(planned: tuple[float, Errand | None]) -> float:
    return planned[0]
