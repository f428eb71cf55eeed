"""The document of an answer: RFC 3339 times of the zone, null for what the model does not have."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.support.experiments import small_experiment
from tests.support.stored import fit, grow

from flts.contracts.notices import Notice
from flts.forecasting.bundle import load_bundle
from flts.serve.answer import Answer
from flts.serve.follow import Champion
from flts.server.document import moment, to_bytes
from flts.server.served import Served
from flts.server.wanted import Answered
from flts.spec.steps import HOUR


def answered(answer: Answer) -> Answered:
    experiment, store = small_experiment()
    bundle = load_bundle(store, fit(store, experiment).bundle_sha256)
    return Answered(answer, Served("global", Champion(grow([], "ridge"), bundle), 0.0, ""), "an-id")


def test_an_answer_is_one_object_for_each_step_and_target() -> None:
    start = 1_711_843_200 * 10**9  # 2024-03-31 00:00 UTC, an hour before the clock of Berlin changes
    nothing = np.full((2, 2), np.nan)
    answer = Answer(
        np.array([start, start + HOUR]),
        ("load", "wind"),
        np.array([[1.0, 2.5], [3.0, 0.1]]),
        np.array([[0.5, 2.0], [np.nan, np.nan]]),
        nothing,
        "static",
        "Europe/Berlin",
        (Notice("unsorted", "rows are not in order of time", row=3),),
    )
    document = json.loads(to_bytes(answered(answer)))
    assert document == {
        "forecasts": [
            {"time": "2024-03-31T01:00:00+01:00", "target": "load", "mean": 1.0, "lower": 0.5, "upper": None},
            {"time": "2024-03-31T01:00:00+01:00", "target": "wind", "mean": 2.5, "lower": 2.0, "upper": None},
            {"time": "2024-03-31T03:00:00+02:00", "target": "load", "mean": 3.0, "lower": None, "upper": None},
            {"time": "2024-03-31T03:00:00+02:00", "target": "wind", "mean": 0.1, "lower": None, "upper": None},
        ],
        "interval": "static",
        "warnings": [{"code": "unsorted", "column": None, "row": 3, "text": "rows are not in order of time"}],
        "series": None,
        "model": {
            "model_type": "RIDGE",
            "run_id": None,
            "model_hash": document["model"]["model_hash"],
            "config_hash": document["model"]["config_hash"],
            "promotion": 1,
        },
        "request_id": "an-id",
    }


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (0, "1970-01-01T00:00:00+00:00"),
        (5 * 10**8, "1970-01-01T00:00:00.5+00:00"),
        (-1, "1969-12-31T23:59:59.999999999+00:00"),
        (10**10 + 10**6, "1970-01-01T00:00:10.001+00:00"),
    ],
)
def test_a_time_has_as_many_digits_of_a_second_as_it_needs(time: int, text: str) -> None:
    assert moment(time, "UTC") == text
