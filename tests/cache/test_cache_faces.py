"""The cache as callers meet it: official clients, a real gateway, fake providers behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from anthropic import AsyncAnthropic
from google import genai
from openai import AsyncOpenAI

from faces.running import Running, running
from unbroken.assemble import engine
from unbroken.cache import Desk, InMemory
from unbroken.config import Config, ConfigError
from unbroken.core.limits import Limits
from unbroken.faces.client import Unbroken
from unbroken.facts import CacheAnswered, CacheStored, Fact, FlightEnded
from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.testing import Cut, Empty, FakeProvider, Hang, ManualClock, Refused, Speed, Status, essay
from unbroken.types import Delta, Finish, Request, Response, ToolCall
from unbroken.wire import Outcome, format_named

HELLO = [{"role": "user", "content": "Hello"}]
SLOW = Speed(tokens_per_s=400.0)
CACHE = {"ttl_s": 60, "stale_s": 600}


@dataclass
class World:
    """A gateway with a cache, the clock that its entries age by, and what became known."""

    gateway: Running
    fake: FakeProvider
    clock: ManualClock
    facts: list[Fact]
    openai: AsyncOpenAI

    def write(self, facts: list[Fact]) -> None:
        self.facts += facts

    def known(self, kind: type[Fact]) -> list[Any]:
        self.gateway.gateway.engine.bus.flush()
        return [fact for fact in self.facts if isinstance(fact, kind)]

    async def ask(self, *, headers: dict[str, str] | None = None, **body: Any) -> tuple[str, str, dict[str, str]]:
        """How the answer came, the answer, and its headers."""
        body = {"model": "m", "messages": HELLO, **body}
        raw = await self.openai.chat.completions.with_raw_response.create(**body, extra_headers=headers)
        said = raw.parse().choices[0].message.content
        return raw.headers.get("x-unbroken-cache", ""), said or "", dict(raw.headers)

    async def stream(self, *, headers: dict[str, str] | None = None, **body: Any) -> tuple[str, str, list[Any]]:
        """How the stream came, its words, and its chunks."""
        body = {"model": "m", "messages": HELLO, "stream": True, **body}
        raw = await self.openai.chat.completions.with_raw_response.create(**body, extra_headers=headers)
        chunks = [chunk async for chunk in raw.parse()]
        words = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
        return raw.headers.get("x-unbroken-cache", ""), "".join(words), chunks


def config_of(fake: FakeProvider, *, cache: Any, **policy: Any) -> Config:
    retries = {"base_s": 0.01}
    return Config.from_values(
        {
            "providers": {fake.name: {"base_url": fake.base_url, "key": "k", "model": "word-model"}},
            "routes": {"m": {"targets": [fake.name], "policy": {"cache": cache, "retries": retries, **policy}}},
        },
        {},
    )


@asynccontextmanager
async def world(*, cache: Any = CACHE, speed: Speed | None = None, **policy: Any) -> AsyncIterator[World]:
    async with FakeProvider("a") as fake:
        fake.speed = speed or fake.speed
        async with running(config_of(fake, cache=cache, **policy)) as gateway:
            clock, flying = ManualClock(), gateway.gateway.engine
            flying.memory = Desk(flying, InMemory(64 * 1024 * 1024, clock))
            async with AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0) as client:
                on = World(gateway, fake, clock, [], client)
                flying.bus.add(on)
                yield on


def play(scene: Callable[[World], Awaitable[None]], **more: Any) -> None:
    async def go() -> None:
        async with world(**more) as on:
            await scene(on)

    asyncio.run(go())


USAGE: Any = {"stream_options": {"include_usage": True}}


@pytest.mark.parametrize("ways", ["plain", "streamed", "mixed"])
def test_fifty_who_ask_the_same_at_once_make_one_call(ways: str) -> None:
    """Whatever mixture of streams and plain requests they are, the provider sees one, and all get its words."""

    async def scene(on: World) -> None:
        streamed = [ways == "streamed" or (ways == "mixed" and number % 2 == 1) for number in range(50)]
        asked = [on.stream(**USAGE) if each else on.ask() for each in streamed]
        answers = await asyncio.gather(*asked)
        assert {words for _, words, _ in answers} == {essay("Hello")}
        assert len(on.fake.seen) == 1
        assert sorted({how for how, _, _ in answers} - {"hit"}) == ["merged", "miss"]
        assert len(on.known(FlightEnded)) == 50
        assert len(on.known(CacheAnswered)) == 49
        assert len(on.known(CacheStored)) == 1

    play(scene, speed=SLOW)


def test_different_questions_are_asked_on_their_own() -> None:
    """Only what is the same is merged."""

    async def scene(on: World) -> None:
        asked = [on.ask(messages=[{"role": "user", "content": f"Question {number}"}]) for number in range(5)]
        answers = await asyncio.gather(*asked)
        assert [words for _, words, _ in answers] == [essay(f"Question {number}") for number in range(5)]
        assert len(on.fake.seen) == 5

    play(scene)


def test_an_answer_is_given_again_until_its_time_is_over() -> None:
    """With its age and its usage, and without an attempt; then it is asked for anew."""

    async def scene(on: World) -> None:
        how, words, _ = await on.ask()
        assert how == "miss"
        on.clock.advance(59.0)
        again, same, headers = await on.ask()
        assert (again, same) == ("hit", words)
        assert (headers["age"], headers["x-unbroken-attempts"], headers["x-unbroken-target"]) == (
            "59",
            "0",
            "a/word-model",
        )
        assert len(on.fake.seen) == 1
        on.clock.advance(1.0)
        assert (await on.ask())[0] == "miss"
        assert len(on.fake.seen) == 2
        (hit,) = on.known(CacheAnswered)
        assert (hit.how, hit.age_s, hit.route) == ("hit", 59.0, "m")
        assert hit.origin != hit.flight
        assert hit.usage.output_tokens > 0

    play(scene)


@pytest.mark.parametrize("first", ["plain", "streamed"])
def test_a_plain_answer_serves_a_stream_and_the_other_way_round(first: str) -> None:
    """Words, end and usage are those of the original, whichever way it came."""

    async def scene(on: World) -> None:
        plain = streamed = None
        for turn in (first, *({"plain", "streamed"} - {first})):
            if turn == "plain":
                plain = await on.openai.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
            else:
                streamed = await on.stream(**USAGE)
        assert plain is not None
        assert streamed is not None
        _, words, chunks = streamed
        assert plain.choices[0].message.content == words == essay("Hello")
        assert plain.choices[0].finish_reason == "stop"
        assert chunks[-1].usage == plain.usage
        assert plain.usage is not None
        assert len(on.fake.seen) == 1

    play(scene)


def test_a_plain_caller_is_not_given_an_answer_without_usage() -> None:
    """A stream that asked for none leaves none, and programs that read plain answers count on it."""

    async def scene(on: World) -> None:
        assert (await on.stream())[0] == "miss"
        assert (await on.stream())[0] == "hit"
        plain = await on.openai.chat.completions.create(model="m", messages=HELLO)  # type: ignore[arg-type]
        assert plain.usage is not None
        how, words, chunks = await on.stream()
        assert (how, words) == ("hit", essay("Hello"))
        assert all(chunk.choices for chunk in chunks)
        assert len(on.fake.seen) == 2

    play(scene)


def test_every_door_is_served_from_one_memory() -> None:
    """What came through OpenAI's door is given to Anthropic's and Google's clients, plain and streamed."""

    async def scene(on: World) -> None:
        await on.ask(max_tokens=900)
        url = on.gateway.url.removesuffix("/v1")
        async with AsyncAnthropic(base_url=url, api_key="any", max_retries=0) as claude:
            told = await claude.messages.create(model="m", max_tokens=900, messages=HELLO)  # type: ignore[arg-type]
            assert getattr(told.content[0], "text", "") == essay("Hello")
            assert told.usage.output_tokens > 0
            async with claude.messages.stream(model="m", max_tokens=900, messages=HELLO) as stream:  # type: ignore[arg-type]
                assert await stream.get_final_text() == essay("Hello")
        with genai.Client(api_key="any", http_options={"base_url": url}) as google:
            ask = partial(google.models.generate_content, model="m", contents="Hello")
            made = await asyncio.to_thread(ask, config={"max_output_tokens": 900})
        assert made.text == essay("Hello")
        assert len(on.fake.seen) == 1

    play(scene)


