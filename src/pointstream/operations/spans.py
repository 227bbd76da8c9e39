"""Spans for OpenTelemetry: what a worker did with a record that belongs to a trace.

Off unless the extra `otel` is installed and an endpoint is named, by OpenTelemetry's own variables
(`OTEL_EXPORTER_OTLP_ENDPOINT`, or `..._TRACES_ENDPOINT`); all its others hold, too. Whether a
record is sampled its publisher has decided: it says so in its `traceparent`. Spans are made once
their batch is committed, so they tell of nothing that never was, and name records by address.

Nothing waits for them: what cannot be sent in time is dropped, and so is what has not been sent
when the process ends.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pointstream.engine.observing import Commit, TaskObserver
from pointstream.engine.records import InputRecord
from pointstream.engine.tracing import trace_of
from pointstream.operations.build import program_version

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

__all__ = ["Spans", "spans_wanted"]

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PACKAGES = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http")
_SAMPLED = 0x01


def spans_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether there is an endpoint for spans, and what it takes to send them there."""
    if not any(environ.get(name) for name in _ENDPOINTS):
        return False
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        return False
    return all(map(_installed, _PACKAGES))


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:
        return False


class Spans(TaskObserver):
    """Makes a span of each sampled record that was committed."""

    def __init__(
        self,
        service: str,
        *,
        processor: "SpanProcessor | None" = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`service` names the worker's programme unless OTEL_SERVICE_NAME does. `processor` None
        sends them to the endpoint, in the background and in batches. `clock_ns` gives nanoseconds
        since 1970.
        """
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON, ParentBased

        if processor is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            processor = BatchSpanProcessor(OTLPSpanExporter())
        named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": service}
        resource = Resource.create({"service.version": program_version(), **named})
        # A collector that is away must not hold up the end of a worker.
        provider = TracerProvider(
            sampler=ParentBased(ALWAYS_ON), resource=resource, shutdown_on_exit=False
        )
        provider.add_span_processor(processor)
        self._tracer = provider.get_tracer("pointstream")
        self._clock_ns = clock_ns

    def committed(self, commit: Commit) -> None:
        traced = [(record, trace) for record in commit.records if (trace := _trace(record))]
        if not traced:
            return
        end_ns = self._clock_ns()
        start_ns = end_ns - round(commit.whole * 1e9)
        for record, parent in traced:
            self._make(record, parent, start_ns, end_ns, len(commit.records))

    def _make(
        self, record: InputRecord, parent: bytes, start_ns: int, end_ns: int, batch: int
    ) -> None:
        from opentelemetry import trace

        context = trace.SpanContext(
            trace_id=int(parent[3:35], 16),
            span_id=int(parent[36:52], 16),
            is_remote=True,
            trace_flags=trace.TraceFlags(int(parent[53:55], 16)),
        )
        # Names by OpenTelemetry's conventions for messaging.
        attributes: dict[str, Any] = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "process",
            "messaging.destination.name": record.topic,
            "messaging.destination.partition.id": str(record.partition),
            "messaging.kafka.offset": record.offset,
            "messaging.batch.message_count": batch,
        }
        span = self._tracer.start_span(
            f"process {record.topic}",
            context=trace.set_span_in_context(trace.NonRecordingSpan(context)),
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            start_time=start_ns,
        )
        span.end(end_ns)


def _trace(record: InputRecord) -> bytes | None:
    """The `traceparent` of a record that is sampled."""
    if not record.headers:
        return None
    trace = trace_of(record.headers)
    if not trace:
        return None
    parent = trace[0][1]
    return parent if int(parent[53:55], 16) & _SAMPLED else None
