"""How many tokens a conversation is, in Anthropic's format, both sides: what /v1/messages/count_tokens speaks.

The body is that of a message without what steers the answer.  An answer is a count and nothing
else, so its one delta has the count as usage.
"""

from __future__ import annotations

from functools import partial

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Continuation, HttpRequest, Request, Source, Target
from unbroken.wire import Decoder, Format, Writer, anthropic
from unbroken.wire.anthropic_chat import read_chat
from unbroken.wire.asked import messages_in, read_fields
from unbroken.wire.counts import count_decoder, count_writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import join_fields, split_fields
from unbroken.wire.openai_chat_writer import write_fault

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "anthropic_count"
_COUNT = "input_tokens"
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
    messages = messages_in(fields)
    if isinstance(messages, Failure):
        return messages
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        prompt_chars=sum(len(fields.get(name, b"")) for name in ("messages", "system", "tools")),
        source=Source(NAME, fields),
        read=partial(read_chat, fields),
    )


def decoder(_request: Request, _target: Target) -> Decoder:
    """A reader of the count."""
    return count_decoder(NAME, _COUNT)


def writer(_request: Request) -> Writer:
    """A writer of the count."""
    return count_writer(NAME, _COUNT, fail=write_fault)


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
