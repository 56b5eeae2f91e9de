"""OpenAI's Responses format: requests, from callers and to providers."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider
from unbroken.types import (
    Chat,
    Continuation,
    Media,
    Message,
    Mode,
    Opaque,
    Reasoning,
    Request,
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire import Unsaid, openai_chat_messages
from unbroken.wire.openai_responses import FORMAT, NAME, read_request, write_request
from unbroken.wire.openai_responses_messages import read_chat, write_chat
from wire.anything import JSON

TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="k")
FOREIGN = Source("openai_chat", {})
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}}
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def asked(**fields: Any) -> Request:
    request = read_request("/v1/responses", json.dumps({"model": "m", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def written(chat: Chat, target: Target = TARGET, **more: Any) -> dict[str, Any]:
    """A conversation of another format as a body, and what was left out of it."""
    http = write_request(Request(model="m", source=FOREIGN, read=lambda: chat, **more), target)
    return {**json.loads(http.body), "unsaid": http.unsaid}


def user(text: str = "Hi") -> Message:
    return Message(role="user", parts=(Text(text),))


# ------------------------------------------------------------------- from a caller


def test_what_routing_needs_is_read_at_once() -> None:
    """Model, limits, capabilities and how much is asked are known without reading the conversation."""
    request = asked(
        input=[{"role": "user", "content": [{"type": "input_image", "image_url": PIXEL}]}],
        stream=True, max_output_tokens=50, temperature=0.5, reasoning={"effort": "high"}, tools=[{"type": "function"}],
        text={"format": {"type": "json_schema", "name": "n", "schema": SCHEMA}},
    )  # fmt: skip
    assert (request.model, request.stream, request.include_usage, request.max_tokens) == ("m", True, True, 50)
    assert (request.temperature, request.thinks, request.choices) == (0.5, True, 1)
    assert request.needs == {"tools", "vision", "schema"}
    plain = asked(input="Hi", instructions="Be kind", reasoning={"effort": "low"}, tools=[], max_output_tokens="many")
    assert (plain.stream, plain.include_usage, plain.thinks, plain.needs) == (False, False, False, frozenset())
    assert plain.prompt_chars == len('"Hi"') + len('"Be kind"')
    assert plain.max_tokens is None
    assert plain.temperature is None


def test_input_may_be_elsewhere() -> None:
    """A conversation that the provider keeps needs no input; without either the caller learns what is missing."""
    for name in ("previous_response_id", "conversation", "prompt"):
        assert asked(**{name: "x"}).chat.extras == {name: "x"}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"nope", None),
        (b"[]", None),
        (b'{"input": "Hi"}', "model"),
        (b'{"model": 7, "input": "Hi"}', "model"),
        (b'{"model": "m"}', "input"),
        (b'{"model": "m", "input": null}', "input"),
        (b'{"model": "m", "input": 7}', "input"),
        (b'{"model": "m", "input": "Hi", "stream": 1}', "stream"),
    ],
)
def test_bad_requests_name_the_field(body: bytes, param: str | None) -> None:
    """A caller learns which field is wrong."""
    failure = read_request("/v1/responses", body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"input": ["Hi"]}, "input[0]"),
        ({"input": [{"role": "king", "content": "Hi"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
        ({"input": [{"role": "user", "content": ["Hi"]}]}, "input[0].content[0]"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": 7}]}, "input[0].output"),
        ({"instructions": ["a"]}, "instructions"),
        ({"tools": {}}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_output_tokens": True}, "max_output_tokens"),
        ({"text": "json"}, "text"),
        ({"reasoning": {"effort": 7}}, "effort"),
    ],
)
def test_what_has_the_wrong_shape_is_named(fields: dict[str, Any], where: str) -> None:
    """A conversation that cannot be read says where it is wrong."""
    with pytest.raises(ValueError) as raised:
        _ = asked(**{"input": "Hi", **fields}).chat
    assert f"'{where}'" in str(raised.value)


def test_what_is_no_json_is_said() -> None:
    """A field that nobody could read passes to whoever speaks this format, and is wrong for all others."""
    request = read_request("/v1/responses", b'{"model":"m","input":"_unbroken_\xff","temperature":1e999}')
    assert isinstance(request, Request)
    assert b'"_unbroken_\xff"' in write_request(request, TARGET).body
    with pytest.raises(ValueError, match="not valid JSON"):
        _ = request.chat
    assert asked(input=[{"role": "user", "content": None}]).chat.messages[0].parts == ()


def test_items_become_turns() -> None:
    """Thoughts, words and calls of one turn are one message; what is not modelled stays whole."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    chat = asked(
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "In French."},
            {"role": "user", "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": PIXEL, "detail": "low"},
                {"type": "input_file", "file_data": "data:application/pdf;base64,eA==", "filename": "a.pdf"},
                {"type": "input_file", "file_url": "https://x.invalid/b.pdf"},
                {"type": "input_image", "file_id": "file_1"},
            ]},
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm"}],
             "encrypted_content": "proof"},
            {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "phase": "commentary",
             "content": [{"type": "output_text", "text": "I look.", "annotations": []}]},
            {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": "{}", "namespace": "n"},
            {"type": "function_call_output", "call_id": "c1", "output": "12"},
            {"type": "function_call_output", "call_id": "c2", "output": [
                {"type": "input_text", "text": "13"}, {"type": "input_image", "image_url": PIXEL},
            ]},
            search,
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "content": "Really."},
        ],
    ).chat  # fmt: skip
    assert [message.role for message in chat.messages] == [
        *("system", "system", "user", "assistant", "tool", "tool", "assistant", "assistant")
    ]
    system, developer, shown, turn, _, result, refused, last = chat.messages
    assert (system.text, developer.text, developer.extras) == ("Be brief.", "In French.", {"role": "developer"})
    assert shown.parts == (
        Text("Look"),
        Media(kind="image", url=PIXEL, detail="low"),
        Media(kind="document", url="data:application/pdf;base64,eA==", detail="a.pdf"),
        Media(kind="document", url="https://x.invalid/b.pdf"),
        Opaque(NAME, {"type": "input_image", "file_id": "file_1"}),
    )
    assert turn.parts[:3] == (
        Reasoning("Hm", "proof", NAME),
        Text("I look."),
        ToolCall(id="c1", name="f", arguments="{}"),
    )
    assert isinstance(turn.parts[3], Opaque)
    assert turn.extras == {"phase": "commentary"}
    assert result.parts == (ToolResult(id="c2", parts=(Text("13"), Media(kind="image", url=PIXEL))),)
    assert refused.parts == (Opaque(NAME, {"item": search}), Text("No."))
    assert last.parts == (Text("Really."),)


