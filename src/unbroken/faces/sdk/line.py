"""An answer on its way from the engine's thread to a reader on another one, in memory."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Mapping
from typing import NamedTuple

from unbroken.faces.gateway import Gateway, Headers, Reply, Visitor

__all__ = ["Asked", "Line"]

UNREAD_BYTES_MAX = 256 * 1024
"""Of a stream: when so much waits for its reader, nothing more is read from the provider."""


class Asked(NamedTuple):
    """A request as an SDK would have sent it."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Line:
    """One answer, written in the engine's thread and read in any other.

    `wake` is called, in the engine's thread, when there is more than at the last `take`.
    `status` and `headers` hold once `status` is not 0; `over` says that nothing more comes.
    """

    __slots__ = ("__weakref__", "_lock", "_loop", "_paused", "_unread", "_visitor", "_wake", "_woken",
                 "headers", "over", "status")  # fmt: skip

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[], object]) -> None:
        self._loop, self._wake = loop, wake
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._visitor: Visitor | None = None
        self._paused = self._woken = False
        self.status = 0
        self.headers: Headers = []
        self.over = False

    # -- in the engine's thread

    def begin(self, gateway: Gateway, asked: Asked) -> None:
        """Ask the gateway, which answers whatever happens."""
        reply = gateway.receive(asked.method, asked.path, headers=asked.headers, body=asked.body)
        if isinstance(reply, Reply):
            self._show(reply.status, reply.headers, body=reply.body, over=True)
            return
        self._visitor, reply.notify = reply, self._flush
        self._flush()

    def hang_up(self) -> None:
        """Stop whatever is done for this answer."""
        if self._visitor is not None:
            self._visitor.leave()

    def _flush(self) -> None:
        visitor = self._visitor
        if visitor is None or not visitor.status:
            return
        if visitor.over:
            self._visitor = visitor.notify = None
        waiting = self._show(visitor.status, visitor.headers, body=visitor.take(), over=visitor.over)
        if waiting > UNREAD_BYTES_MAX and not self._paused and not visitor.over:
            self._paused = True
            visitor.pause()

    def _show(self, status: int, headers: Headers, *, body: bytes, over: bool) -> int:
        """Hand this to the reader; how many bytes now wait for it."""
        with self._lock:
            self._unread += body
            self.headers, self.over = headers, over
            self.status = status  # last: it is read without the lock, and says that the others hold
            waiting = len(self._unread)
            asleep, self._woken = not self._woken, True
        if asleep:
            with contextlib.suppress(RuntimeError):  # the reader's event loop may be gone
                self._wake()
        return waiting

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            if self._visitor is not None:
                self._visitor.resume()

    # -- in the reader's

    def take(self) -> bytes | None:
        """What has come since the last time: nothing yet is empty, None is the end."""
        with self._lock:
            data = bytes(self._unread)
            self._unread.clear()
            self._woken = False
            ended = self.over and not data
        if len(data) > UNREAD_BYTES_MAX:
            self._tell(self._resume)
        return None if ended else data

    def leave(self) -> None:
        """The reader wants no more."""
        if not self.over:
            self._tell(self.hang_up)

    def _tell(self, do: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the engine is closed, and so is every answer
            self._loop.call_soon_threadsafe(do)
