"""The backplane of one machine: the process that started the workers keeps what they have in common.

It is as small as can be, because nobody replaces it: it serves no request, and knows nothing of
what is said.  Time is the system's monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import msgspec

from unbroken.replicas import frames
from unbroken.replicas.commons import Commons

__all__ = ["Hub"]

ASK_S = 1.0
"""Who has not answered by then is told of by what it said last."""
UNSENT_BYTES_MAX = 16 * 1024 * 1024
"""A worker that hangs reads nothing; beyond so much its line is cut: if it wakes, another one takes its place."""

Settle = Callable[[str, Sequence[bytes]], bytes]
"""What is left of what several have answered to a question when they are gone."""


class Hub:
    """Where the workers' lines end.

    `settle` makes one answer of those of workers that are gone; `ready` is told who takes requests.
    """

    def __init__(
        self, settle: Settle, *, ready: Callable[[str], None] = lambda _: None, commons: Commons | None = None
    ) -> None:  # fmt: skip
        self._settle = settle
        self._commons = commons or Commons()
        self._ends: dict[str, _End] = {}
        self._gone: dict[str, bytes] = {}
        self._numbers = count(1)
        self._polls: dict[int, _Poll] = {}
        self._acts: Mapping[type[frames.FromWorker], Callable[[_End, Any], None]] = {
            frames.Join: self._join,
            frames.Ready: lambda end, _: ready(end.name),
            frames.Say: self._say,
            frames.Keep: self._keep,
            frames.Put: self._put,
            frames.HoldAsk: self._hold,
            frames.Get: self._get,
            frames.Ask: self._ask,
            frames.Will: self._will,
            frames.Answer: self._told,
            frames.Follow: self._follow,
            frames.Relay: self._relay,
        }

    async def serve(self, name: str, end: socket.socket) -> None:
        """Be there for a worker until it is gone."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        here = _End(name, writer)
        try:
            with contextlib.suppress(EOFError, OSError, ValueError, msgspec.DecodeError):
                while True:
                    message = _DECODER.decode(await frames.read_frame(reader))
                    self._acts[type(message)](here, message)
        finally:
            self._left(here)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    # -- what a worker says

    def _join(self, end: _End, _: frames.Join) -> None:
        self._ends[end.name] = end
        end.send(frames.Joined(self._commons.switches))
        for at, words in self._commons.said(time.monotonic()):
            end.send(frames.Heard(at, words))
        self._tell_who_is_followed()

    def _say(self, _: _End, message: frames.Say) -> None:
        now = time.monotonic()
        self._commons.say(message.words, now)
        for end in self._ends.values():
            end.send(frames.Heard(now, message.words))

    def _keep(self, _: _End, message: frames.Keep) -> None:
        self._commons.keep(message.name, message.switch)

    def _put(self, _: _End, message: frames.Put) -> None:
        self._commons.put(message.key, message.value, keep_s=message.keep_s, now=time.monotonic())

    def _get(self, end: _End, message: frames.Get) -> None:
        end.answer(message.number, self._commons.get(message.key, time.monotonic()))

    def _hold(self, end: _End, message: frames.HoldAsk) -> None:
        end.answer(message.number, self._commons.hold(end.name, message.holds, now=time.monotonic()))

    def _will(self, end: _End, message: frames.Will) -> None:
        end.last[message.what] = message.words

    # -- following what happens

    def _follow(self, end: _End, message: frames.Follow) -> None:
        end.follows = message.on
        self._tell_who_is_followed()

    def _tell_who_is_followed(self) -> None:
        """Each worker tells what happens there only while somebody follows elsewhere."""
        for end in self._ends.values():
            followed = any(other.follows for other in self._ends.values() if other is not end)
            if followed is not end.is_followed:
                end.is_followed = followed
                end.send(frames.Follow(followed))

    def _relay(self, end: _End, message: frames.Relay) -> None:
        for other in self._ends.values():
            if other.follows and other is not end:
                other.send(message)

    # -- questions to all

    def _ask(self, end: _End, message: frames.Ask) -> None:
        number, others = next(self._numbers), [other for other in self._ends.values() if other is not end]
        poll = self._polls[number] = _Poll(
            end, message.number, what=message.what, waiting={other.name for other in others}
        )
        poll.alarm = asyncio.get_running_loop().call_later(ASK_S, self._close, number)
        for other in others:
            other.send(frames.Asked(number, message.what))
        if not others:
            self._close(number)

    def _told(self, end: _End, message: frames.Answer) -> None:
        poll = self._polls.get(message.number)
        if poll is None:
            return
        end.last[poll.what] = message.body
        poll.waiting.discard(end.name)
        if not poll.waiting:
            self._close(message.number)

    def _close(self, number: int) -> None:
        """Everybody has answered, or had time to."""
        poll = self._polls.pop(number, None)
        if poll is None:
            return
        if poll.alarm is not None:
            poll.alarm.cancel()
        others = (other for other in self._ends.values() if other is not poll.end)
        told = [other.last[poll.what] for other in others if poll.what in other.last]
        told += [self._gone[poll.what]] if poll.what in self._gone else []
        poll.end.answer(poll.number, told)

    def _left(self, end: _End) -> None:
        """A worker is gone; what it has counted counts on."""
        self._ends.pop(end.name, None)
        self._commons.left(end.name)
        self._tell_who_is_followed()
        for what, words in end.last.items():
            known = [self._gone[what]] if what in self._gone else []
            self._gone[what] = self._settle(what, [*known, words])
        for number, poll in list(self._polls.items()):
            poll.waiting.discard(end.name)
            if not poll.waiting or poll.end is end:
                self._close(number)


_DECODER = msgspec.msgpack.Decoder(frames.FromWorker)


class _End:
    """The hub's end of a worker's line; `last` is what it answered last, by question."""

    def __init__(self, name: str, writer: asyncio.StreamWriter) -> None:
        self.name, self._writer = name, writer
        self.last: dict[str, bytes] = {}
        self.follows = self.is_followed = False

    def send(self, message: frames.FromParent) -> None:
        transport = self._writer.transport
        if transport.get_write_buffer_size() > UNSENT_BYTES_MAX:
            transport.abort()
        elif not transport.is_closing():
            transport.write(frames.packed(message))

    def answer(self, number: int, body: object) -> None:
        self.send(frames.Answer(number, msgspec.msgpack.encode(body)))


class _Poll:
    """A question that was passed on to all others."""

    def __init__(self, end: _End, number: int, *, what: str, waiting: set[str]) -> None:
        self.end, self.number, self.what, self.waiting = end, number, what, waiting
        self.alarm: asyncio.TimerHandle | None = None
