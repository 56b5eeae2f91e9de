"""What a measurement needs around it: programs that are started and ended, and what the kernel says of them.

    with stage() as scene:
        upstream = scene.nginx(answering=ANSWER)
        floor = scene.nginx(to=upstream.port)
        gateway = scene.gateway(upstream.port)
        print(gateway.rss_kb())

Everything listens on loopback, writes into a folder that is gone afterwards, and is ended with all of its children.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["ANSWER", "BUILD", "ROOT", "Program", "Scene", "Wrk", "allow_files", "free_port", "lacking", "lua", "stage"]

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
READY_S = 60.0
STOP_S = 5.0
TICKS = os.sysconf("SC_CLK_TCK")
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench", "object": "chat.completion", "created": 1741569952, "model": "bench",
        "choices": [{
            "index": 0, "finish_reason": "stop", "logprobs": None,
            "message": {"role": "assistant", "content": "Reliable systems are built from parts that fail. " * 4},
        }],
        "usage": {"prompt_tokens": 24, "completion_tokens": 40, "total_tokens": 64},
    }
)  # fmt: skip
"""What a provider says at once to whatever it is asked."""


def free_port() -> int:
    """A port on loopback that nobody listens on at this moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def lacking(*programs: str) -> list[str]:
    """Those of these programs that are not installed."""
    return [program for program in programs if shutil.which(program) is None]


def allow_files() -> None:
    """As many open files and sockets as the system lets this process and its children have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Program:
    """A program that listens on a port of loopback, with its children; SystemExit where it does not come up."""

    def __init__(
        self, command: Sequence[str], *, port: int, log: Path, environ: Mapping[str, str] | None = None
    ) -> None:
        self.port, self.log = port, log
        with log.open("w") as out:
            self._process = subprocess.Popen(  # noqa: S603 - the commands are ours
                list(command), cwd=ROOT, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True, env={**os.environ, **(environ or {})},
            )  # fmt: skip
        self.pid = self._process.pid
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        ends = time.monotonic() + READY_S
        while True:
            if self.alive and _answers(self.port):
                return
            if not self.alive or time.monotonic() > ends:
                self.stop()
                raise SystemExit(f"nothing answers on port {self.port}: {self.log.read_text()[-1500:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it and its children: politely, then not."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_S)
                return

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """The processor time that it and its children had so far; in ticks of 10 ms as a rule."""
        return sum(sum(map(int, _stat(pid)[11:13])) for pid in self._tree()) / TICKS

    def rss_kb(self) -> int:
        """The memory that it and its children have; what they share counts for each."""
        return sum(_status(pid, "VmRSS") for pid in self._tree())

    def threads(self) -> int:
        """Those of the operating system."""
        return sum(_status(pid, "Threads") for pid in self._tree())

    def open_files(self) -> int:
        """Files and sockets that are open."""
        count = 0
        for pid in self._tree():
            with contextlib.suppress(OSError):  # it has just ended
                count += sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        return count

    def _tree(self) -> list[int]:
        found = [self.pid]
        for pid in found:
            found += map(int, _proc(f"{pid}/task/{pid}/children").split())
        return found


def _answers(port: int) -> bool:
    """Whether HTTP is spoken there; to listen is not enough, as ours does that before it can answer."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2) as sock:
        sock.settimeout(READY_S)
        sock.sendall(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        return bool(sock.recv(1))
    return False


def _proc(name: str) -> str:
    """What the kernel says; nothing of a process that has ended."""
    with contextlib.suppress(OSError):
        return Path("/proc", name).read_text()
    return ""


def _stat(pid: int) -> list[str]:
    return _proc(f"{pid}/stat").rpartition(")")[2].split()


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+)", _proc(f"{pid}/status"), re.MULTILINE)
    return int(found[1]) if found else 0


