"""Embeddings in Ollama's own format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Outcome, format_for
from unbroken.wire.ollama_embeddings import FORMAT, decoder, read_request, write_request, writer
from unbroken.wire.openai_embeddings import FORMAT as OPENAI
from unbroken.work import Texts

TARGET = Target(name="t", provider="ollama", model="other", base_url="http://h.invalid/api")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
BODY = b'{"model":"mm","embeddings":[[0.5,1],[-1,0.25]],"total_duration":9,"prompt_eval_count":4}'


def asked(**fields: Any) -> Request:
    request = read_request("/api/embed", json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def read(body: bytes, request: Request) -> list[Delta] | Failure:
    reader = decoder(request, TARGET)
    assert reader.feed(body[:7]) == reader.feed(body[7:]) == []
    found = reader.close()
    assert isinstance(found, list | Failure)
    return found


def test_it_is_what_ollama_uses() -> None:
    """A target that chats in Ollama's format embeds in this one."""
    assert format_for("ollama", Task.EMBEDDING) is FORMAT


def test_requests_pass_with_another_model() -> None:
    """The caller's own fields go out, to the server's address."""
    request = asked(model="m", input=["a", "b"], truncate=True, options={"num_ctx": 512})
    assert (request.task, request.model, request.prompt_chars) == (Task.EMBEDDING, "m", 10)
    http = write_request(request, TARGET)
    assert http.url == "http://h.invalid/api/embed"
    assert json.loads(http.body) == {
        "model": "other",
        "input": ["a", "b"],
        "truncate": True,
        "options": {"num_ctx": 512},
    }


@pytest.mark.parametrize(
    "work",
    [
        Texts(texts=("a", "b"), dimensions=4, hints={"truncate": True, "keep_alive": "1m"}),
        Texts(texts=("a",), hints={"truncate": False}, extras={"options": {"num_ctx": 512}}),
    ],
)
def test_texts_survive(work: Texts) -> None:
    """What is asked is the same after writing and reading."""
    body = write_request(Request(model="m", task=Task.EMBEDDING, read=lambda: work), TARGET).body
    request = read_request("/api/embed", body)
    assert isinstance(request, Request)
    assert request.work_as(Texts) == work


def test_openais_requests_go_there_and_back() -> None:
    """A request in OpenAI's format means the same here; a text that is too long is refused, as there."""
    assert OPENAI.read_request is not None
    request = OPENAI.read_request("/v1/embeddings", b'{"model":"m","input":["a"],"dimensions":8,"user":"u"}')
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert json.loads(http.body) == {"model": "other", "input": ["a"], "dimensions": 8, "truncate": False}
    assert http.unsaid == ("user",)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (Texts(tokens=((1, 2),)), "not tokens"),
        (Texts(texts=("a",), purpose="query"), "purpose"),
        (Texts(texts=("a",), extras={"x": 1}), "x"),
    ],
)
def test_what_cannot_be_said(work: Texts, words: str) -> None:
    """A target is not asked what this format has no words for."""
    request = Request(model="m", task=Task.EMBEDDING, read=lambda: work, source=Source("another", {}))
    with pytest.raises(ValueError, match=words):
        write_request(request, TARGET)


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"input": "a"}, "model"), ({"model": "m"}, "input"), ({"model": "m", "input": 7}, "input"),
     ({"model": "m", "input": []}, "input")],
)  # fmt: skip
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong."""
    failure = read_request("/api/embed", json.dumps(fields).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)
    with pytest.raises(ValueError, match="input"):
        _ = asked(model="m", input=[7]).work


def test_answers() -> None:
    """A caller of the same format gets the very bytes, one of another the vectors."""
    own = asked(model="m", input=["a", "b"])
    deltas = read(BODY, own)
    assert deltas == [
        Delta(media=2, model="mm", usage=Usage(input_tokens=4), format="ollama_embeddings", raw=BODY, body=True)
    ]
    assert writer(own).whole(deltas, OUTCOME) == BODY
    other = read(BODY, Request(model="m", task=Task.EMBEDDING))
    assert isinstance(other, list)
    assert [output.vector for output in other[0].outputs] == [(0.5, 1.0), (-1.0, 0.25)]


def test_answers_of_other_formats() -> None:
    """Vectors from elsewhere are written as Ollama's, and an error as its sentence."""
    out = writer(asked(model="m", input="a"))
    deltas = [Delta(media=1, outputs=(Output(kind="embedding", vector=(0.5,)),), usage=Usage(input_tokens=2))]
    assert json.loads(out.whole(deltas, OUTCOME)) == {"model": "m", "embeddings": [[0.5]], "prompt_eval_count": 2}
    assert json.loads(out.broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME))["error"] == "no"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{}", b"[]", b'{"embeddings":[]}', b'{"embeddings":[["a"]]}', b'{"error":"boom"}']
)
def test_bodies_without_vectors_are_failures(body: bytes) -> None:
    """A good answer holds vectors; an error in its place says what it is."""
    failure = read(body, Request(model="m", task=Task.EMBEDDING))
    assert isinstance(failure, Failure)
    assert b"boom" not in body or (failure.kind, failure.message) == (FailureKind.SERVER, "boom")


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"model":"m","input":' + b, st.binary(max_size=20)))
def test_any_bytes_are_answers_or_failures(body: bytes) -> None:
    """No bytes raise, from either side."""
    assert isinstance(read(body, Request(model="m", task=Task.EMBEDDING)), list | Failure)
    assert isinstance(read_request("/api/embed", body), Request | Failure)
