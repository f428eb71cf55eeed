"""Processes forked from one that has imported everything: a start takes milliseconds, not a second.

`python -m flts.runner.child` is what a run starts, and what every test gets that looks at the process itself or sets
something that is read at the start. All other tests start hundreds of children whose fit takes a tenth of what their
imports take. So do the tests that end `flts` at each of its points.
"""

from __future__ import annotations

import array
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

from flts.contracts.failpoints import ENV, arm
from flts.train.determinism import thread_variables

COMMAND = [sys.executable, "-m", "flts.runner.child"]
SINGLE = thread_variables(1)
"""How the libraries of the process were imported: they read it once."""
AT_START = (ENV, "PYTHONPATH", "PYTHONWARNINGS")
"""Variables that a process reads when it starts."""
FDS = 4
"""stdin, stdout, stderr of a child, and where its number and its status are told."""


class Warm:
    """A process from which children are forked."""

    def __init__(self) -> None:
        self._at_start = {name: os.environ.get(name) for name in AT_START}
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", f"from tests.support.warm import serve; serve({theirs.fileno()})"],
                env=os.environ | SINGLE | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                pass_fds=[theirs.fileno()],
            )
        self._socket, self._lock = ours, threading.Lock()

    def fits(self, command: list[str], env: Mapping[str, str]) -> bool:
        """Whether a child of this process does what this command does in this environment."""
        return (
            command == COMMAND
            and {name: env.get(name) for name in SINGLE} == SINGLE
            and all(env.get(name) == value for name, value in self._at_start.items())
        )

    def run(self, arguments: Sequence[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        """The command line in a process of its own. Points are armed by its environment, as at a start."""
        with tempfile.TemporaryFile("w+", errors="replace") as stderr:
            child = self.start(env, stderr, ["flts", *arguments], folder)
            child.stdin.close()
            with child.stdout as stdout:
                out = stdout.read()
            code = child.wait()
            stderr.seek(0)
            return subprocess.CompletedProcess(["flts", *arguments], code, out, stderr.read())

    def start(
        self, env: Mapping[str, str], stderr: IO[str], arguments: Sequence[str] = (), folder: Path | None = None
    ) -> Child:
        """Fork a child of a run, or with `arguments` the command line."""
        child_in, stdin = os.pipe()
        stdout, child_out = os.pipe()
        status, child_status = os.pipe()
        given = [child_in, child_out, stderr.fileno(), child_status]
        order = json.dumps({"env": dict(env), "cwd": str(folder or Path.cwd()), "arguments": [*arguments]}).encode()
        with self._lock:  # a run starts several at once
            self._socket.sendmsg(
                [len(order).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", given))]
            )
            self._socket.sendall(order)
        for number in (child_in, child_out, child_status):
            os.close(number)
        return Child(os.fdopen(stdin, "w"), os.fdopen(stdout, "r", errors="replace"), os.fdopen(status))

    def close(self) -> None:
        """End the process; it ends when nobody can ask it for a child any more."""
        self._socket.close()
        self._process.wait()


class Child:
    """As much of subprocess.Popen as a run takes."""

    def __init__(self, stdin: IO[str], stdout: IO[str], status: IO[str]) -> None:
        self.stdin, self.stdout, self._status = stdin, stdout, status
        self.pid = int(status.readline())
        self.returncode: int | None = None

    def wait(self) -> int:
        """Its exit code, when it has ended; minus the number of the signal that ended it."""
        if self.returncode is None:
            self.returncode = os.waitstatus_to_exitcode(int(self._status.readline() or signal.SIGKILL))
            self._status.close()
        return self.returncode


def subprocesses(warm: Warm) -> SimpleNamespace:
    """The module subprocess, as far as a run takes it, with children of `warm` where they do the same."""

    def popen(command: list[str], **options: Any) -> Any:
        if warm.fits(command, options["env"]):
            return warm.start(options["env"], options["stderr"])
        return subprocess.Popen(command, **options)

    return SimpleNamespace(Popen=popen, PIPE=subprocess.PIPE)


def serve(number: int) -> None:
    """Fork a child for each order that comes from this socket, until it is closed."""
    import asyncio  # noqa: F401 - each of these, so that its children have it

    import obstore.store  # noqa: F401
    import polars  # noqa: F401
    import safetensors.numpy  # noqa: F401
    import threadpoolctl  # noqa: F401

    import flts.api
    import flts.cli.main
    import flts.models.registry
    import flts.runner.child
    import flts.runner.stored
    import flts.train.stage
    import flts.wiring  # noqa: F401

    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who wait for the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever runs the tests closes the socket
    orders = socket.socket(fileno=number)
    while True:
        head, fds, *_ = socket.recv_fds(orders, 4, FDS)
        if not head:
            return
        missing, order = int.from_bytes(head, "big"), b""
        while len(order) < missing:
            part = orders.recv(missing - len(order))
            if not part:
                return
            order += part
        if os.fork() == 0:
            orders.close()
            _watch(json.loads(order), *fds)
        for fd in fds:
            os.close(fd)


def _watch(order: Mapping[str, Any], stdin: int, stdout: int, stderr: int, status: int) -> None:
    """Fork the child itself, and tell its number and how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    begun, begins = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(begun)
        os.setsid()
        os.close(begins)
        os.close(status)
        _become(order, stdin, stdout, stderr)
    os.close(begins)
    os.read(begun, 1)  # it leads its group from now on
    for fd in (stdin, stdout, stderr):
        os.close(fd)
    with suppress(BrokenPipeError), os.fdopen(status, "w") as told:
        print(child, file=told, flush=True)
        print(os.waitpid(child, 0)[1], file=told, flush=True)
    os._exit(0)


def _become(order: Mapping[str, Any], stdin: int, stdout: int, stderr: int) -> None:
    """Do what the command does."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for at, fd in enumerate((stdin, stdout, stderr)):
            os.dup2(fd, at)
            os.close(fd)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        tempfile.tempdir = None
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        if order["arguments"]:
            from flts.cli.main import main

            sys.argv = order["arguments"]
            arm(order["env"].get(ENV, ""))
        else:
            from flts.runner.child import main
        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:  # noqa: BLE001 - as the interpreter does
        import traceback

        traceback.print_exc()
    finally:
        with suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
