"""`flts up` and `flts down` from the command line: the stack works, restarts what died, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from tests.support.children import carrying, eventually
from tests.support.experiments import write_experiment
from tests.support.raising import raises

from flts.contracts.errors import StageFailed, UsageError
from flts.stack.process import MARK, Process, started
from flts.stack.up import State, down, read, up

SERVERS = ("seaweedfs", "tansu", "postgres", "mlflow")
SERVICES = ("worker-train", "worker-evaluate", "worker-forecast", "gateway", "serve")


@dataclass(frozen=True)
class Bench:
    """A folder with an experiment, and the command line in it."""

    folder: Path

    @property
    def stack(self) -> Path:
        return self.folder / ".flts" / "stack"

    def command(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-u", "-m", "flts", *arguments],
            cwd=self.folder,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def flts(self, *arguments: str, code: int = 0, shell: Mapping[str, str] | None = None) -> str:
        process = self.command(*arguments, **(shell or {}))
        out, err = process.communicate()
        assert process.returncode == code, f"{out}\n{err}"
        return out

    def shell(self) -> Mapping[str, str]:
        """What a shell exports after reading `env`."""
        lines = [shlex.split(line) for line in (self.stack / "env").read_text().splitlines()]
        exported = [words[1].partition("=") for words in lines if words[0] == "export"]
        return {name: value for name, _, value in exported}

    def process(self, name: str) -> Process:
        state = read(self.stack)
        assert state is not None
        found = state.get(name)
        assert found is not None
        return found

    def answered(self) -> list[str]:
        """Keys of all batches that were forecast, as the gateway lists them."""
        with urlopen(f"{self.process('gateway').url}/objects/inference-logs?prefix=global/") as response:  # noqa: S310 - ours
            keys = [found["key"] for found in json.load(response)["objects"]]
        return [key for key in keys if key.endswith(".jsonl")]

    def left(self) -> list[str]:
        """Commands of all processes that belong to the stack."""
        return carrying(f"{MARK}={self.stack}")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """The experiment of the command line's tests; whatever happens, its stack is ended."""
    write_experiment(tmp_path)
    made = Bench(tmp_path.resolve())
    try:
        yield made
    finally:
        made.command("down").communicate()


def test_a_stack_runs_an_experiment_answers_a_batch_restarts_what_died_and_ends_completely(bench: Bench) -> None:
    shown = bench.flts("up")
    assert "not for production" in shown
    assert "promoted  ridge is champion of 'global'" in shown
    for name in (*SERVERS, *SERVICES):
        assert f"{name}: process {bench.process(name).pid} at {bench.process(name).url}" in shown
    shell = bench.shell()
    findings = json.loads(bench.flts("doctor", "--json", shell=shell))
    assert [finding for finding in findings if finding["state"] != "ok"] == []
    assert "flts up" in {finding["about"] for finding in findings}

    bench.flts("preprocess", "--claim-test", shell=shell)
    assert eventually(lambda: len(bench.answered()) == 1)

    killed = bench.process("worker-train")
    os.kill(killed.pid, signal.SIGKILL)
    assert eventually(lambda: not killed.alive())
    said = json.loads(bench.flts("doctor", "--json", code=1, shell=shell))
    assert [f["mend"] for f in said if f["about"] == "flts up"] == ["`flts up` starts it again"]

    again = bench.flts("up", "--set", "task.input_length=24")
    assert f"worker-train: process {killed.pid} had ended before" in again
    assert f"seaweedfs: process {bench.process('seaweedfs').pid} at" in again
    assert "runs already" in again
    assert "champion of 'global'" in again
    assert bench.process("worker-train").pid != killed.pid

    ended = bench.flts("down")
    assert [line.split(":")[0] for line in ended.splitlines()] == [*reversed(SERVICES), *reversed(SERVERS)]
    assert bench.left() == []
    assert "nothing runs" in bench.flts("down")

    assert "deleted" in bench.flts("down", "--delete")
    assert not bench.stack.exists()


@pytest.mark.long
def test_a_restarted_stack_keeps_its_data(bench: Bench) -> None:
    bench.flts("up")
    bench.flts("down")
    again = bench.flts("up")
    assert "unchanged  champion of 'global' stays ridge" in again
    assert len(json.loads(bench.flts("runs", "list", "--json", shell=bench.shell()))) == 2


