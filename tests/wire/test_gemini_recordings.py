"""Gemini's format against recorded traffic, as Google's own client reads it."""

from __future__ import annotations

import gzip
import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.types import Chat, Finish, HttpReply, Request, Response, Target, Text, ToolCall, ToolResult, fold
from unbroken.wire import Outcome, openai_chat
from unbroken.wire.gemini import FORMAT, decoder, read_request, write_request
from wire import reading
from wire.gemini_recorded import CHAT, TARGET, Replay, chunks_of, client, ours, path_of, request_of, shared_recordings
from wire.recorded import Recording

OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {"STOP": Finish.STOP, "MAX_TOKENS": Finish.LENGTH, "SAFETY": Finish.CONTENT_FILTER,
            "MODEL_ARMOR": Finish.CONTENT_FILTER}  # fmt: skip
FAULTS = ("UNEXPECTED_TOOL_CALL",)
REPLAY = Replay()
SDK = client(REPLAY)


# --------------------------------------------------- what Google's client reads


def expected(recording: Recording) -> dict[str, Any]:
    """What an answer says, as Google's client has it."""
    chunks = chunks_of(recording, REPLAY, SDK)
    said: dict[str, Any] = {"text": "", "reasoning": "", "calls": [], "finish": None, "usage": None}
    for chunk in chunks:
        usage = chunk.usage_metadata
        if usage is not None and (usage.prompt_token_count or usage.candidates_token_count):
            said["usage"] = (
                (usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
                (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0),
                usage.cached_content_token_count or 0,
                usage.thoughts_token_count or 0,
            )
        candidate = (chunk.candidates or [None])[0]  # type: ignore[list-item]
        if candidate is None:
            continue
        said["finish"] = candidate.finish_reason.value if candidate.finish_reason else said["finish"]
        for part in (candidate.content.parts if candidate.content else None) or []:
            said["reasoning" if part.thought else "text"] += part.text or ""
            if part.function_call is not None:
                said["calls"].append([part.function_call.id, part.function_call.name, part.function_call.args or {}])
    return said


def summary(response: Response) -> dict[str, Any]:
    usage = response.usage
    counts = usage and (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens)
    return {
        "text": response.text,
        "reasoning": response.reasoning,
        "calls": [[call.id, call.name, json.loads(call.arguments)] for call in response.tool_calls],
        "finish": response.raw_finish,
        "usage": counts,
    }


def check_answer(recording: Recording, rng: random.Random, *, bytewise: bool) -> None:
    body = recording["response_body"].encode()
    deltas = reading.read(decoder(request_of(recording), TARGET), [body])
    wanted = expected(recording)
    if wanted["finish"] in FAULTS:
        assert isinstance(deltas, Failure) and deltas.kind is FailureKind.MODEL_FAULT
    else:
        assert isinstance(deltas, list), (recording["id"], deltas)
        check_summary(fold(deltas), wanted)
    splits = [reading.cut(body, rng, 5)] + ([[body[i : i + 1] for i in range(len(body))]] if bytewise else [])
    splits.append(re.findall(rb"(?s).+?(?:\r\n\r\n|\Z)", body))  # as servers send it, event by event
    for pieces in splits:
        assert reading.read(decoder(request_of(recording), TARGET), pieces) == deltas


def check_summary(response: Response, wanted: dict[str, Any]) -> None:
    said = summary(response)
    assert len({call[0] for call in said["calls"]}) == len(said["calls"])
    for call, known in zip(said["calls"], wanted["calls"], strict=True):
        known[0] = known[0] or call[0]  # where Google says no id, ours is as good as any
    assert said == wanted
    natural = FINISHES[wanted["finish"]] if wanted["finish"] else None
    assert response.finish == (Finish.TOOL_CALLS if wanted["calls"] and natural is Finish.STOP else natural)


def check_passage(recording: Recording) -> None:
    """What went in comes out: bodies byte for byte, streams event by event."""
    body = recording["response_body"]
    deltas = reading.read(decoder(request_of(recording), TARGET), [body.encode()])
    if isinstance(deltas, Failure):
        return
    assert FORMAT.writer is not None
    writer = FORMAT.writer(request_of(recording))
    if recording["endpoint"] == "generateContent":
        assert writer.whole(deltas, OUTCOME) == body.lstrip().encode()
        return
    written = (writer.write(deltas) + writer.end(OUTCOME)).decode()
    if body.lstrip().startswith("["):
        assert payloads(written) == json.loads(body)
    else:
        assert payloads(written) == payloads(body)
        assert written.replace("\r\n", "\n").strip() == body.replace("\r\n", "\n").strip()


def payloads(stream: str) -> list[Any]:
    return [json.loads(line[5:]) for line in stream.splitlines() if line.startswith("data:")]


def good(recordings: list[Recording]) -> list[Recording]:
    return [r for r in recordings if r["status"] == 200]


def name_of(recording: Recording) -> str:
    return f"{recording['provider']}-{recording['id'][:6]}"


@pytest.mark.parametrize("recording", good(ours(*CHAT)), ids=name_of)
def test_recorded_answers(recording: Recording) -> None:
    """A recorded answer is read as Google's client reads it, however it is cut into packets."""
    check_answer(recording, random.Random(recording["id"]), bytewise=True)
    check_passage(recording)


def test_all_recorded_answers(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = good(shared_recordings(shared, *CHAT))
    assert len(recordings) > 640
    for number, recording in enumerate(recordings):
        check_answer(recording, random.Random(number), bytewise=number % 40 == 0)
        check_passage(recording)


def test_all_recorded_streams_break(shared: Path) -> None:
    """A recorded stream that is cut before its finish reason is a failure, wherever it is cut."""
    recordings = good(shared_recordings(shared, "streamGenerateContent"))
    for number, recording in enumerate(recordings):
        body: str = recording["response_body"]
        at = random.Random(number).randrange(body.find("finishReason"))
        broken = reading.read(decoder(request_of(recording), TARGET), [body[:at].encode()])
        assert isinstance(broken, Failure) and broken.kind is FailureKind.TRUNCATED, recording["id"]


# ---------------------------------------------------- answers without the rest


def test_quoted_answers(shared: Path) -> None:
    """Answers that others quote in their tests, calls with arguments bit by bit among them, are read as well."""
    with gzip.open(shared / "wire" / "response_only-google.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["endpoint"] == "default"]
    assert len(rows) == 8
    for row in rows:
        body = row["response_body"]
        if row["stream"]:
            body = "".join(f"data: {line}\r\n\r\n" for line in body.splitlines())
        deltas = reading.read(decoder(Request(model="m", stream=row["stream"]), TARGET), [body.encode()])
        if row["error_kind"]:
            assert isinstance(deltas, Failure) and deltas.kind is FailureKind.RATE_LIMIT and deltas.retry_after_s
        else:
            assert isinstance(deltas, list), row["source_path"]
            answer = fold(deltas)
            assert answer.finish is (Finish.TOOL_CALLS if answer.tool_calls else Finish.STOP)
            assert all(isinstance(json.loads(call.arguments), dict) for call in answer.tool_calls)


# ------------------------------------------------------------------- the errors

KINDS = {
    "API key not valid": FailureKind.AUTH,
    "API keys are not supported": FailureKind.AUTH,
    "Resource exhausted": FailureKind.RATE_LIMIT,
    "exceeded your current quota": FailureKind.RATE_LIMIT,
    "not found": FailureKind.MODEL_MISSING,
    "Cannot fetch content": FailureKind.REQUEST,
    "input token count": FailureKind.CONTEXT_LENGTH,
}


def check_error(recording: Recording) -> None:
    reply = HttpReply(
        status=recording["status"],
        headers={name.lower(): value for name, value in recording["response_headers"].items()},
        body=recording["response_body"].encode(),
    )
    failure = FORMAT.classify(reply)
    kind = next(kind for words, kind in KINDS.items() if words in recording["response_body"])
    assert failure.kind is kind, (recording["id"], failure)


@pytest.mark.parametrize("recording", [r for r in ours(*CHAT) if r["status"] != 200], ids=name_of)
def test_recorded_errors(recording: Recording) -> None:
    """A recorded error is understood for what it is."""
    check_error(recording)


def test_all_recorded_errors(shared: Path) -> None:
    """The same for the large set, other methods of Google's included."""
    recordings = [r for r in shared_recordings(shared, *CHAT, "predict") if r["status"] != 200]
    assert len(recordings) == 18
    for recording in recordings:
        check_error(recording)


# ------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    raw = json.dumps(body, ensure_ascii=False).encode()
    request = read_request(path_of(recording), raw)
    assert isinstance(request, Request), (recording["id"], request)
    assert request.stream is (recording["endpoint"] == "streamGenerateContent")
    config = body.get("generationConfig", {})
    assert request.max_tokens == config.get("maxOutputTokens")
    assert ("tools" in request.needs) is ("unctionDeclarations" in str(body) or "function_declarations" in str(body))
    written = write_request(request, TARGET)
    assert json.loads(written.body) == body
    verb = "streamGenerateContent?alt=sse" if request.stream else "generateContent"
    assert written.url == f"https://x.invalid/v1beta/models/other-model:{verb}"
    check_chat(request.chat)


def check_chat(chat: Chat) -> None:
    """The conversation, written and read again, is the same one."""
    written = write_request(Request(model="m", read=lambda: chat), TARGET)
    again = read_request("/v1/models/m:generateContent", written.body)
    assert isinstance(again, Request)
    assert plain(again.chat) == plain(chat)


def plain(chat: Chat) -> Any:
    """A conversation whose calls compare by what they say, not by how it is written."""
    calls = [part for message in chat.messages for part in message.parts if isinstance(part, ToolCall)]
    return chat, [(call.id, call.name, json.loads(call.arguments)) for call in calls]


@pytest.mark.parametrize("recording", ours(*CHAT), ids=name_of)
def test_recorded_requests(recording: Recording) -> None:
    """A recorded request goes out as it came, and its conversation survives being read and written."""
    check_request(recording)


def test_all_recorded_requests(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = shared_recordings(shared, *CHAT)
    assert len(recordings) > 650
    for recording in recordings:
        check_request(recording)


def test_all_recorded_conversations_reach_others(shared: Path) -> None:
    """A recorded conversation that OpenAI's format can say comes back from there as it was."""
    there = Target(name="o", provider="o", model="o", base_url="https://x.invalid/v1")
    survived = 0
    for recording in shared_recordings(shared, *CHAT):
        request = read_request(path_of(recording), json.dumps(recording["request_body"]).encode())
        assert isinstance(request, Request)
        try:
            written = openai_chat.write_request(request, there)
        except ValueError:
            continue
        again = openai_chat.read_request("", written.body)
        assert isinstance(again, Request)
        assert said_in(again.chat) == said_in(request.chat), recording["id"]
        survived += 1
    assert survived > 480


def said_in(chat: Chat) -> Any:
    """What both formats can say of a conversation."""
    turns = []
    for message in chat.messages:
        parts = [part for part in message.parts if type(part).__name__ not in ("Reasoning", "Media")]
        parts.sort(key=lambda part: isinstance(part, ToolCall))  # OpenAI's format has calls behind words
        turns += [(message.role, type(part).__name__, words_of(part)) for part in parts]
    tools = [(tool.name, tool.description, tool.parameters) for tool in chat.tools]
    return turns, tools, chat.tool_choice, chat.schema, chat.max_tokens, chat.temperature, chat.stop, chat.seed


def words_of(part: Any) -> Any:
    if isinstance(part, ToolCall):
        return part.id, part.name, json.loads(part.arguments)
    if isinstance(part, ToolResult):
        return part.id, [inner.text for inner in part.parts if isinstance(inner, Text)]
    return part.text if isinstance(part, Text) else part
