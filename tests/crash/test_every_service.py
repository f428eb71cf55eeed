"""A service is killed at every write and every message; the one started after it ends as if nothing had happened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support import points
from tests.support.experiments import results_alone, write_experiment
from tests.support.processes import Processes, processes
from tests.support.servers import s3_prefix
from tests.support.services import wait_until
from tests.support.stored import contents, results

from flts.contracts import layout
from flts.contracts.messages import TOPICS, PerformanceEval
from flts.contracts.ports import Bus, Store
from flts.promotion.log import read_log
from flts.runner.services.letters import letters
from flts.settings import load_settings
from flts.stack.kafka import durable_kafka
from flts.stack.s3 import S3
from flts.wiring import open_bus, open_store

JOB = "preprocess"


@dataclass(frozen=True)
class Cut:
    """A service and the point at which it is killed; passage: which time it passes the point."""

    service: str
    point: str
    passage: int = 1

    @property
    def armed(self) -> str:
        return f"{self.point}=kill@{self.passage}"

    def __str__(self) -> str:
        return f"{self.service}-{self.point}-{self.passage}"


PASSED: Mapping[str, Sequence[str]] = {
    JOB: (
        *("preprocess.train", "preprocess.test", "preprocess.meta", "run.spec", "run.claim", "run.preprocess"),
        *("bus.publish", "run.sent"),
    ),
    "train": ("work.mark", "run.train", "bus.publish", "run.sent", "bus.commit"),
    "evaluate": (
        "work.mark",
        *("promote.preview", "promote.decision", "promote.log", "bus.publish", "promote.pointer.config"),
        *("promote.pointer.root", "promote.pointer.scope", "run.seal", "run.judge", "bus.commit"),
    ),
    "forecast": ("work.mark", "forecast.day", "forecast.log", "bus.publish", "bus.commit"),
}
"""Every write and every message of a service itself; test_every_point.py covers the writes of its child processes."""
TWICE = {("train", "bus.publish"), ("evaluate", "bus.commit"), (JOB, "bus.publish")}
"""Points that are passed twice: a message at the start and the end of a fit, two commits, two claims."""
TELLING = {("evaluate", "promote.log.after", 1)}
"""The cut of `make test`: a promotion was not recorded."""


def cuts() -> Iterator[object]:
    for service, names in PASSED.items():
        for name in names:
            for passage in (1, 2) if (service, name) in TWICE else (1,):
                for side in points.SIDES:
                    cut = Cut(service, f"{name}.{side}", passage)
                    telling = (cut.service, cut.point, cut.passage) in TELLING
                    yield pytest.param(cut, id=str(cut), marks=() if telling else pytest.mark.long)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """flts.toml with its rows beside it."""
    return write_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def undisturbed(experiment: Path) -> Mapping[str, bytes]:
    return results_alone(experiment)


@pytest.fixture
def running(tmp_path: Path, s3_server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Processes on a broker and a prefix in the store that only this test uses."""
    url = s3_prefix(s3_server, monkeypatch)
    (tmp_path / "broker").mkdir()
    with (
        durable_kafka(tmp_path / "broker", s3_server, cluster=url.rpartition("/")[2]) as broker,
        processes(tmp_path / "logs", {"FLTS_BUS": broker.url, "FLTS_STORE": url}) as those,
    ):
        yield those


@pytest.fixture
def store(running: Processes) -> Store:
    return open_store(running.environment["FLTS_STORE"])


@pytest.fixture
def bus(running: Processes) -> Iterator[Bus]:
    opened = open_bus(load_settings(bus=running.environment["FLTS_BUS"], kafka_replication=1))
    yield opened
    opened.close()


@pytest.mark.parametrize("cut", list(cuts()))
def test_the_next_service_finishes_the_work_of_a_killed_one(
    cut: Cut, running: Processes, experiment: Path, store: Store, bus: Bus, undisturbed: Mapping[str, bytes]
) -> None:
    for name in ("train", "evaluate", "forecast"):
        if name != cut.service:
            running.worker(name)
    if cut.service == JOB:
        ended = running.run(JOB, str(experiment), "--claim-test", failpoints=cut.armed)
        assert ended.returncode == -9, ended.stderr
        claim = running.claim(experiment, "--claim-test")
    else:
        victim = running.worker(cut.service, failpoints=cut.armed)
        claim = running.claim(experiment, "--claim-test")
        victim.died()
        running.worker(cut.service)
    running.until_judged(store, claim)
    # messages of one key are delivered in order: when a second run is judged, nothing of the first is left
    running.until_judged(store, running.claim(experiment, "--claim-test"))
    wait_until(lambda: len(answers(bus)) >= 2, "both batches to be answered")
    first_to_last(store)
    assert results(store) == undisturbed
    (answer,) = {message.event_id: message for message in answers(bus)}.values()
    assert [key for key in contents(store) if key.endswith(".jsonl")] == [answer.log_object_key]
    assert not [letter for topic in TOPICS for letter in letters(bus, topic)]


def answers(bus: Bus) -> list[PerformanceEval]:
    return [PerformanceEval.parse(record.value) for record in bus.records(PerformanceEval.topic)]


def first_to_last(store: Store) -> None:
    """One promotion, and every pointer names it."""
    (entry,) = read_log(store, "global")
    for key in (
        layout.root_pointer(),
        layout.scope_pointer("global"),
        layout.config_pointer("global", entry.champion.config_hash),
    ):
        assert json.loads(store.get(key) or b"{}")["promotion"] == entry.number, key


def test_these_tests_kill_a_service_at_every_point_of_its_own() -> None:
    """test_every_point.py covers the points of commands on one machine; a new point must be in one of the two."""
    own = {"bus.publish", "bus.commit", "forecast.day", "forecast.log", "run.sent", "work.mark"}
    assert own <= {name for names in PASSED.values() for name in names} <= set(points.names())
