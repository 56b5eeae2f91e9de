"""A caller whose answer is there, or is forming; whoever speaks to the caller (a socket, ASGI, an SDK) reads it.

Reply      a whole answer that was known at once
Visitor    one that comes bit by bit
Answer     a visitor whose answer a drive brings
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from unbroken.engine import Drive, Finished
from unbroken.failures import Failure
from unbroken.types import Delta
from unbroken.wire import Format, Outcome, Writer

__all__ = ["Answer", "Headers", "Reply", "Visitor", "reply_of"]

Headers = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer that was known at once."""

    status: int
    headers: Headers
    body: bytes


def reply_of(spoken: Format, failure: Failure, *, request_id: str) -> Reply:
    """A failure in the words of this format."""
    assert spoken.write_failure is not None
    status, headers, body = spoken.write_failure(failure, request_id)
    return Reply(status, list(headers.items()), body)


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
            self.status, headers, body = self._fail(end.failure, outcome)
            self.headers = list({**dict(outcome.headers()), **dict(headers)}.items())
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

    def _fail(self, failure: Failure, outcome: Outcome) -> tuple[int, Headers, bytes]:
        assert self._format.write_failure is not None
        status, headers, body = self._format.write_failure(failure, outcome.request_id)
        return status, list(headers.items()), body
