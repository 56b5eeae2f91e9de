"""Somebody else's configuration, read so that every value remembers where it stands.

    root = read_yaml(text, file="config.yaml")
    root.get("router_settings").get("timeout")      an Item: value 30, line 41, path router_settings.timeout

Both readers raise ConfigError for text that is not what it should be, with file and line.
No value of the file is part of an error, since any of them may be a key.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from unbroken.config_file import NESTING_MAX, ConfigError, Problem

__all__ = ["Item", "problem_at", "read_json", "read_yaml"]

ITEMS_MAX = 50_000
"""More than any configuration has; a few lines of YAML can name the same thing millions of times."""

_TAG = "tag:yaml.org,2002:"
_TYPED = frozenset(_TAG + name for name in ("int", "float", "bool", "null"))
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Item:
    """A value of the source: plain, a mapping of names to Items, or a list of Items.

    `path` is how it is found (`model_list[0].model_name`), `line` counts from 1, `name` is its key's,
    empty for the element of a list.
    """

    value: Any
    path: str
    line: int
    file: str
    name: str = ""

    @property
    def fields(self) -> Mapping[str, Item]:
        """Its values by name; nothing where it is no mapping."""
        return self.value if isinstance(self.value, dict) else {}

    @property
    def parts(self) -> list[Item]:
        """The elements of a list; a plain value or mapping counts as a list of one, nothing as an empty one."""
        if isinstance(self.value, list):
            return self.value
        return [] if self.value is None else [self]

    @property
    def inner(self) -> list[Item]:
        """What it is made of; nothing where it is a plain value."""
        return list(self.fields.values()) or (self.value if isinstance(self.value, list) else [])

    @property
    def text(self) -> str:
        """A plain value as text, as it would be written; empty for nothing and for mappings and lists."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "" if self.value is None or isinstance(self.value, dict | list) else str(self.value).strip()

    @property
    def number(self) -> float | None:
        """A finite number, also where it is written in quotes; None for anything else."""
        try:
            number = float(self.text)
        except ValueError:  # truth is one of the words that are no numbers
            return None
        return number if math.isfinite(number) else None

    @property
    def positive(self) -> float | None:
        """A number above 0; None for anything else."""
        number = self.number
        return number if number is not None and number > 0.0 else None

    def get(self, *names: str) -> Item | None:
        """The first of these fields that is there and not null."""
        found = (self.fields[name] for name in names if name in self.fields)
        return next((item for item in found if item.value is not None), None)


def problem_at(item: Item, message: str) -> Problem:
    """Something wrong with this value."""
    return Problem(file=item.file, line=item.line, key=item.path, message=message)


def _below(path: str, name: str | int) -> str:
    return f"{path}[{name}]" if isinstance(name, int) else f"{path}.{name}".removeprefix(".")


def _error(message: str, *, file: str, line: int = 0, column: int = 0, key: str = "") -> ConfigError:
    return ConfigError([Problem(file=file, line=line, key=key, message=message, column=column)])


# ----------------------------------------------------------------------------- YAML


def read_yaml(text: str, *, file: str) -> Item:
    """The one document of a YAML file, which has to be a mapping; ConfigError where it is not."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        why = re.sub(r"\s+'[^']*'", "", error.problem or error.context or "")
        raise _error(f"not YAML: {why}", file=file, line=line, column=column) from None
    except (yaml.YAMLError, RecursionError):
        raise _error("not YAML: there is a control character in it, or it is nested too deeply", file=file) from None
    root = Item(None, "", 1, file) if node is None else _YamlReader(file).item(node, path="", line=1)
    return _mapping(root)


def _mapping(root: Item) -> Item:
    if not isinstance(root.value, dict):
        found = "nothing" if root.value is None else "a list" if isinstance(root.value, list) else "a single value"
        raise _error(f"expected a mapping (`name: value`), found {found}", file=root.file, line=root.line)
    return root


class _YamlReader:
    """Makes Items of composed nodes, in bounded time."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._count = 0
        self._scalars = yaml.constructor.SafeConstructor()

    def item(self, node: yaml.nodes.Node, *, path: str, line: int, name: str = "", depth: int = 0) -> Item:
        """The value of a node; `name` and `line` are those of its key, where it has one."""
        self._count += 1
        if depth > NESTING_MAX or self._count > ITEMS_MAX:
            raise _error("nested too deeply, or too large to be a configuration", file=self._file, line=line, key=path)
        value: Any
        if isinstance(node, yaml.MappingNode):
            pairs = self._pairs(node, path=path, depth=depth)
            value = {
                key: self.item(child, path=_below(path, key), line=at, name=key, depth=depth + 1)
                for key, (child, at) in pairs.items()
            }
        elif isinstance(node, yaml.SequenceNode):
            value = [
                self.item(child, path=_below(path, n), line=child.start_mark.line + 1, depth=depth + 1)
                for n, child in enumerate(node.value)
            ]
        else:
            value = self._plain(node)
        return Item(value, path, line, self._file, name)

    def _plain(self, node: yaml.nodes.Node) -> Any:
        """Numbers, truth and nothing as such; everything else (dates too) as it is written."""
        if node.tag not in _TYPED:
            return node.value
        try:
            return self._scalars.construct_object(node)
        except (ValueError, yaml.YAMLError):
            return node.value

    def _pairs(self, node: yaml.nodes.MappingNode, *, path: str, depth: int) -> dict[str, tuple[yaml.nodes.Node, int]]:
        """The values of a mapping and the lines of their keys, with merges laid under what is said here."""
        own: dict[str, tuple[yaml.nodes.Node, int]] = {}
        merged: dict[str, tuple[yaml.nodes.Node, int]] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == _TAG + "merge" and depth < NESTING_MAX:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if isinstance(source, yaml.MappingNode):
                        merged = self._pairs(source, path=path, depth=depth + 1) | merged
            elif not isinstance(key, yaml.ScalarNode):
                raise _error("expected a plain name as key", file=self._file, line=line, key=path)
            elif key.value in own:
                raise _error("given twice", file=self._file, line=line, key=_below(path, key.value))
            else:
                own[key.value] = (value, line)
        return merged | own


