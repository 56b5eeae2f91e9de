"""Answers that come with a good status and are none, and requests that are changed to be taken."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from core.world import Flown, Step, World, calls, ends, fail, gives, opens, says, world_of
from unbroken.core.flight import Emit
from unbroken.core.sound import Judge
from unbroken.facts import Progressed, TargetForced
from unbroken.failures import FailureKind
from unbroken.policy import Deadlines, Policy, Streaming
from unbroken.types import Attempt, Delta, Finish, Fix, Response, Task, Usage, Why

REFUSES = [*opens(), *gives(Delta(refusal="I will not.")), *ends(Finish.STOP)]
FILTERED = [*opens(), *ends(Finish.CONTENT_FILTER)]
BREAKS_OFF = [*opens(), *gives(Delta(text="The bomb ")), *ends(Finish.CONTENT_FILTER)]
LAX = Policy(on_refusal="failover")


def judged(world: World, judge: Judge, **request: Any) -> Flown:
    """A request whose whole answers this judge looks at."""
    world.judge = judge
    return world.fly(**request)


# ---------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [REFUSES, FILTERED, BREAKS_OFF])
def test_refusals_are_handed_over(script: Any, stream: bool) -> None:
    """A refusal is an answer, unless the route says otherwise."""
    flown = world_of(a=script).fly(stream=stream)
    assert (flown.names, flown.kind) == ("a", None)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("script", [REFUSES, FILTERED])
def test_refusals_are_taken_elsewhere(script: Any, stream: bool) -> None:
    """With `on_refusal: failover` the next target is asked, and the caller sees only its answer."""
    flown = world_of(policy=LAX, a=script).fly(stream=stream)
    assert (flown.names, flown.text, flown.kind) == ("a b", "fine so far", None)
    assert flown.fates() == ["content_policy"]
    assert not any(delta.refusal for delta in flown.deltas)


def test_a_refusal_after_words_cannot_be_taken_back() -> None:
    """What a stream has shown stays; held back, it can be replaced."""
    flown = world_of(policy=LAX, a=BREAKS_OFF).fly()
    assert (flown.names, flown.text) == ("a", "The bomb ")
    held = replace(LAX, stream=Streaming(hold=True))
    assert world_of(policy=held, a=BREAKS_OFF).fly().text == "fine so far"


@pytest.mark.parametrize("stream", [True, False])
def test_when_everybody_refuses_the_refusal_is_the_answer(stream: bool) -> None:
    """The last one's refusal is better than an error of ours; so is a refusal before targets that are ill."""
    flown = world_of(policy=LAX, a=REFUSES, b=REFUSES).fly(stream=stream)
    assert (flown.names, flown.kind) == ("a b", None)
    assert [delta.refusal for delta in flown.deltas if delta.refusal] == ["I will not."]
    flown = world_of(policy=LAX, a=REFUSES, b=fail(FailureKind.AUTH)).fly(stream=stream)
    assert [delta.refusal for delta in flown.deltas if delta.refusal] == ["I will not."]


# --------------------------------------------------------------------- calls and schemas


@pytest.mark.parametrize(
    ("arguments", "names"), [('{"x":1}', "a"), ("", "a"), ('{"x":', "a a b"), ("[1]", "a a b"), ("{" * 9999, "a a b")]
)
@pytest.mark.parametrize("stream", [True, False])
def test_arguments_that_are_no_json(arguments: str, names: str, stream: bool) -> None:
    """A call with arguments that no program can read is the model's fault: once more, then elsewhere."""
    script = [*opens(), *calls(arguments), *ends(Finish.TOOL_CALLS)]
    minding = Policy(on_bad_arguments="failover")
    flown = world_of(policy=minding, a=script).fly(stream=stream)
    assert (flown.names, flown.kind) == (names, None)
    assert world_of(a=script).fly(stream=stream).names == "a"


@pytest.mark.parametrize("stream", [True, False])
def test_answers_are_judged_whole(stream: bool) -> None:
    """What a judge finds wanting is never shown, not even in a stream that began well."""
    asked: list[str] = []

    def judge(answer: Response) -> str | None:
        asked.append(answer.text)
        return None if answer.text == "fine so far" else "it is not fine"

    world = world_of(policy=Policy(on_bad_schema="failover"), a=says("bad", " answer"))
    flown = judged(world, judge, stream=stream, needs=frozenset({"schema"}))
    assert (flown.names, flown.text, flown.kind) == ("a a b", "fine so far", None)
    assert asked == ["bad answer", "bad answer", "fine so far"]
    assert flown.fates() == ["model_fault", "model_fault"]


def test_streams_without_a_schema_are_not_held() -> None:
    """Only what has to be checked whole is kept back until it is whole."""
    flown = world_of("a", Policy(on_bad_schema="failover")).fly()
    assert len([delta for delta in flown.deltas if delta.text]) == len(
        {at for at, command in flown.commands if isinstance(command, Emit)}
    )


# ------------------------------------------------------------------------------- fixes


