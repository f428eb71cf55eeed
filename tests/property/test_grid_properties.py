"""What holds for every grid: times and positions are each other's inverse, and rows keep their position and values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flts.preprocess.grid import Grid
from flts.preprocess.infer import infer_grid
from flts.preprocess.place import place
from flts.preprocess.rows import Rows
from flts.spec.steps import DAY, HOUR, Step

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/Sao_Paulo"]
STEPS = [
    *("1ns", "1s", "15min", "30min", "1h", "2h", "3h", "6h", "24h"),
    *("1d", "2d", "1w", "2w", "1bd", "1mo", "3mo", "1y"),
]
YEARS = (-70, 150)
"""Years from 1970 within which positions are drawn."""


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """A grid as `infer_grid` makes them: local where its step follows the calendar or has several hours of a day."""
    step, zone = Step.parse(draw(st.sampled_from(STEPS))), draw(st.sampled_from(ZONES))
    follows = not step.fixed or HOUR < step.count < DAY
    local = follows and zone != "UTC" and draw(st.booleans())
    if step.unit == "month":
        phase = draw(st.sampled_from([0, 5 * HOUR, 14 * DAY, 29 * DAY, 30 * DAY + 23 * HOUR, -DAY, -1]))
        return Grid(step, zone, local, phase, draw(st.integers(0, step.count - 1)), step.part(0.05))
    size = step.on_clock or DAY
    return Grid(step, zone, local, draw(st.integers(0, size - 1)) // 10**9 * 10**9 % size, 0, step.part(0.05))


@st.composite
def positions_of(draw: st.DrawFn, grid: Grid, count: int = 40) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Neighbouring positions somewhere in two centuries."""
    per_year = 365.25 * DAY / grid.step.nanoseconds
    first = int(draw(st.floats(*YEARS)) * per_year)
    return first + np.arange(count, dtype=np.int64)


@settings(deadline=None, max_examples=300)
@given(data=st.data(), grid=grids())
def test_positions_and_times_are_each_others_inverse(data: st.DataObject, grid: Grid) -> None:
    positions = data.draw(positions_of(grid))
    times = grid.times(positions)
    assert (np.diff(times) > 0).all()
    np.testing.assert_array_equal(grid.positions(times), positions)
    np.testing.assert_array_equal(grid.times(grid.positions(times)), times)
    np.testing.assert_array_equal(grid.nearest(times)[0], positions)
    np.testing.assert_array_equal(grid.after(times[:3], 20), grid.times(positions[:3, None] + np.arange(1, 21)))
    assert grid.between(int(times[0]), int(times[-1])) == len(positions) - 1


@settings(deadline=None, max_examples=300)
@given(data=st.data(), grid=grids())
def test_later_times_never_have_an_earlier_position(data: st.DataObject, grid: Grid) -> None:
    first, last = grid.times(data.draw(positions_of(grid)))[[0, -1]].tolist()
    moments = data.draw(st.lists(st.integers(first, last), min_size=2, max_size=60).map(sorted))
    times = np.array(moments, dtype=np.int64)
    assert (np.diff(grid.positions(times)) >= 0).all()
    assert (np.diff(grid.cells(times)) >= 0).all()
    off = grid.nearest(times)[1]
    around = np.abs(times[:, None] - grid.times(grid.cells(times)[:, None] + np.arange(-2, 3))).min(axis=1)
    np.testing.assert_array_equal(off, around)


@settings(deadline=None, max_examples=200)
@given(data=st.data(), grid=grids())
def test_the_nearest_position_is_found_alike_whether_steps_are_even_or_not(data: st.DataObject, grid: Grid) -> None:
    first, last = grid.times(data.draw(positions_of(grid)))[[0, -1]].tolist()
    half = st.integers(0, 38).map(lambda k: first + k * grid.step.nanoseconds + grid.step.nanoseconds // 2)
    times = np.array(data.draw(st.lists(half | st.integers(first, last), min_size=1, max_size=40)), dtype=np.int64)
    position, off = grid.nearest(times)
    near = grid.cells(times) + np.array([[-1], [0], [1]])
    apart = np.abs(times - grid.times(near))
    np.testing.assert_array_equal(position, near[apart.argmin(axis=0), np.arange(len(times))])  # the earlier of two
    np.testing.assert_array_equal(off, apart.min(axis=0))


@settings(deadline=None, max_examples=200)
@given(data=st.data(), grid=grids(), shift=st.sampled_from([0, 0, 1, -1]))
def test_times_that_follow_the_grid_are_those_of_positions_in_a_row(
    data: st.DataObject, grid: Grid, shift: int
) -> None:
    times = grid.times(data.draw(positions_of(grid))) + shift
    if grid.follows(times):
        np.testing.assert_array_equal(grid.times(grid.cells(times[0]) + np.arange(len(times))), times)
        assert not grid.follows(np.delete(times, 7))
        assert not grid.follows(times[::-1])
    else:
        assert shift or grid.local or not grid.step.on_clock


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    grid=grids(),
    rule=st.sampled_from(["off", "mean", "sum", "first", "last", "min", "max"]),
    jitter=st.sampled_from([0.0, 0.04]),
)
def test_placing_keeps_every_value_at_the_position_of_its_time(
    data: st.DataObject, grid: Grid, rule: Any, jitter: float
) -> None:
    positions = data.draw(positions_of(grid))
    kept = np.array(sorted({0, 39, *data.draw(st.sets(st.integers(0, 39)))}))
    values = np.array(data.draw(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), min_size=40, max_size=40)))
    off = np.array(data.draw(st.lists(st.floats(-jitter, jitter), min_size=40, max_size=40)))
    shift = np.array([grid.step.part(abs(share)) for share in off], dtype=np.int64) * np.sign(off).astype(np.int64)
    times = grid.times(positions) + shift
    placed, _ = place(Rows(times[kept], values[kept, None], ("y",)), grid, rule, "rows")
    np.testing.assert_array_equal(placed.times, grid.times(positions))
    expected = np.where(np.isin(np.arange(40), kept), values, np.nan)
    np.testing.assert_array_equal(placed.values[:, 0], expected)


@settings(deadline=None, max_examples=100)
@given(data=st.data(), grid=grids())
def test_absent_rows_change_neither_the_inferred_grid_nor_the_position_of_another_row(
    data: st.DataObject, grid: Grid
) -> None:
    positions = data.draw(positions_of(grid, 120))
    times = grid.times(positions)
    gone = data.draw(st.sets(st.integers(1, 118), max_size=12))
    kept = np.array([i for i in range(120) if i not in gone])
    whole = infer_grid(times, str(grid.step), grid.timezone, "off", "rows")
    thinned = infer_grid(times[kept], str(grid.step), grid.timezone, "off", "rows")
    whole_at, thinned_at = whole.positions(times), thinned.positions(times)
    np.testing.assert_array_equal(whole_at - whole_at[0], positions - positions[0])
    np.testing.assert_array_equal(thinned_at - thinned_at[0], positions - positions[0])
