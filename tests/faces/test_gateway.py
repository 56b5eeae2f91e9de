"""The gateway as the official OpenAI SDK sees it, unchanged, while providers fail behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from faces.running import Running, config_for, running
from unbroken.testing import (
    Cut,
    Empty,
    ErrorEvent,
    FakeProvider,
    Hang,
    Html,
    Malformed,
    Refused,
    Reset,
    Speed,
    Stall,
    Status,
    Trouble,
    essay,
)

ASK = "Why do bridges sing?"
QUESTION: list[ChatCompletionMessageParam] = [{"role": "user", "content": ASK}]
TOOL: Any = {
    "type": "function",
    "function": {"name": "look_up", "parameters": {"type": "object", "properties": {"word": {"type": "string"}}}},
}


class World:
    """Two providers, a gateway before them, and a client."""

    def __init__(self, a: FakeProvider, b: FakeProvider, gateway: Running) -> None:
        self.a, self.b, self.gateway = a, b, gateway
        self.client = openai.AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0, timeout=60)

    async def plain(self, **more: Any) -> Any:
        return await self.client.chat.completions.create(model="m", messages=QUESTION, **more)

    async def streamed(self, **more: Any) -> tuple[str, list[Any]]:
        stream = await self.client.chat.completions.create(model="m", messages=QUESTION, stream=True, **more)
        chunks = [chunk async for chunk in stream]
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        return text, chunks


def in_a_world(
    tmp: Path, act: Callable[[World], Awaitable[None]], *, speed: Speed | None = None, **more: Mapping[str, Any]
) -> None:
    """Run a test in a world of its own."""

    @asynccontextmanager
    async def world() -> AsyncIterator[World]:
        rate = speed or Speed(first_token_s=0.0, tokens_per_s=2000.0)
        async with (
            FakeProvider("a", speed=rate) as a,
            FakeProvider("b", speed=rate) as b,
            running(config_for([a, b], tmp, **more)) as gateway,
        ):
            made = World(a, b, gateway)
            yield made
            await made.client.close()

    async def run() -> None:
        async with world() as made:
            await act(made)

    asyncio.run(run())


def test_plain_and_streamed_answers_come_through(tmp_path: Path) -> None:
    """A healthy provider's answer reaches the SDK as it was given."""

    async def act(world: World) -> None:
        answer = await world.plain()
        text, chunks = await world.streamed(stream_options={"include_usage": True})

        assert essay(ASK) == answer.choices[0].message.content == text
        assert answer.usage.completion_tokens > 0
        assert chunks[-1].usage.completion_tokens > 0
        assert not world.b.seen

    in_a_world(tmp_path, act)


@pytest.mark.parametrize(
    "trouble",
    [Refused(), Reset(), Status(500), Status(503), Status(429, retry_after_s=30), Status(401), Status(404),
     Status(502, body=b"<html>bad gateway</html>"), Html(), Empty(), Hang()],
    ids=lambda trouble: repr(trouble)[:24],
)  # fmt: skip
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_provider_that_fails_before_its_answer_is_never_noticed(
    tmp_path: Path, trouble: Trouble, stream: bool
) -> None:
    """The other provider answers; headers say that it did."""

    async def act(world: World) -> None:
        world.a.fail_with(trouble)
        if stream:
            text, _ = await world.streamed()
            assert essay(ASK) == text
            return
        raw = await world.client.chat.completions.with_raw_response.create(model="m", messages=QUESTION)

        assert essay(ASK) == raw.parse().choices[0].message.content
        assert ("b/word-model", "true") == (raw.headers["x-unbroken-target"], raw.headers["x-unbroken-failover"])
        assert raw.headers["x-unbroken-request-id"]

    in_a_world(tmp_path, act)


@pytest.mark.parametrize(
    "trouble",
    [Cut(after_tokens=12), Cut(after_tokens=12, clean=True), Stall(after_tokens=12), ErrorEvent(after_tokens=12),
     Malformed(after_tokens=12)],
    ids=lambda trouble: repr(trouble)[:24],
)  # fmt: skip
@pytest.mark.parametrize("overlap", [1_000_000, 12], ids=["from-the-start", "from-the-anchor"])
def test_a_stream_that_breaks_goes_on_at_another_provider(tmp_path: Path, trouble: Trouble, overlap: int) -> None:
    """Every word comes once, and the last event says what happened."""

    async def act(world: World) -> None:
        world.b.overlap_tokens = overlap
        world.a.fail_with(trouble)
        text, chunks = await world.streamed()

        assert essay(ASK) == text
        told = chunks[-1].model_extra["unbroken"]
        assert (True, "b/word-model") == (told["rescued"], told["target"])
        assert 1 == len({chunk.id for chunk in chunks if chunk.choices})

    in_a_world(tmp_path, act, speed=Speed(first_token_s=0.0, tokens_per_s=300.0))