@pytest.mark.long
def test_a_quick_broker_reserves_no_work_for_a_killed_service(bench: Bench) -> None:
    bench.flts("up", "--bus", "quick")
    killed, living = bench.process("worker-train"), bench.process("worker-evaluate")
    os.kill(killed.pid, signal.SIGKILL)
    assert eventually(lambda: not killed.alive())
    again = bench.flts("up", "--set", "task.input_length=24")
    for name in (
        "worker-evaluate",
        "worker-forecast",
        "noida",
    ):  # one that joins again by itself may stay as a dead member
        assert re.search(
            rf"^{name}: process \d+ ended, so that the broker forgets a dead service$", again, re.MULTILINE
        )
    assert not living.alive()
    assert "champion of 'global'" in again


@pytest.mark.long
def test_an_interrupted_start_leaves_no_process(bench: Bench) -> None:
    process = bench.command("up", "--bus", "quick")
    assert process.stdout is not None
    while not process.stdout.readline().startswith("postgres"):
        assert process.poll() is None
    assert bench.left() != []
    process.send_signal(signal.SIGINT)
    _, err = process.communicate()
    assert process.returncode == 130, err
    assert "what was started has been ended" in err
    assert eventually(lambda: bench.left() == [])
    state = read(bench.stack)
    assert state is not None
    assert state.processes == []


@pytest.mark.long
def test_concurrent_commands_do_not_start_two_stacks(bench: Bench) -> None:
    first = bench.command("up", "--bus", "quick")
    assert first.stdout is not None
    assert first.stdout.readline() != ""
    assert eventually(lambda: bench.left() != [])
    second = bench.command("down")
    _, err = second.communicate()
    assert second.returncode == 2
    assert "another `flts up` or `flts down` is running" in err
    first.send_signal(signal.SIGTERM)
    first.communicate()
    assert eventually(lambda: bench.left() == [])


def test_a_mistake_in_the_experiment_is_reported_before_anything_starts(bench: Bench) -> None:
    bench.flts("up", "--set", "task.inputlength=3", code=2)
    bench.flts("up", "--models", "nosuchmodel", code=2)
    assert not bench.stack.exists()


def test_without_a_stack_there_is_nothing_to_end(bench: Bench) -> None:
    bench.flts("down", code=2)
    assert not bench.stack.exists()


# recorded processes


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process outside of any stack."""
    with subprocess.Popen(["/bin/sleep", "600"], start_new_session=True) as process:
        yield process
        process.kill()


def recorded(folder: Path, pid: int, start: float) -> Process:
    """A stack of one process."""
    process = Process(name="worker", pid=pid, started=start, url="", log="", stop_signal=signal.SIGTERM)
    (folder / "state.json").write_text(State(bus="quick", processes=[process]).model_dump_json())
    return process


def test_a_process_with_a_reused_id_is_left_alone(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    recorded(tmp_path, sleeper.pid, started(sleeper.pid) - 60)
    said: list[str] = []
    down(tmp_path, said.append)
    assert said == [
        f"worker: process {sleeper.pid} had ended before;"
        f" its id {sleeper.pid} now belongs to another process, which goes on"
    ]
    assert sleeper.poll() is None
    assert read(tmp_path) == State(bus="quick")


def test_a_recorded_process_is_ended_with_its_group(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    process = recorded(tmp_path, sleeper.pid, started(sleeper.pid))
    assert process.alive()
    said: list[str] = []
    down(tmp_path, said.append)
    assert said == [f"worker: process {sleeper.pid} ended"]
    assert not process.alive()


@pytest.mark.parametrize(("marked", "goes_on"), [(True, False), (False, True)])
def test_orphans_of_a_dead_leader_are_ended_only_if_they_belong_to_the_stack(
    tmp_path: Path, marked: bool, goes_on: bool
) -> None:
    environment = os.environ | ({MARK: str(tmp_path)} if marked else {})
    script = ["/bin/sh", "-c", "sleep 600 & echo $!; exec sleep 600"]
    with subprocess.Popen(script, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as leader:
        assert leader.stdout is not None
        left = int(leader.stdout.readline())
        member = Process(name="", pid=left, started=started(left), url="", log="", stop_signal=signal.SIGTERM)
        recorded(tmp_path, leader.pid, started(leader.pid))
        leader.kill()
        leader.wait()
        assert member.alive()
        down(tmp_path, lambda _: None)
        if goes_on:
            assert member.alive()
            os.kill(left, signal.SIGKILL)
        assert eventually(lambda: not member.alive())


def test_another_broker_than_the_running_one_is_refused(tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
    recorded(tmp_path, sleeper.pid, started(sleeper.pid))
    with raises(UsageError, code="other-broker", found="quick", expected="durable"):
        up(tmp_path, "durable", lambda _: None)


def test_damaged_state_is_an_error_that_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text("{")
    with raises(StageFailed, code="state-damaged", file=str(tmp_path / "state.json")):
        read(tmp_path)
