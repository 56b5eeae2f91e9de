"""What a request needs a target for besides words: eyes for pictures and pages, ears for sound."""

from __future__ import annotations

import json

import pytest

from unbroken.core.lineup import incapable
from unbroken.failures import Failure
from unbroken.types import Target
from unbroken.wire import anthropic, gemini, openai_chat, openai_responses

READERS = {
    "openai_chat": openai_chat.read_request,
    "openai_responses": openai_responses.read_request,
    "anthropic": anthropic.read_request,
    "gemini": gemini.read_request,
}
PDF, SOUND, PICTURE = "application/pdf", "audio/wav", "image/png"
SAID = 'a text that speaks of "input_audio", "file_data", "document" and "mimeType": "audio/wav"'


def needs(format: str, parts: list[object]) -> set[str]:  # noqa: A002 - it is one
    """What a request with these parts in its only message needs."""
    bodies: dict[str, dict[str, object]] = {
        "openai_chat": {"messages": [{"role": "user", "content": parts}]},
        "openai_responses": {"input": [{"role": "user", "content": parts}]},
        "anthropic": {"messages": [{"role": "user", "content": parts}], "max_tokens": 9},
        "gemini": {"contents": [{"role": "user", "parts": parts}]},
    }
    path = "/v1beta/models/m:generateContent" if format == "gemini" else "/v1"
    request = READERS[format](path, json.dumps({"model": "m", **bodies[format]}).encode())
    assert not isinstance(request, Failure)
    return set(request.needs)


def source(kind: str, media_type: str) -> dict[str, object]:
    """Anthropic's, of something that is not sent along as text."""
    return {"type": kind, "source": {"type": "base64", "media_type": media_type, "data": "AAAA"}}


@pytest.mark.parametrize(
    ("format", "part", "wanted"),
    [
        ("openai_chat", {"type": "text", "text": SAID}, set()),
        ("openai_chat", {"type": "image_url", "image_url": {"url": "https://x/y.png"}}, {"vision"}),
        ("openai_chat", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, {"audio"}),
        ("openai_chat", {"type": "file", "file": {"file_data": f"data:{PDF};base64,AAAA"}}, {"vision"}),
        ("openai_chat", {"type": "file", "file": {"file_id": "file-1"}}, {"vision"}),
        ("openai_responses", {"type": "input_text", "text": SAID}, set()),
        ("openai_responses", {"type": "input_image", "image_url": "https://x/y.png"}, {"vision"}),
        ("openai_responses", {"type": "input_file", "file_url": "https://x/y.pdf"}, {"vision"}),
        ("openai_responses", {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}, {"audio"}),
        ("anthropic", {"type": "text", "text": SAID}, set()),
        ("anthropic", source("image", PICTURE), {"vision"}),
        ("anthropic", source("document", PDF), {"vision"}),
        ("anthropic", {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}}, {"vision"}),
        ("anthropic", {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a"}}, set()),
        ("gemini", {"text": SAID}, set()),
        ("gemini", {"inlineData": {"mimeType": PICTURE, "data": "AAAA"}}, {"vision"}),
        ("gemini", {"inlineData": {"mimeType": SOUND, "data": "AAAA"}}, {"audio"}),
        ("gemini", {"file_data": {"mime_type": PDF, "file_uri": "https://x/y"}}, {"vision"}),
        ("gemini", {"fileData": {"mimeType": "text/plain", "fileUri": "https://x/y"}}, set()),
    ],
)  # fmt: skip
def test_what_is_not_text_is_seen_or_heard(format: str, part: object, wanted: set[str]) -> None:  # noqa: A002
    """Pictures and the pages of a file need eyes, sound needs ears, and words that speak of them need neither."""
    assert needs(format, [part]) == wanted


@pytest.mark.parametrize(
    ("format", "seen", "heard"),
    [
        ("openai_chat", {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
         {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        ("openai_responses", {"type": "input_file", "file_id": "file-1"},
         {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}),
        ("gemini", {"inlineData": {"mimeType": PICTURE, "data": "AAAA"}},
         {"inlineData": {"mimeType": SOUND, "data": "AAAA"}}),
    ],
)  # fmt: skip
def test_both_may_be_needed(format: str, seen: object, heard: object) -> None:  # noqa: A002
    """A picture and a sound in one message need both, in whichever order they come."""
    assert needs(format, [seen, heard]) == needs(format, [heard, seen]) == {"vision", "audio"}


def test_who_cannot_hear_is_not_asked_to() -> None:
    """The reason is said in words; of whom nothing is known everything is hoped."""
    body = {"model": "m", "messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]}
    request = openai_chat.read_request("/v1/chat/completions", json.dumps(body).encode())
    assert not isinstance(request, Failure)
    deaf = Target(name="a", provider="a", model="m", capabilities=frozenset({"tools", "vision", "schema"}))
    hears = Target(name="b", provider="b", model="m", capabilities=frozenset({"audio"}))
    assert incapable(request, deaf) == "cannot do audio"
    assert incapable(request, hears) is None
    assert incapable(request, Target(name="c", provider="c", model="m")) is None


@pytest.mark.parametrize("format", ["openai_chat", "openai_responses"])
@pytest.mark.parametrize("words", ["plain words, ", "names_with_signs_", "s" * 2000 + "_"])
def test_needs_are_found_in_a_long_conversation(format: str, words: str) -> None:  # noqa: A002
    """A picture and a sound at the far end of it are found, whatever the words before them are."""
    chat = format == "openai_chat"
    said = {"type": "text" if chat else "input_text", "text": words * (300_000 // len(words))}
    seen = {"type": "image_url", "image_url": {"url": "x"}} if chat else {"type": "input_image", "image_url": "x"}
    heard = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}
    assert needs(format, [said]) == set()
    assert needs(format, [said, seen, said, heard]) == {"vision", "audio"}
