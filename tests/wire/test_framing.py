from __future__ import annotations

import contextlib
import json
import random
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.wire.framing import UNREADABLE, Event, Events, join_fields, sought, split_fields


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


# ------------------------------------------------------------------------ what is sought


@given(st.lists(st.sampled_from([b"_", b"_a", b"_aa", b'x_a"', b"." * 20, b"." * 3000]), max_size=80).map(b"".join))
def test_what_is_sought_is_what_the_pattern_finds(text: bytes) -> None:
    """Be the sign rare or frequent, or both by turns: no match is lost, none is found twice, and their order stays."""
    pattern = re.compile(rb"_a(?<=x_a)|_a+")
    found = [(match.start(), match[0]) for match in sought(text, pattern, sign=b"_")]
    assert found == [(match.start(), match[0]) for match in pattern.finditer(text)]


# ------------------------------------------------------------------------- large bodies

EVIL = '","model":"evil","x":["'
WORDS = st.sampled_from(["a" * 1500, "д" * 400, '"', "\\", "\n", "\x7f0\x7f", "]", EVIL, "\\" * 70, "_"])
TEXTS = st.lists(WORDS, max_size=6).map("".join)
CONTENTS = st.one_of(TEXTS, st.lists(st.fixed_dictionaries({"type": st.just("text"), "text": TEXTS}), max_size=3))
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": CONTENTS}), max_size=4)
FIELDS = st.one_of(
    st.tuples(st.just("messages"), MESSAGES),
    st.tuples(st.just("model"), TEXTS),
    st.tuples(
        st.sampled_from(["user", "m" * 1200, "\x7f0\x7f"]), st.one_of(TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2))
    ),
)
FILLER = ("messages", [{"role": "user", "content": "f" * 600_000}])


def large(fields: list[tuple[str, object]], *, at: int, ascii_only: bool) -> bytes:
    """A body of these fields, of which some may be there twice, with a long text among them."""
    fields = [*fields[:at], FILLER, *fields[at:]]
    written = (f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=ascii_only)}" for name, value in fields)
    return "{{{}}}".format(", ".join(written)).encode()


def decoder_says(body: bytes) -> dict[str, bytes] | None:
    """The fields as JSON's own decoder tells them apart; None where it takes them for none."""
    try:
        fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except UNREADABLE:
        return None
    return {name: bytes(value) for name, value in fields.items()}


@given(st.lists(FIELDS, max_size=6), st.integers(0, 6), st.booleans())
def test_fields_of_large_bodies_are_those_of_small_ones(
    fields: list[tuple[str, object]], at: int, ascii_only: bool
) -> None:
    """Whatever stands in long strings, and be a field there twice: each is what a decoder of all of it finds."""
    body = large(fields, at=at, ascii_only=ascii_only)
    found = split_fields(body)
    assert found == decoder_says(body)
    assert list(found) == list(decoder_says(body) or ())


STRING = re.compile(rb'"(?:[^"\\]|\\.){1000,}"', re.DOTALL)
PUT = st.sampled_from([b'"', b"\\", b'\\"', b"]", b"}", b",", b"\x7f", b"\n", b""])


@given(
    st.lists(FIELDS, max_size=6),
    st.integers(0, 6),
    st.booleans(),
    st.lists(st.tuples(st.integers(0, 2**12), PUT), max_size=3),
)
def test_no_broken_body_has_other_fields_than_it_shows(
    fields: list[tuple[str, object]], at: int, ascii_only: bool, damage: list[tuple[int, bytes]]
) -> None:
    """What is broken is refused, but for what is ill put within a long text: fields begin and end where they do."""
    body = large(fields, at=at, ascii_only=ascii_only)
    for number, put in damage:
        places = [place.start() for place in re.finditer(rb"[^af]", body)]
        place = places[number % len(places)]
        body = body[:place] + put + body[place + 1 :]
    whole = decoder_says(body)
    try:
        found = split_fields(body)
    except UNREADABLE:
        assert whole is None
        return
    if whole is None:
        shown = decoder_says(STRING.sub(lambda text: b'"%s"' % (b"?" * (len(text[0]) - 2)), body))
        assert shown is not None
        assert [(name, len(value)) for name, value in found.items()] == [(n, len(v)) for n, v in shown.items()]
        assert all(value in body for value in found.values())
    else:
        assert found == whole


@pytest.mark.parametrize("slashes", [0, 1, 2, 3, 62, 63, 64, 65, 128, 129])
def test_a_long_text_ends_where_its_quote_mark_is_not_escaped(slashes: int) -> None:
    """However many backslashes stand before it: after an odd number of them the text goes on."""
    text = b'"' + b"a" * 300_000 + b"\\" * slashes + b'"'
    body = b'{"model":"m","messages":[%s]}' % text
    if slashes % 2:
        with pytest.raises(UNREADABLE):
            split_fields(body)
    else:
        assert split_fields(body) == {"model": b'"m"', "messages": b"[%s]" % text}


def test_what_stands_in_a_long_text_is_for_the_provider_to_judge() -> None:
    """An escape that does not exist is passed on there, after quotes too; not in any other field."""
    text = b"\\q" + b'say \\"no\\" ' * 5 + b"a" * 300_000
    assert split_fields(b'{"messages":["%s"]}' % text) == {"messages": b'["%s"]' % text}
    with pytest.raises(UNREADABLE):
        split_fields(b'{"system":"%s"}' % text)


def test_a_large_body_is_told_where_it_is_broken() -> None:
    """The place is that in the body as it was sent."""
    with pytest.raises(msgspec.DecodeError, match=r"byte 300017"):
        split_fields(b'{"messages":["%s"] x}' % (b"a" * 300_000))


@pytest.mark.parametrize("broken", [b"\\u", b"\\u1", b"\\u12", b"\\u123"])
def test_no_quote_mark_is_a_digit_of_an_escape(broken: bytes) -> None:
    """A text that ends within an escape is refused: who reads on behind it would find another model there."""
    body = b'{"model":"m","messages":["%s%s","\\"model\\":\\"evil"]}' % (b"a" * 300_000, broken)
    with pytest.raises(UNREADABLE):
        split_fields(body)