def test_when_the_first_caller_leaves_the_others_get_their_answer() -> None:
    """The one call goes on for whoever still wants it."""

    async def scene(on: World) -> None:
        body: Any = {"model": "m", "messages": HELLO, "stream": True}
        first = await on.openai.chat.completions.create(**body)
        await anext(aiter(first))
        second = await on.openai.chat.completions.create(**body)
        rest = aiter(second)
        words = [(await anext(rest)).choices[0].delta.content or ""]
        await first.close()
        words += [chunk.choices[0].delta.content or "" async for chunk in rest]
        assert "".join(words) == essay("Hello")
        assert len(on.fake.seen) == 1

    play(scene, speed=SLOW)


def test_a_failure_reaches_everybody_and_is_not_remembered() -> None:
    """All who waited get the error, and the next one is asked for anew."""

    async def scene(on: World) -> None:
        on.fake.fail_with(Status(400))
        asked = await asyncio.gather(*[on.ask() for _ in range(5)], return_exceptions=True)
        assert all(isinstance(answer, openai.BadRequestError) for answer in asked)
        on.fake.heal()
        assert (await on.ask())[0] == "miss"

    play(scene)


@pytest.mark.parametrize("streamed", [False, True])
def test_with_everybody_down_an_old_answer_comes_at_once_and_marked(*, streamed: bool) -> None:
    """First when the only provider has failed, then, once it is left alone, without even asking it."""

    async def scene(on: World) -> None:
        await on.ask()
        on.clock.advance(61.0)
        on.fake.fail_with(Refused())
        for _ in range(4):
            if streamed:
                how, words, chunks = await on.stream(**USAGE)
                told = chunks[-1].model_extra["unbroken"]
                assert (told["cache"], told["age_s"], told["attempts"]) == ("stale", 61, 0)
            else:
                how, words, headers = await on.ask()
                assert headers["age"] == "61"
            assert (how, words) == ("stale", essay("Hello"))
        board, target = on.gateway.gateway.engine.board, on.gateway.gateway.config.targets[0]
        assert board.obstacle(target, on.gateway.gateway.engine.clock()) is not None
        flights = on.known(FlightEnded)
        asked = len([fact for fact in flights if fact.attempts])
        await on.ask()
        assert len([fact for fact in on.known(FlightEnded) if fact.attempts]) == asked
        on.clock.advance(600.0)
        with pytest.raises(openai.APIStatusError):
            await on.ask()

    play(scene)


