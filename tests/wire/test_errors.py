"""Failures: every known way in which providers fail is taken for what it is, and nothing makes us raise."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbroken.failures import Failure, Same, Scope
from unbroken.failures import FailureKind as Kind
from unbroken.types import HttpReply
from unbroken.wire.comeback import instant_s
from unbroken.wire.errors import classify, classify_event, redact
from wire.anything import HEADERS, JSON
from wire.error_rows import ACCESS, LIMITS, MONEY, NOON, Row, aws, google, openai, openrouter
from wire.error_rows_requests import CONTEXT, ENDPOINTS, POLICY, REQUESTS
from wire.recorded import OURS, Recording

TABLES = {"limits": LIMITS, "money": MONEY, "access": ACCESS, "context": CONTEXT, "policy": POLICY}
ROWS = {
    f"{table}-{name}": row
    for table, rows in {**TABLES, "requests": REQUESTS, "endpoints": ENDPOINTS}.items()
    for name, row in rows.items()
}
NOON_S = instant_s(NOON) or 0.0


def reply(status: int, body: Any = "", **headers: str) -> HttpReply:
    data = body if isinstance(body, bytes) else (body if isinstance(body, str) else json.dumps(body)).encode()
    return HttpReply(status=status, headers={k.replace("_", "-"): v for k, v in headers.items()}, body=data)


# ------------------------------------------------------------------- the table


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_known_failure_is_what_it_is(row: Row) -> None:
    """Every row of the table gives its kind, how far it reaches, how long it lasts, and whether to ask again."""
    failure = classify(reply(row.status, row.body, **row.headers))

    assert failure.kind is row.kind
    assert (failure.scope, failure.cool_s, failure.again) == (row.scope, row.cool_s, row.again)
    assert failure.retry_after_s == pytest.approx(row.hint_s)
    assert row.code in (None, failure.code)


EVENTS: dict[str, tuple[Any, Kind, int]] = {
    "openai-chat": (openai("x", None, "server_error"), Kind.SERVER, 500),
    "openai-quota": (openai("x", "insufficient_quota", "insufficient_quota"), Kind.QUOTA, 429),
    "responses-error": ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, Kind.RATE_LIMIT, 429),
    "responses-nested": ({"type": "error", "error": {"code": "credit_balance_exhausted"}}, Kind.QUOTA, 429),
    "responses-failed": (
        {"type": "response.failed", "response": {"status": "failed", "error": {"code": "context_length_exceeded"}}},
        Kind.CONTEXT_LENGTH,
        400,
    ),
    "responses-failed-silently": ({"type": "response.failed", "response": {"error": None}}, Kind.SERVER, 500),
    "responses-policy": (
        {"type": "response.failed", "response": {"error": {"code": "bio_policy"}}},
        Kind.CONTENT_POLICY,
        400,
    ),
    "responses-image": (
        {"type": "response.failed", "response": {"error": {"code": "empty_image_file"}}},
        Kind.REQUEST,
        400,
    ),
    "responses-bare": (
        {"type": "server_error", "code": "server_error", "message": "An error occurred", "param": None},
        Kind.SERVER,
        500,
    ),
    "anthropic": (
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        Kind.OVERLOADED,
        503,
    ),
    "anthropic-api": ({"type": "error", "error": {"type": "api_error", "message": "x"}}, Kind.SERVER, 500),
    "openrouter": (
        {
            "id": "gen-1",
            "error": {"code": "server_error", "message": "Provider disconnected"},
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        },
        Kind.SERVER,
        500,
    ),
    "openrouter-400": ({"error": {"code": 400, "message": "x"}, "choices": [{"delta": {}}]}, Kind.REQUEST, 400),
    "openrouter-in-choice": (
        {"choices": [{"error": {"code": 502, "message": "x"}, "finish_reason": "error", "message": {}}]},
        Kind.SERVER,
        502,
    ),
    "finish-reason-alone": ({"choices": [{"finish_reason": "error", "delta": {}}]}, Kind.SERVER, 500),
    "groq": (
        {"error": {"message": "x", "type": "invalid_request_error", "code": "tool_use_failed", "status_code": 400}},
        Kind.MODEL_FAULT,
        400,
    ),
    "vllm": ({"object": "error", "message": "x", "type": "InternalServerError", "code": 500}, Kind.SERVER, 500),
    "gemini": (google(503, "UNAVAILABLE", "The model is overloaded"), Kind.OVERLOADED, 503),
    "gemini-list": ([google(429, "RESOURCE_EXHAUSTED", "x")], Kind.RATE_LIMIT, 429),
    "ollama": ({"error": "an error was encountered while running the model"}, Kind.SERVER, 500),
    "ollama-memory": ({"error": "model requires more system memory"}, Kind.SERVER, 500),
    "ollama-rate": ({"error": "too many requests"}, Kind.RATE_LIMIT, 429),
    "pollinations": (
        {"status": 402, "success": False, "error": {"code": "INSUFFICIENT_BALANCE", "message": "x"}},
        Kind.QUOTA,
        402,
    ),
    "pollinations-upstream": (
        {"status": 502, "success": False, "error": {"message": "x", "details": {"upstreamStatus": 429}}},
        Kind.RATE_LIMIT,
        429,
    ),
    "azure-first-chunk": (openai("x", "content_filter", None, status=400), Kind.CONTENT_POLICY, 400),
    "bedrock": ({"throttlingException": {"message": "Too many requests"}}, Kind.RATE_LIMIT, 429),
    "bedrock-model": ({"modelStreamErrorException": {"message": "x"}}, Kind.SERVER, 500),
    "bedrock-bare": ({"message": "Bedrock is unable to process your request."}, Kind.SERVER, 500),
    "fastapi": ({"detail": "Not Found"}, Kind.SERVER, 500),
    "portkey": ({"status": "failure", "message": "x"}, Kind.SERVER, 500),
    "cloudflare": ({"error": None, "type": "error", "errors": [{"code": 7003, "message": "x"}]}, Kind.SERVER, 500),
}


@pytest.mark.parametrize(("value", "kind", "status"), EVENTS.values(), ids=EVENTS)
def test_an_error_under_200_is_recognised(value: Any, kind: Kind, status: int) -> None:
    """Errors inside a good status have a kind, and a status where they say or mean one."""
    failure = classify_event(value)

    assert failure is not None
    assert failure.kind is kind
    assert failure.status in (status, None) if kind is Kind.SERVER else failure.status == status


@pytest.mark.parametrize(
    "value",
    [
        {"error": None, "choices": [{"delta": {"content": "error"}, "finish_reason": "stop"}]},
        {"error": None},
        {"error": {}, "choices": []},
        {"object": "response", "status": "completed", "error": None},
        {"type": "response.completed", "response": {"error": None}},
        {"type": "message_delta", "delta": {"stop_reason": "end_turn"}},
        {"type": "ping"},
        {"type": "progress", "message": "thinking"},
        {"model": "m", "message": {"role": "assistant", "content": "x"}, "done": True},
        {"messageStop": {"stopReason": "end_turn"}},
        {"choices": "none"},
        [],
        [{"object": "embedding"}],
        "error",
        17,
        None,
    ],
)
def test_what_is_no_error_is_none(value: Any) -> None:
    """Answers, pings and progress are not taken for errors, nor is `error: null`."""
    assert classify_event(value) is None


def test_a_known_status_is_kept() -> None:
    """An event whose HTTP status is known keeps it; 200 is as good as none."""
    failure = classify_event({"error": {"message": "x"}}, status=503)
    derived = classify_event(openai("x", None, "rate_limit_error"), status=200)

    assert failure is not None
    assert (failure.kind, failure.status) == (Kind.OVERLOADED, 503)
    assert derived is not None
    assert derived.status == 429


# ------------------------------------------------------------------- echoes, envelopes, words


@pytest.mark.parametrize(
    "message",
    [
        "Invalid value: 'prompt is too long'. Supported values are: 'a' and 'b'.",
        'Invalid content: "429 rate limit, credit balance is too low" at messages[0]',
        "Unknown role `insufficient credits`",
    ],
)
def test_an_echoed_prompt_decides_nothing(message: str) -> None:
    """Words between quotes are the caller's, and no rule looks at them."""
    assert classify(reply(400, openai(message))).kind is Kind.REQUEST


