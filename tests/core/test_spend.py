"""What was spent today: every attempt costs, in advance by estimate and then in truth, until midnight UTC."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.core.limits import Cost
from unbroken.core.spend import Spending, estimate_usd
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, FlightEnded, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.policy import SpendLimit
from unbroken.price import Price
from unbroken.testing import ManualClock
from unbroken.types import Target, Usage, Why

DAY_S = 86_400.0
NOON = 20_000 * DAY_S + DAY_S / 2
TARGET = Target(name="a/m", provider="a", model="m", price=Price(input_usd=1.0, output_usd=10.0))
"""A million tokens in for a dollar, out for ten."""
COST = Cost(4_000_000, 100_000)
"""A million tokens in, up to 100,000 out."""


def limit(name: str = "all", usd: float = 10.0, **more: Any) -> SpendLimit:
    return SpendLimit(name=name, usd_per_day=usd, **more)


class World:
    """Accounts, a wall clock, and a teller of facts."""

    def __init__(self, *limits: SpendLimit) -> None:
        self.wall = ManualClock(NOON)
        self.spending = Spending(limits, wall=self.wall)

    def start(self, number: int = 1, *, flight: str = "f", route: str = "chat", asker: str = "k", cost: Cost = COST,
              one: Target = TARGET) -> None:  # fmt: skip
        self.spending.begin(flight, route=route, asker=asker, cost=cost)
        self.spending.fold([AttemptStarted(0.0, flight, number, one, Why.FIRST)])

    def answer(self, usage: Usage | None, number: int = 1) -> None:
        self.spending.fold([AttemptAnswered(0.0, "f", number, TARGET, 1.0, 1.0, stream=False, usage=usage)])

    def fail(self, number: int = 1, *, usage: Usage | None = None, **more: Any) -> None:
        failure = Failure(kind=FailureKind.SERVER, message="no", **more)
        self.spending.fold([AttemptFailed(0.0, "f", number, TARGET, failure, 1.0, shown=False, usage=usage)])

    @property
    def gone(self) -> list[tuple[float, float]]:
        return [(round(a.spent_usd, 6), round(a.held_usd, 6)) for a in self.spending.accounts]


def test_an_attempt_is_paid_in_advance_and_then_in_truth() -> None:
    """What it is likely to cost is held while it is under way; its usage is what is charged."""
    world = World(limit())
    world.start()
    assert world.gone == [(0.0, 1.004)]
    world.answer(Usage(input_tokens=500_000, output_tokens=100_000))
    assert world.gone == [(1.5, 0.0)]
    world.answer(Usage(input_tokens=500_000, output_tokens=100_000))
    assert world.gone == [(1.5, 0.0)]


def test_what_is_likely_is_the_prompt_and_a_usual_answer() -> None:
    """No longer than its caller allows for; nothing where no words are written or no price is known."""
    assert estimate_usd(TARGET, Cost(4_000_000, 0)) == pytest.approx(1.004)
    assert estimate_usd(TARGET, Cost(4_000_000, 100)) == pytest.approx(1.001)
    assert estimate_usd(TARGET, Cost(4_000_000, 0, writes=False)) == pytest.approx(1.0)
    assert estimate_usd(Target(name="b/m", provider="b", model="m"), COST) == 0.0


def test_an_answer_without_usage_costs_what_was_likely() -> None:
    """A provider that does not count is not for nothing."""
    world = World(limit())
    world.start()
    world.answer(None)
    assert world.gone == [(1.004, 0.0)]


@pytest.mark.parametrize(
    ("more", "usd"),
    [
        ({"sent": False}, 0.0),
        ({"status": 500}, 0.0),
        ({}, 1.0),
        ({"usage": Usage(input_tokens=1_000_000, output_tokens=200_000)}, 3.0),
        ({"usage": Usage(output_tokens=1_000_000), "status": 200}, 10.0),
    ],
    ids=["never there", "refused", "cut without a count", "cut with a count", "failed with a count"],
)
def test_failed_attempts_cost_what_the_provider_will_charge(more: dict[str, Any], usd: float) -> None:
    """Nothing where it refused or never saw it; the prompt, or what was counted, where it had begun."""
    world = World(limit())
    world.start()
    world.fail(**more)
    assert world.gone == [(usd, 0.0)]


def test_whoever_is_hung_up_on_has_read_the_prompt() -> None:
    """A hedge that lost is not for nothing."""
    world = World(limit())
    world.start()
    world.spending.fold([AttemptAbandoned(0.0, "f", 1, TARGET, 1.0)])
    assert world.gone == [(1.0, 0.0)]


def test_every_attempt_of_a_flight_is_charged_until_it_ends() -> None:
    """Failover costs twice, and what comes under the same name later is another flight."""
    world = World(limit())
    world.start(1)
    world.fail(1, usage=Usage(input_tokens=1_000_000))
    world.start(2)
    world.answer(Usage(input_tokens=1_000_000), 2)
    assert world.gone == [(2.0, 0.0)]
    ended = FlightEnded(0.0, "f", "chat", TARGET, 2, 1.0, failover=True, rescued=False)
    world.spending.fold([ended, TargetForced(0.0, "a", open=None), AttemptStarted(0.0, "f", 3, TARGET, Why.FIRST)])
    assert world.gone == [(2.0, 0.0)]


def test_a_budget_is_for_a_route_or_a_key_or_both_or_all() -> None:
    """Each account is charged for those that it covers and nobody else."""
    world = World(
        limit("all"), limit("route", route="chat"), limit("key", asker="k"), limit("both", route="chat", asker="k"),
        limit("other route", route="mail"), limit("other key", route="chat", asker="j"),
    )  # fmt: skip
    world.start()
    world.answer(Usage(input_tokens=1_000_000))
    assert world.gone == [(1.0, 0.0)] * 4 + [(0.0, 0.0)] * 2
    only = World(limit(route="mail"))
    only.start()
    assert only.gone == [(0.0, 0.0)]


def test_who_cannot_pay_is_found_and_those_that_stop_come_first() -> None:
    """A budget is exceeded by what would exceed it, and by any more when it is gone."""
    world = World(limit("a", 1.0, then="downgrade"), limit("b", 2.0), limit("c", 1.5))
    names = [[a.limit.name for a in world.spending.over("chat", "k", usd=usd)] for usd in (1.0, 1.5, 1.6, 2.1)]
    assert names == [[], ["a"], ["c", "a"], ["b", "c", "a"]]
    world.start(cost=Cost(6_000_000, 0, writes=False))
    assert [a.limit.name for a in world.spending.over("chat", "k", usd=0.0)] == ["c", "a"]
    assert [a.limit.name for a in world.spending.over("chat", "k", usd=0.5)] == ["c", "a"]
    assert [a.limit.name for a in world.spending.over("chat", "k", usd=0.51)] == ["b", "c", "a"]


def test_at_midnight_everybody_begins_anew() -> None:
    """Days are UTC's: what was spent is forgotten then, and what is under way is the new day's."""
    world = World(limit())
    world.start(1)
    world.answer(Usage(input_tokens=5_000_000), 1)
    world.start(2)
    assert world.spending.resets_s == DAY_S / 2
    world.wall.advance(DAY_S / 2 - 1.0)
    assert world.spending.over("chat", "k", usd=6.0) != []
    world.wall.advance(1.0)
    assert world.spending.resets_s == DAY_S
    assert world.spending.over("chat", "k", usd=6.0) == []
    assert world.gone == [(0.0, 1.004)]
    world.answer(Usage(input_tokens=2_000_000), 2)
    assert world.gone == [(2.0, 0.0)]


@pytest.mark.parametrize(("days_back", "spent_usd"), [(1, 3.0), (2, 0.0)])
def test_a_clock_that_is_set_back_over_midnight_gives_nobody_a_second_day(days_back: int, spent_usd: float) -> None:
    """What was spent in a day, or in a month, stays spent; further back, the clock was wrong and all begins anew."""
    wall, first_of_november = [NOON], NOON + 28 * DAY_S
    spending = Spending([limit(usd_per_month=20.0)], wall=lambda: wall[0])
    (account,) = spending.accounts
    wall[0] = first_of_november
    spent = {"all": 3.0}
    spending.restore({"day": spending.day, "spent_usd": spent, "month": spending.month, "month_usd": spent})
    wall[0] -= days_back * DAY_S
    spending.over("chat", "k", usd=1.0)
    assert account.spent_usd == account.month_usd == spent_usd


def test_a_day_turns_whoever_looks_first() -> None:
    """A snapshot or an answer after midnight begins a new day as a question does."""
    looked, charged = World(limit()), World(limit())
    for world in (looked, charged):
        world.start(1)
        world.answer(Usage(input_tokens=5_000_000), 1)
        world.start(2)
        world.wall.advance(DAY_S)
    assert looked.spending.snapshot()["spent_usd"] == {"all": 0.0}
    charged.answer(Usage(input_tokens=1_000_000), 2)
    assert charged.gone == [(1.0, 0.0)]


def test_accounts_can_be_kept_elsewhere() -> None:
    """A snapshot of today is taken up again; one of yesterday is not, nor what it does not know."""
    world, other = World(limit("a"), limit("b", route="mail")), World(limit("a"), limit("c"))
    world.start()
    world.answer(Usage(input_tokens=3_000_000))
    snapshot = world.spending.snapshot()
    assert (snapshot["day"], snapshot["spent_usd"]) == (20_000, {"a": 3.0, "b": 0.0})
    other.start()
    other.answer(Usage(input_tokens=1_000_000))
    other.spending.restore(snapshot)
    assert other.gone == [(3.0, 0.0), (1.0, 0.0)]
    other.wall.advance(DAY_S)
    other.spending.restore(snapshot)
    assert other.gone == [(0.0, 0.0), (0.0, 0.0)]
    assert other.spending.snapshot()["day"] == 20_001


@given(st.lists(st.tuples(st.sampled_from(["answer", "fail", "leave"]), st.integers(0, 10**6)), max_size=30))
def test_what_is_held_is_always_let_go(ends: list[tuple[str, int]]) -> None:
    """Whatever becomes of attempts, nothing stays held, and the sum is what they cost."""
    world = World(limit(usd=1e9))
    for number in range(len(ends)):
        world.start(number)
    expected = 0.0
    for number, (end, tokens) in enumerate(ends):
        if end == "answer":
            world.answer(Usage(input_tokens=tokens), number)
            expected += tokens / 1e6
        elif end == "fail":
            world.fail(number, status=500)
        else:
            world.spending.fold([AttemptAbandoned(0.0, "f", number, TARGET, 1.0)])
            expected += 1.0
    ((spent, held),) = world.gone
    assert abs(held) < 1e-6
    assert spent == pytest.approx(expected)


def test_new_budgets_go_on_with_what_was_spent() -> None:
    """A configuration that is read again keeps the accounts whose names stay, with their new limits."""
    world = World(limit("a", 5.0), limit("b"))
    world.start()
    world.answer(Usage(input_tokens=3_000_000))
    world.spending.follow([limit("c"), limit("a", 3.0)])
    assert [(a.limit.name, a.limit.usd_per_day) for a in world.spending.accounts] == [("c", 10.0), ("a", 3.0)]
    assert world.gone == [(0.0, 0.0), (3.0, 0.0)]
    assert [a.limit.name for a in world.spending.over("chat", "k", usd=0.0)] == ["a"]


def test_a_month_is_kept_beside_its_days() -> None:
    """What a day leaves the month may not: it ends with the calendar's month, and is told to come back then."""
    world = World(limit(usd=10.0, usd_per_month=15.0))  # noon of 4 October 2024
    for _ in range(2):
        world.start()
        world.answer(Usage(input_tokens=7_000_000))
        world.wall.advance(DAY_S)
    (account,) = world.spending.accounts
    assert (account.monthly, account.most_usd, account.gone_usd) == (True, 15.0, 14.0)
    assert [world.spending.over("chat", "k", usd=usd) for usd in (1.0, 1.1)] == [[], [account]]
    back_s = world.spending.back_s(account)
    assert back_s == 25.5 * DAY_S
    world.wall.advance(back_s)
    assert world.spending.over("chat", "k", usd=10.0) == []
    assert (account.monthly, world.spending.back_s(account)) == (False, DAY_S)


