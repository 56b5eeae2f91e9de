"""From any chat format through any other and back: nothing is lost that both can say."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from itertools import permutations
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from unbroken.failures import Failure
from unbroken.types import (
    Chat,
    HttpRequest,
    Media,
    Message,
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
from unbroken.wire import Format, format_named

FORMATS = ("openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "ollama", "cohere")
BASES = {"gemini": "https://x.invalid/v1beta", "openai_chat": "https://x.invalid/v1",
         "openai_responses": "https://x.invalid/v1"}  # fmt: skip
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
PICTURE = Media(kind="image", data=PIXEL, media_type="image/png")
QUERY = {"type": "object", "properties": {"q": {"type": "string"}}}
IN_HINTS = ("extras", "hints")

# ------------------------------------------------------------------- conversations

words = st.text('abc é漢\n"\\{}', min_size=1, max_size=12).filter(lambda text: text.strip() == text)
names = st.sampled_from(["look", "look_up", "add"])
values = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | words, lambda inner: st.lists(inner, max_size=2))
arguments = st.dictionaries(words, values, max_size=2).map(lambda value: json.dumps(value, ensure_ascii=False))
pictures = st.just(PICTURE)
schemas = st.just({"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]})
tools = st.lists(names, unique=True, max_size=3).map(
    lambda found: tuple(
        Tool(
            name=name,
            description=f"It can {name}.",
            parameters=QUERY,
        )
        for name in found
    )
)


@st.composite
def rounds(draw: st.DrawFn, callable_names: list[str], number: int) -> list[Message]:
    """What a user says, and what comes of it: words, or calls with their results and then words."""
    asked: list[Part] = [Text(draw(words))]
    if draw(st.booleans()):
        asked.append(draw(pictures))
    said = [Message(role="user", parts=tuple(asked))]
    if bool(callable_names) and draw(st.booleans()):
        count = draw(st.integers(1, 2))
        calls = [
            ToolCall(id=f"call_{number}{n}", name=draw(st.sampled_from(callable_names)), arguments=draw(arguments))
            for n in range(count)
        ]
        before = [Text(draw(words))] if draw(st.booleans()) else []
        said.append(Message(role="assistant", parts=(*before, *calls)))
        said += [
            Message(role="tool", parts=(ToolResult(id=call.id, name=call.name, parts=(Text(draw(words)),)),))
            for call in calls
        ]
    said.append(Message(role="assistant", parts=(Text(draw(words)),)))
    return said


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    """A conversation as somebody might have it, that ends with the user's turn."""
    known = draw(tools)
    callable_names = [tool.name for tool in known]
    messages = [Message(role="system", parts=(Text(draw(words)),))] if draw(st.booleans()) else []
    for number in range(draw(st.integers(0, 2))):
        messages += draw(rounds(callable_names, number))
    messages.append(Message(role="user", parts=(Text(draw(words)),)))
    maybe = st.none()
    wanted: st.SearchStrategy[Any] = maybe
    if known:
        wanted = st.sampled_from([None, "auto", "required", {"name": callable_names[0]}])
    return Chat(
        messages=tuple(messages),
        tools=known,
        tool_choice=draw(wanted),
        schema=draw(maybe | schemas) if not known else None,
        max_tokens=draw(maybe | st.integers(16, 4000)),
        temperature=draw(maybe | st.sampled_from([0.0, 0.5, 1.0])),
        top_p=draw(maybe | st.sampled_from([0.5, 0.9])),
        stop=draw(st.just(()) | st.just(("END",))),
        seed=draw(maybe | st.integers(0, 99)),
    )


# ----------------------------------------------------------------- saying and hearing


def target_of(name: str) -> Target:
    return Target(name="t", provider="p", model="some-model", format=name, base_url=BASES.get(name, "https://x.invalid"),
                  key="k", options={"region": "eu-west-1"})  # fmt: skip


def said(spoken: Format, chat: Chat) -> HttpRequest:
    """A conversation from elsewhere in this format; ValueError where it cannot say it."""
    needs = ({"tools"} if chat.tools else set()) | ({"schema"} if chat.schema is not None else set())
    request = Request(model="m", needs=frozenset(needs), source=Source("elsewhere", {}), read=lambda: chat)
    return spoken.write_request(request, target_of(spoken.name))


def heard(spoken: Format, http: HttpRequest) -> Chat:
    """What the server side of this format makes of it."""
    assert spoken.read_request is not None
    path = http.url.removeprefix("https://x.invalid")
    request = spoken.read_request(path, http.body)
    assert not isinstance(request, Failure), request
    return request.chat


