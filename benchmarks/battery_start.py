"""Start unbroken over the providers of the fault battery, as an operator would.

    battery.py --start "python benchmarks/battery_start.py" ...     (make battery, make sixteen)

The battery names its providers in a file (BATTERY_TOPOLOGY).  This script writes an ordinary
configuration over them, into BATTERY_SCRATCH, and becomes `unbroken serve`.  Everything is
left at its default but for the numbers in DEFAULTS, which say what the operator of those
providers is told about them.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import yaml

DEFAULTS = """\
# What is known of these providers: they answer within 8 s if they are well, silence of more
# than 10 s is a failure, a steady stream pauses for 4 s at most, and clients wait 40 s.
defaults:
  deadlines:
    connect_s: 2          # all of them are on this machine
    first_byte_s: 10      # silence of more than 10 s is a failure
    first_content_s: 10   # the first token of a stream too comes within 8 s
    total_s: 38           # clients wait 40 s: two are left for the way back
    gap_s: 5              # a steady stream pauses for 4 s at most
  hedging:
    after_s: 6.5          # nearly as long as they legitimately need: a second opinion is cheap by then
  breaking:
    open_s: 4             # a provider that has recovered is wanted back within 20 s:
    open_s_max: 15        # no wait is longer than 15 s
"""


def configuration(topology: dict[str, Any], port: int, key: str) -> str:
    """The YAML of a gateway on this port, with a route per model to its providers in order of preference."""
    models = topology["models"]
    providers = {
        provider["name"]: {name: provider[name] for name in ("base_url", "keys", "model")}
        for model in models
        for provider in model["providers"]
    }
    routes = {
        model["model"]: {"targets": [f"{provider['name']}/{provider['model']}" for provider in model["providers"]]}
        for model in models
    }
    server = {"port": port, "keys": [key]}
    rest = yaml.safe_dump({"server": server, "providers": providers, "routes": routes}, sort_keys=False)
    return DEFAULTS + rest


def main() -> None:
    """Write the configuration and become the gateway."""
    topology = json.loads(Path(os.environ["BATTERY_TOPOLOGY"]).read_text(encoding="utf-8"))
    port, key = int(os.environ["BATTERY_GATEWAY_PORT"]), os.environ["BATTERY_CLIENT_KEY"]
    file = Path(os.environ["BATTERY_SCRATCH"]) / "unbroken.yaml"
    file.write_text(configuration(topology, port, key), encoding="utf-8")
    os.execv(sys.executable, [sys.executable, "-m", "unbroken", "serve", "--config", str(file)])


if __name__ == "__main__":
    main()
