"""What a soak has seen, and what of it would be a leak.

Samples are taken all the time, a `Rest` when every caller has hung up: then nothing is alive that is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from benchmarks.bench_trend import BLOCKS, Trend, trend

__all__ = ["Check", "Rest", "Sample", "Seen", "checks", "growing", "memory"]

KEPT_BYTES = 8.0
"""Whatever is kept of a request takes a pointer at least."""
NOISE_BYTES = 4_000_000.0
"""What the allocator takes and gives back by itself."""
SPARE = 2
"""Files, threads and tasks that may come and go."""
OBJECTS_MIN = 20
OBJECTS_SHARE = 0.0002
"""A type leaks that never shrinks from rest to rest, and grows by more than one object in 5,000 requests."""
LEAKS_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One moment: seconds since the beginning, requests until then, and what the gateway has."""

    at_s: float
    requests: int
    rss_kb: int
    files: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """A moment without callers: what is alive in the gateway then."""

    at_s: float
    requests: int
    rss_kb: int
    files: int
    threads: int
    tasks: int
    blocks: int
    types: Mapping[str, int]


@dataclass(slots=True, kw_only=True)
class Seen:
    """All of a soak: `errors` are answers that callers should not have got, `wrong` the first of them in words."""

    samples: list[Sample] = field(default_factory=list)
    rests: list[Rest] = field(default_factory=list)
    done: Mapping[str, int] = field(default_factory=dict)
    errors: int = 0
    wrong: Sequence[str] = ()
    reloads: int = 0
    troubles: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the table."""

    what: str
    found: str
    limit: str
    good: bool


def checks(seen: Seen) -> Iterator[Check]:
    """Everything that has to hold."""
    requests = sum(seen.done.values())
    yield Check(
        what="answers that were wrong", found=f"{seen.errors} of {requests:,}", limit="0",
        good=not seen.errors and requests > 0,
    )  # fmt: skip
    yield _memory(seen)
    for name in ("files", "threads", "tasks"):
        counts = [getattr(rest, name) for rest in seen.rests[len(seen.rests) // 2 :]]
        good = len(counts) > 1 and counts[-1] <= counts[0] + SPARE
        yield Check(what=f"{name} at rest", found=" ".join(map(str, counts)), limit=f"+{SPARE}", good=good)
    leaks = growing(seen.rests)
    told = ", ".join(f"{name} +{more}" for name, more in leaks[:LEAKS_SHOWN])
    yield Check(what="types that only grow", found=told or "none", limit="none", good=not leaks)


def memory(seen: Seen) -> Trend | None:
    """Bytes a request, over the second half; None where that is too short to tell."""
    points = [(float(sample.requests), sample.rss_kb * 1024.0) for sample in seen.samples]
    try:
        return trend(points)
    except ValueError:
        return None


def _memory(seen: Seen) -> Check:
    found = memory(seen)
    if found is None:
        return Check(what="memory", found="too short to tell", limit=f"{2 * BLOCKS} samples", good=False)
    return Check(
        what="memory, bytes a request",
        found=f"{found.slope:+.1f} ({found.low:+.1f} to {found.high:+.1f}), {found.total / 1e6:+.1f} MB in all",
        limit=f"{KEPT_BYTES:g}, or {NOISE_BYTES / 1e6:g} MB in all",
        good=not found.grows(least=KEPT_BYTES, noise=NOISE_BYTES),
    )


def growing(rests: Sequence[Rest]) -> list[tuple[str, int]]:
    """Types of which there were never fewer than at the rest before, and more in the end; those with most first."""
    late = rests[len(rests) // 2 :]
    if len(late) < 3:
        return []
    least = max(OBJECTS_MIN, OBJECTS_SHARE * (late[-1].requests - late[0].requests))
    found = []
    for name in late[-1].types:
        counts = [rest.types.get(name, 0) for rest in late]
        rises = all(before <= after for before, after in pairwise(counts))
        if rises and counts[-1] - counts[0] > least:
            found.append((name, counts[-1] - counts[0]))
    return sorted(found, key=lambda leak: -leak[1])
