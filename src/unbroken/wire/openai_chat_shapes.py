"""What is read of the OpenAI chat format, as shapes for its decoder.

They stand apart because their annotations are read at run time, which compiled modules do not keep.
"""

from __future__ import annotations

from typing import Any

import msgspec

__all__ = ["Answer", "Choice", "Head", "Piece"]


class Piece(msgspec.Struct, gc=False):
    """A message, or what an event adds to one."""

    content: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None
    images: Any = None


class Choice(msgspec.Struct, gc=False):
    """One of the answers."""

    index: Any = 0
    delta: Piece | None = None
    message: Piece | None = None
    finish_reason: Any = msgspec.UNSET


class Answer(msgspec.Struct, gc=False):
    """A plain answer, or an event of a stream."""

    id: str | None = ""
    model: str | None = ""
    choices: list[Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    error: Any = None


class Head(msgspec.Struct):
    """What every chunk of a stream repeats."""

    id: str = ""
    created: int = 0
    model: str = ""
