"""Messages in Anthropic's format, both ways: turns of blocks, and the system prompt beside them.

    Blocks(...)                    a reader; `marks` collects what changes no answer (`cache_control`)
    write_messages(messages, ...)  -> the system prompt and the turns

What a user's turn says of tools becomes messages of the role tool, one for each result, and
back.  A block with fields that are not modelled is `Opaque`, as are the blocks of Anthropic's own
tools.  Reading and writing again gives equal JSON but for this: consecutive turns of one role
become one; a content that is one bare text becomes a string; blank texts go, which Anthropic
refuses; so do marks, the citations of texts, and `is_error` where it is false.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from unbroken.types import Json, Media, Message, Opaque, Part, Reasoning, Text, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.anthropic_answer import NAME
from unbroken.wire.anthropic_arguments import arguments_of, input_of
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.media import media_type_of

__all__ = ["REDACTED", "Blocks", "says_nothing", "write_messages", "wrong"]

REDACTED = f"{NAME}.redacted"
"""The `Reasoning.format` of thoughts that came sealed: their signature is all there is of them."""
_ROLES = ("user", "assistant", "system")
_IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))
_PDF, _PLAIN = "application/pdf", "text/plain"

Object = dict[str, Any]


def wrong(where: str, what: str) -> ValueError:
    """The error that names the field that is wrong."""
    return ValueError(f"'{where}' {what}")


def says_nothing(value: Json) -> bool:
    """Whether a field means the same as its absence."""
    return value in (None, False, [], {}, {"enabled": False}, {"type": "direct"})


# -------------------------------------------------------------------------- reading


class Blocks:
    """A reader of system prompts and turns; ValueError names what has the wrong shape."""

    __slots__ = ("marks",)

    def __init__(self) -> None:
        self.marks: dict[str, bool] = {}

    def system(self, content: Json) -> Iterator[Message]:
        """The system prompt as a message, where there is one."""
        parts = self._content(content, "system")
        if parts:
            yield Message(role="system", parts=parts)

    def turns(self, messages: Json) -> Iterator[Message]:
        """The conversation."""
        if not isinstance(messages, list) or not messages:
            raise wrong("messages", "must be an array with at least one message")
        for i, turn in enumerate(messages):
            where = f"messages[{i}]"
            if not isinstance(turn, dict):
                raise wrong(where, "must be an object")
            if turn.get("role") not in _ROLES:
                raise wrong(f"{where}.role", f"must be one of {', '.join(_ROLES)}")
            extras = {name: value for name, value in turn.items() if name not in ("role", "content")}
            yield from _apart(turn["role"], self._content(turn.get("content"), f"{where}.content"), extras=extras)

    def _content(self, content: Json, where: str) -> tuple[Part, ...]:
        if isinstance(content, str):
            return (Text(content),)
        if content is not None and not isinstance(content, list):
            raise wrong(where, "must be a string or an array of blocks")
        return tuple(self._block(block, f"{where}[{i}]") for i, block in enumerate(content or []))

    def _block(self, block: Json, where: str) -> Part:
        if not isinstance(block, dict):
            raise wrong(where, "must be an object")
        kind = block.get("type")
        read, known = _BLOCKS.get(kind if isinstance(kind, str) else "", (None, frozenset()))
        if block.get("cache_control"):
            self.marks["messages[].cache_control"] = True
        if read is None or any(name not in known and not says_nothing(value) for name, value in block.items()):
            return Opaque(NAME, block)
        return read(self, block, where)

    def _text(self, block: Object, where: str) -> Part:
        if block.get("citations"):
            self.marks["messages[].citations"] = True
        return Text(_string(block, "text", where=where))

    def _thinking(self, block: Object, where: str) -> Part:
        return Reasoning(
            _string(block, "thinking", where=where), signature=str(block.get("signature") or ""), format=NAME
        )

    def _redacted(self, block: Object, where: str) -> Part:
        return Reasoning("", signature=_string(block, "data", where=where), format=REDACTED)

    def _call(self, block: Object, where: str) -> Part:
        given = block.get("input")
        if not isinstance(given, dict):
            raise wrong(f"{where}.input", "must be an object")
        arguments = arguments_of(msgspec.json.encode(given))
        return ToolCall(
            id=_string(block, "id", where=where), name=_string(block, "name", where=where), arguments=arguments
        )

    def _result(self, block: Object, where: str) -> Part:
        parts = self._content(block.get("content"), f"{where}.content")
        return ToolResult(
            id=_string(block, "tool_use_id", where=where), parts=parts, failed=block.get("is_error") is True
        )

    def _image(self, block: Object, where: str) -> Part:
        return self._media(block, where, kind="image")

    def _document(self, block: Object, where: str) -> Part:
        return self._media(block, where, kind="document")

    def _media(self, block: Object, where: str, *, kind: str) -> Part:
        """Bytes, text or an address; a file that lies at Anthropic's means nothing elsewhere."""
        source = block.get("source")
        if not isinstance(source, dict):
            raise wrong(f"{where}.source", "must be an object")
        where, title = f"{where}.source", str(block.get("title") or "")
        match source.get("type"):
            case "url":
                return Media(kind=kind, url=_string(source, "url", where=where), detail=title)
            case "base64":
                media_type, data = _string(source, "media_type", where=where), _string(source, "data", where=where)
                return Media(kind=kind, media_type=media_type, data=data, detail=title)
            case "text":
                data = base64.b64encode(_string(source, "data", where=where).encode()).decode()
                return Media(kind=kind, media_type=_PLAIN, data=data, detail=title)
        return Opaque(NAME, block)


