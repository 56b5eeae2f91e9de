from __future__ import annotations

from math import exp, inf, log
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.story import A
from core.world import START
from unbroken.core import measures
from unbroken.core.measures import Expected, Measure, News, Typical, burdens, estimate_usd, size_of
from unbroken.facts import AttemptAnswered
from unbroken.price import Price, Quota, Variant
from unbroken.types import Request, Usage


def typical(*seen: float, every_s: float = 0.0) -> Typical:
    """One quantity, measured like this from `START` on."""
    made = Typical()
    for number, value in enumerate(seen):
        made.add(value, START + number * every_s)
    return made


def answer(first_s: float, total_s: float, *, stream: bool = True, usage: Usage | None = None) -> AttemptAnswered:
    return AttemptAnswered(START, "f", 1, A, first_s, total_s, stream, usage)


# ------------------------------------------------------------------------ one quantity


def test_the_first_measurement_is_believed() -> None:
    """Nothing else is known yet."""
    made = typical(0.5)
    assert (made.value, made.usual, made.count, made.at) == (0.5, 0.5, 1, START)


def test_it_rises_faster_than_it_falls() -> None:
    """What is worse than expected weighs twice what is better."""
    risen, fallen = typical(*[1.0] * 100, 1.5), typical(*[1.0] * 100, 0.6)
    assert risen.value == pytest.approx(1.0 + 2 * measures.FALL * 0.5)
    assert fallen.value == pytest.approx(1.0 - measures.FALL * 0.4)


def test_the_first_few_are_averaged() -> None:
    """A second measurement has half the weight, whichever side it is on."""
    assert typical(1.0, 0.8).value == pytest.approx(0.9)
    assert typical(1.0, 1.2).value == pytest.approx(1.1)
    assert typical(1.0, 1.0, 1.0, 0.8).value == pytest.approx(0.95)


@pytest.mark.parametrize(("every_s", "weight"), [(0.0, 0.03), (2.0, 1 - exp(-0.2)), (100.0, 0.5)])
def test_after_a_silence_a_measurement_weighs_more(every_s: float, weight: float) -> None:
    """With one request a minute the last thirty would be half an hour."""
    made = typical(*[1.0] * 100)
    made.add(0.6, START + every_s)
    assert made.value == pytest.approx(1.0 - weight * 0.4)


def test_two_surprises_in_a_row_are_a_change() -> None:
    """One may be an accident; the second is believed at once."""
    made = typical(*[1.0] * 50)
    assert made.add(8.0, START) is News.NONE
    assert made.value < 1.5
    assert made.add(8.0, START) is News.CHANGED
    assert made.value > 6.0
    assert made.usual < 1.1, "a bad minute is no new normal"


def test_surprises_to_both_sides_are_no_change() -> None:
    """That is only a restless provider."""
    made = typical(*[1.0] * 50)
    assert [made.add(seen, START) for seen in (8.0, 0.1, 8.0, 0.1)] == [
        News.NONE, News.BETTER, News.NONE, News.BETTER,
    ]  # fmt: skip


def test_an_ordinary_measurement_ends_a_series_of_surprises() -> None:
    """Two in a row are two in a row."""
    made = typical(*[1.0] * 50)
    assert {made.add(seen, START) for seen in (8.0, 1.3, 8.0, 1.3)} == {News.NONE}


def test_a_change_for_the_better_is_the_new_normal() -> None:
    """Whoever has become fast is usually fast from now on."""
    made = typical(*[5.0] * 50)
    assert made.add(0.5, START) is News.BETTER
    assert made.add(0.5, START) is News.CHANGED
    assert made.usual == made.value < 2.0


def test_what_usually_varies_surprises_less() -> None:
    """Three times the usual deviation must pass, where that is more than twice or half."""
    draw = Random(1)
    wild = typical(*[draw.lognormvariate(0.0, 0.8) for _ in range(400)])
    assert wild.spread == pytest.approx(0.64, abs=0.15)
    assert {wild.add(wild.value * times, START) for times in (2.5, 2.5, 2.5)} == {News.NONE}
    calm = typical(*[1.0] * 400)
    assert [calm.add(seen, START) for seen in (2.5, 3.5)] == [News.NONE, News.CHANGED]


@pytest.mark.parametrize(("seen", "surprising"), [(1.99, False), (2.01, True), (0.51, False), (0.49, True)])
def test_twice_or_half_is_surprising(seen: float, surprising: bool) -> None:
    """The bounds, where nothing ever varied."""
    made = typical(*[1.0] * 50)
    made.add(seen, START)
    assert bool(made.streak) is surprising


