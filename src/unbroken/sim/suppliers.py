"""How a provider answers, what that costs and how it bears load: the documented defaults, by class.

    Supplier    one target's laws
    CLASSES     sensible ones for each class of provider
    class_of    which class a provider of the catalogue belongs to
    Weights     what counts for how much when answers are compared

The numbers are of the order that hosted models of that class show; they are no measurement
of anybody.  Whoever has measured puts his own into a scenario, or lets `replay` fit them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import log

__all__ = ["CLASSES", "Example", "Supplier", "Weights", "class_of", "examples"]


LEAST_S, LEAST_USD = 1e-4, 1e-6
"""Nothing is quite free, nor quite at once: else being nearly so would count for everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplier:
    """One target's laws.

    The first token comes after `first_token_s` and the reading of the prompt, the rest at
    `tokens_per_s`; both vary lognormally (`spread`, `pace_spread`: the deviation of the
    logarithm).  With more than `capacity` answers at once everything takes longer, in
    proportion to the power `crowding` of how many times too many they are.
    """

    first_token_s: float = 0.5
    """The median for a short prompt."""
    read_tokens_per_s: float = 5000.0
    """Tokens of the prompt that are read in a second."""
    tokens_per_s: float = 70.0
    """Tokens written in a second."""
    spread: float = 0.3
    pace_spread: float = 0.1
    failure_rate: float = 0.001
    """The share of requests that fail at once with a 500."""
    cut_rate: float = 0.0002
    """The share of answers that break off in the middle."""
    requests_per_min: float = 0.0
    """More are turned away with a 429 that says when to come back; 0 for no limit."""
    tokens_per_min: float = 0.0
    """The same for tokens, in and out."""
    capacity: float = 1e9
    """Answers at once without a slow-down."""
    crowding: float = 1.0
    concurrency_max: int = 0
    """More answers at once are turned away with a 503; 0 for any number."""
    input_usd: float = 1.0
    """For a million tokens in."""
    output_usd: float = 4.0
    """For a million tokens out."""
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """How much time and money count when answers are compared: as in `core.measures.burdens`.

    Burdens are logarithms of seconds^speed * dollars^cost, so a difference of 0.05 is about
    5 %.  A caller waits for the end, and for the beginning of a stream just as much.
    """

    speed: float = 1.0
    cost: float = 0.0

    def burden(self, first_s: float, total_s: float, *, cost_usd: float) -> float:
        """The less the better: that of the time and that of the money."""
        return self.of_time(first_s, total_s) + self.of_money(cost_usd)

    def of_time(self, first_s: float, total_s: float) -> float:
        """What waiting comes to."""
        return self.speed * log(0.5 * (first_s + total_s) + LEAST_S)

    def of_money(self, cost_usd: float) -> float:
        """What paying comes to."""
        return self.cost * log(cost_usd + LEAST_USD) if self.cost else 0.0

    def __str__(self) -> str:
        """`speed`, `cost`, or `speed and cost`, with their weights where they differ."""
        there = {name: weight for name, weight in (("speed", self.speed), ("cost", self.cost)) if weight}
        plain = len(set(there.values())) <= 1
        return " and ".join(name if plain else f"{weight:g} {name}" for name, weight in there.items())


CLASSES: Mapping[str, Supplier] = {
    "frontier": Supplier(
        first_token_s=0.7, tokens_per_s=70.0, read_tokens_per_s=8000.0, spread=0.35, capacity=400.0,
        input_usd=2.5, output_usd=10.0,
    ),
    "cloud": Supplier(
        first_token_s=0.6, tokens_per_s=75.0, read_tokens_per_s=8000.0, spread=0.3, capacity=600.0,
        input_usd=2.5, output_usd=10.0, failure_rate=0.0005,
    ),
    "fast": Supplier(
        first_token_s=0.25, tokens_per_s=400.0, read_tokens_per_s=20_000.0, spread=0.3, capacity=100.0,
        input_usd=0.6, output_usd=0.8, failure_rate=0.003, requests_per_min=6000.0,
    ),
    "host": Supplier(
        first_token_s=0.5, tokens_per_s=60.0, spread=0.45, capacity=200.0, input_usd=0.5, output_usd=0.9,
        failure_rate=0.003,
    ),
    "router": Supplier(
        first_token_s=0.8, tokens_per_s=65.0, spread=0.5, capacity=500.0, input_usd=1.0, output_usd=3.0,
        failure_rate=0.002,
    ),
    "local": Supplier(
        first_token_s=0.4, tokens_per_s=35.0, read_tokens_per_s=1500.0, spread=0.15, capacity=4.0,
        input_usd=0.0, output_usd=0.0, concurrency_max=32,
    ),
}  # fmt: skip
"""By the name that a scenario uses."""

_CLASS_OF: Mapping[str, str] = {
    **dict.fromkeys(("openai", "anthropic", "gemini", "google", "xai", "mistral", "cohere", "deepseek"), "frontier"),
    **dict.fromkeys(("azure", "bedrock", "vertex", "vertex-ai", "azure-openai"), "cloud"),
    **dict.fromkeys(("groq", "cerebras", "sambanova"), "fast"),
    **dict.fromkeys(("openrouter", "huggingface", "requesty", "vercel"), "router"),
    **dict.fromkeys(("ollama", "llamacpp", "llama-cpp", "lmstudio", "lm-studio", "vllm", "local"), "local"),
}


def class_of(provider: str, *, is_local: bool = False) -> str:
    """The class of a provider by its name in the catalogue; those that nothing is known of are hosts."""
    return "local" if is_local else _CLASS_OF.get(provider, "host")


@dataclass(frozen=True, slots=True)
class Example:
    """A provider of the world that is played where no configuration is given."""

    name: str
    supplier: Supplier
    prefix: str = "none"


def examples() -> tuple[Example, ...]:
    """Four providers of the same quality, in order of preference, unlike in speed, price and place."""
    cloud, frontier, host = CLASSES["cloud"], CLASSES["frontier"], CLASSES["host"]
    return (
        Example("north", replace(frontier, region="eu", failure_rate=0.001), prefix="assistant"),
        Example(
            "south",
            replace(cloud, region="us", first_token_s=0.45, tokens_per_s=95.0, input_usd=2.0, output_usd=8.0),
            prefix="assistant",
        ),
        Example("west", replace(host, region="us", input_usd=1.4, output_usd=5.6), prefix="flag"),
        Example(
            "east", replace(host, region="eu", first_token_s=0.9, tokens_per_s=40.0, input_usd=1.2, output_usd=4.8)
        ),
    )
