"""The client of the forecast service: what it sends, what it makes of answers, how often it tries again."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import numpy as np
import pandas as pd
import polars as pl
import pytest
from tests.support.experiments import small_experiment
from tests.support.promotions import promote
from tests.support.raising import raises
from tests.support.series import hourly, table
from tests.support.serving import application, predict
from tests.support.stored import fit

import flts
from flts import client as of_client
from flts.client import Forecast, columns_of
from flts.contracts.errors import ClientError, DataError, MissingExtra, RequestRefused, ServiceUnavailable, UsageError

ANSWER: dict[str, Any] = {
    "forecasts": [
        {"time": "2018-02-06T00:00:00+01:00", "target": "load", "mean": 1.5, "lower": 1.0, "upper": None},
        {"time": "2018-02-06T01:00:00+01:00", "target": "load", "mean": 2.5, "lower": None, "upper": 3.0},
    ],
    "interval": "static",
    "warnings": [{"code": "columns-unused", "column": "x", "row": None, "text": "a word"}],
    "series": None,
    "model": {"model_type": "RIDGE", "run_id": None, "model_hash": "m", "config_hash": "c", "promotion": 3},
    "request_id": "20180206-jfk-1",
}
HISTORY = {"time": ["2018-02-05T23:00:00Z"], "load": [1.0]}
Handler = Callable[[httpx.Request], httpx.Response]
Ask = Callable[..., Forecast]


def in_turn(handler: Handler, history: Any = HISTORY, **options: Any) -> Forecast:
    asked = {name: options.pop(name) for name in ("identifier", "horizon", "level", "future") if name in options}
    with flts.Client("http://service:8000/", transport=httpx.MockTransport(handler), **options) as client:
        return client.forecast(history, **asked)


def from_asyncio(handler: Handler, history: Any = HISTORY, **options: Any) -> Forecast:
    asked = {name: options.pop(name) for name in ("identifier", "horizon", "level", "future") if name in options}

    async def ask() -> Forecast:
        transport = httpx.MockTransport(handler)
        async with flts.AsyncClient("http://service:8000/", transport=transport, **options) as client:
            return await client.forecast(history, **asked)

    return asyncio.run(ask())


both = pytest.mark.parametrize("ask", [in_turn, from_asyncio])


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that a client would have waited."""
    waited: list[float] = []

    def slept(seconds: float) -> Awaitable[None]:
        waited.append(seconds)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    monkeypatch.setattr(time, "sleep", waited.append)
    monkeypatch.setattr(asyncio, "sleep", slept)
    monkeypatch.setattr(of_client._CHANCE, "random", lambda: 0.0)
    return waited


def answers(*given: httpx.Response | Exception) -> tuple[Handler, list[httpx.Request]]:
    """Answers in their order, the last one for ever, and the requests that they answered."""
    received: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        received.append(request)
        found = given[min(len(received), len(given)) - 1]
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found.status_code, headers=found.headers, content=found.content)

    return handle, received


