"""`flts forecast`: forecast with the champion."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    split_names,
)
from flts.contracts.errors import visible

if TYPE_CHECKING:
    import polars as pl

SUFFIXES = (".csv", ".parquet", ".json")
INTERVALS = {
    "adaptive": "adaptive, it follows the newest errors in this history",
    "static": "static, from the errors of training alone",
}


def forecast(
    file: Annotated[Path, typer.Option("--input", help="CSV or Parquet with the history, newest row last.")],
    future: Annotated[
        Path | None,
        typer.Option(
            help="CSV or Parquet with the rows to forecast: the columns that are known ahead."
            " [the last rows of --input that hold no target]"
        ),
    ] = None,
    levels: Annotated[
        str,
        typer.Option("--levels", "--level", help="Levels of the intervals: 0.5, 0.8, 0.9 and 0.95, or some of them."),
    ] = "0.8",
    horizon: Annotated[int | None, typer.Option(help="Steps to forecast. [all that the model was trained for]")] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write CSV, Parquet or JSON here instead of a table, as the ending says.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw history and forecast to this PNG or SVG file.")] = None,
    target: Annotated[str | None, typer.Option(help="The target that --plot draws. [the first]")] = None,
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
    from flts.drawing.figure import checked
    from flts.preprocess.dialect import named_dialect
    from flts.preprocess.source import RawFile, refuse_no_file
    from flts.runner.scope import written_dialect
    from flts.serve.follow import champion_of
    from flts.serve.picture import drawn
    from flts.spec.written import refuse_no_folder, write_bytes
    from flts.wiring import existing_store, limits_of

    if output is not None and output.suffix not in SUFFIXES:
        raise UsageError(
            f"--output {output}: write to a {', a '.join(SUFFIXES[:-1])} or a {SUFFIXES[-1]} file",
            code="output-format",
            file=str(output),
            valid=SUFFIXES,
        )
    if plot is not None:
        checked(plot)
    for written in filter(None, (output, plot)):
        refuse_no_folder(written)
    asked = _levels(levels)
    chosen = settings(home=home)
    for given in filter(None, (file, future)):
        refuse_no_file(given)
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
    limits, hint = limits_of(chosen), written_dialect(champion.entry.scope)
    history = RawFile(str(file), file, limits, dialect, hint)
    later = None if future is None else RawFile(str(future), future, limits, dialect, hint)
    answer = champion.answer(history, asked, horizon, future=later)
    # before anything is written, so that a picture that cannot be drawn leaves nothing half done
    picture = drawn(champion.bundle, answer, target) if plot is not None else None
    for warning in answer.warnings:
        typer.echo(f"note: {visible(str(warning))}", err=True)
    entry = champion.entry
    by = f"{entry.champion.model}, promotion {entry.number} of '{entry.scope}', {entry.time[:10]}"
    typer.echo(visible(f"champion: {by}, config {entry.champion.config_hash[:12]}"), err=True)
    without = f"none, {champion.bundle.manifest.intervals.reason}"
    typer.echo(f"interval: {INTERVALS.get(answer.interval, without)}", err=True)  # stdout holds the forecasts alone
    frame = answer.frame(asked if len(asked) > 1 else ())
    if picture is not None and plot is not None:
        write_bytes(plot, picture.png if plot.suffix == ".png" else picture.svg, replace=True)
        typer.echo(visible(f"picture: {plot}"), err=True)
    if output is not None:
        _write(frame, output)
        typer.echo(f"{frame.height} forecasts by {entry.champion.model} (promotion {entry.number}) in {output}")
    elif as_json:
        rows = [{**row, "time": row["time"].isoformat()} for row in frame.iter_rows(named=True)]
        promoted = entry.champion
        identity = {key: getattr(promoted, key) for key in ("model_type", "run_id", "model_hash", "config_hash")}
        model = {**identity, "promotion": entry.number}
        board.print_json({"forecasts": rows, "interval": answer.interval, "model": model})
    else:
        bounds = [f"{end} {level:g}" for level in asked for end in ("lower", "upper")]
        board.print_table(
            [f"time ({answer.timezone})", "target", "mean", *bounds],
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


def _levels(text: str) -> tuple[float, ...]:
    """The levels in a list, each once. Raises UsageError for a word that is no number."""
    from flts.contracts.errors import UsageError

    try:
        levels = tuple(dict.fromkeys(float(word) for word in split_names(text)))
    except ValueError:
        levels = ()
    if not levels:
        raise UsageError(
            f"--levels {text}: write numbers separated by commas, such as 0.5,0.8,0.95",
            code="levels-unread",
            found=text,
        )
    return levels


def _write(frame: pl.DataFrame, file: Path) -> None:
    """A table of forecasts: Parquet keeps the zone of its times, text has the offset in a column of its own."""
    from flts.serve.written import as_text
    from flts.spec.written import write_bytes

    data = io.BytesIO()
    if file.suffix == ".parquet":
        frame.write_parquet(data)
    elif file.suffix == ".csv":
        as_text(frame).write_csv(data)
    else:
        as_text(frame).write_json(data)
    write_bytes(file, data.getvalue(), replace=True)
