"""All steps of a run on one machine: `flts run`. The same steps and messages as the services, on a bus in memory."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from flts.contracts import layout
from flts.contracts.errors import StageFailed, UsageError, nearest, without_credentials
from flts.contracts.failpoints import failpoint
from flts.contracts.machine import machine_faults
from flts.contracts.messages import ModelTraining, TrainingData
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record, require_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import JudgePart, Recomputed, TrainPart
from flts.drawing.cell import cell
from flts.drawing.figure import Picture, warm_up
from flts.models.registry import CANDIDATES, require
from flts.preprocess.known import refuse_unknown_place
from flts.preprocess.source import RawInput
from flts.promotion.judge import Waiting
from flts.promotion.leaderboard import as_html, leaderboard
from flts.promotion.log import read_chain
from flts.report.plots import RunPlots
from flts.runner import tell
from flts.runner.candidate import finish_model, recorded
from flts.runner.claim import StartedRun, start
from flts.runner.judgement import JudgedRun, promote_run, record_judgement, tell_tracker
from flts.runner.reporter import Reporter
from flts.runner.stored import load_experiment
from flts.runner.tracking import known_run_id, told_of
from flts.spec.lineage import Identity
from flts.spec.models import ENSEMBLE
from flts.wiring import RunContext, locked_context, open_raw

if TYPE_CHECKING:
    import polars as pl

    from flts.settings import Settings
    from flts.spec.fields import Spec


Kind = Literal["forecast", "models", "error_per_step", "next"]


@dataclass(frozen=True, repr=False)
class RunResult:
    """The outcome of a run. `decision` is the stored record; `promoted` says whether this run changed the champion."""

    config_hash: str
    run: int
    scope: str
    identity: Identity
    decision: DecisionRecord
    promoted: bool
    repeated: bool
    """The decision was in the log before."""
    champion: LogEntry | None
    """The newest log entry after this run; None when nothing was ever promoted."""
    reused: bool
    """Every result was stored before."""
    run_ids: Mapping[str, str | None]
    """Run ids of the tracker, by model."""
    recomputed: Mapping[str, Recomputed | None]
    """How a second fit compared with the stored one, by model."""
    durations_ms: Mapping[str, int | None]
    """By model; None for one without a result."""
    warnings: tuple[str, ...]
    places: Mapping[str, str]
    """Where to look: store, decision, mlflow."""
    store: InitVar[Store]

    def __post_init__(self, store: Store) -> None:
        # no field, so it is in no comparison and in no JSON: it holds the evidence, and is not the outcome
        vars(self)["store"] = store

    def leaderboard(self) -> pl.DataFrame:
        """The scoreboard as a table: one row per model and baseline, best first, those without a forecast last.

        Errors are scaled by the range of the target over train; rmse_TARGET is in original units.
        """
        return leaderboard(self.decision, self.durations_ms)

    def plot(self, kind: Kind = "forecast", *, target: str | None = None) -> Picture:
        """A picture, which a notebook shows and whose method `save` writes it.

        kind: the newest test windows as every model forecast them, all models with their scores, the error of each step
        ahead, or what the best model forecasts next. target: by default the first. Raises UsageError for another kind
        or target, and where nothing can be drawn; MissingExtra without matplotlib.
        """
        store: Store = vars(self)["store"]
        experiment = load_experiment(store, self.config_hash, self.identity.data_hash)
        pictures = RunPlots(store, experiment, self.decision).of_all(target)
        if kind not in pictures:
            raise UsageError(
                f"there is no picture '{kind}' of this run; {nearest(kind, pictures)}",
                code="picture-unknown",
                found=kind,
                valid=sorted(pictures),
            )
        return pictures[kind]()

    def __repr__(self) -> str:
        row = self.decision.row(self.winner)
        best = f"{self.winner} is best, score {row.score:.4f}" if row else "no model has a forecast"
        promoted = "promoted" if self.promoted else "not promoted"
        return f"<RunResult {self.config_hash[:12]} #{self.run} in '{self.scope}': {best}, {promoted}>"

    def _repr_html_(self) -> str:
        sentences = [*self.decision.reasons, *((self.decision.sure,) if self.decision.sure else ())]
        table = as_html(self.leaderboard(), self.winner)
        return cell(f"run {self.run} of {self.config_hash[:12]} in '{self.scope}'", sentences, table, self.plot)

    @property
    def winner(self) -> str | None:
        """Name of the best candidate, promoted or not."""
        return self.decision.winner

    @property
    def nondeterministic(self) -> list[str]:
        """Models whose second fit in the same environment gave another result."""
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
    """From raw rows to a decision. folder: base of the Spec's relative paths; tables: used in place of its files.

    Raises SpecError, DataError, MissingExtra, Locked, BackendUnavailable, Interrupted.
    """
    require(spec.trained)
    if spec.dataset.holidays and any(table.looks_ahead for table in spec.expected.values()):
        refuse_unknown_place(spec.dataset.holidays)
    with locked_context(settings, threads=spec.run.threads, wait=wait) as context:
        raw = tables or open_raw(spec.dataset, folder, settings)
        started = start(context, spec, raw, reporter, recompute=recompute, trains_here=True)
        context.behind = []
        train_all(context, started, reporter)
        judgement = judge(context, started, reporter, actor)
        result = run_result(context, started, judgement.part)
        reporter.judged(result)
        conclude(context, judgement)
        return result


def train_all(context: RunContext, started: StartedRun, reporter: Reporter) -> None:
    """Train all candidates in parallel, the costliest first, until each has ended.

    Raises what must end the run: a lost backend, an interruption, a defect.
    """
    names = sorted(started.experiment.spec.trained, key=lambda name: (-CANDIDATES[name].cost, name))
    _prepare_tracker(context, started, names)
    subscription = context.bus.subscribe([ModelTraining.topic], "evaluate")
    pool = ThreadPoolExecutor(len(names), thread_name_prefix="train")
    futures: list[Future[ModelTraining]] = [
        pool.submit(
            finish_model,
            context,
            started.claim,
            started.experiment,
            name,
            reporter.model(name),
            recompute=started.recompute,
        )
        for name in names
    ]
    ended: set[str] = set()
    try:
        while len(ended) < len(names):
            record = subscription.poll(timeout=0.1)
            for future in futures:
                if future.done():
                    future.result()
            if record is None:
                continue
            message = ModelTraining.parse(record.value)
            subscription.commit(record)
            if message.status != "RUNNING":
                ended.add(message.model)
                reporter.ended(message.model, message)
    finally:
        context.children.cancel()
        pool.shutdown(wait=True, cancel_futures=True)


def judge(context: RunContext, started: StartedRun, reporter: Reporter, actor: str) -> JudgedRun:
    """Judge a run whose candidates have all ended, and promote: the log then names the champion."""
    reporter.stage("evaluate", "running")
    claim = started.claim
    judgement = promote_run(context, started.experiment, claim.identifier, claim.run, actor=actor, known=started.log)
    if isinstance(judgement, Waiting):
        raise StageFailed(
            f"neither a result nor a failure is stored for {', '.join(judgement.missing)}",
            code="result-missing",
            models=list(judgement.missing),
        )
    ensemble = recorded(context.store, claim, ENSEMBLE)
    if ensemble is not None:
        told = tell.ended(claim, ensemble, started.experiment.identity.model_hashes[ENSEMBLE], context.clock.now())
        reporter.ended(ENSEMBLE, told)
    reporter.stage("evaluate", "done", f"{len(started.experiment.windows.indices)} windows")
    return judgement


@machine_faults()
def conclude(context: RunContext, judgement: JudgedRun) -> None:
    """Write the tracked runs of a judged run, then the judge's part. Where that fails, the part says so."""
    told = False
    try:
        failpoint("run.track.before")
        for write in context.behind or ():
            write()
        tell_tracker(context, judgement)
        failpoint("run.track.after")
        told = True
    finally:
        record_judgement(context, judgement, untold=context.tracker is not None and not told)


