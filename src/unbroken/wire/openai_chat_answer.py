"""Answers in the OpenAI chat format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

Only what verdicts, usage and a rescue need is decoded; everything else stays in `Delta.raw`.
Two readers take turns: a typed one for what nearly every provider sends, and, where that
one fails, a patient one that drops what has the wrong type.  Providers that mix the two
kinds of answer up (JSON where a stream was asked for, or the other way round) are read all
the same, because content types are not to be relied on.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Json, Output, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder
from unbroken.wire.errors import classify_event
from unbroken.wire.framing import UNREADABLE, Event, Events, join_fields, split_fields
from unbroken.wire.whole import BODY_BYTES_MAX

__all__ = ["NAME", "decoder", "read_json", "read_usage"]

NAME = "openai_chat"

_BLANK = b" \t\r\n\xef\xbb\xbf"
"""What may stand before an answer: white space that keeps a connection alive, and a byte order mark."""

_FINISHES = {
    "stop": Finish.STOP,
    "eos": Finish.STOP,
    "end": Finish.STOP,
    "length": Finish.LENGTH,
    "model_length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "tool_calls": Finish.TOOL_CALLS,
    "function_call": Finish.TOOL_CALLS,
    "content_filter": Finish.CONTENT_FILTER,
}
"""Any other word ends an answer well (`end_turn`, `stop_sequence`, ...), but for these:"""
_FAULTS = {
    "error": FailureKind.SERVER,
    "abort": FailureKind.SERVER,
    "cancelled": FailureKind.SERVER,
    "timeout": FailureKind.SERVER,
    "insufficient_system_resource": FailureKind.OVERLOADED,
    "malformed_function_call": FailureKind.MODEL_FAULT,
}


class _Piece(msgspec.Struct, gc=False):
    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None


class _Choice(msgspec.Struct, gc=False):
    index: Any = 0
    delta: _Piece | None = None
    message: _Piece | None = None
    finish_reason: Any = msgspec.UNSET


class _Answer(msgspec.Struct, gc=False):
    id: str | None = ""
    model: str | None = ""
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None


_HTML = "an HTML page came in place of an answer"
_NO_END = "the stream ended without [DONE] and without a finish reason"
_NO_REASON = "the stream ended in [DONE], but every event said that it had not finished"
_NOTHING = _Piece()
_ANSWER = msgspec.json.Decoder(_Answer)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else _Plain()


# ------------------------------------------------------------------------- streamed


class _Streamed:
    """An event stream.  Text that shares its bytes with a failure is not reported: nobody has seen it yet."""

    __slots__ = ("_begun", "_calls", "_events", "_finished", "_plain", "_promised", "_usage", "done")

    def __init__(self) -> None:
        self.done = False
        self._promised = self._usage = False
        self._begun = False
        self._events = Events()
        self._plain: _Plain | None = None
        self._calls: dict[int, _Calls] = {}
        self._finished: dict[int, bool] = {}

    def feed(self, data: bytes) -> list[Delta] | Failure:
        if self._plain is not None:
            return self._plain.feed(data)
        if not self._begun:
            data = data.lstrip(_BLANK)
            if not data:
                return []
            if data.startswith(b"<"):
                return _malformed(_HTML)
            if data[0] in b"{[":
                self._plain = _Plain(raw=False)
                return self._plain.feed(data)
            self._begun = True
        return self._steps(self._events.feed(data))

    def close(self) -> list[Delta] | Failure:
        if self._plain is not None:
            deltas = self._plain.close()
            self.done = self._plain.done
            return deltas
        rest = [] if self.done else self._steps(self._events.close())
        cut_short = isinstance(rest, Failure) and rest.kind is FailureKind.MALFORMED
        if self.done or (self._finished and all(self._finished.values())):
            return [] if cut_short else rest
        if cut_short or not isinstance(rest, Failure):
            return Failure(kind=FailureKind.TRUNCATED, message=_NO_END)
        return rest

    def _steps(self, events: list[Event] | Failure) -> list[Delta] | Failure:
        if isinstance(events, Failure):
            return events
        deltas: list[Delta] = []
        for event in events:
            if self.done:
                break
            if event.data.startswith(b"[DONE]"):
                self.done = True
                if self._interrupted:
                    return Failure(kind=FailureKind.TRUNCATED, message=_NO_REASON)
                break
            answer = _read(event.data)
            if isinstance(answer, Failure):
                return answer
            if event.name == "error":
                return Failure(kind=FailureKind.SERVER, message="the stream holds an error event that says nothing")
            failure = self._step(answer, event, deltas=deltas)
            if failure is not None:
                return failure
        return deltas

    @property
    def _interrupted(self) -> bool:
        """Whether a proper terminator is a lie.

        A server that was interrupted (llama_cpp.server by a second request) sends [DONE] after
        events that all had `"finish_reason": null` and after no usage.  Servers that never
        speak of a reason (Snowflake) do not send the field at all.
        """
        return self._promised and not self._usage and not any(self._finished.values())

    def _step(self, answer: _Answer, event: Event, *, deltas: list[Delta]) -> Failure | None:
        """Append what one event says."""
        choices = answer.choices
        if answer.usage or answer.x_groq:
            self._usage = True
        if not choices:
            deltas.append(_bare_delta(answer, event.raw))
            return None
        raws = [event.raw] if len(choices) == 1 else _apart(event.data, len(choices))
        for choice, raw in zip(choices, raws, strict=True):
            piece = choice.delta or choice.message or _NOTHING
            delta = _delta(choice, piece, answer=answer, raw=raw, calls=self._calls)
            if isinstance(delta, Failure):
                return delta
            deltas.append(delta)
            answer.usage = answer.x_groq = None
            if delta.finish is not None:
                self._finished[delta.choice] = True
            elif delta.choice not in self._finished:
                self._finished[delta.choice] = False
                self._promised = self._promised or choice.finish_reason is None
        return None


def _bare_delta(answer: _Answer, raw: bytes) -> Delta:
    """An event without choices: usage, or a provider's notes; it is passed on."""
    return Delta(usage=_usage(answer), model=answer.model or "", id=answer.id or "", format=NAME, raw=raw)


