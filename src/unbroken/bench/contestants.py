"""Who takes part: a target asked exactly as it is, or a route with everything that belongs to it.

A provider or `provider/model` is one target with its first key: no failover, no second try, no
hedge, no cache, and limits of time that are the comparison's alone.  A route keeps its own
ways, except for its cache: an answer that was kept says nothing of anybody's speed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from unbroken.config import Config
from unbroken.faces.client.choice import targets_of
from unbroken.failures import RequestError
from unbroken.policy import Caching, Deadlines, Policy, Queueing, Retries, Route, Streaming
from unbroken.types import Request, Target, Task, Usage
from unbroken.wire import format_for

__all__ = ["Contestant", "ContestantError", "contestants"]

CONNECT_S = 10.0
"""For a connection, and never more than for all of an answer."""
INPUT_CHARS_PER_TOKEN = 2.0
"""When a request is paid for in advance: there are hardly ever more tokens in a text, in any language."""
FRAME_TOKENS = 64
"""What formats put around a prompt."""
ANSWER_TOKENS = 4_096
"""The longest answer that is reckoned with where none is given."""
PICTURE_TOKENS = 8_192
"""The same of a picture, where it is paid for in tokens."""


class ContestantError(ValueError):
    """Why somebody cannot take part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """One of those who are compared, under the `name` that it was asked for by."""

    name: str
    route: Route
    exact: bool

    @property
    def targets(self) -> str:
        """Whom it stands for."""
        return ", ".join(target.name for target in self.route.targets)

    @property
    def unpriced(self) -> Target | None:
        """One of its targets of which no price is known."""
        return next((target for target in self.route.targets if not target.price.known), None)

    def bound_usd(self, request: Request) -> float:
        """What a request costs at most, if nobody writes more than was asked for; unknown prices are 0."""
        tries = 1 if self.exact else self.route.policy.retries.attempts_max
        return tries * max(target.price.cost_usd(_most(request, target)) for target in self.route.targets)


def _most(request: Request, target: Target) -> Usage:
    """As much as a request may take."""
    output_tokens = request.max_tokens or ANSWER_TOKENS if request.task is Task.CHAT else 0
    if request.task is Task.IMAGE and target.price.image_usd is None:
        output_tokens = PICTURE_TOKENS
    return Usage(
        input_tokens=ceil(request.prompt_chars / INPUT_CHARS_PER_TOKEN) + FRAME_TOKENS,
        output_tokens=output_tokens,
        images=request.choices if request.task is Task.IMAGE else 0,
    )


def contestants(config: Config, names: Sequence[str], *, task: Task, timeout_s: float) -> list[Contestant]:
    """Those of these names, in order; ContestantError where one is not known, twice there, or cannot do the work."""
    for name in names:
        if names.count(name) > 1:
            raise ContestantError(f"{name} is named twice: whom should it be compared with?")
    return [_contestant(config, name, task=task, timeout_s=timeout_s) for name in names]


def _contestant(config: Config, name: str, *, task: Task, timeout_s: float) -> Contestant:
    meant = config.aliases.get(name, name)
    route = config.routes.get(meant)
    provider, _, model = meant.partition("/")
    if route is None and provider in config.accounts:
        try:
            target = targets_of(config, meant, of=task)[0]
        except RequestError as error:
            raise ContestantError(error.failure.message) from None
        if config.accounts[provider].key_missing:
            where = " or ".join(config.accounts[provider].row.key_env)
            raise ContestantError(f"{name}: no key found; set {where} in the environment, or give it in the file")
        return Contestant(name=name, route=_exactly(target, task=task, timeout_s=timeout_s), exact=True)
    if route is None and (not model or (route := config.resolve(meant)) is None):
        raise ContestantError(f"{name}: no provider, target or route of that name; there is {_known(config)}")
    return Contestant(name=name, route=_timed(route, task=task, timeout_s=timeout_s), exact=False)


def _known(config: Config) -> str:
    return ", ".join([*config.accounts, *config.routes]) or "none: set a provider's key, or give --config"


def _exactly(target: Target, *, task: Task, timeout_s: float) -> Route:
    """A route to this target alone, on which nothing is done for it but to ask it.

    There is room for a second attempt: a request that the target wants said otherwise
    (`max_completion_tokens`) is asked again so.
    """
    _check(target, task)
    deadlines = Deadlines(
        connect_s=min(timeout_s, CONNECT_S), first_byte_s=timeout_s, first_content_s=timeout_s, total_s=timeout_s,
        gap_s=timeout_s, job_s=timeout_s, ceiling_s=timeout_s, chars_per_s_min=0.0,
    )  # fmt: skip
    policy = Policy(
        deadlines=deadlines, retries=Retries(attempts_max=2, same_target_max=0),
        stream=Streaming(rescue="error", tool_calls="live"), queue=Queueing(waiting_max=1_000_000, wait_s=timeout_s),
    )  # fmt: skip
    alone = replace(target, deadlines={}, same_target_max=0)
    return Route(name=target.name, targets=(alone,), policy=policy)


def _timed(route: Route, *, task: Task, timeout_s: float) -> Route:
    """The route with our limit for the whole, and without its cache."""
    if not any(_is_able(target, task) for target in route.targets):
        raise ContestantError(f"{route.name}: none of its targets does {task} work")
    limits = {"total_s": timeout_s, "ceiling_s": timeout_s}
    targets = tuple(replace(target, deadlines={**target.deadlines, **limits}) for target in route.targets)
    policy = replace(route.policy, cache=Caching(), deadlines=route.policy.deadlines.merged(limits))
    return replace(route, targets=targets, policy=policy)


def _check(target: Target, task: Task) -> None:
    if not _is_able(target, task):
        raise ContestantError(f"{target.name} does no {task} work")


def _is_able(target: Target, task: Task) -> bool:
    try:
        format_for(target.format, task)
    except KeyError:
        return False
    return task in target.tasks