def test_a_tool_call_that_breaks_in_the_middle_is_whole_all_the_same(tmp_path: Path) -> None:
    """Half a tool call is never shown; the other provider makes the whole of it."""

    async def act(world: World) -> None:
        world.a.fail_with(Cut(after_tokens=2))
        _, chunks = await world.streamed(tools=[TOOL], tool_choice="required")
        calls = [call for c in chunks if c.choices for call in c.choices[0].delta.tool_calls or []]
        healthy = await world.plain(tools=[TOOL], tool_choice="required")

        assert healthy.choices[0].message.tool_calls[0].function.arguments == "".join(
            call.function.arguments or "" for call in calls
        )
        assert {"look_up"} == {call.function.name for call in calls if call.function.name}

    in_a_world(tmp_path, act)


def test_a_stream_that_cannot_be_rescued_ends_in_an_error_the_sdk_raises(tmp_path: Path) -> None:
    """No target is left: an explicit error in the stream, and no [DONE] that would look like an end."""

    async def act(world: World) -> None:
        world.a.fail_with(Cut(after_tokens=12))
        world.b.fail_with(Refused())
        with pytest.raises(openai.APIError):
            await world.streamed()

    in_a_world(tmp_path, act)


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        (Status(400, code="invalid_value", message="temperature is wrong"), openai.BadRequestError),
        (Status(422, message="no such role"), openai.UnprocessableEntityError),
        (Status(400, code="content_policy_violation", message="rejected by the safety system"), openai.BadRequestError),
    ],
)
def test_the_callers_own_fault_is_said_at_once_in_the_providers_words(
    tmp_path: Path, trouble: Status, raised: type[openai.APIStatusError]
) -> None:
    """One upstream request, the right exception class, the provider's message and code, no breaker."""

    async def act(world: World) -> None:
        world.a.fail_with(trouble)
        world.b.fail_with(trouble)
        with pytest.raises(raised) as caught:
            await world.plain()

        assert (trouble.status, trouble.message) == (caught.value.status_code, caught.value.body["message"])  # type: ignore[index]
        assert 1 == len(world.a.seen) + len(world.b.seen)

    in_a_world(tmp_path, act)


@pytest.mark.parametrize(
    ("trouble", "raised"),
    [
        (Status(500), openai.InternalServerError),
        (Status(429, retry_after_s=7), openai.RateLimitError),
        (Refused(), openai.InternalServerError),
    ],
)
def test_when_everybody_fails_the_sdk_raises_what_it_would_for_the_provider(
    tmp_path: Path, trouble: Trouble, raised: type[openai.APIStatusError]
) -> None:
    """The right class, and for rate limits when to come back."""

    async def act(world: World) -> None:
        world.a.fail_with(trouble)
        world.b.fail_with(trouble)
        with pytest.raises(raised) as caught:
            await world.plain()

        assert caught.value.response.headers["x-request-id"].startswith("req_")
        assert "," not in caught.value.response.headers["x-request-id"]
        if raised is openai.RateLimitError:
            assert "7" == caught.value.response.headers["retry-after"]

    in_a_world(tmp_path, act)


def test_a_rate_limit_that_passes_soon_is_waited_for(tmp_path: Path) -> None:
    """A hint within the budget: the same provider is asked again, when it said."""

    async def act(world: World) -> None:
        world.a.fail_with(Status(429, retry_after_s=0.3), times=1)
        answer = await world.plain()

        assert essay(ASK) == answer.choices[0].message.content
        assert (2, 0) == (len(world.a.seen), len(world.b.seen))

    in_a_world(tmp_path, act)


def test_a_caller_who_hangs_up_stops_the_provider(tmp_path: Path) -> None:
    """Nobody pays for an answer that nobody reads."""

    async def act(world: World) -> None:
        stream = await world.client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        async for _ in stream:
            break
        await stream.close()
        for _ in range(500):
            if world.a.seen[0].hung_up:
                break
            await asyncio.sleep(0.02)

        assert world.a.seen[0].hung_up
        assert not world.b.seen

    in_a_world(tmp_path, act, speed=Speed(first_token_s=0.0, tokens_per_s=20.0))


