"""Answers in OpenAI's Responses format, read: the client side's decoder.

    decoder(request, target) -> Decoder    streamed or plain, as the request asked

A stream's events say what changes, and its last one holds the whole response; what events
left out (some providers send no deltas for short texts) is taken from what follows them.
Only what verdicts, usage and a rescue need is decoded; everything else stays in `Delta.raw`.
A response that is still being worked on (`background`) is asked about until it is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import quote

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Delta, Finish, Json, Request, Target, ToolFragment, Usage
from unbroken.wire import Decoder, Next
from unbroken.wire.errors import classify_event
from unbroken.wire.event_answers import EventAnswer, is_stream
from unbroken.wire.framing import Event
from unbroken.wire.http import get
from unbroken.wire.openai_chat_answer import read_usage
from unbroken.wire.openai_responses_messages import NAME
from unbroken.wire.reading import BLANK, count_of, fault_in, read_as, read_json, string_of
from unbroken.wire.whole import Whole

__all__ = ["decoder"]

ASK_AGAIN_S = 2.0
"""Between two questions about a response in the background: none takes less than seconds."""

_CUT_SHORT = {
    "max_output_tokens": Finish.LENGTH,
    "max_messages": Finish.LENGTH,
    "content_filter": Finish.CONTENT_FILTER,
}
_ENDS = frozenset(("response.completed", "response.incomplete"))
_FAULTS = frozenset(("error", "response.failed", "response.error", "response.cancelled"))
_WAITING = frozenset(("queued", "in_progress"))
_FOR_THE_CALLER = frozenset((
    "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call", "tool_search_call",
    "mcp_approval_request", "image_generation_call",
))  # fmt: skip
"""Items that are an answer in themselves and no words; others are a provider's steps on the way to one."""
_SAYS_NOTHING = "the answer holds an error that says nothing"


class _Said(msgspec.Struct, gc=False):
    """An event, as far as it is looked at; items and responses are decoded where they matter."""

    type: Any = None
    delta: Any = None
    output_index: Any = 0
    content_index: Any = 0
    summary_index: Any = 0
    item: msgspec.Raw = msgspec.Raw(b"null")
    response: msgspec.Raw = msgspec.Raw(b"null")
    error: Any = None


class _Head(msgspec.Struct, gc=False):
    id: Any = ""
    model: Any = ""


class _Response(msgspec.Struct, gc=False):
    id: Any = ""
    model: Any = ""
    status: Any = ""
    output: Any = None
    usage: Any = None
    error: Any = None
    incomplete_details: Any = None


