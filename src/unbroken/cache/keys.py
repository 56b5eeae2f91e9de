"""What makes two requests the same: all that changes their answer, in no format's words.

    asked_of(request, route) -> Asked | None     None where a request is not to be answered from memory

The conversation is taken as formats read it (`Request.work`) and written in one fixed way, so
that a caller of another format, or one who orders fields differently or numbers tool calls in
another way, asks the same.  What changes no answer is left out: hints, whether the answer is
streamed, ids.  What one format alone can say is in it together with that format's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass, replace
from hashlib import blake2b
from typing import Any

import msgspec

from unbroken.policy import Caching, Route
from unbroken.records import Record
from unbroken.types import Chat, Json, Media, Message, Part, Request, Task, Text, ToolCall, ToolResult, Work
from unbroken.work import Picture

__all__ = ["Asked", "asked_of"]

EDITION = 1
"""Of this way of writing: entries that another edition's key leads to are never found."""
_LEFT_OUT = frozenset(("hints",))
_ID_OF_UNKNOWN = "?"
_FIGURE = re.compile(r"\d+")
"""What models of meaning hardly notice: invoice 17 is not invoice 18."""


class Asked(Record):
    """A request's `key`; and where its last turn is a question in words alone, that `question` and its `context`.

    The context is the key of everything but the question: two requests of the same context
    differ in their question only, and not in a number that stands in it.
    """

    key: str
    context: str = ""
    question: str = ""


def asked_of(request: Request, route: Route) -> Asked | None:
    """What is asked, or None where the answer must come from a target: by the route's wish, or its caller's."""
    caching = route.policy.cache
    if request.cache == "no-store" or request.choices != 1 or request.task not in caching.tasks or not request.read:
        return None
    try:
        work = request.work
    except ValueError:
        return None  # whoever is asked says what is wrong with it
    if not _may_be_kept(work, caching) or ("tools" in request.needs and not caching.tools):
        return None
    around = _around(request, route, work=work)
    if not isinstance(work, Chat):
        return Asked(_digest([around, _plain(work)]))
    key = _digest([around, _conversation(work)])
    question = _question(work) if caching.semantic.route else ""
    if not question:
        return Asked(key)
    figures = _FIGURE.findall(question)
    context = _digest([around, _conversation(_unasked(work)), caching.semantic.route, figures])
    return Asked(key, context, question)


def _may_be_kept(work: Work, caching: Caching) -> bool:
    if isinstance(work, Picture):
        return not work.as_url  # an address that the provider gave out does not live long
    if not isinstance(work, Chat):
        return True
    if caching.when == "deterministic" and work.temperature != 0 and work.seed is None:
        return False
    return caching.tools or not _has_tools(work)


def _has_tools(chat: Chat) -> bool:
    """Whether tools are or were in play: what they do, they do in the world, and what they say may change."""
    calls = (isinstance(part, ToolCall | ToolResult) for message in chat.messages for part in message.parts)
    return bool(chat.tools or chat.extras.get("tools")) or any(calls)


def _around(request: Request, route: Route, *, work: Work) -> Json:
    """All that changes an answer beside the work itself: where it may come from, for whom, in which format."""
    targets = sorted([target.name, sorted(target.headers.items())] for target in route.targets)
    asker = request.asker if route.policy.cache.per_key else ""
    own_words = request.task is not Task.CHAT or bool(work.extras) or _has_opaque(work)
    form = request.source.format if own_words and request.source is not None else ""
    return [EDITION, route.name, targets, str(request.task), asker, form]


def _has_opaque(work: Work) -> bool:
    """Whether a message has fields of its format's own."""
    return isinstance(work, Chat) and any(_extras(message) for message in work.messages)


def _digest(value: Json) -> str:
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=32).hexdigest()


# ------------------------------------------------------------------ one way to say it


def _plain(value: Any) -> Json:
    """A record as an object with its kind, without what has its default; bytes as their digest."""
    if is_dataclass(value):
        said = {field.name: getattr(value, field.name) for field in fields(value) if field.name not in _LEFT_OUT}
        kept = {name: _plain(each) for name, each in said.items() if not _is_default(value, name)}
        return {"": type(value).__name__, **kept}
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes):
        return blake2b(value, digest_size=32).hexdigest()
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _is_default(value: Any, name: str) -> bool:
    each, field = getattr(value, name), value.__dataclass_fields__[name]
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return type(each) is type(default) and bool(each == default)


def _conversation(chat: Chat) -> Json:
    """A chat, with whatever is the same as saying nothing left out."""
    usual: dict[str, Any] = {
        "tool_choice": None if chat.tool_choice == "auto" else chat.tool_choice,
        "parallel_calls": None if chat.parallel_calls else chat.parallel_calls,
        "presence_penalty": chat.presence_penalty or None,
        "frequency_penalty": chat.frequency_penalty or None,
        "top_p": None if chat.top_p == 1 else chat.top_p,
    }
    turns = _plain(list(_turns(chat.messages)))
    return [_plain(replace(chat, messages=(), **usual)), turns]


def _turns(messages: tuple[Message, ...]) -> Iterator[tuple[str, Mapping[str, Json], list[Any]]]:
    """Role, extras and parts of each turn; a tool's result is a turn of its own, as some formats have it."""
    numbers: dict[str, str] = {}
    for message in messages:
        rest: list[Any] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                yield "tool", {}, [_result(part, numbers)]
            else:
                rest.append(_part(part, numbers))
        if rest or not message.parts:
            yield message.role, _extras(message), rest


def _extras(message: Message) -> Mapping[str, Json]:
    """What a format says of a message beside its parts; a developer's message is a system's."""
    return {name: value for name, value in message.extras.items() if name != "role" and message.role != "tool"}


def _result(result: ToolResult, numbers: dict[str, str]) -> ToolResult:
    """A result by its call's number; the tool's name was said there."""
    name = "" if result.id in numbers else result.name
    parts = tuple(_part(part, numbers) for part in result.parts)
    return replace(result, id=numbers.get(result.id, _ID_OF_UNKNOWN), name=name, parts=parts)


def _part(part: Part, numbers: dict[str, str]) -> Any:
    match part:
        case ToolCall():
            number = numbers.setdefault(part.id, str(len(numbers)))
            return [replace(part, id=number, arguments=""), _read(part.arguments)]
        case Media(url=url) if url.startswith("data:") and ";base64," in url:
            media_type, _, data = url.removeprefix("data:").partition(";base64,")
            return replace(part, url="", media_type=media_type, data=data, detail=_closely(part))
        case Media():
            return replace(part, detail=_closely(part))
        case _:
            return part


def _closely(media: Media) -> str:
    return "" if media.detail == "auto" else media.detail


def _read(arguments: str) -> Json:
    """Arguments as values, so that white space does not matter."""
    try:
        return msgspec.json.decode(arguments)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return arguments


# ----------------------------------------------------------------------- the question


def _question(chat: Chat) -> str:
    """The words of the last turn, where it is a user's and of words alone; else nothing."""
    last = chat.messages[-1] if chat.messages else None
    if last is None or last.role != "user" or not all(isinstance(part, Text) for part in last.parts):
        return ""
    return last.text.strip()


def _unasked(chat: Chat) -> Chat:
    """The conversation without the words of its last turn."""
    return replace(chat, messages=(*chat.messages[:-1], replace(chat.messages[-1], parts=())))
