"""Gemini's format (generateContent, streamGenerateContent), both sides: the Gemini API and Vertex AI.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own body, byte for byte, below another model's address
read_request           from a caller: only what routing and limits need; the rest when it is asked for

The model and whether the answer is streamed stand in the path, not in the body.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Json, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.asked import NO_NEEDS, ask_to_go_on, fault_of, read_body
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.gemini_answer import decoder
from unbroken.wire.gemini_contents import write_chat
from unbroken.wire.gemini_dialect import camel
from unbroken.wire.gemini_messages import NAME, read_chat, setting
from unbroken.wire.gemini_place import KEY_IN, address, model_and_verb, paths, place
from unbroken.wire.gemini_writer import write_failure, writer
from unbroken.wire.http import post

__all__ = ["FORMAT", "decoder", "read_request", "write_request"]

_PLAIN, _STREAMED = "generateContent", "streamGenerateContent"
_encode = msgspec.json.encode
_LITTLE_BUDGET = 1024
_HARD = frozenset(("MEDIUM", "HIGH", "XHIGH"))
_MEDIA = re.compile(rb'"mime_?[tT]ype"\s*:\s*"(image|video|application/pdf|audio)').findall
_SENSE = {b"image": "vision", b"video": "vision", b"application/pdf": "vision", b"audio": "audio"}
"""What a part takes that is no text; the pages of a file are looked at."""
_FUNCTION = re.compile(rb'"function_?[dD]eclarations"\s*:\s*[\[{]\s*[^\s\]}]').search

Object = dict[str, Any]


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source = request.source
    unsaid = Unsaid(target, "the Gemini format")
    if source is not None and source.format == NAME:
        fields = {name: value for name, value in source.fields.items() if name != "model"}
    else:
        fields = _fields_of(request, target, unsaid=unsaid)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation)
    path = address(target, f"{_STREAMED}?alt=sse" if request.stream else _PLAIN)
    return post(place(target), path, body=join_fields(fields), key_in=KEY_IN, unsaid=tuple(unsaid.names))


def _fields_of(request: Request, target: Target, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    body = write_chat(request.chat, target.model, unsaid=unsaid, own=request.source is None)
    if request.choices > 1:
        body.setdefault("generationConfig", {})["candidateCount"] = request.choices
    return {name: _encode(value) for name, value in body.items()}


def _go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking."""
    more: list[Object] = [{"role": "model", "parts": [{"text": continuation.text}]}]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "parts": [{"text": ask_to_go_on(continuation.text)}]})
    contents = fields["contents"].strip()
    begun = contents[1:-1] if contents.startswith(b"[") else contents
    fields["contents"] = b"[" + begun + b"," + _encode(more)[1:]


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    model, verb = model_and_verb(path)
    if not model or verb not in (_PLAIN, _STREAMED):
        return fault_of("", f"There is nothing at {path}.", code="unknown_url")
    fields = read_body(body)
    if isinstance(fields, Failure):
        return fields
    contents = fields.get("contents", b"").strip()
    if not contents or contents == b"null":
        return fault_of("contents", "is missing", code="missing_required_parameter")
    if contents[:1] not in b"[{" or not contents[1:-1].strip():
        return fault_of("contents", "must be an array with at least one content")
    config = _read_config(fields)
    limit, choices = config.get("maxOutputTokens"), config.get("candidateCount")
    temperature = config.get("temperature")
    system = fields.get("systemInstruction") or fields.get("system_instruction") or b""
    return Request(
        model=model,
        stream=verb == _STREAMED,
        include_usage=verb == _STREAMED,
        prompt_chars=len(contents) + len(system),
        max_tokens=limit if type(limit) is int else None,
        choices=choices if type(choices) is int and choices > 0 else 1,
        thinks=_thinks(config),
        temperature=temperature if type(temperature) in (int, float) else None,
        needs=_needs(fields, contents, config=config),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _read_config(fields: Mapping[str, bytes]) -> Object:
    raw = fields.get("generationConfig") or fields.get("generation_config")
    if raw is None:
        return {}
    try:
        config: Json = camel(msgspec.json.decode(raw))
    except UNREADABLE:  # the provider, or whoever needs the rest of it, may complain
        return {}
    return config if isinstance(config, dict) else {}


def _thinks(config: Object) -> bool:
    """Whether more thinking than a little is asked for; -1 is as much as the model sees fit."""
    level, budget = (
        setting(config, "thinkingConfig", "thinkingLevel"),
        setting(config, "thinkingConfig", "thinkingBudget"),
    )
    if isinstance(level, str):
        return level.upper() in _HARD
    return type(budget) is int and (budget > _LITTLE_BUDGET or budget == -1)


def _needs(fields: Mapping[str, bytes], contents: bytes, *, config: Object) -> frozenset[str]:
    """The capabilities without which a target cannot answer.

    The names are searched for as bytes: within a string of JSON their quotes would be escaped.
    """
    needs = []
    if _FUNCTION(fields.get("tools", b"")):
        needs.append("tools")
    needs += {_SENSE[kind] for kind in _MEDIA(contents)}
    if "responseSchema" in config or "responseJsonSchema" in config:
        needs.append("schema")
    return frozenset(needs) if needs else NO_NEEDS


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=paths(_PLAIN, _STREAMED),
)
