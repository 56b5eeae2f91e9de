"""A caller whose answer is there, or is forming; whoever speaks to the caller (a socket, ASGI, an SDK) reads it.

Reply      a whole answer that was known at once
Visitor    one that comes bit by bit
Later      a visitor whose answer comes whole, after a while
Answer     a visitor whose answer a drive brings
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass

from mypy_extensions import mypyc_attr

from unbroken.engine import Drive, Finished
from unbroken.failures import Failure, WrongMethod
from unbroken.types import Delta
from unbroken.wire import Format, Outcome, Writer

__all__ = ["Answer", "Headers", "Later", "Reply", "Visitor", "reply_of"]

_LOGGER = logging.getLogger("unbroken")

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that was known at once."""

    status: int
    headers: Headers
    body: bytes


SDK_WAITS_S_MAX = 60.0
"""An SDK that is told to come back later than that comes at once, or not at all."""


def reply_of(spoken: Format, failure: Failure, *, request_id: str) -> Reply:
    """A failure in the words of this format.

    SDKs ask again by themselves.  Whoever is told to come back soon may; of all else they are told
    that what is worth trying again was tried.
    """
    assert spoken.write_failure is not None
    status, headers, body = spoken.write_failure(failure, request_id)
    told = list(headers.items())
    if isinstance(failure, WrongMethod):
        told.append(("allow", ", ".join(failure.allowed)))
    if float(headers.get("retry-after", "inf")) > SDK_WAITS_S_MAX:
        told.append(("x-should-retry", "false"))
    return Reply(status, told, body)


@mypyc_attr(allow_interpreted_subclasses=True)
class Visitor:
    """A caller whose answer comes bit by bit.

    `notify` is called whenever there is more: `status` and `headers` hold once `status` is
    not 0, `take` gives what has come since the last time, until `over`.
    """

    __slots__ = ("headers", "notify", "over", "status")

    def __init__(self) -> None:
        self.notify: Callable[[], None] | None = None
        self.status = 0
        self.headers: Headers = []
        self.over = False

    def take(self) -> bytes:
        """What has come since the last time."""
        raise NotImplementedError

    def pause(self) -> None:
        """The caller reads more slowly than there is something to read."""

    def resume(self) -> None:
        """The caller has caught up."""

    def leave(self) -> None:
        """The caller is gone: stop whatever is done for it."""


class Later(Visitor):
    """A whole answer that takes a while; what was begun is done even if nobody waits for it any more.

    `otherwise` makes the answer where the coming one fails, which is a defect.
    """

    __slots__ = ("_body", "_otherwise", "_task")

    def __init__(self, coming: Coroutine[None, None, Reply], *, otherwise: Callable[[], Reply]) -> None:
        super().__init__()
        self._body = b""
        self._otherwise = otherwise
        self._task = asyncio.get_running_loop().create_task(coming)
        self._task.add_done_callback(self._settle)

    def take(self) -> bytes:
        body, self._body = self._body, b""
        return body

    def _settle(self, task: asyncio.Task[Reply]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            _LOGGER.error("an answer that took a while failed", exc_info=error)
        reply = self._otherwise() if task.cancelled() or error is not None else task.result()
        self.status, self.headers, self._body, self.over = reply.status, reply.headers, reply.body, True
        if self.notify is not None:
            self.notify()


@mypyc_attr(allow_interpreted_subclasses=True)
class Answer(Visitor):
    """A visitor whose answer a drive brings, in the words of its format."""

    __slots__ = ("_buffer", "_drive", "_format", "_held", "_id", "_stream", "_writer")

    def __init__(self, spoken: Format, writer: Writer, *, request_id: str, stream: bool) -> None:
        super().__init__()
        self._format, self._writer, self._id, self._stream = spoken, writer, request_id, stream
        self._buffer: list[bytes] = []
        self._held: list[Delta] = []
        self._drive: Drive | None = None

    # -- told by the drive

    def show(self, deltas: Sequence[Delta]) -> None:
        """The next of the answer: a stream's is written at once, a plain one's at the end."""
        if not self._stream:
            self._held += deltas
            return
        if not self.status:
            self._open()
        self._put(self._writer.write(deltas))

    def finish(self, end: Finished) -> None:
        """The end, good or bad."""
        outcome = self._outcome(end)
        if end.failure is not None and not self.status:
            told = reply_of(self._format, end.failure, request_id=self._id)
            self.status, body = told.status, told.body
            self.headers = list({**dict(outcome.headers()), **dict(told.headers)}.items())
        elif end.failure is not None:
            body = self._writer.broken(end.failure, outcome)
        elif self._stream:
            if not self.status:
                self._open()
            body = self._writer.end(outcome)
        else:
            body = self._writer.whole(self._held, outcome)
            self.status = 200
            self.headers = [("content-type", self._writer.content_type), *outcome.headers()]
        self.over = True
        self._drive = None  # no cycle is left for the garbage collector
        self._put(body)

    # -- read by a face

    def fly(self, drive: Drive) -> None:
        """Take hold of the drive, to pause and to cancel it."""
        self._drive = drive

    def take(self) -> bytes:
        chunks, self._buffer = self._buffer, []
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def pause(self) -> None:
        if not self.over and self._drive is not None:
            self._drive.pause()

    def resume(self) -> None:
        if not self.over and self._drive is not None:
            self._drive.resume()

    def leave(self) -> None:
        if not self.over and self._drive is not None:
            self._drive.cancel()

    # -- inside

    def _open(self) -> None:
        self.status = 200
        outcome = self._outcome(self._drive.flight.so_far()) if self._drive is not None else None
        told = outcome.headers() if outcome is not None else []
        self.headers = [("content-type", self._writer.content_type), ("cache-control", "no-cache"), *told]

    def _put(self, data: bytes) -> None:
        if data:
            self._buffer.append(data)
        if self.notify is not None:
            self.notify()

    def _outcome(self, end: Finished) -> Outcome:
        name = end.target.name if end.target is not None else "none"
        left_out = self._drive.left_out.get(name, ()) if self._drive is not None else ()
        return Outcome(
            request_id=self._id, target=name, attempts=end.attempts, failover=end.failover, rescued=end.rescued,
            left_out=left_out, cache=end.cache, age_s=end.age_s,
        )  # fmt: skip
