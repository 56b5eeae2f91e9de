"""Answers in Gemini's format: every way in which one can end or break, and the bytes of anybody."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Output, Request, ToolFragment, Usage, fold
from unbroken.wire import Outcome
from unbroken.wire.framing import EVENT_BYTES_MAX
from unbroken.wire.gemini import FORMAT, decoder
from unbroken.wire.gemini_answer import OWN_FINISHES
from unbroken.wire.gemini_pieces import Calls, Elements
from unbroken.wire.whole import BODY_BYTES_MAX
from wire import reading
from wire.gemini_recorded import TARGET

OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
AGAIN = Outcome(request_id="r", target="t", attempts=2, failover=True)


def answer(*parts: Any, **more: Any) -> dict[str, Any]:
    """An answer with these parts; further fields are the candidate's."""
    return {"candidates": [{"content": {"parts": list(parts)}, **more}], "responseId": "r1", "modelVersion": "g"}


def text(words: str, **more: Any) -> dict[str, Any]:
    return answer({"text": words}, **more)


def sse(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\r\n\r\n" for chunk in chunks)


def streamed(*pieces: bytes) -> list[Delta] | Failure:
    return reading.read(decoder(Request(model="m", stream=True), TARGET), list(pieces))


def plain(*pieces: bytes) -> list[Delta] | Failure:
    return reading.read(decoder(Request(model="m"), TARGET), list(pieces))


def failed(found: list[Delta] | Failure) -> Failure:
    assert isinstance(found, Failure), found
    return found


def good(found: list[Delta] | Failure) -> list[Delta]:
    assert isinstance(found, list), found
    return found


# ------------------------------------------------------------------------ endings


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("STOP", Finish.STOP),
        (1, Finish.STOP),
        ("MAX_TOKENS", Finish.LENGTH),
        ("CONTINUATION", Finish.LENGTH),
        ("SAFETY", Finish.CONTENT_FILTER),
        ("MODEL_ARMOR", Finish.CONTENT_FILTER),
        ("SOMETHING_NEW", Finish.STOP),
        ("FINISH_REASON_UNSPECIFIED", None),
        (0, None),
        (99, None),
        ({}, None),
    ],
)
def test_endings(word: Any, finish: Finish | None) -> None:
    """Why an answer ended is said in our vocabulary, with Google's word beside it."""
    (delta,) = good(plain(json.dumps(text("a", finishReason=word)).encode()))
    assert (delta.text, delta.finish) == ("a", finish)
    assert delta.raw_finish == ({1: "STOP"}.get(word, word) if finish else None)


@pytest.mark.parametrize("word", ["OTHER", "RECITATION", "MALFORMED_FUNCTION_CALL", "NO_IMAGE", "LANGUAGE", 9])
def test_faults(word: Any) -> None:
    """An ending that is the model's fault is a failure, with Google's words."""
    body = json.dumps(answer(finishReason=word, finishMessage="why")).encode()
    failure = failed(plain(body))
    assert failure.kind is FailureKind.MODEL_FAULT
    assert failure.again is (word != "LANGUAGE")
    assert failure.message.endswith(": why")
    assert failed(streamed(sse(json.loads(body)))) == failure


def test_a_limited_account_is_denied() -> None:
    """An account that Google has limited is no fault of the model."""
    assert failed(plain(json.dumps(answer(finishReason="PUP_LIMITED_DISABLED")).encode())).kind is FailureKind.DENIED


@pytest.mark.parametrize("ask", [plain, lambda body: streamed(sse(json.loads(body)))], ids=["plain", "streamed"])
def test_a_blocked_prompt_is_a_refusal(ask: Any) -> None:
    """An answer without candidates says why the prompt was blocked."""
    feedback = {"blockReason": "SAFETY", "blockReasonMessage": "dangerous"}
    failure = failed(ask(json.dumps({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}}).encode()))
    assert (failure.kind, failure.code) == (FailureKind.CONTENT_POLICY, "SAFETY")
    assert failure.message == "the prompt was blocked (SAFETY): dangerous"


