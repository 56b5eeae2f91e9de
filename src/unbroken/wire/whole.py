"""Answers that come as one body: collected, then read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mypy_extensions import mypyc_attr

from unbroken.failures import Failure
from unbroken.types import Delta
from unbroken.wire import Next, Outcome
from unbroken.wire.reading import malformed

__all__ = ["BODY_BYTES_MAX", "Whole", "WholeWriter", "passed_on"]

BODY_BYTES_MAX = 64 * 1024 * 1024
"""The longest plain answer: ten large images in base64; more is not an answer but an accident."""


@mypyc_attr(allow_interpreted_subclasses=True)
class Whole:
    """A decoder that gives its reader the body when it is complete."""

    __slots__ = ("_bytes_max", "_parts", "_read", "_size", "done")

    def __init__(
        self, read: Callable[[bytes], list[Delta] | Failure | Next], *, bytes_max: int = BODY_BYTES_MAX
    ) -> None:
        self.done = False
        self._read, self._bytes_max = read, bytes_max
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Delta] | Failure:
        self._size += len(data)
        if self._size > self._bytes_max:
            self._parts.clear()
            return malformed(f"the answer is longer than {self._bytes_max} bytes")
        self._parts.append(data)
        return []

    def close(self) -> list[Delta] | Failure | Next:
        found = self._read(b"".join(self._parts))
        self.done = isinstance(found, list)
        return found


class WholeWriter:
    """A writer of answers that are one body; `write` makes it of all deltas, `fail` of a failure."""

    __slots__ = ("_fail", "_write", "content_type")

    def __init__(
        self,
        content_type: str,
        write: Callable[[Sequence[Delta], Outcome], bytes],
        *,
        fail: Callable[[Failure, Outcome], bytes],
    ) -> None:
        self.content_type = content_type
        self._write, self._fail = write, fail

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b""

    def end(self, outcome: Outcome) -> bytes:
        return b""

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return self._write(deltas, outcome)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return self._fail(failure, outcome)


def passed_on(deltas: Sequence[Delta], name: str) -> bytes:
    """The body that these deltas came in, where it is of this format and nobody changed them; else nothing."""
    if not deltas:
        return b""
    first = deltas[0]
    if not first.body or first.format != name:
        return b""
    own = len(deltas) == 1 or not any(d.raw or d.choice == first.choice for d in deltas[1:])
    return first.raw if own else b""
