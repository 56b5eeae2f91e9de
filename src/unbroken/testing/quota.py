"""How much a fake provider takes: limits that it enforces by itself and tells in its headers.

    Quota(requests=50, window_s=1.0)                     a bucket, told as OpenAI does
    Quota(tokens=10_000, kind="window", style="mistral")  a window that starts anew, in Mistral's words
    Quota(concurrent=8, style="")                        so many at once, and not a word of it

Every key has its own, unless keys are `shared`: those of one account.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from unbroken.testing.troubles import Status
from unbroken.types import Request

__all__ = ["Quota", "tokens_of"]

USUAL_TOKENS = 64
"""What is set aside for an answer whose caller allows for any length."""


def tokens_of(request: Request) -> float:
    """What a request is counted for: its prompt, and what its caller allows for."""
    return request.prompt_chars // 4 + (request.max_tokens or USUAL_TOKENS)


@dataclass(slots=True)
class _Count:
    """What a key has left of one limit."""

    limit: float
    window_s: float
    kind: str
    left: float
    since: float

    def turn(self, now: float) -> None:
        """What comes back with time."""
        if self.kind == "bucket":
            self.left = min(self.limit, self.left + (now - self.since) * self.limit / self.window_s)
            self.since = now
        elif now - self.since >= self.window_s:
            self.left = self.limit
            self.since += (now - self.since) // self.window_s * self.window_s

    def reset_s(self, now: float) -> float:
        """Until all of it is back."""
        if self.kind == "bucket":
            return (self.limit - self.left) * self.window_s / self.limit
        return self.since + self.window_s - now

    def wait_s(self, amount: float, now: float) -> float:
        """Until there is so much."""
        if self.kind == "bucket":
            return max(0.0, amount - self.left) * self.window_s / self.limit
        return self.since + self.window_s - now if amount > self.left else 0.0


@dataclass(slots=True)
class Quota:
    """So many requests and tokens in a window, and so many requests at once; None for any number.

    `kind` is bucket (it refills all the time) or window (it starts anew); `style` is whose
    headers tell of it: openai, anthropic, azure, mistral, or nobody's.  `granted` and
    `refused` count requests.
    """

    requests: float | None = None
    tokens: float | None = None
    concurrent: int | None = None
    window_s: float = 60.0
    kind: str = "bucket"
    style: str = "openai"
    shared: bool = False
    granted: int = 0
    refused: int = 0
    granted_at: list[float] = field(default_factory=list)
    _counts: dict[str, dict[str, _Count]] = field(default_factory=dict)
    _busy: dict[str, int] = field(default_factory=dict)

    def enter(self, key: str, now: float, *, tokens: float) -> Status | None:
        """A request comes; the 429 where it is too much, which counts for nothing."""
        counts, busy = self._of(key, now), self._busy.get(self._owner(key), 0)
        amounts = {"requests": 1.0, "tokens": tokens}
        wait_s = max((count.wait_s(amounts[unit], now) for unit, count in counts.items()), default=0.0)
        crowded = self.concurrent is not None and busy >= self.concurrent
        if wait_s > 0.0 or crowded:
            self.refused += 1
            return Status(429, retry_after_s=max(0.001, round(wait_s, 3)) if wait_s else None)
        for unit, count in counts.items():
            count.left -= amounts[unit]
        self._busy[self._owner(key)] = busy + 1
        self.granted += 1
        self.granted_at.append(now)
        return None

    def leave(self, key: str) -> None:
        """A request that came in is over."""
        self._busy[self._owner(key)] -= 1

    def told(self, key: str, now: float) -> Mapping[str, str]:
        """The headers that tell of it."""
        headers = {}
        for unit, count in self._of(key, now).items():
            for part, value in self._words(count, now).items():
                headers[_NAMES[self.style](part, unit)] = value
        return headers

    def _words(self, count: _Count, now: float) -> dict[str, str]:
        if not self.style:
            return {}
        told = {"limit": f"{count.limit:.0f}", "remaining": f"{math.floor(max(0.0, count.left)):.0f}"}
        if self.style == "openai":
            told["reset"] = f"{math.ceil(count.reset_s(now) * 1000.0)}ms"
        elif self.style == "azure":
            told |= {"reset": f"{count.reset_s(now):.0f}", "renewalperiod": f"{count.window_s:g}"}
        return told

    def _owner(self, key: str) -> str:
        return "" if self.shared else key

    def _of(self, key: str, now: float) -> dict[str, _Count]:
        limits = {"requests": self.requests, "tokens": self.tokens}
        counts = self._counts.setdefault(
            self._owner(key),
            {
                unit: _Count(limit, self.window_s, self.kind, limit, now)
                for unit, limit in limits.items()
                if limit is not None
            },
        )
        for count in counts.values():
            count.turn(now)
        return counts


_NAMES: Mapping[str, Callable[[str, str], str]] = {
    "": lambda part, unit: f"x-{part}-{unit}",
    "openai": lambda part, unit: f"x-ratelimit-{part}-{unit}",
    "azure": lambda part, unit: f"x-ratelimit-{part}-{unit}",
    "anthropic": lambda part, unit: f"anthropic-ratelimit-{unit}-{part}",
    "mistral": lambda part, unit: f"x-ratelimit-{part}-{ {'requests': 'req', 'tokens': 'tokens'}[unit] }-second",
}
"""How a header is called, by whose it is; the fake Mistral counts by seconds."""
