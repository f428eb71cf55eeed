"""Answers of the forecast service without a server: a small champion, and histories it is asked with."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

import polars as pl
from structlog.testing import capture_logs

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.ports import Store
from flts.contracts.request_ids import new_request_id, parse_request_id, uuid7
from flts.preprocess.rows import Rows
from flts.preprocess.source import RawTable
from flts.runner.services.forecast import lines_of_batch
from flts.serve.answer import answer, rows_for, usable_history
from flts.serve.batch import forecast_batch
from flts.serve.follow import Champion, champion_of
from flts.server.prediction_log import line
from flts.server.served import Served
from flts.server.wanted import Answered


@dataclass(frozen=True)
class Asked:
    """A request that was answered."""

    answered: Answered
    level: float


class Server:
    """The champion of a scope, ready to answer."""

    def __init__(self, store: Store, scope: str = "global") -> None:
        self.store, self.scope = store, scope
        with capture_logs():  # an earlier test may have closed the stream of the events
            self.champion: Champion = champion_of(store, scope)
        self._entry_sha256 = sha256(store.get(layout.log_entry(scope, self.champion.entry.number)) or b"")

    def ask(self, history: pl.DataFrame, level: float = 0.8, request_id: str | None = None) -> Asked:
        """The answer to a history."""
        made = answer(self.champion.bundle, history, level)
        served = Served(self.scope, self.champion, 0.0, self._entry_sha256)
        return Asked(Answered(made, served, request_id or new_request_id(self.scope)), level)

    def rows(self, history: Any) -> Rows:
        """The rows of a history that the champion uses."""
        return usable_history(self.champion.bundle, RawTable.of("history", history))[0]

    def all_rows(self, table: Any) -> Rows:
        """All rows of a table as the champion reads a history."""
        return rows_for(self.champion.bundle, RawTable.of("table", table))


def put_answers(store: Store, *asked: Asked, rows: Rows | None = None) -> str:
    """Store the lines of these answers as one part; returns its key."""
    made = {one.answered.request_id: line(one.answered, one.level, rows) for one in asked}
    lines = [made[one.answered.request_id] for one in asked]
    named = parse_request_id(asked[0].answered.request_id)
    assert named is not None
    key = layout.inference_log(named.scope, named.day, uuid7())
    store.create(key, b"".join(lines))
    return key


def put_batch(store: Store, server: Server, table: pl.DataFrame) -> str:
    """Store the answer to a batch as the service `forecast` does; returns its request id."""
    request_id = str(uuid.uuid4())
    batch = forecast_batch(server.champion.bundle, server.all_rows(table))
    key = layout.inference_log(server.scope, "20260102", request_id)
    store.create(key, lines_of_batch(batch, server.champion, request_id))
    return request_id
