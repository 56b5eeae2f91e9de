from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.world import START, target_named
from unbroken.core.board import Board
from unbroken.core.breaker import State
from unbroken.core.probing import APART_S, Errand, Post, Rounds
from unbroken.core.scopes import EARLY_S
from unbroken.facts import AttemptFailed, Decided, Probed, ProbeStarted, TargetForced
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Breaking, Probing
from unbroken.types import Target

NEVER = float("inf")
A, B, N = target_named("p/m#1"), target_named("p/m#2"), target_named("p/n#1")
OTHER = target_named("q/m#1")
EVERY_S, IDLE_S = 30.0, 900.0
BOTH = Probing(every_s=EVERY_S, billed=True)


class Watch:
    """Rounds with a board, and time that jumps to whatever is due next."""

    def __init__(self, *posts: Post, seed: int = 1) -> None:
        self.board = Board(Random(seed))
        self.rounds = Rounds(posts, board=self.board, draw=Random(seed))
        self.now = START
        self.rounds.begin(self.now)

    def wants(self, *targets: Target, resting: tuple[Target, ...] = ()) -> None:
        skipped = tuple((target, "rests") for target in resting)
        self.rounds.wanted(Decided(self.now, "f", "r", "priority", targets, skipped))

    def next(self) -> tuple[float, Errand]:
        """Wait for the next question; when it was asked, and which."""
        self.now = max(self.now, self.rounds.wake_at(self.now))
        assert self.now < NEVER, "nothing is due"
        (errand,) = self.rounds.due(self.now)
        if not errand.free:
            self.board.fold(ProbeStarted(self.now, errand.target, free=False))
        return self.now, errand

    def hears(
        self, errand: Errand, kind: FailureKind | None = None, *, told: bool = True, after_s: float = 0.0
    ) -> None:
        """The answer to it."""
        self.now += after_s
        failure = Failure(kind=kind, message="m") if kind else None
        if told:
            self.board.fold(Probed(self.now, errand.target, errand.free, after_s, failure))
        self.rounds.over(errand, self.now, told=told, well=failure is None)

    def fails(self, kind: FailureKind, target: Target = A, times: int = 3) -> None:
        for number in range(times):
            failure = Failure(kind=kind, message="m")
            self.board.fold(AttemptFailed(self.now, "f", number, target, failure, 0.0))


def post(probing: Probing = BOTH, *, free: tuple[Target, ...] = (A,), worded: tuple[Target, ...] = ()) -> Post:
    return Post("p", probing, free, worded)


# ------------------------------------------------------------------------------ intervals


@given(
    seed=st.integers(0, 1_000),
    every_s=st.floats(5.0, 600.0),
    jitter=st.floats(0.0, 1.0),
    answers=st.lists(
        st.tuples(st.sampled_from(["well", "ill", "refused", "useless"]), st.floats(0.0, 20.0)), max_size=30
    ),
    keys=st.sampled_from([(A,), (A, B)]),
)
def test_one_at_a_time_and_never_too_often(
    seed: int, every_s: float, jitter: float, answers: list[tuple[str, float]], keys: tuple[Target, ...]
) -> None:
    """Whatever is answered, there are never two questions at a time, nor two within the least distance."""
    watch = Watch(post(Probing(every_s=every_s, jitter=jitter, idle_s=1e9), free=keys), seed=seed)
    kinds = {"well": None, "ill": FailureKind.SERVER, "refused": FailureKind.AUTH, "useless": None}
    before = -NEVER
    for answer, after_s in answers:
        watch.wants(A)
        at, errand = watch.next()
        assert at >= before + APART_S
        assert (watch.rounds.wake_at(watch.now), watch.rounds.due(watch.now + 1e6)) == (NEVER, [])
        watch.hears(errand, kinds[answer], told=answer != "useless", after_s=after_s)
        before = at


@given(seed=st.integers(0, 1_000), jitter=st.floats(0.0, 0.8), after_s=st.floats(0.0, 10.0))
def test_intervals_keep_their_bounds(seed: int, jitter: float, after_s: float) -> None:
    """The first question comes within the first interval, and each pause is the interval, give or take the jitter."""
    watch = Watch(post(Probing(every_s=EVERY_S, jitter=jitter)), seed=seed)
    at, errand = watch.next()
    assert START <= at <= START + EVERY_S
    for _ in range(20):
        watch.hears(errand, after_s=after_s)
        answered = watch.now
        watch.wants(A)
        at, errand = watch.next()
        assert EVERY_S * (1.0 - jitter) - 1e-6 <= at - answered <= EVERY_S * (1.0 + jitter) + 1e-6


