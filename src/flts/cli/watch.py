"""A run that services work on, as `flts run` shows one of its own: its progress, then what it came to."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from flts.contracts import layout
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import read_json
from flts.runner.local import run_result

if TYPE_CHECKING:
    from flts.contracts.messages import TrainingData
    from flts.runner.local import Reporter, RunResult
    from flts.train.experiment import Experiment
    from flts.wiring import RunContext

EVERY = 0.2
"""Seconds between two looks at the store."""


def wait_for_judgement(
    context: RunContext, claim: TrainingData, experiment: Experiment, shown: Reporter, alive: Callable[[], None]
) -> RunResult:
    """Look until the run of a claim is judged. alive: raises when what works on it has ended."""
    ended: dict[str, ModelTraining] = {}
    for name in experiment.identity.model_hashes:
        shown.model(name).phase("fit")
    judged = layout.run_part(claim.config_hash, claim.run, "judge")
    while True:
        for name in experiment.identity.model_hashes.keys() - ended.keys():
            message = _outcome(context, claim, experiment, name)
            if message is not None:
                ended[name] = message
                shown.ended(name, message)
                if len(ended) == len(experiment.identity.model_hashes):
                    shown.stage("evaluate", "running")
        if context.store.exists(judged):
            break
        alive()
        time.sleep(EVERY)
    shown.stage("evaluate", "done", f"{len(experiment.windows.indices)} windows")
    return run_result(context, claim, experiment)


def _outcome(context: RunContext, claim: TrainingData, experiment: Experiment, name: str) -> ModelTraining | None:
    """What a trainer wrote down of a model, as the message that it sent."""
    part = read_json(context.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"))
    failure = None if part else read_json(context.store, layout.failure(claim.config_hash, claim.run, name))
    if part is None and failure is None:
        return None
    return ModelTraining(
        ts=context.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model=name,
        model_hash=experiment.identity.model_hashes[name],
        model_type=name.upper(),
        status="SUCCESS" if part else "FAILED",
        run_id=(part or failure or {}).get("run_id"),
        duration_ms=part["duration_ms"] if part else None,
        error=f"{failure['class']}: {failure['reason']}" if failure else None,
    )
