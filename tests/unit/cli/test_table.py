"""Tables in terminals of any width: columns go before a figure is cut, and text wraps at words."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from tests.support.terminal import in_terminal

from flts.cli.table import fitting_table

HEADINGS = ["rank", "model", "score", "95 %", "RMSE of departures", "skill"]
ROWS = [
    ["1", "ridge", "0.0577", "0.0504 to 0.0650", "2.877", "+15.4%"],
    ["", "seasonal_naive (baseline)", "0.0682", "0.0614 to 0.0750", "3.42", ""],
]
OPTIONAL = ["skill", "RMSE of departures", "95 %"]


def shown(width: int) -> list[str]:
    """The lines of the table in a terminal of this width."""
    screen = io.StringIO()
    numbers = [heading for heading in HEADINGS if heading != "model"]
    table = fitting_table(HEADINGS, ROWS, numbers=numbers, optional=OPTIONAL)
    Console(file=screen, width=width).print(table, crop=False)
    return [line.rstrip() for line in screen.getvalue().splitlines()]


def dropped(lines: list[str]) -> list[str]:
    """The columns that are named as not shown."""
    named = re.search(r"not shown in \d+ columns: (.*);", " ".join(lines))
    return named.group(1).split(", ") if named else []


def test_of_two_equal_columns_the_one_that_goes_is_named() -> None:
    screen = io.StringIO()
    table = fitting_table(["model", "seconds", "seconds"], [["ridge", "1", "1"]], optional=["seconds"])
    Console(file=screen, width=16).print(table, crop=False)
    assert screen.getvalue().split()[:2] == ["model", "seconds"]
    assert dropped(screen.getvalue().split()) == ["seconds"]


def test_a_column_is_shown_whole_or_named_as_dropped_and_no_line_is_too_long() -> None:
    for width in range(36, 120):
        lines = shown(width)
        gone = dropped(lines)
        assert max(map(len, lines)) <= width
        assert set(gone) <= set(OPTIONAL)
        for at, heading in enumerate(HEADINGS):
            for cell in (row[at] for row in ROWS if row[at]):
                words = cell.split() if heading == "model" else [cell]
                assert all((word in "\n".join(lines)) != (heading in gone) for word in words), (width, heading, cell)


def test_the_most_important_column_goes_last_and_all_stand_in_one_line_where_they_fit() -> None:
    assert dropped(shown(30)) == ["95 %", "RMSE of departures", "skill"]
    assert dropped(shown(40)) == ["95 %", "RMSE of departures"]
    assert dropped(shown(50)) == ["95 %"]
    assert dropped(shown(70)) == []
    assert len(shown(120)) == 3


def test_where_nothing_may_be_dropped_the_line_is_longer_than_the_terminal() -> None:
    screen = io.StringIO()
    table = fitting_table(["a", "b"], [["0.123456789", "0.987654321"]], numbers=["a", "b"])
    Console(file=screen, width=10).print(table, crop=False)
    assert "0.123456789  0.987654321" in screen.getvalue()


def test_text_wraps_at_words_and_brackets_and_control_characters_are_text() -> None:
    screen = io.StringIO()
    Console(file=screen, width=24).print(fitting_table(["what"], [["one [bold]two[/] three\x1b[31m four"]]), crop=False)
    assert [line.rstrip() for line in screen.getvalue().splitlines()] == [
        "what",
        "one [bold]two[/]",
        r"three\x1b[31m four",
    ]


@pytest.fixture(scope="module")
def screens(promoted_folder: Path) -> dict[int, list[str]]:
    """The scoreboard in terminals of four widths; at 60 columns with --wide."""
    calls = [(width, ["promotions", "show"]) for width in (80, 100, 120, 160)] + [(60, ["runs", "show", "--wide"])]
    shown = in_terminal(calls, promoted_folder)
    return {width: lines for (width, _), lines in zip(calls, shown, strict=True)}


@pytest.mark.slow
@pytest.mark.parametrize(("width", "gone"), [(80, ["MAE", "MSE", "MASE"]), (100, ["MSE"]), (120, []), (160, [])])
def test_the_scoreboard_fits_a_real_terminal(width: int, gone: list[str], screens: dict[int, list[str]]) -> None:
    lines = screens[width]
    board = lines[lines.index("") + 1 :]
    assert max(map(len, board)) <= width
    assert "…" not in "".join(board)
    head = board[: board.index("")]
    assert dropped(head) == gone
    for name in ("ridge", "seasonal_naive"):
        row, whole = (next(line for line in shown if f" {name} " in line).split() for shown in (head, screens[160]))
        assert set(row) <= set(whole)  # a figure that was cut is none of the whole ones
        assert row[-1] == whole[-1]


@pytest.mark.slow
def test_every_column_is_shown_with_wide(screens: dict[int, list[str]]) -> None:
    text = "\n".join(screens[60])
    assert dropped(screens[60]) == []
    assert all(heading in text for heading in ("seasonal_naive (baseline)", "95 %", "MSE", "coverage (80 %)"))
