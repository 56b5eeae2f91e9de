"""Cohere's format against recorded traffic, read by the official SDK from the same bytes."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, HttpReply, Price, Request, Target, Task, fold
from unbroken.wire import Format, Outcome, cohere, cohere_embeddings
from unbroken.work import Texts
from wire import reading
from wire.recorded import OURS, Recording

sdk = pytest.importorskip("cohere", reason="the official SDK is the judge of what an answer says")
httpx = pytest.importorskip("httpx", reason="what the SDK sends goes through here")

TARGET = Target(name="t", provider="cohere", model="other", base_url="https://h.invalid")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
FINISHES = {
    "COMPLETE": Finish.STOP,
    "STOP_SEQUENCE": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    "TOOL_CALL": Finish.TOOL_CALLS,
}


def rows(path: Path) -> list[Recording]:
    """Recordings of version 2, and fixtures that hold an answer alone: their events get their framing back."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    return [framed(row) for row in found if (row.get("url") or "/v2/chat").endswith(("/v2/chat", "/v2/embed"))
            and row["endpoint"] in ("chat", "embeddings", "default")]  # fmt: skip


def framed(row: Recording) -> Recording:
    if row["request_body"] is None and row["stream"]:
        body = "".join(f"data: {line}\n\n" for line in row["response_body"].splitlines() if line.strip())
        row = {**row, "response_body": body}
    return row if row["status"] else {**row, "status": 200}


def is_chat(recording: Recording) -> bool:
    return bool(recording["endpoint"] != "embeddings")


def client(body: bytes) -> Any:
    """The SDK, to whom every request is answered with these bytes."""
    kind = "application/json" if body.lstrip().startswith(b"{") else "text/event-stream"
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body, headers={"content-type": kind}))
    return sdk.ClientV2(api_key="k", base_url="https://h.invalid", httpx_client=httpx.Client(transport=transport))


# ------------------------------------------------------------------- the SDK's reading


def expected(recording: Recording) -> dict[str, Any]:
    """What the official SDK reads from the recorded bytes."""
    body = recording["response_body"].encode()
    return streamed(body) if recording["stream"] else whole(client(body).chat(model="m", messages=[]))


def whole(answer: Any) -> dict[str, Any]:
    message = answer.message
    items = message.content or []
    return {
        "text": "".join(item.text for item in items if item.type == "text"),
        "reasoning": "".join(i.thinking for i in items if i.type == "thinking") + (message.tool_plan or ""),
        "calls": [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or ()],
        **ending(answer),
        "id": answer.id,
    }


def streamed(body: bytes) -> dict[str, Any]:
    text = reasoning = ""
    calls: list[list[str]] = []
    last: Any = None
    first, *events = client(body).chat_stream(model="m", messages=[])
    for event in events:
        said: Any = getattr(getattr(event, "delta", None), "message", None)
        match event.type:
            case "content-start" | "content-delta":
                text += said.content.text or ""
                reasoning += said.content.thinking or ""
            case "tool-plan-delta":
                reasoning += said.tool_plan
            case "tool-call-start":
                calls.append([said.tool_calls.id, said.tool_calls.function.name, said.tool_calls.function.arguments])
            case "tool-call-delta":
                calls[event.index][2] += said.tool_calls.function.arguments
            case "message-end":
                last = event.delta
    told = {"text": text, "reasoning": reasoning, "calls": [tuple(call) for call in calls]}
    return {**told, **ending(last), "id": first.id}


def ending(answer: Any) -> dict[str, Any]:
    usage = answer.usage
    more = usage.tokens.model_extra or {}
    return {
        "raw_finish": answer.finish_reason,
        "finish": FINISHES[answer.finish_reason],
        "input": usage.tokens.input_tokens + more.get("image_tokens", 0),
        "output": usage.tokens.output_tokens,
        "cached": usage.cached_tokens or 0,
        "thought": more.get("reasoning_tokens", 0),
        "billed": (usage.billed_units.input_tokens, usage.billed_units.output_tokens),
    }


# ------------------------------------------------------------------------ our reading


def decode(recording: Recording, pieces: list[bytes], target: Target = TARGET) -> list[Delta] | Failure:
    task = Task.CHAT if is_chat(recording) else Task.EMBEDDING
    return reading.read(
        spoken(recording).decoder(Request(model="m", stream=bool(recording["stream"]), task=task), target), pieces
    )


def spoken(recording: Recording) -> Format:
    return cohere.FORMAT if is_chat(recording) else cohere_embeddings.FORMAT


def summary(deltas: list[Delta], billed: tuple[int, int]) -> dict[str, Any]:
    answer = fold(deltas)
    usage = answer.usage
    assert usage is not None
    return {
        "text": answer.text,
        "reasoning": answer.reasoning,
        "calls": [(call.id, call.name, call.arguments) for call in answer.tool_calls],
        "raw_finish": answer.raw_finish,
        "finish": answer.finish,
        "input": usage.input_tokens,
        "output": usage.output_tokens,
        "cached": usage.cached_tokens,
        "thought": usage.reasoning_tokens,
        "billed": billed,
        "id": answer.id,
    }


