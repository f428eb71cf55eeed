"""Batches that the champion of this run forecast: who asked for them, what was stored, and what was announced of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice

import numpy as np
from pydantic import JsonValue, ValidationError

from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.errors import DataError
from flts.contracts.messages import InferenceData, PerformanceEval
from flts.contracts.ports import Record, read_checked
from flts.contracts.records.answer import AnswerDay, ForecastLine
from flts.contracts.records.log import LogEntry
from flts.contracts.request_ids import batch_id
from flts.forecasting.bundle import load_bundle
from flts.preprocess.limits import TOO_LARGE, Limits
from flts.preprocess.rows import Times
from flts.preprocess.source import RawFile
from flts.serve.answer import rows_for
from flts.serve.batch import Batch, errors, truth_at
from flts.verification.claims import FALSE, Check, Found, absent, recorded, same
from flts.verification.evidence import RunEvidence
from flts.verification.messages import NO_BUS, any_of_run, messages, place_of, retained

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def batches(*, due: bool) -> list[Check]:
    """Claims about the batches. due: there is a broker."""
    return [
        Check("chain.inference-data", "Every batch that this champion answered was asked for", _asked, due=due),
        Check("chain.performance-eval", "Every answer is stored and announced as it is", _answered, due=due),
    ]


def _asked(evidence: RunEvidence) -> Found:
    if evidence.outside.bus is None:
        return absent(NO_BUS)
    told, asked, deleted = _told(evidence), _claims(evidence), ""
    for record, message in told:
        if message.input_event_id in asked:
            _note(evidence, asked[message.input_event_id][0])
        elif retained(evidence.messages(InferenceData.topic)):
            reason = f"{InferenceData.topic} holds no message that {place_of(record)} answers, and nothing was deleted"
            return Found(FALSE, message.input_event_id, None, reason)
        else:
            deleted = f"{InferenceData.topic} no longer holds the message that {place_of(record)} answers"
    return absent(deleted) if deleted else _counted(evidence, len({message.input_event_id for _, message in told}))


def _answered(evidence: RunEvidence) -> Found:
    if evidence.outside.bus is None:
        return absent(NO_BUS)
    entry, told, claims = evidence.entry, _told(evidence), _claims(evidence)
    announced, deleted = {message.input_event_id for _, message in told}, ""
    for event_id in claims if entry else ():
        key = _stored_as(evidence, entry, event_id) if entry else None
        if key is None or event_id in announced:
            continue
        if retained(evidence.messages(PerformanceEval.topic)):
            reason = f"{PerformanceEval.topic} holds no message about {key}, and nothing was deleted from it"
            return Found(FALSE, 1, 0, reason)
        deleted = f"{PerformanceEval.topic} no longer holds the message about {key}"
    for record, message in told:
        assert entry is not None
        _note(evidence, record)
        asked = claims.get(message.input_event_id)
        found = _as_stored(evidence, entry, record, message, asked[1] if asked else None)
        if found is not None:
            return found
    return absent(deleted) if deleted else _counted(evidence, len(told))


def _counted(evidence: RunEvidence, count: int) -> Found:
    """That so many are as they should be; none is no fault where the bus is the right one."""
    if evidence.entry is None:
        return absent("this run promoted nothing")
    return recorded(count) if count or any_of_run(evidence) else absent("this bus holds no message of this run")


def _told(evidence: RunEvidence) -> list[tuple[Record, PerformanceEval]]:
    """What was announced of the answers of this champion, each time that it was."""
    entry = evidence.entry
    if entry is None:
        return []
    ours = (entry.scope, entry.number, entry.champion.config_hash)
    return list(messages(evidence, PerformanceEval, lambda m: (m.identifier, m.promotion, m.config_hash) == ours))


def _claims(evidence: RunEvidence) -> Mapping[str, tuple[Record, InferenceData]]:
    """The claims of batches in this scope, by their event_id."""
    scope = evidence.claim.scope
    return {m.event_id: (record, m) for record, m in messages(evidence, InferenceData, lambda m: m.identifier == scope)}


def _note(evidence: RunEvidence, record: Record) -> None:
    evidence.note(place_of(record), sha256(record.value))


def _stored_as(evidence: RunEvidence, entry: LogEntry, event_id: str) -> str | None:
    """The key of the answer of this champion to a claim; None where it has not begun one."""
    part = batch_id(event_id, entry.number)
    day = evidence.record(layout.answered(entry.scope, part), AnswerDay)
    key = layout.inference_log(entry.scope, day.day, part) if day else None
    return key if key is not None and evidence.exists(key) else None


def _as_stored(
    evidence: RunEvidence, entry: LogEntry, record: Record, message: PerformanceEval, claim: InferenceData | None
) -> Found | None:
    """What is wrong with an announced answer; None where the store holds what was announced."""
    key, where = message.log_object_key, place_of(record)
    expected = _stored_as(evidence, entry, message.input_event_id)
    if key != expected:
        return Found(FALSE, key, expected, f"{where} names {key} as its answer, which is absent; {layout.restore(key)}")
    try:
        lines = [ForecastLine.model_validate_json(line) for line in (evidence.get(key) or b"").splitlines()]
    except ValidationError as error:
        return Found(FALSE, None, None, f"{key} is damaged: {error.error_count()} faults; {layout.mend(key)}")
    if message.log_sha256 not in {None, evidence.digest(key)}:
        return Found(FALSE, message.log_sha256, evidence.digest(key), f"{key} was changed; {layout.mend(key)}")
    if len(lines) != message.forecasts:
        return same(message.forecasts, len(lines), f"{where} names another number of forecasts than {key} holds")
    champion, part = entry.champion, batch_id(message.input_event_id, entry.number)
    by = (part, champion.model_type, champion.model_hash, entry.number)
    if any((line.request_id, line.model_type, line.model_hash, line.promotion) != by for line in lines):
        return Found(FALSE, entry.number, None, f"{key} holds forecasts of another model or of another claim")
    return _errors_differ(evidence, entry, where, message, claim, lines) if claim is not None else None


def _errors_differ(
    evidence: RunEvidence,
    entry: LogEntry,
    where: str,
    message: PerformanceEval,
    claim: InferenceData,
    lines: list[ForecastLine],
) -> Found | None:
    """The errors of the stored forecasts, computed again from the rows that were claimed."""
    key = claim.key_in_store
    if not evidence.exists(key):
        return None  # rows of others may be gone
    bundle = load_bundle(evidence, entry.champion.bundle_sha256)
    file = RawFile(claim.object_key.rpartition("/")[2], read_checked(evidence, key, claim.sha256), Limits())
    try:
        rows, task = rows_for(bundle, file), bundle.model.task
    except DataError as error:
        if error.code != TOO_LARGE:
            raise
        return None  # this process may not read what another one did
    shape = (-1, task.horizon, len(task.fitted.targets))
    if len(lines) % (shape[1] * shape[2]):
        reason = f"{message.log_object_key} holds forecasts that end in the middle of a window"
        return Found(FALSE, None, len(lines), reason)
    times = _times([line.time for line in lines]).reshape(shape)[:, :, 0]
    origins = _times([line.origin for line in islice(lines, 0, None, shape[1] * shape[2])])
    mean = np.array([line.mean for line in lines]).reshape(shape)
    batch = Batch(origins, times, task.fitted.targets, mean, mean, mean, truth_at(rows, times, task.fitted.targets), ())
    scores = errors(bundle, batch)
    found = None if scores is None else {"rmse": scores.rmse, "mae": scores.mae, "mse": scores.mse}
    if (found, len(rows)) == (message.metrics, message.rows):
        return None
    reason = f"{where} names other errors or rows than {message.log_object_key} and {key} have"
    return Found(FALSE, _plain(message.metrics), _plain(found), reason)


def _plain(metrics: Mapping[str, float] | None) -> JsonValue:
    return None if metrics is None else dict(metrics)


def _times(texts: list[str]) -> Times:
    """UTC ns."""
    return np.array([(datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1) * 1000 for text in texts])
