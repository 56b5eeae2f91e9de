"""Recorded traffic for the tests of wire formats: a small set beside the tests, the large one where it is at hand."""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

Recording = dict[str, Any]

OURS = Path(__file__).resolve().parents[1] / "recordings"


@functools.cache
def _read(path: Path) -> list[Recording]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def ours(*endpoints: str) -> list[Recording]:
    """Recordings of these endpoints from the set beside the tests."""
    return [r for path in sorted(OURS.glob("openai*.jsonl.gz")) for r in _read(path) if r["endpoint"] in endpoints]


def everything(shared: Path, *endpoints: str) -> list[Recording]:
    """Recordings of these endpoints from the large set, which lies in the shared folder."""
    paths = sorted((shared / "wire").glob("[!r]*.jsonl.gz"))
    found = []
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            rows = (json.loads(line) for line in lines if any(f'"{name}"' in line for name in endpoints))
            found += [row for row in rows if row.get("endpoint") in endpoints]
    return [row for row in found if isinstance(row.get("response_body"), str)]
