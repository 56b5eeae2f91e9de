"""Cohere's chat format: what is asked and answered, in its words and in those of others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Chat,
    Continuation,
    Delta,
    Finish,
    HttpReply,
    Media,
    Message,
    Mode,
    Opaque,
    Price,
    Reasoning,
    Request,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolFragment,
    ToolResult,
    Usage,
)
from unbroken.wire import Outcome
from unbroken.wire.cohere import FORMAT, read_request, write_request
from unbroken.wire.cohere_answer import decoder
from unbroken.wire.cohere_writer import write_failure, writer
from unbroken.wire.openai_chat import FORMAT as OPENAI
from wire import reading
from wire.asking import foreign, talk

TARGET = Target(name="t", provider="cohere", model="other", base_url="https://api.h.invalid", key="k")
OPENAIS = Target(name="o", provider="p", model="m", base_url="https://x.invalid/v1")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
RESCUED = Outcome(request_id="r", target="t", attempts=2, failover=True, rescued=True)
STREAM, PLAIN = Request(model="m", stream=True), Request(model="m")
PICTURE = "data:image/png;base64,iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"]}
HELLO = {"role": "user", "content": "hello"}


def asked(**fields: Any) -> Request:
    request = read_request("/v2/chat", json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())
    assert isinstance(request, Request), request
    return request


def body_of(request: Request, target: Target = TARGET, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(write_request(request, target, **more).body)
    return body


def read(request: Request, *pieces: bytes, target: Target = TARGET) -> list[Delta] | Failure:
    return reading.read(decoder(request, target), pieces)


# ---------------------------------------------------------------------- to a provider


@pytest.mark.parametrize("tail", ["", "/", "/v2", "/v2/", "/v1", "/compatibility/v1"])
def test_any_of_the_apis_addresses(tail: str) -> None:
    """The address of the API and of each of its versions lead to the same place."""
    target = Target(name="t", provider="cohere", model="m", base_url=f"https://h/behind{tail}", key="k")
    http = write_request(asked(), target)
    assert http.url == "https://h/behind/v2/chat"
    assert http.headers["authorization"] == "Bearer k"


def test_going_on() -> None:
    """An answer is gone on with as its last message, or asked for, or begun again."""
    seen = {"role": "assistant", "content": "Once upon"}
    for request in (asked(), foreign(talk())):
        prefixed = body_of(request, continuation=Continuation(Mode.PREFIX, "Once upon"))["messages"]
        assert prefixed == [HELLO, seen]
        asking = body_of(request, continuation=Continuation(Mode.ASK, "Once upon"))["messages"]
        assert asking[:2] == [HELLO, seen]
        assert "Once upon" in asking[2]["content"]
        assert body_of(request, continuation=Continuation(Mode.RESTART, "Once upon"))["messages"] == [HELLO]


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        (talk(tool_choice={"name": "look"}), "tool_choice"),
        (talk(parallel_calls=False, tools=(Tool(name="look"),)), "parallel_tool_calls"),
        (talk(extras={"logit_bias": {}}), "logit_bias"),
        (talk(stop=tuple("abcdef")), "stop"),
        (talk(presence_penalty=-1.0), "presence_penalty"),
        (talk(frequency_penalty=1.5), "frequency_penalty"),
        (talk(Message(role="user", parts=(Media(kind="audio", data="AAAA"),))), "audio"),
        (talk(Message(role="assistant", parts=(Media(kind="image", url=PICTURE),))), "image"),
        (talk(Message(role="tool", parts=(ToolResult(id="c", parts=(Media(kind="image", url=PICTURE),)),))), "image"),
        (talk(Message(role="user", parts=(Opaque("gemini", {}),))), "Opaque"),
    ],
)
def test_what_cannot_be_said(chat: Chat, words: str) -> None:
    """A target is not asked what this format has no words for, and the reason is given."""
    with pytest.raises(ValueError, match=words):
        write_request(foreign(chat), TARGET)


def test_several_answers_cannot_be_asked() -> None:
    """There is one answer, unless the operator lets the wish for more be dropped."""
    with pytest.raises(ValueError, match="no n"):
        write_request(foreign(talk(), choices=2), TARGET)
    free = Target(name="t", provider="cohere", model="m", base_url="https://h", may_drop=frozenset({"*"}))
    assert write_request(foreign(talk(extras={"x": 1}), choices=2), free).unsaid == ("n", "x")


def test_what_changes_no_answer_is_reported() -> None:
    """Hints without a word here, thoughts of others and a schema's name are left out, and told."""
    message = Message(role="assistant", parts=(Reasoning("hm", format="anthropic"), Text("hi")), extras={"name": "n"})
    failed = Message(role="tool", parts=(ToolResult(id="c", parts=(Text("no"),), failed=True),))
    chat = talk(
        message, failed, hints={"user": "u", "priority": 3}, schema={}, schema_name="answer", reasoning_effort="high"
    )
    http = write_request(foreign(chat), TARGET)
    assert set(http.unsaid) == {
        "user", "schema_name", "reasoning_effort", "messages[].name", "reasoning", "messages[].failed",
    }  # fmt: skip
    body = json.loads(http.body)
    assert body["messages"][0] == {"role": "assistant", "content": "hi"}
    assert (body["priority"], body["response_format"]) == (3, {"type": "json_object"})


