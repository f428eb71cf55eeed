"""Runs as stored: the parts of each run joined, nothing computed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flts.contracts import layout, runs
from flts.contracts.errors import UsageError, nearest
from flts.contracts.ports import Store
from flts.contracts.records.base import Digest, JsonObject, Part, read_object, read_record, require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.run import FailurePart, JudgePart, PreprocessPart, RunClaim, TrainPart


class RunSummary(Part):
    """Claim and judgement of one run."""

    config_hash: Digest
    run: int
    claim: RunClaim
    judge: JudgePart | None
    """None until the run is judged."""


class RunRecord(Part):
    """All parts of one run, and the objects that they name."""

    v: Literal[1] = 1
    config_hash: Digest
    run: int
    claim: RunClaim
    spec: JsonObject | None
    """The stored experiment, without its locators; plain, as a model may be of a family that is no longer installed."""
    data: ProcessedMeta | None
    preprocess: PreprocessPart | None
    models: dict[str, TrainPart]
    """By model, for those with a result."""
    failures: dict[str, FailurePart]
    """By model, for those without a result."""
    judge: JudgePart | None
    decision: DecisionRecord | None
    """None until the run is judged."""


def configurations(store: Store) -> list[str]:
    """Every config_hash that was ever run: a run stores its Spec before it takes a number."""
    return [config_hash for key in store.list("specs/") if (config_hash := layout.config_hash_of(key))]


def resolve(store: Store, prefix: str) -> str:
    """The config_hash that starts with `prefix`. Raises UsageError when none or several do."""
    every = configurations(store)
    matches = [name for name in every if name.startswith(prefix)]
    if len(matches) == 1:
        return matches[0]
    problem = "several configuration hashes start" if matches else "no configuration hash starts"
    short = [name[:12] for name in matches or every]
    raise UsageError(
        f"{problem} with '{prefix}' in {store.url}; {nearest(prefix, short)}",
        code="config-ambiguous" if matches else "config-unknown",
        prefix=prefix,
        valid=short,
    )


def run_record(store: Store, config_hash: str, run: int) -> RunRecord:
    """One run with all its parts. Raises UsageError when there is none, DamagedObject for a part that cannot be read.

    A judged run must have its decision: the promotion log may refer to it.
    """
    _require_run(store, config_hash, run)
    claim = require_record(store, layout.run_part(config_hash, run, "claim"), RunClaim)
    parts = _names_of_parts(store, config_hash, run)
    trained = [name.removeprefix("train-") for name in parts if name.startswith("train-")]
    failed = [name.removeprefix("failures/") for name in parts if name.startswith("failures/")]
    judge = read_record(store, layout.run_part(config_hash, run, "judge"), JudgePart)
    return RunRecord(
        config_hash=config_hash,
        run=run,
        claim=claim,
        spec=read_object(store, layout.spec(config_hash)),
        data=read_record(store, layout.meta(claim.data_hash), ProcessedMeta),
        preprocess=read_record(store, layout.run_part(config_hash, run, "preprocess"), PreprocessPart),
        models={
            name: require_record(store, layout.run_part(config_hash, run, f"train-{name}"), TrainPart)
            for name in trained
        },
        failures={name: require_record(store, layout.failure(config_hash, run, name), FailurePart) for name in failed},
        judge=judge,
        decision=require_record(store, layout.decision(claim.scope, judge.decision_id), DecisionRecord)
        if judge
        else None,
    )


def _require_run(store: Store, config_hash: str, run: int) -> None:
    numbers = runs.numbers(store, config_hash)
    if run not in numbers:
        valid = [str(number) for number in numbers]
        raise UsageError(
            f"configuration {config_hash[:12]} has no run {run}; valid: {', '.join(valid) or 'none'}",
            code="run-unknown",
            config_hash=config_hash,
            run=run,
            valid=valid,
        )


def newest_first(store: Store) -> Sequence[RunSummary]:
    """Claim and judgement of every run, newest first."""
    claims = (key for key in store.list("runs/") if key.endswith("/claim.json") and layout.run_number(key))
    return sorted((_summary(store, key) for key in claims), key=lambda row: row.claim.started, reverse=True)


def chosen_run(store: Store, config: str | None, run: int | None, scope: str | None) -> tuple[str, int]:
    """The config_hash and number of the run that a person means, by default the newest.

    config: the start of its config_hash; scope: only runs of this scope. Raises UsageError when there is none.
    """
    config_hash = resolve(store, config) if config else None
    if config_hash is not None and run is not None:
        _require_run(store, config_hash, run)
        return config_hash, run
    if run is not None:
        raise UsageError(f"run {run} of which configuration? name the start of its config_hash", code="config-missing")
    rows = newest_first(store)
    row = next((r for r in rows if config_hash in {None, r.config_hash} and scope in {None, r.claim.scope}), None)
    if row is None:
        wanted = f" of scope '{scope}'" if scope else ""
        raise UsageError(f"{store.url} has no run{wanted}", code="no-runs", store=store.url, scope=scope)
    return row.config_hash, row.run


def _summary(store: Store, key: str) -> RunSummary:
    claim, config_hash = require_record(store, key, RunClaim), key.split("/")[1]
    judge = read_record(store, layout.run_part(config_hash, claim.run, "judge"), JudgePart)
    return RunSummary(config_hash=config_hash, run=claim.run, claim=claim, judge=judge)


def _names_of_parts(store: Store, config_hash: str, run: int) -> list[str]:
    folder = f"{layout.runs(config_hash)}{run:04d}/"
    return [key.removeprefix(folder).removesuffix(".json") for key in store.list(folder)]
