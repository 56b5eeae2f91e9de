"""Conversations in the OpenAI chat format, both ways.

    read_chat(fields) -> Chat                    a caller's body, for a target of another format
    write_chat(chat, unsaid) -> {field: value}   a conversation from another format, for a target of this one

Reading and writing again gives equal JSON but for this: fields that are null go; a content
that is a list of one bare text becomes a string; `stop` becomes a list; what says nothing
goes (the form `text`, an empty description, a penalty of 0); the limit is called `max_tokens`;
extra marks on single parts, tools and calls go (`cache_control`, a call's `index`); tools that
are no functions come after those that are; thoughts of other formats are not written, because
providers reject them.
`model`, `stream`, `stream_options` and `n` belong to `Request`, not to `Chat`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from unbroken.types import Chat, Json, Media, Message, Opaque, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import decoded

__all__ = ["HINTS", "read_chat", "write_chat"]

_NAME = "openai_chat"
_OF_REQUEST = frozenset(("model", "stream", "stream_options", "n"))
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
          "function": "tool"}  # fmt: skip
_CHOICES = ("auto", "none", "required")
HINTS = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "prompt_cache_options", "prediction",
)  # fmt: skip
"""Fields that change no answer."""
DESCRIPTION = "schema_description"
"""The hint that says what a schema is for."""
_EFFORTS = ((0, "none"), (1024, "low"), (8192, "medium"), (24576, "high"))
"""The least budget of tokens for thinking that comes closest to a word for it (as Google's and LiteLLM's tables)."""

Object = dict[str, Any]


# -------------------------------------------------------------------------- reading


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    body = decoded(fields, but=_OF_REQUEST)
    body = {name: value for name, value in body.items() if value is not None}
    messages = tuple(_read_messages(_typed(body, "messages", list)))
    tools = _typed(body, "tools", list) or []
    functions = [tool for tool in tools if isinstance(tool, dict) and isinstance(tool.get("function"), dict)]
    others = [tool for tool in tools if tool not in functions]
    stop = _typed(body, "stop", str, list)
    max_tokens = _typed(body, "max_completion_tokens", int)
    seed = _typed(body, "random_seed", int)  # as Mistral's callers say it
    choice = body.get("tool_choice")
    form = _typed(body, "response_format", dict)
    known = {
        "max_tokens": _typed(body, "max_tokens", int) if max_tokens is None else max_tokens,
        "seed": _typed(body, "seed", int) if seed is None else seed,
        "top_k": _typed(body, "top_k", int),
        "reasoning_effort": _typed(body, "reasoning_effort", str),
        **{name: _typed(body, name, int, float) for name in _NUMBERS},
    }
    parallel = _typed(body, "parallel_tool_calls", bool)
    hints = {name: body[name] for name in HINTS if name in body}
    if described := _description(form):
        hints[DESCRIPTION] = described
    known.update((name, None) for name in _PENALTIES if known[name] == 0)
    extras = {
        name: value
        for name, value in body.items()
        if name not in (*known, *_MODELLED, *HINTS) and value != _SAYS_NOTHING.get(name)
    }
    if others:
        extras["tools"] = others
    if _read_choice(choice) is not None:
        del extras["tool_choice"]
    if form is not None and form.get("type") in _FORMS:
        del extras["response_format"]
    return Chat(
        messages=messages,
        tools=tuple(_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(functions)),
        tool_choice=_read_choice(choice),
        parallel_calls=parallel,
        **_read_schema(form),
        stop=(stop,) if isinstance(stop, str) else _strings(stop or [], "stop"),
        extras=extras,
        hints=hints,
        **known,
    )


_FORMS = frozenset(("text", "json_object", "json_schema"))
"""Forms of an answer that are modelled; `text` is what everybody gives who is told nothing."""
_PENALTIES = ("presence_penalty", "frequency_penalty")
_NUMBERS = ("temperature", "top_p", *_PENALTIES)
_MODELLED = ("messages", "tools", "stop", "parallel_tool_calls", "max_completion_tokens", "random_seed")
_SAYS_NOTHING: Mapping[str, Json] = {"logprobs": False, "logit_bias": {}, "modalities": ["text"], "functions": []}
"""Fields that some clients always send, with the values that ask for nothing."""


def _typed(body: Object, name: str, *kinds: type) -> Json:
    """A field if it is there and of one of these kinds; ValueError if it is of another."""
    value = body.get(name)
    if value is None or (isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)):
        return value
    raise _wrong(name, f"must be {' or '.join(_WORDS[kind] for kind in kinds)}")


_WORDS = {str: "a string", list: "an array", dict: "an object", int: "an integer", float: "a number",
          bool: "true or false"}  # fmt: skip


def _strings(values: list[Json], where: str) -> tuple[str, ...]:
    if not all(isinstance(value, str) for value in values):
        raise _wrong(where, "must be a string or an array of strings")
    return tuple(values)


def _read_messages(messages: list[Json] | None) -> Iterator[Message]:
    if not messages:
        raise _wrong("messages", "must be an array with at least one message")
    for i, message in enumerate(messages):
        if not isinstance(message, dict):
            raise _wrong(f"messages[{i}]", "must be an object")
        yield _read_message(message, f"messages[{i}]")


def _read_message(message: Object, where: str) -> Message:
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
    extras = {
        name: value
        for name, value in message.items()
        if value is not None and name not in ("role", "content", "tool_calls", "tool_call_id")
    }
    if _ROLES[role] != role:
        extras["role"] = role
    parts = tuple(_read_content(message.get("content"), f"{where}.content"))
    if _ROLES[role] == "tool":
        call_id = str(message.get("tool_call_id") or message.get("name") or "")
        return Message(role="tool", parts=(ToolResult(id=call_id, parts=parts),), extras=extras)
    refusal = message.get("refusal")
    if isinstance(refusal, str) and not parts:
        parts = (Text(refusal),)
    return Message(role=_ROLES[role], parts=parts + tuple(_read_calls(message, where)), extras=extras)


def _read_content(content: Json, where: str) -> Iterator[Part]:
    if isinstance(content, str):
        yield Text(content)
    elif isinstance(content, list):
        for i, part in enumerate(content):
            yield _read_part(part, f"{where}[{i}]")
    elif content is not None:
        raise _wrong(where, "must be a string or an array of parts")


def _read_part(part: Json, where: str) -> Part:
    if isinstance(part, str):
        return Text(part)
    if not isinstance(part, dict):
        raise _wrong(where, "must be an object")
    kind = part.get("type")
    if kind == "text":
        if not isinstance(part.get("text"), str):
            raise _wrong(f"{where}.text", "must be a string")
        return Text(part["text"])
    inner = part.get(kind) if isinstance(kind, str) else None
    if kind == "image_url":
        return _read_image(inner, where)
    if kind == "input_audio" and isinstance(inner, dict) and isinstance(inner.get("data"), str):
        return Media(kind="audio", data=inner["data"], media_type=f"audio/{inner.get('format', 'wav')}")
    if kind == "file" and isinstance(inner, dict) and str(inner.get("file_data")).startswith("data:"):
        return Media(kind="document", url=inner["file_data"], detail=str(inner.get("filename", "")))
    return Opaque(_NAME, part)


def _read_image(image: Json, where: str) -> Part:
    image = {"url": image} if isinstance(image, str) else image
    if not isinstance(image, dict) or not isinstance(image.get("url"), str):
        raise _wrong(f"{where}.image_url.url", "must be a string")
    return Media(kind="image", url=image["url"], detail=str(image.get("detail") or ""))


def _read_calls(message: Object, where: str) -> Iterator[Part]:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise _wrong(f"{where}.tool_calls", "must be an array")
    for i, call in enumerate(calls):
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict):
            yield Opaque(_NAME, {"tool_call": call})
            continue
        arguments = function.get("arguments") or ""
        if not isinstance(function.get("name"), str) or not isinstance(arguments, str):
            raise _wrong(f"{where}.tool_calls[{i}].function", "must hold a name and arguments as strings")
        yield ToolCall(id=str(call.get("id") or ""), name=function["name"], arguments=arguments)


def _read_tool(tool: Object, where: str) -> Tool:
    function = tool["function"]
    if not isinstance(function.get("name"), str):
        raise _wrong(f"{where}.function.name", "must be a string")
    return Tool(
        name=function["name"],
        description=_typed(function, "description", str) or "",
        parameters=function.get("parameters"),
        strict=function["strict"] if isinstance(function.get("strict"), bool) else None,
    )


def _read_choice(choice: Json) -> str | dict[str, str] | None:
    if isinstance(choice, str) and choice in _CHOICES:
        return choice
    function = choice.get("function") if isinstance(choice, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return {"name": function["name"]}
    return None


def _read_schema(form: Object | None) -> Object:
    """The schema of a `response_format`, its name and strictness."""
    if not form or form.get("type") not in _FORMS or form["type"] == "text":
        return {}
    inner = form.get("json_schema")
    inner = inner if isinstance(inner, dict) else {}
    schema, name, strict = inner.get("schema"), inner.get("name"), inner.get("strict")
    return {
        "schema": schema if isinstance(schema, dict) else {},
        "schema_name": name if isinstance(name, str) else "",
        "schema_strict": strict if isinstance(strict, bool) else None,
    }


def _description(form: Object | None) -> str:
    inner = form.get("json_schema") if form else None
    described = inner.get("description") if isinstance(inner, dict) else None
    return described if isinstance(described, str) else ""


def _wrong(where: str, what: str) -> ValueError:
    return ValueError(f"'{where}' {what}")


# -------------------------------------------------------------------------- writing


def write_chat(chat: Chat, *, unsaid: Unsaid | None = None) -> Object:
    """A conversation as fields of a body; ValueError where this format cannot say it.

    Without `unsaid` the conversation is one of this format's own, and its extras and hints
    are written as well.  With it they came from another format: hints that have the same
    name here are kept, and what has no word here is told to `unsaid`.
    """
    own = unsaid is None
    more = dict(chat.extras) if own else {}
    if unsaid is not None:
        _tell_unsaid(chat, unsaid)
    tools = [_write_tool(tool) for tool in chat.tools] + list(more.pop("tools", []))
    body: Object = {"messages": [item for message in chat.messages for item in _write_message(message, extras=own)]}
    fields = {
        "tools": tools or None,
        "tool_choice": _write_choice(chat.tool_choice),
        "parallel_tool_calls": chat.parallel_calls,
        "response_format": _write_schema(chat),
        "max_tokens": chat.max_tokens,
        "temperature": chat.temperature,
        "top_p": chat.top_p,
        "top_k": chat.top_k,
        "presence_penalty": chat.presence_penalty,
        "frequency_penalty": chat.frequency_penalty,
        "stop": list(chat.stop) or None,
        "seed": chat.seed,
        "reasoning_effort": chat.reasoning_effort or _effort_of(chat.reasoning_tokens),
        **{name: chat.hints.get(name) for name in HINTS},
    }
    body.update((name, value) for name, value in fields.items() if value is not None)
    body.update(more)
    return body


def _tell_unsaid(chat: Chat, unsaid: Unsaid) -> None:
    """What came from another format and has no word here."""
    for name in chat.extras:
        unsaid.lack(name)
    unsaid.hint(*(name for name in chat.hints if name not in (*HINTS, DESCRIPTION)))
    unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))
    if any(isinstance(part, Reasoning) for message in chat.messages for part in message.parts):
        unsaid.hint("reasoning")


def _effort_of(tokens: int | None) -> str | None:
    """The word for thinking that comes closest to a budget of tokens."""
    if tokens is None:
        return None
    return [word for least, word in _EFFORTS if tokens >= least][-1] if tokens >= 0 else None


def _write_message(message: Message, *, extras: bool) -> Iterator[Object]:
    """A message; each tool result becomes a message of its own, before the rest of it."""
    more = dict(message.extras) if extras else {}
    role = more.pop("role", message.role)
    rest: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolResult):
            of_tool = role if message.role == "tool" else "tool"
            call_id = {} if role == "function" else {"tool_call_id": part.id}
            yield {"role": of_tool, **call_id, "content": _write_content(part.parts), **more}
        elif not isinstance(part, Reasoning):
            rest.append(part)
    if rest or not message.parts:
        yield _write_rest(role, rest, more=more)


def _write_rest(role: str, parts: list[Part], *, more: Object) -> Object:
    calls = [call for part in parts if (call := _write_call(part)) is not None]
    content = _write_content([part for part in parts if _write_call(part) is None])
    if content == more.get("refusal"):
        content = None
    body: Object = {"role": role, "content": content, **more}
    if calls:
        body["tool_calls"] = calls
    return body


def _write_call(part: Part) -> Json:
    """A call as it stands in `tool_calls`; None for a part that is not one."""
    if isinstance(part, ToolCall):
        return {"id": part.id, "type": "function", "function": {"name": part.name, "arguments": part.arguments}}
    if isinstance(part, Opaque) and part.format == _NAME:
        return part.value.get("tool_call")
    return None


def _write_content(parts: tuple[Part, ...] | list[Part]) -> Json:
    """A string for one text, null for nothing, else a list of parts."""
    if not parts:
        return None
    if len(parts) == 1 and isinstance(parts[0], Text):
        return parts[0].text
    return [_write_part(part) for part in parts]


def _write_part(part: Part) -> Object:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    if isinstance(part, Media):
        return _write_media(part)
    if isinstance(part, Opaque) and part.format == _NAME:
        return dict(part.value)
    words = f"something of the format {part.format}" if isinstance(part, Opaque) else f"a {type(part).__name__}"
    raise ValueError(f"the OpenAI chat format cannot hold {words} in a message")


def _write_media(media: Media) -> Object:
    url = media.url or f"data:{media.media_type};base64,{media.data}"
    if media.kind == "image":
        detail = {"detail": media.detail} if media.detail else {}
        return {"type": "image_url", "image_url": {"url": url, **detail}}
    if media.kind == "audio" and media.data:
        sound = {"data": media.data, "format": media.media_type.rpartition("/")[2]}
        return {"type": "input_audio", "input_audio": sound}
    if media.kind == "document" and url.startswith("data:"):
        return {"type": "file", "file": {"file_data": url, "filename": media.detail or "document"}}
    raise ValueError(f"the OpenAI chat format cannot hold a {media.kind} given like this")


def _write_tool(tool: Tool) -> Object:
    function: Object = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def _write_choice(choice: str | Mapping[str, str] | None) -> Json:
    if choice is None or isinstance(choice, str):
        return choice
    return {"type": "function", "function": {"name": choice["name"]}}


def _write_schema(chat: Chat) -> Json:
    """Strict only where the caller said so: a schema need not obey the rules of OpenAI's strict mode."""
    if chat.schema is None:
        return None
    if not chat.schema:
        return {"type": "json_object"}
    form: Object = {"name": chat.schema_name or "answer", "schema": chat.schema}
    more = {"strict": chat.schema_strict, "description": chat.hints.get(DESCRIPTION)}
    form.update((name, value) for name, value in more.items() if value is not None)
    return {"type": "json_schema", "json_schema": form}
