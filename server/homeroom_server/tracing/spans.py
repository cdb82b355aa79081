"""Spans as the rooms of a node know them: begun, told a few plain facts, ended; or nothing at all."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from importlib.util import find_spec
from types import TracebackType
from typing import Protocol, Self

from starlette.types import Scope

SPAN = "homeroom.span"
"""In a request's scope: the span of its call."""
Facts = Mapping[str, str | int | bool]
"""Names of services, types and codes, and numbers: no ids, no content, nothing that a client wrote."""


class Span(Protocol):
    """One piece of work, ended with its block. `is_sent`: somebody will see it, so that facts are worth making."""

    is_sent: bool

    def note(self, name: str, facts: Facts) -> None:
        """What it is called by now, and what is known of it."""

    def forget(self) -> None:
        """There was no work: nobody is told."""

    def __enter__(self) -> Self: ...
    def __exit__(self, kind: type[BaseException] | None, failure: object, trace: TracebackType | None) -> None: ...


class Traces(Protocol):
    """Where spans begin."""

    def span(self, name: str, causes: Sequence[Span] = ()) -> Span:
        """Begins now, of nobody's trace but its own; `causes`: those for which the work is done."""


class _NoSpan:
    """Costs its call, and nothing else."""

    is_sent = False

    def note(self, name: str, facts: Facts) -> None: ...
    def forget(self) -> None: ...
    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, failure: object, trace: TracebackType | None) -> None: ...


NO_SPAN: Span = _NoSpan()


class NoTraces:
    """Of a node that has no collector."""

    def span(self, name: str, causes: Sequence[Span] = ()) -> Span:
        return NO_SPAN


def span_of(scope: Scope) -> Span:
    """The span of a call."""
    span: Span = scope.get(SPAN, NO_SPAN)
    return span


async def worked_off(traces: Traces, name: str, work: Callable[[], Awaitable[int]]) -> int:
    """A batch of work, and how much there was: a span if there was any."""
    with traces.span(name) as span:
        count = await work()
        if count:
            span.note(name, {"homeroom.count": int(count)})
        else:
            span.forget()
    return count


def is_installed() -> bool:
    """Whether spans can be sent from here: the library is an extra, `homeroom-server[traces]`."""
    try:
        return find_spec("opentelemetry.sdk.trace") is not None and find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False


_EXPORTER = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
