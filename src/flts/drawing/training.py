"""How a network learned: its loss per epoch, and the epoch that was kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flts.drawing.figure import ACCENT, INK, SOFT, Picture, canvas, finished, scale, whole_numbers

DECADES = 10.0
"""A loss that falls by more than this has a logarithmic scale."""


def loss_curve(curve: Sequence[Sequence[float]], *, title: str, caption: str = "") -> Picture:
    """Train and validation loss per epoch; the kept epoch is marked, and its loss written beside it."""
    ((axes,),) = canvas(title, caption, size=(7.0, 3.5))
    epochs = np.arange(1, len(curve) + 1)
    train, validation = np.array(curve).T
    best = int(np.argmin(validation))
    few = "." if len(curve) <= 40 else ""
    axes.plot(epochs, train, color=SOFT, marker=few, label="train")
    axes.plot(epochs, validation, color=INK, marker=few, label="validation")
    axes.plot(
        [epochs[best]],
        [validation[best]],
        color=ACCENT,
        marker="o",
        markersize=8,
        fillstyle="none",
        linestyle="none",
        label=f"kept: epoch {epochs[best]}, {validation[best]:.4g}",
    )
    scale(axes, "epoch", across=True)
    scale(axes, "mean squared scaled error")
    if np.max(curve) > DECADES * np.min(curve) > 0.0:
        from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=9))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda loss, _: f"{loss:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    whole_numbers(axes)
    return finished(axes)
