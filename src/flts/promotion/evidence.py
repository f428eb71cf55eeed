"""Whether the objects that a decision rests on are still those that it was made from.

A decision names their digests, its log entry names the digest of the decision, and the next entry that of the entry.
None of these digests is part of decision_id: the same comparison stays the same decision, whatever it was stored with.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from flts.contracts import layout, runs
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject
from flts.contracts.ports import Store, changed
from flts.contracts.records.base import read_record
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.run import JudgePart
from flts.preprocess.rows import Values


def digest_of(forecast: Values) -> str:
    """SHA-256 of a forecast that is not stored: float64, little-endian, the last axis first."""
    return sha256(np.ascontiguousarray(forecast, dtype="<f8").tobytes())


def refuse_changed(store: Store, record: DecisionRecord, found: Mapping[str, str]) -> None:
    """Raise DamagedObject for the first object with another digest than the decision names. found: digests by key."""
    for key, expected in _named(record).items():
        if found.get(key, expected) != expected and kept_aside(store, key, expected) is None:
            raise changed(store, key, expected, found[key], f"decision {record.decision_id[:12]}… rests on")


def kept_aside(store: Store, key: str, expected: str) -> str | None:
    """The key in quarantine of the object with this digest, which a recompute put aside; None where none is there."""
    aside = (found for found in store.list("quarantine/") if found.endswith(f"/{key}"))
    return next((found for found in aside if sha256(store.get(found) or b"") == expected), None)


def newest_decision(store: Store, config_hash: str) -> DecisionRecord | None:
    """The decision of the newest judged run of a configuration; None where there is none that can be read."""
    try:
        judged = next(runs.parts(store, config_hash, "judge", JudgePart), None)
        return read_record(store, layout.decision(judged.scope, judged.decision_id), DecisionRecord) if judged else None
    except DamagedObject:
        return None


def _named(record: DecisionRecord) -> Mapping[str, str]:
    return record.evidence.objects if record.evidence else {}
