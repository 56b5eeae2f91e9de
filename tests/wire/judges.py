"""OpenAI's client on loopback: against a fake provider, or against one that only writes down what it is sent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import openai

from unbroken.testing import FakeProvider, Seen


@asynccontextmanager
async def sdk_for(provider: FakeProvider) -> AsyncIterator[openai.AsyncOpenAI]:
    """OpenAI's client, asynchronous, for this provider."""
    async with openai.AsyncOpenAI(base_url=provider.base_url, api_key="sk-test", max_retries=0) as client:
        yield client


async def captured(ask: Callable[[openai.AsyncOpenAI], Awaitable[object]]) -> Seen:
    """What the client sends for this call."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        with suppress(openai.OpenAIError):
            await ask(client)
        return fake.seen[0]
