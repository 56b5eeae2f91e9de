"""Conversations in Bedrock's Converse format, both ways.

    read_chat(fields) -> Chat                                 a caller's body, for a target of another format
    write_chat(chat, model=, unsaid=, own=) -> {field: value} a conversation, for a target of this format

Bedrock's words differ from others' in this: the system prompt stands beside the messages;
turns alternate, so that the results of tools stand in the user's turn, all of them together;
marks for the cache (`cachePoint`) are blocks among the others.  They are kept in
`Message.extras` with their places, as are citations, and go where another format is spoken.

What comes back equal after reading and writing is not the body but the conversation: JSON
of a tool becomes words, `status: success` goes, and neighbours of the same role become one turn.
A system prompt that came in the midst of a foreign conversation moves to its head.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from unbroken.types import Chat, Json, Message, Part, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import decoded, shaped
from unbroken.wire.bedrock_blocks import Blocks, Object, cited_text, read_block
from unbroken.wire.bedrock_models import read_more, write_more
from unbroken.wire.framing import UNREADABLE

__all__ = ["HINTS", "joined", "read_chat", "write_chat"]

HINTS = ("requestMetadata", "performanceConfig", "serviceTier")
"""Fields that change no answer: names for the log, and how fast it comes at which price."""
_MODELLED = ("messages", "system", "inferenceConfig", "toolConfig", "outputConfig", "additionalModelRequestFields")
_TOOL_MARKS = "toolConfig.cachePoint"
_NO_PARAMETERS: Object = {"type": "object", "properties": {}}


class _Turn(msgspec.Struct):
    role: Literal["user", "assistant", "system"]
    content: list[dict[str, Any]]


class _Inference(msgspec.Struct):
    maxTokens: int | None = None  # noqa: N815 - the names here are Amazon's
    temperature: float | None = None
    topP: float | None = None  # noqa: N815
    stopSequences: list[str] | None = None  # noqa: N815


class _Schema(msgspec.Struct):
    json: dict[str, Any] | None = None


class _ToolSpec(msgspec.Struct):
    name: str
    description: str | None = None
    inputSchema: _Schema | None = None  # noqa: N815
    strict: bool | None = None


class _ToolConfig(msgspec.Struct):
    tools: list[dict[str, Any]] | None = None
    toolChoice: dict[str, Any] | None = None  # noqa: N815


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = decoded(fields)
    body = {name: value for name, value in body.items() if value is not None}
    turns = shaped(body.get("messages"), list[_Turn], where="messages")
    inference = shaped(body.get("inferenceConfig", {}), _Inference, where="inferenceConfig")
    more = shaped(body.get("additionalModelRequestFields", {}), dict[str, Any], where="additionalModelRequestFields")
    known, rest = read_more(more)
    extras = {name: value for name, value in body.items() if name not in _MODELLED and name not in HINTS}
    if rest:
        extras["additionalModelRequestFields"] = rest
    hints = {name: body[name] for name in HINTS if name in body}
    return Chat(
        messages=(*_read_system(body.get("system")), *_read_turns(turns)),
        max_tokens=inference.maxTokens,
        temperature=inference.temperature,
        top_p=inference.topP,
        stop=tuple(inference.stopSequences or ()),
        **{
            **_read_tools(body.get("toolConfig"), extras=extras, hints=hints),
            **_read_output(body.get("outputConfig")),
            **known,
        },
        extras=extras,
        hints=hints,
    )


def _read_system(system: Json) -> Iterator[Message]:
    if system:
        blocks = shaped(system, list[dict[str, Any]], where="system")
        yield from _read_turn(_Turn("system", blocks), "system")


def _read_turns(turns: list[_Turn]) -> Iterator[Message]:
    for i, turn in enumerate(turns):
        yield from _read_turn(turn, f"messages[{i}].content")


def _read_turn(turn: _Turn, where: str) -> Iterator[Message]:
    """A turn as messages: each result of a tool is one of its own, as elsewhere."""
    role, parts, marks = str(turn.role), list[Part](), _Marks()
    for i, block in enumerate(turn.content):
        if "cachePoint" in block:
            marks.note("cachePoint", len(parts), block=block)
            continue
        cited = "citationsContent" in block
        part = Text(cited_text(block)) if cited else read_block(block, f"{where}[{i}]")
        now = "tool" if isinstance(part, ToolResult) else turn.role
        if parts and "tool" in (role, now):
            yield Message(role=role, parts=tuple(parts), extras=marks.extras)
            parts, marks = [], _Marks()
        if cited:
            marks.note("citationsContent", len(parts), block=block)
        role = now
        parts.append(part)
    if parts or not turn.content:
        yield Message(role=role, parts=tuple(parts), extras=marks.extras)


class _Marks:
    """Blocks that only this format knows, and their places in a message."""

    __slots__ = ("extras",)

    def __init__(self) -> None:
        self.extras: dict[str, list[tuple[int, Object]]] = {}

    def note(self, name: str, at: int, *, block: Object) -> None:
        self.extras.setdefault(name, []).append((at, block))


def _read_tools(config: Json, *, extras: Object, hints: Object) -> Object:
    """The tools and how to choose; those that run at Amazon go to the extras, marks to the hints."""
    read = shaped(config or {}, _ToolConfig, where="toolConfig")
    tools, marks, others = [], [], []
    for i, tool in enumerate(read.tools or ()):
        if "toolSpec" in tool:
            tools.append(_read_tool(tool["toolSpec"], f"toolConfig.tools[{i}].toolSpec"))
        elif "cachePoint" in tool:
            marks.append((len(tools), tool))
        else:
            others.append(tool)
    if others:
        extras["toolConfig"] = {"tools": others}
    if marks:
        hints[_TOOL_MARKS] = marks
    return {"tools": tuple(tools), "tool_choice": _read_choice(read.toolChoice)}


def _read_tool(tool: Json, where: str) -> Tool:
    spec = shaped(tool, _ToolSpec, where=where)
    parameters = spec.inputSchema.json if spec.inputSchema is not None else None
    return Tool(name=spec.name, description=spec.description or "", parameters=parameters, strict=spec.strict)


def _read_choice(choice: Object | None) -> str | dict[str, str] | None:
    if not choice:
        return None
    name = next(iter(choice))
    if name == "tool":
        return {"name": shaped(choice["tool"], _ToolSpec, where="toolConfig.toolChoice.tool").name}
    if name not in _CHOICES:
        raise ValueError("'toolConfig.toolChoice' must be one of auto, any and tool")
    return _CHOICES[name]


_CHOICES = {"auto": "auto", "any": "required"}


def _read_output(config: Json) -> Object:
    """The schema, which stands there as text, and the effort; a description goes into the schema."""
    config = shaped(config or {}, dict[str, Any], where="outputConfig")
    effort = {"reasoning_effort": str(config["effort"])} if config.get("effort") else {}
    form = config.get("textFormat")
    if not form:
        return effort
    where = "outputConfig.textFormat.structure.jsonSchema"
    try:
        given = form["structure"]["jsonSchema"]
        schema = msgspec.json.decode(given["schema"], type=dict[str, Any])
    except (*UNREADABLE, KeyError, TypeError):
        raise ValueError(f"'{where}.schema' must be the text of a JSON schema") from None
    described = {"description": given["description"]} if given.get("description") else {}
    return {"schema": {**described, **schema}, "schema_name": str(given.get("name") or ""), **effort}


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, *, model: str, unsaid: Unsaid, own: bool) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    `model` is the id of the model, which decides how thinking is asked for.  `own` says that
    the conversation is one of this format, so that its extras and hints are written as well;
    with others they are told to `unsaid`.
    """
    _tell_unsaid(chat, unsaid, own=own)
    system, turns = _write_messages(chat.messages, Blocks(unsaid), own=own, unsaid=unsaid)
    extras = dict(chat.extras) if own else {}
    more = {**extras.pop("additionalModelRequestFields", {}), **write_more(chat, model=model, unsaid=unsaid)}
    fields = {
        "messages": turns,
        "system": system,
        "inferenceConfig": _write_inference(chat, unsaid),
        "toolConfig": _write_tools(chat, extras, own=own, unsaid=unsaid),
        "outputConfig": _write_schema(chat, unsaid),
        "additionalModelRequestFields": more,
        **({name: chat.hints.get(name) for name in HINTS} if own else {}),
    }
    return {name: value for name, value in fields.items() if value} | extras


