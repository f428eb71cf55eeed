"""What a person should know about the times of the rows."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from flts.explore.clocks import LocalClock
from flts.explore.finding import Finding, counted
from flts.explore.grid import Placed, Timeline
from flts.explore.report import Inspection
from flts.spec.fields import Task

MEASURED = Task().min_measured


def utc(time: int) -> str:
    """A time for people, in UTC, to the second."""
    return str(np.datetime64(time, "ns").astype("datetime64[s]")).replace("T", " ")


def of_time(inspection: Inspection) -> Iterator[Finding]:
    placed = inspection.placed
    yield from _of_repeats(inspection)
    if placed.merged:
        yield Finding(
            "warning",
            "irregular",
            (),
            why_merged(placed),
            f'preprocess.resample = "mean" (or "sum", "last", …) with dataset.step = "{placed.grid.step}"',
        )
    if inspection.timeline.gap_count:
        yield _of_gaps(inspection.timeline, len(inspection.train_rows))
    yield from _of_zone(inspection)
    if inspection.time_column != "time":
        yield Finding(
            "note",
            "time column",
            (inspection.time_column,),
            f"the times are in the column '{inspection.time_column}'",
            f'dataset.time_column = "{inspection.time_column}"',
        )
    ahead = placed.grid.between(int(inspection.train_rows.times[-1]), int(inspection.test_rows.times[0]))
    if inspection.test is not None and ahead > 1:
        yield Finding(
            "note",
            "apart",
            (),
            f"test starts {ahead:,} steps after train ends, so its first rows serve as history only",
            "",
        )


def _of_zone(inspection: Inspection) -> Iterator[Finding]:
    clock = inspection.clock
    if clock is not None:
        yield Finding(
            "warning",
            "local times",
            (inspection.time_column,),
            f"times have no zone and {clock_changes(clock)}, as clocks do in {clock.zone}: they are local, and were"
            f" read as {inspection.timezone}",
            f'dataset.timezone = "{clock.zone}", or the zone of the rows: others have the same clock changes',
        )
    elif inspection.keeps is not None:
        written = "" if inspection.train.zoned else "write times in UTC with their offset, such as Z, and set "
        yield Finding(
            "warning",
            "local days",
            (inspection.time_column,),
            f"the rows keep a clock such as that of {inspection.keeps} when it changes, and their times are written in"
            " UTC or with offsets: days and steps are not those of UTC",
            f'{written}dataset.timezone = "{inspection.keeps}", or the zone of the rows: others have the same clock'
            " changes",
        )
    elif not inspection.train.zoned:
        yield Finding(
            "note",
            "zone",
            (inspection.time_column,),
            f"times have no zone and were read as {inspection.timezone}",
            "dataset.timezone, if they are local: it defines days, weeks and clock changes",
        )


def clock_changes(clock: LocalClock) -> str:
    """Which hours the times skip and repeat, for a sentence."""
    skips = f"skip the hour after {utc(clock.skipped)}" if clock.skipped is not None else ""
    repeats = f"repeat the hour after {utc(clock.repeated)}" if clock.repeated is not None else ""
    return " and ".join(filter(None, (skips, repeats)))


def why_merged(placed: Placed) -> str:
    """Why rows cannot lie on the grid as they are, for a sentence."""
    if placed.grid.step != placed.own.step:
        return f"the rows have no step of their own: most do not follow another by {placed.own}"
    off = f"{placed.off_grid:,} of {placed.rows:,} rows are off the grid of {placed.own}" if placed.off_grid else ""
    sharing = f"{placed.sharing:,} rows share a step of {placed.own} with another" if placed.sharing else ""
    return " and ".join(filter(None, (off, sharing)))


def _of_repeats(inspection: Inspection) -> Iterator[Finding]:
    repeats = inspection.train.repeats
    if repeats is None:
        return
    if repeats.series is not None:
        message = (
            f"'{repeats.series}' distinguishes rows of the same time: {repeats.kinds} series in one table;"
            " the figures here use the first row of each time"
        )
        action = (
            "one file per series, or one column per series (a pivot); where it is the hour or the period of a day,"
            " write its start into the column of times"
        )
    elif repeats.conflicting:
        which = "all" if repeats.conflicting == repeats.rows else f"{repeats.conflicting:,} of the"
        message = f"{which} {repeats.rows:,} repeated rows contradict the row they repeat"
        action = 'preprocess.resample = "mean" (or "last") with dataset.step merges them'
    else:
        message = f"the {repeats.rows:,} repeated rows are equal to the row they repeat"
        action = "drop them"
    yield Finding("warning", "repeats", (), message, action)


def _of_gaps(time: Timeline, rows: int) -> Finding:
    longest = time.gaps[0]
    message = (
        f"{time.missing_rows:,} of {rows:,} rows of the grid hold no value, in {counted(time.gap_count, 'gap')}; the"
        f" longest, of {counted(longest.missing, 'row')}, is after {utc(longest.after)} UTC"
    )
    action = (
        f"a window counts where at least {MEASURED:.0%} of its rows hold the target (task.min_measured); a gap longer"
        " than history and horizon is an outage, and no window counts in it"
    )
    return Finding("warning" if time.missing_rows > (1.0 - MEASURED) * rows else "note", "gaps", (), message, action)
