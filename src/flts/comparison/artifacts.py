"""What the stages of a run made, in the order in which a run makes it: the first difference is where two runs part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from flts.comparison.result import ComparedArtifact, ComparedScore, Stage
from flts.contracts.canonical import digest
from flts.contracts.records.decision import METRICS, CandidateRow, DecisionRecord, ScoredRow
from flts.report.evidence import RunManifest

FORECAST = "a forecast"


class _Made(NamedTuple):
    """An artifact of one run."""

    stage: Stage
    name: str
    value: str | None
    model: str | None = None


def artifacts(records: Sequence[RunManifest]) -> list[ComparedArtifact]:
    """Every artifact of these runs, preprocess first; what no run has is left out."""
    models, baselines = models_of(records), sorted({name for record in records for name in _baselines(record)})
    rows = zip(*(_made(record, models, baselines) for record in records), strict=True)
    return [
        ComparedArtifact(stage=of[0].stage, model=of[0].model, name=of[0].name, values=[made.value for made in of])
        for of in rows
        if any(made.value is not None for made in of)
    ]


def models_of(records: Sequence[RunManifest]) -> list[str]:
    """Every candidate of these runs, sorted."""
    judged = (row.model for record in records if record.decision for row in record.decision.candidates)
    return sorted({*judged, *(name for record in records for name in (*record.models, *record.failures))})


def scores(records: Sequence[RunManifest]) -> list[ComparedScore]:
    """The errors of every model with a forecast, in the order of the first run's scoreboard, baselines last."""
    decisions = [record.decision for record in records]
    candidates = {row.model for decision in decisions if decision for row in decision.ranked}
    found = []
    for model in sorted(
        dict.fromkeys(row.model for decision in decisions for row in _scored(decision)),
        key=lambda name: name not in candidates,
    ):
        rows = [next((row for row in _scored(decision) if row.model == model), None) for decision in decisions]
        found.append(
            ComparedScore(
                model=model,
                baseline=model not in candidates,
                ranks=[row.rank if isinstance(row, CandidateRow) else None for row in rows],
                metrics={
                    name: [None if row is None else getattr(row, name) for row in rows] for name in ("score", *METRICS)
                },
            )
        )
    return found


def _made(record: RunManifest, models: Sequence[str], baselines: Sequence[str]) -> Iterator[_Made]:
    data, decision = record.data, record.decision
    raw = data.made_of.model_extra or {} if data else {}
    for name, field in (("raw train rows", "train"), ("raw test rows", "test"), ("preprocess code version", "version")):
        yield _Made("preprocess", name, str(raw[field]) if field in raw else None)
    yield _Made("preprocess", "data_hash", record.claim.data_hash)
    yield _Made("preprocess", "train.parquet", data.train.sha256 if data else None)
    yield _Made("preprocess", "test.parquet", data.test.sha256 if data else None)
    yield _Made("preprocess", "meta.json", record.preprocess.meta_sha256 if record.preprocess else None)
    for model in models:
        yield from _trained(record, model)
    yield _Made("evaluate", "windows_hash", decision.windows.windows_hash if decision else None)
    for name in baselines:
        yield _Made("evaluate", f"test forecasts of {name}", _baselines(record).get(name))
    yield _Made("evaluate", "config_hash", record.config_hash)
    yield _Made("evaluate", "scoreboard", _scoreboard(decision))
    yield _Made("evaluate", "winner", (decision.winner or "none") if decision else None)


def _trained(record: RunManifest, model: str) -> Iterator[_Made]:
    part, failure, result = record.models.get(model), record.failures.get(model), record.results.get(model)
    row = record.decision.row(model) if record.decision else None
    outcome = failure.error if failure else None
    if part is not None:
        again = part.recomputed not in {None, "equal"}
        outcome = f"another forecast when fitted again ({part.recomputed})" if again else FORECAST
    values = {
        "result": outcome,
        "model_hash": part.model_hash if part else failure.model_hash if failure else None,
        "bundle": result.bundle_sha256 if result else row.bundle_sha256 if row else None,
        "validation forecasts": result.validation_sha256 if result else None,
        "test forecasts": row.forecasts_sha256 if row else part.forecasts_sha256 if part else None,
    }
    yield from (_Made("train", f"{what} of {model}", value, model) for what, value in values.items())


def _baselines(record: RunManifest) -> Mapping[str, str]:
    """Digests of the forecasts of the baselines, which are not stored; none in a decision of an earlier flts."""
    evidence = record.decision.evidence if record.decision else None
    return evidence.baselines if evidence else {}


def _scoreboard(decision: DecisionRecord | None) -> str | None:
    """Digest of every score and error, of candidates and baselines; sentences and intervals are left out."""
    if decision is None:
        return None
    return digest([[row.model, row.score, *(getattr(row, name) for name in METRICS)] for row in _scored(decision)])


def _scored(decision: DecisionRecord | None) -> list[ScoredRow]:
    """Candidates and baselines with a forecast, best first."""
    return [*decision.ranked, *decision.ranked_baselines] if decision else []
