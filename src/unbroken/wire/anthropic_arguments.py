"""The arguments of a call: an object in Anthropic's format, JSON text in ours, as models write it.

    arguments_of(raw) -> text    an `input` as it stood in a body
    input_of(text) -> Raw        the text as an `input`, every number as it was written

A model may write what is no JSON object.  Anthropic's advice for handing that back to it is an
object with the one field `INVALID_JSON`; it is taken for the text again where it comes back.
"""

from __future__ import annotations

import msgspec

from unbroken.types import Json
from unbroken.wire.framing import UNREADABLE

__all__ = ["arguments_of", "input_of"]

_WRAP = "INVALID_JSON"
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode = msgspec.json.decode


def arguments_of(raw: bytes) -> str:
    """JSON text of an input; of nothing at all it is an empty object."""
    text = raw.decode("utf-8", "replace").strip()
    if _WRAP in text:
        wrapped = _decoded(raw)
        if isinstance(wrapped, dict) and len(wrapped) == 1 and isinstance(wrapped.get(_WRAP), str):
            return str(wrapped[_WRAP])
    return "{}" if text in ("", "null") else text


def input_of(arguments: str) -> msgspec.Raw:
    """The object that these arguments are; blank ones are empty, and what is none is wrapped."""
    raw = arguments.strip().encode("utf-8", "replace")
    if not raw:
        return msgspec.Raw(b"{}")
    try:
        _FIELDS.decode(raw)
    except UNREADABLE:
        return msgspec.Raw(msgspec.json.encode({_WRAP: arguments.encode("utf-8", "replace").decode()}))
    return msgspec.Raw(raw)


def _decoded(raw: bytes) -> Json:
    try:
        return _decode(raw)
    except UNREADABLE:
        return None
