"""Which of a caller's headers go along to a provider: the one that is part of the format, and no other."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import anthropic

from faces.running import config_for, running
from unbroken.testing import FakeProvider, Page, Seen

ASKED: Any = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
SECRETS = {"x-secret": "s3cret", "cookie": "s3cret", "x-forwarded-for": "10.9.8.7"}


def seen_by(tmp_path: Path, *, count: bool = False, **provider: Any) -> Seen:
    """What a provider sees of a call with beta features."""

    async def go() -> Seen:
        async with FakeProvider("far") as fake:
            fake.desk.put("POST /v1/messages/count_tokens", Page(body=b'{"input_tokens": 1}'))
            config = config_for([fake], tmp_path, provider=provider, server={"keys": ["gateway-key"]})
            async with running(config) as gateway:
                client = anthropic.AsyncAnthropic(
                    base_url=gateway.url.removesuffix("/v1"), api_key="gateway-key", max_retries=0,
                    default_headers=SECRETS,
                )  # fmt: skip
                async with client:
                    if count:
                        await client.beta.messages.count_tokens(**ASKED, betas=["context-1m"])
                    else:
                        await client.beta.messages.create(max_tokens=99, **ASKED, betas=["context-1m", "files-api"])
            return fake.seen[-1]

    return asyncio.run(go())


def test_beta_features_reach_a_provider_of_the_same_format(tmp_path: Path) -> None:
    """What the caller tries out is asked for, beside what the operator does, each once."""
    seen = seen_by(tmp_path, format="anthropic")
    assert seen.headers["anthropic-beta"] == "context-1m,files-api"
    assert seen.headers["anthropic-version"] == "2023-06-01"
    own = {"anthropic-beta": "files-api,mine"}
    assert seen_by(tmp_path, format="anthropic", headers=own).headers["anthropic-beta"] == "files-api,mine,context-1m"


def test_counting_is_told_of_them_too(tmp_path: Path) -> None:
    """The count is of the request as it will be sent."""
    assert "context-1m" in seen_by(tmp_path, format="anthropic", count=True).headers["anthropic-beta"]


def test_no_other_header_leaves_the_gateway(tmp_path: Path) -> None:
    """Keys, cookies and addresses of callers stay here, whatever the provider speaks."""
    for spoken in ("anthropic", "openai_chat"):
        seen = seen_by(tmp_path, format=spoken)
        assert not set(SECRETS) & set(seen.headers)
        assert "gateway-key" not in str(seen.headers)


def test_another_formats_provider_hears_nothing_of_them(tmp_path: Path) -> None:
    """Features of Anthropic's mean nothing elsewhere."""
    assert "anthropic-beta" not in seen_by(tmp_path, format="openai_chat").headers
