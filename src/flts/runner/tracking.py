"""What the tracker holds of one candidate. It is a view for people: no decision reads it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from flts.contracts import layout, runs
from flts.contracts.errors import Terminal
from flts.contracts.ports import Store, TrackedRun, Tracker
from flts.contracts.records.base import require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.run import FailurePart, JudgePart, MessageRef, RunStatus, TrainPart, status_of
from flts.evaluate.metrics import Errors
from flts.forecasting.bundle import MANIFEST, read_bundle
from flts.models.registry import CANDIDATES, package_of
from flts.report import plots
from flts.runner.tell import RunOf
from flts.spec.fields import Spec
from flts.train.experiment import Experiment
from flts.train.stage import Trained
from flts.version import __version__

REASON = 4000
"""Characters of a reason that every MLflow version keeps uncut."""
ENDED = ("FINISHED", "FAILED")
"""How a run ends that is whole; one that a killed process left open is KILLED, as is a model that does not apply."""


@dataclass(frozen=True)
class Work:
    """One candidate of one claim, when work on it started, and the message that asked for it on a broker."""

    claim: RunOf
    experiment: Experiment
    name: str
    model_hash: str
    """Under which its result lies; of an ensemble, another hash than that of the experiment."""
    start: datetime
    message: MessageRef | None = None


def known_run_id(store: Store, claim: RunOf, model: str, model_hash: str, tracking_uri: str) -> str | None:
    """The newest tracked run of this model in the scope and configuration of a run, on this tracker."""
    parts = runs.parts(store, claim.config_hash, f"train-{model}", TrainPart)
    same = (claim.identifier, model_hash, tracking_uri)
    mine = (part.run_id for part in parts if (part.scope, part.model_hash, part.tracking_uri) == same)
    return next((run_id for run_id in mine if run_id), None)


def known_failed_run_id(store: Store, work: Work, error: Terminal, tracking_uri: str) -> str | None:
    """The tracked run in which this candidate failed before for the same reason."""
    parts = runs.parts(store, work.claim.config_hash, f"failures/{work.name}", FailurePart)
    same = (work.claim.identifier, tracking_uri, type(error).__name__, str(error))
    mine = (part.run_id for part in parts if (part.scope, part.tracking_uri, part.error, part.reason) == same)
    return next((run_id for run_id in mine if run_id), None)


def told_of(store: Store, claim: RunOf, model: str, run_id: str) -> bool:
    """Whether the tracker has this run whole: a judge's part that names it is written after that."""
    parts = runs.parts(store, claim.config_hash, "judge", JudgePart)
    return any(part.run_ids.get(model) == run_id and not part.untold for part in parts)


def log_unless_ended(tracker: Tracker, run_id: str, make: Callable[[], TrackedRun]) -> None:
    """Write a run under its id, unless the process that chose the id has done so."""
    seen = tracker.look(run_id)
    if seen is None or seen.status not in ENDED:
        tracker.log(make(), run_id)


def fitted_run_id(store: Store, tracker: Tracker, work: Work) -> str | None:
    """The tracked run in which this model was fitted: one of this configuration, else one that the tracker finds.

    The store has no index from a model to its runs, and a search through the runs of all configurations would grow with
    their number. The tracker has such an index: its tags.
    """
    parts = runs.parts(store, work.claim.config_hash, f"train-{work.name}", TrainPart)
    fitted = (part.run_id for part in parts if part.fitted and part.model_hash == work.model_hash)
    run_id = next((run_id for run_id in fitted if run_id), None)
    if run_id is not None:
        return run_id
    # a tracked run of this configuration without a part was logged just before a crash: it is the run in hand
    same, other = {"flts.store": store.url, "flts.model_hash": work.model_hash}, work.claim.config_hash
    return tracker.first_run(same, other_than={"flts.config_hash": other})


