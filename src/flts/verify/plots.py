"""Plots of stored evidence as PNG. One lock: matplotlib is not safe to draw with from several threads."""

from __future__ import annotations

import io
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from flts.preprocess.rows import Times, Values

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, ACCENT, SOFT = "#1f2933", "#c2410c", "#94a3b8"
_drawing = threading.Lock()


def loss_curve(curve: Sequence[Sequence[float]], title: str) -> bytes:
    """Train and validation loss per epoch; the kept epoch is marked."""
    from matplotlib.ticker import MaxNLocator

    with _drawing:
        figure = _figure((7.0, 3.5))
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
        axes.set(title=title, xlabel="epoch", ylabel="mean squared scaled error", yscale="log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        return _png(figure)


def forecast(times: Times, values: Mapping[str, Values], title: str) -> bytes:
    """truth and y_hat [origins] over time, with the band from lower to upper where there is one."""
    with _drawing:
        figure = _figure((9.0, 3.5))
        axes = figure.add_subplot()
        moments = times.astype("datetime64[ns]")
        if "lower" in values and not np.isnan(values["lower"]).all():
            axes.fill_between(
                moments, values["lower"], values["upper"], color=ACCENT, alpha=0.15, linewidth=0, label="80 % interval"
            )
        axes.plot(moments, values["truth"], color=INK, linewidth=1.0, label="truth")
        axes.plot(moments, values["y_hat"], color=ACCENT, linewidth=1.2, label="forecast")
        axes.set(title=title)
        return _png(figure)


def _figure(size: tuple[float, float]) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=size, dpi=110, layout="constrained")


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
