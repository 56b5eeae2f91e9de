"""Workloads: who asked how much and when, read from the traces that people publish and keep.

    Trace          arrivals, tokens in and out, and where they are known the route and the caller
    read_trace     a trace from the lines of a CSV file, whichever of the known kinds it is
    made_up        a trace from nothing: so many requests a second, with lognormal lengths

Known kinds, told apart by their header line:

    arrival_s,input_tokens,output_tokens[,route][,caller][,stream]  our own, Azure 2023, Mooncake
    client,window_start_s,requests_per_s,...,param1,param2          ServeGen: rates, from which arrivals are drawn

Columns may stand in any order, and others beside them are passed over.  Nothing here opens
a file: lines come from whoever can.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite, log
from random import Random

from unbroken.sim.rates import Window, arrivals

__all__ = ["Lengths", "Row", "Trace", "TraceError", "made_up", "read_trace", "rows_of"]

TOKENS_MAX = 2_000_000
"""Of one request; more than any model reads, so a slip in the file."""


class TraceError(ValueError):
    """A line of a file makes no sense; `line` and `column` count from 1, `column` is the CSV field's number."""

    def __init__(self, message: str, *, name: str, line: int, column: int = 0, heading: str = "") -> None:
        place = f"{name}:{line}" + (f":{column}" if column else "")
        super().__init__(f"{place}: {heading + ': ' if heading else ''}{message}")
        self.line, self.column = line, column


