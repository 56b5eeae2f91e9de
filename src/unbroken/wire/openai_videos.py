"""Films as jobs in OpenAI's format: made, asked about, and fetched when they are done.

Who made the same differently has a row in `_WAYS`: what is sent where, and how the answer says
how the job stands.  The server side writes a job as it stands; whoever serves it keeps the jobs.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import gcd
from urllib.parse import quote

import msgspec

from unbroken import records
from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Continuation,
    Delta,
    HttpRequest,
    Json,
    Media,
    Output,
    Request,
    Source,
    Target,
    Task,
    Usage,
)
from unbroken.wire import Decoder, Format, Next, Outcome, Unsaid, Writer
from unbroken.wire.asked import decoded
from unbroken.wire.errors import classify, classify_event
from unbroken.wire.forms import fault_of_text, fields_of, files_of, for_model
from unbroken.wire.http import JSON_TYPE, get, post
from unbroken.wire.jobs import Standing, at, job_failure, share_of, watch, word_at
from unbroken.wire.media import ending_of, gathered, media_type_of, size_of, unpacked
from unbroken.wire.multipart import Part, write_form
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import write_error, write_failure
from unbroken.wire.reading import malformed
from unbroken.wire.whole import WholeWriter
from unbroken.work import Film

__all__ = ["FORMAT", "NAME", "decoder", "look_at_together", "read_request", "write_request", "writer"]

NAME = "openai_videos"
PATH = "/videos"
_OWN = frozenset(("model", "prompt", "seconds", "size", "input_reference", "seed", "negative_prompt"))
_BARE = frozenset(("seed",))
_PASSED = f"{NAME}.request"
"""The format of a caller's fields: not this one's name, so that each target is tried whether it can be asked them."""
_encode = msgspec.json.encode


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """What makes the job; ValueError where this target's way of saying it has no words for it."""
    del continuation  # a film is never carried on
    way = _way(target)
    source = request.source
    if way is _WAYS[""] and source is not None and source.format == _PASSED:
        body, content_type = for_model(source.fields[PATH], target.model)
        return post(target, PATH, body=body, content_type=content_type)
    unsaid = Unsaid(target, "this provider's video format")
    work = request.work_as(Film)
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*work.hints)
    body, content_type = way.write(work, target, unsaid=unsaid)
    return post(way.at(target), way.path, body=body, content_type=content_type, unsaid=tuple(unsaid.names))


def _openai(work: Film, target: Target, *, unsaid: Unsaid) -> tuple[bytes, str]:
    """A form, as the official client sends it."""
    if target.provider in _KNOWS_NO_SEED:
        _lack(work, unsaid, "seed", "negative_prompt")
    said = {
        "prompt": work.prompt,
        "model": target.model,
        "seconds": "" if work.seconds is None else f"{work.seconds:g}",
        "size": work.size,
        "seed": "" if work.seed is None else str(work.seed),
        "negative_prompt": work.negative_prompt,
    }
    parts = [Part(name=name, data=value.encode()) for name, value in said.items() if value]
    if work.start is not None:
        parts += _start(work.start, unsaid)
    return write_form(parts)


_KNOWS_NO_SEED = frozenset(("openai", "azure"))


def _lack(work: Film, unsaid: Unsaid, *names: str) -> None:
    for name in names:
        if getattr(work, name) not in (None, ""):
            unsaid.lack(name)


def _start(media: Media, unsaid: Unsaid) -> list[Part]:
    if not media.data and not media.url.startswith("data:"):
        unsaid.lack("start", "the first picture is given by its address")
        return []
    data = unpacked(media.data or media.url)
    kind = media_type_of(data) or media.media_type or "image/png"
    return [Part(name="input_reference", data=data, filename=f"start.{ending_of(kind)}", content_type=kind)]


def _xai(work: Film, target: Target, *, unsaid: Unsaid) -> tuple[bytes, str]:
    _lack(work, unsaid, "seed", "negative_prompt")
    start = None if work.start is None else {"type": "image_url", "url": _as_url(work.start)}
    return _json({
        "model": target.model,
        "prompt": work.prompt,
        "duration": _whole_seconds(work, unsaid),
        "image": start,
        **_shape(work, unsaid),
    })  # fmt: skip


def _openrouter(work: Film, target: Target, *, unsaid: Unsaid) -> tuple[bytes, str]:
    _lack(work, unsaid, "negative_prompt")
    start = work.start and {"type": "image_url", "image_url": {"url": _as_url(work.start)}, "frame_type": "first_frame"}
    return _json({
        "model": target.model,
        "prompt": work.prompt,
        "duration": _whole_seconds(work, unsaid),
        "seed": work.seed,
        "frame_images": [start] if start else None,
        **_shape(work, unsaid),
    })  # fmt: skip


