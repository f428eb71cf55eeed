"""What every candidate and every judgement goes through, the same for `flts run` and for a worker on a bus."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from flts import events, layout, runs
from flts.errors import StageFailed, Terminal, TrainingFailed
from flts.evaluate.case import Candidate
from flts.evaluate.metrics import Errors, measure
from flts.lineage import identify
from flts.messages import ModelTraining, TrainingData
from flts.ports import Progress, Store, read_json, write_json_once
from flts.promote.judge import Waiting, gather, yardstick
from flts.promote.log import Entry
from flts.promote.stage import Judged, promote
from flts.tracked import Work, candidate_run, failed_run, known_failed_run_id, known_run_id
from flts.train.determinism import processor
from flts.train.experiment import Experiment
from flts.train.isolate import Claim, train_isolated
from flts.train.stage import Trained, stored_result
from flts.wiring import VERSIONS, Workplace, load_stored_spec

Status = Literal["RUNNING", "SUCCESS", "FAILED"]


def judge_run(place: Workplace, subject: Experiment, scope: str, run: int, *, actor: str) -> Judged | Waiting:
    """Judge what the store holds for a configuration, record it, and tell the tracker.

    A model counts when its trainer has written down the run it made of it, in this run or an earlier one: a result
    alone has no run id yet, and the log would name the winner with or without one by who was faster.
    """
    store, config_hash = place.store, subject.identity.config_hash
    candidates = gather(store, subject, scope)
    if isinstance(candidates, Waiting):
        return candidates
    known = {c.name: _record_of(store, config_hash, scope, run, c) for c in candidates}
    unwritten = [name for name, record in known.items() if record is None]
    if unwritten:
        return Waiting([name for name in known if name not in unwritten], unwritten)
    run_ids = {name: record["run_id"] for name, record in known.items() if record is not None}
    began = read_json(store, layout.run_part(config_hash, run, "claim")) or {}
    judged = promote(
        store,
        place.bus,
        place.clock,
        subject,
        candidates,
        scope=scope,
        actor=actor,
        run_ids=run_ids,
        since=began.get("promotion"),
    )
    record_judgement(place, config_hash, scope, run, judged, run_ids)
    return judged


def _record_of(store: Store, config_hash: str, scope: str, run: int, candidate: Candidate) -> dict[str, Any] | None:
    """What the trainer of a candidate wrote down of it, newest first; of a failure only this run's counts."""
    failed: dict[str, Any] | None = read_json(store, layout.failure(config_hash, run, candidate.name))
    if failed is not None and candidate.status != "SUCCESS":
        return failed
    records = runs.parts(store, config_hash, f"train-{candidate.name}")
    return next((record for record in records if record["scope"] == scope), None)


def record_judgement(
    place: Workplace, config_hash: str, scope: str, run: int, judged: Judged, run_ids: Mapping[str, str | None]
) -> None:
    """Tell the tracker what only the judge knows, then write the judge's part of the run.

    Raises StageFailed when the judge's score of a candidate is not the one it was trained with.
    """
    _compare_scores(place.store, config_hash, run, judged.decision.record)
    champion = judged.champion
    part = {
        "v": 1,
        "run": run,
        "scope": scope,
        "environment": place.environment,
        "decision_id": judged.decision.decision_id,
        "outcome": judged.decision.outcome,
        "repeated": judged.repeated,
        "promotion": champion.number if champion else None,
        "run_ids": dict(run_ids),
        "ended": place.clock.now().isoformat(),
    }
    if place.tracker is not None and not _told_before(place.store, config_hash, part):
        for row in judged.decision.record["candidates"]:
            run_id = run_ids.get(row["model"])
            if run_id is not None and row["rank"] is not None:
                promoted = champion is not None and champion.champion.model_hash == row["model_hash"]
                numbers = ("score", "rank", "skill", "skill_vs_naive")
                metrics = {name: float(row[name]) for name in numbers if row[name] is not None}
                place.tracker.annotate(run_id, metrics, {"flts.promoted": str(promoted).lower()})
        point_tracker(place, champion)
    write_json_once(place.store, layout.run_part(config_hash, run, "judge"), part, at="run.judge")


