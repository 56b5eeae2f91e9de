"""Where one piece of a body ends and the next begins: server-sent events, and the fields of a JSON object.

    Events.feed(bytes) -> [Event]      any split of the bytes gives the same events
    split_fields(body) -> {name: raw}  one level deep, the values left as they stood
    join_fields(fields) -> body        and together again
    sought(text, pattern) -> matches   a pattern in a long text, by a byte that is rare there

Rules of the event stream (WHATWG HTML, "Server-sent events"): a line ends with LF, CRLF or CR,
an empty line ends an event, several `data` lines are joined with LF, a line that begins with
a colon is a comment.  What holds no data is a keep-alive and is dropped here: nobody above
may take it for progress.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from unbroken.failures import Failure, FailureKind

__all__ = ["EVENT_BYTES_MAX", "UNREADABLE", "Event", "Events", "join_fields", "sought", "split_fields"]

EVENT_BYTES_MAX = 8 * 1024 * 1024
"""The longest single event: an image of 6 MB in base64 fits, a body without event ends does not."""

UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
"""What reading foreign JSON may raise: bad syntax, bad UTF-8 or huge numbers, bottomless nesting."""

_LF, _CR, _DEL = b"\n\r\x7f"
"""As numbers: to look for one in bytes takes a seventh of the time that it takes for the same as bytes."""
_BOM = b"\xef\xbb\xbf"
_EVENT_END = re.compile(rb"\n\n|\r\r|\n\r\n?")
"""Two line ends in a row, decided without a look ahead: after a last CR no byte has to be waited for.

An LF that still follows it is an empty line before the next event, and means nothing there.
"""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event: its data, the bytes that it was (with the empty line after it), and its name."""

    data: bytes
    raw: bytes
    name: str = ""


class Events:
    """An event stream, read as its bytes arrive."""

    __slots__ = ("_buffer", "_bytes_max")

    def __init__(self, *, bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._buffer = bytearray()
        self._bytes_max = bytes_max

    def feed(self, data: bytes) -> list[Event] | Failure:
        """The events that these bytes complete; MALFORMED where one is longer than the limit."""
        if not self._buffer and data.endswith(b"\n\n") and _CR not in data and len(data) <= self._bytes_max:
            if data.find(b"\n") == len(data) - 2 and data.startswith(b"data: ") and data[6:7] > b" ":
                return [Event(data[6:-2], data)]
            return _clean_events(data)
        scanned = max(0, len(self._buffer) - 1)
        self._buffer += data
        return self._cut(scanned)

    def close(self) -> list[Event] | Failure:
        """The body is over: an event whose empty line never came counts if it holds data."""
        rest = bytes(self._buffer).rstrip(b"\r\n")
        self._buffer.clear()
        event = _event(rest, b"\n\n")
        return [] if event is None else [event]

    def _cut(self, scanned: int) -> list[Event] | Failure:
        """Take every complete event off the buffer; no end of one lies before `scanned`."""
        events: list[Event] = []
        begin = 0
        while end := _EVENT_END.search(self._buffer, max(begin, scanned)):
            if end.start() - begin > self._bytes_max:
                return self._too_long()
            terminator = b"\n\r\n" if end[0].startswith(b"\n\r") else bytes(end[0])
            event = _event(bytes(self._buffer[begin : end.start()]), terminator)
            if event is not None:
                events.append(event)
            begin = end.end()
        del self._buffer[:begin]
        if len(self._buffer) > self._bytes_max + len(b"\r\n"):
            return self._too_long()
        if not self._buffer.strip(b"\r\n"):
            self._buffer.clear()
        return events

    def _too_long(self) -> Failure:
        self._buffer.clear()
        return Failure(
            kind=FailureKind.MALFORMED, message=f"an event of the stream is longer than {self._bytes_max} bytes"
        )


def _clean_events(data: bytes) -> list[Event]:
    """The usual case: whole events, LF only, nothing left over from before."""
    events: list[Event] = []
    blocks = data.split(b"\n\n")
    for block in blocks[:-1]:
        if block.startswith(b"data: ") and block[6:7] > b" " and _LF not in block:
            events.append(Event(block[6:], block + b"\n\n"))
        elif event := _event(block, b"\n\n"):
            events.append(event)
    return events


def _event(block: bytes, terminator: bytes) -> Event | None:
    """An event from its lines, None for comments and other blocks without data."""
    block = block.lstrip(b"\r\n").removeprefix(_BOM).lstrip(b"\r\n")
    name, data = b"", []
    for line in block.splitlines():
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value.removeprefix(b" "))
        elif field == b"event":
            name = value.removeprefix(b" ")
    payload = b"\n".join(data)
    if not payload.strip():
        return None
    return Event(payload, block + terminator, name.decode("utf-8", "replace"))


