"""What the fake providers say to the clients, and what each deed has to come to.

Both providers answer alike, whoever is asked and however often, so an answer that two of them
gave together has to be word for word what one would have said alone.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence

from clients.deeds import AFTER, BEFORE, ERRAND, FILE, PLACE, QUESTION, TEXTS, look
from unbroken.testing import essay
from unbroken.testing.essay import answer as usual
from unbroken.testing.essay import prompt_of
from unbroken.testing.samples import PIXEL, made_of
from unbroken.types import Chat, Request, Response, Task, ToolCall, ToolResult
from unbroken.work import Texts

__all__ = ["EXPECTED", "answer"]

DONE = essay("it is done")
"""A coding agent's last words."""


def answer(request: Request) -> str | Response:
    """The next step of the play for the tools that are offered; without one, what a fake usually says."""
    chat = request.chat
    offered = {tool.name for tool in chat.tools}
    play = next((PLAYS[name] for name in PLAYS if name in offered), None)
    return usual(request) if play is None else play(chat)


def _visit(chat: Chat) -> str | Response:
    """Look once, and tell what was seen."""
    seen = _results(chat)
    return f"{seen[-1]} {essay(prompt_of(chat))}" if seen else _call("look", {"place": PLACE})


def _edit(chat: Chat) -> str | Response:
    """Claude Code's way to change a file: it wants to have read it."""
    file = _file(chat)
    change = {"file_path": file, "old_string": "morning", "new_string": "evening"}
    return _step(chat, [_call("Read", {"file_path": file}), _call("Edit", change)])


def _patch(chat: Chat) -> str | Response:
    """Codex's way: commands of a shell, one of which is its own."""
    patch = f"*** Begin Patch\n*** Update File: {FILE}\n@@\n-{BEFORE}+{AFTER}*** End Patch\n"
    commands = [f"cat {_file(chat)}", f"apply_patch <<'EOF'\n{patch}EOF\n"]
    return _step(chat, [_call("exec_command", {"cmd": command}) for command in commands])


PLAYS: Mapping[str, Callable[[Chat], str | Response]] = {"look": _visit, "Edit": _edit, "exec_command": _patch}


def _step(chat: Chat, calls: Sequence[Response]) -> str | Response:
    """As many calls as there are, then the last words."""
    number = len(_results(chat))
    return calls[number] if number < len(calls) else DONE


def _call(tool: str, arguments: Mapping[str, str]) -> Response:
    written = json.dumps(arguments)
    return Response(tool_calls=(ToolCall(id=f"call_{tool}", name=tool, arguments=written),))


def _results(chat: Chat) -> list[str]:
    """What tools have answered, in their order; Google's format has an object around it."""
    parts = [part for message in chat.messages for part in message.parts if isinstance(part, ToolResult)]
    said = ["".join(getattr(inner, "text", "") for inner in part.parts) for part in parts]
    return [json.loads(text)["result"] if text.startswith('{"result"') else text for text in said]


def _file(chat: Chat) -> str:
    """The file of the order, which stands somewhere in the conversation."""
    said = " ".join(message.text for message in chat.messages)
    found = re.search(rf"In the file (\S*{FILE}) change", said)
    return found[1] if found else FILE


def _vectors() -> list[list[float]]:
    """What the texts are embedded as, to four digits: clients may ask for vectors of 32 bits."""
    request = Request(model="m", task=Task.EMBEDDING, read=lambda: Texts(texts=tuple(TEXTS)))
    return [[round(x, 4) for x in output.vector] for output in made_of(request, None)[0].outputs]


EXPECTED: Mapping[str, object] = {
    **dict.fromkeys(("chat", "stream", "responses", "responses_stream"), essay(QUESTION)),
    **dict.fromkeys(("tools", "tools_stream", "agent"), f"{look(PLACE)} {essay(ERRAND)}"),
    "structured": {"name": "Ada", "age": 1},
    "structured_stream": {"name": "Ada", "age": 1},
    "embeddings": _vectors(),
    "images": base64.b64encode(PIXEL).decode(),
    "edit": {"file": AFTER, "answer": DONE},
}
"""By deed, what has to come of it."""
