"""Follows a run that services work on, and reports its progress as a local run does."""

from __future__ import annotations

import time
from collections.abc import Callable

from flts.contracts import layout
from flts.contracts.messages import ModelTraining
from flts.contracts.records.base import require_record
from flts.contracts.records.run import JudgePart
from flts.runner import tell
from flts.runner.candidate import recorded
from flts.runner.claim import StartedRun
from flts.runner.local import RunResult, run_result
from flts.runner.reporter import Reporter
from flts.wiring import RunContext

POLL_SECONDS = 0.2
"""Seconds between two reads of the store."""


def wait_for_judgement(
    context: RunContext, started: StartedRun, reporter: Reporter, alive: Callable[[], None]
) -> RunResult:
    """Wait until the run is judged. alive: raises when a process that works on it has ended."""
    claim, waiting = started.claim, set(started.experiment.identity.model_hashes)
    for name in started.experiment.spec.trained:
        reporter.model(name).phase("fit")
    judged = layout.run_part(claim.config_hash, claim.run, "judge")
    while True:
        for name in sorted(waiting):
            message = _ended(context, started, name)
            if message is not None:
                waiting.remove(name)
                reporter.ended(name, message)
                if not waiting:
                    reporter.stage("evaluate", "running")
        if context.store.exists(judged):
            break
        alive()
        time.sleep(POLL_SECONDS)
    reporter.stage("evaluate", "done", f"{len(started.experiment.windows.indices)} windows")
    return run_result(context, started, require_record(context.store, judged, JudgePart))


def _ended(context: RunContext, started: StartedRun, name: str) -> ModelTraining | None:
    """The message of a model that has ended, rebuilt from its stored part; None while it has not."""
    part = recorded(context.store, started.claim, name)
    if part is None:
        return None
    return tell.ended(started.claim, part, started.experiment.identity.model_hashes[name], context.clock.now())
