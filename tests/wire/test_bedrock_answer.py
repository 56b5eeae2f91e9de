"""Bedrock's Converse format: answers, streamed and plain, read and written."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Request, Target, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.aws_events import Frames, write_frame
from unbroken.wire.bedrock import FORMAT
from unbroken.wire.bedrock_answer import decoder
from wire.anything import JSON

TARGET = Target(name="t", provider="b", model="m")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
RESCUED = Outcome(request_id="r", target="u", attempts=2, failover=True, rescued=True)

START = ("messageStart", {"role": "assistant"})
STOP = ("messageStop", {"stopReason": "end_turn"})
METADATA = ("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}, "metrics": {"latencyMs": 9}})


def frame(name: str, payload: Any) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return write_frame(headers, json.dumps(payload).encode())


def stream(*events: tuple[str, Any]) -> bytes:
    return b"".join(frame(name, payload) for name, payload in events)


def delta(index: int = 0, **piece: Any) -> tuple[str, Any]:
    return "contentBlockDelta", {"contentBlockIndex": index, "delta": piece}


def read(*pieces: bytes, streamed: bool = True) -> list[Delta] | Failure:
    reader = decoder(Request(model="m", stream=streamed), TARGET)
    found: list[Delta] = []
    for piece in pieces:
        step = reader.feed(piece)
        if isinstance(step, Failure):
            return step
        found += step
    rest = reader.close()
    assert isinstance(rest, list | Failure)
    return rest if isinstance(rest, Failure) else found + rest


def good(*pieces: bytes, streamed: bool = True) -> list[Delta]:
    found = read(*pieces, streamed=streamed)
    assert isinstance(found, list), found
    return found


def bad(*pieces: bytes, streamed: bool = True) -> Failure:
    found = read(*pieces, streamed=streamed)
    assert isinstance(found, Failure), found
    return found


def plain(**fields: Any) -> bytes:
    body = {
        "output": {"message": {"role": "assistant", "content": [{"text": "Hi"}]}},
        "stopReason": "end_turn",
        **fields,
    }
    return json.dumps(body).encode()


def writer(*, streamed: bool = True) -> Writer:
    assert FORMAT.writer is not None
    return FORMAT.writer(Request(model="m", stream=streamed))


def told(data: bytes) -> list[tuple[str, Any]]:
    """The events of a stream, by their names."""
    frames = Frames().feed(data)
    return [(frame.header(":event-type"), json.loads(frame.payload)) for frame in frames]


# --------------------------------------------------------------------------- reading


def test_a_stream() -> None:
    """Thoughts, words, calls, the end and the usage of a stream are read, each with its frame."""
    body = stream(
        START,
        delta(reasoningContent={"text": "Hm"}),
        delta(reasoningContent={"signature": "c2ln"}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        delta(1, text="Look"),
        ("contentBlockStart", {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "a", "name": "look"}}}),
        delta(2, toolUse={"input": '{"x":'}),
        delta(2, toolUse={"input": "1}"}),
        ("contentBlockStop", {"contentBlockIndex": 2}),
        ("contentBlockStart", {"contentBlockIndex": 3, "start": {"toolUse": {"toolUseId": "b", "name": "wait"}}}),
        delta(3, toolUse={"input": ""}),
        ("contentBlockStop", {"contentBlockIndex": 3}),
        ("messageStop", {"stopReason": "tool_use"}),
        METADATA,
    )
    deltas = good(body)
    answer = fold(deltas)
    assert (answer.text, answer.reasoning, answer.signature) == ("Look", "Hm", "c2ln")
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == [
        ("a", "look", '{"x":1}'),
        ("b", "wait", "{}"),
    ]
    assert (answer.finish, answer.raw_finish) == (Finish.TOOL_CALLS, "tool_use")
    assert answer.usage == Usage(input_tokens=3, output_tokens=2)
    assert b"".join(delta.raw for delta in deltas) == body


def test_tools_that_run_at_amazon_are_no_calls() -> None:
    """A caller is not asked to run what runs at Amazon; pictures are counted; new events pass."""
    use = {"toolUseId": "s", "name": "nova_grounding", "type": "server_tool_use"}
    body = stream(
        START,
        ("contentBlockStart", {"contentBlockIndex": 0, "start": {"toolUse": use}}),
        delta(0, toolUse={"input": '{"q": 1}'}),
        ("contentBlockStop", {"contentBlockIndex": 0}),
        ("contentBlockStart", {"contentBlockIndex": 1, "start": {"image": {"format": "png"}}}),
        ("somethingNew", {"x": 1}),
        STOP,
    )
    deltas = good(body)
    assert [call for step in deltas for call in step.tool_calls] == []
    assert sum(step.media for step in deltas) == 1
    assert b"".join(step.raw for step in deltas) == body
    content = [{"toolUse": {**use, "input": {}}}, {"image": {}}, {"text": "Found."}]
    (answer,) = good(plain(output={"message": {"content": content}}), streamed=False)
    assert (answer.text, answer.tool_calls, answer.media) == ("Found.", (), 1)


WORDS = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "something_new": Finish.STOP,
    "tool_use": Finish.TOOL_CALLS,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "guardrail_intervened": Finish.CONTENT_FILTER,
    "content_filtered": Finish.CONTENT_FILTER,
}


@pytest.mark.parametrize("word", WORDS)
def test_stop_reasons(word: str) -> None:
    """Each stop reason has its place in our vocabulary, and stays beside it."""
    for answer in (fold(good(plain(stopReason=word), streamed=False)),
                   fold(good(stream(START, ("messageStop", {"stopReason": word}))))):  # fmt: skip
        assert (answer.finish, answer.raw_finish) == (WORDS[word], word)


@pytest.mark.parametrize("word", ["malformed_model_output", "malformed_tool_use"])
def test_faults_of_the_model(word: str) -> None:
    """An answer that ended with a fault of the model is a failure, whatever was said before."""
    for failure in (bad(plain(stopReason=word), streamed=False),
                    bad(stream(START, delta(text="x"), ("messageStop", {"stopReason": word})))):  # fmt: skip
        assert (failure.kind, failure.code) == (FailureKind.MODEL_FAULT, word)


def test_input_holds_what_was_cached() -> None:
    """What came from a cache, and what went into one, was input and was paid for."""
    usage = {"inputTokens": 3, "outputTokens": 121, "cacheReadInputTokens": 1712, "cacheWriteInputTokens": 236}
    found = fold(good(plain(usage=usage), streamed=False)).usage
    assert found == Usage(input_tokens=1951, output_tokens=121, cached_tokens=1712, cache_write_tokens=236)
    assert fold(good(plain(), streamed=False)).usage is None
    assert fold(good(plain(usage={"outputTokens": -1}), streamed=False)).usage == Usage()


EXCEPTIONS = {
    "throttlingException": FailureKind.RATE_LIMIT,
    "serviceUnavailableException": FailureKind.OVERLOADED,
    "internalServerException": FailureKind.SERVER,
    "modelStreamErrorException": FailureKind.SERVER,
    "validationException": FailureKind.REQUEST,
}


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_in_a_stream(name: str) -> None:
    """An exception frame is the failure that its class says, with its words."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    failure = bad(stream(START, delta(text="x")), write_frame(headers, b'{"message":"No more."}'))
    assert (failure.kind, failure.message, failure.code) == (EXCEPTIONS[name], "No more.", name)
    for payload in (b"", b"no JSON", b"[]", b"{}"):
        assert bad(write_frame(headers, payload)).kind is EXCEPTIONS[name]


