"""Embeddings, pictures and films in Gemini's format."""

from __future__ import annotations

import base64
import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st

from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Media, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Mounts, Next, format_for, openai_embeddings
from unbroken.wire.gemini_media import FORMAT, decoder, read_request, write_request, writer
from unbroken.work import Film, Picture, Texts
from wire import reading
from wire.gemini_recorded import MEDIA, Replay, client, ours, path_of, shared_recordings
from wire.reading import MP4, OUTCOME, PNG, failure_of, next_of, told
from wire.recorded import Recording
from wire.test_gemini_answer import JSON
from wire.test_gemini_sdk import on_vertex

TARGET = Target(name="t", provider="p", model="gemini-embedding-001", format="gemini",
                base_url="https://x.invalid/v1beta", key="k")  # fmt: skip
VERTEX = replace(TARGET, base_url="https://v.invalid/v1", auth="bearer", options={"project": "p", "location": "l"})
BATCH, ONE, PREDICT = (f"/v1/models/m:{verb}" for verb in ("batchEmbedContents", "embedContent", "predict"))
WEBM = b"\x1a\x45\xdf\xa3" + bytes(12)


def asked(path: str, **fields: Any) -> Request:
    request = read_request(path, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def wish(work: Texts | Picture | Film, **source: Any) -> Request:
    """A request for this that came in another format."""
    task = {Texts: Task.EMBEDDING, Picture: Task.IMAGE, Film: Task.VIDEO}[type(work)]
    return Request(model="m", task=task, read=lambda: work, source=Source("elsewhere", {}))


def good(found: list[Delta] | Failure | Next) -> Delta:
    assert isinstance(found, list), found
    (delta,) = found
    return delta


def content(text: str) -> Any:
    return {"parts": [{"text": text}]}


# ---------------------------------------------------------------------- recordings

REPLAY = Replay()
SDKS = {"google": client(REPLAY), "vertex": client(REPLAY, **on_vertex())}


def check_vectors(recording: Recording, rng: random.Random) -> None:
    """The vectors are those that Google's client reads; usage and request survive."""
    request = read_request(path_of(recording), json.dumps(recording["request_body"]).encode())
    assert isinstance(request, Request)
    vertex = recording["provider"] == "vertex"
    target = replace(VERTEX if vertex else TARGET, model="gemini-embedding-001")
    again = json.loads(write_request(request, target).body)
    renamed = {"model": "models/gemini-embedding-001"}
    items = recording["request_body"].get("requests", [])
    assert again == recording["request_body"] | ({"requests": [item | renamed for item in items]} if items else {})
    body = recording["response_body"].encode()
    REPLAY.body = body
    config = types.EmbedContentConfig()
    model = "text-embedding-004" if vertex else "gemini-embedding-001"
    texts: Any = ["a"]
    theirs = SDKS[recording["provider"]].models.embed_content(model=model, contents=texts, config=config)
    vectors = [tuple(embedding.values or ()) for embedding in theirs.embeddings or []]
    elsewhere = records.replace(request, source=None)
    delta = good(told(decoder(elsewhere, target), *reading.cut(body, rng, 3)))
    assert [output.vector for output in delta.outputs] == vectors
    passed = good(told(decoder(request, target), body))
    assert (passed.raw, passed.media, passed.usage, passed.outputs) == (body, len(vectors), delta.usage, ())
    assert writer(request).whole([passed], OUTCOME) == body
    value = json.loads(body)
    counted = value.get("usageMetadata", {}).get("promptTokenCount") or sum(
        item["embeddings"]["statistics"]["token_count"] for item in value.get("predictions", [])
    )
    assert (delta.usage.input_tokens if delta.usage else 0) == counted
    check_texts(request)


def check_texts(request: Request) -> None:
    """What was asked, said anew, is read as the same."""
    try:
        work = request.work_as(Texts)
    except ValueError as error:
        assert "not one text" in str(error)
        return
    for target in (TARGET, VERTEX):
        written = write_request(Request(model="m", task=Task.EMBEDDING, read=lambda: work), target)
        again = read_request(written.url.partition(".invalid")[2], written.body)
        assert isinstance(again, Request)
        assert again.work == work


@pytest.mark.parametrize("recording", [r for r in ours(*MEDIA[:3]) if r["status"] == 200], ids=lambda r: r["id"][:6])
def test_recorded_vectors(recording: Recording) -> None:
    """A recorded answer is read as Google's client reads it, and passes as it came."""
    check_vectors(recording, random.Random(recording["id"]))


def test_all_recorded_vectors(shared: Path) -> None:
    """The same for every recording of the large set."""
    recordings = [r for r in shared_recordings(shared, *MEDIA[:3]) if r["status"] == 200]
    assert len(recordings) == 23
    for number, recording in enumerate(recordings):
        check_vectors(recording, random.Random(number))


def test_the_recorded_film(shared: Path) -> None:
    """The one recorded wish for a film is the one that we write, and its answer names the job."""
    (recording,) = shared_recordings(shared, "predictLongRunning")
    work = Film(prompt=recording["request_body"]["instances"][0]["prompt"], seconds=4)
    assert json.loads(write_request(wish(work), TARGET).body) == recording["request_body"]
    step = next_of(told(decoder(wish(work), TARGET), recording["response_body"].encode()))
    assert step.request.url.endswith("/v1beta/models/veo-3.1-lite-generate-preview/operations/umz7sqimep69")


# ---------------------------------------------------------------------- embeddings


def test_it_is_what_geminis_family_uses() -> None:
    """A target that chats in Gemini's format embeds, draws and films in this one."""
    assert {format_for("gemini", task) for task in (Task.EMBEDDING, Task.IMAGE, Task.VIDEO)} == {FORMAT}
    mounts = Mounts([FORMAT])
    assert all(mounts.at(path) is FORMAT for path in (BATCH, ONE, PREDICT))


def test_bodies_pass_with_another_model() -> None:
    """Where the target takes the caller's shape, his own fields go on; each request names the new model."""
    request = asked(BATCH, requests=[{"model": "models/m", "content": content("a"), "odd": 1}], model="m")
    http = write_request(request, TARGET)
    assert http.url == "https://x.invalid/v1beta/models/gemini-embedding-001:batchEmbedContents"
    assert json.loads(http.body) == {
        "requests": [{"model": "models/gemini-embedding-001", "content": content("a"), "odd": 1}]
    }
    assert (request.task, request.model, http.headers["x-goog-api-key"]) == (Task.EMBEDDING, "m", "k")
    http = write_request(asked(ONE, content=content("a"), outputDimensionality=3), TARGET)
    assert http.url.endswith(":embedContent")
    assert json.loads(http.body) == {"content": content("a"), "outputDimensionality": 3}
    body = {"instances": [{"content": "a"}], "parameters": {"autoTruncate": False}}
    http = write_request(asked(PREDICT, **body), VERTEX)
    assert (
        http.url == "https://v.invalid/v1/projects/p/locations/l/publishers/google/models/gemini-embedding-001:predict"
    )
    assert json.loads(http.body) == body
    with pytest.raises(ValueError, match="'requests'"):
        write_request(asked(BATCH, requests={"a": 1}), TARGET)


def test_shapes_are_translated() -> None:
    """Where the target takes another shape, the same is asked in that, and answered in the caller's."""
    settings = {"taskType": "RETRIEVAL_DOCUMENT", "title": "t", "outputDimensionality": 2}
    batch = asked(BATCH, requests=[{"content": content(text), **settings} for text in "ab"])
    instances = {"instances": [{"content": text, "task_type": "RETRIEVAL_DOCUMENT", "title": "t"} for text in "ab"],
                 "parameters": {"outputDimensionality": 2}}  # fmt: skip
    assert json.loads(write_request(batch, VERTEX).body) == instances
    predict = asked(PREDICT, **instances)
    written = json.loads(write_request(predict, TARGET).body)
    name = {"model": "models/gemini-embedding-001"}
    assert written == {"requests": [{**name, "content": content(text), **settings} for text in "ab"]}
    newer = json.loads(write_request(predict, replace(VERTEX, model="gemini-embedding-2")).body)["requests"]
    assert newer[0] == {
        "model": "models/gemini-embedding-2", "content": content("a"), "embedContentConfig": settings,
    }  # fmt: skip
    one = asked(ONE, content=content("a"), embedContentConfig={"taskType": "FACT_VERIFICATION"})
    assert one.work == Texts(texts=("a",), extras={"taskType": "FACT_VERIFICATION"})
    answer = json.dumps({"predictions": [{"embeddings": {"values": [1, 2], "statistics": {"token_count": 3}}}],
                         "metadata": {"billableCharacterCount": 4}}).encode()  # fmt: skip
    delta = good(told(decoder(batch, VERTEX), answer))
    assert delta.usage == Usage(input_tokens=3, characters=4)
    assert json.loads(writer(batch).whole([delta], OUTCOME)) == {
        "embeddings": [{"values": [1, 2]}], "usageMetadata": {"promptTokenCount": 3},
    }  # fmt: skip
    assert json.loads(writer(one).whole([delta], OUTCOME))["embedding"] == {"values": [1, 2]}
    assert json.loads(writer(asked(PREDICT, instances=[{"content": "a"}])).whole([delta], OUTCOME)) == {
        "predictions": [{"embeddings": {"values": [1, 2], "statistics": {"token_count": 3, "truncated": False}}}]
    }


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"requests": [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}]}, "not one text"),
        ({"requests": [{"content": {"parts": [{"inlineData": {}}]}}]}, "not one text"),
        ({"requests": [{"content": content("a")}, {"content": content("b"), "title": "t"}]}, "must agree"),
        ({"requests": [5]}, "array of objects"),
        ({"requests": [{"content": {"parts": 5}}]}, "not one text"),
    ],
)
def test_texts_that_only_this_format_can_hold(fields: Any, words: str) -> None:
    """What is no list of texts is for this format's targets alone."""
    with pytest.raises(ValueError, match=words):
        _ = asked(BATCH, **fields).work


