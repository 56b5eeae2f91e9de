"""The gateway as an ASGI application, called as a server would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

from faces.running import config_for
from unbroken.config import Config
from unbroken.faces.asgi import App, app
from unbroken.testing import FakeProvider, Speed, essay

Message = MutableMapping[str, Any]


async def call(made: App, body: bytes, *, path: str = "/v1/chat/completions", pieces: int = 1) -> list[Message]:
    """What the application sends for one request that comes in so many pieces."""
    size = -(-len(body) // pieces)
    parts = [body[i : i + size] for i in range(0, len(body), size)] or [b""]
    incoming: list[Message] = [
        {"type": "http.request", "body": part, "more_body": i < len(parts) - 1} for i, part in enumerate(parts)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        if incoming:
            return incoming.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    await made({"type": "http", "method": "POST", "path": path, "headers": [(b"x-other", b"1")]}, receive, send)
    return sent


def over_one_provider(tmp: Path, act: Any, **more: Any) -> None:
    async def run() -> None:
        async with FakeProvider("a", speed=more.pop("speed", Speed())) as provider:
            made = app(config_for([provider], tmp, **more))
            await act(made, provider)
            await made.gateway.engine.close()

    asyncio.run(run())


def ask(*, stream: bool) -> bytes:
    return json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}).encode()


def test_a_plain_answer_is_one_message_with_its_length(tmp_path: Path) -> None:
    """Status, headers and body as ASGI wants them, for a body in three pieces."""

    async def act(made: App, provider: FakeProvider) -> None:
        start, body = await call(made, ask(stream=False), pieces=3)

        assert 200 == start["status"]
        assert str(len(body["body"])).encode() == dict(start["headers"])[b"content-length"]
        assert essay("hi") == json.loads(body["body"])["choices"][0]["message"]["content"]

    over_one_provider(tmp_path, act)


def test_a_stream_comes_in_many_messages(tmp_path: Path) -> None:
    """Events are sent as they are made."""

    async def act(made: App, provider: FakeProvider) -> None:
        start, *bodies = await call(made, ask(stream=True))

        assert b"text/event-stream; charset=utf-8" == dict(start["headers"])[b"content-type"]
        assert len(bodies) > 2
        assert b"".join(message["body"] for message in bodies).endswith(b"data: [DONE]\n\n")
        assert not bodies[-1].get("more_body")

    over_one_provider(tmp_path, act, speed=Speed(first_token_s=0.0, tokens_per_s=200.0))


def test_errors_and_too_large_bodies_are_answered(tmp_path: Path) -> None:
    """The limit holds for bodies in one piece and in many."""

    async def act(made: App, provider: FakeProvider) -> None:
        statuses = [
            (await call(made, b"{", pieces=1))[0]["status"],
            (await call(made, b" " * 1_200_000, pieces=1))[0]["status"],
            (await call(made, b" " * 1_200_000, pieces=5))[0]["status"],
        ]

        assert [400, 413, 413] == statuses
        assert not provider.seen

    over_one_provider(tmp_path, act, server={"body_limit_mb": 1})


def test_a_caller_who_disconnects_stops_the_provider(tmp_path: Path) -> None:
    """ASGI's disconnect hangs up on the provider."""

    async def act(made: App, provider: FakeProvider) -> None:
        messages: list[Message] = [{"type": "http.request", "body": ask(stream=True)}, {"type": "http.disconnect"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            return None

        scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": []}
        await asyncio.wait_for(made(scope, receive, send), 20)
        for _ in range(500):
            if provider.seen[0].hung_up:
                break
            await asyncio.sleep(0.02)

        assert provider.seen[0].hung_up

    over_one_provider(tmp_path, act, speed=Speed(first_token_s=0.0, tokens_per_s=5.0))


def test_the_life_of_the_server_is_answered() -> None:
    """Startup and shutdown are completed, and the engine is closed."""
    sent: list[str] = []

    async def run() -> None:
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message["type"])

        await app(Config())({"type": "lifespan"}, receive, send)

    asyncio.run(run())

    assert ["lifespan.startup.complete", "lifespan.shutdown.complete"] == sent
