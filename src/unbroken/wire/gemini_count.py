"""How many tokens a conversation is, in Gemini's format, both sides: what `:countTokens` speaks.

    {"contents"}                               the conversation alone
    {"generateContentRequest": {"contents"}}   with all that steers its answer, for the Gemini API
    {"contents", "systemInstruction", ...}     the same for Vertex AI

Inside, the body is always that of generateContent.  An answer is a count and nothing else, so
its one delta has the count as usage.
"""

from __future__ import annotations

from functools import partial

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Continuation, HttpRequest, Request, Source, Target
from unbroken.wire import Decoder, Format, Writer, gemini
from unbroken.wire.asked import fault_of, read_body
from unbroken.wire.counts import count_decoder, count_writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import join_fields, split_fields
from unbroken.wire.gemini_messages import read_chat
from unbroken.wire.gemini_place import is_vertex, model_and_verb, paths
from unbroken.wire.gemini_writer import write_failure
from unbroken.wire.openai_chat_writer import write_fault

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "gemini_count"
_COUNT = "totalTokens"
_VERB = "countTokens"
_WHOLE = "generateContentRequest"
_WHOLE_AS_IN_PROTO = "generate_content_request"
_encode = msgspec.json.encode


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The question to this target; ValueError where the conversation cannot be said in this format."""
    del continuation  # nothing is shown that could be gone on with
    source = request.source
    if source is not None and source.format == NAME:
        request = replace(request, source=Source(gemini.FORMAT.name, source.fields))
    asked = gemini.write_request(replace(request, stream=False), target)
    where, mark, query = asked.url.partition("?")
    url = f"{where.rpartition(':')[0]}:{_VERB}{mark}{query}"
    return replace(asked, url=url, body=asked.body if is_vertex(target) else _wrapped(asked.body, target))


def _wrapped(body: bytes, target: Target) -> bytes:
    """The body as the Gemini API counts it, which wants the model named once more."""
    model = _encode(f"models/{target.model.removeprefix('models/')}")
    return join_fields({_WHOLE: join_fields({"model": model, **split_fields(body)})})


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    model, _ = model_and_verb(path)
    fields = read_body(body)
    if isinstance(fields, Failure):
        return fields
    if (whole := fields.get(_WHOLE) or fields.get(_WHOLE_AS_IN_PROTO)) is not None:
        fields = read_body(whole)
        if isinstance(fields, Failure):
            return fault_of(_WHOLE, "must be an object")
    fields = {name: raw for name, raw in fields.items() if name != "model"}
    contents = fields.get("contents", b"").strip()
    if contents[:1] not in (b"[", b"{") or not contents[1:-1].strip():
        return fault_of("contents", "must be an array with at least one content")
    return Request(
        model=model,
        prompt_chars=sum(map(len, fields.values())),
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
    write_failure=write_failure,
    paths=paths(_VERB),
)
