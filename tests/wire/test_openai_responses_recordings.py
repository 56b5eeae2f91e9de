"""OpenAI's Responses format against recorded traffic, as the official SDK reads it."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.types import Chat, Delta, Finish, HttpReply, Reasoning, Request, Response, Target, fold
from unbroken.wire import Next, Outcome
from unbroken.wire.errors import classify
from unbroken.wire.openai_responses import FORMAT, decoder, read_request, write_request
from wire.recorded import Recording, everything, ours

openai = pytest.importorskip("openai", reason="the official SDK is the judge of what an answer says")
httpx2 = pytest.importorskip("httpx2", reason="what the SDK reads comes through here")

RESPONSES, ITEM = "responses", "responses.item"
TARGET = Target(name="t", provider="p", model="other-model", base_url="https://x.invalid/v1", key="k")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
LAST = ("response.completed", "response.incomplete")
FINISHES = {"max_output_tokens": Finish.LENGTH, "content_filter": Finish.CONTENT_FILTER}
LOOSE = ("bedrock", "perplexity")
"""Their own events do not suit the SDK's accumulator: wrong places, items that change their type."""


# ------------------------------------------------------------------ the recordings


def body_of(recording: Recording) -> bytes:
    """The bytes of an answer; fixtures that hold a stream's payloads alone get its framing back."""
    body: str = recording["response_body"]
    if recording.get("bare"):
        return b"".join(b"data: " + line.encode() + b"\n\n" for line in body.splitlines() if line.strip())
    return body.encode()


