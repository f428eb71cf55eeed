"""The id of a request says where its line is stored, and sorts by time."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import pytest

from flts.contracts.request_ids import ms_of, new_request_id, parse_request_id, uuid7

VERSION_4 = "94c17424-fa90-43ae-bdfc-42f6c5028087"
VERSION_7 = "01a22b56-c0c3-79e2-a327-983510f8355f"


@pytest.mark.parametrize("scope", ["jfk", "global", "a", "north-west.2", "20260102-x", "a" * 63])
def test_an_id_gives_back_its_day_scope_and_moment(scope: str) -> None:
    before = datetime.now(UTC)
    found = parse_request_id(new_request_id(scope))
    after = datetime.now(UTC)
    assert found is not None
    assert found.scope == scope
    assert f"{before:%Y%m%d}" <= found.day <= f"{after:%Y%m%d}"
    assert int(before.timestamp() * 1000) <= found.ms <= after.timestamp() * 1000


def test_its_uuid_is_one_of_version_7() -> None:
    made = uuid.UUID(uuid7())
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_later_ones_sort_after_earlier_ones_and_none_comes_twice() -> None:
    moments = [1_700_000_000_000_000_000 + 250 * n for n in range(5_000)]
    made = [uuid7(ns) for ns in moments]
    assert made == sorted(made)
    assert len({uuid7(moments[0]) for _ in range(1_000)}) == 1_000
    assert ms_of(made[0]) == 1_700_000_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "jfk",
        VERSION_4,
        VERSION_7,
        f"20260102-jfk-{VERSION_4}",
        f"2026010-jfk-{VERSION_7}",
        f"20260102-JFK-{VERSION_7}",
        f"20260102--{VERSION_7}",
        f"20260102-jfk-{VERSION_7}\n",
        f"20260102-jfk-{VERSION_7[:-1]}",
    ],
)
def test_another_text_is_no_id(text: str) -> None:
    assert parse_request_id(text) is None
