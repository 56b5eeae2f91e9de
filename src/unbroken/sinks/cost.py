"""What tokens cost, for sinks that ask for every attempt."""

from __future__ import annotations

from unbroken.price import Price
from unbroken.types import Target, Usage

__all__ = ["cost_usd"]

PRICES_MAX = 4096
_priced: dict[str, tuple[Price, bool]] = {}
"""Whether a target's price is known, which takes longer to find out than to add up."""


def cost_usd(usage: Usage, target: Target) -> float | None:
    """In dollars; None where nobody knows."""
    price = target.price
    if usage.cost_usd is None:
        found = _priced.get(target.name)
        if found is None or found[0] is not price:
            if len(_priced) >= PRICES_MAX:
                _priced.clear()
            found = _priced[target.name] = price, price.known
        if not found[1]:
            return None
    return price.cost_usd(usage)
