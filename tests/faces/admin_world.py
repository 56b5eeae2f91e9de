"""What the tests of `/admin` share: a gateway with an operator's key over fake providers, and ways to ask it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import openai

from faces.running import Running, config_for, running
from unbroken.config import Config, load
from unbroken.faces.cli.remote import Gateway
from unbroken.reload import Reloader
from unbroken.testing import FakeProvider, Speed

ADMIN_KEY = "op-planted-9f2c"
CALLER_KEY = "caller-planted-77aa"
QUICK = Speed(first_token_s=0.0, tokens_per_s=5_000.0)
PATIENCE_S = 20.0


class Site:
    """A gateway, its operator and its callers."""

    def __init__(self, at: Running, providers: tuple[FakeProvider, ...], *, file: Path) -> None:
        self.at, self.gateway, self.providers, self.file = at, at.gateway, providers, file
        self.url = at.url.removesuffix("/v1")
        self.operator = Gateway(at.url, ADMIN_KEY)
        self.client = openai.AsyncOpenAI(base_url=at.url, api_key=CALLER_KEY, max_retries=0, timeout=60)

    async def get(self, *path: str) -> Any:
        """What the operator is told there."""
        return await asyncio.to_thread(self.operator.get, *path)

    async def post(self, *path: str, body: object = None) -> Any:
        """What the operator is told for this."""
        return await asyncio.to_thread(lambda: self.operator.post(*path, body=body))

    async def chat(self, model: str = "m") -> str:
        """A caller's question; the name of the target that answered."""
        answer = await self.client.chat.completions.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": "Why do bridges sing?"}]
        )
        return answer.headers["x-unbroken-target"]

    async def target(self, name: str) -> Any:
        """How this target is told to be."""
        return next(one for one in (await self.get("status"))["targets"] if one["name"] == name)

    async def ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> tuple[int, Any]:
        """One request as it stands, whatever is in its path: the status, and the body read as JSON."""
        reader, writer = await asyncio.open_connection(*self.at.address)
        lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", f"Content-Length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = await asyncio.wait_for(reader.read(), PATIENCE_S)
        writer.close()
        head, _, said = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(said) if said else None

    def rewrite(self, change: Any) -> None:
        """Another configuration in the file, made by changing what is there."""
        values = json.loads(self.file.read_bytes())
        change(values)
        self.file.write_bytes(json.dumps(values).encode())


@asynccontextmanager
async def site(tmp: Path, *names: str, speed: Speed = QUICK, **more: Any) -> AsyncIterator[Site]:
    """A gateway over providers of these names, whose route `m` leads to all of them in this order."""
    async with AsyncExitStack() as stack:
        fakes = [await stack.enter_async_context(FakeProvider(name, speed=speed)) for name in names or ("a", "b")]
        server = {"admin_keys": [ADMIN_KEY], "keys": [CALLER_KEY], **more.pop("server", {})}
        config = config_for(fakes, tmp, server=server, **more)
        yield await stack.enter_async_context(over(config, Path(config.source), providers=tuple(fakes)))


@asynccontextmanager
async def over(config: Config, file: Path, *, providers: tuple[FakeProvider, ...] = ()) -> AsyncIterator[Site]:
    """A gateway for this configuration, which is read anew from this file."""
    async with running(config) as at:
        at.gateway.admin.reloader = Reloader(at.gateway, lambda: load(file, {}), file=file)
        made = Site(at, providers, file=file)
        try:
            yield made
        finally:
            await made.client.close()
