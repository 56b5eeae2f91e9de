"""A provider that is quick and has patience: plain requests are answered when all of them was read, streams tick.

    python -m benchmarks.bench_upstream PORT

A stream begins at once and then brings an event a second, at a moment of its own within the second, as the streams of
many callers do.  Each event has its number and the time it was sent, of the clock that all processes of a machine
share (monotonic, in nanoseconds).
"""

from __future__ import annotations

import asyncio
import re
import sys
from random import Random
from time import monotonic_ns
from typing import cast

from benchmarks.stage import ANSWER

from unbroken.faces.cli.serve import loop_factory

PERIOD_S = 1.0
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
    len(ANSWER),
    ANSWER.encode(),
)
BEFORE = (
    b'data: {"id":"chatcmpl-tick","object":"chat.completion.chunk","created":1741569952,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":" @'
)
AFTER = b'@"},"logprobs":null,"finish_reason":null}]}\n\n'
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
STREAM = re.compile(rb'"stream": ?true')
SHORT = 1000
"""Bytes: who asks for a stream here asks shortly, and nobody searches a megabyte for the word."""


class Provider(asyncio.Protocol):
    """One connection, with one request at a time; a stream goes on until its caller leaves."""

    draw = Random(1)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own does not say that it is one
        self._timer: asyncio.TimerHandle | None = None
        self._number = 0
        self._expect()

    def _expect(self) -> None:
        self._heard, self._begins, self._ends = bytearray(), 0, 0

    def data_received(self, data: bytes) -> None:
        self._heard += data
        if not self._ends and (mark := self._heard.find(b"\r\n\r\n")) >= 0:
            length = LENGTH.search(self._heard, 0, mark)
            self._begins = mark + 4
            self._ends = self._begins + (int(length[1]) if length else 0)
        if self._ends and len(self._heard) >= self._ends:
            streamed = self._ends - self._begins < SHORT and STREAM.search(self._heard, self._begins)
            self._expect()
            self._begin() if streamed else self._transport.write(PLAIN)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _begin(self) -> None:
        self._transport.write(HEAD)
        self._say()
        self._due_s = asyncio.get_running_loop().time() + self.draw.uniform(0.0, PERIOD_S)
        self._timer = asyncio.get_running_loop().call_at(self._due_s, self._tick)

    def _tick(self) -> None:
        self._say()
        self._due_s += PERIOD_S
        self._timer = asyncio.get_running_loop().call_at(self._due_s, self._tick)

    def _say(self) -> None:
        event = b"%s%d,%d%s" % (BEFORE, self._number, monotonic_ns(), AFTER)
        self._number += 1
        self._transport.write(b"%x\r\n%s\r\n" % (len(event), event))


async def serve(port: int) -> None:
    """Until told to stop."""
    server = await asyncio.get_running_loop().create_server(Provider, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(serve(int(sys.argv[1])))
