"""One face, providers of every format behind it: translated, ruled out with a reason, mended, rescued."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from openai import AsyncOpenAI

from faces.running import running
from unbroken.config import load
from unbroken.testing import Cut, FakeProvider, Status, essay
from unbroken.types import Chat, Request, Response, ToolCall
from unbroken.wire import format_named

WAYS = {
    "openai_chat": "/v1",
    "openai_responses": "/v1",
    "anthropic": "",
    "gemini": "/v1beta",
    "bedrock": "",
    "ollama": "",
    "cohere": "",
}
"""What follows the address of a provider's server in its base URL, by format."""
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
FORM = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
PIXEL = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(8)).decode()
Visit = Callable[[AsyncOpenAI], Awaitable[Any]]


def visit(
    tmp_path: Path,
    fakes: Mapping[str, tuple[FakeProvider, str]],
    ask: Visit,
    *,
    policy: Mapping[str, Any] | None = None,
    **provider: Any,
) -> Any:
    """Ask a gateway over these providers, by name each with its format, in the route `m`."""

    async def go() -> Any:
        for fake, _ in fakes.values():
            await fake.start()
        document = {
            "providers": {
                name: {
                    "base_url": f"http://127.0.0.1:{fake.port}{WAYS[spoken]}",
                    "format": spoken,
                    "key": "k",
                    "model": "word-model",
                    **provider,
                }
                for name, (fake, spoken) in fakes.items()
            },
            "routes": {"m": {"targets": list(fakes), "policy": dict(policy or {})}},
        }
        file = tmp_path / "unbroken.yaml"
        file.write_bytes(msgspec.json.encode(document))
        try:
            async with running(load(file, {})) as gateway:
                client = AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0)
                async with client:
                    return await ask(client)
        finally:
            for fake, _ in fakes.values():
                await fake.close()

    return asyncio.run(go())


async def words(client: AsyncOpenAI, **more: Any) -> str:
    """What is said to a streamed question, joined."""
    messages: Any = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tell me of the sea."}]
    stream: Any = await client.chat.completions.create(model="m", messages=messages, stream=True, **more)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])


@pytest.mark.parametrize("spoken", WAYS)
def test_any_format_answers(spoken: str, tmp_path: Path) -> None:
    """An openai client gets words, usage and finish from a provider of any format, plain and streamed."""
    fake = FakeProvider("far")

    async def ask(client: AsyncOpenAI) -> None:
        messages: Any = [{"role": "user", "content": "Tell me of the sea."}]
        plain = await client.chat.completions.create(model="m", messages=messages, temperature=0.5, max_tokens=4000)
        assert plain.choices[0].message.content == essay("Tell me of the sea.")
        assert plain.choices[0].finish_reason == "stop"
        assert plain.usage is not None
        assert plain.usage.completion_tokens > 20
        assert await words(client, max_tokens=4000) == essay("Tell me of the sea.")

    visit(tmp_path, {"far": (fake, spoken)}, ask)
    assert [seen.prompt for seen in fake.seen] == ["Tell me of the sea."] * 2


@pytest.mark.parametrize("spoken", WAYS)
def test_tools_survive_translation(spoken: str, tmp_path: Path) -> None:
    """A call comes back whole with its name and arguments, and its result reaches the model under the call's id."""
    heard: list[Chat] = []

    def answer(request: Request) -> str | Response:
        heard.append(request.chat)
        if any(message.role == "tool" for message in request.chat.messages):
            return "It is blue."
        return Response(tool_calls=(ToolCall(id="call_7", name="look", arguments='{"at": "sea"}'),))

    async def ask(client: AsyncOpenAI) -> None:
        picture = {"type": "image_url", "image_url": {"url": PIXEL}}
        messages: list[Any] = [{"role": "user", "content": [{"type": "text", "text": "Colour?"}, picture]}]
        tools: Any = [LOOK]
        for stream in (False, True):
            first = await client.chat.completions.create(model="m", messages=messages, tools=tools, max_tokens=99)
            assert first.choices[0].finish_reason == "tool_calls"
            call = (first.choices[0].message.tool_calls or [])[0]
            assert (call.type, json.loads(call.function.arguments)) == ("function", {"at": "sea"})  # type: ignore[union-attr]
            result = {"role": "tool", "tool_call_id": call.id, "content": "blue"}
            again = [*messages, first.choices[0].message.model_dump(exclude_none=True), result]
            if stream:
                chunks: Any = await client.chat.completions.create(model="m", messages=again, tools=tools, stream=True)
                said = "".join([c.choices[0].delta.content or "" async for c in chunks if c.choices])
            else:
                second = await client.chat.completions.create(model="m", messages=again, tools=tools)
                said = second.choices[0].message.content or ""
            assert said == "It is blue."

    visit(tmp_path, {"far": (FakeProvider("far", answer=answer), spoken)}, ask)
    parts = [part for message in heard[1].messages for part in message.parts]
    assert [type(part).__name__ for part in parts] == ["Text", "Media", "ToolCall", "ToolResult"]
    assert parts[2].id == parts[3].id  # type: ignore[union-attr]


