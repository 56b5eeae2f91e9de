"""Ollama's own chat format, both sides: what /api/chat speaks, on one's own machine or at ollama.com.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own fields with another model, byte for byte
read_request           from a caller: only what routing and limits need; the rest when it is asked for

A target's address may be the server's (`http://host:11434`) or that of one of its APIs
(`/api`, `/v1`).  Its option `num_ctx` is how many tokens of context the model is loaded with.
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
from unbroken.wire.asked import fault_of, go_on, is_filled, messages_in, read_fields
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import post
from unbroken.wire.ollama_answer import decoder
from unbroken.wire.ollama_messages import NAME, read_chat, write_chat
from unbroken.wire.ollama_writer import write_failure, writer

__all__ = ["FORMAT", "at_root", "read_request", "write_request"]

PATH = "/api/chat"
WORDS = "Ollama's format"
_encode = msgspec.json.encode
_IMAGES = re.compile(rb'"images"\s*:\s*\[\s*[^\s\]]').search
_FLAGS = {b"true": True, b"false": False, b"null": True}
"""What is not said streams, here."""
_THINKS = frozenset((b"true", b'"medium"', b'"high"', b'"max"'))
_API = re.compile(r"/+(?:(?:api|v1)/*)?(?=$|\?)")


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source, unsaid = request.source, Unsaid(target, WORDS)
    own = source.fields if source is not None and source.format == NAME else None
    fields = _fields_of(request, target, unsaid=unsaid) if own is None else dict(own)
    fields["model"] = _encode(target.model)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        go_on(fields, continuation)
    return post(at_root(target), PATH, body=join_fields(fields), unsaid=tuple(unsaid.names))


def at_root(target: Target) -> Target:
    """The target at its server's address, where it names one of the server's APIs."""
    root = _API.sub("", target.base_url, count=1)
    return target if root == target.base_url else replace(target, base_url=root)


def _fields_of(request: Request, target: Target, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    if request.choices > 1:
        unsaid.lack("n")
    written = write_chat(request.chat, unsaid=unsaid, own=request.source is None)
    if "num_ctx" in target.options:
        written["options"] = {"num_ctx": int(target.options["num_ctx"]), **written.get("options", {})}
    body = {"model": "", **written, "stream": request.stream}
    return {name: _encode(value) for name, value in body.items()}


# ----------------------------------------------------------------------- from a caller


class _Options(msgspec.Struct):
    num_predict: Any = None
    temperature: Any = None


_OPTIONS = msgspec.json.Decoder(_Options | None)


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    messages = messages_in(fields)
    if isinstance(messages, Failure):
        return messages
    stream = _FLAGS.get(fields.get("stream", b"null"))
    if stream is None:
        return fault_of("stream", "must be true or false")
    try:
        options = _OPTIONS.decode(fields.get("options", b"null")) or _Options()
    except UNREADABLE:
        return fault_of("options", "must be an object")
    limit, temperature = options.num_predict, options.temperature
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        stream=stream,
        include_usage=stream,
        prompt_chars=len(messages),
        max_tokens=limit if type(limit) is int and limit > 0 else None,
        thinks=fields.get("think") in _THINKS,
        temperature=temperature if type(temperature) in (int, float) else None,
        needs=frozenset(_needs(fields, messages)),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _needs(fields: dict[str, bytes], messages: bytes) -> list[str]:
    """The capabilities without which a target cannot answer."""
    needs = ["tools"] if is_filled(fields.get("tools", b"")) else []
    if b'"images"' in messages and _IMAGES(messages):
        needs.append("vision")
    if fields.get("format", b"").startswith(b"{"):
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
