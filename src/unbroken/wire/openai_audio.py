"""Speech and transcripts in OpenAI's format, both sides.

Speech is asked for with JSON and comes as the bytes of a sound; a recording to be written down
comes in a form, and its words as JSON, as plain text or as subtitles.  Both can be streamed as
events, which then are passed on between targets of this format alone.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
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
    Output,
    Request,
    Source,
    Target,
    Task,
    Usage,
)
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.asked import decoded, fault_of
from unbroken.wire.errors import classify, classify_event
from unbroken.wire.forms import fault_of_text, fields_of, files_of, for_model
from unbroken.wire.framing import UNREADABLE, join_fields
from unbroken.wire.http import JSON_TYPE, post
from unbroken.wire.media import BytesWriter, Head, Headed, output_of, unpacked
from unbroken.wire.multipart import Part, write_form
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import write_error, write_failure
from unbroken.wire.reading import malformed
from unbroken.wire.typed_events import TypedEvents, TypedWriter
from unbroken.wire.whole import WholeWriter, passed_on
from unbroken.work import Recording, Speech

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_audio"
SPEECH, TRANSCRIPTIONS, TRANSLATIONS = "/audio/speech", "/audio/transcriptions", "/audio/translations"
_FORMS = (TRANSCRIPTIONS, TRANSLATIONS)
HINTS = ("user", "safety_identifier")
_SPEECH = frozenset(("model", "input", "voice", "response_format", "speed", "instructions", "stream_format", *HINTS))
_RECORDING = frozenset(
    ("model", "file", "language", "prompt", "response_format", "temperature", "stream", "duration", *HINTS)
)
_BARE = frozenset(("temperature", "stream"))
_TYPES: Mapping[str, str] = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav",
    "pcm": "audio/pcm",
}  # fmt: skip
"""Containers by their name here."""
_TEXTS = frozenset(("text", "srt", "vtt"))
"""Answers that are no JSON."""
_encode = msgspec.json.encode


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    del continuation  # a sound is never carried on
    source = request.source
    if source is not None and source.format == NAME:
        return _pass_on(source.fields, target)
    unsaid = Unsaid(target, "OpenAI's audio format")
    if request.task is Task.SPEECH:
        speech = _write_speech(request.work_as(Speech), target, unsaid=unsaid)
        return post(target, SPEECH, body=_encode(speech), unsaid=tuple(unsaid.names))
    work = request.work_as(Recording)
    body, content_type = write_form(_write_recording(work, target, unsaid=unsaid))
    path = TRANSLATIONS if work.translate else TRANSCRIPTIONS
    return post(target, path, body=body, content_type=content_type, unsaid=tuple(unsaid.names))


def _pass_on(fields: Mapping[str, bytes], target: Target) -> HttpRequest:
    path = next((path for path in _FORMS if path in fields), None)
    if path is None:
        return post(target, SPEECH, body=join_fields({**fields, "model": _encode(target.model)}))
    body, content_type = for_model(fields[path], target.model)
    return post(target, path, body=body, content_type=content_type)


def _write_speech(work: Speech, target: Target, *, unsaid: Unsaid) -> dict[str, Json]:
    _leave_out(work, unsaid)
    fields: dict[str, Json] = {
        "model": target.model,
        "input": work.text,
        "voice": work.voice or None,
        "response_format": work.container or None,
        "speed": work.speed,
        "instructions": work.instructions or None,
        **{name: work.hints[name] for name in HINTS if name in work.hints},
    }
    return {name: value for name, value in fields.items() if value is not None}


def _write_recording(work: Recording, target: Target, *, unsaid: Unsaid) -> list[Part]:
    _leave_out(work, unsaid)
    if work.translate and work.language:
        unsaid.lack("language", "a translation is told nothing of the language")
    said: dict[str, str] = {
        "model": target.model,
        "language": "" if work.translate else work.language,
        "prompt": work.prompt,
        "response_format": work.answer if work.answer != "json" else "",
        "temperature": "" if work.temperature is None else f"{work.temperature:g}",
    }
    file = Part(name="file", data=work.data, filename=work.name, content_type=work.media_type)
    return [*(Part(name=name, data=value.encode()) for name, value in said.items() if value), file]


def _leave_out(work: Speech | Recording, unsaid: Unsaid) -> None:
    for name in work.extras:
        unsaid.lack(name)
    unsaid.hint(*(name for name in work.hints if name not in HINTS))


# ----------------------------------------------------------------------- from a caller


def read_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    path = path.partition("?")[0].rstrip("/").removeprefix("/v1")
    fields = fields_of(body, bare=_BARE)
    if isinstance(fields, Failure):
        return fields
    model = msgspec.json.decode(fields["model"], type=str)
    if path not in _FORMS:
        return fault_of_text(fields, "input") or Request(
            model=model,
            task=Task.SPEECH,
            stream=fields.get("stream_format") == b'"sse"',
            prompt_chars=len(fields["input"]),
            source=Source(NAME, fields),
            read=partial(_read_speech, fields),
        )
    files = [part for part in files_of(body) if part.name == "file"]
    if not files or not files[0].data:
        return fault_of("file", "is missing, or empty", code="missing_required_parameter")
    return Request(
        model=model,
        task=Task.TRANSCRIPTION,
        stream=fields.get("stream") == b"true",
        prompt_chars=len(fields.get("prompt", b"")),
        source=Source(NAME, {**fields, path: body}),
        read=partial(_read_recording, fields, file=files[0], translate=path == TRANSLATIONS),
    )


def _words(body: Mapping[str, Json], name: str) -> str:
    """A field that must be text where it is there."""
    value = body.get(name)
    if not isinstance(value, str | None):
        raise ValueError(f"'{name}' must be a string")  # noqa: TRY004 - as with every wrong body
    return value or ""


def _number(body: Mapping[str, Json], name: str) -> float | None:
    value = body.get(name)
    if value is not None and type(value) not in (int, float):
        raise ValueError(f"'{name}' must be a number")
    return value


def _read_speech(fields: Mapping[str, bytes]) -> Speech:
    body = decoded(fields)
    return Speech(
        text=body["input"],
        voice=_words(body, "voice"),
        container=_words(body, "response_format"),
        speed=_number(body, "speed"),
        instructions=_words(body, "instructions"),
        extras={name: value for name, value in body.items() if name not in _SPEECH and value is not None},
        hints={name: body[name] for name in HINTS if body.get(name) is not None},
    )


def _read_recording(fields: Mapping[str, bytes], *, file: Part, translate: bool) -> Recording:
    body = decoded(fields)
    return Recording(
        data=file.data,
        name=file.filename,
        media_type=file.content_type,
        language=_words(body, "language"),
        prompt=_words(body, "prompt"),
        temperature=_number(body, "temperature"),
        answer=_words(body, "response_format") or "json",
        translate=translate,
        extras={name: value for name, value in body.items() if name not in _RECORDING and value is not None},
        hints={name: body[name] for name in HINTS if body.get(name) is not None},
    )


# ----------------------------------------------------------------------------- answers


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer: a sound, or the words of one."""
    if request.stream and request.source is not None and request.source.format == NAME:
        return TypedEvents(NAME, _EVENTS, ends=_ENDS)
    read = _read_sound if request.task is Task.SPEECH else _read_transcript
    return Headed(partial(read, request=request))


