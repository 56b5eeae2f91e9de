"""OpenAI's old completions format, both sides."""

from __future__ import annotations

import asyncio
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loops import PATIENCE_S, in_loop
from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Status, essay
from unbroken.types import (
    Chat,
    Continuation,
    Delta,
    Finish,
    HttpReply,
    Media,
    Message,
    Mode,
    Request,
    Source,
    Target,
    Text,
    Tool,
    Usage,
    fold,
)
from unbroken.wire import Outcome, Unsaid, openai_chat_messages
from unbroken.wire.framing import EVENT_BYTES_MAX
from unbroken.wire.openai_completions import FORMAT, decoder, read_request, write_request, writer
from wire import reading
from wire.anything import JSON
from wire.recorded import Recording, everything, ours

openai = pytest.importorskip("openai", reason="the official SDK is the judge of both sides")

COMPLETIONS = "completions"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="k")
FOREIGN = Source("openai_chat", {})
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
PLAIN, STREAM = Request(model="m"), Request(model="m", stream=True)
PROMPT = "Why do bridges sing?"
FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH, "content_filter": Finish.CONTENT_FILTER}


def asked(**fields: Any) -> Request:
    request = read_request("/v1/completions", json.dumps({"model": "m", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def read(*pieces: bytes, stream: bool = False) -> list[Delta] | Failure:
    return reading.read(decoder(STREAM if stream else PLAIN, TARGET), pieces)


def chunk(**fields: Any) -> bytes:
    return f"data: {json.dumps(fields)}\n\n".encode()


def client(provider: FakeProvider) -> Any:
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key="x", max_retries=0, timeout=PATIENCE_S)


# ------------------------------------------------------------------- recordings


def is_completion(recording: Recording) -> bool:
    """Whether a recording is of this format; a gateway's stored prompts answer in the chat format there."""
    return recording["status"] == 200 and "text_completion" in recording["response_body"]


def as_the_sdk_reads_it(recording: Recording) -> dict[str, Any]:
    from openai._models import construct_type
    from openai.types import Completion

    body: str = recording["response_body"]
    lines = [line[5:].strip() for line in body.splitlines() if line.startswith("data:")]
    payloads = [line for line in lines if line != "[DONE]"] or [body]
    values: list[Any] = [construct_type(type_=Completion, value=json.loads(payload)) for payload in payloads]
    mine = [choice for value in values for choice in value.choices if not choice.index]
    usage = next((value.usage for value in reversed(values) if value.usage), None)
    finish = next((choice.finish_reason for choice in mine if choice.finish_reason), None)
    return {
        "text": "".join(choice.text or "" for choice in mine),
        "finish": FINISHES.get(finish or ""),
        "usage": usage and (usage.prompt_tokens, usage.completion_tokens or 0),
        "id": values[0].id,
        "model": values[0].model,
    }


def check_answer(recording: Recording, *, bytewise: bool) -> None:
    body = recording["response_body"].encode()
    stream = body.startswith(b"data:")
    deltas = read(body, stream=stream)
    assert isinstance(deltas, list), (recording["id"], deltas)
    answer = fold(deltas)
    usage = answer.usage
    assert as_the_sdk_reads_it(recording) == {
        "text": answer.text,
        "finish": answer.finish,
        "usage": usage and (usage.input_tokens, usage.output_tokens),
        "id": answer.id,
        "model": answer.model,
    }
    rng = random.Random(recording["id"])
    cuts = sorted(rng.randrange(len(body)) for _ in range(5))
    assert read(*(body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)), stream=stream) == deltas
    if bytewise:
        assert read(*(body[i : i + 1] for i in range(len(body))), stream=stream) == deltas
    out = writer(STREAM if stream else PLAIN)
    written = out.whole(deltas, OUTCOME)
    assert written.strip() == body.strip()


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    request = read_request("/v1/completions", json.dumps(body).encode())
    if isinstance(request, Failure):
        assert not body.get("prompt") or not body.get("model")
        return
    assert json.loads(write_request(request, TARGET).body) == {**body, "model": "other"}
    prompt = body["prompt"]
    if isinstance(prompt, list) and not (len(prompt) == 1 and isinstance(prompt[0], str)):
        with pytest.raises(ValueError, match="prompt"):
            _ = request.chat
        return
    chat = request.chat
    again = asked(**json.loads(write_request(Request(model="m", read=lambda: chat), TARGET).body))
    assert again.chat == chat


@pytest.mark.parametrize("recording", ours(COMPLETIONS), ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recordings(recording: Recording) -> None:
    """A recorded answer is read as the SDK reads it and goes out as it came; a recorded request keeps its meaning."""
    check_request(recording)
    if is_completion(recording):
        check_answer(recording, bytewise=True)


def test_all_recordings(shared: Path) -> None:
    """The same for every recording of the large set, and every error is known for what it is."""
    recordings = everything(shared, COMPLETIONS)
    assert len(recordings) > 60
    kinds = set()
    for number, recording in enumerate(recordings):
        check_request(recording)
        if is_completion(recording):
            check_answer(recording, bytewise=number % 20 == 0)
        elif recording["status"] != 200:
            kinds.add(FORMAT.classify(HttpReply(status=recording["status"], headers={},
                                                body=recording["response_body"].encode())).kind)  # fmt: skip
    assert kinds == {FailureKind.REQUEST, FailureKind.AUTH, FailureKind.MODEL_MISSING}


# ------------------------------------------------------------------- requests


def test_what_routing_needs() -> None:
    """Model, limits and how many answers are asked for, of how much."""
    request = asked(prompt="Hi", max_tokens=5, temperature=1, stream=True, stream_options={"include_usage": True}, n=2)
    assert (request.stream, request.include_usage, request.max_tokens, request.temperature) == (True, True, 5, 1)
    assert (request.prompt_chars, request.choices) == (4, 2)
    assert asked(prompt=["a", "b"], n=3).choices == 6
    assert asked(prompt=[[1, 2], [3]]).choices == 2
    assert asked(prompt=[1, 2, 3], n="two", max_tokens="many").choices == 1
    odd = read_request("/v1/completions", b'{"model":"m","prompt":"\xff","max_tokens":1e999}')
    assert isinstance(odd, Request)
    assert odd.max_tokens is None
    with pytest.raises(ValueError, match="prompt"):
        _ = odd.chat


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"nope", None),
        (b'{"prompt": "a"}', "model"),
        (b'{"model": "m"}', "prompt"),
        (b'{"model": "m", "prompt": 7}', "prompt"),
        (b'{"model": "m", "prompt": "a", "stream": 1}', "stream"),
    ],
)
def test_bad_requests_name_the_field(body: bytes, param: str | None) -> None:
    """A caller learns which field is wrong."""
    failure = read_request("/v1/completions", body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


def test_a_prompt_is_a_conversation() -> None:
    """A prompt is one message of the user; what is not modelled is told apart from what says nothing."""
    chat = asked(
        prompt=["Hi"], max_tokens=5, temperature=0.5, stop="x", seed=7, presence_penalty=1, user="u", echo=False,
        best_of=1, logit_bias={}, suffix="", logprobs=2, n=1,
    ).chat  # fmt: skip
    assert chat == Chat(
        messages=(Message(role="user", parts=(Text("Hi"),)),), max_tokens=5, temperature=0.5, stop=("x",), seed=7,
        presence_penalty=1, extras={"logprobs": 2},
        hints={"user": "u", "echo": False, "best_of": 1, "logit_bias": {}, "suffix": ""},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"prompt": ["a", "b"]}, "several texts"),
        ({"prompt": [1, 2]}, "tokens"),
        ({"stop": 7}, "stop"),
        ({"temperature": "hot"}, "temperature"),
        ({"max_tokens": 1.5}, "max_tokens"),
    ],
)
def test_what_cannot_be_said_elsewhere(fields: dict[str, Any], what: str) -> None:
    """Several prompts and tokens are only for whoever speaks this format."""
    with pytest.raises(ValueError, match=what):
        _ = asked(**{"prompt": "a", **fields}).chat


