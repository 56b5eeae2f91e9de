"""The engine's callers: one waits for a whole answer, the other hands a stream on as it comes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from unbroken.engine import Drive, Finished
from unbroken.types import Delta

__all__ = ["Flow", "Wait"]

WAITING_MAX = 256
"""Steps of a stream that nobody has read: then nothing more is read from the provider."""


class Wait:
    """Gathers an answer; `over` is done at its end, which is `end`."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self.end: Finished | None = None
        self.over: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer."""
        self.deltas += deltas

    def finish(self, end: Finished) -> None:
        """The end."""
        self.end = end
        if not self.over.done():
            self.over.set_result(end)


class Flow:
    """A stream for one reader, who may be slower than the provider."""

    def __init__(self) -> None:
        self.drive: Drive | None = None
        self.deltas: list[Delta] = []
        self.end: Finished | None = None
        self._unread: deque[Delta] = deque()
        self._news = asyncio.Event()
        self._paused = False

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer."""
        self.deltas += deltas
        self._unread += deltas
        self._news.set()
        if len(self._unread) > WAITING_MAX and not self._paused and self.drive is not None:
            self._paused = True
            self.drive.pause()

    def finish(self, end: Finished) -> None:
        """The end."""
        self.end = end
        self._news.set()

    async def take(self) -> Delta | None:
        """The next step, as soon as there is one; None at the end."""
        while not self._unread:
            if self.end is not None:
                return None
            self._resume()
            self._news.clear()
            await self._news.wait()
        return self._unread.popleft()

    def _resume(self) -> None:
        if self._paused and self.drive is not None:
            self._paused = False
            self.drive.resume()
