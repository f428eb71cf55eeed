"""Metrics of a service, in the format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from contextlib import suppress
from typing import TYPE_CHECKING

from flts.contracts.errors import Transient
from flts.web.probe import PATIENCE

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily
    from prometheus_client.registry import Collector

    from flts.contracts.ports import Bus

SECONDS = (0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0)


class ServiceMetrics:
    """Counters and gauges of one process, in a registry of its own."""

    def __init__(self, others: Sequence[Collector] = ()) -> None:
        """others: what else is scraped."""
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self.registry = CollectorRegistry()
        for one in others:
            self.registry.register(one)
        self._handled = Counter(
            "flts_messages",
            "Messages that the group handled, by what became of them",
            ["topic", "group", "outcome"],
            registry=self.registry,
        )
        self._seconds = Histogram(
            "flts_message_seconds", "Time to handle a message", ["topic"], buckets=SECONDS, registry=self.registry
        )
        self._watch: _Watch | None = None
        self._lost = Counter("flts_backend_lost", "Times the broker was away", ["topic"], registry=self.registry)

    def handled(self, topic: str, group: str, outcome: str, seconds: float) -> None:
        """Count a handled message. outcome: done or dead."""
        self._handled.labels(topic, group, outcome).inc()
        self._seconds.labels(topic).observe(seconds)

    def lost(self, topic: str) -> None:
        """Count a loss of the broker."""
        self._lost.labels(topic).inc()

    def watch(self, bus: Bus, groups: Sequence[tuple[str, str]], busy: Callable[[], int]) -> None:
        """Report, at every scrape, the lag of each (topic, group) and the number of running fits."""
        for topic, group in groups:
            self._lost.labels(topic)
            for outcome in ("done", "dead"):  # counted from the first message on
                self._handled.labels(topic, group, outcome)
        self._watch = _Watch(bus, groups, busy)
        self.registry.register(self._watch)

    def close(self) -> None:
        """Ask no broker any more. A question that a broker has not answered is not waited for."""
        if self._watch is not None:
            self._watch.close()


class _Watch:
    """Collects its gauges anew at every scrape."""

    def __init__(self, bus: Bus, groups: Sequence[tuple[str, str]], busy: Callable[[], int]) -> None:
        self._bus, self._groups, self._busy = bus, groups, busy
        self._threads = ThreadPoolExecutor(max(1, len(groups)), thread_name_prefix="lag")
        self._asked: dict[tuple[str, str], Future[int]] = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        from prometheus_client.core import GaugeMetricFamily

        lag = GaugeMetricFamily("flts_lag", "Messages that the group has not handled yet", labels=["topic", "group"])
        for pair in self._groups:
            if pair not in self._asked or self._asked[pair].done():  # a broker that is away has one question to answer
                with suppress(RuntimeError):  # closed while the last scrape was answered
                    self._asked[pair] = self._threads.submit(self._bus.lag, *pair)
        for pair, answer in self._asked.items():
            try:
                lag.add_metric(pair, answer.result(timeout=PATIENCE))
            except (Transient, Late):
                continue  # better no value than an old one
        yield lag
        yield GaugeMetricFamily("flts_fits_running", "Models being fitted now", value=self._busy())

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
