"""The gateway's own HTTP server, byte by byte."""

from __future__ import annotations

import asyncio
import json
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from faces.running import Running, config_for, running
from unbroken.testing import FakeProvider, Speed, essay

PATIENCE_S = 20.0


def chat(*, stream: bool = False, padding: int = 0) -> bytes:
    body: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi" + " " * padding}]}
    if stream:
        body["stream"] = True
    return json.dumps(body).encode()


def post(body: bytes, *headers: str, version: str = "1.1", path: str = "/v1/chat/completions") -> bytes:
    head = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def read_answer(reader: Reader) -> tuple[int, dict[str, str], bytes]:
    """One answer with a length, or one in chunks."""
    head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).decode("latin-1")
    status, *lines = head.strip().split("\r\n")
    headers: dict[str, str] = {}
    for name, _, value in (line.partition(":") for line in lines):
        headers[name.lower()] = ", ".join(filter(None, (headers.get(name.lower()), value.strip())))
    if "content-length" in headers:
        return int(status.split()[1]), headers, await reader.readexactly(int(headers["content-length"]))
    body = b""
    while size := int(await reader.readline(), 16):
        body += (await reader.readexactly(size + 2))[:-2]
    await reader.readline()
    return int(status.split()[1]), headers, body


def served(tmp: Path, act: Callable[[Running, Reader, Writer], Awaitable[None]], **more: Any) -> None:
    """Run a test over one raw connection to a gateway with one provider."""
    speed = more.pop("speed", Speed())

    async def run() -> None:
        async with FakeProvider("a", speed=speed) as provider, running(config_for([provider], tmp, **more)) as gateway:
            reader, writer = await asyncio.open_connection(*gateway.address)
            try:
                await act(gateway, reader, writer)
            finally:
                writer.close()

    asyncio.run(run())


def test_a_connection_serves_one_request_after_the_other(tmp_path: Path) -> None:
    """Keep-alive, and answers in order for requests that were sent ahead."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(chat()) + post(chat(stream=True)) + b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        first, second, third = [await read_answer(reader) for _ in range(3)]

        assert [200, 200, 200] == [first[0], second[0], third[0]]
        assert essay("hi") == json.loads(first[2])["choices"][0]["message"]["content"]
        assert second[2].endswith(b"data: [DONE]\n\n")
        assert {"status": "ok"} == json.loads(third[2])

    served(tmp_path, act)


def test_a_request_may_come_in_any_pieces(tmp_path: Path) -> None:
    """Split anywhere, with a chunked body and an Expect header, it is the same request."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        request = post(chat())
        for i in range(0, len(request), 7):
            writer.write(request[i : i + 7])
            await writer.drain()
        assert 200 == (await read_answer(reader))[0]

        body = chat()
        writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        assert b"HTTP/1.1 100 Continue\r\n\r\n" == await reader.readuntil(b"\r\n\r\n")
        writer.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        assert 200 == (await read_answer(reader))[0]

    served(tmp_path, act)


