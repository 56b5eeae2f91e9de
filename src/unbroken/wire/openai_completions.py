"""OpenAI's old completions format, both sides: a prompt is carried on.

A prompt is a conversation of one user message; only such a conversation can be said here.
Several prompts, and prompts of tokens, can only be passed on as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.types import (
    Chat,
    Continuation,
    Delta,
    Finish,
    HttpRequest,
    Json,
    Message,
    Mode,
    Request,
    Response,
    Source,
    Target,
    Text,
    Usage,
    fold,
)
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE, Event, Events, join_fields, split_fields
from unbroken.wire.http import post
from unbroken.wire.media import in_words
from unbroken.wire.openai_chat import ask_to_go_on, counted, fault_of, read_fields
from unbroken.wire.openai_chat_answer import read_json, read_usage
from unbroken.wire.openai_chat_writer import JSON_TYPE, STREAM_TYPE, is_mere_count, passed_on, write_failure
from unbroken.wire.openai_responses_answer import read_as
from unbroken.wire.whole import Whole, WholeWriter, fault_in, malformed

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_completions"

_OF_REQUEST = frozenset(("model", "stream", "stream_options", "n"))
_HINTS = ("user",)
_SAYS_NOTHING: Mapping[str, Json] = {"echo": False, "best_of": 1, "suffix": "", "logit_bias": {}}
"""Fields that change no answer where they have this value, which is what happens without them."""
_NUMBERS = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_LACKING = ("tools", "tool_choice", "schema", "top_k", "reasoning_effort", "reasoning_tokens")
_FLAGS = {b"true": True, b"false": False, b"null": False}
_encode = msgspec.json.encode
_decode = msgspec.json.decode

Object = dict[str, Any]


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or a single user text as a prompt; ValueError for all else."""
    source = request.source
    unsaid = Unsaid(target, "OpenAI's completions format")
    own = source.fields if source is not None and source.format == NAME else None
    fields = _fields_of(request, unsaid=unsaid) if own is None else dict(own)
    fields["model"] = _encode(target.model)
    if request.counted:
        fields["stream_options"] = counted(fields.get("stream_options"))
    if continuation is not None and continuation.mode is not Mode.RESTART:
        _go_on(fields, continuation)
    return post(target, "/completions", body=join_fields(fields), unsaid=tuple(unsaid.names))


def _fields_of(request: Request, *, unsaid: Unsaid) -> dict[str, bytes]:
    """A body for a request that came in another format, or from a program."""
    chat, own = request.chat, request.source is None
    if not own:
        _tell_unsaid(chat, unsaid)
    fields = {
        "model": "",
        "prompt": _write_prompt(chat),
        **{name: getattr(chat, name) for name in _NUMBERS},
        "stop": list(chat.stop) or None,
        "n": request.choices if request.choices > 1 else None,
        "stream": True if request.stream else None,
        "stream_options": {"include_usage": True} if request.stream and request.include_usage else None,
        **{name: value for name, value in chat.hints.items() if own or name in _HINTS},
        **(chat.extras if own else {}),
    }
    return {name: _encode(value) for name, value in fields.items() if value is not None}


def _tell_unsaid(chat: Chat, unsaid: Unsaid) -> None:
    """What came from another format and has no word here."""
    for name in (*chat.extras, *(name for name in _LACKING if getattr(chat, name) not in (None, ()))):
        unsaid.lack(name)
    if chat.max_tokens is None:
        unsaid.lack("max_tokens", "without a limit of its own an answer ends after 16 tokens")
    unsaid.hint(*(name for name in chat.hints if name not in _HINTS))
    unsaid.hint(*sorted({f"messages[].{name}" for message in chat.messages for name in message.extras}))


def _write_prompt(chat: Chat) -> str:
    message = chat.messages[0] if len(chat.messages) == 1 else None
    if message is None or message.role != "user" or not all(isinstance(part, Text) for part in message.parts):
        raise ValueError("OpenAI's completions format holds one text of the user and nothing else")
    return message.text


