"""What an OpenTelemetry collector receives: valid spans and histograms by the conventions for generative AI."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp
import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes, http_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, server_attributes, service_attributes
from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
from opentelemetry.trace.status import Status as SpanStatus
from opentelemetry.trace.status import StatusCode

from faces.running import Running
from sinks.collector import Collector, collecting, said
from sinks.mixed import STREAM, ask, gateway, scraped, total, traffic
from unbroken.sinks import otlp
from unbroken.sinks.trace_context import Parent, Place, Sampler, parent_of
from unbroken.sinks.traces import Traces
from unbroken.telemetry import Exporting
from unbroken.testing import Cut, FakeProvider, Hang, Status

CONVENTIONS = (gen_ai_attributes, server_attributes, error_attributes, service_attributes, http_attributes)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"

Doing = Callable[[Running, list[FakeProvider]], Awaitable[Any]]


def traced(
    doing: Doing, *, environ: Mapping[str, str] | None = None, status: int = 200, **more: Any
) -> tuple[Collector, Any]:
    """What a collector has when a gateway over two providers did something, and was stopped."""

    async def go() -> tuple[Collector, Any]:
        providers = [FakeProvider("north"), FakeProvider("south")]
        async with collecting() as collector:
            collector.status = status
            said = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, **(environ or {})}
            async with gateway(providers, environ=said, more=more) as found:
                result = await doing(found, providers)
            return collector, result

    return asyncio.run(go())


def asking(*, headers: Mapping[str, str] | None = None, trouble: Any = None, **body: Any) -> Doing:
    """One request; answers with what the providers saw."""

    async def go(found: Running, providers: list[FakeProvider]) -> list[dict[str, str]]:
        if trouble is not None:
            providers[0].fail_with(trouble)
        async with aiohttp.ClientSession(headers=headers) as session:
            await ask(session, found.url, **body)
        return [seen.headers for fake in providers for seen in fake.seen]

    return go


def known_names() -> set[str]:
    return {value for module in CONVENTIONS for name, value in vars(module).items() if name.isupper()}


def test_a_span_for_each_attempt_under_one_for_the_request() -> None:
    """A stream that breaks and is finished by another: who was asked, why, what came of it, in one trace."""
    collector, _ = traced(asking(trouble=Cut(after_tokens=5), **STREAM))
    root, first, second = collector.spans
    told, broke, went_on = (said(span.attributes) for span in collector.spans)

    assert {span.trace_id for span in collector.spans} == {root.trace_id}
    assert [root.parent_span_id, first.parent_span_id, second.parent_span_id] == [b"", root.span_id, root.span_id]
    assert len({span.span_id for span in collector.spans}) == 3
    assert [root.kind, first.kind, second.kind] == [Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_CLIENT]
    assert [root.name, first.name, second.name] == ["chat m", "chat word-model", "chat word-model"]
    assert root.start_time_unix_nano <= first.start_time_unix_nano <= first.end_time_unix_nano
    assert first.end_time_unix_nano <= second.end_time_unix_nano <= root.end_time_unix_nano
    assert told["unbroken.rescued"] is told["unbroken.failover"] is True and told["unbroken.attempts"] == 2
    assert told["unbroken.request_id"].startswith("req_")
    assert broke["error.type"] == "truncated" or broke["error.type"] == "broken"
    assert first.status.code == 2 and first.status.message and root.status.code == 0
    assert broke["unbroken.attempt.why"] == "first" and went_on["unbroken.attempt.why"] == "continuation"
    assert went_on["gen_ai.operation.name"] == "chat" and went_on["gen_ai.provider.name"] == "south"
    assert went_on["gen_ai.request.model"] == "word-model" and went_on["gen_ai.request.stream"] is True
    assert went_on["server.address"] == "127.0.0.1" and went_on["server.port"] > 1000
    assert went_on["gen_ai.response.finish_reasons"] == ("stop",)
    assert went_on["gen_ai.usage.output_tokens"] > 0 < went_on["gen_ai.usage.input_tokens"]
    assert went_on["unbroken.cost_usd"] > 0


def test_every_name_is_one_of_the_conventions() -> None:
    """Attributes and histograms are named as the installed conventions have it, or are ours and say so."""

    async def doing(found: Running, providers: list[FakeProvider]) -> None:
        await traffic(found.url, providers, requests=60)

    collector, _ = traced(doing)
    names = {name for span in collector.spans for name in said(span.attributes)}
    resource = said(collector.traces[0].resource_spans[0].resource.attributes)
    metrics = [m for r in collector.metrics[-1].resource_metrics for s in r.scope_metrics for m in s.metrics]
    on_metrics = {name for m in metrics for point in m.histogram.data_points for name in said(point.attributes)}

    assert {name for name in names | on_metrics | set(resource) if not name.startswith("unbroken.")} <= known_names()
    assert resource == {"service.name": "unbroken"}
    assert {metric.name for metric in metrics} == {
        gen_ai_metrics.GEN_AI_CLIENT_OPERATION_DURATION,
        gen_ai_metrics.GEN_AI_CLIENT_TOKEN_USAGE,
        gen_ai_metrics.GEN_AI_SERVER_TIME_TO_FIRST_TOKEN,
    }
    assert {metric.unit for metric in metrics} == {"s", "{token}"}


def test_spans_and_histograms_say_what_prometheus_is_told() -> None:
    """A span for each request and each attempt, and counts that add up to the same."""

    async def doing(found: Running, providers: list[FakeProvider]) -> str:
        await traffic(found.url, providers, requests=100)
        return (await scraped(found.url))[1]

    collector, page = traced(doing)
    kinds = [span.kind for span in collector.spans]
    metrics = {m.name: m for r in collector.metrics[-1].resource_metrics for s in r.scope_metrics for m in s.metrics}
    durations = metrics["gen_ai.client.operation.duration"].histogram.data_points
    tokens = metrics["gen_ai.client.token.usage"].histogram.data_points

    assert kinds.count(Span.SPAN_KIND_SERVER) == total(page, "unbroken_requests_total") == 100
    assert kinds.count(Span.SPAN_KIND_CLIENT) == total(page, "unbroken_attempts_total")
    assert sum(point.count for point in durations) == total(page, "unbroken_attempts_total")
    assert sum(point.sum for point in tokens) == total(page, "unbroken_tokens_total")
    assert all(len(point.bucket_counts) == len(point.explicit_bounds) + 1 for point in [*durations, *tokens])
    assert {said(point.attributes).get("error.type") for point in durations} > {None}


def test_a_callers_trace_goes_through_us() -> None:
    """The request is part of its caller's trace, and the provider is told the attempt as its parent."""
    headers = {"traceparent": PARENT, "tracestate": "vendor=1"}
    collector, seen = traced(asking(headers=headers))
    root, attempt = collector.spans

    assert root.trace_id.hex() == TRACE and root.parent_span_id.hex() == "00f067aa0ba902b7"
    assert seen[0]["traceparent"] == f"00-{TRACE}-{attempt.span_id.hex()}-01"
    assert seen[0]["tracestate"] == root.trace_state == "vendor=1"
    assert root.flags & 0x300 == 0x300 and attempt.flags & 0x300 == 0x100


