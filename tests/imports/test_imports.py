"""Configurations of other gateways: each comes out as one of ours, and nothing of it is lost in silence.

The fixtures follow published ones (documentation, examples and repositories of LiteLLM and
Portkey) in structure; their names and values are made up.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
import yaml
from typer.testing import CliRunner

from faces.running import running
from imports.fixtures import (
    ALL,
    HERE,
    LITELLM,
    PORTKEY,
    document,
    environment,
    imported,
    litellm,
    loaded,
    of_fixture,
    targets,
)
from unbroken.catalog import providers
from unbroken.config import ConfigError
from unbroken.faces.cli.app import app
from unbroken.imports import Imported
from unbroken.imports.litellm_words import PREFIXES
from unbroken.imports.portkey_words import PROVIDERS
from unbroken.imports.report import Outcome
from unbroken.testing import FakeProvider, Status

UNKNOWN = "zz-unheard-of"
OPEN = ("model_group_alias", "environment_variables", "extra_headers")
"""Mappings in which any name means something."""


def problem(text: str, name: str, **options: Any) -> str:
    with pytest.raises(ConfigError) as error:
        imported(text, Path(name), **options)
    return str(error.value)


# ------------------------------------------------------------------------ every fixture


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_each_passes_check(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command writes is accepted by `unbroken check`."""
    monkeypatch.chdir(tmp_path)
    run = CliRunner()
    made = run.invoke(app, ["import", file.parent.name, str(file), "--output", "unbroken.yaml"])
    assert made.exit_code == 0, made.output
    for name, value in environment(Path("unbroken.yaml").read_text()).items():
        monkeypatch.setenv(name, value)
    checked = run.invoke(app, ["check", "unbroken.yaml"])
    assert checked.exit_code == 0 and "ok:" in checked.output, checked.output


def test_there_are_enough_of_them() -> None:
    """At least ten are LiteLLM's and five Portkey's."""
    assert len(LITELLM) >= 10 and len(PORTKEY) >= 5


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of all plain values."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}".removeprefix("."))
    elif isinstance(value, list) and value:
        for at, part in enumerate(value):
            yield from leaves(part, f"{path}[{at}]")
    else:
        yield path