def problem(status: int, code: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    headers = {"x-request-id": "an-id", **(headers or {})}
    document = {"type": "about:blank", "title": "", "status": status, "code": code, "detail": f"why {code}"}
    return httpx.Response(status, json=document, headers=headers)


OK = httpx.Response(200, json=ANSWER)


@pytest.mark.parametrize("client", [flts.Client, flts.AsyncClient])
@pytest.mark.parametrize("token", ["secret\n", "secret…", "a\0b"])
def test_a_token_that_no_header_can_hold_is_refused_at_once(
    client: type[flts.Client | flts.AsyncClient], token: str
) -> None:
    with raises(UsageError, code="token-invalid") as caught:
        client("http://service:8000", token=token)
    assert token not in str(caught.value)


@both
def test_a_request_says_what_is_asked_and_an_answer_is_typed(ask: Ask) -> None:
    handle, received = answers(OK)
    forecast = ask(handle, identifier="jfk", horizon=2, level=0.9, token="secret", timeout=7.0)  # noqa: S106
    (request,) = received
    assert (request.method, str(request.url)) == ("POST", "http://service:8000/predict")
    assert json.loads(request.content) == {"history": HISTORY, "identifier": "jfk", "horizon": 2, "level": 0.9}
    assert request.headers["authorization"] == "Bearer secret"
    assert 0.0 < float(request.headers["x-request-timeout"]) <= 7.0
    first, second = forecast.rows
    assert (first.time.utcoffset(), first.target, first.mean, first.lower, first.upper) == (
        timedelta(hours=1),
        "load",
        1.5,
        1.0,
        None,
    )
    assert second.upper == 3.0
    assert (forecast.interval, forecast.request_id) == ("static", "20180206-jfk-1")
    assert (forecast.warnings[0].code, str(forecast.warnings[0])) == ("columns-unused", "a word")
    assert forecast.model.promotion == 3
    frame = forecast.frame()
    assert frame.columns == ["time", "target", "mean", "lower", "upper"]
    assert frame["time"][0] == datetime(2018, 2, 5, 23, tzinfo=UTC)
    assert frame["lower"].to_list() == [1.0, None]


@both
def test_what_is_known_ahead_is_sent_beside_the_history(ask: Ask) -> None:
    handle, received = answers(OK)
    future = {"time": ["2018-02-06T00:00:00Z"], "price": [2.5]}
    ask(handle, future=pl.DataFrame(future))
    assert json.loads(received[0].content) == {"history": HISTORY, "future": future}
    with raises(DataError, code="cell-unfit", column="price", row=1):
        ask(handle, future={"price": [float("inf")]})


def test_what_is_not_asked_is_not_sent() -> None:
    handle, received = answers(OK)
    in_turn(handle)
    assert json.loads(received[0].content).keys() == {"history"}
    assert "authorization" not in received[0].headers


@both
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, RequestRefused), (401, RequestRefused), (404, RequestRefused), (413, RequestRefused), (422, RequestRefused),
     (500, RequestRefused), (504, ServiceUnavailable)],
)  # fmt: skip
def test_an_error_is_that_of_the_problem_document_and_is_not_tried_again(
    ask: Ask, status: int, kind: type[ClientError]
) -> None:
    handle, received = answers(problem(status, "some-code"))
    with raises(kind, code="some-code", status=status) as caught:
        ask(handle)
    assert len(received) == 1
    assert (caught.value.status, caught.value.detail, caught.value.request_id) == (status, "why some-code", "an-id")


@both
def test_a_service_that_is_busy_is_asked_again_after_the_pause_that_it_names(ask: Ask, pauses: list[float]) -> None:
    busy = problem(429, "queue-full", {"Retry-After": "2"})
    handle, received = answers(busy, httpx.ConnectError("refused"), OK)
    assert ask(handle).request_id == "20180206-jfk-1"
    assert (len(received), pauses) == (3, [2.0, 0.4])


@both
def test_it_is_asked_so_often_and_no_more(ask: Ask, pauses: list[float]) -> None:
    handle, received = answers(problem(503, "no-model-loaded", {"Retry-After": "1"}))
    with raises(ServiceUnavailable, code="no-model-loaded"):
        ask(handle, retries=3)
    assert (len(received), pauses) == (4, [1.0, 1.0, 1.0])
    handle, received = answers(httpx.ConnectError("refused"))
    with raises(ServiceUnavailable, code="no-answer") as caught:
        ask(handle, retries=0)
    assert (len(received), caught.value.status) == (1, None)


@both
def test_a_pause_beyond_the_end_of_the_call_is_not_waited_for(ask: Ask, pauses: list[float]) -> None:
    handle, received = answers(problem(503, "no-model-loaded", {"Retry-After": "9"}))
    with raises(ServiceUnavailable, code="no-model-loaded"):
        ask(handle, timeout=5.0)
    assert (len(received), pauses) == (1, [])


@both
def test_an_answer_that_does_not_come_is_not_waited_for_twice(ask: Ask, pauses: list[float]) -> None:
    handle, received = answers(httpx.ReadTimeout("slow"))
    with raises(ServiceUnavailable, code="no-answer"):
        ask(handle)
    assert (len(received), pauses) == (1, [])


