"""Histories for bundles of format 1: they were trained on rows without gaps and need every row of their window."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from flts.contracts.errors import DataError
from flts.models.base import ForecastTask, Indices
from flts.preprocess.rows import Rows


def unbroken(rows: Rows, ends: Indices, task: ForecastTask) -> NDArray[np.bool_]:
    """Whether the rows of the window before each end follow each other by one step: [ends]."""
    step = task.fitted.grid.step.nanoseconds
    broken = np.concatenate([[0], np.cumsum(np.diff(rows.times) != step)])
    return np.asarray(broken[ends - 1] == broken[np.maximum(ends - task.lookback, 0)])


def refuse_gap(rows: Rows, task: ForecastTask, name: str) -> None:
    """Raise DataError where the window at the end of the rows has a gap."""
    window = rows[-task.lookback :]
    gaps = np.flatnonzero(np.diff(window.times) != task.fitted.grid.step.nanoseconds)
    if len(gaps):
        before = str(np.datetime64(int(window.times[gaps[0]]), "ns").astype("datetime64[s]"))
        raise DataError(
            f"{name}: the row after {before} (UTC) does not follow by the step of {task.fitted.grid.step} that the"
            " model needs; keep every row and leave missing cells empty",
            code="history-gap",
            row=before,
            expected=str(task.fitted.grid.step),
        )
