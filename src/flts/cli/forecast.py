"""`flts forecast`: forecast with the champion."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from flts.cli.options import (
    ClockColumn,
    Decimal,
    Encoding,
    Home,
    Json,
    Scope,
    Separator,
    Thousands,
    TimeFormat,
    chosen_scope,
    reading,
    settings,
)
from flts.contracts.errors import visible

WRITTEN = "%Y-%m-%dT%H:%M:%S%.f%:z"
"""Times in a CSV: local, with their offset."""
INTERVALS = {
    "adaptive": "adaptive, it follows the newest errors in this history",
    "static": "static, from the errors of training alone",
}


def forecast(
    file: Annotated[Path, typer.Option("--input", help="CSV or Parquet with the history, newest row last.")],
    level: Annotated[float, typer.Option(help="Level of the interval: 0.5, 0.8, 0.9 or 0.95.")] = 0.8,
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast. [all that the model was trained for]")] = None,
    output: Annotated[Path | None, typer.Option(help="Write CSV or Parquet here instead of a table.")] = None,
    scope: Scope = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    time_format: TimeFormat = None,
    clock_column: ClockColumn = None,
    encoding: Encoding = None,
    home: Home = None,
    as_json: Json = False,
) -> None:
    """Forecast from the end of a history with the champion."""
    from flts.cli import board
    from flts.contracts.errors import UsageError
    from flts.preprocess.dialect import named_dialect
    from flts.preprocess.source import RawFile, refuse_no_file
    from flts.runner.scope import written_dialect
    from flts.serve.follow import champion_of
    from flts.wiring import existing_store, limits_of

    if output is not None and output.suffix not in {".csv", ".parquet"}:
        raise UsageError(
            f"--output {output}: write to a .csv or a .parquet file", code="output-format", file=str(output)
        )
    chosen = settings(home=home)
    refuse_no_file(file)
    store = existing_store(chosen)
    champion = champion_of(store, chosen_scope(store, scope))
    dialect = named_dialect(
        reading(
            separator=separator,
            decimal=decimal,
            thousands=thousands,
            time_format=time_format,
            clock_column=clock_column,
            encoding=encoding,
        )
    )
    history = RawFile(str(file), file, limits_of(chosen), dialect, written_dialect(champion.entry.scope))
    answer = champion.answer(history, level, horizon)
    for warning in answer.warnings:
        typer.echo(f"note: {visible(str(warning))}", err=True)
    without = f"none, {champion.bundle.manifest.intervals.reason}"
    typer.echo(f"interval: {INTERVALS.get(answer.interval, without)}", err=True)  # stdout holds the forecasts alone
    frame, entry = answer.frame(), champion.entry
    if output is not None:
        frame.write_csv(output, datetime_format=WRITTEN) if output.suffix == ".csv" else frame.write_parquet(output)
        typer.echo(f"{frame.height} forecasts by {entry.champion.model} (promotion {entry.number}) in {output}")
    elif as_json:
        rows = [{**row, "time": row["time"].isoformat()} for row in frame.iter_rows(named=True)]
        promoted = entry.champion
        identity = {key: getattr(promoted, key) for key in ("model_type", "run_id", "model_hash", "config_hash")}
        model = {**identity, "promotion": entry.number}
        board.print_json({"forecasts": rows, "interval": answer.interval, "model": model})
    else:
        board.print_table(
            [f"time ({answer.timezone})", "target", "mean", f"lower {level:g}", f"upper {level:g}"],
            [
                [
                    str(row[0])[:19] if answer.timezone == "UTC" else str(row[0]),
                    row[1],
                    *("" if value is None else f"{value:,.6g}" for value in row[2:]),
                ]
                for row in frame.iter_rows()
            ],
        )
        sys.stdout.flush()
