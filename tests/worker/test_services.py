"""The stages as services come to what `flts run` comes to, and nothing that goes wrong with a message is lost."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.services import (
    LONG,
    QUICK,
    RAW,
    TEST,
    all_services,
    place_on,
    serving,
    start_run,
    wait_for_judgement,
    wait_until,
)
from tests.support.stored import contents, results

import flts
from flts import layout
from flts.backends.bus_memory import MemoryBus, MemorySubscription
from flts.errors import BackendUnavailable, DataError, MissingExtra, UsageError
from flts.lineage import sha256
from flts.messages import InferenceData, ModelTraining, PerformanceEval, TrainingData
from flts.ports import BusState, Record, Store
from flts.promote.log import read_log
from flts.serve.follow import champion_of
from flts.settings import load_settings
from flts.wiring import SystemClock, open_store
from flts.worker import loop
from flts.worker.judge import Evaluator
from flts.worker.letters import Letter, by_message, letters, replay, topic_of_letters
from flts.worker.run import TOPICS, Conditions, serve, stop_on_signals
from flts.worker.train import Trainer


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "objects").as_uri())


def test_services_come_to_the_same_bytes_as_a_run_on_one_machine(store: Store, tmp_path: Path) -> None:
    spec, place = small_spec(), place_on(store, MemoryBus())
    with serving(place, all_services(place)):
        claim = start_run(place, spec)
        wait_for_judgement(store, claim)
    home = tmp_path / "alone"
    alone = flts.run(spec, train=RAW.train.frame(), test=TEST, settings=load_settings(home=home, tracking="off"))
    assert alone.config_hash == claim.config_hash
    assert results(store) == results(open_store((home / "objects").as_uri()))
    assert [entry.champion.model for entry in read_log(store, "global")] == [alone.winner]


def test_a_second_run_of_the_same_fits_nothing_and_promotes_nothing(store: Store) -> None:
    spec, bus = small_spec(), MemoryBus()
    place = place_on(store, bus)
    with serving(place, all_services(place)):
        wait_for_judgement(store, start_run(place, spec))
        before = results(store)
        second = start_run(place, spec)
        wait_for_judgement(store, second)
    assert second.run == 2
    part = json.loads(store.get(layout.run_part(second.config_hash, 2, "train-ridge")) or b"")
    assert part["fitted"] is False
    assert len(read_log(store, "global")) == 1
    assert {key for key in results(store) if "decisions" not in key} == {k for k in before if "decisions" not in k}


def test_a_run_that_asks_for_it_is_fitted_again_and_compared(store: Store) -> None:
    place = place_on(store, MemoryBus())
    with serving(place, all_services(place)):
        wait_for_judgement(store, start_run(place, small_spec()))
        again = start_run(place, small_spec(), recompute=True)
        key = layout.run_part(again.config_hash, 2, "train-ridge")
        wait_until(lambda: store.exists(key), key)
    assert json.loads(store.get(key) or b"")["recomputed"] == "equal"


def test_a_model_that_fails_does_not_hold_the_promotion(store: Store) -> None:
    spec = small_spec(("ridge", "automfles"), task={"input_length": 12, "horizon": 3, "seasons": [200]})
    place = place_on(store, MemoryBus())
    with serving(place, all_services(place, "ridge", "automfles")):
        claim = start_run(place, spec)
        wait_for_judgement(store, claim)
    failed = json.loads(store.get(layout.failure(claim.config_hash, 1, "automfles")) or b"")
    assert failed["class"] == "NotApplicable"
    assert [entry.champion.model for entry in read_log(store, "global")] == ["ridge"]


def test_the_judge_waits_for_every_model_that_the_spec_expects(store: Store) -> None:
    spec = small_spec(("ridge", "automfles"))
    bus = MemoryBus()
    place = place_on(store, bus)
    with serving(place, all_services(place, "ridge")):
        claim = start_run(place, spec)
        wait_until(lambda: bus.lag("model-training", "evaluate") == 0 and len(told(bus)) == 2, "ridge to be told")
        assert not store.exists(layout.run_part(claim.config_hash, 1, "judge"))
    with serving(place_on(store, bus), all_services(place_on(store, bus), "automfles")):
        wait_for_judgement(store, claim)
    assert len(read_log(store, "global")) == 1


def told(bus: MemoryBus) -> list[ModelTraining]:
    return [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]


def test_a_message_that_cannot_be_read_lies_in_the_dead_letters_as_it_came(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    with serving(place, all_services(place)):
        bus.publish("training-data", "k", b"\xff not JSON", {"who": "someone"})
        wait_until(lambda: bool(bus.records(topic_of_letters("training-data"))), "a dead letter")
        claim = start_run(place, small_spec())
        wait_for_judgement(store, claim)
    (letter,) = letters(bus, "training-data")
    assert (letter.record.value, letter.record.key, letter.record.headers["who"]) == (b"\xff not JSON", "k", "someone")
    assert (letter.group, letter.error, letter.attempts) == ("train-ridge", "DataError", 1)
    assert letter.reason.startswith("training-data: ")


def test_a_message_that_two_groups_give_up_leaves_a_letter_of_each_and_is_sent_again_once_to_both(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)

    def given_up() -> list[Letter]:
        return letters(bus, "training-data")

    with serving(place, [Trainer(place, "ridge"), Trainer(place, "gru")]):
        bus.publish("training-data", "k", b"not JSON")
        wait_until(lambda: len(given_up()) == 2, "a letter of each")
        (same,) = by_message(given_up())
        assert {letter.group for letter in same} == {"train-ridge", "train-gru"}
        replay(bus, *same)
        wait_until(lambda: len(given_up()) == 4, "another letter of each")
    assert len(bus.records("training-data")) == 2
    assert sorted((letter.group, letter.replayed) for letter in given_up()) == [
        ("train-gru", False),
        ("train-gru", True),
        ("train-ridge", False),
        ("train-ridge", True),
    ]


def test_one_trace_goes_through_all_messages_of_a_run(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving(place, all_services(place)):
        claim = start_run(place, small_spec())
        wait_for_judgement(store, claim)
        bus.publish(claim.topic, claim.key, claim.to_bytes(), {"traceparent": parent})
        wait_until(lambda: any(r.headers.get("traceparent", "")[3:35] == parent[3:35] for r in trained(bus)), "a trace")
    traces = {record.headers["traceparent"][3:35] for record in [*trained(bus), *bus.records("model-selected")]}
    assert len(traces) == 2  # the one that a worker began for a claim without one, and the one that was given


def trained(bus: MemoryBus) -> list[Record]:
    return list(bus.records(ModelTraining.topic))


# batches


def claim_rows(store: Store, data: bytes, **fields: object) -> InferenceData:
    store.create("dataset/rows.csv", data)
    given = {"bucket": "dataset", "object_key": "rows.csv", "size": len(data), "sha256": sha256(data), "row_count": 1}
    return InferenceData(ts=SystemClock().now(), identifier="", **{**given, **fields})  # type: ignore[arg-type]


def test_rows_are_forecast_once_and_the_errors_told(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    claim = claim_rows(store, TEST.write_csv().encode(), row_count=60)
    with serving(place, all_services(place)):
        wait_for_judgement(store, start_run(place, small_spec()))
        for _ in range(2):
            bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 2, "two answers")
    first, second = (PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic))
    assert first.event_id == second.event_id
    assert first.input_event_id == claim.event_id
    lines = [json.loads(line) for line in (store.get(first.log_object_key) or b"").splitlines()]
    assert (first.rows, first.forecasts, len(lines)) == (60, 49 * 3, 49 * 3)
    assert [key for key in contents(store) if key.startswith("inference-logs/")] == [first.log_object_key]
    assert lines[0].keys() == {
        *("origin", "step", "time", "target", "mean", "lower", "upper"),
        *("request_id", "model_type", "model_hash", "promotion"),
    }
    assert lines[0]["mean"] == champion_of(store, "global").forecast(TEST[:12])["mean"][0]
    assert first.metrics is not None
    assert set(first.metrics) == {"rmse", "mae", "mse"}


def test_rows_that_differ_from_their_digest_are_a_dead_letter_and_the_next_are_forecast(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    good = claim_rows(store, TEST.write_csv().encode())
    with serving(place, all_services(place)):
        wait_for_judgement(store, start_run(place, small_spec()))
        wrong = good.model_copy(update={"sha256": "0" * 64})
        bus.publish(wrong.topic, wrong.key, wrong.to_bytes())
        bus.publish(good.topic, good.key, good.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the good one")
    (letter,) = letters(bus, "inference-data")
    assert letter.error == "DamagedObject"


def test_rows_nobody_waits_for_any_more_are_not_forecast(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    late = claim_rows(store, TEST.write_csv().encode(), deadline_ms=1)
    with serving(place, all_services(place)):
        bus.publish(late.topic, late.key, late.to_bytes())
        wait_until(lambda: bus.lag("inference-data", "forecast") == 0, "the claim to be passed over")
    assert not bus.records(PerformanceEval.topic)
    assert not letters(bus, "inference-data")


def test_rows_of_a_scope_without_a_champion_become_a_dead_letter_that_can_be_sent_again(store: Store) -> None:
    bus = MemoryBus()
    place = place_on(store, bus)
    claim = claim_rows(store, TEST.write_csv().encode())
    with serving(place, all_services(place)):
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(letters(bus, "inference-data")) == 1, "a dead letter")
        wait_for_judgement(store, start_run(place, small_spec()))
        (letter,) = letters(bus, "inference-data")
        assert letter.error == "NoChampion"
        assert letter.attempts > 1
        replay(bus, letter)
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the answer")


# the loop


@dataclass
class Moody:
    """A service that raises what it is told to."""

    moods: list[Exception | None]
    handled: list[bytes] = field(default_factory=list)
    topic: str = TrainingData.topic
    group: str = "moody"
    width: int = 1

    def handle(self, record: Record) -> None:
        self.handled.append(record.value)
        mood = self.moods.pop(0) if self.moods else None
        if mood is not None:
            raise mood

    def bury(self, record: Record, error: Exception) -> None:
        return None


def test_a_backend_that_comes_back_is_waited_for_and_nothing_is_dead(store: Store) -> None:
    bus = MemoryBus()
    place, service = place_on(store, bus), Moody([BackendUnavailable("away")] * 2)
    with serving(place, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert service.handled == [b"1"] * 3
    assert not letters(bus, "training-data")


@pytest.mark.parametrize(
    "error",
    [DataError("no"), KeyError("defect"), BackendUnavailable("away for good"), MissingExtra("this model", "torch")],
)
def test_what_cannot_be_handled_does_not_stop_the_partition(store: Store, error: Exception) -> None:
    bus = MemoryBus()
    moods: list[Exception | None] = [error] * (1 if not isinstance(error, BackendUnavailable) else 50)
    place, service = place_on(store, bus), Moody(moods)
    with serving(place, [service]):
        bus.publish("training-data", "k", b"bad")
        wait_until(lambda: len(letters(bus, "training-data")) == 1, "the dead letter")
        service.moods.clear()
        bus.publish("training-data", "k", b"good")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "both commits")
    assert service.handled[-1] == b"good"
    assert letters(bus, "training-data")[0].error == type(error).__name__


class Leaving(MemoryBus):
    """It is away once in each of three moments: when records are asked for, committed, and given up."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def away_once(self, what: str) -> None:
        self.asked[what] += 1
        if self.asked[what] == 1:
            raise BackendUnavailable(f"away: {what}")

    def publish(self, topic: str, key: str, value: bytes, headers: Mapping[str, str] | None = None) -> None:
        if topic == topic_of_letters(TrainingData.topic):
            self.away_once("letter")
        super().publish(topic, key, value, headers)

    def subscribe(self, topics: Sequence[str], group: str) -> MemorySubscription:
        self.asked["subscribe"] += 1
        return LeavingSubscription(self, topics, group)