def with_strangers(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The document with a key that nobody knows in one of its mappings, for each of them in turn."""
    if isinstance(value, dict):
        yield f"{path}.{UNKNOWN}".removeprefix("."), {**value, UNKNOWN: 1}
        for name, part in value.items():
            for where, changed in with_strangers(part, f"{path}.{name}".removeprefix(".")):
                yield where, {**value, name: changed}
    elif isinstance(value, list):
        for at, part in enumerate(value):
            for where, changed in with_strangers(part, f"{path}[{at}]"):
                yield where, [*value[:at], changed, *value[at + 1 :]]


def is_under(path: str, above: str) -> bool:
    return bool(above) and (path == above or path.startswith((f"{above}.", f"{above}[")))


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_every_value_is_accounted_for(file: Path) -> None:
    """Each value of the source is in the report, itself or with all that it is a part of, with its line."""
    lines = file.read_text().splitlines()
    notes = [note for note in imported(file.read_text(), file).report.notes if note.file == file.name and note.key]
    for path in leaves(yaml.safe_load(file.read_text())):
        assert any(is_under(path, note.key) for note in notes if note.outcome is not Outcome.NEEDED), path
    for note in notes:
        name = re.split(r"[.\[]", note.key)[-1].rstrip("]")
        assert note.outcome is Outcome.NEEDED or name.isdecimal() or name in lines[note.line - 1] or "." in note.key


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_a_key_that_nobody_knows_is_never_lost_in_silence(file: Path) -> None:
    """A key that we never heard of is named as one without a counterpart, wherever it is put."""
    strangers = list(with_strangers(yaml.safe_load(file.read_text())))
    assert strangers
    for path, changed in strangers:
        report = imported(json.dumps(changed), file).report  # JSON is YAML
        accounted = [n for n in report.notes if is_under(path, n.key) and n.outcome is not Outcome.NEEDED]
        assert accounted, path
        free = any(f"{name}.{UNKNOWN}" in path for name in OPEN)
        assert free or all(note.outcome is Outcome.LOST for note in accounted if note.key == path), path


@pytest.mark.parametrize("file", ALL, ids=lambda file: file.name)
def test_no_key_is_copied(file: Path) -> None:
    """A key that stands in the source is neither in the YAML nor in the report."""
    made = imported(file.read_text(), file)
    assert "made-up" not in made.yaml and "made-up" not in str(made.report)


# ------------------------------------------------------------------------------ LiteLLM


def test_fallbacks_of_fallbacks_become_one_list() -> None:
    """What LiteLLM would ask one after the other are the targets of a route, in that order."""
    made = document("tiers.yaml")
    assert targets(made, "quick") == [
        "ollama/llama3.2:3b", "ollama-gpu/qwen3:32b", "openai/gpt-5.6-luna", "openai/gpt-5.4",
    ]  # fmt: skip
    assert made["routes"]["quick"]["policy"]["retries"]["attempts_max"] == 12
    assert made["defaults"]["breaking"] == {"consecutive": 4, "open_s": 90, "open_s_max": 90}


def test_a_pool_shares_and_what_is_behind_it_does_not() -> None:
    """Deployments of one name have equal weight, and those that they fall back to have none."""
    entries = document("pool.yaml")["routes"]["breeze"]["targets"]
    assert [entry["weight"] for entry in entries] == [1, 1, 1, 0, 0]


def test_azure_resources_become_options() -> None:
    """An address of Azure is its resource, any other is kept with the path that LiteLLM adds, a login is a login."""
    made = document("azure.yaml")["providers"]
    assert made["azure-deployments"]["options"] == {"resource": "acme-east", "api_version": "2024-10-21"}
    assert made["azure-deployments-apim"]["base_url"].startswith("${APIM_BASE}/openai/deployments/{model}?")
    assert made["azure-deployments-acme-east"]["key"] == "azure-ad:"


def test_whole_providers_are_open_to_every_name(tmp_path: Path) -> None:
    """`anthropic/*` needs no route, and a prefix of one's own is an account of that name."""
    config = loaded(of_fixture("open_names.yaml").yaml, tmp_path)
    for name in ("openai/gpt-x", "anthropic/claude-x", "fast/llama-x", "mistral/mistral-small-latest"):
        assert config.resolve(name) is not None, name
    assert config.resolve("fast/llama-x").targets[0].base_url == providers()["groq"].base_url  # type: ignore[union-attr]
    assert config.aliases == {"bedrock/nightly": "bedrock-nightly"}


def test_order_comes_before_weight() -> None:
    """The lowest order shares by weight, the next is behind it; a fallback may be one deployment."""
    made = document("ordered.yaml")
    assert [entry["weight"] for entry in made["routes"]["main"]["targets"]] == [9, 1, 0]
    assert targets(made, "side")[1] == "groq/openai/gpt-oss-120b"


def test_clouds_keep_region_project_price_and_task(tmp_path: Path) -> None:
    """What LiteLLM says of a deployment is said of the target."""
    config = loaded(of_fixture("clouds.yaml").yaml, tmp_path)
    first, second = config.routes["claude"].targets
    assert (first.options["region"], second.credential) == ("us-east-1", "aws:europe")
    assert first.price is not None and (first.price.input_usd, first.price.output_usd) == (3.0, 15.0)
    assert "vision" not in first.capabilities
    assert [task.value for task in config.routes["vectors"].targets[0].tasks] == ["embedding"]
    assert config.routes["vectors"].targets[0].key_name == "SHARED_KEY"


def test_defaults_behind_everything() -> None:
    """`default_fallbacks` and `*` stand behind every route that names no others."""
    assert targets(document("deployed.yaml"), "search") == ["perplexity/sonar", "anthropic/claude-sonnet-5"]
    assert targets(document("homelab.yaml"), "tiny") == ["llamacpp/tiny", "ollama/llama3"]
    assert document("deployed.yaml")["routes"]["large"]["policy"] == {"on_refusal": "failover"}


def test_included_files_are_part_of_it() -> None:
    """Models of a file that is included are as good as those of the file itself."""
    assert targets(document("included.yaml"), "one") == ["cerebras/gpt-oss-120b", "together/openai/gpt-oss-120b"]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_every_prefix_leads_to_a_target(prefix: str, tmp_path: Path) -> None:
    """Each provider that LiteLLM and we know can be taken over by its prefix."""
    made = litellm(f"{{model: {prefix}/some/model, api_key: os.environ/SOME_KEY}}")
    (target,) = loaded(made.yaml, tmp_path).routes["m0"].targets
    assert "model" in target.model


def test_every_hosted_provider_has_a_prefix() -> None:
    """No row of the catalogue that LiteLLM can ask too is left out."""
    without = {"pollinations", "azure", "sglang", "tgi"}
    known = {prefix.row for prefix in PREFIXES.values()}
    assert {name for name in providers() if not name.endswith("-compatible")} - known == without


def test_what_is_unknown_can_be_left_out() -> None:
    """With `--partial`, a provider that nobody knows is in the report and the rest is translated."""
    text = "model_list:\n- {model_name: a, litellm_params: {model: voyage/v}}\n"
    text += "- {model_name: b, litellm_params: {model: groq/g}}\n"
    made = imported(text, Path("config.yaml"), partial=True)
    assert list(yaml.safe_load(made.yaml)["routes"]) == ["b"]
    assert "config.yaml:2: model_list[0]: left out: nothing is known of the provider `voyage`" in str(made.report)


# ------------------------------------------------------------------------------ Portkey


def test_targets_of_a_chain_in_their_order() -> None:
    """A fallback strategy is the order of the targets, and its retries are those of the route."""
    made = document("chain.json")
    assert targets(made, "auto") == ["openai/gpt-5.4", "gemini/gemini-2.5-flash", "claude-prod/claude-sonnet-5"]
    assert made["defaults"]["retries"]["same_target_max"] == 5
    assert made["routes"]["auto"]["policy"]["retries"]["attempts_max"] == 18


def test_strategies_within_strategies() -> None:
    """A weight is that of whoever is first in it, a time limit that of the nearest level, retries the target's own."""
    made = document("nested.json")
    entries = made["routes"]["auto"]["targets"]
    assert [(entry["weight"], entry["deadlines"]["first_content_s"]) for entry in entries] == [(3, 5), (1, 2), (0, 10)]
    assert made["providers"]["openai-west"]["same_target_max"] == 2


def test_conditions_on_the_model_are_routes() -> None:
    """Who asked for a model by a condition's name asks for a route of that name; other named targets are routes too."""
    made = document("conditions.json")
    assert list(made["routes"]) == ["fastest", "best", "creative", "auto"]
    assert made["aliases"] == {"smartest": "best"}
    assert targets(made, "auto") == ["openai-prod/gpt-5.6-luna"]


def test_breakers_are_the_routes() -> None:
    """Thresholds are shares and seconds here."""
    breaking = document("breaker.json")["defaults"]["breaking"]
    assert breaking == {"consecutive": 5, "failure_rate": 0.2, "calls_min": 10, "open_s": 60}


def test_a_model_for_targets_without_one() -> None:
    """What a caller named there is said on the command line here, or is the catalogue's model."""
    file = HERE / "portkey" / "keys.json"
    assert targets(yaml.safe_load(imported(file.read_text(), file).yaml), "auto")[0].endswith("/gpt-5.6-luna")
    chosen = imported(file.read_text(), file, model="gpt-5.4")
    assert targets(yaml.safe_load(chosen.yaml), "auto")[0] == "openai-key-1/gpt-5.4"


@pytest.mark.parametrize("provider", PROVIDERS)
def test_every_provider_of_portkey_leads_to_a_target(provider: str, tmp_path: Path) -> None:
    """Each provider that both know can be taken over by its slug."""
    config = {"provider": provider, "api_key": "made-up", "override_params": {"model": "m"}}
    made = imported(json.dumps(config), Path("config.json"))
    assert loaded(made.yaml, tmp_path).routes["auto"].targets[0].model == "m"


def test_whose_a_stored_key_is_can_be_said() -> None:
    """A key whose name says nothing is the provider's that the command line names."""
    made = imported('{"virtual_key": "prod-1"}', Path("config.json"), whose={"prod-1": "mistral-ai"})
    assert yaml.safe_load(made.yaml)["providers"] == {"prod-1": {"like": "mistral", "key": "${PROD_1_API_KEY}"}}


# ------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("model_list: [", "c.yaml", "c.yaml:1: not YAML: "),
        ("- a\n- b\n", "c.yaml", "c.yaml:1: expected a mapping"),
        ("", "c.yaml", "c.yaml:1: expected a mapping"),
        ("models: {}\n", "c.yaml", "is this a LiteLLM configuration?"),
        ("model_list:\n- model_name: a\n", "c.yaml", "c.yaml:2: model_list[0]: a model needs a `litellm_params.model`"),
        (
            "model_list:\n- model_name: a\n  litellm_params:\n    model: gorq/x\n",
            "c.yaml",
            "model_list[0].litellm_params.model: nothing is known of the provider `gorq`, and there is no",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: nobody-knows}\n",
            "c.yaml",
            "c.yaml:3: model_list[0].litellm_params.model: which provider is this?",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: vertex_ai/claude-sonnet-5}\n",
            "c.yaml",
            "only Google's own models",
        ),
        (
            "model_list:\n- model_name: a\n  litellm_params: {model: gpt-5.4, litellm_credential_name: b}\n",
            "c.yaml",
            "c.yaml:3: model_list[0].litellm_params.litellm_credential_name: there is no credential of this name",
        ),
        ("model_list: []\nmodel_list: []\n", "c.yaml", "c.yaml:2: model_list: given twice"),
        ("include: [absent.yaml]\n", "c.yaml", "c.yaml:1: include[0]: this file cannot be read"),
        ('{"strategy": ', "c.json", "c.json:1: not JSON: "),
        ('{\n// why\n"strategy": {}}', "c.json", "JSON has no comments"),
        ("[]", "c.json", "c.json:1: expected an object"),
        ('{"models": []}', "c.json", "is this a config of Portkey's?"),
        ('{"a": 1,\n"a": 2}', "c.json", "c.json:2: a: given twice"),
        (
            '{"provider": "opnai",\n"api_key": "k"}',
            "c.json",
            "c.json:1: provider: nothing is known of this provider; did you mean `openai`?",
        ),
        ('{"virtual_key":\n"prod-1"}', "c.json", "c.json:1: virtual_key: whose key is this? Say it with --provider"),
        ('{"provider": "bedrock"}', "c.json", "this target names no model"),
        (
            '{"strategy": {\n"mode": "roulette"}, "targets": [{"provider": "openai"}]}',
            "c.json",
            "c.json:2: strategy.mode: no such mode of a strategy",
        ),
    ],
)
def test_what_is_wrong_has_a_place(text: str, name: str, message: str) -> None:
    """A file that cannot be used is refused with its name, the line and the key."""
    assert message in problem(text, name)


