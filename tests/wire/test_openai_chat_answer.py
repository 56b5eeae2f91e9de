"""The OpenAI chat format's answers: read from providers, written to callers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Request, Target, ToolCall, ToolFragment, Usage, fold
from unbroken.wire import Next, Outcome, Writer
from unbroken.wire.openai_chat import FORMAT, decoder
from unbroken.wire.whole import BODY_BYTES_MAX

TARGET = Target(name="t", provider="p", model="m")
PLAIN = Request(model="m")
STREAM = Request(model="m", stream=True)
QUIET = Outcome(request_id="r1", target="p/m", attempts=1, failover=False)
RESCUED = Outcome(request_id="r1", target="p/m", attempts=2, failover=True, rescued=True)


def event(value: Any) -> bytes:
    return b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n"


def chunk(delta: Any = None, finish: Any = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "model": "mm", "created": 5, "choices": [choice], **more}


def plain(message: Any, finish: Any = "stop", **more: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "mm", "choices": [{"index": 0, "message": message, "finish_reason": finish}], **more}


DONE = b"data: [DONE]\n\n"
WORD = event(chunk({"content": "Hello"}))
BARE = event({"id": "c1", "choices": [{"index": 0, "delta": {"content": "Hello"}}]})
STOP = event(chunk({}, "stop"))


def read(body: bytes, request: Request = STREAM) -> list[Delta] | Failure:
    reader = decoder(request, TARGET)
    deltas = reader.feed(body)
    if isinstance(deltas, Failure):
        return deltas
    rest = reader.close()
    assert not isinstance(rest, Next)
    return rest if isinstance(rest, Failure) else deltas + rest


def good(body: bytes, request: Request = STREAM) -> list[Delta]:
    deltas = read(body, request)
    assert isinstance(deltas, list), deltas
    return deltas


def bad(body: bytes, request: Request = STREAM) -> FailureKind:
    failure = read(body, request)
    assert isinstance(failure, Failure)
    assert failure.message
    return failure.kind


def writer(request: Request) -> Writer:
    assert FORMAT.writer is not None
    return FORMAT.writer(request)


# ---------------------------------------------------------------- reading streams


def test_a_stream_is_read() -> None:
    """Each event becomes a delta with its bytes; the terminator ends the answer and is none."""
    usage = event({"id": "c1", "model": "mm", "choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 2}})
    reader = decoder(STREAM, TARGET)
    deltas = reader.feed(b": hi\n\n" + WORD + STOP + usage)
    assert deltas == [
        Delta(text="Hello", id="c1", model="mm", format="openai_chat", raw=WORD),
        Delta(finish=Finish.STOP, raw_finish="stop", id="c1", model="mm", format="openai_chat", raw=STOP),
        Delta(usage=Usage(input_tokens=3, output_tokens=2), id="c1", model="mm", format="openai_chat", raw=usage),
    ]
    assert reader.done is False
    assert reader.feed(DONE + WORD) == []
    assert reader.done is True
    assert reader.feed(WORD) == []
    assert reader.close() == []


@pytest.mark.parametrize(
    "body",
    [
        BARE + DONE,
        WORD + STOP,
        BARE + b"data: [DONE]",
        BARE + b"data:[DONE]\r\n",
        WORD + event({"choices": [], "usage": {"prompt_tokens": 1}}) + DONE,
        WORD + STOP[:-2],
        WORD + STOP + b'data: {"choices": [], "usa',
        WORD + STOP + WORD.replace(b"Hello", b""),
        DONE,
    ],
)
def test_complete_streams(body: bytes) -> None:
    """A finish reason or the terminator ends an answer; what is cut after it does no harm."""
    assert isinstance(read(body), list)


def test_a_terminator_after_events_that_all_deny_the_end_is_no_end() -> None:
    """An interrupted server says [DONE] although its every event said `finish_reason: null`: cut, not whole."""
    assert bad(WORD + DONE) is FailureKind.TRUNCATED


@pytest.mark.parametrize(
    "body", [b"", b"\n\n", b": alive\n\n", WORD, WORD + STOP[:-20], WORD + b"data: [DON", WORD + WORD[:-2]]
)
def test_cut_streams(body: bytes) -> None:
    """A body that ends without either was cut."""
    assert bad(body) is (FailureKind.TRUNCATED)


def test_every_choice_must_finish() -> None:
    """With several answers in one stream, the first finish reason is not the end."""
    first = event({"choices": [{"index": 0, "delta": {"content": "a"}}, {"index": 1, "delta": {"content": "b"}}]})
    assert bad(first + STOP) is FailureKind.TRUNCATED
    assert isinstance(read(first + STOP + event({"choices": [{"index": 1, "finish_reason": "stop"}]})), list)


def test_several_choices_in_one_event_come_apart() -> None:
    """Each delta carries an event of its own, with unknown fields kept and usage only once."""
    choices = [{"index": i, "delta": {"content": str(i)}, "x": i} for i in (0, 1)]
    deltas = good(event({"y": 1, "choices": choices, "usage": {"prompt_tokens": 1}}) + DONE)
    assert [(d.choice, d.text, d.usage is None) for d in deltas] == [(0, "0", False), (1, "1", True)]
    events = [json.loads(d.raw[6:]) for d in deltas]
    assert [e["choices"] for e in events] == [[choices[0]], [choices[1]]]
    assert [e.get("usage") for e in events] == [{"prompt_tokens": 1}, None]
    assert events[1]["y"] == 1
    odd = good(event({"id": 7, "choices": [*choices, 7]}) + DONE)
    assert [d.raw for d in odd] == [b"", b""]
    odd = good(event(b'{"choices": [{"index": 0}, {"index": 1}], "\\ud800": 1}') + DONE)
    assert [d.raw for d in odd] == [b"", b""]
    assert bad(event({"choices": [choices[0], {"index": 1, "finish_reason": "error"}]})) is FailureKind.SERVER


@pytest.mark.parametrize(
    ("delta", "expected"),
    [
        ({"content": "a", "refusal": "no"}, Delta(text="a", refusal="no")),
        ({"content": None, "reasoning_content": "r"}, Delta(reasoning="r")),
        ({"content": "", "reasoning": "r", "reasoning_content": None}, Delta(reasoning="r")),
        ({"content": 7, "reasoning": 8, "refusal": 9}, Delta(text="7")),
        ({"content": {"a": [1, "é"]}}, Delta(text='{"a":[1,"é"]}')),
        (
            {"content": ["a", {"type": "text", "text": "b"},
                         {"type": "thinking", "thinking": [{"type": "text", "text": "t"}]},
                         {"type": "thinking", "thinking": "u"}, {"type": "thinking", "thinking": 7},
                         {"type": "reference", "reference_ids": [1]}, 7]},
            Delta(text="ab", reasoning="tu"),
        ),
        ({"content": None, "audio": {"data": "AA"}, "images": [{}, {}]}, Delta(media=3)),
        ({"images": {}, "audio": {}}, Delta()),
        ({"tool_calls": 7, "function_call": {"name": "f"}}, Delta(tool_calls=(ToolFragment(index=0, name="f"),))),
        ({"tool_calls": [7, {"function": 7}, {"id": 7}]}, Delta(tool_calls=(ToolFragment(index=0),) * 2)),
        (
            {"tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": "é"}}}]},
            Delta(tool_calls=(ToolFragment(index=0, id="1", name="f", arguments='{"a":"é"}'),)),
        ),
        (7, Delta()),
        ([], Delta()),
    ],
)  # fmt: skip
def test_pieces_of_every_shape(delta: Any, expected: Delta) -> None:
    """What providers put into a delta is found; what has the wrong type is left out."""
    found = good(event({"choices": [{"delta": delta}]}) + DONE)[0]
    assert found == Delta(
        text=expected.text, reasoning=expected.reasoning, refusal=expected.refusal, media=expected.media,
        tool_calls=expected.tool_calls, format="openai_chat", raw=found.raw,
    )  # fmt: skip


@pytest.mark.parametrize(
    "value",
    [
        {"id": None, "model": 7, "choices": None},
        {"choices": {}, "usage": 7, "x_groq": {"usage": 8}},
        {"choices": "x", "usage": []},
        {"choices": [7, None]},
        {"choices": [{"index": "a", "delta": "x", "message": 7, "finish_reason": 7}]},
        {"choices": [{"index": -1, "finish_reason": ""}], "error": None},
        {"type": "ping"},
        {},
    ],
)
def test_odd_events_are_passed_on(value: Any) -> None:
    """An object with the wrong types in it is no reason to end an answer."""
    deltas = good(event(value) + DONE)
    assert not any(d.has_content or d.finish or d.usage or d.choice for d in deltas)
    assert b"".join(d.raw for d in deltas) == event(value)


@pytest.mark.parametrize("payload", [b"{", b"7", b"[]", b'"x"', b"{}x", b"nul", b"{\xff:1}", b"[" * 100_000])
def test_events_that_are_no_objects_are_malformed(payload: bytes) -> None:
    """What is no JSON object is no answer."""
    assert bad(WORD + event(payload)) is FailureKind.MALFORMED


def test_patience_with_bad_json() -> None:
    """Raw line ends in strings, halves of characters and bad UTF-8 are read; the bytes pass as they came."""
    deltas = good(
        event(b'{"choices":[{"delta":{"content":"a\tb"}}]}')
        + event(b'{"choices":[{"delta":{"content":"\\ud83d"}}]}')
        + event(b'{"choices":[{"delta":{"content":"\xff"}}]}')
        + DONE
    )
    assert [d.text for d in deltas] == ["a\tb", "\ufffd", "\ufffd"]
    assert b"\\ud83d" in writer(STREAM).write(deltas)


@pytest.mark.parametrize(
    ("word", "finish"),
    [
        ("stop", Finish.STOP), ("eos", Finish.STOP), ("end_turn", Finish.STOP), ("STOP", Finish.STOP),
        ("length", Finish.LENGTH), ("model_length", Finish.LENGTH), ("max_tokens", Finish.LENGTH),
        ("tool_calls", Finish.TOOL_CALLS), ("function_call", Finish.TOOL_CALLS),
        ("content_filter", Finish.CONTENT_FILTER), ("", None), ("null", None), (None, None), (7, None),
    ],
)  # fmt: skip
def test_finish_reasons(word: Any, finish: Finish | None) -> None:
    """Every provider's word for the end has one of ours, and stays beside it."""
    delta = good(event(chunk({}, word)) + STOP + DONE)[0]
    assert (delta.finish, delta.raw_finish) == (finish, word if finish else None)


