"""Services whose store, tracker or messages are not as they should be come to the same end, or say why not."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest
from tests.support.experiments import RIDGE, SMALL_GRU, small_spec, write_experiment
from tests.support.faulty import Faults, faulty
from tests.support.processes import Processes, processes
from tests.support.servers import AWAY, kafka_bus, s3_prefix
from tests.support.services import context_on, start_run, wait_for_judgement, wait_until
from tests.support.stored import results

import flts
from flts.contracts.messages import TOPICS, InferenceData, ModelTraining, TrainingData
from flts.contracts.ports import Bus
from flts.promotion.log import read_log
from flts.runner.services.letters import letters
from flts.settings import load_settings
from flts.spec.sources import load_spec
from flts.stack.kafka import durable_kafka, quick_kafka
from flts.stack.postgres import Postgres
from flts.stack.s3 import S3
from flts.stack.server import Server
from flts.wiring import open_store


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """flts.toml with its rows beside it."""
    return write_experiment(tmp_path, RIDGE + SMALL_GRU)


@pytest.fixture
def store_url(s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> str:
    return s3_prefix(s3_server, monkeypatch)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    """A broker of this test's own: topics have fixed names."""
    (tmp_path / "broker").mkdir()
    with quick_kafka(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def bus(broker: Server) -> Iterator[Bus]:
    opened = kafka_bus(broker)
    yield opened
    opened.close()


@pytest.fixture
def running(tmp_path: Path, broker: Server, store_url: str) -> Iterator[Processes]:
    with processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": store_url}) as those:
        yield those


def given_up(bus: Bus) -> list[str]:
    return [letter.reason for topic in TOPICS for letter in letters(bus, topic)]


@pytest.mark.long
@pytest.mark.parametrize("gone", ["mlflow", "postgres"])
def test_a_tracker_that_is_away_for_a_while_is_waited_for_and_told_once(
    gone: str,
    running: Processes,
    experiment: Path,
    store_url: str,
    bus: Bus,
    mlflow_server: Server,
    database_server: Postgres,
    tmp_path: Path,
) -> None:
    tracking = {"FLTS_TRACKING": "mlflow", "FLTS_MLFLOW_URI": mlflow_server.url, "FLTS_PATIENCE": "120"}
    running.environment = dict(running.environment) | tracking
    workers = running.workers("ridge,gru")
    scope = f"without-{gone}"
    server = mlflow_server if gone == "mlflow" else database_server
    claim = running.claim(experiment, "--set", f"dataset.identifier={scope}")
    wait_until(lambda: workers["train"].said("train_start"), "a fit")
    server.kill()
    try:
        wait_until(lambda: workers["train"].said("retry_scheduled"), "somebody to notice")
        time.sleep(AWAY)
    finally:
        server.start()
    store = open_store(store_url)
    running.until_judged(store, claim)
    (entry,) = read_log(store, scope)
    from mlflow import MlflowClient

    client = MlflowClient(mlflow_server.url)
    experiment_id = client.get_experiment_by_name(f"flts/{scope}").experiment_id  # type: ignore[union-attr]
    found = client.search_runs([experiment_id])
    finished = sorted(run.info.run_name for run in found if run.info.status == "FINISHED")
    assert finished == ["GRU", "RIDGE"]
    assert not [run for run in found if run.info.status not in {"FINISHED", "KILLED"}]
    assert client.get_model_version_by_alias(f"flts-{scope}", "champion").run_id == entry.champion.run_id
    assert given_up(bus) == []
    assert all(worker.process.poll() is None for worker in workers.values())


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_a_store_that_is_overloaded_slow_and_breaks_off_gives_the_same_bytes(
    seed: int, running: Processes, experiment: Path, store_url: str, bus: Bus, s3_server: S3, tmp_path: Path
) -> None:
    often = {"busy": 0.1, "slow": 0.05, "torn": 0.05, "silent": 0.05}
    faults = Faults(often, random.Random(seed))  # noqa: S311 - dice, no secrets
    with faulty(s3_server.url, faults) as endpoint:
        running.environment = dict(running.environment) | {"FLTS_S3_ENDPOINT": endpoint}
        running.workers("ridge,gru")
        claim = running.claim(experiment, "--claim-test")
        store = open_store(store_url)
        running.until_judged(store, claim)
        wait_until(lambda: len(bus.records("performance-eval")) > 0, "the batch to be answered")
        running.close()
    assert set(often) <= set(faults.happened), faults.happened
    loaded, home = load_spec(experiment, environ={}), tmp_path / "alone"
    flts.run(loaded.spec, folder=loaded.folder, settings=load_settings(home=home, tracking="off"))
    assert results(store) == results(open_store((home / "objects").as_uri()))
    assert len(read_log(store, "global")) == 1
    assert given_up(bus) == []


@pytest.mark.parametrize(
    ("wrong", "code", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "not-the-key"}, 2, "look at AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        ({"FLTS_STORE": "s3://nosuch/bucket"}, 2, "make the bucket first"),
        ({"FLTS_TRACKING": "mlflow", "FLTS_MLFLOW_URI": "http://127.0.0.1:9"}, 3, "MLflow at http://127.0.0.1:9"),
        ({"FLTS_BUS": "kafka://127.0.0.1:9", "FLTS_KAFKA_TIMEOUT": "2"}, 3, "kafka://127.0.0.1:9"),
    ],
)
def test_a_service_that_cannot_reach_a_backend_or_may_not_ends_before_it_takes_work(
    running: Processes, wrong: Mapping[str, str], code: int, said: str
) -> None:
    running.environment = dict(running.environment) | dict(wrong)
    for command in (("train", "--model", "ridge"), ("evaluate",), ("forecast",)):
        done = running.run("worker", *command)
        messages = [line for line in done.stderr.splitlines() if not line.startswith("{")]
        assert (done.returncode, len(messages)) == (code, 1), done.stderr
        assert said in messages[0]
        assert "not-the-key" not in done.stderr
        assert "service_started" not in done.stderr


