"""What every client is asked, and how its script tells what came of it.

The scripts run in environments that hold one client and nothing of ours, so this file needs
the standard library alone.  A deed is a function without parameters, plain or async; what it
returns is written to stdout as one line of JSON with its name.
"""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from collections.abc import Callable

__all__ = ["ADA", "AFTER", "BEFORE", "ERRAND", "FILE", "MODEL", "ORDER", "PICTURE", "PLACE", "QUESTION", "TEXTS",
           "look", "perform"]  # fmt: skip

MODEL = "chat"
"""A route of the gateway."""
QUESTION = "Why do bridges sing?"
"""Answered with an essay, by every provider with the same one."""
ERRAND = "Go to the harbour and tell me how it is there."
"""Cannot be answered without the tool `look`."""
PLACE = "harbour"
ADA = "Describe a person whose name is Ada"
"""Answered with JSON, or the call of a tool, as the schema has it: strings are `Ada`, numbers are 1."""
TEXTS = ["north", "south"]
PICTURE = "a bridge at night"

FILE, BEFORE, AFTER = "greeting.txt", "Good morning, bridge.\n", "Good evening, bridge.\n"
ORDER = "In the file {file} change the greeting from morning to evening."
"""What a coding agent is told to do."""


def look(place: str) -> str:
    """How it is at a place."""
    return f"{place}: calm, seven boats."


def perform(*deeds: Callable[[], object]) -> None:
    """Do these one after another; whatever goes wrong ends the program."""
    for deed in deeds:
        said = asyncio.run(deed()) if inspect.iscoroutinefunction(deed) else deed()
        sys.stdout.write(json.dumps({"deed": deed.__name__, "said": said}) + "\n")
        sys.stdout.flush()