@pytest.mark.parametrize("word", ["error", "abort", "insufficient_system_resource", "malformed_function_call"])
@pytest.mark.parametrize("request_", [STREAM, PLAIN])
def test_finish_reasons_that_are_failures(word: str, request_: Request) -> None:
    """An answer that its provider gave up is a failure, not a short answer."""
    body = event(chunk({}, word)) if request_.stream else json.dumps(plain({"content": "x"}, word)).encode()
    assert bad(body, request_) in (FailureKind.SERVER, FailureKind.OVERLOADED, FailureKind.MODEL_FAULT)


@pytest.mark.parametrize(
    "body",
    [
        event({"error": {"message": "boom", "type": "server_error", "code": 500}}),
        event({"error": "boom"}),
        event({"error": {"message": "boom"}, "choices": [{"delta": {"content": ""}, "finish_reason": "error"}]}),
        b"event: error\n" + event({"error": {"message": "boom"}}),
        b"event: error\n" + event({"oh": "no"}),
        b'{"error": {"message": "boom"}}',
        b'[{"error": {"message": "boom", "code": 503}}]',
    ],
)
def test_errors_under_200(body: bytes) -> None:
    """An error inside a good answer is a failure, whether as an event or in place of the stream."""
    assert isinstance(read(WORD + body if body[:1] not in b"{[" else body), Failure)
    assert isinstance(read(body), Failure)


