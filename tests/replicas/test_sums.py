"""What several workers have counted, as one."""

from __future__ import annotations

from typing import Any

import msgspec

from unbroken.replicas.sums import METRICS, STATISTICS, STATUS, families_of, settled, statistics_of, summed, words_of
from unbroken.sinks.exposition import Buckets, Family, counter, exposition, gauge, histogram


def worker(requests: int, *, lag_s: float = 0.1, began: float = 5.0, seconds: float = 0.3) -> list[Family]:
    """What a worker has to tell."""
    buckets = Buckets((0.1, 1.0))
    buckets.add(seconds)
    return [
        counter("unbroken_requests_total", "Requests.", names=("route",), values=[(("m",), requests)]),
        histogram("unbroken_request_duration_seconds", "Time.", names=(), values=[((), buckets)]),
        gauge("unbroken_queue_waiting", "Waiting.", names=(), values=[((), requests)]),
        gauge("unbroken_event_loop_lag_seconds", "Lag.", names=(), values=[((), lag_s)]),
        gauge("process_start_time_seconds", "Began.", names=(), values=[((), began)]),
        gauge("unbroken_target_available", "Available.", names=("target",), values=[(("a",), 1.0)]),
    ]


def numbers(families: list[Family]) -> dict[str, float]:
    """Every line that is scraped."""
    lines = [line.rpartition(" ") for line in exposition(families).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def test_counts_add_up_and_other_numbers_as_each_means() -> None:
    """Requests are a sum, the lag the worst, the beginning the first; how a target is all know alike."""
    others = [families_of(words_of(worker(3, lag_s=0.5, began=2.0, seconds=3.0)))]
    told = numbers(summed(worker(2), others))
    assert told['unbroken_requests_total{route="m"}'] == told["unbroken_queue_waiting"] == 5.0
    assert told["unbroken_event_loop_lag_seconds"] == 0.5 and told["process_start_time_seconds"] == 2.0
    assert told['unbroken_request_duration_seconds_bucket{le="1"}'] == 1.0
    assert told["unbroken_request_duration_seconds_count"] == 2.0
    assert told['unbroken_target_available{target="a"}'] == 1.0


def test_what_only_others_have_is_told_too() -> None:
    """A route that this worker was never asked for."""
    other = counter("unbroken_shed_total", "Shed.", names=("route",), values=[(("n",), 4.0)])
    assert numbers(summed(worker(1), [[other]]))['unbroken_shed_total{route="n"}'] == 4.0


def test_of_workers_that_are_gone_counts_are_left() -> None:
    """However many there were; what was under way is not any more."""
    left = settled(METRICS, [words_of(worker(3)), words_of(worker(4))])
    told = numbers(summed(worker(0), [families_of(settled(METRICS, [left, words_of(worker(5))]))]))
    assert told['unbroken_requests_total{route="m"}'] == 12.0 and told["unbroken_queue_waiting"] == 0.0
    assert settled(STATUS, [b"{}"]) == b""
    assert families_of(b"of another version") == []


def told(requests: int, *, failed: int, average_s: float | None, reset_at: float = 0.0) -> dict[str, Any]:
    """Statistics of a worker."""
    account = {
        "requests": requests, "answered": requests - failed, "failed": failed, "abandoned": 0, "success_rate": None,
        "average_s": average_s, "input_tokens": 10 * requests, "output_tokens": 0, "cost_usd": 0.5,
        "failures": {"server": failed}, "last_failure": None if not failed else "server",
    }  # fmt: skip
    return {
        "since": 100.0, "reset_at": reset_at, "requests": requests, "providers": {"p": account}, "targets": {},
    }  # fmt: skip


def test_statistics_are_those_of_all() -> None:
    """Sums, and shares and averages over all of them."""
    words = settled(STATISTICS, [msgspec.json.encode(told(6, failed=2, average_s=2.0)), b""])
    merged = statistics_of([told(2, failed=0, average_s=0.5), msgspec.json.decode(words)])
    account = merged["providers"]["p"]
    assert merged["requests"] == 8 and merged["since"] == 100.0
    assert account["success_rate"] == 0.75 and account["average_s"] == (2 * 0.5 + 4 * 2.0) / 6
    assert account["failures"] == {"server": 2} and account["last_failure"] == "server"
    assert account["input_tokens"] == 80 and account["cost_usd"] == 1.0
    assert settled(STATISTICS, [b""]) == b"", "of a worker that had not begun to count"


def test_what_was_counted_before_a_reset_counts_no_more() -> None:
    """Also where whoever had counted it is gone and could not be told."""
    merged = statistics_of([told(1, failed=1, average_s=None, reset_at=500.0), told(9, failed=0, average_s=1.0)])
    assert merged["requests"] == 1 and merged["providers"]["p"]["average_s"] is None