def test_a_filtered_answer_keeps_its_words() -> None:
    """What Google says of an answer that it held back is the refusal."""
    (delta,) = good(plain(json.dumps(answer(finishReason="SPII", finishMessage="private")).encode()))
    assert (delta.refusal, delta.finish) == ("private", Finish.CONTENT_FILTER)


def test_a_stream_ends_when_it_said_why() -> None:
    """There is no end marker: without a finish reason a stream is truncated, for each candidate."""
    assert failed(streamed(sse(text("a")))).kind is FailureKind.TRUNCATED
    assert failed(streamed()).kind is FailureKind.TRUNCATED
    assert failed(streamed(b" \r\n")).kind is FailureKind.TRUNCATED
    reader = decoder(Request(model="m", stream=True), TARGET)
    assert isinstance(reader.feed(sse(text("a", finishReason="STOP"))), list) and not reader.done
    assert reader.close() == [] and reader.done
    two = {"candidates": [{"index": 0, "finishReason": "STOP"}, {"index": 1, "content": {"parts": [{"text": "b"}]}}]}
    assert failed(streamed(sse(two))).kind is FailureKind.TRUNCATED


def test_a_last_event_may_lack_its_line_end() -> None:
    """An end without an empty line counts; a torn one after the end does not harm."""
    assert len(good(streamed(sse(text("a", finishReason="STOP")).rstrip()))) == 1
    assert len(good(streamed(sse(text("a", finishReason="STOP")), b'data: {"candi'))) == 1
    assert failed(streamed(sse(text("a")), b'data: {"candi')).kind is FailureKind.TRUNCATED


# ------------------------------------------------------------------------- errors

BUSY = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(BUSY).encode(),
        json.dumps([BUSY]).encode(),
        sse(text("a"), BUSY),
        sse(text("a")) + json.dumps(BUSY, indent=2).encode(),
        sse(text("a")) + json.dumps([BUSY], indent=2).encode() + b"\r\n\r\n",
        sse(text("a")) + b"data: " + json.dumps(BUSY).encode(),
        json.dumps([text("a"), BUSY], indent=2).encode(),
        b'data: {"candidates": 5}\n\n' + sse(BUSY),
    ],
    ids=["body", "list of one", "event", "bare", "bare list", "last event", "array", "after nonsense"],
)
def test_errors_within_an_answer(body: bytes) -> None:
    """An error under status 200 is found wherever Google puts it, however the bytes are cut."""
    splits = [[body], [body[i : i + 1] for i in range(len(body))], reading.cut(body, random.Random(1), 4)]
    assert {failed(streamed(*pieces)).kind for pieces in splits} == {FailureKind.OVERLOADED}
    assert failed(plain(body)).kind is FailureKind.OVERLOADED


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"nonsense", b"5", b'"a"', b"{}", b'{"candidates": []}', b'{"promptFeedback": {}}']
)
def test_what_is_no_answer(body: bytes) -> None:
    """Pages, nothing and nonsense are malformed."""
    assert failed(plain(body)).kind is FailureKind.MALFORMED


@pytest.mark.parametrize("body", [b"<html>", b"data: <\n\n", b'{"a"', b"data: 5\n\n"])
def test_what_is_no_stream(body: bytes) -> None:
    """The same in place of a stream."""
    assert failed(streamed(body)).kind is FailureKind.MALFORMED


