"""A store whose champion was chosen among many, with everything that a page shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fastapi import FastAPI

from flts.contracts import layout, run_index
from flts.contracts.canonical import digest, sha256
from flts.contracts.ports import Store
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import CandidateRow, DecisionRecord, Preview, UnrankedRow
from flts.contracts.records.log import Kind, LogEntry
from flts.contracts.records.run import JudgePart, RunClaim
from flts.promotion.judge import judge
from flts.promotion.log import next_entry
from flts.promotion.stage import promoted_of
from flts.server.app import create_app
from flts.server.models import Capacity, ServedModels
from flts.server.service import ForecastService
from flts.web.security import Auth
from tests.support.experiments import small_experiment, small_spec
from tests.support.series import hourly
from tests.support.stored import MOMENT, chain, fit, gathered, put_log

ODD = """<b onmouseover="alert(1)">'&amp;"""
"""A name that only escaping keeps from being markup."""


def judged(rows: int = 400, test: int = 60) -> tuple[Store, DecisionRecord]:
    """A fitted ridge and the decision about it, with its preview."""
    experiment, store = small_experiment(small_spec(), hourly(rows), test)
    fit(store, experiment)
    return store, judge(store, experiment, gathered(store, experiment), "global", []).record


def variant(store: Store, decision: DecisionRecord, name: str = "variant", **changes: Any) -> DecisionRecord:
    """The same decision with other fields, under an id of its own, stored with the same preview."""
    preview = require_record(store, layout.preview(decision.scope, decision.decision_id), Preview)
    changes.setdefault("decision_id", digest(name))
    record = decision.model_copy(update={**changes, "preview_sha256": sha256(preview.to_bytes())})
    store.create(layout.preview(record.scope, record.decision_id), preview.to_bytes())
    store.create(layout.decision(record.scope, record.decision_id), record.to_bytes())
    return record


def crowd(decision: DecisionRecord, most: int = 10, reason: str = "TrainingFailed: a reason") -> list[Any]:
    """The candidates of a decision and copies of the first that are worse, the last two without a forecast."""
    first = decision.ranked[0]
    rows: list[Any] = [first]
    for rank in range(2, most - 1):
        worse = {"model": f"model_{rank}", "rank": rank, "score": first.score * rank, "model_hash": digest(rank)}
        rows.append(first.model_copy(update=worse))
    for status, model in (("FAILED", "broken"), ("N/A", "unfit")):
        rows.append(UnrankedRow(status=status, rank=None, model=model, model_hash=digest(model), reason=reason))  # type: ignore[arg-type]
    return rows


def promote(
    store: Store, decision: DecisionRecord, log: Sequence[LogEntry] = (), kind: Kind = "promote", actor: str = "tests"
) -> list[LogEntry]:
    """The log with one more entry, for the winner of a stored decision."""
    assert isinstance(decision.row(decision.winner), CandidateRow)
    stored = store.get(layout.decision(decision.scope, decision.decision_id))
    assert stored is not None
    assert decision.winner is not None
    champion = promoted_of(decision, decision.winner, digest("data"), None)
    entry = next_entry(
        chain(log), decision.scope, kind, champion, decision.decision_id, actor, MOMENT, decision_sha256=sha256(stored)
    )
    if kind == "rollback":
        entry = entry.model_copy(update={"restores": 1})
    put_log(store, [*log, entry])
    return [*log, entry]


def ran(store: Store, decision: DecisionRecord, began: datetime, run: int = 1) -> None:
    """A run of a configuration that came to this decision, in the index and judged."""
    said: Any = {"run": run, "scope": decision.scope, "environment": "tests"}
    at, config_hash = began.isoformat(), decision.config_hash
    claim = RunClaim(
        **said, data_hash=digest("data"), recompute=False, promotion=0, flts="0", started=at, claimed_by="tests"
    )
    run_index.enter(store, config_hash, claim, waits=False)
    judge = JudgePart(
        **said,
        decision_id=decision.decision_id,
        outcome=decision.outcome,
        repeated=False,
        promotion=None,
        run_ids={},
        ended=at,
    )
    store.create(layout.run_part(config_hash, run, "claim"), claim.to_bytes())
    store.create(layout.run_part(config_hash, run, "judge"), judge.to_bytes())


def served(store: Store, token: str | None = None, room: int = 16, auth: Auth | None = None) -> FastAPI:
    """A forecast service on a store, after its first poll. room: models in memory."""
    models = ServedModels(store, capacity=Capacity(models=room))
    models.catch_up()
    return create_app(ForecastService(models), auth=auth or Auth("127.0.0.1", token))
