"""The whole stack on one machine without containers: for trying, for tests and for docs, not for production.

One folder holds everything: the data of the servers, their logs, ports and secrets, the list of running processes, and
`env`, which a shell can source to use them.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from flts.contracts import layout
from flts.contracts.errors import FltsError, Locked, MissingExtra, StageFailed, UsageError
from flts.home import locked
from flts.models.registry import CANDIDATES, require
from flts.runner.services import registry
from flts.stack.kafka import durable_kafka, quick_kafka
from flts.stack.mlflow import mlflow
from flts.stack.postgres import postgres
from flts.stack.process import MARK, Process, started
from flts.stack.s3 import USER, s3
from flts.stack.server import HOST, START_SECONDS, Server, answers, ports
from flts.stack.shell import CREDENTIALS, USER_VARIABLES, variables

Bus = Literal["durable", "quick"]
Say = Callable[[str], None]
GRACE = 30.0
"""Seconds a process gets to end; work in hand gets fewer."""
QUICK = "noida"
"""Name of the quick broker's process."""
NEEDED = (
    "boto3",
    "confluent_kafka",
    "fastapi",
    "mlflow",
    "prometheus_client",
    "psutil",
    "psycopg2",
    "stamina",
    "uvicorn",
)
"""Modules that the servers and services import. Their programs are looked up when they are started."""


class State(BaseModel):
    """The stored state of a stack: its broker, and its processes in the order of their start."""

    model_config = ConfigDict(extra="forbid")

    v: Literal[1] = 1
    bus: Bus
    processes: list[Process] = []

    def get(self, name: str) -> Process | None:
        """The process of this name."""
        return next((process for process in self.processes if process.name == name), None)


@dataclass(frozen=True)
class Stack:
    """A running stack. environment: variables of its clients; models: those its trainer can fit."""

    folder: Path
    state: State
    environment: Mapping[str, str]
    models: Sequence[str]

    def dead(self) -> Process | None:
        """The first process that has ended, if any."""
        return next((process for process in self.state.processes if not process.alive()), None)


def up(folder: Path, bus: Bus | None, say: Say, patience: float = START_SECONDS) -> Stack:
    """Start whatever does not run. bus: the broker; by default that of the existing stack, or the durable one.

    patience: seconds that a server may take to answer, more where the machine has more work than cores.

    If this call fails or is interrupted, it ends what it started. Raises MissingExtra, BackendUnavailable, UsageError
    when the stack runs with another broker, Locked while another command works on the stack.
    """
    if any(find_spec(module) is None for module in NEEDED):
        raise MissingExtra("`flts up`", "stack")
    with _alone(folder):
        state = read(folder) or State(bus=bus or "durable")
        if bus is not None and bus != state.bus:
            if any(process.alive() for process in state.processes):
                raise UsageError(
                    f"the stack in {folder} runs with the {state.bus} broker; end it first with `flts down`",
                    code="other-broker",
                    folder=str(folder),
                    found=state.bus,
                    expected=bus,
                )
            state = State(bus=bus)
        with _Starting(folder, state, say, patience) as starting:
            if state.bus == "quick":
                starting.forget_members()
            environment = _backends(folder, state.bus, starting)
            models = _trainable()
            starting.run(*_services(folder, environment, models))
        return Stack(folder, state, environment, models)


def down(folder: Path, say: Say, *, delete: bool = False) -> None:
    """End every process of a stack, the last one first. delete: also remove their data.

    Raises UsageError for a folder without a stack, Locked while another command works on the stack.
    """
    if not folder.is_dir():
        raise UsageError(f"no stack in {folder}; `flts up` starts one", code="no-stack", folder=str(folder))
    with _alone(folder):
        state = read(folder) or State(bus="durable")
        if not state.processes:
            say("nothing runs")
        while state.processes:
            process = state.processes[-1]
            say(f"{process.name}: process {process.pid} {process.end(str(folder), GRACE)}")
            state.processes.pop()
            _write(folder, state)
        if delete:
            shutil.rmtree(folder)
            say(f"deleted {folder}")


