"""langchain-anthropic, with an agent of langchain's: ANTHROPIC_BASE_URL and ANTHROPIC_API_KEY say where."""

# mypy: disable-error-code="import-not-found, untyped-decorator"

from __future__ import annotations

from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_core.tools import tool

from clients.deeds import ERRAND, MODEL, QUESTION, look, perform

model = ChatAnthropic(model=MODEL, max_tokens=4000, max_retries=0)


def chat() -> str:
    return str(model.invoke(QUESTION).text)


async def stream() -> str:
    return "".join([str(chunk.text) async for chunk in model.astream(QUESTION)])


def agent() -> str:
    """The agent calls the tool and goes on with what it found."""
    said = create_agent(model, [tool(look)]).invoke({"messages": [{"role": "user", "content": ERRAND}]})
    return str(said["messages"][-1].text)


if __name__ == "__main__":
    perform(chat, stream, agent)
