"""How targets are, in the field's words, read from the board."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.story import A, Story
from core.world import START, target_named
from unbroken.core.breaker import Window
from unbroken.core.health import Condition, LastProbe, Pace, TargetHealth, health_of
from unbroken.core.scopes import Cause
from unbroken.facts import Probed, TargetForced
from unbroken.failures import Failure, FailureKind, Scope
from unbroken.policy import Breaking
from unbroken.types import Target

B = target_named("p/m#2")
NO_PACE = Pace(answers=0, p50_s=0.0, p95_s=0.0, p99_s=0.0)


def read(story: Story, target: Target = A) -> TargetHealth:
    (found,) = health_of(story.board, [target], now=story.now)
    return found


def summary(story: Story) -> tuple[str, Scope, float | None, float | None]:
    """Condition, whose it is, since and until when; in seconds after the story began."""
    found = read(story)
    times = [None if at is None else round(at - START, 3) for at in (found.since, found.until)]
    return found.condition.value, found.worst.scope, times[0], times[1]


def forces(story: Story, *, is_open: bool | None, scope: str = "p") -> None:
    story.board.fold(TargetForced(story.now, scope, is_open))


def lists(story: Story, failure: Failure | None = None) -> None:
    story.board.fold(Probed(story.now, A, True, 0.25, failure))


# ------------------------------------------------------------------------------ conditions


def test_nothing_is_known_at_first() -> None:
    """A target that nobody has asked is neither well nor ill."""
    found = read(Story())
    assert {one.condition for one in found.scopes} == {found.condition} == {Condition.UNKNOWN}
    assert (found.since, found.until, found.cause, found.worked_at, found.probe) == (None, None, None, None, None)
    assert (found.first, found.plain) == (NO_PACE, NO_PACE)
    assert not Story().board.standing(A).troubled, "and nothing is looked at any closer"


def test_names_are_those_that_operators_use() -> None:
    """Each scope is called as `TargetForced` calls it."""
    found = read(Story())
    assert [(one.scope, one.name) for one in found.scopes] == [
        (Scope.ENDPOINT, "p"), (Scope.MODEL, "p/m"), (Scope.KEY, "p#1"), (Scope.QUOTA, "p/m#1"),
    ]  # fmt: skip
    assert (found.target, found.provider, found.model) == ("p/m#1", "p", "m")


def test_an_answer_is_health() -> None:
    """Whoever answers is well, with the pace of its answers."""
    story = Story()
    for _ in range(20):
        story.answers(after_s=0.1)
    story.answers(after_s=2.0, stream=False)
    found = read(story)
    assert found.condition is Condition.HEALTHY and found.worked_at == story.now
    assert {one.condition for one in found.scopes} == {Condition.HEALTHY}
    assert found.first.answers == 20 and found.plain.answers == 1
    assert 0.1 <= found.first.p50_s <= found.first.p95_s <= found.first.p99_s < 0.12
    assert 2.0 <= found.plain.p50_s < 2.4
    assert read(story, B).condition is Condition.UNKNOWN, "with another key nothing was asked yet"


def test_percentiles_are_what_they_are_called() -> None:
    """Half of the answers, nineteen of twenty, ninety-nine of a hundred."""
    story = Story()
    for after_s in [0.05] * 20 + [0.1] * 40 + [0.2] * 36 + [0.4] * 3 + [0.49]:
        story.answers(after_s=after_s)
    pace = read(story).first
    assert 0.1 <= pace.p50_s < 0.12 and 0.2 <= pace.p95_s < 0.24 and 0.4 <= pace.p99_s < 0.47


def test_a_list_that_answers_says_the_address_is_well_and_no_more() -> None:
    """Of model, key and quota nothing is known before any work was done."""
    story = Story()
    lists(story)
    found = read(story)
    assert found.condition is Condition.UNKNOWN
    assert [one.condition for one in found.scopes] == [Condition.HEALTHY] + [Condition.UNKNOWN] * 3
    assert found.probe == LastProbe(at=START, seconds=0.25, failure="")
    lists(story, Failure(kind=FailureKind.RATE_LIMIT, message="slow down", status=429))
    found = read(story)
    assert found.probe is not None and found.probe.failure == "rate_limit 429: slow down"
    assert found.scopes[0].condition is Condition.UNKNOWN


def test_a_cool_down_says_until_when_and_why() -> None:
    """A limit is set aside since its first refusal, until it ends, with the provider's own words."""
    story = Story()
    story.answers(after_s=1.0)
    story.fails(FailureKind.RATE_LIMIT)
    story.now += 5.0
    story.fails(FailureKind.RATE_LIMIT, retry_after_s=30.0)
    assert summary(story) == ("cooling_down", Scope.QUOTA, 1.0, 36.0)
    assert read(story).cause == Cause(FailureKind.RATE_LIMIT, "m", START + 6.0)
    assert [one.condition for one in read(story).scopes] == [Condition.HEALTHY] * 3 + [Condition.COOLING_DOWN]