def run_result(context: RunContext, started: StartedRun, judgement: JudgePart) -> RunResult:
    """The outcome of a judged run, read from the store, whichever process took its steps."""
    store, claim, identity = context.store, started.claim, started.experiment.identity
    parts = {name: _train_part(store, claim, name) for name in identity.model_hashes}
    decision = layout.decision(claim.identifier, judgement.decision_id)
    places = {"store": without_credentials(store.url), "decision": decision}
    if context.tracker:
        places["mlflow"] = without_credentials(context.tracker.uri)
    return RunResult(
        config_hash=claim.config_hash,
        run=claim.run,
        scope=claim.identifier,
        identity=identity,
        decision=require_record(store, decision, DecisionRecord),
        promoted=judgement.outcome == "promote" and not judgement.repeated,
        repeated=judgement.repeated,
        champion=_entry(store, started, judgement.promotion),
        reused=not any(part and part.fitted for part in parts.values()) and not started.unfinished,
        run_ids=judgement.run_ids,
        recomputed={name: part.recomputed if part else None for name, part in parts.items()},
        durations_ms={name: part.duration_ms if part else None for name, part in parts.items()},
        warnings=(*started.meta.warnings, *started.experiment.warnings),
        places=places,
        store=store,
    )


def _prepare_tracker(context: RunContext, started: StartedRun, names: Sequence[str]) -> None:
    """Let tracker and pictures start up while the models are fitted, if any of them will be logged."""
    tracker, claim, hashes = context.tracker, started.claim, started.experiment.identity.model_hashes
    if tracker is None:
        return
    known = {name: known_run_id(context.store, claim, name, hashes[name], tracker.uri) for name in names}
    if not all(run_id and told_of(context.store, claim, name, run_id) for name, run_id in known.items()):
        tracker.prepare(claim.identifier)
        threading.Thread(target=warm_up, name="pictures", daemon=True).start()


def _entry(store: Store, started: StartedRun, number: int | None) -> LogEntry | None:
    """The log entry of this number; reads only entries newer than the start of the run."""
    if number is None:
        return None
    entries = read_chain(store, started.claim.identifier, started.log).entries
    return next((entry for entry in entries if entry.number == number), None)


def _train_part(store: Store, claim: TrainingData, model: str) -> TrainPart | None:
    """The part of a trained model; None for one that failed."""
    return read_record(store, layout.run_part(claim.config_hash, claim.run, f"train-{model}"), TrainPart)
