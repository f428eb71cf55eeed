"""What was answered, kept: an answer becomes a line at once, a thread writes lines, and another one stores them.

No request waits for a disk or for the store. What both cannot take is lost, and counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import orjson
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flts.contracts import events, layout
from flts.contracts.errors import FltsError
from flts.contracts.ports import Store, write_once
from flts.contracts.request_ids import uuid7
from flts.preprocess.grid import Grid
from flts.preprocess.rows import Rows, Times
from flts.server.served import Served
from flts.server.spool import Spool
from flts.server.wanted import Answered

BEAT = 0.5
"""Seconds after which waiting answers are written: what SIGKILL can lose."""
MOST_WAITING = 16 * 2**20
"""Most bytes that wait to be written."""
LOOK = 60.0
"""Seconds between two looks for the files of processes that have ended."""
PAUSES = (1.0, 60.0)
"""Seconds until a store that failed is tried again: at first, and at most."""
WRITTEN = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NAIVE_UTC | orjson.OPT_UTC_Z


class Said(NamedTuple):
    """A line that waits to be written."""

    scope: str
    day: str
    line: bytes


@dataclass(frozen=True)
class LogState:
    """How the log does. lines, parts, dropped: since the start; behind_since: seconds since 1970."""

    lines: int
    parts: int
    dropped: Mapping[str, int]
    spooled_bytes: int
    behind_since: float | None
    reason: str | None


@contextmanager
def keeping(
    store: Store, mode: Literal["off", "forecasts", "rows"], folder: Path, limit: int, grace: float
) -> Iterator[PredictionLog | None]:
    """A log that runs, None with `off`; at the end the store has `grace` seconds to take what waits.

    folder, limit: of the spool. Raises MachineFailed for a folder that cannot be used.
    """
    if mode == "off":
        yield None
        return
    log = PredictionLog(store, Spool(folder, limit), rows=mode == "rows")
    log.start()
    try:
        yield log
    finally:
        log.close(grace)


class PredictionLog(Collector):
    """The log of one server. Its metrics are those of a Collector."""

    def __init__(self, store: Store, spool: Spool, *, rows: bool = False) -> None:
        """rows: whether lines also hold the rows of the history that were used."""
        self._store, self._spool, self._rows = store, spool, rows
        self._waiting: deque[Said] = deque()
        # each number is written by one thread alone, so that none needs a lock
        self._put = self._taken = self._too_many = self._failed = self._lines = self._parts = 0
        self._behind_since: float | None = None
        self._reason: str | None = None
        self._told: Mapping[str, int] = {}
        self._told_at = -LOOK
        self._closing, self._written, self._ready = threading.Event(), threading.Event(), threading.Event()
        self._writer = threading.Thread(target=self._write, name="prediction-log", daemon=True)
        self._uploader = threading.Thread(target=self._upload, name="prediction-upload", daemon=True)

    def start(self) -> None:
        """Begin to write and to store."""
        self._writer.start()
        self._uploader.start()

    def record(
        self,
        answered: Answered,
        level: float,
        rows: Rows | None = None,
        *,
        token: str | None = None,
        caller_id: str | None = None,
    ) -> None:
        """Keep an answer, without waiting; or lose it where too many wait. For one thread: that of the requests.

        The line is made here, in some microseconds: two threads that compute wait for each other, which costs a request
        more. rows: those of the history that were used; token: the name of the one that asked; caller_id: the caller's
        own id of the request.
        """
        try:
            made = line(answered, level, rows if self._rows else None, token=token, caller_id=caller_id)
        except Exception:  # noqa: BLE001 - an answer that cannot be written must not end its request; it is counted
            self._failed += 1
            return
        if self._put - self._taken + len(made) > MOST_WAITING:
            self._too_many += 1
            return
        self._put += len(made)
        # the id of a request begins with its day
        self._waiting.append(Said(answered.served.scope, answered.request_id[:8], made))

    def close(self, grace: float) -> None:
        """Write what waits, and give the store `grace` seconds to take it; the rest stays for the next process."""
        self._closing.set()
        self._writer.join()
        self._ready.set()
        self._uploader.join(grace)
        self._spool.close()

    def state(self) -> LogState:
        """How the log does."""
        return LogState(
            self._lines, self._parts, self._dropped(), self._spool.waiting, self._behind_since, self._reason
        )

    def collect(self) -> Iterator[Metric]:
        """The state as metrics."""
        now = self.state()
        yield CounterMetricFamily("flts_serve_log_lines", "Answers written to the prediction log", value=now.lines)
        yield CounterMetricFamily("flts_serve_log_parts", "Parts of the prediction log stored", value=now.parts)
        yield GaugeMetricFamily(
            "flts_serve_log_spooled_bytes", "Bytes of the prediction log that wait for the store", now.spooled_bytes
        )
        behind = 0.0 if now.behind_since is None else time.time() - now.behind_since
        yield GaugeMetricFamily(
            "flts_serve_log_behind_seconds", "Since when the store takes no part of the prediction log", behind
        )
        dropped = CounterMetricFamily(
            "flts_serve_log_dropped", "Answers that the prediction log lost", labels=["reason"]
        )
        for reason in ("queue-full", "spool-full", "disk", "error"):
            dropped.add_metric([reason], now.dropped.get(reason, 0))
        yield dropped

    def _dropped(self) -> Mapping[str, int]:
        lost = Counter(self._spool.dropped) + Counter({"queue-full": self._too_many, "error": self._failed})
        return dict(lost)

    def _write(self) -> None:
        """The thread that writes lines."""
        closing = False
        while not closing:
            closing = self._closing.wait(BEAT)
            self._drain()
            if self._spool.complete(everything=closing):
                self._ready.set()
            self._tell_dropped(now=closing)
        self._written.set()

    def _drain(self) -> None:
        """Write what waits now."""
        lines: dict[tuple[str, str], list[bytes]] = defaultdict(list)
        for _ in range(len(self._waiting)):
            said = self._waiting.popleft()
            self._taken += len(said.line)
            lines[said.scope, said.day].append(said.line)
        for (scope, day), written in lines.items():
            self._lines += len(written)
            self._spool.append(scope, day, written)

    def _tell_dropped(self, *, now: bool) -> None:
        """One event for what was lost, at most once in a minute."""
        dropped = self._dropped()
        if dropped == self._told or (not now and time.monotonic() - self._told_at < LOOK):
            return
        new = {reason: count - self._told.get(reason, 0) for reason, count in dropped.items()}
        self._told, self._told_at = dropped, time.monotonic()
        for reason, count in new.items():
            if count:
                events.emit(events.PredictionsDropped(reason=reason, count=count))

    def _upload(self) -> None:
        """The thread that stores complete parts."""
        looked, pause = -LOOK, PAUSES[0]
        while True:
            last = self._written.is_set()
            self._ready.clear()
            try:
                if time.monotonic() - looked >= LOOK:
                    looked = time.monotonic()
                    self._spool.take_over()
                self._store_parts()
                pause = PAUSES[0]
            except Exception as error:  # noqa: BLE001 - whatever a store or a disk raises, the spool keeps the lines
                self._fell_behind(error)
                if last:
                    return
                self._written.wait(pause)
                pause = min(2 * pause, PAUSES[1])
                continue
            if last:
                return
            self._ready.wait(LOOK)

    def _store_parts(self) -> None:
        while (part := self._spool.next()) is not None:
            stored = False
            try:
                _store(self._store, *part)
                stored = True
            finally:
                self._spool.done(stored=stored)
            self._parts += 1
            if self._behind_since is not None:
                self._behind_since = self._reason = None
                events.emit(events.PredictionLogCaughtUp())

    def _fell_behind(self, error: Exception) -> None:
        self._reason = str(error) if isinstance(error, FltsError) else f"{type(error).__name__}: {error}"
        if self._behind_since is None:
            self._behind_since = time.time()
            events.emit(events.PredictionLogBehind(reason=self._reason, spooled_bytes=self._spool.waiting))


def _store(store: Store, key: str, data: bytes) -> None:
    """Create a part. Where its name holds other bytes, as after a disk that lost some, it gets another name."""
    named = layout.inference_part(key)
    assert named is not None
    while data and write_once(store, key, data, at="spool.part") != data:
        key = layout.inference_log(named.scope, named.day, uuid7())


def line(
    answered: Answered,
    level: float,
    rows: Rows | None = None,
    *,
    token: str | None = None,
    caller_id: str | None = None,
) -> bytes:
    """An answer as an `AnswerLine`. rows: those of the history, where the line holds them.

    What was known of the rows to forecast follows them, so that the line holds all that the model was told.
    """
    answer, grid = answered.answer, answered.served.champion.bundle.model.task.fitted.grid
    times = answer.times.tolist()
    fields: dict[str, Any] = {
        "request_id": answered.request_id,
        "answered": datetime.now(UTC),
        "token": token,
        "caller_id": caller_id,
        "origin": _moment(_before(grid, times[0])),
        "times": [*map(_moment, times)],
        "mean": answer.mean.tolist(),
        "level": level,
        "interval": answer.interval,
        "lower": answer.lower.tolist(),
        "upper": answer.upper.tolist(),
        "warnings": [notice.code for notice in answer.warnings],
    }
    if rows is not None:
        rows = rows if rows.ahead is None else rows.then(rows.ahead)
        columns = zip(rows.columns, np.ascontiguousarray(rows.values.T), strict=True)
        fields["history"] = {"time": _shown(rows.times), **dict(columns)}
    return answered.served.once(_head) + orjson.dumps(fields, option=WRITTEN | orjson.OPT_APPEND_NEWLINE)[1:]


def _head(served: Served) -> bytes:
    """The beginning of a line: what it says of the model that answered."""
    champion, promoted = served.champion, served.champion.entry.champion
    fields = {
        "v": 1,
        "promotion": champion.entry.number,
        "entry_sha256": served.entry_sha256,
        "model_type": promoted.model_type,
        "model_hash": promoted.model_hash,
        "bundle_sha256": champion.bundle.sha256,
        "targets": champion.bundle.model.task.fitted.targets,
    }
    return orjson.dumps(fields)[:-1] + b","


def _before(grid: Grid, time: int) -> int:
    """The time one step earlier; the inverse of `Grid.after`."""
    if not grid.local and grid.step.on_clock:
        return time - grid.step.on_clock
    return int(grid.times(grid.positions(np.array([time])) - 1)[0])


@lru_cache(maxsize=4096)  # clients ask from the same origins; a small array costs more to write than all else in a line
def _moment(time: int) -> str:
    """A time in UTC nanoseconds as a library writes it: RFC 3339, UTC."""
    return str(orjson.loads(orjson.dumps(np.datetime64(time, "ns"), option=WRITTEN)))


def _shown(times: Times) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Times as a library writes them: RFC 3339, UTC."""
    return np.ascontiguousarray(times).view("datetime64[ns]")
