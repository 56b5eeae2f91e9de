"""Films as jobs: OpenAI's, xAI's, OpenRouter's and Together's ways, with OpenAI's client as the judge."""

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
from openai.types import Video

from loops import in_loop
from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, JobFailed, NotMedia, Status
from unbroken.testing.samples import CLIP
from unbroken.types import Delta, Media, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Next, format_for
from unbroken.wire.multipart import Part, read_form, write_form
from unbroken.wire.openai_videos import FORMAT, decoder, read_request, write_request, writer
from unbroken.work import Film
from wire.judges import captured, sdk_for
from wire.reading import MP4, OUTCOME, PNG, deltas_of, failure_of, next_of, outputs_of, told
from wire.recorded import OURS, Recording, _read, everything

PATH = "/v1/videos"
TARGET = Target(name="t", provider="p", model="other", base_url="https://x.example/v1", key="k")
XAI, OPENROUTER, TOGETHER = (replace(TARGET, provider=name) for name in ("xai", "openrouter", "together"))
START = Media(kind="image", data=base64.b64encode(PNG).decode(), media_type="image/png")


def asked(**fields: Any) -> Request:
    request = read_request(PATH, json.dumps({"model": "m", "prompt": "Waves", **fields}).encode())
    assert isinstance(request, Request), request
    return request


def wish(**fields: Any) -> Request:
    work = Film(**{"prompt": "Waves", **fields})
    return Request(model="m", task=Task.VIDEO, read=lambda: work)


def sent_to(target: Target, **fields: Any) -> Any:
    return json.loads(write_request(wish(**fields), target).body)


# ----------------------------------------------------------------------- to a provider


def test_it_is_what_openai_families_use() -> None:
    """A target that chats in OpenAI's format makes films in this one."""
    assert format_for("openai_chat", Task.VIDEO) is FORMAT
    assert FORMAT.good == {200, 201, 202}


def test_requests_pass_with_another_model() -> None:
    """The caller's form or JSON goes out unchanged but for the model."""
    form, _ = write_form([Part(name="model", data=b"m"), Part(name="prompt", data=b"Waves"),
                          Part(name="input_reference", data=PNG, filename="a.png")])  # fmt: skip
    request = read_request(PATH, form)
    assert isinstance(request, Request)
    assert (request.task, request.model, request.prompt_chars) == (Task.VIDEO, "m", 7)
    fields = {part.name: part.data for part in read_form(write_request(request, TARGET).body)}
    assert fields == {"model": b"other", "prompt": b"Waves", "input_reference": PNG}
    sent = write_request(asked(seconds="4", extra=1), TARGET)
    assert (sent.url, json.loads(sent.body)["extra"]) == ("https://x.example/v1/videos", 1)


def test_others_are_told_in_their_own_words() -> None:
    """Length and size have other names elsewhere, and a first picture other places."""
    full = {"seconds": 4.0, "size": "1280x720", "start": START}
    url = f"data:image/png;base64,{START.data}"
    assert sent_to(XAI, **full) == {
        "model": "other", "prompt": "Waves", "duration": 4, "aspect_ratio": "16:9", "resolution": "720p",
        "image": {"type": "image_url", "url": url},
    }  # fmt: skip
    assert sent_to(OPENROUTER, **full, seed=3) == {
        "model": "other", "prompt": "Waves", "duration": 4, "aspect_ratio": "16:9", "resolution": "720p", "seed": 3,
        "frame_images": [{"type": "image_url", "image_url": {"url": url}, "frame_type": "first_frame"}],
    }  # fmt: skip
    assert sent_to(TOGETHER, **full, negative_prompt="boats") == {
        "model": "other", "prompt": "Waves", "seconds": "4", "width": 1280, "height": 720, "negative_prompt": "boats",
        "frame_images": [{"input_image": url, "frame": "first"}],
    }  # fmt: skip
    assert write_request(wish(), XAI).url == "https://x.example/v1/videos/generations"
    assert write_request(wish(), TOGETHER).url == "https://x.example/v2/videos"
    assert write_request(asked(seconds="4"), XAI).body == write_request(wish(seconds=4.0), XAI).body


@pytest.mark.parametrize(
    ("target", "fields", "name"),
    [
        (replace(TARGET, provider="openai"), {"seed": 1}, "seed"),
        (XAI, {"negative_prompt": "x"}, "negative_prompt"),
        (XAI, {"seconds": 4.5}, "seconds"),
        (OPENROUTER, {"size": "large"}, "size"),
        (TOGETHER, {"size": "large"}, "size"),
        (TARGET, {"start": Media(kind="image", url="https://x.example/a.png")}, "start"),
        (TARGET, {"extras": {"fps": 24}}, "fps"),
    ],
)
def test_what_cannot_be_said_makes_a_target_ineligible(target: Target, fields: dict[str, Any], name: str) -> None:
    """It is not asked, unless that may be dropped, and then it is reported."""
    with pytest.raises(ValueError, match=name):
        write_request(wish(**fields), target)
    assert name in write_request(wish(**fields), replace(target, may_drop=frozenset((name,)))).unsaid


