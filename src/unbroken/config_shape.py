"""What may stand in a configuration file: one record per section, and the values that are allowed.

Nothing here reads a file.  `config_file` reads by these records, `config_schema` describes
them to editors, and both learn the policy's fields from the records in `policy`: a new
policy field is known here without a change, if its name ends as others of its sort do.

    File
      server     ServerSection
      providers  name -> ProviderSection
      routes     name -> RouteSection -> TargetSection
      defaults   fields of Policy
      budgets    BudgetSection
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from unbroken.policy import EXPLORE_SHARE, Deadlines, Policy, Probing
from unbroken.price import Price
from unbroken.profiles import PROFILES
from unbroken.types import Allowance, Task

__all__ = [
    "ABILITIES",
    "CHOICES",
    "MAY_BE_OFF",
    "SHORTHANDS",
    "SHORT_FORMS",
    "BudgetSection",
    "File",
    "LedgerSection",
    "MetricsSection",
    "ProviderSection",
    "RouteSection",
    "Rule",
    "Secret",
    "ServerSection",
    "StoreSection",
    "TargetSection",
    "TracingSection",
    "rule_for",
]


@dataclass(frozen=True, slots=True)
class Secret:
    """A value that is never shown; `name` is the environment variable it came from, if one alone did."""

    value: str = field(repr=False)
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """Where the gateway listens, and who may use it."""

    host: str = "127.0.0.1"
    """The address to listen at; anything but loopback needs `keys`."""
    port: int = 4100
    """The port to listen at; 0 lets the system choose one."""
    keys: tuple[Secret, ...] = ()
    """The keys that callers must send, as `Authorization: Bearer KEY`. Without any, every caller is let in."""
    key_file: str | None = None
    """The file of further keys, with scopes, budgets and limits of their own, which `unbroken keys` makes; beside
    this file unless its path is absolute. Only who has a key is let in, even while there is none."""
    admin_keys: tuple[Secret, ...] = ()
    """The keys of operators, for status and switches under `/admin`. Without any, nobody is let in there."""
    body_limit_mb: float = 20.0
    """The largest request that is taken from a caller, in megabytes."""
    response_limit_mb: float = 32.0
    """The largest answer that is taken from a provider, in megabytes."""
    workers: int = 1
    """How many processes `serve` runs on this machine; they share the port, and act as one."""
    drain_s: float = 0.0
    """When it is told to stop (SIGTERM), for so long requests are still taken while `/readyz` says no already, so that
    whoever sends them here learns of it first."""
    grace_s: float = 30.0
    """How long answers under way may take after that."""
    cache_mb: float = 64.0
    """The most memory that kept answers take, in megabytes; which are kept says each route's `cache`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSection:
    """A provider: an address, its keys, and what is the same for all of its models.

    Under a name that the catalogue knows, everything has a default; under any other,
    `base_url` or `like` must be given.
    """

    like: str | None = None
    """The catalogue's name for a provider of which this is another account or address."""
    base_url: str | None = None
    """The address of the API up to and including its version, such as `http://10.0.0.5:8000/v1`."""
    format: str | None = None
    """The wire format that is spoken there, such as `openai_chat`."""
    key: Secret | None = None
    """The key to it. Without one, the environment variables of the catalogue's row are looked up."""
    keys: tuple[Secret, ...] = ()
    """Several keys, tried in this order: each makes a target of its own."""
    model: str | None = None
    """The model that is meant where a route names this provider alone, and that `auto` uses."""
    auth: str | None = None
    """How the key is shown: `bearer`, `sigv4`, or the name of a header such as `api-key`. The format's own way
    unless given."""
    headers: Mapping[str, Secret] = field(default_factory=dict)
    """Further headers for every request to it."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Settings that its format or its address asks for, such as `region`, `project` or `api_version`; `{region}`
    in `base_url` stands for one of them, `{model}` for the model."""
    may_drop: tuple[str, ...] = ()
    """What may be left out of a request where its format has no word for it, such as `seed`; `*` for everything.
    Requests that ask for anything else of that sort go elsewhere."""
    prefix: str | None = None
    """How it continues an answer that another target began: `assistant` (it goes on from a last assistant
    message), `flag` (with `"prefix": true`), `vllm` (with `continue_final_message`), or `none` (it is asked to)."""
    capabilities: tuple[str, ...] = ()
    """What its models can do. If any of `tools`, `vision` and `schema` is listed, requests that need another
    of them go elsewhere. `reasoning` and `local` allow minutes before the first word."""
    tasks: tuple[Task, ...] = ()
    """The kinds of work it takes; all of them unless listed."""
    context_tokens: int | None = None
    """The size of its models' context, in tokens; the catalogue's unless given."""
    price: Price | None = None
    """What its models cost, in place of all that the catalogue says."""
    model_like: Mapping[str, str] = field(default_factory=dict)
    """Which known models the names stand for that only this account has: `my-deployment: gpt-5.6-luna`."""
    deadlines: Annotated[Mapping[str, Any], Deadlines] = field(default_factory=dict)
    """Limits of its own, which win over those of routes."""
    same_target_max: int | None = None
    """How often it is asked again after a failure, in place of what a route's `retries` say."""
    quota_group: str | None = None
    """A name for keys that share one limit: when one of them is out of quota, all are."""
    limits: Allowance | None = None
    """What each key (each quota group) may take, of all models together. What a provider says of its limits is
    learned without this."""
    probe: Annotated[Mapping[str, Any], Probing] = field(default_factory=dict)
    """Whether and how it is asked how it is, beside callers' requests."""
    regions: tuple[str, ...] = ()
    """Where it answers from, such as `eu-west-1`; the `region` or `location` of its options unless given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetSection:
    """A model at a provider, with what is particular to it in this route."""

    target: str
    """`provider/model`, or a provider that has a `model` of its own; `any/model` for every provider here that
    hosts it, under its name there."""
    weight: float = 1.0
    """Its share of the traffic under `weighted`, shared among its keys."""
    prefix: str | None = None
    """As for its provider."""
    capabilities: tuple[str, ...] = ()
    """As for its provider."""
    tasks: tuple[Task, ...] = ()
    """As for its provider."""
    context_tokens: int | None = None
    """As for its provider."""
    price: Price | None = None
    """As for its provider; this wins."""
    model_like: str | None = None
    """The known model that this one is, or `provider/model`: its limits, abilities and price are taken."""
    regions: tuple[str, ...] = ()
    """As for its provider; these win."""
    auth: str | None = None
    """As for its provider."""
    options: Mapping[str, str] = field(default_factory=dict)
    """As for its provider; these win."""
    may_drop: tuple[str, ...] = ()
    """As for its provider; these win."""
    deadlines: Annotated[Mapping[str, Any], Deadlines] = field(default_factory=dict)
    """As for its provider; these win."""
    limits: Allowance | None = None
    """What each key may take of this model, besides what its provider's `limits` say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSection:
    """So many dollars a day, from midnight to midnight UTC; `route` and `key` say whose."""

    usd_per_day: float
    """What may be spent on a day."""
    route: str = ""
    """The route that it is for; all together unless given."""
    key: Secret | None = None
    """The caller's key that it is for, one of `server.keys`; all together unless given."""
    then: str = "stop"
    """What follows when it is used up: `stop` refuses (429, `budget_exceeded`), `downgrade` goes on with
    targets that are cheaper than the route's first, or with the route that `to` names."""
    to: str = ""
    """The route that goes on with a `downgrade`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSection:
    """A model name that callers use, and the targets behind it."""

    targets: tuple[TargetSection, ...]
    """Who can answer, in order of preference."""
    strategy: str | None = None
    """How a target is chosen for a request; the others are there for when it fails. `priority`, unless the profile
    says another."""
    profile: str | None = None
    """A strategy and a policy for people who want no knobs; whatever is given besides wins."""
    requirements: Mapping[str, float] = field(default_factory=dict)
    """How much `cost`, `speed` and `reliability` count, from 0 to 1, where the strategy weighs."""
    regions: tuple[str, ...] = ()
    """The only regions that may answer; `eu` holds `eu-west-1` too. Who does not say where it is, may not."""
    near: tuple[str, ...] = ()
    """Regions in the order in which `geo` prefers them."""
    explore_share: float = EXPLORE_SHARE
    """The share of requests that `best`, `fastest` and `learned` spend on looking at others than the best."""
    width: int = 1
    """How many targets are started at once. A `race` of width 1 starts all of them."""
    policy: Annotated[Mapping[str, Any], Policy] = field(default_factory=dict)
    """How hard to try, where it differs from `defaults`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerSection:
    """Where a record of every request is kept, and for how long."""

    url: str = field(default="", repr=False)
    """A file's path, or `postgresql://USER:PASSWORD@HOST/DATABASE`; `off` for no ledger. Unless given, a file in the
    user's data directory."""
    retention_days: float = 30.0
    """How long a request is remembered."""
    size_mb: float = 1024.0
    """The most that a file may take, in megabytes: beyond it the oldest requests are forgotten."""
    prompts: str = "none"
    """Whether the words of prompts and answers are kept too: `none`, or `text` for the first 20,000 characters of
    each."""
    queue_max: int = 10_000
    """The most requests that wait to be written; beyond it, as when the database is gone, the oldest are dropped."""
    flush_s: float = 1.0
    """How long a request waits to be written; so much is lost if the process is killed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSection:
    """What replicas share: breakers, limits, budgets, kept answers and what operators set, by Valkey or Redis."""

    url: str = field(repr=False)
    """`redis://HOST:6379/0`, `rediss://` with TLS; `valkey://` and `valkeys://` mean the same."""
    password: Secret | None = None
    """Its password, or a reference to where it is kept; it may stand in the address too."""
    name: str = "unbroken"
    """What all names in the store begin with; gateways of one name act as one."""
    share: float | None = None
    """The share of every limit that each replica may use while the store is gone; 0 for none. An equal part for each
    of those that were there last, unless given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsSection:
    """What Prometheus may scrape at `GET /metrics`."""

    on: bool = True
    """Whether anything is counted."""
    open: bool = False
    """Whether everybody may look; unless set, whoever scrapes shows one of `server.keys`, where there are any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingSection:
    """Where spans and histograms are sent, by OpenTelemetry's OTLP over HTTP.

    What is not given here is taken from the variables that every OpenTelemetry SDK knows,
    such as `OTEL_EXPORTER_OTLP_ENDPOINT`.
    """

    on: bool = True
    """`false` sends nothing, whatever the environment says."""
    endpoint: str | None = None
    """The collector's address, such as `http://127.0.0.1:4318`; without one nothing is sent."""
    headers: Mapping[str, Secret] = field(default_factory=dict)
    """Headers that the collector asks for."""
    service: str | None = None
    """The `service.name` of all that is sent."""
    sample_share: float | None = None
    """The share of traces that is kept, where the caller has not decided; all of them unless given."""
    propagate: bool = True
    """Whether providers are told which trace a request belongs to, as a `traceparent` header."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Configuration of unbroken."""

    server: ServerSection = field(default_factory=ServerSection)
    """Where the gateway listens, and who may use it."""
    providers: Mapping[str, ProviderSection] = field(default_factory=dict)
    """The providers by name. A provider of the catalogue need not be listed to be used in a route."""
    routes: Mapping[str, RouteSection] = field(default_factory=dict)
    """The model names that callers use. `auto` is made of all targets unless it is given here."""
    aliases: Mapping[str, str] = field(default_factory=dict)
    """Further names that callers may use, each for a route or a target."""
    profile: str | None = None
    """The profile of every route that has none of its own."""
    defaults: Annotated[Mapping[str, Any], Policy] = field(default_factory=dict)
    """How hard to try, for every route."""
    budgets: tuple[BudgetSection, ...] = ()
    """What may be spent on a day: in all, on a route, or by a caller."""
    ledger: LedgerSection | None = None
    """Where a record of every request is kept. `serve` keeps one in the user's data directory unless this says `off`
    or another place; programs keep none unless it is given."""
    store: StoreSection | None = None
    """What several replicas of the gateway share, and where; each is for itself unless given."""
    metrics: MetricsSection = field(default_factory=MetricsSection)
    """What Prometheus may scrape at `GET /metrics`."""
    tracing: TracingSection = field(default_factory=TracingSection)
    """Where spans and histograms are sent, by OpenTelemetry's protocol."""


