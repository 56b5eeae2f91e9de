"""What stands around the messages in Anthropic's format: limits, tools, chance, thinking, schemas, hints."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from unbroken.types import Chat, HttpRequest, Message, Request, Source, Target, Text, Tool
from unbroken.wire import format_named
from unbroken.wire.anthropic import read_request, write_request

TARGET = Target(name="t", provider="p", model="claude-haiku-4-5", base_url="https://x.invalid", key="k")
HI = (Message(role="user", parts=(Text("hi"),)),)
LOOK = Tool(name="look", description="Look.", parameters={"type": "object", "properties": {}})


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


def test_the_limit() -> None:
    """An answer needs a limit: the caller's, else the target's, else ours."""
    assert body_of(Chat(messages=HI, max_tokens=7))["max_tokens"] == 7
    assert body_of(Chat(messages=HI), target(options={"max_tokens": "64000"}))["max_tokens"] == 64000
    assert body_of(Chat(messages=HI))["max_tokens"] == 8192


def test_plain_settings() -> None:
    """What both formats know is said in Anthropic's words."""
    chat = Chat(messages=HI, stop=("END",), temperature=0.5, top_k=3, tools=(LOOK,), tool_choice={"name": "look"},
                parallel_calls=False, hints={"user": "u", "service_tier": "default"})  # fmt: skip
    assert body_of(chat, stream=True) == {
        "model": "claude-haiku-4-5", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 8192,
        "stream": True, "stop_sequences": ["END"], "temperature": 0.5, "top_k": 3, "metadata": {"user_id": "u"},
        "service_tier": "standard_only",
        "tools": [{"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {}}}],
        "tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "choice"),
    [
        ({}, None),
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": "none", "parallel_calls": False}, {"type": "none"}),
        ({"parallel_calls": True}, {"type": "auto", "disable_parallel_tool_use": False}),
    ],
)
def test_choices_of_tools(changes: dict[str, Any], choice: Any) -> None:
    """Which tool to call and how many at once are one field."""
    assert body_of(Chat(messages=HI, tools=(LOOK,), **changes)).get("tool_choice") == choice


def test_choices_without_tools() -> None:
    """Without tools there is nothing to choose, and what was wished is told or refused."""
    http = said(Chat(messages=HI, tool_choice="auto", parallel_calls=True))
    assert "tool_choice" not in json.loads(http.body) and http.unsaid == ("parallel_tool_calls",)
    assert "tool_choice" in refusal(Chat(messages=HI, tool_choice="required"))
    bare = body_of(Chat(messages=HI, tools=(Tool(name="x"),)))
    assert bare["tools"] == [{"name": "x", "input_schema": {"type": "object", "properties": {}}}]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seed": 7}, "seed"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": -1.0}, "frequency_penalty"),
        ({"temperature": 1.5}, "temperature"),
        ({"stop": ("\n",)}, "stop"),
        ({"schema": {}}, "schema"),
        ({"extras": {"logit_bias": {"7": 1}}}, "logit_bias"),
        ({"reasoning_effort": "high", "temperature": 0.2}, "temperature"),
        ({"reasoning_effort": "high", "top_k": 5}, "top_k"),
        ({"reasoning_effort": "high", "max_tokens": 500}, "reasoning_effort"),
        ({"reasoning_tokens": 100}, "reasoning_tokens"),
        ({"reasoning_effort": "low", "tools": (LOOK,), "tool_choice": "required"}, "reasoning_effort"),
    ],
)
def test_what_cannot_be_said(changes: dict[str, Any], name: str) -> None:
    """What would change the answer and has no words makes a target ineligible, unless it may be dropped."""
    chat = Chat(messages=HI, **changes)
    assert f"has no {name}" in refusal(chat)
    http = said(chat, target(may_drop=frozenset((name,))))
    assert http.unsaid == (name,)
    said(chat, target(may_drop=frozenset("*")))


def test_several_answers_cannot_be_asked_for() -> None:
    """There is one answer to a request."""
    assert "has no n" in refusal(Chat(messages=HI), choices=2)


@pytest.mark.parametrize(
    ("version", "changes", "sampling"),
    [
        ("", {"temperature": 0.0, "top_p": 0.5}, {"temperature": 0.0, "top_p": 0.5}),
        ("", {"temperature": 1.0, "top_p": 1.0}, {"temperature": 1.0}),
        ("", {"temperature": 1.0, "top_p": 0.5, "top_k": -1}, {"top_p": 0.5}),
        ("", {"presence_penalty": 0.0}, {}),
        ("2026-10-21", {"temperature": 1.0, "top_p": 1, "top_k": 0}, {}),
        ("2026-10-21", {"temperature": 0.5}, None),
    ],
)
def test_chance(version: str, changes: dict[str, Any], sampling: dict[str, Any] | None) -> None:
    """Values that say nothing are not said where they would be refused; the second version takes none at all."""
    chat, to = Chat(messages=HI, **changes), target(options={"version": version})
    if sampling is None:
        assert "version 2026-10-21" in refusal(chat, to)
        return
    body = body_of(chat, to)
    assert {name: body[name] for name in ("temperature", "top_p", "top_k") if name in body} == sampling


