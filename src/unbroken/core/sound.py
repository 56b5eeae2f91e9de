"""Whether an answer that came to its end is one: the soft failures, which come with a good status.

A route says which of them it minds (`Policy.on_empty`, `on_refusal`, `on_bad_arguments`,
`on_bad_schema`).  What only somebody else can tell (does it obey the schema? is there such a
tool?) is asked of a `Judge`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from unbroken.failures import Failure, FailureKind
from unbroken.policy import Policy
from unbroken.types import Delta, Finish, Request, Response, fold

__all__ = ["Judge", "holds_back", "refusal_in", "unsound"]

Judge = Callable[[Response], str | None]
"""What is wrong with a whole answer, in words; None where nothing is."""


def holds_back(request: Request, policy: Policy) -> bool:
    """Whether nothing may be shown before all of it was seen: what was shown cannot be taken back."""
    return policy.stream.hold or (policy.on_bad_schema == "failover" and "schema" in request.needs)


def refusal_in(deltas: Sequence[Delta], policy: Policy, *, name: str) -> Failure | None:
    """The failure that a refusal is on a route that asks the next target then."""
    if policy.on_refusal != "failover":
        return None
    if not any(delta.refusal or delta.finish is Finish.CONTENT_FILTER for delta in deltas):
        return None
    return Failure(kind=FailureKind.CONTENT_POLICY, message=f"{name} refused to answer")


def unsound(deltas: Sequence[Delta], policy: Policy, *, name: str, judge: Judge | None) -> Failure | None:
    """What is wrong with a whole answer whose deltas these are, as far as the route minds; `name` is who gave it."""
    answer = fold(list(deltas))
    if policy.on_bad_arguments == "failover":
        for call in answer.tool_calls:
            if not _is_json(call.arguments):
                return _fault(f"{name} called {call.name} with arguments that are not JSON")
    wrong = judge(answer) if judge is not None and not answer.refusal else None
    return None if wrong is None else _fault(f"{name} gave an unusable answer: {wrong}")


def _is_json(arguments: str) -> bool:
    """An object, or nothing at all, which stands for an empty one."""
    if not arguments.strip():
        return True
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def _fault(message: str) -> Failure:
    return Failure(kind=FailureKind.MODEL_FAULT, message=message)
