"""What a comparison may cost: money is set aside before a request, and what is left of it comes back after."""

from __future__ import annotations

import asyncio

__all__ = ["Purse"]


class Purse:
    """So many dollars, or any number; `spent_usd` is gone, `reserved_usd` may be."""

    def __init__(self, limit_usd: float | None = None) -> None:
        self.limit_usd = limit_usd
        self.spent_usd = self.reserved_usd = 0.0
        self._under_way = 0
        self._settled = asyncio.Event()

    def __str__(self) -> str:
        return "any price" if self.limit_usd is None else f"{self.limit_usd:g} USD"

    async def reserve(self, most_usd: float) -> bool:
        """Set so much aside, if need be when others have left something of theirs; False where there is not so much."""
        while not self._allows(most_usd):
            if not self._under_way:
                return False
            self._settled.clear()
            await self._settled.wait()
        self.reserved_usd += most_usd
        self._under_way += 1
        return True

    def settle(self, most_usd: float, spent_usd: float) -> None:
        """So much of what was set aside was spent."""
        self._under_way -= 1
        self.reserved_usd = self.reserved_usd - most_usd if self._under_way else 0.0
        self.spent_usd += spent_usd
        self._settled.set()

    def _allows(self, most_usd: float) -> bool:
        return self.limit_usd is None or self.spent_usd + self.reserved_usd + most_usd <= self.limit_usd