@pytest.mark.parametrize("purpose", ["query", "document", "classification", "clustering", "similarity", ""])
def test_texts_from_elsewhere(purpose: str) -> None:
    """Texts from another format are asked with their purpose and size."""
    work = Texts(texts=("a",), purpose=purpose, dimensions=5, base64=True, hints={"user": "u"})
    http = write_request(wish(work), TARGET)
    assert http.unsaid == ("user",)
    again = read_request(http.url.partition(".invalid")[2], http.body)
    assert isinstance(again, Request)
    assert again.work == replace(work, base64=False, hints={})


def test_texts_that_cannot_be_said() -> None:
    """Another model's tokens and another format's fields make a target ineligible."""
    with pytest.raises(ValueError, match="no tokens"):
        write_request(wish(Texts(tokens=((1, 2),))), TARGET)
    with pytest.raises(ValueError, match="has no odd"):
        write_request(wish(Texts(texts=("a",), extras={"odd": 1})), TARGET)


def test_openais_callers_get_their_vectors() -> None:
    """A caller of OpenAI's format is answered in it."""
    body = json.dumps({"model": "m", "input": ["a"]}).encode()
    request = openai_embeddings.read_request("/v1/embeddings", body)
    assert isinstance(request, Request)
    assert json.loads(write_request(request, TARGET).body)["requests"][0]["content"] == content("a")
    delta = good(told(decoder(request, TARGET), b'{"embeddings": [{"values": [0.5]}]}'))
    answer = json.loads(openai_embeddings.writer(request).whole([delta], OUTCOME))
    assert answer["data"][0]["embedding"] == [0.5]


