"""Ollama's own chat format: what is asked and answered, in its words and in those of others."""

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
from unbroken.wire.ollama import FORMAT, read_request, write_request
from unbroken.wire.ollama_answer import Lines, decoder
from unbroken.wire.ollama_writer import write_failure, writer
from unbroken.wire.openai_chat import FORMAT as OPENAI
from wire import reading
from wire.asking import foreign, talk

TARGET = Target(name="t", provider="ollama", model="other", base_url="http://h.invalid:11434")
OPENAIS = Target(name="o", provider="p", model="m", base_url="https://x.invalid/v1")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
RESCUED = Outcome(request_id="r", target="t", attempts=2, failover=True, rescued=True)
STREAM, PLAIN = Request(model="m", stream=True), Request(model="m")
PNG, JPEG = "iVBORw0KGgo=", "/9j/4AAQ"
SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}}
HELLO = {"role": "user", "content": "hello"}


def asked(**fields: Any) -> Request:
    request = read_request("/api/chat", json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())
    assert isinstance(request, Request), request
    return request


def body_of(request: Request, target: Target = TARGET, **more: Any) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(write_request(request, target, **more).body)
    return body


def read(request: Request, *pieces: bytes) -> list[Delta] | Failure:
    return reading.read(decoder(request, TARGET), pieces)


# ---------------------------------------------------------------------- to a provider


@pytest.mark.parametrize("tail", ["", "/", "/api", "/api/", "/v1", "/v1/"])
def test_any_of_the_servers_addresses(tail: str) -> None:
    """The address of the server, of its own API and of the compatible one lead to the same place."""
    target = Target(name="t", provider="ollama", model="m", base_url=f"http://h:11434/behind{tail}", key="k")
    http = write_request(asked(), target)
    assert http.url == "http://h:11434/behind/api/chat"
    assert http.headers["authorization"] == "Bearer k"
    queried = Target(name="t", provider="ollama", model="m", base_url=f"http://h{tail}?a=b")
    assert write_request(asked(), queried).url == "http://h/api/chat?a=b"


def test_a_prompt_is_not_shortened_in_silence() -> None:
    """A request from elsewhere is refused where it does not fit; a caller of this format decides itself."""
    assert body_of(foreign(talk()))["truncate"] is False
    assert "truncate" not in body_of(asked())
    assert body_of(foreign(talk(hints={"truncate": True})))["truncate"] is True


def test_streams_are_said() -> None:
    """What is not said streams at Ollama, so that both are said."""
    assert body_of(foreign(talk()))["stream"] is False
    assert body_of(foreign(talk(), stream=True))["stream"] is True
    assert asked().stream is asked().include_usage is True
    assert asked(stream=False).stream is False


def test_a_targets_context() -> None:
    """A target says with how much context its model is loaded."""
    target = Target(name="t", provider="ollama", model="m", base_url="http://h", options={"num_ctx": "16384"})
    assert body_of(foreign(talk(max_tokens=5)), target)["options"] == {"num_ctx": 16384, "num_predict": 5}


def test_going_on() -> None:
    """An answer is gone on with as its last message, or asked for, or begun again."""
    seen = {"role": "assistant", "content": "Once upon"}
    for request in (asked(), foreign(talk())):
        prefixed = body_of(request, continuation=Continuation(Mode.PREFIX, "Once upon"))["messages"]
        assert prefixed == [HELLO, seen]
        asking = body_of(request, continuation=Continuation(Mode.ASK, "Once upon"))["messages"]
        assert asking[:2] == [HELLO, seen]
        assert asking[2]["role"] == "user"
        assert "Once upon" in asking[2]["content"]
        assert body_of(request, continuation=Continuation(Mode.RESTART, "Once upon"))["messages"] == [HELLO]


