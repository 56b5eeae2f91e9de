"""What callers ask in any format: the fields of a body and what is wrong with them; and how a cut answer goes on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, TypeVar

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Continuation, Json, Mode, anchor_of
from unbroken.wire.framing import UNREADABLE, split_fields

__all__ = [
    "FLAGS",
    "NO_NEEDS",
    "ask_to_go_on",
    "decoded",
    "fault_of",
    "go_on",
    "is_filled",
    "messages_in",
    "number_in",
    "read_body",
    "read_fields",
    "shaped",
    "value_in",
]

Shape = TypeVar("Shape")
FLAGS = {b"true": True, b"false": False, b"null": False}
NO_NEEDS: frozenset[str] = frozenset()
_decode_any = msgspec.json.Decoder().decode
_decode_str = msgspec.json.Decoder(str).decode

# ------------------------------------------------------------------- what is wrong


def fault_of(param: str, what: str, *, code: str = "invalid_value") -> Failure:
    """The failure that tells a caller which field is wrong, and how."""
    message = f"'{param}' {what}." if param else what
    return Failure(
        kind=FailureKind.REQUEST, message=message, code=code, type="invalid_request_error", param=param or None
    )


# ------------------------------------------------------------------------- fields


def read_body(body: bytes) -> dict[str, bytes] | Failure:
    """The fields of a caller's body, which must be an object."""
    try:
        return split_fields(body)
    except msgspec.ValidationError:
        return fault_of("", "The body must be a JSON object.")
    except UNREADABLE as error:
        return fault_of("", f"The body is not valid JSON: {error}.", code="invalid_json")


def read_fields(body: bytes) -> dict[str, bytes] | Failure:
    """The fields of a caller's body, which must be an object and name a model."""
    fields = read_body(body)
    if isinstance(fields, Failure):
        return fields
    if "model" not in fields:
        return fault_of("model", "is missing", code="missing_required_parameter")
    try:
        named = _decode_str(fields["model"])
    except UNREADABLE:
        named = ""
    return fields if named else fault_of("model", "must be a string that names a model")


is_filled = re.compile(rb"\[\s*[^\s\]]").match
"""Whether a field is an array with something in it."""


def messages_in(fields: Mapping[str, bytes]) -> bytes | Failure:
    """The conversation as it stands in the body."""
    messages = fields.get("messages")
    if messages is None:
        return fault_of("messages", "is missing", code="missing_required_parameter")
    if is_filled(messages) is None:
        return fault_of("messages", "must be an array with at least one message")
    return messages


def value_in(fields: Mapping[str, bytes], name: str) -> Json:
    """A field; None where it is absent or unreadable, which the provider may complain about."""
    try:
        return _decode_any(fields.get(name, b"null"))
    except UNREADABLE:
        return None


def decoded(fields: Mapping[str, bytes], *, but: Collection[str] = ()) -> dict[str, Any]:
    """The values of all fields but those named; ValueError where one is no JSON."""
    try:
        return {name: _decode_any(raw) for name, raw in fields.items() if name not in but}
    except UNREADABLE as error:
        raise ValueError(f"the body is not valid JSON: {error}") from None


def shaped(value: Json, kind: type[Shape], *, where: str) -> Shape:
    """A value of this shape; ValueError that says where it is not."""
    try:
        return msgspec.convert(value, kind)
    except UNREADABLE as error:
        raise ValueError(f"'{where}' has the wrong shape: {error}") from None


def number_in(fields: Mapping[str, bytes], name: str) -> int | float | None:
    """A number; None where it is absent or of another type, which the provider may complain about."""
    raw = fields.get(name)
    if raw is None or raw[:1] not in _DIGITS:
        return None
    value: int | float | None = value_in(fields, name)
    return value


_DIGITS = frozenset((b"-", *(b"%d" % digit for digit in range(10))))


# ------------------------------------------------------------------------ going on

_ASK = (
    "Your answer was cut off before its end. Go on with it exactly where it stopped. "
    'Begin by repeating, word for word, its last words: "{anchor}" '
    "Write nothing before them: no greeting, no apology, no comment. "
    "After them continue in the same language and style to the end of the answer, and repeat nothing else."
)
_ASK_BLANK = "Your answer was cut off before its first words. Write it now, without any comment about that."


def go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append to the messages what the caller has seen, and where the target has to be asked, the asking."""
    more = [{"role": "assistant", "content": continuation.text}]
    if continuation.mode is Mode.ASK:
        more.append({"role": "user", "content": ask_to_go_on(continuation.text)})
    fields["messages"] = fields["messages"].rstrip()[:-1] + b"," + msgspec.json.encode(more)[1:]


def ask_to_go_on(text: str) -> str:
    """The words that bring a model to go on where this text of its stops, after repeating its last words."""
    anchor = anchor_of(text)
    return _ASK.format(anchor=anchor) if anchor else _ASK_BLANK
