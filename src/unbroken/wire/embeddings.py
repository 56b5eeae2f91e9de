"""Vectors of texts: what the formats that ask for them and answer with them whole have in common."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, HttpRequest, Json, Request, Target, Usage
from unbroken.wire import Decoder, Unsaid
from unbroken.wire.framing import join_fields
from unbroken.wire.http import post
from unbroken.wire.whole import Whole
from unbroken.work import Texts

__all__ = ["Read", "packed", "unpacked", "usage_of", "vectors_decoder", "vectors_of", "write_embedding"]

_encode = msgspec.json.encode


class Read(Protocol):
    """Reads an answer; its `vectors` only where they are wanted."""

    def __call__(self, body: bytes, *, vectors: bool) -> list[Delta] | Failure: ...


def write_embedding(
    request: Request,
    target: Target,
    *,
    path: str,
    name: str,
    unsaid: Unsaid,
    write: Callable[[Texts], dict[str, Json]],
) -> HttpRequest:
    """The caller's own fields with another model, or what `write` says of the texts; ValueError where it cannot."""
    source = request.source
    model = _encode(target.model)
    if source is not None and source.format == name:
        return post(target, path, body=join_fields({**source.fields, "model": model}))
    fields = {field: _encode(value) for field, value in write(request.work_as(Texts)).items() if value is not None}
    return post(target, path, body=join_fields({"model": model, **fields}), unsaid=tuple(unsaid.names))


def vectors_decoder(request: Request, name: str, *, read: Read) -> Decoder:
    """A reader of the answer; the vectors are looked at only for a caller of another format than `name`."""
    own = request.source is not None and request.source.format == name
    return Whole(partial(read, vectors=not own))


def vectors_of(deltas: Sequence[Delta]) -> list[Sequence[float]]:
    """All vectors of an answer, in the order of their texts."""
    return [output.vector for delta in deltas for output in delta.outputs]


def usage_of(deltas: Sequence[Delta]) -> Usage:
    """What an answer took; nothing where it does not say."""
    return next((delta.usage for delta in deltas if delta.usage), None) or Usage()


def packed(vector: Sequence[float]) -> str:
    """A vector as base64 of little-endian 32-bit floats."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def unpacked(text: str) -> tuple[float, ...]:
    """A vector from base64 of little-endian 32-bit floats; ValueError where it is not one."""
    data = base64.b64decode(text, validate=True)
    if len(data) % 4:
        raise ValueError("not a vector of 32-bit floats")
    vector = struct.unpack(f"<{len(data) // 4}f", data)
    if not all(map(math.isfinite, vector)):
        raise ValueError("a vector with a number that is none")
    return vector