@dataclass
class Scene:
    """A folder, and the programs that were started in it."""

    folder: Path
    programs: list[Program] = field(default_factory=list)

    def start(self, command: Sequence[str], *, port: int, environ: Mapping[str, str] | None = None) -> Program:
        """A program of whatever kind."""
        log = self.folder / f"{len(self.programs)}.log"
        self.programs.append(Program(command, port=port, log=log, environ=environ))
        return self.programs[-1]

    def upstream(self) -> Program:
        """A provider that reads what it is asked, answers at once, and ticks where it is asked for a stream."""
        port = free_port()
        return self.start([sys.executable, "-m", "benchmarks.bench_upstream", str(port)], port=port)

    def nginx(self, *, answering: str = "", to: int = 0) -> Program:
        """One nginx with one process: it answers everything with these words, or hands it to that port."""
        port, name = free_port(), f"nginx{len(self.programs)}"
        does = f"return 200 '{answering}';" if answering else "proxy_pass http://up;"
        file = self.folder / f"{name}.conf"
        upstream = (
            f"upstream up {{ server 127.0.0.1:{to}; keepalive 8192; keepalive_requests 1000000000; }}" if to else ""
        )
        temporary = " ".join(
            f"{kind}_temp_path {self.folder}/{name}-{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file.write_text(NGINX.format(
            folder=self.folder, name=name, port=port, does=does, upstream=upstream, temporary=temporary,
        ), encoding="utf-8")  # fmt: skip
        return self.start(["nginx", "-c", str(file)], port=port)

    def gateway(self, upstream: int, kind: str = "", *, collector: str = "") -> Program:
        """Ours before a provider on that port, in which everything asks for the model `m`; for `kind` see there."""
        port = free_port()
        environ = {"UPSTREAM_URL": f"http://127.0.0.1:{upstream}/v1", "OTLP_URL": collector}
        return self.start(
            [sys.executable, str(ROOT / "benchmarks" / "overhead_start.py"), str(port), kind],
            port=port,
            environ=environ,
        )

    def close(self) -> None:
        """End everything, the last one first."""
        for program in reversed(self.programs):
            program.stop()
            for left in BUILD.glob(f"overhead-{program.port}.*"):
                left.unlink()


NGINX = """
worker_processes 1; daemon off; pid {folder}/{name}.pid; error_log {folder}/{name}.err; worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
  access_log off; {temporary} keepalive_requests 1000000000; keepalive_timeout 1h; proxy_read_timeout 1h;
  client_max_body_size 64m; client_body_buffer_size 8m; client_body_in_single_buffer on; default_type application/json;
  {upstream}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{
    {does} proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
  }} }}
}}
"""
"""Bodies stay in memory, and connections stay open: the floor is nginx at its best."""


@contextlib.contextmanager
def stage() -> Iterator[Scene]:
    """A scene that is cleared away afterwards."""
    BUILD.mkdir(exist_ok=True)
    with TemporaryDirectory() as folder:
        scene = Scene(Path(folder))
        try:
            yield scene
        finally:
            scene.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrk:
    """What the program wrk has seen: requests, those that were not answered by a 2xx or 3xx, and the median time."""

    requests: int
    bad: int
    p50_ms: float

    @classmethod
    def read(cls, told: str) -> Wrk:
        """From what it prints with `--latency`; ValueError for anything else."""
        requests = re.search(r"(\d+) requests in", told)
        median = re.search(r"50%\s+([\d.]+)(us|ms|s|m)\b", told)
        if requests is None or median is None:
            raise ValueError(f"this is not what wrk prints: {told[:500]}")
        bad = [int(found) for found in re.findall(r"Non-2xx or 3xx responses: (\d+)", told)]
        for errors in re.findall(r"Socket errors: (.*)", told):
            bad += map(int, re.findall(r"\d+", errors))
        return cls(requests=int(requests[1]), bad=sum(bad), p50_ms=float(median[1]) * UNITS_MS[median[2]])

    @classmethod
    def run(cls, port: int, script: Path, *, seconds: int, connections: int) -> Wrk:
        """Ask that port again and again; SystemExit where anything else than answers came."""
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        flags = ["-t1", f"-c{connections}", f"-d{seconds}", "--timeout", "30", "--latency", "-s", str(script)]
        done = subprocess.run(["wrk", *flags, url], capture_output=True, text=True, check=True)  # noqa: S603, S607
        seen = cls.read(done.stdout)
        if seen.bad or not seen.requests:
            raise SystemExit(f"{seen.bad} of {seen.requests} requests failed: {done.stdout}")
        return seen


UNITS_MS = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4}


def lua(folder: Path, body: bytes) -> Path:
    """A script for wrk that posts this body."""
    data, script = folder / f"body{len(body)}.json", folder / f"post{len(body)}.lua"
    data.write_bytes(body)
    script.write_text(
        f'wrk.method = "POST"\nwrk.headers["Content-Type"] = "application/json"\n'
        f'wrk.headers["Authorization"] = "Bearer sk-bench"\nwrk.body = io.open("{data}", "rb"):read("*a")\n',
        encoding="utf-8",
    )
    return script
