"""What a request would cost before it is made: its length is guessed, the prices are known."""

from __future__ import annotations

from unbroken.faces.client.results import Estimate
from unbroken.policy import CHARS_PER_TOKEN, Route
from unbroken.types import Request, Target, Task, Usage

__all__ = ["ANSWER_TOKENS", "estimate_of", "estimated_usd"]

ANSWER_TOKENS = 500
"""What an answer is taken to have where no limit is given."""


def estimate_of(request: Request, route: Route) -> Estimate:
    """What a request costs at each target of a route."""
    usage = _usage(request)
    return Estimate(
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        by_target={target.name: estimated_usd(request, target) for target in route.targets},
    )


def estimated_usd(request: Request, target: Target) -> float | None:
    """What a request costs at a target; None where no price is known."""
    return target.price.cost_usd(_usage(request)) if target.price.known else None


def _usage(request: Request) -> Usage:
    spoken = request.task is Task.CHAT
    return Usage(
        input_tokens=max(1, round(request.prompt_chars / CHARS_PER_TOKEN)),
        output_tokens=(request.max_tokens or ANSWER_TOKENS) if spoken else 0,
        images=request.choices if request.task is Task.IMAGE else 0,
    )