_Read = Callable[[Blocks, Object, str], Part]
_BLOCKS: Mapping[str, tuple[_Read, frozenset[str]]] = {
    kind: (read, frozenset(f"type cache_control {known}".split()))
    for kind, read, known in (
        ("text", Blocks._text, "text citations"),  # noqa: SLF001 - a table of its own methods
        ("thinking", Blocks._thinking, "thinking signature"),  # noqa: SLF001
        ("redacted_thinking", Blocks._redacted, "data"),  # noqa: SLF001
        ("tool_use", Blocks._call, "id name input"),  # noqa: SLF001
        ("tool_result", Blocks._result, "tool_use_id content is_error"),  # noqa: SLF001
        ("image", Blocks._image, "source"),  # noqa: SLF001
        ("document", Blocks._document, "source title"),  # noqa: SLF001
    )
}
"""How a kind of block is read, and the fields that are understood then."""


def _apart(role: str, parts: tuple[Part, ...], *, extras: Object) -> Iterator[Message]:
    """A turn as messages: the results of tools are messages of their own, in their place."""
    rest: list[Part] = []
    for part in parts:
        if not isinstance(part, ToolResult):
            rest.append(part)
            continue
        if rest:
            yield Message(role=role, parts=tuple(rest))
            rest = []
        yield Message(role="tool", parts=(part,))
    if rest or not parts:
        yield Message(role=role, parts=tuple(rest), extras=extras)


def _string(block: Object, name: str, *, where: str) -> str:
    value = block.get(name)
    if not isinstance(value, str):
        raise wrong(f"{where}.{name}", "must be a string")
    return value


# -------------------------------------------------------------------------- writing


def write_messages(
    messages: Sequence[Message], *, unsaid: Unsaid, own: bool, inline: bool = False
) -> tuple[list[Object], list[Object]]:
    """The blocks of the system prompt, and the turns; ValueError where this format cannot say it.

    Later system messages join the system prompt unless they may stand between the turns
    (`inline`), which only newer models take.  An answer that is begun may not end with white space.
    """
    writing = _Turns(unsaid, own=own)
    system: list[Object] = []
    for message in messages:
        if message.role != "system" or (inline and writing.turns):
            writing.add(message)
            continue
        if writing.turns:
            unsaid.hint("messages[].role")
        system += writing.blocks(message)
    if not writing.turns:
        raise ValueError("Anthropic's format needs at least one message that says something")
    last = writing.turns[-1]
    if last["role"] == "assistant" and last["content"][-1]["type"] == "text":
        last["content"][-1]["text"] = last["content"][-1]["text"].rstrip()
    for turn in writing.turns:
        content = turn["content"]
        if len(content) == 1 and content[0].keys() == {"type", "text"}:
            turn["content"] = content[0]["text"]
    return system, writing.turns


