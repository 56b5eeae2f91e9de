"""Yesterday again: providers rebuilt from a ledger, and what another configuration would have made of the day."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from math import inf

import pytest

from unbroken.failures import FailureKind
from unbroken.policy import Route
from unbroken.sim.ledger import LedgerRow
from unbroken.sim.rebuild import BRIDGED_MIN, ENOUGH, MINUTE_S, rebuilt
from unbroken.sim.replay import Changes, replayed
from unbroken.sim.world import Hang, Refused, Slow, Status
from unbroken.types import Target

NORTH, SOUTH = (Target(name=f"{name}/m", provider=name, model="m", prefix="assistant") for name in ("north", "south"))
BEGAN = 1_000_000.0
MINUTES = 20


def row(at: float, target: Target, **said: object) -> LedgerRow:
    """An answer after 0.53 s and a word every 10 ms, or what is said instead."""
    usual = LedgerRow(
        at=BEGAN + at, request=str(at), route="auto", target=target.name, input_tokens=500, output_tokens=100,
        first_content_s=0.53, total_s=1.53, outcome="answered", cost_usd=0.001,
    )  # fmt: skip
    return replace(usual, **said)  # type: ignore[arg-type]


def answer_to(input_tokens: int, output_tokens: int) -> dict[str, object]:
    """What a target says that reads 1000 tokens in a second and writes 50, for 1 and 2 dollars a million."""
    first_s = 0.23 + input_tokens / 1000.0
    return {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "first_content_s": first_s,
        "total_s": first_s + output_tokens / 50.0,
        "cost_usd": (input_tokens * 1.0 + output_tokens * 2.0) / 1e6,
    }


@cache
def yesterday() -> tuple[LedgerRow, ...]:
    """North answered every second for 20 minutes, but in minutes 5 to 7 it failed; south answered every third second.

    There was no failover: who asked north in these minutes got nothing.
    """
    rows = []
    for second in range(MINUTES * 60):
        down = 5 <= second // 60 < 8
        bad: dict[str, object] = {"outcome": "server", "output_tokens": 0, "total_s": 0.2, "cost_usd": 0.0}
        rows.append(row(float(second), NORTH, **(bad if down else {})))
        if second % 3 == 0:
            rows.append(row(second + 0.5, SOUTH, first_content_s=0.83, total_s=1.83, cost_usd=0.002))
    return tuple(rows)


@cache
def played(strategy: str = "priority", *names: str) -> Changes:
    targets = tuple(target for target in (NORTH, SOUTH) if not names or target.provider in names)
    route = Route(name="auto", targets=targets, strategy=strategy)
    return replayed(yesterday(), {"auto": route}, usual=route, seed=1)


# ------------------------------------------------------------- what failed and would not now


def test_failover_would_have_saved_the_day() -> None:
    """Requests that failed while one target was down would be answered by the other, and none would be lost."""
    changes = played()
    assert changes.requests == MINUTES * 60 + MINUTES * 20
    assert (len(changes.saved), len(changes.lost)) == (180, 0)
    assert {request.last.outcome for request in changes.saved} == {"server"}
    assert changes.now.answered == changes.requests == changes.then.answered + 180
    assert (changes.then.attempts, changes.missed) == (changes.requests, ())


def test_the_reverse_is_said_too() -> None:
    """A configuration without the target that answered loses what it answered while the other one was down."""
    changes = played("priority", "north")
    assert changes.saved == ()
    assert 50 <= len(changes.lost) <= 60
    assert all(5 <= (request.at - BEGAN) // 60 < 8 for request in changes.lost)


def test_who_answers_what_it_costs_and_how_long_it_takes() -> None:
    """Shares, cost and percentiles are told for then and for now."""
    changes = played()
    shares = {share.target: share for share in changes.shares}
    assert (shares[NORTH.name].then, shares[SOUTH.name].then) == (1020, 400)
    assert shares[SOUTH.name].now < 300
    assert shares[NORTH.name].answers == 1020
    assert changes.now.cost_usd < changes.then.cost_usd + 0.2
    assert changes.then.total_s == (1.53, 1.83, 1.83)
    assert changes.now.total_s[0] == pytest.approx(1.53)
    assert changes.now.first_s[0] == pytest.approx(0.53)


def test_the_same_seed_is_the_same_replay() -> None:
    """Nothing else decides."""
    route = Route(name="auto", targets=(NORTH, SOUTH), strategy="random")
    digests = [replayed(yesterday(), {"auto": route}, usual=route, seed=seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_what_is_not_known_is_said() -> None:
    """A target that was never asked is guessed, and called so; a route that is missing is named."""
    other = Target(name="west/m", provider="west", model="m")
    route = Route(name="other", targets=(other, NORTH))
    changes = replayed(yesterday(), {"other": route}, usual=route, seed=1)
    assert changes.missed == ("auto",)
    assert any("GUESSED: west/m" in guess for guess in changes.guesses)
    assert not any("GUESSED" in guess for guess in played().guesses)
    assert {share.target: share.answers for share in changes.shares}["west/m"] == 0
    assert any("180 answers that nobody gave" in guess for guess in changes.guesses)


def test_the_same_attempt_meets_the_same_answer() -> None:
    """What a target did with a request then it does now, and a hung one hangs."""
    rows = [row(float(second), NORTH, first_content_s=0.4 + second / 1000.0, total_s=2.0) for second in range(40)]
    rows += [row(100.0, NORTH, outcome="silent", total_s=30.0), row(100.5, NORTH, outcome="abandoned", total_s=1.0)]
    route = Route(name="auto", targets=(NORTH,))
    changes = replayed(rows, {"auto": route}, usual=route, seed=1)
    assert changes.now.first_s == pytest.approx(changes.then.first_s)
    assert changes.now.total_s[2] == pytest.approx(2.0)
    assert changes.then.answered == 40


# ------------------------------------------------------------- rebuilding


def test_laws_are_fitted() -> None:
    """How fast a target reads and writes, and what it charges, is found again."""
    lengths = [(100 * (1 + n % 20), 10 * (1 + n % 7)) for n in range(280)]
    rows = [row(float(n), NORTH, **answer_to(*both)) for n, both in enumerate(lengths)]
    supplier = rebuilt(rows, began=BEGAN, seed=1)[NORTH.name].supplier
    assert supplier.first_token_s == pytest.approx(0.2, rel=0.02)
    assert supplier.read_tokens_per_s == pytest.approx(1000.0, rel=0.02)
    assert supplier.tokens_per_s == pytest.approx(50.0, rel=0.02)
    assert (supplier.input_usd, supplier.output_usd) == pytest.approx((1.0, 2.0))


def test_plain_answers_are_fitted_too() -> None:
    """Where the first word comes with the last the time is fitted all the same, and one length gives one price."""
    rows = [row(float(n), NORTH, first_content_s=1.53) for n in range(50)]
    found = rebuilt(rows, began=BEGAN, seed=1)[NORTH.name]
    supplier = found.supplier
    total_s = supplier.first_token_s + 500 / supplier.read_tokens_per_s + 100 / supplier.tokens_per_s
    assert total_s == pytest.approx(1.5, rel=0.1)
    assert supplier.input_usd == supplier.output_usd == pytest.approx(0.001 / 600 * 1e6)


def test_failures_are_outages_of_their_minutes() -> None:
    """A minute's failures are an outage of that minute, of their commonest kind, for their share."""
    found = rebuilt(yesterday(), began=BEGAN, seed=1)[NORTH.name].outages
    assert [(o.start_s / MINUTE_S, o.end_s / MINUTE_S, o.share) for o in found] == [(n, n + 1, 1.0) for n in (5, 6, 7)]
    assert found[0].trouble == Status(FailureKind.SERVER, 502)