def test_a_long_prompt_in_a_stream() -> None:
    """An exception's words decide where its class does not."""
    headers = {":exception-type": "validationException", ":message-type": "exception"}
    failure = bad(write_frame(headers, b'{"message":"Input is too long for requested model."}'))
    assert failure.kind is FailureKind.CONTEXT_LENGTH


def test_errors_in_a_stream() -> None:
    """An error frame has no body: its code and words stand in its headers."""
    headers = {":message-type": "error", ":error-code": "InternalError", ":error-message": "An internal error."}
    failure = bad(write_frame(headers, b""))
    assert (failure.kind, failure.message) == (FailureKind.SERVER, "An internal error.")
    assert bad(write_frame({}, b"{}")).kind is FailureKind.SERVER


def test_streams_that_end_early() -> None:
    """A stream without a stop reason is cut short; with one it is whole, whatever is missing after it."""
    for body in (b"", stream(START), stream(START, delta(text="x"))[:-3], stream(START, METADATA)):
        assert bad(body).kind is FailureKind.TRUNCATED
    whole = stream(START, delta(text="x"), STOP)
    assert fold(good(whole)).text == fold(good(whole + frame(*METADATA)[:-3])).text == "x"
    reader = decoder(Request(model="m", stream=True), TARGET)
    assert not reader.feed(b"") and not reader.done
    reader.feed(whole)
    assert not reader.done
    reader.feed(frame(*METADATA))
    assert reader.done and reader.close() == []


