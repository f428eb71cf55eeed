"""Plots of stored evidence, each as PNG and SVG. One lock: matplotlib cannot draw from several threads at once."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from flts.contracts.errors import MissingExtra
from flts.contracts.records.decision import Coverage, StepErrors
from flts.contracts.records.model import Manifest
from flts.evaluate import coverage
from flts.evaluate.metrics import Yardstick, scaled_errors
from flts.evaluate.profile import profile
from flts.evaluate.significance import overlap
from flts.forecasting.answers import Interval, StoredIntervals
from flts.models.base import Indices
from flts.preprocess.rows import Times, Values
from flts.promotion.judge import wall_clock, yardstick
from flts.train.experiment import Experiment

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1f2933", "#c2410c", "#94a3b8"
SHOWN_STEPS = 240
_drawing = threading.Lock()


class Picture(NamedTuple):
    """One plot in both formats."""

    png: bytes
    svg: bytes


def of_model(
    experiment: Experiment,
    name: str,
    values: Mapping[str, Values],
    curve: Sequence[Sequence[float]],
    manifest: Manifest,
) -> dict[str, Picture]:
    """Every plot that applies to one candidate: forecast, residuals, error per step for a horizon beyond one step,
    calibration where it has intervals, loss curve where it has epochs.

    values: the stored columns [origins, horizon, targets]; manifest: of the bundle that made them.
    Raises MissingExtra without matplotlib.
    """
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon)
    measure = yardstick(experiment.dataset, experiment.task)
    errors = scaled_errors(truth.values, values["y_hat"], measure)
    pictures = {
        "forecast": forecast_windows(experiment, values, name),
        "residuals": residuals(experiment.origins, errors, name),
    }
    if experiment.task.horizon > 1:
        errors_by = profile(truth.values, values["y_hat"], measure, wall_clock(experiment))
        pictures["error_per_step"] = error_per_step(errors_by.step, name)
    if manifest.intervals.offsets:
        shared = overlap(experiment.task.horizon, truth.spacing)
        intervals = StoredIntervals.of(values, manifest).by_level
        covered = _covered(truth.values, intervals, measure, shared)
        pictures["calibration"] = calibration(covered, name)
    if curve:
        pictures["loss_curve"] = loss_curve(curve, name)
    return pictures


def forecast_windows(experiment: Experiment, values: Mapping[str, Values], name: str) -> Picture:
    """The newest test windows that do not overlap, forecast beside truth; values [origins, horizon, targets]."""
    horizon, grid = experiment.task.horizon, experiment.task.fitted.grid
    chosen = _apart(experiment.windows.indices, horizon, max(1, SHOWN_STEPS // horizon))
    columns = {"truth": experiment.windows.truth(experiment.dataset, horizon).values, **values}
    shown = {column: part[chosen, :, 0].reshape(-1) for column, part in columns.items()}
    times = grid.after(experiment.origins[chosen], horizon)
    ahead = "one step ahead" if horizon == 1 else f"{horizon} steps ahead, window after window"
    return forecast(times.reshape(-1), shown, f"{name}: {experiment.task.fitted.targets[0]}, {ahead}")


def forecast(times: Times, values: Mapping[str, Values], title: str) -> Picture:
    """truth and y_hat [origins] over time, with the band from lower to upper where there is one."""
    with _drawing:
        figure, axes = _figure((9.0, 3.5), title)
        moments = times.astype("datetime64[ns]")
        if "lower" in values and not np.isnan(values["lower"]).all():
            axes.fill_between(
                moments, values["lower"], values["upper"], color=ACCENT, alpha=0.15, linewidth=0, label="80 % interval"
            )
        marker = "o" if len(times) == 1 else ""  # a line needs two points
        axes.plot(moments, values["truth"], color=INK, linewidth=1.0, marker=marker, label="truth")
        axes.plot(moments, values["y_hat"], color=ACCENT, linewidth=1.2, marker=marker, label="forecast")
        _date_axis(axes)
        return _rendered(figure)


def residuals(origins: Times, errors: Values, name: str) -> Picture:
    """Scaled errors [origins, horizon, targets] of every step over the origin, and how they are distributed."""
    with _drawing:
        figure, axes = _figure((9.0, 3.5), f"{name}: forecast - truth, scaled", columns=(3, 1))
        moments = np.repeat(origins, errors.shape[1] * errors.shape[2]).astype("datetime64[ns]")
        flat = errors.reshape(-1)
        axes.axhline(0.0, color=SOFT, linewidth=1.0)
        axes.plot(moments, flat, color=INK, linestyle="none", marker=".", markersize=2, alpha=0.5)
        _date_axis(axes)
        beside = figure.axes[1]
        beside.hist(flat[~np.isnan(flat)], bins=40, orientation="horizontal", color=SOFT)
        beside.axhline(0.0, color=SOFT, linewidth=1.0)
        beside.set(xlabel="cells", yticklabels=[])
        return _rendered(figure)


def error_per_step(steps: Sequence[StepErrors], name: str) -> Picture:
    """Scaled RMSE and MAE of each step of the horizon, as `evaluate.profile` gives them."""
    with _drawing:
        figure, axes = _figure((7.0, 3.5), f"{name}: error per step ahead, scaled")
        at = [errors.step for errors in steps]
        for label, values, colour in (
            ("RMSE", [errors.rmse for errors in steps], INK),
            ("MAE", [errors.mae for errors in steps], SOFT),
        ):
            axes.plot(at, values, color=colour, marker="o", markersize=3, label=label)
        axes.set(xlabel="step", ylim=(0.0, None))
        _whole_numbers(axes)
        return _rendered(figure)


def calibration(covered: Mapping[str, Coverage], name: str) -> Picture:
    """Measured coverage of the interval of each level on the test cells, beside the level itself."""
    with _drawing:
        figure, axes = _figure((6.0, 4.0), f"{name}: intervals")
        nominal = [float(level) for level in covered]
        measured = [result.coverage for result in covered.values()]
        axes.plot([0.0, 1.0], [0.0, 1.0], color=SOFT, linewidth=1.0, label="nominal")
        axes.plot(nominal, measured, color=ACCENT, marker="o", markersize=4, label="measured")
        for level, result in zip(nominal, covered.values(), strict=True):
            if result.interval:
                axes.plot([level] * 2, [result.interval.low, result.interval.high], color=ACCENT, linewidth=1.0)
        axes.set(xlabel="level", ylabel="coverage on test", xlim=(0.4, 1.0), ylim=(0.0, 1.02))
        return _rendered(figure)


def loss_curve(curve: Sequence[Sequence[float]], title: str) -> Picture:
    """Train and validation loss per epoch; the kept epoch is marked."""
    with _drawing:
        figure, axes = _figure((7.0, 3.5), title)
        epochs = np.arange(1, len(curve) + 1)
        train, validation = np.array(curve).T
        best = int(np.argmin(validation))
        axes.plot(epochs, train, color=SOFT, marker="o", markersize=3, label="train")
        axes.plot(epochs, validation, color=INK, marker="o", markersize=3, label="validation")
        kept: dict[str, Any] = {"marker": "o", "markersize": 8, "fillstyle": "none", "linestyle": "none"}
        axes.plot([epochs[best]], [validation[best]], color=ACCENT, label="kept", **kept)
        axes.set(xlabel="epoch", ylabel="mean squared scaled error", yscale="log" if np.max(curve) > 0.0 else "linear")
        _whole_numbers(axes)
        return _rendered(figure)


def _covered(truth: Values, intervals: Mapping[str, Interval], measure: Yardstick, shared: int) -> dict[str, Coverage]:
    results = {
        level: coverage.measured(truth, lower, upper, measure, shared) for level, (lower, upper) in intervals.items()
    }
    return {level: measured for level, measured in results.items() if measured is not None}


def _apart(indices: Indices, rows: int, most: int) -> Indices:
    """Positions of the last `most` indices that are at least `rows` apart, oldest first."""
    chosen: list[int] = []
    for position in range(len(indices) - 1, -1, -1):
        if not chosen or indices[chosen[-1]] - indices[position] >= rows:
            chosen.append(position)
        if len(chosen) == most:
            break
    return np.array(chosen[::-1])


def _figure(size: tuple[float, float], title: str, columns: Sequence[float] = (1,)) -> tuple[Figure, Axes]:
    """A figure with axes side by side of these relative widths, and the first of them."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtra("a plot", "report") from None
    # fixed margins, in inches: a layout that measures every label takes longer than drawing
    figure = Figure(figsize=size, dpi=110)
    width, height = size
    margins = {"left": 0.75 / width, "right": 1.0 - 0.2 / width, "bottom": 0.55 / height, "top": 1.0 - 0.4 / height}
    grid = figure.add_gridspec(1, len(columns), width_ratios=columns, wspace=0.06, **margins)
    every = [figure.add_subplot(grid[0, i]) for i in range(len(columns))]
    every[0].set_title(title, loc="left")
    return figure, every[0]


def _date_axis(axes: Axes) -> None:
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    dates = AutoDateLocator(minticks=3, maxticks=9)  # a larger minimum fits no interval to some spans
    axes.xaxis.set_major_locator(dates)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _rendered(figure: Figure) -> Picture:
    from matplotlib import rc_context

    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    png, svg = io.BytesIO(), io.BytesIO()
    # a fixed salt and no date, so that the same plot is the same file
    with rc_context({"svg.hashsalt": "flts"}):
        figure.savefig(png, format="png")
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return Picture(png.getvalue(), svg.getvalue())
