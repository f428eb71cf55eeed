"""Structured log events: one class per event, so that its name and its fields are defined once.

One JSON object a line on stderr, or plain text at a terminal. No secret and no row of data is ever logged.

Fields that several events share: service is the part of FLTS that logs; config_hash, data_hash, model_hash and
bundle_sha256 are the identities of the experiment, its rows, a model and its bundle; model_type is the model's name in
upper case; run_id is MLflow's, None where tracking is off; scope and promotion name an entry of the promotion log;
object_key, size in bytes and sha256 describe an object of the store; topic and event_id name a message; *_ms are
milliseconds and *_s seconds; error is the class of an error and reason its message. A field that is None is left out of
the line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TextIO

from flts.contracts.errors import without_credentials

if TYPE_CHECKING:
    from structlog.typing import Processor

Format = Literal["json", "text", "off"]

_configured = False
_format: Format = "off"
_lines: TextIO | None = None
"""Where lines of JSON go, if they do."""
_sink: Callable[[dict[str, Any]], None] | None = None


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event; its fields are those of the log line."""

    event: ClassVar[str]
    """The name in the log, which never changes."""
    service: str


def emit(event: Event) -> None:
    """Log one event."""
    _log(_values(event))


def line_of(event: Event, when: datetime) -> str | None:
    """The line of an event that happened at this time, for `write_lines`; None where events are no lines of JSON."""
    if _lines is None or _sink is not None:
        return None
    return f"{_json(_shown(_values(event)))[:-1]}{_end(when)}"


def _end(when: datetime) -> str:
    """The end of a line: when it happened."""
    return f', "ts": "{when.isoformat().replace("+00:00", "Z")}"}}\n'


_json: Callable[[Any], str] = json.JSONEncoder().encode
_quoted = json.encoder.encode_basestring_ascii  # as the encoder writes text


class Often:
    """A kind of event that happens often: the fields that all of them share are written once."""

    def __init__(self, kind: type[Event], **shared: Any) -> None:
        self.make: Callable[..., Event] = partial(kind, **shared)
        self.head = _json(_shown({"event": kind.event, **shared}))[:-1]

    def happened(self, **own: str | float | None) -> Happened:
        """One of them, with the fields of its own."""
        return Happened(self, own)


@dataclass(slots=True)
class Happened:
    """An event of a kind that happens often; called, it is the event."""

    kind: Often
    own: dict[str, str | float | None]

    def __call__(self) -> Event:
        """The event."""
        return self.kind.make(**self.own)

    def line(self, when: datetime) -> str | None:
        """As `line_of`."""
        if _lines is None or _sink is not None:
            return None
        fields = [self.kind.head]
        for name, value in self.own.items():
            if type(value) is str:
                fields.append(f'"{name}": {_quoted(without_credentials(value))}')
            elif value is not None:
                fields.append(f'"{name}": {value!r}')
        return ", ".join(fields) + _end(when)


def write_lines(lines: str) -> None:
    """Log lines of `line_of`."""
    if _lines is not None:
        _lines.write(lines)
        _lines.flush()


def wanted() -> bool:
    """Whether events are logged at all."""
    return _sink is not None or _format != "off"


def divert(sink: Callable[[dict[str, Any]], None]) -> None:
    """Send every event of this process to `sink` instead: a child hands them to its parent, which replays them."""
    global _sink  # noqa: PLW0603 - one process has one sink
    _sink = sink


def replay(logged: Mapping[str, Any]) -> None:
    """Log an event that another process emitted."""
    _log(logged)


def configure(format: Format, stream: TextIO | None = None) -> None:
    """Choose how events of this process are logged: as JSON lines, as text for people, or not at all."""
    import structlog

    global _configured, _format, _lines
    _configured, _format, _lines = True, format, (stream or sys.stderr) if format == "json" else None
    renderer: Processor = (
        structlog.processors.JSONRenderer() if format == "json" else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[_off] if format == "off" else [structlog.processors.TimeStamper("iso", key="ts"), renderer],
        logger_factory=structlog.PrintLoggerFactory(stream or sys.stderr),
        cache_logger_on_first_use=False,
    )


def _off(_logger: object, _name: str, _event: object) -> Any:
    import structlog

    raise structlog.DropEvent


