"""One limit of one key: how much of it is spent, and when there will be room for more.

Two accounts are kept, and the smaller room counts.

Our own: what was spent within the last window, for a window that slides.  Whoever never
spends more than the limit in any such window is within it however the provider counts: by
windows of its own, or by a bucket that refills.

The provider's: what it said was left, less what went out after the request that it answered,
plus what has come back since.  It knows of others who use the same quota, and how many tokens
a request really took; but it speaks of the past, and not to everyone in order.  It is
forgotten when everything it spoke of has come back.
"""

from __future__ import annotations

from collections import deque
from itertools import count
from math import inf

from unbroken.facts import Reading

__all__ = ["Entry", "Meter"]

SLOTS = 120
"""What is spent within this part of a window is one entry."""
LENT_S = 0.05
"""How soon more of a limit that is shared may be lent, where it is only our part of it that is used up."""
LOOSE_S = 3600.0
"""Windows longer than this, where we had to guess, are left to the provider's account."""
MARGIN = 0.005
"""Of a limit is taken to come back a little later than it does: requests do not travel equally fast."""
SLACK = 1e-9
"""Sums of floats are not exact."""


class Entry:
    """What was spent at about one time; `amount` may still be corrected."""

    __slots__ = ("amount", "began", "free_at", "gone")

    def __init__(self, began: float) -> None:
        self.began, self.free_at, self.amount, self.gone = began, 0.0, 0.0, False


class Meter:
    """A limit of so many of a unit in a window.

    `limit` follows what the provider says.  `reserves` where the provider counts what a caller allows for,
    before it is used.
    """

    __slots__ = (
        "_after", "_cap", "_counts", "_entries", "_part", "_sent", "_seq", "_spent", "_steady",
        "_told_at", "_told_seq", "_until", "limit", "reserves", "unit", "window_s",
    )  # fmt: skip

    def __init__(self, unit: str, limit: float, *, window_s: float) -> None:
        self.unit, self.limit, self.window_s = unit, limit, window_s
        self.reserves = False
        self._counts = window_s > 0.0
        self._part = inf
        self._entries: deque[Entry] = deque()
        self._spent = self._sent = 0.0
        self._seq = count(1)
        self._cap = inf
        self._after = self._told_at = 0.0
        self._told_seq = 0
        self._until = -inf
        self._steady = False

    # -- questions

    def room(self, now: float) -> float:
        """How much may go out now; below 0 where more was spent than there was."""
        return min(self._own_room(now), self._told_room(now))

    def has_room(self, amount: float, now: float) -> bool:
        """Whether so much may go out now; more than the whole limit may when nothing else is spent."""
        return self.room(now) + SLACK * self.limit >= min(amount, self.limit)

    def free_at(self, amount: float, now: float) -> float:
        """When there will be room for so much, if nobody else spends: now at the earliest."""
        windows, rest = divmod(amount, self.limit)
        if windows and not rest:
            windows, rest = windows - 1.0, self.limit
        at = max(now, self._own_free_at(rest, now), self._told_free_at(rest, now))
        return at + windows * self.window_s

    @property
    def is_shared(self) -> bool:
        """Whether others spend of this limit too."""
        return self._part < inf

    # -- what happens

    def lend(self, part: float) -> None:
        """Others share this limit: only so much of it is for us to spend, until more is lent."""
        self._part = part

    def spent(self, now: float) -> float:
        """What we have spent within the last window."""
        self._own_room(now)
        return self._spent

    def spend(self, amount: float, now: float) -> tuple[Entry, int, float]:
        """So much goes out: the entry it went into, its number, and what had gone out with it."""
        entry = self._entry(now)
        entry.amount += amount
        entry.free_at = now + self._kept_s
        self._spent += amount
        self._sent += amount
        self._after += amount
        return entry, next(self._seq), self._sent

    def correct(self, entry: Entry, seq: int, *, by: float, now: float) -> None:
        """It was more (`by` is added to now) or less (taken from its time) than was thought."""
        if seq > self._told_seq:
            self._after += by
        if by > 0.0:
            entry = self._entry(now)
            entry.free_at = now + self._kept_s
        if not entry.gone:
            entry.amount += by
            self._spent += by

    def told(self, reading: Reading, *, at: float, seq: int, sent: float) -> None:
        """The provider's word with the answer to the request of this number, which went out at this time.

        `sent` is what had gone out with it.  Where that is not known `seq` is 0, and the word
        counts only until better ones come, and only downwards.
        """
        if seq < self._told_seq:
            return
        self.reserves = reading.reserves
        self.limit = reading.limit
        if reading.window_s:
            self.window_s, self._counts = reading.window_s, reading.window_s <= LOOSE_S
        if reading.remaining is None:
            return
        if not seq and reading.remaining >= self._told_room(at):
            return
        self._told_seq, self._told_at, self._steady = seq, at, reading.steady
        self._cap, self._after = reading.remaining, self._sent - sent if seq else 0.0
        lasts_s = self.window_s if reading.steady or reading.reset_s is None else reading.reset_s
        self._until = at + (min(lasts_s, self.window_s) or lasts_s)

    # -- our own account

    @property
    def _kept_s(self) -> float:
        """How long what is spent counts: a window, and a little for the way there."""
        return self.window_s * (1.0 + 1.0 / SLOTS)

    def _entry(self, now: float) -> Entry:
        last = self._entries[-1] if self._entries else None
        if last is None or now - last.began >= self.window_s / SLOTS:
            last = Entry(now)
            self._entries.append(last)
        return last

    def _own_room(self, now: float) -> float:
        entries = self._entries
        while entries and entries[0].free_at <= now:
            entry = entries.popleft()
            entry.gone = True
            self._spent -= entry.amount
        if not entries:
            self._spent = 0.0
        if not self._counts:
            return inf
        return (min(self._part, self.limit)) - self._spent

    def _own_free_at(self, amount: float, now: float) -> float:
        missing, at = amount - self._own_room(now) - SLACK * self.limit, now
        if missing > 0.0 and self._spent + amount <= self.limit:
            return now + LENT_S
        for entry in self._entries:
            if missing <= 0.0:
                break
            missing, at = missing - entry.amount, entry.free_at
        return at

    # -- the provider's account

    def _told_room(self, now: float) -> float:
        if now >= self._until:
            return inf
        back = max(0.0, (now - self._told_at) / self.window_s - MARGIN) if self._steady else 0.0
        return min(self.limit, self._cap + back * self.limit) - self._after

    def _told_free_at(self, amount: float, now: float) -> float:
        if amount - self._told_room(now) <= SLACK * self.limit:
            return now
        if not self._steady:
            return self._until
        missing = (amount + self._after - self._cap) / self.limit + MARGIN
        return min(self._until, self._told_at + missing * self.window_s)
