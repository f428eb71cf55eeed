"""A small fit of each family: digests of its files, what it chose, and its forecasts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from tests.support.families import blocks, fitted_family, recipe, task_on
from tests.support.series import hourly

from flts.contracts.canonical import sha256
from flts.contracts.ports import Silent
from flts.contracts.records.base import plain_json
from flts.models.automfles import AutoMfles, _sets
from flts.models.base import Block
from flts.models.registry import BUILT_IN

Outputs = Mapping[str, Any]


def fitted(name: str) -> Outputs:
    """The outputs of one family on two targets."""
    family = fitted_family(name)
    result = family.result
    answer = family.model.forecast_all(family.histories())
    further: Mapping[str, Callable[[], Outputs]] = {"ridge": tie, "automfles": seasons}
    return {
        **(further[name]() if name in further else {}),
        "digests": {file: sha256(data) for file, data in result.files.items()},
        "forecasts": answer.mean.tolist(),
        "details": {
            "chosen": plain_json(result.fit.chosen),
            "curve": [list(losses) for losses in result.fit.curve],
            "validation": result.validation_forecasts.tolist(),
        },
    }


def tie() -> Outputs:
    """What ridge chooses where every penalty has the same loss."""
    train = hourly(120)
    task = task_on(train)
    zero = [Block(b.times, 0.0 * b.features, 0.0 * b.targets, b.origins) for b in blocks(train, task)]
    return {"tie": plain_json(BUILT_IN["ridge"].fit(zero[0], zero[1], task, recipe("ridge"), Silent()).chosen)}


def seasons() -> Outputs:
    """What automfles chooses from, how many rows it takes, and a choice between more than one season."""
    train, family = hourly(400), AutoMfles()
    task = task_on(train, ("wind", "load"), seasons=(24, 60))
    fit = family.fit(*blocks(train, task), task, recipe("automfles"), Silent())
    tasks = [replace(task, seasons=lengths) for lengths in ((24,), (7, 24), (24, 168), (7, 365), (1440,), ())]
    return {
        "sets": [_sets(one) for one in tasks],
        "rows": [[family.history(one).minimum, family.history(one).wanted] for one in tasks],
        "seasons": plain_json(fit.chosen),
    }
