"""What the service says of itself: its models, whether it is ready, its queue, its version, its metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from tests.support.asgi import Answer, ask
from tests.support.promotions import off_by, promote, two_bundles
from tests.support.series import hourly, table

from flts.contracts.notices import Notice
from flts.contracts.ports import Store
from flts.contracts.records.log import Promoted
from flts.preprocess.source import RawTable
from flts.serve.answer import answer
from flts.server.app import create_app
from flts.server.models import Capacity, ServedModels
from flts.server.service import ForecastService
from flts.server.wanted import Answered
from flts.version import __version__
from flts.web.security import Auth

TOKEN = {"Authorization": "Bearer secret"}


@dataclass(frozen=True)
class Served:
    """A service on a store, in this process."""

    app: FastAPI
    models: ServedModels

    def get(self, target: str, headers: dict[str, str] | None = None) -> Answer:
        return ask(self.app, "GET", target, TOKEN if headers is None else headers)


def serving(store: Store, *scopes: str, capacity: Capacity | None = None) -> Served:
    models = ServedModels(store, scopes, capacity or Capacity(pause=1e-9))
    return Served(create_app(ForecastService(models), auth=Auth("127.0.0.1", "secret")), models)


def samples(page: str) -> dict[tuple[str, ...], float]:
    """The samples of a page by name and values of their labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_the_model_of_a_scope_is_described_with_what_a_history_has_to_hold() -> None:
    store, first, second = two_bundles()
    (entry,) = promote(first, store=store, scope="north")
    served = serving(store)
    served.models.catch_up()
    shown = served.get("/model?identifier=north").json()
    champion = entry.champion.model_dump(exclude={"weights"})
    assert {name: shown[name] for name in Promoted.model_fields if name != "weights"} == champion
    assert (shown["scope"], shown["promotion"], shown["newest_promotion"], shown["loaded"]) == ("north", 1, 1, True)
    assert (shown["kind"], shown["actor"], shown["stale"]) == ("promote", "tests", None)
    assert shown["needs"] == {
        "time_column": "time",
        "columns": ["load", "wind"],
        "future": [],
        "targets": ["load"],
        "step": "1h",
        "timezone": "UTC",
        "horizon": 3,
        "min_history_rows": served.models.served["north"].champion.bundle.manifest.min_history_rows,
        "history_rows": served.models.served["north"].champion.bundle.rows_used,
    }
    assert shown["trained_until"].endswith("+00:00")
    assert served.get("/model?identifier=").json() == shown
    promote(first, off_by(store, second, 1.0), store=store, scope="north")
    served.models.catch_up()
    stale = served.get("/model?identifier=north").json()
    assert (stale["promotion"], stale["newest_promotion"]) == (1, 2)
    assert (stale["stale"]["promotion"], stale["stale"]["code"]) == (2, "self-test-failed")
    assert "self-test" in stale["stale"]["reason"]
    assert stale["stale"]["since"] > shown["since"]


def test_without_an_identifier_every_scope_is_listed_with_those_that_wait() -> None:
    store, first, second = two_bundles()
    promote(first, store=store, scope="a")
    promote(second, store=store, scope="b")
    promote(off_by(store, second, 1.0), store=store, scope="c")
    served = serving(store, capacity=Capacity(models=2))
    served.models.catch_up()
    shown = served.get("/model").json()
    assert [(one["scope"], one["loaded"]) for one in shown["models"]] == [("a", True), ("b", True)]
    assert shown["waiting"] == [{"scope": "c", "newest_promotion": 1, "stale": None}]
    refused = served.get("/model?identifier=c")
    assert (refused.status, refused.code) == (503, "no-model-loaded")


@pytest.mark.parametrize(("identifier", "status"), [("south", 404), ("a" * 300, 404), ("../x", 404)])
def test_an_unknown_scope_is_a_problem(identifier: str, status: int) -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    served = serving(store)
    served.models.catch_up()
    assert served.get(f"/model?identifier={identifier}").status == status


def test_readiness_is_that_of_the_first_models_and_stays() -> None:
    store, first, second = two_bundles()
    promote(first, store=store)
    served = serving(store)
    before = served.get("/readyz", {})
    assert (before.status, before.code, before.headers["retry-after"]) == (503, "no-model-loaded", "5")
    assert "no model is loaded yet (GET /model says why)" in before.problem
    assert served.get("/healthz", {}).status == 200
    served.models.catch_up()
    assert served.get("/readyz", {}).json() == {"status": "ready"}
    promote(first, off_by(store, second, 1.0), store=store)
    served.models.catch_up()
    assert served.models.served["global"].stale_since is not None
    assert served.get("/readyz", {}).status == 200


