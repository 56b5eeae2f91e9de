"""Requests in Gemini's format: read from callers, passed on, and written for conversations from elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Chat,
    HttpRequest,
    Media,
    Message,
    Opaque,
    Reasoning,
    Request,
    Source,
    Target,
    Task,
    Text,
    ToolCall,
    ToolResult,
)
from unbroken.wire import Mounts, format_for
from unbroken.wire.gemini import FORMAT, read_request, write_request
from unbroken.wire.gemini_messages import NO_SIGNATURE, read_chat
from wire.gemini_recorded import TARGET
from wire.test_gemini_answer import JSON

PATH = "/v1beta/models/m:generateContent"
GEMINI_3 = replace(TARGET, model="gemini-3-pro-preview")
GEMINI_2 = replace(TARGET, model="gemini-2.5-flash")
HELLO = Message(role="user", parts=(Text("Hello"),))


def asked(path: str = PATH, **fields: Any) -> Request:
    fields = {"contents": [{"parts": [{"text": "x"}]}], **fields}
    request = read_request(path, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def chat_of(**fields: Any) -> Chat:
    return asked(**fields).chat


def parts_of(*parts: Any) -> tuple[Any, ...]:
    return tuple(part for message in chat_of(contents=[{"parts": list(parts)}]).messages for part in message.parts)


def sent(chat: Chat, target: Target = TARGET, *, own: bool = False, **fields: Any) -> HttpRequest:
    """A conversation as this target is sent it; `own` is one that a program made."""
    source = None if own else Source("elsewhere", {})
    return write_request(Request(model="m", source=source, read=lambda: chat, **fields), target)


def body_of(chat: Chat, target: Target = TARGET, **fields: Any) -> Any:
    return json.loads(sent(chat, target, **fields).body)


def with_parts(*parts: Any, role: str = "user") -> Chat:
    return Chat(messages=(HELLO, Message(role=role, parts=parts)))


# -------------------------------------------------------------------- from a caller


def test_what_routing_needs_is_read_at_once() -> None:
    """Model and kind of answer come from the path, the rest from the body, in either spelling."""
    system = {"parts": {"text": "Be brief."}}
    request = asked(
        "/v1/models/a%2Fb:streamGenerateContent?alt=sse",
        contents={"parts": {"inline_data": {"mime_type": "image/png", "data": ""}}},
        system_instruction=system,
        tools=[{"function_declarations": [{"name": "f"}]}],
        generation_config={"max_output_tokens": 9, "candidate_count": 2, "temperature": 0.5, "responseSchema": {},
                           "thinking_config": {"thinking_level": "HIGH"}},
    )  # fmt: skip
    assert (request.model, request.stream, request.include_usage) == ("a/b", True, True)
    assert (request.max_tokens, request.choices, request.temperature, request.thinks) == (9, 2, 0.5, True)
    assert request.needs == {"tools", "vision", "schema"}
    assert request.prompt_chars > len(json.dumps(system))
    bare = asked(tools=[{"googleSearch": {}}], generationConfig=[1])
    assert (bare.needs, bare.choices, bare.max_tokens, bare.stream) == (frozenset(), 1, None, False)


@pytest.mark.parametrize(
    ("config", "thinks"),
    [({"thinkingLevel": "low"}, False), ({"thinkingBudget": -1}, True), ({"thinkingBudget": 4096}, True),
     ({"thinkingBudget": 0}, False), ({}, False)],
)  # fmt: skip
def test_thinking_is_seen(config: Any, thinks: bool) -> None:
    """Routing learns whether more thinking than a little is asked for."""
    assert asked(generationConfig={"thinkingConfig": config}).thinks is thinks


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"[]", None), (b"{", None), (b"{}", "contents"), (b'{"contents": null}', "contents"),
     (b'{"contents": []}', "contents"), (b'{"contents": "x"}', "contents")],
)  # fmt: skip
def test_bad_bodies_are_the_callers_fault(body: bytes, param: str | None) -> None:
    """A body that cannot be routed is refused, and the field named."""
    failure = read_request(PATH, body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


@pytest.mark.parametrize("path", ["/v1/models/m", "/v1/models/m:countTokens", "/v1/m:generateContent", "/"])
def test_other_paths_are_refused(path: str) -> None:
    """What is no method of this format is refused."""
    assert isinstance(read_request(path, b'{"contents": [{}]}'), Failure)


def test_paths_are_mounted() -> None:
    """A gateway finds this format at the paths of the Gemini API and of Vertex AI."""
    mounts = Mounts([FORMAT])
    vertex = "/v1beta1/projects/p/locations/l/publishers/google/models/m"
    for root in ("/v1/models/m", "/v1beta/models/tuned/m", vertex, "/v1/publishers/google/models/m"):
        for verb in ("generateContent", "streamGenerateContent?alt=sse"):
            assert mounts.at(f"{root}:{verb}") is FORMAT
    assert mounts.at("/v1/models/m:countTokens") is None
    assert format_for("gemini", Task.CHAT) is FORMAT


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"contents": [5]}, "contents[0]"),
        ({"contents": [{"role": "robot", "parts": []}]}, "contents[0].role"),
        ({"contents": [{"role": ["user"], "parts": []}]}, "contents[0].role"),
        ({"contents": [{"parts": 5}]}, "contents[0].parts"),
        ({"contents": [{"parts": [5]}]}, "contents[0].parts[0]"),
        ({"contents": [{"parts": [{"text": 5}]}]}, "contents[0].parts[0].text"),
        ({"contents": [{"parts": [{"functionCall": {"name": 5}}]}]}, "functionCall"),
        ({"contents": [{"parts": [{"functionResponse": {"name": "f", "response": []}}]}]}, "functionResponse"),
        ({"contents": [{"parts": [{"inlineData": {"data": 5}}]}]}, "inlineData"),
        ({"contents": [{"parts": [{"fileData": 5}]}]}, "fileData"),
        ({"systemInstruction": 5}, "systemInstruction"),
        ({"tools": [5]}, "tools[0]"),
        ({"tools": [{"functionDeclarations": [{}]}]}, "tools[0].functionDeclarations"),
        ({"toolConfig": 5}, "toolConfig"),
        ({"toolConfig": {"functionCallingConfig": {"allowedFunctionNames": [5]}}}, "allowedFunctionNames"),
        ({"generationConfig": 5}, "generationConfig"),
        ({"generationConfig": {"temperature": "hot"}}, "generationConfig.temperature"),
        ({"generationConfig": {"topK": 1.5}}, "generationConfig.topK"),
        ({"generationConfig": {"seed": True}}, "generationConfig.seed"),
        ({"generationConfig": {"stopSequences": "x"}}, "stopSequences"),
    ],
)
def test_wrong_shapes_are_named(fields: Any, named: str) -> None:
    """A field of a wrong shape is named when the conversation is read."""
    with pytest.raises(ValueError, match=named.replace("[", r"\[")):
        chat_of(**fields)


def test_a_body_that_turns_out_not_to_be_json() -> None:
    """What is no JSON further inside, or has no content, is said when it is read."""
    request = read_request(PATH, b'{"contents": [{"parts": [{"text": "\xff"}]}]}')
    assert isinstance(request, Request)
    with pytest.raises(ValueError, match="not valid JSON"):
        _ = request.chat
    with pytest.raises(ValueError, match="at least one content"):
        read_chat({})
    config = b'{"contents": [{}], "generationConfig": {"maxOutputTokens": 1, "a": "\xff"}}'
    request = read_request(PATH, config)
    assert isinstance(request, Request) and request.max_tokens is None


# ------------------------------------------------------------------- reading parts


def test_messages_are_read() -> None:
    """Roles, and a result before the words beside it, whichever spelling and shape the caller has."""
    chat = chat_of(
        systemInstruction="Be brief.",
        contents=[
            {"parts": {"text": "a"}},
            {"role": "model", "parts": [{"function_call": {"name": "f", "args": None}}]},
            {"role": "function", "parts": [{"text": "b"}, {"functionResponse": {"name": "f", "response": None}}]},
            {"role": "user"},
        ],
    )
    assert chat.messages == (
        Message(role="system", parts=(Text("Be brief."),)),
        Message(role="user", parts=(Text("a"),)),
        Message(role="assistant", parts=(ToolCall(id="call_1", name="f", arguments="{}"),)),
        Message(role="tool", parts=(ToolResult(id="call_1", name="f", parts=(Text("{}"),)),)),
        Message(role="user", parts=(Text("b"),)),
        Message(role="user", parts=()),
    )


def test_results_find_their_calls() -> None:
    """By id where there is one, else by name in the order of the calls; what belongs to none gets an id of its name."""
    calls = [
        {"functionCall": {"name": "f"}},
        {"functionCall": {"name": "f"}},
        {"functionCall": {"name": "f", "id": "x"}},
    ]
    names = [{"name": "f", "id": "x"}, {"name": "f"}, {"name": "f"}, {"name": "g"}, {"name": "g", "id": "y"}]
    results = [{"functionResponse": {**name, "response": {"output": "o"}}} for name in names]
    messages = chat_of(contents=[{"role": "model", "parts": calls}, {"parts": results}]).messages
    found = [part.id for message in messages[1:] for part in message.parts if isinstance(part, ToolResult)]
    assert found == ["x", "call_1", "call_2", "call_g", "y"]


@pytest.mark.parametrize(
    ("response", "text", "failed"),
    [
        ({"output": "o"}, "o", False),
        ({"error": "e"}, "e", True),
        ({"output": 1}, '{"output":1}', False),
        ({"output": "o", "more": 1}, '{"output":"o","more":1}', False),
        ({"error": {"a": 1}}, '{"error":{"a":1}}', False),
        ({}, "{}", False),
    ],
)
def test_results_are_read_and_written(response: Any, text: str, failed: bool) -> None:
    """Words under `output` and `error` are words, other objects JSON; both come back as they were."""
    (result,) = parts_of({"functionResponse": {"name": "f", "id": "i", "response": response}})
    assert (result.parts, result.failed) == ((Text(text),), failed)
    again = body_of(with_parts(result, role="tool"))["contents"][1]["parts"]
    assert again == [{"functionResponse": {"id": "i", "name": "f", "response": response}}]


@pytest.mark.parametrize("text", ['{"a": 1}', '{"output":"x"}', '{"$ref":"#/a"}', "[1]", "", "20 degrees"])
def test_words_of_tools_stay_words(text: str) -> None:
    """What would not come back the same from an object, or that Google trips over in one, goes out as words."""
    result = ToolResult(id="i", name="f", parts=(Text(text),))
    (part,) = body_of(with_parts(result, role="tool"))["contents"][1]["parts"]
    assert part["functionResponse"]["response"] == {"output": text}
    assert parts_of(part) == (result,)


def test_media_are_read() -> None:
    """Bytes in either alphabet of base64, addresses that anybody can fetch; Google's own addresses stay its own."""
    assert parts_of(
        {"inlineData": {"mimeType": "image/png", "data": "-_8="}, "thoughtSignature": "s"},
        {"fileData": {"mimeType": "audio/mpeg", "fileUri": "https://a.example/b.mp3"}},
        {"inlineData": {"mimeType": "application/pdf", "data": ""}},
    ) == (
        Media(kind="image", media_type="image/png", data="+/8="),
        Reasoning("", "s", "gemini"),
        Media(kind="audio", media_type="audio/mpeg", url="https://a.example/b.mp3"),
        Media(kind="document", media_type="application/pdf"),
    )
    own = {"fileData": {"mimeType": "video/mp4", "fileUri": "gs://a/b.mp4"}}
    unknown = {"fileData": {"fileUri": "https://a.example/b"}}
    cut = {"inlineData": {"mimeType": "video/mp4", "data": ""}, "videoMetadata": {"fps": 1}}
    code = {"executableCode": {"code": "1"}, "thoughtSignature": "s"}
    assert parts_of(own, unknown, cut, code, {}) == tuple(Opaque("gemini", p) for p in (own, unknown, cut, code, {}))


