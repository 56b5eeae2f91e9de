"""A configuration: what is listened on, which targets there are, and which routes lead to them.

    load(path, environ)        a file, or what `find` finds, or the environment alone
    Config.from_values(...)    what a program says, in the shape of a file
    Config.from_env(environ)   no file: every provider whose key is in the environment
    config.resolve(model)      the route for a model name in a request

The file's form is in `config_shape`, the reading of it in `config_file`; here the parts
are put together.  Keys are never part of a repr, a warning or an error.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from unbroken.accounts import (
    ANY,
    Account,
    able,
    alias_problem,
    hosting,
    missing_options,
    path_problem,
    probe_warnings,
    probing_of,
)
from unbroken.catalog import Provider, nearest_provider, providers
from unbroken.config_budgets import budgets, of_keys, unpriced
from unbroken.config_file import ConfigError, Document, Problem
from unbroken.config_ledger import LedgerSection, ledger_of
from unbroken.config_server import Server, key_file_of, server_of, with_issued
from unbroken.config_shape import File, ProviderSection, RouteSection, Secret, TargetSection
from unbroken.config_store import StoreSection, store_of
from unbroken.config_telemetry import Exporting, MetricsSection, exporting_of
from unbroken.credentials.references import TOKEN_FILE, hugging_face_file, reference_of
from unbroken.models import CatalogError, Models
from unbroken.models import load as load_models
from unbroken.policy import QUALITIES, Policy, Route, SpendLimit
from unbroken.profiles import PROFILES, Profile
from unbroken.types import Target, Task
from unbroken.wire import format_named

__all__ = ["Account", "Config", "ConfigError", "Problem", "Server", "find", "load"]

Record = TypeVar("Record")

FILE_NAMES = ("unbroken.yaml", "unbroken.yml")
"""What a configuration is called where nobody says which."""
FILE_BYTES_MAX = 4_000_000
"""Far more than any configuration; a wrong path should not be read to its end."""
EXPLICIT_MAX = 1024
"""Routes for `provider/model` that are kept: callers choose these names, so there is a limit."""
MODEL_CHARS_MAX = 256
"""The longest model name that is looked at."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_NO_NAME = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]|(?:^|/)\.{1,2}(?:/|$)")
"""Callers may name any model of a provider, and the name goes into addresses, headers and logs: no model has these."""
_BLANK = re.compile(r"\{\w+\}")
_SECRET_PARAMETER = re.compile(r"(^|[-_])(api)?(key|token|secret|sig|signature|password|code)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything that was configured, checked and put together.

    `targets` are those of all routes and providers, each once, in order of preference;
    `routes` holds `auto` too, unless there is no target at all.  `aliases` are further names
    for routes and targets.  `source` is the file's path or `environment`; `warnings` is what
    is allowed but probably not meant.
    """

    server: Server = field(default_factory=Server)
    accounts: Mapping[str, Account] = field(default_factory=dict)
    targets: tuple[Target, ...] = ()
    routes: Mapping[str, Route] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    defaults: Policy = field(default_factory=Policy)
    budgets: tuple[SpendLimit, ...] = ()
    ledger: LedgerSection | None = None
    store: StoreSection | None = None
    metrics: MetricsSection = field(default_factory=MetricsSection)
    exporting: Exporting = field(default_factory=Exporting)
    source: str = "environment"
    warnings: tuple[str, ...] = ()
    _explicit: dict[str, Route] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Config:
        """The configuration that needs no file; ConfigError where a variable makes no sense."""
        return _Assembly(Document("", file="environment", environ=environ), environ).config(File())

    @classmethod
    def from_values(cls, values: Mapping[str, Any], environ: Mapping[str, str]) -> Config:
        """The configuration that is said in a program, in the shape of a file; ConfigError names each key."""
        try:
            document = Document(_written(values), file="configuration", environ=environ)
            return _Assembly(document, environ).config(document.read(File))
        except ConfigError as error:  # there is no line to be shown
            raise ConfigError([replace(p, line=0, column=0, source="") for p in error.problems]) from None

    @classmethod
    def find(cls, path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
        """The configuration that is there, see `load`; `environ` is the process's own unless given."""
        return load(path, os.environ if environ is None else environ)

    def with_keys_anew(self) -> Config:
        """The same, with the keys that its file of keys holds by now; KeyFileError where that cannot be read."""
        server = with_issued(self.server)
        own = self.budgets[: len(self.budgets) - len(of_keys(self.server))]
        return replace(self, server=server, budgets=(*own, *of_keys(server)))

    def resolve(self, model: str) -> Route | None:
        """The route that a request for this model takes; None where there is none.

        An alias's or a route's name comes first; any other `provider/model` is what `exactly` makes of it.
        """
        model = self.aliases.get(model, model)
        return self.routes.get(model) or self.exactly(model)

    def exactly(self, model: str) -> Route | None:
        """The target `provider/model` without failover, even where a route has this name; None where there is none.

        All keys of the provider count as one, and `#2` at the end means the second alone; no
        route need list it.  `any/model` is every host of that open model.
        """
        if (route := self._explicit.get(model)) is not None:
            return route
        provider, _, name = model.partition("/")
        account = self.accounts.get(provider)
        if not name or len(model) > MODEL_CHARS_MAX or _NO_NAME.search(name):
            return None
        hosts = hosting(self.accounts.values(), name) if account is None and provider == ANY else []
        if account is not None:
            targets = self._exactly(account, name)
        elif not (targets := tuple(target for host, own in hosts for target in self._known(host, own))):
            return None
        route = Route(name=model, targets=targets, policy=self.defaults)
        while len(self._explicit) >= EXPLICIT_MAX:
            self._explicit.pop(next(iter(self._explicit)))
        self._explicit[model] = route
        return route

    def _exactly(self, account: Account, name: str) -> tuple[Target, ...]:
        model, mark, number = name.rpartition("#")
        if mark and number.isdecimal() and 1 <= int(number) <= len(account.keys) != 1:
            return self._known(account, model)[int(number) - 1 : int(number)]
        return self._known(account, name)

    def _known(self, account: Account, model: str) -> tuple[Target, ...]:
        """As a route has it, with the limits that are said there, or else as the provider has it."""
        listed = tuple(t for t in self.targets if t.provider == account.name and t.model == model)
        return listed or account.targets(model)


def _written(values: Mapping[str, Any]) -> str:
    """As text: JSON is YAML."""
    return json.dumps(values, default=_unwritable, ensure_ascii=False)


def _unwritable(value: object) -> str:
    message = f"a {type(value).__name__} cannot stand in a configuration"
    raise ConfigError([Problem(file="configuration", line=0, key="", message=message)])


def find(path: Path | None, environ: Mapping[str, str]) -> Path | None:
    """The file to read: the one given, $UNBROKEN_CONFIG, ./unbroken.yaml; None for the environment alone."""
    if path is not None:
        return path
    if environ.get("UNBROKEN_CONFIG"):
        return Path(environ["UNBROKEN_CONFIG"])
    return next((Path(name) for name in FILE_NAMES if Path(name).is_file()), None)


def load(path: Path | None, environ: Mapping[str, str]) -> Config:
    """The configuration from a file or the environment, see `find`; ConfigError lists all that is wrong."""
    found = find(path, environ)
    if found is None:
        return Config.from_env(environ)
    document = Document(_text(found), file=str(found), environ=environ)
    return _Assembly(document, environ).config(document.read(File))


def _text(path: Path) -> str:
    def unreadable(why: str) -> ConfigError:
        return ConfigError([Problem(file=str(path), line=0, key="", message=why)])

    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise unreadable(f"cannot be read: {error.strerror}") from None
    if len(data) > FILE_BYTES_MAX:
        raise unreadable(f"larger than {FILE_BYTES_MAX // 1_000_000} MB, so hardly a configuration")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise unreadable(f"not UTF-8 text (byte {error.start})") from None


# ------------------------------------------------------------ putting together


class _Assembly:
    """Puts a `Config` together from the sections of a file; with an empty file, from the environment."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self.document = document
        self.environ = environ
        self.warnings: list[str] = []
        self.accounts: dict[str, Account] = {}
        self.server = Server()
        self.models = self._models()

    def config(self, file: File) -> Config:
        self.server = server_of(file.server, self.document, environ=self.environ)
        for name, section in file.providers.items():
            self._add_account(name, section)
        if not file.providers and not file.routes:
            self._add_accounts_of_environment()
        defaults = _overridden(_overridden(Policy(), _profile(file.profile).policy), file.defaults)
        routes = {name: self._route(name, section, file=file) for name, section in file.routes.items()}
        self._check_aliases(file, routes)
        spending = budgets(file.budgets, routes, keys=self.server.keys, document=self.document)
        spending += of_keys(self.server)
        ledger = ledger_of(file.ledger, self.document, environ=self.environ)
        store = store_of(file.store, self.document, environ=self.environ)
        exporting = exporting_of(file.tracing, self.document, environ=self.environ)
        self.document.finish()
        targets = _once([*(t for route in routes.values() for t in route.targets), *self._idle(routes)])
        if targets and "auto" not in routes:
            usual = _profile(file.profile)
            routes["auto"] = Route(
                name="auto", targets=targets, strategy=usual.strategy, requirements=usual.requirements,
                policy=defaults, profile=file.profile or "",
            )  # fmt: skip
        config = Config(
            server=self.server, accounts=self.accounts, targets=targets, routes=routes, aliases=file.aliases,
            defaults=defaults, budgets=spending, ledger=ledger, store=store, metrics=file.metrics,
            exporting=exporting, source=self.document.file,
        )  # fmt: skip
        found = (*_warnings(config, {"auto"} - set(file.routes)), *unpriced(spending, routes))
        found = (*found, *key_file_of(self.server))
        return replace(config, warnings=(*self.warnings, *exporting.warnings, *found))

    def _models(self) -> Models | None:
        """What is known of models; without it nothing but prices and limits is missing."""
        try:
            models, problem = load_models(self.environ)
        except CatalogError as error:
            self.document.problem(("UNBROKEN_CATALOG",), str(error))
            return None
        if problem:
            self.warnings.append(f"{problem}; the catalogue that came with this version is used")
        return models

    # --------------------------------------------------------------- providers

    def _add_account(self, name: str, section: ProviderSection) -> None:
        path = ("providers", name)
        if not _NAME.fullmatch(name):
            self.document.problem(path, "a provider's name is made of letters, digits, `.`, `_` and `-`")
        row = self._row(name, section)
        if row is None:
            return
        if section.key and section.keys:
            self.document.problem((*path, "key"), "give either `key` or `keys`")
        keys = tuple(self._usable(section, path))
        if len({key.value for key in keys}) < len(keys):
            self.document.problem((*path, "keys"), "the same key is given twice")
        self.accounts[name] = Account(
            name=name,
            row=row,
            keys=keys or self._keys_of(row),
            headers=self._headers(row, section),
            model=section.model or row.model,
            model_given=bool(section.model),
            model_like=section.model_like,
            models=self.models,
            capabilities=able(section.capabilities) if section.capabilities else None,
            tasks=frozenset(map(Task, section.tasks)) or frozenset(Task),
            context_tokens=section.context_tokens,
            price=section.price,
            deadlines=section.deadlines,
            quota_group=section.quota_group or "",
            same_target_max=section.same_target_max,
            limits=section.limits,
            regions=tuple(map(str.lower, section.regions)),
            probe=probing_of(section, row),
        )
        for like in section.model_like.values():
            self._check_like(self.accounts[name], like)
        if problem := path_problem(self.accounts[name].probe):
            self.document.problem((*path, "probe", "path"), problem)
        self.warnings.extend(probe_warnings(self.accounts[name]))
        if self.accounts[name].key_missing:
            where = " or ".join(row.key_env)
            self.warnings.append(f"provider {name}: no key found; set {where} in the environment, or give `key`")

    def _usable(self, section: ProviderSection, path: tuple[str, ...]) -> Iterator[Secret]:
        """The keys that a section gives, without empty ones and half references."""
        given = [(("keys", str(at)), key) for at, key in enumerate(section.keys)]
        if section.key is not None and not given:
            given = [(("key", ""), section.key)]
        for (field_name, at), key in given:
            if problem := _reference_problem(key.value):
                self.document.problem((*path, field_name, at) if at else (*path, field_name), problem)
            elif key.value:
                yield key

    def _keys_of(self, row: Provider) -> tuple[Secret, ...]:
        """The key that the environment has for a provider (the first variable that is set), or what its row names."""
        found = next((name for name in row.key_env if self.environ.get(name, "").strip()), None)
        if found is None:
            there = row.credential != TOKEN_FILE or Path(hugging_face_file(self.environ)).is_file()
            return (Secret(row.credential),) if row.credential and there else ()
        value = self.environ[found].strip()
        if problem := _reference_problem(value):
            self.document.problem((found,), problem)
            return ()
        return (Secret(value, found),)

    def _row(self, name: str, section: ProviderSection) -> Provider | None:
        """The catalogue's row with what the file says instead; None where there is neither."""
        path = ("providers", name)
        if section.like and section.like not in providers():
            hint = nearest_provider(section.like)
            known = f"did you mean `{hint}`?" if hint else "it knows " + ", ".join(providers())
            self.document.problem((*path, "like"), f"not in the catalogue; {known}")
            return None
        row = providers().get(section.like or name)
        if row is None and not section.base_url:
            hint = nearest_provider(name)
            meant = f"; did you mean `{hint}`?" if hint else ""
            self.document.problem(path, f"not in the catalogue, so it needs a `base_url`{meant}")
            return None
        # A name of the operator's own says nothing about whose models are there.
        row = row or Provider(name=name, base_url="", key_needed=False, listed_as="")
        base_url = section.base_url or self._base_url_of_environment(row) or row.base_url
        if section.base_url and (problem := _url_problem(_BLANK.sub("0", base_url))):
            self.document.problem((*path, "base_url"), problem)
        self._check_auth(section.auth, path)
        if section.format and not _is_format(section.format):
            self.document.problem((*path, "format"), "there is no such wire format")
        return replace(
            row, base_url=base_url.rstrip("/"),
            key_needed=row.key_needed and not section.base_url and section.auth != "sigv4",
            format=section.format or row.format, prefix=section.prefix or row.prefix,
            auth=section.auth or row.auth, options={**self._options(row), **section.options},
            may_drop=frozenset(section.may_drop) or row.may_drop,
        )  # fmt: skip

    def _check_auth(self, auth: str | None, path: tuple[str, ...]) -> None:
        if auth is not None and not _HEADER.fullmatch(auth):
            self.document.problem((*path, "auth"), "expected `bearer`, `sigv4`, or the name of a header")

    def _check_like(self, account: Account, like: str) -> None:
        """A warning, as lists change: a gateway must start although a model is no longer on one."""
        if self.models is not None and self.models.like(account.row.listed_as, like) is None:
            self.warnings.append(f"provider {account.name}: nothing is known of `{like}`, which `model_like` names")

    def _options(self, row: Provider) -> Mapping[str, str]:
        """The row's own, with what the environment says instead."""
        found = {
            option: next((value for name in names if (value := self.environ.get(name, "").strip())), "")
            for option, names in row.option_env.items()
        }
        return {**row.options, **{option: value for option, value in found.items() if value}}

    def _headers(self, row: Provider, section: ProviderSection) -> Mapping[str, str]:
        of_environment = {name: self.environ.get(variable, "") for name, variable in row.header_env.items()}
        given = {name.lower(): secret.value for name, secret in section.headers.items()}
        return {name: value for name, value in (of_environment | given).items() if value}

    # ------------------------------------------------------------- environment

    def _add_accounts_of_environment(self) -> None:
        for row in providers().values():
            asked_for = row.key_env if row.key_needed else (row.base_url_env,)
            if row.model and any(self.environ.get(name, "").strip() for name in asked_for):
                model = self.environ.get(f"{row.name.upper().replace('-', '_')}_MODEL", "").strip() or None
                self._add_account(row.name, ProviderSection(model=model))

    def _base_url_of_environment(self, row: Provider) -> str:
        """Where the provider's own SDK would be pointed to by the environment, with the path that it adds."""
        value = self.environ.get(row.base_url_env, "").strip() if row.base_url_env else ""
        if not value:
            return ""
        url = _ollama_url(value) if row.base_url_env == "OLLAMA_HOST" else value
        url = url.rstrip("/")
        if problem := _url_problem(url):
            self.document.problem((row.base_url_env,), problem)
            return ""
        if self._is_ourselves(url):  # set for the callers on this machine, and inherited by us
            self.warnings.append(f"{row.base_url_env} points at this gateway, so it is not used for {row.name}")
            return ""
        return url if url.endswith(row.base_path) else url + row.base_path

    def _is_ourselves(self, url: str) -> bool:
        parts = urlsplit(url)
        return Server(host=parts.hostname or "").loopback and parts.port == self.server.port

    # ------------------------------------------------------------------ routes

    def _route(self, name: str, section: RouteSection, *, file: File) -> Route:
        path = ("routes", name)
        if not name.strip() or len(name) > MODEL_CHARS_MAX:
            self.document.problem(path, f"a route's name has 1 to {MODEL_CHARS_MAX} characters")
        targets: list[Target] = []
        for at, entry in enumerate(section.targets):
            found = self._entry(entry, (*path, "targets", str(at)))
            if {t.name for t in found} & {t.name for t in targets}:
                self.document.problem((*path, "targets", str(at)), "this target is in the route already")
            targets.extend(found)
        if not section.targets:
            self.document.problem((*path, "targets"), "a route needs at least one target")
        if problem := self._name_problem(name, targets):
            self.document.problem(path, problem)
        if unknown := set(section.requirements) - set(QUALITIES):
            message = f"unknown; known here: {', '.join(QUALITIES)}"
            self.document.problem((*path, "requirements", min(unknown)), message)
        profile = _profile(section.profile or file.profile)
        defaults = _overridden(_overridden(Policy(), profile.policy), file.defaults)
        return Route(
            name=name, targets=tuple(targets), strategy=section.strategy or profile.strategy, width=section.width,
            policy=_overridden(defaults, section.policy), requirements=section.requirements or profile.requirements,
            regions=tuple(map(str.lower, section.regions)), near=tuple(map(str.lower, section.near)),
            explore_share=section.explore_share, profile=section.profile or file.profile or "",
        )  # fmt: skip

    def _name_problem(self, name: str, targets: Sequence[Target]) -> str | None:
        """Why a route with these targets cannot be called so; `provider/model` is asked for by its name first."""
        provider, slash, _ = name.partition("/")
        taken = slash and provider in {**self.accounts, **providers()}
        if not (taken and targets) or name == f"{targets[0].provider}/{targets[0].model}":
            return None
        return "this name means a target, which has to be the first of this route; or call the route otherwise"

    def _check_aliases(self, file: File, routes: Mapping[str, Route]) -> None:
        for alias, name in file.aliases.items():
            if problem := alias_problem(alias, name, routes=routes, accounts=self.accounts):
                self.document.problem(("aliases", alias), problem)

    def _entry(self, entry: TargetSection, path: tuple[str, ...]) -> tuple[Target, ...]:
        provider, slash, model = entry.target.partition("/")
        if not entry.target:  # its absence was reported by the reader
            return ()
        in_file = self.document.has(("providers", provider))
        if provider == ANY and model and not in_file:
            return self._hosts(entry, model, path=path)
        if provider in providers() and provider not in self.accounts and not in_file:
            self._add_account(provider, ProviderSection())
        account = self.accounts.get(provider)
        if account is None and in_file:
            return ()  # what is wrong with it was said there
        if account is None:
            hint = nearest_provider(provider, self.accounts)
            known = f"did you mean `{hint}`?" if hint else "providers here: " + (", ".join(self.accounts) or "none")
            self.document.problem(path, f"there is no provider `{provider}`; {known}")
            return ()
        if not (model or account.model) or (slash and not model):
            self.document.problem(path, f"which model of {provider}? Write `{provider}/MODEL`, or give it a `model`")
            return ()
        self._check_auth(entry.auth, path)
        if entry.model_like:
            self._check_like(account, entry.model_like)
        return account.targets(model or account.model, entry)

    def _hosts(self, entry: TargetSection, model: str, *, path: tuple[str, ...]) -> tuple[Target, ...]:
        """Every provider of the file that hosts this model, or where it lists none, of the environment."""
        if not self.document.has(("providers",)) and self.models is not None:
            for row in providers().values():
                there = row.key_needed and any(self.environ.get(name, "").strip() for name in row.key_env)
                if there and row.name not in self.accounts and self.models.hosted(row.listed_as, model):
                    self._add_account(row.name, ProviderSection())
        found = hosting(self.accounts.values(), model)
        if not found:
            known = ", ".join(self.accounts) or "none"
            self.document.problem(path, f"no provider here is known to host `{model}`; providers here: {known}")
        return tuple(target for account, name in found for target in account.targets(name, entry))

    def _idle(self, routes: Mapping[str, Route]) -> Iterator[Target]:
        """The targets of providers that no route uses, and of those whose model the operator chose."""
        used = {target.provider for route in routes.values() for target in route.targets}
        for account in self.accounts.values():
            if account.model and (account.model_given or account.name not in used):
                yield from account.targets(account.model)


def _once(targets: Iterable[Target]) -> tuple[Target, ...]:
    """Each name's first, in order."""
    by_name: dict[str, Target] = {}
    for target in targets:
        by_name.setdefault(target.name, target)
    return tuple(by_name.values())


def _overridden(record: Record, overrides: Mapping[str, Any]) -> Record:
    """A record with some of its fields, or of its records' fields, replaced."""
    new = {
        name: _overridden(getattr(record, name), value) if is_dataclass(getattr(record, name)) else value
        for name, value in overrides.items()
    }
    return replace(record, **new)  # type: ignore[type-var]


def _profile(name: str | None) -> Profile:
    return PROFILES[name] if name else Profile(about="")


def _reference_problem(key: str) -> str | None:
    """What is wrong with a key that begins like a reference to one."""
    try:
        reference_of(key)
    except ValueError as error:
        return str(error)
    return None


def _url_problem(url: str) -> str | None:
    """What is wrong with an address; never repeats it, since there may be a password in it."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "not an address"
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return "expected an address that begins with http:// or https://"
    secret = any(_SECRET_PARAMETER.search(part.partition("=")[0]) for part in parts.query.split("&"))
    if parts.username is not None or secret or parts.fragment:
        return "an address has no user, key or `#` in it; give the key as `key` or in `headers`"
    return None


def _ollama_url(value: str) -> str:
    """OLLAMA_HOST as Ollama reads it: scheme and port may be left out, and 0.0.0.0 is for its server."""
    parts = urlsplit(value if "://" in value else f"http://{value}")
    try:
        port = parts.port or (443 if value.startswith("https://") else 80 if "://" in value else 11434)
    except ValueError:
        return value
    host = "127.0.0.1" if parts.hostname in {None, "0.0.0.0", "::"} else parts.hostname  # noqa: S104
    return f"{parts.scheme}://{f'[{host}]' if ':' in str(host) else host}:{port}{parts.path}"


def _is_format(name: str) -> bool:
    if name == Target.__dataclass_fields__["format"].default:
        return True
    try:
        format_named(name)
    except KeyError:
        return False
    return True


def _warnings(config: Config, made_here: set[str]) -> Iterator[str]:
    """What is allowed but probably not meant; routes that were made here are not the operator's doing."""
    for target in config.targets:
        row = config.accounts[target.provider].row
        for name in missing_options(target, row):
            known = " or ".join(row.option_env.get(name, ()))
            where = f"set {known} in the environment, or give it" if known else "give it"
            yield f"target {target.name}: its address needs `{name}`; {where} under `options`"
    if not config.targets:
        yield "there is no target: set a provider's key in the environment (OPENAI_API_KEY, ...) or write a file"
    for route in config.routes.values():
        if route.name in made_here and len(config.routes) > 1:
            continue
        if len(route.targets) == 1:
            yield f"route {route.name}: only one target, so there is nothing to fail over to"
        elif len(places := {urlsplit(target.base_url).netloc for target in route.targets}) == 1 and any(places):
            yield f"route {route.name}: all targets are at {places.pop()}; if it fails, all do"
