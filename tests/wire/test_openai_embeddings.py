"""Embeddings in OpenAI's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Request, Target, Task, Usage
from unbroken.wire import Outcome, format_for
from unbroken.wire.embeddings import unpacked
from unbroken.wire.openai_embeddings import FORMAT, decoder, read_request, write_request, writer
from unbroken.wire.whole import BODY_BYTES_MAX
from unbroken.work import Texts
from wire.recorded import Recording, everything, ours

EMBEDDINGS = "/v1/embeddings"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="k")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)


def asked(**fields: Any) -> Request:
    request = read_request(EMBEDDINGS, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


REQUEST = asked(input="a", model="m")


def read(*pieces: bytes, request: Request = REQUEST) -> list[Delta] | Failure:
    reader = decoder(request, TARGET)
    for piece in pieces:
        step = reader.feed(piece)
        if isinstance(step, Failure):
            return step
        assert step == []
    deltas = reader.close()
    assert reader.done is isinstance(deltas, list)
    assert isinstance(deltas, list | Failure)
    return deltas


def test_it_is_what_openai_families_use() -> None:
    """A target that chats in OpenAI's format embeds in this one."""
    assert format_for("openai_chat", Task.EMBEDDING) is FORMAT
    assert FORMAT.paths == (EMBEDDINGS,)


def test_requests_pass_with_another_model() -> None:
    """The caller's own fields go out."""
    request = asked(input=["a", "b"], model="m", dimensions=3)
    assert (request.task, request.model, request.prompt_chars, request.choices) == (Task.EMBEDDING, "m", 10, 1)
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1/embeddings"
    assert http.body == b'{"input":["a", "b"],"model":"other","dimensions":3}'


def test_texts_are_said_anew() -> None:
    """What came in another format is said in this one, and what it has no words for makes the target ineligible."""
    work = Texts(texts=("a", "b"), dimensions=3, base64=True, hints={"user": "u", "cache": 1})
    http = write_request(Request(model="m", task=Task.EMBEDDING, read=lambda: work), TARGET)
    assert json.loads(http.body) == {
        "model": "other", "input": ["a", "b"], "dimensions": 3, "encoding_format": "base64", "user": "u",
    }  # fmt: skip
    assert http.unsaid == ("cache",)
    queries = Request(model="m", task=Task.EMBEDDING, read=lambda: Texts(texts=("a",), purpose="query"))
    with pytest.raises(ValueError, match="purpose"):
        write_request(queries, TARGET)


@pytest.mark.parametrize(
    "fields", [{"input": ["a", "b"], "dimensions": 2}, {"input": [[1, 2], [3]]}, {"input": [4, 5], "user": "u"}]
)
def test_canonical_texts_survive(fields: dict[str, Any]) -> None:
    """Read, written anew and read again, it is the same."""
    work = asked(model="m", **fields).work_as(Texts)
    anew = write_request(Request(model="m", task=Task.EMBEDDING, read=lambda: work), TARGET)
    again = read_request(EMBEDDINGS, anew.body)
    assert isinstance(again, Request)
    assert again.work == work


def test_vectors_are_read_for_callers_of_other_formats() -> None:
    """Numbers, or 32-bit floats in base64, come out as vectors, and go to this format's callers as they wanted them."""
    foreign = Request(model="m", task=Task.EMBEDDING)
    body = b'{"data": [{"embedding": [0.5, 1]}, {"embedding": "AAAAPwAAgD8="}]}'
    deltas = read(body, request=foreign)
    assert isinstance(deltas, list)
    vectors = [output.vector for output in deltas[0].outputs]
    assert vectors == [(0.5, 1.0), (0.5, 1.0)]
    mine = [Delta(media=2, outputs=deltas[0].outputs)]
    packed = json.loads(writer(asked(input="a", model="m", encoding_format="base64")).whole(mine, OUTCOME))
    assert [unpacked(row["embedding"]) for row in packed["data"]] == vectors
    assert isinstance(read(b'{"data": [{"embedding": "?"}]}', request=foreign), Failure)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": "a"}, "model"),
        ({"model": "m"}, "input"),
        ({"model": "m", "input": None}, "input"),
        ({"model": "m", "input": 7}, "input"),
        ({"model": "m", "input": []}, "input"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str | None) -> None:
    """A caller learns which field is wrong."""
    failure = read_request(EMBEDDINGS, json.dumps(fields).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


def test_answers_pass_as_they_came() -> None:
    """The body is the answer; how many and how many tokens is read from it."""
    body = b'{"data": [{"embedding": [1.0]}, {}], "model": "mm", "usage": {"prompt_tokens": 4}}'
    deltas = read(b"\n" + body[:5], body[5:])
    assert deltas == [
        Delta(media=2, model="mm", usage=Usage(input_tokens=4), format="openai_embeddings", raw=body, body=True)
    ]
    out = writer(REQUEST)
    assert out.content_type == "application/json"
    assert out.whole(deltas, OUTCOME) == body
    assert out.write(deltas) == out.end(OUTCOME) == b""
    assert b"no" in out.broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME)


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b"nope", b"[]", b"7", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":7}', b'{"data":[1'],
)
def test_bodies_without_data_are_malformed(body: bytes) -> None:
    """A good answer has data in it."""
    failure = read(body)
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED


@pytest.mark.parametrize("body", [b'{"error": {"message": "boom", "code": 503}}', b'{"error": "boom", "data": [1]}'])
def test_errors_under_200(body: bytes) -> None:
    """An error inside a good answer is a failure that says what it is."""
    failure = read(body)
    assert isinstance(failure, Failure)
    assert "boom" in failure.message


def test_bodies_have_a_limit() -> None:
    """A body that never ends fills no memory."""
    assert isinstance(read(b"x" * BODY_BYTES_MAX, b"x"), Failure)


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"data":[' + b, st.binary(max_size=20)))
def test_any_bytes_are_deltas_or_a_failure(body: bytes) -> None:
    """No bytes raise, from either side."""
    assert isinstance(read(body), list | Failure)
    assert isinstance(read_request(EMBEDDINGS, body), Request | Failure)


def check(recording: Recording) -> None:
    body: str = recording["response_body"]
    asked_for = recording["request_body"]
    request = read_request(EMBEDDINGS, json.dumps(asked_for).encode())
    if isinstance(request, Failure):
        assert recording["status"] == 400
        return
    assert json.loads(write_request(request, TARGET).body) == {**asked_for, "model": "other"}
    if recording["status"] == 200:
        deltas = read(body.encode(), request=request)
        assert isinstance(deltas, list), deltas
        assert deltas[0].media == len(json.loads(body)["data"])
        assert writer(request).whole(deltas, OUTCOME) == body.lstrip().encode()


def fits(recording: Recording) -> bool:
    body = recording["request_body"]
    return isinstance(body, dict) and bool(body.get("model")) and "input" in body


@pytest.mark.parametrize(
    "recording", [r for r in ours("embeddings") if fits(r)], ids=lambda r: f"{r['provider']}-{r['id'][:6]}"
)
def test_recordings(recording: Recording) -> None:
    """Recorded requests and answers pass, unchanged but for the model."""
    check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for the large set, but for providers that have a format of their own."""
    recordings = [r for r in everything(shared, "embeddings") if fits(r) and r["provider"] not in ("cohere", "voyage")]
    assert len(recordings) > 50
    for recording in recordings:
        check(recording)