@pytest.mark.parametrize(
    ("path", "body"),
    [(BATCH, b"{}"), (BATCH, b'{"requests": []}'), (BATCH, b"["), (ONE, b'{"content": null}'), ("/v1/models/m", b"{}"),
     (PREDICT, b'{"instances": 5}'), ("/v1/models/m:predictLongRunning", b'{"instances": [{}]}')],
)  # fmt: skip
def test_bad_bodies_are_the_callers_fault(path: str, body: bytes) -> None:
    """A body that asks nothing is refused."""
    failure = read_request(path, body)
    assert isinstance(failure, Failure) and failure.kind is FailureKind.REQUEST


def test_a_body_that_turns_out_not_to_be_json() -> None:
    """What is no JSON further inside is said when it is read."""
    request = read_request(BATCH, b'{"requests": [{"content": "\xff"}]}')
    assert isinstance(request, Request)
    with pytest.raises(ValueError, match="not valid JSON"):
        _ = request.work


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.MALFORMED),
        (b"<html>", FailureKind.MALFORMED),
        (b"{}", FailureKind.MALFORMED),
        (b'{"embeddings": 5}', FailureKind.MALFORMED),
        (b'{"embeddings": [{"values": ["a"]}]}', FailureKind.MALFORMED),
        (b'{"error": {"code": 503, "status": "UNAVAILABLE", "message": "busy"}}', FailureKind.OVERLOADED),
    ],
)
def test_answers_without_vectors(body: bytes, kind: FailureKind) -> None:
    """Errors and nonsense in place of vectors are failures."""
    assert failure_of(told(decoder(wish(Texts(texts=("a",))), TARGET), body)).kind is kind


