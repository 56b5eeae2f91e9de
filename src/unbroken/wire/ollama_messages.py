"""Conversations in Ollama's own format, both ways.

    read_chat(fields) -> Chat                          a caller's body, for a target of another format
    write_chat(chat, unsaid, own) -> {field: value}    a conversation, for a target of this format

Ollama's words differ from others' in this: the arguments of a tool call are an object and not
text; images stand beside a message's text, as bare base64; numbers that steer the answer are
`options`; and a tool's result need not say which call it answers, for the order tells.
Here every call gets an id, because everybody else wants one.

`model` and `stream` belong to `Request`.  `think` has no middle: true is read as medium, and
what is more than that is written as high.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from unbroken.types import Chat, Json, Media, Message, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import decoded, shaped
from unbroken.wire.framing import UNREADABLE

__all__ = ["HINTS", "NAME", "arguments_text", "read_chat", "write_chat"]

NAME = "ollama"
HINTS = ("keep_alive", "truncate", "shift")
"""Fields that change no answer: how long the model stays loaded, and what becomes of too long a prompt."""

Object = dict[str, Any]


class _Function(msgspec.Struct):
    name: str
    arguments: dict[str, Any] | str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Turn(msgspec.Struct):
    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[_Call] | None = None
    tool_name: str | None = None
    tool_call_id: str | None = None


class _ToolFunction(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: Any = None


class _Tool(msgspec.Struct):
    function: _ToolFunction


class _Options(msgspec.Struct):
    num_predict: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: list[str] | str | None = None


_OPTIONS = {name: name for name in _Options.__struct_fields__} | {"num_predict": "max_tokens"}
"""Our names for Ollama's options."""


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = decoded(fields, but=("model", "stream"))
    body = {name: value for name, value in body.items() if value is not None}
    messages = shaped(body.pop("messages", None), list[dict[str, Any]], where="messages")
    tools = shaped(body.pop("tools", []), list[_Tool], where="tools")
    options = shaped(body.pop("options", {}), dict[str, Any], where="options")
    known = shaped(options, _Options, where="options")
    others = {name: value for name, value in options.items() if name not in _OPTIONS and value is not None}
    numbers = {ours: getattr(known, name) for name, ours in _OPTIONS.items() if name != "stop"}
    if known.num_predict is not None and known.num_predict < 1:
        numbers["max_tokens"] = None  # -1 is for ever, which is the default
    return Chat(
        messages=tuple(_read_messages(messages)),
        tools=tuple(map(_read_tool, tools)),
        schema=_read_format(body.pop("format", None)),
        stop=(known.stop,) if isinstance(known.stop, str) else tuple(known.stop or ()),
        reasoning_effort=_read_think(body.pop("think", None)),
        hints={name: body.pop(name) for name in HINTS if name in body},
        extras=body | ({"options": others} if others else {}),
        **numbers,
    )


def _read_messages(messages: list[Object]) -> Iterator[Message]:
    if not messages:
        raise ValueError("'messages' must be an array with at least one message")
    pairs = _Pairs()
    for i, message in enumerate(messages):
        turn = shaped(message, _Turn, where=f"messages[{i}]")
        extras = {name: v for name, v in message.items() if name not in _Turn.__struct_fields__ and v is not None}
        yield Message(role=turn.role, parts=tuple(_read_parts(turn, pairs)), extras=extras)


class _Pairs:
    """Which call a tool's result answers: the one with its id, else the first open one with its name."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def called(self, call: _Call) -> str:
        """The id of a call, which is made up where there is none."""
        self._count += 1
        call_id = call.id or f"call_{self._count}"
        self._open.append((call_id, call.function.name))
        return call_id

    def answered(self, turn: _Turn) -> tuple[str, str]:
        """The id and the name of the call that is answered here."""
        given, name = turn.tool_call_id or "", turn.tool_name or ""
        for call in self._open:
            if call[0] == given or (not given and name in ("", call[1])):
                self._open.remove(call)
                return call
        return given or name, name


def _read_parts(turn: _Turn, pairs: _Pairs) -> Iterator[Part]:
    said: list[Part] = [Text(turn.content)] if turn.content else []
    said += [Media(kind="image", data=data, media_type=_media_type(data)) for data in turn.images or ()]
    if turn.role == "tool":
        call_id, name = pairs.answered(turn)
        yield ToolResult(id=call_id, name=name, parts=tuple(said))
        return
    if turn.thinking:
        yield Reasoning(turn.thinking, format=NAME)
    yield from said
    for call in turn.tool_calls or ():
        arguments = arguments_text(call.function.arguments)
        yield ToolCall(id=pairs.called(call), name=call.function.name, arguments=arguments)


def arguments_text(arguments: Json) -> str:
    """The arguments of a call as the text that others want; some servers give text already."""
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments or {}).decode()


_KINDS = (("/9j/", "image/jpeg"), ("iVBOR", "image/png"), ("R0lG", "image/gif"), ("UklG", "image/webp"))
"""How the base64 of an image begins."""


def _media_type(data: str) -> str:
    return next((kind for head, kind in _KINDS if data.startswith(head)), "image/jpeg")


def _read_tool(tool: _Tool) -> Tool:
    function = tool.function
    return Tool(name=function.name, description=function.description or "", parameters=function.parameters)


def _read_format(form: Json) -> Mapping[str, Json] | None:
    if form in (None, ""):
        return None
    return {} if form == "json" else shaped(form, dict[str, Any], where="format")


def _read_think(think: Json) -> str | None:
    if think is None or isinstance(think, bool):
        return None if think is None else "medium" if think else "none"
    if think not in _LEVELS:
        raise ValueError(f"'think' must be true, false, or one of {', '.join(_LEVELS)}")
    return str(think)


_LEVELS = ("low", "medium", "high", "max")


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, *, unsaid: Unsaid, own: bool) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    `own` where its extras are this format's.  A prompt that does not fit is refused unless
    the caller wants it shortened: Ollama's default is to drop the oldest messages and answer
    what is left, and then nobody could ask a target with more room.
    """
    _tell_unsaid(chat, unsaid, own=own)
    more = dict(chat.extras) if own else {}
    numbers = {name: getattr(chat, ours) for name, ours in _OPTIONS.items()} | {"stop": list(chat.stop) or None}
    options = more.pop("options", {}) | {name: value for name, value in numbers.items() if value is not None}
    names = {part.id: part.name for m in chat.messages for part in m.parts if isinstance(part, ToolCall)}
    messages = [
        item for message in chat.messages for item in _write_message(message, unsaid=unsaid, own=own, names=names)
    ]
    body = {
        "messages": messages,
        "tools": [_write_tool(tool) for tool in chat.tools] or None,
        "format": "json" if chat.schema == {} else chat.schema,
        "options": options or None,
        "think": _write_think(chat),
        **more,
        "truncate": False,
        **{name: chat.hints[name] for name in HINTS if name in chat.hints},
    }
    return {name: value for name, value in body.items() if value is not None}


