"""OpenAI's Responses format: answers to callers, as the official SDK reads them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from loops import PATIENCE_S, in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Status, essay, example
from unbroken.types import Delta, Finish, Request, Source, Target, ToolFragment, Usage
from unbroken.wire import Outcome
from unbroken.wire.openai_responses import FORMAT, NAME, decoder, read_request
from unbroken.wire.openai_responses_writer import write_failure, writer

openai = pytest.importorskip("openai", reason="the official SDK is the judge of the server side")

OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
RESCUED = Outcome(request_id="r", target="t", attempts=2, failover=True, rescued=True)
PLAIN, STREAM = Request(model="m"), Request(model="m", stream=True)
PROMPT = "Why do bridges sing?"
WEATHER = {
    "type": "function", "name": "get_weather", "strict": False,
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}  # fmt: skip
USAGE = Usage(input_tokens=10, output_tokens=7, cached_tokens=4, reasoning_tokens=5, cost_usd=0.5)
END = Delta(finish=Finish.STOP, raw_finish="stop", usage=USAGE)


def client(provider: FakeProvider, key: str = "x") -> Any:
    return openai.AsyncOpenAI(base_url=provider.base_url, api_key=key, max_retries=0, timeout=PATIENCE_S)


def events_in(body: bytes) -> list[dict[str, Any]]:
    """The payloads of a stream, whose names and numbers are right."""
    found = []
    for number, block in enumerate(body.decode().split("\n\n")[:-1]):
        name, _, data = block.partition("\n")
        payload = json.loads(data.removeprefix("data: "))
        assert name == f"event: {payload['type']}"
        assert payload["sequence_number"] == number
        found.append(payload)
    return found


def accumulated(body: bytes) -> Any:
    """A whole stream as the SDK's accumulator reads it."""
    from openai._models import construct_type
    from openai.lib.streaming.responses._responses import ResponseStreamState
    from openai.types.responses import ResponseStreamEvent

    state: Any = ResponseStreamState(input_tools=openai.omit, text_format=openai.omit)
    for event in events_in(body):
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    return state._completed_response


# ------------------------------------------------------------------- with the SDK


@in_loop
async def test_a_plain_answer() -> None:
    """The SDK reads words, status and usage."""
    async with FakeProvider() as provider, client(provider) as sdk:
        answer = await sdk.responses.create(model="m", input=PROMPT)
        cut = await sdk.responses.create(model="m", input=PROMPT, max_output_tokens=5)
    assert answer.output_text == essay(PROMPT)
    assert (answer.status, answer.model, answer.usage.output_tokens > 20) == ("completed", "m", True)
    assert cut.output_text == " ".join(essay(PROMPT).split()[:5])
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")


@in_loop
async def test_a_streamed_answer() -> None:
    """The SDK's two ways to read a stream give the same words."""
    async with FakeProvider() as provider, client(provider) as sdk:
        pieces = [
            event.delta
            async for event in await sdk.responses.create(model="m", input=PROMPT, stream=True)
            if event.type == "response.output_text.delta"
        ]
        async with sdk.responses.stream(model="m", input=PROMPT) as stream:
            final = await stream.get_final_response()
    assert len(pieces) > 20
    assert "".join(pieces) == final.output_text == essay(PROMPT)
    assert final.usage.output_tokens == len(pieces)


@in_loop
async def test_tool_calls_and_their_results() -> None:
    """A call comes whole, streamed or not, and its result is taken back by its id."""
    asked: Any = {"model": "m", "tools": [WEATHER], "tool_choice": "required"}
    async with FakeProvider() as provider, client(provider) as sdk:
        plain = await sdk.responses.create(input=PROMPT, **asked)
        async with sdk.responses.stream(input=PROMPT, **asked) as stream:
            streamed = await stream.get_final_response()
        call = plain.output[0]
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
        last = await sdk.responses.create(model="m", input=[{"role": "user", "content": PROMPT}, call, result])
    for answer in (plain, streamed):
        assert (answer.output[0].type, answer.output[0].name) == ("function_call", "get_weather")
        assert json.loads(answer.output[0].arguments) == {"place": "sing"}
    assert plain.output[0].call_id == streamed.output[0].call_id
    assert last.output_text == essay(PROMPT)


