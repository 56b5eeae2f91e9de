"""The rows of the catalogue: complete, sourced, and found by the names that people use."""

from __future__ import annotations

from datetime import date
from urllib.parse import urlsplit

import pytest

from unbroken.catalog import Provider, nearest, nearest_provider, providers, thinks
from unbroken.config_shape import CHOICES

ROWS = list(providers().values())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_is_complete(row: Provider) -> None:
    """A row has an address, a source with a date, and only words that a configuration may use."""
    assert urlsplit(row.base_url).scheme == ("http" if row.local else "https")
    assert not row.base_url.endswith("/")
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
