"""Which rows an experiment is about, where they are, and how they are written."""

from __future__ import annotations

import codecs
import re
import zoneinfo
from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from flts.contracts.errors import without_credentials
from flts.contracts.layout import scope_name
from flts.spec.steps import Step
from flts.spec.table import HASHED_WHEN_CHANGED, LOCATOR, Fraction, Table
from flts.spec.time_formats import fault_of

SYSTEM_ZONES = re.compile(r"localtime|Factory|posixrules|(posix|right)/.*")
"""Zone names that operating systems add to those of the IANA database; localtime differs between machines."""
PLACE = re.compile(r"[A-Z]{2}(-[A-Za-z0-9]{1,10})?")
"""A country of ISO 3166-1, and a region of it."""
UTC_ALIASES = re.compile(r"(Etc/)?(UTC|UCT|Universal|Zulu|Greenwich|GMT([+-]?0)?)")
"""Names of zones whose clock always shows UTC."""


class Dataset(Table):
    """Which rows, and how to read their time."""

    name: str = Field(default="", json_schema_extra=LOCATOR)
    """NAME.csv and NAME_test.csv (or .parquet) in `source`; with NAME alone, its last rows are the test."""
    train_file: str = Field(default="", json_schema_extra=LOCATOR)
    """The training file by name, instead of `name`."""
    test_file: str = Field(default="", json_schema_extra=LOCATOR)
    """The test file by name; empty with `train_file` means that one file is split."""
    test_fraction: Fraction = 0.2
    """Share of the rows, the last ones, that are the test when there is only one file."""
    source: str = Field(default="data/", json_schema_extra=LOCATOR)
    """Folder of the files, relative to flts.toml; or file:// or s3://bucket/prefix."""
    identifier: str = Field(default="", json_schema_extra=LOCATOR)
    """The scope of a promotion: one champion per scope. Empty means 'global'."""
    time_column: str = "time"
    """Name of the column that holds the time of a row."""
    timezone: str = "UTC"
    """Zone of times written without one, of the calendar features, and of the clock that steps follow."""
    step: str = "infer"
    """Time between two rows: a fixed duration in ms, s, min or h, such as '15min' or '24h', or a step of the calendar:
    '1d', '1w', '1bd' (Monday to Friday), '1mo', '3mo', '1y'. A day of the calendar has 23 or 25 hours when the clock
    changes. 'infer' finds the step of the train rows: of the calendar where they lie at one time of day, else the most
    common difference."""
    clock_column: str = Field(default="infer", json_schema_extra=LOCATOR)
    """Name of the column with the time of day, where `time_column` holds the date alone. 'infer' takes the first
    column of such times where several rows share a date; empty for none."""
    time_format: str = Field(default="infer", json_schema_extra=LOCATOR)
    """How times are written: 'iso' for ISO 8601, a count since 1970 in UTC ('epoch s', 'epoch ms', 'epoch us',
    'epoch ns'), or a pattern such as '%d.%m.%Y %H:%M', with %b for the name of a month and %q for a quarter. 'infer'
    takes what all rows fit; where day and month could be swapped it must be named."""
    encoding: str = Field(default="infer", json_schema_extra=LOCATOR)
    """Encoding of a CSV file, such as 'utf-8', 'utf-16' or 'latin-1'. 'infer' goes by its first bytes, and takes what
    is not UTF-8 for Latin-1."""
    separator: str = Field(default="infer", json_schema_extra=LOCATOR)
    """The character between two cells of a CSV file. 'infer' takes the one of ',', ';', tab and '|' that gives the
    lines the same number of cells, or the one that a first line 'sep=;' names."""
    decimal: Literal["infer", ".", ","] = Field(default="infer", json_schema_extra=LOCATOR)
    """The decimal mark of numbers. 'infer' takes the one that all of them fit."""
    thousands: Literal["infer", "", ".", ",", " ", "'"] = Field(default="infer", json_schema_extra=LOCATOR)
    """What sets thousands apart; empty for nothing. 'infer' takes what all numbers fit; where 1,234 could be a thousand
    or a bit more than one, this or `decimal` must be named."""
    targets: list[str] = []
    """One or more numeric columns to forecast; all other numeric columns are covariates known up to the origin. `*`
    stands for any characters: 'P*' is every column whose name begins with P, in the order of the rows."""
    known_future: list[str] = []
    """Covariates whose values are given for the rows to forecast too, such as a price list or a weather forecast. Test
    windows take the values of the rows themselves."""
    holidays: str = Field(default="", json_schema_extra=HASHED_WHEN_CHANGED)
    """A country, such as 'ES', or one of its regions, such as 'ES-MD': the holidays there are one more column that is
    known ahead. Their dates are kept in the bundle. Empty for none."""

    @field_validator("source")
    @classmethod
    def _without_credentials(cls, value: str) -> str:
        if without_credentials(value) != value:
            raise ValueError(
                "a URL with a user, a password or an option other than `endpoint`; take them out: credentials of S3 are"
                " those of the environment"
            )
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            if SYSTEM_ZONES.fullmatch(value):
                raise ValueError
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"'{value}' is not a time zone; use an IANA name such as 'UTC' or 'Europe/Madrid'"
            ) from None
        return "UTC" if UTC_ALIASES.fullmatch(value) else value

    @field_validator("time_format")
    @classmethod
    def _known_format(cls, value: str) -> str:
        if (fault := fault_of(value)) is not None:
            raise ValueError(f"'{value}' is no way to write times: {fault}")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        if value == "infer":
            return value
        try:
            name = codecs.lookup(value).name
            b"time,\xff\n".decode(name, errors="replace")  # Python also knows codecs that read no text, or no table
            return name
        except (LookupError, UnicodeError):
            raise ValueError(f"'{value}' is no encoding; use one such as 'utf-8' or 'latin-1'") from None

    @field_validator("separator")
    @classmethod
    def _one_character(cls, value: str) -> str:
        value = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if value != "infer" and (len(value) != 1 or value in '"\n\r' or not value.isascii()):
            raise ValueError(f"{value!r} is no separator; use one character, such as ';', or 'tab'")
        return value

    @field_validator("step")
    @classmethod
    def _valid_step(cls, value: str) -> str:
        if value != "infer":
            return str(Step.parse(value))
        return value

    @field_validator("identifier")
    @classmethod
    def _valid_scope(cls, value: str) -> str:
        return value and scope_name(value)

    @field_validator("known_future")
    @classmethod
    def _covariates(cls, value: list[str], info: ValidationInfo) -> list[str]:
        if len(set(value)) != len(value):
            raise ValueError(f"names a column twice: {value}")
        others = {info.data.get("time_column"): "the time column"}
        others |= dict.fromkeys(info.data.get("targets", []), "a target")
        for name in value:
            if name in others:
                raise ValueError(f"'{name}' is {others[name]}; name covariates whose values are known ahead")
        return value

    @field_validator("holidays")
    @classmethod
    def _valid_place(cls, value: str) -> str:
        if value and not PLACE.fullmatch(value):
            raise ValueError(f"'{value}' is no place; use a country such as 'ES', or a region such as 'ES-MD'")
        return value

    @model_validator(mode="after")
    def _marks_differ(self) -> Self:
        if self.decimal == self.thousands != "infer":
            raise ValueError(f"decimal and thousands are both {self.decimal!r}; they must differ")
        return self

    @model_validator(mode="after")
    def _targets(self) -> Self:
        if len(set(self.targets)) != len(self.targets):
            raise ValueError(f"targets names a column twice: {self.targets}")
        if self.time_column in self.targets:
            raise ValueError(f"'{self.time_column}' is the time column and cannot be a target")
        return self

    @property
    def scope(self) -> str:
        """The scope of promotions."""
        return self.identifier or "global"
