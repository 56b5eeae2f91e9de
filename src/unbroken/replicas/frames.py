"""What goes over the socket between a worker and the process that started it: frames of MessagePack.

worker                           parent
Say, Keep, Put              ->            no answer
HoldAsk, Get, Ask           ->            Answer, by number
Will                        ->            what counts on when the worker is gone
                            <-   Joined   how everything is set, to whoever connects
                            <-   Heard    what somebody said
Answer, by number           <-   Asked    somebody wants to know
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import msgspec

from unbroken.replicas.backplane import Hold, Switch

__all__ = [
    "Answer", "Ask", "Asked", "Follow", "FromParent", "FromWorker", "Get", "Heard", "HoldAsk", "Join", "Joined", "Keep",
    "Put", "Ready", "Relay", "Say", "Will", "packed", "read_frame",
]  # fmt: skip

FRAME_BYTES_MAX = 64 * 1024 * 1024
"""Far more than anything that is said."""
_LENGTH_BYTES = 4
_ENCODER = msgspec.msgpack.Encoder()


class Say(msgspec.Struct, array_like=True, tag="say"):
    """For everybody to hear."""

    words: bytes


class Keep(msgspec.Struct, array_like=True, tag="keep"):
    """A switch."""

    name: str
    switch: Switch


class Put(msgspec.Struct, array_like=True, tag="put"):
    """A value for a while."""

    key: str
    value: bytes
    keep_s: float


class HoldAsk(msgspec.Struct, array_like=True, tag="hold"):
    """Parts of limits."""

    number: int
    holds: Sequence[Hold]


class Get(msgspec.Struct, array_like=True, tag="get"):
    """A value that somebody put."""

    number: int
    key: str


class Ask(msgspec.Struct, array_like=True, tag="ask"):
    """A question to all others."""

    number: int
    what: str


class Join(msgspec.Struct, array_like=True, tag="join"):
    """The worker's first word."""


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """The worker takes requests."""


class Will(msgspec.Struct, array_like=True, tag="will"):
    """The answer to a question that counts when the worker is gone."""

    what: str
    words: bytes


class Follow(msgspec.Struct, array_like=True, tag="follow"):
    """Whether somebody at this worker follows what happens at all of them."""

    on: bool


class Relay(msgspec.Struct, array_like=True, tag="relay"):
    """What happened here, for those who follow elsewhere; and, from the parent, what happened there."""

    words: bytes


class Answer(msgspec.Struct, array_like=True, tag="answer"):
    """The answer to the question of this number, encoded by itself."""

    number: int
    body: bytes


class Joined(msgspec.Struct, array_like=True, tag="joined"):
    """The first word to a worker."""

    switches: Mapping[str, Switch]


class Heard(msgspec.Struct, array_like=True, tag="heard"):
    """What was said, and when, on the clock that all processes of a machine share."""

    at: float
    words: bytes


class Asked(msgspec.Struct, array_like=True, tag="asked"):
    """A question of another worker."""

    number: int
    what: str


FromWorker = Follow | Relay | Join | Ready | Say | Keep | Put | HoldAsk | Get | Ask | Will | Answer
FromParent = Follow | Relay | Joined | Heard | Asked | Answer


def packed(message: FromWorker | FromParent) -> bytes:
    """A frame: its length in four bytes, and what is in it."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


async def read_frame(reader: asyncio.StreamReader) -> bytes:
    """What is in the next frame; EOFError where none follows, ValueError where it is no frame."""
    length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
    if length > FRAME_BYTES_MAX:
        raise ValueError(f"a frame of {length} bytes")
    return await reader.readexactly(length)
