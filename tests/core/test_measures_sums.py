"""What measurements of a target come to, to the digit: the sums of `core.measures` done by hand."""

from __future__ import annotations

from dataclasses import replace
from math import exp, log, sqrt

import pytest

from core.story import A
from core.world import START
from unbroken import records
from unbroken.core.measures import Expected, Lengths, Measure, burdens, reading
from unbroken.core.typical import News, Slope
from unbroken.facts import AttemptAnswered
from unbroken.price import Price
from unbroken.types import Usage

LISTED = replace(A, price=Price(input_usd=1e4, output_usd=1e4))
"""A cent for each token."""


def answered(measure: Measure, total_s: float = 1.0, *, first_s: float | None = None, tokens: float = 0.0,
             prompt_tokens: float = 0.0, usage: Usage | None = None, now: float = START) -> News:  # fmt: skip
    """A plain answer came, where nobody knows how long answers are; with `first_s` a stream."""
    stream = first_s is not None
    fact = AttemptAnswered(now, "f", 1, LISTED, first_s or total_s, total_s, stream, usage)
    return measure.answered(fact, prompt_tokens, tokens=tokens, lengths=Lengths())


def known(begin_s: float = 1.0, pace_s: float = 0.01) -> Measure:
    """A target whose first measurement of each sort was this."""
    measure = Measure()
    measure.heard(begin_s, 0.0, now=START)
    answered(measure, begin_s + 100.0 * pace_s, first_s=begin_s, tokens=100.0)
    return measure


# ------------------------------------------------------------------------- time


def test_reading_takes_as_long_again_for_every_four_thousand_tokens() -> None:
    """In times of an empty prompt, and in times of what is usual where that is known."""
    assert [reading(tokens) for tokens in (0.0, 2_000.0, 4_000.0)] == [1.0, 1.5, 2.0]
    assert reading(4_000.0, 3.0) == 4.0


def test_a_plain_answer_is_divided_as_was_expected() -> None:
    """Its beginning and its tokens were each as much slower; of what is hardly in it nothing is learned."""
    measure = known(1.0, 0.01)
    answered(measure, 5.0, tokens=300.0, prompt_tokens=4_000.0)  # two seconds and three were expected
    assert measure.time_s(4_000.0, tokens=300.0, now=START) == pytest.approx((2.0, 3.0))
    assert (measure.begins.count, measure.paces.count) == (2, 2)
    answered(measure, 10.0, tokens=9_900.0)  # a hundredth of it is the beginning
    assert (measure.begins.count, measure.paces.count) == (2, 3)
    answered(measure, 1.0, tokens=1.0)  # a hundredth of it are tokens
    assert (measure.begins.count, measure.paces.count) == (3, 3)


def test_the_first_plain_answer_is_divided_by_a_guess() -> None:
    """Its beginning takes as long as forty tokens, and as often that as its prompt is long."""
    measure = Measure()
    answered(measure, 6.0, tokens=160.0, prompt_tokens=4_000.0)
    assert measure.time_s(0.0, tokens=1.0, now=START) == pytest.approx((1.0, 0.025))


def test_a_beginning_that_was_long_for_its_prompt_moves_the_slope() -> None:
    """Streams tell how long reading takes, plain answers by as much as their beginning is of them."""
    for stream in (True, False):
        measure = Measure()
        for number in range(60):
            prompt_tokens = (0.0, 8_000.0)[number % 2]
            seconds = reading(prompt_tokens, 3.0)
            if stream:
                measure.heard(seconds, prompt_tokens, now=START + number)
            else:
                answered(measure, seconds, prompt_tokens=prompt_tokens, now=START + number)
        short_s, long_s = (measure.time_s(tokens, tokens=0.0, now=START + 60.0)[0] for tokens in (0.0, 8_000.0))
        assert long_s / short_s == pytest.approx(7.0, rel=0.1)
        assert measure.slope.value > 2.0


def test_a_slope_is_of_four_thousand_tokens() -> None:
    """A beginning is told to it with its prompt in that unit, of a plain answer with its share."""
    streams, plain, alone = Measure(), Measure(), (Slope(), Slope())
    for prompt_tokens in (400.0, 6_000.0):
        seconds = reading(prompt_tokens, 1.5)
        streams.heard(seconds, prompt_tokens, now=START)
        answered(plain, seconds, prompt_tokens=prompt_tokens)
        for measure, slope in zip((streams, plain), alone, strict=True):
            slope.add(prompt_tokens / 4_000.0, measure.begins)
            assert measure.slope.value == pytest.approx(slope.value)
    assert alone[0].value != 1.0


