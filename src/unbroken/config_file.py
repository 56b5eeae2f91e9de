"""Reads a configuration file into the records of `config_shape`, and says what is wrong with it, where.

Everything that knows YAML lives here.  `Document` keeps the place of every value that it
read, so that whoever finds out later that a value makes no sense can name its line too:

    document = Document(text, file="unbroken.yaml", environ=os.environ)
    sections = document.read(File)              # what could be read of it
    document.problem(("routes", "fast"), "...")
    document.finish()                           # raises ConfigError with all problems

Rules for maintainers: no value of the file goes into a message except by `_shown`, and no
line of it is kept except by `_masked`: that is what keeps secrets out of both.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from unbroken.catalog import nearest
from unbroken.config_shape import MAY_BE_OFF, SHORT_FORMS, SHORTHANDS, Rule, Secret, rule_for
from unbroken.price import Price
from unbroken.types import Allowance

__all__ = ["ConfigError", "Document", "Problem", "explained"]

T = TypeVar("T")
Path = tuple[str, ...]
Node = yaml.nodes.Node
Mark = Any
"""A place in a file, of one of the parser's two classes of this name."""
Kind = Any
"""What stands in an annotation: a type, or `X | None`, `tuple[X, ...]`, `Mapping[str, X]`, `Annotated[...]`."""
Value = Any
"""A value of the kind that was asked for, or `_BAD`."""

_SECTIONS = frozenset({Secret.__module__, Price.__module__, Allowance.__module__})
"""Where the records are defined that are made at once; of others it is kept what was given."""