def _go_on(fields: dict[str, bytes], continuation: Continuation) -> None:
    """Append what the caller has seen to the prompt, where it is one text that is not given back with the answer."""
    prompt = _prompt_in(fields)
    if prompt is None or any(fields.get(name, b"null") not in blank for name, blank in _BOUND.items()):
        return
    text = continuation.text
    asking = f"\n\n{text}\n\n{ask_to_go_on(text)}" if continuation.mode is Mode.ASK else text
    fields["prompt"] = _encode(prompt + asking)


_BOUND = {"echo": (b"null", b"false"), "suffix": (b"null", b'""')}
"""Fields that bind the prompt, with the values that do not."""


def _prompt_in(fields: Mapping[str, bytes]) -> str | None:
    """The prompt, if it is one text."""
    try:
        prompt = _decode(fields.get("prompt", b"null"))
    except UNREADABLE:
        return None
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    return prompt if isinstance(prompt, str) else None


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    prompt = fields.get("prompt", b"null")
    if prompt[:1] not in (b'"', b"["):
        missing = prompt == b"null"
        what = "is missing" if missing else "must be a string or an array"
        return fault_of("prompt", what, code="missing_required_parameter" if missing else "invalid_value")
    stream = fields.get("stream", b"false")
    if stream not in _FLAGS:
        return fault_of("stream", "must be true or false")
    limit, options = _value(fields, "max_tokens"), _value(fields, "stream_options")
    return Request(
        model=_decode(fields["model"]),
        stream=_FLAGS[stream],
        include_usage=_FLAGS[stream] and isinstance(options, dict) and options.get("include_usage") is True,
        prompt_chars=len(prompt),
        max_tokens=limit if type(limit) is int else None,
        choices=_choices(fields),
        temperature=_number(_value(fields, "temperature")),
        source=Source(NAME, fields),
        read=partial(_read_chat, fields),
    )


def _value(fields: Mapping[str, bytes], name: str) -> Json:
    """A field; None where it is absent or unreadable, which the provider may complain about."""
    try:
        return _decode(fields.get(name, b"null"))
    except UNREADABLE:
        return None


def _number(value: Json) -> float | None:
    return value if type(value) in (int, float) else None


def _choices(fields: Mapping[str, bytes]) -> int:
    """How many answers: so many for each prompt."""
    count, prompt = _value(fields, "n"), _value(fields, "prompt")
    each = count if type(count) is int and count > 0 else 1
    several = isinstance(prompt, list) and not all(type(token) is int for token in prompt)
    return each * (len(prompt) if several else 1)


