"""Answers that are a count of tokens and nothing else: their one delta has it as usage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from unbroken.failures import Failure
from unbroken.types import Delta, Json, Usage
from unbroken.wire import Decoder, Outcome, Writer
from unbroken.wire.http import JSON_TYPE
from unbroken.wire.reading import fault_in, read_json
from unbroken.wire.whole import Whole, WholeWriter, passed_on

__all__ = ["count_decoder", "count_writer"]


def count_decoder(name: str, field: str) -> Decoder:
    """A reader of answers of the format `name`, whose count stands in `field`."""
    return Whole(partial(_read, name=name, field=field))


def _read(body: bytes, *, name: str, field: str) -> list[Delta] | Failure:
    value: Json = read_json(body)
    count = value.get(field) if isinstance(value, dict) else None
    if type(count) is not int:
        return fault_in(value, "the answer holds no count")
    return [Delta(media=1, usage=Usage(input_tokens=count), format=name, raw=body, body=True)]


def count_writer(name: str, field: str, *, fail: Callable[[Failure, Outcome], bytes]) -> Writer:
    """A writer of such answers; `fail` writes an error."""
    return WholeWriter(JSON_TYPE, partial(_write, name=name, field=field), fail=fail)


def _write(deltas: Sequence[Delta], _outcome: Outcome, *, name: str, field: str) -> bytes:
    count = next((delta.usage.input_tokens for delta in deltas if delta.usage), 0)
    return passed_on(deltas, name) or msgspec.json.encode({field: count})
