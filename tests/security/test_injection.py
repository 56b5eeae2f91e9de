"""What a caller writes stays what it is: no address that is fetched, no header, no line of a log, no other path."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from faces.running import Running, running
from security.key_world import FACES, MESSAGES
from unbroken.config import load
from unbroken.faces.asgi import App
from unbroken.sinks.logs import JsonLines

EVIL = "evil\r\nx-evil: 1\r\n\r\nGET /smuggled HTTP/1.1\r\nhost: x\r\n\r\n"
NAMES = (EVIL, "../../../admin", "m?x=1#y", "m\x00n", "m\u2028n", "%0d%0ax-evil:%201", "a" * 5_000)
FORMATS = ("openai_chat", "openai_responses", "anthropic", "gemini", "bedrock", "ollama", "cohere", "huggingface")


class Trap:
    """A server that keeps what it is sent, and answers 500 with more than one line."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.url = ""

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        self.heard.append(head)
        body = b'{"error": {"message": "first line\\r\\nERROR unbroken: second line"}}'
        writer.write(b"HTTP/1.1 500 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()


@asynccontextmanager
async def trap() -> AsyncIterator[Trap]:
    made = Trap()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()


@asynccontextmanager
async def gateway(tmp: Path, url: str) -> AsyncIterator[Running]:
    """A provider `p-FORMAT` and a route `FORMAT` for each format, all at this address."""
    providers = {
        f"p-{name}": {
            "base_url": f"{url}/{name}", "format": name, "key": f"AKIAEXAMPLE:{name}", "model": "m",
            "options": {"region": "eu-west-1"},
        }
        for name in FORMATS
    }  # fmt: skip
    document = {
        "providers": providers,
        "routes": {name: {"targets": [f"p-{name}"]} for name in FORMATS},
        "defaults": {"retries": {"same_target_max": 0}},
    }
    (tmp / "unbroken.yaml").write_text(json.dumps(document), encoding="utf-8")
    async with running(load(tmp / "unbroken.yaml", {})) as here:
        yield here


async def raw(here: Running, path: str, body: Any, *, head: str = "") -> bytes:
    """A request and all that is answered, as bytes."""
    reader, writer = await asyncio.open_connection(*here.address)
    content = json.dumps(body).encode()
    writer.write(
        f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(content)}\r\n{head}\r\n".encode()
        + content
    )
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize("form", FORMATS)
def test_no_model_name_is_more_than_a_name_to_a_provider(form: str, tmp_path: Path) -> None:
    """Whatever stands in `model` stays inside the one request, and below the path, that it was meant for."""

    async def test() -> None:
        async with trap() as provider, gateway(tmp_path, provider.url) as here:
            for name in NAMES:
                await raw(here, "/v1/chat/completions", {"model": f"p-{form}/{name}", "messages": MESSAGES})
        for head in provider.heard:
            line, *fields = head.split(b"\r\n")
            method, path, version = line.split(b" ")
            assert (method, version) == (b"POST", b"HTTP/1.1")
            assert path.startswith(f"/{form}/".encode())
            assert b"/../" not in path
            assert not [name for name in fields if name.lower().startswith((b"x-evil", b"get "))]
            assert not [byte for byte in line if byte < 0x20 or byte > 0x7E]

    asyncio.run(test())


@pytest.mark.parametrize("face", FACES)
def test_nothing_asked_becomes_a_header_of_the_answer(face: str, tmp_path: Path) -> None:
    """An answer has the headers that the gateway gave it, whatever model, id or caller was named."""

    async def test() -> list[bytes]:
        async with trap() as provider, gateway(tmp_path, provider.url) as here:
            path, body = FACES[face]
            return [
                await raw(here, path.replace("/m:", "/p-openai_chat%2Fevil%0D%0Ax-evil:%201:"),
                          {**body, "model": f"p-openai_chat/{name}"},
                          head="x-unbroken-caller: a\tb\r\nx-request-id: chosen\r\ntraceparent: 00-evil\r\n")
                for name in NAMES
            ]  # fmt: skip

    for answer in asyncio.run(test()):
        head, _, _ = answer.partition(b"\r\n\r\n")
        names = [line.partition(b":")[0] for line in head.split(b"\r\n")[1:]]
        assert set(names) <= ANSWERED, names
        assert b"chosen" not in head
        assert answer.count(b"HTTP/1.1") == 1 + answer.partition(b"\r\n\r\n")[2].count(b"HTTP/1.1")


ANSWERED = {
    *(b"content-type", b"content-length", b"connection", b"date", b"x-request-id", b"request-id", b"retry-after"),
    *(b"x-unbroken-request-id", b"x-unbroken-target", b"x-unbroken-attempts", b"x-unbroken-failover", b"cache-control"),
    *(b"x-amzn-requestid", b"x-amzn-errortype", b"transfer-encoding", b"x-should-retry"),
}


