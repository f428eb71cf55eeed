"""Results and promotions in a store, written without the process of a trainer."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from flts.backends.store import memory_store
from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.listing import Listed
from flts.contracts.ports import DatedStore, Store
from flts.contracts.records.log import LogEntry, Promoted
from flts.contracts.records.model import MadeOn, ModelResult
from flts.contracts.records.run import FailurePart, RunClaim, ScaledErrors, TrainPart
from flts.evaluate.case import Candidate
from flts.evaluate.metrics import measure
from flts.forecasting.answers import Answers
from flts.forecasting.bundle import MANIFEST, read_bundle
from flts.forecasting.intervals import LEVELS
from flts.preprocess.rows import Values
from flts.preprocess.source import RawInput, RawTable
from flts.promotion.judge import Waiting, gather, yardstick
from flts.promotion.log import Chain, next_entry
from flts.runner.claim import prepare
from flts.spec.fields import Spec
from flts.train.experiment import Experiment
from flts.train.stage import Trained, commit_forecasts, model_spec, stored_result, train

GOLDEN = Path(__file__).parents[1] / "golden"
OBJECTS = ".flts/objects/"

FITTED: dict[tuple[str, str], tuple[Trained, Mapping[str, bytes]]] = {}
"""What a fit returned and stored, by the hashes of its model and its windows."""
MOMENT = "2026-01-02T03:04:05+00:00"
"""The time of everything written here."""


def as_json(store: Store, key: str) -> Any:
    """A stored JSON object; None when it is absent."""
    data = store.get(key)
    return None if data is None else json.loads(data)


class StoppedClock:
    """Always the same moment, so that two runs can be compared byte for byte."""

    def now(self) -> datetime:
        return datetime.fromisoformat(MOMENT)


class Watched(Listed):
    """A store that calls back before an object is created or replaced, and records every call."""

    def __init__(self, store: Store, before: Callable[[str], None] = lambda key: None) -> None:
        self._store, self._before, self.url = store, before, store.url
        self.written: list[str] = []
        self.read: list[str] = []
        self.listed: list[str] = []

    def get(self, key: str) -> bytes | None:
        self.read.append(key)
        return self._store.get(key)

    def create(self, key: str, data: bytes) -> bool:
        self._before(key)
        self.written.append(key)
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        self._before(key)
        self.written.append(key)
        self._store.replace(key, data)

    def erase(self, key: str) -> None:
        self._before(key)
        self.written.append(key)
        self._store.erase(key)

    def exists(self, key: str) -> bool:
        return self._store.exists(key)

    def list(self, prefix: str) -> Sequence[str]:
        self.listed.append(prefix)
        return self._store.list(prefix)


def contents(store: Store, prefix: str = "") -> dict[str, bytes]:
    """Every object under a prefix."""
    return {key: store.get(key) or b"" for key in store.list(prefix)}


def copy(source: Store, target: Store) -> None:
    """Every object of one store into another."""
    for key, data in contents(source).items():
        target.create(key, data)


def golden_store(archive: str = "store-1.zip") -> DatedStore:
    """A copy of the objects of a stored folder; by default one that the version before wrote."""
    store = memory_store()
    with ZipFile(GOLDEN / archive) as opened:
        for name in opened.namelist():
            if name.startswith(OBJECTS) and not name.endswith("/"):
                store.create(name.removeprefix(OBJECTS), opened.read(name))
    return store


def experiment_on(spec: Spec, train_table: Any, test_table: Any) -> tuple[Experiment, Store]:
    """An experiment on two tables in a memory store, or on one whose last rows are the test."""
    store = memory_store()
    test = None if test_table is None else RawTable.of("test", test_table)
    return prepare(store, spec, RawInput(RawTable.of("train", train_table), test))[1], store


def fit(store: Store, experiment: Experiment, name: str = "ridge") -> Trained:
    """Train a model of the experiment in this process.

    The same model on the same windows is fitted once for all tests: what that stored is stored again.
    """
    model = model_spec(experiment.spec, experiment.identity, name)
    made_before = FITTED.get((model.model_hash, experiment.windows.windows_hash))
    if made_before is not None and not store.exists(layout.model_result(model.model_hash)):
        trained, objects = made_before
        for key, data in objects.items():
            store.create(key, data)
        return trained
    before = {*store.list("")}
    trained = train(experiment.dataset, model, experiment.windows, store)
    if trained.fitted:
        objects = {key: data for key, data in contents(store).items() if key not in before}
        FITTED[model.model_hash, experiment.windows.windows_hash] = trained, objects
    return trained


def gathered(store: Store, experiment: Experiment, scope: str = "global") -> list[Candidate]:
    """The candidates of an experiment, none of which is awaited."""
    candidates = gather(store, experiment, scope)
    assert not isinstance(candidates, Waiting)
    return candidates


def without(store: Store, *keys: str) -> Store:
    """A copy that lacks some objects."""
    other = memory_store()
    for key, data in contents(store).items():
        if key not in keys:
            other.create(key, data)
    return other


def truth(experiment: Experiment) -> Values:
    """The truth of the test windows."""
    return experiment.windows.truth(experiment.dataset, experiment.task.horizon).values


def put_model(store: Store, experiment: Experiment, name: str, bundle_sha256: str) -> None:
    """The commit point of a model that was never fitted."""
    model_hash = experiment.identity.model_hashes[name]
    fitted = store.exists(layout.bundle(bundle_sha256, MANIFEST))
    result = ModelResult(
        model=name,
        model_hash=model_hash,
        bundle_sha256=bundle_sha256,
        validation_sha256=digest([name, "validation"]),
        chosen=read_bundle(store, bundle_sha256)[0].chosen if fitted else {},
        refit=True,
        curve=[],
        made_on=MadeOn(libraries={}, processor="tests"),
    )
    store.replace(layout.model_result(model_hash), result.to_bytes())


def put_forecasts(store: Store, experiment: Experiment, name: str, mean: Values) -> None:
    """Test forecasts of a model, with bounds three below and above."""
    model_hash = experiment.identity.model_hashes[name]
    half = {f"{level:g}": np.full(mean.shape, 3.0) for level in LEVELS}
    answers = Answers(mean, np.ones((len(mean), mean.shape[2])), half, np.zeros(len(mean), dtype=bool), ())
    commit_forecasts(answers, experiment.task, model_hash, experiment.windows, store, experiment.dataset)


def put_result(
    store: Store, experiment: Experiment, name: str, bundle_sha256: str, error: float, seed: int = 0
) -> None:
    """A finished model whose forecasts are off by normal errors of this standard deviation."""
    noise = np.random.default_rng([seed, sum(map(ord, name))]).normal(0.0, error, truth(experiment).shape)
    put_model(store, experiment, name, bundle_sha256)
    put_forecasts(store, experiment, name, np.nan_to_num(truth(experiment), nan=50.0) + noise)


def put_claim(store: Store, experiment: Experiment, run: int = 1, scope: str = "global") -> None:
    """A numbered run."""
    claim = RunClaim(
        run=run,
        scope=scope,
        environment="tests",
        data_hash=experiment.identity.data_hash,
        recompute=False,
        promotion=0,
        flts="0",
        started=MOMENT,
        claimed_by=str(run),
    )
    store.create(layout.run_part(experiment.identity.config_hash, run, "claim"), claim.to_bytes())


def put_failure(
    store: Store,
    experiment: Experiment,
    name: str,
    run: int = 1,
    error: str = "TrainingFailed",
    reason: str = "a reason",
) -> None:
    """The failure of a model in a run."""
    part = FailurePart(
        run=run,
        scope="global",
        environment="tests",
        model=name,
        started=MOMENT,
        ended=MOMENT,
        error=error,
        reason=reason,
        run_id=None,
    )
    store.create(layout.failure(experiment.identity.config_hash, run, name), part.to_bytes())


def put_train_part(
    store: Store, experiment: Experiment, run: int, name: str, run_id: str | None = None, **changes: Any
) -> None:
    """The record of a trainer about a model, with the errors of its stored forecasts."""
    fields: dict[str, Any] = {
        "run": run,
        "scope": "global",
        "environment": "tests",
        "model": name,
        "model_hash": experiment.identity.model_hashes[name],
        "tracking_uri": None,
        "run_id": run_id,
        "started": MOMENT,
        "ended": MOMENT,
        "processor": "tests",
        "fitted": True,
        "recomputed": None,
        "duration_ms": 1,
    }
    part = TrainPart(**{**fields, "errors": _errors(store, experiment, name), **changes})
    store.create(layout.run_part(experiment.identity.config_hash, run, f"train-{name}"), part.to_bytes())


def _errors(store: Store, experiment: Experiment, name: str) -> ScaledErrors:
    model_hash, windows_hash = experiment.identity.model_hashes[name], experiment.identity.windows_hash
    trained = stored_result(store, name, model_hash, windows_hash)
    assert trained is not None
    forecast = experiment.forecasts(store, model_hash, trained.forecasts_sha256)["y_hat"]
    found = measure(truth(experiment), forecast, yardstick(experiment.dataset, experiment.task))
    return ScaledErrors(rmse=found.rmse, mae=found.mae, mse=found.mse)


def promoted(model: str, config: str = "config", **changes: Any) -> Promoted:
    """A model as the log records it; its hashes are derived from its name."""
    fields: dict[str, Any] = {
        "config_hash": digest(config),
        "data_hash": digest("data"),
        "model_hash": digest(model),
        "model": model,
        "model_type": model.upper(),
        "bundle_sha256": digest([model, "bundle"]),
        "run_id": None,
        "model_uri": f"store:bundles/{digest([model, 'bundle'])}",
        "score": 0.1,
        "rmse": 0.2,
        "mae": 0.3,
        "mse": 0.4,
        "weights": {"rmse": 0.5, "mae": 0.3, "mse": 0.2},
    }
    return Promoted(**{**fields, **changes})


def chain(entries: Sequence[LogEntry]) -> Chain:
    """A log in which these entries are stored as this version writes them."""
    return Chain(entries, sha256(entries[-1].to_bytes()) if entries else None)


def grow(
    entries: list[LogEntry], model: str, kind: Any = "promote", *, scope: str = "global", config: str = "config"
) -> LogEntry:
    """Append an entry to a list; its decision_id is derived from its number."""
    champion, time = promoted(model, config), f"2026-01-02T03:04:{len(entries):02}+00:00"
    entry = next_entry(chain(entries), scope, kind, champion, digest(len(entries)), "tests", time)
    entries.append(entry)
    return entry


def put_log(store: Store, entries: Sequence[LogEntry]) -> None:
    """Write the entries that the store does not have yet."""
    for entry in entries:
        store.create(layout.log_entry(entry.scope, entry.number), entry.to_bytes())


def results(store: Store, scope: str = "global") -> Mapping[str, bytes]:
    """Every object that depends only on the Spec and the rows; all others contain times, places or actors."""
    prefixes = ("processed-data/", "specs/", "bundles/", "models/", f"model-promotion/{scope}/decisions/")
    return {key: data for key, data in contents(store).items() if key.startswith(prefixes)}
