"""OpenAI's old completions format, both sides: a prompt is carried on.

A prompt is a conversation of one user message; only such a conversation can be said here.
Several prompts, and prompts of tokens, can only be passed on as they came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
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
    fold,
)
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.asked import FLAGS, ask_to_go_on, fault_of, number_in, read_fields, value_in
from unbroken.wire.errors import classify
from unbroken.wire.event_answers import EventAnswer, apart, is_stream
from unbroken.wire.framing import UNREADABLE, Event, join_fields
from unbroken.wire.http import JSON_TYPE, post
from unbroken.wire.media import in_words
from unbroken.wire.openai_chat import counted
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_chat_writer import ChunkWriter, write_failure, write_fault, write_usage
from unbroken.wire.reading import BLANK, fault_in, malformed, read_as, read_json, string_of
from unbroken.wire.whole import Whole, WholeWriter, passed_on

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "openai_completions"

_OF_REQUEST = frozenset(("model", "stream", "stream_options", "n"))
_HINTS = ("user",)
_SAYS_NOTHING: Mapping[str, Json] = {"echo": False, "best_of": 1, "suffix": "", "logit_bias": {}}
"""Fields that change no answer where they have this value, which is what happens without them."""
_NUMBERS = ("max_tokens", "temperature", "top_p", "presence_penalty", "frequency_penalty", "seed")
_LACKING = ("tools", "tool_choice", "schema", "top_k", "reasoning_effort", "reasoning_tokens")
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
    if stream not in FLAGS:
        return fault_of("stream", "must be true or false")
    limit, options = number_in(fields, "max_tokens"), value_in(fields, "stream_options")
    return Request(
        model=_decode(fields["model"]),
        stream=FLAGS[stream],
        include_usage=FLAGS[stream] and isinstance(options, dict) and options.get("include_usage") is True,
        prompt_chars=len(prompt),
        max_tokens=limit if type(limit) is int else None,
        choices=_choices(fields),
        temperature=number_in(fields, "temperature"),
        source=Source(NAME, fields),
        read=partial(_read_chat, fields),
    )


def _choices(fields: Mapping[str, bytes]) -> int:
    """How many answers: so many for each prompt."""
    count, prompt = value_in(fields, "n"), value_in(fields, "prompt")
    each = count if type(count) is int and count > 0 else 1
    several = isinstance(prompt, list) and not all(type(token) is int for token in prompt)
    return each * (len(prompt) if several else 1)


def _read_chat(fields: Mapping[str, bytes]) -> Chat:
    """The prompt as a conversation; ValueError where it is more than one text, or a field has the wrong shape."""
    prompt = _prompt_in(fields)
    if prompt is None:
        raise ValueError("'prompt' holds several texts, or tokens, which can only be passed on as they are")
    body = {name: value_in(fields, name) for name in fields if name not in _OF_REQUEST and name != "prompt"}
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


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer to this request; no target needs its own."""
    return _Streamed() if request.stream else Whole(_read_whole)


class _Streamed(EventAnswer):
    """An event stream of pieces of text."""

    __slots__ = ("_finished",)

    no_end = "the stream ended without [DONE] and without a finish reason"

    def __init__(self) -> None:
        super().__init__()
        self._finished: dict[int, bool] = {}

    def _has_finished(self) -> bool:
        return bool(self._finished) and all(self._finished.values())

    def _read_plain(self, body: bytes) -> list[Delta] | Failure:
        return _read_whole(body, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        if event.data.startswith(b"[DONE]"):
            self.done = True
            return []
        found = _read_deltas(event.data, raw=event.raw)
        for delta in found if isinstance(found, list) else ():
            self._finished[delta.choice] = self._finished.get(delta.choice, False) or delta.finish is not None
        return found


def _read_whole(body: bytes, *, raw: bool = True) -> list[Delta] | Failure:
    """A plain answer; an event stream that comes in its place is folded into it."""
    body = body.lstrip(BLANK)
    if is_stream(body):
        return _Streamed().folded(body)
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
    model, answer_id, usage = string_of(answer.model), string_of(answer.id), read_usage(answer.usage)
    if not answer.choices:
        return [Delta(usage=usage, model=model, id=answer_id, format=NAME, raw=raw)]
    deltas: list[Delta] = []
    several = len(answer.choices) > 1 and raw
    count = len(answer.choices)
    raws = apart(payload, "choices", count=count, once="usage") if several else [raw] * count
    for choice, own_raw in zip(answer.choices, raws, strict=True):
        word = string_of(choice.finish_reason)
        if word.lower() in _FAULTS:
            message = f"the answer ended with the finish reason {word!r}"
            return Failure(kind=FailureKind.SERVER, message=message, code=word)
        finish = _CUT_SHORT.get(word.lower(), Finish.STOP) if word else None
        deltas.append(Delta(
            text=string_of(choice.text), finish=finish, raw_finish=word or None, usage=usage, model=model, id=answer_id,
            choice=choice.index if type(choice.index) is int and choice.index > 0 else 0, format=NAME, raw=own_raw,
        ))  # fmt: skip
        usage = None
    return deltas


def _read(payload: bytes) -> _Answer | Failure:
    """The fields that we need, or the error that came under status 200."""
    answer = read_as(_ANSWER, payload)
    if isinstance(answer, Failure) or (answer.choices is not None and not answer.error):
        return answer
    return fault_in(read_json(payload), "the answer holds no choices")


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
        return _Chunks(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=write_fault)


class _Chunks(ChunkWriter):
    """Chunks of this format."""

    __slots__ = ()

    format, object, id_otherwise = NAME, "text_completion", "cmpl-unbroken"

    def _choice(self, delta: Delta) -> Object | None:
        delta = in_words(delta)
        if not delta.text and not delta.refusal and delta.finish is None:
            return None
        return _write_choice(delta, delta.choice)


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
    return _encode(body if answer.usage is None else {**body, "usage": write_usage(answer.usage)})


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
