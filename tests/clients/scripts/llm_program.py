"""The program `llm`: a file in its folder names the model, `llm keys set` the key."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path

from clients.deeds import ERRAND, MODEL, QUESTION, look, perform

PROGRAM = str(Path(sys.executable).with_name("llm"))
FOLDER = Path(os.environ["HOME"]) / "llm"


def llm(*arguments: str) -> str:
    """What the program prints, without the line's end that it adds."""
    done = subprocess.run([PROGRAM, *arguments], stdout=subprocess.PIPE, check=True, timeout=30, text=True)
    return done.stdout.removesuffix("\n")


def configure() -> None:
    """As its documentation says for servers that speak OpenAI's chat format."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    os.environ["LLM_USER_PATH"] = str(FOLDER)
    model = f"- model_id: mine\n  model_name: {MODEL}\n  api_base: {os.environ['GATEWAY_URL']}\n"
    model += "  api_key_name: gateway\n  supports_tools: true\n"
    (FOLDER / "extra-openai-models.yaml").write_text(model, encoding="utf-8")
    llm("keys", "set", "gateway", "--value", os.environ["GATEWAY_KEY"])


def chat() -> str:
    return llm("-m", "mine", "--no-stream", QUESTION)


def stream() -> str:
    return llm("-m", "mine", QUESTION)


def tools() -> str:
    """The program calls the function and goes on with what it found."""
    return llm("-m", "mine", "--functions", inspect.getsource(look), ERRAND)


if __name__ == "__main__":
    configure()
    perform(chat, stream, tools)
