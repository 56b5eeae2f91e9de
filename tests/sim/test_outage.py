"""Bad days by name, and what must be true of each: the promises of the whole, stated as numbers.

Every script has 50 requests a second.  The seconds are those of `unbroken.sim.scripts`.
"""

from __future__ import annotations

from functools import cache

import pytest

from unbroken.policy import Breaking, Budget
from unbroken.sim.record import Record, percentile_s
from unbroken.sim.scripts import SCRIPTS
from unbroken.sim.simulator import simulate

PER_S = 50
SECONDS = {
    "storm": 60, "calm": 40, "brown-out": 160, "rate-limit": 110, "slow-death": 190, "flapping": 210,
    "key-revoked": 100, "all-down": 120, "all-failing": 120, "hang": 170, "hang-hedged": 110, "cut": 110,
    "empty": 100, "astray": 80,
}  # fmt: skip
BACK_S = int(Breaking().open_s_max * (1.0 + Breaking().jitter) + Breaking().ramp_s)
"""After so long a target that has recovered has all of its traffic again, however often it had failed."""


@cache
def played(name: str) -> Record:
    return simulate(SCRIPTS[name], SECONDS[name] * PER_S, seed=1)


@pytest.mark.parametrize("name", SCRIPTS)
def test_promises_of_every_day(name: str) -> None:
    """Whatever happens: no wrong word, exactly one end for each request, none is stuck, all are counted."""
    record = played(name)
    assert (record.wrong, record.after_end, record.stuck) == (0, 0, 0)
    assert record.requests == record.whole + record.errors + record.empty == SECONDS[name] * PER_S
    for tally in record.targets.values():
        assert tally.attempts == tally.answered + tally.failed + tally.abandoned


def test_calm() -> None:
    """While nothing is wrong nothing is done: one attempt each, all at the first target."""
    record = played("calm")
    assert record.whole == record.attempts == record.targets["north"].answered
    assert not record.kinds


def test_brown_out() -> None:
    """A target 20 times slower than it was loses its traffic until it is itself again; nobody is lost."""
    record = played("brown-out")
    assert record.whole == record.requests
    assert record.share("north", (0, 30)) == 1.0
    assert record.share("north", (60, 88)) <= 0.05
    assert record.share("north", (145, 160)) >= 0.95
    assert record.extra_load <= 0.05


def test_rate_limit_wave() -> None:
    """Limits are respected without a storm of retries, and what they leave is used."""
    record = played("rate-limit")
    assert record.whole == record.requests
    assert record.attempts_each((20, 80)) <= 1.25
    assert record.share("north", (20, 80)) >= 0.1
    assert record.share("north", (90, 110)) >= 0.95
    assert percentile_s(record.first_content_s, 0.99) <= 4.0


def test_slow_death() -> None:
    """A target that fails more and more often is left alone before it is dead, and comes back after."""
    record = played("slow-death")
    assert record.whole == record.requests
    assert record.share("north", (40, 100)) <= 0.03
    assert record.share("north", (100 + BACK_S, 190)) >= 0.95
    assert record.attempts_each((20, 100)) <= 1.1


def test_flapping() -> None:
    """A target that comes and goes is trusted less and less; the streams that it breaks are rescued."""
    record = played("flapping")
    assert record.whole == record.requests
    assert record.rescues > 20
    assert record.share("north", (30, 120)) <= 0.05
    assert record.share("north", (120 + BACK_S, 210)) >= 0.95
    assert record.extra_load <= 0.05


def test_key_revoked() -> None:
    """A key that is refused is not tried again and again."""
    record = played("key-revoked")
    assert record.whole == record.requests
    assert record.kinds["auth"] <= 20
    assert record.share("north", (25, 100)) == 0.0


@pytest.mark.parametrize("name", ["all-down", "all-failing"])
def test_everything_down(name: str) -> None:
    """When nobody answers for 30 s attempts do not multiply, errors are honest, and then all is well at once."""
    record = played(name)
    budget = Budget()
    extra_each = budget.ratio + budget.reserve / budget.window_s / PER_S
    assert record.whole_share((0, 25)) == 1.0
    assert record.whole_share((31, 58)) == 0.0
    assert record.attempts_each((35, 60)) <= 1.0 + extra_each + 0.1
    assert record.attempts_each((30, 35)) <= 2.0
    assert record.whole_share((62, 120)) >= 0.999
    assert record.share("north", (85, 120)) >= 0.95


def test_hang() -> None:
    """Silence costs those their patience who came before it was noticed, and nobody their answer."""
    record = played("hang")
    assert record.whole == record.requests
    assert record.share("north", (35, 80)) <= 0.03
    assert record.share("north", (80 + BACK_S, 170)) >= 0.95
    assert percentile_s(record.first_content_s, 0.99) <= 25.0


def test_hang_with_hedging() -> None:
    """With a hedge hardly anybody notices a target that hangs, for a tenth more load."""
    record = played("hang-hedged")
    assert record.whole == record.requests
    assert percentile_s(record.first_content_s, 0.99) <= 4.0
    assert record.extra_load <= 0.2
    assert record.share("north", (30, 80)) <= 0.05


def test_cut_streams() -> None:
    """Streams that break go on elsewhere, even while every target breaks some."""
    record = played("cut")
    assert record.rescues >= 200
    assert record.whole_share((0, 50)) == 1.0
    assert record.whole_share((50, 70)) >= 0.99
    assert record.whole_share((70, 90)) >= 0.96
    assert record.whole_share((92, 110)) == 1.0


def test_empty_answers() -> None:
    """Where one target answers with nothing the next one answers."""
    record = played("empty")
    assert record.whole == record.requests
    assert record.kinds["empty"] > 0
    assert record.attempts_each((20, 80)) <= 1.5


def test_models_that_go_astray() -> None:
    """A model that was asked to go on and says something else is not believed; one that begins again is joined."""
    record = played("astray")
    assert record.whole == record.requests
    assert record.kinds["diverged"] > 5
    assert record.rescues > 30