@pytest.mark.parametrize(
    ("outcome", "trouble"),
    [("connect", Refused()), ("silent", Hang()), ("rate_limit", Status(FailureKind.RATE_LIMIT, 429))],
)
def test_kinds_of_failures(outcome: str, trouble: object) -> None:
    """What a failure was is what it is played as."""
    rows = [row(float(n), NORTH) for n in range(40)] + [row(70.0, NORTH, outcome=outcome)]
    (outage,) = rebuilt(rows, began=BEGAN, seed=1)[NORTH.name].outages
    assert outage.trouble == trouble


def test_silence_between_failures_is_failure() -> None:
    """Minutes in which nobody asked, between two in which it failed, count as failed, if they are not too many."""

    def outages(gap: int) -> list[tuple[float, float]]:
        rows = [row(float(n), NORTH) for n in range(40)]
        rows += [row(at, NORTH, outcome="server") for at in (70.0, 70.0 + (gap + 1) * MINUTE_S)]
        found = rebuilt(rows, began=BEGAN, seed=1)[NORTH.name].outages
        return sorted((o.start_s / MINUTE_S, o.end_s / MINUTE_S) for o in found)

    assert outages(2) == [(1, 2), (2, 4), (4, 5)]
    assert len(outages(BRIDGED_MIN + 1)) == 2


def test_slow_minutes_are_brown_outs() -> None:
    """A minute of slow answers is slow for everybody, and does not make the target look slow in all others."""
    slow: dict[str, object] = {"first_content_s": 3.03, "total_s": 7.53}
    rows = [row(float(second), NORTH, **(slow if 60 <= second < 120 else {})) for second in range(300)]
    found = rebuilt(rows, began=BEGAN, seed=1)[NORTH.name]
    (outage,) = found.outages
    assert (outage.start_s, outage.end_s) == (60.0, 120.0)
    assert isinstance(outage.trouble, Slow)
    assert outage.trouble.times == pytest.approx(6.5, rel=0.1)
    assert max(found.luck.firsts) < 1.2


def test_few_answers_are_no_knowledge() -> None:
    """A target with fewer answers than a fit needs is not known, and the caller's own failures say nothing."""
    few = [row(float(n), NORTH) for n in range(ENOUGH - 1)]
    assert rebuilt(few, began=BEGAN, seed=1) == {}
    more = [*few, row(50.0, NORTH), row(51.0, NORTH, outcome="cancelled")]
    assert rebuilt(more, began=BEGAN, seed=1)[NORTH.name].outages == ()


def test_times_are_finite() -> None:
    """Answers without tokens or time break nothing."""
    odd: Callable[[int], LedgerRow] = lambda n: row(float(n), NORTH, output_tokens=0, first_content_s=0.0, total_s=0.0)  # noqa: E731
    supplier = rebuilt([odd(n) for n in range(30)], began=BEGAN, seed=1)[NORTH.name].supplier
    assert 0 < supplier.tokens_per_s < inf
    assert supplier.first_token_s > 0
