"""Answers in Anthropic's Messages format: what is read from any bytes, and what is written for an SDK to read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Request, Target, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.anthropic import FORMAT
from unbroken.wire.anthropic_answer import decoder

TARGET = Target(name="t", provider="p", model="m")
STREAM, PLAIN = Request(model="asked", stream=True), Request(model="asked")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
RESCUED = Outcome(request_id="r", target="u", attempts=2, failover=True, rescued=True)
START: dict[str, Any] = {
    "type": "message_start",
    "message": {"id": "msg_1", "model": "claude", "usage": {"input_tokens": 3, "output_tokens": 1}},
}  # fmt: skip
END = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def more(index: int, kind: str, **delta: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **delta}}


def close(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


TEXT = [begin(0, type="text", text=""), more(0, "text_delta", text="Hi"), close(0)]


def stream(*events: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (e["type"].encode(), json.dumps(e).encode()) for e in events)


def read(body: bytes, request: Request = STREAM) -> list[Delta] | Failure:
    reader = decoder(request, TARGET)
    found = reader.feed(body)
    rest = reader.close() if isinstance(found, list) else found
    assert isinstance(rest, list | Failure)
    if isinstance(found, list) and isinstance(rest, list):
        assert reader.done or found
        return found + rest
    return rest if isinstance(rest, Failure) else []


def good(body: bytes, request: Request = STREAM) -> list[Delta]:
    found = read(body, request)
    assert isinstance(found, list), found
    return found


def bad(body: bytes, request: Request = STREAM) -> Failure:
    found = read(body, request)
    assert isinstance(found, Failure), found
    return found


def plain(**fields: Any) -> bytes:
    return json.dumps({"id": "msg_1", "type": "message", "content": [], "stop_reason": "end_turn", **fields}).encode()


def writer(request: Request = STREAM) -> Writer:
    assert FORMAT.writer is not None
    return FORMAT.writer(request)


def events(body: bytes) -> list[Any]:
    """The events of a stream, whose names must be their types."""
    found = []
    for block in body.decode().split("\n\n")[:-1]:
        name, _, data = block.partition("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        found.append(value)
    return found


# ------------------------------------------------------------------------- reading


def test_usage_counts_everything_once() -> None:
    """All input counts as input, and what the end does not name stays as it began."""
    counted = {"input_tokens": 3, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 1}
    start = {"type": "message_start", "message": {"usage": counted}}
    end = {**END, "usage": {"output_tokens": 7, "input_tokens": None, "output_tokens_details": {"thinking_tokens": 4}}}
    usage = fold(good(stream(start, *TEXT, end, STOP))).usage
    assert usage == Usage(
        input_tokens=123, output_tokens=7, cached_tokens=100, cache_write_tokens=20, reasoning_tokens=4
    )


@pytest.mark.parametrize(
    ("pieces", "given", "arguments"),
    [
        (['{"x"', ": 1}"], {}, '{"x": 1}'),
        ([], {}, "{}"),
        ([""], {"x": 1}, '{"x": 1}'),
        (['{"x": 2}'], {"x": 1}, '{"x": 2}'),
    ],
)
def test_arguments_of_calls(pieces: list[str], given: Any, arguments: str) -> None:
    """Arguments come in pieces, or whole at the beginning, or not at all, which is an empty object."""
    call = [begin(1, type="tool_use", id="a", name="look", input=given),
            *(more(1, "input_json_delta", partial_json=piece) for piece in pieces), close(1)]  # fmt: skip
    [found] = fold(good(stream(START, *TEXT, *call, END, STOP))).tool_calls
    assert (found.id, found.name, found.arguments) == ("a", "look", arguments)


def test_blocks_of_anthropics_own_tools() -> None:
    """What is no words counts as media, and its arguments are not those of a caller's tool."""
    search = [begin(0, type="server_tool_use", id="s", name="web_search", input={}),
              more(0, "input_json_delta", partial_json='{"q": 1}'), close(0)]  # fmt: skip
    deltas = good(stream(START, *search, END, STOP))
    assert sum(delta.media for delta in deltas) == 1 and not fold(deltas).tool_calls
    sealed = good(stream(START, begin(0, type="redacted_thinking", data="D"), close(0), END, STOP))
    assert not any(delta.has_content for delta in sealed)