def _read_sound(head: Head, body: bytes, *, request: Request) -> list[Delta] | Failure:
    """The bytes of a sound, at Mistral in base64 within JSON."""
    sound, passed = body, True
    if head.content_type == JSON_TYPE or body[:1] == b"{":
        try:
            sound, passed = unpacked(_AUDIO.decode(body).audio_data), False
        except UNREADABLE:
            passed = True
    output = output_of(sound, "audio", said=_said(head, request) if passed else "")
    if isinstance(output, Failure):
        return output
    usage = Usage(characters=_characters(request))
    delta = Delta(media=1, usage=usage, outputs=(output,))
    return [replace(delta, format=NAME, raw=body, body=True) if passed else delta]


class _Audio(msgspec.Struct, gc=False):
    audio_data: str


_AUDIO = msgspec.json.Decoder(_Audio)


def _said(head: Head, request: Request) -> str:
    """The content type, or what was asked for where none was said: nothing in samples tells what they are."""
    if head.content_type not in ("", "application/octet-stream"):
        return head.content_type
    fields = request.source.fields if request.source is not None else {}
    return "audio/pcm" if fields.get("response_format") == b'"pcm"' else ""


def _characters(request: Request) -> int:
    """How much there was to say, which is what speech costs by."""
    try:
        return len(request.work_as(Speech).text)
    except ValueError:
        return 0


class _Transcript(msgspec.Struct, gc=False):
    text: str | None = None
    usage: Any = None
    duration: Any = None
    error: Any = None


_TRANSCRIPT = msgspec.json.Decoder(_Transcript)


def _read_transcript(head: Head, body: bytes, *, request: Request) -> list[Delta] | Failure:
    """The words: JSON, or text where that was asked for.  A recording of silence has none."""
    if head.content_type != JSON_TYPE and _asked_for(request) in _TEXTS:
        if body.lstrip()[:1] == b"<" or head.content_type == "text/html":
            return malformed("a page in place of a transcript")
        text = body.decode("utf-8", "replace")
        return [Delta(text=text, media=1, usage=Usage(), format=NAME, raw=body, body=True)]
    try:
        said = _TRANSCRIPT.decode(body.lstrip())
    except UNREADABLE:
        return _no_transcript(body)
    if said.error or said.text is None:
        return _no_transcript(body)
    usage = _usage(said.usage, said.duration)
    return [Delta(text=said.text, media=1, usage=usage, format=NAME, raw=body, body=True)]