def test_settings_are_told_apart() -> None:
    """What is modelled, what only this format knows, and what changes no answer."""
    search, hidden = {"type": "web_search"}, {"type": "function", "name": "h", "defer_loading": True}
    chat = asked(
        input="Hi",
        tools=[search, {"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}, hidden],
        tool_choice={"type": "function", "name": "f"}, parallel_tool_calls=False, max_output_tokens=99,
        temperature=0.1, top_p=0.2, reasoning={"effort": "low", "summary": "auto", "context": "auto"},
        text={"verbosity": "low", "format": {
            "type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True, "description": "d"}},
        store=False, metadata={"a": "b"}, truncation="disabled", include=["reasoning.encrypted_content"],
        previous_response_id="resp_1", service_tier=None, client_metadata={"turn_id": "7"},
    ).chat  # fmt: skip
    assert chat.tools == (Tool(name="f", parameters=SCHEMA, strict=True),)
    assert (chat.tool_choice, chat.parallel_calls, chat.max_tokens) == ({"name": "f"}, False, 99)
    assert (chat.temperature, chat.top_p, chat.reasoning_effort) == (0.1, 0.2, "low")
    assert (chat.schema, chat.schema_name, chat.schema_strict) == (SCHEMA, "n", True)
    assert chat.extras == {
        "previous_response_id": "resp_1", "text": {"verbosity": "low"}, "tools": [search, hidden],
        "reasoning": {"context": "auto"},
    }  # fmt: skip
    assert chat.hints == {
        "client_metadata": {"turn_id": "7"},
        "store": False, "metadata": {"a": "b"}, "truncation": "disabled", "include": ["reasoning.encrypted_content"],
        "reasoning.summary": "auto", "text.format.description": "d",
    }  # fmt: skip


def test_values_that_matter_are_no_hints() -> None:
    """The same fields with other values change the answer."""
    extras = {"truncation": "auto", "background": True, "include": ["message.output_text.logprobs"]}
    chat = asked(input="Hi", tool_choice={"type": "web_search"}, text={"format": {"type": "grammar"}}, **extras).chat
    assert chat.extras == {**extras, "tool_choice": {"type": "web_search"}, "text": {"format": {"type": "grammar"}}}
    assert asked(input="Hi", text={"format": {"type": "text"}}).chat.extras == {}
    assert asked(input="Hi", text={"format": {"type": "json_object"}}).chat.schema == {}


# ------------------------------------------------------------------- to a provider


def test_the_callers_own_fields_go_on() -> None:
    """A request of this format keeps every byte but the model's name."""
    body = b'{"model":"m","input": [ {"role":"user","content":"Hi"} ],"store" : false,"mystery":{"a":1}}'
    request = read_request("/v1/responses", body)
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1/responses"
    assert http.body == (
        b'{"model":"other","input":[ {"role":"user","content":"Hi"} ],"store":false,"mystery":{"a":1}}'
    )
    assert http.unsaid == ()


def test_a_conversation_of_another_format_is_said_in_items() -> None:
    """Each thing that a turn holds becomes an item; what the API keeps or tightens by itself is switched off."""
    chat = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text("Look"), Media(kind="image", data="eA==", media_type="image/png"))),
            Message(role="assistant", parts=(
                Reasoning("Hm"), Text("I look."), ToolCall(id="c1", name="f", arguments="{}", signature="s"))),
            Message(role="tool", parts=(ToolResult(id="c1", parts=(Text("12"),), failed=True),), extras={"name": "f"}),
        ),
        tools=(Tool(name="f", description="d", parameters=SCHEMA), Tool(name="g", strict=True)),
        tool_choice="required", schema=SCHEMA, max_tokens=99, reasoning_tokens=9000,
        hints={"user": "u", "prediction": "p"},
    )  # fmt: skip
    assert written(chat, stream=True) == {
        "model": "other",
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [
                {"type": "input_text", "text": "Look"},
                {"type": "input_image", "image_url": "data:image/png;base64,eA=="}]},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "12"},
        ],
        "tools": [
            {"type": "function", "name": "f", "description": "d", "parameters": SCHEMA, "strict": False},
            {"type": "function", "name": "g", "strict": True},
        ],
        "tool_choice": "required",
        "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA}},
        "max_output_tokens": 99,
        "reasoning": {"effort": "medium"},
        "store": False,
        "user": "u",
        "stream": True,
        "unsaid": ("prediction", "messages[].name", "reasoning", "messages[].signature", "messages[].failed"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("chat", "more", "name"),
    [
        (Chat(messages=(user(),), stop=("x",)), {}, "stop"),
        (Chat(messages=(user(),), seed=0), {}, "seed"),
        (Chat(messages=(user(),), top_k=5), {}, "top_k"),
        (Chat(messages=(user(),), presence_penalty=0.5), {}, "presence_penalty"),
        (Chat(messages=(user(),), extras={"logit_bias": {}}), {}, "logit_bias"),
        (Chat(messages=(user(),)), {"choices": 2}, "n"),
    ],
)
def test_what_has_no_word_makes_a_target_ineligible(chat: Chat, more: dict[str, Any], name: str) -> None:
    """A setting without a word is a reason not to ask, unless the operator lets it go."""
    with pytest.raises(ValueError, match=f"Responses format has no {name}"):
        written(chat, **more)
    assert written(chat, replace(TARGET, may_drop=frozenset((name,))), **more)["unsaid"] == (name,)


