"""Log events: the names of the contract, and one line for each wherever it was emitted."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from typing import Any

import pytest

from flts.contracts import events

ALL = events.Event.__subclasses__()
CONTRACT = {
    "sampling_applied", "upload_done", "skip_idempotent", "claim_published", "train_start", "train_complete",
    "train_failed", "train_skip_duplicate", "promotion_waiting_for_models", "promotion_all_models_present",
    "promotion_scoreboard", "promotion_decision", "promotion_root_pointer_write", "promotion_publish", "model_loaded",
    "model_swap", "forecast_served", "dead_letter", "environment_differs", "nondeterminism_detected",
}  # fmt: skip
"""What programs that read the log rely on."""


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    said = io.StringIO()
    events.configure("json", said)
    yield said
    events.configure("off")


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_every_class_is_named_as_its_event() -> None:
    snake = {event: re.sub(r"(?<!^)(?=[A-Z])", "_", event.__name__).lower() for event in ALL}
    assert {event: event.event for event in ALL} == snake
    assert len(set(snake.values())) == len(ALL)
    assert set(snake.values()) >= CONTRACT


def test_an_event_is_one_line_with_its_fields(stream: io.StringIO) -> None:
    events.emit(events.PromotionWaitingForModels(config_hash="c", have=("GRU",), missing=["LSTM"]))
    (line,) = _lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "event": "promotion_waiting_for_models",
        "service": "evaluate",
        "config_hash": "c",
        "have": ["GRU"],
        "missing": ["LSTM"],
    }


def test_a_field_that_is_none_is_left_out(stream: io.StringIO) -> None:
    events.emit(events.ServiceStarted(service="train", version="1", groups=[], probes=None))
    (line,) = _lines(stream)
    assert line.keys() == {"event", "service", "ts", "version", "groups"}


def test_an_event_from_another_process_is_the_same_line(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    event = events.ForecastServed(config_hash="c", model_type="GRU", promotion=3, forecasts=24)
    handed: list[dict[str, Any]] = []
    with monkeypatch.context() as patched:
        patched.setattr(events, "_sink", None)
        events.divert(handed.append)
        events.emit(event)
    assert _lines(stream) == []
    events.replay(json.loads(json.dumps(handed[0])))
    events.emit(event)
    replayed, own = ({**line, "ts": None} for line in _lines(stream))
    assert replayed == own


def test_an_event_cannot_be_changed() -> None:
    event = events.SkipIdempotent(data_hash="d")
    with pytest.raises(FrozenInstanceError):
        event.data_hash = "e"  # type: ignore[misc]