def test_with_an_old_answer_in_hand_nobody_is_asked_twice() -> None:
    """The old answer comes after one failure, not after retries and their pauses."""

    async def scene(on: World) -> None:
        await on.ask()
        on.clock.advance(61.0)
        on.fake.fail_with(Status(500))
        assert (await on.ask())[0] == "stale"
        assert len(on.fake.seen) == 2

    play(scene)


def test_an_old_answer_steps_in_for_a_provider_that_hangs() -> None:
    """After `stale_after_s` of silence it is given, and the call goes on to renew it."""

    async def scene(on: World) -> None:
        await on.ask()
        on.clock.advance(61.0)
        on.fake.fail_with(Hang())
        assert (await on.ask())[0] == "stale"
        assert (await on.ask())[0] == "stale"
        assert len(on.fake.seen) == 2

    play(scene, cache={**CACHE, "stale_after_s": 0.05})


def test_a_stale_answer_is_renewed_as_soon_as_somebody_can() -> None:
    """Stale answers are for bad times only."""

    async def scene(on: World) -> None:
        await on.ask()
        on.clock.advance(61.0)
        assert (await on.ask())[0] == "miss"
        assert (await on.ask())[0] == "hit"
        assert len(on.fake.seen) == 2

    play(scene)


@pytest.mark.parametrize(("wish", "hows"), [("no-cache", ["miss", "miss", "hit"]), ("no-store", ["", "", "miss"])])
def test_a_caller_may_want_a_fresh_answer(wish: str, hows: list[str]) -> None:
    """`no-cache` asks anew and renews what is kept; `no-store` leaves no trace."""

    async def scene(on: World) -> None:
        told = [(await on.ask(headers={"cache-control": wish}))[0] for _ in range(2)]
        told.append((await on.ask())[0])
        assert told == hows

    play(scene)