class LeavingSubscription(MemorySubscription):
    """A member of a group on a bus that is away."""

    def __init__(self, bus: Leaving, topics: Sequence[str], group: str) -> None:
        super().__init__(bus, topics, group)
        self._leaving = bus

    def poll(self, timeout: float) -> Record | None:
        self._leaving.away_once("poll")
        return super().poll(timeout)

    def commit(self, record: Record) -> None:
        self._leaving.away_once("commit")
        super().commit(record)


def test_a_member_stays_in_its_group_while_the_bus_is_away(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)
    bus = Leaving()
    place, service = place_on(store, bus), Moody([DataError("no"), DataError("no"), None])
    with serving(place, [service]):
        bus.publish("training-data", "k", b"bad")
        bus.publish("training-data", "k", b"good")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "both commits")
    assert service.handled == [b"bad", b"bad", b"good"]
    assert [letter.error for letter in letters(bus, "training-data")] == ["DataError"]
    assert bus.asked["subscribe"] == 1
    assert bus.asked["letter"] == 2
    assert bus.asked["commit"] == 3


def test_who_is_asked_to_stop_while_the_bus_is_away_does_not_wait_for_it(store: Store) -> None:
    class Gone(Leaving):
        def away_once(self, what: str) -> None:
            if what == "commit":
                self.asked[what] += 1
                raise BackendUnavailable("away for good")

    bus = Gone()
    place, service = place_on(store, bus), Moody([])
    with serving(place, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.asked["commit"] > 0, "a commit that fails")
    assert bus.lag("training-data", "moody") == 1
    assert service.handled == [b"1"]


