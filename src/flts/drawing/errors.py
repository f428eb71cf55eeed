"""Where a forecast errs: over time, per step of the horizon, and whether its intervals hold what they say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flts.contracts.records.decision import Coverage
from flts.drawing.ahead import moments
from flts.drawing.figure import (
    ACCENT,
    INK,
    MODELS,
    SOFT,
    Picture,
    canvas,
    date_axis,
    finished,
    plain,
    scale,
    short,
    whole_numbers,
)

Times = NDArray[np.int64]
Values = NDArray[np.float64]

BINS = 60
"""Stretches of time, and of errors, that cells are counted in."""
SHARES = ((0.05, 0.95, "90 % of the errors", 0.16), (0.25, 0.75, "50 %", 0.32))


def residuals(origins: Times, errors: Values, *, target: str, title: str, caption: str, timezone: str) -> Picture:
    """The middle of the errors of each stretch of time, with the bands that hold half and 90 % of them, and of all.

    origins [origins]: UTC ns; errors [origins, horizon]: forecast minus truth, NaN where there is no truth.
    """
    ((axes, beside),) = canvas(title, caption, columns=(3, 1))
    parts = [errors[at] for at in np.array_split(np.arange(len(origins)), min(BINS, len(origins)))]
    starts = np.array([int(at[0]) for at in np.array_split(np.arange(len(origins)), len(parts))])
    measured = [part[~np.isnan(part)] for part in parts]
    known = np.array([len(part) > 0 for part in measured])
    dates = moments(origins[starts[known]])
    shown = [part for part in measured if len(part)]
    axes.axhline(0.0, color=SOFT, linewidth=1.0)
    for low, high, label, alpha in SHARES:
        ends = [np.quantile(part, [low, high]) for part in shown]
        lower, upper = np.array(ends).T if ends else np.empty((2, 0))
        axes.fill_between(dates, lower, upper, step="post", color=ACCENT, alpha=alpha, linewidth=0, label=label)
    middle = [float(np.median(part)) for part in shown]
    axes.step(dates, middle, where="post", color=INK, linewidth=1.1, label="median")
    scale(axes, f"{short(target)}: forecast - truth")
    if len(dates):
        date_axis(axes, timezone)
    beside.hist(errors[~np.isnan(errors)], bins=BINS, orientation="horizontal", color=SOFT)
    beside.axhline(0.0, color=SOFT, linewidth=1.0)
    beside.set_ylim(axes.get_ylim())
    beside.set(yticklabels=[])
    scale(beside, "cells", across=True)
    return finished(axes)


@dataclass(frozen=True)
class StepLine:
    """The error of one model at each step of the horizon. baseline: drawn apart from the models."""

    model: str
    steps: Sequence[int]
    errors: Sequence[float]
    baseline: bool


def error_per_step(lines: Sequence[StepLine], *, unit: str, title: str, caption: str) -> Picture:
    """A line for each model, and a broken one for the baseline that they have to beat."""
    ((axes,),) = canvas(title, caption, size=(7.0, 3.5))
    colours = iter(np.resize(MODELS, len(lines)).tolist())
    for line in lines:
        style = {"color": SOFT, "linestyle": "--"} if line.baseline else {"color": next(colours), "linestyle": "-"}
        axes.plot(line.steps, line.errors, marker=".", markersize=4, label=plain(line.model), **style)
    scale(axes, "steps ahead", across=True)
    scale(axes, unit)
    axes.set_ylim(0.0, None)
    whole_numbers(axes)
    return finished(axes)


def calibration(covered: Mapping[str, Coverage], *, title: str, caption: str) -> Picture:
    """Measured coverage of the interval of each level on the test cells, beside the level itself."""
    ((axes,),) = canvas(title, caption, size=(7.0, 3.8))
    nominal = [float(level) for level in covered]
    measured = [result.coverage for result in covered.values()]
    axes.plot([0.0, 1.0], [0.0, 1.0], color=SOFT, linewidth=1.0, label="as promised")
    axes.plot(nominal, measured, color=ACCENT, marker="o", markersize=4, label="measured")
    for level, result in zip(nominal, covered.values(), strict=True):
        if result.interval:
            axes.plot([level] * 2, [result.interval.low, result.interval.high], color=ACCENT, linewidth=1.0)
    axes.set(xlim=(0.4, 1.0), ylim=(0.0, 1.02))
    scale(axes, "level of the interval", across=True)
    scale(axes, "share of the truth inside")
    return finished(axes)