@pytest.mark.parametrize(
    "work",
    [
        Film(prompt="Waves"),
        Film(prompt="Waves", seconds=4.0, size="1280x720", seed=7, negative_prompt="boats", start=START),
    ],
)
def test_wishes_survive(work: Film) -> None:
    """Written and read again, a wish is the same."""
    sent = write_request(Request(model="m", task=Task.VIDEO, read=lambda: work), TARGET)
    again = read_request(PATH, sent.body)
    assert isinstance(again, Request)
    assert again.work == work


@pytest.mark.parametrize(
    ("fields", "param"),
    [({"prompt": "a"}, "model"), ({"model": "m"}, "prompt"), ({"model": "m", "prompt": ""}, "prompt")],
)
def test_bad_requests_name_the_field(fields: dict[str, Any], param: str) -> None:
    """A caller learns which field is wrong."""
    assert failure_of(read_request(PATH, json.dumps(fields).encode())).param == param


@pytest.mark.parametrize("fields", [{"seconds": "long"}, {"size": 7}, {"input_reference": 7}])
def test_what_is_wrong_inside_is_told_when_it_is_read(fields: dict[str, Any]) -> None:
    """ValueError names the field to whoever reads it for another format."""
    with pytest.raises(ValueError, match=next(iter(fields))):
        _ = asked(**fields).work


def test_a_first_picture_may_be_an_address() -> None:
    """In JSON it is said with its address."""
    work = asked(input_reference={"image_url": "https://x.example/a.png"}).work
    assert isinstance(work, Film)
    assert work.start == Media(kind="image", url="https://x.example/a.png")


# --------------------------------------------------------------------------- the jobs


def steps(target: Target, *bodies: Any, status: int = 200) -> list[Any]:
    """What is asked after each of these answers, and what the last one gives."""
    reader: Any = decoder(asked(seconds="4"), target)
    found: list[Any] = []
    for body in bodies:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        found.append(told(reader, data, status=status))
        reader = getattr(found[-1], "decoder", None)
    return found


def test_openais_job() -> None:
    """Made, asked about with the key, and its content fetched from the same host."""
    queued, working, done, film = steps(
        TARGET,
        {"id": "video_1", "status": "queued", "progress": 0},
        {"id": "video_1", "status": "in_progress", "progress": 60},
        {"id": "video_1", "status": "completed", "progress": 100, "seconds": "8"},
        MP4,
    )
    assert [step.request.url for step in (queued, working, done)] == [
        "https://x.example/v1/videos/video_1", "https://x.example/v1/videos/video_1",
        "https://x.example/v1/videos/video_1/content",
    ]  # fmt: skip
    assert {step.request.headers["authorization"] for step in (queued, working, done)} == {"Bearer k"}
    assert (queued.deltas, working.deltas) == ((Delta(progress=0.0),), (Delta(progress=0.6),))
    delta = deltas_of(film)[0]
    assert (delta.media, delta.usage, delta.progress) == (1, Usage(seconds=8.0), 1.0)
    assert delta.outputs == (Output(kind="video", data=MP4, media_type="video/mp4"),)


def test_xais_job() -> None:
    """Its answers to questions do not name the job again; the film lies elsewhere, and is fetched without the key."""
    made, pending, done, film = steps(
        XAI,
        {"request_id": "r1"},
        {"status": "pending", "progress": 18},
        {"status": "done", "video": {"url": "https://cdn.example/f.mp4", "duration": 1},
         "usage": {"cost_in_usd_ticks": 500000000}},
        MP4,
    )  # fmt: skip
    assert made.request.url == pending.request.url == "https://x.example/v1/videos/r1"
    assert done.request.url == "https://cdn.example/f.mp4"
    assert "authorization" not in done.request.headers
    assert deltas_of(film)[0].usage == Usage(seconds=1.0, cost_usd=0.05)


def test_openrouters_job() -> None:
    """It is accepted with 202, and its content fetched with the key."""
    made, done, film = steps(
        OPENROUTER,
        {"id": "j", "polling_url": "/api/v1/videos/j", "status": "pending"},
        {"id": "j", "status": "completed", "unsigned_urls": ["https://x/1"], "usage": {"cost": 0.5}},
        MP4,
        status=202,
    )
    assert (made.request.url, made.after_s) == ("https://x.example/v1/videos/j", 10.0)
    assert done.request.url == "https://x.example/v1/videos/j/content"
    assert deltas_of(film)[0].usage == Usage(cost_usd=0.5, seconds=4.0)


