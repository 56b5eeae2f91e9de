"""What bytes are, where results may be fetched from, forms with files, and how jobs are watched."""

from __future__ import annotations

import base64
import contextlib
import json
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, HttpRequest, Output, Target
from unbroken.wire import Next
from unbroken.wire.jobs import POLL_S_MAX, POLL_S_MIN, Standing, at, job_failure, share_of, watch
from unbroken.wire.media import (
    BytesWriter,
    ending_of,
    fetch,
    follow,
    gathered,
    is_home,
    kind_of,
    may_fetch,
    media_type_of,
    output_of,
    png_size,
    size_of,
    unpacked,
)
from unbroken.wire.multipart import PARTS_MAX, Part, is_form, read_form, replaced, write_form
from wire.reading import MP3, MP4, OUTCOME, PNG, deltas_of, failure_of, next_of, outputs_of, told

HOME = Target(name="t", provider="p", model="m", base_url="https://api.x.example/v1", key="secret")
LOCAL = Target(name="t", provider="p", model="m", base_url="http://127.0.0.1:8000/v1", key="secret")

SAMPLES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\x00\x10JFIF",
    "image/gif": b"GIF89a\x01\x00",
    "image/webp": b"RIFF\x1a\x00\x00\x00WEBPVP8 ",
    "image/avif": b"\x00\x00\x00\x1cftypavif",
    "image/heic": b"\x00\x00\x00\x1cftypheic",
    "image/svg+xml": b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg xmlns='http://www.w3.org/2000/svg'/>",
    "video/mp4": MP4,
    "video/quicktime": b"\x00\x00\x00\x14ftypqt  ",
    "video/webm": b"\x1aE\xdf\xa3\x9fB\x86\x81",
    "audio/mpeg": MP3,
    "audio/wav": b"RIFF\x24\x00\x00\x00WAVEfmt ",
    "audio/ogg": b"OggS\x00\x02",
    "audio/flac": b"fLaC\x00\x00",
    "audio/mp4": b"\x00\x00\x00\x1cftypM4A ",
    "audio/aac": b"\xff\xf1\x50\x80",
}


# ------------------------------------------------------------------------ what bytes are


@pytest.mark.parametrize("media_type", SAMPLES)
def test_bytes_say_what_they_are(media_type: str) -> None:
    """The first bytes of a file tell its type, whatever anybody says of it."""
    assert media_type_of(SAMPLES[media_type]) == media_type
    assert kind_of(media_type) == media_type.partition("/")[0]
    assert ending_of(media_type) != "bin"


def test_an_mp3_may_begin_without_a_title() -> None:
    """A bare frame of an MP3 is one, with the bits that tell it from AAC."""
    assert media_type_of(b"\xff\xfb\x90\x00") == "audio/mpeg"
    assert media_type_of(b"\xff\xe0\x00\x00") == ""


@pytest.mark.parametrize(
    "data", [b"", b"<html>", b'{"error": 1}', b"RIFF\x00\x00\x00\x00AVI ", b"plain words", b"\xff"]
)
def test_other_bytes_are_nothing(data: bytes) -> None:
    """Pages, JSON and words are no media."""
    assert media_type_of(data) == ""
    assert kind_of("text/html") == ""
    assert ending_of("text/html") == "bin"


def test_sizes() -> None:
    """A PNG says how large it is; `WIDTHxHEIGHT` is read, anything else is not."""
    assert png_size(PNG) == (2, 3)
    assert png_size(PNG[:20]) is None
    assert png_size(b"GIF89a") is None
    assert size_of("1024x768") == (1024, 768)
    assert size_of("1280*720") == (1280, 720)
    assert size_of("auto") is None


def test_base64_is_unpacked() -> None:
    """With line ends or the head of a data URL, it is the same bytes; what is no base64 is refused."""
    packed = base64.b64encode(PNG).decode()
    assert unpacked(packed) == unpacked(f"data:image/png;base64,{packed}") == unpacked(packed[:8] + "\n" + packed[8:])
    with pytest.raises(ValueError, match=r"."):
        unpacked("no base64!")


