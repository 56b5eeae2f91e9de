"""A worker's line to the hub in the process that started it: the `Backplane` of one machine."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgspec

from unbroken.replicas import frames
from unbroken.replicas.backplane import Found, Gone, Grant, Hearer, Hold, Switch

__all__ = ["Line"]

ANSWER_S = 2.0
"""The parent does next to nothing: who hears nothing from it for so long will hear no more."""


class Line:
    """A `Backplane`.  `ended` is called when the parent is gone, which leaves nobody to be told to stop by.

    `followed` is told whether anybody elsewhere follows what happens here, `relayed` what happens there.
    """

    def __init__(self, end: socket.socket, *, ended: Callable[[], None]) -> None:
        self._end, self._ended = end, ended
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._hearer: Hearer | None = None
        self._closed = False
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[bytes]] = {}
        self._questions: set[str] = set()
        self._unsent: list[frames.FromWorker] = []
        self.followed: Callable[[bool], None] = lambda _: None
        self.relayed: Callable[[bytes], None] = lambda _: None
        self._looking: set[asyncio.Task[None]] = set()

    # -- as a backplane

    def start(self, hearer: Hearer) -> None:
        if self._reading is None:
            self._hearer = hearer
            self._reading = asyncio.get_running_loop().create_task(self._read(hearer))

    async def close(self) -> None:
        if self._reading is None:
            return
        if self._writer is not None and self._hearer is not None:
            for what in self._questions:
                self._send(frames.Will(what, self._hearer.asked(what)))
            with contextlib.suppress(OSError):
                await self._writer.drain()
        self._closed = True
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    def say(self, words: bytes) -> None:
        self._send(frames.Say(words))

    def keep(self, name: str, switch: Switch) -> None:
        self._send(frames.Keep(name, switch))

    async def hold(self, holds: Sequence[Hold]) -> tuple[list[Grant], int]:
        granted: tuple[list[Grant], int] = await self._answer(lambda number: frames.HoldAsk(number, holds), _GRANTS)
        return granted

    async def ask(self, what: str) -> list[bytes] | None:
        self._questions.add(what)
        try:
            told: list[bytes] = await self._answer(lambda number: frames.Ask(number, what), _TOLD)
        except Gone:
            return []
        return told

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        async def look() -> None:
            found: Found = None
            with contextlib.suppress(Gone):
                found = await self._answer(lambda number: frames.Get(number, key), _FOUND)
            ready(found)

        task = asyncio.get_running_loop().create_task(look())
        self._looking.add(task)
        task.add_done_callback(self._looking.discard)

    def put(self, key: str, value: bytes, *, keep_s: float) -> None:
        self._send(frames.Put(key, value, keep_s))

    def ready(self) -> None:
        """Say that requests are taken here now."""
        self._send(frames.Ready())

    def follow(self, *, on: bool) -> None:
        """Whether what happens at other workers is to be `relayed` here."""
        self._send(frames.Follow(on))

    def relay(self, words: bytes) -> None:
        """Tell what happens here, which is wanted while somebody has `followed`."""
        self._send(frames.Relay(words))

    # -- inside

    def _send(self, message: frames.FromWorker) -> bool:
        if self._writer is None:
            self._unsent.append(message)
            return True
        if self._writer.is_closing():
            return False
        self._writer.write(frames.packed(message))
        return True

    async def _answer(self, ask: Callable[[int], frames.FromWorker], decoder: msgspec.msgpack.Decoder[Any]) -> Any:
        number = next(self._numbers)
        answer = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            if not self._send(ask(number)):
                raise Gone("the line is closed")
            async with asyncio.timeout(ANSWER_S):
                return decoder.decode(await answer)
        except TimeoutError:
            raise Gone("the parent does not answer") from None
        finally:
            del self._waiting[number]

    async def _read(self, hearer: Hearer) -> None:
        """Take what comes, until nothing more will; who cannot take it (a defect) had better begin anew."""
        reader, self._writer = await asyncio.open_unix_connection(sock=self._end)
        for message in (frames.Join(), *self._unsent):
            self._send(message)
        try:
            with contextlib.suppress(EOFError, OSError, ValueError, msgspec.DecodeError):
                while True:
                    self._take(_DECODER.decode(await frames.read_frame(reader)), hearer)
        finally:
            self._writer.close()
            if not self._closed:
                hearer.lost("the process that started this one is gone")
                self._ended()

    def _take(self, message: frames.FromParent, hearer: Hearer) -> None:
        match message:
            case frames.Joined():
                hearer.joined(message.switches)
            case frames.Heard():
                hearer.heard(message.words, message.at)
            case frames.Asked():
                self._questions.add(message.what)
                self._send(frames.Answer(message.number, hearer.asked(message.what)))
            case frames.Follow():
                self.followed(message.on)
            case frames.Relay():
                self.relayed(message.words)
            case frames.Answer() if (waiting := self._waiting.get(message.number)) is not None and not waiting.done():
                waiting.set_result(message.body)


_DECODER = msgspec.msgpack.Decoder(frames.FromParent)
_GRANTS = msgspec.msgpack.Decoder(tuple[list[Grant], int])
_TOLD = msgspec.msgpack.Decoder(list[bytes])
_FOUND = msgspec.msgpack.Decoder(tuple[bytes, float] | None)