def test_thoughts_are_read_and_written() -> None:
    """Thoughts and signatures stay with what they belong to, and Google's word for none is none."""
    contents = [{"role": "model", "parts": [
        {"text": "hm", "thought": True, "thoughtSignature": "a"},
        {"text": "x", "thoughtSignature": "b"},
        {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "c"},
        {"text": "", "thoughtSignature": "d"},
    ]}]  # fmt: skip
    chat = chat_of(contents=contents)
    call = ToolCall(id="call_1", name="f", arguments="{}", signature="c")
    assert chat.messages[0].parts == (
        Reasoning("hm", "a", "gemini"), Text("x"), Reasoning("", "b", "gemini"), call, Reasoning("", "d", "gemini"),
    )  # fmt: skip
    again = body_of(chat, own=True)["contents"]
    contents[0]["parts"][2]["functionCall"]["id"] = "call_1"  # type: ignore[index]
    assert again == contents
    (bare,) = parts_of({"text": "x", "thought": False, "thoughtSignature": NO_SIGNATURE})
    assert bare == Text("x")


# ---------------------------------------------------------------- reading settings


def test_settings_are_read_and_written() -> None:
    """What is modelled is read; the rest stays beside it, by its path, and goes back where it was."""
    body = {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [
            {"functionDeclarations": [{"name": "f", "description": "d", "parametersJsonSchema": {"type": "object"}}]},
            {"googleSearch": {}, "functionDeclarations": [{"name": "g", "behavior": "NON_BLOCKING"}]},
        ],
        "toolConfig": {"functionCallingConfig": {"mode": "any"}, "retrievalConfig": {"languageCode": "de"}},
        "generationConfig": {
            "temperature": 1, "topP": 0.5, "topK": 4, "maxOutputTokens": 9, "stopSequences": ["a"], "seed": 3,
            "presencePenalty": 0.1, "frequencyPenalty": 0.2, "responseMimeType": "application/json",
            "responseJsonSchema": {"type": "string"}, "responseLogprobs": True,
            "thinkingConfig": {"thinkingLevel": "LOW", "includeThoughts": True},
        },
        "safetySettings": [{"category": "A", "threshold": "BLOCK_LOW_AND_ABOVE"}],
        "labels": {"a_b": "c"},
        "cachedContent": "cachedContents/1",
    }  # fmt: skip
    chat = chat_of(**body)
    assert (chat.temperature, chat.top_p, chat.top_k, chat.max_tokens, chat.stop, chat.seed) == (
        1,
        0.5,
        4,
        9,
        ("a",),
        3,
    )
    assert (chat.presence_penalty, chat.frequency_penalty, chat.schema) == (0.1, 0.2, {"type": "string"})
    assert (chat.tool_choice, chat.reasoning_effort) == ("required", "low")
    assert set(chat.extras) == {
        "tools", "toolConfig.retrievalConfig", "generationConfig.responseLogprobs", "safetySettings", "cachedContent",
    }  # fmt: skip
    assert chat.hints == {"labels": {"a_b": "c"}, "generationConfig.thinkingConfig.includeThoughts": True}
    again = body_of(chat, own=True)
    body["toolConfig"]["functionCallingConfig"]["mode"] = "ANY"  # type: ignore[index]
    assert again == body


