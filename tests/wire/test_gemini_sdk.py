"""Google's own client as the judge: of what we serve, and of what we send."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from google import genai
from google.auth.credentials import AnonymousCredentials
from google.genai import errors, types

from loops import PATIENCE_S, in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import ErrorEvent, FakeProvider, Status
from unbroken.types import Chat, Media, Message, Request, Response, Target, Task, Text, Tool, ToolCall, ToolResult
from unbroken.wire.gemini import FORMAT, read_request, write_request
from unbroken.wire.gemini_dialect import camel
from unbroken.wire.gemini_media import write_request as write_media_request
from unbroken.work import Texts
from wire.gemini_recorded import Replay, client

WEATHER = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TWO = [types.Content(parts=[types.Part.from_text(text=text)]) for text in "ab"]
"""As contents: of a list of words the client makes one content for the newer models."""
CALL = ToolCall(id="call_1", name="weather", arguments='{"place":"Bern"}')
AT_GOOGLE = Target(
    name="g", provider="google", model="gemini-2.5-flash", format="gemini", base_url="http://127.0.0.1:9/v1", key="k"
)
AT_VERTEX = Target(
    name="v",
    provider="vertex",
    model="gemini-2.5-flash",
    format="gemini",
    base_url="http://127.0.0.1:9/v1beta1",
    key="t",
    auth="bearer",
    options={"project": "p", "location": "europe-west4"},
)


@asynccontextmanager
async def sdk_for(provider: FakeProvider, **options: Any) -> AsyncIterator[Any]:
    """Google's client, asynchronous, for this provider."""
    async with httpx.AsyncClient(timeout=PATIENCE_S) as http:
        there = types.HttpOptions(base_url=f"http://127.0.0.1:{provider.port}", httpx_async_client=http)
        async with genai.Client(http_options=there, **(options or {"api_key": "k"})).aio as sdk:
            yield sdk


def on_vertex(**options: Any) -> dict[str, Any]:
    return {"vertexai": True, "project": "p", "location": "europe-west4", "credentials": SignedIn(), **options}


class SignedIn(AnonymousCredentials):
    """Credentials with a token that needs no refreshing."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = "t"

    @property
    def valid(self) -> bool:
        return True


# ------------------------------------------------------------------- what we serve


@in_loop
async def test_plain_answers() -> None:
    """A plain answer has its text, its reason, its usage and its model."""
    async with FakeProvider(answer=lambda _: "All is well.") as provider, sdk_for(provider) as sdk:
        answer = await sdk.models.generate_content(model="gemini-x", contents="How is it?")
    assert answer.text == "All is well."
    assert answer.candidates is not None and answer.candidates[0].finish_reason is types.FinishReason.STOP
    assert answer.usage_metadata is not None and answer.usage_metadata.candidates_token_count == 3
    assert (answer.model_version, provider.seen[0].key) == ("gemini-x", "k")


@in_loop
async def test_streams() -> None:
    """A stream brings the text in pieces, and its end, with the usage, last."""
    async with FakeProvider(answer=lambda _: "One two three.") as provider, sdk_for(provider) as sdk:
        stream = await sdk.models.generate_content_stream(model="gemini-x", contents="Count.")
        chunks = [chunk async for chunk in stream]
    assert "".join(chunk.text or "" for chunk in chunks) == "One two three."
    reasons = [chunk.candidates[0].finish_reason for chunk in chunks if chunk.candidates]
    assert reasons == [None, None, None, types.FinishReason.STOP]
    assert chunks[-1].usage_metadata is not None and chunks[-1].usage_metadata.candidates_token_count == 3
    assert len({chunk.response_id for chunk in chunks}) == 1


@pytest.mark.parametrize("streamed", [False, True])
@in_loop
async def test_tools(streamed: bool) -> None:
    """Calls come whole, with the ids by which their results are given back."""
    said = Response(tool_calls=(CALL, ToolCall(id="call_2", name="weather", arguments="{}")))
    declared = types.FunctionDeclaration(name="weather", description="d", parameters_json_schema=WEATHER)
    config = types.GenerateContentConfig(tools=[types.Tool(function_declarations=[declared])])
    async with FakeProvider(answer=lambda _: said) as provider, sdk_for(provider) as sdk:
        if streamed:
            stream = await sdk.models.generate_content_stream(model="m", contents="Hot?", config=config)
            calls = [call async for chunk in stream for call in chunk.function_calls or []]
        else:
            calls = (await sdk.models.generate_content(model="m", contents="Hot?", config=config)).function_calls or []
    assert [(call.id, call.name, call.args) for call in calls] == [
        ("call_1", "weather", {"place": "Bern"}),
        ("call_2", "weather", {}),
    ]


@in_loop
async def test_vertex_paths() -> None:
    """Vertex AI's clients are served at their long paths."""
    async with FakeProvider(answer=lambda _: "Yes.") as provider, sdk_for(provider, **on_vertex()) as sdk:
        answer = await sdk.models.generate_content(model="gemini-x", contents="Here?")
        stream = await sdk.models.generate_content_stream(model="gemini-x", contents="Here?")
        streamed = [chunk.text async for chunk in stream]
    assert (answer.text, "".join(text or "" for text in streamed)) == ("Yes.", "Yes.")
    assert "/projects/p/locations/europe-west4/publishers/google/models/gemini-x:" in provider.seen[0].path
    assert provider.seen[1].stream


