"""The Python client as a program uses it: calls, what comes back, who is asked, and what is raised."""

from __future__ import annotations

import asyncio
import gc
import json
from pathlib import Path
from typing import Any

import pytest

from faces.client_world import LIMITS, over, section
from loops import in_loop
from unbroken import DeadlineExceeded, RequestError, TargetsExhausted, Unbroken
from unbroken.config import ConfigError, load
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Hang, JobFailed, NotMedia, Refused, Speed, Status, essay
from unbroken.testing.samples import CLIP, PIXEL
from unbroken.types import Finish, Text, ToolCall, Why

QUESTION = "Why do bridges sing?"
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}


@in_loop
async def test_a_chat_is_answered_with_all_there_is_to_know() -> None:
    """An answer has its text, parts, usage, cost, provider and attempts."""
    async with over(FakeProvider("north")) as client:
        answer = await client.chat(QUESTION)
    assert answer.text == str(answer) == essay(QUESTION)
    assert answer.parts == (Text(answer.text),)
    assert answer.finish is Finish.STOP
    assert (answer.provider, answer.target, answer.model) == ("north", "north/word-model", "word-model")
    assert answer.usage is not None and answer.usage.output_tokens > 50
    expected_usd = (answer.usage.input_tokens * 1.0 + answer.usage.output_tokens * 2.0) / 1e6
    assert answer.cost_usd == pytest.approx(expected_usd)
    assert not answer.failover_occurred and not answer.rescued
    assert [(tried.provider, tried.why, tried.answered) for tried in answer.attempts] == [("north", Why.FIRST, True)]
    assert answer.seconds >= answer.attempts[0].seconds > 0


@in_loop
async def test_a_failover_is_told_with_reasons_and_times() -> None:
    """The attempts say who failed, why, when and for how long."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Status(401))
        answer = await client.chat(QUESTION)
    assert answer.provider == "south" and answer.failover_occurred
    first, second = answer.attempts
    assert first.failure is not None and first.failure.status == 401
    assert (second.why, second.failure) == (Why.FAILOVER, None)
    assert second.at_s >= first.seconds > 0


@in_loop
async def test_messages_go_out_as_they_were_given() -> None:
    """System prompts, images and options reach the provider."""
    north = FakeProvider("north")
    picture = {"type": "image_url", "image_url": {"url": "https://pictures.example/a.png"}}
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are brief."},
        {"role": "user", "content": [{"type": "text", "text": QUESTION}, picture]},
    ]
    async with over(north) as client:
        await client.chat(messages, temperature=0.2, seed=7, stop=["END"], extra={"logit_bias": {"1": 2}})
        await client.chat(messages, max_tokens=5, reasoning_effort="low", top_p=None)  # type: ignore[arg-type]
    first, second = (json.loads(seen.body) for seen in north.seen)
    assert [message["role"] for message in first["messages"]] == ["system", "user"]
    assert first["messages"][1]["content"][1] == picture
    assert (first["temperature"], first["seed"], first["logit_bias"]) == (0.2, 7, {"1": 2})
    assert "END" in str(first["stop"])
    assert (second["max_tokens"], second["reasoning_effort"]) == (5, "low")
    assert "top_p" not in second


@in_loop
async def test_tools_are_called_and_their_results_told() -> None:
    """A tool's call comes back typed, and `message` carries the conversation on."""
    async with over(FakeProvider("north")) as client:
        messages: list[dict[str, Any]] = [{"role": "user", "content": "look around"}]
        answer = await client.chat(messages, tools=[LOOK])
        (call,) = answer.tool_calls
        assert isinstance(call, ToolCall) and call.name == "look" and json.loads(call.arguments) == {}
        assert answer.finish is Finish.TOOL_CALLS
        messages += [answer.message, {"role": "tool", "tool_call_id": call.id, "content": "a bridge"}]
        assert (await client.chat(messages, tools=[LOOK])).text == essay("look around")


@in_loop
async def test_a_schema_is_obeyed() -> None:
    """`schema` is said to the provider as its format has it."""
    north = FakeProvider("north")
    schema = {"type": "object", "properties": {"age": {"type": "integer"}}}
    async with over(north) as client:
        assert json.loads((await client.chat(QUESTION, schema=schema)).text) == {"age": 1}
    assert json.loads(north.seen[0].body)["response_format"]["json_schema"]["schema"] == schema


