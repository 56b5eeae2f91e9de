from __future__ import annotations

from random import Random

import pytest

from core.story import A, said, started
from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.experience import Kept
from unbroken.core.learned import Scout
from unbroken.core.measures import UNSEEN_TOKENS, Expected
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted, Decided, FirstContent
from unbroken.failures import Failure, FailureKind
from unbroken.price import Price
from unbroken.types import Request, Target, Task, Usage, Why

STREAM = Request(model="m", stream=True, prompt_chars=400)
PLAIN = Request(model="m", prompt_chars=400)
OTHER_KEY = target_named("p/m#2")


def board(*watched: Target) -> Board:
    """A board that was asked for these (and for `A`) before."""
    made = Board(Random(0))
    for target in (A, *watched):
        made.experience.measure(target)
    return made


def expected(
    on: Board, target: Target, request: Request, *, now: float, route: str = "", priced: bool = True
) -> Expected:
    """What is to be expected of this one."""
    (found,) = on.expect_each([target], request, now=now, route=route, priced=priced)
    return found


def fails(on: Board, kind: FailureKind, *, target: Target = A, route: str = "r") -> None:
    started(on, target, flight="bad", route=route)
    on.fold(AttemptFailed(START, "bad", 1, target, Failure(kind=kind, message=""), 0.1))


def test_nobody_is_measured_whom_nobody_asks_for() -> None:
    """Routes without such a strategy do not pay for it; how busy a target is is always known."""
    on = Board(Random(0))
    said(on, A, 0.5, usage=Usage(output_tokens=40))
    started(on, A, flight="x")
    assert on.experience.lengths.all.count == 0
    assert expected(on, A, STREAM, now=START).seen == 0
    assert on.experience.busy(A) == 1
    said(on, A, 0.5, usage=Usage(output_tokens=40))
    assert expected(on, A, STREAM, now=START).seen == on.experience.lengths.all.count == 1
    other = target_named("q/m")
    said(on, other, 0.5)
    assert expected(on, other, STREAM, now=START).seen == 0


def test_of_the_unseen_nothing_is_expected() -> None:
    """Zero seconds mean that nothing is known, and `seen` says so."""
    found = expected(board(), A, STREAM, now=START)
    assert (found.first_s, found.total_s, found.success, found.cost_usd, found.seen, found.busy) == (
        0,
        0,
        1,
        None,
        0,
        0,
    )
    assert found.stream
    assert not expected(board(), A, PLAIN, now=START).stream


def test_what_was_seen_is_expected_again() -> None:
    """Time to the first content, pace, and what an answer of the usual length costs."""
    on, target = board(), Target(name="a", provider="p", model="m", price=Price(input_usd=1e4, output_usd=1e4))
    for number in range(50):
        said(on, target, 0.5, rest_s=2.0, flight=str(number), usage=Usage(output_tokens=100))
    found = expected(on, target, STREAM, now=START)
    assert found.first_s == pytest.approx(0.5, rel=0.03)
    assert found.total_s == pytest.approx(2.5, rel=0.03)
    assert found.cost_usd == pytest.approx(2.0)
    assert found.seen == 50
    plain = expected(on, target, PLAIN, now=START)
    assert plain.first_s == plain.total_s == pytest.approx(2.5, rel=0.03)


def test_what_nobody_asks_for_is_not_worked_out() -> None:
    """Most strategies do not look at money."""
    on, target = board(), Target(name="a", provider="p", model="m", price=Price(output_usd=1.0))
    said(on, target, 0.5, usage=Usage(output_tokens=100, cost_usd=2.0))
    assert expected(on, target, STREAM, now=START, priced=False).cost_usd is None


def test_what_a_provider_charges_wins_over_the_list() -> None:
    """For the tokens of the prompt and of the answer."""
    on, target = board(), Target(name="a", provider="p", model="m", price=Price(output_usd=1.0))
    said(on, target, 0.5, usage=Usage(input_tokens=100, output_tokens=100, cost_usd=2.0))
    assert expected(on, target, STREAM, now=START).cost_usd == pytest.approx(2.0)


