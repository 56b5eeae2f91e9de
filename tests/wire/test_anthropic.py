"""Requests in Anthropic's Messages format: what is said, what is refused, what is left out and told."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Chat,
    Continuation,
    HttpRequest,
    Media,
    Message,
    Mode,
    Opaque,
    Part,
    Reasoning,
    Request,
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire import format_named
from unbroken.wire.anthropic import FORMAT, read_request, write_request
from unbroken.wire.anthropic_messages import REDACTED
from unbroken.wire.asked import ask_to_go_on
from unbroken.wire.openai_chat import read_request as read_openai

PATH = "/v1/messages"
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
TARGET = Target(name="t", provider="p", model="claude-haiku-4-5", base_url="https://x.invalid", key="k")
HI = (Message(role="user", parts=(Text("hi"),)),)
LOOK = Tool(name="look", description="Look.", parameters={"type": "object", "properties": {}})


def asked(**fields: Any) -> Request:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    request = read_request(PATH, json.dumps(body).encode())
    assert isinstance(request, Request), request
    return request


def target(**changes: Any) -> Target:
    return replace(TARGET, **changes)


def said(chat: Chat, to: Target = TARGET, **of_request: Any) -> HttpRequest:
    """A conversation that came in another format."""
    source = Source("elsewhere", {})
    return write_request(Request(model="m", source=source, read=lambda: chat, **of_request), to)


def body_of(chat: Chat, to: Target = TARGET, **of_request: Any) -> Any:
    return json.loads(said(chat, to, **of_request).body)


def refusal(chat: Chat, to: Target = TARGET, **of_request: Any) -> str:
    with pytest.raises(ValueError) as raised:
        said(chat, to, **of_request)
    return str(raised.value)


# ---------------------------------------------------------------- address and headers


@pytest.mark.parametrize(
    ("base_url", "url"),
    [
        ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages"),
        ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages"),
        ("https://h.invalid/anthropic?a=b", "https://h.invalid/anthropic/v1/messages?a=b"),
        ("https://h.invalid/v1?a=b", "https://h.invalid/v1/messages?a=b"),
    ],
)
def test_addresses(base_url: str, url: str) -> None:
    """An address may hold the version or not; it is never doubled."""
    assert write_request(asked(), target(base_url=base_url)).url == url


def test_headers() -> None:
    """The key goes where Anthropic wants it; version and beta features are the target's to choose."""
    headers = write_request(asked(), TARGET).headers
    assert headers["x-api-key"] == "k" and headers["anthropic-version"] == "2023-06-01"
    assert "authorization" not in headers and "anthropic-beta" not in headers
    headers = write_request(asked(), target(auth="bearer", options={"version": "2026-10-21", "beta": "a,b"})).headers
    assert headers["authorization"] == "Bearer k" and "x-api-key" not in headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("2026-10-21", "a,b")
    headers = write_request(asked(), target(headers={"Anthropic-Beta": "c", "Anthropic-Version": "d"})).headers
    assert (headers["anthropic-version"], headers["anthropic-beta"]) == ("d", "c")


# ------------------------------------------------------------------- reading a request


def test_what_routing_needs() -> None:
    """Model, stream, limit and needs are read at once."""
    image = {"type": "image", "source": {"type": "url", "url": "https://h.invalid/a.png"}}
    request = asked(
        stream=True, temperature=0.5, system="You.", tools=[{"name": "x"}],
        messages=[{"role": "user", "content": [image]}],
        output_config={"format": {"type": "json_schema", "schema": {}}},
    )  # fmt: skip
    assert (request.model, request.stream, request.max_tokens, request.temperature) == ("m", True, 9, 0.5)
    assert request.needs == {"tools", "vision", "schema"} and request.include_usage
    assert request.prompt_chars > 80 and not request.thinks
    plain = asked(messages=[{"role": "user", "content": 'say "type": "image" and image'}], tools=[])
    assert plain.needs == frozenset() and not plain.include_usage


