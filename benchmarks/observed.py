"""What it costs to keep account of everything: `overhead.py` with ledger, metrics and tracing, and without.

    python benchmarks/observed.py path/to/overhead.py [--rounds 3] [--seconds 4]   (make observed)
    python benchmarks/observed.py path/to/overhead.py --kinds bare,ledger,metrics,tracing,all

All are run in turns and the least of each compared: whatever else a machine does only adds to what is measured.
Ends with 1 where a request or an event costs more than `GROWTH_MAX` times as much with the last kind as
with the first.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

GROWTH_MAX = 1.25
FIGURES = ("request_cpu_us", "chunk_cpu_us", "stream_kb")
BUILD = Path(__file__).resolve().parent.parent / "build"


class Collector(asyncio.Protocol):
    """Says yes to whatever is posted; counts the bytes."""

    received = 0

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, mark, body = self._data.partition(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.startswith(b"content-length:")), 0)
        if mark and len(body) >= length and self._transport is not None:
            Collector.received += length
            self._data = body[length:]
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


def collect() -> str:
    """A collector on a thread of its own, outside of what is measured; its address."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Collector, "127.0.0.1", 0))
    threading.Thread(target=loop.run_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def measured(script: str, kind: str, *, seconds: int, collector: str) -> dict[str, float]:
    """One run of `overhead.py`."""
    out = BUILD / f"overhead-{kind}.json"
    start = Path(__file__).with_name("overhead_start.py")
    subprocess.run(  # noqa: S603 - the script that was named
        [
            sys.executable, script, "--ready-port", "4101", "--seconds", str(seconds), "--streams", "60",
            "--json", str(out), "--cmd", f"exec {sys.executable} {start} {{port}} {kind}",
        ],
        check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OTLP_URL": collector},
    )  # fmt: skip
    found: dict[str, float] = json.loads(out.read_text(encoding="utf-8"))["gateway"]
    return found


def main() -> None:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("script")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--kinds", default="bare,all")
    asked = parser.parse_args()
    BUILD.mkdir(exist_ok=True)
    collector = collect()
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in asked.kinds.split(",")}
    for _ in range(asked.rounds):
        for kind, found in runs.items():
            found.append(measured(asked.script, kind, seconds=asked.seconds, collector=collector))
            print(kind, {figure: found[-1][figure] for figure in FIGURES}, flush=True)
    least = {kind: {figure: min(run[figure] for run in found) for figure in FIGURES} for kind, found in runs.items()}
    first, *_, last = least.values()
    growth = {figure: round(last[figure] / first[figure], 3) for figure in FIGURES[:2]}
    print(json.dumps({**least, "growth": growth, "collector_mb": Collector.received // 1_000_000}, indent=1))
    sys.exit(any(value > GROWTH_MAX for value in growth.values()))


if __name__ == "__main__":
    main()