def test_a_body_in_place_of_a_stream() -> None:
    """JSON where a stream was asked for is read: an answer as one, an error as the failure that it is."""
    usage = {"inputTokens": 1, "outputTokens": 1}
    (answer,) = good(plain(usage=usage)[:20], plain(usage=usage)[20:])
    assert (answer.text, answer.raw, answer.body, answer.finish) == ("Hi", b"", False, Finish.STOP)
    failure = bad(b'{"throttlingException": {"message": "Slow down."}}')
    assert failure.kind is FailureKind.RATE_LIMIT
    assert bad(b"<html>Welcome</html>").kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"<html>", b"{}", b'{"output": null}', b'{"output": {}}', b'{"output": []}',
        b'{"output": {"message": {"content": [1]}}}', plain(usage=[]), b"[" * 100_000,
    ],
    ids=lambda body: body[:20].decode(),
)  # fmt: skip
def test_bodies_that_are_no_answers(body: bytes) -> None:
    """A body that is no answer is malformed."""
    assert bad(body, streamed=False).kind is FailureKind.MALFORMED


def test_bodies_that_are_errors() -> None:
    """An error under a good status is the failure that it says."""
    failure = bad(b'{"message": "The provided model identifier is invalid."}', streamed=False)
    assert failure.kind in (FailureKind.REQUEST, FailureKind.MODEL_MISSING)
    assert "identifier is invalid" in failure.message


def test_patience() -> None:
    """Raw control characters and halves of surrogates inside strings are no reason to fail."""
    body = plain().replace(b'"Hi"', b'"a\tb \\ud83d"')
    content = b'{"toolUse": {"toolUseId": "a", "name": "n", "input": {"x": "\\ud83d"}}}'
    (answer,) = good(body.replace(b'{"text"', content + b', {"text"'), streamed=False)
    assert answer.text.startswith("a\tb ")
    assert json.loads(answer.tool_calls[0].arguments)["x"]


PAYLOADS = st.dictionaries(
    st.sampled_from(["contentBlockIndex", "start", "delta", "stopReason", "usage", "toolUse", "reasoningContent",
                     "text", "input", "output", "message", "content", "signature", "image"]),
    JSON,
    max_size=4,
)  # fmt: skip
NAMES = st.sampled_from(["messageStart", "contentBlockStart", "contentBlockDelta", "contentBlockStop", "messageStop",
                         "metadata", "other", ""])  # fmt: skip
FRAMES = st.builds(
    lambda name, kind, payload: write_frame(
        {":event-type": name, ":message-type": kind, ":exception-type": name}, json.dumps(payload).encode()
    ),
    NAMES,
    st.sampled_from(["event", "event", "exception", "error", ""]),
    PAYLOADS | st.dictionaries(st.sampled_from(["delta", "start", "usage"]), PAYLOADS) | JSON,
)


