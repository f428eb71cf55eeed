"""The id of a request for a forecast: `<YYYYMMDD>-<scope>-<uuid7>`. It alone says where its log line is stored."""

from __future__ import annotations

import os
import random
import re
import time
import uuid
from datetime import date, timedelta
from functools import lru_cache
from typing import NamedTuple

from flts.contracts.layout import SCOPE

MS_PER_DAY = 86_400 * 10**3
_UUID7 = "[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
_DRAW = random.Random()  # noqa: S311 - an id is no secret, and the system takes as long for a draw as for a whole id
os.register_at_fork(after_in_child=_DRAW.seed)
_ID = re.compile(f"(?P<day>[0-9]{{8}})-(?P<scope>{SCOPE.pattern})-(?P<unique>{_UUID7})")


_OF_BATCHES = uuid.UUID("6f0d7a52-6d1c-5a3e-9a55-7f2f2f6f1d5e")


def batch_id(event_id: str, promotion: int) -> str:
    """The UUID in the name of the answer to a claim of rows: one for each champion that answers it.

    event_id: of the claim; promotion: number of the champion's entry in the promotion log.
    """
    return str(uuid.uuid5(_OF_BATCHES, f"{event_id}/{promotion}"))


class RequestId(NamedTuple):
    """What an id says. day: YYYYMMDD, UTC; ms: milliseconds since 1970 at which it was made."""

    day: str
    scope: str
    ms: int


def uuid7(ns: int | None = None) -> str:
    """A UUID of version 7 (RFC 9562, with its third method: later ones sort after earlier ones, to a quarter µs).

    ns: nanoseconds since 1970; None for now.
    """
    ms, rest = divmod(time.time_ns() if ns is None else ns, 1_000_000)
    drawn = 2 << 62 | _DRAW.getrandbits(62)
    # written by hand: the class of the standard library takes three times as long, and every request needs one
    text = f"{ms:012x}7{rest * 4096 // 1_000_000:03x}{drawn:016x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def ms_of(unique: str) -> int | None:
    """When a UUID of version 7 was made, in milliseconds since 1970; None for any other text."""
    return _ms(unique) if re.fullmatch(_UUID7, unique) else None


def _ms(unique: str) -> int:
    return int(unique[:8] + unique[9:13], 16)


def new_request_id(scope: str, unique: str | None = None) -> str:
    """The id of a request. unique: the UUID that it got when it arrived; None where it arrives now."""
    unique = unique or uuid7()
    return f"{_day(_ms(unique) // MS_PER_DAY)}-{scope}-{unique}"


@lru_cache(maxsize=4)
def _day(days: int) -> str:
    """YYYYMMDD of a day that is so many days after 1970-01-01."""
    return f"{date(1970, 1, 1) + timedelta(days=days):%Y%m%d}"


def parse_request_id(text: str) -> RequestId | None:
    """What an id says; None for a text that is none."""
    found = _ID.fullmatch(text)
    if found is None:
        return None
    ms = ms_of(found["unique"])
    assert ms is not None
    return RequestId(found["day"], found["scope"], ms)
