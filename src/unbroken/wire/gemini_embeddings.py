"""Embeddings in Gemini's format, both sides, in its three shapes.

    {"requests": [{"content"}, ...]}  batchEmbedContents   the Gemini API; newer models of Vertex AI
    {"content"}                       embedContent         one text
    {"instances": [{"content"}, ...]} predict              Vertex AI's other models

A caller is answered in the shape in which he asked; where a target takes the same one, both the
request and its answer are passed on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.records import replace
from unbroken.types import Delta, HttpRequest, Json, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Outcome, Unsaid
from unbroken.wire.asked import fault_of, read_body
from unbroken.wire.embeddings import vectors_of
from unbroken.wire.framing import UNREADABLE, join_fields, split_fields
from unbroken.wire.gemini_answer import read_usage
from unbroken.wire.gemini_dialect import as_list, camel
from unbroken.wire.gemini_place import KEY_IN, address, is_vertex, model_and_verb, place
from unbroken.wire.http import post
from unbroken.wire.reading import fault_in, read_json
from unbroken.wire.whole import passed_on
from unbroken.work import Texts

__all__ = ["VERBS", "read_texts_request", "read_vectors", "write_texts_request", "write_vectors"]

NAME = "gemini_media"
VERBS = ("batchEmbedContents", "embedContent", "predict")
_FIELDS = {"batchEmbedContents": "requests", "embedContent": "content", "predict": "instances"}
_PURPOSES = {
    "RETRIEVAL_QUERY": "query",
    "RETRIEVAL_DOCUMENT": "document",
    "CLASSIFICATION": "classification",
    "CLUSTERING": "clustering",
    "SEMANTIC_SIMILARITY": "similarity",
}
_TASK_TYPES = {purpose: word for word, purpose in _PURPOSES.items()}
_SETTINGS = ("taskType", "title", "outputDimensionality", "autoTruncate")
_encode = msgspec.json.encode

Object = dict[str, Any]


def _verb_of(fields: Mapping[str, bytes]) -> str:
    """The method that a body is for."""
    return next((verb for verb, name in _FIELDS.items() if name in fields), VERBS[0])


def _verb_at(target: Target) -> str:
    """The method with which this target is asked for many texts."""
    if not is_vertex(target):
        return "batchEmbedContents"
    newer = "gemini" in target.model and "gemini-embedding-001" not in target.model
    return "batchEmbedContents" if newer else "predict"


def _passes(request: Request, target: Target) -> bool:
    """Whether this target takes the caller's body as it is."""
    if request.source is None or request.source.format != NAME:
        return False
    verb = _verb_of(request.source.fields)
    return verb == _verb_at(target) == "predict" if is_vertex(target) else verb != "predict"


# ----------------------------------------------------------------------- to a provider


def write_texts_request(request: Request, target: Target) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    source = request.source
    if source is not None and _passes(request, target):
        fields = dict(source.fields)
        fields.pop("model", None)
        if "requests" in fields:
            fields["requests"] = _renamed(fields["requests"], target)
        return post(place(target), address(target, _verb_of(fields)), body=join_fields(fields), key_in=KEY_IN)
    unsaid = Unsaid(target, "Gemini's embeddings format")
    own = source is None or source.format == NAME
    body = _write_texts(request.work_as(Texts), target, unsaid=unsaid, own=own)
    path = address(target, _verb_at(target))
    return post(place(target), path, body=_encode(body), key_in=KEY_IN, unsaid=tuple(unsaid.names))


def _renamed(requests: bytes, target: Target) -> bytes:
    """Each request names the model once more."""
    try:
        items = [split_fields(bytes(item)) for item in msgspec.json.decode(requests, type=list[msgspec.Raw])]
    except UNREADABLE:
        raise ValueError("'requests' must be an array of objects") from None
    name = _encode(_model_name(target))
    return b"[" + b",".join(join_fields({**item, "model": name}) for item in items) + b"]"


def _model_name(target: Target) -> str:
    return f"models/{target.model.removeprefix('models/')}"


def _write_texts(work: Texts, target: Target, *, unsaid: Unsaid, own: bool) -> Object:
    if work.tokens:
        raise ValueError("Gemini's embeddings format takes no tokens: they are another model's")
    if not own:
        for name in work.extras:
            unsaid.lack(name)
    unsaid.hint(*work.hints)
    settings: Object = {
        "taskType": _TASK_TYPES.get(work.purpose),
        "outputDimensionality": work.dimensions,
        **(work.extras if own else {}),
    }
    settings = {name: value for name, value in settings.items() if value is not None}
    if _verb_at(target) == "predict":
        return _write_instances(work, settings)
    if is_vertex(target) and settings:
        settings = {"embedContentConfig": settings}
    name = _model_name(target)
    items = [{"model": name, "content": {"parts": [{"text": text}]}, **settings} for text in work.texts]
    return {"requests": items}


def _write_instances(work: Texts, settings: Object) -> Object:
    """Vertex AI's older shape: some settings are each text's, some are everybody's."""
    names = {"taskType": "task_type", "title": "title"}
    each = {own: settings[name] for name, own in names.items() if name in settings}
    all_of_them = {name: value for name, value in settings.items() if name not in names}
    body: Object = {"instances": [{"content": text, **each} for text in work.texts]}
    return {**body, "parameters": all_of_them} if all_of_them else body


# ----------------------------------------------------------------------- from a caller


