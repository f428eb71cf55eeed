"""All stages on one machine: `flts run`. The same stage functions and messages as the services, on a bus in memory."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from flts import events, layout
from flts.errors import SpecError, StageFailed
from flts.finish import claim_run, finish_model, record_judgement
from flts.lineage import Identity, canonical_json, identify
from flts.messages import ModelTraining, TrainingData
from flts.models.registry import CANDIDATES, require
from flts.ports import Progress, read_json, write_json_once, write_once
from flts.preprocess import CODE_VERSION
from flts.preprocess.source import RawInput
from flts.preprocess.stage import Prepared, load_dataset, preprocess
from flts.promote.judge import Waiting, gather
from flts.promote.stage import Judged, promote
from flts.tracked import known_run_id
from flts.train.experiment import Experiment, experiment
from flts.train.stage import stored_result
from flts.wiring import VERSIONS, Workplace, locked_workplace, open_raw

if TYPE_CHECKING:
    from flts.settings import Settings
    from flts.spec import Spec


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
    decision: Mapping[str, Any]
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
        name: str | None = self.decision["winner"]
        return name

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
    with locked_workplace(settings, threads=spec.run.threads, wait=wait) as place:
        return _Run(spec, reporter, place, recompute, actor).do(tables or open_raw(spec.dataset, folder))


@dataclass
class _Run:
    """One run: the names every step needs, and the steps in their order."""

    spec: Spec
    reporter: Reporter
    place: Workplace
    recompute: bool
    actor: str

    def do(self, raw: RawInput) -> RunResult:
        store, scope = self.place.store, self.spec.dataset.scope
        if not self.spec.dataset.targets:
            raise SpecError("dataset.targets names no column; name the column to forecast, or several")
        self.reporter.stage("preprocess", "running")
        prepared = preprocess(self.spec, raw, store, CODE_VERSION)
        rows = f"{prepared.meta['train']['rows']:,} train rows, {prepared.meta['test']['rows']:,} test rows"
        self.reporter.stage("preprocess", "reused" if prepared.reused else "done", rows)
        identity = identify(self.spec, prepared.data_hash, VERSIONS)
        dataset = load_dataset(store, prepared.data_hash, tuple(self.spec.dataset.targets))
        subject = experiment(self.spec, identity, dataset)
        waiting = self._unfinished(subject)
        require(waiting)
        key = layout.spec(identity.config_hash)
        write_once(store, key, canonical_json(self.spec.identity()), at="run.spec")
        number = claim_run(self.place, identity.config_hash, scope, identity.data_hash)
        claim = self._publish(prepared, identity, number)
        ended = self._train(claim, subject)
        self.reporter.stage("evaluate", "running")
        judged = self._judge(claim, subject, ended)
        self.reporter.stage("evaluate", "done", f"{len(subject.windows.indices)} windows")
        return self._result(claim, subject, judged, ended, reused=not waiting)

    def _unfinished(self, subject: Experiment) -> list[str]:
        """The models that need a fit or a forecast."""
        return [
            name
            for name, model_hash in subject.identity.model_hashes.items()
            if self.recompute or stored_result(self.place.store, name, model_hash, subject.windows.windows_hash) is None
        ]

    def _publish(self, prepared: Prepared, identity: Identity, number: int) -> TrainingData:
        bucket, _, object_key = layout.meta(prepared.data_hash).partition("/")
        claim = TrainingData(
            ts=self.place.clock.now(),
            identifier=self.spec.dataset.scope,
            config_hash=identity.config_hash,
            data_hash=identity.data_hash,
            run=number,
            bucket=bucket,
            object_key=object_key,
            size=prepared.size,
            sha256=prepared.sha256,
            row_count=prepared.meta["train"]["rows"],
            spec_key=layout.spec(identity.config_hash),
        )
        write_json_once(
            self.place.store,
            layout.run_part(identity.config_hash, number, "preprocess"),
            {
                "v": 1,
                "run": number,
                "scope": claim.identifier,
                "environment": self.place.environment,
                "data_hash": prepared.data_hash,
                "meta_sha256": prepared.sha256,
                "reused": prepared.reused,
                "ended": claim.ts.isoformat(),
            },
            at="run.preprocess",
        )
        self.place.bus.publish(claim.topic, claim.key, claim.to_bytes())
        events.claim_published(
            config_hash=claim.config_hash,
            data_hash=claim.data_hash,
            run=number,
            topic=claim.topic,
            event_id=claim.event_id,
        )
        return claim

    def _train(self, claim: TrainingData, subject: Experiment) -> dict[str, ModelTraining]:
        """All candidates side by side, longest first; returns the last message of each."""
        names = sorted(subject.identity.model_hashes, key=lambda name: (-CANDIDATES[name].cost, name))
        if self.place.tracker and any(
            known_run_id(self.place.store, claim.config_hash, claim.identifier, n, self.place.tracker.uri) is None
            for n in names
        ):
            self.place.tracker.prepare(claim.identifier)
        subscription = self.place.bus.subscribe([ModelTraining.topic], "evaluate")
        pool = ThreadPoolExecutor(len(names), thread_name_prefix="train")
        futures: list[Future[ModelTraining]] = [
            pool.submit(
                finish_model, self.place, claim, subject, name, self.reporter.model(name), recompute=self.recompute
            )
            for name in names
        ]
        ended: dict[str, ModelTraining] = {}
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
                    ended[message.model] = message
                    self.reporter.ended(message.model, message)
        finally:
            self.place.children.cancel()
            pool.shutdown(wait=True, cancel_futures=True)
        return ended

    def _judge(self, claim: TrainingData, subject: Experiment, ended: Mapping[str, ModelTraining]) -> Judged:
        candidates = gather(self.place.store, subject, claim.identifier)
        if isinstance(candidates, Waiting):
            raise StageFailed(f"no result and no reason is stored for {', '.join(candidates.missing)}")
        judged = promote(
            self.place.store,
            self.place.bus,
            self.place.clock,
            subject,
            candidates,
            scope=claim.identifier,
            actor=self.actor,
            run_ids={name: message.run_id for name, message in ended.items()},
        )
        record_judgement(self.place, claim, judged, {name: message.run_id for name, message in ended.items()})
        return judged

    def _result(
        self,
        claim: TrainingData,
        subject: Experiment,
        judged: Judged,
        ended: Mapping[str, ModelTraining],
        *,
        reused: bool,
    ) -> RunResult:
        store = self.place.store
        parts = {
            name: read_json(store, layout.run_part(claim.config_hash, claim.run, f"train-{name}")) or {}
            for name in ended
        }
        places = {"store": store.url, "decision": layout.decision(claim.identifier, judged.decision.decision_id)}
        if self.place.tracker:
            places["mlflow"] = self.place.tracker.uri
        return RunResult(
            config_hash=claim.config_hash,
            run=claim.run,
            scope=claim.identifier,
            identity=subject.identity,
            decision=judged.decision.record,
            promoted=judged.entry is not None and not judged.repeated,
            repeated=judged.repeated,
            champion=judged.champion.model_dump(mode="json") if judged.champion else None,
            reused=reused,
            run_ids={name: message.run_id for name, message in ended.items()},
            recomputed={name: part.get("recomputed") for name, part in parts.items()},
            durations_ms={name: message.duration_ms for name, message in ended.items()},
            warnings=tuple(subject.dataset.meta["warnings"]),
            places=places,
        )
