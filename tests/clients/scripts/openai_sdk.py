"""OpenAI's SDK: OPENAI_BASE_URL and OPENAI_API_KEY say where."""

from __future__ import annotations

import json
from typing import Any

from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from clients.deeds import ADA, ERRAND, MODEL, PICTURE, QUESTION, TEXTS, look, perform

client = OpenAI(max_retries=0)
ASKED: Any = [{"role": "user", "content": QUESTION}]
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": PARAMETERS}}]


class Person(BaseModel):
    name: str
    age: int


def chat() -> str | None:
    return client.chat.completions.create(model=MODEL, messages=ASKED).choices[0].message.content


async def stream() -> str:
    async with AsyncOpenAI(max_retries=0) as own:
        chunks = await own.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
        return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])


def tools() -> str | None:
    messages: list[Any] = [{"role": "user", "content": ERRAND}]
    said = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0].message
    messages.append(said)
    for call in said.tool_calls or []:
        assert call.type == "function"
        found = look(**json.loads(call.function.arguments))
        messages.append({"role": "tool", "tool_call_id": call.id, "content": found})
    return client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0].message.content


def structured() -> dict[str, Any]:
    asked: Any = [{"role": "user", "content": ADA}]
    parsed = client.chat.completions.parse(model=MODEL, messages=asked, response_format=Person)
    person = parsed.choices[0].message.parsed
    assert person is not None
    return person.model_dump()


def responses() -> str:
    return client.responses.create(model=MODEL, input=QUESTION).output_text


def responses_stream() -> str:
    with client.responses.stream(model=MODEL, input=QUESTION) as events:
        said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        assert events.get_final_response().output_text == said
    return said


def embeddings() -> list[list[float]]:
    rows = client.embeddings.create(model=MODEL, input=TEXTS).data
    return [[round(x, 4) for x in row.embedding] for row in rows]


def images() -> str | None:
    drawn = client.images.generate(model=MODEL, prompt=PICTURE, response_format="b64_json")
    return (drawn.data or [])[0].b64_json


if __name__ == "__main__":
    perform(chat, stream, tools, structured, responses, responses_stream, embeddings, images)