def test_an_error_in_the_last_cut_event_counts() -> None:
    """An error event whose empty line never came is still the reason."""
    assert bad(WORD + b'data: {"error": {"message": "boom", "code": 503}}') is not FailureKind.TRUNCATED


def test_endless_events() -> None:
    """An event beyond the limit of framing is a failure."""
    reader = decoder(STREAM, TARGET)
    failure = reader.feed(b"data: " + b"x" * (9 * 1024 * 1024))
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED


# ---------------------------------------------------------------------- tool calls


def calls_of(*fragments: dict[str, Any]) -> list[tuple[str, str, str]]:
    deltas = good(b"".join(event(chunk({"tool_calls": [fragment]})) for fragment in fragments) + STOP + DONE)
    return [(call.id, call.name, call.arguments) for call in fold(deltas).tool_calls]


def call(arguments: str = "", *, index: int | None = None, id: str | None = None, name: str | None = None) -> Any:  # noqa: A002 (the wire's word)
    function = {"name": name, "arguments": arguments}
    return {"id": id, "function": function} if index is None else {"index": index, "id": id, "function": function}


def test_fragments_find_their_calls() -> None:
    """By index; without one by id, or to the last; with two ids at one index, apart."""
    two = [("1", "f", "{}"), ("2", "g", "[]")]
    assert two == calls_of(
        call(index=0, id="1", name="f"), call("{", index=0), call(index=1, id="2", name="g"), call("}", index=0),
        call("[]", index=1),
    )  # fmt: skip
    assert two == calls_of(call("{", id="1", name="f"), call("}"), call("[", id="2", name="g"), call("]", id="2"))
    assert two == calls_of(call("{}", index=0, id="1", name="f"), call("[]", index=0, id="2", name="g"))
    assert two == calls_of(
        call("{", index=0, id="1", name="f"), call("}", index=0, id="x"), call("[]", index=3, id="2", name="g")
    )
    assert two[:1] == calls_of(call("{", index=0, name="f"), call("}", index=0, id="1"))


