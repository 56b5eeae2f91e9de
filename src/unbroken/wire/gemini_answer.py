"""Answers in Gemini's format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A stream has no end marker: it is whole if it said why it ended.  It comes as events
(`alt=sse`) or as one JSON array, and both are read.  An error within a stream stands in an
event, or bare behind the last one.  Calls without an id get one, from the answer's own id
and their place in it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Json, Output, Request, Target, Usage
from unbroken.wire import Decoder
from unbroken.wire.errors import classify_event
from unbroken.wire.event_answers import EventAnswer, apart, is_stream
from unbroken.wire.framing import UNREADABLE, Event, Events
from unbroken.wire.gemini_dialect import plain_base64
from unbroken.wire.gemini_messages import NAME
from unbroken.wire.gemini_pieces import Calls, Elements
from unbroken.wire.reading import BLANK, count_of, malformed, read_json, read_object, string_of
from unbroken.wire.whole import Whole

__all__ = ["OWN_FINISHES", "blocked", "decoder", "finish_of", "read_usage"]

_EMPTY_LINE = b"\r\n\r\n"
_STRAY_BYTES_MAX = 64 * 1024
"""What is kept of text that is no event: an error says what it has to say at once."""

_FILTERS = ("SAFETY", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT")  # fmt: skip
_FINISHES = {
    "STOP": Finish.STOP,
    "MAX_TOKENS": Finish.LENGTH,
    "CONTINUATION": Finish.LENGTH,
    **dict.fromkeys(_FILTERS, Finish.CONTENT_FILTER),
}
"""Any other word ends an answer well, but for these faults:"""
_FAULTS = {
    "RECITATION": True, "OTHER": True, "MALFORMED_FUNCTION_CALL": True, "MALFORMED_RESPONSE": True, "NO_IMAGE": True,
    "UNEXPECTED_TOOL_CALL": True, "IMAGE_OTHER": True, "IMAGE_RECITATION": True, "LANGUAGE": False,
    "TOO_MANY_TOOL_CALLS": False, "MISSING_THOUGHT_SIGNATURE": False, "PUP_LIMITED_DISABLED": False,
}  # fmt: skip
"""Each with whether the same model may do better when it is asked again."""
_NUMBERED = ("", "STOP", "MAX_TOKENS", "SAFETY", "RECITATION", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
             "MALFORMED_FUNCTION_CALL", "MODEL_ARMOR")  # fmt: skip
"""Vertex AI's reasons by their numbers, which it sends to those who ask for `enum-encoding=int`."""
OWN_FINISHES = frozenset((*_FINISHES, *_FAULTS))
_AUDIO = ("AUDIO", 4)


class _Part(msgspec.Struct, gc=False, rename="camel"):
    text: Any = None
    thought: Any = None
    thought_signature: Any = None
    function_call: Any = None
    inline_data: Any = None


class _Content(msgspec.Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct, gc=False, rename="camel"):
    content: _Content | None = None
    finish_reason: Any = None
    finish_message: Any = None
    index: Any = 0


class _Answer(msgspec.Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    model_version: str | None = ""
    response_id: str | None = ""
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_whole)


# ------------------------------------------------------------------------- streamed


class _Chunks:
    """Cuts a stream into events; `stray` is what came behind the last one."""

    __slots__ = ("_between", "_frames", "stray")

    def __init__(self) -> None:
        self._frames: Events | Elements | None = None
        self._between = False
        self.stray = b""

    def feed(self, data: bytes) -> list[Event] | Failure:
        """The events that these bytes complete; the usual case first: they are one event and nothing else."""
        if self._frames is None:
            self._frames = Elements() if data.startswith(b"[") else Events()
        between, self._between = self._between, data.endswith(_EMPTY_LINE)
        if between and self._between and data.startswith(b"data: {") and data.count(b"\n") == 2:
            self.stray = b""
            return [Event(data[6:-4], data)]
        events = self._frames.feed(data)
        self._keep_stray(data, events)
        return events

    def _keep_stray(self, data: bytes, events: list[Event] | Failure) -> None:
        if events:
            end = data.rstrip()
            self.stray = data[max(end.rfind(b"\n\n"), end.rfind(b"\n\r\n")) + 1 :]
        elif len(self.stray) < _STRAY_BYTES_MAX:
            self.stray += data

    def close(self) -> list[Event] | Failure:
        """An event without its end."""
        return self._frames.close() if isinstance(self._frames, Events) else []