@pytest.mark.parametrize(
    ("data", "kind", "said", "expected"),
    [
        (PNG, "image", "text/html", "image/png"),
        (MP4, "video", "", "video/mp4"),
        (b"\x1aE\xdf\xa3", "audio", "audio/webm", "audio/webm"),
        (b"\x00\x01\x02\x03", "audio", "audio/pcm; rate=24000", "audio/pcm"),
    ],
)
def test_outputs_are_what_they_are(data: bytes, kind: str, said: str, expected: str) -> None:
    """Bytes are believed, and the content type only for samples that cannot tell what they are."""
    output = output_of(data, kind, said=said)
    assert isinstance(output, Output)
    assert (output.kind, output.data, output.media_type) == (kind, data, expected)


@pytest.mark.parametrize(
    ("data", "kind", "said", "words"),
    [
        (b"", "image", "image/png", "empty body"),
        (b"<!doctype html><h1>Hi</h1>", "image", "image/png", "a page"),
        (b"<html>", "audio", "audio/mpeg", "a page"),
        (b'{"detail": []}', "video", "video/mp4", "JSON"),
        (b"{broken", "image", "", "broken JSON"),
        (MP4, "image", "image/png", "something else"),
        (PNG, "video", "video/mp4", "something else"),
    ],
)
def test_what_is_no_picture_is_a_failure(data: bytes, kind: str, said: str, words: str) -> None:
    """A 200 with a page, JSON or the wrong thing is a failure, whatever its content type."""
    failure = failure_of(output_of(data, kind, said=said))
    assert failure.kind is FailureKind.MALFORMED
    assert words in failure.message


def test_an_error_in_place_of_a_picture_says_what_it_is() -> None:
    """JSON that reports an error is that error."""
    body = b'{"error": {"message": "Your prompt was blocked", "code": "content_policy_violation"}}'
    assert failure_of(output_of(body, "image")).kind is FailureKind.CONTENT_POLICY


@given(st.binary(max_size=64), st.sampled_from(["image", "video", "audio"]), st.text(max_size=10))
def test_any_bytes_are_an_output_or_a_failure(data: bytes, kind: str, said: str) -> None:
    """No bytes raise."""
    assert isinstance(output_of(data, kind, said=said), Output | Failure)


def test_bytes_are_written_under_their_own_type() -> None:
    """A writer of bare bytes takes the content type from what was made."""
    writer = BytesWriter("image/png", lambda failure, _: failure.message.encode())
    assert writer.write([]) == writer.end(OUTCOME) == b""
    assert writer.whole([Delta(outputs=(Output(kind="image", data=b"x", media_type="image/webp"),))], OUTCOME) == b"x"
    assert writer.content_type == "image/webp"
    assert writer.broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME) == b"no"


# ------------------------------------------------------------------------ addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://cdn.example/a.png",
        "https://8.8.8.8/a",
        "https://[2606:4700::1111]/a",
        "https://api.x.example/v1/files/1",
    ],
)
def test_public_addresses_are_fetched(url: str) -> None:
    """https in the public internet, and the provider's own host."""
    assert may_fetch(url, HOME)


@pytest.mark.parametrize(
    "url",
    [
        *("http://cdn.example/a.png", "ftp://cdn.example/a", "file:///etc/passwd", "", "https://", "not an address"),
        *("https://localhost/a", "https://a.localhost/a", "https://printer.local/a", "https://vault.internal/a"),
        *("https://intranet/a", "https://127.0.0.1/a", "https://10.0.0.8/a", "https://192.168.1.1/a"),
        *("https://169.254.169.254/latest/meta-data", "https://[::1]/a", "https://[fe80::1]/a", "https://0.0.0.0/a"),
        *("https://[::ffff:127.0.0.1]/a", "https://2130706433/a", "https://0x7f.1/a", "https://127.1/a"),
        *("https://user@cdn.example/a", "https://100.64.0.1/a", "https://[", "https://224.0.0.1/a"),
        *("https://127.0.0.1./a", "https://[2002:7f00:1::]/a", "https://cdn.example:port/a"),
    ],
)
def test_private_addresses_are_not_fetched(url: str) -> None:
    """Whatever a provider writes, nothing behind our own walls is asked, in no notation of it."""
    assert not may_fetch(url, HOME)


