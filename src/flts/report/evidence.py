"""Runs as stored: the parts of each run joined, nothing computed again."""

from __future__ import annotations

import re
from bisect import insort
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from pydantic import Field

from flts.contracts import layout, run_index, runs
from flts.contracts.errors import DamagedObject, UsageError, nearest
from flts.contracts.layout import RunEntry
from flts.contracts.ports import DatedStore, Store
from flts.contracts.records.base import Digest, JsonObject, Part, R, read_object, read_record, require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.model import ModelResult
from flts.contracts.records.run import FailurePart, JudgePart, PreprocessPart, RunClaim, SentMessage, TrainPart
from flts.contracts.run_index import BEGINNING, SKEW

T = TypeVar("T")
NAMED = 1000
"""Configurations that a message names at most."""
VALID = 20
"""Runs of a configuration that a message names at most."""
OTHERS = 100
"""Other runs of a configuration that a manifest holds at most."""


class RunSummary(Part):
    """Claim and judgement of one run."""

    config_hash: Digest
    run: int
    claim: RunClaim
    judge: JudgePart | None
    """None until the run is judged."""


class RunParts(Part):
    """What the processes of one run recorded."""

    config_hash: Digest
    run: int
    claim: RunClaim
    preprocess: PreprocessPart | None
    models: dict[str, TrainPart]
    """By model, for those with a result."""
    failures: dict[str, FailurePart]
    """By model, for those without a result."""
    judge: JudgePart | None
    """None until the run is judged."""
    sent: list[SentMessage] = Field(default=[])
    """Where the messages about it lie, by topic and offset; empty without a broker."""


class RunRecord(RunParts):
    """All parts of one run, and the objects that they name."""

    v: Literal[1] = 1
    spec: JsonObject | None
    """The stored experiment, without its locators; plain, as a model may be of a family that is no longer installed."""
    data: ProcessedMeta | None
    decision: DecisionRecord | None
    """None until the run is judged."""


class RunManifest(RunRecord):
    """A run with its fits and the other runs of its configuration: what `flts runs show --json` prints."""

    results: dict[str, ModelResult]
    """By model: the fit, with the versions and the processor that it was made on."""
    others: list[RunParts]
    """At most the newest hundred, oldest first; how long the same work took in them."""


def configurations(store: Store) -> list[str]:
    """Every config_hash that was ever run: a run stores its Spec before it takes a number."""
    return [config_hash for key in store.list("specs/") if (config_hash := layout.config_hash_of(key))]


def resolve(store: Store, prefix: str) -> str:
    """The config_hash that starts with `prefix`. Raises UsageError when none or several do."""
    matches = _starting(store, prefix) if re.fullmatch("[0-9a-f]{0,64}", prefix) else []
    if len(matches) == 1:
        return matches[0]
    problem = "several configuration hashes start" if matches else "no configuration hash starts"
    short = [name[:12] for name in matches or _starting(store, "")]
    raise UsageError(
        f"{problem} with '{prefix}' in {store.url}; {nearest(prefix, short)}",
        code="config-ambiguous" if matches else "config-unknown",
        prefix=prefix,
        valid=short,
    )


def _starting(store: Store, prefix: str) -> list[str]:
    """The first hashes that start so; of a whole one, only that object is looked at."""
    if store.exists(layout.spec(prefix)):
        return [prefix]
    keys = store.first("specs/", NAMED, f"specs/{prefix}")
    names = filter(None, map(layout.config_hash_of, keys))
    return [name for name in names if name.startswith(prefix)]


def run_record(store: Store, config_hash: str, run: int, *, damaged: list[DamagedObject] | None = None) -> RunRecord:
    """One run with all its parts. Raises UsageError when there is none, DamagedObject for a part that cannot be read.

    A judged run must have its decision: the promotion log may refer to it. damaged: takes the errors of damaged parts,
    which then count as absent; a damaged claim is raised all the same.
    """
    _require_run(store, config_hash, run)
    parts, read = run_parts(store, config_hash, run, damaged=damaged), _Reader(store, damaged)
    claim, judge = parts.claim, parts.judge
    return RunRecord(
        **dict(parts),
        spec=read.tolerantly(lambda: read_object(store, layout.spec(config_hash))),
        data=read(layout.meta(claim.data_hash), ProcessedMeta),
        decision=read(layout.decision(claim.scope, judge.decision_id), DecisionRecord, named=True) if judge else None,
    )


