"""One attempt: what it waits for and how long, what it keeps back, and what is told of it when it is over."""

from __future__ import annotations

from math import inf

import pytest

from core.story import A
from core.world import START
from unbroken.core.run import Run
from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Limits
from unbroken.records import replace
from unbroken.types import Attempt, Delta, Finish, ToolFragment, Usage, Why

LIMITS = Limits(
    connect_s=2.0, first_byte_s=20.0, first_content_s=30.0, total_s=60.0, gap_s=10.0, ceiling_s=100.0,
    chars_per_s_min=4.0,
)  # fmt: skip
LATE = START + 1e6
"""A deadline that does not matter."""


def run_of(limits: Limits = LIMITS, *, choices: int = 1) -> Run:
    """An attempt that began at `START`, whose pace is looked at every five seconds."""
    return Run(Attempt(number=3, target=A, why=Why.FIRST), limits, now=START, floor_window_s=5.0, choices=choices)


def begun(**limits: float) -> Run:
    """The same, with other limits, of which a hundred characters came after a second."""
    run = run_of(replace(LIMITS, **limits))
    run.connected()
    run.opened()
    assert run.heard([Delta(text="x" * 100)], START + 1.0)
    return run


def late(run: Run, at: float, *, deadline: float = LATE) -> tuple[str, str] | None:
    """The kind and the words of what it has failed by then."""
    failure = run.overdue(at, deadline=deadline)
    return None if failure is None else (failure.kind.value, failure.message)


# ------------------------------------------------------------------------- time


def test_each_phase_has_its_limit() -> None:
    """To connect, to a status, to the first content; the earlier of it and the deadline."""
    run, dues = run_of(), []
    for step in (run.connected, run.opened, run.connected):
        dues.append(run.due(LATE) - START)
        step()
    dues.append(run.due(LATE) - START)
    assert dues == [2.0, 20.0, 30.0, 30.0]
    for number, due_s in enumerate((2.0, 5.0, 5.0)):
        short = run_of()
        for go_on in (short.connected, short.opened)[:number]:
            go_on()
        assert short.due(START + 5.0) == START + due_s
    hasty = run_of(replace(LIMITS, first_content_s=7.0))
    hasty.connected()
    assert hasty.due(LATE) == START + 7.0


def test_a_status_before_the_connection_is_told_counts() -> None:
    """Steps that come out of order lead forward only."""
    run = run_of()
    run.opened()
    run.connected()
    assert run.due(LATE) == START + 30.0
    talking = begun()
    talking.opened()
    assert talking.due(LATE) == START + 6.0


def test_whoever_is_overdue_is_told_by_what() -> None:
    """Nothing is sent before there is a connection; after it, silence is the failure."""
    run = run_of()
    assert late(run, START + 1.9) is None
    failure = run.overdue(START + 2.0, deadline=LATE)
    assert failure is not None
    assert (failure.kind, failure.sent) == (FailureKind.CONNECT, False)
    assert failure.message == "p/m#1: no connection within 2.0 s"
    run.connected()
    assert late(run, START + 19.9) is None
    assert late(run, START + 20.0) == ("silent", "p/m#1: no answer within 20.0 s")
    assert late(run, START + 4.0, deadline=START + 4.0) == ("silent", "p/m#1: no answer within 4.0 s")


def test_a_stream_may_not_pause_for_long() -> None:
    """Each content begins the pause anew; what is no content does not."""
    run = begun(chars_per_s_min=0.0)
    assert run.due(LATE) == START + 6.0, "its pace is looked at then"
    assert late(run, START + 10.9) is None
    assert run.heard([Delta(), Delta(id="x")], START + 10.9) is False
    assert late(run, START + 11.0) == ("stalled", "p/m#1: the stream stalled for 10.0 s")
    assert run.heard([Delta(text="y")], START + 10.9) is False
    assert late(run, START + 20.8) is None
    assert late(run, START + 20.9) is not None


def test_a_stream_has_a_pace_to_keep() -> None:
    """Four characters a second, looked at every five seconds: twenty since the last look are enough."""
    run = begun(gap_s=50.0)
    for look, chars in ((6.0, 20), (11.0, 25), (16.0, 19)):
        assert late(run, START + look) is None
        assert run.due(LATE) == START + look + 5.0
        run.heard([Delta(text="x" * chars)], START + look + 1.0)
    assert late(run, START + 20.9) is None
    assert late(run, START + 21.0) == ("slow", "p/m#1: only 19 characters in 5 s")
    slow = run_of()
    slow.heard([Delta(text="x" * 19)], START + 1.0)
    assert late(slow, START + 6.0) == ("slow", "p/m#1: only 19 characters in 5 s")


