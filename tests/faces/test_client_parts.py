"""The client's pure parts: what requirements are, how a minute's requests are counted."""

from __future__ import annotations

import subprocess
import sys

import pytest

import unbroken
from unbroken.config import Config
from unbroken.faces.client.choice import chosen
from unbroken.faces.client.rates import SPAN_S, Window
from unbroken.faces.client.results import Estimate
from unbroken.faces.client.tally import Tally
from unbroken.facts import AttemptAbandoned, AttemptStarted
from unbroken.failures import RequestError
from unbroken.price import Price
from unbroken.testing import ManualClock
from unbroken.types import Request, Target, Usage, Why


@pytest.mark.parametrize("weight", [-0.1, 1.1, float("nan"), True, "1", None])
def test_a_weight_is_a_number_from_nought_to_one(weight: object) -> None:
    """Anything else is told by its name."""
    config = Config.from_values({"providers": {"here": {"base_url": "http://127.0.0.1:1", "model": "m"}}}, {})
    with pytest.raises(RequestError, match=r"requirements\.cost"):
        chosen(config, Request(model="auto"), options={"requirements": {"cost": weight}})


def test_a_minute_s_requests_are_counted_as_it_slides() -> None:
    """So many in any minute; who is too early is told when there is room."""
    clock, window = ManualClock(), Window(2)
    assert window.enter(clock()) == 0
    clock.advance(10)
    assert window.enter(clock()) == 0
    clock.advance(20)
    assert window.enter(clock()) == pytest.approx(SPAN_S - 30)
    clock.advance(SPAN_S - 30)
    assert window.enter(clock()) == 0
    assert window.enter(clock()) == pytest.approx(10)


def test_an_estimate_without_prices_is_none() -> None:
    """None is known of it, and that is not nought."""
    unknown = Estimate(input_tokens=1, output_tokens=1, by_target={"a": None})
    assert unknown.usd is None and unknown.usd_max is None


def test_what_was_given_up_is_counted_as_far_as_it_was_told() -> None:
    """Tokens of an attempt that was hung up on are paid for: they are in the statistics and in an answer's cost."""
    target = Target(name="a/m", provider="a", model="m", price=Price(input_usd=1.0, output_usd=2.0))
    tally, usage = Tally(), Usage(input_tokens=1_000_000, output_tokens=500_000)
    tally.write([
        AttemptStarted(0.0, "f", 1, target, Why.FIRST, stream=True),
        AttemptAbandoned(1.0, "f", 1, target, 1.0, usage=usage),
    ])  # fmt: skip
    told = tally.statistics()
    assert told["cost_usd"] == pytest.approx(2.0)
    assert (told["providers"]["a"]["input_tokens"], told["providers"]["a"]["answered"]) == (1_000_000, 0)
    (tried,), costs = tally.take("f")
    assert tried.abandoned and costs == [pytest.approx(2.0)]


def test_names_are_loaded_when_they_are_used() -> None:
    """`import unbroken` loads nothing else, and every public name is there."""
    code = "import sys, unbroken; print([name for name in sys.modules if name.startswith('unbroken.')])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
    for name in unbroken.__all__:
        assert name in dir(unbroken) and getattr(unbroken, name) is not None
    with pytest.raises(AttributeError, match="Unbrokn"):
        _ = unbroken.Unbrokn  # type: ignore[attr-defined]