def test_gateways_that_start_together_do_not_ask_together() -> None:
    """Ten replicas spread their first questions over the interval, and drift apart with each further one."""
    watches = [Watch(post(Probing(every_s=EVERY_S)), seed=seed) for seed in range(10)]
    firsts, gaps = [], []
    for watch in watches:
        first, errand = watch.next()
        watch.hears(errand)
        second, _ = watch.next()
        firsts.append(first - START)
        gaps.append(second - first)
    assert max(firsts) - min(firsts) > EVERY_S / 2
    assert max(gaps) - min(gaps) > 0.2 * EVERY_S


def test_nothing_goes_out_before_its_time() -> None:
    """A look that comes too early sends nothing."""
    watch = Watch(post(Probing(every_s=EVERY_S)))
    at = watch.rounds.wake_at(watch.now)
    assert watch.rounds.due(at - 0.001) == []
    assert watch.rounds.due(at) == [Errand(A, free=True)]


def test_the_least_distance_is_a_breakers_first_rest() -> None:
    """A probe for each opening of a breaker, and no more."""
    assert APART_S == Breaking().open_s == 5.0


def test_every_key_is_asked_in_turn() -> None:
    """Two keys are two questions, one after the other, each at its own interval."""
    watch = Watch(post(Probing(every_s=EVERY_S), free=(A, B)))
    asked = []
    for _ in range(8):
        _, errand = watch.next()
        asked.append(errand.target.name)
        watch.hears(errand)
    assert asked.count(A.name) == asked.count(B.name) == 4


def test_what_tells_nothing_is_hardly_asked() -> None:
    """A provider without a list of models is not asked for it again and again."""
    watch = Watch(post(Probing(every_s=EVERY_S, jitter=0.0, idle_s=1e6)))
    at, errand = watch.next()
    watch.hears(errand, told=False)
    assert watch.rounds.wake_at(watch.now) == at + 20 * EVERY_S


def test_a_failure_is_looked_at_again_soon() -> None:
    """An address that has just failed a question is asked again at once, more or less, until its breaker opens."""
    gaps = []
    for seed in range(10):
        watch = Watch(post(Probing(every_s=EVERY_S, jitter=0.5)), seed=seed)
        at, errand = watch.next()
        for _ in range(2):
            watch.hears(errand, FailureKind.SERVER)
            again, errand = watch.next()
            gaps.append(again - at)
            at = again
        watch.hears(errand, FailureKind.SERVER)
        assert watch.board.standing(A).endpoint.breaker.state is State.OPEN
    assert min(gaps) >= APART_S and 1.4 * APART_S < max(gaps) <= 1.5 * APART_S


def test_a_refused_key_is_asked_about_at_the_usual_pace() -> None:
    """A key does not become good by being shown every five seconds."""
    watch = Watch(post(Probing(every_s=EVERY_S, jitter=0.0)))
    at, errand = watch.next()
    watch.hears(errand, FailureKind.AUTH)
    assert watch.rounds.wake_at(watch.now) == at + EVERY_S


def test_soon_is_never_later_than_usual() -> None:
    """Where the interval is the least that there is, a failure does not make it longer."""
    watch = Watch(post(Probing(every_s=APART_S, jitter=0.0)))
    at, errand = watch.next()
    watch.hears(errand, FailureKind.SERVER)
    assert watch.rounds.wake_at(watch.now) == at + APART_S


# ------------------------------------------------------------------------------ idleness


