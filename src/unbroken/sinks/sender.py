"""Messages on their way to a collector: posted one after another, tried again, and dropped when there are too many.

No thread and no task: the same kind of transport as providers are asked with, called from the
event loop.  A collector that is slow or gone costs messages, which are counted, and nothing else.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections import deque
from collections.abc import Callable, Mapping

from unbroken.failures import Failure
from unbroken.ports import Exchange, Transport
from unbroken.telemetry import Exit
from unbroken.types import HttpRequest

__all__ = ["Sender"]

_LOGGER = logging.getLogger("unbroken.telemetry")

AGAIN_S = (1.0, 2.0, 4.0)
"""How long to wait before a message is posted again."""
SILENCE_S = 60.0
"""Nobody needs to read more often than this that the collector is gone."""
_PASSING = frozenset((429, 502, 503, 504))
"""Statuses after which a message may be posted again."""


class Sender:
    """Posts messages to one address.  `sent` and `dropped` count by `weight`."""

    def __init__(self, transport: Transport, to: Exit, *, clock: Callable[[], float], waiting_max: int = 1) -> None:
        """At most so much weight waits for the message that is under way; beyond it the oldest is dropped."""
        self._transport, self._exit, self._clock = transport, to, clock
        self._waiting_max, self._heavy = waiting_max, 0
        self._waiting: deque[tuple[bytes, int]] = deque()
        self._posting: _Post | None = None
        self._quiet_until = 0.0
        self._idle: asyncio.Event | None = None
        self.sent = self.dropped = 0

    def send(self, message: bytes, *, weight: int) -> None:
        """Post a message that holds so many of whatever is counted."""
        while self._waiting and self._heavy + weight > self._waiting_max:
            self.dropped += self._taken()[1]
        self._waiting.append((message, weight))
        self._heavy += weight
        self._next()

    async def close(self, grace_s: float) -> None:
        """Wait until all is sent, for so long at most; nothing is tried again, and what is left is dropped."""
        if self._posting is not None:
            self._idle = asyncio.Event()
            self._posting.hurry()
            try:
                await asyncio.wait_for(self._idle.wait(), grace_s)
            except TimeoutError:
                self._posting.stop()
                self.dropped += self._posting.weight + self._heavy
                self._waiting.clear()

    @property
    def closing(self) -> bool:
        """Whether there is no time for another try."""
        return self._idle is not None

    def over(self, trouble: str) -> None:
        """The message that was under way has arrived, or has not for this reason."""
        assert self._posting is not None
        weight, self._posting = self._posting.weight, None
        if trouble:
            self.dropped += weight
            self._complain(trouble)
        else:
            self.sent += weight
        self._next()
        if self._posting is None and self._idle is not None:
            self._idle.set()

    def _next(self) -> None:
        if self._posting is None and self._waiting:
            message, weight = self._taken()
            self._posting = _Post(self, self._request(message), weight=weight)
            self._posting.post()

    def _taken(self) -> tuple[bytes, int]:
        message, weight = self._waiting.popleft()
        self._heavy -= weight
        return message, weight

    def _request(self, message: bytes) -> HttpRequest:
        headers: Mapping[str, str] = {"content-type": "application/x-protobuf", "user-agent": "unbroken-otlp"}
        if self._exit.gzip:
            message, headers = gzip.compress(message, 1, mtime=0), {**headers, "content-encoding": "gzip"}
        lower = {name.lower(): value for name, value in self._exit.headers.items()}
        return HttpRequest(method="POST", url=self._exit.url, headers={**headers, **lower}, body=message)

    def begin(self, request: HttpRequest, post: _Post) -> tuple[Exchange, asyncio.TimerHandle]:
        """Send it, and call `late` when its time is over."""
        exchange = self._transport.send(request, post)
        return exchange, asyncio.get_running_loop().call_later(self._exit.timeout_s, post.late)

    def _complain(self, trouble: str) -> None:
        now = self._clock()
        if now >= self._quiet_until:
            self._quiet_until = now + SILENCE_S
            _LOGGER.warning("telemetry was not taken by %s: %s", self._exit.url, trouble)


class _Post:
    """One message under way, listening to what becomes of it."""

    def __init__(self, sender: Sender, request: HttpRequest, *, weight: int) -> None:
        self._sender, self._request, self.weight = sender, request, weight
        self._tries = self._status = 0
        self._exchange: Exchange | None = None
        self._timer: asyncio.TimerHandle | None = None

    def post(self) -> None:
        """Once more."""
        self._tries, self._status = self._tries + 1, 0
        self._exchange, self._timer = self._sender.begin(self._request, self)

    def hurry(self) -> None:
        """If it waits for its next try, make that now."""
        if self._exchange is None and self._timer is not None:
            self._timer.cancel()
            self.post()

    def stop(self) -> None:
        """Hang up; nothing more is heard."""
        if self._timer is not None:
            self._timer.cancel()
        if self._exchange is not None:
            self._exchange.cancel()

    def late(self) -> None:
        """It takes too long."""
        self.stop()
        self._settle("no answer in time", again=True)

    # -- Listener

    def connected(self) -> None:
        """Nothing hangs on it."""

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        self._status = status

    def data(self, data: bytes) -> None:
        """A collector that took all says nothing of interest."""

    def ended(self) -> None:
        good = 200 <= self._status < 300
        self._settle("" if good else f"status {self._status}", again=self._status in _PASSING)

    def failed(self, failure: Failure) -> None:
        self._settle(failure.message, again=True)

    def _settle(self, trouble: str, *, again: bool) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._exchange = None
        if trouble and again and self._tries <= len(AGAIN_S) and not self._sender.closing:
            self._timer = asyncio.get_running_loop().call_later(AGAIN_S[self._tries - 1], self.post)
        else:
            self._sender.over(trouble)
