"""Pollinations: addresses that are prompts, and answers that are bytes."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loops import in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, Html, NotMedia, Status
from unbroken.testing.samples import CLIP, PIXEL
from unbroken.types import Delta, HttpReply, Media, Output, Request, Target, Task, Usage
from unbroken.wire import Next, format_for
from unbroken.wire.openai_images import read_request as read_openai
from unbroken.wire.openai_images import writer as openai_writer
from unbroken.wire.pollinations import FORMAT, MODEL, decoder, read_request, write_request, writer
from unbroken.work import Film, Picture
from wire.reading import MP4, OUTCOME, PNG, deltas_of, failure_of, pieces_of, told

TARGET = Target(name="t", provider="pollinations", model="flux", format="pollinations",
                base_url="https://gen.pollinations.ai/v1", key="sk_x")  # fmt: skip
LEGACY = replace(TARGET, base_url="https://image.pollinations.ai")


def wish(work: Picture | Film) -> Request:
    task = Task.IMAGE if isinstance(work, Picture) else Task.VIDEO
    return Request(model="m", task=task, read=lambda: work)


def asked(path: str) -> Request:
    request = read_request(path, b"")
    assert isinstance(request, Request), request
    return request


def parts(url: str) -> tuple[str, dict[str, str]]:
    split = urlsplit(url)
    return unquote(split.path), {name: values[0] for name, values in parse_qs(split.query).items()}


# ----------------------------------------------------------------------- to a provider


def test_families_send_text_elsewhere() -> None:
    """Chat is OpenAI's format; pictures are this one."""
    assert format_for("pollinations", Task.CHAT).name == "openai_chat"
    assert format_for("pollinations", Task.IMAGE) is FORMAT
    assert FORMAT.methods == ("GET",)


def test_the_address_is_the_prompt() -> None:
    """Everything that is modelled stands in it; the key stands in a header, never in the address."""
    work = Picture(prompt="a cat / 100% 'there'?", size="64x32", seed=7, negative_prompt="dogs", quality="high",
                   sources=(Media(kind="image", url="https://x.example/a.png"),), hints={"user": "u"})  # fmt: skip
    sent = write_request(wish(work), TARGET)
    path, query = parts(sent.url)
    assert (sent.method, path) == ("GET", "/image/a cat / 100% 'there'?")
    assert query == {"model": "flux", "width": "64", "height": "32", "seed": "7", "negative_prompt": "dogs",
                     "quality": "high", "image": "https://x.example/a.png", "nologo": "true"}  # fmt: skip
    assert sent.headers["authorization"] == "Bearer sk_x"
    assert "sk_x" not in sent.url
    assert sent.unsaid == ("user",)


def test_the_older_host_has_another_path() -> None:
    """image.pollinations.ai is asked at /prompt."""
    assert write_request(wish(Picture(prompt="A")), LEGACY).url.startswith("https://image.pollinations.ai/prompt/A?")


def test_films_have_a_length() -> None:
    """A film is asked for in the same way."""
    work = Film(prompt="Waves", seconds=4.0, start=Media(kind="image", url="https://x.example/a.png"))
    path, query = parts(write_request(wish(work), TARGET).url)
    assert path == "/video/Waves"
    assert query == {"model": "flux", "duration": "4", "image": "https://x.example/a.png"}


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (Picture(prompt="A", count=2), "n"),
        (Picture(prompt="A", media_type="image/webp"), "output_format"),
        (Picture(prompt="A", size="large"), "size"),
        (Picture(prompt="A", sources=(Media(kind="image", data="AAAA"),)), "sources"),
        (Picture(prompt="A", extras={"style": "vivid"}), "style"),
        (Film(prompt="A", start=Media(kind="image", data="AAAA")), "start"),
    ],
)
def test_what_cannot_be_said_makes_a_target_ineligible(work: Picture | Film, name: str) -> None:
    """It is not asked, unless that may be dropped, and then it is reported."""
    with pytest.raises(ValueError, match=name):
        write_request(wish(work), TARGET)
    assert name in write_request(wish(work), replace(TARGET, may_drop=frozenset((name,)))).unsaid


def test_prompts_that_fit_into_no_address() -> None:
    """A very long prompt makes the target ineligible."""
    with pytest.raises(ValueError, match="too long"):
        write_request(wish(Picture(prompt="a" * 6_001)), TARGET)


# ----------------------------------------------------------------------- from a caller


def test_addresses_are_read() -> None:
    """Prompt, model and everything else; a caller's key to us goes no further."""
    request = asked("/image/a%20cat%3F?model=turbo&width=64&height=32&seed=-1&nologo=true&enhance=true&key=mine")
    assert (request.model, request.task) == ("turbo", Task.IMAGE)
    assert request.work == Picture(prompt="a cat?", size="64x32", seed=-1, extras={"enhance": "true"})
    path, query = parts(write_request(request, TARGET).url)
    assert path == "/image/a cat?"
    assert query == {"model": "flux", "width": "64", "height": "32", "seed": "-1", "nologo": "true", "enhance": "true"}
    assert asked("/prompt/A").model == MODEL
    film = asked("/video/Waves?duration=4&image=https://x.example/a,https://x.example/b")
    assert film.work == Film(prompt="Waves", seconds=4, start=Media(kind="image", url="https://x.example/a"))