def test_after_a_cool_down_it_has_yet_to_answer() -> None:
    """Whoever was set aside is not called well before it has answered again."""
    story = Story()
    story.answers()
    story.fails(FailureKind.RATE_LIMIT)
    story.now += 15.0
    assert summary(story)[:2] == ("degraded", Scope.QUOTA)
    story.answers()
    assert summary(story)[0] == "healthy"


def test_an_open_breaker_goes_through_its_states() -> None:
    """Open until then, half-open, recovering with a growing share, healthy since the recovery."""
    story = Story(default=Breaking(jitter=0.0))
    story.answers(after_s=1.0)
    story.opens_breaker()
    assert summary(story) == ("open", Scope.MODEL, 1.0, 6.0)
    assert read(story).cause == Cause(FailureKind.SERVER, "m", START + 1.0)
    story.now = START + 6.0
    assert summary(story) == ("half_open", Scope.MODEL, 6.0, None)
    story.now += 1.0
    story.goes()
    assert summary(story) == ("half_open", Scope.MODEL, 7.0, None)
    story.answers(after_s=0.5)
    assert summary(story) == ("recovering", Scope.MODEL, 7.5, 17.5)
    assert read(story).worst.share == 0.2
    story.now += 5.0
    assert [one.share for one in read(story).scopes] == pytest.approx([1.0, 0.6, 1.0, 1.0])
    story.now += 5.0
    assert summary(story) == ("healthy", Scope.ENDPOINT, None, None)
    assert read(story).scopes[1].since == START + 7.5
    assert read(story).cause == Cause(FailureKind.SERVER, "m", START + 1.0), "what was last held against it is told"


def test_the_longer_of_two_rests_counts() -> None:
    """An open breaker that is set aside besides is open until both are over, and cools down when it alone is left."""
    story = Story(default=Breaking(jitter=0.0))
    story.opens_breaker()
    story.fails(FailureKind.SERVER, retry_after_s=20.0)
    assert summary(story) == ("open", Scope.MODEL, 0.0, 20.0)
    story.now += 5.0
    assert summary(story) == ("cooling_down", Scope.MODEL, 0.0, 20.0)
    story.now += 15.0
    assert summary(story) == ("half_open", Scope.MODEL, 20.0, None)


def test_a_return_that_is_set_aside_is_set_aside() -> None:
    """A limit in the middle of a recovery is what stands in the way."""
    story = Story(default=Breaking(jitter=0.0))
    story.opens_breaker()
    story.now += 5.0
    story.answers()
    story.fails(FailureKind.LOADING, retry_after_s=30.0)
    assert summary(story)[0] == "cooling_down"


def test_the_worst_scope_speaks() -> None:
    """Of several scopes that are ill the worst is told, and among equals the one that rests longest."""
    story = Story(default=Breaking(jitter=0.0))
    story.fails(FailureKind.RATE_LIMIT)
    story.fails(FailureKind.AUTH)
    assert summary(story)[:2] == ("cooling_down", Scope.KEY)
    story.opens_breaker()
    assert summary(story)[:2] == ("open", Scope.MODEL)
    forces(story, is_open=True, scope="p/m#1")
    assert summary(story)[:2] == ("forced_open", Scope.QUOTA)


def test_of_whoever_is_well_the_last_trouble_is_told() -> None:
    """Of two causes in the past the later one; it says whose it was no longer matters."""
    story = Story()
    story.answers()
    story.fails(FailureKind.CONNECT)
    story.answers()
    story.fails(FailureKind.SERVER)
    for _ in range(8):
        story.answers()
    found = read(story)
    assert found.condition is Condition.HEALTHY and found.worst.scope is Scope.ENDPOINT
    assert found.worst.cause is not None and found.worst.cause.kind is FailureKind.CONNECT
    assert found.cause is not None and found.cause.kind is FailureKind.SERVER
    story.fails(FailureKind.RATE_LIMIT)
    story.now += 20.0
    story.answers()
    found = read(story)
    assert found.condition is Condition.HEALTHY
    assert found.cause is not None and found.cause.kind is FailureKind.RATE_LIMIT
    forces(story, is_open=True, scope="p/m#2")
    assert read(story, B).cause is None, "what an operator does has no cause"


def test_what_an_operator_forced_is_called_so() -> None:
    """By hand, since then, whatever else is known."""
    story = Story()
    story.fails(FailureKind.LOADING, retry_after_s=100.0)
    story.now += 1.0
    forces(story, is_open=True, scope="p/m")
    assert summary(story) == ("forced_open", Scope.MODEL, 1.0, None)
    forces(story, is_open=False, scope="p/m")
    assert summary(story) == ("forced_closed", Scope.MODEL, 1.0, None)
    forces(story, is_open=None, scope="p/m")
    assert summary(story)[0] == "cooling_down"


# ------------------------------------------------------------------------------- degraded


def test_two_slow_answers_of_ten_are_a_degradation() -> None:
    """One slow answer happens to everybody; two in ten are told, with how slow and how it usually is."""
    story = Story()
    for _ in range(8):
        story.answers(after_s=0.1)
    story.answers(after_s=2.0)
    assert summary(story)[0] == "healthy"
    story.answers(after_s=2.0)
    found = read(story)
    assert (found.condition, found.worst.scope) == (Condition.DEGRADED, Scope.MODEL)
    assert found.cause is not None and found.cause.kind is FailureKind.SLOW and found.cause.at == story.now
    assert found.cause.message == "an answer took 2.0 s, which is usually 0.1 s"
    assert (found.worst.calls, found.worst.slow, found.worst.failures) == (10, 2, 0)
    story.answers(after_s=0.1)
    assert summary(story)[0] == "healthy", "two of eleven are less than a fifth"


