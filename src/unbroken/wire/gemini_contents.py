"""Conversations in Gemini's format, written: a body for `generateContent`.

    write_chat(chat, model, unsaid, own) -> {field: value}

Schemas go out as JSON schema (`parametersJsonSchema`, `responseJsonSchema`), which Google takes as
it is; a `$schema` at their head goes, because it says nothing to a model.  The results of one turn
go into one content, because Google counts them against the calls before.  A tool's words go out
as `{"output": words}`, and an object that was read from this format as that object again.
Gemini 3 refuses calls of its history that are not signed; for those that another model made,
Google documents a signature that says so.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from unbroken.types import Chat, Json, Media, Message, Opaque, Part, Reasoning, Text, Tool, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.gemini_dialect import media_type_of
from unbroken.wire.gemini_messages import NAME, NO_SIGNATURE, RETURNS

__all__ = ["write_chat", "write_media"]

Object = dict[str, Any]

_STOPS_MAX = 5
_ELDERS = re.compile(r"gemini-(?:1|2)\b|gemini-pro|gemma|learnlm").search
"""Models before Gemini 3: they want a budget where the others want a level, and no signatures."""
_THOUGHTLESS = re.compile(r"gemini-(?:1|2\.0)|gemini-pro\b").search
"""Models that refuse any word about thinking."""
_LEVELS = {"none": "MINIMAL", "max": "XHIGH"}
"""Google's word for an effort where it is not the same one; the newer models do not stop thinking entirely."""
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576, "xhigh": 24576, "max": 24576}
"""Tokens for an effort, as Google's own translation of OpenAI's words has them."""
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}


def write_chat(chat: Chat, model: str, *, unsaid: Unsaid, own: bool) -> Object:
    """A conversation as a body for this model; ValueError where this format cannot say it.

    `own` conversations are this format's (or a program's): their extras and hints are written.
    """
    _tell_unsaid(chat, unsaid, model=model, own=own)
    system = [_write_part(part) for m in chat.messages if m.role == "system" for part in m.parts]
    contents = _write_contents(chat.messages, model=model)
    if not contents:  # only instructions: they are what is asked
        contents, system = [{"role": "user", "parts": system}], []
    returns = chat.hints.get(RETURNS, {}) if own else {}
    declared = [_write_tool(tool) | returns.get(tool.name, {}) for tool in chat.tools]
    fields: Object = {
        "contents": contents,
        "systemInstruction": {"parts": system} if system else None,
        "tools": [{"functionDeclarations": declared}] if declared else None,
        "toolConfig": _write_choice(chat),
        "generationConfig": _write_config(chat, model=model),
    }
    body = {name: value for name, value in fields.items() if value}
    if own:
        for path, value in (*chat.extras.items(), *chat.hints.items()):
            if path != RETURNS:
                _put(body, path, value=value)
    return body


def _put(body: Object, path: str, *, value: Json) -> None:
    """Set a field at a path of names; a list goes behind one that is there."""
    *folders, name = path.split(".")
    for folder in folders:
        body = body.setdefault(folder, {})
    body[name] = [*body[name], *value] if isinstance(body.get(name), list) and isinstance(value, list) else value


def _tell_unsaid(chat: Chat, unsaid: Unsaid, *, model: str, own: bool) -> None:
    """What has no word here."""
    if not own:
        for name in chat.extras:
            unsaid.lack(name)
        unsaid.hint(*chat.hints)
    for name, why in _lacks(chat, model):
        unsaid.lack(name, why)
    unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras} - _SAID))
    parts = [part for message in chat.messages for part in message.parts]
    if any(isinstance(part, Reasoning) and part.format != NAME for part in parts):
        unsaid.hint("reasoning")
    if any(isinstance(part, Media) and part.detail not in ("", "auto") for part in parts):
        unsaid.hint("messages[].detail")
    roles = [message.role for message in chat.messages]
    if "system" in roles[next((i for i, role in enumerate(roles) if role != "system"), len(roles)) :]:
        unsaid.hint("the place of later system messages")
    if chat.schema_name:
        unsaid.hint("schema_name")


