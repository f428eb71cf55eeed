"""`flts predictions`: what the logged forecasts of a scope were worth."""

from __future__ import annotations

from datetime import UTC, datetime
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
    Wide,
    chosen_scope,
    reading,
    settings,
)

if TYPE_CHECKING:
    from flts.contracts.records.live import Live, LiveErrors, LiveSkill

app = typer.Typer(help="Compare logged forecasts with the truth.", no_args_is_help=True)

STEPS_SHOWN = 24
DAYS = ["%Y-%m-%d"]


@app.callback()
def _group() -> None:
    """Keeps `join` a command of its own while it is the only one."""


@app.command()
def join(
    truth: Annotated[Path, typer.Option(help="CSV or Parquet with the time and the targets as they came.")],
    scope: Scope = None,
    since: Annotated[
        datetime | None, typer.Option(formats=DAYS, help="Only forecasts of this day (UTC) and later ones. [all]")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option(formats=DAYS, help="Only forecasts of this day (UTC) and earlier ones. [all]")
    ] = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    time_format: TimeFormat = None,
    clock_column: ClockColumn = None,
    encoding: Encoding = None,
    write: Annotated[bool, typer.Option("--write", help="Store the result, which servers then export.")] = False,
    home: Home = None,
    as_json: Json = False,
    wide: Wide = False,
) -> None:
    """Live error, coverage and skill of the logged forecasts of a scope."""
    from flts.cli import board
    from flts.contracts.errors import DataError
    from flts.preprocess.dialect import named_dialect
    from flts.preprocess.source import RawFile
    from flts.report import live as joining
    from flts.report.predictions import Period
    from flts.runner.scope import written_dialect
    from flts.wiring import existing_store, limits_of

    chosen = settings(home=home)
    if not truth.is_file():
        raise DataError(f"{truth}: no such file", code="file-missing", file=str(truth))
    store = existing_store(chosen)
    named = chosen_scope(store, scope)
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
    rows = RawFile(str(truth), truth, limits_of(chosen), dialect, written_dialect(named))
    found = joining.join(store, named, rows, datetime.now(UTC), Period(_day(since), _day(until)))
    if write:
        joining.write(store, found)
    if as_json:
        board.print_json(found)
        return
    _print(found, wide=wide)
    if write:
        typer.echo("stored; servers of this scope export it with their next poll")


def _day(day: datetime | None) -> str:
    return f"{day:%Y%m%d}" if day else ""


def _print(live: Live, *, wide: bool) -> None:
    """The result for people."""
    from flts.cli import board

    _say_read(live)
    if live.errors is None:
        typer.echo(f"awaiting  all {live.awaiting:,} cells: no logged forecast has truth yet")
        return
    typer.echo(f"origins   {live.first_origin} to {live.last_origin}")
    if live.awaiting:
        typer.echo(f"awaiting  {live.awaiting:,} cells have no truth yet")
    rows = [row for target in live.errors.targets for row in _rows_of(live, target)]
    figures = ["RMSE", "MAE", "RMSE scaled", "MAE scaled"]
    board.print_table(["target", "step", "cells", *figures], rows, optional=figures, wide=wide)
    if len(live.steps) > STEPS_SHOWN:
        typer.echo(f"{len(live.steps) - STEPS_SHOWN} more steps with --json")
    for level, found in live.coverage.items():
        typer.echo(f"coverage  {float(level):.0%} intervals hold {found.coverage:.1%} of {found.cells:,} cells")
    if live.skill is not None:
        typer.echo(f"skill     {_skill_in_words(live.skill, live.errors.cells)}")
    if len(live.models) > 1:
        board.print_table(
            ["model", "promotions", "origins", "cells", "RMSE scaled", "skill"],
            [
                [
                    f"{model.model_type} {model.model_hash[:8]}",
                    _numbers(model.promotions),
                    f"{model.origins:,}",
                    f"{model.errors.cells:,}",
                    f"{model.errors.rmse:.4f}",
                    "" if model.skill.skill is None else f"{model.skill.skill:+.1%}",
                ]
                for model in live.models
            ],
            optional=["RMSE scaled", "skill", "cells", "origins", "promotions"],
            wide=wide,
        )


def _say_read(live: Live) -> None:
    parts = sum(day.parts for day in live.days.values())
    requests = "1 request" if live.requests == 1 else f"{live.requests:,} requests"
    typer.echo(f"forecasts {requests} of '{live.scope}' in {parts:,} {'part' if parts == 1 else 'parts'}")
    typer.echo(f"scaled    by the range over the train rows of promotion {live.promotion}")
    typer.echo(f"truth     {live.truth.rows:,} rows of {live.truth.file}")
    typer.echo(f"          {live.truth.first} to {live.truth.last}")
    for reason, count in live.left_out.items():
        typer.echo(f"left out  {count:,} × {reason}")


def _rows_of(live: Live, target: str) -> list[list[str]]:
    """The table of one target: all steps, then each."""
    each = [(f"{at.step}", at.errors) for at in live.steps[:STEPS_SHOWN]]
    every: list[tuple[str, LiveErrors | None]] = [("all", live.errors), *each]
    return [
        [
            target,
            step,
            f"{own.cells:,}",
            f"{own.rmse:,.4g}",
            f"{own.mae:,.4g}",
            f"{own.scaled_rmse:.4f}",
            f"{own.scaled_mae:.4f}",
        ]
        for step, errors in every
        if errors is not None and (own := errors.targets.get(target)) is not None
    ]


def _skill_in_words(skill: LiveSkill, cells: int) -> str:
    if skill.skill is None:
        return f"none against {skill.baseline}: {skill.reason}"
    season = f", season of {skill.season} rows" if skill.baseline == "seasonal_naive" else ""
    return f"{skill.skill:+.1%} against {skill.baseline}{season}, on {skill.cells:,} of {cells:,} cells"


def _numbers(promotions: list[int]) -> str:
    shown = ", ".join(map(str, promotions[:3]))
    return f"{shown}, … {promotions[-1]}" if len(promotions) > 3 else shown
