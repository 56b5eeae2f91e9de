"""LiteLLM's words and ours: its provider prefixes, and why some of its settings have no counterpart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = [
    "CALL_TYPES",
    "CHECKS",
    "FAMILIES",
    "LIMITS",
    "LOST",
    "MODES",
    "PARTNERS",
    "PREFIXES",
    "PRICES",
    "ROUTINGS",
    "SECTIONS",
    "SHUFFLE",
    "Prefix",
    "Routing",
]


@dataclass(frozen=True, slots=True)
class Prefix:
    """What stands before the slash of a LiteLLM model: our row, and where LiteLLM looks for key and address.

    `row` is empty where the catalogue has none: then `base_url` is the provider's address.  `base` is the variable
    of an address that has to be given, `path` what LiteLLM adds to an `api_base` before its own path, and `note`
    how we differ.  `own` says that an `api_base` means another server rather than another way to the same models.
    """

    row: str = ""
    key: str = ""
    base: str = ""
    base_url: str = ""
    path: str = ""
    format: str = ""
    note: str = ""
    own: bool = False


_GENERATE = "LiteLLM asks /api/generate for this prefix, this gateway /api/chat"

PREFIXES: Mapping[str, Prefix] = {
    "openai": Prefix("openai", "OPENAI_API_KEY", own=True),
    "text-completion-openai": Prefix("openai", "OPENAI_API_KEY", format="openai_completions", own=True),
    "azure": Prefix("azure-deployments", "AZURE_API_KEY", "AZURE_API_BASE"),
    "azure_text": Prefix("azure-deployments", "AZURE_API_KEY", "AZURE_API_BASE", format="openai_completions"),
    "anthropic": Prefix("anthropic", "ANTHROPIC_API_KEY"),
    "anthropic_text": Prefix("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": Prefix("gemini", "GEMINI_API_KEY"),
    "vertex_ai": Prefix("vertex"),
    "vertex_ai_beta": Prefix("vertex"),
    "bedrock": Prefix("bedrock"),
    "bedrock_converse": Prefix("bedrock"),
    "groq": Prefix("groq", "GROQ_API_KEY"),
    "mistral": Prefix("mistral", "MISTRAL_API_KEY"),
    "together_ai": Prefix("together", "TOGETHER_API_KEY"),
    "openrouter": Prefix("openrouter", "OPENROUTER_API_KEY"),
    "huggingface": Prefix("huggingface", "HF_TOKEN", path="/v1", own=True),
    "cohere": Prefix("cohere", "COHERE_API_KEY"),
    "cohere_chat": Prefix("cohere", "COHERE_API_KEY"),
    "deepseek": Prefix("deepseek", "DEEPSEEK_API_KEY"),
    "xai": Prefix("xai", "XAI_API_KEY"),
    "fireworks_ai": Prefix("fireworks", "FIREWORKS_API_KEY"),
    "perplexity": Prefix("perplexity", "PERPLEXITYAI_API_KEY"),
    "cerebras": Prefix("cerebras", "CEREBRAS_API_KEY"),
    "nvidia_nim": Prefix("nvidia", "NVIDIA_NIM_API_KEY"),
    "github": Prefix(
        "github", "GITHUB_API_KEY",
        note="GitHub wants the publisher in the name now, such as openai/gpt-4o: see that the model has one",
    ),
    "ollama": Prefix("ollama", note=_GENERATE),
    "ollama_chat": Prefix("ollama"),
    "hosted_vllm": Prefix("vllm", "HOSTED_VLLM_API_KEY", "HOSTED_VLLM_API_BASE"),
    "lm_studio": Prefix("lmstudio", "LM_STUDIO_API_KEY", "LM_STUDIO_API_BASE"),
    "llamafile": Prefix("llamacpp"),
    "deepinfra": Prefix(key="DEEPINFRA_API_KEY", base_url="https://api.deepinfra.com/v1/openai"),
    "sambanova": Prefix(key="SAMBANOVA_API_KEY", base_url="https://api.sambanova.ai/v1"),
    "novita": Prefix(key="NOVITA_API_KEY", base_url="https://api.novita.ai/v3/openai"),
    "nebius": Prefix(key="NEBIUS_API_KEY", base_url="https://api.studio.nebius.ai/v1"),
    "hyperbolic": Prefix(key="HYPERBOLIC_API_KEY", base_url="https://api.hyperbolic.xyz/v1"),
    "moonshot": Prefix(key="MOONSHOT_API_KEY", base_url="https://api.moonshot.ai/v1"),
    "volcengine": Prefix(key="VOLCENGINE_API_KEY", base_url="https://ark.cn-beijing.volces.com/api/v3"),
    "friendliai": Prefix(key="FRIENDLI_TOKEN", base_url="https://api.friendli.ai/serverless/v1"),
    "lambda_ai": Prefix(key="LAMBDA_API_KEY", base_url="https://api.lambda.ai/v1"),
    "featherless_ai": Prefix(key="FEATHERLESS_AI_API_KEY", base_url="https://api.featherless.ai/v1"),
    "meta_llama": Prefix(key="LLAMA_API_KEY", base_url="https://api.llama.com/compat/v1"),
}  # fmt: skip
"""Any other prefix is taken for an OpenAI-compatible server if there is an `api_base`."""

FAMILIES: tuple[tuple[str, str], ...] = (
    ("gpt-", "openai"), ("chatgpt-", "openai"), ("o1", "openai"), ("o3", "openai"), ("o4", "openai"),
    ("ft:gpt-", "openai"), ("text-embedding-", "openai"), ("dall-e-", "openai"), ("whisper-", "openai"),
    ("tts-", "openai"), ("omni-moderation", "openai"), ("claude-", "anthropic"), ("gemini-", "vertex_ai"),
    ("command-", "cohere"), ("mistral-", "mistral"), ("deepseek-", "deepseek"), ("grok-", "xai"),
)  # fmt: skip
"""How LiteLLM finds a provider for a model without a prefix: by how its name begins."""

MODES: Mapping[str, str] = {
    "chat": "chat",
    "completion": "chat",
    "responses": "chat",
    "embedding": "embedding",
    "image_generation": "image",
    "image_edit": "image",
    "video_generation": "video",
    "audio_speech": "speech",
    "audio_transcription": "transcription",
}
"""`model_info.mode` and our tasks."""

CALL_TYPES: Mapping[str, str] = {
    "completion": "chat",
    "text_completion": "chat",
    "responses": "chat",
    "embedding": "embedding",
    "transcription": "transcription",
    "image_generation": "image",
    "speech": "speech",
}
"""What a cache keeps, and our tasks; LiteLLM's names may have an `a` before them."""

