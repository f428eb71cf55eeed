"""From an answer back to the rows that its model learned from: every object on the way, with its digest checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from flts.contracts import layout, runs
from flts.contracts.canonical import sha256
from flts.contracts.errors import DamagedObject, FltsError
from flts.contracts.ports import Store, read_checked
from flts.contracts.records.answer import AnswerLine, ForecastLine
from flts.contracts.records.base import Part, parse_stored, read_record, require_record
from flts.contracts.records.data import ProcessedMeta
from flts.contracts.records.decision import DecisionRecord
from flts.contracts.records.log import LogEntry
from flts.contracts.records.model import ModelResult
from flts.contracts.records.run import DecidedBy, JudgePart, PreprocessPart, TrainPart
from flts.contracts.request_ids import parse_request_id
from flts.forecasting.bundle import MANIFEST, read_bundle
from flts.promotion.evidence import refuse_changed
from flts.promotion.log import decision_of
from flts.promotion.log_page import entry_at, newest_number
from flts.report.predictions import FoundAnswer, find_answer

OK = "ok"
Said = dict[str, str | int | None]


class TracedStep(Part):
    """An object on the way from an answer to its rows."""

    what: str
    """answer, promotion, decision, bundle, model, data or run."""
    key: str | None
    """Where it is stored; None where that is not known."""
    sha256: str | None
    """Of its bytes as they are stored; None where they are not what they should be."""
    state: str
    """ok, or what differs."""
    said: Said
    """What it says."""


class Trace(Part):
    """The way of one answer."""

    request_id: str
    scope: str
    lines: list[AnswerLine | ForecastLine]
    """The answer as it is logged: one line, or each forecast of a batch."""
    steps: list[TracedStep]

    @property
    def intact(self) -> bool:
        """Whether every step is as it was."""
        return all(step.state == OK for step in self.steps)


@dataclass(frozen=True)
class _Way:
    """What the steps know: the answer, and the entry that it names and its decision once they were found right."""

    store: Store
    scope: str
    answer: FoundAnswer
    entry: LogEntry | None = None
    decision: DecisionRecord | None = None

    @property
    def line(self) -> AnswerLine | ForecastLine:
        """The first line: all of a batch name one model."""
        return self.answer.lines[0]

    @property
    def promotion(self) -> LogEntry:
        """The entry, for a step that needs it. Raises DamagedObject."""
        if self.entry is None:
            raise DamagedObject("not known without the promotion", code="promotion-unknown")
        return self.entry

    @property
    def bundle_sha256(self) -> str:
        """The bundle that made the numbers; a batch names its model only."""
        return self.line.bundle_sha256 if isinstance(self.line, AnswerLine) else self.promotion.champion.bundle_sha256


@dataclass(frozen=True)
class _Seen:
    """An object that is as it should be."""

    key: str
    sha256: str
    said: Mapping[str, str | int | None]


def trace(store: Store, request_id: str) -> Trace:
    """The way of an answer. Raises UsageError as `find_answer` does."""
    answer = find_answer(store, request_id)
    part = layout.inference_part(answer.key)
    assert part is not None
    way = _Way(store, part.scope, answer)
    steps = [_step("answer", _answer, way), _step("promotion", _promotion, way)]
    if steps[-1].state == OK:
        way = replace(way, entry=_entry(way))
    steps.append(_step("decision", _decision, way))
    if steps[-1].state == OK:
        way = replace(way, decision=decision_of(store, way.promotion))
    rest = {"bundle": _bundle, "model": _model, "data": _data, "run": _run}
    steps += [_step(what, check, way) for what, check in rest.items()]
    return Trace(request_id=request_id, scope=part.scope, lines=list(answer.lines), steps=steps)


def _step(what: str, check: Callable[[_Way], _Seen], way: _Way) -> TracedStep:
    """What a check saw, or why the object is not as it should be."""
    try:
        seen = check(way)
    except FltsError as error:
        key = error.data.get("key")
        named = key if isinstance(key, str) else None
        return TracedStep(what=what, key=named, sha256=None, state=str(error), said={})
    return TracedStep(what=what, key=seen.key, sha256=seen.sha256, state=OK, said=dict(seen.said))


def _answer(way: _Way) -> _Seen:
    """The line. An answer may be stored twice, and then says the same; a batch is the answer of one model."""
    key, lines, line = way.answer.key, way.answer.lines, way.line
    named, part = parse_request_id(line.request_id), layout.inference_part(key)
    if named is not None and part is not None and (named.scope, named.day) != (part.scope, part.day):
        raise _differs(key, f"it holds an answer of scope '{named.scope}' on {named.day}")
    if len({(one.promotion, one.model_hash) for one in lines}) > 1:
        raise _differs(key, "it names several models for this request")
    if isinstance(line, AnswerLine) and any(one != line for one in lines):
        raise _differs(key, f"it holds {len(lines)} lines for this request, which say different things")
    return _Seen(key, sha256(way.answer.data), {"model_type": line.model_type, "promotion": line.promotion})


def _entry(way: _Way) -> LogEntry:
    """The log entry that the answer names. Raises DamagedObject where a person took it out or replaced it."""
    key, line = layout.log_entry(way.scope, way.line.promotion), way.line
    entry = entry_at(way.store, way.scope, line.promotion)
    if entry is None:
        left = newest_number(way.store, way.scope)
        raise DamagedObject(
            f"{key} is absent: the log has {left} entries, a person took it out", code="object-missing", key=key
        )
    promoted = entry.champion
    if line.model_hash != promoted.model_hash:
        said = f"it promotes model {promoted.model_hash[:12]}…, and {line.model_hash[:12]}… answered"
        raise _differs(key, f"{said}; a person replaced it")
    if isinstance(line, AnswerLine):
        read_checked(way.store, key, line.entry_sha256)
        if line.bundle_sha256 != promoted.bundle_sha256:
            said = f"it names bundle {promoted.bundle_sha256[:12]}…, and {line.bundle_sha256[:12]}… answered"
            raise _differs(key, said)
    return entry


def _promotion(way: _Way) -> _Seen:
    entry = _entry(way)
    return _seen(
        way,
        layout.log_entry(way.scope, entry.number),
        kind=entry.kind,
        time=entry.time,
        by=entry.actor,
        run_id=entry.champion.run_id,
    )


def _decision(way: _Way) -> _Seen:
    record = decision_of(way.store, way.promotion)
    return _seen(
        way, layout.decision(way.scope, record.decision_id), outcome=record.outcome, config_hash=record.config_hash
    )


def _bundle(way: _Way) -> _Seen:
    name = way.bundle_sha256
    manifest, files = read_bundle(way.store, name)
    return _Seen(layout.bundle(name, MANIFEST), name, {"model": manifest.model, "files": len(files)})


def _model(way: _Way) -> _Seen:
    """The result that commits the model."""
    key, bundle_sha256 = layout.model_result(way.line.model_hash), way.bundle_sha256
    record = require_record(way.store, key, ModelResult)
    if record.bundle_sha256 != bundle_sha256:
        raise _differs(key, f"it names bundle {record.bundle_sha256[:12]}…, and {bundle_sha256[:12]}… answered")
    _as_decided(way, key)
    return _seen(way, key, model_hash=record.model_hash)


def _data(way: _Way) -> _Seen:
    """The processed rows."""
    data_hash = way.promotion.champion.data_hash
    _as_decided(way, layout.meta(data_hash))
    record = require_record(way.store, layout.meta(data_hash), ProcessedMeta)
    read_checked(way.store, layout.train_rows(data_hash), record.train.sha256)
    read_checked(way.store, layout.test_rows(data_hash), record.test.sha256)
    return _seen(way, layout.meta(data_hash), data_hash=data_hash, train_rows=record.train.rows)


def _as_decided(way: _Way, key: str) -> None:
    """Raise DamagedObject for an object that is no longer the one that the decision rests on."""
    data = way.store.get(key)
    if way.decision is not None and data is not None:
        refuse_changed(way.store, way.decision, {key: sha256(data)})


def _run(way: _Way) -> _Seen:
    """The run that made the decision. Its record names the digest of the description of the rows."""
    champion = way.promotion.champion
    number = _run_number(way.store, way.promotion)
    if number is None:
        folder = layout.runs(champion.config_hash)
        raise DamagedObject(f"no run under {folder} names this decision", code="object-missing", key=folder)
    prepared = read_record(way.store, layout.run_part(champion.config_hash, number, "preprocess"), PreprocessPart)
    if prepared is not None:
        key = layout.meta(prepared.data_hash)
        parse_stored(way.store, key, ProcessedMeta, read_checked(way.store, key, prepared.meta_sha256))
    trained = read_record(
        way.store, layout.run_part(champion.config_hash, number, f"train-{champion.model}"), TrainPart
    )
    key = layout.run_part(champion.config_hash, number, "judge")
    return _seen(way, key, config_hash=champion.config_hash, run=number, trained=trained.ended if trained else None)


def _run_number(store: Store, entry: LogEntry) -> int | None:
    """The first run that ended with the decision of an entry, as its judge noted; an earlier flts noted nothing."""
    config_hash = entry.champion.config_hash
    noted = read_record(store, layout.decided_by(entry.decision_id), DecidedBy)
    if noted is not None and _decided(store, config_hash, noted.run, entry):
        return noted.run
    numbers = runs.numbers(store, config_hash)
    return next((number for number in numbers if _decided(store, config_hash, number, entry)), None)


def _decided(store: Store, config_hash: str, run: int, entry: LogEntry) -> bool:
    judged = read_record(store, layout.run_part(config_hash, run, "judge"), JudgePart)
    return judged is not None and judged.decision_id == entry.decision_id


def _seen(way: _Way, key: str, **said: str | int | None) -> _Seen:
    """An object that was read and found right."""
    return _Seen(key, sha256(way.store.get(key) or b""), said)


def _differs(key: str, what: str) -> DamagedObject:
    return DamagedObject(f"{key}: {what}", code="trace-differs", key=key)


def summary(lines: Sequence[AnswerLine | ForecastLine]) -> Said:
    """What an answer said, in a few words: its origin, how many forecasts, and to whom."""
    first = lines[0]
    if isinstance(first, AnswerLine):
        return {
            "answered": first.answered,
            "origin": first.origin,
            "forecasts": len(first.times) * len(first.targets),
            "token": first.token,
            "caller_id": first.caller_id,
        }
    return {"origin": first.origin, "forecasts": len(lines)}