def test_penalties_of_nothing_say_nothing() -> None:
    """A penalty of 0 is what happens anyway."""
    assert written(Chat(messages=(user(),), presence_penalty=0.0, frequency_penalty=0))["unsaid"] == ()


def test_limits_that_openai_refuses() -> None:
    """OpenAI takes no limit below 16 tokens here; others may."""
    chat, openai = Chat(messages=(user(),), max_tokens=5), replace(TARGET, provider="openai")
    assert written(chat)["max_output_tokens"] == 5
    with pytest.raises(ValueError, match="no max_tokens: fewer than 16"):
        written(chat, openai)
    assert "max_output_tokens" not in written(chat, replace(openai, may_drop=frozenset(("*",))))


@pytest.mark.parametrize(
    "part",
    [
        Opaque("anthropic", {}),
        Media(kind="audio", data="eA==", media_type="audio/wav"),
        Media(kind="video", url="https://x.invalid/v"),
    ],
)
def test_what_a_message_cannot_hold(part: Any) -> None:
    """Sounds, films and things of other formats are a reason not to ask."""
    with pytest.raises(ValueError, match="cannot hold"):
        written(Chat(messages=(Message(role="user", parts=(Text("a"), part)),)))


def test_pictures_of_the_model() -> None:
    """A turn of the model holds words alone."""
    with pytest.raises(ValueError, match="message of the assistant"):
        written(Chat(messages=(Message(role="assistant", parts=(Media(kind="image", url=PIXEL),)),)))


