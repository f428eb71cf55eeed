"""An entry of the promotion log: one change of the champion."""

from __future__ import annotations

from typing import Literal

from flts.contracts.records.base import Digest, Number, Part, ScopeName, StoredRecord

Kind = Literal["promote", "rollback", "manual"]


class Promoted(Part):
    """A model as the log records it."""

    config_hash: Digest
    data_hash: Digest
    model_hash: Digest
    model: str
    model_type: str
    bundle_sha256: Digest
    run_id: str | None
    model_uri: str
    score: float | None
    rmse: float | None
    mae: float | None
    mse: float | None
    weights: dict[str, float]


class LogEntry(StoredRecord):
    """`log/NNNNNNNN.json`: one change of the champion; names the digest of the entry before it."""

    v: Literal[1] = 1
    scope: ScopeName
    number: Number
    kind: Kind
    previous_sha256: Digest | None
    decision_id: Digest
    actor: str
    time: str
    champion: Promoted
    restores: Number | None = None
    """Number of the entry whose champion a rollback restores."""
