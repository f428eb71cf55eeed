"""Which times are read from outside: those that are the same moment in every zone."""

from __future__ import annotations

from datetime import datetime


def moment(value: datetime) -> datetime:
    """The same time. Raises ValueError for one without an offset, and for one that is none in another zone.

    Such are the first hour of year 1 in a zone east of UTC, or times a day after the last one.
    """
    if value.utcoffset() is None:
        raise ValueError("the time has no offset from UTC")
    if not 1 < value.year < 9000:
        raise ValueError("the year must be between 2 and 8999")
    return value
