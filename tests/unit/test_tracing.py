"""Spans: sent by OTLP to whoever the environment names, one trace over all sites; and nothing at all otherwise."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from intertie.agent.ports import Tracer, Untraced
from intertie.model.errors import Unavailable
from intertie.tracing import GRACE, finish, tracer
from tests.unit.api_lab import api_of, federation, virtually, wish


class Collector:
    """A receiver of OTLP over HTTP (opentelemetry.io/docs/specs/otlp), on loopback."""

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path == "/v1/traces":
                    collector.requests.append(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def spans(self) -> dict[str, list[Span]]:
        """By site."""
        found: dict[str, list[Span]] = {}
        for request in self.requests:
            for each in request.resource_spans:
                facts = {a.key: a.value.string_value for a in each.resource.attributes}
                assert facts["service.name"] == "intertie"
                spans = [s for scope in each.scope_spans for s in scope.spans]
                found.setdefault(facts["service.instance.id"], []).extend(spans)
        return found


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()


def of(site: str, environment: dict[str, str]) -> Tracer:
    return tracer(site, environment)


@virtually
async def test_one_request_is_one_trace_over_both_sites(monkeypatch: pytest.MonkeyPatch) -> None:
    world, apis = await federation("nantes", "lyon")
    await world.net("nantes", "blue", "10.0.0.0/24")
    with collecting(monkeypatch) as collector:
        environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        tracers = {name: of(name, environment) for name in apis}
        for name, api in apis.items():
            api.site.agent.ports = replace(api.site.agent.ports, tracer=tracers[name])
        api = api_of(world.running["nantes"])
        above = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        body = wish("blue", "l2", "nantes:blue", "lyon")
        await api.post("/v1/vpns", body, traceparent=above, X_Request_Id="r-1", Prefer="wait=10")
        await world.until(lambda: world.phase("nantes", "blue") == "ready")
        await api.post("/v1/vpns/blue/verify", traceparent=above)
        await world.close()
        for each in tracers.values():
            finish(each)
        found = collector.spans()
    trace = bytes.fromhex("0af7651916cd43dd8448eb211c80319c")
    ours = {site: [s for s in spans if s.trace_id == trace] for site, spans in found.items()}
    names = {site: {s.name for s in spans} for site, spans in ours.items()}
    assert {"request", "exchange", "driver ensure"} <= names["nantes"]
    assert {"answer", "driver ensure"} <= names["lyon"]
    by_id = {s.span_id: s for spans in ours.values() for s in spans}
    for answer in (s for s in ours["lyon"] if s.name == "answer"):
        call = by_id[answer.parent_span_id]
        assert (call.name, call.kind, answer.kind) == ("exchange", Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_SERVER)
    first = next(s for s in ours["nantes"] if s.name == "request")
    facts = {a.key: a.value.string_value for a in first.attributes}
    assert (facts["intertie.request"], facts["intertie.method"]) == ("r-1", "POST")
    # Rounds go on by themselves, and belong to no request.
    assert "round" in {s.name for s in found["nantes"]} - names["nantes"]


def test_what_fails_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    with collecting(monkeypatch) as collector:
        made = of("nantes", {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url})
        with pytest.raises(Unavailable), made.span("exchange", peer="lyon"):
            raise Unavailable("nobody")
        with made.span("outer") as outer, made.span("inner") as inner:
            assert outer.split("-")[1] == inner.split("-")[1]
        finish(made)
        spans = {s.name: s for s in collector.spans()["nantes"]}
    assert spans["exchange"].status.code == Status.STATUS_CODE_ERROR
    assert spans["inner"].parent_span_id == spans["outer"].span_id


def test_a_receiver_that_is_gone_keeps_nobody_from_ending() -> None:
    program = (
        "import os, time, intertie.tracing as t;"
        "found = t.tracer('n', os.environ);"
        "with_span = found.span('request'); with_span.__enter__(); with_span.__exit__(None, None, None);"
        "begun = time.monotonic();"
        f"t.finish(found); assert time.monotonic() - begun < {GRACE} + 1"
    )
    # Nobody listens on the port of discard.
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    begun = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, env=environment)
    assert (done.returncode, time.monotonic() - begun < 30) == (0, True)


def test_nobody_traces_unless_told_where_to() -> None:
    found = tracer("nantes", {})
    assert isinstance(found, Untraced)
    with found.span("request", peer="lyon") as trace:
        assert trace == ""


def test_nothing_of_it_is_imported_by_an_agent_without() -> None:
    # FastAPI imports the interfaces of it (opentelemetry-api) by itself.
    program = (
        "import sys, intertie.main, intertie.tracing; intertie.tracing.tracer('n', {});"
        "wanted = ('opentelemetry.sdk', 'opentelemetry.exporter', 'google.protobuf', 'requests');"
        "sys.exit(any(m.startswith(wanted) for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_where_the_packages_are_missing_the_agent_says_so_and_runs() -> None:
    program = (
        "import sys; sys.modules['opentelemetry.sdk.trace'] = None; import intertie.tracing as t;"
        "found = t.tracer('n', {'OTEL_EXPORTER_OTLP_ENDPOINT': 'http://127.0.0.1:9'});"
        "assert type(found).__name__ == 'Untraced'"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60, capture_output=True, text=True)
    assert (done.returncode, "no traces are sent" in done.stdout) == (0, True), done.stderr