def test_a_code_silences_the_message() -> None:
    """Where there is a code of its own, the words of a message decide nothing."""
    body = openai("invalid content: the prompt is too long, credit balance is too low", "bad_role")

    assert classify(reply(400, body)).kind is Kind.REQUEST


def test_json_in_a_message_with_a_code_is_an_echo() -> None:
    """An error object that a message quotes is not an envelope where a code stands beside it."""
    body = openai('{"error": {"code": 429, "message": "x"}}', "invalid_value")

    assert classify(reply(400, body)).kind is Kind.REQUEST


NESTED = [
    openai(json.dumps(google(429, "RESOURCE_EXHAUSTED", "slow")), 500, None),
    openai(f"litellm.APIError: VertexException - {json.dumps(google(429, 'RESOURCE_EXHAUSTED', 'slow'))}", None, None),
    openrouter(500, "Provider returned error", raw=json.dumps(openai("slow", "rate_limit_exceeded", "tokens"))),
    openrouter(500, "Provider returned error", raw=openai("slow", "rate_limit_exceeded", "tokens")),
    openai(json.dumps(openai(json.dumps(google(429, "RESOURCE_EXHAUSTED", "slow")), None, None)), None, None),
]


@pytest.mark.parametrize("body", NESTED)
def test_the_innermost_code_decides(body: Any) -> None:
    """An error that a proxy passes on as JSON text is classified by what is inside, up to two levels."""
    failure = classify(reply(500, body))

    assert failure.kind is Kind.RATE_LIMIT
    assert "slow" in failure.message


