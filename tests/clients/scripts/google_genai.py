"""Google's SDK: GOOGLE_GEMINI_BASE_URL and GEMINI_API_KEY say where."""

from __future__ import annotations

from typing import Any

from google import genai
from pydantic import BaseModel

from clients.deeds import ADA, ERRAND, MODEL, QUESTION, TEXTS, look, perform

client = genai.Client()


class Person(BaseModel):
    name: str
    age: int


def chat() -> str | None:
    return client.models.generate_content(model=MODEL, contents=QUESTION).text


async def stream() -> str:
    chunks = await client.aio.models.generate_content_stream(model=MODEL, contents=QUESTION)
    return "".join([chunk.text or "" async for chunk in chunks])


def tools() -> str | None:
    """The SDK calls the function by itself and goes on with what it found."""
    return client.models.generate_content(model=MODEL, contents=ERRAND, config={"tools": [look]}).text


def structured() -> dict[str, Any]:
    config: Any = {"response_mime_type": "application/json", "response_schema": Person}
    person = client.models.generate_content(model=MODEL, contents=ADA, config=config).parsed
    assert isinstance(person, Person)
    return person.model_dump()


def embeddings() -> list[list[float]]:
    contents: Any = TEXTS
    rows = client.models.embed_content(model=MODEL, contents=contents).embeddings or []
    return [[round(x, 4) for x in row.values or []] for row in rows]


if __name__ == "__main__":
    perform(chat, stream, tools, structured, embeddings)
