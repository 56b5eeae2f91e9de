"""Whose a key is that a caller shows, and what they may ask for with it.

    holders = Holders(plain, issued)
    who = holders.of(key)             a Holder, or the Failure with which it is refused
    who.refusal(model, ...)           why the holder may not ask for that; None where they may

A key is found by its hash: how long that takes says nothing of the keys that there are, since
nobody can choose a key by what its hash begins with.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from fnmatch import translate
from math import inf

from unbroken.failures import Failure, FailureKind
from unbroken.keys.entry import KeyEntry, digest_of
from unbroken.types import Task

__all__ = ["ANYBODY", "Holder", "Holders", "out_of_scope"]


class Holder:
    """Somebody who was let in.  `limited` is whether there is anything that they may not ask for."""

    __slots__ = ("_models", "_tasks", "expires_at", "id", "limited")

    def __init__(
        self, holder_id: str = "", *, models: Sequence[str] = (), tasks: Iterable[Task] = (), expires_at: float = inf
    ) -> None:  # fmt: skip
        """`models` are patterns; none at all means all.  `expires_at` is in seconds since 1970."""
        self.id, self.expires_at = holder_id, expires_at
        self._models = re.compile("|".join(map(translate, models))) if models else None
        self._tasks = frozenset(tasks)
        self.limited = bool(models or self._tasks)

    def may_name(self, *names: str) -> bool:
        """Whether any of these, which are names of the same model, may be asked for."""
        return self._models is None or any(map(self._models.match, names))

    def may_do(self, tasks: Iterable[Task]) -> bool:
        """Whether any of these kinds of work may be asked for."""
        return not self._tasks or not self._tasks.isdisjoint(tasks)

    def refusal(self, *names: str, task: Task) -> Failure | None:
        """Why this work may not be asked of the model of these names; None where it may."""
        if not self.may_name(*names):
            return out_of_scope(f"the model {names[0][:100]!r}", param="model")
        return None if self.may_do((task,)) else out_of_scope(f"{task} work")


ANYBODY = Holder()
"""Who is let in without a key, or by a key that is good for everything."""


class Holders:
    """All who have keys."""

    def __init__(
        self, plain: Iterable[str], issued: Iterable[KeyEntry] = (), *, wall: Callable[[], float] = time.time
    ) -> None:  # fmt: skip
        """`plain` are keys that are good for everything; `wall` gives seconds since 1970."""
        self._wall = wall
        self._by_digest = {entry.hash: _holder(entry) for entry in issued if entry.revoked is None}
        self._by_digest |= {digest_of(key): ANYBODY for key in plain}

    def of(self, key: str) -> Holder | Failure:
        """Whose key this is, or that it is not known, or not any more."""
        holder = self._by_digest.get(digest_of(key))
        if holder is None:
            return UNKNOWN_KEY
        if holder.expires_at != inf and holder.expires_at <= self._wall():
            return EXPIRED_KEY
        return holder


def _holder(entry: KeyEntry) -> Holder:
    expires_at = entry.expires.timestamp() if entry.expires is not None else inf
    return Holder(entry.id, models=entry.models, tasks=entry.tasks, expires_at=expires_at)


def _refused(message: str) -> Failure:
    return Failure(kind=FailureKind.REQUEST, message=message, status=401, code="invalid_api_key")


UNKNOWN_KEY = _refused("Incorrect API key provided: this gateway does not know it.")
"""The same for a key that was revoked: who has found an old one need not learn that it was good."""
EXPIRED_KEY = _refused("The API key provided has expired: ask the operator of this gateway for a new one.")


def out_of_scope(what: str, *, param: str | None = None) -> Failure:
    """The failure of asking for what a key is not good for."""
    return Failure(
        kind=FailureKind.REQUEST, message=f"This API key may not be used for {what}.", status=403,
        type="permission_error", code="insufficient_permissions", param=param,
    )  # fmt: skip
