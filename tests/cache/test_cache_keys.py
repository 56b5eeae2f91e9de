"""Which requests are the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken import records
from unbroken.cache.keys import Asked, asked_of
from unbroken.failures import Failure
from unbroken.policy import Caching, Policy, Route, Semantic
from unbroken.types import Chat, Message, Request, Source, Target, Task, Text, Work
from unbroken.wire import format_named
from unbroken.work import Media, Picture, Recording, Texts, ToolCall, ToolResult

TARGETS = (Target(name="a/m", provider="a", model="m"), Target(name="b/m", provider="b", model="m"))
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}}


def route(*, name: str = "m", targets: tuple[Target, ...] = TARGETS, **caching: Any) -> Route:
    return Route(name=name, targets=targets, policy=Policy(cache=Caching(**{"ttl_s": 60.0, **caching})))


def read(spoken: str, path: str, body: Any) -> Request:
    reader = format_named(spoken).read_request
    assert reader is not None
    request = reader(path, msgspec.json.encode(body))
    assert not isinstance(request, Failure), request
    return request


def chat(**body: Any) -> Request:
    said = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], **body}
    return read("openai_chat", "/v1/chat/completions", said)


def work(noun: Work, task: Task = Task.CHAT, **more: Any) -> Request:
    return Request(model="m", task=task, read=lambda: noun, **more)


def key_of(request: Request, on: Route | None = None) -> str:
    asked = asked_of(request, on or route())
    assert asked is not None
    return asked.key


OPENAI = {
    "model": "m",
    "max_tokens": 50,
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Weather in Rome?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_9", "type": "function", "function": {"name": "look", "arguments": '{"city":"Rome"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_9", "content": "warm"},
        {"role": "user", "content": "And Oslo?"},
    ],
    "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": SCHEMA}}],
}
ANTHROPIC = {
    "model": "m",
    "max_tokens": 50,
    "stream": True,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather in Rome?"}]},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "toolu_1", "name": "look", "input": {"city": "Rome"}}],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": "warm"},
                {"type": "text", "text": "And Oslo?"},
            ],
        },
    ],
    "tools": [{"name": "look", "description": "Looks.", "input_schema": SCHEMA}],
    "metadata": {"user_id": "somebody"},
}


def test_the_same_conversation_has_the_same_key_in_every_format() -> None:
    """Who comes through another door, streamed or not, with other ids for calls, asks the same."""
    ours = read("openai_chat", "/v1/chat/completions", OPENAI)
    theirs = read("anthropic", "/v1/messages", ANTHROPIC)
    assert key_of(ours, route(tools=True)) == key_of(theirs, route(tools=True))


@pytest.mark.parametrize(
    ("spoken", "path", "body"),
    [
        ("anthropic", "/v1/messages", {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}),
        (
            "gemini",
            "/v1beta/models/m:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {"maxOutputTokens": 9}},
        ),
        (
            "ollama",
            "/api/chat",
            {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "options": {"num_predict": 9}},
        ),
        ("cohere", "/v2/chat", {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}),
        ("openai_responses", "/v1/responses", {"model": "m", "input": "Hi", "max_output_tokens": 9}),
        (
            "bedrock",
            "/model/m/converse",
            {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 9}},
        ),
    ],
)
def test_a_question_has_one_key_at_every_door(spoken: str, path: str, body: Any) -> None:
    """A plain question is the same in each of the formats."""
    usual = chat(messages=[{"role": "user", "content": "Hi"}], max_tokens=9)
    assert key_of(read(spoken, path, body)) == key_of(usual)


@pytest.mark.parametrize(
    "body",
    [
        {"stream": True},
        {"user": "somebody", "metadata": {"a": "b"}},
        {"tool_choice": "auto"},
        {"presence_penalty": 0, "top_p": 1.0, "n": 1},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
    ],
)
def test_what_changes_no_answer_is_not_in_the_key(body: Any) -> None:
    """Streaming, hints, and defaults that are spelled out make no other request."""
    assert key_of(chat(**body)) == key_of(chat())


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "Hello!"}]},
        {"messages": [{"role": "system", "content": "Hello"}]},
        {"messages": [{"role": "user", "content": "Hello", "name": "Ann"}]},
        {"messages": [{"role": "user", "content": ["Hel", "lo"]}]},
        {"messages": [{"role": "user", "content": "Hello"}, {"role": "user", "content": "Hello"}]},
        {"temperature": 0.5},
        {"temperature": 0},
        {"top_p": 0.5},
        {"presence_penalty": 0.5},
        {"frequency_penalty": 0.5},
        {"max_tokens": 5},
        {"seed": 1},
        {"stop": ["."]},
        {"parallel_tool_calls": False},
        {"tool_choice": "none"},
        {"reasoning_effort": "high"},
        {"response_format": {"type": "json_object"}},
        {"logit_bias": {"50256": -100}},
        {"logprobs": True},
    ],
)
def test_what_changes_an_answer_is_in_the_key(body: Any) -> None:
    """No two requests that could be answered differently share an answer."""
    assert key_of(chat(**body)) != key_of(chat())


def test_fields_of_one_format_stay_in_it() -> None:
    """What only one format can say makes a request that only that format's callers share."""
    own = chat(logit_bias={"1": 2})
    assert own.source is not None
    assert key_of(own) != key_of(records.replace(own, source=Source("other", own.source.fields)))
    plain = chat()
    assert plain.source is not None
    assert key_of(plain) == key_of(records.replace(plain, source=Source("other", plain.source.fields)))


