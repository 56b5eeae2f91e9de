"""What a provider wrote, made fit for a log or a span: one line of bounded length, without any key."""

from __future__ import annotations

from unbroken.types import Target

__all__ = ["Plain"]

CHARS_MAX = 500
KEYS_MAX = 1000
"""More than one gateway has."""
KEY_CHARS_MIN = 6
"""Anything shorter may be a common word, and guards nothing."""


class Plain:
    """Makes texts plain.  It learns the keys of the targets that it is told of, and never lets one through."""

    def __init__(self) -> None:
        self._keys: dict[str, None] = {}

    def __call__(self, text: str, *targets: Target) -> str:
        """One line, in which `[key]` stands for a key."""
        for target in targets:
            if len(target.key) >= KEY_CHARS_MIN and target.key not in self._keys and len(self._keys) < KEYS_MAX:
                self._keys[target.key] = None
        for key in self._keys:
            text = text.replace(key, "[key]")
        return " ".join(text.split())[:CHARS_MAX]
