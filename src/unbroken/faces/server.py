"""The gateway on a socket: HTTP/1.1 by httptools and asyncio, without a task for each request.

ASGI (`faces.asgi`) costs a task, two writes and several hand-overs a request; this costs one
callback and one write, which is most of what a thin proxy does at all.  A connection
carries one request at a time; what a caller sends ahead waits.

Limits: `HEAD_BYTES_MAX` for a request's head, the gateway's own for bodies, `READ_S` for a
request to come in, `IDLE_S` between requests, `STUCK_S` for a caller who takes nothing of an answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from time import monotonic
from typing import NamedTuple, cast

import httptools

from unbroken.faces.gateway import WANTED_HEADERS, Gateway, Headers, Reply, Visitor

__all__ = ["Door", "Server"]

HEAD_BYTES_MAX = 64 * 1024
"""Of a request line and headers: twice what other servers take."""
READ_S = 60.0
"""A whole request has to come in within this; a 20 MB body at 3 Mbit/s does."""
IDLE_S = 75.0
"""A connection without a request is kept as long as nginx keeps one."""
STUCK_S = 60.0
"""Unsent bytes of which a caller has taken none for so long are not waited for any longer."""
WRITE_HIGH_BYTES = 256 * 1024
"""Unsent bytes beyond which we read no more from the provider."""
LINGER_S = 2.0
"""How long a refused caller may go on sending what nobody reads."""
SWEEP_S = 5.0
"""How often connections are looked over for those that took too long."""
_REASON = {status.value: f"{status.value} {status.phrase}".encode() for status in HTTPStatus}
_LARGE_HEAD = "the request's headers are too large"
_LAST_CHUNK = b"0\r\n\r\n"


class Server:
    """Listens, keeps count of its connections, and stops without cutting answers off."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.doors: set[Door] = set()
        self.stopping = False
        self._listening: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._date = (0.0, b"")

    async def start(self, listening: socket.socket) -> None:
        """Take connections from this socket."""
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Door(self), sock=listening)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        self.gateway.engine.start()

    async def stop(self, grace_s: float = 30.0, *, drain_s: float = 0.0, taking: bool = False) -> None:
        """Take no more; answers under way may finish within the grace time.

        Before that, for `drain_s`, connections are left to end by themselves, each told so with its next answer.
        New ones are still taken then if `taking`: whoever sends them has to learn first that we stop.
        """
        self.stopping, self.gateway.ready = True, False
        if drain_s:
            if not taking:
                self._close_listening()
            await self._wait(drain_s, for_doors=not taking)
        self.gateway.close()
        self._close_listening()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for door in list(self.doors):
            door.close_if_idle()
        await self._wait(grace_s, for_doors=True)
        for door in list(self.doors):
            door.abort()
        await self.gateway.engine.close()

    def _close_listening(self) -> None:
        if self._listening is not None:
            self._listening.close()

    async def _wait(self, seconds: float, *, for_doors: bool) -> None:
        """So long, or until every connection is gone."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while self.doors or not for_doors:
                    await asyncio.sleep(0.02)

    def date(self) -> bytes:
        """The Date header of this second."""
        now = monotonic()
        if now - self._date[0] >= 1.0:
            self._date = (now, f"date: {formatdate(usegmt=True)}\r\n".encode())
        return self._date[1]

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        for door in list(self.doors):
            door.close_if_late(monotonic())
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)


class Asked(NamedTuple):
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    keep_alive: bool
    chunked: bool


class Door(asyncio.Protocol):
    """One caller's connection."""

    __slots__ = (
        "_ahead",
        "_body",
        "_body_size",
        "_busy",
        "_chunked",
        "_field_size",
        "_head_done",
        "_head_size",
        "_headers",
        "_keep_alive",
        "_parser",
        "_paused",
        "_reading_since",
        "_refused",
        "_server",
        "_shown",
        "_transport",
        "_unsent",
        "_unsent_since",
        "_url",
        "_visitor",
    )  # fmt: skip

    def __init__(self, server: Server) -> None:
        self._server = server
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._visitor: Visitor | None = None
        self._busy = self._paused = self._chunked = self._shown = self._refused = False
        self._keep_alive = True
        self._ahead: deque[Asked] = deque()
        self._reading_since = self._unsent_since = 0.0
        self._unsent = 0
        self._clear()

    def _clear(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._body_size = self._head_size = self._field_size = 0
        self._head_done = False

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        self._reading_since = monotonic()
        self._server.doors.add(self)

    def data_received(self, data: bytes) -> None:
        if self._refused:  # read and thrown away, or the refusal would be lost in a reset
            return
        if not self._head_done:
            if not self._head_size and not self._busy:  # a request begins, perhaps long after the last one
                self._reading_since = monotonic()
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "this gateway speaks HTTP/1.1 only and cannot upgrade")
        except httptools.HttpParserError as error:
            self._refuse(400, f"this is not an HTTP request: {error}")
        if not self._head_done and self._head_size > HEAD_BYTES_MAX:
            self._refuse(431, _LARGE_HEAD)

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.doors.discard(self)
        self._transport = None
        if self._visitor is not None:
            visitor, self._visitor = self._visitor, None
            visitor.leave()

    def pause_writing(self) -> None:
        if self._visitor is not None:
            self._visitor.pause()

    def resume_writing(self) -> None:
        if self._visitor is not None:
            self._visitor.resume()

    # -- httptools' side

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._field_size += len(name) + len(value)
        name = name.lower()
        if name in WANTED_HEADERS:
            self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._head_done = True
        if self._field_size + len(self._url) > HEAD_BYTES_MAX:
            self._refuse(431, _LARGE_HEAD)
        if self._headers.get("expect", "").lower() == "100-continue":
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._server.gateway.body_bytes_max:
            self._refuse(413, "")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._refused:
            return
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        asked = Asked(
            self._parser.get_method().decode("latin-1"), self._path(), self._headers, body,
            self._parser.should_keep_alive(), self._parser.get_http_version() == "1.1",
        )  # fmt: skip
        self._clear()
        if self._busy:  # sent ahead: it waits for the present answer, and what follows waits in the socket
            self._ahead.append(asked)
            self._pause_reading()
        else:
            self._serve(asked)

    def _serve(self, asked: Asked) -> None:
        self._busy, self._shown = True, False
        self._keep_alive, self._chunked = asked.keep_alive, asked.chunked
        reply = self._server.gateway.receive(asked.method, asked.path, headers=asked.headers, body=asked.body)
        if isinstance(reply, Reply):
            self._answer(reply.status, reply.headers, body=reply.body)
            return
        self._visitor = reply
        reply.notify = self._flush
        self._flush()

    # -- the answer

    def _flush(self) -> None:
        """Write what the visitor has; called whenever there is more."""
        visitor = self._visitor
        if visitor is None or not visitor.status:
            return
        body, over = visitor.take(), visitor.over
        if over:
            self._visitor = None
        if over and not self._shown:
            self._answer(visitor.status, visitor.headers, body=body)
            return
        out = b"" if self._shown else self._head(visitor.status, visitor.headers, length=None)
        self._shown = True
        out += b"%x\r\n%b\r\n" % (len(body), body) if self._chunked and body else body
        self._write(out + _LAST_CHUNK if over and self._chunked else out)
        if over:
            self._next()

    def _answer(self, status: int, headers: Headers, *, body: bytes) -> None:
        self._write(self._head(status, headers, length=len(body)) + body)
        self._next()

    def _head(self, status: int, headers: Headers, *, length: int | None) -> bytes:
        lines = [f"{name}: {_in_one_line(value)}\r\n" for name, value in headers]
        if length is not None:
            lines.append(f"content-length: {length}\r\n")
        elif self._chunked:
            lines.append("transfer-encoding: chunked\r\n")
        else:
            self._keep_alive = False  # HTTP/1.0: the body ends with the connection
        if not self._keep_alive or self._server.stopping:
            self._keep_alive = False
            lines.append("connection: close\r\n")
        fields = "".join(lines).encode("latin-1", "replace")
        return b"HTTP/1.1 %b\r\n%b%b\r\n" % (_reason(status), self._server.date(), fields)

    def _next(self) -> None:
        """The answer is out: take the next request, or close."""
        self._busy = False
        self._reading_since = monotonic()
        if self._refused:
            self._linger()
            return
        if not self._keep_alive or self._server.stopping:
            self._close()
            return
        if self._ahead:
            asyncio.get_running_loop().call_soon(self._serve, self._ahead.popleft())
            self._busy = True
        elif self._paused:
            self._resume_reading()

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read any further, and close."""
        if self._refused or self._busy:
            return
        self._refused = True
        self._keep_alive = False
        gateway, path = self._server.gateway, self._path()
        reply = gateway.too_large(path) if status == 413 else gateway.refused(path, status, message=message)
        self._answer(reply.status, reply.headers, body=reply.body)

    def _path(self) -> str:
        path = self._url
        if not path.startswith(b"/"):  # absolute form, as sent to proxies
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        return path.decode("latin-1")

    # -- the connection

    @property
    def busy(self) -> bool:
        """Whether an answer is under way."""
        return self._busy

    def close_if_idle(self) -> None:
        """Nobody is served here: close."""
        if not self._busy:
            self._close()

    def close_if_late(self, now: float) -> None:
        """A request took too long to come in, or none came for long; or nobody takes what is sent."""
        self._abort_if_stuck(now)
        begun = bool(self._head_size or self._body_size)
        if not self._busy and now - self._reading_since > (READ_S if begun else IDLE_S):
            self._close()

    def _abort_if_stuck(self, now: float) -> None:
        unsent = self._transport.get_write_buffer_size() if self._transport is not None else 0
        if not unsent or unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif now - self._unsent_since > STUCK_S:
            self.abort()

    def abort(self) -> None:
        """Cut off."""
        if self._transport is not None:
            self._transport.abort()

    def _linger(self) -> None:
        """Say that nothing more comes, and give the caller time to read that before the connection goes."""
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()
        asyncio.get_running_loop().call_later(LINGER_S, self._close)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():  # else the caller is gone
            self._transport.write(data)

    def _pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        self._paused = False
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()


_NO_BREAKS: Mapping[int, None] = {0x0A: None, 0x0D: None, 0x00: None}


def _in_one_line(value: str) -> str:
    """The value of a header without what would end it; `translate` takes a microsecond, and almost none needs it."""
    return value if value.isprintable() else value.translate(_NO_BREAKS)


def _reason(status: int) -> bytes:
    return _REASON.get(status) or f"{status} Provider Error".encode()
