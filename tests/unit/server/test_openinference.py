"""The Open Inference Protocol v2: a scope is a model, a promotion its version; tensors in, tensors out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support.asgi import Answer, ask
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.series import hourly, table
from tests.support.serving import application, predict
from tests.support.stored import fit

from flts.backends.store import memory_store
from flts.version import __version__

FRAME = table(hourly(300)[200:270])
COLUMNS: dict[str, list[Any]] = {
    "time": [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in FRAME["time"]],
    **FRAME.drop("time").to_dict(as_series=False),
}


def tensor(name: str, data: Sequence[Any], **other: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "BYTES" if name == "time" else "FP64", "shape": [len(data)], "data": data} | other


INPUTS = [tensor(name, data) for name, data in COLUMNS.items()]


@pytest.fixture(scope="module")
def app() -> FastAPI:
    experiment, store = small_experiment()
    bundle = fit(store, experiment).bundle_sha256
    promote(bundle, store=store, scope="north")
    promote(bundle, store=store)
    return application(store)


def infer(app: FastAPI, body: Any, model: str = "north", **headers: str) -> Answer:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ask(app, "POST", f"/v2/models/{model}/infer", headers, data)


def error(answer: Answer) -> str:
    """The message of an error, after checking its form."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.json().keys() == {"error"}
    return str(answer.json()["error"])


@pytest.mark.parametrize("model", ["north", "north/versions/1", "global"])
def test_a_forecast_is_that_of_predict(app: FastAPI, model: str) -> None:
    document = infer(app, {"inputs": INPUTS, "id": "a-1", "parameters": {"level": 0.9}}, model).json()
    rows = predict(app, {"history": COLUMNS, "level": 0.9}).json()["forecasts"]
    assert (document["model_name"], document["model_version"]) == (model.partition("/")[0], "1")
    assert document["id"] == "a-1"
    assert document["outputs"] == [
        {"name": "time", "datatype": "BYTES", "shape": [3], "data": [row["time"] for row in rows]},
        *(
            {"name": name, "datatype": "FP64", "shape": [3, 1], "data": [row[name] for row in rows]}
            for name in ("mean", "lower", "upper")
        ),
    ]
    parameters = document["parameters"]
    assert json.loads(parameters["targets"]) == ["load"]
    assert (parameters["interval"], json.loads(parameters["warnings"])) == ("adaptive", [])


def test_the_outputs_that_are_asked_for_come_in_their_order(app: FastAPI) -> None:
    outputs = [{"name": "upper", "parameters": {"binary_data": False}}, {"name": "mean"}, {"name": "upper"}]
    document = infer(app, {"inputs": INPUTS, "outputs": outputs, "parameters": {"horizon": 2}}).json()
    assert [(output["name"], output["shape"]) for output in document["outputs"]] == [
        ("upper", [2, 1]),
        ("mean", [2, 1]),
    ]
    assert "id" not in document


def test_null_is_an_empty_cell_and_a_tensor_may_be_a_column_of_a_table(app: FastAPI) -> None:
    load = [*COLUMNS["load"][:5], None, *COLUMNS["load"][6:]]
    columns = {**COLUMNS, "load": load, "extra": ["x"] * 70}
    inputs = [tensor(name, [[cell] for cell in data], shape=[70, 1]) for name, data in columns.items()]
    document = infer(app, {"inputs": inputs}).json()
    expected = predict(app, {"history": columns}).json()
    assert document["outputs"][1]["data"] == [row["mean"] for row in expected["forecasts"]]
    assert json.loads(document["parameters"]["warnings"]) == expected["warnings"] != []


