"""Files as people in several countries export them are read for what they say, or refused for what is not clear."""

from __future__ import annotations

import gzip
import io
import zipfile
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.support.raising import raises

from flts.contracts.errors import DataError
from flts.explore.repair import find_time_column
from flts.preprocess.dialect import OPEN, Dialect
from flts.preprocess.identity import raw_digests
from flts.preprocess.read import dialect_of, read_rows
from flts.preprocess.source import RawFile, RawInput, RawTable
from flts.preprocess.tidy import tidy
from flts.preprocess.time_formats import format_of
from flts.spec.dataset import Dataset
from flts.spec.lineage import RawDigests

Odd = dict[str, str]
NAN = float("nan")


def zipped(text: str, *others: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, content in enumerate((text, *others)):
            archive.writestr(f"{i}.csv", content)
    return buffer.getvalue()


def read(content: str | bytes, dialect: Dialect = OPEN, hint: Dialect = OPEN) -> tuple[list[str], dict[str, Any], Odd]:
    """Times, values by column, and the dialect as far as it is not that of plain CSV."""
    raw = RawFile("a.csv", content.encode() if isinstance(content, str) else content, dialect=dialect, hint=hint)
    table = raw.loaded()
    time = find_time_column(table.table)
    rows = read_rows(table, Dataset(time_column=time)).rows
    times = [str(np.datetime64(int(t), "ns").astype("datetime64[m]")).replace("T", " ") for t in rows.times]
    values = {name: rows.values[:, i].tolist() for i, name in enumerate(rows.columns)}
    return times, values, dict(dialect_of(table, time).odd)


FIRST = ["2023-01-01 00:00", "2023-01-02 00:00"]
HOURS = ["2023-01-01 00:00", "2023-01-01 01:00"]
ONES = {"y": [1.0, 2.0]}
MONTHS = [FIRST[0], "2023-02-01 00:00"]
GERMAN = {"separator": ";", "decimal": ","}
DOTTED = {**GERMAN, "time_format": "%d.%m.%Y"}
FILES: dict[str, tuple[str | bytes, list[str], dict[str, list[float]], Odd]] = {
    "German": (
        "Zeit;Last [kW];Temp\n01.01.2023 00:00;1.234,5;-3,1\n01.01.2023 01:00;987,0;N/A\n",
        HOURS,
        {"Last [kW]": [1234.5, 987.0], "Temp": [-3.1, NAN]},
        {**GERMAN, "thousands": ".", "time_format": "%d.%m.%Y %H:%M"},
    ),
    "Latin-1": (
        "Tag;Wärme\n01.01.2023;1234,5\n02.01.2023;2,5\n".encode("latin-1"),
        FIRST,
        {"Wärme": [1234.5, 2.5]},
        {**DOTTED, "encoding": "cp1252"},
    ),
    "Latin-1 after many rows": (
        ("time,y,s\n" + "2023-01-01,1,a\n" * 2 + "2023-01-02,2,ü\n").encode("latin-1"),
        [FIRST[0], *FIRST],
        {"y": [1.0, 1.0, 2.0]},
        {"encoding": "cp1252"},
    ),
    "UTF-16": (
        "time,y\n2023-01-01,1\n2023-01-02,2\n".encode("utf-16"),
        FIRST,
        {"y": [1.0, 2.0]},
        {"encoding": "utf-16"},
    ),
    "UTF-16 without a mark, tabs": (
        "time\ty\n2023-01-01\t1,5\n2023-01-02\t2,5\n".encode("utf-16-le"),
        FIRST,
        {"y": [1.5, 2.5]},
        {"encoding": "utf-16-le", "separator": "\t", "decimal": ","},
    ),
    "UTF-8 with a mark": (
        b"\xef\xbb\xbftime;y\n2023-01-01;1\n2023-01-02;2\n",
        FIRST,
        {"y": [1.0, 2.0]},
        {"separator": ";"},
    ),
    "ZIP": (zipped("time;y\n2023-01-01;1,5\n2023-01-02;2,5\n"), FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "plain in a ZIP": (zipped("time,y\n2023-01-01,1.5\n2023-01-02,2.5\n"), FIRST, {"y": [1.5, 2.5]}, {}),
    "gzip": (gzip.compress(b"time;y\n2023-01-01;1,5\n2023-01-02;2,5\n"), FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "declared separator": ("sep=;\ntime;y\n2023-01-01;1\n2023-01-02;2\n", FIRST, ONES, {"separator": ";"}),
    "declared comma": ("sep=,\ntime,y\n2023-01-01,1\n2023-01-02,2\n", FIRST, ONES, {}),
    "quotes in a name": ('time,"load ""net"""\n2023-01-01,1\n2023-01-02,2\n', FIRST, {'load "net"': [1.0, 2.0]}, {}),
    "French": (
        "Date;MW\n01/01/2023 00:00;1\u202f234,5\n13/01/2023 00:00;2\u00a0345,6\n",
        [FIRST[0], "2023-01-13 00:00"],
        {"MW": [1234.5, 2345.6]},
        {**GERMAN, "thousands": " ", "time_format": "%d/%m/%Y %H:%M"},
    ),
    "French months": (
        "Date;MW\n1 janvier 2023;1,5\n1 févr. 2023;2,5\n1 août 2023;3,5\n",
        [FIRST[0], "2023-02-01 00:00", "2023-08-01 00:00"],
        {"MW": [1.5, 2.5, 3.5]},
        {**GERMAN, "time_format": "%d %b %Y"},
    ),
    "German months": (
        "Monat;W\nJan 23;1,5\nMrz 23;2,5\nDez 23;3,5\n",
        [FIRST[0], "2023-03-01 00:00", "2023-12-01 00:00"],
        {"W": [1.5, 2.5, 3.5]},
        {**GERMAN, "time_format": "%b %y"},
    ),
    "Swiss": (
        "Datum;kWh\n01.01.2023;1'234.50\n02.01.2023;2\u2019345.60\n",
        FIRST,
        {"kWh": [1234.5, 2345.6]},
        {"separator": ";", "thousands": "'", "time_format": "%d.%m.%Y"},
    ),
    "American": (
        'Date,Sales\n1/1/2023,"1,234.50"\n1/13/2023,"2,345.60"\n',
        [FIRST[0], "2023-01-13 00:00"],
        {"Sales": [1234.5, 2345.6]},
        {"thousands": ",", "time_format": "%m/%d/%Y"},
    ),
    "American clock": (
        "Date,Time,y\n1/13/2023,12:00 AM,5\n1/13/2023,1:00 PM,6\n",
        ["2023-01-13 00:00", "2023-01-13 13:00"],
        {"y": [5.0, 6.0]},
        {"time_format": "%m/%d/%Y %I:%M %p", "clock_column": "Time"},
    ),
    "date and clock": (
        "Date,Time,y\n2023-01-01,00:00:00,1\n2023-01-01,01:00:00,2\n",
        HOURS,
        {"y": [1.0, 2.0]},
        {"clock_column": "Time"},
    ),
    "date and hour": (
        "Date,Hour,y\n2023-01-01,0,1\n2023-01-01,23,2\n",
        ["2023-01-01 00:00", "2023-01-01 23:00"],
        {"y": [1.0, 2.0]},
        {"clock_column": "Hour"},
    ),
    "hours 1 to 24": (
        "Datum;Stunde;y\n31.12.2022;1;1\n31.12.2022;24;2\n01.01.2023;1;3\n",
        ["2022-12-31 01:00", *HOURS],
        {"y": [1.0, 2.0, 3.0]},
        {"separator": ";", "time_format": "%d.%m.%Y %H:%M", "clock_column": "Stunde"},
    ),
    "hours beside decimal commas": (
        "Datum;Std;y\n01.01.2023;0;1,5\n01.01.2023;1;2,5\n01.01.2023;23;2,5\n",
        [*HOURS, "2023-01-01 23:00"],
        {"y": [1.5, 2.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M", "clock_column": "Std"},
    ),
    "lines above the header": (
        "Zähler: 4711\nVon;01.01.2023;00:00\n\nZeit;W;Status\n01.01.2023 00:00;1,5;ok\n01.01.2023 01:00;2,5;ok\n",
        HOURS,
        {"W": [1.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M"},
    ),
    "units below the header": ("time;y\n;[MW]\n2023-01-01;1,5\n2023-01-02;2,5\n", FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "separator at the end": ("time;y;\n2023-01-01;1,5;\n2023-01-02;2,5;\n", FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "separator at the end of rows": ("time;y\n2023-01-01;1,5;\n2023-01-02;2,5;\n", FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "quoted cells": ('"time";"y"\n"2023-01-01";"1,5"\n"2023-01-02";"2,5"\n', FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "names of offsets": ("time,y\n2023-01-01 01:00 CET,1\n2023-01-01 03:00 CEST,2\n", HOURS, ONES, {}),
    "BigQuery": ("time,y\n2023-01-01 00:00:00 UTC,1\n2023-01-01 01:00:00 UTC,2\n", HOURS, ONES, {}),
    "PostgreSQL": ("time,y\n2023-01-01 00:00:00+00,1\n2023-01-01 01:00:00+00,2\n", HOURS, ONES, {}),
    "basic ISO": ("time,y\n20230101T00,1\n20230101T0100,2\n", HOURS, ONES, {}),
    "ISO weeks": ("time,y\n2022-W52-7,1\n2023W011,2\n", FIRST, ONES, {}),
    "ISO days": ("time,y\n2023-001,1\n2023-002,2\n", FIRST, ONES, {}),
    "ISO intervals": ("time,y\n2023-01-01T00Z/PT1H,1\n2023-01-01T01Z/PT1H,2\n", HOURS, ONES, {}),
    "intervals": (
        "MTU,y\n01.01.2023 00:00 - 01.01.2023 01:00,1\n01.01.2023 01:00 - 01.01.2023 02:00,2\n",
        HOURS,
        {"y": [1.0, 2.0]},
        {"time_format": "%d.%m.%Y %H:%M"},
    ),
    "start and end": (
        "Datum;Von;Bis;kWh\n01.01.2023;00:00;00:15;1,5\n01.01.2023;01:00;01:15;2,5\n",
        HOURS,
        {"kWh": [1.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M", "clock_column": "Von"},
    ),
    "midnight before the clock": (
        "Datum;Uhrzeit;kWh\n01.01.2023 00:00:00;00:00;1,5\n01.01.2023 00:00:00;01:00;2,5\n",
        HOURS,
        {"kWh": [1.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M", "clock_column": "Uhrzeit"},
    ),
    "Czech": (
        "Datum;MW\n1. 1. 2023 0:00;1 234,5\n1. 1. 2023 1:00;1 235,5\n",
        HOURS,
        {"MW": [1234.5, 1235.5]},
        {**GERMAN, "thousands": " ", "time_format": "%d. %m. %Y %H:%M"},
    ),
    "o'clock": (
        "Zeit;y\n1.1.2023 0:00 Uhr;1,5\n1.1.2023 1:00 Uhr;2,5\n",
        HOURS,
        {"y": [1.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M"},
    ),
    "RFC 2822": (
        't,y\n"Sun, 01 Jan 2023 00:00:00 GMT",1\n"Sun, 01 Jan 2023 01:00:00 GMT",2\n',
        HOURS,
        {"y": [1.0, 2.0]},
        {"time_format": "%d %b %Y %H:%M:%S"},
    ),
    "hour 24": (
        "Zeit;y\n31.12.2022 24:00;1,5\n01.01.2023 01:00;2\n",
        HOURS,
        {"y": [1.5, 2.0]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M"},
    ),
    "seconds": ("timestamp,y\n1672531200,1\n1672534800,2\n", HOURS, ONES, {"time_format": "epoch s"}),
    "milliseconds": (
        "timestamp;y\n1672531200000;1,5\n1672534800000;2\n",
        HOURS,
        {"y": [1.5, 2.0]},
        {**GERMAN, "time_format": "epoch ms"},
    ),
    "digits": ("time,y\n202301010000,1\n202301010100,2\n", HOURS, ONES, {"time_format": "%Y%m%d%H%M"}),
    "digits to the hour": ("time,y\n2023010100,1\n2023010101,2\n", HOURS, ONES, {"time_format": "%Y%m%d%H"}),
    "Spanish afternoon": (
        "Fecha;y\n13/01/2023 12:00 a. m.;1\n13/01/2023 1:00 p.\u00a0m.;2\n",
        ["2023-01-13 00:00", "2023-01-13 13:00"],
        {"y": [1.0, 2.0]},
        {"separator": ";", "time_format": "%d/%m/%Y %I:%M %p"},
    ),
    "an interval beside the date": (
        "Datum;von-bis;y\n01.01.2023;00:00-01:00;1,5\n01.01.2023;01:00 - 02:00;2,5\n",
        HOURS,
        {"y": [1.5, 2.5]},
        {**GERMAN, "time_format": "%d.%m.%Y %H:%M", "clock_column": "von-bis"},
    ),
    "hour ending": (
        "date,HE,y\n2023-01-01,1,0\n2023-01-01,24,1\n",
        ["2023-01-01 01:00", "2023-01-02 00:00"],
        {"y": [0.0, 1.0]},
        {"clock_column": "HE"},
    ),
    "Eurostat": ("time,y\n2023M01,1\n2023M02,2\n", MONTHS, ONES, {"time_format": "%YM%m"}),
    "months": ("month,y\n2023-01,1\n2023-02,2\n", MONTHS, ONES, {}),
    "months of digits": (
        "month,y\n202301,1\n202302,2\n",
        [FIRST[0], "2023-02-01 00:00"],
        {"y": [1.0, 2.0]},
        {"time_format": "%Y%m"},
    ),
    "quarters": (
        "q,y\n2023Q1,1\n2023Q2,2\n",
        [FIRST[0], "2023-04-01 00:00"],
        {"y": [1.0, 2.0]},
        {"time_format": "%YQ%q"},
    ),
    "years": ("year,y\n2022,1\n2023,2\n", ["2022-01-01 00:00", FIRST[0]], ONES, {"time_format": "%Y"}),
    "SAP": (
        "Datum|Menge|ME\n01.01.2023|1.234,56-|KWH\n02.01.2023|2.000,00|KWH\n",
        FIRST,
        {"Menge": [-1234.56, 2000.0]},
        {**DOTTED, "separator": "|", "thousands": "."},
    ),
    "exponents": ("time;y\n2023-01-01;1,5E+03\n2023-01-02;-2,5e3\n", FIRST, {"y": [1500.0, -2500.0]}, GERMAN),
    "empty cells": (
        "time;y;z\n2023-01-01;#N/A;1,5\n2023-01-02;-;n/a\n2023-01-03;.;NULL\n",
        [*FIRST, "2023-01-03 00:00"],
        {"y": [NAN, NAN, NAN], "z": [1.5, NAN, NAN]},
        GERMAN,
    ),
    "commas in text": ("time;y;s\n2023-01-01;1,5;a, b\n2023-01-02;2,5;c, d\n", FIRST, {"y": [1.5, 2.5]}, GERMAN),
    "a zero decides": ("time;y\n2023-01-01;1,234\n2023-01-02;0,345\n", FIRST, {"y": [1.234, 0.345]}, GERMAN),
    "old line ends": ("time;y\r2023-01-01;1,5\r2023-01-02;2,5\r", FIRST, {"y": [1.5, 2.5]}, GERMAN),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_for_what_it_says(name: str) -> None:
    content, times, values, odd = FILES[name]
    found = read(content)
    assert found[0] == times
    np.testing.assert_equal(found[1], values)
    assert found[2] == odd


REFUSED: dict[str, tuple[str | bytes, str, str]] = {
    "day or month": (
        "date,y\n01/02/2024,0\n02/02/2024,1\n",
        "times-ambiguous",
        "'01/02/2024' can be read as %d/%m/%Y or %m",
    ),
    "month or quarter": (
        "t,y\n" + "".join(f"{quarter}/{year},1\n" for year in (2021, 2022, 2023) for quarter in (1, 2, 3, 4)),
        "times-ambiguous",
        "'1/2021' can be read as %m/%Y or %q/%Y",
    ),
    "month or quarter by its year": (
        "t,y\n" + "".join(f"{year}-{quarter},1\n" for year in (2021, 2022, 2023) for quarter in (1, 2, 3, 4)),
        "times-ambiguous",
        "'2021-1' can be read as %Y-%m or %Y-%q",
    ),
    "hour 25": ("Datum;Stunde;y\n29.10.2023;1;1\n29.10.2023;25;2\n", "no-such-time", "row 2, column 'Datum'"),
    "a total": ("time;y\n31.01.2023;1,5\n01.02.2023;2\nSumme;3\n", "time-unreadable", "row 3, column 'time': 'Summe'"),
    "a name of several offsets": ("time,y\n2023-01-01 01:00 EST,1\n", "time-not-iso", "'2023-01-01 01:00 EST'"),
    "days of Excel": ("time,y\n44927,1\n44928,2\n", "column-not-times", "days that Excel counts"),
    "days of Excel as text": ("time;y\n44927,5;1\n44928,5;2\n", "column-not-times", "days that Excel counts"),
    "a time in no known way": (
        "t,y\n2024-01-01-00.00.00,1\n",
        "time-not-iso",
        "row 1, column 't': '2024-01-01-00.00.00'",
    ),
    "no header": ("2023-01-01,5\n2023-01-02,6\n", "header-missing", "2023-01-01, 5"),
    "too large": ("time,y\n2023-01-01,1e300\n2023-01-02,2\n", "value-too-large", "'y' holds 1e+300"),
    "unquoted decimal commas": ("time,y\n2023-01-01,1,5\n2023-01-02,2,5\n", "line-too-long", "line 2 has 3 cells"),
    "several files": (zipped("time,y\n", "time,y\n"), "wrong-format", "ZIP archive of 2 files"),
    "no such column": ("Clock,y\nnoon,1\n", "time-column-missing", "valid: Clock, y"),
    "days of Excel under another name": ("Datum,y\n44927,1\n44928,2\n", "column-not-times", "days that Excel counts"),
    "a name of times": ("Periode,y\nP1,1\nP2,2\n", "time-not-iso", "another way in dataset.time_format"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_clear_is_refused_by_name(name: str) -> None:
    content, code, words = REFUSED[name]
    with raises(DataError, code=code) as refused:
        read(content)
    assert words in str(refused.value)


UNCLEAR = {
    "1,234": "sets thousands apart or is a decimal one; write plain CSV",
    "5%": "percent",
    "€5": "currency",
    "5 kWh": "unit",
}


@pytest.mark.parametrize("cell", UNCLEAR)
def test_a_target_that_is_no_number_says_what_it_looks_like(cell: str) -> None:
    raw = RawFile("a.csv", f'time,y\n2023-01-01,"{cell}"\n2023-01-02,"{cell}"\n'.encode())
    with raises(DataError, code="not-a-number", column="y", row=1) as refused:
        read_rows(raw, Dataset(targets=["y"]))
    assert UNCLEAR[cell] in str(refused.value)


def test_an_unclear_date_says_how_to_write_it_where_nobody_can_name_a_format() -> None:
    with raises(DataError, code="times-ambiguous") as refused:
        read("date,y\n01/02/2024,0\n02/02/2024,1\n")
    assert "write times in ISO 8601, such as 2024-12-31, or set dataset.time_format" in str(refused.value)


def test_a_cell_of_thousands_of_characters_is_no_time() -> None:
    """To compare one with the shapes of times takes hours, and nothing else runs in the process meanwhile."""
    quarter = "2013{}Q1"
    assert format_of(pl.Series([quarter.format(" ")])) == "%Y Q%q"
    assert format_of(pl.Series([quarter.format(" " * 20_000)])) is None


def test_what_is_named_decides_and_so_does_a_hint_where_the_cells_do_not() -> None:
    content = 'time,y\n01/02/2024,"1,234"\n02/02/2024,"2,345"\n'
    month_first = Dialect(time_format="%m/%d/%Y", decimal=",")
    day_first = Dialect(time_format="%d/%m/%Y", thousands=",")
    assert read(content, month_first)[:2] == (["2024-01-02 00:00", "2024-02-02 00:00"], {"y": [1.234, 2.345]})
    assert read(content, day_first)[:2] == (["2024-02-01 00:00", "2024-02-02 00:00"], {"y": [1234.0, 2345.0]})
    assert read(content, hint=Dialect(time_format="%m/%d/%Y", decimal=","))[1] == {"y": [1.234, 2.345]}
    clear = content.replace("02/02", "13/02")
    assert read(clear, hint=month_first)[0] == ["2024-02-01 00:00", "2024-02-13 00:00"]


def test_the_digest_is_that_of_the_bytes_unless_a_name_makes_other_rows_of_them() -> None:
    content = b'time,y\n31/01/2024,"1,234"\n01/02/2024,"2,345.5"\n'
    raw = RawFile("a.csv", content)

    def digest(**named: str) -> str:
        return raw_digests(RawInput(replace(raw, dialect=Dialect(**named)), None), "time").train

    found = dict(tidy(raw.loaded(), "time").dialect.named)
    assert digest() == raw.digest() == digest(**found) == digest(time_format="%d/%m/%Y")
    other = RawFile("b.csv", b"time;y\n01/02/2024;1\n02/01/2024;2\n")
    named = [replace(other, dialect=Dialect(time_format=f)) for f in ("%d/%m/%Y", "%m/%d/%Y")]
    digests = {raw_digests(RawInput(file, None), "time").train for file in (other.__class__("c", b"time\n1"), *named)}
    assert len(digests) == 3


def test_test_rows_that_train_explains_have_their_digest_whatever_else_is_named() -> None:
    train = RawFile("a.csv", b"time;y\n31/01/2024;1,5\n01/02/2024;2,5\n")
    test = RawFile("b.csv", b"time;y\n02/02/2024;1,5\n03/02/2024;2,5\n")
    for dialect in (Dialect(), Dialect(decimal=",")):
        raw = RawInput(replace(train, dialect=dialect), replace(test, dialect=dialect))
        assert raw_digests(raw, "time") == RawDigests(train.digest(), test.digest())


def test_a_table_in_memory_is_read_like_its_text() -> None:
    table = RawTable.of("a", {"Datum": ["01.01.2023", "02.01.2023"], "Uhr": ["1:00", "1:00"], "y": ["1,5", "2.000,5"]})
    rows = read_rows(tidy(table, "Datum"), Dataset(time_column="Datum")).rows
    assert rows.values[:, 0].tolist() == [1.5, 2000.5]


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_dates_of_any_unit_are_joined_with_their_clock_and_found_as_times(unit: Any) -> None:
    days = pl.Series("Tag", [datetime(2023, 1, 1)] * 2, pl.Datetime(unit))
    table = RawTable.of("a", {"Tag": days, "Uhr": ["1:00", "2:00"], "y": [1, 2]})
    assert find_time_column(table.table) == "Tag"
    rows = read_rows(table, Dataset(time_column="Tag")).rows
    assert np.diff(rows.times).tolist() == [3600 * 10**9]
    zoned = replace(table, table=table.table.with_columns(days.dt.replace_time_zone("Europe/Madrid")))
    assert find_time_column(zoned.table) == "Tag"
    assert tidy(zoned, "Tag").dialect.clock_column == ""
    for dates, clock in ((zoned, "Uhr"), (table, "Tag")):
        with raises(DataError, code="clock-twice", column=clock):
            tidy(replace(dates, dialect=Dialect(clock_column=clock)), "Tag")


@pytest.mark.parametrize("cells", [("1.1834", "1.1835"), ("1850.1", "1851.2"), ("1850", "1851"), ("201901", "201902")])
def test_numbers_before_the_times_are_not_taken_for_them(cells: tuple[str, str]) -> None:
    found = read(f"level;Tag\n{cells[0]};01.01.2023\n{cells[1]};02.01.2023\n")
    assert found[:2] == (FIRST, {"level": [float(cell) for cell in cells]})


def test_parquet_is_read_as_the_same_table_in_memory() -> None:
    table = pl.DataFrame({"Datum": ["01.01.2023"] * 2, "Uhrzeit": ["00:00", "01:00"], "y": ["1.234,5", "2,5"]})
    file = io.BytesIO()
    table.write_parquet(file)
    for raw in (RawFile("a.parquet", file.getvalue()), RawTable.of("train", table)):
        reading = read_rows(raw, Dataset(time_column="Datum", targets=["y"]))
        assert reading.rows.values.tolist() == [[1234.5], [2.5]]
        assert np.diff(reading.rows.times).tolist() == [3_600_000_000_000]