def _tell_unsaid(chat: Chat, unsaid: Unsaid, *, own: bool) -> None:
    """What Bedrock has no word for, whoever says it; and of other formats what only they know."""
    if chat.seed is not None:
        unsaid.lack("seed")
    if chat.presence_penalty:
        unsaid.lack("presence_penalty")
    if chat.frequency_penalty:
        unsaid.lack("frequency_penalty")
    if chat.parallel_calls is False and chat.tools:
        unsaid.lack("parallel_tool_calls")
    if not own:
        for name in chat.extras:
            unsaid.lack(name)
        unsaid.hint(*chat.hints)
        unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))


def _write_inference(chat: Chat, unsaid: Unsaid) -> Object:
    temperature = chat.temperature
    if temperature is not None and temperature > 1:
        unsaid.lack("temperature", "it ends at 1")
        temperature = None
    fields = {
        "maxTokens": chat.max_tokens,
        "temperature": temperature,
        "topP": chat.top_p,
        "stopSequences": list(chat.stop) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _write_tools(chat: Chat, extras: Object, *, own: bool, unsaid: Unsaid) -> Object:
    """The tools and how to choose.

    There is no `none`: without tools a model calls none.  But whoever has called some before
    has to name them again, and then may call them.
    """
    tools = [_write_tool(tool) for tool in chat.tools]
    for at, mark in reversed(chat.hints.get(_TOOL_MARKS, ()) if own else ()):
        tools.insert(at, dict(mark))
    tools += extras.pop("toolConfig", {}).get("tools", [])
    has_called = any(isinstance(part, ToolCall | ToolResult) for message in chat.messages for part in message.parts)
    if has_called and not tools:
        raise ValueError("Bedrock's Converse format has calls in a conversation only beside the tools that were called")
    choice = chat.tool_choice
    if choice == "none" and not has_called:
        return {}
    if choice == "none" and tools:
        unsaid.lack("tool_choice", "it cannot forbid tools that were called before")
        choice = None
    if choice is None or not tools:
        return {"tools": tools} if tools else {}
    return {"tools": tools, "toolChoice": _write_choice(choice)}


def _write_tool(tool: Tool) -> Object:
    described = {"description": tool.description} if tool.description else {}
    strict = {"strict": True} if tool.strict else {}  # older models do not know the word
    schema = {"json": _NO_PARAMETERS if tool.parameters is None else tool.parameters}
    return {"toolSpec": {"name": tool.name, **described, "inputSchema": schema, **strict}}


def _write_choice(choice: str | Mapping[str, str]) -> Object:
    if isinstance(choice, str):
        return {"any" if choice == "required" else choice: {}}
    return {"tool": {"name": choice["name"]}}


def _write_schema(chat: Chat, unsaid: Unsaid) -> Object:
    """The schema as text; it is always obeyed, so nothing says how strictly."""
    if chat.schema is None:
        return {}
    if not chat.schema:
        unsaid.lack("response_format", "JSON is only promised for a schema")
        return {}
    name = {"name": chat.schema_name} if chat.schema_name else {}
    form = {"schema": msgspec.json.encode(chat.schema).decode(), **name}
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": form}}}


# ------------------------------------------------------------------------- messages


def _write_messages(
    messages: Iterable[Message], blocks: Blocks, *, own: bool, unsaid: Unsaid
) -> tuple[list[Object], list[Object]]:
    """The blocks of the system prompt, and the turns."""
    system: list[Object] = []
    turns: list[Object] = []
    for message in messages:
        written = _write_message(message, blocks, own=own)
        if message.role == "system" and not (own and turns):
            if turns and "system position" not in unsaid.names:
                unsaid.hint("system position")
            system += written
        elif written:
            turns = joined(turns, [{"role": _ROLES.get(message.role, message.role), "content": written}])
    if not turns:
        raise ValueError("Bedrock's Converse format has no conversation without a word in it")
    return system, turns


_ROLES = {"tool": "user"}


def _write_message(message: Message, blocks: Blocks, *, own: bool) -> list[Object]:
    """The blocks of a message, with the marks that it came with; blank words are no block, for Bedrock refuses them."""
    marks = message.extras if own else {}
    written: list[Object] = []
    for part in message.parts:
        if isinstance(part, Text) and not part.text.strip() and not marks:
            continue
        block = blocks.write(part)
        if block is not None:
            written.append(block)
    for at, block in marks.get("citationsContent", ()):
        written[at : at + 1] = [dict(block)]
    for at, block in reversed(marks.get("cachePoint", ())):
        written.insert(at, dict(block))
    return written


def joined(turns: list[Object], more: Iterable[Object]) -> list[Object]:
    """Turns with more of them after, where neighbours of the same role become one."""
    result = list(turns)
    for turn in more:
        last = result[-1] if result else {}
        if last.get("role") == turn["role"] and isinstance(last.get("content"), list):
            result[-1] = {**last, "content": [*last["content"], *turn["content"]]}
        else:
            result.append(turn)
    return result
