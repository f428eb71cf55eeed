"""Plots are PNG and SVG files that show something, for any stored forecasts."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import HOUR, START, hourly
from tests.support.stored import fit

from flts.contracts.records.decision import Coverage, Interval, StepErrors
from flts.forecasting.bundle import read_bundle
from flts.preprocess.rows import Times, Values
from flts.report import plots
from flts.train.stage import stored_result

pytestmark = pytest.mark.slow

SIGNATURE = b"\x89PNG\r\n\x1a\n"
NAN = float("nan")


def pixels(picture: plots.Picture) -> Values:
    """The PNG decoded, [height, width, 4]; asserts that both formats are whole and that something is drawn."""
    from matplotlib.image import imread

    svg = ElementTree.fromstring(picture.svg)  # noqa: S314 - we drew it
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    png = picture.png
    assert png.startswith(SIGNATURE)
    assert png.rstrip().endswith(b"IEND\xaeB`\x82")
    decoded = np.asarray(imread(io.BytesIO(png)))
    assert decoded.shape[0] > 200
    assert decoded.shape[1] > 400
    assert (decoded[..., :3].min(axis=2) < 0.9).mean() > 0.001
    return decoded


def coloured(picture: plots.Picture, colour: str) -> int:
    """How many pixels have (nearly) this colour."""
    wanted = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return int((np.abs(pixels(picture)[..., :3] - wanted).max(axis=2) < 0.05).sum())


def series(*truth: float, **more: Any) -> tuple[Times, dict[str, Values]]:
    values = np.array(truth)
    columns = {"truth": values, "y_hat": values + 1.0, "lower": values - 1.0, "upper": values + 3.0}
    return START + HOUR * np.arange(len(values), dtype=np.int64), {**columns, **more}


@pytest.mark.parametrize(
    "curve",
    [
        [(1.0, 2.0), (0.5, 1.5), (0.25, 1.6)],
        [(0.1, 0.1)],
        [(0.1, 0.1)] * 5,
        [(0.0, 0.0), (0.0, 0.0)],
        [(1.0, 0.0), (0.5, 1e-12)],
        [(1e-38, 1e38), (1e38, 1e-38)],
        [[float(n + 1), float(n + 1)] for n in range(500)],
    ],
    ids=["usual", "one epoch", "flat", "nothing but zeros", "a zero", "enormous", "five hundred epochs"],
)
def test_a_loss_curve_can_be_drawn(curve: Any) -> None:
    pixels(plots.loss_curve(curve, "GRU"))


def test_the_kept_epoch_is_marked_where_the_validation_loss_is_smallest() -> None:
    early = plots.loss_curve([(1.0, 1.0), (0.9, 2.0), (0.8, 3.0)], "GRU")
    late = plots.loss_curve([(1.0, 3.0), (0.9, 2.0), (0.8, 1.0)], "GRU")

    def marked(picture: plots.Picture) -> float:
        accent = np.array([0xC2, 0x41, 0x0C]) / 255
        there = np.abs(pixels(picture)[100:, :, :3] - accent).max(axis=2) < 0.05
        return float(np.flatnonzero(there.any(axis=0)).mean())

    assert marked(early) < marked(late)


@pytest.mark.parametrize(
    ("truth", "more"),
    [
        ([1.0, 2.0, 3.0, 2.0], {}),
        ([1.0], {}),
        ([5.0] * 10, {}),
        ([NAN] * 5, {"y_hat": np.arange(5.0)}),
        ([1.0, NAN, 3.0], {}),
        ([1.0, 2.0], {"lower": np.array([NAN, NAN]), "upper": np.array([NAN, NAN])}),
        ([1.0, 2.0, 1.0], {"lower": np.array([NAN, 1.0, 0.0]), "upper": np.array([NAN, 3.0, 2.0])}),
        ([-1e12, 1e12], {}),
        ([1e-12, 2e-12], {}),
        ([0.0] * 300, {}),
    ],
)
def test_a_forecast_can_be_drawn(truth: list[float], more: dict[str, Values]) -> None:
    times, values = series(*truth, **more)
    pixels(plots.forecast(times, values, "load, one step ahead"))


@pytest.mark.parametrize("step", [1, 60, 120, 3_600, 86_400, 7 * 86_400, 31 * 86_400])
@pytest.mark.parametrize("steps", [2, 5, 110, 130, 240])
def test_every_span_of_time_has_ticks_that_fit(step: int, steps: int) -> None:
    values = np.arange(float(steps))
    times = START + step * 10**9 * np.arange(steps, dtype=np.int64)
    assert plots.forecast(times, {"truth": values, "y_hat": values}, "t").png.startswith(SIGNATURE)


def test_without_bounds_there_is_no_band() -> None:
    times, values = series(1.0, 2.0, 3.0)
    band = plots.forecast(times, values, "t")
    without = plots.forecast(times, {name: values[name] for name in ("truth", "y_hat")}, "t")
    null = plots.forecast(times, {**values, "lower": values["lower"] * NAN, "upper": values["upper"] * NAN}, "t")
    assert without == null
    assert band != without


def test_truth_and_forecast_are_both_drawn() -> None:
    times, values = series(*np.sin(np.arange(50.0)))
    picture = plots.forecast(times, values, "t")
    assert coloured(picture, plots.INK) > 300
    assert coloured(picture, plots.ACCENT) > 300


@pytest.mark.parametrize("title", ["", "α ü 日", "100 % $x_1^2$ of \\frac", "a" * 80, "line\nbreak"])
@pytest.mark.filterwarnings("ignore:Glyph .* missing from font:UserWarning")
def test_any_title_can_be_drawn(title: str) -> None:
    times, values = series(1.0, 2.0)
    pixels(plots.forecast(times, values, title))


@pytest.mark.parametrize(
    ("tables", "rows"),
    [
        ({}, hourly(300)),
        ({"task": {"horizon": 1}}, hourly(300)),
        ({"task": {"horizon": 40, "input_length": 5}}, hourly(300)),
        ({"dataset": {"targets": ["wind", "load"]}}, hourly(300)),
        ({"evaluate": {"windows": 1}}, hourly(300)),
    ],
    ids=["three steps", "one step", "longer than the windows apart", "two targets", "one window"],
)
def test_the_stored_forecasts_of_a_model_can_be_drawn(tables: dict[str, Any], rows: Any) -> None:
    experiment, store = small_experiment(small_spec(**tables), rows)
    trained = fit(store, experiment)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    picture = plots.forecast_windows(experiment, values, "ridge")
    assert coloured(picture, plots.INK) > 100
    assert coloured(picture, plots.ACCENT) > 100
    again = stored_result(store, "ridge", trained.model_hash, experiment.identity.windows_hash)
    assert again is not None
    assert picture == plots.forecast_windows(experiment, values, "ridge")


def test_windows_that_are_shown_side_by_side_do_not_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    experiment, store = small_experiment(small_spec(evaluate={"windows": 30}))
    trained = fit(store, experiment)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    seen: dict[str, Any] = {}
    monkeypatch.setattr(
        plots, "forecast", lambda times, shown, title: seen.update(times=times, title=title, **shown) or b""
    )
    plots.forecast_windows(experiment, values, "ridge")
    assert (np.diff(seen["times"]) > 0).all()
    assert seen["times"][-1] == experiment.origins[-1] + 3 * HOUR
    rows = dict(
        zip(experiment.dataset.test.times.tolist(), experiment.dataset.test.select(("load",))[:, 0], strict=True)
    )
    assert seen["truth"].tolist() == [rows[time] for time in seen["times"].tolist()]
    assert seen["y_hat"][-3:].tolist() == values["y_hat"][-1, :, 0].tolist()
    assert seen["title"] == "ridge: load, 3 steps ahead, window after window"


def test_plots_drawn_from_several_threads_are_those_drawn_alone() -> None:
    times, values = series(*np.arange(20.0))
    alone = plots.forecast(times, values, "t"), plots.loss_curve([(1.0, 2.0), (0.5, 1.0)], "t")

    def draw(number: int) -> plots.Picture:
        return plots.loss_curve([(1.0, 2.0), (0.5, 1.0)], "t") if number % 2 else plots.forecast(times, values, "t")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(draw, range(6))) == [alone[number % 2] for number in range(6)]


@pytest.mark.parametrize("empty", [0, 5])
def test_residuals_can_be_drawn_with_or_without_cells_without_truth(empty: int) -> None:
    errors = np.random.default_rng(1).normal(0.0, 0.1, (30, 3, 2))
    errors[:empty] = NAN
    pixels(plots.residuals(START + HOUR * np.arange(30, dtype=np.int64), errors, "ridge"))


@pytest.mark.parametrize("steps", [1, 2, 48])
def test_the_error_of_every_step_can_be_drawn(steps: int) -> None:
    rows = [StepErrors(step=step + 1, rmse=0.1 + step, mae=0.05, cells=9) for step in range(steps)]
    pixels(plots.error_per_step(rows, "ridge"))


@pytest.mark.parametrize("interval", [None, Interval(low=0.6, high=0.9)])
def test_the_coverage_of_the_intervals_can_be_drawn(interval: Interval | None) -> None:
    covered = {
        level: Coverage(coverage=float(level) - 0.1, interval=interval, width=1.0, cells=9, step=[])
        for level in ("0.5", "0.8", "0.95")
    }
    assert coloured(plots.calibration(covered, "ridge"), plots.ACCENT) > 50


@pytest.mark.parametrize(
    ("tables", "test", "kinds"),
    [
        ({}, 60, {"forecast", "residuals", "error_per_step", "calibration"}),
        ({"task": {"horizon": 1}}, 60, {"forecast", "residuals", "calibration"}),
        ({"task": {"horizon": 1}}, 268, {"forecast", "residuals"}),
    ],
    ids=["several steps", "one step", "too few windows for intervals"],
)
def test_a_model_gets_the_plots_that_apply_to_it(tables: dict[str, Any], test: int, kinds: set[str]) -> None:
    experiment, store = small_experiment(small_spec(**tables), hourly(300), test)
    trained = fit(store, experiment)
    values = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    manifest, _ = read_bundle(store, trained.bundle_sha256)
    assert set(plots.of_model(experiment, "ridge", values, trained.curve, manifest)) == kinds
    with_curve = plots.of_model(experiment, "ridge", values, [[1.0, 2.0]], manifest)
    assert set(with_curve) == kinds | {"loss_curve"}