def test_the_third_level_is_not_read() -> None:
    """Envelopes are opened twice and no further."""
    body: Any = google(429, "RESOURCE_EXHAUSTED", "slow")
    for _ in range(3):
        body = openai(json.dumps(body), None, None)

    assert classify(reply(500, body)).kind is Kind.SERVER


def test_the_callers_own_words_survive() -> None:
    """Message, type, param, code, status and body of a caller's fault are the provider's."""
    error = {
        "message": "Unsupported value: 'x'",
        "type": "invalid_request_error",
        "param": "x",
        "code": "unsupported_value",
    }
    failure = classify(reply(400, {"error": error}))

    assert (failure.message, failure.type, failure.param, failure.code) == tuple(error.values())
    assert (failure.status, failure.body) == (400, {"error": error})


def test_a_list_of_complaints_becomes_a_line() -> None:
    """FastAPI's and Hugging Face's lists are shown as text, with the place of each complaint."""
    complaints = [{"loc": ["body", "n"], "msg": "must be positive"}, "and more"]

    assert classify(reply(422, {"detail": complaints})).message == "body.n: must be positive; and more"
    assert classify(reply(400, {"error": ["one", "two"]})).message == "one; two"


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (502, "<html><body>502 Bad Gateway</body></html>", "502 with an HTML page"),
        (500, {"error": {"message": "<!DOCTYPE html><p>no"}}, "500 with an HTML page"),
        (503, "", "503 with an empty body"),
        (500, b"\xff\xfe", "\ufffd\ufffd"),
        (500, {"error": {"code": 500}}, "500 without a message"),
        (429, "error code: 1015", "error code: 1015"),
    ],
)
def test_what_is_shown_is_fit_to_be_shown(status: int, body: Any, message: str) -> None:
    """No HTML and no raw JSON is ever shown; an answer without words is described."""
    assert classify(reply(status, body)).message == message


KEYS = [
    "sk-proj-abcdefgh1234567890abcdef",
    "sk-ant-api03-abcdefghijklmnop12",
    "AIzaSyA1234567890abcdefghij",
    "gsk_abcdefghij1234567890",
    "hf_abcdefghij1234567890",
    "xai-abcdefghij1234567890",
    "AKIAIOSFODNN7EXAMPLE9",
    "eyJhbGciOiJI.eyJzdWIiOiIx.abc123",
    "0123456789abcdef0123456789abcdef",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "form", ["Incorrect API key provided: {}.", "bad\n{}", '{{"error": "{}"}}', "Bearer {} is bad"]
)
def test_keys_are_blanked(key: str, form: str) -> None:
    """A key that a provider echoes is in no part of the Failure, from HTTP or from an event."""
    text = form.format(key)
    from_http = classify(reply(401, openai(text, "invalid_api_key", param=key)))
    from_text = classify(reply(401, text))
    from_event = classify_event(openai(json.dumps({"error": text})))

    for failure in (from_http, from_text, from_event):
        assert key not in repr(failure)


def test_words_are_not_blanked() -> None:
    """What merely stands near the word key, or is long, is left as it is."""
    text = "API key not valid. max_tokens: 4096, request req_011CWbzznWBvB4j8xSS91pwP, desk-lamp"

    assert redact(text) == text


def test_final_means_final() -> None:
    """`x-should-retry: false` takes the retry at the same target away, whatever the table says."""
    usual = classify(reply(500, openai("x")))
    final = classify(reply(500, openai("x"), x_should_retry="false"))

    assert (usual.verdict.same, final.verdict.same) == (Same.ONCE, Same.NEVER)


