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

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import Delta, Finish, Json, Output, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder
from unbroken.wire.event_answers import EventAnswer, apart, is_stream
from unbroken.wire.framing import UNREADABLE, Event
from unbroken.wire.openai_chat_shapes import Answer, Choice, Piece
from unbroken.wire.reading import BLANK, count_of, malformed, read_object, string_of
from unbroken.wire.whole import Whole

__all__ = ["NAME", "decoder", "read_usage"]

NAME = "openai_chat"

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


_NO_REASON = "the stream ended in [DONE], but every event said that it had not finished"
_NOTHING = Piece()
_ANSWER = msgspec.json.Decoder(Answer)


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_whole)


# ------------------------------------------------------------------------- streamed


class _Streamed(EventAnswer):
    """Chunks, each with a step of one choice as a rule."""

    __slots__ = ("_calls", "_finished", "_promised", "_usage")

    no_end = "the stream ended without [DONE] and without a finish reason"

    def __init__(self) -> None:
        super().__init__()
        self._promised = self._usage = False
        self._calls: dict[int, _Calls] = {}
        self._finished: dict[int, bool] = {}

    def _has_finished(self) -> bool:
        return bool(self._finished) and all(self._finished.values())

    def _read_plain(self, body: bytes) -> list[Delta] | Failure:
        return _read_whole(body, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        if event.data.startswith(b"[DONE]"):
            self.done = True
            return Failure(kind=FailureKind.TRUNCATED, message=_NO_REASON) if self._interrupted else []
        answer = _read(event.data)
        if isinstance(answer, Failure):
            return answer
        if event.name == "error":
            return Failure(kind=FailureKind.SERVER, message="the stream holds an error event that says nothing")
        return self._step(answer, event)

    @property
    def _interrupted(self) -> bool:
        """Whether a proper terminator is a lie.

        A server that was interrupted (llama_cpp.server by a second request) sends [DONE] after
        events that all had `"finish_reason": null` and after no usage.  Servers that never
        speak of a reason (Snowflake) do not send the field at all.
        """
        return self._promised and not self._usage and not any(self._finished.values())

    def _step(self, answer: Answer, event: Event) -> list[Delta] | Failure:
        """What one event says."""
        choices = answer.choices
        if answer.usage or answer.x_groq:
            self._usage = True
        if not choices:
            return [_bare_delta(answer, event.raw)]
        deltas: list[Delta] = []
        raws = [event.raw] if len(choices) == 1 else apart(event.data, "choices", count=len(choices), once="usage")
        for at, choice in enumerate(choices):  # zip(strict=True) takes a fifteenth of the time of all of this
            piece = choice.delta or choice.message or _NOTHING
            delta = _delta(choice, piece, answer=answer, raw=raws[at], calls=self._calls)
            if isinstance(delta, Failure):
                return delta
            deltas.append(delta)
            answer.usage = answer.x_groq = None
            if delta.finish is not None:
                self._finished[delta.choice] = True
            elif delta.choice not in self._finished:
                self._finished[delta.choice] = False
                self._promised = self._promised or choice.finish_reason is None
        return deltas


def _bare_delta(answer: Answer, raw: bytes) -> Delta:
    """An event without choices: usage, or a provider's notes; it is passed on."""
    return Delta(usage=_usage(answer), model=answer.model or "", id=answer.id or "", format=NAME, raw=raw)


# ---------------------------------------------------------------------------- plain


def _read_whole(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    """The answer in a body; an event stream that came in its place is read as one."""
    body = body.lstrip(BLANK)
    if is_stream(body):
        return _Streamed().folded(body)
    answer = _read(body)
    return answer if isinstance(answer, Failure) else _whole(answer, body if raw else b"")


def _whole(answer: Answer, body: bytes) -> list[Delta] | Failure:
    """The answers of a body; the first delta holds the body itself."""
    if not answer.choices:
        return malformed("the answer holds no choices")
    deltas: list[Delta] = []
    for choice in answer.choices:
        if choice.message is None:
            return malformed("a choice of the answer holds no message")
        delta = _delta(choice, choice.message, answer=answer, raw=body, calls={}, body=bool(body))
        if isinstance(delta, Failure):
            return delta
        deltas.append(delta)
        answer.usage = answer.x_groq = None
        body = b""
    return deltas


# ------------------------------------------------------------------- reading the JSON


def _read(payload: bytes) -> Answer | Failure:
    """The fields that we need, or the error that came under status 200."""
    try:
        answer = _ANSWER.decode(payload)
    except UNREADABLE:
        return _read_patiently(payload)
    if answer.error or answer.choices is None:
        return _read_patiently(payload)
    return answer


def _read_patiently(payload: bytes) -> Answer | Failure:
    value = read_object(payload)
    if isinstance(value, Failure):
        return value
    for name in ("id", "model"):
        value[name] = string_of(value.get(name))
    choices = value.get("choices")
    if choices is not None:
        value["choices"] = [_tame(c) for c in choices if isinstance(c, dict)] if isinstance(choices, list) else []
    answer: Answer = msgspec.convert(value, Answer)
    return answer


def _tame(choice: dict[str, Json]) -> dict[str, Json]:
    """A choice whose `delta` and `message` are objects or nothing."""
    for name in ("delta", "message"):
        if not isinstance(choice.get(name), dict):
            choice.pop(name, None)
    return choice


def _delta(
    choice: Choice, piece: Piece, *, answer: Answer, raw: bytes, calls: dict[int, _Calls], body: bool = False
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
        reasoning = string_of(piece.reasoning_content) or string_of(piece.reasoning)
    index = choice.index if type(choice.index) is int and choice.index > 0 else 0
    return Delta(
        text=text,
        reasoning=reasoning,
        tool_calls=_fragments(piece, index, calls=calls) if piece.tool_calls or piece.function_call else (),
        usage=_usage(answer) if answer.usage or answer.x_groq else None,
        finish=finish,
        raw_finish=raw_finish if finish else None,
        refusal=string_of(piece.refusal) if piece.refusal else "",
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
            text.append(string_of(part.get("text")))
    return "".join(text), "".join(thoughts)


def _media(piece: Piece) -> int:
    """How many sounds and images a piece holds."""
    images = len(piece.images) if isinstance(piece.images, list) else 0
    return images + (1 if piece.audio else 0)


def _drawn(images: Json) -> tuple[Output, ...]:
    """Pictures beside the words, where OpenRouter and its models put them; each an address, often of its own bytes."""
    items = [item.get("image_url") for item in images if isinstance(item, dict)] if isinstance(images, list) else []
    urls = [string_of(item.get("url")) for item in items if isinstance(item, dict)]
    return tuple(Output(kind="image", url=url) for url in urls if url)


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


def _fragments(piece: Piece, choice: int, *, calls: dict[int, _Calls]) -> tuple[ToolFragment, ...]:
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
    call_id, name, arguments = string_of(call.get("id")), string_of(function.get("name")), function.get("arguments")
    if not isinstance(arguments, str):
        arguments = _as_json(arguments) if arguments else ""
    index = places.place(call.get("index"), call_id=call_id, name=name)
    return ToolFragment(index=index, id=call_id, name=name, arguments=arguments)


# ---------------------------------------------------------------------------- usage


def _usage(answer: Answer) -> Usage | None:
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
        input_tokens=count_of(usage.get("prompt_tokens") or usage.get("input_tokens")),
        output_tokens=count_of(usage.get("completion_tokens") or usage.get("output_tokens")),
        cached_tokens=count_of(cached or usage.get("prompt_cache_hit_tokens")),
        reasoning_tokens=count_of(reasoning),
        cost_usd=_cost_usd(usage) if "cost" in usage or "cost_in_usd_ticks" in usage else None,
    )


def _cost_usd(usage: dict[str, Json]) -> float | None:
    """Dollars: OpenRouter a number, Perplexity an object with a total, xAI ticks of 1e-10."""
    cost: Json = usage.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    ticks = usage.get("cost_in_usd_ticks")
    if cost is None and type(ticks) is int:
        cost = ticks * 1e-10
    return float(cost) if type(cost) in (int, float) and 0 <= cost < 1e9 else None
