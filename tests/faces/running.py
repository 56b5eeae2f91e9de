"""A gateway over fake providers, running for the length of a test."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import msgspec

from unbroken.assemble import engine
from unbroken.config import Config, load
from unbroken.faces.gateway import Gateway
from unbroken.faces.server import Server
from unbroken.testing import FakeProvider

FAST: Mapping[str, Any] = {
    "deadlines": {"connect_s": 5, "first_content_s": 8, "total_s": 60, "gap_s": 2},
    "hedging": {"after_s": 4},
}
"""Limits for tests in which silence has to be noticed; far above what a slow machine needs."""


@dataclass
class Running:
    """Where the gateway is, and what is behind it."""

    url: str
    gateway: Gateway
    server: Server
    keys: Sequence[str] = field(default_factory=tuple)

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.url.removeprefix("http://").removesuffix("/v1").partition(":")
        return host, int(port)


def config_for(
    providers: Sequence[FakeProvider], tmp: Any, *, defaults: Mapping[str, Any] | None = None,
    server: Mapping[str, Any] | None = None, provider: Mapping[str, Any] | None = None,
) -> Config:  # fmt: skip
    """A route `m` over these providers, in order, as a user would write it."""
    file = tmp / "unbroken.yaml"
    document = {
        "server": dict(server or {}),
        "providers": {
            fake.name: {
                "base_url": fake.base_url,
                "keys": [f"sk-{fake.name}"],
                "model": "word-model",
                **(provider or {}),
            }
            for fake in providers
        },
        "routes": {"m": {"targets": [f"{fake.name}/word-model" for fake in providers]}},
        "defaults": dict(defaults or FAST),
    }
    file.write_bytes(msgspec.json.encode(document))  # JSON is YAML
    return load(file, {})


@asynccontextmanager
async def running(config: Config, *, seed: int = 1) -> AsyncIterator[Running]:
    """The gateway for this configuration on a free port."""
    gateway = Gateway(config, engine(config, seed=seed))
    server = Server(gateway)
    listening = socket.create_server(("127.0.0.1", 0))
    await server.start(listening)
    port = listening.getsockname()[1]
    try:
        yield Running(f"http://127.0.0.1:{port}/v1", gateway, server, config.server.keys)
    finally:
        await server.stop(grace_s=5.0)
