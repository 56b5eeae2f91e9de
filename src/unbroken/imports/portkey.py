"""A config object of Portkey's gateway as a configuration of ours.

    draft, report = portkey(text, file="config.json", model="gpt-5.4", whose={"prod-key": "openai"})

There a config is attached to a request; here a request is answered by the route that its
model names.  So what the config does becomes the route `auto`, each condition on the
model's name a route of that name, and each other target that has a name a route too.
What Portkey does was read in its documentation and in its gateway's source.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from unbroken.catalog import nearest, providers
from unbroken.config_file import ConfigError, Problem
from unbroken.imports.draft import (
    Draft,
    Entry,
    Place,
    Spread,
    address_problem,
    attempts,
    host_words,
    literal,
    route,
    slug,
    variable,
)
from unbroken.imports.portkey_words import HINTS, KEYS, LOST, OPTIONS, PROVIDERS
from unbroken.imports.report import Report
from unbroken.imports.secrets import Secrets
from unbroken.imports.source import Item, problem_at, read_json

__all__ = ["MAIN", "portkey"]

MAIN = "auto"
"""The route that the config as a whole becomes: what a caller gets who names no model of his own."""
DEPTH_MAX = 8
"""Strategies within strategies."""
CACHES = frozenset({"simple", "semantic"})
KEPT_S = 604_800.0
"""How long Portkey keeps an answer unless that is said: a week."""
LOCAL_SIMILARITY = 0.97
"""The local model weighs words more than sentences, so questions have to be nearer than Portkey wants them."""

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SHORT = "the caller's model is passed on there; here a target has one"


@dataclass(frozen=True, slots=True)
class _Around:
    """What a target inherits from the strategies that it is in."""

    timeout_s: float | None = None
    retries: int | None = None
    depth: int = 0


def portkey(text: str, *, file: str, model: str = "", whose: Mapping[str, str] | None = None) -> tuple[Draft, Report]:
    """Translate; `model` is for targets that name none, `whose` says which provider a stored key belongs to.

    ConfigError names every target whose provider or model cannot be told.
    """
    root = _plain_names(read_json(text, file=file))
    if not KEYS & root.fields.keys():
        message = "neither `strategy` nor `provider` here: is this a config of Portkey's?"
        raise ConfigError([Problem(file=file, line=root.line, key="", message=message)])
    report = Report(file)
    translation = _Translation(report, model=model, whose=whose or {})
    translation.run(root)
    report.cover(root, LOST)
    return translation.draft, report


def _plain_names(item: Item) -> Item:
    """Portkey takes `virtualKey` for `virtual_key`; from here on there is one spelling."""
    if isinstance(item.value, list):
        return replace(item, value=[_plain_names(part) for part in item.value])
    if not isinstance(item.value, dict):
        return item
    parts = {_CAMEL.sub("_", name).lower(): _plain_names(part) for name, part in item.fields.items()}
    return replace(item, value={name: replace(part, name=name) for name, part in parts.items()})


class _Translation:
    """Fills a draft."""

    def __init__(self, report: Report, *, model: str, whose: Mapping[str, str]) -> None:
        self.report = report
        self.draft = Draft()
        self.secrets = Secrets(report)
        self.problems: list[Problem] = []
        self._model = model
        self._whose = whose
        self._also: dict[str, str] = {}

    def run(self, root: Item) -> None:
        policy = self._policy(root)
        routes = {name: spread for name, spread in self._named(root) if name != MAIN}
        routes[MAIN] = self._spread(root, _Around())
        if self.problems:
            raise ConfigError(self.problems)
        self.draft.defaults |= policy
        shown = {name: self._add_route(name, spread) for name, spread in routes.items()}
        self.draft.aliases |= {name: shown[meant] for name, meant in self._also.items() if name not in shown}
        self.report.default(f"callers ask for the model `{MAIN}`, or for another route by its name")
        self.report.default("listens on 127.0.0.1:4100; callers need no header but their key")

    def _add_route(self, name: str, spread: Spread) -> str:
        """Make the route, and say what it is called."""
        merged, twice = spread.merged()
        for target in twice:
            self.report.default(f"{target} is in the route `{name}` more than once: here it is once, with all shares")
        tries = 1 + int(self.draft.defaults.get("retries", {}).get("same_target_max", 1))
        section = route(merged, policy=attempts(tries * len(merged.entries)))
        shown = self.draft.called(name, section)
        self.draft.routes[shown] = section
        if shown != name:
            self.draft.aliases[name] = shown
        return shown

    # ------------------------------------------------------------ strategies

    def _spread(self, item: Item, around: _Around) -> Spread:
        """Who is asked first and who after them, whatever the strategies within strategies."""
        if around.depth > DEPTH_MAX:
            self.problems.append(problem_at(item, f"more than {DEPTH_MAX} strategies within each other"))
            return Spread([])
        around = self._around(item, around)
        targets = item.get("targets", "options")
        if targets is None or not targets.parts:
            return self._leaf(item, around)
        mode = _mode(item)
        children = targets.parts
        if mode == "loadbalance":
            return self._shared(children, around)
        if mode == "conditional":
            return self._spread(self._default(item, children), around)
        if mode not in {"fallback", "single", ""}:
            self.problems.append(
                problem_at((item.get("strategy") or item).get("mode") or item, "no such mode of a strategy")
            )
        self._note_mode(item, "targets in this order" if mode == "fallback" else "the first target")
        spreads = [self._spread(child, around) for child in (children if mode == "fallback" else children[:1])]
        return spreads[0].then(spreads[1:])

    def _shared(self, children: list[Item], around: _Around) -> Spread:
        """By weight; a target that is a strategy shares its weight out, and its further targets stand behind all."""
        first: list[tuple[Entry, float]] = []
        rest: list[Entry] = []
        for child in children:
            weight = child.get("weight")
            share = 1.0 if weight is None or weight.number is None else max(0.0, weight.number)
            if weight is not None:
                self.report.kept(weight, "its weight")
            spread = self._spread(child, around)
            whole = sum(part for _, part in spread.first) or 1.0
            first += [(entry, share * part / whole) for entry, part in spread.first]
            rest += spread.rest
            if spread.rest:
                self.report.default("its further targets stand behind all that share the traffic", child)
        return Spread(first, rest)

    def _default(self, item: Item, children: list[Item]) -> Item:
        """The target of a condition that nothing fulfils."""
        strategy = item.get("strategy") or item
        self._note_mode(item, "its default; conditions on the model's name are routes")
        wanted = strategy.get("default")
        found = next((c for c in children if wanted is not None and _name(c) == wanted.text), None)
        if wanted is not None:
            note = self.report.kept if found is not None else self.report.lost
            note(wanted, "where no condition holds" if found is not None else "there is no target of this name")
        return found or children[0]

    def _named(self, root: Item) -> Iterator[tuple[str, Spread]]:
        """Routes besides the main one: what conditions on the model lead to, and every other target with a name."""
        if _mode(root) != "conditional" or (targets := root.get("targets", "options")) is None:
            return
        around = self._around(root, _Around())
        children = {_name(child): child for child in targets.parts if _name(child)}
        reached: dict[str, str] = {}
        conditions = (root.get("strategy") or root).get("conditions")
        for condition in conditions.parts if conditions else ():
            then = condition.get("then")
            for model in _models(condition.get("query")):
                if then is None or then.text not in children or model == MAIN:
                    continue
                first = reached.setdefault(then.text, model)
                if first == model:
                    self.report.kept(condition, f"the route `{model}`")
                    yield model, self._spread(children[then.text], around)
                else:
                    self._also.setdefault(model, first)
                    self.report.kept(condition, f"the route `{first}`, also by the alias `{model}`")
        for name, child in children.items():
            if (item := child.get("name")) is not None:
                self.report.kept(item, "led to by conditions" if name in reached else f"the route `{name}`")
            if name not in reached:
                yield name, self._spread(child, around)

    def _note_mode(self, item: Item, text: str) -> None:
        if (mode := (item.get("strategy") or item).get("mode")) is not None:
            self.report.kept(mode, text)

    # -------------------------------------------------------------- settings

    def _around(self, item: Item, outer: _Around) -> _Around:
        """What a level says for all that is in it; a nearer one wins."""
        inner = replace(outer, depth=outer.depth + 1)
        if (mode := _mode(item)) == "loadbalance":
            self._note_mode(item, "weighted; and when the chosen one fails, the others are asked")
        if mode and (breaker := (item.get("strategy") or item).get("cb_config")) is not None and outer.depth:
            self.report.lost(breaker, "breakers are set for a whole route")
        timeout = item.get("request_timeout")
        if timeout is not None and (timeout_ms := timeout.positive):
            self.report.kept(timeout, "deadlines.first_content_s, in seconds")
            inner = replace(inner, timeout_s=timeout_ms / 1000)
        if (retries := self._retries(item)) is not None and outer.depth:
            inner = replace(inner, retries=retries)
        return inner

    def _retries(self, item: Item) -> int | None:
        retry = item.get("retry")
        attempts = (retry.get("attempts", "count") if retry.fields else retry) if retry else None
        if retry is not None and (header := retry.get("use_retry_after_header")) is not None:
            self.report.kept(header, "always so, if it is soon")
        if attempts is None or attempts.number is None or attempts.number < 0:
            return None
        self.report.kept(attempts, "retries at the same target")
        return int(attempts.number)

    def _policy(self, root: Item) -> dict[str, Any]:
        """What holds for all routes."""
        policy: dict[str, Any] = {}
        if (retries := self._retries(root)) is not None:
            policy["retries"] = {"same_target_max": retries}
        breaker = (root.get("strategy") or root).get("cb_config")
        breaking = dict(self._breaking(breaker)) if breaker is not None and _mode(root) != "conditional" else {}
        policy |= {"breaking": breaking} if breaking else {}
        return policy | ({"cache": cache} if (cache := self._cache(root.get("cache"))) else {})

    def _cache(self, item: Item | None) -> dict[str, Any]:
        """What is kept of answers: the same questions, or those that mean the same."""
        mode = (item.get("mode") if item.fields else item) if item else None
        if item is None or mode is None or mode.text not in CACHES:
            return {}
        age = item.get("max_age")
        ttl_s = age.positive if age is not None else None
        if age is not None and ttl_s is not None:
            self.report.kept(age, "cache.ttl_s")
        else:
            self.report.default("no `max_age` is given: answers are kept for a week, as Portkey does", item)
            ttl_s = KEPT_S
        if mode.text == "simple":
            self.report.kept(mode, "for each route by itself, in the memory of this process")
            return {"ttl_s": ttl_s}
        self.report.differs(
            mode, "compared by the small model of `unbroken[semantic]`; a route for embeddings is as good"
        )
        return {"ttl_s": ttl_s, "semantic": {"route": "local", "similarity_min": LOCAL_SIMILARITY}}

    def _breaking(self, breaker: Item) -> Iterator[tuple[str, float]]:
        for theirs, ours, factor in (
            ("failure_threshold", "consecutive", 1.0), ("failure_threshold_percentage", "failure_rate", 0.01),
            ("minimum_requests", "calls_min", 1.0), ("cooldown_interval", "open_s", 0.001),
        ):  # fmt: skip
            item = breaker.get(theirs)
            if item is not None and (number := item.positive):
                self.report.differs(item, f"breaking.{ours}: in a window of time, of each target")
                value = round(number * factor, 6)
                yield ours, {"failure_rate": min(value, 1.0), "open_s": value}.get(ours, max(1, int(value)))

    # --------------------------------------------------------------- targets

    def _leaf(self, item: Item, around: _Around) -> Spread:
        """A target that names a provider."""
        said = item.get("override_params")
        stated = said.get("model") if said else None
        slug_, model = _catalogued(stated.text if stated else "")
        place = self._place(item, slug_, stated=stated)
        if place is None:
            return Spread([])
        model = model or self._deployment(item) or self._unnamed(item, place)
        if stated is not None:
            self.report.kept(stated, "the target's model")
        for part in said.fields.values() if said else ():
            if part is not stated:
                self.report.lost(part, "parameters are the caller's here: none are added to a request")
        if (name := item.get("name")) is not None and not self.report.says(name):
            self.report.kept(name, "a target is called after provider and model")
        details = {"deadlines": {"first_content_s": around.timeout_s}} if around.timeout_s else {}
        place = replace(place, same_target_max=around.retries)
        return Spread([(Entry(self._account(item, place, slug_=slug_), literal(model), details), 1.0)])

    def _account(self, item: Item, place: Place, *, slug_: str) -> str:
        """Called as the stored key is, where there is one."""
        stored = slug(slug_ or _stored(item))
        if stored and stored != place.like and self.draft.named(stored, place):
            return stored
        return self.draft.account(place, hint=host_words(place.base_url) if place.base_url else stored)

    def _deployment(self, item: Item) -> str:
        found = item.get("deployment_id", "azure_deployment_id", "azure_deployment_name")
        if found is None:
            return ""
        self.report.kept(found, "the target's model")
        return found.text

    def _unnamed(self, item: Item, place: Place) -> str:
        """The model of a target that leaves it to the caller."""
        row = providers().get(place.like)
        if model := self._model or (row.model if row else ""):
            self.report.default(f"{_SHORT}: {model}" + ("" if self._model else "; or say --model"), item)
            return model
        self.problems.append(problem_at(item, "this target names no model: say which one is meant with --model"))
        return "-"

    def _place(self, item: Item, slug_: str, *, stated: Item | None) -> Place | None:
        """The account; None, with a problem, where the provider cannot be told."""
        stored = slug_ or _stored(item)
        provider = self._provider(item, stored)
        host = item.get("custom_host")
        if provider is None and host is None:
            where = item.get("provider", "virtual_key") or stated or item
            self.problems.append(problem_at(where, self._why(where, stored)))
            return None
        row = PROVIDERS.get(provider or "", "")
        base = literal(host.text).rstrip("/") if host is not None else ""
        if host is not None and (problem := address_problem(base)):
            self.problems.append(problem_at(host, problem))
        elif host is not None:
            self.report.kept(host, "base_url")
        own = host is not None and row in {"", "openai"}
        key = self._key(item, stored, row=row, host=base)
        options = self._options(item)
        if row == "azure-deployments" and "resource" not in options and not base:
            options["resource"] = f"${{{variable(stored, 'azure_resource_name')}}}"
            self.report.needed(variable(stored, "azure_resource_name"), item, text="the name of the Azure resource")
        place = Place(
            like="" if own else row, base_url=base, key=key,
            options=tuple(options.items()), headers=tuple(self._headers(item)),
        )  # fmt: skip
        self.secrets.options(place, item)
        return place

    def _provider(self, item: Item, stored: str) -> str | None:
        """Portkey's name of the provider: as it says, as the command line says, or as the stored key's name tells."""
        stated = item.get("provider")
        if stored and stored in self._whose:
            return self._whose[stored]
        if stated is not None and not stated.text.startswith("@"):
            self.report.kept(stated, "the provider")
            return stated.text if stated.text in PROVIDERS else None
        if not stored:
            return None
        return next((name for word, name in HINTS if word in stored.lower()), None)

    def _why(self, where: Item, stored: str) -> str:
        if stored:
            return f"whose key is this? Say it with --provider {stored}=openai (or another provider)"
        if where.name != "provider":
            return "a target needs a `provider`, a `virtual_key`, or a strategy with targets"
        hint = nearest(where.text, PROVIDERS)
        return "nothing is known of this provider" + (f"; did you mean `{hint}`?" if hint else "")

    def _key(self, item: Item, stored: str, *, row: str, host: str) -> str:
        """A reference to the key; what Portkey keeps has to come from the environment here."""
        given, said = item.get("api_key"), item.get("virtual_key", "provider")
        if given is not None:
            usual = Place(like=row).usual[2:-1] if not host else ""
            return self.secrets.key(given, words=usual or f"{host_words(host) or row}_api_key")
        if not stored or row in {"bedrock", "vertex", "ollama"} or stored == row:
            if stored and said is not None:
                self.report.kept(said, f"the provider {row}")
            return ""
        name = variable(stored, "api_key")
        if said is not None:
            self.report.differs(said, f"the key that Portkey keeps is expected in {name}")
        self.report.needed(name, said or item, text=f"the key that Portkey keeps as `{stored}`")
        return f"${{{name}}}"

    def _options(self, item: Item) -> dict[str, str]:
        found = {ours: part for theirs, ours in OPTIONS.items() if (part := item.get(theirs)) is not None}
        for ours, part in found.items():
            self.report.kept(part, f"the option `{ours}`")
        return {ours: literal(part.text) for ours, part in found.items()}

    def _headers(self, item: Item) -> Iterator[tuple[str, str]]:
        for theirs in ("openai_organization", "openai_project", "anthropic_beta"):
            if (part := item.get(theirs)) is not None:
                name = theirs.replace("_", "-")
                self.report.kept(part, f"the header {name}")
                yield name, literal(part.text)


# ----------------------------------------------------------------------------- words


def _mode(item: Item) -> str:
    mode = (item.get("strategy") or item).get("mode")
    return mode.text if mode else ""


def _name(item: Item) -> str:
    name = item.get("name", "id")
    return name.text if name else ""


def _stored(item: Item) -> str:
    """The name of a key that Portkey keeps: a virtual key, or a provider of the catalogue (`@openai-prod`)."""
    if (key := item.get("virtual_key")) is not None:
        return key.text
    provider = item.get("provider")
    return provider.text[1:] if provider is not None and provider.text.startswith("@") else ""


def _catalogued(model: str) -> tuple[str, str]:
    """`@openai-prod/gpt-4o` is the stored provider openai-prod and the model gpt-4o."""
    if not model.startswith("@"):
        return "", model
    stored, _, rest = model[1:].partition("/")
    return stored, rest


def _models(query: Item | None) -> list[str]:
    """The models that a condition asks for by name, if it asks for nothing else."""
    if query is None or list(query.fields) != ["params.model"]:
        return []
    wanted = query.fields["params.model"]
    if not wanted.fields:
        return [wanted.text]
    if (same := wanted.get("$eq")) is not None:
        return [same.text]
    return [part.text for part in among.parts] if (among := wanted.get("$in")) is not None else []