def test_asgi_headers_have_no_line_ends(tmp_path: Path) -> None:
    """Mounted in somebody else's server, the gateway hands on headers that are one line each."""

    async def test() -> None:
        async with trap() as provider, gateway(tmp_path, provider.url) as here:
            for name in NAMES:
                sent = await asgi(App(here.gateway), {"model": f"p-openai_chat/{name}", "messages": MESSAGES})
                lines = [value for pair in sent["headers"] for value in pair]
                assert not [line for line in lines if b"\r" in line or b"\n" in line or b"\0" in line]

    asyncio.run(test())


async def asgi(app: App, body: Any) -> Any:
    """The start of what an application answers."""
    asked: Iterator[Any] = iter([{"type": "http.request", "body": json.dumps(body).encode()}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(asked, None) or await asyncio.get_running_loop().create_future()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "query_string": b"", "headers": []}
    await app(scope, receive, send)
    return sent[0]


@pytest.mark.parametrize("formatter", [logging.Formatter("%(levelname)s %(name)s: %(message)s"), JsonLines()])
def test_a_log_has_a_line_for_what_it_tells(formatter: logging.Formatter, tmp_path: Path) -> None:
    """Neither a caller's words nor a provider's begin a line of their own in the log."""
    lines: list[str] = []

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(formatter.format(record))

    async def test() -> None:
        async with trap() as provider, gateway(tmp_path, provider.url) as here:
            for name in NAMES:
                await raw(here, "/v1/chat/completions", {"model": f"p-openai_chat/{name}", "messages": MESSAGES})
                await raw(here, "/%0AERROR%20unbroken", {}, head="x-unbroken-caller: c\r\n")

    logger, handler = logging.getLogger("unbroken"), Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        asyncio.run(test())
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert any("first line" in line for line in lines)
    assert not [line for line in lines if set(line) & set("\r\n\0\u2028")]


def image(url: str) -> dict[str, dict[str, Any]]:
    """What each face may name an address in."""
    return {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": [
            {"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": url}}]}]},
        "/v1/responses": {"input": [{"role": "user", "content": [
            {"type": "input_image", "image_url": url}, {"type": "input_file", "file_url": url}]}],
            "previous_response_id": url},
        "/v1/messages": {"max_tokens": 5, "messages": [{"role": "user", "content": [
            {"type": "image", "source": {"type": "url", "url": url}}]}],
            "mcp_servers": [{"type": "url", "url": url, "name": "x"}]},
        "/v1beta/models/ROUTE:generateContent": {"contents": [{"role": "user", "parts": [
            {"fileData": {"mimeType": "image/png", "fileUri": url}}]}]},
        "/v2/chat": {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]},
        "/api/chat": {"messages": [{"role": "user", "content": "x", "images": [url]}], "stream": False},
        "/v1/images/edits": {"prompt": "x", "image": url, "images": [{"image_url": url}]},
        "/v1/images/generations": {"prompt": "x", "image": url, "response_format": "url"},
        "/v1/videos": {"prompt": "x", "input_reference": url},
        "/v1/audio/transcriptions": {"file": url, "url": url},
        "/v1/embeddings": {"input": url, "base_url": url, "api_base": url},
    }  # fmt: skip


@pytest.mark.parametrize("path", image(""))
def test_no_address_in_a_request_is_ever_fetched(path: str, tmp_path: Path) -> None:
    """Pictures and files by address are the provider's to fetch, or nobody's: nothing is asked of them from here."""

    async def test() -> list[bytes]:
        async with trap() as provider, trap() as victim, gateway(tmp_path, provider.url) as here:
            body = image(f"{victim.url}/latest/meta-data")[path]
            for form in FORMATS:
                head = f"x-forwarded-host: {victim.url}\r\nx-unbroken-base-url: {victim.url}\r\n"
                await raw(here, path.replace("ROUTE", form), {"model": form, **body}, head=head)
            return victim.heard

    assert asyncio.run(test()) == []


def test_the_gateway_is_no_proxy(tmp_path: Path) -> None:
    """A request for another host's address, or to connect somewhere, is one to the gateway itself."""

    async def test() -> tuple[list[bytes], list[bytes]]:
        async with trap() as provider, trap() as victim, gateway(tmp_path, provider.url) as here:
            answers = []
            for line in (f"GET {victim.url}/ HTTP/1.1", f"CONNECT {victim.url[7:]} HTTP/1.1"):
                reader, writer = await asyncio.open_connection(*here.address)
                writer.write(f"{line}\r\nhost: {victim.url[7:]}\r\nconnection: close\r\n\r\n".encode())
                answers.append(await reader.read())
                writer.close()
            return answers, victim.heard

    answers, heard = asyncio.run(test())
    assert [answer.split(b" ")[1] for answer in answers] == [b"200", b"405"]
    assert heard == []