def test_togethers_job() -> None:
    """Its jobs have a version of their own."""
    made, done, film = steps(
        TOGETHER,
        {"id": "j"},
        {
            "id": "j",
            "status": "completed",
            "seconds": "5",
            "outputs": {"video_url": "https://cdn.example/f", "cost": 1},
        },
        MP4,
    )
    assert made.request.url == "https://x.example/v2/videos/j"
    assert done.request.url == "https://cdn.example/f"
    assert deltas_of(film)[0].usage == Usage(seconds=5.0, cost_usd=1.0)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", FailureKind.SERVER),
        ("rate_limit_exceeded", FailureKind.RATE_LIMIT),
        ("invalid_prompt", FailureKind.CONTENT_POLICY),
        ("image_content_policy_violation", FailureKind.CONTENT_POLICY),
        ("moderation_blocked", FailureKind.CONTENT_POLICY),
        ("invalid_image", FailureKind.REQUEST),
        ("image_too_large", FailureKind.REQUEST),
        ("failed_to_download_image", FailureKind.REQUEST),
    ],
)
def test_jobs_fail_for_reasons(code: str, kind: FailureKind) -> None:
    """The code of a failed job says whose fault it is; the job is not made again at the same target."""
    error = {"code": code, "message": "m"}
    _, failed = steps(TARGET, {"id": "v", "status": "queued"}, {"id": "v", "status": "failed", "error": error})
    assert (failed.kind, failed.again, failed.message) == (kind, False, "m")


@pytest.mark.parametrize(
    ("target", "body"),
    [
        (TARGET, {"id": "v", "status": "expired"}),
        (TARGET, {"id": "v", "status": None}),
        (XAI, {"status": "failed"}),
        (XAI, {"status": "expired", "error": "too old"}),
        (TOGETHER, {"id": "v", "status": "completed"}),
        (TOGETHER, {"id": "v", "status": "failed", "error": {"message": "m"}}),
    ],
)
def test_jobs_end_in_other_ways(target: Target, body: Any) -> None:
    """Whatever is neither waiting nor done has failed."""
    _, failed = steps(target, {"id": "v", "request_id": "v", "status": "queued"}, body)
    assert isinstance(failed, Failure)
    assert not failed.again


def test_withheld_films_are_a_matter_of_content() -> None:
    """xAI says that moderation took a film back."""
    body = {"status": "done", "video": {"url": "", "respect_moderation": False}}
    _, failed = steps(XAI, {"request_id": "r"}, body)
    assert failed.kind is FailureKind.CONTENT_POLICY


@pytest.mark.parametrize("target", [TARGET, XAI, OPENROUTER, TOGETHER])
@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"id": 7}', b'{"id": ""}', b'{"request_id": 7}'])
def test_answers_without_a_job_are_malformed(target: Target, body: bytes) -> None:
    """No job was made; another target is asked."""
    assert failure_of(told(decoder(asked(), target), body)).kind is FailureKind.MALFORMED


def test_what_lies_there_must_be_a_film() -> None:
    """A page or an error where the film should lie is a failure."""
    for body in (b"<html>", b'{"error": {"message": "gone"}}', PNG, b""):
        *_, failed = steps(TARGET, {"id": "v", "status": "completed"}, body)
        assert isinstance(failed, Failure)
        assert not failed.again


@given(
    st.sampled_from([TARGET, XAI, OPENROUTER, TOGETHER]),
    st.binary(max_size=40)
    | st.dictionaries(
        st.sampled_from(["id", "status", "error", "progress", "request_id", "video", "outputs", "usage"]),
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["completed", "failed", "queued", "done"])
        | st.dictionaries(st.sampled_from(["url", "video_url", "code", "message"]), st.text(max_size=5)),
    ).map(lambda value: json.dumps(value).encode()),
)  # fmt: skip
def test_any_bytes_are_deltas_a_question_or_a_failure(target: Target, body: bytes) -> None:
    """No bytes raise, from either side."""
    found = told(decoder(asked(), target), body)
    assert isinstance(found, list | Failure | Next)
    if isinstance(found, Next):
        assert isinstance(told(found.decoder, body), list | Failure | Next)
    assert isinstance(read_request(PATH, body), Request | Failure)


# ----------------------------------------------------------------------------- recordings


