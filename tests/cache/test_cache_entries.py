"""What is kept of an answer, and for how long it is good."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from unbroken.cache.entries import Entry, Freshness, entry_of, freshness, serves, size_of
from unbroken.core.flight import Finished
from unbroken.failures import Failure, FailureKind
from unbroken.policy import Caching
from unbroken.records import replace
from unbroken.types import Delta, Finish, Output, Request, Target, Task, ToolFragment, Usage

TARGET = Target(name="a/m", provider="a", model="m", key="secret", base_url="http://a")
END = Finished(TARGET, 1, failover=False, rescued=False)
WORDS = Delta(text="Hello")
STOP = Delta(finish=Finish.STOP, usage=Usage(input_tokens=3, output_tokens=1))
FAILED = Failure(kind=FailureKind.SERVER, message="no")


def kept(*deltas: Delta, end: Finished = END, **request: Any) -> Entry | None:
    return entry_of(deltas, end, request=Request(model="m", **request), flight="f1")


@pytest.mark.parametrize(
    ("age_s", "good"),
    [
        (0.0, Freshness.FRESH), (9.9, Freshness.FRESH), (10.0, Freshness.STALE),
        (14.9, Freshness.STALE), (15.0, Freshness.GONE),
    ],
)  # fmt: skip
def test_an_answer_is_fresh_then_stale_then_gone(age_s: float, good: Freshness) -> None:
    """Each time ends when it is over, not after."""
    assert freshness(age_s, Caching(ttl_s=10.0, stale_s=5.0)) is good


def test_without_a_time_nothing_is_good() -> None:
    """A route that was switched off in the meantime gives no answer again."""
    assert freshness(0.0, Caching()) is Freshness.GONE


def test_a_good_answer_is_kept_with_where_it_came_from() -> None:
    """Step by step, with its usage and its size, and without any key."""
    entry = kept(WORDS, STOP)
    assert entry is not None
    assert entry.deltas == (WORDS, STOP)
    assert entry.usage == STOP.usage
    assert entry.flight == "f1"
    assert entry.size_bytes == size_of(WORDS) + size_of(STOP)
    assert entry.origin() == Target(name="a/m", provider="a", model="m")
    assert "secret" not in repr(msgspec.json.encode(entry))


@pytest.mark.parametrize("finish", [Finish.STOP, Finish.LENGTH, Finish.TOOL_CALLS])
def test_every_honest_end_is_kept(finish: Finish) -> None:
    """An answer as long as was allowed is what its caller asked for."""
    assert kept(Delta(text="x", finish=finish)) is not None


@pytest.mark.parametrize(
    "deltas",
    [
        (),
        (WORDS,),
        (STOP,),
        (WORDS, Delta(finish=Finish.CONTENT_FILTER)),
        (WORDS, Delta(finish=Finish.ERROR)),
        (WORDS, Delta(refusal="I cannot"), STOP),
        (Delta(reasoning="hm"), STOP),
        (WORDS, Delta(media=1), STOP),
        (WORDS, Delta(outputs=(Output(kind="image", url="http://a/b.png"),)), STOP),
    ],
)
def test_nothing_doubtful_is_kept(deltas: tuple[Delta, ...]) -> None:
    """Not what broke off, was refused, filtered or empty, nor what only one format could say again."""
    assert kept(*deltas) is None


@pytest.mark.parametrize(
    "end",
    [replace(END, failure=FAILED), replace(END, rescued=True), replace(END, target=None)],
)
def test_nothing_that_failed_or_was_patched_up_is_kept(end: Finished) -> None:
    """A failure is not remembered, and an answer of two providers is given once."""
    assert kept(WORDS, STOP, end=end) is None


def test_calls_pictures_and_vectors_are_answers() -> None:
    """An answer need not be words."""
    call = Delta(tool_calls=(ToolFragment(index=0, name="look"),), finish=Finish.TOOL_CALLS)
    assert kept(call) is not None
    picture = Delta(media=1, outputs=(Output(kind="image", data=b"x"),), finish=Finish.STOP)
    assert kept(picture) is not None
    assert kept(Delta(outputs=(Output(kind="embedding", vector=(1.0,)),)), task=Task.EMBEDDING) is not None
    assert kept(Delta(media=1, raw=b"{}", body=True), task=Task.EMBEDDING) is not None
    assert kept(Delta(), task=Task.EMBEDDING) is None


def test_a_price_is_not_named_again() -> None:
    """Whoever is given a kept answer pays nothing for it, and its bytes do not say otherwise."""
    paid = Delta(finish=Finish.STOP, usage=Usage(input_tokens=1, cost_usd=0.5), raw=b"cost 0.5", format="x", body=True)
    entry = kept(WORDS, paid)
    assert entry is not None
    assert entry.usage == Usage(input_tokens=1, cost_usd=0.0)
    assert (entry.deltas[1].raw, entry.deltas[1].format, entry.deltas[1].body) == (b"", "", False)


def test_usage_is_there_for_whoever_expects_it() -> None:
    """A stream that asked for no usage may leave an answer without; only such callers get it."""
    bare, full = kept(WORDS, Delta(finish=Finish.STOP)), kept(WORDS, STOP)
    assert bare is not None
    assert full is not None
    plain, mute = Request(model="m"), Request(model="m", stream=True)
    asking = replace(mute, include_usage=True)
    assert [serves(bare, request) for request in (plain, mute, asking)] == [False, True, False]
    assert all(serves(full, request) for request in (plain, mute, asking))
    assert serves(bare, Request(model="m", task=Task.IMAGE))


def test_what_is_large_counts_as_large() -> None:
    """Words, bytes, arguments, data and numbers all take room."""
    base = size_of(Delta())
    assert base > 0
    assert size_of(Delta(text="x" * 10, reasoning="y" * 5, signature="z")) == base + 16
    assert size_of(Delta(raw=b"x" * 100)) == base + 100
    assert size_of(Delta(tool_calls=(ToolFragment(index=0, arguments="{}"),))) == 2 * base + 2
    assert size_of(Delta(outputs=(Output(kind="image", data=b"abc", vector=(1.0, 2.0)),))) == 2 * base + 3 + 64


def test_an_entry_can_leave_the_process() -> None:
    """A store of another machine can write it down and read it again, unchanged."""
    entry = kept(WORDS, replace(STOP, raw=b"\x00\xff"), Delta(outputs=(Output(kind="image", data=b"\x89"),)))
    assert msgspec.json.decode(msgspec.json.encode(entry), type=Entry) == entry