def _apart(payload: bytes, count: int) -> list[bytes]:
    """One event for each choice of an event that holds several, so that each can go its own way."""
    try:
        fields = split_fields(payload)
        choices = msgspec.json.decode(fields["choices"], type=list[msgspec.Raw])
    except (*UNREADABLE, KeyError):
        choices = []
    if len(choices) != count:
        return [b""] * count
    events = []
    for choice in choices:
        fields["choices"] = b"[" + bytes(choice) + b"]"
        events.append(b"data: " + join_fields(fields) + b"\n\n")
        fields.pop("usage", None)
    return events


# ---------------------------------------------------------------------------- plain


class _Plain:
    """A whole JSON answer; an event stream that comes in its place is folded into it."""

    __slots__ = ("_parts", "_raw", "_size", "done")

    def __init__(self, *, raw: bool = True) -> None:
        self.done = False
        self._raw = raw
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Delta] | Failure:
        self._size += len(data)
        if self._size > BODY_BYTES_MAX:
            return _malformed(f"the answer is longer than {BODY_BYTES_MAX} bytes")
        self._parts.append(data)
        return []

    def close(self) -> list[Delta] | Failure:
        body = b"".join(self._parts).lstrip(_BLANK)
        if body.startswith((b"data:", b"event:", b":")):
            return self._from_stream(body)
        answer = _read(body)
        if isinstance(answer, Failure):
            return answer
        deltas = _whole(answer, body if self._raw else b"")
        self.done = not isinstance(deltas, Failure)
        return deltas

    def _from_stream(self, body: bytes) -> list[Delta] | Failure:
        streamed = _Streamed()
        steps = streamed.feed(body)
        if isinstance(steps, Failure):
            return steps
        rest = streamed.close()
        if isinstance(rest, Failure):
            return rest
        self.done = True
        return [replace(delta, raw=b"") for delta in steps + rest]


def _whole(answer: _Answer, body: bytes) -> list[Delta] | Failure:
    """The answers of a body; the first delta holds the body itself."""
    if not answer.choices:
        return _malformed("the answer holds no choices")
    deltas: list[Delta] = []
    for choice in answer.choices:
        if choice.message is None:
            return _malformed("a choice of the answer holds no message")
        delta = _delta(choice, choice.message, answer=answer, raw=body, calls={}, body=bool(body))
        if isinstance(delta, Failure):
            return delta
        deltas.append(delta)
        answer.usage = answer.x_groq = None
        body = b""
    return deltas


# ------------------------------------------------------------------- reading the JSON