def test_what_is_not_measured_drifts_back_to_what_is_usual() -> None:
    """Two thirds of the way in two minutes; what is trusted less, further."""
    made = typical(1.0)
    made.value = 9.0
    assert made.believed(START) == 9.0
    assert made.believed(START + measures.REVERT_S) == pytest.approx(1.0 + 8.0 / exp(1))
    assert made.believed(START, trust=0.25) == 3.0
    assert made.believed(START + 1e6) == pytest.approx(1.0)


def test_what_is_usual_moves_slowly() -> None:
    """By a two-hundredth, and no single measurement counts for more than twice of it."""
    made = typical(*[1.0] * 300)
    made.add(100.0, START)
    assert made.usual == pytest.approx(1.005)


def test_at_least_raises_and_never_lowers() -> None:
    """Who was hung up on after so long is slower than that; who is known to be slow stays it."""
    made = typical(*[1.0] * 50)
    assert made.at_least(0.2, START) is News.NONE
    assert made.value == 1.0
    made.at_least(1.5, START)
    assert made.value > 1.0
    fresh = Typical()
    fresh.at_least(2.0, START)
    assert fresh.value == 2.0


@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=60), st.floats(0.0, 1e6))
def test_an_estimate_lies_among_what_was_seen(seen: list[float], later_s: float) -> None:
    """Nothing is extrapolated, whatever comes."""
    made = typical(*seen)
    least, most = max(min(seen), 1e-6), max(*seen, 1e-6)
    slack = 1.0 + 1e-9
    for value in (made.value, made.usual, made.believed(START + later_s), made.believed(START, trust=0.5)):
        assert least / slack <= value <= most * slack


# ------------------------------------------------------------------------- a target


@pytest.mark.parametrize(
    ("chars", "size"), [(0, 0), (3_999, 0), (4_000, 1), (31_999, 1), (32_000, 2), (10**9, 2)]
)  # fmt: skip
def test_prompts_are_of_three_sizes(chars: int, size: int) -> None:
    """Under a thousand tokens, under eight, and more."""
    assert size_of(chars) == size


def test_sizes_are_measured_apart_and_stand_in_for_each_other() -> None:
    """A long prompt takes longer to read; until one was seen, the others say what is known."""
    measure = Measure()
    assert measure.first_s(0, now=START) == 0.0
    measure.heard(0.5, 0, now=START)
    assert [measure.first_s(size, now=START) for size in range(3)] == [0.5, 0.5, 0.5]
    measure.heard(3.0, 2, now=START)
    assert [measure.first_s(size, now=START) for size in range(3)] == [0.5, 0.5, 3.0]
    measure.heard(1.0, 1, now=START)
    assert [measure.first_s(size, now=START) for size in range(3)] == [0.5, 1.0, 3.0]
    only_long = Measure()
    only_long.heard(3.0, 2, now=START)
    assert only_long.first_s(0, now=START) == 3.0


def test_streams_are_measured_by_their_beginning_and_their_pace() -> None:
    """Ten tokens in a second after the first are a tenth of a second for each."""
    measure = Measure()
    measure.heard(0.5, 0, now=START)
    measure.answered(answer(0.5, 1.5, usage=Usage(output_tokens=10)), 0)
    assert measure.rest_s(20, now=START) == pytest.approx(2.0)
    assert measure.plain_s(0, tokens=20, now=START) == pytest.approx(2.5)
    assert Measure().rest_s(20, now=START) == 0.0
    assert Measure().plain_s(0, tokens=20, now=START) == 0.0


def test_plain_answers_are_measured_whole() -> None:
    """Where one was seen, streams are not asked; for streams it stands in."""
    measure = Measure()
    measure.answered(answer(4.0, 4.0, stream=False, usage=Usage(output_tokens=10)), 0)
    assert measure.plain_s(0, tokens=99, now=START) == 4.0
    assert measure.first_s(0, now=START) == 4.0
    assert not measure.paces.count


def test_an_answer_without_usage_is_measured_all_the_same() -> None:
    """Not every provider counts tokens, and some answers have none."""
    measure = Measure()
    measure.answered(answer(0.5, 1.5), 0)
    measure.answered(answer(0.5, 1.5, usage=Usage(input_tokens=3)), 0)
    measure.answered(answer(0.5, 0.5, usage=Usage(output_tokens=3)), 0)
    found = (measure.seen, round(measure.good, 2), measure.tokens.count, measure.paces.count)
    assert found == (
        3,
        2.94,
        1,
        0,
    )


