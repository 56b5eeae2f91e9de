"""A provider as it is used here: what the catalogue knows of it, what a file says instead, and its keys.

An account makes targets.  For each field the nearest word wins: the route's, the provider's
in the file, the catalogue's row, and last what is known of the model.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import quote

from unbroken.catalog import Provider, providers, thinks
from unbroken.config_shape import ABILITIES, ProviderSection, Secret, TargetSection
from unbroken.credentials.references import auth_of, reference_of
from unbroken.model_names import sameness
from unbroken.models import Model, Models
from unbroken.policy import NOTHING_FREE, Probing
from unbroken.price import Price
from unbroken.types import Allowance, Target, Task

__all__ = [
    "ANY",
    "Account",
    "able",
    "alias_problem",
    "hosting",
    "missing_options",
    "path_problem",
    "probe_warnings",
    "probing_of",
]

_BLANK = re.compile(r"\{(\w+)\}")
ANY = "any"
"""Stands for every provider, where an open model may be had from any of them."""
MODEL_BLANK = "model"
"""Stands for the model's name where that is part of an address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A provider as it is used here: its row or what the file says instead, and the keys to it.

    `keys` is empty where none was found; `row.key_env` then says where one was looked for.
    `model` is what is asked for where nobody names one; `model_given` whether the
    operator chose it rather than the catalogue.  `model_like` says which known models the
    names stand for that only this account has.
    """

    name: str
    row: Provider
    keys: tuple[Secret, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    model: str = ""
    model_given: bool = False
    model_like: Mapping[str, str] = field(default_factory=dict)
    models: Models | None = field(default=None, repr=False, compare=False)
    capabilities: frozenset[str] | None = None
    tasks: frozenset[Task] = frozenset(Task)
    context_tokens: int | None = None
    price: Price | None = None
    deadlines: Mapping[str, float] = field(default_factory=dict)
    quota_group: str = ""
    same_target_max: int | None = None
    limits: Allowance | None = None
    probe: Probing = field(default_factory=Probing)
    regions: tuple[str, ...] = ()

    @property
    def key_missing(self) -> bool:
        """Whether requests will be refused for want of a key."""
        return self.row.key_needed and not self.keys

    def targets(self, model: str, section: TargetSection | None = None) -> tuple[Target, ...]:
        """One target for each key, in order, with what a route says about this one on top."""
        keys = self.keys or (Secret("", ""),)
        mine = section or TargetSection(target="")
        options = {**self.row.options, **mine.options}
        known = self.known(model, like=mine.model_like or "", region=options.get("region", ""))
        return tuple(
            Target(
                name=f"{self.name}/{model}" + (f"#{number}" if len(keys) > 1 else ""),
                provider=self.name,
                model=model,
                format=self.row.format,
                base_url=_filled(self.row.base_url, {MODEL_BLANK: model, **options}),
                key="" if reference_of(key.value) else key.value,
                credential=key.value if reference_of(key.value) else "",
                key_name=key.name or (str(number) if key.value else ""),
                quota_group=self.quota_group,
                headers=self.headers,
                tasks=frozenset(map(Task, mine.tasks)) or self.tasks,
                capabilities=able(mine.capabilities) or self._capabilities(model, known),
                context_tokens=mine.context_tokens or self.context_tokens or known.context_tokens,
                prefix=mine.prefix or self.row.prefix,
                price=_first(mine.price, self.price, self.row.price) or known.price,
                weight=mine.weight / len(keys),
                deadlines={**self.deadlines, **mine.deadlines},
                auth=auth_of(key.value) or (mine.auth or self.row.auth).lower(),
                options=options,
                may_drop=frozenset(mine.may_drop) or self.row.may_drop,
                same_target_max=self.same_target_max,
                limits=mine.limits,
                key_limits=self.limits,
                regions=tuple(map(str.lower, mine.regions)) or self.regions or _places(options),
            )
            for number, key in enumerate(keys, start=1)
        )

    def known(self, model: str, *, like: str = "", region: str = "") -> Model:
        """What the catalogue knows of this model here; a blank record where that is nothing."""
        like = like or self.model_like.get(model, "")
        if self.models is None or not (like or self.row.listed_as):
            return _UNKNOWN
        if like:
            return self.models.like(self.row.listed_as, like) or _UNKNOWN
        return self.models.find(self.row.listed_as, model, region=region) or _UNKNOWN

    def hosts(self, model: str) -> str | None:
        """The name here of an open model that goes by this name somewhere; None where it is not known to be here."""
        wanted = sameness(model)
        for mine, other in (*self.model_like.items(), (self.model, self.model)):
            if mine and wanted == sameness(other):
                return mine
        return self.models.hosted(self.row.listed_as, model) if self.models is not None else None

    def _capabilities(self, model: str, known: Model) -> frozenset[str]:
        if self.capabilities is not None:
            return self.capabilities
        of_row = self.row.capabilities | (self.row.model_capabilities if model == self.row.model else frozenset())
        thinking = frozenset({"reasoning"} if thinks(model) else ())
        if of_row & ABILITIES:
            return able(of_row | thinking)
        return able(of_row | thinking | _of_data(known))


def hosting(accounts: Iterable[Account], model: str) -> list[tuple[Account, str]]:
    """Who hosts the open model of this name, and its name there; in the catalogue's order, then the others."""
    order = {name: at for at, name in enumerate(providers())}
    ranked = sorted(accounts, key=lambda account: order.get(account.row.name, len(order)))
    return [(account, name) for account in ranked if (name := account.hosts(model))]


