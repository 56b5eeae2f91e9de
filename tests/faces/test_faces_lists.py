"""What there is to choose from, read by each client in the shape that it knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anthropic
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors

from faces.test_faces import KEY, with_gateway
from unbroken.config import Config
from unbroken.faces.lists import listed
from unbroken.testing import FakeProvider

NAMES = ["m", "auto", "far/word-model"]


def test_openais_client_lists_and_finds_models(tmp_path: Path) -> None:
    """Routes come first, then targets; one can be asked for by its name, slashes too."""

    def ask(url: str) -> None:
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == NAMES
            assert client.models.retrieve("far/word-model").owned_by == "far"
            with pytest.raises(openai.NotFoundError, match="no route or target"):
                client.models.retrieve("nobody")

    with_gateway(tmp_path, ask, FakeProvider("far"))


def test_an_alias_is_listed_too(tmp_path: Path) -> None:
    """A name that a request may give can be chosen from the list, in OpenAI's tools and in Ollama's."""
    values = {
        "providers": {"far": {"base_url": "http://127.0.0.1:9/v1", "model": "m"}},
        "aliases": {"gpt-4o": "auto", "far/m": "auto", "small": "far/small"},
    }
    config = Config.from_values(values, {})
    assert [(model.id, model.owner) for model in listed(config)] == [
        ("auto", "unbroken"), ("gpt-4o", "unbroken"), ("far/m", "unbroken"), ("small", "unbroken"),
    ]  # fmt: skip


def test_anthropics_client_lists_and_finds_models(tmp_path: Path) -> None:
    """The same address speaks Anthropic's words to its client, and turns pages forwards and backwards."""

    def ask(url: str) -> None:
        with anthropic.Anthropic(base_url=url, api_key=KEY, max_retries=0) as client:
            assert [model.id for model in client.models.list()] == NAMES
            assert [model.id for model in client.models.list(limit=1)] == NAMES
            backwards = client.models.list(limit=1, before_id="far/word-model")
            assert ([model.id for model in backwards.data], backwards.has_more) == (["auto"], True)
            one = client.models.retrieve("m")
            assert (one.type, one.display_name, one.max_input_tokens) == ("model", "m", 32_000)
            with pytest.raises(anthropic.NotFoundError) as raised:
                client.models.retrieve("nobody")
            body: Any = raised.value.body
            assert body["error"]["type"] == "not_found_error"

    with_gateway(tmp_path, ask, FakeProvider("far"), context_tokens=32_000)


def test_googles_client_lists_and_finds_models(tmp_path: Path) -> None:
    """Names begin with `models/`, and pages follow each other by their tokens."""

    def ask(url: str) -> None:
        client = genai.Client(api_key=KEY, http_options={"base_url": url})
        try:
            assert [model.name for model in client.models.list()] == [f"models/{name}" for name in NAMES]
            pages = client.models.list(config={"page_size": 2})
            assert [model.name for model in pages] == [f"models/{name}" for name in NAMES]
            one = client.models.get(model="m")
            assert (one.name, one.input_token_limit) == ("models/m", 32_000)
            assert "generateContent" in (one.supported_actions or [])
            with pytest.raises(genai_errors.ClientError) as raised:
                client.models.get(model="nobody")
            assert (raised.value.code, raised.value.status) == (404, "NOT_FOUND")
        finally:
            client.close()

    with_gateway(tmp_path, ask, FakeProvider("far"), context_tokens=32_000)


def test_ollamas_client_lists_shows_and_pulls_models(tmp_path: Path) -> None:
    """Tools that only know Ollama find the models, what they can do and how much they hold."""

    def ask(url: str) -> None:
        with ollama.Client(host=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            assert [model.model for model in client.list().models] == NAMES
            assert [model.model for model in client.ps().models] == NAMES
            for name in ("m", "m:latest"):
                shown = client.show(name)
                assert shown.capabilities == ["completion", "tools"]
                assert (shown.modelinfo or {})["unbroken.context_length"] == 32_000
            assert client.pull("m").status == "success"
            with pytest.raises(ollama.ResponseError) as raised:
                client.show("nobody")
            assert raised.value.status_code == 404
            assert str(client.chat(model="m:latest", messages=[{"role": "user", "content": "Hi"}]).message.content)

    with_gateway(tmp_path, ask, FakeProvider("far"), context_tokens=32_000, capabilities=["tools"])


def test_a_model_that_only_embeds_is_no_chat_model(tmp_path: Path) -> None:
    """Ollama's and Google's clients are told what a model is for."""

    def ask(url: str) -> None:
        with ollama.Client(host=url, headers={"authorization": f"Bearer {KEY}"}) as client:
            assert client.show("far/word-model").capabilities == ["embedding"]
        google = genai.Client(api_key=KEY, http_options={"base_url": url})
        assert google.models.get(model="m").supported_actions == ["embedContent"]
        google.close()

    with_gateway(tmp_path, ask, FakeProvider("far"), tasks=["embedding"])
