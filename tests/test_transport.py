"""The HTTP client against servers that misbehave byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from unbroken.faces.cli.serve import loop_factory
from unbroken.failures import Failure, FailureKind
from unbroken.transport import Connection, Connections, Origin
from unbroken.types import HttpRequest

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PATIENCE_S = 20.0


@dataclass
class Heard:
    """A listener that remembers."""

    events: list[str] = field(default_factory=list)
    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    failure: Failure | None = None
    over: asyncio.Event = field(default_factory=asyncio.Event)
    first: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self) -> None:
        self.events.append("connected")

    def opened(self, status: int, headers: Mapping[str, str]) -> None:
        self.events.append("opened")
        self.status, self.headers = status, dict(headers)

    def data(self, data: bytes) -> None:
        self.body += data
        self.first.set()

    def ended(self) -> None:
        self.events.append("ended")
        self.over.set()

    def failed(self, failure: Failure) -> None:
        self.events.append("failed")
        self.failure = failure
        self.over.set()


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One request of a test, whole."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    return head + await reader.readexactly(length)


def answering(*answers: bytes) -> Serve:
    """A server that gives these answers, one for each request, and then closes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await read_request(reader)
            writer.write(answer)
            await writer.drain()
        writer.close()

    return serve


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextlib.asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[str]:
    """A server for the length of a test; gives its URL."""

    async def closing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()

    server = await asyncio.start_server(closing, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await asyncio.sleep(0.01)


def exchange(serve: Serve, *, requests: int = 1, body: bytes = b"{}", limit: int = 1 << 20) -> list[Heard]:
    """What listeners hear who ask this server so many times, one after the other."""

    async def run() -> list[Heard]:
        connections, all_heard = Connections(answer_bytes_max=limit), []
        async with serving(serve) as url:
            for _ in range(requests):
                heard = Heard()
                connections.send(HttpRequest(method="POST", url=f"{url}/v1/x", headers={"a": "b"}, body=body), heard)
                await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
                all_heard.append(heard)
            await connections.close()
        return all_heard

    return asyncio.run(run())


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nX-Thing: one\r\n\r\nhello"


def test_an_answer_arrives_in_order_with_lower_case_headers() -> None:
    """A plain exchange tells connected, opened, body, ended."""
    (heard,) = exchange(answering(OK))

    assert ["connected", "opened", "ended"] == heard.events
    assert (200, "one", b"hello") == (heard.status, heard.headers["x-thing"], heard.body)


def test_the_request_is_well_formed_and_breaks_in_headers_are_removed() -> None:
    """A line break in a configured key cannot start a header of its own."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await read_request(reader))
        writer.write(OK)

    async def run() -> None:
        heard, connections = Heard(), Connections()
        headers = {"authorization": "Bearer sk\r\nx-evil: 1"}
        async with serving(serve) as url:
            connections.send(HttpRequest(method="POST", url=url, headers=headers), heard)
            await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
            await connections.close()

    asyncio.run(run())

    assert seen[0].startswith(b"POST / HTTP/1.1\r\nhost: 127.0.0.1:")
    assert b"\r\nauthorization: Bearer skx-evil: 1\r\n" in seen[0]


def test_a_connection_is_used_again() -> None:
    """Two requests in a row share one connection."""
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await answering(OK, OK)(reader, writer)

    first, second = exchange(serve, requests=2)

    assert 1 == connections
    assert b"hello" == first.body == second.body


def test_a_refused_connection_was_never_sent() -> None:
    """Nothing listens: CONNECT, and the failure says that the request did not go out."""

    async def run() -> Failure | None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port = taken.getsockname()[1]
        heard, connections = Heard(), Connections()
        connections.send(HttpRequest(method="POST", url=f"http://127.0.0.1:{port}/x", headers={}), heard)
        await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
        await connections.close()
        return heard.failure

    failure = asyncio.run(run())

    assert failure is not None
    assert (FailureKind.CONNECT, False) == (failure.kind, failure.sent)
    assert failure.message == "cannot connect: Connection refused"


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/x", "http:///x", "nonsense"])
def test_a_url_that_cannot_be_asked_is_a_failure_not_an_exception(url: str) -> None:
    """A wrong base URL fails the attempt and nothing else."""

    async def run() -> Failure | None:
        heard, connections = Heard(), Connections()
        connections.send(HttpRequest(method="POST", url=url, headers={}), heard)
        await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
        return heard.failure

    failure = asyncio.run(run())

    assert failure is not None
    assert failure.kind is FailureKind.CONNECT


def test_a_reset_before_the_answer_is_broken() -> None:
    """The provider reads the request and resets."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        reset(writer)

    (heard,) = exchange(serve)

    assert heard.failure is not None
    assert FailureKind.BROKEN is heard.failure.kind
    assert "before it answered" in heard.failure.message


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ],
)
def test_less_than_was_promised_is_broken(answer: bytes) -> None:
    """A body that ends before its length or its last chunk is not passed off as whole."""
    (heard,) = exchange(answering(answer))

    assert ["connected", "opened", "failed"] == heard.events
    assert heard.failure is not None
    assert FailureKind.BROKEN is heard.failure.kind