def test_what_is_charged_without_a_list_is_by_the_token() -> None:
    """Of the prompt and of the answer alike."""
    on, target = board(), target_named("x/m")
    on.experience.measure(target)
    said(on, target, 0.5, usage=Usage(input_tokens=100, output_tokens=100, cost_usd=2.0))
    assert expected(on, target, STREAM, now=START).cost_usd == pytest.approx(2.0)
    longer = Request(model="m", stream=True, prompt_chars=1_200)
    assert expected(on, target, longer, now=START).cost_usd == pytest.approx(4.0)


def test_a_route_may_be_the_only_one_that_asks() -> None:
    """What it learns for itself does not depend on what others want to know."""
    on = Board(Random(0))
    own = on.experience.own("r", A)
    said(on, A, 0.5, route="r")
    assert (own.seen, expected(on, A, STREAM, now=START).seen) == (1, 0)


def test_keys_of_a_model_share_what_is_known_of_it() -> None:
    """A provider's model is as fast with either key; how busy each is stays apart."""
    on = board()
    said(on, A, 0.5)
    started(on, A, flight="x")
    assert expected(on, OTHER_KEY, STREAM, now=START).first_s == pytest.approx(0.5, rel=0.03)
    assert expected(on, OTHER_KEY, STREAM, now=START).busy == 0
    assert expected(on, A, STREAM, now=START).busy == on.experience.busy(A) == 1


def test_a_longer_prompt_takes_longer() -> None:
    """What a short one took is not expected of a long one, nor the reverse."""
    on = board()
    said(on, A, 0.5, flight="short")
    long = Request(model="m", stream=True, prompt_chars=400_000)
    assert expected(on, A, long, now=START).first_s > 10.0
    said(on, A, 13.0, flight="long", chars=400_000)
    assert expected(on, A, STREAM, now=START).first_s == pytest.approx(0.5, rel=0.05)


def test_only_chats_are_written() -> None:
    """A vector or a picture has no tokens, whatever its provider counts."""
    on, request = board(), Request(model="m", task=Task.IMAGE)
    on.fold(AttemptStarted(START, "x", 1, A, Why.FIRST, task=Task.IMAGE))
    on.fold(AttemptAnswered(START, "x", 1, A, 6.0, 6.0, False, Usage(output_tokens=4_000)))
    assert expected(on, A, request, now=START).total_s == pytest.approx(6.0)
    assert on.experience.lengths.all.count == 0


def test_answers_of_others_say_how_long_one_will_be() -> None:
    """Until it has shown that itself."""
    on = board()
    assert on.experience.lengths.all.count == 0
    said(on, A, 0.5, usage=Usage(output_tokens=40))
    said(on, A, 0.5, usage=Usage(input_tokens=40))
    other = Target(name="b", provider="b", model="b", price=Price(output_usd=1e6))
    assert expected(on, other, STREAM, now=START).cost_usd == 40.0
    assert expected(board(), other, STREAM, now=START).cost_usd == UNSEEN_TOKENS


def test_whoever_waits_too_long_says_so() -> None:
    """Three who have waited twice the usual time are as good as an answer; fewer, or a little late, are not."""
    on = board()
    said(on, A, 1.0)
    for number in range(3):
        assert expected(on, A, STREAM, now=START + 3.0).first_s == pytest.approx(1.0, rel=0.03)
        started(on, A, flight=f"w{number}")
    assert expected(on, A, STREAM, now=START + 2.0).first_s == pytest.approx(1.0, rel=0.03)
    assert expected(on, A, STREAM, now=START + 3.0).first_s == pytest.approx(3.0, rel=0.03)
    unseen = board()
    for number in range(3):
        started(unseen, A, flight=f"w{number}")
    assert expected(unseen, A, STREAM, now=START + 3.0).first_s == 0.0


