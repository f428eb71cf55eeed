"""What the forecast service measures, in the format of Prometheus and in one registry.

What a scope is served with is asked for at every scrape, so a series ends with its model. Labels have few values: a
scope, a reason of a fixed list, never what a client sends.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flts.server.models import ServedModels
from flts.server.served import ScopeState, Served
from flts.server.state import QueueState
from flts.server.wanted import Answered
from flts.web.observed import HttpMetrics
from flts.web.tallies import Durations, Tally

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
"""Buckets: an answer takes a millisecond, and a request may wait a second for it."""
PREDICT = "/predict"
"""Route of a forecast, in our own protocol."""
OUTSIDE = "outside-training-range"
"""Code of the notice about a value far outside the range of the train rows."""


class ServeMetrics(HttpMetrics):
    """The metrics of one process. queue: its state now; lag: seconds that the event loop takes to turn, if it runs."""

    def __init__(
        self,
        models: ServedModels,
        queue: Callable[[], QueueState] = QueueState,
        lag: Callable[[], float | None] = lambda: None,
    ) -> None:
        super().__init__("serve", SECONDS)
        self.queue, self.lag = queue, lag
        self._waited = Durations(
            "flts_serve_queue_seconds", "Time that a request waited for the model", [], SECONDS, self.registry
        )
        self.registry.register(_Served(models, self))
        self.outside = Tally(
            "flts_serve_outside_training_range",
            "Answers with a value more than ten times outside the range of the train rows",
            ["scope"],
            self.registry,
        )
        self.registry.register(_Process(self, models))
        self.registry.register(_Live(models))
        self._requests.begin(("POST", PREDICT, "200"))
        self._seconds.begin(("POST", PREDICT))

    def waited(self, seconds: float) -> None:
        """Count a request that waited so long for the model."""
        self._waited.observe(seconds)

    def answered(self, answered: Answered) -> None:
        """Count what an answer says of its history."""
        warnings = answered.answer.warnings
        if warnings and any(notice.code == OUTSIDE for notice in warnings):
            self.outside.add((answered.served.scope,))


class _Process(Collector):
    """The queue, the event loop, the self-tests and the polls of this process."""

    def __init__(self, metrics: ServeMetrics, models: ServedModels) -> None:
        self._metrics, self._models = metrics, models

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        queue = self._metrics.queue()
        yield GaugeMetricFamily("flts_serve_in_flight", "Requests that are computed", value=queue.in_flight)
        yield GaugeMetricFamily("flts_serve_queue_depth", "Requests that wait", value=queue.depth)
        yield GaugeMetricFamily("flts_serve_queue_limit", "Most requests that may wait", value=queue.limit)
        lag = self._metrics.lag()
        if lag is not None:
            yield GaugeMetricFamily("flts_serve_loop_lag_seconds", "Time the event loop took to turn", value=lag)
        tests = CounterMetricFamily("flts_serve_self_tests", "Self-tests of loaded bundles", labels=["result"])
        for result, count in self._models.self_tests.items():
            tests.add_metric([result], count)
        yield tests
        if self._models.polled_at:
            age = time.time() - self._models.polled_at
            yield GaugeMetricFamily(
                "flts_serve_followed_age_seconds", "Time since every promotion log was read", value=age
            )


class _Served(Collector):
    """What every scope is served with."""

    def __init__(self, models: ServedModels, metrics: ServeMetrics) -> None:
        self._models, self._metrics = models, metrics

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now, states = time.time(), self._models.states()
        for state in states:
            self._metrics.outside.begin((state.scope,))
        yield _info(states)
        for name, text, value in (
            ("promotion", "Number of the promotion that answers", _number),
            ("score", "Score of the promotion that answers, on its test windows", _score),
            ("newest_promotion", "Number of the newest promotion in the log", lambda state: float(state.newest)),
            ("model_age_seconds", "Time since the promotion that answers was made", lambda state: _age(state, now)),
            ("train_age_seconds", "Time since the last train row of the model", lambda state: _train_age(state, now)),
            ("stale", "1 where the newest promotion cannot be served", lambda state: float(state.stale is not None)),
            ("stale_since_seconds", "When that began, in seconds since 1970", _stale_since),
            ("self_test_seconds", "Time that the self-test of the model took", _self_test),
        ):
            yield _gauge(f"flts_serve_{name}", text, states, value)


class _Live(Collector):
    """What the forecasts of every scope were worth, where somebody computed it."""

    def __init__(self, models: ServedModels) -> None:
        self._models = models

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        now = time.time()
        skill = GaugeMetricFamily(
            "flts_serve_live_skill", "Skill of served forecasts against the seasonal naive one", labels=["scope"]
        )
        coverage = GaugeMetricFamily(
            "flts_serve_live_coverage", "Share of the truth within the interval of a level", labels=["scope", "level"]
        )
        cells = GaugeMetricFamily("flts_serve_live_cells", "Cells that these were computed from", labels=["scope"])
        age = GaugeMetricFamily("flts_serve_live_age_seconds", "Time since these were computed", labels=["scope"])
        for scope, live in self._models.lives.found.items():
            if live.skill is not None and live.skill.skill is not None:
                skill.add_metric([scope], live.skill.skill)
            for level, covered in live.coverage.items():
                coverage.add_metric([scope, level], covered.coverage)
            cells.add_metric([scope], live.errors.cells if live.errors else 0)
            age.add_metric([scope], now - datetime.fromisoformat(live.made).timestamp())
        yield from (skill, coverage, cells, age)


Value = Callable[[ScopeState], float | None]


def _gauge(name: str, text: str, states: Iterable[ScopeState], value: Value) -> GaugeMetricFamily:
    """A gauge for every scope that has this value."""
    gauge = GaugeMetricFamily(name, text, labels=["scope"])
    for state in states:
        found = value(state)
        if found is not None:
            gauge.add_metric([state.scope], found)
    return gauge


def _info(states: Iterable[ScopeState]) -> GaugeMetricFamily:
    labels = ["scope", "model_type", "model_hash", "loaded"]
    info = GaugeMetricFamily("flts_serve_model_info", "The model of a scope", labels=labels)
    for state in states:
        if state.standing is not None:
            champion = state.standing.entry.champion
            loaded = "yes" if state.served else "no"
            info.add_metric([state.scope, champion.model_type, champion.model_hash[:12], loaded], 1)
    return info


def _number(state: ScopeState) -> float | None:
    return None if state.standing is None else float(state.standing.entry.number)


def _score(state: ScopeState) -> float | None:
    return None if state.standing is None else state.standing.entry.champion.score


def _age(state: ScopeState, now: float) -> float | None:
    return None if state.standing is None else now - datetime.fromisoformat(state.standing.entry.time).timestamp()


def _train_age(state: ScopeState, now: float) -> float | None:
    return None if state.served is None else now - _trained_until(state.served)


def _trained_until(served: Served) -> float:
    return served.champion.bundle.manifest.trained_until / 1e9


def _stale_since(state: ScopeState) -> float | None:
    return None if state.stale is None else state.stale.since


def _self_test(state: ScopeState) -> float | None:
    return None if state.served is None else state.served.self_test_seconds
