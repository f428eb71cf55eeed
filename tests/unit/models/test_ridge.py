"""Ridge: its solution against plain least squares, its choices against brute force."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save
from tests.support.families import blocks, histories_at, recipe, task_on, window
from tests.support.series import HOUR, hourly

from flts.contracts.ports import Silent
from flts.models import least_squares, ridge, ridge_design
from flts.models.base import Block, Files, ForecastTask
from flts.models.ridge import Ridge
from flts.models.ridge_design import LEVELS, Design, Designed
from flts.preprocess.rows import Rows, Values
from flts.preprocess.transform import calendar

STEP = {"1h": HOUR, "1d": 24 * HOUR}
ALPHAS = [1e-1, 1e1]
PLAIN = Design("none", phases=False, fourier=False)
DESIGNS = (
    PLAIN,
    Design(),
    replace(PLAIN, level="last", phases=True),
    replace(PLAIN, level="mean", fourier=True),
    Design("spread", phases=True, fourier=False, longer=True, covariates=True),
    replace(PLAIN, covariates=True),
)


def measure(block: Block, task: ForecastTask, design: Design, fitted: Block) -> tuple[Values, Values]:
    """Level and spread of each window: [windows, targets]; fitted: the windows that say what is typical."""
    usual = max([task.input_length, *task.seasons[:1]])

    def before(b: Block) -> list[Values]:
        return [b.targets[max(origin - usual, 0) : origin] for origin in b.origins]

    def deviation(b: Block) -> Values:
        return np.array([np.nanstd(rows, axis=0) for rows in before(b)]) + 1e-3

    last = block.targets[block.origins - 1]
    mean = np.array([np.nanmean(rows, axis=0) for rows in before(block)])
    level = {"none": 0.0 * last, "last": last, "mean": mean, "spread": last}[design.level]
    if design.level != "spread":
        return level, np.ones_like(level)
    return level, np.sqrt(deviation(block) ** 2 + 0.25 * np.mean(deviation(fitted) ** 2, axis=0))


def plain_columns(block: Block, task: ForecastTask, design: Design, typical: Block | None = None) -> Values:
    """[windows, columns], one window and one row at a time, where every cell before it is measured."""
    fitted, length = task.fitted, task.input_length
    others = [i for i, name in enumerate(fitted.names) if name not in fitted.targets]
    level, spread = measure(block, task, design, typical or block)
    rows = {-back for lag in (0, *fitted.lags) for back in range(1 + lag, length + lag + 1)}
    if design.phases:
        season = max(task.seasons)
        rows |= {step - season * (step // season + back) for step in range(task.horizon) for back in (1, 2)}
    if design.longer:
        rows |= {*range(-2 * max(task.seasons), 0)}
    lines = []
    for at, origin in enumerate(block.origins):
        line: list[float] = []
        for row in sorted(rows):
            line += ((block.targets[origin + row] - level[at]) / spread[at]).tolist()
        if fitted.calendar:
            line += calendar(block.times[[origin]], fitted)[0].tolist()
        if design.fourier:
            for season in task.seasons:
                step = season * STEP[str(fitted.grid.step)]
                for k in range(1, min(6, season // 2) + 1):
                    angle = 2.0 * np.pi * k * (int(block.times[origin]) % step) / step
                    line += [np.sin(angle), np.cos(angle)]
        if design.covariates:
            for row in range(-length, 0):
                line += block.features[origin + row, others].tolist()
        lines.append(line)
    return np.array(lines)


def plain_answers(block: Block, task: ForecastTask, design: Design, typical: Block | None = None) -> Values:
    """[windows, horizon × targets]: all targets of step 1, then those of step 2."""
    level, spread = measure(block, task, design, typical or block)
    answers = [
        (block.targets[origin : origin + task.horizon] - level[at]) / spread[at]
        for at, origin in enumerate(block.origins)
    ]
    return np.array(answers).reshape(len(answers), -1)


def plain_solution(x: Values, y: Values, alpha: float) -> tuple[Values, Values]:
    """Least squares of [X 1; √α·I 0] on [Y; 0]: every weight is penalised, the intercept is not."""
    penalty = np.hstack([np.sqrt(alpha) * np.eye(x.shape[1]), np.zeros((x.shape[1], 1))])
    system = np.vstack([np.hstack([x, np.ones((len(x), 1))]), penalty])
    solution, *_ = np.linalg.lstsq(system, np.vstack([y, np.zeros((x.shape[1], y.shape[1]))]), rcond=None)
    return solution[:-1], solution[-1]


def plain_loss(fitted: Block, judged: Block, task: ForecastTask, design: Design, alpha: float) -> float:
    """Mean squared scaled error of windows."""
    weights, intercept = plain_solution(plain_columns(fitted, task, design), plain_answers(fitted, task, design), alpha)
    _, spread = measure(judged, task, design, fitted)
    errors = plain_columns(judged, task, design, fitted) @ weights + intercept
    errors -= plain_answers(judged, task, design, fitted)
    return float(np.nanmean((errors.reshape(len(errors), -1, task.targets) * spread[:, None]) ** 2))


def solved(files: Files) -> tuple[Values, Values]:
    tensors = load(files["coefficients.safetensors"])
    return tensors["weights"], tensors["intercept"]


def system(block: Block, design: Design, task: ForecastTask, fitted: Block | None = None) -> Designed:
    return Designed(block, design, task, ridge._typical(fitted or block, task))


def refitted(block: Block, task: ForecastTask, design: Design, alpha: float) -> tuple[Values, Values]:
    return solved(Ridge().refit(block, task, recipe("ridge"), {"alpha": alpha, **asdict(design)}))


def series(covariates: bool = True) -> Rows:
    return hourly(260, columns=("load", "wind", "sun") if covariates else ("load",))


def late(block: Block, first: int = 60) -> Block:
    """The windows with so many rows before them."""
    return replace(block, origins=block.origins[block.origins >= first])


@pytest.mark.parametrize("preprocess", [{}, {"lags": [1, 24]}, {"time_features": False, "scaler": "standard"}])
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("design", DESIGNS, ids=str)
def test_the_solution_equals_that_of_plain_least_squares(
    design: Design, alpha: float, preprocess: dict[str, Any]
) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=4, seasons=(8, 24), **preprocess)
    block = late(blocks(rows, task)[0])
    weights, intercept = refitted(block, task, design, alpha)
    expected = plain_solution(plain_columns(block, task, design), plain_answers(block, task, design), alpha)
    np.testing.assert_allclose(weights, expected[0], atol=1e-6)
    np.testing.assert_allclose(intercept, expected[1], atol=1e-6)


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
    design = replace(Design(), covariates=True)
    windows = system(block, design, task)
    x, y = np.hstack([*windows.parts()]), windows.answers()
    assert (x.shape[1] <= len(x)) is (input_length == 4)
    weights, intercept = refitted(block, task, design, alpha)
    assert len({np.isnan(output).tobytes() for output in y.T}) > 1
    for output in range(y.shape[1]):
        measured = ~np.isnan(y[:, output])
        expected = plain_solution(x[measured], y[measured, output, None], alpha)
        np.testing.assert_allclose(weights[:, output], expected[0][:, 0], atol=1e-5)
        np.testing.assert_allclose(intercept[output], expected[1][0], atol=1e-5)


@pytest.mark.parametrize("count", [40, 160], ids=["fewer windows than columns", "more windows than columns"])
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("fourier", [False, True])
def test_primal_and_dual_agree(fourier: bool, holes: bool, count: int) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=12, seasons=(8,), lags=[1], scaler="standard")
    block, _ = blocks(rows, task)
    block = replace(block, origins=block.origins[:count])
    windows = system(with_holes(block) if holes else block, Design(fourier=fourier, covariates=True), task)
    assert 40 < sum(part.shape[1] for part in windows.parts()) < 160
    alphas = [1e-2, 1.0, 1e2]
    both = (list(solve(windows, alphas)) for solve in (least_squares._primal, least_squares._dual))
    for primal, dual in zip(*both, strict=True):
        for one, other in zip(primal, dual, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("alpha", [1e-3, 10.0])
def test_one_penalty_has_the_solution_that_it_has_among_others(alpha: float) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=12, seasons=(8,))
    windows = system(with_holes(blocks(rows, task)[0]), Design(), task)
    (alone,), (_, among) = (list(least_squares.solutions(windows, alphas)) for alphas in ([alpha], [1.0, alpha]))
    for one, other in zip(alone, among, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("design", [PLAIN, Design("last", phases=False, fourier=False)], ids=str)
def test_an_output_that_no_window_measured_is_the_mean_of_its_target(design: Design) -> None:
    rows = series()
    task = task_on(rows, ("load", "wind"), input_length=4, seasons=())
    for columns in (10, 40):
        block = replace(blocks(rows, task)[0], origins=np.arange(60, 60 + columns))
        targets = block.targets.copy()
        targets[60 : 60 + columns, 1] = np.nan  # step 1 of the second target, in every window
        block = replace(block, targets=targets)
        weights, intercept = refitted(block, task, design, 1.0)
        np.testing.assert_array_equal(weights[:, 1], 0.0)
        assert intercept[1] == pytest.approx(np.nanmean(system(block, design, task).answers()[:, 1::2]))
        assert np.isfinite(weights).all()


def test_the_validation_loss_is_the_mean_over_the_measured_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge_design, "CHUNK", 7)
    rows = series()
    task = task_on(rows, ("load", "wind"), input_length=4, horizon=20)
    block, validation = blocks(rows, task)
    targets = validation.targets.copy()
    targets[validation.origins[-1] :: 3, 0] = np.nan  # in no history of these windows
    validation = replace(validation, targets=targets)
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    histories = histories_at(rows, validation.origins[:, None] + np.arange(-60, 0), task)
    errors = Ridge().load(fit.files, task).predict(histories) - validation.answers(task)
    assert np.isnan(errors).any()
    assert fit.chosen["validation_mse"] == pytest.approx(float(np.nanmean(errors**2)), rel=1e-9)


def test_a_wide_table_is_fitted_in_the_memory_of_its_weights() -> None:
    rng, columns = np.random.default_rng(0), 400
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
    assert peak < 12 * 2**20, "the columns of all windows alone take 16 MiB"


@pytest.mark.parametrize(("seasons", "terms"), [((7, 365), 6 + 12), ((52,), 12), ((2,), 2), ((24, 168), 24)])
def test_each_season_has_at_most_six_orders(seasons: tuple[int, ...], terms: int) -> None:
    rows = series(False)
    daily = Rows(rows.times[0] // (24 * HOUR) * 24 * HOUR + 24 * HOUR * np.arange(260), rows.values, rows.columns)
    task = task_on(daily, input_length=7, seasons=seasons)
    block, validation = blocks(daily, task)
    design = replace(PLAIN, fourier=True)
    widths = [sum(p.shape[1] for p in system(block, d, task).parts()) for d in (PLAIN, design)]
    assert widths[1] - widths[0] == terms
    found = refitted(block, task, design, 1.0)
    expected = plain_solution(plain_columns(block, task, design), plain_answers(block, task, design), 1.0)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-8)
    assert "validation_mse" in Ridge().fit(block, validation, task, recipe("ridge"), Silent()).chosen


CHANGES: tuple[dict[str, Any], ...] = (
    *({"level": level} for level in LEVELS[1:]),
    *({name: False} for name in ("fourier", "phases")),
    *({name: True} for name in ("longer", "covariates")),
)


def walked(splits: list[tuple[Block, Block]], task: ForecastTask) -> tuple[Design, float]:
    """The choice by brute force: change by change, each kept where it lowers the error of all windows by a tenth."""

    def best(design: Design) -> tuple[float, float]:
        sizes = [len(judged.origins) for _, judged in splits]
        losses = [
            float(np.average([plain_loss(*split, task, design, alpha) for split in splits], weights=sizes))
            for alpha in ALPHAS
        ]
        return min(losses), ALPHAS[int(np.argmin(losses))]

    design = Design()
    loss, alpha = best(design)
    for change in CHANGES:
        other = replace(design, **change)
        tried = best(other)
        if tried[0] < 0.9 * loss:
            design, (loss, alpha) = other, tried
    return design, alpha


@pytest.mark.parametrize(("seed", "few"), [(0, False), (1, False), (2, True)])
def test_another_design_is_chosen_only_where_it_is_a_tenth_better_by_brute_force(
    seed: int, few: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "FEW", 60 if few else 0)
    rows = hourly(200, seed=seed, columns=("load", "wind"))
    rows.values[:, 0] = 3.0 * np.roll(rows.values[:, 1], 4) + rows.values[:, 0] % 7  # the other column helps
    task = task_on(rows, input_length=6, horizon=2, seasons=(12,))
    block, validation = blocks(rows, task)
    block = late(block, 24)
    splits = [(block, validation)]
    if few:
        origins = block.origins
        parts = np.array_split(origins[len(origins) // 2 :], 4)
        earlier = [origins[origins + 2 <= part[0]] for part in parts]
        folds = zip(earlier, parts, strict=True)
        splits += [(replace(block, origins=before), replace(block, origins=part)) for before, part in folds]
    chosen = Ridge().fit(block, validation, task, recipe("ridge", alphas=ALPHAS), Silent()).chosen
    design, alpha = walked(splits, task)
    assert {name: chosen[name] for name in design.stored()} == design.stored()
    assert chosen["alpha"] == alpha
    assert chosen["validation_mse"] == pytest.approx(plain_loss(block, validation, task, design, alpha), rel=1e-6)


def test_on_a_tie_the_larger_penalty_and_the_plain_design_are_kept() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, validation = blocks(rows, task)
    block, validation = (replace(b, targets=np.full_like(b.targets, 0.5)) for b in (block, validation))  # no slope
    chosen = Ridge().fit(block, validation, task, recipe("ridge", alphas=[0.1, 10.0, 1.0]), Silent()).chosen
    assert {name: chosen[name] for name in Design().stored()} == Design().stored()
    assert chosen["alpha"] == 10.0


def test_a_fit_returns_the_solution_of_its_choice() -> None:
    rows = series()
    task = task_on(rows, input_length=4)
    block, validation = blocks(rows, task)
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    assert fit.files == Ridge().refit(block, task, recipe("ridge"), fit.chosen)


@pytest.mark.parametrize("chunk", [19, 50])
def test_the_chunk_size_does_not_change_the_solution(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = series(False)[:120]
    task = task_on(rows)
    block, validation = blocks(rows, task)
    whole = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    monkeypatch.setattr(ridge_design, "CHUNK", chunk)
    parts = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    assert {**parts.chosen, "validation_mse": 0.0} == {**whole.chosen, "validation_mse": 0.0}
    assert parts.chosen["validation_mse"] == pytest.approx(whole.chosen["validation_mse"], rel=1e-9)
    for some, all_at_once in zip(solved(parts.files), solved(whole.files), strict=True):
        np.testing.assert_allclose(some, all_at_once, atol=1e-10)


@pytest.mark.parametrize("seasons", [(), (24,)])
@pytest.mark.parametrize("covariates", [False, True])
def test_only_designs_that_differ_are_tried(
    covariates: bool, seasons: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ridge, "CLEARLY", 0.0)  # nothing replaces the plain design
    rows = series(covariates)
    task = task_on(rows, input_length=4, seasons=seasons)
    block, validation = blocks(rows, task)
    seen: list[Design] = []
    loss = Designed.loss

    def remembered(self: Designed, *arguments: Any) -> tuple[float, int]:
        seen.append(self.design)
        return loss(self, *arguments)

    monkeypatch.setattr(Designed, "loss", remembered)
    Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    plain = Design(phases=bool(seasons), fourier=bool(seasons))
    expected = [plain, *(replace(plain, level=level) for level in LEVELS[1:])]
    if seasons:
        expected += [replace(plain, fourier=False), replace(plain, phases=False), replace(plain, longer=True)]
    expected += [replace(plain, covariates=True)] * covariates
    assert {*seen} == {*expected}
    late_ones = late(validation)
    assert len({plain_columns(late_ones, task, design).tobytes() for design in expected}) == len(expected)


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
    task = task_on(rows, input_length=4, lags=[2, 24], seasons=(8,))
    block, validation = blocks(rows, task)
    family = Ridge()
    assert family.history(task).wanted == 4 + 24
    design = replace(Design(), covariates=True)
    files = family.refit(block, task, recipe("ridge"), {"alpha": 1.0, **asdict(design)})
    weights, intercept = solved(files)
    level, spread = measure(validation, task, design, block)
    expected = (plain_columns(validation, task, design, block) @ weights + intercept).reshape(len(level), -1, 1)
    histories = np.array([np.arange(origin - 28, origin) for origin in validation.origins])
    answers = family.load(files, task).predict(histories_at(rows, histories, task))
    np.testing.assert_allclose(answers, expected * spread[:, None] + level[:, None], atol=1e-9)


def test_a_level_that_train_has_not_seen_moves_the_forecast_by_as_much() -> None:
    rows = series(False)
    task = task_on(rows, input_length=12)
    block, validation = blocks(rows, task)
    fit = Ridge().fit(block, validation, task, recipe("ridge"), Silent())
    assert fit.chosen["level"] != "none"
    predictor = Ridge().load(fit.files, task)
    low, high = (
        task.fitted.unscale_targets(predictor.predict(window(replace(rows, values=rows.values + shift), task)))
        for shift in (0.0, 500.0)
    )
    np.testing.assert_allclose(high - low, 500.0, rtol=1e-9)


def test_a_short_history_is_answered_and_one_of_the_same_rows_again_is_the_same() -> None:
    rows = series(False)
    task = task_on(rows, input_length=12)
    block, validation = blocks(rows, task)
    files = Ridge().fit(block, validation, task, recipe("ridge"), Silent()).files
    predictor = Ridge().load(files, task)
    daily = Rows(rows.times[:48], np.tile(rows.values[:24], (2, 1)), rows.columns)
    whole, short = (predictor.predict(window(part, task)) for part in (daily, daily[-24:]))
    np.testing.assert_allclose(short, whole, atol=1e-12)


def version2(task: ForecastTask, covariates: bool, fourier: bool) -> Iterator[tuple[str, Values]]:
    """Columns of version 2 by name: the features of each row, the calendar, and the terms of each season."""
    names = [n for n in task.fitted.features if n in task.fitted.names or "_lag" in n]
    kept = names if covariates else [*task.fitted.targets, *(n for n in names if "_lag" in n)]
    width = len(kept) * task.input_length + len(task.fitted.calendar) + (12 if fourier else 0)
    rng = np.random.default_rng(0)
    yield "design", np.array([covariates, fourier], dtype=np.uint8)
    yield "weights", rng.normal(size=(width, task.horizon * task.targets))
    yield "intercept", rng.normal(size=task.horizon * task.targets)


@pytest.mark.parametrize("covariates", [False, True])
@pytest.mark.parametrize("fourier", [False, True])
def test_a_bundle_of_version_2_answers_as_it_did(covariates: bool, fourier: bool) -> None:
    rows = series()
    task = task_on(rows, ("sun", "load"), input_length=4, lags=[2])
    tensors = dict(version2(task, covariates, fourier))
    history = rows[-40:]
    answered = Ridge().load({"coefficients.safetensors": save(tensors)}, task).predict(window(history, task))
    features = window(history, task).features[0, -4:]
    names = list(task.fitted.features)
    kept = [n for n in names if n in task.fitted.names or "_lag" in n]
    if not covariates:
        kept = ["sun", "load", *(n for n in kept if "_lag" in n)]
    first = task.fitted.grid.after(history.times[-1:], 1)[0]
    columns = [*features[:, [names.index(n) for n in kept]].reshape(-1), *calendar(first, task.fitted)[0]]
    if fourier:
        angles = [2 * np.pi * k * (int(first[0]) // HOUR % 24) / 24 for k in range(1, 7)]
        columns += [value for angle in angles for value in (np.sin(angle), np.cos(angle))]
    expected = np.array(columns) @ tensors["weights"] + tensors["intercept"]
    np.testing.assert_allclose(answered.reshape(-1), expected, atol=1e-9)
