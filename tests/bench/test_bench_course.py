"""The run over real sockets: known speeds are found again, turns are taken, money is kept."""

from __future__ import annotations

from itertools import groupby
from statistics import fmean
from typing import Any

import pytest

from bench.bench_world import TIMEOUT_S, WORDS, Runner, compared, configured, opened
from loops import in_loop
from unbroken.bench.contestants import ContestantError, contestants
from unbroken.bench.course import Settings, plan
from unbroken.bench.intervals import Estimate
from unbroken.bench.summary import Result, result_of
from unbroken.bench.verdict import verdict
from unbroken.config import Config
from unbroken.testing import Cut, Hang, Status
from unbroken.types import Task

NAMES = ("north", "south")
TOKENS = len(WORDS.split())
DEAR = {"price": {"input_usd": 0.0, "output_usd": 1000.0}}
"""A cent for each answer of ten tokens."""


def nearly(estimate: Estimate, value: float) -> bool:
    """Whether it is in the interval, widened by what a busy machine may add to each answer."""
    assert estimate.low is not None and estimate.high is not None
    return Estimate(estimate.value, 0.85 * estimate.low, 1.15 * estimate.high).holds(value)


def summary(result: Result, name: str) -> Any:
    return next(found for found in result.summaries if found.name == name)


# ------------------------------------------------------------- what it is for


@in_loop
async def test_known_speeds_are_found_again() -> None:
    """What two providers took by their own clocks is in our intervals, and so is how much faster one is."""
    north, south = Runner("north", first_s=0.06), Runner("south", first_s=0.12)
    async with opened(north, south):
        settings = Settings(rounds=5, warm_up=2, concurrency=4, timeout_s=TIMEOUT_S)
        result = result_of(await compared(configured([north, south]), NAMES, prompts=8, settings=settings))
    took_s = {runner.name: fmean(runner.took_s[settings.warm_up :]) for runner in (north, south)}
    for name in NAMES:
        for key in ("first_s", "total_s"):
            assert nearly(summary(result, name).spreads[key].mean, took_s[name]), (name, key, took_s)
    contrast = next(found for found in result.contrasts if found.measure.key == "total_s")
    assert (contrast.better, contrast.shown, contrast.pairs) == ("north", True, 40)
    assert contrast.factor is not None
    assert nearly(contrast.factor, took_s["south"] / took_s["north"])
    assert any(sentence.startswith("north is ") and "faster than south" in sentence for sentence in verdict(result))


@in_loop
async def test_the_rate_of_writing_is_found_again() -> None:
    """Tokens a second are those at which the provider writes, whenever it begins."""
    north = Runner("north", first_s=0.02, tokens_per_s=100.0)
    async with opened(north):
        settings = Settings(rounds=1, timeout_s=TIMEOUT_S)
        result = result_of(await compared(configured([north]), ["north"], prompts=8, settings=settings))
    found = summary(result, "north")
    assert found.output_tokens == 8 * TOKENS
    assert 80.0 < found.spreads["tokens_per_s"].p50.value < 125.0


# ------------------------------------------------------------- turns


def test_the_plan_takes_turns() -> None:
    """Each block is one prompt for everybody; who comes first, and which prompt comes next, is chance."""
    settings = Settings(rounds=6, warm_up=2)
    jobs = plan(10, 3, settings=settings)
    blocks = [list(found) for _, found in groupby(jobs, key=lambda job: job.block)]
    assert all(sorted(job.contestant for job in block) == [0, 1, 2] for block in blocks)
    assert all(len({job.prompt for job in block}) == 1 for block in blocks)
    assert [block[0].round for block in blocks[:3]] == [0, 0, 1]
    assert len({tuple(job.contestant for job in block) for block in blocks}) == 6
    rounds = [[block[0].prompt for block in blocks if block[0].round == number] for number in range(1, 7)]
    assert all(sorted(found) == list(range(10)) for found in rounds)
    assert len({tuple(found) for found in rounds}) == 6
    assert plan(10, 3, settings=settings) == jobs != plan(10, 3, settings=Settings(rounds=6, warm_up=2, seed=2))


@in_loop
async def test_providers_are_asked_in_turns() -> None:
    """What the providers saw, in its order: the same question to both, one after the other."""
    north, south = Runner("north"), Runner("south")
    south.log = north.log
    async with opened(north, south):
        settings = Settings(rounds=3, timeout_s=TIMEOUT_S)
        course = await compared(configured([north, south]), NAMES, prompts=5, settings=settings)
    pairs = [north.log[at : at + 2] for at in range(0, len(north.log), 2)]
    assert len(pairs) == 16
    assert all({name for name, _ in pair} == set(NAMES) and pair[0][1] == pair[1][1] for pair in pairs)
    assert {pair[0][0] for pair in pairs} == set(NAMES)
    assert [sample.number for sample in course.samples] == list(range(32))