class _Streamed(EventAnswer):
    """Chunks of one answer."""

    __slots__ = ("_calls", "_chunks", "_finished")

    no_end = "the stream ended without a finish reason"
    plain_begins = b"{"

    def __init__(self) -> None:
        self._chunks = _Chunks()
        super().__init__(self._chunks)
        self._calls: dict[int, Calls] = {}
        self._finished: dict[int, bool] = {}

    def _has_finished(self) -> bool:
        return bool(self._finished) and all(self._finished.values())

    def _cut_off(self) -> Failure:
        """The error that stands bare behind the last event, if one does."""
        stray = self._chunks.stray.strip()
        bare = classify_event(read_json(stray)) if stray.startswith((b"{", b"[")) else None
        return bare or super()._cut_off()

    def _read_plain(self, body: bytes) -> list[Delta] | Failure:
        return _read_whole(body, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        answer = _read(event.data)
        if isinstance(answer, Failure):
            return answer
        steps = _deltas(answer, _raws(answer, event), calls=self._calls)
        if answer.candidates and isinstance(steps, list):
            for delta in steps:
                self._finished[delta.choice] = delta.finish is not None or self._finished.get(delta.choice, False)
        return steps


def _raws(answer: _Answer, event: Event) -> list[bytes]:
    """One event for each candidate, so that each can go its own way."""
    count = len(answer.candidates or ())
    if count < 2:
        return [event.raw]
    return apart(event.data, "candidates", count=count, once="usageMetadata", end=_EMPTY_LINE)


# ---------------------------------------------------------------------------- plain


def _read_whole(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    """The answer in a body; a stream that came in its place is read as one."""
    body = body.lstrip(BLANK)
    if is_stream(body) or body.startswith(b"["):
        return _Streamed().folded(body)
    answer = _read(body)
    if isinstance(answer, Failure):
        return answer
    count = len(answer.candidates or ())
    if not count and blocked(answer.prompt_feedback) is None:
        return malformed("the answer holds no candidates")
    return _deltas(answer, [body if raw else b"", *[b""] * (count - 1)], calls={}, body=raw)


# ------------------------------------------------------------------- reading the JSON


def _read(payload: bytes) -> _Answer | Failure:
    """The fields that we need, or the error that came under status 200."""
    try:
        answer = _ANSWER.decode(payload)
    except UNREADABLE:
        return _read_patiently(payload)
    return _read_patiently(payload) if answer.error else answer


def _read_patiently(payload: bytes) -> _Answer | Failure:
    value = read_object(payload)
    if isinstance(value, Failure):
        return value
    candidates = value.get("candidates")
    tamed = {
        "candidates": [_tame(c) for c in candidates if isinstance(c, dict)] if isinstance(candidates, list) else None,
        "promptFeedback": value.get("promptFeedback"),
        "usageMetadata": value.get("usageMetadata"),
        "modelVersion": string_of(value.get("modelVersion")),
        "responseId": string_of(value.get("responseId")),
    }
    return msgspec.convert(tamed, _Answer)


def _tame(candidate: dict[str, Json]) -> dict[str, Json]:
    """A candidate whose content is an object with a list of objects, or nothing."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, dict) else None
    known = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return {**candidate, "content": {"parts": known}}


def _drawn(inline: Json) -> list[Output]:
    """A picture (or sound) among the words, as an address of its bytes."""
    if not isinstance(inline, dict) or not isinstance(inline.get("data"), str):
        return []
    said = string_of(inline.get("mimeType"))
    kind = said.partition("/")[0]
    url = f"data:{said};base64,{plain_base64(inline['data'])}"
    return [Output(kind=kind if kind in ("video", "audio") else "image", url=url, media_type=said)]


def blocked(feedback: Json) -> Failure | None:
    """The failure that a prompt which was not answered is: `promptFeedback` says why."""
    reason = feedback.get("blockReason") if isinstance(feedback, dict) else None
    if not reason:
        return None
    words = string_of(feedback.get("blockReasonMessage"))
    message = f"the prompt was blocked ({reason}){': ' if words else ''}{words}"
    return Failure(kind=FailureKind.CONTENT_POLICY, message=message, code=str(reason))


def _deltas(
    answer: _Answer, raws: list[bytes], *, calls: dict[int, Calls], body: bool = False
) -> list[Delta] | Failure:
    """What one answer or chunk says, a delta for each candidate, the first of which holds the bytes."""
    if not answer.candidates:
        usage = read_usage(answer.usage_metadata)
        bare = Delta(usage=usage, model=answer.model_version or "", id=answer.response_id or "", format=NAME,
                     raw=raws[0])  # fmt: skip
        return blocked(answer.prompt_feedback) or [bare]
    deltas: list[Delta] = []
    for candidate, raw in zip(answer.candidates, raws, strict=True):
        delta = _delta(candidate, answer, raw=raw, calls=calls, body=body and not deltas)
        if isinstance(delta, Failure):
            return delta
        deltas.append(delta)
        answer.usage_metadata = None
    return deltas


def _delta(
    candidate: _Candidate, answer: _Answer, *, raw: bytes, calls: dict[int, Calls], body: bool
) -> Delta | Failure:
    """One candidate; a Failure where its finish reason is one."""
    index = candidate.index if type(candidate.index) is int and candidate.index > 0 else 0
    text = reasoning = signature = refusal = ""
    fragments = []
    outputs = []
    answer_id = answer.response_id or ""
    for part in candidate.content.parts or () if candidate.content is not None else ():
        own = part.thought_signature if type(part.thought_signature) is str else ""
        if type(part.function_call) is dict:
            fragment = calls.setdefault(index, Calls()).place(part.function_call, answer_id=answer_id, signature=own)
            fragments += [] if fragment is None else [fragment]
            continue
        signature = own or signature
        outputs += _drawn(part.inline_data)
        if type(part.text) is str:
            if part.thought:
                reasoning += part.text
            else:
                text += part.text
    finish, word = None, ""
    if candidate.finish_reason:
        verdict = finish_of(candidate.finish_reason, string_of(candidate.finish_message))
        if isinstance(verdict, Failure):
            return verdict
        finish, word = verdict
        if finish is Finish.CONTENT_FILTER:
            refusal = string_of(candidate.finish_message)
        elif finish is Finish.STOP and index in calls:
            finish = Finish.TOOL_CALLS
    return Delta(
        text=text,
        reasoning=reasoning,
        tool_calls=tuple(fragments),
        usage=read_usage(answer.usage_metadata) if answer.usage_metadata else None,
        finish=finish,
        raw_finish=word or None,
        refusal=refusal,
        media=len(outputs),
        outputs=tuple(outputs),
        choice=index,
        model=answer.model_version or "",
        id=answer_id,
        format=NAME,
        raw=raw,
        body=body,
        signature=signature,
    )


def finish_of(reason: Json, message: str = "") -> tuple[Finish | None, str] | Failure:
    """Why an answer ended, in our vocabulary and in Google's; a Failure where that is one."""
    known = type(reason) is int and 0 <= reason < len(_NUMBERED)
    word = _NUMBERED[reason] if known else reason if isinstance(reason, str) else ""
    if not word or word == "FINISH_REASON_UNSPECIFIED":
        return None, ""
    if word not in _FAULTS:
        return _FINISHES.get(word, Finish.STOP), word
    kind = FailureKind.DENIED if word.startswith("PUP_") else FailureKind.MODEL_FAULT
    said = f"the answer ended with the finish reason {word!r}{': ' if message else ''}{message[:500]}"
    return Failure(kind=kind, message=said, code=word, again=_FAULTS[word])


# ---------------------------------------------------------------------------- usage


def read_usage(usage: Json) -> Usage | None:
    """Google's `usageMetadata`; None where it counts nothing (yet)."""
    if not isinstance(usage, dict):
        return None
    found = [usage.get(name) for name in _COUNTS]
    prompt, tool_use, spoken, thought, cached = map(count_of, found)
    if not (prompt or tool_use or spoken or thought):
        return None
    return Usage(
        input_tokens=prompt + tool_use,
        output_tokens=spoken + thought,
        cached_tokens=cached,
        reasoning_tokens=thought,
        input_audio_tokens=_audio(usage.get("promptTokensDetails")),
        output_audio_tokens=_audio(usage.get("candidatesTokensDetails")),
    )


_COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount",
           "cachedContentTokenCount")  # fmt: skip


def _audio(details: Json) -> int:
    """The tokens of sound in a list of tokens by kind."""
    total = 0
    for item in details if isinstance(details, list) else ():
        if isinstance(item, dict) and item.get("modality") in _AUDIO:
            total += count_of(item.get("tokenCount"))
    return total