def test_what_is_overdue_is_as_many_times_slower() -> None:
    """Of a stream only its beginning, which alone can be late yet; of a plain answer all of it."""
    for request in (STREAM, PLAIN):
        on = board()
        said(on, A, 1.0, rest_s=2.0, usage=Usage(output_tokens=100))
        on.experience.measure(A).slope.value = 0.0
        now = START + (3.0 if request.stream else 14.7)
        before = expected(on, A, request, now=now)
        assert before.total_s == pytest.approx(3.0)
        for number in range(3):
            started(on, A, flight=f"w{number}", stream=request.stream)
        if not request.stream:
            assert expected(on, A, request, now=START + 13.9).total_s == pytest.approx(3.0)
        found = expected(on, A, request, now=now)
        if request.stream:
            assert (found.first_s, found.total_s) == pytest.approx((3.0, 5.0))
        else:
            assert found.total_s == pytest.approx(3.0 * 2.1), "thrice as long as usual, one second and six, is no sign"


def test_a_picture_is_overdue_without_words() -> None:
    """Nothing is written, so that nothing of it can be long."""
    on, request = board(), Request(model="m", task=Task.IMAGE)
    said(on, A, 1.0, rest_s=2.0, usage=Usage(output_tokens=100))
    for number in range(3):
        on.fold(AttemptStarted(START, f"w{number}", 1, A, Why.FIRST, False, task=Task.IMAGE))
    assert expected(on, A, request, now=START + 3.0).total_s == pytest.approx(3.0)


def test_a_long_prompt_is_waited_for_longer() -> None:
    """Whoever waits for one says nothing of a short one: all are compared with what their own should take."""
    on = board()
    said(on, A, 1.0)
    for number in range(3):
        started(on, A, flight=f"w{number}", chars=400_000)
    assert expected(on, A, STREAM, now=START + 3.0).first_s == pytest.approx(1.0, rel=0.05)
    assert expected(on, A, STREAM, now=START + 75.0).first_s == pytest.approx(3.0, rel=0.1)


def test_of_many_who_wait_the_oldest_may_be_unlucky() -> None:
    """One in eight is left out."""
    on = board()
    latency = on.standing(A).latency(stream=True)
    for number in range(40):
        started(on, A, flight=f"w{number}", at=START + number)
    assert latency.late(START + 100) == (("w5", 1), 95.0)
    for number in range(37):
        latency.waiting.pop((f"w{number}", 1))
    assert latency.late(START + 100) == (("w39", 1), 61.0)
    latency.waiting.popitem()
    assert latency.late(START + 100) is None


@pytest.mark.parametrize(
    ("kind", "of_the_model", "of_the_route"),
    [
        (FailureKind.SERVER, True, True),
        (FailureKind.CONNECT, True, True),
        (FailureKind.AUTH, False, True),
        (FailureKind.RATE_LIMIT, False, True),
        (FailureKind.REQUEST, False, False),
    ],
)
def test_a_failure_counts_for_whom_it_speaks_of(kind: FailureKind, of_the_model: bool, of_the_route: bool) -> None:
    """A refused key says nothing of the model, the caller's mistake nothing of anybody."""
    on = board()
    own = on.experience.own("r", A)
    fails(on, kind)
    assert (expected(on, A, STREAM, now=START).success < 1.0) is of_the_model
    assert (own.success(START) < 1.0) is of_the_route
    assert on.experience.busy(A) == 0


def test_a_route_learns_from_its_own_requests() -> None:
    """From the first time on that it is asked; other routes' requests are others'."""
    on = board()
    assert expected(on, A, STREAM, now=START, route="r").seen == 0
    said(on, A, 0.5, route="r", flight="x")
    said(on, A, 5.0, route="other", flight="y")
    assert expected(on, A, STREAM, now=START, route="r").first_s == pytest.approx(0.5, rel=0.03)
    assert expected(on, A, STREAM, now=START, route="r").seen == 1
    assert expected(on, A, STREAM, now=START).first_s > 0.5


def test_being_outrun_counts_and_being_dropped_does_not() -> None:
    """Who was slower than another is slow; a caller who left says nothing."""
    for outrun, first_s in ((True, 4.0), (False, 0.0)):
        for stream, request in ((True, STREAM), (False, PLAIN)):
            on = board()
            started(on, A, flight="x", stream=stream)
            on.fold(AttemptAbandoned(START + 4, "x", 1, A, 4.0, outrun))
            assert expected(on, A, request, now=START + 4).first_s == pytest.approx(first_s, rel=0.03)
            assert on.experience.busy(A) == 0


