"""A store that takes no more writes, from each write of a run on: nothing is judged, and the run goes on afterwards."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.services import QUICK, all_services, claim_of_rows, context_on, serving, start_run, wait_until
from tests.support.stored import results

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import open_store
from flts.contracts import layout
from flts.contracts.errors import MachineFailed
from flts.contracts.listing import Listed
from flts.contracts.messages import TOPICS, PerformanceEval, TrainingData
from flts.contracts.ports import Progress, Store
from flts.promotion.log import read_log
from flts.runner import candidate
from flts.runner.services.letters import letters
from flts.runner.stored import load_experiment
from flts.train.isolate import Children, Claim
from flts.train.stage import Trained, model_spec, train
from flts.wiring import RunContext

pytestmark = [pytest.mark.slow, pytest.mark.long]


class Full(Listed):
    """A store that refuses every write from the n-th on, as a full disk or one mounted for reading does."""

    def __init__(self, store: Store, writes: float) -> None:
        self._store, self._left, self.written, self._lock = store, writes, 0, threading.Lock()
        self.url = store.url

    def _write(self) -> None:
        with self._lock:
            if self._left <= 0:
                raise MachineFailed("no space left", code="disk-full")
            self._left, self.written = self._left - 1, self.written + 1

    def get(self, key: str) -> bytes | None:
        return self._store.get(key)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def list(self, prefix: str) -> Sequence[str]:
        return self._store.list(prefix)

    def create(self, key: str, data: bytes) -> bool:
        self._write()
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        self._write()
        self._store.replace(key, data)

    def erase(self, key: str) -> None:
        self._write()
        self._store.erase(key)


def fit_here(context: RunContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fit in this process, so that a fit meets the same store."""

    def fitted(order: Claim, threads: int, limit: float, progress: Progress, children: Children) -> Trained:
        experiment = load_experiment(context.store, order.config_hash, order.data_hash)
        model = model_spec(experiment.spec, experiment.identity, order.model)
        return train(experiment.dataset, model, experiment.windows, context.store, progress, recompute=order.recompute)

    monkeypatch.setattr(candidate, "train_isolated", fitted)


def run_and_answer(context: RunContext, bus: MemoryBus, claims: list[TrainingData]) -> None:
    """A run and a batch through all services; claims: that of the run, which is made where there is none.

    Raises MachineFailed where the store refuses a write.
    """
    with serving(context, all_services(context), QUICK) as stop:
        if not claims:
            claims.append(start_run(context, small_spec()))
        judged = layout.run_part(claims[0].config_hash, claims[0].run, "judge")
        wait_until(lambda: stop.is_set() or context.store.exists(judged), "the judgement")
        if stop.is_set():
            return
        claim = claim_of_rows(context.store, context.clock.now())
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: stop.is_set() or bus.lag(claim.topic, "forecast") == 0, "the answer")


def test_no_write_that_fails_makes_a_failed_model_a_dead_letter_or_another_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at(name: str, writes: float, bus: MemoryBus) -> RunContext:
        context = context_on(Full(open_store((tmp_path / name).as_uri()), writes), bus)
        fit_here(context, monkeypatch)
        return context

    bus = MemoryBus()
    undisturbed = at("undisturbed", float("inf"), bus)
    run_and_answer(undisturbed, bus, [])
    expected = results(undisturbed.store)
    assert isinstance(undisturbed.store, Full)
    for writes in range(undisturbed.store.written):
        bus, claims = MemoryBus(), list[TrainingData]()
        with pytest.raises(MachineFailed):
            run_and_answer(at(f"full-{writes}", writes, bus), bus, claims)
        healed = at(f"full-{writes}", float("inf"), bus)
        run_and_answer(healed, bus, claims)
        assert results(healed.store) == expected, writes
        assert not [key for key in healed.store.list("runs/") if "/failures/" in key], writes
        assert not [letter for topic in TOPICS for letter in letters(bus, topic)], writes
        assert len(read_log(healed.store, "global")) == 1, writes
        answers = {PerformanceEval.parse(record.value).event_id for record in bus.records(PerformanceEval.topic)}
        assert len(answers) == 1, writes