@given(st.lists(FRAMES | st.binary(max_size=40), max_size=6), st.booleans())
def test_any_bytes(pieces: list[bytes], streamed: bool) -> None:
    """Any bytes give deltas or a failure, and any split of them the same; what is read can be written."""
    found = read(*pieces, streamed=streamed)
    whole = b"".join(pieces)
    assert read(whole, streamed=streamed) == found
    assert read(*(whole[i : i + 1] for i in range(len(whole))), streamed=streamed) == found
    if isinstance(found, list):
        scribe = writer(streamed=streamed)
        scribe.write(found)
        assert scribe.whole(found, OUTCOME) or scribe.end(RESCUED) is not None


# --------------------------------------------------------------------------- writing


def test_a_foreign_stream() -> None:
    """Deltas of another format become a row of blocks, each stopped before the next, and a proper end."""
    deltas = [
        Delta(id="x", model="m"),
        Delta(reasoning="Hm", signature="theirs"),
        Delta(text="Look"),
        Delta(text="ing"),
        Delta(tool_calls=(ToolFragment(index=0, id="a", name="look"), ToolFragment(index=0, arguments="{}"))),
        Delta(tool_calls=(ToolFragment(index=1, name="wait"),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments=" "),)),
        Delta(text="another answer", choice=1),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
        Delta(usage=Usage(input_tokens=9, output_tokens=4, cached_tokens=2, cache_write_tokens=3)),
    ]
    scribe = writer()
    assert scribe.content_type == "application/vnd.amazon.eventstream"
    events = told(scribe.write(deltas) + scribe.end(OUTCOME))
    assert [(name, payload.get("contentBlockIndex")) for name, payload in events] == [
        ("messageStart", None),
        ("contentBlockDelta", 0),
        ("contentBlockStop", 0),
        ("contentBlockDelta", 1),
        ("contentBlockDelta", 1),
        ("contentBlockStop", 1),
        ("contentBlockStart", 2),
        ("contentBlockDelta", 2),
        ("contentBlockStop", 2),
        ("contentBlockStart", 3),
        ("contentBlockDelta", 2),
        ("contentBlockStop", 3),
        ("messageStop", None),
        ("metadata", None),
    ]
    assert events[-2][1] == {"stopReason": "tool_use"}
    assert events[-1][1]["usage"] == {
        "inputTokens": 4,
        "outputTokens": 4,
        "totalTokens": 13,
        "cacheReadInputTokens": 2,
        "cacheWriteInputTokens": 3,
    }
    assert events[1][1]["delta"] == {"reasoningContent": {"text": "Hm"}}
    assert events[9][1]["start"]["toolUse"] == {"toolUseId": "tooluse_1", "name": "wait"}


@pytest.mark.parametrize(
    ("passed", "block"),
    [
        ([START], 0),
        ([START, delta(text="a")], 0),
        ([START, delta(reasoningContent={"text": "Hm"})], 1),
        ([START, ("contentBlockStop", {"contentBlockIndex": 0})], 1),
        ([START, ("contentBlockStart", {"contentBlockIndex": 1, "start": {"toolResult": {}}})], 2),
    ],
)
def test_going_on_after_frames_that_passed(passed: list[tuple[str, Any]], block: int) -> None:
    """Where another target goes on, its words join the block of words that is open, or begin the next one."""
    scribe = writer()
    raw = stream(*passed)
    steps = Frames().feed(raw)
    assert scribe.write([Delta(format="bedrock", raw=step.raw) for step in steps]) == raw
    events = told(scribe.write([Delta(text="b")]) + scribe.write([Delta(finish=Finish.STOP)]) + scribe.end(RESCUED))
    names = [name for name, _ in events]
    opens = passed[-1][0] not in ("messageStart", "contentBlockStop") and block != passed[-1][1]["contentBlockIndex"]
    assert names == [*["contentBlockStop"] * opens, "contentBlockDelta", "contentBlockStop", "messageStop", "metadata"]
    assert events[opens][1] == {"contentBlockIndex": block, "delta": {"text": "b"}}
    assert events[-1][1]["unbroken"] == {
        "request_id": "r", "target": "u", "attempts": 2, "failover": True, "rescued": True,
    }  # fmt: skip