def test_all_that_is_wrong_is_said_at_once() -> None:
    """Every model that cannot be used is named, not only the first."""
    text = "model_list:\n" + "".join(f"- {{model_name: m, litellm_params: {{model: no{n}/x}}}}\n" for n in range(3))
    assert problem(text, "c.yaml").count("nothing is known of the provider") == 3


# ------------------------------------------------------------------------------ command


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "config.yaml"
    file.write_text("model_list:\n- model_name: a\n  litellm_params: {model: groq/g, seed: 3}\n")
    return file


def test_yaml_and_report_go_separate_ways(config: Path) -> None:
    """The YAML alone is on stdout, so that it can be piped, and the report on stderr or in a file."""
    run = CliRunner().invoke(app, ["import", "litellm", str(config)])
    assert yaml.safe_load(run.stdout)["routes"] == {"a": {"targets": ["groq/g"]}}
    assert "no counterpart (1)" in run.stderr and "litellm_params.seed" in run.stderr
    run = CliRunner().invoke(app, ["import", "litellm", str(config), "--report", "report.txt"])
    assert run.stderr == "" and "no counterpart (1)" in Path("report.txt").read_text()


def test_nothing_is_overwritten_unasked(config: Path) -> None:
    """A file that is there stays as it is, unless `--force` is given."""
    Path("out.yaml").write_text("mine")
    run = CliRunner().invoke(app, ["import", "litellm", str(config), "-o", "out.yaml"])
    assert run.exit_code == 1 and "--force" in run.stderr and Path("out.yaml").read_text() == "mine"
    run = CliRunner().invoke(app, ["import", "litellm", str(config), "-o", "out.yaml", "--force"])
    assert run.exit_code == 0 and "groq/g" in Path("out.yaml").read_text()