LIMITS: Mapping[str, str] = {
    "rpm": "requests_per_min",
    "tpm": "tokens_per_min",
    "rpd": "requests_per_day",
    "max_parallel_requests": "concurrent_max",
}
"""What a deployment may take, and our `limits`."""


@dataclass(frozen=True, slots=True)
class Routing:
    """A strategy of LiteLLM's as ours, and in `note` how they differ.

    `prefer` is the quality that stands for it where fallbacks have to stay behind.
    """

    ours: str
    prefer: str = ""
    note: str = ""


SHUFFLE = "simple-shuffle"
_USAGE = Routing("least-busy", note="least-busy: by the requests under way, not by the tokens of this minute")

ROUTINGS: Mapping[str, Routing] = {
    SHUFFLE: Routing("random"),
    "least-busy": Routing("least-busy"),
    "usage-based-routing": _USAGE,
    "usage-based-routing-v2": _USAGE,
    "latency-based-routing": Routing(
        "fastest", "speed", "fastest: by what its answers are likely to take, with a look at the others now and then"
    ),
    "cost-based-routing": Routing("cheapest", "cost", "cheapest: without a known price a target is last"),
}

CHECKS: Mapping[str, str] = {
    "enforce_model_rate_limits": "always so: room is kept account of before a target is asked",
    "router_budget_limiting": "always so, where there are budgets",
}
"""What LiteLLM checks before a call if it is told to, and what is done here anyway."""

