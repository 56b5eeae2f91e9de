"""A gateway with a file of keys, over a fake provider, and somebody who asks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from faces.running import FAST, config_for, running
from unbroken.keys import KeyFile
from unbroken.reload import Reloader
from unbroken.testing import FakeProvider

httpx2 = pytest.importorskip("httpx2", reason="it asks the gateway here")

MESSAGES = [{"role": "user", "content": "Hello"}]
CHAT = "/v1/chat/completions"
FACES: Mapping[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": (CHAT, {"model": "m", "messages": MESSAGES}),
    "openai_responses": ("/v1/responses", {"model": "m", "input": "Hello"}),
    "anthropic": ("/v1/messages", {"model": "m", "messages": MESSAGES, "max_tokens": 5}),
    "gemini": ("/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
    "ollama": ("/api/chat", {"model": "m", "messages": MESSAGES, "stream": False}),
    "cohere": ("/v2/chat", {"model": "m", "messages": MESSAGES}),
}


class World:
    """The gateway, its file of keys, and the provider behind it."""

    def __init__(self, url: str, file: KeyFile, *, fake: FakeProvider, reloader: Reloader) -> None:
        self.url, self.file, self.fake, self.reloader = url, file, fake, reloader

    async def key(self, name: str = "alice", **about: Any) -> str:
        """A new key, which the gateway knows."""
        _, key = self.file.create(name, **about)
        assert (await self.reloader.reload_keys("test")).ok
        return key

    async def ask(self, key: str, path: str = CHAT, body: Any = None, *, method: str = "POST") -> Any:
        """What somebody with this key is answered."""
        headers = {"authorization": f"Bearer {key}"} if key else {}
        sent = {"json": FACES["openai_chat"][1] if body is None else body} if method == "POST" else {}
        async with httpx2.AsyncClient(trust_env=False) as client:
            return await client.request(method, self.url + path, headers=headers, **sent)

    async def status(self, key: str, path: str = CHAT, body: Any = None) -> int:
        """The same, its status alone."""
        return int((await self.ask(key, path, body)).status_code)


@asynccontextmanager
async def world(tmp: Path, *, server: Mapping[str, Any] | None = None, **more: Any) -> AsyncIterator[World]:
    """A gateway that lets in who has a key in `keys.json`; routes are `m` and `auto`."""
    async with FakeProvider("a") as fake:
        section = {"key_file": "keys.json", **(server or {})}
        config = config_for([fake], tmp, defaults=FAST, server=section, **more)
        async with running(config) as gateway:
            reloader = Reloader(gateway.gateway, lambda: config)
            yield World(
                gateway.url.removesuffix("/v1"), KeyFile(tmp / "keys.json"), fake=fake, reloader=reloader
            )  # fmt: skip