def test_a_base_url_without_v1_works_too(tmp_path: Path) -> None:
    """The commonest slip in pointing a client at a gateway is no error."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(chat(), path="/chat/completions") + b"GET /models HTTP/1.1\r\nHost: x\r\n\r\n")
        answer, models = [await read_answer(reader) for _ in range(2)]

        assert [200, 200] == [answer[0], models[0]]
        assert "m" in {model["id"] for model in json.loads(models[2])["data"]}

    served(tmp_path, act)


def test_http_1_0_gets_a_body_that_ends_with_the_connection(tmp_path: Path) -> None:
    """No chunks for a caller who does not know them."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(chat(stream=True), version="1.0"))
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)

        assert b"transfer-encoding" not in answer
        assert answer.endswith(b"data: [DONE]\n\n")

    served(tmp_path, act)


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"this is not http\r\n\r\n", 400),
        (post(chat(padding=1_200_000)), 413),
        (b"GET /health HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n", 404),
        (b"GET /v1/chat/completions HTTP/1.1\r\nHost: x\r\n\r\n", 405),
        (post(b"{not json"), 400),
        (post(b'{"model": "m"}'), 400),
    ],
)
def test_what_cannot_be_served_gets_an_error_in_openais_envelope(
    tmp_path: Path, request_bytes: bytes, status: int
) -> None:
    """Bad requests are answered, not dropped, and reach no provider."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(request_bytes)
        got, headers, body = await read_answer(reader)

        assert status == got
        assert json.loads(body)["error"]["message"]
        assert "," not in headers.get("x-request-id", "")

    served(tmp_path, act, server={"body_limit_mb": 1})


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (post(chat(padding=1_200_000), path="/v1/messages"), 413),
        (b"POST /v1/messages HTTP/1.1\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", 431),
    ],
)
def test_what_is_too_large_is_told_in_the_words_of_its_door(tmp_path: Path, request_bytes: bytes, status: int) -> None:
    """A client of Anthropic's hears Anthropic's envelope also where its request was not read to the end."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(request_bytes)
        got, _, body = await read_answer(reader)

        assert (status, "error") == (got, json.loads(body)["type"])

    served(tmp_path, act, server={"body_limit_mb": 1})


def test_no_header_of_the_callers_reaches_the_provider(tmp_path: Path) -> None:
    """Neither its key nor a hop-by-hop header nor one of ours passes."""

    async def run() -> None:
        async with FakeProvider("a") as provider, running(config_for([provider], tmp_path)) as gateway:
            reader, writer = await asyncio.open_connection(*gateway.address)
            writer.write(post(chat(), "Authorization: Bearer sk-callers", "Connection: keep-alive, X-Drop",
                              "X-Drop: 1", "X-Unbroken-Total-S: 30", "Cookie: a=b"))  # fmt: skip
            await read_answer(reader)
            writer.close()
            sent = provider.seen[0].headers

        assert "Bearer sk-a" == sent["authorization"]
        assert not {"connection", "x-drop", "x-unbroken-total-s", "cookie"} & set(sent)

    asyncio.run(run())


def test_stopping_lets_answers_under_way_finish(tmp_path: Path) -> None:
    """A gateway that is told to stop takes no more and cuts nothing off."""

    async def act(gateway: Running, reader: Reader, writer: Writer) -> None:
        writer.write(post(chat(stream=True)))
        await asyncio.wait_for(reader.readuntil(b"data:"), PATIENCE_S)
        stopping = asyncio.create_task(gateway.server.stop(grace_s=20.0))
        rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
        await stopping

        assert b"data: [DONE]\n\n" in rest
        with pytest.raises(OSError):
            await asyncio.open_connection(*gateway.address)

    served(tmp_path, act, speed=Speed(first_token_s=0.0, tokens_per_s=200.0))


async def settled(gateway: Running) -> int:
    """The bytes that wait for the only caller, once they have stopped to grow."""
    sizes = [-1, 0]
    while sizes[-1] == 0 or len(set(sizes[-5:])) > 1:
        await asyncio.sleep(0.02)
        sizes += [door._transport.get_write_buffer_size() for door in gateway.server.doors if door._transport]
    return sizes[-1]


def test_a_slow_reader_slows_the_provider_and_loses_nothing(tmp_path: Path) -> None:
    """Memory stays bounded when the caller is slower than the provider, who is asked once."""

    async def run() -> None:
        text = "word " * 50_000
        provider = FakeProvider("a", answer=lambda request: text)
        async with (
            provider,
            running(config_for([provider], tmp_path, defaults={"deadlines": {"gap_s": 60}})) as gateway,
        ):
            reader, writer = await asyncio.open_connection(*gateway.address, limit=4096)
            writer.write(post(chat(stream=True)))
            waiting = await settled(gateway)
            total = b""
            while not total.endswith(b"0\r\n\r\n"):
                total += await asyncio.wait_for(reader.read(1 << 20), PATIENCE_S)
            writer.close()

        assert 0 < waiting < 8_000_000
        assert len(provider.seen) == 1
        assert total.count(b'"content"') >= 50_000

    asyncio.run(run())