PRICES: Mapping[str, tuple[str, float]] = {
    "input_cost_per_token": ("input_usd", 1e6),
    "output_cost_per_token": ("output_usd", 1e6),
    "cache_read_input_token_cost": ("cached_usd", 1e6),
    "cache_creation_input_token_cost": ("cache_write_usd", 1e6),
    "output_cost_per_reasoning_token": ("reasoning_usd", 1e6),
    "input_cost_per_second": ("second_usd", 1.0),
    "output_cost_per_image": ("image_usd", 1.0),
    "input_cost_per_image": ("image_usd", 1.0),
}
"""LiteLLM's prices (of one) and ours, with what one of theirs is multiplied by."""

PARTNERS = ("claude", "llama", "mistral", "codestral", "jamba", "deepseek", "qwen", "gpt-oss", "openai/", "meta/")
"""Models at Vertex AI that speak otherwise than Google's own."""

SECTIONS = frozenset({"model_list", "include", "router_settings", "litellm_settings", "general_settings"})
"""By any of these a file is known to be LiteLLM's."""

_LIMITS = "limits here are requests and tokens a minute, requests a day and requests at once, of a target or a provider"
_CACHE = "answers are kept in the memory of this process, each route's by themselves: there is nothing else to set"
_CALLERS = "a caller is a key of `server.keys` here: write `budgets` with this `key`"
_LOG = "there are no callbacks here; what happens is in the log"
_REDIS = "nothing is shared between processes yet, so no Redis is needed"
_KEYS = "there is no database of keys, teams and users"
_KINDS = "what is tried again, and where, follows from the kind of failure and is not set by number"
_BUDGETS = "budgets here are dollars a day, of all requests, a route or a caller's key"
_TAGS = "targets are not chosen by tags: make a route for each, which callers ask for by its name"
_PARAMETERS = "parameters are the caller's here: none are added to a request"

