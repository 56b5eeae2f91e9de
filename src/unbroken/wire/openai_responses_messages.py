"""Conversations in OpenAI's Responses format, both ways.

    read_chat(fields) -> Chat                    a caller's body, for a target of another format
    write_chat(chat, unsaid) -> {field: value}   a conversation from another format, for a target of this one

A conversation is a list of items here, and one turn of a model may be several of them: its
thoughts, its words, each of its calls.  They are read into one message, and taken apart again.

Reading and writing again gives equal JSON but for this: fields that are null go; a string of
input becomes a list; a first system message becomes `instructions`; a content or output that
is a list of one bare text becomes a string; refusals become words; items lose their ids,
states and the marks on single parts; tools that are no plain functions come after those that
are; thoughts without their encrypted form are not written, because nobody could check them.
`model`, `stream` and `stream_options` belong to `Request`, not to `Chat`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from unbroken.types import Chat, Json, Media, Message, Opaque, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import decoded

__all__ = ["NAME", "read_chat", "write_chat"]

NAME = "openai_responses"

_OF_REQUEST = frozenset(("model", "stream", "stream_options"))
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
_CHOICES = ("auto", "none", "required")
_MODELLED = frozenset((
    "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "text", "max_output_tokens",
    "temperature", "top_p", "reasoning",
))  # fmt: skip
_HINTS = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "client_metadata",
)  # fmt: skip
"""Fields that change no answer."""
_SAYS_NOTHING: Mapping[str, Json] = {"truncation": "disabled", "background": False, "top_logprobs": 0}
"""Fields that change no answer where they have this value, which is what happens without them."""
_LOGPROBS = "message.output_text.logprobs"
_SUMMARY, _DESCRIPTION = "reasoning.summary", "text.format.description"
"""Hints that stand inside other fields: whether thoughts are shown, what a schema is about."""
_LACKING = ("seed", "top_k", "stop", "presence_penalty", "frequency_penalty")
_EFFORTS = ((0, "none"), (1024, "low"), (8192, "medium"), (24576, "high"))
"""The least budget of tokens for thinking that comes closest to a word for it."""

Object = dict[str, Any]


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = _read_body(fields)
    extras: Object = {name: value for name, value in body.items() if name not in _MODELLED}
    hints = {name: extras.pop(name) for name in list(extras) if _is_hint(name, extras[name])}
    choice = _read_choice(body.get("tool_choice"))
    if choice is None and "tool_choice" in body:
        extras["tool_choice"] = body["tool_choice"]
    return Chat(
        messages=tuple(_read_messages(body)),
        tools=tuple(_read_tools(body, extras)),
        tool_choice=choice,
        parallel_calls=_typed(body, "parallel_tool_calls", bool),
        **_read_schema(body, extras, hints=hints),
        max_tokens=_typed(body, "max_output_tokens", int),
        temperature=_typed(body, "temperature", int, float),
        top_p=_typed(body, "top_p", int, float),
        reasoning_effort=_read_effort(body, extras, hints=hints),
        extras=extras,
        hints=hints,
    )


def _read_body(fields: Mapping[str, bytes]) -> Object:
    body = decoded(fields, but=_OF_REQUEST)
    return {name: value for name, value in body.items() if value is not None}


def _is_hint(name: str, value: Json) -> bool:
    """Whether a field changes no answer; what `include` adds to one does not, but for logprobs."""
    if name == "include":
        return isinstance(value, list) and _LOGPROBS not in value
    return name in _HINTS or (name in _SAYS_NOTHING and value == _SAYS_NOTHING[name])


def _typed(body: Object, name: str, *kinds: type) -> Json:
    """A field if it is there and of one of these kinds; ValueError if it is of another."""
    value = body.get(name)
    if value is None or (isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)):
        return value
    raise _wrong(name, f"must be {' or '.join(_WORDS[kind] for kind in kinds)}")


_WORDS = {str: "a string", list: "an array", dict: "an object", int: "an integer", float: "a number",
          bool: "true or false"}  # fmt: skip


def _wrong(where: str, what: str) -> ValueError:
    return ValueError(f"'{where}' {what}")


def _read_messages(body: Object) -> Iterator[Message]:
    """The turns: instructions first, then the items, those of one turn of the model together."""
    instructions = _typed(body, "instructions", str)
    if instructions:
        yield Message(role="system", parts=(Text(instructions),))
    items = _typed(body, "input", str, list) or []
    turns: list[_Turn] = []
    for i, item in enumerate([{"role": "user", "content": items}] if isinstance(items, str) else items):
        if not isinstance(item, dict):
            raise _wrong(f"input[{i}]", "must be an object")
        turn = _read_item(item, f"input[{i}]")
        if turns and turns[-1].goes_on_with(turn):
            turns[-1].join(turn)
        else:
            turns.append(turn)
    for turn in turns:
        yield Message(role=turn.role, parts=tuple(turn.parts), extras=turn.extras)


class _Turn:
    """A message as its items come."""

    __slots__ = ("extras", "has_text", "parts", "role")

    def __init__(self, role: str, parts: Sequence[Part], *, extras: Object | None = None) -> None:
        self.role, self.parts, self.extras = role, list(parts), extras or {}
        self.has_text = any(isinstance(part, Text) for part in parts)

    def goes_on_with(self, turn: _Turn) -> bool:
        """Whether an item belongs to the same turn of the model; a second message begins another one."""
        both = self.role == turn.role == "assistant" and bool(self.parts) and bool(turn.parts)
        return both and not (self.has_text and turn.has_text)

    def join(self, turn: _Turn) -> None:
        self.parts += turn.parts
        self.extras.update(turn.extras)
        self.has_text = self.has_text or turn.has_text


def _read_item(item: Object, where: str) -> _Turn:
    kind = item.get("type", "message" if "role" in item else None)
    read = _ITEMS.get(kind) if isinstance(kind, str) else None
    return _Turn("assistant", [Opaque(NAME, {"item": item})]) if read is None else read(item, where)


def _read_message(item: Object, where: str) -> _Turn:
    role = item.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    known = ("type", "role", "content", "id", "status")
    extras = {name: value for name, value in item.items() if name not in known and value is not None}
    if _ROLES[role] != role:
        extras["role"] = role
    return _Turn(_ROLES[role], _read_content(item.get("content"), f"{where}.content"), extras=extras)


def _read_call(item: Object, where: str) -> _Turn:
    """A call; one inside a namespace, or made by a program, is more than we model."""
    if item.get("namespace") or item.get("caller"):
        return _Turn("assistant", [Opaque(NAME, {"item": item})])
    name, arguments = item.get("name"), item.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise _wrong(where, "must hold a name and arguments as strings")
    return _Turn("assistant", [ToolCall(id=str(item.get("call_id") or ""), name=name, arguments=arguments)])


def _read_result(item: Object, where: str) -> _Turn:
    parts = _read_content(item.get("output"), f"{where}.output")
    return _Turn("tool", [ToolResult(id=str(item.get("call_id") or ""), parts=tuple(parts))])


def _read_thoughts(item: Object, _where: str) -> _Turn:
    pieces = [*_list(item.get("summary")), *_list(item.get("content"))]
    texts = [piece["text"] for piece in pieces if isinstance(piece, dict) and isinstance(piece.get("text"), str)]
    return _Turn("assistant", [Reasoning("\n\n".join(texts), str(item.get("encrypted_content") or ""), NAME)])


_ITEMS: Mapping[str, Callable[[Object, str], _Turn]] = {
    "message": _read_message,
    "function_call": _read_call,
    "function_call_output": _read_result,
    "reasoning": _read_thoughts,
}


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _read_content(content: Json, where: str) -> list[Part]:
    if isinstance(content, str):
        return [Text(content)]
    if not isinstance(content, list):
        if content is None:
            return []
        raise _wrong(where, "must be a string or an array of parts")
    return [_read_part(part, f"{where}[{i}]") for i, part in enumerate(content)]


def _read_part(part: Json, where: str) -> Part:
    if not isinstance(part, dict):
        raise _wrong(where, "must be an object")
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text", "refusal"):
        name = "refusal" if kind == "refusal" else "text"
        if not isinstance(part.get(name), str):
            raise _wrong(f"{where}.{name}", "must be a string")
        return Text(part[name])
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        return Media(kind="image", url=part["image_url"], detail=str(part.get("detail") or ""))
    url = part.get("file_data") or part.get("file_url")
    if kind == "input_file" and isinstance(url, str) and url.startswith(("data:", "http:", "https:")):
        return Media(kind="document", url=url, detail=str(part.get("filename") or ""))
    return Opaque(NAME, part)


_OF_TOOL = frozenset(("type", "name", "description", "parameters", "strict"))


def _read_tools(body: Object, extras: Object) -> Iterator[Tool]:
    """The plain functions; tools of the provider's own, and functions with more to them, go to the extras."""
    others: list[Json] = []
    for i, tool in enumerate(_typed(body, "tools", list) or []):
        more = {name for name, value in tool.items() if value is not None} if isinstance(tool, dict) else {""}
        if more <= _OF_TOOL and tool.get("type") == "function":
            yield _read_tool(tool, f"tools[{i}]")
        else:
            others.append(tool)
    if others:
        extras["tools"] = others


