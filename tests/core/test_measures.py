from __future__ import annotations

from math import exp, inf, log

import pytest

from core.story import A
from core.world import START
from unbroken.core import measures
from unbroken.core.measures import Expected, Lengths, Measure, burdens, estimate_usd, reading
from unbroken.core.typical import News
from unbroken.facts import AttemptAnswered
from unbroken.price import Price, Quota, Variant
from unbroken.records import replace
from unbroken.types import Request, Target, Usage


def answer(first_s: float, total_s: float, *, stream: bool = True, usage: Usage | None = None) -> AttemptAnswered:
    return AttemptAnswered(START, "f", 1, A, first_s, total_s, stream, usage)


def usual_lengths() -> Lengths:
    """Answers have a hundred tokens."""
    lengths = Lengths()
    for _ in range(measures.COMPARED):
        lengths.add(100.0, 0.0)
    return lengths


LENGTHS = usual_lengths()


def told(measure: Measure, fact: AttemptAnswered, *, tokens: float = 0.0, prompt_tokens: float = 0.0) -> News:
    """A measure hears of an answer; answers usually have a hundred tokens."""
    return measure.answered(fact, prompt_tokens, tokens=tokens, lengths=LENGTHS)


# ------------------------------------------------------------------------- a target


def test_a_long_prompt_takes_longer_to_read() -> None:
    """What was seen of one length says what to expect of another."""
    measure = Measure()
    assert measure.time_s(0, tokens=9, now=START) == (0.0, 0.0)
    measure.heard(0.5, 0, now=START)
    assert [measure.time_s(tokens, tokens=0, now=START)[0] for tokens in (0, 4_000, 36_000)] == [
        pytest.approx(0.5), pytest.approx(1.0), pytest.approx(5.0),
    ]  # fmt: skip
    other = Measure()
    other.heard(5.0, 36_000, now=START)
    assert other.time_s(0, tokens=0, now=START)[0] == pytest.approx(0.5)
    assert reading(0.0) == 1.0


def test_streams_are_measured_by_their_beginning_and_their_pace() -> None:
    """Ten tokens in a second after the first are a tenth of a second for each."""
    measure = Measure()
    measure.heard(0.5, 0, now=START)
    told(measure, answer(0.5, 1.5), tokens=10)
    assert measure.time_s(0, tokens=20, now=START) == pytest.approx((0.5, 2.0))


def test_of_beginning_and_pace_one_says_something_of_the_other() -> None:
    """Until both were seen: a beginning takes as long as forty tokens."""
    begun, paced = Measure(), Measure()
    begun.heard(0.4, 0, now=START)
    assert begun.time_s(0, tokens=100, now=START) == pytest.approx((0.4, 1.0))
    told(paced, answer(0.5, 1.5), tokens=100)
    assert paced.time_s(0, tokens=100, now=START) == pytest.approx((0.4, 1.0))


def test_plain_answers_say_as_much_as_streams() -> None:
    """A long one honestly takes longer; how its time was divided is guessed, or known from streams."""
    measure = Measure()
    told(measure, answer(2.0, 2.0, stream=False), tokens=120, prompt_tokens=4_000)
    assert sum(measure.time_s(4_000, tokens=120, now=START)) == pytest.approx(2.0)
    assert sum(measure.time_s(0, tokens=360, now=START)) == pytest.approx(4.0)
    streamed = Measure()
    for _ in range(50):
        streamed.heard(1.0, 0, now=START)
        told(streamed, answer(1.0, 2.0), tokens=100)
    before = streamed.begins.count, streamed.paces.count
    told(streamed, answer(8.0, 8.0, stream=False), tokens=100)
    told(streamed, answer(8.0, 8.0, stream=False), tokens=100)
    told(streamed, answer(8.0, 8.0, stream=False), tokens=100)
    first_s, rest_s = streamed.time_s(0, tokens=100, now=START)
    assert first_s == pytest.approx(rest_s, rel=0.01)
    assert first_s > 2.0
    assert (streamed.begins.count, streamed.paces.count) == (before[0] + 3, before[1] + 3)


def test_what_has_no_tokens_is_all_beginning() -> None:
    """Vectors and pictures: nothing is written."""
    measure = Measure()
    told(measure, answer(4.0, 4.0, stream=False))
    assert measure.time_s(0, tokens=0.0, now=START) == pytest.approx((4.0, 0.0))
    assert not measure.paces.count


def test_an_answer_without_usage_is_measured_all_the_same() -> None:
    """Not every provider counts tokens, and some answers have none."""
    measure = Measure()
    told(measure, answer(0.5, 1.5))
    told(measure, answer(0.5, 0.5), tokens=3)
    assert (measure.seen, measure.words.count, measure.paces.count) == (2, 1, 0)
    assert measure.good == pytest.approx(1.98)


