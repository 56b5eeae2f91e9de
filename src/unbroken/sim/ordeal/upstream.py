"""Providers behind a `Transport`, under virtual time: they read and write bytes, and keep books of their own.

What they say comes from `sim.world` (laws, outages, one true answer to each request), and is
written by the server side of the target's format; what they are asked is read by it.  A call
knows nothing of flights: which answer is wanted, and from where, stands in the bytes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Protocol

from unbroken.failures import Failure, FailureKind
from unbroken.ports import Listener
from unbroken.sim.ordeal.loop import Agenda, Loop
from unbroken.sim.world import Signal, Step, World
from unbroken.types import Attempt, Continuation, Delta, HttpRequest, Message, Mode, Request, Target, Text, Why
from unbroken.wire import Format, Outcome, Writer, format_named

__all__ = ["QUESTION", "Books", "Upstream", "Wire"]

QUESTION = "question "
"""What a request asks: this, and its number."""
WAY_S = (0.001, 0.15)
"""Between a replica and a provider, one way."""
_SAID = Outcome(request_id="", target="", attempts=1, failover=False)


class Books(Protocol):
    """Told of every call, by the providers and by the process that makes it."""

    def opened(self, target: Target, replica: str) -> None:
        """A replica asks."""
        ...

    def closed(self, target: Target, replica: str) -> None:
        """For the replica it is over."""
        ...

    def reached(self, target: Target, number: int, *, at: float) -> None:
        """A provider got the request of this number."""
        ...


class Upstream:
    """Every provider; `books` are kept of all calls."""

    def __init__(
        self, agenda: Agenda, world: World, *, targets: Mapping[str, Target], books: Books, seed: str
    ) -> None:  # fmt: skip
        """`targets` by their keys."""
        self.agenda, self.world, self.targets, self.books = agenda, world, targets, books
        self.draw = Random(f"{seed}/upstream")
        self.calls: dict[_Call, None] = {}

    def crash(self, name: str) -> None:
        """A provider dies: what is under way there breaks."""
        for call in [call for call in self.calls if call.target.name == name]:
            call.breaks()


class Wire:
    """The `Transport` of one process."""

    def __init__(self, upstream: Upstream, loop: Loop, *, replica: str) -> None:
        self._upstream, self._loop, self._replica = upstream, loop, replica
        self.calls: dict[_Call, None] = {}

    def send(self, request: HttpRequest, listener: Listener) -> _Call:
        call = _Call(self._upstream, self._loop, request=request, listener=listener, wire=self, replica=self._replica)
        self.calls[call] = None
        call.begin()
        return call

    async def close(self) -> None:
        """Nothing is left open."""
        self.cut()

    def cut(self) -> None:
        """The process ends."""
        for call in list(self.calls):
            call.cancel()


class _Call:
    """One HTTP request under way, at both of its ends."""

    def __init__(
        self, upstream: Upstream, loop: Loop, *, request: HttpRequest, listener: Listener, wire: Wire, replica: str
    ) -> None:  # fmt: skip
        self._upstream, self._loop, self._listener, self._wire, self._replica = upstream, loop, listener, wire, replica
        self._request = request
        self.target = upstream.targets[_key_in(request)]
        self._format: Format = format_named(self.target.format)
        self._way_s = upstream.draw.uniform(*WAY_S)
        self._steps: Iterator[Step] = iter(())
        self._began = 0.0
        self._writer: Writer | None = None
        self._whole: list[Delta] = []
        self._is_stream = self._is_open = False
        self._number = 0
        self._waiting: deque[Callable[[], None]] | None = None
        self.is_over = False

    # -- the replica's end

    def begin(self) -> None:
        """On its way."""
        self._upstream.calls[self] = None
        self._upstream.books.opened(self.target, self._replica)
        self._upstream.agenda.after(self._way_s, self._arrive)

    def cancel(self) -> None:
        if not self.is_over:
            self.is_over = True
            self._upstream.calls.pop(self)
            self._wire.calls.pop(self)
            self._upstream.books.closed(self.target, self._replica)

    release = cancel

    def pause(self) -> None:
        if self._waiting is None:
            self._waiting = deque()

    def resume(self) -> None:
        waiting, self._waiting = self._waiting, None
        for tell in waiting or ():
            self._loop.enter(lambda tell=tell: self._tell(tell))  # type: ignore[misc]

    def _tell(self, tell: Callable[[], None], *, reads: bool = True) -> None:
        """In the replica's loop, if it still listens; and if it is to be read, when it is."""
        if self._waiting is not None and reads:
            self._waiting.append(tell)
        elif not self.is_over:
            tell()

    def _soon(self, tell: Callable[[], None], *, reads: bool = True) -> None:
        """On the way back."""
        self._upstream.agenda.after(self._way_s, lambda: self._loop.enter(lambda: self._tell(tell, reads=reads)))

    def _fails(self, failure: Failure) -> None:
        self._soon(lambda: None if self.is_over else self._over(lambda: self._listener.failed(failure)))

    def _over(self, tell: Callable[[], None]) -> None:
        self.cancel()
        tell()

    # -- the provider's end

    def breaks(self) -> None:
        """The provider is gone."""
        self._steps = iter(())
        self._fails(Failure(kind=FailureKind.BROKEN, message="the connection broke"))

    def _arrive(self) -> None:
        if self.is_over:
            return
        read = self._format.read_request
        assert read is not None
        asked = read(_path_of(self._request), self._request.body)
        assert isinstance(asked, Request), asked
        number, continuation = question_in(asked)
        self._is_stream, self._writer = asked.stream, self._writing(asked)
        attempt = Attempt(number=1, target=self.target, why=Why.FIRST, continuation=continuation)
        self._began = self._upstream.agenda.now
        self._steps = self._upstream.world.answer(number, attempt, request=asked, now=self._began)
        self._number = number
        self._next()

    def _writing(self, asked: Request) -> Writer:
        assert self._format.writer is not None
        return self._format.writer(asked)

    def _next(self) -> None:
        step = next(self._steps, None)
        if step is not None:
            self._upstream.agenda.at(self._began + step[0], lambda: self._do(step))

    def _do(self, step: Step) -> None:
        if self.is_over:
            return
        _, signal, content = step
        if isinstance(content, Failure):
            self._do_fail(content)
        elif isinstance(content, list):
            self._say(content)
        elif signal is Signal.CONNECTED:
            self._upstream.books.reached(self.target, self._number, at=self._upstream.agenda.now)
            self._soon(self._listener.connected, reads=False)
        elif signal is Signal.OPENED:
            self._open()
        else:
            self._end()
        self._next()

    def _open(self) -> None:
        assert self._writer is not None
        headers, self._is_open = {"content-type": self._writer.content_type}, True
        self._soon(lambda: self._listener.opened(200, headers))

    def _say(self, deltas: list[Delta]) -> None:
        assert self._writer is not None
        if self._is_stream:
            self._write(self._writer.write(deltas))
        else:
            self._whole += deltas

    def _write(self, data: bytes) -> None:
        """In pieces that say nothing of where one thing ends."""
        cut = self._upstream.draw.randrange(len(data) + 1)
        for piece in (data[:cut], data[cut:]):
            if piece:
                self._soon(lambda piece=piece: self._listener.data(piece))  # type: ignore[misc]

    def _end(self) -> None:
        assert self._writer is not None
        self._write(self._writer.end(_SAID) if self._is_stream else self._writer.whole(self._whole, _SAID))
        self._soon(lambda: None if self.is_over else self._over(self._listener.ended))

    def _do_fail(self, failure: Failure) -> None:
        assert self._writer is not None
        if failure.kind is FailureKind.SERVER and not self._is_stream:
            failure = replace(failure, status=500)
        if failure.status is not None:
            write = self._format.write_failure
            assert write is not None
            status, headers, body = write(failure, "")
            self._soon(lambda: self._listener.opened(status, {name.lower(): said for name, said in headers.items()}))
            self._write(body)
            self._soon(lambda: None if self.is_over else self._over(self._listener.ended))
        elif failure.kind is FailureKind.SERVER and self._is_open:
            self._write(self._writer.broken(failure, _SAID))
            self._soon(lambda: None if self.is_over else self._over(self._listener.ended))
        else:
            self._fails(failure)


# ----------------------------------------------------------------------------- what is asked


def question_in(asked: Request) -> tuple[int, Continuation | None]:
    """The number of the question, and from where its answer is wanted."""
    messages = [message for message in asked.chat.messages if message.role in {"user", "assistant"}]
    number = int(_words(messages[0]).removeprefix(QUESTION))
    if len(messages) == 1:
        return number, None
    mode = Mode.ASK if len(messages) > 2 else Mode.PREFIX
    return number, Continuation(mode, _words(messages[1]))


def _words(message: Message) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, Text))


def _key_in(request: HttpRequest) -> str:
    return next(value for said in request.headers.values() for value in said.split() if value.startswith("sk-"))


def _path_of(request: HttpRequest) -> str:
    return "/" + request.url.split("/", 3)[3]
