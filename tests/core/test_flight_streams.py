from __future__ import annotations

import pytest

from core.world import (
    HANGS,
    Flown,
    Step,
    begins,
    calls,
    carries_on,
    cut,
    ends,
    fail,
    gives,
    opens,
    says,
    world_of,
)
from unbroken.core.flight import Abandon, Emit, Finished
from unbroken.facts import AttemptFailed, Continued
from unbroken.failures import FailureKind
from unbroken.policy import Deadlines, Hedging, Policy, Streaming
from unbroken.types import Delta, Finish, Mode, Request, ToolFragment

TRUTH = "The quick brown fox jumps over the lazy dog, and nobody in the village ever learns of it."
SHOWN = TRUTH[:48]
REST = TRUTH[48:]


TIRED = [*begins(SHOWN), *fail(FailureKind.OVERLOADED, retry_after_s=60.0)]
"""A stream that is cut, by a target that is to be left alone then."""


def breaks(*words: str, kind: FailureKind = FailureKind.BROKEN) -> list[Step]:
    """A stream that is cut after these words."""
    return [*begins(*words), *fail(kind)]


# ------------------------------------------------------------------- streams that break


@pytest.mark.parametrize("rest", [["#", "# Bridges"], ["#", " Bridges"]])
def test_a_stream_that_breaks_after_a_sign_begins_anew(rest: list[str]) -> None:
    """The caller has seen nothing of it, and gets the other's answer from its beginning."""
    world = world_of(a=breaks("#"), b=says(*rest))
    world.change("b", prefix="assistant")
    flown = world.fly()
    assert (flown.text, flown.whys) == ("".join(rest), "first retry failover")


def test_an_answer_of_one_sign_is_an_answer() -> None:
    """It is shown with its end."""
    assert world_of(a=says("7")).fly().text == "7"


@pytest.mark.parametrize(
    "kind", [FailureKind.BROKEN, FailureKind.TRUNCATED, FailureKind.SERVER, FailureKind.OVERLOADED]
)
def test_a_broken_stream_goes_on_elsewhere(kind: FailureKind) -> None:
    """Cut, ended early or failed in-band: another target says the rest, every word once."""
    world = world_of(a=breaks(SHOWN, kind=kind), b=carries_on(TRUTH))
    world.change("b", prefix="assistant")
    flown = world.fly()
    assert (flown.text, flown.names, flown.whys) == (TRUTH, "a b", "first continuation")
    assert (flown.end.rescued, flown.end.failover, flown.kind) == (True, True, None)
    [continued] = flown.facts(Continued)
    assert (continued.origin.name, continued.target.name, continued.mode, continued.chars) == (
        "a",
        "b",
        Mode.PREFIX,
        48,
    )
    [failed] = flown.facts(AttemptFailed)
    assert failed.shown


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
@pytest.mark.parametrize(
    "answer",
    [
        TRUTH,
        "Of course, here is the rest: " + SHOWN[-44:] + REST,
        SHOWN[-35:] + REST,
    ],
)
def test_a_target_that_is_asked_to_go_on_may_do_it_in_three_ways(answer: str, size: int) -> None:
    """From the beginning, after a preface, or from the anchor on: the caller sees every word once."""
    flown = world_of(a=breaks(SHOWN), b=says(*cut(answer, size), gap_s=0.01)).fly()
    assert flown.continuations[1] is not None
    assert (flown.continuations[1].mode, flown.text) == (Mode.ASK, TRUTH)


@pytest.mark.parametrize("shown", [1, 4, 8, 20, 33, 44, 45, 60, 88])
@pytest.mark.parametrize("size", [1, 3, 50])
def test_wherever_a_stream_breaks_the_words_are_right(shown: int, size: int) -> None:
    """At a blank, inside a word, after a letter: a restart, a prefix and an anchor all join there."""
    whole = world_of(a=breaks(TRUTH[:shown]), b=says(*cut(TRUTH, size), gap_s=0.01)).fly()
    assert whole.text == TRUTH
    carried = world_of(a=breaks(TRUTH[:shown]), b=carries_on(TRUTH, piece_chars=size))
    carried.change("b", prefix="assistant")
    assert carried.fly().text == TRUTH