def _read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The prompt as a conversation; ValueError where it is more than one text, or a field has the wrong shape."""
    prompt = _prompt_in(fields)
    if prompt is None:
        raise ValueError("'prompt' holds several texts, or tokens, which can only be passed on as they are")
    body = {name: _value(fields, name) for name in fields if name not in _OF_REQUEST and name != "prompt"}
    body = {name: value for name, value in body.items() if value is not None}
    stop = body.pop("stop", [])
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or not all(isinstance(word, str) for word in stops):
        raise ValueError("'stop' must be a string or an array of strings")
    numbers = {name: body.pop(name) for name in _NUMBERS if name in body}
    for name, value in numbers.items():
        if type(value) not in ((int,) if name in ("max_tokens", "seed") else (int, float)):
            raise ValueError(f"'{name}' must be a number")
    hints = {name: body.pop(name) for name in list(body) if _is_hint(name, body[name])}
    message = Message(role="user", parts=(Text(prompt),))
    return Chat(messages=(message,), stop=tuple(stops), extras=body, hints=hints, **numbers)


def _is_hint(name: str, value: Json) -> bool:
    return name in _HINTS or (name in _SAYS_NOTHING and value == _SAYS_NOTHING[name])


# ----------------------------------------------------------------------------- answers


class _Choice(msgspec.Struct, gc=False):
    text: Any = None
    index: Any = 0
    finish_reason: Any = None


class _Answer(msgspec.Struct, gc=False):
    id: Any = ""
    model: Any = ""
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_CUT_SHORT = {
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
}
"""Any other word ends an answer well, but for these:"""
_FAULTS = frozenset(("error", "abort", "cancelled", "timeout"))
_NO_END = "the stream ended without [DONE] and without a finish reason"


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_whole)


class _Streamed:
    """An event stream of pieces of text."""

    __slots__ = ("_begun", "_events", "_finished", "_plain", "done")

    def __init__(self) -> None:
        self.done = self._begun = False
        self._events = Events()
        self._finished: dict[int, bool] = {}
        self._plain: Whole | None = None

    def feed(self, data: bytes) -> list[Delta] | Failure:
        if self._plain is not None:
            return self._plain.feed(data)
        if not self._begun:
            data = data.lstrip(b" \t\r\n\xef\xbb\xbf")
            if not data:
                return []
            if data.startswith(b"<"):
                return malformed("an HTML page came in place of an answer")
            if data[0] in b"{[":
                self._plain = Whole(partial(_read_whole, raw=False))
                return self._plain.feed(data)
            self._begun = True
        return self._steps(self._events.feed(data))

    def close(self) -> list[Delta] | Failure:
        if self._plain is not None:
            found = self._plain.close()
            self.done = self._plain.done
            return found if isinstance(found, list | Failure) else []
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
            if event.data.startswith(b"[DONE]"):
                self.done = True
                break
            found = _read_deltas(event.data, raw=event.raw)
            if isinstance(found, Failure):
                return found
            for delta in found:
                self._finished[delta.choice] = self._finished.get(delta.choice, False) or delta.finish is not None
            deltas += found
        return deltas


def _read_whole(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    """A plain answer; an event stream that comes in its place is folded into it."""
    body = body.lstrip(b" \t\r\n\xef\xbb\xbf")
    if body.startswith((b"data:", b"event:", b":")):
        streamed = _Streamed()
        steps = streamed.feed(body)
        rest = steps if isinstance(steps, Failure) else streamed.close()
        if isinstance(steps, Failure) or isinstance(rest, Failure):
            return rest
        return [replace(delta, raw=b"") for delta in steps + rest]
    deltas = _read_deltas(body, raw=b"")
    if isinstance(deltas, Failure):
        return deltas
    if not any(delta.finish or delta.text for delta in deltas):
        return malformed("the answer holds no text")
    return [replace(deltas[0], raw=body if raw else b"", body=raw), *deltas[1:]]


def _read_deltas(payload: bytes, *, raw: bytes) -> list[Delta] | Failure:
    """What an event or a body says, a step for each choice; the first one holds the usage."""
    answer = _read(payload)
    if isinstance(answer, Failure):
        return answer
    model, answer_id, usage = _string(answer.model), _string(answer.id), read_usage(answer.usage)
    if not answer.choices:
        return [Delta(usage=usage, model=model, id=answer_id, format=NAME, raw=raw)]
    deltas: list[Delta] = []
    several = len(answer.choices) > 1 and raw
    raws = _apart(payload) if several else [raw] * len(answer.choices)
    for choice, own_raw in zip(answer.choices, raws, strict=True):
        word = _string(choice.finish_reason)
        if word.lower() in _FAULTS:
            message = f"the answer ended with the finish reason {word!r}"
            return Failure(kind=FailureKind.SERVER, message=message, code=word)
        finish = _CUT_SHORT.get(word.lower(), Finish.STOP) if word else None
        deltas.append(Delta(
            text=_string(choice.text), finish=finish, raw_finish=word or None, usage=usage, model=model, id=answer_id,
            choice=choice.index if type(choice.index) is int and choice.index > 0 else 0, format=NAME, raw=own_raw,
        ))  # fmt: skip
        usage = None
    return deltas


def _apart(payload: bytes) -> list[bytes]:
    """One event for each choice of an event that holds several, so that each can go its own way."""
    fields = split_fields(payload)
    events = []
    for choice in _decode(fields["choices"], type=list[msgspec.Raw]):
        fields["choices"] = b"[" + bytes(choice) + b"]"
        events.append(b"data: " + join_fields(fields) + b"\n\n")
        fields.pop("usage", None)
    return events


def _read(payload: bytes) -> _Answer | Failure:
    """The fields that we need, or the error that came under status 200."""
    answer = read_as(_ANSWER, payload)
    if isinstance(answer, Failure) or (answer.choices is not None and not answer.error):
        return answer
    value = read_json(payload)
    return value if isinstance(value, Failure) else fault_in(value, "the answer holds no choices")


def _string(value: Json) -> str:
    return value if isinstance(value, str) else ""


# --------------------------------------------------------------------------- to a caller

_FINISHES = {
    Finish.STOP: "stop",
    Finish.LENGTH: "length",
    Finish.TOOL_CALLS: "stop",
    Finish.CONTENT_FILTER: "content_filter",
    Finish.ERROR: "stop",
}


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _StreamWriter(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=_fail)


class _Head(msgspec.Struct):
    """What every chunk of a stream repeats."""

    id: str = ""
    created: int = 0
    model: str = ""


_HEAD = msgspec.json.Decoder(_Head)


class _StreamWriter:
    """Chunks of one stream.  They share the id, time and model of the first one, whoever it came from."""

    __slots__ = ("_first", "_head", "_named", "_request", "_usage", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._first = b""
        self._head: _Head | None = None
        self._named = Delta()
        self._usage: Usage | None = None

    def write(self, deltas: Sequence[Delta]) -> bytes:
        return b"".join([self._one(delta) for delta in deltas])

    def end(self, outcome: Outcome) -> bytes:
        parts = []
        if self._usage is not None and self._request.include_usage:
            parts.append(self._chunk({"choices": [], "usage": _write_usage(self._usage)}))
        if outcome.notable:
            parts.append(self._chunk({"choices": [], "unbroken": outcome.told()}))
        return b"".join(parts) + b"data: [DONE]\n\n"

    def whole(self, deltas: Sequence[Delta], outcome: Outcome) -> bytes:
        return self.write(deltas) + self.end(outcome)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return b"data: " + _fail(failure, outcome) + b"\n\n"

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body:
            self._first = self._first or delta.raw
            return b"" if is_mere_count(delta) and not self._request.include_usage else delta.raw
        delta = in_words(delta)
        self._usage = delta.usage or self._usage
        self._named = self._named if self._named.id else delta
        if not delta.text and not delta.refusal and delta.finish is None:
            return b""
        return self._chunk({"choices": [_write_choice(delta, delta.choice)]})

    def _chunk(self, rest: Object) -> bytes:
        if self._head is None:
            self._head = self._first_head()
        head = self._head
        chunk = {"id": head.id, "object": "text_completion", "created": head.created, "model": head.model, **rest}
        return b"data: " + _encode(chunk) + b"\n\n"

    def _first_head(self) -> _Head:
        """From the first chunk that was passed on, else from a delta; no clock is asked for the time."""
        head = _Head()
        if self._first:
            found = read_as(_HEAD, self._first[self._first.find(b"{") :].strip())
            head = head if isinstance(found, Failure) else found
        head.id = head.id or self._named.id or "cmpl-unbroken"
        head.model = head.model or self._named.model or self._request.model
        return head


def _write_choice(said: Delta | Response, index: int) -> Object:
    """A choice; a refusal has no field of its own here, and calls have none at all."""
    own = said.raw_finish if said.raw_finish in _FINISHES.values() else None
    finish = None if said.finish is None else own or _FINISHES[said.finish]
    return {"text": said.text + said.refusal, "index": index, "logprobs": None, "finish_reason": finish}


def _write_whole(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    answer = fold(list(deltas))
    choices = {}
    for index in sorted({delta.choice for delta in deltas}):
        of_choice = fold([in_words(replace(delta, choice=0)) for delta in deltas if delta.choice == index])
        choices[index] = _write_choice(of_choice, index)
    body = {
        "id": answer.id or f"cmpl-{outcome.request_id}",
        "object": "text_completion",
        "created": 0,
        "model": answer.model or request.model,
        "choices": list(choices.values()),
    }
    return _encode(body if answer.usage is None else {**body, "usage": _write_usage(answer.usage)})


def _write_usage(usage: Usage) -> Object:
    return {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _fail(failure: Failure, outcome: Outcome) -> bytes:
    """The error envelope of a refusal, with what was tried."""
    envelope = _decode(write_failure(failure, outcome.request_id)[2])
    return _encode({**envelope, "unbroken": outcome.told()})


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=("/v1/completions",),
)
