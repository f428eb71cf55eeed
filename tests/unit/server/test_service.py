"""A forecast over HTTP from its head to its log line: ids, deadlines, refusals, and which model answers."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Any

import pytest
from fastapi import FastAPI
from tests.support.asgi import Answer, ask
from tests.support.promotions import promote, two_bundles
from tests.support.series import hourly, table

from flts.contracts import events
from flts.contracts.request_ids import parse_request_id
from flts.server.app import create_app
from flts.server.models import ServedModels
from flts.server.service import ForecastService, ModelTurns, model_turns
from flts.server.turns import Turns
from flts.web.security import Auth


@cache
def body() -> bytes:
    rows = table(hourly(40)).to_dict(as_series=False)
    return json.dumps({"history": {**rows, "time": [f"{time.isoformat()}Z" for time in rows["time"]]}}).encode()


class Served:
    """A service whose scope `global` has a champion, and the events that it logs."""

    def __init__(self, **options: Any) -> None:
        self.store, *self.bundles = two_bundles()
        promote(self.bundles[0], store=self.store)
        models = ServedModels(self.store)
        models.catch_up()
        self.models, self.service = models, ForecastService(models, **options)
        self.logged: list[events.Event] = []
        self.app: FastAPI = create_app(
            self.service, auth=Auth("127.0.0.1", None), emit=lambda make: self.logged.append(make())
        )

    def predict(self, headers: dict[str, str] | None = None, content: bytes | None = None) -> Answer:
        return ask(self.app, "POST", "/predict", headers, content or body())


@pytest.fixture(autouse=True)
def _logging(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "wanted", lambda: True)


def test_an_answer_has_one_id_in_its_head_its_body_and_its_log_line() -> None:
    served = Served()
    answer = served.predict({"X-Request-Id": "order-17"})
    assert answer.status == 200
    name = answer.headers["x-request-id"]
    found = parse_request_id(name)
    assert found is not None
    assert found.scope == "global"
    assert answer.json()["request_id"] == name
    (line,) = served.logged
    assert isinstance(line, events.ForecastServed)
    assert (line.request_id, line.caller_id, line.scope, line.promotion) == (name, "order-17", "global", 1)
    assert (line.received, line.sent) == (len(body()), len(answer.body))
    assert line.duration_ms is not None
    assert line.duration_ms > 0
    assert answer.headers["x-caller-request-id"] == "order-17"


def test_a_refusal_is_a_problem_document_and_an_ordinary_line() -> None:
    served = Served()
    answer = served.predict(content=b'{"history": {"time": ["2018-02-05T00:00:00Z"]}}')
    assert answer.status == 422
    assert answer.code == "columns-missing"
    (line,) = served.logged
    assert isinstance(line, events.RequestServed)
    assert (line.status, line.route, line.request_id) == (422, "/predict", answer.headers["x-request-id"])


def test_other_methods_and_paths_take_the_way_of_the_framework() -> None:
    served = Served()
    assert ask(served.app, "GET", "/predict").status == 405
    assert ask(served.app, "POST", "/predict/").status == 404
    assert ask(served.app, "GET", "/healthz").status == 200


def test_the_checks_of_every_request_hold_for_forecasts() -> None:
    served = Served()
    assert served.predict({"Host": "flts.example"}).status == 421
    assert (
        ask(create_app(served.service, auth=Auth("127.0.0.1", "secret")), "POST", "/predict", body=body()).status == 401
    )


def test_an_expired_request_is_answered_with_504_and_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(request_seconds=1e-9)
    computed = []
    monkeypatch.setattr("flts.server.questions.quick_together", lambda *asked: computed.append(asked))
    answer = served.predict()
    assert (answer.status, answer.code) == (504, "deadline-passed")
    assert computed == []


def test_a_full_queue_is_answered_with_429_before_the_body_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = model_turns(1)
    served = Served(turns=turns)
    monkeypatch.setattr(turns, "_depth", 1)
    answer = served.predict(content=b"not read")
    assert (answer.status, answer.code) == (429, "queue-full")
    assert int(answer.headers["retry-after"]) >= 1


def test_an_answer_names_the_model_that_made_it_whatever_is_promoted_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = Served()
    before = served.predict().json()
    taken = Turns.take

    async def promoted_meanwhile(turns: ModelTurns, *arguments: Any) -> Any:
        promote(*served.bundles, store=served.store)
        await asyncio.to_thread(served.models.catch_up)
        return await taken(turns, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Turns, "take", promoted_meanwhile)
        during = served.predict().json()
    after = served.predict().json()
    assert [answer["model"]["promotion"] for answer in (before, during, after)] == [1, 1, 2]
    assert during["forecasts"] == before["forecasts"] != after["forecasts"]


def test_many_requests_at_once_get_what_each_gets_alone() -> None:
    served, answers = Served(), []
    rows = json.loads(body())["history"]
    bodies = [
        json.dumps({"history": {name: column[:end] for name, column in rows.items()}, "level": level}).encode()
        for end in range(20, 40)
        for level in (0.5, 0.9)
    ]
    alone = [served.predict(content=one).json()["forecasts"] for one in bodies]

    async def together() -> None:
        answers.extend(await asyncio.gather(*(_post(served.app, one) for one in bodies)))

    asyncio.run(together())
    assert [json.loads(one) for one in answers if b"forecasts" not in one] == []
    for one, other in zip(answers, alone, strict=True):
        for mine, theirs in zip(json.loads(one)["forecasts"], other, strict=True):
            assert mine["time"] == theirs["time"]
            assert [mine[name] for name in ("mean", "lower", "upper")] == pytest.approx(
                [theirs[name] for name in ("mean", "lower", "upper")], rel=1e-6
            )


async def _post(app: FastAPI, content: bytes) -> bytes:
    sent: list[bytes] = []
    scope: Any = {
        "type": "http",
        "method": "POST",
        "http_version": "1.1",
        "scheme": "http",
        "path": "/predict",
        "raw_path": b"/predict",
        "query_string": b"",
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
        "headers": [(b"host", b"127.0.0.1"), (b"content-length", str(len(content)).encode())],
        "state": {},
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": content, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    await app(scope, receive, send)
    return b"".join(sent)
