"""The pure parts of what measures us: figures, trends, what is a leak, and which limits are broken."""

from __future__ import annotations

import argparse
from array import array
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from benchmarks.bench import body_rows, least, memory_row, overhead_rows, pair, stream_rows
from benchmarks.bench_memory import Flat
from benchmarks.bench_trend import Trend, trend
from benchmarks.bodies import BODIES, MEGABYTE, Cost
from benchmarks.soak_checks import Rest, Sample, Seen, checks, growing
from benchmarks.stage import Wrk
from benchmarks.streams import Delays, Reader, quantile

WRK = """Running 2s test @ http://127.0.0.1:1/
  Latency Distribution
     50%  {median}
     99%   61.93ms
  {requests} requests in 2.00s, 1.32MB read
{errors}Requests/sec:   4000.01
"""
DELAYS = Delays(
    streams=5000, events=50_000, wrong=0, p50_ms=0.1, p99_ms=1.0, max_ms=9.0, event_cpu_us=20.0, stream_kb=17.0
)
REST = Rest(at_s=0.0, requests=0, rss_kb=90_000, files=17, threads=4, tasks=3, blocks=400_000, types={"a.Kept": 5})


def steps(slope: float, *, count: int = 400, seed: int = 1) -> list[tuple[float, float]]:
    """Memory as it is: in steps that stay for a while, over requests."""
    draw, noise, found = Random(seed), 0.0, []
    for number in range(count):
        noise = 0.9 * noise + draw.gauss(0, 20_000)
        found.append((number * 100.0, 90e6 + slope * number * 100.0 + noise))
    return found


# ------------------------------------------------------------------------------ trends


def test_a_trend_is_that_of_the_second_half() -> None:
    """What fills at the beginning and then stays is no growth."""
    filled = [(float(x), min(x, 400) * 1000.0) for x in range(1000)]
    assert trend(filled).slope == pytest.approx(0.0)
    assert trend([(x, y + 3.0 * x) for x, y in filled]).slope == pytest.approx(3.0)


@pytest.mark.parametrize("slope", [0.0, 64.0])
def test_the_interval_knows_that_memory_depends_on_what_it_was(slope: float) -> None:
    """Over many courses the interval holds the true slope nearly as often as it says."""
    found = [trend(steps(slope, seed=seed)) for seed in range(200)]
    assert sum(each.low <= slope <= each.high for each in found) >= 165


def test_noise_is_not_called_growth_and_growth_is() -> None:
    """A level course does not grow; one that keeps 200 bytes of each request does."""
    assert not any(trend(steps(0.0, seed=seed)).grows(least=8.0, noise=2e6) for seed in range(50))
    assert all(trend(steps(200.0, seed=seed)).grows(least=8.0, noise=2e6) for seed in range(50))


def test_too_little_is_no_trend() -> None:
    """A few points, or points in one place, say nothing."""
    for points in ([], [(1.0, 2.0)] * 10, [(1.0, 2.0)] * 100):
        with pytest.raises(ValueError, match="trend"):
            trend(points)


# ----------------------------------------------------------------------------- readings


@pytest.mark.parametrize(("median", "ms"), [("412.00us", 0.412), ("1.50ms", 1.5), ("2.00s", 2000.0)])
def test_what_wrk_prints_is_read(median: str, ms: float) -> None:
    """Requests, failures of both kinds, and the median in whichever unit it is told."""
    good = Wrk.read(WRK.format(median=median, requests=8000, errors=""))
    assert (good.requests, good.bad) == (8000, 0)
    assert good.p50_ms == pytest.approx(ms)
    errors = "  Socket errors: connect 0, read 2, write 0, timeout 1\n  Non-2xx or 3xx responses: 40\n"
    assert Wrk.read(WRK.format(median=median, requests=8000, errors=errors)).bad == 43
    with pytest.raises(ValueError, match="not what wrk prints"):
        Wrk.read("unable to connect")