def test_a_pace_that_has_changed_is_news() -> None:
    """Though the beginning and success are as ever."""
    measure = Measure()
    for _ in range(50):
        assert answered(measure, 2.0, first_s=1.0, tokens=100.0) is News.NONE
    news = [answered(measure, 11.0, first_s=1.0, tokens=100.0) for _ in range(3)]
    assert News.CHANGED in news


def test_a_change_says_nothing_of_the_slope() -> None:
    """When everything has become slow at once, reading has not become slower than the rest."""
    for stream in (True, False):
        measure, news = Measure(), News.NONE
        for number in range(100):
            measure.heard(reading(8_000.0 * (number % 2)), 8_000.0 * (number % 2), now=START)
        while news is not News.CHANGED:
            before = measure.slope.value
            if stream:
                news = measure.heard(20.0 * reading(8_000.0), 8_000.0, now=START)
            else:
                news = answered(measure, 20.0 * reading(8_000.0), prompt_tokens=8_000.0)
        assert measure.slope.value == before


def test_what_is_hardly_beginning_says_nothing_of_the_slope() -> None:
    """An answer of thousands of tokens is not long because of its prompt."""
    measure = Measure()
    for number in range(40):
        answered(measure, 100.0, tokens=9_000.0, prompt_tokens=4_000.0 * (number % 2))
    assert measure.slope.value == 1.0


def test_time_is_looked_at_once_a_second() -> None:
    """Between measurements an estimate drifts, and is worked out anew after a second."""
    measure = known()
    for _ in range(3):
        measure.heard(5.0, 0.0, now=START + 1.0)
    at_first = measure.time_s(0.0, tokens=1.0, now=START + 2.0)
    assert measure.time_s(0.0, tokens=1.0, now=START + 2.999) == at_first
    later = measure.time_s(0.0, tokens=1.0, now=START + 3.0)
    assert later[0] == measure.begins.guess(START + 3.0)[0] < at_first[0]


@pytest.mark.parametrize("how", ["heard", "streamed", "plain", "outrun", "outrun, plain"])
def test_a_measurement_is_known_at_once(how: str) -> None:
    """Whatever moves an estimate is seen by whoever asks next."""
    measure = known()
    before = measure.time_s(0.0, tokens=100.0, now=START)
    if how == "heard":
        measure.heard(2.0, 0.0, now=START)
    elif how == "streamed":
        answered(measure, 4.0, first_s=1.0, tokens=100.0)
    elif how == "plain":
        answered(measure, 9.0, tokens=100.0)
    else:
        measure.outrun(12.0, 0.0, tokens=100.0, stream=how == "outrun", now=START)
    assert sum(measure.time_s(0.0, tokens=100.0, now=START)) > sum(before)


def test_whoever_is_outrun_is_late_for_the_length_of_the_prompt() -> None:
    """And of an answer three times as long as usual: eight seconds are no news where that takes as long; nine are."""
    for stream in (True, False):
        measure = known(1.0, 0.01)
        tokens = 0.0 if stream else 200.0
        before = measure.time_s(4_000.0, tokens=3.0 * tokens, now=START)
        assert sum(before) == pytest.approx(2.0 if stream else 8.0)
        for seconds in (1.0, sum(before) - 0.01):
            assert measure.outrun(seconds, 4_000.0, tokens=tokens, stream=stream, now=START) is News.NONE
        assert measure.time_s(4_000.0, tokens=3.0 * tokens, now=START) == before
        measure.outrun(1.2 * sum(before), 4_000.0, tokens=tokens, stream=stream, now=START)
        assert sum(measure.time_s(4_000.0, tokens=3.0 * tokens, now=START)) > sum(before)
        assert measure.seen == 4
    unseen = Measure()
    unseen.outrun(4.0, 0.0, tokens=200.0, stream=False, now=START)
    assert sum(unseen.time_s(0.0, tokens=200.0, now=START)) == pytest.approx(4.0), "it is taken to have been usual"


def test_doubt_is_that_of_what_a_caller_waits_for() -> None:
    """The parts' variances by their seconds squared; of a stream half of what follows its first word."""
    measure = known(1.0, 0.01)
    measure.heard(1.0, 0.0, now=START)
    begin_doubt, pace_doubt = measure.begins.guess(START)[1], measure.paces.guess(START)[1]
    assert begin_doubt != pytest.approx(pace_doubt)
    for stream, waited_s in ((False, 3.0), (True, 1.5)):
        first_s, rest_s, doubt = measure.sure_s(4_000.0, tokens=300.0, now=START, stream=stream)
        assert (first_s, rest_s) == pytest.approx((2.0, 3.0))
        assert doubt == pytest.approx(sqrt(4.0 * begin_doubt + waited_s**2 * pace_doubt) / (2.0 + waited_s))


