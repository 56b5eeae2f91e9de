"""The OpenAI chat format's requests, conversations and failures; its answers are tested beside this file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    ANCHOR_CHARS,
    Chat,
    Continuation,
    Delta,
    HttpRequest,
    Media,
    Message,
    Mode,
    Opaque,
    Reasoning,
    Request,
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
    anchor_of,
)
from unbroken.wire import format_for, format_named
from unbroken.wire.openai_chat import FORMAT, read_request, write_request
from unbroken.wire.openai_chat_messages import read_chat, write_chat
from unbroken.wire.openai_chat_writer import write_failure

PATH = "/v1/chat/completions"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="secret")
HELLO = {"model": "m", "messages": [{"role": "user", "content": "Hello"}]}


def asked(**more: Any) -> Request:
    request = read_request(PATH, json.dumps({**HELLO, **more}).encode())
    assert isinstance(request, Request)
    return request


def refused(body: bytes) -> Failure:
    failure = read_request(PATH, body)
    assert isinstance(failure, Failure)
    return failure


def written(request: Request, continuation: Continuation | None = None, *, target: Target = TARGET) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(write_request(request, target, continuation=continuation).body)
    return body


def chat_of(*messages: dict[str, Any], **more: Any) -> Chat:
    return read_chat({name: json.dumps(v).encode() for name, v in {"messages": list(messages), **more}.items()})


# ------------------------------------------------------------------- from a caller


def test_the_format_is_found_by_its_name() -> None:
    """Chat and media are there under the names that targets use."""
    assert format_named("openai_chat") is FORMAT
    assert FORMAT.paths == (PATH,)
    assert format_for("openai_chat", asked().task) is FORMAT


def test_what_routing_needs_is_read() -> None:
    """Model, stream, limits, choices, temperature and the size of the prompt are there at once."""
    request = asked(stream=True, stream_options={"include_usage": True}, n=2, temperature=0.5, max_tokens=7)
    assert (request.model, request.stream, request.include_usage) == ("m", True, True)
    assert (request.choices, request.temperature, request.max_tokens) == (2, 0.5, 7)
    assert request.prompt_chars == len(json.dumps(HELLO["messages"]))
    assert request.needs == frozenset()
    assert asked(max_tokens=7, max_completion_tokens=9).max_tokens == 9
    assert asked(stream=None, stream_options={"include_usage": True}).include_usage is False


@pytest.mark.parametrize(
    "more",
    [
        {"n": "two"}, {"n": 0}, {"n": None}, {"n": []}, {"max_tokens": "all"}, {"max_tokens": 1.5}, {"tools": None},
        {"temperature": True}, {"stream": True, "stream_options": 7}, {"stream": True, "stream_options": {}},
        {"tools": []}, {"response_format": {"type": "json_object"}},
    ],
)  # fmt: skip
def test_odd_fields_are_the_providers_to_judge(more: dict[str, Any]) -> None:
    """A field that we do not need passes whatever it holds."""
    request = asked(**more)
    assert (request.choices, request.max_tokens, request.temperature) == (1, None, None)
    assert request.include_usage is False
    assert request.needs == frozenset()
    assert written(request) == {**HELLO, **more, "model": "other"}


def test_unreadable_odd_fields_pass() -> None:
    """Bytes that nobody needs to decode are not decoded."""
    raw = b'{"model":"m","messages":["x"],"stream":true,"stream_options":"\xff","max_tokens":1' + b"1" * 5000 + b"}"
    request = read_request(PATH, raw)
    assert isinstance(request, Request)
    assert request.include_usage is False
    assert request.max_tokens is None


def test_needs_are_recognised() -> None:
    """Tools, images and schemas rule out targets that cannot do them; words about them do not."""
    image = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}
    tools = [{"type": "function", "function": {"name": "f"}}]
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}
    assert asked(messages=[image], tools=tools, response_format=form).needs == {"tools", "vision", "schema"}
    assert asked(functions=[{"name": "f"}]).needs == {"tools"}
    assert asked(messages=[{"role": "user", "content": 'what is "image_url"?'}]).needs == frozenset()


@pytest.mark.parametrize(
    ("body", "param", "words"),
    [
        (b"", None, "not valid JSON"),
        (b'{"model":"m",,}', None, "byte 13"),
        (b"[1]", None, "JSON object"),
        (b'{"\xff":1}', None, "not valid JSON"),
        (b"[" * 100_000, None, "JSON object"),
        (b'{"a":' + b"[" * 100_000, None, "not valid JSON"),
        (b'{"messages":[1]}', "model", "missing"),
        (b'{"model":7,"messages":[1]}', "model", "string"),
        (b'{"model":"","messages":[1]}', "model", "string"),
        (b'{"model":"m"}', "messages", "missing"),
        (b'{"model":"m","messages":[ ]}', "messages", "at least one"),
        (b'{"model":"m","messages":"hi"}', "messages", "array"),
        (b'{"model":"m","messages":null}', "messages", "array"),
        (b'{"model":"m","messages":[1],"stream":"yes"}', "stream", "true or false"),
    ],
)
def test_bad_requests_say_what_is_wrong(body: bytes, param: str | None, words: str) -> None:
    """A caller learns which field is wrong, and how."""
    failure = refused(body)
    assert failure.kind is FailureKind.REQUEST
    assert failure.param == param
    assert words in failure.message
    assert param is None or f"'{param}'" in failure.message
    assert write_failure(failure, "r")[0] == 400


@given(st.binary(max_size=100) | st.builds(lambda b: b'{"model":"m","messages":[' + b, st.binary(max_size=40)))
def test_any_body_is_a_request_or_a_failure(body: bytes) -> None:
    """No bytes from outside raise."""
    request = read_request(PATH, body)
    if isinstance(request, Request):
        try:
            _ = request.chat
        except ValueError as error:
            assert str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["role", "content", "type", "text", "image_url", "url", "tool_calls", "function", "name", "arguments",
         "file", "file_data", "input_audio", "data", "refusal"]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
ROLES = st.sampled_from(["user", "assistant", "tool", "system", "function"])
MESSAGES = st.lists(st.fixed_dictionaries({"role": ROLES, "content": JSON}, optional={"tool_calls": JSON}), max_size=3)


@given(MESSAGES, st.dictionaries(st.sampled_from(["tools", "stop", "tool_choice", "response_format", "seed"]), JSON))
def test_any_conversation_is_read_or_refused_in_words(messages: list[Any], more: dict[str, Any]) -> None:
    """Odd shapes are a ValueError with a text; what is read can be written and read again alike."""
    try:
        chat = chat_of(*messages, **more)
    except ValueError as error:
        assert str(error)
        return
    again = {name: json.dumps(value).encode() for name, value in write_chat(chat).items()}
    assert write_chat(read_chat(again)) == write_chat(chat)


# ------------------------------------------------------------------ to a provider


def test_the_callers_own_bytes_go_out() -> None:
    """Only the model changes; order, numbers, escapes and unknown fields stay as they stood."""
    odd, messages = b'{"a": 1.50e1,  "b":"\\u00e9"}', b'[ {"role":"user","content":"\xc3\xa9"} ]'
    body = b'{ "x_new": ' + odd + b', "model":"m", "messages": ' + messages + b" }"
    request = read_request(PATH, body)
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert http == HttpRequest(
        method="POST",
        url="https://x.invalid/v1/chat/completions",
        headers={"content-type": "application/json", "accept-encoding": "identity", "authorization": "Bearer secret"},
        body=b'{"x_new":' + odd + b',"model":"other","messages":' + messages + b"}",
    )


def test_addresses_and_headers() -> None:
    """A target's own headers win, in lower case; its query stays at the end; no key, no header."""
    target = Target(
        name="t",
        provider="azure",
        model="m",
        base_url="https://x.invalid/dep/?api-version=1",
        headers={"Api-Key": "k", "Content-Type": "application/json; charset=utf-8"},
    )
    http = write_request(asked(), target)
    assert http.url == "https://x.invalid/dep/chat/completions?api-version=1"
    assert http.headers == {
        "content-type": "application/json; charset=utf-8",
        "accept-encoding": "identity",
        "api-key": "k",
    }