def test_the_command_says_what_is_wrong(config: Path) -> None:
    """A mistake ends the command with 1, names the place, and nothing is written."""
    config.write_text("model_list:\n- {model_name: a, litellm_params: {model: voyage/v}}\n")
    run = CliRunner().invoke(app, ["import", "litellm", str(config), "-o", "out.yaml"])
    assert run.exit_code == 1 and f"{config}:2: model_list[0].litellm_params.model" in run.stderr
    assert not Path("out.yaml").exists()
    absent = CliRunner().invoke(app, ["import", "portkey", "absent.json"])
    assert absent.exit_code == 1 and "cannot be read" in absent.stderr
    wrong = CliRunner().invoke(app, ["import", "portkey", "absent.json", "--provider", "prod"])
    assert wrong.exit_code == 2 and "KEY=PROVIDER" in wrong.stderr


# ------------------------------------------------------------------------------- served


async def who_answers(made: Imported, model: str, tmp_path: Path) -> str:
    """The target that a gateway of this configuration names for a request."""
    async with (
        running(loaded(made.yaml, tmp_path)) as gateway,
        openai.AsyncOpenAI(base_url=gateway.url, api_key=next(iter(gateway.keys), "any"), max_retries=0) as client,
    ):
        messages: Any = [{"role": "user", "content": "Tell me of the sea."}]
        answer = await client.chat.completions.with_raw_response.create(model=model, messages=messages)
        return answer.headers["x-unbroken-target"]