def read_texts_request(path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    model, verb = model_and_verb(path)
    if not model or verb not in VERBS:
        return fault_of("", f"There is nothing at {path}.", code="unknown_url")
    fields = read_body(body)
    if isinstance(fields, Failure):
        return fields
    name = _FIELDS[verb]
    asked = fields.get(name, b"").strip()
    if not asked or asked == b"null":
        return fault_of(name, "is missing", code="missing_required_parameter")
    if asked[:1] not in b"[{" or not asked[1:-1].strip():
        return fault_of(name, "must not be empty")
    return Request(
        model=model,
        task=Task.EMBEDDING,
        prompt_chars=len(asked),
        source=Source(NAME, fields),
        read=partial(_read_texts, fields),
    )


def _read_texts(fields: Mapping[str, bytes]) -> Texts:
    try:
        body = camel({name: msgspec.json.decode(raw) for name, raw in fields.items()})
    except UNREADABLE as error:
        raise ValueError(f"the body is not valid JSON: {error}") from None
    name = _FIELDS[_verb_of(fields)]
    items = as_list(body[name] if name != "content" else body) or []
    if not items or not all(isinstance(item, dict) for item in items):
        raise ValueError(f"'{name}' must be an array of objects")
    settings = [_settings_of(item, body) for item in items]
    if any(other != settings[0] for other in settings):
        raise ValueError(f"'{name}' must agree in all but their texts")
    return _texts(tuple(_text_of(item, name) for item in items), settings[0])


def _settings_of(item: Object, body: Object) -> Object:
    """What is asked of one text, wherever its shape says it."""
    found: Object = {}
    for place_of in (body.get("parameters"), item.get("embedContentConfig"), item):
        if isinstance(place_of, dict):
            found.update((name, place_of[name]) for name in _SETTINGS if place_of.get(name) is not None)
    return found


def _texts(texts: tuple[str, ...], settings: Object) -> Texts:
    dimensions, word = settings.pop("outputDimensionality", None), settings.get("taskType")
    purpose = _PURPOSES.get(word, "") if isinstance(word, str) else ""
    extras = {name: value for name, value in settings.items() if name != "taskType" or not purpose}
    return Texts(
        texts=texts, dimensions=dimensions if isinstance(dimensions, int) else None, purpose=purpose, extras=extras
    )


def _text_of(item: Object, name: str) -> str:
    content = item.get("content")
    parts = as_list(content.get("parts")) if isinstance(content, dict) else None
    only = parts[0] if parts and len(parts) == 1 else None
    text = only.get("text") if isinstance(only, dict) else content
    if not isinstance(text, str):
        raise ValueError(f"'{name}' holds a content that is not one text")  # noqa: TRY004 - see `Request.work`
    return text


# ----------------------------------------------------------------------------- answers


class _Statistics(msgspec.Struct, gc=False):
    token_count: Any = 0


class _Vector(msgspec.Struct, gc=False):
    values: msgspec.Raw
    statistics: _Statistics | None = None


class _Prediction(msgspec.Struct, gc=False):
    embeddings: _Vector


class _Metadata(msgspec.Struct, gc=False, rename="camel"):
    billable_character_count: Any = 0


class _Answer(msgspec.Struct, gc=False, rename="camel"):
    embeddings: list[_Vector] | None = None
    embedding: _Vector | None = None
    predictions: list[_Prediction] | None = None
    usage_metadata: Any = None
    metadata: _Metadata | None = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_FLOATS = msgspec.json.Decoder(tuple[float, ...])


def read_vectors(body: bytes, *, request: Request, target: Target) -> list[Delta] | Failure:
    """The vectors of an answer; they are looked at only where the body itself is not passed on."""
    own = _passes(request, target)
    try:
        answer = _ANSWER.decode(body)
        found = answer.embeddings or ([answer.embedding] if answer.embedding else [])
        found = found or [prediction.embeddings for prediction in answer.predictions or ()]
        vectors = () if own else tuple(_FLOATS.decode(vector.values) for vector in found)
    except UNREADABLE:
        found, vectors, answer = [], (), _Answer()
    if answer.error or not found:
        return fault_in(read_json(body), "the answer holds no vectors")
    outputs = tuple(Output(kind="embedding", vector=vector) for vector in vectors)
    delta = Delta(media=len(found), usage=_usage_of(answer, found), outputs=outputs)
    return [replace(delta, format=NAME, raw=body, body=True) if own else delta]


def _usage_of(answer: _Answer, found: Sequence[_Vector]) -> Usage | None:
    counts = [vector.statistics.token_count for vector in found if vector.statistics is not None]
    characters = answer.metadata.billable_character_count if answer.metadata is not None else 0
    usage = read_usage(answer.usage_metadata)
    if usage is None and any(type(count) is int for count in counts):
        usage = Usage(input_tokens=sum(count for count in counts if type(count) is int))
    if type(characters) is int and characters > 0:
        usage = replace(usage or Usage(), characters=characters)
    return usage


# --------------------------------------------------------------------------- to a caller


def write_vectors(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    """The answer in the shape in which the caller asked."""
    if known := passed_on(deltas, NAME):
        return known
    verb = _verb_of(request.source.fields) if request.source is not None else VERBS[0]
    vectors = vectors_of(deltas)
    tokens = next((delta.usage.input_tokens for delta in deltas if delta.usage), 0)
    if verb == "predict":  # the tokens are counted with each text, and known only of all of them
        counts = [tokens, *[0] * len(vectors)]
        return _encode({"predictions": [_prediction(*pair) for pair in zip(vectors, counts, strict=False)]})
    items = [{"values": vector} for vector in vectors]
    said: Json = {"embeddings": items} if verb == "batchEmbedContents" else {"embedding": items[0] if items else {}}
    return _encode({**said, "usageMetadata": {"promptTokenCount": tokens}} if tokens else said)


def _prediction(vector: Sequence[float], tokens: int) -> Object:
    return {"embeddings": {"values": vector, "statistics": {"token_count": tokens, "truncated": False}}}