@dataclass(slots=True)
class Trace:
    """Requests in the order of their arrival, a column each; times in seconds from the first one's clock.

    `routes`, `callers` and `streams` (1 for whoever wants one) are empty where nobody said.
    """

    name: str
    arrivals_s: array[float] = field(default_factory=lambda: array("d"))
    inputs: array[int] = field(default_factory=lambda: array("l"))
    outputs: array[int] = field(default_factory=lambda: array("l"))
    routes: list[str] = field(default_factory=list)
    callers: list[str] = field(default_factory=list)
    streams: bytearray = field(default_factory=bytearray)

    def __len__(self) -> int:
        return len(self.arrivals_s)

    @property
    def span_s(self) -> float:
        """From the first arrival to the last."""
        return self.arrivals_s[-1] - self.arrivals_s[0] if len(self) else 0.0

    def add(self, arrival_s: float, input_tokens: int, *, output_tokens: int) -> None:
        """One more request, not earlier than the last."""
        self.arrivals_s.append(arrival_s)
        self.inputs.append(input_tokens)
        self.outputs.append(output_tokens)

    def resized(self, requests: int) -> Trace:
        """With exactly so many requests: cut off, or begun again after its end (a usual gap later)."""
        length = len(self)
        if not length or requests == length:
            return self
        rounds, rest = divmod(requests, length)
        turn_s = self.span_s + self.span_s / max(1, length - 1) + (0.0 if self.span_s else 1.0)
        times = array("d")
        for turn in range(rounds + bool(rest)):
            part = self.arrivals_s[:rest] if turn == rounds else self.arrivals_s
            times.extend([at + turn * turn_s for at in part])
        return Trace(
            name=self.name,
            arrivals_s=times,
            inputs=self.inputs * rounds + self.inputs[:rest],
            outputs=self.outputs * rounds + self.outputs[:rest],
            routes=self.routes * rounds + self.routes[:rest],
            callers=self.callers * rounds + self.callers[:rest],
            streams=self.streams * rounds + self.streams[:rest],
        )

    def part(self, start: int, end: int) -> Trace:
        """From one request until before another, on a clock that begins with the first of them."""
        there = slice(start, end)
        times = self.arrivals_s[there]
        began_s = times[0] if times else 0.0
        return Trace(
            name=self.name,
            arrivals_s=array("d", [at - began_s for at in times]),
            inputs=self.inputs[there],
            outputs=self.outputs[there],
            routes=self.routes[there],
            callers=self.callers[there],
            streams=self.streams[there],
        )

    def faster(self, times: float) -> Trace:
        """The same requests, so many times as close to each other."""
        squeezed = array("d", [at / times for at in self.arrivals_s])
        return replace(self, arrivals_s=squeezed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long requests are where a trace does not say: lognormal, by their medians in tokens.

    The defaults are near the medians of the Azure conversation trace.
    """

    input_tokens: float = 1000.0
    input_spread: float = 0.9
    output_tokens: float = 150.0
    output_spread: float = 0.8

    def draw(self, chance: Random) -> tuple[int, int]:
        """Tokens in and out of one request."""
        read = chance.lognormvariate(log(self.input_tokens), self.input_spread)
        written = chance.lognormvariate(log(self.output_tokens), self.output_spread)
        return max(1, round(read)), max(1, round(written))


def made_up(requests: int, *, per_s: float, chance: Random, lengths: Lengths | None = None) -> Trace:
    """Requests that know nothing of each other."""
    trace, now, lengths = Trace("made up"), 0.0, lengths or Lengths()
    for _ in range(requests):
        now += chance.expovariate(per_s)
        read, written = lengths.draw(chance)
        trace.add(now, read, output_tokens=written)
    return trace


# ------------------------------------------------------------- reading


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a CSV file, by the names of its columns."""

    name: str
    line: int
    places: Mapping[str, int]
    values: Sequence[str]

    def text(self, heading: str, default: str = "") -> str:
        """What stands in a column; the default where there is no such column."""
        place = self.places.get(heading)
        return default if place is None or place >= len(self.values) else self.values[place].strip()

    def number(self, heading: str, *, least: float = 0.0, most: float = float("inf"), default: float = 0.0) -> float:
        """The number in a column, which must lie between these; TraceError with the place where it does not.

        The default stands for a column that is not there, and for one that is empty.
        """
        text = self.text(heading)
        if not text and (heading not in self.places or default != 0.0):
            return default
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if isfinite(value) and least <= value <= most:
            return value
        bounds = f"between {least:g} and {most:g}" if isfinite(most) else f"of at least {least:g}"
        raise self.wrong(heading, f"expected a number {bounds}, found {text[:40]!r}")

    def wrong(self, heading: str, message: str) -> TraceError:
        """An error with the place of this column."""
        column = self.places.get(heading, -1) + 1
        return TraceError(message, name=self.name, line=self.line, column=column, heading=heading)


def rows_of(lines: Iterable[str], *, name: str, needed: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file with a header line; TraceError where a needed column is missing or a row is short."""
    reader = csv.reader(lines)
    header = [heading.strip().removeprefix("\ufeff") for heading in next(reader, [])]
    places = {heading: place for place, heading in enumerate(header)}
    missing = [heading for heading in needed if heading not in places]
    if missing:
        found = ", ".join(header) or "nothing"
        raise TraceError(f"the header has no {', '.join(missing)}; found {found}", name=name, line=1)
    width = max((places[heading] for heading in needed), default=0)
    try:
        for values in reader:
            if not values:
                continue
            if len(values) <= width:
                message = f"only {len(values)} of {len(header)} columns"
                raise TraceError(message, name=name, line=reader.line_num, column=len(values) + 1)
            yield Row(name, reader.line_num, places, values)
    except csv.Error as error:
        raise TraceError(str(error), name=name, line=reader.line_num) from None


OWN = ("arrival_s", "input_tokens", "output_tokens")
SERVEGEN = ("client", "window_start_s", "requests_per_s", "interarrival_family", "param1", "param2")


def read_trace(lines: Iterable[str], *, name: str, chance: Random, lengths: Lengths | None = None) -> Trace:
    """A trace of any known kind; TraceError where it is none, or a line is wrong.

    `chance` and `lengths` are for kinds that say rates only.
    """
    lines = iter(lines)
    header = next(lines, "")
    columns = {heading.strip().removeprefix("\ufeff") for heading in header.split(",")}

    def everything() -> Iterator[str]:
        yield header
        yield from lines

    if columns >= {"client", "window_start_s"}:
        rows = rows_of(everything(), name=name, needed=SERVEGEN)
        return _from_rates(rows, name=name, chance=chance, lengths=lengths or Lengths())
    trace = _own(rows_of(everything(), name=name, needed=OWN), name)
    if not len(trace):
        raise TraceError("no request in it", name=name, line=1)
    return trace


def _own(rows: Iterable[Row], name: str) -> Trace:
    trace, before_s = Trace(name), 0.0
    for row in rows:
        arrival_s = row.number("arrival_s")
        if arrival_s < before_s:
            raise row.wrong("arrival_s", f"{arrival_s:g} comes after {before_s:g}: sort the file by time")
        before_s = arrival_s
        read = int(row.number("input_tokens", most=TOKENS_MAX))
        trace.add(arrival_s, read, output_tokens=max(1, int(row.number("output_tokens", most=TOKENS_MAX))))
        if "route" in row.places:
            trace.routes.append(row.text("route"))
        if "caller" in row.places:
            trace.callers.append(row.text("caller"))
        if "stream" in row.places:
            trace.streams.append(row.number("stream", most=1.0) > 0)
    return trace


def _from_rates(rows: Iterable[Row], *, name: str, chance: Random, lengths: Lengths) -> Trace:
    windows = [
        Window(
            client=row.text("client"),
            start_s=row.number("window_start_s"),
            per_s=row.number("requests_per_s"),
            family=row.text("interarrival_family"),
            shape=row.number("param1"),
            scale=row.number("param2"),
        )
        for row in rows
    ]
    trace = Trace(name)
    for arrival_s, client in arrivals(windows, chance):
        read, written = lengths.draw(chance)
        trace.add(arrival_s, read, output_tokens=written)
        trace.callers.append(client)
    if not len(trace):
        raise TraceError("no client asks anything", name=name, line=1)
    return trace
