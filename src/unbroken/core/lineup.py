"""Who is asked, in which order: eligible? with reasons; then rank; then width.

Three kinds of target leave this file: those to try in order, those that something stands in
the way of now (tried only when nobody else is left), and those that could not do the work
at all, each with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from unbroken.core.board import Board
from unbroken.core.limits import cost_of
from unbroken.core.strategies import STRATEGIES, Draw, View, within
from unbroken.facts import Decided
from unbroken.policy import CHARS_PER_TOKEN, Route
from unbroken.records import Record
from unbroken.types import Request, Target, Task

__all__ = ["Lineup", "Unable", "incapable", "is_other_model", "line_up", "roomier"]

_UNMEASURED_CHARS = 1_000
"""A prompt shorter than this fits every model's window."""


class Lineup(Record):
    """The order of targets, how many at once, who rests and who cannot (with reasons).

    `hedge_s` is when the second is started while the first is silent, where the strategy
    says so; `price` as in Decided.
    """

    order: tuple[Target, ...]
    width: int = 1
    resting: tuple[tuple[Target, str], ...] = ()
    unfit: tuple[tuple[Target, str], ...] = ()
    hedge_s: float | None = None
    price: float = 0.0

    def decided(self, flight: str, now: float, *, route: Route) -> Decided:
        """The fact that this was decided."""
        skipped = (*self.unfit, *self.resting)
        return Decided(
            now, flight, route.name, route.strategy, self.order, skipped, self.width, self.price, route.explore_share
        )

    def first_choice(self, route: Route, *, first_tried: str) -> str:
        """The name of whom the route would have asked had everybody been well."""
        if route.strategy != "priority":
            return first_tried
        unfit = {target.name for target, _ in self.unfit}
        return next((target.name for target in route.targets if target.name not in unfit), first_tried)


Unable = Callable[[Target], str | None]
"""Why a target cannot be asked this, beside what is known here; None where it can."""


def line_up(
    request: Request, route: Route, *, board: Board, now: float, draw: Draw, unable: Unable = lambda _: None
) -> Lineup:
    """The lineup for a request on a route, as things stand."""
    ready: list[Target] = []
    resting: list[tuple[Target, str]] = []
    unfit: list[tuple[Target, str]] = []
    first, regions = _first_embedder(request, route), route.regions
    cost = None if board.limits is None else cost_of(request)
    for target in route.targets:
        reason = incapable(request, target) or _other_vectors(target, first)
        if reason is None and regions:
            reason = _elsewhere(target, regions)
        if reason := reason or unable(target):
            unfit.append((target, reason))
        elif reason := board.obstacle(target, now, cost=cost):
            resting.append((target, reason))
        else:
            ready.append(target)
    view = View(request, route, board, now, draw, [target for target, _ in resting])
    choice = STRATEGIES[route.strategy](ready, view)
    width = choice.width if route.width == 1 else route.width
    if (look := choice.look) is None:
        return Lineup(tuple(choice.order), width, tuple(resting), tuple(unfit), choice.hedge_s)
    order = (look, *(target for target in choice.order if target is not look))
    others = tuple((target, reason) for target, reason in resting if target is not look)
    return Lineup(order, width, others, tuple(unfit), choice.hedge_s, choice.price)


def incapable(request: Request, target: Target) -> str | None:
    """Why a target could never answer this request, in words; None if it could."""
    if request.task not in target.tasks:
        return f"does no {request.task} work"
    if request.needs and target.capabilities:
        missing = request.needs - target.capabilities
        if missing:
            return "cannot do " + ", ".join(sorted(missing))
    return _too_long(request, target)


def roomier(target: Target, other: Target) -> bool:
    """Whether a target may have room for a prompt that was too long for the other."""
    if target.context_tokens is not None and other.context_tokens is not None:
        return target.context_tokens > other.context_tokens
    return is_other_model(target, other)


def is_other_model(target: Target, other: Target) -> bool:
    """Whether a target may do what the other's model does not: models of the same name are the same."""
    return target.model != other.model


def _elsewhere(target: Target, regions: Sequence[str]) -> str | None:
    """A request that has to stay somewhere goes to nobody of whom it is not known where he is."""
    if any(within(target.regions, place) for place in regions):
        return None
    where = f"answers from {', '.join(target.regions)}" if target.regions else "does not say where it answers from"
    return f"{where}, and only {', '.join(regions)} may"


def _first_embedder(request: Request, route: Route) -> Target | None:
    """Whose vectors the caller's index is made of, where that matters."""
    if request.task is not Task.EMBEDDING or route.policy.embedding_models == "any":
        return None
    return next((target for target in route.targets if request.task in target.tasks), None)


def _other_vectors(target: Target, first: Target | None) -> str | None:
    """Vectors of another model have another meaning: an index would be spoilt without anybody noticing."""
    if first is None or _bare(target.model) == _bare(first.model):
        return None
    return f"its vectors are not those of {first.model}"


def _bare(model: str) -> str:
    """A model's name without whose it is and who hosts it: `BAAI/bge-m3:nebius` is bge-m3."""
    return model.rpartition("/")[2].partition(":")[0].lower()


def _too_long(request: Request, target: Target) -> str | None:
    """Only what is certainly too long: a token is hardly ever more than twice the usual length."""
    if target.context_tokens is None or request.prompt_chars < _UNMEASURED_CHARS:
        return None
    tokens_min = request.prompt_chars / (2.0 * CHARS_PER_TOKEN)
    if tokens_min <= target.context_tokens:
        return None
    return f"its window of {target.context_tokens} tokens is too short"