_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.encode


def split_fields(body: bytes) -> dict[str, bytes]:
    """The fields of a JSON object in their order, values undecoded; raises one of UNREADABLE.

    Of long strings in `messages` only the ends are looked for, and whether what is between them is well put is
    for the provider to say; where each field begins and ends is read to the letter.
    """
    if len(body) >= LARGE_BYTES and (fields := _split_large(body)) is not None:
        return fields
    return {name: bytes(value) for name, value in _FIELDS.decode(body).items()}


LARGE_BYTES = 256 * 1024
"""Of a body whose long strings are left out before it is decoded, which takes up to 2 ms for a megabyte of escapes."""
LONG_BYTES = 1000
_SLASHES_MAX = 64
"""Backslashes in a row, as nobody writes them: to count any number would let a body take as long as it likes."""
BACKSLASH = ord("\\")
_GAP = re.compile(rb"\x7f(\d+)\x7f")
"""What stands for a string that is left out: a character that JSON allows and that is in no text."""


def _split_large(body: bytes) -> dict[str, bytes] | None:
    """The fields of a body with long strings; None where there are few, or anything is unusual."""
    spans = _long_strings(body)
    if spans is None or _DEL in body:
        return None
    whole, pieces, kept = memoryview(body), list[bytes | memoryview](), 0
    for number, (begin, end) in enumerate(spans):
        pieces += (whole[kept:begin], b"\x7f%d\x7f" % number)
        kept = end
    try:
        fields = _FIELDS.decode(b"".join((*pieces, whole[kept:])))
    except UNREADABLE:
        return None
    found = {name: bytes(value) for name, value in fields.items()}
    if any("\x7f" in name or (name != "messages" and _DEL in value) for name, value in found.items()):
        return None
    if "messages" in found:
        texts: list[bytes | memoryview] = list(_GAP.split(found["messages"]))
        texts[1::2] = [whole[slice(*spans[int(number)])] for number in texts[1::2]]
        found["messages"] = b"".join(texts)
    return found


def _long_strings(body: bytes) -> list[tuple[int, int]] | None:
    """Where long strings begin and end, without their quote marks; None where such marks are too many to look at.

    And where one could be taken for a digit of a broken escape: a reader that is less strict than ours would go on
    behind it, and take for fields of the body what is text to us.
    """
    spans: list[tuple[int, int]] = []
    at, begin, hops, grace = body.find(b'"'), 0, 0, len(body) // 16
    while at >= 0:
        if hops * SPARSE_BYTES > at + grace:
            return None
        hops += 1
        slashes = 0
        if body[at - 1] == BACKSLASH:
            before = body[max(0, at - _SLASHES_MAX) : at]
            slashes = len(before) - len(before.rstrip(b"\\"))
            if slashes == _SLASHES_MAX:
                return None
        if not begin:
            begin = at + 1
        elif b"\\u" in body[max(0, at - 5) : at]:
            return None
        elif slashes % 2 == 0:
            if at - begin >= LONG_BYTES:
                spans.append((begin, at))
            begin = 0
        at = body.find(b'"', at + 1)
    return spans or None


def join_fields(fields: Mapping[str, bytes]) -> bytes:
    """A JSON object from fields whose values are JSON already."""
    pieces = [b"{"]
    for name, value in fields.items():
        pieces += (_encode(name), b":", value, b",")
    pieces[-1 if fields else 1 :] = [b"}"]
    return b"".join(pieces)  # a megabyte is copied once


SPARSE_BYTES = 1000
"""From one sign to the next: any less, and to hop takes longer than to look at every byte."""


def sought(text: bytes, pattern: re.Pattern[bytes], *, sign: bytes) -> list[re.Match[bytes]]:
    """The matches of a pattern, each of which has to begin with the sign, a single byte.

    Where that is rare, to hop from one to the next takes a 30th of the time that the pattern would.
    """
    found: list[re.Match[bytes]] = []
    at, hops, grace = text.find(sign), 0, len(text) // 16
    while at >= 0:
        if hops * SPARSE_BYTES > at + grace:
            return [*found, *pattern.finditer(text, at)]
        if (match := pattern.match(text, at)) is not None:
            found.append(match)
        hops += 1
        at = text.find(sign, at + 1)
    return found
