"""What a board hears from other replicas, and what is left of what it knows under another configuration."""

from __future__ import annotations

import pytest

from core.story import A, Story
from core.world import START, target_named
from unbroken.core import board as board_module
from unbroken.core.breaker import State
from unbroken.facts import AttemptStarted, Hearsay, LimitsTold, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Breaking, Budget, Policy, Route
from unbroken.types import Target, Why

DOWN = Failure(kind=FailureKind.SERVER, message="m", status=500)


def hears(
    story: Story, number: int, failure: Failure | None = None, *, late_s: float = 0.0, slow: bool = False
) -> None:  # fmt: skip
    """Another replica tells of so many attempts, the last of which began when it was over."""
    at = story.now - late_s
    story.board.fold(Hearsay(at, "other", A, at, number, failure, slow))


# ------------------------------------------------------------------- what others saw


def test_failures_that_others_saw_open_a_breaker() -> None:
    """Three in a row are three in a row, whoever asked."""
    story = Story()
    hears(story, 2, DOWN)
    assert story.state("p/m") is State.CLOSED
    hears(story, 1, DOWN)
    assert story.state("p/m") is State.OPEN
    assert story.state("p") is State.CLOSED


def test_a_limit_that_others_met_is_one() -> None:
    """One 429 is heard of everywhere at once."""
    story = Story()
    hears(story, 1, Failure(kind=FailureKind.RATE_LIMIT, message="m", status=429, retry_after_s=30.0))
    assert story.obstacle() == "cooling down for 30 s (rate_limit)"


def test_answers_that_others_got_count_and_bring_it_back() -> None:
    """They outweigh failures, say when it last worked, and end an outage."""
    story = Story()
    hears(story, 5)
    standing = story.board.standing(A)
    assert (standing.model.window.calls, standing.model.window.failures, standing.worked_at) == (5, 0, START)
    hears(story, 3, DOWN)
    assert story.state("p/m") is State.OPEN
    assert standing.worked_at == START
    story.now += 60.0
    hears(story, 1)
    assert story.state("p/m") is State.RAMPING
    assert standing.worked_at == START + 60.0


def test_what_is_told_late_does_not_turn_back_the_clock() -> None:
    """When it last worked is the latest that anybody saw; what began before an outage does not end it."""
    story = Story()
    story.now += 100.0
    story.answers()
    worked_at = story.board.standing(A).worked_at
    story.opens_breaker()
    hears(story, 1, late_s=10.0)
    assert story.board.standing(A).worked_at == worked_at
    assert story.state("p/m") is State.OPEN


def test_what_is_older_than_the_window_is_not_counted() -> None:
    """A replica that was cut off for minutes tells of a past that nobody needs."""
    story = Story()
    story.answers()
    story.now += 300.0
    story.answers()
    hears(story, 5, DOWN, late_s=100.0)
    assert story.state("p/m") is State.CLOSED
    assert story.board.standing(A).model.cause is None
    hears(story, 5, DOWN, late_s=5.0)
    assert story.state("p/m") is State.OPEN


def test_slow_answers_that_others_got_count_against_the_model_alone() -> None:
    """Five of them open its breaker; the address and the key are well."""
    story = Story()
    hears(story, 5, slow=True)
    assert {name for name in ("p", "p/m", "p#1", "p/m#1") if story.state(name) is State.OPEN} == {"p/m"}


def test_others_are_believed_what_is_usual_while_little_was_seen() -> None:
    """Of one that knows the target to be faster, for streams and plain answers apart; nobody is, after ten answers."""
    story = Story()

    def usual_s(*, stream: bool) -> float:
        return story.board.standing(A).latency(stream=stream).usual_s

    def told(seconds: float) -> None:
        story.board.fold(Hearsay(story.now, "other", A, story.now, 1, None, True, seconds, stream=True))

    told(0.2)
    assert (usual_s(stream=True), usual_s(stream=False)) == (0.2, 0.0)
    story.answers(after_s=0.4)
    assert usual_s(stream=True) == pytest.approx(0.4), "what was seen counts for more"
    told(0.6)
    assert usual_s(stream=True) == pytest.approx(0.4), "it is not that slow here"
    for _ in range(9):
        story.answers(after_s=0.4)
    told(0.3)
    assert usual_s(stream=True) == 0.3
    story.answers(after_s=0.4)
    told(0.2)
    assert usual_s(stream=True) > 0.29, "by now it knows better"


def test_a_probe_that_others_have_sent_is_the_probe() -> None:
    """While another replica finds out whether it is back, nobody does here; once it is, everybody knows."""
    story = Story()
    story.opens_breaker()
    story.now += 60.0
    assert story.obstacle() is None
    hears(story, 0)
    assert story.state("p/m") is State.HALF_OPEN
    assert story.board.standing(A).worked_at == 0.0
    assert story.obstacle() == "breaker half_open"
    hears(story, 1)
    assert story.state("p/m") is State.RAMPING


@pytest.mark.parametrize("failure", [DOWN, None])
def test_a_flood_of_news_takes_no_time(failure: Failure | None) -> None:
    """However many attempts are told of at once, a hundred of them are counted."""
    story = Story()
    hears(story, 10**9, failure)
    assert story.board.standing(A).model.window.calls == 100


# ------------------------------------------------------------------- another configuration


def test_a_scope_that_changed_begins_anew() -> None:
    """Nothing that was learned of an address that is another one now holds any more; the others stay as they are."""
    story = Story()
    other = target_named("q/m#1")
    for target in (A, other):
        story.opens_breaker(target)
    story.board.follow({}, default=Breaking(), changed=["p/m", "nobody"])
    assert story.obstacle() is None
    assert story.obstacle(other) == "breaker open"


