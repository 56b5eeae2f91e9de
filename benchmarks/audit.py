"""What we depend on: whether all of it is pinned with hashes, and whether anything of it is known to be unsafe.

    python benchmarks/audit.py --tool build/tools/bin/pip-audit

The exit code says which it is: 0 nothing is known against any package; 1 a lock is not what it
should be, or a vulnerability is known; 3 the pins are good, but whoever knows of
vulnerabilities could not be asked about every package, so nothing is proven.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "constraints"
TESTED = ("core.lock", "image.lock", "build.lock")
"""Whose pins have to be those that development has, and so the tests."""
LOCKS = (*TESTED, "dev.lock", "tools.lock")
UNKNOWN = 3
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)")


def normal(name: str) -> str:
    """A package's name as indexes compare them."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(file: Path) -> dict[str, str]:
    """Package and version, for each pin of a file."""
    found = (_PIN.match(line) for line in file.read_text(encoding="utf-8").splitlines())
    return {normal(pin[1]): pin[2] for pin in found if pin}


def unhashed(file: Path) -> Iterator[str]:
    """Packages of a lock without a hash."""
    for entry in re.split(r"\n(?=\S)", file.read_text(encoding="utf-8").strip()):
        if not entry.startswith("#") and "--hash=sha256:" not in entry:
            yield entry.partition(" ")[0]


def wrong() -> Iterator[str]:
    """What is wrong with the locks: nothing unpinned, nothing without a hash, and the versions that are tested."""
    tested, development = pins(FOLDER / "dev.txt"), pins(FOLDER / "dev.lock")
    for lock in LOCKS:
        yield from (f"{lock}: {name} has no hash" for name in unhashed(FOLDER / lock))
    for name, version in tested.items():
        if development.get(name) != version:
            yield f"dev.lock: {name} is {development.get(name, 'not there')}, and in dev.txt {version}"
    yield from (f"dev.lock: {name} is not there" for name in sorted(wanted() - development.keys()))
    for lock in TESTED:
        for name, version in pins(FOLDER / lock).items():
            if tested.get(name, version) != version:
                yield f"{lock}: {name} is {version}, and in dev.txt {tested[name]}"


def wanted() -> set[str]:
    """What pyproject.toml names, for use and for development."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {normal(found[0]) for line in named if (found := re.match(r"[A-Za-z0-9._-]+", line))}
    return names - {normal(project["name"])}


def told(tool: str, lock: str) -> list[Mapping[str, Any]]:
    """What the tool knows of each package of a lock."""
    words = [tool, "-r", str(FOLDER / lock), "--no-deps", "--disable-pip", "--require-hashes", "-f", "json"]
    ended = subprocess.run([*words, "--progress-spinner", "off"], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    try:
        found: list[Mapping[str, Any]] = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        print(f"{lock}: could not be looked up: {ended.stderr.strip()[-300:]}", file=sys.stderr)
        return [{"name": lock, "skip_reason": "no answer"}]
    return found


def flaws(package: Mapping[str, Any]) -> Iterator[str]:
    """What is known against a package."""
    for flaw in package.get("vulns", ()):
        yield f"{package['name']} {package['version']}: {flaw['id']}, fixed in {flaw['fix_versions']}"


def main() -> int:
    """Look at the locks, then ask."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tool", default="pip-audit")
    given = parser.parse_args()
    known = {package["name"]: package for lock in LOCKS for package in told(given.tool, lock)}
    problems = [*wrong(), *(line for package in known.values() for line in flaws(package))]
    print("\n".join(problems) or f"{len(known)} packages are pinned with hashes")
    skipped = [name for name, package in known.items() if "skip_reason" in package]
    if skipped:
        some = ", ".join(skipped[:5])
        print(
            f"NOT AUDITED: {len(skipped)} of {len(known)} packages could not be looked up ({some}, ...)",
            file=sys.stderr,
        )
        print("is there a way from here to the service that knows of vulnerabilities?", file=sys.stderr)
    return 1 if problems else UNKNOWN if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
