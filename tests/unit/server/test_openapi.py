"""The OpenAPI document: every route is in it, with an example that fits what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from tests.support.asgi import ask
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.series import hourly, table
from tests.support.serving import application
from tests.support.stored import fit

APP = application()
DOCUMENT: dict[str, Any] = ask(APP, "GET", "/openapi.json").json()
HIDDEN = {"/openapi.json"}
ERRORS = {"400", "401", "403", "404", "408", "413", "415", "429", "503", "504"}
"""What every request for a forecast may meet; one that does not fit is a 422, or as its protocol has it a 400."""


def routes(found: list[BaseRoute]) -> Iterator[tuple[str, str]]:
    """Path and method of what is meant for programs."""
    for route in found:
        if router := getattr(route, "original_router", None):  # one that was included
            yield from routes(router.routes)
        if isinstance(route, Route) and route.path not in HIDDEN and getattr(route, "include_in_schema", True):
            yield from ((route.path, method.lower()) for method in (route.methods or set()) - {"HEAD"})


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in DOCUMENT["paths"].items():
        yield from ((path, method, operation) for method, operation in methods.items())


def contents(operation: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Where, media type and description of each body."""
    for status, response in operation["responses"].items():
        yield from ((status, media, content) for media, content in response.get("content", {}).items())
    body = operation.get("requestBody", {})
    yield from (("request", media, content) for media, content in body.get("content", {}).items())


def test_every_route_is_described() -> None:
    described = {(path, method) for path, method, _ in operations()}
    assert described == set(routes(APP.router.routes))
    assert ("/predict", "post") in described


@pytest.mark.parametrize(("path", "method", "operation"), list(operations()))
def test_every_body_has_an_example_that_fits_its_schema(path: str, method: str, operation: dict[str, Any]) -> None:
    found = list(contents(operation))
    assert found, (path, method)
    for where, media, content in found:
        assert "example" in content, (path, method, where, media)
        if schema := content.get("schema"):
            whole = {**schema, "components": DOCUMENT["components"]}
            jsonschema_rs.validator_for(whole).validate(content["example"])


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/{scope}/infer"])
def test_a_forecast_may_be_refused_in_these_ways(path: str) -> None:
    assert DOCUMENT["paths"][path]["post"]["responses"].keys() >= ERRORS


def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has() -> None:
    answer = ask(APP, "GET", "/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")


def test_the_document_is_the_same_every_time() -> None:
    assert ask(APP, "GET", "/openapi.json").json() == json.loads(json.dumps(DOCUMENT))


def test_metrics_name_the_route_of_a_plain_endpoint() -> None:
    ask(APP, "POST", "/v2/models/x/infer", body=b"{}")
    assert 'route="/v2/models/{scope}/infer",status="400"' in ask(APP, "GET", "/metrics").body.decode()


def served() -> FastAPI:
    experiment, store = small_experiment()
    promote(fit(store, experiment).bundle_sha256, store=store, scope="jfk")
    return application(store)


def test_real_answers_fit_their_schemas() -> None:
    app, ends = served(), {"scope": "jfk", "version": "1"}
    frame = table(hourly(300)[200:270])
    times = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in frame["time"]]
    history = {"time": times, "more": [1] * 70, **frame.drop("time").to_dict(as_series=False)}
    inputs = [
        {"name": name, "datatype": "BYTES" if name == "time" else "FP64", "shape": [70], "data": cells}
        for name, cells in history.items()
    ]
    bodies = {"/predict": {"history": history}, "/invocations": {"inputs": history}}
    for path, method, operation in operations():
        body = json.dumps(bodies.get(path, {"inputs": inputs, "id": "1"})).encode() if method == "post" else None
        answer = ask(app, method.upper(), path.format(**ends), {"Content-Type": "application/json"}, body)
        content = operation["responses"][str(answer.status)]["content"]
        assert answer.status in {200, 202}, (path, answer)
        described = content.get("application/json", {}).get("schema")
        if described is not None:
            whole = {**described, "components": DOCUMENT["components"]}
            jsonschema_rs.validator_for(whole).validate(answer.json())
