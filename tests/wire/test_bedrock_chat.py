"""Bedrock's Converse format: conversations there and back, and what each family of models wants to hear."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Chat,
    Continuation,
    Media,
    Message,
    Mode,
    Part,
    Request,
    Source,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire import openai_chat
from unbroken.wire.bedrock import PLAIN, STREAMED, read_request, write_request
from wire.anything import JSON
from wire.bedrock_asking import CLAUDE, PNG, TARGET, asked, foreign, written

# --------------------------------------------------------------- in the words of models

EFFORT: dict[str, Any] = {"reasoning_effort": "high"}
TOKENS = {"reasoning_tokens": 10_000}
NONE = {"reasoning_effort": "none"}
NEWER = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
OFF = {"thinking": {"type": "disabled"}}


@pytest.mark.parametrize(
    ("model", "fields", "more"),
    [
        (
            "us.anthropic.claude-3-7-sonnet-20250219-v1:0",
            EFFORT,
            {"thinking": {"type": "enabled", "budget_tokens": 24576}},
        ),
        (CLAUDE, {**EFFORT, "max_tokens": 5000}, {"thinking": {"type": "enabled", "budget_tokens": 4999}}),
        (CLAUDE, {"reasoning_effort": "minimal"}, {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
        (CLAUDE, TOKENS, {"thinking": {"type": "enabled", "budget_tokens": 10_000}}),
        (CLAUDE, NONE, OFF),
        (CLAUDE, {"top_k": 5}, {"top_k": 5}),
        ("us.anthropic.claude-sonnet-4-6", EFFORT, NEWER),
        ("us.anthropic.claude-sonnet-5", {"reasoning_tokens": 30_000}, NEWER),
        ("us.anthropic.claude-sonnet-5", {"reasoning_tokens": 0}, OFF),
        (
            "us.amazon.nova-2-lite-v1:0",
            TOKENS,
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}},
        ),
        ("us.amazon.nova-2-lite-v1:0", NONE, {"reasoningConfig": {"type": "disabled"}}),
        ("us.amazon.nova-lite-v1:0", {"top_k": 5, **NONE}, {"inferenceConfig": {"topK": 5}}),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "max"}, {"reasoning_effort": "high"}),
        ("qwen.qwen3-32b-v1:0", {"reasoning_tokens": 500}, {"reasoning_config": "low"}),
        ("meta.llama3", {"reasoning_tokens": -1}, None),
    ],
)
def test_thinking_and_top_k(model: str, fields: dict[str, Any], more: dict[str, Any] | None) -> None:
    """Each family of models is told in its own words how to think, and how to draw."""
    http = write_request(foreign(**fields), replace(TARGET, model=model))
    assert json.loads(http.body).get("additionalModelRequestFields") == more
    assert http.unsaid == ()
    again = read_request(http.url.removeprefix("https://x.invalid"), http.body)
    assert isinstance(again, Request)
    read = again.chat
    assert not read.extras and read.top_k == fields.get("top_k")


@pytest.mark.parametrize(
    ("model", "fields", "why"),
    [
        ("meta.llama3-8b-instruct-v1:0", EFFORT, "reasoning_effort: high is unknown for meta"),
        ("meta.llama3-8b-instruct-v1:0", {"reasoning_tokens": 0}, "reasoning_tokens: not for meta"),
        ("meta.llama3-8b-instruct-v1:0", {"top_k": 3}, "top_k: not for meta"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", TOKENS, "reasoning_tokens: not for"),
        ("openai.gpt-oss-120b-1:0", NONE, "reasoning_effort: none"),
        (CLAUDE, {"reasoning_effort": "huge"}, "reasoning_effort: huge"),
        (CLAUDE, {**EFFORT, "max_tokens": 1000}, "reasoning_effort: it takes 1024"),
        (CLAUDE, {"reasoning_tokens": 100}, "reasoning_tokens: it takes 1024"),
    ],
)
def test_thinking_that_cannot_be_had(model: str, fields: dict[str, Any], why: str) -> None:
    """A model that cannot think as was asked is not asked; one whose family hides behind a profile is told of it."""
    with pytest.raises(ValueError, match=f"has no {why}"):
        write_request(foreign(**fields), replace(TARGET, model=model))
    dropping = replace(TARGET, model=model, may_drop=frozenset("*"))
    assert "additionalModelRequestFields" not in written(foreign(**fields), dropping)
    profile = replace(TARGET, model="arn:profile/x", options={"base_model": "anthropic.claude-sonnet-5"})
    assert written(foreign(**EFFORT), profile)["additionalModelRequestFields"] == NEWER


# -------------------------------------------------------------------- there and back

BODY: dict[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "Look"},
                {"cachePoint": {"type": "default"}},
                {"guardContent": {"text": {"text": "x"}}},
                {"image": {"format": "png", "source": {"s3Location": {"uri": "s3://b/k"}}}},
                {"document": {"name": "d", "source": {"text": "words"}, "citations": {"enabled": True}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Hm", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
                {"citationsContent": {"content": [{"text": "It says"}], "citations": [{"title": "d"}]}},
                {"toolUse": {"toolUseId": "s", "name": "nova_grounding", "input": {}, "type": "server_tool_use"}},
                {"toolUse": {"toolUseId": "a", "name": "look", "input": {"at": "sea"}}},
                {"toolUse": {"toolUseId": "b", "name": "look", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "a", "content": [{"text": "blue"}], "status": "error"}},
                {"toolResult": {"toolUseId": "b", "content": [{"searchResult": {"title": "t", "content": []}}]}},
                {"cachePoint": {"type": "default", "ttl": "1h"}},
                {"text": "And?"},
                {"toolResult": {"toolUseId": "s", "content": [], "type": "nova_code_interpreter_result"}},
            ],
        },
        {"role": "system", "content": [{"text": "Be kind."}]},
    ],
    "system": [{"text": "Be brief."}, {"cachePoint": {"type": "default"}}, {"text": "Be good."}],
    "inferenceConfig": {"maxTokens": 10, "temperature": 0.5, "topP": 0.5, "stopSequences": ["END"]},
    "toolConfig": {
        "tools": [
            {"toolSpec": {"name": "look", "description": "Look.", "inputSchema": {"json": {}}, "strict": True}},
            {"cachePoint": {"type": "default"}},
            {"systemTool": {"name": "nova_grounding"}},
        ],
        "toolChoice": {"tool": {"name": "look"}},
    },
    "outputConfig": {
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": {"schema": '{"type":"object"}', "name": "n"}}}
    },
    "additionalModelRequestFields": {"anthropic_beta": ["x"], "thinking": {"type": "enabled", "budget_tokens": 2000}},
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1"},
    "requestMetadata": {"a": "b"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "flex"},
}  # fmt: skip


def test_everything_comes_back() -> None:
    """A conversation of this format, read and written again, says everything that it said, in its place."""
    chat = asked(**BODY).chat
    http = write_request(Request(model="m", read=lambda: chat), TARGET)
    assert json.loads(http.body) == BODY
    assert http.unsaid == ()
    assert [message.role for message in chat.messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
        "user",
        "system",
    ]


def test_what_other_formats_know_of_it() -> None:
    """Marks and citations are left out elsewhere, the words in them are not; what is opaque is refused."""
    fields = {name: BODY[name] for name in ("system", "inferenceConfig", "requestMetadata")}
    call = BODY["messages"][1]["content"]
    turns = [
        {"role": "user", "content": BODY["messages"][0]["content"][:2]},
        {"role": "assistant", "content": [call[0], call[1], call[2], call[4]]},
        {"role": "user", "content": [BODY["messages"][2]["content"][0], {"text": "And?"}]},
    ]
    elsewhere = replace(TARGET, format="openai_chat")
    http = openai_chat.write_request(asked(**fields, messages=turns), elsewhere)
    said = json.loads(http.body)["messages"]
    assert [message["role"] for message in said] == ["system", "user", "assistant", "tool", "user"]
    assert said[2]["content"] == "It says" and said[2]["tool_calls"][0]["function"]["arguments"] == '{"at":"sea"}'
    assert {"requestMetadata", "messages[].cachePoint", "messages[].citationsContent", "reasoning"} == set(http.unsaid)
    with pytest.raises(ValueError, match="something of the format bedrock"):
        openai_chat.write_request(asked(messages=BODY["messages"][:1]), elsewhere)
    with pytest.raises(ValueError, match="guardrailConfig"):
        openai_chat.write_request(asked(guardrailConfig={}), elsewhere)


def test_json_and_effort_in_their_other_places() -> None:
    """JSON that a tool answered is words to others; the effort may stand beside the schema, which may be described."""
    result = {"toolResult": {"toolUseId": "a", "content": [{"json": {"x": [1]}}]}}
    form = {"structure": {"jsonSchema": {"schema": "{}", "description": "A place."}}}
    chat = asked(
        messages=[{"role": "user", "content": [result]}], outputConfig={"effort": "low", "textFormat": form}
    ).chat
    assert chat.messages[0].parts == (ToolResult(id="a", parts=(Text('{"x":[1]}'),)),)
    assert (chat.reasoning_effort, chat.schema) == ("low", {"description": "A place."})
    adaptive = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low", "other": 1}}
    chat = asked(additionalModelRequestFields=adaptive).chat
    assert chat.reasoning_effort == "low" and chat.extras["additionalModelRequestFields"] == {
        "output_config": adaptive["output_config"]
    }


CALLS = st.lists(
    st.tuples(st.sampled_from("abc"), st.dictionaries(st.text(max_size=3), st.integers(-9, 9), max_size=2)), max_size=2
)


@st.composite
def conversations(draw: st.DrawFn) -> Chat:
    """What both this format and OpenAI's can say."""
    words = st.text(min_size=1, max_size=8).filter(str.strip)
    messages: list[Message] = [Message(role="system", parts=(Text(draw(words)),))] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 3))):
        asked_for: list[Part] = [Text(draw(words))]
        if draw(st.booleans()):
            asked_for.append(Media(kind="image", url=f"data:image/png;base64,{PNG}"))
        messages.append(Message(role="user", parts=tuple(asked_for)))
        calls = [
            ToolCall(
                id=f"{name}{number}{n}",
                name=name,
                arguments=json.dumps(arguments, separators=(",", ":"), ensure_ascii=False),
            )
            for n, (name, arguments) in enumerate(draw(CALLS))
        ]
        messages.append(Message(role="assistant", parts=(Text(draw(words)), *calls)))
        messages += [
            Message(role="tool", parts=(ToolResult(id=call.id, parts=(Text(draw(words)),)),)) for call in calls
        ]
    return Chat(
        messages=(*messages, Message(role="user", parts=(Text(draw(words)),))),
        tools=tuple(Tool(name=name, description="It does.", parameters={"type": "object"}) for name in "abc"),
        tool_choice=draw(st.sampled_from([None, "auto", "required", {"name": "b"}])),
        max_tokens=draw(st.none() | st.integers(1, 99)),
        temperature=draw(st.none() | st.floats(0, 1)),
        top_p=draw(st.none() | st.floats(0, 1)),
        stop=tuple(draw(st.lists(words, max_size=2))),
        schema=draw(st.none() | st.just({"type": "object"})),
    )  # fmt: skip