def point_tracker(place: Workplace, champion: Entry | None) -> None:
    """Make the tracker's alias `champion` follow the log."""
    if place.tracker is not None and champion is not None and champion.champion.run_id is not None:
        promoted = champion.champion
        place.tracker.promote(champion.scope, champion.champion.run_id, promoted.model_type, promoted.bundle_sha256)


def _told_before(store: Store, config_hash: str, part: Mapping[str, Any]) -> bool:
    """Whether an earlier judgement of this configuration and scope told the tracker the same."""
    told = {name: part[name] for name in ("scope", "run_ids", "promotion")}
    return any(told.items() <= earlier.items() for earlier in runs.parts(store, config_hash, "judge"))


def _compare_scores(store: Store, config_hash: str, run: int, record: Mapping[str, Any]) -> None:
    """The judge scored the same bytes as the trainer's process did: another figure is a defect, and said."""
    for row in record["candidates"]:
        part = read_json(store, layout.run_part(config_hash, run, f"train-{row['model']}"))
        if part is not None and row["rank"] is not None:
            first, second = part["errors"], {name: row[name] for name in part["errors"]}
            if first != second:
                raise StageFailed(
                    f"{row['model']} was scored twice from the same stored forecasts, with different results:"
                    f" {first} when it was trained, {second} by the judge"
                )


def finish_model(
    place: Workplace, claim: TrainingData, subject: Experiment, name: str, progress: Progress, *, recompute: bool
) -> ModelTraining:
    """Train one candidate (or find it trained), score it, track it, record it, and tell the judge.

    A Terminal error becomes a failed candidate with its reason; Transient ones and Interrupted are raised.
    """
    with place.children.places:  # the time of a model counts from here, not from when it queued
        work = Work(claim, subject, name, place.clock.now())
        _tell(place, work, "RUNNING")
        try:
            trained = _train(place, work, progress, recompute=recompute)
            progress.phase("score")
            errors = _score(place.store, work, trained)
        except Terminal as error:
            return _record_failure(place, work, error)
        duration_ms = round((place.clock.now() - work.start).total_seconds() * 1000)
    progress.phase("track")
    run_id = _track(place, work, trained, errors)
    part = {
        **_where(place, work),
        "run_id": run_id,
        "fitted": trained.fitted,
        "recomputed": trained.recomputed,
        "duration_ms": duration_ms,
        "errors": {"rmse": errors.rmse, "mae": errors.mae, "mse": errors.mse},
    }
    write_json_once(place.store, layout.run_part(claim.config_hash, claim.run, f"train-{name}"), part, at="run.train")
    events.train_complete(
        config_hash=claim.config_hash,
        run_id=run_id,
        model_type=name.upper(),
        duration_ms=duration_ms,
        test_rmse=errors.rmse,
        test_mae=errors.mae,
        test_mse=errors.mse,
    )
    return _tell(
        place,
        work,
        "SUCCESS",
        run_id=run_id,
        bundle_sha256=trained.bundle_sha256,
        forecasts_sha256=trained.forecasts_sha256,
        duration_ms=duration_ms,
    )


def _train(place: Workplace, work: Work, progress: Progress, *, recompute: bool) -> Trained:
    """What is stored already, or a fit in a process of its own."""
    claim, windows_hash = work.claim, work.subject.windows.windows_hash
    stored = stored_result(place.store, work.name, work.model_hash, windows_hash)
    if stored is not None and not recompute:
        events.train_skip_duplicate(
            config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash
        )
        return stored
    events.train_start(config_hash=claim.config_hash, model_type=work.name.upper(), model_hash=work.model_hash)
    order = Claim(place.store.url, claim.config_hash, claim.data_hash, work.name, recompute)
    threads = work.subject.spec.run.threads
    try:
        return train_isolated(order, threads, place.train_timeout, progress, place.children)
    except TrainingFailed:
        # a child that ended between its last commit and its last word: what is committed counts, here as for the judge
        committed = stored_result(place.store, work.name, work.model_hash, windows_hash)
        if stored is not None or committed is None:
            raise
        return replace(committed, fitted=True)


