"""Hugging Face's task endpoints: each provider behind the router, with Hugging Face's own client as the judge."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import InferenceClient
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import PROVIDERS, get_provider_helper
from huggingface_hub.inference._providers import _common as hub
from hypothesis import given
from hypothesis import strategies as st

from loops import in_loop
from unbroken.failures import Failure, FailureKind
from unbroken.testing import FakeProvider, Status
from unbroken.testing.samples import PIXEL
from unbroken.types import Delta, HttpReply, Output, Request, Target, Task, Usage
from unbroken.wire import Next, format_for
from unbroken.wire.huggingface import FORMAT, decoder, read_request, way_of, write_failure, write_request, writer
from unbroken.wire.huggingface_ways import WAYS
from unbroken.work import Film, Media, Picture, Texts, Work
from wire.reading import MP4, OUTCOME, PNG, deltas_of, failure_of, next_of, outputs_of, pieces_of, told
from wire.recorded import OURS, Recording, _read, everything

ROUTER = "https://router.huggingface.co"
TASKS = {Task.IMAGE: "text-to-image", Task.VIDEO: "text-to-video", Task.EMBEDDING: "feature-extraction"}
PACKED = base64.b64encode(PNG).decode()
HERE, THERE = "owner/name", "their/own-name"


def target(provider: str, **options: str) -> Target:
    named = {} if "hf_model" in options else {"hf_model": THERE}
    return Target(
        name="t", provider="huggingface", model=f"{HERE}:{provider}", format="huggingface", base_url=f"{ROUTER}/v1",
        key="hf_x", options={**named, **options},
    )  # fmt: skip


def wish(work: Work) -> Request:
    task = {Picture: Task.IMAGE, Film: Task.VIDEO, Texts: Task.EMBEDDING}[type(work)]
    return Request(model="m", task=task, read=lambda: work)


WORKS: dict[Task, tuple[Work, Any, dict[str, Any]]] = {
    Task.IMAGE: (
        Picture(prompt="A cat", size="64x32", seed=7, negative_prompt="dogs"),
        "A cat",
        {"width": 64, "height": 32, "seed": 7, "negative_prompt": "dogs"},
    ),
    Task.VIDEO: (Film(prompt="Waves", seed=7, negative_prompt="boats"), "Waves",
                 {"seed": 7, "negative_prompt": "boats"}),
    Task.EMBEDDING: (Texts(texts=("a", "b"), dimensions=4), ["a", "b"], {"dimensions": 4}),
}  # fmt: skip
"""A wish of each kind, and how the client is told the same."""


def mapping(provider: str, task: str, *, name: str) -> InferenceProviderMapping:
    """What the hub would say of the model at this provider."""
    told_by_hub: Any = InferenceProviderMapping
    found = told_by_hub(provider=provider, hf_model_id=HERE, providerId=name, status="live", task=task)
    assert isinstance(found, InferenceProviderMapping)
    return found


@pytest.fixture
def mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client believes that every provider has the model under a name of its own; it would ask the hub."""
    for provider, task in WAYS:
        told_by_hub = mapping(provider, TASKS[task], name=THERE)
        names = hub.HARDCODED_MODEL_INFERENCE_MAPPING.setdefault(provider, {})
        monkeypatch.setitem(names, f"{HERE}/{task}", told_by_hub)


@pytest.mark.usefixtures("mapped")
@pytest.mark.parametrize(("provider", "task"), [row for row in WAYS if row[0] != "hf-inference"])
def test_we_ask_as_the_client_does(provider: str, task: Task) -> None:
    """For each row of the table: address, body and headers are those that Hugging Face's client would send."""
    work, inputs, parameters = WORKS[task]
    if (provider, task) == ("zai-org", Task.IMAGE):
        work, parameters = Picture(prompt="A cat", size="64x32"), {"width": 64, "height": 32}
    theirs = get_provider_helper(provider, TASKS[task], f"{HERE}/{task}").prepare_request(  # type: ignore[arg-type]
        inputs=inputs, parameters=dict(parameters), headers={}, model=f"{HERE}/{task}", api_key="hf_x"
    )
    ours = write_request(wish(work), target(provider))
    assert ours.url == theirs.url
    assert json.loads(ours.body) == theirs.json
    for name in ("prefer", "x-source-channel", "authorization"):
        assert ours.headers.get(name) == theirs.headers.get(name)


