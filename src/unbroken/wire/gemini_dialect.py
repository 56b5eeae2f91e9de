"""Gemini's spellings: field names in two ways, schemas of OpenAPI, base64 of two alphabets.

    camel(value)          field names as Google's documents write them, whichever way the caller did
    from_openapi(schema)  a `Schema` of Gemini (types in capitals, `nullable`) as JSON schema
    media_kind(type)      image, audio, video or document
    media_type_of(media)  what a medium is, from what is said of it or from its name

Google reads both `inlineData` and `inline_data`, one object where a list of one belongs, and
`"TYPE"` as well as `"type"`; official and other clients make use of all of it.
"""

from __future__ import annotations

import re
from typing import Any

from unbroken.types import Json, Media

__all__ = ["as_list", "camel", "from_openapi", "media_kind", "media_type_of", "plain_base64"]

Object = dict[str, Any]

_SNAKE = re.compile(r"_([a-z0-9])")
_FREE = frozenset((
    "args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema", "labels",
    "partMetadata",
))  # fmt: skip
"""Fields whose content is the caller's own: its names are no names of Google's."""


def camel(value: Json) -> Json:
    """The same value with the names of its fields in camel case, and without fields that are null."""
    if isinstance(value, list):
        return [camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    named = {_camel_name(name): item for name, item in value.items() if item is not None}
    return {name: item if name in _FREE else camel(item) for name, item in named.items()}


def _camel_name(name: str) -> str:
    return _SNAKE.sub(lambda found: found[1].upper(), name) if "_" in name.lstrip("_") else name


def as_list(value: Json) -> list[Json] | None:
    """A repeated field, which may come as its one item; None where it is something else."""
    return value if isinstance(value, list) else [value] if isinstance(value, dict) else None


# -------------------------------------------------------------------------- schemas

_NAMES = {"ref": "$ref", "defs": "$defs"}
_NUMBERED = ("", "string", "number", "integer", "boolean", "array", "object", "null")
"""Types by their numbers, which clients send that encode enumerations like this."""
_BY_NAME = frozenset(("properties", "$defs", "definitions"))
_INNER = frozenset(("items", "additionalProperties"))
_LISTS = frozenset(("anyOf", "oneOf", "allOf", "prefixItems"))
_COUNTS = frozenset(("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"))


def from_openapi(schema: Json) -> Json:
    """The JSON schema that says what a `Schema` of Gemini says; a JSON schema stays as it is.

    The order of properties is kept by putting them in this order.
    """
    if not isinstance(schema, dict):
        return schema
    named = {_NAMES.get(name) or _camel_name(name): value for name, value in schema.items()}
    nullable, order = named.pop("nullable", None), named.pop("propertyOrdering", None)
    if "example" in named:
        named["examples"] = [named.pop("example")]
    read = {name: _read_keyword(name, value) for name, value in named.items()}
    if isinstance(order, list) and isinstance(read.get("properties"), dict):
        known = read["properties"]
        first = [name for name in order if isinstance(name, str) and name in known]
        read["properties"] = {name: known[name] for name in (*first, *(n for n in known if n not in first))}
    return _with_null(read) if nullable is True else read


def _read_keyword(name: str, value: Json) -> Json:
    if name == "type":
        return _read_type(value)
    if name in _BY_NAME and isinstance(value, dict):
        return {key: from_openapi(item) for key, item in value.items()}
    if name in _INNER:
        return from_openapi(value)
    if name in _LISTS and isinstance(value, list):
        return [from_openapi(item) for item in value]
    if name in _COUNTS and isinstance(value, str) and value.isdecimal():
        return int(value)  # a 64-bit number, which Google's JSON writes as a string
    return value


def _read_type(value: Json) -> Json:
    if isinstance(value, str):
        return value.lower()
    return _NUMBERED[value] if type(value) is int and 0 < value < len(_NUMBERED) else value


def _with_null(schema: Object) -> Object:
    """The same schema, which null obeys as well."""
    if isinstance(schema.get("type"), str):
        schema["type"] = [schema["type"], "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        return schema
    if isinstance(schema.get("anyOf"), list):
        return {**schema, "anyOf": [*schema["anyOf"], {"type": "null"}]}
    return {"anyOf": [schema, {"type": "null"}]}


# ---------------------------------------------------------------------------- media

_OTHER_ALPHABET = str.maketrans("-_", "+/")
_TYPES = {
    "png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg", "webp": "image/webp", "gif": "image/gif",
    "heic": "image/heic", "heif": "image/heif", "pdf": "application/pdf", "txt": "text/plain", "csv": "text/csv",
    "html": "text/html", "md": "text/markdown", "mp3": "audio/mpeg", "wav": "audio/wav", "flac": "audio/flac",
    "ogg": "audio/ogg", "aac": "audio/aac", "m4a": "audio/mp4", "mp4": "video/mp4", "mov": "video/quicktime",
    "webm": "video/webm", "mpeg": "video/mpeg", "mpg": "video/mpeg",
}  # fmt: skip
_USUAL = {"image": "image/jpeg", "audio": "audio/wav", "video": "video/mp4", "document": "application/pdf"}
"""For an address that does not say; Google wants some type, and looks at the bytes itself."""


def media_kind(media_type: str) -> str:
    """What a media type is of: image, audio, video, or else a document."""
    kind = media_type.partition("/")[0].lower()
    return kind if kind in ("image", "audio", "video") else "document"


def media_type_of(media: Media) -> str:
    """The media type: what is said, else by the ending of its name or address, else the usual one of its kind."""
    if media.media_type:
        return media.media_type
    for name in (media.url.partition("?")[0].partition("#")[0], media.detail):
        known = _TYPES.get(name.rpartition(".")[2].lower())
        if known is not None:
            return known
    return _USUAL[media.kind]


def plain_base64(data: str) -> str:
    """Base64 in its usual alphabet: Google also takes the one for addresses, and its own client sends it."""
    return data.translate(_OTHER_ALPHABET) if "-" in data or "_" in data else data