def alias_problem(alias: str, name: str, *, routes: Iterable[str], accounts: Iterable[str]) -> str | None:
    """Why this cannot be another name for that; None where that is a route or a target, and the name is free."""
    known_routes, known_accounts = list(routes), list(accounts)
    if alias in {*known_routes, "auto"}:
        return "there is a route of this name"
    provider, _, model = name.partition("/")
    if name in {*known_routes, "auto"} or (model and provider in {*known_accounts, ANY}):
        return None
    known = ", ".join([*known_routes, *(f"{account}/MODEL" for account in known_accounts)])
    return f"`{name}` is no route and no target; known here: {known or 'none'}"


def able(capabilities: Iterable[str]) -> frozenset[str]:
    """Capabilities for a target: where none of the abilities is listed, none is ruled out."""
    listed = frozenset(capabilities)
    return listed if not listed or listed & (ABILITIES - {"audio"}) else listed | ABILITIES


def probing_of(section: ProviderSection, row: Provider) -> Probing:
    """How a provider is asked how it is: as its section says, and where that says nothing, as its row does.

    Behind somebody's own address the root of the host need not be the provider's.
    """
    moved = bool(section.base_url) and not row.local and row.probe != NOTHING_FREE
    return replace(Probing(path="" if moved else row.probe), **section.probe)


def path_problem(probing: Probing) -> str | None:
    """What is wrong with where the free question is asked; None where nothing is."""
    good = probing.path in {"", NOTHING_FREE} or probing.path.startswith("/")
    return None if good else f"expected a path from the root of the host, such as `/health`, or `{NOTHING_FREE}`"


def probe_warnings(account: Account) -> Iterator[str]:
    """What is set and does nothing."""
    if account.probe.every_s is not None and account.probe.path == NOTHING_FREE:
        yield (
            f"provider {account.name}: `probe.every_s` does nothing, as no question to it is known that is free; "
            "give `probe.path`"
        )


def missing_options(target: Target, row: Provider) -> list[str]:
    """Options without which a target has no address: blanks that nobody filled, or what its format asks for."""
    blanks = set(_BLANK.findall(target.base_url))
    wanted = set() if target.base_url else set(row.option_env)
    return sorted(blanks | (wanted - {name for name, value in target.options.items() if value}))


_UNKNOWN = Model()


def _places(options: Mapping[str, str]) -> tuple[str, ...]:
    """Where a provider answers from whose address says so."""
    place = options.get("region") or options.get("location") or ""
    return (place.lower(),) if place else ()


def _of_data(known: Model) -> frozenset[str]:
    """What a model can do by the data, with everything that the data does not deny.

    Lists of abilities are made by hand and have gaps: that an ability is missing there, or
    switched off, is often no more than that nobody looked, while a target that is wrongly
    ruled out is lost to its operator without a sign.  So only what is denied outright rules
    out, and only the senses are: the list of inputs is given in full, and a model that cannot
    see tends to answer as if there were no picture; who takes in nothing but text is deaf as
    well.  `reasoning` means here that a model thinks unasked (`catalog.thinks`), while the
    data says that it can: it is not taken over.
    """
    if not (known.can or known.cannot):
        return frozenset()
    deaf = {"audio"} if "vision" in known.cannot else set()
    return ((known.can | ABILITIES) - known.cannot - deaf) - {"reasoning"}


def _filled(base_url: str, values: Mapping[str, str]) -> str:
    """An address with its blanks filled in; one that nobody has filled stays, and is warned of."""
    return _BLANK.sub(lambda blank: quote(values[blank[1]], safe="") if values.get(blank[1]) else blank[0], base_url)


def _first(*prices: Price | None) -> Price | None:
    return next((price for price in prices if price is not None), None)
