"""The pooled HTTP/1.1 client: bytes to and from providers, pushed as they come.

httptools parses, asyncio connects; an attempt has no task of its own, its `Listener` is
called from the socket's callback.  A request never waits for a free connection: each has
one to itself, and a finished one is kept for the next request to the same origin.

What counts as failure here is only what the network does: CONNECT (never sent), BROKEN
(cut before the end), MALFORMED (not HTTP, or too large).  Time limits are the flight's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import zlib
from collections import deque
from time import monotonic
from typing import cast
from urllib.parse import urlsplit

import httptools

from unbroken.failures import Failure, FailureKind
from unbroken.ports import Listener
from unbroken.types import HttpRequest

__all__ = ["UPSTREAM_BYTES_MAX", "Connections"]

UPSTREAM_BYTES_MAX = 32 * 1024 * 1024
"""The largest answer that is taken in: more than any text, and room for a few images."""
IDLE_MAX = 512
"""Connections kept for one origin."""
IDLE_S = 55.0
"""Many load balancers close after 60 s; one that is about to close is not worth having."""
DRAIN_S = 1.0
"""How long the end of a body may take after the end of its answer, for the connection to be kept."""
WRITE_HIGH_BYTES = 1024 * 1024
"""Bytes of a request that may wait in the socket's buffer; bodies are in memory anyway."""
COPIED_BYTES_MAX = 64 * 1024
"""A small body is sent with its head as one piece; to copy a large one takes longer than to send two."""
_NO_BREAKS = {0x0A: None, 0x0D: None, 0x00: None}
_ENCODED = ("gzip", "x-gzip", "deflate")


class Origin:
    """One scheme, host and port, and its idle connections."""

    __slots__ = ("host", "idle", "name", "port", "tls")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http URL: {url!r}")
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self.name = _host_name(self.host, parts.port if self.port != (443 if self.tls else 80) else None)
        self.idle: deque[Connection] = deque()


def _host_name(host: str, port: int | None) -> str:
    """The `Host` header: no default port, since signatures are made without it."""
    name = f"[{host}]" if ":" in host else host.lower()
    return name if port is None else f"{name}:{port}"


class Call:
    """One request on its way: what the engine holds to pause or cancel it."""

    __slots__ = ("_connecting", "connection", "listener")

    def __init__(self, listener: Listener) -> None:
        self.listener: Listener | None = listener
        self.connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None

    def cancel(self) -> None:
        """Hang up; nothing more is heard."""
        self.listener = None
        if self._connecting is not None:
            self._connecting.cancel()
        if self.connection is not None:
            self.connection.drop()

    def release(self) -> None:
        """Nothing more is wanted: what is left of the body is read and thrown away."""
        self.listener = None
        if self.connection is not None:
            self.connection.resume()
            asyncio.get_running_loop().call_later(DRAIN_S, self._drained)

    def _drained(self) -> None:
        if self.connection is not None:
            self.connection.drop()

    def pause(self) -> None:
        """Stop reading."""
        if self.connection is not None:
            self.connection.pause()

    def resume(self) -> None:
        """Read again."""
        if self.connection is not None:
            self.connection.resume()

    def begin(self, task: asyncio.Task[None]) -> None:
        """Note the task that connects, so that it can be cancelled."""
        self._connecting = task

    def fail(self, failure: Failure) -> None:
        """Say so, once."""
        listener, self.listener = self.listener, None
        self._connecting = None
        if listener is not None:
            listener.failed(failure)