@pytest.mark.parametrize(
    ("fields", "thinks"),
    [
        ({}, False),
        ({"thinking": None}, False),
        ({"thinking": {"type": "disabled"}}, False),
        ({"thinking": {"type": "adaptive"}}, True),
        ({"thinking": {"type": "enabled", "budget_tokens": 2000}}, True),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, False),
    ],
)
def test_thinking_is_noticed(fields: dict[str, Any], thinks: bool) -> None:
    """Whether more thinking than a little is asked for decides on limits of time."""
    assert asked(**fields).thinks is thinks


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"max_tokens": "9"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"stream": 1}, "stream"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], **fields}
    failure = read_request(PATH, json.dumps(body).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


@pytest.mark.parametrize("missing", ["model", "messages", "max_tokens"])
def test_missing_fields_are_named(missing: str) -> None:
    """So is one that is missing."""
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    del body[missing]
    failure = read_request(PATH, json.dumps(body).encode())
    assert isinstance(failure, Failure) and failure.param == missing


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"messages": [7]}, "messages[0]"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [7]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "messages[0].content[0].source"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "input": "x"}]}]}, "content[0].input"),
        ({"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]}, "content[0].tool_use_id"),
        ({"system": 7}, "system"),
        ({"tools": 7}, "tools"),
        ({"tools": [7]}, "tools[0]"),
        ({"tools": [{}]}, "tools[0].name"),
        ({"stop_sequences": [7]}, "stop_sequences"),
        ({"temperature": "hot"}, "temperature"),
        ({"metadata": 7}, "metadata"),
    ],
)
def test_bad_conversations_name_the_field(fields: dict[str, Any], where: str) -> None:
    """What is read later names the field as well."""
    with pytest.raises(ValueError, match=r"must be") as raised:
        _ = asked(**fields).chat
    assert where in str(raised.value)


def test_a_whole_conversation() -> None:
    """Every modelled block and field has its place in the canonical form."""
    chat = asked(
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=[
            {"role": "user", "content": [
                {"type": "text", "text": "Look."},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}},
                {"type": "document", "title": "a.txt",
                 "source": {"type": "text", "media_type": "text/plain", "data": "é"}}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "S"},
                {"type": "redacted_thinking", "data": "D"},
                {"type": "tool_use", "id": "a", "name": "look", "input": {"n": 12345678901234567890123, "x": 1.0}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "A cat", "is_error": True},
                {"type": "text", "text": "Go on."}]},
        ],
        tools=[{"name": "look", "description": "Look.", "input_schema": {"type": "object"}, "strict": True}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        stop_sequences=["END"], top_k=5, top_p=0.9, metadata={"user_id": "u"}, service_tier="standard_only",
        thinking={"type": "enabled", "budget_tokens": 2000}, inference_geo="us",
    ).chat  # fmt: skip
    document = Media(
        kind="document", media_type="text/plain", data=base64.b64encode("é".encode()).decode(), detail="a.txt"
    )
    assert chat.messages == (
        Message(role="system", parts=(Text("Be brief."),)),
        Message(role="user", parts=(Text("Look."), Media(kind="image", media_type="image/png", data=PIXEL), document)),
        Message(role="assistant", parts=(
            Reasoning("Hm.", signature="S", format="anthropic"), Reasoning("", signature="D", format=REDACTED),
            ToolCall(id="a", name="look", arguments='{"n":12345678901234567890123,"x":1.0}'))),
        Message(role="tool", parts=(ToolResult(id="a", parts=(Text("A cat"),), failed=True),)),
        Message(role="user", parts=(Text("Go on."),)),
    )  # fmt: skip
    assert chat.tools == (Tool(name="look", description="Look.", parameters={"type": "object"}, strict=True),)
    assert (chat.tool_choice, chat.parallel_calls, chat.stop) == ("required", False, ("END",))
    assert (chat.max_tokens, chat.top_k, chat.top_p, chat.reasoning_tokens) == (9, 5, 0.9, 2000)
    assert chat.hints == {"user": "u", "service_tier": "default", "messages[].cache_control": True}
    assert chat.extras == {"inference_geo": "us"}