def changed(name: str, **other: Any) -> dict[str, Any]:
    return {"inputs": [{**one, **other} if one["name"] == name else one for one in INPUTS]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (changed("load", data=None, parameters={"binary_data_size": 560}), "binary_data=False"),
        ({"inputs": INPUTS, "parameters": {"binary_data_output": True}}, "binary_data=False"),
        ({"inputs": INPUTS, "outputs": [{"name": "mean", "parameters": {"binary_data": True}}]}, "binary_data=False"),
        ({"inputs": INPUTS, "outputs": [{"name": "median"}]}, "did you mean 'mean'?"),
        ({"inputs": INPUTS, "outputs": ["mean"]}, "outputs"),
        ({"inputs": INPUTS, "parameters": {"horizont": 1}}, "did you mean 'horizon'?"),
        ({"inputs": INPUTS, "parameters": {"level": 0.85}}, "0.85"),
        ({"inputs": INPUTS, "parameters": [1]}, "parameters"),
        ({"inputs": INPUTS, "id": 7}, "the number 7"),
        ({"input": INPUTS}, "did you mean 'inputs'?"),
        ({"inputs": None}, "inputs"),
        ({"inputs": [*INPUTS, INPUTS[1]]}, "stands twice"),
        ({"inputs": [{"data": []}]}, "name"),
        ({"inputs": []}, "no rows"),
        ([], "inputs"),
        (changed("load", shape=[7]), "[70] fits"),
        (changed("load", shape=[70.0]), "[70] fits"),
        (changed("load", shape=[True]), "[70] fits"),
        (changed("load", data="x"), "a list fits"),
        (changed("load", datatype="FLOAT"), "FP64 for numbers"),
        (changed("load", data=["1.5"] * 70), "row 1, column 'load'"),
        (changed("wind", datatype="BYTES"), "is no BYTES"),
        (changed("time", datatype="INT64", data=[1517875200000] * 70), "a time is text"),
        (b'{"inputs": NaN}', "NaN"),
        (b"{", "JSON"),
    ],
)
def test_what_does_not_fit_is_told_in_the_form_of_the_protocol(app: FastAPI, body: Any, named: str) -> None:
    answer = infer(app, body)
    assert named in error(answer)
    assert answer.status == 400


def test_a_binary_body_is_refused_before_it_is_parsed(app: FastAPI) -> None:
    answer = infer(app, b'{"inputs": []}\0\0', **{"Inference-Header-Content-Length": "14"})
    assert answer.status == 400
    assert "binary_data=False" in error(answer)


@pytest.mark.parametrize("version", ["2", "0", "01", "1.0", "x", "9" * 30])
def test_another_promotion_is_not_served(app: FastAPI, version: str) -> None:
    for answer in (
        infer(app, {"inputs": INPUTS}, f"north/versions/{version}"),
        ask(app, "GET", f"/v2/models/north/versions/{version}"),
        ask(app, "GET", f"/v2/models/north/versions/{version}/ready"),
    ):
        assert answer.status == 404
        assert version in error(answer)


def test_another_scope_is_not_served(app: FastAPI) -> None:
    for answer in (infer(app, {"inputs": INPUTS}, "south"), ask(app, "GET", "/v2/models/south/ready")):
        assert answer.status == 404
        assert "south" in error(answer)


def test_the_server_and_its_models_are_described(app: FastAPI) -> None:
    assert ask(app, "GET", "/v2").json() == {"name": "flts", "version": __version__, "extensions": []}
    assert ask(app, "GET", "/v2/health/live").json() == {"live": True}
    assert ask(app, "GET", "/v2/health/ready").json() == {"ready": True}
    described = ask(app, "GET", "/v2/models/north").json()
    assert described == ask(app, "GET", "/v2/models/north/versions/1").json()
    assert (described["name"], described["versions"]) == ("north", ["1"])
    assert [(one["name"], one["datatype"], one["shape"]) for one in described["inputs"]] == [
        ("time", "BYTES", [-1]),
        ("load", "FP64", [-1]),
        ("wind", "FP64", [-1]),
    ]
    assert [(one["name"], one["shape"]) for one in described["outputs"]] == [
        ("time", [-1]),
        ("mean", [-1, 1]),
        ("lower", [-1, 1]),
        ("upper", [-1, 1]),
    ]
    for path in ("north/ready", "north/versions/1/ready"):
        assert ask(app, "GET", f"/v2/models/{path}").json() == {"name": "north", "ready": True}


def test_without_a_model_the_server_lives_and_is_not_ready() -> None:
    empty = application(memory_store())
    assert ask(empty, "GET", "/v2/health/live").status == 200
    answer = ask(empty, "GET", "/v2/health/ready")
    assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "no model" in error(answer)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/v2/x", 404), ("GET", "/v2/models/a/infer", 405)])
def test_every_error_below_the_protocol_has_its_form(app: FastAPI, method: str, path: str, status: int) -> None:
    answer = ask(app, method, path)
    assert answer.status == status
    assert error(answer)


def test_paths_beside_the_protocol_keep_problem_documents(app: FastAPI) -> None:
    assert ask(app, "GET", "/v2x").problem


def test_errors_of_the_layers_around_have_the_form_of_the_protocol_too(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch
) -> None:
    ambiguous = infer(app, {"inputs": INPUTS}, **{"Transfer-Encoding": "chunked"})
    assert ambiguous.status == 400
    assert "Transfer-Encoding" in error(ambiguous)

    async def broken(*_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(type(app.state.service), "forecast", broken)
    failed = infer(app, {"inputs": INPUTS})
    assert failed.status == 500
    assert "secret" not in error(failed)
