"""The verdict table: total, and true to what its columns promise."""

from __future__ import annotations

import pytest

from unbroken.failures import VERDICTS, Failure, FailureKind, Fault, RequestError, Same, Scope

CALLER = (FailureKind.REQUEST, FailureKind.CONTEXT_LENGTH, FailureKind.CONTENT_POLICY, FailureKind.CANCELLED)
OURS = (FailureKind.DEADLINE, FailureKind.NO_TARGET, FailureKind.INTERNAL)


def test_every_kind_has_a_verdict() -> None:
    """No failure is without a consequence."""
    assert set(VERDICTS) == set(FailureKind)


@pytest.mark.parametrize("kind", CALLER)
def test_a_callers_fault_costs_nobody_anything(kind: FailureKind) -> None:
    """What the caller did wrong is said at once, counts against nothing and cools nothing."""
    verdict = VERDICTS[kind]

    assert verdict.fault is Fault.CALLER
    assert (verdict.same, verdict.elsewhere) == (Same.NEVER, False)
    assert (verdict.counts, verdict.cools, verdict.cool_s) == (Scope.NONE, Scope.NONE, 0.0)
    assert 400 <= verdict.status < 500


def test_only_a_longer_context_needs_another_model() -> None:
    """A prompt that is too long for one model is worth trying at another, and nothing else of the caller's is."""
    assert [kind for kind in FailureKind if VERDICTS[kind].other_model] == [FailureKind.CONTEXT_LENGTH]


@pytest.mark.parametrize("kind", [k for k in FailureKind if k not in CALLER + OURS])
def test_everything_else_may_be_answered_elsewhere(kind: FailureKind) -> None:
    """A fault of a key or a target is another target's chance."""
    assert VERDICTS[kind].elsewhere


@pytest.mark.parametrize("kind", OURS)
def test_our_own_faults_end_it(kind: FailureKind) -> None:
    """When time is up or nobody is left, there is nobody to ask and nobody to blame."""
    verdict = VERDICTS[kind]

    assert (verdict.fault, verdict.elsewhere, verdict.same) == (Fault.US, False, Same.NEVER)
    assert verdict.status >= 500


@pytest.mark.parametrize(
    "kind",
    [
        FailureKind.SILENT,
        FailureKind.STALLED,
        FailureKind.SLOW,
        FailureKind.CONNECT,
        FailureKind.AUTH,
        FailureKind.QUOTA,
    ],
)
def test_what_repeats_itself_is_not_repeated(kind: FailureKind) -> None:
    """Silence, a refused connection, a bad key and an empty purse are never tried again at the same target."""
    assert VERDICTS[kind].same is Same.NEVER


@pytest.mark.parametrize("kind", [FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.BROKEN])
def test_a_blip_gets_one_more_chance(kind: FailureKind) -> None:
    """A server's error is retried once where it happened, and counts against that model."""
    assert (VERDICTS[kind].same, VERDICTS[kind].counts) == (Same.ONCE, Scope.MODEL)


def test_a_rate_limit_waits_only_when_told_how_long() -> None:
    """A rate limit is retried by its own hint, cools the key's share of the model and breaks nothing."""
    verdict = VERDICTS[FailureKind.RATE_LIMIT]

    assert (verdict.same, verdict.counts, verdict.cools) == (Same.HINTED, Scope.NONE, Scope.QUOTA)
    assert verdict.status == 429


@pytest.mark.parametrize("kind", list(FailureKind))
def test_cooling_has_a_scope_and_a_time(kind: FailureKind) -> None:
    """What is set aside is named, and for how long; a caller is told of it with an error status."""
    verdict = VERDICTS[kind]

    assert (verdict.cools is Scope.NONE) == (verdict.cool_s == 0.0)
    assert 400 <= verdict.status <= 599


@pytest.mark.parametrize("kind", [FailureKind.AUTH, FailureKind.DENIED])
def test_callers_are_not_told_of_keys_that_are_not_theirs(kind: FailureKind) -> None:
    """A provider that turns us away is a bad gateway to a caller, not his own missing right."""
    assert VERDICTS[kind].status == 502


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_may_forbid_the_same_target(kind: FailureKind) -> None:
    """`again=False` takes the retry away and changes nothing else of the verdict."""
    failure = Failure(kind=kind, message="x", again=False)

    assert failure.verdict.same is Same.NEVER
    assert failure.verdict.elsewhere == VERDICTS[kind].elsewhere


def test_a_failure_says_what_it_is() -> None:
    """The text of a failure names kind, status and message."""
    assert str(Failure(kind=FailureKind.SERVER, message="broken", status=500)) == "server 500: broken"
    assert str(Failure(kind=FailureKind.SILENT, message="nothing came")) == "silent: nothing came"


def test_an_exception_carries_its_failure() -> None:
    """What faces raise can be asked for the failure, and reads like it."""
    failure = Failure(kind=FailureKind.REQUEST, message="no", status=400)
    error = RequestError(failure)

    assert error.failure is failure
    assert str(error) == str(failure)