@in_loop
async def test_structured_output() -> None:
    """The SDK parses what a schema asked for."""
    pydantic = pytest.importorskip("pydantic", reason="the SDK's structured output is made of it")
    shape = pydantic.create_model("Shape", n=(int, ...), word=(str, ...))
    async with FakeProvider() as provider, client(provider) as sdk:
        answer = await sdk.responses.parse(model="m", input=PROMPT, text_format=shape)
    assert answer.output_parsed.model_dump() == example(shape.model_json_schema(), PROMPT)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, "BadRequestError"),
        (401, "AuthenticationError"),
        (403, "PermissionDeniedError"),
        (404, "NotFoundError"),
        (429, "RateLimitError"),
        (500, "InternalServerError"),
        (503, "InternalServerError"),
    ],
)
def test_errors(status: int, error: str) -> None:
    """An error status is the SDK's own exception."""

    async def run() -> None:
        async with FakeProvider() as provider, client(provider) as sdk:
            provider.fail_with(Status(status))
            await sdk.responses.create(model="m", input=PROMPT)

    with pytest.raises(getattr(openai, error)):
        asyncio.run(run())


@in_loop
async def test_errors_inside_a_stream() -> None:
    """An error event is an exception of the SDK's; a stream without its end has no final response."""
    async with FakeProvider() as provider, client(provider) as sdk:
        for tokens in (0, 5):
            provider.fail_with(ErrorEvent(after_tokens=tokens, message="Boom"))
            with pytest.raises(openai.APIError, match="Boom"):
                async for _ in await sdk.responses.create(model="m", input=PROMPT, stream=True):
                    pass
        provider.fail_with(Cut(clean=True))
        with pytest.raises(RuntimeError):
            async with sdk.responses.stream(model="m", input=PROMPT) as stream:
                await stream.get_final_response()


@in_loop
async def test_a_request_that_is_wrong() -> None:
    """The SDK is told which field is wrong."""
    async with FakeProvider() as provider, client(provider) as sdk:
        with pytest.raises(openai.BadRequestError, match="input"):
            await sdk.responses.create(model="m", input=7)


# ------------------------------------------------------------------- deltas of other formats


STEPS = [
    Delta(id="chatcmpl-1", model="mm", reasoning="Hm, "),
    Delta(reasoning="yes."),
    Delta(text="Hel"),
    Delta(text="lo."),
    Delta(tool_calls=(ToolFragment(index=0, id="c1", name="f"), ToolFragment(index=1, name="g", arguments="{}"))),
    Delta(tool_calls=(ToolFragment(index=0, arguments='{"a":1}'),)),
    Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
    Delta(usage=USAGE),
]


