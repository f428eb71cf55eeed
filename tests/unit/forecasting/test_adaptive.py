"""Adaptive offsets against plain Python: which scores count, and that a history alone decides."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.families import task_on
from tests.support.series import HOUR, hourly

from flts.contracts.records.model import IntervalOffsets
from flts.forecasting.adaptive import NEWEST, earlier_origins, reach
from flts.forecasting.bundle import Bundle
from flts.forecasting.histories import Histories
from flts.forecasting.intervals import LEVELS, conformal_offsets
from flts.forecasting.model import Model
from flts.models.base import History, Window
from flts.preprocess.rows import Rows, Values

TARGETS = ("load", "wind")
HORIZON, INPUT = 3, 12
TRAIN = 150
ROWS = hourly(420, seed=4)
STORED = np.abs(np.random.default_rng(8).normal(0.0, 0.2, (37, HORIZON, 2)))


class Last:
    """Repeats the last value of each target, and counts the windows that it forecasts."""

    def __init__(self) -> None:
        self.windows = 0

    def predict(self, window: Window) -> Values:
        self.windows += len(window.times)
        return np.repeat(window.targets[:, -1:], HORIZON, axis=1)


def bundle(stored: Values | None = STORED, wanted: int = 20, **task: Any) -> Bundle:
    """A bundle of the model that repeats the last value, trained on the first rows."""
    fitted = replace(task_on(ROWS[:TRAIN], TARGETS, input_length=INPUT), **task)
    offsets = conformal_offsets(STORED)
    intervals = IntervalOffsets(offsets=offsets, reason=None, scale="constant", scores=None)
    manifest: Any = type("Manifest", (), {"intervals": intervals, "trained_until": int(ROWS.times[TRAIN - 1])})
    return Bundle("a digest", manifest, Model(Last(), fitted, History(wanted, 1)), stored)


def by_hand(rows: Rows, end: int, level: float, wanted: int = 20) -> tuple[list[list[float]], bool]:
    """Half widths [horizon][targets] of a request at row `end`, score by score; and whether its history counts."""
    _, width = bundle().model.task.fitted.target_range
    values = rows.select(TARGETS)
    first = max(end - wanted - NEWEST - HORIZON + 1, 0)
    result, adaptive = [[0.0] * 2 for _ in range(HORIZON)], False
    for step in range(HORIZON):
        for target in range(2):
            own = []
            for origin in range(first + wanted, end):
                window = values[origin - INPUT : origin]
                measured = (~np.isnan(window)).all(axis=1).sum() >= math.ceil(0.75 * INPUT)
                last = [v for v in values[:origin, target] if not math.isnan(v)][-1]
                if rows.times[origin] <= ROWS.times[TRAIN - 1] or not measured or origin + step >= end:
                    continue
                truth = values[origin + step, target]
                if not math.isnan(truth):
                    own.append(abs(truth - last) / width[target])
            pool = [*STORED[:, step, target], *own]
            kept = sorted(pool[-NEWEST:] if own else pool)
            result[step][target] = kept[math.ceil((len(kept) + 1) * level - 1e-9) - 1] * width[target]
            adaptive = adaptive or bool(own)
    return result, adaptive


def with_gaps() -> Rows:
    values = ROWS.values.copy()
    values[200:203, 0] = values[250, 1] = values[310:325] = np.nan
    return replace(ROWS, values=values)


@pytest.mark.parametrize("end", [TRAIN, TRAIN + 1, TRAIN + 2, TRAIN + 40, 303, 327, 345, 420])
@pytest.mark.parametrize("rows", [ROWS, with_gaps()], ids=["whole", "gaps"])
def test_a_request_takes_the_newest_known_scores_of_its_history_then_the_stored_ones(rows: Rows, end: int) -> None:
    answers = bundle().forecast(Histories(rows, np.array([end])))
    for level in LEVELS:
        expected, adaptive = by_hand(rows, end, level)
        np.testing.assert_allclose(answers.half_width[f"{level:g}"][0], expected, rtol=1e-9)
        assert answers.kinds() == ["adaptive" if adaptive else "static"]


@pytest.mark.parametrize("rows", [20, 21, 60, 20 + reach(HORIZON), 300])
def test_a_history_gives_the_same_alone_and_among_the_rows_around_it(rows: int) -> None:
    served = bundle().forecast(Histories(ROWS[400 - rows : 400], np.array([rows])))
    judged = bundle().forecast(Histories(ROWS, np.arange(180, 421)))
    if rows >= bundle().rows_used:
        np.testing.assert_array_equal(served.interval(0.9), [ends[[220]] for ends in judged.interval(0.9)])
    expected, _ = by_hand(ROWS[400 - rows : 400], rows, 0.9)
    np.testing.assert_allclose(served.half_width["0.9"][0], expected, rtol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_requests_that_are_answered_together_get_what_each_gets_alone(seed: int) -> None:
    rng, found, rows = np.random.default_rng(seed), bundle(), with_gaps()
    requests = []
    lengths = [1, 5, 12, 20, 21, 23, 60, found.rows_used, 200]
    alike = rng.choice(lengths) if seed % 2 else None
    for _ in range(rng.integers(2, 9)):
        length = int(alike or rng.choice(lengths))
        end = int(rng.integers(length, len(rows) + 1))
        requests.append(rows[end - length : end])
    together = list(found.forecast_each(requests).each())
    for request, answers in zip(requests, together, strict=True):
        alone = found.forecast(Histories(request, np.array([len(request)])))
        np.testing.assert_array_equal(answers.mean, alone.mean)
        np.testing.assert_array_equal(answers.spread, alone.spread)
        assert answers.kinds() == alone.kinds()
        for level in LEVELS:
            np.testing.assert_array_equal(answers.half_width[f"{level:g}"], alone.half_width[f"{level:g}"])
            np.testing.assert_array_equal(answers.interval(level), alone.interval(level))


@pytest.mark.parametrize("seed", range(10))
def test_joined_histories_hold_the_rows_of_their_own_request_alone(seed: int) -> None:
    rng, found, rows = np.random.default_rng(seed), bundle(), with_gaps()
    requests = []
    for length in rng.choice([31, 60, found.rows_used, 200], rng.integers(2, 6)):
        end = int(rng.integers(length, len(rows) + 1))
        requests.append(Histories(rows[end - length : end], np.unique(rng.integers(1, length + 1, 3))))
    together = list(found.forecast(Histories.joined(requests)).each())
    alone = [answers for request in requests for answers in found.forecast(request).each()]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.mean, other.mean)
        np.testing.assert_array_equal(one.interval(0.8), other.interval(0.8))
        assert one.kinds() == other.kinds()


def test_the_rows_that_a_model_uses_give_the_static_offsets_exactly() -> None:
    whole, alone = bundle(), bundle(stored=None)
    history = Histories(ROWS[380:400], np.array([20]))
    for adaptive, static in zip(
        whole.forecast(history).interval(0.8), alone.forecast(history).interval(0.8), strict=True
    ):
        np.testing.assert_array_equal(adaptive, static)
    assert whole.forecast(history).kinds() == ["static"]


def test_rows_after_a_request_change_nothing() -> None:
    changed = replace(ROWS, values=ROWS.values.copy())
    changed.values[360:] = -1e6
    before, after = (bundle().forecast(Histories(rows, np.arange(300, 361))) for rows in (ROWS, changed))
    np.testing.assert_array_equal(before.interval(0.8), after.interval(0.8))


def test_origins_whose_truth_the_model_was_fitted_on_do_not_count() -> None:
    model = bundle().model
    found = earlier_origins(Histories(ROWS, np.array([TRAIN + 5, 420])), model, int(ROWS.times[TRAIN - 1]))
    assert found.tolist() == [*range(TRAIN, TRAIN + 5), *range(420 - reach(HORIZON), 420)]
    none = earlier_origins(Histories(ROWS, np.array([300])), model, int(ROWS.times[299]))
    assert none.tolist() == []


def test_each_origin_is_forecast_once_whoever_asks_for_it() -> None:
    found = bundle()
    found.forecast(Histories(ROWS, np.arange(300, 420)))
    assert isinstance(found.model.predictor, Last)
    assert found.model.predictor.windows == 420 - (300 - reach(HORIZON))


@pytest.mark.parametrize("end", [TRAIN, TRAIN + 1, TRAIN + 60, 300, 420])
@pytest.mark.parametrize("length", [5, 20, 21, 80, 150])
def test_how_many_windows_a_request_takes_is_known_before_it_is_answered(end: int, length: int) -> None:
    found, rows = bundle(), ROWS[end - length : end]
    found.forecast(Histories(rows, np.array([length])))
    assert isinstance(found.model.predictor, Last)
    assert found.windows(rows) == found.model.predictor.windows
    assert found.windows(rows) <= found.most_windows(length)


def test_a_history_that_is_one_window_of_a_member_may_be_more_of_another() -> None:
    long, short = bundle(wanted=20), bundle(wanted=17)
    both, rows = replace(long, members=((1, long), (2, short))), ROWS[380:400]
    for one in (long, short):
        one.forecast(Histories(rows, np.array([20])))
    assert isinstance(long.model.predictor, Last)
    assert isinstance(short.model.predictor, Last)
    assert (long.model.predictor.windows, short.model.predictor.windows) == (1, 4)
    assert both.most_windows(20) == both.windows(rows) == 5


def test_errors_that_grow_after_train_widen_the_intervals_until_they_cover() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0, 1, (TRAIN, 2)), rng.normal(0, 4, (1000, 2))])
    rows = Rows(ROWS.times[0] + HOUR * np.arange(1150), values, ("load", "wind"))
    task = task_on(rows[:TRAIN], TARGETS, input_length=INPUT)
    model = Model(Last(), task, History(INPUT, 1))
    ends = np.arange(30, 120)
    answers = model.forecast_all(Histories(rows, ends))
    truth = rows.values[ends[:, None] + np.arange(HORIZON)]
    stored = np.abs(truth - answers.mean) / answers.spread[:, None, :]
    offsets = conformal_offsets(stored)
    intervals = IntervalOffsets(offsets=offsets, reason=None, scale="constant", scores=None)
    manifest: Any = type("Manifest", (), {"intervals": intervals, "trained_until": int(rows.times[TRAIN - 1])})
    later = np.arange(TRAIN + 150, 1150 - HORIZON)
    truth = rows.values[later[:, None] + np.arange(HORIZON)]
    covered = {}
    for name, scores in (("static", None), ("adaptive", stored)):
        lower, upper = Bundle("a digest", manifest, model, scores).forecast(Histories(rows, later)).interval(0.8)
        covered[name] = float(((lower <= truth) & (truth <= upper)).mean())
    assert covered["static"] < 0.5
    assert covered["adaptive"] == pytest.approx(0.8, abs=0.03)
