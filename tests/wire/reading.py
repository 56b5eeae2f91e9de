"""Answers read by a decoder as a leg reads them: head, body in pieces, end; and what is asked next."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Mapping
from typing import Any

from unbroken.failures import Failure
from unbroken.types import Delta, Output
from unbroken.wire import Next, Outcome

Found = list[Delta] | Failure | Next
OUTCOME = Outcome(request_id="r", target="t", attempts=1, failover=False)
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000020000000308060000001f15c489")
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"
MP3 = b"ID3\x04\x00\x00\x00\x00\x00\x00\xff\xfb\x10\x00"


def told(decoder: Any, *pieces: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Found:
    """What a decoder (or a new one of those that a step wants) makes of an answer that comes in these pieces."""
    decoder = decoder() if callable(decoder) else decoder
    if hasattr(decoder, "head"):
        decoder.head(status, headers or {})
    deltas: list[Delta] = []
    for piece in pieces:
        step = decoder.feed(piece)
        if isinstance(step, Failure):
            return step
        deltas += step
    end = decoder.close()
    return [*deltas, *end] if isinstance(end, list) else end


def read(decoder: Any, pieces: Iterable[bytes]) -> list[Delta] | Failure:
    """The same of an answer after which nothing more is asked."""
    found = told(decoder, *pieces)
    assert isinstance(found, list | Failure), found
    return found


def cut(body: bytes, draw: random.Random, count: int = 5) -> list[bytes]:
    """A body cut at so many random places."""
    cuts = sorted(draw.randrange(len(body) + 1) for _ in range(count))
    return [body[a:b] for a, b in itertools.pairwise([0, *cuts, len(body)])]


def pieces_of(body: bytes, seed: int) -> list[bytes]:
    """A body cut at random."""
    return cut(body, random.Random(seed))


def deltas_of(found: Found) -> list[Delta]:
    assert isinstance(found, list), found
    return found


def next_of(found: Found) -> Next:
    assert isinstance(found, Next), found
    return found


def failure_of(found: object) -> Failure:
    assert isinstance(found, Failure), found
    return found


def outputs_of(found: Found) -> list[Output]:
    return [output for delta in deltas_of(found) for output in delta.outputs]