def test_what_cannot_be_joined_goes_to_the_next_and_ends_honestly() -> None:
    """Foreign words are never shown: the next target is asked, and if none can, the stream ends with an error."""
    foreign = says(*cut("Bananas are a good source of potassium. " * 20, 9), gap_s=0.01)
    world = world_of("a b c", a=breaks(SHOWN), b=foreign, c=says(*cut(TRUTH, 9)))
    flown = world.fly()
    assert (flown.names, flown.text) == ("a b c", TRUTH)
    assert "diverged" in flown.fates()
    assert 2 in {command.number for command in flown.all_of(Abandon)}, "the line to who diverged must be closed"
    lost = world_of("a b", a=(breaks(SHOWN), foreign), b=foreign).fly()
    assert (lost.text, lost.kind, lost.end.shown, lost.end.rescued) == (SHOWN, FailureKind.BROKEN, True, False)
    assert lost.names == "a b a b"


def test_continuations_are_counted() -> None:
    """After `continuations_max` of them the stream ends with its first error."""
    policy = Policy(stream=Streaming(continuations_max=1))
    world = world_of("a b c", policy, a=breaks(SHOWN, kind=FailureKind.TRUNCATED), b=fail(FailureKind.SERVER))
    flown = world.fly()
    assert (flown.names, flown.kind) == ("a b", FailureKind.TRUNCATED)


def test_a_rescue_may_break_too() -> None:
    """The third target goes on from what the first two said."""
    world = world_of("a b c", a=breaks(TRUTH[:20]), b=breaks(TRUTH[20:50]), c=carries_on(TRUTH))
    world.change_all(prefix="assistant")
    flown = world.fly()
    assert (flown.names, flown.text) == ("a b c", TRUTH)
    assert [c.text for c in flown.continuations if c] == [TRUTH[:20], TRUTH[:50]]


def test_with_nobody_else_the_same_target_goes_on() -> None:
    """A single target is asked to continue its own answer."""
    world = world_of("a", a=(breaks(SHOWN), carries_on(TRUTH)))
    world.change("a", prefix="assistant")
    flown = world.fly()
    assert (flown.names, flown.text, flown.end.rescued, flown.end.failover) == ("a a", TRUTH, True, False)


def test_a_refused_prefix_is_asked_for_in_words_at_the_same_target() -> None:
    """A model that takes no prefill is asked to go on instead, before anybody else."""
    refusal = fail(FailureKind.REQUEST, status=400, code="prefill_unsupported")
    world = world_of("a b c", a=breaks(SHOWN), b=(refusal, says(*cut(TRUTH, 9))))
    world.change_all(prefix="assistant")
    flown = world.fly()
    assert (flown.names, flown.text) == ("a b b", TRUTH)
    assert [c.mode for c in flown.continuations if c] == [Mode.PREFIX, Mode.ASK]


def test_a_stream_that_stalls_goes_on_elsewhere() -> None:
    """Twenty seconds without a word and the line is cut; the caller's stream goes on."""
    world = world_of(a=begins(SHOWN), b=carries_on(TRUTH))
    world.change("b", prefix="assistant")
    flown = world.fly()
    assert (flown.text, flown.fates(), flown.times[1]) == (TRUTH, ["stalled"], 20.5)
    assert flown.all_of(Abandon)


def test_a_stream_that_breaks_late_is_rescued_all_the_same() -> None:
    """The deadline was for the first content; a rescue after an hour has its own time."""
    slowly = [*begins(*cut(SHOWN, 6), gap_s=15.0), *fail(FailureKind.BROKEN)]
    policy = Policy(deadlines=Deadlines(chars_per_s_min=0.1))
    world = world_of("a b c", policy, a=slowly, b=HANGS, c=carries_on(TRUTH))
    world.change_all(prefix="assistant")
    flown = world.fly()
    assert (flown.names, flown.text) == ("a b c", TRUTH)
    assert flown.times[1] > 100


def test_a_stream_that_drips_is_given_up() -> None:
    """Fewer than fifteen characters in half a minute are not worth waiting for."""
    world = world_of(a=begins(*cut(SHOWN, 1), gap_s=8.0), b=carries_on(TRUTH))
    world.change("b", prefix="assistant")
    flown = world.fly()
    assert (flown.text, flown.fates(), flown.times[1]) == (TRUTH, ["slow"], 30.5)