def test_models_are_listed_while_providers_are_down(tmp_path: Path) -> None:
    """GET /v1/models names routes and targets whatever the providers do."""

    async def act(world: World) -> None:
        world.a.fail_with(Refused())
        world.b.fail_with(Refused())
        names = [model.id async for model in await world.client.models.list()]

        assert {"m", "auto", "a/word-model", "b/word-model"} == set(names)
        assert "m" == (await world.client.models.retrieve("m")).id

    in_a_world(tmp_path, act)


def test_an_explicit_target_is_exactly_that_one(tmp_path: Path) -> None:
    """`provider/model` never fails over; an unknown name is a 404 that says where to look."""

    async def act(world: World) -> None:
        world.a.fail_with(Status(500))
        with pytest.raises(openai.InternalServerError):
            await world.client.chat.completions.create(model="a/word-model", messages=QUESTION)
        with pytest.raises(openai.NotFoundError) as caught:
            await world.client.chat.completions.create(model="nobody", messages=QUESTION)

        assert not world.b.seen
        assert "GET /v1/models" in str(caught.value)

    in_a_world(tmp_path, act)


def test_embeddings_and_images_fail_over(tmp_path: Path) -> None:
    """The same engine carries what is not chat."""

    async def act(world: World) -> None:
        healthy = await world.client.embeddings.create(model="m", input="words")
        world.a.fail_with(Status(503))
        again = await world.client.embeddings.create(model="m", input="words")
        image = await world.client.images.generate(model="m", prompt="a bridge")

        assert healthy.data[0].embedding == again.data[0].embedding
        assert image.data

    in_a_world(tmp_path, act)


def test_a_caller_may_set_limits_of_its_own(tmp_path: Path) -> None:
    """A header shortens the deadline of one request; nonsense in it is a 400."""

    async def act(world: World) -> None:
        world.a.fail_with(Hang())
        world.b.fail_with(Hang())
        with pytest.raises(openai.APIStatusError) as caught:
            await world.plain(extra_headers={"x-unbroken-total-s": "0.5"})
        assert 504 == caught.value.status_code

        with pytest.raises(openai.BadRequestError):
            await world.plain(extra_headers={"x-unbroken-total-s": "soon"})

    in_a_world(tmp_path, act)


def test_a_limit_for_the_first_word_holds_from_the_connection_on(tmp_path: Path) -> None:
    """A limit for the first byte that is shorter than that for connecting is not held up by it."""

    async def act(world: World) -> None:
        world.a.fail_with(Hang())
        limits = {"x-unbroken-connect-s": "900", "x-unbroken-first-byte-s": "0.1", "x-unbroken-total-s": "999"}
        text, _ = await world.streamed(extra_headers=limits)
        assert text == essay(ASK)

    in_a_world(tmp_path, act)


def test_a_defect_of_ours_is_an_answer_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A caller is told at once when the gateway itself goes wrong, and the log says where."""

    async def act(world: World) -> None:
        world.gateway.gateway._route = None  # type: ignore[assignment, method-assign]
        with pytest.raises(openai.InternalServerError, match="defect"):
            await world.plain()
        assert "TypeError" in caplog.text

    in_a_world(tmp_path, act)


def test_a_gateway_with_keys_lets_nobody_else_in(tmp_path: Path) -> None:
    """A wrong key is the SDK's AuthenticationError, reaches no provider, and is not repeated in the answer."""

    async def act(world: World) -> None:
        wrong = openai.AsyncOpenAI(base_url=world.gateway.url, api_key="sk-wrong-key", max_retries=0)
        with pytest.raises(openai.AuthenticationError) as caught:
            await wrong.chat.completions.create(model="m", messages=QUESTION)
        await wrong.close()
        right = openai.AsyncOpenAI(base_url=world.gateway.url, api_key="sk-right-key", max_retries=0)
        answer = await right.chat.completions.create(model="m", messages=QUESTION)
        await right.close()

        assert "sk-wrong-key" not in str(caught.value)
        assert 1 == len(world.a.seen)
        assert "sk-a" == world.a.seen[0].key
        assert answer.choices

    in_a_world(tmp_path, act, server={"keys": ["sk-other-key", "sk-right-key"]})
