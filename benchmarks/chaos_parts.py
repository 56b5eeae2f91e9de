"""What is broken on purpose, and how: a store, a database, a network, disks and a clock, all real ones.

    Store      Valkey or Redis: killed, stopped in its tracks, or cut off
    Database   PostgreSQL: the same
    Network    a network namespace behind one cable for each gateway, which can be pulled out
    small_disk, slow_disk
               a tmpfs that can be filled; a file system in a file, of which the kernel lets so many writes a second be
    Clock      the time of day of other processes, by Debian's libfaketime

What the machine does not let us do raises `Lacking` with the reason.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.stage import free_port, lacking

__all__ = ["Clock", "Database", "Lacking", "Network", "SlowDisk", "SmallDisk", "Store", "slow_disk", "small_disk"]

START_S = 30.0
STORES = ("valkey-server", "redis-server")
USERS = ("postgres", "nobody")
"""Who may run PostgreSQL, which root may not."""
LOOPBACK = "127.0.0.1"


class Lacking(Exception):
    """The machine does not let this be tried, and why."""


def run(*command: str) -> str:
    """What a command prints; Lacking where it fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=START_S)  # noqa: S603
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        raise Lacking(f"`{' '.join(command[:3])}` is not possible here: {said.strip()[-200:]}") from None
    return done.stdout


def tree(pid: int) -> list[int]:
    """A process and its children, and theirs."""
    found = [pid]
    for each in found:
        with contextlib.suppress(OSError):
            found += map(int, Path(f"/proc/{each}/task/{each}/children").read_text(encoding="ascii").split())
    return found


class Served:
    """A server that is ours to kill."""

    def __init__(self, command: Sequence[str], *, log: Path) -> None:
        self._command, self._log = command, log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it serve; RuntimeError where it does not."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)  # noqa: S603
        ends = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > ends or self._process.poll() is not None:
                raise RuntimeError(f"{self._command[0]} does not serve: {self._log.read_text()[-500:]}")
            time.sleep(0.05)

    def answers(self) -> bool:
        """Whether it is there."""
        raise NotImplementedError

    def kill(self) -> None:
        """SIGKILL, to all that belongs to it."""
        if self._process is not None:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stall(self) -> None:
        """It says nothing any more, as on a disk that hangs."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """It says something again."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        for pid in tree(self._process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


class Store(Served):
    """A Valkey or Redis on loopback, or in a network."""

    def __init__(self, folder: Path, network: Network | None = None, *, options: Sequence[str] = ()) -> None:
        program = next((name for name in STORES if not lacking(name)), None)
        if program is None:
            raise Lacking("needs Debian's package valkey-server or redis-server")
        self.host, inside = _place(network)
        self.port = free_port()
        bind = "0.0.0.0" if inside else self.host  # noqa: S104 - of the namespace, which is ours
        plain = ["--bind", bind, "--protected-mode", "no", "--save", "", "--dir", str(folder)]
        super().__init__([*inside, program, "--port", str(self.port), *plain, *options], log=folder / "store.log")

    def url(self, host: str = "") -> str:
        """How a gateway is told of it; `host` where it has several addresses."""
        return f"redis://{host or self.host}:{self.port}/0"

    def answers(self) -> bool:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["redis-cli", "-h", self.host, "-p", str(self.port), "ping"]
            return b"PONG" in subprocess.run(command, capture_output=True, check=True, timeout=5).stdout  # noqa: S603
        return False