def _read_tool(tool: Object, where: str) -> Tool:
    if not isinstance(tool.get("name"), str):
        raise _wrong(f"{where}.name", "must be a string")
    return Tool(
        name=tool["name"],
        description=_typed(tool, "description", str) or "",
        parameters=tool.get("parameters"),
        strict=_typed(tool, "strict", bool),
    )


def _read_choice(choice: Json) -> str | dict[str, str] | None:
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    if isinstance(choice, dict) and choice.get("type") == "function" and isinstance(choice.get("name"), str):
        return {"name": choice["name"]}
    return None


def _read_schema(body: Object, extras: Object, *, hints: Object) -> Object:
    """The schema of `text.format`; what else `text` holds goes to the extras."""
    text = dict(_typed(body, "text", dict) or {})
    form = text.pop("format", None) or {"type": "text"}
    kind = form.get("type") if isinstance(form, dict) else None
    if kind not in ("text", "json_object", "json_schema"):
        text["format"] = form
    rest = {name: value for name, value in text.items() if value is not None}
    if rest:
        extras["text"] = rest
    if kind not in ("json_object", "json_schema"):
        return {}
    if form.get("description"):
        hints[_DESCRIPTION] = form["description"]
    schema, name, strict = form.get("schema"), form.get("name"), form.get("strict")
    return {
        "schema": schema if isinstance(schema, dict) else {},
        "schema_name": name if isinstance(name, str) else "",
        "schema_strict": strict if isinstance(strict, bool) else None,
    }


