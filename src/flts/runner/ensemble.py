"""The steps of the ensemble, taken by whoever judges: make, score, track, record, tell. It has no trainer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from flts.contracts.machine import machine_faults
from flts.contracts.messages import ModelTraining
from flts.contracts.ports import Silent
from flts.contracts.records.run import MessageRef
from flts.evaluate.case import Candidate
from flts.promotion.ensemble import ensemble_hash, make_ensemble
from flts.promotion.judge import yardstick
from flts.runner import tell
from flts.runner.candidate import conclude, recorded, try_to
from flts.runner.quarantine import put_aside
from flts.runner.tell import RunOf
from flts.runner.tracking import Work
from flts.spec.models import ENSEMBLE
from flts.train.experiment import Experiment
from flts.wiring import RunContext


@machine_faults()
def finish_ensemble(
    context: RunContext,
    run: RunOf,
    experiment: Experiment,
    members: Sequence[Candidate],
    *,
    recompute: bool,
    message: MessageRef | None = None,
) -> ModelTraining:
    """Make the ensemble of a run whose other models have all ended, unless the run has it; tell of it either way.

    Several judges make the same and record it once; a message that one of them sends again keeps its event_id. An
    ensemble that cannot be made is a failed candidate. Raises as `try_to`.
    """
    model_hash, now = ensemble_hash(experiment.identity, members), context.clock.now()
    part = recorded(context.store, run, ENSEMBLE)
    if part is not None:
        return tell.publish(context, tell.ended(run, part, model_hash, now))
    if recompute:
        put_aside(context, experiment, ENSEMBLE, model_hash)
    scale = yardstick(experiment.dataset, experiment.task)
    make = partial(make_ensemble, context.store, experiment, members, scale, recompute=recompute)
    work = Work(run, experiment, ENSEMBLE, model_hash, now, message)
    return conclude(context, work, try_to(context, work, make, Silent()), Silent())
