"""The nouns that every layer shares: what they say of themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import VERDICTS, Failure, FailureKind, RequestError, Scope, UnbrokenError
from unbroken.types import (
    ANCHOR_CHARS,
    Chat,
    Delta,
    Finish,
    Message,
    Price,
    Request,
    Response,
    Target,
    Task,
    Text,
    ToolCall,
    ToolFragment,
    Usage,
    anchor_of,
    fold,
)
from unbroken.work import Texts


def test_an_answer_is_folded_from_its_steps() -> None:
    """Words in order, the first id, the last finish, model and usage; only the first of several answers."""
    deltas = [
        Delta(id="1", model="m"),
        Delta(reasoning="hm, "),
        Delta(reasoning="yes", text="Hel"),
        Delta(text="lo", id="2"),
        Delta(text="other", choice=1),
        Delta(refusal="but no", finish=Finish.STOP, raw_finish="end_turn"),
        Delta(usage=Usage(output_tokens=1)),
        Delta(usage=Usage(output_tokens=2), model="m-2026"),
        Delta(finish=Finish.LENGTH, choice=1),
    ]
    assert fold(deltas) == Response(
        text="Hello", reasoning="hm, yes", usage=Usage(output_tokens=2), finish=Finish.STOP, raw_finish="end_turn",
        refusal="but no", model="m-2026", id="1",
    )  # fmt: skip
    assert fold([]) == Response()


def test_tool_calls_are_folded_by_their_index() -> None:
    """Pieces may come in any order of calls; id and name come once."""
    pieces = [
        ToolFragment(index=1, id="b", name="second"),
        ToolFragment(index=0, id="a", name="first", arguments="{"),
        ToolFragment(index=1, arguments="[]"),
        ToolFragment(index=0, arguments="}"),
    ]
    assert fold([Delta(tool_calls=(piece,)) for piece in pieces]).tool_calls == (
        ToolCall(id="a", name="first", arguments="{}"),
        ToolCall(id="b", name="second", arguments="[]"),
    )


@pytest.mark.parametrize(
    ("delta", "has_content"),
    [
        (Delta(text="x"), True),
        (Delta(reasoning="x"), True),
        (Delta(refusal="x"), True),
        (Delta(media=1), True),
        (Delta(tool_calls=(ToolFragment(index=0),)), True),
        (Delta(id="1", model="m", raw=b": ping", usage=Usage(), finish=Finish.STOP), False),
    ],
)
def test_content_is_what_a_caller_would_see(delta: Delta, has_content: bool) -> None:
    """Ids, usage, an end or bytes that nobody decoded are none."""
    assert delta.has_content is has_content


def test_a_conversation_is_read_when_it_is_asked_for() -> None:
    """Once for each asking; and it is an error to ask where there is none."""
    chat = Chat(messages=(Message(role="user", parts=(Text("a"), Text("b"))),))
    assert Request(model="m", read=lambda: chat).chat.messages[0].text == "ab"
    with pytest.raises(ValueError, match="this image request can only be passed on"):
        _ = Request(model="m", task=Task.IMAGE).chat
    with pytest.raises(ValueError, match="a chat request holds no Texts"):
        Request(model="m", read=lambda: chat).work_as(Texts)


@pytest.mark.parametrize(
    ("price", "usage", "expected"),
    [
        (Price(input_usd=2.0, output_usd=10.0), Usage(input_tokens=1_000_000, output_tokens=100_000), 3.0),
        (Price(input_usd=2.0), Usage(input_tokens=1_000_000, cached_tokens=500_000), 2.0),
        (Price(input_usd=2.0, cached_usd=0.5), Usage(input_tokens=1_000_000, cached_tokens=500_000), 1.25),
        (Price(input_usd=2.0, cached_usd=0.5), Usage(input_tokens=1, cached_tokens=1_000_000), 0.5),
        (Price(request_usd=0.01, image_usd=0.04), None, 0.09),
        (Price(request_usd=0.01, image_usd=0.04), Usage(), 0.09),
        (Price(input_usd=2.0, request_usd=1.0), Usage(input_tokens=9, cost_usd=0.5), 0.5),
    ],
)
def test_what_an_answer_costs(price: Price, usage: Usage | None, expected: float) -> None:
    """By the list, for what was fresh, cached and written; a provider's own figure wins."""
    assert price.cost_usd(usage, images=2) == pytest.approx(expected)


def test_a_target_has_four_things_that_can_be_ill() -> None:
    """Its address, the model there, the key, and the key's share of the model; keys may share a quota."""
    target = Target(name="t", provider="p", model="m", key_name="K1")
    assert (target.endpoint, target.model_scope, target.key_scope, target.quota_scope) == ("p", "p/m", "p#K1", "p/m#K1")
    shared = Target(name="t", provider="p", model="m", key_name="K1", quota_group="org")
    assert (shared.key_scope, shared.quota_scope) == ("p#org", "p/m#org")


def test_a_target_never_shows_its_key() -> None:
    """Neither printed nor formatted nor inside something else that is."""
    target = Target(name="t", provider="p", model="m", base_url="http://x", key="sk-secret", headers={"k": "sk-secret"})
    assert "sk-secret" not in f"{target} {target!r} {[target]!r}"


@given(st.text())
def test_an_anchor_is_the_end_of_what_was_said(text: str) -> None:
    """Short enough to repeat, long enough to find, without the white space around it."""
    anchor = anchor_of(text)
    assert text.rstrip().endswith(anchor)
    assert len(anchor) <= ANCHOR_CHARS
    assert len(anchor) >= min(ANCHOR_CHARS // 2, len(text.rstrip()))


@pytest.mark.parametrize(
    ("text", "anchor"),
    [
        ("", ""),
        ("\n ", ""),
        ("Hello ", "Hello"),
        ("The quick brown fox jumps over the lazy dog, and", "brown fox jumps over the lazy dog, and"),
        ("x" * 60, "x" * ANCHOR_CHARS),
        ("see https://example.org/a/very/long/path/that/goes a", "example.org/a/very/long/path/that/goes a"),
    ],
)
def test_an_anchor_begins_with_a_word_where_it_can(text: str, anchor: str) -> None:
    """Whole words are easier to repeat; one letter is no anchor."""
    assert anchor_of(text) == anchor


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_failure_has_a_verdict(kind: FailureKind) -> None:
    """Nothing can go wrong for which the table says nothing, and no verdict contradicts itself."""
    verdict = Failure(kind=kind, message="m").verdict
    assert verdict is VERDICTS[kind]
    assert 400 <= verdict.status < 600
    assert (verdict.cools is Scope.NONE) == (verdict.cool_s == 0.0)


def test_a_failure_can_be_said_in_a_line() -> None:
    """Kind, status where there was one, and the message; errors say the same."""
    assert str(Failure(kind=FailureKind.SERVER, message="boom", status=500)) == "server 500: boom"
    failure = Failure(kind=FailureKind.REQUEST, message="no")
    error = RequestError(failure)
    assert isinstance(error, UnbrokenError)
    assert (str(error), error.failure) == ("request: no", failure)