def test_a_month_is_kept_elsewhere_too() -> None:
    """A snapshot of this month is taken up on another day of it, without what was spent on its own day."""
    world, other = World(limit(usd_per_month=50.0)), World(limit(usd_per_month=50.0))
    world.start()
    world.answer(Usage(input_tokens=3_000_000))
    snapshot = world.spending.snapshot()
    other.wall.advance(DAY_S)
    other.spending.restore(snapshot)
    (account,) = other.spending.accounts
    assert (account.spent_usd, account.month_usd) == (0.0, 3.0)
    other.wall.advance(40 * DAY_S)
    other.spending.restore(snapshot)
    assert account.month_usd == 0.0


def test_a_budget_that_others_share_is_ours_as_far_as_it_was_lent() -> None:
    """Of the day and of the month only a part may be spent here; midnight forgets what others spent."""
    world = World(limit(usd=10.0, usd_per_month=100.0))
    (account,) = world.spending.accounts
    assert account.left_usd == 10.0
    account.share_day(4.0, 2.5)
    assert (account.left_usd, account.elsewhere_usd) == (4.0, 2.5)
    world.start()
    assert account.left_usd == pytest.approx(4.0 - 1.004)
    world.answer(Usage(input_tokens=1_000_000))
    assert account.left_usd == pytest.approx(3.0)
    account.share_month(3.5, 7.0)
    assert account.left_usd == pytest.approx(2.5)
    assert not account.affords(2.6)
    account.share_day(20.0, 0.0)
    account.share_month(200.0, 0.0)
    assert account.left_usd == pytest.approx(9.0), "no more than there is"
    account.share_day(20.0, 2.5)
    world.wall.advance(DAY_S)
    assert world.spending.over("chat", "k", usd=1.0) == []
    assert account.elsewhere_usd == 0.0


