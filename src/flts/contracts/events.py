"""Structured log events: one function per line, so that a name or a field is written in one place only.

One JSON object a line on stderr, or plain text at a terminal. No secret and no row of data is ever logged.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from structlog.typing import Processor

Format = Literal["json", "text", "off"]

_configured = False
_sink: Callable[[dict[str, Any]], None] | None = None


def divert(sink: Callable[[dict[str, Any]], None]) -> None:
    """Hand every event of this process to `sink` instead: a child tells its parent, which replays them."""
    global _sink  # noqa: PLW0603 - one process has one listener
    _sink = sink


def replay(fields: dict[str, Any]) -> None:
    """Log an event that another process emitted."""
    _emit(**fields)


def configure(format: Format, stream: TextIO | None = None) -> None:
    """Where events go, once per process: JSON lines, text for people, or nowhere."""
    import structlog

    global _configured  # noqa: PLW0603 - structlog's configuration is per process too
    _configured = True
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


def _emit(service: str, event: str, **fields: Any) -> None:
    if _sink is not None:
        _sink({"service": service, "event": event, **fields})
        return
    import structlog

    if not _configured and not structlog.is_configured():
        configure("off")
    structlog.get_logger().info(event, service=service, **{k: v for k, v in fields.items() if v is not None})


def sampling_applied(
    *,
    train_rows_before: int,
    train_rows_after: int,
    test_rows_before: int,
    test_rows_after: int,
    sample_strategy: str,
    sample_seed: int,
) -> None:
    """How many rows were kept."""
    _emit(
        "preprocess",
        "sampling_applied",
        train_rows_before=train_rows_before,
        train_rows_after=train_rows_after,
        test_rows_before=test_rows_before,
        test_rows_after=test_rows_after,
        sample_strategy=sample_strategy,
        sample_seed=sample_seed,
    )


def upload_done(*, object_key: str, size: int, sha256: str) -> None:
    """An object of the processed rows is stored."""
    _emit("preprocess", "upload_done", object_key=object_key, size=size, sha256=sha256)


def skip_idempotent(*, data_hash: str) -> None:
    """These rows were processed before."""
    _emit("preprocess", "skip_idempotent", data_hash=data_hash)


def claim_published(*, config_hash: str, data_hash: str, run: int, topic: str, event_id: str) -> None:
    """The trainers have been told."""
    _emit(
        "preprocess",
        "claim_published",
        config_hash=config_hash,
        data_hash=data_hash,
        run=run,
        topic=topic,
        event_id=event_id,
    )


def train_start(*, config_hash: str, model_type: str, model_hash: str) -> None:
    """A model is being fitted, or its stored bundle asked for new windows."""
    _emit("train", "train_start", config_hash=config_hash, model_type=model_type, model_hash=model_hash)


def train_complete(
    *,
    config_hash: str,
    run_id: str | None,
    model_type: str,
    duration_ms: int,
    test_rmse: float,
    test_mae: float,
    test_mse: float,
) -> None:
    """A model has a bundle and forecasts; errors are scaled by the target's range over train."""
    _emit(
        "train",
        "train_complete",
        config_hash=config_hash,
        run_id=run_id,
        model_type=model_type,
        duration_ms=duration_ms,
        test_rmse=test_rmse,
        test_mae=test_mae,
        test_mse=test_mse,
    )


def train_failed(*, config_hash: str, model_type: str, error: str, reason: str) -> None:
    """A model has no forecast in this run."""
    _emit("train", "train_failed", config_hash=config_hash, model_type=model_type, error=error, reason=reason)


def train_skip_duplicate(*, config_hash: str, model_type: str, model_hash: str) -> None:
    """The result of this model_hash exists already."""
    _emit("train", "train_skip_duplicate", config_hash=config_hash, model_type=model_type, model_hash=model_hash)


def promotion_waiting_for_models(*, config_hash: str, have: Sequence[str], missing: Sequence[str]) -> None:
    """The judge waits."""
    _emit("evaluate", "promotion_waiting_for_models", config_hash=config_hash, have=list(have), missing=list(missing))


def deadline_passed_over(*, config_hash: str, reason: str) -> None:
    """Whether the runs of a configuration are late could not be found out."""
    _emit("evaluate", "deadline_passed_over", config_hash=config_hash, reason=reason)


def promotion_all_models_present(*, config_hash: str, models: Sequence[str]) -> None:
    """Every expected model has a result or a reason."""
    _emit("evaluate", "promotion_all_models_present", config_hash=config_hash, models=list(models))


def promotion_scoreboard(*, config_hash: str, board: Sequence[dict[str, Any]]) -> None:
    """Rank, model and score of every candidate."""
    _emit("evaluate", "promotion_scoreboard", config_hash=config_hash, board=list(board))


def promotion_decision(
    *,
    config_hash: str,
    decision_id: str,
    outcome: str,
    run_id: str | None,
    model_type: str | None,
    experiment: str,
    model_uri: str | None,
    score: float | None,
    reason: str,
) -> None:
    """What was decided, and why."""
    _emit(
        "evaluate",
        "promotion_decision",
        config_hash=config_hash,
        decision_id=decision_id,
        outcome=outcome,
        run_id=run_id,
        model_type=model_type,
        experiment=experiment,
        model_uri=model_uri,
        score=score,
        reason=reason,
    )


