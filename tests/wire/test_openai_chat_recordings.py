"""The OpenAI chat format against recorded traffic, and against a second, independent reading of it."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from unbroken.failures import Failure
from unbroken.types import Delta, Finish, Request, Response, Target, fold
from unbroken.wire import Outcome
from unbroken.wire.openai_chat import FORMAT, decoder, read_request, write_request
from wire import reading
from wire.recorded import Recording, everything, ours

CHAT = "chat.completions"
TARGET = Target(name="t", provider="p", model="other-model", base_url="https://x.invalid/v1", key="k")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {
    "stop": Finish.STOP,
    "length": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}


# ------------------------------------------------------- the independent reading


def payloads(recording: Recording) -> list[Any]:
    """The JSON values of an answer, in order."""
    body: str = recording["response_body"].strip()
    if body.startswith("{"):
        return [json.loads(body, strict=False)]
    lines = [line.strip() for line in body.splitlines()]
    data = [line[5:].strip() for line in lines if line.startswith("data:")]
    return [json.loads(item, strict=False) for item in data if item != "[DONE]"]


def text_of(content: Any, kind: str = "text") -> str:
    if isinstance(content, str):
        return content if kind == "text" else ""
    if isinstance(content, dict):
        return json.dumps(content, ensure_ascii=False, separators=(",", ":")) if kind == "text" else ""
    found = ""
    for part in content or []:
        if part.get("type") == kind:
            inner = part.get(kind)
            found += inner if isinstance(inner, str) else "".join(piece.get("text", "") for piece in inner or [])
    return found


def expected(recording: Recording) -> dict[str, Any]:
    """What an answer says, read slowly."""
    text = reasoning = refusal = ""
    finish = usage = None
    calls: dict[Any, list[str]] = {}
    for value in payloads(recording):
        usage = value.get("usage") or (value.get("x_groq") or {}).get("usage") or usage
        for choice in value.get("choices") or []:
            if choice.get("index"):
                continue
            piece = choice.get("delta" if recording["stream"] else "message") or {}
            text += text_of(piece.get("content"))
            reasoning += (
                piece.get("reasoning_content") or piece.get("reasoning") or text_of(piece.get("content"), "thinking")
            )
            refusal += piece.get("refusal") or ""
            finish = choice.get("finish_reason") or finish
            function = piece.get("function_call")
            for n, call in enumerate(piece.get("tool_calls") or ([{"function": function}] if function else [])):
                place = calls.setdefault(call.get("index", len(calls) if call.get("id") else n), ["", "", ""])
                place[0] = place[0] or call.get("id") or ""
                place[1] = place[1] or call["function"].get("name") or ""
                place[2] += call["function"].get("arguments") or ""
    return {
        "text": text,
        "reasoning": reasoning,
        "refusal": refusal,
        "finish": FINISHES.get(finish or ""),
        "calls": list(calls.values()),
        "usage": (usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0) if usage else None,
    }


def summary(response: Response) -> dict[str, Any]:
    usage = response.usage
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "refusal": response.refusal,
        "finish": response.finish,
        "calls": [[call.id, call.name, call.arguments] for call in response.tool_calls],
        "usage": (usage.input_tokens, usage.output_tokens) if usage else None,
    }


# ------------------------------------------------------------------- the answers


def decode(recording: Recording, pieces: list[bytes]) -> list[Delta] | Failure:
    return reading.read(decoder(Request(model="m", stream=bool(recording["stream"])), TARGET), pieces)


def check_answer(recording: Recording, rng: random.Random, *, bytewise: bool) -> None:
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    if recording["error_kind"]:
        assert isinstance(deltas, Failure)
        assert deltas.message
    else:
        assert not isinstance(deltas, Failure), (recording["id"], deltas)
        assert summary(fold(deltas)) == expected(recording), recording["id"]
    splits = [reading.cut(body, rng, 5)] + ([[body[i : i + 1] for i in range(len(body))]] if bytewise else [])
    for pieces in splits:
        assert decode(recording, pieces) == deltas


def check_passage(recording: Recording) -> None:
    """What went in comes out: bodies byte for byte, streams without their keep-alives."""
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    assert isinstance(deltas, list)
    asked = Request(model="m", stream=bool(recording["stream"]), include_usage=True)
    writer = FORMAT.writer(asked) if FORMAT.writer else None
    assert writer is not None
    if not recording["stream"]:
        assert writer.whole(deltas, OUTCOME) == body.lstrip()
        return
    blocks = [b for b in body.replace(b"\r\n", b"\n").split(b"\n\n") if not b.startswith(b":") and b.strip()]
    written = writer.write(deltas).replace(b"\r\n", b"\n")
    assert [b.strip() for b in written.split(b"\n\n") if b] == [b.strip() for b in blocks if b"[DONE]" not in b]


def good(recordings: list[Recording]) -> list[Recording]:
    return [r for r in recordings if r["status"] == 200 and not r["error_kind"]]


OURS_200 = [r for r in ours(CHAT) if r["status"] == 200]


@pytest.mark.parametrize("recording", OURS_200, ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recorded_answers(recording: Recording) -> None:
    """A recorded answer is read as an independent reader reads it, however it is cut into packets."""
    check_answer(recording, random.Random(recording["id"]), bytewise=True)


@pytest.mark.parametrize("recording", good(OURS_200), ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recorded_answers_pass(recording: Recording) -> None:
    """A caller of the same format gets the bytes that the provider sent."""
    check_passage(recording)


def test_all_recorded_answers(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in everything(shared, CHAT) if r["status"] == 200]
    assert len(recordings) > 1500
    for number, recording in enumerate(recordings):
        check_answer(recording, random.Random(number), bytewise=number % 40 == 0)
    for recording in good(recordings):
        check_passage(recording)


def test_all_recorded_streams_break(shared: Path) -> None:
    """A recorded stream that is cut before its finish reason is a failure, wherever it is cut."""
    recordings = [r for r in good(everything(shared, CHAT)) if r["stream"] and r["stream_finish_seen"]]
    for number, recording in enumerate(recordings):
        body: str = recording["response_body"]
        ends = [body.find(mark) for mark in ('"finish_reason":"', '"finish_reason": "') if mark in body]
        at = random.Random(number).randrange(min(ends))
        assert isinstance(decode(recording, [body[:at].encode()]), Failure), recording["id"]


# ------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    raw = json.dumps(body, ensure_ascii=False).encode()
    request = read_request("/v1/chat/completions", raw)
    if isinstance(request, Failure):
        assert not body.get("model") or not body.get("messages")
        return
    assert request.stream is bool(body.get("stream"))
    assert ("tools" in request.needs) is bool(body.get("tools") or body.get("functions"))
    assert request.max_tokens == (body.get("max_completion_tokens") or body.get("max_tokens"))
    written = write_request(request, TARGET)
    again = json.loads(written.body)
    assert list(again) == list(body)
    assert again == {**body, "model": "other-model"}
    for name, value in body.items():
        if name != "model":
            assert json.dumps(value, ensure_ascii=False).encode() in written.body
    check_chat(request, body)


def check_chat(request: Request, body: dict[str, Any]) -> None:
    """The canonical conversation, written again, says what the body said."""
    try:
        chat = request.chat
    except ValueError as error:
        assert "'messages[" in str(error)
        assert any(not m.get("role") for m in body["messages"]) or "image_url" in str(error) or "role" in str(error)
        return
    alone = Request(model="m", stream=request.stream, include_usage=request.include_usage, read=lambda: chat)
    written = json.loads(write_request(alone, TARGET).body)
    for name in ("model", "n", "stream", "stream_options"):
        written.pop(name, None)
    assert written == normal(body)


NOTHING: dict[str, Any] = {
    "logprobs": False, "logit_bias": {}, "modalities": ["text"], "functions": [],
    "presence_penalty": 0, "frequency_penalty": 0, "response_format": {"type": "text"},
}  # fmt: skip
"""Fields that ask for nothing."""


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """The documented normalisation."""
    left = {name: value for name, value in body.items() if value is not None and NOTHING.get(name) != value}
    for name in ("model", "n", "stream", "stream_options"):
        left.pop(name, None)
    left["messages"] = [normal_message(message) for message in body["messages"]]
    tools = [normal_tool(tool) for tool in left.pop("tools", [])]
    if tools:
        left["tools"] = sorted(tools, key=lambda tool: "function" not in tool)
    if isinstance(left.get("stop"), str):
        left["stop"] = [left["stop"]]
    if isinstance(left.get("tool_choice"), dict) and "function" in left["tool_choice"]:
        left["tool_choice"] = {"type": "function", "function": {"name": left["tool_choice"]["function"]["name"]}}
    form = left.get("response_format") or {}
    if form.get("json_schema", {}).get("description") == "":
        del form["json_schema"]["description"]
    for other, usual in (("max_completion_tokens", "max_tokens"), ("random_seed", "seed")):
        if other in left:
            left[usual] = left.pop(other)
    if "stop" in left and not left["stop"]:
        del left["stop"]
    return left


def normal_message(message: dict[str, Any]) -> dict[str, Any]:
    left = {name: value for name, value in message.items() if value is not None}
    content = left.get("content")
    if isinstance(content, list):
        parts = [normal_part(part) for part in content]
        content = parts[0]["text"] if len(parts) == 1 and parts[0].get("type") == "text" else parts
    left["content"] = content or (None if content is None or content == [] else "")
    if left["content"] is None and message.get("refusal") and not message.get("content"):
        left["content"] = None
    calls = [normal_call(call) for call in left.pop("tool_calls", [])]
    if calls:
        left["tool_calls"] = calls
    return left


def normal_part(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "text":
        return {"type": "text", "text": part["text"]}
    if part.get("type") == "image_url":
        image = part["image_url"] if isinstance(part["image_url"], dict) else {"url": part["image_url"]}
        return {"type": "image_url", "image_url": {k: v for k, v in image.items() if k in ("url", "detail") and v}}
    return part


def normal_call(call: dict[str, Any]) -> dict[str, Any]:
    function = {name: call["function"].get(name) or "" for name in ("name", "arguments")}
    return {"id": call.get("id") or "", "type": "function", "function": function}


def normal_tool(tool: dict[str, Any]) -> dict[str, Any]:
    if "function" not in tool:
        return tool
    function = {
        name: v for name, v in tool["function"].items() if v is not None and not (name == "description" and not v)
    }
    return {"type": "function", "function": function}


@pytest.mark.parametrize("recording", ours(CHAT), ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recorded_requests(recording: Recording) -> None:
    """A recorded request keeps every field but the model byte for byte, and its meaning through the canonical form."""
    check_request(recording)


def test_all_recorded_requests(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in everything(shared, CHAT) if isinstance(r["request_body"], dict)]
    assert len(recordings) > 1500
    for recording in recordings:
        check_request(recording)
