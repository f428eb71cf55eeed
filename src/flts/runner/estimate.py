"""How long the fits of a run will take, said before they start. An estimate decides nothing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flts.models.gbm import MOST_ROWS
from flts.models.recurrent import planned
from flts.models.recurrent_sight import STEPS
from flts.spec.fields import Spec
from flts.spec.models import ENSEMBLE, RecurrentParameters
from flts.spec.search import combinations
from flts.train.experiment import Experiment

LONG = 3600.0
"""Seconds of CPU from which a run says what to leave out."""
VALIDATED = 200
"""Validation windows that every fit forecasts."""
CALENDAR_COLUMNS, FITS = 4, 2
"""Of most series; a network is fitted before the validation windows, and again with them."""


@dataclass(frozen=True)
class FitSize:
    """What the cost of a fit depends on. columns: numeric columns of the rows; windows: those that are forecast."""

    rows: int
    windows: int
    input_length: int
    horizon: int
    season: int
    columns: int
    targets: int
    parameters: Any


def estimates(experiment: Experiment, names: Iterable[str]) -> dict[str, float]:
    """Seconds of CPU that each fit will take, of the families that were measured."""
    task, tables = experiment.task, experiment.spec.expected
    size = FitSize(
        len(experiment.dataset.train),
        VALIDATED + len(experiment.windows.indices),
        task.input_length,
        task.horizon,
        max(task.seasons[:1], default=1),
        len(task.fitted.names),
        task.targets,
        None,
    )
    return {
        name: sum(MEASURED[name](replace(size, parameters=table)) for table in combinations(tables[name]))
        for name in names
        if name in MEASURED
    }


def searches(spec: Spec, names: Iterable[str]) -> dict[str, int]:
    """How many fits each model is whose table is a grid."""
    fits = {name: len(combinations(spec.expected[name])) for name in names}
    return {name: count for name, count in fits.items() if count > 1}


def of_hours(seconds: Mapping[str, float], others: Iterable[str] = ()) -> str:
    """What a run of hours says: how long it takes, and what to leave out. Empty for a shorter one.

    others: the models of the run without an estimate, which need no fit or whose family was not measured; they stay.
    """
    total = sum(seconds.values())
    if total < LONG:
        return ""
    quick, left = _quick(seconds)
    said = f"this run takes about {span(total)} of CPU"
    kept = sorted({*quick, *others})
    if not {*kept} - {ENSEMBLE}:
        return f"{said}; fewer train rows take less: --set sample.train_rows=N"
    spent = f" about {span(sum(seconds[name] for name in quick))}" if quick else ""
    return f"{said}; without {', '.join(left)}{spent}: --models {','.join(kept)}"


def beyond(seconds: Mapping[str, float], limit: float) -> str:
    """What a run says whose fits are expected to be ended by their time limit; empty where none is.

    limit: seconds of `train_timeout`.
    """
    names = sorted(name for name, each in seconds.items() if each > limit)
    if not names:
        return ""
    longest = max(seconds[name] for name in names)
    return (
        f"a fit is ended after {span(limit)}, and {', '.join(names)} may take longer: FLTS_TRAIN_TIMEOUT="
        f"{2 * longest:.0f} gives up to {span(2 * longest)}"
    )


def span(seconds: float) -> str:
    """A duration for people."""
    if seconds < 90:
        return f"{max(1.0, seconds):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.0f} h"


def _quick(seconds: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """The quickest models that together take less than a long run, and all others."""
    quick: list[str] = []
    spent = 0.0
    for name in sorted(seconds, key=lambda name: (seconds[name], name)):
        spent += seconds[name]
        if spent >= LONG:
            break
        quick.append(name)
    return sorted(quick), sorted(seconds.keys() - set(quick))


def _ridge(size: FitSize) -> float:
    inputs = size.input_length * size.columns
    return size.rows * (
        4.3e-6 * size.input_length + 1e-10 * inputs * min(inputs, size.rows)
    )  # the dual form is shorter


def _recurrent(gates: int) -> Callable[[FitSize], float]:
    def seconds(size: FitSize) -> float:
        table: RecurrentParameters = size.parameters
        hidden, (epochs, passes) = table.hidden_size, planned(size.rows, table)
        patch = math.ceil(size.input_length / STEPS)
        read = patch * (size.targets + CALENDAR_COLUMNS)
        products = gates * hidden * (read + hidden + (table.num_layers - 1) * 2 * hidden)
        steps = FITS * epochs * passes * size.rows * math.ceil(size.input_length / patch)
        return steps * (2e-6 + 1.1e-10 * products)

    return seconds


def _prophet(size: FitSize) -> float:
    return size.targets * (0.5 + 1.2e-4 * size.rows) + 2e-3 * size.windows


def _automfles(size: FitSize) -> float:
    return size.targets * size.windows * (3e-3 + 4e-6 * size.season)  # it is fitted twice for each window


def _autoarima(size: FitSize) -> float:
    return size.targets * (0.5 + (4e-3 + 1e-5 * size.windows) * size.season**2)


def _forwarded(fit: float) -> Callable[[FitSize], float]:
    """A statistical model whose fit takes so long, and which then runs over every history."""
    return lambda size: size.targets * (fit + 1e-3 * size.windows)


def _gbm(size: FitSize) -> float:
    return size.targets * (5e-5 * min(size.rows * size.horizon, MOST_ROWS) + 1e-3 * size.windows)


MEASURED: Mapping[str, Callable[[FitSize], float]] = {
    "ridge": _ridge,
    "gru": _recurrent(3),
    "lstm": _recurrent(4),
    "prophet": _prophet,
    "automfles": _automfles,
    "autoarima": _autoarima,
    "autoets": _forwarded(2.0),
    "autotbats": _forwarded(20.0),
    "autotheta": _forwarded(0.5),
    "gbm": _gbm,
}
"""Seconds of CPU by family; the factors were fitted to measured fits on one core. Other families have none."""