@in_loop
async def test_conversations() -> None:
    """A conversation with a schema, instructions and a picture is understood."""
    schema = {"type": "OBJECT", "properties": {"a": {"type": "INTEGER", "nullable": True}}}
    contents = [types.Part.from_text(text="What is it?"), types.Part.from_bytes(data=b"\x89PNG", mime_type="image/png")]
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        response_mime_type="application/json",
        response_schema=types.Schema.model_validate(schema),
        thinking_config=types.ThinkingConfig(thinking_budget=2048),
        max_output_tokens=50,
    )
    seen: list[Request] = []

    def answer(request: Request) -> str:
        seen.append(request)
        return '{"a": 1}'

    async with FakeProvider(answer=answer) as provider, sdk_for(provider) as sdk:
        reply = await sdk.models.generate_content(model="m", contents=contents, config=config)
    assert json.loads(reply.text) == {"a": 1}
    chat = seen[0].chat
    assert [message.role for message in chat.messages] == ["system", "user"]
    assert chat.messages[1].parts[1] == Media(kind="image", data="iVBORw==", media_type="image/png")
    assert chat.schema == {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
    assert (seen[0].needs, seen[0].thinks, seen[0].max_tokens) == (frozenset(("vision", "schema")), True, 50)


@pytest.mark.parametrize(
    ("failure", "kind", "word"),
    [
        (Failure(kind=FailureKind.REQUEST, message="no", status=400, param="contents"), errors.ClientError,
         "INVALID_ARGUMENT"),
        (Failure(kind=FailureKind.RATE_LIMIT, message="later", retry_after_s=3), errors.ClientError,
         "RESOURCE_EXHAUSTED"),
        (Failure(kind=FailureKind.MODEL_MISSING, message="none"), errors.ClientError, "NOT_FOUND"),
        (Failure(kind=FailureKind.REQUEST, message="big", status=413), errors.ClientError, "INVALID_ARGUMENT"),
        (Failure(kind=FailureKind.OVERLOADED, message="busy"), errors.ServerError, "UNAVAILABLE"),
        (Failure(kind=FailureKind.DEADLINE, message="late"), errors.ServerError, "DEADLINE_EXCEEDED"),
        (Failure(kind=FailureKind.INTERNAL, message="oops"), errors.ServerError, "INTERNAL"),
    ],
)  # fmt: skip
def test_failures_raise_the_right_class(failure: Failure, kind: type[errors.APIError], word: str) -> None:
    """Our envelope makes the client raise what Google's own would."""
    assert FORMAT.write_failure is not None
    status, headers, body = FORMAT.write_failure(failure, "r1")
    with pytest.raises(kind) as caught:
        errors.APIError.raise_error(status, json.loads(body), None)
    raised = caught.value
    assert (raised.status, raised.message, raised.code) == (word, failure.message, status)
    assert headers["x-request-id"] == "r1"
    details = {detail["@type"].rpartition(".")[2]: detail for detail in raised.details["error"].get("details", [])}
    assert ("RetryInfo" in details) is (failure.retry_after_s is not None)
    assert details.get("RetryInfo", {"retryDelay": "3s"})["retryDelay"] == "3s"
    assert ("BadRequest" in details) is (failure.param is not None)


@in_loop
async def test_failures_reach_the_client() -> None:
    """Errors before and within a stream are raised."""
    async with FakeProvider() as provider, sdk_for(provider) as sdk:
        provider.fail_with(Status(429), times=1)
        with pytest.raises(errors.ClientError):
            await sdk.models.generate_content(model="m", contents="x")
        provider.fail_with(ErrorEvent(after_tokens=2, message="burnt"), times=1)
        with pytest.raises(errors.ServerError, match="burnt"):
            async for _ in await sdk.models.generate_content_stream(model="m", contents="x"):
                pass


# -------------------------------------------------------------------- embeddings


@in_loop
async def test_embeddings() -> None:
    """Vectors come in the shape in which they were asked for: several, on Vertex AI, one."""
    config = types.EmbedContentConfig(task_type="RETRIEVAL_QUERY", output_dimensionality=8)
    async with FakeProvider() as provider:
        async with sdk_for(provider) as sdk:
            several = await sdk.models.embed_content(model="m", contents=TWO, config=config)
        async with sdk_for(provider, **on_vertex()) as sdk:
            vertex = await sdk.models.embed_content(model="text-m", contents=TWO, config=config)
            newer = await sdk.models.embed_content(model="gemini-m", contents=TWO, config=config)
            one = await sdk.models.embed_content(model="gemini-m", contents="b", config=config)
    vectors = [[embedding.values for embedding in answer.embeddings or []] for answer in (several, vertex, newer, one)]
    assert vectors[0] == vectors[1] == vectors[2] == [vectors[0][0], *vectors[3]]
    assert len(vectors[0][0] or []) == 8
    first = (vertex.embeddings or [])[0].statistics
    assert first is not None and first.token_count
    assert [seen.path.rpartition(":")[2] for seen in provider.seen] == [
        "batchEmbedContents", "predict", "batchEmbedContents", "embedContent",
    ]  # fmt: skip


@pytest.mark.parametrize("target", [AT_GOOGLE, AT_VERTEX], ids=["google", "vertex"])
@pytest.mark.parametrize("model", ["gemini-embedding-2", "text-embedding-005"])
def test_we_embed_as_the_client_does(target: Target, model: str) -> None:
    """Our request for vectors is the one that Google's client sends."""
    replay = Replay()
    options = on_vertex() if target is AT_VERTEX else {}
    with client(replay, **options) as sdk:
        replay.body = b'{"embeddings": [], "predictions": []}'
        config = types.EmbedContentConfig(task_type="CLUSTERING", output_dimensionality=7)
        sdk.models.embed_content(model=model, contents=TWO, config=config)
    work = Texts(texts=("a", "b"), dimensions=7, purpose="clustering")
    request = Request(model="m", task=Task.EMBEDDING, read=lambda: work)
    ours = write_media_request(request, replace(target, model=model))
    theirs = replay.seen[0]
    assert ours.url == str(theirs.url)
    assert stripped(json.loads(ours.body)) == stripped(json.loads(theirs.content))


def stripped(value: Any) -> Any:
    """Without the roles of contents, and the model's name within each request: Google fills in both."""
    if isinstance(value, list):
        return [stripped(item) for item in value]
    if isinstance(value, dict):
        return {name: stripped(item) for name, item in value.items() if name not in ("role", "model")}
    return value


# -------------------------------------------------------------------- what we send

CHAT = Chat(
    messages=(
        Message(role="system", parts=(Text("Be brief."),)),
        Message(role="user", parts=(Text("Hot?"), Media(kind="image", data="iVBORw==", media_type="image/png"))),
        Message(role="assistant", parts=(Text("Let me see."), CALL)),
        Message(role="tool", parts=(ToolResult(id="call_1", parts=(Text("20 degrees"),)),)),
        Message(role="user", parts=(Media(kind="document", url="https://a.example/b.pdf"),)),
    ),
    tools=(Tool(name="weather", description="d", parameters=WEATHER),),
    tool_choice={"name": "weather"},
    max_tokens=9,
    temperature=0.5,
    top_p=0.9,
    top_k=3,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    stop=("END",),
    seed=5,
    reasoning_tokens=100,
)


def as_google_has_it() -> dict[str, Any]:
    """The same conversation in the words of Google's client."""
    part = types.Part
    contents = [
        types.Content(role="user", parts=[part.from_text(text="Hot?"),
                                          part.from_bytes(data=b"\x89PNG", mime_type="image/png")]),
        types.Content(role="model", parts=[
            part.from_text(text="Let me see."),
            part(function_call=types.FunctionCall(id="call_1", name="weather", args={"place": "Bern"})),
        ]),
        types.Content(role="user", parts=[
            part(function_response=types.FunctionResponse(id="call_1", name="weather",
                                                          response={"output": "20 degrees"})),
        ]),
        types.Content(role="user", parts=[part.from_uri(file_uri="https://a.example/b.pdf",
                                                        mime_type="application/pdf")]),
    ]  # fmt: skip
    declared = types.FunctionDeclaration(name="weather", description="d", parameters_json_schema=WEATHER)
    calling = types.FunctionCallingConfig(mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["weather"])
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        tools=[types.Tool(function_declarations=[declared])],
        tool_config=types.ToolConfig(function_calling_config=calling),
        max_output_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        stop_sequences=["END"],
        seed=5,
        thinking_config=types.ThinkingConfig(thinking_budget=100),
        candidate_count=2,
    )
    return {"model": "gemini-2.5-flash", "contents": contents, "config": config}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("target", [AT_GOOGLE, AT_VERTEX], ids=["google", "vertex"])
