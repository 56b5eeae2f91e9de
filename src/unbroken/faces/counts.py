"""How many tokens a prompt is: counted by a provider that can, else estimated.

Only Anthropic and Google count for their callers.  Such a target of the route is asked, with
failover to the next that can, for `COUNT_S` at most; when there is none, none is well or all
fail, the number is an estimate.  `x-unbroken-tokens` says which of the two it is.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import msgspec

from unbroken import records
from unbroken.engine import Engine, Finished
from unbroken.faces.pages import Call, Page, Routing
from unbroken.faces.visitor import Answer, Reply, Visitor
from unbroken.failures import Failure, FailureKind
from unbroken.policy import CHARS_PER_TOKEN, Caching, Route
from unbroken.price import UNPRICED
from unbroken.types import Delta, Media, Part, Request, Target, Text, ToolCall, ToolResult, Usage
from unbroken.wire import Format, Outcome, format_named
from unbroken.work import Chat, Json, Opaque, Reasoning

__all__ = ["COUNT_S", "Counts", "estimate"]

COUNT_S = 5.0
"""An estimate now is worth more than a count that comes late."""
MESSAGE_TOKENS, MEDIA_TOKENS = 4.0, 1_500.0
"""What stands around a message, and what a picture of usual size is counted for."""
HEADER = "x-unbroken-tokens"
_COUNTERS = {"anthropic": "anthropic_count", "gemini": "gemini_count"}
"""How those who count for their callers are asked, by the format that they speak."""
_WRONG = (400, 422)
"""Statuses with which a counter says that the conversation itself is wrong."""


class Counts:
    """The pages that count."""

    def __init__(self, engine: Engine, route: Routing) -> None:
        self._engine, self._route = engine, route

    def pages(self) -> list[Page]:
        """One for each path of each counting format."""
        asked = [format_named(name) for name in _COUNTERS.values()]
        return [
            Page(method="POST", path=path, answer=partial(self._answer, spoken=spoken))
            for spoken in asked
            for path in spoken.paths
        ]

    def _answer(self, call: Call, *, spoken: Format) -> Reply | Visitor | Failure:
        """The count, or soon."""
        assert spoken.read_request is not None
        request = spoken.read_request(call.path, call.body)
        if isinstance(request, Failure):
            return request
        route = self._route(request, call)
        if isinstance(route, Failure):
            return route
        counting = self._counting(route)
        counted = _Counted(spoken, request, request_id=call.request_id)
        if not counting.targets:
            return counted.estimated()
        drive = self._engine.fly(request, counting, caller=counted, flight_id=call.request_id)
        if not counted.over:
            counted.fly(drive)
        return counted

    def _counting(self, route: Route) -> Route:
        """The route's targets that are well and count."""
        board, now = self._engine.board, self._engine.clock()
        targets = [t for t in route.targets if t.format in _COUNTERS and board.obstacle(t, now) is None]
        deadlines = route.policy.deadlines.merged({"total_s": COUNT_S})
        return replace(
            route,
            name=f"{route.name}:count",
            targets=tuple(map(_counter, targets)),
            strategy="priority",
            width=1,
            policy=replace(route.policy, deadlines=deadlines, cache=Caching()),  # a count is no answer to be kept
        )


def _counter(target: Target) -> Target:
    """The target as one that counts: what it costs and how it fails there is no word about it as a chat model."""
    return replace(
        target,
        format=_COUNTERS[target.format],
        provider=f"{target.provider}:count",
        price=UNPRICED,
        may_drop=frozenset("*"),
        capabilities=frozenset(),
        context_tokens=None,
        deadlines={**target.deadlines, "total_s": COUNT_S},
    )


class _Counted(Answer):
    """A caller who waits for a count, and gets an estimate where there is none."""

    __slots__ = ("_request",)

    def __init__(self, spoken: Format, request: Request, *, request_id: str) -> None:
        assert spoken.writer is not None
        super().__init__(spoken, spoken.writer(request), request_id=request_id, stream=False)
        self._request = request

    def finish(self, end: Finished) -> None:
        failure = end.failure
        if failure is not None and failure.kind is FailureKind.REQUEST and failure.status in _WRONG:
            super().finish(end)
            return
        word = "counted" if failure is None else "estimated"
        if failure is not None:
            self._held = [self._guess()]
            end = records.replace(end, failure=None, target=None)
        notify, self.notify = self.notify, None  # not before the headers are complete
        super().finish(end)
        self.headers.append((HEADER, word))
        self.notify = notify
        self._put(b"")

    def estimated(self) -> Reply:
        """The estimate, at once."""
        outcome = Outcome(request_id=self._id, target="none", attempts=0, failover=False)
        body = self._writer.whole([self._guess()], outcome)
        headers = [("content-type", self._writer.content_type), *outcome.headers(), (HEADER, "estimated")]
        return Reply(200, headers, body)

    def _guess(self) -> Delta:
        return Delta(media=1, usage=Usage(input_tokens=estimate(self._request)))


# ------------------------------------------------------------------------- estimates


def estimate(request: Request) -> int:
    """About how many tokens a request's conversation is; by the length of its body where that cannot be read."""
    try:
        tokens = _of_chat(request.chat)
    except ValueError:
        tokens = request.prompt_chars / CHARS_PER_TOKEN
    return max(1, round(tokens))


def _of_chat(chat: Chat) -> float:
    messages = sum(MESSAGE_TOKENS + _of_parts(message.parts) for message in chat.messages)
    tools = sum(_of_text(tool.name + tool.description) + _of_json(tool.parameters) for tool in chat.tools)
    return messages + tools + (_of_json(chat.schema) if chat.schema else 0.0)


def _of_parts(parts: tuple[Part, ...]) -> float:
    return sum(map(_of_part, parts))


def _of_part(part: Part) -> float:
    match part:
        case Text() | Reasoning():
            return _of_text(part.text)
        case Media():
            return MEDIA_TOKENS
        case ToolCall():
            return _of_text(part.name + part.arguments)
        case ToolResult():
            return _of_parts(part.parts)
        case Opaque():
            return _of_json(part.value)


def _of_text(text: str) -> float:
    """Bytes and not characters: a Chinese character is about a token, a Latin one a quarter."""
    return len(text.encode("utf-8", "replace")) / CHARS_PER_TOKEN


def _of_json(value: Json) -> float:
    return 0.0 if value is None else len(msgspec.json.encode(value)) / CHARS_PER_TOKEN
