"""The stages as services give the results of `flts run`, and every message that fails is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.support.experiments import small_spec
from tests.support.services import (
    RAW,
    TEST,
    all_services,
    context_on,
    serving,
    start_run,
    wait_for_judgement,
    wait_until,
)
from tests.support.stored import as_json, contents, results

import flts
from flts.backends.bus_memory import MemoryBus
from flts.contracts import layout
from flts.contracts.canonical import sha256
from flts.contracts.messages import InferenceData, ModelTraining, PerformanceEval, TrainingData
from flts.contracts.ports import Record, Store
from flts.promotion.log import read_log
from flts.runner.services.letters import Letter, by_message, letters, replay, topic_of_letters
from flts.runner.services.train import Trainer
from flts.runner.tell import reference
from flts.serve.follow import champion_of
from flts.settings import load_settings
from flts.wiring import SystemClock, open_store

pytestmark = pytest.mark.slow


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "objects").as_uri())


def test_services_store_the_same_bytes_as_a_run_on_one_machine(store: Store, tmp_path: Path) -> None:
    spec, context = small_spec(), context_on(store, MemoryBus())
    with serving(context, all_services(context)):
        claim = start_run(context, spec)
        wait_for_judgement(store, claim)
    home = tmp_path / "alone"
    alone = flts.run(spec, train=RAW.train.loaded().table, test=TEST, settings=load_settings(home=home, tracking="off"))
    assert alone.config_hash == claim.config_hash
    assert results(store) == results(open_store((home / "objects").as_uri()))
    assert [entry.champion.model for entry in read_log(store, "global")] == [alone.winner]


def test_a_second_run_of_a_configuration_fits_and_promotes_nothing(store: Store) -> None:
    spec, bus = small_spec(), MemoryBus()
    context = context_on(store, bus)
    with serving(context, all_services(context)):
        wait_for_judgement(store, start_run(context, spec))
        before = results(store)
        second = start_run(context, spec)
        wait_for_judgement(store, second)
    assert second.run == 2
    part = json.loads(store.get(layout.run_part(second.config_hash, 2, "train-ridge")) or b"")
    assert part["fitted"] is False
    assert len(read_log(store, "global")) == 1
    assert {key for key in results(store) if "decisions" not in key} == {k for k in before if "decisions" not in k}


def test_a_part_names_the_message_that_it_was_made_from(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    with serving(context, all_services(context)):
        claim = start_run(context, small_spec())
        wait_for_judgement(store, claim)
    trained, judged = (as_json(store, layout.run_part(claim.config_hash, 1, part)) for part in ("train-ridge", "judge"))
    (asked,) = bus.records(TrainingData.topic)
    assert trained["message"] == reference(asked, claim).model_dump()
    told_last = bus.records(ModelTraining.topic)[-1]
    assert judged["message"] == reference(told_last, ModelTraining.parse(told_last.value)).model_dump()
    assert (trained["bundle_sha256"], trained["forecasts_sha256"]) == (
        told(bus)[-1].bundle_sha256,
        told(bus)[-1].forecasts_sha256,
    )


def test_a_recompute_fits_again_and_compares(store: Store) -> None:
    context = context_on(store, MemoryBus())
    with serving(context, all_services(context)):
        wait_for_judgement(store, start_run(context, small_spec()))
        again = start_run(context, small_spec(), recompute=True)
        key = layout.run_part(again.config_hash, 2, "train-ridge")
        wait_until(lambda: store.exists(key), key)
    assert json.loads(store.get(key) or b"")["recomputed"] == "equal"


def test_a_model_that_fails_does_not_block_the_promotion(store: Store) -> None:
    spec = small_spec(("ridge", "automfles"), task={"input_length": 12, "horizon": 3, "seasons": [200]})
    context = context_on(store, MemoryBus())
    with serving(context, all_services(context, "ridge", "automfles")):
        claim = start_run(context, spec)
        wait_for_judgement(store, claim)
    failed = json.loads(store.get(layout.failure(claim.config_hash, 1, "automfles")) or b"")
    assert failed["class"] == "NotApplicable"
    assert [entry.champion.model for entry in read_log(store, "global")] == ["ridge"]


def test_the_judge_waits_for_every_model_that_the_spec_expects(store: Store) -> None:
    spec = small_spec(("ridge", "automfles"))
    bus = MemoryBus()
    context = context_on(store, bus)
    with serving(context, all_services(context, "ridge")):
        claim = start_run(context, spec)
        wait_until(lambda: bus.lag("model-training", "evaluate") == 0 and len(told(bus)) == 2, "ridge to be told")
        assert not store.exists(layout.run_part(claim.config_hash, 1, "judge"))
    with serving(context_on(store, bus), all_services(context_on(store, bus), "automfles")):
        wait_for_judgement(store, claim)
    assert len(read_log(store, "global")) == 1


def told(bus: MemoryBus) -> list[ModelTraining]:
    return [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]


def test_an_unreadable_message_is_kept_unchanged_as_a_dead_letter(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    with serving(context, all_services(context)):
        bus.publish("training-data", "k", b"\xff not JSON", {"who": "someone"})
        wait_until(lambda: bool(bus.records(topic_of_letters("training-data"))), "a dead letter")
        claim = start_run(context, small_spec())
        wait_for_judgement(store, claim)
    (letter,) = letters(bus, "training-data")
    assert (letter.record.value, letter.record.key, letter.record.headers["who"]) == (b"\xff not JSON", "k", "someone")
    assert (letter.group, letter.error, letter.attempts) == ("train-ridge", "DataError", 1)
    assert letter.reason.startswith("training-data: ")


def test_a_message_that_two_groups_fail_leaves_two_letters_and_one_replay_reaches_both(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)

    def kept() -> list[Letter]:
        return letters(bus, "training-data")

    with serving(context, [Trainer(context, "ridge"), Trainer(context, "gru")]):
        bus.publish("training-data", "k", b"not JSON")
        wait_until(lambda: len(kept()) == 2, "a letter of each")
        (same,) = by_message(kept())
        assert {letter.group for letter in same} == {"train-ridge", "train-gru"}
        replay(bus, *same)
        wait_until(lambda: len(kept()) == 4, "another letter of each")
    assert len(bus.records("training-data")) == 2
    assert sorted((letter.group, letter.replayed) for letter in kept()) == [
        ("train-gru", False),
        ("train-gru", True),
        ("train-ridge", False),
        ("train-ridge", True),
    ]


def test_one_trace_goes_through_all_messages_of_a_run(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with serving(context, all_services(context)):
        claim = start_run(context, small_spec())
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


def test_rows_are_forecast_once_and_their_errors_published(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    claim = claim_rows(store, TEST.write_csv().encode(), row_count=60)
    with serving(context, all_services(context)):
        wait_for_judgement(store, start_run(context, small_spec()))
        for _ in range(2):
            bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 2, "two answers")
    first, second = (PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic))
    assert first.event_id == second.event_id
    assert first.input_event_id == claim.event_id
    lines = [json.loads(line) for line in (store.get(first.log_object_key) or b"").splitlines()]
    assert (first.rows, first.forecasts, len(lines)) == (60, 49 * 3, 49 * 3)
    assert [key for key in contents(store) if key.endswith(".jsonl")] == [first.log_object_key]
    assert lines[0].keys() == {
        *("origin", "step", "time", "target", "mean", "lower", "upper"),
        *("request_id", "model_type", "model_hash", "promotion"),
    }
    assert lines[0]["mean"] == champion_of(store, "global").forecast(TEST[:12])["mean"][0]
    assert first.metrics is not None
    assert set(first.metrics) == {"rmse", "mae", "mse"}


def test_rows_are_forecast_where_the_table_holds_what_is_known_ahead(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    claim = claim_rows(store, TEST.write_csv().encode(), row_count=60)
    with serving(context, all_services(context)):
        wait_for_judgement(store, start_run(context, small_spec(dataset={"known_future": ["wind"]})))
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "an answer")
    (answer,) = (PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic))
    lines = [json.loads(line) for line in (store.get(answer.log_object_key) or b"").splitlines()]
    assert (answer.forecasts, len(lines)) == (46 * 3, 46 * 3)  # none from the last three rows
    alone = champion_of(store, "global").forecast(TEST[:12], future=TEST[12:15])
    assert lines[0]["mean"] == pytest.approx(alone["mean"][0])


def test_rows_that_differ_from_their_digest_are_a_dead_letter_and_the_next_are_forecast(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    good = claim_rows(store, TEST.write_csv().encode())
    with serving(context, all_services(context)):
        wait_for_judgement(store, start_run(context, small_spec()))
        wrong = good.model_copy(update={"sha256": "0" * 64})
        bus.publish(wrong.topic, wrong.key, wrong.to_bytes())
        bus.publish(good.topic, good.key, good.to_bytes())
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the good one")
    (letter,) = letters(bus, "inference-data")
    assert letter.error == "DamagedObject"


def test_expired_rows_are_not_forecast(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    late = claim_rows(store, TEST.write_csv().encode(), deadline_ms=1)
    with serving(context, all_services(context)):
        bus.publish(late.topic, late.key, late.to_bytes())
        wait_until(lambda: bus.lag("inference-data", "forecast") == 0, "the claim to be passed over")
    assert not bus.records(PerformanceEval.topic)
    assert not letters(bus, "inference-data")


def test_rows_of_a_scope_without_a_champion_become_a_dead_letter_that_can_be_replayed(store: Store) -> None:
    bus = MemoryBus()
    context = context_on(store, bus)
    claim = claim_rows(store, TEST.write_csv().encode())
    with serving(context, all_services(context)):
        bus.publish(claim.topic, claim.key, claim.to_bytes())
        wait_until(lambda: len(letters(bus, "inference-data")) == 1, "a dead letter")
        wait_for_judgement(store, start_run(context, small_spec()))
        (letter,) = letters(bus, "inference-data")
        assert letter.error == "NoChampion"
        assert letter.attempts > 1
        replay(bus, letter)
        wait_until(lambda: len(bus.records(PerformanceEval.topic)) == 1, "the answer")
