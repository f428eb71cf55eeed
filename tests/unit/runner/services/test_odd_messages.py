"""Messages that come twice, out of order or malformed: all others are handled all the same."""

from __future__ import annotations

import io
import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.support.experiments import small_spec
from tests.support.services import TEST, all_services, context_on, serving, start_run, wait_for_judgement, wait_until

from flts.backends.bus_memory import MemoryBus
from flts.contracts import layout
from flts.contracts.canonical import canonical_json, sha256
from flts.contracts.errors import DataError, StageFailed
from flts.contracts.listing import Listed
from flts.contracts.messages import LARGEST, InferenceData, ModelTraining, PerformanceEval, TrainingData
from flts.contracts.ports import Record, Store
from flts.preprocess.limits import Limits
from flts.promotion.log import read_log
from flts.runner.services.evaluate import Evaluator
from flts.runner.services.letters import HEAD, letters
from flts.runner.services.train import Trainer
from flts.wiring import RunContext, open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "objects").as_uri())


@pytest.fixture
def bus() -> MemoryBus:
    return MemoryBus()


@pytest.fixture
def context(store: Store, bus: MemoryBus) -> RunContext:
    return context_on(store, bus)


def told(bus: MemoryBus) -> list[ModelTraining]:
    return [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]


def handled(bus: MemoryBus) -> Callable[[], bool]:
    """A check that no group has messages left."""
    groups = [("training-data", "train-ridge"), ("model-training", "evaluate"), ("inference-data", "forecast")]
    return lambda: all(bus.lag(topic, group) == 0 for topic, group in groups)


def rows(store: Store, name: str = "rows.csv", **fields: Any) -> InferenceData:
    data = TEST.write_csv().encode()
    store.create(f"dataset/{name}", data)
    given: dict[str, Any] = {"bucket": "dataset", "object_key": name, "size": len(data), "sha256": sha256(data)}
    return InferenceData(ts=datetime.now(UTC), identifier="global", row_count=len(TEST), **(given | fields))


def changed(message: TrainingData | InferenceData, **fields: Any) -> bytes:
    """A message as somebody else might write it."""
    value = json.loads(message.to_bytes())
    return canonical_json({name: field for name, field in (value | fields).items() if field is not None})


def test_a_claim_that_comes_twice_is_fitted_once_and_promoted_once(context: RunContext, bus: MemoryBus) -> None:
    with serving(context, all_services(context)):
        claim = start_run(context, small_spec())
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_for_judgement(context.store, claim)
        wait_until(lambda: [m.status for m in told(bus)].count("SUCCESS") == 2 and handled(bus)(), "both claims")
    part = json.loads(context.store.get(layout.run_part(claim.config_hash, 1, "train-ridge")) or b"")
    assert part["fitted"] is True
    assert len(read_log(context.store, "global")) == 1
    assert len({m.event_id for m in told(bus) if m.status == "SUCCESS"}) == 1
    assert not letters(bus, "training-data")


def test_messages_out_of_order_are_judged_once_the_store_is_complete(context: RunContext, bus: MemoryBus) -> None:
    """Results come before starts, the last model first, and every message three times."""
    spec, first = small_spec(("ridge", "automfles")), MemoryBus()
    apart = context_on(context.store, first)
    claim = start_run(apart, spec)
    with serving(apart, [Trainer(apart, "ridge"), Trainer(apart, "automfles")]):
        wait_until(lambda: [m.status for m in told(first)].count("SUCCESS") == 2, "both models")
    parts = {name: layout.run_part(claim.config_hash, 1, f"train-{name}") for name in spec.expected}
    early, late = sorted(spec.expected)
    kept = context.store.get(parts[early]) or b""
    store = MissingFor(context.store, parts[early])
    context.store = store
    backwards = sorted(told(first), key=lambda m: (m.model == early, m.status != "SUCCESS"))
    with serving(context, all_services(context)):
        for message in backwards * 3:
            if message.model == early:
                store.hidden = ""
            bus.publish(message.topic, message.key, message.to_bytes())
            if message.model == late:
                wait_until(handled(bus), "the late model to be looked at")
                assert read_log(store, "global") == [] or not store.hidden
        wait_until(handled(bus), "all messages")
    assert store.get(parts[early]) == kept
    assert len(read_log(store, "global")) == 1
    assert not letters(bus, "model-training")