def test_answers_are_not_endless() -> None:
    """No answer, event or element takes more memory than its limit."""
    half = b" " * (EVENT_BYTES_MAX // 2 + 1)
    assert failed(streamed(b"data: {", half, half)).kind is FailureKind.MALFORMED
    assert failed(streamed(b'[{"a": "', half, half)).kind is FailureKind.MALFORMED
    assert failed(plain(b"{", b" " * BODY_BYTES_MAX)).kind is FailureKind.MALFORMED
    reader = decoder(Request(model="m", stream=True), TARGET)
    for _ in range(3):
        assert reader.feed(b": " + b"x" * 40_000 + b"\n\n") == []
    assert failed(reader.close()).kind is FailureKind.TRUNCATED  # type: ignore[arg-type]


def test_odd_fields_are_passed_over() -> None:
    """A field of a wrong type costs itself, not the answer."""
    odd = {
        "candidates": [7, {"content": {"parts": [5, {"text": "a", "thoughtSignature": 1}, {"functionCall": 3}]},
                           "finishReason": "STOP", "index": "x"}],
        "modelVersion": 3, "usageMetadata": {"promptTokenCount": "x", "candidatesTokenCount": 2,
                                             "promptTokensDetails": 3},
    }  # fmt: skip
    (delta,) = good(plain(json.dumps(odd).encode()))
    assert (delta.text, delta.finish, delta.model, delta.choice) == ("a", Finish.STOP, "", 0)
    assert delta.usage == Usage(output_tokens=2)
    assert good(plain(json.dumps({"candidates": [{"content": 5}], "modelVersion": 1}).encode()))[0].text == ""
    assert good(plain(json.dumps(text("a") | {"usageMetadata": 7}).encode()))[0].usage is None


# ----------------------------------------------------------- streams in other shapes


def test_an_array_is_a_stream() -> None:
    """What comes without `alt=sse` is read as its events would be, and goes on as events."""
    body = json.dumps([text('a "{\\'), text("b}\u2028"), text("", finishReason="STOP")], indent=1).encode()
    whole = good(streamed(body))
    assert fold(whole).text == 'a "{\\b}\u2028'
    for count in range(1, 9):
        assert streamed(*reading.cut(body, random.Random(count), count)) == whole
    assert streamed(*(body[i : i + 1] for i in range(len(body)))) == whole
    assert good(streamed(b"".join(delta.raw for delta in whole))) == whole


def test_one_kind_of_answer_in_place_of_the_other() -> None:
    """A body where a stream was asked for, and a stream where a body was, are read all the same."""
    body = json.dumps(text("a", finishReason="STOP")).encode()
    (delta,) = good(streamed(body[:9], body[9:]))
    assert (delta.text, delta.raw) == ("a", b"")
    steps = good(plain(sse(text("a"), text("b", finishReason="STOP"))))
    assert (fold(steps).text, [step.raw for step in steps]) == ("ab", [b"", b""])
    assert failed(plain(sse(text("a")))).kind is FailureKind.TRUNCATED
    assert failed(plain(sse(BUSY))).kind is FailureKind.OVERLOADED


def test_several_candidates_go_their_own_ways() -> None:
    """Each candidate of a chunk is a step of its own answer, with an event of its own; usage is counted once."""
    both = {"candidates": [{"index": i, "content": {"parts": [{"text": w}]}, "finishReason": "STOP"}
                           for i, w in enumerate("ab")], "usageMetadata": {"promptTokenCount": 1}}  # fmt: skip
    steps = good(streamed(sse(both)))
    assert [(step.choice, step.text, step.usage is None) for step in steps] == [(0, "a", False), (1, "b", True)]
    for step in steps:
        (again,) = good(streamed(step.raw))
        assert (again.choice, again.text) == (step.choice, step.text)
    assert [(d.choice, d.text, bool(d.raw)) for d in good(plain(json.dumps(both).encode()))] == [
        (0, "a", True), (1, "b", False),
    ]  # fmt: skip
    for odd in (
        json.dumps(both).replace('"a"', '"a\t"'),
        json.dumps(both).replace('"candidates": [', '"candidates": [5,'),
    ):
        steps = good(streamed(b"data: " + odd.encode() + b"\n\n"))
        assert [(step.choice, step.text.strip(), step.raw) for step in steps] == [(0, "a", b""), (1, "b", b"")]


# -------------------------------------------------------------------------- calls


def test_calls_get_ids() -> None:
    """A call without an id gets one that no other answer's call has; one with an id keeps it."""
    call = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "s"}
    steps = good(
        streamed(sse(answer(call, {"functionCall": {"name": "g", "id": "own"}}), answer(call, finishReason=1)))
    )
    calls = fold(steps).tool_calls
    assert [(c.id, c.name, c.arguments, c.signature) for c in calls] == [
        ("call_r1_0", "f", '{"a":1}', "s"), ("own", "g", "{}", ""), ("call_r1_2", "f", '{"a":1}', "s"),
    ]  # fmt: skip
    assert fold(steps).finish is Finish.TOOL_CALLS and fold(steps).raw_finish == "STOP"
    assert Calls().place({"name": "f"}, answer_id="") == ToolFragment(index=0, id="call_0", name="f", arguments="{}")