def test_a_local_server_may_point_to_itself() -> None:
    """A target on loopback may give addresses on its own host and port, and on no other."""
    assert may_fetch("http://127.0.0.1:8000/files/1.png", LOCAL)
    assert not may_fetch("http://127.0.0.1:9000/files/1.png", LOCAL)
    assert not may_fetch("http://localhost:8000/files/1.png", LOCAL)


def test_the_key_stays_at_home() -> None:
    """A path is one on the provider's host and asked with the key; another host never sees it."""
    home = fetch("/v1/files/1?x=y", HOME)
    away = fetch("https://cdn.example/1.png", HOME)
    assert isinstance(home, HttpRequest)
    assert isinstance(away, HttpRequest)
    assert (home.method, home.url) == ("GET", "https://api.x.example/v1/files/1?x=y")
    assert home.headers["authorization"] == "Bearer secret"
    assert "secret" not in str(away.headers)
    assert is_home(home.url, HOME)
    assert not is_home(away.url, HOME)
    assert not is_home("https://[", HOME)


def test_redirections_lose_the_key() -> None:
    """Sent on to another host, we go without the key, and not behind our own walls."""
    asked = HttpRequest(method="GET", url="https://api.x.example/a", headers={"authorization": "Bearer secret"})
    same, away = follow(asked, "/b", target=HOME), follow(asked, "https://cdn.example/b", target=HOME)
    assert isinstance(same, HttpRequest)
    assert (same.url, same.headers) == ("https://api.x.example/b", asked.headers)
    assert isinstance(away, HttpRequest)
    assert away.headers == {"accept-encoding": "identity"}
    for location in ("http://169.254.169.254/", "http://cdn.example/", "https://["):
        assert isinstance(follow(asked, location, target=HOME), Failure)


# --------------------------------------------------------------- outputs that are fetched


def done(outputs: tuple[Output, ...]) -> list[Delta]:
    return [Delta(media=len(outputs), outputs=outputs)]


def test_results_are_fetched_one_after_another() -> None:
    """Each address is asked once, bytes that are there already are kept, and the order stays."""
    urls = [Output(kind="image", url="https://cdn.example/1", note="n"), Output(kind="image", data=PNG),
            Output(kind="image", url="https://cdn.example/2")]  # fmt: skip
    first = next_of(gathered(urls, HOME, kind="image", done=done))
    assert first.request.url.endswith("/1")
    second = next_of(told(first.decoder, PNG[:9], PNG[9:]))
    assert second.request.url.endswith("/2")
    outputs = outputs_of(told(second.decoder, b"GIF89a"))
    assert [output.media_type for output in outputs] == ["image/png", "", "image/gif"]
    assert outputs[0].note == "n"


def test_a_download_that_is_asked_again_begins_again() -> None:
    """Half a file of the first try is no part of the second."""
    step = next_of(gathered([Output(kind="image", url="https://cdn.example/1")], HOME, kind="image", done=done))
    reader = step.decoder()
    for body in (PNG[:12], PNG):
        reader.head(200, {})  # type: ignore[attr-defined]
        reader.feed(body)
    assert outputs_of(reader.close())[0].data == PNG


