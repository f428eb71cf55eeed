"""Every kind of bad rows through the command line: one message with the file and the place, an exit code, no traceback.

Nothing half-written stays: a good run in the same folder succeeds afterwards. Wrong words, keys and values are in
test_mistakes.py; damaged objects, folders without rights and full disks in test_bad_folder.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from tests.support.series import hourly, split
from tests.unit.cli.conftest import Flts

pytestmark = pytest.mark.slow

Change = Callable[[Path], None]
TRAIN, TEST = "load.csv", "load_test.csv"
SPRING, AUTUMN = 1_521_849_600 * 10**9, 1_540_598_400 * 10**9
"""2018-03-24 and 2018-10-27 00:00 UTC: the clocks of Madrid change the night after."""


def text(change: Callable[[str], str], file: str = TRAIN, encoding: str = "utf-8") -> Change:
    """A file with other text in it."""

    def made(folder: Path) -> None:
        path = folder / file
        path.write_bytes(change(path.read_text()).encode(encoding))

    return made


def rows(change: Callable[[pl.DataFrame], pl.DataFrame], file: str = TRAIN) -> Change:
    """A file with other rows in it."""

    def made(folder: Path) -> None:
        change(pl.read_csv(folder / file, try_parse_dates=True)).write_csv(folder / file)

    return made


def cell(row: int, column: str, written: str) -> Change:
    """A file with something else in one cell; the first row below the header is row 1."""

    def change(content: str) -> str:
        lines = [line.split(",") for line in content.splitlines()]
        lines[row][lines[0].index(column)] = written
        return "\n".join(",".join(line) for line in lines) + "\n"

    return text(change)


def starting(moment: int) -> Change:
    """Both files with naive times from another moment on."""

    def made(folder: Path) -> None:
        for frame, file in zip(split(hourly(300, start=moment), 60), (TRAIN, TEST), strict=True):
            frame.write_csv(folder / file)

    return made


def renamed(folder: Path) -> None:
    (folder / TRAIN).rename(folder / "load.parquet")


def a_folder(folder: Path) -> None:
    (folder / TRAIN).unlink()
    (folder / TRAIN).mkdir()


def swapped(folder: Path) -> None:
    train, test = (folder / TRAIN).read_bytes(), (folder / TEST).read_bytes()
    (folder / TRAIN).write_bytes(test)
    (folder / TEST).write_bytes(train)


def constant(column: str, value: float | None) -> Change:
    return rows(lambda frame: frame.with_columns(pl.lit(value, pl.Float64).alias(column)))


NOTHING: list[str] = []
LATER = pl.col("time").dt.offset_by("17m")
IN_MADRID = ["--set", "dataset.timezone=Europe/Madrid"]

REFUSED: dict[str, tuple[Change, list[str], list[str]]] = {
    "no file": (lambda f: (f / TRAIN).unlink(), NOTHING, ["there is no load.csv or load.parquet", "--source"]),
    "empty file": (text(lambda _: ""), NOTHING, ["load.csv: is empty; a header and at least one row are needed"]),
    "header only": (text(lambda t: t.splitlines()[0]), NOTHING, ["load.csv: has no rows; a header and at least one"]),
    "no header": (text(lambda t: t.split("\n", 1)[1]), NOTHING, ["load.csv: its first line holds values", "header"]),
    "decimal commas": (cell(3, "wind", "1,5"), NOTHING, ["load.csv: line 4 has 4 cells, the header 3", "point"]),
    "no time column": (
        text(lambda t: t.replace("time", "Time", 1)),
        NOTHING,
        ["time column 'time'; did you mean 'Time'"],
    ),
    "times no one can parse": (
        cell(4, "time", "05.02.2018 23:40"),
        NOTHING,
        ["row 4, column 'time': '05.02.2018 23:40'"],
    ),
    "a date that does not exist": (
        cell(4, "time", "2018-02-30"),
        NOTHING,
        ["row 4", "the time '2018-02-30' does not exist"],
    ),
    "no time in a row": (cell(4, "time", ""), NOTHING, ["load.csv: row 4 has no time in column 'time'"]),
    "mixed time zones": (
        cell(4, "time", "2018-02-07T13:00:00Z"),
        NOTHING,
        ["column 'time' mixes times with and without a zone", "in row 1", "in row 4"],
    ),
    "a skipped local time": (
        starting(SPRING),
        IN_MADRID,
        ["load.csv: row 27: 2018-03-25 02:00:00 does not exist in Europe/Madrid", "with their offset"],
    ),
    "duplicate times": (
        rows(lambda t: pl.concat([t, t[:2]])),
        NOTHING,
        ["2 rows repeat the time of another", "(UTC 2018-02-07T"],
    ),
    "rows off the grid": (
        rows(
            lambda t: t.with_columns(pl.when(pl.int_range(pl.len()) == 7).then(LATER).otherwise("time").alias("time"))
        ),
        NOTHING,
        ["load.csv: 1 of 240 rows are not on the grid of 1h", "row 8 in order of time", "preprocess.resample"],
    ),
    "a target that is no number": (
        cell(7, "load", "broken"),
        NOTHING,
        ["row 7: 'broken' in the column 'load' is not a number"],
    ),
    "a constant target": (
        constant("load", 5.0),
        NOTHING,
        ["'load' cannot be forecast: it is 5 in every train row"],
    ),
    "an empty target": (
        constant("load", None),
        NOTHING,
        ["'load' cannot be forecast: 100% of its cells are empty"],
    ),
    "infinities": (cell(9, "wind", "-inf"), NOTHING, ["column 'wind' holds an infinite value", "first in row 9;"]),
    "numbers beyond 32 bits": (cell(9, "load", "1e31"), NOTHING, ["column 'load' holds 1e+31, beyond the ±1e+30"]),
    "too few test rows": (
        rows(lambda t: t[:2], TEST),
        NOTHING,
        ["test has 2 rows", "the horizon of 3", "need at least 3", "shorter window"],
    ),
    "too few train rows": (rows(lambda t: t[-14:]), NOTHING, ["train", "too few"]),
    "test before train": (swapped, NOTHING, ["load_test.csv: test starts at 2018-02-07T", "later than all train rows"]),
    "train and test that overlap": (
        rows(lambda t: t.with_columns(pl.col("time").dt.offset_by("-2h")), TEST),
        NOTHING,
        ["load_test.csv: test starts at 2018-02-17T08:00:00, not after train ends at 2018-02-17T09:00:00 (UTC)"],
    ),
    "a column that test lacks": (
        rows(lambda t: t.drop("wind"), TEST),
        NOTHING,
        ["load_test.csv: lacks the numeric columns wind"],
    ),
    "a column twice": (
        text(lambda t: t.replace("wind", "load", 1)),
        NOTHING,
        ["the header names the column 'load' twice"],
    ),
    "an unknown target": (lambda _: None, ["--set", 'dataset.targets=["laod"]'], ["'laod'", "did you mean 'load'"]),
    "Parquet that is none": (renamed, NOTHING, ["load.parquet: cannot be read as Parquet"]),
    "a folder under the name of a file": (a_folder, NOTHING, ["there is no load.csv or load.parquet"]),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bad_rows_are_refused_with_their_place_and_a_good_run_follows(flts: Flts, folder: Path, kind: str) -> None:
    change, arguments, said = REFUSED[kind]
    good = {name: (folder / name).read_bytes() for name in (TRAIN, TEST)}
    change(folder)
    done = flts("run", *arguments)
    assert done.code == 4, done
    assert "Traceback" not in done.err + done.out
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.err
    for part in said:
        assert part in errors[0]
    assert not (folder / ".flts/objects/runs").exists()
    for name in (TRAIN, TEST):
        if (folder / name).is_dir():
            (folder / name).rmdir()
        (folder / name).write_bytes(good[name])
    (folder / "load.parquet").unlink(missing_ok=True)
    again = flts("run")
    assert again.code == 0, again
    assert "promoted" in again.out


WARNED: dict[str, tuple[Change, str]] = {
    "rows out of order": (
        rows(lambda t: t.reverse()),
        "load.csv: rows are not in order of time (first at row 2); they were",
    ),
    "absent rows": (
        rows(lambda t: t.filter(pl.int_range(pl.len()) % 20 != 7)),
        "load.csv: 12 of 240 rows are absent and count as empty cells",
    ),
    "a constant column": (constant("wind", 3.0), "column 'wind' is constant over train"),
    "an empty column": (constant("wind", None), "column 'wind' was dropped: 100% of its cells are empty in train"),
    "a mostly empty column": (
        rows(lambda t: t.with_columns(pl.when(pl.int_range(pl.len()) % 2 == 0).then("wind"))),
        "column 'wind' was dropped: 50% of its cells are empty in train",
    ),
    "a column of text": (
        rows(lambda t: t.with_columns(note=pl.lit("fine"))),
        "load.csv: columns that are not numeric were left out: note",
    ),
    "some empty cells of the target": (cell(5, "load", "NA"), ""),
}


@pytest.mark.parametrize("kind", WARNED)
def test_rows_that_can_be_used_are_used_with_a_warning(flts: Flts, folder: Path, kind: str) -> None:
    change, said = WARNED[kind]
    change(folder)
    done = flts("run")
    assert done.code == 0, done
    assert said in " ".join((done.out + done.err).split())
    assert "promoted" in done.out


def test_rows_out_of_order_give_the_numbers_of_the_rows_in_order(flts: Flts, folder: Path) -> None:
    in_order = flts("run", "--home", "first", "--json")
    rows(lambda t: t.reverse())(folder)
    reversed_rows = flts("run", "--home", "second", "--json")
    assert (in_order.code, reversed_rows.code) == (0, 0)
    stored = [
        sorted(p.read_bytes() for p in (folder / home).glob("objects/bundles/*/*.safetensors"))
        for home in ("first", "second")
    ]
    assert stored[0] == stored[1] != []


def test_the_times_of_a_clock_change_are_read_with_their_offset(flts: Flts, folder: Path) -> None:
    starting(AUTUMN)(folder)
    for file in (TRAIN, TEST):
        rows(
            lambda t: t.with_columns(pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone("Europe/Madrid")),
            file,
        )(folder)
    assert "2018-10-28T02:00:00.000000+0200" in (folder / TRAIN).read_text()
    done = flts("run", *IN_MADRID)
    assert done.code == 0, done