def test_a_prefix_is_the_last_message() -> None:
    """A target that carries an answer on is handed what the caller has seen, in the way that it knows."""
    seen = {"role": "assistant", "content": "One, two"}
    goes_on = Continuation(Mode.PREFIX, "One, two")
    messages: Any = HELLO["messages"]
    assert written(asked(), goes_on)["messages"] == [*messages, seen]
    flag = written(asked(), goes_on, target=Target(name="t", provider="p", model="m", prefix="flag"))
    assert flag["messages"] == [*messages, {**seen, "prefix": True}]
    vllm = written(asked(), goes_on, target=Target(name="t", provider="p", model="m", prefix="vllm"))
    assert vllm["messages"] == [*messages, seen]
    assert (vllm["continue_final_message"], vllm["add_generation_prompt"]) == (True, False)


def test_asking_names_the_anchor() -> None:
    """A target that has to be asked is told which words to begin with."""
    text = "The quick brown fox jumps over the lazy dog and runs away from the big"
    *before, seen, ask = written(asked(), Continuation(Mode.ASK, text))["messages"]
    assert before == HELLO["messages"]
    assert seen == {"role": "assistant", "content": text}
    assert ask["role"] == "user"
    assert f'"{anchor_of(text)}"' in ask["content"]
    assert "{" not in ask["content"]
    blank = written(asked(), Continuation(Mode.ASK, " \n"))["messages"][-1]
    assert '"' not in blank["content"]


