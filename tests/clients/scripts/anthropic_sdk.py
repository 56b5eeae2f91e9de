"""Anthropic's SDK: ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY say where."""

from __future__ import annotations

from typing import Any

from anthropic import Anthropic, AsyncAnthropic

from clients.deeds import ERRAND, MODEL, QUESTION, look, perform

client = Anthropic(max_retries=0)
ASKED: Any = {"model": MODEL, "max_tokens": 4000, "messages": [{"role": "user", "content": QUESTION}]}
SCHEMA = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}


def words(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def chat() -> str:
    return words(client.messages.create(**ASKED))


async def stream() -> str:
    async with AsyncAnthropic(max_retries=0) as own, own.messages.stream(**ASKED) as events:
        said = "".join([text async for text in events.text_stream])
        assert words(await events.get_final_message()) == said
    return said


def tools() -> str:
    asked: Any = {**ASKED, "tools": [{"name": "look", "input_schema": SCHEMA}]}
    asked["messages"] = [{"role": "user", "content": ERRAND}]
    said = client.messages.create(**asked)
    assert said.stop_reason == "tool_use"
    found = [
        {"type": "tool_result", "tool_use_id": block.id, "content": look(**block.input)}
        for block in said.content
        if block.type == "tool_use"
    ]
    asked["messages"] += [{"role": "assistant", "content": said.content}, {"role": "user", "content": found}]
    return words(client.messages.create(**asked))


if __name__ == "__main__":
    perform(chat, stream, tools)
