"""A run as services leave it: a store, the messages of its bus, the runs of a tracker, and its log lines."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flts.backends.bus_memory import MemoryBus
from flts.backends.store import memory_store
from flts.contracts import events, layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.messages import TOPICS, ModelTraining, TrainingData
from flts.contracts.ports import Record, Silent, Store
from flts.contracts.records.run import JudgeSeal, MessageRef
from flts.preprocess.source import RawInput, RawTable
from flts.runner.candidate import finish_model
from flts.runner.claim import start
from flts.runner.judgement import judge_run
from flts.runner.reporter import Quiet
from flts.runner.tell import reference
from flts.spec.fields import Spec
from flts.train.isolate import Children
from flts.verification.outside import Outside, read_log
from flts.verification.report import Report, examine
from flts.wiring import RunContext, SystemClock, open_store
from tests.support.series import hourly, split
from tests.support.stored import contents, copy
from tests.support.tracking import RecordingTracker


class SavedBus(MemoryBus):
    """A bus that holds these records, at the offsets that they have."""

    def __init__(self, records: Mapping[str, Sequence[Record]]) -> None:
        super().__init__()
        self.saved = records

    def records(self, topic: str, newest: int | None = None) -> Sequence[Record]:
        assert newest is None
        return list(self.saved.get(topic, ()))


@dataclass(frozen=True)
class Ran:
    """One run, and everything that it left behind."""

    store: Store
    config_hash: str
    messages: Mapping[str, Sequence[Record]]
    tracker: RecordingTracker | None
    log: str | None
    data_hash: str
    run: int = 1

    def report(self, folder: Path, **options: Any) -> Report:
        """The report from the store, the bus, the tracker and the log, which is written to the folder."""
        file = folder / "flts.log"
        if self.log is not None:
            file.write_text(self.log)
        logs = [read_log(file)] if self.log is not None else []
        outside = Outside(SavedBus(self.messages), self.tracker, logs=logs)
        return examine(self.store, self.config_hash, self.run, outside=outside, **options)

    def alone(self, **options: Any) -> Report:
        """The report from the store alone."""
        return examine(self.store, self.config_hash, self.run, **options)

    def copied(self) -> Ran:
        """The same with a store of its own."""
        store = memory_store()
        copy(self.store, store)
        return replace(self, store=store)

    def with_object(self, key: str, change: Callable[[bytes], bytes]) -> Ran:
        """The same with one object changed."""
        other = self.copied()
        data = other.store.get(key)
        assert data is not None, key
        other.store.replace(key, change(data))
        return other

    def with_record(self, key: str, change: Callable[[bytes], bytes]) -> Ran:
        """The same with one record of the run changed, and with it what the judge recorded of it, and the seal."""
        other = self.with_object(key, change)
        for seal in other.keys("", layout.seals(self.config_hash, self.run)):
            other.store.erase(seal)
        judge = other.part("judge")
        if key != judge:
            digest = sha256(other.store.get(key) or b"")
            fields = json.loads(other.store.get(judge) or b"")
            other.store.replace(judge, canonical_json({**fields, "rests_on": {**fields["rests_on"], key: digest}}))
        record = JudgeSeal(run=self.run, judge_sha256=sha256(other.store.get(judge) or b""))
        other.store.create(layout.seal(self.config_hash, self.run, record.judge_sha256), record.to_bytes())
        return other

    def part(self, name: str) -> str:
        """The key of a part of the run."""
        return layout.run_part(self.config_hash, self.run, name)

    def keys(self, ending: str, start: str = "") -> list[str]:
        """Keys of the store that begin and end so."""
        return [key for key in contents(self.store, start) if key.endswith(ending)]

    def key(self, ending: str, start: str = "") -> str:
        """The only key that begins and ends so."""
        (found,) = self.keys(ending, start)
        return found


def newest(bus: MemoryBus, kind: type[TrainingData | ModelTraining]) -> MessageRef:
    """The message that a service would have got last."""
    record = bus.records(kind.topic)[-1]
    return reference(record, kind.parse(record.value))


def ran(folder: Path, spec: Spec, tracker: RecordingTracker | None) -> Ran:
    """Run an experiment on 300 hours, step by step on a bus in memory."""
    train, test = split(hourly(300), 60)
    raw = RawInput(RawTable("train", train), RawTable("test", test))
    lines, bus = io.StringIO(), MemoryBus()
    context = RunContext(
        open_store((folder / "objects").as_uri()), bus, tracker, SystemClock(), "tests", 60.0, Children(2)
    )
    events.configure("json", lines)
    try:
        started = start(context, spec, raw, Quiet())
        for name in started.experiment.spec.trained:
            finish_model(
                context,
                started.claim,
                started.experiment,
                name,
                Silent(),
                recompute=False,
                message=newest(bus, TrainingData),
            )
        judge_run(
            context,
            started.experiment,
            started.claim.identifier,
            started.claim.run,
            actor="tests",
            message=newest(bus, ModelTraining),
        )
    finally:
        events.configure("off")
        context.children.cancel()
    store = memory_store()
    copy(context.store, store)
    messages = {topic: bus.records(topic) for topic in TOPICS}
    return Ran(store, started.claim.config_hash, messages, tracker, lines.getvalue(), started.claim.data_hash)