def test_an_answer_with_everything() -> None:
    """Thoughts, words and calls become items with all their events, and the last one holds them whole."""
    out = writer(STREAM)
    assert out.content_type.startswith("text/event-stream")
    body = b"".join(out.write([step]) for step in STEPS) + out.end(OUTCOME)
    kinds = [event["type"].removeprefix("response.") for event in events_in(body)]
    assert kinds == [
        *("created", "in_progress"),
        *("output_item.added", "reasoning_summary_part.added"),
        *("reasoning_summary_text.delta", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    final = accumulated(body)
    thoughts, message, first, second = final.output
    assert (thoughts.type, thoughts.summary[0].text) == ("reasoning", "Hm, yes.")
    assert (message.content[0].text, message.status, final.output_text) == ("Hello.", "completed", "Hello.")
    assert (first.call_id, first.name, first.arguments) == ("c1", "f", '{"a":1}')
    assert (second.call_id, second.name, second.arguments) == ("call_1", "g", "{}")
    assert (final.id, final.model, final.status) == ("resp_chatcmpl-1", "mm", "completed")
    assert final.usage.to_dict() == {
        "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 17, "cost": 0.5,
    }  # fmt: skip
    assert all(len(item.id) <= 64 for item in final.output)


def test_a_plain_answer_with_everything() -> None:
    """The same as one body, which is what the stream's last event holds."""
    streamed, plain = writer(STREAM), writer(PLAIN)
    whole = json.loads(plain.whole(STEPS, OUTCOME))
    assert whole == events_in(streamed.whole(STEPS, OUTCOME))[-1]["response"]
    assert plain.write(STEPS) == plain.end(OUTCOME) == b""
    assert json.loads(plain.whole([END], OUTCOME))["id"] == "resp_r"
    assert json.loads(plain.whole([], OUTCOME))["usage"] is None


@pytest.mark.parametrize(
    ("steps", "status", "reason"),
    [
        ([Delta(text="So"), Delta(finish=Finish.LENGTH)], "incomplete", "max_output_tokens"),
        ([Delta(text="So"), Delta(finish=Finish.CONTENT_FILTER)], "incomplete", "content_filter"),
        ([Delta(refusal="No."), Delta(finish=Finish.CONTENT_FILTER)], "completed", None),
        ([Delta(text="So")], "completed", None),
        ([], "completed", None),
    ],
)
def test_how_an_answer_ended(steps: list[Delta], status: str, reason: str | None) -> None:
    """An answer that was cut short is incomplete, one that was refused holds the refusal."""
    last = events_in(writer(STREAM).whole(steps, OUTCOME))[-1]
    assert last["type"] == f"response.{status}"
    assert (last["response"]["status"], (last["response"]["incomplete_details"] or {}).get("reason")) == (
        status,
        reason,
    )
    assert [item["status"] for item in last["response"]["output"]] == [status] * (1 if steps else 0)
    if steps and steps[0].refusal:
        assert last["response"]["output"][0]["content"] == [{"type": "refusal", "refusal": "No."}]


def test_a_response_repeats_its_request() -> None:
    """Settings stand in the response as they came; what was not said stands there as it is by default."""
    request = read_request("/v1/responses", b'{"model":"m","input":"Hi","temperature":0.5,"store":false,"user":null}')
    assert isinstance(request, Request)
    body = json.loads(writer(request).whole([END], OUTCOME))
    assert (body["temperature"], body["store"], body["tools"], body["tool_choice"]) == (0.5, False, [], "auto")
    assert "user" not in body
    foreign = Request(model="m", source=Source("openai_chat", {"temperature": b"1"}))
    assert json.loads(writer(foreign).whole([END], OUTCOME))["temperature"] is None


def test_answers_beside_the_first() -> None:
    """This format has room for one answer."""
    steps = [Delta(text="So"), Delta(text="Or", choice=1), END]
    assert json.loads(writer(PLAIN).whole(steps, OUTCOME))["output"][0]["content"][0]["text"] == "So"


# ------------------------------------------------------------------- breaking and going on


def stream_of(deltas: list[Delta]) -> list[Delta]:
    """The same deltas as a target of this format would give them, with its bytes."""
    reader = decoder(STREAM, Target(name="t", provider="p", model="m"))
    found = reader.feed(writer(STREAM).whole(deltas, OUTCOME))
    assert isinstance(found, list)
    return found


def test_its_own_events_pass() -> None:
    """A stream of this format goes out byte for byte, and nothing is added at its end."""
    deltas = stream_of(STEPS)
    out = writer(STREAM)
    assert out.write(deltas) + out.end(RESCUED) == writer(STREAM).whole(STEPS, OUTCOME)
    assert all(delta.format == NAME for delta in deltas)


@pytest.mark.parametrize("passed", range(3, 14))
def test_a_rescue_is_one_stream(passed: int) -> None:
    """Wherever events that were passed on break off, the words of another target go on in the same response."""
    first = [Delta(id="resp_1", reasoning="Hm."), Delta(text="One"), Delta(text=" two"), Delta(text=" three"), END]
    deltas = stream_of(first)[:passed]
    out = writer(STREAM)
    body = out.write(deltas)
    body += out.write([Delta(text=" and", id="resp_1"), Delta(text=" four")]) + out.write([END]) + out.end(RESCUED)
    final = accumulated(body)
    shown = "".join(delta.text for delta in deltas)
    assert final.output_text == f"{shown} and four"
    assert (final.id, final.status, final.usage.input_tokens) == ("resp_1", "completed", 10)
    last = events_in(body)[-1]
    assert last["unbroken"]["rescued"] is True
    assert len({event["item_id"] for event in events_in(body) if event["type"] == "response.output_text.delta"}) == 1


def test_a_rescue_with_a_call() -> None:
    """Another target may end in a call what a first one began in words."""
    deltas = [delta for delta in stream_of([Delta(text="I look."), END]) if delta.finish is None][:5]
    call = Delta(tool_calls=(ToolFragment(index=0, id="c1", name="f", arguments="{}"),), finish=Finish.TOOL_CALLS)
    out = writer(STREAM)
    final = accumulated(out.write(deltas) + out.write([call]) + out.end(RESCUED))
    assert [item.type for item in final.output] == ["message", "function_call"]
    assert final.output_text == "I look."


def test_events_of_loose_providers_are_taken_over() -> None:
    """Words without their part, items without content, events without numbers: a rescue makes do with them."""
    events = [
        {"type": "response.created", "response": {"id": "resp_1", "output": []}},
        {"type": "response.output_item.added", "output_index": 2, "item": {"type": "message", "content": None}},
        {"type": "response.output_text.delta", "output_index": 2, "content_index": 1, "delta": "One"},
    ]
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    deltas = decoder(STREAM, Target(name="t", provider="p", model="m")).feed(raw)
    assert isinstance(deltas, list)
    out = writer(STREAM)
    assert out.write(deltas) == raw
    rest = events_in(out.write([Delta(text=" two")]) + out.end(OUTCOME))
    assert (rest[0]["output_index"], rest[0]["content_index"], rest[0]["delta"]) == (2, 1, " two")
    assert rest[-1]["response"]["output"][0]["content"][0]["text"] == "One two"


def test_strange_events_are_taken_over() -> None:
    """What makes no sense in events that were passed on makes nothing else go wrong."""
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": 7},
        {"type": "response.output_item.added", "output_index": 0, "item": None},
        {"type": "response.output_item.done", "output_index": "x", "item": {"type": "message", "content": [
            {"type": "output_text", "text": "Zero"}]}},
        {"type": "response.content_part.added", "output_index": 1, "part": {"type": "video"}},
        {"type": "response.content_part.added", "output_index": 1, "part": None},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "One"},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "\ud83d"},
        {"type": "response.refusal.delta", "output_index": 1, "delta": 7},
        {"type": ["nothing"]},
    ]  # fmt: skip
    raw = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    deltas = decoder(STREAM, Target(name="t", provider="p", model="m")).feed(raw)
    assert isinstance(deltas, list)
    out = writer(STREAM)
    assert out.write([*deltas, Delta(raw=b"data: nope\n\n", format=NAME), Delta(raw=b"nope", format=NAME)])
    last = events_in(out.write([Delta(text=" two")]) + out.end(OUTCOME))[-1]
    assert [item["content"][0]["text"] for item in last["response"]["output"]] == ["Zero", "One\ufffd"]
    assert last["response"]["output"][1]["content"][2]["text"] == " two"


