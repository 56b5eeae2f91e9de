"""Hugging Face's task endpoints, which stand behind its router: pictures, films and vectors.

Each provider there keeps its own words, and `huggingface_ways` has them.  Which one is asked is
said with the model (`owner/name:provider`) or with the target's options: `hf_provider`, and
`hf_model` for the model's name there where that is not the hub's.  Without either it is
`hf-inference`.  The policies (`:fastest`, `:cheapest`, `:preferred`) are the router's, and it
knows them for chat alone.  The server side speaks as `hf-inference` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import msgspec

from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Continuation,
    Delta,
    HttpRequest,
    Json,
    Output,
    Request,
    Source,
    Target,
    Task,
    Usage,
    Work,
)
from unbroken.wire import Decoder, Format, Next, Outcome, Unsaid, Writer, path_values
from unbroken.wire.asked import decoded, fault_of
from unbroken.wire.embeddings import vectors_of
from unbroken.wire.errors import classify, classify_event
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields
from unbroken.wire.http import JSON_TYPE, post
from unbroken.wire.huggingface_ways import WAYS, Way
from unbroken.wire.jobs import Standing, at, watch
from unbroken.wire.media import BytesWriter, Head, Headed, gathered, output_of
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.reading import malformed
from unbroken.wire.whole import WholeWriter
from unbroken.work import Film, Picture, Texts

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "way_of", "write_failure", "write_request", "writer"]

NAME = "huggingface"
DEFAULT = "hf-inference"
POLICIES = frozenset(("fastest", "cheapest", "preferred", "auto"))
_PASSED = f"{NAME}.request"
"""The format of a caller's fields: not this one's name, for only one provider here understands them."""
_KINDS: Mapping[Task, type[Picture | Film | Texts]] = {Task.IMAGE: Picture, Task.VIDEO: Film, Task.EMBEDDING: Texts}
_encode = msgspec.json.encode


def way_of(target: Target, task: Task) -> tuple[Way, str, str]:
    """How this target does this work, at which provider, and what the model is called there.

    ValueError where nobody is named who does it, with what can be named.
    """
    name, _, suffix = target.model.partition(":")
    provider = target.options.get("hf_provider") or suffix or DEFAULT
    doing = ", ".join(sorted(known for known, what in WAYS if what is task))
    if provider in POLICIES:
        raise ValueError(f"Hugging Face's router knows :{provider} for chat only; name a provider: {doing}")
    way = WAYS.get((provider, task))
    if way is None:
        raise ValueError(f"{provider} does no {task} work through Hugging Face; there is {doing or 'nobody'}")
    own = target.options.get("hf_model", "")
    if not own and not way.hub_names:
        raise ValueError(f"options.hf_model must say what {provider} calls {name}; its page on the hub tells")
    return way, provider, own or name


def _behind_router(target: Target, provider: str) -> Target:
    """The provider's own address there."""
    base = target.base_url.rstrip("/").removesuffix("/v1")
    return replace(target, base_url=base if base.endswith(f"/{provider}") else f"{base}/{provider}")


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The work in the words of the provider that does it; ValueError where it has none for it."""
    del continuation  # only text is carried on
    way, provider, model = way_of(target, request.task)
    unsaid = Unsaid(target, f"{provider}'s format")
    source = request.source
    if provider == DEFAULT and source is not None and source.format == _PASSED:
        body = join_fields(source.fields)
    else:
        body = _encode(_write(way, request, model=model, unsaid=unsaid))
    path = way.path.format(model=model.partition(":")[0])
    if way.path.endswith("/predictions") and ":" in model:  # a fixed version is asked for in the body
        path = "/v1/predictions"
    sent = post(_behind_router(target, provider), path, body=body, unsaid=tuple(unsaid.names))
    accept = {"accept": "image/png"} if request.task is Task.IMAGE else {}
    return records.replace(sent, headers={**sent.headers, **accept, **way.headers})


def _write(way: Way, request: Request, *, model: str, unsaid: Unsaid) -> dict[str, Json]:
    work = request.work_as(_KINDS[request.task])
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*work.hints)
    return {**way.write(work, unsaid=unsaid), **way.names(model)}


# ----------------------------------------------------------------------------- answers


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the answer, or of the job that was made."""
    way, provider, _ = way_of(target, request.task)
    if request.task is Task.EMBEDDING:
        return Headed(_read_vectors)
    if way.look is None:
        return Headed(_read_picture)
    return watch(
        partial(way.look, target=_behind_router(target, provider)),
        every_s=way.every_s,
        finish=partial(_finish, request=request, target=target),
    )


def _read_picture(head: Head, body: bytes) -> list[Delta] | Failure:
    output = output_of(body, "image", said=head.content_type)
    if isinstance(output, Failure):
        return output
    usage = Usage(images=1, seconds=_compute_s(head.headers))
    return [Delta(media=1, outputs=(output,), usage=usage, format=NAME, raw=body, body=True)]


def _compute_s(headers: Mapping[str, str]) -> float:
    """How long it was computed, which is what hf-inference costs by."""
    said = headers.get("x-compute-time", "")
    return float(said) if said.replace(".", "", 1).isdecimal() else 0.0


