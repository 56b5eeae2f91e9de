"""A caller like any other: one streamed chat over HTTP, heard word by word.

The demo's traffic and `unbroken chat --url` use it.  It is strict where clients are: an
answer without its terminator is a broken one.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools
import msgspec

from unbroken.types import Json

__all__ = ["Call", "Exchange"]

_READ_BYTES = 65_536
Exchange = Callable[["Call", bytes], AsyncIterator[bytes]]
"""Takes a call and the body of its request; sets the call's status and headers, gives the answer's bytes."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One streamed chat: iterate over `words()`, then read how it went.

    `error` is what the caller was told went wrong, None for a whole answer.  `told` is what
    the gateway says about itself in the last event.  `chars` were heard so far.
    """

    url: str
    model: str
    messages: list[dict[str, str]]
    key: str = ""
    max_tokens: int | None = None
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    chars: int = 0
    finish: str = ""
    error: str | None = None
    told: Mapping[str, Json] = field(default_factory=dict)
    _done: bool = False

    async def words(self, exchange: Exchange | None = None) -> AsyncIterator[str]:
        """The answer's text as it comes; never raises for what the network does.

        `exchange` carries the request and its answer; over HTTP unless given.
        """
        request = {"model": self.model, "stream": True, "messages": self.messages}
        if self.max_tokens is not None:
            request["max_tokens"] = self.max_tokens
        unread = b""
        try:
            async for data in (exchange or _post)(self, msgspec.json.encode(request)):
                *events, unread = (unread + data).split(b"\n\n")
                for event in events:
                    if text := self._hear(event):
                        self.chars += len(text)
                        yield text
        except (OSError, EOFError, ValueError, httptools.HttpParserError) as broken:
            self.error = self.error or _plain(broken, self.url)
        if self.error is None and self.status != 200:
            self.error = _error_words(unread, self.status)
        if self.error is None and not self._done:
            self.error = "the answer broke off"

    def _hear(self, event: bytes) -> str:
        """The text in one event; notes what else it says."""
        text = ""
        for line in event.splitlines():
            data = line.removeprefix(b"data:").strip() if line.startswith(b"data:") else b""
            if data == b"[DONE]":
                self._done = True
            elif data:
                text += self._read(msgspec.json.decode(data))
        return text

    def _read(self, chunk: Json) -> str:
        if chunk.get("error"):
            self.error = str(chunk["error"].get("message", "an error without words"))
        self.told = chunk.get("unbroken") or self.told
        text = ""
        for choice in chunk.get("choices", ()):
            text += (choice.get("delta") or {}).get("content") or ""
            self.finish = choice.get("finish_reason") or self.finish
        return text

    @property
    def target(self) -> str:
        """Who answered: as the gateway says at the end, or at the beginning."""
        return str(self.told.get("target") or self.headers.get("x-unbroken-target", ""))

    @property
    def attempts(self) -> int:
        """How many tries it took."""
        return int(self.told.get("attempts") or self.headers.get("x-unbroken-attempts") or 0)

    @property
    def rescued(self) -> bool:
        """Whether another target went on where the first one broke."""
        return bool(self.told.get("rescued"))


class _Reply:
    """What httptools calls back with, gathered for the loop below."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.parser = httptools.HttpResponseParser(self)
        self.data: list[bytes] = []
        self.complete = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._call.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._call.status = self.parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        self.data.append(body)

    def on_message_complete(self) -> None:
        self.complete = True

    def take(self) -> bytes:
        """What has come of the body since the last time."""
        data, self.data = b"".join(self.data), []
        return data


async def _post(call: Call, body: bytes) -> AsyncIterator[bytes]:
    """Send the request on a connection of its own; the body of the answer as it comes."""
    parts = urlsplit(call.url)
    secure = ssl.create_default_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    reply = _Reply(call)
    try:
        writer.write(_head(call, length=len(body)) + body)
        while not reply.complete:
            data = await reader.read(_READ_BYTES)
            if not data:
                raise EOFError("the connection was closed in mid-answer")
            reply.parser.feed_data(data)
            if piece := reply.take():
                yield piece
    finally:
        writer.close()


def _head(call: Call, *, length: int) -> bytes:
    parts = urlsplit(call.url)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    lines = [
        f"POST {path} HTTP/1.1",
        f"host: {parts.netloc.rpartition('@')[2]}",
        "connection: close",
        "content-type: application/json",
        f"content-length: {length}",
    ]
    if call.key:
        lines.append(f"authorization: Bearer {call.key}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _error_words(body: bytes, status: int) -> str:
    try:
        words = msgspec.json.decode(body)["error"]["message"]
    except (msgspec.DecodeError, KeyError, TypeError):
        words = body[:200].decode("utf-8", "replace").strip() or "no reason given"
    return f"{status}: {words}"


def _plain(broken: Exception, url: str) -> str:
    if isinstance(broken, ConnectionRefusedError):
        return f"nobody listens at {urlsplit(url).netloc.rpartition('@')[2]}"
    return str(broken) or type(broken).__name__
