"""The official Ollama SDK as the judge of our server side, and of what we send."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from loops import in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Status, essay
from unbroken.types import (
    Chat,
    Media,
    Message,
    Request,
    Response,
    Target,
    Task,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire.ollama import FORMAT, write_request
from unbroken.wire.ollama_embeddings import write_request as write_embeddings
from unbroken.work import Texts

ollama = pytest.importorskip("ollama", reason="the official SDK is the judge of our server side")

PROMPT = "Why do bridges sing?"
ASKED = [{"role": "user", "content": PROMPT}]
PIXEL = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a place.", "parameters": SCHEMA},
}


def client(provider: FakeProvider) -> Any:
    return ollama.AsyncClient(host=provider.base_url.removesuffix("/v1"), headers={"authorization": "Bearer x"})


@in_loop
async def test_plain_and_streamed() -> None:
    """The SDK reads a whole answer, and the same in many lines, with usage and the reason at its end."""
    async with FakeProvider() as provider, client(provider) as sdk:
        whole = await sdk.chat(model="m", messages=ASKED)
        lines = [line async for line in await sdk.chat(model="m", messages=ASKED, stream=True)]
        seen = provider.seen[0]
    assert whole.message.content == essay(PROMPT) == "".join(line.message.content for line in lines)
    assert (whole.model, whole.done, whole.done_reason, seen.key) == ("m", True, "stop", "x")
    assert len(lines) > 20
    assert [line.done for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1].eval_count == whole.eval_count > 20
    assert lines[-1].prompt_eval_count == whole.prompt_eval_count > 0


@in_loop
async def test_a_limit() -> None:
    """An answer that reached its limit says so."""
    async with FakeProvider() as provider, client(provider) as sdk:
        answer = await sdk.chat(model="m", messages=ASKED, options={"num_predict": 3})
    assert (answer.done_reason, answer.eval_count) == ("length", 3)


@in_loop
async def test_tools() -> None:
    """Calls come whole, with their arguments as an object, streamed or not."""
    said = Response(text="", tool_calls=(ToolCall(id="call_7", name="get_weather", arguments='{"place": "Oslo"}'),))
    async with FakeProvider(answer=lambda _: said) as provider, client(provider) as sdk:
        whole = await sdk.chat(model="m", messages=ASKED, tools=[WEATHER])
        lines = [line async for line in await sdk.chat(model="m", messages=ASKED, tools=[WEATHER], stream=True)]
    calls = [call for line in lines for call in line.message.tool_calls or ()]
    for call in (*whole.message.tool_calls, *calls):
        assert (call.function.name, call.function.arguments) == ("get_weather", {"place": "Oslo"})
    assert len(calls) == 1


@in_loop
async def test_errors() -> None:
    """An error has the status and the sentence that it should have; one inside a stream raises as well."""
    failure = Failure(kind=FailureKind.MODEL_MISSING, message="model 'm' not found")
    assert FORMAT.write_failure is not None
    status, headers, body = FORMAT.write_failure(failure, "req_1")
    async with FakeProvider() as provider, client(provider) as sdk:
        provider.fail_with(Status(status, body=body, headers=headers))
        with pytest.raises(ollama.ResponseError) as raised:
            await sdk.chat(model="m", messages=ASKED)
        assert (raised.value.status_code, raised.value.error) == (404, "model 'm' not found")
        provider.fail_with(ErrorEvent(message="the runner died"))
        with pytest.raises(ollama.ResponseError, match="the runner died"):
            _ = [line async for line in await sdk.chat(model="m", messages=ASKED, stream=True)]
        provider.fail_with(Cut(clean=True))
        lines = [line async for line in await sdk.chat(model="m", messages=ASKED, stream=True)]
        assert not any(line.done for line in lines)


@in_loop
async def test_embeddings() -> None:
    """Vectors for one text and for many."""
    async with FakeProvider() as provider, client(provider) as sdk:
        one = await sdk.embed(model="m", input="a")
        many = await sdk.embed(model="m", input=["a", "b"])
    assert len(many.embeddings) == 2
    assert list(one.embeddings[0]) == list(many.embeddings[0]) != list(many.embeddings[1])
    assert one.prompt_eval_count > 0


def without_ids(body: Any) -> Any:
    """A body without what the SDK has no word for: ids, an order not to shorten the prompt; and without `[]`."""
    if isinstance(body, list):
        return [without_ids(item) for item in body]
    if isinstance(body, dict):
        dropped = {"id", "tool_call_id", "truncate"}
        return {
            name: without_ids(value) for name, value in body.items() if name not in dropped and value not in ([], "")
        }
    return body


@in_loop
async def test_our_request_is_the_sdks() -> None:
    """The same call gives the same body, but for ids and for the order not to shorten the prompt."""
    chat = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text(PROMPT), Media(kind="image", url=f"data:image/png;base64,{PIXEL}"))),
            Message(role="assistant", parts=(ToolCall(id="c", name="get_weather", arguments='{"place":"Oslo"}'),)),
            Message(role="tool", parts=(ToolResult(id="c", parts=(Text("Rain"),)),)),
        ),
        tools=(Tool(name="get_weather", description="The weather in a place.", parameters=SCHEMA),),
        schema=SCHEMA, max_tokens=9, temperature=0.5, top_p=0.9, top_k=5, stop=("END",), seed=7,
        reasoning_effort="high", hints={"keep_alive": "5m"},
    )  # fmt: skip
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": PROMPT, "images": [PIXEL]},
        {"role": "assistant", "tool_calls": [{"function": {"name": "get_weather", "arguments": {"place": "Oslo"}}}]},
        {"role": "tool", "content": "Rain", "tool_name": "get_weather"},
    ]
    options = {"num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END"], "seed": 7}
    async with FakeProvider(answer=lambda _: "yes") as provider, client(provider) as sdk:
        await sdk.chat(model="m", messages=messages, tools=[WEATHER], format=SCHEMA, options=options, think="high",
                       keep_alive="5m")  # fmt: skip
        await sdk.embed(model="m", input=["a", "b"], dimensions=4, truncate=False)
        theirs, embedded = [json.loads(seen.body) for seen in provider.seen]
        paths = [seen.path for seen in provider.seen]
    target = Target(name="t", provider="ollama", model="m", base_url="http://h.invalid:11434/v1")
    ours = write_request(Request(model="m", read=lambda: chat), target)
    assert without_ids(json.loads(ours.body)) == without_ids(theirs)
    texts = Request(model="m", task=Task.EMBEDDING, read=lambda: Texts(texts=("a", "b"), dimensions=4))
    ours_embedded = write_embeddings(texts, target)
    assert json.loads(ours_embedded.body) == embedded
    assert [ours.url, ours_embedded.url] == [f"http://h.invalid:11434{path}" for path in paths]


@in_loop
async def test_what_the_sdk_sends_is_read() -> None:
    """A caller's limits, needs and words are what the SDK was told."""
    async with FakeProvider() as provider, client(provider) as sdk:
        messages = [{"role": "user", "content": "What is it?", "images": [PIXEL]}]
        await sdk.chat(model="m", messages=messages, tools=[WEATHER], format=SCHEMA, think=True, stream=False,
                       options={"num_predict": 9, "temperature": 0})  # fmt: skip
        body = provider.seen[0].body
    assert FORMAT.read_request is not None
    request = FORMAT.read_request("/api/chat", body)
    assert isinstance(request, Request)
    assert request.needs == {"tools", "vision", "schema"}
    assert (request.max_tokens, request.temperature, request.thinks, request.stream) == (9, 0, True, False)
    chat = request.chat
    assert chat.messages[0].parts == (Text("What is it?"), Media(kind="image", data=PIXEL, media_type="image/png"))
    assert (chat.schema, chat.reasoning_effort, chat.tools[0].name) == (SCHEMA, "medium", "get_weather")
