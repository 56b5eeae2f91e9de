"""How many tokens a conversation is, in Anthropic's format, both sides: what /v1/messages/count_tokens speaks.

The body is that of a message without what steers the answer.  An answer is a count and nothing
else, so its one delta has the count as usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, Delta, HttpRequest, Request, Source, Target, Usage
from unbroken.wire import Decoder, Format, Outcome, Writer, anthropic
from unbroken.wire.anthropic_chat import read_chat
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields
from unbroken.wire.openai_chat import fault_of, read_fields
from unbroken.wire.openai_chat_answer import read_json
from unbroken.wire.openai_chat_writer import JSON_TYPE, passed_on
from unbroken.wire.whole import Whole, WholeWriter, fault_in

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "anthropic_count"
_COUNTED = frozenset(("model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"))
"""Fields of a message that the count takes; it refuses those of the answer."""


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The question to this target; ValueError where the conversation cannot be said in this format."""
    del continuation  # nothing is shown that could be gone on with
    source = request.source
    own = source is not None and source.format == NAME
    if own and source is not None:
        request = replace(request, source=Source(anthropic.FORMAT.name, source.fields))
    asked = anthropic.write_request(request, target)
    where, mark, query = asked.url.partition("?")
    fields = {name: raw for name, raw in split_fields(asked.body).items() if own or name in _COUNTED}
    return replace(asked, url=f"{where}/count_tokens{mark}{query}", body=join_fields(fields))


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    messages = fields.get("messages", b"")
    if not messages.startswith(b"[") or not messages[1:-1].strip():
        return fault_of("messages", "must be an array with at least one message")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        prompt_chars=sum(len(fields.get(name, b"")) for name in ("messages", "system", "tools")),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


class _Answer(msgspec.Struct, gc=False):
    input_tokens: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(_request: Request, _target: Target) -> Decoder:
    """A reader of the count."""
    return Whole(_read_count)


def _read_count(body: bytes) -> list[Delta] | Failure:
    try:
        count = _ANSWER.decode(body).input_tokens
    except UNREADABLE:
        count = None
    if type(count) is not int:
        value = read_json(body)
        return value if isinstance(value, Failure) else fault_in(value, "the answer holds no count")
    return [Delta(media=1, usage=Usage(input_tokens=count), format=NAME, raw=body, body=True)]


def writer(_request: Request) -> Writer:
    """A writer of the count."""
    return WholeWriter(JSON_TYPE, _write_count, fail=_write_fault)


def _write_count(deltas: Sequence[Delta], _outcome: Outcome) -> bytes:
    count = next((delta.usage.input_tokens for delta in deltas if delta.usage), 0)
    return passed_on(deltas, NAME) or msgspec.json.encode({"input_tokens": count})


def _write_fault(failure: Failure, outcome: Outcome) -> bytes:
    assert FORMAT.write_failure is not None
    return FORMAT.write_failure(failure, outcome.request_id)[2]


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=anthropic.FORMAT.write_failure,
    paths=("/v1/messages/count_tokens",),
)