def test_what_went_to_another_member_while_the_bus_was_away_is_left_to_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)

    class Taken(Leaving):
        """While a commit fails another member joins and gets the record: it is now the first in line."""

        def away_once(self, what: str) -> None:
            if what == "commit" and not joined:
                joined.append(MemorySubscription(self, [TrainingData.topic], "moody"))
                self._members["moody"].reverse()
                raise BackendUnavailable("away")

    joined = list[MemorySubscription]()
    bus = Taken()
    place, service = place_on(store, bus), Moody([])
    with serving(place, [service]):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bool(joined), "the other member")
        again = joined[0].poll(LONG)
        assert again is not None
        assert again.value == b"1"
        assert bus.lag("training-data", "moody") == 1
        joined[0].close()
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the record to come back")
    assert service.handled == [b"1", b"1"]


def test_a_store_that_is_away_for_longer_than_the_patience_makes_no_dead_letter(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "AWAY", 0.01)

    class Storing(Moody):
        """Both what it does and that it could not needs the store."""

        buried = 0

        def handle(self, record: Record) -> None:
            super().handle(record)
            if self.buried < 2:
                raise BackendUnavailable("the store is away")

        def bury(self, record: Record, error: Exception) -> None:
            self.buried += 1
            raise BackendUnavailable("the store is away")

    bus = MemoryBus()
    place, service = place_on(store, bus), Storing([])
    with serving(place, [service], Conditions(patience=0.1, grace=5.0)):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert service.buried == 2
    assert not letters(bus, "training-data")


