"""Bedrock's Converse format: what is asked, in its own words and from others'."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Continuation,
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
    ToolResult,
)
from unbroken.wire import Mounts, format_named
from unbroken.wire.asked import ask_to_go_on
from unbroken.wire.bedrock import FORMAT, read_request, write_request
from wire.bedrock_asking import PNG, TARGET, USER, asked, foreign, written

CALL = Message(role="assistant", parts=(ToolCall(id="call_1", name="look", arguments='{"at": "sea"}'),))
RESULT = Message(role="tool", parts=(ToolResult(id="call_1", parts=(Text("blue"),)),))
LOOK = Tool(name="look", parameters={"type": "object", "properties": {"at": {"type": "string"}}})


def unsaid(request: Request, target: Target = TARGET) -> tuple[str, ...]:
    return write_request(request, target).unsaid


# ------------------------------------------------------------------- addresses and keys


def test_it_is_mounted_by_its_paths() -> None:
    """Both calls are found by their paths, for models whose ids hold colons and slashes too."""
    assert format_named("bedrock") is FORMAT
    mounts = Mounts([FORMAT])
    for model in ("m", "us.amazon.nova-lite-v1%3A0", "arn%3Aaws%3Abedrock%3A%3A1%3Ainference-profile%2Fx", "a:b/c"):
        assert mounts.at(f"/model/{model}/converse") is mounts.at(f"/model/{model}/converse-stream?x=1") is FORMAT
    assert mounts.at("/model/m/invoke") is None
    assert asked("/model/arn%3Aaws%2Fx/converse").model == "arn:aws/x"
    assert asked("/model/m/converse-stream?trace=1").stream and not asked().stream


def test_addresses() -> None:
    """The region gives the address where there is no other; the model is quoted; a target with neither is refused."""
    regional = replace(TARGET, base_url="", options={"region": "eu-west-3"}, model="a:b/c")
    http = write_request(asked("/model/m/converse-stream"), regional)
    assert http.url == "https://bedrock-runtime.eu-west-3.amazonaws.com/model/a%3Ab%2Fc/converse-stream"
    assert http.headers["authorization"] == "Bearer k"
    assert "authorization" not in write_request(asked(), replace(regional, auth="sigv4")).headers
    with pytest.raises(ValueError, match="neither a base_url nor a region"):
        write_request(asked(), replace(TARGET, base_url=""))


# ---------------------------------------------------------------- what a caller asks


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"[]", None),
        (b"{", None),
        (b"{}", "messages"),
        (b'{"messages": []}', "messages"),
        (b'{"messages": {}}', "messages"),
        (b'{"messages": [{}], "inferenceConfig": 1}', "inferenceConfig"),
    ],
)
def test_bad_bodies(body: bytes, param: str | None) -> None:
    """A body that cannot be read is the caller's fault, with the field named."""
    failure = read_request("/model/m/converse", body)
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)
    assert isinstance(read_request("/elsewhere", b"{}"), Failure)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"messages": [{"role": "tool", "content": []}]}, "messages"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"text": 1}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": [{"toolUse": {}}]}]}, "messages[0].content[0].toolUse"),
        ({"messages": [{"role": "user", "content": [{"image": 1}]}]}, "messages[0].content[0].image"),
        ({"system": "Be brief"}, "system"),
        ({"inferenceConfig": {"maxTokens": "1"}}, "inferenceConfig"),
        ({"toolConfig": {"tools": [{"toolSpec": {}}]}}, "toolConfig.tools[0].toolSpec"),
        ({"toolConfig": {"tools": [], "toolChoice": {"none": {}}}}, "toolConfig.toolChoice"),
        ({"outputConfig": {"textFormat": {"structure": {}}}}, "outputConfig.textFormat.structure.jsonSchema.schema"),
        ({"additionalModelRequestFields": []}, "additionalModelRequestFields"),
    ],
)
def test_bad_fields(fields: dict[str, Any], named: str) -> None:
    """A field of the wrong shape is named when the conversation is read."""
    request = asked(**fields)
    with pytest.raises(ValueError) as raised:
        request.chat  # noqa: B018 - reading it is what raises
    assert f"'{named}'" in str(raised.value)


