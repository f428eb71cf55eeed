"""Random requests to the forecast service: every answer is a documented one, and none is an internal error."""

from __future__ import annotations

import json
from typing import Any

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance
from tests.support.asgi import ask
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.stored import fit

from flts.server.app import create_app
from flts.server.models import ServedModels
from flts.server.service import ForecastService
from flts.web.security import Auth

TOKEN = "only-for-this-test"  # noqa: S105 - used by this test only
HEADERS = {"Authorization": f"Bearer {TOKEN}"}
PATIENT = 60.0
"""Seconds for a request: a busy machine makes no test fail."""


def serving() -> FastAPI:
    experiment, store = small_experiment()
    promote(fit(store, experiment).bundle_sha256, store=store, scope="jfk")
    models = ServedModels(store)
    models.catch_up()
    return create_app(ForecastService(models, request_seconds=PATIENT), auth=Auth("127.0.0.1", TOKEN))


APP = serving()
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", APP)
EXCLUDED: list[Any] = [
    # a request is judged before it becomes a URL and before the token is added; unit tests name what must be refused
    negative_data_rejection,
    # a schema cannot say that a history fits the model: most that are valid by it are refused
    positive_data_acceptance,
]


def check(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate(headers=HEADERS, excluded_checks=EXCLUDED)


@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None)
def test_every_answer_fits_the_openapi_document(case: schemathesis.Case[Any]) -> None:
    check(case)


@pytest.mark.long
@SCHEMA.parametrize()
@settings(max_examples=500, deadline=None)
def test_every_answer_fits_the_openapi_document_whatever_is_asked(case: schemathesis.Case[Any]) -> None:
    check(case)


CELLS = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5) | st.lists(st.none(), max_size=2)
TIMES = st.datetimes().map(lambda time: f"{time.isoformat()}Z") | CELLS
TABLES = st.integers(0, 20).flatmap(
    lambda rows: st.fixed_dictionaries(
        {
            "time": st.lists(TIMES, min_size=rows, max_size=rows),
            "load": st.lists(CELLS, min_size=rows, max_size=rows),
            "wind": st.lists(st.floats(-9, 9), min_size=rows, max_size=rows),
        }
    )
)
VALUES = st.recursive(CELLS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))


def bodies(table: dict[str, list[Any]], odd: Any) -> dict[str, Any]:
    """A table, and something else in a place of a table, in the forms of every protocol."""
    rows = [list(row) for row in zip(*table.values(), strict=True)]
    inputs = [{"name": name, "datatype": "FP64", "shape": [len(cells)], "data": cells} for name, cells in table.items()]
    inputs[0]["datatype"] = "BYTES"
    forms: dict[str, list[Any]] = {
        "/predict": [{"history": table}, {"history": odd}, {"history": table, "level": odd}],
        "/invocations": [
            {"inputs": table},
            {"dataframe_split": {"columns": list(table), "data": rows}},
            {"instances": [dict(zip(table, row, strict=True)) for row in rows], "params": {"horizon": odd}},
            {"inputs": odd},
            {"instances": odd},
            {"dataframe_split": odd},
            {"dataframe_split": {"columns": odd, "data": odd}},
            {"dataframe_records": [odd]},
        ],
        "/v2/models/jfk/infer": [
            {"inputs": inputs},
            {"inputs": odd},
            {"inputs": [odd]},
            {"inputs": inputs, "outputs": odd, "parameters": odd},
            {"inputs": [{"name": odd, "datatype": odd, "shape": odd, "data": odd}]},
        ],
    }
    return {path: [*found, odd] for path, found in forms.items()}


@given(table=TABLES, odd=VALUES)
@settings(deadline=None, max_examples=40)
def test_no_table_and_no_odd_value_is_an_internal_error(table: dict[str, list[Any]], odd: Any) -> None:
    for path, found in bodies(table, odd).items():
        for body in found:
            headers = {**HEADERS, "Content-Type": "application/json"}
            answer = ask(APP, "POST", path, headers, json.dumps(body).encode("utf-8", "surrogatepass"))
            assert answer.status in {200, 400, 413, 422}, (path, body, answer)


@given(data=st.binary(max_size=200), text=st.text(max_size=200))
@settings(deadline=None, max_examples=60)
def test_no_file_is_an_internal_error(data: bytes, text: str) -> None:
    for body in (data, text.encode(), b"time,load,wind\n" + text.encode()):
        answer = ask(APP, "POST", "/invocations", {**HEADERS, "Content-Type": "text/csv"}, body)
        assert answer.status in {200, 400, 413}, (body, answer)
