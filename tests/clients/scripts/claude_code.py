"""Claude Code without a terminal: ANTHROPIC_BASE_URL and ANTHROPIC_AUTH_TOKEN say where."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from clients.deeds import BEFORE, FILE, MODEL, ORDER, perform

QUIET = {"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1", "DISABLE_AUTOUPDATER": "1", "DISABLE_TELEMETRY": "1"}
"""No traffic but to the gateway."""


def edit() -> dict[str, str]:
    """What stands in the file afterwards, and what it said at last."""
    folder = Path(os.environ["HOME"]) / "project"
    folder.mkdir()
    file = folder / FILE
    file.write_text(BEFORE, encoding="utf-8")
    models = {"ANTHROPIC_MODEL": MODEL, "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL}
    done = subprocess.run(
        ["claude", "-p", ORDER.format(file=file), "--output-format", "json", "--allowedTools", "Read,Edit"],
        cwd=folder, env=os.environ | QUIET | models, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        check=True, timeout=45,
    )  # fmt: skip
    return {"file": file.read_text(encoding="utf-8"), "answer": json.loads(done.stdout)["result"]}


if __name__ == "__main__":
    perform(edit)