@in_loop
async def test_a_rate_is_kept() -> None:
    """Requests begin no faster than the rate allows, however fast the answers are."""
    north = Runner("north")
    async with opened(north):
        settings = Settings(rounds=1, warm_up=0, rate=50.0, timeout_s=TIMEOUT_S)
        course = await compared(configured([north]), ["north"], prompts=8, settings=settings)
    assert settings.at_once == 64
    begun_s = sorted(sample.at_s for sample in course.samples)
    assert begun_s[-1] >= 7 / 50.0 - 1e-3


# ------------------------------------------------------------- failures


@in_loop
async def test_failures_are_counted_as_they_are() -> None:
    """A provider that fails one of four is asked once each time, and that is what is told of it."""
    north, south = Runner("north"), Runner("south")
    say = south.answer

    def every_fourth(request: Any) -> Any:
        if not (south.answers + 1) % 3:
            south.fail_with(Status(500), times=1)
        return say(request)

    south.answer = every_fourth
    async with opened(north, south):
        settings = Settings(rounds=4, warm_up=0, timeout_s=TIMEOUT_S)
        result = result_of(await compared(configured([north, south]), NAMES, prompts=10, settings=settings))
    found = summary(result, "south")
    assert len(south.seen) == 40
    assert (found.answered, found.requests, found.errors) == (30, 40, {"server": 10})
    assert found.success.holds(0.75) and not found.success.holds(1.0)
    assert summary(result, "north").errors == {}
    assert verdict(result)[0].startswith("north answered more often than south: 40 of 40 against 30 of 40, 25 points")
    assert all(contrast.pairs == 30 for contrast in result.contrasts if contrast.measure.key == "total_s")


@pytest.mark.parametrize(("trouble", "kind"), [(Cut(after_tokens=4), "truncated"), (Hang(), "silent")])
@in_loop
async def test_a_target_is_not_rescued(trouble: Any, kind: str) -> None:
    """A broken or silent answer is a failure of the target that was asked, and nobody steps in."""
    north, south = Runner("north", tokens_per_s=1000.0), Runner("south")
    north.fail_with(trouble)
    async with opened(north, south):
        settings = Settings(rounds=1, warm_up=0, timeout_s=0.5)
        result = result_of(await compared(configured([north, south]), ["north"], prompts=2, settings=settings))
    errors = summary(result, "north").errors
    assert sum(errors.values()) == 2 == len(north.seen)
    assert set(errors) <= {kind, "broken", "deadline"}
    assert south.seen == []


@in_loop
async def test_a_target_may_say_how_it_wants_to_be_asked() -> None:
    """A request that was refused for a field's name is made again with the right one, and timed from then on."""
    north = Runner("north")
    message = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    north.fail_with(Status(400, message=message), times=1)
    async with opened(north):
        settings = Settings(rounds=1, warm_up=0, timeout_s=TIMEOUT_S)
        course = await compared(configured([north]), ["north"], prompts=1, settings=settings)
    (found,) = course.samples
    assert (found.answered, found.attempts) == (True, 2)
    assert b"max_completion_tokens" in north.seen[1].body


@in_loop
async def test_one_that_always_fails_is_asked_all_the_same() -> None:
    """No breaker spares a target: how it is at the moment is what is to be found out."""
    north = Runner("north")
    north.fail_with(Status(429, retry_after_s=60))
    async with opened(north):
        settings = Settings(rounds=2, warm_up=0, timeout_s=TIMEOUT_S)
        result = result_of(await compared(configured([north]), ["north"], prompts=6, settings=settings))
    assert len(north.seen) == 12
    assert summary(result, "north").errors == {"rate_limit": 12}


@in_loop
async def test_a_route_keeps_its_ways() -> None:
    """A route fails over as ever, and its caller's time begins with the first attempt."""
    north, south = Runner("north", first_s=0.05), Runner("south", first_s=0.05)
    north.fail_with(Cut(after_tokens=0, clean=False))
    async with opened(north, south):
        config = configured([north, south], routes={"both": {"targets": ["north/m", "south/m"]}})
        settings = Settings(rounds=1, warm_up=0, timeout_s=TIMEOUT_S)
        course = await compared(config, ["both", "north/m"], prompts=3, settings=settings)
    by_name = {name: [s for s in course.samples if s.provider == name] for name in ("both", "north/m")}
    assert all(sample.answered and sample.target == "south/m" for sample in by_name["both"])
    assert not any(sample.answered for sample in by_name["north/m"])
    assert by_name["both"][0].attempts > 1 == by_name["north/m"][0].attempts