# ------------------------------------------------------------------------- plain


def test_a_plain_answer_is_read() -> None:
    """One delta holds the body and what verdict, usage and cost need."""
    calls = [{"id": "1", "function": {"name": "f", "arguments": "{}"}}]
    body = json.dumps(plain({"content": "Hi", "tool_calls": calls}, usage={"prompt_tokens": 1})).encode()
    reader = decoder(PLAIN, TARGET)
    assert reader.feed(b"\n\n" + body[:20]) == []
    assert reader.feed(body[20:]) == []
    assert reader.done is False
    assert reader.close() == [
        Delta(
            text="Hi", tool_calls=(ToolFragment(index=0, id="1", name="f", arguments="{}"),),
            usage=Usage(input_tokens=1), finish=Finish.STOP, raw_finish="stop", id="c1", model="mm",
            format="openai_chat", raw=body, body=True,
        )
    ]  # fmt: skip
    assert reader.done is True


@pytest.mark.parametrize(
    "body",
    [
        b"", b" \n", b"<html>", b"nope", b"7", b"[]", b"{}", b'{"choices":null}', b'{"choices":[]}', b'{"choices":{}}',
        b'{"choices":[{}]}', b'{"choices":[{"message":null}]}', b'{"choices":[{"message":7}]}', b'{"choices":[{"mess',
    ],
)  # fmt: skip
def test_bodies_that_are_no_answer(body: bytes) -> None:
    """A body without a message is malformed, whatever its content type says."""
    assert bad(body, PLAIN) is FailureKind.MALFORMED
    if body.strip():
        assert bad(body, STREAM) in (FailureKind.MALFORMED, FailureKind.TRUNCATED)


def test_an_html_page_is_seen_at_once() -> None:
    """A stream that begins like HTML is not waited for."""
    reader = decoder(STREAM, TARGET)
    failure = reader.feed(b"\xef\xbb\xbf <!doctype html>")
    assert isinstance(failure, Failure)
    assert "HTML" in failure.message


