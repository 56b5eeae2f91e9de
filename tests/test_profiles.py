"""What a route says about choosing: strategies by name, profiles, requirements, regions, and other names for models."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from unbroken.config import Config, ConfigError
from unbroken.config_shape import CHOICES
from unbroken.core.strategies import STRATEGIES
from unbroken.faces.cli.check import report
from unbroken.model_names import own_name, sameness
from unbroken.policy import EXPLORE_SHARE, Policy, Route
from unbroken.profiles import PROFILES

KEYS = {"OPENAI_API_KEY": "x", "GROQ_API_KEY": "y"}
PAIR = ["openai/a", "groq/b"]


def config(environ: dict[str, str] | None = None, **values: Any) -> Config:
    return Config.from_values(values, KEYS if environ is None else environ)


def route(**section: Any) -> Route:
    """A route of two targets, with this in its section."""
    return config(routes={"fast": {"targets": PAIR, **section}}).routes["fast"]


def problems(environ: dict[str, str] | None = None, **values: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        config(environ, **values)
    return str(caught.value)


# -------------------------------------------------------------------------- strategies


def test_every_strategy_can_be_configured() -> None:
    """The words of a file are those of the core, in one order."""
    assert CHOICES["strategy"] == tuple(STRATEGIES)
    assert [route(strategy=name).strategy for name in STRATEGIES] == list(STRATEGIES)
    assert route().strategy == "priority"


def test_a_route_says_what_counts_and_where() -> None:
    """Requirements, regions in any case, and the share that may be spent on looking."""
    made = route(
        strategy="learned", requirements={"cost": 0.5}, regions=["EU"], near=["eu-west-1", "US"], explore_share=0.1
    )
    assert (made.requirements, made.regions, made.near) == ({"cost": 0.5}, ("eu",), ("eu-west-1", "us"))
    assert made.explore_share == 0.1
    assert route().explore_share == EXPLORE_SHARE


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"strategy": "lerned"}, "did you mean `learned`?"),
        ({"profile": "prod"}, "one of predictable, available, cheapest, production"),
        ({"requirements": {"costs": 1}}, "requirements.costs: unknown; known here: cost, speed, reliability"),
        ({"requirements": {"cost": 1.5}}, "requirements.cost: must be between 0 and 1"),
        ({"requirements": {"speed": "much"}}, "expected a number"),
        ({"explore_share": 2}, "between 0 and 1"),
    ],
)
def test_what_makes_no_sense_is_named(section: dict[str, Any], said: str) -> None:
    """With the key, and with what is allowed."""
    assert said in problems(routes={"fast": {"targets": PAIR, **section}})


def test_a_target_says_where_it_answers_from() -> None:
    """The nearest word wins: the route's, the provider's, the region in its address."""
    made = config(
        {"AWS_BEARER_TOKEN_BEDROCK": "z"},
        providers={"bedrock": {"options": {"region": "EU-west-1"}}, "vllm": {"regions": ["DE"]}},
        routes={"r": {"targets": ["bedrock/m", "vllm/m", {"target": "vllm/n", "regions": ["FR", "eu"]}]}},
    )
    assert [target.regions for target in made.routes["r"].targets] == [("eu-west-1",), ("de",), ("fr", "eu")]
    assert route().targets[0].regions == ()


# ---------------------------------------------------------------------------- profiles


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_is_a_strategy_and_a_policy(name: str) -> None:
    """On a route, and for all that have none of their own, `auto` too."""
    mine = route(profile=name)
    profile = PROFILES[name]
    assert (mine.profile, mine.strategy, mine.requirements) == (name, profile.strategy, profile.requirements)
    usual = config(profile=name, routes={"fast": {"targets": PAIR}})
    for made in (usual.routes["fast"], usual.routes["auto"]):
        assert (made.strategy, made.policy, made.profile) == (mine.strategy, mine.policy, name)
    assert (mine.policy == Policy()) is (name == "predictable")


def test_what_a_profile_means_is_what_is_documented() -> None:
    """The four of them, as they stand in docs/strategies.md."""
    available, cheapest, production = (route(profile=name) for name in ("available", "cheapest", "production"))
    assert available.strategy == production.strategy == "best"
    assert available.policy.hedging.p95
    assert production.policy.hedging.p95
    assert available.policy.retries.attempts_max == 8
    assert (available.policy.on_refusal, available.policy.on_bad_arguments) == ("failover", "failover")
    assert (cheapest.strategy, cheapest.policy.hedging.on, cheapest.policy.budget.ratio) == ("cheapest", False, 0.1)


def test_what_is_said_besides_wins_over_a_profile() -> None:
    """Field by field, whether it is said for one route or for all."""
    made = config(
        profile="cheapest",
        defaults={"retries": {"attempts_max": 3}, "budget": {"ratio": 0.5}},
        routes={
            "a": {"targets": PAIR, "profile": "available", "strategy": "race", "requirements": {"cost": 1.0}},
            "b": {"targets": PAIR, "policy": {"budget": {"ratio": 0.3}}},
        },
    )
    a, b = made.routes["a"], made.routes["b"]
    assert (a.strategy, a.requirements, a.profile) == ("race", {"cost": 1.0}, "available")
    assert (a.policy.retries.attempts_max, a.policy.hedging.p95) == (3, True)
    assert (b.strategy, b.policy.budget.ratio, b.policy.retries.attempts_max) == ("cheapest", 0.3, 3)


def test_check_shows_how_a_route_chooses() -> None:
    """The profile with what it means, what counts, where, and the other names of the route."""
    console = Console(width=300, file=StringIO())
    section = {"targets": PAIR, "profile": "production", "requirements": {"cost": 0.5}, "regions": "eu", "near": "eu"}
    console.print(report(config(routes={"fast": section}, aliases={"quick": "fast"})))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for words in (
        "best",
        f"profile production: {PROFILES['production'].about}",
        "cost 0.5",
        "only in eu",
        "also quick",
    ):
        assert words in shown


# ------------------------------------------------------------------------ other names


def test_an_alias_is_another_name_for_a_route_or_a_target() -> None:
    """For callers nothing is different but the name."""
    made = config(routes={"fast": {"targets": PAIR}}, aliases={"gpt-4": "fast", "quick": "groq/b", "all": "auto"})
    assert made.resolve("gpt-4") is made.routes["fast"]
    assert made.resolve("all") is made.routes["auto"]
    quick = made.resolve("quick")
    assert quick is not None
    assert [target.name for target in quick.targets] == ["groq/b"]
    assert made.resolve("slow") is None


@pytest.mark.parametrize(
    ("alias", "name", "said"),
    [
        ("x", "fats", "`fats` is no route and no target; known here: fast, openai/MODEL, groq/MODEL"),
        ("x", "nobody/m", "is no route and no target"),
        ("x", "groq/", "is no route and no target"),
        ("fast", "auto", "there is a route of this name"),
        ("auto", "fast", "there is a route of this name"),
    ],
)
def test_an_alias_that_leads_nowhere_is_an_error(alias: str, name: str, said: str) -> None:
    """And says which names are known."""
    assert said in problems(routes={"fast": {"targets": PAIR}}, aliases={alias: name})


LLAMA = {
    "groq": "llama-3.3-70b-versatile",
    "cerebras": "llama-3.3-70b",
    "together": "meta-llama/Llama-3.3-70B-Instruct-Turbo",
    "fireworks": "accounts/fireworks/models/llama-v3p3-70b-instruct",
    "bedrock": "meta.llama3-3-70b-instruct-v1:0",
}


def test_any_host_of_a_model_is_a_target() -> None:
    """Every provider of the file that has it, under its name there, in the catalogue's order."""
    made = config(
        {},
        providers={name: {"key": "k"} for name in ("fireworks", "openai", "together", "groq")}
        | {"mine": {"base_url": "http://10.0.0.5/v1", "model_like": {"big": "meta-llama/Llama-3.3-70B-Instruct"}}},
        routes={"llama": {"targets": [{"target": "any/llama-3.3-70b", "weight": 2}]}},
    )
    names = [f"{name}/{LLAMA[name]}" for name in ("groq", "together", "fireworks")]
    assert [target.name for target in made.routes["llama"].targets] == [*names, "mine/big"]
    assert {target.weight for target in made.routes["llama"].targets} == {2.0}
    asked = made.resolve("any/Llama-3.3-70B-Instruct")
    assert asked is not None
    assert asked.targets == made.routes["llama"].targets
    assert made.resolve("any/nothing-like-it") is None
    assert made.resolve("any/") is None