@pytest.mark.parametrize(
    ("fields", "effort", "tokens"),
    [
        ({"thinking": {"type": "disabled"}}, "none", None),
        ({"thinking": {"type": "adaptive"}}, "high", None),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "max", None),
        ({"output_config": {"effort": "low"}}, "low", None),
        ({"thinking": {"type": "enabled", "budget_tokens": 3000, "display": "omitted"}}, None, 3000),
    ],
)
def test_thinking_is_read(fields: dict[str, Any], effort: str | None, tokens: int | None) -> None:
    """Each way to say how to think is an effort or a budget."""
    chat = asked(**fields).chat
    assert (chat.reasoning_effort, chat.reasoning_tokens, chat.extras) == (effort, tokens, {})


def test_what_changes_no_answer_is_a_hint() -> None:
    """What has no place in a conversation is kept where it may be left out, and told."""
    chat = asked(
        metadata={"user_id": "u", "team": "t"}, service_tier="new", speed="fast",
        thinking={"type": "disabled"}, output_config={"effort": "low"},
    ).chat  # fmt: skip
    assert chat.hints == {
        "user": "u", "metadata": {"team": "t"}, "service_tier": "new", "speed": "fast", "output_config.effort": "low",
    }  # fmt: skip
    written = write_request(Request(model="m", read=lambda: chat), TARGET)
    assert json.loads(written.body)["metadata"] == {"user_id": "u", "team": "t"}
    assert written.unsaid == ("service_tier", "output_config.effort")


def test_schemas_are_read_in_both_spellings() -> None:
    """Structured output was `output_format` in its beta; what is no schema is left to its format."""
    schema = {"type": "object", "additionalProperties": False}
    assert asked(output_config={"format": {"type": "json_schema", "schema": schema}}).chat.schema == schema
    assert asked(output_format={"type": "json_schema", "schema": schema}).chat.schema == schema
    assert asked(output_config={"task_budget": 7}).chat.extras == {"output_config": {"task_budget": 7}}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}},
        {"type": "document", "source": {"type": "url", "url": "u"}, "citations": {"enabled": True}},
        {"type": "tool_use", "id": "a", "name": "n", "input": {}, "caller": {"type": "code_execution_20260120"}},
        {"type": "tool_result", "tool_use_id": "a", "toolset_name": "computer"},
        {"no": "type"},
    ],
)
def test_what_is_not_modelled_is_kept_whole(block: dict[str, Any]) -> None:
    """A block that only Anthropic understands goes to Anthropic as it is, and nowhere else."""
    request = asked(messages=[{"role": "user", "content": [block]}])
    assert request.chat.messages[0].parts == (Opaque("anthropic", block),)
    chat = request.chat
    again = json.loads(write_request(Request(model="m", read=lambda: chat), TARGET).body)
    assert again["messages"] == [{"role": "user", "content": [block]}]
    openai = format_named("openai_chat")
    with pytest.raises(ValueError, match="cannot hold"):
        openai.write_request(request, target(format="openai_chat"))