@pytest.mark.parametrize(
    ("chat", "words"),
    [
        (talk(tool_choice="required"), "tool_choice"),
        (talk(tool_choice={"name": "look"}), "tool_choice"),
        (talk(parallel_calls=False, tools=(Tool(name="look"),)), "parallel_tool_calls"),
        (talk(tools=(Tool(name="look", strict=True),)), "strict"),
        (talk(extras={"logit_bias": {}}), "logit_bias"),
        (talk(Message(role="user", parts=(Media(kind="image", url="https://x.invalid/a.png"),))), "not as an address"),
        (talk(Message(role="user", parts=(Media(kind="audio", data="AAAA"),))), "audio"),
        (talk(Message(role="user", parts=(Opaque("gemini", {}),))), "Opaque"),
        (talk(Message(role="assistant", parts=(ToolCall(id="c", name="look", arguments="[1]"),))), "no JSON object"),
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
    free = Target(name="t", provider="ollama", model="m", base_url="http://h", may_drop=frozenset({"n"}))
    assert write_request(foreign(talk(), choices=2), free).unsaid == ("n",)


def test_what_changes_no_answer_is_reported() -> None:
    """Hints without a word here, thoughts of others and a schema's name are left out, and told."""
    message = Message(role="assistant", parts=(Reasoning("hm", format="anthropic"), Text("hi")), extras={"name": "n"})
    failed = Message(role="tool", parts=(ToolResult(id="c", parts=(Text("no"),), failed=True),))
    chat = talk(message, failed, hints={"user": "u"}, schema={}, schema_name="answer", reasoning_tokens=99)
    http = write_request(foreign(chat), TARGET)
    assert set(http.unsaid) == {
        "user", "schema_name", "reasoning_tokens", "messages[].name", "reasoning", "messages[].failed",
    }  # fmt: skip
    assert json.loads(http.body)["messages"][0] == {"role": "assistant", "content": "hi"}


@pytest.mark.parametrize(
    ("effort", "word"),
    [("none", False), ("minimal", "low"), ("low", "low"), ("medium", True), ("high", "high"), ("xhigh", "high")],
)
def test_thinking(effort: str, word: bool | str) -> None:
    """Efforts have Ollama's words; a budget is thinking or none."""
    assert body_of(foreign(talk(reasoning_effort=effort)))["think"] == word
    assert body_of(foreign(talk(reasoning_tokens=0)))["think"] is False
    assert body_of(foreign(talk(reasoning_tokens=100)))["think"] is True
    assert "think" not in body_of(foreign(talk()))


# ----------------------------------------------------------------------- from a caller


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"messages": None}, "messages"), ({"messages": []}, "messages"), ({"messages": "a"}, "messages"),
     ({"stream": 1}, "stream"), ({"options": []}, "options"), ({"model": ""}, "model")],
)  # fmt: skip
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong, at once where routing needs it."""
    failure = read_request("/api/chat", json.dumps({"model": "m", "messages": [HELLO], **fields}).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)
    assert isinstance(read_request("/api/chat", b'{"model":"m"}'), Failure)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": [{"role": "king", "content": "a"}]}, r"messages\[0\].*role"),
        ({"messages": [{"role": "user", "content": 7}]}, r"messages\[0\].*content"),
        ({"messages": [7]}, "messages"),
        ({"tools": [{"function": {}}]}, "tools"),
        ({"format": "xml"}, "format"),
        ({"think": "hard"}, "think"),
        ({"options": {"seed": "x"}}, "options.*seed"),
    ],
)
def test_bad_requests_name_the_field_later(fields: dict[str, Any], words: str) -> None:
    """What only another format needs is checked when it is read."""
    with pytest.raises(ValueError, match=words):
        _ = asked(**fields).chat


def test_what_routing_needs() -> None:
    """Needs, limits and thinking are known without reading the conversation."""
    picture = {"role": "user", "content": "see", "images": [PNG]}
    request = asked(messages=[picture], tools=[{"function": {"name": "f"}}], format=SCHEMA, think=True)
    assert request.needs == {"tools", "vision", "schema"}
    assert request.thinks
    quiet = asked(tools=[], format="json", think="low", options={"num_predict": -1, "temperature": "hot"})
    assert (quiet.needs, quiet.thinks, quiet.max_tokens, quiet.temperature) == (frozenset(), False, None, None)
    said = {"role": "user", "content": 'say "images": ["x"]'}
    assert asked(messages=[said]).needs == frozenset()


def test_a_conversation_is_read() -> None:
    """Every field has its place in the canonical form, and goes out again as it came."""
    fields: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "What is it?", "images": [PNG, JPEG]},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [
                {"id": "c1", "function": {"index": 0, "name": "look", "arguments": {"q": "x"}}}]},
            {"role": "tool", "content": "A cat", "tool_name": "look", "tool_call_id": "c1"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "Look.", "parameters": SCHEMA}}],
        "format": SCHEMA, "think": "high", "keep_alive": "5m", "logprobs": True, "truncate": False, "stream": False,
        "options": {"num_predict": 9, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "stop": ["END"], "seed": 7,
                    "presence_penalty": 0.1, "frequency_penalty": 0.2, "num_ctx": 4096, "mirostat": 1},
    }  # fmt: skip
    chat = asked(**fields).chat
    assert chat.messages[1].parts[1:] == (
        Media(kind="image", data=PNG, media_type="image/png"),
        Media(kind="image", data=JPEG, media_type="image/jpeg"),
    )
    assert chat.messages[2].parts == (
        Reasoning("hm", format="ollama"), ToolCall(id="c1", name="look", arguments='{"q":"x"}'),
    )  # fmt: skip
    assert chat.messages[3].parts == (ToolResult(id="c1", name="look", parts=(Text("A cat"),)),)
    assert chat.extras == {"logprobs": True, "options": {"num_ctx": 4096, "mirostat": 1}}
    assert (chat.max_tokens, chat.top_k, chat.stop, chat.reasoning_effort) == (9, 5, ("END",), "high")
    written = body_of(Request(model="m", read=lambda: chat))
    del fields["messages"][2]["tool_calls"][0]["function"]["index"]
    assert written == {**fields, "model": "other"}


def test_no_limit_is_no_limit() -> None:
    """Where Ollama's callers say -1, others say nothing."""
    assert asked(options={"num_predict": -1}).chat.max_tokens is None


