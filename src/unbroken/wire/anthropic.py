"""Anthropic's Messages format, both sides: what Claude speaks, and what others took over from it.

FORMAT           the record; the modules beside this one read and write messages and answers
write_request    to a provider: the caller's own fields with another model, byte for byte
read_request     from a caller: only what routing and limits need; the rest when it is asked for

For `Target.options` see `anthropic_chat`; `beta` besides is what `anthropic-beta` says.  The same
bodies go to Claude at AWS (`invoke`) and Google (`rawPredict`), but with `anthropic_version` as a
field in place of the header, and the model in the path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Continuation, HttpRequest, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.anthropic_answer import NAME, decoder
from unbroken.wire.anthropic_chat import read_chat, version_of, write_chat
from unbroken.wire.anthropic_writer import write_failure, writer
from unbroken.wire.asked import FLAGS, NO_NEEDS, ask_to_go_on, fault_of, is_filled, number_in, read_fields, value_in
from unbroken.wire.errors import classify
from unbroken.wire.framing import join_fields
from unbroken.wire.http import post

__all__ = ["FORMAT", "read_request", "write_request"]

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_IMAGE = re.compile(rb'"type"\s*:\s*"image"').search
_PAGES = re.compile(rb'"type"\s*:\s*"(?:base64|url|file)"').search
"""A document that is no plain text: its pages are looked at."""
_LITTLE = re.compile(rb'"effort"\s*:\s*"low"').search


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source = request.source
    unsaid = Unsaid(target, "Anthropic's format")
    if source is not None and source.format == NAME:
        fields = dict(source.fields)
    else:
        fields = _fields_of(request, target, unsaid=unsaid)
    fields["model"] = _encode(target.model)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation)
    left_out = tuple(dict.fromkeys(unsaid.names))
    http = post(target, _path(target), body=join_fields(fields), unsaid=left_out, key_in="x-api-key")
    return replace(http, headers={**_versions(target), **http.headers})


def _path(target: Target) -> str:
    """Addresses are given with the version and without it."""
    address = target.base_url.partition("?")[0].rstrip("/")
    return "/messages" if address.endswith("/v1") else "/v1/messages"


def _versions(target: Target) -> Mapping[str, str]:
    """The API's version and the features in trial, unless the target's own headers say otherwise."""
    beta = target.options.get("beta")
    return {"anthropic-version": version_of(target), **({"anthropic-beta": beta} if beta else {})}


def _fields_of(request: Request, target: Target, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    if request.choices > 1:
        unsaid.lack("n")
    body: dict[str, Any] = {"model": ""}
    body |= write_chat(request.chat, target, unsaid=unsaid, own=request.source is None)
    if request.stream:
        body["stream"] = True
    return {name: _encode(value) for name, value in body.items()}


def _go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking.

    A begun answer may not end with white space, nor go together with thinking, which is over.
    """
    more = [{"role": "assistant", "content": continuation.text.rstrip()}]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": ask_to_go_on(continuation.text)})
    else:
        fields.pop("thinking", None)
    if not continuation.text.strip():
        more = more[1:]
    if more:
        fields["messages"] = fields["messages"].rstrip()[:-1] + b"," + _encode(more)[1:]


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    for name in ("messages", "max_tokens"):
        if name not in fields:
            return fault_of(name, "is missing", code="missing_required_parameter")
    messages = fields["messages"]
    if is_filled(messages) is None:
        return fault_of("messages", "must be an array with at least one message")
    limit = value_in(fields, "max_tokens")
    if type(limit) is not int or limit < 0:
        return fault_of("max_tokens", "must be a whole number of tokens")
    stream = fields.get("stream", b"false")
    if stream not in FLAGS:
        return fault_of("stream", "must be true or false")
    return Request(
        model=_decode(fields["model"]),
        stream=FLAGS[stream],
        include_usage=FLAGS[stream],
        prompt_chars=len(messages) + len(fields.get("system", b"")),
        max_tokens=limit,
        thinks=_thinks(fields),
        temperature=number_in(fields, "temperature"),
        needs=_needs(fields, messages),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _thinks(fields: Mapping[str, bytes]) -> bool:
    """Whether more thinking than a little is asked for."""
    thinking = fields.get("thinking", b"null")
    return thinking != b"null" and b'"disabled"' not in thinking and _LITTLE(fields.get("output_config", b"")) is None


def _needs(fields: Mapping[str, bytes], messages: bytes) -> frozenset[str]:
    """The capabilities without which a target cannot answer.

    The names are searched for as bytes: within a string of JSON their quotes would be escaped.
    """
    needs = ["tools"] if is_filled(fields.get("tools", b"[]")) else []
    if (b'"image"' in messages and _IMAGE(messages)) or (b'"document"' in messages and _PAGES(messages)):
        needs.append("vision")
    if any(b'"json_schema"' in fields.get(name, b"") for name in ("output_config", "output_format")):
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
    paths=("/v1/messages",),
)
