"""Pictures in OpenAI's format, both sides: generations, and edits of pictures that are given.

A generation is JSON; an edit is a form with files, at xAI JSON.  Where bytes are wanted and an
address comes, it is fetched before it expires; a caller that asked for an address gets it.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
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
from unbroken.wire.errors import classify
from unbroken.wire.forms import fault_of_text, fields_of, files_of, for_model
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import JSON_TYPE, post
from unbroken.wire.media import ending_of, gathered, kind_of, media_type_of, unpacked
from unbroken.wire.multipart import Part, is_form, write_form
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import write_error, write_failure, write_fault
from unbroken.wire.reading import fault_in, read_json
from unbroken.wire.typed_events import TypedEvents, TypedWriter
from unbroken.wire.whole import Whole, WholeWriter, passed_on
from unbroken.work import Picture

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_images"
GENERATIONS, EDITS = "/images/generations", "/images/edits"
HINTS = ("user", "safety_identifier")
_OWN = frozenset((
    "model", "prompt", "n", "size", "quality", "response_format", "output_format", "seed", "negative_prompt",
    "stream", "image", "images", "image[]", *HINTS,
))  # fmt: skip
_PATHS: Mapping[tuple[str, str], str] = {("openrouter", GENERATIONS): "/images", ("openrouter", EDITS): "/images"}
"""Where a provider does not serve this at OpenAI's paths."""
_OPENAI = frozenset(("openai", "azure"))
"""They have no seed and no negative prompt, and refuse what they do not know."""
_UNSET = (None, "", "auto")
_encode = msgspec.json.encode


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    del continuation  # a picture is never carried on
    source = request.source
    if source is None or source.format != NAME:
        return _write_anew(request, target)
    if target.provider in _JSON_EDITS and is_form(source.fields.get(EDITS, b"")):
        return _write_anew(request, target)
    if (edit := source.fields.get(EDITS)) is None:
        fields = {**source.fields, "model": _encode(target.model)}
        return post(target, _path(target, GENERATIONS), body=join_fields(fields))
    body, content_type = for_model(edit, target.model)
    return post(target, _path(target, EDITS), body=body, content_type=content_type)


def _path(target: Target, path: str) -> str:
    return _PATHS.get((target.provider, path), path)


def _write_anew(request: Request, target: Target) -> HttpRequest:
    unsaid = Unsaid(target, "OpenAI's images format")
    work = request.work_as(Picture)
    fields = _write_picture(work, target, unsaid=unsaid)
    unsaid.hint(*(name for name in work.hints if name not in HINTS))
    for name in work.extras:
        unsaid.lack(name)
    if not work.sources:
        return post(target, _path(target, GENERATIONS), body=_encode(fields), unsaid=tuple(unsaid.names))
    if target.provider in _JSON_EDITS:
        name, shape = _JSON_EDITS[target.provider]
        fields[name] = [shape(_as_url(media)) for media in work.sources]
        return post(target, _path(target, EDITS), body=_encode(fields), unsaid=tuple(unsaid.names))
    parts = [Part(name=name, data=str(value).encode()) for name, value in fields.items()]
    body, content_type = write_form([*parts, *_files(work.sources, unsaid)])
    return post(
        target, _path(target, EDITS), body=body, content_type=content_type, unsaid=tuple(unsaid.names)
    )  # fmt: skip


def _write_picture(work: Picture, target: Target, *, unsaid: Unsaid) -> dict[str, Json]:
    fields: dict[str, Json] = {
        "model": target.model,
        "prompt": work.prompt,
        "n": work.count if work.count > 1 else None,
        "size": work.size or None,
        "quality": work.quality or None,
        "output_format": work.media_type.partition("/")[2].partition("+")[0] or None,
        "seed": work.seed,
        "negative_prompt": work.negative_prompt or None,
        "response_format": "url" if work.as_url and target.provider not in _OPENAI else None,
        **{name: work.hints[name] for name in HINTS if name in work.hints},
    }
    for name in ("seed", "negative_prompt"):
        if target.provider in _OPENAI and fields.pop(name) is not None:
            unsaid.lack(name)
    return {name: value for name, value in fields.items() if value is not None}


_JSON_EDITS: Mapping[str, tuple[str, Callable[[str], Json]]] = {
    "xai": ("images", lambda url: {"type": "image_url", "url": url}),
    "openrouter": ("input_references", lambda url: {"type": "image_url", "image_url": {"url": url}}),
}
"""Who takes pictures in JSON, by address: in which field, and how."""


def _as_url(media: Media) -> str:
    return media.url or f"data:{media.media_type or 'image/png'};base64,{media.data}"


