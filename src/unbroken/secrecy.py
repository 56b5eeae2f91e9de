"""Takes a target's own secrets out of what its provider said: some say in an error which key they were shown.

Codecs blank whatever looks like a key (`wire.errors.redact`).  A key of one's own server looks
like anything; but whoever asked knows it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from urllib.parse import quote

from unbroken.failures import Failure
from unbroken.types import Target

__all__ = ["without_secrets"]

BLANK = "[key]"
KEY_CHARS_MIN = 6
"""Anything shorter may be a common word, and guards nothing."""
HEADER_CHARS_MIN = 12
"""What is secret in a header is longer; so is much that is not."""
_NO_SECRETS = frozenset(("anthropic-beta", "anthropic-version", "http-referer", "openai-organization", "x-title"))
_SAID = ("message", "code", "type", "param", "body")


def without_secrets(failure: Failure, target: Target) -> Failure:
    """The failure, in which `[key]` stands for the key and the headers that this target was asked with."""
    secrets = _secrets(target)
    if not secrets:
        return failure
    told: dict[str, Any] = {name: _blanked(getattr(failure, name), secrets) for name in _SAID}
    return replace(failure, **told)


def _secrets(target: Target) -> list[str]:
    """Longest first, so that none is left in part; a key of two halves (`id:secret`) is two more."""
    found = {key for key in (target.key, *target.key.split(":")) if len(key) >= KEY_CHARS_MIN}
    for name, value in target.headers.items():
        if len(value) >= HEADER_CHARS_MIN and name.lower() not in _NO_SECRETS:
            found.add(value)
    return sorted(found | {quote(value, safe="") for value in found}, key=len, reverse=True)


def _blanked(value: Any, secrets: list[str]) -> Any:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, BLANK)
        return value
    if isinstance(value, list):
        return [_blanked(item, secrets) for item in value]
    if isinstance(value, dict):
        return {_blanked(name, secrets): _blanked(item, secrets) for name, item in value.items()}
    return value