def test_hints_of_a_callers_fault_are_not_hints() -> None:
    """Headers that stand on every answer mean nothing where waiting does not help."""
    headers = {"retry-after": "5", "x-ratelimit-reset-tokens": "6ms"}

    assert classify(HttpReply(status=400, headers=headers, body=b"{}")).retry_after_s is None
    assert classify(HttpReply(status=500, headers={"x-ratelimit-reset-tokens": "6ms"})).retry_after_s is None


def test_the_wall_clock_is_the_second_best_clock() -> None:
    """Daily quotas end by the answer's own date, else by the caller's clock."""
    body = openrouter(429, "free-models-per-day")

    assert classify(reply(429, body, date=NOON), now_epoch_s=5.0).retry_after_s == 4 * 3600.0
    assert classify(reply(429, body), now_epoch_s=NOON_S).retry_after_s == 4 * 3600.0


# ------------------------------------------------------------------- recordings

RECORDED: list[tuple[str, str, Kind]] = [
    ("anthropic", "prompt is too long", Kind.CONTEXT_LENGTH),
    ("anthropic", "authentication_error", Kind.AUTH),
    ("anthropic", "not_found_error", Kind.MODEL_MISSING),
    ("anthropic", "rate_limit_error", Kind.RATE_LIMIT),
    ("anthropic", "overloaded_error", Kind.OVERLOADED),
    ("azure", "content_filter", Kind.CONTENT_POLICY),
    ("azure", "Access denied due to invalid", Kind.AUTH),
    ("azure", "Resource not found", Kind.DENIED),
    ("azure", "ate limit", Kind.RATE_LIMIT),
    ("bedrock", "identifier is invalid", Kind.MODEL_MISSING),
    ("bedrock", "token included in the request is expired", Kind.AUTH),
    ("bedrock", "You don't have access", Kind.DENIED),
    ("bedrock", "Too many tokens", Kind.RATE_LIMIT),
    ("bedrock", "unable to process", Kind.SERVER),
    ("bedrock", "", Kind.REQUEST),
    ("cerebras", "Tokens per minute", Kind.RATE_LIMIT),
    ("cohere", "model", Kind.MODEL_MISSING),
    ("deepseek", "authentication_error", Kind.AUTH),
    ("google", "API_KEY_INVALID", Kind.AUTH),
    ("google", "MODEL_CAPACITY_EXHAUSTED", Kind.OVERLOADED),
    ("google", "RESOURCE_EXHAUSTED", Kind.RATE_LIMIT),
    ("google", "overloaded", Kind.OVERLOADED),
    ("google", "NOT_FOUND", Kind.MODEL_MISSING),
    ("google", "302", Kind.DENIED),
    ("groq", "tool_use_failed", Kind.MODEL_FAULT),
    ("groq", "model_not_found", Kind.MODEL_MISSING),
    ("huggingface", "estimated_time", Kind.LOADING),
    ("huggingface", "field required", Kind.REQUEST),
    ("mistral", "Invalid API Key", Kind.AUTH),
    ("mistral", "capacity exceeded", Kind.OVERLOADED),
    ("mistral", "rate limit", Kind.RATE_LIMIT),
    ("ollama", "Unauthorized", Kind.AUTH),
    ("ollama", "not found", Kind.MODEL_MISSING),
    ("ollama", "overloaded", Kind.OVERLOADED),
    ("openai", "insufficient_quota", Kind.QUOTA),
    ("openai", "context_length_exceeded", Kind.CONTEXT_LENGTH),
    ("openai", "invalid_api_key", Kind.AUTH),
    ("openai", "Incorrect API key", Kind.AUTH),
    ("openai", "model_not_found", Kind.MODEL_MISSING),
    ("openai", "server_error", Kind.SERVER),
    ("openai", "ate limit", Kind.RATE_LIMIT),
    ("openai", "too large for", Kind.RATE_LIMIT),
    ("openai", "unsupported_parameter", Kind.UNSUPPORTED),
    ("openai", "unknown_parameter", Kind.UNSUPPORTED),
    ("openai", "", Kind.REQUEST),
    ("openrouter", "maximum context length", Kind.CONTEXT_LENGTH),
    ("openrouter", "Missing Authentication", Kind.AUTH),
    ("openrouter", "nsufficient credits", Kind.QUOTA),
    ("openrouter", "rate-limited upstream", Kind.RATE_LIMIT),
    ("openrouter", "Token limit reached", Kind.REQUEST),
    ("perplexity", "too_many_prompt_tokens", Kind.CONTEXT_LENGTH),
    ("perplexity", "invalid_api_key", Kind.AUTH),
    ("vertex", "Cannot fetch content", Kind.REQUEST),
    ("vertex", "input token count", Kind.CONTEXT_LENGTH),
    ("vertex", "UNAUTHENTICATED", Kind.AUTH),
    ("vertex", "NOT_FOUND", Kind.MODEL_MISSING),
    ("voyage", "is not supported", Kind.MODEL_MISSING),
    ("xai", "Incorrect API key", Kind.AUTH),
    ("xai", "spending limit", Kind.QUOTA),
]
"""Provider, what its body holds, and what that is; the first row that fits counts."""


