"""A server in a process of its own: started on a free loopback port, awaited, stopped or killed, restarted.

A server leads a process group. Unless it may outlive its parent, it is killed when the parent ends in any way: a
watcher in the group waits for the end of a pipe that only the parent holds.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.error import URLError
from urllib.request import urlopen

from flts.contracts.errors import BackendUnavailable, MissingExtra

HOST = "127.0.0.1"
GRPC_OFFSET = 10_000
"""SeaweedFS serves gRPC this far above each of its ports."""
WATCHER = 'exec 3<&0 0</dev/null; (exec 0<&3 3<&-; cat >/dev/null; kill -KILL 0) & exec "$@" 3<&-'
START_SECONDS = 60.0
"""How long a server may take to answer, unless the settings say otherwise."""
POLL_SECONDS = 0.02
LAST_LINES = 5
EXIT_SECONDS = 5.0
"""Seconds the processes of a killed group may take to exit."""


@dataclass
class Server:
    """A server that listens on 127.0.0.1. The same object restarts it with the same ports and folder."""

    name: str
    folder: Path
    command: Sequence[str]
    url: str
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = START_SECONDS
    """Seconds it may take to answer on a machine that has nothing else to do."""
    outlives: bool = False
    """Whether it survives the process that started it."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Id of the running process, which leads the group. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / f"{self.name}.log"

    def start(self) -> Self:
        """Start it and return when it answers. Raises BackendUnavailable with the end of its log when it does not."""
        self.launch()
        return self.wait()

    def launch(self) -> None:
        """Start it and return at once, before it answers."""
        environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LANG") if name in os.environ}
        environment |= {"HOME": str(self.folder)} | dict(self.environment)
        watched = [] if self.outlives else ["/bin/sh", "-c", WATCHER, "sh"]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*watched, *self.command],
                stdin=subprocess.DEVNULL if self.outlives else subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=environment,
                start_new_session=True,
            )

    def wait(self) -> Self:
        """Return when it answers, or kill it. Raises BackendUnavailable with the end of its log."""
        try:
            self._wait()
        except BaseException:  # also for Ctrl-C: no server may stay behind unnoticed
            self.kill()
            raise
        return self

    def stop(self, grace: float = 20.0) -> None:
        """Ask it to end, and kill it after `grace` seconds."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """Kill it and everything it started at once, as a crash does."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _wait_for_group(self._process.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def restart(self) -> Self:
        """Stop it, and start it with the data it has stored."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _wait(self) -> None:
        assert self._process is not None
        started = time.monotonic()
        while not self.ready():
            code = self._process.poll()
            limit = self.patience * crowd()
            if code is None and time.monotonic() - started < limit:
                time.sleep(POLL_SECONDS)
                continue
            how = (
                f"ended with code {code}"
                if code is not None
                else f"does not answer after {limit:.0f} s; FLTS_START_TIMEOUT allows more"
            )
            last = " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:])
            raise BackendUnavailable(
                f"{self.name} {how}; {self.log}: {last}",
                code="no-answer" if code is None else "server-ended",
                server=self.name,
                log=str(self.log),
                exit_code=code,
            )


def crowd() -> float:
    """How many times longer anything takes: processes that want to run, per core; 1 where there are enough cores."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def ports(folder: Path, *names: str) -> dict[str, int]:
    """A port for each name: chosen free once, then kept in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "ports.json"
    chosen: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    missing = [name for name in names if name not in chosen]
    while missing:
        # below the range from which systems take ports of outgoing connections, and so is the gRPC port above it
        port = random.SystemRandom().randrange(12_000, 22_000)
        if port not in chosen.values() and _is_free(port) and _is_free(port + GRPC_OFFSET):
            chosen[missing.pop(0)] = port
    file.write_text(json.dumps(chosen))
    return chosen


def secret(folder: Path, name: str) -> str:
    """A password by name: random at first, then kept in the folder."""
    file = folder / f"{name}.secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def packaged(what: str, module: str, path: str) -> Path:
    """A file of an installed package. Raises MissingExtra."""
    package = find_spec(module)
    if package is None or not package.submodule_search_locations:
        raise MissingExtra(what, "stack")
    return Path(package.submodule_search_locations[0]) / path


def script(what: str, name: str) -> Path:
    """A program that a package installed beside the interpreter. Raises MissingExtra."""
    program = shutil.which(name, path=sysconfig.get_path("scripts"))
    if program is None:
        raise MissingExtra(what, "stack")
    return Path(program)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310 - a loopback address that this package made
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def accepts(port: int) -> bool:
    """Whether something listens on this port."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((HOST, port)) == 0


def _wait_for_group(group: int) -> None:
    """Wait until no process of a killed group runs: one that still exits may hold a port or a lock."""
    import psutil

    def runs(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):  # ended meanwhile, or not ours
            return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        return False

    deadline = time.monotonic() + EXIT_SECONDS
    while any(map(runs, psutil.process_iter())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
