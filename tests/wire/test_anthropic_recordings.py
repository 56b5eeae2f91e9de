"""Anthropic's Messages format against recorded traffic, read by the official SDK from the same bytes."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta, Finish, HttpReply, Request, Response, Target, fold
from unbroken.wire import Outcome
from unbroken.wire.anthropic import FORMAT, read_request, write_request
from unbroken.wire.anthropic_answer import decoder
from wire import reading
from wire.recorded import OURS, Recording

sdk = pytest.importorskip("anthropic", reason="the official SDK is the judge of what an answer says")
httpx2 = pytest.importorskip("httpx2", reason="what the SDK sends goes through here")

PATH = "/v1/messages"
TARGET = Target(name="t", provider="p", model="other-model", base_url="https://x.invalid", key="k")
OWN = {
    style: Target(name="t", provider="p", model="m", options={"system": "inline", "thinking": style})
    for style in ("budget", "adaptive")
}
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {
    "end_turn": Finish.STOP,
    "stop_sequence": Finish.STOP,
    "pause_turn": Finish.STOP,
    "max_tokens": Finish.LENGTH,
    "model_context_window_exceeded": Finish.LENGTH,
    "tool_use": Finish.TOOL_CALLS,
    "refusal": Finish.CONTENT_FILTER,
}
KINDS = {
    "authentication_error": FailureKind.AUTH,
    "not_found_error": FailureKind.MODEL_MISSING,
    "overloaded_error": FailureKind.OVERLOADED,
}


def rows(path: Path) -> list[Recording]:
    """Recordings, and fixtures that hold an answer alone: their events get their framing back.

    One fixture holds several answers one after another, of which the first is taken.
    """
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines if '"messages"' in line or '"default"' in line]
    return [framed(row) for row in found if row["endpoint"] in ("messages", "default")]


def framed(row: Recording) -> Recording:
    if row["status"]:
        return row
    body = row["response_body"]
    if row["stream"]:
        events = [(json.loads(line)["type"], line) for line in body.splitlines() if line.strip()]
        ends = [kind for kind, _ in events].index("message_stop") + 1
        body = "".join(f"event: {kind}\ndata: {line}\n\n" for kind, line in events[:ends])
    return {**row, "response_body": body, "status": 400 if body.startswith('{"type":"error"') else 200}


def everything(shared: Path) -> list[Recording]:
    names = ("anthropic", "local", "response_only-anthropic")
    return [row for name in names for row in rows(shared / "wire" / f"{name}.jsonl.gz")]


# ------------------------------------------------------------------- the SDK's reading


class Judge:
    """The official SDK, to whom every request is answered with the bytes at hand."""

    def __init__(self) -> None:
        self.body = b""
        self.status = 200
        http = httpx2.Client(transport=httpx2.MockTransport(self.answer))
        self.client = sdk.Anthropic(api_key="k", base_url="https://h.invalid", http_client=http, max_retries=0)

    def answer(self, _: Any) -> Any:
        kind = "application/json" if self.body.lstrip().startswith(b"{") else "text/event-stream"
        return httpx2.Response(self.status, content=self.body, headers={"content-type": kind})

    def read(self, body: bytes, *, stream: bool, status: int = 200) -> Any:
        self.body, self.status = body, status
        asked: dict[str, Any] = {
            "model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}],
        }  # fmt: skip
        if not stream:
            return self.client.messages.create(**asked)
        with self.client.messages.stream(**asked) as events:
            return events.get_final_message()


@pytest.fixture(scope="session")
def judge() -> Iterator[Judge]:
    found = Judge()
    yield found
    found.client.close()


def expected(message: Any) -> dict[str, Any]:
    """What the SDK says that an answer says."""
    usage = message.usage
    cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    thoughts = usage.output_tokens_details.thinking_tokens if usage.output_tokens_details else 0
    return {
        "id": message.id,
        "model": message.model,
        "text": "".join(block.text for block in message.content if block.type == "text"),
        "reasoning": "".join(block.thinking for block in message.content if block.type == "thinking"),
        "signature": "".join(block.signature for block in message.content if block.type == "thinking"),
        "calls": [(block.id, block.name, block.input) for block in message.content if block.type == "tool_use"],
        "finish": FINISHES[message.stop_reason],
        "raw": message.stop_reason,
        "usage": (usage.input_tokens + cached + written, usage.output_tokens, cached, written, thoughts),
    }


def summary(response: Response) -> dict[str, Any]:
    usage = response.usage
    assert usage is not None
    return {
        "id": response.id,
        "model": response.model,
        "text": response.text,
        "reasoning": response.reasoning,
        "signature": response.signature,
        "calls": [(call.id, call.name, json.loads(call.arguments)) for call in response.tool_calls],
        "finish": response.finish,
        "raw": response.raw_finish,
        "usage": (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.cache_write_tokens,
                  usage.reasoning_tokens),
    }  # fmt: skip


# ------------------------------------------------------------------------ the answers


def decode(recording: Recording, pieces: list[bytes]) -> list[Delta] | Failure:
    return reading.read(decoder(Request(model="m", stream=bool(recording["stream"])), TARGET), pieces)


def check_answer(recording: Recording, judge: Judge, rng: random.Random, *, bytewise: bool) -> None:
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    assert isinstance(deltas, list), (recording["id"], deltas)
    said = judge.read(body, stream=recording["stream"])
    assert summary(fold(deltas)) == expected(said), recording["id"]
    for pieces in [reading.cut(body, rng, 5)] + ([[body[i : i + 1] for i in range(len(body))]] if bytewise else []):
        assert decode(recording, pieces) == deltas


def check_passage(recording: Recording, judge: Judge) -> None:
    """What went in comes out: bodies byte for byte, and streams up to the white space in their last event."""
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    writer = FORMAT.writer(Request(model="m", stream=bool(recording["stream"]))) if FORMAT.writer else None
    assert writer is not None and isinstance(deltas, list)
    if not recording["stream"]:
        assert writer.whole(deltas, OUTCOME) == body
        return
    written = b"".join(writer.write([delta]) for delta in deltas)
    assert written == body[: body.rindex(b"event: message_stop")]
    assert written + writer.end(OUTCOME) == written + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


def check_rewriting(recording: Recording, judge: Judge) -> None:
    """Encoded from the deltas alone, the SDK reads the same answer out of it, streamed and plain."""
    found = decode(recording, [recording["response_body"].encode()])
    assert isinstance(found, list)
    deltas = [replace(delta, raw=b"", body=False) for delta in found]
    wanted = summary(fold(found))
    for stream in (True, False):
        writer = FORMAT.writer(Request(model="m", stream=stream)) if FORMAT.writer else None
        assert writer is not None
        read = expected(judge.read(writer.whole(deltas, OUTCOME), stream=stream))
        assert {**read, "signature": ""} == {**wanted, "signature": ""}, recording["id"]


def check_error(recording: Recording, judge: Judge) -> None:
    body = recording["response_body"].encode()
    failure = FORMAT.classify(HttpReply(status=recording["status"], headers={}, body=body))
    error = json.loads(body)["error"]
    assert (failure.message, failure.type) == (error["message"], error["type"])
    assert failure.kind is KINDS.get(error["type"], FailureKind.CONTEXT_LENGTH), failure
    assert FORMAT.write_failure is not None
    status, _, written = FORMAT.write_failure(failure, "req_1")
    with pytest.raises(sdk.APIStatusError) as raised:
        judge.read(written, stream=False, status=status)
    assert raised.value.status_code == status and raised.value.api_message == error["message"]


def good(recordings: list[Recording]) -> list[Recording]:
    return [row for row in recordings if row["status"] == 200]


def bad(recordings: list[Recording]) -> list[Recording]:
    return [row for row in recordings if row["status"] != 200]


SMALL = rows(OURS / "anthropic.jsonl.gz")


@pytest.mark.parametrize("recording", good(SMALL), ids=lambda r: r["id"][:8])
def test_recorded_answers(recording: Recording, judge: Judge) -> None:
    """A recorded answer says what the official SDK reads from the same bytes, however they are cut."""
    check_answer(recording, judge, random.Random(recording["id"]), bytewise=True)
    check_passage(recording, judge)
    check_rewriting(recording, judge)


@pytest.mark.parametrize("recording", [r for r in good(SMALL) if r["stream"]], ids=lambda r: r["id"][:8])
def test_rescued_streams(recording: Recording, judge: Judge) -> None:
    """A stream whose rest was written by us, from wherever it broke, is one message to the SDK."""
    found = decode(recording, [recording["response_body"].encode()])
    assert isinstance(found, list)
    words = [at for at, delta in enumerate(found) if delta.text]
    calls = [at for at, delta in enumerate(found) if delta.tool_calls or delta.media]
    for at in words[:: max(1, len(words) // 5)]:
        if not calls or calls[0] > at:
            writer = FORMAT.writer(Request(model="m", stream=True)) if FORMAT.writer else None
            assert writer is not None
            rest = [replace(delta, raw=b"", reasoning="", signature="") for delta in found[at:]]
            read = expected(judge.read(writer.write(found[:at]) + writer.whole(rest, OUTCOME), stream=True))
            wanted = summary(fold([*found[:at], *rest]))
            assert {**read, "signature": ""} == {**wanted, "signature": ""}


@pytest.mark.parametrize("recording", bad(SMALL), ids=lambda r: r["id"][:8])
def test_recorded_errors(recording: Recording, judge: Judge) -> None:
    """A recorded error is understood, and told on in an envelope that the SDK understands."""
    check_error(recording, judge)


def test_all_recorded_answers(shared: Path, judge: Judge) -> None:
    """The same for every answer and error of the large set."""
    recordings = everything(shared)
    assert len(good(recordings)) > 740
    for number, recording in enumerate(good(recordings)):
        check_answer(recording, judge, random.Random(number), bytewise=number % 40 == 0)
        check_passage(recording, judge)
        check_rewriting(recording, judge)
    for recording in bad(recordings):
        check_error(recording, judge)


def test_all_recorded_streams_break(shared: Path) -> None:
    """A recorded stream that is cut before its stop reason is a failure, wherever it is cut."""
    for number, recording in enumerate(row for row in good(everything(shared)) if row["stream"]):
        body: str = recording["response_body"]
        at = random.Random(number).randrange(body.rindex('"message_delta"'))
        failure = decode(recording, [body[:at].encode()])
        assert isinstance(failure, Failure) and failure.kind is FailureKind.TRUNCATED, recording["id"]


# ------------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    request = read_request(PATH, json.dumps(body, ensure_ascii=False).encode())
    assert isinstance(request, Request), recording["id"]
    assert request.stream is bool(body.get("stream")) and request.max_tokens == body["max_tokens"]
    assert ("tools" in request.needs) is bool(body.get("tools"))
    said = json.dumps(body["messages"])
    pages = '"type": "document"' in said and any(f'"type": "{kind}"' in said for kind in ("base64", "url", "file"))
    assert ("vision" in request.needs) is ('"type": "image"' in said or pages)
    written = json.loads(write_request(request, TARGET).body)
    assert list(written) == list(body) and written == {**body, "model": "other-model"}
    chat, style = request.chat, "budget" if "budget_tokens" in (body.get("thinking") or {}) else "adaptive"
    again = write_request(Request(model="m", stream=request.stream, read=lambda: chat), OWN[style])
    back = read_request(PATH, again.body)
    assert isinstance(back, Request), recording["id"]
    assert unmarked(back.chat) == unmarked(chat), recording["id"]
    left = {name: value for name, value in normal(body).items() if name not in ("stream", "model")}
    made = json.loads(again.body)
    assert {name: made.get(name) for name in left} == left, recording["id"]


def unmarked(chat: Any) -> Any:
    """A conversation without what the documented normalisation takes away."""
    messages: list[Any] = []
    for message in chat.messages:
        parts = [part for part in message.parts if getattr(part, "text", "x").strip() or hasattr(part, "signature")]
        if messages and messages[-1][0] == message.role != "tool":
            messages[-1][1].extend(parts)
        elif parts:
            messages.append((message.role, parts))
    sampling = {name: None if getattr(chat, name) == 1 else getattr(chat, name) for name in ("temperature", "top_p")}
    hints = {name: value for name, value in chat.hints.items() if "[]" not in name and "." not in name}
    return (messages, chat.tools, chat.tool_choice, chat.parallel_calls, chat.schema, chat.max_tokens, chat.top_k,
            sampling, chat.stop, chat.reasoning_effort, chat.reasoning_tokens, dict(chat.extras), hints)  # fmt: skip


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """The fields of a body whose JSON must come out equal."""
    left = {name: value for name, value in body.items() if value not in (None, [], {})}
    for name in ("messages", "system", "tools", "thinking", "output_config", "output_format", "temperature", "top_p"):
        left.pop(name, None)
    return left


@pytest.mark.parametrize("recording", [r for r in SMALL if r["request_body"]], ids=lambda r: r["id"][:8])
def test_recorded_requests(recording: Recording) -> None:
    """A recorded request keeps every field but the model, and its meaning through the canonical form."""
    check_request(recording)


def test_all_recorded_requests(shared: Path) -> None:
    """The same for every request of the large set."""
    recordings = [row for row in everything(shared) if isinstance(row["request_body"], dict)]
    assert len(recordings) > 700
    for recording in recordings:
        check_request(recording)
