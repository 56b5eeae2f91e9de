"""Who is asked, in which order: eligible? with reasons; then rank; then width.

Three kinds of target leave this file: those to try in order, those that something stands in
the way of now (tried only when nobody else is left), and those that could not do the work
at all, each with the reason in words.
"""

from __future__ import annotations

from collections.abc import Callable

from unbroken.core.board import Board
from unbroken.core.strategies import STRATEGIES, Draw
from unbroken.policy import CHARS_PER_TOKEN, Route
from unbroken.types import Request, Target, Task, record

__all__ = ["Lineup", "Unable", "incapable", "line_up"]

_UNMEASURED_CHARS = 1_000
"""A prompt shorter than this fits every model's window."""


@record()
class Lineup:
    """The order of targets, how many at once, who rests and who cannot (with reasons)."""

    order: tuple[Target, ...]
    width: int = 1
    resting: tuple[tuple[Target, str], ...] = ()
    unfit: tuple[tuple[Target, str], ...] = ()


Unable = Callable[[Target], str | None]
"""Why a target cannot be asked this, beside what is known here; None where it can."""


def line_up(
    request: Request, route: Route, *, board: Board, now: float, draw: Draw, unable: Unable = lambda _: None
) -> Lineup:
    """The lineup for a request on a route, as things stand."""
    ready: list[Target] = []
    resting: list[tuple[Target, str]] = []
    unfit: list[tuple[Target, str]] = []
    first = _first_embedder(request, route)
    for target in route.targets:
        if reason := incapable(request, target) or _other_vectors(target, first) or unable(target):
            unfit.append((target, reason))
        elif reason := board.obstacle(target, now):
            resting.append((target, reason))
        else:
            ready.append(target)
    order = STRATEGIES[route.strategy](ready, draw)
    width = max(route.width, len(order)) if route.strategy == "race" and route.width == 1 else route.width
    return Lineup(tuple(order), width, tuple(resting), tuple(unfit))


def incapable(request: Request, target: Target) -> str | None:
    """Why a target could never answer this request, in words; None if it could."""
    if request.task not in target.tasks:
        return f"does no {request.task} work"
    if request.needs and target.capabilities:
        missing = request.needs - target.capabilities
        if missing:
            return "cannot do " + ", ".join(sorted(missing))
    return _too_long(request, target)


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