def test_words_that_are_no_text() -> None:
    """Bytes inside a string that are no UTF-8 are the caller's fault when the conversation is read."""
    request = read_request("/model/m/converse", b'{"messages": [{"role": "user", "content": [{"text": "\xff"}]}]}')
    assert isinstance(request, Request)
    with pytest.raises(ValueError, match="the body is not valid JSON"):
        request.chat  # noqa: B018 - reading it is what raises


def test_what_routing_needs() -> None:
    """Needs, limits and thinking are known without reading the conversation."""
    request = asked(
        messages=[{"role": "user", "content": [{"image": {"format": "png", "source": {"bytes": PNG}}}]}],
        system=[{"text": "x"}],
        toolConfig={"tools": [{"toolSpec": {"name": "a", "inputSchema": {"json": {}}}}]},
        outputConfig={"textFormat": {"type": "json_schema"}, "effort": "low"},
        inferenceConfig={"maxTokens": 9, "temperature": 0},
    )
    assert request.needs == {"tools", "vision", "schema"}
    assert (request.max_tokens, request.temperature, request.thinks) == (9, 0, False)
    assert request.prompt_chars > 60
    plain = asked(messages=[{"role": "user", "content": [{"text": '"image": {'}]}])
    assert not plain.needs and plain.max_tokens is None and not plain.include_usage


@pytest.mark.parametrize(
    ("more", "thinks"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 4000}}, True),
        ({"thinking": {"type": "disabled"}}, False),
        ({"reasoning_config": "high"}, True),
        ({"reasoning_effort": "low"}, False),
        ({"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "medium"}}, True),
        ({"top_k": 1}, False),
    ],
)
def test_thinking_is_noticed(more: dict[str, Any], thinks: bool) -> None:
    """More thinking than a little is noticed in the words of any model."""
    assert asked(additionalModelRequestFields=more).thinks is thinks


# ------------------------------------------------------------------------- passing on


def test_a_callers_own_words_pass() -> None:
    """The caller's fields go on byte for byte, whatever they are; only the model in the path changes."""
    body = b'{"messages" : [{"role":"user","content":[ {"text":"x"} ]}],"new": {"a":1.0e5}}'
    request = read_request("/model/m/converse", body)
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert http.body == body.replace(b'" :', b'":').replace(b": [{", b":[{").replace(b": {", b":{")


def test_continuations() -> None:
    """The words shown become the assistant's turn, without blanks at the end; asking follows in the user's."""
    ways = {mode: written(asked(), continuation=Continuation(mode, "Once upon ")) for mode in Mode}
    said = {"role": "assistant", "content": [{"text": "Once upon"}]}
    assert ways[Mode.RESTART]["messages"] == [{"role": "user", "content": [{"text": "Hello"}]}]
    assert ways[Mode.PREFIX]["messages"][1:] == [said]
    assert ways[Mode.ASK]["messages"][1] == said
    assert ways[Mode.ASK]["messages"][2]["content"][0]["text"] == ask_to_go_on("Once upon ")


def test_continuations_join_turns() -> None:
    """Turns go on alternating: a begun answer of the caller's own, and words that were only blanks."""
    own = asked(
        messages=[{"role": "user", "content": [{"text": "?"}]}, {"role": "assistant", "content": [{"text": "A"}]}]
    )
    prefixed = written(own, continuation=Continuation(Mode.PREFIX, " and B"))["messages"]
    assert prefixed[1:] == [{"role": "assistant", "content": [{"text": "A"}, {"text": " and B"}]}]
    blank = written(asked(), continuation=Continuation(Mode.ASK, "\n"))["messages"]
    assert [turn["role"] for turn in blank] == ["user"] and len(blank[0]["content"]) == 2
    assert len(written(foreign(), continuation=Continuation(Mode.PREFIX, "x"))["messages"]) == 2
    with pytest.raises(ValueError, match="'messages' has the wrong shape"):
        write_request(asked(messages=[1]), TARGET, continuation=Continuation(Mode.ASK, "x"))


