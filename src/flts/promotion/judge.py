"""The judge: gather the stored results, forecast what a comparison still needs, and hand all of it to `decide`.

A judge keeps no state: it reads the results from the store each time, so any number of judges may run at once and a
restart loses nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from flts.contracts import layout, runs
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, DataError, NotApplicable, TrainingFailed
from flts.contracts.ports import Store
from flts.contracts.records.base import read_record, read_sealed, require_sealed, write_record
from flts.contracts.records.decision import DecisionRecord, Evidence, KnownUse, Preview, WindowsSummary
from flts.contracts.records.log import LogEntry, Promoted
from flts.contracts.records.model import Manifest, ModelResult, WindowsResult
from flts.contracts.records.run import FailurePart
from flts.evaluate.case import Baseline, Candidate, Case, Status
from flts.evaluate.decide import Decision, decide
from flts.evaluate.gate import ChampionForecast
from flts.evaluate.look import spans_since
from flts.evaluate.metrics import Yardstick
from flts.evaluate.profile import WallClock
from flts.forecasting.answers import StoredIntervals
from flts.forecasting.bundle import assemble, cells, read_bundle
from flts.forecasting.model import Model, unmeasurable
from flts.models.base import Files, ForecastTask
from flts.models.registry import BASELINES
from flts.preprocess.fit import seasonal_error
from flts.preprocess.grid import MONDAY, Grid, wall_time
from flts.preprocess.known import Known
from flts.preprocess.rows import Values
from flts.preprocess.stage import ProcessedDataset
from flts.promotion.champion import named_if_damaged
from flts.promotion.ensemble import ensemble_hash
from flts.promotion.evidence import digest_of, refuse_changed
from flts.promotion.latency import latency_of
from flts.promotion.log import decision_of
from flts.spec.models import ENSEMBLE
from flts.spec.steps import DAY, HOUR
from flts.train.experiment import Experiment
from flts.train.stage import bundle_forecasts, commit_forecasts, fitted_bundle

PREVIEW_ORIGINS = 300


@dataclass(frozen=True)
class Waiting:
    """Some expected models have neither a result nor a failure yet."""

    have: Sequence[str]
    missing: Sequence[str]


def gather(store: Store, experiment: Experiment, scope: str, run: int | None = None) -> list[Candidate] | Waiting:
    """Every expected model with its forecasts or the reason it has none; Waiting while some have neither.

    run: whose failures count, by default the newest of this configuration and scope.
    """
    run = run or runs.newest(store, experiment.identity.config_hash, scope)
    candidates = gather_trained(store, experiment, run)
    if isinstance(candidates, Waiting) or ENSEMBLE not in experiment.identity.model_hashes:
        return candidates
    ensemble = ensemble_of(store, experiment, candidates, run)
    if ensemble is None:
        return Waiting([c.name for c in candidates], [ENSEMBLE])
    return sorted([*candidates, ensemble], key=lambda candidate: candidate.name)


def gather_trained(store: Store, experiment: Experiment, run: int | None) -> list[Candidate] | Waiting:
    """The same without the ensemble, which whoever judges makes of these."""
    candidates, missing = [], []
    for name in experiment.spec.trained:
        candidate = _candidate(store, experiment, name, experiment.identity.model_hashes[name], run)
        if candidate is None:
            missing.append(name)
        else:
            candidates.append(candidate)
    return Waiting([c.name for c in candidates], missing) if missing else candidates


def ensemble_of(
    store: Store, experiment: Experiment, candidates: Sequence[Candidate], run: int | None
) -> Candidate | None:
    """The ensemble of these candidates, or the reason why this run has none; None while it is not made."""
    return _candidate(store, experiment, ENSEMBLE, ensemble_hash(experiment.identity, candidates), run)


def judge(
    store: Store, experiment: Experiment, candidates: Sequence[Candidate], scope: str, entries: Sequence[LogEntry]
) -> Decision:
    """Decide against the champion of this log and store the decision with its preview.

    Reads and writes the store; the decision itself is pure. Raises DamagedObject where the decision behind the champion
    is absent or damaged: it says how far the windows have moved since. So does a result that is no longer the one
    that it, or this same decision, was made from.
    """
    truth = experiment.windows.truth(experiment.dataset, experiment.task.horizon)
    windows = WindowsSummary(
        windows_hash=experiment.windows.windows_hash,
        count=len(experiment.windows.indices),
        first=int(truth.origins[0]),
        last=int(truth.origins[-1]),
        spacing=truth.spacing,
        dropped=experiment.windows.left_out,
        empty_cells=truth.empty,
    )
    standing, answers = _standing(store, experiment, scope, entries, windows), baselines(experiment)
    decision = decide(
        Case(
            scope=scope,
            config_hash=experiment.identity.config_hash,
            candidates=candidates,
            baselines=answers,
            champion=standing.champion,
            truth=truth.values,
            clock=wall_clock(experiment),
            spacing=truth.spacing,
            yardstick=yardstick(experiment.dataset, experiment.task),
            rules=experiment.spec.evaluate,
            windows=windows,
            seed=experiment.spec.run.seed,
            reference=standing.reference,
            spans=standing.spans,
        )
    )
    preview = _write_preview(store, experiment, decision, scope, truth.values) if decision.winner else None
    results: dict[str, str] = {}
    for behind in (*(c.evidence for c in candidates), *standing.evidence):
        results |= behind
    complete = decision.record.model_copy(
        update={"preview_sha256": preview, "evidence": _evidence(experiment.dataset, results, answers)}
    )
    record = write_record(store, layout.decision(scope, decision.decision_id), complete, at="promote.decision")
    for earlier in filter(None, (record, standing.behind)):
        refuse_changed(store, earlier, results)  # not meta.json: a recompute takes it as it is
    return replace(decision, record=record)


def _evidence(dataset: ProcessedDataset, results: Mapping[str, str], answers: Sequence[Baseline]) -> Evidence:
    assert dataset.meta_sha256 is not None
    return Evidence(
        objects={layout.meta(dataset.data_hash): dataset.meta_sha256, **results},
        baselines={answer.name: digest_of(answer.forecast) for answer in answers if answer.forecast is not None},
    )


def stored_decision(store: Store, entry: LogEntry, candidates: Sequence[Candidate]) -> Decision:
    """The decision that an entry of the log names, as stored. Raises DamagedObject when it is absent or damaged."""
    record = decision_of(store, entry)
    return Decision(next((c for c in candidates if c.name == record.winner), None), record)


def baselines(experiment: Experiment) -> list[Baseline]:
    """The forecasts of every baseline on the same windows."""
    answers = []
    for name, family in BASELINES.items():
        try:
            model = Model(family.load({}, experiment.task), experiment.task, family.history(experiment.task))
            mean = model.forecast_all(experiment.windows.histories(experiment.dataset)).mean
            answers.append(Baseline(name, mean))
        except NotApplicable as reason:
            answers.append(Baseline(name, None, str(reason)))
    return answers


def yardstick(dataset: ProcessedDataset, task: ForecastTask) -> Yardstick:
    """What errors are scaled by, from the finished train rows."""
    _, width = dataset.fitted.target_range
    season = task.seasons[0] if task.seasons else 1
    rows = dataset.train.select(dataset.fitted.targets)
    errors = [seasonal_error(rows[:, i], season) for i in range(rows.shape[1])]
    nonzero = [error for error in errors if error]
    if len(nonzero) < len(errors):
        reason = (
            f"train has {len(rows)} rows, and MASE needs two seasons of {season} rows with measured targets"
            if None in errors
            else f"the seasonal naive forecast (season {season}) makes no error on train"
        )
        return Yardstick(dataset.fitted.targets, width, None, reason)
    return Yardstick(dataset.fitted.targets, width, np.array(nonzero))


def _candidate(store: Store, experiment: Experiment, name: str, model_hash: str, run: int | None) -> Candidate | None:
    """A result of any run counts, a failure only from the newest run; what is damaged makes a failed candidate."""
    try:
        return _stored_candidate(store, experiment, name, model_hash, run)
    except DamagedObject as damage:
        return Candidate(name, model_hash, "FAILED", f"DamagedObject: {damage}")


def _stored_candidate(
    store: Store, experiment: Experiment, name: str, model_hash: str, run: int | None
) -> Candidate | None:
    windows_hash = experiment.identity.windows_hash
    model = read_sealed(store, layout.model_result(model_hash), ModelResult)
    windows = read_sealed(store, layout.windows_result(model_hash, windows_hash), WindowsResult)
    failure = _failure(store, experiment, name, run) if run else None
    if model is None or windows is None:
        if failure is None:
            return None
        status: Status = "N/A" if failure.error == "NotApplicable" else "FAILED"
        return Candidate(name, model_hash, status, f"{failure.error}: {failure.reason}")
    (result, result_sha256), (committed, _) = model, windows
    manifest, files = fitted_bundle(store, result)
    values = experiment.forecasts(store, model_hash, committed.forecasts_sha256)
    mean, intervals = values["y_hat"], StoredIntervals.of(values, manifest)
    not_finite = unmeasurable(mean, experiment.task.fitted)
    if not_finite:
        return Candidate(name, model_hash, "FAILED", f"{not_finite} of {mean.size} stored forecasts are not finite")
    limited = experiment.spec.evaluate.max_latency_ms != "off"
    return Candidate(
        name,
        model_hash,
        "SUCCESS",
        bundle_sha256=result.bundle_sha256,
        validation_sha256=result.validation_sha256,
        forecasts_sha256=committed.forecasts_sha256,
        forecast=mean,
        bounds=intervals.by_level,
        static_bounds=intervals.static,
        adaptive=intervals.adaptive,
        no_intervals=manifest.intervals.reason,
        uses_history=manifest.uses_history,
        known_future=_known_use(experiment, manifest),
        bundle_bytes=len(manifest.to_bytes()) + sum(map(len, files.values())),
        latency_ms=latency_of(store, experiment, result, manifest) if limited else None,
        evidence={layout.model_result(model_hash): result_sha256} | _behind(windows),
    )


def _known_use(experiment: Experiment, manifest: Manifest) -> KnownUse | None:
    """What a candidate saw of the rows to forecast; None where the experiment names nothing that is known ahead."""
    dataset = experiment.spec.dataset
    if not dataset.known_future and not dataset.holidays:
        return None
    known = Known.of(manifest.known_future)
    return KnownUse(measured=list(known.given), generated=list(known.names[len(known.given) :]))


def _behind(windows: tuple[WindowsResult, str]) -> dict[str, str]:
    """The evidence of forecasts: the result that commits them, and their table."""
    committed, committed_sha256 = windows
    named = committed.model_hash, committed.windows_hash
    return {layout.windows_result(*named): committed_sha256, layout.forecasts(*named): committed.forecasts_sha256}


def _failure(store: Store, experiment: Experiment, name: str, run: int) -> FailurePart | None:
    return read_record(store, layout.failure(experiment.identity.config_hash, run, name), FailurePart)


def wall_clock(experiment: Experiment) -> WallClock:
    """Local hour and weekday of every forecast row."""
    fitted = experiment.task.fitted
    local = wall_time(fitted.grid.after(experiment.origins, experiment.task.horizon), fitted.grid.timezone)
    return WallClock(local % DAY // HOUR, (local // DAY + MONDAY) % 7)


@dataclass(frozen=True)
class _Standing:
    """The champion, the model that candidates are tested against, and how far the windows moved since it was chosen."""

    champion: ChampionForecast | None = None
    reference: ChampionForecast | None = None
    spans: float = 0.0
    behind: DecisionRecord | None = None
    """The decision that chose the champion, where a test looks at it."""

    @property
    def evidence(self) -> Sequence[Mapping[str, str]]:
        """Digests by key of what each of both rests on."""
        return [model.evidence for model in (self.champion, self.reference) if model is not None]


def _standing(
    store: Store, experiment: Experiment, scope: str, entries: Sequence[LogEntry], windows: WindowsSummary
) -> _Standing:
    if not entries:
        return _Standing()
    newest, gate = entries[-1], experiment.spec.evaluate.gate
    if gate == "always":
        unneeded = "not needed with gate = always"
        return _Standing(ChampionForecast(newest.champion.model, newest.champion.model_hash, None, unneeded))
    champion = reference = _standing_in(store, experiment, newest)
    if gate == "not-worse":
        chosen = reference_of(store, scope, entries)
        if chosen.champion.model_hash != champion.model_hash:
            reference = _standing_in(store, experiment, chosen)
    behind = decision_of(store, newest)
    return _Standing(champion, reference, spans_since(windows, behind.windows), behind)


def reference_of(store: Store, scope: str, entries: Sequence[LogEntry]) -> LogEntry:
    """The newest entry whose champion was chosen: by gate = "beats-champion", by a person, or as the first of all.

    A champion that was only not worse, or that no test was made for, is no reference, so that small losses do not add
    up. Raises DamagedObject where a decision that the log names is absent or damaged.
    """
    for position in range(len(entries) - 1, 0, -1):
        entry = entries[position]
        if entry.kind != "promote":
            return entry
        record = decision_of(store, entry)
        if record.rules.gate == "beats-champion":
            return entry
        if record.look is not None:  # with not-worse: what it was compared with, found in the same way
            named = record.look.against.model_hash
            return next(e for e in reversed(entries[:position]) if e.champion.model_hash == named)
    return entries[0]


def _standing_in(store: Store, experiment: Experiment, entry: LogEntry) -> ChampionForecast:
    """The champion of an entry of the log, to compare with."""
    return replace(_comparable(store, experiment, entry.champion), promotion=entry.number)


def _comparable(store: Store, experiment: Experiment, promoted: Promoted) -> ChampionForecast:
    """The model's own forecasts of these windows, made through its own manifest, or why there are none.

    Raises DamagedObject for a damaged model: a person restores or replaces it, the judge does not pass over it.
    """
    try:
        with named_if_damaged(promoted):
            manifest, files = read_bundle(store, promoted.bundle_sha256)
        why_not = _not_comparable(manifest, experiment)
        if why_not:
            return ChampionForecast(promoted.model, promoted.model_hash, None, why_not)
        windows = _champion_windows(store, experiment, promoted, manifest, files)
        values = experiment.forecasts(store, promoted.model_hash, windows[0].forecasts_sha256)
        return ChampionForecast(promoted.model, promoted.model_hash, values["y_hat"], evidence=_behind(windows))
    except (NotApplicable, TrainingFailed, DataError) as reason:
        return ChampionForecast(promoted.model, promoted.model_hash, None, str(reason))


def _not_comparable(manifest: Manifest, experiment: Experiment) -> str | None:
    task, grid = experiment.task, Grid.of(manifest.fitted.grid)
    if tuple(manifest.targets) != tuple(task.fitted.targets):
        return f"it forecasts {', '.join(manifest.targets)}, not {', '.join(task.fitted.targets)}"
    if not grid.same_step(task.fitted.grid):
        return f"its rows are {grid} apart, these {task.fitted.grid}"
    rules = {manifest.fitted.resample, task.fitted.resample}
    if len(rules) > 1 and "off" not in rules:
        return f"one of its rows is the {manifest.fitted.resample} of a step, here it is the {task.fitted.resample}"
    if manifest.horizon != task.horizon:
        return f"it forecasts {manifest.horizon} rows ahead, not {task.horizon}"
    absent = [name for name in manifest.columns if name not in task.fitted.names]
    if absent:
        return f"it needs the columns {', '.join(absent)}, which these rows lack"
    if manifest.trained_until > int(experiment.origins[0]):
        return "it was trained on rows from after the start of these windows, so it may have seen their truth"
    return None


def _champion_windows(
    store: Store, experiment: Experiment, promoted: Promoted, manifest: Manifest, files: Files
) -> tuple[WindowsResult, str]:
    """The committed result of its model_hash on these windows; when there is none, forecast and commit."""
    model_hash, key = promoted.model_hash, layout.windows_result(promoted.model_hash, experiment.identity.windows_hash)
    committed = read_sealed(store, key, WindowsResult)
    if committed is None:
        rows = _with_columns(experiment.dataset, tuple(manifest.columns))
        answer = bundle_forecasts(assemble(promoted.bundle_sha256, manifest, files), rows, experiment.windows)
        commit_forecasts(answer, experiment.task, model_hash, experiment.windows, store, rows)
    return committed or require_sealed(store, key, WindowsResult)


def _with_columns(dataset: ProcessedDataset, columns: tuple[str, ...]) -> ProcessedDataset:
    """The same rows with the columns that another manifest needs, in its order."""
    train, test = (
        replace(rows, values=rows.select(columns), columns=columns) for rows in (dataset.train, dataset.test)
    )
    return replace(dataset, train=train, test=test)


def _write_preview(store: Store, experiment: Experiment, decision: Decision, scope: str, truth: Values) -> str:
    """The last scored origins of the winner at step 1, for a page; returns its digest."""
    winner = decision.winner
    assert winner is not None
    assert winner.forecasts_sha256 is not None
    values = experiment.forecasts(store, winner.model_hash, winner.forecasts_sha256)
    scored = np.flatnonzero(~np.isnan(truth[:, 0]).all(axis=1))[-PREVIEW_ORIGINS:]
    grid = experiment.dataset.fitted.grid
    preview = Preview(
        model=winner.name,
        targets=list(experiment.task.fitted.targets),
        time=grid.after(experiment.origins[scored], 1)[:, 0].tolist(),
        truth=cells(truth[scored, 0]),
        y_hat=cells(values["y_hat"][scored, 0]),
        lower=cells(values["lower"][scored, 0]),
        upper=cells(values["upper"][scored, 0]),
    )
    stored = write_record(store, layout.preview(scope, decision.decision_id), preview, at="promote.preview")
    return sha256(stored.to_bytes())