class MissingFor(Listed):
    """A store that hides one object."""

    def __init__(self, store: Store, hidden: str) -> None:
        self._store, self.hidden, self.url = store, hidden, store.url

    def get(self, key: str) -> bytes | None:
        return None if key == self.hidden else self._store.get(key)

    def create(self, key: str, data: bytes) -> bool:
        return self._store.create(key, data)

    def replace(self, key: str, data: bytes) -> None:
        self._store.replace(key, data)

    def erase(self, key: str) -> None:
        self._store.erase(key)

    def exists(self, key: str) -> bool:
        return key != self.hidden and self._store.exists(key)

    def list(self, prefix: str) -> list[str]:
        return [key for key in self._store.list(prefix) if key != self.hidden]


def test_fields_of_a_later_version_are_ignored(context: RunContext, bus: MemoryBus) -> None:
    apart = context_on(context.store, MemoryBus())
    claim = start_run(apart, small_spec())
    with serving(context, all_services(context)):
        bus.publish(claim.topic, claim.key, changed(claim, colour="blue", nested={"a": [1, 2]}))
        wait_for_judgement(context.store, claim)
        asked = rows(context.store)
        bus.publish(asked.topic, asked.key, changed(asked, colour="blue"))
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the answer")
    assert not [letter for topic in ("training-data", "inference-data") for letter in letters(bus, topic)]


POISON: dict[str, tuple[dict[str, Any], str, str]] = {
    "an id of something else": ({"event_id": "0" * 64}, "DataError", "event_id 0+ does not match the identity fields"),
    "an older version": ({"v": 0}, "DataError", "v: Input should be 1"),
    "no hash": ({"config_hash": None, "event_id": None}, "DataError", "config_hash: Field required"),
    "a way out of the bucket": ({"object_key": "../../etc/passwd"}, "DataError", "is not the object of its data_hash"),
    "a Spec that is not there": (
        {"config_hash": "f" * 64, "spec_key": f"specs/{'f' * 64}.json", "event_id": None},
        "DamagedObject",
        r"specs/f+\.json is absent",
    ),
    "rows that are not there": (
        {"data_hash": "f" * 64, "object_key": f"{'f' * 64}/meta.json"},
        "DamagedObject",
        "absent",
    ),
    "too many bytes": ({"padding": "x" * 2 * LARGEST}, "DataError", "at most 1,048,576 are allowed"),
    "no run has such a number": ({"run": 10_000, "event_id": None}, "DataError", "run: Input should be less than"),
}


@pytest.mark.parametrize("what", list(POISON))
def test_a_malformed_claim_is_a_dead_letter_and_the_next_one_is_handled(
    what: str, context: RunContext, bus: MemoryBus
) -> None:
    fields, error, reason = POISON[what]
    good = start_run(context_on(context.store, MemoryBus()), small_spec())
    with serving(context, all_services(context)):
        bus.publish(good.topic, good.key, changed(good, **fields))
        wait_until(lambda: len(letters(bus, good.topic)) == 1, "the dead letter")
        wait_until(handled(bus), "what the letter made others do")
        bus.publish(good.topic, good.key, good.to_bytes())
        wait_until(lambda: any(m.status == "SUCCESS" for m in told(bus)) or handled(bus)(), "the good one")
        wait_for_judgement(context.store, good)
    (letter,) = letters(bus, good.topic)
    assert letter.error == error
    assert re.search(reason, letter.reason), letter.reason
    assert changed(good, **fields).startswith(letter.record.value)
    assert len(letter.record.value) == (HEAD if what == "too many bytes" else len(changed(good, **fields)))


@pytest.mark.parametrize("stored", [b"{}", b"not JSON", b'{"v": 9}'])
def test_a_claim_with_an_unreadable_spec_blocks_no_other(stored: bytes, context: RunContext, bus: MemoryBus) -> None:
    good = start_run(context_on(context.store, MemoryBus()), small_spec())
    wrong = good.model_copy(update={"config_hash": "e" * 64})
    context.store.create(layout.spec("e" * 64), stored)
    with serving(context, all_services(context)):
        for claim in (wrong, good):
            bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_for_judgement(context.store, good)
    (letter,) = letters(bus, good.topic)
    assert letter.error in {"DamagedObject", "StageFailed"}


