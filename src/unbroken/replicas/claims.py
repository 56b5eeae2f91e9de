"""Every limit that replicas share, as this one has it: of providers' keys, of callers' keys, and budgets."""

from __future__ import annotations

from collections.abc import Iterator

from unbroken.admission import Admission
from unbroken.core.limits import Pool
from unbroken.core.spend import Account, Spending
from unbroken.replicas.leases import Claim

__all__ = ["claims_of", "claims_of_key"]

AT_ONCE_S = 5.0
"""Who is not heard of for so long has nothing under way any more, as far as others are concerned."""
REQUEST_TOKENS = 500.0
"""What one more request takes of a limit of tokens, roughly."""
SPENT_S = 3_600.0
"""What was spent is remembered a little longer than the day or the month that it counts in."""
FRESH_S = 1.0
"""How old what is known of others' spending may become."""


def claims_of(admission: Admission, now: float) -> Iterator[Claim]:
    """What is shared; limits that only a provider tells of are learned from its answers by each on its own."""
    for scope, pool in admission.limits.configured():
        yield from _of_pool(pool, f"provider {scope}", now=now, waits=True)
    if admission.askers is not None:
        for asker, pool in admission.askers.used(now):
            yield from claims_of_key(asker, pool, now=now)
    if admission.spending is not None:
        for account in admission.spending.accounts:
            yield from _of_account(account, admission.spending)


def claims_of_key(asker: str, pool: Pool, *, now: float) -> Iterator[Claim]:
    """What is shared of a caller's key, which is named by its hash."""
    return _of_pool(pool, f"key {asker}", now=now, waits=False)


def _of_pool(pool: Pool, scope: str, *, now: float, waits: bool) -> Iterator[Claim]:
    for name, meter in pool.configured:
        yield Claim(
            name=f"{scope} {name}", limit=meter.limit, spent=meter.spent(now), keep_s=meter.window_s,
            tell=lambda part, _, meter=meter: meter.lend(part), waits=waits,  # type: ignore[misc]
            least=1.0 if meter.unit == "requests" else REQUEST_TOKENS, whole=meter.unit == "requests",
        )  # fmt: skip
    if pool.concurrent_max is not None:
        yield Claim(
            name=f"{scope} at once", limit=float(pool.concurrent_max), spent=float(pool.in_flight), keep_s=AT_ONCE_S,
            tell=lambda part, _: pool.lend(part), waits=waits, least=1.0, whole=True, again_s=AT_ONCE_S / 2,
        )  # fmt: skip


def _of_account(account: Account, spending: Spending) -> Iterator[Claim]:
    name, limit, held = account.limit.name, account.limit, account.held_usd
    yield Claim(
        name=f"budget {name} of day {spending.day}", limit=limit.usd_per_day, spent=account.spent_usd + held,
        keep_s=spending.resets_s + SPENT_S, tell=account.share_day, waits=False, again_s=FRESH_S,
    )  # fmt: skip
    if limit.usd_per_month is not None:
        yield Claim(
            name=f"budget {name} of month {spending.month}", limit=limit.usd_per_month,
            spent=account.month_usd + held, keep_s=spending.month_resets_s + SPENT_S, tell=account.share_month,
            waits=False, again_s=FRESH_S,
        )  # fmt: skip
