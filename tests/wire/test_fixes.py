"""What targets complain of, and the request without it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, FailureKind
from unbroken.types import Fix, HttpReply, HttpRequest, Target
from unbroken.wire.errors import classify
from unbroken.wire.fixes import adapted, fix_for

TARGET = Target(name="t", provider="p", model="m")


def request_of(**fields: Any) -> HttpRequest:
    return HttpRequest(method="POST", url="u", headers={}, body=json.dumps(fields).encode())


def complaint(status: int, body: Any) -> Failure:
    return classify(HttpReply(status=status, headers={}, body=json.dumps(body).encode()))


def openai(message: str, code: str | None = None, param: str | None = None) -> dict[str, Any]:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


NEWER = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
BOTH_IN_BRACKETS = (
    "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens "
    "(5000 in the messages, 4000 in the completion)."
)
POOR = (
    "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, "
    "but can only afford 30104."
)
FULL = "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease"
EXTRA = {"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "Extra inputs are not permitted"}
PENALTY = "Argument not supported on this model: presencePenalty"


@pytest.mark.parametrize(
    ("status", "body", "fields", "fix"),
    [
        (
            400,
            openai(NEWER, "unsupported_parameter", "max_tokens"),
            {"max_tokens": 5},
            Fix(rename={"max_tokens": "max_completion_tokens"}),
        ),
        (
            422,
            {"detail": [EXTRA]},
            {"max_completion_tokens": 5},
            Fix(rename={"max_completion_tokens": "max_tokens"}),
        ),
        (
            400,
            {"code": "Client specified an invalid argument", "error": PENALTY},
            {"presence_penalty": 0},
            Fix(drop=("presence_penalty",)),
        ),
        (400, openai("Extra inputs are not permitted, field: 'user'"), {"user": "u"}, Fix(drop=("user",))),
        (
            400,
            openai("Unsupported value: 'temperature' does not support 0.2", "unsupported_value", "temperature"),
            {"temperature": 0.2},
            None,
        ),
        (400, openai("x", "invalid_encrypted_content"), {"input": []}, Fix(thoughts=True)),
        (400, openai(BOTH_IN_BRACKETS), {"max_tokens": 4000}, Fix(put={"max_tokens": 3192})),
        (
            400,
            {"type": "error", "error": {"type": "invalid_request_error", "message": FULL}},
            {"max_tokens": 20000},
            Fix(put={"max_tokens": 10000}),
        ),
        (
            400,
            openai("This model's maximum context length is 8192 tokens and your request has 8190 input tokens"),
            {"max_tokens": 4000},
            None,
        ),
        (402, {"error": {"code": 402, "message": POOR}}, {"messages": []}, Fix(put={"max_tokens": 30104})),
        (402, {"error": {"code": 402, "message": POOR}}, {"max_tokens": 10}, None),
        (400, openai("Messages must not be empty"), {"messages": []}, None),
        (500, openai("Unsupported parameter: 'user'"), {"user": "u"}, None),
    ],
    ids=["rename", "rename-back", "penalty-0", "hint", "temperature", "sealed-thoughts", "room-openai",
         "room-anthropic", "no-room", "unaffordable", "affordable", "nothing-to-fix", "not-a-complaint"],
)  # fmt: skip
def test_what_would_help(status: int, body: Any, fields: dict[str, Any], fix: Fix | None) -> None:
    """A complaint becomes a change only where the request says nothing less afterwards, or what was allowed."""
    assert fix_for(complaint(status, body), request_of(model="m", **fields), target=TARGET) == fix


def test_what_may_be_dropped_is_said_by_the_operator() -> None:
    """A temperature counts: it goes only where the target allows that."""
    failure = complaint(400, openai("no", "unsupported_parameter", "temperature"))
    request = request_of(temperature=0.2)
    lax = Target(name="t", provider="p", model="m", may_drop=frozenset({"temperature"}))
    assert fix_for(failure, request, target=TARGET) is None
    assert fix_for(failure, request, target=lax) == Fix(drop=("temperature",))


def test_requests_are_changed_and_say_so() -> None:
    """Fields keep their places and bytes; what went, or was lowered, is told."""
    request = request_of(model="m", user="u", max_tokens=9, messages=[])
    changed = adapted(request, Fix(drop=("user", "absent"), rename={"max_tokens": "max_completion_tokens"}))
    assert changed.body == b'{"model":"m","max_completion_tokens":9,"messages":[]}'
    assert changed.unsaid == ("user",)
    lowered = adapted(request, Fix(put={"max_tokens": 5}))
    assert (json.loads(lowered.body)["max_tokens"], lowered.unsaid) == (5, ("max_tokens>5",))


def test_thoughts_are_taken_out_of_items_and_messages() -> None:
    """Sealed thoughts of another model stand between items, or within messages."""
    thought = {"type": "thinking", "thinking": "hm", "signature": "s"}
    request = request_of(
        input=[{"type": "reasoning", "encrypted_content": "x"}, {"role": "user", "content": "Hi"}],
        messages=[{"role": "assistant", "content": [thought, {"type": "text", "text": "Ho"}]}, "odd"],
    )
    body = json.loads(adapted(request, Fix(thoughts=True)).body)
    assert body["input"] == [{"role": "user", "content": "Hi"}]
    assert body["messages"] == [{"role": "assistant", "content": [{"type": "text", "text": "Ho"}]}, "odd"]
    assert json.loads(adapted(request_of(input="Hi"), Fix(thoughts=True)).body) == {"input": "Hi"}


@pytest.mark.parametrize("body", [b"", b"\x00", b"[]", b"--boundary"])
def test_bodies_that_are_no_objects_stay(body: bytes) -> None:
    """A sound file or a picture has no fields."""
    request = HttpRequest(method="POST", url="u", headers={}, body=body)
    failure = Failure(kind=FailureKind.UNSUPPORTED, message="x", param="user")
    assert fix_for(failure, request, target=TARGET) is None
    assert adapted(request, Fix(drop=("user",))) is request


@given(
    st.text(max_size=80),
    st.dictionaries(st.sampled_from(["user", "n", "stop", "max_tokens"]), st.integers() | st.text(max_size=3)),
)
def test_any_complaint_is_survived(message: str, fields: dict[str, Any]) -> None:
    """Whatever is said and asked, there is a fix or none."""
    for kind in (FailureKind.UNSUPPORTED, FailureKind.CONTEXT_LENGTH, FailureKind.QUOTA, FailureKind.SERVER):
        failure = Failure(kind=kind, message=f"unsupported: {message} can only afford 99", param=message[:5])
        fix = fix_for(failure, request_of(**fields), target=TARGET)
        assert fix is None or adapted(request_of(**fields), fix).body