def test_calls_without_ids_are_paired() -> None:
    """A result belongs to the first open call of its name, or to the first of all; each call gets an id."""
    calls: list[dict[str, Any]] = [{"function": {"name": name, "arguments": {}}} for name in ("a", "b", "a")]
    named = ("b", None, "a", "z")
    results = [{"role": "tool", "content": "a result", "tool_name": name} for name in named]
    chat = asked(messages=[HELLO, {"role": "assistant", "tool_calls": calls}, *results]).chat
    found = [(part.id, part.name) for m in chat.messages for part in m.parts if isinstance(part, ToolResult)]
    assert [part.id for part in chat.messages[1].parts if isinstance(part, ToolCall)] == ["call_1", "call_2", "call_3"]
    assert found == [("call_2", "b"), ("call_1", "a"), ("call_3", "a"), ("z", "z")]


words = st.text("ab é\n", min_size=1, max_size=6)


@given(words, words, st.dictionaries(words, st.integers() | words, max_size=2), st.sampled_from(["json", SCHEMA, None]))
def test_there_and_back_by_openai(system: str, told: str, arguments: dict[str, Any], form: Any) -> None:
    """A conversation survives the way to OpenAI's format and back."""
    fields = {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": told, "images": [PNG]},
            {"role": "assistant", "content": told,
             "tool_calls": [{"id": "c1", "function": {"name": "look", "arguments": arguments}}]},
            {"role": "tool", "content": told, "tool_name": "look", "tool_call_id": "c1"},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "description": "d", "parameters": SCHEMA}}],
        "options": {"num_predict": 9, "temperature": 0.5, "stop": ["END"], "seed": 7},
        "think": "low", "stream": False, "truncate": False,
    } | ({"format": form} if form else {})  # fmt: skip
    there = OPENAI.write_request(asked(**fields), OPENAIS)
    assert OPENAI.read_request is not None
    back = OPENAI.read_request("/v1/chat/completions", there.body)
    assert isinstance(back, Request)
    assert body_of(back) == {**fields, "model": "other"}


# ----------------------------------------------------------------------------- answers


def line(content: str = "", **fields: Any) -> bytes:
    said = {"role": "assistant", "content": content, **fields.pop("said", {})}
    return json.dumps({"model": "mm", "message": said, "done": False, **fields}).encode() + b"\n"


END = line(done=True, done_reason="stop", prompt_eval_count=3, eval_count=2)


def test_a_stream() -> None:
    """Each line is a step that keeps its bytes; the last one says why and how much."""
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    lines = [
        line("a", said={"thinking": "hm"}),
        line(said={"tool_calls": [call]}),
        line(said={"tool_calls": [call]}),
        END,
    ]
    deltas = read(STREAM, b"\n".join(lines))
    assert isinstance(deltas, list)
    assert [delta.raw for delta in deltas] == lines
    assert (deltas[0].text, deltas[0].reasoning, deltas[0].model) == ("a", "hm", "mm")
    assert [fragment for delta in deltas for fragment in delta.tool_calls] == [
        ToolFragment(index=0, name="f", arguments='{"a": 1}'), ToolFragment(index=1, name="f", arguments='{"a": 1}'),
    ]  # fmt: skip
    assert (deltas[-1].finish, deltas[-1].raw_finish) == (Finish.TOOL_CALLS, "stop")
    assert deltas[-1].usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("stop", Finish.STOP),
        ("length", Finish.LENGTH),
        ("load", Finish.STOP),
        (None, Finish.STOP),
        ("new", Finish.STOP),
    ],
)
def test_reasons(reason: str | None, finish: Finish) -> None:
    """Every reason ends an answer, and stays beside our word for it; none is one too, for old servers."""
    for request in (STREAM, PLAIN):
        deltas = read(request, line("a", done=True, done_reason=reason))
        assert isinstance(deltas, list)
        assert (deltas[-1].finish, deltas[-1].raw_finish) == (finish, reason)


