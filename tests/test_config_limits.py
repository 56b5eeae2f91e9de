"""Limits and budgets in a configuration: what they become, and what is said where they make no sense."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from unbroken.assemble import engine
from unbroken.config import Config, ConfigError
from unbroken.keys import digest_of
from unbroken.policy import Queueing, SpendLimit
from unbroken.types import Allowance

OWN: dict[str, Any] = {"base_url": "http://127.0.0.1:1/v1", "model": "m", "price": {"input_usd": 1.0}}
ROUTES: dict[str, Any] = {"chat": {"targets": ["a", "b"]}, "small": {"targets": ["b", "a"]}}


def config(**more: Any) -> Config:
    values: dict[str, Any] = {"providers": {"a": OWN, "b": OWN}, "routes": ROUTES}
    return Config.from_values(values | more, {})


def problems(**more: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(**more)
    return [f"{problem.key}: {problem.message}" for problem in caught.value.problems]


def test_limits_of_a_provider_and_of_a_target_both_hold() -> None:
    """A provider's are its keys' for all models, a target's are for that model alone."""
    made = config(
        providers={"a": OWN | {"limits": {"tokens_per_min": 5, "concurrent_max": 2}}, "b": OWN},
        routes={"chat": {"targets": [{"target": "a", "limits": {"requests_per_min": 3}}, "b"]}},
    )
    first, second = made.routes["chat"].targets
    assert first.limits == Allowance(requests_per_min=3)
    assert first.key_limits == Allowance(tokens_per_min=5, concurrent_max=2)
    assert (second.limits, second.key_limits) == (None, None)


def test_a_queue_is_part_of_a_policy() -> None:
    """It is said for all routes or for one."""
    made = config(
        defaults={"queue": {"wait_s": 3}}, routes={"chat": {"targets": ["a"], "policy": {"queue": {"waiting_max": 0}}}}
    )
    assert made.routes["chat"].policy.queue == Queueing(waiting_max=0, wait_s=3)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"requests_per_min": 0}, "providers.a.limits.requests_per_min: must be at least 1, not `0`"),
        ({"tokens_per_min": "many"}, "providers.a.limits.tokens_per_min: expected a whole number, found text"),
        (
            {"rpm": 5},
            "providers.a.limits.rpm: unknown key; known here: " + ", ".join(Allowance.__dataclass_fields__),
        ),
    ],
)
def test_limits_that_make_no_sense_are_refused(limits: dict[str, Any], said: str) -> None:
    """The error names the key and what is allowed."""
    assert problems(providers={"a": OWN | {"limits": limits}, "b": OWN}) == [said]


def test_budgets_are_named_by_their_place_and_whose_they_are() -> None:
    """Keys are known by their hash; a budget of nobody in particular is everybody's."""
    made = config(
        server={"keys": ["alice-key"]},
        budgets=[
            {"usd_per_day": 9},
            {"usd_per_day": 5.5, "route": "chat", "key": "alice-key", "then": "downgrade", "to": "small"},
        ],
    )
    assert made.budgets == (
        SpendLimit(name="1 (everything)", usd_per_day=9),
        SpendLimit(
            name="2 (route chat, key given)", usd_per_day=5.5, route="chat", asker=digest_of("alice-key"),
            then="downgrade", to="small",
        ),
    )  # fmt: skip
    assert "alice-key" not in repr(made)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ({"usd_per_day": 0}, "budgets[0].usd_per_day: must be more than 0, not `0`"),
        ({}, "budgets[0]: `usd_per_day` is missing"),
        ({"usd_per_day": 1, "route": "mail"}, "budgets[0].route: there is no route `mail`"),
        ({"usd_per_day": 1, "then": "downgrade", "to": "mail"}, "budgets[0].to: there is no route `mail`"),
        (
            {"usd_per_day": 1, "to": "small"},
            "budgets[0].to: a budget that stops leads nowhere: it needs `then: downgrade`",
        ),
        (
            {"usd_per_day": 1, "route": "chat", "then": "downgrade", "to": "chat"},
            "budgets[0].to: this is the route that the budget is for",
        ),
        (
            {"usd_per_day": 1, "key": "unknown"},
            "budgets[0].key: not one of `server.keys`, so nobody could spend from it",
        ),
        (
            {"usd_per_day": 1, "then": "explode"},
            "budgets[0].then: `explode` is not allowed: expected one of stop, downgrade",
        ),
    ],
)
def test_budgets_that_make_no_sense_are_refused(budget: dict[str, Any], said: str) -> None:
    """The error names the key and what is allowed."""
    assert problems(budgets=[budget]) == [said]


def test_targets_that_no_budget_can_count_are_warned_of() -> None:
    """Without a price nothing is charged, and the operator should know."""
    free = {key: value for key, value in OWN.items() if key != "price"}
    made = config(providers={"a": free, "b": OWN}, budgets=[{"usd_per_day": 1, "route": "chat"}])
    assert [w for w in made.warnings if "price" in w] == [
        "target a/m: its price is not known, so no budget counts it; give it a `price`"
    ]
    assert not any("price" in w for w in config(providers={"a": free, "b": OWN}).warnings)


@pytest.mark.parametrize(
    ("more", "on"),
    [
        ({}, False),
        ({"budgets": [{"usd_per_day": 1}]}, True),
        ({"providers": {"a": OWN | {"limits": {"requests_per_min": 1}}, "b": OWN}}, True),
        ({"routes": {"chat": {"targets": [{"target": "a", "limits": {"requests_per_min": 1}}, "b"]}}}, True),
    ],
)
def test_nothing_is_kept_where_nothing_is_said(more: dict[str, Any], on: bool) -> None:
    """An engine has a gate from the start only where there is something to be kept."""
    assert (engine(config(**more)).admission is not None) == on


def test_the_examples_in_the_documentation_are_right() -> None:
    """Every example in docs/limits.md is a configuration."""
    text = (Path(__file__).resolve().parent.parent / "docs" / "limits.md").read_text(encoding="utf-8")
    examples = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 2
    for example in examples:
        import yaml

        assert Config.from_values(yaml.safe_load(example), {}).routes
