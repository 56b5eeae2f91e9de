"""Films in Gemini's format, client side: Veo makes them as jobs that are asked about until they are done.

A film lies at an address for two days, and is fetched from there with the same key; Vertex AI
gives its bytes, or puts it into the caller's own storage.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from unbroken.failures import Failure, FailureKind, Fault
from unbroken.types import Delta, HttpRequest, Json, Media, Output, Target, Usage
from unbroken.wire import Decoder, Next, Unsaid
from unbroken.wire.errors import classify_event
from unbroken.wire.gemini_contents import write_media
from unbroken.wire.gemini_pictures import all_good, objects_in, output_in
from unbroken.wire.gemini_place import KEY_IN, address, is_vertex, place
from unbroken.wire.http import get, post
from unbroken.wire.jobs import Standing, at, share_of, watch, word_at
from unbroken.wire.media import gathered, size_of
from unbroken.wire.reading import malformed
from unbroken.work import Film

__all__ = ["film_of", "write_film"]

_ASK_EVERY_S = 10.0
"""As Google's documents do; a film takes from eleven seconds to six minutes."""
_LINES = {720: "720p", 1080: "1080p", 2160: "4k"}
_CODES = {3: "INVALID_ARGUMENT", 5: "NOT_FOUND", 7: "PERMISSION_DENIED", 8: "RESOURCE_EXHAUSTED",
          9: "FAILED_PRECONDITION", 13: "INTERNAL", 14: "UNAVAILABLE", 16: "UNAUTHENTICATED"}  # fmt: skip
"""Words for the numbers that a job's error has in place of a status."""
_encode = msgspec.json.encode

Object = dict[str, Any]


def write_film(work: Film, target: Target, *, unsaid: Unsaid) -> HttpRequest:
    """The request for a film; ValueError where it cannot be said."""
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*work.hints)
    ratio, lines = _screen(work.size, unsaid=unsaid)
    seconds = work.seconds
    parameters = {
        "durationSeconds": int(seconds) if seconds is not None and seconds == int(seconds) else seconds,
        "aspectRatio": ratio,
        "resolution": lines,
        "seed": work.seed,
        "negativePrompt": work.negative_prompt or None,
    }
    instance: Object = {"prompt": work.prompt}
    if work.start is not None:
        instance["image"] = _write_start(work.start)
    known = {name: value for name, value in parameters.items() if value is not None}
    body: Object = {"instances": [instance], **({"parameters": known} if known else {})}
    path = address(target, "predictLongRunning")
    return post(place(target), path, body=_encode(body), key_in=KEY_IN, unsaid=tuple(unsaid.names))


def _screen(size: str, *, unsaid: Unsaid) -> tuple[str | None, str | None]:
    sides = size_of(size)
    if sides is not None and min(sides) in _LINES and max(sides) * 9 == min(sides) * 16:
        return "16:9" if sides[0] > sides[1] else "9:16", _LINES[min(sides)]
    if size not in ("", "auto"):
        unsaid.lack("size", f"it films no {size}")
    return None, None


def _write_start(media: Media) -> Object:
    part = write_media(media)
    if "inlineData" in part:
        return {"bytesBase64Encoded": part["inlineData"]["data"], "mimeType": part["inlineData"]["mimeType"]}
    if media.url.startswith("gs://"):
        return {"gcsUri": media.url, "mimeType": part["fileData"]["mimeType"]}
    raise ValueError("Veo takes a first picture as bytes, and fetches none from an address")


def film_of(work: Film, target: Target) -> Decoder:
    """A reader of the job, which asks about it until its films are here."""
    finish = partial(_finish, work=work, target=place(target))
    return watch(partial(_look, target=target), every_s=_ASK_EVERY_S, finish=finish)


def _look(value: Json, *, asked: HttpRequest | None, target: Target) -> Standing | Failure:
    if not isinstance(value, dict):
        return malformed("the answer is not a JSON object")
    if value.get("error"):
        return _broken_job(value)
    if value.get("done"):
        return _made(value)
    name = word_at(value, "name")
    if asked is None and not name:
        return malformed("the answer names no job")
    return Standing(ask=asked or _ask(name, target), progress=share_of(at(value, "metadata", "progressPercent")))


def _ask(name: str, target: Target) -> HttpRequest:
    where = place(target)
    if is_vertex(target):
        body = _encode({"operationName": name})
        return post(where, address(target, "fetchPredictOperation"), body=body, key_in=KEY_IN)
    return get(where, "/" + quote(name, safe="/"), key_in=KEY_IN)


def _made(value: Object) -> Standing | Failure:
    answer = at(value, "response", "generateVideoResponse") or value.get("response")
    samples = objects_in(at(answer, "generatedSamples") or at(answer, "videos"))
    films = [at(sample, "video") or sample for sample in samples]
    found = all_good([_output(film) for film in films])
    if isinstance(found, Failure):
        return replace(found, again=False)
    if found:
        return Standing(outputs=tuple(found), progress=1.0)
    reasons = at(answer, "raiMediaFilteredReasons")
    kind = FailureKind.CONTENT_POLICY if reasons else FailureKind.EMPTY
    said = str(reasons[0])[:500] if isinstance(reasons, list) and reasons else "the job made no film"
    return Failure(kind=kind, message=said, again=False)


def _output(film: Json) -> Output | Failure | None:
    return output_in("video", film, name="bytesBase64Encoded") or output_in("video", film, name="encodedVideo")


def _broken_job(value: Object) -> Failure:
    """The failure of a job, which is final: asking about it again says the same."""
    error = value["error"]
    code = at(error, "code")
    if type(code) is int and code in _CODES:
        value = {"error": {**error, "code": None, "status": _CODES[code]}}
    failure = classify_event(value) or malformed("the job failed and does not say why")
    return failure if failure.verdict.fault is Fault.CALLER else replace(failure, kind=FailureKind.MODEL_FAULT)


def _finish(standing: Standing, *, work: Film, target: Target) -> list[Delta] | Failure | Next:
    usage = Usage(seconds=work.seconds * len(standing.outputs)) if work.seconds else None

    def done(outputs: tuple[Output, ...]) -> list[Delta]:
        return [Delta(media=len(outputs), outputs=outputs, usage=usage, progress=1.0)]

    return gathered(standing.outputs, target, kind="video", done=done, key_in=KEY_IN)