def _together(work: Film, target: Target, *, unsaid: Unsaid) -> tuple[bytes, str]:
    size = size_of(work.size) if work.size else None
    if work.size and size is None:
        unsaid.lack("size", f"{work.size!r} is no width and height")
    start = work.start and {"input_image": _as_url(work.start), "frame": "first"}
    return _json({
        "model": target.model,
        "prompt": work.prompt,
        "seconds": None if work.seconds is None else f"{work.seconds:g}",
        "width": size and size[0],
        "height": size and size[1],
        "seed": work.seed,
        "negative_prompt": work.negative_prompt or None,
        "frame_images": [start] if start else None,
    })  # fmt: skip


def _json(fields: Mapping[str, Json]) -> tuple[bytes, str]:
    return _encode({name: value for name, value in fields.items() if value is not None}), JSON_TYPE


def _as_url(media: Media) -> str:
    return media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"


def _whole_seconds(work: Film, unsaid: Unsaid) -> int | None:
    if work.seconds is None:
        return None
    if work.seconds != int(work.seconds):
        unsaid.lack("seconds", "only whole seconds can be asked for")
    return round(work.seconds)


def _shape(work: Film, unsaid: Unsaid) -> dict[str, Json]:
    """Width and height as a resolution and a ratio."""
    if not work.size:
        return {}
    size = size_of(work.size)
    if size is None or 0 in size:
        unsaid.lack("size", f"{work.size!r} is no width and height")
        return {}
    width, height = size
    common = gcd(width, height)
    return {"aspect_ratio": f"{width // common}:{height // common}", "resolution": f"{min(size)}p"}


# ------------------------------------------------------------------- how a job stands

_WAITS = frozenset(("queued", "in_progress", "pending", "processing", "running"))


def _look_at_openai(value: Json, *, target: Target, asked: HttpRequest | None) -> Standing | Failure:
    job_id, status = word_at(value, "id"), word_at(value, "status")
    if not job_id or len(job_id) > _ID_CHARS_MAX:
        return classify_event(value) or malformed("the answer holds no job")
    path = f"{PATH}/{quote(job_id, safe='')}"
    if status in _WAITS:
        return Standing(ask=asked or get(target, path), progress=share_of(at(value, "progress")))
    if status != "completed":
        return job_failure(at(value, "error"), f"the job ended as {status[:40]}")
    usage = records.replace(read_usage(at(value, "usage")) or Usage(), seconds=_seconds(at(value, "seconds")))
    content = get(target, f"{path}/content").url
    return Standing(outputs=(Output(kind="video", url=content),), usage=usage)


_ID_CHARS_MAX = 512


def _seconds(said: Json) -> float:
    if isinstance(said, str) and said.replace(".", "", 1).isdecimal():
        return float(said)
    return float(said) if type(said) in (int, float) and said >= 0 else 0.0


def _look_at_xai(value: Json, *, target: Target, asked: HttpRequest | None) -> Standing | Failure:
    job_id, status, url = word_at(value, "request_id"), word_at(value, "status"), word_at(value, "video", "url")
    error = at(value, "error") or at(value, "message")
    if error or status in ("failed", "expired"):
        return job_failure(error, f"the job ended as {status[:40]}")
    if at(value, "video", "respect_moderation") is False:
        return Failure(kind=FailureKind.CONTENT_POLICY, message="the film was withheld by moderation", again=False)
    if url:
        usage = records.replace(
            read_usage(at(value, "usage")) or Usage(), seconds=_seconds(at(value, "video", "duration"))
        )
        return Standing(outputs=(Output(kind="video", url=url),), usage=usage)
    if asked is None:
        if not job_id or len(job_id) > _ID_CHARS_MAX:
            return malformed("the answer holds no job")
        asked = get(target, f"{PATH}/{quote(job_id, safe='')}")
    return Standing(ask=asked, progress=share_of(at(value, "progress")))


def look_at_together(value: Json, *, target: Target, asked: HttpRequest | None) -> Standing | Failure:
    """How a job of Together's stands; `target` has its address without the version."""
    job_id, status = word_at(value, "id"), word_at(value, "status")
    if not job_id or len(job_id) > _ID_CHARS_MAX:
        return classify_event(value) or malformed("the answer holds no job")
    if not status or status in _WAITS:
        return Standing(ask=asked or get(target, f"/v2/videos/{quote(job_id, safe='')}"))
    url = word_at(value, "outputs", "video_url")
    if status != "completed" or not url:
        return job_failure(at(value, "error"), f"the job ended as {status[:40]}")
    cost = at(value, "outputs", "cost")
    usage = Usage(seconds=_seconds(at(value, "seconds")), cost_usd=float(cost) if type(cost) in (int, float) else None)
    return Standing(outputs=(Output(kind="video", url=url),), usage=usage)


def _own_address(target: Target) -> Target:
    return target