def test_a_restart_is_the_request_itself() -> None:
    """Starting over says nothing of what came before."""
    assert written(asked(), Continuation(Mode.RESTART, "One")) == written(asked())


@given(st.text(max_size=120))
def test_anchors_are_the_last_words(text: str) -> None:
    """An anchor is short, stands at the end of the text, and is empty only for blank texts."""
    anchor = anchor_of(text)
    assert len(anchor) <= ANCHOR_CHARS
    assert text.rstrip().endswith(anchor)
    assert bool(anchor) is bool(text.strip())


def test_anchors_are_cut_between_words() -> None:
    """Half a word is no anchor, unless there is nothing else."""
    assert anchor_of("Hello world") == "Hello world"
    assert anchor_of("an incomprehensible thing: " + "many words in a row that go on and on ") == (
        "many words in a row that go on and on"
    )
    assert anchor_of("x" * 100) == "x" * ANCHOR_CHARS
    assert anchor_of("y" * 50 + " " + "x" * ANCHOR_CHARS) == "x" * ANCHOR_CHARS
    assert anchor_of("y" * 50 + "  " + "x" * (ANCHOR_CHARS - 1)) == "x" * (ANCHOR_CHARS - 1)


# ------------------------------------------------- conversations of other formats


def from_program(chat: Chat, **more: Any) -> Request:
    return Request(model="m", read=lambda: chat, **more)


SPOKEN = Chat(
    messages=(
        Message(role="system", parts=(Text("Be brief."),)),
        Message(
            role="user",
            parts=(
                Text("Look:"),
                Media(kind="image", data="AAAA", media_type="image/png", detail="low"),
                Media(kind="audio", data="BBBB", media_type="audio/mp3"),
                Media(kind="document", data="CCCC", media_type="application/pdf"),
            ),
        ),
        Message(role="assistant", parts=(Reasoning("hm"), ToolCall(id="1", name="f", arguments="{}"))),
        Message(role="assistant", parts=(Reasoning("only thoughts"),)),
        Message(role="user", parts=(ToolResult(id="1", parts=(Text("42"),)), Text("Go on."))),
    ),
    tools=(Tool(name="f", description="d", parameters={"type": "object"}, strict=True), Tool(name="g")),
    tool_choice={"name": "f"},
    schema={"type": "object"},
    max_tokens=5,
    temperature=0.1,
    top_p=0.9,
    stop=("x",),
    seed=3,
    reasoning_effort="low",
)