def test_tools_of_anthropics_own() -> None:
    """Tools that Anthropic runs are only for Anthropic; when it is told of the others changes no answer."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    mine = {
        "name": "x",
        "input_schema": {"type": "object"},
        "defer_loading": True,
        "cache_control": {"type": "ephemeral"},
    }
    request = asked(tools=[search, mine, {"name": "y", "input_schema": {}, "defer_loading": False}])
    assert [tool.name for tool in request.chat.tools] == ["x", "y"]
    assert request.chat.extras == {"tools": [search]}
    assert request.chat.hints == {"tools[].cache_control": True, "tools[].defer_loading": {"x": True}}
    chat = request.chat
    again = json.loads(write_request(Request(model="m", read=lambda: chat), TARGET).body)
    assert again["tools"][0] == {"name": "x", "input_schema": {"type": "object"}, "defer_loading": True}
    assert again["tools"][2] == search
    with pytest.raises(ValueError, match="tools"):
        format_named("openai_chat").write_request(request, target(format="openai_chat"))


# ------------------------------------------------------------- passing on, going on


def test_the_callers_own_bytes_go_on() -> None:
    """A request of the same format keeps every byte but the model."""
    raw = b'{"model":"m", "max_tokens":9,"messages": [ {"role":"user","content":"hi"}],"new_thing": 1e400}'
    request = read_request(PATH + "?beta=true", raw)
    assert isinstance(request, Request)
    body = write_request(request, TARGET).body
    said_on = raw.replace(b'"m"', b'"claude-haiku-4-5"').replace(b'": ', b'":').replace(b', "max', b',"max')
    assert body == said_on


def test_going_on() -> None:
    """A begun answer goes on as a prefix, or by asking; a prefix never ends with white space."""
    request = asked(thinking={"type": "enabled", "budget_tokens": 2000})
    begun = "Once upon a time there was \n"
    for_prefix = json.loads(write_request(request, TARGET, continuation=Continuation(Mode.PREFIX, begun)).body)
    assert for_prefix["messages"][1:] == [{"role": "assistant", "content": begun.rstrip()}]
    assert "thinking" not in for_prefix
    asking = json.loads(write_request(request, TARGET, continuation=Continuation(Mode.ASK, begun)).body)
    assert asking["messages"][1:] == [
        {"role": "assistant", "content": begun.rstrip()}, {"role": "user", "content": ask_to_go_on(begun)},
    ]  # fmt: skip
    assert asking["thinking"]
    again = write_request(request, TARGET, continuation=Continuation(Mode.RESTART, begun))
    assert again == write_request(request, TARGET)
    blank = json.loads(write_request(request, TARGET, continuation=Continuation(Mode.PREFIX, " ")).body)
    assert len(blank["messages"]) == 1


def test_going_on_from_another_format() -> None:
    """A conversation of another format goes on in the same way."""
    source = Source("elsewhere", {})
    request = Request(model="m", source=source, read=lambda: Chat(messages=HI))
    http = write_request(request, TARGET, continuation=Continuation(Mode.PREFIX, "Well, "))
    assert json.loads(http.body)["messages"] == [
        {"role": "user", "content": "hi"}, {"role": "assistant", "content": "Well,"},
    ]  # fmt: skip


# ------------------------------------------------------------------ writing messages


def turns(*messages: Message, to: Target = TARGET) -> list[Any]:
    return list(body_of(Chat(messages=messages), to)["messages"])


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


def test_turns_are_merged() -> None:
    """Consecutive turns of one role are one, and results of tools are the user's."""
    call = ToolCall(id="a", name="look", arguments='{"x": 1}')
    result = Message(role="tool", parts=(ToolResult(id="a", parts=(Text("A cat"),)),))
    assert turns(user(Text("a")), user(Text("b")), assistant(Text(""), call), result, user(Text("c"))) == [
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "A cat"},
                                     {"type": "text", "text": "c"}]},
    ]  # fmt: skip


def test_system_messages_stand_on_top() -> None:
    """System messages are the system prompt; later ones too, and it is told, unless they may stay where they are."""
    late = Chat(messages=(Message(role="system", parts=(Text("S"),)), *HI, Message(role="system", parts=(Text("T"),))))
    http = said(late)
    assert json.loads(http.body)["system"] == [{"type": "text", "text": "S"}, {"type": "text", "text": "T"}]
    assert http.unsaid == ("messages[].role",)
    inline = said(late, target(options={"system": "inline"}))
    body = json.loads(inline.body)
    assert body["system"] == "S" and body["messages"][-1] == {"role": "system", "content": "T"}
    assert inline.unsaid == ()


def test_nothing_to_say() -> None:
    """Blank texts go, since Anthropic refuses them; a conversation of nothing else cannot be said."""
    assert turns(user(Text("hi"), Text(" \n"))) == [{"role": "user", "content": "hi"}]
    assert "at least one message" in refusal(Chat(messages=(user(Text("")),)))


def test_begun_answers_end_with_a_word() -> None:
    """A caller's own prefix goes without the white space after it, which Anthropic refuses."""
    assert turns(*HI, assistant(Text("Well, \n")))[1] == {"role": "assistant", "content": "Well,"}
    assert turns(*HI, assistant(Text("Well, ")), *HI)[1] == {"role": "assistant", "content": "Well, "}


