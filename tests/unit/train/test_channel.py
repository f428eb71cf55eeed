"""The messages of a child process, and that no other line is accepted as one."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import pytest

from flts.contracts.records.base import JsonObject
from flts.train.channel import EpochLine, EventLine, FailedLine, PhaseLine, TrainedLine, parse_line
from flts.train.stage import Trained

CHOSEN: JsonObject = {"alpha": 1.0, "fourier": [1, 2]}
TRAINED = Trained("ridge", "a" * 64, "b" * 64, "c" * 64, True, CHOSEN, [[0.5, 0.25]], "equal")


def test_every_line_that_a_child_writes_is_read() -> None:
    assert parse_line('{"kind":"phase","name":"fit"}') == PhaseLine(kind="phase", name="fit")
    assert parse_line('{"kind":"event","fields":{"event":"x","n":1}}') == EventLine(
        kind="event", fields={"event": "x", "n": 1}
    )
    assert parse_line(json.dumps({"kind": "trained", "trained": asdict(TRAINED)})) == TrainedLine(
        kind="trained", trained=TRAINED
    )
    failed = parse_line('{"kind":"failed","class":"DataError","reason":"no rows"}')
    assert isinstance(failed, FailedLine)
    assert (failed.error, failed.reason) == ("DataError", "no rows")


def test_a_loss_that_is_not_finite_is_read() -> None:
    line = {"kind": "epoch", "done": 1, "of": 2, "train_loss": float("nan"), "val_loss": float("inf")}
    message = parse_line(json.dumps(line) + "\n")
    assert isinstance(message, EpochLine)
    assert math.isnan(message.train_loss)
    assert message.val_loss == math.inf


@pytest.mark.parametrize(
    "line",
    [
        *("", "\n", "hello", "42", "null", "[]", "{}", '{"kind":7}', '{"kind":"nothing"}', '{"kind":"phase"}'),
        '{"kind":"phase","name":1}',
        '{"kind":"phase","name":"fit","more":1}',
        '{"kind":"epoch","done":1,"of":2,"train_loss":"0.1","val_loss":0.1}',
        '{"kind":"trained","trained":{"model":"ridge"}}',
        json.dumps({"kind": "trained", "trained": {**asdict(TRAINED), "recomputed": "perhaps"}}),
    ],
)
def test_any_other_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        parse_line(line)