@pytest.mark.parametrize("task", [Task.IMAGE, Task.EMBEDDING])
def test_we_ask_hf_inference_as_the_client_does(task: Task) -> None:
    """The same for Hugging Face's own provider, which calls models as the hub does."""
    client = PROVIDERS["hf-inference"][TASKS[task]]
    work, inputs, parameters = WORKS[task]
    body = client._prepare_payload_as_dict(inputs, parameters, mapping("hf-inference", TASKS[task], name=HERE))
    ours = write_request(wish(work), target("hf-inference", hf_model=""))
    assert ours.url == client._prepare_url("hf_x", HERE)
    assert json.loads(ours.body) == body


def test_every_provider_of_the_client_is_known() -> None:
    """What the client can do of our kinds of work, the table can."""
    theirs = {(p, task) for p, does in PROVIDERS.items() for task, name in TASKS.items() if name in does}
    assert theirs == set(WAYS)


# ------------------------------------------------------------------- who does the work


def test_families_send_chat_to_the_router() -> None:
    """Chat is OpenAI's format; pictures, films and vectors are this one."""
    assert format_for("huggingface", Task.CHAT).name == "openai_chat"
    for task in TASKS:
        assert format_for("huggingface", task) is FORMAT


def test_the_provider_is_named_with_the_model_or_the_target() -> None:
    """A suffix, an option, or hf-inference where nobody is named."""
    plain = replace(target("x"), model=HERE, options={})
    assert way_of(plain, Task.IMAGE)[1:] == ("hf-inference", HERE)
    assert way_of(replace(plain, model=f"{HERE}:nscale"), Task.IMAGE)[1:] == ("nscale", HERE)
    assert way_of(replace(plain, options={"hf_provider": "fal-ai", "hf_model": THERE}), Task.IMAGE)[1:] == (
        "fal-ai", THERE
    )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        (f"{HERE}:fastest", Task.IMAGE, "for chat only; name a provider: fal-ai, hf-inference, nscale"),
        (f"{HERE}:cheapest", Task.VIDEO, "for chat only"),
        (f"{HERE}:groq", Task.IMAGE, "groq does no image work"),
        (HERE, Task.VIDEO, "hf-inference does no video work"),
        (HERE, Task.SPEECH, "there is nobody"),
        (f"{HERE}:fal-ai", Task.IMAGE, "options.hf_model"),
    ],
)
def test_what_cannot_be_routed_is_said(model: str, task: Task, words: str) -> None:
    """Policies are for chat; a provider that does not do it, or calls the model otherwise, is told in words."""
    with pytest.raises(ValueError, match=words):
        way_of(replace(target("x"), model=model, options={}), task)


@pytest.mark.parametrize(
    ("provider", "work", "name"),
    [
        ("hf-inference", Picture(prompt="A", count=2), "n"),
        ("wavespeed", Picture(prompt="A", quality="high"), "quality"),
        ("zai-org", Picture(prompt="A", seed=1), "seed"),
        ("fal-ai", Picture(prompt="A", size="large"), "size"),
        ("fal-ai", Picture(prompt="A", sources=(Media(kind="image", url="u"),)), "sources"),
        ("fal-ai", Film(prompt="A", seconds=4.0), "seconds"),
        ("novita", Film(prompt="A", size="8x8"), "size"),
        ("hf-inference", Texts(texts=("a",), purpose="query"), "purpose"),
        ("scaleway", Texts(tokens=((1,),)), "tokens"),
        ("together", Picture(prompt="A", extras={"steps": 4}), "steps"),
    ],
)
def test_what_cannot_be_said_makes_a_target_ineligible(provider: str, work: Work, name: str) -> None:
    """It is not asked, unless that may be dropped, and then it is reported."""
    with pytest.raises(ValueError, match=name):
        write_request(wish(work), target(provider))
    dropped = replace(target(provider), may_drop=frozenset((name,)))
    assert name in write_request(wish(work), dropped).unsaid


