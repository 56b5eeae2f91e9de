"""What a probe's answer does to the board."""

from __future__ import annotations

import pytest

from core.story import A, Story
from core.world import START, target_named
from unbroken.core.breaker import State
from unbroken.core.scopes import EARLY_S
from unbroken.facts import Probed, ProbeStarted
from unbroken.failures import VERDICTS, Failure, FailureKind, Scope
from unbroken.types import Target

SCOPES = {Scope.ENDPOINT: "p", Scope.MODEL: "p/m", Scope.KEY: "p#1", Scope.QUOTA: "p/m#1"}
SPEAKS_OF = {
    FailureKind.AUTH: Scope.KEY,
    FailureKind.CONNECT: Scope.ENDPOINT,
    FailureKind.BROKEN: Scope.ENDPOINT,
    FailureKind.SILENT: Scope.ENDPOINT,
    FailureKind.SERVER: Scope.ENDPOINT,
    FailureKind.OVERLOADED: Scope.ENDPOINT,
}


class Probes(Story):
    """A story with probes."""

    def lists(self, kind: FailureKind | None = None, target: Target = A, **more: object) -> None:
        """A free question is answered."""
        failure = Failure(kind=kind, message="the list", **more) if kind else None  # type: ignore[arg-type]
        self.board.fold(ProbeStarted(self.now, target, free=True))
        self.board.fold(Probed(self.now, target, True, 0.1, failure))

    def says(self, kind: FailureKind | None = None, *, after_s: float = 0.2, **more: object) -> None:
        """A word is asked for, and comes, or not."""
        self.board.fold(ProbeStarted(self.now, A, free=False))
        self.now += after_s
        failure = Failure(kind=kind, message="the word", **more) if kind else None  # type: ignore[arg-type]
        self.board.fold(Probed(self.now, A, False, after_s, failure))

    def opened(self) -> set[Scope]:
        return {scope for scope, name in SCOPES.items() if self.state(name) is State.OPEN}

    def cooled(self) -> set[Scope]:
        return {scope for scope, name in SCOPES.items() if self.board.healths()[name].cool_until > self.now}


# ------------------------------------------------------------------------- free questions


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_free_failure_speaks_of_address_and_key_only(kind: FailureKind) -> None:
    """Three failed lists open at most the address, one refused key rests, and everything else says nothing."""
    story = Probes()
    for _ in range(3):
        story.lists(kind)
        story.now += 30.0
    about = SPEAKS_OF.get(kind, Scope.NONE)
    story.now -= 30.0
    assert story.opened() == ({Scope.ENDPOINT} & {about})
    assert story.cooled() == ({Scope.KEY} & {about})


def test_a_refused_key_rests_at_once() -> None:
    """A wrong key is found before any caller's request, and for as long as a caller's would find it."""
    story = Probes()
    story.lists(FailureKind.AUTH)
    assert story.obstacle() == "cooling down for 600 s (auth)"
    assert story.obstacle(target_named("p/m#2")) is None
    cause = story.board.standing(A).key.cause
    assert cause is not None
    assert (cause.kind, cause.message, cause.at, cause.probed) == (FailureKind.AUTH, "the list", START, True)


def test_a_key_may_rest_for_as_long_as_its_failure_says() -> None:
    """A key that is fetched elsewhere may have a successor soon."""
    story = Probes()
    story.lists(FailureKind.AUTH, cool_s=30.0)
    assert story.obstacle() == "cooling down for 30 s (auth)"


def test_a_key_that_was_mended_is_used_again() -> None:
    """Whoever refused a key in the list and takes it there now, takes it for work."""
    story = Probes()
    story.lists(FailureKind.AUTH)
    story.now += 30.0
    story.lists()
    assert story.obstacle() is None
    story.fails(FailureKind.AUTH)
    story.now += 30.0
    story.lists()
    assert story.obstacle() is not None, "this list never looked at the key: what work was told holds"


def test_only_the_key_that_was_refused_is_freed() -> None:
    """A good list ends no rest that was asked for by work, be it shorter or longer."""
    story = Probes()
    story.fails(FailureKind.AUTH)
    story.lists()
    assert story.obstacle() == "cooling down for 600 s (auth)"
    story.now += 600.0
    story.lists()
    assert story.obstacle() is None
    assert story.board.standing(A).key.cool_until == START + 600.0


