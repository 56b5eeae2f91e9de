"""Clients that are slow, huge or deep: each is limited, and costs the others nothing."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from pathlib import Path

import pytest

from faces.running import Running, config_for, running
from faces.test_server import chat, post, read_answer, served, settled
from security.key_world import FACES
from unbroken.faces.server import HEAD_BYTES_MAX, IDLE_S, READ_S, STUCK_S, Door
from unbroken.testing import FakeProvider


async def door_of(gateway: Running, *, reading: bool) -> Door:
    """The only connection, once it has begun to read a request."""
    while True:
        for door in gateway.server.doors:
            if bool(door._head_size) is reading:
                return door
        await asyncio.sleep(0.005)


def now() -> float:
    return asyncio.get_running_loop().time()


@pytest.mark.parametrize("sent", [b"POST /v1/chat", post(chat())[:-5]])
def test_a_request_that_does_not_end_is_ended(sent: bytes, tmp_path: Path) -> None:
    """A caller who sends a byte now and then holds a connection for a minute, and not for ever."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(sent)
        door = await door_of(gateway, reading=True)
        door.close_if_late(now() + READ_S - 1)
        assert not door._transport.is_closing()  # type: ignore[union-attr]
        door.close_if_late(now() + READ_S + 1)
        assert await reader.read() == b""

    served(tmp_path, act)


def test_a_request_has_its_time_from_its_first_byte(tmp_path: Path) -> None:
    """Who was silent for a minute on a kept connection and then asks is not cut off in the middle."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        request = post(chat())
        writer.write(request)
        assert (await read_answer(reader))[0] == 200
        door = await door_of(gateway, reading=False)
        door._reading_since -= IDLE_S - 1
        writer.write(request[:20])
        assert await door_of(gateway, reading=True) is door
        door.close_if_late(now())
        writer.write(request[20:])
        assert (await read_answer(reader))[0] == 200

    served(tmp_path, act)


def test_who_takes_nothing_is_left(tmp_path: Path) -> None:
    """A caller who reads no more is cut off after a minute; one who reads slowly is not."""

    async def test() -> None:
        provider = FakeProvider("a", answer=lambda _: "word " * 50_000)
        defaults = {"deadlines": {"gap_s": 60}}
        async with provider, running(config_for([provider], tmp_path, defaults=defaults)) as gateway:
            reader, writer = await asyncio.open_connection(*gateway.address, limit=4096)
            writer.write(post(chat(stream=True)))
            assert await settled(gateway)
            (door,) = gateway.server.doors
            door.close_if_late(now())
            door.close_if_late(now() + STUCK_S - 1)
            await reader.readexactly(2_000_000)  # some of it was in the system's own buffers
            door.close_if_late(now() + STUCK_S + 1)
            assert not door._transport.is_closing()  # type: ignore[union-attr]
            await settled(gateway)
            late = now()
            while gateway.server.doors:  # the system's own buffers may still have taken some
                door.close_if_late(late)
                late += STUCK_S + 1
                await asyncio.sleep(0)
            with contextlib.suppress(ConnectionError):
                assert not (await reader.read()).endswith(b"0\r\n\r\n")
            writer.close()

    asyncio.run(test())


def test_nothing_is_written_to_who_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller whose line broke in the moment in which much arrives: none of it is thrown at the dead line."""
    event = b'data: {"choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
    chunks = b"%x\r\n%b\r\n" % (len(event), event) * 50

    async def test() -> None:
        asked: asyncio.Queue[Writer] = asyncio.Queue()

        async def provide(reader: Reader, writer: Writer) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            asked.put_nowait(writer)

        async with await asyncio.start_server(provide, "127.0.0.1", 0) as server, FakeProvider("a") as provider:
            here = {"base_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"}
            async with running(config_for([provider], tmp_path, provider=here)) as gateway:
                with socket.create_connection(gateway.address) as caller:
                    caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
                    caller.sendall(post(chat(stream=True)))
                    writer = await asked.get()
                writer.write(chunks)
                while gateway.server.doors:
                    await asyncio.sleep(0)
                writer.close()

    with caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(test())
    assert not caplog.records


@pytest.mark.parametrize("head", [
    b"GET /" + b"a" * HEAD_BYTES_MAX + b" HTTP/1.1\r\n",
    b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * (HEAD_BYTES_MAX // 5),
    b"GET / HTTP/1.1\r\nx: " + b"a" * HEAD_BYTES_MAX,
])  # fmt: skip
def test_a_huge_head_is_refused(head: bytes, tmp_path: Path) -> None:
    """Whether the path, one header or their number is beyond measure, the answer is 431 before it is all there."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(head)
        status, _, _ = await read_answer(reader)
        assert status in {400, 431}

    served(tmp_path, act)


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_a_huge_body_is_refused_and_not_kept(framing: str, tmp_path: Path) -> None:
    """Beyond the limit nothing more is kept: however it is framed, 413 is told while the caller still sends."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n"
        piece = b"a" * 65_536
        framed = b"10000\r\n" + piece + b"\r\n" if framing == "chunks" else piece
        how = b"transfer-encoding: chunked" if framing == "chunks" else b"content-length: 99999999999"
        writer.write(head + how + b"\r\n\r\n" + framed * 32)
        assert (await read_answer(reader))[0] == 413
        assert all(sum(map(len, door._body)) <= 1_100_000 for door in gateway.server.doors)

    served(tmp_path, act, server={"body_limit_mb": 1})


def test_what_is_sent_ahead_waits_outside(tmp_path: Path) -> None:
    """Who sends a thousand requests at once has a handful of them taken in while the first is answered."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(chat()) * 1_000)
        most = 0
        for _ in range(30):
            assert (await read_answer(reader))[0] == 200
            most = max(most, *(len(door._ahead) for door in gateway.server.doors))
        assert most <= 256 * 1024 // len(post(chat())) + 1  # what one packet can bring

    served(tmp_path, act)


@pytest.mark.parametrize("face", FACES)
@pytest.mark.parametrize(
    "body", [b"[" * 200_000, b'{"messages":' * 20_000, b'{"model":"m","messages":[{"a":' + b"[" * 90_000]
)
def test_a_deep_body_is_a_mistake_like_any_other(face: str, body: bytes, tmp_path: Path) -> None:
    """Nesting beyond all sense is a 400 in the words of the face, and never a defect."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(body, path=FACES[face][0]))
        assert (await read_answer(reader))[0] == 400

    served(tmp_path, act)
