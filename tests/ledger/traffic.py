"""Requests of all sorts through a gateway whose providers fail, and what the providers say they served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from unbroken.assemble import engine
from unbroken.config import Config, load
from unbroken.faces.gateway import Gateway, Reply
from unbroken.ledger.keeper import Ledger
from unbroken.testing import (
    Cut,
    ErrorEvent,
    FakeProvider,
    Html,
    Malformed,
    Reset,
    Seen,
    Stall,
    Status,
    Trouble,
)

PRICES: Mapping[str, tuple[float, float]] = {"north": (1.25, 10.0), "south": (0.4, 1.6), "east": (3.0, 15.0)}
"""Dollars for a million tokens in and out."""
TROUBLES: Sequence[Trouble] = (
    Cut(after_tokens=7), Cut(after_tokens=3, clean=True), Status(500), Status(503), Status(429), Reset(), Html(),
    Malformed(after_tokens=5), ErrorEvent(after_tokens=4), Status(400, message="no"),
)  # fmt: skip
"""What befalls single requests; none of them opens a breaker for long."""
BROKEN_OFF = (Cut, Malformed, ErrorEvent, Stall)
"""Troubles of an answer that had begun."""
WORDS = "The sea is never still and the lamp of the lighthouse turns all night over it without ever being tired."


@dataclass
class Told:
    """What came back."""

    id: str
    status: int
    body: bytes


@dataclass
class Scene:
    """A gateway with a ledger over three providers."""

    gateway: Gateway
    providers: Sequence[FakeProvider]
    told: list[Told] = field(default_factory=list)

    @property
    def ledger(self) -> Ledger:
        assert isinstance(self.gateway.engine.ledger, Ledger)
        return self.gateway.engine.ledger

    def seen(self) -> list[tuple[str, Seen]]:
        return [(provider.name, seen) for provider in self.providers for seen in provider.seen]

    async def ask(self, path: str, body: Mapping[str, Any], *, key: str = "k1", leave_after: int | None = None) -> Told:
        """Send a request and read its answer to the end, or leave after so many bytes."""
        headers = {"authorization": f"Bearer {key}"}
        visitor = self.gateway.receive("POST", path, headers=headers, body=msgspec.json.encode(body))
        if isinstance(visitor, Reply):
            return self._told(dict(visitor.headers), visitor.status, visitor.body)
        news, read = asyncio.Event(), visitor.take()
        visitor.notify = news.set
        while not visitor.over:
            await news.wait()
            news.clear()
            read += visitor.take()
            if leave_after is not None and len(read) >= leave_after:
                visitor.leave()
                break
        read += visitor.take()
        return self._told(dict(visitor.headers), visitor.status, read)

    def _told(self, headers: Mapping[str, str], status: int, body: bytes) -> Told:
        told = Told(headers.get("x-unbroken-request-id", ""), status, body)
        self.told.append(told)
        return told


def chat(number: int, *, model: str = "m", **more: Any) -> dict[str, Any]:
    words = f"Tell me of the sea, for the {number}th time. " * (1 + number % 7)
    return {"model": model, "messages": [{"role": "user", "content": words}], **more}


def config_for(providers: Sequence[FakeProvider], folder: Path, ledger: Mapping[str, Any] | str) -> Config:
    names = [f"{fake.name}/word-model" for fake in providers]
    quick = {"deadlines": {"gap_s": 30, "first_content_s": 30, "total_s": 60}, "retries": {"base_s": 0.001}}
    lenient = {"breaking": {"consecutive": 1_000_000, "failure_rate": 1.0, "calls_min": 1_000_000}}
    document = {
        "providers": {
            fake.name: {
                "base_url": fake.base_url, "key": f"sk-{fake.name}", "prefix": "assistant",
                "price": dict(zip(("input_usd", "output_usd"), PRICES[fake.name], strict=True)),
            }
            for fake in providers
        },
        "routes": {
            "m": {"targets": names},
            "round": {"targets": names, "strategy": "round-robin"},
            "hedged": {"targets": names, "policy": {"hedging": {"after_s": 0.05}}},
            "kept": {"targets": names, "policy": {"cache": {"ttl_s": 3600}}},
        },
        "aliases": {"nick": "m"},
        "defaults": quick | lenient,
        "ledger": ledger,
    }  # fmt: skip
    file = folder / "unbroken.yaml"
    file.write_bytes(msgspec.json.encode(document))
    return load(file, {})


@asynccontextmanager
async def playing(folder: Path, ledger: Mapping[str, Any] | str) -> AsyncIterator[Scene]:
    """Three providers and a gateway over them, whose ledger is closed at the end."""
    providers = [FakeProvider(name, answer=lambda _: WORDS) for name in PRICES]
    for provider in providers:
        await provider.start()
    gateway = Gateway(config := config_for(providers, folder, ledger), engine(config, seed=1))
    try:
        yield Scene(gateway, providers)
    finally:
        await gateway.engine.close()
        for provider in providers:
            await provider.close()


async def mixed(scene: Scene, number: int, *, at_once: int = 40) -> None:
    """So many requests of all sorts, a third of which meet some trouble at the first provider."""
    draw, tickets = Random(7), iter(range(number))

    async def caller() -> None:
        for ticket in tickets:
            if draw.random() < 0.33:
                first = scene.providers[draw.randrange(2)]
                if first.trouble is None:
                    first.fail_with(draw.choice(TROUBLES), times=1)
            await one(scene, ticket, draw)

    await asyncio.gather(*(caller() for _ in range(at_once)))


async def one(scene: Scene, number: int, draw: Random) -> None:
    """A request: plain or streamed, with its usage asked for or not, by a route, another name, a kept one."""
    kind = draw.randrange(10)
    if kind == 0:
        await scene.ask("/v1/embeddings", {"model": "m", "input": f"the sea, {number}"})
    elif kind <= 3:
        await scene.ask("/v1/chat/completions", chat(number, model=draw.choice(("m", "nick", "round"))))
    elif kind == 4:
        await scene.ask("/v1/chat/completions", chat(number % 50, model="kept"))
    elif kind == 5:
        asked = chat(number, stream=True, stream_options={"include_usage": True})
        await scene.ask("/v1/chat/completions", asked, key="k2")
    else:
        await scene.ask("/v1/chat/completions", chat(number, model=draw.choice(("m", "round")), stream=True))


def cost_usd(provider: str, tokens_in: int, tokens_out: int) -> float:
    input_usd, output_usd = PRICES[provider]
    return (tokens_in * input_usd + tokens_out * output_usd) / 1e6
