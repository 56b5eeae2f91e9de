"""Pictures and films of Pollinations, both sides: a GET whose address is the prompt, answered with the bytes.

The gateway (gen.pollinations.ai) has `/image/{prompt}` and `/video/{prompt}`, the older host for
pictures (image.pollinations.ai) `/prompt/{prompt}`.  Text goes through OpenAI's chat format.
The same address asked again joins what is under way there, and is paid for once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from unbroken.failures import Failure
from unbroken.types import (
    Continuation,
    Delta,
    HttpRequest,
    Json,
    Request,
    Source,
    Target,
    Task,
    Usage,
)
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer, path_values
from unbroken.wire.asked import fault_of
from unbroken.wire.errors import classify
from unbroken.wire.http import get
from unbroken.wire.media import FILM_BYTES_MAX, BytesWriter, Head, Headed, output_of, size_of
from unbroken.wire.openai_chat_writer import write_failure
from unbroken.work import Film, Media, Picture

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "pollinations"
MODEL = "flux"
"""What draws where a caller names no model."""
PROMPT_CHARS_MAX = 6_000
"""An address has to fit into what servers take for a request line."""
_PATHS: Mapping[str, Task] = MappingProxyType({
    "/image/{prompt}": Task.IMAGE, "/prompt/{prompt}": Task.IMAGE, "/video/{prompt}": Task.VIDEO,
})  # fmt: skip
_OWN = frozenset(("model", "width", "height", "seed", "negative_prompt", "quality", "image", "duration", "key"))
_KINDS = {Task.IMAGE: "image", Task.VIDEO: "video"}


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The address that draws it; ValueError where the work cannot be said in one."""
    del continuation  # a picture is never carried on
    source = request.source
    unsaid = Unsaid(target, "Pollinations' format")
    if source is not None and source.format == NAME:
        said = {name: value.decode() for name, value in source.fields.items()}
        prompt = said.pop("prompt")
    else:
        prompt, said = _write_work(request, unsaid)
    if len(prompt) > PROMPT_CHARS_MAX:
        raise ValueError(f"the prompt is too long for an address: {len(prompt)} characters")
    path = f"{_path(request, target)}/{quote(prompt, safe='')}"
    query = urlencode({"model": target.model, **{name: value for name, value in said.items() if name != "model"}})
    return get(_host(target), f"{path}?{query}", unsaid=tuple(unsaid.names))


def _host(target: Target) -> Target:
    return replace(target, base_url=target.base_url.rstrip("/").removesuffix("/v1").removesuffix("/openai"))


def _path(request: Request, target: Target) -> str:
    if request.task is Task.VIDEO:
        return "/video"
    return "/prompt" if (urlsplit(target.base_url).hostname or "").startswith("image.") else "/image"


def _write_work(request: Request, unsaid: Unsaid) -> tuple[str, dict[str, str]]:
    work = request.work_as(Film) if request.task is Task.VIDEO else request.work_as(Picture)
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*work.hints)
    size = size_of(work.size) if work.size else None
    if work.size and size is None:
        unsaid.lack("size", f"{work.size!r} is no width and height")
    said: dict[str, Json] = {
        "width": size and size[0],
        "height": size and size[1],
        "seed": work.seed,
        "negative_prompt": work.negative_prompt or None,
        **(_film_fields(work, unsaid) if isinstance(work, Film) else _picture_fields(work, unsaid)),
    }
    return work.prompt, {name: str(value) for name, value in said.items() if value is not None}


def _picture_fields(work: Picture, unsaid: Unsaid) -> dict[str, Json]:
    if work.count > 1:
        unsaid.lack("n", "one picture is drawn at a time")
    if work.media_type:
        unsaid.lack("output_format", "the model decides")
    addresses = [media.url for media in work.sources if media.url.startswith("http")]
    if len(addresses) < len(work.sources):
        unsaid.lack("sources", "pictures to start from are given by their addresses")
    return {"quality": work.quality or None, "image": ",".join(addresses) or None, "nologo": "true"}


