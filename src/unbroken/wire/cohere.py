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

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.asked import FLAGS, fault_of, go_on, is_filled, messages_in, number_in, read_fields
from unbroken.wire.cohere_answer import decoder
from unbroken.wire.cohere_messages import NAME, read_chat, write_chat
from unbroken.wire.cohere_writer import write_failure, writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import join_fields, sought
from unbroken.wire.http import post

__all__ = ["FORMAT", "at_root", "read_request", "write_request"]

PATH = "/v2/chat"
WORDS = "Cohere's format"
_encode = msgspec.json.encode
_THINKS = re.compile(rb'"type"\s*:\s*"enabled"').search
_IMAGE = re.compile(rb'_url(?<="image_url)(?=")')
_API = re.compile(r"/+(?:(?:v2|(?:compatibility/)?v1)/*)?(?=$|\?)")


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source, unsaid = request.source, Unsaid(target, WORDS)
    own = source.fields if source is not None and source.format == NAME else None
    fields = _fields_of(request, unsaid) if own is None else dict(own)
    fields["model"] = _encode(target.model)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        go_on(fields, continuation)
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


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    messages = messages_in(fields)
    if isinstance(messages, Failure):
        return messages
    stream = FLAGS.get(fields.get("stream", b"false"))
    if stream is None:
        return fault_of("stream", "must be true or false")
    limit, temperature = number_in(fields, "max_tokens"), number_in(fields, "temperature")
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


def _needs(fields: dict[str, bytes], messages: bytes) -> list[str]:
    """The capabilities without which a target cannot answer."""
    needs = ["tools"] if is_filled(fields.get("tools", b"")) else []
    if sought(messages, _IMAGE, sign=b"_"):
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
