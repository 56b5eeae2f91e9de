"""The OpenAI chat format, both sides: what OpenAI speaks, and with variations most others.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own fields with another model, byte for byte
read_request           from a caller: only what routing and limits need; the rest when it is asked for
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.asked import (
    FLAGS,
    NO_NEEDS,
    ask_to_go_on,
    fault_of,
    is_filled,
    messages_in,
    number_in,
    read_fields,
    value_in,
)
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields, sought
from unbroken.wire.http import post
from unbroken.wire.openai_chat_answer import NAME, decoder
from unbroken.wire.openai_chat_messages import read_chat, write_chat
from unbroken.wire.openai_chat_writer import write_failure, writer

__all__ = ["FORMAT", "counted", "decoder", "read_request", "write_request"]

_encode = msgspec.json.encode
_decode_any = msgspec.json.Decoder().decode
_decode_str = msgspec.json.Decoder(str).decode

Object = dict[str, Any]


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source = request.source
    own = source.fields if source is not None and source.format == NAME else None
    fields, unsaid = _fields_of(request, target) if own is None else (dict(own), ())
    fields["model"] = _encode(target.model)
    if request.counted:
        fields["stream_options"] = counted(fields.get("stream_options"))
    if target.options:
        _rename(fields, target.options.get("rename", ""))
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation, prefix=target.prefix)
    return post(target, "/chat/completions", body=join_fields(fields), unsaid=unsaid)


def _fields_of(request: Request, target: Target) -> tuple[dict[str, bytes], tuple[str, ...]]:
    """A body for a request that came in another format, or from a program; and what it leaves out."""
    foreign, unsaid = request.source is not None, Unsaid(target, "OpenAI's chat format")
    body: Object = {"model": "", **write_chat(request.chat, unsaid=unsaid if foreign else None)}
    if target.provider in _OPENAI:
        if "max_tokens" in body:
            body["max_completion_tokens"] = body.pop("max_tokens")
        if foreign and body.pop("top_k", None) is not None:
            unsaid.lack("top_k")
    if request.choices > 1:
        body["n"] = request.choices
    if request.stream:
        body["stream"] = True
        if request.include_usage:
            body["stream_options"] = {"include_usage": True}
    return {name: _encode(value) for name, value in body.items()}, tuple(unsaid.names)


def counted(options: bytes | None) -> bytes:
    """A stream's options, whatever they were, with the wish that its tokens be counted."""
    try:
        said = _decode_any(options or b"{}")
    except UNREADABLE:
        said = {}
    return _encode({**(said if isinstance(said, dict) else {}), "include_usage": True})


def _rename(fields: dict[str, bytes], words: str) -> None:
    """Call fields what this provider calls them (`seed=random_seed`); a field that is there already stands."""
    for pair in words.split():
        usual, _, own = pair.partition("=")
        if usual in fields:
            fields.setdefault(own, fields.pop(usual))


_OPENAI = frozenset(("openai", "azure"))
"""Their reasoning models refuse `max_tokens`, where many others know nothing else; they refuse `top_k` always."""


def _go_on(fields: dict[str, bytes], continuation: Continuation, *, prefix: str) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking."""
    seen: Object = {"role": "assistant", "content": continuation.text}
    more = [seen]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": ask_to_go_on(continuation.text)})
    elif prefix == "flag":
        seen["prefix"] = True
    elif prefix == "vllm":
        fields["continue_final_message"] = b"true"
        fields["add_generation_prompt"] = b"false"
    messages = fields["messages"].rstrip()
    fields["messages"] = messages[:-1] + b"," + _encode(more)[1:]


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    messages = messages_in(fields)
    if isinstance(messages, Failure):
        return messages
    stream = fields.get("stream", b"false")
    if stream not in FLAGS:
        return fault_of("stream", "must be true or false")
    limit = number_in(fields, "max_completion_tokens")
    if limit is None:
        limit = number_in(fields, "max_tokens")
    choices = number_in(fields, "n")
    return Request(
        model=_decode_str(fields["model"]),
        stream=FLAGS[stream],
        include_usage=FLAGS[stream] and _wants_usage(fields),
        prompt_chars=len(messages),
        max_tokens=limit if isinstance(limit, int) else None,
        choices=choices if isinstance(choices, int) and choices > 0 else 1,
        thinks=_thinks(fields),
        temperature=number_in(fields, "temperature"),
        needs=_needs(fields, messages),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _thinks(fields: dict[str, bytes]) -> bool:
    """Whether more thinking than a little is asked for, in OpenAI's, OpenRouter's or Anthropic's and vLLM's words."""
    if fields.get("reasoning_effort") in _HARD:
        return True
    return any(name in fields and _LITTLE(fields[name]) is None for name in ("reasoning", "thinking"))


_HARD = frozenset((b'"medium"', b'"high"', b'"xhigh"', b'"max"'))
_LITTLE = re.compile(rb'^(?:null|false|{\s*})$|"(?:disabled|none|minimal|low)"|"enabled"\s*:\s*false').search
"""Thinking that is switched off, or hardly on."""


def _wants_usage(fields: dict[str, bytes]) -> bool:
    options = value_in(fields, "stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _needs(fields: dict[str, bytes], messages: bytes) -> frozenset[str]:
    """The capabilities without which a target cannot answer.

    The names are searched for as bytes: within a string of JSON their quotes would be escaped.
    """
    needs = ["tools" for name in ("tools", "functions") if name in fields and is_filled(fields[name])]
    needs += {_PARTS[part[0]] for part in sought(messages, _PART, sign=b"_")}
    if "response_format" in fields and b'"json_schema"' in fields["response_format"]:
        needs.append("schema")
    return frozenset(needs) if needs else NO_NEEDS


_PART = re.compile(
    rb'_(?:url(?<="image_url)|image(?<="input_image)|audio(?<="input_audio)|data(?<="file_data)|id(?<="file_id))(?=")'
)
_PARTS = {b"_url": "vision", b"_image": "vision", b"_audio": "audio", b"_data": "vision", b"_id": "vision"}
"""What has to be seen or heard, and is no mere text; the pages of a file are seen."""


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=("/v1/chat/completions",),
)