# ----------------------------------------------------------------------- other formats


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"seed": 1}, "seed"),
        ({"presence_penalty": 0.5}, "presence_penalty"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"temperature": 1.5}, "temperature"),
        ({"parallel_calls": False, "tools": (LOOK,)}, "parallel_tool_calls"),
        ({"schema": {}}, "response_format"),
        ({"extras": {"logit_bias": {}}}, "logit_bias"),
        ({"choices": 2}, "n"),
    ],
)
def test_what_cannot_be_said(fields: dict[str, Any], name: str) -> None:
    """What would change the answer and has no word here makes the target ineligible, unless it may be dropped."""
    request = foreign(**fields)
    with pytest.raises(ValueError, match=f"Bedrock's Converse format has no {name}"):
        write_request(request, TARGET)
    assert unsaid(request, replace(TARGET, may_drop=frozenset((name,)))) == (name,)
    body = written(request, replace(TARGET, may_drop=frozenset("*")))
    assert body["messages"] == [{"role": "user", "content": [{"text": "Hello"}]}]
    assert not {"inferenceConfig", "outputConfig", "additionalModelRequestFields"} & set(body)


def test_what_says_nothing_is_no_hindrance() -> None:
    """Defaults that Bedrock has no word for are what it does anyway."""
    request = foreign(presence_penalty=0.0, frequency_penalty=0.0, parallel_calls=True, temperature=1.0, tools=(LOOK,))
    assert unsaid(request) == ()
    assert unsaid(foreign(parallel_calls=False, tool_choice="none")) == ()


def test_hints_are_told() -> None:
    """What changes no answer is left out and said: hints, names of speakers, the thoughts of others."""
    thought = Message(role="assistant", parts=(Reasoning("Hm.", "sig", "anthropic"), Reasoning("Hm."), Text("Yes.")))
    named = replace(USER, extras={"name": "Ann"})
    late = Message(role="system", parts=(Text("Be kind."),))
    request = foreign(named, thought, late, late, USER, hints={"user": "u"})
    assert unsaid(request) == ("user", "messages[].name", "reasoning", "system position")
    body = written(request)
    assert body["system"] == [{"text": "Be kind."}] * 2
    assert body["messages"][1]["content"] == [{"text": "Yes."}]


def test_turns_alternate() -> None:
    """Neighbours become one turn, with results of tools in the user's; blank words are left out."""
    blank = Message(role="assistant", parts=(Text(" "), *CALL.parts))
    silent = Message(role="user", parts=(Text(""),))
    body = written(foreign(USER, blank, RESULT, USER, silent, tools=(LOOK,)))
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    assert [list(block) for block in body["messages"][2]["content"]] == [["toolResult"], ["text"]]
    assert [list(block) for block in body["messages"][1]["content"]] == [["toolUse"]]
    with pytest.raises(ValueError, match="no conversation without a word"):
        write_request(foreign(silent), TARGET)


def test_tool_choice() -> None:
    """All choices but none have a word; without calls before, none is said by leaving the tools out."""
    choices: dict[str, Any] = {"auto": {"auto": {}}, "required": {"any": {}}}
    for choice, said in choices.items():
        assert written(foreign(tools=(LOOK,), tool_choice=choice))["toolConfig"]["toolChoice"] == said
    named = written(foreign(tools=(LOOK,), tool_choice={"name": "look"}))["toolConfig"]["toolChoice"]
    assert named == {"tool": {"name": "look"}}
    assert "toolConfig" not in written(foreign(tools=(LOOK,), tool_choice="none"))
    assert written(foreign(tools=(Tool(name="look", strict=False),)))["toolConfig"] == {
        "tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {"type": "object", "properties": {}}}}}]
    }
    history = foreign(USER, CALL, RESULT, tools=(LOOK,), tool_choice="none")
    with pytest.raises(ValueError, match="has no tool_choice: it cannot forbid"):
        write_request(history, TARGET)
    allowed = replace(TARGET, may_drop=frozenset(("tool_choice",)))
    assert "toolChoice" not in written(history, allowed)["toolConfig"]
    with pytest.raises(ValueError, match="only beside the tools"):
        write_request(foreign(USER, CALL, RESULT), TARGET)


