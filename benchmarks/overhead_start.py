"""Start unbroken in front of one provider, to measure what it costs.

    UPSTREAM_URL=http://127.0.0.1:9000/v1 python benchmarks/overhead_start.py PORT     (make overhead)

One route `m`, one provider, every default, no keys of its own: on loopback that lets
everybody in.  Writes its configuration into build/ and becomes `unbroken serve`.
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


def main() -> None:
    """Write the configuration and become the gateway."""
    port = int(sys.argv[1])
    file = Path(__file__).resolve().parent.parent / "build" / f"overhead-{port}.yaml"
    file.parent.mkdir(exist_ok=True)
    file.write_text(CONFIGURATION.format(port=port, upstream=os.environ["UPSTREAM_URL"]), encoding="utf-8")
    os.execv(sys.executable, [sys.executable, "-m", "unbroken", "serve", "--config", str(file)])


if __name__ == "__main__":
    main()
