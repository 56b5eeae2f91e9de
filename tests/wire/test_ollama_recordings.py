"""Ollama's own format against recorded traffic, read by the official SDK from the same bytes."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, HttpReply, Request, Target, fold
from unbroken.wire import Outcome
from unbroken.wire.ollama import FORMAT, read_request, write_request
from unbroken.wire.ollama_answer import decoder
from unbroken.wire.ollama_writer import writer
from wire import reading
from wire.recorded import OURS, Recording

ollama = pytest.importorskip("ollama", reason="the official SDK is the judge of what an answer says")
httpx = pytest.importorskip("httpx", reason="what the SDK sends goes through here")

TARGET = Target(name="t", provider="ollama", model="other", base_url="http://h.invalid:11434")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {"stop": Finish.STOP, "length": Finish.LENGTH}


def rows(path: Path) -> list[Recording]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [row for row in found if row["endpoint"] == "chat"]


def expected(recording: Recording) -> dict[str, Any]:
    """What the official SDK reads from the recorded bytes."""
    reply = httpx.Response(200, content=recording["response_body"].encode())
    with ollama.Client(host="http://h.invalid", transport=httpx.MockTransport(lambda _: reply)) as client:
        answer = client.chat(model="m", messages=[], stream=recording["stream"])
        steps = list(answer) if recording["stream"] else [answer]
    last, calls = steps[-1], [call.function for step in steps for call in step.message.tool_calls or ()]
    assert last.done
    return {
        "text": "".join(step.message.content or "" for step in steps),
        "reasoning": "".join(step.message.thinking or "" for step in steps),
        "calls": [(call.name, call.arguments) for call in calls],
        "usage": (last.prompt_eval_count or 0, last.eval_count or 0),
        "raw_finish": last.done_reason,
        "finish": Finish.TOOL_CALLS if calls else FINISHES[last.done_reason],
        "model": last.model,
    }


def summary(deltas: list[Delta]) -> dict[str, Any]:
    answer = fold(deltas)
    assert answer.usage is not None
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "calls": [(call.name, json.loads(call.arguments)) for call in answer.tool_calls],
        "usage": (answer.usage.input_tokens, answer.usage.output_tokens),
        "raw_finish": answer.raw_finish,
        "finish": answer.finish,
        "model": answer.model,
    }


def decode(recording: Recording, pieces: list[bytes]) -> list[Delta] | Failure:
    reader = decoder(Request(model="m", stream=bool(recording["stream"])), TARGET)
    found = reading.read(reader, pieces)
    assert isinstance(found, Failure) or reader.done
    return found


def check_answer(recording: Recording) -> None:
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    assert isinstance(deltas, list), (recording["id"], deltas)
    assert summary(deltas) == expected(recording), recording["id"]
    calls = [call.get("id", "") for line in body.splitlines() if line.strip()
             for call in json.loads(line)["message"].get("tool_calls") or []]  # fmt: skip
    assert [call.id for call in fold(deltas).tool_calls] == calls, "the SDK does not read ids, the body has them"
    assert decode(recording, [body[i : i + 1] for i in range(len(body))]) == deltas
    assert decode(recording, reading.cut(body, random.Random(recording["id"]))) == deltas
    out = writer(Request(model="m", stream=bool(recording["stream"])))
    assert out.whole(deltas, OUTCOME).strip() == body.strip()


def check_error(recording: Recording) -> None:
    failure = FORMAT.classify(
        HttpReply(status=recording["status"], headers={}, body=recording["response_body"].encode())
    )
    assert failure.kind is FailureKind.MODEL_MISSING
    assert "not found" in failure.message


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    request = read_request("/api/chat", json.dumps(body, ensure_ascii=False).encode())
    assert isinstance(request, Request), request
    assert request.stream is body["stream"]
    http = write_request(request, TARGET)
    assert http.url == "http://h.invalid:11434/api/chat"
    assert json.loads(http.body) == {**body, "model": "other"}
    chat = request.chat
    again = write_request(Request(model="m", stream=request.stream, read=lambda: chat), TARGET)
    read = read_request("/api/chat", again.body)
    assert isinstance(read, Request)
    assert {**read.chat.hints, "truncate": None} == {**chat.hints, "truncate": None}
    assert (read.chat.messages, read.chat.tools, read.chat.seed, read.chat.temperature, read.chat.schema) == (
        chat.messages, chat.tools, chat.seed, chat.temperature, chat.schema,
    )  # fmt: skip


def check(recording: Recording) -> None:
    check_request(recording)
    if recording["status"] == 200:
        check_answer(recording)
    else:
        check_error(recording)


@pytest.mark.parametrize("recording", rows(OURS / "ollama.jsonl.gz"), ids=lambda r: str(r["id"][:6]))
def test_recordings(recording: Recording) -> None:
    """A recorded request keeps its fields, and its answer says what the SDK reads, however it is cut into packets."""
    check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for every recording of the large set."""
    found = rows(shared / "wire" / "ollama.jsonl.gz")
    assert len(found) >= 12
    for recording in found:
        check(recording)


def test_broken_streams(shared: Path) -> None:
    """A stream that is cut before its last line is a failure, wherever it is cut."""
    for recording in rows(shared / "wire" / "ollama.jsonl.gz"):
        if recording["stream"]:
            body = recording["response_body"].encode()
            at = random.Random(recording["id"]).randrange(body.rstrip().rfind(b"\n"))
            failure = decode(recording, [body[:at]])
            assert isinstance(failure, Failure)
            assert failure.kind is FailureKind.TRUNCATED
