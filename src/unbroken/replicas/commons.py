"""What replicas have in common, in the memory of one process: the rules that Redis' scripts keep too.

Time is an argument; who asks is a name.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from unbroken.replicas.backplane import Found, Grant, Hold, Switch

__all__ = ["ALIVE_S", "SAID_S", "Commons"]

ALIVE_S = 5.0
"""Who was not heard of for so long is dead."""
SOON_S = 3_600.0
"""Of limits that come back sooner than this, the dead keep what they held until then: they may have spent it.  Of
others they keep what they said that they had spent, as the rest would be lost for a day."""
SAID_S = 30.0
"""What was said is told for so long to whoever joins."""
SAID_MAX = 2_000
SWITCHES_MAX = 10_000
VALUE_SHARE = 0.25
"""Of the room for values, for one of them."""


@dataclass(slots=True)
class _Held:
    spent: float
    amount: float
    until: float
    dead: float


class Commons:
    """What was said lately, who holds what, how everything is set, and values for a while."""

    def __init__(self, *, value_bytes_max: int = 64 * 1024 * 1024) -> None:
        self._said: deque[tuple[float, bytes]] = deque(maxlen=SAID_MAX)
        self._holds: dict[str, dict[str, _Held]] = {}
        self._alive: dict[str, float] = {}
        self._values: dict[str, tuple[bytes, float, float]] = {}
        self._value_bytes, self._value_bytes_max = 0, value_bytes_max
        self.switches: dict[str, Switch] = {}

    # -- who is there

    def alive(self, name: str, now: float) -> int:
        """This one is there; how many are."""
        self._alive[name] = now
        self._alive = {other: at for other, at in self._alive.items() if now - at <= ALIVE_S}
        return len(self._alive)

    def left(self, name: str) -> None:
        """This one has gone; what it has spent counts on."""
        self._alive.pop(name, None)

    # -- what is said, and set

    def say(self, words: bytes, now: float) -> None:
        """Remember it for those who join."""
        self._said.append((now, words))

    def said(self, now: float) -> Iterator[tuple[float, bytes]]:
        """What was said lately, and when."""
        return ((at, words) for at, words in self._said if now - at <= SAID_S)

    def keep(self, name: str, switch: Switch) -> bool:
        """Set it, unless it was set later than that; whether it was."""
        known = self.switches.get(name)
        if known.at >= switch.at if known is not None else len(self.switches) >= SWITCHES_MAX:
            return False
        self.switches[name] = switch
        return True

    # -- limits

    def hold(self, name: str, holds: Sequence[Hold], *, now: float) -> tuple[list[Grant], int]:
        """What this one holds from now on, and how many there are."""
        replicas = self.alive(name, now)
        return [self._grant(name, hold, now=now) for hold in holds], replicas

    def _grant(self, name: str, hold: Hold, *, now: float) -> Grant:
        held = self._holds.setdefault(hold.name, {})
        for other in [other for other, one in held.items() if one.until <= now]:
            del held[other]
        theirs = [(other, one) for other, one in held.items() if other != name]
        others = sum(one.amount if other in self._alive else one.dead for other, one in theirs)
        amount = max(hold.spent, min(hold.wanted, hold.limit - others))
        dead = amount if hold.keep_s <= SOON_S else hold.spent
        held[name] = _Held(hold.spent, amount, now + hold.keep_s, dead)
        return Grant(amount, others, sum(one.spent for _, one in theirs))

    # -- values

    def get(self, key: str, now: float) -> Found:
        """A value and its age."""
        found = self._values.get(key)
        if found is None or now >= found[2]:
            self._drop(key)
            return None
        return found[0], now - found[1]

    def put(self, key: str, value: bytes, *, keep_s: float, now: float) -> None:
        """Keep a value for so long; the oldest go where there is no room."""
        self._drop(key)
        if len(value) > VALUE_SHARE * self._value_bytes_max:
            return
        self._values[key] = value, now, now + keep_s
        self._value_bytes += len(value)
        while self._value_bytes > self._value_bytes_max:
            self._drop(next(iter(self._values)))

    def _drop(self, key: str) -> None:
        found = self._values.pop(key, None)
        if found is not None:
            self._value_bytes -= len(found[0])