def bare(shared: Path) -> list[Recording]:
    """Fixtures of answers without their requests."""
    found = []
    for path in sorted((shared / "wire").glob("response_only-*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line) for line in lines if f'"{RESPONSES}"' in line]
    return [{**row, "bare": bool(row["stream"])} for row in found if row["endpoint"] == RESPONSES]


def good(recordings: list[Recording]) -> list[Recording]:
    """Successes, without two embeddings that were filed under this endpoint."""
    fine = [r for r in recordings if r["status"] in (200, None) and not r["error_kind"]]
    return [r for r in fine if r["stream"] or json.loads(r["response_body"]).get("object") == "response"]


def is_waiting(recording: Recording) -> bool:
    return not recording["stream"] and json.loads(recording["response_body"])["status"] in ("queued", "in_progress")


# ------------------------------------------------------------------ the SDK's reading


class Sdk:
    """The official client, whose next answer is given to it."""

    def __init__(self) -> None:
        self.body, self.content_type = b"", ""
        transport = httpx2.MockTransport(lambda _: self.answer())
        self.client = openai.OpenAI(
            base_url="https://x.invalid/v1", api_key="k", max_retries=0, http_client=httpx2.Client(transport=transport)
        )

    def answer(self) -> Any:
        return httpx2.Response(200, headers={"content-type": self.content_type}, content=self.body)

    def read(self, recording: Recording) -> dict[str, Any]:
        """What an answer says."""
        self.body = body_of(recording)
        if not recording["stream"]:
            self.content_type = "application/json"
            response = self.client.responses.create(model="m", input="x")
            return said(response, response.output_text, response.output)
        self.content_type = "text/event-stream"
        text, items, response = "", [], None
        with self.client.responses.create(model="m", input="x", stream=True) as events:
            for event in events:
                if event.type == "response.output_text.delta":
                    text += event.delta
                elif event.type == "response.output_item.done":
                    items.append(event.item)
                elif event.type in LAST:
                    response = event.response
                    break
        return said(response, text, items)


def said(response: Any, text: str, items: list[Any]) -> dict[str, Any]:
    usage = response.usage
    calls = [[item.call_id, item.name, item.arguments] for item in items if item.type == "function_call"]
    content = [part for item in items if item.type == "message" for part in item.content]
    refusal = "".join(part.refusal for part in content if part.type == "refusal")
    thoughts = [item for item in items if item.type == "reasoning"]
    cut = response.incomplete_details.reason if response.incomplete_details else None
    finish = Finish.TOOL_CALLS if calls else Finish.CONTENT_FILTER if refusal else Finish.STOP
    return {
        "text": text,
        "calls": calls,
        "refusal": refusal,
        "reasoning": "\n\n".join(part.text for item in thoughts for part in [*item.summary, *(item.content or [])]),
        "finish": FINISHES[cut] if cut else finish,
        "raw_finish": cut or response.status,
        "model": response.model,
        "id": response.id,
        "usage": usage and (usage.input_tokens, usage.output_tokens,
                            usage.input_tokens_details.cached_tokens,
                            usage.output_tokens_details.reasoning_tokens),
    }  # fmt: skip


def summary(response: Response) -> dict[str, Any]:
    usage = response.usage
    return {
        "text": response.text,
        "calls": [[call.id, call.name, call.arguments] for call in response.tool_calls],
        "refusal": response.refusal,
        "reasoning": response.reasoning,
        "finish": response.finish,
        "raw_finish": response.raw_finish,
        "model": response.model,
        "id": response.id,
        "usage": usage and (usage.input_tokens, usage.output_tokens, usage.cached_tokens, usage.reasoning_tokens),
    }


# ------------------------------------------------------------------- the answers


def decode(recording: Recording, pieces: list[bytes]) -> list[Delta] | Failure | Next:
    reader = decoder(Request(model="m", stream=bool(recording["stream"])), TARGET)
    deltas: list[Delta] = []
    for piece in pieces:
        step = reader.feed(piece)
        if isinstance(step, Failure):
            return step
        deltas += step
    rest = reader.close()
    assert reader.done is isinstance(rest, list)
    return deltas + rest if isinstance(rest, list) else rest


def splits(body: bytes, rng: random.Random, *, bytewise: bool) -> Iterator[list[bytes]]:
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(5))
    yield [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if bytewise:
        yield [body[i : i + 1] for i in range(len(body))]


def check_answer(recording: Recording, sdk: Sdk, *, bytewise: bool) -> None:
    body = body_of(recording)
    deltas = decode(recording, [body])
    assert isinstance(deltas, list), (recording["id"], deltas)
    assert summary(fold(deltas)) == sdk.read(recording), recording["id"]
    for pieces in splits(body, random.Random(recording["id"]), bytewise=bytewise):
        assert decode(recording, pieces) == deltas


def check_passage(recording: Recording) -> None:
    """What went in comes out: bodies byte for byte, streams without their keep-alives."""
    body = body_of(recording)
    deltas = decode(recording, [body])
    assert isinstance(deltas, list)
    assert FORMAT.writer is not None
    writer = FORMAT.writer(Request(model="m", stream=bool(recording["stream"])))
    if not recording["stream"]:
        assert writer.whole(deltas, OUTCOME) == body.lstrip()
        return
    written = writer.write(deltas) + writer.end(OUTCOME)
    blocks = [b.strip() for b in body.split(b"\n\n") if b"data:" in b and b"[DONE]" not in b]
    last = next(n for n, block in enumerate(blocks) if any(f'"type":"{mark}"'.encode() in block for mark in LAST))
    assert [b.strip() for b in written.split(b"\n\n") if b] == blocks[: last + 1]  # a fixture holds two answers


def check_rescue(recording: Recording, sdk: Sdk) -> None:
    """A stream that breaks off in its words and is gone on with by others is still one, as the SDK reads it."""
    deltas = decode(recording, [body_of(recording)])
    assert isinstance(deltas, list)
    assert FORMAT.writer is not None
    worded = [n for n, delta in enumerate(deltas) if delta.text]
    if not worded or any(delta.tool_calls or delta.media for delta in deltas):
        return
    at = random.Random(recording["id"]).choice(worded) + 1
    shown = fold(deltas[:at])
    ours_then = [Delta(text=" and so"), Delta(text=" on", finish=Finish.STOP, raw_finish="stop")]
    writer = FORMAT.writer(Request(model="m", stream=True))
    body = writer.write(deltas[:at]) + writer.write(ours_then) + writer.end(records.replace(OUTCOME, rescued=True))
    payloads = [json.loads(line[5:]) for line in body.decode().split("\n") if line.startswith("data:")]
    numbers = [event["sequence_number"] for event in payloads if "sequence_number" in event]
    assert numbers == sorted(set(numbers))
    assert len({event["response"]["id"] for event in payloads if "response" in event}) == 1
    sdk.body, sdk.content_type = body, "text/event-stream"
    if recording["provider"] in LOOSE or recording["endpoint"] == ITEM:
        with sdk.client.responses.create(model="m", input="x", stream=True) as events:
            final = list(events)[-1].response
    else:
        with sdk.client.responses.stream(model="m", input="x") as events:
            final = events.get_final_response()
    assert final.status == "completed"
    assert final.output_text == shown.text + " and so on", recording["id"]
    assert final.id == shown.id


OURS = good([r for r in ours(RESPONSES) if r["status"] == 200])


@pytest.fixture(scope="module")
def sdk() -> Sdk:
    return Sdk()


@pytest.mark.parametrize("recording", OURS, ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recorded_answers(recording: Recording, sdk: Sdk) -> None:
    """A recorded answer is read as the SDK reads it, however it is cut; it passes unchanged, and can be rescued."""
    check_answer(recording, sdk, bytewise=True)
    check_passage(recording)
    if recording["stream"]:
        check_rescue(recording, sdk)


def test_all_recorded_answers(shared: Path, sdk: Sdk) -> None:
    """The same for every recording of the large set."""
    recordings = good(everything(shared, RESPONSES, ITEM)) + good(bare(shared))
    assert len(recordings) > 930
    for number, recording in enumerate(recordings):
        if is_waiting(recording):
            assert isinstance(decode(recording, [body_of(recording)]), Next)
            continue
        check_answer(recording, sdk, bytewise=number % 60 == 0)
        check_passage(recording)
        if recording["stream"]:
            check_rescue(recording, sdk)


def test_all_recorded_streams_break(shared: Path) -> None:
    """A recorded stream that is cut before its last event is a failure, wherever it is cut."""
    for number, recording in enumerate(r for r in good(everything(shared, RESPONSES)) if r["stream"]):
        body = recording["response_body"].encode()
        end = max(body.find(mark.encode()) for mark in LAST)
        found = decode(recording, [body[: random.Random(number).randrange(end)]])
        assert isinstance(found, Failure), recording["id"]
        assert found.kind is FailureKind.TRUNCATED


def test_all_recorded_errors(shared: Path) -> None:
    """A recorded error is known for what it is, under a bad status, in a body or in a stream."""
    errors = [r for r in everything(shared, RESPONSES) + bare(shared) if r["error_kind"]]
    assert len(errors) >= 22
    kinds: set[FailureKind] = set()
    for recording in errors:
        if recording["error_kind"] == "http":
            reply = HttpReply(status=recording["status"], headers=recording["response_headers"] or {},
                              body=body_of(recording))  # fmt: skip
            found: Any = classify(reply)
        else:
            found = decode(recording, [body_of(recording)])
        assert isinstance(found, Failure)
        assert found.message
        kinds.add(found.kind)
    assert kinds == {
        *(FailureKind.AUTH, FailureKind.CONTEXT_LENGTH, FailureKind.MODEL_MISSING, FailureKind.QUOTA),
        FailureKind.REQUEST,
    }


# ------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body = recording["request_body"]
    raw = json.dumps(body, ensure_ascii=False).encode()
    request = read_request("/v1/responses", raw)
    if isinstance(request, Failure):
        assert not body.get("model") or body.get("input") is None
        return
    assert request.stream is bool(body.get("stream"))
    assert ("tools" in request.needs) is bool(body.get("tools"))
    assert request.max_tokens == body.get("max_output_tokens")
    again = json.loads(write_request(request, TARGET).body)
    assert list(again) == list(body)
    assert again == {**body, "model": "other-model"}
    if isinstance(body.get("input"), list) and any(isinstance(item, str) for item in body["input"]):
        return  # an embedding under the wrong address
    chat = request.chat
    written = write_request(Request(model="m", stream=request.stream, read=lambda: chat), TARGET).body
    second = read_request("/v1/responses", written)
    if not isinstance(second, Failure):
        assert second.chat == normal(chat), recording["id"]
    for name, value in chat.extras.items():
        assert name in ("tools", "text", "reasoning") or json.loads(written)[name] == body[name] == value


def normal(chat: Chat) -> Chat:
    """Without what is not written: thoughts that nobody could check."""
    kept = [replace(message, parts=tuple(part for part in message.parts if is_kept(part))) for message in chat.messages]
    return replace(chat, messages=tuple(message for message in kept if message.parts))


def is_kept(part: Any) -> bool:
    return not isinstance(part, Reasoning) or bool(part.signature)


@pytest.mark.parametrize("recording", ours(RESPONSES), ids=lambda r: f"{r['provider']}-{r['id'][:6]}")
def test_recorded_requests(recording: Recording) -> None:
    """A recorded request keeps every field but the model, and its meaning through the canonical form."""
    check_request(recording)


def test_all_recorded_requests(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in everything(shared, RESPONSES) if isinstance(r["request_body"], dict)]
    assert len(recordings) > 850
    for recording in recordings:
        check_request(recording)
