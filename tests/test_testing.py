"""The fake provider, seen through the official SDK: what users test against must behave as providers do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from typing import Any

import pytest

from loops import PATIENCE_S, in_loop
from unbroken.testing import (
    Cut,
    Empty,
    ErrorEvent,
    FakeProvider,
    Hang,
    Html,
    JobFailed,
    Malformed,
    ManualClock,
    NotMedia,
    Page,
    Refused,
    Reset,
    Speed,
    Stall,
    Status,
    Trouble,
    essay,
    example,
)

openai = pytest.importorskip("openai", reason="the official SDK is the judge of the fake provider")
httpx2 = pytest.importorskip("httpx2", reason="what the SDK lets through comes from here")

BROKEN = (openai.OpenAIError, httpx2.HTTPError, ValueError)
"""What the SDK raises when an answer breaks off: its own, the transport's, or the JSON decoder's."""

PROMPT = "Why do bridges sing?"
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a place.",
        "parameters": {
            "type": "object",
            "properties": {"place": {"type": "string"}, "unit": {"type": "string", "enum": ["c", "f"]}},
        },
    },
}


def client(provider: FakeProvider, *, key: str = "x", timeout_s: float = PATIENCE_S) -> Any:
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key=key, max_retries=0, timeout=timeout_s)


async def ask(provider: FakeProvider, **options: Any) -> Any:
    options.setdefault("messages", [{"role": "user", "content": PROMPT}])
    timeout_s = options.pop("timeout_s", PATIENCE_S)
    async with client(provider, timeout_s=timeout_s) as sdk:
        return await sdk.chat.completions.create(model="m", **options)


async def heard(provider: FakeProvider, **options: Any) -> tuple[str, BaseException | None, bool]:
    """The words that came, what was raised after them, and whether the answer named its finish."""
    text, finished = "", False
    options.setdefault("messages", [{"role": "user", "content": PROMPT}])
    try:
        async with client(provider, timeout_s=options.pop("timeout_s", PATIENCE_S)) as sdk:
            async for chunk in await sdk.chat.completions.create(model="m", stream=True, **options):
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    finished = finished or choice.finish_reason is not None
    except BROKEN as raised:
        return text, raised, finished
    return text, None, finished


# ------------------------------------------------------------------------ answers


@in_loop
async def test_a_plain_answer() -> None:
    """The same words for the same prompt, with usage and a finish reason."""
    async with FakeProvider() as provider:
        answer = await ask(provider)
        again = await ask(provider)
    assert answer.choices[0].message.content == essay(PROMPT) == again.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 20
    assert answer.model == "m"


@in_loop
async def test_a_streamed_answer() -> None:
    """A stream carries the same words in many steps, and ends as it should."""
    async with FakeProvider(speed=Speed(tokens_per_s=2000)) as provider:
        assert await heard(provider) == (essay(PROMPT), None, True)
        seen = provider.seen[0]
    assert seen.stream and seen.model == "m" and seen.key == "x" and seen.prompt == PROMPT
    assert seen.tokens == len(essay(PROMPT).split())
    assert seen.finished is not None and not seen.hung_up


@in_loop
async def test_speed() -> None:
    """An answer takes at least the time that its speed says."""
    async with FakeProvider(speed=Speed(first_token_s=0.2, tokens_per_s=500)) as provider:
        loop = asyncio.get_running_loop()
        began = loop.time()
        text, _, _ = await heard(provider)
        assert loop.time() - began >= 0.2 + (len(text.split()) - 1) / 500


@in_loop
async def test_tool_calls() -> None:
    """A tool that is demanded is called with arguments that obey its schema, streamed or not."""
    async with FakeProvider() as provider:
        plain = await ask(provider, tools=[WEATHER], tool_choice="required")
        async with client(provider) as sdk:
            pieces = [
                piece
                async for chunk in await sdk.chat.completions.create(
                    model="m", stream=True, tools=[WEATHER],
                    messages=[{"role": "user", "content": "Use get_weather for Oslo"}],
                )
                for choice in chunk.choices
                for piece in choice.delta.tool_calls or ()
            ]  # fmt: skip
    call = plain.choices[0].message.tool_calls[0]
    assert call.function.name == "get_weather"
    assert json.loads(call.function.arguments) == {"place": "sing", "unit": "c"}
    assert plain.choices[0].finish_reason == "tool_calls"
    assert pieces[0].function.name == "get_weather"
    assert json.loads("".join(piece.function.arguments or "" for piece in pieces)) == {"place": "Oslo", "unit": "c"}


@in_loop
async def test_structured_output() -> None:
    """Where a schema is asked for, the answer is JSON that obeys it."""
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "tags": {"type": "array"}}}
    shape = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    async with FakeProvider() as provider:
        answer = await ask(provider, response_format=shape)
    assert json.loads(answer.choices[0].message.content) == example(schema, PROMPT)


@in_loop
async def test_a_limit_of_tokens() -> None:
    """A limit cuts the answer short, and the finish reason says so."""
    async with FakeProvider() as provider:
        answer = await ask(provider, max_tokens=5)
    assert answer.choices[0].message.content == " ".join(essay(PROMPT).split()[:5])
    assert answer.choices[0].finish_reason == "length"


@in_loop
async def test_an_answer_source() -> None:
    """Users decide what is said."""
    async with FakeProvider(answer=lambda request: f"asked of {request.model}") as provider:
        assert (await ask(provider)).choices[0].message.content == "asked of m"


@in_loop
async def test_embeddings_and_images() -> None:
    """Equal texts have equal vectors, and a picture is a picture."""
    async with FakeProvider() as provider, client(provider) as sdk:
        rows = (await sdk.embeddings.create(model="m", input=["one", "two", "one"], encoding_format="float")).data
        picture = (await sdk.images.generate(model="m", prompt="a bridge")).data[0]
    assert rows[0].embedding == rows[2].embedding != rows[1].embedding
    assert base64.b64decode(picture.b64_json).startswith(b"\x89PNG")


@in_loop
async def test_the_list_of_models() -> None:
    """Providers list their models, and know no others."""
    async with FakeProvider(models=["a", "b"]) as provider, client(provider) as sdk:
        assert [model.id async for model in sdk.models.list()] == ["a", "b"]
        with pytest.raises(openai.NotFoundError):
            await ask(provider)


@in_loop
async def test_a_begun_answer_is_carried_on() -> None:
    """A provider that takes a prefix goes on in mid-word; one that does not begins anew."""
    begun = essay(PROMPT)[:50]
    turns = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": begun}]
    async with FakeProvider() as taking, FakeProvider(accepts_prefix=False) as deaf:
        assert (await ask(taking, messages=turns)).choices[0].message.content == essay(PROMPT)[50:]
        assert (await ask(deaf, messages=turns)).choices[0].message.content == essay(PROMPT)
        assert taking.seen[0].prefix == begun and taking.seen[0].prompt == PROMPT


@in_loop
async def test_a_wish_to_go_on_is_met_with_an_overlap() -> None:
    """Asked to go on, a model repeats some words first, as models do."""
    begun = essay(PROMPT)[:150]
    turns = [
        {"role": "user", "content": PROMPT},
        {"role": "assistant", "content": begun},
        {"role": "user", "content": "Please continue where you stopped."},
    ]
    async with FakeProvider(accepts_prefix=False) as provider:
        rest = (await ask(provider, messages=turns)).choices[0].message.content
    assert essay(PROMPT).endswith(rest) and len(essay(PROMPT)) - 150 < len(rest) < len(essay(PROMPT))


# ----------------------------------------------------------------------- troubles

ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
}


@pytest.mark.parametrize("status", ERRORS)
@in_loop
async def test_error_statuses(status: int) -> None:
    """Each status raises the exception that the SDK has for it, with a message and the headers."""
    async with FakeProvider() as provider:
        provider.fail_with(Status(status, retry_after_s=1.5))
        with pytest.raises(ERRORS[status]) as raised:
            await ask(provider)
        assert raised.value.response.headers["retry-after"] == "1.5"
        assert raised.value.body["message"]
        assert provider.seen[0].status == status


@in_loop
async def test_error_body_of_ones_own() -> None:
    """Code, message and the whole body can be given."""
    async with FakeProvider() as provider:
        provider.fail_with(Status(429, code="insufficient_quota", message="No money."))
        with pytest.raises(openai.RateLimitError) as raised:
            await ask(provider)
        assert (raised.value.code, raised.value.body["message"]) == ("insufficient_quota", "No money.")
        provider.fail_with(Status(502, body=b"<html>Bad gateway</html>", headers={"content-type": "text/html"}))
        with pytest.raises(openai.InternalServerError) as raised:
            await ask(provider)
        assert raised.value.response.text == "<html>Bad gateway</html>"


@pytest.mark.parametrize("trouble", [Refused(), Reset()])
@in_loop
async def test_no_connection(trouble: Trouble) -> None:
    """Refused and reset connections are connection errors, and healing undoes them."""
    async with FakeProvider() as provider:
        provider.fail_with(trouble)
        with pytest.raises(openai.APIConnectionError):
            await ask(provider)
        provider.heal()
        assert (await ask(provider)).choices[0].message.content == essay(PROMPT)


@in_loop
async def test_refusing_breaks_open_connections() -> None:
    """A provider that goes down takes the answers with it that it was giving."""
    async with FakeProvider(speed=Speed(tokens_per_s=50)) as provider, client(provider) as sdk:
        stream = await sdk.chat.completions.create(
            model="m", stream=True, messages=[{"role": "user", "content": PROMPT}]
        )
        with pytest.raises(BROKEN):
            async for _ in stream:
                provider.fail_with(Refused())
        assert provider.seen[0].hung_up


@in_loop
async def test_silence() -> None:
    """A provider that hangs never answers; it sees its caller leave."""
    async with FakeProvider() as provider:
        provider.fail_with(Hang())
        with pytest.raises(openai.APITimeoutError):
            await ask(provider, timeout_s=0.3)
        while not provider.seen[0].hung_up:
            await asyncio.sleep(0.01)
        assert provider.seen[0].finished is None


@pytest.mark.parametrize(
    ("trouble", "raises"),
    [
        (Cut(after_tokens=6), True),
        (Cut(after_tokens=6, clean=True), False),
        (ErrorEvent(after_tokens=6), True),
        (Malformed(after_tokens=6), True),
        (Stall(after_tokens=6), True),
    ],
)
@in_loop
async def test_half_a_stream(trouble: Trouble, raises: bool) -> None:
    """Exactly so many tokens come, then the break; the answer never ends as if it were whole."""
    async with FakeProvider(speed=Speed(tokens_per_s=1000)) as provider:
        provider.fail_with(trouble)
        text, raised, finished = await heard(provider, timeout_s=1.0)
        assert text.split() == essay(PROMPT).split()[:6]
        assert provider.seen[0].tokens == 6
        assert not finished and (raised is not None) == raises


@pytest.mark.parametrize("trouble", [Cut(), Cut(clean=True), ErrorEvent(), Malformed(), Stall(), Html()])
@in_loop
async def test_half_a_plain_answer(trouble: Trouble) -> None:
    """No plain answer under trouble can be taken for a good one."""
    async with FakeProvider() as provider:
        provider.fail_with(trouble)
        try:
            answer = await ask(provider, timeout_s=1.0)
        except BROKEN:
            return
        assert not getattr(answer, "choices", None)


@in_loop
async def test_an_empty_answer() -> None:
    """An empty answer is proper in form and holds nothing."""
    async with FakeProvider() as provider:
        provider.fail_with(Empty())
        assert await heard(provider) == ("", None, True)
        assert not (await ask(provider)).choices[0].message.content


@in_loop
async def test_trouble_for_so_many_requests() -> None:
    """`times` heals by itself."""
    async with FakeProvider() as provider:
        provider.fail_with(Status(500), times=2)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError):
                await ask(provider)
        assert (await ask(provider)).choices[0].finish_reason == "stop"
        assert [seen.trouble for seen in provider.seen] == [Status(500), Status(500), None]


@in_loop
async def test_keys() -> None:
    """A key that is not among those accepted is refused."""
    async with FakeProvider(keys={"good"}) as provider:
        async with client(provider, key="good") as sdk:
            await sdk.chat.completions.create(model="m", messages=[{"role": "user", "content": PROMPT}])
        with pytest.raises(openai.AuthenticationError):
            await ask(provider)


@in_loop
async def test_what_it_cannot_read() -> None:
    """A body that is no request and a path that is not there are the caller's faults."""
    async with FakeProvider() as provider:
        with pytest.raises(openai.BadRequestError):
            await ask(provider, messages="nothing")
        async with client(provider) as sdk:
            with pytest.raises(openai.NotFoundError):
                await sdk.post("/nowhere", cast_to=object, body={})
        reader, writer = await asyncio.open_connection("127.0.0.1", provider.port)
        writer.write(b"this is not HTTP\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


def test_a_port_before_the_start() -> None:
    """A provider that was not started has no address."""
    with pytest.raises(RuntimeError):
        _ = FakeProvider().base_url


@in_loop
async def test_the_port_stays() -> None:
    """The address is the same through refusing and healing, and closing twice does no harm."""
    async with FakeProvider() as provider:
        url = provider.base_url
        for _ in range(3):
            provider.fail_with(Refused())
            provider.heal()
        assert provider.base_url == url
        await ask(provider)
        await provider.close()


# ---------------------------------------------------------------- clock and words


def test_the_manual_clock() -> None:
    """It moves when told to, and only forward."""
    clock = ManualClock(10.0)
    assert clock() == 10.0
    assert clock.advance(2.5) == 12.5 == clock()
    with pytest.raises(ValueError):
        clock.advance(-1)


def test_essays_differ() -> None:
    """Different prompts get different essays, of a length that is worth streaming."""
    essays = {essay(f"prompt {number}") for number in range(50)}
    assert len(essays) == 50
    assert all(40 < len(words.split()) < 150 for words in essays)


def test_examples_of_schemas() -> None:
    """Each kind of schema has an example; what is not understood is an empty object."""
    assert example({"type": "array", "items": {"type": "boolean"}}, "x") == [True]
    assert example({"type": "number"}, "x") == 1.5
    assert example({"type": "null"}, "x") is None
    assert example({"type": "string"}, "?!") == "nothing"
    assert example(True, "x") == {}


# ------------------------------------------------------------- pictures, films and pages


@in_loop
async def test_pictures_lie_where_their_address_says() -> None:
    """With `gives_urls`, or where an address is wanted, the picture can be fetched there by anybody."""
    async with FakeProvider(keys=("k",)) as fake, client(fake, key="k") as sdk:
        fake.desk.gives_urls = True
        drawn = await sdk.images.generate(model="m", prompt="A cat")
        async with httpx2.AsyncClient() as http:
            lying = await http.get(drawn.data[0].url)
        assert lying.headers["content-type"] == "image/png"
        assert lying.content.startswith(b"\x89PNG")


@in_loop
async def test_wrong_content_in_place_of_a_picture() -> None:
    """What is served in place of media says what the test wants it to say."""
    async with FakeProvider() as fake, client(fake) as sdk:
        fake.fail_with(NotMedia(b"<html>", "text/html"), times=1)
        drawn = await sdk.images.generate(model="m", prompt="A cat")
        assert base64.b64decode(drawn.data[0].b64_json) == b"<html>"
        fake.fail_with(NotMedia(), times=1)
        spoken = await sdk.audio.speech.create(model="m", input="Hi", voice="alloy")
        assert spoken.response.headers["content-type"] == "application/json"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@in_loop
async def test_jobs_take_so_many_questions() -> None:
    """A job is done when it was asked about often enough, fails when it is told to, and needs the key."""
    async with FakeProvider(keys=("k",)) as fake, client(fake, key="k") as sdk:
        fake.desk.polls = 3
        video = await sdk.videos.create(model="m", prompt="Waves")
        told = [(await sdk.videos.retrieve(video.id)).progress for _ in range(4)]
        assert told == [25, 50, 75, 100]
        fake.fail_with(JobFailed(code="invalid_prompt"), times=1)
        assert (await sdk.videos.create_and_poll(model="m", prompt="Waves")).error.code == "invalid_prompt"
        async with client(fake, key="other") as stranger:
            with pytest.raises(openai.AuthenticationError):
                await stranger.videos.retrieve(video.id)


@in_loop
async def test_pages_of_ones_own() -> None:
    """At an address of the test's own whole answers lie, one after another and the last for ever."""
    async with FakeProvider() as fake, httpx2.AsyncClient() as http:
        fake.desk.put("GET /a?b=c", Page(body=b"1"), Page(body=b"2", status=202, headers={"retry-after": "3"}))
        url = f"http://127.0.0.1:{fake.port}/a?b=c"
        seen = [await http.get(url) for _ in range(3)]
        assert [(answer.status_code, answer.text) for answer in seen] == [(200, "1"), (202, "2"), (202, "2")]
        assert seen[1].headers["retry-after"] == "3"
        assert (await http.get(url + "d")).status_code == 404
