"""Conversations in Cohere's format (version 2), both ways.

    read_chat(fields) -> Chat                          a caller's body, for a target of another format
    write_chat(chat, unsaid, own) -> {field: value}    a conversation, for a target of this format

Messages, tools and calls look like OpenAI's; the fields beside them have names of their own.
What a model plans before it calls tools (`tool_plan`) stays among a message's extras: it is no
thought that anybody else could take, and only this format wants it back.

`model` and `stream` belong to `Request`.  Thinking that is switched on without a budget is
read as medium; a little of it is written as a small budget.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from unbroken.types import Chat, Json, Media, Message, Opaque, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import decoded, shaped

__all__ = ["HINTS", "NAME", "read_chat", "write_chat"]

NAME = "cohere"
HINTS = ("priority",)
STOPS_MAX = 5
_LITTLE = {"minimal": 512, "low": 1024}
"""Budgets of tokens for efforts below the usual one."""
_CHOICES = {"required": "REQUIRED", "none": "NONE"}
"""What is not said is auto."""
_NUMBERS = {
    "max_tokens": "max_tokens",
    "temperature": "temperature",
    "p": "top_p",
    "k": "top_k",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
}
"""Our names for Cohere's."""

Object = dict[str, Any]


class _Function(msgspec.Struct):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str = ""


