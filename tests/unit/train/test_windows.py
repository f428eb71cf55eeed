"""Windows, histories and truth, against brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import task_on
from tests.support.raising import raises
from tests.support.series import HOUR, START, hourly

from flts.contracts.errors import DataError
from flts.contracts.records.data import Regularity, RowsSummary
from flts.forecasting import histories as chunks
from flts.forecasting.histories import Histories, unbroken
from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times
from flts.preprocess.stage import ProcessedDataset
from flts.train import windows
from flts.train.windows import Windows, split_validation, train_origins


def dataset_of(train: Rows, test: Rows, contiguous: bool = True) -> ProcessedDataset:
    fitted = task_on(train, ("wind", "load")).fitted
    summary = RowsSummary(
        fitted=fitted.record(),
        seasons=[24],
        contiguous=contiguous,
        regular=Regularity(train=1.0, test=1.0),
        dropped=[],
        warnings=[],
    )
    return ProcessedDataset("0" * 64, train, test, fitted, contiguous, summary, "time")


def dataset_with(rows: int, test: int, **changes: Any) -> ProcessedDataset:
    whole = hourly(rows)
    return dataset_of(whole[:-test], whole[-test:], **changes)


def origins(dataset: ProcessedDataset, input_length: int, horizon: int, count: int) -> Windows:
    return windows.plan_windows(dataset, "w", input_length, horizon, count)


def without(rows: Rows, *gone: int) -> Rows:
    """The rows without some of them, which leaves gaps."""
    kept = np.setdiff1d(np.arange(len(rows)), gone)
    return Rows(rows.times[kept], rows.values[kept], rows.columns)


@pytest.mark.parametrize(("test", "input_length", "horizon"), [(40, 12, 3), (15, 12, 3), (30, 1, 1), (16, 10, 6)])
def test_zero_takes_every_origin_from_the_input_length_to_the_last_whole_horizon(
    test: int, input_length: int, horizon: int
) -> None:
    planned = origins(dataset_with(200, test), input_length, horizon, 0)
    assert planned.indices.tolist() == list(range(input_length, test - horizon + 1))
    assert planned.dropped == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 25, 26, 27, 500])
def test_a_count_takes_at_most_so_many_evenly_spaced_origins(count: int) -> None:
    planned = origins(dataset_with(200, 40), 12, 3, count)
    first, last = 12, 37
    spacing = (last - first) / (count - 1) if count > 1 else 0.0
    expected = sorted({round(first + i * spacing) for i in range(count)})
    assert planned.indices.tolist() == expected
    assert len(planned.indices) <= count


def test_the_origins_never_depend_on_the_models() -> None:
    experiments = [small_experiment(small_spec(models))[0] for models in (("ridge",), ("automfles", "gru", "prophet"))]
    first, second = (experiment.windows for experiment in experiments)
    np.testing.assert_array_equal(first.indices, second.indices)
    assert (first.windows_hash, first.dropped) == (second.windows_hash, second.dropped)


def test_too_few_test_rows_for_one_window_are_refused() -> None:
    with raises(DataError, code="test-too-short", found=14, expected=15):
        origins(dataset_with(200, 14), 12, 3, 0)


def test_a_window_with_a_gap_is_dropped_and_counted() -> None:
    whole = dataset_with(200, 60)
    broken = replace(whole, test=without(whole.test, 30))
    planned = origins(broken, 12, 3, 0)
    times = broken.test.times
    candidates = range(12, 59 - 3 + 1)
    expected = [i for i in candidates if all(times[r + 1] - times[r] == HOUR for r in range(i - 12, i + 2))]
    assert planned.indices.tolist() == expected
    assert planned.dropped == len(candidates) - len(expected) > 0


def test_rows_with_a_gap_in_every_window_are_refused() -> None:
    whole = dataset_with(200, 60)
    every_tenth = replace(whole, test=without(whole.test, *range(5, 60, 10)))
    with raises(DataError, code="test-windows-broken", windows=40):
        origins(every_tenth, 12, 3, 0)


@pytest.mark.parametrize("gone", [[], [7], [3, 4, 11]])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (4, 2), (2, 5)])
def test_unbroken_means_one_step_between_all_rows_of_the_window(gone: list[int], before: int, after: int) -> None:
    times = without(hourly(20), *gone).times
    indices = np.arange(before, len(times) - after + 1)
    expected = [all(np.diff(times[i - before : i + after]) == HOUR) for i in indices]
    assert unbroken(times, indices, before, after, HOUR).tolist() == expected


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
    planned = origins(dataset, 12, 3, 10)
    truth = planned.truth(dataset, 3)
    for i, index in enumerate(planned.indices):
        np.testing.assert_array_equal(truth.values[i], dataset.test.values[index : index + 3][:, [1, 0]])
        assert truth.origins[i] == dataset.test.times[index - 1]
    assert truth.empty == sum(index <= 20 < index + 3 for index in planned.indices) > 0


@pytest.mark.parametrize(("count", "spacing"), [(0, 1.0), (1, 1.0), (6, 5.0)])
def test_spacing_is_the_median_distance_of_neighbouring_origins(count: int, spacing: float) -> None:
    dataset = dataset_with(200, 40)
    assert origins(dataset, 12, 3, count).truth(dataset, 3).spacing == spacing


@pytest.mark.parametrize("gone", [(), (50,), (50, 51, 90)])
@pytest.mark.parametrize(("lookback", "horizon"), [(12, 3), (1, 1), (30, 6)])
def test_train_windows_are_all_that_fit_and_have_no_gap(lookback: int, horizon: int, gone: tuple[int, ...]) -> None:
    rows = without(hourly(120), *gone)
    expected = [
        o
        for o in range(lookback, len(rows) - horizon + 1)
        if rows.times[o + horizon - 1] - rows.times[o - lookback] == (lookback + horizon - 1) * HOUR
    ]
    assert train_origins(rows, lookback, horizon, HOUR).tolist() == expected


def test_too_few_train_rows_have_no_window() -> None:
    assert len(train_origins(hourly(14), 12, 3, HOUR)) == 0


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
        assert int(histories.ends.min()) == 12 + (240 if expected else 0)
        assert histories.context.times[0] == (START if expected else times[240])


def test_a_gap_within_the_longest_lag_drops_a_window_too() -> None:
    whole = dataset_with(200, 60)
    broken = replace(whole, test=without(whole.test, 30))
    lagged = replace(broken, fitted=replace(broken.fitted, lags=(1, 5)))
    dropped = origins(lagged, 12, 3, 0).dropped
    assert dropped == origins(broken, 12, 3, 0).dropped + 5


def test_a_lag_from_before_the_first_row_drops_no_window() -> None:
    whole = dataset_with(200, 60, contiguous=False)
    lagged = replace(whole, fitted=replace(whole.fitted, lags=(40,)))
    assert origins(lagged, 12, 3, 0).dropped == 0


@pytest.mark.parametrize(("count", "step"), [(0, 1), (0, 5), (3, 5), (500, 5), (4, 1), (1, 24), (0, 100)])
def test_a_step_counts_the_origins_back_from_the_last(count: int, step: int) -> None:
    planned = windows.plan_windows(dataset_with(200, 40), "w", 12, 3, count, step)
    every = list(range(37, 12 - 1, -step))
    assert planned.indices.tolist() == sorted(every[:count] if count else every)
