"""The official Cohere SDK as the judge of our server side, and of what we send."""

from __future__ import annotations

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
from unbroken.wire.cohere import FORMAT, write_request
from unbroken.wire.cohere_embeddings import write_request as write_embeddings
from unbroken.work import Texts

cohere = pytest.importorskip("cohere", reason="the official SDK is the judge of our server side")

PROMPT = "Why do bridges sing?"
ASKED = [{"role": "user", "content": PROMPT}]
PICTURE = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {
    "type": "function",
    "function": {"name": "get_weather", "description": "The weather in a place.", "parameters": SCHEMA},
}
ONCE = {"max_retries": 0}


def client(provider: FakeProvider) -> Any:
    return cohere.AsyncClientV2(api_key="x", base_url=provider.base_url.removesuffix("/v1"), max_retries=0)


async def events_of(sdk: Any, **options: Any) -> list[Any]:
    return [event async for event in sdk.chat_stream(model="m", messages=ASKED, request_options=ONCE, **options)]


def words_of(events: list[Any]) -> str:
    return "".join(event.delta.message.content.text or "" for event in events if event.type == "content-delta")


@in_loop
async def test_plain_and_streamed() -> None:
    """The SDK reads a whole answer, and the same in many events, with usage and the reason at its end."""
    async with FakeProvider() as provider, client(provider) as sdk:
        whole = await sdk.chat(model="m", messages=ASKED)
        events = await events_of(sdk)
        key = provider.seen[0].key
    assert whole.message.content[0].text == essay(PROMPT) == words_of(events)
    assert (whole.finish_reason, whole.message.role, key) == ("COMPLETE", "assistant", "x")
    assert [event.type for event in events[:2]] == ["message-start", "content-start"]
    assert [event.type for event in events[-2:]] == ["content-end", "message-end"]
    assert events[0].id
    assert events[-1].delta.finish_reason == "COMPLETE"
    assert events[-1].delta.usage.tokens == whole.usage.tokens
    assert whole.usage.tokens.output_tokens > 20


@in_loop
async def test_a_limit() -> None:
    """An answer that reached its limit says so."""
    async with FakeProvider() as provider, client(provider) as sdk:
        answer = await sdk.chat(model="m", messages=ASKED, max_tokens=3)
    assert (answer.finish_reason, answer.usage.tokens.output_tokens) == ("MAX_TOKENS", 3)


@in_loop
async def test_tools() -> None:
    """Calls come with id, name and arguments, whole or in pieces."""
    calls = tuple(ToolCall(id=f"c{n}", name="get_weather", arguments='{"place": "Oslo"}') for n in range(2))
    said = Response(text="", tool_calls=calls)
    async with FakeProvider(answer=lambda _: said) as provider, client(provider) as sdk:
        whole = await sdk.chat(model="m", messages=ASKED, tools=[WEATHER])
        events = await events_of(sdk, tools=[WEATHER])
    found = [(call.id, call.function.name, call.function.arguments) for call in whole.message.tool_calls]
    assert found == [(call.id, call.name, call.arguments) for call in calls]
    assert whole.finish_reason == "TOOL_CALL"
    started = [event.delta.message.tool_calls for event in events if event.type == "tool-call-start"]
    pieces = [event for event in events if event.type == "tool-call-delta"]
    assert [(call.id, call.function.name) for call in started] == [("c0", "get_weather"), ("c1", "get_weather")]
    for index in (0, 1):
        said_by = "".join(p.delta.message.tool_calls.function.arguments for p in pieces if p.index == index)
        assert said_by == '{"place": "Oslo"}'


@pytest.mark.parametrize(
    ("kind", "raised"),
    [
        (FailureKind.REQUEST, "BadRequestError"),
        (FailureKind.MODEL_MISSING, "NotFoundError"),
        (FailureKind.RATE_LIMIT, "TooManyRequestsError"),
        (FailureKind.OVERLOADED, "ServiceUnavailableError"),
        (FailureKind.DEADLINE, "GatewayTimeoutError"),
        (FailureKind.INTERNAL, "InternalServerError"),
    ],
)
def test_errors(kind: FailureKind, raised: str) -> None:
    """A failure is the exception that the SDK has for it, with its message in the body."""
    assert FORMAT.write_failure is not None
    status, headers, body = FORMAT.write_failure(Failure(kind=kind, message="so it is"), "req_1")

    @in_loop
    async def ask() -> None:
        async with FakeProvider() as provider, client(provider) as sdk:
            provider.fail_with(Status(status, body=body, headers=headers))
            with pytest.raises(getattr(cohere.errors, raised)) as caught:
                await sdk.chat(model="m", messages=ASKED, request_options=ONCE)
            assert caught.value.body == {"id": "req_1", "message": "so it is"}

    ask()