def test_what_is_guessed_of_the_other_is_unsure() -> None:
    """By a factor of two: beginning and pace say only so much of each other."""
    begun, paced = Measure(), Measure()
    begun.heard(1.0, 0.0, now=START)
    answered(paced, 1.025, first_s=1.0, tokens=1.0)
    for measure, first_doubt, rest_doubt in ((begun, 0.12, 0.5), (paced, 0.5, 0.12)):
        _, rest_s, doubt = measure.sure_s(0.0, tokens=40.0, now=START, stream=False)
        assert rest_s == pytest.approx(1.0)
        assert doubt == pytest.approx(sqrt(first_doubt + rest_doubt) / 2.0)


# ------------------------------------------------------------------------- words, money, success


def test_a_target_is_as_wordy_as_can_be_no_chance() -> None:
    """What its excess, as a logarithm, is beyond four deviations of the mean of so many answers, to either side."""
    for spread in (2.0, 0.0):
        lengths = Lengths()
        for number in range(100):
            lengths.add(100.0 * exp(spread * (-1.0) ** number), 0.0)
        usual = log(lengths.usual(0.0))
        for times in (9.0, 1.0 / 9.0):
            measure, seen = Measure(), 0
            for tokens in (2_000.0 * times, 10.0 * times, 350.0 * times, 120.0 * times, *[100.0 * times] * 400):
                answer = AttemptAnswered(START, "f", 1, LISTED, 0.5, 1.0, True, None)
                measure.answered(answer, 0.0, tokens=tokens, lengths=lengths)
                seen += 1
                own = measure.words
                chance = 4.0 * sqrt(max(own.variance, lengths.all.variance) / min(seen, 200))
                excess = max(0.0, abs(own.value) - chance)
                assert log(measure.wordiness) == pytest.approx(excess if own.value > 0.0 else -excess)
            assert measure.words.count == seen
            assert measure.words.value == pytest.approx(log(100.0 * times) - usual, abs=0.1)
            assert excess > 0.5


def test_who_is_wordy_is_not_known_from_the_first_answers() -> None:
    """The short ones come first, and everybody seems to write more and more: a hundred have to be there."""
    lengths, measure = Lengths(), Measure()
    answer = AttemptAnswered(START, "f", 1, LISTED, 0.5, 1.0, True, None)
    for number in range(101):
        measure.answered(answer, 0.0, tokens=50.0, lengths=lengths)
        assert measure.words.count == max(0, number - 99)
        lengths.add(20.0, 0.0)


def test_a_charge_as_listed_is_not_remembered() -> None:
    """Within a thousandth it is the list's; the first that differs is seen against those before it."""
    tokens = Usage(input_tokens=30, output_tokens=10)  # forty cents by the list
    measure = Measure()
    for times in (1.0, 1.0009, 0.9991):
        assert answered(measure, usage=records.replace(tokens, cost_usd=0.4 * times)) is News.NONE
    assert measure.usd.count == 0
    answered(measure, usage=records.replace(tokens, cost_usd=0.44))
    assert measure.usd.count == 2
    assert 1.0 < measure.usd.guess(START)[0] < 1.1
    answered(measure, usage=records.replace(tokens, cost_usd=0.4))
    assert measure.usd.count == 3, "from then on every charge counts"
    second = Measure()
    for cost_usd in (0.4, 0.44):
        answered(second, usage=records.replace(tokens, cost_usd=cost_usd))
    assert second.usd.count == 2, "one as listed is enough for that"
    first = Measure()
    answered(first, usage=records.replace(tokens, cost_usd=0.44))
    assert first.usd.count == 1
    assert first.usd.guess(START)[0] == pytest.approx(1.1)
    lower = Measure()
    answered(lower, usage=records.replace(tokens, cost_usd=0.3))
    assert lower.usd.guess(START)[0] == pytest.approx(0.75)


def test_a_charge_without_a_list_is_by_the_token() -> None:
    """Whatever was read and written; an answer without any counts as one."""
    for usage, each in (
        (Usage(input_tokens=30, output_tokens=10, cost_usd=0.4), 0.01),
        (Usage(cost_usd=0.4), 0.4),
    ):
        measure = Measure()
        fact = AttemptAnswered(START, "f", 1, A, 1.0, 1.0, False, usage)
        measure.answered(fact, 0.0, tokens=0.0, lengths=Lengths())
        assert measure.usd.guess(START)[0] == pytest.approx(each)


