"""The messages on the topics: typed, versioned, with an id that a message keeps when it is sent again.

`event_id` is the SHA-256 of topic, version and the identity fields of the class. Time, durations and run ids are not
part of it, so a receiver recognises a repeated message.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    computed_field,
    model_serializer,
    model_validator,
)

from flts.contracts.canonical import canonical_json, digest
from flts.contracts.errors import DataError
from flts.contracts.layout import checked_key, scope_name
from flts.contracts.moments import moment

LARGEST = 1 << 20
"""Bytes of the largest message; a longer one is refused without parsing it."""
DEAD_LETTERS = "DLQ-"
"""Prefix of the topics of messages that could not be handled."""
HEX = r"^[0-9a-f]{64}$"
Sha256 = Field(pattern=HEX)
RunNumber = Field(ge=1, lt=10_000)
PromotionNumber = Field(ge=1, lt=100_000_000)
Size = Field(ge=0)
ModelName = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")
Scope = Annotated[str, AfterValidator(lambda value: scope_name(value or "global"))]


Moment = Annotated[datetime, AfterValidator(moment)]


class Message(BaseModel):
    """The fields of every message."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, use_attribute_docstrings=True)

    topic: ClassVar[str]
    key_field: ClassVar[str]
    identity_fields: ClassVar[tuple[str, ...]]

    v: Literal[1] = 1
    """Version of this message type."""
    ts: Moment
    """When it was sent, RFC 3339, UTC."""
    identifier: Scope
    """The scope."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def event_id(self) -> str:
        """The same when the message is sent again."""
        fields = self.model_dump(mode="json", include=set(self.identity_fields))
        return digest({"topic": self.topic, "v": self.v, **fields})

    @property
    def key(self) -> str:
        """Decides the partition."""
        return str(getattr(self, self.key_field))

    @model_validator(mode="wrap")
    @classmethod
    def _id_fits(cls, values: Any, build: Any) -> Self:
        message: Self = build(values)
        claimed = values.get("event_id") if isinstance(values, dict) else None
        if claimed is not None and claimed != message.event_id:
            raise ValueError(f"event_id {claimed} does not match the identity fields")
        return message

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical_json(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """The message in these bytes. Raises DataError that names the fields that do not fit."""
        if len(data) > LARGEST:
            raise DataError(
                f"{cls.topic}: the message has {len(data):,} bytes, at most {LARGEST:,} are allowed",
                code="message-too-large",
                topic=cls.topic,
                size=len(data),
            )
        try:
            return cls.model_validate_json(data)
        except ValidationError as error:
            faults = [(".".join(map(str, e["loc"])) or "message", e["msg"]) for e in error.errors()]
            version = next((e["input"] for e in error.errors() if e["loc"] == ("v",)), None)
            if type(version) is int and version > cls.model_fields["v"].default:
                raise DataError(
                    f"{cls.topic}: a newer flts sent this message, in version {version}; it needs that flts to be read",
                    code="message-newer",
                    topic=cls.topic,
                    version=version,
                ) from None
            raise DataError(
                f"{cls.topic}: {'; '.join(f'{field}: {why}' for field, why in faults)}",
                code="message-invalid",
                topic=cls.topic,
                fields=[field for field, _ in faults],
            ) from None


class TrainingData(Message):
    """Rows are ready: every expected model may start."""

    topic = "training-data"
    key_field = "data_hash"
    identity_fields = ("identifier", "config_hash", "run")

    config_hash: str = Sha256
    data_hash: str = Sha256
    run: int = RunNumber
    """Number of the run under its config_hash."""
    bucket: str
    object_key: str
    """meta.json, which holds the digests of both Parquet files."""
    size: int = Size
    sha256: str = Sha256
    row_count: int = Size
    spec_key: str
    """The Spec of the experiment."""


class ModelTraining(Message):
    """A model started, has a result, or failed."""

    topic = "model-training"
    key_field = "config_hash"
    identity_fields = ("identifier", "config_hash", "model_hash", "run", "status")

    config_hash: str = Sha256
    data_hash: str = Sha256
    run: int = RunNumber
    model: str = ModelName
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


class InferenceData(Message):
    """Raw rows to forecast from, in original units, as CSV or Parquet: history, and truth as far as it is known."""

    topic = "inference-data"
    key_field = "identifier"
    identity_fields = ("sha256", "identifier")

    bucket: str
    object_key: str
    size: int = Size
    sha256: str = Sha256
    row_count: int = Size
    deadline_ms: int | None = Field(default=None, ge=1, le=10**12)
    """Milliseconds after `ts` from which the answer is no longer needed."""
    config_hash: str | None = Field(default=None, pattern=HEX)
    data_hash: str | None = Field(default=None, pattern=HEX)

    @property
    def key_in_store(self) -> str:
        """The key of the rows in the store. Raises ValueError for a name that could leave its bucket."""
        return checked_key(self.bucket, self.object_key)

    @model_validator(mode="after")
    def _named_by_allow_list(self) -> Self:
        checked_key(self.bucket, self.object_key)
        return self


class PerformanceEval(Message):
    """A batch was forecast; with its errors where the rows hold the truth."""

    topic = "performance-eval"
    key_field = "identifier"
    identity_fields = ("input_event_id", "promotion")

    input_event_id: str = Sha256
    """The inference-data message this answers."""
    promotion: int = PromotionNumber
    config_hash: str = Sha256
    data_hash: str = Sha256
    """Of the champion that made the forecast."""
    run_id: str | None = None
    model_type: str
    log_object_key: str
    """The forecasts, one JSON object a line."""
    log_sha256: str | None = Field(default=None, pattern=HEX)
    """Digest of that object; None in the message of an earlier flts."""
    rows: int = Size
    """Rows of the input."""
    forecasts: int = Size
    """Lines of the log."""
    metrics: dict[str, float] | None = None
    """rmse, mae and mse, scaled by the target's range over train; None where no truth is known yet."""


class ModelSelected(Message):
    """The champion of a scope changed."""

    topic = "model-selected"
    key_field = "scope"
    identity_fields = ("scope", "promotion", "entry_sha256", "replaces")

    v: Literal[1, 2] = 2  # type: ignore[assignment]
    """Version of this message type; version 1 had neither of the two digests."""
    scope: Scope
    promotion: int = PromotionNumber
    """Number of the entry in the promotion log. The highest number counts, unless `replaces` takes it back."""
    entry_sha256: str | None = Field(default=None, pattern=HEX)
    """Digest of the entry: a number comes again where a person shortened or replaced the log."""
    replaces: str | None = Field(default=None, pattern=HEX)
    """event_id of the message about an entry that is no longer in the log, which this one takes back."""
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

    @model_serializer(mode="wrap")
    def _sent(self, handler: Any) -> dict[str, Any]:
        fields: dict[str, Any] = handler(self)
        return {k: v for k, v in fields.items() if v is not None or k not in {"entry_sha256", "replaces"}}


TOPICS: Mapping[str, type[Message]] = {message.topic: message for message in Message.__subclasses__()}
"""Every topic and its message: the one list for whatever creates, checks or lists topics."""