@in_loop
async def test_streams_that_break() -> None:
    """An error inside a stream ends it with ERROR; a stream that is cut has no end."""
    async with FakeProvider() as provider, client(provider) as sdk:
        provider.fail_with(ErrorEvent(message="the model died"))
        last = (await events_of(sdk))[-1]
        assert (last.type, last.delta.finish_reason, last.delta.error) == ("message-end", "ERROR", "the model died")
        provider.fail_with(Cut(clean=True))
        assert (await events_of(sdk))[-1].type == "content-delta"


@in_loop
async def test_embeddings() -> None:
    """Vectors as numbers and as base64."""
    async with FakeProvider() as provider, client(provider) as sdk:
        told = {"model": "m", "texts": ["a", "b"], "input_type": "search_query"}
        plain = await sdk.embed(**told, embedding_types=["float"])
        packed = await sdk.embed(**told, embedding_types=["base64"])
    assert len(plain.embeddings.float_) == len(packed.embeddings.base64) == 2
    assert plain.texts == ["a", "b"]
    assert plain.meta.billed_units.input_tokens > 0


@in_loop
async def test_our_request_is_the_sdks() -> None:
    """The same call gives the same body."""
    chat = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text(PROMPT), Media(kind="image", url=PICTURE))),
            Message(role="assistant", parts=(ToolCall(id="c", name="get_weather", arguments='{"place":"Oslo"}'),)),
            Message(role="tool", parts=(ToolResult(id="c", parts=(Text("Rain"),)),)),
        ),
        tools=(Tool(name="get_weather", description="The weather in a place.", parameters=SCHEMA, strict=True),),
        tool_choice="required", schema=SCHEMA, max_tokens=9, temperature=0.5, top_p=0.9, top_k=5, stop=("END",), seed=7,
        presence_penalty=0.1, frequency_penalty=0.2, reasoning_tokens=100, hints={"priority": 1},
    )  # fmt: skip
    call = {"id": "c", "type": "function", "function": {"name": "get_weather", "arguments": '{"place":"Oslo"}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [
            {"type": "text", "text": PROMPT}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c", "content": "Rain"},
    ]  # fmt: skip
    async with FakeProvider(answer=lambda _: "yes") as provider, client(provider) as sdk:
        await sdk.chat(
            model="m", messages=messages, tools=[WEATHER], strict_tools=True, tool_choice="REQUIRED",
            response_format={"type": "json_object", "json_schema": SCHEMA}, max_tokens=9, temperature=0.5, p=0.9, k=5,
            stop_sequences=["END"], seed=7, presence_penalty=0.1, frequency_penalty=0.2, priority=1,
            thinking=cohere.Thinking(type="enabled", token_budget=100),
        )  # fmt: skip
        await sdk.embed(model="m", texts=["a", "b"], input_type="search_query", embedding_types=["float"],
                        output_dimension=4, truncate="NONE")  # fmt: skip
        theirs, embedded = [json.loads(seen.body) for seen in provider.seen]
        paths = [seen.path for seen in provider.seen]
    target = Target(name="t", provider="cohere", model="m", base_url="https://h.invalid/compatibility/v1")
    ours = write_request(Request(model="m", read=lambda: chat), target)
    assert json.loads(ours.body) == theirs
    work = Texts(texts=("a", "b"), dimensions=4, purpose="query")
    ours_embedded = write_embeddings(Request(model="m", task=Task.EMBEDDING, read=lambda: work), target)
    assert json.loads(ours_embedded.body) == embedded
    assert [ours.url, ours_embedded.url] == [f"https://h.invalid{path}" for path in paths]
