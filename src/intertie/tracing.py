"""OpenTelemetry, where an operator has it: `pip install 'intertie[otel]'` and OTEL_EXPORTER_OTLP_ENDPOINT. Otherwise
nothing of it is imported."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import structlog

from intertie import __version__
from intertie.agent.ports import Tracer, Untraced

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.context import Context

log = structlog.get_logger()

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
GRACE = 2.0
CALLS = {"request": "SERVER", "answer": "SERVER", "exchange": "CLIENT"}
"""Kinds of spans (others are INTERNAL): by them traces are drawn as calls between sites."""


class OtelTracer:
    """`ports.Tracer`."""

    def __init__(self, tracer: trace.Tracer, end: Callable[[], None]) -> None:
        self._tracer = tracer
        self._end = end

    def finish(self) -> None:
        """Send what waits, within a few seconds: a receiver that is gone must not keep the agent from ending."""
        last = threading.Thread(target=self._end, daemon=True)
        last.start()
        last.join(GRACE)

    def span(self, name: str, parent: str = "", /, **facts: str) -> AbstractContextManager[str]:
        return self._span(name, parent, facts)

    @contextmanager
    def _span(self, name: str, parent: str, facts: Mapping[str, str]) -> Iterator[str]:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        propagator = TraceContextTextMapPropagator()
        above: Context | None = propagator.extract({"traceparent": parent}) if parent else None
        attributes = {f"intertie.{key}": fact for key, fact in facts.items()}
        kind = SpanKind[CALLS.get(name, "INTERNAL")]
        with self._tracer.start_as_current_span(name, context=above, kind=kind, attributes=attributes):
            carrier: dict[str, str] = {}
            propagator.inject(carrier)
            yield carrier.get("traceparent", "")


def tracer(site: str, environment: Mapping[str, str]) -> Tracer:
    """Exports spans by OTLP over HTTP if the environment names where to."""
    if not any(environment.get(name) for name in ENDPOINTS):
        return Untraced()
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        log.warning("no traces are sent", why=str(error), hint="pip install 'intertie[otel]'")
        return Untraced()
    facts = {"service.name": "intertie", "service.version": __version__, "service.instance.id": site}
    provider = TracerProvider(resource=Resource.create(facts), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return OtelTracer(provider.get_tracer("intertie", __version__), provider.shutdown)


def finish(found: Tracer) -> None:
    """The agent ends."""
    if isinstance(found, OtelTracer):
        found.finish()
