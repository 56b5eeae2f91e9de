"""Records as rows of the table, and back.

Rows are tuples in the order of the columns, as the database's driver takes them; the fields of
a record stand in the same order, so that a row is made by the record's own library.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
from msgspec.structs import astuple, fields, replace

from unbroken.ledger.record import Record, Try

__all__ = ["Row", "cleaned", "record_of", "request_row"]

Row = tuple[Any, ...]

_LISTS = ("candidates", "skipped", "notes")
_LIST_PLACES = 4
"""The lists of a request, and its attempts, are the last of its fields."""


def request_row(record: Record) -> Row:
    """The row of a request: the time of day in milliseconds, lists as JSON, an attempt as the list of its values."""
    row = list(astuple(record)[:-_LIST_PLACES])
    row[1] = int(record.at * 1000)
    for at in _TRUTHS:  # as 0 and 1, which SQLite's driver takes several times as fast
        row[at] += 0
    return (*row, _json(record.candidates), _json(record.skipped), _json(record.notes), _tries(record.attempts))


def _tries(attempts: list[Try]) -> str:
    text = msgspec.json.encode([astuple(one) for one in attempts]).decode()
    if "\\u0000" in text:  # PostgreSQL would write it and then refuse to look into it
        text = msgspec.json.encode([astuple(_cleaned(one)) for one in attempts]).decode()
    return text


def record_of(row: Any, *, whole: bool = True) -> Record:
    """The record again; its attempts only where it is to be `whole`."""
    values = {name: getattr(row, name) for name in _PLAIN}
    lists = {name: _read(getattr(row, name)) for name in _LISTS}
    tries = [dict(zip(_OF_TRY, one, strict=True)) for one in _read(row.attempts)] if whole else []
    return msgspec.convert({**values, **lists, "at": row.at_ms / 1000, "attempts": tries}, Record)


def _read(text: str) -> Any:
    return msgspec.json.decode(text or "[]")


_PLAIN = tuple(of.name for of in fields(Record) if of.name not in {"at", "attempts", *_LISTS})
_OF_TRY = tuple(of.name for of in fields(Try))
_TRUTHS = tuple(at for at, of in enumerate(fields(Record)) if of.type is bool)


@lru_cache(maxsize=1_000)
def _json(value: tuple[Any, ...]) -> str:
    """As JSON; the same lists come again and again."""
    return msgspec.json.encode(value).decode() if value else ""


def cleaned(record: Record) -> Record:
    """The record without characters that a database cannot hold."""
    return replace(record, **_clean(record), attempts=[_cleaned(one) for one in record.attempts])


def _cleaned(one: Try) -> Try:
    return replace(one, **_clean(one))


def _clean(record: Record | Try) -> dict[str, Any]:
    return {of.name: _as_text(getattr(record, of.name)) for of in fields(record) if of.name != "attempts"}


def _as_text(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_as_text, value))
    if not isinstance(value, str):
        return value
    return value.encode("utf-8", "replace").decode().replace("\x00", "")
