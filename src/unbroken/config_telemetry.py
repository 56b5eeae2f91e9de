"""The sections of a configuration that say what is told to others: `metrics` and `tracing`."""

from __future__ import annotations

from collections.abc import Mapping

from unbroken.config_file import Document
from unbroken.config_shape import MetricsSection, TracingSection
from unbroken.telemetry import Exporting

__all__ = ["Exporting", "MetricsSection", "TracingSection", "exporting_of"]


def exporting_of(section: TracingSection, document: Document, *, environ: Mapping[str, str]) -> Exporting:
    """What is exported, and where to; what the section leaves open, OpenTelemetry's own variables say."""
    endpoint = section.endpoint or ""
    if not section.on:
        return Exporting()
    if endpoint and not endpoint.startswith(("http://", "https://")):
        document.problem(("tracing", "endpoint"), "expected an address that begins with http:// or https://")
        return Exporting()
    return Exporting.of(
        environ, endpoint=endpoint, headers={name: secret.value for name, secret in section.headers.items()},
        service=section.service or "", share=section.sample_share, propagate=section.propagate,
    )  # fmt: skip
