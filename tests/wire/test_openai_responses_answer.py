"""OpenAI's Responses format: answers of providers, read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Request, Response, Target, ToolCall, Usage, fold
from unbroken.wire import Next
from unbroken.wire.framing import EVENT_BYTES_MAX
from unbroken.wire.openai_responses import FORMAT, decoder
from wire.anything import JSON

TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="k")
CALL = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f", "arguments": '{"a":1}'}
SAID = {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": "Hello."}]}
USAGE = {
    "input_tokens": 10, "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 3},
    "output_tokens": 7, "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": 17,
}  # fmt: skip


def response(*output: Any, status: str = "completed", **more: Any) -> dict[str, Any]:
    return {"id": "resp_1", "object": "response", "model": "mm", "status": status, "output": list(output), **more}


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def completed(*output: Any, kind: str = "completed", **more: Any) -> bytes:
    return event(f"response.{kind}", response=response(*output, status=kind, **more))


def read(*pieces: bytes, stream: bool = True) -> list[Delta] | Failure | Next:
    reader = decoder(Request(model="m", stream=stream), TARGET)
    deltas: list[Delta] = []
    for piece in pieces:
        step = reader.feed(piece)
        if isinstance(step, Failure):
            return step
        deltas += step
    rest = reader.close()
    return deltas + rest if isinstance(rest, list) else rest


def folded(*pieces: bytes, stream: bool = True) -> Response:
    deltas = read(*pieces, stream=stream)
    assert isinstance(deltas, list), deltas
    return fold(deltas)


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


# ------------------------------------------------------------------------ plain


def test_a_plain_answer() -> None:
    """Words, thoughts, calls, usage and the end are read, and the body goes on as it came."""
    thoughts = {
        "type": "reasoning",
        "encrypted_content": "proof",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
    }
    payload = b" \n" + body(response(thoughts, SAID, CALL, usage=USAGE))
    deltas = read(payload[:9], payload[9:], stream=False)
    assert isinstance(deltas, list)
    assert (deltas[0].raw, deltas[0].body, deltas[0].format) == (payload.lstrip(), True, FORMAT.name)
    assert fold(deltas) == Response(
        text="Hello.", reasoning="One.\n\nTwo.", signature="proof", id="resp_1", model="mm",
        tool_calls=(ToolCall(id="c1", name="f", arguments='{"a":1}'),),
        usage=Usage(input_tokens=10, output_tokens=7, cached_tokens=4, cache_write_tokens=3, reasoning_tokens=5),
        finish=Finish.TOOL_CALLS, raw_finish="completed",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("details", "finish", "raw_finish"),
    [
        ({"reason": "max_output_tokens"}, Finish.LENGTH, "max_output_tokens"),
        ({"reason": "max_messages"}, Finish.LENGTH, "max_messages"),
        ({"reason": "content_filter"}, Finish.CONTENT_FILTER, "content_filter"),
        (None, Finish.LENGTH, "incomplete"),
    ],
)
def test_why_an_answer_was_cut_short(details: Any, finish: Finish, raw_finish: str) -> None:
    """An incomplete answer says why, plain or streamed."""
    cut = response(SAID, status="incomplete", incomplete_details=details)
    for answer in (
        folded(body(cut), stream=False),
        folded(completed(SAID, kind="incomplete", incomplete_details=details)),
    ):
        assert (answer.text, answer.finish, answer.raw_finish) == ("Hello.", finish, raw_finish)


def test_a_refusal() -> None:
    """A refusal is told as one, and ends as if it were filtered."""
    refused = {"type": "message", "content": [{"type": "refusal", "refusal": "No."}]}
    plain = folded(body(response(refused)), stream=False)
    streamed = folded(event("response.refusal.delta", output_index=0, delta="No."), completed(refused))
    assert (plain.refusal, plain.finish) == (streamed.refusal, streamed.finish) == ("No.", Finish.CONTENT_FILTER)


def test_calls_before_the_last_words() -> None:
    """Whoever speaks after a call does not wait for its result."""
    assert folded(body(response(CALL, SAID)), stream=False).finish is Finish.STOP


def test_things_for_the_caller() -> None:
    """What is no words and no function call, but an answer all the same, counts as something shown."""
    patch = {"type": "apply_patch_call", "call_id": "c1"}
    deltas = read(event("response.output_item.added", output_index=0, item=patch),
                  event("response.output_item.done", output_index=0, item=patch), completed(patch))  # fmt: skip
    assert isinstance(deltas, list)
    assert [delta.media for delta in deltas] == [1, 0, 0]
    plain = read(body(response(patch)), stream=False)
    assert isinstance(plain, list)
    assert [delta.media for delta in plain] == [1]


def test_an_answer_in_the_background() -> None:
    """A response that is queued or worked on is asked about, until it is there."""
    found = read(body(response(status="queued")), stream=False)
    assert isinstance(found, Next)
    assert (found.request.method, found.request.url) == ("GET", "https://x.invalid/v1/responses/resp_1")
    assert found.after_s > 0
    assert [delta.progress for delta in found.deltas] == [0.0]
    asked = found.decoder()
    assert asked.feed(body(response(status="in_progress"))) == []
    again = asked.close()
    assert isinstance(again, Next)
    asked = again.decoder()
    asked.feed(body(response(SAID)))
    last = asked.close()
    assert isinstance(last, list)
    assert fold(last).text == "Hello."


# ------------------------------------------------------------------------ streamed


def test_a_streamed_answer() -> None:
    """Each event is a step with its own bytes; the last one brings usage and the end."""
    pieces = [
        event("response.created", response=response(status="in_progress")),
        event("response.output_item.added", output_index=0, item={"type": "message", "content": []}),
        event("response.output_text.delta", output_index=0, content_index=0, delta="Hel"),
        event("response.output_text.delta", output_index=0, content_index=0, delta="lo."),
        event("response.output_text.done", output_index=0, content_index=0, text="Hello."),
        event("response.output_item.done", output_index=0, item=SAID),
        event("keepalive"),
        completed(SAID, usage=USAGE),
    ]
    deltas = read(*pieces, b"data: [DONE]\n\n")
    assert isinstance(deltas, list)
    assert [delta.raw for delta in deltas] == pieces
    assert [delta.text for delta in deltas] == ["", "", "Hel", "lo.", "", "", "", ""]
    assert (deltas[0].id, deltas[0].model) == ("resp_1", "mm")
    assert (deltas[-1].finish, deltas[-1].usage is not None) == (Finish.STOP, True)


def test_what_deltas_left_out_is_made_up_for() -> None:
    """Short texts without deltas, rests of arguments, whole calls: nothing is lost, nothing said twice."""
    done = "response.output_item.done"
    assert folded(event(done, output_index=0, item=SAID), completed(SAID)).text == "Hello."
    assert folded(completed(SAID, CALL)).text == "Hello."
    expected = (ToolCall(id="c1", name="f", arguments='{"a":1}'),)
    added = event("response.output_item.added", output_index=1, item={**CALL, "arguments": ""})
    arguments = event("response.function_call_arguments.delta", output_index=1, delta='{"a"')
    ended = event(done, output_index=1, item=CALL)
    for pieces in ((added, arguments, ended), (added, ended), (ended,), (arguments, ended), ()):
        answer = folded(event(done, output_index=0, item=SAID), *pieces, completed(SAID, CALL))
        assert answer.tool_calls == expected
        assert (answer.text, answer.finish) == ("Hello.", Finish.TOOL_CALLS)
    assert folded(added, arguments, completed(CALL)).tool_calls[0].arguments == '{"a"'


def test_what_a_provider_does_itself_is_no_call() -> None:
    """Perplexity shows its own search as a call that never has arguments of its own or an end."""
    search = {**CALL, "name": "search_web", "status": "completed"}
    results = {"type": "search_results", "results": []}
    answer = folded(
        event("response.output_item.added", output_index=0, item=search),
        event("response.output_item.done", output_index=0, item=results),
        event("response.output_text.delta", output_index=1, delta="Hello."),
        completed(results, SAID),
    )
    assert (answer.tool_calls, answer.text, answer.finish) == ((), "Hello.", Finish.STOP)


def test_paragraphs_of_thoughts() -> None:
    """Each part of the thoughts is a paragraph, streamed as it is plain; the first proof counts."""
    delta = "response.reasoning_summary_text.delta"
    first = {"type": "reasoning", "summary": [{"text": "One."}, {"text": "Two."}], "encrypted_content": "proof"}
    second = {"type": "reasoning", "content": [{"text": "Three."}], "encrypted_content": "more"}
    answer = folded(
        event(delta, output_index=0, summary_index=0, delta="On"),
        event(delta, output_index=0, summary_index=0, delta="e."),
        event(delta, output_index=0, summary_index=1, delta="Two."),
        event("response.output_item.done", output_index=0, item=first),
        event("response.reasoning_text.delta", output_index=1, content_index=0, delta="Three."),
        event("response.output_item.done", output_index=1, item=second),
        completed(first, second, SAID),
    )  # fmt: skip
    plain = folded(body(response(first, second, SAID)), stream=False)
    assert answer.reasoning == plain.reasoning == "One.\n\nTwo.\n\nThree."
    assert answer.signature == plain.signature == "proof"


def test_the_other_kind_of_answer() -> None:
    """A plain body where a stream was asked for, and a stream in place of a body, are read all the same."""
    deltas = read(b"\n", b"", body(response(SAID)))
    assert isinstance(deltas, list)
    assert [(delta.text, delta.raw, delta.body) for delta in deltas] == [("Hello.", b"", False)]
    stream = event("response.output_text.delta", output_index=0, delta="Hello.") + completed(SAID)
    swapped = read(stream, stream=False)
    assert isinstance(swapped, list)
    assert (fold(swapped).text, [delta.raw for delta in swapped]) == ("Hello.", [b"", b""])
    assert isinstance(read(stream[:-90], stream=False), Failure)
    assert isinstance(read(event("error", message="Boom", code="server_error"), stream=False), Failure)
    waiting = b"event: x\ndata: 1"
    assert isinstance(read(waiting, stream=False), Failure)


def test_an_end_without_its_response() -> None:
    """A last event that holds nothing is an end all the same."""
    delta = event("response.output_text.delta", output_index=0, delta="Hello.")
    for last in (event("response.completed"), event("response.completed", response=[7])):
        assert folded(delta, last) == Response(text="Hello.", finish=Finish.STOP, raw_finish="completed")


def test_json_that_is_not_quite_right() -> None:
    """Raw control characters and lone surrogates do not lose an answer."""
    ragged = b'{"id":"r","status":"completed","output":[{"type":"message","content":[{"text":"a\nb\\ud83d"}]}]}'
    assert folded(ragged, stream=False).text == "a\nb\ufffd"


# ------------------------------------------------------------------------ failures


@pytest.mark.parametrize(
    ("pieces", "kind"),
    [
        ([event("error", error={"code": "insufficient_quota", "message": "You exceeded"})], FailureKind.QUOTA),
        ([event("error", code="rate_limit_exceeded", message="Rate limit reached", param=None)],
         FailureKind.RATE_LIMIT),
        ([event("response.failed", response=response(status="failed", error={"code": "server_error", "message": "x"}))],
         FailureKind.SERVER),
        ([event("response.failed", response=response(status="failed", error=None))], FailureKind.SERVER),
        ([event("response.completed", response=response(status="failed", error=None))], FailureKind.SERVER),
        ([event("response.cancelled", response=response(status="cancelled"))], FailureKind.SERVER),
        ([b"event: error\ndata: {}\n\n"], FailureKind.SERVER),
        ([b'data: {"error": {"message": "Boom", "code": 503}}\n\n'], FailureKind.OVERLOADED),
        ([b"<html>"], FailureKind.MALFORMED),
        ([b"data: nope\n\n"], FailureKind.MALFORMED),
        ([b"data: " + b"x" * (EVENT_BYTES_MAX + 3)], FailureKind.MALFORMED),
        ([b'data: {"type": "response.failed"} nope\n\n'], FailureKind.MALFORMED),
        ([b'event: error\ndata: {"error": {"message": "Boom", "code": 503}}'], FailureKind.OVERLOADED),
        ([b"data: [1]\n\n"], FailureKind.MALFORMED),
        ([b"data: [DONE]\n\n"], FailureKind.TRUNCATED),
        ([], FailureKind.TRUNCATED),
        ([event("response.output_text.delta", delta="Hel")], FailureKind.TRUNCATED),
        ([b'event: response.output_text.delta\ndata: {"type": "respon'], FailureKind.TRUNCATED),
    ],
)  # fmt: skip
def test_streams_that_fail(pieces: list[bytes], kind: FailureKind) -> None:
    """An error event, also the first, a failed response, or an end that is none, is a failure of its kind."""
    failure = read(*pieces)
    assert isinstance(failure, Failure)
    assert (failure.kind, bool(failure.message)) == (kind, True)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            body(response(status="failed", error={"code": "rate_limit_exceeded", "message": "x"})),
            FailureKind.RATE_LIMIT,
        ),
        (body(response(status="failed", error=None)), FailureKind.SERVER),
        (body(response(status="cancelled")), FailureKind.SERVER),
        (body({"error": {"message": "no", "code": "insufficient_quota"}}), FailureKind.QUOTA),
        (body({"object": "list", "data": []}), FailureKind.MALFORMED),
        (b"", FailureKind.MALFORMED),
        (b"<html>", FailureKind.MALFORMED),
        (b"[1]", FailureKind.MALFORMED),
        (b'{"output": [', FailureKind.MALFORMED),
    ],
)
def test_bodies_that_fail(answer: bytes, kind: FailureKind) -> None:
    """A response that failed with a good status is a failure, and so is what is no response."""
    failure = read(answer, stream=False)
    assert isinstance(failure, Failure)
    assert (failure.kind, bool(failure.message)) == (kind, True)


KINDS = (
    *("response.created", "response.output_item.added", "response.output_item.done", "response.output_text.delta"),
    *("response.function_call_arguments.delta", "response.reasoning_text.delta", "response.refusal.delta"),
    *("response.completed", "response.incomplete", "response.failed", "error"),
)
things = st.recursive(
    JSON,
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(("message", "function_call", "reasoning", "custom_tool_call", *KINDS)) | JSON,
            "output_index": st.integers(-1, 2) | JSON,
            **{name: inner | st.lists(inner, max_size=2)
               for name in ("item", "response", "delta", "output", "content", "summary", "text", "id", "usage",
                            "arguments", "status", "incomplete_details", "input_tokens_details", "error")},
        },
    ),
    max_leaves=8,
)  # fmt: skip


def encoded(value: Any) -> bytes:
    return b"data: " + msgspec.json.encode(value) + b"\n\n"


@given(
    st.lists(st.binary(max_size=20) | things.map(encoded) | things.map(msgspec.json.encode), max_size=4), st.booleans()
)
def test_any_bytes_are_read(pieces: list[bytes], stream: bool) -> None:
    """Whatever a provider sends is deltas, a failure, or a question; never an exception."""
    found = read(*pieces, stream=stream)
    assert isinstance(found, list | Failure | Next)
    if isinstance(found, list):
        assert FORMAT.writer is not None
        writer = FORMAT.writer(Request(model="m", stream=True))
        assert isinstance(writer.write(found) + writer.write([Delta(text="So")]), bytes)
