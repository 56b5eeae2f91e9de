from __future__ import annotations

from math import exp, log, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.world import target_named
from unbroken.core import learned
from unbroken.core.learned import Scout
from unbroken.core.typical import News
from unbroken.facts import Decided
from unbroken.records import replace

NAMES = ["a", "b", "c"]
TARGETS = {name: target_named(name) for name in NAMES}


def decided(first: str, *, price: float = 0.0, share: float = 0.02) -> Decided:
    return Decided(0.0, "f", "r", "learned", (TARGETS[first],), price=price, share=share)


def spent(scout: Scout) -> Scout:
    scout.purse = 0.0
    return scout


def asked(first: str = "a", times: int = 100, *, share: float = 0.0) -> Scout:
    """A scout whose route asked one target so many times."""
    scout = Scout()
    for _ in range(times):
        scout.decided(decided(first, share=share))
    return scout


def test_what_is_known_fades_with_requests() -> None:
    """Two thirds of it in a hundred and fifty; who is never asked is not known at all."""
    scout = asked("b", 1)
    assert scout.known("b") == 1.0
    for _ in range(150):
        scout.decided(decided("a"))
    assert scout.known("b") == pytest.approx(exp(-1))
    assert scout.known("c") == 0.0


def test_not_more_is_remembered_than_needed() -> None:
    """Whoever was asked five hundred times is as well known as after a hundred."""
    assert asked("a", 500).known("a") == 30.0
    assert Scout().known("a") == 0.0


def test_every_request_saves_a_share_of_a_look() -> None:
    """Fifty of them pay for one, and only so many are saved up."""
    scout = spent(Scout())
    for _ in range(50):
        assert not scout.affords(1.0)
        scout.decided(decided("a"))
    assert scout.purse == pytest.approx(1.0)
    for _ in range(1_000):
        scout.decided(decided("a"))
    assert scout.purse == learned.SAVINGS_MAX == Scout().purse


def test_a_look_is_paid_for() -> None:
    """And where nobody is left to be asked, nothing breaks."""
    scout = Scout()
    scout.decided(decided("b", price=1.0))
    assert scout.purse == pytest.approx(learned.SAVINGS_MAX - 1.0)
    scout.decided(replace(decided("a"), order=()))
    assert scout.requests == 2


@given(st.lists(st.floats(1.0, 20.0), max_size=40), st.floats(0.0, 0.1))
def test_looks_never_cost_more_than_their_share(prices: list[float], share: float) -> None:
    """Beyond what was there at the beginning, and one look that is dearer than all savings."""
    scout, paid = Scout(), 0.0
    for price in prices:
        for _ in range(20):
            afforded = price if scout.affords(price) else 0.0
            paid += afforded
            scout.decided(decided("a", price=afforded, share=share))
    assert paid <= learned.SAVINGS_MAX + share * scout.requests + 20.0


def test_what_is_dearer_than_all_savings_is_owed() -> None:
    """Else nobody would ever look at it."""
    scout = Scout()
    assert scout.affords(9.0)
    scout.decided(decided("b", price=9.0, share=0.02))
    assert scout.purse == pytest.approx(-5.0)
    assert not scout.affords(1.0)
    scout.purse = 3.9
    assert not scout.affords(9.0)
    assert scout.affords(3.9)


def test_the_unknown_is_looked_at_first() -> None:
    """However good the leader is; with nobody known the order of the configuration stands."""
    assert asked("a").look(NAMES, [0.0, 0.5, 0.6], leader=0) == 1
    scout = asked("a")
    scout.decided(decided("b"))
    assert scout.look(NAMES, [0.0, 0.5, 0.6], leader=0) == 2
    assert Scout().look(NAMES, [0.0, 0.0, 0.0], leader=0) is None


def test_close_rivals_are_looked_at_before_hopeless_ones() -> None:
    """Among those of whom the same is known, who may be best."""
    scout = asked("a")
    for name in ("b", "c", "b", "c"):
        scout.decided(decided(name))
    assert scout.look(NAMES, [0.0, 2.0, 0.1], leader=0) == 2
    assert scout.look(NAMES, [0.0, 5.0, 5.0], leader=0) is None


