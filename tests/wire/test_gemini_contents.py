"""Conversations in Gemini's format, written: what is sent to Google, and what cannot be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from unbroken.types import (
    Chat,
    Continuation,
    Media,
    Message,
    Mode,
    Opaque,
    Reasoning,
    Request,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire import openai_chat
from unbroken.wire.gemini import read_request, write_request
from unbroken.wire.gemini_messages import NO_SIGNATURE, RETURNS
from wire.gemini_recorded import TARGET
from wire.test_gemini import HELLO, PATH, asked, body_of, sent, with_parts

GEMINI_3 = replace(TARGET, model="gemini-3-pro-preview")
GEMINI_2 = replace(TARGET, model="gemini-2.5-flash")
VERTEX = "https://{}/projects/p/locations/{}/publishers/google/models/m:generateContent"


def inline(media_type: str, data: str) -> Any:
    return {"inlineData": {"mimeType": media_type, "data": data}}


def file(media_type: str, url: str) -> Any:
    return {"fileData": {"mimeType": media_type, "fileUri": url}}


# -------------------------------------------------------------------- to a provider


def test_bodies_pass_as_they_came() -> None:
    """A caller of this format has his own bytes sent on, below the target's own model."""
    body = b'{"contents":[ {"parts":[{"text":"\\u00e9"}]} ],"system_instruction":{"parts":[]},"model":"models/m"}'
    request = read_request("/v1/models/m:streamGenerateContent", body)
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1beta/models/other-model:streamGenerateContent?alt=sse"
    assert http.headers["x-goog-api-key"] == "k"
    assert http.body == body[: body.index(b',"model')] + b"}"


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"base_url": "https://g.invalid/v1beta/openai/"}, "https://g.invalid/v1beta/models/m:generateContent"),
        ({"base_url": "https://g.invalid/v1?a=b"}, "https://g.invalid/v1/models/m:generateContent?a=b"),
        ({"model": "models/m"}, "https://x.invalid/v1beta/models/m:generateContent"),
        ({"model": "tunedModels/m"}, "https://x.invalid/v1beta/tunedModels/m:generateContent"),
        (
            {"base_url": "", "options": {"project": "p"}},
            VERTEX.format("aiplatform.googleapis.com/v1", "global"),
        ),
        (
            {"base_url": "https://generativelanguage.googleapis.com/v1beta",
             "options": {"project": "p", "location": "us-east1", "api_version": "v1beta1"}},
            VERTEX.format("us-east1-aiplatform.googleapis.com/v1beta1", "us-east1"),
        ),
        (
            {"base_url": "", "options": {"project": "p", "location": "eu"}},
            VERTEX.format("aiplatform.eu.rep.googleapis.com/v1", "eu"),
        ),
        (
            {"base_url": "https://v.invalid/v1/projects/q/locations/l/publishers/google", "options": {"project": "p"}},
            "https://v.invalid/v1/projects/q/locations/l/publishers/google/models/m:generateContent",
        ),
    ],
)  # fmt: skip
def test_addresses(fields: Any, url: str) -> None:
    """Google's addresses, whole or built from a project and a place, lead to the model."""
    target = replace(TARGET, **{"model": "m", **fields})
    assert write_request(asked(), target).url == url


def test_vertex_shows_a_token() -> None:
    """Vertex AI is shown a bearer token."""
    assert write_request(asked(), replace(TARGET, auth="bearer")).headers["authorization"] == "Bearer k"


@pytest.mark.parametrize("contents", [[{"parts": [{"text": "x"}]}], {"parts": [{"text": "x"}]}])
def test_going_on(contents: Any) -> None:
    """What was said is the model's last turn, and where it must be asked, the asking follows."""
    request = asked(contents=contents)
    for mode, count in ((Mode.PREFIX, 2), (Mode.ASK, 3), (Mode.RESTART, 1)):
        http = write_request(request, TARGET, continuation=Continuation(mode, "One two"))
        turns = json.loads(http.body)["contents"]
        turns = turns if isinstance(turns, list) else [turns]
        assert len(turns) == count
        if count > 1:
            assert turns[1] == {"role": "model", "parts": [{"text": "One two"}]}
        if count > 2:
            assert turns[2]["role"] == "user" and '"One two"' in turns[2]["parts"][0]["text"]


