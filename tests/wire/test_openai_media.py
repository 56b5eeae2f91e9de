"""Embeddings and images in OpenAI's format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Request, Target, Task, Usage
from unbroken.wire import Outcome, format_for, openai_media
from unbroken.wire.openai_media import FORMAT, decoder, read_request, write_request, writer
from wire.recorded import Recording, everything, ours

EMBEDDINGS, IMAGES = "/v1/embeddings", "/v1/images/generations"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.invalid/v1", key="k")
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
REQUEST = Request(model="m", task=Task.EMBEDDING)


def asked(path: str, **fields: Any) -> Request:
    request = read_request(path, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def read(*pieces: bytes) -> list[Delta] | Failure:
    reader = decoder(REQUEST, TARGET)
    for piece in pieces:
        step = reader.feed(piece)
        if isinstance(step, Failure):
            return step
        assert step == []
    deltas = reader.close()
    assert reader.done is isinstance(deltas, list)
    return deltas


def test_it_is_what_openai_families_use() -> None:
    """A target that chats in OpenAI's format embeds and draws in this one."""
    assert format_for("openai_chat", Task.EMBEDDING) is FORMAT
    assert format_for("openai_chat", Task.IMAGE) is FORMAT
    assert FORMAT.paths == (EMBEDDINGS, IMAGES)


def test_requests_pass_with_another_model() -> None:
    """The path says what is asked for; the caller's own fields go out."""
    request = asked(EMBEDDINGS, input=["a", "b"], model="m", dimensions=3)
    assert (request.task, request.model, request.prompt_chars, request.choices) == (Task.EMBEDDING, "m", 10, 1)
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1/embeddings"
    assert http.body == b'{"input":["a", "b"],"model":"other","dimensions":3}'
    request = asked(IMAGES, prompt="A cat", model="m", n=2)
    assert (request.task, request.choices) == (Task.IMAGE, 2)
    assert write_request(request, TARGET).url == "https://x.invalid/v1/images/generations"
    assert asked(IMAGES, prompt="A cat", model="m", n="two").choices == 1


def test_requests_of_other_formats_cannot_be_said() -> None:
    """Only requests that came in this format can go out in it."""
    with pytest.raises(ValueError, match="cannot be said"):
        write_request(Request(model="m", task=Task.EMBEDDING), TARGET)
    with pytest.raises(ValueError, match="holds no conversation"):
        _ = asked(EMBEDDINGS, input="a", model="m").chat


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/v1/nothing", {"model": "m", "input": "a"}, None),
        (EMBEDDINGS, {"input": "a"}, "model"),
        (IMAGES, {"prompt": "a"}, "model"),
        (EMBEDDINGS, {"model": "m"}, "input"),
        (EMBEDDINGS, {"model": "m", "input": None}, "input"),
        (EMBEDDINGS, {"model": "m", "input": 7}, "input"),
        (EMBEDDINGS, {"model": "m", "input": []}, "input"),
        (IMAGES, {"model": "m"}, "prompt"),
        (IMAGES, {"model": "m", "prompt": ["a"]}, "prompt"),
    ],
)
def test_bad_requests_name_the_field(path: str, fields: dict[str, Any], param: str | None) -> None:
    """A caller learns which field is wrong."""
    failure = read_request(path, json.dumps(fields).encode())
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


def test_answers_pass_as_they_came() -> None:
    """The body is the answer; how many and how many tokens is read from it."""
    body = b'{"data": [{"embedding": [1.0]}, {}], "model": "mm", "usage": {"prompt_tokens": 4}}'
    deltas = read(b"\n" + body[:5], body[5:])
    assert deltas == [
        Delta(media=2, model="mm", usage=Usage(input_tokens=4), format="openai_media", raw=body, body=True)
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


def test_bodies_have_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that never ends fills no memory."""
    monkeypatch.setattr(openai_media, "BODY_BYTES_MAX", 10)
    assert isinstance(read(b"x" * 11), Failure)


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"data":[' + b, st.binary(max_size=20)))
def test_any_bytes_are_deltas_or_a_failure(body: bytes) -> None:
    """No bytes raise, from either side."""
    assert isinstance(read(body), list | Failure)
    assert isinstance(read_request(EMBEDDINGS, body), Request | Failure)


def check(recording: Recording) -> None:
    body: str = recording["response_body"]
    asked_for = recording["request_body"]
    path = IMAGES if recording["endpoint"] == "images" else EMBEDDINGS
    request = read_request(path, json.dumps(asked_for).encode())
    if isinstance(request, Failure):
        assert recording["status"] == 400
        return
    assert json.loads(write_request(request, TARGET).body) == {**asked_for, "model": "other"}
    if recording["status"] == 200:
        deltas = read(body.encode())
        assert isinstance(deltas, list), deltas
        assert deltas[0].media == len(json.loads(body)["data"])
        assert writer(request).whole(deltas, OUTCOME) == body.lstrip().encode()


def fits(recording: Recording) -> bool:
    body = recording["request_body"]
    return isinstance(body, dict) and bool(body.get("model")) and ("input" in body or "prompt" in body)


@pytest.mark.parametrize(
    "recording", [r for r in ours("embeddings", "images") if fits(r)], ids=lambda r: f"{r['provider']}-{r['id'][:6]}"
)
def test_recordings(recording: Recording) -> None:
    """Recorded requests and answers pass, unchanged but for the model."""
    check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for the large set, but for providers that have a format of their own."""
    recordings = [
        r for r in everything(shared, "embeddings", "images") if fits(r) and r["provider"] not in ("cohere", "voyage")
    ]
    assert len(recordings) > 50
    for recording in recordings:
        check(recording)
