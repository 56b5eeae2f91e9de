"""What a request of a megabyte costs, beside nginx: a picture, long conversations, and what takes longest to read.

    python -m benchmarks.bodies [--megabytes 1] [--seconds 4] [--rounds 3] [--kind all]

One caller asks again and again, of nginx and of ours in turns; the least of the medians of all rounds counts,
as whatever else a machine does only adds to it.  nginx keeps the body in memory too.
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

from benchmarks.observed import collect
from benchmarks.stage import BUILD, Program, Wrk, lua, stage

__all__ = ["BODIES", "Cost", "measure", "ratio"]

MEGABYTE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Of one request: its time for a caller who is alone, and the processor time of the program."""

    time_ms: float
    cpu_ms: float

    @classmethod
    def of(cls, program: Program, script: Path, *, seconds: int) -> Cost:
        """Measured for so long."""
        before_s = program.cpu_s()
        seen = Wrk.run(program.port, script, seconds=seconds, connections=1)
        return cls(time_ms=seen.p50_ms, cpu_ms=(program.cpu_s() - before_s) / seen.requests * 1e3)

    @classmethod
    def least(cls, costs: Sequence[Cost]) -> Cost:
        """The least of each figure."""
        return cls(time_ms=min(cost.time_ms for cost in costs), cpu_ms=min(cost.cpu_ms for cost in costs))


def conversation(size: int) -> bytes:
    """A chat of many turns: paragraphs with a line end after each, here and there quotes, a list, some code."""
    draw, messages, written = Random(size), list[object](), 0
    while written < size:
        pieces = draw.choices(PIECES, weights=(12, 4, 1, 1), k=draw.randint(4, 12))
        text = "\n\n".join(" ".join(draw.sample(piece, len(piece))) for piece in pieces)
        messages.append({"role": ("user", "assistant")[len(messages) % 2], "content": text})
        written += len(json.dumps(text, ensure_ascii=False).encode()) + 32
    return _chat(messages)


PIECES = (
    (
        "The bridge over the river was closed for most of the week, so everybody took the ferry instead.",
        "It depends on how many ships are in the harbour, and on the weather.",
        "Could you explain the second step once more, with the figures of last year?",
        "I don't think that this is what she meant when she spoke about the café.",
    ),
    ('He said "not yet" and went on.', "That was the whole answer;", "nobody asked again until the clock struck."),
    ("- the first bridge, built in 1887\n", "- the second one, by the mill\n", "- a ferry for the summer\n"),
    ("```python\n", "def read_line(file, *, limit=80):\n    return file.readline(limit).rstrip()\n", "```\n"),
)
"""What people and models write."""


def result(size: int) -> bytes:
    """What a tool found, which is JSON within JSON: every quote of it is escaped."""
    draw, rows, written = Random(size), list[object](), 0
    while written < size:
        rows.append({"id": draw.getrandbits(20), "name": draw.choice(PIECES[0])[: draw.randint(5, 60)], "open": True})
        written += len(json.dumps(json.dumps(rows[-1])))
    return _chat([{"role": "tool", "tool_call_id": "call_1", "content": json.dumps(rows)}])


def escaped(size: int) -> bytes:
    r"""Every letter as `\u0434`: so programs send Russian or Chinese that speak ASCII only."""
    draw, letters = Random(size), "абвгдежзиклмнопрстуфхцчшыьэюя  "
    text = "".join(draw.choices(letters, k=size * len(letters) // len(json.dumps(letters))))
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}]}).encode()


def picture(size: int) -> bytes:
    """A question about a picture that stands in it as base64; some bytes more than asked for."""
    url = "data:image/png;base64," + base64.b64encode(Random(size).randbytes(size * 3 // 4)).decode()
    return _chat([{"role": "user", "content": [
        {"type": "text", "text": "What is that?"}, {"type": "image_url", "image_url": {"url": url}},
    ]}])  # fmt: skip


def _chat(messages: Sequence[object]) -> bytes:
    return json.dumps({"model": "m", "temperature": 0.7, "messages": messages}, ensure_ascii=False).encode()


BODIES = {"picture": picture, "conversation": conversation, "tool's result": result, "text in escapes": escaped}


def measure(size: int, seconds: int, *, rounds: int, kind: str, collector: str) -> dict[str, dict[str, Cost]]:
    """By body and program, the least of all rounds."""
    with stage() as scene:
        upstream = scene.upstream()
        programs = {
            "nginx": scene.nginx(to=upstream.port),
            "gateway": scene.gateway(upstream.port, kind, collector=collector),
        }
        scripts = {name: lua(scene.folder, make(size)) for name, make in BODIES.items()}
        found = {name: {program: list[Cost]() for program in programs} for name in scripts}
        for number in range(rounds + 1):  # the first is for warming up
            for name, script in scripts.items():
                for program, running in programs.items():
                    cost = Cost.of(running, script, seconds=seconds if number else 1)
                    found[name][program] += [cost] if number else []
    return {name: {program: Cost.least(costs) for program, costs in each.items()} for name, each in found.items()}


def ratio(costs: Mapping[str, Cost]) -> float:
    """How many times as long as nginx ours takes."""
    return costs["gateway"].time_ms / costs["nginx"].time_ms


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1.0)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", default="all", help="which accounts are kept, as in overhead_start.py")
    asked = parser.parse_args()
    found = measure(
        int(asked.megabytes * MEGABYTE), asked.seconds, rounds=asked.rounds, kind=asked.kind, collector=collect()
    )
    for name, costs in found.items():
        for program, cost in costs.items():
            print(f"{name}, {program}: {cost.time_ms:.2f} ms, {cost.cpu_ms:.2f} ms of processor time")
        print(f"{name}: {ratio(costs):.2f}x nginx")
    told = {name: {program: asdict(cost) for program, cost in costs.items()} for name, costs in found.items()}
    (BUILD / "bodies.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
