"""What a provider's error means: tables of its words, and the order in which they are asked.

    1. WORDS      a code that says everything by itself
    2. SHAPES     fields that only one kind of error has
    3. STEMS      codes that we do not know, by what they are made of
    4. WORDINGS   the message, by status; quoted spans are blanked first
    5. STATUSES   the HTTP status, or the one that a category word stands for

Rules of this file: structure first, prose last.  A message may echo the prompt, so prose is
never asked where a status of the caller's comes with a code of its own, and never
between quotes.  A row is data; a row that needs a condition is a function under SHAPES.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from unbroken.failures import FailureKind, Scope
from unbroken.types import Json

__all__ = ["PREFILL_UNSUPPORTED", "Ruling", "Told", "decide", "is_known_word", "status_of_word", "word"]

PREFILL_UNSUPPORTED = "prefill_unsupported"
"""The code of a REQUEST failure that we caused ourselves, by asking a target to go on with an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a provider said, read but not judged.

    `words` are its codes and types in one spelling, innermost first; `has_code` whether one
    of them is a code that is neither a number nor a mere category; `text` its messages,
    innermost first; `layers` the error objects, outermost first; `relayed` whether somebody
    behind the provider failed, `wrapped` whether that came as a 4xx inside a 5xx.  `status`
    is the innermost one, None where nothing says it.
    """

    status: int | None
    words: tuple[str, ...] = ()
    has_code: bool = False
    text: str = ""
    layers: tuple[Mapping[str, Json], ...] = ()
    headers: Mapping[str, str]
    relayed: bool = False
    wrapped: bool = False
    html: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """A kind, and where it departs from the verdict table.

    `until` is `pacific` or `utc`: the quota returns at that midnight.  `cool_s` is for want
    of a hint.  `again` False: trying the same target again cannot help.
    """

    kind: FailureKind
    scope: Scope | None = None
    cool_s: float | None = None
    until: str = ""
    again: bool = True
    code: str | None = None


_HOUR_S = 3600.0
_DAY_S = 24 * _HOUR_S

_REQUEST = Ruling(kind=FailureKind.REQUEST)
_UNSUPPORTED = Ruling(kind=FailureKind.UNSUPPORTED)
"""This target cannot do what is asked, another one may."""
_CONTEXT = Ruling(kind=FailureKind.CONTEXT_LENGTH)
_POLICY = Ruling(kind=FailureKind.CONTENT_POLICY)
_PREFILL = Ruling(kind=FailureKind.REQUEST, code=PREFILL_UNSUPPORTED)
_RATE = Ruling(kind=FailureKind.RATE_LIMIT)
_RATE_KEY = Ruling(kind=FailureKind.RATE_LIMIT, scope=Scope.KEY)
_RATE_SHARED = Ruling(kind=FailureKind.RATE_LIMIT, scope=Scope.MODEL)
_RATE_HERE = Ruling(kind=FailureKind.RATE_LIMIT, scope=Scope.ENDPOINT)
_TOO_LARGE_AT_ONCE = Ruling(kind=FailureKind.RATE_LIMIT, scope=Scope.NONE, again=False)
"""One request above the whole window: waiting never helps, and others may well be served."""
_SLOW_DOWN = Ruling(kind=FailureKind.RATE_LIMIT, scope=Scope.ENDPOINT, cool_s=60.0)
_QUOTA = Ruling(kind=FailureKind.QUOTA)
_QUOTA_DAY = Ruling(kind=FailureKind.QUOTA, cool_s=_DAY_S)
_QUOTA_MODEL = Ruling(kind=FailureKind.QUOTA, scope=Scope.QUOTA)
_QUOTA_MODEL_DAY = Ruling(kind=FailureKind.QUOTA, scope=Scope.QUOTA, cool_s=_DAY_S)
_QUOTA_PACIFIC = Ruling(kind=FailureKind.QUOTA, scope=Scope.QUOTA, until="pacific")
_QUOTA_UTC = Ruling(kind=FailureKind.QUOTA, scope=Scope.QUOTA, until="utc")
_UNAFFORDABLE = Ruling(kind=FailureKind.QUOTA, scope=Scope.NONE, again=False)
"""This request costs more than is left; a smaller one does not."""
_AUTH = Ruling(kind=FailureKind.AUTH)
_DENIED = Ruling(kind=FailureKind.DENIED)
_DENIED_HOUR = Ruling(kind=FailureKind.DENIED, scope=Scope.QUOTA, cool_s=_HOUR_S)
_DENIED_KEY = Ruling(kind=FailureKind.DENIED, scope=Scope.KEY, cool_s=_HOUR_S)
_DENIED_HERE = Ruling(kind=FailureKind.DENIED, scope=Scope.ENDPOINT)
_DENIED_REGION = Ruling(kind=FailureKind.DENIED, scope=Scope.ENDPOINT, cool_s=_HOUR_S)
_NO_SUCH_PATH = Ruling(kind=FailureKind.DENIED, scope=Scope.MODEL)
"""A wrong base URL, most likely; but it may be that only this task has no path here, so others stay open."""
_KEY_STORE = Ruling(kind=FailureKind.DENIED, scope=Scope.KEY, cool_s=120.0)
_MISSING = Ruling(kind=FailureKind.MODEL_MISSING)
_OVERLOADED = Ruling(kind=FailureKind.OVERLOADED)
_NO_CAPACITY = Ruling(kind=FailureKind.OVERLOADED, again=False)
_QUEUE_FULL = Ruling(kind=FailureKind.OVERLOADED, scope=Scope.ENDPOINT, cool_s=3.0)
_SERVER = Ruling(kind=FailureKind.SERVER)
_CANNOT_LOAD = Ruling(kind=FailureKind.SERVER, scope=Scope.MODEL, cool_s=300.0, again=False)
_ENGINE_DEAD = Ruling(kind=FailureKind.SERVER, scope=Scope.ENDPOINT, cool_s=30.0, again=False)
_ORIGIN_ILL = Ruling(kind=FailureKind.SERVER, scope=Scope.ENDPOINT, cool_s=10.0, again=False)
_ORIGIN_GONE = Ruling(kind=FailureKind.CONNECT, scope=Scope.ENDPOINT, cool_s=10.0)
_ORIGIN_SILENT = Ruling(kind=FailureKind.SILENT)
"""Somebody on the way has waited in vain already: the same request would wait as long again."""
_LOADING = Ruling(kind=FailureKind.LOADING)
_MODEL_COLD = Ruling(kind=FailureKind.LOADING, cool_s=15.0)
_MODEL_FAULT = Ruling(kind=FailureKind.MODEL_FAULT)
_MALFORMED = Ruling(kind=FailureKind.MALFORMED)


def _table(*rows: tuple[Ruling, str]) -> dict[str, Ruling]:
    return {name: ruling for ruling, names in rows for name in names.split()}


# ------------------------------------------------------------------- 1. codes that say everything

WORDS: Mapping[str, Ruling] = _table(
    (_RATE_KEY, "rate_limited ramp_limit_exceeded openrouter_in_flight_budget in_flight_budget_exhausted"),
    (_RATE_SHARED, "upstream_provider_shared_pool"),
    (_SLOW_DOWN, "slow_down"),
    (_QUOTA, "insufficient_quota credit_balance_exhausted billing_hard_limit_reached billing_error"),
    (_QUOTA, "organization_spend_limit_exceeded project_spend_limit_exceeded organization_usage_limit_exceeded"),
    (_QUOTA, "enforced_spend_limit_reached contract_spend_limit_reached exceeded_current_quota_error"),
    (_QUOTA, "insufficient_balance not_enough_balance key_budget_exhausted payment_required billing_disabled"),
    (_QUOTA, "openrouter_credits openrouter_key_limit openrouter_guardrail_budget openrouter_workspace_budget"),
    (_QUOTA, "1113 1308 1309 1310 1311 1313 1314 1315 1316 1317 1318 1319 1320 1321"),
    (_QUOTA_DAY, "organization_on_hold"),
    (_QUOTA_MODEL, "service_quota_exceeded quota_exhausted"),
    (_UNAFFORDABLE, "weight_exceeds_budget"),
    (_AUTH, "invalid_api_key api_key_invalid api_key_expired authentication_error credentials_missing invalid_grant"),
    (_AUTH, "expired_token unrecognized_client invalid_signature incomplete_signature missing_authentication_token"),
    (_AUTH, "access_token_expired invalid_token account_deactivated"),
    (_DENIED_REGION, "unsupported_country_region_territory"),
    (_DENIED_KEY, "service_disabled api_key_service_blocked consumer_suspended"),
    (_KEY_STORE, "cmek_key_unreachable cmek_context_unavailable"),
    (_DENIED, "data_residency_mismatch"),
    (_MISSING, "model_not_found invalid_model deployment_not_found model_deprecated resource_not_found"),
    (_CONTEXT, "context_length_exceeded exceed_context_size_error too_many_prompt_tokens prompt_too_long"),
    (_POLICY, "content_policy_violation moderation_blocked invalid_prompt cyber_policy bio_policy content_filter"),
    (_POLICY, "misalignment_policy_violation image_content_policy_violation responsible_aipolicy_violation refusal"),
    (_PREFILL, "invalid_prefill prefill_unsupported prefill_not_supported"),
    (_REQUEST, "string_above_max_length request_too_large invalid_encrypted_content"),
    (_UNSUPPORTED, "unsupported_parameter unsupported_value unknown_parameter unrecognized_parameter extra_forbidden"),
    (_OVERLOADED, "overloaded overloaded_error server_is_overloaded service_unavailable engine_overloaded_error"),
    (_OVERLOADED, "capacity_exceeded compaction_unavailable provider_overloaded provider_unavailable"),
    (_NO_CAPACITY, "model_capacity_exhausted model_capacity_exceeded"),
    (_LOADING, "unavailable_error"),
    (_MODEL_COLD, "model_not_ready"),
    (_MODEL_FAULT, "tool_use_failed json_validate_failed"),
    (_SERVER, "model_error model_stream_error model_timeout vector_store_timeout"),
)  # fmt: skip

# ------------------------------------------------------------------- 2. fields that say everything


def _numbers_too_large(told: Told) -> Ruling | None:
    """`Limit 30000, Requested 30601`: more than the whole window (OpenAI, Groq)."""
    found = _LIMIT_REQUESTED.search(told.text) if told.status in (413, 429) else None
    if found is None:
        return None
    limit, requested = (float(number.replace(",", "")) for number in found.groups())
    return _TOO_LARGE_AT_ONCE if requested > limit else None


def _google_quota(told: Told) -> Ruling | None:
    """The same status and message for a minute and for a day: only the quota's name tells them apart."""
    if "resource_exhausted" not in told.words:
        return None
    if any(_PER_DAY.search(name) for name in _quota_names(told)):
        return _QUOTA_PACIFIC
    return _QUOTA_MODEL_DAY if _NO_FREE_QUOTA.search(told.text) else _RATE


