"""The experiment that a Spec describes on its rows: one experiment has one resolved Spec, however it is written.

What the rows decide (the step, the seasons, the targets of a pattern, how many rows and windows there are) stands in
the resolved Spec as they decided it, and a value without effect has its default. Hashes are made of resolved Specs, and
a resolved Spec is stored for each configuration. Resolving it again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from flts.contracts.records.data import ProcessedMeta, RowsSummary
from flts.spec.fields import Outliers, Sample, Spec
from flts.spec.models import EPOCHS
from flts.spec.table import Table
from flts.spec.targets import targets_among

T = TypeVar("T", bound=Table)
DIGITS = 17
"""Decimals of a 64-bit float at most."""


def resolve(spec: Spec, meta: ProcessedMeta) -> Spec:
    """The resolved Spec of an experiment whose processed rows are described by `meta`."""
    made_of = meta.made_of.model_extra or {}
    spec = resolve_rows(spec, meta, meta.train.rows_before, meta.test.rows_before, one_file="test" not in made_of)
    if "test_fraction" in made_of:  # as data_hash has it: it was not resolved before
        spec = _with(spec, dataset=_with(spec.dataset, test_fraction=made_of["test_fraction"]))
    dataset = _with(spec.dataset, targets=named_targets(spec.dataset.targets, meta))
    if not any(table.looks_ahead for table in spec.expected.values()):
        dataset = _default(_default(dataset, "known_future"), "holidays")
    spec = _with(spec, dataset=dataset)
    task = spec.task
    rules = spec.evaluate if spec.evaluate.gate == "not-worse" else _default(spec.evaluate, "margin")
    return _with(
        spec,
        task=_with(task, seasons=meta.seasons if task.seasons == "infer" else task.seasons),
        train=spec.train if any(map(has_epochs, spec.expected.values())) else _default(spec.train, "patience"),
        evaluate=_with(rules, windows=_fewer(rules.windows, possible_origins(spec, meta))),
    )


def resolve_rows(spec: Spec, rows: RowsSummary, train: int, test: int, *, one_file: bool) -> Spec:
    """The Spec with the resolved values of what shapes the rows; the others stay as they are.

    train, test: rows on the grid before sampling; one_file: whether one file was split into both.
    """
    dataset, preprocess = _default(spec.dataset, "test_fraction"), spec.preprocess
    if one_file and rows_in_test(train + test, dataset.test_fraction) != test:
        dataset = _with(dataset, test_fraction=_shortest(train + test, test))
    return _with(
        spec,
        dataset=_with(dataset, step=rows.fitted.grid.step),
        sample=_sample(spec.sample, train, test),
        preprocess=_with(
            preprocess,
            time_features=bool(rows.fitted.calendar),
            outliers=preprocess.outliers if preprocess.outliers.enabled else Outliers(),
        ),
    )


def named_targets(targets: Sequence[str], rows: RowsSummary) -> list[str]:
    """The targets among the columns of the rows, dropped ones included: who means one of these must be told."""
    return targets_among(targets, [*(c.name for c in rows.fitted.columns), *(c.column for c in rows.dropped)])


def rows_in_test(rows: int, test_fraction: float) -> int:
    """How many rows of one file are the test."""
    return round(rows * test_fraction)


def possible_origins(spec: Spec, meta: ProcessedMeta) -> int:
    """How many test origins the rows have room for, whether or not enough cells of their windows are measured."""
    before = meta.train.rows if meta.contiguous else 0
    first = max(spec.task.input_length - before, 0)
    every = max(meta.test.rows - spec.task.horizon + 1 - first, 0)
    return -(-every // max(spec.evaluate.step, 1))


def has_epochs(table: Table) -> bool:
    """Whether train.patience counts for the model with this table."""
    return getattr(table, EPOCHS, None) is not None


def _sample(sample: Sample, train: int, test: int) -> Sample:
    cut = _with(sample, train_rows=_fewer(sample.train_rows, train), test_rows=_fewer(sample.test_rows, test))
    if not cut.train_rows and not cut.test_rows:
        return Sample()
    return cut if cut.strategy == "random" else _default(cut, "seed")


def _shortest(rows: int, test: int) -> float:
    """The share with the fewest decimals, the smallest of these, that makes so many rows the test."""
    for decimals in range(1, DIGITS):
        unit: int = 10**decimals
        lowest = max(1, (2 * test - 1) * unit // (2 * rows))
        for share in (count / unit for count in (lowest, lowest + 1, lowest + 2)):
            if share < 1.0 and rows_in_test(rows, share) == test:
                return share
    return test / rows


def _fewer(asked: int, existing: int) -> int:
    """The number that is asked for, or 0, which stands for all, where there are no more."""
    return asked if asked < existing else 0


def _default(table: T, name: str) -> T:
    return _with(table, **{name: type(table).model_fields[name].get_default(call_default_factory=True)})


def _with(table: T, **values: Any) -> T:
    return table.model_copy(update=values)
