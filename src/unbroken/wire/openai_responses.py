"""OpenAI's Responses format, both sides.

FORMAT                 the record; answers are read and written by the modules beside this one
write_request          to a provider: the caller's own fields with another model, byte for byte
read_request           from a caller: only what routing and limits need; the rest when it is asked for

What a provider keeps for the caller (`previous_response_id`, `conversation`, encrypted thoughts)
only that provider understands; such a request is never said in another format.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, HttpRequest, Json, Mode, Request, Source, Target
from unbroken.wire import Format, Unsaid
from unbroken.wire.asked import FLAGS, NO_NEEDS, ask_to_go_on, fault_of, is_filled, number_in, read_fields
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields, sought
from unbroken.wire.http import post
from unbroken.wire.openai_responses_answer import decoder
from unbroken.wire.openai_responses_messages import NAME, read_chat, write_chat
from unbroken.wire.openai_responses_writer import INVENTED, write_failure, writer

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request"]

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_HARD = re.compile(rb'"effort"\s*:\s*"(?:medium|high|xhigh|max)"').search
_MAX_TOKENS_MIN = 16
"""OpenAI refuses a lower limit in this format."""
_OPENAI = frozenset(("openai", "azure"))
_WITHOUT_INPUT = ("previous_response_id", "conversation", "prompt")
"""Where a request may find its input if it holds none."""

Object = dict[str, Any]


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The HTTP request to this target; ValueError where the conversation cannot be said in this format."""
    source = request.source
    unsaid = Unsaid(target, "OpenAI's Responses format")
    if source is not None and source.format == NAME:
        fields = dict(source.fields)
        if INVENTED in fields.get("input", b""):
            _leave_out_invented(fields, unsaid)
    else:
        fields = _fields_of(request, target, unsaid=unsaid)
    fields["model"] = _encode(target.model)
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation, prefix=target.prefix)
    return post(target, "/responses", body=join_fields(fields), unsaid=tuple(unsaid.names))


def _fields_of(request: Request, target: Target, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    chat = request.chat
    body: Object = {"model": "", **write_chat(chat, unsaid=unsaid if request.source is not None else None)}
    if request.choices > 1:
        unsaid.lack("n")
    if target.provider in _OPENAI and chat.max_tokens is not None and chat.max_tokens < _MAX_TOKENS_MIN:
        unsaid.lack("max_tokens", f"fewer than {_MAX_TOKENS_MIN} are refused")
        del body["max_output_tokens"]
    if request.stream:
        body["stream"] = True
    return {name: _encode(value) for name, value in body.items()}


def _leave_out_invented(fields: dict[str, bytes], unsaid: Unsaid) -> None:
    """Leave out thoughts that a target of another format had: OpenAI looks for their ids in its store, in vain."""
    try:
        items = _decode(fields["input"])
    except UNREADABLE:
        return
    if isinstance(items, list):
        kept = [item for item in items if not _is_invented_thought(item)]
        if len(kept) < len(items):
            fields["input"] = _encode(kept)
            unsaid.hint("reasoning")


def _is_invented_thought(item: Json) -> bool:
    if not isinstance(item, dict) or item.get("type") != "reasoning":
        return False
    return str(item.get("id")).startswith(f"rs{INVENTED.decode()}")


def _go_on(fields: dict[str, bytes], continuation: Continuation, *, prefix: str) -> None:
    """Append what the caller has seen, and where the target has to be asked, the asking."""
    seen: Object = {"role": "assistant", "content": continuation.text}
    more = [seen]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": ask_to_go_on(continuation.text)})
    elif prefix == "flag":
        seen["prefix"] = True
    items = fields.get("input", b"null").strip()
    if items.startswith(b'"'):
        items = b'[{"role":"user","content":' + items + b"}]"
    before = items[1:-1].strip() if items.startswith(b"[") else b""
    fields["input"] = b"[" + before + (b"," if before else b"") + _encode(more)[1:]


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    items = fields.get("input", b"null")
    if items == b"null" and all(fields.get(name, b"null") == b"null" for name in _WITHOUT_INPUT):
        return fault_of("input", "is missing", code="missing_required_parameter")
    if items[:1] not in (b'"', b"[", b"n"):
        return fault_of("input", "must be a string or an array of items")
    stream = fields.get("stream", b"false")
    if stream not in FLAGS:
        return fault_of("stream", "must be true or false")
    limit = number_in(fields, "max_output_tokens")
    return Request(
        model=_decode(fields["model"]),
        stream=FLAGS[stream],
        include_usage=FLAGS[stream],
        prompt_chars=len(items) + len(fields.get("instructions", b"")),
        max_tokens=limit if isinstance(limit, int) else None,
        thinks=_HARD(fields.get("reasoning", b"")) is not None,
        temperature=number_in(fields, "temperature"),
        needs=_needs(fields, items),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def _needs(fields: dict[str, bytes], items: bytes) -> frozenset[str]:
    """The capabilities without which a target cannot answer, looked for as bytes (in a string, quotes are escaped)."""
    needs = ["tools"] if is_filled(fields.get("tools", b"")) else []
    needs += {_PARTS[part[0]] for part in sought(items, _PART, sign=b"_")}
    if b'"json_schema"' in fields.get("text", b""):
        needs.append("schema")
    return frozenset(needs) if needs else NO_NEEDS


_PART = re.compile(rb'_(?:image(?<="input_image)|file(?<="input_file)|audio(?<="input_audio))(?=")')
_PARTS = {b"_image": "vision", b"_file": "vision", b"_audio": "audio"}
"""What has to be seen or heard; the pages of a file are seen."""


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=("/v1/responses",),
)
