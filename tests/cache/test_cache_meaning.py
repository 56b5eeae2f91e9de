"""Questions that mean the same: the nearest of those asked before, by a real model or a provider's."""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from openai import AsyncOpenAI

from faces.running import running
from unbroken.assemble import engine
from unbroken.cache.meaning import MeaningsUnavailable
from unbroken.config import Config
from unbroken.testing import FakeProvider, Refused
from unbroken.types import Request

pytest.importorskip("numpy", reason="needs the extra `semantic`")
from unbroken.cache.vectors import ROWS_MAX, Neighbours, unit

# ------------------------------------------------------------------------- vectors


def at(degrees: float) -> Any:
    return unit([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])


def test_the_nearest_question_of_a_context_is_found() -> None:
    """By the angle between vectors, and among those of the same context only."""
    known = Neighbours(1_000_000)
    assert known.nearest("here", at(0)) is None
    known.add("here", at(0), key="a")
    known.add("here", at(60), key="b")
    known.add("there", at(21), key="c")
    key, likeness = known.nearest("here", at(20)) or ("", 0.0)
    assert key == "a"
    assert likeness == pytest.approx(math.cos(math.radians(20)), abs=1e-6)
    assert (known.nearest("here", at(31)) or ("",))[0] == "b"
    assert (known.nearest("there", at(90)) or ("",))[0] == "c"


def test_vectors_of_another_model_are_not_compared() -> None:
    """A model with other dimensions speaks another language."""
    known = Neighbours(1_000_000)
    known.add("here", at(0), key="a")
    assert known.nearest("here", unit([1.0, 0.0, 0.0])) is None


def test_a_question_has_one_place() -> None:
    """Asked again, it takes the place it had."""
    known = Neighbours(1_000_000)
    known.add("here", at(0), key="a")
    known.add("here", at(90), key="a")
    key, likeness = known.nearest("here", at(0)) or ("", 1.0)
    assert key == "a"
    assert likeness == pytest.approx(0.0, abs=1e-6)


def test_the_oldest_questions_give_way() -> None:
    """A context holds so many questions and no more."""
    known = Neighbours(1_000_000_000)
    for number in range(ROWS_MAX + 1):
        known.add("here", at(90.0 * number / ROWS_MAX), key=str(number))
    assert (known.nearest("here", at(0)) or ("",))[0] == "1"
    assert (known.nearest("here", at(90)) or ("",))[0] == str(ROWS_MAX)


def test_memory_for_questions_is_bounded() -> None:
    """The context that was not asked for the longest goes."""
    known = Neighbours(200)
    for context in "abcd":
        known.add(context, at(0), key=context)
        known.nearest("a", at(0))
        assert known.size_bytes <= 200
    assert [context for context in "abcd" if known.nearest(context, at(0))] == ["a", "c", "d"]


@pytest.mark.parametrize("numbers", [[0.0, 0.0], [math.nan, 1.0], [math.inf, 1.0]])
def test_what_has_no_direction_is_no_vector(numbers: list[float]) -> None:
    """A vector of noughts, or of no numbers, is near to nothing."""
    assert unit(numbers) is None


# ---------------------------------------------------------------------- end to end

Ask = Callable[..., Any]


def vector_of(text: str) -> tuple[float, ...]:
    """A little model of meaning: what a text is about."""
    about = ("password", "weather", "bread")
    return tuple(1.0 if word in text.lower() else 0.01 for word in about)


def told(request: Request) -> str:
    return f"Answer to {request.chat.messages[-1].text}"


