from __future__ import annotations

import contextlib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.wire.framing import UNREADABLE, Event, Events, join_fields, split_fields


def read(*pieces: bytes) -> list[Event]:
    reader = Events()
    events: list[Event] = []
    for piece in pieces:
        step = reader.feed(piece)
        assert not isinstance(step, Failure)
        events += step
    rest = reader.close()
    assert not isinstance(rest, Failure)
    return events + rest


def data_of(*pieces: bytes) -> list[bytes]:
    return [event.data for event in read(*pieces)]


@pytest.mark.parametrize(
    ("stream", "expected"),
    [
        (b"data: a\n\ndata: b\n\n", [b"a", b"b"]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [b"a", b"b"]),
        (b"data: a\r\rdata: b\r\r", [b"a", b"b"]),
        (b"data: a\r\n\ndata: b\n\r\ndata: c\n\rdata: d\r\r\n", [b"a", b"b", b"c", b"d"]),
        (b"data:a\n\n", [b"a"]),
        (b"data:  a\n\n", [b" a"]),
        (b"data: a\ndata: b\n\n", [b"a\nb"]),
        (b"data: a\r\ndata: b\r\n\r\n", [b"a\nb"]),
        (b": hello\n\ndata: a\n\n: bye\n\n", [b"a"]),
        (b": hello\ndata: a\n\n", [b"a"]),
        (b"\n\n\ndata: a\n\n\n\n\ndata: b\n\n\n", [b"a", b"b"]),
        (b"\xef\xbb\xbfdata: a\n\n", [b"a"]),
        (b"id: 7\nretry: 100\ndata: a\n\nid: 8\n\n", [b"a"]),
        (b"data\n\ndata:\n\ndata: \n\ndata:   \n\n", []),
        (b"data: [DONE]", [b"[DONE]"]),
        (b"data: [DONE]\n", [b"[DONE]"]),
        (b"", []),
        (b'{"error": 1}\n\n', []),
    ],
)
def test_rules_of_the_format(stream: bytes, expected: list[bytes]) -> None:
    """Line ends of every kind, comments, missing spaces and missing ends are read as the standard says."""
    assert data_of(stream) == expected
    assert data_of(*[stream[i : i + 1] for i in range(len(stream))]) == expected


def test_names_are_kept() -> None:
    """An event says its name, whatever bytes that is."""
    assert [event.name for event in read(b"event: error\ndata: a\n\nevent:\xff\ndata: b\n\ndata: c\n\n")] == [
        "error",
        "\ufffd",
        "",
    ]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\r\n\n"])
def test_raw_bytes_are_the_bytes_that_came(end: bytes) -> None:
    """What is passed on is byte for byte what came, without keep-alives."""
    first, second = b"event: x\ndata: a" + end, b"data: b\ndata:c" + end
    assert [event.raw for event in read(first + b": alive\n\n" + second)] == [first, second]


def test_an_event_cut_at_its_end_gets_one() -> None:
    """An event whose empty line never came is passed on as a whole event."""
    assert [event.raw for event in read(b"data: a\n\ndata: [DONE]\r\n")] == [b"data: a\n\n", b"data: [DONE]\n\n"]


LINES = st.lists(
    st.sampled_from([
        b"data: a", b"data:b", b"data:", b": c", b"event: e", b"id: 1", b"\n", b"\r", b"\r\n", b"\xef\xbb\xbf",
        b" ", b"\xff", b"data: ",
    ]),
    max_size=30,
)  # fmt: skip


@given(st.one_of(LINES.map(b"".join), st.binary(max_size=200)), st.randoms(use_true_random=False))
def test_any_split_gives_the_same_events(stream: bytes, rng: random.Random) -> None:
    """Packets mean nothing: the same bytes give the same events, raw bytes included."""
    whole = read(stream)
    cuts = sorted(rng.randrange(len(stream) + 1) for _ in range(rng.randrange(1, 12)))
    assert read(*[stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]) == whole
    assert read(*[stream[i : i + 1] for i in range(len(stream))]) == whole


@given(st.lists(st.binary(max_size=20).filter(lambda b: not set(b) & set(b"\r\n")), max_size=8))
def test_what_is_written_is_read(payloads: list[bytes]) -> None:
    """Data without line ends survives, unless there is nothing in it."""
    stream = b"".join(b"data: " + payload + b"\n\n" for payload in payloads)
    assert data_of(stream) == [payload for payload in payloads if payload.strip()]


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_endless_events_are_malformed(step: int) -> None:
    """A body without event ends fills no memory: it is a failure, however it arrives."""
    reader = Events(bytes_max=64)
    assert reader.feed(b"data: " + b"x" * 58 + b"\n\n") != []
    stream = b"data: " + b"x" * 59 + b"\n\n"
    failure: list[Event] | Failure = []
    for i in range(0, len(stream), step):
        failure = reader.feed(stream[i : i + step])
        if isinstance(failure, Failure):
            break
    assert isinstance(failure, Failure)
    assert failure.kind is FailureKind.MALFORMED


def test_long_events_in_small_packets_take_linear_time() -> None:
    """A megabyte in packets of 1 KB is not searched again and again."""
    reader = Events()
    for _ in range(1024):
        assert reader.feed(b"x" * 1024) == []


@given(st.dictionaries(st.text(max_size=5), st.none() | st.booleans() | st.integers() | st.text(), max_size=5))
def test_fields_come_apart_and_together(value: dict[str, object]) -> None:
    """An object that is split and joined again says the same in the same order."""
    body = json.dumps(value, indent=1).encode()
    fields = split_fields(body)
    assert list(fields) == list(value)
    assert json.loads(join_fields(fields)) == value


@given(st.binary(max_size=50))
def test_bad_bodies_raise_only_what_is_announced(body: bytes) -> None:
    """Whoever splits foreign bytes knows what to catch."""
    with contextlib.suppress(*UNREADABLE):
        split_fields(body)