def candidate_run(
    store: Store,
    work: Work,
    trained: Trained,
    errors: Errors,
    environment: str,
    now: datetime,
    original: str | None,
) -> TrackedRun:
    """A finished candidate: parameters, errors, loss per epoch, the bundle itself and its pictures.

    original: the run in which it was fitted, if that was an earlier one.
    """
    manifest, files = read_bundle(store, trained.bundle_sha256)
    bundle = {MANIFEST: manifest.to_bytes(), **files}
    tags = _tags(store, work, environment)
    tags |= {"flts.bundle_sha256": trained.bundle_sha256, "flts.forecasts_sha256": trained.forecasts_sha256}
    if original is not None:
        tags["flts.reused_run_id"] = original
    metrics = {f"test_{name}": value for name, value in errors.pooled().items() if value is not None}
    single = len(errors.units) == 1
    for target, of_target in errors.units.items():
        metrics |= {f"test_{name}_units{'' if single else f'_{target}'}": value for name, value in of_target.items()}
    scaler = {column.name: {"center": column.center, "scale": column.scale} for column in manifest.fitted.columns}
    meta = require_record(store, layout.meta(work.claim.data_hash), ProcessedMeta)
    artifacts = {
        "scaler/scaler.json": _readable(scaler),
        "preprocess/preprocess_config.json": _readable(meta.made_of.model_dump(mode="json")),
    }
    values = work.experiment.forecasts(store, trained.model_hash, trained.forecasts_sha256)
    kept = plots.kept_of(work.experiment, work.name.upper(), values, trained.curve)
    artifacts |= {f"plots/{kind}.png": picture.png for kind, picture in kept.items()}
    models = sorted(manifest.members or [work.name])
    return replace(
        _run(work, "FINISHED", tags, metrics, now),
        curve=trained.curve,
        bundle=bundle,
        artifacts=artifacts,
        extra=",".join(sorted({extra for name in models if (extra := CANDIDATES[name].extra)})) or None,
        packages=[f"{package['package']}=={package['release']}" for package in filter(None, map(package_of, models))],
    )


def failed_run(store: Store, work: Work, error: Terminal, environment: str, now: datetime) -> TrackedRun:
    """A candidate without a forecast, and why. NotApplicable is tracked as KILLED, because it is not a failure."""
    tags = _tags(store, work, environment) | {"flts.error": type(error).__name__, "flts.reason": str(error)[:REASON]}
    return _run(work, status_of(type(error).__name__), tags, {}, now)


def _run(
    work: Work, status: RunStatus, tags: Mapping[str, str], metrics: Mapping[str, float], now: datetime
) -> TrackedRun:
    """What the runs of candidates with and without a bundle have in common."""
    spec = work.experiment.spec
    return TrackedRun(
        scope=work.claim.identifier,
        model_type=work.name.upper(),
        status=status,
        tags=tags,
        parameters=_parameters(spec, work.name),
        metrics=metrics,
        dataset={
            "name": spec.dataset.name or spec.dataset.train_file or "table",
            "digest": work.claim.data_hash[:32],
            "source": layout.meta(work.claim.data_hash),
        },
        started_ms=_milliseconds(work.start),
        ended_ms=_milliseconds(now),
        extra=None,
        columns=work.experiment.dataset.fitted.names,
        curve=(),
        bundle=None,
        artifacts={},
    )


def _parameters(spec: Spec, model: str) -> Mapping[str, object]:
    """The Spec's parameters of this candidate: its table, the task and the sampling."""
    fields = spec.identity()
    table, task, sample = fields["models"][model], fields["task"], fields["sample"]
    named = table | task | {f"sample_{name}": value for name, value in sample.items()}
    return {**named, "targets": ",".join(spec.dataset.targets), "seed": spec.run.seed}


def _tags(store: Store, work: Work, environment: str) -> dict[str, str]:
    """Tags that identify this run, so that it can be found again after a crash."""
    return {
        "flts.store": store.url,
        "flts.config_hash": work.claim.config_hash,
        "flts.data_hash": work.claim.data_hash,
        "flts.model_hash": work.model_hash,
        "flts.version": __version__,
        "flts.environment": environment,
    }


def _readable(value: object) -> bytes:
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False).encode()


def _milliseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