class Database(Served):
    """A PostgreSQL in a folder of its own, on loopback or in a network."""

    def __init__(self, network: Network | None = None) -> None:
        found = shutil.which("initdb")
        places = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        if not places:
            raise Lacking("needs Debian's package postgresql")
        self.host, inside = _place(network)
        self._bin, self.port = places[-1], free_port()
        self.folder = Path(run("mktemp", "-d", "-t", "unbroken-chaos-XXXXXX").strip())
        user = next((name for name in USERS if _exists(name)), "") if os.geteuid() == 0 else ""
        self._as = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if user else []
        if user:
            shutil.chown(self.folder, user)
        data = str(self.folder / "data")
        run(*self._as, f"{self._bin}/initdb", "--auth=trust", "--username=test", "--encoding=UTF8", "--no-sync", data)
        if inside:
            self._trust_everybody(self.folder / "data")
        options = ["-D", data, "-k", str(self.folder), "-p", str(self.port), "-c", f"listen_addresses={self.host}"]
        command = [*inside, *self._as, f"{self._bin}/postgres", *options, "-c", "fsync=off"]
        super().__init__(command, log=self.folder.with_suffix(".log"))

    @property
    def url(self) -> str:
        """How a gateway is told of it."""
        return f"postgresql://test@{self.host}:{self.port}/postgres"

    def answers(self) -> bool:
        command = [f"{self._bin}/pg_isready", "-q", "-h", str(self.folder), "-p", str(self.port), "-d", "postgres"]
        return subprocess.run(command, check=False).returncode == 0  # noqa: S603

    def remove(self) -> None:
        """Kill it, and take its folder away."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
        self._log.unlink(missing_ok=True)

    def _trust_everybody(self, data: Path) -> None:
        with (data / "pg_hba.conf").open("a", encoding="ascii") as file:
            file.write("host all all 198.18.0.0/15 trust\n")


def _place(network: Network | None) -> tuple[str, Sequence[str]]:
    """The address of a server, and the beginning of the command that starts it there."""
    return (LOOPBACK, ()) if network is None else (network.host(0), network.inside)


def _exists(name: str) -> bool:
    with contextlib.suppress(KeyError):
        return bool(pwd.getpwnam(name))
    return False


class Network:
    """A host of its own, with one cable for each who wants to reach it; an address of RFC 2544 at both ends."""

    def __init__(self, cables: int) -> None:
        if os.geteuid():
            raise Lacking("network namespaces need root")
        self.name, self._cables = f"unbroken-{os.getpid()}", range(cables)
        run("ip", "netns", "add", self.name)
        try:
            for cable in self._cables:
                self._lay(cable)
        except Lacking:
            self.remove()
            raise

    def _lay(self, cable: int) -> None:
        here, there = f"ub{os.getpid()}h{cable}", self._end(cable)
        run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", self.name)
        run("ip", "addr", "add", f"198.18.{cable}.1/30", "dev", here)
        run("ip", "-n", self.name, "addr", "add", f"{self.host(cable)}/30", "dev", there)
        run("ip", "link", "set", here, "up")
        self.mend(cable)

    @property
    def inside(self) -> list[str]:
        """The beginning of a command that runs there."""
        return ["ip", "netns", "exec", self.name]

    def host(self, cable: int) -> str:
        """Its address at the end of this cable."""
        return f"198.18.{cable}.2"

    def cut(self, cable: int) -> None:
        """Nothing comes through any more, and nobody is told."""
        run("ip", "-n", self.name, "link", "set", self._end(cable), "down")

    def mend(self, cable: int) -> None:
        """As it was."""
        run("ip", "-n", self.name, "link", "set", self._end(cable), "up")

    def remove(self) -> None:
        """The namespace, with its ends of the cables, and so the other ends."""
        with contextlib.suppress(Lacking):
            run("ip", "netns", "del", self.name)

    def _end(self, cable: int) -> str:
        return f"ub{os.getpid()}n{cable}"


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A folder that can be full."""

    folder: Path

    def fill(self) -> None:
        """Not a byte more."""
        with (self.folder / "ballast").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"\0" * 4096)

    def free(self) -> None:
        """There is room again."""
        (self.folder / "ballast").unlink()


@contextlib.contextmanager
def small_disk(folder: Path, *, megabytes: int = 8) -> Iterator[SmallDisk]:
    """A disk of its own at this folder, which is made."""
    folder.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder))
    try:
        yield SmallDisk(folder)
    finally:
        run("umount", "--lazy", str(folder))


BLKIO = Path("/sys/fs/cgroup/blkio")


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """A folder on a disk that takes so many writes a second of the processes that are told about."""

    folder: Path
    group: Path

    def slow_for(self, pid: int, *, writes_a_second: int) -> None:
        """From now on for this process; 0 for no limit."""
        device = self.folder.stat().st_dev
        limit = f"{os.major(device)}:{os.minor(device)} {writes_a_second}"
        (self.group / "blkio.throttle.write_iops_device").write_text(limit, encoding="ascii")
        (self.group / "cgroup.procs").write_text(str(pid), encoding="ascii")


@contextlib.contextmanager
def slow_disk(folder: Path, *, megabytes: int = 64) -> Iterator[SlowDisk]:
    """A file system in a file, which waits for each write, mounted at this folder."""
    group = BLKIO / f"unbroken-{os.getpid()}"
    if os.geteuid() or not (BLKIO / "blkio.throttle.write_iops_device").exists():
        raise Lacking("needs root, and the kernel's blkio controller of the first version of control groups")
    image = folder.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    run("mkfs.ext4", "-q", "-O", "^has_journal", str(image))
    folder.mkdir()
    run("mount", "-o", "loop,sync", str(image), str(folder))
    try:
        group.mkdir()
        yield SlowDisk(folder, group)
    finally:
        run("umount", "--lazy", str(folder))
        with contextlib.suppress(OSError):  # whoever is still in it leaves with its end
            group.rmdir()


class Clock:
    """The time of day of whatever is started with `environ`: noon (UTC), and it can be set."""

    def __init__(self, file: Path) -> None:
        found = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
        if found is None:
            raise Lacking("needs Debian's package faketime")
        self._file, self._noon_s = file, 43_200.0 - time.time() % 86_400.0
        self.environ: Mapping[str, str] = {
            "LD_PRELOAD": str(found), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_FORCE_MONOTONIC_FIX": "0", "FAKETIME_DISABLE_SHM": "1",
        }  # fmt: skip
        self.ahead(0.0)

    def ahead(self, seconds: float) -> None:
        """So much later than noon when we began, and it goes on from there."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{self._noon_s + seconds:+.0f}", encoding="ascii")
        fresh.replace(self._file)