def test_records_worked_on_at_once_are_committed_in_the_order_they_came(store: Store) -> None:
    bus, free = MemoryBus(), threading.Event()

    class First(Moody):
        """The first record takes until the others are done."""

        def handle(self, record: Record) -> None:
            super().handle(record)
            if record.value == b"0":
                free.wait(LONG)

    place, service = place_on(store, bus), First([], width=3)
    with serving(place, [service]):
        for number in range(5):
            bus.publish("training-data", "k", str(number).encode())
        wait_until(lambda: len(service.handled) == 3, "three at once")
        assert bus.lag("training-data", "moody") == 5
        free.set()
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commits")
    assert sorted(service.handled) == [b"0", b"1", b"2", b"3", b"4"]


def test_a_service_that_may_not_do_its_work_ends_and_no_message_is_lost(store: Store) -> None:
    bus = MemoryBus()
    place, refused = place_on(store, bus), Moody([UsageError("look at AWS_SECRET_ACCESS_KEY")])
    bus.publish("training-data", "k", b"1")
    with pytest.raises(UsageError, match="AWS_SECRET_ACCESS_KEY"):
        serve("tests", place, [refused], QUICK, threading.Event())
    assert not letters(bus, "training-data")
    mended = Moody([])
    with serving(place_on(store, bus), [mended]):
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the commit")
    assert (refused.handled, mended.handled) == ([b"1"], [b"1"])


def test_work_that_is_stopped_before_its_end_comes_again(store: Store) -> None:
    bus, free = MemoryBus(), threading.Event()

    class Slow(Moody):
        def handle(self, record: Record) -> None:
            super().handle(record)
            free.wait(LONG)

    place, service = place_on(store, bus), Slow([])
    with serving(place, [service], type(QUICK)(patience=2.0, grace=0.1)):
        bus.publish("training-data", "k", b"1")
        wait_until(lambda: service.handled == [b"1"], "the work to begin")
    free.set()
    assert bus.lag("training-data", "moody") == 1
    again = Moody([])
    with serving(place, [again]):
        wait_until(lambda: bus.lag("training-data", "moody") == 0, "the second")
    assert again.handled == [b"1"]


def test_a_signal_that_the_system_gives_to_another_thread_ends_a_service(store: Store) -> None:
    """Where several threads may take a signal the system chooses one; who waits in the main thread does not wake."""
    bus, asked, first = MemoryBus(), signal.SIGTERM, signal.getsignal(signal.SIGTERM)
    late = threading.Timer(LONG, signal.pthread_kill, (threading.main_thread().ident, asked))

    def ask() -> None:
        wait_until(lambda: bool(bus.describe(["moody"]).members["moody"]), "the service to be at work")
        signal.pthread_kill(threading.get_ident(), asked)

    stop = stop_on_signals()
    asker = threading.Thread(target=ask)
    try:
        late.start()
        asker.start()
        serve("tests", place_on(store, bus), [Moody([])], QUICK, stop)
        assert late.is_alive(), "it ended only when the main thread was told"
    finally:
        late.cancel()
        asker.join()
        signal.signal(asked, first)
        signal.signal(signal.SIGINT, signal.default_int_handler)


def test_a_service_asks_the_bus_once_when_it_starts_and_what_comes_first_finds_its_topics(store: Store) -> None:
    asked: list[str] = []
    found: list[str] = []
    stop = threading.Event()

    class CountingBus(MemoryBus):
        def ensure(self, topics: Sequence[str]) -> None:
            asked.append("ensure")
            super().ensure(topics)

        def describe(self, groups: Sequence[str] = ()) -> BusState:
            asked.append("describe")
            return super().describe(groups)

    bus = CountingBus()
    place = place_on(store, bus)

    def first() -> None:
        assert asked == ["ensure"]
        found.extend(bus.describe().topics)
        stop.set()

    serve("tests", place, [Evaluator(place)], QUICK, stop, first=first)
    assert {*TOPICS, *map(topic_of_letters, TOPICS)} <= set(found)
