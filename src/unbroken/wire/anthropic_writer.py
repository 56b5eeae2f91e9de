"""Answers in Anthropic's Messages format, written: the server side's writers, and its error envelope.

    writer(request) -> Writer                               streamed or plain, as the caller asked
    write_failure(failure, request id) -> status, headers, body

Bytes that came in this format go out as they are.  Everything else is encoded from the
deltas: answers of other formats, and the words after a rescue, which go on in the block that
the first provider left open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure, FailureKind, Fault
from unbroken.types import Delta, Finish, Json, Request, Response, ToolFragment, Usage, fold
from unbroken.wire import Outcome, Writer
from unbroken.wire.anthropic_answer import NAME
from unbroken.wire.anthropic_arguments import input_of
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import JSON_TYPE, STREAM_TYPE
from unbroken.wire.media import in_words
from unbroken.wire.openai_chat_writer import write_failure as write_openai_failure
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["write_failure", "writer"]

_WORDS = {
    Finish.STOP: "end_turn",
    Finish.LENGTH: "max_tokens",
    Finish.TOOL_CALLS: "tool_use",
    Finish.CONTENT_FILTER: "refusal",
    Finish.ERROR: "end_turn",
}
_OWN_WORDS = frozenset((
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded",
))  # fmt: skip
_ID = "msg_unbroken"
_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _Streamed(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=write_fault)


# ------------------------------------------------------------------------- streamed


class _Head(msgspec.Struct):
    type: str = ""


class _Noted(msgspec.Struct):
    """What has to be known of an event that is passed on."""

    type: str = ""
    index: int = 0
    content_block: _Head | None = None
    delta: _Ended | None = None


class _Ended(msgspec.Struct):
    stop_reason: str | None = None


_NOTED = msgspec.json.Decoder(_Noted)
_MORE = b'"content_block_delta"'
"""The type of nearly all events; within a string of JSON its quotes would be escaped."""


class _Streamed(StreamWriter):
    """The events of one message.

    Blocks come one after another; `_key` says which one is open.  What it ends with is written
    at the very end, when the last word on usage has been heard.
    """

    __slots__ = ("_calls", "_encodes", "_ended", "_finish", "_key", "_late", "_next", "_refusal", "_request",
                 "_started", "_usage", "content_type")  # fmt: skip

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._started = self._ended = self._encodes = False
        self._key: str | None = None
        self._next = 0
        self._calls = _Calls()
        self._late: list[tuple[str, str]] = []
        self._finish: Delta | None = None
        self._refusal = ""
        self._usage: Usage | None = None

    def end(self, outcome: Outcome) -> bytes:
        parts = [] if self._ended else [self._start(self._finish), self._rest(), self._close(), self._last()]
        parts.append(_event("message_stop", {"unbroken": outcome.told()} if outcome.notable else {}))
        return b"".join(parts)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        _, error = _write_error(failure)
        more = {"request_id": outcome.request_id, "unbroken": outcome.told()}
        return _event("error", {"error": error, **more})

    # -- bytes that came in this format

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body and not self._encodes:
            self._started = True
            if delta.usage is not None:
                self._usage = delta.usage
            if _MORE not in delta.raw:
                self._note(delta.raw)
            return delta.raw
        return b"" if self._ended or delta.choice else self._encoded(in_words(delta))

    def _note(self, raw: bytes) -> None:
        """Which block is open, in case the rest has to be written by us."""
        try:
            event = _NOTED.decode(raw[raw.find(b"{") : raw.rfind(b"}") + 1])
        except UNREADABLE:
            return
        if event.type == "content_block_start":
            self._key = event.content_block.type if event.content_block else ""
            self._next = event.index + 1
        elif event.type == "content_block_stop":
            self._key = None
        elif event.type == "message_delta":
            self._ended = event.delta is not None and event.delta.stop_reason is not None

    # -- deltas of other formats, and after a rescue

    def _encoded(self, delta: Delta) -> bytes:
        self._encodes = True
        if delta.usage is not None:
            self._usage = delta.usage
        if delta.finish is not None:
            self._finish = delta
        self._refusal += delta.refusal
        if not delta.has_content:
            return self._sealed(delta)
        parts = [self._start(delta), self._words("thinking", delta.reasoning), self._sealed(delta)]
        parts.append(self._words("text", delta.text))
        parts += [self._fragment(fragment) for fragment in delta.tool_calls]
        return b"".join(parts)

    def _start(self, delta: Delta | None) -> bytes:
        if self._started:
            return b""
        self._started = True
        message: Object = {
            "id": (delta.id if delta else "") or _ID,
            "type": "message",
            "role": "assistant",
            "model": (delta.model if delta else "") or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _write_usage(self._usage or Usage()),
        }
        return _event("message_start", {"message": message})

    def _words(self, kind: str, text: str) -> bytes:
        """Words go into their block; after calls of tools they wait, since a call may not be over yet."""
        if not text:
            return b""
        if self._calls.any:
            self._late.append((kind, text))
            return b""
        begun = {"type": kind, kind: "", **({"signature": ""} if kind == "thinking" else {})}
        return self._put(kind, begun, more={"type": f"{kind}_delta", kind: text})

    def _sealed(self, delta: Delta) -> bytes:
        """The proof of a thought, where it is for this format's providers."""
        if not delta.signature or delta.format != NAME or self._key != "thinking":
            return b""
        sealed = {"type": "signature_delta", "signature": delta.signature}
        return _event("content_block_delta", {"index": self._next - 1, "delta": sealed})

    def _fragment(self, fragment: ToolFragment) -> bytes:
        return b"".join([self._call(due) for due in self._calls.due(fragment)])

    def _call(self, fragment: ToolFragment) -> bytes:
        call_id = fragment.id or f"toolu_{fragment.index}"
        begun = {"type": "tool_use", "id": call_id, "name": fragment.name, "input": {}}
        more = {"type": "input_json_delta", "partial_json": fragment.arguments} if fragment.arguments else None
        return self._put(f"call {fragment.index}", begun, more=more)

    def _put(self, key: str, begun: Object, *, more: Object | None) -> bytes:
        """More of a block, which is begun where it is not the open one."""
        parts = []
        if key != self._key:
            parts.append(self._close())
            parts.append(_event("content_block_start", {"index": self._next, "content_block": begun}))
            self._key = key
            self._next += 1
        if more is not None:
            parts.append(_event("content_block_delta", {"index": self._next - 1, "delta": more}))
        return b"".join(parts)

    def _rest(self) -> bytes:
        """Calls and words that had to wait."""
        calls = [self._call(fragment) for fragment in self._calls.rest()]
        late, self._late = self._late, []
        return b"".join([*calls, *(self._words(kind, text) for kind, text in late)])

    def _close(self) -> bytes:
        if self._key is None:
            return b""
        self._key = None
        return _event("content_block_stop", {"index": self._next - 1})

    def _last(self) -> bytes:
        self._ended = True
        finish = self._finish or Delta(finish=Finish.STOP)
        ended = {"stop_reason": _word(finish, self._refusal), "stop_sequence": None, **_details(self._refusal)}
        return _event("message_delta", {"delta": ended, "usage": _write_usage(self._usage or Usage())})