def test_who_may_answer_is_in_the_key() -> None:
    """A route's name, its targets and the headers that go along change the answer; their order does not."""
    first, second = TARGETS
    base = key_of(chat())
    assert key_of(chat(), route(targets=(second, first))) == base
    assert key_of(chat(), route(targets=(first,))) != base
    assert key_of(chat(), route(name="other")) != base
    assert key_of(chat(), route(targets=(replace(first, headers={"anthropic-beta": "x"}), second))) != base


def test_callers_share_answers_unless_they_are_kept_apart() -> None:
    """Everybody who uses a gateway gets its answers; with `per_key` only who showed the same key."""
    ann, bob = (records.replace(chat(), asker=name) for name in ("ann", "bob"))
    assert key_of(ann) == key_of(bob)
    assert key_of(ann, route(per_key=True)) != key_of(bob, route(per_key=True))
    assert key_of(ann, route(per_key=True)) == key_of(ann, route(per_key=True))


def test_ids_and_white_space_of_calls_do_not_matter() -> None:
    """A conversation with calls is the same whatever its calls are numbered, and however they are written."""

    def with_call(number: str, arguments: str, *, result: str = "") -> Request:
        call = ToolCall(id=number, name="look", arguments=arguments)
        back = ToolResult(id=result or number, parts=(Text("warm"),), name="look" if result else "")
        turns = (Message(role="assistant", parts=(call,)), Message(role="tool", parts=(back,), extras={"name": "x"}))
        return work(Chat(messages=turns))

    on = route(tools=True)
    assert key_of(with_call("a", '{"x": 1}'), on) == key_of(with_call("b", '{"x":1.0}'), on)
    assert key_of(with_call("a", '{"x": 1}'), on) != key_of(with_call("a", '{"x": 2}'), on)
    assert key_of(with_call("a", "no json"), on) == key_of(with_call("b", "no json"), on)
    assert key_of(with_call("a", "{}", result="z"), on) != key_of(with_call("a", "{}"), on)


def test_pictures_are_the_same_however_they_are_given() -> None:
    """A data address and its bytes are one picture; another picture, or a closer look, is not."""

    def showing(media: Media) -> str:
        return key_of(work(Chat(messages=(Message(role="user", parts=(media,)),))))

    base = showing(Media(kind="image", data="QUJD", media_type="image/png"))
    assert showing(Media(kind="image", url="data:image/png;base64,QUJD", detail="auto")) == base
    assert showing(Media(kind="image", url="data:image/png;base64,QUJE")) != base
    assert showing(Media(kind="image", data="QUJD", media_type="image/png", detail="high")) != base
    assert showing(Media(kind="image", url="http://a/b.png")) != showing(Media(kind="image", url="http://a/c.png"))


def test_other_work_has_keys_too() -> None:
    """Texts to be embedded and sounds to be written down are told apart by what is in them."""
    on = route(tasks=tuple(Task))
    texts = [work(Texts(texts=(words,)), Task.EMBEDDING) for words in ("a", "b")]
    assert key_of(texts[0], on) != key_of(texts[1], on)
    sounds = [work(Recording(data=data), Task.TRANSCRIPTION) for data in (b"a", b"b")]
    assert key_of(sounds[0], on) != key_of(sounds[1], on)
    same = records.replace(texts[0], source=Source("openai_embeddings", {}))
    assert key_of(same, on) != key_of(records.replace(same, source=Source("ollama_embeddings", {})), on)