@pytest.mark.parametrize(
    ("arguments", "text"), [(b'"{\\"a\\":1}"', '{"a":1}'), (b"null", "{}"), (b'{"a": "\xc3\xa9"}', '{"a": "é"}')]
)
def test_arguments(arguments: bytes, text: str) -> None:
    """Arguments are the text that they were; some servers give text already, or nothing."""
    call = b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":' + arguments + b'}}]},"done":true}'
    deltas = read(PLAIN, call)
    assert isinstance(deltas, list)
    assert deltas[0].tool_calls[0].arguments == text


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (line("a") + b'{"error":"llama runner process has terminated"}\n', FailureKind.SERVER),
        (line("a") + b'{"error":"the input length exceeds the context length"}', FailureKind.CONTEXT_LENGTH),
        (b"<html>", FailureKind.MALFORMED),
        (b"nonsense\n", FailureKind.MALFORMED),
        (b'{"status":"fine"}\n', FailureKind.MALFORMED),
        (line("a"), FailureKind.TRUNCATED),
        (line("a") + END[:-9], FailureKind.TRUNCATED),
        (b"", FailureKind.TRUNCATED),
    ],
)
def test_streams_that_fail(body: bytes, kind: FailureKind) -> None:
    """An error line, what is no line of an answer, and an end without the last line are failures."""
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))]):
        failure = read(STREAM, *pieces)
        assert isinstance(failure, Failure)
        assert failure.kind is kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"", FailureKind.MALFORMED), (b'{"error":"boom"}', FailureKind.SERVER), (line("a"), FailureKind.TRUNCATED),
     (b'{"done":true}', FailureKind.MALFORMED), (b'{"message":[],"done":true}', FailureKind.MALFORMED)],
)  # fmt: skip
def test_bodies_that_fail(body: bytes, kind: FailureKind) -> None:
    """So are bodies without an answer."""
    failure = read(PLAIN, body)
    assert isinstance(failure, Failure)
    assert failure.kind is kind


def test_what_follows_the_end_is_not_read() -> None:
    """The last line is the end, whatever comes after it."""
    deltas = read(STREAM, END + b"rubbish\n", b"and more")
    assert isinstance(deltas, list)
    assert [delta.finish for delta in deltas] == [Finish.STOP]


@given(st.lists(st.binary(max_size=12)), st.lists(st.integers(0, 150), max_size=8))
def test_lines_do_not_depend_on_packets(found: list[bytes], cuts: list[int]) -> None:
    """Any split of the bytes gives the same lines."""
    body = b"\n".join(found)
    places = sorted(min(cut, len(body)) for cut in cuts)
    pieces = [body[a:b] for a, b in zip([0, *places], [*places, len(body)], strict=True)]
    lines = Lines()
    taken: list[bytes] = []
    for piece in pieces:
        step = lines.feed(piece)
        assert isinstance(step, list)
        taken += step
    assert taken + lines.close() == [part.strip() for part in body.split(b"\n") if part.strip()]


def test_lines_have_a_limit() -> None:
    """A line that never ends fills no memory, whether it comes at once or in pieces."""
    assert isinstance(Lines(bytes_max=5).feed(b"123456"), Failure)
    assert isinstance(Lines(bytes_max=5).feed(b"123456\n"), Failure)
    lines = Lines(bytes_max=5)
    assert lines.feed(b"123") == []
    assert isinstance(lines.feed(b"456"), Failure)


# --------------------------------------------------------------------------- to a caller


def lines_of(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(part) for part in data.splitlines()]