@pytest.mark.parametrize(
    ("chat", "thinking"),
    [
        (talk(reasoning_effort="none"), {"type": "disabled"}),
        (talk(reasoning_effort="low"), {"type": "enabled", "token_budget": 1024}),
        (talk(reasoning_effort="medium"), {"type": "enabled"}),
        (talk(reasoning_effort="high"), {"type": "enabled"}),
        (talk(reasoning_tokens=77), {"type": "enabled", "token_budget": 77}),
        (talk(reasoning_tokens=0), {"type": "disabled"}),
        (talk(), None),
    ],
)
def test_thinking(chat: Chat, thinking: dict[str, Any] | None) -> None:
    """Efforts and budgets have Cohere's words."""
    assert body_of(foreign(chat)).get("thinking") == thinking


def test_values_at_the_rim() -> None:
    """Where others say all of it, Cohere wants a little less; strictness is one word for all tools."""
    assert body_of(foreign(talk(top_p=1.0)))["p"] == 0.99
    assert body_of(foreign(talk(top_p=0.0)))["p"] == 0.01
    tools = (Tool(name="a", strict=True), Tool(name="b"))
    assert body_of(foreign(talk(tools=tools)))["strict_tools"] is True
    assert body_of(foreign(talk(tools=tools[1:]))).get("strict_tools") is None
    assert "tool_choice" not in body_of(foreign(talk(tools=tools, tool_choice="auto")))