def pieces_of(body: bytes, seed: str) -> Iterator[list[bytes]]:
    rng = random.Random(seed)
    cuts = sorted(rng.randrange(len(body) + 1) for _ in range(5))
    yield [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    if len(body) < 30_000:
        yield [body[i : i + 1] for i in range(len(body))]


def check_chat_answer(recording: Recording, deltas: list[Delta]) -> None:
    told = expected(recording)
    assert summary(deltas, told["billed"]) == told, recording["id"]
    priced = Target(name="t", provider="cohere", model="m", price=Price(input_usd=1e6, output_usd=1e6))
    paid = decode(recording, [recording["response_body"].encode()], priced)
    assert isinstance(paid, list)
    usage = fold(paid).usage
    assert usage is not None
    assert usage.cost_usd == pytest.approx(sum(told["billed"])), "what is billed is what is paid for"


def check_vectors(recording: Recording, deltas: list[Delta]) -> None:
    answer = client(recording["response_body"].encode()).embed(model="m", texts=["a"], input_type="x")
    assert [list(output.vector) for output in deltas[0].outputs] == answer.embeddings.float_
    assert deltas[0].usage is not None
    assert deltas[0].usage.input_tokens == answer.meta.billed_units.input_tokens
    assert (deltas[0].media, deltas[0].id) == (len(answer.embeddings.float_), answer.id)


def check_answer(recording: Recording) -> None:
    body = recording["response_body"].encode()
    deltas = decode(recording, [body])
    assert isinstance(deltas, list), (recording["id"], deltas)
    (check_chat_answer if is_chat(recording) else check_vectors)(recording, deltas)
    for pieces in pieces_of(body, recording["id"]):
        assert decode(recording, pieces) == deltas
    check_passage(recording, deltas)


def check_passage(recording: Recording, deltas: list[Delta]) -> None:
    """What went in comes out."""
    made = spoken(recording).writer
    assert made is not None
    written = made(Request(model="m", stream=bool(recording["stream"]))).whole(deltas, OUTCOME)
    body = recording["response_body"].encode().strip()
    done = b"data: [DONE]"
    assert written.strip().removesuffix(done).strip() == body.removesuffix(done).strip()
    assert written.endswith(done + b"\n\n") is bool(recording["stream"])


# ------------------------------------------------------------------------ the requests


def check_request(recording: Recording) -> None:
    body, form = recording["request_body"], spoken(recording)
    assert form.read_request is not None
    path = form.paths[0]
    request = form.read_request(path, json.dumps(body, ensure_ascii=False).encode())
    assert isinstance(request, Request), request
    http = form.write_request(request, TARGET)
    assert http.url == f"https://h.invalid{path}"
    assert json.loads(http.body) == {**body, "model": "other"}
    work = request.work
    alone = Request(model="m", stream=request.stream, task=request.task, read=lambda: work)
    read = form.read_request(path, form.write_request(alone, TARGET).body)
    assert isinstance(read, Request)
    if isinstance(work, Texts):
        again = read.work_as(Texts)
        assert (again.texts, again.purpose, again.dimensions) == (work.texts, work.purpose, work.dimensions)
    else:
        assert read.work == work, recording["id"]


def check(recording: Recording) -> None:
    if recording["request_body"] is not None:
        check_request(recording)
    if recording["status"] == 200:
        check_answer(recording)
    else:
        reply = HttpReply(status=recording["status"], headers={}, body=recording["response_body"].encode())
        failure = spoken(recording).classify(reply)
        assert failure.kind is FailureKind.MODEL_MISSING
        assert failure.message


@pytest.mark.parametrize("recording", rows(OURS / "cohere.jsonl.gz"), ids=lambda r: f"{r['endpoint']}-{r['id'][:6]}")
def test_recordings(recording: Recording) -> None:
    """A recorded request keeps its fields, and its answer says what the SDK reads, however it is cut into packets."""
    check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for every recording of version 2 in the large set, and for the fixtures that hold answers alone."""
    names = ("cohere", "response_only-cohere")
    found = [row for name in names for row in rows(shared / "wire" / f"{name}.jsonl.gz")]
    assert len([row for row in found if is_chat(row)]) >= 56
    for recording in found:
        check(recording)


def test_broken_streams(shared: Path) -> None:
    """A stream that is cut before `message-end` is a failure, wherever it is cut."""
    for recording in rows(shared / "wire" / "cohere.jsonl.gz"):
        if recording["stream"]:
            body = recording["response_body"]
            at = random.Random(recording["id"]).randrange(body.index("event: message-end"))
            failure = decode(recording, [body[:at].encode()])
            assert isinstance(failure, Failure)
            assert failure.kind is FailureKind.TRUNCATED
