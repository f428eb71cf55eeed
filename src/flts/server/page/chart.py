"""A chart is a table: the script draws it from the very numbers that the table beside it shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from flts.contracts.records.decision import Preview
from flts.preprocess.rows import Rows, Values
from flts.serve.answer import Answer
from flts.server.page.shown import aligned, decimals, local_times
from flts.spec.steps import SECOND


@dataclass(frozen=True)
class ChartRow:
    """One time: seconds since 1970 and the local time; empty where there is no value."""

    at: int
    time: str
    truth: str
    forecast: str
    lower: str
    upper: str


@dataclass(frozen=True)
class Chart:
    """One target over time. name: for its heading and its table; zone: of the times.

    joined: whether the rows follow each other on the grid, so that a line may join them; otherwise each stands alone.
    whole: whether all rows are drawn at first, not the newest only.
    """

    name: str
    target: str
    zone: str
    truth: str
    rows: Sequence[ChartRow]
    joined: bool
    bounds: str
    whole: bool


def of_preview(preview: Preview, target: str, zone: str) -> Chart:
    """The newest scored forecasts of one step ahead, each beside what came."""
    at = preview.targets.index(target)
    columns = [[cells[at] for cells in part] for part in (preview.truth, preview.y_hat, preview.lower, preview.upper)]
    gaps = np.diff(np.array(preview.time, dtype=np.int64))
    joined = bool(gaps.size) and int(gaps.max()) < 2 * int(gaps.min())
    return Chart(
        name=f"{target}: what came, and what {preview.model} forecast one step before",
        target=target,
        zone=zone,
        truth="truth",
        rows=_rows(preview.time, columns, zone),
        joined=joined,
        bounds="80 % interval",
        whole=False,
    )


def of_answer(answer: Answer, history: Rows, target: str, level: float, most: int) -> Chart:
    """The newest `most` rows of a history, and the forecast after them."""
    at, column = answer.targets.index(target), history.columns.index(target)
    before = slice(max(0, len(history) - most), None)
    known = history.values[before, column]
    none = [None] * len(known)
    ahead = [_cells(part[:, at]) for part in (answer.mean, answer.lower, answer.upper)]
    columns = [[*_cells(known), *[None] * len(answer.times)], *([*none, *part] for part in ahead)]
    times = [*history.times[before].tolist(), *answer.times.tolist()]
    return Chart(
        name=f"{target}: the newest rows of the history, and the forecast",
        target=target,
        zone=answer.timezone,
        truth="history",
        rows=_rows(times, columns, answer.timezone),
        joined=True,
        bounds=f"{level:.0%} interval".replace("%", " %"),
        whole=True,
    )


def _cells(values: Values) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]


def _rows(times: Sequence[int], columns: Sequence[Sequence[float | None]], zone: str) -> list[ChartRow]:
    """columns: truth, forecast, lower, upper; forecasts and bounds share their decimals."""
    truth, *made = columns
    places = [decimals(truth), *[decimals(value for part in made for value in part)] * len(made)]
    texts = [[aligned(value, most) for value in part] for part, most in zip(columns, places, strict=True)]
    return [
        ChartRow(at // SECOND, time, *cells)
        for at, time, *cells in zip(times, local_times(times, zone), *texts, strict=True)
    ]