def _log(line: Mapping[str, Any]) -> None:
    if _sink is not None:
        _sink(dict(line))
        return
    import structlog

    if not _configured and not structlog.is_configured():
        configure("off")
    structlog.get_logger().info(**_shown(line))


def _values(event: Event) -> dict[str, Any]:
    """The name and the fields of an event."""
    values = {"event": event.event, **vars(event)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _shown(line: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value, as people may see them."""
    return {
        name: without_credentials(value) if isinstance(value, str) else value
        for name, value in line.items()
        if value is not None
    }


@dataclass(frozen=True, kw_only=True)
class SamplingApplied(Event):
    """Rows were sampled."""

    event = "sampling_applied"
    service: str = "preprocess"
    train_rows_before: int
    train_rows_after: int
    test_rows_before: int
    test_rows_after: int
    sample_strategy: str
    """head, tail or random."""
    sample_seed: int


@dataclass(frozen=True, kw_only=True)
class UploadDone(Event):
    """An object with processed rows was stored."""

    event = "upload_done"
    service: str = "preprocess"
    object_key: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SkipIdempotent(Event):
    """These rows were processed before."""

    event = "skip_idempotent"
    service: str = "preprocess"
    data_hash: str


@dataclass(frozen=True, kw_only=True)
class ClaimPublished(Event):
    """The message that asks the trainers for a fit was sent."""

    event = "claim_published"
    service: str = "preprocess"
    config_hash: str
    data_hash: str
    run: int
    """Number of the run of this experiment."""
    topic: str
    event_id: str


@dataclass(frozen=True, kw_only=True)
class TrainStart(Event):
    """A model is fitted, or its stored bundle forecasts new windows."""

    event = "train_start"
    service: str = "train"
    config_hash: str
    model_type: str
    model_hash: str


@dataclass(frozen=True, kw_only=True)
class TrainComplete(Event):
    """A model has its bundle and forecasts; errors are scaled by the target's range over train."""

    event = "train_complete"
    service: str = "train"
    config_hash: str
    run_id: str | None
    model_type: str
    duration_ms: int
    test_rmse: float
    test_mae: float
    test_mse: float


@dataclass(frozen=True, kw_only=True)
class TrainFailed(Event):
    """A model has no forecast in this run."""

    event = "train_failed"
    service: str = "train"
    config_hash: str
    model_type: str
    error: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class TrainSkipDuplicate(Event):
    """The result of this model_hash already exists."""

    event = "train_skip_duplicate"
    service: str = "train"
    config_hash: str
    model_type: str
    model_hash: str


@dataclass(frozen=True, kw_only=True)
class PromotionWaitingForModels(Event):
    """The judge waits for models without a result."""

    event = "promotion_waiting_for_models"
    service: str = "evaluate"
    config_hash: str
    have: Sequence[str]
    missing: Sequence[str]
    """Models that have neither a result nor a failure yet."""


@dataclass(frozen=True, kw_only=True)
class DeadlinePassedOver(Event):
    """The deadline check skipped a configuration that it could not read."""

    event = "deadline_passed_over"
    service: str = "evaluate"
    config_hash: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PromotionAllModelsPresent(Event):
    """Every expected model has a result or a failure."""

    event = "promotion_all_models_present"
    service: str = "evaluate"
    config_hash: str
    models: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class PromotionScoreboard(Event):
    """Rank, model and score of every candidate."""

    event = "promotion_scoreboard"
    service: str = "evaluate"
    config_hash: str
    board: Sequence[dict[str, Any]]
    """One mapping per candidate, the best first."""


@dataclass(frozen=True, kw_only=True)
class PromotionDecision(Event):
    """A decision was made."""

    event = "promotion_decision"
    service: str = "evaluate"
    config_hash: str
    decision_id: str
    outcome: str
    """promote, keep or none."""
    run_id: str | None
    model_type: str | None
    experiment: str
    """MLflow's name of the scope."""
    model_uri: str | None
    score: float | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class RunJudged(Event):
    """The judge's part of a run was stored, the last of its parts."""

    event = "run_judged"
    service: str = "evaluate"
    config_hash: str
    run: int
    """Number of the run of this experiment."""
    decision_id: str
    judge_sha256: str
    """Of the stored part, which names the digests of the others."""


@dataclass(frozen=True, kw_only=True)
class PromotionRootPointerWrite(Event):
    """The pointers to the champion were written."""

    event = "promotion_root_pointer_write"
    service: str = "evaluate"
    config_hash: str
    scope: str
    run_id: str | None
    model_type: str


@dataclass(frozen=True, kw_only=True)
class PromotionPublish(Event):
    """The message about a new champion was sent."""

    event = "promotion_publish"
    service: str = "evaluate"
    config_hash: str
    scope: str
    promotion: int
    event_id: str


@dataclass(frozen=True, kw_only=True)
class PromotionLogDamaged(Event):
    """The promotion log of a scope cannot be read, so its pointers stay unchanged."""

    event = "promotion_log_damaged"
    service: str = "evaluate"
    scope: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class PromotionLogReplaced(Event):
    """A person shortened or replaced the promotion log: a promotion that was announced or served is not in it."""

    event = "promotion_log_replaced"
    service: str = "evaluate"
    scope: str
    was: int
    """Number of the promotion that is gone."""
    promotion: int
    """Number of the newest one."""


@dataclass(frozen=True, kw_only=True)
class ModelLoaded(Event):
    """A promoted bundle passed its self-test and is ready to forecast."""

    event = "model_loaded"
    service: str = "serve"
    config_hash: str
    model_type: str
    promotion: int
    bundle_sha256: str


@dataclass(frozen=True, kw_only=True)
class EnvironmentDiffers(Event):
    """A second fit gave another result on other library versions, another processor or other kernels."""

    event = "environment_differs"
    service: str = "train"
    model_type: str
    model_hash: str
    first: dict[str, Any]
    """Library versions, processor and kernels of the first fit, which stays."""
    now: dict[str, Any]
    """Those of the second fit."""


@dataclass(frozen=True, kw_only=True)
class ResultPutAside(Event):
    """A damaged result was put in quarantine with its folder and is made again."""

    event = "result_put_aside"
    service: str = "train"
    model_type: str
    model_hash: str
    record: str
    """Key of the record that lists what was put aside."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class NondeterminismDetected(Event):
    """A second fit in the same environment gave another result; the first one stays."""

    event = "nondeterminism_detected"
    service: str = "train"
    model_type: str
    model_hash: str
    fields: Sequence[str]
    """Fields that differ between the two results."""


@dataclass(frozen=True, kw_only=True)
class DeadLetter(Event):
    """A message could not be handled and was moved to the dead-letter topic."""

    event = "dead_letter"
    topic: str
    partition: int
    offset: int
    error: str
    reason: str
    attempts: int
    """How often handling it was tried."""
    traceback: str | None
    """Of an unexpected error; None for one that FLTS raised on purpose."""


@dataclass(frozen=True, kw_only=True)
class RetryScheduled(Event):
    """A backend did not answer; the same work will be tried again."""

    event = "retry_scheduled"
    attempt: int
    wait_s: float
    """Time until the next attempt."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class BackendLost(Event):
    """The broker does not answer; the service waits for it."""

    event = "backend_lost"
    reason: str


@dataclass(frozen=True, kw_only=True)
class ServiceStarted(Event):
    """A service accepts work from now on."""

    event = "service_started"
    version: str
    groups: Sequence[str]
    """The consumer groups it joins."""
    probes: str | None
    """Address of /healthz, /readyz and /metrics."""


@dataclass(frozen=True, kw_only=True)
class ServiceStopped(Event):
    """A service finished its work and stopped."""

    event = "service_stopped"


@dataclass(frozen=True, kw_only=True)
class ForecastServed(Event):
    """Forecasts were made."""

    event = "forecast_served"
    service: str = "forecast"
    config_hash: str
    model_type: str
    promotion: int
    forecasts: int
    """Number of values."""
    object_key: str | None = None
    """Of the claimed rows, where forecasts were asked for by message."""
    scope: str | None = None
    """This and what follows: of a request over HTTP."""
    request_id: str | None = None
    caller_id: str | None = None
    """What the caller calls the request."""
    token: str | None = None
    """Name of the token that asked."""
    route: str | None = None
    interval: str | None = None
    """static, adaptive or none."""
    duration_ms: float | None = None
    """From the head of the request to the end of its answer, with the time in the queue."""
    received: int | None = None
    """Bytes of the body of the request."""
    sent: int | None = None
    """Bytes of the body of the answer."""


@dataclass(frozen=True, kw_only=True)
class ModelSwap(Event):
    """A new champion makes the forecasts from now on."""

    event = "model_swap"
    service: str = "forecast"
    scope: str
    config_hash: str
    model_type: str
    promotion: int


@dataclass(frozen=True, kw_only=True)
class PredictionLogBehind(Event):
    """The store takes no part of the prediction log; the spool keeps the lines and requests are answered."""

    event = "prediction_log_behind"
    service: str = "serve"
    reason: str
    spooled_bytes: int


@dataclass(frozen=True, kw_only=True)
class PredictionLogCaughtUp(Event):
    """The store takes the prediction log again."""

    event = "prediction_log_caught_up"
    service: str = "serve"


@dataclass(frozen=True, kw_only=True)
class PredictionsDropped(Event):
    """Answers are missing in the prediction log; one line per reason and minute at most."""

    event = "predictions_dropped"
    service: str = "serve"
    reason: str
    """queue-full, spool-full (the oldest), disk, error."""
    count: int
    """Since the last line with this reason."""


@dataclass(frozen=True, kw_only=True)
class ModelStale(Event):
    """The newest promotion of a scope cannot be served; an older one goes on answering, if there is one."""

    event = "model_stale"
    service: str = "serve"
    scope: str
    promotion: int | None
    """Number of the promotion that answers; None where none does yet."""
    newest: int
    """Number of the newest one; 0 where the log is empty or cannot be read."""
    code: str
    """Code of the error."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class ModelCurrent(Event):
    """The newest promotion of a scope answers again."""

    event = "model_current"
    service: str = "serve"
    scope: str
    promotion: int
    stale_s: float
    """Time since it could not be served."""


@dataclass(frozen=True, kw_only=True)
class ModelPutOut(Event):
    """A model left the memory, because others were used later; the next request of its scope loads it again."""

    event = "model_put_out"
    service: str = "serve"
    scope: str
    promotion: int


@dataclass(frozen=True, kw_only=True)
class ForecastExpired(Event):
    """A claim was received after its deadline and was not answered."""

    event = "forecast_expired"
    service: str = "forecast"
    scope: str
    event_id: str


@dataclass(frozen=True, kw_only=True)
class RequestServed(Event):
    """A request was answered."""

    event = "request_served"
    request_id: str
    method: str
    route: str
    object_key: str | None
    status: int
    duration_ms: int
    received: int
    """Bytes of the body of the request."""
    sent: int
    """Bytes of the body of the answer."""
    reason: str | None
    """The cause of an error that the answer does not reveal."""
    token: str | None = None
    """Name of the token that was sent."""


@dataclass(frozen=True, kw_only=True)
class RequestsRefused(Event):
    """Requests were refused by heads that were refused before; one line per route, code and second at most."""

    event = "requests_refused"
    route: str
    code: str
    """Of the problem document that each of them got."""
    count: int


@dataclass(frozen=True, kw_only=True)
class RequestFailed(Event):
    """A request ended in an unexpected error."""

    event = "request_failed"
    request_id: str
    error: str
    traceback: str
    """Source lines only: values could be data."""


@dataclass(frozen=True, kw_only=True)
class EventsLost(Event):
    """Events came faster than they could be written, or the log could not be written for a while."""

    event = "events_lost"
    count: int


@dataclass(frozen=True, kw_only=True)
class FileReread(Event):
    """Files of a running server were changed, and the new ones are in force."""

    event = "file_reread"
    files: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class FileRefused(Event):
    """Files of a running server were changed and cannot be used; what they held before stays in force."""

    event = "file_refused"
    files: Sequence[str]
    reason: str


@dataclass(frozen=True, kw_only=True)
class ConnectionTrouble(Event):
    """Connections were refused or ended without an answer; one line per reason and minute at most."""

    event = "connection_trouble"
    reason: str
    """full, slow-head, slow-reader, invalid (no HTTP), no-tls (no handshake), or what the system reported."""
    count: int
    """How often since the last line with this reason."""
    limit: int
    """Most connections at once."""


@dataclass(frozen=True, kw_only=True)
class ServerStarted(Event):
    """A server accepts requests from now on."""

    event = "server_started"
    version: str
    address: str
    token_needed: bool
    """Whether requests must carry a bearer token."""
    probes: str | None = None
    """Address of /healthz, /readyz and /metrics, where they have a port of their own."""
