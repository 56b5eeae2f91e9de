"""SDKs ask again by themselves, and the gateway does too: what they are told, so that the two do not multiply."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest

from faces.running import config_for, running
from unbroken.testing import FakeProvider, Refused, Status, Trouble

MESSAGES: Any = [{"role": "user", "content": "Hi"}]
Told = tuple[int, dict[str, str]]


async def by_openai(url: str, retries: int) -> Told:
    """What OpenAI's SDK is told at last."""
    async with openai.AsyncOpenAI(base_url=url, api_key="any", max_retries=retries) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.chat.completions.create(model="m", messages=MESSAGES)
    return raised.value.status_code, dict(raised.value.response.headers)


async def by_anthropic(url: str, retries: int) -> Told:
    """The same of Anthropic's."""
    url = url.removesuffix("/v1")
    async with anthropic.AsyncAnthropic(base_url=url, api_key="any", max_retries=retries) as client:
        with pytest.raises(anthropic.APIStatusError) as raised:
            await client.messages.create(model="m", max_tokens=99, messages=MESSAGES)
    return raised.value.status_code, dict(raised.value.response.headers)


SDKS = pytest.mark.parametrize("ask", [by_openai, by_anthropic])


def counted(tmp_path: Path, ask: Any, trouble: Trouble, *, retries: int) -> tuple[int, dict[str, str], int]:
    """Status and headers of the last answer, and how many requests the gateway was sent for it."""

    async def go() -> tuple[int, dict[str, str], int]:
        async with FakeProvider("far") as fake:
            fake.fail_with(trouble)
            async with running(config_for([fake], tmp_path)) as gateway:
                status, headers = await ask(gateway.url, retries)
                return status, headers, next(gateway.gateway._numbers) - 1

    return asyncio.run(go())


@SDKS
@pytest.mark.parametrize("trouble", [Status(500), Refused(), Status(401), Status(429, retry_after_s=3600)])
def test_what_the_gateway_has_tried_no_sdk_tries_again(tmp_path: Path, ask: Any, trouble: Trouble) -> None:
    """With its own retries left on, an SDK asks once: everybody was tried, or it would come back too early."""
    status, headers, requests = counted(tmp_path, ask, trouble, retries=2)
    assert status >= 429 and headers["x-should-retry"] == "false"
    assert requests == 1


@SDKS
def test_an_sdk_that_is_told_when_to_come_back_may(tmp_path: Path, ask: Any) -> None:
    """A rate limit that passes soon is the SDK's to wait for: nothing is said against it."""
    status, headers, _ = counted(tmp_path, ask, Status(429, retry_after_s=30), retries=0)
    assert (status, headers["retry-after"], "x-should-retry" in headers) == (429, "30", False)
