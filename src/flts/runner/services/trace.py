"""Carries one trace from message to message (W3C traceparent), whether or not anything collects it.

OpenTelemetry's API alone exports nothing. Where the process is started with its SDK, the same calls export spans.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flts.contracts.failpoints import failpoint
from flts.contracts.ports import Bus, BusState, Place, Record, Subscription
from flts.wiring import RunContext, shared_context

if TYPE_CHECKING:
    from flts.settings import Settings


@contextmanager
def continued(record: Record, name: str) -> Iterator[None]:
    """Run the block in the trace that the record belongs to, or in a new one."""
    from opentelemetry import context
    from opentelemetry.propagate import extract

    parent = extract({key.lower(): value for key, value in record.headers.items()})
    token = context.attach(parent)
    try:
        with span(name):
            yield
    finally:
        context.detach(token)


@contextmanager
def span(name: str) -> Iterator[None]:
    """A span under the current one, or the first of a new trace."""
    from opentelemetry import trace
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

    with trace.get_tracer("flts").start_as_current_span(name) as started:
        if started.get_span_context().is_valid:
            yield
            return
    # no SDK records spans here, but messages must carry the trace on
    ids = SpanContext(secrets.randbits(128) or 1, secrets.randbits(64) or 1, is_remote=False, trace_flags=TraceFlags(1))
    with trace.use_span(NonRecordingSpan(ids)):
        yield


@contextmanager
def traced_context(settings: Settings, name: str) -> Iterator[RunContext]:
    """A shared context in a span of this name; its messages carry the trace."""
    with shared_context(settings) as context, span(name):
        context.bus = TracedBus(context.bus)
        yield context


class TracedBus:
    """A Bus whose messages carry the current trace."""

    def __init__(self, bus: Bus) -> None:
        self._bus, self.url = bus, bus.url

    def ensure(self, topics: Sequence[str]) -> None:
        self._bus.ensure(topics)

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> Place | None:
        from opentelemetry.propagate import inject

        carried: dict[str, str] = {}
        inject(carried)
        failpoint("bus.publish.before")
        place = self._bus.publish(topic, key, value, {**carried, **(headers or {})})
        failpoint("bus.publish.after")
        return place

    def subscribe(self, topics: Sequence[str], group: str) -> Subscription:
        return self._bus.subscribe(topics, group)

    def records(self, topic: str, newest: int | None = None) -> Sequence[Record]:
        return self._bus.records(topic, newest)

    def lag(self, topic: str, group: str) -> int:
        return self._bus.lag(topic, group)

    def describe(self, groups: Sequence[str] = ()) -> BusState:
        return self._bus.describe(groups)

    def close(self) -> None:
        self._bus.close()