def test_a_stream_has_an_end() -> None:
    """However lively it is, and though the caller reads slowly."""
    run = begun(ceiling_s=4.0)
    assert run.due(LATE) == START + 4.0
    assert late(run, START + 3.9) is None
    assert late(run, START + 4.0) == ("slow", "p/m#1: the stream took over 4 s")
    run.pause()
    assert run.due(LATE) == START + 4.0
    assert late(run, START + 4.0) is not None


def test_while_the_caller_reads_slowly_nobody_is_late() -> None:
    """A pause of ours counts for nothing: afterwards silence and pace are measured anew."""
    run = begun()
    run.pause()
    assert run.due(LATE) == START + 100.0
    assert late(run, START + 50.0) is None
    run.heard([Delta(text="x" * 30)], START + 50.0)
    run.resume(START + 50.0)
    assert run.due(LATE) == START + 55.0
    assert late(run, START + 54.9) is None
    assert late(run, START + 55.0) == ("slow", "p/m#1: only 0 characters in 5 s")
    other = begun(chars_per_s_min=0.0)
    other.pause()
    other.resume(START + 50.0)
    assert late(other, START + 59.9) is None
    assert late(other, START + 60.0) == ("stalled", "p/m#1: the stream stalled for 10.0 s")


@pytest.mark.parametrize(("gap_s", "waits_s"), [(10.0, 3.0), (1.0, 1.0)])
def test_after_the_end_nobody_waits_for_long(gap_s: float, waits_s: float) -> None:
    """Once every answer has said why it ended, its usage comes at once or not at all."""
    run = begun(gap_s=gap_s, chars_per_s_min=0.0)
    run.heard([Delta(finish=Finish.STOP)], START + 2.0)
    assert run.is_whole
    assert run.due(LATE) == START + 2.0 + waits_s
    assert late(run, START + 1.9 + waits_s) is None
    assert late(run, START + 2.0 + waits_s) is not None


def test_several_answers_are_whole_when_each_is() -> None:
    """The same one twice is one."""
    run = run_of(choices=2)
    for choice, whole in ((0, False), (0, False), (1, True)):
        run.heard([Delta(finish=Finish.STOP, choice=choice)], START)
        assert run.is_whole is whole


def test_a_job_that_was_accepted_has_all_the_time_there_is() -> None:
    """Until its first content: whoever starts another one elsewhere pays twice."""
    run = run_of()
    assert run.heard([Delta(progress=0.0)], START + 1.0) is False
    assert run.is_working
    assert run.due(START + 500.0) == START + 500.0
    assert late(run, START + 400.0, deadline=START + 500.0) is None
    run.heard([Delta(media=1)], START + 450.0)
    assert run.due(inf) == START + 100.0


# ------------------------------------------------------------------------- what came


def test_only_content_and_the_end_are_progress() -> None:
    """The first of them is told, once; with it the model that the provider says it was."""
    run = run_of()
    assert run.heard([Delta(id="1", model="n"), Delta(usage=Usage(input_tokens=3))], START + 1.0) is False
    assert (run.has_content, run.first_content_at, run.usage) == (False, None, Usage(input_tokens=3))
    assert run.heard([Delta(text="x", model="early"), Delta(text="y", model="late")], START + 2.0) is True
    assert (run.has_content, run.first_content_at, run.said_model) == (True, START + 2.0, "late")
    assert run.heard([Delta(text="z", model="other")], START + 3.0) is False
    assert (run.first_content_at, run.said_model) == (START + 2.0, "late")
    ended = run_of()
    assert ended.heard([Delta(finish=Finish.LENGTH)], START + 1.0) is True
    assert (ended.has_content, ended.finish, ended.pieces) == (False, Finish.LENGTH, 0)


