"""schemathesis against the gateway's own OpenAPI document: make schemathesis.

    python benchmarks/contract.py --tool build/tools/bin/schemathesis --examples 20

A gateway over fake providers is started here; the tool reads `/openapi.json` from it, makes up
good and bad requests for every path, and complains of 5xx answers, undocumented statuses, wrong
content types, wrong `Allow` headers, and paths that are answered without a key.  The exit code
is the tool's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from unbroken.assemble import engine
from unbroken.config import Config, load
from unbroken.faces.gateway import Gateway
from unbroken.faces.server import Server
from unbroken.testing import FakeProvider

CALLER, OPERATOR = "a-callers-key-0123456789", "an-operators-key-0123456789"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "unsupported_method", "ignored_auth", "allow_header_conformance",
)  # fmt: skip
"""Under /admin nobody is told which paths there are, and so not which methods: the last is for callers' paths."""
LEFT_OUT = ("/admin/events", "/admin/reload")
"""One never ends; the other reads a file that is not there."""


def configuration(folder: Path, base_url: str) -> Config:
    """Every name leads to the fake provider, and the gateway wants keys."""
    document = {
        "server": {"keys": [CALLER], "admin_keys": [OPERATOR]},
        "providers": {"fake": {"base_url": base_url, "key": "k", "model": "word-model"}},
        "routes": {"chat": {"targets": ["fake"]}},
    }
    file = folder / "unbroken.yaml"
    file.write_text(json.dumps(document), encoding="utf-8")
    return load(file, {})


def command(tool: str, url: str, *, examples: int, seed: int, operators: bool) -> Sequence[str]:
    """The tool's command line: callers' paths, or operators', each with the key that opens them."""
    key = OPERATOR if operators else CALLER
    only = ["--include-path-regex", "^/admin/"] if operators else ["--exclude-path-regex", "^/admin/"]
    left_out = [word for path in LEFT_OUT if operators for word in ("--exclude-path", path)]
    return (
        tool, "run", f"{url}/openapi.json", "--url", url, "-H", f"Authorization: Bearer {key}",
        "--checks", ",".join(CHECKS[:-1] if operators else CHECKS),
        "--phases", "examples,coverage,fuzzing", "--max-examples", str(examples),
        "--seed", str(seed), "--continue-on-failure", "--request-timeout", "20", "--no-color", *only, *left_out,
    )  # fmt: skip


async def judged(tool: str, *, examples: int, seed: int) -> int:
    """The worse of the tool's exit codes."""
    with tempfile.TemporaryDirectory() as folder:
        async with FakeProvider("fake") as fake:
            config = configuration(Path(folder), fake.base_url)
            listening = socket.create_server(("127.0.0.1", 0))
            server = Server(Gateway(config, engine(config, seed=seed)))
            await server.start(listening)
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            codes = []
            for operators in (False, True):
                words = command(tool, url, examples=examples, seed=seed, operators=operators)
                process = await asyncio.create_subprocess_exec(*words, cwd=folder)
                codes.append(await process.wait())
            await server.stop(1.0)
    return max(codes)


def main() -> int:
    """Start, judge, stop."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tool", default="schemathesis")
    parser.add_argument("--examples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    return asyncio.run(judged(str(Path(given.tool).absolute()), examples=given.examples, seed=given.seed))


if __name__ == "__main__":
    sys.exit(main())