def test_thoughts_of_our_own_making_are_left_out() -> None:
    """Thoughts that another format's target had are unknown to this one, and would be looked for in vain."""
    theirs = {"type": "reasoning", "id": "rs_abc", "summary": [], "encrypted_content": "x"}
    ours = {"type": "reasoning", "id": "rs_unbroken_0_x", "summary": [{"type": "summary_text", "text": "Hm"}]}
    said = {"role": "user", "content": "what is rs_unbroken_0?"}
    http = write_request(asked(input=[theirs, ours, said]), TARGET)
    assert json.loads(http.body)["input"] == [theirs, said]
    assert http.unsaid == ("reasoning",)
    assert write_request(asked(input=[said]), TARGET).unsaid == ()
    assert json.loads(write_request(asked(input="_unbroken_"), TARGET).body)["input"] == "_unbroken_"


# ------------------------------------------------------------------- going on


@pytest.mark.parametrize("items", ["Hi", [{"role": "user", "content": "Hi"}], [], None])
def test_going_on(items: Any) -> None:
    """What was said is appended as the model's turn, and where that is not enough the wish to go on."""
    request = asked(input=items, previous_response_id="resp_1")
    before = [{"role": "user", "content": "Hi"}] if items else []
    said = {"role": "assistant", "content": "One two"}

    def after(mode: Mode, prefix: str = "assistant") -> Any:
        target = replace(TARGET, prefix=prefix)
        http = write_request(request, target, continuation=Continuation(mode, "One two"))
        return json.loads(http.body).get("input")

    assert after(Mode.PREFIX) == [*before, said]
    assert after(Mode.PREFIX, "flag") == [*before, {**said, "prefix": True}]
    asking = after(Mode.ASK)
    assert asking[:-1] == [*before, said]
    assert asking[-1]["role"] == "user"
    assert '"One two"' in asking[-1]["content"]
    assert after(Mode.RESTART) == items


# ------------------------------------------------------- there and back, and anything


words = st.text(min_size=1, max_size=12)
ids = st.from_regex(r"call_[a-z0-9]{4}", fullmatch=True)
images = st.builds(Media, kind=st.just("image"), url=st.just(PIXEL), detail=st.sampled_from(("", "low")))
asks = st.lists(words.map(Text) | images, min_size=1, max_size=3).map(lambda parts: turn("user", *parts))
calls = st.builds(ToolCall, id=ids, name=st.just("f"), arguments=st.just('{"a":1}'))


def turn(role: str, *parts: Any) -> tuple[Message, ...]:
    return (Message(role=role, parts=parts),)


@st.composite
def exchanges(draw: st.DrawFn) -> tuple[Message, ...]:
    """A question, an answer, perhaps calls and their results."""
    said = [Text(draw(words))] if draw(st.booleans()) else []
    called = draw(st.lists(calls, max_size=2, unique_by=lambda call: call.id))
    answered = turn("assistant", *said, *called) if said or called else ()
    results = (turn("tool", ToolResult(id=call.id, parts=(Text(draw(words)),))) for call in called)
    return (*draw(asks), *answered, *(message for result in results for message in result))


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    system = turn("system", Text(draw(words))) if draw(st.booleans()) else ()
    messages = (message for exchange in draw(st.lists(exchanges(), min_size=1, max_size=3)) for message in exchange)
    tool = st.builds(Tool, name=st.just("f"), description=st.text(max_size=9), parameters=st.just(SCHEMA),
                     strict=st.sampled_from((True, False)))  # fmt: skip
    schema = draw(st.sampled_from((None, {}, SCHEMA)))
    return Chat(
        messages=(*system, *messages),
        tools=tuple(draw(st.lists(tool, max_size=1))),
        tool_choice=draw(st.sampled_from((None, "auto", "required", {"name": "f"}))),
        parallel_calls=draw(st.sampled_from((None, True, False))),
        schema=schema,
        schema_name="n" if schema else "",
        schema_strict=draw(st.sampled_from((None, True))) if schema else None,
        max_tokens=draw(st.none() | st.integers(1, 999)),
        temperature=draw(st.none() | st.floats(0, 2)),
        top_p=draw(st.none() | st.floats(0, 1)),
        reasoning_effort=draw(st.sampled_from((None, "low", "high"))),
        hints=draw(st.sampled_from(({}, {"user": "u"}))),
    )


