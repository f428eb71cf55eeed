"""Measured coverage and width of intervals, against plain Python and by simulation."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.judging import known, off_by, truth_of, yardstick_of

from flts.contracts.records.decision import Coverage, Interval
from flts.evaluate.coverage import measured, miscalibration
from flts.evaluate.significance import mean_of
from flts.preprocess.rows import Values


def around(forecast: Values, half_width: float) -> tuple[Values, Values]:
    return forecast - half_width, forecast + half_width


def test_coverage_and_width_are_those_of_plain_python_pooled_and_per_step() -> None:
    truth = truth_of(60, 3, 2)
    truth[3] = np.nan
    forecast = off_by(truth, 3.0)
    half_width = np.abs(np.random.default_rng(5).normal(3.0, 1.0, truth.shape))
    half_width[:, 2, 1] = np.nan
    coverage = measured(truth, forecast - half_width, forecast + half_width, yardstick_of(2), 3)
    assert coverage is not None
    cells = [c for c in np.ndindex(truth.shape) if not np.isnan(truth[c]) and not np.isnan(half_width[c])]
    inside = [c for c in cells if forecast[c] - half_width[c] <= truth[c] <= forecast[c] + half_width[c]]
    assert coverage.cells == len(cells)
    assert coverage.coverage == pytest.approx(len(inside) / len(cells))
    assert coverage.width == pytest.approx(sum(2 * half_width[c] / 40.0 for c in cells) / len(cells))
    assert [row.step for row in coverage.step] == [1, 2, 3]
    for row in coverage.step:
        of_step = [c for c in cells if c[1] == row.step - 1]
        assert row.coverage == pytest.approx(sum(c in inside for c in of_step) / len(of_step))
        assert row.width == pytest.approx(sum(2 * half_width[c] / 40.0 for c in of_step) / len(of_step))
    assert known(coverage.interval).contains(coverage.coverage)


def test_the_ends_of_an_interval_belong_to_it() -> None:
    truth = truth_of(40, 1)
    coverage = measured(truth, truth, truth + 4.0, yardstick_of(), 1)
    assert coverage is not None
    assert coverage.coverage == 1.0
    exact = measured(np.zeros((40, 1, 1)), np.full((40, 1, 1), -4.0), np.zeros((40, 1, 1)), yardstick_of(), 1)
    assert exact is not None
    assert exact.coverage == 1.0


def test_without_bounds_or_truth_there_is_nothing_to_measure() -> None:
    truth = truth_of(40, 1)
    assert measured(truth, np.full(truth.shape, np.nan), np.full(truth.shape, np.nan), yardstick_of(), 1) is None
    assert measured(np.full(truth.shape, np.nan), truth - 1.0, truth + 1.0, yardstick_of(), 1) is None


def test_the_interval_of_a_coverage_contains_the_true_one_in_most_samples() -> None:
    hits = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        errors = np.repeat(rng.normal(size=(60, 1, 1)), 5, axis=0)  # neighbours err alike
        coverage = measured(errors, *around(np.zeros_like(errors), 1.2815515655), yardstick_of(), 10)
        assert coverage is not None
        hits += known(coverage.interval).contains(0.8)
    assert 82 <= hits <= 100


@pytest.mark.parametrize(
    ("coverage", "interval", "words"),
    [
        (0.70, (0.66, 0.74), ("larger", "narrow")),
        (0.90, (0.86, 0.94), ("smaller", "wide")),
        (0.70, (0.55, 0.85), None),
        (0.78, (0.77, 0.79), None),
        (0.70, (0.60, 0.80), None),
        (0.90, (0.80, 0.95), None),
        (0.10, None, None),
    ],
    ids=[
        "narrow",
        "wide",
        "within the noise",
        "beyond the noise but close",
        "just reached",
        "just not passed",
        "nothing to compare with",
    ],
)
def test_a_coverage_that_is_off_by_more_than_noise_gives_a_warning(
    coverage: float, interval: tuple[float, float] | None, words: tuple[str, str] | None
) -> None:
    between = None if interval is None else Interval(low=interval[0], high=interval[1])
    warning = miscalibration("0.8", Coverage(coverage=coverage, interval=between, width=1.0, cells=100, step=[]))
    if words is None:
        assert warning is None
        return
    errors, intervals = words
    assert warning == (
        f"the 80% intervals cover {coverage:.1%} of the test cells: errors are {errors} on the test windows than on the"
        f" validation windows, so the intervals are too {intervals} here"
    )


def test_a_model_without_intervals_gives_no_warning_about_them() -> None:
    assert miscalibration("0.8", None) is None


def test_the_interval_of_a_coverage_is_that_of_a_ratio_of_sums() -> None:
    truth = truth_of(200)
    truth[:50, 1] = np.nan
    forecast = off_by(truth, 3.0)
    coverage = measured(truth, *around(forecast, 3.0), yardstick_of(), 2)
    assert coverage is not None
    cells = (~np.isnan(truth)).sum(axis=(1, 2))
    held = (np.abs(truth - forecast) <= 3.0).sum(axis=(1, 2))
    ratio = mean_of(200 / cells.sum() * (held - coverage.coverage * cells), np.zeros(200), 2).interval()
    assert ratio is not None
    expected = (coverage.coverage + ratio.low, coverage.coverage + ratio.high)
    assert (known(coverage.interval).low, known(coverage.interval).high) == pytest.approx(expected)


def test_the_interval_of_a_coverage_stays_between_none_and_all() -> None:
    truth = np.zeros((40, 1, 1))
    forecast = np.where(np.arange(40) == 7, 9.0, 0.0)[:, None, None]
    high, low = (
        known(known(measured(truth, *around(centre, 1.0), yardstick_of(), 1)).interval)
        for centre in (forecast, 9.0 - forecast)
    )
    assert (high.high, low.low) == (1.0, 0.0)


def test_origins_without_a_measured_cell_do_not_count_for_the_interval() -> None:
    truth = truth_of(60)
    lower, upper = around(off_by(truth, 3.0), 3.0)
    gap = np.full((40, 2, 1), np.nan)
    padded = (np.concatenate([truth, gap]), np.concatenate([lower, gap]), np.concatenate([upper, gap]))
    longer, plain = measured(*padded, yardstick_of(), 2), measured(truth, lower, upper, yardstick_of(), 2)
    assert longer is not None
    assert plain is not None
    assert longer.interval == plain.interval


def test_too_few_origins_have_a_coverage_without_an_interval() -> None:
    truth = truth_of(5)
    coverage = measured(truth, truth - 1.0, truth + 1.0, yardstick_of(), 2)
    assert coverage is not None
    assert (coverage.coverage, coverage.interval) == (1.0, None)
