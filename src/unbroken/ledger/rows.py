"""Records as rows of the tables, and back.

Rows are tuples in the order of the columns, as the database's driver takes them; the fields of
the records stand in the same order, so that a row is made by the record's own library.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import astuple, fields, replace

from unbroken.ledger.record import Record, Try

__all__ = ["Row", "attempt_rows", "cleaned", "record_of", "request_row"]

Row = tuple[Any, ...]

_LISTS = ("candidates", "skipped", "notes")
_LIST_PLACES = 4
"""The lists of a request, and its attempts, are the last of its fields."""


def request_row(record: Record) -> Row:
    """The row of a request: the time of day in milliseconds, lists as JSON."""
    row = list(astuple(record)[:-_LIST_PLACES])
    row[1] = int(record.at * 1000)
    row += (_json(record.candidates), _json(record.skipped), _json(record.notes))
    return _numbered(row, _TRUTHS_OF_RECORD)


def attempt_rows(record: Record) -> list[Row]:
    """The rows of its attempts."""
    rows = ([record.id, *astuple(one)[:-1], _json(one.left_out)] for one in record.attempts)
    return [_numbered(row, _TRUTHS_OF_TRY) for row in rows]


def _numbered(row: list[Any], truths: Sequence[int]) -> Row:
    """Truths as 0 and 1, which SQLite's driver takes several times as fast."""
    for at in truths:
        row[at] += 0
    return tuple(row)


def record_of(request: Any, its_attempts: Sequence[Any]) -> Record:
    """The record again, from a row of `requests` and the rows of its attempts."""
    values = {name: getattr(request, name) for name in _OF_RECORD}
    lists = {name: _read(getattr(request, name)) for name in _LISTS}
    tries = [_try_of(row) for row in its_attempts]
    return msgspec.convert({**values, **lists, "at": request.at_ms / 1000, "attempts": tries}, Record)


def _try_of(row: Any) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _OF_TRY} | {"left_out": _read(row.left_out)}


def _read(text: str) -> Any:
    return msgspec.json.decode(text or "[]")


_OF_RECORD = tuple(of.name for of in fields(Record) if of.name not in {"at", "attempts", *_LISTS})
_OF_TRY = tuple(of.name for of in fields(Try) if of.name != "left_out")
_TRUTHS_OF_RECORD = tuple(at for at, of in enumerate(fields(Record)) if of.type is bool)
_TRUTHS_OF_TRY = tuple(at + 1 for at, of in enumerate(fields(Try)) if of.type is bool)


@lru_cache(maxsize=1_000)
def _json(value: tuple[Any, ...]) -> str:
    """As JSON; the same lists come again and again."""
    return msgspec.json.encode(value).decode() if value else ""


def cleaned(record: Record) -> Record:
    """The record without characters that a database cannot hold."""
    tries = [replace(one, **_clean(one)) for one in record.attempts]
    return replace(record, **{**_clean(record), "attempts": tries})


def _clean(record: Record | Try) -> dict[str, Any]:
    return {of.name: _as_text(getattr(record, of.name)) for of in fields(record) if of.name != "attempts"}


def _as_text(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_as_text, value))
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace").decode().replace("\x00", "")
