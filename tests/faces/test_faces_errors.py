"""What the gateway itself has to say, each client hears in its own envelope and raises as its own class."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import httpx
import huggingface_hub
import huggingface_hub.errors
import ollama
import openai
import pytest
from google import genai
from google.genai import errors as genai_errors
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from faces.test_faces import KEY, with_gateway
from unbroken.testing import FakeProvider, Status


def by_openai(url: str, key: str, model: str, text: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}])


def by_anthropic(url: str, key: str, model: str, text: str) -> None:
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        client.messages.create(model=model, max_tokens=99, messages=[{"role": "user", "content": text}])


def by_google(url: str, key: str, model: str, text: str) -> None:
    client = genai.Client(api_key=key, http_options={"base_url": url})
    try:
        client.models.generate_content(model=model, contents=text)
    finally:
        client.close()


def by_cohere(url: str, key: str, model: str, text: str) -> None:
    once: Any = {"max_retries": 0}
    messages: Any = [{"role": "user", "content": text}]
    with httpx.Client() as line:
        client = cohere.ClientV2(api_key=key, base_url=url, httpx_client=line)
        client.chat(model=model, messages=messages, request_options=once)


def by_mistral(url: str, key: str, model: str, text: str) -> None:
    messages: Any = [{"role": "user", "content": text}]
    with Mistral(api_key=key, server_url=url) as client:
        client.chat.complete(model=model, messages=messages)


def by_ollama(url: str, key: str, model: str, text: str) -> None:
    with ollama.Client(host=url, headers={"authorization": f"Bearer {key}"}) as client:
        client.chat(model=model, messages=[{"role": "user", "content": text}])


def by_hugging_face(url: str, key: str, model: str, text: str) -> None:
    with huggingface_hub.InferenceClient(base_url=f"{url}/v1", api_key=key) as client:
        client.chat_completion([{"role": "user", "content": text}], model=model)


def by_amazon(url: str, key: str, model: str, text: str) -> None:
    settings = botocore.config.Config(retries={"total_max_attempts": 1})
    client = boto3.client(
        "bedrock-runtime", endpoint_url=url, region_name="eu-west-1", aws_access_key_id="a",
        aws_secret_access_key=key, config=settings,
    )  # fmt: skip
    client.converse(modelId=model, messages=[{"role": "user", "content": [{"text": text}]}])


CLIENTS: dict[str, Callable[[str, str, str, str], None]] = {
    "openai": by_openai,
    "anthropic": by_anthropic,
    "google": by_google,
    "cohere": by_cohere,
    "mistral": by_mistral,
    "ollama": by_ollama,
    "hugging face": by_hugging_face,
    "amazon": by_amazon,
}
_HUB = huggingface_hub.errors.HfHubHTTPError
EXPECTED: dict[str, dict[int, type[Exception]]] = {
    "openai": {
        401: openai.AuthenticationError, 404: openai.NotFoundError, 413: openai.APIStatusError,
        502: openai.InternalServerError,
    },
    "anthropic": {
        401: anthropic.AuthenticationError, 404: anthropic.NotFoundError, 413: anthropic.APIStatusError,
        502: anthropic.InternalServerError,
    },
    "google": dict.fromkeys((401, 404, 413), genai_errors.ClientError) | {502: genai_errors.ServerError},
    "cohere": {
        401: cohere.UnauthorizedError, 404: cohere.NotFoundError, 413: cohere.core.ApiError,
        502: cohere.core.ApiError,
    },
    "mistral": dict.fromkeys((401, 404, 413, 502), SDKError),
    "ollama": dict.fromkeys((401, 404, 413, 502), ollama.ResponseError),
    "hugging face": dict.fromkeys((401, 404, 413, 502), _HUB),
    "amazon": dict.fromkeys((404, 413, 502), botocore.exceptions.ClientError),
}  # fmt: skip
WORDS = {401: "(?i)key", 404: "no route or target", 413: "larger than", 502: "(?i)fail"}
CASES = [(name, status) for name, statuses in EXPECTED.items() for status in statuses]


@pytest.mark.parametrize(("name", "status"), CASES)
def test_each_client_raises_its_own_class(name: str, status: int, tmp_path: Path) -> None:
    """A wrong key, an unknown model, too large a body, nobody left: the client's own class, and words to read."""
    fake = FakeProvider("far")
    if status == 502:
        fake.fail_with(Status(500))
    key, model = ("wrong" if status == 401 else KEY), ("nobody" if status == 404 else "m")
    text = "x" * 1_300_000 if status == 413 else "Hi"

    def ask(url: str) -> None:
        with pytest.raises(EXPECTED[name][status], match=WORDS[status]) as raised:
            CLIENTS[name](url, key, model, text)
        assert status_of(raised.value) == status

    with_gateway(tmp_path, ask, fake, keys=() if name == "amazon" else (KEY,), server={"body_limit_mb": 1})


def status_of(error: Any) -> int:
    """The status behind an exception, wherever its client keeps it."""
    if isinstance(error, botocore.exceptions.ClientError):
        return int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    if isinstance(error, genai_errors.APIError):
        return error.code
    return int(getattr(error, "status_code", 0) or error.response.status_code)