def test_one_call_in_five_that_fails_is_a_degradation() -> None:
    """Failures that are too rare to open the breaker are told all the same."""
    story = Story()
    for _ in range(4):
        story.answers()
    story.fails(FailureKind.SERVER)
    assert summary(story)[0] == "healthy"
    for _ in range(4):
        story.answers()
    story.fails(FailureKind.SERVER)
    found = read(story)
    assert found.condition is Condition.DEGRADED and found.cause == Cause(FailureKind.SERVER, "m", story.now)
    assert (found.worst.calls, found.worst.failures, found.worst.in_a_row) == (10, 2, 1)
    assert (found.since, found.until) == (None, None)
    story.now += 60.0
    assert read(story).condition is Condition.HEALTHY, "the window has moved on"
    assert read(story).scopes[1].calls == 0


def test_failures_in_a_row_are_a_degradation() -> None:
    """The last two calls failed, however long ago."""
    story = Story()
    for _ in range(20):
        story.answers()
    story.fails(FailureKind.CONNECT)
    assert summary(story)[0] == "healthy"
    story.fails(FailureKind.CONNECT)
    story.now += 600.0
    assert summary(story)[:2] == ("degraded", Scope.ENDPOINT)


def test_a_failed_probe_is_a_suspicion() -> None:
    """One free question that failed is told, as what it is."""
    story = Story()
    story.answers()
    lists(story)
    lists(story, Failure(kind=FailureKind.SILENT, message="no answer within 10 s"))
    found = read(story)
    assert (found.condition, found.worst.scope) == (Condition.DEGRADED, Scope.ENDPOINT)
    assert found.cause == Cause(FailureKind.SILENT, "no answer within 10 s", story.now, probed=True)
    assert found.probe is not None and found.probe.failure == "silent: no answer within 10 s"
    lists(story)
    assert read(story).condition is Condition.HEALTHY


def test_requests_that_wait_in_vain_are_a_degradation() -> None:
    """A provider that hangs says nothing, and this says it."""
    story = Story()
    for _ in range(6):
        story.answers(after_s=0.1)
    for _ in range(2):
        story.answers(after_s=1.0)
    assert read(story).condition is Condition.DEGRADED
    for number in range(3):
        story.board.standing(A).first.waiting["f", number] = story.now
    story.now += 10.0
    found = read(story)
    assert (found.condition, found.worst.scope) == (Condition.DEGRADED, Scope.MODEL)
    assert found.cause == Cause(FailureKind.SILENT, "requests have waited 10.0 s in vain", story.now)
    story.opens_breaker()
    assert read(story).condition is Condition.OPEN


def test_plain_answers_that_wait_count_too() -> None:
    """The same of requests that do not stream."""
    story = Story()
    for _ in range(30):
        story.answers(after_s=0.1, stream=False)
    for number in range(3):
        story.board.standing(A).plain.waiting["f", number] = story.now
    story.now += 10.0
    assert read(story).condition is Condition.DEGRADED


def test_whoever_was_outrun_is_told_so() -> None:
    """That others were faster is held against the model, in words."""
    story = Story()
    began = story.now
    story.now += 3.0
    story.is_dropped(began=began, outrun=True)
    story.is_dropped(began=began, outrun=True)
    found = read(story)
    assert (found.condition, found.worst.scope) == (Condition.DEGRADED, Scope.MODEL)
    assert found.cause == Cause(FailureKind.SLOW, "others were faster, 3.0 s after it was asked", story.now)


# ------------------------------------------------------------------------------- reading


def test_reading_changes_nothing() -> None:
    """However often health is read, the board decides as before."""
    story, unread = Story(), Story()
    for each in (story, unread):
        each.opens_breaker()
    for _ in range(5):
        story.now += 1.0
        read(story)
    assert story.board.standing(A).model.breaker == unread.board.standing(A).model.breaker
    assert story.board.standing(A).model.window.failures == 3


@given(st.lists(st.tuples(st.floats(0.0, 20.0), st.booleans(), st.booleans()), max_size=40), st.floats(0.0, 40.0))
def test_counts_are_those_that_the_breaker_would_see(steps: list[tuple[float, bool, bool]], later_s: float) -> None:
    """The window read from outside holds what it holds after its own next look, without being changed."""
    window, now = Window(30.0), START
    for after_s, failed, slow in steps:
        now += after_s
        window.add(now, failed=failed, slow=slow)
        assert window.counts(now) == (window.calls, window.failures, window.slow)
    seen = window.counts(now + later_s)
    window.add(now + later_s, failed=False)
    assert (window.calls - 1, window.failures, window.slow) == seen
    assert window.counts(now - 1.0)[0] == window.calls, "a clock that is behind sees what there is"