def refuses(request: Request) -> Response:
    return Response(text="", refusal="I cannot.", finish=Finish.STOP)


def test_what_was_refused_is_asked_for_again() -> None:
    """A refusal is not kept."""

    async def scene(on: World) -> None:
        on.fake.answer = refuses
        assert [(await on.ask())[0] for _ in range(2)] == ["miss", "miss"]

    play(scene)


def test_what_was_empty_or_cut_is_asked_for_again() -> None:
    """Nothing that failed on the way is kept, even where some of it was shown."""

    async def scene(on: World) -> None:
        on.fake.fail_with(Empty())
        assert [(await on.ask())[0] for _ in range(2)] == ["miss", "miss"]
        on.fake.fail_with(Cut(after_tokens=5))
        with pytest.raises((openai.APIError, openai.APIConnectionError)):
            await on.stream()
        on.fake.heal()
        assert (await on.ask())[0] == "miss"

    play(scene, stream={"rescue": "error"})


def calls(request: Request) -> Response:
    return Response(tool_calls=(ToolCall(id="1", name="look", arguments="{}"),), finish=Finish.TOOL_CALLS)


@pytest.mark.parametrize(("tools", "seen"), [(False, 2), (True, 1)])
def test_tools_are_kept_out_unless_the_route_lets_them_in(*, tools: bool, seen: int) -> None:
    """What tools do and say changes; an operator who knows better may say so."""

    async def scene(on: World) -> None:
        on.fake.answer = calls
        offered: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
        for _ in range(2):
            told = await on.openai.chat.completions.create(model="m", messages=HELLO, tools=offered)  # type: ignore[arg-type]
            assert told.choices[0].message.tool_calls
        assert len(on.fake.seen) == seen

    play(scene, cache={**CACHE, "tools": tools})


@pytest.mark.parametrize(("per_key", "hows"), [(False, ["miss", "hit"]), (True, ["miss", "miss"])])
def test_keys_can_be_kept_apart(*, per_key: bool, hows: list[str]) -> None:
    """Callers of one gateway share answers, unless its operator wants each key to have its own."""

    async def scene(on: World) -> None:
        told = []
        for key in ("sk-ann", "sk-bob"):
            on.openai.api_key = key
            told.append((await on.ask())[0])
        assert told == hows

    play(scene, cache={**CACHE, "per_key": per_key})


def test_embeddings_are_kept() -> None:
    """The vectors of a text are the same tomorrow."""

    async def scene(on: World) -> None:
        vectors = [await on.openai.embeddings.create(model="m", input="Hello") for _ in range(2)]
        assert vectors[0].data[0].embedding == vectors[1].data[0].embedding
        assert len(on.fake.seen) == 1

    play(scene)


def test_a_route_without_a_cache_has_none() -> None:
    """Nothing is kept, and nothing is said of it, where it was not asked for."""

    async def scene(on: World) -> None:
        assert [(await on.ask())[0] for _ in range(2)] == ["", ""]
        assert len(on.fake.seen) == 2

    play(scene, cache={})


def test_memory_is_bounded() -> None:
    """What does not fit goes, the least wanted first; requests go on."""

    async def scene(on: World) -> None:
        flying = on.gateway.gateway.engine
        store = InMemory(40_000, on.clock)
        flying.memory = Desk(flying, store)
        for number in range(30):
            await on.ask(messages=[{"role": "user", "content": f"Question {number}"}])
            assert store.shelf.size_bytes <= 40_000
        assert 0 < len(store.shelf) < 30
        assert (await on.ask(messages=[{"role": "user", "content": "Question 29"}]))[0] == "hit"
        assert (await on.ask(messages=[{"role": "user", "content": "Question 0"}]))[0] == "miss"

    play(scene)


