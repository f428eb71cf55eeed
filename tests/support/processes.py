"""Services as people start them: processes of the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from flts.contracts import layout
from flts.contracts.failpoints import ENV
from flts.contracts.ports import Store
from tests.support.services import LONG, wait_until

WORKERS = ("train", "evaluate", "forecast")


@dataclass
class Service:
    """One running service and what it logs."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def events(self) -> list[dict[str, Any]]:
        """Every whole line of its log so far."""
        lines = self.log.read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def said(self, event: str) -> bool:
        """Whether it logged this event."""
        return any(line["event"] == event for line in self.events)

    def kill(self) -> None:
        """Kill it as a crash does; its child process ends by itself."""
        self.process.kill()
        self.process.wait(LONG)

    def stop(self) -> int:
        """Ask it to end; returns its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(LONG)

    def stopped(self) -> psutil.Process:
        """Wait until it or one of its children has stopped at a failpoint; returns that process."""
        found: list[psutil.Process] = []

        def looked() -> bool:
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            leader = psutil.Process(self.process.pid)
            everyone = [leader, *leader.children(recursive=True)]
            found[:] = [process for process in everyone if process.status() == psutil.STATUS_STOPPED]
            return bool(found)

        wait_until(looked, f"{self.log.name} to stop at its failpoint")
        return found[0]

    def died(self) -> None:
        """Wait until it was killed at a failpoint."""
        code = self.process.wait(LONG)
        assert code == -signal.SIGKILL, (code, self.log.read_text()[-2000:])


@dataclass
class Processes:
    """Processes on one store and one bus. `folder` holds the logs; within: what goes before each command."""

    folder: Path
    environment: Mapping[str, str]
    started: list[Service] = field(default_factory=list)
    within: Sequence[str] = ()

    def launch(self, *command: str, failpoints: str = "") -> Service:
        """`flts COMMAND` in the background."""
        log = self.folder / f"{len(self.started)}-{'-'.join(Path(word).name for word in command[:2])}.log"
        with log.open("wb") as err:
            process = subprocess.Popen(
                [*self.within, sys.executable, "-m", "flts", *command],
                env=os.environ | dict(self.environment) | {ENV: failpoints},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=err,
                cwd=self.folder,
            )
        service = Service(process, log)
        self.started.append(service)
        return service

    def start(self, *command: str, failpoints: str = "") -> Service:
        """`flts COMMAND` in the background; returns when it accepts work."""
        service = self.launch(*command, failpoints=failpoints)
        wait_until(lambda: service.said("service_started") or service.process.poll() is not None, f"{command} to start")
        return service

    def worker(self, name: str, models: str = "ridge", failpoints: str = "") -> Service:
        """`flts worker NAME`."""
        options = ("--model", models) if name == "train" else ()
        return self.start("worker", name, *options, failpoints=failpoints)

    def workers(self, models: str = "ridge") -> dict[str, Service]:
        """One of each."""
        return {name: self.worker(name, models) for name in WORKERS}

    def run(self, *command: str, failpoints: str = "") -> subprocess.CompletedProcess[str]:
        """`flts COMMAND` to its end."""
        return subprocess.run(
            [*self.within, sys.executable, "-m", "flts", *command],
            env=os.environ | dict(self.environment) | {ENV: failpoints},
            capture_output=True,
            text=True,
            cwd=self.folder,
            check=False,
            timeout=10 * LONG,
        )

    def claim(self, file: Path, *options: str) -> dict[str, Any]:
        """Start a run; returns its claim."""
        done = self.run("preprocess", str(file), *options, "--json")
        assert done.returncode == 0, done.stderr
        claim: dict[str, Any] = json.loads(done.stdout)
        return claim

    def until_judged(self, store: Store, claim: Mapping[str, Any]) -> None:
        """Wait until a claimed run is judged; fails at once when a service ends by itself."""
        key = layout.run_part(claim["config_hash"], claim["run"], "judge")

        def judged() -> bool:
            for service in self.started:
                code = service.process.poll()
                assert code is None or code <= 0, service.log.read_text()[-2000:]
            return store.exists(key)

        wait_until(judged, f"{key} to be written")

    def close(self) -> None:
        """End what still runs."""
        for service in self.started:
            if service.process.poll() is None:
                service.process.terminate()
                service.process.send_signal(signal.SIGCONT)  # one that a test has stopped
        for service in self.started:
            try:
                service.process.wait(LONG)
            except subprocess.TimeoutExpired:
                service.kill()


@contextmanager
def processes(folder: Path, environment: Mapping[str, str], within: Sequence[str] = ()) -> Iterator[Processes]:
    """Processes on these backends, all ended at the end. within: what goes before each command."""
    folder.mkdir(parents=True, exist_ok=True)
    common = {
        "FLTS_TRACKING": "off",
        "FLTS_PROBE_PORT": "0",
        "FLTS_LOG_FORMAT": "json",
        "FLTS_KAFKA_SESSION_TIMEOUT": "6",
        "FLTS_KAFKA_PARTITIONS": "3",
        "FLTS_KAFKA_REPLICATION": "1",
        "FLTS_PATIENCE": "60",
        "FLTS_GRACE": "5",
    }
    running = Processes(folder, common | dict(environment), within=within)
    try:
        yield running
    finally:
        running.close()