def test_results_of_one_turn_go_together() -> None:
    """Google counts the results against the calls before, so they stand in one content, with their tools' names."""
    chat = Chat(messages=(
        Message(role="system", parts=(Text("s"),)), HELLO,
        Message(role="assistant", parts=(ToolCall(id="a", name="f", arguments=""),
                                         ToolCall(id="b", name="g", arguments='{"x":1}'))),
        Message(role="tool", parts=(ToolResult(id="a", parts=(Text("1"), Text("2"))),)),
        Message(role="tool", parts=(ToolResult(id="b", failed=True, parts=(
            Text("no"), Media(kind="image", media_type="image/png", data="eA=="))),)),
        Message(role="system", parts=(Text("t"),)),
        Message(role="assistant", parts=()),
        Message(role="assistant", parts=(Reasoning("hm", "", "elsewhere"),)),
    ))  # fmt: skip
    http = sent(chat)
    body = json.loads(http.body)
    assert [content["role"] for content in body["contents"]] == ["user", "model", "user", "model"]
    picture = {"inlineData": {"mimeType": "image/png", "data": "eA=="}}
    assert [part["functionResponse"] for part in body["contents"][2]["parts"]] == [
        {"id": "a", "name": "f", "response": {"output": "12"}},
        {"id": "b", "name": "g", "response": {"error": "no"}, "parts": [picture]},
    ]
    assert body["contents"][3]["parts"] == [{"text": ""}]
    assert body["systemInstruction"] == {"parts": [{"text": "s"}, {"text": "t"}]}
    assert http.unsaid == ("reasoning", "the place of later system messages")


def test_only_instructions_are_what_is_asked() -> None:
    """Where there is nothing but instructions they are the question: Google wants one."""
    assert body_of(Chat(messages=(Message(role="system", parts=(Text("s"),)),))) == {
        "contents": [{"role": "user", "parts": [{"text": "s"}]}]
    }


def test_calls_of_others_are_signed_for_gemini_3() -> None:
    """The newer models refuse unsigned calls: the first of a turn says that another model made it."""
    calls = (ToolCall(id="", name="f", arguments="{}"), ToolCall(id="b", name="f", arguments="{}"))
    turn = with_parts(*calls, role="assistant")
    first, second = body_of(turn, GEMINI_3)["contents"][1]["parts"]
    assert first == {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": NO_SIGNATURE}
    assert "thoughtSignature" not in second
    assert "thoughtSignature" not in body_of(turn, GEMINI_2)["contents"][1]["parts"][0]


@pytest.mark.parametrize(
    ("media", "part"),
    [
        (Media(kind="image", url="data:image/png;base64,eA=="), inline("image/png", "eA==")),
        (Media(kind="document", url="data:text/plain,a%20b"), inline("text/plain", "YSBi")),
        (Media(kind="document", url="data:;base64,eA==", detail="a.csv"), inline("text/csv", "eA==")),
        (Media(kind="image", url="https://a.example/b.WEBP?c=d"), file("image/webp", "https://a.example/b.WEBP?c=d")),
        (Media(kind="image", url="https://a.example/b"), file("image/jpeg", "https://a.example/b")),
        (Media(kind="audio", data="eA==", media_type="audio/wav"), inline("audio/wav", "eA==")),
    ],
)
def test_media_are_written(media: Media, part: Any) -> None:
    """Bytes go out as bytes, addresses as addresses with the type that Google wants to know."""
    assert body_of(with_parts(media))["contents"][1]["parts"] == [part]


@pytest.mark.parametrize(
    ("part", "role", "words"),
    [
        (Opaque("openai_chat", {}), "user", "something of the format openai_chat"),
        (Media(kind="image"), "user", "a image without bytes"),
        (ToolCall(id="a", name="f", arguments="[1]"), "assistant", "the call of f"),
        (ToolCall(id="a", name="f", arguments="{"), "assistant", "the call of f"),
        (ToolResult(id="a", parts=(Text("x"),)), "tool", "without its call"),
        (ToolResult(id="", name="f", parts=(Reasoning("x"),)), "tool", "a Reasoning here"),
    ],
)  # fmt: skip
def test_what_cannot_be_held(part: Any, role: str, words: str) -> None:
    """What has no place in this format makes a target ineligible, with the reason."""
    with pytest.raises(ValueError, match=words):
        sent(with_parts(part, role=role))


@pytest.mark.parametrize(
    ("fields", "name", "target"),
    [
        ({"extras": {"logit_bias": {}}}, "logit_bias", TARGET),
        ({"parallel_calls": False, "tools": (Tool(name="f"),)}, "parallel_tool_calls", TARGET),
        ({"stop": tuple("abcdef")}, "stop", TARGET),
        ({"schema": {"type": "object"}, "tools": (Tool(name="f"),)}, "response_format", GEMINI_2),
        ({"reasoning_effort": "high"}, "reasoning_effort", replace(TARGET, model="gemini-2.0-flash")),
    ],
)
def test_what_cannot_be_said(fields: Any, name: str, target: Target) -> None:
    """What would change the answer and has no word here is refused, unless the operator lets it be dropped."""
    chat = Chat(messages=(HELLO,), **fields)
    with pytest.raises(ValueError, match=f"the Gemini format has no {name}"):
        sent(chat, target)
    assert name in sent(chat, replace(target, may_drop=frozenset((name,)))).unsaid


def test_what_changes_no_answer_is_left_out_and_told() -> None:
    """Hints, names and details that have no word here are reported."""
    message = Message(
        role="user", parts=(Media(kind="image", data="x", detail="high"),), extras={"name": "n", "role": "x"}
    )
    chat = Chat(messages=(message,), hints={"user": "u"}, schema={}, schema_name="s")
    assert sent(chat).unsaid == ("user", "messages[].name", "messages[].detail", "schema_name")


@pytest.mark.parametrize(
    ("fields", "model", "config"),
    [
        ({"reasoning_effort": "medium"}, "gemini-2.5-flash", {"thinkingBudget": 8192}),
        ({"reasoning_effort": "strange"}, "gemini-2.5-flash", {"thinkingLevel": "STRANGE"}),
        ({"reasoning_effort": "none"}, "gemini-3-flash", {"thinkingLevel": "MINIMAL"}),
        ({"reasoning_effort": "max"}, "gemini-flash-latest", {"thinkingLevel": "XHIGH"}),
        ({"reasoning_effort": "low", "reasoning_tokens": 7}, "gemini-3-flash", {"thinkingBudget": 7}),
        ({"reasoning_effort": "none"}, "gemini-2.0-flash", None),
        ({}, "gemini-3-flash", None),
    ],
)
def test_thinking_is_written(fields: Any, model: str, config: Any) -> None:
    """An effort is a level, or for the older models a budget; a budget is a budget."""
    body = body_of(Chat(messages=(HELLO,), **fields), replace(TARGET, model=model))
    assert body.get("generationConfig", {}).get("thinkingConfig") == config


def test_tools_are_written() -> None:
    """Schemas go out as JSON schema without their head; arguments must be an object."""
    schema = {"$schema": "x", "type": "object", "$defs": {}}
    chat = Chat(messages=(HELLO,), tools=(Tool(name="f", parameters=schema), Tool(name="g", parameters={})),
                tool_choice="none", schema={"$schema": "x", "type": "array"})  # fmt: skip
    body = body_of(chat, choices=3)
    assert body["tools"] == [{"functionDeclarations": [
        {"name": "f", "parametersJsonSchema": {"type": "object", "$defs": {}}}, {"name": "g"},
    ]}]  # fmt: skip
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "NONE"}}
    assert body["generationConfig"] == {
        "responseMimeType": "application/json", "responseJsonSchema": {"type": "array"}, "candidateCount": 3,
    }  # fmt: skip
    for parameters in ({"type": "array"}, [1]):
        with pytest.raises(ValueError, match="only as an object"):
            sent(Chat(messages=(HELLO,), tools=(Tool(name="f", parameters=parameters),)))


