"""Bedrock's Converse format against recorded traffic, and against botocore's reading of the same bytes."""

from __future__ import annotations

import base64
import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta, Finish, HttpReply, Request, Response, Target, fold
from unbroken.wire import Outcome
from unbroken.wire.aws_events import write_frame
from unbroken.wire.bedrock import FORMAT, read_request, write_request
from unbroken.wire.bedrock_answer import REDACTED, decoder
from wire import reading
from wire.recorded import OURS, Recording, everything

parsers = pytest.importorskip("botocore.parsers", reason="botocore judges what we read")
eventstream = pytest.importorskip("botocore.eventstream")
session = pytest.importorskip("botocore.session")

MODEL = session.get_session().get_service_model("bedrock-runtime")
ENDPOINTS = ("converse", "converse-stream")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {
    "end_turn": Finish.STOP,
    "tool_use": Finish.TOOL_CALLS,
    "max_tokens": Finish.LENGTH,
    "guardrail_intervened": Finish.CONTENT_FILTER,
}


def ours() -> list[Recording]:
    with gzip.open(OURS / "bedrock.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def body_of(recording: Recording) -> bytes:
    text: str = recording["response_body"]
    return base64.b64decode(text) if recording["response_body_encoding"] == "base64" else text.encode()


def target_of(recording: Recording) -> Target:
    model = unquote(urlsplit(recording["url"]).path.split("/")[-2])
    return Target(name="t", provider="bedrock", model=model, base_url="https://x.invalid", key="k")


# ------------------------------------------------------------------ botocore reads


class Raw:
    """A body as urllib3 gives it to botocore."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> Iterator[bytes]:
        yield self._body

    def close(self) -> None:
        pass


def sdk_message(recording: Recording) -> dict[str, Any]:
    """The answer as boto3's user sees it; the events of a stream put together as its documentation says."""
    body = body_of(recording)
    if recording["stream"]:
        return assembled(body)
    answer = {"status_code": 200, "headers": {}, "body": body}
    parsed: dict[str, Any] = parsers.create_parser("rest-json").parse(
        answer, MODEL.operation_model("Converse").output_shape
    )
    return parsed


def assembled(body: bytes) -> dict[str, Any]:
    shape = MODEL.operation_model("ConverseStream").output_shape.members["stream"]
    events = eventstream.EventStream(Raw(body), shape, parsers.EventStreamJSONParser(), "ConverseStream")
    blocks: dict[int, dict[str, Any]] = {}
    answer: dict[str, Any] = {"output": {"message": {"content": []}}}
    for event in events:
        ((name, inner),) = event.items()
        if name == "contentBlockStart":
            blocks[inner["contentBlockIndex"]] = {kind: dict(v, input="") for kind, v in inner["start"].items()}
        elif name == "contentBlockDelta":
            add(blocks.setdefault(inner["contentBlockIndex"], {}), inner["delta"])
        elif name in ("messageStop", "metadata"):
            answer.update(inner)
    for block in blocks.values():
        if "toolUse" in block:
            block["toolUse"]["input"] = json.loads(block["toolUse"]["input"] or "{}")
    answer["output"]["message"]["content"] = list(blocks.values())
    return answer


def add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    if "text" in delta:
        block["text"] = block.get("text", "") + delta["text"]
    if "toolUse" in delta:
        block["toolUse"]["input"] += delta["toolUse"]["input"]
    thought = delta.get("reasoningContent", {})
    if "redactedContent" in thought:
        block["reasoningContent"] = thought
    elif thought:
        held = block.setdefault("reasoningContent", {}).setdefault("reasoningText", {})
        for name, value in thought.items():
            held[name] = held.get(name, "") + value


def expected(recording: Recording) -> dict[str, Any]:
    answer = sdk_message(recording)
    text, thoughts, signatures, calls = "", "", "", []
    for block in answer["output"]["message"]["content"]:
        text += block.get("text", "")
        text += "".join(item.get("text", "") for item in block.get("citationsContent", {}).get("content", []))
        thought = block.get("reasoningContent", {})
        thoughts += thought.get("reasoningText", {}).get("text", "")
        signatures += thought.get("reasoningText", {}).get("signature", "")
        if "redactedContent" in thought:
            signatures += REDACTED + base64.b64encode(thought["redactedContent"]).decode()
        use = block.get("toolUse")
        if use and use.get("type") != "server_tool_use":
            calls.append((use["toolUseId"], use["name"], use["input"]))
    return {
        "text": text,
        "reasoning": thoughts,
        "signature": signatures,
        "calls": calls,
        "finish": FINISHES[answer["stopReason"]],
        "raw_finish": answer["stopReason"],
        "usage": counted(answer.get("usage")),
    }


def counted(usage: dict[str, int] | None) -> tuple[int, ...] | None:
    """All of the input, what came from a cache and what went into one, and the output."""
    if usage is None:
        return None
    parts = [usage.get(name, 0) for name in ("inputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")]
    assert "totalTokens" not in usage or sum(parts) == usage["totalTokens"] - usage["outputTokens"]
    return sum(parts), parts[1], parts[2], usage.get("outputTokens", 0)


def summary(answer: Response) -> dict[str, Any]:
    usage = answer.usage
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "signature": answer.signature,
        "calls": [(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls],
        "finish": answer.finish,
        "raw_finish": answer.raw_finish,
        "usage": usage and (usage.input_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.output_tokens),
    }


# ------------------------------------------------------------------- the answers


def decode(recording: Recording, pieces: list[bytes]) -> list[Delta] | Failure:
    return reading.read(decoder(Request(model="m", stream=bool(recording["stream"])), target_of(recording)), pieces)


def check_answer(recording: Recording, rng: random.Random, *, bytewise: bool) -> None:
    body = body_of(recording)
    deltas = decode(recording, [body])
    assert isinstance(deltas, list), (recording["id"], deltas)
    assert summary(fold(deltas)) == expected(recording), recording["id"]
    splits = [reading.cut(body, rng, 5)] + ([[body[i : i + 1] for i in range(len(body))]] if bytewise else [])
    for pieces in splits:
        assert decode(recording, pieces) == deltas
    check_passage(recording, deltas, body=body)
    check_writing(recording, deltas)


def check_passage(recording: Recording, deltas: list[Delta], *, body: bytes) -> None:
    """What went in comes out, byte for byte, for plain answers and for every frame."""
    assert FORMAT.writer is not None
    writer = FORMAT.writer(Request(model="m", stream=bool(recording["stream"])))
    if recording["stream"]:
        assert writer.write(deltas) + writer.end(OUTCOME) == body
    else:
        assert writer.whole(deltas, OUTCOME) == body


def check_writing(recording: Recording, deltas: list[Delta]) -> None:
    """Encoded anew, as after a rescue, the answer says the same to botocore."""
    assert FORMAT.writer is not None
    writer = FORMAT.writer(Request(model="m", stream=bool(recording["stream"])))
    naked = [strip(delta) for delta in deltas]
    if recording["stream"]:
        written, encoding = base64.b64encode(writer.write(naked) + writer.end(OUTCOME)).decode(), "base64"
    else:
        written, encoding = writer.whole(naked, OUTCOME).decode(), "utf-8"
    again = expected({**recording, "response_body": written, "response_body_encoding": encoding})
    first = expected(recording)
    if not recording["stream"]:
        again["signature"] = first["signature"]  # thoughts of a whole answer are folded: proofs fit no longer
    assert again == {**first, "usage": first["usage"] or (0, 0, 0, 0)}


def strip(delta: Delta) -> Delta:
    """The delta as if somebody had changed it."""
    return replace(delta, raw=b"", body=False)


def good(recordings: list[Recording]) -> list[Recording]:
    return [recording for recording in recordings if recording["status"] == 200]


@pytest.mark.parametrize("recording", good(ours()), ids=lambda r: r["id"][:6])
def test_recorded_answers(recording: Recording) -> None:
    """A recorded answer is read as botocore reads it, however it is cut, passed on as it is and written as it was."""
    check_answer(recording, random.Random(recording["id"]), bytewise=True)


def test_all_recorded_answers(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = good(everything(shared, *ENDPOINTS))
    assert len(recordings) >= 243
    for number, recording in enumerate(recordings):
        check_answer(recording, random.Random(number), bytewise=number % 20 == 0)


def test_all_recorded_streams_break(shared: Path) -> None:
    """A recorded stream that is cut before its stop reason is cut short, wherever; after it, it is whole."""
    recordings = [r for r in good(everything(shared, *ENDPOINTS)) if r["stream"]]
    for number, recording in enumerate(recordings):
        body = body_of(recording)
        ends = body.index(b"messageStop") - 20
        cut_short = decode(recording, [body[: random.Random(number).randrange(ends)]])
        assert isinstance(cut_short, Failure) and cut_short.kind is FailureKind.TRUNCATED
        told = body.rindex(b"metadata") + 20
        assert FINISHES[sdk_message(recording)["stopReason"]] == (finish_of(recording, body[:told]))


def finish_of(recording: Recording, body: bytes) -> Finish | None:
    reader = decoder(Request(model="m", stream=True), target_of(recording))
    deltas = reader.feed(body)
    assert isinstance(deltas, list) and reader.close() == [] and not reader.done
    return fold(deltas).finish


def test_fixtures_without_requests(shared: Path) -> None:
    """Answers that were kept without their request, some written by hand, are read too."""
    with gzip.open(shared / "wire" / "response_only-bedrock.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if "rerank" not in row["source_path"]]
    assert len(rows) == 11
    for row in rows:
        body = row["response_body"].encode()
        if row["stream"]:
            body = b"".join(framed(json.loads(line)) for line in row["response_body"].splitlines() if line)
        found = decode({**row, "url": "https://x.invalid/model/m/converse"}, [body])
        assert isinstance(found, list), (row["source_path"], found)
        answer = fold(found)
        assert answer.finish is not None and (answer.text or answer.tool_calls)
        assert all(json.loads(call.arguments) is not None for call in answer.tool_calls)


def framed(value: dict[str, Any]) -> bytes:
    ((name, inner),) = value.items()
    return write_frame({":event-type": name, ":message-type": "event"}, json.dumps(inner).encode())


# ------------------------------------------------------------------- the errors


def check_error(recording: Recording) -> None:
    headers = {name.lower(): value for name, value in recording["response_headers"].items()}
    failure = FORMAT.classify(HttpReply(status=recording["status"], headers=headers, body=body_of(recording)))
    assert failure.message in json.loads(body_of(recording))["message"]
    wanted = {"identifier is invalid": FailureKind.MODEL_MISSING, "is expired": FailureKind.AUTH}
    kinds = [kind for words, kind in wanted.items() if words in failure.message]
    assert failure.kind in (kinds or [FailureKind.REQUEST, FailureKind.UNSUPPORTED]), failure


@pytest.mark.parametrize("recording", [r for r in ours() if r["error_kind"]], ids=lambda r: r["id"][:6])
def test_recorded_errors(recording: Recording) -> None:
    """A recorded error is of the kind that its class and its words say."""
    check_error(recording)


def test_all_recorded_errors(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in everything(shared, *ENDPOINTS) if r["error_kind"]]
    assert len(recordings) == 11
    for recording in recordings:
        check_error(recording)


# ------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body, target = recording["request_body"], target_of(recording)
    raw = json.dumps(body, ensure_ascii=False).encode()
    path = urlsplit(recording["url"]).path.removeprefix("/bedrock")
    request = read_request(path, raw)
    assert isinstance(request, Request), request
    assert (request.model, request.stream) == (target.model, recording["endpoint"] == "converse-stream")
    assert request.max_tokens == body.get("inferenceConfig", {}).get("maxTokens")
    tools = [tool for tool in body.get("toolConfig", {}).get("tools", []) if "toolSpec" in tool]
    assert ("tools" in request.needs) is bool(tools)
    assert ("schema" in request.needs) is ("outputConfig" in body)
    http = write_request(request, target)
    assert http.url == f"https://x.invalid/model/{quote(target.model, safe='')}/{recording['endpoint']}"
    assert list(json.loads(http.body)) == list(body) and json.loads(http.body) == body
    assert all(json.dumps(value, ensure_ascii=False).encode() in http.body for value in body.values())
    check_chat(request, target)


def check_chat(request: Request, target: Target) -> None:
    """The canonical conversation, written again, is legal to botocore and says what the body said."""
    chat = request.chat
    alone = Request(model="m", stream=request.stream, read=lambda: chat)
    http = write_request(alone, target)
    assert http.unsaid == ()
    again = read_request(http.url.removeprefix("https://x.invalid"), http.body)
    assert isinstance(again, Request)
    assert again.chat == chat
    assert again.needs == request.needs
    check_legal(http.body, stream=request.stream)


def check_legal(body: bytes, *, stream: bool) -> None:
    """Botocore's own validation finds nothing wrong, and knows every field."""
    shape = MODEL.operation_model("ConverseStream" if stream else "Converse").input_shape
    validate = pytest.importorskip("botocore.validate")
    report = validate.ParamValidator().validate({"modelId": "m", **with_bytes(json.loads(body))}, shape)
    assert not report.has_errors(), report.generate_report()


BLOBS = ("bytes", "redactedContent")


def decoded(value: Any) -> Any:
    return base64.b64decode(value) if isinstance(value, str) else value


def with_bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    if isinstance(value, dict):
        return {name: decoded(item) if name in BLOBS else with_bytes(item) for name, item in value.items()}
    return value


@pytest.mark.parametrize("recording", ours(), ids=lambda r: r["id"][:6])
def test_recorded_requests(recording: Recording) -> None:
    """A recorded request keeps every field byte for byte, and its meaning through the canonical form."""
    check_request(recording)


def test_all_recorded_requests(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in everything(shared, *ENDPOINTS) if isinstance(r["request_body"], dict)]
    assert len(recordings) >= 254
    for recording in recordings:
        check_request(recording)
