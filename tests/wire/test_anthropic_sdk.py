"""The official SDK as the judge of Anthropic's Messages format: against our server side, and of what we send."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loops import PATIENCE_S, in_loop
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Status, essay
from unbroken.types import Chat, Media, Message, Request, Source, Target, Text, Tool, ToolCall, ToolResult
from unbroken.wire.anthropic import FORMAT, write_request

sdk = pytest.importorskip("anthropic", reason="the official SDK is the judge of the format")
httpx2 = pytest.importorskip("httpx2", reason="what the SDK lets through comes from here")

PROMPT = "Why do bridges sing?"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "name": "get_weather", "description": "The weather.",
    "input_schema": {"type": "object", "properties": {"place": {"type": "string"}}},
}  # fmt: skip
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}


def client(provider: FakeProvider) -> Any:
    url = f"http://127.0.0.1:{provider.port}"
    return sdk.AsyncAnthropic(base_url=url, api_key="k", max_retries=0, timeout=PATIENCE_S)


def call(**options: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 1000, "messages": [{"role": "user", "content": PROMPT}], **options}


async def ask(provider: FakeProvider, **options: Any) -> Any:
    async with client(provider) as talker:
        return await talker.messages.create(**call(**options))


async def heard(provider: FakeProvider, **options: Any) -> Any:
    async with client(provider) as talker, talker.messages.stream(**call(**options)) as stream:
        return await stream.get_final_message()


@in_loop
async def test_a_plain_answer() -> None:
    """The SDK reads words, usage and stop reason of a plain answer."""
    async with FakeProvider() as provider:
        answer = await ask(provider, system="Be brief.")
        seen = provider.seen[0]
    assert answer.content[0].text == essay(PROMPT) and answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 20 and answer.usage.input_tokens > 0 and answer.model == "m"
    assert (seen.path, seen.key, seen.prompt, seen.stream) == ("/v1/messages", "k", PROMPT, False)


@in_loop
async def test_a_streamed_answer() -> None:
    """The SDK accumulates the same answer from a stream."""
    async with FakeProvider() as provider:
        answer = await heard(provider)
    assert answer.content[0].text == essay(PROMPT) and answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 20


@in_loop
async def test_a_limit() -> None:
    """An answer that is cut at its limit says so."""
    async with FakeProvider() as provider:
        assert (await ask(provider, max_tokens=3)).stop_reason == "max_tokens"
        assert (await heard(provider, max_tokens=3)).stop_reason == "max_tokens"


@in_loop
async def test_tools() -> None:
    """Calls of tools come with their arguments as objects, and results go back."""
    choice = {"type": "tool", "name": "get_weather"}
    async with FakeProvider() as provider:
        for answer in (
            await ask(provider, tools=[WEATHER], tool_choice=choice),
            await heard(provider, tools=[WEATHER], tool_choice=choice),
        ):
            assert answer.stop_reason == "tool_use"
            [used] = answer.content
            assert (used.type, used.name, used.input) == ("tool_use", "get_weather", {"place": "sing"})
        talk = [
            {"role": "user", "content": [{"type": "text", "text": PROMPT}, IMAGE]},
            {"role": "assistant", "content": answer.content},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": used.id, "content": "Rain"}]},
        ]
        last = await ask(provider, tools=[WEATHER], messages=talk)
    assert last.content[0].text == essay(PROMPT)


@in_loop
async def test_structured_output() -> None:
    """An answer obeys the schema that was asked for."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    async with FakeProvider() as provider:
        answer = await ask(provider, output_config={"format": {"type": "json_schema", "schema": schema}})
    assert json.loads(answer.content[0].text) == {"n": 1}


