"""`POST /predict`: the right scope answers, and a request that does not fit is a problem document."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import weakref
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support.asgi import ask
from tests.support.connected import Talk, post
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.series import hourly, table
from tests.support.serving import application, predict
from tests.support.stored import fit

from flts.backends.store import ObjectStoreAdapter
from flts.contracts.ports import Store

ROWS = hourly(300)[:270]


def body(rows: int = 270, **keys: Any) -> dict[str, Any]:
    frame = table(ROWS[-rows:])
    times = [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in frame["time"]]
    return {"history": {**frame.drop("time").to_dict(as_series=False), "time": times}, **keys}


@pytest.fixture(scope="module")
def fitted() -> tuple[Store, str]:
    experiment, store = small_experiment()
    return store, fit(store, experiment).bundle_sha256


@pytest.fixture(scope="module")
def app(fitted: tuple[Store, str]) -> FastAPI:
    store, bundle = fitted
    promote(bundle, store=store)
    return application(store, max_body_bytes=100_000)


def test_a_history_is_answered(app: FastAPI) -> None:
    answer = predict(app, body(horizon=2, level=0.5))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    document = answer.json()
    first, second = document["forecasts"]
    assert first["time"] < second["time"]
    assert first["lower"] < first["mean"] < first["upper"]
    assert (document["interval"], document["warnings"], document["series"]) == ("adaptive", [], None)
    assert document["model"]["promotion"] == 1


@pytest.mark.parametrize("path", ["/predict", "/invocations", "/v2/models/global/infer"])
def test_a_compressed_body_is_refused_by_its_header(app: FastAPI, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    assert ask(app, "POST", path, headers, gzip.compress(b"{}")).status == 415


@pytest.mark.parametrize("scope", ["global", "", None])
def test_a_request_without_a_scope_asks_for_the_global_one(app: FastAPI, scope: str | None) -> None:
    assert predict(app, body(identifier=scope)).json()["forecasts"] == predict(app, body()).json()["forecasts"]


def test_where_nothing_is_global_it_asks_for_the_only_one() -> None:
    experiment, store = small_experiment()
    bundle = fit(store, experiment).bundle_sha256
    promote(bundle, store=store, scope="north")
    one = application(store)
    assert predict(one, body()).status == predict(one, body(identifier="north")).status == 200
    assert predict(one, body(identifier="global")).code == "scope-unknown"
    promote(bundle, store=store, scope="south")
    assert predict(application(store), body()).code == "scope-unknown"


@pytest.mark.parametrize(
    ("keys", "status", "code"),
    [
        ({"identifier": "south"}, 404, "scope-unknown"),
        ({"horizon": 4}, 422, "horizon-out-of-range"),
        ({"level": 0.85}, 422, "unknown-level"),
        ({"rows": 11}, 422, "history-too-short"),
        ({"horizont": 1}, 422, "key-unknown"),
    ],
)
def test_what_does_not_fit_is_a_problem(app: FastAPI, keys: dict[str, Any], status: int, code: str) -> None:
    answer = predict(app, body(**keys))
    assert (answer.status, answer.code) == (status, code)


def test_the_largest_horizon_is_named(app: FastAPI) -> None:
    assert "1 to 3 steps" in predict(app, body(horizon=4)).problem


def test_a_body_is_limited_as_the_settings_say(app: FastAPI) -> None:
    data = json.dumps(body()).encode()
    assert predict(app, data + b" " * (100_000 - len(data))).status == 200
    answer = predict(app, data + b" " * (100_001 - len(data)))
    assert (answer.status, answer.code) == (413, "body-too-large")


def test_where_nothing_is_promoted_the_scope_is_unknown() -> None:
    assert predict(application(), body()).code == "scope-unknown"


def test_the_store_is_not_needed_to_answer(app: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object) -> None:
        raise AssertionError("a request read the store")

    monkeypatch.setattr(ObjectStoreAdapter, "get", away)
    monkeypatch.setattr(ObjectStoreAdapter, "list", away)
    assert predict(app, body()).status == 200


@pytest.mark.parametrize("target", ["/predict", "/invocations"])
def test_a_body_that_does_not_end_gets_no_more_time_than_its_request(app: FastAPI, target: str) -> None:
    headers = {"X-Request-Timeout": "0.05", "Content-Type": "application/json"}
    answer = ask(app, "POST", target, headers, [b"{"], stalls=True)
    assert answer.status == 408
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(("horizon", "status"), [(2, 200), (4, 422)])
def test_what_was_answered_is_freed_without_the_collector(app: FastAPI, horizon: int, status: int) -> None:
    """The collector of garbage took a twelfth of the time of an answer while it had requests to free."""
    request = post("/predict", json.dumps(body(horizon=horizon)).encode())

    async def talk() -> None:
        client, cycles = Talk(app), []
        for _ in range(3):
            client.send(request)
            cycles.append(weakref.ref(client.connection._cycle))
            assert f" {status} ".encode() in (await client.answer())[:20]
        await asyncio.sleep(0.0)
        assert [cycle() for cycle in cycles[:-1]] == [None, None]

    gc.disable()
    try:
        asyncio.run(talk())
    finally:
        gc.enable()
