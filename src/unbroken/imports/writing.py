"""Writes a configuration of ours as YAML with comments, so that it reads as if somebody had written it.

    write({"routes": {...}}, comments={("routes", "fast"): ["why"]}, head=["where it comes from"])

Only what our configurations are made of: mappings, lists, text, numbers and truth.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

__all__ = ["write"]

Path = tuple[str, ...]
Comments = Mapping[Path, Sequence[str]]

_PLAIN = re.compile(r"[A-Za-z0-9_$./](?:[\w.$/@+{}#:-]*[\w./@+}#-])?")
_REFERENCE = re.compile(r"\$\{\w+(?::-[^}]*)?\}")


def write(document: Mapping[str, Any], *, comments: Comments, head: Sequence[str], foot: Sequence[str] = ()) -> str:
    """The document as YAML: `head` and `foot` as comments around it, `comments` above the keys that they name."""
    lines = [*_comment(head, ""), ""]
    for name, value in document.items():
        lines += [*_pair(name, value, path=(name,), comments=comments), ""]
    return "\n".join([*lines, *_comment(foot, "")]).rstrip() + "\n"


def _comment(texts: Sequence[str], indent: str) -> Iterator[str]:
    for text in texts:
        yield f"{indent}# {' '.join(text.split())}".rstrip() if text.strip() else f"{indent}#"


def _pair(name: str, value: Any, *, path: Path, comments: Comments, depth: int = 0) -> Iterator[str]:
    indent = "  " * depth
    yield from _comment(comments.get(path, ()), indent)
    if isinstance(value, Mapping) and value:
        yield f"{indent}{_scalar(name)}:"
        for key, inner in value.items():
            yield from _pair(key, inner, path=(*path, key), comments=comments, depth=depth + 1)
    elif isinstance(value, list | tuple) and value:
        yield f"{indent}{_scalar(name)}:"
        for entry in value:
            yield from _entry(entry, depth=depth + 1)
    else:
        empty = "{}" if isinstance(value, Mapping) else "[]" if isinstance(value, list | tuple) else _scalar(value)
        yield f"{indent}{_scalar(name)}: {empty}"


def _entry(entry: Any, *, depth: int) -> Iterator[str]:
    """An element of a list; a mapping's first key stands behind the dash."""
    indent = "  " * depth
    if not isinstance(entry, Mapping):
        yield f"{indent}- {_scalar(entry)}"
        return
    lines = [line for key, value in entry.items() for line in _pair(key, value, path=(), comments={}, depth=depth + 1)]
    yield f"{indent}- {lines[0].lstrip()}"
    yield from lines[1:]


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"{value:.12f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    text = str(value)
    return text if _PLAIN.fullmatch(text) and _is_itself(text) else json.dumps(text, ensure_ascii=False)


def _is_itself(text: str) -> bool:
    """Whether YAML reads this text, without quotes, as this text."""
    bare = _REFERENCE.sub("X", text)
    try:
        return bool(yaml.safe_load(bare) == bare)
    except (yaml.YAMLError, ValueError):
        return False