WRITTEN: dict[str, Any] = {
    "model": "other",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look:"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
                {
                    "type": "file",
                    "file": {"file_data": "data:application/pdf;base64,CCCC", "filename": "document"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "user", "content": "Go on."},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": True},
        },
        {"type": "function", "function": {"name": "g"}},
    ],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "answer", "schema": {"type": "object"}},
    },
    "max_tokens": 5,
    "temperature": 0.1,
    "top_p": 0.9,
    "stop": ["x"],
    "seed": 3,
    "reasoning_effort": "low",
    "n": 2,
    "stream": True,
    "stream_options": {"include_usage": True},
}


def test_a_conversation_is_written_whole() -> None:
    """Every part that this format knows is said in its words."""
    assert written(from_program(SPOKEN, stream=True, include_usage=True, choices=2)) == WRITTEN


def test_limits_go_by_the_name_that_a_provider_takes() -> None:
    """OpenAI's reasoning models refuse `max_tokens`."""
    chat = Chat(messages=(Message(role="user", parts=(Text("Hi"),)),), max_tokens=5, schema={})
    body = written(from_program(chat, stream=True), target=Target(name="t", provider="openai", model="o"))
    assert body["max_completion_tokens"] == 5
    assert "max_tokens" not in body
    assert "stream_options" not in body
    assert body["response_format"] == {"type": "json_object"}


def test_fields_of_other_formats_stay_there() -> None:
    """What another format keeps in extras does not leak into this one: it rules the target out, or is told."""
    message = Message(role="user", parts=(Text("Hi"), Reasoning("hm")), extras={"cache": 1})
    chat = Chat(messages=(message,), extras={"safety": 4}, hints={"user": "u", "labels": {}})
    other = Request(model="m", source=Source("other", {}), read=lambda: chat)
    with pytest.raises(ValueError, match="OpenAI's chat format has no safety"):
        write_request(other, TARGET)
    lax = write_request(other, replace(TARGET, may_drop=frozenset({"safety"})))
    assert json.loads(lax.body) == {"model": "other", "messages": [{"role": "user", "content": "Hi"}], "user": "u"}
    assert lax.unsaid == ("safety", "labels", "messages[].cache", "reasoning")
    assert written(from_program(chat)) == {
        "model": "other",
        "messages": [{"role": "user", "content": "Hi", "cache": 1}],
        "user": "u",
        "safety": 4,
    }


@pytest.mark.parametrize(
    ("tokens", "word"), [(None, None), (-1, None), (0, "none"), (1024, "low"), (9000, "medium"), (99_999, "high")]
)
def test_budgets_for_thinking_become_words(tokens: int | None, word: str | None) -> None:
    """A budget of tokens is said with the word that comes closest to it."""
    chat = Chat(messages=(Message(role="user", parts=(Text("Hi"),)),), reasoning_tokens=tokens)
    assert written(from_program(chat)).get("reasoning_effort") == word


def test_openai_itself_knows_no_top_k() -> None:
    """Servers that know more than OpenAI are told more."""
    chat = Chat(messages=(Message(role="user", parts=(Text("Hi"),)),), top_k=4)
    other = Request(model="m", source=Source("other", {}), read=lambda: chat)
    assert json.loads(write_request(other, TARGET).body)["top_k"] == 4
    with pytest.raises(ValueError, match="has no top_k"):
        write_request(other, replace(TARGET, provider="openai"))


@pytest.mark.parametrize(
    "part",
    [
        Opaque("other", {"type": "magic"}),
        Media(kind="video", url="https://x.invalid/v.mp4"),
        Media(kind="audio", url="https://x.invalid/a.mp3"),
        Media(kind="document", url="https://x.invalid/d.pdf"),
    ],
)
def test_what_cannot_be_said_is_refused(part: Opaque | Media) -> None:
    """Nothing is dropped in silence: the target is ruled out with a reason."""
    chat = Chat(messages=(Message(role="user", parts=(part,)),))
    with pytest.raises(ValueError, match="cannot hold"):
        written(from_program(chat))


