"""Plots of stored evidence as PNG. One lock: matplotlib is not safe to draw with from several threads."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flts.errors import MissingExtra
from flts.models.base import Indices
from flts.preprocess.rows import Times, Values
from flts.train.experiment import Experiment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1f2933", "#c2410c", "#94a3b8"
SHOWN_STEPS = 240
_drawing = threading.Lock()


def loss_curve(curve: Sequence[Sequence[float]], title: str) -> bytes:
    """Train and validation loss per epoch; the kept epoch is marked."""
    with _drawing:
        figure = _figure((7.0, 3.5))
        from matplotlib.ticker import MaxNLocator

        axes = figure.add_subplot()
        epochs = np.arange(1, len(curve) + 1)
        train, validation = np.array(curve).T
        best = int(np.argmin(validation))
        axes.plot(epochs, train, color=SOFT, marker="o", markersize=3, label="train")
        axes.plot(epochs, validation, color=INK, marker="o", markersize=3, label="validation")
        axes.plot(
            [epochs[best]],
            [validation[best]],
            color=ACCENT,
            marker="o",
            markersize=8,
            fillstyle="none",
            linestyle="none",
            label="kept",
        )
        axes.set_title(title, loc="left")
        axes.set(xlabel="epoch", ylabel="mean squared scaled error", yscale="log" if np.max(curve) > 0.0 else "linear")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _png(figure)


def forecast(times: Times, values: Mapping[str, Values], title: str) -> bytes:
    """truth and y_hat [origins] over time, with the band from lower to upper where there is one."""
    with _drawing:
        figure = _figure((9.0, 3.5))
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

        axes = figure.add_subplot()
        moments = times.astype("datetime64[ns]")
        if "lower" in values and not np.isnan(values["lower"]).all():
            axes.fill_between(
                moments, values["lower"], values["upper"], color=ACCENT, alpha=0.15, linewidth=0, label="80 % interval"
            )
        marker = "o" if len(times) == 1 else ""  # a line needs two points
        axes.plot(moments, values["truth"], color=INK, linewidth=1.0, marker=marker, label="truth")
        axes.plot(moments, values["y_hat"], color=ACCENT, linewidth=1.2, marker=marker, label="forecast")
        axes.set_title(title, loc="left")
        dates = AutoDateLocator(minticks=3, maxticks=9)  # with more at least, some spans have no interval that fits
        axes.xaxis.set_major_locator(dates)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(dates))
        return _png(figure)


def forecast_windows(subject: Experiment, values: Mapping[str, Values], name: str) -> bytes:
    """The newest test windows that do not overlap, forecast beside truth; values [origins, horizon, targets]."""
    horizon, step = subject.task.horizon, subject.task.fitted.step
    chosen = _apart(subject.windows.indices, horizon, max(1, SHOWN_STEPS // horizon))
    columns = {"truth": subject.windows.truth(subject.dataset, horizon).values, **values}
    shown = {column: part[chosen, :, 0].reshape(-1) for column, part in columns.items()}
    times = subject.origins[chosen, None] + step * np.arange(1, horizon + 1)
    ahead = "one step ahead" if horizon == 1 else f"{horizon} steps ahead, window after window"
    return forecast(times.reshape(-1), shown, f"{name}: {subject.task.fitted.targets[0]}, {ahead}")


def _apart(indices: Indices, rows: int, most: int) -> Indices:
    """Positions of the last `most` indices that are at least `rows` apart, oldest first."""
    chosen: list[int] = []
    for position in range(len(indices) - 1, -1, -1):
        if not chosen or indices[chosen[-1]] - indices[position] >= rows:
            chosen.append(position)
        if len(chosen) == most:
            break
    return np.array(chosen[::-1])


def _figure(size: tuple[float, float]) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise MissingExtra("a plot", "report") from None
    return Figure(figsize=size, dpi=110, layout="constrained")


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small", loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