def test_a_body_that_ends_with_the_connection_is_whole() -> None:
    """HTTP/1.0 without a length ends when the connection does."""
    (heard,) = exchange(answering(b"HTTP/1.0 200 OK\r\ncontent-type: text/plain\r\n\r\nhello"))

    assert ["connected", "opened", "ended"] == heard.events
    assert b"hello" == heard.body


@pytest.mark.parametrize("answer", [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 banana\r\n\r\n"])
def test_what_is_not_http_is_malformed(answer: bytes) -> None:
    """Another protocol on the port is a failure of that provider."""
    (heard,) = exchange(answering(answer))

    assert heard.failure is not None
    assert FailureKind.MALFORMED is heard.failure.kind


def test_an_answer_beyond_the_limit_is_refused() -> None:
    """A provider cannot fill our memory."""
    big = b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000

    (heard,) = exchange(answering(big), limit=100_000)

    assert heard.failure is not None
    assert FailureKind.MALFORMED is heard.failure.kind
    assert len(heard.body) <= 100_000


def test_compressed_answers_are_decompressed_up_to_the_limit() -> None:
    """gzip is undone although we do not ask for it; a bomb is refused."""

    def gzipped(body: bytes) -> bytes:
        packed = gzip.compress(body)
        return b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed

    (small,) = exchange(answering(gzipped(b"hello " * 100)))
    (bomb,) = exchange(answering(gzipped(b"x" * 5_000_000)), limit=100_000)

    assert b"hello " * 100 == small.body
    assert bomb.failure is not None
    assert FailureKind.MALFORMED is bomb.failure.kind


def test_an_interim_answer_is_passed_over() -> None:
    """100 Continue is not the answer."""
    (heard,) = exchange(answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK))

    assert (200, b"hello") == (heard.status, heard.body)


def test_cancel_closes_the_connection_and_silences_the_listener() -> None:
    """Whoever hangs up hears nothing more, and the provider notices."""
    gone = []

    async def run() -> Heard:
        noticed = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_request(reader)
            writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
            try:
                gone.append(await reader.read(1))
            except ConnectionError:
                gone.append(b"")
            noticed.set()

        heard, connections = Heard(), Connections()
        async with serving(serve) as url:
            call = connections.send(HttpRequest(method="POST", url=f"{url}/x", headers={}), heard)
            await asyncio.wait_for(heard.first.wait(), PATIENCE_S)
            call.cancel()
            await asyncio.wait_for(noticed.wait(), PATIENCE_S)
            await connections.close()
        return heard

    heard = asyncio.run(run())

    assert [b""] == gone
    assert ["connected", "opened"] == heard.events


def test_a_connection_that_nobody_waits_for_any_more_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever hangs up in the very moment in which a connection is made leaves nothing behind."""
    made = Connection.connection_made

    async def story() -> None:
        pool = Connections()

        def hung_up_on(connection: Connection, transport: asyncio.BaseTransport) -> None:
            made(connection, transport)
            for task in list(pool._tasks):
                task.cancel()

        monkeypatch.setattr(Connection, "connection_made", hung_up_on)
        async with serving(answering(OK)) as url:
            pool.send(HttpRequest(method="GET", url=url, headers={}, body=b""), Heard())
            await asyncio.gather(*pool._tasks, return_exceptions=True)
            assert not pool.alive
            await pool.close()

    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(story())


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl, which is not here")
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_tls_is_spoken_and_certificates_are_checked(tmp_path: Path, trusted: bool) -> None:
    """https works with a certificate that is trusted; with any other the request is never sent."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    made = [*make, "-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made, check=True, capture_output=True)
    ours, theirs = ssl.create_default_context(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(cert, key)
    if trusted:
        ours.load_verify_locations(cert)

    async def run() -> Heard:
        server = await asyncio.start_server(answering(OK), "127.0.0.1", 0, ssl=theirs)
        heard, connections = Heard(), Connections(tls=ours)
        url = f"https://localhost:{server.sockets[0].getsockname()[1]}/v1/x"
        connections.send(HttpRequest(method="POST", url=url, headers={}), heard)
        await asyncio.wait_for(heard.over.wait(), PATIENCE_S)
        await connections.close()
        server.close()
        await asyncio.sleep(0.05)
        return heard

    heard = asyncio.run(run())

    if trusted:
        assert (200, b"hello") == (heard.status, heard.body)
    else:
        assert heard.failure is not None
        assert (FailureKind.CONNECT, False) == (heard.failure.kind, heard.failure.sent)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://Bedrock.Example:443/x", "bedrock.example"),
        ("http://a.example:80", "a.example"),
        ("http://a.example:443", "a.example:443"),
        ("https://user@a.example:8443/", "a.example:8443"),
        ("http://[::1]:80/", "[::1]"),
    ],
)
def test_a_default_port_is_not_sent(url: str, host: str) -> None:
    """Signed requests are signed for the bare name, as clients of AWS send it."""
    assert Origin(url).name == host