def _quota_names(told: Told) -> list[str]:
    return [
        str(violation.get(field, ""))
        for detail in _dicts([layer.get("details") for layer in told.layers])
        for violation in _dicts([detail.get("violations")])
        for field in ("quotaId", "quotaMetric")
    ]


def _dicts(lists: list[Json]) -> list[Mapping[str, Json]]:
    return [item for items in lists if isinstance(items, list) for item in items if isinstance(item, Mapping)]


def _flagged(told: Told) -> Ruling | None:
    """OpenRouter's moderation and guardrails wear the status of a missing right."""
    metadata = [layer.get("metadata") for layer in told.layers]
    marks = ("reasons", "flagged_input", "patterns")
    flagged = any(mark in said for said in metadata if isinstance(said, Mapping) for mark in marks)
    return _POLICY if told.status == 403 and flagged else None


def _paid_soon(told: Told) -> Ruling | None:
    """Money that says when to come back is money in flight (OpenRouter)."""
    return _RATE_KEY if told.status == 402 and "retry-after" in told.headers else None


def _loading_time(told: Told) -> Ruling | None:
    return _LOADING if any("estimated_time" in layer for layer in told.layers) else None


def _failed_generation(told: Told) -> Ruling | None:
    return _MODEL_FAULT if any("failed_generation" in layer for layer in told.layers) else None


