"""How fast a target reads, what it charges, and what a look at one who is slow costs: what is learned beside times."""

from __future__ import annotations

from math import log
from random import Random

import pytest

from core.story import said
from core.world import START
from unbroken.core.board import Board
from unbroken.core.experience import Experience
from unbroken.core.measures import READ_TOKENS, Lengths, Measure
from unbroken.core.strategies import STRATEGIES, Draw, View
from unbroken.core.typical import SLOPE_MOST, News, Slope, Typical
from unbroken.facts import AttemptAnswered, Decided
from unbroken.policy import Route
from unbroken.price import Price, Quota, Variant
from unbroken.types import Request, Target, Usage

STREAM = Request(model="m", stream=True, prompt_chars=400)
FAST, SLOW = (Target(name=name, provider=name, model="m") for name in ("fast", "slow"))


def read(
    slope: float, *, answers: int = 400, stream: bool = True, lengths: tuple[int, ...] = (0, 2_000, 40_000)
) -> Measure:
    """A target that begins within half a second, and reads so many times as long as is usual."""
    measure, draw = Measure(), Random(1)
    for number in range(400):
        prompt_tokens, luck = draw.choice(lengths), draw.lognormvariate(0.0, 0.3)
        seconds = 0.5 * (1.0 + slope * prompt_tokens / READ_TOKENS) * luck
        if stream:
            measure.heard(seconds, prompt_tokens, now=START + number)
        else:
            fact = AttemptAnswered(START + number, "f", 1, FAST, seconds, seconds, False)
            measure.answered(fact, prompt_tokens, tokens=0.0, lengths=Lengths())
    return measure


def first_s(measure: Measure, prompt_tokens: int) -> float:
    return measure.time_s(prompt_tokens, tokens=0, now=START + 400)[0]


# --------------------------------------------------------------------------- reading


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0, 8.0])
def test_how_fast_a_target_reads_is_learned(slope: float, stream: bool) -> None:
    """From answers to prompts of several lengths, streams and plain ones, within a fifth of what it is."""
    measure = read(slope, stream=stream)
    for prompt_tokens in (0, 2_000, 40_000):
        true_s = 0.5 * (1.0 + slope * prompt_tokens / READ_TOKENS)
        assert first_s(measure, prompt_tokens) == pytest.approx(true_s, rel=0.2)


def test_prompts_of_one_length_say_nothing_of_others() -> None:
    """Who has only read prompts of one length is taken to read as fast as is usual."""
    measure = read(1.0, lengths=(8_000,))
    assert measure.slope.value == pytest.approx(1.0, abs=0.2)
    fresh = Measure()
    fresh.heard(9.0, 40_000, now=START)
    assert fresh.slope.value == 1.0


def test_who_becomes_slow_does_not_read_more_slowly() -> None:
    """When everything takes eight times as long, that is a change of the target, not of its slope."""
    measure = read(1.0)
    was, draw = measure.slope.value, Random(2)
    for number in range(40):
        prompt_tokens = draw.choice((0, 2_000, 40_000))
        measure.heard(4.0 * (1.0 + prompt_tokens / READ_TOKENS), prompt_tokens, now=START + 400 + number)
    assert measure.slope.value == pytest.approx(was, rel=0.3)
    assert first_s(measure, 0) == pytest.approx(4.0, rel=0.3)


def test_two_wonders_say_nothing_of_the_slope() -> None:
    """What is a change is none of the slope's business, however long the prompt was."""
    measure = read(1.0)
    was = measure.slope.value
    news = [measure.heard(80.0, 0, now=START + 400)]
    between = measure.slope.value
    while news[-1] is not News.CHANGED:
        between = measure.slope.value
        news.append(measure.heard(80.0, 0, now=START + 400))
    assert measure.slope.value == between
    assert between != was


def test_what_is_expected_of_the_usual_length_stays() -> None:
    """When a slope turns out to be another the quantity is told, so that little changes but for what lies far away."""
    slope, quantity, draw = Slope(), Typical(), Random(3)
    moved = 0.0
    for _ in range(300):
        length = draw.choice((1.0, 3.0))
        quantity.add(draw.lognormvariate(0.0, 0.1) / (1.0 + slope.value * length), START)
        before = quantity.guess(START)[0] * (1.0 + 2.0 * slope.value)
        slope.add(length, quantity)
        moved += log(quantity.guess(START)[0] * (1.0 + 2.0 * slope.value) / before)
    assert slope.value < 0.3
    assert abs(moved) < 0.5, "two thirds less than if the quantity had not been told"