def test_providers_need_not_be_told() -> None:
    """`propagate: false` sends no header, and a gateway without a collector never does."""
    _, seen = traced(asking(headers={"traceparent": PARENT}), tracing={"propagate": False})
    _, off = traced(asking(headers={"traceparent": PARENT}), environ={"OTEL_SDK_DISABLED": "true"})

    assert "traceparent" not in seen[0] and "traceparent" not in off[0]


@pytest.mark.parametrize(
    ("environ", "flags", "kept"),
    [
        ({}, "00", False),
        ({}, "01", True),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, "00", True),
        ({"OTEL_TRACES_SAMPLER": "always_off"}, "01", False),
        ({"OTEL_TRACES_SAMPLER": "parentbased_always_off"}, "01", True),
        ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, "01", False),
        ({"OTEL_TRACES_EXPORTER": "none"}, "01", False),
    ],
)
def test_sampling_is_respected(environ: dict[str, str], flags: str, kept: bool) -> None:
    """The caller's decision counts, where the sampler asks for it, and is passed on."""
    header = f"{PARENT[:-2]}{flags}"
    collector, seen = traced(asking(headers={"traceparent": header}), environ=environ)

    assert bool(collector.spans) == kept
    if "OTEL_TRACES_EXPORTER" not in environ:
        assert seen[0]["traceparent"].endswith("-01" if kept else "-00")


