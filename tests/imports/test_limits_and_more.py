"""What importers take over beside routes: limits, strategies, names, budgets and caches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from imports.fixtures import document, imported, litellm, loaded, of_fixture
from unbroken.imports import import_portkey
from unbroken.imports.report import Outcome
from unbroken.types import Allowance

CONFIG = Path("config.yaml")


# ------------------------------------------------------------------------------- limits


def test_limits_are_shares_as_they_are_there() -> None:
    """Without weights LiteLLM shares by rpm, so it becomes the weight besides the limit."""
    entries = document("azure.yaml")["routes"]["team-chat"]["targets"]
    assert [entry["weight"] for entry in entries] == [6, 1440]
    assert [entry["limits"]["requests_per_min"] for entry in entries] == [6, 1440]


def test_limits_of_a_deployment_are_the_targets(tmp_path: Path) -> None:
    """Requests and tokens a minute, requests a day and at once are limits; those of a whole provider are its own."""
    made = of_fixture("limits.yaml").yaml
    first, second, third = loaded(made, tmp_path).routes["openai/gpt-5.4"].targets
    assert first.limits == Allowance(requests_per_min=500, tokens_per_min=200_000, concurrent_max=20)
    assert second.limits == Allowance(requests_per_min=30, requests_per_day=1000)
    assert third.limits == Allowance(concurrent_max=8)  # what LiteLLM gives those of which nothing is said
    assert yaml.safe_load(made)["providers"]["mistral"]["limits"] == {"requests_per_min": 100}


def test_a_limit_that_is_none_is_lost() -> None:
    """Nought, and a number that only the environment knows, are no limits here, and the report says so."""
    made = litellm("{model: groq/a, rpm: 0}", "{model: groq/b, tpm: os.environ/TPM}")
    assert yaml.safe_load(made.yaml)["routes"] == {"m0": {"targets": ["groq/a"]}, "m1": {"targets": ["groq/b"]}}
    assert [note.key[-3:] for note in made.report.of(Outcome.LOST)] == ["rpm", "tpm"]


SETTINGS = (
    "litellm_settings: {cache: true, cache_params: {ttl: NUMBER}}",
    "litellm_settings: {max_budget: NUMBER, budget_duration: 1d}",
    "general_settings: {background_health_checks: true, health_check_interval: NUMBER, max_request_size_mb: NUMBER}",
    "router_settings: {timeout: NUMBER, num_retries: NUMBER, allowed_fails: NUMBER, cooldown_time: NUMBER}",
)


@pytest.mark.parametrize("number", ["-3", ".inf", ".nan"])
def test_numbers_that_make_no_sense_are_lost(number: str, tmp_path: Path) -> None:
    """Whatever it is that is said to be negative, endless or no number, the result passes `check`."""
    names = ("num_retries", "order", "weight", "rpm", "timeout", "max_input_tokens", "input_cost_per_token")
    made = [litellm(f"{{model: groq/a, {name}: {number}}}") for name in names]
    made += [litellm("{model: groq/a}", rest=rest.replace("NUMBER", number)) for rest in SETTINGS]
    for one in made:
        loaded(one.yaml, tmp_path)


@pytest.mark.parametrize("number", ["-3", "1e400"])
def test_numbers_of_portkey_that_make_no_sense_are_lost(number: str, tmp_path: Path) -> None:
    """The same for its times, tries and thresholds."""
    text = """{"provider": "openai", "override_params": {"model": "gpt-5.4"}, "request_timeout": N, "retry": N,
        "cache": {"mode": "simple", "max_age": N}, "strategy": {"cb_config": {"failure_threshold": N}}}"""
    made = import_portkey(text.replace("N", number), file="config.json")
    loaded(made.yaml, tmp_path)
    lost = {note.key for note in made.report.of(Outcome.LOST)}
    assert {"request_timeout", "cache.max_age"} <= lost


def test_regions_probes_and_sizes_are_kept() -> None:
    """Where a deployment answers from is said of the target; background checks are the free question here."""
    made = document("limits.yaml")
    assert made["routes"]["pool"]["targets"][0]["regions"] == ["eu"]
    assert made["providers"]["openai"]["probe"] == {"every_s": 120}
    assert made["server"] == {"body_limit_mb": 8}


# --------------------------------------------------------------------------- strategies

STRATEGIES = {
    "simple-shuffle": ("random", Outcome.TRANSLATED),
    "least-busy": ("least-busy", Outcome.TRANSLATED),
    "usage-based-routing": ("least-busy", Outcome.DIFFERS),
    "usage-based-routing-v2": ("least-busy", Outcome.DIFFERS),
    "latency-based-routing": ("fastest", Outcome.DIFFERS),
    "cost-based-routing": ("cheapest", Outcome.DIFFERS),
    "no-such-routing": ("random", Outcome.LOST),
}


@pytest.mark.parametrize("theirs", STRATEGIES)
def test_each_strategy_has_one_here(theirs: str, tmp_path: Path) -> None:
    """LiteLLM's strategies are those of the route; where one is not quite the same, the report says so."""
    pool = "model_list:\n- {model_name: m, litellm_params: {model: groq/g}}\n"
    pool += "- {model_name: m, litellm_params: {model: cerebras/g}}\n"
    made = imported(f"{pool}router_settings: {{routing_strategy: {theirs}}}\n", CONFIG)
    outcome = next(note.outcome for note in made.report.notes if note.key.endswith("routing_strategy"))
    assert (loaded(made.yaml, tmp_path).routes["m"].strategy, outcome) == STRATEGIES[theirs]


