"""All stages on one machine: `flts run`. The same stage functions and messages as the services, on a bus in memory."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flts.contracts import layout
from flts.contracts.errors import StageFailed
from flts.contracts.messages import ModelTraining, TrainingData
from flts.contracts.ports import Progress, Store, read_json
from flts.contracts.records.base import require_record
from flts.contracts.records.decision import DecisionRecord
from flts.models.registry import CANDIDATES, require
from flts.preprocess.source import RawInput
from flts.promotion.judge import Waiting
from flts.promotion.log import read_log
from flts.runner.candidate import finish_model
from flts.runner.claim import begin, prepare
from flts.runner.judgement import judge_run
from flts.runner.tracking import known_run_id
from flts.spec.lineage import Identity
from flts.train.experiment import Experiment
from flts.train.stage import stored_result
from flts.wiring import RunContext, locked_context, open_raw

if TYPE_CHECKING:
    from flts.settings import Settings
    from flts.spec.fields import Spec


class Reporter(Protocol):
    """Who is told how the run goes; the command line shows it, a program may ignore it."""

    def stage(self, name: str, state: str, detail: str = "") -> None:
        """A stage started, or ended with this detail."""

    def model(self, name: str) -> Progress:
        """Where the progress of a model goes."""

    def ended(self, name: str, message: ModelTraining) -> None:
        """A model has a result or a reason."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to. `decision` is the stored record; `promoted` says whether this run changed the champion."""

    config_hash: str
    run: int
    scope: str
    identity: Identity
    decision: DecisionRecord
    promoted: bool
    repeated: bool
    champion: Mapping[str, Any] | None
    reused: bool
    run_ids: Mapping[str, str | None]
    recomputed: Mapping[str, str | None]
    durations_ms: Mapping[str, int | None]
    warnings: tuple[str, ...]
    places: Mapping[str, str]

    @property
    def winner(self) -> str | None:
        """Name of the best candidate, promoted or not."""
        return self.decision.winner

    @property
    def nondeterministic(self) -> list[str]:
        """Models that a second fit in the same environment gave another result for."""
        return [name for name, verdict in self.recomputed.items() if verdict == "nondeterminism_detected"]


def run(
    spec: Spec,
    settings: Settings,
    reporter: Reporter,
    *,
    folder: Path,
    tables: RawInput | None = None,
    recompute: bool = False,
    wait: bool = False,
    actor: str = "flts run",
) -> RunResult:
    """From raw rows to a decision. `folder`: what relative paths of the Spec start at; `tables` replace its files.

    Raises SpecError, DataError, MissingExtra, Locked, BackendUnavailable, Interrupted.
    """
    require(sorted(spec.expected))
    with locked_context(settings, threads=spec.run.threads, wait=wait) as context:
        return _Run(spec, reporter, context, recompute, actor).do(tables or open_raw(spec.dataset, folder, settings))


@dataclass
class _Run:
    """One run: the names every step needs, and the steps in their order."""

    spec: Spec
    reporter: Reporter
    context: RunContext
    recompute: bool
    actor: str

    def do(self, raw: RawInput) -> RunResult:
        self.reporter.stage("preprocess", "running")
        prepared, experiment = prepare(self.context, self.spec, raw)
        rows = f"{prepared.meta.train.rows:,} train rows, {prepared.meta.test.rows:,} test rows"
        self.reporter.stage("preprocess", "reused" if prepared.reused else "done", rows)
        waiting = self._unfinished(experiment)
        claim = begin(self.context, experiment, prepared, recompute=self.recompute)
        self._train(claim, experiment)
        self.reporter.stage("evaluate", "running")
        self._judge(claim, experiment)
        self.reporter.stage("evaluate", "done", f"{len(experiment.windows.indices)} windows")
        return replace(run_result(self.context, claim, experiment), reused=not waiting)

    def _unfinished(self, experiment: Experiment) -> list[str]:
        """The models that need a fit or a forecast."""
        return [
            name
            for name, model_hash in experiment.identity.model_hashes.items()
            if self.recompute
            or stored_result(self.context.store, name, model_hash, experiment.windows.windows_hash) is None
        ]

    def _train(self, claim: TrainingData, experiment: Experiment) -> None:
        """All candidates side by side, longest first, until each has ended."""
        names = sorted(experiment.identity.model_hashes, key=lambda name: (-CANDIDATES[name].cost, name))
        if self.context.tracker and any(
            known_run_id(self.context.store, claim.config_hash, claim.identifier, n, self.context.tracker.uri) is None
            for n in names
        ):
            self.context.tracker.prepare(claim.identifier)
        subscription = self.context.bus.subscribe([ModelTraining.topic], "evaluate")
        pool = ThreadPoolExecutor(len(names), thread_name_prefix="train")
        futures: list[Future[ModelTraining]] = [
            pool.submit(
                finish_model, self.context, claim, experiment, name, self.reporter.model(name), recompute=self.recompute
            )
            for name in names
        ]
        ended: set[str] = set()
        try:
            while len(ended) < len(names):
                record = subscription.poll(timeout=0.1)
                for future in futures:
                    if future.done():
                        future.result()  # raises what must end the run: a lost backend, an interruption, a defect
                if record is None:
                    continue
                message = ModelTraining.parse(record.value)
                subscription.commit(record)
                if message.status != "RUNNING":
                    ended.add(message.model)
                    self.reporter.ended(message.model, message)
        finally:
            self.context.children.cancel()
            pool.shutdown(wait=True, cancel_futures=True)

    def _judge(self, claim: TrainingData, experiment: Experiment) -> None:
        judged = judge_run(self.context, experiment, claim.identifier, claim.run, actor=self.actor)
        if isinstance(judged, Waiting):
            raise StageFailed(f"no result and no reason is stored for {', '.join(judged.missing)}")


def run_result(context: RunContext, claim: TrainingData, experiment: Experiment) -> RunResult:
    """What a judged run came to, from the store alone, whoever did its stages."""
    store = context.store
    judge = _part(store, claim, "judge")
    parts = {name: _part(store, claim, f"train-{name}") for name in experiment.identity.model_hashes}
    decision = layout.decision(claim.identifier, judge["decision_id"])
    champion = read_log(store, claim.identifier)[judge["promotion"] - 1] if judge["promotion"] else None
    places = {"store": store.url, "decision": decision}
    if context.tracker:
        places["mlflow"] = context.tracker.uri
    return RunResult(
        config_hash=claim.config_hash,
        run=claim.run,
        scope=claim.identifier,
        identity=experiment.identity,
        decision=require_record(store, decision, DecisionRecord),
        promoted=judge["outcome"] == "promote" and not judge["repeated"],
        repeated=judge["repeated"],
        champion=champion.model_dump(mode="json") if champion else None,
        reused=not any(part.get("fitted") for part in parts.values()),
        run_ids=judge["run_ids"],
        recomputed={name: part.get("recomputed") for name, part in parts.items()},
        durations_ms={name: part.get("duration_ms") for name, part in parts.items()},
        warnings=tuple(experiment.dataset.meta.warnings),
        places=places,
    )


def _part(store: Store, claim: TrainingData, part: str) -> dict[str, Any]:
    """A part of the run's record; empty where a model has none, because it failed."""
    return read_json(store, layout.run_part(claim.config_hash, claim.run, part)) or {}