def _unversioned(target: Target) -> Target:
    """Together's videos have a version of their own, which is not that of its other work."""
    return replace(target, base_url=target.base_url.rstrip("/").removesuffix("/v1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """How one provider makes films."""

    path: str
    write: Callable[..., tuple[bytes, str]]
    look: Callable[..., Standing | Failure]
    every_s: float = 5.0
    at: Callable[[Target], Target] = _own_address


_WAYS: Mapping[str, _Way] = {
    "": _Way(path=PATH, write=_openai, look=_look_at_openai),
    "xai": _Way(path="/videos/generations", write=_xai, look=_look_at_xai),
    "openrouter": _Way(path=PATH, write=_openrouter, look=_look_at_openai, every_s=10.0),
    "together": _Way(path="/v2/videos", write=_together, look=look_at_together, at=_unversioned),
}
"""By provider; everybody else as OpenAI."""


def _way(target: Target) -> _Way:
    return _WAYS.get(target.provider, _WAYS[""])


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the job that was made, which asks about it until the film is here."""
    way = _way(target)
    return watch(
        partial(way.look, target=way.at(target)),
        every_s=way.every_s,
        finish=partial(_finish, request=request, target=target),
    )


def _finish(standing: Standing, *, request: Request, target: Target) -> list[Delta] | Failure | Next:
    usage = standing.usage or Usage()
    if not usage.seconds:
        usage = records.replace(usage, seconds=_asked_seconds(request))

    def done(outputs: tuple[Output, ...]) -> list[Delta]:
        return [Delta(media=len(outputs), outputs=outputs, usage=usage, progress=1.0, model=target.model)]

    return gathered(standing.outputs, target, kind="video", done=done)


def _asked_seconds(request: Request) -> float:
    try:
        return request.work_as(Film).seconds or 0.0
    except ValueError:
        return 0.0


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    del path
    fields = fields_of(body, bare=_BARE)
    if isinstance(fields, Failure):
        return fields
    return fault_of_text(fields, "prompt") or Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=Task.VIDEO,
        prompt_chars=len(fields["prompt"]),
        source=Source(_PASSED, {**fields, PATH: body}),
        read=partial(_read_film, fields, body),
    )


def _read_film(fields: Mapping[str, bytes], form: bytes) -> Film:
    body = decoded(fields)
    for name in ("size", "negative_prompt"):
        if not isinstance(body.get(name), str | None):
            raise ValueError(f"'{name}' must be a string")  # noqa: TRY004 - as with every wrong body
    seconds = body.get("seconds")
    if seconds is not None and not _seconds(seconds):
        raise ValueError("'seconds' must be a number")
    return Film(
        prompt=body["prompt"],
        seconds=None if seconds is None else _seconds(seconds),
        size=body.get("size") or "",
        seed=round(body["seed"]) if type(body.get("seed")) in (int, float) else None,
        negative_prompt=body.get("negative_prompt") or "",
        start=_read_start(body.get("input_reference"), form),
        extras={name: value for name, value in body.items() if name not in _OWN and value is not None},
    )


def _read_start(reference: Json, form: bytes) -> Media | None:
    for part in files_of(form):
        data = base64.b64encode(part.data).decode()
        return Media(kind="image", data=data, media_type=part.content_type or media_type_of(part.data))
    url = at(reference, "image_url") if isinstance(reference, dict) else reference
    if reference is not None and not isinstance(url, str):
        raise ValueError("'input_reference' must be a file or hold the address of a picture")
    return Media(kind="image", url=url) if url else None


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the job as it stands after these deltas."""
    return WholeWriter(JSON_TYPE, partial(_write_job, request=request), fail=partial(_write_failed, request=request))


def _job(request: Request, job_id: str) -> dict[str, Json]:
    try:
        work = request.work_as(Film)
    except ValueError:
        work = Film(prompt="")
    return {
        "id": job_id or "video_unbroken",
        "object": "video",
        "created_at": 0,
        "model": request.model,
        "prompt": work.prompt,
        "seconds": f"{work.seconds or 4:g}",
        "size": work.size or "1280x720",
        "status": "queued",
        "progress": 0,
        "error": None,
    }


def _write_job(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    job_id = next((delta.id for delta in deltas if delta.id), "") or f"video_{outcome.request_id}"
    share = max((delta.progress or 0.0 for delta in deltas), default=0.0)
    done = any(delta.media for delta in deltas)
    status = "completed" if done else "in_progress" if share else "queued"
    return _encode(_job(request, job_id) | {"status": status, "progress": 100 if done else round(100 * share)})


def _write_failed(failure: Failure, outcome: Outcome, *, request: Request) -> bytes:
    error = write_error(failure)
    told = {
        "code": failure.code or str(error.get("code") or failure.kind),
        "message": failure.message,
        "type": error.get("type"),
    }
    return _encode(_job(request, f"video_{outcome.request_id}") | {"status": "failed", "error": told})


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(f"/v1{PATH}",),
    good=frozenset((200, 201, 202)),
)
