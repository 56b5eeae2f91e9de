"""The rows of the catalogue: complete, sourced, and found by the names that people use."""

from __future__ import annotations

import asyncio
import re
import runpy
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

from faces.running import Running, running
from unbroken import catalog
from unbroken.catalog import Provider, nearest, nearest_provider, providers, thinks
from unbroken.config import Config
from unbroken.config import load as load_config
from unbroken.config_shape import CHOICES
from unbroken.models import load
from unbroken.testing import FakeProvider, essay
from unbroken.wire import FORMATS

ROOT = Path(__file__).resolve().parents[1]
ASK = "Why do bridges sing?"
ROWS = list(providers().values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_complete(row: Provider) -> None:
    """A row has an address, a source with a date, and only words that a configuration may use."""
    assert urlsplit(row.base_url).scheme == ("http" if row.local else "https") or (not row.base_url and row.option_env)
    assert not row.base_url.endswith("/")
    assert row.format in FORMATS
    assert set(re.findall(r"\{(\w+)\}", row.base_url)) <= {"model", *row.options, *row.option_env}
    assert row.source
    assert isinstance(row.date, date)
    assert row.prefix in CHOICES["prefix"]
    assert row.capabilities | row.model_capabilities <= set(CHOICES["capabilities"])
    assert row.key_env
    assert row.key_needed != row.local


@pytest.mark.parametrize("row", [row for row in ROWS if row.base_url_env], ids=lambda row: row.name)
def test_base_paths_belong_to_the_addresses(row: Provider) -> None:
    """What is appended to a base URL from the environment is what the row's own address ends with."""
    assert row.base_url.endswith(row.base_path)


ASKED_FOR = {
    "openai", "azure", "azure-deployments", "openrouter", "together", "groq", "mistral", "deepseek", "xai",
    "fireworks", "cerebras", "perplexity", "nvidia", "github", "huggingface", "pollinations", "gemini",
    "gemini-compatible",
    "cohere", "cohere-compatible", "vertex", "vllm", "llamacpp", "lmstudio", "sglang", "tgi", "ollama",
    "ollama-compatible",
    "anthropic", "anthropic-compatible", "bedrock",
}  # fmt: skip


def test_every_provider_in_the_field_is_a_row() -> None:
    """Whoever is in use has a name here, and a price list where there is one."""
    listed = load({})[0].providers
    unlisted = {"pollinations"}

    assert set(providers()) >= ASKED_FOR
    assert {row.listed_as for row in ROWS if not row.local} - unlisted <= set(listed)


def test_native_formats_are_the_plain_rows() -> None:
    """Who has words of its own is spoken to in them, and in OpenAI's under another name."""
    for name in ("anthropic", "gemini", "cohere", "ollama"):
        assert providers()[name].format == name
        assert providers()[f"{name}-compatible"].format == "openai_chat"


def test_ones_own_servers_cost_nothing() -> None:
    """Nobody sends a bill for them, which is not the same as a price that is not known."""
    assert [row.name for row in ROWS if row.local and not (row.price and row.price.known)] == []


NEW_ROW = """
[house-blend]
base_url = "https://llm.example.org/v1"
key_env = ["HOUSE_BLEND_KEY"]
auth = "x-house-key"
model = "blend-1"
source = "a test"
date = 2026-11-21
"""


def test_a_new_provider_is_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """A row that is added to the catalogue's data is all that a provider of a known format takes."""
    text = catalog._text()

    async def asked() -> None:
        async with FakeProvider("house") as fake:
            here = text + NEW_ROW.replace("https://llm.example.org/v1", fake.base_url)
            monkeypatch.setattr(catalog, "_text", lambda: here)
            forget()
            config = Config.from_env({"HOUSE_BLEND_KEY": "k"})
            async with running(config) as gateway:
                assert await say(gateway, "house-blend/blend-1") == essay(ASK)
            assert fake.seen[0].headers["x-house-key"] == "k"

    try:
        asyncio.run(asked())
    finally:
        monkeypatch.undo()
        forget()
    assert "house-blend" not in providers()


def test_a_new_provider_in_a_file(tmp_path: Path) -> None:
    """The same in a configuration: an address that is not in the catalogue, with the path that Azure's have."""

    async def asked() -> None:
        async with FakeProvider("house") as fake:
            file = tmp_path / "unbroken.yaml"
            file.write_text(
                f"""
providers:
  house:
    base_url: {fake.base_url}?api-version={{api_version}}
    options: {{api_version: 2024-10-21}}
    auth: api-key
    key: k
    price: {{input_usd: 1}}
routes: {{fast: {{targets: [house/blend-1]}}}}
""",
                encoding="utf-8",
            )
            async with running(load_config(file, {})) as gateway:
                assert await say(gateway, "fast") == essay(ASK)
            assert fake.seen[0].path == "/v1/chat/completions?api-version=2024-10-21"
            assert fake.seen[0].headers["api-key"] == "k"
            assert "authorization" not in fake.seen[0].headers

    asyncio.run(asked())


async def say(gateway: Running, model: str) -> str:
    async with openai.AsyncOpenAI(base_url=gateway.url, api_key="any", max_retries=0, timeout=60) as client:
        reply = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": ASK}])
    return reply.choices[0].message.content or ""


def forget() -> None:
    """Rows are read once; what the tests above change is read anew."""
    catalog._document.cache_clear()
    providers.cache_clear()


def test_the_list_of_providers_is_up_to_date() -> None:
    """docs/providers.md shows every row as it is."""
    generate = runpy.run_path(str(ROOT / "docs" / "generate.py"))
    current = generate["PROVIDERS"].read_text(encoding="utf-8")

    assert current == generate["renewed"](current, generate["PROVIDERS_PARTS"]), "make docs, and commit what it changes"


def test_the_examples_for_providers_are_right(tmp_path: Path) -> None:
    """Every configuration in docs/providers.md loads without a warning about its targets."""
    text = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
    environ = dict.fromkeys(["MY_KEY", "SHOP_TOKEN", "LAB_TOKEN", "APIM_KEY"], "k")
    for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        file = tmp_path / "unbroken.yaml"
        file.write_text(example, encoding="utf-8")
        warnings = load_config(file, environ).warnings
        assert [warning for warning in warnings if warning.startswith("target")] == []


def test_no_default_model_is_given_minutes_to_think() -> None:
    """A default target that falls silent fails over within the ordinary limits."""
    assert not [row.name for row in ROWS if "reasoning" in row.capabilities | row.model_capabilities]


def test_the_hosted_providers_come_before_local_ones() -> None:
    """The order of `auto` without a file: OpenAI first, one's own servers last."""
    names = list(providers())

    assert names[0] == "openai"
    assert names.index("ollama") > max(at for at, row in enumerate(ROWS) if not row.local)


@pytest.mark.parametrize(
    ("written", "meant"),
    [("opnai", "openai"), ("google", "gemini"), ("hf", "huggingface"), ("llama.cpp", "llamacpp"), ("zzzzzz", None)],
)
def test_nearest_provider(written: str, meant: str | None) -> None:
    """Misspelt and colloquial names lead to the row that is meant."""
    assert nearest_provider(written) == meant


def test_nearest_provider_knows_configured_ones() -> None:
    """A provider of the operator's own is suggested too."""
    assert nearest_provider("my-vlm", ("my-vllm",)) == "my-vllm"


def test_nearest_ignores_case() -> None:
    """Shouting is no other name."""
    assert nearest("PORT", ("host", "port")) == "port"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("o3", True), ("gpt-5.6-luna", True), ("openai/gpt-oss-120b:free", True), ("DeepSeek-R1", True),
        ("qwen3-235b-a22b-thinking-2507", True), ("gpt-4o", False), ("gpt-5-chat-latest", False),
        ("grok-4.20-0309-non-reasoning", False), ("claude-sonnet-5", False), ("llama3.2", False),
    ],
)  # fmt: skip
def test_models_that_think_unasked_are_known(model: str, expected: bool) -> None:
    """They are given minutes for their first word, whoever hosts them; others are not."""
    assert thinks(model) is expected
