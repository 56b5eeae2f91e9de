"""Cohere's chat format (version 2), both sides.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own fields with another model, byte for byte
read_request           from a caller: only what routing and limits need; the rest when it is asked for

A target's address may be the API's (`https://api.cohere.com`) or that of one of its versions
(`/v2`, `/v1`, `/compatibility/v1`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.cohere_answer import decoder
from unbroken.wire.cohere_messages import NAME, read_chat, write_chat
from unbroken.wire.cohere_writer import write_failure, writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import post
from unbroken.wire.openai_chat import ask_to_go_on, fault_of, read_fields

__all__ = ["FORMAT", "at_root", "read_request", "write_request"]

PATH = "/v2/chat"
WORDS = "Cohere's format"
_encode = msgspec.json.encode
_FILLED = re.compile(rb"\[\s*[^\s\]]").match
"""An array with something in it."""
_THINKS = re.compile(rb'"type"\s*:\s*"enabled"').search
_FLAGS = {b"true": True, b"false": False, b"null": False}
_API = re.compile(r"/+(?:(?:v2|(?:compatibility/)?v1)/*)?(?=$|\?)")


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source, unsaid = request.source, Unsaid(target, WORDS)
    own = source.fields if source is not None and source.format == NAME else None
    fields = _fields_of(request, unsaid) if own is None else dict(own)
    fields["model"] = _encode(target.model)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation)
    return post(at_root(target), PATH, body=join_fields(fields), unsaid=tuple(unsaid.names))


def at_root(target: Target) -> Target:
    """The target at its API's address, where it names one of the API's versions."""
    root = _API.sub("", target.base_url, count=1)
    return target if root == target.base_url else replace(target, base_url=root)


def _fields_of(request: Request, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    if request.choices > 1:
        unsaid.lack("n")
    written = write_chat(request.chat, unsaid=unsaid, own=request.source is None)
    return {name: _encode(value) for name, value in {"model": "", **written, "stream": request.stream}.items()}


def _go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking."""
    more = [{"role": "assistant", "content": continuation.text}]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": ask_to_go_on(continuation.text)})
    fields["messages"] = fields["messages"].rstrip()[:-1] + b"," + _encode(more)[1:]


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    messages = fields.get("messages")
    if messages is None:
        return fault_of("messages", "is missing")
    if _FILLED(messages) is None:
        return fault_of("messages", "must be an array with at least one message")
    stream = _FLAGS.get(fields.get("stream", b"false"))
    if stream is None:
        return fault_of("stream", "must be true or false")
    limit, temperature = _number(fields, "max_tokens"), _number(fields, "temperature")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        stream=stream,
        include_usage=stream,
        prompt_chars=len(messages) + len(fields.get("documents", b"")),
        max_tokens=limit if isinstance(limit, int) else None,
        thinks=_THINKS(fields.get("thinking", b"")) is not None,
        temperature=temperature,
        needs=frozenset(_needs(fields, messages)),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _number(fields: dict[str, bytes], name: str) -> Any:
    """A number; None where it is absent or of another type, which the provider may complain about."""
    try:
        return msgspec.json.decode(fields.get(name, b"null"), type=int | float | None)
    except UNREADABLE:
        return None


def _needs(fields: dict[str, bytes], messages: bytes) -> list[str]:
    """The capabilities without which a target cannot answer."""
    needs = ["tools"] if _FILLED(fields.get("tools", b"")) else []
    if b'"image_url"' in messages:
        needs.append("vision")
    if b'"json_schema"' in fields.get("response_format", b""):
        needs.append("schema")
    return needs


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(PATH,),
)