def test_a_stream_that_never_began() -> None:
    """A failure before any word is told all the same."""
    kinds = [event["type"] for event in events_in(writer(STREAM).broken(Failure(kind=FailureKind.SERVER, message="x"),
                                                                         OUTCOME))]  # fmt: skip
    assert kinds == ["response.created", "response.in_progress", "error", "response.failed"]


def test_a_stream_that_cannot_be_saved() -> None:
    """It says what went wrong, holds what there was, and is never completed."""
    failure = Failure(kind=FailureKind.SERVER, message="Boom")
    for deltas in (stream_of(STEPS)[:13], STEPS[:4]):
        out = writer(STREAM)
        events = events_in(out.write(deltas) + out.broken(failure, RESCUED))
        error, failed = events[-2:]
        assert (error["type"], error["message"], error["error"]["message"]) == ("error", "Boom", "Boom")
        assert (error["unbroken"]["attempts"], failed["type"]) == (2, "response.failed")
        assert failed["response"]["error"]["message"] == "Boom"
        assert failed["response"]["output"][-1]["content"][0]["text"] == "Hello."
        assert failed["response"]["id"] == events[0]["response"]["id"]
    assert json.loads(writer(PLAIN).broken(failure, OUTCOME))["error"]["message"] == "Boom"


def test_the_envelope_of_a_failure() -> None:
    """Errors look as they do in OpenAI's other formats."""
    assert FORMAT.write_failure is write_failure
    status, headers, body = write_failure(Failure(kind=FailureKind.RATE_LIMIT, message="slow", retry_after_s=2.0), "r")
    assert (status, headers["retry-after"], json.loads(body)["error"]["message"]) == (429, "2", "slow")