def promotion_root_pointer_write(*, config_hash: str, scope: str, run_id: str | None, model_type: str) -> None:
    """The pointers say who the champion is."""
    _emit(
        "evaluate",
        "promotion_root_pointer_write",
        config_hash=config_hash,
        scope=scope,
        run_id=run_id,
        model_type=model_type,
    )


def promotion_publish(*, config_hash: str, scope: str, promotion: int, event_id: str) -> None:
    """The servers have been told."""
    _emit(
        "evaluate",
        "promotion_publish",
        config_hash=config_hash,
        scope=scope,
        promotion=promotion,
        event_id=event_id,
    )


def promotion_log_damaged(*, scope: str, reason: str) -> None:
    """The log of a scope cannot be read, so its pointers stay as they are."""
    _emit("evaluate", "promotion_log_damaged", scope=scope, reason=reason)


def model_loaded(*, config_hash: str, model_type: str, promotion: int, bundle_sha256: str) -> None:
    """A promoted bundle passed its self-test and can be asked."""
    _emit(
        "serve",
        "model_loaded",
        config_hash=config_hash,
        model_type=model_type,
        promotion=promotion,
        bundle_sha256=bundle_sha256,
    )


def environment_differs(*, model_type: str, model_hash: str, first: dict[str, Any], now: dict[str, Any]) -> None:
    """A second fit gave another result on other library versions or another processor."""
    _emit("train", "environment_differs", model_type=model_type, model_hash=model_hash, first=first, now=now)


def nondeterminism_detected(*, model_type: str, model_hash: str, fields: Sequence[str]) -> None:
    """A second fit in the same environment gave another result; the first one stands."""
    _emit("train", "nondeterminism_detected", model_type=model_type, model_hash=model_hash, fields=list(fields))


def dead_letter(
    *,
    service: str,
    topic: str,
    partition: int,
    offset: int,
    error: str,
    reason: str,
    attempts: int,
    traceback: str | None,
) -> None:
    """A message could not be handled and lies in the dead-letter topic; a traceback says that it is a defect."""
    _emit(
        service,
        "dead_letter",
        topic=topic,
        partition=partition,
        offset=offset,
        error=error,
        reason=reason,
        attempts=attempts,
        traceback=traceback,
    )


def retry_scheduled(*, service: str, attempt: int, wait_s: float, reason: str) -> None:
    """A backend did not answer; the same is tried again."""
    _emit(service, "retry_scheduled", attempt=attempt, wait_s=wait_s, reason=reason)


def backend_lost(*, service: str, reason: str) -> None:
    """The broker is away; the service waits for it."""
    _emit(service, "backend_lost", reason=reason)


def service_started(*, service: str, version: str, groups: Sequence[str], probes: str | None) -> None:
    """A service takes work from now on; probes: where it can be asked how it is."""
    _emit(service, "service_started", version=version, groups=list(groups), probes=probes)


def service_stopped(*, service: str) -> None:
    """A service took no more work, and ended what it had."""
    _emit(service, "service_stopped")


def forecast_served(
    *, config_hash: str, model_type: str, promotion: int, forecasts: int, object_key: str | None = None
) -> None:
    """Forecasts were given."""
    _emit(
        "forecast",
        "forecast_served",
        config_hash=config_hash,
        model_type=model_type,
        promotion=promotion,
        forecasts=forecasts,
        object_key=object_key,
    )


def model_swap(*, scope: str, config_hash: str, model_type: str, promotion: int) -> None:
    """Another champion answers from now on."""
    _emit("forecast", "model_swap", scope=scope, config_hash=config_hash, model_type=model_type, promotion=promotion)


def forecast_expired(*, scope: str, event_id: str) -> None:
    """A claim was taken up after its deadline, when nobody needs the answer any more."""
    _emit("forecast", "forecast_expired", scope=scope, event_id=event_id)


def request_served(
    *,
    service: str,
    request_id: str,
    method: str,
    route: str,
    object_key: str | None,
    status: int,
    duration_ms: int,
    received: int,
    sent: int,
    reason: str | None,
) -> None:
    """A request was answered; received and sent: bytes of the bodies; reason: what the answer does not tell."""
    _emit(
        service,
        "request_served",
        request_id=request_id,
        method=method,
        route=route,
        object_key=object_key,
        status=status,
        duration_ms=duration_ms,
        received=received,
        sent=sent,
        reason=reason,
    )


def request_failed(*, service: str, request_id: str, error: str, traceback: str) -> None:
    """A request met a defect; where, but not with what, which could be data."""
    _emit(service, "request_failed", request_id=request_id, error=error, traceback=traceback)


def server_started(*, service: str, version: str, address: str, token_needed: bool) -> None:
    """A server takes requests from now on."""
    _emit(service, "server_started", version=version, address=address, token_needed=token_needed)