def test_everything_that_is_written_counts() -> None:
    """Words, thoughts and refusals by their characters, calls by their arguments and four, a picture as a thousand."""
    call = (ToolFragment(index=0, arguments="12345"), ToolFragment(index=1))
    run = run_of()
    chars = 0
    for pieces, (delta, more) in enumerate(
        [
            (Delta(text="ab"), 2), (Delta(reasoning="abc"), 3), (Delta(refusal="abcd"), 4),
            (Delta(tool_calls=call), 13), (Delta(media=2), 2_000), (Delta(text="a", reasoning="b", refusal="c"), 3),
        ],
        start=1,
    ):  # fmt: skip
        run.heard([delta, Delta()], START)
        chars += more
        assert (run.chars, run.pieces) == (chars, pieces)


def test_what_is_not_to_be_seen_yet_is_kept() -> None:
    """A plain answer until it is whole; a stream until it has content, and then everything at once."""
    plain, stream = run_of(), run_of()
    first, second = Delta(id="1"), Delta(text="x")
    assert not plain.release([second], streaming=False, whole_calls=False)
    assert (list(plain.held), plain.holds) == ([second], True)
    assert not stream.release([first], streaming=True, whole_calls=False)
    assert stream.holds
    assert stream.release([second], streaming=True, whole_calls=False) == [first, second]
    assert not stream.holds
    assert stream.release([first], streaming=True, whole_calls=False) == [first]
    assert run_of().release([first, second], streaming=True, whole_calls=False) == [first, second]
    assert plain.take_held() == [second]
    assert plain.take_held() == []
    plain.release([second], streaming=False, whole_calls=False)
    plain.keep([first])
    assert list(plain.held) == [first, second]


@pytest.mark.parametrize("whole_calls", [True, False])
def test_calls_may_be_wanted_whole(whole_calls: bool) -> None:
    """From the first piece of a call on everything is kept, where that is so."""
    run, call = run_of(), Delta(tool_calls=(ToolFragment(index=0, name="look"),))
    words = [Delta(text="x")]
    assert run.release(words, streaming=True, whole_calls=whole_calls) == words
    assert run.release([call], streaming=True, whole_calls=whole_calls) == ([] if whole_calls else [call])
    assert run.release(words, streaming=True, whole_calls=whole_calls) == ([] if whole_calls else words)


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (["#"], ""),
        (["-", "-"], ""),
        (["\n"], ""),
        (["1"], ""),
        (["#", " A"], "# A"),
        (["", "-#"], "-#"),
        (["a"], "a"),
        (["é"], "é"),
        (["=" * 8], ""),
        (["=" * 8, "="], "=" * 9),
    ],
)
def test_a_sign_by_itself_is_not_shown_yet(pieces: list[str], shown: str) -> None:
    """After `#` nobody could tell whether a `#` is said again or is the second one of a heading; a word tells."""
    run = run_of()
    out = [run.release([Delta(text=piece)], streaming=True, whole_calls=False) for piece in pieces]
    assert "".join(delta.text for deltas in out for delta in deltas) == shown
    assert run.holds is not bool(shown)


def test_beside_a_sign_other_content_is_shown_at_once() -> None:
    """Thoughts and calls tell enough."""
    for other in (Delta(reasoning="hm"), Delta(tool_calls=(ToolFragment(index=0, name="n"),))):
        deltas = [Delta(text="#"), other]
        assert run_of().release(deltas, streaming=True, whole_calls=False) == deltas


# ------------------------------------------------------------------------- what is told


def test_what_is_told_of_an_end() -> None:
    """Who, how long, how much, by whose word, and why it ended; of one that said nothing, nothing."""
    run, usage = begun(), Usage(output_tokens=9)
    run.heard([Delta(text="xy", finish=Finish.STOP, usage=usage)], START + 2.0)
    failure = Failure(kind=FailureKind.BROKEN, message="m")
    assert run.answered("f", START + 3.0, stream=True) == AttemptAnswered(
        START + 3.0, "f", 3, A, 1.0, 3.0, True, usage, 102, 2, "stop", ""
    )
    assert run.failed("f", START + 3.0, failure=failure, shown=True) == AttemptFailed(
        START + 3.0, "f", 3, A, failure, 3.0, True, usage, 102, 2
    )
    assert run.abandoned("f", START + 3.0, outrun=True) == AttemptAbandoned(
        START + 3.0, "f", 3, A, 3.0, True, usage, 102, 2
    )
    assert run_of().answered("f", START + 3.0, stream=False) == AttemptAnswered(START + 3.0, "f", 3, A, 3.0, 3.0, False)