@pytest.mark.parametrize(
    "answer", [httpx.Response(502, text="<html>"), httpx.Response(502, json=[]), httpx.Response(502, json={})]
)
def test_an_answer_of_a_proxy_is_an_error_too(answer: httpx.Response) -> None:
    handle, _ = answers(answer)
    with raises(ServiceUnavailable, code="http-502", status=502):
        in_turn(handle)


@pytest.mark.parametrize(
    "answer", [httpx.Response(200, text="<html>"), httpx.Response(200, json=[]), httpx.Response(200, json={})]
)
def test_an_answer_that_is_no_forecast_is_an_error(answer: httpx.Response) -> None:
    handle, _ = answers(answer)
    with raises(RequestRefused, code="no-forecast", status=200):
        in_turn(handle)


def test_what_a_newer_service_says_beside_a_forecast_is_left_out() -> None:
    newer = {**ANSWER, "more": 1, "model": {**ANSWER["model"], "more": 1}}
    handle, _ = answers(httpx.Response(200, json=newer))
    assert in_turn(handle).model.promotion == 3


TIME = datetime(2018, 2, 5, 23, tzinfo=UTC)
SENT = {"time": ["2018-02-05T23:00:00+00:00", "2018-02-06T00:00:00+00:00"], "load": [1.5, None], "n": [1, 2]}
TIMES = [TIME, TIME + timedelta(hours=1)]
NAN = float("nan")


@pytest.mark.parametrize(
    "history",
    [
        {"time": TIMES, "load": [1.5, NAN], "n": (1, 2)},
        {"time": TIMES, "load": [np.float32(1.5), np.float64(NAN)], "n": [np.int64(1), 2]},
        {"time": TIMES, "load": np.array([1.5, NAN]), "n": np.array([1, 2])},
        pl.DataFrame({"time": TIMES, "load": [1.5, None], "n": [1, 2]}),
        pd.DataFrame({"time": TIMES, "load": [1.5, NAN], "n": [1, 2]}),
        pd.DataFrame({"load": [1.5, NAN], "n": [1, 2]}, index=pd.DatetimeIndex(TIMES)),
    ],
    ids=["lists", "scalars", "arrays", "polars", "pandas", "index"],
)
def test_a_history_of_any_kind_is_sent_alike(history: Any) -> None:
    found = dict(columns_of(history))
    assert [datetime.fromisoformat(time) for time in found.pop("time")] == TIMES
    assert found == {"load": [1.5, None], "n": [1, 2]}
    json.dumps(found)


def test_a_time_keeps_its_nanoseconds() -> None:
    frame = pl.DataFrame({"time": [1_000_000_001]}).select(pl.col("time").cast(pl.Datetime("ns")))
    assert columns_of(frame)["time"] == ["1970-01-01T00:00:01.000000001"]


@pytest.mark.parametrize(
    "history", [{"load": [float("inf")]}, {"load": [object()]}, "rows.csv", 7, {"load": [{1: 2, (1, 2): 3}]}]
)
def test_what_cannot_be_sent_is_told(history: Any) -> None:
    handle, received = answers(OK)
    with pytest.raises(DataError, match="history"):
        in_turn(handle, history)
    assert received == []


def test_without_httpx_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with raises(MissingExtra, code="missing-extra", extra="client"):
        flts.Client()


def test_the_service_answers_it() -> None:
    experiment, store = small_experiment()
    promote(fit(store, experiment).bundle_sha256, store=store, scope="north")
    app = application(store, request_seconds=60.0)
    frame = table(hourly(300)[200:270])
    history = {**frame.to_dict(as_series=False), "time": [f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in frame["time"]]}

    async def ask() -> Forecast:
        async with flts.AsyncClient("http://127.0.0.1", transport=httpx.ASGITransport(app), timeout=60.0) as client:
            with raises(RequestRefused, code="scope-unknown", status=404):
                await client.forecast(frame, identifier="south")
            return await client.forecast(frame.with_columns(more=1), horizon=2)

    forecast = asyncio.run(ask())
    rows = predict(app, {"history": history, "horizon": 2}).json()["forecasts"]
    assert [(row.time.isoformat(), row.mean, row.lower) for row in forecast.rows] == [
        (row["time"], row["mean"], row["lower"]) for row in rows
    ]
    assert [warning.code for warning in forecast.warnings] == ["columns-unused"]