def test_what_a_function_gives_back_rules_nobody_out() -> None:
    """Google's SDK says it of every annotated function: Google is told, and others are asked without it."""
    told = {"name": "f", "response_json_schema": {"type": "string"}}
    request = asked(tools=[{"functionDeclarations": [told, {"name": "g"}]}])
    declared = [{"name": "f", "responseJsonSchema": {"type": "string"}}, {"name": "g"}]
    assert body_of(request.chat, own=True)["tools"] == [{"functionDeclarations": declared}]
    elsewhere = openai_chat.write_request(request, THERE)
    assert [tool["function"]["name"] for tool in json.loads(elsewhere.body)["tools"]] == ["f", "g"]
    assert elsewhere.unsaid == (RETURNS,)


# ------------------------------------------------------------------- there and back

THERE = Target(name="o", provider="o", model="o", base_url="https://x.invalid/v1")


def test_conversations_go_there_and_back() -> None:
    """What OpenAI's and Google's formats both can say survives the way to the one and back from the other."""
    chat = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text("Hot?"), Media(kind="image", url="data:image/png;base64,eA=="))),
            Message(role="assistant", parts=(Text("Let me see."), ToolCall(id="c1", name="f", arguments='{"a":1}'),
                                             ToolCall(id="c2", name="f", arguments="{}"))),
            Message(role="tool", parts=(ToolResult(id="c1", parts=(Text('{"t": 20}'),)),)),
            Message(role="tool", parts=(ToolResult(id="c2", parts=(Text("cold"),)),)),
            Message(role="user", parts=(Text("And now?"),)),
        ),
        tools=(Tool(name="f", description="d", parameters={"type": "object", "properties": {}}),),
        tool_choice={"name": "f"}, schema={"type": "object"}, schema_name="answer", max_tokens=5, temperature=0.5,
        top_p=0.5, stop=("a", "b"),
        seed=3, presence_penalty=0.5, frequency_penalty=0.25, reasoning_effort="low",
    )  # fmt: skip
    request = read_request(PATH, sent(chat, GEMINI_3).body)
    assert isinstance(request, Request)
    back = openai_chat.read_request("", openai_chat.write_request(request, THERE).body)
    assert isinstance(back, Request)
    assert back.chat == chat
    again = read_request(PATH, write_request(back, GEMINI_3).body)
    assert isinstance(again, Request)
    assert again.chat == request.chat
