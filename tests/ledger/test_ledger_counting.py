"""Streams are counted where a ledger is kept, and callers who did not ask for that do not see it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ledger.traffic import WORDS, Scene, Told, chat, playing
from unbroken.testing import Cut, FakeProvider, Status
from unbroken.testing.play import Seen

COMPLETION = {"model": "m", "prompt": "Tell me of the sea.", "stream": True, "max_tokens": 100}


def asked(tmp_path: Path, go: Callable[[Scene], Any], **ledger: Any) -> tuple[Scene, Any]:
    async def run() -> tuple[Scene, Any]:
        async with playing(tmp_path, {"url": str(tmp_path / "ledger.db")} | ledger) as scene:
            return scene, await go(scene)

    return asyncio.run(run())


def events(told: Told) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in told.body.decode().splitlines() if line.startswith("data: {")]
    return [json.loads(line) for line in lines]


def record(scene: Scene, told: Told) -> dict[str, Any]:
    found = scene.ledger.find(told.id).result(10)
    assert found is not None
    return found


@pytest.mark.parametrize(("path", "body"), [("chat/completions", chat(1, stream=True)), ("completions", COMPLETION)])
def test_who_did_not_ask_sees_no_count(tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    """The provider is asked to count, the ledger has its count, and the caller's stream has no event for it."""
    scene, told = asked(tmp_path, lambda scene: scene.ask(f"/v1/{path}", body))
    (seen,) = scene.providers[0].seen
    assert json.loads(seen.body)["stream_options"] == {"include_usage": True}
    assert all(event["choices"] for event in events(told)) and told.body.endswith(b"data: [DONE]\n\n")
    (row,) = record(scene, told)["attempts"]
    assert seen.usage is not None
    assert (row["counted"], row["output_tokens"]) == ("provider", seen.usage.output_tokens)


def test_who_asked_sees_the_count(tmp_path: Path) -> None:
    """A caller's own stream options stay as they are, and the count is passed on."""
    options = {"include_usage": True, "include_obfuscation": False}
    body = chat(1, stream=True, stream_options=options)
    scene, told = asked(tmp_path, lambda scene: scene.ask("/v1/chat/completions", body))
    assert json.loads(scene.providers[0].seen[0].body)["stream_options"] == options
    assert events(told)[-1]["usage"]["completion_tokens"] > 5


def test_options_of_the_caller_are_kept(tmp_path: Path) -> None:
    """The wish to count is laid beside what the caller said."""
    body = chat(1, stream=True, stream_options={"include_obfuscation": False})
    scene, _ = asked(tmp_path, lambda scene: scene.ask("/v1/chat/completions", body))
    said = json.loads(scene.providers[0].seen[0].body)["stream_options"]
    assert said == {"include_obfuscation": False, "include_usage": True}


class Strict(FakeProvider):
    """One that knows no `stream_options`."""

    def _refusal(self, http: Any, request: Any, *, seen: Seen) -> Status | None:
        if b"stream_options" in seen.body:
            return Status(422, message="Extra inputs are not permitted")
        return super()._refusal(http, request, seen=seen)


def test_a_provider_that_cannot_count_is_not_asked_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that refuses the wish is asked once without it, and never with it again; its count is then our estimate."""
    monkeypatch.setattr("ledger.traffic.FakeProvider", Strict)

    async def go(scene: Scene) -> list[Told]:
        return [await scene.ask("/v1/chat/completions", chat(1, stream=True)) for _ in range(2)]

    scene, told = asked(tmp_path, go)
    assert [b"stream_options" in seen.body for seen in scene.providers[0].seen] == [True, False, False]
    first, second = (record(scene, each) for each in told)
    assert [row["why"] for row in first["attempts"]] == ["first", "fix"]
    (row,) = second["attempts"]
    assert (row["counted"], row["output_tokens"]) == ("estimate", len(WORDS.split()))
    assert all(b"".join(each.body.split()).endswith(b"[DONE]") for each in told)


class Picky(FakeProvider):
    """One that complains of a field that has nothing to do with counting."""

    def _refusal(self, http: Any, request: Any, *, seen: Seen) -> Status | None:
        super()._refusal(http, request, seen=seen)
        error = {"message": "too many messages", "type": "invalid_request_error", "param": "messages", "code": None}
        return Status(422, body=json.dumps({"error": error}).encode())


def test_who_complains_of_something_else_is_not_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that names another field is no refusal to count: the caller is told at once."""
    monkeypatch.setattr("ledger.traffic.FakeProvider", Picky)
    scene, told = asked(tmp_path, lambda scene: scene.ask("/v1/chat/completions", chat(1, stream=True)))
    assert told.status == 422
    assert [len(provider.seen) for provider in scene.providers] == [1, 0, 0]


def test_words_are_kept_only_where_that_is_wanted(tmp_path: Path) -> None:
    """Prompts and answers are recorded with `prompts: text`, whole although the stream was cut, and else nowhere."""

    async def go(scene: Scene) -> Told:
        scene.providers[0].fail_with(Cut(after_tokens=6), times=1)
        return await scene.ask("/v1/chat/completions", chat(1, stream=True))

    scene, told = asked(tmp_path, go, prompts="text")
    kept = record(scene, told)
    assert kept["answer"] == WORDS and kept["prompt"].startswith("user: Tell me of the sea") and kept["rescued"]
    scene, told = asked(tmp_path, go, url=str(tmp_path / "other.db"))
    assert record(scene, told)["answer"] == ""
    for file in tmp_path.glob("other.db*"):
        assert b"lighthouse" not in file.read_bytes() and b"Tell me" not in file.read_bytes()


def test_no_key_is_in_the_ledger(tmp_path: Path) -> None:
    """Neither the caller's key nor the providers' are anywhere in the file; callers are told apart all the same."""

    async def go(scene: Scene) -> list[Told]:
        scene.providers[0].fail_with(Status(401), times=1)
        keys = ("gateway-secret-1", "gateway-secret-2", "gateway-secret-1")
        return [await scene.ask("/v1/chat/completions", chat(1), key=key) for key in keys]

    scene, told = asked(tmp_path, go)
    one, two, again = (record(scene, each)["caller"] for each in told)
    assert one == again != two and len(one) == 12
    for file in tmp_path.glob("ledger.db*"):
        assert b"gateway-secret" not in file.read_bytes() and b"sk-north" not in file.read_bytes()
