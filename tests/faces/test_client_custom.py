"""Providers of one's own: functions and classes that take part in routes as any other does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest

from faces.client_world import over
from loops import in_loop
from unbroken import (
    ConfigError,
    Failure,
    FailureKind,
    Provider,
    RequestError,
    TargetsExhausted,
    Unbroken,
    UnbrokenError,
)
from unbroken.testing import FakeProvider, Refused, essay
from unbroken.testing.samples import PIXEL
from unbroken.types import Delta, Finish, Output, Request, Response, ToolCall, ToolFragment, Usage

QUESTION = "Why do bridges sing?"


async def mine(request: Request) -> str:
    """Says what it was asked."""
    return f"{request.model}: {request.chat.messages[-1].text}"


@in_loop
async def test_a_function_is_a_provider() -> None:
    """Registered by name it is asked by name, as part of `auto`, plain and streamed."""
    north = FakeProvider("north")
    async with over(north) as client:
        client.register("mine", mine)
        assert (await client.chat(QUESTION, provider="mine")).text == f"default: {QUESTION}"
        assert (await client.stream(QUESTION, provider="mine").whole()).text == f"default: {QUESTION}"
        assert (await client.chat(QUESTION)).provider == "north"
        north.fail_with(Refused())
        answer = await client.chat(QUESTION)
        assert (answer.provider, answer.failover_occurred) == ("mine", True)
        assert client.get_statistics()["providers"]["mine"]["answered"] == 3


@in_loop
async def test_a_decorator_registers_and_changes_nothing() -> None:
    """`@client.provider` gives back what it stands above; a name is replaced by its newest bearer."""
    async with over(FakeProvider("north")) as client:
        assert client.provider("mine", first=True)(mine) is mine
        assert (await client.chat(QUESTION)).provider == "mine"

        @client.provider("mine")
        async def other(request: Request) -> str:
            return "other"

        assert (await client.chat(QUESTION)).text == "other"
        assert [model.id for model in client.models()].count("mine/default") == 1


@in_loop
async def test_an_async_generator_is_streamed() -> None:
    """Its pieces come as they are made, and one that fails in the middle is gone on with elsewhere."""
    gate = asyncio.Event()

    async def slow(request: Request) -> AsyncIterator[str | Delta]:
        yield "one "
        await gate.wait()
        yield Delta(text="two")
        yield Delta(finish=Finish.LENGTH, usage=Usage(output_tokens=2))

    async def breaks(request: Request) -> AsyncIterator[str]:
        words = essay(QUESTION)
        yield words[:60]
        raise ValueError("lost the thread")

    async with over(FakeProvider("north")) as client:
        client.register("slow", slow, first=True)
        stream = client.stream(QUESTION)
        assert (await anext(stream)).text == "one "
        gate.set()
        answer = await stream.whole()
        assert (answer.text, answer.finish) == ("one two", Finish.LENGTH)
        assert answer.usage is not None and answer.usage.output_tokens == 2
        client.register("breaks", breaks, first=True)
        answer = await client.stream(QUESTION, model="auto").whole()
        assert answer.rescued
        assert (await client.chat(QUESTION, provider=["breaks", "north"])).provider == "north"


@in_loop
async def test_whoever_leaves_a_generator_early_ends_it() -> None:
    """Hanging up reaches the function, which may be waiting for somebody itself."""
    ended = asyncio.Event()

    async def endless(request: Request) -> AsyncIterator[str]:
        try:
            while True:
                yield "on and "
                await asyncio.sleep(0)
        finally:
            ended.set()

    async with Unbroken(providers={"endless": endless}, environ={}) as client:
        async with client.stream(QUESTION) as stream:
            await anext(stream)
        await ended.wait()


@in_loop
async def test_a_class_does_more_than_chat() -> None:
    """Embeddings, pictures, tool calls, a price and a name of its model."""

    class Workshop(Provider):
        model = "workshop-1"
        settings: ClassVar = {"price": {"request_usd": 0.5}}

        async def chat(self, request: Request) -> Response:
            call = ToolCall(id="c1", name="look", arguments='{"at":"it"}')
            return Response(text="See:", tool_calls=(call,), usage=Usage(input_tokens=1, output_tokens=2))

        async def embed(self, request: Request) -> list[list[float]]:
            return [[1.0, 2.0]]

        async def image(self, request: Request) -> list[Output]:
            return [Output(kind="image", data=PIXEL, media_type="image/png")] * 2

    async with Unbroken(providers={"workshop": Workshop()}, environ={}) as client:
        answer = await client.chat(QUESTION)
        streamed = [chunk async for chunk in client.stream(QUESTION)]
        assert (await client.embed("a")).vectors == ((1.0, 2.0),)
        assert len((await client.image("a point", count=2)).outputs) == 2
        with pytest.raises(RequestError, match="does no video work"):
            await client.video("waves")
    assert (answer.text, answer.tool_calls[0].name, answer.cost_usd) == ("See:", "look", 0.5)
    assert answer.target == "workshop/workshop-1"
    fragments: list[ToolFragment] = [fragment for chunk in streamed for fragment in chunk.tool_calls]
    assert json.loads("".join(fragment.arguments for fragment in fragments)) == {"at": "it"}


@in_loop
async def test_it_may_stand_among_other_providers_in_values() -> None:
    """In `providers=` a function stands beside sections, and routes may name it."""
    north = FakeProvider("north")
    routes = {"both": {"targets": ["mine", "north"]}}
    async with over(north, providers={"mine": mine}, routes=routes) as client:
        assert (await client.chat(QUESTION, model="both")).provider == "mine"
        assert (await client.chat(QUESTION, model="both", prefer="north")).provider == "north"


@in_loop
async def test_a_class_is_decorated_too() -> None:
    """A class below the decorator is made, and joins the route that is named."""
    async with over(FakeProvider("north"), routes={"r": {"targets": ["north"]}}) as client:

        @client.provider("echo", route="r", first=True)
        class Echo(Provider):
            async def chat(self, request: Request) -> str:
                return "echo"

        assert (await client.chat(QUESTION, model="r")).text == "echo"
        assert client.config.routes["auto"].targets[0].provider == "echo"
        assert Echo.model == "default"


@in_loop
async def test_exceptions_are_failures_of_the_provider() -> None:
    """Whatever it raises is a reason to ask somebody else; an UnbrokenError says which."""

    async def broke(request: Request) -> str:
        raise UnbrokenError(Failure(kind=FailureKind.RATE_LIMIT, message="slower", retry_after_s=60))

    async def lost(request: Request) -> str:
        raise ConnectionRefusedError("nobody is there")

    async def odd(request: Request) -> Any:
        return 7

    async with Unbroken(providers={"broke": broke, "lost": lost, "odd": odd}, environ={}) as client:
        with pytest.raises(TargetsExhausted) as caught:
            await client.chat(QUESTION)
    kinds = {tried.provider: tried.failure.kind for tried in caught.value.attempts if tried.failure}
    assert kinds == {"broke": "rate_limit", "lost": "connect", "odd": "server"}


@in_loop
async def test_what_cannot_be_registered_is_told() -> None:
    """A name in use, a route that is not there, an odd name, and what is no provider."""
    async with over(FakeProvider("north")) as client:
        with pytest.raises(RequestError, match="there is a provider of that name"):
            client.register("north", mine)
        with pytest.raises(RequestError, match="no such route"):
            client.register("mine", mine, route="nowhere")
        with pytest.raises(ConfigError):
            client.register("my own", mine)
        with pytest.raises(TypeError, match="async function"):
            client.register("mine", 7)  # type: ignore[arg-type]
        assert [model.id for model in client.models()] == ["auto", "north/word-model"]
