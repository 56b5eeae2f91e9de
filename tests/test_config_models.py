"""What a configuration takes from the catalogue of models, and what it says instead: prices, limits, addresses."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.config import Config, ConfigError, Problem, load
from unbroken.models import Catalog, Model, write_catalog
from unbroken.models import load as load_models
from unbroken.price import Price, Quota, Variant
from unbroken.types import Target


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "unbroken.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[Problem]:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text, **environ)
    return caught.value.problems


def target(tmp_path: Path, providers: str, entry: str, **environ: str) -> Target:
    config = read(tmp_path, f"providers: {providers}\nroutes: {{fast: {{targets: [{entry}]}}}}\n", **environ)
    return config.routes["fast"].targets[0]


# ------------------------------------------------------------------- from the data


def test_a_known_model_brings_its_price_and_limits(tmp_path: Path) -> None:
    """Nothing need be said of a model that is listed."""
    known = load_models({})[0].of("openai")["gpt-5.4"]
    found = target(tmp_path, "{}", "openai/gpt-5.4", OPENAI_API_KEY="k")

    assert found.price == known.price
    assert found.context_tokens == known.context_tokens
    assert found.capabilities == {"tools", "vision", "schema", "audio", "reasoning"}


def test_an_unknown_model_brings_nothing(tmp_path: Path) -> None:
    """Of a model that nobody has listed nothing is claimed, and nothing is ruled out."""
    found = target(tmp_path, "{}", "openai/no-such-model", OPENAI_API_KEY="k")

    assert (found.price, found.context_tokens, found.capabilities) == (Price(), None, frozenset())


def test_only_what_is_denied_outright_rules_out(tmp_path: Path) -> None:
    """A model that takes in nothing but text cannot see; that no tools are listed proves nothing."""
    own = tmp_path / "data" / "unbroken" / "models.json.gz"
    own.parent.mkdir(parents=True)
    models = {
        "blind": Model(can=frozenset({"reasoning"}), cannot=frozenset({"vision"})),
        "silent": Model(can=frozenset({"tools"})), "hears": Model(can=frozenset({"audio", "reasoning"})),
        "nothing": Model(context_tokens=5),
    }  # fmt: skip
    own.write_bytes(write_catalog(Catalog(date="2999-01-01", providers={"groq": models})))
    found = {
        name: target(tmp_path, "{}", f"groq/{name}", XDG_DATA_HOME=str(tmp_path / "data")).capabilities
        for name in models
    }

    assert found == {
        "blind": {"tools", "schema"}, "silent": {"tools", "vision", "schema", "audio"},
        "hears": {"tools", "vision", "schema", "audio"}, "nothing": frozenset(),
    }  # fmt: skip


def test_a_name_of_the_operators_own_is_not_looked_up(tmp_path: Path) -> None:
    """The same model name at another address may be another model, even where the provider's name is a known one."""
    found = target(tmp_path, "{deepinfra: {base_url: 'http://x/v1'}}", "deepinfra/openai/gpt-oss-120b")

    assert not found.price.known
    assert found.context_tokens is None


def test_another_account_has_the_same_models(tmp_path: Path) -> None:
    """What is `like` a row has its list."""
    found = target(tmp_path, "{second: {like: openai, key: k}}", "second/gpt-5.4")

    assert found.price.input_usd == 2.5


def test_models_like_others(tmp_path: Path) -> None:
    """A deployment's name says nothing; `model_like` of the provider or of the target says which model it is."""
    providers = "{azure: {key: k, options: {resource: acme}, model_like: {a: gpt-5.4, b: gpt-5.4}}}"

    for entry, model in (
        ("azure/a", "gpt-5.4"), ("{target: azure/b, model_like: gpt-4o}", "gpt-4o"),
        ("{target: azure/c, model_like: gpt-4o}", "gpt-4o"),
    ):  # fmt: skip
        assert target(tmp_path, providers, entry).price == load_models({})[0].of("azure")[model].price
    config = read(tmp_path, f"providers: {providers}\nroutes: {{fast: {{targets: [azure/a]}}}}\n")
    explicit = config.resolve("azure/b")
    assert explicit is not None
    assert explicit.targets[0].price.known


def test_a_model_that_is_like_nothing(tmp_path: Path) -> None:
    """A name that no list has is warned of, and the gateway starts."""
    config = read(
        tmp_path,
        "providers: {azure: {key: k, model_like: {a: gpt-99}}}\n"
        "routes: {fast: {targets: [{target: openai/x, model_like: gpt-98}]}}\n",
    )

    assert "provider azure: nothing is known of `gpt-99`, which `model_like` names" in config.warnings
    assert "provider openai: nothing is known of `gpt-98`, which `model_like` names" in config.warnings


