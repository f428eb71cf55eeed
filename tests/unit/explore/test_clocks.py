"""Times without a zone that skip and repeat hours as a clock does are found to be local."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import SpecError
from flts.explore.clocks import LocalClock, find_clock
from flts.explore.inspection import inspect_rows
from flts.explore.rehearse import verdict
from flts.explore.report import Inspection, inspect
from flts.explore.suggest import suggest
from flts.preprocess.source import RawInput, RawTable
from flts.preprocess.zones import ZONES

SPRING, AUTUMN = (datetime(2023, 3, 1), datetime(2023, 5, 1)), (datetime(2023, 10, 1), datetime(2023, 12, 1))
YEAR = (datetime(2023, 1, 1), datetime(2023, 12, 31))


def local(zone: str, span: tuple[datetime, datetime], every: str = "1h") -> pl.DataFrame:
    """A sine of the day at the times that a clock in this zone shows, without a zone."""
    utc = pl.datetime_range(*span, every, time_zone="UTC", eager=True)
    load = np.sin(2 * np.pi * utc.dt.epoch("s").to_numpy() / 86_400) + np.random.default_rng(0).normal(0, 0.1, len(utc))
    return pl.DataFrame({"time": utc.dt.convert_time_zone(zone).dt.replace_time_zone(None), "load": load})


def clock_of(*tables: pl.DataFrame) -> LocalClock | None:
    return find_clock([RawTable("load.csv", table) for table in tables], "time")


def look(table: pl.DataFrame, timezone: str | None = None) -> Inspection:
    return inspect(RawInput(RawTable("load.csv", table), None), timezone=timezone, test_fraction=0.2)


def wall(hour: int | None) -> str:
    return "" if hour is None else str(np.datetime64(hour, "ns").astype("datetime64[h]"))


@pytest.mark.parametrize("every", ["15m", "1h"])
@pytest.mark.parametrize(
    ("zone", "skipped", "repeated"),
    [
        ("Europe/Berlin", "2023-03-26T02", "2023-10-29T02"),
        ("Europe/London", "2023-03-26T01", "2023-10-29T01"),
        ("Europe/Helsinki", "2023-03-26T03", "2023-10-29T03"),
        ("America/New_York", "2023-03-12T02", "2023-11-05T01"),
    ],
)
def test_a_clock_is_found_by_what_it_skips_and_repeats(zone: str, skipped: str, repeated: str, every: str) -> None:
    spring, autumn, both = (clock_of(local(zone, span, every)) for span in (SPRING, AUTUMN, YEAR))
    for clock, first, second in ((spring, skipped, ""), (autumn, "", repeated), (both, skipped, repeated)):
        assert clock is not None
        assert (clock.zone, wall(clock.skipped), wall(clock.repeated)) == (zone, first, second)


@pytest.mark.parametrize("every", ["15m", "1h"])
@pytest.mark.parametrize(
    ("zone", "found", "skipped", "repeated"),
    [
        ("Australia/Adelaide", "Australia/Sydney", "2023-10-01T02", "2023-04-02T02"),
        ("Pacific/Auckland", "Pacific/Auckland", "2023-09-24T02", "2023-04-02T02"),
        ("America/Santiago", "America/Santiago", "2023-09-03T00", "2023-04-01T23"),
    ],
)
def test_a_clock_of_the_south_is_found(zone: str, found: str, skipped: str, repeated: str, every: str) -> None:
    clock = clock_of(local(zone, YEAR, every))
    assert clock is not None
    assert (clock.zone, wall(clock.skipped), wall(clock.repeated)) == (found, skipped, repeated)


def test_another_zone_is_found_by_one_with_the_same_changes() -> None:
    clock = clock_of(local("America/Chicago", YEAR))
    assert clock is not None
    assert clock.zone == "America/New_York"


def test_a_change_in_the_test_rows_counts_too() -> None:
    rows = local("Europe/Berlin", AUTUMN)
    assert clock_of(rows[:300]) is None
    assert clock_of(rows[:300], rows[300:]) == clock_of(rows)


def test_an_empty_row_in_the_skipped_hour_is_no_row() -> None:
    rows = local("Europe/Berlin", SPRING)
    skipped = pl.DataFrame({"time": [datetime(2023, 3, 26, 2)], "load": [None]}, schema=rows.schema)
    assert clock_of(pl.concat([rows, skipped])) == clock_of(rows)
    assert clock_of(pl.concat([rows, skipped.with_columns(load=pl.lit(1.0))])) is None


@pytest.mark.parametrize("zone", ["UTC", "Etc/GMT-1"])
def test_a_clock_that_never_changes_is_no_other(zone: str) -> None:
    assert clock_of(local(zone, YEAR)) is None


def test_hours_that_are_missing_by_chance_are_no_clock() -> None:
    rows = local("UTC", YEAR)
    hours = np.arange(len(rows))
    gaps = pl.Series((hours % 10 != 0) & (rows["time"] != datetime(2023, 3, 26, 2)).to_numpy())
    assert clock_of(rows.filter(gaps)) is None
    assert clock_of(rows.filter(pl.col("time") != datetime(2023, 3, 26, 2))) is not None


def test_days_and_times_with_a_zone_follow_no_clock() -> None:
    assert clock_of(local("Europe/Berlin", YEAR, "1d")) is None
    rows = local("Europe/Berlin", SPRING)
    assert clock_of(rows.with_columns(pl.col("time").dt.replace_time_zone("UTC"))) is None
    assert clock_of(rows.with_columns(pl.col("time").dt.to_string("%Y-%m-%d %H:%M:%S+00:00"))) is None


def test_local_times_are_read_in_their_zone_unless_another_is_named() -> None:
    rows = local("Europe/Berlin", SPRING)
    found = look(rows)
    assert found.timezone == "Europe/Berlin"
    assert found.timeline.gap_count == 0
    (said,) = (f for f in verdict(found, 0.2) if f.kind == "local times")
    assert "skip the hour after 2023-03-26 02:00:00" in said.message
    assert "others have the same clock changes" in said.action
    in_utc = look(rows, "UTC")
    assert (in_utc.timezone, in_utc.timeline.gap_count) == ("UTC", 1)
    assert "read as UTC" in next(f.message for f in verdict(in_utc, 0.2) if f.kind == "local times")
    assert look(rows, "Europe/Madrid").clock is None


def test_the_zone_that_a_column_names_defines_days_unless_another_is_named() -> None:
    utc = pl.datetime_range(*YEAR, "1h", time_zone="UTC", eager=True)
    rows = pl.DataFrame({"time": utc.dt.convert_time_zone("Europe/Madrid"), "load": np.arange(len(utc)) % 24})
    assert look(rows).timezone == "Europe/Madrid"
    assert look(rows, "Asia/Tokyo").timezone == "Asia/Tokyo"
    assert look(rows.with_columns(pl.col("time").dt.convert_time_zone("UTC"))).timezone == "UTC"


def test_the_zones_have_different_changes() -> None:
    clocks = [clock_of(local(zone, YEAR)) for zone in ZONES]
    assert len({(clock.skipped, clock.repeated) for clock in clocks if clock is not None}) == len(ZONES)


def test_an_unknown_zone_is_refused() -> None:
    raw = RawInput(RawTable("load.csv", local("UTC", SPRING)), None)
    with raises(SpecError, code="value-invalid"):
        inspect_rows(raw, target=None, time=None, timezone="Mars")


@pytest.mark.parametrize("every", [6, 24])
def test_days_of_a_local_clock_that_are_written_in_utc_are_read_in_its_zone(every: int) -> None:
    wall = np.arange(np.datetime64("2024-02-01", "h"), np.datetime64("2024-05-01", "h"), every).astype("datetime64[ns]")
    utc = pl.Series(wall).dt.replace_time_zone("Europe/Berlin").dt.convert_time_zone("UTC")
    load = np.sin(np.arange(len(utc))) + np.random.default_rng(0).normal(0, 0.1, len(utc))
    zoned = pl.DataFrame({"time": utc.dt.strftime("%Y-%m-%dT%H:%M:%SZ"), "load": load})
    found = look(zoned)
    assert (found.timezone, found.keeps, found.placed.grid.local) == ("Europe/Berlin", "Europe/Berlin", True)
    (finding,) = (finding for finding in verdict(found, 0.2) if finding.kind == "local days")
    assert finding.severity == "warning"
    assert finding.action.startswith('dataset.timezone = "Europe/Berlin", or the zone of the rows')
    assert not any(finding.severity == "stops" for finding in verdict(found, 0.2))
    named = look(zoned, "UTC")
    assert (named.timezone, named.keeps) == ("UTC", "Europe/Berlin")
    naive = look(pl.DataFrame({"time": utc.dt.replace_time_zone(None), "load": load}))
    assert (naive.timezone, naive.keeps) == ("UTC", "Europe/Berlin")
    (finding,) = (finding for finding in verdict(naive, 0.2) if finding.kind == "local days")
    assert finding.action.startswith("write times in UTC with their offset, such as Z, and set dataset.timezone")
    first = suggest(found, RawInput(RawTable("load.csv", zoned), None), [], 0.2, 2).spec()
    assert first.dataset.timezone == "Europe/Berlin"