def _files(sources: Sequence[Media], unsaid: Unsaid) -> list[Part]:
    """The pictures as files; one that is only an address cannot be put into a form."""
    files = []
    for media in sources:
        if not media.data and not media.url.startswith("data:"):
            unsaid.lack("sources", "a picture to start from is given by its address")
            continue
        data = unpacked(media.data or media.url)
        kind = media_type_of(data) or media.media_type or "image/png"
        name = "image" if len(sources) == 1 else "image[]"
        files.append(Part(name=name, data=data, filename=f"image.{ending_of(kind)}", content_type=kind))
    return files


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    edits = path.partition("?")[0].rstrip("/").endswith(EDITS)
    fields = fields_of(body, bare=_BARE)
    if isinstance(fields, Failure):
        return fields
    if wrong := fault_of_text(fields, "prompt"):
        return wrong
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=Task.IMAGE,
        stream=fields.get("stream") == b"true",
        prompt_chars=len(fields["prompt"]),
        choices=_choices(fields),
        source=Source(NAME, {**fields, EDITS: body} if edits else fields),
        read=partial(_read_picture, fields, body if edits else b""),
    )


_BARE = frozenset(("n", "stream", "seed", "output_compression", "partial_images"))
"""Fields of a form that are no text."""


def _choices(fields: Mapping[str, bytes]) -> int:
    try:
        return max(1, msgspec.json.decode(fields.get("n", b"1"), type=int))
    except UNREADABLE:
        return 1


def _read_picture(fields: Mapping[str, bytes], edit: bytes) -> Picture:
    body = decoded(fields)
    words = {name: body.get(name) for name in ("size", "quality", "negative_prompt", "output_format")}
    for name, value in words.items():
        if not isinstance(value, str | None):
            raise ValueError(f"'{name}' must be a string")  # noqa: TRY004 - as with every wrong body
    said = {name: "" if value in _UNSET else str(value) for name, value in words.items()}
    sources = _read_files(edit) or _read_sources(body)
    return Picture(
        prompt=body["prompt"],
        count=_choices(fields),
        size=said["size"],
        quality=said["quality"],
        negative_prompt=said["negative_prompt"],
        seed=body["seed"] if type(body.get("seed")) is int else None,
        media_type=_TYPES.get(said["output_format"], said["output_format"] and f"image/{said['output_format']}"),
        as_url=body.get("response_format") == "url",
        sources=sources,
        extras={name: value for name, value in body.items() if name not in _OWN and value not in _UNSET},
        hints={name: body[name] for name in HINTS if body.get(name) is not None},
    )


_TYPES = {"svg": "image/svg+xml", "jpg": "image/jpeg"}


def _read_files(edit: bytes) -> tuple[Media, ...]:
    files = files_of(edit)
    if any(part.name not in ("image", "image[]") for part in files):
        raise ValueError("'mask' cannot be said in any other format")
    return tuple(
        Media(kind="image", data=base64.b64encode(part.data).decode(), media_type=part.content_type) for part in files
    )


def _read_sources(body: Mapping[str, Json]) -> tuple[Media, ...]:
    """Pictures in JSON: addresses, or objects that hold one."""
    listed = body.get("images") or body.get("image") or ()
    items = listed if isinstance(listed, list) else [listed] if listed else []
    urls = [item.get("url") or item.get("image_url") if isinstance(item, dict) else item for item in items]
    if not all(isinstance(url, str) for url in urls):
        raise ValueError("'images' must hold addresses")
    return tuple(Media(kind="image", url=str(url)) for url in urls)


# ----------------------------------------------------------------------------- answers


class _Item(msgspec.Struct, gc=False):
    """One picture, its megabytes left where they stand."""

    b64_json: msgspec.Raw = msgspec.Raw()
    url: str | None = None
    revised_prompt: Any = None


class _Answer(msgspec.Struct, gc=False):
    data: list[_Item] | None = None
    model: Any = ""
    usage: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_PEEK_CHARS = 1_200