_LIMIT_REQUESTED = re.compile(r"\bLimit:? ([\d,]{1,15}),.{0,40}?\bRequested:? ([\d,]{1,15})\b")
_PER_DAY = re.compile(r"per_?day|daily", re.IGNORECASE)
_NO_FREE_QUOTA = re.compile(r"\blimit: 0(?!\.?\d)")

SHAPES: tuple[Callable[[Told], Ruling | None], ...] = (
    _numbers_too_large,
    _google_quota,
    _flagged,
    _paid_soon,
    _loading_time,
    _failed_generation,
)

# ------------------------------------------------------------------- 3. codes that we do not know

STEMS: tuple[tuple[re.Pattern[str], Ruling], ...] = tuple(
    (re.compile(pattern), ruling)
    for pattern, ruling in (
        (r"prefill", _PREFILL),
        (r"context_?(length|window|size)|prompt_too_long|too_many_(input_|prompt_)?tokens", _CONTEXT),
        (r"content_?(filter|policy)|moderation|(safety|policy)_(violation|block)", _POLICY),
        (r"(insufficient|not_enough|exhausted).*(quota|balance|credit|fund|budget)", _QUOTA),
        (r"(quota|balance|credit|budget).*(exceed|exhaust|insufficient|too_low)", _QUOTA),
        (r"billing|spend_limit|payment|^linked_organization", _QUOTA),
        (r"api_?key|credential|authenticat|token_expired|expired_token", _AUTH),
        (r"rate_?limit|too_many_requests|throttl|dynamic_(request|token)_limited", _RATE),
        (r"(country|region|territory).*not_supported|unsupported_(country|region|territory)", _DENIED_REGION),
        (r"(model|deployment).*(not_?found|not_exist|deprecated|retired)|(unknown|invalid)_model", _MISSING),
        (r"overload|capacity", _OVERLOADED),
        (r"^(invalid|unsupported|missing|unknown|empty|failed_to_download|image)_", _REQUEST),
    )
)

