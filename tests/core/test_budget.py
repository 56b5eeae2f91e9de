from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.budget import Purse
from unbroken.policy import Budget

NOW = 1_000.0


def withdrawn(purse: Purse, times: int, now: float = NOW) -> int:
    """How many of so many attempts can be afforded."""
    return sum(purse.withdraw(now) for _ in range(times))


def test_a_quiet_route_can_retry() -> None:
    """The reserve is there from the start."""
    assert withdrawn(Purse(Budget(reserve=20.0)), 100) == 20


def test_the_reserve_comes_back_with_time() -> None:
    """Twenty in ten seconds are two a second, and never more than twenty."""
    purse = Purse(Budget(reserve=20.0, window_s=10.0))
    assert withdrawn(purse, 100) == 20
    assert withdrawn(purse, 100, NOW + 1.0) == 2
    assert withdrawn(purse, 100, NOW + 500.0) == 20


@pytest.mark.parametrize("reserve", [0.0, 20.0])
def test_traffic_earns_its_share(reserve: float) -> None:
    """A fifth of the requests, with a reserve or without."""
    purse = Purse(Budget(ratio=0.2, reserve=reserve))
    withdrawn(purse, 100)
    for _ in range(25):
        purse.deposit(NOW)
    assert withdrawn(purse, 100) in {4, 5}  # a sum of fifths may lack a hair


@pytest.mark.parametrize(("reserve", "most"), [(0.0, 10.0), (20.0, 40.0)])
def test_savings_are_limited(reserve: float, most: float) -> None:
    """A day of good traffic does not pay for an hour of storm."""
    purse = Purse(Budget(ratio=0.2, reserve=reserve))
    for _ in range(10_000):
        purse.deposit(NOW)
    assert purse.most == most
    assert withdrawn(purse, 1_000) == most


def test_savings_above_the_reserve_do_not_shrink() -> None:
    """Time refills up to the reserve, and takes nothing away."""
    purse = Purse(Budget(ratio=1.0, reserve=2.0))
    for _ in range(5):
        purse.deposit(NOW)
    assert withdrawn(purse, 100, NOW + 60.0) == 7


def test_what_traffic_earns_comes_on_top_of_what_time_gives() -> None:
    """After a calm the reserve is whole again, and the next request adds to it."""
    purse = Purse(Budget(ratio=1.0, reserve=2.0))
    assert withdrawn(purse, 100) == 2
    purse.deposit(NOW + 60.0)
    assert withdrawn(purse, 100, NOW + 60.0) == 3


@given(
    st.lists(st.tuples(st.booleans(), st.floats(0.0, 3.0)), max_size=300),
    st.floats(0.0, 1.0),
    st.floats(0.0, 30.0),
)
def test_withdrawals_never_exceed_deposits_and_reserve(
    steps: list[tuple[bool, float]], ratio: float, reserve: float
) -> None:
    """Whatever the order of events: at most the share of the requests, and what time gave."""
    budget = Budget(ratio=ratio, reserve=reserve)
    purse, now, requests, paid = Purse(budget), NOW, 0, 0
    for is_request, pause_s in steps:
        now += pause_s
        if is_request:
            purse.deposit(now)
            requests += 1
        else:
            paid += purse.withdraw(now)
    assert paid <= reserve + ratio * requests + reserve / budget.window_s * (now - NOW) + 1e-6
