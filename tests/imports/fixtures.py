"""What the tests of the importers share: the fixtures, and short ways to import and to load."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from unbroken.config import Config, load
from unbroken.imports import Imported, import_litellm, import_portkey

__all__ = ["ALL", "HERE", "LITELLM", "PORTKEY", "document", "environment", "imported", "litellm", "loaded"]
__all__ += ["of_fixture", "targets"]

HERE = Path(__file__).parent
LITELLM = sorted((HERE / "litellm").glob("*.yaml"))
PORTKEY = sorted((HERE / "portkey").glob("*.json"))
ALL = [*LITELLM, *PORTKEY]


def imported(text: str, file: Path, **options: Any) -> Imported:
    """By the importer that this file is for."""
    if file.suffix == ".json":
        return import_portkey(text, file=file.name, **options)
    return import_litellm(text, file=file.name, read=lambda name: (file.parent / name).read_text(), **options)


def of_fixture(name: str) -> Imported:
    file = next(file for file in ALL if file.name == name)
    return imported(file.read_text(), file)


def document(name: str) -> Any:
    return yaml.safe_load(of_fixture(name).yaml)


def targets(document: Any, route: str) -> list[str]:
    entries = document["routes"][route]["targets"]
    return [entry if isinstance(entry, str) else entry["target"] for entry in entries]


def environment(text: str) -> dict[str, str]:
    """Something for each variable that a configuration refers to."""
    names = re.findall(r"\$\{(\w+)", text)
    return {name: f"http://{name.lower()}.example" if name.endswith(("BASE", "URL")) else f"x-{name}" for name in names}


def loaded(text: str, tmp_path: Path) -> Config:
    file = tmp_path / "made.yaml"
    file.write_text(text)
    return load(file, environment(text))


def litellm(*models: str, rest: str = "") -> Imported:
    """A configuration of these parameters, each a model of its own."""
    entries = "".join(f"- model_name: m{n}\n  litellm_params: {given}\n" for n, given in enumerate(models))
    return imported(f"model_list:\n{entries}{rest}", Path("config.yaml"))