# ------------------------------------------------------------------- 4. messages, by status

_OURS = frozenset({400, 403, 413, 422})
"""Statuses under which a provider complains of a request."""
_MONEY = frozenset({400, 401, 402, 403, 429})
_LIMITS = frozenset({429})
_BUSY = frozenset({400, 429, 500, 503})
_ILL = frozenset({500, 502, 503})
_ACCESS = frozenset({400, 403, 404, 451})
_REFUSED = frozenset({400, 403})


def _any(*patterns: str) -> str:
    return "|".join(patterns)


_CONTEXT_WORDING = _any(
    r"maximum context length",
    r"context window",
    r"(?:prompt|input|input context) is too long",
    r"exceeds? context limit",
    r"input token count.{0,40}(?:exceeds the maximum|must be less than context)",
    r"request payload size exceeds",
    r"input tokens? exceeded",
    r"too many (?:input |prompt )?tokens",
    r"expected maxlength",
    r"prompt tokens \(\d+\) exceed",
    r"too large for model with \d+ maximum context",
    r"reduce the length of",
    r"tokens \+ \S+ must be (?:<=|less)",
    r"(?:length limit|available context size|context size) (?:has been )?exceeded",
    r"longer than the (?:model's )?context length",
    r"input length exceeds",
    r"current length is \d+ while limit is \d+",
    r"length of all messages is too long",
    r"range of input length should be",
)
_MODEL_WORDING = _any(
    r"model identifier is invalid",
    r"is not a valid model",
    r"\bmodel \S+ (?:is not supported\.|(?:was |is )?not found|does not exist|was removed)",
    r"not supported by any provider",
)
_PREFILL_WORDING = _any(
    r"prefill\w* (?:is |are )?not supported",
    r"not support (?:assistant )?(?:message )?prefill",
    r"(?:accepts|allows) no assistant message",
    r"must end with a user message",
    r"last role \S+ .{0,60}got assistant",
    r"response prefill is incompatible",
)

