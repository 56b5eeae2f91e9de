"""Ollama's older way to ask for a vector, for callers only: what /api/embeddings speaks, one text at a time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, Request
from unbroken.wire import Format, Outcome, Writer, ollama_embeddings
from unbroken.wire.asked import fault_of, read_fields
from unbroken.wire.framing import join_fields
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.ollama_writer import broken
from unbroken.wire.whole import WholeWriter

__all__ = ["FORMAT", "NAME", "read_request", "writer"]

NAME = "ollama_embedding"
_FORMAT = ollama_embeddings.FORMAT


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    prompt = fields.pop("prompt", b"null")
    if prompt[:1] != b'"' or not prompt[1:-1].strip():
        return fault_of("prompt", "must be a text")
    return ollama_embeddings.read_request("", join_fields({**fields, "input": prompt}))


def writer(request: Request) -> Writer:
    """A writer of the vector."""
    assert _FORMAT.writer is not None
    several = _FORMAT.writer(request)

    def write(deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        vectors = msgspec.json.decode(several.whole(deltas, outcome), type=_Vectors).embeddings
        return b'{"embedding":' + (bytes(vectors[0]) if vectors else b"[]") + b"}"

    return WholeWriter(JSON_TYPE, write, fail=broken)


class _Vectors(msgspec.Struct):
    embeddings: list[msgspec.Raw] = []


FORMAT = Format(
    name=NAME,
    write_request=_FORMAT.write_request,
    decoder=_FORMAT.decoder,
    classify=_FORMAT.classify,
    read_request=read_request,
    writer=writer,
    write_failure=_FORMAT.write_failure,
    paths=("/api/embeddings",),
)
