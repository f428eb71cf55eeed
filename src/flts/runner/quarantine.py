"""A damaged result or bundle is put aside, so that it can be made again: the one exception to create-only."""

from __future__ import annotations

from datetime import UTC

from flts.contracts import events, layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, StageFailed
from flts.contracts.ports import Store, read_checked, take_away, write_once
from flts.contracts.records.base import R, read_record, read_sealed, write_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.model import Latency, ModelResult, WindowsResult
from flts.contracts.records.run import QuarantineRecord
from flts.forecasting.bundle import MANIFEST
from flts.promotion.evidence import newest_decision, refuse_changed
from flts.train.experiment import Experiment
from flts.train.stage import fitted_bundle
from flts.wiring import RunContext


def put_aside(context: RunContext, experiment: Experiment, name: str, model_hash: str | None = None) -> None:
    """Move the results of a candidate under `quarantine/<time>/` where one of them is damaged or names what is.

    A commit point goes with its folder, because the rest of it was made with it: forecasts of another fit must not
    stand beside a new result. Copies and record are written before anything is removed, and the commit point is removed
    last; where a crash left it, the next recompute starts again. model_hash: by default that of the experiment.
    """
    store, model_hash = context.store, model_hash or experiment.identity.model_hashes[name]
    decision = newest_decision(store, experiment.identity.config_hash)
    if damage := _damage_of_model(store, model_hash, decision):
        _move(context, name, model_hash, _commit_of(model_hash, damage), damage)
    elif damage := _damage_of_windows(store, experiment, model_hash, decision):
        commit = layout.windows_result(model_hash, experiment.identity.windows_hash)
        _move(context, name, model_hash, commit, damage)


def _damage_of_model(store: Store, model_hash: str, decision: DecisionRecord | None) -> DamagedObject | None:
    try:
        read_record(store, layout.latency(model_hash), Latency)
        result = _as_decided(store, layout.model_result(model_hash), ModelResult, decision)
        if result is not None:
            read_checked(store, layout.validation(model_hash), result.validation_sha256)
            fitted_bundle(store, result)
    except DamagedObject as damage:
        return damage
    return None


def _as_decided(store: Store, key: str, kind: type[R], decision: DecisionRecord | None) -> R | None:
    """The record under a key. Raises DamagedObject also where the newest decision was made from another one."""
    found = read_sealed(store, key, kind)
    if found is None:
        return None
    record, digest = found
    if decision is not None:
        refuse_changed(store, decision, {key: digest})
    return record


def _commit_of(model_hash: str, damage: DamagedObject) -> str:
    """The commit point of the folder with the damage: of the bundle, or of the result where that names no bundle."""
    key = str(damage.data.get("key"))
    in_bundle = key.startswith("bundles/") and not (damage.code == "object-missing" and key.endswith(f"/{MANIFEST}"))
    return f"{key.rpartition('/')[0]}/{MANIFEST}" if in_bundle else layout.model_result(model_hash)


def _damage_of_windows(
    store: Store, experiment: Experiment, model_hash: str, decision: DecisionRecord | None
) -> DamagedObject | None:
    try:
        key = layout.windows_result(model_hash, experiment.identity.windows_hash)
        committed = _as_decided(store, key, WindowsResult, decision)
        if committed is not None:
            experiment.forecasts(store, model_hash, committed.forecasts_sha256)
    except DamagedObject as damage:
        return damage
    return None


def _move(context: RunContext, name: str, model_hash: str, commit: str, damage: DamagedObject) -> None:
    store, now = context.store, context.clock.now()
    time, folder = f"{now.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}", f"{commit.rpartition('/')[0]}/"
    found = {key: data for key in store.list(folder) if (data := store.get(key)) is not None}
    for key, data in found.items():
        aside = layout.quarantined(time, key)
        if write_once(store, aside, data, at="quarantine.object") != data:
            raise StageFailed(f"{aside} in {store.url} holds another object", code="quarantine-taken", key=aside)
    record = QuarantineRecord(
        environment=context.environment,
        model=name,
        model_hash=model_hash,
        reason=str(damage),
        objects={key: sha256(data) for key, data in found.items()},
        ended=now.isoformat(),
    )
    write_record(store, layout.quarantine_record(time, folder), record, at="quarantine.record")
    for key in sorted(found, key=lambda key: key == commit):
        take_away(store, key, at="quarantine.remove")
    events.emit(
        events.ResultPutAside(
            model_type=name.upper(),
            model_hash=model_hash,
            record=layout.quarantine_record(time, folder),
            reason=str(damage),
        )
    )