_UNSUPPORTED_WORDING = _any(
    r"arguments? not supported on this model",
    r"extra (?:inputs|fields|keys) (?:are )?not (?:permitted|allowed)",
    r"un(?:supported|recognized|known|expected) (?:request )?(?:parameter|argument|field|keyword)",
    r"(?:is|are) not (?:yet )?supported (?:with|by|for|on|in) (?:this|the) (?:model|endpoint|provider)",
    r"(?:this|the) (?:model|endpoint|provider) does not support",
    r"does not support (?:tools?|thinking|reasoning|function|image|vision|audio|video|json|structured|system)",
)
WORDINGS: tuple[tuple[frozenset[int], re.Pattern[str], Ruling], ...] = tuple(
    (statuses, re.compile(pattern, re.IGNORECASE | re.DOTALL), ruling)
    for statuses, pattern, ruling in (
        # money
        (_MONEY, r"can only afford|or fewer max_tokens", _UNAFFORDABLE),
        (_MONEY, r"credit balance is too low|insufficient (?:balance|credits?|funds)", _QUOTA),
        (_MONEY, r"used all available credits|included credits|not_enough_balance", _QUOTA),
        (_MONEY, r"enable billing|billing (?:is disabled|to be enabled)", _QUOTA),
        (_MONEY, r"specified (?:\w+ )?usage limits|spend(?:ing)? limit", _QUOTA_DAY),
        (_LIMITS, r"free-models-per-day", _QUOTA_UTC),
        (_LIMITS, r"calls ?/ ?month|per month", _QUOTA_DAY),
        (_LIMITS, r"(?:hourly|daily|weekly|monthly) (?:usage )?limit|exceeded your current quota", _QUOTA),
        (_BUSY, r"\blimit: 0(?!\.?\d)", _QUOTA_MODEL_DAY),
        # limits and capacity
        (_LIMITS, r"^request too large|token budget exceeded", _TOO_LARGE_AT_ONCE),
        (frozenset({413}), r"request too large for model|\bTP[MD]\b", _TOO_LARGE_AT_ONCE),
        (_LIMITS, r"error code: 1015", _RATE_HERE),
        (_BUSY, r"maximum pending requests", _QUEUE_FULL),
        (_BUSY, r"capacity exceeded|no capacity|high demand|\boverloaded\b", _OVERLOADED),
        # servers of one's own
        (_ILL, r"requires more system memory|runner process|out of memory|cuda error", _CANNOT_LOAD),
        (_ILL, r"(?:error|failed|unable) (?:to )?load(?:ing)?\b", _CANNOT_LOAD),
        (_ILL, r"EngineCore|engine (?:is )?dead", _ENGINE_DEAD),
        (_ILL, r"\bloading\b|warming up|scaling (?:up )?from zero", _LOADING),
        (_ILL, r"input context is too long|too large to process|maximum context length|exceed_context_size", _CONTEXT),
        # the request
        (_OURS, _PREFILL_WORDING, _PREFILL),
        (_OURS, _CONTEXT_WORDING, _CONTEXT),
        (frozenset({498}), r"block(?:ed|list)|deny[ -]?list", _POLICY),  # Cohere; Groq means capacity by it
        (_OURS, r"content (?:filtering|management|usage)? ?polic|safety system|usage guidelines|\bflagged\b", _POLICY),
        (_OURS, r"model did not call a tool|failed to (?:call|parse) .{0,20}(?:function|tool)", _MODEL_FAULT),
        (_OURS, r"semantic errors|hallucinat", _MODEL_FAULT),
        (_OURS, _UNSUPPORTED_WORDING, _UNSUPPORTED),
        # credentials and access
        (_OURS, r"(?:incorrect|invalid|missing) (?:x-)?api[ -]key|api key (?:not valid|not found|expired)", _AUTH),
        (_OURS, r"\btoken\b[^.]{0,60}\bexpired", _AUTH),
        (_ACCESS, r"(?:country|region|territory|location)[^.]{0,40} (?:not|un)[ -]?supported", _DENIED_REGION),
        (_ACCESS, r"not (?:available|supported) in your (?:country|region)", _DENIED_REGION),
        (_ACCESS, r"MPAgreementBeingCreated", replace(_DENIED_HOUR, cool_s=900.0)),
        (_ACCESS, r"FTUFormNotFilled|use case details", replace(_DENIED_HOUR, cool_s=_DAY_S)),
        (_ACCESS, r"temporarily blocked", _DENIED_KEY),
        # the model
        (_OURS, _MODEL_WORDING, _MISSING),
        (frozenset({404, 410}), r"\bmodels?\b|\bdeployment\b", _MISSING),
        (_REFUSED, r"on-demand throughput|access to (?:the |this )?model|not authorized to", _DENIED_HOUR),
        (frozenset({403, 429}), r"rate[ -]limit|too many requests", _RATE),
    )
)

