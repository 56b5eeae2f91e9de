"""One key of the gateway, as it is kept: never the key itself, only its hash.

A key is 256 bits drawn at random.  Nobody can try even a small part of so many, however fast
a try is, so one round of SHA-256 keeps it: bcrypt and its like are slow on purpose, to protect
what people think up, and here would only make every request slow.  The hash needs no salt for
the same reason: no two keys are alike, and no table of them can be made.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import sha256
from typing import Annotated

import msgspec

from unbroken.policy import SpendLimit
from unbroken.types import Allowance, Task

__all__ = ["KeyEntry", "State", "digest_of", "new_key"]

PREFIX = "ubk_"
"""By which people, and programs that look for keys in the wrong places, know what it is."""
KEY_BYTES = 32
KEPT_CHARS_MAX = 256
"""The hashes of longer keys are not remembered, or strangers could fill the memory."""

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Dollars = Annotated[float, msgspec.Meta(gt=0.0)]
Number = Annotated[int, msgspec.Meta(ge=1)]


class State(StrEnum):
    """Whether a key is good for anything."""

    ACTIVE = "active"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyEntry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One key.  Moments are in UTC; what is not given is not limited.

    `hash` is the SHA-256 of the key, in hexadecimal.  `models` are patterns such as `chat` or
    `openai/*`, for routes, aliases and targets; `tasks` are kinds of work.
    """

    id: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_-]{1,40}$")]
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$")]
    hash: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
    created: Moment
    expires: Moment | None = None
    revoked: Moment | None = None
    models: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = ()
    usd_per_day: Dollars | None = None
    usd_per_month: Dollars | None = None
    requests_per_min: Number | None = None
    tokens_per_min: Number | None = None
    requests_per_day: Number | None = None
    concurrent_max: Number | None = None

    def state(self, now: datetime) -> State:
        """Whether it is good for anything at this moment."""
        if self.revoked is not None:
            return State.REVOKED
        return State.EXPIRED if self.expires is not None and self.expires <= now else State.ACTIVE

    @property
    def allowance(self) -> Allowance | None:
        """How much it may ask for; None where that is not limited."""
        given = Allowance(**{name: getattr(self, name) for name in _RATES})
        return None if given == Allowance() else given

    @property
    def spend_limit(self) -> SpendLimit | None:
        """What it may spend; None where that is not limited."""
        day, month = self.usd_per_day, self.usd_per_month
        if day is None and month is None:
            return None
        most = day if day is not None else month
        assert most is not None
        return SpendLimit(name=f"key {self.id}", usd_per_day=most, usd_per_month=month, asker=self.hash)

    @property
    def scopes(self) -> Mapping[str, tuple[str, ...]]:
        """What it is good for, where that is not everything."""
        given = {"models": self.models, "tasks": tuple(map(str, self.tasks))}
        return {name: words for name, words in given.items() if words}


_RATES = ("requests_per_min", "tokens_per_min", "requests_per_day", "concurrent_max")


def new_key() -> str:
    """A key that nobody has."""
    return PREFIX + secrets.token_urlsafe(KEY_BYTES)


def digest_of(key: str) -> str:
    """By what a key is known beyond the door, where the key itself is not; empty where there is no key."""
    return _remembered(key) if len(key) <= KEPT_CHARS_MAX else _digest(key)


def _digest(key: str) -> str:
    return sha256(key.encode("utf-8", "surrogatepass")).hexdigest() if key else ""


_remembered = lru_cache(maxsize=1_000)(_digest)
