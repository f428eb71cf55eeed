"""Files as people have them go from `inspect` over `init` and `run` to `forecast` from the very file, unchanged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises

import flts
from flts.contracts.errors import DataError
from flts.settings import load_settings
from flts.spec.fields import Spec


@dataclass(frozen=True)
class Odd:
    """A file, what `init` finds in it, and the first times of a forecast from its end, on its clock."""

    rows: Callable[[], pl.DataFrame]
    step: str
    ahead: list[str]
    timezone: str = "UTC"
    resample: str = "off"
    seasons: tuple[int, ...] = ()
    named: str | None = None
    """The zone that the person names."""
    horizon: int | None = None


def text(times: pl.Series, pattern: str = "%Y-%m-%d") -> pl.DataFrame:
    """A cycle of seven rows with noise, at these times as text."""
    rows = np.arange(len(times))
    values = 100 + 20 * np.sin(rows * 2 * np.pi / 7) + np.random.default_rng(0).normal(0, 1, len(rows))
    return pl.DataFrame({"time": times.dt.to_string(pattern), "y": values})


def dates(start: date, every: str, rows: int) -> pl.Series:
    return pl.date_range(start, date(2100, 1, 1), every, eager=True)[:rows]


def shop_days() -> pl.DataFrame:
    """Local dates, five of them absent."""
    rows = text(dates(date(2023, 1, 2), "1d", 700))
    return rows.filter(~pl.int_range(700).is_in([50, 200, 333, 480, 481]))


def meter() -> pl.DataFrame:
    """Hourly rows stamped hh:59, forty of them absent."""
    start = datetime(2024, 1, 1, 0, 59)
    rows = text(pl.datetime_range(start, start + timedelta(hours=1199), "1h", eager=True), "%Y-%m-%d %H:%M:%S")
    absent = np.random.default_rng(0).choice(1100, 40, replace=False)
    return rows.filter(~pl.int_range(1200).is_in(absent.tolist()))


def excel() -> pl.DataFrame:
    """Hourly rows that are off by milliseconds."""
    off = [-3, 2, 0, 1, -1, 3, -2]
    times = [datetime(2024, 1, 1) + timedelta(hours=i, milliseconds=off[i % 7]) for i in range(600)]
    return text(pl.Series(times), "%Y-%m-%dT%H:%M:%S%.3f")


def local_hours(start: datetime, zone: str, every: str = "1h") -> pl.DataFrame:
    """Three weeks of local times without a zone, across a change of the clock."""
    utc = pl.datetime_range(start, start + timedelta(hours=503), every, eager=True, time_zone="UTC")
    return text(utc.dt.convert_time_zone(zone), "%Y-%m-%d %H:%M:%S")


def repeated() -> pl.DataFrame:
    rows = text(dates(date(2022, 1, 1), "1d", 400))
    return pl.concat([rows, rows[7:9]])


def late() -> pl.DataFrame:
    """A logger every two minutes, of which a few rows come ten seconds late."""
    start = datetime(2024, 1, 1)
    times = [start + timedelta(minutes=2 * i, seconds=10 * (i % 50 == 7)) for i in range(600)]
    return text(pl.Series(times), "%Y-%m-%d %H:%M:%S")


FILES = {
    "days of a shop": Odd(shop_days, "1d", ["2024-12-02", "2024-12-03"], "Europe/Berlin", named="Europe/Berlin"),
    "days up to a change of the clock": Odd(
        lambda: text(dates(date(2023, 7, 20), "1d", 464)),
        "1d",
        ["2024-10-26", "2024-10-27", "2024-10-28", "2024-10-29"],
        "Europe/Madrid",
        seasons=(7,),
        named="Europe/Madrid",
    ),
    "hours at 59 minutes": Odd(meter, "infer", ["2024-02-20T00:59", "2024-02-20T01:59"], seasons=(24, 168), horizon=2),
    "business days": Odd(
        lambda: text(dates(date(2022, 1, 3), "1d", 560)).filter(pl.col("time").str.to_date().dt.weekday() < 6),
        "1bd",
        ["2023-07-17", "2023-07-18", "2023-07-19", "2023-07-20", "2023-07-21", "2023-07-24"],
        seasons=(5,),
    ),
    "weeks": Odd(lambda: text(dates(date(2018, 1, 1), "1w", 300)), "1w", ["2023-10-02", "2023-10-09"], seasons=(52,)),
    "months": Odd(
        lambda: text(dates(date(1949, 1, 1), "1mo", 144)),
        "1mo",
        ["1961-01-01", "1961-02-01", "1961-03-01"],
        seasons=(12,),
        horizon=12,
    ),
    "months without a day": Odd(
        lambda: text(dates(date(1949, 1, 1), "1mo", 144), "%Y-%m"), "1mo", ["1961-01-01"], seasons=(12,)
    ),
    "last days of months": Odd(
        lambda: text(dates(date(1999, 1, 1), "1mo", 240).dt.month_end()),
        "1mo",
        ["2019-01-31", "2019-02-28", "2019-03-31"],
        seasons=(12,),
    ),
    "quarters": Odd(
        lambda: text(dates(date(1990, 1, 1), "1q", 120)),
        "3mo",
        ["2020-01-01", "2020-04-01", "2020-07-01", "2020-10-01"],
        seasons=(4,),
    ),
    "years": Odd(lambda: text(dates(date(1900, 1, 1), "1y", 110)), "1y", ["2010-01-01"]),
    "milliseconds off": Odd(excel, "infer", ["2024-01-26T00", "2024-01-26T01"], seasons=(24, 168)),
    "local hours in autumn": Odd(
        lambda: local_hours(datetime(2024, 10, 14, 22), "Europe/Berlin"),
        "infer",
        ["2024-11-04T23", "2024-11-05T00"],
        "Europe/Berlin",
        seasons=(24, 168),
    ),
    "local quarter hours in autumn": Odd(
        lambda: local_hours(datetime(2024, 10, 20, 4), "America/New_York", "15m"),
        "infer",
        ["2024-11-09T22:15", "2024-11-09T22:30"],
        "America/New_York",
        seasons=(96, 672),
    ),
    "local hours in spring": Odd(
        lambda: local_hours(datetime(2024, 3, 18, 23), "Europe/Berlin"),
        "infer",
        ["2024-04-09T01", "2024-04-09T02"],
        "Europe/Berlin",
        seasons=(24, 168),
    ),
    "repeated days": Odd(repeated, "1d", ["2023-02-05", "2023-02-06"], resample="mean", seasons=(7,)),
    "rows a few seconds late": Odd(late, "2min", ["2024-01-01T20:00", "2024-01-01T20:02"], resample="mean"),
}


def ridge(spec: Spec) -> Spec:
    """The experiment with the model that is fitted in no time."""
    return spec.model_copy(update={"models": spec.models.model_validate({"ridge": {}})})


@pytest.mark.parametrize("name", FILES)
def test_a_file_goes_from_inspection_to_a_forecast(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = FILES[name]
    monkeypatch.chdir(tmp_path)
    odd.rows().write_csv("odd.csv")
    seen = flts.inspect("odd.csv", timezone=odd.named)
    assert seen.usable or odd.resample != "off", seen.findings
    first = flts.init("odd.csv", timezone=odd.named, horizon=odd.horizon)
    dataset = first.spec.dataset
    assert (dataset.step, dataset.timezone, first.spec.preprocess.resample) == (odd.step, odd.timezone, odd.resample)
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    result = flts.run(ridge(flts.load_spec("flts.toml").spec), folder=tmp_path, settings=settings)
    assert result.promoted, result.decision
    forecast = flts.forecast("odd.csv", scope="odd", settings=settings)
    if odd.seasons:
        assert flts.load_champion("odd", settings=settings).bundle.model.task.seasons == odd.seasons
    clock = forecast["time"].dt.convert_time_zone(odd.timezone).dt.replace_time_zone(None)
    expected = [datetime.fromisoformat(time) for time in odd.ahead[: first.spec.task.horizon]]
    assert clock[: len(expected)].to_list() == expected
    assert np.isfinite(forecast["mean"].to_numpy()).all()


def test_a_history_that_ends_in_empty_cells_says_so_or_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = text(pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 2, 28), "1h", eager=True), "%Y-%m-%d %H:%M:%S")
    rows.write_csv("odd.csv")
    spec = ridge(flts.init("odd.csv", horizon=24).spec)
    spec = spec.model_copy(update={"task": spec.task.model_copy(update={"input_length": 24})})
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    assert flts.run(spec, folder=tmp_path, settings=settings).promoted
    champion = flts.load_champion("odd", settings=settings)
    for empty, refused in ((3, False), (24, True)):
        last = pl.int_range(rows.height) >= rows.height - empty
        history = rows.with_columns(y=pl.when(~last).then("y"))
        if refused:
            with raises(DataError, code="history-empty"):
                champion.answer(history)
        else:
            [warning] = champion.answer(history).warnings
            with pytest.warns(UserWarning, match="y is empty in the last 3 rows, from 2024-02-2") as warned:
                champion.forecast(history)
            assert str(warned[0].message) == warning.text


def test_months_borrow_their_history_from_train(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = text(dates(date(1949, 1, 1), "1mo", 144))
    rows[:115].write_csv("air.csv")
    rows[115:].write_csv("air_test.csv")
    spec = ridge(flts.init("air.csv", horizon=12).spec)
    spec = spec.model_copy(update={"task": spec.task.model_copy(update={"input_length": 24})})
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    result = flts.run(spec, folder=tmp_path, settings=settings)
    assert result.promoted, result.decision
    assert result.decision.windows.count == 18


def german(rows: pl.DataFrame) -> str:
    """Rows as a utility in Germany exports them."""
    clock = rows["time"].str.to_datetime("%Y-%m-%d %H:%M:%S").dt.to_string("%d.%m.%Y;%H:%M")
    values = [f"{value * 100:,.2f}".translate(str.maketrans(",.", ".,")) for value in rows["y"]]
    lines = [f"{time};{value};-" for time, value in zip(clock, values, strict=True)]
    return "\n".join(["Zähler 4711", "", "Datum;Uhrzeit;Wärme;Störung", ";;[kWh];", *lines, ""])


def test_an_export_goes_from_inspection_to_a_forecast_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = text(pl.datetime_range(datetime(2024, 1, 1), datetime(2024, 1, 25), "1h", eager=True), "%Y-%m-%d %H:%M:%S")
    Path("export.csv").write_bytes(german(rows).encode("latin-1"))
    rows.with_columns((pl.col("y") * 100).round(2)).rename({"time": "Datum", "y": "Wärme"}).write_csv("plain.csv")
    dataset = flts.init("export.csv", horizon=6).spec.dataset
    named = (dataset.encoding, dataset.separator, dataset.decimal, dataset.thousands, dataset.clock_column)
    assert named == ("cp1252", ";", ",", ".", "Uhrzeit")
    assert (dataset.time_column, dataset.time_format, dataset.targets) == ("Datum", "%d.%m.%Y %H:%M", ["Wärme"])
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    spec = ridge(flts.load_spec("flts.toml").spec)
    result = flts.run(spec, folder=tmp_path, settings=settings)
    assert result.promoted, result.decision
    found = spec.model_copy(update={"dataset": dataset.model_copy(update=dict.fromkeys(READING, "infer"))})
    assert flts.run(found, folder=tmp_path, settings=settings).reused
    forecast = flts.forecast("export.csv", settings=settings)
    assert forecast.equals(flts.forecast("plain.csv", settings=settings))
    assert forecast["time"][0].replace(tzinfo=None) == datetime(2024, 1, 25, 1)
    assert 8_000 < float(forecast["mean"].mean()) < 12_000  # type: ignore[arg-type]


READING = ("encoding", "separator", "decimal", "thousands", "time_format", "clock_column")


def test_day_and_month_are_never_guessed_and_a_short_history_follows_the_experiment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    # the first of every month: swapped, these are the first days of every year
    months = text(dates(date(1990, 1, 1), "1mo", 144), "%d/%m/%Y")
    months.rename({"time": "date"}).write_csv("shop.csv")
    with raises(DataError, code="times-ambiguous", column="date", row=1):
        flts.init("shop.csv")
    first = flts.init("shop.csv", horizon=3, reading={"time_format": "%d/%m/%Y"})
    assert (first.spec.dataset.time_format, first.spec.dataset.step) == ("%d/%m/%Y", "1mo")
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    assert flts.run(ridge(first.spec), folder=tmp_path, settings=settings).promoted
    months.rename({"time": "date"}).write_csv("history.csv")
    forecast = flts.forecast("history.csv", settings=settings)
    assert [time.date() for time in forecast["time"]] == [date(2002, month, 1) for month in (1, 2, 3)]
    Path("flts.toml").unlink()
    with raises(DataError, code="times-ambiguous"):
        flts.forecast("history.csv", scope="shop", settings=settings)
    again = flts.forecast("history.csv", scope="shop", settings=settings, reading={"time_format": "%d/%m/%Y"})
    assert again.equals(forecast)


def test_a_written_index_is_no_covariate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = text(dates(date(2022, 1, 1), "1d", 400))
    rows.with_row_index("").write_csv("odd.csv")
    seen = flts.inspect("odd.csv")
    assert [finding.message for finding in seen.findings if finding.kind == "index"]
    settings = load_settings(home=tmp_path / ".flts", tracking="off")
    assert flts.run(ridge(flts.init("odd.csv", horizon=7).spec), folder=tmp_path, settings=settings).promoted
    champion = flts.load_champion("odd", settings=settings)
    assert champion.bundle.manifest.columns == ["y"]
    assert champion.forecast(rows).height == 7
