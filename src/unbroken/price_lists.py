"""Other people's lists of models and prices, read into ours.

    LiteLLM     model_prices_and_context_window.json: dollars a token, one entry for each model
    models.dev  its api.json, or the files of its repository as one JSON: dollars a million tokens
    RubyLLM     its models.json
    ours        what `models.write_catalog` writes

A list is read whole or not at all: an entry that makes no sense is an error that names it.
What cannot be said in our terms (prices by the time of day, by the size of a picture) is
left out, so that such a model has no price rather than a wrong one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from functools import partial
from typing import Any, TypeVar

import msgspec

from unbroken.models import Catalog, CatalogError, Model, Source, read_catalog
from unbroken.price import Price, Rates, Variant

__all__ = ["changed_rates", "merged", "read_list"]

Json = Any
Listed = dict[str, dict[str, Model]]
"""Provider -> name there -> model."""
Figures = dict[str, Any]
"""Rates by the names of our fields."""
AnyRates = TypeVar("AnyRates", bound=Rates)

_PROBLEMS_MAX = 5
"""So many are named; a list that is wrong everywhere is a wrong list."""
_RATES = tuple(of.name for of in fields(Rates))

# ------------------------------------------------------------------------ providers

_PROVIDERS: Mapping[str, str] = {
    # LiteLLM's names
    "azure_ai": "azure", "azure_text": "azure", "bedrock_converse": "bedrock", "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere", "codestral": "mistral", "featherless_ai": "featherless", "fireworks_ai": "fireworks",
    "fireworks_ai-embedding-models": "fireworks", "nvidia_nim": "nvidia", "text-completion-codestral": "mistral",
    "text-completion-openai": "openai", "together_ai": "together",
    # models.dev's
    "amazon-bedrock": "bedrock", "azure-cognitive-services": "azure", "fireworks-ai": "fireworks",
    "github-models": "github", "google": "gemini", "google-vertex": "vertex", "google-vertex-anthropic": "vertex",
    "moonshotai": "moonshot", "novita-ai": "novita", "togetherai": "together",
    # RubyLLM's
    "vertexai": "vertex",
}  # fmt: skip
"""Their names for providers that we call otherwise."""

_SECOND = frozenset({"azure_ai", "azure-cognitive-services", "bedrock_mantle", "azure_text"})
"""Another way to the same provider's models: its prices count where the first has none."""


def _provider(name: str) -> str:
    if name.startswith("vertex_ai"):
        return "vertex"
    return _PROVIDERS.get(name, name.replace("_", "-"))


# -------------------------------------------------------------------------- reading


def read_list(data: bytes, *, file: str, date: str) -> Catalog:
    """A list in any of these forms; CatalogError says what is wrong with it."""
    try:
        document = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CatalogError(f"{file}: not JSON: {error}") from None
    if isinstance(document, dict) and "unbroken" in document:
        return _checked(read_catalog(data, file=file), file=file)
    name, read = _reader(document, file)
    listed: Listed = {}
    problems: list[str] = []
    for provider, model, entry in _entries(read(document), problems):
        _lay_under(listed.setdefault(provider, {}), model, entry=replace(entry, source=name))
    if problems:
        more = f" (and {len(problems) - _PROBLEMS_MAX} more)" if len(problems) > _PROBLEMS_MAX else ""
        raise CatalogError(f"{file}: " + "; ".join(problems[:_PROBLEMS_MAX]) + more)
    catalog = Catalog(date=date, sources={name: Source(name=_WORDS[name], date=date)}, providers=listed)
    return _checked(catalog, file=file)


Entry = tuple[str, str, Callable[[], Model]]
"""A provider, a model's name there, and how to read it, which raises ValueError."""


def _entries(found: Iterator[Entry], problems: list[str]) -> Iterator[tuple[str, str, Model]]:
    """What can be read; what cannot is put among the problems."""
    where = "the list"
    while True:
        try:
            provider, name, read = next(found)
            where = f"{provider}/{name}"
            if not (isinstance(provider, str) and isinstance(name, str) and provider and name):
                raise ValueError("a name that is no text")
            model = read()
        except StopIteration:
            return
        except _ODD as error:
            problems.append(f"{where}: {error} is missing" if isinstance(error, KeyError) else f"{where}: {error}")
            continue
        yield provider, name, model


_ODD = (ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError)
"""What comes of reading a list that is not in the form that it seemed to be in."""


def _reader(document: Json, file: str) -> tuple[str, Callable[[Json], Iterator[Entry]]]:
    if isinstance(document, list) and document and isinstance(document[0], dict) and "provider" in document[0]:
        return "ruby_llm", _ruby_llm
    if isinstance(document, dict):
        values = [value for value in document.values() if isinstance(value, dict)]
        if any("litellm_provider" in value for value in values):
            return "litellm", _litellm
        if "providers" in document or any(isinstance(value.get("models"), dict) for value in values):
            return "models.dev", _models_dev
    raise CatalogError(f"{file}: none of the lists that are known: LiteLLM's, models.dev's, RubyLLM's, or our own")