class _Calls:
    """The calls of tools in a stream, one after another.

    Some providers write several at once.  Then the others wait until the arguments of the first
    are whole, which only a later one makes necessary to look at.
    """

    __slots__ = ("_arguments", "_index", "_waiting")

    def __init__(self) -> None:
        self._index: int | None = None
        self._arguments: list[str] = []
        self._waiting: list[ToolFragment] = []

    @property
    def any(self) -> bool:
        """Whether a call has begun that may go on."""
        return self._index is not None

    def due(self, fragment: ToolFragment) -> list[ToolFragment]:
        """What can be written now that this one has come."""
        self._waiting.append(fragment)
        due: list[ToolFragment] = []
        while (step := self._step()) is not None:
            due.append(step)
        return due

    def rest(self) -> list[ToolFragment]:
        """All that waited, at the end."""
        rest, self._waiting, self._index = sorted(self._waiting, key=lambda fragment: fragment.index), [], None
        return rest

    def _step(self) -> ToolFragment | None:
        """The next piece of the call that is being written, else the first of another once that one is whole."""
        for place, fragment in enumerate(self._waiting):
            if fragment.index == self._index:
                self._arguments.append(fragment.arguments)
                return self._waiting.pop(place)
        if not self._waiting or (self._index is not None and not _is_whole("".join(self._arguments))):
            return None
        first = self._waiting.pop(0)
        self._index, self._arguments = first.index, [first.arguments]
        return first


