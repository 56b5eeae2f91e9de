"""What the tests of replicas share: gateways that have one backplane, and ways to look at them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from faces.admin_world import ADMIN_KEY, Site
from faces.running import FAST, running
from unbroken.config import Config, load
from unbroken.testing import FakeProvider, Speed

QUICK = Speed(first_token_s=0.0, tokens_per_s=5_000.0)
PATIENCE_S = 20.0
"""Far above what anything takes here: who waits so long waits in vain."""


def config_of(folder: Path, *providers: FakeProvider, **sections: Any) -> Config:
    """A route `m` over these providers, in order, and an operator's key."""
    server = {"admin_keys": [ADMIN_KEY], **sections.pop("server", {})}
    each = sections.pop("provider", {})
    document = {
        "server": server,
        "providers": {
            one.name: {
                "base_url": one.base_url, "keys": [f"sk-{one.name}"], "model": "word-model",
                "price": {"input_usd": 1.0, "output_usd": 2.0}, **each,
            }
            for one in providers
        },
        "routes": {"m": {"targets": [f"{one.name}/word-model" for one in providers]}},
        "defaults": {**FAST, **sections.pop("defaults", {})},
        "ledger": "off",
        **sections,
    }  # fmt: skip
    file = folder / "unbroken.yaml"
    file.write_bytes(msgspec.json.encode(document))  # JSON is YAML
    return load(file, {})


@asynccontextmanager
async def replicas(
    folder: Path, store: object, *, number: int = 2, names: str = "ab", **sections: Any
) -> AsyncIterator[list[Site]]:
    """Several gateways over the same providers, each with its own engine, and one store."""
    async with AsyncExitStack() as stack:
        providers = [await stack.enter_async_context(FakeProvider(name, speed=QUICK)) for name in names]
        config = config_of(folder, *providers, store=store, **sections)
        sites = []
        for seed in range(number):
            at = await stack.enter_async_context(running(config, seed=seed))
            site = Site(at, tuple(providers), file=folder / "unbroken.yaml")
            stack.push_async_callback(site.client.close)
            sites.append(site)
        await until(lambda: all(connected(site) for site in sites))
        yield sites


def connected(site: Site, *, replicas: int = 1) -> bool:
    """Whether it has joined the others, and knows of so many."""
    state = site.gateway.engine.replica.state()  # type: ignore[union-attr]
    return bool(state["connected"]) and state["replicas"] >= replicas


def is_open(site: Site, target: str) -> bool:
    """Whether this gateway leaves a target alone."""
    engine, config = site.gateway.engine, site.gateway.config
    return engine.board.is_open(next(one for one in config.targets if one.name == target))


def taken_out(site: Site, target: str) -> bool:
    """Whether an operator has taken it out, as far as this gateway knows."""
    engine, config = site.gateway.engine, site.gateway.config
    return engine.board.taken_out(next(one for one in config.targets if one.name == target))


async def until(met: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    async with asyncio.timeout(PATIENCE_S):
        while not met():
            await asyncio.sleep(0.005)