# ----------------------------------------------------------------------- from a caller


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"messages": None}, "messages"),
        ({"messages": []}, "messages"),
        ({"stream": 1}, "stream"),
        ({"model": ""}, "model"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong, at once where routing needs it."""
    failure = read_request("/v2/chat", json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)
    assert isinstance(read_request("/v2/chat", b'{"model":"m"}'), Failure)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": [{"role": "king", "content": "a"}]}, r"messages\[0\].*role"),
        ({"messages": [{"role": "user", "content": 7}]}, r"messages\[0\].*content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "text", "text": 7}]}]},
            r"messages\[0\].content\[0\].text",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, r"content\[0\].image_url"),
        ({"tools": [{"function": {}}]}, "tools"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"tool_choice": "auto"}, "tool_choice"),
        ({"messages": [{}]}, r"messages\[0\].*role"),
        ({"seed": "x"}, "seed"),
    ],
)
def test_bad_requests_name_the_field_later(fields: dict[str, Any], words: str) -> None:
    """What only another format needs is checked when it is read."""
    with pytest.raises(ValueError, match=words):
        _ = asked(**fields).chat


def test_what_routing_needs() -> None:
    """Needs, limits and thinking are known without reading the conversation."""
    picture = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": PICTURE}}]}
    form = {"type": "json_object", "json_schema": SCHEMA}
    request = asked(messages=[picture], tools=[{"function": {"name": "f"}}], response_format=form, max_tokens=9,
                    temperature=0.5, thinking={"type": "enabled"}, stream=True)  # fmt: skip
    assert request.needs == {"tools", "vision", "schema"}
    assert (request.thinks, request.max_tokens, request.temperature, request.stream) == (True, 9, 0.5, True)
    quiet = asked(thinking={"type": "disabled"}, max_tokens="x")
    assert (quiet.needs, quiet.thinks, quiet.max_tokens, quiet.include_usage) == (frozenset(), False, None, False)


def test_a_conversation_is_read() -> None:
    """Every field has its place in the canonical form, and goes out again as it came."""
    document = {"type": "document", "document": {"data": {"text": "A cat"}, "id": "1"}}
    fields: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "What is it?"},
                                         {"type": "image_url", "image_url": {"url": PICTURE, "detail": "low"}}]},
            {"role": "assistant", "tool_plan": "I will look.", "content": [{"type": "thinking", "thinking": "hm"}],
             "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q":"x"}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": [document]},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA}}],
        "strict_tools": True, "tool_choice": "REQUIRED",
        "response_format": {"type": "json_object", "json_schema": SCHEMA},
        "thinking": {"type": "enabled", "token_budget": 50}, "max_tokens": 9, "temperature": 0.5, "p": 0.9, "k": 5,
        "stop_sequences": ["END"], "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.2, "priority": 1,
        "safety_mode": "OFF", "documents": ["d"], "citation_options": {"mode": "FAST"}, "logprobs": True,
        "stream": False,
    }  # fmt: skip
    chat = asked(**fields).chat
    assert chat.messages[1].parts[1] == Media(kind="image", url=PICTURE, detail="low")
    assert chat.messages[2].parts == (
        Reasoning("hm", format="cohere"), ToolCall(id="c1", name="look", arguments='{"q":"x"}'),
    )  # fmt: skip
    assert chat.messages[2].extras == {"tool_plan": "I will look."}
    assert chat.messages[3].parts == (ToolResult(id="c1", parts=(Opaque("cohere", document),)),)
    assert set(chat.extras) == {"safety_mode", "documents", "citation_options", "logprobs"}
    assert (chat.top_k, chat.top_p, chat.tool_choice, chat.tools[0].strict) == (5, 0.9, "required", True)
    assert (chat.reasoning_tokens, chat.reasoning_effort, chat.hints) == (50, None, {"priority": 1})
    assert body_of(Request(model="m", read=lambda: chat)) == {**fields, "model": "other"}


words = st.text("ab é\n", min_size=1, max_size=6)


@given(words, words, st.sampled_from(["REQUIRED", "NONE", None]), st.sampled_from([SCHEMA, None]))
def test_there_and_back_by_openai(system: str, told: str, choice: str | None, schema: dict[str, Any] | None) -> None:
    """A conversation survives the way to OpenAI's format and back."""
    form = {"type": "json_object", **({"json_schema": schema} if schema else {})}
    fields = {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [
                {"type": "text", "text": told}, {"type": "image_url", "image_url": {"url": PICTURE}}]},
            {"role": "assistant", "content": told,
             "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"q":1}'}}]},
            {"role": "tool", "tool_call_id": "c1", "content": told},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "d", "parameters": SCHEMA}}],
        "max_tokens": 9, "temperature": 0.5, "p": 0.75, "stop_sequences": ["END"], "seed": 7, "frequency_penalty": 0.5,
        "response_format": form, "thinking": {"type": "disabled"}, "stream": False,
    } | ({"tool_choice": choice} if choice else {})  # fmt: skip
    there = OPENAI.write_request(asked(**fields), OPENAIS)
    assert OPENAI.read_request is not None
    back = OPENAI.read_request("/v1/chat/completions", there.body)
    assert isinstance(back, Request)
    assert body_of(back) == {**fields, "model": "other"}


# ----------------------------------------------------------------------------- answers


def event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def said(index: int, **content: str) -> bytes:
    return event("content-delta", index=index, delta={"message": {"content": content}})


def end(reason: str = "COMPLETE", **fields: Any) -> bytes:
    return event("message-end", delta={"finish_reason": reason, **fields})


START = event("message-start", id="a1", delta={"message": {"role": "assistant", "content": [], "tool_calls": []}})
OPEN = event("content-start", index=0, delta={"message": {"content": {"type": "text", "text": ""}}})
USAGE = {
    "billed_units": {"input_tokens": 10.0, "output_tokens": 2.0},
    "cached_tokens": 400,
    "tokens": {"input_tokens": 500.0, "output_tokens": 5.0, "reasoning_tokens": 3, "image_tokens": 50},
}


