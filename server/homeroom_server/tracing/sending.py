"""Spans sent to a collector by OTLP over HTTP. Imported only where one is configured: the library is an extra."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import anyio
import anyio.to_thread
import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Link, SpanKind, Tracer
from opentelemetry.trace import Span as Recorded
from opentelemetry.trace.status import Status, StatusCode

from homeroom_server.tracing.spans import Facts, Span

_EXPORT_SECONDS_MAX = 3.0
_LAST_SECONDS_MAX = 2.0
"""For what is left when the node ends: a collector that is away must not keep it."""

log = structlog.get_logger()


class _SentSpan:
    def __init__(self, recorded: Recorded) -> None:
        self.recorded = recorded
        self.is_sent = bool(recorded.is_recording())
        self._is_forgotten = False

    def note(self, name: str, facts: Facts) -> None:
        self.recorded.update_name(name)
        self.recorded.set_attributes(facts)

    def forget(self) -> None:
        self._is_forgotten = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: object, trace: TracebackType | None) -> None:
        if kind is not None:  # its class alone: what a failure says may be about a record
            self.recorded.set_status(Status(StatusCode.ERROR, kind.__name__))
        if not self._is_forgotten:
            self.recorded.end()


class _Sending:
    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def span(self, name: str, causes: Sequence[Span] = ()) -> Span:
        """With a context of its own: that of its task is somebody else's where work was begun for many."""
        links = [Link(cause.recorded.get_span_context()) for cause in causes if isinstance(cause, _SentSpan)]
        kind = SpanKind.SERVER if name == "call" else SpanKind.INTERNAL
        return _SentSpan(self._tracer.start_span(name, context=Context(), kind=kind, links=links))


class _ToOurLog(logging.Handler):
    """What the library has to say, in a line like all others."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("traces are lost", reason=record.getMessage())


@asynccontextmanager
async def sending(url: str, node: str) -> AsyncIterator[_Sending]:
    """Sends from a thread of its own, in batches; what is beyond its queue is dropped, and nobody waits for it.

    The library's own variables count besides, OTEL_TRACES_SAMPLER and OTEL_BSP_SCHEDULE_DELAY among them.
    """
    said = logging.getLogger("opentelemetry")
    said.handlers, said.propagate = [_ToOurLog(logging.WARNING)], False
    resource = Resource.create({"service.name": "homeroom", "service.instance.id": node})
    provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    exporter: SpanExporter = OTLPSpanExporter(endpoint=url, timeout=_EXPORT_SECONDS_MAX)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield _Sending(provider.get_tracer("homeroom"))
    finally:
        with anyio.move_on_after(_LAST_SECONDS_MAX, shield=True):
            await anyio.to_thread.run_sync(provider.force_flush, abandon_on_cancel=True)
        exporter.shutdown()  # it would try again and again
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(provider.shutdown)