def test_success_is_believed_until_the_first_failure() -> None:
    """Two answers are taken for granted: one failure of one is no rate of 100 %."""
    measure = Measure()
    assert measure.success(START) == 1.0
    measure.answered(answer(1.0, 1.0), 0)
    assert measure.success(START) == 1.0
    fresh = Measure()
    fresh.failed(START)
    assert fresh.success(START) == pytest.approx(2 / 3)


def test_failures_fade_with_time_and_with_requests() -> None:
    """Two thirds in a minute, a fiftieth with each request."""
    measure = Measure()
    measure.failed(START)
    assert measure.success(START + 60.0) == pytest.approx(2 / (2 + exp(-1)))
    assert measure.success(START, trust=0.5) == pytest.approx(0.8)
    for _ in range(50):
        measure.answered(answer(1.0, 1.0), 0)
    assert measure.bad == pytest.approx(0.98**50)
    assert measure.success(START) > 0.98


def test_the_first_failure_in_ten_is_news() -> None:
    """And those after it are not."""
    measure = Measure()
    for _ in range(30):
        measure.answered(answer(1.0, 1.0), 0)
    news = [measure.failed(START) for _ in range(5)]
    assert news.count(News.CHANGED) == 1


def test_whoever_answers_again_is_soon_forgiven() -> None:
    """After failures as a rule the first answer is a good sign, the second a change."""
    measure = Measure()
    for _ in range(20):
        measure.failed(START)
    before = measure.bad
    assert measure.answered(answer(1.0, 1.0), 0) is News.BETTER
    assert measure.answered(answer(1.0, 1.0), 0) is News.CHANGED
    assert measure.bad == pytest.approx(0.25 * 0.98**2 * before)
    measure.failed(START)
    assert measure.answered(answer(1.0, 1.0), 0) is not News.CHANGED, "a failure in between begins it anew"


def test_being_outrun_says_how_slow_at_least() -> None:
    """An answer that never came is a measurement too, of streams and of plain answers."""
    measure = Measure()
    measure.outrun(3.0, 0, stream=True, now=START)
    assert (measure.first_s(0, now=START), measure.seen, measure.seen_at) == (3.0, 1, START)
    plain = Measure()
    plain.outrun(3.0, 0, stream=False, now=START)
    assert plain.plain_s(0, tokens=1, now=START) == 3.0


def test_the_length_of_an_answer_is_guessed_from_those_before() -> None:
    """First from anybody's, then from its own, never beyond what was asked for."""
    measure, request = Measure(), Request(model="m")
    assert measure.output_tokens(request) == measures.UNSEEN_TOKENS
    assert measure.output_tokens(request, usual=80.0) == 80.0
    assert measure.output_tokens(Request(model="m", max_tokens=10), usual=80.0) == 10
    for _ in range(50):
        measure.tokens.add(180.0, START)
    assert measure.output_tokens(request, usual=80.0) == pytest.approx(130.0)


def test_what_a_provider_charges_is_remembered() -> None:
    """In dollars for each token, where it says so."""
    measure = Measure()
    measure.answered(answer(0.5, 1.5, usage=Usage(input_tokens=30, output_tokens=10, cost_usd=0.4)), 0)
    assert measure.usd.value == pytest.approx(0.01)
    measure.answered(answer(0.5, 1.5, usage=Usage(cost_usd=0.4)), 0)
    assert measure.usd.count == 2


# ------------------------------------------------------------------------- a request


def expected(seconds: float = 1.0, usd: float | None = 1.0, *, success: float = 1.0, seen: int = 5) -> Expected:
    return Expected(seconds, seconds, success, usd, seen, 0)


def test_a_stream_is_waited_for_twice() -> None:
    """For its first word, and for its end."""
    assert Expected(1.0, 5.0, 1.0, None, 1, 0, stream=True).seconds == 3.0
    assert Expected(1.0, 5.0, 1.0, None, 1, 0, stream=False).seconds == 5.0


def test_costs_are_estimated_from_the_list() -> None:
    """A prompt of 4,000 characters has a thousand tokens; without a price nothing is said."""
    request = Request(model="m", prompt_chars=4_000)
    assert estimate_usd(Price(input_usd=1_000.0, output_usd=2_000.0), request, tokens=500) == pytest.approx(2.0)
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
