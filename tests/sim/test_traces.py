"""What is read: workloads, rates, incidents and ledgers, and how the errors of a file read."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from random import Random
from statistics import mean

import pytest

from unbroken.failures import FailureKind
from unbroken.sim.incidents import COMPRESSED, QUIET_S, read_incidents, reported_plan
from unbroken.sim.ledger import grouped, read_ledger
from unbroken.sim.rates import Window, arrivals
from unbroken.sim.traces import Lengths, Trace, TraceError, made_up, read_trace
from unbroken.sim.world import Refused, Status

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("UNBROKEN_SHARED", ROOT.parent / "shared")) / "traces"

OWN = "arrival_s,input_tokens,output_tokens,route,caller,stream\n0,100,10,fast,ann,1\n1.5,2000,0,slow,bob,0\n"
MOONCAKE = (
    "arrival_s,input_tokens,output_tokens,prefix_blocks_512,first_8_prefix_block_ids\n"
    "0.0,6758,500,14,0 1 2\n0.5,7322,490,15,0 14 15\n"
)
SERVEGEN = (
    "client,window_start_s,requests_per_s,interarrival_cv,interarrival_family,param1,param2\n"
    "7,0,0,0,,0,0\n7,600,2.0,1.0,Gamma,1.0,0.5\n9,600,1.0,1.0,Weibull,1.0,1.0\n9,1200,0.5,1.0,Exponential,2.0,0\n"
)
INCIDENTS = (
    "incident_id,Incident_Title,incident_impact_level,provider,start_timestamp,close_timestamp\n"
    'a,"Slow, then down",4,openai,2023-01-01 10:00:00+00:00,2023-01-01 11:00:00+00:00\n'
    "b,Errors,2,anthropic,2023-03-01 10:00:00+00:00,2023-03-01 10:30:00+00:00\n"
)
MINUTES = (
    "Date,Service,partial_outage_minutes,major_outage_minutes,provider\n"
    "2021-04-01,api,6,58,openai\n2021-04-02,api,0,0,openai\n"
)
LEDGER = (
    "at,request,route,target,input_tokens,output_tokens,first_content_s,total_s,outcome,cost_usd\n"
    "2026-11-21T08:00:01Z,b,auto,north,10,5,0.2,0.5,answered,0.001\n"
    "2026-11-21T08:00:00Z,a,auto,north,10,0,,0.3,server,0\n"
    "2026-11-21T08:00:00.5Z,a,auto,south,10,7,0.4,0.9,answered,0.002\n"
)


def trace_of(text: str) -> Trace:
    return read_trace(text.splitlines(keepends=True), name="t.csv", chance=Random(1))


# ------------------------------------------------------------- workloads


def test_our_own_columns() -> None:
    """Arrivals and tokens are taken as they stand, an answer of nothing as one token; routes and callers are kept."""
    trace = trace_of(OWN)
    assert (list(trace.arrivals_s), list(trace.inputs), list(trace.outputs)) == ([0.0, 1.5], [100, 2000], [10, 1])
    assert (trace.routes, trace.callers, list(trace.streams)) == (["fast", "slow"], ["ann", "bob"], [1, 0])
    assert trace.span_s == 1.5


def test_columns_that_nobody_knows_are_passed_over() -> None:
    """Mooncake's file has two more columns, and a mark of Windows at its head changes nothing."""
    assert list(trace_of("\ufeff" + MOONCAKE).outputs) == [500, 490]
    assert trace_of(MOONCAKE).routes == []


def test_rates_become_arrivals() -> None:
    """Each client asks as often as its rates say, from the first window in which anybody does."""
    trace = trace_of(SERVEGEN)
    counts = {client: trace.callers.count(client) for client in ("7", "9")}
    assert 1000 < counts["7"] < 1400
    assert 750 < counts["9"] < 1050
    assert list(trace.arrivals_s) == sorted(trace.arrivals_s)
    assert trace.arrivals_s[0] < 10.0
    assert trace.arrivals_s[-1] < 1200.0


