"""Which moments are forecast, and what a history may hold: against brute force."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.families import task_on
from tests.support.series import HOUR, START, hourly

from flts.contracts.errors import DataError
from flts.contracts.records.data import Regularity, RowsSummary
from flts.forecasting import histories as chunks
from flts.forecasting.histories import Histories, unbroken
from flts.models.base import Indices
from flts.preprocess.rows import Rows, Times
from flts.preprocess.stage import ProcessedDataset
from flts.train import windows
from flts.train.windows import Windows, split_tail, train_origins


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


def parted(rows: int, test: int, **changes: Any) -> ProcessedDataset:
    whole = hourly(rows)
    return dataset_of(whole[:-test], whole[-test:], **changes)


def origins(dataset: ProcessedDataset, input_length: int, horizon: int, count: int) -> Windows:
    return windows.plan_windows(dataset, "w", input_length, horizon, count)


def without(rows: Rows, *gone: int) -> Rows:
    """The rows but some of them, so that the step is broken there."""
    kept = np.setdiff1d(np.arange(len(rows)), gone)
    return Rows(rows.times[kept], rows.values[kept], rows.columns)


@pytest.mark.parametrize(("test", "input_length", "horizon"), [(40, 12, 3), (15, 12, 3), (30, 1, 1), (16, 10, 6)])
def test_zero_takes_every_origin_from_the_input_length_to_the_last_whole_horizon(
    test: int, input_length: int, horizon: int
) -> None:
    found = origins(parted(200, test), input_length, horizon, 0)
    assert found.indices.tolist() == list(range(input_length, test - horizon + 1))
    assert found.dropped == 0


@pytest.mark.parametrize("count", [1, 2, 3, 7, 25, 26, 27, 500])
def test_a_number_takes_at_most_so_many_evenly_spaced_origins(count: int) -> None:
    found = origins(parted(200, 40), 12, 3, count)
    first, last = 12, 37
    spacing = (last - first) / (count - 1) if count > 1 else 0.0
    expected = sorted({round(first + i * spacing) for i in range(count)})
    assert found.indices.tolist() == expected
    assert len(found.indices) <= count


def test_the_origins_never_depend_on_the_models() -> None:
    subjects = [small_experiment(small_spec(models))[0] for models in (("ridge",), ("automfles", "gru", "prophet"))]
    first, second = (experiment.windows for experiment in subjects)
    np.testing.assert_array_equal(first.indices, second.indices)
    assert (first.windows_hash, first.dropped) == (second.windows_hash, second.dropped)


def test_test_rows_too_few_for_one_window_are_refused_with_the_numbers() -> None:
    with pytest.raises(DataError, match=r"test has 14 rows; input_length 12 \+ horizon 3 need at least 15"):
        origins(parted(200, 14), 12, 3, 0)


def test_a_window_across_a_broken_step_is_dropped_and_counted() -> None:
    whole = parted(200, 60)
    broken = replace(whole, test=without(whole.test, 30))
    found = origins(broken, 12, 3, 0)
    times = broken.test.times
    candidates = range(12, 59 - 3 + 1)
    expected = [i for i in candidates if all(times[r + 1] - times[r] == HOUR for r in range(i - 12, i + 2))]
    assert found.indices.tolist() == expected
    assert found.dropped == len(candidates) - len(expected) > 0


def test_when_every_window_is_broken_the_rows_are_refused() -> None:
    whole = parted(200, 60)
    every_tenth = replace(whole, test=without(whole.test, *range(5, 60, 10)))
    with pytest.raises(DataError, match=r"every one of the \d+ test windows crosses a broken step"):
        origins(every_tenth, 12, 3, 0)


@pytest.mark.parametrize("gone", [[], [7], [3, 4, 11]])
@pytest.mark.parametrize(("before", "after"), [(1, 1), (4, 2), (2, 5)])
def test_unbroken_is_every_difference_inside_the_window(gone: list[int], before: int, after: int) -> None:
    times = without(hourly(20), *gone).times
    indices = np.arange(before, len(times) - after + 1)
    expected = [all(np.diff(times[i - before : i + after]) == HOUR) for i in indices]
    assert unbroken(times, indices, before, after, HOUR).tolist() == expected


@pytest.mark.parametrize("wanted", [1, 12, 40, 10_000])
@pytest.mark.parametrize("contiguous", [True, False])
def test_a_history_is_the_rows_just_before_its_origin_and_none_after(contiguous: bool, wanted: int) -> None:
    dataset = parted(120, 40, contiguous=contiguous)
    found = origins(dataset, 12, 3, 0)
    rows = dataset.train.then(dataset.test) if contiguous else dataset.test
    seen: dict[int, int] = {}
    for positions, times, values in found.histories(dataset).batches(wanted):
        for position, some_times, some_values in zip(positions, times, values, strict=True):
            origin = int(dataset.test.times[found.indices[position]])
            before = rows.times < origin
            np.testing.assert_array_equal(some_times, rows.times[before][-wanted:])
            np.testing.assert_array_equal(some_values, rows.values[before][-wanted:])
            seen[int(position)] = len(some_times)
    assert sorted(seen) == list(range(len(found.indices)))
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
    dataset = parted(200, 40)
    dataset.test.values[20, 0] = np.nan
    found = origins(dataset, 12, 3, 10)
    truth = found.truth(dataset, 3)
    for i, index in enumerate(found.indices):
        np.testing.assert_array_equal(truth.values[i], dataset.test.values[index : index + 3][:, [1, 0]])
        assert truth.origins[i] == dataset.test.times[index - 1]
    assert truth.empty == sum(index <= 20 < index + 3 for index in found.indices) > 0


@pytest.mark.parametrize(("count", "spacing"), [(0, 1.0), (1, 1.0), (6, 5.0)])
def test_spacing_is_the_median_distance_of_neighbouring_origins(count: int, spacing: float) -> None:
    dataset = parted(200, 40)
    assert origins(dataset, 12, 3, count).truth(dataset, 3).spacing == spacing


@pytest.mark.parametrize("gone", [(), (50,), (50, 51, 90)])
@pytest.mark.parametrize(("lookback", "horizon"), [(12, 3), (1, 1), (30, 6)])
def test_train_windows_are_all_that_fit_and_cross_no_broken_step(
    lookback: int, horizon: int, gone: tuple[int, ...]
) -> None:
    rows = without(hourly(120), *gone)
    expected = [
        o
        for o in range(lookback, len(rows) - horizon + 1)
        if rows.times[o + horizon - 1] - rows.times[o - lookback] == (lookback + horizon - 1) * HOUR
    ]
    assert train_origins(rows, lookback, horizon, HOUR).tolist() == expected


def test_train_rows_too_few_for_one_window_hold_none() -> None:
    assert len(train_origins(hourly(14), 12, 3, HOUR)) == 0


def spread_origins(count: int, gaps: bool) -> Indices:
    found = np.arange(count, dtype=np.int64) + 12
    return found + 5 * (found > 12 + count // 2) if gaps else found


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("horizon", [1, 3, 12])
@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("count", [40, 79, 80, 81, 200, 201, 1000])
def test_the_tail_has_the_documented_size_and_no_fitting_window_reaches_into_it(
    count: int, fraction: float, horizon: int, gaps: bool
) -> None:
    whole = spread_origins(count, gaps)
    fit, tail = split_tail(whole, horizon, fraction)
    assert len(tail) == max(math.ceil(fraction * count), min(20, count // 4))
    assert tail.tolist() == whole[-len(tail) :].tolist()
    tail_targets = {row for origin in tail.tolist() for row in range(origin, origin + horizon)}
    before = [o for o in whole.tolist() if o < tail[0]]
    free = [o for o in before if not tail_targets & {*range(o, o + horizon)}]
    assert fit.tolist() == free


@pytest.mark.parametrize(("count", "horizon"), [(0, 1), (1, 1), (3, 3), (8, 12)])
def test_too_few_train_windows_to_fit_and_to_validate_are_refused(count: int, horizon: int) -> None:
    with pytest.raises(DataError, match=rf"train has {count} windows of history and horizon, too few"):
        split_tail(spread_origins(count, gaps=False), horizon, 0.1)


def test_contiguous_is_decided_by_one_step_between_train_and_test() -> None:
    for gap, expected in ((0, True), (1, False)):
        rows = hourly(300)
        times: Times = rows.times + HOUR * gap * (np.arange(300) >= 240)
        experiment, _ = small_experiment(rows=replace(rows, times=times))
        assert experiment.dataset.contiguous is expected
        histories = experiment.windows.histories(experiment.dataset)
        assert int(histories.ends.min()) == 12 + (240 if expected else 0)
        assert histories.context.times[0] == (START if expected else times[240])


def test_a_window_is_as_long_as_its_longest_lag_reaches() -> None:
    whole = parted(200, 60)
    broken = replace(whole, test=without(whole.test, 30))
    lagged = replace(broken, fitted=replace(broken.fitted, lags=(1, 5)))
    dropped = origins(lagged, 12, 3, 0).dropped
    assert dropped == origins(broken, 12, 3, 0).dropped + 5


def test_a_lag_that_would_reach_before_the_first_row_drops_no_window() -> None:
    whole = parted(200, 60, contiguous=False)
    lagged = replace(whole, fitted=replace(whole.fitted, lags=(40,)))
    assert origins(lagged, 12, 3, 0).dropped == 0


@pytest.mark.parametrize(("count", "step"), [(0, 1), (0, 5), (3, 5), (500, 5), (4, 1), (1, 24), (0, 100)])
def test_a_step_counts_the_origins_back_from_the_last(count: int, step: int) -> None:
    found = windows.plan_windows(parted(200, 40), "w", 12, 3, count, step)
    every = list(range(37, 12 - 1, -step))
    assert found.indices.tolist() == sorted(every[:count] if count else every)
