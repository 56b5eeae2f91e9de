"""Pictures in OpenAI's format: generations and edits, bytes and addresses, with OpenAI's client as the judge."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai._models import construct_type
from openai.types import ImagesResponse

from loops import in_loop
from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, Html, NotMedia, Status
from unbroken.types import Delta, HttpReply, Media, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Next, format_for
from unbroken.wire.media import media_type_of
from unbroken.wire.openai_images import FORMAT, NAME, decoder, read_request, write_request, writer
from unbroken.work import Picture
from wire.judges import captured, sdk_for
from wire.reading import OUTCOME, PNG, deltas_of, failure_of, next_of, outputs_of, pieces_of, told
from wire.recorded import Recording, everything, ours

GENERATIONS, EDITS = "/v1/images/generations", "/v1/images/edits"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.example/v1", key="k")
PACKED = base64.b64encode(PNG).decode()
LARGE = base64.b64encode(PNG + bytes(3_000)).decode()


def asked(path: str = GENERATIONS, **fields: Any) -> Request:
    request = read_request(path, json.dumps({"model": "m", "prompt": "A cat", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def wish(**fields: Any) -> Request:
    """The same from a program, or in another format."""
    work = Picture(**{"prompt": "A cat", **fields})
    return Request(model="m", task=Task.IMAGE, choices=work.count, read=lambda: work)


def answer(*items: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"created": 1, "data": items, **more}).encode()


# ----------------------------------------------------------------------- to a provider


def test_it_is_what_openai_families_use() -> None:
    """A target that chats in OpenAI's format draws in this one."""
    assert format_for("openai_chat", Task.IMAGE) is FORMAT
    assert FORMAT.paths == (GENERATIONS, EDITS)


def test_requests_pass_with_another_model() -> None:
    """The caller's own fields go out, at the same path."""
    request = asked(n=2, size="1024x1024", background="transparent")
    assert (request.task, request.model, request.choices, request.stream) == (Task.IMAGE, "m", 2, False)
    sent = write_request(request, TARGET)
    assert sent.url == "https://x.example/v1/images/generations"
    assert json.loads(sent.body) == {
        "model": "other", "prompt": "A cat", "n": 2, "size": "1024x1024", "background": "transparent",
    }  # fmt: skip
    assert asked(n="two").choices == 1
    edit = write_request(asked(EDITS, images=[{"type": "image_url", "url": "https://x.example/a.png"}]), TARGET)
    assert edit.url == "https://x.example/v1/images/edits"
    assert json.loads(edit.body)["model"] == "other"


def test_openrouter_has_a_path_of_its_own() -> None:
    """Where a provider draws elsewhere, it is asked there."""
    assert write_request(asked(), replace(TARGET, provider="openrouter")).url == "https://x.example/v1/images"


def test_wishes_are_said_in_this_format() -> None:
    """Everything that is modelled is said; bytes are what comes unless an address is asked for."""
    full = wish(count=2, size="64x32", quality="high", media_type="image/webp", seed=7, negative_prompt="dogs",
                as_url=True, hints={"user": "u", "cache": "c"})  # fmt: skip
    sent = write_request(full, TARGET)
    assert json.loads(sent.body) == {
        "model": "other", "prompt": "A cat", "n": 2, "size": "64x32", "quality": "high", "output_format": "webp",
        "seed": 7, "negative_prompt": "dogs", "response_format": "url", "user": "u",
    }  # fmt: skip
    assert sent.unsaid == ("cache",)
    assert json.loads(write_request(wish(), TARGET).body) == {"model": "other", "prompt": "A cat"}


def test_what_openai_cannot_be_told_makes_it_ineligible() -> None:
    """OpenAI has no seed; it is asked only where the operator lets that be dropped, and then it is reported."""
    at_openai = replace(TARGET, provider="openai")
    for fields in ({"seed": 7}, {"negative_prompt": "dogs"}, {"extras": {"steps": 4}}):
        with pytest.raises(ValueError, match="has no"):
            write_request(wish(**fields), at_openai)
    sent = write_request(wish(seed=7, as_url=True), replace(at_openai, may_drop=frozenset(("seed",))))
    assert json.loads(sent.body) == {"model": "other", "prompt": "A cat"}
    assert sent.unsaid == ("seed",)


