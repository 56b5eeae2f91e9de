"""llama-index with OpenAILike, its model for servers that speak OpenAI's chat format: `api_base` says where."""

# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel

from clients.deeds import ADA, ERRAND, MODEL, QUESTION, look, perform

model = OpenAILike(
    model=MODEL,
    api_base=os.environ["GATEWAY_URL"],
    api_key=os.environ["GATEWAY_KEY"],
    is_chat_model=True,
    is_function_calling_model=True,
    max_retries=0,
)


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def chat() -> str:
    return str(model.chat([ChatMessage(content=QUESTION)]).message.content)


def stream() -> str:
    return "".join(str(step.delta) for step in model.stream_chat([ChatMessage(content=QUESTION)]))


async def agent() -> str:
    """The agent calls the tool and goes on with what it found."""
    return str(await FunctionAgent(llm=model, tools=[look]).run(ERRAND))


def structured() -> object:
    return model.structured_predict(Person, PromptTemplate(ADA)).model_dump()


if __name__ == "__main__":
    perform(chat, stream, agent, structured)