@in_loop
async def test_a_provider_of_another_format_is_spoken_to_in_its_own() -> None:
    """Messages in OpenAI's words reach Anthropic in Anthropic's."""
    north = FakeProvider("north")
    async with over(providers={}) as nobody:
        assert nobody.models() == []
    await north.start()
    try:
        there = section(north, base_url=f"http://127.0.0.1:{north.port}", format="anthropic")
        async with Unbroken(providers={"north": there}, environ={}) as client:
            answer = await client.chat([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}])
            streamed = [chunk.text async for chunk in client.stream("Hi")]
    finally:
        await north.close()
    assert answer.text == "".join(streamed) == essay("Hi")
    assert {seen.path for seen in north.seen} == {"/v1/messages"}


# --------------------------------------------------------------------------- streams


@in_loop
async def test_a_stream_comes_in_chunks_and_ends_with_an_answer() -> None:
    """Chunks add up to the answer, which has usage and cost too."""
    async with over(FakeProvider("north")) as client:
        stream = client.stream(QUESTION)
        with pytest.raises(RuntimeError, match="not complete"):
            _ = stream.answer
        words = [chunk.text async for chunk in stream]
    assert len(words) > 20
    assert "".join(words) == stream.text == stream.answer.text == essay(QUESTION)
    assert stream.answer.usage is not None and stream.answer.cost_usd
    assert stream.answer.finish is Finish.STOP


@in_loop
async def test_a_stream_that_breaks_goes_on_elsewhere() -> None:
    """The reader of a stream that is cut in mid-answer reads every word once."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Cut(after_tokens=12))
        answer = await client.stream(QUESTION).whole()
    assert answer.text == essay(QUESTION)
    assert answer.rescued and answer.failover_occurred and answer.provider == "south"
    assert [tried.why for tried in answer.attempts] == [Why.FIRST, Why.CONTINUATION]


@in_loop
async def test_a_stream_that_nobody_can_finish_raises() -> None:
    """After its last word a stream that is lost raises, and never ends as if it were whole."""
    north = FakeProvider("north")
    defaults = {**LIMITS, "stream": {"rescue": "error"}}
    async with over(north, defaults=defaults) as client:
        north.fail_with(ErrorEvent(after_tokens=5))
        stream = client.stream(QUESTION)
        with pytest.raises(TargetsExhausted) as caught:
            await stream.whole()
    assert essay(QUESTION).startswith(stream.text) and stream.text
    assert len(caught.value.attempts) == 1


@in_loop
async def test_leaving_a_stream_hangs_up() -> None:
    """Who leaves a stream early keeps no provider busy."""
    north = FakeProvider("north", speed=Speed(tokens_per_s=200))
    async with over(north) as client:
        async with client.stream(QUESTION) as stream:
            await anext(stream)
        while not north.seen[0].hung_up:
            await asyncio.sleep(0.001)
        statistics = client.get_statistics()
    assert (statistics["requests"], statistics["answered"], statistics["failed"]) == (1, 0, 0)


@in_loop
async def test_a_slow_reader_slows_the_provider_down() -> None:
    """What nobody reads is not read from the provider, and nothing of it is lost."""
    long = " ".join(["word"] * 3000)
    async with over(FakeProvider("north", answer=lambda _: long)) as client:
        stream = client.stream(QUESTION)
        await anext(stream)
        for _ in range(200):
            await asyncio.sleep(0)
        assert (await stream.whole()).text == long


# ------------------------------------------------------------------------ other work


@in_loop
async def test_texts_are_completed_and_embedded() -> None:
    """`complete` carries a text on, `embed` gives a vector for each text."""
    async with over(FakeProvider("north")) as client:
        assert (await client.complete("Once upon a time", max_tokens=3)).finish is Finish.LENGTH
        vectors = await client.embed(["a bridge", "a lighthouse"])
        again = await client.embed("a bridge")
    assert len(vectors) == 2 and len({len(vector) for vector in vectors}) == 1
    assert again.vectors[0] == vectors.vectors[0]
    assert vectors.provider == "north" and vectors.usage is not None


@in_loop
async def test_embeddings_stay_with_their_model() -> None:
    """Vectors of another model are no answer."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Refused())
        assert (await client.embed("a")).provider == "south"  # the same model elsewhere
    other = FakeProvider("other")
    routes = {"index": {"targets": ["north/word-model", "other/another-model"]}}
    async with over(FakeProvider("north", keys=["another"]), other, routes=routes) as client:
        with pytest.raises(TargetsExhausted):
            await client.embed("a", model="index")
    assert other.seen == []