def test_work_outvotes_a_list() -> None:
    """A list that fails while work is done says something about the list: nobody is set aside for it."""
    story = Probes()
    for kind in (FailureKind.AUTH, FailureKind.SERVER, FailureKind.CONNECT, FailureKind.SILENT) * 2:
        story.answers()
        story.now += 30.0
        story.lists(kind)
    assert story.obstacle() is None
    endpoint = story.board.standing(A).endpoint
    assert (endpoint.window.in_a_row, endpoint.cause) == (0, None)


def test_work_of_the_first_moment_outvotes_the_first_list() -> None:
    """On a clock that has just been started too."""
    story = Probes()
    story.now = 0.0
    story.answers(after_s=0.5)
    story.lists(FailureKind.AUTH)
    assert story.obstacle() is None


def test_only_work_since_the_last_list_outvotes_it() -> None:
    """An answer of before the last list is old: the next failure counts, of that key alone."""
    story = Probes()
    story.answers()
    story.lists(FailureKind.AUTH)
    assert story.obstacle() is None
    story.now += 30.0
    story.answers(target_named("p/m#2"))
    story.lists(FailureKind.AUTH)
    assert story.obstacle() == "cooling down for 600 s (auth)", "work with another key says nothing about this one"


def test_work_of_any_model_outvotes_a_list() -> None:
    """The address is the same for all models and keys."""
    story = Probes()
    for _ in range(4):
        story.answers(target_named("p/n#2"))
        story.lists(FailureKind.SERVER)
    assert story.board.standing(A).endpoint.window.in_a_row == 0


def test_a_suspicion_adds_to_failures_of_work() -> None:
    """One failed list and two refused connections are three failures in a row; a list is no call."""
    story = Probes()
    story.lists(FailureKind.SERVER)
    window = story.board.standing(A).endpoint.window
    assert (window.in_a_row, window.calls, window.failures) == (1, 0, 0)
    story.fails(FailureKind.CONNECT)
    assert story.state("p") is State.CLOSED
    story.fails(FailureKind.CONNECT)
    assert story.state("p") is State.OPEN


@pytest.mark.parametrize("kind", [None, FailureKind.AUTH])
def test_a_list_that_is_there_takes_the_suspicion_back(kind: FailureKind | None) -> None:
    """Failures of a list in a row are in a row; even a refusal shows that somebody is there."""
    story = Probes()
    for _ in range(4):
        story.lists(FailureKind.SERVER)
        story.lists(FailureKind.SERVER)
        story.lists(kind)
    assert story.state("p") is State.CLOSED
    assert story.board.standing(A).endpoint.window.in_a_row == 0


@pytest.mark.parametrize("kind", [FailureKind.RATE_LIMIT, FailureKind.SERVER, FailureKind.CONNECT])
def test_no_failure_takes_a_suspicion_back(kind: FailureKind) -> None:
    """What says nothing says nothing."""
    story = Probes()
    story.lists(FailureKind.SERVER)
    story.lists(kind)
    assert story.board.standing(A).endpoint.window.in_a_row >= 1


def test_a_good_list_hides_no_failure_of_work() -> None:
    """However often the list of models is fine: a model that fails is left alone for its whole time."""
    story = Probes()
    story.opens_breaker()
    until = story.board.standing(A).model.breaker.until
    while story.now < until - 1.0:
        story.lists()
        assert story.obstacle() == "breaker open"
        story.now += 1.0
    assert story.board.standing(A).model.breaker.until == until


def test_a_good_list_shortens_the_rest_of_an_address_and_closes_nothing() -> None:
    """Somebody is there again: the next request is the probe, and only its answer brings traffic back."""
    story = Probes()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    story.now += 1.0
    story.lists()
    assert story.state("p") is State.OPEN and story.obstacle() is None
    story.goes()
    assert story.state("p") is State.HALF_OPEN and story.obstacle() == "breaker half_open"
    story.lists()
    assert story.state("p") is State.HALF_OPEN
    story.answers()
    assert story.state("p") is State.RAMPING