@pytest.mark.parametrize(("family", "shape", "scale"), [("Gamma", 0.5, 1.0), ("Weibull", 2.0, 0.5642), ("", 0.0, 0.0)])
def test_families_keep_their_mean(family: str, shape: float, scale: float) -> None:
    """Whatever the family, two requests a second come as two requests a second."""
    window = Window(client="a", start_s=0.0, per_s=2.0, family=family, shape=shape, scale=scale)
    found = list(arrivals([window], Random(3)))
    assert 1080 < len(found) < 1320
    assert all(0.0 <= at < 600.0 for at, _ in found)


def test_made_up_requests() -> None:
    """So many a second, with lengths around their medians."""
    trace = made_up(4000, per_s=10.0, chance=Random(1), lengths=Lengths(input_tokens=100.0, output_tokens=10.0))
    assert 370.0 < trace.span_s < 430.0
    assert 90 <= sorted(trace.inputs)[2000] <= 110
    assert min(trace.outputs) >= 1


def test_a_trace_begins_again() -> None:
    """More requests than a trace has are its own again, a usual gap after its end; fewer are its first."""
    trace = trace_of("arrival_s,input_tokens,output_tokens\n0,1,1\n1,2,2\n2,3,3\n")
    assert list(trace.resized(5).arrivals_s) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert list(trace.resized(5).inputs) == [1, 2, 3, 1, 2]
    assert list(trace.resized(2).arrivals_s) == [0.0, 1.0]
    assert list(trace.faster(2.0).arrivals_s) == [0.0, 0.5, 1.0]
    assert trace.resized(3) is trace


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("arrival_s,input_tokens\n0,1\n", ":1", "has no output_tokens"),
        ("arrival_s,input_tokens,output_tokens\n", ":1", "no request"),
        ("arrival_s,input_tokens,output_tokens\n0,1,1\n1,many,1\n", ":3:2", "input_tokens: expected a number"),
        ("arrival_s,input_tokens,output_tokens\n0,1,1\n1,1\n", ":3:3", "only 2 of 3 columns"),
        ("arrival_s,input_tokens,output_tokens\n5,1,1\n1,1,1\n", ":3:1", "comes after 5"),
        ("arrival_s,input_tokens,output_tokens\n0,1,-4\n", ":2:3", "between 0 and 2e+06, found '-4'"),
        ("arrival_s,input_tokens,output_tokens\nnan,1,4\n", ":2:1", "of at least 0, found 'nan'"),
        ("client,window_start_s\n1,0\n", ":1", "has no requests_per_s"),
        (SERVEGEN.splitlines()[0] + "\n7,0,0,0,,0,0\n", ":1", "no client asks"),
        ("", ":1", "found nothing"),
    ],
)
def test_errors_name_their_place(text: str, place: str, what: str) -> None:
    """Whatever is wrong with a file, its line and column are said, and what was expected there."""
    with pytest.raises(TraceError) as caught:
        trace_of(text)
    assert f"t.csv{place}: " in str(caught.value)
    assert what in str(caught.value)


# ------------------------------------------------------------- outages


def test_incidents() -> None:
    """An incident's level says how bad it was, and its instants how long."""
    first, second = read_incidents(INCIDENTS.splitlines(), name="i.csv")
    assert (first.provider, first.trouble, first.share) == ("openai", Refused(), 1.0)
    assert first.end_s - first.start_s == 3600.0
    assert (second.provider, second.share) == ("anthropic", 0.4)


def test_minutes_of_outage() -> None:
    """Of a day's minutes the major ones come first, then the partial ones, for three requests in ten."""
    major, partial = read_incidents(MINUTES.splitlines(), name="m.csv")
    assert (major.share, round(major.end_s - major.start_s)) == (1.0, 58 * 60)
    assert (partial.share, partial.start_s) == (0.3, major.end_s)
    assert partial.trouble == Status(FailureKind.SERVER, 500)


