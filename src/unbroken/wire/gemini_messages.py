"""Conversations in Gemini's format, read: a caller's body, for a target of another format.

    read_chat(fields) -> Chat

A tool's result belongs to the call with its id where it has one, else to the first call of its
name that has no result yet.  Calls without an id get one by their place in the conversation.
Extras and hints are named by their path: `safetySettings`, `generationConfig.speechConfig`.
What is read here is written by `gemini_contents`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec

from unbroken.types import Chat, Json, Media, Message, Opaque, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.gemini_dialect import as_list, camel, from_openapi, media_kind, plain_base64

__all__ = ["NAME", "NO_SIGNATURE", "RETURNS", "read_chat", "setting"]

NAME = "gemini"
NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""What Google documents for calls that no model of its own made: base64 of `skip_thought_signature_validator`."""

RETURNS = "tools[].functionDeclarations[].response"
"""The hint that holds what functions give back, by their names: good to know, and no answer changes without it."""

Object = dict[str, Any]

_ROLES = {"user": "user", "model": "assistant", "function": "user", "tool": "user"}
_MODELLED = frozenset(("contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "model"))
_HINTS = frozenset(("labels", "serviceTier", "store"))
_CONFIG = frozenset((
    "maxOutputTokens", "temperature", "topP", "topK", "presencePenalty", "frequencyPenalty", "stopSequences", "seed",
    "responseSchema", "responseJsonSchema", "responseMimeType", "thinkingConfig", "candidateCount",
))  # fmt: skip
_JSON_TYPE = "application/json"
_CHOICES = {"AUTO": "auto", "NONE": "none", "ANY": "required", "VALIDATED": "auto", 1: "auto", 2: "required", 3: "none"}
_ADDRESSES_OF_ITS_OWN = ("gs://", "https://generativelanguage.googleapis.com/", "https://youtu.be/",
                         "https://www.youtube.com/")  # fmt: skip
"""Where only Google can fetch something."""


def read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The conversation in a body's raw fields; ValueError names the field that has the wrong shape."""
    try:
        body = camel({name: msgspec.json.decode(raw) for name, raw in fields.items()})
        return _read_body(body)
    except UNREADABLE as error:
        if type(error) is ValueError:
            raise
        raise ValueError(f"the body is not valid JSON: {error}") from None


def _read_body(body: Object) -> Chat:
    config = _typed(body, "generationConfig", kind=dict) or {}
    validated = setting(body, "toolConfig", "functionCallingConfig", "mode") == "VALIDATED"
    tools, others = _read_tools(body, strict=True if validated else None)
    messages = [*_read_system(body.get("systemInstruction")), *_read_contents(body.get("contents"))]
    extras = {name: value for name, value in body.items() if name not in _MODELLED | _HINTS}
    hints = {name: value for name, value in body.items() if name in _HINTS}
    if others:
        extras["tools"] = others
    if returns := _read_returns(body):
        hints[RETURNS] = returns
    if _filters_nothing(extras.get("safetySettings")):
        hints["safetySettings"] = extras.pop("safetySettings")
    chosen, more = _read_choice(_typed(body, "toolConfig", kind=dict) or {}, {tool.name for tool in tools})
    thinking, quiet = _read_thinking(_typed(config, "thinkingConfig", kind=dict) or {})
    for name, value in config.items():
        if name == "responseModalities" and value == ["TEXT"]:
            hints[f"generationConfig.{name}"] = value
        elif name not in _CONFIG:
            extras[f"generationConfig.{name}"] = value
    return Chat(
        messages=tuple(messages),
        tools=tools,
        tool_choice=chosen,
        **thinking,
        **_read_schema(config, extras),
        **_read_numbers(config),
        stop=_strings(config, "stopSequences"),
        extras={**extras, **more},
        hints={**hints, **quiet},
    )


def setting(body: Json, *path: str) -> Json:
    """What stands at a path of names; None where there is nothing."""
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body.upper() if path[-1] == "mode" and isinstance(body, str) else body


def _typed(body: Object, name: str, *, kind: type) -> Json:
    """A field if it is there and of this kind; ValueError if it is of another."""
    value = body.get(name)
    if value is None or isinstance(value, kind):
        return value
    raise ValueError(f"'{name}' must be {_WORDS[kind]}")


def _wrong(where: str, what: str) -> ValueError:
    return ValueError(f"'{where}' {what}")


_WORDS: dict[type, str] = {str: "a string", list: "an array", dict: "an object"}


def _strings(body: Object, name: str) -> tuple[str, ...]:
    values = _typed(body, name, kind=list) or []
    if not all(isinstance(value, str) for value in values):
        raise ValueError(f"'{name}' must be an array of strings")
    return tuple(values)


# ------------------------------------------------------------------------- messages


def _read_system(content: Json) -> Iterator[Message]:
    if isinstance(content, str):
        content = {"parts": [{"text": content}]}
    if content is None:
        return
    parts = as_list(content.get("parts")) if isinstance(content, dict) else None
    if parts is None:
        raise ValueError("'systemInstruction' must be an object with parts")
    calls = _Calls()
    read = [
        part for i, item in enumerate(parts) for part in _read_part(item, _At(f"systemInstruction.parts[{i}]", calls))
    ]
    yield Message(role="system", parts=tuple(read))


def _read_contents(contents: Json) -> Iterator[Message]:
    turns = as_list(contents)
    if not turns:
        raise ValueError("'contents' must be an array with at least one content")
    calls = _Calls()
    for i, turn in enumerate(turns):
        yield from _read_turn(turn, f"contents[{i}]", calls=calls)


def _read_turn(turn: Json, where: str, *, calls: _Calls) -> Iterator[Message]:
    """The messages of one content: each tool result is one, and comes before the rest."""
    if not isinstance(turn, dict):
        raise _wrong(where, "must be an object")
    role, items = turn.get("role", "user"), as_list(turn.get("parts", []))
    if not isinstance(role, str) or role not in _ROLES:
        raise _wrong(f"{where}.role", "must be user or model")
    if items is None:
        raise _wrong(f"{where}.parts", "must be an array")
    parts = [part for i, item in enumerate(items) for part in _read_part(item, _At(f"{where}.parts[{i}]", calls))]
    rest = tuple(part for part in parts if not isinstance(part, ToolResult))
    for part in parts:
        if isinstance(part, ToolResult):
            yield Message(role="tool", parts=(part,))
    if rest or not parts:
        yield Message(role=_ROLES[role], parts=rest)


class _Calls:
    """The calls of a conversation so far, to find the one that a result belongs to."""

    __slots__ = ("_count", "_open")

    def __init__(self) -> None:
        self._count = 0
        self._open: list[tuple[str, str]] = []

    def begin(self, name: str, call_id: str) -> str:
        """The id of a call: its own, or one by its place."""
        self._count += 1
        call_id = call_id or f"call_{self._count}"
        self._open.append((name, call_id))
        return call_id

    def end(self, name: str, call_id: str) -> str:
        """The id of the call that a result is for."""
        found = next((c for c in self._open if (c[1] == call_id if call_id else c[0] == name)), None)
        if found is not None:
            self._open.remove(found)
        return call_id or (found[1] if found else f"call_{name}")


class _At(NamedTuple):
    """Where a part stands in the body, and behind which calls."""

    where: str
    calls: _Calls


def _read_part(item: Json, at: _At) -> Iterator[Part]:
    if not isinstance(item, dict):
        raise _wrong(at.where, "must be an object")
    if item.get("thought") is False:
        del item["thought"]
    kind = next((name for name in _READERS if name in item), "")
    inner = item.get(kind)
    reader, marks, known = _READERS.get(kind, (_read_other, (), ()))
    odd = set(item) - {kind, *marks} or (isinstance(inner, dict) and set(inner) - set(known))
    yield from (_read_other if odd else reader)(item, at)


def _read_other(item: Object, _at: _At) -> Iterator[Part]:
    yield Opaque(NAME, item)


def _read_text(item: Object, at: _At) -> Iterator[Part]:
    text, signature = item["text"], _signature(item)
    if not isinstance(text, str):
        raise _wrong(f"{at.where}.text", "must be a string")
    if item.get("thought"):
        yield Reasoning(text, signature, NAME)
        return
    if text or not signature:
        yield Text(text)
    if signature:
        yield Reasoning("", signature, NAME)


def _signature(item: Object) -> str:
    signature = item.get("thoughtSignature")
    return signature if isinstance(signature, str) and signature != NO_SIGNATURE else ""


def _read_call(item: Object, at: _At) -> Iterator[Part]:
    call = item["functionCall"]
    name, arguments = setting(call, "name"), setting(call, "args")
    if not isinstance(name, str) or not isinstance(arguments, dict | None):
        raise _wrong(f"{at.where}.functionCall", "must hold a name and arguments as an object")
    call_id = at.calls.begin(name, str(call.get("id") or ""))
    text = msgspec.json.encode(arguments or {}).decode()
    yield ToolCall(id=call_id, name=name, arguments=text, signature=_signature(item))


def _read_result(item: Object, at: _At) -> Iterator[Part]:
    """A tool's answer: the words under `output` or `error` where there is nothing else, or the object as JSON."""
    result = item["functionResponse"]
    name, answer, media = setting(result, "name"), setting(result, "response"), setting(result, "parts")
    if not isinstance(name, str) or not isinstance(answer, dict | None):
        raise _wrong(f"{at.where}.functionResponse", "must hold a name and a response as an object")
    only = next(iter(answer)) if answer and len(answer) == 1 else ""
    words = only in ("output", "error") and isinstance(answer, dict) and isinstance(answer[only], str)
    text = answer[only] if answer and words else msgspec.json.encode(answer or {}).decode()
    parts: list[Part] = [Text(text)]
    for i, inner in enumerate(as_list(media) or []):
        parts += _read_part(inner, _At(f"{at.where}.functionResponse.parts[{i}]", at.calls))
    call_id = at.calls.end(name, str(result.get("id") or ""))
    yield ToolResult(id=call_id, parts=tuple(parts), name=name, failed=bool(words and only == "error"))


def _read_inline(item: Object, at: _At) -> Iterator[Part]:
    data, media_type = setting(item, "inlineData", "data"), setting(item, "inlineData", "mimeType")
    if not isinstance(data, str) or not isinstance(media_type, str):
        raise _wrong(f"{at.where}.inlineData", "must hold data and mimeType as strings")
    yield Media(kind=media_kind(media_type), data=plain_base64(data), media_type=media_type)
    if signature := _signature(item):
        yield Reasoning("", signature, NAME)


def _read_file(item: Object, at: _At) -> Iterator[Part]:
    url, media_type = setting(item, "fileData", "fileUri"), setting(item, "fileData", "mimeType") or ""
    if not isinstance(url, str) or not isinstance(media_type, str):
        raise _wrong(f"{at.where}.fileData", "must hold fileUri and mimeType as strings")
    if url.startswith(_ADDRESSES_OF_ITS_OWN) or not media_type:
        yield Opaque(NAME, item)
    else:
        yield Media(kind=media_kind(media_type), url=url, media_type=media_type)


_READERS = {
    "functionCall": (_read_call, ("thoughtSignature",), ("id", "name", "args")),
    "functionResponse": (_read_result, (), ("id", "name", "response", "parts")),
    "inlineData": (_read_inline, ("thoughtSignature",), ("mimeType", "data")),
    "fileData": (_read_file, (), ("mimeType", "fileUri")),
    "text": (_read_text, ("thought", "thoughtSignature"), ()),
}
"""By the field that a part holds: its reader, what may stand beside it, and what may stand in it."""


# --------------------------------------------------------------- tools and settings


def _read_tools(body: Object, *, strict: bool | None) -> tuple[tuple[Tool, ...], list[Json]]:
    """The functions, and tools of other kinds (search, code execution) as they are."""
    tools, others = [], []
    for i, item in enumerate(as_list(body.get("tools", [])) or []):
        if not isinstance(item, dict):
            raise _wrong(f"tools[{i}]", "must be an object")
        rest = {name: value for name, value in item.items() if name != "functionDeclarations"}
        for declared in as_list(item.get("functionDeclarations", [])) or []:
            if not isinstance(declared, dict) or not isinstance(declared.get("name"), str):
                raise _wrong(f"tools[{i}].functionDeclarations", "must hold objects with names")
            if set(declared) <= _DECLARED | _RETURNED:
                tools.append(_read_tool(declared, strict=strict))
            else:
                rest.setdefault("functionDeclarations", []).append(declared)
        others += [rest] if rest else []
    return tuple(tools), others


_DECLARED = frozenset(("name", "description", "parameters", "parametersJsonSchema"))
_RETURNED = frozenset(("response", "responseJsonSchema"))
"""What a function gives back; Google's SDK says it of every Python function whose annotations do."""


def _read_returns(body: Object) -> Object:
    """What the functions of `_read_tools` give back, as it was said, by their names."""
    items = as_list(body.get("tools", [])) or []
    declared = [each for item in items for each in as_list(item.get("functionDeclarations", [])) or []]
    told = {each["name"]: {name: each[name] for name in _RETURNED & each.keys()} for each in declared}
    return {name: fields for name, fields in told.items() if fields}


def _read_tool(declared: Object, *, strict: bool | None) -> Tool:
    parameters = declared.get("parametersJsonSchema")
    if parameters is None:
        parameters = from_openapi(declared.get("parameters"))
    description = declared.get("description")
    return Tool(
        name=declared["name"],
        description=description if isinstance(description, str) else "",
        parameters=parameters,
        strict=strict,
    )


def _read_choice(config: Object, tools: set[str]) -> tuple[str | Mapping[str, str] | None, Object]:
    """Which of these tools is wanted, and what of `toolConfig` we do not model: the choice of some of them."""
    more = {f"toolConfig.{name}": value for name, value in config.items() if name != "functionCallingConfig"}
    calling = _typed(config, "functionCallingConfig", kind=dict) or {}
    names = _strings(calling, "allowedFunctionNames")
    odd = {name: value for name, value in calling.items() if name not in ("mode", "allowedFunctionNames")}
    word = setting(calling, "mode")
    mode = _CHOICES.get(word) if isinstance(word, str | int) else None
    if not odd and mode == "required" and len(names) == 1:
        return {"name": names[0]}, more
    if not odd and (not names or (mode == "required" and tools <= set(names))):
        return mode, more
    return None, {**more, "toolConfig.functionCallingConfig": calling}


def _read_thinking(config: Object) -> tuple[Object, Object]:
    """How much to think, and what of `thinkingConfig` changes no answer."""
    level, budget = config.get("thinkingLevel"), config.get("thinkingBudget")
    quiet = {name: value for name, value in config.items() if name not in ("thinkingLevel", "thinkingBudget")}
    if budget == -1:  # as much as the model sees fit, which is what it does unasked
        quiet["thinkingBudget"] = budget
    known = isinstance(level, str) and not level.upper().startswith("THINKING_LEVEL")
    thinking = {
        "reasoning_effort": level.lower() if isinstance(level, str) and known else None,
        "reasoning_tokens": budget if type(budget) is int and budget >= 0 else None,
    }
    return thinking, {f"generationConfig.thinkingConfig.{name}": value for name, value in quiet.items()}


def _read_schema(config: Object, extras: Object) -> Object:
    """The schema of the answer; other kinds of text (`text/x.enum`) are the format's own."""
    kind = config.get("responseMimeType")
    schema = config.get("responseJsonSchema")
    if schema is None and "responseSchema" in config:
        schema = from_openapi(config["responseSchema"])
    if kind not in (None, _JSON_TYPE, "text/plain"):
        own = ("responseMimeType", "responseSchema", "responseJsonSchema")
        extras.update({f"generationConfig.{name}": config[name] for name in own if name in config})
        return {}
    if kind != _JSON_TYPE and schema is None:
        return {}
    return {"schema": schema if isinstance(schema, dict) else {}}


_INTEGERS = {"max_tokens": "maxOutputTokens", "top_k": "topK", "seed": "seed"}
_REALS = {
    "temperature": "temperature",
    "top_p": "topP",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
}


def _read_numbers(config: Object) -> Object:
    read: Object = {}
    for name, own in (_INTEGERS | _REALS).items():
        value = config.get(own)
        if isinstance(value, float) and name in _INTEGERS and value.is_integer():
            value = int(value)  # Vertex AI's clients send `topK` as a float
        whole = name in _INTEGERS
        if value is not None and (isinstance(value, bool) or not isinstance(value, int if whole else int | float)):
            raise ValueError(f"'generationConfig.{own}' must be {'an integer' if whole else 'a number'}")
        read[name] = value
    return read


def _filters_nothing(settings: Json) -> bool:
    """Whether safety settings only switch filters off, which others do not have."""
    off = ("BLOCK_NONE", "OFF")
    return isinstance(settings, list) and all(setting(item, "threshold") in off for item in settings)