def test_doubt_is_of_the_parts_that_matter() -> None:
    """What is measured often is sure, and an uncertain pace matters little for a short answer."""
    measure = Measure()
    for number in range(50):
        measure.heard(1.0, 0, now=START + number)
    told(measure, answer(0.5, 1.5), tokens=10)
    now = START + 50
    short, long = (measure.sure_s(0, tokens=tokens, now=now, stream=False)[2] for tokens in (1, 100))
    assert 0.0 < short < 0.1 < long < 0.4
    assert measure.sure_s(0, tokens=100, now=now, stream=True)[2] < long
    assert Measure().sure_s(0, tokens=100, now=now, stream=True) == (0.0, 0.0, 0.0)


def test_success_is_believed_until_the_first_failure() -> None:
    """Two answers are taken for granted: one failure of one is no rate of 100 %."""
    measure = Measure()
    assert measure.success(START) == 1.0
    told(measure, answer(1.0, 1.0))
    assert measure.success(START) == 1.0
    fresh = Measure()
    fresh.failed(START)
    assert fresh.success(START) == pytest.approx(2 / 3)


def test_failures_fade_with_time_and_with_requests() -> None:
    """Two thirds in a minute, a fiftieth with each request."""
    measure = Measure()
    measure.failed(START)
    assert measure.success(START + 60.0) == pytest.approx(2 / (2 + exp(-1)))
    told(measure, answer(1.0, 1.0))
    assert measure.bad == pytest.approx(0.98)


def test_the_first_failure_in_ten_is_news() -> None:
    """And those after it are not."""
    measure = Measure()
    for _ in range(30):
        told(measure, answer(1.0, 1.0))
    news = [measure.failed(START) for _ in range(5)]
    assert news.count(News.CHANGED) == 1


def test_whoever_answers_again_is_soon_forgiven() -> None:
    """After failures as a rule an answer is a good sign, and a few of them a change; one failure begins it anew."""
    measure = Measure()
    for _ in range(20):
        measure.failed(START)
    assert told(measure, answer(1.0, 1.0)) is News.CHANGED
    assert measure.success(START) == 1.0
    for _ in range(3):
        measure.failed(START)
    assert told(measure, answer(1.0, 1.0)) is News.BETTER
    measure.failed(START)
    news = [told(measure, answer(1.0, 1.0)) for _ in range(4)]
    assert news == [News.BETTER, News.BETTER, News.BETTER, News.CHANGED]


def test_who_fails_now_and_then_is_not_forgiven_for_a_few_answers() -> None:
    """Of one that fails every fifth time four good answers are no wonder."""
    measure = Measure()
    for number in range(200):
        if number % 5:
            assert told(measure, answer(1.0, 1.0)) is not News.CHANGED
        else:
            measure.failed(START)
    assert measure.success(START) == pytest.approx(0.8, abs=0.03)


def test_being_outrun_says_how_slow_at_least() -> None:
    """An answer that never came is a measurement too, of streams and of plain answers, where it was late."""
    measure = Measure()
    measure.outrun(3.0, 0, tokens=100, stream=True, now=START)
    assert measure.seen == 1
    assert measure.time_s(0, tokens=0, now=START)[0] == pytest.approx(3.0)
    plain = Measure()
    plain.outrun(3.0, 0, tokens=100, stream=False, now=START)
    assert sum(plain.time_s(0, tokens=100, now=START)) == pytest.approx(3.0)
    assert plain.outrun(1.0, 0, tokens=100, stream=False, now=START) is News.NONE
    assert sum(plain.time_s(0, tokens=100, now=START)) == pytest.approx(3.0)


def test_the_length_of_an_answer_is_guessed_from_those_before() -> None:
    """From anybody's, from its own where they are surely others, never beyond what was asked for."""
    measure, request = Measure(), Request(model="m")
    assert measure.output_tokens(request) == measures.UNSEEN_TOKENS
    assert measure.output_tokens(request, usual=80.0) == 80.0
    assert measure.output_tokens(Request(model="m", max_tokens=10), usual=80.0) == 10
    for number in range(500):
        told(measure, answer(0.5, 1.5), tokens=100 if number % 2 else 400)
        if number == 9:
            assert measure.output_tokens(request, usual=100.0) == 100.0, "ten may be chance"
    assert measure.output_tokens(request, usual=100.0) == pytest.approx(200.0, rel=0.2)
    for _ in range(2_000):
        told(measure, answer(0.5, 1.5), tokens=25)
    assert measure.output_tokens(request, usual=100.0) == pytest.approx(25.0, rel=0.05)


def test_lengths_are_of_prompts_of_the_same_length() -> None:
    """Once enough of them were seen; until then those of all."""
    lengths = Lengths()
    assert lengths.usual(500) == measures.UNSEEN_TOKENS
    for _ in range(100):
        lengths.add(50.0, 100)
        lengths.add(150.0, 3_000)
    assert lengths.usual(100_000) == pytest.approx((50.0 * 150.0) ** 0.5, rel=0.05)
    assert lengths.usual(90) == pytest.approx(50.0, rel=0.15)
    assert lengths.usual(2_950) == pytest.approx(150.0, rel=0.06)
    lengths.add(1_000.0, 10**9)
    assert 90.0 < lengths.usual(10**9) < 120.0


