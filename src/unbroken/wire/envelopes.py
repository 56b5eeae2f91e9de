"""A provider's error out of its envelope: the error objects in it, their codes, their words.

One reader for all providers: their envelopes differ, but never so that two contradict each
other.  An envelope may hold another one as JSON text (a provider behind a provider): then
there are several layers, outermost first.  What the words mean stands in `rulings`.

Keys are blanked before anything is read; see `safe` and `redact`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

import msgspec

from unbroken.types import Json
from unbroken.wire.rulings import CATEGORIES, WORDS, Told, is_known_word, status_of_word, word

__all__ = [
    "Layer",
    "code_of",
    "is_error",
    "is_final",
    "is_html",
    "layers_of",
    "named",
    "read",
    "redact",
    "safe",
    "shown",
    "tell",
]

NESTED_MAX = 2
"""Envelopes inside an envelope."""
MESSAGE_CHARS_MAX = 2_000

Layer = Mapping[str, Json]
"""One error object: its fields, with some of its envelope's where it has none."""

# ------------------------------------------------------------------- is it an error at all?

_ERROR_TYPES = ("error", "response.failed", "response.error")
_SPOKEN = ("message", "Message", "msg", "detail", "error_description")
_NAMED = ("code", "error_code", "type", "error_type", "__type", "status", "status_code", "raw_status_code", "object")
_BARE_KEYS = frozenset((*_SPOKEN, *_NAMED, "details", "param", "id", "request_id"))
"""An error object without an envelope has these fields and no others."""


def is_error(value: Json) -> bool:
    """Whether a decoded value reports an error.  `error: null` does not."""
    if isinstance(value, list):
        return len(value) == 1 and isinstance(value[0], dict) and bool(value[0].get("error"))
    if not isinstance(value, dict):
        return False
    return (
        bool(value.get("error") and isinstance(value["error"], dict | list | str))
        or value.get("type") in _ERROR_TYPES
        or value.get("object") == "error"
        or bool(_bad_choice(value))
        or _is_aws_exception(value)
        or _is_bare(value)
    )


def _is_bare(value: Layer) -> bool:
    """`{"detail": ...}`, `{"message": ...}` and the error object itself; progress messages are none."""
    said = value.get("detail") or value.get("message")
    if not said or not isinstance(said, str | list) or not _BARE_KEYS.issuperset(value):
        return False
    kinds = [word(value.get(name)) for name in ("type", "status")]
    return all(not kind or _means_error(kind) for kind in kinds)


def _means_error(kind: str) -> bool:
    return kind.endswith(("error", "failure")) or kind in CATEGORIES or kind in WORDS or kind[:1] in ("4", "5")


def _bad_choice(value: Layer) -> Layer | None:
    """OpenRouter puts an error, or a finish reason that is one, into the choice."""
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(first, dict):
        return None
    error = first.get("error")
    if error and isinstance(error, dict | str):
        return {"error": error}
    return {"message": "the answer ended with an error"} if first.get("finish_reason") == "error" else None


def _is_aws_exception(value: Layer) -> bool:
    """An event of Bedrock under the name of its class: `{"throttlingException": {"message": ...}}`."""
    names = list(value)
    return len(names) == 1 and names[0].endswith("Exception") and isinstance(value[names[0]], dict)


def is_html(text: str) -> bool:
    """Whether a body is a page, of a proxy or a wall in front of the provider."""
    return text[:1] == "<" or bool(_HTML.search(text[:500]))


_HTML = re.compile(r"<(?:!doctype|html)\b", re.IGNORECASE)

# ------------------------------------------------------------------- envelopes


def layers_of(value: Json) -> tuple[Layer, ...]:
    """The error objects in a value, outermost first."""
    layers: list[Layer] = []
    inner = value
    while len(layers) <= NESTED_MAX:
        layer = _layer(inner)
        if layer is None:
            break
        layers.append(layer)
        inner = _inside(layer)
    return tuple(layers)


def _layer(value: Json) -> Layer | None:
    """One error object out of its envelope: its fields, with those of the envelope where it has none."""
    item = _first(value)
    if isinstance(item, str):
        return {"message": item} if item else None
    if not isinstance(item, dict):
        return None
    outer = _opened(item)
    error = _first(outer.get("error"))
    if isinstance(error, dict):
        return {**{name: outer[name] for name in _CARRIED if name in outer}, **error}
    if not isinstance(error, str) or not error:
        return outer
    # OAuth and others put a code there and the words beside it.
    spoken = outer.get("error_description") or outer.get("message")
    if isinstance(spoken, str) and " " not in error:
        return {**outer, "code": error, "message": spoken}
    return {**outer, "message": error}


_CARRIED = ("status", "status_code", "estimated_time")