def test_several_pictures_have_many_names() -> None:
    """Who draws several at once is told so in its own word; hints are left out and reported."""
    for provider, name in (("fal-ai", "num_images"), ("together", "n"), ("nscale", "n"), ("replicate", "num_outputs")):
        sent = write_request(wish(Picture(prompt="A", count=3, hints={"user": "u"})), target(provider))
        body = json.loads(sent.body)
        assert body.get("input", body)[name] == 3
        assert sent.unsaid == ("user",)


def test_replicate_calls_fixed_versions() -> None:
    """A model with a version is asked at another address, and the version stands in the body."""
    sent = write_request(wish(Picture(prompt="A")), target("replicate", hf_model="a/b:123"))
    assert sent.url == f"{ROUTER}/replicate/v1/predictions"
    assert json.loads(sent.body) == {"input": {"prompt": "A"}, "version": "123"}


# ----------------------------------------------------------------------------- answers

PICTURE, FILM = wish(Picture(prompt="A")), wish(Film(prompt="A", seconds=4.0))
CDN = "https://cdn.example/1"


def chain(request: Request, provider: str, *bodies: Any) -> list[Any]:
    """What is asked after each of these answers, and what the last one gives."""
    reader: Any = decoder(request, target(provider))
    found: list[Any] = []
    for body in bodies:
        found.append(told(reader, body if isinstance(body, bytes) else json.dumps(body).encode(), status=200))
        reader = getattr(found[-1], "decoder", None)
    return found


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("fal-ai", {"images": [{"url": CDN}], "seed": 1}),
        ("replicate", {"id": "j", "status": "succeeded", "output": [CDN]}),
        ("replicate", {"id": "j", "status": "succeeded", "output": CDN}),
        ("zai-org", {"id": "j", "task_status": "SUCCESS", "image_result": [{"url": CDN}]}),
        ("together", {"data": [{"url": CDN}]}),
    ],
)
def test_pictures_that_lie_elsewhere_are_fetched(provider: str, body: Any) -> None:
    """An address is asked at once, and without the key."""
    step, found = chain(PICTURE, provider, body, PNG)
    assert (step.request.url, step.after_s, "authorization" in step.request.headers) == (CDN, 0.0, False)
    delta = deltas_of(found)[0]
    assert (delta.outputs[0].data, delta.usage) == (PNG, Usage(images=1))
    if provider != "together":
        as_url = chain(wish(Picture(prompt="A", as_url=True)), provider, body)[0]
        assert outputs_of(as_url)[0].url == CDN


def test_pictures_that_come_at_once() -> None:
    """As bytes, which say what they are, or in base64."""
    reader = decoder(PICTURE, target("hf-inference"))
    deltas = deltas_of(told(reader, *pieces_of(PNG, 4), headers={"content-type": "image/png", "x-compute-time": "1.5"}))
    assert (deltas[0].outputs[0].media_type, deltas[0].usage) == ("image/png", Usage(images=1, seconds=1.5))
    for provider in ("together", "nscale"):
        (found,) = chain(PICTURE, provider, {"data": [{"b64_json": PACKED}, {"b64_json": PACKED}]})
        assert [output.data for output in outputs_of(found)] == [PNG, PNG]
        assert deltas_of(found)[0].usage == Usage(images=2)


