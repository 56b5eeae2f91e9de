"""Who is asked, in which order: eligible? with reasons; then rank; then width.

Three kinds of target leave this file: those to try in order, those that something stands in
the way of now (tried only when nobody else is left), and those that could not do the work
at all, each with the reason in words.
"""

from __future__ import annotations

from unbroken.core.board import Board
from unbroken.core.strategies import STRATEGIES, Draw
from unbroken.policy import CHARS_PER_TOKEN, Route
from unbroken.types import Request, Target, record

__all__ = ["Lineup", "incapable", "line_up"]

_UNMEASURED_CHARS = 1_000
"""A prompt shorter than this fits every model's window."""


@record()
class Lineup:
    """The order of targets, how many at once, who rests and who cannot (with reasons)."""

    order: tuple[Target, ...]
    width: int = 1
    resting: tuple[tuple[Target, str], ...] = ()
    unfit: tuple[tuple[Target, str], ...] = ()


def line_up(request: Request, route: Route, *, board: Board, now: float, draw: Draw) -> Lineup:
    """The lineup for a request on a route, as things stand."""
    ready: list[Target] = []
    resting: list[tuple[Target, str]] = []
    unfit: list[tuple[Target, str]] = []
    for target in route.targets:
        if reason := incapable(request, target):
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


def _too_long(request: Request, target: Target) -> str | None:
    """Only what is certainly too long: a token is hardly ever more than twice the usual length."""
    if target.context_tokens is None or request.prompt_chars < _UNMEASURED_CHARS:
        return None
    tokens_min = request.prompt_chars / (2.0 * CHARS_PER_TOKEN)
    if tokens_min <= target.context_tokens:
        return None
    return f"its window of {target.context_tokens} tokens is too short"