"""Of a picture in base64: enough to see what it is."""


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the answer: it looks at each picture, and unpacks or fetches those that somebody else wants."""
    if request.stream and _is_own(request):
        return TypedEvents(NAME, _EVENTS, ends=_ENDS)
    return Whole(partial(_read_answer, request=request, target=target))


def _is_own(request: Request) -> bool:
    return request.source is not None and request.source.format == NAME


def _read_answer(body: bytes, *, request: Request, target: Target) -> list[Delta] | Failure | Next:
    body = body.lstrip()
    try:
        answer = _ANSWER.decode(body)
        items = answer.data or []
        if answer.error or not items:
            return fault_in(read_json(body), "the answer holds no picture")
        as_it_came = _takes_urls(request) or all(_has_bytes(item) for item in items)
        outputs = [_read_item(item, unpack=not (as_it_came and _is_own(request))) for item in items]
    except UNREADABLE:
        return fault_in(read_json(body), "the answer's 'data' is not an array of pictures")
    model = answer.model if isinstance(answer.model, str) else ""
    usage = replace(read_usage(answer.usage) or Usage(), images=len(items))
    delta = Delta(media=len(items), usage=usage, model=model)
    if as_it_came:
        return [replace(delta, format=NAME, raw=body, body=True, outputs=() if _is_own(request) else tuple(outputs))]
    return gathered(outputs, target, kind="image", done=lambda found: [replace(delta, outputs=found)])


def _takes_urls(request: Request) -> bool:
    """Whether addresses may be handed on: to a caller of ours who did not ask for bytes, or who asked for them."""
    source = request.source
    if source is not None and source.format == NAME:
        asked = source.fields.get("response_format")
        return asked is None or asked != b'"b64_json"'
    try:
        return request.work_as(Picture).as_url
    except ValueError:
        return False


def _has_bytes(item: _Item) -> bool:
    return len(memoryview(item.b64_json)) > len(b"null")


def _read_item(item: _Item, *, unpack: bool) -> Output:
    """One picture; ValueError where it is none."""
    note = item.revised_prompt if isinstance(item.revised_prompt, str) else ""
    if not _has_bytes(item):
        if not item.url:
            raise ValueError("a picture is neither bytes nor an address")
        return Output(kind="image", url=item.url, note=note)
    packed = memoryview(item.b64_json)
    if unpack:
        data = unpacked(msgspec.json.decode(packed, type=str))
    else:
        peek = bytes(packed[1:_PEEK_CHARS]).rstrip(b'"').replace(b"\\/", b"/")
        peek = peek.partition(b",")[2] if peek.startswith(b"data:") else peek
        data = base64.b64decode(peek[: len(peek) // 4 * 4])
    kind = media_type_of(data)
    if kind_of(kind) != "image":
        raise ValueError("what should be a picture is none")
    return Output(kind="image", data=data, media_type=kind, note=note)


def _partial(_event: Mapping[str, Json]) -> Delta:
    return Delta(media=1)


def _completed(event: Mapping[str, Json]) -> Delta:
    usage = replace(read_usage(event.get("usage")) or Usage(), images=1)
    return Delta(media=1, usage=usage)


_EVENTS = {
    "image_generation.partial_image": _partial,
    "image_edit.partial_image": _partial,
    "image_generation.completed": _completed,
    "image_edit.completed": _completed,
}
_ENDS = frozenset(("image_generation.completed", "image_edit.completed"))


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if not request.stream:
        return WholeWriter(JSON_TYPE, partial(_write_answer, request=request), fail=write_fault)
    return TypedWriter(NAME, _write_events, finish=tuple, error=_write_error)


def _write_error(failure: Failure) -> Json:
    return write_error(failure)


def _write_events(delta: Delta) -> list[dict[str, Json]]:
    usage = _write_usage(delta.usage)
    return [
        {
            "type": "image_generation.completed",
            "b64_json": base64.b64encode(output.data).decode(),
            "created_at": 0,
            "background": "auto",
            "output_format": output.media_type.partition("/")[2] or "png",
            "quality": "auto",
            "size": "auto",
            "usage": usage,
        }
        for output in delta.outputs
    ]


def _write_usage(usage: Usage | None) -> dict[str, Json]:
    taken = usage or Usage()
    return {
        "input_tokens": taken.input_tokens,
        "output_tokens": taken.output_tokens,
        "total_tokens": taken.input_tokens + taken.output_tokens,
        "input_tokens_details": {"text_tokens": taken.input_tokens, "image_tokens": 0},
    }


def _write_answer(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    source = request.source
    as_url = source is not None and source.fields.get("response_format") == b'"url"'
    outputs = [output for delta in deltas for output in delta.outputs]
    body: dict[str, Json] = {"created": 0, "data": [_write_output(output, as_url=as_url) for output in outputs]}
    usage = next((delta.usage for delta in deltas if delta.usage), None)
    if usage is not None and (usage.input_tokens or usage.output_tokens):
        body["usage"] = _write_usage(usage)
    return _encode(body)


def _write_output(output: Output, *, as_url: bool) -> dict[str, str]:
    """One picture; bytes become a data URL for a caller that wants an address."""
    item = {"revised_prompt": output.note} if output.note else {}
    if output.url and (as_url or not output.data):
        return {**item, "url": output.url}
    packed = base64.b64encode(output.data).decode()
    if as_url:
        return {**item, "url": f"data:{output.media_type or 'image/png'};base64,{packed}"}
    return {**item, "b64_json": packed}


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(f"/v1{GENERATIONS}", f"/v1{EDITS}"),
)