def read_json(payload: bytes) -> Json | Failure:
    """Any JSON value, read with patience (raw control characters, lone surrogates); MALFORMED where it is none."""
    try:
        return _mend(json.loads(payload.decode("utf-8", "replace"), strict=False))
    except UNREADABLE:
        if payload[:1] == b"<":
            return _malformed(_HTML)
        return _malformed("the answer is empty" if not payload.strip() else "the answer is not valid JSON")


def _mend(value: Json) -> Json:
    """The same value with lone surrogates replaced: no encoder would take them."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mend(item) for item in value]
    if isinstance(value, dict):
        return {_mend(key): _mend(item) for key, item in value.items()}
    return value


def _read(payload: bytes) -> _Answer | Failure:
    """The fields that we need, or the error that came under status 200."""
    try:
        answer = _ANSWER.decode(payload)
    except UNREADABLE:
        return _read_patiently(payload)
    if answer.error or answer.choices is None:
        return _read_patiently(payload)
    return answer


def _read_patiently(payload: bytes) -> _Answer | Failure:
    value = read_json(payload)
    if isinstance(value, Failure):
        return value
    failure = classify_event(value)
    if failure is not None:
        return failure
    if not isinstance(value, dict):
        return _malformed("the answer is not a JSON object")
    for name in ("id", "model"):
        value[name] = _string(value.get(name))
    choices = value.get("choices")
    if choices is not None:
        value["choices"] = [_tame(c) for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    answer: _Answer = msgspec.convert(value, _Answer)
    return answer


def _tame(choice: dict[str, Json]) -> dict[str, Json]:
    """A choice whose `delta` and `message` are objects or nothing."""
    for name in ("delta", "message"):
        if not isinstance(choice.get(name), dict):
            choice.pop(name, None)
    return choice


def _malformed(message: str) -> Failure:
    return Failure(kind=FailureKind.MALFORMED, message=message)


def _delta(
    choice: _Choice, piece: _Piece, *, answer: _Answer, raw: bytes, calls: dict[int, _Calls], body: bool = False
) -> Delta | Failure:
    """One choice of an event or a body; a Failure where its finish reason is one."""
    finish: Finish | None = None
    raw_finish = choice.finish_reason
    if raw_finish is not None and raw_finish is not msgspec.UNSET:
        verdict = _finish(raw_finish)
        if isinstance(verdict, Failure):
            return verdict
        finish = verdict
    text, reasoning = piece.content, ""
    if type(text) is not str:
        text, reasoning = _words(text)
    if piece.reasoning_content or piece.reasoning:
        reasoning = _string(piece.reasoning_content) or _string(piece.reasoning)
    index = choice.index if type(choice.index) is int and choice.index > 0 else 0
    return Delta(
        text=text,
        reasoning=reasoning,
        tool_calls=_fragments(piece, index, calls=calls) if piece.tool_calls or piece.function_call else (),
        usage=_usage(answer) if answer.usage or answer.x_groq else None,
        finish=finish,
        raw_finish=raw_finish if finish else None,
        refusal=_string(piece.refusal) if piece.refusal else "",
        media=_media(piece) if piece.audio or piece.images else 0,
        outputs=_drawn(piece.images) if piece.images else (),
        choice=index,
        model=answer.model or "",
        id=answer.id or "",
        format=NAME,
        raw=raw,
        body=body,
    )


def _finish(word: Json) -> Finish | Failure | None:
    """Why an answer ended, in our vocabulary; None where the word is none."""
    if not isinstance(word, str) or word in ("", "null"):
        return None
    kind = _FAULTS.get(word.lower())
    if kind is not None:
        return Failure(kind=kind, message=f"the answer ended with the finish reason {word!r}", code=word)
    return _FINISHES.get(word.lower(), Finish.STOP)


def _words(content: Json) -> tuple[str, str]:
    """Text and thoughts of a content that is not a string: Mistral's list of parts, or stray JSON."""
    if content is None:
        return "", ""
    if not isinstance(content, list):
        return _as_json(content), ""
    text, thoughts = [], []
    for part in content:
        if isinstance(part, str):
            text.append(part)
        elif isinstance(part, dict) and part.get("type") == "thinking":
            inner = part.get("thinking")
            thoughts.append(inner if isinstance(inner, str) else _words(inner)[0] if isinstance(inner, list) else "")
        elif isinstance(part, dict):
            text.append(_string(part.get("text")))
    return "".join(text), "".join(thoughts)


