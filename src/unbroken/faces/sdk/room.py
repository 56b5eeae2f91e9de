"""The thread on which an engine lives when the program around it is not ours.

One for each engine, whoever asks it: blocking code, an event loop, a second event loop.  The
engine's clocks then run on even while the program's own loop is busy, and a provider is never
taken for silent because nobody had time to listen.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable
from weakref import WeakSet

from unbroken.assemble import engine
from unbroken.config import Config
from unbroken.faces.gateway import Gateway
from unbroken.faces.sdk.line import Asked, Line

__all__ = ["Room"]

CLOSE_S = 5.0
"""How long a close waits for the thread; it is a daemon, so the process can end without it."""


class Room:
    """An event loop on a thread of its own, with a gateway in it; `process` is the one that it belongs to."""

    def __init__(self, config: Config) -> None:
        self.process = os.getpid()
        self._gateway = Gateway(config, engine(config))
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._lines: WeakSet[Line] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="unbroken", daemon=True)
        self._thread.start()
        atexit.register(self.close)

    # -- from any thread

    def ask(self, asked: Asked, wake: Callable[[], object]) -> Line:
        """Begin to answer; RuntimeError once it is closed."""
        line = Line(self._loop, wake)
        with self._lock:  # whatever is begun stands before the end in the loop's queue
            if self._closed:
                raise RuntimeError("this engine is closed")
            self._loop.call_soon_threadsafe(self._begin, line, asked)
        return line

    def stop(self) -> None:
        """Begin to close, without waiting: whoever drops the last reference may hold any lock."""
        if self.process != os.getpid():  # and its lock may be held for ever: no thread of the parent's is here
            return
        with self._lock:
            if self._closed:
                return
            self._closed = True
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._ending.set)

    def close(self) -> None:
        """Hang up on every provider, hand over the last facts, end the thread; a second time does nothing."""
        self.stop()
        if self.process == os.getpid() and threading.current_thread() is not self._thread:
            self._thread.join(CLOSE_S)

    # -- in its own

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._live())
        atexit.unregister(self.close)

    async def _live(self) -> None:
        await self._ending.wait()
        for line in list(self._lines):
            line.hang_up()
        await self._gateway.engine.close()

    def _begin(self, line: Line, asked: Asked) -> None:
        self._lines.add(line)
        line.begin(self._gateway, asked)