def test_pings_are_no_progress() -> None:
    """A ping is passed on and says nothing."""
    [_, ping, *_] = good(stream(START, {"type": "ping"}, *TEXT, END, STOP))
    assert not ping.has_content and ping.usage is None and b"ping" in ping.raw


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("end_turn", Finish.STOP),
        ("stop_sequence", Finish.STOP),
        ("pause_turn", Finish.STOP),
        ("something_new", Finish.STOP),
        ("max_tokens", Finish.LENGTH),
        ("model_context_window_exceeded", Finish.LENGTH),
        ("tool_use", Finish.TOOL_CALLS),
        ("refusal", Finish.CONTENT_FILTER),
    ],
)
def test_stop_reasons(word: str, finish: Finish) -> None:
    """Each stop reason has its meaning, and the raw word stays."""
    streamed = fold(good(stream(START, *TEXT, {**END, "delta": {"stop_reason": word}}, STOP)))
    whole = fold(good(plain(stop_reason=word), PLAIN))
    assert (streamed.finish, streamed.raw_finish) == (whole.finish, whole.raw_finish) == (finish, word)


def test_refusals_are_explained() -> None:
    """Where Anthropic says why it refused, that is the refusal."""
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    end = {"type": "message_delta", "delta": {"stop_reason": "refusal", "stop_details": details}}
    assert fold(good(stream(START, end, STOP))).refusal == "No."
    assert fold(good(plain(stop_reason="refusal", stop_details=details), PLAIN)).refusal == "No."


@pytest.mark.parametrize("word", ["error", "malformed_tool_use"])
def test_stop_reasons_that_are_failures(word: str) -> None:
    """A stop reason that is a fault of the server or the model is a failure."""
    assert word in bad(stream(START, *TEXT, {**END, "delta": {"stop_reason": word}}, STOP)).message
    assert word in bad(plain(stop_reason=word), PLAIN).message


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("overloaded_error", FailureKind.OVERLOADED),
        ("rate_limit_error", FailureKind.RATE_LIMIT),
        ("api_error", FailureKind.SERVER),
        ("invalid_request_error", FailureKind.REQUEST),
    ],
)
@pytest.mark.parametrize("before", [[], [START, *TEXT[:2]]])
def test_errors_inside_a_stream(kind: str, expected: FailureKind, before: list[Any]) -> None:
    """An error event under status 200 is the failure that it says."""
    error = {"type": "error", "error": {"type": kind, "message": "Boom"}}
    failure = bad(stream(*before, error))
    assert (failure.kind, failure.message) == (expected, "Boom")
    assert bad(json.dumps(error).encode()) == bad(json.dumps(error).encode(), PLAIN) == failure


@pytest.mark.parametrize(
    "body",
    [b"event: error\ndata: {}\n\n", stream({"type": "error"}), b'event: error\ndata: {"type":"message_stop"}\n\n'],
)
def test_errors_that_say_nothing(body: bytes) -> None:
    """An error event without an error is the server's fault all the same."""
    assert bad(body).kind is FailureKind.SERVER


def test_streams_that_break_off() -> None:
    """A stream is whole with its last event or with a stop reason, else it is truncated."""
    whole = stream(START, *TEXT, END)
    assert fold(good(whole)).finish is Finish.STOP
    assert good(whole + b"event: message_stop\nda") == good(whole)
    assert good(whole.rstrip()) == good(whole)
    assert fold(good(stream(START, *TEXT, STOP))).text == "Hi"
    for body in (b"", stream(START, *TEXT), whole[:-20], stream(START) + b'event: x\ndata: {"type":'):
        assert bad(body).kind is FailureKind.TRUNCATED


