"""Clients that people already use, unchanged, each at its own face, over a provider that speaks OpenAI's chat."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import httpx
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from faces.running import config_for, running
from unbroken.testing import Cut, FakeProvider, Status, essay

QUESTION = "Tell me of the sea."
KEY = "gateway-key"


def with_gateway(
    tmp_path: Path,
    ask: Callable[[str], Any],
    *fakes: FakeProvider,
    keys: tuple[str, ...] = (KEY,),
    server: Mapping[str, Any] | None = None,
    **provider: Any,
) -> Any:
    """What a client that blocks gets from a gateway at this address, on a thread of its own."""
    said = {"keys": list(keys), **(server or {})}

    async def go() -> Any:
        for fake in fakes:
            await fake.start()
        try:
            async with running(config_for(fakes, tmp_path, server=said, provider=provider)) as gateway:
                return await asyncio.to_thread(ask, gateway.url.removesuffix("/v1"))
        finally:
            for fake in fakes:
                await fake.close()

    return asyncio.run(go())


def by_openai_responses(url: str, *, stream: bool) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        if not stream:
            return client.responses.create(model="m", input=QUESTION).output_text
        with client.responses.stream(model="m", input=QUESTION) as events:
            said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
            assert events.get_final_response().output_text == said
            return said


def by_openai_completions(url: str, *, stream: bool) -> str:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
        if not stream:
            return client.completions.create(model="m", prompt=QUESTION).choices[0].text
        chunks = client.completions.create(model="m", prompt=QUESTION, stream=True)
        return "".join(chunk.choices[0].text for chunk in chunks if chunk.choices)


def by_anthropic(url: str, *, stream: bool) -> str:
    asked: Any = {"model": "m", "max_tokens": 4000, "messages": [{"role": "user", "content": QUESTION}]}
    with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
        if not stream:
            return "".join(block.text for block in client.messages.create(**asked).content if block.type == "text")
        with client.messages.stream(**asked) as events:
            said = "".join(events.text_stream)
            assert events.get_final_message().stop_reason == "end_turn"
            return said


def by_gemini(url: str, *, stream: bool) -> str:
    client = genai.Client(api_key=KEY, http_options={"base_url": url})
    try:
        if not stream:
            return str(client.models.generate_content(model="m", contents=QUESTION).text)
        return "".join(
            chunk.text or "" for chunk in client.models.generate_content_stream(model="m", contents=QUESTION)
        )
    finally:
        client.close()


def by_ollama(url: str, *, stream: bool) -> str:
    messages = [{"role": "user", "content": QUESTION}]
    with ollama.Client(host=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        if not stream:
            return str(client.chat(model="m", messages=messages).message.content)
        return "".join(piece.message.content or "" for piece in client.chat(model="m", messages=messages, stream=True))


def by_cohere(url: str, *, stream: bool) -> str:
    messages: Any = [{"role": "user", "content": QUESTION}]
    once: Any = {"max_retries": 0}
    with httpx.Client() as line:
        client = cohere.ClientV2(api_key=KEY, base_url=url, httpx_client=line)
        if not stream:
            content: Any = client.chat(model="m", messages=messages, request_options=once).message.content
            return "".join(part.text for part in content if part.type == "text")
        events: Any = client.chat_stream(model="m", messages=messages, request_options=once)
        return "".join(event.delta.message.content.text for event in events if event.type == "content-delta")


def by_bedrock(url: str, *, stream: bool) -> str:
    client = boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="eu-west-1",
        aws_access_key_id="a", aws_secret_access_key="s",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )  # fmt: skip
    asked: Any = {"modelId": "m", "messages": [{"role": "user", "content": [{"text": QUESTION}]}]}
    if not stream:
        return str(client.converse(**asked)["output"]["message"]["content"][0]["text"])
    events = client.converse_stream(**asked)["stream"]
    return "".join(e["contentBlockDelta"]["delta"]["text"] for e in events if "contentBlockDelta" in e)


CLIENTS = {
    "responses": by_openai_responses,
    "completions": by_openai_completions,
    "anthropic": by_anthropic,
    "gemini": by_gemini,
    "ollama": by_ollama,
    "cohere": by_cohere,
    "bedrock": by_bedrock,
}
RAISED = {
    "responses": openai.RateLimitError,
    "completions": openai.RateLimitError,
    "anthropic": anthropic.RateLimitError,
    "gemini": genai_errors.ClientError,
    "ollama": ollama.ResponseError,
    "cohere": cohere.TooManyRequestsError,
    "bedrock": botocore.exceptions.ClientError,
}


def keys_for(name: str) -> tuple[str, ...]:
    """Whoever signs has no key that we could know."""
    return () if name == "bedrock" else (KEY,)


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_is_answered(name: str, tmp_path: Path) -> None:
    """Plain and streamed, with the words of a provider that speaks another format."""
    ask = CLIENTS[name]
    said = with_gateway(
        tmp_path, lambda url: (ask(url, stream=False), ask(url, stream=True)), FakeProvider("far"), keys=keys_for(name)
    )
    assert said == (essay(QUESTION), essay(QUESTION))


@pytest.mark.parametrize("name", CLIENTS)
def test_every_clients_stream_is_rescued(name: str, tmp_path: Path) -> None:
    """A stream that breaks after some words is finished by another provider, at every face."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Cut(after_tokens=12))
    said = with_gateway(tmp_path, lambda url: CLIENTS[name](url, stream=True), broken, well, keys=keys_for(name))
    assert said == essay(QUESTION)
    assert len(well.seen) == 1


@pytest.mark.parametrize("name", CLIENTS)
def test_every_client_raises_its_own_exception(name: str, tmp_path: Path) -> None:
    """Errors come in the face's own envelope, so each client raises the class that it has for them."""
    fake = FakeProvider("far")
    fake.fail_with(Status(429, retry_after_s=60))

    def ask(url: str) -> None:
        with pytest.raises(RAISED[name]):
            CLIENTS[name](url, stream=False)

    with_gateway(tmp_path, ask, fake, keys=keys_for(name))


@pytest.mark.parametrize("name", [name for name in CLIENTS if name != "bedrock"])
def test_every_client_needs_the_key(name: str, tmp_path: Path) -> None:
    """A key is looked for where each client puts it, and its absence is an error of the face's own."""

    def ask(url: str) -> str:
        with pytest.raises(Exception, match=r"(?i)key|401|unauthor"):
            CLIENTS[name](url, stream=False)
        return "raised"

    assert with_gateway(tmp_path, ask, FakeProvider("far"), keys=("another-key",)) == "raised"


def test_googles_key_may_stand_in_the_query(tmp_path: Path) -> None:
    """`?key=` is how many of Google's examples show it."""

    def ask(url: str) -> int:
        line = http.client.HTTPConnection(url.removeprefix("http://"))
        body = json.dumps({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
        line.request("POST", f"/v1beta/models/m:generateContent?key={KEY}", body)
        status = line.getresponse().status
        line.close()
        return status

    assert with_gateway(tmp_path, ask, FakeProvider("far")) == 200