def user(*parts: Any) -> Chat:
    return Chat(messages=(Message(role="user", parts=parts or (Text("Hi"),)),), max_tokens=50)


def test_one_text_of_a_user_is_a_prompt() -> None:
    """A conversation of one text can be said as a prompt, with what this format has words for."""
    chat = replace(user(), stop=("x",), seed=7, hints={"user": "u", "metadata": {}})
    request = Request(model="m", source=FOREIGN, read=lambda: chat, stream=True, include_usage=True, choices=2)
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1/completions"
    assert json.loads(http.body) == {
        "model": "other", "prompt": "Hi", "max_tokens": 50, "seed": 7, "stop": ["x"], "n": 2, "stream": True,
        "stream_options": {"include_usage": True}, "user": "u",
    }  # fmt: skip
    assert http.unsaid == ("metadata",)


@pytest.mark.parametrize(
    ("chat", "why"),
    [
        (Chat(messages=()), "one text of the user"),
        (Chat(messages=(Message(role="system", parts=(Text("a"),)),), max_tokens=5), "one text of the user"),
        (replace(user(), messages=user().messages * 2), "one text of the user"),
        (user(Media(kind="image", url="https://x.invalid/a.png")), "one text of the user"),
        (replace(user(), tools=(Tool(name="f"),)), "no tools"),
        (replace(user(), schema={}), "no schema"),
        (replace(user(), reasoning_effort="low"), "no reasoning_effort"),
        (replace(user(), extras={"logprobs": True}), "no logprobs"),
        (replace(user(), max_tokens=None), "no max_tokens: without a limit"),
    ],
)
def test_everything_else_is_refused_with_a_reason(chat: Chat, why: str) -> None:
    """Conversations, tools, schemas and answers without a limit have no place in a prompt."""
    target = replace(TARGET, may_drop=frozenset(("max_tokens",))) if not chat.messages else TARGET
    with pytest.raises(ValueError, match=why):
        write_request(Request(model="m", source=FOREIGN, read=lambda: chat), target)