def test_pictures_and_documents() -> None:
    """Pictures and documents go as addresses, as bytes, or as plain text."""
    plain = base64.b64encode("é".encode()).decode()
    pdf = base64.b64encode(b"%PDF-1.4").decode()
    [turn] = turns(user(
        Media(kind="image", url=f"data:image/png;base64,{PIXEL}"),
        Media(kind="image", data=PIXEL),
        Media(kind="image", media_type="image/jpg", data=PIXEL),
        Media(kind="image", url="https://h.invalid/a.png", detail="auto"),
        Media(kind="document", url="https://h.invalid/a.pdf", detail="a.pdf"),
        Media(kind="document", data=pdf),
        Media(kind="document", url=f"data:text/csv;base64,{plain}"),
        Media(kind="document", url="data:text/plain,a%20b"),
    ))  # fmt: skip
    assert [block["source"] for block in turn["content"]] == [
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
        {"type": "base64", "media_type": "image/png", "data": PIXEL},
        {"type": "base64", "media_type": "image/jpeg", "data": PIXEL},
        {"type": "url", "url": "https://h.invalid/a.png"},
        {"type": "url", "url": "https://h.invalid/a.pdf"},
        {"type": "base64", "media_type": "application/pdf", "data": pdf},
        {"type": "text", "media_type": "text/plain", "data": "é"},
        {"type": "text", "media_type": "text/plain", "data": "a b"},
    ]
    assert turn["content"][4]["title"] == "a.pdf"


@pytest.mark.parametrize(
    ("media", "why"),
    [
        (Media(kind="audio", media_type="audio/wav", data="AAAA"), "no audio"),
        (Media(kind="image", media_type="image/tiff", data="AAAA"), "image/tiff"),
        (Media(kind="image", data="AAAA"), "unknown"),
        (Media(kind="image", data="A"), "base64"),
        (Media(kind="document", media_type="application/zip", data="AAAA"), "application/zip"),
        (Media(kind="document", media_type="text/plain", data=base64.b64encode(b"\xff").decode()), "UTF-8"),
    ],
)
def test_other_media_cannot_be_said(media: Media, why: str) -> None:
    """What Anthropic does not take makes a target ineligible, with the reason."""
    assert why in refusal(Chat(messages=(user(media),)))


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ('{"a": 1.0, "b": 12345678901234567890123}', b'{"a": 1.0, "b": 12345678901234567890123}'),
        ('{"a": 1e400}', b'{"a": 1e400}'),
        ("", b"{}"),
        (" \n", b"{}"),
        ("[1]", b'{"INVALID_JSON":"[1]"}'),
        ('{"a": ', b'{"INVALID_JSON":"{\\"a\\": "}'),
        ("\ud800", b'{"INVALID_JSON":"?"}'),
    ],
)
def test_arguments(arguments: str, given: bytes) -> None:
    """Arguments keep every digit; what is no object is wrapped as Anthropic advises, and unwrapped again."""
    http = said(Chat(messages=(*HI, assistant(ToolCall(id="a", name="look", arguments=arguments)))))
    assert b'"input":' + given in http.body
    if "1e400" in arguments or not arguments.isascii():
        return
    request = read_request(PATH, http.body)
    assert isinstance(request, Request)
    part = request.chat.messages[1].parts[0]
    assert isinstance(part, ToolCall)
    expected = arguments.strip() or "{}"
    assert part.arguments == (
        arguments if b"INVALID" in given else json.dumps(json.loads(expected), separators=(",", ":"))
    )


def test_ids_of_calls() -> None:
    """Ids are put into the letters that Anthropic takes, alike in call and result; missing ones are made."""
    calls = [ToolCall(id=name, name="look", arguments="{}") for name in ("functions.look:0", "", "")]
    results = [Message(role="tool", parts=(ToolResult(id=call.id, parts=()),)) for call in calls]
    said_of, back = turns(*HI, assistant(*calls), *results)[1:]
    ids = [block["id"] for block in said_of["content"]]
    assert ids == ["functions_look_0", "toolu_1", "toolu_2"]
    assert ids == [block["tool_use_id"] for block in back["content"]]


