"""huggingface_hub's InferenceClient: a base URL and a key in its constructor say where."""

from __future__ import annotations

import json
import os
from typing import Any

from huggingface_hub import AsyncInferenceClient, InferenceClient

from clients.deeds import ERRAND, MODEL, QUESTION, look, perform

WHERE: Any = {"base_url": os.environ["GATEWAY_URL"], "api_key": os.environ["GATEWAY_KEY"]}
client = InferenceClient(**WHERE)
ASKED: Any = [{"role": "user", "content": QUESTION}]
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}]


def chat() -> str | None:
    return client.chat_completion(ASKED, model=MODEL).choices[0].message.content


async def stream() -> str:
    own = AsyncInferenceClient(**WHERE)
    chunks = await own.chat_completion(ASKED, model=MODEL, stream=True)
    return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def tools() -> str | None:
    messages: list[Any] = [{"role": "user", "content": ERRAND}]
    said = client.chat_completion(messages, model=MODEL, tools=TOOLS).choices[0].message
    calls = said.tool_calls or []
    messages.append({"role": "assistant", "tool_calls": calls})
    for call in calls:
        arguments: Any = call.function.arguments
        found = look(**(json.loads(arguments) if isinstance(arguments, str) else arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": found})
    return client.chat_completion(messages, model=MODEL, tools=TOOLS).choices[0].message.content


if __name__ == "__main__":
    perform(chat, stream, tools)