def test_going_on() -> None:
    """The answer so far is part of the prompt; where that cannot be, the request stays as it is."""

    def prompt(mode: Mode, **fields: Any) -> Any:
        http = write_request(asked(**fields), TARGET, continuation=Continuation(mode, " two"))
        return json.loads(http.body)["prompt"]

    assert prompt(Mode.PREFIX, prompt="One") == prompt(Mode.PREFIX, prompt=["One"], echo=False) == "One two"
    assert prompt(Mode.RESTART, prompt="One") == "One"
    assert prompt(Mode.ASK, prompt="One").startswith("One\n\n two\n\n")
    assert "two" in prompt(Mode.ASK, prompt="One")[12:]
    assert prompt(Mode.PREFIX, prompt=[1, 2]) == [1, 2]
    assert prompt(Mode.PREFIX, prompt="One", echo=True) == prompt(Mode.PREFIX, prompt="One", suffix="x") == "One"


numbers = st.none() | st.floats(0, 2)


@given(
    st.text(min_size=1), st.lists(st.text(min_size=1), max_size=2).map(tuple), numbers, st.none() | st.integers(0, 9)
)
def test_there_and_back(prompt: str, stop: tuple[str, ...], temperature: float | None, seed: int | None) -> None:
    """A prompt is read as it was written, and survives being said in the chat format in between."""
    chat = replace(user(Text(prompt)), stop=stop, temperature=temperature, top_p=temperature, seed=seed)
    unsaid = Unsaid(TARGET, "a format")
    body = openai_chat_messages.write_chat(chat, unsaid=unsaid)
    between = openai_chat_messages.read_chat({name: msgspec.json.encode(value) for name, value in body.items()})
    http = write_request(Request(model="m", source=FOREIGN, read=lambda: between), TARGET)
    request = read_request("/v1/completions", http.body)
    assert isinstance(request, Request)
    assert request.chat == chat
    assert not unsaid.names


# ------------------------------------------------------------------- answers


def test_several_answers_at_once() -> None:
    """Choices in one event go their own ways; usage is counted once."""
    pair = chunk(id="c", model="mm", usage={"prompt_tokens": 3, "completion_tokens": 2},
                 choices=[{"text": "a", "index": 0}, {"text": "b", "index": 1, "finish_reason": "stop"}])  # fmt: skip
    deltas = read(pair, b"data: [DONE]\n\n", stream=True)
    assert isinstance(deltas, list)
    assert [(delta.text, delta.choice, delta.finish) for delta in deltas] == [("a", 0, None), ("b", 1, Finish.STOP)]
    again = read(writer(STREAM).whole(deltas, OUTCOME), stream=True)
    assert again == deltas
    plain = read(json.dumps({"choices": [{"text": "a"}, {"text": "b", "index": 1}]}).encode())
    assert isinstance(plain, list)
    assert [(delta.text, delta.choice, delta.body) for delta in plain] == [("a", 0, True), ("b", 1, False)]