def test_a_share_of_traces_is_a_share() -> None:
    """The ratio sampler keeps about as many as it is told, and the same ones everywhere."""
    sampler = Sampler("parentbased_traceidratio", 0.25)
    kept = [sampler.keeps(Place(f"req_{number}", None)) for number in range(4000)]

    assert 0.22 < sum(kept) / 4000 < 0.28
    assert kept == [sampler.keeps(Place(f"req_{number}", None)) for number in range(4000)]


@pytest.mark.parametrize(
    "header",
    [
        "", "nonsense", PARENT + "-more", f"ff-{TRACE}-00f067aa0ba902b7-01", f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01", PARENT.upper(),
    ],
)  # fmt: skip
def test_a_broken_traceparent_is_no_parent(header: str) -> None:
    """What W3C calls invalid begins a trace of its own."""
    assert parent_of({"traceparent": header}) is None


def test_a_future_version_and_a_wild_state() -> None:
    """Later versions may say more; a tracestate that is too long or no text is not passed on."""
    later = parent_of({"traceparent": f"01-{TRACE}-00f067aa0ba902b7-01-more", "tracestate": "x" * 600})

    assert later == Parent(bytes.fromhex(TRACE), bytes.fromhex("00f067aa0ba902b7"), True, "")
    assert parent_of({"traceparent": PARENT, "tracestate": "a\x00b"}) == Parent(later.trace, later.id, True, "")


@pytest.mark.parametrize("status", [0, 400, 404])
def test_a_broken_collector_costs_spans_and_nothing_else(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Requests go on, what is lost is counted, and the log says it once."""

    async def doing(found: Running, _: Any) -> tuple[int, Traces | None]:
        async with aiohttp.ClientSession() as session:
            answers = [await ask(session, found.url) for _ in range(3)]
        return [status for status, _ in answers].count(200), found.gateway.engine.bus.find(Traces)

    collector, (answered, traces) = traced(doing, status=status)

    assert answered == 3 and not collector.spans and traces is not None
    assert traces.dropped == 6 and traces.sent == 0
    if status:
        assert sum("telemetry was not taken" in line for line in caplog.messages) == 2  # spans and histograms


def test_nobody_at_the_endpoint_is_no_trouble() -> None:
    """A collector that is not there fails no request and holds up no stop for long."""
    _, seen = traced(asking(), environ={"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"})

    assert len(seen) == 1


def test_batches_are_sent_while_traffic_goes_on() -> None:
    """A full batch does not wait for its time, nor for the end of the process."""

    async def doing(found: Running, providers: list[FakeProvider]) -> int:
        await traffic(found.url, providers, requests=40)
        found.gateway.engine.bus.flush()
        traces = found.gateway.engine.bus.find(Traces)
        assert traces is not None
        while not traces.sent:
            await asyncio.sleep(0.01)
        return traces.sent

    collector, early = traced(doing, environ={"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "8"})

    assert 0 < early <= len(collector.spans) and len(collector.traces) > 5


def test_headers_service_and_compression_are_as_said() -> None:
    """The collector gets its key and our name, and a body that is packed."""
    environ = {
        "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=abc%20def", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_SERVICE_NAME": "gate", "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=shop,service.name=not-this",
    }  # fmt: skip
    collector, _ = traced(asking(), environ=environ)

    assert collector.heads[0]["x-collector-key"] == "abc def" and collector.heads[0]["content-encoding"] == "gzip"
    resource = said(collector.traces[0].resource_spans[0].resource.attributes)
    assert resource == {"service.namespace": "shop", "service.name": "gate"}


def test_our_bytes_are_those_of_the_official_encoder() -> None:
    """The same span, written by hand and by OpenTelemetry's SDK, is the same message."""
    values: dict[str, Any] = {
        "a": "text",
        "b": 7,
        "c": 1.5,
        "d": True,
        "e": ("x", "y"),
        "f": 2**40,
        "g": "ü" * 100,
        "h": False,
    }
    mine = Span.FromString(
        _body(
            otlp.span(
                otlp.identity(b"\x01" * 16, b"\x02" * 8, parent=b"\x03" * 8),
                otlp.title("chat m", otlp.CLIENT) + otlp.attributes(values),
                when_ns=(10**18, 10**18 + 5),
                error="it broke",
            )
        )
    )
    context = SpanContext(int("01" * 16, 16), int("02" * 8, 16), False, TraceFlags(1))
    parent = SpanContext(int("01" * 16, 16), int("03" * 8, 16), False, TraceFlags(1))
    official = encode_spans(
        [
            ReadableSpan(
                name="chat m", context=context, parent=parent, attributes=values, kind=SpanKind.CLIENT,
                start_time=10**18, end_time=10**18 + 5, status=SpanStatus(StatusCode.ERROR, "it broke"),
                resource=Resource.create({}), instrumentation_scope=InstrumentationScope("unbroken"),
            )
        ]
    )  # fmt: skip

    theirs = official.resource_spans[0].scope_spans[0].spans[0]

    assert mine.flags & 0x300 == theirs.flags & 0x300
    theirs.flags = mine.flags  # ours say that the trace is sampled, theirs leave that open
    assert mine == theirs


def _body(field: bytes) -> bytes:
    """A span without the tag and the length that it has inside a message."""
    at = 1
    while field[at] & 0x80:
        at += 1
    return field[at + 1 :]


def test_an_abandoned_attempt_is_a_span_too() -> None:
    """A hedge that wins leaves the slow one behind: hung up on, not failed."""

    async def doing(found: Running, providers: list[FakeProvider]) -> None:
        providers[0].fail_with(Hang())
        async with aiohttp.ClientSession() as session:
            await ask(session, found.url, **STREAM)

    collector, _ = traced(doing, defaults={"hedging": {"after_s": 0.05}})
    ends = [said(span.attributes) for span in collector.spans if span.kind == Span.SPAN_KIND_CLIENT]

    assert [end["unbroken.attempt.why"] for end in ends if end.get("unbroken.attempt.outrun")] == ["first"]
    assert [end["unbroken.attempt.why"] for end in ends if "gen_ai.response.finish_reasons" in end] == ["hedge"]


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4317"}, "begins with http"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://u:secret@h"}, "no user"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_TRACES_SAMPLER": "jaeger_remote"}, "OTEL_TRACES_SAMPLER"),
        ({"OTEL_TRACES_SAMPLER_ARG": "2"}, "OTEL_TRACES_SAMPLER_ARG"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": "planted-secret"}, "name=value"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "-1"}, "milliseconds"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "ca.pem"}, "SSL_CERT_FILE"),
    ],
)
def test_what_cannot_be_understood_is_warned_of(environ: dict[str, str], words: str) -> None:
    """No service fails to start for want of a trace; the warning names the variable and shows no secret."""
    found = Exporting.of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", **environ})

    assert len(found.warnings) == 1 and words in found.warnings[0] and "secret" not in found.warnings[0]