def test_a_stream() -> None:
    """Each event is a step that keeps its bytes; `message-end` is the end."""
    events = [START, OPEN, said(0, text="a"), event("citation-start", index=0, delta={"message": {"citations": {}}}),
              event("content-end", index=0), event("debug", prompt="p"), end("MAX_TOKENS", usage=USAGE)]  # fmt: skip
    deltas = read(STREAM, b"".join(events) + b"data: [DONE]\n\nand more")
    assert isinstance(deltas, list)
    assert [delta.raw for delta in deltas] == events
    assert [delta.text for delta in deltas] == ["", "", "a", "", "", "", ""]
    assert (deltas[0].id, deltas[-1].finish, deltas[-1].raw_finish) == ("a1", Finish.LENGTH, "MAX_TOKENS")
    assert deltas[-1].usage == Usage(input_tokens=550, output_tokens=5, cached_tokens=400, reasoning_tokens=3)


def test_what_is_paid_for() -> None:
    """What an answer costs is made of what is billed, not of the tokens around it; without a price nothing is said."""
    priced = Target(name="t", provider="cohere", model="m", price=Price(input_usd=2.5, output_usd=10.0))
    deltas = read(STREAM, end(usage=USAGE), target=priced)
    assert isinstance(deltas, list)
    assert deltas[0].usage is not None
    assert deltas[0].usage.cost_usd == pytest.approx((10 * 2.5 + 2 * 10) / 1e6)
    bare = read(STREAM, end(usage={"billed_units": {"input_tokens": 4, "output_tokens": None}}))
    assert isinstance(bare, list)
    assert bare[0].usage == Usage(input_tokens=4)


