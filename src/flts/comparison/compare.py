"""Compares runs: their experiments, what each stage made, versions, machines, durations and scores. Pure."""

from __future__ import annotations

import string
from collections.abc import Callable, Iterator, Mapping, Sequence

from flts.comparison.artifacts import artifacts, models_of, scores
from flts.comparison.durations import durations
from flts.comparison.experiment import differences, readable
from flts.comparison.result import (
    ComparedArtifact,
    ComparedRun,
    ComparedValue,
    ComparedWork,
    Comparison,
)
from flts.comparison.sides import Side
from flts.comparison.verdict import Pair, of_machine, pair_verdict, work
from flts.contracts.errors import UsageError, without_credentials
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.model import MadeOn
from flts.report.evidence import RunManifest
from flts.spec.fields import Spec

LABELS = string.ascii_uppercase
VERSIONS = {"python": "python"}
LIMITS = {"processors": "cpus", "limit of processors": "cpu_limit", "limit of memory, bytes": "memory_limit"}
"""Fields of `Machine` by the name to show."""


def compare(sides: Sequence[Side]) -> Comparison:
    """The runs side by side, each with a verdict against the first. Raises UsageError for fewer than two, or over 26.

    Pure: the same sides give the same comparison, whatever the clock says.
    """
    if not 2 <= len(sides) <= len(LABELS):
        raise UsageError(
            f"a comparison takes 2 to {len(LABELS)} runs, found {len(sides)}",
            code="runs-to-compare",
            found=len(sides),
        )
    labels, records = LABELS[: len(sides)], [side.record for side in sides]
    models, made = models_of(records), artifacts(records)
    specs = [readable(record.spec) for record in records]
    known = [spec for spec in specs if spec is not None]
    return Comparison(
        runs=[_run(label, side) for label, side in zip(labels, sides, strict=True)],
        verdicts=[pair_verdict(_pair(sides, specs, made, models, other)) for other in range(1, len(sides))],
        spec=differences(known) if len(known) == len(specs) else None,
        rows=_side_by_side([_rows(record) for record in records]),
        artifacts=made,
        versions=_versions(records),
        machines=_machines(records),
        work=[ComparedWork(model=model, work=[work(side, model) for side in sides]) for model in models],
        durations=durations(sides, labels, models),
        scores=scores(records),
        notes=list(_notes(labels, records, specs)),
    )


def _run(label: str, side: Side) -> ComparedRun:
    record, decision = side.record, side.record.decision
    champion = decision.champion if decision else None
    return ComparedRun(
        label=label,
        named=without_credentials(side.named),
        config_hash=record.config_hash,
        run=record.run,
        scope=record.claim.scope,
        environment=record.claim.environment,
        started=record.claim.started,
        outcome=record.judge.outcome if record.judge else None,
        winner=decision.winner if decision else None,
        champion=f"{champion.model} {champion.model_hash[:12]}" if champion else None,
        windows=decision.windows.count if decision else None,
        sure=decision.sure if decision else None,
        damaged=list(side.damaged),
    )


def _pair(
    sides: Sequence[Side],
    specs: Sequence[Spec | None],
    made: Sequence[ComparedArtifact],
    models: Sequence[str],
    other: int,
) -> Pair:
    """The first run and another one."""
    a, b = specs[0], specs[other]
    return Pair(
        sides[0],
        sides[other],
        (LABELS[0], LABELS[other]),
        None if a is None or b is None else differences([a, b]),
        [artifact.model_copy(update={"values": [artifact.values[0], artifact.values[other]]}) for artifact in made],
        models,
    )


def _rows(record: RunManifest) -> dict[str, str]:
    """Rows and sizes of the processed tables."""
    if record.data is None:
        return {}
    tables = {"train": record.data.train, "test": record.data.test}
    return {
        **{f"{name} rows": f"{table.rows:,}" for name, table in tables.items()},
        **{f"{name} rows before sampling": f"{table.rows_before:,}" for name, table in tables.items()},
        **{f"bytes of {name}.parquet": f"{table.size:,}" for name, table in tables.items()},
    }