def test_a_stream_has_a_ceiling() -> None:
    """Not even a lively stream lasts longer than the operator allows."""
    policy = Policy(deadlines=Deadlines(ceiling_s=40.0), stream=Streaming(rescue="error"))
    flown = world_of(policy=policy, a=begins(*["a fair amount of text "] * 60, gap_s=1.0)).fly()
    assert (flown.kind, flown.seconds) == (FailureKind.SLOW, 40.0)


def test_thoughts_alone_are_begun_anew_and_not_shown_twice() -> None:
    """A stream that breaks while it thinks starts again elsewhere; the new thoughts are left out."""
    world = world_of(a=[*opens(), *gives(Delta(reasoning="hm, let me see")), *fail(FailureKind.BROKEN)])
    world.play("b", [*opens(), *gives(Delta(reasoning="I wonder"), Delta(text="42")), *ends()])
    flown = world.fly()
    assert (flown.text, "".join(delta.reasoning for delta in flown.deltas)) == ("42", "hm, let me see")
    assert flown.continuations[1] is not None
    assert (flown.continuations[1].mode, flown.continuations[1].text) == (Mode.RESTART, "")


def test_a_rescue_is_never_hedged() -> None:
    """A second voice would not know where to join."""
    policy = Policy(hedging=Hedging(after_s=1.0))
    thinking = [*opens(), *gives(Delta(reasoning="hm")), *fail(FailureKind.BROKEN)]
    flown = world_of("a b c", policy, a=thinking, b=says("late", first_s=4.0)).fly()
    assert (flown.names, flown.text) == ("a b", "late")


def test_the_first_stream_lends_its_id_to_the_rest() -> None:
    """A client that checks ids sees one answer."""
    flown = world_of(a=breaks(SHOWN), b=[*opens(), *gives(Delta(text=TRUTH, id="2", raw=b"x")), *ends()]).fly()
    assert {delta.id for delta in flown.deltas if delta.text} == {"1"}
    assert flown.deltas[-1].raw == b""


@pytest.mark.parametrize("rescue", ["restart-if-unseen", "error"])
def test_an_operator_may_forbid_rescues(rescue: str) -> None:
    """Once words were shown, the stream then ends with an error."""
    policy = Policy(stream=Streaming(rescue=rescue))
    flown = world_of(policy=policy, a=breaks(SHOWN)).fly()
    assert (flown.names, flown.text, flown.kind, flown.end.shown) == ("a", SHOWN, FailureKind.BROKEN, True)


@pytest.mark.parametrize("rescue", ["restart-if-unseen", "error", "continue"])
def test_before_the_first_content_failover_is_invisible_whatever_the_rescue(rescue: str) -> None:
    """Nothing was shown, nothing needs to be rescued."""
    policy = Policy(stream=Streaming(rescue=rescue))
    assert world_of(policy=policy, a=fail(FailureKind.CONNECT)).fly().text == "fine so far"


def test_several_answers_at_once_cannot_be_carried_on() -> None:
    """Nobody could tell which words belong where."""
    flown = world_of(a=breaks(SHOWN)).fly(choices=2)
    assert (flown.names, flown.kind) == ("a", FailureKind.BROKEN)


def test_rescuers_who_rest_come_last_and_those_taken_out_never() -> None:
    """First whoever is well and has not failed, then whoever rests; never whom an operator took out."""
    world = world_of("a b c d", a=breaks(SHOWN), d=carries_on(TRUTH), c=fail(FailureKind.CONNECT))
    world.change_all(prefix="assistant")
    world.force("b", open=True)
    assert world.fly().names == "a c d"
    world.force("d", open=True)
    assert world.fly().names == "a c a c"
    alone = world_of("a b", a=(TIRED, carries_on(TRUTH)))
    alone.change_all(prefix="assistant")
    alone.force("b", open=True)
    flown = alone.fly()
    assert (flown.names, flown.text) == ("a a", TRUTH)


