"""The cache's store where replicas share it: what is in this process at once, else what any of them has kept."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from unbroken.cache.entries import Entry
from unbroken.cache.store import Found, InMemory
from unbroken.replicas.backplane import Backplane
from unbroken.replicas.backplane import Found as FoundValue

__all__ = ["SharedAnswers"]

VALUE_BYTES_MAX = 1024 * 1024
"""A larger answer stays in the process that has it."""
_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Entry)


class SharedAnswers:
    """A `Store` of the cache; who asks it goes on without it where the others take too long."""

    def __init__(self, own: InMemory, backplane: Backplane) -> None:
        self._own, self._backplane = own, backplane

    def get(self, key: str, *, ready: Callable[[Found], None]) -> None:
        def own(found: Found) -> None:
            if found is not None:
                ready(found)
            else:
                self._backplane.get(key, ready=lambda value: ready(_entry(value)))

        self._own.get(key, ready=own)

    def put(self, key: str, entry: Entry, *, keep_s: float) -> bool:
        kept = self._own.put(key, entry, keep_s=keep_s)
        if entry.size_bytes <= VALUE_BYTES_MAX:
            self._backplane.put(key, _ENCODER.encode(entry), keep_s=keep_s)
            return True
        return kept


def _entry(found: FoundValue) -> Found:
    """What others have kept; nothing, where another version of this program wrote it in words of its own."""
    if found is None:
        return None
    try:
        return _DECODER.decode(found[0]), found[1]
    except (msgspec.DecodeError, ValueError):
        return None