def _versions(records: Sequence[RunManifest]) -> list[ComparedValue]:
    """FLTS, Python, and every library that a fit was made with."""
    flts = [{"flts": record.claim.flts, **_of_processes(record, VERSIONS)} for record in records]
    return _side_by_side(flts) + _side_by_side(
        [_made_on(record, lambda made_on: made_on.libraries) for record in records]
    )


def _machines(records: Sequence[RunManifest]) -> list[ComparedValue]:
    """The environment with its deployment, what its processes had to work with, and what the fits were made on."""
    claimed = [
        {"environment": record.claim.environment, **(record.claim.deployment or {}), **_of_processes(record, LIMITS)}
        for record in records
    ]
    return _side_by_side(claimed) + _side_by_side([_made_on(record, of_machine) for record in records])


def _of_processes(record: RunManifest, facts: Mapping[str, str]) -> dict[str, str]:
    """Facts about the processes of a run, by name; several values where they differ, none in a run of an earlier flts.

    facts: name of the field of `Machine` by the name to show.
    """
    parts = [record.preprocess, *record.models.values(), *record.failures.values(), record.judge]
    machines = [part.machine for part in parts if part is not None and part.machine is not None]
    found = {name: {getattr(machine, field) for machine in machines} for name, field in facts.items()}
    return {
        name: ", ".join(sorted("none" if value is None else str(value) for value in values))
        for name, values in found.items()
        if values
    }


def _made_on(record: RunManifest, facts: Callable[[MadeOn], Mapping[str, str]]) -> dict[str, str]:
    """Facts about the fits behind a run; several values where fits of different places stand behind it."""
    found = [facts(result.made_on) for _, result in sorted(record.results.items())]
    names = sorted({name for made in found for name in made})
    return {name: ", ".join(sorted({made[name] for made in found if name in made})) for name in names}


def _side_by_side(found: Sequence[Mapping[str, str]]) -> list[ComparedValue]:
    names = dict.fromkeys(name for values in found for name in values)
    return [ComparedValue(name=name, values=[values.get(name) for values in found]) for name in names]


def _notes(labels: str, records: Sequence[RunManifest], specs: Sequence[Spec | None]) -> Iterator[str]:
    """What the tables do not say by themselves; a sentence about several runs is said once."""
    said: dict[str, list[str]] = {}
    other_winners = len({record.decision.winner for record in records if record.decision}) > 1
    for label, record, spec in zip(labels, records, specs, strict=True):
        for sentence in _about(record, spec, sure=other_winners):
            said.setdefault(sentence, []).append(label)
    yield from (f"{', '.join(who)}: {sentence}" for sentence, who in said.items())
    windows = {record.decision.windows.windows_hash for record in records if record.decision}
    if len(windows) > 1:
        yield "the runs were judged on different windows, so a lower score of one run says nothing about its models"


def _about(record: RunManifest, spec: Spec | None, *, sure: bool) -> Iterator[str]:
    """sure: say how certain the choice of the winner is."""
    decision = record.decision
    if spec is None:
        yield "the experiment cannot be read, so no value of it is compared"
    if decision is None:
        yield "not judged" if record.judge is None else "the decision cannot be read"
        return
    said = [decision.sure if sure else None, _no_skill(decision)]
    yield from filter(None, [*said, *(decision.certainty.warnings if decision.certainty else ())])


def _no_skill(decision: DecisionRecord) -> str | None:
    """Said where the winner is no better than the best baseline."""
    winner = decision.row(decision.winner)
    best = next(iter(decision.ranked_baselines), None)
    if winner is None or best is None or winner.score < best.score:
        return None
    return f"no model is better than the baseline {best.model}"
