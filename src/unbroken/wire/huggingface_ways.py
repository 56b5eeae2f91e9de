"""What each provider behind Hugging Face's router wants to hear, and how it answers: a table.

A row is a provider and a kind of work: where it is asked (`path`), what it is told (`write`) and
how its answer reads (`look`).  A new provider is a row, and perhaps a function or two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from urllib.parse import quote, urlsplit

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import HttpRequest, Json, Output, Target, Task
from unbroken.wire import Unsaid
from unbroken.wire.errors import classify_event
from unbroken.wire.http import get
from unbroken.wire.jobs import Standing, at, job_failure, word_at
from unbroken.wire.media import output_of, size_of, unpacked
from unbroken.wire.openai_videos import look_at_together
from unbroken.wire.reading import malformed
from unbroken.work import Film, Picture, Texts, Work

__all__ = ["WAYS", "Way"]

Object = dict[str, Json]


def _named(model: str) -> Object:
    return {"model": model}


def _unnamed(_model: str) -> Object:
    """The path names it."""
    return {}


def _version(model: str) -> Object:
    """Replicate calls a fixed version of a model `owner/name:version`."""
    version = model.partition(":")[2]
    return {"version": version} if version else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one provider does one kind of work.

    `path` is below the router's address; `{model}` is the model's name there.  `write` makes the
    body of a piece of work, `names` what is said in it of the model.  `look` reads how its job
    stands (`jobs.Look`, with the target at the provider's own address behind the router); None
    where the answer is no JSON, or vectors.  `hub_names` is whether it calls models as the hub does.
    """

    path: str
    write: Callable[..., Object]
    names: Callable[[str], Object] = _unnamed
    look: Callable[..., Standing | Failure] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    hub_names: bool = False
    every_s: float = 1.0


# ------------------------------------------------------------------------ what it is told


def _pick(work: Work, unsaid: Unsaid, *, says: str) -> Object:
    """The fields of a picture or film that this provider can be told; a lack of any other that is set."""
    can = says.split()
    for name in _OF[type(work)]:
        if name not in can and getattr(work, name) not in (None, "", ()):
            unsaid.lack(name)
    return {name: getattr(work, name) for name in ("seed", "negative_prompt") if name in can and _said(work, name)}


def _said(work: Work, name: str) -> bool:
    return getattr(work, name) not in (None, "")


_OF: Mapping[type, tuple[str, ...]] = {
    Picture: ("size", "seed", "negative_prompt", "quality", "media_type", "sources"),
    Film: ("seconds", "size", "seed", "negative_prompt", "start"),
    Texts: ("tokens", "purpose"),
}
"""What may be asked of each kind of work, besides its prompt and how many."""


def _counted(work: Picture, unsaid: Unsaid, *, name: str = "") -> Object:
    """How many pictures, in the provider's word for it."""
    if work.count > 1 and not name:
        unsaid.lack("n", "one picture is drawn at a time")
    return {name: work.count} if work.count > 1 and name else {}


def _sized(work: Picture | Film, unsaid: Unsaid) -> Object:
    size = size_of(work.size) if work.size else None
    if work.size and size is None:
        unsaid.lack("size", f"{work.size!r} is no width and height")
    return {} if size is None else {"width": size[0], "height": size[1]}


def _hf_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    parameters = {**_pick(work, unsaid, says="size seed negative_prompt"), **_sized(work, unsaid)}
    _counted(work, unsaid)
    return {"inputs": work.prompt, "parameters": parameters}


def _fal_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    size = _sized(work, unsaid)
    said = _pick(work, unsaid, says="size seed negative_prompt")
    return {
        "prompt": work.prompt,
        **said,
        **({"image_size": size} if size else {}),
        **_counted(work, unsaid, name="num_images"),
    }  # fmt: skip


def _together_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    said = _pick(work, unsaid, says="size seed negative_prompt")
    counted = _counted(work, unsaid, name="n")
    return {
        "prompt": work.prompt, "response_format": "base64", **said, **_sized(work, unsaid), **counted,
    }  # fmt: skip


def _nscale_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    said = _pick(work, unsaid, says="size seed negative_prompt")
    size = {"size": work.size} if work.size else {}
    return {
        "response_format": "b64_json", "prompt": work.prompt, **said, **size,
        **_counted(work, unsaid, name="n"),
    }  # fmt: skip


def _replicate_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    said = _pick(work, unsaid, says="size seed negative_prompt")
    counted = _counted(work, unsaid, name="num_outputs")
    return {"input": {"prompt": work.prompt, **said, **_sized(work, unsaid), **counted}}


