"""What is no conversation, in Gemini's format: embeddings (both sides), pictures and films (to Google only)."""

from __future__ import annotations

from functools import partial

from unbroken.types import Continuation, HttpRequest, Request, Target, Task
from unbroken.wire import Decoder, Format, Unsaid, Writer
from unbroken.wire.errors import classify
from unbroken.wire.gemini_embeddings import (
    NAME,
    VERBS,
    read_texts_request,
    read_vectors,
    write_texts_request,
    write_vectors,
)
from unbroken.wire.gemini_films import film_of, write_film
from unbroken.wire.gemini_pictures import read_picture, write_picture
from unbroken.wire.gemini_place import paths
from unbroken.wire.gemini_writer import write_failure
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.openai_chat_writer import write_fault
from unbroken.wire.whole import Whole, WholeWriter
from unbroken.work import Film, Picture

__all__ = ["FORMAT", "NAME", "decoder", "read_request", "write_request", "writer"]


def write_request(request: Request, target: Target, *, continuation: Continuation | None = None) -> HttpRequest:
    """The request to this target; ValueError where this format cannot say it."""
    del continuation  # what is not text is never carried on
    if request.task is Task.EMBEDDING:
        return write_texts_request(request, target)
    unsaid = Unsaid(target, "the Gemini format")
    if request.task is Task.IMAGE:
        return write_picture(request.work_as(Picture), target, unsaid=unsaid)
    return write_film(request.work_as(Film), target, unsaid=unsaid)


def decoder(request: Request, target: Target) -> Decoder:
    """A reader of the answer; that to a film's request says only under what name it is being made."""
    if request.task is Task.EMBEDDING:
        return Whole(partial(read_vectors, request=request, target=target))
    if request.task is Task.IMAGE:
        return Whole(read_picture)
    return film_of(request.work_as(Film), target)


def writer(request: Request) -> Writer:
    """A writer of the vectors to this caller."""
    return WholeWriter(JSON_TYPE, partial(write_vectors, request=request), fail=write_fault)


read_request = read_texts_request

FORMAT = Format(
    name=NAME,
    write_request=write_request,
    decoder=decoder,
    classify=classify,
    read_request=read_request,
    writer=writer,
    write_failure=write_failure,
    paths=paths(*VERBS),
)
