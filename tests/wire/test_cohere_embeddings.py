"""Embeddings in Cohere's format."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Outcome, format_for
from unbroken.wire.cohere_embeddings import FORMAT, decoder, read_request, write_request, writer
from unbroken.wire.openai_embeddings import FORMAT as OPENAI
from unbroken.work import Texts

TARGET = Target(name="t", provider="cohere", model="other", base_url="https://h.invalid/v1")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
BODY = (
    b'{"id":"e1","embeddings":{"float":[[0.5,1],[-1,0.25]]},"texts":["a","b"],'
    b'"meta":{"api_version":{"version":"2"},"billed_units":{"input_tokens":4}},"response_type":"embeddings_by_type"}'
)
PLAIN = Request(model="m", task=Task.EMBEDDING)


def asked(**fields: Any) -> Request:
    request = read_request("/v2/embed", json.dumps({"model": "m", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def foreign(work: Texts) -> Request:
    return Request(model="m", task=Task.EMBEDDING, read=lambda: work, source=Source("elsewhere", {}))


def read(body: bytes, request: Request = PLAIN) -> list[Delta] | Failure:
    reader = decoder(request, TARGET)
    assert reader.feed(body[:7]) == reader.feed(body[7:]) == []
    found = reader.close()
    assert isinstance(found, list | Failure)
    return found


def test_it_is_what_cohere_uses() -> None:
    """A target that chats in Cohere's format embeds in this one."""
    assert format_for("cohere", Task.EMBEDDING) is FORMAT


def test_requests_pass_with_another_model() -> None:
    """The caller's own fields go out, to the address of version 2; pictures too, which only Cohere can read."""
    request = asked(texts=["a", "b"], input_type="clustering", embedding_types=["int8"])
    assert (request.task, request.model, request.prompt_chars) == (Task.EMBEDDING, "m", 10)
    http = write_request(request, TARGET)
    assert http.url == "https://h.invalid/v2/embed"
    assert json.loads(http.body) == {
        "model": "other", "texts": ["a", "b"], "input_type": "clustering", "embedding_types": ["int8"],
    }  # fmt: skip
    pictures = asked(images=["data:image/png;base64,AA=="], input_type="image")
    assert json.loads(write_request(pictures, TARGET).body)["images"]
    with pytest.raises(ValueError, match="texts"):
        _ = pictures.work


@pytest.mark.parametrize(
    "work",
    [
        Texts(texts=("a", "b"), dimensions=4, purpose="query", hints={"truncate": "END", "priority": 1}),
        Texts(texts=("a",), purpose="document", base64=True, hints={"truncate": "NONE"}),
        Texts(texts=("a",), purpose="classification", hints={"truncate": "START"}, extras={"max_tokens": 9}),
    ],
)
def test_texts_survive(work: Texts) -> None:
    """What is asked is the same after writing and reading."""
    body = write_request(Request(model="m", task=Task.EMBEDDING, read=lambda: work), TARGET).body
    request = read_request("/v2/embed", body)
    assert isinstance(request, Request)
    assert request.work_as(Texts) == work


def test_types_that_nobody_else_has() -> None:
    """Small numbers and unknown purposes stay this format's own."""
    work = asked(texts=["a"], input_type="image", embedding_types=["int8", "float"]).work_as(Texts)
    assert work.extras == {"input_type": "image", "embedding_types": ["int8", "float"]}
    assert (work.purpose, work.base64) == ("", False)


def test_openais_requests() -> None:
    """A request in OpenAI's format is for documents, which is what such vectors are compared with."""
    assert OPENAI.read_request is not None
    request = OPENAI.read_request("/v1/embeddings", b'{"model":"m","input":["a"],"dimensions":8,"user":"u"}')
    assert isinstance(request, Request)
    http = write_request(request, TARGET)
    assert json.loads(http.body) == {
        "model": "other", "texts": ["a"], "input_type": "search_document", "embedding_types": ["float"],
        "output_dimension": 8, "truncate": "NONE",
    }  # fmt: skip
    assert http.unsaid == ("user",)


@pytest.mark.parametrize(
    ("work", "words"),
    [
        (Texts(tokens=((1, 2),)), "not tokens"),
        (Texts(texts=("a",) * 97), "at most 96"),
        (Texts(texts=("a",), purpose="similarity"), "purpose"),
        (Texts(texts=("a",), extras={"x": 1}), "x"),
    ],
)
def test_what_cannot_be_said(work: Texts, words: str) -> None:
    """A target is not asked what this format has no words for."""
    with pytest.raises(ValueError, match=words):
        write_request(foreign(work), TARGET)


@pytest.mark.parametrize(
    ("fields", "param"), [({"model": ""}, "model"), ({}, "texts"), ({"texts": "a"}, "texts"), ({"texts": []}, "texts")]
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong."""
    failure = read_request("/v2/embed", json.dumps({"model": "m", **fields}).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)
    with pytest.raises(ValueError, match="texts"):
        _ = asked(texts=[7]).work


def test_answers() -> None:
    """A caller of the same format gets the very bytes, one of another the vectors."""
    own = asked(texts=["a", "b"])
    deltas = read(BODY, own)
    assert deltas == [
        Delta(media=2, id="e1", usage=Usage(input_tokens=4), format="cohere_embeddings", raw=BODY, body=True)
    ]
    assert writer(own).whole(deltas, OUTCOME) == BODY
    other = read(BODY)
    assert isinstance(other, list)
    assert [output.vector for output in other[0].outputs] == [(0.5, 1.0), (-1.0, 0.25)]


def test_vectors_as_base64() -> None:
    """Vectors of packed numbers are read and written like those of JSON."""
    out = writer(asked(texts=["a"], embedding_types=["base64"]))
    deltas = [Delta(media=1, outputs=(Output(kind="embedding", vector=(0.5, -1.0)),))]
    body = out.whole(deltas, OUTCOME)
    again = read(body)
    assert isinstance(again, list)
    assert again[0].outputs == deltas[0].outputs
    assert json.loads(body)["texts"] == ["a"]
    assert json.loads(out.broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME))["message"] == "no"


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"{}", b"[]", b'{"message":"boom"}', b'{"embeddings":{}}', b'{"embeddings":{"float":[]}}'),
        *(b'{"embeddings":{"float":[["a"]]}}', b'{"embeddings":{"base64":["?"]}}', b'{"embeddings":{"int8":[[1]]}}'),
    ],
)
def test_bodies_without_vectors_are_failures(body: bytes) -> None:
    """A good answer holds vectors that others can read; an error in its place says what it is."""
    failure = read(body)
    assert isinstance(failure, Failure)
    assert b"boom" not in body or (failure.kind, failure.message) == (FailureKind.SERVER, "boom")


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"model":"m","texts":' + b, st.binary(max_size=20)))
def test_any_bytes_are_answers_or_failures(body: bytes) -> None:
    """No bytes raise, from either side."""
    assert isinstance(read(body), list | Failure)
    assert isinstance(read_request("/v2/embed", body), Request | Failure)
