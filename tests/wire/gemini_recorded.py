"""Recordings of Gemini's formats, and what Google's own client reads from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
from google import genai
from google.genai import types

from unbroken.types import Request, Target
from wire.recorded import OURS, Recording, _read, everything

CHAT = ("generateContent", "streamGenerateContent")
MEDIA = ("batchEmbedContents", "embedContent", "predict", "predictLongRunning")
PROVIDERS = ("google", "vertex", "local")
TARGET = Target(
    name="t", provider="p", model="other-model", format="gemini", base_url="https://x.invalid/v1beta", key="k"
)


def ours(*endpoints: str) -> list[Recording]:
    """Recordings of these endpoints from the set beside the tests."""
    return [r for r in _read(OURS / "gemini.jsonl.gz") if r["endpoint"] in endpoints]


def shared_recordings(shared: Path, *endpoints: str) -> list[Recording]:
    """Recordings of these endpoints from the large set."""
    return [r for r in everything(shared, *endpoints) if r["provider"] in PROVIDERS and r["request_body"]]


def path_of(recording: Recording) -> str:
    """The path that was asked; what one recorder left out of it is put in."""
    url: str = recording["url"]
    _, _, path = url.partition("://")
    return "/" + path.partition("/")[2].replace("<", "").replace(">", "")


def request_of(recording: Recording) -> Request:
    return Request(model="m", stream=recording["endpoint"] == "streamGenerateContent")


# ------------------------------------------------------------------- Google's client


class Replay(httpx.BaseTransport):
    """Answers every request with one recorded body, whatever is asked."""

    def __init__(self) -> None:
        self.body = b""
        self.content_type = "application/json"
        self.seen: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.seen.append(request)
        return httpx.Response(200, headers={"content-type": self.content_type}, content=self.body)


def client(transport: httpx.BaseTransport, **options: Any) -> genai.Client:
    http = types.HttpOptions(base_url="http://127.0.0.1:9", httpx_client=httpx.Client(transport=transport))
    return genai.Client(http_options=http, **(options or {"api_key": "k"}))


def chunks_of(recording: Recording, replay: Replay, sdk: genai.Client) -> list[types.GenerateContentResponse]:
    """The answer, or the chunks of it, as Google's client gives them; numbers of enumerations put into words."""
    body: str = recording["response_body"]
    if recording["endpoint"] == "streamGenerateContent" and not body.lstrip().startswith("["):
        replay.body, replay.content_type = body.encode(), "text/event-stream"
        return list(sdk.models.generate_content_stream(model="m", contents="x"))
    value = json.loads(body)
    found = []
    for answer in value if isinstance(value, list) else [value]:
        replay.body, replay.content_type = json.dumps(in_words(answer)).encode(), "application/json"
        found.append(sdk.models.generate_content(model="m", contents="x"))
    return found


REASONS = {1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY"}
MODALITIES = {1: "TEXT", 2: "IMAGE", 3: "VIDEO", 4: "AUDIO", 5: "DOCUMENT"}


def in_words(answer: Any) -> Any:
    """Numbers of enumerations as words, which alone Google's client knows."""
    if isinstance(answer, list):
        return [in_words(item) for item in answer]
    if not isinstance(answer, dict):
        return answer
    words = {"finishReason": REASONS, "modality": MODALITIES, "trafficType": {1: "ON_DEMAND"}}
    return {
        name: words[name].get(value, value) if name in words and isinstance(value, int) else in_words(value)
        for name, value in answer.items()
    }