def test_nobody_is_asked_whom_nobody_wants() -> None:
    """After `idle_s` without a caller there is no timer at all; the next caller starts it again."""
    watch = Watch(post(Probing(every_s=EVERY_S)), Post("q", Probing(every_s=EVERY_S), (OTHER,)))
    watch.now = START + IDLE_S
    watch.wants(OTHER)
    first, second = watch.rounds.due(watch.now)
    assert [first.target, second.target] == [A, OTHER]
    watch.hears(first)
    assert watch.rounds.wake_at(watch.now) == NEVER, "the next would be too late, and the other is under way"
    watch.hears(second)
    assert watch.rounds.wake_at(watch.now) < watch.now + 2 * EVERY_S
    watch.now += 2 * EVERY_S
    assert [errand.target for errand in watch.rounds.due(watch.now)] == [OTHER]
    watch.wants(A)
    assert [errand.target for errand in watch.rounds.due(watch.now)] == [A]


def test_whoever_rests_is_wanted_too() -> None:
    """A provider that requests are kept from is one that callers would like to have back."""
    watch = Watch(post(Probing(every_s=EVERY_S)))
    watch.now = START + IDLE_S + 1
    assert watch.rounds.wake_at(watch.now) == NEVER
    watch.wants(OTHER, resting=(A,))
    assert watch.rounds.wake_at(watch.now) <= watch.now


def test_without_posts_there_is_nothing_to_do() -> None:
    """No provider that is watched, no timer; and nothing on a provider that has nothing to be asked."""
    assert Watch().rounds.wake_at(START) == NEVER
    assert Watch(post(Probing(billed=True), free=())).rounds.wake_at(START) == NEVER


# ------------------------------------------------------------------- open breakers


def test_a_free_question_goes_before_the_callers_request() -> None:
    """Right before an address would get a request again it is asked; nobody there means a longer rest, at no cost."""
    watch = Watch(post(Probing(every_s=600.0)))
    watch.now += 600.0
    watch.wants(A)
    _, errand = watch.next()
    watch.hears(errand)
    watch.now += 100.0
    watch.fails(FailureKind.CONNECT)
    breaker = watch.board.standing(A).endpoint.breaker
    assert breaker.state is State.OPEN
    for opens in (2, 3, 4):
        at, errand = watch.next()
        assert at == breaker.until - EARLY_S and errand == Errand(A, free=True)
        watch.hears(errand, FailureKind.CONNECT)
        breaker = watch.board.standing(A).endpoint.breaker
        assert (breaker.state, breaker.opens) == (State.OPEN, opens)
    _, errand = watch.next()
    watch.hears(errand)
    assert watch.board.obstacle(A, watch.now) is None, "somebody is there: the next request finds out the rest"
    assert watch.rounds.wake_at(watch.now) > watch.now + APART_S, "and it is asked at its usual pace again"


def test_an_early_question_is_asked_once() -> None:
    """A question that comes to nothing before a rest is over is not asked over and over while it is."""
    watch = Watch(post(Probing(every_s=600.0, jitter=0.0)))
    watch.now += 600.0
    watch.wants(A)
    _, errand = watch.next()
    watch.hears(errand)
    watch.now += 100.0
    watch.fails(FailureKind.CONNECT)
    at, errand = watch.next()
    watch.hears(errand, FailureKind.SILENT)
    assert watch.rounds.wake_at(watch.now) == at + 600.0


def test_words_are_asked_for_at_the_half_open_moment_only() -> None:
    """A word goes out right before the breaker lets a caller's request through, takes its place, and brings it back."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A, B, N)))
    watch.wants(A, B)
    assert watch.rounds.wake_at(watch.now) == NEVER
    watch.fails(FailureKind.SERVER)
    model = watch.board.standing(A).model
    until = model.breaker.until
    at, errand = watch.next()
    assert (at, errand) == (until - EARLY_S, Errand(A, free=False))
    watch.now = until
    assert watch.board.obstacle(A, watch.now) == "breaker half_open", "no caller is spent on it"
    watch.hears(errand, FailureKind.SERVER)
    assert (model.breaker.state, model.breaker.opens) == (State.OPEN, 2)
    until = model.breaker.until
    at, errand = watch.next()
    assert at == until - EARLY_S
    watch.hears(errand, after_s=0.5)
    assert model.breaker.state is State.RAMPING
    assert watch.rounds.wake_at(watch.now) == NEVER


@pytest.mark.parametrize(
    "kind", [FailureKind.MODEL_FAULT, FailureKind.EMPTY, FailureKind.SERVER, FailureKind.DIVERGED, FailureKind.SILENT]
)
def test_words_are_never_asked_for_on_and_on(kind: FailureKind) -> None:
    """However a word fails, the rest that follows is longer than the one before: probes cost money."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A,)))
    watch.wants(A)
    watch.fails(FailureKind.SERVER)
    times = []
    for _ in range(5):
        watch.wants(A)
        at, errand = watch.next()
        times.append(at)
        watch.hears(errand, kind, after_s=0.1)
    gaps = [after - before for before, after in pairwise(times)]
    assert gaps == sorted(gaps) and gaps[0] > APART_S and gaps[-1] > 30.0


