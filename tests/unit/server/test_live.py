"""The live error of a scope is read beside the polls and shown as metrics."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from tests.support.promotions import promote, two_bundles
from tests.support.stored import MOMENT, Watched

from flts.contracts import layout
from flts.contracts.canonical import digest
from flts.contracts.errors import BackendUnavailable
from flts.contracts.records.decision import WeightsRecord
from flts.contracts.records.live import Live, LiveCoverage, LiveSkill, LiveTruth
from flts.server import live
from flts.server.live import Lives
from flts.server.metrics import ServeMetrics
from flts.server.models import ServedModels


def record(skill: float | None, scope: str = "global") -> Live:
    return Live(
        scope=scope,
        flts="0",
        made=MOMENT,
        promotion=1,
        bundle_sha256=digest("bundle"),
        weights=WeightsRecord(rmse=0.5, mae=0.3, mse=0.2),
        truth=LiveTruth(file="truth.csv", sha256=digest("truth"), rows=9, first=MOMENT, last=MOMENT),
        days={},
        requests=3,
        first_origin=None,
        last_origin=None,
        awaiting=0,
        left_out={},
        errors=None,
        steps=[],
        coverage={"0.8": LiveCoverage(cells=9, coverage=0.75, width=0.1)},
        skill=LiveSkill(
            baseline="seasonal_naive", season=24, cells=9, score=0.1, baseline_score=0.2, skill=skill, reason=None
        ),
        models=[],
    )


def test_what_somebody_computed_is_read_once_a_minute_and_exported(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("flts.server.live.time.monotonic", lambda: clock[0])
    store, first, _ = two_bundles()
    promote(first, store=store)
    promote(first, store=store, scope="north")
    store.replace(layout.live("global"), record(0.25).to_bytes())
    watched = Watched(store)
    models = ServedModels(watched)
    models.catch_up()
    page = generate_latest(ServeMetrics(models).registry).decode()
    assert 'flts_serve_live_skill{scope="global"} 0.25' in page
    assert 'flts_serve_live_coverage{level="0.8",scope="global"} 0.75' in page
    assert 'flts_serve_live_age_seconds{scope="global"}' in page
    assert 'flts_serve_live_skill{scope="north"}' not in page
    store.replace(layout.live("global"), record(None).to_bytes())
    models.catch_up()
    assert watched.read.count(layout.live("global")) == 1
    clock[0] += live.PAUSE
    models.catch_up()
    assert 'flts_serve_live_skill{scope="global"}' not in generate_latest(ServeMetrics(models).registry).decode()


def test_a_record_that_cannot_be_read_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PAUSE", 0.0)
    store, *_ = two_bundles()
    store.replace(layout.live("a"), record(0.25, "a").to_bytes())
    store.replace(layout.live("b"), b"{}")
    store.replace(layout.live("c"), record(0.25, "c").to_bytes())

    class Away(Watched):
        def get(self, key: str) -> bytes | None:
            if key == layout.live("c"):
                raise BackendUnavailable("away")
            return super().get(key)

    lives = Lives(Away(store))
    lives.refresh(["a", "b", "c", "d"])
    assert list(lives.found) == ["a"]
