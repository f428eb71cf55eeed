"""Logged forecasts of a scope, as a table of cells: what the parts under `inference-logs/` hold, each cell once.

A cell is one target at one step from one origin of one model. It counts once, however often it was asked for: its first
line counts, in the order of the parts and of the lines in them, whatever request or batch wrote it. So the answer to
the same question does not weigh more because a client repeats it, and the same parts give the same table.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from pydantic import ValidationError

from flts.contracts import layout
from flts.contracts.canonical import digest, sha256
from flts.contracts.errors import UsageError
from flts.contracts.ports import Store
from flts.contracts.records.answer import LINES, AnswerDay, AnswerLine, ForecastLine
from flts.contracts.records.base import read_record
from flts.contracts.records.live import LiveDay
from flts.contracts.request_ids import RequestId, ms_of, parse_request_id
from flts.forecasting.intervals import STORED_LEVEL
from flts.preprocess.rows import Times, Values

UNREADABLE = "unreadable line"
REPEATED = "asked for again"
SLACK_MS = 60_000
"""By how much a part may seem to begin after an answer in it: a clock may be set in between."""
_UUID = re.compile("[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OTHER_TARGET = "target that the champion does not forecast"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Origin:
    """The cells of one model from one origin.

    mean [steps, targets], NaN where nothing was logged; times [steps], 0 there; bounds: lower and upper
    [2, steps, targets] by level.
    """

    times: Times
    mean: Values
    bounds: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def empty(cls, targets: int) -> Origin:
        """No cells."""
        return cls(np.zeros(0, dtype=np.int64), np.empty((0, targets)))

    def reach(self, steps: int) -> None:
        """Make room for this many steps."""
        more = steps - len(self.times)
        if more > 0:
            self.times = np.pad(self.times, (0, more))
            self.mean = np.pad(self.mean, ((0, more), (0, 0)), constant_values=np.nan)
            for level, both in self.bounds.items():
                self.bounds[level] = np.pad(both, ((0, 0), (0, more), (0, 0)), constant_values=np.nan)


@dataclass
class LoggedModel:
    """What one model answered. origins: by UTC ns."""

    model_hash: str
    model_type: str
    promotions: set[int] = field(default_factory=set)
    origins: dict[int, Origin] = field(default_factory=dict)


@dataclass
class Logged:
    """The logged forecasts of a scope, each cell once, for these targets.

    left_out: cells that do not count, by reason; lines for what cannot be read. unreadable: the first of these.
    """

    targets: Sequence[str]
    models: dict[str, LoggedModel] = field(default_factory=dict)
    """By model_hash, in the order in which they answered first."""
    days: dict[str, LiveDay] = field(default_factory=dict)
    requests: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    unreadable: str | None = None


class Period(NamedTuple):
    """Days (YYYYMMDD, UTC) under which forecasts lie, both included; all days without an end."""

    first: str = ""
    last: str = ""

    def keys(self, store: Store, scope: str) -> Iterator[str]:
        """The keys of the parts of these days; only they are listed."""
        if not (self.first or self.last):
            yield from store.list(layout.inference_logs(scope))
            return
        for folder in store.folders(layout.inference_logs(scope)):
            day = folder.split("/")[2]
            if self.first <= day <= (self.last or day):
                yield from store.list(folder)


EVER = Period()


def read_logged(store: Store, scope: str, targets: Sequence[str], period: Period = EVER) -> Logged:
    """All logged forecasts of these targets in a scope. A line that cannot be read is left out and counted."""
    logged, asked = Logged(targets), set[str]()
    digests: dict[str, dict[str, str]] = defaultdict(dict)
    for key in period.keys(store, scope):
        named = layout.inference_part(key)
        data = store.get(key) if named else None
        if named is None or data is None:
            continue
        digests[named.day][key] = sha256(data)
        for line in _lines(data, key, logged):
            asked.add(line.request_id)
            _add(logged, line)
    logged.requests = len(asked)
    logged.days = {day: LiveDay(parts=len(parts), sha256=digest(parts)) for day, parts in sorted(digests.items())}
    return logged


@dataclass(frozen=True)
class FoundAnswer:
    """The lines of one request, and the part that holds them."""

    key: str
    data: bytes
    lines: Sequence[AnswerLine | ForecastLine]


def find_answer(store: Store, request_id: str) -> FoundAnswer:
    """What was answered to a request or a batch. Raises UsageError where the text is no id or nothing is stored."""
    named = parse_request_id(request_id)
    if named is not None:
        keys = _parts_of(store, named)
    elif _UUID.fullmatch(request_id):
        keys = _parts_of_batch(store, request_id)
    else:
        raise UsageError(
            f"'{request_id}' is no id of a request: that of an answer is YYYYMMDD-scope-UUID, that of a batch a UUID",
            code="request-id-invalid",
            request_id=request_id,
        )
    for key in keys:
        data = store.get(key)
        if data is not None and (lines := _lines_of(data, request_id)):
            return FoundAnswer(key, data, lines)
    raise UsageError(
        f"no answer {request_id} is stored in {store.url}; a server stores its answers within a minute, and keeps them"
        " in its spool_dir while the store is away",
        code="request-unknown",
        request_id=request_id,
        store=store.url,
    )


def _parts_of_batch(store: Store, request_id: str) -> Sequence[str]:
    """The part of a batch: its scope noted the day. An earlier flts noted none, and all parts are listed then."""
    for folder in store.folders("inference-logs/"):
        scope = folder.split("/")[1]
        day = read_record(store, layout.answered(scope, request_id), AnswerDay)
        if day is not None:
            return [layout.inference_log(scope, day.day, request_id)]
    every = store.list("inference-logs/")
    return [key for key in every if (part := layout.inference_part(key)) and part.part == request_id]


def _parts_of(store: Store, named: RequestId) -> Sequence[str]:
    """The parts of the day, the likely ones first: those that began before the request, the newest of them first."""
    latest = named.ms + SLACK_MS

    def unlikely(key: str) -> tuple[bool, int]:
        part = layout.inference_part(key)
        began = ms_of(part.part) if part else None
        return (True, 0) if began is None else (began > latest, abs(latest - began))

    keys = [key for key in store.list(layout.inference_logs(named.scope, named.day)) if layout.inference_part(key)]
    return sorted(keys, key=unlikely)


def _lines_of(data: bytes, request_id: str) -> list[AnswerLine | ForecastLine]:
    """The lines that answer a request. Those of others are not parsed, and a damaged one is none."""
    wanted, found = request_id.encode(), []
    for text in data.splitlines():
        if wanted in text:
            with suppress(ValidationError):
                found.append(LINES.validate_json(text))
    return [line for line in found if line.request_id == request_id]


def _lines(data: bytes, key: str, logged: Logged) -> Iterator[AnswerLine | ForecastLine]:
    for number, text in enumerate(data.splitlines(), 1):
        try:
            yield LINES.validate_json(text)
        except ValidationError as error:
            logged.left_out[UNREADABLE] += 1
            reason = error.errors(include_url=False, include_input=False)[0]["msg"]
            logged.unreadable = logged.unreadable or f"line {number} of {key}: {reason}"


def _add(logged: Logged, line: AnswerLine | ForecastLine) -> None:
    """Add the cells of a line that are not there yet."""
    cells = _cells(line)
    columns = [position for position, target in enumerate(cells.targets) if target in logged.targets]
    logged.left_out[OTHER_TARGET] += len(cells.times) * (len(cells.targets) - len(columns))
    if not columns:
        return
    model = logged.models.setdefault(line.model_hash, LoggedModel(line.model_hash, line.model_type))
    model.promotions.add(line.promotion)
    origin = model.origins.setdefault(nanoseconds(line.origin), Origin.empty(len(logged.targets)))
    last = cells.first + len(cells.times)
    origin.reach(last)
    rows = slice(cells.first, last)
    own = [logged.targets.index(cells.targets[position]) for position in columns]
    origin.times[rows] = cells.times
    known = ~np.isnan(origin.mean[rows][:, own])
    logged.left_out[REPEATED] += int(known.sum())
    origin.mean[rows, own] = np.where(known, origin.mean[rows][:, own], cells.mean[:, columns])
    both = origin.bounds.setdefault(cells.level, np.full((2, *origin.mean.shape), np.nan))
    bounded = ~np.isnan(both[:, rows][..., own])
    both[:, rows, own] = np.where(bounded, both[:, rows][..., own], cells.bounds[..., columns])


@dataclass(frozen=True)
class _LineCells:
    """The cells of a line. first: steps before the first one; times [steps]; mean [steps, targets]; bounds [2, ...]."""

    first: int
    times: Times
    targets: Sequence[str]
    mean: Values
    level: str
    bounds: Values


def _cells(line: AnswerLine | ForecastLine) -> _LineCells:
    if isinstance(line, ForecastLine):
        times = np.array([nanoseconds(line.time)], dtype=np.int64)
        bounds = np.array([[[line.lower]], [[line.upper]]], dtype=float)
        return _LineCells(line.step - 1, times, (line.target,), np.array([[line.mean]]), f"{STORED_LEVEL:g}", bounds)
    times = np.array([nanoseconds(time) for time in line.times], dtype=np.int64)
    bounds = np.array([line.lower, line.upper], dtype=float)
    return _LineCells(0, times, line.targets, np.array(line.mean), f"{line.level:g}", bounds)


@lru_cache(maxsize=100_000)
def nanoseconds(time: str) -> int:
    """UTC nanoseconds of a time with its offset, to the microsecond."""
    return (datetime.fromisoformat(time) - _EPOCH) // timedelta(microseconds=1) * 1000