@pytest.mark.parametrize("body", [b"<html>", b"event: x\ndata: nope\n\n", b"event: x\ndata: 7\n\n", b"[1]", b'{"a":1}'])
def test_what_is_no_stream(body: bytes) -> None:
    """Pages and nonsense are malformed."""
    assert bad(body).kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"nope", b"[]", b"{}", b'{"content":7}', b'{"content":null}', b"\xff"]
)
def test_what_is_no_answer(body: bytes) -> None:
    """A good answer has content in it."""
    assert bad(body, PLAIN).kind is FailureKind.MALFORMED


def test_gateways_that_speak_loosely() -> None:
    """Events without names, CRLF, comments, blanks before and OpenAI's terminator do no harm."""
    body = b"\n\n" + stream(START, *TEXT, END).replace(b"\n", b"\r\n").replace(b"event: ", b": ") + b"data: [DONE]\n\n"
    assert fold(good(body)).text == "Hi"


def test_wrong_types_are_dropped() -> None:
    """A field of the wrong type is as good as none."""
    odd = [
        {"type": 7},
        {"type": "message_start", "message": {"id": 7, "content": [7]}},
        {"type": "content_block_start", "content_block": 7},
        {"type": "content_block_delta", "delta": 7},
        begin(0, type="text", text=7),
        more(0, "text_delta", text=7),
    ]
    body = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in [*odd, *TEXT, END, STOP])
    assert fold(good(body)).text == "Hi"
    found = fold(good(plain(content=[7, {"type": "text", "text": "Hi"}], usage={"input_tokens": "x"}), PLAIN))
    assert found.text == "Hi" and found.usage == Usage()


def test_bodies_that_are_nearly_json() -> None:
    """Raw control characters and seals that are no text do not spoil an answer."""
    body = plain(content=[{"type": "text", "text": "Hi"}]).replace(b"Hi", b"H\ti")
    assert fold(good(body, PLAIN)).text == "H\ti"
    head = b'data: {"type":"message_start","message":{"id":"a\tb","content":[]}}\n\n'
    assert fold(good(head + stream(*TEXT, END, STOP))).id == "a\tb"
    infinite = plain(content=[{"type": "text", "text": "Hi", "input": float("inf")}])
    assert bad(infinite, PLAIN).kind is FailureKind.MALFORMED


def test_nothing_follows_the_end() -> None:
    """What comes after the last event is not read."""
    reader = decoder(STREAM, TARGET)
    found = reader.feed(stream(START, *TEXT, END, STOP, {"type": "error", "error": {"message": "late"}}))
    assert isinstance(found, list) and reader.done
    assert reader.close() == [] and fold(found).text == "Hi"


def test_the_other_kind_of_answer() -> None:
    """JSON where a stream was asked for is read all the same, and the other way round."""
    body = plain(content=[{"type": "thinking", "thinking": "Hm.", "signature": "S"}, {"type": "text", "text": "Hi"}])
    [delta] = good(body)
    assert (delta.text, delta.reasoning, delta.signature, delta.raw, delta.body) == ("Hi", "Hm.", "S", b"", False)
    streamed = good(stream(START, *TEXT, END, STOP), PLAIN)
    assert fold(streamed).text == "Hi" and not any(delta.raw for delta in streamed)
    assert bad(stream(START, *TEXT), PLAIN).kind is FailureKind.TRUNCATED
    assert bad(b"data: nope\n\n", PLAIN).kind is FailureKind.MALFORMED


