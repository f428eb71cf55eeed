"""Windows, histories and truth, against brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import task_on
from tests.support.raising import raises
from tests.support.series import HOUR, START, hourly
from tests.support.stored import experiment_on

from flts.contracts.errors import DataError
from flts.contracts.records.data import Absent, RowsSummary
from flts.forecasting import histories as chunks
from flts.forecasting.histories import Histories, enough_measured, one_per_stratum
from flts.models.base import ForecastTask, Indices
from flts.preprocess.rows import Rows, Times
from flts.preprocess.stage import ProcessedDataset
from flts.train import windows
from flts.train.windows import Windows, outages, split_validation, train_origins

TARGETS = ("wind", "load")


def dataset_of(train: Rows, test: Rows, contiguous: bool = True) -> ProcessedDataset:
    fitted = task_on(train, TARGETS).fitted
    summary = RowsSummary(
        fitted=fitted.record(),
        seasons=[24],
        contiguous=contiguous,
        absent=Absent(train=0, test=0),
        dropped=[],
        warnings=[],
    )
    return ProcessedDataset("0" * 64, train, test, fitted, contiguous, summary, "time")


def dataset_with(rows: int, test: int, **changes: Any) -> ProcessedDataset:
    whole = hourly(rows)
    return dataset_of(whole[:-test], whole[-test:], **changes)


def task_of(dataset: ProcessedDataset, input_length: int, horizon: int) -> ForecastTask:
    return ForecastTask(input_length, horizon, (24,), dataset.fitted, 0.75)


def origins(dataset: ProcessedDataset, input_length: int, horizon: int, count: int, step: int = 0) -> Windows:
    return windows.plan_windows(dataset, "w", task_of(dataset, input_length, horizon), count, step)


def emptied(rows: Rows, *gone: int, columns: tuple[int, ...] = (0, 1)) -> Rows:
    """The rows with empty cells in some of them."""
    values = rows.values.copy()
    values[np.ix_(gone, columns)] = np.nan
    return replace(rows, values=values)


@pytest.mark.parametrize(("test", "input_length", "horizon"), [(40, 12, 3), (15, 12, 3), (30, 1, 1), (16, 10, 6)])
@pytest.mark.parametrize("contiguous", [True, False])
def test_zero_takes_every_origin_from_the_first_with_its_history_to_the_last_whole_horizon(
    test: int, input_length: int, horizon: int, contiguous: bool
) -> None:
    planned = origins(dataset_with(200, test, contiguous=contiguous), input_length, horizon, 0)
    first = 0 if contiguous else input_length
    assert planned.indices.tolist() == list(range(first, test - horizon + 1))
    assert planned.left_out == 0


def test_histories_are_borrowed_from_train_as_far_as_it_goes() -> None:
    whole = hourly(60)
    planned = origins(dataset_of(whole[:20], whole[20:]), 30, 3, 0)
    assert planned.indices.tolist() == list(range(10, 38))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 37, 38, 500])
def test_a_count_takes_one_origin_of_each_stratum(count: int) -> None:
    chosen = origins(dataset_with(200, 40), 12, 3, count).indices
    strata = min(count, 38)
    assert len(chosen) == strata
    for i, origin in enumerate(chosen):
        assert 38 * i // strata <= origin < 38 * (i + 1) // strata


@pytest.mark.parametrize("rows", [11_987, 12_000, 5_000])
def test_the_origins_of_hourly_rows_lie_at_every_hour_of_the_day(rows: int) -> None:
    for count in (500, 200):
        hours = one_per_stratum(np.arange(rows, dtype=np.int64), count) % 24
        drawn = np.bincount(hours, minlength=24)
        assert drawn.min() > 0
        assert drawn.max() <= 3 * count / 24


def test_the_origins_never_depend_on_the_models() -> None:
    experiments = [small_experiment(small_spec(models))[0] for models in (("ridge",), ("automfles", "gru", "prophet"))]
    first, second = (experiment.windows for experiment in experiments)
    np.testing.assert_array_equal(first.indices, second.indices)
    assert (first.windows_hash, first.left_out) == (second.windows_hash, second.left_out)


def test_too_few_test_rows_for_one_window_are_refused() -> None:
    with raises(DataError, code="test-too-short", found=2, expected=3):
        origins(dataset_with(200, 2), 12, 3, 0)
    with raises(DataError, code="test-too-short", found=14, expected=15):
        origins(dataset_with(200, 14, contiguous=False), 12, 3, 0)


GONE = [(), (30,), (30, 31, 32), (30, 31, 32, 33), (20, 22, 24, 26, 28, 30), tuple(range(10, 34))]


@pytest.mark.parametrize("gone", GONE)
@pytest.mark.parametrize("column", [0, 1])
def test_a_window_counts_when_three_quarters_of_its_rows_hold_every_target_and_one_row_of_its_horizon(
    gone: tuple[int, ...], column: int
) -> None:
    whole = dataset_with(200, 60)
    dataset = replace(whole, test=emptied(whole.test, *gone, columns=(column,)))
    planned = origins(dataset, 12, 3, 0)
    rows = dataset.train.then(dataset.test).values
    expected = [
        i
        for i in range(58)
        if sum(not np.isnan(rows[140 + i - 12 + k]).any() for k in range(12)) >= 9
        and any(not np.isnan(rows[140 + i + k]).all() for k in range(3))
    ]
    assert planned.indices.tolist() == expected
    assert planned.left_out == 58 - len(expected)
    assert (planned.left_out > 0) == (len(gone) > 3)


def test_no_window_that_counts_is_an_error() -> None:
    whole = dataset_with(200, 60)
    empty = replace(whole, test=emptied(whole.test, *range(60)))
    with raises(DataError, code="no-test-window", windows=58):
        origins(empty, 12, 3, 0)
    with raises(DataError, code="no-test-window", windows=3):
        origins(empty, 12, 3, 0, step=20)


def test_the_share_of_measured_rows_is_exact() -> None:
    measured = np.array([False, True, True, True] * 5)
    assert enough_measured(measured, np.array([4, 8, 20]), 4, 0.75).tolist() == [True] * 3
    assert enough_measured(measured, np.array([4, 8, 20]), 4, 0.751).tolist() == [False] * 3
    assert enough_measured(measured, np.array([2]), 4, 0.25).tolist() == [True]


def test_a_gap_longer_than_a_window_with_its_horizon_is_an_outage() -> None:
    whole = dataset_with(400, 60)
    task = task_of(whole, 12, 3)
    rows = emptied(emptied(whole.train, *range(100, 115)), *range(200, 216), *range(324, 340), columns=(1,))
    assert outages(rows, task) == [(200, 215), (324, 339)]
    assert outages(whole.train, task) == []


def test_outages_and_windows_left_out_are_said_once_with_times() -> None:
    rows = hourly(400)
    rows.values[100:140, 0] = rows.values[350:370, 0] = np.nan
    experiment, _ = small_experiment(rows=rows, test=100)
    left_out, train, test = experiment.warnings
    assert left_out.startswith(f"{experiment.windows.left_out} test windows are left out")
    assert "40 rows, from 2018-02-11T14:00:00+00:00 to 2018-02-13T05:00:00+00:00" in train
    assert test.startswith("test: an outage of load")
    assert small_experiment()[0].warnings == ()


@pytest.mark.parametrize("wanted", [1, 12, 40, 10_000])
@pytest.mark.parametrize("contiguous", [True, False])
def test_a_history_is_the_rows_just_before_its_origin_and_none_after(contiguous: bool, wanted: int) -> None:
    dataset = dataset_with(120, 40, contiguous=contiguous)
    planned = origins(dataset, 12, 3, 0)
    rows = dataset.train.then(dataset.test) if contiguous else dataset.test
    seen: dict[int, int] = {}
    for positions, times, values in planned.histories(dataset).batches(wanted):
        for position, some_times, some_values in zip(positions, times, values, strict=True):
            origin = int(dataset.test.times[planned.indices[position]])
            before = rows.times < origin
            np.testing.assert_array_equal(some_times, rows.times[before][-wanted:])
            np.testing.assert_array_equal(some_values, rows.values[before][-wanted:])
            seen[int(position)] = len(some_times)
    assert sorted(seen) == list(range(len(planned.indices)))
    if not contiguous:
        assert max(seen.values()) <= len(dataset.test)


@pytest.mark.parametrize("chunk", [1, 4, 256])
def test_histories_come_in_bounded_batches_of_equal_length(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "CHUNK", chunk)
    histories = Histories(hourly(30), np.array([3, 20, 5, 21, 22, 5], dtype=np.int64))
    batches = list(histories.batches(6))
    assert all(len(positions) <= chunk for positions, _, _ in batches)
    lengths = {int(p): times.shape[1] for positions, times, _ in batches for p in positions}
    assert lengths == {0: 3, 1: 6, 2: 5, 3: 6, 4: 6, 5: 5}


def test_truth_is_the_raw_test_target_at_every_step_of_every_window() -> None:
    dataset = dataset_with(200, 40)
    dataset.test.values[20, 0] = np.nan
    planned = origins(dataset, 12, 3, 0)
    truth = planned.truth(dataset, 3)
    for i, index in enumerate(planned.indices):
        np.testing.assert_array_equal(truth.values[i], dataset.test.values[index : index + 3][:, [1, 0]])
        assert truth.origins[i] == dataset.test.times[index] - HOUR
    assert truth.empty == sum(index <= 20 < index + 3 for index in planned.indices) > 0


@pytest.mark.parametrize("count", [0, 1, 6])
def test_spacing_is_the_mean_distance_of_neighbouring_origins(count: int) -> None:
    dataset = dataset_with(200, 40)
    planned = origins(dataset, 12, 3, count)
    expected = (planned.indices[-1] - planned.indices[0]) / (len(planned.indices) - 1) if count != 1 else 1.0
    assert planned.truth(dataset, 3).spacing == expected


def test_spacing_leaves_out_the_jump_over_an_outage() -> None:
    """Horizons of neighbours overlap as much as without it, and the test of two models has to know that."""
    dataset = dataset_with(500, 300)
    dataset.test.values[100:250] = np.nan
    planned = origins(dataset, 12, 3, 0)
    distances = np.diff(planned.indices)
    assert distances.max() > 100
    assert planned.truth(dataset, 3).spacing == 1.0


@pytest.mark.parametrize("gone", [(), (50,), (50, 51, 90), tuple(range(50, 60))])
@pytest.mark.parametrize(("input_length", "horizon"), [(12, 3), (1, 1), (30, 6)])
def test_train_windows_are_all_that_fit_and_count(input_length: int, horizon: int, gone: tuple[int, ...]) -> None:
    dataset = dataset_with(160, 40)
    rows = emptied(dataset.train, *gone)
    held = ~np.isnan(rows.values[:, 0])
    expected = [
        o
        for o in range(input_length, len(rows) - horizon + 1)
        if held[o - input_length : o].mean() >= 0.75 and held[o : o + horizon].any()
    ]
    assert train_origins(rows, task_of(dataset, input_length, horizon)).tolist() == expected


def test_train_windows_leave_room_for_the_longest_lag() -> None:
    dataset = dataset_with(160, 40)
    lagged = replace(dataset, fitted=replace(dataset.fitted, lags=(1, 24)))
    assert train_origins(dataset.train, task_of(lagged, 12, 3))[0] == 36


def test_too_few_train_rows_have_no_window() -> None:
    dataset = dataset_with(160, 40)
    assert len(train_origins(dataset.train[:14], task_of(dataset, 12, 3))) == 0


def spread_origins(count: int, gaps: bool) -> Indices:
    spread = np.arange(count, dtype=np.int64) + 12
    return spread + 5 * (spread > 12 + count // 2) if gaps else spread


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("horizon", [1, 3, 12])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("count", [40, 79, 80, 81, 200, 201, 1000])
def test_the_validation_windows_have_the_documented_number_and_share_no_target_with_the_fit(
    count: int, fraction: float, horizon: int, gaps: bool
) -> None:
    whole = spread_origins(count, gaps)
    fit, validation = split_validation(whole, horizon, fraction)
    assert len(validation) == max(math.ceil(fraction * count), min(20, count // 4))
    assert validation.tolist() == whole[-len(validation) :].tolist()
    validation_targets = {row for origin in validation.tolist() for row in range(origin, origin + horizon)}
    before = [o for o in whole.tolist() if o < validation[0]]
    free = [o for o in before if not validation_targets & {*range(o, o + horizon)}]
    assert fit.tolist() == free


@pytest.mark.parametrize(("count", "horizon"), [(0, 1), (1, 1), (3, 3), (8, 12)])
def test_too_few_train_windows_to_fit_and_validate_are_refused(count: int, horizon: int) -> None:
    with raises(DataError, code="train-too-short", windows=count):
        split_validation(spread_origins(count, gaps=False), horizon, 0.1)


def test_train_and_test_are_contiguous_if_they_are_one_step_apart() -> None:
    for gap, expected in ((0, True), (1, False)):
        rows = hourly(300)
        times: Times = rows.times + HOUR * gap * (np.arange(300) >= 240)
        experiment, _ = small_experiment(rows=replace(rows, times=times))
        assert experiment.dataset.contiguous is expected
        histories = experiment.windows.histories(experiment.dataset)
        assert int(histories.ends.min()) == (240 if expected else 12)
        assert histories.context.times[0] == (START if expected else times[240])


def test_a_lag_from_before_the_first_row_leaves_out_no_window() -> None:
    whole = dataset_with(200, 60, contiguous=False)
    lagged = replace(whole, fitted=replace(whole.fitted, lags=(40,)))
    assert origins(lagged, 12, 3, 0).left_out == 0


@pytest.mark.parametrize(("count", "step"), [(0, 1), (0, 5), (3, 5), (500, 5), (4, 1), (1, 24), (0, 100)])
def test_a_step_counts_the_origins_back_from_the_last(count: int, step: int) -> None:
    planned = origins(dataset_with(200, 40, contiguous=False), 12, 3, count, step)
    every = list(range(37, 12 - 1, -step))
    assert planned.indices.tolist() == sorted(every[:count] if count else every)


def test_with_a_step_only_its_own_origins_can_be_left_out() -> None:
    whole = dataset_with(200, 60)
    dataset = replace(whole, test=emptied(whole.test, *range(20, 30)))
    every, stepped = origins(dataset, 12, 3, 0), origins(dataset, 12, 3, 0, step=10)
    assert stepped.indices.tolist() == [i for i in range(57, -1, -10) if i in every.indices.tolist()][::-1]
    assert stepped.left_out == 6 - len(stepped.indices)


@pytest.mark.parametrize("freq", ["D", "W-MON"])
def test_days_and_weeks_of_a_local_clock_lose_no_window_to_summer_time(freq: str) -> None:
    index = pd.date_range("2018-01-01", periods=300, freq=freq, tz="Europe/Madrid").tz_localize(None)
    frame = pl.DataFrame({"time": index.to_numpy(), "load": np.arange(300.0) % 7, "wind": np.arange(300.0)})
    spec = small_spec(dataset={"timezone": "Europe/Madrid"}, evaluate={"windows": 0})
    experiment, _ = experiment_on(spec, frame[:200], frame[200:])
    assert len(experiment.windows.indices) == 98
    assert (experiment.windows.left_out, experiment.dataset.meta.absent) == (0, Absent(train=0, test=0))
    assert len(train_origins(experiment.dataset.train, experiment.task)) == 200 - 12 - 3 + 1


def test_144_months_of_which_29_are_test_have_windows_of_24_and_12() -> None:
    index = pd.date_range("1949-01-01", periods=144, freq="MS")
    frame = pl.DataFrame({"time": index.strftime("%Y-%m").tolist(), "load": np.arange(144.0), "wind": np.ones(144)})
    spec = small_spec(task={"input_length": 24, "horizon": 12}, evaluate={"windows": 0})
    experiment, _ = experiment_on(spec, frame[:115], frame[115:])
    assert experiment.dataset.contiguous
    assert experiment.windows.indices.tolist() == list(range(18))