@in_loop
async def test_streams_that_break() -> None:
    """An error inside a stream is raised by the SDK, and a stream that is cut has no stop reason."""
    async with FakeProvider() as provider:
        provider.fail_with(ErrorEvent(after_tokens=3, message="Boom"))
        with pytest.raises(sdk.APIStatusError) as raised:
            await heard(provider)
        assert raised.value.type == "api_error" and raised.value.api_message == "Boom"
        provider.fail_with(Cut(after_tokens=3, clean=True))
        assert (await heard(provider)).stop_reason is None


ERRORS = {
    400: "BadRequestError", 401: "AuthenticationError", 402: "PaymentRequiredError", 403: "PermissionDeniedError",
    404: "NotFoundError", 413: "ContentTooLargeError", 429: "RateLimitError", 500: "InternalServerError",
    503: "ServiceUnavailableError", 504: "GatewayTimeoutError", 529: "OverloadedError",
}  # fmt: skip


@pytest.mark.parametrize("status", ERRORS)
@in_loop
async def test_errors(status: int) -> None:
    """What a provider's error becomes on its way through us is raised as the right class, with its words."""
    said = json.dumps({"type": "error", "error": {"type": "api_error", "message": "Boom"}}).encode()
    async with FakeProvider() as provider:
        provider.fail_with(Status(status, body=said))
        with pytest.raises(getattr(sdk, ERRORS[status])) as raised:
            await ask(provider)
    assert raised.value.api_message == "Boom"


@in_loop
async def test_bad_requests() -> None:
    """What we say of a bad request is raised as a bad request."""
    async with FakeProvider() as provider:
        with pytest.raises(sdk.BadRequestError, match="max_tokens"):
            await ask(provider, max_tokens="many")


# ------------------------------------------------------------------- what is sent


@in_loop
async def test_we_send_what_the_sdk_sends() -> None:
    """For the same call our request is the SDK's: path, key, and every field of the body."""
    asked = call(
        system="Be brief.", stop_sequences=["END"], metadata={"user_id": "u"},
        tools=[WEATHER], tool_choice={"type": "any"}, output_config={"effort": "high"},
        messages=[
            {"role": "user", "content": [{"type": "text", "text": "Look."}, IMAGE]},
            {"role": "assistant", "content": [
                {"type": "text", "text": "Wait."},
                {"type": "tool_use", "id": "a", "name": "get_weather", "input": {"place": "Rome"}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "Rain", "is_error": True},
                {"type": "text", "text": "Sure?"}]},
        ],
    )  # fmt: skip
    chat = Chat(
        messages=(
            Message(role="system", parts=(Text("Be brief."),)),
            Message(role="user", parts=(Text("Look."), Media(kind="image", media_type="image/png", data=PIXEL))),
            Message(role="assistant", parts=(
                Text("Wait."), ToolCall(id="a", name="get_weather", arguments='{"place":"Rome"}'))),
            Message(role="tool", parts=(ToolResult(id="a", parts=(Text("Rain"),), failed=True),)),
            Message(role="user", parts=(Text("Sure?"),)),
        ),
        tools=(Tool(name="get_weather", description="The weather.", parameters=WEATHER["input_schema"]),),
        tool_choice="required", stop=("END",), max_tokens=1000, reasoning_effort="high", hints={"user": "u"},
    )  # fmt: skip
    async with FakeProvider() as provider:
        await ask(provider, **asked)
        seen = provider.seen[0]
        target = Target(name="t", provider="p", model="m", base_url=f"http://127.0.0.1:{provider.port}", key="k",
                        options={"thinking": "adaptive", "version": seen.headers["anthropic-version"]},
                        auth="bearer")  # fmt: skip
    written = write_request(Request(model="m", source=Source("elsewhere", {}), read=lambda: chat), target)
    assert written.url.endswith(seen.path)
    assert json.loads(written.body) == json.loads(seen.body) == asked
    for name in ("authorization", "anthropic-version", "content-type"):
        assert written.headers[name] == seen.headers[name]
    assert FORMAT.read_request is not None
    request = FORMAT.read_request(seen.path, seen.body)
    assert isinstance(request, Request) and request.chat == chat