def test_plain_answers_in_place_of_streams() -> None:
    """JSON where a stream was asked for is read when it is over, and can be streamed on."""
    body = json.dumps(plain({"content": "Hi"})).encode()
    reader = decoder(STREAM, TARGET)
    assert reader.feed(b"\n") == []
    assert reader.feed(body[:9]) == []
    assert reader.feed(body[9:]) == []
    deltas = reader.close()
    assert deltas == [
        Delta(text="Hi", finish=Finish.STOP, raw_finish="stop", id="c1", model="mm", format="openai_chat")
    ]
    assert reader.done is True


def test_streams_in_place_of_plain_answers() -> None:
    """A stream where JSON was asked for is folded into an answer; cut or failed it is a failure."""
    deltas = good(WORD + WORD + STOP + DONE, PLAIN)
    assert json.loads(writer(PLAIN).whole(deltas, QUIET))["choices"][0]["message"]["content"] == "HelloHello"
    assert bad(WORD, PLAIN) is FailureKind.TRUNCATED
    assert bad(WORD + event(b"{"), PLAIN) is FailureKind.MALFORMED


def test_bodies_have_a_limit() -> None:
    """A body that never ends fills no memory."""
    reader, piece = decoder(PLAIN, TARGET), bytes(BODY_BYTES_MAX // 2)
    *before, last = [reader.feed(part) for part in (piece, piece, b"x")]
    assert before == [[], []]
    assert isinstance(last, Failure) and last.kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"prompt_tokens": 3, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 1},
          "completion_tokens_details": {"reasoning_tokens": 1}},
         Usage(input_tokens=3, output_tokens=2, cached_tokens=1, reasoning_tokens=1)),
        ({"prompt_tokens": 3, "prompt_cache_hit_tokens": 2}, Usage(input_tokens=3, cached_tokens=2)),
        ({"input_tokens": 3, "output_tokens": 2}, Usage(input_tokens=3, output_tokens=2)),
        ({"prompt_tokens": 3, "cost": 0.5}, Usage(input_tokens=3, cost_usd=0.5)),
        ({"prompt_tokens": 3, "cost": {"total_cost": 0.5}}, Usage(input_tokens=3, cost_usd=0.5)),
        ({"prompt_tokens": 3, "cost_in_usd_ticks": 5_000_000_000}, Usage(input_tokens=3, cost_usd=0.5)),
        ({"prompt_tokens": -3, "completion_tokens": "x", "cost": "free"}, Usage()),
        ({}, None),
        (7, None),
    ],
)  # fmt: skip
def test_usage_of_every_provider(usage: Any, expected: Usage | None) -> None:
    """Tokens and cost are found where each provider puts them."""
    assert good(json.dumps(plain({}, usage=usage)).encode(), PLAIN)[0].usage == expected
    assert good(event({"choices": [], "usage": usage}) + DONE)[0].usage == expected
    assert good(event({"choices": [], "x_groq": {"usage": usage}}) + DONE)[0].usage == expected


# ------------------------------------------------------------------------- fuzzing