def _replicate_film(work: Film, *, unsaid: Unsaid) -> Object:
    return {"input": {"prompt": work.prompt, **_pick(work, unsaid, says="seed negative_prompt")}}


def _plain_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    said = _pick(work, unsaid, says="size seed negative_prompt")
    _counted(work, unsaid)
    return {"prompt": work.prompt, **said, **_sized(work, unsaid)}


def _zai_picture(work: Picture, *, unsaid: Unsaid) -> Object:
    _pick(work, unsaid, says="size")
    _counted(work, unsaid)
    return {"prompt": work.prompt, **({"size": work.size} if work.size else {})}


def _plain_film(work: Film, *, unsaid: Unsaid) -> Object:
    return {"prompt": work.prompt, **_pick(work, unsaid, says="seed negative_prompt")}


def _together_film(work: Film, *, unsaid: Unsaid) -> Object:
    said = _pick(work, unsaid, says="seconds size seed negative_prompt")
    seconds = {} if work.seconds is None else {"seconds": f"{work.seconds:g}"}
    return {"prompt": work.prompt, **said, **seconds, **_sized(work, unsaid)}


def _hf_texts(work: Texts, *, unsaid: Unsaid) -> Object:
    _pick(work, unsaid, says="")
    return {"inputs": list(work.texts), **({"dimensions": work.dimensions} if work.dimensions else {})}


def _openai_texts(work: Texts, *, unsaid: Unsaid) -> Object:
    _pick(work, unsaid, says="")
    dimensions = {"dimensions": work.dimensions} if work.dimensions else {}
    return {"input": list(work.texts), **dimensions}


# ------------------------------------------------------------------------- how it answers


def _urls(kind: str, found: Json) -> Standing | Failure:
    """A job that is done: one address, or several."""
    urls = [found] if isinstance(found, str) else found
    if not isinstance(urls, list) or not urls or not all(isinstance(url, str) and url for url in urls):
        return malformed("the answer holds no address of a result")
    return Standing(outputs=tuple(Output(kind=kind, url=url) for url in urls))


def _look_at_packed(value: Json, **_: object) -> Standing | Failure:
    """OpenAI's shape, in base64."""
    outputs = []
    rows = at(value, "data")
    for row in rows if isinstance(rows, list) else []:
        packed, url = at(row, "b64_json"), at(row, "url")
        if isinstance(url, str) and url and not packed:
            outputs.append(Output(kind="image", url=url))
            continue
        try:
            output = output_of(unpacked(packed if isinstance(packed, str) else ""), "image")
        except ValueError:
            return malformed("a picture is not in base64")
        if isinstance(output, Failure):
            return output
        outputs.append(output)
    return Standing(outputs=tuple(outputs)) if outputs else _nothing(value)


def _nothing(value: Json) -> Failure:
    return classify_event(value) or malformed("the answer holds no result")


def _look_at_fal(value: Json, *, target: Target, asked: HttpRequest | None) -> Standing | Failure:
    """Pictures come at once; films through a queue, whose last answer is the result."""
    if isinstance(images := at(value, "images"), list) and images:
        return _urls("image", [at(image, "url") for image in images])
    if (film := at(value, "video", "url")) is not None:
        return _urls("video", film)
    if error := at(value, "error") or at(value, "detail"):
        return job_failure(error, "the job failed")
    status = word_at(value, "status")
    if status == "COMPLETED" and asked is not None:
        return Standing(ask=replace(asked, url=asked.url.replace("/status?", "?")), progress=1.0)
    if status not in ("IN_QUEUE", "IN_PROGRESS", "COMPLETED"):
        return _nothing(value)
    asked = asked or _asking(target, at(value, "response_url"), ending="/status?_subdomain=queue")
    return Standing(ask=asked) if asked is not None else malformed("the answer holds no job")


def _asking(target: Target, url: Json, *, ending: str = "") -> HttpRequest | None:
    """A question at the path that the provider gave, on the router's host: only there the key is good."""
    try:
        path = urlsplit(url).path if isinstance(url, str) else ""
    except ValueError:
        path = ""
    return get(target, path + ending) if path.startswith("/") else None


