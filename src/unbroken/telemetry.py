"""Where traces and metrics are sent, and how much of them: what `tracing:` says, and OpenTelemetry's own variables.

    Exporting.of(environ, ...)   the settings; `warnings` says what of them makes no sense here

The variables are those that every OpenTelemetry SDK knows (`OTEL_EXPORTER_OTLP_ENDPOINT`,
`OTEL_SERVICE_NAME`, `OTEL_TRACES_SAMPLER`, ...).  As the specification has it, one that cannot
be understood is warned of and passed over: no service fails to start for want of a trace.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar
from urllib.parse import unquote, urlsplit

__all__ = ["SAMPLERS", "Exit", "Exporting"]

SAMPLERS = (
    "always_on", "always_off", "traceidratio",
    "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio",
)  # fmt: skip
SAMPLER = "parentbased_always_on"
"""Where nobody says any."""
_SPOKEN = "http/protobuf"
_NOT_KNOWN = {
    "OTEL_EXPORTER_OTLP_CERTIFICATE": "the system's certificates are trusted (SSL_CERT_FILE chooses others)",
    "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE": "no certificate is shown to the collector",
    "OTEL_EXPORTER_OTLP_CLIENT_KEY": "no certificate is shown to the collector",
}
"""Variables that others heed, and what is done here instead."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """Where one signal goes: the address that it is posted to, and how."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_s: float = 10.0
    gzip: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Exporting:
    """What is exported by OTLP.  A signal without an exit is not collected.

    `share` is the share of traces that the ratio samplers keep.  `propagate` is whether
    providers are told the trace.  A batch is sent when `batch_max` spans wait, or `delay_s`
    after the first of them; where more than `queue_max` wait for the collector, the oldest are dropped.
    """

    traces: Exit | None = None
    metrics: Exit | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    sampler: str = SAMPLER
    share: float = 1.0
    propagate: bool = True
    delay_s: float = 5.0
    queue_max: int = 16_384
    batch_max: int = 512
    metrics_every_s: float = 60.0
    warnings: tuple[str, ...] = ()

    @property
    def on(self) -> bool:
        """Whether anything is collected."""
        return self.traces is not None or self.metrics is not None

    @classmethod
    def of(
        cls, environ: Mapping[str, str], *, endpoint: str = "", headers: Mapping[str, str] | None = None,
        service: str = "", share: float | None = None, propagate: bool = True,
    ) -> Exporting:  # fmt: skip
        """The settings of a configuration file, with the environment's where it says nothing."""
        reader = _Reader(environ)
        if reader.text("OTEL_SDK_DISABLED").lower() == "true":
            return cls()
        traces, metrics = (reader.exit(signal, endpoint, headers=headers or {}) for signal in ("traces", "metrics"))
        if traces is None and metrics is None:
            return cls(warnings=tuple(reader.warnings))
        sampler = reader.one_of("OTEL_TRACES_SAMPLER", SAMPLERS, otherwise=SAMPLER)
        found = cls(
            traces=traces, metrics=metrics, resource=reader.resource(service), propagate=propagate,
            sampler=sampler if share is None else "parentbased_traceidratio",
            share=reader.number("OTEL_TRACES_SAMPLER_ARG", 1.0, most=1.0) if share is None else share,
            delay_s=reader.number("OTEL_BSP_SCHEDULE_DELAY", 5_000.0) / 1000.0,
            queue_max=int(reader.number("OTEL_BSP_MAX_QUEUE_SIZE", 16_384.0, least=1.0)),
            batch_max=int(reader.number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512.0, least=1.0)),
            metrics_every_s=reader.number("OTEL_METRIC_EXPORT_INTERVAL", 60_000.0, least=100.0) / 1000.0,
        )  # fmt: skip
        return replace(found, warnings=tuple(reader.warnings))


