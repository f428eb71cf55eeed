"""Rows that keep a local clock although they are written in UTC: real dates around both changes of a clock."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.preprocess.infer import infer_grid
from flts.preprocess.rows import Times
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.stage import Processed, process
from flts.preprocess.zones import kept_zone
from flts.spec.sources import validate

SPRING = ["2024-03-27T23:00", "2024-03-28T23:00", "2024-03-29T23:00", "2024-03-30T23:00", "2024-03-31T22:00"]
SPRING += ["2024-04-01T22:00", "2024-04-02T22:00", "2024-04-03T22:00"]
AUTUMN = ["2024-10-23T22:00", "2024-10-24T22:00", "2024-10-25T22:00", "2024-10-26T22:00", "2024-10-27T23:00"]
AUTUMN += ["2024-10-28T23:00", "2024-10-29T23:00"]


def ns(times: list[str]) -> Times:
    return np.array(times, dtype="datetime64[ns]").astype(np.int64)


def local(zone: str, first: str, last: str, hours: int = 24) -> pl.Series:
    """Times in UTC of rows at the same hours of a local clock each day."""
    wall = np.arange(np.datetime64(first, "h"), np.datetime64(last, "h"), hours).astype("datetime64[ns]")
    return pl.Series(wall).dt.replace_time_zone(zone, ambiguous="earliest").dt.convert_time_zone("UTC")


def zone_of(times: Times, step: str = "infer", timezone: str = "UTC", train: int | None = None) -> str | None:
    return kept_zone(times, infer_grid(times[:train], step, timezone, "off", "rows.csv"))


@pytest.mark.parametrize("times", [SPRING, AUTUMN], ids=["spring", "autumn"])
def test_midnights_of_a_local_clock_are_found_around_each_change(times: list[str]) -> None:
    assert zone_of(ns(times)) == "Europe/Berlin"
    assert zone_of(ns(times), timezone="Europe/Berlin") is None
    assert zone_of(ns(times), timezone="Europe/Madrid") is None
    assert zone_of(ns(times), timezone="Asia/Tokyo") == "Europe/Berlin"


@pytest.mark.parametrize("count", [4, 5])
def test_one_row_after_a_change_shows_no_clock(count: int) -> None:
    assert zone_of(ns(SPRING[:count])) is None


def test_rows_of_one_side_show_no_clock_and_train_and_test_together_do() -> None:
    winter, summer = (
        local("Europe/Berlin", "2024-01-01", "2024-03-01"),
        local("Europe/Berlin", "2024-05-01", "2024-06-01"),
    )
    both = np.concatenate([winter.to_physical().to_numpy(), summer.to_physical().to_numpy()])
    assert zone_of(both[: len(winter)]) is None
    assert kept_zone(both[len(winter) :], infer_grid(both[: len(winter)], "infer", "UTC", "off", "rows.csv")) is None
    assert zone_of(both, train=len(winter)) == "Europe/Berlin"


@pytest.mark.parametrize(
    ("zone", "found"),
    [
        ("Europe/Lisbon", "Europe/London"),
        ("Europe/Athens", "Europe/Helsinki"),
        ("America/Chicago", "America/New_York"),
        ("Australia/Melbourne", "Australia/Sydney"),
        ("Asia/Tokyo", None),
        ("UTC", None),
    ],
)
@pytest.mark.parametrize(("step", "hours"), [("1d", 24), ("1w", 168), ("6h", 6), ("12h", 12)])
def test_the_clock_of_a_year_is_found_by_one_with_its_changes(
    zone: str, found: str | None, step: str, hours: int
) -> None:
    times = local(zone, "2023-09-01", "2024-08-30", hours).to_physical().to_numpy()
    assert zone_of(times, step) == found
    if zone != "UTC":
        assert zone_of(times, step, zone) is None


def test_months_are_found_and_fixed_steps_have_no_clock() -> None:
    months = pl.Series(np.arange("2020-01", "2024-01", dtype="datetime64[M]").astype("datetime64[ns]"))
    times = months.dt.replace_time_zone("Europe/Berlin").dt.convert_time_zone("UTC")
    assert zone_of(times.to_physical().to_numpy(), "1mo") == "Europe/Berlin"
    assert zone_of(ns(SPRING), "24h") is None
    hours = pl.Series(ns(["2024-03-01"]) + np.arange(1500) * 3600 * 10**9).to_physical().to_numpy()
    assert zone_of(hours, "1h") is None


def test_rows_that_move_on_another_date_keep_no_clock() -> None:
    days = ["2024-03-27T23:00", "2024-03-28T22:00", "2024-03-29T22:00", "2024-03-30T22:00", "2024-03-31T22:00"]
    assert zone_of(ns([*days, *SPRING[5:]])) is None


def done(times: pl.Series, timezone: str = "UTC", rows: int = 0) -> Processed:
    """What a run makes of these rows, the last ones of which are a file of their own."""
    table = pl.DataFrame({"time": times, "load": np.sin(np.arange(len(times)) + 0.5)})
    raw = RawInput(
        RawTable("load.csv", table.head(len(table) - rows)),
        RawTable("load_test.csv", table.tail(rows)) if rows else None,
    )
    return process(validate({"dataset": {"targets": ["load"], "timezone": timezone}}), raw)


@pytest.mark.parametrize("written", ["%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S%:z"])
@pytest.mark.parametrize("span", [("2024-02-01", "2024-05-01"), ("2024-09-01", "2024-12-01")])
@pytest.mark.parametrize("rows", [0, 30])
def test_a_run_warns_and_names_the_zone_to_set(written: str, span: tuple[str, str], rows: int) -> None:
    times = local("Europe/Berlin", *span).dt.convert_time_zone("Europe/Berlin" if "%:z" in written else "UTC")
    warned = done(times.dt.strftime(written), rows=rows).summary.warnings
    assert len(warned) == 1
    assert warned[0].startswith(
        "load.csv: days and steps are those of UTC; the rows keep a clock such as that of Europe/B"
    )
    assert "set dataset.timezone" in warned[0]
    assert done(times.dt.strftime(written), "Europe/Berlin", rows).summary.warnings == []


@pytest.mark.parametrize(("rows", "name"), [(0, "load.csv"), (247, "load_test.csv")], ids=["one file", "summer apart"])
def test_a_refusal_of_rows_off_the_grid_names_the_zone_to_set(rows: int, name: str) -> None:
    times = local("Europe/Berlin", "2024-01-01", "2024-06-01", 6)
    with raises(DataError, code="off-grid", file=name, rows=247, zone="Europe/Berlin") as raised:
        done(times, rows=rows)
    assert "set dataset.timezone" in str(raised.value)
    assert done(times, "Europe/Berlin", rows).summary.fitted.grid.local