@pytest.mark.long
def test_evaluators_in_two_processes_that_race_for_runs_promote_each_once(
    tmp_path: Path, s3_server: S3, store_url: str
) -> None:
    """Every partition has the last message of every run, so both evaluators take up each run at the same time.

    Behind them every partition has words that are no message: when each is a dead letter, all before it is handled.
    """
    store = open_store(store_url)
    (tmp_path / "broker").mkdir()
    with (
        durable_kafka(tmp_path / "broker", s3_server, store_url.rpartition("/")[2]) as broker,
        closing(kafka_bus(broker)) as bus,  # the quick one may keep a second member waiting for ever
        processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": store_url}) as running,
    ):
        place = context_on(store, bus)
        running.worker("train")
        specs = [small_spec(evaluate={"gate": "always"}, task={"input_length": length}) for length in range(8, 16)]
        claims = [start_run(place, spec) for spec in specs]
        wait_until(lambda: len(last_words(bus)) == len(specs), "all fits")
        for message in last_words(bus):
            for number in range(9):
                bus.publish(message.topic, f"{message.key}-{number}", message.to_bytes())
        ends = [f"end-{number}" for number in range(48)]
        for key in ends:
            bus.publish(ModelTraining.topic, key, b"the end")
        evaluators = [running.worker("evaluate") for _ in range(2)]
        for claim in claims:
            wait_for_judgement(store, claim)
        log = read_log(store, "global")
        assert sorted(entry.champion.config_hash for entry in log) == sorted(claim.config_hash for claim in claims)
        wait_until(lambda: len(set(ended(bus))) == len(ends), "every message to be handled")
        assert len(read_log(store, "global")) == len(specs)
        assert set(ended(bus)) == set(ends)
        assert [evaluator.stop() for evaluator in evaluators] == [0, 0]
        assert all(evaluator.said("promotion_decision") for evaluator in evaluators)


def ended(bus: Bus) -> list[str]:
    """Keys of what was given up."""
    return [letter.record.key for letter in letters(bus, ModelTraining.topic)]


def last_words(bus: Bus) -> list[ModelTraining]:
    messages = [ModelTraining.parse(record.value) for record in bus.records(ModelTraining.topic)]
    return [message for message in messages if message.status == "SUCCESS"]


@pytest.mark.long
def test_a_message_that_no_topic_of_dead_letters_takes_stops_no_service(
    tmp_path: Path, experiment: Path, s3_server: S3, store_url: str
) -> None:
    """Whoever made the topic, or writes to it, may know no limit; this broker knows none."""
    from confluent_kafka import KafkaError, Message, Producer

    errors: list[KafkaError | None] = []

    def on_delivery(error: KafkaError | None, _: Message) -> None:
        errors.append(error)

    topics = (TrainingData.topic, ModelTraining.topic, InferenceData.topic)
    (tmp_path / "durable").mkdir()
    with durable_kafka(tmp_path / "durable", s3_server, cluster=store_url.rpartition("/")[2]) as broker:
        bus = kafka_bus(broker)
        with processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": store_url}) as running:
            running.workers("ridge")
            address = broker.url.removeprefix("kafka://")
            stranger = Producer({"bootstrap.servers": address, "message.max.bytes": 8 << 20})
            for topic in topics:
                stranger.produce(topic, b"x" * (2 << 20), b"k", on_delivery=on_delivery)
                stranger.produce(topic, b"{}", b"k", headers={"h": b"y" * (1 << 17)}, on_delivery=on_delivery)
            assert stranger.flush(30) == 0
            running.until_judged(open_store(store_url), running.claim(experiment, "--models", "ridge"))
            wait_until(lambda: len(given_up(bus)) == 2 * len(topics), "the dead letters")
            assert [service.process.poll() for service in running.started] == [None] * 3
        reasons = given_up(bus)
        bus.close()
    assert errors == [None] * 2 * len(topics)
    assert sum("at most 1,048,576 are allowed" in reason for reason in reasons) == len(topics)
