"""`flts data`: what a file of rows contains, before anything is fitted on it."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flts.cli.options import ClockColumn, Decimal, Encoding, Json, Separator, Thousands, TimeFormat, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from flts.explore.finding import Finding
    from flts.explore.report import ColumnReport, Inspection

app = typer.Typer(help="Look at data before a run.", no_args_is_help=True)

DataFile = Annotated[Path, typer.Argument(help="CSV or Parquet. A file NAME_test beside it holds the test rows.")]
TestFile = Annotated[Path | None, typer.Argument(help="The test rows. [the last rows of FILE]")]
Target = Annotated[str | None, typer.Option(help="Column to forecast. [the first numeric one that varies]")]
Time = Annotated[str | None, typer.Option(help="Column of the times. ['time', or the first that holds times]")]
Timezone = Annotated[str | None, typer.Option(help="Zone of times without one. [UTC, or one whose changes they show]")]

MARKS = {"stops": ("✗", "bold red"), "warning": ("!", "yellow"), "note": ("·", "cyan")}
WIDEST = 110
"""Columns of text beyond which lines are hard to read."""


@app.command()
def inspect(
    file: DataFile,
    test_file: TestFile = None,
    target: Target = None,
    time: Time = None,
    timezone: Timezone = None,
    separator: Separator = None,
    decimal: Decimal = None,
    thousands: Thousands = None,
    time_format: TimeFormat = None,
    clock_column: ClockColumn = None,
    encoding: Encoding = None,
    as_json: Json = False,
) -> None:
    """Rows, gaps, missing cells, seasons, leaks, shifts, and whether `flts run` would accept them.

    Exits with 4 when it would not.
    """
    from flts import api
    from flts.runner.progress import waiting

    named = reading(
        separator=separator,
        decimal=decimal,
        thousands=thousands,
        time_format=time_format,
        clock_column=clock_column,
        encoding=encoding,
    )
    with waiting(f"{file}: every column is measured"):
        report = api.inspect(file, test_file, target=target, time=time, timezone=timezone, reading=named)
    if as_json:
        from flts.cli import board

        board.print_json(report.document())
    else:
        _print(report.inspection, report.findings)
    if not report.usable:
        raise typer.Exit(4)


def _print(seen: Inspection, findings: Sequence[Finding]) -> None:
    from rich.markup import escape

    from flts.cli import board

    console = board.open_console()
    _print_head(seen, console)
    stops = sum(finding.severity == "stops" for finding in findings)
    if stops:
        console.print(f"\n[bold red]flts run would refuse these rows[/], for {_count(stops, 'reason')}\n")
    else:
        console.print("\n[bold green]flts run would take these rows[/]\n")
    for finding in findings:
        _print_finding(finding, console)
    for title, table in _tables(seen):
        console.print(f"\n[bold]{escape(title)}[/]")
        console.print(table, crop=False)
    sys.stdout.flush()


def _print_head(seen: Inspection, console: Console) -> None:
    from rich.markup import escape

    from flts.explore.files import TEST_FRACTION
    from flts.explore.findings_of_time import utc

    time, placed = seen.timeline, seen.placed
    names = [seen.train.name] + ([seen.test.name] if seen.test else [])
    parts = "" if seen.test else f" (the last {TEST_FRACTION:.0%})"
    target = f"'{seen.target}'" if seen.target else "none"
    counted = f"{len(seen.train_rows):,} train, {len(seen.test_rows):,} test{parts}"
    step = f"{placed.own}, {_share(1.0 - placed.off_grid / placed.rows)} of the rows on it"
    step = f"none; figures are of means over {placed.grid}" if placed.grid.step != placed.own.step else step
    lines = {
        "rows": f"{counted}; {_count(len(seen.columns), 'column')}",
        "time": f"{utc(time.first)} to {utc(time.last)} UTC in train",
        "step": f"{step}, " + (_count(time.gap_count, "gap") if time.gap_count else "no gaps"),
        "target": f"{target} ({seen.why_target})",
    }
    console.print(f"[bold]{escape(' and '.join(names))}[/]", highlight=False)
    for label, line in lines.items():
        console.print(f"  [dim]{label:<7}[/]{escape(line)}", highlight=False)


def _print_finding(finding: Finding, console: Console) -> None:
    """A mark, a sentence, and below it what to do; wrapped with an indent at a terminal."""
    import textwrap

    from rich.text import Text

    mark, style = MARKS[finding.severity]
    width = min(WIDEST, max(20, console.width - 11)) if console.is_terminal else sys.maxsize
    text = Text(f"{mark} {finding.severity:<8}", style=style)
    text.append("\n          ".join(textwrap.wrap(finding.message, width)), style="default")
    if finding.action:
        action = textwrap.wrap(finding.action, width - 2)
        text.append("\n          → " + "\n            ".join(action), style="dim default")
    console.print(text, soft_wrap=True)


def _tables(seen: Inspection) -> list[tuple[str, Any]]:
    """Tables of columns, structure, shift and relations, each at most 80 characters wide."""
    from flts.cli.table import fitting_table

    columns, names = seen.columns, [_name(column.name) for column in seen.columns]
    styles = ["bold" if column.name == seen.target else None for column in columns]
    seasons = list(seen.seasons)

    def table(headings: Sequence[str], cells: Sequence[Sequence[str]]) -> Any:
        rows = [[name, *row] for name, row in zip(names, cells, strict=True)]
        return fitting_table(["column", *headings], rows, styles, numbers=headings, indent=2)

    shown = [
        (
            "Columns (train)",
            table(
                ["missing", "run", "min", "median", "max", "mean", "outliers"],
                [
                    [
                        _share(c.missing / c.cells) if c.missing else "",
                        f"{c.longest_missing:,}" if c.missing else "",
                        *(_number(value) for value in (c.minimum, c.median, c.maximum, c.mean)),
                        "constant" if c.constant else (_share(c.outliers / c.cells) if c.outliers else ""),
                    ]
                    for c in columns
                ],
            ),
        ),
        (
            "Strength of trend and seasons, 0 to 1; KPSS above 0.46: not stationary",
            table(
                ["trend", *seasons, "KPSS"],
                [[_two(c.trend), *(_two(c.seasons.get(s)) for s in seasons), _two(c.kpss)] for c in columns],
            ),
        ),
        ("Test against train (0: alike, 1: no overlap; usual: blocks of train)", table(*_shift_cells(columns))),
    ]
    if seen.target and len(columns) > 1:
        title = f"Correlation with '{seen.target}' (bare: trend and seasons removed)"
        headings, rows = _relations(columns)
        shown.append((title, fitting_table(headings, rows, numbers=headings[1:])))
    if seen.memory:
        lags = seen.memory.autocorrelation
        rows = [["r", *(f"{r:+.2f}" for r in lags.values())]]
        title = f"Autocorrelation of '{seen.target}' by lag in rows"
        shown.append((title, fitting_table(["rows", *map(str, lags)], rows, numbers=[*map(str, lags)])))
    return shown


def _shift_cells(columns: Sequence[ColumnReport]) -> tuple[list[str], list[list[str]]]:
    cells = []
    for column in columns:
        shift = column.shift
        if shift is None:
            cells.append(["", "", "", ""])
            continue
        mean = "" if shift.mean is None else f"{shift.mean:+.2f} sd"
        cells.append([_two(shift.distance), _two(shift.usual), mean, _share(shift.outside) if shift.outside else ""])
    return ["distance", "usual", "mean", "out of range"], cells


def _relations(columns: Sequence[ColumnReport]) -> tuple[list[str], list[list[str]]]:
    rows = []
    for column in columns:
        relation = column.relation
        if relation is None:
            continue
        lag = relation.lag
        where = "same row" if lag == 0 else f"{abs(lag):,} {'ahead' if lag > 0 else 'behind'}"
        signed = ["" if r is None else f"{r:+.2f}" for r in (relation.same_row, relation.without_lag, relation.at_lag)]
        rows.append([_name(column.name), *signed, where if relation.at_lag is not None else ""])
    return ["column", "r", "bare", "best", "where"], rows


def _name(name: str) -> str:
    return name if len(name) <= 18 else f"{name[:17]}…"


def _number(value: float | None) -> str:
    """Four significant digits with a suffix for thousands, such as 12.3k."""
    if value is None:
        return ""
    if value != 0.0 and not 1e-3 <= abs(value) < 1e15:
        return f"{value:.2e}"
    power = 0 if abs(value) < 1e4 else int(math.log10(abs(value)) // 3)
    return f"{value / 1000**power:.4g}{['', 'k', 'M', 'G', 'T'][power]}"


def _two(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _share(value: float) -> str:
    """A percentage that is never rounded up to 100% nor down to 0%."""
    if 0.0 < value < 0.001:
        return "<0.1%"
    if 0.999 < value < 1.0:
        return ">99.9%"
    return f"{value:.1%}" if value not in {0.0, 1.0} else f"{value:.0%}"


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