def test_days_and_months_are_counted_from_1970() -> None:
    """Both turn at midnight UTC, whoever looks first; December is followed by January."""
    world = World(limit(usd_per_month=50.0))  # noon of 4 October 2024
    assert (world.spending.day, world.spending.month) == (20_000, 54 * 12 + 9)
    world.wall.advance(DAY_S / 2)
    assert (world.spending.day, world.spending.month) == (20_001, 54 * 12 + 9)
    world.wall.advance(27 * DAY_S)
    assert (world.spending.month, world.spending.month_resets_s) == (54 * 12 + 10, 30 * DAY_S)
    world.wall.advance(59 * DAY_S)  # noon of 30 December
    assert world.spending.month_resets_s == 2 * DAY_S
    world.wall.advance(2 * DAY_S)
    assert (world.spending.month, world.spending.month_resets_s) == (55 * 12, 31 * DAY_S)


def test_a_month_that_is_gone_stops_whatever_the_day_leaves() -> None:
    """The smaller of the two is told as what there is; what is under way is held against both."""
    world = World(limit(usd=10.0, usd_per_month=12.0))
    (account,) = world.spending.accounts
    assert (account.monthly, account.most_usd, account.left_usd) == (False, 10.0, 10.0)
    world.start()
    world.answer(Usage(input_tokens=9_000_000))
    world.wall.advance(DAY_S)
    assert world.spending.over("chat", "k", usd=3.1) == [account]
    world.start()
    assert account.monthly
    assert [account.gone_usd, account.left_usd] == pytest.approx([10.004, 1.996])
    even = World(limit(usd=10.0, usd_per_month=20.0))
    even.start()
    even.answer(Usage(input_tokens=6_000_000))
    assert not even.spending.accounts[0].monthly, "four are left of the day, fourteen of the month"
    assert World(limit(usd=10.0, usd_per_month=10.0)).spending.accounts[0].monthly, "of equals, the longer one"
