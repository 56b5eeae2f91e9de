"""OpenTelemetry's wire format (OTLP, protobuf), written by hand: spans and histograms as bytes.

Two spans by the OpenTelemetry SDK take some 120 us to make and to encode, as much as all the
rest of a request; here they take a tenth of that.  What is the same in every span of a target
is encoded once.  The field numbers are those of opentelemetry-proto 1.x, which never change;
the tests decode what is written here with its official classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from struct import Struct

from unbroken.records import Record

__all__ = [
    "CLIENT",
    "SERVER",
    "Histogram",
    "Point",
    "Scalar",
    "attribute",
    "attributes",
    "identity",
    "metrics_message",
    "span",
    "title",
    "traces_message",
    "unique",
]

Scalar = str | bool | int | float | tuple[str, ...]
"""What an attribute may hold here."""

CLIENT, SERVER = 3, 2
"""A span's kind."""
ERROR = 2
"""A span's status; 0 where nobody says any."""
CUMULATIVE = 2

_TIMES = Struct("<BQBQ")
_DOUBLE = Struct("<d")
_FIXED64 = Struct("<Q")
_FROM_HERE, _FROM_ELSEWHERE = b"\x85\x01\x01\x01\x00\x00", b"\x85\x01\x01\x03\x00\x00"
"""A span's flags: it is sampled, and where its parent is."""


def _varint(number: int) -> bytes:
    return _VARINTS[number] if number < len(_VARINTS) else _long_varint(number)


def _long_varint(number: int) -> bytes:
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_VARINTS = [_long_varint(number) for number in range(2048)]
"""Spans are no longer, as a rule."""


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes: its tag, its length, itself."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _text(number: int, text: str) -> bytes:
    return _field(number, text.encode("utf-8", "replace"))


def _value(value: Scalar) -> bytes:
    """An AnyValue."""
    match value:
        case bool():
            return b"\x10" + _varint(value)
        case int():
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return b"\x21" + _DOUBLE.pack(value)
        case str():
            return _text(1, value)
        case _:
            return _field(5, b"".join(_field(1, _text(1, word)) for word in value))


def _pair(key: str, value: Scalar) -> bytes:
    return _text(1, key) + _field(2, _value(value))


@lru_cache(maxsize=8192, typed=True)
def attribute(key: str, value: Scalar) -> bytes:
    """One attribute of a span; most values come again and again."""
    return _field(9, _pair(key, value))


def unique(key: str, value: str) -> bytes:
    """An attribute whose value comes but once, and is not worth remembering."""
    data = value.encode("utf-8", "replace")
    return _frame(key, len(data)) + data


@lru_cache(maxsize=256)
def _frame(key: str, size: int) -> bytes:
    """All of an attribute but its value, which is a text of so many bytes."""
    whole = _pair(key, "x" * size)
    return _varint(9 << 3 | 2) + _varint(len(whole)) + whole[: len(whole) - size]


def attributes(values: Mapping[str, Scalar | None]) -> bytes:
    """Several attributes of a span; those that are None or empty are left out."""
    return b"".join([attribute(key, value) for key, value in values.items() if value is not None and value != ""])


def title(name: str, kind: int) -> bytes:
    """A span's name and kind."""
    return _text(5, name) + bytes((0x30, kind))


def identity(trace: bytes, own: bytes, *, parent: bytes = b"", state: str = "") -> bytes:
    """Who a span is: 16 bytes of its trace, 8 of its own, 8 of its parent (none for a root)."""
    whole = b"\x0a\x10" + trace + b"\x12\x08" + own
    if state:
        whole += _text(3, state)
    return whole + b"\x22\x08" + parent if parent else whole


def span(
    who: bytes, said: bytes, *, when_ns: tuple[int, int], error: str | None = None, remote: bool = False
) -> bytes:  # fmt: skip
    """A span as it stands in a message, from its `identity`, and from its `title` and `attribute`s in any order.

    `when_ns` are its beginning and end, in nanoseconds since 1970; `error` is what went wrong, in
    words; `remote` is whether its parent is known to be elsewhere.
    """
    times = _TIMES.pack(0x39, when_ns[0], 0x41, when_ns[1])
    status = b"" if error is None else _field(15, (_text(2, error) if error else b"") + bytes((0x18, ERROR)))
    body = b"".join((who, times, said, status, _FROM_ELSEWHERE if remote else _FROM_HERE))
    return b"\x12" + _varint(len(body)) + body


def _scope(version: str) -> bytes:
    return _field(1, _text(1, "unbroken") + _text(2, version))


def _resource(values: Mapping[str, str]) -> bytes:
    return _field(1, b"".join(_field(1, _pair(key, value)) for key, value in values.items()))


def traces_message(spans: Sequence[bytes], *, resource: Mapping[str, str], version: str) -> bytes:
    """An ExportTraceServiceRequest."""
    return _field(1, _resource(resource) + _field(2, _scope(version) + b"".join(spans)))


# ------------------------------------------------------------------- histograms


class Point(Record, kw_only=True):
    """A histogram's counts for one set of attributes; one more count than there are bounds."""

    attributes: Mapping[str, Scalar]
    counts: Sequence[int]
    total: float


class Histogram(Record):
    """A histogram: what is measured, in which unit, and its points."""

    name: str
    unit: str
    about: str
    bounds: Sequence[float]
    points: Sequence[Point]


def metrics_message(
    histograms: Iterable[Histogram], *, start_ns: int, now_ns: int, resource: Mapping[str, str], version: str
) -> bytes:
    """An ExportMetricsServiceRequest, with counts since `start_ns`."""
    told = b"".join(_field(2, _histogram(one, start_ns, now_ns=now_ns)) for one in histograms)
    return _field(1, _resource(resource) + _field(2, _scope(version) + told))


def _histogram(one: Histogram, start_ns: int, *, now_ns: int) -> bytes:
    bounds = b"".join(map(_DOUBLE.pack, one.bounds))
    points = [_field(1, _point(point, bounds, start_ns=start_ns, now_ns=now_ns)) for point in one.points]
    data = b"".join([*points, b"\x10", bytes((CUMULATIVE,))])
    return _text(1, one.name) + _text(2, one.about) + _text(3, one.unit) + _field(9, data)


def _point(point: Point, bounds: bytes, *, start_ns: int, now_ns: int) -> bytes:
    said = [_field(9, _pair(key, value)) for key, value in point.attributes.items()]
    counts = b"".join(map(_FIXED64.pack, point.counts))
    numbers = (b"\x21" + _FIXED64.pack(sum(point.counts)), b"\x29" + _DOUBLE.pack(point.total))
    return b"".join(
        [b"\x11", _FIXED64.pack(start_ns), b"\x19", _FIXED64.pack(now_ns), *numbers, _field(6, counts),
         _field(7, bounds), *said]
    )  # fmt: skip