def test_the_queue_of_fal() -> None:
    """Accepted, asked about on the router, then its result, then the film."""
    queued, working, done, result, film = chain(
        FILM,
        "fal-ai",
        {"status": "IN_QUEUE", "request_id": "r", "response_url": "https://queue.fal.run/fal-ai/m/requests/r"},
        {"status": "IN_PROGRESS"},
        {"status": "COMPLETED"},
        {"video": {"url": CDN}},
        MP4,
    )
    about = f"{ROUTER}/fal-ai/fal-ai/m/requests/r/status?_subdomain=queue"
    assert queued.request.url == working.request.url == about
    assert queued.request.headers["authorization"] == "Bearer hf_x"
    assert done.request.url == f"{ROUTER}/fal-ai/fal-ai/m/requests/r?_subdomain=queue"
    assert (result.request.url, queued.deltas) == (CDN, (Delta(progress=0.0),))
    assert deltas_of(film)[0].usage == Usage(seconds=4.0)


@pytest.mark.parametrize(
    ("provider", "made", "about", "done"),
    [
        ("replicate", {"id": "j", "status": "starting"}, "/replicate/v1/predictions/j",
         {"id": "j", "status": "succeeded", "output": CDN}),
        ("wavespeed", {"data": {"status": "created", "urls": {"get": "https://api.wavespeed.ai/api/v3/p/j/result"}}},
         "/wavespeed/api/v3/p/j/result", {"data": {"status": "completed", "outputs": [CDN]}}),
        ("together", {"id": "j", "status": "queued"}, "/together/v2/videos/j",
         {"id": "j", "status": "completed", "outputs": {"video_url": CDN}}),
    ],
)  # fmt: skip
def test_jobs_behind_the_router(provider: str, made: Any, about: str, done: Any) -> None:
    """Each is asked about on the router, where the key is good, until its film can be fetched."""
    first, second, third, film = chain(FILM, provider, made, made, done, MP4)
    assert first.request.url == second.request.url == ROUTER + about
    assert third.request.url == CDN
    assert outputs_of(film)[0].media_type == "video/mp4"


def test_novita_and_zai() -> None:
    """Novita answers at once; Z.ai's pictures are jobs."""
    step, film = chain(FILM, "novita", {"video": {"video_url": CDN}}, MP4)
    assert step.request.url == CDN
    assert outputs_of(film)
    step, done, picture = chain(
        PICTURE, "zai-org", {"id": "j", "task_status": "PROCESSING"},
        {"task_status": "SUCCESS", "image_result": [{"url": CDN}]}, PNG,
    )  # fmt: skip
    assert (step.request.url, step.after_s) == (f"{ROUTER}/zai-org/api/paas/v4/async-result/j", 5.0)
    assert done.request.url == CDN
    assert outputs_of(picture)


@pytest.mark.parametrize(
    ("request_", "provider", "body", "kind"),
    [
        (FILM, "replicate", {"id": "j", "status": "failed", "error": "CUDA out of memory"}, None),
        (FILM, "replicate", {"id": "j", "status": "canceled"}, FailureKind.SERVER),
        (FILM, "wavespeed", {"data": {"status": "failed", "error": ""}}, FailureKind.SERVER),
        (PICTURE, "zai-org", {"id": "j", "task_status": "FAIL"}, FailureKind.SERVER),
        (FILM, "fal-ai", {"detail": [{"type": "content_policy_violation", "msg": "no"}]}, None),
        (FILM, "together", {"id": "j", "status": "failed", "error": {"message": "m"}}, None),
    ],
)
def test_jobs_fail(request_: Request, provider: str, body: Any, kind: FailureKind | None) -> None:
    """A failed job is a failure, and not made again at the same target."""
    failure = failure_of(chain(request_, provider, body)[0])
    assert not failure.again
    assert kind is None or failure.kind is kind


@pytest.mark.parametrize("row", WAYS)
@pytest.mark.parametrize(
    "body",
    [
     b"", b"<html>", b"{}", b"[]", b"7", b'{"data": 7}', b'{"images": [{}]}', b'{"output": 7}',
     b'{"status": "IN_QUEUE"}',
     b'{"data": {"status": "created"}}', b'{"data": [{"b64_json": "?"}]}', b'{"data": [{"b64_json": "PGh0bWw+"}]}',
     b'{"error": {"message": "m"}}', b'{"video": {"video_url": ""}}'],
)  # fmt: skip
def test_answers_that_are_none(row: tuple[str, Task], body: bytes) -> None:
    """Pages, other JSON and broken base64 are failures at every provider."""
    work = WORKS[row[1]][0]
    found = told(decoder(wish(work), target(row[0])), body)
    assert isinstance(found, Failure)


