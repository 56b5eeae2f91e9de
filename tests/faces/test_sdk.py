"""Official SDKs over an engine in their own process, on each HTTP library that they take, blocking and asynchronous."""

from __future__ import annotations

import asyncio
import base64
import inspect
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from google.genai import types as genai_types

from faces.running import config_for
from unbroken.config import Config
from unbroken.faces.sdk import SharedEngine, async_sdk_client, sdk_client
from unbroken.testing import Cut, FakeProvider, Hang, Speed, Status, essay
from unbroken.types import Request, Response, ToolCall

QUESTION = "Tell me of the sea."
MESSAGES: Any = [{"role": "user", "content": QUESTION}]
SLOW = Speed(first_token_s=0.0, tokens_per_s=5.0)


def with_config(tmp_path: Path, ask: Callable[[Config], Any], *fakes: FakeProvider, **server: Any) -> Any:
    """What `ask` gets of a configuration over these providers: on a thread of its own, or awaited."""

    async def go() -> Any:
        for fake in fakes:
            await fake.start()
        try:
            config = config_for(fakes, tmp_path, server=server)
            if inspect.iscoroutinefunction(ask):
                return await ask(config)
            return await asyncio.to_thread(ask, config)
        finally:
            for fake in fakes:
                await fake.close()

    return asyncio.run(go())


def gone(fake: FakeProvider) -> None:
    """Wait until every request at this provider was hung up on."""

    async def look() -> None:
        while not (fake.seen and all(seen.hung_up for seen in fake.seen)):
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(look(), 20))


# --------------------------------------------------------------------- the SDKs, each in both kinds


def by_openai(shared: SharedEngine, library: str, *, stream: bool) -> str:
    with openai.OpenAI(http_client=shared.client(library), api_key="any") as client:
        if not stream:
            return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content or ""
        chunks = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


async def by_async_openai(shared: SharedEngine, library: str, *, stream: bool) -> str:
    async with openai.AsyncOpenAI(http_client=shared.async_client(library), api_key="any") as client:
        if not stream:
            done = await client.chat.completions.create(model="m", messages=MESSAGES)
            return done.choices[0].message.content or ""
        chunks = await client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def by_anthropic(shared: SharedEngine, library: str, *, stream: bool) -> str:
    with anthropic.Anthropic(http_client=shared.client(library), api_key="any") as client:
        if not stream:
            message = client.messages.create(model="m", max_tokens=4000, messages=MESSAGES)
            return "".join(block.text for block in message.content if block.type == "text")
        with client.messages.stream(model="m", max_tokens=4000, messages=MESSAGES) as events:
            return "".join(events.text_stream)


async def by_async_anthropic(shared: SharedEngine, library: str, *, stream: bool) -> str:
    async with anthropic.AsyncAnthropic(http_client=shared.async_client(library), api_key="any") as client:
        if not stream:
            message = await client.messages.create(model="m", max_tokens=4000, messages=MESSAGES)
            return "".join(block.text for block in message.content if block.type == "text")
        async with client.messages.stream(model="m", max_tokens=4000, messages=MESSAGES) as events:
            return "".join([text async for text in events.text_stream])


def google(shared: SharedEngine, library: str) -> genai.Client:
    options = genai_types.HttpOptions(
        httpx_client=shared.client(library), httpx_async_client=shared.async_client(library)
    )
    return genai.Client(api_key="any", http_options=options)


def by_google(shared: SharedEngine, library: str, *, stream: bool) -> str:
    models = google(shared, library).models
    if not stream:
        return models.generate_content(model="m", contents=QUESTION).text or ""
    return "".join(chunk.text or "" for chunk in models.generate_content_stream(model="m", contents=QUESTION))


async def by_async_google(shared: SharedEngine, library: str, *, stream: bool) -> str:
    models = google(shared, library).aio.models
    if not stream:
        return (await models.generate_content(model="m", contents=QUESTION)).text or ""
    chunks = await models.generate_content_stream(model="m", contents=QUESTION)
    return "".join([chunk.text or "" async for chunk in chunks])


SDKS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "openai": (by_openai, ("httpx2", "httpx")),
    "async-openai": (by_async_openai, ("httpx2", "httpx")),
    "anthropic": (by_anthropic, ("httpx2",)),
    "async-anthropic": (by_async_anthropic, ("httpx2",)),
    "google": (by_google, ("httpx2", "httpx")),
    "async-google": (by_async_google, ("httpx2", "httpx")),
}
"""How each is asked, and the libraries whose clients its present version takes."""
OLD = find_spec("httpx2") is None
"""SDKs of the time before httpx2 take httpx alone."""
LIBRARY = "httpx" if OLD else "httpx2"
"""The one that every SDK here takes."""
WAYS = [
    pytest.param(ask, library, id=f"{name}-{library}")
    for name, (ask, takes) in SDKS.items()
    for library in ((LIBRARY,) if OLD else takes)
]
RAISED = {
    "openai": (openai.RateLimitError, openai.BadRequestError, openai.InternalServerError),
    "anthropic": (anthropic.RateLimitError, anthropic.BadRequestError, anthropic.InternalServerError),
    "google": (genai_errors.ClientError, genai_errors.ClientError, genai_errors.ServerError),
}
"""What each raises for a 429, a 400 and a 5xx."""


