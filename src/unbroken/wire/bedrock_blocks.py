"""The blocks of which Bedrock's Converse messages are made, both ways: words, media, calls and their results.

    read_block(block, where) -> Part    Opaque where it is nothing that other formats know
    Blocks(...).write(part) -> block    None where there is nothing to say

Each block is an object with one field, which names its kind.  Media are bytes as base64; an
address of Amazon's storage (`s3Location`) stays opaque, and an address of the web cannot be said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from hashlib import sha256
from typing import Any

import msgspec

from unbroken.types import Media, Opaque, Part, Reasoning, Text, ToolCall, ToolResult
from unbroken.wire import Unsaid
from unbroken.wire.asked import shaped
from unbroken.wire.bedrock_answer import NAME, REDACTED, SERVER_TOOL
from unbroken.wire.framing import UNREADABLE

__all__ = ["Blocks", "Object", "cited_text", "read_block"]

Object = dict[str, Any]

_OFFICE = "application/vnd.openxmlformats-officedocument"
_FORMATS: Mapping[str, Mapping[str, str]] = {
    "image": {"png": "image/png", "jpeg": "image/jpeg", "gif": "image/gif", "webp": "image/webp"},
    "document": {
        "pdf": "application/pdf",
        "csv": "text/csv",
        "doc": "application/msword",
        "docx": f"{_OFFICE}.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": f"{_OFFICE}.spreadsheetml.sheet",
        "html": "text/html",
        "txt": "text/plain",
        "md": "text/markdown",
    },
    "video": {
        "mp4": "video/mp4",
        "webm": "video/webm",
        "mkv": "video/x-matroska",
        "mov": "video/quicktime",
        "flv": "video/x-flv",
        "mpeg": "video/mpeg",
        "mpg": "video/mpg",
        "wmv": "video/x-ms-wmv",
        "three_gp": "video/3gpp",
    },
    "audio": {
        name: f"audio/{name}"
        for name in ("mp3", "opus", "wav", "aac", "flac", "mp4", "ogg", "mkv", "mka", "x-aac", "m4a", "mpeg", "mpga",
                     "pcm", "webm")
    },
}  # fmt: skip
_TYPES = {kind: {media_type: name for name, media_type in formats.items()} for kind, formats in _FORMATS.items()}
_TYPES["image"]["image/jpg"] = "jpeg"

_ID = re.compile(r"[a-zA-Z0-9_.:-]{1,64}")
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9_\s()\[\]-]+")
_BLANKS = re.compile(r"\s+")
_NAME_CHARS_MAX = 180


# -------------------------------------------------------------------------- reading


class _ToolUse(msgspec.Struct):
    toolUseId: str  # noqa: N815 - the names here are Amazon's
    name: str
    input: Any = None
    type: str | None = None


class _ToolResult(msgspec.Struct):
    toolUseId: str  # noqa: N815
    content: list[dict[str, Any]]
    status: str | None = None
    type: str | None = None


def read_block(block: Object, where: str) -> Part:
    """A block as a part of a message; ValueError where one of a known kind has the wrong shape."""
    for kind, read in _READERS.items():
        if block.get(kind) is not None:
            return read(block, f"{where}.{kind}")
    return Opaque(NAME, block)


def _read_text(block: Object, where: str) -> Part:
    return Text(shaped(block["text"], str, where=where))


def _read_media(block: Object, where: str, *, kind: str) -> Part:
    """Bytes in a known container; whatever more is said (citations, context) no other format knows."""
    inner = shaped(block[kind], dict[str, Any], where=where)
    source, container = inner.get("source"), _FORMATS[kind].get(str(inner.get("format")))
    data = source.get("bytes") if isinstance(source, dict) and len(source) == 1 else None
    if container is None or not isinstance(data, str) or not inner.keys() <= {"format", "name", "source"}:
        return Opaque(NAME, block)
    return Media(kind=kind, media_type=container, data=data, detail=str(inner.get("name") or ""))


def _read_call(block: Object, where: str) -> Part:
    call = shaped(block["toolUse"], _ToolUse, where=where)
    if call.type == SERVER_TOOL:
        return Opaque(NAME, block)
    return ToolCall(id=call.toolUseId, name=call.name, arguments=msgspec.json.encode(call.input or {}).decode())


def _read_result(block: Object, where: str) -> Part:
    result = shaped(block["toolResult"], _ToolResult, where=where)
    if result.type is not None:
        return Opaque(NAME, block)
    parts = [_read_answer(item, f"{where}.content[{i}]") for i, item in enumerate(result.content)]
    return ToolResult(id=result.toolUseId, parts=tuple(parts), failed=result.status == "error")


def _read_answer(block: Object, where: str) -> Part:
    """One thing that a tool answered; JSON is words to everybody else."""
    if "json" in block:
        return Text(msgspec.json.encode(block["json"]).decode())
    return read_block(block, where)


def _read_thought(block: Object, where: str) -> Part:
    thought = shaped(block["reasoningContent"], dict[str, Any], where=where)
    if isinstance(thought.get("redactedContent"), str):
        return Reasoning("", f"{REDACTED}{thought['redactedContent']}", NAME)
    said = shaped(thought.get("reasoningText", {}), dict[str, Any], where=f"{where}.reasoningText")
    return Reasoning(str(said.get("text") or ""), str(said.get("signature") or ""), NAME)


_READERS: Mapping[str, Callable[[Object, str], Part]] = {
    "text": _read_text,
    **{kind: partial(_read_media, kind=kind) for kind in _FORMATS},
    "toolUse": _read_call,
    "toolResult": _read_result,
    "reasoningContent": _read_thought,
}


def cited_text(block: Object) -> str:
    """The words of a block with citations."""
    content = block["citationsContent"].get("content") if isinstance(block["citationsContent"], dict) else None
    said = [item.get("text") for item in content if isinstance(item, dict)] if isinstance(content, list) else []
    return "".join([text for text in said if isinstance(text, str)])


# -------------------------------------------------------------------------- writing


class Blocks:
    """Parts written as blocks, for the whole of one request: no two documents may have the same name."""

    __slots__ = ("_names", "_unsaid")

    def __init__(self, unsaid: Unsaid) -> None:
        self._unsaid = unsaid
        self._names: set[str] = set()

    def write(self, part: Part) -> Object | None:
        """A block, or None where the part may be left out; ValueError where it cannot be said."""
        match part:
            case Text():
                return {"text": part.text}
            case Media():
                return self._media(part)
            case ToolCall():
                call = {"toolUseId": _tool_id(part.id), "name": part.name, "input": _arguments(part)}
                return {"toolUse": call}
            case ToolResult():
                return self._result(part)
            case Reasoning():
                return self._thought(part)
            case Opaque() if part.format == NAME:
                return dict(part.value)
        raise ValueError(f"Bedrock's Converse format cannot hold something of the format {part.format} in a message")

    def _result(self, result: ToolResult) -> Object:
        content = [block for part in result.parts if (block := self.write(part)) is not None]
        status = {"status": "error"} if result.failed else {}
        return {"toolResult": {"toolUseId": _tool_id(result.id), "content": content, **status}}

    def _thought(self, thought: Reasoning) -> Object | None:
        if thought.format != NAME:
            if "reasoning" not in self._unsaid.names:
                self._unsaid.hint("reasoning")
            return None
        if thought.signature.startswith(REDACTED):
            return {"reasoningContent": {"redactedContent": thought.signature.removeprefix(REDACTED)}}
        proof = {"signature": thought.signature} if thought.signature else {}
        return {"reasoningContent": {"reasoningText": {"text": thought.text, **proof}}}

    def _media(self, media: Media) -> Object | None:
        media_type, data = _bytes_of(media)
        if not data:
            self._unsaid.lack(media.kind, "it has to come as bytes, not as an address")
            return None
        container = _TYPES.get(media.kind, {}).get(media_type)
        if container is None:
            self._unsaid.lack(media.kind, f"{media_type or 'an unknown type'} is not among those that it takes")
            return None
        named = {"name": self._name(media.detail, container)} if media.kind == "document" else {}
        return {media.kind: {"format": container, **named, "source": {"bytes": data}}}

    def _name(self, given: str, container: str) -> str:
        """A document's name, of those letters that are allowed, and not had before."""
        stem = given.removesuffix(f".{container}")
        stem = _BLANKS.sub(" ", _NOT_IN_A_NAME.sub("-", stem)).strip()[:_NAME_CHARS_MAX] or "document"
        name, number = stem, 1
        while name in self._names:
            number += 1
            name = f"{stem}-{number}"
        self._names.add(name)
        return name


def _tool_id(given: str) -> str:
    """The id where it is one that is allowed, else one made of it: always the same for the same."""
    return given if _ID.fullmatch(given) else f"tooluse_{sha256(given.encode()).hexdigest()[:24]}"


def _arguments(call: ToolCall) -> msgspec.Raw:
    """A call's arguments, which are an object here; ValueError where they are none."""
    words = call.arguments.strip() or "{}"
    try:
        msgspec.json.decode(words, type=dict[str, Any])
    except UNREADABLE:
        raise ValueError(f"the arguments of the call {call.id!r} are no JSON object") from None
    return msgspec.Raw(words.encode())


def _bytes_of(media: Media) -> tuple[str, str]:
    """The media type and the base64; nothing where there is only an address."""
    if media.data:
        return media.media_type, media.data
    head, _, data = media.url.partition(",")
    if not head.startswith("data:") or not head.endswith(";base64"):
        return media.media_type, ""
    return head.removeprefix("data:").partition(";")[0] or media.media_type, data
