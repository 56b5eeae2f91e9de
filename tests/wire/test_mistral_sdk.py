"""Mistral's official SDK as the judge of our server side in OpenAI's format, and of what we send to Mistral."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest

from unbroken.config import Config
from unbroken.testing import Cut, FakeProvider, Status, essay
from unbroken.types import Delta, Request, Response, ToolCall, ToolFragment
from unbroken.wire.openai_chat import read_request, write_request
from unbroken.wire.openai_chat_writer import writer

client = pytest.importorskip("mistralai.client", reason="the official SDK is the judge of our server side")

PROMPT = "Why do bridges sing?"
ASKED = [{"role": "user", "content": PROMPT}]
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


def sdk_for(provider: FakeProvider) -> Any:
    return client.Mistral(api_key="x", server_url=provider.base_url.removesuffix("/v1"))


def ask(provider: FakeProvider, call: Callable[[Any], Awaitable[Any]]) -> Any:
    """What the SDK makes of this provider."""

    async def go() -> Any:
        async with provider, sdk_for(provider) as sdk:
            return await call(sdk)

    return asyncio.run(go())


def troubled(trouble: Cut | Status) -> FakeProvider:
    provider = FakeProvider()
    provider.trouble = trouble
    return provider


async def plain(sdk: Any, **more: Any) -> Any:
    return await sdk.chat.complete_async(model="m", messages=ASKED, **more)


async def streamed(sdk: Any, **more: Any) -> list[Any]:
    events = await sdk.chat.stream_async(model="m", messages=ASKED, **more)
    return [event.data async for event in events]


def test_whole_answers() -> None:
    """The SDK reads words, the reason for their end and the usage."""
    answer = ask(FakeProvider(), plain)
    assert answer.choices[0].message.content == essay(PROMPT)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


def test_streams() -> None:
    """The SDK reads a stream to its end."""
    chunks = ask(FakeProvider(), streamed)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == essay(PROMPT)
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"


def test_tool_calls() -> None:
    """The SDK reads calls with their names, ids and arguments."""
    called = Response(tool_calls=(ToolCall(id="c1", name="look", arguments='{"at": 1}'),))
    found = ask(FakeProvider(answer=lambda _: called), lambda sdk: plain(sdk, tools=[LOOK]))
    (call,) = found.choices[0].message.tool_calls
    assert (call.id, call.function.name, json.loads(call.function.arguments)) == ("c1", "look", {"at": 1})


def test_streamed_tool_calls() -> None:
    """A call that comes whole, as Mistral and others send them, stays whole: the SDK reads no pieces of calls."""
    fragment = ToolFragment(index=0, id="c1", name="look", arguments='{"at": 1}')
    chunk = writer(Request(model="m", stream=True)).write([Delta(tool_calls=(fragment,))])
    read = client.models.CompletionChunk.model_validate_json(chunk.removeprefix(b"data: "))
    (call,) = read.choices[0].delta.tool_calls
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "look", '{"at": 1}')


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
def test_errors(status: int) -> None:
    """The SDK raises its own error, with our status."""
    with pytest.raises(client.errors.SDKError) as caught:
        ask(troubled(Status(status)), plain)
    assert caught.value.status_code == status


def test_broken_streams() -> None:
    """A stream that breaks is no whole answer for the SDK either."""
    with pytest.raises(httpx2.TransportError):
        ask(troubled(Cut()), streamed)


def test_what_is_sent_to_mistral() -> None:
    """What we send to Mistral for a caller of OpenAI is what its SDK sends for the same call."""
    fake = FakeProvider()
    ask(fake, lambda sdk: plain(sdk, random_seed=3, max_tokens=9, temperature=0.5, tools=[LOOK], tool_choice="any"))
    theirs = {name: value for name, value in json.loads(fake.seen[0].body).items() if value is not None}
    (target,) = Config.from_values({"providers": {"mistral": {"key": "k", "model": "m"}}}, {}).targets
    asked = {"model": "x", "messages": ASKED, "seed": 3, "max_completion_tokens": 9, "temperature": 0.5,
             "tools": [LOOK], "tool_choice": "any"}  # fmt: skip
    request = read_request("/v1/chat/completions", json.dumps(asked).encode())
    ours = json.loads(write_request(request, target).body)  # type: ignore[arg-type]
    assert theirs.pop("stream", False) is False
    strict = theirs["tools"][0]["function"].pop("strict", False)
    assert strict is False
    theirs["tools"][0]["function"].pop("description", None)
    assert ours == theirs


def test_what_mistrals_callers_ask() -> None:
    """A seed in Mistral's word is a seed for every other format."""
    asked = json.dumps({"model": "x", "messages": ASKED, "random_seed": 3}).encode()
    request = read_request("/v1/chat/completions", asked)
    assert request.chat.seed == 3  # type: ignore[union-attr]
    assert not request.chat.extras  # type: ignore[union-attr]