def _look_at_replicate(value: Json, *, target: Target, asked: HttpRequest | None, kind: str) -> Standing | Failure:
    status, job_id = word_at(value, "status"), word_at(value, "id")
    if status in ("failed", "canceled", "aborted"):
        return job_failure(at(value, "error"), f"the job ended as {status}")
    if at(value, "output"):
        return _urls(kind, at(value, "output"))
    if status not in ("starting", "processing") or not job_id:
        return _nothing(value)
    return Standing(ask=asked or get(target, f"/v1/predictions/{quote(job_id[:100], safe='')}"))


def _look_at_wavespeed(value: Json, *, target: Target, asked: HttpRequest | None, kind: str) -> Standing | Failure:
    data = at(value, "data")
    status = word_at(data, "status")
    if status == "failed":
        return job_failure(at(data, "error"), "the job failed")
    if status == "completed":
        return _urls(kind, at(data, "outputs"))
    asked = asked or _asking(target, at(data, "urls", "get"))
    return Standing(ask=asked) if asked is not None and status else _nothing(value)


def _look_at_zai(value: Json, *, target: Target, asked: HttpRequest | None) -> Standing | Failure:
    status, job_id = word_at(value, "task_status"), word_at(value, "id")
    if status == "FAIL":
        return job_failure(at(value, "error"), "the job failed")
    rows = at(value, "image_result")
    if isinstance(rows, list) and rows:
        return _urls("image", [at(row, "url") for row in rows])
    if status != "PROCESSING" or not job_id:
        return _nothing(value)
    return Standing(ask=asked or get(target, f"/api/paas/v4/async-result/{quote(job_id[:100], safe='')}"))


def _look_at_novita(value: Json, **_: object) -> Standing | Failure:
    url = at(value, "video", "video_url")
    return _nothing(value) if url is None else _urls("video", url)


# --------------------------------------------------------------------------------- the table

_WAIT = MappingProxyType({"prefer": "wait"})
_ZAI = MappingProxyType({"accept-language": "en-US,en", "x-source-channel": "hugging_face"})
_PREDICTIONS = "/v1/models/{model}/predictions"

WAYS: Mapping[tuple[str, Task], Way] = MappingProxyType({
    ("hf-inference", Task.IMAGE): Way(path="/models/{model}", write=_hf_picture, hub_names=True),
    ("hf-inference", Task.EMBEDDING): Way(
        path="/models/{model}/pipeline/feature-extraction", write=_hf_texts, hub_names=True),
    ("fal-ai", Task.IMAGE): Way(path="/{model}", write=_fal_picture, look=_look_at_fal),
    ("fal-ai", Task.VIDEO): Way(path="/{model}?_subdomain=queue", write=_plain_film, look=_look_at_fal),
    ("together", Task.IMAGE): Way(
        path="/v1/images/generations", write=_together_picture, names=_named, look=_look_at_packed, hub_names=True),
    ("together", Task.VIDEO): Way(
        path="/v2/videos", write=_together_film, names=_named, look=look_at_together, hub_names=True, every_s=2.0),
    ("together", Task.EMBEDDING): Way(path="/v1/embeddings", write=_openai_texts, names=_named, hub_names=True),
    ("replicate", Task.IMAGE): Way(
        path=_PREDICTIONS, write=_replicate_picture, names=_version, look=partial(_look_at_replicate, kind="image"),
        headers=_WAIT),
    ("replicate", Task.VIDEO): Way(
        path=_PREDICTIONS, write=_replicate_film, names=_version, look=partial(_look_at_replicate, kind="video"),
        headers=_WAIT),
    ("novita", Task.VIDEO): Way(path="/v3/hf/{model}", write=_plain_film, look=_look_at_novita),
    ("nscale", Task.IMAGE): Way(
        path="/v1/images/generations", write=_nscale_picture, names=_named, look=_look_at_packed, hub_names=True),
    ("wavespeed", Task.IMAGE): Way(
        path="/api/v3/{model}", write=_plain_picture, look=partial(_look_at_wavespeed, kind="image")),
    ("wavespeed", Task.VIDEO): Way(
        path="/api/v3/{model}", write=_plain_film, look=partial(_look_at_wavespeed, kind="video")),
    ("zai-org", Task.IMAGE): Way(
        path="/api/paas/v4/async/images/generations", write=_zai_picture, names=_named, look=_look_at_zai,
        headers=_ZAI, every_s=5.0),
    ("scaleway", Task.EMBEDDING): Way(path="/v1/embeddings", write=_openai_texts, names=_named),
    ("deepinfra", Task.EMBEDDING): Way(path="/v1/openai/embeddings", write=_openai_texts, names=_named, hub_names=True),
})  # fmt: skip
"""By provider, as the router calls it, and kind of work."""
