"""Opens backends from Settings and hands them to the stages; the only importer of `backends`.

`finish_model` is what one candidate goes through, the same for `flts run` and for a worker on a bus.
"""

from __future__ import annotations

import importlib.util
import math
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from flts import events, layout
from flts.errors import DamagedObject, MissingExtra, StageFailed, Terminal, TrainingFailed, UsageError
from flts.evaluate.metrics import Errors, measure
from flts.home import locked, open_home
from flts.lineage import identify
from flts.messages import ModelTraining, TrainingData
from flts.models.registry import versions
from flts.ports import Bus, Clock, Progress, Store, TrackedRun, Tracker, read_json, write_json_once
from flts.preprocess import CODE_VERSION
from flts.preprocess.read import RawInput, locate
from flts.preprocess.stage import load_dataset
from flts.promote.judge import yardstick
from flts.promote.log import Entry
from flts.promote.stage import Judged
from flts.spec import Dataset, Spec
from flts.tracked import Work, candidate_run, failed_run, known_failed_run_id, known_run_id
from flts.train.determinism import cores, processor
from flts.train.experiment import Experiment, experiment
from flts.train.isolate import Children, Claim, train_isolated
from flts.train.stage import Trained, stored_result
from flts.version import __version__

if TYPE_CHECKING:
    from flts.settings import Settings

VERSIONS = versions(CODE_VERSION)


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


@dataclass
class Workplace:
    """What the stages of one process work with."""

    store: Store
    bus: Bus
    tracker: Tracker | None
    clock: Clock
    environment: str
    train_timeout: float
    children: Children

    def close(self) -> None:
        """End what still runs."""
        self.children.cancel()
        if self.tracker is not None:
            self.tracker.close()