def test_reload_asks_for_a_poll_at_once() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    served = serving(store)
    assert ask(served.app, "POST", "/reload").status == 401
    assert not served.models.asked.is_set()
    answer = ask(served.app, "POST", "/reload", TOKEN)
    assert (answer.status, answer.json()) == (202, {"status": "polling"})
    assert served.models.asked.is_set()


def test_the_queue_is_that_of_the_service() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    served = serving(store)
    assert served.get("/queue", {}).status == 401
    assert served.get("/metrics", {}).status == 401
    assert served.get("/queue").json().keys() == {"depth", "limit", "in_flight"}


def test_the_version_is_that_of_the_package() -> None:
    assert serving(two_bundles()[0]).get("/version", {}).json() == {"service": "serve", "flts": __version__}


# metrics


def test_metrics_follow_what_is_served() -> None:
    store, first, second = two_bundles()
    entries = promote(first, store=store, scope="north")
    served = serving(store)
    assert ("flts_serve_promotion", "north") not in samples(served.get("/metrics").body.decode())
    served.models.catch_up()
    found = samples(served.get("/metrics").body.decode())
    model_hash = entries[0].champion.model_hash[:12]
    assert found["flts_serve_model_info", "yes", model_hash, "RIDGE", "north"] == 1
    assert found["flts_serve_promotion", "north"] == found["flts_serve_newest_promotion", "north"] == 1
    assert found["flts_serve_stale", "north"] == 0
    assert ("flts_serve_stale_since_seconds", "north") not in found
    assert found["flts_serve_self_test_seconds", "north"] > 0
    assert found["flts_serve_model_age_seconds", "north"] > 0
    assert found["flts_serve_train_age_seconds", "north"] > 0
    assert found["flts_serve_self_tests_total", "passed"] == 1
    assert found["flts_serve_followed_age_seconds",] >= 0
    promote(first, off_by(store, second, 1.0), store=store, scope="north")
    served.models.catch_up()
    found = samples(served.get("/metrics").body.decode())
    assert (found["flts_serve_promotion", "north"], found["flts_serve_newest_promotion", "north"]) == (1, 2)
    assert found["flts_serve_stale", "north"] == 1
    assert found["flts_serve_stale_since_seconds", "north"] == served.models.served["north"].stale_since
    assert found["flts_serve_self_tests_total", "failed"] == 1


def test_refused_requests_are_counted_by_their_code() -> None:
    served = serving(two_bundles()[0])
    served.models.catch_up()
    for headers in ({}, TOKEN):
        served.get("/model?identifier=x", headers)
    served.get("/nothing")
    found = samples(served.get("/metrics").body.decode())
    refused = {key[1]: value for key, value in found.items() if key[0] == "flts_serve_refused_total"}
    assert refused == {"token-needed": 1, "scope-unknown": 1, "not-found": 1}


def test_answers_outside_the_training_range_and_waits_are_counted() -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    served = serving(store)
    served.models.catch_up()
    metrics: Any = served.app.state.metrics
    found = answer(served.models.served["global"].champion.bundle, RawTable.of("history", table(hourly(290))))
    for notices in ((), (Notice("outside-training-range", "x", "load", 3), Notice("newest-empty", "y", "load"))):
        changed = type(found)(**{**vars(found), "warnings": notices})
        metrics.answered(Answered(changed, served.models.served["global"], "id"))
    metrics.waited(0.003)
    metrics.lag = lambda: 0.25
    counted = samples(served.get("/metrics").body.decode())
    assert counted["flts_serve_outside_training_range_total", "global"] == 1
    assert counted["flts_serve_queue_seconds_count",] == 1
    assert counted["flts_serve_queue_seconds_sum",] == 0.003
    assert counted["flts_serve_loop_lag_seconds",] == 0.25


def test_the_document_describes_every_answer_of_these_routes() -> None:
    described = serving(two_bundles()[0]).app.openapi()
    paths = described["paths"]
    assert paths["/model"]["get"]["responses"].keys() == {"200", "401", "403", "404", "421", "429", "503"}
    assert paths["/reload"]["post"]["responses"].keys() == {"202", "401", "403", "421", "429"}
    assert paths["/queue"]["get"]["responses"]["200"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/QueueState"
    }
    assert {"ServedModel", "ModelList", "Stale", "Needs", "Problem"} <= described["components"]["schemas"].keys()


@pytest.mark.parametrize("target", ["/readyz", "/ping", "/health", "/v2/health/ready"])
def test_a_service_that_was_asked_to_stop_is_not_ready(target: str) -> None:
    store, first, _ = two_bundles()
    promote(first, store=store)
    served = serving(store)
    served.models.catch_up()
    assert served.get(target, {}).status == 200
    served.app.state.stopping = lambda: True
    assert served.get(target, {}).status == 503
    assert served.get("/healthz", {}).status == 200