def test_a_request_is_mended_once() -> None:
    """The same target is asked again at once with the change that it wants, at no cost to the retry budget."""
    fix = Fix(rename={"max_tokens": "max_completion_tokens"})
    script = (fail(FailureKind.UNSUPPORTED, fix=fix), says("fixed"))
    flown = world_of(a=script).fly()
    assert (flown.names, flown.whys, flown.text) == ("a a", "first fix", "fixed")
    assert [attempt.fix for attempt in flown.attempts] == [None, fix]
    assert flown.times[1] == pytest.approx(0.2)


def test_a_mended_request_that_fails_again_goes_elsewhere() -> None:
    """One change for one target; then whoever can take the request as it is."""
    flown = world_of(a=fail(FailureKind.UNSUPPORTED, fix=Fix(drop=("seed",)))).fly()
    assert (flown.names, flown.whys) == ("a a b", "first fix failover")


@pytest.mark.parametrize(("targets", "names"), [("a b", "a b"), ("a", "a")])
def test_whom_an_operator_took_out_meanwhile_is_not_asked_to_mend(targets: str, names: str) -> None:
    """Others get the request as it is, even where the complaint would be the caller's affair."""
    world = world_of(targets)

    def refuses(_: Attempt) -> list[Step]:
        world.board.fold(TargetForced(world.now, "a", True))
        return fail(FailureKind.REQUEST, fix=Fix(drop=("seed",)))

    world.play("a", refuses)
    flown = world.fly()
    assert flown.names == names
    assert flown.kind is (FailureKind.REQUEST if targets == "a" else None)


def test_what_nobody_supports_is_the_callers_affair() -> None:
    """The provider's own complaint is the last word, and nobody's health suffers."""
    world = world_of(a=fail(FailureKind.UNSUPPORTED), b=fail(FailureKind.UNSUPPORTED))
    for _ in range(5):
        assert world.fly().kind is FailureKind.UNSUPPORTED
    assert not any(world.board.obstacle(target, world.now) for target in world.route.targets)


# ------------------------------------------------------------------------- embeddings


def test_vectors_of_another_model_are_not_asked_for() -> None:
    """An embedding fails over to hosts of the same model only, whatever they call it, unless the route says any."""
    world = world_of("p/org/bge-m3 q/bge-M3:fast r/other-model")
    world.play("p/org/bge-m3", fail(FailureKind.AUTH))
    flown = world.fly(task=Task.EMBEDDING, stream=False)
    assert (flown.names, flown.kind) == ("p/org/bge-m3 q/bge-M3:fast", None)
    world.play("q/bge-M3:fast", fail(FailureKind.AUTH))
    world.sleep(9_999)
    assert world.fly(task=Task.EMBEDDING, stream=False).kind is FailureKind.AUTH
    world.route = replace(world.route, policy=Policy(embedding_models="any"))
    world.sleep(9_999)
    assert world.fly(task=Task.EMBEDDING, stream=False).names.endswith("r/other-model")


# ------------------------------------------------------------------------------- jobs


def test_a_job_has_all_the_time_there_is() -> None:
    """Whoever has accepted a job and says how it goes is waited for: a second one would be paid for as well."""
    job = [*opens(), *gives(Delta(progress=0.1)), *gives(Delta(progress=0.6), after_s=700.0)]
    done = [*gives(Delta(media=1, usage=Usage(seconds=8)), after_s=100.0), *ends()]
    flown = world_of(a=[*job, *done]).fly(task=Task.VIDEO, stream=False, max_tokens=None)
    assert (flown.names, flown.kind) == ("a", None)
    assert flown.seconds == pytest.approx(800, abs=5)
    assert [fact.share for fact in flown.facts(Progressed)] == [0.1, 0.6]


def test_a_job_that_nobody_accepts_is_taken_elsewhere() -> None:
    """Before a job was accepted, silence is silence."""
    flown = world_of(a=opens()).fly(task=Task.VIDEO, stream=False, max_tokens=None)
    assert flown.names == "a b"


def test_a_job_that_takes_for_ever_ends_with_the_callers_patience() -> None:
    """Fifteen minutes, then the caller is told."""
    job = [*opens(), *gives(Delta(progress=0.1))]
    flown = world_of(a=job).fly(task=Task.VIDEO, stream=False, max_tokens=None)
    assert (flown.names, flown.kind) == ("a", FailureKind.DEADLINE)
    assert flown.seconds == pytest.approx(900, abs=1)


def test_a_job_has_no_more_time_than_the_operator_gives() -> None:
    """A route's own total holds for jobs too."""
    job = [*opens(), *gives(Delta(progress=0.1)), *gives(Delta(progress=0.6), after_s=700.0), *ends()]
    short = Policy(deadlines=Deadlines(total_s=300.0))
    flown = world_of(policy=short, a=job).fly(task=Task.VIDEO, stream=False, max_tokens=None)
    assert flown.kind is FailureKind.DEADLINE
    assert flown.seconds == pytest.approx(300, abs=1)


def test_attempts_say_why() -> None:
    """`fix` is a reason of its own in every record of an attempt."""
    assert Attempt(number=1, target=World("a").target("a"), why=Why.FIX).why == "fix"
