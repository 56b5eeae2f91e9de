"""Answers checked against the schema and the tools of their request."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from unbroken.policy import Policy
from unbroken.soundness import SchemaUnavailable, ensure_validator, judge_for
from unbroken.types import Chat, Message, Request, Response, Text, Tool, ToolCall

SCHEMA = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
MINDING = Policy(on_bad_schema="failover", on_bad_arguments="failover")


def asked(**chat: Any) -> Request:
    """A request for this, which needs what it says."""
    needs = {"schema"} if "schema" in chat else set()
    needs |= {"tools"} if "tools" in chat else set()
    spoken = Chat(messages=(Message(role="user", parts=(Text("Hi"),)),), **chat)
    return Request(model="m", needs=frozenset(needs), read=lambda: spoken)


def call(name: str) -> Response:
    return Response(tool_calls=(ToolCall(id="1", name=name, arguments="{}"),))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"age": 7}', None),
        ('{"age": "7"}', "it does not obey the schema at age (type)"),
        ("{}", "it does not obey the schema at the whole (required)"),
        ("seven", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
    ],
)
def test_schemas_are_obeyed(text: str, wrong: str | None) -> None:
    """An answer is judged by the schema that was asked for, and told where it fails."""
    judge = judge_for(asked(schema=SCHEMA), MINDING)
    assert judge is not None
    assert judge(Response(text=text)) == wrong


def test_a_call_is_no_answer_yet() -> None:
    """A model that calls a tool first has not answered, so there is nothing to obey the schema."""
    judge = judge_for(asked(schema=SCHEMA, tools=(Tool(name="look"),)), MINDING)
    assert judge is not None
    assert judge(call("look")) is None
    assert judge(call("leap")) == "it called 'leap', which is no tool of this request"


def test_nothing_is_checked_that_nobody_minds() -> None:
    """A route that says nothing pays nothing, and so does a request without schema or tools."""
    assert judge_for(asked(schema=SCHEMA, tools=(Tool(name="look"),)), Policy()) is None
    assert judge_for(asked(), MINDING) is None


def test_what_is_no_schema_checks_nothing() -> None:
    """The provider will tell the caller what is wrong with it."""
    judge = judge_for(asked(schema={"type": "nonsense"}), MINDING)
    assert judge is not None
    assert judge(Response(text="{}")) is None


def test_bodies_that_are_no_conversations_are_not_judged() -> None:
    """Whoever reads them says what is wrong."""

    def read() -> Chat:
        raise ValueError("'messages' is no list")

    assert judge_for(Request(model="m", needs=frozenset({"schema"}), read=read), MINDING) is None


def test_the_validator_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it is missing, the error says how to get it."""
    ensure_validator()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(SchemaUnavailable, match=r"pip install 'unbroken\[schema\]'"):
        ensure_validator()