@in_loop
async def test_pictures_and_films_are_made_by_whoever_can() -> None:
    """What is no picture is a failure, and a job that fails is begun anew elsewhere."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(NotMedia())
        picture = await client.image("a lighthouse", size="64x64")
        north.fail_with(JobFailed())
        film = await client.video("waves", seconds=4)
        several = await client.image("a lighthouse", provider="south", count=2)
    assert (picture.data, picture.media_type, picture.url) == (PIXEL, "image/png", "")
    assert picture.provider == film.provider == "south" and picture.failover_occurred
    assert (film.data, film.media_type) == (CLIP, "video/mp4")
    assert len(several.outputs) == 2


# --------------------------------------------------------------------- who is asked


@in_loop
async def test_an_explicit_provider_answers_or_nobody() -> None:
    """`provider=` asks exactly that one, without failover."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        assert (await client.chat(QUESTION, provider="south")).provider == "south"
        assert (await client.chat(QUESTION, provider="south/other-model")).model == "other-model"
        assert (await client.chat(QUESTION, provider="auto")).provider == "north"
        south.fail_with(Status(401))
        with pytest.raises(TargetsExhausted) as caught:
            await client.chat(QUESTION, provider="south")
    assert {tried.provider for tried in caught.value.attempts} == {"south"}
    assert len(north.seen) == 1


@in_loop
async def test_an_ordered_list_is_asked_in_its_order() -> None:
    """`provider=[...]` asks these, in this order, and nobody else."""
    north, south, west = FakeProvider("north"), FakeProvider("south"), FakeProvider("west")
    async with over(north, south, west) as client:
        answer = await client.chat(QUESTION, provider=["west", "north"])
        assert (answer.provider, answer.failover_occurred) == ("west", False)
        west.fail_with(Refused())
        answer = await client.chat(QUESTION, provider=["west", "north"], model="m2")
        assert (answer.provider, answer.failover_occurred, answer.model) == ("north", True, "m2")
        assert list(dict.fromkeys(tried.provider for tried in answer.attempts)) == ["west", "north"]
        north.fail_with(Refused())
        with pytest.raises(TargetsExhausted):
            await client.chat(QUESTION, provider=["west", "north"])
    assert south.seen == []


@in_loop
async def test_a_preferred_provider_is_asked_first_and_the_others_after_it() -> None:
    """`prefer=` falls back to everybody else when the preferred one fails."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        answer = await client.chat(QUESTION, prefer="south")
        assert (answer.provider, answer.failover_occurred) == ("south", False)
        south.fail_with(Refused())
        answer = await client.chat(QUESTION, prefer="south")
    assert (answer.provider, answer.failover_occurred) == ("north", True)


@in_loop
async def test_a_preferred_provider_has_a_time_limit_of_its_own() -> None:
    """With `prefer_timeout_s` a silent favourite is left for the others when its time is over."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        south.fail_with(Hang())
        answer = await client.chat(QUESTION, prefer="south", prefer_timeout_s=0.05)
    assert answer.provider == "north" and answer.failover_occurred
    assert answer.attempts[0].failure is not None and answer.attempts[0].failure.kind == "silent"