def _media(piece: _Piece) -> int:
    """How many sounds and images a piece holds."""
    images = len(piece.images) if isinstance(piece.images, list) else 0
    return images + (1 if piece.audio else 0)


def _drawn(images: Json) -> tuple[Output, ...]:
    """Pictures beside the words, where OpenRouter and its models put them; each an address, often of its own bytes."""
    items = [item.get("image_url") for item in images if isinstance(item, dict)] if isinstance(images, list) else []
    urls = [_string(item.get("url")) for item in items if isinstance(item, dict)]
    return tuple(Output(kind="image", url=url) for url in urls if url)


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _as_json(value: Json) -> str:
    """JSON text of a value where a string belongs: structured content, or arguments as an object (Ollama)."""
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except UNREADABLE:  # pragma: no cover - only nesting within a few levels of the interpreter's limit
        return ""


# ----------------------------------------------------------------------- tool calls


class _Calls:
    """Which call a fragment belongs to.

    By `index` as a rule.  Where it is missing (some servers), a new id begins a call and
    what has none goes on with the last; where two calls share an index (Gemini's
    compatible side), a new id together with a name begins the next call.
    """

    __slots__ = ("_at", "_ids")

    def __init__(self) -> None:
        self._at: dict[int, int] = {}
        self._ids: dict[int, str] = {}

    def place(self, given: Json, *, call_id: str, name: str) -> int:
        key = given if type(given) is int and given >= 0 else -1
        index = self._at.get(key)
        known = "" if index is None else self._ids[index]
        if index is None or (known and call_id and call_id != known and (name or key < 0)):
            index = key if key >= 0 and key not in self._ids else max(self._ids, default=-1) + 1
            self._at[key] = index
            self._ids[index] = call_id
        elif call_id and not known:
            self._ids[index] = call_id
        return index


def _fragments(piece: _Piece, choice: int, *, calls: dict[int, _Calls]) -> tuple[ToolFragment, ...]:
    pieces = piece.tool_calls if isinstance(piece.tool_calls, list) else []
    if piece.function_call:
        pieces = [*pieces, {"index": 0, "function": piece.function_call}]
    places = calls.get(choice)
    if places is None:
        places = calls[choice] = _Calls()
    return tuple(_fragment(call, places) for call in pieces if isinstance(call, dict))


def _fragment(call: dict[str, Json], places: _Calls) -> ToolFragment:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    call_id, name, arguments = _string(call.get("id")), _string(function.get("name")), function.get("arguments")
    if not isinstance(arguments, str):
        arguments = _as_json(arguments) if arguments else ""
    index = places.place(call.get("index"), call_id=call_id, name=name)
    return ToolFragment(index=index, id=call_id, name=name, arguments=arguments)


# ---------------------------------------------------------------------------- usage


def _usage(answer: _Answer) -> Usage | None:
    """The tokens of an answer; Groq keeps them in a field of its own while it streams."""
    usage = answer.usage
    if not usage and isinstance(answer.x_groq, dict):
        usage = answer.x_groq.get("usage")
    return read_usage(usage)


def read_usage(usage: Json) -> Usage | None:
    """OpenAI's `usage` object with what others put into it; None where there is none."""
    if not isinstance(usage, dict) or not usage:
        return None
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = prompt.get("cached_tokens") if isinstance(prompt, dict) else None
    reasoning = completion.get("reasoning_tokens") if isinstance(completion, dict) else None
    return Usage(
        input_tokens=_count(usage.get("prompt_tokens") or usage.get("input_tokens")),
        output_tokens=_count(usage.get("completion_tokens") or usage.get("output_tokens")),
        cached_tokens=_count(cached or usage.get("prompt_cache_hit_tokens")),
        reasoning_tokens=_count(reasoning),
        cost_usd=_cost_usd(usage) if "cost" in usage or "cost_in_usd_ticks" in usage else None,
    )


def _count(value: Json) -> int:
    return value if type(value) is int and value > 0 else 0


def _cost_usd(usage: dict[str, Json]) -> float | None:
    """Dollars: OpenRouter a number, Perplexity an object with a total, xAI ticks of 1e-10."""
    cost: Json = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    ticks = usage.get("cost_in_usd_ticks")
    if cost is None and type(ticks) is int:
        cost = ticks * 1e-10
    return float(cost) if type(cost) in (int, float) and 0 <= cost < 1e9 else None
