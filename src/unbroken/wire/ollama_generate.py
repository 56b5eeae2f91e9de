"""Ollama's older way to ask, for callers only: what /api/generate speaks, a prompt in place of a conversation.

A caller's body becomes one of /api/chat: system words and a turn of the user's.  What depends on
the model being at hand (`suffix`, `template`, the tokens in `context`) is refused; under `raw` the
prompt is all that is said, as at Ollama.  To providers it is a chat like any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, Request
from unbroken.wire import Format, Outcome, Writer, ollama
from unbroken.wire.asked import fault_of, read_fields
from unbroken.wire.framing import UNREADABLE, join_fields

__all__ = ["FORMAT", "NAME", "read_request", "writer"]

NAME = "ollama_generate"
_STEERS = ("model", "stream", "format", "options", "think", "keep_alive", "logprobs", "top_logprobs", "truncate")
"""Fields that /api/chat takes as they are."""
_NEEDS_THE_MODEL = {"suffix": "", "template": "", "context": []}
"""Fields that only somebody with the model itself can do justice, with the values that say nothing."""
_encode = msgspec.json.encode

Object = dict[str, Any]


class _Asked(msgspec.Struct):
    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    raw: bool | None = None


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    for name, nothing in _NEEDS_THE_MODEL.items():
        if fields.get(name, b"null") not in (b"null", _encode(nothing)):
            return fault_of(name, "cannot be said to models that are elsewhere", code="unsupported_parameter")
    try:
        asked = msgspec.json.decode(body, type=_Asked)
    except UNREADABLE as error:
        return fault_of("", f"The body has the wrong shape: {error}.")
    steers = {name: fields[name] for name in _STEERS if name in fields}
    return ollama.read_request("", join_fields({**steers, "messages": _encode(_messages(asked))}))


def _messages(asked: _Asked) -> list[Object]:
    system = "" if asked.raw else asked.system
    turn: Object = {"role": "user", "content": asked.prompt or ""}
    if asked.images:
        turn["images"] = asked.images
    return [*([{"role": "system", "content": system}] if system else []), turn]


class _Responses:
    """What the writer of a chat writes, with the words where /api/generate has them."""

    __slots__ = ("_chat", "content_type")

    def __init__(self, chat: Writer) -> None:
        self._chat = chat
        self.content_type = chat.content_type

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return _retold(self._chat.write(deltas))

    def end(self, outcome: Outcome) -> bytes:
        return _retold(self._chat.end(outcome))

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return _retold(self._chat.whole(deltas, outcome))

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return self._chat.broken(failure, outcome)


def _retold(lines: bytes) -> bytes:
    return b"".join([_line(line) for line in lines.splitlines(keepends=True)])


def _line(line: bytes) -> bytes:
    try:
        value = msgspec.json.decode(line, type=dict[str, Any])
    except UNREADABLE:
        return line
    said = value.pop("message", None)
    words: Mapping[str, Any] = said if isinstance(said, dict) else {}
    thinking = {"thinking": words["thinking"]} if words.get("thinking") else {}
    retold = {"response": words.get("content") or "", **thinking, **value}
    return _encode(retold) + (b"\n" if line.endswith(b"\n") else b"")


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    chat = ollama.FORMAT.writer
    assert chat is not None
    return _Responses(chat(request))


FORMAT = Format(
    name=NAME,
    write_request=ollama.FORMAT.write_request,
    decoder=ollama.FORMAT.decoder,
    classify=ollama.FORMAT.classify,
    read_request=read_request,
    writer=writer,
    write_failure=ollama.FORMAT.write_failure,
    paths=("/api/generate",),
)