@in_loop
async def test_requirements_put_the_best_first() -> None:
    """The cheapest, the fastest and the most reliable target are each asked first where that is what counts."""
    north, south = FakeProvider("north"), FakeProvider("south")
    providers = {}
    async with over(north, south) as client:
        providers = {"north": section(north, price={"input_usd": 9, "output_usd": 9}), "south": section(south)}
        async with Unbroken(providers=providers, environ={}) as priced:
            assert (await priced.chat(QUESTION)).provider == "north"
            assert (await priced.chat(QUESTION, requirements={"cost": 1.0})).provider == "south"
            assert (await priced.chat(QUESTION, requirements={"cost": 0})).provider == "north"
        north.fail_with(Status(500))
        await client.chat(QUESTION)
        north.heal()
        assert (await client.chat(QUESTION, requirements={"reliability": 1})).provider == "south"
        north.speed = Speed(first_token_s=0.3)
        await client.stream(QUESTION, provider="north").whole()
        await client.stream(QUESTION, provider="south").whole()
        assert (await client.stream(QUESTION, requirements={"speed": 1}).whole()).provider == "south"
        preferred = await client.chat(QUESTION, prefer="north", requirements={"reliability": 1})
        assert preferred.provider == "north"


@in_loop
async def test_a_model_may_be_a_route_a_target_or_a_bare_name() -> None:
    """`model=` is looked up as a route, as `provider/model`, and as a model that somebody has."""
    north, south = FakeProvider("north"), FakeProvider("south")
    routes = {"fast": {"targets": ["south/small", "north/small"]}}
    async with over(north, south, routes=routes) as client:
        assert (await client.chat(QUESTION, model="fast")).target == "south/small"
        assert (await client.chat(QUESTION, model="north/large")).target == "north/large"
        assert (await client.chat(QUESTION, model="small")).target == "south/small"
        assert (await client.chat(QUESTION, model="fast", provider="north")).target == "north/small"
        assert (await client.chat(QUESTION, model="fast", prefer="north")).target == "north/small"
        assert [model.id for model in client.models()][:2] == ["fast", "auto"]
        assert client.models()[0].is_route and not client.models()[-1].is_route


@in_loop
async def test_an_alias_is_the_route_that_it_stands_for() -> None:
    """It is listed, and `provider=` and `prefer=` choose among the targets of its route."""
    north, south = FakeProvider("north"), FakeProvider("south")
    routes = {"fast": {"targets": ["south/small", "north/small"]}}
    async with over(north, south) as running:
        there = {"north": section(north), "south": section(south)}
        assert "gpt-4o" not in [model.id for model in running.models()]
        source = {"providers": there, "routes": routes, "aliases": {"gpt-4o": "fast", "big": "north/large"}}
        async with Unbroken(source, environ={}) as client:
            listed = {model.id: model.targets for model in client.models()}
            assert listed["gpt-4o"] == ("south/small", "north/small") and listed["big"] == ("north/large",)
            assert (await client.chat(QUESTION, model="gpt-4o")).target == "south/small"
            assert (await client.chat(QUESTION, model="gpt-4o", provider="north")).target == "north/small"
            south.fail_with(Refused())
            preferred = await client.chat(QUESTION, model="gpt-4o", prefer="south")
            assert (preferred.target, preferred.failover_occurred) == ("north/small", True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"provider": "west"}, "providers here: north"),
        ({"provider": []}, "a name or a list of names"),
        ({"provider": ["north", 7]}, "a name or a list of names"),
        ({"prefer": "west"}, "no such provider"),
        ({"prefer": "north", "provider": "north"}, "give one of them"),
        ({"prefer": "north", "prefer_timeout_s": 0}, "number of seconds"),
        ({"model": "nobody-has-this"}, "routes: auto"),
        ({"timeout_s": "soon"}, "number of seconds"),
        ({"requirements": {"beauty": 1}}, "cost, speed, reliability"),
        ({"requirements": {"cost": 2}}, "from 0 to 1"),
        ({"extra": {"n": 2}}, "ask several times"),
        ({"stop": object()}, "as JSON"),
        ({"model": 3}, "'model' must be a text"),
        ({"prefer": 3}, "'prefer' must be a text"),
        ({"requirements": ["cost"]}, "'requirements' must be a mapping"),
        ({"extra": 3}, "'extra' must be a mapping"),
        ({"schema": "x"}, "'schema' must be a mapping"),
        ({"max_tokens": "many"}, "'max_tokens' must be a whole number"),
        ({"temperature": "hot"}, "temperature"),
    ],
)
@in_loop
async def test_a_wrong_wish_is_told_in_words(options: dict[str, Any], words: str) -> None:
    """What cannot be asked raises RequestError, which names the option and what is known."""
    async with over(FakeProvider("north")) as client:
        with pytest.raises(RequestError, match=words):
            await client.chat(QUESTION, **options)