# ------------------------------------------------------------------------ pictures

IMAGEN = replace(VERTEX, model="imagen-4.0-generate-001")
DRAWER = replace(TARGET, model="gemini-3-pro-image")
CAT = Picture(prompt="A cat")


@pytest.mark.filterwarnings("ignore:The generate_images method is deprecated")
def test_imagen_is_asked_as_googles_client_asks() -> None:
    """The request for a picture is the one that Google's client sends."""
    replay = Replay()
    replay.body = b"{}"
    target = replace(
        IMAGEN, base_url="http://127.0.0.1:9/v1beta1", options={"project": "p", "location": "europe-west4"}
    )
    config = types.GenerateImagesConfig(
        number_of_images=2, aspect_ratio="16:9", seed=3, negative_prompt="dogs", output_mime_type="image/jpeg",
        image_size="2K",
    )  # fmt: skip
    with client(replay, **on_vertex()) as sdk:
        sdk.models.generate_images(model=target.model, prompt="A cat", config=config)
    work = replace(CAT, count=2, size="2048x1152", seed=3, negative_prompt="dogs", media_type="image/jpeg")
    http = write_request(wish(work), target)
    assert http.url == str(replay.seen[0].url)
    assert json.loads(http.body) == json.loads(replay.seen[0].content)


def test_gemini_draws() -> None:
    """A Gemini model is asked for a picture in a conversation, with the pictures to start from before the words."""
    source = Media(kind="image", data="eA==", media_type="image/png")
    http = write_request(wish(replace(CAT, size="4096x4096", sources=(source,), seed=1)), DRAWER)
    assert http.url == "https://x.invalid/v1beta/models/gemini-3-pro-image:generateContent"
    assert json.loads(http.body) == {
        "contents": [{"role": "user", "parts": [
            {"inlineData": {"mimeType": "image/png", "data": "eA=="}}, {"text": "A cat"},
        ]}],
        "generationConfig": {"responseModalities": ["TEXT", "IMAGE"], "seed": 1,
                             "imageConfig": {"aspectRatio": "1:1", "imageSize": "4K"}},
    }  # fmt: skip
    assert "imageConfig" not in json.loads(write_request(wish(CAT), DRAWER).body)["generationConfig"]


@pytest.mark.parametrize(
    ("fields", "name", "target"),
    [
        ({"as_url": True}, "response_format", DRAWER),
        ({"quality": "hd"}, "quality", IMAGEN),
        ({"extras": {"style": "vivid"}}, "style", DRAWER),
        ({"count": 2}, "n", DRAWER),
        ({"negative_prompt": "x"}, "negative_prompt", DRAWER),
        ({"media_type": "image/webp"}, "output_format", DRAWER),
        ({"size": "1000x333"}, "size", DRAWER),
        ({"size": "1536x1024"}, "size", IMAGEN),
        ({"size": "big"}, "size", IMAGEN),
    ],
)
def test_pictures_that_cannot_be_said(fields: Any, name: str, target: Target) -> None:
    """What Google's models have no word for makes them ineligible, unless it may be dropped."""
    request = wish(replace(CAT, **fields))
    with pytest.raises(ValueError, match=f"has no {name}"):
        write_request(request, target)
    assert write_request(request, replace(target, may_drop=frozenset("*"))).unsaid == (name,)


def test_imagen_starts_from_words() -> None:
    """Imagen is not asked to change a picture."""
    with pytest.raises(ValueError, match="from words alone"):
        write_request(wish(replace(CAT, sources=(Media(kind="image", data="eA=="),))), IMAGEN)