def test_what_has_no_words_is_outrun_as_a_whole() -> None:
    """Of a picture that did not come in time no tokens were to be expected."""
    on = board()
    on.fold(AttemptStarted(START, "x", 1, A, Why.FIRST, task=Task.IMAGE))
    on.fold(AttemptAbandoned(START + 4, "x", 1, A, 4.0, True))
    assert on.experience.measure(A).time_s(0.0, tokens=0.0, now=START + 4) == pytest.approx((4.0, 0.0))


def test_an_answer_whose_beginning_was_not_heard_counts() -> None:
    """A board that was made while requests were under way."""
    on = board()
    on.fold(FirstContent(START, "x", 1, A, 0.5))
    on.fold(AttemptAnswered(START, "x", 1, A, 0.5, 1.0, True, Usage(output_tokens=10)))
    assert expected(on, A, STREAM, now=START).first_s == pytest.approx(0.5, rel=0.03)
    measure = on.experience.measure(A)
    assert measure.time_s(0.0, tokens=10.0, now=START) == pytest.approx((0.5, 0.5)), "its prompt is taken for empty"
    assert on.experience.lengths.all.count == 1, "and the answer for words"
    other = board()
    other.fold(AttemptAbandoned(START, "x", 1, A, 4.0, True))
    usual = UNSEEN_TOKENS
    assert sum(other.experience.measure(A).time_s(0.0, tokens=usual, now=START)) == pytest.approx(4.0), "a whole one"


def test_plain_answers_and_streams_say_the_same() -> None:
    """A plain one has come when all of it is there: what streams take shows how long that is."""
    on = board()
    for number in range(30):
        said(on, A, 0.5, rest_s=1.0, flight=str(number), usage=Usage(output_tokens=100))
    found = expected(on, A, PLAIN, now=START)
    assert found.first_s == found.total_s == pytest.approx(1.5, rel=0.05)


def test_the_scout_hears_of_what_was_decided_and_of_changes() -> None:
    """Of its own route alone, and only where there is one."""
    on = board()
    fact = Decided(START, "f", "r", "best", (A,), share=0.02)
    on.fold(fact)
    scout = on.experience.scout("r")
    assert scout.requests == 0, "nobody had asked for it"
    on.fold(fact)
    assert scout.requests == 1
    scout.purse, scout.requests = 0.0, 500
    for number in range(20):
        said(on, A, 1.0, flight=str(number), route="other")
    said(on, A, 9.0, flight="x", route="other")
    said(on, A, 9.0, flight="y", route="other")
    assert scout.purse == 0.0
    said(on, A, 90.0, flight="z", route="r")
    said(on, A, 90.0, flight="zz", route="r")
    assert scout.purse > 0.0


@pytest.mark.parametrize("how", ["answered", "outrun"])
def test_the_scout_hears_of_every_sort_of_news(how: str) -> None:
    """Of pictures that have become slow, and of those that somebody else was faster with."""
    on = board()
    scout = on.experience.scout("r")
    scout.purse, scout.requests = 0.0, 500
    for number in range(22):
        seconds = 1.0 if number < 20 else 90.0
        on.fold(AttemptStarted(START, str(number), 1, A, Why.FIRST, False, 0, "r", Task.IMAGE))
        if how == "answered" or number < 20:
            on.fold(AttemptAnswered(START, str(number), 1, A, seconds, seconds, False))
        else:
            on.fold(AttemptAbandoned(START, str(number), 1, A, seconds, True))
        assert (scout.purse > 0.0) is (number == 21)


def test_not_more_is_kept_than_there_is_room_for() -> None:
    """Callers may name any model; beyond the limit everything is learned anew."""
    kept: Kept[int, Scout] = Kept(Scout)
    first = kept[0]
    assert kept[0] is first
    for number in range(10_000):
        assert kept[number] is not None
    assert len(kept) == 10_000
    assert kept[10_000] is not first
    assert len(kept) == 1