def run_manifest(
    store: Store, config_hash: str, run: int, *, damaged: list[DamagedObject] | None = None
) -> RunManifest:
    """One run with its fits and the other runs of its configuration, of which what is damaged counts as absent.

    Raises as `run_record` does.
    """
    record, read, others = run_record(store, config_hash, run, damaged=damaged), _Reader(store, damaged), []
    fits = {name: read(layout.model_result(part.model_hash), ModelResult) for name, part in record.models.items()}
    numbers = [number for number in runs.numbers(store, config_hash) if number != run]
    for number in numbers[-OTHERS:]:
        try:
            others.append(run_parts(store, config_hash, number, damaged=[]))
        except DamagedObject:  # without its claim it is not known where the run was
            continue
    results = {name: result for name, result in fits.items() if result is not None}
    return RunManifest(**dict(record), results=results, others=others)


def run_parts(store: Store, config_hash: str, run: int, *, damaged: list[DamagedObject] | None = None) -> RunParts:
    """The parts of a run that exists, without the objects that they name. Raises DamagedObject as `run_record` does."""
    folder, read = layout.run_folder(config_hash, run), _Reader(store, damaged)
    names = [key.removeprefix(folder).removesuffix(".json") for key in store.list(folder)]

    def every(prefix: str, kind: type[R]) -> dict[str, R]:
        keys = {name.removeprefix(prefix): f"{folder}{name}.json" for name in names if name.startswith(prefix)}
        parts = {name: read(key, kind, named=True) for name, key in keys.items()}
        return {name: part for name, part in parts.items() if part is not None}

    return RunParts(
        config_hash=config_hash,
        run=run,
        claim=require_record(store, layout.run_part(config_hash, run, "claim"), RunClaim),
        preprocess=read(layout.run_part(config_hash, run, "preprocess"), PreprocessPart),
        models=every("train-", TrainPart),
        failures=every("failures/", FailurePart),
        judge=read(layout.run_part(config_hash, run, "judge"), JudgePart),
        sent=sorted(every("sent/", SentMessage).values(), key=lambda one: (one.topic, one.partition, one.offset)),
    )


def _require_run(store: Store, config_hash: str, run: int) -> None:
    if run < 1 or not store.first(layout.run_folder(config_hash, run), 1):
        numbers = runs.numbers(store, config_hash)
        valid = [str(number) for number in numbers[-VALID:]]
        earlier = f", and {len(numbers) - VALID} before them" if len(numbers) > VALID else ""
        raise UsageError(
            f"configuration {config_hash[:12]} has no run {run}; valid: {', '.join(valid) or 'none'}{earlier}",
            code="run-unknown",
            config_hash=config_hash,
            run=run,
            valid=valid,
        )


def newest_first(
    store: DatedStore, most: int | None = None, *, scope: str | None = None, before: RunSummary | None = None
) -> Sequence[RunSummary]:
    """Claim and judgement of every run, or of so many, newest first. Only these are read, found by the index.

    scope: only its runs; before: those after this one in that order.
    """
    after = run_index.entry_of(before.config_hash, before.claim) if before else None
    return [_summary(store, *found) for found in _newest(store, most, scope, after)]


def _newest(
    store: DatedStore, most: int | None, scope: str | None = None, before: RunEntry | None = None
) -> list[tuple[str, RunClaim]]:
    """The config_hash and the claim of the newest runs, newest first.

    What the index does not reach, as in a store that an earlier flts wrote, is found by one listing of all runs. Raises
    UsageError for what is not a scope.
    """
    if scope is not None:
        layout.chosen_scope(scope)
    since = run_index.complete_since(store)
    found: list[tuple[str, RunClaim]] = []
    if since is None:
        return _listed(store, most, scope, before)
    for entry in run_index.entries(store, scope, before):
        if entry.began < since or len(found) == most:
            break
        claim = run_index.claimed(store, entry)
        if claim is not None:
            found.append((entry.config_hash, claim))
    kept = layout.BY_SCOPE if scope else layout.run_entries()
    reached = since == BEGINNING and (found or store.first(kept, 1))  # one without any entry was perhaps deleted
    return found if reached or len(found) == most else _listed(store, most, scope, before)