def test_without_providers_in_the_file_those_of_the_environment_are_hosts() -> None:
    """Whoever has a key there and hosts the model; the others stay out of it."""
    made = config(KEYS, routes={"llama": {"targets": ["any/llama-3.3-70b"]}})
    assert [target.provider for target in made.routes["llama"].targets] == ["groq"]
    assert list(made.accounts) == ["groq"]


def test_a_model_that_nobody_hosts_is_an_error() -> None:
    """Which names the providers that are here."""
    said = problems({}, providers={"groq": {"key": "k"}}, routes={"r": {"targets": ["any/zzz-9b"]}})
    assert "no provider here is known to host `zzz-9b`; providers here: groq" in said


def test_a_provider_that_is_called_any_is_meant() -> None:
    """A name of the operator's own wins."""
    own = {"any": {"base_url": "http://10.0.0.5/v1"}}
    made = config({}, providers=own, routes={"r": {"targets": ["any/m"]}})
    assert [target.name for target in made.routes["r"].targets] == ["any/m"]


@pytest.mark.parametrize(
    "names",
    [
        ("meta-llama/Llama-3.3-70B-Instruct", *LLAMA.values(), "llama3.3:70b", "meta/llama-3.3-70b-instruct-maas",
         "Meta-Llama-3_3-70B-Instruct", "@cf/meta/llama-3.3-70b-instruct-fp8-fast"),
        ("openai/gpt-oss-120b", "openai.gpt-oss-120b-1:0", "openai-gpt-oss-120b",
         "accounts/fireworks/models/gpt-oss-120b"),
        ("deepseek-ai/DeepSeek-V3.1", "accounts/fireworks/models/deepseek-v3p1", "deepseek.v3.1", "DeepSeek-V3-1"),
        ("google/gemma-3-27b-it", "gemma3:27b", "gemma-3-27b"),
    ],
)  # fmt: skip
def test_the_names_of_one_model_are_the_same(names: tuple[str, ...]) -> None:
    """At all of its hosts, as they really write them."""
    assert len({sameness(name) for name in names}) == 1


