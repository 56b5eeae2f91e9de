"""Ollama's face beside its chat: prompts, old and new embeddings, and what its tools ask before they begin."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ollama
import pytest

from faces.test_faces import KEY, QUESTION, with_gateway
from unbroken.testing import Cut, FakeProvider, Status, essay
from unbroken.testing.samples import PIXEL
from unbroken.types import Chat, Request


@contextmanager
def client_at(url: str) -> Iterator[ollama.Client]:
    with ollama.Client(host=url, headers={"authorization": f"Bearer {KEY}"}) as client:
        yield client


def asked(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and decoded body of a call without a client."""
    line = http.client.HTTPConnection(url.removeprefix("http://"))
    line.request(method, path, json.dumps(body) if body is not None else None, {"authorization": f"Bearer {KEY}"})
    answer = line.getresponse()
    data = answer.read()
    line.close()
    return answer.status, json.loads(data) if data.startswith(b"{") else data


@pytest.mark.parametrize("spoken", ["openai_chat", "ollama"])
def test_a_prompt_is_answered(spoken: str, tmp_path: Path) -> None:
    """Plain and streamed, by providers of the same format and of another."""

    def ask(url: str) -> None:
        with client_at(url) as client:
            plain = client.generate(model="m", prompt=QUESTION)
            assert (plain.response, plain.done, plain.done_reason) == (essay(QUESTION), True, "stop")
            assert (plain.eval_count or 0) > 20
            pieces = list(client.generate(model="m", prompt=QUESTION, stream=True))
            assert "".join(piece.response or "" for piece in pieces) == essay(QUESTION)
            assert [piece.done for piece in pieces][-2:] == [False, True]

    with_gateway(tmp_path, ask, FakeProvider("far"), format=spoken)


def test_a_prompts_stream_is_rescued(tmp_path: Path) -> None:
    """A provider that breaks off is replaced in the middle of the words."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Cut(after_tokens=12))

    def ask(url: str) -> str:
        with client_at(url) as client:
            return "".join(piece.response or "" for piece in client.generate(model="m", prompt=QUESTION, stream=True))

    assert with_gateway(tmp_path, ask, broken, well) == essay(QUESTION)
    assert len(well.seen) == 1


def test_all_of_a_prompt_reaches_the_model(tmp_path: Path) -> None:
    """System words, images, a schema and settings go along; under `raw` the prompt goes alone, as at Ollama."""
    heard: list[Chat] = []

    def answer(request: Request) -> str:
        heard.append(request.chat)
        return '{"age": 7}'

    def ask(url: str) -> None:
        with client_at(url) as client:
            picture = base64.b64encode(PIXEL).decode()
            more: Any = {"options": {"temperature": 0.5, "num_predict": 99}, "format": {"type": "object"}}
            client.generate(model="m", prompt="How old?", system="Be brief.", images=[picture], **more)
            client.generate(model="m", prompt="<s>How old?", system="Be brief.", raw=True)

    with_gateway(tmp_path, ask, FakeProvider("far", answer=answer))
    whole, raw = heard
    assert [message.role for message in whole.messages] == ["system", "user"]
    assert [type(part).__name__ for part in whole.messages[1].parts] == ["Text", "Media"]
    assert (whole.temperature, whole.max_tokens, whole.schema) == (0.5, 99, {"type": "object"})
    assert [(message.role, message.text) for message in raw.messages] == [("user", "<s>How old?")]


@pytest.mark.parametrize("field", [{"suffix": "end"}, {"template": "{{ .Prompt }}"}, {"context": [1, 2]}])
def test_what_needs_the_model_itself_is_refused(field: Any, tmp_path: Path) -> None:
    """Nothing is dropped in silence: a field without a counterpart is an error that names it."""

    def ask(url: str) -> None:
        with client_at(url) as client, pytest.raises(ollama.ResponseError, match=next(iter(field))):
            client.generate(model="m", prompt="Hi", **field)

    with_gateway(tmp_path, ask, FakeProvider("far"))


def test_loading_a_model_costs_nothing(tmp_path: Path) -> None:
    """A prompt of nothing only asks for the model to be loaded or unloaded; no provider hears of it."""
    fake = FakeProvider("far")

    def ask(url: str) -> None:
        with client_at(url) as client:
            assert client.generate(model="m").done_reason == "load"
            assert client.generate(model="m", keep_alive=0).done_reason == "unload"
            with pytest.raises(ollama.ResponseError) as raised:
                client.generate(model="nobody")
            assert raised.value.status_code == 404

    with_gateway(tmp_path, ask, fake)
    assert not fake.seen


@pytest.mark.parametrize("spoken", ["openai_chat", "ollama"])
def test_texts_are_embedded_in_the_new_way_and_the_old(spoken: str, tmp_path: Path) -> None:
    """`/api/embed` gives a vector for each text and `/api/embeddings` one, the same; another target takes over."""
    broken, well = FakeProvider("broken"), FakeProvider("well")
    broken.fail_with(Status(500))

    def ask(url: str) -> None:
        with client_at(url) as client:
            new = client.embed(model="m", input=["sea", "sky"]).embeddings
            old = client.embeddings(model="m", prompt="sea").embedding
            assert len(new) == 2
            assert list(old) == list(new[0])

    with_gateway(tmp_path, ask, broken, well, format=spoken)


def test_what_ollamas_tools_look_for_is_there(tmp_path: Path) -> None:
    """A version that is new enough, a sign of life, and errors of one sentence."""

    def ask(url: str) -> None:
        status, told = asked(url, "GET", "/api/version")
        assert (status, int(told["version"].split(".")[1]) >= 13) == (200, True)
        assert asked(url, "GET", "/")[0] == 200
        assert asked(url, "HEAD", "/") == (200, b"")
        assert asked(url, "POST", "/api/show", ["no object"])[0] == 400
        status, told = asked(url, "POST", "/api/push", {"model": "m"})
        assert (status, told) == (404, {"error": "POST /api/push is not served here"})

    with_gateway(tmp_path, ask, FakeProvider("far"))