def test_a_slope_stays_within_reason() -> None:
    """It is never negative, nor steeper than anything that was ever seen."""
    for sign in (1.0, -1.0):
        slope, quantity = Slope(), Typical()
        for number in range(200):
            quantity.add(1.0 if number % 2 else 1e3**sign, START)
            slope.add(0.0 if number % 2 else 10.0, quantity)
            assert 0.0 <= slope.value <= SLOPE_MOST


# --------------------------------------------------------------------------- charges


def charged(measure: Measure, cost_usd: float, price: Price) -> News:
    """An answer of a hundred tokens, for which its provider takes so much."""
    target = Target(name="t", provider="t", model="m", price=price)
    usage = Usage(input_tokens=50, output_tokens=50, cost_usd=cost_usd)
    return measure.answered(
        AttemptAnswered(START, "f", 1, target, 0.5, 1.0, True, usage), 50, tokens=50, lengths=Lengths()
    )


@pytest.mark.parametrize(
    "price",
    [Price(input_usd=1e4, output_usd=1e4), Price(input_usd=0.0, output_usd=2e4),
     Price(input_usd=1.0, output_usd=1.0, variants=(Variant(above_tokens=20, input_usd=1e4, output_usd=1e4),))],
)  # fmt: skip
def test_who_charges_what_is_listed_is_not_measured(price: Price) -> None:
    """The list is right until it is wrong; three times as much is a change at the second answer at the latest."""
    measure = Measure()
    assert {charged(measure, 1.0, price) for _ in range(5)} == {News.NONE}
    assert measure.usd.guess(START) == (0.0, 0.0)
    assert News.CHANGED in {charged(measure, 3.0, price) for _ in range(2)}
    assert measure.usd.guess(START)[0] == pytest.approx(3.0, rel=0.2)


def test_what_no_list_knows_is_measured_by_the_token() -> None:
    """Of a model without a price, and of one that a subscription includes."""
    for price in (Price(), Price(input_usd=1e4, output_usd=1e4, included=Quota(requests=5))):
        measure = Measure()
        charged(measure, 2.0, price)
        charged(measure, 2.0, price)
        assert measure.usd.guess(START)[0] == pytest.approx(0.02)


# --------------------------------------------------------------------------- looks


def board(slow_s: float, *, of_late_s: float = 0.0) -> Board:
    """Two targets of which one is slow, or has become so just now; all requests went to the other."""
    made = Board(Random(0))
    for target, seconds in ((FAST, 0.5), (SLOW, slow_s)):
        made.experience.measure(target)
        for number in range(30):
            said(made, target, seconds, flight=f"{target.name}{number}")
    for number in range(4 if of_late_s else 0):
        said(made, SLOW, of_late_s, flight=f"late{number}")
    for _ in range(400):
        made.experience.scout("r").decided(Decided(START, "f", "r", "best", (FAST,)))
    return made


@pytest.mark.parametrize(("slow_s", "of_late_s", "price"), [(0.6, 0.0, 1.0), (3.0, 0.0, 1.5), (0.6, 6.0, 1.0)])
def test_a_look_at_one_who_was_always_slow_costs_more(slow_s: float, of_late_s: float, price: float) -> None:
    """It sends a second request for sure; one who has become slow may be back, one who is hardly slower is heard."""
    made = board(slow_s, of_late_s=of_late_s)
    made.experience.scout("r").purse = 2.0
    seen = View(STREAM, Route(name="r", targets=(FAST, SLOW)), made, START, Draw(1, Random(1)))
    choice = STRATEGIES["fastest"]([FAST, SLOW], seen)
    assert (choice.look, choice.price) == (SLOW, price)


def test_of_the_unseen_nobody_has_strayed() -> None:
    """Nor has who is as he always was, for a route or for all."""
    assert not Experience().strayed(SLOW, START)
    assert not Experience().strayed(SLOW, START, route="r")
    assert not board(3.0).experience.strayed(SLOW, START)
    assert not board(0.6, of_late_s=1.0).experience.strayed(SLOW, START), "a tenth is nothing"
    assert board(0.6, of_late_s=1.2).experience.strayed(SLOW, START), "nearly twice as slow is more than luck"