@pytest.mark.parametrize("spoken", WAYS)
def test_errors_of_any_format_are_the_callers_exceptions(spoken: str, tmp_path: Path) -> None:
    """An error in the words of any provider raises the class that openai's client has for it."""
    fake = FakeProvider("far")

    async def ask(client: AsyncOpenAI) -> None:
        refuse = format_named(spoken).write_failure
        assert refuse is not None
        fake.fail_with(Status(429, retry_after_s=60))
        with pytest.raises(openai.RateLimitError):
            await words(client)
        fake.fail_with(Status(400, message="temperature must be at most 1"))
        with pytest.raises(openai.BadRequestError, match="at most 1"):
            await words(client)

    visit(tmp_path, {"far": (fake, spoken)}, ask)


@pytest.mark.parametrize("first", [name for name in WAYS if name != "openai_chat"])
def test_a_broken_stream_goes_on_in_another_format(first: str, tmp_path: Path) -> None:
    """A stream that one format began and lost is finished by another, word for word."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Cut(after_tokens=12))
    said = visit(tmp_path, {"broken": (broken, first), "well": (well, "openai_chat")}, words)
    assert said == essay("Tell me of the sea.")
    assert len(well.seen) == 1


@pytest.mark.parametrize("second", [name for name in WAYS if name != "openai_chat"])
def test_a_broken_stream_is_finished_by_any_format(second: str, tmp_path: Path) -> None:
    """Any format can take over a stream that OpenAI's began."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Cut(after_tokens=12))
    said = visit(tmp_path, {"broken": (broken, "openai_chat"), "well": (well, second)}, words)
    assert said == essay("Tell me of the sea.")


def test_who_cannot_be_told_everything_is_not_asked(tmp_path: Path) -> None:
    """A field that a format has no words for rules the target out before it is asked, and costs no attempt."""
    lacking, able = FakeProvider("lacking"), FakeProvider("able")

    async def ask(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], logit_bias={"1": 5}
        )

    raw = visit(tmp_path, {"lacking": (lacking, "ollama"), "able": (able, "openai_chat")}, ask)
    assert raw.headers["x-unbroken-target"] == "able/word-model"
    assert raw.headers["x-unbroken-attempts"] == "1"
    assert (len(lacking.seen), len(able.seen)) == (0, 1)


def test_when_nobody_can_be_told_the_reason_is_given(tmp_path: Path) -> None:
    """The caller learns which target lacks which word."""

    async def ask(client: AsyncOpenAI) -> None:
        with pytest.raises(openai.BadRequestError, match=r"far/word-model: cannot be asked this: .* has no logit_bias"):
            await words(client, logit_bias={"1": 5})

    visit(tmp_path, {"far": (FakeProvider("far"), "ollama")}, ask)


def test_what_may_be_dropped_is_dropped_and_told(tmp_path: Path) -> None:
    """An operator may prefer an answer without a field to none; hints go anyway, and both are told."""
    fake = FakeProvider("far")

    async def ask(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], logit_bias={"1": 5}, user="u7"
        )

    raw = visit(tmp_path, {"far": (fake, "ollama")}, ask, may_drop=["logit_bias"])
    assert sorted(raw.headers["x-unbroken-left-out"].split(", ")) == ["logit_bias", "user"]


def test_a_request_is_mended(tmp_path: Path) -> None:
    """What a provider complains of is put right and asked again there, without a failover."""
    fake = FakeProvider("far")
    newer = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    fake.fail_with(Status(400, code="unsupported_parameter", message=newer), times=1)

    async def ask(client: AsyncOpenAI) -> Any:
        return await client.chat.completions.with_raw_response.create(
            model="m", messages=[{"role": "user", "content": "Hi"}], max_tokens=50
        )

    raw = visit(tmp_path, {"far": (fake, "openai_chat"), "other": (FakeProvider("other"), "openai_chat")}, ask)
    assert (raw.headers["x-unbroken-target"], raw.headers["x-unbroken-attempts"]) == ("far/word-model", "2")
    bodies = [json.loads(seen.body) for seen in fake.seen]
    assert ("max_tokens" in bodies[0], "max_completion_tokens" in bodies[1]) == (True, True)


@pytest.mark.parametrize("stream", [False, True])
def test_answers_that_break_their_schema_are_asked_for_elsewhere(stream: bool, tmp_path: Path) -> None:
    """Where the route minds, a caller never sees an answer that does not obey the schema, not even in a stream."""
    wrong = FakeProvider("wrong", answer=lambda _: '{"age": "seven"}')
    right = FakeProvider("right", answer=lambda _: '{"age": 7}')
    fakes = {"wrong": (wrong, "openai_chat"), "right": (right, "openai_chat")}

    async def ask(client: AsyncOpenAI) -> str:
        if stream:
            return await words(client, response_format=FORM)
        messages: Any = [{"role": "user", "content": "How old?"}]
        done = await client.chat.completions.create(model="m", messages=messages, response_format=FORM)  # type: ignore[call-overload]
        return str(done.choices[0].message.content)

    assert visit(tmp_path, fakes, ask) == '{"age": "seven"}'
    wrong = FakeProvider("wrong", answer=lambda _: '{"age": "seven"}')
    right = FakeProvider("right", answer=lambda _: '{"age": 7}')
    fakes = {"wrong": (wrong, "openai_chat"), "right": (right, "openai_chat")}
    assert visit(tmp_path, fakes, ask, policy={"on_bad_schema": "failover"}) == '{"age": 7}'
    assert (len(wrong.seen), len(right.seen)) == (2, 1)