def _tell_unsaid(chat: Chat, unsaid: Unsaid, *, own: bool) -> None:
    """What has no word in this format."""
    if chat.tool_choice not in (None, "auto"):
        unsaid.lack("tool_choice", "a model always chooses for itself whether to call a tool")
    if chat.parallel_calls is False and chat.tools:
        unsaid.lack("parallel_tool_calls")
    if any(tool.strict for tool in chat.tools):
        unsaid.lack("strict", "calls are not forced to obey the schema of their tool")
    if chat.schema_name:
        unsaid.hint("schema_name")
    if chat.reasoning_tokens:
        unsaid.hint("reasoning_tokens")
    unsaid.hint(*(name for name in chat.hints if name not in HINTS))
    if not own:
        for name in chat.extras:
            unsaid.lack(name)
        unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))


def _write_think(chat: Chat) -> bool | str | None:
    effort = chat.reasoning_effort
    if effort is None:
        return None if chat.reasoning_tokens is None else chat.reasoning_tokens > 0
    return _EFFORTS.get(effort, "high")


_EFFORTS: Mapping[str, bool | str] = {"none": False, "minimal": "low", "low": "low", "medium": True}
"""Medium is plain true: models that know no levels take nothing else."""


def _write_message(message: Message, *, unsaid: Unsaid, own: bool, names: Mapping[str, str]) -> Iterator[Object]:
    """A message; each tool result becomes a message of its own, before the rest of it."""
    more = dict(message.extras) if own else {}
    rest = [part for part in message.parts if not isinstance(part, ToolResult)]
    for part in message.parts:
        if isinstance(part, ToolResult):
            if part.failed:
                unsaid.hint("messages[].failed")
            name = part.name or names.get(part.id, "")
            pair = {"tool_name": name, "tool_call_id": part.id}
            said = _write_said(part.parts, unsaid)
            yield {"role": "tool", **said, **{field: value for field, value in pair.items() if value}, **more}
    if rest or not message.parts:
        yield {"role": message.role, **_write_said(rest, unsaid), **more}


def _write_said(parts: Iterable[Part], unsaid: Unsaid) -> Object:
    """What a message holds, each kind of it in its own field."""
    texts, thoughts, images, calls = [], [], [], []
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(_write_call(part))
        elif isinstance(part, Reasoning) and part.format == NAME:
            thoughts.append(part.text)
        elif isinstance(part, Reasoning):
            unsaid.hint("reasoning")
        elif isinstance(part, Media) and (data := _image(part)):
            images.append(data)
        elif isinstance(part, Media) and part.kind == "image":
            unsaid.lack("image", "it has to come as bytes, not as an address")
        else:
            unsaid.lack(part.kind if isinstance(part, Media) else f"{type(part).__name__} in a message")
    said = {"content": "\n".join(texts)}
    more = {"thinking": "".join(thoughts), "images": images, "tool_calls": calls}
    return said | {name: value for name, value in more.items() if value}


def _image(media: Media) -> str:
    """The base64 of an image that is at hand; empty for an address, and for what is no image."""
    if media.kind != "image" or media.data:
        return media.data if media.kind == "image" else ""
    head, _, data = media.url.partition(",")
    return data if head.startswith("data:") and head.endswith(";base64") else ""


def _write_call(call: ToolCall) -> Object:
    try:
        arguments = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
    except UNREADABLE:
        raise ValueError(f"the arguments of the call {call.id!r} of {call.name} are no JSON object") from None
    named = {"id": call.id} if call.id else {}
    return {**named, "function": {"name": call.name, "arguments": arguments}}


def _write_tool(tool: Tool) -> Object:
    function = {"name": tool.name, "description": tool.description or None, "parameters": tool.parameters}
    return {"type": "function", "function": {name: value for name, value in function.items() if value is not None}}
