"""From what a program says to what a client is made of: a file, values, a `Config`, or the environment.

Values are those of a configuration file, in a mapping; and a provider may be a function or a
`Provider` there, which answers in this process.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

from unbroken.config import Config, find, load
from unbroken.faces.client.choice import AUTO, wrong
from unbroken.faces.client.custom import Provider, provider_of, section_of
from unbroken.faces.client.environment import config_of, limits_of
from unbroken.policy import Route

__all__ = ["Setup", "Source", "Values", "extended", "from_environment", "setup_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a client is made of: `limits` in requests a minute by kind of work, `own` providers of this process."""

    config: Config
    limits: Mapping[str, int] = field(default_factory=dict)
    own: Mapping[str, Provider] = field(default_factory=dict)


class Values(TypedDict, total=False):
    """What stands in a file, one section each; and where keys are looked up, if not in the process's environment."""

    providers: Mapping[str, Any] | None
    routes: Mapping[str, Any] | None
    defaults: Mapping[str, Any] | None
    environ: Mapping[str, str] | None


Source = str | Path | Mapping[str, Any] | Config | Setup | None
"""A path, values in the shape of a file, something that was made of them already; None for what is there."""


def setup_of(source: Source, values: Mapping[str, Any], *, environ: Mapping[str, str] | None) -> Setup:
    """A setup from a source, from values, or from neither; ConfigError says what is wrong with it.

    Without either it is $UNBROKEN_CONFIG or ./unbroken.yaml, and where there is none the environment.
    """
    environ = os.environ if environ is None else environ
    if source is not None and values:
        raise TypeError("give a file or a configuration, or providers and routes: not both")
    if isinstance(source, Setup):
        return source
    if isinstance(source, Config):
        return Setup(config=source)
    if isinstance(source, Mapping) or values:
        return _of_values(source if isinstance(source, Mapping) else values, environ)
    path = find(None if source is None else Path(source), environ)
    return from_environment(environ) if path is None else Setup(config=load(path, environ))


def from_environment(environ: Mapping[str, str] | None = None) -> Setup:
    """A setup of every provider whose key is in the environment, see `environment`."""
    environ = os.environ if environ is None else environ
    return Setup(config=config_of(environ), limits=limits_of(environ))


def _of_values(values: Mapping[str, Any], environ: Mapping[str, str]) -> Setup:
    given = values.get("providers") or {}
    own = {name: provider_of(one) for name, one in given.items() if not isinstance(one, Mapping)}
    sections = {name: section_of(name, own[name]) if name in own else one for name, one in given.items()}
    written = {**values, "providers": sections} if given else values
    return Setup(config=Config.from_values(written, environ), own=own)


def extended(config: Config, name: str, *, provider: Provider, route: str | None, first: bool) -> Config:
    """With one more provider, which joins a route, at its beginning or end; ConfigError where it makes no sense."""
    if name in config.accounts:
        raise wrong("name", f"is {name!r}, and there is a provider of that name")
    if route not in {None, AUTO, *config.routes}:
        raise wrong("route", f"is {route!r}, and there is no such route; routes: {', '.join(config.routes)}")
    more = Config.from_values({"providers": {name: section_of(name, provider)}}, {})
    new, old = more.targets, config.targets
    routes = dict(config.routes)
    for joined in {AUTO, route} if route else ():
        there = routes.get(joined) or Route(name=joined, targets=(), policy=config.defaults)
        routes[joined] = replace(there, targets=(*new, *there.targets) if first else (*there.targets, *new))
    return replace(
        config,
        accounts={**config.accounts, name: more.accounts[name]},
        targets=(*new, *old) if first else (*old, *new),
        routes=routes,
    )