def test_arguments_bit_by_bit() -> None:
    """Bits of arguments are put where they belong, and told when all are there."""
    calls = Calls()
    assert calls.place({"args": {}}, answer_id="x") is None
    assert calls.place({"name": "f", "willContinue": True}, answer_id="x") == ToolFragment(
        index=0, id="call_x_0", name="f"
    )
    bits = [
        {"jsonPath": "$.place.name", "stringValue": "Be", "willContinue": True},
        {"jsonPath": "$.place.name", "stringValue": "rn"},
        {"jsonPath": "$.days[0].x", "boolValue": True},
        {"jsonPath": "$.days[0].y", "boolValue": False},
        {"jsonPath": "$.days[1]", "numberValue": 2},
        {"jsonPath": "$.days[9]", "numberValue": 2},
        {"jsonPath": "$['odd key']", "nullValue": "NULL_VALUE"},
        {"jsonPath": "$.days.name", "stringValue": "lost"},
        {"jsonPath": "$.place.name.deep[3]", "stringValue": "lost"},
        {"jsonPath": 5},
        {"jsonPath": "$"},
        7,
    ]
    assert calls.place({"partialArgs": bits, "willContinue": True}, answer_id="x") is None
    last = calls.place({}, answer_id="x")
    assert last is not None and (last.index, last.id) == (0, "")
    assert json.loads(last.arguments) == {
        "place": {"name": "Bern"}, "days": [{"x": True, "y": False}, 2], "odd key": None,
    }  # fmt: skip


def test_arguments_without_a_bottom() -> None:
    """A path that leads too deep for anybody costs the arguments, nothing else."""
    bit = {"jsonPath": "$" + ".a" * 20_000, "stringValue": "x"}
    fragment = Calls().place({"name": "f", "partialArgs": [bit]}, answer_id="")
    assert fragment is not None and fragment.arguments == "{}"


# -------------------------------------------------------------------------- usage


def test_usage() -> None:
    """Input holds what tools put into it, output the thoughts; cached, thought and heard are parts."""
    usage = {
        "promptTokenCount": 100, "toolUsePromptTokenCount": 7, "candidatesTokenCount": 20, "thoughtsTokenCount": 5,
        "cachedContentTokenCount": 40,
        "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 9}, {"modality": "TEXT", "tokenCount": 91}],
        "candidatesTokensDetails": [{"modality": 4, "tokenCount": 3}],
    }  # fmt: skip
    (delta,) = good(plain(json.dumps(text("a") | {"usageMetadata": usage}).encode()))
    known = Usage(input_tokens=107, output_tokens=25, cached_tokens=40, reasoning_tokens=5, input_audio_tokens=9,
                  output_audio_tokens=3)  # fmt: skip
    assert delta.usage == known
    bare = good(streamed(sse({"usageMetadata": usage}, text("a", finishReason="STOP"))))
    assert (bare[0].usage, bare[0].has_content) == (known, False)


def test_thoughts_and_media() -> None:
    """Thoughts are kept apart from words, with what signs them; pictures are counted."""
    parts = [{"text": "hm", "thought": True}, {"inlineData": {"data": "x"}}, {"text": "a", "thoughtSignature": "s"}]
    (delta,) = good(plain(json.dumps(answer(*parts)).encode()))
    assert (delta.reasoning, delta.text, delta.signature, delta.media) == ("hm", "a", "s", 1)


# ------------------------------------------------------------------------ writing


def write(*deltas: Delta, stream: bool = False, outcome: Outcome = OUTCOME) -> list[Any]:
    """The JSON values that a caller gets for these deltas."""
    assert FORMAT.writer is not None
    body = FORMAT.writer(Request(model="m", stream=stream)).whole(list(deltas), outcome).decode()
    return [json.loads(line[5:]) for line in body.split("\r\n\r\n") if line] if stream else [json.loads(body)]


