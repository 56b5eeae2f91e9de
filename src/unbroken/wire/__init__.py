"""The record that a wire format is, and the formats by name.

A format is a two-way codec of pure functions.  Its client side turns a `Request` into an
`HttpRequest` and the bytes of an answer into deltas or a `Failure`; its server side turns a
caller's HTTP request into a `Request` and deltas into bytes.  No function here does I/O,
and no bytes from outside make one raise: bad input is a `Failure`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol

from unbroken.failures import Failure
from unbroken.types import Continuation, Delta, HttpReply, HttpRequest, Request, Target, Task, record

__all__ = ["Decoder", "Format", "Outcome", "WriteRequest", "Writer", "format_for", "format_named"]


class Decoder(Protocol):
    """Bytes of one successful answer (status 200) in, deltas out.

    `done` turns True at the format's own end of an answer, which may come before the body ends.
    """

    done: bool

    def feed(self, data: bytes) -> list[Delta] | Failure:
        """What these bytes complete; a Failure is the last thing that a decoder says."""
        ...

    def close(self) -> list[Delta] | Failure:
        """The body is over: what is left, or TRUNCATED or MALFORMED."""
        ...


@record(kw_only=True)
class Outcome:
    """What a caller is told about how an answer came about (headers, and the last event of a stream)."""

    request_id: str
    target: str
    attempts: int
    failover: bool
    rescued: bool = False

    def headers(self) -> list[tuple[str, str]]:
        """As `x-unbroken-*` response headers."""
        return [
            ("x-request-id", self.request_id),
            ("x-unbroken-request-id", self.request_id),
            ("x-unbroken-target", self.target),
            ("x-unbroken-attempts", str(self.attempts)),
            ("x-unbroken-failover", "true" if self.failover else "false"),
        ]


class WriteRequest(Protocol):
    """A request to a target as HTTP, perhaps to go on with what another one began."""

    def __call__(self, request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
        """The HTTP request; ValueError where this format cannot say it."""
        ...


class Writer(Protocol):
    """Deltas in, bytes of an answer for one caller out."""

    content_type: str

    def write(self, deltas: Sequence[Delta]) -> bytes:
        """A step of a streamed answer."""
        ...

    def end(self, outcome: Outcome) -> bytes:
        """The proper end of a streamed answer; says in-band what happened if anything did."""
        ...

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        """A plain answer, at once."""
        ...

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        """An explicit error inside a stream that has begun; the terminator never follows it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One wire format, both sides.

    write_request  request, target, how to go on (or None) -> HttpRequest; ValueError where it cannot be said
    decoder        request, target -> Decoder of the answer
    classify       an answer that is not a 200 -> Failure
    read_request   path and body of a caller -> Request, or the Failure that says what is wrong with it
    writer         request -> Writer of the answer to that caller
    write_failure  failure, request id -> status, headers and body for that caller
    paths          where a gateway mounts the server side
    """

    name: str
    write_request: WriteRequest
    decoder: Callable[[Request, Target], Decoder]
    classify: Callable[[HttpReply], Failure]
    read_request: Callable[[str, bytes], Request | Failure] | None = None
    writer: Callable[[Request], Writer] | None = None
    write_failure: Callable[[Failure, str], tuple[int, Mapping[str, str], bytes]] | None = None
    paths: tuple[str, ...] = ()


_loaded: dict[str, Format] = {}
_MEDIA = {"openai_chat": "openai_media"}
"""Which format carries embeddings and images at a provider whose chat speaks another."""


def format_for(family: str, task: Task) -> Format:
    """The format in which a target of this family does this kind of work; KeyError where it cannot."""
    return format_named(family if task is Task.CHAT else _MEDIA[family])


def format_named(name: str) -> Format:
    """The format of this name, read from the module of this name; KeyError where there is none."""
    if name not in _loaded:
        if not name.isidentifier():
            raise KeyError(name)
        try:
            _loaded[name] = import_module(f"unbroken.wire.{name}").FORMAT
        except (ImportError, AttributeError):
            raise KeyError(name) from None
    return _loaded[name]