def test_a_caller_who_reads_slowly_is_no_fault_of_the_providers() -> None:
    """While nothing is read, silence and drips are not held against the target; afterwards they are again."""
    world = world_of()
    flight = world.flight(Request(model="auto", stream=True))
    flight.begin(world.now)
    flight.connected(1, world.now)
    flight.opened(1, world.now)
    flight.arrived(1, [Delta(text="some words")], now=world.now)
    stalls_at = flight.wake_at
    flight.paused()
    assert flight.wake_at == world.now + 3_600.0
    assert not flight.woke(stalls_at)
    flight.resumed(world.now + 500.0)
    assert flight.wake_at == world.now + 520.0
    assert isinstance(flight.woke(world.now + 520.0)[0], Abandon)


def test_not_even_a_slow_reader_keeps_a_stream_for_ever() -> None:
    """The ceiling holds for paused streams too."""
    world = world_of(policy=Policy(stream=Streaming(rescue="error")))
    flight = world.flight(Request(model="auto", stream=True))
    flight.begin(world.now)
    flight.arrived(1, [Delta(text="some words")], now=world.now)
    flight.paused()
    end = flight.woke(flight.wake_at)[-1]
    assert isinstance(end, Finished)
    assert end.failure is not None
    assert end.failure.kind is FailureKind.SLOW


def test_each_of_those_who_rest_is_asked_once() -> None:
    """When one of them fails to go on, the next of them is asked before the one that broke."""
    for last, names in ((carries_on(TRUTH), "a b c"), (fail(FailureKind.CONNECT), "a b c a")):
        world = world_of("a b c", a=TIRED, b=fail(FailureKind.CONNECT), c=last)
        world.change_all(prefix="assistant")
        for name in "bc":
            failure = fail(FailureKind.AUTH)[0].what
            world.board.fold(AttemptFailed(world.now, "f", 1, world.target(name), failure, 0.1))
        assert world.fly().names == names


# ------------------------------------------------------------------- answers that have said why they ended


@pytest.mark.parametrize("kind", [FailureKind.BROKEN, FailureKind.TRUNCATED, FailureKind.SERVER])
def test_an_answer_with_its_end_is_whole_though_the_line_breaks(kind: FailureKind) -> None:
    """After the finish reason there is nothing to rescue."""
    flown = world_of(a=[*begins("all of it"), *gives(Delta(finish=Finish.STOP)), *fail(kind)]).fly()
    assert (flown.text, flown.kind, flown.names, flown.end.rescued) == ("all of it", None, "a", False)


def test_a_line_that_stays_open_after_the_end_is_not_waited_for() -> None:
    """Three seconds after the finish reason the answer is taken for whole."""
    flown = world_of(a=[*begins("all of it"), *gives(Delta(finish=Finish.STOP))]).fly()
    assert (flown.text, flown.kind, flown.seconds) == ("all of it", None, 0.6 + 3.0)
    assert flown.all_of(Abandon)


def test_with_several_answers_each_must_end() -> None:
    """One of two that is finished leaves the other to be cut."""
    half = gives(Delta(text="one"), Delta(text="two", choice=1), Delta(finish=Finish.STOP))
    flown = world_of(a=[*opens(), *half, *fail(FailureKind.BROKEN)]).fly(choices=2)
    assert flown.kind is FailureKind.BROKEN
    whole = [*half, *gives(Delta(finish=Finish.STOP, choice=1))]
    assert world_of(a=[*opens(), *whole, *fail(FailureKind.BROKEN)]).fly(choices=2).kind is None


def test_an_empty_answer_is_empty_though_the_line_breaks() -> None:
    """A finish reason alone is still nothing to show."""
    flown = world_of(a=[*opens(), *gives(Delta(finish=Finish.STOP)), *fail(FailureKind.BROKEN)]).fly()
    assert (flown.names, flown.text) == ("a b", "fine so far")


# ------------------------------------------------------------------- tool calls


def arguments(flown: Flown) -> str:
    """The arguments of all tool calls that were shown, in one string."""
    return "".join(call.arguments for delta in flown.deltas for call in delta.tool_calls)


def test_a_tool_call_is_shown_when_it_is_whole() -> None:
    """Held to the end, then shown with everything that followed it."""
    flown = world_of(a=[*opens(), *calls('{"x":', "1}"), *ends(Finish.TOOL_CALLS)]).fly()
    assert arguments(flown) == '{"x":1}'
    assert len(flown.all_of(Emit)) == 1