SHAPES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["choices", "delta", "message", "content", "index", "finish_reason", "tool_calls", "function", "arguments",
         "id", "usage", "error", "type", "text", "thinking", "x_groq", "prompt_tokens", "cost"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip
CHOICES = st.builds(lambda c: {"choices": c}, SHAPES) | st.builds(
    lambda d: {"choices": [{"delta": d, "message": d}]}, SHAPES
)
EVENTS = (SHAPES | CHOICES).map(event)
BODIES = st.one_of(
    st.binary(max_size=200),
    (SHAPES | CHOICES).map(lambda value: json.dumps(value).encode()),
    st.lists(EVENTS | st.binary(max_size=20) | st.just(DONE) | st.just(WORD), max_size=5).map(b"".join),
)


@given(BODIES, st.integers(0, 200), st.sampled_from([PLAIN, STREAM]))
def test_any_bytes_are_deltas_or_a_failure(body: bytes, cut: int, request: Request) -> None:
    """No bytes from a provider raise, and what they gave can be written in both ways."""
    reader = decoder(request, TARGET)
    deltas: list[Delta] = []
    for step in (reader.feed(body[:cut]), reader.feed(body[cut:]), reader.close()):
        if isinstance(step, Failure):
            return
        assert not isinstance(step, Next)
        deltas += step
    for asked in (PLAIN, STREAM):
        assert writer(asked).whole(deltas, RESCUED)
        assert writer(asked).whole([Delta(text=d.text, tool_calls=d.tool_calls) for d in deltas], RESCUED)


# ------------------------------------------------------------------ writing streams


def chunks(written: bytes) -> list[dict[str, Any]]:
    """The events, each accepted by the official SDK's own types."""
    events = [block[6:] for block in written.split(b"\n\n") if block and block != b"data: [DONE]"]
    values = [json.loads(item) for item in events]
    for value in values:
        ChatCompletionChunk.model_validate(value)
    return values


def test_a_same_format_stream_passes_as_it_came() -> None:
    """Bytes in, bytes out; nothing is added to a quiet answer but its end."""
    out = writer(STREAM)
    assert out.content_type.startswith("text/event-stream")
    deltas = good(WORD + STOP)
    assert out.write(deltas[:1]) == WORD
    assert out.write(deltas) == WORD + STOP
    assert out.end(QUIET) == DONE


def test_other_formats_are_encoded() -> None:
    """Text, thoughts, refusals, calls and the end become chunks that the official SDK accepts."""
    deltas = [
        Delta(text="Hel", id="x1", model="claude"),
        Delta(usage=Usage(input_tokens=1)),
        Delta(reasoning="hm", refusal="no"),
        Delta(tool_calls=(ToolFragment(index=0, id="1", name="f"), ToolFragment(index=0, arguments="{}"))),
        Delta(tool_calls=(ToolFragment(index=1, name="g"),), choice=1),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_use", usage=Usage(input_tokens=2, output_tokens=3)),
    ]
    out = writer(Request(model="m", stream=True, include_usage=True))
    values = chunks(b"".join(out.write([d]) for d in deltas) + out.end(QUIET))
    assert {(v["id"], v["created"], v["model"]) for v in values} == {("x1", 0, "claude")}
    assert [v["choices"][0]["delta"] for v in values[:-1]] == [
        {"role": "assistant", "content": "Hel"},
        {"reasoning_content": "hm", "refusal": "no"},
        {
            "tool_calls": [
                {"index": 0, "id": "1", "type": "function", "function": {"name": "f", "arguments": ""}},
                {"index": 0, "function": {"arguments": "{}"}},
            ]
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"index": 1, "id": "call_1", "type": "function", "function": {"name": "g", "arguments": ""}}
            ],
        },
        {},
    ]
    assert values[-2]["choices"][0]["finish_reason"] == "tool_calls"
    assert values[-1]["choices"] == []
    assert values[-1]["usage"]["total_tokens"] == 5


def test_usage_is_written_to_those_who_ask() -> None:
    """A caller who did not ask for usage gets none that was encoded, and nobody gets it twice."""
    out = writer(STREAM)
    assert out.write([Delta(usage=Usage(input_tokens=1))]) == b""
    assert out.end(QUIET) == DONE


def test_a_rescue_looks_like_one_stream() -> None:
    """Words that were trimmed carry on under the id, time and model of the first chunk; the end says what happened."""
    out = writer(STREAM)
    first = out.write(good(WORD + STOP + DONE)[:1])
    rest = out.write([Delta(text=" you", id="other", model="other")])
    values = chunks(first + rest + out.end(RESCUED))
    assert {(v["id"], v["created"], v["model"]) for v in values} == {("c1", 5, "mm")}
    assert values[1]["choices"][0]["delta"] == {"content": " you"}
    assert values[2]["choices"] == []
    assert values[2]["unbroken"] == {
        "request_id": "r1", "target": "p/m", "attempts": 2, "failover": True, "rescued": True,
    }  # fmt: skip


@pytest.mark.parametrize("raw", [event({"id": 7, "choices": []}), b"data: x\n\n", event({"choices": []})])
def test_odd_first_chunks_do_no_harm(raw: bytes) -> None:
    """Where the first chunk does not say who it is, the stream still has an id and a model."""
    out = writer(STREAM)
    out.write([Delta(format="openai_chat", raw=raw)])
    value = chunks(out.write([Delta(text="x")]))[0]
    assert (value["id"], value["model"]) == ("chatcmpl-unbroken", "m")


