"""What OpenTelemetry's conventions for generative AI call things: operations, providers, attributes, histograms.

What has no name there has one that begins with `unbroken.`.  Prompts and answers are in no
attribute.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from urllib.parse import urlsplit

from unbroken.facts import AttemptAbandoned, AttemptAnswered, AttemptFailed, AttemptStarted
from unbroken.sinks.cost import cost_usd
from unbroken.sinks.otlp import CLIENT, SERVER, Scalar, attribute, attributes, title
from unbroken.types import Target, Task, Usage, Why

__all__ = [
    "DURATION",
    "FIRST_TOKEN",
    "TOKENS",
    "End",
    "attempt_said",
    "operation",
    "provider",
    "request_said",
    "server",
]

End = AttemptAnswered | AttemptFailed | AttemptAbandoned

OPERATIONS: Mapping[Task, str] = {Task.CHAT: "chat", Task.EMBEDDING: "embeddings"}
"""By the kind of work; what is made of anything but words is `generate_content`."""
_OUTPUTS: Mapping[Task, str] = {Task.IMAGE: "image", Task.SPEECH: "speech", Task.TRANSCRIPTION: "text"}
_PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "azure-deployments": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "vertex": "gcp.vertex_ai",
    "xai": "x_ai",
}
"""The conventions' names for providers of the catalogue; the other ones are called there as here."""
_OF_FORMAT: Mapping[str, str] = {"anthropic": "anthropic", "bedrock": "aws.bedrock", "gemini": "gcp.gemini"}
"""Formats that tell whose models they are, whatever an operator calls the provider."""
_OWN = frozenset(("openai", "cohere", "deepseek", "groq", "perplexity", "anthropic"))

DURATION = ("gen_ai.client.operation.duration", "s", "How long attempts took.")
FIRST_TOKEN = ("gen_ai.server.time_to_first_token", "s", "How long streams took to their first content.")
TOKENS = ("gen_ai.client.token.usage", "{token}", "Tokens that were read and written.")


def operation(task: Task) -> str:
    """What is done."""
    return OPERATIONS.get(task, "generate_content")


def provider(target: Target) -> str:
    """By whom."""
    name = target.provider
    return _PROVIDERS.get(name) or (name if name in _OWN else _OF_FORMAT.get(target.format, name))


@lru_cache(maxsize=4096)
def server(base_url: str) -> tuple[str, int | None]:
    """Where: host and port."""
    try:
        parts = urlsplit(base_url)
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return "", None
    return parts.hostname or "", port


_KNOWN_MAX = 2048
_known: dict[tuple[str, str, Task, Why, bool, int, str, str], bytes] = {}
"""What attempts that differ in times and counts alone say, as bytes; forgotten when there is too much of it."""


@lru_cache(maxsize=4096)
def request_said(
    done: str, route: str, *, by: str, attempts: int, how: tuple[bool, bool, str], error: str
) -> bytes:  # fmt: skip
    """Title and attributes of a request's span, but for its id; `how` is failover, rescue, and the cache."""
    failover, rescued, cache = how
    return title(f"{done} {route}", SERVER) + attributes(
        {
            "gen_ai.operation.name": done,
            "gen_ai.request.model": route,
            "unbroken.route": route,
            "unbroken.target": by,
            "unbroken.attempts": attempts,
            "unbroken.failover": failover,
            "unbroken.rescued": rescued,
            "unbroken.cache": cache,
            "error.type": error,
        }
    )


def attempt_said(began: AttemptStarted, end: End) -> bytes:
    """Title and attributes of an attempt's span."""
    how = (end.finish, end.said_model) if isinstance(end, AttemptAnswered) else ("", "")
    key = (began.target.name, began.target.base_url, began.task, began.why, began.stream, end.number, *how)
    same = _known.get(key)
    if same is None:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        same = _known[key] = _same(began, end.number, finish=how[0], said_model=how[1])
    if isinstance(end, AttemptAnswered):
        said = attribute("gen_ai.response.time_to_first_chunk", round(end.first_content_s, 4)) if end.stream else b""
    elif isinstance(end, AttemptFailed):
        said = attribute("error.type", end.failure.kind.value) + attribute("unbroken.attempt.shown", end.shown)
        if end.failure.status:
            said += attribute("http.response.status_code", end.failure.status)
    else:
        said = attribute("unbroken.attempt.abandoned", True) + attribute("unbroken.attempt.outrun", end.outrun)  # noqa: FBT003 - an attribute's value
    return same + said if end.usage is None else same + said + _usage(end.usage, end.target)


def _same(began: AttemptStarted, number: int, *, finish: str, said_model: str) -> bytes:
    """What attempts at a target say that differ in times and in counts alone."""
    said = {
        **_beginning(began),
        "unbroken.attempt.number": number,
        "gen_ai.response.finish_reasons": (finish,) if finish else None,
        "gen_ai.response.model": said_model,
    }
    return title(f"{operation(began.task)} {began.target.model}", CLIENT) + attributes(said)


def _beginning(began: AttemptStarted) -> dict[str, Scalar | None]:
    target = began.target
    host, port = server(target.base_url)
    return {
        "gen_ai.operation.name": operation(began.task),
        "gen_ai.provider.name": provider(target),
        "gen_ai.request.model": target.model,
        "gen_ai.request.stream": began.stream or None,
        "gen_ai.output.type": _OUTPUTS.get(began.task),
        "server.address": host,
        "server.port": port,
        "unbroken.target": target.name,
        "unbroken.attempt.why": began.why.value,
    }


def _usage(usage: Usage, target: Target) -> bytes:
    said = attribute("gen_ai.usage.input_tokens", usage.input_tokens)
    said += attribute("gen_ai.usage.output_tokens", usage.output_tokens)
    if usage.cached_tokens:
        said += attribute("gen_ai.usage.cache_read.input_tokens", usage.cached_tokens)
    if usage.cache_write_tokens:
        said += attribute("gen_ai.usage.cache_creation.input_tokens", usage.cache_write_tokens)
    if usage.reasoning_tokens:
        said += attribute("gen_ai.usage.reasoning.output_tokens", usage.reasoning_tokens)
    usd = cost_usd(usage, target)
    return said if usd is None else said + attribute("unbroken.cost_usd", usd)