def test_a_store_that_does_not_answer_holds_up_nobody() -> None:
    """A request waits a moment for a store in the network, then goes on without it."""

    class Gone(InMemory):
        def get(self, key: str, *, ready: Any) -> None:
            """Nothing comes."""

    async def scene(on: World) -> None:
        flying = on.gateway.gateway.engine
        flying.memory = Desk(flying, Gone(1_000_000, on.clock))
        answers = await asyncio.gather(*[on.ask() for _ in range(3)])
        assert sorted(how for how, _, _ in answers) == ["merged", "merged", "miss"]
        assert len(on.fake.seen) == 1

    play(scene)


def test_a_request_that_cannot_begin_fails_for_everybody() -> None:
    """A defect while taking off is told to whoever waits, not left to a time limit."""

    async def scene(on: World) -> None:
        flying = on.gateway.gateway.engine

        def defect(*_: object, **__: object) -> Any:
            raise ZeroDivisionError

        flying.keep(Limits()).fly = defect  # type: ignore[method-assign]
        with pytest.raises(openai.APIError):
            await on.ask()
        flying.bus.flush()
        failure = on.known(FlightEnded)[-1].failure
        assert isinstance(failure, Failure)
        assert failure.kind is FailureKind.INTERNAL

    play(scene)


def test_the_python_client_is_served_too(tmp_path: Path) -> None:
    """The cache stands before the engine, so whoever flies with it has it."""

    async def go() -> None:
        async with FakeProvider("a") as fake:
            file = tmp_path / "unbroken.yaml"
            cache = {"ttl_s": 60}
            document = {
                "providers": {"a": {"base_url": fake.base_url, "key": "k", "model": "word-model"}},
                "routes": {"m": {"targets": ["a"], "policy": {"cache": cache}}},
            }
            file.write_bytes(msgspec.json.encode(document))
            async with Unbroken(file) as client:
                answers = [await client.chat("Hello", model="m") for _ in range(2)]
            assert [answer.text for answer in answers] == [essay("Hello")] * 2
            assert answers[1].attempts == ()
            assert answers[1].provider == "a"
            assert len(fake.seen) == 1

    asyncio.run(go())


@pytest.mark.parametrize(
    ("cache", "said"),
    [
        ({"ttl_s": 0}, "more than 0"),
        ({"ttl_s": 9, "stale_s": -1}, "at least 0"),
        ({"ttl_s": 9, "when": "never"}, "always, deterministic"),
        ({"ttl_s": 9, "tasks": ["chats"]}, "chat"),
        ({"ttl_s": 9, "semantic": {"similarity_min": 2}}, "between 0 and 1"),
        ({"ttl": 9}, "ttl_s"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(cache: Any, said: str) -> None:
    """An error says what is allowed."""
    with pytest.raises(ConfigError, match=said):
        Config.from_values(
            {
                "providers": {"a": {"base_url": "http://127.0.0.1:1/v1"}},
                "routes": {"m": {"targets": ["a/m"], "policy": {"cache": cache}}},
            },
            {},
        )


def test_an_engine_has_a_memory_only_where_a_route_wants_one() -> None:
    """No route, no memory; defaults count, since they hold for models that are named without a route."""
    base: dict[str, Any] = {"providers": {"a": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}}
    assert engine(Config.from_values(base, {})).memory is None
    assert engine(Config.from_values({**base, "defaults": {"cache": {"ttl_s": 1}}}, {})).memory is not None


@pytest.mark.parametrize(
    "spoken",
    ["openai_chat", "openai_completions", "openai_responses", "anthropic", "gemini", "bedrock", "ollama", "cohere"],
)
def test_a_stale_stream_says_so_in_every_format(spoken: str) -> None:
    """The last event of a stream tells of a stale answer and its age, and of a fresh one nothing."""
    outcome = Outcome(request_id="r", target="a/m", attempts=0, failover=False, cache="stale", age_s=61.5)
    for told, marked in ((outcome, True), (replace(outcome, cache="hit"), False)):
        new = format_named(spoken).writer
        assert new is not None
        writer = new(Request(model="m", stream=True))
        written = writer.write([Delta(text="Hello"), Delta(finish=Finish.STOP)]) + writer.end(told)
        assert (b'"cache":"stale","age_s":61' in written) is marked
        assert (b'"unbroken":' in written) is marked