def test_plain_answers_are_streamed_on() -> None:
    """A body that goes to a caller who wanted a stream becomes chunks."""
    deltas = good(json.dumps(plain({"content": "Hi"})).encode(), PLAIN)
    value = chunks(writer(STREAM).whole(deltas, QUIET))[0]
    assert value["choices"][0]["delta"]["content"] == "Hi"
    assert value["choices"][0]["finish_reason"] == "stop"


def test_a_broken_stream_says_so() -> None:
    """The error comes as an event, with what happened, and no terminator."""
    failure = Failure(kind=FailureKind.TRUNCATED, message="cut")
    for request in (STREAM, PLAIN):
        written = writer(request).broken(failure, RESCUED)
        value = json.loads(written.removeprefix(b"data: "))
        assert value["error"] == {"message": "cut", "type": "server_error", "param": None, "code": "truncated"}
        assert value["unbroken"]["attempts"] == 2
        assert b"[DONE]" not in written


# -------------------------------------------------------------------- writing bodies


def whole(deltas: Sequence[Delta]) -> ChatCompletion:
    return ChatCompletion.model_validate(json.loads(writer(PLAIN).whole(deltas, QUIET)))


def test_a_same_format_body_passes_as_it_came() -> None:
    """The bytes of a body go out as they came in, with all its choices."""
    choices = [{"index": i, "message": {"content": str(i)}} for i in (0, 1)]
    body = json.dumps({"x": 1, "choices": choices}).encode()
    deltas = good(body, PLAIN)
    assert [(d.choice, d.text, d.body) for d in deltas] == [(0, "0", True), (1, "1", False)]
    out = writer(PLAIN)
    assert out.content_type == "application/json"
    assert out.whole(deltas, QUIET) == body
    assert out.write(deltas) == out.end(QUIET) == b""


def test_other_formats_become_a_body() -> None:
    """Folded deltas are an answer that the official SDK accepts."""
    deltas = [
        Delta(text="Hel", id="x1", model="claude"),
        Delta(text="lo", reasoning="hm"),
        Delta(text="Hi", choice=1, finish=Finish.STOP, raw_finish="end_turn"),
        Delta(
            finish=Finish.LENGTH, raw_finish="max_tokens", usage=Usage(input_tokens=1, output_tokens=2, cost_usd=0.1)
        ),
    ]
    answer = whole(deltas)
    assert (answer.id, answer.model) == ("x1", "claude")
    assert [c.message.content for c in answer.choices] == ["Hello", "Hi"]
    assert [c.finish_reason for c in answer.choices] == ["length", "stop"]
    assert answer.usage is not None
    assert answer.usage.total_tokens == 3


def test_bodies_without_words() -> None:
    """Calls and refusals leave the content empty, as OpenAI does; a missing end is filled in."""
    calls = whole([Delta(tool_calls=(ToolFragment(index=0, name="f", arguments="{}"),))]).choices[0]
    assert calls.message.content is None
    assert calls.message.tool_calls is not None
    assert calls.message.tool_calls[0].id == "call_0"
    assert calls.finish_reason == "tool_calls"
    refusal = whole([Delta(refusal="No.", finish=Finish.STOP)]).choices[0]
    assert (refusal.message.content, refusal.message.refusal, refusal.finish_reason) == (None, "No.", "stop")
    nothing = whole([])
    assert (nothing.id, nothing.model, nothing.choices[0].message.content) == ("chatcmpl-r1", "m", "")
    assert ToolCall(id="1", name="f", arguments="") not in fold([]).tool_calls


def test_deltas_of_another_format_are_never_passed_raw() -> None:
    """Only this format's bytes go to a caller of this format."""
    alien = Delta(text="Hi", format="other", raw=b"alien", body=True)
    assert b"alien" not in writer(PLAIN).whole([alien], QUIET)
    assert b"alien" not in writer(STREAM).write([alien])
