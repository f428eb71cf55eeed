"""Errors per step, hour and weekday, against plain Python."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.judging import clock_of, off_by, truth_of, yardstick_of

from flts.contracts.records.decision import HourErrors, StepErrors, WeekdayErrors
from flts.evaluate.profile import WEEKDAYS, profile
from flts.promotion.judge import wall_clock


def test_errors_per_step_hour_and_weekday_are_those_of_plain_python() -> None:
    truth = truth_of(200, 3, 2)
    truth[7, 1] = np.nan
    forecast, clock = off_by(truth, 3.0), clock_of(truth)
    by_label = profile(truth, forecast, yardstick_of(2), clock)
    labelled: list[tuple[Sequence[StepErrors | HourErrors | WeekdayErrors], Callable[[int, int], int]]] = [
        (by_label.step, lambda i, h: h + 1),
        (by_label.hour, lambda i, h: int(clock.hour[i, h])),
        (by_label.weekday, lambda i, h: int(clock.weekday[i, h])),
    ]
    for rows, label_of in labelled:
        cells: dict[int, list[float]] = {}
        for i, h, t in np.ndindex(truth.shape):
            if not math.isnan(truth[i, h, t]):
                cells.setdefault(label_of(i, h), []).append(float(forecast[i, h, t] - truth[i, h, t]) / 40.0)
        assert [label(row) for row in rows] == sorted(cells)
        for row in rows:
            errors = cells[label(row)]
            assert row.cells == len(errors)
            assert row.mae == pytest.approx(sum(map(abs, errors)) / len(errors))
            assert row.rmse == pytest.approx(math.sqrt(sum(e * e for e in errors) / len(errors)))


def label(row: StepErrors | HourErrors | WeekdayErrors) -> int:
    """The step, hour or weekday that a row is about."""
    match row:
        case StepErrors():
            return row.step
        case HourErrors():
            return row.hour
        case WeekdayErrors():
            return row.weekday


def test_a_label_without_truth_is_left_out() -> None:
    truth = truth_of(30, 2)
    truth[:, 1] = np.nan
    assert [row.step for row in profile(truth, truth, yardstick_of(), clock_of(truth)).step] == [1]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_the_clock_is_the_local_one_of_every_forecast_row(zone: str) -> None:
    experiment, _ = small_experiment(small_spec(dataset={"timezone": zone}))
    clock = wall_clock(experiment)
    assert clock.hour.shape == clock.weekday.shape == (len(experiment.windows.indices), 3)
    for position, origin in enumerate(experiment.origins.tolist()):
        for step in range(3):
            moment = datetime.fromtimestamp(origin / 1e9, UTC) + timedelta(hours=step + 1)
            local = moment.astimezone(ZoneInfo(zone))
            assert (clock.hour[position, step], clock.weekday[position, step]) == (local.hour, local.weekday())
            assert WEEKDAYS[local.weekday()] == local.strftime("%A")
