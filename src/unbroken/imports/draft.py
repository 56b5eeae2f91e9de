"""Our configuration while it is being made: accounts get names, routes get targets.

    draft = Draft()
    name = draft.account(Place(like="openai", key="${OPENAI_KEY}"))
    draft.routes["fast"] = route(Spread([(Entry(name, "gpt-5.4"), 1.0)]))
    draft.document      what the file will say, as plain mappings and lists

A `Place` is everything about a provider but its name, so that what is the same in two
deployments becomes one entry.  A `Spread` is what nested strategies come to here: those
among whom the first target is chosen, and those who are asked when they fail.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from unbroken.catalog import providers
from unbroken.policy import Retries

__all__ = [
    "Draft",
    "Entry",
    "Place",
    "Spread",
    "address_problem",
    "attempts",
    "host_words",
    "literal",
    "route",
    "slug",
    "variable",
]

_SECRET_QUERY = re.compile(r"(^|[&_-])(key|token|secret|sig|signature|password|code)=", re.IGNORECASE)
_BLANK = re.compile(r"(?<!\$)\{(\w+)\}")

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A provider's entry: `like` is a row of the catalogue, empty for an address of one's own.

    `key` is a reference (`${NAME}`, `aws:`); empty where the row's own variables are looked up.
    """

    like: str = ""
    base_url: str = ""
    format: str = ""
    key: str = ""
    auth: str = ""
    headers: Pairs = ()
    options: Pairs = ()
    may_drop: tuple[str, ...] = ()
    same_target_max: int | None = None

    @property
    def usual(self) -> str:
        """A reference to the variable in which the row's key is looked for; empty where there is none."""
        row = providers().get(self.like)
        return f"${{{row.key_env[0]}}}" if row and row.key_env else ""

    @property
    def unset(self) -> Mapping[str, str]:
        """Options without which it has no address, and the variables in which they are looked for."""
        row = providers().get(self.like)
        if row is None:
            return {}
        given = {**row.options, **dict(self.options)}
        wanted = set(_BLANK.findall(self.base_url)) if self.base_url else set(row.option_env)
        return {option: row.option_env[option][0] for option in row.option_env if option in wanted - given.keys()}

    def section(self, name: str) -> dict[str, Any]:
        """As it stands in the file under this name."""
        fields = {
            "like": self.like if self.like != name else "",
            "base_url": self.base_url,
            "format": self.format,
            "key": self.key if self.key != self.usual else "",
            "auth": self.auth,
            "headers": dict(self.headers),
            "options": dict(self.options),
            "may_drop": list(self.may_drop),
            "same_target_max": self.same_target_max,
        }
        return {key: value for key, value in fields.items() if value or value == 0}


@dataclass(frozen=True, slots=True)
class Entry:
    """A target of a route: the account's name, the model (empty for the account's own), and what is said of it."""

    account: str
    model: str
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.account}/{self.model}" if self.model else self.account

    def section(self, weight: float | None = None) -> Any:
        """As it stands in a route."""
        details = {**({} if weight is None else {"weight": _number(weight)}), **self.details}
        return {"target": self.target, **details} if details else self.target


@dataclass(frozen=True, slots=True)
class Spread:
    """Who is asked first, each with its share, and who is asked after them, in order."""

    first: list[tuple[Entry, float]]
    rest: list[Entry] = field(default_factory=list)

    @property
    def entries(self) -> list[Entry]:
        return [*(entry for entry, _ in self.first), *self.rest]

    def then(self, others: Iterable[Spread]) -> Spread:
        """This, and when it fails all of the others."""
        return Spread(self.first, [*self.rest, *(entry for other in others for entry in other.entries)])

    def merged(self) -> tuple[Spread, list[str]]:
        """Each target once, with its shares added up; and the targets that were there more than once."""
        shares: dict[str, float] = {}
        entries: dict[str, Entry] = {}
        for entry, share in self.first:
            shares[entry.target] = shares.get(entry.target, 0.0) + share
            entries.setdefault(entry.target, entry)
        rest: dict[str, Entry] = {}
        for entry in self.rest:
            if entry.target not in entries:
                rest.setdefault(entry.target, entry)
        targets = [entry.target for entry in self.entries]
        first = [(entries[target], share) for target, share in shares.items()]
        return Spread(first, list(rest.values())), [t for t in shares | rest if targets.count(t) > 1]


