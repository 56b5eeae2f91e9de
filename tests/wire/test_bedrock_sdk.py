"""The official AWS SDK as the judge of Bedrock's server side, and of what we send."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from loops import in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import Cut, ErrorEvent, FakeProvider, Status, essay
from unbroken.types import (
    Chat,
    HttpRequest,
    Media,
    Message,
    Request,
    Response,
    Source,
    Target,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from unbroken.wire.bedrock import FORMAT, write_request
from unbroken.wire.sigv4 import sign

boto3 = pytest.importorskip("boto3", reason="the official SDK is the judge of our server side")
botocore_config = pytest.importorskip("botocore.config")
exceptions = pytest.importorskip("botocore.exceptions")

PROMPT = "Why do bridges sing?"
ASKED = [{"role": "user", "content": [{"text": PROMPT}]}]
SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
ARN = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/1arbu5hu2sjr"
PIXEL = b"\x89PNG\r\n\x1a\n" + bytes(8)
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
WEATHER = {"toolSpec": {"name": "get_weather", "description": "Look.", "inputSchema": {"json": SCHEMA}}}
KEYS = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
SESSION = boto3.Session(**KEYS)


def client(provider: FakeProvider) -> Any:
    config = botocore_config.Config(retries={"total_max_attempts": 1}, connect_timeout=30, read_timeout=30)
    return SESSION.client("bedrock-runtime", endpoint_url=f"http://127.0.0.1:{provider.port}", config=config)


async def converse(provider: FakeProvider, **options: Any) -> Any:
    def ask() -> Any:
        with contextlib.closing(client(provider)) as sdk:
            return sdk.converse(**{"modelId": "m", "messages": ASKED, **options})

    return await asyncio.to_thread(ask)


async def converse_stream(provider: FakeProvider, **options: Any) -> list[dict[str, Any]]:
    def ask() -> list[dict[str, Any]]:
        with contextlib.closing(client(provider)) as sdk:
            answer = sdk.converse_stream(**{"modelId": "m", "messages": ASKED, **options})
            with contextlib.closing(answer["stream"]) as events:
                return list(events)

    return await asyncio.to_thread(ask)


def text_of(events: list[dict[str, Any]]) -> str:
    return "".join(event["contentBlockDelta"]["delta"]["text"] for event in events if "contentBlockDelta" in event)


# ------------------------------------------------------------------- our server side


@in_loop
async def test_a_plain_answer() -> None:
    """The SDK reads the words, the stop reason and the usage of a whole answer."""
    async with FakeProvider() as provider:
        answer = await converse(provider, modelId=ARN)
        seen = provider.seen[0]
    assert answer["output"]["message"] == {"role": "assistant", "content": [{"text": essay(PROMPT)}]}
    assert answer["stopReason"] == "end_turn"
    usage = answer["usage"]
    assert usage["outputTokens"] > 20 and usage["totalTokens"] == usage["inputTokens"] + usage["outputTokens"]
    assert (seen.model, seen.stream, seen.prompt) == (ARN, False, PROMPT)


@in_loop
async def test_a_streamed_answer() -> None:
    """The SDK reads a stream from its messageStart to its metadata, the words in many steps."""
    async with FakeProvider() as provider:
        events = await converse_stream(provider)
    assert text_of(events) == essay(PROMPT)
    names = [next(iter(event)) for event in events]
    deltas = len(names) - 4
    assert names == ["messageStart", *["contentBlockDelta"] * deltas, "contentBlockStop", "messageStop", "metadata"]
    assert events[-2]["messageStop"] == {"stopReason": "end_turn"}
    assert events[-1]["metadata"]["usage"]["outputTokens"] == deltas > 20


@in_loop
async def test_a_limit() -> None:
    """An answer that reached its limit says so."""
    async with FakeProvider() as provider:
        answer = await converse(provider, inferenceConfig={"maxTokens": 3})
        events = await converse_stream(provider, inferenceConfig={"maxTokens": 3})
    assert answer["stopReason"] == "max_tokens" == events[-2]["messageStop"]["stopReason"]


@in_loop
async def test_tool_calls() -> None:
    """A tool that is demanded is called with an object, streamed in pieces or not; its result ends the calling."""
    config = {"tools": [WEATHER], "toolChoice": {"tool": {"name": "get_weather"}}}
    async with FakeProvider() as provider:
        answer = await converse(provider, toolConfig=config)
        events = await converse_stream(provider, toolConfig=config)
        call = answer["output"]["message"]
        result = {"toolUseId": call["content"][0]["toolUse"]["toolUseId"], "content": [{"json": {"sky": "blue"}}]}
        more = [*ASKED, call, {"role": "user", "content": [{"toolResult": result}]}]
        final = await converse(provider, messages=more, toolConfig={"tools": [WEATHER]})
    use = call["content"][0]["toolUse"]
    assert (use["name"], use["input"], answer["stopReason"]) == ("get_weather", {"place": "sing"}, "tool_use")
    start, stop = events[1]["contentBlockStart"], events[-2]["messageStop"]
    assert start == {
        "start": {"toolUse": {"toolUseId": use["toolUseId"], "name": "get_weather"}},
        "contentBlockIndex": 0,
    }
    pieces = [
        event["contentBlockDelta"]["delta"]["toolUse"]["input"] for event in events if "contentBlockDelta" in event
    ]
    assert len(pieces) > 1 and json.loads("".join(pieces)) == use["input"] and stop["stopReason"] == "tool_use"
    assert final["output"]["message"]["content"] == [{"text": essay(PROMPT)}]


@in_loop
async def test_what_the_sdk_says_is_heard() -> None:
    """System prompt, picture, document, schema, limits and stop words of an SDK's call reach whoever answers."""
    heard: list[Request] = []

    def answer(request: Request) -> str:
        heard.append(request)
        return "Seen."

    content = [
        {"text": PROMPT},
        {"image": {"format": "png", "source": {"bytes": PIXEL}}},
        {"document": {"format": "pdf", "name": "notes", "source": {"bytes": b"%PDF"}}},
    ]
    schema = {"schema": json.dumps(SCHEMA), "name": "place"}
    form = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    async with FakeProvider(answer=answer) as provider:
        await converse(
            provider,
            messages=[{"role": "user", "content": content}],
            system=[{"text": "Be brief."}, {"cachePoint": {"type": "default"}}],
            inferenceConfig={"maxTokens": 50, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
            outputConfig=form,
            additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 2048}},
        )
    (request,) = heard
    assert request.needs == {"vision", "schema"} and request.thinks and request.max_tokens == 50
    assert request.chat.messages == (
        Message(
            role="system", parts=(Text("Be brief."),), extras={"cachePoint": [(1, {"cachePoint": {"type": "default"}})]}
        ),
        Message(role="user", parts=(Text(PROMPT), picture(), document())),
    )
    chat = request.chat
    assert (chat.temperature, chat.top_p, chat.stop, chat.reasoning_tokens) == (0.5, 0.9, ("END",), 2048)
    assert (chat.schema, chat.schema_name) == (SCHEMA, "place")