_WORDS = {
    "litellm": "LiteLLM, model_prices_and_context_window.json",
    "models.dev": "models.dev",
    "ruby_llm": "RubyLLM, models.json",
}


def _checked(catalog: Catalog, *, file: str) -> Catalog:
    if catalog.unbroken != 1:
        raise CatalogError(f"{file}: version {catalog.unbroken} of the form, and this program knows version 1")
    if not any(catalog.providers.values()):
        raise CatalogError(f"{file}: there is no model in it")
    for provider, models in catalog.providers.items():
        for name, model in models.items():
            if wrong := next((of for rates in _all(model.price) for of in _RATES if (getattr(rates, of) or 0) < 0), ""):
                raise CatalogError(f"{file}: {provider}/{name}: {wrong} is negative")
    return catalog


def _all(price: Price) -> tuple[Rates, ...]:
    return (price, *price.variants)


def _lay_under(models: dict[str, Model], name: str, *, entry: Model) -> None:
    """Beside what another entry of the same list says of this model, which comes first."""
    models[name] = _over(models[name], entry) if name in models else entry


# -------------------------------------------------------------------------- LiteLLM

_TASKS = {
    "chat": "chat", "responses": "chat", "completion": "chat", "embedding": "embedding",
    "image_generation": "image", "image_edit": "image", "video_generation": "video",
    "audio_speech": "speech", "audio_transcription": "transcription",
}  # fmt: skip
"""Its modes that are work of ours; entries of the others are passed over."""

_TOKEN_RATES = {
    "input_cost_per_token": "input_usd",
    "output_cost_per_token": "output_usd",
    "cache_read_input_token_cost": "cached_usd",
    "cache_creation_input_token_cost": "cache_write_usd",
    "output_cost_per_reasoning_token": "reasoning_usd",
    "input_cost_per_audio_token": "input_audio_usd",
    "output_cost_per_audio_token": "output_audio_usd",
}
_RATE_KEY = re.compile(rf"({'|'.join(_TOKEN_RATES)})(?:_above_(\d+)k_tokens)?(?:_(batches|flex|priority|ultrafast))?")
_SERVICES = {"batches": "batch"}
_CAN = {
    "supports_function_calling": "tools", "supports_vision": "vision", "supports_response_schema": "schema",
    "supports_reasoning": "reasoning", "supports_audio_input": "audio",
}  # fmt: skip
_SIZED = re.compile(r"(^|/)(\d+|max)-x-(\d+|max)/|commitment|^(low|medium|high|standard|hd|auto)/|\*")
"""Entries for one size or quality of picture, or for rented capacity."""


def _litellm(document: Json) -> Iterator[Entry]:
    entries = [(key, value) for key, value in document.items() if isinstance(value, dict) and key != "sample_spec"]
    for key, value in sorted(entries, key=lambda entry: str(entry[1].get("litellm_provider")) in _SECOND):
        theirs = str(value.get("litellm_provider", ""))
        name = _litellm_name(key, theirs)
        if str(value.get("mode")) in _TASKS and theirs and not _SIZED.search(name):
            yield _provider(theirs), name, partial(_litellm_model, value)


def _litellm_name(key: str, provider: str) -> str:
    """Without the provider's name before it."""
    before, _, rest = key.partition("/")
    ours = {provider, _provider(provider), "bedrock" if provider.startswith("bedrock") else "", "openai"}
    if provider.startswith("vertex_ai"):
        ours.add("vertex_ai")
    return rest if rest and (before in ours if before != "openai" else provider == "openai") else key


def _litellm_model(value: Mapping[str, Json]) -> Model:
    task = _TASKS[value["mode"]]
    can = {ability for key, ability in _CAN.items() if value.get(key) is True}
    return Model(
        context_tokens=_count(value, "max_input_tokens"),
        output_tokens=_count(value, "max_output_tokens"),
        task=task,
        can=frozenset(can),
        price=_litellm_price(value, task),
    )


def _litellm_price(value: Mapping[str, Json], task: str) -> Price:
    usual, variants = _litellm_tokens(value)
    price = Price(**usual)
    if "input_cost_per_token_cache_hit" in value and price.cached_usd is None:
        price = replace(price, cached_usd=_million(value, "input_cost_per_token_cache_hit"))
    price = replace(price, **_litellm_units(value, task, tokens=bool(price.input_usd or price.output_usd)))
    if task == "image":
        price = _of_picture(price, value)
    if not any(getattr(rates, name) for rates in (price, *variants) for name in _RATES):
        return Price()  # nothing but zeros is what it says of a model whose price is not known
    return replace(_honest(price), variants=tuple(_honest(variant) for variant in variants))


