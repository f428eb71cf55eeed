"""A page asks the store for no more because of promotions, decisions and runs that it does not show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from tests.support.asgi import ask
from tests.support.boards import judged, ran
from tests.support.counted import requests
from tests.support.stored import MOMENT

from flts.contracts import layout, run_index
from flts.contracts.canonical import digest, sha256
from flts.contracts.ports import Store
from flts.contracts.records.log import LogEntry
from flts.promotion.log import Chain, next_entry
from flts.promotion.relay import selected
from flts.promotion.stage import promoted_of
from flts.server.app import create_app
from flts.server.models import ServedModels
from flts.server.service import ForecastService
from flts.web.security import Auth

FEW, MANY = 60, 3000
"""The few are more than a page shows."""
DEEPER = 6
"""Requests for folders of the index that a store with many runs has between its root and a run, and that few lack."""


def grown(count: int) -> Store:
    """So many promotions of a model, and so many decisions that promoted nothing, each with its run."""
    store, decision = judged(300, 60)
    stored = store.get(layout.decision("global", decision.decision_id)) or b""
    assert decision.winner is not None
    champion = promoted_of(decision, decision.winner, digest("data"), None)
    entries: list[LogEntry] = []
    head, named = None, sha256(stored)
    run_index.completed(store)
    for number in range(1, count + 1):
        log = Chain(entries, head)
        entry = next_entry(
            log, "global", "promote", champion, decision.decision_id, "tests", MOMENT, decision_sha256=named
        )
        entries.append(entry)
        head = sha256(entry.to_bytes())
        store.create(layout.log_entry("global", number), entry.to_bytes())
        kept = decision.model_copy(update={"decision_id": digest(number), "outcome": "keep"})
        data = stored.replace(decision.decision_id.encode(), kept.decision_id.encode())
        store.create(layout.decision("global", kept.decision_id), data)
        ran(store, kept, datetime(2026, 1, 1, tzinfo=UTC) + number * timedelta(hours=3), number)
    store.create(layout.scope_pointer("global"), selected(Chain(entries, head), entries[-1]).to_bytes())
    return store


@pytest.fixture(scope="module")
def served() -> Sequence[ServedModels]:
    """The models of two services that have read their logs, and made no page."""
    found = [ServedModels(grown(count)) for count in (FEW, MANY)]
    for models in found:
        models.catch_up()
    return found


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/", 200),
        ("/promotions/global", 200),
        ("/promotions/global?before=59", 200),
        ("/decisions/global", 200),
        ("/decisions/global/3", 200),
        (f"/decisions/global/{digest(7)}x", 404),
        ("/decisions/global/99999", 404),
    ],
)
def test_a_page_costs_the_same_however_much_lies_behind_it(
    target: str, status: int, served: Sequence[ServedModels], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = []
    for models in served:
        app = create_app(ForecastService(models), auth=Auth("127.0.0.1", None))
        with requests(monkeypatch) as counted:
            assert ask(app, "GET", target).status == status
        assert counted
        counts.append(counted)
    few, many = counts
    assert many["get"] == few["get"]
    assert many.total() <= few.total() + DEEPER
    assert many["list"] <= few["list"]
