"""W3C trace context, and which traces are kept: everything about a trace that is known when its request begins.

A trace's and a span's ids follow from the id of the request, within this process, so that nothing
need be kept in mind for them; only where a caller comes with a trace of its own is that remembered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from os import urandom

from unbroken.records import Record

__all__ = ["STATE", "TRACEPARENT", "Parent", "Place", "Sampler", "parent_of"]

TRACEPARENT, STATE = "traceparent", "tracestate"
STATE_CHARS_MAX = 512
"""As much as the recommendation wants to be passed on at least."""
_HEADER = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_STATE = re.compile(r"[\x20-\x7e]*")
_STEP = 0x9E37_79B9_7F4A_7C15
"""Odd, so that no two attempts of a request have the same id."""
_SPREAD = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835
"""Odd, so that no two hashes lead to the same trace."""
_SALT = int.from_bytes(urandom(16), "big")
_ALL = 2**64
_BITS_64, _BITS_128 = 2**64 - 1, 2**128 - 1


class Parent(Record):
    """The span of a caller: the trace that it belongs to, its id, and whether the caller keeps it."""

    trace: bytes
    id: bytes
    sampled: bool
    state: str = ""


def parent_of(headers: Mapping[str, str]) -> Parent | None:
    """What a caller's headers say; None where they say nothing that makes sense."""
    found = _HEADER.fullmatch(headers.get(TRACEPARENT, "").strip())
    if found is None:
        return None
    version, trace, span, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not int(trace, 16) or not int(span, 16):
        return None
    state = headers.get(STATE, "").strip()
    state = state if len(state) <= STATE_CHARS_MAX and _STATE.fullmatch(state) else ""
    return Parent(bytes.fromhex(trace), bytes.fromhex(span), bool(int(flags, 16) & 1), state)


class Place:
    """Where a request stands: its trace, its own span, the span that it is part of, and what is passed on with it."""

    __slots__ = ("_root", "parent", "state", "trace")

    def __init__(self, flight: str, parent: Parent | None) -> None:
        mark = hash(flight) * _SPREAD + _SALT
        self.parent = parent
        self.trace = (mark & _BITS_128 or 1).to_bytes(16, "big") if parent is None else parent.trace
        self.state = "" if parent is None else parent.state
        self._root = mark >> 32 & _BITS_64

    def id(self, attempt: int = 0) -> bytes:
        """The id of the request's span, or of an attempt's."""
        return (self._root + attempt * _STEP & _BITS_64 or 1).to_bytes(8, "big")

    def header(self, attempt: int, *, sampled: bool) -> str:
        """What a provider is told: that it is asked by this attempt."""
        return f"00-{self.trace.hex()}-{self.id(attempt).hex()}-{'01' if sampled else '00'}"


class Sampler:
    """Which traces are kept; by the words of OTEL_TRACES_SAMPLER."""

    def __init__(self, name: str, share: float) -> None:
        self._by_parent = name.startswith("parentbased_")
        own = name.removeprefix("parentbased_")
        share = {"always_on": 1.0, "always_off": 0.0}.get(own, share)
        self._below, self._all = int(share * _ALL), share >= 1.0

    def keeps(self, place: Place) -> bool:
        """Whether this one is."""
        if self._by_parent and place.parent is not None:
            return place.parent.sampled
        return self._all or int.from_bytes(place.trace[8:], "big") < self._below