def check_xai(recordings: list[Recording]) -> None:
    """The recorded job from its making to its film, in the order in which it was asked."""
    by_status = {json.loads(r["response_body"]).get("progress", -1): r for r in recordings}
    made, *polls = [by_status[share] for share in sorted(by_status)]
    body = made["request_body"]
    work = Film(prompt=body["prompt"], seconds=body["duration"], size="")
    sent = json.loads(write_request(Request(model="m", task=Task.VIDEO, read=lambda: work), XAI).body)
    assert sent == {name: body[name] for name in ("prompt", "duration")} | {"model": "other"}
    reader: Any = decoder(Request(model="m", task=Task.VIDEO, read=lambda: work), XAI)
    for recording in (made, *polls):
        found = next_of(told(reader, recording["response_body"].encode(), status=recording["status"]))
        reader = found.decoder()
    answer = json.loads(polls[-1]["response_body"])
    assert found.request.url == answer["video"]["url"]
    delta = deltas_of(told(reader, MP4))[0]
    assert delta.usage == Usage(seconds=1.0, cost_usd=answer["usage"]["cost_in_usd_ticks"] * 1e-10)


def test_our_recordings() -> None:
    """A film that xAI really made: accepted, asked about with 202, and done."""
    check_xai(_read(OURS / "openai_videos.jsonl.gz"))


def test_all_recordings(shared: Path) -> None:
    """The same from the large set."""
    found = everything(shared, "generate", "other")
    check_xai([r for r in found if r["provider"] == "xai" and "/videos/" in str(r["url"])])


# ------------------------------------------------------------------------- the judge


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@in_loop
async def test_openais_client_makes_a_film() -> None:
    """Made, polled and downloaded by the client, from a provider that serves our server side."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        video = await client.videos.create(model="m", prompt="Waves", seconds="8", size="1280x720")
        assert (video.status, video.progress, video.seconds, video.prompt) == ("queued", 0, "8", "Waves")
        done = await client.videos.poll(video.id)
        assert (done.status, done.progress) == ("completed", 100)
        content = await client.videos.download_content(video.id)
        assert content.content == CLIP
        with pytest.raises(openai.NotFoundError):
            await client.videos.retrieve("video_nobody_made")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@in_loop
async def test_openais_client_sees_a_job_fail() -> None:
    """A failed job says why, and content that is none is served as such."""
    async with FakeProvider() as fake, sdk_for(fake) as client:
        fake.fail_with(JobFailed(code="moderation_blocked", message="no"), times=1)
        failed = await client.videos.create_and_poll(model="m", prompt="Waves")
        assert failed.status == "failed"
        assert failed.error is not None
        assert (failed.error.code, failed.error.message) == ("moderation_blocked", "no")
        fake.fail_with(NotMedia(), times=1)
        video = await client.videos.create_and_poll(model="m", prompt="Waves")
        assert (await client.videos.download_content(video.id)).content == NotMedia().body
        fake.fail_with(Status(429))
        with pytest.raises(openai.RateLimitError):
            await client.videos.create(model="m", prompt="Waves")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@in_loop
async def test_we_ask_as_openais_client_does() -> None:
    """Our form is the one that the client sends for the same wish."""
    theirs = await captured(
        lambda client: client.videos.create(
            model="other", prompt="Waves", seconds="8", size="1280x720", input_reference=("start.png", PNG, "image/png")
        )
    )
    work = Film(prompt="Waves", seconds=8.0, size="1280x720", start=START)
    ours = write_request(Request(model="m", task=Task.VIDEO, read=lambda: work), TARGET)
    assert sorted(bare(ours.body)) == sorted(bare(theirs.body))


def bare(body: bytes) -> list[tuple[str, bytes, str, str]]:
    return [(part.name, part.data, part.filename, part.content_type) for part in read_form(body)]


def test_jobs_are_written_as_they_stand() -> None:
    """Queued, at work, done and failed, each a job that the client reads."""
    request = records.replace(asked(seconds="4"), source=Source("other", {}))
    for deltas, status, progress in (
        ([], "queued", 0),
        ([Delta(id="v", progress=0.25)], "in_progress", 25),
        ([Delta(id="v", media=1, progress=1.0)], "completed", 100),
    ):
        video = Video.model_validate_json(writer(request).whole(deltas, OUTCOME))
        assert (video.status, video.progress, video.seconds) == (status, progress, "4")
    failure = Failure(kind=FailureKind.CONTENT_POLICY, message="no", code="moderation_blocked")
    failed = Video.model_validate_json(writer(request).broken(failure, OUTCOME))
    assert failed.error is not None
    assert (failed.status, failed.error.code) == ("failed", "moderation_blocked")
    assert outputs_of([]) == []