def test_answers_of_other_formats() -> None:
    """Steps from elsewhere become lines; calls in pieces are put together for the last one."""
    out = writer(STREAM)
    steps = [
        Delta(text="a", reasoning="hm", model="mm"),
        Delta(id="x"),
        Delta(tool_calls=(ToolFragment(index=0, id="c1", name="f"),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments='{"a":'),)),
        Delta(tool_calls=(ToolFragment(index=0, arguments="1}"), ToolFragment(index=1, name="g", arguments="rubbish"))),
        Delta(finish=Finish.TOOL_CALLS, raw_finish="tool_calls"),
        Delta(usage=Usage(input_tokens=3, output_tokens=2)),
    ]
    said, last = lines_of(out.write(steps) + out.end(OUTCOME))
    assert (said["model"], said["message"], said["done"]) == (
        "mm", {"role": "assistant", "content": "a", "thinking": "hm"}, False,
    )  # fmt: skip
    assert last["message"]["tool_calls"] == [
        {"id": "c1", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
        {"function": {"index": 1, "name": "g", "arguments": {"arguments": "rubbish"}}},
    ]
    assert (last["done"], last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == (True, "stop", 3, 2)
    whole = json.loads(writer(PLAIN).whole(steps, OUTCOME))
    assert (whole["message"]["content"], whole["message"]["tool_calls"]) == ("a", last["message"]["tool_calls"])


def test_refusals_are_words() -> None:
    """A refusal is said, and the reason is not hidden."""
    deltas = [Delta(refusal="I will not."), Delta(finish=Finish.CONTENT_FILTER)]
    said, last = lines_of(writer(STREAM).whole(deltas, OUTCOME))
    assert (said["message"]["content"], last["done_reason"]) == ("I will not.", "content_filter")


def test_a_rescue_is_told_in_the_last_line() -> None:
    """Lines that were passed on are followed by ours; the end says that somebody else gave it."""
    reader = decoder(STREAM, TARGET)
    begun = reader.feed(line("a"))
    assert isinstance(begun, list)
    for rest in ([Delta(text="b"), Delta(finish=Finish.STOP)], reader.feed(END)):
        out = writer(STREAM)
        assert isinstance(rest, list)
        written = lines_of(out.write(begun) + out.write(rest) + out.end(RESCUED))
        assert "".join(part["message"]["content"] for part in written) in ("ab", "a")
        assert written[-1]["done"] is True
        assert written[-1]["unbroken"]["rescued"] is True
        assert [part["done"] for part in written[:-1]] == [False] * (len(written) - 1)


def test_a_break_is_told_without_an_end() -> None:
    """A stream that breaks ends in an error line, and no line says done."""
    out = writer(STREAM)
    data = out.write([Delta(text="a"), Delta(finish=Finish.STOP)])
    data += out.broken(Failure(kind=FailureKind.STALLED, message="it stopped"), OUTCOME)
    *_, last = lines_of(data)
    assert last["error"] == "it stopped"
    assert b'"done":true' not in data


def test_failures_have_ollamas_envelope() -> None:
    """Status and one sentence; a caller's own fault keeps the provider's status."""
    failure = FORMAT.classify(HttpReply(status=404, headers={}, body=b'{"error":"model \'x\' not found"}'))
    assert failure.kind is FailureKind.MODEL_MISSING
    status, headers, body = write_failure(failure, "req")
    assert (status, headers["x-request-id"], json.loads(body)) == (404, "req", {"error": "model 'x' not found"})


STARTS = (
    b'{"model":"m","messages":',
    b'{"message":{"content":',
    b'{"message":{"tool_calls":[{"function":{"name":"f","arguments":',
)


@given(st.binary(max_size=60) | st.builds(lambda head, b: head + b, st.sampled_from(STARTS), st.binary(max_size=30)))
def test_any_bytes_are_answers_or_failures(body: bytes) -> None:
    """No bytes raise, from either side, but ValueError where a conversation is read."""
    assert isinstance(read(STREAM, body), list | Failure)
    assert isinstance(read(PLAIN, body), list | Failure)
    request = read_request("/api/chat", body)
    assert isinstance(request, Request | Failure)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["role", "content", "tool_calls", "function", "name", "arguments", "images"]),
                        inner, max_size=3), max_leaves=12),
       st.sampled_from(["messages", "tools", "options", "format", "think", "keep_alive"]))  # fmt: skip
def test_any_field_is_read_or_refused(value: Any, name: str) -> None:
    """Whatever a caller puts into a field, it is a conversation, a failure or a ValueError."""
    request = read_request("/api/chat", json.dumps({"model": "m", "messages": [HELLO], name: value}).encode())
    if isinstance(request, Request):
        try:
            write_request(foreign(request.chat), TARGET)
        except ValueError as error:
            assert str(error)