def test_pictures_to_start_from() -> None:
    """They go as files in a form, and as addresses where that is how they are taken."""
    media = Media(kind="image", data=PACKED)
    form = write_request(wish(sources=(media, media)), TARGET)
    assert form.url.endswith("/images/edits")
    assert form.headers["content-type"].startswith("multipart/form-data; boundary=")
    assert form.body.count(PNG) == 2
    assert b'filename="image.png"' in form.body
    at_xai = json.loads(write_request(wish(sources=(media,)), replace(TARGET, provider="xai")).body)
    assert at_xai["images"] == [{"type": "image_url", "url": f"data:image/png;base64,{PACKED}"}]
    routed = write_request(wish(sources=(media,)), replace(TARGET, provider="openrouter"))
    assert json.loads(routed.body)["input_references"][0]["image_url"]["url"].endswith(PACKED)
    with pytest.raises(ValueError, match="given by its address"):
        write_request(wish(sources=(Media(kind="image", url="https://x.example/a.png"),)), TARGET)


# ----------------------------------------------------------------------- from a caller


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": "a"}, "model"),
        ({"model": "m"}, "prompt"),
        ({"model": "m", "prompt": None}, "prompt"),
        ({"model": "m", "prompt": ["a"]}, "prompt"),
        ({"model": "m", "prompt": " "}, "prompt"),
    ],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong."""
    for path in (GENERATIONS, EDITS):
        failure = failure_of(read_request(path, json.dumps(fields).encode()))
        assert (failure.kind, failure.param) == (FailureKind.REQUEST, param)


@pytest.mark.parametrize("fields", [{"size": 7}, {"quality": []}, {"images": [1]}])
def test_what_is_wrong_inside_is_told_when_it_is_read(fields: dict[str, Any]) -> None:
    """ValueError names the field to whoever reads it for another format."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        _ = asked(**fields).work


def test_wishes_survive() -> None:
    """Written and read again, a wish is the same."""
    for work in (
        Picture(prompt="A cat"),
        Picture(prompt="A", count=3, size="8x8", quality="low", media_type="image/jpeg", seed=1, negative_prompt="b",
                as_url=True, hints={"user": "u"}),
        Picture(prompt="A", sources=(Media(kind="image", data=PACKED, media_type="image/png"),), count=2),
    ):  # fmt: skip
        sent = write_request(Request(model="m", task=Task.IMAGE, read=lambda w=work: w), TARGET)  # type: ignore[misc]
        again = read_request(sent.url.removeprefix("https://x.example"), sent.body)
        assert isinstance(again, Request)
        assert again.work == work


# ----------------------------------------------------------------------------- answers


def test_answers_pass_as_they_came() -> None:
    """The body is the answer; how many pictures and tokens is read from it, and that each is one."""
    body = answer({"b64_json": LARGE}, {"b64_json": PACKED}, usage={"input_tokens": 4, "output_tokens": 9})
    deltas = deltas_of(told(decoder(asked(n=2), TARGET), b"\n" + body))
    usage = Usage(input_tokens=4, output_tokens=9, images=2)
    assert deltas == [Delta(media=2, usage=usage, format=NAME, raw=body, body=True)]
    assert writer(asked()).whole(deltas, OUTCOME) == body


