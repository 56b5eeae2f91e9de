"""Start unbroken over the providers of the fault battery, as an operator would.

    battery.py --start "python -m benchmarks.battery_start" ...     (make battery, make sixteen)

The battery names its providers in a file (BATTERY_TOPOLOGY).  This script writes an ordinary
configuration over them, into BATTERY_SCRATCH, and becomes `unbroken serve`.  Everything is
left at its default but for the numbers in DEFAULTS, which say what the operator of those
providers is told about them.

    --workers 2         so many workers
    --replicas 2        so many gateways that share a Valkey or Redis, behind an nginx that asks one after the other
    --kill-store 30     ... which is killed after so many seconds: for good, or with
    --store-back 10     until it is started again, empty, after so many more
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from benchmarks.stage import free_port, lacking

STORES = ("valkey-server", "redis-server")
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
NGINX = """\
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 64m; {temporary}
  upstream gateways {{ {servers} keepalive 256; }}
  server {{ listen 127.0.0.1:{port} backlog=1024; location / {{
    proxy_pass http://gateways; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_next_upstream off;
    proxy_buffering off; proxy_request_buffering off; proxy_read_timeout 1h;
  }} }}
}}
"""
"""One after the other, and nothing else: whatever is mended, the gateways have mended."""


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


def balancer(folder: Path, port: int, *, to: Sequence[int]) -> str:
    """The configuration of an nginx on this port, which asks those on the others in turn."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = " ".join(f"{kind}_temp_path {folder}/nginx-{kind};" for kind in kinds)
    servers = " ".join(f"server 127.0.0.1:{each} max_fails=0;" for each in to)
    return NGINX.format(folder=folder, port=port, temporary=temporary, servers=servers)


def serve(file: Path, *options: str) -> list[str]:
    """The command of a gateway by this configuration."""
    return [sys.executable, "-m", "unbroken", "serve", "--config", str(file), *options]


def store_at(port: int) -> list[str]:
    """The command of a Valkey or Redis there, which writes nothing down."""
    program = next(name for name in STORES if name not in lacking(*STORES))
    return [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]


def several(file: Path, *, port: int, asked: argparse.Namespace) -> None:
    """So many gateways and what they need, in this process's group, until it is told to stop or one of them ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    store_port, ports = free_port(), [free_port() for _ in range(asked.replicas)]
    os.environ["UNBROKEN_STORE"] = f"redis://127.0.0.1:{store_port}/0"
    nginx = file.with_name("nginx.conf")
    nginx.write_text(balancer(file.parent, port, to=ports), encoding="utf-8")
    stores = [subprocess.Popen(store_at(store_port))]  # noqa: S603 - the commands are ours
    gateways = [serve(file, "--port", str(each), "--workers", str(asked.workers)) for each in ports]
    commands = [*gateways, ["nginx", "-c", str(nginx)]]
    others = [subprocess.Popen(command) for command in commands]  # noqa: S603
    began = time.monotonic()
    turns = [(asked.kill_store, stores[0].kill)] if asked.kill_store is not None else []
    if turns and asked.store_back is not None:
        again_s = asked.kill_store + asked.store_back
        turns.append((again_s, lambda: stores.append(subprocess.Popen(store_at(store_port)))))  # noqa: S603
    try:
        while all(each.poll() is None for each in others):
            if turns and time.monotonic() - began > turns[0][0]:
                turns.pop(0)[1]()
            time.sleep(0.2)
    finally:
        for each in (*others, *stores):
            each.terminate()
    raise SystemExit("a gateway, or nginx, has ended")


def main() -> None:
    """Write the configuration and become the gateway, or the parent of several."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--kill-store", type=float, metavar="SECONDS")
    parser.add_argument("--store-back", type=float, metavar="SECONDS")
    asked = parser.parse_args()
    topology = json.loads(Path(os.environ["BATTERY_TOPOLOGY"]).read_text(encoding="utf-8"))
    port, key = int(os.environ["BATTERY_GATEWAY_PORT"]), os.environ["BATTERY_CLIENT_KEY"]
    file = Path(os.environ["BATTERY_SCRATCH"]) / "unbroken.yaml"
    file.write_text(configuration(topology, port, key), encoding="utf-8")
    if asked.replicas > 1:
        several(file, port=port, asked=asked)
    command = serve(file, "--workers", str(asked.workers))
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
