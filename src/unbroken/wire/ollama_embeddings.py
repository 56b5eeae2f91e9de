"""Embeddings in Ollama's own format, both sides: what /api/embed speaks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Continuation, Delta, HttpRequest, Json, Output, Request, Source, Target, Task, Usage
from unbroken.wire import Decoder, Format, Outcome, Unsaid, Writer
from unbroken.wire.asked import decoded, fault_of, read_fields, shaped
from unbroken.wire.embeddings import usage_of, vectors_decoder, vectors_of, write_embedding
from unbroken.wire.errors import classify
from unbroken.wire.framing import UNREADABLE
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.ollama import WORDS, at_root
from unbroken.wire.ollama_writer import broken, write_failure
from unbroken.wire.reading import count_of, fault_in, read_json
from unbroken.wire.whole import WholeWriter, passed_on
from unbroken.work import Texts

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]

NAME = "ollama_embeddings"
PATH = "/api/embed"
HINTS = ("keep_alive",)
_OWN = frozenset(("model", "input", "dimensions", "truncate", *HINTS))
_encode = msgspec.json.encode


# ----------------------------------------------------------------------- to a provider


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The caller's own fields with another model, or the same said anew; ValueError where it cannot be said."""
    del continuation  # a vector is never carried on
    unsaid = Unsaid(target, WORDS)
    write = partial(_write_texts, unsaid=unsaid, own=request.source is None)
    return write_embedding(request, at_root(target), path=PATH, name=NAME, unsaid=unsaid, write=write)


def _write_texts(work: Texts, *, unsaid: Unsaid, own: bool) -> dict[str, Json]:
    """A text that is too long is refused unless the caller wants it shortened, which is Ollama's default."""
    if work.tokens:
        raise ValueError(f"{WORDS} takes texts, not tokens")
    if work.purpose and work.purpose != "similarity":
        unsaid.lack("purpose", f"vectors for a {work.purpose} may differ from others")
    if not own:
        for name in work.extras:
            unsaid.lack(name)
    truncate = work.hints.get("truncate")
    known = (*HINTS, "truncate") if isinstance(truncate, bool) else HINTS
    unsaid.hint(*(name for name in work.hints if name not in known))
    return {
        "input": list(work.texts),
        "dimensions": work.dimensions,
        "truncate": truncate is True,
        **{name: work.hints.get(name) for name in HINTS},
        **(work.extras if own else {}),
    }


# ----------------------------------------------------------------------- from a caller


def read_request(_path: str, body: bytes) -> Request | Failure:
    """What a caller asks, or the REQUEST failure that names the field that is wrong."""
    fields = read_fields(body)
    if isinstance(fields, Failure):
        return fields
    texts = fields.get("input", b"null")
    if texts == b"null":
        return fault_of("input", "is missing")
    if texts[:1] not in (b'"', b"[") or not texts[1:-1].strip():
        return fault_of("input", "must be a text, or an array with at least one")
    return Request(
        model=msgspec.json.decode(fields["model"], type=str),
        task=Task.EMBEDDING,
        prompt_chars=len(texts),
        source=Source(NAME, fields),
        read=partial(_read_texts, fields),
    )


class _Asked(msgspec.Struct):
    input: str | list[str]
    dimensions: int | None = None
    truncate: bool | None = None


def _read_texts(fields: dict[str, bytes]) -> Texts:
    body = decoded(fields)
    asked = shaped(body, _Asked, where="the body")
    return Texts(
        texts=(asked.input,) if isinstance(asked.input, str) else tuple(asked.input),
        dimensions=asked.dimensions,
        extras={name: value for name, value in body.items() if name not in _OWN and value is not None},
        hints={name: body[name] for name in (*HINTS, "truncate") if body.get(name) is not None},
    )


# ----------------------------------------------------------------------------- answers


class _Answer(msgspec.Struct, gc=False):
    embeddings: list[msgspec.Raw] | None = None
    model: str | None = ""
    prompt_eval_count: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)
_VECTOR = msgspec.json.Decoder(tuple[float, ...])


def decoder(request: Request, _target: Target) -> Decoder:
    """A reader of the answer; the vectors are looked at only for a caller of another format."""
    return vectors_decoder(request, NAME, read=_read_answer)


def _read_answer(body: bytes, *, vectors: bool) -> list[Delta] | Failure:
    body = body.strip()
    try:
        answer = _ANSWER.decode(body)
        found = answer.embeddings or ()
        outputs = tuple(Output(kind="embedding", vector=_VECTOR.decode(v)) for v in found) if vectors else ()
    except UNREADABLE:
        return fault_in(read_json(body), "the answer holds no vectors")
    if answer.error or not found:
        return fault_in(read_json(body), "the answer holds no vectors")
    usage = Usage(input_tokens=count_of(answer.prompt_eval_count))
    return [
        Delta(
            media=len(found), usage=usage, model=answer.model or "", format=NAME, raw=body, body=True, outputs=outputs
        )
    ]


# --------------------------------------------------------------------------- to a caller


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    return WholeWriter(JSON_TYPE, partial(_write_answer, request=request), fail=broken)


def _write_answer(deltas: Sequence[Delta], _outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    usage = usage_of(deltas)
    body = {
        "model": next((delta.model for delta in deltas if delta.model), "") or request.model,
        "embeddings": vectors_of(deltas),
        "prompt_eval_count": usage.input_tokens,
    }
    return _encode(body)


FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=(PATH,),
)