class Connection(asyncio.Protocol):
    """One connection to an origin; carries one request at a time."""

    def __init__(self, origin: Origin, pool: Connections) -> None:
        self._origin, self._pool = origin, pool
        self._transport: asyncio.Transport | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._call: Call | None = None
        self._headers: dict[str, str] = {}
        self._inflate: zlib._Decompress | None = None
        self._received = 0
        self._paused = False
        self._complete = self._reusable = False
        self.idle_since = 0.0

    # -- the request

    def send(self, request: HttpRequest, call: Call) -> None:
        """Write the request; its answer goes to the call's listener."""
        self._call, call.connection = call, self
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._inflate = {}, None
        self._received = 0
        self._complete = self._reusable = False
        if self._transport is not None:
            head, body = _head(request, self._origin), request.body
            if len(body) < COPIED_BYTES_MAX:
                self._transport.write(head + body)
            else:
                self._transport.writelines((head, body))
        if call.listener is not None:
            call.listener.connected()

    @property
    def usable(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def drop(self) -> None:
        """Close at once, whatever is under way."""
        self._call = None
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close; what is under way fails."""
        if self._call is not None:
            self._fail(FailureKind.BROKEN, "the connection was closed by us")
        else:
            self.drop()

    def pause(self) -> None:
        """Stop reading."""
        if self.usable and not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._paused and self.usable and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()

    # -- asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._parser is None or self._call is None:
            self.drop()  # an answer that nobody asked for
            return
        self._received += len(data)
        if self._received > self._pool.answer_bytes_max:
            self._fail(FailureKind.MALFORMED, f"the answer is larger than {self._pool.answer_bytes_max} bytes")
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail(FailureKind.MALFORMED, "the provider switched protocols")
        except httptools.HttpParserError as error:
            self._fail(FailureKind.MALFORMED, f"not an HTTP answer: {error}")
        except zlib.error as error:
            self._fail(FailureKind.MALFORMED, f"the answer cannot be decompressed: {error}")
        if self._complete:
            self._finish()

    def eof_received(self) -> None:
        return None

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._pool.alive.discard(self)
        with contextlib.suppress(ValueError):
            self._origin.idle.remove(self)
        if self._call is None:
            return
        if exc is None and self._parser is not None and self._ends_with_connection():
            self._complete = True
            self._finish()
            return
        how = "reset" if exc is not None else "closed"
        when = "in the middle of its answer" if self._received else "before it answered"
        self._fail(FailureKind.BROKEN, f"the connection was {how} {when}")

    # -- httptools' side

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        assert self._parser is not None
        status = self._parser.get_status_code()
        if status < 200:
            self._headers = {}
            return
        encoding = self._headers.get("content-encoding", "").lower()
        if encoding in _ENCODED:
            self._inflate = zlib.decompressobj(zlib.MAX_WBITS | 32)
        if self._call is not None and self._call.listener is not None:
            self._call.listener.opened(status, self._headers)

    def on_body(self, body: bytes) -> None:
        if self._call is None or self._call.listener is None:
            return
        if self._inflate is not None:
            body = self._decompress(body)
        if body:
            self._call.listener.data(body)

    def on_message_complete(self) -> None:
        if self._parser is not None and self._parser.get_status_code() >= 200:
            self._complete = True
            self._reusable = bool(self._parser.should_keep_alive())

    # -- inside

    def _decompress(self, body: bytes) -> bytes:
        """At most as much as an answer may have: a small body can hold a very large one."""
        assert self._inflate is not None
        room = self._pool.answer_bytes_max
        out = self._inflate.decompress(body, room)
        self._received += len(out)
        if self._inflate.unconsumed_tail or self._received > 2 * room:
            self._fail(FailureKind.MALFORMED, f"the answer is larger than {room} bytes")
            return b""
        return out

    def _ends_with_connection(self) -> bool:
        """Whether the body's end is the connection's end (HTTP/1.0, or no length given)."""
        framed = "content-length" in self._headers or "chunked" in self._headers.get("transfer-encoding", "").lower()
        return bool(self._headers) and not framed and not self._complete

    def _finish(self) -> None:
        call, self._call = self._call, None
        self._parser = None
        if self._reusable and self.usable and not self._paused and len(self._origin.idle) < IDLE_MAX:
            self.idle_since = monotonic()
            self._origin.idle.append(self)
        elif self._transport is not None:
            self._transport.close()
        if call is not None:
            call.connection = None
            listener, call.listener = call.listener, None
            if listener is not None:
                listener.ended()

    def _fail(self, kind: FailureKind, message: str) -> None:
        call = self._call
        self.drop()
        if call is not None:
            call.connection = None
            call.fail(Failure(kind=kind, message=message))


class Connections:
    """A `Transport` over TCP and TLS, with a pool for each origin."""

    def __init__(self, *, answer_bytes_max: int = UPSTREAM_BYTES_MAX, tls: ssl.SSLContext | None = None) -> None:
        self.answer_bytes_max = answer_bytes_max
        self._origins: dict[str, Origin] = {}
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()
        self.alive: set[Connection] = set()

    def send(self, request: HttpRequest, listener: Listener) -> Call:
        """Begin; on a pooled connection if one is alive."""
        call = Call(listener)
        url = request.url
        cut = url.find("/", 8)
        root = url if cut < 0 else url[:cut]
        origin = self._origins.get(root)
        if origin is None:
            try:
                origin = self._origins[root] = Origin(root)
            except ValueError as error:
                message = str(error)
                asyncio.get_running_loop().call_soon(call.fail, _not_sent(message))
                return call
        pooled = self._pooled(origin)
        if pooled is not None:
            pooled.send(request, call)
            return call
        task = asyncio.get_running_loop().create_task(self._connect(origin, request, call=call))
        call.begin(task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return call

    async def close(self) -> None:
        """Close every connection; requests under way fail."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for connection in list(self.alive):
            connection.close()
        await asyncio.sleep(0)  # asyncio closes the sockets in its next round

    def _pooled(self, origin: Origin) -> Connection | None:
        """The youngest idle connection; those that have been idle too long are closed."""
        oldest = monotonic() - IDLE_S
        while origin.idle:
            connection = origin.idle.pop()
            if connection.usable and connection.idle_since >= oldest:
                return connection
            connection.drop()
        return None

    async def _connect(self, origin: Origin, request: HttpRequest, *, call: Call) -> None:
        loop = asyncio.get_running_loop()
        try:
            context = self._context() if origin.tls else None
            _, connection = await loop.create_connection(  # uvloop tells no protocol that this was cancelled
                lambda: Connection(origin, self),
                origin.host,
                origin.port,
                ssl=context,
                server_hostname=origin.host if origin.tls else None,
            )
        except OSError as error:  # refused, unreachable, unknown host, TLS: the request was never sent
            call.fail(_not_sent(f"cannot connect: {_reason(error)}"))
            return
        if call.listener is None:
            connection.drop()
        elif not connection.usable:
            call.fail(_not_sent("the connection was closed as soon as it was made"))
        else:
            self.alive.add(connection)
            connection.send(request, call)

    def _context(self) -> ssl.SSLContext:
        """Made on first use: loading the trust store takes 20 ms."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
        return self._tls


def _not_sent(message: str) -> Failure:
    return Failure(kind=FailureKind.CONNECT, message=message, sent=False)


def _reason(error: OSError) -> str:
    """Why there is no connection, without the address: callers need not learn it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate does not hold ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason})"
    if error.errno is None:
        return "none of its addresses could be reached"
    return os.strerror(error.errno) if error.errno > 0 else error.strerror or "unknown host"


def _in_one_line(value: str) -> str:
    """The value without what would end a header; `translate` takes a microsecond, and almost none needs it."""
    return value if value.isprintable() else value.translate(_NO_BREAKS)


def _head(request: HttpRequest, origin: Origin) -> bytes:
    """The request line and headers; a line break in a value (a key read from a file) ends no header."""
    url = request.url
    cut = url.find("/", 8)
    path = "/" if cut < 0 else url[cut:]
    fields = "".join([f"{name}: {_in_one_line(value)}\r\n" for name, value in request.headers.items()])
    head = f"{request.method} {path} HTTP/1.1\r\nhost: {origin.name}\r\ncontent-length: {len(request.body)}\r\n"
    return f"{head}{fields}\r\n".encode("latin-1", "replace")