def _asked_for(request: Request) -> str:
    try:
        return request.work_as(Recording).answer
    except ValueError:
        return "json"


def _no_transcript(body: bytes) -> Failure:
    try:
        return classify_event(msgspec.json.decode(body)) or malformed("the answer holds no text")
    except UNREADABLE:
        return malformed("the answer is no transcript")


def _usage(usage: Json, duration: Json = None) -> Usage:
    """OpenAI counts tokens or seconds, Mistral both."""
    told = usage if isinstance(usage, dict) else {}
    details = told.get("input_token_details") or told.get("prompt_tokens_details")
    audio = details.get("audio_tokens") if isinstance(details, dict) else None
    lengths: list[Json] = [told.get("seconds"), told.get("prompt_audio_seconds"), duration]
    seconds = next((float(length) for length in lengths if type(length) in (int, float)), 0.0)
    counted = read_usage(told) or Usage()
    return replace(counted, seconds=seconds, input_audio_tokens=audio if type(audio) is int else 0)


def _words_come(event: Mapping[str, Json]) -> Delta:
    return Delta(text=_words(event, "delta"))


def _words_end(event: Mapping[str, Json]) -> Delta:
    return Delta(media=1, usage=_usage(event.get("usage")))


def _sound_comes(event: Mapping[str, Json]) -> Delta:
    return Delta(media=1, outputs=(Output(kind="audio", data=unpacked(_words(event, "audio"))),))


def _sound_ends(event: Mapping[str, Json]) -> Delta:
    return Delta(usage=_usage(event.get("usage")))


_EVENTS = {
    "transcript.text.delta": _words_come,
    "transcript.text.done": _words_end,
    "speech.audio.delta": _sound_comes,
    "speech.audio.done": _sound_ends,
}
_ENDS = frozenset(("transcript.text.done", "speech.audio.done"))


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _events_for(request)
    if request.task is Task.SPEECH:
        fields = request.source.fields if request.source is not None else {}
        asked = fields.get("response_format", b"").strip(b'"').decode("ascii", "replace")
        return BytesWriter(_TYPES.get(asked, "audio/mpeg"), _write_fault)
    kind = JSON_TYPE if _asked_for(request) not in _TEXTS else "text/plain; charset=utf-8"
    return WholeWriter(kind, partial(_write_words, request=request), fail=_write_fault)


def _write_fault(failure: Failure, _outcome: Outcome) -> bytes:
    return write_failure(failure, "")[2]


def _write_words(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    text = "".join(delta.text for delta in deltas)
    if (asked := _asked_for(request)) in _TEXTS:
        return text.encode()
    usage = next((delta.usage for delta in deltas if delta.usage), None)
    body: dict[str, Json] = {"text": text}
    if asked == "verbose_json":
        body.update(task="transcribe", language="", duration=usage.seconds if usage else 0.0, segments=[])
    if usage is not None and (usage.input_tokens or usage.output_tokens or usage.seconds):
        body["usage"] = _write_usage(usage)
    return _encode(body)


def _write_usage(usage: Usage) -> dict[str, Json]:
    if not usage.input_tokens and not usage.output_tokens:
        return {"type": "duration", "seconds": usage.seconds}
    return {
        "type": "tokens",
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_token_details": {
            "audio_tokens": usage.input_audio_tokens,
            "text_tokens": usage.input_tokens - usage.input_audio_tokens,
        },
    }


class _Told:
    """What a stream has said so far, for its last event."""

    __slots__ = ("speaks", "text", "usage")

    def __init__(self, *, speaks: bool) -> None:
        self.speaks, self.text, self.usage = speaks, "", Usage()

    def events(self, delta: Delta) -> list[dict[str, Json]]:
        self.text += delta.text
        self.usage = delta.usage or self.usage
        if not self.speaks:
            return [{"type": "transcript.text.delta", "delta": delta.text}] if delta.text else []
        return [
            {"type": "speech.audio.delta", "audio": base64.b64encode(output.data).decode()}
            for output in delta.outputs
        ]  # fmt: skip

    def finish(self) -> list[dict[str, Json]]:
        usage = _write_usage(self.usage)
        if self.speaks:
            return [{"type": "speech.audio.done", "usage": usage}]
        return [{"type": "transcript.text.done", "text": self.text, "usage": usage}]


def _events_for(request: Request) -> Writer:
    told = _Told(speaks=request.task is Task.SPEECH)
    return TypedWriter(NAME, told.events, finish=told.finish, error=_write_error)


def _write_error(failure: Failure) -> Json:
    return write_error(failure)


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(f"/v1{SPEECH}", f"/v1{TRANSCRIPTIONS}", f"/v1{TRANSLATIONS}"),
)