SHORT_FORMS: Mapping[type, str] = {TargetSection: "target", LedgerSection: "url", StoreSection: "url"}
"""Records that may be written as a plain text, and the field that it stands for."""

MAY_BE_OFF = frozenset({LedgerSection})
"""Records in whose place `off` may stand, which is no text in YAML."""

SHORTHANDS: Mapping[type, Mapping[str, tuple[str, ...]]] = {
    Deadlines: {"read_s": ("first_byte_s", "first_content_s")},
}
"""Keys that set several fields at once; a field that is given by its own name wins."""

ABILITIES = frozenset({"tools", "vision", "schema", "audio"})
"""The capabilities that a request may need."""

CHOICES: Mapping[str, tuple[str, ...]] = {
    "strategy": (
        "priority",
        "round-robin",
        "weighted",
        "best",
        "random",
        "cheapest",
        "fastest",
        "least-busy",
        "race",
        "hedge",
        "geo",
        "learned",
    ),
    "profile": tuple(PROFILES),
    "rescue": ("continue", "restart-if-unseen", "error"),
    "tool_calls": ("whole", "live"),
    "on_refusal": ("return", "failover"),
    "on_empty": ("failover", "return"),
    "on_bad_arguments": ("return", "failover"),
    "on_bad_schema": ("return", "failover"),
    "embedding_models": ("same", "any"),
    "prefix": ("none", "assistant", "flag", "vllm"),
    "capabilities": ("tools", "vision", "schema", "audio", "reasoning", "local"),
    "period": ("day", "week", "month"),
    "tasks": tuple(task.value for task in Task),
    "prompts": ("none", "text"),
    "when": ("always", "deterministic"),
    "then": ("stop", "downgrade"),
}
"""The words that are allowed, by the field that they stand in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a value must be besides its type: one of the words, or a number between bounds.

    `above` is a bound that is not itself allowed.
    """

    choices: tuple[str, ...] = ()
    above: float | None = None
    least: float | None = None
    most: float | None = None

    def admits(self, number: float) -> bool:
        """Whether a number is within the bounds."""
        return (
            (self.above is None or number > self.above)
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
        )

    def __str__(self) -> str:
        """In words, for an error: `between 0 and 1`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        if self.least is not None and self.most is not None:
            return f"between {self.least:g} and {self.most:g}"
        if self.above is not None:
            return f"more than {self.above:g}"
        return f"at least {self.least:g}"


_SHARE = Rule(least=0.0, most=1.0)
_POSITIVE = Rule(above=0.0)
_ONE = Rule(least=1.0)
_NOT_NEGATIVE = Rule(least=0.0)

_RULES: Mapping[str, Rule] = {
    "port": Rule(least=0.0, most=65535.0),
    "retention_days": _POSITIVE,
    "queue_max": _ONE,
    "width": _ONE,
    "ratio": _SHARE,
    "jitter": _SHARE,
    "attempts_max": _ONE,
    "consecutive": _ONE,
    "calls_min": _ONE,
    "slow_min": _ONE,
    "samples_min": _ONE,
    "slow_factor": _ONE,
    "context_tokens": _ONE,
    "cost": _SHARE,
    "speed": _SHARE,
    "reliability": _SHARE,
    "base_s": _NOT_NEGATIVE,
    "start_s": _NOT_NEGATIVE,
    "share": _SHARE,
    "streams": _SHARE,
    "ramp_s": _NOT_NEGATIVE,
    "stale_s": _NOT_NEGATIVE,
    "drain_s": _NOT_NEGATIVE,
    "workers": Rule(least=1.0, most=256.0),
    "every_s": Rule(least=5.0),
    "similarity_min": _SHARE,
    "requests_per_min": _ONE,
    "tokens_per_min": _ONE,
    "requests_per_day": _ONE,
    "concurrent_max": _ONE,
    "usd_per_day": _POSITIVE,
}
"""Fields whose bounds their names do not tell."""

_ENDINGS: Mapping[str, Rule] = {"_share": _SHARE, "_rate": _SHARE, "_s": _POSITIVE, "_mb": _POSITIVE}
"""Fields whose bounds their names do tell, as units stand last."""


def rule_for(name: str) -> Rule:
    """The rule for a field of this name; one that nothing is known of must not be negative."""
    if name in CHOICES:
        return Rule(choices=CHOICES[name])
    if name in _RULES:
        return _RULES[name]
    return next((rule for ending, rule in _ENDINGS.items() if name.endswith(ending)), _NOT_NEGATIVE)
