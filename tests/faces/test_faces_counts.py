"""How many tokens a prompt is: counted by whoever can, estimated where nobody can, and never without saying which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anthropic
import msgspec
import pytest
from google import genai
from google.genai import errors as genai_errors

from faces.running import running
from unbroken.config import load
from unbroken.faces.counts import estimate
from unbroken.testing import FakeProvider, Page, Status
from unbroken.wire import format_named

BASES = {"openai_chat": "/v1", "anthropic": "", "gemini": "/v1beta"}
PATHS = {"anthropic": "/v1/messages/count_tokens", "gemini": "/v1beta/models/word-model:countTokens"}
ANSWERS = {"anthropic": b'{"input_tokens": %d}', "gemini": b'{"totalTokens": %d}'}
ASKED: Any = {
    "model": "m",
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Tell me of the sea."}],
    "tools": [{"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}}],
}


class Counter(FakeProvider):
    """A provider that counts, and always comes to the same."""

    def __init__(self, name: str, spoken: str, count: int = 0) -> None:
        super().__init__(name)
        self.spoken = spoken
        if count:
            self.desk.put(f"POST {PATHS[spoken]}", Page(body=ANSWERS[spoken] % count))

    @property
    def counted(self) -> list[Any]:
        """The bodies of the questions."""
        return [json.loads(seen.body) for seen in self.seen if "ount" in seen.path]


def visit(tmp_path: Path, ask: Callable[[str], Any], *fakes: Counter) -> Any:
    """What a client that blocks gets from a gateway over these providers, in the route `m`."""

    async def go() -> Any:
        for fake in fakes:
            await fake.start()
        providers = {
            fake.name: {
                "base_url": f"http://127.0.0.1:{fake.port}{BASES[fake.spoken]}", "format": fake.spoken, "key": "k",
                "model": "word-model",
            }
            for fake in fakes
        }  # fmt: skip
        file = tmp_path / "unbroken.yaml"
        file.write_bytes(msgspec.json.encode({"providers": providers, "routes": {"m": {"targets": list(providers)}}}))
        try:
            async with running(load(file, {})) as gateway:
                return await asyncio.to_thread(ask, gateway.url.removesuffix("/v1"))
        finally:
            await closed(*(fake.close for fake in fakes))

    return asyncio.run(go())


async def closed(*closings: Callable[[], Awaitable[None]]) -> None:
    for close in closings:
        await close()


def by_anthropic(url: str) -> tuple[int, str, str]:
    """The count, how it came about, and by whom."""
    with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
        raw = client.messages.with_raw_response.count_tokens(**ASKED)
        return raw.parse().input_tokens, raw.headers["x-unbroken-tokens"], raw.headers["x-unbroken-target"]


def by_google(url: str) -> int:
    client = genai.Client(api_key="k", http_options={"base_url": url})
    try:
        return int(client.models.count_tokens(model="m", contents="Tell me of the sea.").total_tokens or 0)
    finally:
        client.close()


def test_anthropics_client_is_told_what_anthropic_counted(tmp_path: Path) -> None:
    """The caller's own body goes along, under the model's name there, and the target is named."""
    fake = Counter("claude", "anthropic", 42)
    assert visit(tmp_path, by_anthropic, fake) == (42, "counted", "claude/word-model")
    assert fake.counted == [{**ASKED, "model": "word-model"}]


def test_anthropics_client_is_told_what_google_counted(tmp_path: Path) -> None:
    """A conversation is translated for a counter of another format, tools and system words too."""
    fake = Counter("gemini", "gemini", 43)
    assert visit(tmp_path, by_anthropic, fake) == (43, "counted", "gemini/word-model")
    whole = fake.counted[0]["generateContentRequest"]
    assert (whole["model"], "systemInstruction" in whole, "tools" in whole) == ("models/word-model", True, True)


@pytest.mark.parametrize("spoken", ["gemini", "anthropic"])
def test_googles_client_is_told_what_was_counted(spoken: str, tmp_path: Path) -> None:
    """The same at Google's face; Anthropic's counter hears nothing of limits that it does not take."""
    fake = Counter("far", spoken, 44)
    assert visit(tmp_path, by_google, fake) == 44
    if spoken == "anthropic":
        assert set(fake.counted[0]) == {"model", "messages"}


def test_counting_fails_over(tmp_path: Path) -> None:
    """A counter that is broken is replaced by the next, and a target that cannot count is not asked."""
    first, broken, well = Counter("a", "openai_chat"), Counter("b", "anthropic", 1), Counter("c", "gemini", 45)
    broken.fail_with(Status(500))
    assert visit(tmp_path, by_anthropic, first, broken, well) == (45, "counted", "c/word-model")
    assert (len(first.seen), len(broken.counted) > 0, len(well.counted)) == (0, True, 1)


@pytest.mark.parametrize("spoken", ["openai_chat", "anthropic"])
def test_where_nobody_counts_it_is_estimated(spoken: str, tmp_path: Path) -> None:
    """Whether no target can count or all that can fail: there is a number, marked as an estimate."""
    fake = Counter("far", spoken)
    fake.fail_with(Status(503))
    count, word, target = visit(tmp_path, by_anthropic, fake)
    assert (10 < count < 60, word, target) == (True, "estimated", "none")


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"<html>", b'{"error": {"message": "no"}}'])
@pytest.mark.parametrize("spoken", ["anthropic", "gemini"])
def test_an_answer_without_a_count_is_none(spoken: str, body: bytes, tmp_path: Path) -> None:
    """Whatever comes under a good status in place of a number is a failure of the counter."""
    fake = Counter("far", spoken)
    fake.desk.put(f"POST {PATHS[spoken]}", Page(body=body))
    assert visit(tmp_path, by_anthropic, fake)[1:] == ("estimated", "none")


def test_a_counter_that_is_missing_harms_no_chat(tmp_path: Path) -> None:
    """A 404 of the counter says nothing of the model, which is asked for its answer all the same."""

    def ask(url: str) -> str:
        assert by_anthropic(url)[1] == "estimated"
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
            raw = client.messages.with_raw_response.create(max_tokens=4000, **{**ASKED, "tools": anthropic.omit})
            return raw.headers["x-unbroken-target"] + raw.headers["x-unbroken-attempts"]

    assert visit(tmp_path, ask, Counter("far", "anthropic")) == "far/word-model1"


def test_a_wrong_conversation_is_told_and_not_estimated(tmp_path: Path) -> None:
    """What is the caller's fault raises the client's own class, at both faces, whoever noticed it."""

    def ask(url: str) -> None:
        with anthropic.Anthropic(base_url=url, api_key="k", max_retries=0) as client:
            with pytest.raises(anthropic.BadRequestError, match="roles must alternate"):
                client.messages.count_tokens(**ASKED)
            with pytest.raises(anthropic.BadRequestError, match="messages"):
                client.messages.count_tokens(model="m", messages=[])
            with pytest.raises(anthropic.NotFoundError):
                client.messages.count_tokens(**{**ASKED, "model": "nobody"})
        google = genai.Client(api_key="k", http_options={"base_url": url})
        with pytest.raises(genai_errors.ClientError):
            google.models.count_tokens(model="nobody", contents="Hi")
        google.close()

    fake = Counter("far", "anthropic")
    fake.fail_with(Status(400, message="messages: roles must alternate"))
    visit(tmp_path, ask, fake)


def test_estimates_are_near() -> None:
    """Text counts by its bytes, a picture as a picture and not as its base64."""
    spoken = format_named("anthropic_count")
    assert spoken.read_request is not None
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "A" * 400_000}}

    def of(*content: Any) -> int:
        body = {"model": "m", "messages": [{"role": "user", "content": list(content)}]}
        request: Any = spoken.read_request and spoken.read_request("", msgspec.json.encode(body))
        return estimate(request)

    words = {"type": "text", "text": "word " * 100}
    assert 100 <= of(words) <= 160
    assert of(words, picture) - of(words) == 1500


def test_google_may_wrap_what_is_counted(tmp_path: Path) -> None:
    """Both shapes of Google's question mean the same."""
    spoken = format_named("gemini_count")
    assert spoken.read_request is not None
    inner: Any = {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}
    path = "/v1beta/models/m:countTokens"
    plain: Any = spoken.read_request(path, msgspec.json.encode(inner))
    wrapped: Any = spoken.read_request(
        path, msgspec.json.encode({"generateContentRequest": {"model": "models/m", **inner}})
    )
    assert plain.chat == wrapped.chat
    assert (plain.model, wrapped.source) == ("m", plain.source)
