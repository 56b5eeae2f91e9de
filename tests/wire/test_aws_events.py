"""AWS' binary event stream, judged by botocore's own reader."""

from __future__ import annotations

import base64
import random
import struct
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.wire.aws_events import Frame, Frames, write_frame
from wire.recorded import everything

eventstream = pytest.importorskip("botocore.eventstream", reason="botocore judges our frames")

HEADERS = {":message-type": "event", ":event-type": "messageStart", ":content-type": "application/json"}
FRAME = write_frame(HEADERS, b'{"role":"assistant"}')


def read(*pieces: bytes, bytes_max: int = 10_000) -> list[Frame] | Failure:
    frames = Frames(bytes_max=bytes_max)
    found = [frame for piece in pieces for frame in frames.feed(piece)]
    return frames.close() or found


def judged(data: bytes) -> list[tuple[dict[str, Any], bytes]]:
    """Headers and payloads as botocore reads them."""
    buffer = eventstream.EventStreamBuffer()
    buffer.add_data(data)
    return [(dict(event.headers), event.payload) for event in buffer]


def seen(frames: list[Frame] | Failure) -> list[tuple[dict[str, Any], bytes]]:
    assert not isinstance(frames, Failure), frames
    return [(dict(frame.headers), frame.payload) for frame in frames]


def kind(found: list[Frame] | Failure | None) -> FailureKind | None:
    return found.kind if isinstance(found, Failure) else None


def resealed(frame: bytes) -> bytes:
    """The same frame with the right sums, whatever was done to it."""
    lengths = frame[:8]
    body = lengths + struct.pack(">I", crc32(lengths)) + frame[12:-4]
    return body + struct.pack(">I", crc32(body))


def with_headers(headers: bytes) -> bytes:
    return resealed(struct.pack(">II", 16 + len(headers), len(headers)) + b"\0" * 4 + headers + b"\0" * 4)


@given(
    headers=st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=30), max_size=5),
    payload=st.binary(max_size=80),
    count=st.integers(1, 4),
    seed=st.integers(),
)
def test_frames_are_botocores(headers: dict[str, str], payload: bytes, count: int, seed: int) -> None:
    """What we write botocore reads, and we read it as botocore does, however it is cut into packets."""
    data = write_frame(headers, payload) * count
    assert seen(read(data)) == judged(data) == [(headers, payload)] * count
    draw = random.Random(seed)
    cuts = sorted(draw.randrange(len(data) + 1) for _ in range(4))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    assert read(*pieces) == read(data) == read(*(data[i : i + 1] for i in range(len(data))))


def test_every_type_of_header() -> None:
    """Headers of every type are read as botocore reads them."""
    values = [
        b"\0",
        b"\1",
        b"\2\xff",
        b"\3\xff\xfe",
        b"\4\0\0\1\0",
        b"\5" + b"\xff" * 8,
        b"\6\0\3abc",
        b"\7\0\2\xc3\xa9",
    ]
    values += [b"\x08" + b"\0" * 7 + b"\5", b"\x09" + bytes(range(16))]
    data = with_headers(b"".join(b"\1" + bytes((97 + n,)) + value for n, value in enumerate(values)))
    assert seen(read(data)) == judged(data)
    frames = read(data)
    assert isinstance(frames, list)
    assert frames[0].header("h") == "é" and frames[0].header("a") == frames[0].header("zz") == ""


@pytest.mark.parametrize("at", range(len(FRAME)))
def test_a_wrong_byte(at: int) -> None:
    """A byte that was changed on the way is noticed, wherever it stands."""
    broken = FRAME[:at] + bytes((FRAME[at] ^ 1,)) + FRAME[at + 1 :]
    assert kind(read(broken)) is FailureKind.MALFORMED


@pytest.mark.parametrize("end", range(1, len(FRAME)))
def test_a_cut_frame(end: int) -> None:
    """A body that ends inside a frame is cut short, wherever that is."""
    assert kind(read(FRAME, FRAME[:end])) is FailureKind.TRUNCATED


@pytest.mark.parametrize(
    "headers",
    [b"\1a", b"\5ab", b"\1a\7\0\5abc", b"\1a\6\0\5abc", b"\1a\x63", b"\1a\3\0", b"\1a\x09abc", b"\1\xff\0", b"\1a\7\0"],
)
def test_headers_that_are_none(headers: bytes) -> None:
    """Headers that are cut short, of an unknown type or no text are malformed, although the sums are right."""
    assert kind(read(with_headers(headers))) is FailureKind.MALFORMED


def test_frames_before_a_wrong_one() -> None:
    """What came well before a wrong byte is given out, in the same packet too, and nothing after it."""
    frames = Frames()
    assert len(frames.feed(FRAME + FRAME + b"\xff" * 12 + FRAME)) == 2
    assert kind(frames.failure) is FailureKind.MALFORMED
    assert frames.feed(FRAME) == [] and frames.close() is frames.failure


def test_lengths_have_limits() -> None:
    """A frame beyond the limit, or shorter than its headers, is refused at its first bytes; one of the limit is not."""
    data = write_frame({}, b"x" * 84)
    assert len(data) == 100
    assert isinstance(read(data, bytes_max=100), list)
    assert kind(read(data[:12], bytes_max=99)) is FailureKind.MALFORMED
    assert kind(read(resealed(struct.pack(">II", 20, 5) + b"\0" * 12))) is FailureKind.MALFORMED
    assert kind(read(b"<html>a page</html>")) is FailureKind.MALFORMED
    assert kind(read(b'{"message": "a JSON body"}')) is FailureKind.MALFORMED


@given(st.lists(st.binary(max_size=60) | st.just(FRAME), max_size=6))
def test_any_bytes(pieces: list[bytes]) -> None:
    """Any bytes give frames or a failure, and nothing is kept beyond the limit."""
    frames = Frames(bytes_max=200)
    for piece in pieces:
        assert isinstance(frames.feed(piece), list)
        assert len(frames._buffer) <= 200
    assert frames.close() is None or kind(read(*pieces, bytes_max=200)) is not None


def test_all_recorded_frames(shared: Path) -> None:
    """Every recorded event stream, of Converse and of the older calls, is read as botocore reads it."""
    recordings = everything(shared, "converse-stream", "invoke-with-response-stream")
    bodies = [base64.b64decode(r["response_body"]) for r in recordings if r["response_body_encoding"] == "base64"]
    assert len(bodies) > 70
    for number, body in enumerate(bodies):
        found = read(body, bytes_max=1 << 20)
        assert seen(found) == judged(body)
        assert isinstance(found, list) and b"".join(frame.raw for frame in found) == body
        cuts = sorted(random.Random(number).randrange(len(body) + 1) for _ in range(9))
        pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
        assert read(*pieces, bytes_max=1 << 20) == found
        assert kind(read(body[: cuts[4]] + b"\xff" + body[cuts[4] + 1 :], bytes_max=1 << 20)) or body[cuts[4]] == 0xFF
