"""The messages of the topics: typed, versioned, with an id that a re-sent message keeps.

`event_id` is the SHA-256 over topic, version and the identity fields of the class; time, durations and run ids are
outside it, so the same fact told twice is recognised.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, computed_field, model_validator

from flts.errors import DataError
from flts.lineage import canonical_json, digest

Sha256 = Field(pattern=r"^[0-9a-f]{64}$")


class Message(BaseModel):
    """What every message carries."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

    topic: ClassVar[str]
    key_field: ClassVar[str]
    identity_fields: ClassVar[tuple[str, ...]]

    v: Literal[1] = 1
    """Version of this message type."""
    ts: datetime
    """When it was sent, RFC 3339, UTC."""
    identifier: str
    """The scope."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def event_id(self) -> str:
        """Stable over re-sending."""
        fields = self.model_dump(mode="json", include=set(self.identity_fields))
        return digest({"topic": self.topic, "v": self.v, **fields})

    @property
    def key(self) -> str:
        """The field that decides the partition."""
        return str(getattr(self, self.key_field))

    @model_validator(mode="wrap")
    @classmethod
    def _id_fits(cls, values: Any, build: Any) -> Self:
        message: Self = build(values)
        claimed = values.get("event_id") if isinstance(values, dict) else None
        if claimed is not None and claimed != message.event_id:
            raise ValueError(f"event_id {claimed} does not belong to these identity fields")
        return message

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message in these bytes. Raises DataError that names the fields that do not fit."""
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'message'}: {e['msg']}" for e in error.errors())
            raise DataError(f"{cls.topic}: {faults}") from None


class TrainingData(Message):
    """Rows are ready: every expected model may start."""

    topic = "training-data"
    key_field = "data_hash"
    identity_fields = ("identifier", "config_hash", "run")

    config_hash: str = Sha256
    data_hash: str = Sha256
    run: int
    """Number of the run under its config_hash."""
    bucket: str
    object_key: str
    """meta.json, which holds the digests of both Parquet files."""
    size: int
    sha256: str = Sha256
    row_count: int
    spec_key: str
    """The Spec of the experiment."""


class ModelTraining(Message):
    """A model started, has a result, or has a reason why not."""

    topic = "model-training"
    key_field = "config_hash"
    identity_fields = ("identifier", "config_hash", "model_hash", "run", "status")

    config_hash: str = Sha256
    data_hash: str = Sha256
    run: int
    model: str
    """Name of the model's table in the Spec."""
    model_hash: str = Sha256
    model_type: str
    operation: Literal["train"] = "train"
    status: Literal["RUNNING", "SUCCESS", "FAILED"]
    run_id: str | None = None
    """MLflow run; null where tracking is off."""
    experiment: str = ""
    bundle_sha256: str | None = None
    forecasts_sha256: str | None = None
    duration_ms: int | None = None
    error: str | None = None


class ModelSelected(Message):
    """The champion of a scope changed."""

    topic = "model-selected"
    key_field = "scope"
    identity_fields = ("scope", "promotion")

    scope: str
    promotion: int
    """Number of the entry in the promotion log."""
    kind: Literal["promote", "rollback", "manual"]
    config_hash: str = Sha256
    data_hash: str = Sha256
    model_hash: str = Sha256
    decision_id: str
    run_id: str | None = None
    model_type: str
    model_uri: str
    """runs:/<run id>/<MODEL_TYPE>, or store:bundles/<sha256> where tracking is off."""
    bundle_sha256: str = Sha256
    score: float | None = None
    rmse: float | None = None
    mae: float | None = None
    mse: float | None = None
    weights: dict[str, float] = {}
