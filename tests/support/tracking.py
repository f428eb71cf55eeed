"""A tracker that records its calls, and a context around it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from flts.backends.bus_memory import MemoryBus
from flts.contracts.errors import StageFailed
from flts.contracts.messages import ModelTraining, TrainingData
from flts.contracts.ports import Bus, SeenRun, Store, TrackedRun, Tracker
from flts.train.experiment import Experiment
from flts.train.isolate import Children
from flts.wiring import RunContext
from tests.support.stored import StoppedClock


class RecordingTracker:
    """A Tracker in memory. Run ids are run-1, run-2, …"""

    def __init__(self, uri: str = "memory:tracker") -> None:
        self.uri = uri
        self.prepared: list[str] = []
        self.runs: list[TrackedRun] = []
        self.annotations: list[tuple[str, Mapping[str, float], Mapping[str, str]]] = []
        self.promotions: list[tuple[str, str, str, str, str]] = []
        self.closed = 0
        self.threads: set[int] = set()

    def prepare(self, scope: str) -> None:
        self.threads.add(threading.get_ident())
        self.prepared.append(scope)

    def reserve(self) -> str | None:
        """Nothing: it gives ids itself, as a server does."""

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        self.threads.add(threading.get_ident())
        self.runs.append(run)
        return f"run-{len(self.runs)}"

    def first_run(self, tags: Mapping[str, str], other_than: Mapping[str, str]) -> str | None:
        self.threads.add(threading.get_ident())
        named = ((f"run-{number}", run) for number, run in enumerate(self.runs, 1) if run.status == "FINISHED")
        same = ((run_id, run) for run_id, run in named if tags.items() <= run.tags.items())
        return next((run_id for run_id, run in same if not other_than.items() & run.tags.items()), None)

    def annotate(self, run_id: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        self.threads.add(threading.get_ident())
        self.annotations.append((run_id, metrics, tags))

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str, entry_sha256: str) -> None:
        self.threads.add(threading.get_ident())
        self.promotions.append((scope, run_id, model_type, bundle_sha256, entry_sha256))

    def look(self, run_id: str) -> SeenRun | None:
        number = int(run_id.removeprefix("run-"))
        if number > len(self.runs):
            return None
        return _seen(self.runs[number - 1])

    def champion(self, scope: str) -> Mapping[str, str] | None:
        named = [
            {"flts.bundle_sha256": bundle, "flts.entry_sha256": entry}
            for where, _, _, bundle, entry in self.promotions
            if where == scope
        ]
        return named[-1] if named else None

    def check(self) -> None:
        """Always there."""

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed += 1


def _seen(run: TrackedRun) -> SeenRun:
    return SeenRun(f"flts/{run.scope}", run.status, run.tags, run.metrics, run.started_ms, run.ended_ms)


class ReservingTracker(RecordingTracker):
    """A RecordingTracker whose ids are known before its runs, as those of an embedded database: id-1, id-2, …

    It refuses as many calls as `away` says, at the first call that logs a run or registers a champion.
    """

    def __init__(self, away: int = 0) -> None:
        super().__init__()
        self.reserved, self.under, self.away = 0, dict[str, TrackedRun](), away

    def reserve(self) -> str | None:
        self.reserved += 1
        return f"id-{self.reserved}"

    def log(self, run: TrackedRun, run_id: str | None = None) -> str:
        assert run_id is not None
        self._refuse()
        super().log(run)
        self.under[run_id] = run
        return run_id

    def promote(self, scope: str, run_id: str, model_type: str, bundle_sha256: str, entry_sha256: str) -> None:
        self._refuse()
        super().promote(scope, run_id, model_type, bundle_sha256, entry_sha256)

    def look(self, run_id: str) -> SeenRun | None:
        run = self.under.get(run_id)
        return None if run is None else _seen(run)

    def _refuse(self) -> None:
        if self.away:
            self.away -= 1
            raise StageFailed("the tracker is away", code="tracker-failed")


def context_of(store: Store, tracker: Tracker | None = None) -> RunContext:
    """What the stages work with, on a bus in memory and under a clock that stands still."""
    return RunContext(store, MemoryBus(), tracker, StoppedClock(), "here", 60.0, Children(2))


def claim_of(experiment: Experiment, run: int = 1, scope: str = "global") -> TrainingData:
    """The message that starts a run."""
    identity = experiment.identity
    return TrainingData(
        ts=StoppedClock().now(),
        identifier=scope,
        config_hash=identity.config_hash,
        data_hash=identity.data_hash,
        run=run,
        bucket="processed-data",
        object_key=f"{identity.data_hash}/meta.json",
        size=1,
        sha256="0" * 64,
        row_count=1,
        spec_key=f"specs/{identity.config_hash}.json",
    )


def told(bus: Bus) -> list[ModelTraining]:
    """Every message of the trainers so far."""
    return [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]
