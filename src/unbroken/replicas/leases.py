"""Who may spend how much of a limit: parts of it, taken ahead of need, so that nobody asks when it counts.

    claim                  a limit as this replica has it: what is spent of it here, and how to be told our part
    leases.holds(claims)   what is to be asked for: what is spent, and some more
    leases.granted(...)    what came of it: each claim is told what it may spend until the next time
    leases.alone(claims)   nobody answers: each goes on with its share, or with nothing

All that replicas hold of a limit is never more than the limit, and a replica always holds what
it has spent.  So together they never spend more, however windows slide: what one has spent can
be lent to nobody else before it has come back.

Claims that `wait` are of limits before which requests queue: our part of them is exactly what
was granted.  Others turn requests away, which must not happen while there is room: for these our
part is all that others do not hold, and what two replicas spend of that between two rounds may
be too much by as much as they did not foresee.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from unbroken.replicas.backplane import Grant, Hold

__all__ = ["Claim", "Leases"]

PARTS = 4
"""A fourth of a limit before which requests queue is shared out ahead of need."""
ROUNDS_AHEAD = 3.0
"""Or more where it is spent fast: three times what was spent between the last two rounds."""
KEPT = 0.5
"""Of what was spent between two rounds, is expected of the next ones when it is less."""
IDLE_S = 5.0
"""Who has spent nothing for so long holds nothing ahead of limits that are small."""
CAREFUL_S = 2.5
"""Whoever answers again may have forgotten everything: until all others had time to come back and say what they have
spent, nobody has more than the part that it had alone."""
LONG_S = 3600.0
"""Windows so long do not come back soon: what is left of them is divided, not the limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A limit here, and what of it is spent in its window; `least` is what one more takes of it.

    Where it is `whole`, half a part of it is of no use.  `tell` is told our part, and what others have spent.
    It is asked for again after `again_s`, where nothing changes.
    """

    name: str
    limit: float
    spent: float
    keep_s: float
    tell: Callable[[float, float], None]
    waits: bool = True
    whole: bool = False
    least: float = 0.0
    again_s: float = 30.0


@dataclass(slots=True)
class _State:
    """What is known of a limit since the last rounds; `alone` is our part of it while nobody answers, or may know."""

    spent: float = 0.0
    wanted: float = -1.0
    amount: float = 0.0
    others: float = 0.0
    gone: float = 0.0
    asked_at: float = 0.0
    moved_at: float = 0.0
    rate: float = 0.0
    alone: float | None = None


class Leases:
    """Our parts of all limits.  `share` of a limit is for each replica while nobody answers; 0 stops there."""

    def __init__(self, share: float | None) -> None:
        self._share = share
        self._states: dict[str, _State] = {}
        self._careful_until = self._asked_at = 0.0
        self.replicas, self.is_alone = 1, False

    @property
    def share(self) -> float:
        """What each may spend of a limit while nobody answers: what was said, or an equal part."""
        return 1.0 / self.replicas if self._share is None else self._share

    def holds(self, claims: Iterable[Claim], *, now: float, short: bool = False) -> list[tuple[Claim, Hold]]:
        """What is to be asked for in this round; `short` where somebody waits for room."""
        if self.is_alone:
            self.is_alone, self._careful_until = False, now + CAREFUL_S
        found = [(claim, self._hold(claim, now, short=short and claim.waits)) for claim in claims]
        asked = [(claim, hold) for claim, hold in found if self._is_news(claim, hold, now=now)]
        for claim, hold in asked:
            self._give_back(claim, hold)
        self._asked_at = now
        self._states = {claim.name: self._states[claim.name] for claim, _ in found}
        return asked

    def granted(self, asked: Sequence[tuple[Claim, Hold]], grants: Sequence[Grant], *, replicas: int) -> bool:
        """What was granted holds from now on; whether anybody may spend more than before."""
        self.replicas, more = max(1, replicas), False
        for (claim, hold), grant in zip(asked, grants, strict=True):
            state = self._states.get(hold.name)
            if state is None:
                continue
            more = more or grant.amount > state.amount
            state.asked_at, state.wanted = self._asked_at, hold.wanted
            state.amount, state.others, state.gone = grant.amount, grant.others, grant.spent
            part = grant.amount if claim.waits else max(grant.amount, claim.limit - grant.others)
            if self._asked_at >= self._careful_until:
                state.alone = None
            elif state.alone is not None:
                part = min(part, state.alone)
            claim.tell(part, grant.spent)
        return more

    def _give_back(self, claim: Claim, hold: Hold) -> None:
        """Who asks for less than it has goes by that at once: the rest may be another's before the answer is here."""
        state = self._states[hold.name]
        if claim.waits and hold.wanted < state.amount:
            state.amount = hold.wanted
            claim.tell(hold.wanted, state.gone)

    def goodbye(self, claims: Iterable[Claim]) -> list[Hold]:
        """What is held on: what was spent, and nothing ahead."""
        return [Hold(claim.name, claim.spent, claim.spent, claim.limit, claim.keep_s) for claim in claims]

    def alone(self, claims: Iterable[Claim]) -> None:
        """Nobody answers: our share of each limit, or of what was left of it where it does not come back soon."""
        self.is_alone = True
        for claim in claims:
            state = self._states.setdefault(claim.name, _State())
            state.wanted = -1.0
            if state.alone is None:  # else it comes and goes, and what is left was divided when it went first
                left = max(0.0, claim.limit - state.others - claim.spent)
                state.alone = claim.spent + self.share * left if claim.keep_s > LONG_S else self.share * claim.limit
            claim.tell(state.alone, state.gone)

    def _hold(self, claim: Claim, now: float, *, short: bool) -> Hold:
        state = self._states.setdefault(claim.name, _State(moved_at=now))
        moved = max(0.0, claim.spent - state.spent)
        state.rate = max(moved, KEPT * state.rate)
        if moved:
            state.moved_at = now
        state.spent = claim.spent
        ahead = ROUNDS_AHEAD * state.rate
        if claim.waits and (now - state.moved_at <= IDLE_S or claim.limit / (PARTS * self.replicas) >= claim.least):
            ahead = max(ahead, claim.limit / (PARTS * self.replicas), claim.least)
        if short:  # the whole of it would leave those with nothing who are short as well, one after the other
            ahead = max(ahead, claim.limit / self.replicas)
        ahead = float(ceil(ahead)) if claim.whole else ahead
        wanted = min(claim.limit, claim.spent + ahead)
        if now < self._careful_until:
            wanted = min(wanted, self.share * claim.limit if state.alone is None else state.alone)
        return Hold(claim.name, claim.spent, max(wanted, claim.spent), claim.limit, claim.keep_s)

    def _is_news(self, claim: Claim, hold: Hold, *, now: float) -> bool:
        state = self._states[hold.name]
        again_s = claim.again_s if claim.waits or now - state.moved_at > IDLE_S else 0.0
        return hold.wanted != state.wanted or state.amount < hold.wanted or now - state.asked_at >= again_s
