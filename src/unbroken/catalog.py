"""The providers known by name, as rows of data: `catalog.toml` read into frozen records.

A row is a default and never a reason for a release: everything in it can be said
otherwise in a configuration, and each says where it comes from and when it was true.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date as Date  # noqa: N812 - the row has a field called date
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from types import MappingProxyType
from typing import Any

from unbroken.price import Price

__all__ = ["Provider", "nearest", "nearest_provider", "providers", "thinks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """What is known of one provider; the comment at the head of `catalog.toml` explains the fields.

    `key_needed` is False where a server answers without one.  `listed_as` is the name under
    which `models` knows what is there: the row's own unless it says another, empty for a
    server of one's own.
    """

    name: str
    format: str = "openai_chat"
    base_url: str
    key_env: tuple[str, ...] = ()
    key_needed: bool = True
    base_url_env: str = ""
    base_path: str = ""
    header_env: Mapping[str, str] = field(default_factory=dict)
    prefix: str = "none"
    capabilities: frozenset[str] = frozenset()
    model: str = ""
    model_capabilities: frozenset[str] = frozenset()
    auth: str = ""
    credential: str = ""
    options: Mapping[str, str] = field(default_factory=dict)
    option_env: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    may_drop: frozenset[str] = frozenset()
    listed_as: str = ""
    price: Price | None = None
    probe: str = ""
    also: tuple[str, ...] = ()
    source: str = ""
    date: Date | None = None

    @property
    def local(self) -> bool:
        """Whether this is a server of one's own, which may have to load its model first."""
        return "local" in self.capabilities


def _text() -> str:
    return files("unbroken").joinpath("catalog.toml").read_text(encoding="utf-8")


@cache
def _document() -> Mapping[str, Any]:
    return tomllib.loads(_text())


@cache
def providers() -> Mapping[str, Provider]:
    """Every row by its name, in the order of preference."""
    rows = ((name, values) for name, values in _document().items() if isinstance(values, dict))
    return MappingProxyType({name: _row(name, dict(values)) for name, values in rows})


@lru_cache(maxsize=4096)
def thinks(model: str) -> bool:
    """Whether a model of this name is known to think for long before its first word."""
    name = model.rpartition("/")[2].partition(":")[0].lower()
    return any(fnmatchcase(name, glob) for glob in _document()["thinks"]) and not any(
        fnmatchcase(name, glob) for glob in _document()["thinks_not"]
    )


def _row(name: str, values: dict[str, Any]) -> Provider:
    values["key_needed"] = values.pop("key", "needed") != "optional"
    for of in fields(Provider):
        if isinstance(values.get(of.name), list):
            values[of.name] = (frozenset if str(of.type).startswith("frozenset") else tuple)(values[of.name])
    values["option_env"] = {option: tuple(names) for option, names in values.get("option_env", {}).items()}
    values["price"] = Price(**values["price"]) if "price" in values else None
    values.setdefault("listed_as", "" if "local" in values.get("capabilities", ()) else name)
    return Provider(name=name, **values)


def nearest(name: str, known: Iterable[str], *, least: float = 0.6) -> str | None:
    """The known name that somebody who wrote this probably meant; None where none is at least so like it (0 to 1)."""
    found = difflib.get_close_matches(name.lower(), list(known), n=1, cutoff=least)
    return found[0] if found else None


def nearest_provider(name: str, configured: Iterable[str] = ()) -> str | None:
    """As `nearest`, among the providers of a configuration, the rows, and what people call them."""
    names = {other: row.name for row in providers().values() for other in (row.name, *row.also)}
    names.update((known, known) for known in configured)
    found = nearest(name, names)
    return None if found is None else names[found]
