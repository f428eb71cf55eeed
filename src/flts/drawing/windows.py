"""Forecasts of test windows beside the truth, one panel per model, all on one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flts.drawing.ahead import FEW, moments
from flts.drawing.figure import ACCENT, INK, SOFT, Picture, canvas, date_axis, finished, plain, scale, short

Times = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class ShownWindows:
    """What all panels share: windows that do not overlap, oldest first, and the truth from the first origin on.

    origins [windows], times [windows, steps] and truth_times [rows]: UTC ns; before [windows]: the target at the
    origins; truth [rows]: NaN where nothing was measured.
    """

    origins: Times
    times: Times
    before: Values
    truth_times: Times
    truth: Values


@dataclass(frozen=True)
class WindowForecasts:
    """The forecasts of one model for these windows [windows, steps]; bounds are NaN where it has none."""

    model: str
    mean: Values
    lower: Values
    upper: Values


def windows(
    shown: ShownWindows, models: Sequence[WindowForecasts], *, target: str, title: str, caption: str, timezone: str
) -> Picture:
    """Each forecast is a line of its own that ends where the next origin, a mark on the truth, begins."""
    height = 3.0 if len(models) == 1 else 1.7
    panels = [axes for (axes,) in canvas(title, caption, rows=len(models), size=(9.0, height))]
    times, origins = moments(shown.times), moments(shown.origins)
    dates = _line(times, np.datetime64("NaT"))
    marker = "." if times.size <= FEW or times.shape[1] == 1 else ""
    for axes, model in zip(panels, models, strict=True):
        mean, lower, upper = (_line(values, np.nan) for values in (model.mean, model.lower, model.upper))
        if not np.isnan(lower).all():
            axes.fill_between(dates, lower, upper, color=ACCENT, alpha=0.18, linewidth=0, label="80 % interval")
        axes.plot(moments(shown.truth_times), shown.truth, color=INK, linewidth=1.0, label="truth")
        axes.plot(dates, mean, color=ACCENT, linewidth=1.2, marker=marker, markersize=4, label="forecast")
        axes.plot(
            origins, shown.before, color=SOFT, linestyle="none", marker="o", markersize=3, zorder=3, label="origin"
        )
        scale(axes, short(target))
        axes.set_title(plain(model.model), loc="left", fontsize="small", x=0.06, y=1.01)
    date_axis(panels[-1], timezone)
    return finished(panels[0])


def _line(cells: NDArray[Any], gap: object) -> NDArray[Any]:
    """Cells [windows, steps] in one row, with a gap after each window, so that no line joins two windows.

    Windows of a single step need the line to be seen.
    """
    if cells.shape[1] == 1:
        return cells.reshape(-1)
    between = np.full((len(cells), 1), gap, dtype=cells.dtype)
    return np.concatenate([cells, between], axis=1).reshape(-1)
