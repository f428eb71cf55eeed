"""One server as a process of its own: started on a free loopback port, awaited, stopped or killed, started again.

A server leads a process group. Unless it is told to outlive its parent, it is ended when that is gone, however it
went: a watcher in the group waits for the end of a pipe that only the parent holds.
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
POLL_SECONDS = 0.02
LAST_LINES = 5
BURIAL_SECONDS = 5.0
"""How long the processes of a killed group may take to be gone."""


@dataclass
class Server:
    """A server that listens on 127.0.0.1. The same object starts it again on the same ports and folder."""

    name: str
    folder: Path
    command: Sequence[str]
    url: str
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: signal.Signals = signal.SIGTERM
    patience: float = 60.0
    """Seconds it may take to answer."""
    outlives: bool = False
    """Whether it goes on when the process that started it ends."""
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def pid(self) -> int:
        """Of the running process, which leads the group. Raises RuntimeError when it does not run."""
        if self._process is None:
            raise RuntimeError(f"{self.name} is not running")
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / f"{self.name}.log"

    def start(self) -> Self:
        """Start it and return when it answers. Raises BackendUnavailable with its last lines when it does not."""
        self.launch()
        return self.wait()

    def launch(self) -> None:
        """Start it; it does not answer yet."""
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
        """Return when it answers; one that does not is ended. Raises BackendUnavailable with its last lines."""
        try:
            self._wait()
        except BaseException:  # raised again: Ctrl-C, too, leaves no server behind that nobody knows of
            self.kill()
            raise
        return self

    def stop(self, grace: float = 20.0) -> None:
        """Ask it to end, and end it when it has not in `grace` seconds."""
        if self._process is None:
            return
        self._process.send_signal(self.stop_signal)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(grace)
        self.kill()

    def kill(self) -> None:
        """End it and everything it started at once, as a crash does."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        _bury(self._process.pid)
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process = None

    def restart(self) -> Self:
        """Stop it, and start it with what it has stored."""
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
        deadline = time.monotonic() + self.patience
        while not self.ready():
            code = self._process.poll()
            if code is None and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
                continue
            how = f"ended with code {code}" if code is not None else f"does not answer after {self.patience:g} s"
            last = " | ".join(self.log.read_text(errors="replace").strip().splitlines()[-LAST_LINES:])
            raise BackendUnavailable(f"{self.name} {how}; {self.log}: {last}")


def ports(folder: Path, *names: str) -> dict[str, int]:
    """A port by name, free when the folder first hears of the name, and the same ever after."""
    folder.mkdir(parents=True, exist_ok=True)
    known = folder / "ports.json"
    chosen: dict[str, int] = json.loads(known.read_text()) if known.exists() else {}
    missing = [name for name in names if name not in chosen]
    while missing:
        # below the range from which a system takes the ports of outgoing connections, and so is what lies above it
        port = random.randrange(12_000, 22_000)  # noqa: S311 - a port is no secret
        if port not in chosen.values() and _is_free(port) and _is_free(port + GRPC_OFFSET):
            chosen[missing.pop(0)] = port
    known.write_text(json.dumps(chosen))
    return chosen


def secret(folder: Path, name: str) -> str:
    """A password by name, made up when the folder is new, and the same ever after."""
    file = folder / f"{name}.secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(16))
    return file.read_text()


def packaged(what: str, module: str, path: str) -> Path:
    """A file of an installed package. Raises MissingExtra."""
    found = find_spec(module)
    if found is None or not found.submodule_search_locations:
        raise MissingExtra(what, "stack")
    return Path(found.submodule_search_locations[0]) / path


def script(what: str, name: str) -> Path:
    """A program that an installed package put beside the interpreter. Raises MissingExtra."""
    found = shutil.which(name, path=sysconfig.get_path("scripts"))
    if found is None:
        raise MissingExtra(what, "stack")
    return Path(found)


def answers(url: str) -> bool:
    """Whether a GET is answered with 200."""
    try:
        with urlopen(url, timeout=5) as response:  # noqa: S310 - a loopback address that this package made
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def accepts(port: int) -> bool:
    """Whether something listens."""
    with socket.socket() as probe:
        probe.settimeout(5)
        return probe.connect_ex((HOST, port)) == 0


def _bury(group: int) -> None:
    """Return when nobody of a killed group runs any more: one who still ends may hold a port or a lock."""
    import psutil

    def runs(process: psutil.Process) -> bool:
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):  # ended meanwhile, or not ours
            return os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE
        return False

    deadline = time.monotonic() + BURIAL_SECONDS
    while any(map(runs, psutil.process_iter())) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