_SAID = msgspec.json.Decoder(_Said)
_HEAD = msgspec.json.Decoder(_Head)
_RESPONSE = msgspec.json.Decoder(_Response)
_ITEM = msgspec.json.Decoder(dict[str, Any])


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the answer to this request; the target is asked again where the answer is not there yet."""
    return _Streamed(target) if request.stream else Whole(partial(_read_whole, target))


# ------------------------------------------------------------------------- streamed


@dataclass(slots=True)
class _Call:
    """A call whose arguments are coming; `told` counts their characters, None before the first."""

    index: int
    id: str
    name: str
    told: int | None = None


class _Streamed(EventAnswer):
    """A stream of named events."""

    __slots__ = ("_calls", "_signed", "_target", "_thought", "_told")

    no_end = "the stream ended without its last event"

    def __init__(self, target: Target) -> None:
        super().__init__()
        self._target = target
        self._signed = False
        self._told: set[Json] = set()
        self._calls: dict[Json, _Call] = {}
        self._thought: Json = None

    def _read_plain(self, body: bytes) -> list[Delta] | Failure | Next:
        return _read_whole(self._target, body, raw=False)

    def _read(self, event: Event) -> list[Delta] | Failure:
        if event.data.startswith(b"[DONE]"):
            return []
        delta = self._step(event)
        return delta if isinstance(delta, Failure) else [delta]

    def _step(self, event: Event) -> Delta | Failure:
        said = read_as(_SAID, event.data)
        if isinstance(said, Failure):
            return said
        kind = said.type if isinstance(said.type, str) else event.name
        if kind == "response.output_text.delta":
            self._told.add(_place(said.output_index))
            return Delta(text=string_of(said.delta), format=NAME, raw=event.raw)
        if kind in _FAULTS or said.error:
            return _fault(read_json(event.data))
        if kind in _ENDS:
            return self._end(said, kind, raw=event.raw)
        return self._other(said, kind, raw=event.raw)

    def _other(self, said: _Said, kind: str, *, raw: bytes) -> Delta:
        """What an event says that is neither words nor an end; most say nothing that we need."""
        delta = Delta(format=NAME, raw=raw)
        match kind:
            case "response.created" | "response.queued" | "response.in_progress":
                delta = self._begin(said, raw)
            case "response.output_item.added":
                delta = self._open(said, raw)
            case "response.output_item.done":
                delta = self._close(said, raw)
            case "response.function_call_arguments.delta":
                delta = self._argue(said, raw)
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                delta = self._think(said, raw)
            case "response.refusal.delta":
                delta = self._refuse(said, raw)
        return delta

    def _begin(self, said: _Said, raw: bytes) -> Delta:
        head = read_as(_HEAD, said.response)
        head = _Head() if isinstance(head, Failure) else head
        return Delta(id=string_of(head.id), model=string_of(head.model), format=NAME, raw=raw)

    def _refuse(self, said: _Said, raw: bytes) -> Delta:
        self._told.add(_place(said.output_index))
        return Delta(refusal=string_of(said.delta), format=NAME, raw=raw)

    def _think(self, said: _Said, raw: bytes) -> Delta:
        """Thoughts; each part of them is a paragraph."""
        place = tuple(map(_place, (said.output_index, said.summary_index, said.content_index)))
        gap = "\n\n" if self._thought not in (None, place) else ""
        self._thought = place
        self._told.add(place[0])
        return Delta(reasoning=gap + string_of(said.delta), format=NAME, raw=raw)

    def _open(self, said: _Said, raw: bytes) -> Delta:
        """An item begins.  A call is told with its first argument: what is run by the provider never has any."""
        item, place = _item(said), _place(said.output_index)
        kind = string_of(item.get("type"))
        if kind == "function_call":
            self._calls[place] = _Call(len(self._calls), _call_id(item), string_of(item.get("name")))
        elif kind in _FOR_THE_CALLER:
            self._told.add(place)
            return Delta(media=1, format=NAME, raw=raw)
        return Delta(format=NAME, raw=raw)

    def _argue(self, said: _Said, raw: bytes) -> Delta:
        call = self._calls.get(_place(said.output_index))
        if call is None:  # its item will say it all
            return Delta(format=NAME, raw=raw)
        self._told.add(_place(said.output_index))
        return Delta(tool_calls=(_fragment(call, string_of(said.delta)),), format=NAME, raw=raw)

    def _close(self, said: _Said, raw: bytes) -> Delta:
        """An item is complete: what its deltas left out."""
        item, place = _item(said), _place(said.output_index)
        if item.get("type") == "function_call":
            self._told.add(place)
            return Delta(tool_calls=self._rest_of(item, place), format=NAME, raw=raw)
        answer = _Answer()
        answer.read(item)
        if place in self._told:
            answer = _Answer(signature=answer.signature)
        elif answer.says_something:
            self._told.add(place)
        return answer.as_delta(raw, signed=self._sign(answer))

    def _rest_of(self, item: dict[str, Json], place: Json) -> tuple[ToolFragment, ...]:
        """What was not yet told of a call that is complete."""
        call = self._calls.get(place)
        if call is None:
            call = self._calls[place] = _Call(len(self._calls), _call_id(item), string_of(item.get("name")))
        arguments, told = _arguments(item), call.told
        return (_fragment(call, arguments[told or 0 :]),) if told is None or len(arguments) > told else ()

    def _sign(self, answer: _Answer) -> bool:
        """Whether the proof of these thoughts is the first one: several in a row would prove nothing."""
        signed, self._signed = self._signed, self._signed or bool(answer.signature)
        return not signed

    def _end(self, said: _Said, kind: str, *, raw: bytes) -> Delta | Failure:
        """The last event, with the whole response in it."""
        response = read_as(_RESPONSE, said.response)
        if isinstance(response, Failure):
            response = _Response()
        response.status = kind.removeprefix("response.") if response.status != "failed" else "failed"
        answer = _answer_in(response)
        if isinstance(answer, Failure):
            return answer
        self.done = True
        delta = answer.as_delta(raw)
        calls = answer.calls if isinstance(response.output, list) else list(self._calls)
        finish, raw_finish = _finish(response, answer, calls=bool(calls) and not answer.ends_in_words)
        if self._told:
            known = {call.id for call in self._calls.values() if call.told is not None}
            missing = (call for call in delta.tool_calls if call.id not in known)
            fresh = tuple(replace(call, index=len(known) + n) for n, call in enumerate(missing))
            delta = Delta(id=delta.id, model=delta.model, tool_calls=fresh, format=NAME, raw=raw)
        return replace(delta, usage=_usage(response.usage), finish=finish, raw_finish=raw_finish)


def _fragment(call: _Call, arguments: str) -> ToolFragment:
    """The next of a call; its id and name come with the first."""
    first = call.told is None
    call.told = (call.told or 0) + len(arguments)
    if not first:
        return ToolFragment(index=call.index, arguments=arguments)
    return ToolFragment(index=call.index, id=call.id, name=call.name, arguments=arguments)


def _item(said: _Said) -> dict[str, Json]:
    item = read_as(_ITEM, said.item)
    return {} if isinstance(item, Failure) else item


def _place(index: Json) -> int:
    return index if type(index) is int else 0


# ---------------------------------------------------------------------------- plain


def _read_whole(target: Target, body: bytes, *, raw: bool = True) -> list[Delta] | Failure | Next:
    """A whole response; an event stream that comes in its place is folded into it."""
    body = body.lstrip(BLANK)
    if is_stream(body):
        return _Streamed(target).folded(body)
    response = read_as(_RESPONSE, body)
    if isinstance(response, Failure):
        return response
    if string_of(response.status) in _WAITING and string_of(response.id):
        return _ask_again(target, response.id)
    if not isinstance(response.output, list):
        return fault_in(read_json(body), "the answer holds no output")
    answer = _answer_in(response)
    if isinstance(answer, Failure):
        return answer
    finish, raw_finish = _finish(response, answer, calls=bool(answer.calls) and not answer.ends_in_words)
    delta = answer.as_delta(body if raw else b"", body=raw)
    return [replace(delta, usage=_usage(response.usage), finish=finish, raw_finish=raw_finish)]


def _ask_again(target: Target, response_id: str) -> Next:
    """What to ask about a response that is not there yet."""
    request = get(target, f"/responses/{quote(response_id, safe='')}")
    progress = (Delta(progress=0.0),)
    return Next(
        request=request, decoder=partial(Whole, partial(_read_whole, target)), after_s=ASK_AGAIN_S, deltas=progress
    )


# --------------------------------------------------------------- what a response says


@dataclass(slots=True)
class _Answer:
    """What the items of a response say, put together."""

    id: str = ""
    model: str = ""
    text: list[str] = field(default_factory=list)
    thoughts: list[str] = field(default_factory=list)
    refusal: list[str] = field(default_factory=list)
    calls: list[tuple[str, str, str]] = field(default_factory=list)
    media: int = 0
    signature: str = ""
    ends_in_words: bool = False

    @property
    def says_something(self) -> bool:
        return bool(self.text or self.thoughts or self.refusal or self.calls or self.media)

    def read(self, item: Json) -> None:
        """Add an item."""
        kind = string_of(item.get("type")) if isinstance(item, dict) else ""
        if kind == "message":
            self.ends_in_words = True
            self.text += _texts(item.get("content"), "text")
            self.refusal += _texts(item.get("content"), "refusal")
        elif kind == "function_call":
            self.ends_in_words = False
            self.calls.append((_call_id(item), string_of(item.get("name")), _arguments(item)))
        elif kind == "reasoning":
            self.thoughts += _texts(item.get("summary"), "text") + _texts(item.get("content"), "text")
            self.signature = self.signature or string_of(item.get("encrypted_content"))
        elif kind in _FOR_THE_CALLER:
            self.media += 1

    def as_delta(self, raw: bytes, *, body: bool = False, signed: bool = True) -> Delta:
        """All of it as one step."""
        return Delta(
            id=self.id,
            model=self.model,
            text="".join(self.text),
            reasoning="\n\n".join(self.thoughts),
            refusal="".join(self.refusal),
            tool_calls=tuple(
                ToolFragment(index=index, id=call_id, name=name, arguments=arguments)
                for index, (call_id, name, arguments) in enumerate(self.calls)
            ),
            media=self.media,
            signature=self.signature if signed else "",
            format=NAME,
            raw=raw,
            body=body,
        )


def _answer_in(response: _Response) -> _Answer | Failure:
    """What a response says; the failure that it reports with a good status."""
    if response.status in ("failed", "cancelled") or response.error:
        status = response.status if isinstance(response.status, str) else "failed"
        return _fault({"type": "response.failed", "response": {"status": status, "error": response.error}})
    answer = _Answer(id=string_of(response.id), model=string_of(response.model))
    for item in response.output if isinstance(response.output, list) else ():
        answer.read(item)
    return answer


def _finish(response: _Response, answer: _Answer, *, calls: bool) -> tuple[Finish, str]:
    """Why a response ended, in our vocabulary and in its own."""
    status = string_of(response.status) or "completed"
    if status == "incomplete":
        details = response.incomplete_details
        reason = string_of(details.get("reason")) if isinstance(details, dict) else ""
        return _CUT_SHORT.get(reason, Finish.LENGTH), reason or status
    if calls:
        return Finish.TOOL_CALLS, status
    return Finish.CONTENT_FILTER if answer.refusal and not answer.text else Finish.STOP, status


def _usage(usage: Json) -> Usage | None:
    known = read_usage(usage)
    if known is None:
        return None
    taken, given = _details(usage, "input_tokens_details"), _details(usage, "output_tokens_details")
    return replace(
        known,
        cached_tokens=count_of(taken.get("cached_tokens")) or known.cached_tokens,
        cache_write_tokens=count_of(taken.get("cache_write_tokens") or taken.get("cache_creation_input_tokens"))
        or known.cache_write_tokens,
        reasoning_tokens=count_of(given.get("reasoning_tokens")) or known.reasoning_tokens,
    )


def _details(usage: dict[str, Json], name: str) -> dict[str, Json]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _texts(parts: Json, name: str) -> list[str]:
    """The words of this kind in a list of parts."""
    found = [string_of(part.get(name)) for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return [words for words in found if words]


def _call_id(item: dict[str, Json]) -> str:
    return string_of(item.get("call_id")) or string_of(item.get("id"))


def _arguments(item: dict[str, Json]) -> str:
    """The arguments as JSON text; some servers give them as an object."""
    arguments = item.get("arguments")
    return string_of(arguments) if not isinstance(arguments, dict) else msgspec.json.encode(arguments).decode()


# ------------------------------------------------------------------- reading the JSON


def _fault(value: Json) -> Failure:
    """The failure that a value reports."""
    if isinstance(value, Failure):
        return value
    return classify_event(value) or Failure(kind=FailureKind.SERVER, message=_SAYS_NOTHING)