def test_we_ask_as_the_client_does(target: Target, streamed: bool) -> None:
    """Our request for a conversation is the one that Google's client sends: address, key and body."""
    replay = Replay()
    replay.body = b'{"candidates": []}'
    with client(replay, **(on_vertex() if target is AT_VERTEX else {})) as sdk:
        ask = sdk.models.generate_content_stream if streamed else sdk.models.generate_content
        list(ask(**as_google_has_it()))
    theirs = replay.seen[0]
    ours = write_request(Request(model="m", choices=2, stream=streamed, read=lambda: CHAT), target)
    assert ours.url == str(theirs.url)
    shown = "authorization" if target is AT_VERTEX else "x-goog-api-key"
    assert ours.headers[shown] == theirs.headers[shown]
    assert json.loads(ours.body) == normal(json.loads(theirs.content))
    answered = ToolResult(id="call_1", name="weather", parts=(Text("20 degrees"),))
    again = read_request(theirs.url.path, theirs.content)
    assert isinstance(again, Request)
    assert again.chat.messages[1:4] == (*CHAT.messages[1:3], Message(role="tool", parts=(answered,)))


def normal(body: Any) -> Any:
    """With one spelling of names, and without what says nothing: instructions' role, whole numbers' decimals."""
    body = camel(body)
    body["systemInstruction"].pop("role", None)
    body["generationConfig"]["topK"] = int(body["generationConfig"]["topK"])
    return body