def test_addresses_go_to_those_who_take_them() -> None:
    """A caller of this format gets the address that came, unless it asked for bytes: then it is fetched."""
    body = answer({"url": "https://cdn.example/1.png", "revised_prompt": "A grey cat"})
    for request in (asked(), asked(response_format="url")):
        deltas = deltas_of(told(decoder(request, TARGET), body))
        assert writer(request).whole(deltas, OUTCOME) == body
    wants_bytes = asked(response_format="b64_json")
    step = next_of(told(decoder(wants_bytes, TARGET), body))
    assert (step.request.url, step.after_s) == ("https://cdn.example/1.png", 0.0)
    deltas = deltas_of(told(step.decoder, PNG))
    written = ImagesResponse.model_validate_json(writer(wants_bytes).whole(deltas, OUTCOME))
    assert written.data is not None
    assert written.data[0].b64_json == PACKED
    assert written.data[0].revised_prompt == "A grey cat"


def test_bytes_come_for_everybody_else() -> None:
    """Callers of other formats get the bytes; an address only if they want one."""
    body = answer({"b64_json": LARGE}, {"url": "https://cdn.example/1.png"}, model="mm")
    step = next_of(told(decoder(wish(), TARGET), body))
    outputs = outputs_of(told(step.decoder, PNG))
    assert [output.data[: len(PNG)] for output in outputs] == [PNG, PNG]
    as_url = deltas_of(told(decoder(wish(as_url=True), TARGET), body))
    assert (as_url[0].outputs[1].url, as_url[0].model) == ("https://cdn.example/1.png", "mm")
    assert isinstance(told(decoder(Request(model="m", task=Task.IMAGE), TARGET), body), Next)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"<html>", b"nope", b"[]", b"7", b"{}", b'{"data":null}', b'{"data":[]}', b'{"data":7}', b'{"data":[1'),
        *(b'{"data":[{}]}', b'{"data":[7]}', b'{"data":[{"b64_json":null}]}', b'{"data":[{"b64_json":7777777}]}'),
        answer({"b64_json": base64.b64encode(b"<html>It works!</html>").decode()}),
        answer({"b64_json": "not base64 at all!"}),
    ],
)
@pytest.mark.parametrize("request_", [asked(), wish()], ids=["own", "foreign"])
def test_answers_without_pictures_are_malformed(body: bytes, request_: Request) -> None:
    """A good answer has pictures in it, and not something else in base64."""
    assert failure_of(told(decoder(request_, TARGET), body)).kind is FailureKind.MALFORMED


def test_errors_under_200() -> None:
    """An error inside a good answer is a failure that says what it is."""
    body = b'{"error": {"message": "blocked", "code": "moderation_blocked"}, "data": [1]}'
    assert failure_of(told(decoder(asked(), TARGET), body)).kind is FailureKind.CONTENT_POLICY


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (400, {"code": "moderation_blocked", "message": "Your request was rejected"}, FailureKind.CONTENT_POLICY),
        (400, {"code": "content_policy_violation", "message": "no"}, FailureKind.CONTENT_POLICY),
        (400, {"code": "contentFilter", "message": "Your task failed as a result of our safety system."},
         FailureKind.CONTENT_POLICY),
        (400, {"code": None, "message": "Your request was rejected as a result of our safety system."},
         FailureKind.CONTENT_POLICY),
        (400, {"code": "unknown_parameter", "message": "Unknown parameter: 'quality'."}, FailureKind.REQUEST),
        (429, {"code": "rate_limit_exceeded", "message": "Rate limit reached"}, FailureKind.RATE_LIMIT),
        (500, {"code": None, "message": "The server had an error"}, FailureKind.SERVER),
    ],
)  # fmt: skip
def test_errors_of_picture_makers(status: int, error: dict[str, Any], kind: FailureKind) -> None:
    """What a safety system refuses is a matter of content, at OpenAI and at Azure; the rest is as everywhere."""
    reply = HttpReply(status=status, headers={}, body=json.dumps({"error": error}).encode())
    found = FORMAT.classify(reply).kind
    assert found is kind or (kind is FailureKind.REQUEST and found.value == "unsupported")


# --------------------------------------------------------------------------- to a caller


