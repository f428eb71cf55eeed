"""`flts gateway` or `flts serve` in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MODULE = (sys.executable, "-m", "flts")


@dataclass(frozen=True)
class Running:
    """A server that listens."""

    process: subprocess.Popen[bytes]
    address: str
    log: Path

    def connect(self) -> HTTPConnection:
        """A connection that sends exactly the given bytes."""
        return HTTPConnection(urlsplit(self.address).netloc, timeout=60)

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one request on its own connection."""
        connection = self.connect()
        try:
            connection.request(method, target, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]


@contextmanager
def running(
    folder: Path,
    *options: str,
    command: str = "gateway",
    program: Sequence[str] = MODULE,
    stdout: Any = None,
    **variables: str,
) -> Iterator[Running]:
    """A server in a folder, on a free port; ended at the end if it still runs.

    command: gateway or serve; program: what takes the arguments of `flts`; stdout: a file for what it prints.
    """
    log = folder / f"{command}.log"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [*program, command, "--port", "0", *options],
            cwd=folder,
            env={**os.environ, "FLTS_LOG_FORMAT": "json", **variables},
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield Running(process, _address(process, log), log)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    while True:
        written = log.read_text()
        if "\n" in written:
            return str(json.loads(written.splitlines()[0])["address"])
        try:
            code = process.wait(0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(f"the server ended with {code}: {log.read_text()}")