@pytest.mark.parametrize(
    ("config", "choice", "extra"),
    [
        ({}, None, False),
        ({"mode": "AUTO"}, "auto", False),
        ({"mode": "NONE"}, "none", False),
        ({"mode": 2}, "required", False),
        ({"mode": ["ANY"]}, None, False),
        ({"mode": "ANY", "allowedFunctionNames": ["f"]}, {"name": "f"}, False),
        ({"mode": "ANY", "allowedFunctionNames": ["g", "f"]}, "required", False),
        ({"mode": "ANY", "allowedFunctionNames": ["f", "h"]}, None, True),
        ({"mode": "AUTO", "allowedFunctionNames": ["f"]}, None, True),
        ({"mode": "ANY", "streamFunctionCallArguments": True}, None, True),
    ],
)
def test_choices_of_tools(config: Any, choice: Any, extra: bool) -> None:
    """A choice that we model is read; one of some of the tools is this format's own."""
    tools = {"functionDeclarations": [{"name": "f"}, {"name": "g"}]}
    chat = chat_of(tools=tools, toolConfig={"functionCallingConfig": config})
    assert chat.tool_choice == choice
    assert ("toolConfig.functionCallingConfig" in chat.extras) is extra
    assert len(chat.tools) == 2


def test_validated_calls_are_strict() -> None:
    """The mode that binds arguments to their schema is what others call strict tools."""
    chat = chat_of(tools=[{"functionDeclarations": [{"name": "f"}]}],
                   toolConfig={"functionCallingConfig": {"mode": "validated"}})  # fmt: skip
    assert (chat.tool_choice, chat.tools[0].strict) == ("auto", True)
    assert body_of(chat)["toolConfig"] == {"functionCallingConfig": {"mode": "VALIDATED"}}


