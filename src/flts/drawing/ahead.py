"""What comes next: the end of a history, the forecast after it, and a band for each level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.drawing.figure import ACCENT, INK, SOFT, Picture, canvas, date_axis, finished, scale, short

Times = NDArray[np.int64]
Values = NDArray[np.float64]

FEW = 40
"""Points up to which each is marked."""


@dataclass(frozen=True)
class Ahead:
    """One target. times [rows] and values [rows] of the history; later [steps] and mean [steps] of the forecast.

    Times are UTC nanoseconds, values original units, NaN where nothing was measured. bands: lower and upper ends
    [steps] by level, NaN where there are none.
    """

    times: Times
    values: Values
    later: Times
    mean: Values
    bands: Mapping[float, tuple[Values, Values]]


def ahead(shown: Ahead, *, target: str, title: str, caption: str, timezone: str) -> Picture:
    """The history as a line, the forecast after its origin, the bands from the widest to the narrowest."""
    ((axes,),) = canvas(title, caption)
    after = moments(shown.later)
    levels = sorted(shown.bands, reverse=True)
    for level, alpha in zip(levels, np.linspace(0.14, 0.34, len(levels)), strict=True):
        lower, upper = shown.bands[level]
        if not np.isnan(lower).all():
            label = f"{level * 100:g} %"
            # a band needs two times
            if len(after) > 1:
                axes.fill_between(after, lower, upper, color=ACCENT, alpha=alpha, linewidth=0, label=label)
            else:
                axes.errorbar(
                    after, (lower + upper) / 2, (upper - lower) / 2, color=ACCENT, alpha=0.4, capsize=4, label=label
                )
    few = len(shown.values) + len(after) <= FEW
    axes.plot(moments(shown.times), shown.values, color=INK, linewidth=1.0, marker="." if few else "", label="history")
    marked = "." if few or len(after) == 1 else ""
    axes.plot(after, shown.mean, color=ACCENT, linewidth=1.3, marker=marked, label="forecast")
    if len(shown.times):
        axes.axvline(float(_number(shown.times[-1:])[0]), color=SOFT, linewidth=0.8, linestyle=":", label="origin")
    scale(axes, short(target))
    date_axis(axes, timezone)
    return finished(axes)


def moments(times: Times) -> NDArray[np.datetime64]:
    """UTC nanoseconds as matplotlib takes them."""
    return times.astype("datetime64[ns]")


def _number(times: Times) -> Values:
    """The place of a time on an axis of dates."""
    from matplotlib.dates import date2num

    return np.asarray(date2num(moments(times)))
