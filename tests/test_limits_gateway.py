"""What callers of each face are told when there is no room, or no money left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from faces.running import config_for, running
from unbroken.policy import SpendLimit
from unbroken.testing import FakeProvider

httpx2 = pytest.importorskip("httpx2", reason="it asks the gateway here")

MESSAGES = [{"role": "user", "content": "Hello"}]
FACES = {
    "openai_chat": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES}),
    "openai_responses": ("/v1/responses", {"model": "m", "input": "Hello"}),
    "anthropic": ("/v1/messages", {"model": "m", "messages": MESSAGES, "max_tokens": 5}),
    "gemini": ("/v1beta/models/m:generateContent", {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}),
    "ollama": ("/api/chat", {"model": "m", "messages": MESSAGES, "stream": False}),
    "cohere": ("/v2/chat", {"model": "m", "messages": MESSAGES}),
}


async def ask(url: str, path: str, body: Any) -> Any:
    async with httpx2.AsyncClient(trust_env=False) as client:
        return await client.post(url.removesuffix("/v1") + path, json=body)


@pytest.mark.parametrize("face", FACES)
def test_no_room_is_a_429_with_a_time_in_every_face(face: str, tmp_path: Path) -> None:
    """The second request of a minute that allows one is refused at once, in the caller's own envelope."""

    async def test() -> None:
        async with FakeProvider("a") as fake:
            limits = {"requests_per_min": 1}
            queue = {"queue": {"waiting_max": 0}}
            config = config_for([fake], tmp_path, provider={"limits": limits}, defaults=queue)
            async with running(config) as gateway:
                path, body = FACES[face]
                first, second = await ask(gateway.url, path, body), await ask(gateway.url, path, body)
        assert first.status_code == 200, first.text
        assert second.status_code == 429, second.text
        assert 50 <= float(second.headers["retry-after"]) <= 61
        assert "its limit of 1 requests in 60 s is reached" in second.text
        assert len(fake.seen) == 1

    asyncio.run(test())


@pytest.mark.parametrize("face", ["openai_chat", "anthropic"])
def test_no_money_is_a_429_that_names_the_budget(face: str, tmp_path: Path) -> None:
    """When a day's dollars are gone, the refusal says which budget it was, and comes back at midnight."""

    async def test() -> None:
        async with FakeProvider("a") as fake:
            config = config_for([fake], tmp_path, provider={"price": {"input_usd": 1000.0}})
            limit = SpendLimit(name="1 (route m)", usd_per_day=1e-9, route="m")
            async with running(replace(config, budgets=(limit,))) as gateway:
                path, body = FACES[face]
                answer = await ask(gateway.url, path, body)
        assert answer.status_code == 429, answer.text
        assert "the budget 1 (route m) of $1e-09 a day is used up" in answer.text
        assert float(answer.headers["retry-after"]) <= 86_400
        if face == "openai_chat":
            assert answer.json()["error"]["code"] == "budget_exceeded"
        assert fake.seen == []

    asyncio.run(test())
