"""The record that a wire format is, and the formats by name.

A format is a two-way codec of pure functions.  Its client side turns a `Request` into an
`HttpRequest` and the bytes of an answer into deltas or a `Failure`; its server side turns a
caller's HTTP request into a `Request` and deltas into bytes.  No function here does I/O,
and no bytes from outside make one raise: bad input is a `Failure`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol
from urllib.parse import unquote

from unbroken.failures import Failure
from unbroken.records import Record
from unbroken.types import Continuation, Delta, HttpReply, HttpRequest, Json, Request, Target, Task

__all__ = [
    "FORMATS",
    "Decoder",
    "Format",
    "Mounts",
    "Next",
    "Outcome",
    "Unsaid",
    "WriteRequest",
    "Writer",
    "format_for",
    "format_named",
    "path_values",
]


class Decoder(Protocol):
    """Bytes of one successful answer (status 200) in, deltas out.

    `done` turns True at the format's own end of an answer, which may come before the body ends.
    One that wants to see status and headers first has `head(status, headers)` too.
    """

    done: bool

    def feed(self, data: bytes) -> list[Delta] | Failure:
        """What these bytes complete; a Failure is the last thing that a decoder says."""
        ...

    def close(self) -> list[Delta] | Failure | Next:
        """The body is over: what is left, or TRUNCATED or MALFORMED, or what to ask next."""
        ...


class Next(Record, kw_only=True):
    """What has to be asked before there is an answer: how a job stands, or the bytes of its result.

    `request` goes out `after_s` seconds from now, and a `decoder()` reads what it brings; `deltas`
    are known already (progress).  It only asks: where it fails for want of a connection or of
    the provider's health it is asked again.
    """

    request: HttpRequest
    decoder: Callable[[], Decoder]
    after_s: float = 0.0
    deltas: tuple[Delta, ...] = ()


class Outcome(Record, kw_only=True):
    """What a caller is told about how an answer came about (headers, and the last event of a stream).

    `cache` is hit, stale, semantic, merged or miss on a route that keeps answers, else empty;
    `age_s` is how old a kept answer is, in seconds.
    """

    request_id: str
    target: str
    attempts: int
    failover: bool
    rescued: bool = False
    left_out: tuple[str, ...] = ()
    cache: str = ""
    age_s: float = 0.0

    @property
    def notable(self) -> bool:
        """Whether anything happened on the way that a stream should speak of at its end."""
        return self.failover or self.rescued or self.attempts > 1 or self.cache == "stale"

    def told(self) -> dict[str, Json]:
        """As the `unbroken` object of a body or a stream's last event."""
        told = {name: getattr(self, name) for name in ("request_id", "target", "attempts", "failover", "rescued")}
        if self.left_out:
            told["left_out"] = self.left_out
        return {**told, "cache": self.cache, "age_s": int(self.age_s)} if self.cache else told

    def headers(self) -> list[tuple[str, str]]:
        """As `x-unbroken-*` response headers; the age of a kept answer as HTTP's own `age`."""
        more = [("x-unbroken-left-out", ", ".join(self.left_out))] if self.left_out else []
        if self.cache:
            more.append(("x-unbroken-cache", self.cache))
        if self.age_s:
            more.append(("age", str(int(self.age_s))))
        return [
            *more,
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
    paths          where a gateway mounts the server side; `{model}` stands for one or more segments
    methods        with which it is asked there
    good           statuses of an answer that a decoder reads; all others are classified
    """

    name: str
    write_request: WriteRequest
    decoder: Callable[[Request, Target], Decoder]
    classify: Callable[[HttpReply], Failure]
    read_request: Callable[[str, bytes], Request | Failure] | None = None
    writer: Callable[[Request], Writer] | None = None
    write_failure: Callable[[Failure, str], tuple[int, Mapping[str, str], bytes]] | None = None
    paths: tuple[str, ...] = ()
    methods: tuple[str, ...] = ("POST",)
    good: frozenset[int] = frozenset((200,))


class Unsaid:
    """What a format leaves out of a request, because it has no words for it."""

    __slots__ = ("_may_drop", "_words", "names")

    def __init__(self, target: Target, words: str) -> None:
        self._may_drop, self._words = target.may_drop, words
        self.names: list[str] = []

    def hint(self, *names: str) -> None:
        """These change no answer: they are left out and reported."""
        self.names += names

    def lack(self, name: str, why: str = "") -> None:
        """This changes the answer: ValueError, unless it may be dropped here."""
        if name not in self._may_drop and "*" not in self._may_drop:
            raise ValueError(f"{self._words} has no {name}{f': {why}' if why else ''}")
        self.names.append(name)


_loaded: dict[str, Format] = {}
FORMATS = (
    "openai_chat",
    "openai_responses",
    "openai_completions",
    "openai_embeddings",
    "openai_images",
    "openai_audio",
    "openai_videos",
    "anthropic",
    "gemini",
    "gemini_media",
    "bedrock",
    "ollama",
    "ollama_embeddings",
    "cohere",
    "cohere_embeddings",
    "huggingface",
    "pollinations",
)
"""All formats by name."""

_OPENAI = {
    Task.EMBEDDING: "openai_embeddings",
    Task.IMAGE: "openai_images",
    Task.SPEECH: "openai_audio",
    Task.TRANSCRIPTION: "openai_audio",
    Task.VIDEO: "openai_videos",
}
_FAMILIES: Mapping[str, Mapping[Task, str]] = {
    "openai_chat": _OPENAI,
    "openai_responses": _OPENAI,
    "openai_completions": _OPENAI,
    "gemini": {Task.EMBEDDING: "gemini_media", Task.IMAGE: "gemini_media", Task.VIDEO: "gemini_media"},
    "ollama": {Task.EMBEDDING: "ollama_embeddings"},
    "cohere": {Task.EMBEDDING: "cohere_embeddings"},
    "huggingface": {
        Task.CHAT: "openai_chat",
        Task.EMBEDDING: "huggingface",
        Task.IMAGE: "huggingface",
        Task.VIDEO: "huggingface",
    },
    "pollinations": {
        **_OPENAI,
        Task.CHAT: "openai_chat",
        Task.IMAGE: "pollinations",
        Task.VIDEO: "pollinations",
    },
}
"""Which format a family speaks for each kind of work; for chat its own unless it is said here."""


def format_for(family: str, task: Task) -> Format:
    """The format in which a target of this family does this kind of work; KeyError where it cannot."""
    name = _FAMILIES.get(family, _NOTHING).get(task) or (family if task is Task.CHAT else None)
    if name is None:
        raise KeyError(f"{family} does no {task} work")
    return format_named(name)


_NOTHING: Mapping[Task, str] = {}


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


class Mounts:
    """Where server sides are mounted: which format is spoken at a path."""

    def __init__(self, formats: Iterable[Format]) -> None:
        mounted = [(path, spoken) for spoken in formats for path in spoken.paths]
        self._exact = {path: spoken for path, spoken in mounted if "{" not in path}
        self._patterns = [(_pattern(path), spoken) for path, spoken in mounted if "{" in path]

    def at(self, path: str) -> Format | None:
        """The format at a path (what follows a `?` is not looked at), None where there is none."""
        path = path.partition("?")[0]
        found = self._exact.get(path)
        if found is not None:
            return found
        return next((spoken for pattern, spoken in self._patterns if pattern.fullmatch(path)), None)


def path_values(template: str, path: str) -> Mapping[str, str] | None:
    """What stands in a path where its template has `{names}`, unquoted; None where they do not match."""
    found = _pattern(template).fullmatch(path.partition("?")[0])
    return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}


def _pattern(template: str) -> re.Pattern[str]:
    """Names may have slashes in them; ids have none."""
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile(
        "".join(f"(?P<{part}>{_VALUES.get(part, '.+?')})" if n % 2 else re.escape(part) for n, part in enumerate(parts))
    )


_VALUES: Mapping[str, str] = {"id": "[^/]+"}