def _read_effort(body: Object, extras: Object, *, hints: Object) -> str | None:
    """How hard to think.  Whether thoughts are shown changes no answer; what else there is goes to the extras."""
    rest = {name: value for name, value in (_typed(body, "reasoning", dict) or {}).items() if value is not None}
    effort = _typed(rest, "effort", str)
    shown = [value for name in ("summary", "generate_summary") if (value := rest.pop(name, None))]
    rest.pop("effort", None)
    if shown:
        hints[_SUMMARY] = shown[0]
    if rest:
        extras["reasoning"] = rest
    return effort if effort is None else str(effort)


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, *, unsaid: Unsaid | None = None) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    Without `unsaid` the conversation is one of this format's own, and its extras and hints
    are written as well.  With it they came from another format: hints that have the same
    name here are kept, and what has no word here is told to `unsaid`.
    """
    own = unsaid is None
    extras = dict(chat.extras) if own else {}
    if unsaid is not None:
        _tell_unsaid(chat, unsaid)
    instructions, messages = _apart(chat.messages)
    tools = [_write_tool(tool, own=own) for tool in chat.tools] + list(extras.pop("tools", []))
    fields = {
        "instructions": instructions,
        "input": [item for message in messages for item in _write_message(message, own=own)],
        "tools": tools or None,
        "tool_choice": _write_choice(chat.tool_choice),
        "parallel_tool_calls": chat.parallel_calls,
        "text": _write_text(chat, extras.pop("text", {}), own=own),
        "max_output_tokens": chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "reasoning": _write_reasoning(chat, extras.pop("reasoning", {}), own=own),
        **_write_hints(chat, own=own),
        **extras,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tell_unsaid(chat: Chat, unsaid: Unsaid) -> None:
    """What came from another format and has no word here."""
    for name in (*chat.extras, *(name for name in _LACKING if _asks(getattr(chat, name), name))):
        unsaid.lack(name)
    unsaid.hint(*(name for name in chat.hints if name not in _HINTS))
    unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))
    parts = [part for message in chat.messages for part in message.parts]
    if any(isinstance(part, Reasoning) and not _is_provable(part) for part in parts):
        unsaid.hint("reasoning")
    if any(isinstance(part, ToolCall) and part.signature for part in parts):
        unsaid.hint("messages[].signature")
    if any(isinstance(part, ToolResult) and part.failed for part in parts):
        unsaid.hint("messages[].failed")


def _asks(value: Json, name: str) -> bool:
    """Whether a setting asks for anything: a penalty of 0 does not."""
    return value is not None and value != () and not (value == 0 and name.endswith("penalty"))


def _is_provable(thought: Reasoning) -> bool:
    return thought.format == NAME and bool(thought.signature)


def _apart(messages: tuple[Message, ...]) -> tuple[str | None, tuple[Message, ...]]:
    """Bare words of the system at the head of a conversation, and the rest of it."""
    first = messages[0] if len(messages) > 1 else None
    if first is None or first.role != "system" or first.extras or len(first.parts) != 1 or not first.text:
        return None, messages
    return first.text, messages[1:]


def _write_message(message: Message, *, own: bool) -> Iterator[Object]:
    """A turn as items: words that stand together become one, everything else is one of its own."""
    extras = dict(message.extras) if own else {}
    head = {"role": extras.pop("role", message.role), **extras}
    content: list[Part] = []
    for part in message.parts:
        write = _OWN_ITEMS.get(type(part))
        if write is None and not _is_item(part):
            content.append(part)
            continue
        if content:
            yield {**head, "content": _write_content(content, role=message.role)}
            content = []
        yield from write(part) if write is not None else (part.value["item"],)  # type: ignore[union-attr]
    if content or not message.parts:
        yield {**head, "content": _write_content(content, role=message.role)}


def _is_item(part: Part) -> bool:
    return isinstance(part, Opaque) and part.format == NAME and part.value.keys() == {"item"}


def _write_call(call: ToolCall) -> Iterator[Object]:
    yield {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}


def _write_result(result: ToolResult) -> Iterator[Object]:
    output = _write_content(list(result.parts), role="tool")
    yield {"type": "function_call_output", "call_id": result.id, "output": output}


def _write_thoughts(thought: Reasoning) -> Iterator[Object]:
    if _is_provable(thought):
        summary = [{"type": "summary_text", "text": thought.text}] if thought.text else []
        yield {"type": "reasoning", "summary": summary, "encrypted_content": thought.signature}


_OWN_ITEMS: Mapping[type, Callable[[Any], Iterator[Object]]] = {
    ToolCall: _write_call,
    ToolResult: _write_result,
    Reasoning: _write_thoughts,
}


def _write_content(parts: list[Part], *, role: str) -> Json:
    """A string for one text or none, else a list of parts."""
    if not parts:
        return ""
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_write_part(part, role=role) for part in parts]


def _write_part(part: Part, *, role: str) -> Object:
    if isinstance(part, Text):
        return {"type": "output_text" if role == "assistant" else "input_text", "text": part.text}
    if isinstance(part, Media) and role != "assistant":
        return _write_media(part)
    if isinstance(part, Opaque) and part.format == NAME:
        return dict(part.value)
    words = f"something of the format {part.format}" if isinstance(part, Opaque) else f"a {type(part).__name__}"
    raise ValueError(f"the OpenAI Responses format cannot hold {words} in a message of the {role}")


def _write_media(media: Media) -> Object:
    url = media.url or f"data:{media.media_type};base64,{media.data}"
    if media.kind == "image":
        return {"type": "input_image", "image_url": url, **({"detail": media.detail} if media.detail else {})}
    if media.kind == "document" and url.startswith("data:"):
        return {"type": "input_file", "file_data": url, "filename": media.detail or "document"}
    if media.kind == "document":
        return {"type": "input_file", "file_url": url}
    raise ValueError(f"the OpenAI Responses format cannot hold {media.kind} in a message")


def _write_tool(tool: Tool, *, own: bool) -> Object:
    """A function.  Where nothing is said it is strict here and lax elsewhere, so for others it has to be said."""
    strict = False if tool.strict is None and not own else tool.strict
    fields = {"type": "function", "name": tool.name, "description": tool.description or None,
              "parameters": tool.parameters, "strict": strict}  # fmt: skip
    return {name: value for name, value in fields.items() if value is not None}


def _write_choice(choice: str | Mapping[str, str] | None) -> Json:
    if choice is None or isinstance(choice, str):
        return choice
    return {"type": "function", "name": choice["name"]}


def _write_text(chat: Chat, more: Object, *, own: bool) -> Object | None:
    form: Object | None = None
    if chat.schema is not None and not chat.schema:
        form = {"type": "json_object"}
    elif chat.schema is not None:
        form = {"type": "json_schema", "name": chat.schema_name or "answer", "schema": chat.schema}
        form |= {} if chat.schema_strict is None else {"strict": chat.schema_strict}
        form |= {"description": chat.hints[_DESCRIPTION]} if own and _DESCRIPTION in chat.hints else {}
    return ({} if form is None else {"format": form}) | more or None


def _write_reasoning(chat: Chat, more: Object, *, own: bool) -> Object | None:
    effort = chat.reasoning_effort or _effort_of(chat.reasoning_tokens)
    shown = chat.hints.get(_SUMMARY) if own else None
    known = {"effort": effort, "summary": shown}
    return {name: value for name, value in known.items() if value is not None} | more or None


def _effort_of(tokens: int | None) -> str | None:
    """The word for thinking that comes closest to a budget of tokens."""
    if tokens is None or tokens < 0:
        return None
    return [word for least, word in _EFFORTS if tokens >= least][-1]


def _write_hints(chat: Chat, *, own: bool) -> Object:
    """The hints; what came from another format is not kept by the provider, where this one keeps it as a rule."""
    if own:
        return {name: value for name, value in chat.hints.items() if name not in (_SUMMARY, _DESCRIPTION)}
    return {"store": False} | {name: chat.hints[name] for name in _HINTS if name in chat.hints}