def test_fallbacks_stay_behind_whatever_the_strategy() -> None:
    """A route has one strategy for all: so that fallbacks come last, the quality that was wanted becomes a weight."""
    pool = document("limits.yaml")["routes"]["pool"]
    assert (pool["strategy"], pool["requirements"]) == ("weighted", {"speed": 1})
    assert [entry["weight"] for entry in pool["targets"]] == [1, 1, 0]


def test_groups_of_models_have_their_own_strategy() -> None:
    """A routing group's strategy is that of its models' routes, and its name is one over all of their targets."""
    routes = document("limits.yaml")["routes"]
    assert routes["crowd"]["strategy"] == routes["quick"]["strategy"] == "least-busy"
    assert routes["anything"]["strategy"] == "fastest" and len(routes["anything"]["targets"]) == 3


# -------------------------------------------------------------------------------- names


def test_aliases_are_aliases() -> None:
    """Another name for a model is one here, also for a target without a route; one of nobody is lost."""
    assert document("azure.yaml")["aliases"] == {"gpt-4": "team-chat", "secret-name": "team-chat"}
    made = of_fixture("limits.yaml")
    aliases = yaml.safe_load(made.yaml)["aliases"]
    assert aliases == {"gpt-4o": "openai/gpt-5.4", "small": "mistral/mistral-small-latest"}
    assert any(note.key.endswith("model_group_alias.none") for note in made.report.of(Outcome.LOST))


def test_a_name_like_a_target_is_kept(tmp_path: Path) -> None:
    """A model that is called like its provider's keeps its name and its fallbacks; any other name is an alias."""
    text = """
model_list:
- {model_name: openai/gpt, litellm_params: {model: openai/gpt}}
- {model_name: openai/other, litellm_params: {model: cerebras/other}}
- {model_name: spare, litellm_params: {model: groq/g}}
litellm_settings: {default_fallbacks: [spare]}
"""
    config = loaded(imported(text, CONFIG).yaml, tmp_path)
    found = {name: config.resolve(name) for name in ("openai/gpt", "openai/other")}
    assert {name: [target.name for target in route.targets] for name, route in found.items() if route} == {
        "openai/gpt": ["openai/gpt", "groq/g"],
        "openai/other": ["cerebras/other", "groq/g"],
    }


def test_a_condition_may_ask_for_a_name_with_a_slash(tmp_path: Path) -> None:
    """A route is called like its first target, or has the name as an alias, and further names are aliases."""
    config = loaded(of_fixture("cached.json").yaml, tmp_path)
    asked = ("openai/gpt-5.4", "gpt-5.4", "gpt-large", "openai/anything")
    found = [route for name in asked if (route := config.resolve(name)) is not None]
    assert [route.targets[0].name for route in found] == [*["openai/gpt-5.4"] * 3, "groq/openai/gpt-oss-20b"]


# ------------------------------------------------------------------------------ budgets

ONE = "{model: openai/a, max_budget: 3, budget_duration: 1d}"
MONTH = "litellm_settings: {max_budget: 60, budget_duration: 30d}\n"
OPENAI = "router_settings: {provider_budget_config: {openai: {budget_limit: 5, time_period: 2d}}}\n"