def test_vectors_are_read() -> None:
    """One for each text, bare or in OpenAI's shape; vectors of single tokens are not what was asked for."""
    texts = wish(Texts(texts=("a", "b")))
    for provider, body in (
        ("hf-inference", [[0.5, 1], [2, 3]]),
        ("together", {"data": [{"embedding": [0.5, 1]}, {"embedding": [2, 3]}], "usage": {"prompt_tokens": 4}}),
    ):
        (found,) = chain(texts, provider, body)
        assert [output.vector for output in outputs_of(found)] == [(0.5, 1.0), (2.0, 3.0)]
    (found,) = chain(texts, "hf-inference", [0.5, 1])
    assert [output.vector for output in outputs_of(found)] == [(0.5, 1.0)]
    (found,) = chain(texts, "hf-inference", [[[0.5], [1]]])
    assert "one for each text" in failure_of(found).message


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(["COMPLETED", "IN_QUEUE", CDN]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["data", "images", "url", "output", "status", "id", "urls", "get", "video", "error", "outputs",
                         "b64_json", "response_url", "task_status", "image_result", "video_url", "embedding"]),
        inner, max_size=3,
    ),
    max_leaves=8,
)  # fmt: skip


@given(
    st.sampled_from(sorted(WAYS)), st.binary(max_size=30) | JSON_VALUES.map(lambda value: json.dumps(value).encode())
)
def test_any_bytes_are_deltas_a_question_or_a_failure(row: tuple[str, Task], body: bytes) -> None:
    """No bytes raise, from either side."""
    found = told(decoder(wish(WORKS[row[1]][0]), target(row[0])), body)
    assert isinstance(found, list | Failure | Next)
    if isinstance(found, Next):
        assert isinstance(told(found.decoder, body), list | Failure | Next)
    for path in FORMAT.paths:
        assert isinstance(read_request(path.format(model="a/b"), body), Request | Failure)


# ---------------------------------------------------------------------- the server side

AT = "/hf-inference/models/owner/name"


def asked(path: str = AT, **fields: Any) -> Request:
    request = read_request(path, json.dumps(fields).encode())
    assert isinstance(request, Request), request
    return request


def test_wishes_are_read_as_hf_inference_takes_them() -> None:
    """The path names model and task; parameters that are not modelled are for hf-inference alone."""
    request = asked(inputs="A cat", parameters={"width": 8, "height": 4, "seed": 1, "negative_prompt": "b", "steps": 3})
    assert (request.model, request.task) == ("owner/name", Task.IMAGE)
    assert request.work == Picture(prompt="A cat", size="8x4", seed=1, negative_prompt="b", extras={"steps": 3})
    vectors = asked(f"{AT}/pipeline/feature-extraction", inputs=["a", "b"], dimensions=2)
    assert (vectors.model, vectors.work) == ("owner/name", Texts(texts=("a", "b"), dimensions=2))
    passed = write_request(request, target("hf-inference", hf_model=""))
    assert json.loads(passed.body)["parameters"]["steps"] == 3
    with pytest.raises(ValueError, match="steps"):
        write_request(request, target("together"))


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        (AT, b"{}", "inputs"), (AT, b'{"inputs": ["a"]}', "inputs"), (AT, b'{"inputs": " "}', "inputs"),
        (f"{AT}/pipeline/feature-extraction", b'{"inputs": []}', "inputs"), (AT, b"[]", None), ("/x", b"{}", None),
    ],
)  # fmt: skip
def test_bad_requests_name_the_field(path: str, body: bytes, param: str | None) -> None:
    """A caller learns which field is wrong."""
    assert failure_of(read_request(path, body)).param == param