def _score(store: Store, work: Work, trained: Trained) -> Errors:
    """The pure score of what lies in the store; the judge comes to the same figures from the same bytes."""
    subject, task = work.subject, work.subject.task
    forecast = subject.forecasts(store, trained.model_hash, trained.forecasts_sha256)["y_hat"]
    truth = subject.windows.truth(subject.dataset, task.horizon)
    errors = measure(truth.values, forecast, yardstick(subject.dataset, task))
    if not math.isfinite(errors.mse):
        raise TrainingFailed("its stored forecasts are not finite")
    return errors


def _track(place: Workplace, work: Work, trained: Trained, errors: Errors) -> str | None:
    """One tracked run per scope, configuration and model; the id of the one that exists already, if any."""
    if place.tracker is None:
        return None
    claim = work.claim
    known = known_run_id(place.store, claim.config_hash, claim.identifier, work.name, place.tracker.uri)
    if known is not None:
        return known
    return place.tracker.log(candidate_run(place.store, work, trained, errors, place.environment, place.clock.now()))


def _record_failure(place: Workplace, work: Work, error: Terminal) -> ModelTraining:
    claim, reason = work.claim, str(error)
    run_id = None
    if place.tracker is not None:
        run_id = known_failed_run_id(place.store, work, error, place.tracker.uri) or place.tracker.log(
            failed_run(work, error, place.environment, place.clock.now())
        )
    record = {**_where(place, work), "class": type(error).__name__, "reason": reason, "run_id": run_id}
    write_json_once(place.store, layout.failure(claim.config_hash, claim.run, work.name), record, at="run.failure")
    events.train_failed(
        config_hash=claim.config_hash, model_type=work.name.upper(), error=type(error).__name__, reason=reason
    )
    return _tell(place, work, "FAILED", run_id=run_id, error=f"{type(error).__name__}: {reason}")


def bury_model(place: Workplace, claim: TrainingData, name: str, error: Exception) -> None:
    """Record that a claim could not even be worked on, so that nobody waits for its model."""
    now = place.clock.now().isoformat()
    record = {
        "v": 1,
        "run": claim.run,
        "scope": claim.identifier,
        "environment": place.environment,
        "model": name,
        "started": now,
        "ended": now,
        "class": type(error).__name__,
        "reason": str(error),
        "run_id": None,
    }
    write_json_once(place.store, layout.failure(claim.config_hash, claim.run, name), record, at="run.buried")
    tell_failure(place, claim, name, record)


def tell_failure(place: Workplace, claim: TrainingData, name: str, record: Mapping[str, Any]) -> None:
    """Tell the judge of a failure that is recorded."""
    spec = load_stored_spec(place.store, claim.config_hash)
    model_hash = identify(spec, claim.data_hash, VERSIONS).model_hashes[name]
    error = f"{record['class']}: {record['reason']}"
    _publish(place, claim, name, model_hash, "FAILED", run_id=record["run_id"], error=error)


def _where(place: Workplace, work: Work) -> dict[str, Any]:
    """What every part of a run's record says first."""
    return {
        "v": 1,
        "run": work.claim.run,
        "scope": work.claim.identifier,
        "environment": place.environment,
        "model": work.name,
        "model_hash": work.model_hash,
        "tracking_uri": place.tracker.uri if place.tracker else None,
        "started": work.start.isoformat(),
        "ended": place.clock.now().isoformat(),
        "processor": processor(),
    }


def _tell(place: Workplace, work: Work, status: Status, **fields: Any) -> ModelTraining:
    return _publish(place, work.claim, work.name, work.model_hash, status, **fields)


def _publish(
    place: Workplace, claim: TrainingData, name: str, model_hash: str, status: Status, **fields: Any
) -> ModelTraining:
    message = ModelTraining(
        ts=place.clock.now(),
        identifier=claim.identifier,
        config_hash=claim.config_hash,
        data_hash=claim.data_hash,
        run=claim.run,
        model=name,
        model_hash=model_hash,
        model_type=name.upper(),
        experiment=f"flts/{claim.identifier}",
        status=status,
        **fields,
    )
    place.bus.publish(message.topic, message.key, message.to_bytes())
    return message