def test_what_was_fetched_and_is_no_picture_is_final() -> None:
    """A page where the result should lie fails at once: it will not become a picture."""
    step = next_of(gathered([Output(kind="image", url="https://cdn.example/1")], HOME, kind="image", done=done))
    failure = failure_of(told(step.decoder, b"<html>expired</html>"))
    assert (failure.kind, failure.again) == (FailureKind.MALFORMED, False)


def test_inline_results_need_no_fetching() -> None:
    """A data URL holds its bytes; one that holds none, an address behind our walls and no result are failures."""
    packed = base64.b64encode(PNG).decode()
    found = gathered([Output(kind="image", url=f"data:image/png;base64,{packed}")], HOME, kind="image", done=done)
    assert outputs_of(found)[0].data == PNG
    for url in ("data:image/png;base64,?", "http://10.0.0.1/a.png"):
        assert isinstance(gathered([Output(kind="image", url=url)], HOME, kind="image", done=done), Failure)
    for outputs in ([], [Output(kind="image", url="https://cdn.example/1")] * 65):
        assert isinstance(gathered(outputs, HOME, kind="image", done=done), Failure)


# ------------------------------------------------------------------------------ jobs


def look(value: object, *, asked: HttpRequest | None) -> Standing | Failure:
    if at(value, "failed"):
        return job_failure(at(value, "error"), "the job failed")
    if at(value, "url"):
        return Standing(outputs=(Output(kind="video", url=at(value, "url")),))
    question = asked or HttpRequest(method="GET", url=f"https://api.x.example/{at(value, 'id')}", headers={})
    return Standing(ask=question, progress=share_of(at(value, "percent")))


def finish(standing: Standing) -> list[Delta] | Failure | Next:
    return gathered(standing.outputs, HOME, kind="video", done=done)


def test_jobs_are_asked_about_until_they_are_done() -> None:
    """Each answer but the last leads to the next question, with how far it has come; the result is fetched."""
    step = next_of(told(watch(look, every_s=4.0, finish=finish), b'{"id": "j1"}'))
    assert (step.request.url, step.after_s) == ("https://api.x.example/j1", 4.0)
    assert step.deltas == (Delta(progress=0.0),)
    step = next_of(told(step.decoder, b'{"percent": 40}'))
    assert (step.request.url, step.deltas) == ("https://api.x.example/j1", (Delta(progress=0.4),))
    step = next_of(told(step.decoder, b'{"url": "https://cdn.example/f.mp4"}'))
    assert step.request.url == "https://cdn.example/f.mp4"
    assert deltas_of(told(step.decoder, MP4))[0].media == 1


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 4.0),
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0"}, POLL_S_MIN),
        ({"retry-after": "3600"}, POLL_S_MAX),
        ({"openai-poll-after-ms": "1500"}, 1.5),
        ({"openai-poll-after-ms": "soon"}, 4.0),
        ({"x-ratelimit-reset-requests": "20s"}, 4.0),
    ],
)
def test_providers_say_when_to_ask_again(headers: dict[str, str], expected: float) -> None:
    """Their word counts, within reason; limits that are on every answer say nothing about it."""
    step = next_of(told(watch(look, every_s=4.0, finish=finish), b'{"id": "j1"}', headers=headers))
    assert step.after_s == expected


def test_jobs_fail_for_the_reason_they_give() -> None:
    """A failed job is not begun again at the same target, and is classified by its code."""
    failed = partial(json.dumps, {"failed": True, "error": {"code": "image_content_policy_violation", "message": "no"}})
    failure = failure_of(told(watch(look, every_s=1, finish=finish), failed().encode()))
    assert (failure.kind, failure.message, failure.again) == (FailureKind.CONTENT_POLICY, "no", False)
    assert failure_of(told(watch(look, every_s=1, finish=finish), b"<html>")).kind is FailureKind.MALFORMED
    assert job_failure(None, "it ended").kind is FailureKind.SERVER
    limited = job_failure({"code": "rate_limit_exceeded", "message": "m", "headers": {"Retry-After": "9"}}, "")
    assert (limited.kind, limited.retry_after_s) == (FailureKind.RATE_LIMIT, 9.0)