def test_a_quantile_is_one_of_the_values() -> None:
    """The smallest that the share does not exceed; nothing has none."""
    values = [float(number) for number in range(1, 101)]
    assert [quantile(values, share) for share in (0.0, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    with pytest.raises(ValueError, match="nothing"):
        quantile([], 0.5)


def test_a_reader_counts_events_that_are_lost_or_come_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the bytes are cut, each event is seen once, and one out of its turn is told."""
    monkeypatch.setattr(Reader, "noted", True)
    stream = b"".join(b'data: {"content":" @%d,%d@"}\r\n\n' % (number, 1) for number in range(9))
    for cut in range(1, len(stream), 7):
        delays = array("d")
        reader = Reader(delays)
        reader.data_received(stream[:cut])
        reader.data_received(stream[cut:])
        assert (reader.number, reader.wrong, len(delays)) == (9, 0, 9)
    reader.data_received(b'data: " @11,1@"\n\n')
    assert reader.wrong == 1


@pytest.mark.parametrize("name", BODIES)
def test_a_body_is_as_large_as_it_is_called(name: str) -> None:
    """A megabyte is one, within a few per cent."""
    assert len(BODIES[name](MEGABYTE)) == pytest.approx(MEGABYTE, rel=0.03)


# -------------------------------------------------------------------------------- leaks


def rests(*counts: int, requests: int = 1000) -> list[Rest]:
    return [
        replace(REST, requests=number * requests, types={"a.Kept": count, "a.Other": 7})
        for number, count in enumerate(counts)
    ]


@pytest.mark.parametrize(
    ("counts", "leaks"),
    [
        ((0, 0, 0, 10, 30, 60), [("a.Kept", 50)]),
        ((0, 0, 0, 10, 9, 60), []),  # it comes and goes
        ((0, 500, 900, 1000, 1000, 1000), []),  # it was filled and is full
        ((0, 0, 0, 1, 2, 3), []),  # too few to be one for each of anything
    ],
)
def test_what_grows_at_every_rest_leaks(counts: tuple[int, ...], leaks: list[tuple[str, int]]) -> None:
    """A type is told that grows at each rest of the second half, and by more than chance."""
    assert growing(rests(*counts)) == leaks


def seen(**more: Any) -> Seen:
    samples = [Sample(at_s=x / 100, requests=int(x), rss_kb=int(y / 1024), files=60) for x, y in steps(0.0)]
    return Seen(samples=samples, rests=rests(0, 5, 5, 5, 5, 5), done={"chat": 9000}, **more)


def broken(found: Seen) -> list[str]:
    return [check.what for check in checks(found) if not check.good]


def test_a_good_soak_is_good() -> None:
    """Level memory, files, threads, tasks and types, and no wrong answer: nothing is broken."""
    assert broken(seen()) == []


def test_each_check_of_a_soak_can_break() -> None:
    """A wrong answer, growing memory, and each of files, threads and tasks are told by name."""
    assert broken(seen(errors=1)) == ["answers that were wrong"]
    fat = seen()
    fat.samples = [replace(sample, rss_kb=sample.rss_kb + sample.requests) for sample in fat.samples]
    assert broken(fat) == ["memory, bytes a request"]
    last = fat.rests[-1]
    for name, more in {
        "files": replace(last, files=40),
        "threads": replace(last, threads=40),
        "tasks": replace(last, tasks=40),
    }.items():
        leaking = seen()
        leaking.rests[-1] = more
        assert broken(leaking) == [f"{name} at rest"]


# ------------------------------------------------------------------------------- limits


def test_a_limit_in_milliseconds_is_judged_only_where_nginx_keeps_it() -> None:
    """Where nginx is late too the machine is busy; where only we are, it is our fault."""
    late, good = replace(DELAYS, p99_ms=50.0), {"direct": DELAYS, "nginx": DELAYS, "gateway": DELAYS}
    assert [row.good for row in stream_rows([good])] == [True, True, True]
    assert [row.good for row in stream_rows([{**good, "gateway": late}])] == [True, False, True]
    assert [row.good for row in stream_rows([{**good, "gateway": late, "nginx": late}])] == [True, None, True]
    assert [row.good for row in stream_rows([{**good, "gateway": late}, good])] == [True, True, True]
    assert [row.good for row in stream_rows([{**good, "gateway": replace(DELAYS, wrong=1)}])] == [False, True, True]


def test_ratios_are_of_the_least_of_all_runs() -> None:
    """Each figure is the least that was seen, ours and nginx's, and the limits are for the run with all accounts."""

    def run(request: float, event: float) -> dict[str, dict[str, float]]:
        ours = {"request_cpu_us": request, "chunk_cpu_us": event, "stream_kb": 20.0, "rss_mb": 80.0, "ready_s": 0.5}
        return {"nginx": {"request_cpu_us": request / 4, "chunk_cpu_us": event / 4}, "gateway": ours}

    runs = {"as installed": [run(60.0, 30.0)], "with ledger, metrics and tracing": [run(90.0, 33.0), run(70.0, 40.0)]}
    assert least(runs["with ledger, metrics and tracing"], "gateway")["request_cpu_us"] == 70.0
    rows = {row.what: row for row in overhead_rows(runs)}
    assert rows["as installed: a request"].good is None
    assert rows["with ledger, metrics and tracing: a request"].found == "70.0 us of CPU, 4.67x nginx"
    assert rows["with ledger, metrics and tracing: a request"].good is True
    assert rows["with ledger, metrics and tracing: an event"].good is False


def test_bodies_and_memory_are_judged() -> None:
    """Three times nginx is too much for a body, and so is memory that grows with requests."""
    costs = {"nginx": Cost(time_ms=1.0, cpu_ms=1.0), "gateway": Cost(time_ms=3.1, cpu_ms=1.0)}
    assert [row.good for row in body_rows({"picture": costs, "talk": {**costs, "gateway": costs["nginx"]}})] == [
        False,
        True,
    ]
    level = Trend(slope=0.0, low=-1.0, high=1.0, over=5e5)
    flat = Flat(requests=10**6, trend=level, before_mb=80.0, after_mb=80.0)
    assert memory_row(flat).good is True
    assert memory_row(replace(flat, trend=replace(level, low=20.0))).good is False


def test_peers_are_named() -> None:
    """`name=command`, whose command may hold more of these signs; anything else is refused."""
    assert pair("lite=KEY=1 exec x --port={port}") == ("lite", "KEY=1 exec x --port={port}")
    for text in ("", "lite", "lite=", "=exec x"):
        with pytest.raises(argparse.ArgumentTypeError):
            pair(text)