def read(folder: Path) -> State | None:
    """The stored state of the stack in a folder; None without one. Raises StageFailed when it cannot be read."""
    try:
        return State.model_validate_json((folder / "state.json").read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise StageFailed(
            f"{folder / 'state.json'} is damaged ({error.errors()[0]['msg']}); end the processes whose environment has"
            f" {MARK}={folder}, then delete the file",
            code="state-damaged",
            file=str(folder / "state.json"),
        ) from None


@dataclass
class _Starting:
    """Servers being started: each is recorded at once, and all are killed when one fails to start."""

    folder: Path
    state: State
    say: Say
    patience: float
    _launched: list[Server] = field(default_factory=list)

    def run(self, *servers: Server) -> None:
        """Start those servers that do not run, in parallel, and wait until each answers."""
        waiting = [server for server in servers if not self._runs(server)]
        for server in waiting:
            self._launch(server)
        for server in waiting:
            server.wait()
            self.say(f"{server.name}: process {server.pid} at {server.url}")

    def forget_members(self) -> None:
        """End a quick broker with dead members, which it never drops; a restarted one has forgotten them.

        The live services are ended first: one that joins again by itself may appear twice, once as a dead member.
        """
        broker = self.state.get(QUICK)
        workers = [process for process in self.state.processes if process.name.startswith("worker-")]
        if broker is None or all(worker.alive() for worker in workers):
            return
        for process in (*filter(Process.alive, workers), broker):
            outcome = process.end(str(self.folder), GRACE)
            self.say(f"{process.name}: process {process.pid} {outcome}, so that the broker forgets a dead service")

    def _runs(self, server: Server) -> bool:
        process = self.state.get(server.name)
        if process is None:
            return False
        if process.alive() and server.ready():
            self.say(f"{server.name}: process {process.pid} at {server.url} runs already")
            return True
        outcome = process.end(str(self.folder), GRACE)  # it hangs, or left processes behind when it died
        self.say(f"{server.name}: process {process.pid} {outcome}")
        return False

    def _launch(self, server: Server) -> None:
        server.outlives, server.patience = True, self.patience
        server.environment = {**server.environment, MARK: str(self.folder)}
        server.launch()
        self._launched.append(server)
        process = Process(
            name=server.name,
            pid=server.pid,
            started=started(server.pid),
            url=server.url,
            log=str(server.log),
            stop_signal=server.stop_signal,
        )
        recorded = {other.name: other for other in self.state.processes}
        # a restarted process keeps the position of the one that died: what was started first is ended last
        self.state.processes = list({**recorded, server.name: process}.values())
        _write(self.folder, self.state)

    def _forget(self, name: str) -> None:
        self.state.processes = [process for process in self.state.processes if process.name != name]
        _write(self.folder, self.state)

    def __enter__(self) -> _Starting:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            return
        for server in reversed(self._launched):
            server.kill()
            self._forget(server.name)


def _backends(folder: Path, bus: Bus, starting: _Starting) -> Mapping[str, str]:
    """Start store, bus and tracker; returns the environment variables of their clients."""
    storage = s3(folder / "s3")
    starting.run(storage)
    storage.make_buckets(layout.BUCKETS)
    broker = durable_kafka(folder / "kafka", storage) if bus == "durable" else quick_kafka(folder / "kafka-quick")
    database = postgres(folder / "postgres")
    starting.run(broker, database)
    tracker = mlflow(folder / "mlflow", database, storage)
    starting.run(tracker)
    environment = variables(folder, s3=storage.url, bus=broker.url, mlflow=tracker.url)
    keys = f"[default]\naws_access_key_id = {USER}\naws_secret_access_key = {storage.secret_key}\n"
    _write_private(folder / CREDENTIALS, keys)
    lines = [
        f"unset {' '.join(USER_VARIABLES)}",
        *(f"export {name}={shlex.quote(value)}" for name, value in environment.items()),
    ]
    _write_private(folder / "env", "\n".join(lines) + "\n")
    return environment


def _services(folder: Path, environment: Mapping[str, str], models: Sequence[str]) -> Iterator[Server]:
    """A process for each service, the gateway and the forecast service.

    One trainer fits all models, as many at once as there are cores.
    """
    logs = folder / "services"
    port = ports(logs, *(service.name for service in registry.SERVICES), "gateway", "serve", "serve-probes")
    for service in registry.SERVICES:
        options = ["--model", ",".join(models)] if service.per_model else []
        command = ["worker", service.name, *options, "--probe-port", str(port[service.name])]
        yield _service(logs, f"worker-{service.name}", command, port[service.name], environment)
    yield _service(logs, "gateway", ["gateway", "--port", str(port["gateway"])], port["gateway"], environment)
    command = ["serve", "--port", str(port["serve"]), "--probe-port", str(port["serve-probes"])]
    # it is ready once a model is promoted, which may be long after the start
    yield _service(logs, "serve", command, port["serve"], environment, up="/healthz")


def _service(
    folder: Path,
    name: str,
    command: Sequence[str],
    port: int,
    environment: Mapping[str, str],
    up: str = "/readyz",
) -> Server:
    url = f"http://{HOST}:{port}"
    program = [sys.executable, "-m", "flts", *command]
    return Server(name, folder, program, url, lambda: answers(f"{url}{up}"), environment)


def _trainable() -> list[str]:
    """The models whose libraries are installed."""
    models = []
    for name in sorted(CANDIDATES):
        try:
            require([name])
        except FltsError:
            continue
        models.append(name)
    return models


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of the stack. Raises Locked while another command holds it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with locked(folder):
            yield
    except Locked:
        raise Locked(
            f"another `flts up` or `flts down` is running in {folder}; wait until it has ended",
            code="stack-locked",
            folder=str(folder),
        ) from None


def _write(folder: Path, state: State) -> None:
    _write_private(folder / "state.json", state.model_dump_json(indent=2))


def _write_private(file: Path, text: str) -> None:
    """Write a file atomically, readable by this user only."""
    part = file.with_name(f"{file.name}.part")
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(file)