class _Reader:
    """Reads variables, and notes what cannot be understood."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.warnings: list[str] = []

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def said(self, signal: str, name: str) -> tuple[str, str]:
        """What is said of a signal, or of all; and by which variable."""
        own, common = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}", f"OTEL_EXPORTER_OTLP_{name}"
        return (own, self.text(own)) if self.text(own) else (common, self.text(common))

    def read(self, name: str, text: str, *, by: Callable[[str], Value], otherwise: Value) -> Value:
        """A value by what reads it; where that raises ValueError, a warning and the default."""
        if not text:
            return otherwise
        try:
            return by(text)
        except ValueError as error:
            self._warn(f"{name} is passed over: {error}")
            return otherwise

    def number(self, name: str, otherwise: float, *, least: float = 0.0, most: float = 1e9) -> float:
        def by(text: str) -> float:
            value = float(text)
            if not least <= value <= most:
                raise ValueError(f"expected a number from {least:g} to {most:g}")
            return value

        return self.read(name, self.text(name), by=by, otherwise=otherwise)

    def one_of(self, name: str, words: tuple[str, ...], *, otherwise: str) -> str:
        def by(text: str) -> str:
            if text not in words:
                raise ValueError(f"known here: {', '.join(words)}")
            return text

        return self.read(name, self.text(name).lower(), by=by, otherwise=otherwise)

    def exit(self, signal: str, endpoint: str, *, headers: Mapping[str, str]) -> Exit | None:
        """Where a signal goes; None where nobody wants it."""
        exporter = f"OTEL_{signal.upper()}_EXPORTER"
        if self.one_of(exporter, ("otlp", "none"), otherwise="otlp") == "none":
            return None
        name, said = self.said(signal, "ENDPOINT")
        whole = not endpoint and name.endswith(f"_{signal.upper()}_ENDPOINT")
        url = self.read(name, endpoint or said, by=_address, otherwise="")
        if not url:
            return None
        name, protocol = self.said(signal, "PROTOCOL")
        if protocol and protocol != _SPOKEN:
            self._warn(f"{name}: only {_SPOKEN} is spoken here, to port 4318 as a rule, not {protocol[:20]}")
        for unknown, instead in _NOT_KNOWN.items():
            if self.text(unknown):
                self._warn(f"{unknown} is not heeded: {instead}")
        name, timeout = self.said(signal, "TIMEOUT")
        name_of_headers, said_headers = self.said(signal, "HEADERS")
        return Exit(
            url=url if whole else f"{url.rstrip('/')}/v1/{signal}",
            headers={**self.read(name_of_headers, said_headers, by=_pairs, otherwise={}), **headers},
            timeout_s=self.read(name, timeout, by=_milliseconds, otherwise=10.0),
            gzip=self.said(signal, "COMPRESSION")[1].lower() == "gzip",
        )

    def resource(self, service: str) -> Mapping[str, str]:
        """Who it is that tells all this."""
        name = "OTEL_RESOURCE_ATTRIBUTES"
        nothing: dict[str, str] = {}
        told = self.read(name, self.text(name), by=_pairs, otherwise=nothing)
        named = service or self.text("OTEL_SERVICE_NAME") or told.get("service.name", "") or "unbroken"
        return {**told, "service.name": named}

    def _warn(self, warning: str) -> None:
        if warning not in self.warnings:  # both signals read the same variables
            self.warnings.append(warning)


def _address(text: str) -> str:
    parts = urlsplit(text)
    _ = parts.port
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("expected an address that begins with http:// or https://")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("an address has no user, query or `#` in it; keys are given as headers")
    return text


def _pairs(text: str) -> dict[str, str]:
    """`name=value,...`, each percent-encoded; never repeated in an error, as there may be a key in it."""
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if any(not mark or not name.strip() for name, mark, _ in pairs):
        raise ValueError("expected name=value, with commas between them")
    return {unquote(name.strip()): unquote(value.strip()) for name, _, value in pairs}


def _milliseconds(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e7:
        raise ValueError("expected a number of milliseconds")
    return value / 1000.0