def test_pictures_are_read() -> None:
    """The pictures of either kind of answer are taken out of it, and counted."""
    data = base64.b64encode(PNG).decode()
    imagen = {"predictions": [{"bytesBase64Encoded": data, "mimeType": "image/png"}, {"raiFilteredReason": "x"},
                              {"gcsUri": "gs://a", "mimeType": "image/jpeg"}, 5]}  # fmt: skip
    delta = good(told(decoder(wish(CAT), IMAGEN), json.dumps(imagen).encode()))
    png = Output(kind="image", data=PNG, media_type="image/png")
    assert delta.outputs == (png, Output(kind="image", url="gs://a", media_type="image/jpeg"))
    assert (delta.media, delta.usage) == (2, Usage(images=2))
    drawn = {"candidates": [{"content": {"parts": [
        {"text": "Here."}, {"inlineData": {"data": data}, "thought": True}, {"inlineData": {"data": data}}, 7,
    ]}, "finishReason": "STOP"}, 5], "usageMetadata": {"promptTokenCount": 3}, "modelVersion": "g"}  # fmt: skip
    delta = good(told(decoder(wish(CAT), DRAWER), json.dumps(drawn).encode()))
    assert (delta.outputs, delta.usage, delta.model) == ((png,), Usage(input_tokens=3, images=1), "g")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({}, FailureKind.EMPTY),
        ([], FailureKind.MALFORMED),
        ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "x"}}, FailureKind.RATE_LIMIT),
        ({"predictions": [{"raiFilteredReason": "a person"}]}, FailureKind.CONTENT_POLICY),
        ({"predictions": [{"bytesBase64Encoded": "?"}]}, FailureKind.MALFORMED),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, FailureKind.CONTENT_POLICY),
        ({"candidates": [{"finishReason": "IMAGE_SAFETY"}]}, FailureKind.CONTENT_POLICY),
        ({"candidates": [{"finishReason": "NO_IMAGE"}]}, FailureKind.MODEL_FAULT),
        ({"candidates": [{"content": {"parts": [{"text": "I cannot."}]}, "finishReason": "STOP"}]}, FailureKind.EMPTY),
    ],
)
def test_answers_without_pictures(body: Any, kind: FailureKind) -> None:
    """An answer without a picture says why, as far as Google does."""
    assert failure_of(told(decoder(wish(CAT), DRAWER), json.dumps(body).encode())).kind is kind
    assert failure_of(told(decoder(wish(CAT), DRAWER), b"<html>")).kind is FailureKind.MALFORMED


# --------------------------------------------------------------------------- films

VEO = replace(TARGET, model="veo-3.1")
VEO_VERTEX = replace(VERTEX, model="veo-3.1")
WAVE = Film(prompt="A wave", seconds=8)
NAME = "models/veo-3.1/operations/1"


def job(target: Target = VEO, name: str = NAME) -> Next:
    """A film under way."""
    return next_of(told(decoder(wish(WAVE), target), json.dumps({"name": name}).encode()))


def done(value: Any, target: Target = VEO, **fields: Any) -> list[Delta] | Failure | Next:
    """What a job says in the end."""
    body = {"name": NAME, "done": True, **fields, **({"response": value} if value is not None else {})}
    return told(job(target).decoder, json.dumps(body).encode())


def test_films_are_asked_as_googles_client_asks() -> None:
    """The request for a film is the one that Google's client sends."""
    replay = Replay()
    replay.body = b'{"name": "x"}'
    target = replace(VEO_VERTEX, base_url="http://127.0.0.1:9/v1beta1",
                     options={"project": "p", "location": "europe-west4"})  # fmt: skip
    config = types.GenerateVideosConfig(duration_seconds=8, aspect_ratio="9:16", resolution="1080p", seed=2,
                                        negative_prompt="rain")  # fmt: skip
    first = types.Image(image_bytes=PNG, mime_type="image/png")
    with client(replay, **on_vertex()) as sdk:
        source = types.GenerateVideosSource(prompt="A wave", image=first)
        sdk.models.generate_videos(model="veo-3.1", source=source, config=config)
    start = Media(kind="image", data=base64.b64encode(PNG).decode(), media_type="image/png")
    http = write_request(wish(replace(WAVE, size="1080x1920", seed=2, negative_prompt="rain", start=start)), target)
    assert http.url == str(replay.seen[0].url)
    assert json.loads(http.body) == json.loads(replay.seen[0].content)