def test_pictures_of_others_are_written_as_asked() -> None:
    """Bytes as base64, or as a data URL for a caller that wants an address; with what was counted."""
    outputs = (Output(kind="image", data=PNG, media_type="image/png", note="A grey cat"),)
    deltas = [Delta(media=1, outputs=outputs, usage=Usage(input_tokens=3, output_tokens=5, images=1))]
    written = json.loads(writer(asked()).whole(deltas, OUTCOME))
    assert written["data"] == [{"revised_prompt": "A grey cat", "b64_json": PACKED}]
    assert written["usage"]["total_tokens"] == 8
    as_url = json.loads(writer(asked(response_format="url")).whole(deltas, OUTCOME))
    assert as_url["data"][0]["url"] == f"data:image/png;base64,{PACKED}"
    assert json.loads(writer(asked()).broken(Failure(kind=FailureKind.EMPTY, message="no"), OUTCOME))["error"]


def events(*values: dict[str, Any]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (v["type"].encode(), json.dumps(v).encode()) for v in values)


STREAM = events(
    {"type": "image_generation.partial_image", "b64_json": PACKED, "partial_image_index": 0},
    {"type": "image_generation.completed", "b64_json": PACKED, "usage": {"input_tokens": 4, "output_tokens": 6}},
)


def test_streams_pass_as_they_came() -> None:
    """Events go on one by one, however they were cut, and the last one says what it took."""
    request = asked(stream=True, partial_images=1)
    assert request.stream
    for pieces in ([STREAM], [STREAM[i : i + 1] for i in range(len(STREAM))], pieces_of(STREAM, 1)):
        deltas = deltas_of(told(decoder(request, TARGET), *pieces))
        assert [delta.media for delta in deltas] == [1, 1]
        assert deltas[-1].usage == Usage(input_tokens=4, output_tokens=6, images=1)
        out = writer(request)
        assert out.write(deltas) + out.end(OUTCOME) == STREAM


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (STREAM[: len(STREAM) // 2], FailureKind.TRUNCATED),
        (b"", FailureKind.TRUNCATED),
        (b"data: {broken\n\n", FailureKind.MALFORMED),
        (b"data: []\n\n", FailureKind.MALFORMED),
        (events({"type": "error", "error": {"code": "moderation_blocked", "message": "m"}}),
         FailureKind.CONTENT_POLICY),
    ],
)  # fmt: skip
def test_streams_that_break(body: bytes, kind: FailureKind) -> None:
    """A stream that stops early, is no JSON or reports an error is a failure."""
    assert failure_of(told(decoder(asked(stream=True), TARGET), body)).kind is kind


def test_pictures_of_others_are_streamed() -> None:
    """A caller that streams gets a proper last event of each picture that came whole."""
    out = writer(asked(stream=True))
    written = out.whole([Delta(media=1, outputs=(Output(kind="image", data=PNG, media_type="image/png"),))], OUTCOME)
    event = json.loads(written.partition(b"data: ")[2])
    assert (event["type"], event["b64_json"], event["output_format"]) == ("image_generation.completed", PACKED, "png")
    assert b"event: error" in out.broken(Failure(kind=FailureKind.SERVER, message="m"), OUTCOME)


@given(st.binary(max_size=60) | st.builds(lambda b: b'{"data":[{"b64_json":"' + b, st.binary(max_size=20)))
def test_any_bytes_are_deltas_or_a_failure(body: bytes) -> None:
    """No bytes raise, from either side."""
    for request in (asked(), wish(), asked(stream=True)):
        assert isinstance(told(decoder(request, TARGET), body), list | Failure)
    for path in (GENERATIONS, EDITS):
        assert isinstance(read_request(path, body), Request | Failure)


# ----------------------------------------------------------------------------- recordings