def test_the_other_kind_of_answer() -> None:
    """A body in place of a stream, and a stream in place of a body, are read all the same."""
    body = json.dumps({"id": "c", "choices": [{"text": "Hi", "finish_reason": "length"}]}).encode()
    for found in (read(b"\n", body, stream=True), read(chunk(**json.loads(body)))):
        assert isinstance(found, list)
        assert [(delta.text, delta.finish, delta.raw) for delta in found] == [("Hi", Finish.LENGTH, b"")]


@pytest.mark.parametrize(
    ("body", "stream", "kind"),
    [
        (b"", False, FailureKind.MALFORMED),
        (b"[]", False, FailureKind.MALFORMED),
        (b'{"choices": []}', False, FailureKind.MALFORMED),
        (b'{"error": {"message": "no", "code": "insufficient_quota"}}', False, FailureKind.QUOTA),
        (b'{"choices": [{"text": "", "finish_reason": "abort"}]}', False, FailureKind.SERVER),
        (b"", True, FailureKind.TRUNCATED),
        (b"<html>", True, FailureKind.MALFORMED),
        (b"data: nope\n\n", True, FailureKind.MALFORMED),
        (b"data: nope", True, FailureKind.TRUNCATED),
        (b"data: " + b"x" * (EVENT_BYTES_MAX + 3), True, FailureKind.MALFORMED),
        (b'data: {"error": {"message": "Boom", "code": 503}}\n\n', True, FailureKind.OVERLOADED),
        (b'data: {"error": {"message": "Boom", "code": 503}}', True, FailureKind.OVERLOADED),
        (chunk(choices=[{"text": "a", "finish_reason": None}]), True, FailureKind.TRUNCATED),
        (chunk(choices=[{"text": "a", "finish_reason": None}]), False, FailureKind.TRUNCATED),
    ],
)
def test_answers_that_fail(body: bytes, stream: bool, kind: FailureKind) -> None:
    """Errors under a good status, ends that are none and what is no answer are failures of their kind."""
    failure = read(body, stream=stream)
    assert isinstance(failure, Failure)
    assert (failure.kind, bool(failure.message)) == (kind, True)


things = st.recursive(
    JSON,
    lambda inner: st.fixed_dictionaries(
        {}, optional={name: inner | st.lists(inner, max_size=2)
                      for name in ("choices", "text", "index", "finish_reason", "usage", "id", "error")}
    ),
    max_leaves=6,
)  # fmt: skip


@given(
    st.lists(st.binary(max_size=20) | things.map(msgspec.json.encode)
             | things.map(lambda value: b"data: " + msgspec.json.encode(value) + b"\n\n"), max_size=4),
    st.booleans(),
)  # fmt: skip
def test_any_bytes_are_read(pieces: list[bytes], stream: bool) -> None:
    """Whatever a provider or a caller sends is understood or a failure, never an exception."""
    found = read(*pieces, stream=stream)
    if isinstance(found, list):
        assert isinstance(writer(STREAM).write([*found, Delta(text="So")]), bytes)
    for piece in pieces:
        request = read_request("/v1/completions", b'{"model":"m","prompt":' + (piece or b"1") + b"}")
        if isinstance(request, Request):
            write_request(request, TARGET, continuation=Continuation(Mode.PREFIX, "So"))


def test_answers_of_other_formats() -> None:
    """Words become chunks that share one head; refusals are words here, and thoughts have no place."""
    steps = [
        Delta(id="x", model="mm", reasoning="Hm"), Delta(text="So"), Delta(refusal=" no"),
        Delta(finish=Finish.TOOL_CALLS, usage=Usage(input_tokens=3, output_tokens=2)),
    ]  # fmt: skip
    out = writer(records.replace(STREAM, include_usage=True))
    streamed = read(out.whole(steps, records.replace(OUTCOME, rescued=True)), stream=True)
    plain = read(writer(PLAIN).whole(steps, OUTCOME))
    for found in (streamed, plain):
        assert isinstance(found, list)
        answer = fold(found)
        assert (answer.text, answer.finish, answer.model) == ("So no", Finish.STOP, "mm")
        assert answer.usage == Usage(input_tokens=3, output_tokens=2)
    assert json.loads(writer(PLAIN).whole([], OUTCOME)) == {
        "id": "cmpl-r", "object": "text_completion", "created": 0, "model": "m", "choices": []
    }  # fmt: skip


