"""Spans of what was done with records that belong to a trace."""

from __future__ import annotations

import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from pointstream.engine import Record
from pointstream.engine.observing import Commit
from pointstream.operations.spans import Spans, spans_wanted

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


def record(offset: int, flags: str = "01") -> Record:
    traced = (("traceparent", f"00-{TRACE_ID}-{PARENT}-{flags}".encode()),)
    return Record("points.orders", 3, offset, 0, b"m-secret", b"{}", traced if flags else ())


def test_a_sampled_record_has_a_span_below_its_publishers() -> None:
    """From when its batch was taken until it was committed, by the conventions for messaging."""
    exporter = InMemorySpanExporter()
    spans = Spans("club", processor=SimpleSpanProcessor(exporter), clock_ns=lambda: 5_000_000_000)
    records = [record(7), record(8, "00"), record(9, "")]
    spans.committed(Commit(3, records, 1, 1, 0.1, 0.2, 0.5))
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE_ID
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == PARENT
    assert (span.name, span.kind) == ("process points.orders", SpanKind.CONSUMER)
    assert (span.start_time, span.end_time) == (4_500_000_000, 5_000_000_000)
    assert span.attributes is not None
    assert span.attributes["messaging.kafka.offset"] == 7
    assert span.attributes["messaging.destination.partition.id"] == "3"
    assert span.resource.attributes["service.name"] == "club"
    assert "m-secret" not in span.to_json()


def test_without_an_endpoint_there_are_no_spans() -> None:
    """Nothing has to be switched off."""
    assert spans_wanted(ENDPOINT)
    assert not spans_wanted({})
    assert not spans_wanted(ENDPOINT | {"OTEL_SDK_DISABLED": "true"})


@pytest.mark.parametrize("package", ["opentelemetry", "opentelemetry.exporter.otlp.proto.http"])
def test_without_the_package_there_are_no_spans(monkeypatch, package) -> None:
    """The extra is not installed: an endpoint that all programs of a machine have stops nobody."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    real = __import__("importlib").util.find_spec

    def find_spec(name: str) -> object:
        if name.startswith(package):
            raise ModuleNotFoundError(name)
        return real(name)

    monkeypatch.setattr("importlib.util.find_spec", find_spec)
    assert not spans_wanted(ENDPOINT)


def test_spans_reach_a_collector(monkeypatch) -> None:
    """Over HTTP, by OpenTelemetry's own variables, in the background."""
    arrived = threading.Event()
    bodies: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()
            arrived.set()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        assert spans_wanted()
        Spans("club").committed(Commit(3, [record(7)], 1, 1, 0.1, 0.2, 0.5))
        assert arrived.wait(20)
        server.shutdown()
    assert bytes.fromhex(TRACE_ID) in bodies[0]
    assert b"process points.orders" in bodies[0]