@pytest.mark.parametrize(
    ("config", "schema", "extras"),
    [
        ({"responseMimeType": "application/json"}, {}, set()),
        ({"responseMimeType": "text/plain"}, None, set()),
        ({"responseSchema": {"type": "STRING"}}, {"type": "string"}, set()),
        ({"responseMimeType": "application/json", "responseJsonSchema": True}, {}, set()),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING", "enum": ["a"]}}, None,
         {"generationConfig.responseMimeType", "generationConfig.responseSchema"}),
        ({"responseModalities": ["IMAGE"]}, None, {"generationConfig.responseModalities"}),
        ({"responseModalities": ["TEXT"]}, None, set()),
    ],
)  # fmt: skip
def test_forms_of_answers(config: Any, schema: Any, extras: set[str]) -> None:
    """JSON with or without a schema is modelled; other forms are this format's own."""
    chat = chat_of(generationConfig=config)
    assert (chat.schema, set(chat.extras)) == (schema, extras)


@pytest.mark.parametrize(
    ("config", "effort", "tokens"),
    [
        ({"thinkingLevel": "MEDIUM"}, "medium", None),
        ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, None, None),
        ({"thinkingBudget": 0}, None, 0),
        ({"thinkingBudget": -1}, None, None),
    ],
)
def test_thinking_is_read(config: Any, effort: str | None, tokens: int | None) -> None:
    """A level is an effort, a budget is a budget; as much as the model likes is no wish."""
    chat = chat_of(generationConfig={"thinkingConfig": config})
    assert (chat.reasoning_effort, chat.reasoning_tokens) == (effort, tokens)
    assert ("generationConfig.thinkingConfig.thinkingBudget" in chat.hints) is (config.get("thinkingBudget") == -1)


