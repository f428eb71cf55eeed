"""Ridge against an augmented system solved by plain least squares, and its choices against brute force."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load
from tests.support.families import blocks, recipe, task_on
from tests.support.series import hourly

from flts.contracts.ports import Silent
from flts.models import ridge
from flts.models.base import Block, Files, ForecastTask, Window
from flts.models.ridge import Design, Ridge
from flts.preprocess.rows import Rows, Values
from flts.preprocess.transform import calendar, wall_time

ALPHAS = [1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3]


def plain_columns(block: Block, task: ForecastTask, design: Design) -> Values:
    """[windows, columns], one window and one row at a time."""
    fitted = task.fitted
    names = list(fitted.features)
    wanted = [n for n in names if n in fitted.names or "_lag" in n]
    if not design.covariates:
        wanted = [*fitted.targets, *(n for n in wanted if "_lag" in n)]
    lines = []
    for origin in block.origins:
        line: list[float] = []
        for row in range(origin - task.input_length, origin):
            line += [float(block.features[row, names.index(name)]) for name in wanted]
        if fitted.time_features:
            line += calendar(block.times[[origin]], fitted.timezone)[0].tolist()
        if design.fourier:
            local = int(wall_time(block.times[[origin]], fitted.timezone)[0])
            for season in task.seasons:
                length = season * fitted.step
                for k in range(1, min(6, season // 2) + 1):
                    angle = 2.0 * np.pi * k * (local % length) / length
                    line += [np.sin(angle), np.cos(angle)]
        lines.append(line)
    return np.array(lines)


def plain_answers(block: Block, task: ForecastTask) -> Values:
    """[windows, horizon × targets]: all targets of step 1, then those of step 2."""
    return np.array([block.targets[o : o + task.horizon].reshape(-1) for o in block.origins])


def plain_solution(x: Values, y: Values, alpha: float) -> tuple[Values, Values]:
    """Least squares of [X 1; √α·I 0] on [Y; 0]: every weight is penalised, the intercept is not."""
    penalty = np.hstack([np.sqrt(alpha) * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))])
    system = np.vstack([np.hstack([x, np.ones((len(x), 1))]), penalty])
    found, *_ = np.linalg.lstsq(system, np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)
    return found[:-1], found[-1]


def solved(files: Files) -> tuple[Values, Values]:
    tensors = load(files["coefficients.safetensors"])
    return tensors["weights"], tensors["intercept"]


def series(covariates: bool = True) -> Rows:
    return hourly(260, columns=("load", "wind", "sun") if covariates else ("load",))


@pytest.mark.parametrize("preprocess", [{}, {"lags": [1, 24]}, {"time_features": False, "scaler": "standard"}])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("fourier", [False, True])
@pytest.mark.parametrize("covariates", [False, True])
def test_the_solution_is_that_of_the_augmented_least_squares_system(
    covariates: bool, fourier: bool, alpha: float, preprocess: dict[str, Any]
) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=4, seasons=(8, 24), **preprocess)
    block, _ = blocks(rows, task)
    design = Design(covariates, fourier)
    chosen = {"alpha": alpha, "covariates": covariates, "fourier": fourier}
    weights, intercept = solved(Ridge().refit(block, task, recipe("ridge"), chosen))
    expected = plain_solution(plain_columns(block, task, design), plain_answers(block, task), alpha)
    np.testing.assert_allclose(weights, expected[0], atol=1e-8)
    np.testing.assert_allclose(intercept, expected[1], atol=1e-8)


@pytest.mark.parametrize("seed", range(4))
def test_what_is_chosen_has_the_smallest_error_on_the_tail_by_brute_force(seed: int) -> None:
    rows = hourly(200, seed=seed, columns=("load", "wind"))
    task = task_on(rows, input_length=6, horizon=2)
    block, tail = blocks(rows, task)
    found = Ridge().fit(block, tail, task, recipe("ridge"), Silent()).chosen
    losses = {}
    for covariates in (False, True):
        for fourier in (False, True):
            design = Design(covariates, fourier)
            x, y = plain_columns(block, task, design), plain_answers(block, task)
            x_tail, y_tail = plain_columns(tail, task, design), plain_answers(tail, task)
            for alpha in ALPHAS:
                weights, intercept = plain_solution(x, y, alpha)
                losses[covariates, fourier, alpha] = float(np.mean((x_tail @ weights + intercept - y_tail) ** 2))
    best = min(losses, key=lambda key: losses[key])
    assert (found["covariates"], found["fourier"], found["alpha"]) == best
    assert found["validation_mse"] == pytest.approx(losses[best], rel=1e-9)


def test_on_a_tie_the_larger_penalty_and_the_smaller_design_are_kept() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, tail = blocks(rows, task)
    level = replace(block, targets=np.full_like(block.targets, 0.5))  # nothing to learn: every weight is zero
    chosen = Ridge().fit(level, tail, task, recipe("ridge", alphas=[0.1, 10.0, 1.0]), Silent()).chosen
    assert (chosen["alpha"], chosen["covariates"], chosen["fourier"]) == (10.0, False, False)


def test_what_the_fit_keeps_before_the_refit_is_the_chosen_solution() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, tail = blocks(rows, task)
    fit = Ridge().fit(block, tail, task, recipe("ridge"), Silent())
    assert fit.files == Ridge().refit(block, task, recipe("ridge"), fit.chosen)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_flattening_few_windows_at_a_time_gives_the_same_solution(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = series()
    task = task_on(rows, ("load", "wind"))
    block, tail = blocks(rows, task)
    whole = Ridge().fit(block, tail, task, recipe("ridge"), Silent())
    monkeypatch.setattr(ridge, "CHUNK", chunk)
    parts = Ridge().fit(block, tail, task, recipe("ridge"), Silent())
    assert {**parts.chosen, "validation_mse": 0.0} == {**whole.chosen, "validation_mse": 0.0}
    assert parts.chosen["validation_mse"] == pytest.approx(whole.chosen["validation_mse"], rel=1e-9)
    for some, all_at_once in zip(solved(parts.files), solved(whole.files), strict=True):
        np.testing.assert_allclose(some, all_at_once, atol=1e-10)


def tried(task: ForecastTask, block: Block, tail: Block, monkeypatch: pytest.MonkeyPatch) -> set[Design]:
    """The designs that a fit looks at."""
    seen = set()
    columns = Design.columns

    def remembered(self: Design, *arguments: Any) -> Values:
        seen.add(self)
        return columns(self, *arguments)

    monkeypatch.setattr(Design, "columns", remembered)
    Ridge().fit(block, tail, task, recipe("ridge"), Silent())
    return seen


@pytest.mark.parametrize("seasons", [(), (24,)])
@pytest.mark.parametrize("covariates", [False, True])
def test_only_designs_that_differ_are_tried(
    covariates: bool, seasons: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = series(covariates)
    task = task_on(rows, input_length=4, seasons=seasons)
    block, tail = blocks(rows, task)
    expected = {Design(c, f) for c in {False, covariates} for f in {False, bool(seasons)}}
    assert tried(task, block, tail, monkeypatch) == expected
    assert len({plain_columns(tail, task, design).tobytes() for design in expected}) == len(expected)


def test_a_duplicate_and_a_constant_column_leave_the_solution_finite() -> None:
    rows = series()
    rows.values[:, 1] = rows.values[:, 0]
    rows.values[:, 2] = 7.0
    task = task_on(rows, seasons=(2,))  # the sine of half a turn is zero in every row
    block, tail = blocks(rows, task)
    fit = Ridge().fit(block, tail, task, recipe("ridge", alphas=[1e-3]), Silent())
    for part in solved(fit.files):
        assert np.isfinite(part).all()


def test_lags_reach_before_the_window_at_a_request_as_they_did_in_the_fit() -> None:
    rows = series()
    task = task_on(rows, input_length=4, lags=[2, 24])
    block, tail = blocks(rows, task)
    family = Ridge()
    assert family.history(task).wanted == 4 + 24
    fit = family.fit(block, tail, task, recipe("ridge"), Silent())
    design = Design(fit.chosen["covariates"], fit.chosen["fourier"])
    weights, intercept = solved(fit.files)
    expected = plain_columns(tail, task, design) @ weights + intercept
    histories = np.array([np.arange(origin - 28, origin) for origin in tail.origins])
    window = Window(rows.times[histories], rows.values[histories], task.fitted)
    answers = family.load(fit.files, task).predict(window)
    np.testing.assert_allclose(answers.reshape(len(expected), -1), expected, atol=1e-12)
