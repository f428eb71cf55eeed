"""The box of the page: a pasted or dropped CSV in, its forecast beside its newest rows out, also as CSV."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePath

from flts.contracts.errors import DataError
from flts.contracts.records.model import Manifest
from flts.forecasting.intervals import LEVELS
from flts.preprocess.source import RawTable
from flts.serve.answer import rows_for
from flts.serve.written import as_text
from flts.server.page.chart import Chart, of_answer
from flts.server.page.shown import counted, lasting
from flts.server.sent import read_sent
from flts.server.wanted import DEFAULT_LEVEL, Answered
from flts.spec.steps import Step

MOST_SHOWN_AGAIN = 100_000
"""Characters of a pasted text that are sent back beside its forecast."""
PASTED = "the pasted rows"
INTERVALS = {
    "adaptive": "Its intervals follow the newest errors in this history.",
    "static": "Its intervals are those of training: the history has no later errors to follow.",
    "none": "This model has no intervals.",
}


@dataclass(frozen=True)
class Pasted:
    """What was sent: a text, or a file with its name."""

    text: str
    file: str
    data: bytes
    level: float


@dataclass(frozen=True)
class Result:
    """The forecast of a box. download: the same rows as a CSV in a URL of their own."""

    sentence: str
    intervals: str
    warnings: Sequence[str]
    charts: Sequence[Chart]
    download: str
    name: str


@dataclass(frozen=True)
class Box:
    """The form and what became of it.

    needs: what a history must hold; error: why there is no forecast; refused: why there is no form.
    """

    needs: str
    columns: Sequence[str]
    text: str
    level: float
    levels: Sequence[float]
    error: str = ""
    result: Result | None = None
    refused: str = ""


def box(
    manifest: Manifest,
    pasted: Pasted | None = None,
    error: str = "",
    result: Result | None = None,
    refused: str = "",
) -> Box:
    """The form for a model, with what was sent before."""
    step = Step.parse(manifest.fitted.grid.step)
    every = lasting(1, step).removeprefix("1 ")
    needs = f"at least {manifest.min_history_rows:,} rows, one every {every}, in original units"
    if manifest.known_future is not None and manifest.known_future.given:
        given = ", ".join(manifest.known_future.given)
        needs += f"; then {manifest.horizon:,} rows to forecast, with {given} and an empty target"
    text = pasted.text if pasted and len(pasted.text) <= MOST_SHOWN_AGAIN else ""
    level = pasted.level if pasted else DEFAULT_LEVEL
    columns = [manifest.time_column, *manifest.columns]
    return Box(needs, columns, text, level, sorted(LEVELS), error, result, refused)


def table(pasted: Pasted, most: int) -> RawTable:
    """The rows that were sent. most: bytes of a request. Raises DataError and Problem that say what they are."""
    if not pasted.data and not pasted.text.strip():
        raise DataError("nothing was sent: paste rows with their header, or choose a CSV file", code="nothing-sent")
    if pasted.data:
        return read_sent(PurePath(pasted.file).name or "the file", pasted.data, most)
    return read_sent(PASTED, pasted.text.strip().encode() + b"\n", most)


def result(answered: Answered, rows: RawTable, level: float) -> Result:
    """The forecast for people: a chart with its table for each target."""
    answer, champion = answered.answer, answered.served.champion
    history = rows_for(champion.bundle, rows)
    history = history[: int(history.times.searchsorted(answer.times[0]))]  # without the rows to forecast
    most = max(2 * len(answer.times), 48)
    charts = [of_answer(answer, history, target, level, most) for target in answer.targets]
    step = Step.parse(champion.bundle.manifest.fitted.grid.step)
    entry = champion.entry
    steps = counted(len(answer.times), "step")
    sentence = (
        f"{entry.champion.model}, promotion {entry.number}: the next {steps} ({lasting(len(answer.times), step)}),"
        f" in the time of {answer.timezone}"
    )
    data = as_text(answer.frame()).write_csv().encode()
    return Result(
        sentence=sentence,
        intervals=INTERVALS.get(answer.interval, ""),
        warnings=[str(notice) for notice in answer.warnings],
        charts=charts,
        download="data:text/csv;base64," + base64.b64encode(data).decode(),
        name=f"{answered.served.scope}-forecast.csv",
    )
