"""Portkey's words and ours: its names of providers, and why some of its settings have no counterpart."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["HINTS", "KEYS", "LOST", "OPTIONS", "PROVIDERS"]

PROVIDERS: Mapping[str, str] = {
    "openai": "openai", "anthropic": "anthropic", "google": "gemini", "gemini": "gemini", "vertex-ai": "vertex",
    "azure-openai": "azure-deployments", "bedrock": "bedrock", "mistral-ai": "mistral", "groq": "groq",
    "cohere": "cohere", "together-ai": "together", "fireworks-ai": "fireworks", "perplexity-ai": "perplexity",
    "deepseek": "deepseek", "x-ai": "xai", "openrouter": "openrouter", "huggingface": "huggingface",
    "cerebras": "cerebras", "nvidia": "nvidia", "ollama": "ollama", "github": "github",
}  # fmt: skip
"""Portkey's slugs of providers, and our rows."""

HINTS: tuple[tuple[str, str], ...] = (
    ("azure", "azure-openai"), ("open-ai", "openai"), ("openrouter", "openrouter"), ("openai", "openai"),
    ("oai", "openai"), ("anthropic", "anthropic"), ("claude", "anthropic"), ("bedrock", "bedrock"), ("aws", "bedrock"),
    ("vertex", "vertex-ai"), ("gemini", "google"), ("google", "google"), ("mistral", "mistral-ai"), ("groq", "groq"),
    ("cohere", "cohere"), ("together", "together-ai"), ("fireworks", "fireworks-ai"), ("perplexity", "perplexity-ai"),
    ("deepseek", "deepseek"), ("x-ai", "x-ai"), ("grok", "x-ai"), ("xai", "x-ai"), ("huggingface", "huggingface"),
    ("cerebras", "cerebras"), ("nvidia", "nvidia"), ("ollama", "ollama"), ("github", "github"),
)  # fmt: skip
"""Words in the name of a stored key that tell whose it is, the more certain ones first."""

OPTIONS: Mapping[str, str] = {
    "resource_name": "resource", "azure_resource_name": "resource", "api_version": "api_version",
    "azure_api_version": "api_version", "vertex_project_id": "project", "vertex_region": "location",
    "aws_region": "region",
}  # fmt: skip
"""Portkey's words for what our rows call options."""

KEYS = frozenset({
    "strategy", "targets", "provider", "virtual_key", "api_key", "retry", "cache", "override_params", "mode", "options",
    "request_timeout", "custom_host",
})  # fmt: skip
"""By any of these a file is known to be Portkey's."""

_GUARDS = "requests and answers are not inspected here"
_KINDS = "what is tried again, and where, follows from the kind of failure and is not set by number"
_AWS = "AWS' usual chain is asked: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write `key: aws:PROFILE`"

LOST: Mapping[str, str] = {
    "cache": "a cache is set for a whole route: give the route a `policy` with `cache`",
    "on_status_codes": _KINDS, "failure_status_codes": _KINDS,
    "forward_headers": "headers of callers are not passed on to providers",
    "input_guardrails": _GUARDS, "output_guardrails": _GUARDS, "before_request_hooks": _GUARDS,
    "after_request_hooks": _GUARDS, "guardrails": _GUARDS,
    "default_input_guardrails": _GUARDS, "default_output_guardrails": _GUARDS,
    "metadata": "callers' metadata is not looked at", "sticky_session": "no caller is bound to a target",
    "conditions": "targets are chosen by the name of the model alone",
    "budget": "write `budgets`: dollars a day, of all requests, a route or a caller's key",
    "rate_limits": "write `limits` for the provider or the target",
    "cb_config": "breakers are set for a whole route", "params": "parameters are the caller's here",
    "strict_open_ai_compliance": "a caller is answered in the format of its own door",
    "aws_access_key_id": _AWS, "aws_secret_access_key": _AWS, "aws_session_token": _AWS,
    "aws_role_arn": "make a profile with this `role_arn`, and write `key: aws:PROFILE`",
    "aws_auth_type": _AWS, "aws_external_id": _AWS,
    "vertex_service_account_json": "write it into a file, and `key: google:PATH`",
    "trace_id": "each request has an id of its own",
    "prompt_id": "prompts are the caller's here",
}  # fmt: skip
"""Why a setting has no counterpart, by its name, wherever it stands."""