# ----------------------------------------------------------------------------- JSON


def read_json(text: str, *, file: str) -> Item:
    """The value of a JSON file, which has to be an object; ConfigError where it is not."""
    try:
        json.loads(text, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        hint = "; JSON has no comments" if re.search(r"^\s*(//|/\*|#)|[,{\[]\s*//", text, re.MULTILINE) else ""
        message = f"not JSON: {error.msg}{hint}"
        raise _error(message, file=file, line=error.lineno, column=error.colno) from None
    except (ValueError, RecursionError):
        raise _error("not JSON: NaN and Infinity are no numbers there, or nested too deeply", file=file) from None
    reader = _JsonReader(text, file=file)
    root, _ = reader.item(0, path="", line=0)
    if not isinstance(root.value, dict):
        raise _error("expected an object (`{...}`)", file=file, line=root.line)
    return root


def _no_constant(name: str) -> Any:
    raise ValueError(name)


class _JsonReader:
    """Walks a text that is known to be JSON; Python's own reader forgets where things were."""

    def __init__(self, text: str, *, file: str) -> None:
        self._text = text
        self._file = file
        self._lines = [match.end() for match in re.finditer("\n", text)]
        self._decoder = json.JSONDecoder()

    def item(self, at: int, *, path: str, line: int, name: str = "", depth: int = 0) -> tuple[Item, int]:
        """The value that begins here or after blanks, and where it ends; `line` is its key's, 0 where it has none."""
        at = self._skip(at)
        line = line or self._line(at)
        if depth > NESTING_MAX:
            raise _error("nested too deeply to be a configuration", file=self._file, line=line, key=path)
        value: Any
        if self._text[at] == "{":
            value, at = self._object(at, path=path, depth=depth)
        elif self._text[at] == "[":
            value, at = self._list(at, path=path, depth=depth)
        else:
            value, at = self._decoder.raw_decode(self._text, at)
        return Item(value, path, line, self._file, name), at

    def _object(self, at: int, *, path: str, depth: int) -> tuple[dict[str, Item], int]:
        found: dict[str, Item] = {}
        at = self._skip(at + 1)
        while self._text[at] != "}":
            line = self._line(at)
            name, at = self._decoder.raw_decode(self._text, at)
            below = _below(path, name)
            if name in found:
                raise _error("given twice", file=self._file, line=line, key=below)
            found[name], at = self.item(self._skip(at) + 1, path=below, line=line, name=name, depth=depth + 1)
            at = self._after(at)
        return found, at + 1

    def _list(self, at: int, *, path: str, depth: int) -> tuple[list[Item], int]:
        found: list[Item] = []
        at = self._skip(at + 1)
        while self._text[at] != "]":
            item, at = self.item(at, path=_below(path, len(found)), line=0, depth=depth + 1)
            found.append(item)
            at = self._after(at)
        return found, at + 1

    def _after(self, at: int) -> int:
        """Past the comma that may follow, and the blanks."""
        at = self._skip(at)
        return self._skip(at + 1) if self._text[at] == "," else at

    def _skip(self, at: int) -> int:
        blank = _SPACE.match(self._text, at)
        return blank.end() if blank else at

    def _line(self, at: int) -> int:
        return bisect_right(self._lines, at) + 1