def picture() -> Media:
    return Media(kind="image", media_type="image/png", data=base64.b64encode(PIXEL).decode())


def document() -> Media:
    return Media(kind="document", media_type="application/pdf", data=base64.b64encode(b"%PDF").decode(), detail="notes")


KINDS = [
    (FailureKind.REQUEST, None, "ValidationException", 400),
    (FailureKind.CONTEXT_LENGTH, 413, "ValidationException", 413),
    (FailureKind.REQUEST, 403, "AccessDeniedException", 403),
    (FailureKind.REQUEST, 404, "ResourceNotFoundException", 404),
    (FailureKind.RATE_LIMIT, 429, "ThrottlingException", 429),
    (FailureKind.QUOTA, 402, "ThrottlingException", 429),
    (FailureKind.MODEL_MISSING, 404, "ResourceNotFoundException", 404),
    (FailureKind.LOADING, 503, "ModelNotReadyException", 503),
    (FailureKind.OVERLOADED, 529, "ServiceUnavailableException", 503),
    (FailureKind.NO_TARGET, None, "ServiceUnavailableException", 503),
    (FailureKind.MODEL_FAULT, None, "ModelErrorException", 502),
    (FailureKind.STALLED, None, "ModelTimeoutException", 504),
    (FailureKind.DEADLINE, None, "ModelTimeoutException", 504),
    (FailureKind.SERVER, 500, "InternalServerException", 502),
    (FailureKind.AUTH, 401, "InternalServerException", 502),
]


@pytest.mark.parametrize(("kind", "status", "name", "shown"), KINDS, ids=str)
@in_loop
async def test_failures_are_the_sdks_exceptions(kind: FailureKind, status: int | None, name: str, shown: int) -> None:
    """A failure that a caller sees raises the exception class that Amazon's own error of that kind raises."""
    assert FORMAT.write_failure is not None
    failure = Failure(kind=kind, message="It went wrong.", status=status, retry_after_s=2.5)
    written, headers, body = FORMAT.write_failure(failure, "req_1")
    async with FakeProvider() as provider:
        provider.fail_with(Status(written, headers=headers, body=body))
        with contextlib.closing(client(provider)) as sdk, pytest.raises(getattr(sdk.exceptions, name)) as raised:
            await converse(provider)
    response = raised.value.response
    assert response["Error"]["Message"] == "It went wrong."
    assert response["ResponseMetadata"]["HTTPStatusCode"] == shown
    assert response["ResponseMetadata"]["RequestId"] == "req_1"
    assert headers.get("retry-after") == ("3" if shown in (429, 503) else None)


@in_loop
async def test_a_key_that_is_not_known() -> None:
    """A caller whose key nobody knows gets the class that Amazon has for it."""
    assert FORMAT.write_failure is not None
    failure = Failure(kind=FailureKind.REQUEST, message="Who are you?", status=401)
    status, headers, body = FORMAT.write_failure(failure, "req_1")
    async with FakeProvider() as provider:
        provider.fail_with(Status(status, headers=headers, body=body))
        with pytest.raises(exceptions.ClientError, match="UnrecognizedClientException"):
            await converse(provider)