@pytest.mark.parametrize("path", ["/image/", "/image/%20", "/nothing/A", "/"])
def test_bad_addresses(path: str) -> None:
    """What is no prompt is refused."""
    assert failure_of(read_request(path, b"")).kind is FailureKind.REQUEST


def test_what_is_wrong_inside_is_told_when_it_is_read() -> None:
    """ValueError names the field."""
    with pytest.raises(ValueError, match="width"):
        _ = asked("/image/A?width=wide&height=1").work


@pytest.mark.parametrize(
    "work",
    [
        Picture(prompt="A / b?", size="8x8", seed=1, negative_prompt="c", quality="low"),
        Film(prompt="Waves", seconds=4.0, size="8x8", seed=2),
    ],
)
def test_wishes_survive(work: Picture | Film) -> None:
    """Written and read again, a wish is the same."""
    url = write_request(wish(work), TARGET).url
    assert asked(url.removeprefix("https://gen.pollinations.ai")).work == work


# ----------------------------------------------------------------------------- answers


def test_bytes_pass() -> None:
    """Pictures and films come as they are, under the type that they have."""
    for request, data, usage in (
        (asked("/image/A"), PNG, Usage(images=1)), (asked("/video/A?duration=4"), MP4, Usage(seconds=4))
    ):  # fmt: skip
        for pieces in ([data], [data[i : i + 1] for i in range(len(data))], pieces_of(data, 1)):
            deltas = deltas_of(told(decoder(request, TARGET), *pieces))
            assert (deltas[0].media, deltas[0].usage) == (1, usage)
            out = writer(request)
            assert out.whole(deltas, OUTCOME) == data
            assert out.content_type == deltas[0].outputs[0].media_type


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": "queue full"}', b"Too many requests", MP4])
def test_what_is_no_picture_is_a_failure(body: bytes) -> None:
    """A 200 with something else is none."""
    assert isinstance(told(decoder(asked("/image/A"), TARGET), body, headers={"content-type": "image/jpeg"}), Failure)


def test_errors_are_read() -> None:
    """Its own error bodies classify."""
    body = json.dumps({"error": {"code": "content_policy_violation", "message": "no", "requestId": "r"}}).encode()
    assert FORMAT.classify(HttpReply(status=422, headers={}, body=body)).kind is FailureKind.CONTENT_POLICY
    assert FORMAT.classify(HttpReply(status=429, headers={}, body=b"Queue full")).kind is FailureKind.RATE_LIMIT


def test_openais_callers_get_its_pictures() -> None:
    """A wish in OpenAI's format goes out as an address, and the bytes come back in base64."""
    request = read_openai("/v1/images/generations", b'{"model": "m", "prompt": "A cat", "size": "64x64"}')
    assert isinstance(request, Request)
    assert parts(write_request(request, TARGET).url)[1]["width"] == "64"
    deltas = deltas_of(told(decoder(request, TARGET), PNG))
    assert b"b64_json" in openai_writer(request).whole(deltas, OUTCOME)


@given(st.binary(max_size=40), st.text(max_size=40))
def test_any_bytes_are_deltas_or_a_failure(body: bytes, path: str) -> None:
    """No bytes and no addresses raise."""
    assert not isinstance(told(decoder(asked("/image/A"), TARGET), body), Next)
    assert isinstance(read_request(f"/image/{path}", body), Request | Failure)
    assert isinstance(read_request(path, body), Request | Failure)


def test_errors_are_written() -> None:
    """A caller gets status and words."""
    failure = Failure(kind=FailureKind.SERVER, message="no")
    assert b"no" in writer(asked("/image/A")).broken(failure, OUTCOME)
    assert writer(asked("/image/A")).whole([Delta(outputs=(Output(kind="image", data=PNG),))], OUTCOME) == PNG


# ------------------------------------------------------------------------- the judge


@in_loop
async def test_any_client_can_ask() -> None:
    """A plain GET brings a picture or a film; troubles are what they are."""
    async with FakeProvider() as fake:
        url = f"http://127.0.0.1:{fake.port}"

        async def got(path: str) -> tuple[str, bytes]:
            return await asyncio.to_thread(plain_get, url + path)

        assert await got("/image/a%20cat?model=flux") == ("image/png", PIXEL)
        assert fake.seen[-1].model == "flux"
        assert await got("/video/waves?duration=4") == ("video/mp4", CLIP)
        for trouble in (Html(), NotMedia()):
            fake.fail_with(trouble)
            content_type, body = await got("/image/a")
            found = told(decoder(asked("/image/A"), TARGET), body, headers={"content-type": content_type})
            assert isinstance(found, Failure)
        fake.fail_with(Status(500))
        with pytest.raises(OSError, match="500"):
            await got("/image/a")


def plain_get(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url) as answer:  # noqa: S310 - loopback
        content_type: Any = answer.headers["content-type"]
        return content_type, answer.read()
