"""A newcomer who follows a page in a folder: a terminal, servers in others, Python, and the files that it shows."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from flts.stack.server import answers
from tests.support import ROOT
from tests.support.pages import Block, shows
from tests.support.services import wait_until

SERVER = re.compile(r"(?:\w+=\S+ )*flts (serve|gateway)\b")
PORTS = {"serve": 8000, "gateway": 8080}
ENDED = "-- the commands ended --"


class Newcomer:
    """Does what blocks say.

    folder: where. names: what the Python of the page takes for granted. instead: text of the page that stands for
    another one here, such as the start of a hash that depends on the reader's rows.
    """

    def __init__(self, folder: Path, names: Mapping[str, Any] | None = None, instead: Mapping[str, str] | None = None):
        self.folder = folder
        self.names = dict(names or {})
        self.instead = dict(instead or {})
        self.said = ""
        """What the last commands wrote to stdout."""
        self.followed: list[Block] = []
        self._servers: list[int] = []
        self._log = folder / ".stderr"
        with self._log.open("w") as log:
            self._bash = subprocess.Popen(
                ["bash", "--norc", "--noprofile"],  # noqa: S607
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.enter("set -eo pipefail")

    def follow(self, blocks: Sequence[Block]) -> None:
        """Do what each block says, and compare what it shows."""
        for block in blocks:
            self.followed.append(block)
            if block.unmarked:
                (self._commands if block.language == "sh" else self._python)(block)
            elif block.file:
                Path(self.enter("pwd").strip(), block.file).write_text(self._here(block.text))
            elif not block.language:
                assert shows(self._here(block.text), self.said), f"{block.place} shows something else than\n{self.said}"

    def end_servers(self) -> None:
        """Ctrl-C in the other terminals."""
        for pid in self._servers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not any(map(_runs, self._servers)), "the servers to end")
        self._servers.clear()

    def close(self) -> None:
        """End the servers and the terminal."""
        self.end_servers()
        with contextlib.suppress(BrokenPipeError):  # it has ended with the command that failed
            self._bash.communicate()

    def _here(self, text: str) -> str:
        for shown, meant in self.instead.items():
            text = text.replace(shown, meant)
        return text

    def _commands(self, block: Block) -> None:
        typed, self.said = "", ""
        for command in map(self._here, block.unmarked):
            if match := SERVER.match(command):
                self.said += self.enter(typed, block)
                typed = ""
                self._start(match[1], command, block)
            else:
                code = re.search(r"# exit code (\d+)", command)
                typed += f"code=0; {{ {command}}} || code=$?; test $code = {code[1]}\n" if code else command
        self.said += self.enter(typed, block)

    def enter(self, text: str, block: Block | None = None) -> str:
        """What these lines write to stdout. Fails where one of them fails."""
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        before = self._log.stat().st_size
        self._bash.stdin.write(f"{{\n:\n{text}\n}} </dev/null; echo '{ENDED}'\n")  # who reads stdin reads no command
        self._bash.stdin.flush()
        said = ""
        for line in self._bash.stdout:
            said += line
            if said.endswith(f"{ENDED}\n"):
                return said.removesuffix(f"{ENDED}\n")
        with self._log.open() as log:
            log.seek(before)
            raise AssertionError(f"{block.place if block else ''} fails\n{text}\n{said}\n{log.read()}")

    def _start(self, service: str, command: str, block: Block) -> None:
        """Start a server in another terminal, on a free port, and wait until it is ready."""
        port, probes = _free_port(), _free_port()
        shown = re.search(r"--port (\d+)", command)
        command = re.sub(r"--port \d+", "", command).replace("0.0.0.0", "127.0.0.1").partition("  #")[0].strip()  # noqa: S104
        self.instead |= {f"127.0.0.1:{shown[1] if shown else PORTS[service]}": f"127.0.0.1:{port}"}
        log = self.folder / f".{service}-{port}"
        pid = self.enter(
            f"FLTS_PROBE_PORT={probes} FLTS_SERVE_PORT={port} FLTS_GATEWAY_PORT={port} {command} >{log} 2>&1 & echo $!",
            block,
        )
        self._servers.append(int(pid))

        def ready() -> bool:
            assert _runs(int(pid)), f"{block.place}: {command} ended\n{log.read_text()}"
            return answers(f"http://127.0.0.1:{port}/readyz")

        wait_until(ready, f"{command} to be ready")

    def _python(self, block: Block) -> None:
        """Run a cell as it stands; what `print(…)  # says` is compared."""
        code = self._here(block.text)
        out, before = io.StringIO(), Path.cwd()
        os.chdir(self.enter("pwd").strip())
        try:
            with contextlib.redirect_stdout(out):
                exec(compile("\n" * (block.line - 1) + code, block.page, "exec"), self.names)  # noqa: S102 - ours
        finally:
            os.chdir(before)
        for shown in re.findall(r"print\(.*\)  # (.*)", code):
            assert shows(shown, out.getvalue()), f"{block.place} shows {shown}, and prints\n{out.getvalue()}"


@contextmanager
def newcomer(
    folder: Path, names: Mapping[str, Any] | None = None, instead: Mapping[str, str] | None = None
) -> Iterator[Newcomer]:
    """A newcomer in this folder, whose servers end with the block."""
    someone = Newcomer(folder, names, instead)
    try:
        yield someone
    finally:
        someone.close()


def examples(folder: Path) -> Path:
    """What of a checkout the pages use."""
    shutil.copytree(ROOT / "examples", folder / "examples", dirs_exist_ok=True)
    return folder


def _environment(folder: Path) -> dict[str, str]:
    """That of the tests, with the command `flts` of this checkout."""
    program = folder / ".bin/flts"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m flts "$@"\n')
    program.chmod(0o755)
    path = f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"FLTS_TRACKING": "off", "PATH": path, "PYTHONPATH": str(ROOT / "src")}


def _runs(pid: int) -> bool:
    """Whether a process runs; one that has ended may still be there, until its terminal looks."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