def test_a_catalogue_that_is_named(tmp_path: Path) -> None:
    """UNBROKEN_CATALOG that cannot be used is an error; the operator's own that cannot be is a warning."""
    broken = tmp_path / "unbroken" / "models.json.gz"
    broken.parent.mkdir()
    broken.write_bytes(b"{}")

    (problem,) = problems(tmp_path, "{}", UNBROKEN_CATALOG=str(broken))
    assert "unbroken" in problem.message
    config = read(tmp_path, "{}", XDG_DATA_HOME=str(tmp_path), OPENAI_API_KEY="k")
    assert config.targets[0].price.known
    assert any("the catalogue that came with this version is used" in warning for warning in config.warnings)


# ---------------------------------------------------------------- from the file


def test_prices_of_a_file(tmp_path: Path) -> None:
    """A price in the file stands in place of all that the catalogue says; the target's before the provider's."""
    providers = """
      openai:
        key: k
        price:
          input_usd: 2
          output_usd: 12
          variants: [{above_tokens: 272000, input_usd: 4}, {service: batch, input_usd: 1, output_usd: 6}]
          included: {requests: 1000, period: day}
"""
    expected = Price(
        input_usd=2.0, output_usd=12.0,
        variants=(
            Variant(above_tokens=272_000, input_usd=4.0),
            Variant(service="batch", input_usd=1.0, output_usd=6.0),
        ),
        included=Quota(requests=1000, period="day"),
    )  # fmt: skip

    assert target(tmp_path, providers, "openai/gpt-5.4").price == expected
    assert target(tmp_path, providers, "{target: openai/gpt-5.4, price: {request_usd: 0.1}}").price == Price(
        request_usd=0.1
    )
    assert target(tmp_path, "{openai: {key: k, price: {}}}", "openai/gpt-5.4").price == Price()
    assert target(tmp_path, "{openai: {key: k, context_tokens: 77}}", "openai/gpt-5.4").context_tokens == 77
    assert target(tmp_path, "{}", "ollama/x").price == Price(input_usd=0.0, output_usd=0.0)


@pytest.mark.parametrize(
    ("price", "key", "says"),
    [
        ("{input_usd: -1}", ".input_usd", "at least 0, not `-1`"),
        ("{input_usd: cheap}", ".input_usd", "expected a number, found text"),
        ("{inputs_usd: 1}", ".inputs_usd", "did you mean `input_usd`?"),
        ("{included: {period: fortnight}}", ".included.period", "one of day, week, month"),
        ("{included: {requests: 1.5}}", ".included.requests", "expected a whole number"),
        ("{variants: [{above_token: 5}]}", ".variants[0].above_token", "did you mean `above_tokens`?"),
        ("{variants: [5]}", ".variants[0]", "expected a mapping"),
        ("5", "", "expected a mapping"),
    ],
)
def test_wrong_prices(tmp_path: Path, price: str, key: str, says: str) -> None:
    """An error names the place in the price, and what was expected there."""
    (problem,) = problems(tmp_path, f"providers:\n  openai: {{key: k, price: {price}}}\n")

    assert (problem.line, problem.key) == (2, f"providers.openai.price{key}")
    assert says in problem.message


def test_settings_reach_the_target(tmp_path: Path) -> None:
    """`auth`, `options` and `may_drop` are the provider's, with the target's on top."""
    providers = "{mine: {base_url: 'http://x/v1', auth: API-Key, options: {a: '1', b: '2'}, may_drop: [seed]}}"
    plain = target(tmp_path, providers, "mine/m")
    special = target(tmp_path, providers, "{target: mine/m, auth: bearer, options: {b: '3'}, may_drop: ['*']}")

    assert (plain.auth, special.auth) == ("api-key", "bearer")
    assert (plain.options, special.options) == ({"a": "1", "b": "2"}, {"a": "1", "b": "3"})
    assert (plain.may_drop, special.may_drop) == (frozenset({"seed"}), frozenset({"*"}))


@pytest.mark.parametrize(
    "where", ["providers: {openai: {auth: 'a b'}}", "routes: {r: {targets: [{target: openai/m, auth: ''}]}}"]
)
def test_a_header_that_is_none(tmp_path: Path, where: str) -> None:
    """What cannot be a header's name is an error at its place."""
    (problem,) = problems(tmp_path, where)

    assert problem.key.endswith(".auth")
    assert "name of a header" in problem.message