def fails() -> Chat:
    raise ValueError("not to be read")


@pytest.mark.parametrize(
    "request_",
    [
        records.replace(chat(), cache="no-store"),
        chat(n=2),
        records.replace(chat(), read=None),
        records.replace(chat(), read=fails),
        chat(tools=[{"type": "function", "function": {"name": "look"}}]),
        chat(tools=[{"type": "web_search"}]),
        records.replace(chat(), needs=frozenset(("tools",))),
        work(Chat(messages=(Message(role="tool", parts=(ToolResult(id="a", parts=()),)),))),
        work(Picture(prompt="x", as_url=True), Task.IMAGE),
        work(Texts(texts=("a",)), Task.VIDEO),
    ],
)
def test_what_must_not_be_given_again_has_no_key(request_: Request) -> None:
    """The caller's wish, several answers, tools, addresses that die, and work that was not opted in."""
    assert asked_of(request_, route(tasks=(Task.CHAT, Task.IMAGE))) is None


def test_pictures_are_kept_where_the_route_says_so() -> None:
    """Beyond chat and embeddings each kind of work is opted in by name."""
    request = work(Picture(prompt="x"), Task.IMAGE)
    assert asked_of(request, route()) is None
    assert asked_of(request, route(tasks=("image",))) is not None


@pytest.mark.parametrize(("body", "kept"), [({}, False), ({"temperature": 0}, True), ({"temperature": 1}, False),
                                            ({"temperature": 1, "seed": 7}, True)])  # fmt: skip
def test_a_route_may_keep_only_what_was_meant_to_be_repeatable(body: Any, *, kept: bool) -> None:
    """`when: deterministic` wants a temperature of 0, or a seed; by default everything is kept."""
    assert (asked_of(chat(**body), route(when="deterministic")) is not None) is kept
    assert asked_of(chat(**body), route()) is not None


# ------------------------------------------------------------------------- questions

SEMANTIC = Semantic(route="local")


def question(text: str, **body: Any) -> Asked:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    asked = asked_of(chat(**{"messages": messages, **body}), route(semantic=SEMANTIC))
    assert asked is not None
    return asked


def test_two_questions_of_one_context_differ_in_their_words_alone() -> None:
    """Everything else must be equal for a question to be compared: instructions, settings, and numbers in it."""
    base = question("How do I pay invoice 17?")
    assert base.question == "How do I pay invoice 17?"
    assert question("Where can I settle invoice 17?").context == base.context
    assert question("Where can I settle invoice 17?").key != base.key
    assert question("How do I pay invoice 18?").context != base.context
    assert question("How do I pay invoice 17?", temperature=0).context != base.context
    assert base.context != base.key


def test_only_words_of_a_user_are_a_question() -> None:
    """No question is seen in a picture, in an assistant's words, or where the route does not want it."""
    picture = [{"type": "image_url", "image_url": {"url": "http://a/b"}}, {"type": "text", "text": "What?"}]
    assert not question("", messages=[{"role": "user", "content": picture}]).context
    assert not question("", messages=[{"role": "assistant", "content": "Yes"}]).question
    plain = asked_of(chat(), route())
    assert plain is not None
    assert not plain.question


# ------------------------------------------------------------------------ properties

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def shuffled(value: Any, turn: Callable[[list[Any]], list[Any]]) -> Any:
    if isinstance(value, dict):
        return {name: shuffled(value[name], turn) for name in turn(list(value))}
    return [shuffled(each, turn) for each in value] if isinstance(value, list) else value


@given(st.dictionaries(st.text(max_size=3), JSON, max_size=4))
def test_the_order_of_fields_does_not_matter(parameters: Any) -> None:
    """However a tool's schema or a body is ordered, it is the same request."""
    tools = [{"type": "function", "function": {"name": "look", "parameters": parameters}}]
    one, other = chat(tools=tools), chat(tools=shuffled(tools, lambda names: names[::-1]))
    assert key_of(one, route(tools=True)) == key_of(other, route(tools=True))
