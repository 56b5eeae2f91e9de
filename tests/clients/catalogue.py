"""The clients: how each is installed, where it is told that the gateway is, and what it does there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["CLIENTS", "Client"]

OPENAI = {"OPENAI_BASE_URL": "{url}/v1", "OPENAI_API_KEY": "{key}"}
ANTHROPIC = {"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_API_KEY": "{key}"}
OWN = {"GATEWAY_URL": "{url}/v1", "GATEWAY_KEY": "{key}"}
"""For clients that are told in their constructor: our scripts read these."""
CHAT = ("chat", "stream", "tools")


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client.

    `package` is whose version counts, in `home`: a list of pins (`pip/NAME.txt`) or a folder
    with a package file (`npm/NAME`); empty is the environment of the tests.  `speaks` is what
    the provider that breaks speaks.  In `settings`, its environment, {url} and {key} stand for
    the gateway's.  `may_drop` is what the provider that goes on
    may be told without (configuration: the key of that name).
    """

    name: str
    package: str
    script: str
    deeds: tuple[str, ...]
    settings: Mapping[str, str]
    home: str = ""
    speaks: str = "openai_chat"
    may_drop: tuple[str, ...] = ()
    limit_s: float = 50.0


CLIENTS = (
    Client(
        name="openai", package="openai", script="openai_sdk.py", settings=OPENAI,
        deeds=(*CHAT, "structured", "responses", "responses_stream", "embeddings", "images"),
    ),
    Client(
        name="anthropic", package="anthropic", script="anthropic_sdk.py", settings=ANTHROPIC, speaks="anthropic",
        deeds=CHAT,
    ),
    Client(
        name="google-genai", package="google-genai", script="google_genai.py", speaks="gemini",
        settings={"GOOGLE_GEMINI_BASE_URL": "{url}", "GEMINI_API_KEY": "{key}"},
        deeds=(*CHAT, "structured", "embeddings"),
    ),
    Client(
        name="huggingface_hub", package="huggingface_hub", script="huggingface.py", settings=OWN, deeds=CHAT,
    ),
    Client(
        name="langchain-openai", package="langchain-openai", script="langchain_openai_agent.py", settings=OPENAI,
        home="pip/langchain.txt", deeds=("chat", "stream", "agent", "structured", "embeddings"),
    ),
    Client(
        name="langchain-anthropic", package="langchain-anthropic", script="langchain_anthropic_agent.py",
        settings=ANTHROPIC, speaks="anthropic", home="pip/langchain.txt", deeds=("chat", "stream", "agent"),
    ),
    Client(
        name="pydantic-ai", package="pydantic-ai-slim", script="pydantic_ai_agent.py", settings=OPENAI | ANTHROPIC,
        home="pip/pydantic-ai.txt", deeds=("chat", "stream", "agent", "structured", "responses"),
    ),
    Client(
        name="llama-index", package="llama-index", script="llama_index_agent.py", settings=OWN,
        home="pip/llama-index.txt", deeds=("chat", "stream", "agent", "structured"),
    ),
    Client(
        name="instructor", package="instructor", script="instructor_models.py", settings=OPENAI | ANTHROPIC,
        home="pip/instructor.txt", deeds=("structured", "structured_stream"),
    ),
    Client(
        name="llm", package="llm", script="llm_program.py", settings=OWN, home="pip/llm.txt",
        deeds=("chat", "stream", "tools"),
    ),
    Client(
        name="ai (Vercel)", package="ai", script="vercel_ai.mjs", settings=OPENAI | ANTHROPIC, home="npm/vercel-ai",
        deeds=(*CHAT, "tools_stream", "structured", "responses", "embeddings"),
    ),
    Client(
        name="claude-code", package="@anthropic-ai/claude-code", script="claude_code.py", speaks="anthropic",
        settings={"ANTHROPIC_BASE_URL": "{url}", "ANTHROPIC_AUTH_TOKEN": "{key}"},
        home="npm/claude-code", deeds=("edit",),
    ),
    Client(
        name="codex", package="@openai/codex", script="codex.py", speaks="openai_responses", settings=OWN,
        home="npm/codex", deeds=("edit",), may_drop=("tools",),
    ),
)  # fmt: skip
