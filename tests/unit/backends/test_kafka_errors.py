"""What a broker did is said in the same words each time, so that equal reports have equal bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from flts.backends.kafka_errors import failed
from flts.contracts.errors import BackendUnavailable


@dataclass
class Heard:
    """An error as the library reports it."""

    text: str

    def name(self) -> str:
        return "_TRANSPORT"

    def str(self) -> str:
        return self.text


@pytest.mark.parametrize("counted", ["", ", 30 identical error(s) suppressed"])
def test_how_long_and_how_often_is_left_out(counted: str) -> None:
    error: Any = Heard(f"b:9092/bootstrap: Connection refused (after 0ms in state CONNECT{counted})")
    raised = failed("list the topics", error)
    assert isinstance(raised, BackendUnavailable)
    assert str(raised) == "cannot list the topics: b:9092: Connection refused (_TRANSPORT)"
