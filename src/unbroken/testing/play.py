"""One answer as it is given: its steps, each at its time, until the end or the trouble."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.testing.line import Line
from unbroken.testing.troubles import Cut, Empty, ErrorEvent, Malformed, Stall, Status, Trouble
from unbroken.types import Delta, Usage
from unbroken.wire import Outcome, Writer

__all__ = ["INSTANT", "Play", "Seen", "Speed", "never", "send"]

_TICK_S = 0.001
"""Waits shorter than this are not worth a turn of the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How fast an answer comes: seconds to its first token, then tokens a second."""

    first_token_s: float = 0.0
    tokens_per_s: float = math.inf

    def due_s(self, token: int) -> float:
        """When this token (from 0) is due, in seconds after the request."""
        return self.first_token_s + token / self.tokens_per_s

    def times(self, factor: float) -> Speed:
        """The same provider, so many times as fast."""
        return Speed(first_token_s=self.first_token_s / factor, tokens_per_s=self.tokens_per_s * factor)


INSTANT = Speed()
"""No waiting at all, for tests."""


@dataclass(slots=True, kw_only=True)
class Seen:
    """One request as the provider saw it; times on its clock, in seconds.

    `tokens` were written to the socket.  `hung_up`: the peer left before the end.  `usage` is what
    a bill would say: of a whole answer what was told with it, of a stream that broke the prompt and the
    tokens that were written; None where nothing was served.
    `finished` is None while the request is under way, and for good after a break.
    """

    path: str
    key: str
    headers: dict[str, str]
    body: bytes
    started: float
    model: str = ""
    prompt: str = ""
    prefix: str = ""
    stream: bool = False
    status: int | None = None
    tokens: int = 0
    finished: float | None = None
    hung_up: bool = False
    usage: Usage | None = None
    trouble: Trouble | None = None


@dataclass(slots=True, kw_only=True)
class Play:
    """One answer as it is given: the steps at their time, until the end or the trouble."""

    line: Line
    writer: Writer
    outcome: Outcome
    deltas: list[Delta]
    seen: Seen
    speed: Speed

    async def stream(self) -> None:
        self._open(self.writer.content_type)
        if isinstance(self.seen.trouble, Empty):
            self.deltas = self.deltas[-1:]
        for number, delta in enumerate(self.deltas):
            await self._wait_for(number)
            step = self.writer.write([delta])
            if self._breaks_at(number):
                return await self._break(step, self.writer.broken(self._fault(), self.outcome))
            self.line.body(step)
            self.seen.tokens += delta.has_content
            self._bill()
        self.line.body(self.writer.end(self.outcome))
        self.seen.usage = self._told
        self._finish()
        return None

    async def whole(self) -> None:
        if isinstance(self.seen.trouble, Empty):
            self.deltas = self.deltas[-1:]
        body = self.writer.whole(self.deltas, self.outcome)
        await self._wait_for(len(self.deltas) - 1)
        if self._breaks_at(len(self.deltas) - 1):
            self._open(self.writer.content_type)
            if isinstance(self.seen.trouble, ErrorEvent):
                return await self._break(b"", Status(500, message=self.seen.trouble.message).content())
            self.line.body(body[: len(body) // 2])
            return await self._break(b"", b"")
        send(self.line, 200, headers={"content-type": self.writer.content_type}, body=body)
        self.seen.tokens = sum(delta.has_content for delta in self.deltas)
        self.seen.usage = self._told
        self.seen.finished = time.monotonic()
        return None

    @property
    def _told(self) -> Usage | None:
        return self.deltas[-1].usage

    def _bill(self) -> None:
        """Of what was written so far."""
        if self._told is not None:
            self.seen.usage = replace(self._told, output_tokens=self.seen.tokens)

    async def _wait_for(self, token: int) -> None:
        wait_s = self.seen.started + self.speed.due_s(token) - time.monotonic()
        if wait_s > _TICK_S:
            await asyncio.sleep(wait_s)

    def _breaks_at(self, number: int) -> bool:
        trouble = self.seen.trouble
        if not isinstance(trouble, Cut | Stall | ErrorEvent | Malformed):
            return False
        return number >= min(trouble.after_tokens, len(self.deltas) - 1)

    def _fault(self) -> Failure:
        trouble = self.seen.trouble
        message = trouble.message if isinstance(trouble, ErrorEvent) else ""
        return Failure(kind=FailureKind.SERVER, message=message)

    async def _break(self, step: bytes, error: bytes) -> None:
        """What the trouble does to the answer, with the step that was due and an error to show."""
        match self.seen.trouble:
            case Cut(clean=False):
                return self.line.reset()
            case Stall():
                await never()
            case ErrorEvent():
                self.line.body(error)
            case Malformed() if step:
                self.line.body(step.rstrip()[: len(step) // 2] + b"\n\n")
        self._finish()
        return None

    def _open(self, content_type: str) -> None:
        self.line.head(200, {"content-type": content_type, "cache-control": "no-cache"})

    def _finish(self) -> None:
        self.line.finish()
        self.seen.finished = time.monotonic()


def send(line: Line, status: int, *, headers: Mapping[str, str], body: bytes) -> None:
    """A whole answer at once."""
    line.head(status, headers, length=len(body))
    line.body(body)
    line.finish()


async def never() -> None:
    """Wait until cancelled."""
    await asyncio.get_running_loop().create_future()