def test_months_become_minutes() -> None:
    """Quiet months are cut, hours of outage become minutes, and each provider's befall the target of its name."""
    reported = read_incidents(INCIDENTS.splitlines(), name="i.csv")
    plan = reported_plan(reported, {"mine": "local", "claude": "anthropic"}, span_s=1000.0)
    first, second = plan.outages
    assert (first.target, second.target) == ("mine", "claude")
    assert (first.start_s, first.end_s) == pytest.approx((QUIET_S, QUIET_S + 3600.0 / COMPRESSED))
    assert second.start_s == pytest.approx(first.end_s + QUIET_S)
    assert [change.at_s for change in plan.changes] == sorted([o for f in plan.outages for o in (f.start_s, f.end_s)])
    assert len(reported_plan(reported, {"a": "x"}, span_s=200.0).outages) == 1


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("a,b\n1,2\n", "neither incidents nor minutes"),
        (INCIDENTS.replace(",4,", ",9,"), ":2:3: incident_impact_level: expected a number between 0 and 4"),
        (INCIDENTS.replace("2023-03-01 10:30", "2023-02-01 10:30"), ":3:6: close_timestamp: it was over before"),
        (INCIDENTS.replace("2023-01-01 10:00:00+00:00", "once"), "start_timestamp: expected an instant"),
        (MINUTES.replace("2021-04-01", "April"), ":2:1: Date: expected a day"),
    ],
)
def test_errors_of_incidents(text: str, what: str) -> None:
    """A report that makes no sense is refused with its place."""
    with pytest.raises(TraceError) as caught:
        read_incidents(text.splitlines(), name="i.csv")
    assert what in str(caught.value)


# ------------------------------------------------------------- ledgers


def test_a_ledger_is_read_by_request() -> None:
    """Attempts of the same request belong together, in their order; the one that answered counts."""
    rows = read_ledger(LEDGER.splitlines(), name="l.csv")
    first, second = grouped(rows)
    assert ([row.target for row in first.rows], first.answered) == (["north", "south"], True)
    assert (first.total_s, first.first_s, first.cost_usd) == pytest.approx((1.4, 0.9, 0.002))
    assert (second.last.target, second.at - first.at) == ("north", 1.0)
    assert first.rows[0].first_content_s == 0.3


@pytest.mark.parametrize(
    ("text", "what"),
    [
        (LEDGER.replace("server", "gone"), ":3:9: outcome: expected `answered`"),
        (LEDGER.replace("2026-11-21T08:00:01Z", "noon"), ":2:1: at: expected seconds or an instant"),
        (LEDGER.replace("auto,south", "auto,"), ":4:4: target: it is empty"),
        (LEDGER.splitlines()[0] + "\n", ":1: no request"),
    ],
)
def test_errors_of_ledgers(text: str, what: str) -> None:
    """A row that makes no sense is refused with its place."""
    with pytest.raises(TraceError) as caught:
        read_ledger(text.splitlines(), name="l.csv")
    assert what in str(caught.value)


# ------------------------------------------------------------- the published files


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published traces are not here")
@pytest.mark.parametrize(
    ("file", "requests"),
    [("azure_2023_code", 6521), ("azure_2023_conv", 12_340), ("mooncake_conversation_trace", 6848)],
)
def test_published_workloads(file: str, requests: int) -> None:
    """Every request of a published trace is read."""
    with gzip.open(SHARED / f"{file}.csv.gz", "rt", encoding="utf-8") as lines:
        trace = read_trace(lines, name=file, chance=Random(1))
    assert len(trace) == requests
    assert 5 < mean(trace.outputs) < 1000


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published traces are not here")
def test_published_rates_and_outages() -> None:
    """Rates and outages as they were published are read to their ends."""
    with gzip.open(SHARED / "servegen_reason_deepseek-r1_rates.csv.gz", "rt", encoding="utf-8") as lines:
        assert len(read_trace(lines, name="r1", chance=Random(1))) > 10_000
    for file, least in (("status_incidents", 300), ("status_outage_minutes_daily", 100)):
        with gzip.open(SHARED / f"{file}.csv.gz", "rt", encoding="utf-8") as lines:
            assert len(read_incidents(lines, name=file)) > least
