"""instructor over OpenAI's and Anthropic's SDKs: the usual variables say where."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import instructor
from pydantic import BaseModel

from clients.deeds import ADA, MODEL, perform

ASKED = {"messages": [{"role": "user", "content": ADA}], "max_retries": 0}


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def structured() -> object:
    client = instructor.from_provider(f"anthropic/{MODEL}")
    return client.create(response_model=Person, max_tokens=4000, **ASKED).model_dump()


def structured_stream() -> object:
    """The object as it grows; the last is the whole."""
    client = instructor.from_provider(f"openai/{MODEL}")
    *_, last = client.create_partial(response_model=Person, **ASKED)
    return last.model_dump()


if __name__ == "__main__":
    perform(structured, structured_stream)
