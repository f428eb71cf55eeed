"""A disk that becomes one for reading only, in the middle of a run, of a service's work and of a forecast service."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from tests.support.disks import Disk, disk
from tests.support.experiments import write_experiment
from tests.support.gateways import Running, running
from tests.support.processes import Processes, processes
from tests.support.series import hourly, split
from tests.support.services import LONG, wait_until
from tests.support.stored import contents, results

import flts
from flts.backends.store import open_store
from flts.contracts.canonical import sha256
from flts.contracts.messages import TOPICS, PerformanceEval
from flts.contracts.ports import Store
from flts.promotion.log import read_log
from flts.runner.services.letters import letters
from flts.settings import load_settings
from flts.spec.sources import load_spec
from flts.stack.kafka import quick_kafka
from flts.stack.server import Server
from flts.wiring import open_bus

pytestmark = [pytest.mark.slow, pytest.mark.long]

POINTS = (
    "preprocess.meta",
    "run.claim",
    "train.bundle",  # this one and the next in the process of a trainer
    "train.windows_result",
    "run.train",
    "promote.log",
    "promote.pointer.scope",
    "run.judge",
)
WORK = {"train": "run.train", "evaluate": "promote.log", "forecast": "forecast.log"}


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_experiment(tmp_path_factory.mktemp("experiment"))


@pytest.fixture(scope="module")
def undisturbed(experiment: Path) -> Store:
    """A run on one machine."""
    loaded, home = load_spec(experiment, environ={}), experiment.parent / "alone"
    flts.run(loaded.spec, folder=loaded.folder, settings=load_settings(home=home, tracking="off"))
    return open_store((home / "objects").as_uri())


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Disk]:
    with disk(tmp_path) as made:
        yield made


@pytest.fixture
def store(mounted: Disk) -> Store:
    """What lies on the disk."""
    return open_store((mounted.place / "objects").as_uri())


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "broker").mkdir()
    with quick_kafka(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def crew(tmp_path: Path, mounted: Disk) -> Iterator[Processes]:
    """Processes whose store is on the disk."""
    url = (mounted.place / "objects").as_uri()
    with processes(tmp_path, {"FLTS_STORE": url}) as those:
        yield those


@pytest.mark.parametrize("point", POINTS)
def test_a_run_ends_with_the_path_and_the_next_one_finishes_it(
    point: str, crew: Processes, mounted: Disk, store: Store, experiment: Path, undisturbed: Store
) -> None:
    first = crew.launch("run", str(experiment), failpoints=f"{point}.before=stop")
    halted = first.stopped()
    mounted.remount("ro")
    halted.resume()
    assert first.process.wait(LONG) == 1
    (said,) = [line for line in first.log.read_text().splitlines() if line.startswith("error: ")]
    assert str(mounted.place / "objects") in said
    assert "the disk can only be read" in said
    assert "Traceback" not in first.log.read_text()
    assert whole(mounted) == store.list("")
    mounted.remount("rw")
    again = crew.run("run", str(experiment))
    assert again.returncode == 0, again.stderr
    assert but_decisions(store) == but_decisions(undisturbed)
    assert not [key for key in store.list("runs/") if "/failures/" in key]
    (entry,), (expected,) = read_log(store, "global"), read_log(undisturbed, "global")
    assert entry.champion == expected.champion


@pytest.mark.parametrize("victim", WORK)
def test_a_service_ends_with_the_path_and_the_next_one_finishes_its_work(
    victim: str, crew: Processes, broker: Server, mounted: Disk, store: Store, experiment: Path, undisturbed: Store
) -> None:
    crew.environment = {**crew.environment, "FLTS_BUS": broker.url}
    workers = {
        name: crew.worker(name, failpoints=f"{WORK[name]}.before=stop" if name == victim else "") for name in WORK
    }
    claim = crew.claim(experiment, "--claim-test")
    halted = workers[victim].stopped()
    mounted.remount("ro")
    halted.resume()
    assert workers[victim].process.wait(LONG) == 1
    assert str(mounted.place / "objects") in workers[victim].log.read_text()
    assert "Traceback" not in workers[victim].log.read_text()
    for name, worker in workers.items():
        if name != victim and worker.process.poll() is None:
            assert worker.stop() in {0, 1, -signal.SIGTERM}  # one that had something to write was ending by itself
    mounted.remount("rw")
    crew.started.clear()
    crew.workers()
    crew.until_judged(store, claim)
    bus = open_bus(load_settings(bus=broker.url))
    wait_until(lambda: bool(bus.records(PerformanceEval.topic)), "the answer")
    assert results(store) == results(undisturbed)
    assert len(read_log(store, "global")) == 1
    assert not [letter for topic in TOPICS for letter in letters(bus, topic)]
    bus.close()


def test_a_forecast_service_answers_on_and_its_log_waits(
    crew: Processes, mounted: Disk, store: Store, experiment: Path, tmp_path: Path
) -> None:
    variables = {"FLTS_STORE": crew.environment["FLTS_STORE"]}
    assert crew.run("run", str(experiment)).returncode == 0
    with running(tmp_path, "--probe-port", "0", command="serve", **variables) as server:
        wait_until(lambda: ask(server)[0] == 200, "the model")
        before = ask(server)
        mounted.remount("ro")
        assert ask(server) == before
        assert ends(server) == 0
        assert "prediction_log_behind" in [line["event"] for line in server.lines()]
    assert store.list("inference-logs/") == []
    mounted.remount("rw")
    with running(tmp_path, "--probe-port", "0", command="serve", **variables) as server:
        wait_until(lambda: bool(store.list("inference-logs/")), "the answers in the store")
        answers = sum(len(data.splitlines()) for data in contents(store, "inference-logs/").values())
        wait_until(lambda: ask(server) == before, "the model")
        mounted.unmount()
        assert ask(server) == before
        assert ends(server) == 0
    assert answers >= 3
    assert list(mounted.place.iterdir()) == []  # nothing is made where the disk was


def ask(server: Running) -> tuple[int, bytes]:
    """A forecast of the test rows."""
    rows = split(hourly(300), 60)[1].write_csv().encode()
    return server.ask("POST", "/invocations", rows, {"Content-Type": "text/csv"})


def ends(server: Running) -> int:
    """The exit code of a server that is asked to end."""
    server.process.terminate()
    return server.process.wait(LONG)


def whole(mounted: Disk) -> list[str]:
    """Every file on the disk, with those that are half written."""
    folder = mounted.place / "objects"
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def but_decisions(store: Store) -> Mapping[str, str]:
    """The results but the decisions: a run after a promotion finds a champion, and decides about it."""
    return {key: sha256(data) for key, data in results(store).items() if "/decisions/" not in key}