class _Turn(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | list[dict[str, Any]] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str = ""


class _ToolFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Any = None


class _Tool(msgspec.Struct):
    function: _ToolFunction


class _Image(msgspec.Struct):
    url: str
    detail: str | None = None


class _Form(msgspec.Struct):
    type: Literal["text", "json_object"]
    json_schema: dict[str, Any] | None = None


class _Thinking(msgspec.Struct):
    type: Literal["enabled", "disabled"]
    token_budget: int | None = None


class _Body(msgspec.Struct):
    messages: list[dict[str, Any]]
    tools: list[_Tool] | None = None
    strict_tools: bool | None = None
    tool_choice: Literal["REQUIRED", "NONE"] | None = None
    response_format: _Form | None = None
    thinking: _Thinking | None = None
    stop_sequences: list[str] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    p: float | None = None
    k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = decoded(fields, but=("model", "stream"))
    known = shaped(body, _Body, where="the body")
    if not known.messages:
        raise ValueError("'messages' must be an array with at least one message")
    form = known.response_format
    modelled = (*_Body.__struct_fields__, *HINTS)
    return Chat(
        messages=tuple(_read_message(message, f"messages[{i}]") for i, message in enumerate(known.messages)),
        tools=tuple(_read_tool(tool.function, strict=known.strict_tools or None) for tool in known.tools or ()),
        tool_choice=known.tool_choice and known.tool_choice.lower(),
        schema=(form.json_schema or {}) if form and form.type == "json_object" else None,
        stop=tuple(known.stop_sequences or ()),
        reasoning_effort=_read_effort(known.thinking),
        reasoning_tokens=known.thinking.token_budget if known.thinking else None,
        extras={name: value for name, value in body.items() if name not in modelled and value is not None},
        hints={name: body[name] for name in HINTS if body.get(name) is not None},
        **{ours: getattr(known, name) for name, ours in _NUMBERS.items()},
    )


def _read_tool(function: _ToolFunction, *, strict: bool | None) -> Tool:
    return Tool(
        name=function.name, description=function.description or "", parameters=function.parameters, strict=strict
    )


def _read_effort(thinking: _Thinking | None) -> str | None:
    if thinking is None:
        return None
    return "none" if thinking.type == "disabled" else "medium" if thinking.token_budget is None else None


def _read_message(message: Object, where: str) -> Message:
    turn = shaped(message, _Turn, where=where)
    extras = {name: v for name, v in message.items() if name not in _Turn.__struct_fields__ and v is not None}
    parts = tuple(_read_content(turn.content, f"{where}.content"))
    if turn.role == "tool":
        return Message(role="tool", parts=(ToolResult(id=turn.tool_call_id, parts=parts),), extras=extras)
    calls = (
        ToolCall(id=call.id, name=call.function.name, arguments=call.function.arguments or "")
        for call in turn.tool_calls or ()
    )
    return Message(role=turn.role, parts=(*parts, *calls), extras=extras)


def _read_content(content: str | list[Object] | None, where: str) -> Iterator[Part]:
    """The parts of a content; an empty text is how some say that there is none."""
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    for i, part in enumerate(content or ()):
        kind, place = part.get("type"), f"{where}[{i}]"
        if kind == "text":
            text = shaped(part.get("text"), str, where=f"{place}.text")
            yield from [Text(text)] if text else []
        elif kind == "thinking":
            yield Reasoning(shaped(part.get("thinking"), str, where=f"{place}.thinking"), format=NAME)
        elif kind == "image_url":
            image = shaped(part.get("image_url"), _Image, where=f"{place}.image_url")
            yield Media(kind="image", url=image.url, detail=image.detail or "")
        else:
            yield Opaque(NAME, part)


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, *, unsaid: Unsaid, own: bool) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    `own` where its extras are this format's.
    """
    _tell_unsaid(chat, unsaid, own=own)
    body = {
        "messages": [item for message in chat.messages for item in _write_message(message, unsaid=unsaid, own=own)],
        "tools": [_write_tool(tool) for tool in chat.tools] or None,
        "strict_tools": any(tool.strict for tool in chat.tools) or None,  # one word for all of them
        "tool_choice": _CHOICES.get(chat.tool_choice) if isinstance(chat.tool_choice, str) else None,
        "response_format": _write_schema(chat.schema),
        "thinking": _write_thinking(chat),
        "stop_sequences": list(chat.stop) or None,
        **{name: getattr(chat, ours) for name, ours in _NUMBERS.items()},
        "p": chat.top_p if own else _clamped(chat.top_p),
        **{name: chat.hints.get(name) for name in HINTS},
        **(chat.extras if own else {}),
    }
    return {name: value for name, value in body.items() if value is not None}


def _tell_unsaid(chat: Chat, unsaid: Unsaid, *, own: bool) -> None:
    """What has no word in this format."""
    if isinstance(chat.tool_choice, Mapping):
        unsaid.lack("tool_choice", "a model can be made to call a tool, but not which")
    if chat.parallel_calls is False and chat.tools:
        unsaid.lack("parallel_tool_calls")
    if chat.schema_name:
        unsaid.hint("schema_name")
    if chat.reasoning_effort not in (None, "none", "medium"):
        unsaid.hint("reasoning_effort")
    unsaid.hint(*(name for name in chat.hints if name not in HINTS))
    if own:
        return
    for name in chat.extras:
        unsaid.lack(name)
    unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))
    if len(chat.stop) > STOPS_MAX:
        unsaid.lack("stop", f"more than {STOPS_MAX} are not taken")
    for name in ("presence_penalty", "frequency_penalty"):
        if not 0 <= (getattr(chat, name) or 0) <= 1:
            unsaid.lack(name, "it goes from 0 to 1")


def _clamped(top_p: float | None) -> float | None:
    """Cohere takes 0.01 to 0.99, where others say 1 for all of it."""
    return None if top_p is None else min(max(top_p, 0.01), 0.99)


def _write_schema(schema: Mapping[str, Json] | None) -> Json:
    if schema is None:
        return None
    return {"type": "json_object", "json_schema": schema} if schema else {"type": "json_object"}


def _write_thinking(chat: Chat) -> Json:
    effort, budget = chat.reasoning_effort, chat.reasoning_tokens
    if effort is None and budget is None:
        return None
    if effort == "none" or (budget is not None and budget < 1):
        return {"type": "disabled"}
    budget = _LITTLE.get(effort or "") if budget is None else budget
    return {"type": "enabled", **({"token_budget": budget} if budget else {})}


def _write_message(message: Message, *, unsaid: Unsaid, own: bool) -> Iterator[Object]:
    """A message; each tool result becomes a message of its own, before the rest of it."""
    more = dict(message.extras) if own else {}
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    for part in message.parts:
        if isinstance(part, ToolResult):
            if part.failed:
                unsaid.hint("messages[].failed")
            content = _write_content(part.parts, unsaid, images=False)
            yield {"role": "tool", "tool_call_id": part.id, "content": content, **more}
    if rest or not message.parts:
        yield {"role": message.role, **_write_rest(rest, unsaid, role=message.role), **more}


def _write_rest(parts: Sequence[Part], unsaid: Unsaid, *, role: str) -> Object:
    calls = [_write_call(part) for part in parts if isinstance(part, ToolCall)]
    said = [part for part in parts if not isinstance(part, ToolCall)]
    content = _write_content(said, unsaid, images=role == "user")
    if not calls:
        return {"content": content}
    return {"tool_calls": calls, **({"content": content} if content else {})}


def _write_call(call: ToolCall) -> Object:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments or "{}"}}


def _write_content(parts: Iterable[Part], unsaid: Unsaid, *, images: bool) -> Json:
    """A string for one text or for nothing, else a list of parts."""
    written = [item for part in parts if (item := _write_part(part, unsaid, images=images)) is not None]
    if not written:
        return ""
    return written[0]["text"] if len(written) == 1 and written[0].get("type") == "text" else written


def _write_part(part: Part, unsaid: Unsaid, *, images: bool) -> Object | None:
    """A part, None for what is left out."""
    match part:
        case Text():
            return {"type": "text", "text": part.text}
        case Media(kind="image") if images:
            url = part.url or f"data:{part.media_type};base64,{part.data}"
            return {"type": "image_url", "image_url": {"url": url, **({"detail": part.detail} if part.detail else {})}}
        case Media():
            unsaid.lack(part.kind, "only a user's message holds images, and nothing holds other media")
        case Reasoning(format="cohere"):
            return {"type": "thinking", "thinking": part.text}
        case Reasoning():
            unsaid.hint("reasoning")
        case Opaque(format="cohere"):
            return dict(part.value)
        case _:
            unsaid.lack(f"{type(part).__name__} in a message")
    return None


def _write_tool(tool: Tool) -> Object:
    function = {"name": tool.name, "description": tool.description or None, "parameters": tool.parameters}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}