EVENTS = st.sampled_from([
    *(START, *TEXT, END, STOP, {"type": "ping"}, begin(1, type="tool_use", id="a", name="b", input={})),
    *(more(1, "input_json_delta", partial_json="{"), close(1), {"type": "error", "error": {}}),
])  # fmt: skip
KEYS = st.sampled_from(["type", "delta", "content_block", "message", "index", "usage", "content", "error"])
KINDS = st.sampled_from(["content_block_start", "message_delta", "tool_use"])
VALUES = st.recursive(
    st.none() | st.integers() | st.text(max_size=4) | KINDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=8,
)
BODIES = (
    st.binary(max_size=60)
    | st.lists(EVENTS, max_size=8).map(lambda found: stream(*found))
    | st.lists(VALUES, max_size=4).map(lambda vs: b"".join(b"data: %b\n\n" % json.dumps(v).encode() for v in vs))
    | VALUES.map(lambda value: json.dumps(value).encode())
)


@given(BODIES, st.booleans())
def test_any_bytes_are_deltas_or_a_failure(body: bytes, streamed: bool) -> None:
    """No bytes of a provider raise anything."""
    request = STREAM if streamed else PLAIN
    reader = decoder(request, TARGET)
    for at in range(len(body)):
        if isinstance(reader.feed(body[at : at + 1]), Failure):
            return
    whole = read(body, request)
    assert type(reader.close()) is type(whole)
    if isinstance(whole, list):
        writer(request).whole(whole, OUTCOME)


# ------------------------------------------------------------------------- writing


def test_a_stream_of_another_format() -> None:
    """Deltas become blocks one after another, with their indexes, and one end with the final usage."""
    out = writer()
    deltas = [
        Delta(id="c1", model="gpt", reasoning="Hm."), Delta(text="Hi"), Delta(text="!"),
        Delta(tool_calls=(ToolFragment(index=0, id="a", name="look"),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments='{"x":1}'),)),
        Delta(tool_calls=(ToolFragment(index=1, id="b", name="see", arguments=""),)),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
        Delta(usage=Usage(input_tokens=10, output_tokens=5, cached_tokens=4, cache_write_tokens=1, reasoning_tokens=2)),
    ]  # fmt: skip
    found = events(b"".join(out.write([delta]) for delta in deltas) + out.end(OUTCOME))
    assert found[0]["message"]["id"] == "c1" and found[0]["message"]["model"] == "gpt"
    assert found[1:] == [
        begin(0, type="thinking", thinking="", signature=""), more(0, "thinking_delta", thinking="Hm."), close(0),
        begin(1, type="text", text=""), more(1, "text_delta", text="Hi"), more(1, "text_delta", text="!"), close(1),
        begin(2, type="tool_use", id="a", name="look", input={}),
        more(2, "input_json_delta", partial_json='{"x":1}'), close(2),
        begin(3, type="tool_use", id="b", name="see", input={}), close(3),
        {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
         "usage": {"input_tokens": 5, "cache_creation_input_tokens": 1, "cache_read_input_tokens": 4,
                   "output_tokens": 5, "output_tokens_details": {"thinking_tokens": 2}}},
        STOP,
    ]  # fmt: skip


def test_calls_that_are_written_at_once() -> None:
    """Calls whose pieces come mixed are written one after another, and words after them at last."""
    pieces = [(0, "a", '{"x"'), (1, "b", '{"y"'), (0, "", ":1}"), (2, "c", ""), (1, "", ":2}"), (2, "", "{}")]
    deltas = [
        Delta(tool_calls=(ToolFragment(index=index, id=name, name=name, arguments=text),))
        for index, name, text in pieces
    ]
    found = events(writer().whole([*deltas[:2], Delta(text="late"), *deltas[2:]], OUTCOME))
    starts = [event["content_block"] for event in found if event["type"] == "content_block_start"]
    assert [block.get("id") for block in starts] == ["a", "b", "c", None]
    told: dict[int, str] = {}
    for event in found:
        if event["type"] == "content_block_delta" and event["delta"]["type"] == "input_json_delta":
            told[event["index"]] = told.get(event["index"], "") + event["delta"]["partial_json"]
    assert told == {0: '{"x":1}', 1: '{"y":2}', 2: "{}"}
    assert [event["index"] for event in found if event["type"] == "content_block_stop"] == [0, 1, 2, 3]