class Panic(BaseException):
    """An error as compiled libraries raise it: not an Exception."""


def test_a_panic_in_a_library_is_a_dead_letter(
    context: RunContext, bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def panic(*_: object) -> None:
        raise Panic("index out of bounds")

    monkeypatch.setattr("flts.runner.services.train.load_experiment", panic)
    claim = start_run(context_on(context.store, MemoryBus()), small_spec())
    with serving(context, [Trainer(context, "ridge")]):
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(letters(bus, claim.topic)) == 1, "the dead letter")
    assert letters(bus, claim.topic)[0].reason == "Panic: index out of bounds"
    assert context.store.exists(layout.failure(claim.config_hash, 1, "ridge"))


class Unwritable(Trainer):
    """A trainer that cannot even record its failures."""

    def handle(self, record: Record) -> None:
        raise DataError("no such rows")

    def dead_letter(self, record: Record, error: Exception) -> None:
        raise StageFailed("no space left")


def test_a_failure_that_cannot_be_recorded_does_not_block_the_partition(context: RunContext, bus: MemoryBus) -> None:
    with serving(context, [Unwritable(context, "ridge")]):
        for value in (b"1", b"2"):
            bus.publish("training-data", "k", value)
        wait_until(lambda: len(letters(bus, "training-data")) == 2, "both dead letters")
    reason = "DataError: no such rows; its failure could not be recorded: StageFailed: no space left"
    assert [letter.reason for letter in letters(bus, "training-data")] == [reason, reason]


def test_a_claim_of_missing_rows_is_a_dead_letter(context: RunContext, bus: MemoryBus) -> None:
    absent = rows(context.store).model_copy(update={"object_key": "nowhere.csv"})
    asked = rows(context.store)
    with serving(context, all_services(context)):
        wait_for_judgement(context.store, start_run(context, small_spec()))
        for claim in (absent, asked):
            bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the answer")
    assert [letter.error for letter in letters(bus, "inference-data")] == ["DamagedObject"]


def test_a_claim_of_rows_that_decode_to_a_large_table_is_a_dead_letter(context: RunContext, bus: MemoryBus) -> None:
    bomb = io.BytesIO()
    pl.DataFrame({"time": pl.repeat(0, 100_000, eager=True)}).write_parquet(bomb)
    data, asked = bomb.getvalue(), rows(context.store)
    context.store.create("dataset/bomb.parquet", data)
    large = {"object_key": "bomb.parquet", "size": len(data), "sha256": sha256(data)}
    context.limits = Limits(cells=50_000)
    with serving(context, all_services(context)):
        wait_for_judgement(context.store, start_run(context, small_spec()))
        for claim in (asked.model_copy(update=large), asked):
            bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the answer")
    (letter,) = letters(bus, "inference-data")
    assert (letter.error, letter.attempts) == ("DataError", 1)
    assert "100,000 cells" in letter.reason


def test_racing_judges_promote_a_run_once(context: RunContext) -> None:
    """Each has a bus of its own, so that all of them get every message at the same moment."""
    spec, first = small_spec(evaluate={"gate": "always"}), MemoryBus()
    apart = context_on(context.store, first)
    claim = start_run(apart, spec)
    with serving(apart, [Trainer(apart, "ridge")]):
        wait_until(lambda: any(m.status == "SUCCESS" for m in told(first)), "the model")
    (message,) = (record for record in first.records(ModelTraining.topic) if b"SUCCESS" in record.value)
    ready, ended = threading.Barrier(4), list[int]()

    def judge(number: int) -> None:
        evaluator = Evaluator(context_on(context.store, MemoryBus()))
        ready.wait()
        evaluator.handle(Record(message.topic, 0, number, message.key, message.value, {}, 0))
        ended.append(number)

    threads = [threading.Thread(target=judge, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(ended) == [0, 1, 2, 3]
    assert len(read_log(context.store, "global")) == 1
    assert context.store.exists(layout.run_part(claim.config_hash, 1, "judge"))