def failures_of(recording: Recording) -> Iterator[Failure]:
    """What a recorded error is taken for: by its status, or event by event where that was good."""
    status, body = recording["status"], recording["response_body"]
    if (status or 200) >= 300:
        headers = {name.lower(): str(value) for name, value in (recording.get("response_headers") or {}).items()}
        yield classify(HttpReply(status=status, headers=headers, body=body.encode()))
        return
    texts = [body] if body.lstrip().startswith(("{\n", "[", '{"error', '{"message', '{"object', '{"type":"s')) else []
    for text in texts or [line.removeprefix("data: ") for line in body.splitlines()]:
        if text.startswith(("{", "[")) and text != "[DONE]" and (failure := classify_event(json.loads(text))):
            yield failure


def check(recording: Recording) -> None:
    found = list(failures_of(recording))
    provider, body = recording["provider"], recording["response_body"]
    expected = next(kind for name, holds, kind in RECORDED if provider.startswith(name) and holds in body)

    assert {failure.kind for failure in found} == {expected}, recording["id"]


def errors_in(path: Path) -> Iterator[Recording]:
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for line in data.decode().splitlines():
        if path.suffix != ".gz" or '"error_kind":null' not in line:
            yield json.loads(line)


def test_recorded_errors_are_what_they_are() -> None:
    """Each error recorded from a real provider gives the kind that its provider and its words mean."""
    recordings = list(errors_in(OURS / "errors.jsonl"))

    assert len(recordings) > 50
    for recording in recordings:
        check(recording)


def test_all_shared_errors_are_what_they_are(shared: Path) -> None:
    """The same for every error of the large set, and for those that users have reported."""
    for path in sorted((shared / "wire").glob("*.jsonl*")):
        for recording in errors_in(path):
            check(recording)


# ------------------------------------------------------------------- anything at all


@given(
    status=st.integers(-1, 1000),
    headers=HEADERS,
    body=st.binary(max_size=60) | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_anything_gives_a_failure(status: int, headers: dict[str, str], body: bytes) -> None:
    """Any status, headers and bytes give a Failure that can be shown, and never an exception."""
    failure = classify(HttpReply(status=status, headers=headers, body=body), now_epoch_s=NOON_S)

    assert failure.kind is not Kind.INTERNAL
    assert failure.message
    assert failure.retry_after_s is None or 0.0 <= failure.retry_after_s <= 86_400.0


@given(value=JSON)
def test_any_event_gives_a_failure_or_none(value: Any) -> None:
    """Any JSON value is an error or none, and never an exception."""
    failure = classify_event(value)

    assert failure is None or (failure.kind is not Kind.INTERNAL and failure.message)


@pytest.mark.parametrize("depth", [300, 900, 50_000])
def test_depth_is_survived(depth: int) -> None:
    """A nest of lists or objects, as deep as it may be, gives a Failure."""
    for opened, closed in (("[", "]"), ('{"error":', "}")):
        failure = classify(reply(400, opened * depth + "1" + closed * depth))

        assert failure.kind is Kind.REQUEST


def test_size_is_survived() -> None:
    """Of a body of many megabytes only the beginning is read."""
    failure = classify(reply(500, b"x" * 5_000_000))

    assert len(failure.message) == 300


def test_an_aws_error_keeps_its_name() -> None:
    """Where the code stands in a header only, it is still the code."""
    failure = classify(HttpReply(status=403, headers=aws("ExpiredTokenException"), body=b'{"message": "x"}'))

    assert (failure.code, failure.scope) == ("ExpiredTokenException", None)
    assert failure.verdict.cools is Scope.KEY