def test_plans_and_calls() -> None:
    """A plan is read as thoughts; calls come in pieces, by their index."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas = read(
        STREAM,
        event("tool-plan-delta", delta={"message": {"tool_plan": "I will"}}),
        event("tool-call-start", index=1, delta={"message": {"tool_calls": call}}),
        event("tool-call-delta", index=1, delta={"message": {"tool_calls": {"function": {"arguments": "{}"}}}}),
        event("tool-call-end", index=1) + end("TOOL_CALL"),
    )
    assert isinstance(deltas, list)
    assert deltas[0].reasoning == "I will"
    assert [fragment for delta in deltas for fragment in delta.tool_calls] == [
        ToolFragment(index=1, id="c1", name="f"), ToolFragment(index=1, arguments="{}"),
    ]  # fmt: skip
    assert deltas[-1].finish is Finish.TOOL_CALLS
    body = {
        "id": "a",
        "message": {"tool_plan": "I will", "tool_calls": [call, {**call, "id": "c2"}]},
        "finish_reason": "TOOL_CALL",
    }
    plain = read(PLAIN, json.dumps(body).encode())
    assert isinstance(plain, list)
    assert (plain[0].reasoning, [fragment.id for fragment in plain[0].tool_calls]) == ("I will", ["c1", "c2"])


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (START + said(0, text="a") + end("ERROR", error="the model died"), FailureKind.SERVER, "the model died"),
        (START + end("ERROR", error="too many tokens: 5 > 4"), FailureKind.CONTEXT_LENGTH, "too many"),
        (START + end("TIMEOUT"), FailureKind.SERVER, "TIMEOUT"),
        (START + event("message-end", delta={"error": "bad"}), FailureKind.SERVER, "bad"),
        (START + b'data: {"message":"too many tokens: 5 > 4"}\n\n', FailureKind.CONTEXT_LENGTH, "too many"),
        (START + b"data: nonsense\n\n", FailureKind.MALFORMED, "JSON"),
        (START + said(0, text="a"), FailureKind.TRUNCATED, "message-end"),
        (START + said(0, text="a") + b"data: [DONE]\n\n", FailureKind.TRUNCATED, "message-end"),
        (START + end()[:-20], FailureKind.TRUNCATED, "message-end"),
        (b'{"message":"internal error","id":"x"}', FailureKind.SERVER, "internal error"),
        (b"<html>no</html>", FailureKind.MALFORMED, "HTML"),
        (b"", FailureKind.TRUNCATED, "message-end"),
    ],
)
def test_streams_that_fail(body: bytes, kind: FailureKind, message: str) -> None:
    """A finish that is a fault, an error in place of an event, and an end without `message-end` are failures."""
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        failure = read(STREAM, *pieces)
        assert isinstance(failure, Failure)
        assert failure.kind is kind
        assert message in failure.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"", FailureKind.MALFORMED), (b'{"message":"boom"}', FailureKind.SERVER), (b"{}", FailureKind.MALFORMED),
     (b'{"finish_reason":"TIMEOUT"}', FailureKind.SERVER),
     (b'{"message":{"content":[]},"finish_reason":"ERROR"}', FailureKind.SERVER)],
)  # fmt: skip
def test_bodies_that_fail(body: bytes, kind: FailureKind) -> None:
    """So are bodies without an answer."""
    failure = read(PLAIN, body)
    assert isinstance(failure, Failure)
    assert failure.kind is kind


def test_a_plain_answer_in_place_of_a_stream() -> None:
    """An answer that comes whole where a stream was asked for is an answer all the same."""
    body = b'{"id":"a","message":{"content":[{"type":"text","text":"hi"}]},"finish_reason":"COMPLETE"}'
    deltas = read(STREAM, b"\n" + body[:5], body[5:])
    assert isinstance(deltas, list)
    assert (deltas[0].text, deltas[0].finish, deltas[0].raw) == ("hi", Finish.STOP, b"")
    assert b"content-delta" in writer(STREAM).whole(deltas, OUTCOME)


# --------------------------------------------------------------------------- to a caller


def events_of(data: bytes) -> list[dict[str, Any]]:
    found = [block.partition(b"data: ")[2] for block in data.split(b"\n\n") if block]
    assert found[-1] == b"[DONE]"
    return [json.loads(item) for item in found[:-1]]


def kinds_of(events: list[dict[str, Any]]) -> list[tuple[str, Any]]:
    return [(found["type"], found.get("index")) for found in events]


def test_answers_of_other_formats() -> None:
    """Steps from elsewhere become parts, each with a start and an end, and one last event."""
    steps = [
        Delta(id="x"),
        Delta(reasoning="hm"),
        Delta(text="a"),
        Delta(text="b"),
        Delta(tool_calls=(ToolFragment(index=0, id="c1", name="f"),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments="{}"), ToolFragment(index=1, name="g", arguments="{}"))),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
        Delta(usage=Usage(input_tokens=3, output_tokens=2, cached_tokens=1)),
    ]
    out = writer(STREAM)
    events = events_of(out.write(steps) + out.end(OUTCOME))
    assert kinds_of(events) == [
        ("message-start", None), ("content-start", 0), ("content-delta", 0), ("content-end", 0),
        ("content-start", 1), ("content-delta", 1), ("content-delta", 1), ("content-end", 1),
        ("tool-call-start", 0), ("tool-call-delta", 0), ("tool-call-end", 0),
        ("tool-call-start", 1), ("tool-call-end", 1), ("message-end", None),
    ]  # fmt: skip
    assert events[-1]["delta"]["finish_reason"] == "TOOL_CALL"
    assert events[-1]["delta"]["usage"] == {
        "billed_units": {"input_tokens": 3, "output_tokens": 2}, "tokens": {"input_tokens": 3, "output_tokens": 2},
        "cached_tokens": 1,
    }  # fmt: skip
    whole = json.loads(writer(PLAIN).whole(steps, OUTCOME))
    assert whole["message"]["content"] == [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "ab"}]
    assert [call["id"] for call in whole["message"]["tool_calls"]] == ["c1", "call_1"]
    assert (whole["id"], whole["finish_reason"]) == ("x", "TOOL_CALL")


@pytest.mark.parametrize("index", [0, 3])
def test_a_rescue_goes_on_in_the_same_part(index: int) -> None:
    """Events that were passed on are followed by ours in the same part, and the end tells of it."""
    reader = decoder(STREAM, TARGET)
    begun = reader.feed(START + said(index, text="a"))
    assert isinstance(begun, list)
    out = writer(STREAM)
    data = out.write(begun) + out.write([Delta(text="b"), Delta(finish=Finish.STOP)]) + out.end(RESCUED)
    events = events_of(data)
    assert kinds_of(events)[1:] == [
        ("content-delta", index), ("content-delta", index), ("content-end", index), ("message-end", None),
    ]  # fmt: skip
    assert events[-1]["unbroken"]["rescued"] is True


PLAN = event("tool-plan-delta", delta={"message": {"tool_plan": "I will"}})


@pytest.mark.parametrize("last", [PLAN, event("content-end", index=2), event("content-end", index=2) + PLAN])
def test_a_rescue_begins_a_new_part(last: bytes) -> None:
    """Where no part is open, one is begun behind those that were."""
    begun = decoder(STREAM, TARGET).feed(START + last)
    assert isinstance(begun, list)
    out = writer(STREAM)
    events = events_of(out.write(begun) + out.write([Delta(text="b")]) + out.end(OUTCOME))
    start = next(found for found in events[len(begun) :] if found["type"] == "content-start")
    assert start["index"] == (3 if b"content-end" in last else 0)


def test_the_end_waits_until_it_is_certain() -> None:
    """`message-end` that was passed on goes out last, as it came or with what happened before."""
    deltas = read(STREAM, START + end(usage=USAGE))
    assert isinstance(deltas, list)
    out = writer(STREAM)
    assert out.write(deltas) == START
    assert out.end(OUTCOME) == end(usage=USAGE) + b"data: [DONE]\n\n"
    again = writer(STREAM)
    again.write(deltas)
    [ending] = events_of(again.end(RESCUED))
    assert (ending["delta"]["finish_reason"], ending["unbroken"]["attempts"]) == ("COMPLETE", 2)


def test_a_break_is_told_without_an_end() -> None:
    """A stream that breaks ends in an error, and says nowhere that it is complete."""
    out = writer(STREAM)
    data = out.write([Delta(text="a"), Delta(finish=Finish.STOP)])
    data += out.broken(Failure(kind=FailureKind.STALLED, message="it stopped"), OUTCOME)
    assert b"[DONE]" not in data
    assert b"COMPLETE" not in data
    failure = read(STREAM, data)
    assert isinstance(failure, Failure)
    assert failure.message == "it stopped"
    assert json.loads(writer(PLAIN).broken(failure, OUTCOME))["message"] == "it stopped"


def test_refusals_are_words() -> None:
    """A refusal is said, and why the answer ended."""
    deltas = [Delta(refusal="I will not."), Delta(finish=Finish.CONTENT_FILTER)]
    events = events_of(writer(STREAM).whole(deltas, OUTCOME))
    assert events[2]["delta"]["message"]["content"] == {"text": "I will not."}
    assert events[-1]["delta"]["finish_reason"] == "ERROR_TOXIC"


def test_failures_have_coheres_envelope() -> None:
    """Status, message and id."""
    reply = HttpReply(status=400, headers={}, body=b'{"message":"too many tokens: 5 > 4"}')
    failure = FORMAT.classify(reply)
    assert failure.kind is FailureKind.CONTEXT_LENGTH
    status, _, body = write_failure(failure, "req")
    assert (status, json.loads(body)) == (400, {"id": "req", "message": "too many tokens: 5 > 4"})


STARTS = (b'{"model":"m","messages":', b'data: {"type":"content-delta","delta":{"message":{"content":', START,
          b'data: {"type":"message-end","delta":{"finish_reason":"COMPLETE","usage":')  # fmt: skip


@given(st.binary(max_size=60) | st.builds(lambda head, b: head + b, st.sampled_from(STARTS), st.binary(max_size=30)))
def test_any_bytes_are_answers_or_failures(body: bytes) -> None:
    """No bytes raise, from either side."""
    assert isinstance(read(STREAM, body), list | Failure)
    assert isinstance(read(PLAIN, body), list | Failure)
    assert isinstance(read_request("/v2/chat", body), Request | Failure)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["text", "thinking", "image_url", "any"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["role", "content", "type", "text", "tool_calls", "function", "name", "image_url", "usage"]),
        inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@given(JSON, st.sampled_from(["messages", "tools", "tool_choice", "response_format", "thinking", "p", "documents"]))
def test_any_field_is_read_or_refused(value: Any, name: str) -> None:
    """Whatever a caller puts into a field, it is a conversation, a failure or a ValueError."""
    request = read_request("/v2/chat", json.dumps({"model": "m", "messages": [HELLO], name: value}).encode())
    if isinstance(request, Request):
        try:
            write_request(foreign(request.chat), TARGET)
        except ValueError as error:
            assert str(error)


@given(JSON, st.sampled_from(["content-delta", "tool-call-start", "message-end", "message-start"]))
def test_any_event_is_read(value: Any, kind: str) -> None:
    """Whatever an event holds, it is a step or a failure."""
    for fields in ({"delta": value}, {"delta": {"message": value, "usage": value}}, {"index": value}):
        assert isinstance(read(STREAM, event(kind, **fields)), list | Failure)
        assert isinstance(read(PLAIN, json.dumps({"message": value, "usage": value}).encode()), list | Failure)
