"""langchain-openai, with an agent of langchain's: OPENAI_BASE_URL and OPENAI_API_KEY say where."""

# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

from langchain.agents import create_agent
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel

from clients.deeds import ADA, ERRAND, MODEL, QUESTION, TEXTS, look, perform

model = ChatOpenAI(model=MODEL, max_retries=0)


class Person(BaseModel):
    """Somebody."""

    name: str
    age: int


def chat() -> str:
    return str(model.invoke(QUESTION).text)


async def stream() -> str:
    return "".join([str(chunk.text) async for chunk in model.astream(QUESTION)])


def agent() -> str:
    """The agent calls the tool and goes on with what it found; its words are streamed."""
    said = create_agent(model, [tool(look)]).invoke({"messages": [{"role": "user", "content": ERRAND}]})
    return str(said["messages"][-1].text)


def structured() -> object:
    return model.with_structured_output(Person).invoke(ADA).model_dump()


def embeddings() -> list[list[float]]:
    """Texts as they are: counting tokens first would need a file from the network."""
    rows = OpenAIEmbeddings(model=MODEL, check_embedding_ctx_length=False).embed_documents(TEXTS)
    return [[round(x, 4) for x in row] for row in rows]


if __name__ == "__main__":
    perform(chat, stream, agent, structured, embeddings)
