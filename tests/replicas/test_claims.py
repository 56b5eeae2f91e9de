"""Every limit that an operator has set is shared: of providers' keys, of callers' keys, and budgets."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

from core.world import target_named
from unbroken.admission import Admission
from unbroken.bus import Bus
from unbroken.core.board import Board
from unbroken.core.limits import Cost, Limits
from unbroken.core.spend import DAY_S, Spending
from unbroken.policy import SpendLimit
from unbroken.replicas.claims import claims_of
from unbroken.replicas.leases import Claim
from unbroken.types import Allowance

A = replace(target_named("p/m#1"), limits=Allowance(requests_per_min=10, concurrent_max=4))
NOON = 20_000 * DAY_S + DAY_S / 2


def nobody_flies(*_: Any, **__: Any) -> Any:
    """Nothing begins here."""
    raise AssertionError


def admission() -> Admission:
    """With a limit of each sort."""
    spending = Spending([SpendLimit(name="b", usd_per_day=10.0, usd_per_month=100.0)], wall=lambda: NOON)
    made = Admission(
        nobody_flies, board=Board(Random(1)), clock=lambda: 0.0, bus=Bus(), limits=Limits([A]), spending=spending
    )  # fmt: skip
    made.allow({"hash": Allowance(tokens_per_min=1_000, requests_per_day=50), "idle": Allowance(requests_per_min=1)})
    assert made.askers is not None and made.askers.refusal("hash", Cost(), now=0.0) is None
    return made


def claims(made: Admission) -> dict[str, Claim]:
    return {claim.name: claim for claim in claims_of(made, 0.0)}


def test_all_of_them_are_claimed_but_for_keys_that_nobody_uses() -> None:
    """By names that are the same on every replica, days and months by their number."""
    assert {name: (claim.limit, claim.waits, claim.whole) for name, claim in claims(admission()).items()} == {
        "provider p/m#1 requests in 60 s": (10, True, True),
        "provider p/m#1 at once": (4.0, True, True),
        "key hash tokens in 60 s": (1_000, False, False),
        "key hash requests in 86400 s": (50, False, True),
        "budget b of day 20000": (10.0, False, False),
        "budget b of month 657": (100.0, False, False),
    }


def test_what_was_spent_is_told_and_our_part_is_all_there_is() -> None:
    """A claim speaks for its limit, in both directions."""
    made = admission()
    assert made.spending is not None and made.askers is not None
    made.askers.begin("f", "hash", cost=Cost(prompt_chars=400), now=0.0)
    made.spending.accounts[0].spent_usd = made.spending.accounts[0].month_usd = 4.0
    found = claims(made)
    assert found["key hash requests in 86400 s"].spent == 1.0
    assert found["budget b of day 20000"].spent == found["budget b of month 657"].spent == 4.0
    assert found["budget b of day 20000"].keep_s == pytest.approx(DAY_S / 2 + 3_600)
    for claim in found.values():
        claim.tell(claim.spent, 1.0)
    assert made.limits.obstacle(A, 0.0) is not None
    assert made.askers.refusal("hash", Cost(), now=0.0) is not None
    assert made.spending.accounts[0].left_usd == 0.0


def test_without_budgets_and_keys_there_are_only_providers() -> None:
    """And without any limits there is nothing to be shared."""
    bare = Admission(nobody_flies, board=Board(Random(1)), clock=lambda: 0.0, bus=Bus(), limits=Limits())
    assert claims(bare) == {}