def test_other_models_are_others() -> None:
    """Another size, version, date or training is another model."""
    names = [
        "llama-3.3-70b", "llama-3.1-70b", "llama-3.3-8b", "deepseek-v3", "deepseek-v3.1", "deepseek-v3-0324",
        "deepseek-r1-distill-llama-70b", "gpt-4", "gpt-4-turbo", "gpt-4o", "qwen3-32b", "qwen3-coder-32b",
        "gpt-oss-120b", "gpt-oss-20b", "gpt-oss-120b:free", "llama-guard-3-8b",
    ]  # fmt: skip
    assert len({sameness(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("provider", "names", "own"),
    [
        ("together", ["Llama-3.1-8B", "Llama-3.1-8B-Instruct-Turbo"], "Llama-3.1-8B-Instruct-Turbo"),
        ("bedrock", ["eu-west-1/meta.llama3-8b", "meta.llama3-8b-instruct-v1:0"], "meta.llama3-8b-instruct-v1:0"),
        ("fireworks", ["m", "accounts/fireworks/models/m"], "accounts/fireworks/models/m"),
        ("x", ["m-2026-01-02", "m-latest-and-longer"], "m-latest-and-longer"),
        ("x", ["us-east-1/m"], None),
        ("x", [], None),
    ],
)  # fmt: skip
def test_the_plainest_name_is_used(provider: str, names: list[str], own: str | None) -> None:
    """Of a model that was taught to answer, without a date or a region, as it is asked for there."""
    assert own_name(provider, names) == own
