"""Answers that come as one body: collected, then read at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Json
from unbroken.wire import Next, Outcome
from unbroken.wire.errors import classify_event

__all__ = ["BODY_BYTES_MAX", "Whole", "WholeWriter", "fault_in", "malformed"]

BODY_BYTES_MAX = 64 * 1024 * 1024
"""The longest plain answer: ten large images in base64; more is not an answer but an accident."""


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


def fault_in(value: Json, what: str) -> Failure:
    """What is wrong with a decoded body that is not an answer: the error that it holds, or its shape."""
    return classify_event(value) or malformed(what)


def malformed(message: str) -> Failure:
    """The failure of an answer that cannot be read."""
    return Failure(kind=FailureKind.MALFORMED, message=message)