@dataclass(slots=True)
class Draft:
    """The parts of the file, and the comments above them."""

    server: dict[str, Any] = field(default_factory=dict)
    routes: dict[str, dict[str, Any]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    budgets: list[dict[str, Any]] = field(default_factory=list)
    defaults: dict[str, Any] = field(default_factory=dict)
    comments: dict[tuple[str, ...], list[str]] = field(default_factory=dict)
    _accounts: dict[str, Place] = field(default_factory=dict)
    _listed: set[str] = field(default_factory=set)
    _more: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def document(self) -> dict[str, Any]:
        """What the file says; an account is listed where it says more than the catalogue, or has to be there."""
        sections = {name: place.section(name) | self._more.get(name, {}) for name, place in self._accounts.items()}
        parts = {
            "server": self.server,
            "providers": {name: said for name, said in sections.items() if said or name in self._listed},
            "routes": self.routes,
            "aliases": self.aliases,
            "defaults": self.defaults,
            "budgets": self.budgets,
        }
        return {name: part for name, part in parts.items() if part}

    @property
    def accounts(self) -> Mapping[str, Place]:
        """Every provider that is used, by its name."""
        return self._accounts

    def account(self, place: Place, *, hint: str = "") -> str:
        """The name of this place: the row's own for the first of a row, with a hint or a number for others."""
        for name, known in self._accounts.items():
            if known == place:
                return name
        word = slug(hint)
        base = place.like or word or "provider"
        hinted = f"{base}-{word}" if place.like and word else f"{base}-server"
        names = (base, hinted, *(f"{base}-{n}" for n in range(2, 10_000)))
        name = next(name for name in names if (name != f"{place.like}-server") and self._free(name, place))
        self._accounts[name] = place
        return name

    def named(self, name: str, place: Place) -> bool:
        """Make this place an account of exactly this name, listed in the file; False where the name is taken."""
        if not (self._accounts.get(name) == place or self._free(name, place)):
            return False
        self._accounts[name] = place
        self._listed.add(name)
        return True

    def list(self, name: str) -> None:
        """See that the account is in the file even if the catalogue says all of it."""
        self._listed.add(name)

    def say(self, name: str, details: Mapping[str, Any]) -> None:
        """More of an account than makes it another one: limits of all its models, a probe."""
        self._more.setdefault(name, {}).update(details)

    def called(self, name: str, section: Mapping[str, Any], *, besides: Collection[str] = ()) -> str:
        """What a route that is to have this name is called: `openai/x` only if that is its first target.

        It is none of the names `besides`.
        """
        head, slash, _ = name.partition("/")
        first = section["targets"][0]
        taken = slash and (head in providers() or head in self._accounts)
        if not taken or name == (first if isinstance(first, str) else first["target"]):
            return name
        plain = name.replace("/", "-")
        names = (plain, *(f"{plain}-{number}" for number in range(2, 10_000)))
        return next(n for n in names if n not in self.routes and n not in besides)

    def comment(self, path: tuple[str, ...], text: str) -> None:
        """A line above a part of the file."""
        lines = self.comments.setdefault(path, [])
        if text not in lines:
            lines.append(text)

    def _free(self, name: str, place: Place) -> bool:
        """Whether a new account may have this name: a row's name is for that row."""
        return name not in self._accounts and (name not in providers() or name == place.like)


def route(
    spread: Spread, *, spread_by: str = "weighted", prefer: str = "", policy: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A route's section; `spread_by` is the strategy among the first where there is nobody after them.

    Where there is, those have to stay behind, so it is by weight, and by the quality `prefer`
    (`speed`, `cost`) if one is given.
    """
    section: dict[str, Any] = {}
    shares = [share for _, share in spread.first]
    if len(spread.first) == 1 or spread_by == "priority":
        section["targets"] = [entry.section() for entry in spread.entries]
    elif not spread.rest and spread_by != "weighted":
        section |= {"strategy": spread_by, "targets": [entry.section() for entry in spread.entries]}
    else:
        section |= {"strategy": "weighted", **({"requirements": {prefer: 1}} if prefer else {})}
        least = min((share for share in shares if share > 0), default=1.0)
        section["targets"] = [
            *(entry.section(share if least >= 1e-6 else share / least) for entry, share in spread.first),
            *(entry.section(0.0) for entry in spread.rest),
        ]
    return section | ({"policy": dict(policy)} if policy else {})


def attempts(wanted: int) -> dict[str, Any]:
    """The policy of a route in which so many attempts are made elsewhere; empty where ours allows them anyway."""
    return {"retries": {"attempts_max": wanted}} if wanted > Retries().attempts_max else {}


def _number(value: float) -> float | int:
    return int(value) if float(value).is_integer() else round(value, 6)


# ----------------------------------------------------------------------------- words


def slug(text: str) -> str:
    """A text as the name of an account may be: `My vLLM!` is my-vllm."""
    return re.sub(r"[^a-z0-9._]+", "-", text.lower()).strip("-._")[:40].strip("-._")


def variable(*words: str) -> str:
    """A name for a variable of the environment: `openai-eu`, `api_key` is OPENAI_EU_API_KEY."""
    name = re.sub(r"[^A-Z0-9]+", "_", "_".join(filter(None, words)).upper()).strip("_")
    return f"SERVER_{name}" if name[:1].isdigit() else name


def literal(text: str) -> str:
    """A text that means itself in our files, where `${` begins a reference."""
    return text.replace("${", "$${")


def address_problem(url: str) -> str:
    """What is wrong with an address, without repeating it; empty where nothing is, or a variable holds it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "" if "${" in url else "not an address"
    if parts.username is not None or _SECRET_QUERY.search(parts.query):
        return "there is a key in this address: take it out, and give it as `key` or in `headers`"
    known = parts.scheme in {"http", "https"} and parts.hostname
    return "" if known or url.startswith("${") else "expected an address that begins with http:// or https://"


def host_words(url: str) -> str:
    """What tells one server from another: the first part of its name, or its address and port."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if host.replace(".", "").isdecimal() or host == "localhost" or ":" in host:
        return f"{host}-{port}" if port else host
    words = host.split(".")
    return words[1] if words[0] in {"api", "www", "llm", "gateway"} and len(words) > 2 else words[0]