def test_nobody_is_forgotten() -> None:
    """Five times as bad is looked at within four hundred requests, ninety times as bad within a thousand."""
    for burden, within in ((1.6, 400), (4.5, 1_000)):
        scout = asked("b", 1)
        waited = 0
        while waited < within and scout.look(["a", "b"], [0.0, burden], leader=0) is None:
            scout.decided(decided("a"))
            waited += 1
        assert 10 < waited < within


def test_a_change_is_reason_to_look_around() -> None:
    """Four looks are given, and not again within two hundred requests."""
    scout = spent(asked("a", 200))
    scout.told("a", News.CHANGED)
    assert scout.purse == learned.WINDFALL
    scout.told("a", News.CHANGED)
    assert scout.purse == learned.WINDFALL
    for _ in range(200):
        scout.decided(decided("a", share=0.0))
    scout.told("a", News.CHANGED)
    assert scout.purse == 2 * learned.WINDFALL
    assert spent(asked("a", 199)).purse == 0.0


def test_what_was_given_is_not_taken_back() -> None:
    """Savings end at four looks, what is there beyond them stays until it is spent."""
    scout = asked("a", 200)
    scout.told("a", News.CHANGED)
    scout.decided(decided("a"))
    assert scout.purse == learned.SAVINGS_MAX + learned.WINDFALL


def test_one_who_seems_to_be_better_is_looked_at_again() -> None:
    """As if nothing were known of him; of whom is asked all the time a good answer is nothing special."""
    scout = spent(asked("a", 200))
    scout.decided(decided("b"))
    scout.told("b", News.BETTER)
    assert scout.known("b") == 0.0
    assert scout.purse > 1.0
    spent(scout).told("b", News.BETTER)
    assert scout.affords(1.0), "on credit"
    scout = spent(asked("a", 200))
    scout.told("a", News.BETTER)
    assert scout.purse == 0.0
    assert scout.known("a") == learned.ASKS_MAX
    scout.told("a", News.CHANGED)
    assert scout.known("a") == 0.0, "whoever was asked all the time may be asked no more after that"


def test_when_a_change_is_heard_of() -> None:
    """The first within two hundred requests is too early, as is any other; then four looks are given."""
    scout = spent(asked("a", 199))
    scout.told("a", News.CHANGED)
    assert scout.purse == 0.0
    scout.decided(decided("a", share=0.0))
    scout.told("a", News.CHANGED)
    assert scout.purse == 4.0
    for _ in range(199):
        scout.decided(decided("a", share=0.0))
    scout.told("a", News.CHANGED)
    assert scout.purse == 4.0
    scout.decided(decided("a", share=0.0))
    scout.told("a", News.CHANGED)
    assert scout.purse == 8.0


@pytest.mark.parametrize(("times", "known"), [(8, 0.0), (9, 8.7639)])
def test_who_is_seldom_asked_is_looked_at_for_good_news(times: int, known: float) -> None:
    """Whoever was asked more than eight times of late will show it anyway; of whom has changed nothing is known."""
    for news in (News.BETTER, News.CHANGED):
        scout = spent(asked("b", times))
        scout.told("b", news)
        assert scout.known("b") == pytest.approx(known if news is News.BETTER else 0.0, abs=0.001)
        assert scout.purse == (1.0 if known == 0.0 and news is News.BETTER else 0.0)


@pytest.mark.parametrize("requests", [3, 40, 300])
def test_a_look_is_worth_what_the_unknown_may_be_better(requests: int) -> None:
    """The leader's bound against each other's: the fewer requests are remembered of somebody the lower it is."""
    scout = asked("a", requests)
    scout.decided(decided("b", share=0.0))
    certain = log(1.0 + min(scout.requests + 1.0, 150.0))
    hoped = [learned.SPREAD * sqrt(certain / (scout.known(name) + learned.UNKNOWN)) for name in "ab"]
    edge = hoped[1] - hoped[0]
    assert scout.look(["a", "b"], [0.0, edge - 1e-6], leader=0) == 1
    assert scout.look(["a", "b"], [0.0, edge + 1e-6], leader=0) is None
