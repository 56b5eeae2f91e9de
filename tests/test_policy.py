"""Limits: an operator's numbers as they are, defaults that grow with honest work."""

from __future__ import annotations

from typing import Any

import pytest

from unbroken.policy import Deadlines, Hedging
from unbroken.types import Request, Target, Task

TARGET = Target(name="p/m", provider="p", model="m")


def limits(deadlines: Deadlines | None = None, *, seen_s: float = 0.0, target: Target = TARGET, **request: Any) -> Any:
    return (deadlines or Deadlines()).limits(Request(model="m", **request), target, seen_s=seen_s)


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"max_tokens": 100, "stream": True}, (5.0, 10.0, 15.0)),
        ({"stream": True}, (5.0, 30.0, 35.0)),
        ({"task": Task.EMBEDDING}, (5.0, 10.0, 15.0)),
        ({"task": Task.IMAGE}, (5.0, 45.0, 50.0)),
        ({"task": Task.VIDEO}, (10.0, 120.0, 130.0)),
    ],
)
def test_each_kind_of_work_has_its_limits(request_: dict[str, Any], expected: tuple[float, float, float]) -> None:
    """Connect, first content and total of the published defaults; a total leaves room for the first content."""
    found = limits(**request_)

    assert expected == (found.connect_s, found.first_content_s, found.total_s)


def test_more_time_for_the_first_content_is_more_time_in_all() -> None:
    """Whatever widens the wait for the first content leaves as much for the rest as there was."""
    assert 75.0 == limits(Deadlines(first_content_s=70.0), stream=True).total_s
    assert 35.0 == limits(Deadlines(first_content_s=7.0), stream=True).total_s
    assert 125.0 == limits(stream=True, seen_s=40.0).total_s


def test_a_plain_answer_has_the_time_that_its_tokens_take() -> None:
    """What comes at once when all of it is written may take as long as the writing does."""
    assert limits(max_tokens=100).first_content_s < limits(max_tokens=8000).first_content_s
    assert limits().first_content_s > 100.0


def test_a_long_prompt_has_the_time_that_its_reading_takes() -> None:
    """A hundred thousand tokens are read in a hundred seconds."""
    assert limits(prompt_chars=400_000, stream=True).first_content_s > 120.0


def test_thinking_and_loading_have_their_time_until_more_is_known() -> None:
    """A model known to think is given minutes while nothing was seen of it, and what it needs afterwards."""
    thinker = Target(name="t", provider="p", model="t", capabilities=frozenset({"reasoning"}))
    local = Target(name="l", provider="p", model="l", capabilities=frozenset({"local"}))

    assert 150.0 == limits(target=thinker, stream=True).first_content_s
    assert 30.0 == limits(target=thinker, stream=True, seen_s=2.0).first_content_s
    assert 330.0 == limits(stream=True, thinks=True).first_content_s
    assert 150.0 == limits(target=local, stream=True, seen_s=2.0).first_content_s


def test_what_was_seen_only_widens_a_default() -> None:
    """A target that needs 40 s for one answer in twenty gets two minutes; a quick one keeps the default."""
    assert 120.0 == limits(stream=True, seen_s=40.0).first_content_s
    assert 30.0 == limits(stream=True, seen_s=0.1).first_content_s


def test_an_operators_numbers_are_taken_as_they_are() -> None:
    """No default widens a number that was set, on the route or on the target."""
    mine = Deadlines(connect_s=1.0, first_byte_s=2.0, first_content_s=3.0, total_s=4.0)
    target = Target(name="t", provider="p", model="t", deadlines={"total_s": 9.0}, capabilities=frozenset({"local"}))
    found = limits(mine, target=target, seen_s=100.0, prompt_chars=10**6)

    assert (1.0, 2.0, 3.0, 9.0) == (found.connect_s, found.first_byte_s, found.first_content_s, found.total_s)


def test_overrides_of_a_few_numbers_leave_the_others() -> None:
    """A target or a request says only what it wants otherwise."""
    mine = Deadlines(total_s=4.0, gap_s=7.0)

    assert Deadlines(total_s=4.0, gap_s=9.0) == mine.merged({"gap_s": 9.0})
    assert mine is mine.merged({})


def test_a_short_question_is_short_only_with_a_short_prompt() -> None:
    """Few tokens about a long document still take the time that reading it takes."""
    assert 10.0 == limits(max_tokens=512, prompt_chars=16_000, stream=True).first_content_s
    assert 30.0 < limits(max_tokens=512, prompt_chars=16_100, stream=True).first_content_s < 31.0
    assert 30.0 == limits(max_tokens=513, stream=True).first_content_s


def test_hedging_is_on_when_a_delay_is_known() -> None:
    """A fixed one, a learned one, or both; neither is off."""
    assert not Hedging().on
    assert Hedging(after_s=0.0).on
    assert Hedging(p95=True).on
