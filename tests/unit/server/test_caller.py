"""What the head of a request says of its caller."""

from __future__ import annotations

from typing import Any

import pytest

from flts.server.caller import LONGEST, caller_of
from flts.web.problem import Problem


def scope(**headers: str) -> dict[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "headers": named, "state": {"started": 100.0}}


def gone() -> bool:
    return False


def test_a_request_has_the_time_of_the_setting_from_when_its_head_was_read() -> None:
    caller = caller_of(scope(), gone, 1.5)
    assert (caller.until, caller.id, caller.gone) == (101.5, None, gone)


@pytest.mark.parametrize(("asked", "until"), [("0.25", 100.25), ("20", 120.0), (f"{LONGEST:g}", 100.0 + LONGEST)])
def test_a_request_may_ask_for_less_or_more_time(asked: str, until: float) -> None:
    assert caller_of(scope(x_request_timeout=asked), gone, 1.0).until == until


@pytest.mark.parametrize("asked", ["0", "-1", "nan", "inf", "soon", "", "301", "1e9", "1_0"])
def test_a_time_that_is_none_is_refused(asked: str) -> None:
    with pytest.raises(Problem) as refused:
        caller_of(scope(x_request_timeout=asked), gone, 1.0)
    assert (refused.value.status, refused.value.code) == (422, "timeout-invalid")


@pytest.mark.parametrize(
    ("given", "kept"),
    [("order-17", "order-17"), ("a" * 200, "a" * 200), ("a" * 201, None), ("two words", None), ("é", None), ("", None)],
)
def test_the_id_of_the_caller_is_kept_where_it_is_a_short_word(given: str, kept: str | None) -> None:
    assert caller_of(scope(x_request_id=given), gone, 1.0).id == kept
