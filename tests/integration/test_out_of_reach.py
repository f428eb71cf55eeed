"""A service that stands still, or whose host loses its cable, while another one does its work and it comes back.

The victim stops at its failpoint. Then it is frozen for longer than its session, or goes on without a network. A
checker that knows nothing of this reads everything stored and sent at the end.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from tests.support.checker import DEAD, History, faults
from tests.support.experiments import results_alone, write_experiment
from tests.support.hosts import Host, network
from tests.support.processes import WORKERS, Processes, Service, processes
from tests.support.servers import kafka_bus, s3_prefix
from tests.support.services import wait_until
from tests.support.stored import contents, results

from flts.backends.store import open_store
from flts.contracts.messages import TOPICS, InferenceData, PerformanceEval, TrainingData
from flts.contracts.ports import Bus, Store
from flts.promotion.log import read_log
from flts.stack.kafka import durable_kafka
from flts.stack.s3 import S3, s3
from flts.stack.server import Server

pytestmark = [pytest.mark.slow, pytest.mark.long]

GONE = 15.0
"""Seconds out of reach: more than twice a session of `processes`."""
OUTAGE, BETWEEN = 4.0, 3.0
"""Seconds that a cable is out, and seconds until the next one is."""
POINTS: Sequence[tuple[str, str]] = (
    ("train", "train.bundle.before"),  # in its child, in the middle of the work
    ("train", "bus.publish.before"),
    ("evaluate", "promote.log.before"),
    ("evaluate", "promote.log.after"),
    ("evaluate", "promote.pointer.scope.before"),  # the relay, its message sent
    ("forecast", "forecast.log.before"),
    ("forecast", "bus.commit.before"),
)


@dataclass
class Scene:
    """Servers, an experiment, and the hosts on which services run."""

    broker: Server
    bus: Bus
    store: Store
    near: Processes
    """Where the victim runs."""
    far: Processes
    """Where everyone else runs."""
    host: Host | None = None
    """Of the victim, where hosts are apart."""
    other: Host | None = None

    @property
    def history(self) -> History:
        """Everything stored and sent."""
        topics = {topic: self.bus.records(topic) for name in TOPICS for topic in (name, f"{DEAD}{name}")}
        claimed = [TrainingData.parse(record.value) for record in topics[TrainingData.topic]]
        asked = [InferenceData.parse(record.value) for record in topics[InferenceData.topic]]
        return History(contents(self.store), topics, claimed, asked)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def undisturbed(experiment: Path) -> Mapping[str, bytes]:
    return results_alone(experiment)


@contextmanager
def scene(folder: Path, server: S3, url: str, near: Host | None = None, far: Host | None = None) -> Iterator[Scene]:
    (folder / "broker").mkdir()
    with ExitStack() as ended:
        broker = ended.enter_context(durable_kafka(folder / "broker", server, cluster=url.rpartition("/")[2]))
        bus = ended.enter_context(closing(kafka_bus(broker)))
        environment = {"FLTS_BUS": broker.url, "FLTS_STORE": url, "FLTS_PATIENCE": "120", "FLTS_MAX_ENDED": "3"}
        crews = [
            ended.enter_context(processes(folder / name, environment, host.within if host else ()))
            for name, host in (("near", near), ("far", far))
        ]
        yield Scene(broker, bus, open_store(url), crews[0], crews[1], near, far)


@pytest.fixture(params=["frozen", "cut off"])
def stage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    if request.param == "frozen":
        server: S3 = request.getfixturevalue("s3_server")
        with scene(tmp_path, server, s3_prefix(server, monkeypatch)) as made:
            yield made
        return
    with ExitStack() as ended:
        bridge = ended.enter_context(network())
        near, far = (ended.enter_context(bridge.host(number)) for number in (2, 3))
        for module in ("server", "s3", "kafka"):
            monkeypatch.setattr(f"flts.stack.{module}.HOST", bridge.address)
        (tmp_path / "s3").mkdir()
        server = ended.enter_context(s3(tmp_path / "s3"))
        yield ended.enter_context(scene(tmp_path, server, s3_prefix(server, monkeypatch), near, far))


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_one_that_comes_back_does_nothing_twice(
    name: str, point: str, stage: Scene, experiment: Path, undisturbed: Mapping[str, bytes]
) -> None:
    for other in WORKERS:
        if other != name:
            stage.far.worker(other)
    victim = stage.near.worker(name, failpoints=f"{point}=stop")
    claim = stage.far.claim(experiment, "--claim-test")
    victim.stopped()
    if stage.host is None:
        victim.process.send_signal(signal.SIGSTOP)
    else:
        stage.host.cut()
        go_on(victim)
    stage.far.worker(name)
    begun = time.monotonic()
    stage.far.until_judged(stage.store, claim)
    answered(stage, 1)
    time.sleep(max(0.0, GONE - (time.monotonic() - begun)))
    if stage.host is not None:
        stage.host.join()
    go_on(victim)
    # messages of one key are delivered in order: when a second run is judged, nothing of the first is left
    stage.far.until_judged(stage.store, stage.far.claim(experiment, "--claim-test"))
    answered(stage, 2)
    assert victim.stop() == 0
    assert_nothing_was_done_twice(stage, undisturbed)


@pytest.mark.parametrize("stage", ["cut off"], indirect=True)
def test_two_hosts_whose_cables_fail_by_turns_make_one_promotion(
    stage: Scene, experiment: Path, undisturbed: Mapping[str, bytes]
) -> None:
    """A trainer, a judge and a forecaster on each of two hosts, none of which is ever reachable for long."""
    assert stage.host is not None
    assert stage.other is not None
    crew = [*stage.near.workers().values(), *stage.far.workers().values()]
    ended = threading.Event()

    def disturb(hosts: Sequence[Host]) -> None:
        for host in itertools.cycle(hosts):
            host.cut()
            time.sleep(OUTAGE)
            host.join()
            if ended.wait(BETWEEN):
                return

    monkey = threading.Thread(target=disturb, args=([stage.host, stage.other],), name="cables")
    claim = stage.far.claim(experiment, "--claim-test")
    monkey.start()
    try:
        stage.far.until_judged(stage.store, claim)
        answered(stage, 1)
    finally:
        ended.set()
        monkey.join()
    stage.far.until_judged(stage.store, stage.far.claim(experiment, "--claim-test"))
    answered(stage, 2)
    assert [service.stop() for service in crew] == [0] * len(crew)
    assert_nothing_was_done_twice(stage, undisturbed)


def go_on(service: Service) -> None:
    """Continue what has stopped: a service and its children."""
    leader = psutil.Process(service.process.pid)
    for process in (leader, *leader.children(recursive=True)):
        process.resume()


def answered(stage: Scene, times: int) -> None:
    """Wait until this many answers were sent, with those that were sent again."""
    wait_until(lambda: len(stage.bus.records(PerformanceEval.topic)) >= times, f"{times} answers")


def assert_nothing_was_done_twice(stage: Scene, undisturbed: Mapping[str, bytes]) -> None:
    found = stage.history
    assert faults(found) == []
    assert results(stage.store) == undisturbed
    assert len(read_log(stage.store, "global")) == 1
    assert len({answer.event_id for answer in map(PerformanceEval.parse, found.told(PerformanceEval.topic))}) == 1
    assert not [topic for topic, records in found.topics.items() if topic.startswith(DEAD) and records]