@given(conversations())
def test_from_openai_and_back(chat: Chat) -> None:
    """A conversation of OpenAI's format, said in this one and then in OpenAI's again, is the same."""
    there = write_request(Request(model="m", source=Source("openai_chat", {}), read=lambda: chat), TARGET)
    assert there.unsaid == ()
    heard = read_request("/model/m/converse", there.body)
    assert isinstance(heard, Request)
    plain = json.loads(openai_chat.write_request(Request(model="m", read=lambda: chat), TARGET).body)
    back = json.loads(openai_chat.write_request(heard, TARGET).body)
    assert joined(back) == joined(plain)


def joined(body: dict[str, Any]) -> dict[str, Any]:
    """OpenAI's body with a user's neighbouring turns as one, as they are in Bedrock."""
    messages: list[dict[str, Any]] = []
    for message in body["messages"]:
        message["content"] = parts_of(message.get("content"))
        if messages and message["role"] == messages[-1]["role"] == "user":
            messages[-1]["content"] += message["content"]
        else:
            messages.append(message)
    body.get("response_format", {}).get("json_schema", {}).pop("name", None)
    return {**body, "messages": messages}


def parts_of(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


# ---------------------------------------------------------------------------- any bytes

INNER = (
    "source bytes format name inputSchema json input reasoningText redactedContent content text toolUseId type "
    "structure jsonSchema schema tools toolChoice tool toolSpec any thinking top_k budget_tokens effort output_config"
)
BLOCK = "text image document toolUse toolResult reasoningContent citationsContent cachePoint guardContent"
TOP = "system inferenceConfig toolConfig outputConfig additionalModelRequestFields serviceTier guardrailConfig"
VALUES = st.recursive(
    JSON | st.sampled_from(["user", "enabled", "png", "{}", PNG]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(INNER.split()), inner, max_size=5),
    max_leaves=20,
)
BLOCKS = st.dictionaries(st.sampled_from(BLOCK.split()), VALUES, min_size=1, max_size=2)
TURNS = st.fixed_dictionaries({
    "role": st.sampled_from(["user", "assistant", "system", "tool"]),
    "content": st.lists(BLOCKS, max_size=3) | VALUES,
})  # fmt: skip
BODIES = st.builds(
    lambda turns, rest: json.dumps({"messages": turns, **rest}).encode(),
    st.lists(TURNS | VALUES, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(TOP.split()), VALUES, max_size=3),
)


@given(st.binary(max_size=60) | BODIES)
def test_any_body(body: bytes) -> None:
    """Whatever a caller sends is a request or a failure, and reading it further raises nothing but ValueError."""
    for path in (PLAIN, STREAMED):
        found = read_request(path, body)
        if isinstance(found, Failure):
            assert found.kind is FailureKind.REQUEST
            continue
        write_request(found, TARGET)
        try:
            write_request(foreign(*found.chat.messages), replace(TARGET, may_drop=frozenset("*")))
            write_request(records.replace(found, source=None), TARGET)
            write_request(found, TARGET, continuation=Continuation(Mode.ASK, "x"))
        except ValueError as error:
            assert str(error)