def test_filters_that_are_off_change_nothing_elsewhere() -> None:
    """Settings that only switch Google's filters off are no reason against a target that has none."""
    settings = [{"category": "A", "threshold": "BLOCK_NONE"}, {"category": "B", "threshold": "OFF"}]
    chat = chat_of(safetySettings=settings)
    assert (chat.extras, chat.hints) == ({}, {"safetySettings": settings})


def test_schemas_of_openapi_are_read() -> None:
    """Types in capitals, null as a mark, an order of properties, numbers as words: all become JSON schema."""
    schema = {
        "type": "OBJECT", "property_ordering": ["b", "a", 3],
        "properties": {
            "a": {"type": "STRING", "enum": ["x"], "nullable": True, "maxLength": "5", "example": "x"},
            "b": {"type": "ARRAY", "items": {"type": 3}, "min_items": 1},
            "c": {"anyOf": [{"type": "STRING"}], "nullable": True},
            "d": {"ref": "#/defs/e", "nullable": True, "type": None},
            "properties": {"type": "STRING"},
        },
        "defs": {"e": {"type": "BOOLEAN", "default": None}}, "additional_properties": False, "required": ["a"],
    }  # fmt: skip
    tool = chat_of(tools={"functionDeclarations": {"name": "f", "parameters": schema}}).tools[0]
    assert tool.parameters == {
        "type": "object",
        "properties": {
            "b": {"type": "array", "items": {"type": "integer"}, "minItems": 1},
            "a": {"type": ["string", "null"], "enum": ["x", None], "maxLength": 5, "examples": ["x"]},
            "c": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "d": {"anyOf": [{"$ref": "#/defs/e", "type": None}, {"type": "null"}]},
            "properties": {"type": "string"},
        },
        "$defs": {"e": {"type": "boolean", "default": None}}, "additionalProperties": False, "required": ["a"],
    }  # fmt: skip
    assert list(tool.parameters["properties"])[:2] == ["b", "a"]


# ------------------------------------------------------------------------- anybody


@given(JSON, JSON, JSON, JSON)
def test_no_body_raises(contents: Any, system: Any, tools: Any, config: Any) -> None:
    """Whatever a caller sends is a request or a failure, and its conversation is one or a named fault."""
    body = {"contents": contents, "systemInstruction": system, "tools": tools, "generationConfig": config,
            "toolConfig": {"functionCallingConfig": {"mode": config}}, "safetySettings": tools}  # fmt: skip
    request = read_request(PATH, json.dumps(body).encode())
    if isinstance(request, Failure):
        return
    write_request(request, TARGET)
    try:
        chat = request.chat
    except ValueError:
        return
    again = read_request(PATH, sent(chat, own=True).body)
    assert isinstance(again, Request)


@given(st.binary(max_size=60), st.text(max_size=30))
def test_no_bytes_raise(body: bytes, path: str) -> None:
    """Whatever bytes come at whatever path are a request or a failure."""
    assert isinstance(read_request(PATH, body), Request | Failure)
    assert isinstance(read_request(path, body), Request | Failure)
