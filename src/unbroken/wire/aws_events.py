"""AWS' binary event stream: where one frame ends and the next begins, and how one is written.

    Frames.feed(bytes) -> [Frame]            any split of the bytes gives the same frames, and the same failure
    write_frame(headers, payload) -> bytes

A frame is, with all numbers big-endian:

    4 bytes  length of the whole frame     4 bytes  length of its headers     4 bytes  CRC-32 of these 8
    headers  (1 byte length, name, 1 byte type, value) again and again
    payload  what is left
    4 bytes  CRC-32 of everything before

The headers `:message-type` (event, exception or error), `:event-type`, `:exception-type` and
`:content-type` say what the payload is; they are strings.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from zlib import crc32

import msgspec

from unbroken.failures import Failure, FailureKind
from unbroken.wire.framing import EVENT_BYTES_MAX
from unbroken.wire.reading import malformed

__all__ = ["Frame", "Frames", "write_frame"]

_PRELUDE = struct.Struct(">III")
_TWO = struct.Struct(">II")
_ONE = struct.Struct(">I")
_AROUND = _PRELUDE.size + _ONE.size
"""What a frame without headers and payload takes."""

_STRING, _BYTES = 7, 6
_NUMBERS = {2: struct.Struct(">b"), 3: struct.Struct(">h"), 4: struct.Struct(">i"), 5: struct.Struct(">q"),
            8: struct.Struct(">q")}  # fmt: skip
"""Types of header values with one number in them; the last is a time, in milliseconds since 1970."""
_FLAGS = {0: True, 1: False}
_UUID = 9
_UUID_BYTES = 16
_LENGTH = struct.Struct(">H")

Value = str | bytes | int | bool


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One frame: its headers, its payload, and the bytes that it was."""

    headers: Mapping[str, Value]
    payload: bytes
    raw: bytes

    def header(self, name: str) -> str:
        """A header that is a string, empty where there is none."""
        value = self.headers.get(name, "")
        return value if isinstance(value, str) else ""


class Frames:
    """A stream of frames, read as its bytes arrive.

    `failure` is MALFORMED from where a sum is wrong or a frame is longer than the limit: no
    frame comes after it.
    """

    __slots__ = ("_buffer", "_bytes_max", "failure")

    def __init__(self, *, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self.failure: Failure | None = None
        self._buffer = bytearray()
        self._bytes_max = bytes_max

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that these bytes complete."""
        if self.failure is not None:
            return []
        self._buffer += data
        frames: list[Frame] = []
        begin = 0
        while frame := self._next(begin):
            frames.append(frame)
            begin += len(frame.raw)
        del self._buffer[: begin if self.failure is None else None]
        return frames

    def close(self) -> Failure | None:
        """The body is over: TRUNCATED where it ends inside a frame."""
        if self.failure is None and self._buffer:
            self.failure = Failure(kind=FailureKind.TRUNCATED, message="the stream ended inside an event")
        return self.failure

    def _next(self, begin: int) -> Frame | None:
        """The frame that begins here, if it is all there."""
        if len(self._buffer) - begin < _PRELUDE.size:
            return None
        size = self._size(begin)
        if size is None:
            self.failure = malformed("an event's length is wrong, or beyond the limit")
            return None
        if len(self._buffer) - begin < size:
            return None
        frame = _read_frame(bytes(self._buffer[begin : begin + size]))
        if frame is None:
            self.failure = malformed("an event's checksum or its headers are wrong")
        return frame

    def _size(self, begin: int) -> int | None:
        """How long the frame is that begins here; None where its first 12 bytes are no frame's."""
        size, of_headers, checksum = _PRELUDE.unpack_from(self._buffer, begin)
        if checksum != crc32(self._buffer[begin : begin + _TWO.size]):
            return None
        return int(size) if of_headers + _AROUND <= size <= self._bytes_max else None


def _read_frame(raw: bytes) -> Frame | None:
    """A frame of the right length; None where its checksum or its headers are wrong."""
    body, (checksum,) = raw[: -_ONE.size], _ONE.unpack(raw[-_ONE.size :])
    if checksum != crc32(body):
        return None
    of_headers = _TWO.unpack_from(raw)[1]
    end = _PRELUDE.size + of_headers
    try:
        headers = _read_headers(raw[_PRELUDE.size : end])
    except (struct.error, KeyError, IndexError, ValueError):
        return None
    return Frame(headers, body[end:], raw)


def _read_headers(data: bytes) -> dict[str, Value]:
    """Headers by their names; raises where they are cut short or of an unknown type."""
    headers: dict[str, Value] = {}
    at = 0
    while at < len(data):
        value_at = at + 1 + data[at]
        name = data[at + 1 : value_at].decode()
        headers[name], at = _read_value(data, value_at)
    return headers


def _read_value(data: bytes, at: int) -> tuple[Value, int]:
    """A value by the type before it, and where it ends."""
    kind, at = data[at], at + 1
    if kind in (_STRING, _BYTES):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        value = _exactly(data, at + _LENGTH.size, end=end)
        return (value.decode() if kind == _STRING else value), end
    if kind in _FLAGS:
        return _FLAGS[kind], at
    if kind == _UUID:
        return _exactly(data, at, end=at + _UUID_BYTES), at + _UUID_BYTES
    number = _NUMBERS[kind]
    return int(number.unpack_from(data, at)[0]), at + number.size


def _exactly(data: bytes, at: int, *, end: int) -> bytes:
    if end > len(data):
        raise IndexError(end)
    return data[at:end]


def write_frame(headers: Mapping[str, str], payload: bytes) -> bytes:
    """One frame; names are at most 255 bytes long, values at most 32 kB."""
    fields = b"".join([_write_header(name, value) for name, value in headers.items()])
    lengths = _TWO.pack(_AROUND + len(fields) + len(payload), len(fields))
    body = lengths + _ONE.pack(crc32(lengths)) + fields + payload
    return body + _ONE.pack(crc32(body))


def _write_header(name: str, value: str) -> bytes:
    named, said = name.encode(), value.encode()
    return bytes((len(named),)) + named + bytes((_STRING,)) + _LENGTH.pack(len(said)) + said
