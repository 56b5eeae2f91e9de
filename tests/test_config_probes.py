"""`probe` in a configuration: what it means, what is wrong with it, and what the catalogue knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbroken.catalog import providers
from unbroken.config import Config, ConfigError, load
from unbroken.policy import NOTHING_FREE, Probing


def probing(section: dict[str, object] | None = None, name: str = "openai") -> Probing:
    values = {"providers": {name: {"key": "k", "model": "m", **(section or {})}}}
    return Config.from_values(values, {}).accounts[name].probe


def test_nothing_is_asked_unless_that_is_set() -> None:
    """The default is off; an interval switches on what is free, `billed` the words."""
    assert not probing().on
    assert probing({"probe": {}}) == Probing()
    assert probing({"probe": {"every_s": 30}}).on and probing({"probe": {"billed": True}}).on
    assert not probing({"probe": {"path": "/up", "idle_s": 60}}).on


def test_the_catalogue_knows_where_to_ask() -> None:
    """A row's own path is used at its own address, and the file's wins; behind another address it is the list again."""
    assert probing(name="openrouter").path == "/api/v1/key"
    assert probing({"probe": {"path": "/up"}}, name="openrouter").path == "/up"
    assert probing({"base_url": "http://10.0.0.5/openrouter/v1"}, name="openrouter").path == ""
    assert probing({"base_url": "http://10.0.0.5:8000/v1"}, name="vllm").path == "/health"
    assert probing({"base_url": "http://10.0.0.5:8000"}, name="perplexity").path == NOTHING_FREE


@pytest.mark.parametrize("row", providers().values(), ids=lambda row: row.name)
def test_every_row_says_a_path_or_nothing(row: object) -> None:
    """What a row says of its free question is what a file may say."""
    path = getattr(row, "probe", None)
    assert path in {"", NOTHING_FREE} or str(path).startswith("/")


def test_what_does_nothing_is_warned_of() -> None:
    """An interval for a question that does not exist is probably not meant."""

    def warnings(**probe: object) -> list[str]:
        values = {"providers": {"perplexity": {"key": "k", "model": "m", "probe": probe}}}
        return [warning for warning in Config.from_values(values, {}).warnings if "probe" in warning]

    assert len(warnings(every_s=30)) == 1 and "give `probe.path`" in warnings(every_s=30)[0]
    assert warnings(every_s=30, path="/up") == warnings(billed=True) == []


@pytest.mark.parametrize(
    ("probe", "key", "said"),
    [
        ("{every_s: 4}", "probe.every_s", "at least 5"),
        ("{path: health}", "probe.path", "expected a path from the root of the host, such as `/health`, or `none`"),
        ("{path: 'https://elsewhere.example/up'}", "probe.path", "expected a path from the root"),
        ("{jitter: 2}", "probe.jitter", "between 0 and 1"),
        ("{timeout_s: 0}", "probe.timeout_s", "more than 0"),
        ("{billed: maybe}", "probe.billed", "expected"),
        ("{every: 30}", "probe.every", "did you mean `every_s`?"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, probe: str, key: str, said: str) -> None:
    """Each mistake has its line, its key and what is allowed."""
    file = tmp_path / "unbroken.yaml"
    file.write_text(f"providers:\n  openai:\n    key: k\n    probe: {probe}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as wrong:
        load(file, {})
    (problem,) = wrong.value.problems
    assert (problem.line, problem.key) == (4, f"providers.openai.{key}")
    assert said in problem.message