def _litellm_tokens(value: Mapping[str, Json]) -> tuple[Figures, tuple[Variant, ...]]:
    """The usual rates, and those beyond a length of input or in a class of service."""
    rates: dict[tuple[str, int], Figures] = {("", 0): {}}
    for key in value:
        if match := _RATE_KEY.fullmatch(key):
            service = _SERVICES.get(match[3] or "", match[3] or "")
            rates.setdefault((service, int(match[2] or 0) * 1000), {})[_TOKEN_RATES[match[1]]] = _million(value, key)
    for tier in value.get("tiered_pricing") or ():
        above = int(tier["range"][0]) if "range" in tier else 0
        found = {ours: _million(tier, theirs) for theirs, ours in _TOKEN_RATES.items() if theirs in tier}
        rates[("", above)] = {**found, **rates.get(("", above), {})}
    usual = rates.pop(("", 0))
    return usual, tuple(
        Variant(service=service, above_tokens=above, **found) for (service, above), found in sorted(rates.items())
    )


def _litellm_units(value: Mapping[str, Json], task: str, *, tokens: bool) -> Figures:
    """What is charged by something else than tokens; where both are listed, tokens are what is billed."""
    units: Figures = {}
    if "input_cost_per_request" in value:
        units["request_usd"] = _figure(value, "input_cost_per_request")
    elif value.get("litellm_provider") == "perplexity" and "search_context_cost_per_query" in value:
        # Each of its answers searches; the smallest search is what it does unless asked for more.
        units["request_usd"] = _figure(value["search_context_cost_per_query"], "search_context_size_low")
    seconds = {"video": ("output_cost_per_second", "output_cost_per_video_per_second"),
               "transcription": ("input_cost_per_second",), "speech": ("output_cost_per_second",)}  # fmt: skip
    found = next((key for key in seconds.get(task, ()) if key in value), None)
    if found and not tokens:
        units["second_usd"] = _figure(value, found)
    if task == "speech" and "input_cost_per_character" in value:
        units["character_usd"] = _million(value, "input_cost_per_character")
    return units


def _of_picture(price: Price, value: Mapping[str, Json]) -> Price:
    """A picture is charged by the tokens it takes or by the piece; other figures are restatements of these."""
    if "output_cost_per_image_token" in value:
        return replace(price, output_usd=_million(value, "output_cost_per_image_token"))
    for key in ("output_cost_per_image", "input_cost_per_image"):
        if value.get(key):
            return Price(image_usd=_figure(value, key))
    return Price()


def _honest(rates: AnyRates) -> AnyRates:
    """A cache that costs nothing beside input that does is one whose price is not known."""
    return replace(rates, cached_usd=None) if rates.cached_usd == 0.0 and rates.input_usd else rates


# ----------------------------------------------------------------------- models.dev

_COSTS = {
    "input": "input_usd", "output": "output_usd", "cache_read": "cached_usd", "cache_write": "cache_write_usd",
    "reasoning": "reasoning_usd", "input_audio": "input_audio_usd", "output_audio": "output_audio_usd",
}  # fmt: skip
_FLAGS = {"tool_call": "tools", "structured_output": "schema", "reasoning": "reasoning"}
_PLAN = re.compile(r"-plan\b")
"""Offers by subscription, whose prices of 0 are not what a token costs."""


def _models_dev(document: Json) -> Iterator[Entry]:
    bases = document.get("models", {}) if "providers" in document else {}
    providers = document.get("providers", document)
    for theirs, about in sorted(providers.items(), key=lambda item: item[0] in _SECOND):
        if _PLAN.search(theirs):
            continue
        for name, value in about.get("models", {}).items():
            base = bases.get(value.get("base_model") or value.get("__link__"), {})
            yield _provider(theirs), name, partial(_models_dev_model, {**base, **value})


def _models_dev_model(value: Mapping[str, Json]) -> Model:
    limit = value.get("limit") or {}
    heard = (value.get("modalities") or {}).get("input")
    can = {ability for key, ability in _FLAGS.items() if value.get(key) is True} | _hearing(heard)
    return Model(
        context_tokens=_count(limit, "input") or _count(limit, "context"),
        output_tokens=_count(limit, "output"),
        can=frozenset(can),
        cannot=frozenset({"vision"} if heard == ["text"] else ()),
        price=_models_dev_price(value.get("cost") or {}),
    )


def _models_dev_price(cost: Mapping[str, Json]) -> Price:
    variants = [(tier["tier"]["size"], tier) for tier in cost.get("tiers", ())]
    if "context_over_200k" in cost:
        variants.append((200_000, cost["context_over_200k"]))
    return replace(
        _honest(Price(**_listed(cost, _COSTS))),
        variants=tuple(_honest(Variant(above_tokens=int(above), **_listed(tier, _COSTS))) for above, tier in variants),
    )