@pytest.mark.parametrize(
    ("call", "wish", "options", "words"),
    [
        ("chat", None, {}, "'messages' must be a text or a list of messages"),
        ("chat", {"role": "user", "content": "one alone"}, {}, "'messages' must be"),
        ("stream", 7, {}, "'messages' must be"),
        ("complete", "Once", {"max_tokens": "many"}, "'max_tokens' must be a whole number"),
        ("embed", 7, {}, "'texts' must be"),
        ("embed", "a", {"dimensions": 0}, "'dimensions' must be a whole number, 1 or more"),
        ("embed", "a", {"purpose": "fun"}, "'purpose' must be one of query, document"),
        ("image", "a lighthouse", {"size": "large"}, "'size' must be WIDTHxHEIGHT"),
        ("image", "a lighthouse", {"count": 0}, "'count' must be a whole number, 1 or more"),
        ("image", "a lighthouse", {"seed": "x"}, "'seed' must be a whole number"),
        ("image", "a lighthouse", {"sources": "http://x/a.png"}, "'sources' must be a list of addresses"),
        ("image", 7, {}, "'prompt'"),
        ("video", "waves", {"seconds": -1}, "'seconds' must be a number above 0"),
        ("video", "waves", {"start": 7}, "'start' must be a text"),
        ("video", "waves", {"size": 7}, "'size' must be WIDTHxHEIGHT"),
    ],
)
@in_loop
async def test_each_call_names_what_is_wrong_with_it(call: str, wish: Any, options: Any, words: str) -> None:
    """Whatever the call, nobody is asked for what cannot be meant, and the message names the option."""
    north = FakeProvider("north")
    async with over(north) as client:
        with pytest.raises(RequestError, match=words):
            made = getattr(client, call)(wish, **options)
            await (made.whole() if call == "stream" else made)
    assert north.seen == []


@in_loop
async def test_misspelt_options_are_no_options() -> None:
    """An option that a call has not is a TypeError, as for any function."""
    async with over(FakeProvider("north")) as client:
        for call in (client.chat, client.complete, client.embed, client.image, client.video):
            with pytest.raises(TypeError, match="temprature"):
                await call(QUESTION, temprature=1)  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            client.stream(QUESTION, temprature=1)  # type: ignore[call-arg]
        with pytest.raises(RequestError):
            await client.image(" ")
        with pytest.raises(RequestError):
            await client.embed([])
        with pytest.raises(RequestError, match="messages"):
            await client.chat([])


# -------------------------------------------------------------------------- errors


@in_loop
async def test_errors_are_the_exceptions_of_failures() -> None:
    """Each raises as what it is, with the attempts that were made."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Status(400, message="'messages' is odd"))
        with pytest.raises(RequestError) as wrong:
            await client.chat(QUESTION)
        assert [tried.provider for tried in wrong.value.attempts] == ["north"]
        north.fail_with(Hang())
        south.fail_with(Hang())
        with pytest.raises(DeadlineExceeded) as late:
            await client.chat(QUESTION, timeout_s=0.2)
        assert late.value.attempts and late.value.failure.kind == "deadline"
        north.fail_with(Status(500))
        south.fail_with(Refused())
        with pytest.raises(TargetsExhausted) as nobody:
            await client.chat(QUESTION)
        assert {tried.provider for tried in nobody.value.attempts} == {"north", "south"}
        assert all(tried.failure for tried in nobody.value.attempts)


@in_loop
async def test_cancelling_a_call_hangs_up() -> None:
    """A task that is cancelled keeps no provider busy."""
    north = FakeProvider("north")
    async with over(north) as client:
        north.fail_with(Hang())
        asking = asyncio.create_task(client.chat(QUESTION))
        while not north.seen:
            await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        while not north.seen[0].hung_up:
            await asyncio.sleep(0.001)


# ------------------------------------------------------------------------- its life


@in_loop
async def test_a_client_is_made_of_a_file_values_or_a_configuration(tmp_path: Path) -> None:
    """All ways of making a client lead to the same one."""
    values = {"providers": {"north": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}}}
    file = tmp_path / "mine.yaml"
    file.write_text(json.dumps(values), encoding="utf-8")
    made = [
        Unbroken(str(file), environ={}),
        Unbroken.from_file(file, environ={}),
        Unbroken(values, environ={}),
        Unbroken(**values, environ={}),
        Unbroken(load(file, {})),
        Unbroken(environ={"UNBROKEN_CONFIG": str(file)}),
    ]
    for client in made:
        assert [target.name for target in client.config.targets] == ["north/m"]
        await client.close()


@in_loop
async def test_without_a_file_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`from_env` reads no file, and `Unbroken()` only one that is there."""
    monkeypatch.chdir(tmp_path)
    environ = {"GROQ_API_KEY": "k"}
    assert list(Unbroken(environ=environ).config.accounts) == ["groq"]
    (tmp_path / "unbroken.yaml").write_text("providers: {own: {base_url: 'http://127.0.0.1:9/v1', model: m}}")
    assert list(Unbroken(environ=environ).config.accounts) == ["own"]
    assert list(Unbroken.from_env(environ).config.accounts) == ["groq"]
    monkeypatch.setenv("GROQ_API_KEY", "k")
    assert "groq" in Unbroken.from_env().config.accounts