NESTING_MAX = 32
"""Deeper than any configuration; the parser written in C would crash on very deep ones."""
SHOWN_CHARS = 60
"""The longest value that is repeated in a message."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_BAD: Any = object()
"""Stands for a value that could not be read and was reported."""

_REFERENCE = re.compile(r"\$\$\{|\$\{([A-Za-z_]\w*)(?:(:-)([^}]*))?\}|\$\{")
_SECRET_KEY = re.compile(r"(^|[_.-])(api)?(keys?|tokens?|secrets?|passw(or)?d|authorization|headers?)$", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|hf|gsk|xai|nvapi|pplx|csk|fw|tgp|ghp|Bearer)[-_ ][^\s,'\"\]}]{8,}"
    r"|AIza[\w-]{8,}|(?<=://)[^\s/@]+(?=@)"
)
_LINE_END = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_TOKEN = re.compile(r"[^\s,\[\]{}'\"]+")
_BRACED = re.compile(r"\$\$?\{[^{}\n]*\}")
_INDICATORS = "{}[],"
_STAND_INS = "\ue000\ue001\ue002\ue003\ue004"
"""Written for the indicators inside a `${...}`, which YAML would take for its own in `[${A}, ${B}]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong at one place; `line` and `column` count from 1, and are 0 where there is no place.

    `key` is the path to the value (`routes.fast.targets[1]`), `source` the line as it
    stands in the file, with secrets masked.
    """

    file: str
    line: int
    key: str
    message: str
    column: int = 0
    source: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(Exception):
    """A configuration cannot be used; `problems` lists everything that is wrong with it, by line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def explained(problems: list[Problem]) -> str:
    """Each problem with its place, its line, and a mark under the spot; and how many there are."""
    lines = []
    for problem in problems:
        lines.append(f"error {problem}")
        if problem.source.strip():
            number = f"{problem.line:>5} | "
            lines += [f"{number}{problem.source}", " " * (len(number) - 2) + "| " + " " * (problem.column - 1) + "^"]
    return "\n".join([*lines, f"{len(problems)} error" + ("" if len(problems) == 1 else "s")])


class Document:
    """One YAML file under examination."""

    def __init__(self, text: str, *, file: str, environ: Mapping[str, str]) -> None:
        """Parse `text`; raises ConfigError where it is not YAML at all."""
        self.file = file
        self._environ = environ
        self._lines = _LINE_END.split(text)
        self._found: list[Problem] = []
        self._places: dict[Path, Node] = {}
        self._secrets: list[Node] = []
        self._root = self._composed(text)
        if self._root is not None:
            self._secrets = list(_scalars(self._root, secret=True))

    def read(self, shape: type[T]) -> T:
        """What the file says, as a record of this type; what could not be read is left at its default."""
        if self._root is None:
            return shape()
        given = self._record(self._root, shape, path=())
        return shape() if given is _BAD else _made(shape, given)

    def has(self, path: Path) -> bool:
        """Whether the file has a value at this path, good or bad."""
        return path in self._places

    def problem(self, path: Path, message: str) -> None:
        """Note something wrong with the value at this path, or with the nearest one above it that is there."""
        place = path
        while place and place not in self._places:
            place = place[:-1]
        self._report(self._places.get(place, self._root), path, message=message)

    def finish(self) -> None:
        """Raise ConfigError if anything was wrong."""
        if self._found:
            raise ConfigError(sorted(self._found, key=lambda problem: (problem.line, problem.column)))

    # ------------------------------------------------------------------ YAML

    def _composed(self, text: str) -> Node | None:
        text = _BRACED.sub(lambda match: match[0].translate(str.maketrans(_INDICATORS, _STAND_INS)), text)
        try:
            depth = 0
            for event in yaml.parse(text, Loader=_LOADER):
                depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
                if depth > NESTING_MAX:
                    raise self._unreadable(event.start_mark, "nested too deeply to be a configuration")
            root: Node | None = yaml.compose(text, Loader=_LOADER)
        except yaml.MarkedYAMLError as error:
            raise self._unreadable(error.problem_mark or error.context_mark, _plain(error)) from None
        except yaml.YAMLError:
            raise self._unreadable(None, "not text: there is a control character in it") from None
        for node in _scalars(root):
            node.value = node.value.translate(str.maketrans(_STAND_INS, _INDICATORS))
        return root

    def _unreadable(self, mark: Mark | None, why: str) -> ConfigError:
        line, column = (min(mark.line + 1, len(self._lines)), mark.column + 1) if mark else (0, 0)
        source = _without_values(self._line(line)) if line else ""
        return ConfigError([Problem(file=self.file, line=line, key="", message=why, column=column, source=source)])

    def _line(self, line: int) -> str:
        return self._lines[line - 1] if 0 < line <= len(self._lines) else ""

    def _report(self, node: Node | None, path: Path, *, message: str) -> None:
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (0, 0)
        found = Problem(
            file=self.file, line=line, key=_SECRET_TEXT.sub(_dots, _written(path)),
            message=_SECRET_TEXT.sub(_dots, message), column=column, source=self._masked(line),
        )  # fmt: skip
        if found not in self._found:
            self._found.append(found)

    def _masked(self, line: int) -> str:
        """A line with every secret in it replaced by dots of the same length, so that columns stay."""
        text = self._line(line)
        for node in self._secrets:
            first, last = node.start_mark, node.end_mark
            if first.line <= line - 1 <= last.line:
                start = first.column if first.line == line - 1 else 0
                end = last.column if last.line == line - 1 else len(text)
                text = text[:start] + "•" * len(text[start:end]) + text[end:]
        return _SECRET_TEXT.sub(_dots, text)

    def _shown(self, node: Node) -> str:
        """A value for a message: as it stands, or only `this` where it could be a secret."""
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        hidden = node in self._secrets or "${" in text or _SECRET_TEXT.search(text) or len(text) > SHOWN_CHARS
        return "this" if hidden or not text else f"`{text}`"

    # --------------------------------------------------------------- records

    def _value(self, node: Node, kind: Kind, *, path: Path) -> Value:
        """The value of a node as a `kind`, or `_BAD` after the problem was noted."""
        self._places[path] = node
        if _origin(kind) is Annotated:
            return self._value(node, get_args(kind)[1], path=path)
        if _origin(kind) is UnionType:
            (kind,) = (part for part in get_args(kind) if part is not NoneType)
            return None if _is_null(node) else self._value(node, kind, path=path)
        if _origin(kind) is tuple:
            return self._list(node, get_args(kind)[0], path=path)
        if is_dataclass(kind) and kind is not Secret:
            return self._record(node, kind, path=path)
        if not isinstance(kind, type):
            return self._table(node, get_args(kind)[1], path=path)
        return self._scalar(node, kind, path=path)

    def _record(self, node: Node, shape: Kind, *, path: Path) -> Value:
        """The fields that are given; a dict by field name."""
        short = SHORT_FORMS.get(shape)
        if short and isinstance(node, yaml.ScalarNode) and not _is_null(node):
            off = shape in MAY_BE_OFF and _truth(node.value) is False
            text = "off" if off else self._scalar(node, str, path=path)
            return _BAD if text is _BAD else {short: text}
        hints, several = _hints(shape), SHORTHANDS.get(shape, {})
        given: dict[str, Any] = {}
        pairs = self._pairs(node, path)
        for key, value in pairs:
            name = key.value
            if name not in hints and name not in several:
                self._report(key, (*path, name), message=_unknown(name, hints, also=several))
                continue
            kind = hints[name] if name in hints else hints[several[name][0]]
            read = self._value(value, kind, path=(*path, name))
            if read is not _BAD:
                given[name] = _made(kind, read)
        if isinstance(node, yaml.MappingNode):
            self._require(shape, {key.value for key, _ in pairs}, path=path)
        return _spread(given, several) if isinstance(node, yaml.MappingNode) or _is_null(node) else _BAD

    def _require(self, shape: Kind, there: set[str], *, path: Path) -> None:
        for missing in fields(shape):
            needed = missing.default is MISSING and missing.default_factory is MISSING
            if needed and missing.name not in there:
                self._report(self._places[path], path, message=f"`{missing.name}` is missing")

    def _table(self, node: Node, kind: Kind, *, path: Path) -> Value:
        read = {key.value: self._value(value, kind, path=(*path, key.value)) for key, value in self._pairs(node, path)}
        return {name: _made(kind, value) for name, value in read.items() if value is not _BAD}

    def _list(self, node: Node, kind: Kind, *, path: Path) -> Value:
        if isinstance(node, yaml.MappingNode):
            return self._wrong(node, path, expected="a list")
        if isinstance(node, yaml.ScalarNode):  # one value stands for a list of one
            read = [] if _is_null(node) else [self._value(node, kind, path=path)]
        else:
            read = [self._value(item, kind, path=(*path, str(at))) for at, item in enumerate(node.value)]
        return tuple(_made(kind, item) for item in read if item is not _BAD)

    def _pairs(self, node: Node, path: Path, *, depth: int = 0) -> list[tuple[Any, Node]]:
        """The keys and values of a mapping, with merges (`<<: *other`) laid under what is said here."""
        if _is_null(node):
            return []
        if not isinstance(node, yaml.MappingNode):
            self._wrong(node, path, expected="a mapping (`key: value` lines)")
            return []
        own: dict[str, tuple[Any, Node]] = {}
        merged: dict[str, tuple[Any, Node]] = {}
        for key, value in node.value:
            if key.tag == _TAG + "merge" and depth < NESTING_MAX:
                sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for source in sources:
                    merged = {pair[0].value: pair for pair in self._pairs(source, path, depth=depth + 1)} | merged
            elif not isinstance(key, yaml.ScalarNode):
                self._wrong(key, path, expected="a plain name as key")
            elif key.value in own:
                first = own[key.value][0].start_mark.line + 1
                self._report(key, (*path, key.value), message=f"given twice: the first is in line {first}")
            else:
                own[key.value] = (key, value)
        return list((merged | own).values())

    # --------------------------------------------------------------- scalars

    def _scalar(self, node: Node, kind: type, *, path: Path) -> Value:
        if not isinstance(node, yaml.ScalarNode) or _is_null(node) or not node.tag.startswith(_TAG):
            return self._wrong(node, path, expected=_NAMES.get(kind, "text"))
        value = self._expanded(node, path)
        if value is None:
            return _BAD
        if kind is Secret:
            return self._secret(node, value.strip(), path=path)
        text_like = node.tag == _TAG + "str" or "${" in node.value
        if kind is str or issubclass(kind, StrEnum):
            read: Any = value if text_like or node.tag == _TAG + "timestamp" else _BAD
        else:
            # A text in quotes is no number, but a reference to the environment may hold one.
            quoted = node.style in {'"', "'"} and "${" not in node.value
            read = _BAD if quoted else _PARSERS[kind](value)
        if read is _BAD:
            return self._wrong(node, path, expected=_NAMES.get(kind, "text"))
        return self._allowed(node, read, path=path)

    def _secret(self, node: yaml.ScalarNode, value: str, *, path: Path) -> Value:
        if not (value.isascii() and value.isprintable()):
            self._report(node, path, message="has a character in it that a header cannot carry")
            return _BAD
        alone = _REFERENCE.fullmatch(node.value)
        return Secret(value, (alone[1] or "") if alone else "")

    def _allowed(self, node: yaml.ScalarNode, value: Value, *, path: Path) -> Value:
        name = next((part for part in reversed(path) if not part.isdigit()), "")
        rule = rule_for(name)
        if isinstance(value, str):
            if not rule.choices or value in rule.choices:
                return value
            self._report(node, path, message=f"{self._shown(node)} is not allowed: {_expected(rule, node)}")
            return _BAD
        if isinstance(value, bool) or rule.admits(value):
            return value
        self._report(node, path, message=f"must be {rule}, not {self._shown(node)}")
        return _BAD

    def _wrong(self, node: Node, path: Path, *, expected: str) -> Value:
        if not node.tag.startswith(_TAG):
            self._report(node, path, message="tags (`!...`) have no meaning here")
            return _BAD
        found = _FOUND.get(node.tag.removeprefix(_TAG), "something else")
        if found == "a number" and expected.endswith("number") and self._shown(node) != "this":
            found = self._shown(node)
        message = f"expected {expected}, found {found}"
        if expected == "text" and isinstance(node, yaml.ScalarNode) and not _is_null(node):
            message += "; put it in quotes if it is meant as text"
        self._report(node, path, message=message)
        return _BAD

    def _expanded(self, node: yaml.ScalarNode, path: Path) -> str | None:
        """The text with its references to the environment filled in, or None if one of them is unset."""
        missing: list[str] = []

        def fill(match: re.Match[str]) -> str:
            whole, name, default = match[0], match[1], match[3] if match[2] else None
            if whole == "$${":
                return "${"
            if name is None:
                missing.append("a reference reads ${NAME} or ${NAME:-default}; write $${ for a plain ${")
            elif not self._environ.get(name) and default is None:
                missing.append(f"environment variable {name} is not set" if name not in self._environ
                               else f"environment variable {name} is empty")  # fmt: skip
            return self._environ.get(name or "") or default or ""

        text = _REFERENCE.sub(fill, node.value)
        for message in missing:
            self._report(node, path, message=message)
        return None if missing else text


# ---------------------------------------------------------------------- pure


def _origin(kind: Kind) -> object:
    """What `tuple[X, ...]` is a kind of; None for a plain type."""
    return get_origin(kind)


@cache
def _hints(shape: Kind) -> Mapping[str, Kind]:
    return get_type_hints(shape, include_extras=True)


def _made(kind: Kind, read: Value) -> Value:
    """A section from the fields that were given; fields of the policy stay a mapping of what was given."""
    if _origin(kind) is UnionType:
        (kind,) = (part for part in get_args(kind) if part is not NoneType)
    if not isinstance(read, dict) or not isinstance(kind, type) or kind.__module__ not in _SECTIONS:
        return read
    record: Kind = kind
    needed = [f.name for f in fields(record) if f.default is MISSING and f.default_factory is MISSING]
    blanks = {name: () if _origin(_hints(kind)[name]) is tuple else "" for name in needed}
    return record(**blanks | read)


def _spread(given: dict[str, Any], several: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """With shorthands replaced by the fields that they stand for."""
    for short, names in several.items():
        if short in given:
            value = given.pop(short)
            given = dict.fromkeys(names, value) | given
    return given


def _unknown(name: str, hints: Mapping[str, Kind], *, also: Iterable[str]) -> str:
    known = [*hints, *also]
    meant = nearest(name, known)
    if meant:
        return f"unknown key; did you mean `{meant}`?"
    for field_name, hint in hints.items():  # `retries` written beside `policy` instead of under it
        inner = get_args(hint)[1] if _origin(hint) is Annotated else None
        if inner and name in _hints(inner):
            return f"unknown key; it belongs under `{field_name}`"
    return "unknown key; known here: " + ", ".join(known)


def _expected(rule: Rule, node: yaml.ScalarNode) -> str:
    meant = nearest(node.value, rule.choices)
    return f"expected {rule}" + (f"; did you mean `{meant}`?" if meant else "")


def _is_null(node: Node) -> bool:
    return bool(node.tag == _TAG + "null")


def _written(path: Path) -> str:
    """`("routes", "fast", "targets", "1")` as `routes.fast.targets[1]`."""
    return "".join(f"[{part}]" if part.isdigit() else f".{part}" for part in path).removeprefix(".")


def _scalars(
    node: Node | None, *, secret: bool = False, inside: bool = False, depth: int = 0
) -> Iterator[yaml.ScalarNode]:
    """Every scalar, or every secret one: those under a key called `key`, `headers` and the like, or nearly so."""
    if isinstance(node, yaml.ScalarNode) and (not secret or (inside and not _REFERENCE.fullmatch(node.value))):
        yield node
    if isinstance(node, yaml.ScalarNode) or node is None or depth > NESTING_MAX:
        return
    for child in node.value:
        key, value = child if isinstance(child, tuple) else (None, child)
        if key is not None:
            yield from _scalars(key, secret=secret, inside=inside, depth=depth + 1)
        within = inside or (key is not None and _is_secret_key(key.value))
        yield from _scalars(value, secret=secret, inside=within, depth=depth + 1)


def _is_secret_key(name: object) -> bool:
    if not isinstance(name, str):
        return False
    return bool(_SECRET_KEY.search(name) or nearest(name, ("key", "keys", "headers"), least=0.66))


def _dots(match: re.Match[str]) -> str:
    return "•" * len(match[0])


def _without_values(line: str) -> str:
    """A line that could not be parsed: which of its words are secret is not known, so only its first key stays."""
    key = re.match(r"[\s-]*[\w.-]+:(?=\s|$)", line)
    start = key.end() if key else 0
    return line[:start] + _TOKEN.sub(_dots, line[start:])


def _plain(error: yaml.MarkedYAMLError) -> str:
    """What the parser says, without what it quotes."""
    said = re.sub(r"\s+'[^']*'", "", error.problem or error.context or "not YAML")
    if "cannot start any token" in said:
        return "a tab cannot indent, and a value that begins with @, ` or % needs quotes"
    if "another document" in said:
        return "only one document (`---`) is read"
    return f"not YAML: {said}"


def _whole(text: str) -> Value:
    digits = text.replace("_", "")
    return int(digits) if re.fullmatch(r"[+-]?\d+", digits) else _BAD


def _number(text: str) -> Value:
    try:
        number = float(text.replace("_", ""))
    except ValueError:
        return _BAD
    return number if math.isfinite(number) else _BAD


def _truth(text: str) -> Value:
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}.get(text.lower(), _BAD)


_PARSERS: Mapping[type, Callable[[str], Any]] = {int: _whole, float: _number, bool: _truth}
_NAMES: Mapping[type, str] = {int: "a whole number", float: "a number", bool: "true or false"}
_FOUND = {
    "str": "text", "int": "a number", "float": "a number", "bool": "true or false",
    "null": "nothing", "map": "a mapping", "seq": "a list", "timestamp": "a date",
}  # fmt: skip