def said(config: Config, ask: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """What an SDK is told by an engine for this configuration; in a thread without an event loop."""
    with SharedEngine(config) as shared:
        answer = ask(shared, *args, **more)
        return asyncio.run(answer) if inspect.iscoroutine(answer) else answer


# --------------------------------------------------------------------- promises


@pytest.mark.parametrize(("ask", "library"), WAYS)
def test_every_sdk_is_answered(ask: Callable[..., Any], library: str, tmp_path: Path) -> None:
    """Plain and streamed, with nothing of the SDK changed but its HTTP client."""

    def both(config: Config) -> tuple[str, str]:
        return said(config, ask, library, stream=False), said(config, ask, library, stream=True)

    assert with_config(tmp_path, both, FakeProvider("far")) == (essay(QUESTION), essay(QUESTION))


@pytest.mark.parametrize(("ask", "library"), WAYS)
def test_every_sdks_stream_is_rescued(ask: Callable[..., Any], library: str, tmp_path: Path) -> None:
    """A stream that breaks after some words is finished by another provider, word for word."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Cut(after_tokens=12))
    rescued = with_config(tmp_path, lambda config: said(config, ask, library, stream=True), broken, well)
    assert rescued == essay(QUESTION)
    assert len(well.seen) == 1


@pytest.mark.parametrize(("ask", "library"), WAYS)
def test_every_sdk_raises_its_own_exceptions(ask: Callable[..., Any], library: str, tmp_path: Path) -> None:
    """For each kind of failure the class that the SDK has for it, and the SDK's own retries add nothing to ours."""
    fake = FakeProvider("far")
    name = next(name for name in RAISED if name in ask.__name__)

    def fail(config: Config) -> list[int]:
        counts = []
        for trouble, raised in zip(
            (Status(429, retry_after_s=600), Status(400), Status(500)), RAISED[name], strict=True
        ):
            fake.seen.clear()
            fake.fail_with(trouble)
            with pytest.raises(raised):
                said(config, ask, library, stream=False)
            counts.append(len(fake.seen))
        return counts

    assert with_config(tmp_path, fail, fake) == [1, 1, 2]  # a 500 is worth one retry, which is made by us


@pytest.mark.parametrize("ask", [by_openai, by_anthropic, by_google])
def test_a_stream_that_nobody_can_finish_raises(ask: Callable[..., Any], tmp_path: Path) -> None:
    """Where every provider cuts the answer the SDK raises, and its reader is never told a false end."""
    fake = FakeProvider("far")
    fake.fail_with(Cut(after_tokens=3))

    def fail(config: Config) -> None:
        with pytest.raises((openai.APIError, anthropic.APIError, genai_errors.APIError)):
            said(config, ask, LIBRARY, stream=True)

    with_config(tmp_path, fail, fake)


def test_tools_come_and_go(tmp_path: Path) -> None:
    """A tool's call reaches the program, and its result the model, through OpenAI's SDK and Anthropic's."""

    def answer(request: Request) -> str | Response:
        if any(message.role == "tool" for message in request.chat.messages):
            return "It is blue."
        return Response(tool_calls=(ToolCall(id="call_7", name="look", arguments='{"at": "sea"}'),))

    schema = {"type": "object", "properties": {"at": {"type": "string"}}}

    def by_openais(client: openai.OpenAI) -> str | None:
        tools: Any = [{"type": "function", "function": {"name": "look", "parameters": schema}}]
        first = client.chat.completions.create(model="m", messages=MESSAGES, tools=tools).choices[0].message
        call: Any = (first.tool_calls or [])[0]
        assert json.loads(call.function.arguments) == {"at": "sea"}
        result = {"role": "tool", "tool_call_id": call.id, "content": "blue"}
        again = [*MESSAGES, first.model_dump(exclude_none=True), result]
        return client.chat.completions.create(model="m", messages=again, tools=tools).choices[0].message.content

    def by_anthropics(client: anthropic.Anthropic) -> str:
        tools: Any = [{"name": "look", "input_schema": schema}]
        first = client.messages.create(model="m", max_tokens=99, messages=MESSAGES, tools=tools)
        call: Any = next(block for block in first.content if block.type == "tool_use")
        assert call.input == {"at": "sea"}
        result = {"type": "tool_result", "tool_use_id": call.id, "content": "blue"}
        again: Any = [
            *MESSAGES,
            {
                "role": "assistant",
                "content": [call.model_dump(exclude_none=True, include={"type", "id", "name", "input"})],
            },
            {"role": "user", "content": [result]},
        ]
        second: Any = client.messages.create(model="m", max_tokens=99, messages=again, tools=tools)
        return str(second.content[0].text)

    def ask(config: Config) -> tuple[str | None, str]:
        with SharedEngine(config) as shared:
            return (
                by_openais(openai.OpenAI(http_client=shared.client(), api_key="any")),
                by_anthropics(anthropic.Anthropic(http_client=shared.client(), api_key="any")),
            )

    assert with_config(tmp_path, ask, FakeProvider("far", answer=answer)) == ("It is blue.", "It is blue.")


def test_other_work_than_chat(tmp_path: Path) -> None:
    """Embeddings, images, speech and transcription, whose bodies are JSON, bytes and multipart."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Status(503))

    def ask(config: Config) -> None:
        with openai.OpenAI(http_client=sdk_client(config), api_key="any") as client:
            assert len(client.embeddings.create(model="m", input=["one", "two"]).data) == 2
            pictures = client.images.generate(model="m", prompt="A bridge").data or []
            assert base64.b64decode(pictures[0].b64_json or "")
            sound = client.audio.speech.create(model="m", voice="alloy", input="Hello").content
            assert sound
            assert client.audio.transcriptions.create(model="m", file=("a.wav", sound)).text

    with_config(tmp_path, ask, broken, well)
    assert len(well.seen) == 4


def test_a_stream_that_is_closed_is_hung_up(tmp_path: Path) -> None:
    """The provider is not read any further once nobody reads its answer."""
    fake = FakeProvider("far", speed=SLOW)

    def ask(config: Config) -> None:
        with openai.OpenAI(http_client=sdk_client(config), api_key="any") as client:
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            next(iter(stream))
            stream.close()
            gone(fake)

    with_config(tmp_path, ask, fake)


@pytest.mark.parametrize("stream", [False, True])
def test_a_task_that_is_cancelled_hangs_up(stream: bool, tmp_path: Path) -> None:
    """Before the first word and in the middle of a stream."""
    fake = FakeProvider("far", speed=SLOW)

    async def ask(config: Config) -> None:
        async with openai.AsyncOpenAI(http_client=async_sdk_client(config), api_key="any") as client:
            begun = asyncio.Event()

            async def read() -> None:
                answer: Any = await client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
                async for _ in answer:
                    begun.set()

            task = asyncio.create_task(read())
            while not (begun.is_set() if stream else fake.seen):
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await asyncio.to_thread(gone, fake)

    with_config(tmp_path, ask, fake)


@pytest.mark.parametrize("kind", ["blocking", "asynchronous"])
def test_the_sdks_own_time_limit_holds(kind: str, tmp_path: Path) -> None:
    """Who says `timeout` gets the SDK's timeout exception after it, and the provider is hung up on."""
    fake = FakeProvider("far")
    fake.fail_with(Hang())
    limits: Any = {"timeout": 0.2, "max_retries": 0, "api_key": "any"}

    def block(config: Config) -> None:
        with openai.OpenAI(http_client=sdk_client(config), **limits) as client:
            with pytest.raises(openai.APITimeoutError):
                client.chat.completions.create(model="m", messages=MESSAGES)
            gone(fake)

    async def wait(config: Config) -> None:
        async with openai.AsyncOpenAI(http_client=async_sdk_client(config), **limits) as client:
            with pytest.raises(openai.APITimeoutError):
                await client.chat.completions.create(model="m", messages=MESSAGES)
            await asyncio.to_thread(gone, fake)

    with_config(tmp_path, block if kind == "blocking" else wait, fake)


def test_many_threads_share_a_client(tmp_path: Path) -> None:
    """Answers do not mix, whichever thread asks."""
    prompts = [f"Tell me of bridge number {number}." for number in range(48)]

    def ask(config: Config) -> list[str]:
        with openai.OpenAI(http_client=sdk_client(config), api_key="any") as client, ThreadPoolExecutor(12) as pool:

            def one(prompt: str) -> str:
                messages: Any = [{"role": "user", "content": prompt}]
                chunks: Any = client.chat.completions.create(model="m", messages=messages, stream=True)
                return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)

            return list(pool.map(one, prompts))

    assert with_config(tmp_path, ask, FakeProvider("far")) == [essay(prompt) for prompt in prompts]