def test_a_jump_of_the_price_is_news() -> None:
    """Twice the price, twice in a row, is a change."""
    measure, tokens = Measure(), Usage(input_tokens=30, output_tokens=10)
    for _ in range(20):
        answered(measure, usage=records.replace(tokens, cost_usd=0.5))
    news = [answered(measure, usage=records.replace(tokens, cost_usd=1.0)) for _ in range(3)]
    assert News.CHANGED in news


def test_success_is_a_share_that_fades() -> None:
    """By a fiftieth with each request, or by time where more of that has passed; two good ones are granted."""
    measure, good, bad, at = Measure(), 0.0, 0.0, START
    for well, wait_s in ((True, 0.0), (False, 0.5), (True, 0.5), (True, 5.0), (False, 90.0), (True, 1.0)):
        at += wait_s
        if well:
            answered(measure, now=at)
        else:
            measure.failed(at)
        kept = min(0.98, exp(-wait_s / 60.0))
        good, bad = kept * good + well, kept * bad + (not well)
        assert (measure.good, measure.bad) == pytest.approx((good, bad))
        for later_s in (0.0, 30.0):
            left = exp(-later_s / 60.0)
            assert measure.success(at + later_s) == pytest.approx((left * good + 2.0) / (left * (good + bad) + 2.0))
    assert measure.seen == 6


def test_failures_are_forgotten_when_the_answers_since_would_be_a_wonder() -> None:
    """One in e squared: the logarithms of what success was thought to be, since the last failure, add up to two."""
    measure = Measure()
    for _ in range(4):
        measure.failed(START)
    proof, news = 0.0, []
    while News.CHANGED not in news:
        proof -= log(measure.success(START))
        news.append(answered(measure))
        assert (news[-1] is News.CHANGED) == (proof > 2.0)
    assert len(news) > 2
    assert (measure.bad, measure.success(START)) == (0.0, 1.0)
    measure.failed(START)
    assert answered(measure) is News.BETTER, "and it begins anew"


def test_lengths_go_by_the_class_of_the_prompt() -> None:
    """By their logarithms, two classes for each doubling; ten answers in a class say as much as all others."""
    edges = [64.0 * (2.0 ** (number / 2.0) - 1.0) for number in range(25)]
    for lower, upper, next_one in zip(edges, edges[1:], edges[2:], strict=False):
        lengths = Lengths()
        for _ in range(10):
            lengths.add(100.0, lower + 0.01)
            lengths.add(300.0, upper + 0.01)
        middle = sqrt(100.0 * 300.0)
        assert exp(lengths.all.value) == pytest.approx(middle)
        for prompt_tokens, own in ((lower + 0.01, 100.0), (upper - 0.01, 100.0), (upper + 0.01, 300.0)):
            assert lengths.usual(prompt_tokens) == pytest.approx(sqrt(middle * own))
        if next_one < edges[-1]:
            assert lengths.usual(next_one + 0.01) == pytest.approx(middle)
    lengths.add(5_000.0, 1e6)
    assert lengths.usual(1e12) == lengths.usual(1e6)
    assert Lengths().usual(5.0) == 300.0


# ------------------------------------------------------------------------- what it comes to


def expected(*, usd: float | None = 1.0, seconds: float = 1.0, success: float = 1.0, seen: int = 1) -> Expected:
    return Expected(seconds, seconds, success, usd, seen, 0, stream=False, doubt=0.0)


def test_the_cheapest_are_a_hundred_times_better_at_most() -> None:
    """What costs less than a hundredth of the dearest counts as that; where all are free nobody is better."""
    loads = burdens([expected(usd=usd) for usd in (5.0, 0.06, 0.05, 0.01, 0.0, None)], {"cost": 1.0})
    floor = log(0.05)
    known_loads = [log(5.0), log(0.06), floor, floor, floor]
    assert loads == pytest.approx([*known_loads, sum(known_loads) / 5.0])
    assert burdens([expected(usd=0.5), expected(usd=0.0)], {"cost": 1.0}) == pytest.approx([log(0.5), log(0.005)])
    assert burdens([expected(usd=0.0), expected(usd=None)], {"cost": 1.0}) == pytest.approx([log(0.01)] * 2)


def test_one_who_never_answers_is_infinitely_far_from_nobody() -> None:
    """Reliability counts twice, and nothing where all goes well."""
    loads = burdens([expected(success=0.5), expected()], {"reliability": 0.5})
    assert loads == pytest.approx([log(2.0), 0.0])