def test_a_word_waits_for_limits_and_wishes() -> None:
    """No word while a limit is being waited for, nor for a target that no caller has wanted of late."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A, N)))
    watch.fails(FailureKind.SERVER, N)
    assert watch.rounds.wake_at(watch.now) == NEVER, "nobody wants it"
    watch.wants(A)
    watch.fails(FailureKind.SERVER, A)
    watch.fails(FailureKind.RATE_LIMIT, A, 1)
    at, errand = watch.next()
    assert (at, errand.target) == (START + 15.0 - EARLY_S, A)
    watch.hears(errand, FailureKind.SERVER)
    watch.now = START + IDLE_S + 1
    watch.wants(OTHER)
    assert watch.rounds.wake_at(watch.now) == NEVER
    watch.rounds.wanted(Decided(watch.now, "f", "r", "priority", (target_named("p/else#1"),)))
    assert watch.rounds.wake_at(watch.now) == NEVER


def test_wishes_last_for_so_long_and_no_longer() -> None:
    """A target is asked for a word until `idle_s` after a caller wanted it, though others of its provider still are."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A, N)))
    watch.wants(A)
    watch.fails(FailureKind.SERVER)
    watch.now = START + IDLE_S
    watch.wants(N)
    assert watch.rounds.wake_at(watch.now) <= watch.now
    assert watch.rounds.wake_at(watch.now + 0.001) == NEVER


@pytest.mark.parametrize("is_open", [True, False])
def test_what_an_operator_forced_gets_no_word(is_open: bool) -> None:
    """Nobody pays for finding out what an operator has decided."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A,)))
    watch.wants(A)
    watch.fails(FailureKind.SERVER)
    watch.board.fold(TargetForced(watch.now, "p", is_open))
    assert watch.rounds.wake_at(watch.now) == NEVER


def test_a_word_for_a_model_of_two_keys_is_asked_for_once() -> None:
    """The first key's word is the model's probe; the second key asks for none."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A, B)))
    watch.wants(A, B)
    watch.fails(FailureKind.SERVER)
    _, errand = watch.next()
    watch.hears(errand)
    assert watch.rounds.wake_at(watch.now) == NEVER


def test_words_of_two_models_keep_their_distance() -> None:
    """Two models of one provider that are due together are asked one after the other."""
    watch = Watch(post(Probing(billed=True), free=(), worded=(A, N)))
    watch.wants(A, N)
    watch.fails(FailureKind.SERVER, A)
    watch.fails(FailureKind.SERVER, N)
    first, errand = watch.next()
    watch.hears(errand)
    second, other = watch.next()
    assert errand.target != other.target and second == first + APART_S


def test_a_word_does_not_put_off_the_free_question() -> None:
    """Free questions come at their interval, whatever words are asked for in between."""
    watch = Watch(post(replace(BOTH, jitter=0.0), worded=(A,)))
    watch.wants(A)
    at, errand = watch.next()
    watch.hears(errand)
    watch.fails(FailureKind.SERVER)
    _, errand = watch.next()
    assert not errand.free
    watch.hears(errand)
    assert watch.next() == (at + EVERY_S, Errand(A, free=True))


def test_a_word_does_not_wait_for_the_distance_of_free_questions() -> None:
    """A free question that was just asked does not keep a word from going before the caller's request."""
    watch = Watch(post(replace(BOTH, jitter=0.0), worded=(A,)))
    watch.wants(A)
    at, errand = watch.next()
    watch.hears(errand)
    watch.now = at + EVERY_S - 3.0
    watch.fails(FailureKind.SERVER)
    until = watch.board.standing(A).model.breaker.until
    at, errand = watch.next()
    assert errand.free
    watch.hears(errand)
    assert watch.next() == (until - EARLY_S, Errand(A, free=False))
