"""What pyproject.toml cannot say: the modules that every request and event runs through can be compiled.

    UNBROKEN_COMPILE=1 pip install .

makes C of them, by mypyc, which takes a C compiler and some two minutes.  Without it they are
installed as they are.  It is the same source and does the same; docs/performance.md says what it
saves.
"""

import os
import sys

from setuptools import setup

HOT = (
    "bus", "counting", "drives", "engine", "leg", "transport",
    "core/board", "core/breaker", "core/budget", "core/experience", "core/flight", "core/lineup", "core/measures",
    "core/run", "core/scopes", "core/sound", "core/splice", "core/strategies",
    "faces/server", "faces/visitor",
    "ledger/accounts", "ledger/recorder", "ledger/rows",
    "sinks/cost", "sinks/genai", "sinks/metrics", "sinks/otlp", "sinks/trace_context", "sinks/traces",
    "wire/asked", "wire/event_answers", "wire/framing", "wire/http", "wire/openai_chat", "wire/openai_chat_answer",
    "wire/openai_chat_writer", "wire/reading", "wire/stream_writer", "wire/whole",
)  # fmt: skip
NEEDS = ["mypy==2.4.1", "mypy-extensions>=1,<2", "httptools>=0.6.4,<1", "msgspec>=0.19,<1"]
"""What the compiler is made of, and whose types it has to know."""
LENIENT = ["--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
"""`make check` checks the types, with every extra there; here only what is compiled, with what is in NEEDS."""


def compiled() -> dict[str, object]:
    """The extension modules, where they are wanted."""
    if os.environ.get("UNBROKEN_COMPILE") != "1":
        return {}
    if not {"bdist_wheel", "build_ext"} & set(sys.argv):  # only asked what it would take
        return {"setup_requires": NEEDS}
    from mypyc.build import mypycify  # noqa: PLC0415 - only there where it is wanted

    files = [f"src/unbroken/{name}.py" for name in HOT]
    return {"ext_modules": mypycify([*LENIENT, *files], opt_level="3", debug_level="0", group_name="unbroken")}


setup(**compiled())