def _lacks(chat: Chat, model: str) -> Iterator[tuple[str, str]]:
    """What would change the answer and cannot be said to this model, each with the reason."""
    if chat.parallel_calls is False and chat.tools:
        yield "parallel_tool_calls", "it cannot be kept from calling several at once"
    if len(chat.stop) > _STOPS_MAX:
        yield "stop", f"it takes at most {_STOPS_MAX}"
    if chat.schema is not None and chat.tools and _ELDERS(model):
        yield "response_format", "this model takes no schema beside tools"
    if _THOUGHTLESS(model) and (chat.reasoning_tokens or chat.reasoning_effort not in (None, "none")):
        yield "reasoning_effort", "this model does not think"


_SAID = frozenset(("messages[].role",))
"""Another word for a system message or a tool's: what it means is said."""


# ------------------------------------------------------------------------- contents


def _write_contents(messages: Sequence[Message], *, model: str) -> list[Object]:
    names: dict[str, str] = {}
    contents: list[Object] = []
    results: Object | None = None
    for message in messages:
        if message.role == "system":
            continue
        names.update((part.id, part.name) for part in message.parts if isinstance(part, ToolCall))
        answers = [_write_result(part, names) for part in message.parts if isinstance(part, ToolResult)]
        if answers and results is not None and contents[-1] is results:
            results["parts"] += answers
        elif answers:
            results = {"role": "user", "parts": answers}
            contents.append(results)
        rest = [part for part in message.parts if not isinstance(part, ToolResult)]
        written = _write_parts(rest, signed=_ELDERS(model) is None)
        if written or not message.parts:
            role = "model" if message.role == "assistant" else "user"
            contents.append({"role": role, "parts": written or [{"text": ""}]})
    return contents


def _write_parts(parts: Sequence[Part], *, signed: bool) -> list[Object]:
    """The parts of one content; where calls have to be `signed`, at least the first one is."""
    written: list[Object] = []
    for part in parts:
        if not isinstance(part, Reasoning):
            written.append(_write_part(part))
        elif part.format == NAME:
            _write_thought(part, written)
    first = next((part for part in written if "functionCall" in part), None)
    if signed and first is not None:
        first.setdefault("thoughtSignature", NO_SIGNATURE)
    return written


def _write_thought(thought: Reasoning, written: list[Object]) -> None:
    """A thought, or only the signature, which belongs to the part before it."""
    signature = {"thoughtSignature": thought.signature} if thought.signature else {}
    if thought.text:
        written.append({"text": thought.text, "thought": True, **signature})
    elif written and "thoughtSignature" not in written[-1]:
        written[-1].update(signature)
    else:
        written.append({"text": "", **signature})


def _write_part(part: Part) -> Object:
    match part:
        case Text():
            return {"text": part.text}
        case Media():
            return write_media(part)
        case ToolCall():
            return _write_call(part)
        case Opaque(format=format_name) if format_name == NAME:
            return dict(part.value)
        case Opaque():
            words = f"something of the format {part.format}"
        case _:
            words = f"a {type(part).__name__} here"
    raise ValueError(f"the Gemini format cannot hold {words}")


def _write_call(call: ToolCall) -> Object:
    arguments = _object_in(call.arguments or "{}")
    if arguments is None:
        raise ValueError(f"the Gemini format cannot hold the call of {call.name}: its arguments are no JSON object")
    own_id = {"id": call.id} if call.id else {}
    signature = {"thoughtSignature": call.signature} if call.signature else {}
    return {"functionCall": {**own_id, "name": call.name, "args": arguments}, **signature}


def _object_in(text: str) -> Object | None:
    """The JSON object that a text is; None where it is none."""
    try:
        value = msgspec.json.decode(text)
    except UNREADABLE:
        return None
    return value if isinstance(value, dict) else None


def _write_result(result: ToolResult, names: dict[str, str]) -> Object:
    name = result.name or names.get(result.id)
    if not name:
        raise ValueError(f"the Gemini format cannot hold a tool's result without its call ({result.id!r})")
    media = [part for part in result.parts if not isinstance(part, Text)]
    text = "".join(part.text for part in result.parts if isinstance(part, Text))
    body: Object = {"name": name, "response": _write_answer(text, failed=result.failed)}
    if result.id:
        body = {"id": result.id, **body}
    if media:
        body["parts"] = [_write_part(part) for part in media]
    return {"functionResponse": body}


