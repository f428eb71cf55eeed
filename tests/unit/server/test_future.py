"""Requests that say what is known of the rows to forecast."""

from __future__ import annotations

import io

import numpy as np
import pytest
from fastapi import FastAPI
from tests.support.ahead import WAYS, body_of, columns, fitted, of_model, request, told_alone
from tests.support.asgi import ask
from tests.support.families import installed
from tests.support.promotions import promote
from tests.support.serving import application, predict

from flts.preprocess.rows import Values
from flts.server.page.box import box
from flts.train.experiment import Experiment


def service(name: str = "ridge") -> tuple[FastAPI, Experiment, dict[str, Values]]:
    """The service with a model that has to be told the price, and what is stored of its test forecasts."""
    experiment, store = fitted((name,))
    _, trained = of_model(experiment, store, name)
    promote(trained.bundle_sha256, store=store)
    judged = experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    return application(store), experiment, dict(judged)


@pytest.fixture(scope="module")
def served() -> tuple[FastAPI, Experiment, dict[str, Values]]:
    """With ridge."""
    return service()


@pytest.mark.parametrize("way", WAYS)
def test_a_request_is_answered_as_it_was_judged(
    served: tuple[FastAPI, Experiment, dict[str, Values]], way: str
) -> None:
    app, experiment, judged = served
    for window in (0, 44):
        body = body_of(experiment, window, way)
        answer = predict(app, body)
        assert answer.status == 200, answer.body
        found = {name: [row[name] for row in answer.json()["forecasts"]] for name in ("mean", "lower")}
        np.testing.assert_allclose(found["mean"], judged["y_hat"][window, :, 0], rtol=1e-9)
        np.testing.assert_allclose(found["lower"], judged["lower"][window, :, 0], rtol=1e-9)
        assert answer.json()["warnings"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", installed(("gru",)))
def test_a_network_is_told_the_same(name: str) -> None:
    app, experiment, judged = service(name)
    for way in WAYS:
        answer = predict(app, body_of(experiment, 44, way))
        assert answer.status == 200, answer.body
        found = [row["mean"] for row in answer.json()["forecasts"]]
        np.testing.assert_allclose(found, judged["y_hat"][44, :, 0], rtol=1e-4)


def test_what_is_absent_is_named(served: tuple[FastAPI, Experiment, dict[str, Values]]) -> None:
    app, experiment, _ = served
    history, later = request(experiment, 10)
    body = {"history": columns(history), "future": columns(later[:2], "price")}
    for asked, code, named in (
        (body, "future-absent", "future: 'price' is absent"),
        ({"history": body["history"]}, "future-absent", "step 1 of 3"),
        ({**body, "future": columns(later, "wind")}, "columns-missing", "price"),
        ({**body, "future": {**columns(later), "price": ["1", "2", "3"]}}, "cell-unfit", "future: row 1"),
    ):
        answer = predict(app, asked)
        assert (answer.status, answer.json()["code"]) == (422, code), answer.body
        assert named in answer.json()["detail"]


@pytest.mark.parametrize("way", WAYS)
def test_a_value_far_from_those_of_training_is_warned_of(
    served: tuple[FastAPI, Experiment, dict[str, Values]], way: str
) -> None:
    app, experiment, _ = served
    body = body_of(experiment, 44, way)
    table = "history" if way == "later rows" else "future"
    body[table]["price"][-2] = 1e6
    answer = predict(app, body)
    assert answer.status == 200, answer.body
    (warning,) = answer.json()["warnings"]
    assert (warning["code"], warning["column"]) == ("outside-training-range", "price")
    assert warning["row"] == len(body[table]["price"]) - 1
    assert f"{table}: 1 values of 'price'" in warning["text"]


def test_mlflows_protocol_takes_the_rows_to_forecast_after_the_history(
    served: tuple[FastAPI, Experiment, dict[str, Values]],
) -> None:
    app, experiment, judged = served
    history, later = request(experiment, 7)
    both = history.then(told_alone(later))
    text = io.StringIO()
    named = columns(both)
    text.write(",".join(named) + "\n")
    for row in zip(*named.values(), strict=True):
        text.write(",".join("" if cell is None else str(cell) for cell in row) + "\n")
    answer = ask(app, "POST", "/invocations", body=text.getvalue().encode(), headers={"content-type": "text/csv"})
    assert answer.status == 200, answer.body
    found = [row["mean"] for row in answer.json()["predictions"]]
    np.testing.assert_allclose(found, judged["y_hat"][7, :, 0], rtol=1e-9)


def test_a_model_says_what_it_has_to_be_told(served: tuple[FastAPI, Experiment, dict[str, Values]]) -> None:
    app, _, _ = served
    (model,) = ask(app, "GET", "/model").json()["models"]
    assert model["needs"]["future"] == ["price"]
    bundle, _ = of_model(*fitted())
    assert "then 3 rows to forecast, with price" in box(bundle.manifest).needs


def test_another_model_answers_and_says_that_the_future_is_not_read() -> None:
    experiment, store = fitted(known=False)
    _, trained = of_model(experiment, store)
    promote(trained.bundle_sha256, store=store)
    history, later = request(experiment, 3)
    answer = predict(application(store), {"history": columns(history), "future": columns(later, "price")})
    assert answer.status == 200, answer.body
    assert [warning["code"] for warning in answer.json()["warnings"]] == ["future-unused"]