def _listed(
    store: DatedStore, most: int | None, scope: str | None = None, before: RunEntry | None = None
) -> list[tuple[str, RunClaim]]:
    """The same by one listing of all runs.

    A claim was written after its run began, so none that was written before the last of those that are found can be
    among them, and the rest need not be read. In a copy of a store, whose objects are all of the time of the copy, that
    leaves out fewer claims, and the result is the same.
    """
    written = {key: at for key, at in store.dated("runs/", "/claim.json").items() if layout.run_number(key)}
    found: list[tuple[RunEntry, RunClaim]] = []
    for key in sorted(written, key=lambda key: (written[key], key), reverse=True):
        if most is not None and len(found) >= most and found[most - 1][0].began > written[key] + SKEW:
            break
        claim = require_record(store, key, RunClaim)
        entry = run_index.entry_of(key.split("/")[1], claim)
        if scope in {None, claim.scope} and (before is None or entry.order > before.order):
            insort(found, (entry, claim), key=lambda found: found[0].order)
    return [(entry.config_hash, claim) for entry, claim in found[:most]]


def named_run(store: Store, named: str) -> RunSummary:
    """The run that is named as CONFIG:RUN. Raises UsageError when there is none."""
    config, _, number = named.partition(":")
    if not re.fullmatch("[0-9]{1,9}", number):
        raise UsageError(
            f"'{named}' names no run; write CONFIG:RUN, the start of a config_hash and a number",
            code="run-invalid",
            found=named,
        )
    config_hash, run = resolve(store, config), int(number)
    _require_run(store, config_hash, run)
    return _summary(store, config_hash, require_record(store, layout.run_part(config_hash, run, "claim"), RunClaim))


def chosen_run(store: DatedStore, config: str | None, run: int | None, scope: str | None = None) -> tuple[str, int]:
    """The config_hash and number of the run that a person means, by default the newest.

    config: the start of its config_hash; scope: only runs of this scope. Raises UsageError when there is none.
    """
    config_hash = None if config is None else resolve(store, config)
    if config_hash is not None and run is not None:
        _require_run(store, config_hash, run)
        return config_hash, run
    if config_hash is not None and scope is None and (highest := runs.highest(store, config_hash)):
        return config_hash, highest  # without its claim, which may be damaged
    if run is not None:
        raise UsageError(f"run {run} of which configuration? name the start of its config_hash", code="config-missing")
    if config_hash is not None and scope is not None and (newest := runs.newest(store, config_hash, scope)):
        return config_hash, newest
    found = [] if config_hash else _newest(store, 1, scope)
    if not found:
        wanted = f" of configuration {config_hash[:12]}" if config_hash else ""
        wanted += f" in scope '{scope}'" if scope else ""
        raise UsageError(f"{store.url} has no run{wanted}", code="no-runs", store=store.url, scope=scope)
    [(name, claim)] = found
    return name, claim.run


def _summary(store: Store, config_hash: str, claim: RunClaim) -> RunSummary:
    judge = read_record(store, layout.run_part(config_hash, claim.run, "judge"), JudgePart)
    return RunSummary(config_hash=config_hash, run=claim.run, claim=claim, judge=judge)


class _Reader:
    """Reads records; damage is raised, or collected where somebody takes it."""

    def __init__(self, store: Store, damaged: list[DamagedObject] | None) -> None:
        self._store, self._damaged = store, damaged

    def __call__(self, key: str, kind: type[R], *, named: bool = False) -> R | None:
        """The record; None when it is absent. named: another record names it, so absence is damage."""
        read = require_record if named else read_record
        return self.tolerantly(lambda: read(self._store, key, kind))

    def tolerantly(self, read: Callable[[], T | None]) -> T | None:
        """What this reads; None for damage that is collected."""
        try:
            return read()
        except DamagedObject as error:
            if self._damaged is None:
                raise
            self._damaged.append(error)
            return None
