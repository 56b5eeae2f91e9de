"""Amazon Bedrock's Converse format, both sides: one format for all the models that Amazon serves.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own fields, byte for byte; the model stands in the path
read_request           from a caller: only what routing and limits need; the rest when it is asked for

A target's address is that of its region, from its option `region` where it has no other.  Its
option `base_model` is the id of the model behind an inference profile whose address does not name it.
The key is a Bedrock API key; with `auth: sigv4` the request is left bare, to be signed.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid, path_values
from unbroken.wire.asked import NO_NEEDS, ask_to_go_on, fault_of, messages_in, read_body
from unbroken.wire.bedrock_answer import NAME, decoder
from unbroken.wire.bedrock_messages import joined, read_chat, write_chat
from unbroken.wire.bedrock_writer import write_failure, writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import post

__all__ = ["FORMAT", "read_request", "write_request"]

PLAIN, STREAMED = "/model/{model}/converse", "/model/{model}/converse-stream"

Object = dict[str, Any]
_encode = msgspec.json.encode
_IMAGE = re.compile(rb'{\s*"image"\s*:\s*{').search
_THINKING = re.compile(rb'"(?:thinking|reasoning_config|reasoningConfig|reasoning_effort|effort)"\s*:').search
_LITTLE = re.compile(rb'"(?:disabled|none|minimal|low)"').search


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source, unsaid = request.source, Unsaid(target, "Bedrock's Converse format")
    if source is not None and source.format == NAME:
        fields = dict(source.fields)
    else:
        fields = _fields_of(request, target, unsaid=unsaid)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation)
    path = (STREAMED if request.stream else PLAIN).replace("{model}", quote(target.model, safe=""))
    return post(_located(target), path, body=join_fields(fields), unsaid=tuple(unsaid.names))


def _located(target: Target) -> Target:
    """The target with its region's address, where it has none of its own."""
    if target.base_url:
        return target
    if not target.options.get("region"):
        raise ValueError(f"the target {target.name} has neither a base_url nor a region")
    return replace(target, base_url=f"https://bedrock-runtime.{target.options['region']}.amazonaws.com")


def _fields_of(request: Request, target: Target, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    if request.choices > 1:
        unsaid.lack("n")
    model = target.options.get("base_model") or target.model
    body = write_chat(request.chat, model=model, unsaid=unsaid, own=request.source is None)
    return {name: _encode(value) for name, value in body.items()}


def _go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking.

    What was said must not end in a blank, and not be blank: models refuse that.
    """
    more: list[Object] = []
    if said := continuation.text.rstrip():
        more.append({"role": "assistant", "content": [{"text": said}]})
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": [{"text": ask_to_go_on(continuation.text)}]})
    try:
        turns = msgspec.json.decode(fields["messages"], type=list[Object])
    except UNREADABLE as error:
        raise ValueError(f"'messages' has the wrong shape: {error}") from None
    fields["messages"] = _encode(joined(turns, more))


# ----------------------------------------------------------------------- from a caller


class _Inference(msgspec.Struct):
    maxTokens: Any = None  # noqa: N815 - Amazon's name
    temperature: Any = None


_INFERENCE = msgspec.json.Decoder(_Inference | None)


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    streamed = path_values(STREAMED, path)
    named = streamed or path_values(PLAIN, path)
    if named is None:
        return fault_of("", f"The path is neither {PLAIN} nor {STREAMED}.")
    fields = read_body(body)
    if isinstance(fields, Failure):
        return fields
    messages = messages_in(fields)
    if isinstance(messages, Failure):
        return messages
    try:
        inference = _INFERENCE.decode(fields.get("inferenceConfig", b"null")) or _Inference()
    except UNREADABLE:
        return fault_of("inferenceConfig", "must be an object")
    limit, temperature = inference.maxTokens, inference.temperature
    return Request(
        model=named["model"],
        stream=streamed is not None,
        include_usage=streamed is not None,
        prompt_chars=len(messages) + len(fields.get("system", b"")),
        max_tokens=limit if type(limit) is int else None,
        thinks=_thinks(fields),
        temperature=temperature if type(temperature) in (int, float) else None,
        needs=_needs(fields, messages),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _thinks(fields: dict[str, bytes]) -> bool:
    """Whether more thinking than a little is asked for, in the words of any model."""
    asked = fields.get("additionalModelRequestFields", b"") + fields.get("outputConfig", b"")
    return _THINKING(asked) is not None and _LITTLE(asked) is None


def _needs(fields: dict[str, bytes], messages: bytes) -> frozenset[str]:
    """The capabilities without which a target cannot answer.

    The names are searched for as bytes: within a string of JSON their quotes would be escaped.
    """
    needs = ["tools"] if b'"toolSpec"' in fields.get("toolConfig", b"") else []
    if b'"image"' in messages and _IMAGE(messages):
        needs.append("vision")
    if b'"textFormat"' in fields.get("outputConfig", b""):
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
    paths=(PLAIN, STREAMED),
)