def _read_vectors(head: Head, body: bytes) -> list[Delta] | Failure:
    try:
        value = msgspec.json.decode(body)
    except UNREADABLE:
        return malformed("the answer is not JSON")
    rows = at(value, "data")
    found = [at(row, "embedding") for row in rows] if isinstance(rows, list) else value
    vectors = [found] if isinstance(found, list) and found and isinstance(found[0], int | float) else found
    if not isinstance(vectors, list) or not vectors or not all(_is_vector(vector) for vector in vectors):
        return classify_event(value) or malformed("the answer holds no vectors: one for each text is wanted")
    outputs = tuple(Output(kind="embedding", vector=tuple(map(float, vector))) for vector in vectors)
    usage = records.replace(read_usage(at(value, "usage")) or Usage(), seconds=_compute_s(head.headers))
    return [Delta(media=len(outputs), outputs=outputs, usage=usage, format=NAME, raw=body, body=True)]


def _is_vector(value: Json) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(number, int | float) for number in value)


def _finish(standing: Standing, *, request: Request, target: Target) -> list[Delta] | Failure | Next:
    kind = "video" if request.task is Task.VIDEO else "image"
    usage = standing.usage or Usage()
    if kind == "image":
        usage = records.replace(usage, images=len(standing.outputs))
    elif not usage.seconds:
        usage = records.replace(usage, seconds=_asked_seconds(request))

    def done(outputs: tuple[Output, ...]) -> list[Delta]:
        return [Delta(media=len(outputs), outputs=outputs, usage=usage, progress=1.0)]

    work = _work(request)
    if isinstance(work, Picture) and work.as_url:
        return done(standing.outputs)
    return gathered(standing.outputs, target, kind=kind, done=done)


def _work(request: Request) -> Work | None:
    try:
        return request.work
    except ValueError:
        return None


def _asked_seconds(request: Request) -> float:
    work = _work(request)
    return (work.seconds or 0.0) if isinstance(work, Film) else 0.0


# ----------------------------------------------------------------------- from a caller

_IMAGES = "/hf-inference/models/{model}"
_VECTORS = f"{_IMAGES}/pipeline/feature-extraction"


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong; the path names the model."""
    try:
        fields = split_fields(body)
        inputs = msgspec.json.decode(fields.get("inputs", b"null"))
    except UNREADABLE as error:
        return fault_of("", f"The body is not a JSON object: {error}.", code="invalid_json")
    vectors = path_values(_VECTORS, path)
    task, found = Task.EMBEDDING if vectors else Task.IMAGE, vectors or path_values(_IMAGES, path)
    if found is None:
        return fault_of("", f"There is nothing at {path}.", code="unknown_url")
    if not _fits(inputs, task):
        return fault_of("inputs", "must be text" if task is Task.IMAGE else "must be text, or an array of texts")
    return Request(
        model=found["model"],
        task=task,
        prompt_chars=len(fields["inputs"]),
        source=Source(_PASSED, fields),
        read=partial(_read_texts if task is Task.EMBEDDING else _read_wish, fields),
    )


def _fits(inputs: Json, task: Task) -> bool:
    if isinstance(inputs, list) and task is Task.EMBEDDING:
        return bool(inputs) and all(isinstance(text, str) for text in inputs)
    return isinstance(inputs, str) and bool(inputs.strip())


def _read_texts(fields: Mapping[str, bytes]) -> Texts:
    body = decoded(fields)
    inputs = body.pop("inputs")
    dimensions = body.pop("dimensions", None)
    texts = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    return Texts(texts=texts, dimensions=dimensions, extras=body)


def _read_wish(fields: Mapping[str, bytes]) -> Picture:
    body = decoded(fields)
    prompt, said = body.pop("inputs"), body.pop("parameters", None) or {}
    body.pop("options", None)  # how to wait and to cache, which is ours to decide
    if not isinstance(said, dict):
        raise ValueError("'parameters' must be an object")  # noqa: TRY004 - as with every wrong body
    width, height, seed = said.pop("width", None), said.pop("height", None), said.pop("seed", None)
    negative = said.pop("negative_prompt", None)
    return Picture(
        prompt=prompt,
        size=f"{width}x{height}" if width and height else "",
        seed=seed if type(seed) is int else None,
        negative_prompt=negative if isinstance(negative, str) else "",
        extras={**body, **said},
    )


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller: a picture's bytes, or vectors in an array, and nothing around them."""
    if request.task is not Task.EMBEDDING:
        return BytesWriter("image/png", _write_fault)
    return WholeWriter(JSON_TYPE, partial(_write_vectors, request=request), fail=_write_fault)


def _write_vectors(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    source = request.source
    single = source is not None and source.fields["inputs"][:1] == b'"'
    vectors = vectors_of(deltas)
    return _encode(vectors[0] if single and vectors else vectors)


def _write_fault(failure: Failure, _outcome: Outcome) -> bytes:
    return _error(failure)


def _error(failure: Failure) -> bytes:
    error: dict[str, Json] = {"error": failure.message}
    if failure.kind is FailureKind.LOADING:
        error["estimated_time"] = failure.retry_after_s or 20.0
    return _encode(error)


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and the error as words, as hf-inference says it."""
    status, headers, _ = write_openai_failure(failure, request_id)
    return status, headers, _error(failure)


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(_VECTORS, _IMAGES),
    good=frozenset((200, 201, 202)),
)
