"""Codex without a terminal: a provider in its configuration says where."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from clients.deeds import BEFORE, FILE, MODEL, ORDER, perform

SETTINGS = f"""\
model = "{MODEL}"
model_provider = "gateway"

[model_providers.gateway]
name = "unbroken"
base_url = "{os.environ["GATEWAY_URL"]}"
env_key = "GATEWAY_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
"""


def edit() -> dict[str, str]:
    """What stands in the file afterwards, and what it said at last."""
    home = Path(os.environ["HOME"])
    folder, settings = home / "project", home / ".codex"
    folder.mkdir()
    settings.mkdir()
    (settings / "config.toml").write_text(SETTINGS, encoding="utf-8")
    file, answer = folder / FILE, home / "answer.txt"
    file.write_text(BEFORE, encoding="utf-8")
    subprocess.run(
        ["codex", "exec", "--skip-git-repo-check", "--sandbox", "workspace-write", "--output-last-message",
         str(answer), ORDER.format(file=file)],
        cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, check=True, timeout=45,
    )  # fmt: skip
    return {"file": file.read_text(encoding="utf-8"), "answer": answer.read_text(encoding="utf-8")}


if __name__ == "__main__":
    perform(edit)
