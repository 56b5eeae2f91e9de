"""What readers of answers share: foreign JSON, read with patience, and the failure that it is where it is no answer."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Json
from unbroken.wire.errors import classify_event
from unbroken.wire.framing import UNREADABLE

__all__ = ["BLANK", "HTML", "count_of", "fault_in", "malformed", "read_as", "read_json", "read_object", "string_of"]

BLANK = b" \t\r\n\xef\xbb\xbf"
"""What may stand before an answer: white space that keeps a connection alive, and a byte order mark."""
HTML = "an HTML page came in place of an answer"

_COUNT_MAX = 10**15
"""More tokens than there are; it fits into any ledger's numbers."""

Shape = TypeVar("Shape")


def string_of(value: Json) -> str:
    """A text; empty where it is something else."""
    return value if isinstance(value, str) else ""


def count_of(value: Json) -> int:
    """A number of tokens, which some write as 12.0; 0 where it is something else."""
    if type(value) is int:
        return value if 0 < value < _COUNT_MAX else 0
    return int(value) if type(value) is float and 0 < value < _COUNT_MAX else 0


def malformed(message: str) -> Failure:
    """The failure of an answer that cannot be read."""
    return Failure(kind=FailureKind.MALFORMED, message=message)


def fault_in(value: Json | Failure, what: str) -> Failure:
    """What is wrong with something that is no answer: why it is no JSON, the error that it holds, or else `what`."""
    return value if isinstance(value, Failure) else classify_event(value) or malformed(what)


def read_json(payload: bytes) -> Json | Failure:
    """Any JSON value, read with patience (raw control characters, lone surrogates); MALFORMED where it is none."""
    try:
        return _mend(json.loads(payload.decode("utf-8", "replace"), strict=False))
    except UNREADABLE:
        if payload[:1] == b"<":
            return malformed(HTML)
        return malformed("the answer is empty" if not payload.strip() else "the answer is not valid JSON")


def _mend(value: Json) -> Json:
    """The same value with lone surrogates replaced: no encoder would take them."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value


def read_object(payload: bytes) -> dict[str, Any] | Failure:
    """An object, read with patience; the failure that it reports, or MALFORMED where it is none."""
    value = read_json(payload)
    if isinstance(value, Failure):
        return value
    failure = classify_event(value)
    if failure is not None:
        return failure
    return value if isinstance(value, dict) else malformed("the answer is not a JSON object")


def read_as(reader: msgspec.json.Decoder[Shape], payload: bytes | msgspec.Raw) -> Shape | Failure:
    """JSON in the shape that is expected, mended where it is not quite right; else the failure that it is."""
    try:
        return reader.decode(payload)
    except UNREADABLE:
        value = read_json(bytes(payload))
    if isinstance(value, Failure):
        return value
    try:
        return reader.decode(msgspec.json.encode(value))
    except UNREADABLE:
        return fault_in(value, "the answer has the wrong shape")