# -------------------------------------------------------------------------- RubyLLM

_RUBY_CAN = {"function_calling": "tools", "structured_output": "schema", "vision": "vision", "reasoning": "reasoning"}
_RUBY_COSTS = {
    "input_per_million": "input_usd", "output_per_million": "output_usd",
    "cache_read_input_per_million": "cached_usd", "cache_write_input_per_million": "cache_write_usd",
}  # fmt: skip


def _ruby_llm(document: Json) -> Iterator[Entry]:
    for value in document:
        yield _provider(value["provider"]), value["id"], partial(_ruby_llm_model, value)


def _ruby_llm_model(value: Mapping[str, Json]) -> Model:
    heard = (value.get("modalities") or {}).get("input")
    can = {ours for theirs, ours in _RUBY_CAN.items() if theirs in (value.get("capabilities") or ())}
    usual = ((value.get("pricing") or {}).get("text_tokens") or {}).get("standard") or {}
    return Model(
        context_tokens=_count(value, "context_window"),
        output_tokens=_count(value, "max_output_tokens"),
        can=frozenset(can | _hearing(heard)),
        price=_honest(Price(**_listed(usual, _RUBY_COSTS))),
    )


# -------------------------------------------------------------------------- figures


def _listed(values: Mapping[str, Json], names: Mapping[str, str]) -> Figures:
    return {ours: _figure(values, theirs) for theirs, ours in names.items() if values.get(theirs) is not None}


def _figure(values: Mapping[str, Json], key: str) -> float:
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{key} is {value!r}, not a number")  # noqa: TRY004 - see `_entries`
    if value < 0:
        raise ValueError(f"{key} is negative")
    if not math.isfinite(value):
        raise ValueError(f"{key} is too large")
    return float(value)


def _million(values: Mapping[str, Json], key: str) -> float:
    """Dollars for a million of what is listed by the piece, without the noise of the multiplication."""
    return float(f"{_figure(values, key) * 1e6:.10g}")


def _hearing(kinds: Json) -> set[str]:
    """The abilities of a model that takes in these kinds of things."""
    return {ability for kind, ability in (("image", "vision"), ("audio", "audio")) if kind in (kinds or ())}


def _count(values: Mapping[str, Json], key: str) -> int | None:
    """A positive whole number; None where there is none, or 0, which stands for not known."""
    value = values.get(key)
    if isinstance(value, str) or value is None:
        return None
    return int(_figure(values, key)) or None


# -------------------------------------------------------------------------- merging


def merged(old: Catalog, new: Catalog) -> Catalog:
    """A newer list over what is there.

    What both say of a model is as the newer says, what only one says stays; a model whose
    price was from the same source and is not there any more is gone.
    """
    names = set(new.sources)
    providers: Listed = {}
    for provider in {*old.providers, *new.providers}:
        before, after = old.providers.get(provider, {}), new.providers.get(provider, {})
        kept = {name: model for name, model in before.items() if name in after or model.source not in names}
        models = kept | {name: _over(model, before.get(name)) for name, model in after.items()}
        if models:
            providers[provider] = models
    return Catalog(
        date=max(old.date, new.date), sources={**old.sources, **new.sources}, providers=providers,
    )  # fmt: skip


def _over(new: Model, old: Model | None) -> Model:
    if old is None:
        return new
    can = new.can | old.can
    return Model(
        context_tokens=new.context_tokens or old.context_tokens,
        output_tokens=new.output_tokens or old.output_tokens,
        task=new.task or old.task,
        can=can,
        cannot=(new.cannot | old.cannot) - can,
        price=_price_over(new.price, old.price),
        source=new.source if new.price.known else old.source,
    )


def _price_over(new: Price, old: Price) -> Price:
    """The newer price; where it agrees with the older, with what only that one says (rates for batches...)."""
    given = [name for name in _RATES if getattr(new, name) is not None]
    if not all(getattr(new, name) == getattr(old, name) for name in given):
        return new
    both = {name: getattr(new, name) if name in given else getattr(old, name) for name in _RATES}
    return Price(**both, variants=new.variants or old.variants, included=new.included or old.included)


def changed_rates(old: Catalog, new: Catalog) -> list[tuple[str, str, float, float]]:
    """Model, rate, before and after, for each rate of a model that both know; the largest changes first."""
    found = [
        (f"{provider}/{name}", rate, before, after)
        for provider, models in new.providers.items()
        for name, model in models.items()
        if (was := old.providers.get(provider, {}).get(name)) is not None
        for rate in _RATES
        if (before := getattr(was.price, rate)) and (after := getattr(model.price, rate)) and before != after
    ]
    return sorted(found, key=lambda change: (-max(change[2] / change[3], change[3] / change[2]), change[:2]))
