"""Start unbroken in front of one provider, to measure what it costs.

    UPSTREAM_URL=http://127.0.0.1:9000/v1 python benchmarks/overhead_start.py PORT [KIND]     (make overhead)

One route `m`, one provider, every default, no keys of its own: on loopback that lets
everybody in.  Writes its configuration into build/ and becomes `unbroken serve`.  KIND is one of
ACCOUNTS: without one it is what the core install does; `bare` keeps no account of
anything, `all` keeps every one and sends all traces to OTLP_URL.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

CONFIGURATION = """\
server:
  port: {port}
providers:
  upstream:
    base_url: {upstream}
    keys: [sk-up]
    model: bench
routes:
  m:
    targets: [upstream/bench]
"""
ACCOUNTS = {
    "": "ledger: off\n",
    "bare": "ledger: off\nmetrics: {{on: false}}\n",
    "ledger": "ledger: {database}\nmetrics: {{on: false}}\n",
    "metrics": "ledger: off\n",
    "tracing": "ledger: off\nmetrics: {{on: false}}\ntracing: {{endpoint: {collector}}}\n",
    "all": "ledger: {database}\ntracing: {{endpoint: {collector}}}\n",
}
"""What is said of ledger, metrics and traces."""


def main() -> None:
    """Write the configuration and become the gateway."""
    port, kind = int(sys.argv[1]), "".join(sys.argv[2:3])
    file = Path(__file__).resolve().parent.parent / "build" / f"overhead-{port}.yaml"
    file.parent.mkdir(exist_ok=True)
    database = file.with_suffix(".db")
    database.unlink(missing_ok=True)
    told = ACCOUNTS[kind].format(database=database, collector=os.environ.get("OTLP_URL", ""))
    text = CONFIGURATION.format(port=port, upstream=os.environ["UPSTREAM_URL"]) + told
    file.write_text(text, encoding="utf-8")
    os.execv(sys.executable, [sys.executable, "-m", "unbroken", "serve", "--config", str(file)])


if __name__ == "__main__":
    main()
