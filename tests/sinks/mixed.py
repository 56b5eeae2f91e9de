"""Mixed traffic over providers that fail in many ways, and what Prometheus' text says of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from faces.running import Running, running
from unbroken.config import Config
from unbroken.testing import Cut, Empty, ErrorEvent, FakeProvider, Html, Malformed, Reset, Status, Trouble

__all__ = ["ask", "gateway", "scraped", "total", "traffic"]

TROUBLES: Sequence[Trouble | None] = (
    None, Status(500), None, Cut(after_tokens=9), Reset(), None, Html(), Status(429), Empty(), None,
    Malformed(after_tokens=5), ErrorEvent(after_tokens=7), None, Status(503),
)  # fmt: skip
PRICE = {"input_usd": 3.0, "output_usd": 12.0}
AT_ONCE = 10
STREAM: Mapping[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
_SAMPLE = re.compile(r"(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@asynccontextmanager
async def gateway(
    fakes: Sequence[FakeProvider], *, more: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Running]:  # fmt: skip
    """A gateway over these providers, with prices, and with `more` in its configuration."""
    for fake in fakes:
        await fake.start()
    said = {
        **(more or {}),
        "providers": {
            fake.name: {
                "base_url": fake.base_url, "keys": [f"sk-planted-{fake.name}"], "model": "word-model", "price": PRICE,
            }
            for fake in fakes
        },
        "routes": {"m": {"targets": [f"{fake.name}/word-model" for fake in fakes]}},
    }  # fmt: skip
    try:
        async with running(Config.from_values(said, environ or {})) as found:
            yield found
    finally:
        for fake in fakes:
            await fake.close()


async def ask(session: aiohttp.ClientSession, url: str, *, number: int = 0, **body: Any) -> tuple[int, str]:
    """Status and body of one request."""
    asked = {"model": "m", "messages": [{"role": "user", "content": f"Question {number}"}], **body}
    async with session.post(f"{url}/chat/completions", json=asked) as answer:
        return answer.status, await answer.text()


async def traffic(url: str, fakes: Sequence[FakeProvider], *, requests: int) -> list[tuple[int, str]]:
    """So many requests, some at a time and every third as a stream, while the providers fail in turn."""
    answers: list[tuple[int, str]] = []
    async with aiohttp.ClientSession() as session:
        for first in range(0, requests, AT_ONCE):
            for place, fake in enumerate(fakes):
                trouble = TROUBLES[(first // AT_ONCE * (place + 3)) % len(TROUBLES)]
                fake.heal()
                if trouble is not None:
                    fake.fail_with(trouble, times=2)
            asked = [
                ask(session, url, number=n, **(STREAM if n % 3 == 0 else {}))
                for n in range(first, min(first + AT_ONCE, requests))
            ]
            answers += await asyncio.gather(*asked)
    return answers


async def scraped(url: str, **headers: str) -> tuple[int, str]:
    """What Prometheus would get."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url.removesuffix("/v1") + "/metrics", headers=headers) as answer,
    ):
        return answer.status, await answer.text()


def total(text: str, name: str, **labels: str) -> float:
    """The sum over all samples of this name that have these labels."""
    found = 0.0
    for line in text.splitlines():
        if line.startswith("#") or (match := _SAMPLE.fullmatch(line)) is None or match[1] != name:
            continue
        own = dict(_LABEL.findall(match[2] or ""))
        if labels.items() <= own.items():
            found += float(match[3])
    return found
