"""What can only be told from the request whether an answer is usable: its schema, its tools.

The validator is the package `jsonschema` (the extra `unbroken[schema]`); a request's schema is
compiled once, when its flight begins.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from unbroken.core.sound import Judge
from unbroken.policy import Policy
from unbroken.types import Request, Response

__all__ = ["SchemaUnavailable", "ensure_validator", "judge_for"]


class SchemaUnavailable(RuntimeError):
    """A route wants answers checked against their schemas, and nothing is installed that can."""


def ensure_validator() -> None:
    """SchemaUnavailable where `jsonschema` is not installed, with what to do about it."""
    try:
        import jsonschema  # noqa: F401, PLC0415 - an extra, looked for only where it is wanted
    except ImportError:
        message = "`on_bad_schema: failover` needs the package jsonschema: pip install 'unbroken[schema]'"
        raise SchemaUnavailable(message) from None


def judge_for(request: Request, policy: Policy) -> Judge | None:
    """Who looks at whole answers to this request, None where the route minds nothing of the sort.

    A body that is no conversation has no schema and no tools: whoever reads it says so.
    """
    wants_schema = policy.on_bad_schema == "failover" and "schema" in request.needs
    wants_tools = policy.on_bad_arguments == "failover" and "tools" in request.needs
    if not wants_schema and not wants_tools:
        return None
    try:
        chat = request.chat
    except ValueError:
        return None
    names = frozenset(tool.name for tool in chat.tools) if wants_tools else None
    validator = _validator(chat.schema) if wants_schema and chat.schema else None

    def judge(answer: Response) -> str | None:
        return next(_complaints(answer, names=names, validator=validator), None)

    return judge


def _validator(schema: Any) -> Any:
    """A compiled schema; one that is no schema is the caller's affair, and checks nothing."""
    ensure_validator()
    from jsonschema.exceptions import SchemaError  # noqa: PLC0415
    from jsonschema.validators import validator_for  # noqa: PLC0415

    kind = validator_for(schema)
    try:
        kind.check_schema(schema)
    except SchemaError:
        return None
    return kind(schema)


def _complaints(answer: Response, *, names: frozenset[str] | None, validator: Any) -> Iterator[str]:
    for call in answer.tool_calls:
        if names is not None and call.name not in names:
            yield f"it called {call.name!r}, which is no tool of this request"
    if validator is None or answer.tool_calls:
        return
    try:
        value = json.loads(answer.text)
    except (ValueError, RecursionError):
        yield "it is not JSON"
        return
    for error in validator.iter_errors(value):
        where = "/".join(map(str, error.absolute_path)) or "the whole"
        yield f"it does not obey the schema at {where} ({error.validator})"
