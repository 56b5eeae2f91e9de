"""The gateway of a soak: `unbroken serve`, which on SIGUSR2 writes down what is alive in it.

    python -m benchmarks.soak_gateway CENSUS -- serve --config FILE

CENSUS is a file of JSON: how many objects of each type there are, tasks that are not done, and blocks of memory.
What was there before the first request does not count, as the gateway has set it aside (gc.freeze).
"""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from collections import Counter
from pathlib import Path

from unbroken.faces.cli.app import main


def census() -> dict[str, object]:
    """What is alive."""
    gc.collect()
    objects = gc.get_objects()
    types = Counter(f"{type(found).__module__}.{type(found).__qualname__}" for found in objects)
    tasks = sum(isinstance(found, asyncio.Task) and not found.done() for found in objects)
    return {"types": types, "tasks": tasks, "blocks": sys.getallocatedblocks()}


def write(file: Path) -> None:
    """The census, all at once."""
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(census()), encoding="utf-8")
    fresh.replace(file)


if __name__ == "__main__":
    place = Path(sys.argv[1])
    signal.signal(signal.SIGUSR2, lambda *_: write(place))
    sys.argv = ["unbroken", *sys.argv[3:]]
    main()
