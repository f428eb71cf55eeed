"""An inspection measures by the published formulas and finds what each test puts into the rows."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises
from tests.support.series import HOUR, hourly, table

from flts.contracts.errors import DataError
from flts.explore import statistics
from flts.explore.finding import Finding
from flts.explore.rehearse import verdict
from flts.explore.report import Inspection, inspect
from flts.preprocess.rows import Rows, Values
from flts.preprocess.source import RawInput, RawTable

RNG = np.random.default_rng


def look(train: pl.DataFrame, test: pl.DataFrame | None = None, **options: Any) -> Inspection:
    raw = RawInput(RawTable("load.csv", train), None if test is None else RawTable("load_test.csv", test))
    return inspect(raw, test_fraction=0.2, **options)


def kinds_of(train: pl.DataFrame, test: pl.DataFrame | None = None, **options: Any) -> dict[str, Finding]:
    """Findings by kind."""
    return {finding.kind: finding for finding in verdict(look(train, test, **options), 0.2)}


def wave(rows: int, period: int = 24, noise: float = 0.0, seed: int = 0) -> Values:
    values: Values = np.sin(2 * np.pi * np.arange(rows) / period) + noise * RNG(seed).normal(size=rows)
    return values


def frame(**columns: Any) -> pl.DataFrame:
    rows = len(next(iter(columns.values())))
    times = table(hourly(rows))["time"]
    return pl.DataFrame({"time": times, **columns})


def test_autocorrelation_is_what_a_loop_gives_with_cells_missing() -> None:
    column = wave(200, noise=0.5)
    column[[3, 50, 51, 120]] = np.nan
    centred = column - np.nanmean(column)
    variance = np.nanmean(centred**2)
    plain = [np.nanmean(centred[: 200 - k] * centred[k:]) / variance for k in range(31)]
    np.testing.assert_allclose(statistics.autocorrelation(column, 30), plain, atol=1e-12)


@pytest.mark.parametrize("rows", [10, 47, 300])
def test_kpss_is_what_statsmodels_gives(rows: int) -> None:
    from statsmodels.tools.sm_exceptions import InterpolationWarning  # type: ignore[import-untyped]  # as below
    from statsmodels.tsa.stattools import kpss  # type: ignore[import-untyped]  # it comes without types

    column = np.cumsum(RNG(rows).normal(size=rows)) + 5.0
    measured = statistics.kpss(column)
    assert measured is not None
    value, lags = measured
    with warnings.catch_warnings():
        # the value may be outside its table of p-values, which is not used here
        warnings.simplefilter("ignore", InterpolationWarning)
        assert value == pytest.approx(kpss(column, regression="c", nlags=lags, result_object=False)[0], rel=1e-9)


def test_kpss_distinguishes_a_constant_level_from_a_moving_one() -> None:
    steady = statistics.kpss(RNG(0).normal(size=400))
    moving = statistics.kpss(RNG(0).normal(size=400) + 0.02 * np.arange(400))
    assert steady is not None
    assert moving is not None
    assert steady[0] < statistics.KPSS_CRITICAL["0.05"] < moving[0]


@pytest.mark.parametrize("season", [7, 24])
def test_the_decomposition_is_the_classical_one(season: int) -> None:
    from statsmodels.tsa.seasonal import seasonal_decompose  # type: ignore[import-untyped]  # it comes without types

    column = wave(season * 10, season, noise=0.3) + 0.05 * np.arange(season * 10)
    parts, theirs = statistics.decompose(column, (season,)), seasonal_decompose(column, period=season)
    np.testing.assert_allclose(parts.trend, theirs.trend, atol=1e-9)
    np.testing.assert_allclose(parts.seasonal[season], theirs.seasonal, atol=1e-9)
    np.testing.assert_allclose(parts.remainder, theirs.resid, atol=1e-9)


def test_the_parts_of_a_decomposition_sum_to_the_column() -> None:
    column = wave(168 * 5, 24, noise=0.4) + wave(168 * 5, 168)
    parts = statistics.decompose(column, (24, 168))
    whole = parts.trend + parts.seasonal[24] + parts.seasonal[168] + parts.remainder
    inner = ~np.isnan(whole)
    assert inner.sum() == 168 * 4
    np.testing.assert_allclose(whole[inner], column[inner], atol=1e-9)


def test_strength_is_near_one_for_a_clean_season_and_near_zero_for_noise() -> None:
    clean = statistics.season_strength(statistics.decompose(wave(480, noise=0.05), (24,)), 24)
    assert clean is not None
    assert clean > 0.98
    noise = [
        statistics.season_strength(statistics.decompose(RNG(seed).normal(size=168 * 4), (24, 168)), 168)
        for seed in range(20)
    ]
    # the plain formula would give about 1/3: a week inspection three times is fitted to its noise
    assert np.mean([strength for strength in noise if strength is not None]) < 0.05


def test_a_season_seen_too_few_times_has_no_strength() -> None:
    parts = statistics.decompose(wave(40), (24,))
    assert statistics.season_strength(parts, 24) is None


def test_the_distance_of_distributions_is_what_scipy_gives() -> None:
    from scipy.stats import ks_2samp

    first, second = np.sort(RNG(0).normal(size=300)), np.sort(RNG(1).normal(0.4, 1, size=120))
    assert statistics.distance(first, second) == pytest.approx(ks_2samp(first, second).statistic)


def test_blocks_of_a_slow_series_differ_more_than_blocks_of_noise() -> None:
    slow = statistics.usual_distance(np.cumsum(RNG(0).normal(size=1000)), 200)
    quick = statistics.usual_distance(RNG(0).normal(size=1000), 200)
    assert slow is not None
    assert quick is not None
    assert slow > 3 * quick
    assert statistics.usual_distance(np.arange(10.0), 8) is None


@pytest.mark.parametrize("lag", [-7, -1, 0, 3, 20])
def test_the_best_lag_is_the_one_that_was_put_there(lag: int) -> None:
    target = RNG(3).normal(size=300)
    other = np.roll(target, -lag) * -2.0 + 1.0
    assert statistics.best_lag(other, target, 40) == lag
    assert statistics.correlation(other, target, lag) == pytest.approx(-1.0)


def test_runs_are_counted_at_both_ends() -> None:
    assert statistics.runs(np.array([True, True, False, True, False, False, True])).tolist() == [2, 1, 1]
    assert statistics.runs(np.zeros(3, dtype=bool)).tolist() == []


@pytest.mark.parametrize(("ahead", "scale", "noise"), [(1, 1.0, 0.0), (3, -40.0, 0.02), (12, 0.001, 0.1)])
def test_a_covariate_that_is_the_target_shifted_scaled_and_noised_is_a_leak(
    ahead: int, scale: float, noise: float
) -> None:
    load = wave(600, noise=0.5)
    knows = scale * (np.roll(load, -ahead) + noise * RNG(9).normal(size=600))
    leak = kinds_of(frame(load=load, knows=knows))["leakage"]
    assert leak.severity == "warning"
    assert leak.columns == ("knows",)
    assert f"knows the target {ahead} row" in leak.message


def test_a_copy_of_the_target_is_distinguished_from_a_leak_and_from_its_past() -> None:
    load = wave(600, noise=0.5)
    assert kinds_of(frame(load=load, copy=3 * load + 1))["copy"].severity == "warning"
    past = kinds_of(frame(load=load, past=np.roll(load, 5)))
    assert past["copy"].severity == "note"
    assert "leakage" not in past


def test_a_common_season_is_not_a_leak() -> None:
    early = wave(603, noise=0.2)[3:] + 0.3 * RNG(5).normal(size=600)
    kinds = kinds_of(frame(load=wave(600, noise=0.2, seed=8), sun=early))
    assert "leakage" not in kinds
    assert "copy" not in kinds


def test_a_random_walk_is_not_a_leak_of_another() -> None:
    load, other = (np.cumsum(RNG(seed).normal(size=2000)) for seed in (1, 2))
    kinds = kinds_of(frame(load=load, other=other))
    assert "leakage" not in kinds


def test_numbers_that_stand_for_missing_values_are_found() -> None:
    load = wave(600, noise=0.2)
    load[[10, 50, 300]] = -999.0
    assert "'load' is -999 in 3 rows" in kinds_of(frame(load=load))["sentinel"].message


def test_a_lone_cell_far_out_is_found_and_a_peak_with_slopes_is_not() -> None:
    lone, peak = wave(600, noise=0.2), wave(600, noise=0.2)
    lone[100] = 50.0
    peak[100:110] = 50.0
    assert kinds_of(frame(load=lone))["lone outliers"].columns == ("load",)
    assert "lone outliers" not in kinds_of(frame(load=peak))


def test_gaps_are_counted_and_the_longest_is_named() -> None:
    rows = frame(load=wave(600, noise=0.2))
    kinds = kinds_of(pl.concat([rows[:100], rows[103:300], rows[340:]]))
    assert "43 of 480 rows of the grid hold no value, in 2 gaps" in kinds["gaps"].message
    assert "of 40 rows" in kinds["gaps"].message
    assert "2018-02-19 21:00:00" in kinds["gaps"].message


def test_a_column_that_distinguishes_rows_of_the_same_time_is_named() -> None:
    one = frame(load=wave(300, noise=0.2))
    panel = pl.concat([one.with_columns(shop=pl.lit(name)) for name in ("east", "west")])
    kinds = kinds_of(panel)
    assert "'shop' distinguishes rows of the same time: 2 series" in kinds["repeats"].message
    assert kinds["refused"].severity == "stops"
    assert "contradict" in kinds_of(pl.concat([one, one[:5].with_columns(pl.col("load") + 1)]))["repeats"].message
    assert "are equal" in kinds_of(pl.concat([one, one[:5]]))["repeats"].message


def test_every_refusal_is_collected_and_what_is_left_is_measured() -> None:
    rows = table(hourly(300)).with_columns(pl.col("time").dt.to_string("iso"))
    rows[7, "time"] = "soon"
    rows[9, "wind"] = float("inf")
    inspection = look(pl.concat([rows, rows[20:22]]))
    assert [message.split("load.csv: ")[1][:12] for message in inspection.refusals] == [
        "row 8, colum",
        "column 'wind",
        "2 rows repea",
    ]
    assert len(inspection.train.rows) == 299
    assert inspection.timeline.missing_rows == 1
    assert inspection.column("wind").missing == 1


def test_text_that_is_nearly_numbers_is_reported_with_its_row() -> None:
    cells = [str(value) for value in range(300)]
    cells[4] = "oops"
    message = kinds_of(frame(load=wave(300, noise=0.2), wind=cells))["nearly numbers"].message
    assert "row 5 holds 'oops', and 99.7% of its cells are numbers" in message


def test_irregular_rows_are_measured_on_a_grid_that_suits_them() -> None:
    rows = hourly(600)
    times = rows.times + RNG(0).integers(0, HOUR * 3 // 4, 600)
    inspection = look(table(Rows(times, rows.values, rows.columns)))
    assert inspection.placed.merged
    assert str(inspection.placed.grid.step) == "1h"
    strength = inspection.column("load").seasons["day"]
    assert strength is not None
    assert strength > 0.8


def test_one_row_off_the_grid_is_merged_on_the_grid_of_the_others() -> None:
    rows = hourly(300)
    rows.times[40] += HOUR // 3
    kinds = kinds_of(table(rows))
    assert kinds["irregular"].message == "1 of 300 rows are off the grid of 1h"
    assert 'dataset.step = "1h"' in kinds["irregular"].action
    assert kinds["refused"].severity == "stops"


def test_events_are_merged_on_a_step_at_which_most_follow_another() -> None:
    times = np.sort(RNG(0).choice(600 * 3600, 6000, replace=False)) * 10**9 + HOUR * 400_000
    inspection = look(table(Rows(times, RNG(1).normal(size=(6000, 1)), ("load",))))
    assert inspection.placed.merged
    assert str(inspection.placed.grid.step) == "15min"
    assert inspection.timeline.regular > 0.9


def test_absent_rows_are_no_reason_to_merge_rows() -> None:
    rows = table(hourly(600)).filter(pl.Series(RNG(0).random(600) < 0.8))
    inspection = look(rows)
    assert not inspection.placed.merged
    assert str(inspection.placed.grid) == "1h"
    assert len(inspection.train_rows) == 480
    assert inspection.column("load").missing == 0


@pytest.mark.parametrize(
    ("every", "rows", "last_day", "step", "seasons"),
    [
        ("1d", 500, False, "1d", {"week": 7}),
        ("1w", 400, False, "1w", {"year": 52}),
        ("1mo", 240, False, "1mo", {"year": 12}),
        ("1mo", 240, True, "1mo", {"year": 12}),
        ("1q", 160, False, "3mo", {"year": 4}),
        ("1y", 150, False, "1y", {}),
    ],
)
def test_steps_of_the_calendar_and_their_seasons_are_found(
    every: str, rows: int, last_day: bool, step: str, seasons: dict[str, int]
) -> None:
    times = pl.date_range(pl.date(1850, 7, 1), pl.date(2000, 7, 1), every, eager=True)[:rows]
    inspection = look(pl.DataFrame({"month": times.dt.month_end() if last_day else times, "load": RNG(0).random(rows)}))
    assert str(inspection.placed.grid.step) == step
    assert not inspection.placed.merged
    assert inspection.seasons == seasons
    kinds = {finding.kind: finding for finding in verdict(inspection, 0.2)}
    assert not {"refused", "gaps", "irregular"} & set(kinds)
    assert "dataset.time_column" in kinds["time column"].action


def test_a_shift_is_judged_by_how_much_blocks_of_train_differ() -> None:
    load = wave(1000, noise=0.2)
    load[800:] += 3.0
    assert kinds_of(frame(load=load))["shift"].severity == "warning"
    wandering = np.cumsum(RNG(4).normal(size=1000))
    usual = look(frame(load=wandering)).column("load").shift
    assert usual is not None
    assert usual.usual is not None
    assert usual.usual > 0.5


def test_a_target_that_outgrows_train_is_a_warning_and_a_covariate_a_note() -> None:
    rising = np.arange(600.0) + RNG(0).normal(size=600)
    kinds = kinds_of(frame(load=rising, wind=wave(600, noise=0.2)))
    assert kinds["beyond train"].severity == "warning"
    kinds = kinds_of(frame(load=wave(600, noise=0.2), wind=rising))
    assert kinds["beyond train"].severity == "note"


def test_figures_are_of_train_alone() -> None:
    load = wave(500, noise=0.2)
    before = look(frame(load=load))
    load[400:] = 1e6
    after = look(frame(load=load))
    assert before.memory == after.memory
    ours, theirs = before.column("load"), after.column("load")
    assert (ours.maximum, ours.kpss, ours.seasons, ours.outliers) == (
        theirs.maximum,
        theirs.kpss,
        theirs.seasons,
        theirs.outliers,
    )


def test_constant_and_empty_columns_have_no_figures_that_divide_by_their_width() -> None:
    rows = frame(load=wave(300, noise=0.2), flat=np.full(300, 0.1), none=pl.Series([None] * 300, dtype=pl.Float64))
    inspection = look(rows)
    assert inspection.column("flat").constant
    assert inspection.column("flat").kpss is None
    assert inspection.column("none").minimum is None
    kinds = {finding.kind: finding for finding in verdict(inspection, 0.2)}
    assert kinds["constant"].columns == ("flat",)
    assert kinds["mostly empty"].columns == ("none",)


def test_row_numbers_are_not_the_target() -> None:
    inspection = look(frame(index=np.arange(300.0), load=wave(300, noise=0.2)))
    assert inspection.target == "load"


def test_nothing_to_forecast_is_a_reason_to_stop() -> None:
    assert "no numeric column varies" in kinds_of(frame(flat=np.ones(300)))["refused"].message


def test_a_table_without_times_cannot_be_inspected() -> None:
    with raises(DataError, code="time-column-missing", file="load.csv", column="time"):
        look(pl.DataFrame({"when": ["a", "b"], "load": [1.0, 2.0]}))