# ------------------------------------------------------------------- 5. statuses

STATUSES: Mapping[int, Ruling] = {
    401: _AUTH,
    402: _QUOTA,
    403: _DENIED,
    404: _NO_SUCH_PATH,
    407: _DENIED_HERE,
    408: _SERVER,
    409: _SERVER,
    410: _NO_SUCH_PATH,
    412: _QUOTA,  # Fireworks: account suspended
    421: _SERVER,
    424: _SERVER,
    425: _SERVER,
    429: _RATE,
    451: _DENIED_REGION,
    498: _OVERLOADED,
    499: _SERVER,  # somebody cancelled, and it was not we
    503: _OVERLOADED,
    504: _ORIGIN_SILENT,
    520: _ORIGIN_ILL,
    521: _ORIGIN_GONE,
    522: _ORIGIN_GONE,
    523: _ORIGIN_GONE,
    524: _ORIGIN_SILENT,
    525: _ORIGIN_GONE,
    526: _ORIGIN_GONE,
    527: _ORIGIN_GONE,
    529: _OVERLOADED,
    530: _ORIGIN_GONE,
}
_CLASSES: Mapping[int, Ruling] = {2: _MALFORMED, 3: _DENIED_HERE, 4: _REQUEST, 5: _SERVER}

CATEGORIES: Mapping[str, int] = {
    name: status
    for status, names in (
        (400, "invalid_request_error invalid_request invalid_argument bad_request bad_request_error validation"),
        (400, "validation_error failed_precondition out_of_range"),
        (401, "unauthenticated unauthorized authentication"),
        (403, "permission_error permission_denied access_denied forbidden request_forbidden"),
        (404, "not_found not_found_error"),
        (408, "timeout request_timeout"),
        (409, "conflict aborted"),
        (429, "rate_limit_exceeded rate_limit_error rate_limit_reached resource_exhausted throttling requests tokens"),
        (429, "too_many_requests"),
        (499, "cancelled"),
        (500, "api_error server_error internal internal_error internal_server internal_server_error data_loss"),
        (502, "bad_gateway"),
        (503, "unavailable service_unavailable_error"),
        (504, "deadline_exceeded gateway_timeout"),
    )
    for name in names.split()
}
"""Words that say no more than a status does, in the place of one."""
_EMPTY_WORDS = frozenset({"error", "failure", "failed", "unknown", "unknown_error", "exception", "none", "null"})
_PLAUSIBLE = frozenset({400, 429, 500})
"""What an error without any status may be."""
_COARSE = frozenset({400, 403, 413, 500, 502})
"""Statuses that servers use for want of a better one: a category with a finer one corrects them."""