def _write_answer(text: str, *, failed: bool) -> Object:
    """An object that says what a tool's words say, and from which the very same words are read.

    Google takes a `$ref` in an object for one of its own and refuses it; in words it does not look.
    """
    if failed:
        return {"error": text}
    known = _object_in(text) if '"$ref"' not in text else None
    if known is None or msgspec.json.encode(known).decode() != text or _reads_as_words(known):
        return {"output": text}
    return known


def _reads_as_words(answer: Object) -> bool:
    return len(answer) == 1 and any(isinstance(answer.get(name), str) for name in ("output", "error"))


def write_media(media: Media) -> Object:
    """A part with the bytes, or with the address, which Google fetches itself."""
    if media.data:
        return {"inlineData": {"mimeType": media_type_of(media), "data": media.data}}
    if media.url.startswith("data:"):
        return {"inlineData": _write_data_url(media)}
    if not media.url:
        raise ValueError(f"the Gemini format cannot hold a {media.kind} without bytes and address")
    return {"fileData": {"mimeType": media_type_of(media), "fileUri": media.url}}


def _write_data_url(media: Media) -> Object:
    head, _, data = media.url.removeprefix("data:").partition(",")
    media_type, *marks = head.split(";")
    if "base64" not in marks:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    known = Media(kind=media.kind, media_type=media_type or media.media_type, detail=media.detail)
    return {"mimeType": media_type_of(known), "data": data}


# --------------------------------------------------------------- tools and settings


def _write_tool(tool: Tool) -> Object:
    declared: Object = {"name": tool.name}
    if tool.description:
        declared["description"] = tool.description
    if tool.parameters:
        kind = tool.parameters.get("type", "object") if isinstance(tool.parameters, dict) else None
        if kind != "object":
            raise ValueError(f"the Gemini format takes the arguments of {tool.name} only as an object")
        declared["parametersJsonSchema"] = _headless(tool.parameters)
    return declared


def _headless(schema: Any) -> Object:
    return {name: value for name, value in schema.items() if name != "$schema"}


def _write_choice(chat: Chat) -> Object | None:
    """Which tools may be called; VALIDATED is what binds arguments to their schema where calling is free."""
    choice = chat.tool_choice
    if choice is not None and not isinstance(choice, str):
        return {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [choice["name"]]}}
    if choice in (None, "auto") and any(tool.strict for tool in chat.tools):
        return {"functionCallingConfig": {"mode": "VALIDATED"}}
    return {"functionCallingConfig": {"mode": _MODES[choice]}} if choice else None


def _write_config(chat: Chat, *, model: str) -> Object:
    config: Object = {
        "temperature": chat.temperature,
        "topP": chat.top_p,
        "topK": chat.top_k,
        "maxOutputTokens": chat.max_tokens,
        "stopSequences": list(chat.stop) or None,
        "presencePenalty": chat.presence_penalty,
        "frequencyPenalty": chat.frequency_penalty,
        "seed": chat.seed,
        "responseMimeType": None if chat.schema is None else "application/json",
        "responseJsonSchema": _headless(chat.schema or {}) or None,
        "thinkingConfig": _write_thinking(chat, model=model) or None,
    }
    return {name: value for name, value in config.items() if value is not None}


def _write_thinking(chat: Chat, *, model: str) -> Object:
    """A budget where one is given or the model knows nothing else, else a level; Google takes only one of them."""
    effort = chat.reasoning_effort
    if _THOUGHTLESS(model):
        return {}
    if chat.reasoning_tokens is not None:
        return {"thinkingBudget": chat.reasoning_tokens}
    if effort is None:
        return {}
    if _ELDERS(model):
        return {"thinkingBudget": _BUDGETS[effort]} if effort in _BUDGETS else {"thinkingLevel": effort.upper()}
    return {"thinkingLevel": _LEVELS.get(effort, effort.upper())}
