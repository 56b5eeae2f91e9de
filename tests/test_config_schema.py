"""What else knows the shape of a configuration agrees with the reader: rules, schema, example, documentation."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from unbroken import config_schema
from unbroken.catalog import providers
from unbroken.config import Config, load
from unbroken.config_shape import CHOICES, File, rule_for
from unbroken.policy import Deadlines, Policy

ROOT = Path(__file__).parents[1]


def read(tmp_path: Path, text: str, **environ: str) -> Config:
    file = tmp_path / "unbroken.yaml"
    file.write_text(text, encoding="utf-8")
    return load(file, environ)


def leaves(record: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found = []
    for of in fields(record):
        value = getattr(record, of.name)
        path = f"{prefix}{of.name}"
        found += leaves(value, path + ".") if is_dataclass(value) else [(path, value)]
    return found


@pytest.mark.parametrize(("path", "value"), leaves(Policy()), ids=str)
def test_every_policy_field_can_be_set_to_its_default(tmp_path: Path, path: str, value: Any) -> None:
    """The rules for values, which go by the names of fields, admit every built-in default."""
    name = path.rpartition(".")[2]
    nested: Any = value
    for part in reversed(path.split(".")):
        nested = {part: nested}

    assert read(tmp_path, json.dumps({"defaults": nested})).defaults == Policy()
    assert not isinstance(value, str) or value in CHOICES[name]
    assert value is None or isinstance(value, (str, bool)) or rule_for(name).admits(value)


def test_read_s_sets_two_limits(tmp_path: Path) -> None:
    """`read_s` is a short form, and a limit given by its own name wins over it."""
    config = read(tmp_path, "defaults: {deadlines: {first_byte_s: 2, read_s: 7}}")

    assert config.defaults.deadlines == Deadlines(first_byte_s=2.0, first_content_s=7.0)


def test_the_schema_is_the_committed_one() -> None:
    """The published schema is what `make schema` writes from this code."""
    committed = json.loads((ROOT / "docs/unbroken.schema.json").read_text(encoding="utf-8"))

    assert config_schema.schema() == committed


def test_the_schema_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to the file that is named, or to standard output."""
    config_schema.main([str(tmp_path / "schema.json")])
    config_schema.main([])

    assert capsys.readouterr().out == (tmp_path / "schema.json").read_text(encoding="utf-8")


def test_the_schema_describes_every_field() -> None:
    """Whatever an editor offers from the file's own sections comes with an explanation."""
    records = config_schema.schema()["$defs"]
    bare = [
        f"{name}.{field}"
        for name in ("ServerSection", "ProviderSection", "RouteSection", "TargetSection")
        for field, about in records[name]["properties"].items()
        if "description" not in about
    ]

    assert bare == []
    assert {f.name for f in fields(File)} == set(config_schema.schema()["properties"])


def test_the_schema_judges_as_the_reader_does() -> None:
    """It accepts the example and refuses an unknown key, a wrong word, a wrong type and a number out of range."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is a development dependency")
    import yaml

    validator = jsonschema.Draft202012Validator(config_schema.schema())
    validator.check_schema(config_schema.schema())
    example = yaml.safe_load((ROOT / "examples/unbroken.yaml").read_text(encoding="utf-8"))

    assert validator.is_valid(example)
    assert validator.is_valid({"server": {"port": "${PORT}"}})
    assert validator.is_valid(None)
    wrong_ones: list[Any] = [
        {"sever": {}},
        {"server": {"prt": 1}},
        {"server": {"port": "soon"}},
        {"server": {"port": 70000}},
        {"defaults": {"on_empty": "explode"}},
        {"defaults": {"breaking": {"failure_rate": 2}}},
        {"routes": {"fast": {"strategy": "race"}}},
        {"routes": {"fast": {"targets": [{"weight": 1}]}}},
    ]
    for wrong in wrong_ones:
        assert not validator.is_valid(wrong), wrong


def test_the_example_is_right() -> None:
    """The example in the repository can be used as it stands, without any variable set."""
    config = load(ROOT / "examples/unbroken.yaml", {})

    assert list(config.routes) == ["fast", "careful", "auto"]


def test_the_documentation_is_right(tmp_path: Path) -> None:
    """Every example in it loads, and every key and provider that exists is described."""
    text = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    for example in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL):
        read(tmp_path, example, GATEWAY_KEY="k", VLLM_KEY="k")
    rows = [row for row in providers().values() if row.model]
    missing = [path for path, _ in leaves(Policy()) if f"`{path}`" not in text]
    missing += [row.name for row in rows if f"| {row.name} |" not in text or row.model not in text]

    assert missing == []
