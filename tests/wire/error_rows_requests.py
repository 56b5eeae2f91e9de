"""More rows of `error_rows`: what is wrong with a request, a model, a server or the way to it."""

from __future__ import annotations

from unbroken.failures import FailureKind as Kind
from unbroken.failures import Scope
from wire.error_rows import DAY_S, HOUR_S, PAGE, Row, anthropic, aws, google, openai, openrouter, pollinations, row

__all__ = ["CONTEXT", "DAY_S", "ENDPOINTS", "POLICY", "REQUESTS"]

TOO_LONG: dict[str, tuple[int, str]] = {
    "openai": (400, "This model's maximum context length is 8192 tokens. However, you requested 9000."),
    "responses": (400, "Your input exceeds the context window of this model."),
    "anthropic": (400, "prompt is too long: 210000 tokens > 200000 maximum"),
    "anthropic-sum": (400, "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
    "gemini": (400, "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576)."),
    "gemini-new": (400, "The input token count exceeds the maximum number of tokens allowed 1048576."),
    "gemini-500": (500, "input context is too long"),
    "vertex": (400, "Request payload size exceeds the limit: 1 bytes."),
    "bedrock-1": (400, "Input is too long for requested model."),
    "bedrock-2": (400, "input tokens exceeded"),
    "bedrock-3": (400, "Too many input tokens"),
    "bedrock-4": (400, "Malformed input request: expected maxLength: 2048, actual: 4000"),
    "mantle": (400, "prompt tokens (300000) exceed model maximum (262144)"),
    "mistral": (
        400,
        "Prompt contains 40000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ),
    "groq": (413, "Please reduce the length of the messages or completion."),
    "cohere": (400, "too many tokens: total number of tokens in the prompt cannot exceed 4081"),
    "together": (422, "`inputs` tokens + `max_new_tokens` must be <= 4097. Given: 4000 and 512"),
    "tgi": (422, "Input validation error: length limit exceeded"),
    "sglang": (400, "The input (5000 tokens) is longer than the model's context length (4096 tokens)."),
    "llama.cpp-batch": (500, "input is too large to process. increase the physical batch size"),
    "ollama": (400, "the prompt is longer than the context length currently available to the model"),
    "ollama-embed": (400, "the input length exceeds the context length"),
    "cerebras": (400, "Please reduce: Current length is 9000 while limit is 8192"),
    "perplexity": (400, "The total length of all messages is too long."),
}

CONTEXT: dict[str, Row] = {
    **{name: row(status, openai(text), Kind.CONTEXT_LENGTH) for name, (status, text) in TOO_LONG.items()},
    "openai-code": row(400, openai("x", "context_length_exceeded"), Kind.CONTEXT_LENGTH),
    "look-alike": row(
        400,
        openai("Invalid 'user': string too long. Expected maximum length 64", "string_above_max_length"),
        Kind.REQUEST,
    ),
    "openrouter": row(400, openrouter(400, "x", error_type="context_length_exceeded"), Kind.CONTEXT_LENGTH),
    "vllm": row(
        400,
        {"object": "error", "message": "This model's maximum context length is 10 tokens.", "type": "BadRequestError"},
        Kind.CONTEXT_LENGTH,
    ),
    "llama.cpp": row(
        400,
        {"error": {"code": 400, "message": "x", "type": "exceed_context_size_error", "n_ctx": 512}},
        Kind.CONTEXT_LENGTH,
    ),
    "perplexity-type": row(
        400, {"error": {"message": "x", "type": "too_many_prompt_tokens", "code": 400}}, Kind.CONTEXT_LENGTH
    ),
    "unheard-of-code": row(400, openai("x", "model_context_window_exceeded"), Kind.CONTEXT_LENGTH),
    "bytes": row(413, anthropic("request_too_large", "Request exceeds the maximum size"), Kind.REQUEST),
    "bytes-page": row(413, PAGE, Kind.REQUEST),
}

POLICY: dict[str, Row] = {
    **{
        f"openai-{code}": row(400, openai("x", code), Kind.CONTENT_POLICY)
        for code in (
            "content_policy_violation",
            "moderation_blocked",
            "invalid_prompt",
            "cyber_policy",
            "bio_policy",
            "misalignment_policy_violation",
            "contentFilter",
        )
    },
    "azure": row(
        400,
        openai("filtered", "content_filter", None, status=400, innererror={"code": "ResponsibleAIPolicyViolation"}),
        Kind.CONTENT_POLICY,
    ),
    "azure-inner-only": row(
        400, openai("x", None, None, inner_error={"code": "ResponsibleAIPolicyViolation"}), Kind.CONTENT_POLICY
    ),
    "azure-image": row(
        400, openai("Your task failed as a result of our safety system.", None, None), Kind.CONTENT_POLICY
    ),
    "anthropic": row(
        400, anthropic("invalid_request_error", "Output blocked by content filtering policy"), Kind.CONTENT_POLICY
    ),
    "pollinations": row(422, pollinations(422, "content_policy_violation"), Kind.CONTENT_POLICY),
    "xai": row(
        403,
        {"code": "The caller does not have permission", "error": "Content violates usage guidelines."},
        Kind.CONTENT_POLICY,
    ),
    "openrouter": row(403, openrouter(403, "x", error_type="refusal"), Kind.CONTENT_POLICY),
}

MISSING: dict[str, tuple[int, object]] = {
    "openai": (404, openai("The model `x` does not exist or you do not have access to it.", "model_not_found")),
    "openai-403": (403, openai("Project does not have access to model `x`", "model_not_found")),
    "anthropic": (404, anthropic("not_found_error", "model: claude-0")),
    "gemini": (404, google(404, "NOT_FOUND", "models/x is not found for API version v1beta")),
    "mistral": (400, {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"}),
    "openrouter-400": (400, openrouter(400, "x/y is not a valid model ID")),
    "openrouter-404": (404, {"error": {"code": 404, "message": "Gone", "availability": {"code": "model_deprecated"}}}),
    "ollama": (404, {"error": 'model "x" not found, try pulling it first'}),
    "vllm": (
        404,
        {"object": "error", "message": "The model `x` does not exist.", "type": "NotFoundError", "code": 404},
    ),
    "azure": (404, openai("The API deployment for this resource does not exist.", "DeploymentNotFound", None)),
    "bedrock-400": (400, {"message": "The provided model identifier is invalid."}),
    "hf": (400, {"error": "The requested model is not supported by any provider you have enabled."}),
    "scaleway": (422, {"detail": "model x not found"}),
}

REQUESTS: dict[str, Row] = {
    **{f"model-{name}": row(status, body, Kind.MODEL_MISSING) for name, (status, body) in MISSING.items()},
    "model-bedrock-404": row(404, {"message": "x"}, Kind.MODEL_MISSING, headers=aws("ResourceNotFoundException")),
    "bedrock-on-demand": row(
        400,
        {"message": "Invocation of model ID x with on-demand throughput isn't supported. Retry with a profile."},
        Kind.DENIED,
        headers=aws("ValidationException"),
        scope=Scope.QUOTA,
        cool_s=HOUR_S,
    ),
    "xai-parameter": row(
        400,
        {"code": "Client specified an invalid argument", "error": "Argument not supported on this model: stop"},
        Kind.UNSUPPORTED,
    ),
    "openai-parameter": row(400, openai("Unsupported parameter: 'stop'", "unsupported_parameter"), Kind.UNSUPPORTED),
    "openai-value": row(400, openai("Unsupported value: 'temperature'", "unsupported_value"), Kind.UNSUPPORTED),
    "mistral-422": row(
        422,
        {"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs are not permitted", "type": "extra"}]},
        Kind.UNSUPPORTED,
    ),
    "fireworks-400": row(400, openai("Extra inputs are not permitted"), Kind.UNSUPPORTED),
    "ollama-thinking": row(400, {"error": '"tiny" does not support thinking'}, Kind.UNSUPPORTED),
    "ollama-overflow": row(
        500, {"error": "llama server: exceed_context_size_error: the request exceeds it"}, Kind.CONTEXT_LENGTH
    ),
    "cohere-blocked": row(498, {"id": "1", "message": "blocked input: please remove it"}, Kind.CONTENT_POLICY),
    "405": row(405, {"detail": "Method Not Allowed"}, Kind.REQUEST),
    "conflict": row(409, openai("Conflict", None, "conflict"), Kind.SERVER),
    "reasoning-replay": row(400, openai("x", "invalid_encrypted_content"), Kind.REQUEST),
    "bedrock-history": row(400, {"message": "A conversation must start with a user message."}, Kind.REQUEST),
    "prefill-code": row(400, openai("no", "invalid_prefill"), Kind.REQUEST, code="prefill_unsupported"),
    "prefill-anthropic": row(
        400,
        anthropic("invalid_request_error", "This model does not support assistant message prefill."),
        Kind.REQUEST,
        code="prefill_unsupported",
    ),
    "prefill-text": row(400, openai("prefill not supported"), Kind.REQUEST, code="prefill_unsupported"),
    "prefill-other-text": row(
        400, openai("This model accepts no assistant message at the end."), Kind.REQUEST, code="prefill_unsupported"
    ),
    "prefill-mistral": row(
        400,
        {"object": "error", "message": "Expected last role User or Tool for serving but got assistant", "type": None},
        Kind.REQUEST,
        code="prefill_unsupported",
    ),
    "groq-tool": row(400, openai("Failed", "tool_use_failed", failed_generation="<f>"), Kind.MODEL_FAULT),
    "groq-tool-no-code": row(400, openai("Failed", None, failed_generation=""), Kind.MODEL_FAULT),
    "groq-422": row(422, openai("could not be followed due to semantic errors"), Kind.MODEL_FAULT),
    "openai-image": row(400, openai("x", "invalid_image_url"), Kind.REQUEST),
}

ENDPOINTS: dict[str, Row] = {
    "404-generic": row(404, {"detail": "Not Found"}, Kind.DENIED, scope=Scope.MODEL),
    "404-page": row(404, PAGE, Kind.DENIED, scope=Scope.MODEL),
    "408": row(408, openai("Request timed out.", None, "timeout"), Kind.SERVER),
    "bedrock-408": row(408, {"message": "x"}, Kind.SERVER, headers=aws("ModelTimeoutException")),
    "499": row(499, google(499, "CANCELLED", "The operation was cancelled."), Kind.SERVER),
    "500": row(500, openai("The server had an error", None, "server_error"), Kind.SERVER),
    "500-gemini": row(500, google(500, "INTERNAL", "Internal error"), Kind.SERVER),
    "502-page": row(502, PAGE, Kind.SERVER),
    "503-bare": row(503, "", Kind.OVERLOADED),
    "503-hint": row(
        503, openai("Later", None, "server_error"), Kind.OVERLOADED, headers={"retry-after": "4"}, hint_s=4.0
    ),
    "503-nested": row(
        503,
        {"error": {"message": '{"error": {"code": 503, "message": "Busy", "status": "UNAVAILABLE"}}', "code": 503}},
        Kind.OVERLOADED,
    ),
    "504-page": row(504, PAGE, Kind.SILENT),
    "bedrock-424": row(
        424, {"message": "x", "originalStatusCode": 500}, Kind.SERVER, headers=aws("ModelErrorException")
    ),
    "520": row(520, PAGE, Kind.SERVER, scope=Scope.ENDPOINT, cool_s=10.0, again=False),
    "521": row(521, "error code: 521", Kind.CONNECT, scope=Scope.ENDPOINT, cool_s=10.0),
    "522": row(522, PAGE, Kind.CONNECT, scope=Scope.ENDPOINT, cool_s=10.0),
    "525": row(525, PAGE, Kind.CONNECT, scope=Scope.ENDPOINT, cool_s=10.0),
    "530": row(530, "error code: 1033", Kind.CONNECT, scope=Scope.ENDPOINT, cool_s=10.0),
    "524": row(524, PAGE, Kind.SILENT),
    "redirect": row(301, "", Kind.DENIED, headers={"location": "https://example.org/"}, scope=Scope.ENDPOINT),
    "no-content": row(204, "", Kind.MALFORMED),
    "accepted": row(202, {"id": "job"}, Kind.MALFORMED),
    "portal": row(200, PAGE, Kind.MALFORMED, scope=Scope.ENDPOINT, cool_s=10.0),
    "hf-loading": row(
        503, {"error": "Model x is currently loading", "estimated_time": 20.5}, Kind.LOADING, hint_s=20.5
    ),
    "hf-loading-for-ever": row(503, {"error": "loading", "estimated_time": 1809.2}, Kind.LOADING, hint_s=120.0),
    "ollama-memory": row(
        500,
        {"error": "model requires more system memory (8 GiB)"},
        Kind.SERVER,
        scope=Scope.MODEL,
        cool_s=300.0,
        again=False,
    ),
    "ollama-runner": row(
        500, {"error": "llama runner process has terminated"}, Kind.SERVER, scope=Scope.MODEL, cool_s=300.0, again=False
    ),
    "vllm-dead": row(
        500,
        {"object": "error", "message": "EngineCore encountered an issue.", "type": "InternalServerError", "code": 500},
        Kind.SERVER,
        scope=Scope.ENDPOINT,
        cool_s=30.0,
        again=False,
    ),
    "wrapped-400": row(500, {"error": {"message": "bad", "code": 400}}, Kind.SERVER),
    "portkey": row(500, {"status": "failure", "message": "Something went wrong"}, Kind.SERVER),
    "unknown-4xx": row(418, "teapot", Kind.REQUEST),
    "unknown-5xx": row(599, "", Kind.SERVER),
}