def test_first_pictures() -> None:
    """A film begins with bytes, or with what lies in Google's own storage."""
    stored = Media(kind="image", url="gs://a/b.png")
    (instance,) = json.loads(write_request(wish(replace(WAVE, seconds=2.5, start=stored)), VEO).body)["instances"]
    assert instance["image"] == {"gcsUri": "gs://a/b.png", "mimeType": "image/png"}
    with pytest.raises(ValueError, match="fetches none"):
        write_request(wish(replace(WAVE, start=Media(kind="image", url="https://a.example/b.png"))), VEO)
    for fields in ({"size": "640x480"}, {"extras": {"fps": 1}}):
        with pytest.raises(ValueError, match=r"has no (size|fps)"):
            write_request(wish(replace(WAVE, **fields)), VEO)
    bare = json.loads(write_request(wish(Film(prompt="x", size="1920x1080")), VEO).body)
    assert bare["parameters"] == {"aspectRatio": "16:9", "resolution": "1080p"}
    assert "parameters" not in json.loads(write_request(wish(Film(prompt="x")), VEO).body)


def test_a_job_is_asked_about() -> None:
    """A job is asked about at its own address, or at Vertex AI by its name, until it is done."""
    step = job()
    assert (step.request.method, step.request.url) == ("GET", f"https://x.invalid/v1beta/{NAME}")
    assert (step.request.headers["x-goog-api-key"], step.after_s, step.deltas[0].progress) == ("k", 10, 0)
    again = next_of(told(step.decoder, b'{"done": false, "metadata": {"progressPercent": 40}}'))
    assert (again.request, again.deltas[0].progress) == (step.request, 0.4)
    there = job(VEO_VERTEX, "projects/p/operations/1").request
    assert there.url.endswith("/publishers/google/models/veo-3.1:fetchPredictOperation")
    assert json.loads(there.body) == {"operationName": "projects/p/operations/1"}
    assert failure_of(told(decoder(wish(WAVE), VEO), b"{}")).kind is FailureKind.MALFORMED
    assert failure_of(told(decoder(wish(WAVE), VEO), b"[]")).kind is FailureKind.MALFORMED
    assert failure_of(told(decoder(wish(WAVE), VEO), b"<")).kind is FailureKind.MALFORMED


def test_films_are_fetched() -> None:
    """Films are fetched from their addresses one after the other, with the key from the target's own host alone."""
    uris = ["https://x.invalid/v1beta/files/1:download?alt=media", "https://elsewhere.example/2"]
    samples = [{"video": {"uri": uri}} for uri in uris]
    first = next_of(done({"generateVideoResponse": {"generatedSamples": samples}}))
    assert (first.request.url, first.request.headers["x-goog-api-key"], first.after_s) == (uris[0], "k", 0)
    second = next_of(told(first.decoder, MP4[:9], MP4[9:], headers={"content-type": "video/mp4"}))
    assert second.request.url == uris[1]
    assert "x-goog-api-key" not in second.request.headers
    delta = good(told(second.decoder, WEBM))
    assert delta.outputs == (
        Output(kind="video", data=MP4, media_type="video/mp4"),
        Output(kind="video", data=WEBM, media_type="video/webm"),
    )
    assert (delta.media, delta.usage, delta.progress) == (2, Usage(seconds=16), 1)


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error": {"code": 404, "status": "NOT_FOUND"}}'])
def test_films_that_are_not_there(body: bytes) -> None:
    """What lies at the address and is no film is a failure, and is not asked for again."""
    first = next_of(done({"videos": [{"uri": "https://x.invalid/1"}]}))
    assert not failure_of(told(first.decoder, body)).again


def test_films_at_addresses_of_this_house() -> None:
    """A provider cannot send us to an address inside the operator's network."""
    for uri in ("http://169.254.169.254/latest", "https://10.0.0.1/x.mp4", "ftp://x.invalid/1"):
        assert failure_of(done({"videos": [{"uri": uri}]})).kind is FailureKind.MALFORMED