def plain(chat: Chat) -> dict[str, Any]:
    """A conversation in a form that does not depend on how a format cuts it into messages."""
    found = {field.name: getattr(chat, field.name) for field in fields(chat) if field.name not in IN_HINTS}
    found["messages"] = list(pieces(chat))
    found["schema"] = None if chat.schema is None else dict(chat.schema)
    found["schema_name"] = found["schema_strict"] = None
    if isinstance(chat.tool_choice, Mapping):
        found["tool_choice"] = dict(chat.tool_choice)
    found["tools"] = [replace(tool, strict=tool.strict or None) for tool in chat.tools]
    if found["tool_choice"] == "auto" and chat.tools:
        found["tool_choice"] = None  # it is what everybody does who is told nothing
    if len(chat.tools) == 1 and found["tool_choice"] == {"name": chat.tools[0].name}:
        found["tool_choice"] = "required"  # the same, where there is but one
    return found


def pieces(chat: Chat) -> Iterator[Any]:
    """Who said what, one piece at a time, words beside words joined."""
    last: list[Any] | None = None
    for role, part in ((message.role, part) for message in chat.messages for part in message.parts):
        piece = seen(role, part)
        if piece is None:
            continue
        if last is not None and piece[:2] == last[:2] and piece[1] == "text" and role != "system":
            last[2] += "\n" + piece[2]
            continue
        if last is not None:
            yield last
        last = piece
    if last is not None:
        yield last


def seen(role: str, part: Part) -> list[Any] | None:
    match part:
        case Text():
            return [role, "text", part.text]
        case Media():
            data = part.data or part.url.partition("base64,")[2]
            return [role, part.kind, data]
        case ToolCall():
            return [role, "call", part.id, part.name, json.loads(part.arguments or "{}")]
        case ToolResult():
            return ["tool", "result", part.id, "".join(p.text for p in part.parts if isinstance(p, Text))]
        case Reasoning() | Opaque():
            return None


def known_formats() -> list[str]:
    found = []
    for name in FORMATS:
        try:
            found.append(format_named(name).name)
        except KeyError:
            continue
    return found


@pytest.mark.parametrize(("first", "second"), list(permutations(FORMATS, 2)))
@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much])  # some pairs share little
@given(chats())
def test_there_and_back(first: str, second: str, chat: Chat) -> None:
    """What both formats can say is the same after the way there and back; what one cannot say it refuses to."""
    one, other = format_named(first), format_named(second)
    try:
        begun = heard(one, said(one, chat))
        there = said(other, begun)
        back = said(one, heard(other, there))
    except ValueError:
        assume(False)
        return
    ended = heard(one, back)
    if "anthropic" in (first, second) and begun.max_tokens is None:
        ended = replace(ended, max_tokens=None)  # it has to be told one
    assert plain(ended) == plain(begun)


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=60)
@given(chats())
def test_what_is_said_is_heard(name: str, chat: Chat) -> None:
    """A format either refuses a conversation or says all of it: the server side hears what was meant."""
    spoken = format_named(name)
    try:
        http = said(spoken, chat)
    except ValueError:
        assume(False)
        return
    expected = plain(chat)
    if name == "anthropic" and chat.max_tokens is None:
        expected["max_tokens"] = plain(heard(spoken, http))["max_tokens"]  # it has to be told one
    assert plain(heard(spoken, http)) == expected
    assert http.unsaid == () or replace(chat).hints


@pytest.mark.parametrize("name", FORMATS)
def test_the_common_ground_is_common(name: str) -> None:
    """What every chat API can do is never refused: a system prompt, several turns, tools and their results."""
    talk = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text("What is in it?"), PICTURE)),
            Message(role="assistant", parts=(Text("Wait."), ToolCall(id="call_1", name="look", arguments="{}"))),
            Message(role="tool", parts=(ToolResult(id="call_1", name="look", parts=(Text("A cat"),)),)),
            Message(role="assistant", parts=(Text("A cat."),)),
            Message(role="user", parts=(Text("Sure?"),)),
        ),
        tools=(Tool(name="look", description="Look.", parameters=QUERY),),
        max_tokens=100,
        temperature=0.5,
        stop=("END",),
    )  # fmt: skip
    spoken = format_named(name)
    if name == "openai_responses":
        talk = replace(talk, stop=())  # it alone has no stop words
    assert plain(heard(spoken, said(spoken, talk))) == plain(talk)