def test_conversations_are_read() -> None:
    """Roles, parts, calls, results and refusals become ours, and again theirs."""
    messages: list[dict[str, Any]] = [
        {"role": "developer", "content": "Be brief."},
        {
            "role": "user",
            "name": "anna",
            "content": [
                {"type": "text", "text": "Look"},
                {"type": "image_url", "image_url": {"url": "https://x.invalid/i.png", "detail": "high"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                {"type": "file", "file": {"file_data": "data:text/plain;base64,AA", "filename": "a.txt"}},
                {"type": "file", "file": {"file_id": "file-1"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                {"id": "2", "type": "custom", "custom": {"name": "g", "input": "x"}},
            ],
        },
        {
            "role": "tool",
            "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            "tool_call_id": "1",
        },
        {"role": "function", "content": "c", "name": "h"},
        {"role": "assistant", "content": None, "refusal": "No."},
        {"role": "assistant", "content": "Yes.", "refusal": None},
    ]
    chat = chat_of(*messages, stop="x", response_format={"type": "json_schema", "json_schema": {"schema": {"a": 1}}})
    assert [m.role for m in chat.messages] == ["system", "user", "assistant", "tool", "tool", "assistant", "assistant"]
    assert chat.messages[1].parts[1] == Media(kind="image", url="https://x.invalid/i.png", detail="high")
    assert chat.messages[2].parts[0] == ToolCall(id="1", name="f", arguments="{}")
    assert chat.messages[4].parts == (ToolResult(id="h", parts=(Text("c"),)),)
    assert chat.messages[5].text == "No."
    assert (chat.stop, chat.schema) == (("x",), {"a": 1})
    del messages[6]["refusal"]
    assert write_chat(chat)["messages"] == messages


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": "x"}, "'messages'"),
        ({"messages": []}, "'messages'"),
        ({"messages": [7]}, "'messages[0]'"),
        ({"messages": [{"role": "king"}]}, "'messages[0].role'"),
        ({"messages": [{"role": "user", "content": 7}]}, "'messages[0].content'"),
        ({"messages": [{"role": "user", "content": [7]}]}, "'messages[0].content[0]'"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "'messages[0].content[0].text'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "image_url.url"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, None),
        ({"messages": [{"role": "assistant", "tool_calls": 7}]}, "tool_calls"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]}, "tool_calls[0]"),
        ({"messages": [{"role": "user"}], "tools": [{"function": {}}]}, "'tools[0].function.name'"),
        ({"messages": [{"role": "user"}], "stop": [7]}, "'stop'"),
        ({"messages": [{"role": "user"}], "temperature": "hot"}, "'temperature' must be an integer or a number"),
        ({"messages": [{"role": "user"}], "seed": True}, "'seed'"),
    ],
)
def test_wrong_shapes_are_named(fields: dict[str, Any], words: str | None) -> None:
    """A conversation that is none says which field is wrong."""
    raw = {name: json.dumps(value).encode() for name, value in fields.items()}
    if words is None:
        assert read_chat(raw).messages
        return
    with pytest.raises(ValueError, match=r"must be|must hold") as caught:
        read_chat(raw)
    assert words in str(caught.value)


def test_broken_fields_are_named() -> None:
    """Bytes inside a field that are no JSON come to light when it is read."""
    with pytest.raises(ValueError, match="not valid JSON"):
        read_chat({"messages": b'["\xff"]'})


def test_strings_among_parts_are_text() -> None:
    """A list of bare strings is taken for texts, a string for an image's address."""
    chat = chat_of({"role": "user", "content": ["a", {"type": "image_url", "image_url": "https://x.invalid/"}]})
    assert chat.messages[0].parts == (Text("a"), Media(kind="image", url="https://x.invalid/"))


# ------------------------------------------------------------------------ failures


def envelope(failure: Failure) -> tuple[int, Mapping[str, str], dict[str, Any]]:
    status, headers, body = write_failure(failure, "req-1")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert headers["content-type"] == "application/json"
    assert headers["x-request-id"] == "req-1"
    return status, headers, error


def test_a_callers_fault_keeps_the_providers_words() -> None:
    """Status, type, code and parameter of the provider reach the caller."""
    failure = Failure(kind=FailureKind.REQUEST, message="Bad.", status=422, type="oops", code="c7", param="messages[0]")
    status, _, error = envelope(failure)
    assert status == 422
    assert error == {"message": "Bad.", "type": "oops", "param": "messages[0]", "code": "c7"}


@pytest.mark.parametrize(
    ("kind", "status", "type_", "code"),
    [
        (FailureKind.CONTEXT_LENGTH, 400, "invalid_request_error", "context_length_exceeded"),
        (FailureKind.CONTENT_POLICY, 400, "invalid_request_error", "content_policy_violation"),
        (FailureKind.REQUEST, 400, "invalid_request_error", None),
        (FailureKind.RATE_LIMIT, 429, "rate_limit_error", "rate_limit"),
        (FailureKind.QUOTA, 429, "rate_limit_error", "quota"),
        (FailureKind.AUTH, 502, "server_error", "auth"),
        (FailureKind.MODEL_MISSING, 404, "invalid_request_error", "model_not_found"),
        (FailureKind.DEADLINE, 504, "timeout", "deadline"),
        (FailureKind.NO_TARGET, 503, "server_error", "no_target"),
    ],
)
def test_kinds_become_envelopes(kind: FailureKind, status: int, type_: str, code: str | None) -> None:
    """Each kind has the status and the words that a caller's SDK and program look for."""
    found, headers, error = envelope(Failure(kind=kind, message="m", status=500))
    assert (found, error["type"], error["code"]) == (status, type_, code)
    assert "retry-after" not in headers


@pytest.mark.parametrize(("seconds", "header"), [(0.2, "1"), (7.0, "7"), (-3.0, "0"), (float("inf"), "604800")])
def test_when_to_come_back_is_said(seconds: float, header: str) -> None:
    """A rate limit says in whole seconds when it ends."""
    assert (
        envelope(Failure(kind=FailureKind.RATE_LIMIT, message="m", retry_after_s=seconds))[1]["retry-after"] == header
    )
    assert "retry-after" not in envelope(Failure(kind=FailureKind.AUTH, message="m", retry_after_s=seconds))[1]


@pytest.mark.parametrize(
    ("field", "thinks"),
    [
        ({}, False), ({"reasoning_effort": "high"}, True), ({"reasoning_effort": "low"}, False),
        ({"reasoning": {"effort": "high"}}, True), ({"reasoning": {"max_tokens": 2000}}, True),
        ({"reasoning": {"enabled": False}}, False), ({"reasoning": None}, False), ({"reasoning": {}}, False),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, True), ({"thinking": {"type": "disabled"}}, False),
    ],
)  # fmt: skip
def test_thinking_that_is_asked_for_is_noticed(field: dict[str, Any], thinks: bool) -> None:
    """A request that asks for thinking gets time for it, one that switches it off does not."""
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **field}).encode()
    request = read_request("/v1/chat/completions", body)

    assert isinstance(request, Request)
    assert request.thinks is thinks


def test_an_id_that_came_before_the_first_words_is_kept() -> None:
    """Some formats name an answer in a step of its own, and never again."""
    assert FORMAT.writer is not None
    out = FORMAT.writer(Request(model="m", stream=True))
    assert out.write([Delta(id="r1", model="theirs")]) == b""
    chunk = json.loads(out.write([Delta(text="a")]).removeprefix(b"data: "))
    assert (chunk["id"], chunk["model"]) == ("r1", "theirs")