@in_loop
async def test_a_stream_that_breaks() -> None:
    """An error inside a stream raises in the SDK, after the words before it."""
    async with FakeProvider() as provider:
        provider.fail_with(ErrorEvent(after_tokens=5, message="The server had an error."))
        with pytest.raises(exceptions.EventStreamError, match=r"internalServerException.*The server had an error\."):
            await converse_stream(provider)
        provider.fail_with(Cut(after_tokens=5, clean=True))
        events = await converse_stream(provider)
    assert "messageStop" not in [next(iter(event)) for event in events]


# ----------------------------------------------------------------------- what we send

CHAT = Chat(
    messages=(
        Message(role="system", parts=(Text("Be brief."),)),
        Message(role="user", parts=(Text(PROMPT), picture(), document())),
        Message(
            role="assistant",
            parts=(Text("Let me look."), ToolCall(id="call_1", name="get_weather", arguments='{"place":"Rome"}')),
        ),
        Message(role="tool", parts=(ToolResult(id="call_1", parts=(Text("Storm"),), failed=True),)),
        Message(role="user", parts=(Text("So?"),)),
    ),
    tools=(Tool(name="get_weather", description="Look.", parameters=SCHEMA),),
    tool_choice="required",
    max_tokens=300,
    temperature=0.5,
    top_p=0.9,
    top_k=20,
    stop=("END",),
)
SAID: Mapping[str, Any] = {
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": PROMPT},
                {"image": {"format": "png", "source": {"bytes": PIXEL}}},
                {"document": {"format": "pdf", "name": "notes", "source": {"bytes": b"%PDF"}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"text": "Let me look."},
                {"toolUse": {"toolUseId": "call_1", "name": "get_weather", "input": {"place": "Rome"}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "call_1", "content": [{"text": "Storm"}], "status": "error"}},
                {"text": "So?"},
            ],
        },
    ],
    "system": [{"text": "Be brief."}],
    "inferenceConfig": {"maxTokens": 300, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    "toolConfig": {"tools": [WEATHER], "toolChoice": {"any": {}}},
    "additionalModelRequestFields": {"top_k": 20},
}


@pytest.mark.parametrize("model", ["us.anthropic.claude-sonnet-4-5-20250929-v1:0", f"{ARN}-claude-4"])
@pytest.mark.parametrize("stream", [False, True])
@in_loop
async def test_our_request_is_the_sdks(model: str, stream: bool) -> None:
    """For the same call we ask the same path with the same body, and our signature is the SDK's."""
    async with FakeProvider(answer=lambda request: Response(text="Well.")) as provider:
        ask = converse_stream if stream else converse
        await ask(provider, modelId=model, **SAID)
        seen, address = provider.seen[0], f"http://127.0.0.1:{provider.port}"
    target = Target(name="t", provider="b", model=model, base_url=address, auth="sigv4", key=SECRET)
    request = Request(model="m", stream=stream, source=Source("elsewhere", {}), read=lambda: CHAT)
    http = write_request(request, target)
    assert http.url == address + seen.path
    assert json.loads(http.body) == json.loads(seen.body)
    assert http.headers["content-type"] == seen.headers["content-type"]
    assert "authorization" not in http.headers and http.unsaid == ()
    theirs = seen.headers["authorization"]
    names = theirs.partition("SignedHeaders=")[2].partition(",")[0].split(";")
    same = HttpRequest(
        method="POST",
        url=http.url,
        headers={name: seen.headers[name] for name in names if name != "host"},
        body=seen.body,
    )
    at = datetime.fromisoformat(seen.headers["x-amz-date"])
    signed = sign(same, key_id="AKIDEXAMPLE", secret=SECRET, region="us-east-1", service="bedrock", at=at)
    assert signed.headers["authorization"] == theirs


def test_our_key_is_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Bedrock API key is shown as the SDK shows it, at the same address; where the SDK sends it, we stop it."""
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "bedrock-api-key-x")
    sent: list[Any] = []

    def stop(request: Any, **_: Any) -> Any:
        sent.append(request)
        raise ConnectionAbortedError

    with contextlib.closing(boto3.Session(**KEYS).client("bedrock-runtime")) as sdk:
        sdk.meta.events.register("before-send.bedrock-runtime.*", stop)
        with pytest.raises(ConnectionAbortedError):
            sdk.converse(modelId="us.amazon.nova-lite-v1:0", messages=ASKED)
    target = Target(
        name="t",
        provider="b",
        model="us.amazon.nova-lite-v1:0",
        key="bedrock-api-key-x",
        options={"region": "us-east-1"},
    )
    request = Request(model="m", read=lambda: Chat(messages=(Message(role="user", parts=(Text(PROMPT),)),)))
    http = write_request(request, target)
    assert http.headers["authorization"] == sent[0].headers["Authorization"].decode() == "Bearer bedrock-api-key-x"
    assert http.url == sent[0].url
    assert json.loads(http.body) == json.loads(sent[0].body)
