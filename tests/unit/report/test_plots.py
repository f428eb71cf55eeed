"""Pictures of a stored experiment show the numbers that the store holds, and name their target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.pictures import bands, panels, pixels, times, values, words
from tests.support.raising import raises
from tests.support.series import HOUR, hourly
from tests.support.stored import fit, gathered

from flts.contracts.errors import DataError, UsageError
from flts.forecasting.bundle import load_bundle, read_bundle
from flts.preprocess.rows import Rows
from flts.promotion.judge import judge
from flts.report import plots
from flts.report.plots import RunPlots
from flts.serve.answer import answer
from flts.train.stage import Trained

pytestmark = pytest.mark.slow


def judged(rows: Rows | None = None, test: int = 60, **tables: Any) -> tuple[RunPlots, Trained]:
    experiment, store = small_experiment(small_spec(**tables), rows or hourly(300), test)
    trained = fit(store, experiment)
    decision = judge(store, experiment, gathered(store, experiment), "global", []).record
    return RunPlots(store, experiment, decision), trained


@pytest.fixture(scope="module")
def one() -> tuple[RunPlots, Trained]:
    return judged()


def stored(pair: tuple[RunPlots, Trained]) -> Any:
    return pair[0].experiment.forecasts(pair[0].store, pair[1].model_hash, pair[1].forecasts_sha256)


@pytest.mark.parametrize(
    ("tables", "windows"),
    [
        ({}, 20),
        ({"task": {"horizon": 1}}, 60),
        ({"task": {"horizon": 40, "input_length": 5}}, 1),
        ({"evaluate": {"windows": 1}}, 1),
    ],
    ids=["three steps", "one step", "longer than the windows apart", "one window"],
)
def test_the_windows_that_are_shown_are_the_last_ones_that_do_not_overlap(tables: dict[str, Any], windows: int) -> None:
    pair = judged(**tables)
    experiment, horizon = pair[0].experiment, pair[0].experiment.task.horizon
    picture = pair[0].forecast("load")
    (axes,) = panels(picture)
    shown = times(axes, "forecast")
    assert shown.size == windows * horizon <= max(horizon, plots.SHOWN_STEPS)
    assert (np.diff(shown) > 0).all()
    test = experiment.dataset.test
    rows = dict(zip(test.times.tolist(), test.select(("load",))[:, 0].tolist(), strict=True))
    last = times(axes, "origin")
    assert last[-1] == experiment.origins[-1]
    assert set(last.tolist()) <= set(experiment.origins.tolist())
    truth = times(axes, "truth")
    assert (truth[0], truth[-1]) == (last[0], shown[-1])
    assert (np.diff(truth) == HOUR).all()
    assert values(axes, "truth")[1:].tolist() == [rows[time] for time in truth[1:].tolist()]
    assert set(shown.tolist()) <= set(truth.tolist())
    assert values(axes, "forecast")[-horizon:].tolist() == stored(pair)["y_hat"][-1, :, 0].tolist()
    title, *caption = words(picture)
    assert title == "load: forecast and truth"
    assert f"of {len(experiment.origins)} test windows" in " ".join(caption)


def test_a_picture_of_several_targets_names_its_own() -> None:
    pair = judged(dataset={"targets": ["wind", "load"]})
    every = {**pair[0].of_all(), **pair[0].of_each()}
    assert {"models", "forecast", "next", "forecast-2-load", "ridge-residuals", "ridge-residuals-2-load"} <= set(every)
    for name, target, at in (("forecast", "wind", 0), ("forecast-2-load", "load", 1)):
        picture = every[name]()
        assert words(picture)[0].startswith(target)
        assert values(panels(picture)[0], "forecast")[-3:].tolist() == stored(pair)["y_hat"][-1, :, at].tolist()
    chosen = pair[0].of_all("load")
    assert words(chosen["forecast"]())[0].startswith("load")
    assert words(chosen["next"]())[0].startswith("load")
    with raises(UsageError, code="target-unknown", found="sun", valid=["wind", "load"]):
        pair[0].of_all("sun")


@pytest.mark.parametrize("name", ["a/b", "../x", "α β", "x" * 300])
def test_a_name_of_a_target_makes_no_path(name: str) -> None:
    ending = plots._ending(["load", name], 1)
    assert "/" not in ending
    assert len(ending) < 60


def test_what_comes_next_is_what_the_bundle_answers_to_all_rows(one: tuple[RunPlots, Trained]) -> None:
    experiment = one[0].experiment
    picture = one[0].ahead("load")
    (axes,) = panels(picture)
    rows = experiment.dataset.train.then(experiment.dataset.test)
    history = {"time": rows.times.astype("datetime64[ns]"), "load": rows.values[:, 0], "wind": rows.values[:, 1]}
    made = answer(load_bundle(one[0].store, one[1].bundle_sha256), history)
    assert values(axes, "forecast").tolist() == made.mean[:, 0].tolist()
    assert times(axes, "forecast").tolist() == made.times.tolist()
    assert times(axes, "history")[-1] == experiment.dataset.test.times[-1] == made.times[0] - HOUR
    assert bands(axes) == ["95 %", "80 %", "50 %"]
    pixels(picture)


def test_a_history_that_nothing_can_be_forecast_from_is_said() -> None:
    rows = hourly(300)
    empty = rows.values.copy()
    empty[-12:, 0] = np.nan
    pair = judged(Rows(rows.times, empty, rows.columns))
    with raises(DataError, code="history-empty"):
        pair[0].ahead("load")


def test_the_error_of_each_step_is_that_of_the_board_in_units_of_a_single_target(one: tuple[RunPlots, Trained]) -> None:
    decision = one[0].decision
    assert decision is not None
    picture = one[0].error_per_step()
    (axes,) = panels(picture)
    width = decision.yardstick.width[0]
    best = decision.ranked_baselines[0]
    assert values(axes, "ridge") == pytest.approx([at.rmse * width for at in decision.ranked[0].profile.step])
    assert values(axes, f"{best.model} (baseline)") == pytest.approx([at.rmse * width for at in best.profile.step])
    assert "each step falls in 24 of 24 parts of a season of 24 rows" in " ".join(words(picture)[1:])


def test_a_step_that_sees_few_hours_is_said() -> None:
    pair = judged(test=120, evaluate={"step": 12})
    assert "each step falls in 2 of 24 parts of a season of 24 rows: the season is part" in " ".join(
        words(pair[0].error_per_step())[1:]
    )


@pytest.mark.parametrize(
    ("tables", "test", "kinds"),
    [
        ({}, 60, {"residuals", "calibration"}),
        ({"task": {"horizon": 1}}, 268, {"residuals"}),
    ],
    ids=["several steps", "too few windows for intervals"],
)
def test_a_model_gets_the_pictures_that_apply_to_it(tables: dict[str, Any], test: int, kinds: set[str]) -> None:
    pair = judged(test=test, **tables)
    manifest = read_bundle(pair[0].store, pair[1].bundle_sha256)[0]
    drawn = plots._of_model(pair[0].experiment, "ridge", stored(pair), [[1.0, 2.0]], manifest)
    assert set(drawn) == kinds | {"loss_curve"}
    for draw in drawn.values():
        assert "load" in words(draw())[0]


@pytest.mark.parametrize(("curve", "kinds"), [([], {"forecast"}), ([[1.0, 2.0]], {"forecast", "loss_curve"})])
def test_the_tracker_keeps_forecasts_and_losses(
    one: tuple[RunPlots, Trained], curve: list[list[float]], kinds: set[str]
) -> None:
    kept = plots.kept_of(one[0].experiment, "ridge", stored(one), curve)
    assert set(kept) == kinds
    assert values(panels(kept["forecast"])[0], "forecast")[-3:].tolist() == stored(one)["y_hat"][-1, :, 0].tolist()


def test_an_experiment_that_nobody_judged_has_its_forecasts_alone(one: tuple[RunPlots, Trained]) -> None:
    alone = RunPlots(one[0].store, one[0].experiment, None)
    assert set(alone.of_all()) == {"forecast"}
    assert alone.models == ["ridge"]
    assert set(alone.of_each()) == {"ridge-residuals", "ridge-calibration"}