def test_the_end_comes_once() -> None:
    """What a provider ended itself is not ended again; what nobody ended is."""
    for passed, missing in (([START, STOP, METADATA], []), ([START, STOP], ["metadata"])):
        scribe = writer()
        scribe.write([Delta(format="bedrock", raw=frame(*event)) for event in passed])
        assert [name for name, _ in told(scribe.end(RESCUED))] == missing
    assert [name for name, _ in told(writer().end(OUTCOME))] == ["messageStart", "messageStop", "metadata"]
    assert [name for name, _ in told(writer().whole([Delta(finish=Finish.LENGTH)] * 2, OUTCOME))] == [
        "messageStart", "messageStop", "metadata",
    ]  # fmt: skip
    scribe = writer()
    scribe.write([Delta(format="bedrock", raw=b"no frame")])
    assert told(scribe.end(OUTCOME))[-1][0] == "metadata"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (FailureKind.RATE_LIMIT, "throttlingException"),
        (FailureKind.OVERLOADED, "serviceUnavailableException"),
        (FailureKind.STALLED, "modelStreamErrorException"),
        (FailureKind.REQUEST, "validationException"),
        (FailureKind.TRUNCATED, "internalServerException"),
        (FailureKind.LOADING, "internalServerException"),
    ],
)
def test_broken_streams(kind: FailureKind, name: str) -> None:
    """A stream that broke says so in an exception frame of a class that streams have, and never ends well."""
    failure = Failure(kind=kind, message="It broke.")
    frames = Frames().feed(writer().broken(failure, RESCUED))
    assert len(frames) == 1
    assert frames[0].header(":exception-type") == name and frames[0].header(":message-type") == "exception"
    assert json.loads(frames[0].payload)["message"] == "It broke."
    assert json.loads(writer(streamed=False).broken(failure, RESCUED))["message"] == "It broke."


def test_a_foreign_body() -> None:
    """An answer of another format becomes one of this, with arguments as an object where they are one."""
    deltas = [
        Delta(text="Look", reasoning="Hm", refusal="."),
        Delta(tool_calls=(ToolFragment(index=0, id="a", name="look", arguments='{"x": 1.10}'),)),
        Delta(tool_calls=(ToolFragment(index=1, name="wait", arguments="{oops"), ToolFragment(index=2, name="rest"))),
        Delta(finish=Finish.CONTENT_FILTER, raw_finish="guardrail_intervened"),
    ]
    body = writer(streamed=False).whole(deltas, OUTCOME)
    assert b'"input":{"x": 1.10}' in body
    answer = json.loads(body)
    assert answer["output"]["message"]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Hm"}}},
        {"text": "Look."},
        {"toolUse": {"toolUseId": "a", "name": "look", "input": {"x": 1.1}}},
        {"toolUse": {"toolUseId": "tooluse_1", "name": "wait", "input": "{oops"}},
        {"toolUse": {"toolUseId": "tooluse_2", "name": "rest", "input": {}}},
    ]
    assert answer["stopReason"] == "guardrail_intervened" and answer["usage"]["totalTokens"] == 0
    empty = json.loads(writer(streamed=False).whole([Delta()], OUTCOME))
    assert empty["output"]["message"]["content"] == [{"text": ""}] and empty["stopReason"] == "end_turn"
    assert writer(streamed=False).write(deltas) == writer(streamed=False).end(OUTCOME) == b""
