"""Pictures in Gemini's format, client side: Imagen (`predict`), or a Gemini model that draws (`generateContent`).

Google gives pictures as bytes; it says their form (`16:9`) and about how large they are, but no
exact size.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from math import gcd
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta, Finish, HttpRequest, Json, Output, Target, Usage
from unbroken.wire import Unsaid
from unbroken.wire.gemini_answer import blocked, finish_of, read_usage
from unbroken.wire.gemini_contents import write_media
from unbroken.wire.gemini_dialect import plain_base64
from unbroken.wire.gemini_place import KEY_IN, address, place
from unbroken.wire.http import post
from unbroken.wire.jobs import at, word_at
from unbroken.wire.media import output_of, size_of
from unbroken.wire.reading import fault_in, malformed, read_json
from unbroken.work import Picture

__all__ = ["all_good", "objects_in", "output_in", "read_picture", "write_picture"]

_RATIOS = frozenset(("1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9"))
_RATIOS_OF_IMAGEN = frozenset(("1:1", "3:4", "4:3", "9:16", "16:9"))
_encode = msgspec.json.encode

Object = dict[str, Any]


def write_picture(work: Picture, target: Target, *, unsaid: Unsaid) -> HttpRequest:
    """The request for a picture; ValueError where it cannot be said."""
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*work.hints)
    if work.as_url:
        unsaid.lack("response_format", "it gives the bytes, no address")
    if work.quality not in ("", "auto"):
        unsaid.lack("quality")
    imagen = "imagen" in target.model
    body = _write_imagen(work, unsaid) if imagen else _write_drawing(work, unsaid)
    path = address(target, "predict" if imagen else "generateContent")
    return post(place(target), path, body=_encode(body), key_in=KEY_IN, unsaid=tuple(unsaid.names))


def _write_imagen(work: Picture, unsaid: Unsaid) -> Object:
    if work.sources:
        raise ValueError("Imagen draws from words alone, not from pictures")
    ratio, size = _form(work.size, _RATIOS_OF_IMAGEN, unsaid=unsaid)
    parameters = {
        "sampleCount": work.count,
        "aspectRatio": ratio,
        "sampleImageSize": size,
        "seed": work.seed,
        "negativePrompt": work.negative_prompt or None,
        "outputOptions": {"mimeType": work.media_type} if work.media_type else None,
    }
    known = {name: value for name, value in parameters.items() if value is not None}
    return {"instances": [{"prompt": work.prompt}], "parameters": known}


def _write_drawing(work: Picture, unsaid: Unsaid) -> Object:
    if work.count > 1:
        unsaid.lack("n", "it draws one picture at a time")
    if work.negative_prompt:
        unsaid.lack("negative_prompt")
    if work.media_type not in ("", "image/png"):
        unsaid.lack("output_format")
    ratio, size = _form(work.size, _RATIOS, unsaid=unsaid)
    form = {name: value for name, value in (("aspectRatio", ratio), ("imageSize", size)) if value}
    config: Object = {"responseModalities": ["TEXT", "IMAGE"], "seed": work.seed, "imageConfig": form or None}
    parts = [*(write_media(source) for source in work.sources), {"text": work.prompt}]
    return {
        "contents": [{"role": "user", "parts": parts}],
        "generationConfig": {name: value for name, value in config.items() if value is not None},
    }


def _form(size: str, ratios: frozenset[str], *, unsaid: Unsaid) -> tuple[str | None, str | None]:
    """Google's words for a size in pixels: its form, and about how large where that is more than usual."""
    sides = size_of(size)
    if sides is None or not all(sides):
        if size not in ("", "auto"):
            unsaid.lack("size", f"{size!r} is none")
        return None, None
    width, height = sides
    shared = gcd(width, height)
    ratio = f"{width // shared}:{height // shared}"
    if ratio not in ratios:
        unsaid.lack("size", f"it draws no {ratio}")
        return None, None
    longest = max(sides)
    return ratio, None if longest <= 1536 else "2K" if longest <= 2816 else "4K"


def read_picture(body: bytes) -> list[Delta] | Failure:
    """The pictures of either kind of answer."""
    value = read_json(body)
    if isinstance(value, Failure):
        return value
    if not isinstance(value, dict) or value.get("error"):
        return fault_in(value, "the answer is not a JSON object")
    found = _of_candidates(value) if "candidates" in value or "promptFeedback" in value else _of_predictions(value)
    if isinstance(found, Failure):
        return found
    usage = replace(read_usage(value.get("usageMetadata")) or Usage(), images=len(found))
    model = value.get("modelVersion")
    return [Delta(media=len(found), outputs=tuple(found), usage=usage, model=model if isinstance(model, str) else "")]


def _of_predictions(value: Object) -> list[Output] | Failure:
    predictions = objects_in(value.get("predictions"))
    drawn = [item for item in predictions if not item.get("raiFilteredReason")]
    found = all_good([output_in("image", item, name="bytesBase64Encoded") for item in drawn])
    if found:
        return found
    reasons = [str(item["raiFilteredReason"]) for item in predictions if item.get("raiFilteredReason")]
    if reasons:
        return Failure(kind=FailureKind.CONTENT_POLICY, message=reasons[0][:500])
    return Failure(kind=FailureKind.EMPTY, message="the answer holds no picture")


def _of_candidates(value: Object) -> list[Output] | Failure:
    failure = blocked(value.get("promptFeedback"))
    if failure is not None:
        return failure
    candidates = objects_in(value.get("candidates"))
    parts = [part for candidate in candidates for part in objects_in(at(candidate, "content", "parts"))]
    parts = [part for part in parts if not part.get("thought")]
    found = all_good([output_in("image", part.get("inlineData"), name="data") for part in parts])
    if found:
        return found
    words = "".join(word_at(part, "text") for part in parts)
    for candidate in candidates:
        ending = finish_of(candidate.get("finishReason"), str(candidate.get("finishMessage") or ""))
        if isinstance(ending, Failure):
            return ending
        if ending[0] is Finish.CONTENT_FILTER:
            said = str(candidate.get("finishMessage") or f"the picture was held back ({ending[1]})")
            return Failure(kind=FailureKind.CONTENT_POLICY, message=said[:500], code=ending[1])
    return Failure(kind=FailureKind.EMPTY, message=f"the answer holds no picture{': ' if words else ''}{words[:300]}")


def objects_in(value: Json) -> list[Object]:
    """The objects of a list, whatever else it may hold, or be."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def output_in(kind: str, item: Json, *, name: str) -> Output | Failure | None:
    """Bytes in base64, which are looked at, or an address where they lie; None where there is neither."""
    data, url = at(item, name), at(item, "gcsUri") or at(item, "uri")
    if isinstance(data, str) and data:
        try:
            return output_of(base64.b64decode(plain_base64(data), validate=True), kind)
        except (ValueError, binascii.Error):
            return malformed("what was made is no base64")
    said = word_at(item, "mimeType") or "video/mp4"
    return Output(kind=kind, url=url, media_type=said) if isinstance(url, str) else None


def all_good(found: Sequence[Output | Failure | None]) -> list[Output] | Failure:
    """What was made, without the gaps; or the first that is no picture or film."""
    failure = next((output for output in found if isinstance(output, Failure)), None)
    return failure or [output for output in found if isinstance(output, Output)]