def test_a_good_list_never_makes_a_rest_longer() -> None:
    """An address whose time is over stays due since then."""
    story = Probes()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    until = story.board.standing(A).endpoint.breaker.until
    story.now = until + 5.0
    story.lists()
    assert story.board.standing(A).endpoint.breaker.until == until


@pytest.mark.parametrize(
    ("kind", "early_s", "opens"),
    [
        (FailureKind.CONNECT, EARLY_S, 2), (FailureKind.CONNECT, EARLY_S + 0.01, 1), (FailureKind.CONNECT, -3.0, 2),
        (FailureKind.SERVER, EARLY_S, 1), (FailureKind.SILENT, 0.0, 1),
    ],
)  # fmt: skip
def test_nobody_there_means_a_longer_rest(kind: FailureKind, early_s: float, opens: int) -> None:
    """A refused connection right before a rest is over begins the next one; another failure leaves it to a caller."""
    story = Probes()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    breaker = story.board.standing(A).endpoint.breaker
    story.now = breaker.until - early_s
    story.lists(kind)
    after = story.board.standing(A).endpoint.breaker
    assert (after.state, after.opens) == (State.OPEN, opens)
    assert (after.until > breaker.until + 5.0) == (opens == 2)


def test_a_probe_under_way_is_left_to_itself() -> None:
    """While a caller's request is the probe, no list decides in its place."""
    story = Probes()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    story.now += 10.0
    story.goes()
    for _ in range(3):
        story.lists(FailureKind.CONNECT)
    assert story.state("p") is State.HALF_OPEN


# ---------------------------------------------------------------------------------- words


def test_a_word_takes_the_place_of_the_callers_request() -> None:
    """From the moment it is asked for nobody else is let through, and its answer brings traffic back bit by bit."""
    story = Probes()
    story.opens_breaker()
    story.now = story.board.standing(A).model.breaker.until - EARLY_S
    story.board.fold(ProbeStarted(story.now, A, free=False))
    story.now += 5.0
    assert story.obstacle() == "breaker half_open"
    story.board.fold(Probed(story.now, A, False, 5.0))
    assert story.state("p/m") is State.RAMPING


def test_a_word_says_nothing_of_a_provider_that_is_well() -> None:
    """It changes no breaker that is closed, and counts as no call."""
    story = Probes()
    story.says()
    standing = story.board.standing(A)
    assert not standing.troubled and standing.model.window.calls == 0 and standing.plain.count == 0


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_word_is_held_against_whom_work_would_be(kind: FailureKind) -> None:
    """A word that fails is real evidence: it counts and cools as a caller's request does."""
    story = Probes()
    story.opens_breaker()
    model = story.board.standing(A).model
    until = story.now = model.breaker.until
    story.says(kind, after_s=0.0)
    verdict = VERDICTS[kind]
    assert story.cooled() == ({verdict.cools} - {Scope.NONE})
    if verdict.fault == "caller":
        assert model.breaker.state is State.RAMPING, "somebody who finds fault with us is back"
    else:
        assert model.breaker.state is State.OPEN and model.breaker.opens == 2
        assert model.breaker.until >= until + 10.0, "and no word follows at once"


def test_a_word_that_fails_elsewhere_hurts_nobody_else() -> None:
    """An address that answers with an error is there: only what was being found out goes back to its rest."""
    story = Probes()
    for _ in range(3):
        story.fails(FailureKind.CONNECT)
    story.opens_breaker()
    story.now += 10.0
    story.says(FailureKind.SERVER, status=500)
    assert story.state("p") is State.RAMPING and story.state("p/m") is State.OPEN
    endpoint = story.board.standing(A).endpoint.breaker
    story.says(FailureKind.MODEL_FAULT)
    assert story.board.standing(A).endpoint.breaker == endpoint, "a return that has begun goes on"


def test_an_old_word_says_nothing_of_the_present() -> None:
    """A word that was asked for before the breaker opened again is no news."""
    story = Probes()
    story.opens_breaker()
    story.now += 10.0
    story.board.fold(ProbeStarted(story.now, A, free=False))
    began = story.now
    story.now += 60.0
    story.goes()
    story.board.fold(Probed(story.now, A, False, story.now - began, Failure(kind=FailureKind.EMPTY, message="m")))
    assert story.state("p/m") is State.HALF_OPEN