def test_what_an_operator_has_forced_stays_forced() -> None:
    """Another configuration is no reason to let a target go that somebody took out."""
    story = Story()
    story.board.fold(TargetForced(story.now, "p/m", True))
    story.board.follow({}, default=Breaking(), changed=["p/m"])
    assert story.board.taken_out(A)


def test_new_policies_hold_for_targets_that_are_known() -> None:
    """A breaker that is to open sooner does so, by the target's own policy or the one for all."""
    story = Story()
    other, new = target_named("q/m#1"), target_named("r/m#1")
    for target in (A, other):
        story.answers(target)
    story.board.follow({A.name: Breaking(consecutive=1)}, default=Breaking(consecutive=2), changed=[])
    for target in (A, other, new):
        story.fails(FailureKind.SERVER, target)
    assert [story.state(f"{name}/m") for name in "pqr"] == [State.OPEN, State.CLOSED, State.CLOSED]
    for target in (other, new):
        story.fails(FailureKind.SERVER, target)
    assert [story.state(f"{name}/m") for name in "pqr"] == [State.OPEN] * 3


def test_another_window_is_counted_from_its_beginning() -> None:
    """What was counted stays unless the window has another length."""
    story = Story()
    for _ in range(4):
        story.answers()
    model = story.board.healths()["p/m"]
    story.board.follow({}, default=Breaking(slow_min=9), changed=[])
    assert (model.policy.slow_min, model.window.calls) == (9, 4)
    story.board.follow({}, default=Breaking(window_s=7.0), changed=[])
    assert model.window.calls == 0
    story.answers()
    story.now += 8.0
    story.answers()
    assert model.window.calls == 1


def test_a_budget_may_be_forgotten() -> None:
    """A route whose retry budget is another one now gets it; forgetting what is not known is no error."""
    story = Story()
    before, after = (
        Route(name="r", targets=(), policy=Policy(budget=Budget(reserve=reserve))) for reserve in (0.0, 5.0)
    )
    assert not story.board.purse(before).withdraw(START)
    assert not story.board.purse(after).withdraw(START)
    story.board.forget_purse("r")
    assert story.board.purse(after).withdraw(START)
    story.board.forget_purse("never seen")


def test_the_memory_has_its_limit_to_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many targets are remembered with how fast they are, and no more; so many budgets."""
    monkeypatch.setattr(board_module, "STANDINGS_MAX", 3)
    story = Story()
    targets = [target_named(f"p/m{number}#1") for number in range(4)]
    routes = [Route(name=str(number), targets=()) for number in range(4)]
    for target, route in zip(targets[:3], routes, strict=False):
        story.answers(target)
        story.board.purse(route)
    first = story.board.purse(routes[0])
    assert [story.board.samples(target, stream=True) for target in targets[:3]] == [1, 1, 1]
    assert story.board.purse(routes[0]) is first
    story.board.purse(routes[3])
    story.answers(targets[3])
    assert [story.board.samples(target, stream=True) for target in (targets[3], targets[0])] == [1, 0]
    assert story.board.purse(routes[0]) is not first


def test_ten_thousand_targets_and_budgets_are_remembered() -> None:
    """With the next one all that is well is forgotten."""
    board = Story().board
    targets = [Target(name=str(number), provider="p", model="m") for number in range(10_001)]
    routes = [Route(name=str(number), targets=()) for number in range(10_001)]
    first, purse = board.standing(targets[0]), board.purse(routes[0])
    for target, route in zip(targets[1:-1], routes[1:-1], strict=True):
        board.standing(target)
        board.purse(route)
    assert board.standing(targets[0]) is first
    assert board.purse(routes[0]) is purse
    board.standing(targets[-1])
    board.purse(routes[-1])
    assert board.standing(targets[0]) is not first
    assert board.purse(routes[0]) is not purse


def test_of_the_ill_the_latest_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as there may be targets, and besides them all that an operator has forced."""
    monkeypatch.setattr(board_module, "STANDINGS_MAX", 3)
    story = Story()
    for scope, is_open in (("p/m0", True), ("p/m1", False)):
        story.board.fold(TargetForced(story.now, scope, is_open))
    for number in range(2, 12):
        story.opens_breaker(target_named(f"p/m{number}#1"))
    story.board.fold(TargetForced(story.now, "p/m7", None))
    assert set(story.board.healths()) >= {"p/m0", "p/m1", "p/m11"}
    ill = [name for name in story.board.healths() if story.state(name) is State.OPEN]
    assert ill == [f"p/m{number}" for number in range(12 - len(ill), 12)], "the latest, without a gap"
    assert 3 <= len(ill) <= 6


def test_those_who_watch_hear_in_turn() -> None:
    """Whoever watches is told after the board has taken it in, and each after the one before."""
    story = Story()
    heard: list[tuple[str, int]] = []

    def watcher(name: str) -> None:
        story.board.watch({AttemptStarted: lambda fact: heard.append((name, story.board.experience.busy(fact.target)))})

    watcher("first")
    watcher("second")
    story.board.fold(AttemptStarted(START, "f", 1, A, Why.FIRST))
    assert heard == [("first", 1), ("second", 1)]
    story.board.watch({LimitsTold: lambda fact: heard.append((fact.flight, 0))})
    story.board.fold(LimitsTold(START, "what the board itself makes nothing of", 1, A, ()))
    assert heard[2:] == [("what the board itself makes nothing of", 0)]