LOST: Mapping[str, str] = {
    "guardrails": "requests and answers are not inspected here",
    "policies": "requests and answers are not inspected here",
    "policy_attachments": "requests and answers are not inspected here",
    "prompts": "prompts are the caller's here",
    "callback_settings": "there are no callbacks here; what happens is in the log",
    "mcp_servers": "this gateway serves no tools",
    "mcp_tools": "this gateway serves no tools",
    "search_tools": "this gateway serves no tools",
    "sandbox_tools": "this gateway serves no tools",
    "vector_store_registry": "this gateway keeps no vector stores",
    "agent_list": "this gateway runs no agents",
    "agents": "this gateway runs no agents",
    "assistant_settings": "this gateway has no assistants' API",
    "finetune_settings": "this gateway does no fine-tuning",
    "files_settings": "this gateway keeps no files",
    "pass_through_endpoints": "there are no pass-through paths here",
    "default_vertex_config": "there are no pass-through paths here",
    "default_vertex_settings": "there are no pass-through paths here",
    "worker_registry": "one process serves everything here",
    "classifier_plugin": "there are no plug-ins here",
    "plugins": "there are no plug-ins here",
    "rpm": _LIMITS, "tpm": _LIMITS, "rpd": _LIMITS, "tpd": _LIMITS, "itpm": _LIMITS, "otpm": _LIMITS,
    "max_parallel_requests": _LIMITS, "global_max_parallel_requests": _LIMITS,
    "default_max_parallel_requests": _LIMITS,
    "cache_params": _CACHE, "cache_kwargs": _CACHE,
    "caching_groups": _CACHE, "cache_control_injection_points": _PARAMETERS,
    "callbacks": _LOG, "success_callback": _LOG, "failure_callback": _LOG, "service_callbacks": _LOG,
    "set_verbose": _LOG, "json_logs": _LOG, "debug_level": _LOG, "alerting": _LOG,
    "alerting_threshold": _LOG, "alerting_args": _LOG, "alert_types": _LOG, "alert_to_webhook_url": _LOG,
    "turn_off_message_logging": "no message is ever logged here", "telemetry": "nothing is reported to anybody here",
    "redact_user_api_key_info": "no key is ever logged here",
    "redis_url": _REDIS, "redis_host": _REDIS, "redis_port": _REDIS, "redis_password": _REDIS, "redis_db": _REDIS,
    "redis_username": _REDIS, "redis_ssl": _REDIS, "redis_startup_nodes": _REDIS,
    "database_url": _KEYS, "database_connection_pool_limit": _KEYS, "database_connection_timeout": _KEYS,
    "store_model_in_db": _KEYS, "custom_auth": _KEYS, "enable_jwt_auth": _KEYS, "litellm_jwtauth": _KEYS,
    "allow_requests_on_db_unavailable": _KEYS, "disable_spend_logs": _KEYS, "salt_key": _KEYS,
    "proxy_batch_write_at": _KEYS, "default_team_settings": _KEYS, "default_internal_user_params": _KEYS,
    "ui_access_mode": _KEYS, "key_management_system": "write a reference as the key, such as vault:, aws-sm: or file:",
    "key_management_settings": "write a reference as the key, such as vault:, aws-sm: or file:",
    "retry_policy": _KINDS, "model_group_retry_policy": _KINDS, "allowed_fails_policy": _KINDS,
    "max_budget": _BUDGETS, "budget_duration": _BUDGETS, "provider_budget_config": _BUDGETS,
    "tag_budget_config": _BUDGETS, "soft_budget": "nobody is warned before a budget is used up",
    "max_internal_user_budget": _CALLERS, "internal_user_budget_duration": _CALLERS,
    "max_end_user_budget": _CALLERS, "max_user_budget": _CALLERS, "default_max_internal_user_budget": _CALLERS,
    "tags": _TAGS, "tag_regex": _TAGS, "enable_tag_filtering": _TAGS, "tag_filtering_match_any": _TAGS,
    "routing_strategy_args": "what is measured fades by itself, and drops what a change has made untrue",
    "temperature": _PARAMETERS, "max_tokens": _PARAMETERS, "top_p": _PARAMETERS, "extra_body": _PARAMETERS,
    "default_litellm_params": _PARAMETERS, "seed": _PARAMETERS, "reasoning_effort": _PARAMETERS,
    "thinking": _PARAMETERS, "mock_response": "use the fake providers of unbroken.testing",
    "disable_cooldowns": "breakers cannot be turned off: a target that fails rests",
    "enable_health_check_routing": "health is learned from the traffic itself",
    "health_check_model": "health is learned from the traffic itself",
    "modify_params": "requests are not repaired in silence: a target that cannot take one is passed over",
    "max_output_tokens": "taken from the catalogue",
    "supports_reasoning": "taken from the catalogue", "supports_prompt_caching": "taken from the catalogue",
    "version": "only a remark", "description": "only a remark",
    "ssl_verify": "certificates are always checked, with the system's store",
    "force_ipv4": "addresses are tried as the system gives them",
    "polling_interval": "who waits is told when there is room", "scheduler_redis_url": _REDIS,
    "default_priority": "who waits is served fairly, by callers: nobody goes before others",
    "deployment_affinity": "no caller is bound to a target",
    "client_ttl": "connections are kept by the transport itself",
    "region_name": "give the targets of a route `regions`",
    "allowed_model_region": "say with the `regions` of a route where it may be answered",
    "access_groups": _KEYS, "team_id": _KEYS, "model_access_groups": _KEYS,
}  # fmt: skip
"""Why a setting has no counterpart, by its name, wherever it stands."""