@in_loop
async def test_mistakes_of_configuration_are_told() -> None:
    """A wrong value is a ConfigError that names its key; two sources at once are a TypeError."""
    with pytest.raises(ConfigError, match="base_ur"):
        Unbroken(providers={"north": {"base_ur": "x"}}, environ={})
    with pytest.raises(TypeError, match="not both"):
        Unbroken("a.yaml", providers={})
    with pytest.raises(TypeError, match="async function"):
        Unbroken(providers={"north": 7}, environ={})
    client = Unbroken(environ={})
    with pytest.raises(RequestError, match="there is no target"):
        await client.chat(QUESTION)


@in_loop
async def test_a_closed_client_says_so() -> None:
    """Closing ends what is under way, twice is once, and afterwards nothing is asked."""
    north = FakeProvider("north")
    async with over(north) as client:
        north.fail_with(Hang())
        asking = asyncio.create_task(client.chat(QUESTION))
        while not north.seen:
            await asyncio.sleep(0)
        await client.close()
        await client.close()
        with pytest.raises(RequestError, match="cancelled"):
            await asking
        with pytest.raises(RuntimeError, match="closed"):
            await client.chat(QUESTION)


def test_a_client_belongs_to_one_event_loop() -> None:
    """In a second event loop a client says what to do instead of failing strangely."""
    made: list[Unbroken] = []

    async def first() -> None:
        async with over(FakeProvider("north")) as client:
            made.append(client)
            await client.chat(QUESTION)

    async def second() -> None:
        await made[0].chat(QUESTION)

    asyncio.run(first())
    made[0]._cabin._closed = False
    with pytest.raises(RuntimeError, match="another event loop"):
        asyncio.run(second())


@in_loop
async def test_many_calls_at_once_share_a_client() -> None:
    """Calls at once do not meet in each other's answers."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        north.fail_with(Status(500), times=10)
        answers = await asyncio.gather(*(client.chat(f"Question {n}") for n in range(50)))
        assert client._cabin.tally._logs == {} and client._cabin._under_way == set()
    assert [answer.text for answer in answers] == [essay(f"Question {n}") for n in range(50)]


@in_loop
async def test_the_estimate_of_a_cost_is_made_without_asking() -> None:
    """An estimate names each target in order, and nothing is sent."""
    north, south = FakeProvider("north"), FakeProvider("south")
    async with over(north, south) as client:
        estimate = client.estimate_cost("x" * 4000, max_tokens=1000)
        assert client.estimate_cost("x", provider="south").by_target.keys() == {"south/word-model"}
    assert 1000 <= estimate.input_tokens < 1050 and estimate.output_tokens == 1000
    expected_usd = (estimate.input_tokens * 1.0 + 1000 * 2.0) / 1e6
    assert estimate.by_target == {"north/word-model": pytest.approx(expected_usd), "south/word-model": estimate.usd}
    assert estimate.usd_max == estimate.usd
    assert north.seen == []
    gc.collect()