def test_each_signal_may_go_elsewhere() -> None:
    """An endpoint of one signal is taken as it is, the common one gets the signal's path."""
    found = Exporting.of(
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318/base/",
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/in",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "k=v",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "2500",
        }
    )

    assert found.traces is not None and found.metrics is not None
    assert (found.traces.url, found.traces.headers) == ("https://t/in", {"k": "v"})
    assert (found.metrics.url, found.metrics.timeout_s) == ("http://h:4318/base/v1/metrics", 2.5)
    assert not Exporting.of({}).on and not Exporting.of({"OTEL_SERVICE_NAME": "x"}).on


def test_what_a_file_says_wins() -> None:
    """The section of the configuration overrules the environment."""
    found = Exporting.of(
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://env:1", "OTEL_SERVICE_NAME": "env", "OTEL_TRACES_SAMPLER": "always_on"},
        endpoint="http://file:2", headers={"k": "v"}, service="file", share=0.5,
    )  # fmt: skip

    assert found.traces is not None
    assert (found.traces.url, found.traces.headers) == ("http://file:2/v1/traces", {"k": "v"})
    assert (found.resource["service.name"], found.sampler, found.share) == ("file", "parentbased_traceidratio", 0.5)


def test_a_refused_request_of_a_caller_is_no_error_of_ours() -> None:
    """A server's span of a caller's mistake has a kind, and no error status."""
    collector, _ = traced(asking(trouble=Status(400)))

    assert said(collector.spans[0].attributes)["error.type"] == "request"
    assert collector.spans[0].status.code == 0 and collector.spans[1].status.code == 2
