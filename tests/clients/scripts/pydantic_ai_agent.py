"""pydantic-ai with its models for OpenAI (chat and Responses) and Anthropic: the usual variables say where."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel

from clients.deeds import ADA, ERRAND, MODEL, QUESTION, look, perform


class Person(BaseModel):
    name: str
    age: int


def chat() -> str:
    return str(Agent(OpenAIChatModel(MODEL)).run_sync(QUESTION).output)


async def stream() -> str:
    async with Agent(AnthropicModel(MODEL)).run_stream(QUESTION) as said:
        return "".join([text async for text in said.stream_text(delta=True)])


def agent() -> str:
    """The agent calls the tool and goes on with what it found."""
    return str(Agent(OpenAIChatModel(MODEL), tools=[look]).run_sync(ERRAND).output)


def structured() -> object:
    return Agent(OpenAIChatModel(MODEL), output_type=Person).run_sync(ADA).output.model_dump()


def responses() -> str:
    return str(Agent(OpenAIResponsesModel(MODEL)).run_sync(QUESTION).output)


if __name__ == "__main__":
    perform(chat, stream, agent, structured, responses)
