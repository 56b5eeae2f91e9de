"""What the readers of all keepers have in common: what they give, and how they say that they cannot.

A reader is called in a thread, one call at a time; it may block for as long as its client's
own time limits say, and what it raises is shown to operators, so no secret may be in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["CONNECT_S", "READ_S", "Held", "Source", "Unreadable", "field_of", "held"]

CONNECT_S = 3.0
"""How long a keeper may take to accept a connection, and ..."""
READ_S = 6.0
"""... to answer; a request is waiting."""
KEY_CHARS_MAX = 16 * 1024
"""Longer than any key or token: something else was read."""


class Unreadable(Exception):
    """There is no key there, with the reason in words that may be shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """A key as it was read; no part of it is in its repr.

    `until` is when it ends, in seconds since 1970; None where its keeper does not say.
    `key_id` and `session` are there where it signs requests instead of being sent.
    """

    key: str = field(repr=False)
    until: float | None = None
    key_id: str = field(default="", repr=False)
    session: str = field(default="", repr=False)


class Source(Protocol):
    """Reads one key."""

    def read(self, *, anew: bool) -> Held:
        """The key of this moment; `anew` where the last one was refused, so that no cache may answer.

        Raises Unreadable.
        """
        ...


def held(text: str, *, until: float | None = None) -> Held:
    """A key that was read as text; Unreadable where it cannot be one, since it has to fit into a header."""
    key = text.strip()
    if not key:
        raise Unreadable("it is empty")
    if len(key) > KEY_CHARS_MAX:
        raise Unreadable(f"it is longer than {KEY_CHARS_MAX} characters, so it is no key")
    if not (key.isascii() and key.isprintable()):
        raise Unreadable("it is no key: it has more than one line, or characters that no header can hold")
    return Held(key=key, until=until)


def field_of(secret: object, name: str) -> str:
    """One field of a secret that has several, or the only one where no name is given; raises Unreadable."""
    if isinstance(secret, str):
        try:
            secret = json.loads(secret)
        except ValueError:
            secret = None
    if not isinstance(secret, dict):
        raise Unreadable(f"it has no field {name!r}: it is no JSON object")
    if not name and len(secret) == 1:
        name = next(iter(secret))
    if not isinstance(found := secret.get(name), str):
        wanted = f"no text in a field {name!r}" if name else "several fields, and the reference names none"
        raise Unreadable(f"it has {wanted}; there are: {', '.join(map(str, secret)) or 'none'}")
    return found