def test_many_tasks_share_a_client(tmp_path: Path) -> None:
    """Answers do not mix, whichever task asks."""
    prompts = [f"Tell me of bridge number {number}." for number in range(48)]

    async def ask(config: Config) -> list[str]:
        async with openai.AsyncOpenAI(http_client=async_sdk_client(config), api_key="any") as client:

            async def one(prompt: str) -> str:
                messages: Any = [{"role": "user", "content": prompt}]
                chunks: Any = await client.chat.completions.create(model="m", messages=messages, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

            return await asyncio.gather(*map(one, prompts))

    assert with_config(tmp_path, ask, FakeProvider("far")) == [essay(prompt) for prompt in prompts]


def test_blocking_clients_work_inside_a_running_loop(tmp_path: Path) -> None:
    """As in a notebook: the engine's loop is its own."""

    def ask(config: Config) -> Any:
        async def cell() -> str:
            with SharedEngine(config) as shared:
                return by_openai(shared, LIBRARY, stream=True)

        return asyncio.run(cell())

    assert with_config(tmp_path, ask, FakeProvider("far")) == essay(QUESTION)


def test_an_asynchronous_client_outlives_its_loop(tmp_path: Path) -> None:
    """One client serves one `asyncio.run` after another, and the engine remembers what it has learned."""

    def ask(config: Config) -> list[str]:
        client = openai.AsyncOpenAI(http_client=async_sdk_client(config), api_key="any")

        async def one() -> str:
            answer = await client.chat.completions.create(model="m", messages=MESSAGES)
            return answer.choices[0].message.content or ""

        answers = [asyncio.run(one()), asyncio.run(one())]
        asyncio.run(client.close())
        return answers

    assert with_config(tmp_path, ask, FakeProvider("far")) == [essay(QUESTION)] * 2


def test_clients_of_one_engine_learn_from_each_other(tmp_path: Path) -> None:
    """A key that one SDK found refused is not tried by another."""
    refusing, well = FakeProvider("refusing", keys=["another"]), FakeProvider("well")

    def ask(config: Config) -> list[str]:
        with SharedEngine(config) as shared:
            return [ask(shared, LIBRARY, stream=False) for ask in (by_openai, by_anthropic, by_google)]

    assert with_config(tmp_path, ask, refusing, well) == [essay(QUESTION)] * 3
    assert (len(refusing.seen), len(well.seen)) == (1, 3)


def test_answers_say_who_gave_them(tmp_path: Path) -> None:
    """The headers of a gateway's answer are there for `with_raw_response`."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Status(500))

    def ask(config: Config) -> Any:
        with openai.OpenAI(http_client=sdk_client(config), api_key="any") as client:
            return client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES).headers

    headers = with_config(tmp_path, ask, broken, well)
    assert (headers["x-unbroken-target"], headers["x-unbroken-failover"]) == ("well/word-model", "true")


def test_what_is_not_served_is_said(tmp_path: Path) -> None:
    """A path that no gateway has is the SDK's own exception, which names it; nothing goes to any provider."""
    fake = FakeProvider("far")

    def ask(config: Config) -> None:
        with SharedEngine(config) as shared:
            with pytest.raises(openai.NotFoundError, match="GET /v1/files is not served here"):
                openai.OpenAI(http_client=shared.client(), api_key="any").files.list()
            with pytest.raises(anthropic.NotFoundError, match="GET /v1/messages/batches is not served here"):
                anthropic.Anthropic(http_client=shared.client(), api_key="any").messages.batches.list()

    with_config(tmp_path, ask, fake)
    assert not fake.seen


BASE_URLS = (
    "https://api.groq.com/openai/v1",
    "https://openrouter.ai/api/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai",
    "http://localhost:11434/v1/",
    "https://api.deepseek.com",
)


@pytest.mark.parametrize("base_url", BASE_URLS)
def test_any_base_url_will_do(base_url: str, tmp_path: Path) -> None:
    """Code that points at some provider's address is served without a change of it."""

    def ask(config: Config) -> str | None:
        with openai.OpenAI(http_client=sdk_client(config), api_key="any", base_url=base_url) as client:
            return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content

    assert with_config(tmp_path, ask, FakeProvider("far")) == essay(QUESTION)


def test_azures_client_is_served(tmp_path: Path) -> None:
    """Its paths name a deployment; the model is in the body all the same."""

    def ask(config: Config) -> str | None:
        azure = openai.AzureOpenAI(
            http_client=sdk_client(config), api_key="any", azure_endpoint="https://x.openai.azure.com", api_version="1"
        )
        with azure as client:
            return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content

    assert with_config(tmp_path, ask, FakeProvider("far")) == essay(QUESTION)


def test_no_gateway_key_is_needed(tmp_path: Path) -> None:
    """Keys of the server section are for those who come over the network."""
    asked = with_config(
        tmp_path, lambda config: said(config, by_openai, LIBRARY, stream=False),
        FakeProvider("far"), keys=["gateway-key"],
    )  # fmt: skip
    assert asked == essay(QUESTION)