def _opened(item: dict[str, Json]) -> Layer:
    """What holds the error: the item, its response, its choice or its only member."""
    response, several = item.get("response"), _first(item.get("errors"))
    if item.get("type") in _ERROR_TYPES and isinstance(response, dict):
        return response
    if isinstance(several, dict) and not item.get("error"):
        return {**item, **several}
    if _is_aws_exception(item):
        name = next(iter(item))
        return {"code": name, **item[name]}
    return item if item.get("error") else {**item, **(_bad_choice(item) or {})}


def _first(value: Json) -> Json:
    """The error in a list of one; lists of sentences become one text."""
    if not isinstance(value, list):
        return value
    sentences = [item for item in value if isinstance(item, str)]
    return "; ".join(sentences) if sentences else next((item for item in value if isinstance(item, dict)), None)


def _inside(layer: Layer) -> Json:
    """The envelope that this one holds as text, or None."""
    metadata = layer.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    if isinstance(raw, dict | list):
        return raw
    if isinstance(raw, str) and raw:
        return _decoded(raw) or raw
    if any(_is_code(layer.get(name)) for name in ("code", "error_code")):
        return None  # it has a code of its own: JSON in its message is an echo
    return _quoted_json(layer.get("message"))


def _quoted_json(message: Json) -> Json:
    """`LiteLLM: AnthropicException - {"error": ...}`: the object, where nothing follows it."""
    if not isinstance(message, str) or "{" not in message:
        return message if isinstance(message, dict) else None
    prefix = _WRAPPER.match(message)
    value = _decoded(message[prefix.end() :].strip()) if prefix else None
    return value if is_error(value) else None


_WRAPPER = re.compile(r"[\w .:\-]{0,160}(?=[\[{])")


def read(text: str) -> Json:
    """The JSON value of a body without keys in it, or None."""
    return safe(_decoded(text))


def safe(value: Json) -> Json:
    """A decoded value with keys blanked in all its strings; None where it is nested beyond sense."""
    try:
        return _blanked(value)
    except RecursionError:
        return None  # no provider nests so deep: nothing in it is meant for us


def _decoded(text: str) -> Json:
    """The JSON value, or None; a number that is too large or a nest that is too deep is none."""
    try:
        return msgspec.json.decode(text)
    except (ValueError, RecursionError):
        return None


# ------------------------------------------------------------------- what was said

_CODE_PATHS = (
    ("details", "error_code"),
    ("innererror", "code"),
    ("inner_error", "code"),
    ("metadata", "reason"),
    ("metadata", "limit_source"),
    ("metadata", "error_type"),
    ("availability", "code"),
    ("code",),
    ("error_code",),
    ("type",),
    ("error_type",),
    ("status",),
    ("__type",),
)
"""Where codes stand in an error object, the most telling first."""
_STATUS_PATHS = (
    ("details", "upstreamStatus"),
    ("code",),
    ("status_code",),
    ("raw_status_code",),
    ("status",),
)
_CODE_HEADERS = ("x-amzn-errortype", "fireworks-error-code")


def tell(layers: tuple[Layer, ...], headers: Mapping[str, str], *, status: int | None) -> Told:
    """What these layers say together; `status` is that of HTTP, where there was one."""
    words = tuple(dict.fromkeys(_words(layers, headers)))
    known = status if status is not None and status >= 300 else None
    inner = next((found for layer in reversed(layers) for found in _statuses(layer)), None)
    behind = inner is not None and (known is None or known == 400 or known >= 500)
    derived = next((found for name in words if (found := status_of_word(name))), None)
    return Told(
        status=inner if behind else derived if known is None else known,
        words=words,
        has_code=any(_is_code(layer.get("code")) for layer in layers),
        text="\n".join(message for layer in reversed(layers) if (message := _message(layer))),
        layers=layers,
        headers=headers,
        relayed=any(_is_relayed(layer) for layer in layers),
        wrapped=behind and known is not None and known >= 500 and inner is not None and inner < 500,
    )


def _words(layers: Iterable[Layer], headers: Mapping[str, str]) -> Iterator[str]:
    for layer in reversed(list(layers)):
        for path in _CODE_PATHS:
            yield word(_at(layer, path))
        for name in ("details", "errors"):
            items = layer.get(name)
            yield from (word(item.get("reason")) for item in _objects(items))
    for name in _CODE_HEADERS:
        yield word(headers.get(name))


def _objects(items: Json) -> list[Layer]:
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def _statuses(layer: Layer) -> Iterator[int]:
    """Numbers that can be an HTTP status of failure; other numeric codes are the provider's own."""
    for path in _STATUS_PATHS:
        value = _at(layer, path)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value[:4])
        if isinstance(value, int) and 400 <= value <= 599:
            yield value


