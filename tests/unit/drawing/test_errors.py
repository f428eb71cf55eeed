"""Errors are counted into bands, drawn per step beside a baseline, and intervals beside what they promise."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.pictures import band, line, panels, pixels, values
from tests.support.series import HOUR, START

from flts.contracts.records.decision import Coverage, Interval
from flts.drawing.errors import BINS, StepLine, calibration, error_per_step, residuals

pytestmark = pytest.mark.slow
NAN = float("nan")


def test_the_bands_of_the_errors_are_their_quantiles() -> None:
    errors = np.random.default_rng(1).normal(0.5, 2.0, (6_000, 24))
    origins = START + HOUR * np.arange(6_000)
    picture = residuals(origins, errors, target="load", title="t", caption="c", timezone="UTC")
    axes, beside = panels(picture)
    assert values(axes, "median").size == BINS
    assert values(axes, "median")[0] == pytest.approx(np.median(errors[:100]))
    low, high = band(axes, "90 % of the errors")
    expected = np.quantile(errors.reshape(BINS, -1), [0.05, 0.95], axis=1)
    assert (low, high) == pytest.approx((expected[0].min(), expected[1].max()))
    assert sum(bar.get_width() for bar in beside.patches) == errors.size  # type: ignore[attr-defined]
    pixels(picture)


@pytest.mark.parametrize(("windows", "empty"), [(1, 0), (30, 0), (30, 5), (30, 30)])
def test_few_and_empty_cells_can_be_drawn(windows: int, empty: int) -> None:
    errors = np.random.default_rng(1).normal(0.0, 0.1, (windows, 3))
    errors[:empty] = NAN
    origins = START + HOUR * np.arange(windows)
    picture = residuals(origins, errors, target="load", title="t", caption="", timezone="UTC")
    pixels(picture)
    assert values(panels(picture)[0], "median").size == windows - empty


def test_the_error_of_every_step_stands_beside_that_of_the_baseline() -> None:
    lines = [StepLine("ridge", [1, 2], [0.5, 1.0], False), StepLine("naive (baseline)", [1, 2], [1.0, 4.0], True)]
    picture = error_per_step(lines, unit="RMSE of load", title="t", caption="c")
    (axes,) = panels(picture)
    assert values(axes, "ridge").tolist() == [0.5, 1.0]
    assert values(axes, "naive (baseline)").tolist() == [1.0, 4.0]
    assert (line(axes, "ridge").get_linestyle(), line(axes, "naive (baseline)").get_linestyle()) == ("-", "--")
    assert (axes.get_ylim()[0], axes.get_ylabel()) == (0.0, "RMSE of load")
    pixels(picture)


@pytest.mark.parametrize("interval", [None, Interval(low=0.6, high=0.9)])
def test_measured_coverage_stands_beside_the_promise(interval: Interval | None) -> None:
    covered = {
        level: Coverage(coverage=float(level) - 0.1, interval=interval, width=1.0, cells=9, step=[])
        for level in ("0.5", "0.8", "0.95")
    }
    picture = calibration(covered, title="t", caption="c")
    (axes,) = panels(picture)
    assert line(axes, "measured").get_xydata() == pytest.approx(np.array([[0.5, 0.4], [0.8, 0.7], [0.95, 0.85]]))
    assert len(axes.lines) == (5 if interval else 2)
    pixels(picture)