def raw(body: dict[str, Any]) -> dict[str, bytes]:
    return {name: msgspec.json.encode(value) for name, value in body.items()}


@given(chats())
def test_there_and_back(chat: Chat) -> None:
    """A conversation is read as it was written, and survives being said in the chat format in between."""
    assert read_chat(raw(write_chat(chat))) == chat
    unsaid = Unsaid(TARGET, "a format")
    between = openai_chat_messages.read_chat(raw(openai_chat_messages.write_chat(chat, unsaid=unsaid)))
    again = read_chat(raw(write_chat(between, unsaid=unsaid)))
    assert replace(again, hints={name: v for name, v in again.hints.items() if name != "store"}) == chat
    assert unsaid.names == []


items = st.recursive(
    JSON,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(("message", "function_call", "function_call_output", "reasoning", "input_text",
                                     "input_image", "input_file", "refusal", "function", "json_schema")) | JSON,
            "role": st.sampled_from(("user", "assistant", "developer", "king")),
            **{name: inner | st.lists(inner, max_size=2)
               for name in ("content", "output", "summary", "text", "name", "arguments", "image_url", "format")},
        },
    ),
    max_leaves=6,
)  # fmt: skip


@given(
    st.binary(max_size=40)
    | st.fixed_dictionaries(
        {"model": st.just("m")},
        optional={name: items | st.lists(items, max_size=3)
                  for name in ("input", "instructions", "tools", "tool_choice", "text", "reasoning", "include",
                               "stream", "max_output_tokens", "truncation")},
    ).map(msgspec.json.encode)
)  # fmt: skip
def test_any_body_is_a_request_or_a_failure(body: bytes) -> None:
    """Nothing that a caller sends makes the format raise, but the ValueError that says what is wrong."""
    request = read_request("/v1/responses", body)
    if isinstance(request, Failure):
        return
    write_request(request, TARGET)
    for mode in Mode:
        write_request(request, TARGET, continuation=Continuation(mode, "So"))
    try:
        chat = request.chat
    except ValueError as error:
        assert str(error)
    else:
        write_request(Request(model="m", read=lambda: chat), TARGET)


# ------------------------------------------------------------------- as the SDK says it


def test_the_sdk_says_the_same() -> None:
    """What we send is what the official SDK sends for the same call."""
    openai = pytest.importorskip("openai", reason="the official SDK is the judge of what is sent")
    call = {
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "Look"},
                                         {"type": "input_image", "image_url": PIXEL, "detail": "low"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "12"},
        ],
        "tools": [{"type": "function", "name": "f", "parameters": SCHEMA, "strict": True}],
        "text": {"format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True}},
        "reasoning": {"effort": "low"}, "max_output_tokens": 99, "temperature": 0.5, "store": False,
    }  # fmt: skip

    async def sent() -> bytes:
        async with FakeProvider() as provider:
            async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="x", max_retries=0) as sdk:
                await sdk.responses.create(model="other", **call)
            assert provider.seen[0].path == "/v1/responses"
            return provider.seen[0].body

    body = asyncio.run(sent())
    request = read_request("/v1/responses", body)
    assert isinstance(request, Request)
    chat = request.chat
    theirs = json.loads(body)
    assert {**written(replace(chat, hints={})), "unsaid": None} == {**theirs, "unsaid": None}
    assert write_request(request, TARGET).body == body


def test_the_format_is_complete() -> None:
    """Both sides are there, at the path where OpenAI has it."""
    assert (FORMAT.name, FORMAT.paths, FORMAT.methods) == (NAME, ("/v1/responses",), ("POST",))
    assert FORMAT.writer is not None
    assert FORMAT.write_failure is not None
