"""Answers in OpenAI's Responses format, written: the server side's writers.

    writer(request) -> Writer        streamed or plain, as the caller asked
    write_failure                    the error envelope, which is that of the chat format

Events that came in this format go out as they are.  When the words of another target follow
them (a rescue), the response is carried on where they left it: the same ids and places,
rising numbers, and a last event that holds the whole answer.  For that the events that went
out are kept, of most of them no more than their words, and are read again only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, Request
from unbroken.wire import Outcome, Writer
from unbroken.wire.http import JSON_TYPE, STREAM_TYPE
from unbroken.wire.openai_chat_writer import write_error, write_failure, write_fault
from unbroken.wire.openai_responses_messages import NAME
from unbroken.wire.openai_responses_told import INVENTED, Told
from unbroken.wire.stream_writer import StreamWriter
from unbroken.wire.whole import WholeWriter, passed_on

__all__ = ["INVENTED", "write_failure", "writer"]

_encode = msgspec.json.encode

Object = dict[str, Any]


def writer(request: Request) -> Writer:
    """A writer of the answer to this caller."""
    if request.stream:
        return _Streamed(request)
    return WholeWriter(JSON_TYPE, partial(_write_whole, request=request), fail=write_fault)


class _Streamed(StreamWriter):
    """Named events of one response.  It is passed on, or told in our own words, or first the one, then the other."""

    __slots__ = ("_in_words", "_is_over", "_last", "_passed", "_request", "_told", "content_type")

    def __init__(self, request: Request) -> None:
        self.content_type = STREAM_TYPE
        self._request = request
        self._told: Told | None = None
        self._passed: list[bytes | str] = []
        self._last = b""
        self._in_words = self._is_over = False

    def end(self, outcome: Outcome) -> bytes:
        if self._is_over:
            return b""
        more = {"unbroken": outcome.told()} if outcome.notable else {}
        return self._own_words.end(more)

    def broken(self, failure: Failure, outcome: Outcome) -> bytes:
        return self._own_words.fail(write_error(failure), {"unbroken": outcome.told()})

    def _one(self, delta: Delta) -> bytes:
        if delta.raw and delta.format == NAME and not delta.body and self._told is None:
            self._pass(delta)
            return delta.raw
        return self._own_words.say(delta)

    def _pass(self, delta: Delta) -> None:
        """Keep what went out; of words that follow words nothing else is new."""
        self._last = delta.raw
        self._is_over = delta.finish is not None
        in_words = bool(delta.text) and b"output_text.delta" in delta.raw
        self._passed.append(delta.text if in_words and self._in_words else delta.raw)
        self._in_words = in_words

    @property
    def _own_words(self) -> Told:
        """The response as the caller knows it, from now on told by us."""
        if self._told is None:
            self._told = Told(self._request)
            self._told.recall(self._passed, self._last)
            self._passed.clear()
        return self._told


def _write_whole(deltas: Sequence[Delta], outcome: Outcome, *, request: Request) -> bytes:
    if known := passed_on(deltas, NAME):
        return known
    told = Told(request, otherwise_id=f"resp_{outcome.request_id}")
    for delta in deltas:
        told.say(delta)
    told.end({})
    return _encode(told.response)
