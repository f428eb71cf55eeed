"""Estimates grow with what a fit has to do, and a run of hours says what to leave out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from flts.runner.estimate import MEASURED, FitSize, beyond, of_hours, span
from flts.spec.models import GruParameters, LstmParameters

SIZE = FitSize(rows=5000, windows=700, input_length=168, horizon=24, season=24, columns=5, targets=1, parameters=None)
TABLES = {"gru": GruParameters(), "lstm": LstmParameters()}


def seconds(name: str, **changed: Any) -> float:
    return MEASURED[name](replace(SIZE, **{"parameters": TABLES.get(name), **changed}))


@pytest.mark.parametrize("name", sorted(MEASURED))
def test_twice_the_work_never_takes_less(name: str) -> None:
    whole = seconds(name)
    assert whole > 0
    for size in ("rows", "windows", "input_length", "season", "columns", "targets"):
        assert seconds(name, **{size: 2 * getattr(SIZE, size)}) >= whole


def test_a_network_takes_as_long_as_its_epochs_and_weights() -> None:
    ten, twenty = (seconds("gru", parameters=GruParameters(epochs=epochs)) for epochs in (10, 20))
    assert ten < seconds("gru") <= twenty == pytest.approx(2 * ten)
    assert seconds("gru", parameters=GruParameters(hidden_size=32)) < seconds("gru") < seconds("lstm")


def test_a_run_of_hours_names_the_models_to_leave_out() -> None:
    assert of_hours({"ridge": 60.0, "gru": 3000.0}) == ""
    said = of_hours({"ridge": 60.0, "prophet": 30.0, "gru": 9000.0, "lstm": 9000.0})
    assert said == ("this run takes about 5 h of CPU; without gru, lstm about 2 min: --models prophet,ridge")
    assert "--set sample.train_rows=N" in of_hours({"gru": 9000.0})
    assert "--set sample.train_rows=N" in of_hours({"gru": 9000.0}, ["ensemble"])


def test_a_fit_that_its_time_limit_may_end_is_named_with_a_longer_one() -> None:
    seconds = {"ridge": 60.0, "gru": 3000.0, "lstm": 9000.0}
    assert beyond(seconds, 3600.0) == (
        "a fit is ended after 60 min, and lstm may take longer: FLTS_TRAIN_TIMEOUT=18000 gives up to 5 h"
    )
    assert "and gru, lstm may" in beyond(seconds, 100.0)
    assert beyond(seconds, 9000.0) == ""


def test_more_columns_than_windows_cost_a_ridge_no_more_than_its_dual_form() -> None:
    shape = {"rows": 240, "input_length": 24}
    assert seconds("ridge", columns=10_000, **shape) < 10 * seconds("ridge", columns=1_000, **shape)


def test_models_without_an_estimate_stay() -> None:
    said = of_hours({"ridge": 60.0, "gru": 9000.0}, ["ets", "ensemble"])
    assert said.endswith("without gru about 60 s: --models ensemble,ets,ridge")
    assert of_hours({"gru": 9000.0}, ["ridge"]).endswith("; without gru: --models ridge")


@pytest.mark.parametrize(("given", "shown"), [(0.1, "1 s"), (80.0, "80 s"), (600.0, "10 min"), (7200.0, "2 h")])
def test_a_duration_is_rounded_for_people(given: float, shown: str) -> None:
    assert span(given) == shown