@pytest.fixture(autouse=True)
def _model_of_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors of the fake provider that are near where texts are about the same."""
    monkeypatch.setattr("unbroken.testing.samples._vector", vector_of)


@asynccontextmanager
async def world(semantic: Mapping[str, Any]) -> AsyncIterator[tuple[Ask, FakeProvider, FakeProvider]]:
    """How to ask, who answers, and who embeds."""
    async with FakeProvider("a", answer=told) as fake, FakeProvider("e") as embedder:
        providers = {each.name: {"base_url": each.base_url, "key": "k", "model": "m"} for each in (fake, embedder)}
        cache = {"ttl_s": 60, "semantic": semantic}
        routes = {"m": {"targets": ["a"], "policy": {"cache": cache}}, "vectors": {"targets": ["e"]}}
        config = Config.from_values({"providers": providers, "routes": routes}, {})
        async with (
            running(config) as gateway,
            AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0) as client,
        ):

            async def ask(text: str, **more: Any) -> tuple[str, str]:
                body: Any = {"model": "m", "messages": [{"role": "user", "content": text}], **more}
                raw = await client.chat.completions.with_raw_response.create(**body)
                return raw.headers["x-unbroken-cache"], raw.parse().choices[0].message.content or ""

            yield ask, fake, embedder


ROUTE = {"route": "vectors", "similarity_min": 0.9}


def test_the_same_question_in_other_words_is_answered_from_memory() -> None:
    """By the vectors of a route for embeddings; what is about something else is asked."""

    async def go() -> None:
        async with world(ROUTE) as (ask, fake, embedder):
            assert await ask("How do I change my password?") == ("miss", "Answer to How do I change my password?")
            assert await ask("Password: how to change?") == ("semantic", "Answer to How do I change my password?")
            assert (await ask("How do I bake bread?"))[0] == "miss"
            assert (await ask("How do I change my password?"))[0] == "hit"
            assert (await ask("Password: how to change?", temperature=0))[0] == "miss"
            assert (await ask("My 3rd password, how do I change it?"))[0] == "miss"
            assert (len(fake.seen), len(embedder.seen)) == (4, 5)

    asyncio.run(go())


def test_many_who_ask_the_same_are_compared_once() -> None:
    """While a question's meaning is looked up, whoever asks it too waits for the same answer."""

    async def go() -> None:
        async with world(ROUTE) as (ask, fake, embedder):
            await asyncio.gather(*[ask("How do I change my password?") for _ in range(20)])
            assert (len(fake.seen), len(embedder.seen)) == (1, 1)

    asyncio.run(go())


def test_without_its_meaning_a_question_is_asked() -> None:
    """A provider of embeddings that is down costs nobody an answer."""

    async def go() -> None:
        async with world(ROUTE) as (ask, fake, embedder):
            embedder.fail_with(Refused())
            assert (await ask("How do I change my password?"))[0] == "miss"
            assert len(fake.seen) == 1

    asyncio.run(go())


def test_a_real_model_knows_the_same_question() -> None:
    """The model that comes with the extra tells paraphrases from other questions, without any download."""
    pytest.importorskip("wordllama", reason="needs the extra `semantic`")

    async def go() -> None:
        async with world({"route": "local", "similarity_min": 0.85}) as (ask, fake, embedder):
            await ask("What is the capital of France?")
            assert (await ask("Which city is the capital of France?"))[0] == "semantic"
            assert (await ask("What is the capital of Spain?"))[0] == "miss"
            assert (await ask("How do I bake bread?"))[0] == "miss"
            assert (len(fake.seen), len(embedder.seen)) == (3, 0)

    asyncio.run(go())


def config(route: str) -> Config:
    cache = {"ttl_s": 9, "semantic": {"route": route}}
    providers = {"a": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}
    return Config.from_values({"providers": providers, "defaults": {"cache": cache}}, {})


def test_a_route_that_is_not_there_is_told_at_the_start() -> None:
    """An engine is not built on a route for embeddings that nobody configured."""
    with pytest.raises(MeaningsUnavailable, match="`nowhere`, which is no route"):
        engine(config("nowhere"))


@pytest.mark.parametrize(("route", "missing"), [("auto", "unbroken.cache.vectors"), ("local", "wordllama")])
def test_what_is_not_installed_is_told_at_the_start(monkeypatch: pytest.MonkeyPatch, route: str, missing: str) -> None:
    """With what to do about it."""
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MeaningsUnavailable, match=r"pip install 'unbroken\[semantic\]'"):
        engine(config(route))