class _Turns:
    """Turns being written; `ids` are those of calls in letters that Anthropic takes."""

    __slots__ = ("_calls", "_own", "_results", "_unsaid", "turns")

    def __init__(self, unsaid: Unsaid, *, own: bool) -> None:
        self.turns: list[Object] = []
        self._unsaid, self._own = unsaid, own
        self._calls = self._results = 0

    def add(self, message: Message) -> None:
        """One message more, in the last turn where it is of the same role."""
        role = "user" if message.role == "tool" else message.role
        blocks = self.blocks(message)
        if not blocks:
            return
        if not self.turns or self.turns[-1]["role"] != role:
            self.turns.append({"role": role, "content": []})
        self.turns[-1]["content"] += blocks
        if self._own:
            self.turns[-1].update(message.extras)

    def blocks(self, message: Message) -> list[Object]:
        """The blocks of a message."""
        if not self._own:
            self._unsaid.hint(*(f"messages[].{name}" for name in message.extras))
        return [block for part in message.parts if (block := self._block(part)) is not None]

    def _block(self, part: Part) -> Object | None:
        match part:
            case Text():
                return {"type": "text", "text": part.text} if part.text.strip() else None
            case Media():
                return self._media(part)
            case Reasoning():
                return self._thought(part)
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
        if part.format != NAME:
            raise ValueError(f"Anthropic's format cannot hold something of the format {part.format} in a message")
        return dict(part.value)

    def _thought(self, part: Reasoning) -> Object | None:
        """A thought of this format with its seal; what others thought, and what lost its seal, is refused there."""
        if part.format == REDACTED:
            return {"type": "redacted_thinking", "data": part.signature}
        if part.format == NAME and part.signature:
            return {"type": "thinking", "thinking": part.text, "signature": part.signature}
        self._unsaid.hint("reasoning")
        return None

    def _call(self, part: ToolCall) -> Object:
        if part.signature:
            self._unsaid.hint("messages[].signature")
        self._calls += not part.id
        call_id = _known(part.id) or f"toolu_{self._calls}"
        return {"type": "tool_use", "id": call_id, "name": part.name, "input": input_of(part.arguments)}

    def _result(self, part: ToolResult) -> Object:
        """A result; those without an id belong to the calls without one, in their order."""
        self._results += not part.id
        content = [block for inner in part.parts if (block := self._block(inner)) is not None]
        result: Object = {"type": "tool_result", "tool_use_id": _known(part.id) or f"toolu_{self._results}"}
        if content:
            bare = len(content) == 1 and content[0].keys() == {"type", "text"}
            result["content"] = content[0]["text"] if bare else content
        if part.failed:
            result["is_error"] = True
        return result

    def _media(self, part: Media) -> Object:
        if part.kind == "image":
            if part.detail not in ("", "auto"):
                self._unsaid.hint("messages[].detail")
            return {"type": "image", "source": _source(part, _as_image)}
        if part.kind == "document":
            title = {"title": part.detail} if part.detail else {}
            return {"type": "document", "source": _source(part, _as_document), **title}
        raise ValueError(f"Anthropic's format has no {part.kind} in a message")


def _known(call_id: str) -> str:
    """An id in the letters that Anthropic takes; a call and its result change alike."""
    return re.sub(r"[^a-zA-Z0-9_-]", "_", call_id)


def _source(media: Media, as_bytes: Callable[[str, str], Object]) -> Object:
    """Where a picture or document comes from: an address, or bytes as base64 with their type."""
    if not media.url:
        return as_bytes(media.media_type, media.data)
    if media.url[:5].lower() != "data:":
        return {"type": "url", "url": media.url}
    head, _, data = media.url[5:].partition(",")
    if not head.endswith(";base64"):
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return as_bytes(head.partition(";")[0] or media.media_type, data)


def _as_image(media_type: str, data: str) -> Object:
    media_type = "image/jpeg" if media_type == "image/jpg" else media_type or media_type_of(_bytes(data))
    if media_type not in _IMAGES:
        raise ValueError(f"Anthropic's format has no images of the type {media_type or 'unknown'!r}")
    return {"type": "base64", "media_type": media_type, "data": data}


def _as_document(media_type: str, data: str) -> Object:
    """A PDF as it is, anything in plain letters as text."""
    if media_type == _PDF or (not media_type and _bytes(data).startswith(b"%PDF")):
        return {"type": "base64", "media_type": _PDF, "data": data}
    if not media_type.startswith("text/") and media_type != "application/json":
        raise ValueError(f"Anthropic's format has no documents of the type {media_type or 'unknown'!r}")
    try:
        return {"type": "text", "media_type": _PLAIN, "data": _bytes(data).decode()}
    except UNREADABLE:
        raise ValueError("a text document is not in UTF-8") from None


def _bytes(data: str) -> bytes:
    try:
        return base64.b64decode(data)
    except ValueError:
        raise ValueError("a picture or document is not in base64") from None
