"""What a fake provider says: the same words for the same prompt, whoever is asked.

That two providers answer alike makes a broken answer checkable: a rescue is right when the
caller ends up with exactly the words that either of them would have said alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random

import msgspec

from unbroken.types import Chat, Json, Message, Request, Response, Tool, ToolCall

__all__ = ["Answer", "answer", "begun", "essay", "example", "prompt_of", "tokens"]

Answer = Callable[[Request], str | Response]
"""An answer source: the words, or a whole response where tools are called."""

_OPENINGS = (
    "A good answer to that begins with a picture.",
    "There is a short answer and a long one; this is the middle one.",
    "Let us take that from the beginning.",
    "It helps to look at something ordinary first.",
)
_SUBJECTS = (
    "a bridge", "a lighthouse", "the night train", "a kitchen clock", "the harbour", "a long letter",
    "an old map", "the river", "a well kept garden", "the last ferry", "a choir", "the post office",
)  # fmt: skip
_ACTIONS = (
    "keeps its promise only", "is noticed mostly", "does its work quietly", "shows what it is made of",
    "needs a second pair of hands", "seems slow at first but arrives", "changes its course", "earns its keep",
)  # fmt: skip
_CIRCUMSTANCES = (
    "when the weather turns.", "because somebody planned for the day when a part would fail.",
    "while everyone is looking elsewhere.", "once the first plan has been set aside.",
    "as long as one lamp stays lit.", "after the second attempt, not the first.",
    "even though nobody wrote it down.", "where two roads lead to the same door.",
)  # fmt: skip
_ENDINGS = (
    "That is the whole of it: what matters has another way to arrive.",
    "So the answer is simple, and it was worth the walk.",
    "Remember that, and the rest follows by itself.",
)


def essay(prompt: str, *, sentences: int = 6) -> str:
    """A little essay that depends on nothing but the prompt: some 80 words for 6 sentences."""
    draw = Random(prompt)  # a text seed is hashed in full, the same in every process
    body = []
    for subject in draw.sample(_SUBJECTS, min(sentences, len(_SUBJECTS))):
        sentence = f"{subject} {draw.choice(_ACTIONS)} {draw.choice(_CIRCUMSTANCES)}"
        body.append(sentence[0].upper() + sentence[1:])
    return " ".join([draw.choice(_OPENINGS), *body, draw.choice(_ENDINGS)])


def example(schema: Json, prompt: str) -> Json:
    """A small value that obeys a JSON schema, with the prompt's last word where it wants text."""
    if not isinstance(schema, dict):
        return {}
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "object")
    if kind == "object":
        return {name: example(inner, prompt) for name, inner in schema.get("properties", {}).items()}
    if kind == "array":
        return [example(schema.get("items", {}), prompt)]
    last_word = (re.findall(r"\w+", prompt) or ["nothing"])[-1]
    return {"string": last_word, "integer": 1, "number": 1.5, "boolean": True}.get(kind)


def answer(request: Request) -> str | Response:
    """The default source: a call where tools were asked for, JSON where a schema was, else an essay."""
    chat = request.chat
    prompt = prompt_of(chat)
    tool = _tool_wanted(chat, prompt)
    if tool is not None:
        arguments = msgspec.json.encode(example(tool.parameters, prompt)).decode()
        return Response(tool_calls=(ToolCall(id=f"call_{Random(prompt).getrandbits(48):012x}",
                                             name=tool.name, arguments=arguments),))  # fmt: skip
    if chat.schema is not None:
        return msgspec.json.encode(example(chat.schema, prompt)).decode()
    return essay(prompt)


def _tool_wanted(chat: Chat, prompt: str) -> Tool | None:
    """The tool to call: the one that is demanded, or that the prompt names."""
    if not chat.tools or chat.tool_choice == "none" or chat.messages[-1].role == "tool":
        return None
    choice = chat.tool_choice
    name = None if choice is None or isinstance(choice, str) else choice.get("name")
    named = [tool for tool in chat.tools if tool.name == name or tool.name in prompt]
    if named:
        return named[0]
    return chat.tools[0] if choice == "required" else None


def prompt_of(chat: Chat) -> str:
    """The words of the last user turn that is not a wish to go on."""
    asked, _ = begun(chat.messages)
    return next((message.text for message in reversed(asked) if message.role == "user"), "")


def begun(messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
    """The conversation proper, and the answer that was already begun in it.

    Either the last turn is the assistant's own, or the turn after it asks to go on.
    """
    if messages and messages[-1].role == "assistant":
        return messages[:-1], messages[-1].text
    if len(messages) > 1 and messages[-2].role == "assistant" and _asks_to_go_on(messages[-1]):
        return messages[:-2], messages[-2].text
    return messages, ""


def _asks_to_go_on(message: Message) -> bool:
    """Whether a user turn only wants the rest of the answer before it."""
    words = message.text.casefold()
    return message.role == "user" and ("continue" in words or "go on" in words or "carry on" in words)


def tokens(text: str) -> list[str]:
    """The text in the steps in which it is sent: a word with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)