def test_unfinished_calls_are_not_lost() -> None:
    """What waited for a call that never became whole is written at the end."""
    deltas = [
        Delta(tool_calls=(ToolFragment(index=index, id=str(index), name="n", arguments="{"),)) for index in (0, 1)
    ]
    found = events(writer().whole(deltas, OUTCOME))
    assert [event["content_block"]["id"] for event in found if event["type"] == "content_block_start"] == ["0", "1"]


@pytest.mark.parametrize("open_", [True, False])
def test_a_rescue(open_: bool) -> None:
    """After a rescue the same message goes on, in the block that was open or in the next one."""
    out = writer()
    begun = stream(START, *(TEXT[:2] if open_ else TEXT))
    assert out.write(good(begun + stream(END))[:-1]) == begun
    rest = events(
        out.write([Delta(usage=Usage(input_tokens=9)), Delta(text=" there"), Delta(finish=Finish.STOP)])
        + out.write([Delta(usage=Usage(input_tokens=9, output_tokens=8))])
        + out.end(RESCUED)
    )
    index = 0 if open_ else 1
    assert rest[:-2] == [
        *([] if open_ else [begin(1, type="text", text="")]), more(index, "text_delta", text=" there"), close(index)
    ]  # fmt: skip
    assert rest[-2]["usage"]["output_tokens"] == 8 and rest[-2]["delta"]["stop_reason"] == "end_turn"
    assert rest[-1]["type"] == "message_stop" and rest[-1]["unbroken"]["rescued"]


def test_a_rescue_after_thoughts() -> None:
    """A thought that was left open is closed before the words begin."""
    out = writer()
    out.write(
        good(stream(START, begin(0, type="thinking", thinking=""), more(0, "thinking_delta", thinking="H"), END))[:-1]
    )
    rest = events(out.write([Delta(text="Hi"), Delta(finish=Finish.STOP)]) + out.end(RESCUED))
    assert rest[:3] == [close(0), begin(1, type="text", text=""), more(1, "text_delta", text="Hi")]


def test_a_stream_that_fails() -> None:
    """A failure is an error event, and no proper end follows it."""
    out = writer()
    out.write(good(stream(START, *TEXT, END))[:-1])
    [error] = events(out.broken(Failure(kind=FailureKind.OVERLOADED, message="busy"), OUTCOME))
    assert error["error"] == {"type": "overloaded_error", "message": "busy"} and error["request_id"] == "r"
    plain_error = json.loads(writer(PLAIN).broken(Failure(kind=FailureKind.SERVER, message="no"), OUTCOME))
    assert plain_error["error"]["type"] == "api_error"


def test_an_empty_stream() -> None:
    """An answer without words is a message without content."""
    found = events(writer().end(OUTCOME))
    assert [event["type"] for event in found] == ["message_start", "message_delta", "message_stop"]
    assert found[0]["message"]["model"] == "asked"
    late = writer()
    assert late.write([Delta(usage=Usage())]) == late.write([]) == b""


def test_what_follows_the_end_is_not_written() -> None:
    """After the stop reason that was passed on nothing more goes out but the terminator."""
    out = writer()
    out.write(good(stream(START, *TEXT, END, STOP)))
    assert out.write([Delta(text="more"), Delta(usage=Usage())]) == b""
    assert events(out.end(OUTCOME)) == [STOP]
    odd = writer()
    assert odd.write([Delta(format="anthropic", raw=b"data: {nope\n\n")]) == b"data: {nope\n\n"