# ------------------------------------------------------------- money


@pytest.mark.parametrize("concurrency", [1, 8])
@in_loop
async def test_the_limit_is_never_exceeded(concurrency: int) -> None:
    """It stops before a request that could cost too much, and says what is known so far."""
    north, south = Runner("north"), Runner("south")
    async with opened(north, south):
        settings = Settings(
            rounds=20, timeout_s=TIMEOUT_S, stop_at_usd=0.155, max_tokens=TOKENS, concurrency=concurrency
        )  # fmt: skip
        course = await compared(configured([north, south], **DEAR), NAMES, prompts=4, settings=settings)
    paid_usd = 0.01 * (north.answers + south.answers)
    assert paid_usd == pytest.approx(0.15) == course.purse.spent_usd
    assert "0.155 USD" in course.stopped
    result = result_of(course)
    assert sum(found.spent_usd for found in result.summaries) == pytest.approx(0.15)
    assert sum(found.requests for found in result.summaries) == 13


@in_loop
async def test_what_may_come_is_reckoned_with() -> None:
    """Where the next answer may be long, it stops although the last ones were short."""
    north = Runner("north")
    async with opened(north):
        settings = Settings(rounds=20, warm_up=0, stop_at_usd=0.155, max_tokens=100, timeout_s=TIMEOUT_S)
        course = await compared(configured([north], **DEAR), ["north"], prompts=1, settings=settings)
    assert north.answers == 6
    assert course.purse.spent_usd == pytest.approx(0.06)


@in_loop
async def test_costs_are_found_again() -> None:
    """Dollars for a request and for a thousand tokens are those of the price and of what was counted."""
    north = Runner("north")
    async with opened(north):
        settings = Settings(rounds=2, timeout_s=TIMEOUT_S)
        result = result_of(await compared(configured([north], **DEAR), ["north"], prompts=4, settings=settings))
    found = summary(result, "north")
    assert found.usd_per_request.value == pytest.approx(0.01)
    assert found.usd_per_1k_output.value == pytest.approx(1.0)
    assert (found.spent_usd, found.estimated) == (pytest.approx(0.09), 0)


# ------------------------------------------------------------- who takes part


FILE: dict[str, Any] = {
    "providers": {
        "north": {"base_url": "http://127.0.0.1:1/v1", "model": "m", "keys": ["a", "b"]},
        "groq": {"model": "x"},
        "texts": {"base_url": "http://127.0.0.1:1/v1", "model": "e", "tasks": ["embedding"]},
    },
    "routes": {"all": {"targets": ["north/m", "texts/e"], "policy": {"cache": {"ttl_s": 60}}}},
    "aliases": {"short": "north/m"},
}


@pytest.mark.parametrize(
    ("name", "targets", "exact"),
    [
        ("north", ["north/m#1"], True),
        ("north/other", ["north/other#1"], True),
        ("north/m#2", ["north/m#2"], True),
        ("short", ["north/m#1"], True),
        ("all", ["north/m#1", "north/m#2", "texts/e"], False),
    ],
)
def test_names(name: str, targets: list[str], exact: bool) -> None:
    """A provider, a target, an alias or a route: a target is alone, and nothing is kept."""
    config = Config.from_values(FILE, {})
    (found,) = contestants(config, [name], task=Task.CHAT, timeout_s=9.0)
    assert ([target.name for target in found.route.targets], found.exact) == (targets, exact)
    assert not found.route.policy.cache.on


@pytest.mark.parametrize(
    ("names", "task", "says"),
    [
        (["nobody"], Task.CHAT, "nobody: no provider, target or route of that name; there is north"),
        (["north", "north"], Task.CHAT, "named twice"),
        (["groq"], Task.CHAT, "set GROQ_API_KEY"),
        (["texts"], Task.CHAT, "texts/e does no chat work"),
        (["all"], Task.SPEECH, "none of its targets does speech work"),
    ],
)
def test_who_cannot_take_part(names: list[str], task: Task, says: str) -> None:
    """Everybody is looked at before anybody is asked."""
    file = FILE
    if task is Task.SPEECH:
        mute = {"like": "cohere", "key": "k", "model": "x"}
        file = {"providers": {"mute": mute}, "routes": {"all": {"targets": ["mute"]}}}
    with pytest.raises(ContestantError) as caught:
        contestants(Config.from_values(file, {}), names, task=task, timeout_s=9.0)
    assert says in str(caught.value)
