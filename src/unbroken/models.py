"""What is known of models: context lengths, abilities and prices, as data with a date and a source.

`models.json.gz` beside this file holds them by provider; an operator's newer file (`unbroken
catalog update`) stands in its place.  Nothing is read before somebody asks for a model, and
then only that provider's part is decoded, since a gateway starts in less than a second.

    known = load(environ)
    known.find("openai", "gpt-5.4-2026-03-05")    # a Model, or None
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from unbroken.model_names import PARTNERS, Spelling, candidates, own_name, sameness
from unbroken.price import UNPRICED, Price

__all__ = [
    "Catalog",
    "CatalogError",
    "Model",
    "Models",
    "Source",
    "load",
    "place",
    "read_catalog",
    "unpacked",
    "write_catalog",
]

Kind = TypeVar("Kind")
Record = Any
"""One of the records of this file, or a Price or its parts."""

BYTES_MAX = 64_000_000
"""Unpacked, and ten times what is shipped: more is no list of models."""
FILE_NAME = "models.json.gz"


class CatalogError(ValueError):
    """A file cannot be used as a catalogue; the message says which, and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where entries come from: in words, and when it was true (ISO 8601)."""

    name: str
    date: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is known of one model at one provider.

    `can` and `cannot` hold what a source says outright; what is in neither is not known.
    `task` is what it was made for, `source` the name of the source its price is from.
    """

    context_tokens: int | None = None
    output_tokens: int | None = None
    task: str = ""
    can: frozenset[str] = frozenset()
    cannot: frozenset[str] = frozenset()
    price: Price = UNPRICED
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalog:
    """The form of the file: models by provider and name, and the sources they are from.

    `unbroken` is the version of the form; `date` that of the newest source.
    """

    unbroken: int = 1
    date: str
    sources: Mapping[str, Source] = field(default_factory=dict)
    providers: Mapping[str, Mapping[str, Model]] = field(default_factory=dict)


class _Outline(msgspec.Struct):
    """The same with the models left undecoded."""

    unbroken: int
    date: str
    sources: dict[str, Source]
    providers: dict[str, msgspec.Raw]


class Models:
    """A catalogue that is decoded as far as it is asked for.

    `file` is where it is from, empty for the one that came with this version; `data` its bytes, unpacked.
    """

    def __init__(self, data: bytes, *, file: str) -> None:
        """Raises CatalogError where this is no catalogue."""
        self.file, self.data = file, data
        self._outline = _decoded(data, _Outline, file=file)
        self._spellings: dict[str, Spelling] = {}
        self._models: dict[str, Mapping[str, Model]] = {}

    @property
    def date(self) -> str:
        return self._outline.date

    @property
    def sources(self) -> Mapping[str, Source]:
        return self._outline.sources

    @property
    def providers(self) -> tuple[str, ...]:
        return tuple(self._outline.providers)

    def of(self, provider: str) -> Mapping[str, Model]:
        """All models of a provider by their names there; none where it is not listed."""
        raw = self._outline.providers.get(provider)
        if raw is None:  # and it is not kept that there is none: callers choose names
            return {}
        if provider not in self._models:
            self._models[provider] = _decoded(raw, dict[str, Model], file=self.file)
        return self._models[provider]

    def find(self, provider: str, name: str, *, region: str = "") -> Model | None:
        """A model by any of the names that it goes by there, see `model_names`; None where it is not listed."""
        base, mark, suffix = name.rpartition(":")
        if provider == "huggingface" and mark:
            # The router adds nothing to the price of the partner that it is told to use.
            partner = PARTNERS.get(suffix, suffix)
            return self._named(partner, base) or self._named(provider, base)
        found = self._named(provider, f"{region}/{name}") if region else None
        found = found or self._named(provider, name)
        if found is None and mark and suffix == "free" and (paid := self._named(provider, base)):
            return Model(
                context_tokens=paid.context_tokens, output_tokens=paid.output_tokens, task=paid.task,
                can=paid.can, cannot=paid.cannot, price=Price(input_usd=0.0, output_usd=0.0), source=paid.source,
            )  # fmt: skip
        return found or (self._named(provider, base) if mark else None)

    def hosted(self, provider: str, name: str) -> str | None:
        """What the open model of this name (at any host) is called at this provider; None where it is not there."""
        wanted = sameness(name)
        return own_name(provider, (listed for listed in self.of(provider) if sameness(listed) == wanted))

    def like(self, provider: str, name: str) -> Model | None:
        """The model that an operator means: by its name at this provider, or as `provider/model`."""
        other, _, rest = name.partition("/")
        return self.find(provider, name) or (self.find(other, rest) if rest else None)

    def _named(self, provider: str, name: str) -> Model | None:
        models = self.of(provider)
        if not models:
            return None
        if provider not in self._spellings:
            self._spellings[provider] = Spelling(models)
        spelling = self._spellings[provider]
        found = next((key for wanted in candidates(provider, name) if (key := spelling.key(wanted))), None)
        return models[found] if found else None


