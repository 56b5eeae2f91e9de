"""What is asked in a comparison: a file of prompts, a folder of them, or a few of our own.

    prompts.txt     a prompt a line
    prompts.jsonl   an object a line: {"prompt": "..."}, or {"messages": [...]} as OpenAI's clients take them
    a folder        each .jsonl as above; any other file is a prompt, however long

Whatever is wrong is told with its file and line before anybody is asked.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbroken.faces.client.wishes import chat_request, picture_request, texts_request
from unbroken.failures import RequestError
from unbroken.types import Request, Task

__all__ = ["BUILT_IN", "Prompt", "PromptError", "built_in", "read_prompts", "request_of"]

FILE_BYTES_MAX = 20_000_000
"""More than anybody asks; a wrong path should not be read to its end."""
FIELDS = ("prompt", "messages")


class PromptError(ValueError):
    """What is wrong with a file of prompts, and where."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to ask: a text, or messages; `place` is where it stands, such as `prompts.txt:3`."""

    place: str
    said: str | Sequence[Mapping[str, Any]]


BUILT_IN: Mapping[Task, tuple[str, ...]] = {
    Task.CHAT: (
        "Explain in five sentences why the sky is blue.",
        "Write a short letter to a neighbour whose parcel you have taken in.",
        "What is the difference between a list and a tuple in Python? Give an example of each.",
        "Summarise the story of Robinson Crusoe in about a hundred words.",
        "A train leaves at 9:40 and arrives at 13:05. How long does it travel? Show the steps.",
        "Translate into French, German and Spanish: The last ferry leaves at half past eight.",
        "Name six things to check before buying a used bicycle, one line each.",
        "Write an SQL query for the three customers who spent most last year, and explain it.",
        "Describe how bread is made, for a child of eight.",
        "Give two arguments for and two against working from home, each in one sentence.",
    ),
    Task.EMBEDDING: (
        "The last ferry leaves at half past eight.",
        "How do I return a parcel that arrived broken?",
        "A list can be changed after it was made, a tuple cannot.",
        "Interest rates were left as they are for the third time in a row.",
        "Knead the dough for ten minutes and let it rest until it has doubled.",
        "Error 504: the upstream server did not answer in time.",
        "The bridge was closed for repairs from March to October.",
        "Which of these plans includes international calls?",
    ),
    Task.IMAGE: (
        "A lighthouse on a rocky coast at dusk, in watercolours.",
        "A bowl of oranges on a wooden table, light from a window on the left.",
        "A map of an island that does not exist, drawn with pen and ink.",
    ),
}
"""Questions of everyday length; other work than yours may have another winner."""


def built_in(task: Task) -> list[Prompt]:
    """Prompts for those who bring none."""
    return [Prompt(f"built-in:{number}", text) for number, text in enumerate(BUILT_IN[task], start=1)]


def request_of(prompt: Prompt, task: Task, *, max_tokens: int | None = None) -> Request:
    """The prompt as a request, a chat as a stream; RequestError where it cannot be one."""
    if task is Task.CHAT:
        options = {} if max_tokens is None else {"max_tokens": max_tokens}
        return chat_request(prompt.said, options, stream=True)
    if not isinstance(prompt.said, str):
        return texts_request([], {})  # which raises
    return texts_request(prompt.said, {}) if task is Task.EMBEDDING else picture_request(prompt.said, {})


def read_prompts(path: Path, task: Task) -> list[Prompt]:
    """All prompts of a file or folder, in order; PromptError where one is no good or there is none."""
    files = sorted(file for file in path.iterdir() if _is_meant(file)) if path.is_dir() else [path]
    found = [prompt for file in files for prompt in _reader(file, whole=path.is_dir())(file)]
    if not found:
        raise PromptError(f"{path}: there is no prompt in it")
    for prompt in found:
        _check(prompt, task)
    return found


def _is_meant(file: Path) -> bool:
    return file.is_file() and not file.name.startswith(".")


def _reader(file: Path, *, whole: bool) -> Callable[[Path], Iterator[Prompt]]:
    if file.suffix in {".jsonl", ".ndjson"}:
        return _objects
    return _whole if whole else _lines


def _lines(file: Path) -> Iterator[Prompt]:
    for number, line in enumerate(_text(file).splitlines(), start=1):
        if line.strip():
            yield Prompt(f"{file}:{number}", line.strip())


def _whole(file: Path) -> Iterator[Prompt]:
    text = _text(file).strip()
    if not text:
        raise PromptError(f"{file}: the file is empty")
    yield Prompt(str(file), text)


def _objects(file: Path) -> Iterator[Prompt]:
    for number, line in enumerate(_text(file).split("\n"), start=1):
        if line.strip():
            yield _object(line, f"{file}:{number}")


def _object(line: str, place: str) -> Prompt:
    try:
        found = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PromptError(f"{place}: not JSON: {error}") from None
    said = [found[name] for name in FIELDS if name in found] if isinstance(found, dict) else []
    if len(said) != 1:
        raise PromptError(f'{place}: expected an object with either "prompt" or "messages"')
    if unknown := set(found) - set(FIELDS):
        raise PromptError(f'{place}: "{min(unknown)}" is not known here; every provider is asked the same way')
    if not isinstance(said[0], list if "messages" in found else str):
        raise PromptError(f'{place}: "prompt" is a text, "messages" a list of messages')
    return Prompt(place, said[0])


def _check(prompt: Prompt, task: Task) -> None:
    if not prompt.said or (isinstance(prompt.said, str) and not prompt.said.strip()):
        raise PromptError(f"{prompt.place}: the prompt is empty")
    if task is not Task.CHAT and not isinstance(prompt.said, str):
        raise PromptError(f'{prompt.place}: "messages" are for chats; give "prompt" for {task} work')
    try:
        request_of(prompt, task)
    except RequestError as error:
        raise PromptError(f"{prompt.place}: {error.failure.message}") from None


def _text(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            data = opened.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise PromptError(f"{file}: cannot be read: {error.strerror or error}") from None
    if len(data) > FILE_BYTES_MAX:
        raise PromptError(f"{file}: larger than {FILE_BYTES_MAX // 1_000_000} MB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise PromptError(f"{file}:{line}: not UTF-8 text") from None
