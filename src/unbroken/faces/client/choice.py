"""Who is asked: a caller's words about providers, as a route of its own for this one request.

    model="chat"                    the route of that name, or another name for it
    provider="groq"                 exactly that one; also "groq/llama-3.3-70b"
    provider=["groq", "openai"]     these, in this order
    prefer="groq"                   that one first, for `prefer_timeout_s`, then the others
    requirements={"cost": 1, ...}   all of them, by a strategy that weighs these

RequestError says which name is not known, and which are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from unbroken.config import Account, Config
from unbroken.failures import Failure, FailureKind, RequestError
from unbroken.policy import QUALITIES, Route
from unbroken.types import Request, Target, Task

__all__ = ["AUTO", "chosen", "known_account", "targets_of", "wrong"]

AUTO = "auto"
SECONDS_MAX = 1e6
CONNECT_S = 5.0
"""For a connection, where nothing else is said of it, and nothing shorter of all."""

Options = Mapping[str, Any]
WEIGH = frozenset(("best", "learned", "weighted"))
"""Strategies that heed requirements."""


def chosen(config: Config, request: Request, *, options: Options) -> Route:
    """The route that a call's options ask for."""
    model, prefer = options.get("model") or AUTO, options.get("prefer") or AUTO
    model = config.aliases.get(model, model)
    names = _names(options)
    if names and prefer != AUTO:
        raise wrong("prefer", "says who comes first, `provider` that nobody else may: give one of them")
    if names:
        targets = _once([target for name in names for target in targets_of(config, name, model=model, of=request.task)])
        route = Route(name=targets[0].model_scope if len(names) == 1 else AUTO, targets=targets, policy=config.defaults)
    else:
        route = _by_model(config, model if prefer == AUTO or model in config.routes else AUTO)
    if options.get("requirements"):
        route = _weighed(route, options["requirements"])
    if prefer != AUTO:
        first = targets_of(config, prefer, model=model, of=request.task)
        route = _preferring(route, first, timeout_s=_seconds(options, "prefer_timeout_s"))
    timeout_s = _seconds(options, "timeout_s")
    return route if timeout_s is None else _hurried(route, {"total_s": timeout_s})


def targets_of(config: Config, name: str, *, model: str = AUTO, of: Task = Task.CHAT) -> tuple[Target, ...]:
    """The targets that a name means, one for each key; RequestError where it means none.

    The name is `provider/model`, or a provider: then `model` counts, which is the name of a route
    that it takes part in, or of a model there; else it is the first that does work `of` this kind.
    """
    provider, slash, _ = name.partition("/")
    account = known_account(config, provider)
    route = config.exactly(name if slash else f"{provider}/{_model_at(config, account, model=model, of=of)}")
    if route is None:
        raise wrong("provider", f"names {name[:100]!r}, which is no model of it")
    return route.targets


def known_account(config: Config, provider: str) -> Account:
    """The account of this name; RequestError where there is none."""
    if provider not in config.accounts:
        known = ", ".join(config.accounts) or "none"
        raise wrong("provider", f"names {provider!r}, and there is no such provider; providers here: {known}")
    return config.accounts[provider]


def wrong(param: str, what: str) -> RequestError:
    """The exception that says what is wrong with an option of a call."""
    failure = Failure(kind=FailureKind.REQUEST, message=f"'{param}' {what}", param=param, sent=False)
    return RequestError(failure)


# ------------------------------------------------------------------------------ inside


def _names(options: Options) -> Sequence[str]:
    """The providers that alone may be asked; none where all may."""
    given = options.get("provider", AUTO)
    names = [AUTO] if given is None else [given] if isinstance(given, str) else list(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise wrong("provider", "must be a name or a list of names")
    return [] if names == [AUTO] else names


def _model_at(config: Config, account: Account, *, model: str, of: Task) -> str:
    """Which model of a provider is meant."""
    if model != AUTO and model not in config.routes:
        return model.removeprefix(f"{account.name}/")
    among = config.targets if model == AUTO else config.routes[model].targets
    mine = (target.model for target in among if target.provider == account.name and of in target.tasks)
    if found := next(mine, account.model):
        return found
    raise wrong("provider", f"names {account.name!r}, of which no model is known: write `{account.name}/MODEL`")


def _preferring(route: Route, first: tuple[Target, ...], *, timeout_s: float | None) -> Route:
    """With the preferred one before all others; with a time limit of its own it is asked but once."""
    if timeout_s is not None:
        connect_s = min(timeout_s, route.policy.deadlines.connect_s or CONNECT_S)
        limits = {"connect_s": connect_s, "first_byte_s": timeout_s, "first_content_s": timeout_s}
        first = tuple(replace(target, deadlines={**target.deadlines, **limits}, same_target_max=0) for target in first)
    return replace(route, targets=_once([*first, *route.targets]), strategy="priority", width=1)


def _by_model(config: Config, model: str) -> Route:
    """A route, one target, or every target with a model of this name."""
    if (route := config.resolve(model)) is not None:
        return route
    named = tuple(target for target in config.targets if target.model == model)
    if named:
        return Route(name=model, targets=named, policy=config.defaults)
    if not config.targets:
        message = "there is no target: set a provider's key in the environment, or configure one"
        raise RequestError(Failure(kind=FailureKind.NO_TARGET, message=message, sent=False))
    known = ", ".join(config.routes)
    raise wrong("model", f"is {model!r}, which is no route, model or `provider/model` here; routes: {known}")


def _weighed(route: Route, requirements: Mapping[str, float]) -> Route:
    """The route with a strategy that weighs, by these; a single call is no occasion to try somebody out."""
    for name, weight in requirements.items():
        if name not in QUALITIES:
            raise wrong("requirements", f"knows {', '.join(QUALITIES)}, not {name!r}")
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight <= 1:
            raise wrong(f"requirements.{name}", "must be a number from 0 to 1")
    if not any(requirements.values()):
        return route
    strategy = route.strategy if route.strategy in WEIGH else "best"
    return replace(route, strategy=strategy, requirements=dict(requirements), explore_share=0.0)


def _hurried(route: Route, limits: Mapping[str, float]) -> Route:
    """With limits of the caller's own, which win over those of targets."""
    targets = tuple(replace(target, deadlines={**target.deadlines, **limits}) for target in route.targets)
    policy = replace(route.policy, deadlines=route.policy.deadlines.merged(limits))
    return replace(route, targets=targets, policy=policy)


def _seconds(options: Options, name: str) -> float | None:
    seconds = options.get(name)
    if seconds is None:
        return None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < SECONDS_MAX:
        raise wrong(name, "must be a number of seconds")
    return float(seconds)


def _once(targets: Sequence[Target]) -> tuple[Target, ...]:
    """Each by its name once, in order."""
    by_name: dict[str, Target] = {}
    for target in targets:
        by_name.setdefault(target.name, target)
    return tuple(by_name.values())