def test_films_in_the_answer() -> None:
    """Vertex AI gives bytes, or where it put them."""
    data = base64.b64encode(MP4).decode()
    videos = [
        {"bytesBase64Encoded": data, "mimeType": "video/mp4"},
        {"gcsUri": "gs://a/b.mp4"},
        {"encodedVideo": data},
        5,
    ]
    delta = good(done({"videos": videos}, VEO_VERTEX))
    film = Output(kind="video", data=MP4, media_type="video/mp4")
    assert delta.outputs == (film, Output(kind="video", url="gs://a/b.mp4", media_type="video/mp4"), film)
    plain = decoder(wish(Film(prompt="x")), VEO)
    made = {"name": "n", "done": True, "response": {"videos": [{"gcsUri": "gs://a"}]}}
    assert good(told(plain, json.dumps(made).encode())).usage is None
    page = base64.b64encode(b"<html>").decode()
    assert failure_of(done({"videos": [{"encodedVideo": page}]})).kind is FailureKind.MALFORMED


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 3, "message": "The prompt violates our usage guidelines."}, FailureKind.CONTENT_POLICY),
        ({"code": 3, "message": "Unsupported duration."}, FailureKind.REQUEST),
        ({"code": 8, "message": "Resource exhausted"}, FailureKind.MODEL_FAULT),
        ({"code": 13, "message": "Internal error."}, FailureKind.MODEL_FAULT),
        ({"message": "?"}, FailureKind.MODEL_FAULT),
        ({"code": [3], "message": "?"}, FailureKind.MODEL_FAULT),
        (5, FailureKind.MODEL_FAULT),
    ],
)
def test_jobs_that_fail(error: Any, kind: FailureKind) -> None:
    """A job's failure is final: nobody asks about it again, whatever it was."""
    assert failure_of(done(None, error=error)).kind is kind


def test_jobs_that_make_nothing() -> None:
    """A film that was held back is a refusal, and none at all an empty answer."""
    held = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["a celebrity"]}
    failure = failure_of(done({"generateVideoResponse": held}))
    assert (failure.kind, failure.message) == (FailureKind.CONTENT_POLICY, "a celebrity")
    assert failure_of(done({})).kind is FailureKind.EMPTY
    assert failure_of(done(None)).kind is FailureKind.EMPTY


# ------------------------------------------------------------------------- anybody

WORKS = (Texts(texts=("a",)), CAT, WAVE)
MEDIA_JSON = st.recursive(
    JSON,
    lambda inner: st.dictionaries(
        st.sampled_from([
            "embeddings", "embedding", "values", "statistics", "token_count", "predictions", "bytesBase64Encoded",
            "raiFilteredReason", "candidates", "content", "parts", "inlineData", "data", "name", "done", "response",
            "generateVideoResponse", "generatedSamples", "videos", "video", "uri", "raiMediaFilteredReasons", "error",
            "metadata", "billableCharacterCount", "progressPercent", "usageMetadata", "promptFeedback",
        ]),
        inner,
        max_size=4,
    )
    | st.lists(inner, max_size=2),
    max_leaves=10,
)  # fmt: skip


@given(MEDIA_JSON | st.binary(max_size=30), st.sampled_from(WORKS), st.sampled_from([200, 302]))
def test_nothing_from_a_provider_raises(value: Any, work: Texts | Picture | Film, status: int) -> None:
    """Whatever comes gives deltas, a failure, or the next question."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    found = told(decoder(wish(work), VEO), body, status=status)
    if isinstance(found, Next):
        told(found.decoder, body, status=status)


@given(st.sampled_from([BATCH, ONE, PREDICT]), JSON, JSON)
def test_nothing_from_a_caller_raises(path: str, asked_for: Any, settings: Any) -> None:
    """Whatever a caller sends is a request or a failure, and its texts are some or a named fault."""
    body = {"requests": asked_for, "content": asked_for, "instances": asked_for, "embedContentConfig": settings,
            "parameters": settings}  # fmt: skip
    name = {BATCH: "requests", ONE: "content", PREDICT: "instances"}[path]
    kept = {key: value for key, value in body.items() if key in (name, "embedContentConfig", "parameters")}
    request = read_request(path, json.dumps(kept).encode())
    if isinstance(request, Request):
        for target in (TARGET, VERTEX):
            try:
                write_request(request, target)
            except ValueError as error:
                assert str(error)