def test_what_a_provider_charges_is_remembered() -> None:
    """In times of the list price, else in dollars for each token, where it says so."""
    measure = Measure()
    told(measure, answer(0.5, 1.5, usage=Usage(input_tokens=30, output_tokens=10, cost_usd=0.4)))
    assert measure.usd.guess(START)[0] == pytest.approx(0.01)
    listed = Target(name="l", provider="l", model="l", price=Price(input_usd=1e4, output_usd=1e4))
    other, usage = Measure(), Usage(input_tokens=30, output_tokens=10, cost_usd=0.8)
    told(other, replace(answer(0.5, 1.5, usage=usage), target=listed))
    assert other.usd.guess(START)[0] == pytest.approx(2.0)


# ------------------------------------------------------------------------- a request


def expected(seconds: float = 1.0, usd: float | None = 1.0, *, success: float = 1.0, seen: int = 5) -> Expected:
    return Expected(seconds, seconds, success, usd, seen, 0, stream=False, doubt=0.0)


def test_a_stream_is_waited_for_twice() -> None:
    """For its first word, and for its end."""
    assert Expected(1.0, 5.0, 1.0, None, 1, 0, stream=True, doubt=0.0).seconds == 3.0
    assert Expected(1.0, 5.0, 1.0, None, 1, 0, stream=False, doubt=0.0).seconds == 5.0


def test_costs_are_estimated_from_the_list() -> None:
    """A prompt of 4,000 characters has a thousand tokens; without a price nothing is said."""
    request = Request(model="m", prompt_chars=4_000)
    assert estimate_usd(Price(input_usd=1_000.0, output_usd=2_000.0), request, tokens=500) == pytest.approx(
        2.0, rel=1e-9
    )
    assert estimate_usd(Price(), request, tokens=500) is None
    assert estimate_usd(Price(input_usd=1_000.0), request, tokens=500) == pytest.approx(1.0)
    each = Price(input_usd=0.0, output_usd=0.0, request_usd=0.25, image_usd=0.5)
    assert estimate_usd(each, Request(model="m", choices=3), tokens=0) == 1.75
    longer = Price(input_usd=1e3, output_usd=0.0, variants=(Variant(above_tokens=500, input_usd=2e3),))
    assert estimate_usd(longer, request, tokens=500) == pytest.approx(2.0)
    included = Price(input_usd=1e3, output_usd=0.0, included=Quota(requests=5))
    assert estimate_usd(included, request, tokens=500) == 0.0
    assert estimate_usd(Price(input_usd=0.0), request, tokens=500) == 0.0
    assert estimate_usd(Price(image_usd=0.5), Request(model="m", choices=3), tokens=0) == 1.5


def test_a_burden_is_a_product_of_powers() -> None:
    """Twice the time is as bad as twice the money, and failing every second time as four times either."""
    weights = {"speed": 1.0, "cost": 1.0, "reliability": 1.0}
    one, slow, dear, poor = burdens(
        [expected(), expected(2.0), expected(1.0, 2.0), expected(success=0.5)], weights
    )  # fmt: skip
    assert slow - one == pytest.approx(log(2))
    assert dear - one == pytest.approx(log(2))
    assert poor - one == pytest.approx(log(4))


@pytest.mark.parametrize(("quality", "worth"), [("speed", 0.5), ("cost", 0.25), ("reliability", 0.1)])
def test_a_weight_is_an_exponent(quality: str, worth: float) -> None:
    """What counts half is the square root."""
    both = [expected(), {"speed": expected(2.0), "cost": expected(1.0, 2.0)}.get(quality, expected(success=0.5))]
    one, other = burdens(both, {quality: worth})
    assert other - one == pytest.approx(worth * log(4 if quality == "reliability" else 2))
    assert burdens(both, {}) == [0.0, 0.0]


def test_what_is_unknown_counts_as_the_average() -> None:
    """Nobody is praised or blamed for what nobody knows."""
    found = burdens([expected(1.0), expected(4.0), expected(0.0, seen=0)], {"speed": 1.0})
    assert found[2] == pytest.approx((found[0] + found[1]) / 2)
    found = burdens([expected(usd=1.0), expected(usd=4.0), expected(usd=None)], {"cost": 1.0})
    assert found[2] == pytest.approx((found[0] + found[1]) / 2)
    assert burdens([expected(usd=None)], {"cost": 1.0}) == burdens([expected(seen=0)], {"speed": 1.0}) == [0.0]
    assert burdens([], {"cost": 1.0, "speed": 1.0}) == []


def test_what_is_free_is_a_hundred_times_better_and_no_more() -> None:
    """In logarithms nothing would be infinitely better than anything."""
    free, dear = burdens([expected(usd=0.0), expected(usd=7.0)], {"cost": 1.0})
    assert dear - free == pytest.approx(log(100))
    assert all(abs(load) < inf for load in burdens([expected(usd=0.0)] * 2, {"cost": 1.0}))