@pytest.mark.parametrize(
    ("models", "rest", "budgets"),
    [
        (["{model: openai/a}"], MONTH, [{"usd_per_day": 2}]),
        (["{model: openai/a}"], MONTH.replace("30d", "1mo"), [{"usd_per_day": 2}]),
        (["{model: openai/a}"], MONTH.replace("30d", "12h"), [{"usd_per_day": 120}]),
        (["{model: openai/a}"], "litellm_settings: {max_budget: 60}\n", None),
        (["{model: openai/a}"], MONTH.replace("30d", "soon"), None),
        (["{model: openai/a}"], MONTH.replace("60", "0"), None),
        ([ONE], "", [{"usd_per_day": 3}]),
        ([ONE, "{model: groq/b}"], "", [{"usd_per_day": 3, "route": "m0"}]),
        ([ONE, "{model: groq/b}"], "litellm_settings: {fallbacks: [{m0: [m1]}]}\n", None),
        (["{model: openai/a}", "{model: gpt-b}"], OPENAI, [{"usd_per_day": 2.5}]),
        (["{model: openai/a}", "{model: groq/b}"], OPENAI, [{"usd_per_day": 2.5, "route": "m0"}]),
        (["{model: openai/a}", "{model: openai/b}", "{model: groq/b}"], OPENAI, None),
    ],
)
def test_budgets_are_dollars_a_day(
    models: list[str], rest: str, budgets: list[dict[str, Any]] | None, tmp_path: Path
) -> None:
    """A budget of the proxy, or of whoever has a route to himself, is one here; any other is reported as lost."""
    made = litellm(*models, rest=rest)
    assert yaml.safe_load(made.yaml).get("budgets") == budgets
    assert len(loaded(made.yaml, tmp_path).budgets) == len(budgets or [])
    lost = any("budget" in note.key for note in made.report.of(Outcome.LOST))
    assert lost is (budgets is None)


# ------------------------------------------------------------------------------- caches


def test_a_cache_by_meaning_keeps_its_settings(tmp_path: Path) -> None:
    """Time, kinds of work, nearness and the model that compares are taken over; where it is kept is not."""
    made = of_fixture("cached.yaml")
    caching = loaded(made.yaml, tmp_path).routes["chat"].policy.cache
    assert (caching.ttl_s, list(caching.tasks)) == (1800, ["chat", "embedding"])
    assert (caching.semantic.route, caching.semantic.similarity_min) == ("vectors", 0.9)
    assert "cache_params.qdrant_api_base: answers are kept in the memory of this process" in str(made.report)


CACHES: dict[str, dict[str, Any] | None] = {
    "cache: true": {"ttl_s": 600},
    "cache: true, cache_params: {type: redis}": {"ttl_s": 60},
    "cache: true, cache_params: {type: local, ttl: 5}": {"ttl_s": 5},
    "cache: true, cache_params: {type: redis-semantic, ttl: 5}": {"ttl_s": 5, "semantic": {"route": "local"}},
    "cache: true, cache_params: {mode: default_off, ttl: 5}": None,
    "cache: false": None,
}


@pytest.mark.parametrize("said", CACHES)
def test_a_cache_is_the_defaults(said: str) -> None:
    """A cache holds for every route; without a time it is LiteLLM's own; one that callers ask for is none here."""
    made = litellm("{model: groq/g}", rest=f"litellm_settings: {{{said}}}\n")
    assert yaml.safe_load(made.yaml).get("defaults", {}).get("cache") == CACHES[said]


def test_portkeys_caches_are_kept(tmp_path: Path) -> None:
    """A cache of the whole config is that of all routes; one of a single target is reported as lost."""
    made = of_fixture("cached.json")
    assert loaded(made.yaml, tmp_path).routes["openai/gpt-5.4"].policy.cache.ttl_s == 3600
    assert "targets[1].cache: a cache is set for a whole route" in str(made.report)
    semantic = {"route": "local", "similarity_min": 0.97}
    assert document("keys.json")["defaults"]["cache"] == {"ttl_s": 10000, "semantic": semantic}
    plain = import_portkey('{"provider": "groq", "cache": {"mode": "simple"}}', file="c.json")
    assert yaml.safe_load(plain.yaml)["defaults"]["cache"] == {"ttl_s": 604800}
