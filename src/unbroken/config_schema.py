"""The JSON Schema of the configuration file, for editors: made from the records that the reader uses.

    python -m unbroken.config_schema docs/unbroken.schema.json

Descriptions are the docstrings that follow the fields in the source, so they are read
from there; nothing else imports this module.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from unbroken.catalog import providers
from unbroken.config_shape import SHORT_FORMS, SHORTHANDS, File, ProviderSection, Secret, rule_for

__all__ = ["main", "schema"]

Json = dict[str, Any]
Kind = Any
"""What stands in an annotation."""

_REFERENCE = {"$ref": "#/$defs/reference"}
_TYPES: Mapping[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean"}


def schema() -> Json:
    """The schema (draft 2020-12) of a whole configuration file."""
    records: dict[str, Json] = {}
    _record(File, records)
    root = records.pop("File")
    reference = {
        "type": "string",
        "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        "description": "An environment variable: `${NAME}`, or `${NAME:-default}`.",
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "unbroken",
        **root,
        "$defs": {"reference": reference} | dict(sorted(records.items())),
    }


def _record(shape: Kind, records: dict[str, Json]) -> Json:
    """A reference to the description of a record, which is put among `records`."""
    if shape.__name__ not in records:
        records[shape.__name__] = {}  # in its place before its fields are looked at
        hints, said = get_type_hints(shape, include_extras=True), _field_docstrings(shape)
        properties = {f.name: _kind(hints[f.name], f.name, records=records) | _about(f, said) for f in fields(shape)}
        if shape is ProviderSection:
            properties["like"]["anyOf"] = [{"enum": [*providers(), None]}, _REFERENCE]
        for short, names in SHORTHANDS.get(shape, {}).items():
            properties[short] = _kind(hints[names[0]], short, records=records) | {
                "description": "Sets " + " and ".join(names)
            }
        required = [f.name for f in fields(shape) if f.default is MISSING and f.default_factory is MISSING]
        records[shape.__name__] = {
            "description": _first_paragraph(inspect.getdoc(shape) or ""),
            "type": "object" if required else ["object", "null"],
            "properties": properties,
            "additionalProperties": False,
        } | ({"required": required} if required else {})
    return {"$ref": f"#/$defs/{shape.__name__}"}


def _about(of: Field[Any], said: Mapping[str, str]) -> Json:
    about: Json = {"description": said[of.name]} if of.name in said else {}
    plain = of.default is not MISSING and of.default is not None and of.default != ()
    default = list(of.default) if isinstance(of.default, tuple) else of.default
    return about | ({"default": default} if plain else {})


def _kind(hint: Kind, name: str, *, records: dict[str, Json]) -> Json:
    """What may stand for a value of this type, in a field of this name."""
    if _origin(hint) is Annotated:
        return _kind(get_args(hint)[1], name, records=records)
    if _origin(hint) is UnionType:
        (inner,) = (part for part in get_args(hint) if part is not NoneType)
        there = _kind(inner, name, records=records)
        return {"anyOf": [*there.get("anyOf", [there]), {"type": "null"}]}
    if _origin(hint) is tuple:
        one = _kind(get_args(hint)[0], name, records=records)
        return {"anyOf": [{"type": "array", "items": one}, one, {"type": "null"}]}
    if is_dataclass(hint) and hint is not Secret:
        short = hint in SHORT_FORMS and isinstance(hint, type)
        return {"anyOf": [_record(hint, records), {"type": "string"}]} if short else _record(hint, records)
    if not isinstance(hint, type):
        return {"type": ["object", "null"], "additionalProperties": _kind(get_args(hint)[1], name, records=records)}
    return {"anyOf": [_scalar(hint, name), _REFERENCE]}


def _origin(hint: Kind) -> object:
    return get_origin(hint)


def _scalar(kind: type, name: str) -> Json:
    if kind is Secret:
        return {"type": ["string", "number"]}
    rule = rule_for(name)
    if kind is str or issubclass(kind, StrEnum):
        return {"enum": list(rule.choices)} if rule.choices else {"type": "string"}
    bounds = {"exclusiveMinimum": rule.above, "minimum": rule.least, "maximum": rule.most}
    if kind is bool:
        bounds = {}
    return {"type": _TYPES[kind]} | {word: bound for word, bound in bounds.items() if bound is not None}


def _field_docstrings(shape: Kind) -> dict[str, str]:
    """The text that follows each field in the source of a record, and of those that it extends."""
    inherited = [_field_docstrings(base) for base in shape.__bases__ if is_dataclass(base)]
    (record,) = ast.parse(textwrap.dedent(inspect.getsource(shape))).body
    body = record.body if isinstance(record, ast.ClassDef) else []
    return {name: text for said in inherited for name, text in said.items()} | {
        before.target.id: " ".join(str(after.value.value).split())
        for before, after in pairwise(body)
        if isinstance(before, ast.AnnAssign)
        and isinstance(before.target, ast.Name)
        and isinstance(after, ast.Expr)
        and isinstance(after.value, ast.Constant)
    }


def _first_paragraph(text: str) -> str:
    return " ".join(text.split("\n\n", maxsplit=1)[0].split())


def main(arguments: list[str]) -> None:
    """Write the schema to the file that is named, or to standard output."""
    text = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    if arguments:
        Path(arguments[0]).write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