async def serve_three(text: str, name: str, tmp_path: Path, *, model: str) -> tuple[str, list[int]]:
    """Who answers when the first two of three providers fail, and how often each was asked."""
    async with FakeProvider("one") as one, FakeProvider("two") as two, FakeProvider("three") as three:
        for broken in (one, two):
            broken.fail_with(Status(500))
        for fake in (one, two, three):
            text = text.replace(f"URL-{fake.name}", fake.base_url)
        target = await who_answers(imported(text, Path(name)), model, tmp_path)
        return target.rpartition("/")[2], [len(fake.seen) for fake in (one, two, three)]


LITELLM_CHAIN = """
model_list:
- {model_name: first, litellm_params: {model: openai/model-one, api_base: URL-one, api_key: none}}
- {model_name: third, litellm_params: {model: openai/model-three, api_base: URL-three, api_key: none}}
- {model_name: second, litellm_params: {model: hosted_vllm/model-two, api_base: URL-two}}
litellm_settings: {num_retries: 0, fallbacks: [{first: [second]}, {second: [third]}]}
general_settings: {master_key: os.environ/GATEWAY_KEY}
"""
PORTKEY_CHAIN = """
{"strategy": {"mode": "fallback"}, "retry": {"attempts": 0}, "targets": [
  {"provider": "openai", "custom_host": "URL-one", "override_params": {"model": "model-one"}},
  {"provider": "mistral-ai", "custom_host": "URL-two", "api_key": "k", "override_params": {"model": "model-two"}},
  {"provider": "openai", "custom_host": "URL-three", "override_params": {"model": "model-three"}}
]}
"""


@pytest.mark.parametrize(
    ("text", "name", "model"),
    [(LITELLM_CHAIN, "config.yaml", "first"), (PORTKEY_CHAIN, "config.json", "auto")],
    ids=["litellm", "portkey"],
)
def test_an_imported_gateway_fails_over_in_order(text: str, name: str, model: str, tmp_path: Path) -> None:
    """A gateway started from what was imported asks one after the other, as the source said, until one answers."""
    answered, asked = asyncio.run(serve_three(text, name, tmp_path, model=model))
    assert (answered, asked) == ("model-three", [1, 1, 1])