def test_calls() -> None:
    """Arguments are an object here, with every digit as it was; ids of foreign letters are made anew, both alike."""
    call = ToolCall(id="call/ü", name="look", arguments='{"n": 12345678901234567890123, "x": 1.10}')
    result = Message(role="tool", parts=(ToolResult(id="call/ü", parts=()),))
    http = write_request(foreign(USER, Message(role="assistant", parts=(call,)), result, tools=(LOOK,)), TARGET)
    assert b'"input":{"n": 12345678901234567890123, "x": 1.10}' in http.body
    body = json.loads(http.body)
    ids = [
        block[name]["toolUseId"]
        for turn in body["messages"]
        for block in turn["content"]
        for name in block
        if name != "text"
    ]
    assert ids[0] == ids[1] and ids[0].startswith("tooluse_")
    for arguments, fine in (("", True), ("[]", False), ("{", False)):
        broken = foreign(USER, Message(role="assistant", parts=(replace(call, arguments=arguments),)), tools=(LOOK,))
        if fine:
            assert written(broken)["messages"][1]["content"][0]["toolUse"]["input"] == {}
        else:
            with pytest.raises(ValueError, match="no JSON object"):
                write_request(broken, TARGET)


MEDIA = [
    (Media(kind="image", url=f"data:image/jpg;base64,{PNG}"), {"image": {"format": "jpeg", "source": {"bytes": PNG}}}),
    (Media(kind="audio", data=PNG, media_type="audio/wav"), {"audio": {"format": "wav", "source": {"bytes": PNG}}}),
    (Media(kind="video", data=PNG, media_type="video/mp4"), {"video": {"format": "mp4", "source": {"bytes": PNG}}}),
    (
        Media(kind="document", url=f"data:application/pdf;base64,{PNG}", detail="My  notes, v2.pdf"),
        {"document": {"format": "pdf", "name": "My notes- v2", "source": {"bytes": PNG}}},
    ),
    (
        Media(kind="document", data=PNG, media_type="text/plain"),
        {"document": {"format": "txt", "name": "document", "source": {"bytes": PNG}}},
    ),
]


@pytest.mark.parametrize(("media", "block"), MEDIA, ids=lambda value: getattr(value, "kind", ""))
def test_media(media: Media, block: dict[str, Any]) -> None:
    """Bytes of every kind are said, in messages and in what tools answer; documents get names that are allowed."""
    message = Message(role="user", parts=(Text("See"), media))
    assert written(foreign(message))["messages"][0]["content"][1] == block
    answer = Message(role="tool", parts=(ToolResult(id="call_1", parts=(media,)),))
    said = written(foreign(USER, CALL, answer, tools=(LOOK,)))["messages"][2]["content"][0]["toolResult"]["content"]
    assert said == [block]


@pytest.mark.parametrize(
    "media",
    [
        Media(kind="image", url="https://x.invalid/a.png"),
        Media(kind="image", url="data:text/plain,words"),
        Media(kind="image", data=PNG, media_type="image/bmp"),
        Media(kind="hologram", data=PNG, media_type="image/png"),
    ],
    ids=lambda media: media.url[:10] or media.media_type,
)
def test_media_that_cannot_be_said(media: Media) -> None:
    """Addresses, and containers that Bedrock does not take, make the target ineligible."""
    request = foreign(Message(role="user", parts=(Text("See"), media)))
    with pytest.raises(ValueError, match=f"has no {media.kind}: "):
        write_request(request, TARGET)
    dropped = replace(TARGET, may_drop=frozenset((media.kind,)))
    assert written(request, dropped)["messages"][0]["content"] == [{"text": "See"}]


def test_documents_have_names_of_their_own() -> None:
    """Two documents of the same name are told apart, because Bedrock refuses them otherwise."""
    notes = Media(kind="document", data=PNG, media_type="text/markdown", detail="notes.md")
    content = written(foreign(Message(role="user", parts=(notes, notes, notes))))["messages"][0]["content"]
    assert [block["document"]["name"] for block in content] == ["notes", "notes-2", "notes-3"]


def test_opaque_parts() -> None:
    """What only one format knows goes back into that one, and into no other."""
    own = Opaque("bedrock", {"searchResult": {"source": "s", "title": "t", "content": []}})
    assert written(foreign(Message(role="user", parts=(own,))))["messages"][0]["content"] == [own.value]
    with pytest.raises(ValueError, match="cannot hold something of the format gemini"):
        write_request(foreign(Message(role="user", parts=(Opaque("gemini", {}),))), TARGET)