ENVELOPES: dict[str, Callable[[Any], Any]] = {
    "openai": lambda body: body["error"]["code"],
    "anthropic": lambda body: (body["type"], body["error"]["type"]),
    "google": lambda body: (body["error"]["code"], body["error"]["status"]),
    "cohere": lambda body: body["message"][:4],
    "ollama": lambda body: body["error"][:4],
    "amazon": lambda body: body["message"][:4],
}
"""What of an error's body shows whose it is."""
SAYINGS = [
    ("GET", "/v1/nothing", {}, 404, "openai", "unknown_url"),
    ("GET", "/v1/chat/completions", {}, 405, "openai", "method_not_allowed"),
    ("POST", "/v1/chat/completions", {}, 400, "openai", "invalid_json"),
    ("POST", "/v1/nothing", {"anthropic-version": "2023-06-01"}, 404, "anthropic", ("error", "not_found_error")),
    ("POST", "/v1/messages/batches", {}, 404, "anthropic", ("error", "not_found_error")),
    ("GET", "/v1/messages", {}, 405, "anthropic", ("error", "invalid_request_error")),
    ("POST", "/v1/messages", {}, 400, "anthropic", ("error", "invalid_request_error")),
    ("POST", "/v1beta/cachedContents", {}, 404, "google", (404, "NOT_FOUND")),
    ("GET", "/v1/nothing", {"x-goog-api-key": KEY}, 404, "google", (404, "NOT_FOUND")),
    ("GET", "/v1beta/models/m:generateContent", {}, 405, "google", (405, "INVALID_ARGUMENT")),
    ("POST", "/v1beta/models/m:generateContent", {}, 400, "google", (400, "INVALID_ARGUMENT")),
    ("POST", "/v1beta/models/m:countTokens", {}, 400, "google", (400, "INVALID_ARGUMENT")),
    ("POST", "/v1beta/models/m:predictLongRunning", {}, 404, "google", (404, "NOT_FOUND")),
    ("DELETE", "/v1/models/m", {}, 405, "openai", "method_not_allowed"),
    ("POST", "/v2/rerank", {}, 404, "cohere", "POST"),
    ("POST", "/v2/chat", {}, 400, "cohere", "The "),
    ("POST", "/api/nothing", {}, 404, "ollama", "POST"),
    ("GET", "/api/chat", {}, 405, "ollama", "/api"),
    ("POST", "/api/generate", {}, 400, "ollama", "The "),
    ("POST", "/model/m/nothing", {}, 404, "amazon", "POST"),
]


@pytest.mark.parametrize(("method", "path", "headers", "status", "face", "word"), SAYINGS)
def test_what_the_gateway_says_itself_is_in_the_words_of_the_face(
    method: str, path: str, headers: dict[str, str], status: int, face: str, word: Any, tmp_path: Path
) -> None:
    """Unknown paths, wrong methods (with the right ones) and broken bodies are told in the envelope of the face."""

    def ask(url: str) -> tuple[int, Any, str | None]:
        line = http.client.HTTPConnection(url.removeprefix("http://"))
        shown = {} if "x-goog-api-key" in headers else {"authorization": f"Bearer {KEY}"}
        line.request(method, path, "no json" if method == "POST" else None, {**headers, **shown})
        answer = line.getresponse()
        body = json.loads(answer.read())
        line.close()
        return answer.status, ENVELOPES[face](body), answer.getheader("allow")

    allowed = None if status != 405 else "GET, HEAD" if path.startswith("/v1/models") else "POST"
    assert with_gateway(tmp_path, ask, FakeProvider("far")) == (status, word, allowed)


def test_an_overloaded_provider_is_told_as_each_client_knows_it(tmp_path: Path) -> None:
    """Anthropic has a status and a class of its own for it; others have 503."""
    fake = FakeProvider("far")
    fake.fail_with(Status(503, retry_after_s=60))

    def ask(url: str) -> None:
        with pytest.raises(anthropic.InternalServerError) as raised:
            by_anthropic(url, KEY, "m", "Hi")
        body: Any = raised.value.body
        assert body["error"]["type"] == "overloaded_error"
        with pytest.raises(openai.InternalServerError) as told:
            by_openai(url, KEY, "m", "Hi")
        assert told.value.status_code == 503
        with pytest.raises(genai_errors.ServerError, match="UNAVAILABLE"):
            by_google(url, KEY, "m", "Hi")

    with_gateway(tmp_path, ask, fake)


def test_only_the_head_of_an_answer_has_no_body(tmp_path: Path) -> None:
    """A HEAD is answered as a GET without its body, so that the connection can be used on."""

    def ask(url: str) -> list[tuple[int, bytes]]:
        line = http.client.HTTPConnection(url.removeprefix("http://"))
        seen = []
        for method, path in (("HEAD", "/v1/models"), ("HEAD", "/v1/messages"), ("GET", "/health")):
            line.request(method, path, headers={"authorization": f"Bearer {KEY}"})
            answer = line.getresponse()
            seen.append((answer.status, answer.read()))
        line.close()
        return seen

    assert with_gateway(tmp_path, ask, FakeProvider("far")) == [(200, b""), (405, b""), (200, b'{"status":"ok"}')]


@pytest.mark.parametrize("slip", ["", "/v1", "/v1/v1"])
def test_a_base_url_with_too_few_or_too_many_versions_is_understood(slip: str, tmp_path: Path) -> None:
    """`/v1` is forgotten and doubled all the time; both lead to the same door."""

    def ask(url: str) -> str:
        with anthropic.Anthropic(base_url=f"{url}{slip.removesuffix('/v1')}", api_key=KEY, max_retries=0) as client:
            assert client.messages.count_tokens(model="m", messages=[{"role": "user", "content": "Hi"}]).input_tokens
        with openai.OpenAI(base_url=f"{url}{slip}", api_key=KEY, max_retries=0) as client:
            assert client.models.list().data[0].id == "m"
            asked: Any = [{"role": "user", "content": "Hi"}]
            return str(client.chat.completions.create(model="m", messages=asked).choices[0].message.content)

    assert with_gateway(tmp_path, ask, FakeProvider("far"))
