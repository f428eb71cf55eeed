"""Ridge: its solution against plain least squares, its choices against brute force."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load
from tests.support.families import blocks, histories_at, recipe, task_on
from tests.support.series import HOUR, hourly

from flts.contracts.ports import Silent
from flts.models import ridge
from flts.models.base import Block, Files, ForecastTask
from flts.models.ridge import Design, Ridge
from flts.preprocess.rows import Rows, Values
from flts.preprocess.transform import calendar

STEP = {"1h": HOUR, "1d": 24 * HOUR}
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
        if fitted.calendar:
            line += calendar(block.times[[origin]], fitted)[0].tolist()
        if design.fourier:
            for season in task.seasons:
                length = season * STEP[str(fitted.grid.step)]
                for k in range(1, min(6, season // 2) + 1):
                    angle = 2.0 * np.pi * k * (int(block.times[origin]) % length) / length
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
    solution, *_ = np.linalg.lstsq(system, np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)
    return solution[:-1], solution[-1]


def solved(files: Files) -> tuple[Values, Values]:
    tensors = load(files["coefficients.safetensors"])
    return tensors["weights"], tensors["intercept"]


def series(covariates: bool = True) -> Rows:
    return hourly(260, columns=("load", "wind", "sun") if covariates else ("load",))


@pytest.mark.parametrize("preprocess", [{}, {"lags": [1, 24]}, {"time_features": False, "scaler": "standard"}])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("fourier", [False, True])
@pytest.mark.parametrize("covariates", [False, True])
def test_the_solution_equals_that_of_plain_least_squares(
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


def with_holes(block: Block, share: float = 0.2) -> Block:
    """The block with this share of its target cells empty, and an outage of the first target."""
    targets = block.targets.copy()
    targets[np.random.default_rng(1).random(targets.shape) < share] = np.nan
    targets[40:52, 0] = np.nan
    return replace(block, targets=targets)


@pytest.mark.parametrize("input_length", [4, 30], ids=["primal", "dual"])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6])
def test_each_output_has_the_least_squares_of_the_windows_that_measured_it(
    share: float, alpha: float, input_length: int
) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=input_length, seasons=(8,))
    block, _ = blocks(rows, task)
    block = with_holes(block if input_length == 4 else replace(block, origins=block.origins[:70]), share)
    design = Design(True, True)
    assert (design.width(block, task) <= len(block.origins)) is (input_length == 4)
    chosen = {"alpha": alpha, "covariates": True, "fourier": True}
    weights, intercept = solved(Ridge().refit(block, task, recipe("ridge"), chosen))
    x, y = plain_columns(block, task, design), plain_answers(block, task)
    assert len({np.isnan(output).tobytes() for output in y.T}) > 1
    for output in range(y.shape[1]):
        measured = ~np.isnan(y[:, output])
        expected = plain_solution(x[measured], y[measured, output, None], alpha)
        np.testing.assert_allclose(weights[:, output], expected[0][:, 0], atol=1e-8)
        np.testing.assert_allclose(intercept[output], expected[1][0], atol=1e-8)


@pytest.mark.parametrize("count", [40, 120], ids=["fewer windows than columns", "more windows than columns"])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("fourier", [False, True])
def test_primal_and_dual_agree(fourier: bool, holes: bool, count: int) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=12, seasons=(8,), lags=[1], scaler="standard")
    block, _ = blocks(rows, task)
    block = replace(block, origins=block.origins[:count])
    block, design = with_holes(block) if holes else block, Design(True, fourier)
    assert 40 < design.width(block, task) < 120
    alphas = [1e-2, 1.0, 1e2]
    both = (list(solve(block, design, task, alphas)) for solve in (ridge._primal, ridge._dual))
    for primal, dual in zip(*both, strict=True):
        for one, other in zip(primal, dual, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


def test_an_output_that_no_window_measured_is_the_mean_of_its_target() -> None:
    rows = series()
    task = task_on(rows, ("load", "wind"), input_length=4, seasons=())
    for columns in (10, 40):
        block = replace(blocks(rows, task)[0], origins=np.arange(60, 60 + columns))
        targets = block.targets.copy()
        targets[60 : 60 + columns, 1] = np.nan  # step 1 of the second target, in every window
        block = replace(block, targets=targets)
        chosen = {"alpha": 1.0, "covariates": False, "fourier": False}
        weights, intercept = solved(Ridge().refit(block, task, recipe("ridge"), chosen))
        np.testing.assert_array_equal(weights[:, 1], 0.0)
        assert intercept[1] == pytest.approx(np.nanmean(targets[:, 1]))
        assert np.isfinite(weights).all()


def test_the_validation_loss_is_the_mean_over_the_measured_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "CHUNK", 7)
    rows = series()
    task = task_on(rows, ("load", "wind"), input_length=4)
    block, validation = blocks(rows, task)
    validation = with_holes(replace(validation, origins=np.arange(30, 80)))
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    design = Design(fit.chosen["covariates"], fit.chosen["fourier"])
    weights, intercept = solved(fit.files)
    errors = plain_columns(validation, task, design) @ weights + intercept - plain_answers(validation, task)
    assert fit.chosen["validation_mse"] == pytest.approx(float(np.nanmean(errors**2)), rel=1e-9)


def test_a_wide_table_is_fitted_in_the_memory_of_its_weights() -> None:
    rng, columns = np.random.default_rng(0), 1000
    narrow = hourly(300, columns=("load",))
    wide = np.hstack([narrow.values, rng.normal(size=(300, columns - 1))])
    rows = Rows(narrow.times, wide, ("load", *(f"x{i}" for i in range(columns - 1))))
    task = task_on(rows, input_length=24, horizon=24)
    block, validation = blocks(rows, task)
    tracemalloc.start()
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert fit.chosen["covariates"] is False  # the other columns are noise
    assert peak < 32 * 2**20, "the columns of all windows alone take 40 MiB"


@pytest.mark.parametrize(("seasons", "terms"), [((7, 365), 6 + 12), ((52,), 12), ((2,), 2), ((24, 168), 24)])
def test_each_season_has_at_most_six_orders(seasons: tuple[int, ...], terms: int) -> None:
    rows = series(False)
    daily = Rows(rows.times[0] // (24 * HOUR) * 24 * HOUR + 24 * HOUR * np.arange(260), rows.values, rows.columns)
    task = task_on(daily, input_length=7, seasons=seasons)
    block, validation = blocks(daily, task)
    plain, fourier = (Design(False, with_terms) for with_terms in (False, True))
    assert fourier.width(block, task) - plain.width(block, task) == terms
    solution = Ridge().refit(block, task, recipe("ridge"), {"alpha": 1.0, "covariates": False, "fourier": True})
    expected = plain_solution(plain_columns(block, task, fourier), plain_answers(block, task), 1.0)
    np.testing.assert_allclose(solved(solution)[0], expected[0], atol=1e-8)
    assert "validation_mse" in Ridge().fit(block, validation, task, recipe("ridge"), Silent()).chosen


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_has_the_smallest_validation_error_by_brute_force(seed: int) -> None:
    rows = hourly(200, seed=seed, columns=("load", "wind"))
    task = task_on(rows, input_length=6, horizon=2)
    block, validation = blocks(rows, task)
    chosen = Ridge().fit(block, validation, task, recipe("ridge"), Silent()).chosen
    losses = {}
    for covariates in (False, True):
        for fourier in (False, True):
            design = Design(covariates, fourier)
            x, y = plain_columns(block, task, design), plain_answers(block, task)
            x_val, y_val = plain_columns(validation, task, design), plain_answers(validation, task)
            for alpha in ALPHAS:
                weights, intercept = plain_solution(x, y, alpha)
                losses[covariates, fourier, alpha] = float(np.mean((x_val @ weights + intercept - y_val) ** 2))
    best = min(losses, key=lambda key: losses[key])
    assert (chosen["covariates"], chosen["fourier"], chosen["alpha"]) == best
    assert chosen["validation_mse"] == pytest.approx(losses[best], rel=1e-9)


def test_on_a_tie_the_larger_penalty_and_the_smaller_design_are_kept() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, validation = blocks(rows, task)
    level = replace(block, targets=np.full_like(block.targets, 0.5))  # nothing to learn: every weight is zero
    chosen = Ridge().fit(level, validation, task, recipe("ridge", alphas=[0.1, 10.0, 1.0]), Silent()).chosen
    assert (chosen["alpha"], chosen["covariates"], chosen["fourier"]) == (10.0, False, False)


def test_a_fit_returns_the_solution_of_its_choice() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, validation = blocks(rows, task)
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    assert fit.files == Ridge().refit(block, task, recipe("ridge"), fit.chosen)


@pytest.mark.parametrize("chunk", [1, 7, 100])
def test_the_chunk_size_does_not_change_the_solution(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = series()
    task = task_on(rows, ("load", "wind"))
    block, validation = blocks(rows, task)
    whole = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    monkeypatch.setattr(ridge, "CHUNK", chunk)
    parts = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    assert {**parts.chosen, "validation_mse": 0.0} == {**whole.chosen, "validation_mse": 0.0}
    assert parts.chosen["validation_mse"] == pytest.approx(whole.chosen["validation_mse"], rel=1e-9)
    for some, all_at_once in zip(solved(parts.files), solved(whole.files), strict=True):
        np.testing.assert_allclose(some, all_at_once, atol=1e-10)


def tried(task: ForecastTask, block: Block, validation: Block, monkeypatch: pytest.MonkeyPatch) -> set[Design]:
    """The designs that a fit tries."""
    seen = set()
    columns = Design.columns

    def remembered(self: Design, *arguments: Any) -> Values:
        seen.add(self)
        return columns(self, *arguments)

    monkeypatch.setattr(Design, "columns", remembered)
    Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    return seen


@pytest.mark.parametrize("seasons", [(), (24,)])
@pytest.mark.parametrize("covariates", [False, True])
def test_only_designs_that_differ_are_tried(
    covariates: bool, seasons: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = series(covariates)
    task = task_on(rows, input_length=4, seasons=seasons)
    block, validation = blocks(rows, task)
    expected = {Design(c, f) for c in {False, covariates} for f in {False, bool(seasons)}}
    assert tried(task, block, validation, monkeypatch) == expected
    assert len({plain_columns(validation, task, design).tobytes() for design in expected}) == len(expected)


def test_a_duplicate_and_a_constant_column_leave_the_solution_finite() -> None:
    rows = series()
    rows.values[:, 1] = rows.values[:, 0]
    rows.values[:, 2] = 7.0
    task = task_on(rows, seasons=(2,))  # the sine of half a turn is zero in every row
    block, validation = blocks(rows, task)
    fit = Ridge().fit(block, validation, task, recipe("ridge", alphas=[1e-3]), Silent())
    for part in solved(fit.files):
        assert np.isfinite(part).all()


def test_a_request_uses_lags_before_its_window_as_the_fit_did() -> None:
    rows = series()
    task = task_on(rows, input_length=4, lags=[2, 24])
    block, validation = blocks(rows, task)
    family = Ridge()
    assert family.history(task).wanted == 4 + 24
    fit = family.fit(block, validation, task, recipe("ridge"), Silent())
    design = Design(fit.chosen["covariates"], fit.chosen["fourier"])
    weights, intercept = solved(fit.files)
    expected = plain_columns(validation, task, design) @ weights + intercept
    histories = np.array([np.arange(origin - 28, origin) for origin in validation.origins])
    window = histories_at(rows, histories, task)
    answers = family.load(fit.files, task).predict(window)
    np.testing.assert_allclose(answers.reshape(len(expected), -1), expected, atol=1e-12)
