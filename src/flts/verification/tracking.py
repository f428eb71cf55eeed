"""The experiment tracker: each candidate has its run there, ended as it ended here, with its hashes and errors."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from flts.contracts import layout
from flts.contracts.errors import StageFailed, without_credentials
from flts.contracts.ports import SeenRun, experiment_of
from flts.contracts.records.log import LogEntry
from flts.contracts.records.run import FailurePart, ScaledErrors, TrainPart, status_of
from flts.verification.claims import FALSE, TRUE, Check, Found, SectionChecks, absent, recorded, same
from flts.verification.evidence import RunEvidence

Tracked = TrainPart | FailurePart
ENTRY_TAG = "flts.entry_sha256"
OFF = "tracking was off in this run"


def tracking(evidence: RunEvidence) -> SectionChecks:
    """Claims about the tracked run of each model."""
    checks = [check for model in evidence.models for check in _of_model(model, evidence)]
    return SectionChecks("tracking", "Tracked runs", checks)


def _of_model(model: str, evidence: RunEvidence) -> list[Check]:
    def claim(name: str, says: str, look: Callable[[RunEvidence, Tracked, SeenRun], Found]) -> Check:
        def look_at(evidence: RunEvidence) -> Found:
            part = evidence.trained(model) or evidence.failed(model)
            if part is None or part.run_id is None:
                return absent(OFF)
            seen = tracked(evidence, part)
            if seen is None:
                where = without_credentials(part.tracking_uri or "")
                return Found(FALSE, part.run_id, None, f"run {part.run_id} of {model} is not at {where}")
            return look(evidence, part, seen)

        due = evidence.tracked_here(model)
        return Check(f"tracking.{model}.{name}", says, look_at, due=due)

    return [
        claim("run", f"The tracked run of {model} exists", lambda e, part, seen: recorded(part.run_id)),
        claim("status", f"The tracked run of {model} ended as its record says", _status),
        claim("experiment", f"The tracked run of {model} is in the experiment of the scope", _experiment),
        claim("hashes", f"The tracked run of {model} names the hashes of this run", _hashes),
        claim("errors", f"The tracked run of {model} shows the recorded errors", _errors),
        claim("ended", f"The tracked run of {model} ended after it started", _ended),
    ]


def witness(evidence: RunEvidence) -> Check:
    """The tracker as a witness of the log: its version names the digest of the entry that made it champion."""
    return Check(
        "promotion.witness.tracking",
        "The champion in the tracker names the newest entry of the log",
        _witnessed,
        (layout.log(evidence.scope),),
        due=any(map(evidence.tracked_here, evidence.models)),
    )


def _witnessed(evidence: RunEvidence) -> Found:
    log = evidence.log
    if log.newest is None or log.newest.champion.run_id is None:
        return absent("the champion has no tracked run")
    tracker = evidence.outside.tracker
    if tracker is None:
        raise StageFailed("the champion has a tracked run, and tracking is off here", code="tracker-other")
    if not any(evidence.tracked(run_id) for run_id in _run_ids(evidence, log.newest)):
        raise StageFailed("the tracker here has no run of this champion and none of this run", code="tracker-other")
    tags = evidence.champion_tags
    named = (tags or {}).get(ENTRY_TAG)
    if named is None:
        return absent("the tracker has no champion of this scope that names an entry")
    key = layout.log_entry(evidence.scope, len(log.entries))
    return same(named, log.head, f"{key} is not the entry that the champion in the tracker names")


def tracked(evidence: RunEvidence, part: Tracked) -> SeenRun | None:
    """The tracked run of a part. Raises StageFailed where this tracker is another one.

    A run id is the same in every copy of a tracker, so a folder or a database may have moved.
    """
    tracker, uri = evidence.outside.tracker, part.tracking_uri
    assert part.run_id is not None
    seen = evidence.tracked(part.run_id)
    if tracker is None or (seen is None and uri is not None and tracker.uri != uri):
        here = "tracking is off here" if tracker is None else f"this is {without_credentials(tracker.uri)}"
        raise StageFailed(
            f"the tracked run is at {without_credentials(uri or 'an unknown place')}, and {here};"
            " set FLTS_TRACKING and FLTS_MLFLOW_URI",
            code="tracker-other",
        )
    return seen


def _run_ids(evidence: RunEvidence, entry: LogEntry) -> list[str]:
    """The tracked runs that the right tracker may know: that of the champion, and those of this run."""
    parts = (evidence.trained(model) or evidence.failed(model) for model in evidence.models)
    found = [entry.champion.run_id, *(part.run_id for part in parts if part is not None)]
    return [run_id for run_id in found if run_id is not None]


def _status(evidence: RunEvidence, part: Tracked, seen: SeenRun) -> Found:
    expected = part.run_status or ("FINISHED" if isinstance(part, TrainPart) else status_of(part.error))
    return same(expected, seen.status, f"run {part.run_id} is {seen.status} in the tracker, not {expected}")


def _experiment(evidence: RunEvidence, part: Tracked, seen: SeenRun) -> Found:
    expected = part.experiment or experiment_of(part.scope)
    return same(expected, seen.experiment, f"run {part.run_id} is in another experiment of the tracker")


def _hashes(evidence: RunEvidence, part: Tracked, seen: SeenRun) -> Found:
    expected = {
        "config_hash": evidence.config_hash,
        "data_hash": evidence.claim.data_hash,
        "model_hash": part.model_hash,
    }
    if isinstance(part, TrainPart):
        expected["bundle_sha256"] = part.bundle_sha256 or evidence.result(part.model_hash).bundle_sha256
    for name, value in expected.items():
        found = seen.tags.get(f"flts.{name}")
        if found != value:
            return Found(FALSE, value, found, f"run {part.run_id} in the tracker names another {name}")
    return Found(TRUE, len(expected), len(expected))


def _errors(evidence: RunEvidence, part: Tracked, seen: SeenRun) -> Found:
    if not isinstance(part, TrainPart):
        return absent(f"{part.model} has no errors in this run")
    for name in ScaledErrors.model_fields:
        expected, found = getattr(part.errors, name), seen.metrics.get(f"test_{name}")
        if expected != found:
            return Found(FALSE, expected, found, f"run {part.run_id} in the tracker shows another {name.upper()}")
    return recorded(part.errors.rmse)


def _ended(evidence: RunEvidence, part: Tracked, seen: SeenRun) -> Found:
    if seen.ended_ms is None or seen.ended_ms < seen.started_ms:
        return Found(FALSE, None, seen.ended_ms, f"run {part.run_id} in the tracker did not end after it started")
    return recorded(datetime.fromtimestamp(seen.ended_ms / 1000, UTC).isoformat(timespec="milliseconds"))
