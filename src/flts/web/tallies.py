"""Counters and histograms that one thread counts and any other may read: no lock, a microsecond for a request.

Those of prometheus_client take a lock for each number, and a request changes six of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Tally(Collector):
    """A counter. labels: their names; without any it stands at 0 from the start."""

    def __init__(self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry) -> None:
        self._family = name, text, labels
        self._counts: dict[Labels, float] = {} if labels else {(): 0.0}
        registry.register(self)

    def begin(self, labels: Labels) -> None:
        """Let a series stand at 0, so that its first count is seen as a change. Any thread may call it."""
        self._counts.setdefault(labels, 0.0)

    def add(self, labels: Labels = (), count: float = 1.0) -> None:
        """Count so many more."""
        self._counts[labels] = self._counts.get(labels, 0.0) + count

    def describe(self) -> Iterable[Metric]:
        """The counter without its numbers, so that no other takes its name."""
        name, text, labels = self._family
        return [CounterMetricFamily(name, text, labels=labels)]

    def collect(self) -> Iterator[Metric]:
        """The counter as it stands now."""
        (family,) = self.describe()
        assert isinstance(family, CounterMetricFamily)
        for labels, count in list(self._counts.items()):
            family.add_metric(labels, count)
        yield family


class Durations(Collector):
    """A histogram. bounds: the upper ends of its buckets, ascending; labels: as of a Tally."""

    def __init__(
        self, name: str, text: str, labels: Sequence[str], bounds: Sequence[float], registry: CollectorRegistry
    ) -> None:
        self._family, self._bounds = (name, text, labels), bounds
        self._ends = [*map(floatToGoString, bounds), "+Inf"]
        self._found: dict[Labels, list[float]] = {} if labels else {(): self._none()}
        registry.register(self)

    def _none(self) -> list[float]:
        """The count of each bucket, and the sum at the end."""
        return [0.0] * (len(self._bounds) + 2)

    def begin(self, labels: Labels) -> None:
        """Let a series stand at 0, so that its first observation is seen as a change."""
        self._found.setdefault(labels, self._none())

    def observe(self, seconds: float, labels: Labels = ()) -> None:
        """Count one that took so long."""
        found = self._found.get(labels)
        if found is None:
            found = self._found[labels] = self._none()
        found[bisect_left(self._bounds, seconds)] += 1.0
        found[-1] += seconds

    def describe(self) -> Iterable[Metric]:
        """The histogram without its numbers, so that no other takes its name."""
        name, text, labels = self._family
        return [HistogramMetricFamily(name, text, labels=labels)]

    def collect(self) -> Iterator[Metric]:
        """The histogram as it stands now."""
        (family,) = self.describe()
        assert isinstance(family, HistogramMetricFamily)
        for labels, found in list(self._found.items()):
            *counts, total = list(found)
            below, buckets = 0.0, []
            for end, count in zip(self._ends, counts, strict=True):
                below += count
                buckets.append((end, below))
            family.add_metric(labels, buckets, total)
        yield family
