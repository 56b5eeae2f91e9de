"""Facts and configurations as plain values for JSON, and a veil over every key before anything goes out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import msgspec

from unbroken.chronicle import Elsewhere, Entry
from unbroken.config import Config
from unbroken.facts import TargetForced
from unbroken.failures import Failure
from unbroken.records import Record
from unbroken.status import encoded, key_source, pruned, secrets_of
from unbroken.types import Json, Target

__all__ = ["Veil", "configured", "event_of", "kind_of"]

Object = dict[str, Json]

HIDDEN = b"[key]"
DIGITS = 4
"""Of seconds: a tenth of a millisecond."""
_EMPTY: tuple[Any, ...] = (None, "", (), False)
_TIMES = frozenset(("at", "until"))
"""Fields that hold a moment on the engine's clock."""


class Veil:
    """Hides every key of a configuration in whatever is about to be sent."""

    def __init__(self, config: Config) -> None:
        longest_first = sorted(secrets_of(config), key=len, reverse=True)
        self._keys = [msgspec.json.encode(key)[1:-1] for key in longest_first]

    def __call__(self, data: bytes) -> bytes:
        """JSON without them."""
        for key in self._keys:
            if key in data:
                data = data.replace(key, HIDDEN)
        return data


# ----------------------------------------------------------------------------------- facts


def event_of(entry: Entry, epoch_s: float) -> Object:
    """A fact in few words: `kind`, `at` in seconds since 1970, and what is not empty of the rest."""
    if isinstance(entry, Elsewhere):
        return dict(entry.value)
    kind, names = _shape(_class_of(entry))
    told: Object = {"kind": kind}
    for name in names:
        value = getattr(entry, name)
        if name in _TIMES and value is not None:
            told[name] = round(value + epoch_s, 3)
        elif value not in _EMPTY or isinstance(entry, TargetForced):
            told[name] = _plain(value)
    return told


def kind_of(entry: Entry) -> str:
    """What a fact is called: `attempt_started`."""
    if isinstance(entry, Elsewhere):
        return str(entry.value["kind"])
    return _shape(_class_of(entry))[0]


def _class_of(entry: Any) -> Any:
    return type(entry)


@cache
def _shape(kind: type[Any]) -> tuple[str, tuple[str, ...]]:
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
    return name, kind.__struct_fields__


def _plain(value: Any) -> Json:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    known = _WORDS.get(type(value))
    if known is not None:
        return known(value)
    return (
        {name: _plain(getattr(value, name)) for name in value.__struct_fields__} if isinstance(value, Record) else value
    )


def _failed(failure: Failure) -> Object:
    told = {"kind": failure.kind.value, "message": failure.message}
    return told if failure.status is None else told | {"status": failure.status}


_WORDS: Mapping[type, Callable[[Any], Json]] = {
    Target: lambda target: target.name,
    Failure: _failed,
    float: lambda number: round(number, DIGITS),
}
"""What is told of a value, by its class; of records all fields, and others are told as they are."""


# ---------------------------------------------------------------------------- configuration


def configured(config: Config) -> Object:
    """What is configured, as it was understood: names, addresses, policies, where each key comes from, and no key."""
    server = config.server
    return {
        "source": config.source,
        "warnings": list(config.warnings),
        "server": {
            "host": server.host, "port": server.port, "keys": len(server.keys), "admin_keys": len(server.admin_keys),
            "body_limit_mb": server.body_limit_mb, "response_limit_mb": server.response_limit_mb,
            "cache_mb": server.cache_mb, "key_file": server.key_file or None,
            "issued_keys": sum(entry.revoked is None for entry in server.issued),
        },
        "targets": [_target(config, target) for target in config.targets],
        "routes": {
            name: _built(route) | {"targets": [target.name for target in route.targets]}
            for name, route in config.routes.items()
        },
        "aliases": dict(config.aliases),
        "defaults": _built(config.defaults),
        "budgets": [_built(budget) | {"asker": budget.asker[:12]} for budget in config.budgets],
    }  # fmt: skip


def _target(config: Config, target: Target) -> Object:
    """A target, with the source of its key in place of the key, and of its headers and options the names."""
    hidden: Mapping[str, Callable[[], Json]] = {
        "key": lambda: key_source(config, target),
        "headers": lambda: sorted(target.headers),
        "options": lambda: sorted(target.options),
    }
    told = {name: value for name, value in _built(target).items() if name not in hidden}
    said: Object = pruned({**told, **{name: show() for name, show in hidden.items()}})
    return said


def _built(value: Any) -> Object:
    """As plain values."""
    plain: Object = msgspec.json.decode(encoded(value))
    return plain