# ----------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("providers", "entry", "base_url"),
    [
        ("{azure: {options: {resource: acme}}}", "azure/dep", "https://acme.openai.azure.com/openai/v1"),
        (
            "{azure-deployments: {options: {resource: acme}}}", "azure-deployments/my dep",
            "https://acme.openai.azure.com/openai/deployments/my%20dep?api-version=2024-10-21",
        ),
        (
            "{azure-deployments: {options: {resource: acme, api_version: 2025-01-01-preview}}}", "azure-deployments/d",
            "https://acme.openai.azure.com/openai/deployments/d?api-version=2025-01-01-preview",
        ),
        ("{bedrock: {options: {region: eu-central-1}}}", "bedrock/m", "https://bedrock-runtime.eu-central-1.amazonaws.com"),
        (
            "{}", "{target: bedrock/m, options: {region: us-west-2}}",
            "https://bedrock-runtime.us-west-2.amazonaws.com",
        ),
        ("{mine: {base_url: 'http://{host}:{port}/v1', options: {host: x, port: '80'}}}", "mine/m", "http://x:80/v1"),
        ("{mine: {base_url: 'http://x/v1?api-version=1'}}", "mine/m", "http://x/v1?api-version=1"),
    ],
)  # fmt: skip
def test_addresses_are_made_of_options(tmp_path: Path, providers: str, entry: str, base_url: str) -> None:
    """Blanks in an address are filled with options and the model, quoted; a query stays."""
    assert target(tmp_path, providers, entry).base_url == base_url


def test_options_of_the_environment(tmp_path: Path) -> None:
    """Region, project and resource are looked up where the providers' own SDKs look."""
    environ = {"AWS_DEFAULT_REGION": "eu-west-1", "GOOGLE_CLOUD_PROJECT": "p", "AZURE_OPENAI_ENDPOINT": "https://e/"}

    assert "eu-west-1" in target(tmp_path, "{}", "bedrock/m", **environ).base_url
    assert target(tmp_path, "{}", "vertex/m", **environ).options == {"project": "p", "location": "global"}
    assert target(tmp_path, "{}", "azure/m", **environ).base_url == "https://e/openai/v1"
    assert target(tmp_path, "{}", "azure-deployments/m", **environ).base_url == (
        "https://e/openai/deployments/m?api-version=2024-10-21"
    )


def test_several_projects_are_several_accounts(tmp_path: Path) -> None:
    """Each is a provider of its own, with its own health and limits, and the same prices."""
    config = read(
        tmp_path,
        "providers:\n  one: {like: vertex, key: a, options: {project: p-1}}\n"
        "  two: {like: vertex, key: b, options: {project: p-2, location: europe-west4}}\n"
        "routes: {fast: {targets: [one/gemini-2.5-pro, two/gemini-2.5-pro]}}\n",
    )
    one, two = config.routes["fast"].targets

    assert (one.format, one.auth, one.base_url) == ("gemini", "bearer", "")
    assert one.options == {"project": "p-1", "location": "global"}
    assert two.options == {"project": "p-2", "location": "europe-west4"}
    assert one.quota_scope != two.quota_scope
    assert one.price == two.price
    assert one.price.input_usd == 1.25
    assert config.warnings == ()


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("bedrock/m", "target bedrock/m: its address needs `region`; set AWS_REGION or AWS_DEFAULT_REGION"),
        ("vertex/m", "target vertex/m: its address needs `project`; set GOOGLE_CLOUD_PROJECT"),
        ("mine/m", "target mine/m: its address needs `host`; give it under `options`"),
    ],
)
def test_an_address_with_a_blank_in_it(tmp_path: Path, entry: str, says: str) -> None:
    """An option that nobody gave is warned of, with where it would be looked for."""
    config = read(
        tmp_path, f"providers: {{mine: {{base_url: 'http://{{host}}/v1'}}}}\nroutes: {{r: {{targets: [{entry}]}}}}\n"
    )

    assert [warning for warning in config.warnings if warning.startswith(says)]


def test_a_signed_provider_needs_no_key(tmp_path: Path) -> None:
    """`auth: sigv4` signs: that there is no key to send is no warning."""
    config = read(tmp_path, "providers: {bedrock: {auth: sigv4, options: {region: x}, model: m}}")

    assert config.targets[0].auth == "sigv4"
    assert not [warning for warning in config.warnings if "no key" in warning]


@pytest.mark.parametrize("query", ["key=abc", "api-key=abc", "a=1&subscription-key=abc", "sig=abc", "access_token=x"])
def test_a_key_does_not_belong_into_an_address(tmp_path: Path, query: str) -> None:
    """Addresses are shown in tables and logs: a key in one is refused, and not repeated."""
    (problem,) = problems(tmp_path, f"providers: {{mine: {{base_url: 'http://x/v1?{query}'}}}}")

    assert "give the key as `key`" in problem.message
    assert "abc" not in problem.message
