"""One candidate through all its steps, and what they record."""

from __future__ import annotations

import json
from typing import Any

from flts.contracts import layout
from flts.contracts.ports import Silent, Store
from flts.runner.candidate import finish_model
from flts.train.experiment import Experiment
from flts.train.stage import Trained
from flts.wiring import RunContext
from tests.support.tracking import claim_of


def part(store: Store, experiment: Experiment, name: str, run: int = 1) -> Any:
    return json.loads(store.get(layout.run_part(experiment.identity.config_hash, run, name)) or b"null")


def finish(
    context: RunContext, experiment: Experiment, name: str = "ridge", run: int = 1, scope: str = "global"
) -> Any:
    return finish_model(context, claim_of(experiment, run, scope), experiment, name, Silent(), recompute=False)


def raising(error: Exception) -> Any:
    def train(*given: Any) -> Trained:
        raise error

    return train