def test_a_break_inside_a_tool_call_is_never_seen() -> None:
    """Half a call goes nowhere: another target makes the whole call."""
    half = [*opens(), *calls('{"x":'), *fail(FailureKind.TRUNCATED)]
    flown = world_of(a=half, b=[*opens(), *calls('{"x":2}'), *ends(Finish.TOOL_CALLS)]).fly()
    assert (arguments(flown), flown.names, flown.kind) == ('{"x":2}', "a b", None)


def test_a_break_inside_a_tool_call_after_words_is_never_seen_either() -> None:
    """The words are carried on from, the half call is not shown, the whole one is."""
    half = [*begins("Let me look that up in the book."), *calls('{"x":'), *fail(FailureKind.TRUNCATED)]
    rest = [*opens(), *calls('{"x":2}'), *ends(Finish.TOOL_CALLS)]
    for prefix in ("assistant", "none"):
        world = world_of(a=half, b=rest)
        world.change("b", prefix=prefix)
        flown = world.fly()
        assert (flown.text, arguments(flown), flown.kind) == ("Let me look that up in the book.", '{"x":2}', None)


def test_a_break_late_inside_a_held_call_leaves_time_for_another() -> None:
    """The deadline was kept by the first piece, though nobody has seen it."""
    half = [*opens(), *calls(*["0123456789"] * 5), *fail(FailureKind.TRUNCATED, after_s=18.0)]
    policy = Policy(deadlines=Deadlines(total_s=12.0))
    flown = world_of(policy=policy, a=half, b=[*opens(), *calls("{}"), *ends(Finish.TOOL_CALLS)]).fly()
    assert (arguments(flown), flown.kind) == ("{}", None)


def test_an_operator_may_forbid_even_unseen_restarts() -> None:
    """With `rescue: error`, an answer that had begun is not begun anew, seen or not."""
    half = [*opens(), *calls('{"x":'), *fail(FailureKind.TRUNCATED)]
    for rescue, names in (("error", "a"), ("restart-if-unseen", "a b")):
        assert world_of(policy=Policy(stream=Streaming(rescue=rescue)), a=half).fly().names == names


def test_live_tool_calls_end_with_an_error_when_they_break() -> None:
    """Half a call that was shown cannot be taken back."""
    half = [*opens(), *calls('{"x":'), *fail(FailureKind.TRUNCATED)]
    flown = world_of(policy=Policy(stream=Streaming(tool_calls="live")), a=half).fly()
    assert (arguments(flown), flown.names, flown.kind) == ('{"x":', "a", FailureKind.TRUNCATED)
    assert flown.end.shown


def test_long_arguments_are_no_drip() -> None:
    """A tool call in a few large pieces is a lively stream."""
    slow = [
        *opens(),
        *gives(*(Delta(tool_calls=(ToolFragment(index=0, arguments="x" * 400),)) for _ in range(6)), after_s=15.0),
    ]
    world = world_of("a", a=[*opens(), *calls("{}"), *slow[2:], *ends(Finish.TOOL_CALLS)])
    assert world.fly().kind is None


def test_a_rescue_that_ends_without_a_word_goes_to_the_next() -> None:
    """The bytes of an answer may end before it has said anything that joins."""
    world = world_of("a b c", a=breaks(SHOWN), b=[*opens(), *ends(None)], c=carries_on(TRUTH))
    world.change("c", prefix="assistant")
    flown = world.fly()
    assert (flown.names, flown.text, flown.fates()) == ("a b c", TRUTH, ["broken", "diverged"])


def test_a_stream_that_is_slow_but_not_too_slow_is_kept() -> None:
    """The floor is looked at again every half minute."""
    words = cut(TRUTH, 3)
    assert world_of(a=says(*words, gap_s=4.0)).fly().fates() == []
    just_enough = cut(TRUTH, 1)
    assert world_of(a=says(*just_enough, gap_s=2.0)).fly().fates() == []
    assert world_of(a=says(*just_enough, gap_s=2.2)).fly().fates()[0] == "slow"