def test_paths_through_json_lead_somewhere_or_nowhere() -> None:
    """No shape of a foreign answer raises."""
    assert at({"a": [{"b": 1}]}, "a", 0, "b") == 1
    values: list[Any] = [None, 7, [], {}, {"a": 1}, {"a": {}}]
    for value in values:
        assert at(value, "a", 0, "b") is None
    assert [share_of(x) for x in (50, 150, -1, "x", None, True)] == [0.5, 1.0, 0.0, 0.0, 0.0, 0.0]


# ------------------------------------------------------------------------------ forms

PARTS = [
    Part(name="model", data=b"whisper"),
    Part(name="file", data=b"\x00\r\n--x\r\n\xff", filename="a b.wav", content_type="audio/wav"),
]


def bare(parts: list[Part]) -> list[tuple[str, bytes, str, str]]:
    return [(part.name, part.data, part.filename, part.content_type) for part in parts]


def test_forms_survive() -> None:
    """What was written is read again, bytes that look like boundaries too; the same parts give the same body."""
    body, content_type = write_form(PARTS)
    assert is_form(body)
    assert body.startswith(b"--" + content_type.partition("boundary=")[2].encode())
    assert bare(read_form(body)) == bare(PARTS)
    assert write_form(PARTS) == (body, content_type)


def test_one_field_is_replaced() -> None:
    """The model changes, and everything else goes out as it came."""
    body, _ = write_form(PARTS)
    read = read_form(body.replace(b"Content-Type: audio/wav", b"content-type: audio/wav\r\nX-Own: 1"))
    again, _ = write_form(replaced(read, "model", value="other"))
    assert b"X-Own: 1" in again
    assert [part.data for part in read_form(again)] == [b"other", PARTS[1].data]
    assert read_form(write_form(replaced(PARTS[1:], "model", value="x"))[0])[0].text == "x"


@pytest.mark.parametrize(
    "body",
    [
        *(
            b"",
            b"{}",
            b"--",
            b"--x",
            b"--x\r\n",
            b"--x\r\n\r\nno name\r\n--x--",
            b"--x\r\nContent-Disposition: form-data",
        ),
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\nunfinished',
    ],
)
def test_broken_forms_are_refused(body: bytes) -> None:
    """A form that is none, breaks off or has a field without a name raises ValueError."""
    with pytest.raises(ValueError, match=r"."):
        read_form(body)


def test_many_fields_are_too_many() -> None:
    """A form with more fields than anything needs is refused before it is cut up."""
    body, _ = write_form([Part(name="a", data=b"")] * (PARTS_MAX + 1))
    with pytest.raises(ValueError, match="more than"):
        read_form(body)


def test_file_names_in_other_scripts() -> None:
    """The encoded name wins over the plain one."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="?"; filename*=UTF-8\'\'%C3%BC.wav'
        b"\r\n\r\n1\r\n--x--\r\n"
    )
    assert read_form(body)[0].filename == "\u00fc.wav"


@given(st.binary(max_size=200) | st.builds(lambda b: b"--x\r\n" + b, st.binary(max_size=100)))
def test_any_bytes_are_a_form_or_none(body: bytes) -> None:
    """Foreign bytes are read, or refused with ValueError."""
    with contextlib.suppress(ValueError):
        read_form(body)


@given(st.lists(st.tuples(st.text(max_size=8), st.binary(max_size=30), st.text(max_size=8)), max_size=5))
def test_any_fields_survive(fields: list[tuple[str, bytes, str]]) -> None:
    """Any values come back as they were, whatever stands in them."""
    parts = [Part(name=f"n{i}", data=data, filename="f.bin") for i, (_, data, _) in enumerate(fields)]
    assert [part.data for part in read_form(write_form(parts)[0])] == [data for _, data, _ in fields] if parts else True