def test_foreign_answers_are_written_anew() -> None:
    """Words, thoughts, calls, usage and ending of another format's answer are said in this one."""
    steps = [
        Delta(reasoning="hm", id="i", model="other"),
        Delta(text="a"),
        Delta(tool_calls=(ToolFragment(index=0, id="c", name="f", arguments='{"a"'),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments=":1}"),)),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
        Delta(usage=Usage(input_tokens=3, output_tokens=5, reasoning_tokens=2, cached_tokens=1, input_audio_tokens=1)),
    ]
    call = {"functionCall": {"id": "c", "name": "f", "args": {"a": 1}}}
    usage = {"promptTokenCount": 3, "candidatesTokenCount": 3, "totalTokenCount": 8, "thoughtsTokenCount": 2,
             "cachedContentTokenCount": 1, "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}]}  # fmt: skip
    chunks = write(*steps, stream=True)
    assert [chunk["candidates"][0]["content"]["parts"] for chunk in chunks] == [
        [{"text": "hm", "thought": True}], [{"text": "a"}], [call],
    ]  # fmt: skip
    assert (chunks[-1]["candidates"][0]["finishReason"], chunks[-1]["usageMetadata"]) == ("STOP", usage)
    assert {(chunk["responseId"], chunk["modelVersion"]) for chunk in chunks} == {("i", "other")}
    (body,) = write(*steps)
    assert body["candidates"] == [{
        "content": {"parts": [{"text": "hm", "thought": True}, {"text": "a"}, call], "role": "model"},
        "index": 0, "finishReason": "STOP",
    }]  # fmt: skip
    assert (body["usageMetadata"], body["responseId"]) == (usage, "i")


@pytest.mark.parametrize("stream", [False, True])
def test_endings_are_written(stream: bool) -> None:
    """Each of our endings has Google's word, and Google's own word is kept."""
    words = {Finish.STOP: "STOP", Finish.LENGTH: "MAX_TOKENS", Finish.CONTENT_FILTER: "SAFETY", Finish.ERROR: "OTHER"}
    for finish, word in words.items():
        ended = write(Delta(text="a"), Delta(finish=finish, raw_finish="x"), stream=stream)[-1]
        assert ended["candidates"][0]["finishReason"] == word
    (own,) = OWN_FINISHES & {"BLOCKLIST"}
    ended = write(Delta(text="a"), Delta(finish=Finish.CONTENT_FILTER, raw_finish=own), stream=stream)[-1]
    assert ended["candidates"][0]["finishReason"] == "BLOCKLIST"
    assert write(stream=stream)[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("arguments", ["{", "[1]"])
def test_arguments_that_are_none(arguments: str) -> None:
    """A call whose arguments are no object ends an answer as Google ends it then."""
    call = Delta(tool_calls=(ToolFragment(index=0, id="c", name="f", arguments=arguments),), finish=Finish.TOOL_CALLS)
    for stream in (False, True):
        (candidate,) = write(call, stream=stream)[-1]["candidates"]
        assert (candidate["finishReason"], candidate["content"]["parts"]) == ("MALFORMED_FUNCTION_CALL", [{"text": ""}])
        assert "f are no JSON object" in candidate["finishMessage"]


def test_media_and_refusals_are_written() -> None:
    """Pictures go out as bytes or address, a refusal as the words that it is."""
    outputs = (Output(kind="image", data=b"a", media_type="image/png"), Output(kind="image", url="u", media_type="x/y"))
    (body,) = write(Delta(refusal="no", outputs=outputs))
    assert body["candidates"][0]["content"]["parts"] == [
        {"text": "no"},
        {"inlineData": {"mimeType": "image/png", "data": "YQ=="}},
        {"fileData": {"mimeType": "x/y", "fileUri": "u"}},
    ]


def test_a_rescue_goes_on_in_the_same_stream() -> None:
    """Behind bytes that were passed on comes what another format said, under the first one's name, and one end."""
    (first,) = good(decode_chunk(text("a ")))
    chunks = write(first, Delta(text="b", id="z", model="y"), Delta(finish=Finish.STOP), stream=True, outcome=AGAIN)
    assert [c["candidates"][0]["content"]["parts"][0]["text"] for c in chunks] == ["a ", "b", ""]
    assert {chunk["responseId"] for chunk in chunks} == {"r1"}
    assert chunks[-1]["unbroken"]["failover"] is True
    trimmed = Delta(
        text="a", signature="s", format="gemini", tool_calls=(ToolFragment(index=0, signature="t", name="f"),)
    )
    parts = [part for chunk in write(trimmed, stream=True) for part in chunk["candidates"][0]["content"]["parts"]]
    assert [part["thoughtSignature"] for part in parts] == ["s", "t"]
    (whole,) = good(decode_chunk(text("a", finishReason="STOP")))
    ended = write(whole, stream=True, outcome=AGAIN)
    assert "candidates" not in ended[-1] and ended[-1]["unbroken"]["attempts"] == 2


def decode_chunk(chunk: Any) -> list[Delta]:
    reader = decoder(Request(model="m", stream=True), TARGET)
    found = reader.feed(sse(chunk))
    assert isinstance(found, list)
    return found


def test_several_answers_are_written() -> None:
    """Each of several answers has its own candidate."""
    steps = [Delta(text=word, choice=i, finish=Finish.STOP) for i, word in enumerate("ab")]
    (body,) = write(*steps)
    assert [(c["index"], c["content"]["parts"][0]["text"]) for c in body["candidates"]] == [(0, "a"), (1, "b")]
    ends = write(*steps, stream=True)[-1]["candidates"]
    assert [(c["index"], c["finishReason"]) for c in ends] == [(0, "STOP"), (1, "STOP")]


def test_a_break_is_an_error_in_the_stream() -> None:
    """A stream that breaks says so, with `error` where clients look for it."""
    assert FORMAT.writer is not None
    failure = Failure(kind=FailureKind.STALLED, message="no more came")
    for stream in (False, True):
        told = FORMAT.writer(Request(model="m", stream=stream)).broken(failure, OUTCOME)
        value = json.loads(told.removeprefix(b"data: "))
        assert value["error"] == {"code": 504, "message": "no more came", "status": "DEADLINE_EXCEEDED"}
        assert next(iter(value)) == "error"


# ------------------------------------------------------------------------ anybody

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats(allow_nan=False) | st.text(max_size=5)
    | st.sampled_from(["STOP", "SAFETY", "OTHER", "$.a[2].b", "$[0]"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from([
            "candidates", "content", "parts", "text", "thought", "thoughtSignature", "functionCall", "name", "args",
            "willContinue", "partialArgs", "jsonPath", "stringValue", "finishReason", "index", "usageMetadata",
            "promptFeedback", "blockReason", "promptTokenCount", "promptTokensDetails", "modality", "error", "code",
            "role", "mode", "threshold", "taskType", "modelVersion", "responseId", "finishMessage", "inlineData",
            "functionResponse", "response", "fileData", "fileUri", "mimeType", "data", "functionDeclarations",
            "parameters", "type", "nullable", "properties", "propertyOrdering", "thinkingConfig", "thinkingLevel",
            "thinkingBudget", "responseSchema", "topK", "stopSequences", "allowedFunctionNames", "id",
        ]),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(st.lists(JSON, max_size=4), st.booleans(), st.randoms(use_true_random=False))
def test_no_json_raises(values: list[Any], stream: bool, rng: random.Random) -> None:
    """Whatever JSON comes, in whatever frame and split, gives deltas or a failure, which can be written again."""
    for body in (sse(*values), json.dumps(values).encode(), json.dumps(values[0] if values else {}).encode()):
        found = reading.read(decoder(Request(model="m", stream=stream), TARGET), reading.cut(body, rng, 3))
        assert FORMAT.writer is not None
        if isinstance(found, list):
            FORMAT.writer(Request(model="m", stream=stream)).whole(found, OUTCOME)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([b"data: {", b"[{", b'"\\', b"}", b"\r\n\r\n", b'{"error"'])))
def test_no_bytes_raise(pieces: list[bytes]) -> None:
    """Whatever bytes come give deltas or a failure."""
    for stream in (False, True):
        reading.read(decoder(Request(model="m", stream=stream), TARGET), pieces)
    elements = Elements()
    for piece in pieces:
        elements.feed(piece)
