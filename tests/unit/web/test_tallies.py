"""Counters and histograms in the format of Prometheus, as its own library would write them."""

from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from flts.web.tallies import Durations, Tally


def page(registry: CollectorRegistry) -> list[str]:
    """What a scrape reads, without the moments at which the library made its numbers."""
    return [line for line in generate_latest(registry).decode().splitlines() if "_created" not in line]


def test_a_counter_is_written_as_that_of_the_library() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("asked", "Requests", ["route", "status"], ours)
    counter = Counter("asked", "Requests", ["route", "status"], registry=theirs)
    assert page(ours) == page(theirs)
    for labels, count in ((("/a", "200"), 1.0), (("/b", "404"), 2.5), (("/a", "200"), 3.0)):
        tally.add(labels, count)
        counter.labels(*labels).inc(count)
    assert page(ours) == page(theirs)


def test_a_counter_without_labels_stands_at_zero_from_the_start() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    Tally("asked", "Requests", [], ours)
    Counter("asked", "Requests", registry=theirs)
    assert page(ours) == page(theirs)


@pytest.mark.parametrize("labels", [(), ("/a",)])
def test_a_histogram_is_written_as_that_of_the_library(labels: tuple[str, ...]) -> None:
    names, bounds, ours, theirs = ["route"] * len(labels), (0.001, 0.5, 10.0), CollectorRegistry(), CollectorRegistry()
    durations = Durations("took", "Seconds", names, bounds, ours)
    histogram = Histogram("took", "Seconds", names, buckets=bounds, registry=theirs)
    assert page(ours) == page(theirs)
    for seconds in (0.0, 0.001, 0.0011, 0.5, 7.0, 10.0, 11.0, 1e9):
        durations.observe(seconds, labels)
        (histogram.labels(*labels) if labels else histogram).observe(seconds)
    assert page(ours) == page(theirs)
    assert not any(math.isnan(float(line.split()[-1])) for line in page(ours) if not line.startswith("#"))


def test_a_series_can_stand_at_zero_before_it_counts_and_keeps_what_it_counted() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tally = Tally("asked", "Requests", ["route"], ours)
    durations = Durations("took", "Seconds", ["route"], (1.0,), ours)
    counter = Counter("asked", "Requests", ["route"], registry=theirs).labels("/a")
    histogram = Histogram("took", "Seconds", ["route"], buckets=(1.0,), registry=theirs).labels("/a")
    for _ in range(2):
        tally.begin(("/a",))
        durations.begin(("/a",))
        assert page(ours) == page(theirs)
        tally.add(("/a",))
        durations.observe(0.5, ("/a",))
        counter.inc()
        histogram.observe(0.5)


def test_a_name_is_taken_once() -> None:
    registry = CollectorRegistry()
    Tally("asked", "Requests", [], registry)
    with pytest.raises(ValueError, match="asked"):
        Tally("asked", "Requests", [], registry)
