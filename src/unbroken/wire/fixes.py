"""What a target complains of in a request, and the request without it.

    fix_for(failure, request, target=) -> Fix | None    what would have to be changed
    adapted(request, fix) -> HttpRequest               the request, changed

Providers that call themselves compatible refuse fields that others want, and say so in their
errors: OpenAI's newer models want `max_completion_tokens`, xAI refuses penalties even when
they are 0.  A field is only left out where its value says nothing (a penalty of 0) or changes
no answer, or where the operator allows it (`Target.may_drop`); limits on the length of an
answer are lowered to what the provider says it can give.  Only fields at the top of a JSON
body are touched, but for thoughts of other models, which stand inside messages.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.records import replace
from unbroken.types import Fix, HttpRequest, Json, Target
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields

__all__ = ["adapted", "fix_for"]

_encode = msgspec.json.encode
_LIMITS = ("max_completion_tokens", "max_tokens", "max_output_tokens")
_RENAMES = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_TOKENS_MIN = 16
"""An answer cut shorter than this is none."""

_SAYS_NOTHING: dict[str, tuple[bytes, ...]] = {
    "presence_penalty": (b"0", b"0.0"),
    "frequency_penalty": (b"0", b"0.0"),
    "temperature": (b"1", b"1.0"),
    "top_p": (b"1", b"1.0"),
    "n": (b"1",),
    "logprobs": (b"false",),
    "parallel_tool_calls": (b"true",),
    "logit_bias": (b"{}",),
    "stop": (b"[]",),
    "stream": (b"false",),
}
"""Values that are what a provider does anyway."""
_CHANGES_NO_ANSWER = frozenset((
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "stream_options", "prediction",
))  # fmt: skip

_NAMED = re.compile(r"['\"`](?:\w+\.)*([A-Za-z_]{1,40})['\"`]|: ([A-Za-z_]{1,40})\b")
"""How a complaint names a field: between quotes, or after a colon."""
_NEVER = frozenset(("model", "messages", "input", "prompt", "contents"))
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBER = r"(\d[\d,]{0,15})"
_ROOM: tuple[re.Pattern[str], ...] = (
    re.compile(rf"context limit: (?P<prompt>{_NUMBER}) \+ {_NUMBER} > (?P<all>{_NUMBER})"),
    re.compile(rf"context length is (?P<all>{_NUMBER}) tokens.{{0,120}}?\((?P<prompt>{_NUMBER}) in (?:the|your) "),
    re.compile(rf"context length is (?P<all>{_NUMBER}) tokens.{{0,60}}?request has (?P<prompt>{_NUMBER}) input tokens"),
)
"""What is left for an answer: as Anthropic says it (prompt + asked for > all), as OpenAI and vLLM do
(all; in brackets the prompt's share), and as newer vLLM does."""
_AFFORDABLE = re.compile(rf"can only afford {_NUMBER}")


def fix_for(failure: Failure, request: HttpRequest, *, target: Target) -> Fix | None:
    """How this request would have to be changed for this target, None where nothing is known to help."""
    try:
        fields = split_fields(request.body)
    except UNREADABLE:
        return None
    match failure.kind:
        case FailureKind.REQUEST | FailureKind.UNSUPPORTED:
            return _renamed(failure, fields) or _dropped(failure, fields, target=target) or _thoughtless(failure)
        case FailureKind.CONTEXT_LENGTH:
            return _lowered(fields, _room(failure.message))
        case FailureKind.QUOTA:
            found = _AFFORDABLE.search(failure.message)
            return _lowered(fields, _int(found[1]) if found else None, absent="max_tokens")
    return None


def adapted(request: HttpRequest, fix: Fix) -> HttpRequest:
    """The request with the fix; what was left out is said in `unsaid`."""
    try:
        fields = split_fields(request.body)
    except UNREADABLE:
        return request
    dropped = [name for name in fix.drop if fields.pop(name, None) is not None]
    fields = {fix.rename.get(name, name): value for name, value in fields.items()}
    fields.update((name, _encode(value)) for name, value in fix.put.items())
    lowered = [f"{name}>{value}" for name, value in fix.put.items()]
    if fix.thoughts:
        fields.update((name, _without_thoughts(fields[name])) for name in ("input", "messages") if name in fields)
        dropped.append("reasoning")
    return replace(request, body=join_fields(fields), unsaid=(*request.unsaid, *dropped, *lowered))


# ------------------------------------------------------------------- fields


def _renamed(failure: Failure, fields: dict[str, bytes]) -> Fix | None:
    """The limit on an answer's length has two names, and each is unknown somewhere."""
    complained = _complained(failure)
    for old, new in _RENAMES.items():
        if old in complained and old in fields and new not in fields:
            return Fix(rename={old: new})
    return None


def _dropped(failure: Failure, fields: dict[str, bytes], *, target: Target) -> Fix | None:
    drop = [name for name in fields if name in _complained(failure)]
    may = [name for name in drop if _may_go(name, fields[name], target=target)]
    return Fix(drop=tuple(may)) if may and may == drop else None


def _may_go(name: str, value: bytes, *, target: Target) -> bool:
    return (
        name in _CHANGES_NO_ANSWER
        or value in _SAYS_NOTHING.get(name, ())
        or value == b"null"
        or bool(target.may_drop & {name, "*"})
    )


def _complained(failure: Failure) -> set[str]:
    """The names of the fields that an error is about, in the spelling of the body."""
    names = {failure.param or "", *_located(failure.body)}
    if failure.kind is FailureKind.UNSUPPORTED:
        names.update(found[1] or found[2] for found in _NAMED.finditer(failure.message))
    return {_HUMP.sub("_", name).lower() for name in names if name} - _NEVER


def _located(body: Json) -> Iterator[str]:
    """Where a validator (pydantic's) saw a field that should not be there."""
    details = body.get("detail") if isinstance(body, dict) else None
    for item in details if isinstance(details, list) else ():
        place = item.get("loc") if isinstance(item, dict) else None
        if isinstance(place, list) and place and item.get("type") == "extra_forbidden":
            yield str(place[-1])


# ------------------------------------------------------------------- lengths


def _lowered(fields: dict[str, bytes], room: int | None, *, absent: str = "") -> Fix | None:
    """A limit within what is left, where the request had a larger one (or, if it is said which, none)."""
    if room is None or room < _TOKENS_MIN:
        return None
    name = next((name for name in _LIMITS if name in fields), absent)
    if not name or (name in fields and _int(fields[name].decode()) <= room):
        return None
    return Fix(put={name: room})


def _room(message: str) -> int | None:
    """The tokens that are left for an answer, from what is said of the window and the prompt."""
    found = next((found for pattern in _ROOM if (found := pattern.search(message))), None)
    return _int(found["all"]) - _int(found["prompt"]) if found else None


def _int(text: str) -> int:
    digits = text.replace(",", "")
    return int(digits) if digits.isdecimal() else 0


# ------------------------------------------------------------------- thoughts

_FOREIGN = re.compile(r"encrypted_content|invalid[^.]{0,20}signature|thought.?signature", re.IGNORECASE)
_THOUGHTS = frozenset(("reasoning", "thinking", "redacted_thinking"))


def _thoughtless(failure: Failure) -> Fix | None:
    """Thoughts are sealed: whoever did not think them refuses them."""
    said = f"{failure.code or ''} {failure.message}"
    return Fix(thoughts=True) if _FOREIGN.search(said) else None


def _without_thoughts(raw: bytes) -> bytes:
    """A list of items or messages, without the thoughts among them and in their contents."""
    items = msgspec.json.decode(raw)
    if not isinstance(items, list):
        return raw
    kept = [item for item in items if not _is_thought(item)]
    for item in kept:
        content = item.get("content") if isinstance(item, dict) else None
        if isinstance(content, list):
            item["content"] = [part for part in content if not _is_thought(part)]
    return _encode(kept)


def _is_thought(item: Json) -> bool:
    return isinstance(item, dict) and item.get("type") in _THOUGHTS
