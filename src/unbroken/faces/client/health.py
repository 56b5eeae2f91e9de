"""How providers are: each is asked for its list of models, which is free, or where it has none for one word.

A check goes past the engine: no breaker counts it and no statistics.
"""

from __future__ import annotations

from unbroken.config import Account
from unbroken.engine import Engine
from unbroken.faces.client.results import Health
from unbroken.failures import Failure, FailureKind
from unbroken.inquiry import Told, free, word
from unbroken.types import Target, Task

__all__ = ["CHECK_S", "check"]

CHECK_S = 10.0
"""A provider that says nothing for so long is not well."""


async def check(engine: Engine, account: Account, *, targets: tuple[Target, ...]) -> Health:
    """How a provider is; with several keys, whether one of them is good."""
    if account.key_missing:
        where = " or ".join(account.row.key_env)
        failure = Failure(kind=FailureKind.AUTH, message=f"no key: set {where}", sent=False)
        return Health(provider=account.name, ok=False, failure=failure)
    by_key = {target.key_scope: target for target in sorted(targets, key=_chats)}  # one that chats, if any does
    health = Health(provider=account.name, ok=False, failure=Failure(kind=FailureKind.NO_TARGET, message="no model"))
    for target in by_key.values():
        health = await _check(engine, target, path=account.probe.path)
        if health.ok:
            break
    return health


def _chats(target: Target) -> bool:
    return Task.CHAT in target.tasks


async def _check(engine: Engine, target: Target, *, path: str) -> Health:
    began = engine.clock()
    told, costs = await free(engine, target, path=path, timeout_s=CHECK_S), False
    if told is None and _chats(target):
        told, costs = await word(engine, target, timeout_s=CHECK_S), True
    failure = (told or Told()).failure
    seconds = engine.clock() - began
    return Health(provider=target.provider, ok=failure is None, free=not costs, seconds=seconds, failure=failure)
