"""Forms with files (multipart/form-data), read whole and written whole.

    read_form(body) -> [Part]                  the boundary is what the body begins with
    write_form(parts) -> body, content type    the boundary follows from what is in it

A part that was read goes out again with the very headers it came with.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from urllib.parse import unquote

from unbroken.records import Record

__all__ = ["Part", "is_form", "read_form", "replaced", "write_form"]

PARTS_MAX = 256
"""A form has a dozen fields and a few files."""
_BOUNDARY = re.compile(rb"--([0-9A-Za-z'()+_,./:=? -]{0,99}[0-9A-Za-z'()+_,./:=?-])[ \t]*\r\n")
_DISPOSITION = re.compile(r"^content-disposition:(.*)$", re.IGNORECASE | re.MULTILINE)
_TYPE = re.compile(r"^content-type:\s*(\S[^\r\n]*?)\s*$", re.IGNORECASE | re.MULTILINE)
_VALUE = re.compile(r""";\s*(name|filename)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;"]+))""", re.IGNORECASE)
_VALUE_UTF8 = re.compile(r";\s*filename\*\s*=\s*utf-8''([^\s;]+)", re.IGNORECASE)
_ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})


class Part(Record, kw_only=True):
    """One field of a form; with a `filename` it is a file.  `head` are its headers, where it was read."""

    name: str
    data: bytes
    filename: str = ""
    content_type: str = ""
    head: bytes = b""

    @property
    def text(self) -> str:
        """The value of a field that is no file."""
        return self.data.decode("utf-8", "replace")


def is_form(body: bytes) -> bool:
    """Whether a body can only be a form: JSON does not begin with two dashes."""
    return body.startswith(b"--")


def read_form(body: bytes) -> list[Part]:
    """The fields in their order; ValueError where the body is not a form, or not a whole one."""
    found = _BOUNDARY.match(body)
    if found is None:
        raise ValueError("the body does not begin with a boundary")
    line = b"\r\n--" + found[1]
    pieces = (b"\r\n" + body).split(line, PARTS_MAX + 2)
    if len(pieces) > PARTS_MAX + 2:
        raise ValueError(f"the form has more than {PARTS_MAX} fields")
    if not pieces[-1].startswith(b"--"):
        raise ValueError("the form breaks off before its end")
    return [_read_part(piece) for piece in pieces[1:-1]]


def _read_part(piece: bytes) -> Part:
    head, found, data = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
    words = head.decode("utf-8", "replace").replace("\r\n", "\n")
    disposition = _DISPOSITION.search(words)
    named = {m[1].lower(): m[2] or m[3] or "" for m in _VALUE.finditer(disposition[1] if disposition else "")}
    if not found or "name" not in named:
        raise ValueError("a field of the form has no name")
    if disposition and (better := _VALUE_UTF8.search(disposition[1])):
        named["filename"] = unquote(better[1])
    said = _TYPE.search(words)
    return Part(
        name=named["name"], data=data, filename=named.get("filename", ""), content_type=said[1] if said else "",
        head=head,
    )  # fmt: skip


def replaced(parts: Sequence[Part], name: str, *, value: str) -> list[Part]:
    """The same form with another value for one field, which is added where it is missing."""
    data = value.encode()
    if not any(part.name == name for part in parts):
        return [Part(name=name, data=data), *parts]
    return [Part(name=name, data=data, head=part.head) if part.name == name else part for part in parts]


def write_form(parts: Sequence[Part]) -> tuple[bytes, str]:
    """Body and content type; the same parts give the same bytes, so that a request can be sent again."""
    pieces = [_write_part(part) for part in parts]
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(b"%d:" % len(piece))
        digest.update(piece)
    boundary = f"unbroken-{digest.hexdigest()[:40]}"
    line = f"--{boundary}".encode()
    body = b"".join([line + b"\r\n" + piece + b"\r\n" for piece in pieces]) + line + b"--\r\n"
    return body, f"multipart/form-data; boundary={boundary}"


def _write_part(part: Part) -> bytes:
    head = part.head
    if not head:
        words = f'Content-Disposition: form-data; name="{part.name.translate(_ESCAPES)}"'
        if part.filename:
            words += f'; filename="{part.filename.translate(_ESCAPES)}"'
        if part.content_type:
            words += f"\r\nContent-Type: {part.content_type}"
        head = words.encode()
    return head + b"\r\n\r\n" + part.data