def test_a_rescue_keeps_the_head() -> None:
    """What follows passed-on chunks has their id, time and model."""
    first = read(chunk(id="cmpl-1", created=7, model="mm", choices=[{"text": "One"}]), b"data: [DONE]\n\n", stream=True)
    assert isinstance(first, list)
    out = writer(STREAM)
    out.write(first)
    last = json.loads(out.write([Delta(text=" two", id="z", model="zz")]).removeprefix(b"data: "))
    assert (last["id"], last["created"], last["model"], last["choices"][0]["text"]) == ("cmpl-1", 7, "mm", " two")
    broken = out.broken(Failure(kind=FailureKind.SERVER, message="Boom"), OUTCOME)
    assert json.loads(broken.removeprefix(b"data: "))["error"]["message"] == "Boom"


# ------------------------------------------------------------------- with the SDK


@in_loop
async def test_the_sdk_is_answered() -> None:
    """The SDK reads plain and streamed answers, and why they ended."""
    async with FakeProvider() as provider, client(provider) as sdk:
        plain = await sdk.completions.create(model="m", prompt=PROMPT, max_tokens=500)
        cut = await sdk.completions.create(model="m", prompt=PROMPT, max_tokens=5)
        chunks = [
            chunk
            async for chunk in await sdk.completions.create(
                model="m", prompt=PROMPT, stream=True, stream_options={"include_usage": True}
            )
        ]
    assert plain.choices[0].text == essay(PROMPT)
    assert (plain.object, plain.choices[0].finish_reason, plain.usage.completion_tokens > 20) == (
        *("text_completion", "stop", True),
    )
    assert cut.choices[0].finish_reason == "length"
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == essay(PROMPT)
    assert chunks[-1].usage.completion_tokens > 20


@pytest.mark.parametrize(
    ("trouble", "error"),
    [
        (Status(400), "BadRequestError"),
        (Status(401), "AuthenticationError"),
        (Status(404), "NotFoundError"),
        (Status(429), "RateLimitError"),
        (Status(500), "InternalServerError"),
        (ErrorEvent(after_tokens=3), "APIError"),
        (Cut(after_tokens=3), "APIConnectionError"),
    ],
)
def test_the_sdk_raises(trouble: Any, error: str) -> None:
    """Errors, before and inside a stream, are the SDK's own exceptions."""

    async def run() -> None:
        async with FakeProvider() as provider, client(provider) as sdk:
            provider.fail_with(trouble)
            async for _ in await sdk.completions.create(model="m", prompt=PROMPT, stream=True):
                pass

    with pytest.raises(getattr(openai, error)):
        asyncio.run(run())


@in_loop
async def test_the_sdk_says_the_same() -> None:
    """What we send is what the SDK sends for the same call."""
    async with FakeProvider() as provider, client(provider) as sdk:
        await sdk.completions.create(model="other", prompt="Hi", max_tokens=50, temperature=0.5, stop=["x"], seed=7)
        body = provider.seen[0].body
    chat = replace(user(), temperature=0.5, stop=("x",), seed=7)
    http = write_request(Request(model="m", source=FOREIGN, read=lambda: chat), TARGET)
    assert json.loads(http.body) == json.loads(body)


def test_several_choices_in_json_that_is_not_quite_right() -> None:
    """An event that has to be mended before it can be read is read, but its bytes cannot be taken apart."""
    body = b'data: {"choices":[{"text":"a\x01","finish_reason":"stop"},{"text":"b","index":1,"finish_reason":"stop"}]}'
    found = decoder(STREAM, TARGET).feed(body + b"\n\n")
    assert isinstance(found, list)
    assert [(delta.text, delta.choice, delta.raw) for delta in found] == [("a\x01", 0, b""), ("b", 1, b"")]