def _film_fields(work: Film, unsaid: Unsaid) -> dict[str, Json]:
    if work.start is not None and not work.start.url.startswith("http"):
        unsaid.lack("start", "a first picture is given by its address")
    duration = None if work.seconds is None else f"{work.seconds:g}"
    return {"duration": duration, "image": work.start.url if work.start is not None else None}


# ----------------------------------------------------------------------------- answers


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the bytes."""
    bytes_max = FILM_BYTES_MAX if request.task is Task.VIDEO else 64 * 1024 * 1024
    return Headed(partial(_read_bytes, request=request), bytes_max=bytes_max)


def _read_bytes(head: Head, body: bytes, *, request: Request) -> list[Delta] | Failure:
    output = output_of(body, _KINDS[request.task], said=head.content_type)
    if isinstance(output, Failure):
        return output
    usage = Usage(images=1) if request.task is Task.IMAGE else Usage(seconds=_asked_seconds(request))
    return [Delta(media=1, outputs=(output,), usage=usage, format=NAME, raw=body, body=True)]


def _asked_seconds(request: Request) -> float:
    try:
        return request.work_as(Film).seconds or 0.0
    except ValueError:
        return 0.0


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What an address asks for, or the REQUEST failure that names what is wrong with it."""
    del body
    found = next(((values, task) for mounted, task in _PATHS.items() if (values := path_values(mounted, path))), None)
    if found is None:
        return fault_of("", f"There is nothing at {path[:100]}.", code="unknown_url")
    values, task = found
    prompt = values["prompt"].rstrip("/")
    if not prompt.strip():
        return fault_of("prompt", "must not be empty")
    try:
        said = dict(parse_qsl(urlsplit(path).query, max_num_fields=64))
    except ValueError as error:
        return fault_of("", f"The address cannot be read: {error}.")
    said.pop("key", None)  # the caller's key to us, which is none of the provider's business
    fields = {name: value.encode() for name, value in said.items()}
    return Request(
        model=said.get("model") or MODEL,
        task=task,
        prompt_chars=len(prompt),
        source=Source(NAME, {**fields, "prompt": prompt.encode()}),
        read=partial(_read_film if task is Task.VIDEO else _read_picture, prompt, said),
    )


def _number(said: Mapping[str, str], name: str) -> int | None:
    value = said.get(name, "")
    if value and not value.removeprefix("-").isdecimal():
        raise ValueError(f"'{name}' must be a whole number")
    return int(value) if value and len(value) < 20 else None


def _size(said: Mapping[str, str]) -> str:
    width, height = _number(said, "width"), _number(said, "height")
    return f"{width}x{height}" if width and height else ""


def _media(said: Mapping[str, str]) -> list[str]:
    return [url for url in said.get("image", "").split(",") if url]


def _extras(said: Mapping[str, str]) -> dict[str, Json]:
    return {name: value for name, value in said.items() if name not in _OWN and name != "nologo"}


def _read_picture(prompt: str, said: Mapping[str, str]) -> Picture:
    return Picture(
        prompt=prompt,
        size=_size(said),
        seed=_number(said, "seed"),
        negative_prompt=said.get("negative_prompt", ""),
        quality=said.get("quality", ""),
        sources=tuple(Media(kind="image", url=url) for url in _media(said)),
        extras=_extras(said),
    )


def _read_film(prompt: str, said: Mapping[str, str]) -> Film:
    pictures = _media(said)
    return Film(
        prompt=prompt,
        seconds=_number(said, "duration"),
        size=_size(said),
        seed=_number(said, "seed"),
        negative_prompt=said.get("negative_prompt", ""),
        start=Media(kind="image", url=pictures[0]) if pictures else None,
        extras=_extras(said),
    )


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the bytes to this caller, under the content type that they have."""
    return BytesWriter("video/mp4" if request.task is Task.VIDEO else "image/png", _error)


def _error(failure: Failure, outcome: Outcome) -> bytes:
    return write_failure(failure, outcome.request_id)[2]


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=tuple(_PATHS),
    methods=("GET",),
)
