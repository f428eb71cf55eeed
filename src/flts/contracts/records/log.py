"""An entry of the promotion log: one change of the champion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from flts.contracts.records.base import Digest, Number, Part, ScopeName, StoredRecord, Time, Upgrade

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

    # format 1 did not name the digest of its decision
    upgrades: ClassVar[Mapping[int, Upgrade]] = {1: lambda record: {**record, "decision_sha256": None}}
    absent_when_none = frozenset({"reason"})

    v: Literal[2] = 2
    scope: ScopeName
    number: Number
    kind: Kind
    previous_sha256: Digest | None
    decision_id: Digest
    decision_sha256: Digest | None = None
    """Of the decision as it is stored; None in an entry of format 1."""
    actor: str
    time: Time
    champion: Promoted
    restores: Number | None = None
    """Number of the entry whose champion a rollback restores."""
    reason: str | None = None
    """Why a person promoted or rolled back, in their words."""


class LogSnapshot(StoredRecord):
    """`log-snapshot.json`: the first entries of a long promotion log; it counts while the last of them stands there."""

    v: Literal[1] = 1
    scope: ScopeName
    entries: list[str]
    """The text of each entry as it is stored, oldest first."""
