"""Prometheus' text format: families of samples as the lines that it scrapes.

Written here and not by a library: what takes time is counting, not writing, and our counters
are plain dictionaries that cost a fifth of the library's (docs/observability.md has the numbers).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from unbroken.records import Record

__all__ = ["CONTENT_TYPE", "Buckets", "Family", "Sample", "counter", "exposition", "gauge", "histogram"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_HELP_ESCAPES = str.maketrans({"\\": r"\\", "\n": r"\n"})

Labels = tuple[str, ...]
"""The values of a family's labels, in their order."""


class Sample(Record):
    """One number: what is added to the family's name, the names and values of labels, the number."""

    suffix: str
    labels: tuple[tuple[str, str], ...]
    value: float


class Family(Record):
    """What is counted or measured under one name."""

    name: str
    kind: str
    about: str
    samples: Sequence[Sample]


class Buckets:
    """A histogram: how many values were at most each bound, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    def merge(self, other: Buckets) -> None:
        """Count what another one counted, which has the same bounds."""
        self.counts = [one + more for one, more in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


def counter(name: str, about: str, *, names: Labels, values: Iterable[tuple[Labels, float]]) -> Family:
    """What only ever grows; the name ends in `_total`."""
    return Family(name, "counter", about, [Sample("", _named(names, labels), value) for labels, value in values])


def gauge(name: str, about: str, *, names: Labels, values: Iterable[tuple[Labels, float]]) -> Family:
    """What goes up and down."""
    return Family(name, "gauge", about, [Sample("", _named(names, labels), value) for labels, value in values])


def histogram(name: str, about: str, *, names: Labels, values: Iterable[tuple[Labels, Buckets]]) -> Family:
    """How values are spread."""
    samples = [sample for labels, buckets in values for sample in _spread(_named(names, labels), buckets)]
    return Family(name, "histogram", about, samples)


def exposition(families: Iterable[Family]) -> str:
    """The text that is scraped; a family without samples is left out."""
    return "".join(line for family in families if family.samples for line in _lines(family))


def _named(names: Labels, labels: Labels) -> tuple[tuple[str, str], ...]:
    return tuple(zip(names, labels, strict=True))


def _spread(labels: tuple[tuple[str, str], ...], buckets: Buckets) -> Iterator[Sample]:
    seen = 0
    for bound, count in zip((*map(_number, buckets.bounds), "+Inf"), buckets.counts, strict=True):
        seen += count
        yield Sample("_bucket", (*labels, ("le", bound)), seen)
    yield Sample("_sum", labels, buckets.total)
    yield Sample("_count", labels, seen)


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.about.translate(_HELP_ESCAPES)}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    for sample in family.samples:
        labels = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in sample.labels)
        told = f"{{{labels}}}" if labels else ""
        yield f"{family.name}{sample.suffix}{told} {_number(sample.value)}\n"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))
