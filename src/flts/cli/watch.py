"""A run that services work on, as `flts run` shows one of its own: its progress, then what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from flts import layout
from flts.messages import ModelTraining
from flts.ports import read_json
from flts.promote.log import read_log

if TYPE_CHECKING:
    from flts.messages import TrainingData
    from flts.pipeline import Reporter, RunResult
    from flts.train.experiment import Experiment
    from flts.wiring import Workplace

EVERY = 0.2
"""Seconds between two looks at the store."""


def wait_for_judgement(
    place: Workplace, claim: TrainingData, subject: Experiment, shown: Reporter, alive: Callable[[], None]
) -> RunResult:
    """Look until the run of a claim is judged. alive: raises when what works on it has ended."""
    ended: dict[str, ModelTraining] = {}
    for name in subject.identity.model_hashes:
        shown.model(name).phase("fit")
    judge: Mapping[str, Any] | None = None
    while judge is None:
        for name in subject.identity.model_hashes.keys() - ended.keys():
            message = _outcome(place, claim, subject, name)
            if message is not None:
                ended[name] = message
                shown.ended(name, message)
                if len(ended) == len(subject.identity.model_hashes):
                    shown.stage("evaluate", "running")
        judge = read_json(place.store, layout.run_part(claim.config_hash, claim.run, "judge"))
        if judge is None:
            alive()
            time.sleep(EVERY)
    shown.stage("evaluate", "done", f"{len(subject.windows.indices)} windows")
    return _result(place, claim, subject, judge)


def _outcome(place: Workplace, claim: TrainingData, subject: Experiment, name: str) -> ModelTraining | None:
    """What a trainer wrote down of a model, as the message that it sent."""
    part = read_json(place.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"))
    failure = None if part else read_json(place.store, layout.failure(claim.config_hash, claim.run, name))
    if part is None and failure is None:
        return None
    return ModelTraining(
        ts=place.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model=name,
        model_hash=subject.identity.model_hashes[name],
        model_type=name.upper(),
        status="SUCCESS" if part else "FAILED",
        run_id=(part or failure or {}).get("run_id"),
        duration_ms=part["duration_ms"] if part else None,
        error=f"{failure['class']}: {failure['reason']}" if failure else None,
    )


def _result(place: Workplace, claim: TrainingData, subject: Experiment, judge: Mapping[str, Any]) -> RunResult:
    """The same as `flts run` returns, from the store alone."""
    from flts.pipeline import RunResult

    store = place.store
    decision = layout.decision(claim.identifier, judge["decision_id"])
    parts = {
        name: read_json(store, layout.run_part(claim.config_hash, claim.run, f"train-{name}")) or {}
        for name in subject.identity.model_hashes
    }
    record = read_json(store, decision)
    log = read_log(store, claim.identifier)
    champion = log[judge["promotion"] - 1].model_dump(mode="json") if judge["promotion"] else None
    return RunResult(
        config_hash=claim.config_hash,
        run=claim.run,
        scope=claim.identifier,
        identity=subject.identity,
        decision=record,
        promoted=judge["outcome"] == "promote" and not judge["repeated"],
        repeated=judge["repeated"],
        champion=champion,
        reused=not any(part.get("fitted") for part in parts.values()),
        run_ids=judge["run_ids"],
        recomputed={name: part.get("recomputed") for name, part in parts.items()},
        durations_ms={name: part.get("duration_ms") for name, part in parts.items()},
        warnings=tuple(subject.dataset.meta["warnings"]),
        places={"store": store.url, "decision": decision, **({"mlflow": place.tracker.uri} if place.tracker else {})},
    )
