"""One connection of a fake provider: requests off the socket in their order, answers onto it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import cast

import httptools

from unbroken.types import HttpRequest

__all__ = ["Line"]

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for 0 s: closing sends a reset instead of an orderly end."""


class Line(asyncio.Protocol):
    """Reads HTTP/1.1 requests and hands them to `serve` one after another.

    `serve` is cancelled when the peer hangs up.  `on_open` is told of the connection, and
    `on_close` of its end, when nothing of it runs any more.  `extra` are headers that go with each answer.
    """

    def __init__(
        self,
        serve: Callable[[Line, HttpRequest], Awaitable[None]],
        *,
        on_open: Callable[[Line], None],
        on_close: Callable[[Line], None],
    ) -> None:
        self._serve = serve
        self._on_open, self._on_close = on_open, on_close
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[HttpRequest] = deque()
        self._server: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._length_known = True
        self.extra: Mapping[str, str] = {}
        self.on_message_begin()

    # ------------------------------------------------------------ asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own does not say that it is one
        self._on_open(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._waiting.clear()
        if self._server is None or self._server.done():
            self._on_close(self)
        else:
            self._server.add_done_callback(lambda _: self._on_close(self))
            self._server.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self.reset()

    # --------------------------------------------------------- the parser's side

    def on_message_begin(self) -> None:
        self._url, self._headers, self._body = b"", dict[str, str](), list[bytes]()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        method = self._parser.get_method().decode("latin-1")
        url = self._url.decode("latin-1")
        self._waiting.append(HttpRequest(method=method, url=url, headers=self._headers, body=b"".join(self._body)))
        if self._server is None or self._server.done():
            self._server = asyncio.get_running_loop().create_task(self._serve_in_turn())

    async def _serve_in_turn(self) -> None:
        while self._waiting:
            await self._serve(self, self._waiting.popleft())

    # ---------------------------------------------------------------- what to say

    def head(self, status: int, headers: Mapping[str, str], *, length: int | None = None) -> None:
        """Begin an answer: of `length` bytes, or in chunks where that is not known."""
        self._length_known = length is not None
        framing = {"transfer-encoding": "chunked"} if length is None else {"content-length": str(length)}
        lines = [f"HTTP/1.1 {status} {_reason(status)}"]
        lines += [f"{name}: {value}" for name, value in ({**headers, **self.extra, **framing}).items()]
        self._write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def body(self, data: bytes) -> None:
        """Some of the body."""
        if data:
            self._write(data if self._length_known else b"%x\r\n%b\r\n" % (len(data), data))

    def finish(self) -> None:
        """The orderly end of the body."""
        if not self._length_known:
            self._write(b"0\r\n\r\n")

    def reset(self) -> None:
        """Break the connection with a reset."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self._transport.abort()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def _reason(status: int) -> str:
    return HTTPStatus(status).phrase if status in list(HTTPStatus) else "Error"