def test_seals_are_only_passed_on_to_their_own() -> None:
    """A thought keeps its signature where it is Anthropic's; nobody else's is written."""
    for name, sealed in (("anthropic", "S"), ("gemini", "")):
        deltas = [Delta(reasoning="Hm.", format=name), Delta(signature="S", format=name), Delta(text="Hi", format=name)]
        streamed = writer().whole(deltas, OUTCOME)
        assert (b"signature_delta" in streamed) is bool(sealed)
        whole = json.loads(writer(PLAIN).whole(deltas, OUTCOME))
        assert whole["content"][0] == {"type": "thinking", "thinking": "Hm.", "signature": sealed}


def test_refusals_of_other_formats() -> None:
    """The words of a refusal explain it."""
    deltas = [Delta(refusal="I can"), Delta(refusal="not."), Delta(finish=Finish.STOP, raw_finish="stop")]
    details = {"type": "refusal", "category": None, "explanation": "I cannot."}
    streamed = events(writer().whole(deltas, OUTCOME))[-2]["delta"]
    whole = json.loads(writer(PLAIN).whole(deltas, OUTCOME))
    for told in (streamed, whole):
        assert (told["stop_reason"], told["stop_details"]) == ("refusal", details)


def test_a_plain_answer_of_another_format() -> None:
    """Words, calls with their arguments as objects, usage and the end are one message."""
    calls = (ToolFragment(index=0, id="a", name="look", arguments='{"x": 1.0}'),
             ToolFragment(index=1, name="see", arguments="{oops"))  # fmt: skip
    out = writer(PLAIN)
    assert out.write([]) == out.end(OUTCOME) == b""
    body = out.whole([Delta(id="c", model="gpt", text="Hi", tool_calls=calls)], OUTCOME)
    assert b'{"x": 1.0}' in body
    message = json.loads(body)
    assert message["content"] == [
        {"type": "text", "text": "Hi"},
        {"type": "tool_use", "id": "a", "name": "look", "input": {"x": 1}},
        {"type": "tool_use", "id": "toolu_1", "name": "see", "input": {"INVALID_JSON": "{oops"}},
    ]
    assert (message["id"], message["model"], message["stop_reason"]) == ("c", "gpt", "tool_use")


@pytest.mark.parametrize(
    ("failure", "status", "kind"),
    [
        (Failure(kind=FailureKind.REQUEST, message="m"), 400, "invalid_request_error"),
        (Failure(kind=FailureKind.REQUEST, message="m", status=413), 413, "request_too_large"),
        (Failure(kind=FailureKind.REQUEST, message="m", status=418), 418, "invalid_request_error"),
        (Failure(kind=FailureKind.REQUEST, message="m", type="conflict_error"), 400, "conflict_error"),
        (Failure(kind=FailureKind.CONTEXT_LENGTH, message="m", type="tokens"), 400, "invalid_request_error"),
        (Failure(kind=FailureKind.RATE_LIMIT, message="m", retry_after_s=2.2), 429, "rate_limit_error"),
        (Failure(kind=FailureKind.MODEL_MISSING, message="m"), 404, "not_found_error"),
        (Failure(kind=FailureKind.OVERLOADED, message="m"), 529, "overloaded_error"),
        (Failure(kind=FailureKind.SERVER, message="m"), 502, "api_error"),
        (Failure(kind=FailureKind.SILENT, message="m"), 504, "timeout_error"),
        (Failure(kind=FailureKind.AUTH, message="m", status=401), 502, "api_error"),
    ],
)
def test_failures(failure: Failure, status: int, kind: str) -> None:
    """A failure has the status and the type that Anthropic's SDKs know."""
    assert FORMAT.write_failure is not None
    found, headers, body = FORMAT.write_failure(failure, "req_1")
    assert found == status and headers["request-id"] == "req_1"
    assert headers.get("retry-after") == ("3" if failure.retry_after_s else None)
    assert json.loads(body) == {"type": "error", "error": {"type": kind, "message": "m"}, "request_id": "req_1"}
