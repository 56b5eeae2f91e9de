"""How providers fail, one row per known way, and what each row must be taken for.

Written from the providers' documentation and from reports; no row is a recording.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unbroken.failures import FailureKind as Kind
from unbroken.failures import Scope

HOUR_S = 3600.0
DAY_S = 86_400.0
NOON = "Wed, 18 Nov 2026 20:00:00 GMT"
"""Noon in California, in winter."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """`hint_s`, `scope`, `cool_s` and `again` are compared as they stand: None means none."""

    status: int
    body: Any
    kind: Kind
    headers: Mapping[str, str] = field(default_factory=dict)
    hint_s: float | None = None
    scope: Scope | None = None
    cool_s: float | None = None
    again: bool = True
    code: str | None = None


def row(status: int, body: Any, kind: Kind, **more: Any) -> Row:
    return Row(status=status, body=body, kind=kind, **more)


def openai(message: str, code: Any = None, kind: str | None = "invalid_request_error", **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": kind, "param": None, "code": code, **more}}


def anthropic(kind: str, message: str, error_code: str | None = None) -> dict[str, Any]:
    details = {"details": {"error_code": error_code}} if error_code else {}
    return {"type": "error", "error": {"type": kind, "message": message, **details}, "request_id": "req_1"}


def google(code: int, status: str, message: str, *details: dict[str, Any]) -> dict[str, Any]:
    more = {"details": list(details)} if details else {}
    return {"error": {"code": code, "message": message, "status": status, **more}}


def reason(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}


def quota_id(name: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": name}]}


def retry_info(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def openrouter(code: int, message: str, **metadata: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "u"}


def aws(name: str) -> dict[str, str]:
    return {"x-amzn-errortype": f"{name}:http://internal.amazon.com/coral/com.amazon.bedrock/"}


def pollinations(status: int, code: str, **details: Any) -> dict[str, Any]:
    return {"status": status, "success": False, "error": {"code": code, "message": "upstream", "details": details}}


PAGE = "<!DOCTYPE html><html><head><title>Just a moment...</title></head></html>"
LIMITED = "You exceeded your current quota, please check your plan and billing details."
TPM = "Request too large for gpt-x in organization o on tokens per min (TPM): Limit 30000, Requested 30601."

LIMITS: dict[str, Row] = {
    "openai-rate": row(
        429,
        openai("Limit 3, Used 3, Requested 1. Please try again in 1.2s", "rate_limit_exceeded", "requests"),
        Kind.RATE_LIMIT,
        hint_s=1.2,
    ),
    "openai-slow-down": row(
        429, openai("Slow", "slow_down", "rate_limit_error"), Kind.RATE_LIMIT, scope=Scope.ENDPOINT, cool_s=60.0
    ),
    "openai-overloaded": row(503, openai("Busy", "server_is_overloaded", "service_unavailable_error"), Kind.OVERLOADED),
    "openai-too-large-at-once": row(
        429, openai(TPM, "rate_limit_exceeded", "tokens"), Kind.RATE_LIMIT, scope=Scope.NONE, again=False
    ),
    "openai-large-but-waiting-helps": row(
        429,
        openai("Limit 30000, Used 14567, Requested 24754. Please try again in 18.642s.", "rate_limit_exceeded"),
        Kind.RATE_LIMIT,
        hint_s=18.642,
    ),
    "anthropic-rate": row(
        429,
        anthropic("rate_limit_error", "Number of requests exceeded"),
        Kind.RATE_LIMIT,
        headers={"retry-after": "7", "anthropic-ratelimit-requests-reset": "2026-11-18T20:00:30Z", "date": NOON},
        hint_s=7.0,
    ),
    "anthropic-which-limit": row(
        429,
        anthropic("rate_limit_error", "Number of requests exceeded"),
        Kind.RATE_LIMIT,
        headers={
            "date": NOON,
            "anthropic-ratelimit-requests-remaining": "10",
            "anthropic-ratelimit-requests-reset": "2026-11-18T20:00:59Z",
            "anthropic-ratelimit-input-tokens-remaining": "0",
            "anthropic-ratelimit-input-tokens-reset": "2026-11-18T20:00:30Z",
        },
        hint_s=30.0,
    ),
    "anthropic-ramp": row(
        429,
        anthropic("rate_limit_error", "Growing too fast", "ramp_limit_exceeded"),
        Kind.RATE_LIMIT,
        headers={"retry-after": "20"},
        hint_s=20.0,
        scope=Scope.KEY,
    ),
    "anthropic-overloaded": row(
        529, anthropic("overloaded_error", "Overloaded"), Kind.OVERLOADED, headers={"x-should-retry": "true"}
    ),
    "anthropic-says-never": row(
        529,
        anthropic("overloaded_error", "Overloaded"),
        Kind.OVERLOADED,
        headers={"x-should-retry": "false"},
        again=False,
    ),
    "anthropic-compaction": row(529, anthropic("overloaded_error", "Later", "compaction_unavailable"), Kind.OVERLOADED),
    "anthropic-key-store": row(
        503, anthropic("api_error", "CMEK", "cmek_key_unreachable"), Kind.DENIED, scope=Scope.KEY, cool_s=120.0
    ),
    "gemini-minute": row(
        429,
        google(429, "RESOURCE_EXHAUSTED", LIMITED, quota_id("RequestsPerMinutePerModel"), retry_info("34.4s")),
        Kind.RATE_LIMIT,
        hint_s=34.4,
    ),
    "gemini-day": row(
        429,
        google(429, "RESOURCE_EXHAUSTED", LIMITED, quota_id("RequestsPerDayPerModel-FreeTier"), retry_info("3s")),
        Kind.QUOTA,
        headers={"date": NOON},
        hint_s=12 * HOUR_S,
        scope=Scope.QUOTA,
    ),
    "gemini-day-without-clock": row(
        429,
        google(429, "RESOURCE_EXHAUSTED", LIMITED, quota_id("RequestsPerDayPerModel-FreeTier"), retry_info("3s")),
        Kind.QUOTA,
        scope=Scope.QUOTA,
    ),
    "gemini-no-free-quota": row(
        429,
        google(429, "RESOURCE_EXHAUSTED", "Quota exceeded for metric: x, limit: 0, model: y"),
        Kind.QUOTA,
        scope=Scope.QUOTA,
        cool_s=DAY_S,
    ),
    "vertex-shared-quota": row(
        429, google(429, "RESOURCE_EXHAUSTED", "Resource exhausted. Please try again later."), Kind.RATE_LIMIT
    ),
    "gemini-capacity": row(
        429,
        google(429, "RESOURCE_EXHAUSTED", "No capacity", reason("MODEL_CAPACITY_EXHAUSTED")),
        Kind.OVERLOADED,
        again=False,
    ),
    "gemini-overloaded": row(503, google(503, "UNAVAILABLE", "The model is overloaded."), Kind.OVERLOADED),
    "vertex-429-inside-500": row(500, google(429, "RESOURCE_EXHAUSTED", "Resource exhausted"), Kind.RATE_LIMIT),
    "vertex-429-in-a-list": row(429, [google(429, "RESOURCE_EXHAUSTED", "Resource exhausted")], Kind.RATE_LIMIT),
    "groq-rate": row(
        429,
        openai("Rate limit reached. Please try again in 7m12s.", "rate_limit_exceeded", "tokens"),
        Kind.RATE_LIMIT,
        hint_s=432.0,
    ),
    "groq-413": row(
        413,
        openai("Request too large for model `m` on tokens per minute (TPM)", "rate_limit_exceeded", "tokens"),
        Kind.RATE_LIMIT,
        scope=Scope.NONE,
        again=False,
    ),
    "groq-498": row(498, openai("Flex tier full", "capacity_exceeded"), Kind.OVERLOADED),
    "mistral-rate": row(
        429,
        {"object": "error", "message": "Rate limit", "type": "rate_limited", "code": "1300", "raw_status_code": 429},
        Kind.RATE_LIMIT,
        scope=Scope.KEY,
        code="1300",
    ),
    "mistral-capacity-429": row(
        429,
        {"object": "error", "message": "Service tier capacity exceeded for this model.", "type": "x", "code": "3505"},
        Kind.OVERLOADED,
    ),
    "mistral-capacity-503": row(
        503,
        {"object": "error", "message": "Service tier capacity exceeded for this model.", "code": None},
        Kind.OVERLOADED,
    ),
    "deepseek-429": row(429, openai("Rate Limit Reached"), Kind.RATE_LIMIT),
    "deepseek-503": row(503, openai("Server Overloaded"), Kind.OVERLOADED),
    "xai-rate": row(429, {"code": "Some resource has been exhausted", "error": "Too many requests"}, Kind.RATE_LIMIT),
    "cohere-minute": row(429, {"message": "limited to 20 API calls / minute", "id": "1"}, Kind.RATE_LIMIT),
    "cohere-month": row(429, {"message": "Trial key: limited to 1000 API calls / month"}, Kind.QUOTA, cool_s=DAY_S),
    "together-dynamic": row(
        429,
        {"error": {"message": "Above your rate", "type": None, "error_type": "dynamic_request_limited"}},
        Kind.RATE_LIMIT,
        headers={"x-ratelimit-reset": "3"},
        hint_s=3.0,
    ),
    "together-503": row(503, openai("The server is busy", None, "service_unavailable"), Kind.OVERLOADED),
    "fireworks-429": row(
        429, {"error": {"message": "x"}}, Kind.RATE_LIMIT, headers={"fireworks-error-code": "RATE_LIMIT"}
    ),
    "fireworks-cold": row(503, {"error": {"message": "Deployment is scaling up from zero"}}, Kind.LOADING),
    "openrouter-own": row(
        429,
        openrouter(429, "Rate limit exceeded", headers={"X-RateLimit-Reset": "1795032010000"}),
        Kind.RATE_LIMIT,
        headers={"date": NOON},
        hint_s=10.0,
    ),
    "openrouter-upstream": row(
        429,
        openrouter(429, "Provider returned error", provider_name="G", limit_source="upstream_provider_shared_pool"),
        Kind.RATE_LIMIT,
        scope=Scope.MODEL,
    ),
    "openrouter-free-day": row(
        429,
        openrouter(429, "Rate limit exceeded: free-models-per-day"),
        Kind.QUOTA,
        headers={"date": NOON},
        hint_s=4 * HOUR_S,
        scope=Scope.QUOTA,
    ),
    "openrouter-no-provider": row(
        503,
        {"error": {"code": 503, "message": "No route", "availability": {"code": "x", "retryable": False}}},
        Kind.OVERLOADED,
        headers={"retry-after": "9"},
        hint_s=9.0,
        again=False,
    ),
    "openrouter-upstream-down": row(502, openrouter(502, "Down", error_type="provider_unavailable"), Kind.OVERLOADED),
    "hf-hub": row(429, {"error": "Too many"}, Kind.RATE_LIMIT, headers={"ratelimit": '"api";r=0;t=55'}, hint_s=56.0),
    "tgi-overloaded": row(429, {"error": "Model is overloaded", "error_type": "overloaded"}, Kind.OVERLOADED),
    "azure-rate": row(
        429,
        openai("exceeded token rate limit. Please retry after 26 seconds.", "429", None),
        Kind.RATE_LIMIT,
        headers={"x-ms-retry-after-ms": "500"},
        hint_s=0.5,
    ),
    "azure-demand": row(429, openai("The system is currently experiencing high demand", "429", None), Kind.OVERLOADED),
    "azure-budget": row(
        429,
        openai("token budget exceeded by request parameters", "429", None),
        Kind.RATE_LIMIT,
        scope=Scope.NONE,
        again=False,
    ),
    "bedrock-throttled": row(
        429, {"message": "Too many tokens, please wait"}, Kind.RATE_LIMIT, headers=aws("ThrottlingException")
    ),
    "bedrock-throttled-400": row(
        400, {"message": "Too many requests"}, Kind.RATE_LIMIT, headers=aws("ThrottlingException")
    ),
    "bedrock-cold": row(
        429, {"message": "Model is not ready"}, Kind.LOADING, headers=aws("ModelNotReadyException"), cool_s=15.0
    ),
    "bedrock-503": row(503, {"message": "x"}, Kind.OVERLOADED, headers=aws("ServiceUnavailableException")),
    "pollinations-429": row(429, pollinations(429, "RATE_LIMITED"), Kind.RATE_LIMIT, scope=Scope.KEY),
    "pollinations-502-of-429": row(
        502, pollinations(502, "BAD_GATEWAY", upstreamStatus=429), Kind.RATE_LIMIT, scope=Scope.MODEL
    ),
    "pollinations-502-of-401": row(
        502, pollinations(502, "BAD_GATEWAY", upstreamStatus=401), Kind.DENIED, scope=Scope.MODEL
    ),
    "pollinations-502-of-524": row(502, pollinations(502, "BAD_GATEWAY", upstreamStatus=524), Kind.SILENT),
    "ollama-queue": row(
        503,
        {"error": "server busy, please try again.  maximum pending requests exceeded"},
        Kind.OVERLOADED,
        scope=Scope.ENDPOINT,
        cool_s=3.0,
    ),
    "ollama-cloud-week": row(429, {"error": "you have reached your weekly usage limit"}, Kind.QUOTA),
    "llama.cpp-loading": row(
        503, {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}}, Kind.LOADING
    ),
    "cloudflare-1015": row(429, "error code: 1015", Kind.RATE_LIMIT, scope=Scope.ENDPOINT),
}

MONEY: dict[str, Row] = {
    **{
        f"openai-{code}": row(
            429, openai(LIMITED, code, "insufficient_quota"), Kind.QUOTA, headers={"retry-after": "1"}
        )
        for code in (
            "insufficient_quota",
            "credit_balance_exhausted",
            "billing_hard_limit_reached",
            "organization_spend_limit_exceeded",
            "project_spend_limit_exceeded",
            "organization_usage_limit_exceeded",
        )
    },
    "openai-no-code": row(429, openai(LIMITED, None, None), Kind.QUOTA),
    "anthropic-402": row(402, anthropic("billing_error", "Pay"), Kind.QUOTA),
    "anthropic-linked": row(402, anthropic("invalid_request_error", "x", "linked_organization_disabled"), Kind.QUOTA),
    "anthropic-400-credit": row(
        400, anthropic("invalid_request_error", "Your credit balance is too low to access the API."), Kind.QUOTA
    ),
    "anthropic-400-own-limit": row(
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        Kind.QUOTA,
        cool_s=DAY_S,
    ),
    "anthropic-429-contract": row(
        429, anthropic("rate_limit_error", "Limit", "contract_spend_limit_reached"), Kind.QUOTA
    ),
    "anthropic-on-hold": row(
        400, anthropic("invalid_request_error", "On hold", "organization_on_hold"), Kind.QUOTA, cool_s=DAY_S
    ),
    "gemini-402": row(402, google(402, "PAYMENT_REQUIRED", "Pay"), Kind.QUOTA),
    "gemini-billing": row(400, google(400, "FAILED_PRECONDITION", "Please enable billing on your project"), Kind.QUOTA),
    "openrouter-credits": row(
        402, openrouter(402, "Insufficient credits", limit_source="openrouter_credits"), Kind.QUOTA
    ),
    "openrouter-in-flight": row(
        402,
        openrouter(402, "Budget in flight", limit_source="openrouter_in_flight_budget"),
        Kind.RATE_LIMIT,
        headers={"retry-after": "2"},
        hint_s=2.0,
        scope=Scope.KEY,
    ),
    "openrouter-402-with-retry-after": row(
        402, openrouter(402, "Wait"), Kind.RATE_LIMIT, headers={"retry-after": "2"}, hint_s=2.0, scope=Scope.KEY
    ),
    "openrouter-unaffordable": row(
        402,
        openrouter(402, "This request requires more credits, or fewer max_tokens. You can only afford 30104"),
        Kind.QUOTA,
        scope=Scope.NONE,
        again=False,
    ),
    "openrouter-weight": row(
        402, openrouter(402, "x", reason="weight_exceeds_budget"), Kind.QUOTA, scope=Scope.NONE, again=False
    ),
    "openrouter-403-key-limit": row(
        403,
        openrouter(403, "Limit", limit_source="openrouter_key_limit", resets_at="2026-11-18T21:00:00Z"),
        Kind.QUOTA,
        headers={"date": NOON},
        hint_s=HOUR_S,
    ),
    "hf-402": row(
        402, {"error": "You have exceeded your monthly included credits for Inference Providers."}, Kind.QUOTA
    ),
    "deepseek-402": row(402, openai("Insufficient Balance", None, "unknown_error"), Kind.QUOTA),
    "xai-429-credits": row(
        429,
        {"error": "Your team has either used all available credits or reached its monthly spending limit."},
        Kind.QUOTA,
    ),
    "fireworks-412": row(412, {"error": {"message": "Account suspended"}}, Kind.QUOTA),
    "bedrock-quota": row(
        400, {"message": "x"}, Kind.QUOTA, headers=aws("ServiceQuotaExceededException"), scope=Scope.QUOTA
    ),
    "pollinations-402": row(402, pollinations(402, "KEY_BUDGET_EXHAUSTED"), Kind.QUOTA),
    "z.ai-1113": row(429, {"error": {"code": "1113", "message": "x"}}, Kind.QUOTA),
    "moonshot": row(429, openai("x", None, "exceeded_current_quota_error"), Kind.QUOTA),
}

ACCESS: dict[str, Row] = {
    "401": row(401, openai("Incorrect API key provided.", "invalid_api_key"), Kind.AUTH),
    "401-without-words": row(401, "", Kind.AUTH),
    "mistral-401": row(401, {"detail": "Unauthorized"}, Kind.AUTH),
    "gateway-401": row(401, {"message": "Unauthorized", "request_id": "1"}, Kind.AUTH),
    "gemini-400-key": row(
        400, google(400, "INVALID_ARGUMENT", "API key not valid.", reason("API_KEY_INVALID")), Kind.AUTH
    ),
    "gemini-region": row(
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        Kind.DENIED,
        scope=Scope.ENDPOINT,
        cool_s=HOUR_S,
    ),
    "openai-region": row(
        403,
        openai("Country, region, or territory not supported", "unsupported_country_region_territory"),
        Kind.DENIED,
        scope=Scope.ENDPOINT,
        cool_s=HOUR_S,
    ),
    "openai-ip": row(401, openai("IP not authorized", "ip_not_authorized"), Kind.AUTH),
    "oauth": row(
        401, {"error": "invalid_grant", "error_description": "Token expired"}, Kind.AUTH, code="invalid_grant"
    ),
    "anthropic-403": row(403, anthropic("permission_error", "No"), Kind.DENIED),
    "vertex-expired": row(401, google(401, "UNAUTHENTICATED", "expired"), Kind.AUTH),
    "bedrock-expired": row(
        403, {"message": "x"}, Kind.AUTH, headers=aws("ExpiredTokenException"), code="ExpiredTokenException"
    ),
    "bedrock-signature": row(403, {"message": "x"}, Kind.AUTH, headers=aws("InvalidSignatureException")),
    "bedrock-no-access": row(
        403,
        {"message": "You don't have access to the model with the specified model ID."},
        Kind.DENIED,
        headers=aws("AccessDeniedException"),
        scope=Scope.QUOTA,
        cool_s=HOUR_S,
    ),
    "bedrock-agreement": row(
        403,
        {"message": "MPAgreementBeingCreated: try again"},
        Kind.DENIED,
        headers=aws("AccessDeniedException"),
        scope=Scope.QUOTA,
        cool_s=900.0,
    ),
    "bedrock-form": row(404, {"message": "FTUFormNotFilled: model"}, Kind.DENIED, scope=Scope.QUOTA, cool_s=DAY_S),
    "openrouter-moderation": row(
        403, openrouter(403, "Flagged", reasons=["violence"], flagged_input="..."), Kind.CONTENT_POLICY
    ),
    "openrouter-guardrail": row(403, openrouter(403, "Blocked", patterns=["x"]), Kind.CONTENT_POLICY),
    "together-403": row(
        403, openai("Input token count + max_tokens must be less than context length"), Kind.CONTEXT_LENGTH
    ),
    "wall-403": row(403, PAGE, Kind.DENIED, scope=Scope.ENDPOINT),
    "azure-blocked": row(
        403,
        openai("Your resource has been temporarily blocked", "403", None),
        Kind.DENIED,
        scope=Scope.KEY,
        cool_s=HOUR_S,
    ),
    "google-api-off": row(
        403,
        google(403, "PERMISSION_DENIED", "x", reason("SERVICE_DISABLED")),
        Kind.DENIED,
        scope=Scope.KEY,
        cool_s=HOUR_S,
    ),
}