def test_results_of_tools() -> None:
    """A result may hold pictures, nothing at all, or an error."""
    parts = (Text("Look:"), Media(kind="image", media_type="image/png", data=PIXEL))
    results = [ToolResult(id="a", parts=parts), ToolResult(id="b", parts=(), failed=True)]
    [_, turn] = turns(assistant(Text("x")), *(Message(role="tool", parts=(result,)) for result in results))
    assert [block["type"] for block in turn["content"][0]["content"]] == ["text", "image"]
    assert turn["content"][1] == {"type": "tool_result", "tool_use_id": "b", "is_error": True}


def test_thoughts() -> None:
    """Thoughts go back to those whose seal they bear; others are left out, and it is told."""
    mine = Reasoning("Hm.", signature="S", format="anthropic")
    sealed = Reasoning("", signature="D", format=REDACTED)
    http = said(Chat(messages=(*HI, assistant(mine, sealed, Reasoning("Other."), Text("x")))))
    assert json.loads(http.body)["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "S"},
        {"type": "redacted_thinking", "data": "D"},
        {"type": "text", "text": "x"},
    ]
    assert http.unsaid == ("reasoning",)


def test_what_others_put_beside_messages_is_told() -> None:
    """Names of speakers, seals of other providers' calls and how closely to look have no words here."""
    call = ToolCall(id="a", name="look", arguments="{}", signature="G")
    picture = Media(kind="image", media_type="image/png", data=PIXEL, detail="low")
    http = said(Chat(messages=(Message(role="user", parts=(picture,), extras={"name": "Ann"}), assistant(call))))
    assert http.unsaid == ("messages[].name", "messages[].detail", "messages[].signature")
    assert "of the format gemini" in refusal(Chat(messages=(user(Opaque("gemini", {})),)))


def test_there_and_back_through_openai() -> None:
    """A conversation survives the way to OpenAI's format and back."""
    request = asked(
        system="Be brief.", tools=[{"name": "look", "description": "Look.", "input_schema": {"type": "object"}}],
        tool_choice={"type": "auto", "disable_parallel_tool_use": True}, stop_sequences=["END"], temperature=0.5,
        output_config={"format": {"type": "json_schema", "schema": {"type": "object", "additionalProperties": False}}},
        metadata={"user_id": "u"},
        messages=[
            {"role": "user", "content": [
                {"type": "text", "text": "Look."},
                {"type": "image", "source": {"type": "url", "url": "https://h.invalid/a.png"}}]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
                {"type": "tool_use", "id": "b", "name": "look", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "A cat"},
                {"type": "tool_result", "tool_use_id": "b", "content": "A dog"},
                {"type": "text", "text": "And?"}]},
        ],
    )  # fmt: skip
    there = format_named("openai_chat").write_request(request, target(format="openai_chat"))
    between = read_openai("", there.body)
    assert isinstance(between, Request)
    back = read_request(PATH, write_request(between, TARGET).body)
    assert isinstance(back, Request)
    assert back.chat == replace(request.chat, hints={"user": "u"}, extras={})


# ----------------------------------------------------------------------------- fuzzing

NAMES = st.sampled_from(
    ["type", "text", "role", "content", "source", "input", "name", "thinking", "tools", "system", "id"]
)
WORDS = st.sampled_from(["text", "image", "tool_use", "tool_result", "thinking", "user", "assistant", "base64", "any"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.dictionaries(
    st.sampled_from(["messages", "system", "tools", "tool_choice", "thinking", "output_config", "metadata", "stream",
                     "temperature", "stop_sequences", "service_tier", "output_format", "max_tokens"]), JSON,
)  # fmt: skip


@given(st.binary(max_size=60) | FIELDS.map(lambda f: json.dumps({"model": "m", "max_tokens": 9, **f}).encode()))
def test_any_request_is_read_or_refused(body: bytes) -> None:
    """No body of a caller raises anything but the ValueError that names its field."""
    request = read_request(PATH, body)
    if isinstance(request, Failure):
        assert request.kind is FailureKind.REQUEST
        return
    try:
        chat = request.chat
        said(chat)
    except ValueError:
        return


def test_the_format() -> None:
    """It is found by its name, with both sides."""
    assert format_named("anthropic") is FORMAT
    assert FORMAT.paths == (PATH,) and FORMAT.writer is not None