def check(recording: Recording) -> None:
    path = EDITS if "edits" in recording["url"] else GENERATIONS
    request = read_request(path, json.dumps(recording["request_body"]).encode())
    assert isinstance(request, Request)
    assert json.loads(write_request(request, TARGET).body) == {**recording["request_body"], "model": "other"}
    body: bytes = recording["response_body"].encode()
    if recording["status"] != 200:
        failure = FORMAT.classify(HttpReply(status=recording["status"], headers={}, body=body))
        assert failure.verdict.fault.value == "caller" or failure.kind.value == "unsupported"
        return
    judged = construct_type(type_=ImagesResponse, value=json.loads(body))  # as the client reads an answer
    assert isinstance(judged, ImagesResponse)
    assert judged.data is not None
    for pieces in ([body], [body[i : i + 1] for i in range(len(body))], pieces_of(body, 7)):
        deltas = deltas_of(told(decoder(request, TARGET), *pieces))
        assert deltas[0].media == len(judged.data)
        assert writer(request).whole(deltas, OUTCOME) == body.strip()
    foreign = records.replace(request, source=Source("other", {}))
    step = told(decoder(foreign, TARGET), body)
    assert next_of(step).request.url == judged.data[0].url


def test_our_recordings() -> None:
    """Recorded requests and answers pass, unchanged but for the model."""
    found = ours("images")
    assert found
    for recording in found:
        check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for the large set."""
    found = everything(shared, "images")
    assert len(found) >= 3
    for recording in found:
        check(recording)


# ------------------------------------------------------------------------- the judge


@in_loop
async def test_openais_client_draws() -> None:
    """Bytes, several of them, and addresses come as the client expects them."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        drawn = await client.images.generate(model="m", prompt="A cat", n=2, response_format="b64_json")
        assert [media_type_of(base64.b64decode(item.b64_json or "")) for item in drawn.data or []] == ["image/png"] * 2
        lying = await client.images.generate(model="m", prompt="A cat", response_format="url")
        assert lying.data is not None
        assert (lying.data[0].url or "").startswith(f"http://127.0.0.1:{fake.port}/files/")


@in_loop
async def test_openais_client_streams_and_edits() -> None:
    """A stream ends with its completed event; an edit's files arrive."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        stream = await client.images.generate(model="m", prompt="A cat", stream=True)
        assert [event.type async for event in stream] == ["image_generation.completed"]
        edited = await client.images.edit(model="m", prompt="A dog", image=("cat.png", PNG, "image/png"))
        assert edited.data
        work = read_request(EDITS, fake.seen[-1].body)
        assert isinstance(work, Request)
        assert work.work == Picture(
            prompt="A dog", sources=(Media(kind="image", data=PACKED, media_type="image/png"),)
        )  # fmt: skip


@in_loop
async def test_openais_client_raises_what_it_should() -> None:
    """Errors become the client's own classes."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        for status, error in ((400, openai.BadRequestError), (429, openai.RateLimitError), (500, openai.APIError)):
            fake.fail_with(Status(status))
            with pytest.raises(error):
                await client.images.generate(model="m", prompt="A cat")


@in_loop
async def test_we_ask_as_openais_client_does() -> None:
    """Our request is the one that the client sends for the same wish."""
    theirs = await captured(
        lambda client: client.images.generate(
            model="m", prompt="A cat", size="1024x1024", quality="high", output_format="webp", user="u", n=2
        )
    )
    work = Picture(prompt="A cat", size="1024x1024", quality="high", media_type="image/webp", hints={"user": "u"},
                   count=2)  # fmt: skip
    ours_ = write_request(Request(model="m", task=Task.IMAGE, read=lambda: work), replace(TARGET, model="m"))
    assert theirs.path == "/v1/images/generations"
    assert json.loads(ours_.body) == json.loads(theirs.body)


@in_loop
async def test_wrong_content_is_found_out() -> None:
    """What a provider serves in place of pictures is a failure here, and was none for the client."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        for trouble in (NotMedia(b"<html>It works!</html>", "text/html"), Html()):
            fake.fail_with(trouble)
            served = await client.images.with_raw_response.generate(model="m", prompt="A cat")
            assert isinstance(told(decoder(asked(), TARGET), served.content), Failure)