def place(environ: Mapping[str, str]) -> Path | None:
    """Where an operator's own catalogue is kept; None where there is no home to keep it in."""
    data = environ.get("XDG_DATA_HOME") or ""
    home = environ.get("HOME") or environ.get("USERPROFILE") or ""
    if not data and not home:
        return None
    return (Path(data) if data else Path(home) / ".local" / "share") / "unbroken" / FILE_NAME


def load(environ: Mapping[str, str]) -> tuple[Models, str | None]:
    """The catalogue to use, and what is wrong with the operator's where it cannot be.

    That is the file that UNBROKEN_CATALOG names (CatalogError where it cannot be used), else
    the operator's own if it is at least as new as the one that came with this version.
    """
    if named := environ.get("UNBROKEN_CATALOG", "").strip():
        return _whole(Path(named)), None
    own = place(environ)
    if own is None or not own.is_file():
        return _shipped(), None
    try:
        mine = _whole(own)
    except CatalogError as error:
        return _shipped(), str(error)
    return (mine if mine.date >= _shipped().date else _shipped()), None


@cache
def _shipped() -> Models:
    data = files("unbroken").joinpath(FILE_NAME).read_bytes()
    return Models(unpacked(data, file=FILE_NAME), file="")


def _whole(path: Path) -> Models:
    """One that was not made here is read to its end at once, so that no request finds out what is wrong with it."""
    data = _bytes_of(path)
    read_catalog(data, file=str(path))
    return Models(data, file=str(path))


def _bytes_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return unpacked(file.read(BYTES_MAX + 1), file=str(path))
    except OSError as error:
        raise CatalogError(f"{path}: cannot be read: {error.strerror}") from None


def unpacked(data: bytes, *, file: str) -> bytes:
    """The bytes, decompressed where they are gzip; CatalogError where they are too many."""
    if data[:2] == b"\x1f\x8b":
        unpacker = zlib.decompressobj(wbits=31)
        try:
            data = unpacker.decompress(data, BYTES_MAX + 1)
        except zlib.error as error:
            raise CatalogError(f"{file}: not a whole gzip file: {error}") from None
        if not unpacker.eof and len(data) <= BYTES_MAX:
            raise CatalogError(f"{file}: not a whole gzip file: it ends too early")
    if len(data) > BYTES_MAX:
        raise CatalogError(f"{file}: larger than {BYTES_MAX // 1_000_000} MB, so hardly a list of models")
    return data


def read_catalog(data: bytes, *, file: str) -> Catalog:
    """The whole of a catalogue, decoded and checked; CatalogError says what is wrong and where."""
    return _decoded(data, Catalog, file=file)


def write_catalog(catalog: Catalog) -> bytes:
    """A catalogue as a file, compressed; the same catalogue gives the same bytes."""
    return gzip.compress(msgspec.json.encode(_plain(catalog)), 9, mtime=0)


def _plain(catalog: Catalog) -> dict[str, object]:
    """With everything left out that is as it would be anyway."""
    return {
        "unbroken": catalog.unbroken,
        "date": catalog.date,
        "sources": catalog.sources,
        "providers": {
            provider: {name: _given(model) for name, model in sorted(models.items())}
            for provider, models in sorted(catalog.providers.items())
        },
    }


def _given(record: Record) -> dict[str, object]:
    """The fields that are not as they would be anyway."""
    said = [(of.name, getattr(record, of.name)) for of in fields(record) if getattr(record, of.name) != of.default]
    return {name: _plain_value(value) for name, value in said}


def _plain_value(value: Any) -> object:
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, tuple):
        return [_given(one) for one in value]
    return _given(value) if is_dataclass(value) else value


def _decoded(data: bytes | msgspec.Raw, kind: type[Kind], *, file: str) -> Kind:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{file}: {error}") from None