@contextmanager
def locked_workplace(settings: Settings, *, threads: int = 1, wait: bool = False) -> Iterator[Workplace]:
    """Everything that `settings` names, opened under the lock of its folder, closed at the end.

    threads: of one trainer; as many trainers as the cores allow run at once.

    Raises UsageError for a folder or store that cannot be used, Locked when another process has it.
    """
    home = open_home(settings.home)
    with locked(home, wait=wait):
        store = open_store(settings.store_url)
        if store.url.startswith("memory:"):
            raise UsageError("store = memory:/// lives in one process, and each model is fitted in one of its own")
        place = Workplace(
            store,
            open_bus(),
            open_tracker(settings),
            SystemClock(),
            settings.environment,
            settings.train_timeout,
            Children(settings.jobs or max(1, cores() // threads)),
        )
        try:
            yield place
        finally:
            place.close()


def open_store(url: str) -> Store:
    """The object store behind a URL."""
    from flts.backends.store import open_store as opened

    return opened(url)


def open_bus() -> Bus:
    """Topics in memory."""
    from flts.backends.bus_memory import MemoryBus

    return MemoryBus()


def open_tracker(settings: Settings) -> Tracker | None:
    """MLflow where it is wanted, or None. Nothing is imported before the first run is logged."""
    installed = importlib.util.find_spec("mlflow") is not None
    if settings.tracking == "off" or (settings.tracking == "auto" and not installed):
        return None
    if not installed:
        raise MissingExtra("tracking = mlflow", "mlflow")
    from flts.backends.tracking import MlflowTracker

    return InOneThread(MlflowTracker(settings.tracking_uri, settings.home.resolve() / "mlflow-artifacts"))


class InOneThread:
    """A Tracker used from many threads through one of its own, beside which the trainers go on."""

    def __init__(self, tracker: Tracker) -> None:
        self._tracker, self.uri = tracker, tracker.uri
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tracker")

    def prepare(self, scope: str) -> None:
        self._thread.submit(self._tracker.prepare, scope)

    def log(self, run: TrackedRun) -> str:
        return self._thread.submit(self._tracker.log, run).result()

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        self._thread.submit(self._tracker.annotate, run_id, metrics, tags).result()

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str) -> None:
        self._thread.submit(self._tracker.promote, scope, run_id, model_type, bundle_sha256).result()

    def close(self) -> None:
        self._thread.submit(self._tracker.close)
        self._thread.shutdown()


def open_raw(dataset: Dataset, folder: Path) -> RawInput:
    """The raw files of a Spec whose relative paths start at `folder`."""
    source = dataset.source
    parts = urlsplit(source)
    if parts.scheme not in {"", "file"}:
        store = open_store(source)
        return locate(dataset, store.get, source)
    place = folder / (unquote(parts.path) if parts.scheme else source)

    def on_disk(name: str) -> Path | None:
        path = place / name
        return path if path.is_file() else None

    return locate(dataset, on_disk, str(place))


def load_experiment(store: Store, config_hash: str, data_hash: str) -> Experiment:
    """An experiment from the store alone. Raises StageFailed when this code would give it another hash."""
    stored = read_json(store, layout.spec(config_hash))
    if stored is None:
        raise DamagedObject(f"{layout.spec(config_hash)} is absent from {store.url}")
    spec = Spec.model_validate(stored)
    identity = identify(spec, data_hash, VERSIONS)
    if identity.config_hash != config_hash:
        raise StageFailed(
            f"this version of flts gives the Spec of {config_hash[:12]}… the hash {identity.config_hash[:12]}…: its"
            " code versions differ from those of whoever claimed the run; use one version of flts everywhere"
        )
    return experiment(spec, identity, load_dataset(store, data_hash, tuple(spec.dataset.targets)))


def claim_run(place: Workplace, config_hash: str, scope: str, data_hash: str) -> int:
    """Take the next free run number of this configuration."""
    number = 1 + sum(key.endswith("/claim.json") for key in place.store.list(layout.runs(config_hash)))
    while True:
        claim = {
            "v": 1,
            "run": number,
            "scope": scope,
            "environment": place.environment,
            "data_hash": data_hash,
            "flts": __version__,
            "started": place.clock.now().isoformat(),
        }
        # the id tells two processes that ask at the same moment apart
        claim["claimed_by"] = uuid.uuid4().hex
        if write_json_once(place.store, layout.run_part(config_hash, number, "claim"), claim, at="run.claim") == claim:
            return number
        number += 1


def record_judgement(place: Workplace, claim: TrainingData, judged: Judged, run_ids: Mapping[str, str | None]) -> None:
    """Tell the tracker what only the judge knows, then write the judge's part of the run."""
    champion = judged.champion
    part = {
        "v": 1,
        "run": claim.run,
        "scope": claim.identifier,
        "environment": place.environment,
        "decision_id": judged.decision.decision_id,
        "outcome": judged.decision.outcome,
        "repeated": judged.repeated,
        "promotion": champion.number if champion else None,
        "run_ids": dict(run_ids),
        "ended": place.clock.now().isoformat(),
    }
    if place.tracker is not None and not _told_before(place.store, claim, part):
        for row in judged.decision.record["candidates"]:
            run_id = run_ids.get(row["model"])
            if run_id is not None and row["rank"] is not None:
                promoted = champion is not None and champion.champion.model_hash == row["model_hash"]
                numbers = ("score", "rank", "skill", "skill_vs_naive")
                metrics = {name: float(row[name]) for name in numbers if row[name] is not None}
                place.tracker.annotate(run_id, metrics, {"flts.promoted": str(promoted).lower()})
        point_tracker(place, champion)
    write_json_once(place.store, layout.run_part(claim.config_hash, claim.run, "judge"), part, at="run.judge")


def point_tracker(place: Workplace, champion: Entry | None) -> None:
    """Make the tracker's alias `champion` follow the log."""
    if place.tracker is not None and champion is not None and champion.champion.run_id is not None:
        promoted = champion.champion
        place.tracker.promote(champion.scope, champion.champion.run_id, promoted.model_type, promoted.bundle_sha256)


def _told_before(store: Store, claim: TrainingData, part: Mapping[str, Any]) -> bool:
    """Whether an earlier judgement of this configuration and scope told the tracker the same."""
    for key in store.list(layout.runs(claim.config_hash)):
        if key.endswith("/judge.json"):
            earlier = read_json(store, key)
            if earlier and all(earlier[name] == part[name] for name in ("scope", "run_ids", "promotion")):
                return True
    return False


def finish_model(
    place: Workplace, claim: TrainingData, subject: Experiment, name: str, progress: Progress, *, recompute: bool
) -> ModelTraining:
    """Train one candidate (or find it trained), score it, track it, record it, and tell the judge.

    A Terminal error becomes a failed candidate with its reason; Transient ones and Interrupted are raised.
    """
    with place.children.places:  # the time of a model counts from here, not from when it queued
        work = Work(claim, subject, name, place.clock.now())
        _tell(place, work, "RUNNING")
        try:
            trained = _train(place, work, progress, recompute=recompute)
            progress.phase("score")
            errors = _score(place.store, work, trained)
        except Terminal as error:
            return _record_failure(place, work, error)
        duration_ms = round((place.clock.now() - work.start).total_seconds() * 1000)
    progress.phase("track")
    run_id = _track(place, work, trained, errors)
    part = {
        **_where(place, work),
        "run_id": run_id,
        "fitted": trained.fitted,
        "recomputed": trained.recomputed,
        "duration_ms": duration_ms,
        "errors": {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse},
    }
    write_json_once(place.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"), part, at="run.train")
    events.train_complete(
        config_hash=claim.config_hash,
        run_id=run_id,
        model_type=name.upper(),
        duration_ms=duration_ms,
        test_rmse=errors.rmse,
        test_mae=errors.mae,
        test_mse=errors.mse,
    )
    return _tell(
        place,
        work,
        "SUCCESS",
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256,
        forecasts_sha256=trained.forecasts_sha256,
        duration_ms=duration_ms,
    )


def _train(place: Workplace, work: Work, progress: Progress, *, recompute: bool) -> Trained:
    """What is stored already, or a fit in a process of its own."""
    claim = work.claim
    if not recompute:
        stored = stored_result(place.store, work.name, work.model_hash, work.subject.windows.windows_hash)
        if stored is not None:
            events.train_skip_duplicate(
                config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash
            )
            return stored
    events.train_start(config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash)
    order = Claim(place.store.url, claim.config_hash, claim.data_hash, work.name, recompute)
    threads = work.subject.spec.run.threads
    return train_isolated(order, threads, place.train_timeout, progress, place.children)


def _score(store: Store, work: Work, trained: Trained) -> Errors:
    """The pure score of what lies in the store; the judge comes to the same figures from the same bytes."""
    subject, task = work.subject, work.subject.task
    forecast = subject.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = subject.windows.truth(subject.dataset, task.horizon)
    errors = measure(truth.values, forecast, yardstick(subject.dataset, task))
    if not math.isfinite(errors.mse):
        raise TrainingFailed("its stored forecasts are not finite")
    return errors


def _track(place: Workplace, work: Work, trained: Trained, errors: Errors) -> str | None:
    """One tracked run per scope, configuration and model; the id of the one that exists already, if any."""
    if place.tracker is None:
        return None
    claim = work.claim
    known = known_run_id(place.store, claim.config_hash, claim.identifier, work.name, place.tracker.uri)
    if known is not None:
        return known
    return place.tracker.log(candidate_run(place.store, work, trained, errors, place.environment, place.clock.now()))


def _record_failure(place: Workplace, work: Work, error: Terminal) -> ModelTraining:
    claim, reason = work.claim, str(error)
    run_id = None
    if place.tracker is not None:
        run_id = known_failed_run_id(place.store, work, error, place.tracker.uri) or place.tracker.log(
            failed_run(work, error, place.environment, place.clock.now())
        )
    record = {**_where(place, work), "class": type(error).__name__, "reason": reason, "run_id": run_id}
    write_json_once(place.store, layout.failure(claim.config_hash, claim.run, work.name), record, at="run.failure")
    events.train_failed(
        config_hash=claim.config_hash, model_type=work.name.upper(), error=type(error).__name__, reason=reason
    )
    return _tell(place, work, "FAILED", run_id=run_id, error=f"{type(error).__name__}: {reason}")


def _where(place: Workplace, work: Work) -> dict[str, Any]:
    """What every part of a run's record says first."""
    return {
        "v": 1,
        "run": work.claim.run,
        "scope": work.claim.identifier,
        "environment": place.environment,
        "model": work.name,
        "model_hash": work.model_hash,
        "tracking_uri": place.tracker.uri if place.tracker else None,
        "started": work.start.isoformat(),
        "ended": place.clock.now().isoformat(),
        "processor": processor(),
    }


def _tell(
    place: Workplace, work: Work, status: Literal["RUNNING", "SUCCESS", "FAILED"], **fields: Any
) -> ModelTraining:
    claim = work.claim
    message = ModelTraining(
        ts=place.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model=work.name,
        model_hash=work.model_hash,
        model_type=work.name.upper(),
        experiment=f"flts/{claim.identifier}",
        status=status,
        **fields,
    )
    place.bus.publish(message.topic, message.key, message.to_bytes())
    return message