def _at(layer: Layer, path: tuple[str, ...]) -> Json:
    value: Json = layer
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _is_code(value: Json) -> bool:
    """A code that is more than a number or a category."""
    name = word(value) if isinstance(value, str) else ""
    return bool(name) and not is_known_word(name)


def _is_relayed(layer: Layer) -> bool:
    """Pollinations and OpenRouter say it when an upstream of theirs failed."""
    paths = (("details", "upstreamStatus"), ("metadata", "provider_name"), ("metadata", "provider_code"))
    return any(_at(layer, path) for path in paths)


def is_final(told: Told) -> bool:
    """Whether the provider itself says that trying again is of no use."""
    retryable = [_at(layer, ("availability", "retryable")) for layer in told.layers]
    return told.headers.get("x-should-retry", "").strip().lower() == "false" or False in retryable


def code_of(told: Told) -> str | None:
    """The outermost code that is one, else a more telling one further in, else the number."""
    own = [layer.get("code") for layer in told.layers]
    deep = [_at(layer, path) for layer in told.layers for path in _CODE_PATHS[:7]]
    deep += [detail.get("reason") for layer in told.layers for detail in _objects(layer.get("details"))]
    headers = [told.headers[name].partition(":")[0] for name in _CODE_HEADERS if name in told.headers]
    names = [value for value in own + deep + headers if isinstance(value, str) and value and not value.isdigit()]
    numbers = [str(value) for value in own if value not in ("", True, False) and isinstance(value, int | str)]
    return next(iter(names + numbers), None)


def named(layers: tuple[Layer, ...], names: tuple[str, ...]) -> str | None:
    """The first text under one of these names, outermost first."""
    found = (layer.get(name) for layer in layers for name in names)
    return next((value for value in found if isinstance(value, str) and value), None)


# ------------------------------------------------------------------- words to show

_HOLLOW = frozenset({"Provider returned error"})
"""Messages that only say that there is another one."""


def _message(layer: Layer) -> str:
    """The words of one error object; a list of complaints (FastAPI) becomes one line."""
    for name in _SPOKEN:
        value = layer.get(name)
        if isinstance(value, list):
            value = "; ".join(_complaint(item) for item in value[:10])
        if isinstance(value, str) and value.strip():
            return value.strip()
    return ""


def _complaint(item: Json) -> str:
    if not isinstance(item, dict):
        return str(item)
    where = item.get("loc")
    place = ".".join(str(step) for step in where) + ": " if isinstance(where, list) else ""
    return f"{place}{item.get('msg') or item.get('message') or item.get('type') or ''}"


def shown(layers: tuple[Layer, ...], otherwise: str) -> str:
    """The outermost message that a person can read."""
    said = [message for layer in layers if (message := _message(layer))]
    readable = [message for message in said if _is_readable(message)]
    if not readable:
        return otherwise
    own, behind = readable[0], readable[1:]
    return (f"{own}: {behind[0]}" if own in _HOLLOW and behind else own)[:MESSAGE_CHARS_MAX]


def _is_readable(message: str) -> bool:
    return not _HTML.search(message[:500]) and not isinstance(_decoded(message), dict | list)


def redact(text: str) -> str:
    """The text with everything blanked that looks like a key."""
    return _LABELLED.sub(rf"\1{_BLANK}", _KEYS.sub(_BLANK, text))


def _blanked(value: Json) -> Json:
    """A decoded value with keys blanked in its strings."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, list):
        return [_blanked(item) for item in value]
    if isinstance(value, dict):
        return {redact(name): _blanked(item) for name, item in value.items()}
    return value


_BLANK = "[redacted]"
_START = r"(?:(?<!\w)|(?<=\\[nrtbf])|(?<=\\u[0-9a-fA-F]{4}))"
"""Where a word begins, in text or in JSON inside it: after an escape too."""
_KEYS = re.compile(
    rf"{_START}(?:"
    r"(?:sk|pk|rk|xai|pplx|csk|fw|gsk|hf|r8|nvapi|tgp|ghp)[-_](?=[\w-]*\d)[\w-]{16,}"
    r"|(?:AIza|AKIA|ASIA)[\w-]{16,}"
    r"|sk-[\w*-]{4,}"
    r"|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"
    r"|(?=[a-zA-Z]*\d)(?=\d*[a-zA-Z])[A-Za-z0-9]{32,}\b"
    r")"
)
"""Prefixes of providers' keys, JSON Web Tokens, and long runs of letters and digits (Mistral, Cohere, Azure)."""
_LABELLED = re.compile(
    r"(\bbearer |\b(?:api[ _-]?key|access_token)(?: provided)?(?:\\?\")?[:=] ?(?:\\?\")?)(?=\S*[\d*_-])[\w*<>-]{3,}",
    re.IGNORECASE,
)