# ------------------------------------------------------------------- the order of asking


def decide(told: Told) -> Ruling:
    """The ruling on what was told; total."""
    ruling = _by_word(told) or _by_shape(told) or _by_stem(told) or _by_wording(told) or _by_status(told)
    if told.wrapped and ruling.kind is FailureKind.REQUEST:
        return _SERVER  # a proxy that answers 500 may be wrong about whose fault it is
    return _as_relayed(ruling) if told.relayed else ruling


def _by_word(told: Told) -> Ruling | None:
    return next((WORDS[name] for name in told.words if name in WORDS), None)


def _by_shape(told: Told) -> Ruling | None:
    return next((ruling for shape in SHAPES if (ruling := shape(told))), None)


def _by_stem(told: Told) -> Ruling | None:
    unknown = [name for name in told.words if not is_known_word(name)]
    return next((ruling for name in unknown for stem, ruling in STEMS if stem.search(name)), None)


def _by_wording(told: Told) -> Ruling | None:
    if told.html or (told.has_code and told.status in (400, 404, 422)):
        return None
    text = _QUOTED.sub("\u2026", told.text[:_TEXT_MAX])
    statuses = _PLAUSIBLE if told.status is None else frozenset({told.status})
    fits = (row for row in WORDINGS if row[0] & statuses)
    return next((ruling for _, pattern, ruling in fits if pattern.search(text)), None)


def _by_status(told: Told) -> Ruling:
    if told.status is None:
        return _SERVER
    if told.html and told.status == 403:
        return _DENIED_HERE  # a wall in front of the provider, not the provider
    finer = next((status_of_word(name) for name in told.words if name in CATEGORIES), None)
    corrects = told.status in _COARSE and finer is not None and finer not in _COARSE
    status = finer if corrects and finer is not None else told.status
    return STATUSES.get(status) or _CLASSES.get(status // 100, _MALFORMED)


_RELAYED: Mapping[FailureKind, Ruling] = {
    FailureKind.AUTH: _NO_SUCH_PATH,
    FailureKind.QUOTA: _NO_SUCH_PATH,
    FailureKind.RATE_LIMIT: _RATE_SHARED,
}
"""The quarrels of a provider with its own upstream are not about our key."""


def _as_relayed(ruling: Ruling) -> Ruling:
    return ruling if ruling.scope is Scope.NONE else _RELAYED.get(ruling.kind, ruling)


# ------------------------------------------------------------------- words

_TEXT_MAX = 1_000
_QUOTED = re.compile(r"(?<!\w)(['\"`])[^\n]*?\1(?!\w)")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_NOT_A_WORD = re.compile(r"[^a-z0-9]+")
_PROSE_SPACES = 3
"""xAI puts sentences where others put codes."""


def word(value: Json) -> str:
    """A code in one spelling: `RESOURCE_EXHAUSTED`, `ThrottlingException` and `rateLimited` in snake case."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return ""
    text = str(value)[:100].partition(":")[0].rpartition("#")[2]
    if text.count(" ") >= _PROSE_SPACES:
        return ""
    snake = _NOT_A_WORD.sub("_", _HUMP.sub("_", text).lower()).strip("_")
    return snake.removesuffix("_exception")


def is_known_word(name: str) -> bool:
    """Whether this is a category, a number or nothing at all, rather than a code of its own."""
    return name in CATEGORIES or name in _EMPTY_WORDS or name.isdigit()


def status_of_word(name: str) -> int | None:
    """The status that a category stands for."""
    return CATEGORIES.get(name)