def test_answers_are_bare() -> None:
    """A picture's bytes, vectors in an array, and errors as words."""
    out = writer(asked(inputs="A cat"))
    deltas = [Delta(media=1, outputs=(Output(kind="image", data=PNG, media_type="image/png"),))]
    assert (out.whole(deltas, OUTCOME), out.content_type) == (PNG, "image/png")
    vectors = [Delta(media=1, outputs=(Output(kind="embedding", vector=(1.0, 2.0)),))]
    path = f"{AT}/pipeline/feature-extraction"
    assert json.loads(writer(asked(path, inputs="a")).whole(vectors, OUTCOME)) == [1.0, 2.0]
    assert json.loads(writer(asked(path, inputs=["a"])).whole(vectors, OUTCOME)) == [[1.0, 2.0]]
    loading = Failure(kind=FailureKind.LOADING, message="Model is loading", retry_after_s=9.0)
    status, _, body = write_failure(loading, "r")
    assert (status, json.loads(body)) == (503, {"error": "Model is loading", "estimated_time": 9.0})
    assert FORMAT.classify(HttpReply(status=status, headers={}, body=body)).kind is FailureKind.LOADING


@in_loop
async def test_the_client_draws_and_embeds() -> None:
    """Hugging Face's client talks to a provider that serves our server side, and gets its own errors."""
    async with FakeProvider() as fake:
        url = f"http://127.0.0.1:{fake.port}{AT}"
        drawn = await ask(url, "text-to-image", {"inputs": "A cat", "parameters": {}})
        assert drawn == PIXEL
        vectors = json.loads(await ask(f"{url}/pipeline/feature-extraction", "feature-extraction", {"inputs": ["a"]}))
        assert len(vectors[0]) == 8
        fake.fail_with(Status(400))
        with pytest.raises(Exception, match="could not be understood"):
            await ask(url, "text-to-image", {"inputs": "A cat", "parameters": {}})


async def ask(url: str, task: str, body: Any) -> bytes:
    """One call by the client; what it makes of the bytes (arrays, images) would need packages of their own."""
    import asyncio

    from huggingface_hub.inference._common import RequestParameters

    def call() -> Any:
        client = InferenceClient(model=url, token="hf_x")
        asked_for = RequestParameters(
            url=url, task=task, model=None, json=body, data=None, headers={"authorization": "Bearer hf_x"}
        )
        return client._inner_post(asked_for)

    found = await asyncio.to_thread(call)
    assert isinstance(found, bytes)
    return found


# ----------------------------------------------------------------------------- recordings


def check(recording: Recording) -> None:
    body: bytes = recording["response_body"].encode()
    if recording["status"] >= 400:
        failure = FORMAT.classify(HttpReply(status=recording["status"], headers={}, body=body))
        assert failure.kind is FailureKind.REQUEST
        assert "field required" in failure.message
    elif "feature-extraction" in recording["url"]:
        (found,) = chain(wish(Texts(texts=("a",))), "hf-inference", body)
        assert list(outputs_of(found)[0].vector) == json.loads(body)
    elif recording["provider"] == "replicate":
        made = json.loads(body)
        step = next_of(told(decoder(PICTURE, target("replicate")), body, status=recording["status"]))
        assert step.request.url == f"{ROUTER}/replicate/v1/predictions/{made['id']}"


def test_our_recordings() -> None:
    """What hf-inference and Replicate really answered is read for what it is."""
    found = _read(OURS / "huggingface.jsonl.gz")
    assert len(found) == 4
    for recording in found:
        check(recording)


def test_all_recordings(shared: Path) -> None:
    """The same for the large set."""
    found = [*everything(shared, "other"), *_read(shared / "wire" / "replicate.jsonl.gz")]
    mine = [r for r in found if r["provider"] in ("huggingface", "replicate") and r["endpoint"] != "models"]
    assert len(mine) >= 4
    for recording in mine:
        check(recording)
