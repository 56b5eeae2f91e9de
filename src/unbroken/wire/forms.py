"""Requests of OpenAI's that come as JSON or as a form with files: their fields, and the same for another model."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from unbroken.failures import Failure
from unbroken.wire.asked import fault_of, read_fields
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.multipart import Part, is_form, read_form, replaced, write_form

__all__ = ["fault_of_text", "fields_of", "files_of", "for_model"]


def fields_of(body: bytes, *, bare: frozenset[str] = frozenset()) -> dict[str, bytes] | Failure:
    """The fields of a body that names a model, as JSON, but for the files of a form.

    A form has only text; the fields in `bare` are numbers and flags.  A name that ends with
    `[]`, or stands there several times, is an array.
    """
    if not is_form(body):
        return read_fields(body)
    try:
        parts = [part for part in read_form(body) if not part.filename]
    except ValueError as error:
        return fault_of("", f"The body is not a valid form: {error}.")
    fields: dict[str, bytes] = {}
    for name in dict.fromkeys(part.name for part in parts):
        values = [_as_json(part, bare) for part in parts if part.name == name]
        several = len(values) > 1 or name.endswith("[]")
        fields[name.removesuffix("[]")] = b"[" + b",".join(values) + b"]" if several else values[0]
    return read_fields(join_fields(fields))


def _as_json(part: Part, bare: frozenset[str]) -> bytes:
    if part.name in bare:
        try:
            return msgspec.json.encode(msgspec.json.decode(part.data, type=int | float | bool))
        except UNREADABLE:
            pass
    return msgspec.json.encode(part.text)


def files_of(body: bytes) -> list[Part]:
    """The files of a form; none where the body is JSON."""
    return [part for part in read_form(body) if part.filename] if is_form(body) else []


def for_model(body: bytes, model: str) -> tuple[bytes, str]:
    """The same body for another model, and its content type."""
    if is_form(body):
        return write_form(replaced(read_form(body), "model", value=model))
    fields = read_fields(body)
    if isinstance(fields, Failure):
        raise ValueError(fields.message)  # noqa: TRY004 - its message names the field
    return join_fields({**fields, "model": msgspec.json.encode(model)}), JSON_TYPE


def fault_of_text(fields: Mapping[str, bytes], name: str) -> Failure | None:
    """What is wrong with a field that must hold words; None where nothing is."""
    raw = fields.get(name, b"null")
    if raw == b"null":
        return fault_of(name, "is missing", code="missing_required_parameter")
    if raw[:1] != b'"':
        return fault_of(name, "must be a string")
    return None if raw[1:-1].strip() else fault_of(name, "must not be empty")