@pytest.mark.parametrize(
    ("model", "changes", "thinking"),
    [
        ("claude-sonnet-4-5", {"reasoning_effort": "high"}, {"type": "enabled", "budget_tokens": 24576}),
        ("claude-opus-4-20250514", {"reasoning_effort": "minimal"}, {"type": "enabled", "budget_tokens": 1024}),
        ("claude-3-7-sonnet-latest", {"reasoning_tokens": 2000}, {"type": "enabled", "budget_tokens": 2000}),
        ("glm-5", {"reasoning_tokens": -1}, {"type": "enabled", "budget_tokens": 8192}),
        (
            "claude-sonnet-4-5",
            {"reasoning_effort": "high", "max_tokens": 4096},
            {"type": "enabled", "budget_tokens": 2048},
        ),
        (
            "claude-sonnet-4-5",
            {"reasoning_tokens": 4000, "max_tokens": 4096},
            {"type": "enabled", "budget_tokens": 4000},
        ),
        ("claude-sonnet-4-5", {"reasoning_effort": "none"}, {"type": "disabled"}),
        ("claude-opus-4-6", {"reasoning_tokens": 0}, {"type": "disabled"}),
        ("claude-opus-4.8", {"reasoning_effort": "xhigh"}, {"type": "adaptive"}),
        ("anthropic/claude-fable-5", {"reasoning_effort": "low"}, {"type": "adaptive"}),
        ("claude-opus-4-6", {}, None),
    ],
)
def test_thinking(model: str, changes: dict[str, Any], thinking: Any) -> None:
    """Older models and other servers get a budget below the limit, newer ones an effort."""
    body = body_of(Chat(messages=HI, **changes), target(model=model))
    assert body.get("thinking") == thinking
    if thinking == {"type": "adaptive"}:
        assert body["output_config"] == {"effort": changes["reasoning_effort"]}
    if thinking and "budget_tokens" in thinking:
        assert body["max_tokens"] > thinking["budget_tokens"]


@pytest.mark.parametrize(
    ("effort", "tokens", "config"),
    [
        ("minimal", None, {"effort": "low"}),
        (None, 500, {"effort": "low"}),
        (None, 9000, {"effort": "medium"}),
        (None, -1, None),
        ("max", 9000, {"effort": "max"}),
    ],
)
def test_effort(effort: str | None, tokens: int | None, config: Any) -> None:
    """A model that decides itself is told the word that comes closest."""
    chat = Chat(messages=HI, reasoning_effort=effort, reasoning_tokens=tokens)
    assert body_of(chat, target(model="m", options={"thinking": "adaptive"})).get("output_config") == config


def test_thinking_and_forced_calls() -> None:
    """A model that is made to call a tool does not think, but takes effort."""
    chat = Chat(messages=HI, reasoning_effort="high", tools=(LOOK,), tool_choice="required", temperature=0.0)
    body = body_of(chat, target(model="claude-opus-4-8"))
    assert "thinking" not in body and body["output_config"] == {"effort": "high"}


def test_schemas() -> None:
    """Claude takes only closed objects: what obeys the closed schema obeys the caller's."""
    open_ = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object"}},
                                              "b": {"enum": [{"type": "object"}]}, "c": {"anyOf": [True]}}}  # fmt: skip
    http = said(Chat(messages=HI, schema=open_, schema_name="answer"))
    form = json.loads(http.body)["output_config"]["format"]
    assert form["type"] == "json_schema" and form["schema"]["additionalProperties"] is False
    assert form["schema"]["properties"]["a"]["items"] == {"type": "object", "additionalProperties": False}
    assert form["schema"]["properties"]["b"] == open_["properties"]["b"]  # type: ignore[index]
    assert http.unsaid == ("schema_name",)
    assert body_of(Chat(messages=HI, schema=open_), target(model="m"))["output_config"]["format"]["schema"] == open_


def test_hints_are_told() -> None:
    """What changes no answer is left out, and told."""
    http = said(Chat(messages=HI, hints={"safety_identifier": "s", "metadata": {"a": "b"}, "service_tier": "flex"}))
    assert json.loads(http.body)["metadata"] == {"user_id": "s"}
    assert set(http.unsaid) == {"metadata", "service_tier"}
    assert said(Chat(messages=HI, hints={"user": 7, "service_tier": [7]})).unsaid == ("service_tier",)


CLEARED = {"type": "clear_thinking_20251015", "keep": "all"}


@pytest.mark.parametrize(
    ("edits", "only_there"),
    [([CLEARED], False), ([CLEARED, {"type": "clear_tool_uses_20250919"}], True), (["x"], True)],
)
def test_who_clears_only_thoughts_can_be_asked_elsewhere(edits: Any, only_there: bool) -> None:
    """Others are told no thoughts of earlier turns anyway; clearing results of tools is Anthropic's own."""
    fields = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    request = read_request("", json.dumps({**fields, "context_management": {"edits": edits}}).encode())
    assert isinstance(request, Request)
    chat = request.chat
    assert "context_management" in (chat.extras if only_there else chat.hints)
    again = json.loads(write_request(Request(model="m", read=lambda: chat), TARGET).body)
    assert again["context_management"] == {"edits": edits}
    if only_there:
        with pytest.raises(ValueError, match="context_management"):
            format_named("openai_chat").write_request(request, target(format="openai_chat"))
    else:
        http = format_named("openai_chat").write_request(request, target(format="openai_chat"))
        assert http.unsaid == ("context_management",)