def _is_whole(arguments: str) -> bool:
    try:
        msgspec.json.decode(arguments.encode("utf-8", "replace"))
    except UNREADABLE:
        return False
    return True


def _event(kind: str, rest: Object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **rest}))


# ---------------------------------------------------------------------------- plain


def _write_whole(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    answer = fold([in_words(delta) for delta in deltas])
    sealed = "".join(delta.signature for delta in deltas if delta.format == NAME)
    content: list[Object] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": sealed})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    for i, call in enumerate(answer.tool_calls):
        used = {"type": "tool_use", "id": call.id or f"toolu_{i}", "name": call.name}
        content.append({**used, "input": input_of(call.arguments)})
    body = {
        "id": answer.id or _ID,
        "type": "message",
        "role": "assistant",
        "model": answer.model or request.model,
        "content": content,
        "stop_reason": _word(answer, answer.refusal),
        "stop_sequence": None,
        **_details(answer.refusal),
        "usage": _write_usage(answer.usage or Usage()),
    }
    return _encode(body)


# --------------------------------------------------------------------------- pieces


def _word(step: Delta | Response, refusal: str) -> str:
    """The provider's own word where it is one of Anthropic's, else ours for it."""
    if refusal:
        return "refusal"
    if step.raw_finish in _OWN_WORDS:
        return str(step.raw_finish)
    if step.finish is None and isinstance(step, Response) and step.tool_calls:
        return "tool_use"
    return _WORDS[step.finish or Finish.STOP]


def _details(refusal: str) -> Object:
    """Why it refused; some formats give the words of a refusal apart from those of an answer."""
    return {"stop_details": {"type": "refusal", "category": None, "explanation": refusal}} if refusal else {}


def _write_usage(usage: Usage) -> Object:
    fresh = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
    thoughts = {"output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}} if usage.reasoning_tokens else {}
    return {
        "input_tokens": fresh,
        "cache_creation_input_tokens": usage.cache_write_tokens,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        **thoughts,
    }


# ------------------------------------------------------------------------- failures

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
"""Anthropic's categories by status."""
_OVERLOADED = 529
"""Anthropic's own status for it, which its SDKs know."""


def write_failure(failure: Failure, request_id: str) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and Anthropic's error envelope; a caller's own fault keeps the provider's words and status."""
    _, headers, _ = write_openai_failure(failure, request_id)
    status, error = _write_error(failure)
    body = {"type": "error", "error": error, "request_id": request_id}
    return status, {**headers, "request-id": request_id}, _encode(body)


def write_fault(failure: Failure, outcome: Outcome) -> bytes:
    """The error in place of a plain answer."""
    return write_failure(failure, outcome.request_id)[2]


def _write_error(failure: Failure) -> tuple[int, Json]:
    """The status and the `error` object of this format."""
    status, _, _ = write_openai_failure(failure, "")
    if failure.kind is FailureKind.OVERLOADED:
        status = _OVERLOADED
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    if failure.verdict.fault is Fault.CALLER and failure.type in _TYPES.values():
        kind = failure.type or kind
    return status, {"type": kind, "message": failure.message}
